//! Made connections: frames cut into packets anywhere, as links and networks treat them.

use std::net::Ipv4Addr;

use bytes::BytesMut;
use kerolox_inspect::{LinkType, Timestamp};
use wire::frame::{Head, SerializeType};

use crate::support::OwnPacket;

/// The two directions of a connection: what the client sends, and what the server does.
pub(crate) type Streams = [Vec<u8>; 2];

pub(crate) const CLIENT: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 0, 0, 1), 40_000);
pub(crate) const SERVER: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 0, 0, 2), 10_911);

/// Bits of TCP's header.
pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const ACK: u8 = 16;

/// Appends a frame.
pub(crate) fn frame(head: &Head, fields: &[(&str, &str)], body: &[u8], out: &mut Vec<u8>) {
    let mut bytes = BytesMut::new();
    wire::frame::encode(head, None, fields, body.len(), &mut bytes);
    out.extend_from_slice(&bytes);
    out.extend_from_slice(body);
}

/// What each send says in its header, for queue 1 of `orders`, with its properties.
pub(crate) fn send_fields<'a>(
    sys_flag: &'a str,
    properties: &'a str,
) -> [(&'static str, &'a str); 9] {
    [
        ("a", "shop"),
        ("b", "orders"),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", "1"),
        ("f", sys_flag),
        ("g", "1700000000000"),
        ("h", "0"),
        ("i", properties),
    ]
}

/// So many sends with their answers; bodies grow with their numbers.
pub(crate) fn sends(count: i32, serialize: SerializeType) -> Streams {
    let mut streams = Streams::default();
    for opaque in 1..=count {
        let body = vec![b'x'; opaque as usize * 7 % 300];
        let request = Head {
            opaque,
            ..Head::request(310, serialize)
        };
        let properties = "KEYS\u{1}k\u{2}UNIQ_KEY\u{1}7F000001000051AF0000000000000000\u{2}";
        let fields = send_fields("0", properties);
        frame(&request, &fields, &body, &mut streams[0]);
        let offset = opaque.to_string();
        let fields = [
            ("msgId", "7F000001000051AF0000000000000000"),
            ("queueId", "1"),
            ("queueOffset", &offset),
        ];
        frame(&request.response(0), &fields, &[], &mut streams[1]);
    }
    streams
}

/// A segment of TCP; `side` 0 is the client.
pub(crate) fn segment(side: usize, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut ports = [CLIENT.1, SERVER.1];
    ports.rotate_left(side);
    let mut data: Vec<u8> = ports.into_iter().flat_map(u16::to_be_bytes).collect();
    data.extend_from_slice(&sequence.to_be_bytes());
    data.extend_from_slice(&[0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    data.extend_from_slice(payload);
    data
}

/// A packet of IPv4, or a fragment of one.
pub(crate) fn ipv4(side: usize, identification: u16, place: u16, payload: &[u8]) -> Vec<u8> {
    let mut ends = [CLIENT.0, SERVER.0];
    ends.rotate_left(side);
    let mut data = vec![0x45, 0];
    data.extend_from_slice(&(20 + payload.len() as u16).to_be_bytes());
    data.extend_from_slice(&identification.to_be_bytes());
    data.extend_from_slice(&place.to_be_bytes());
    data.extend_from_slice(&[64, 6, 0, 0]);
    data.extend(ends.iter().flat_map(Ipv4Addr::octets));
    data.extend_from_slice(payload);
    data
}

/// A packet of TCP over raw IP; `side` 0 is the client.
pub(crate) fn packet(
    side: usize,
    time: i64,
    sequence: u32,
    flags: u8,
    payload: &[u8],
) -> OwnPacket {
    const DO_NOT_FRAGMENT: u16 = 0x4000;
    let segment = segment(side, sequence, flags, payload);
    let data = ipv4(side, 0, DO_NOT_FRAGMENT, &segment);
    whole(time, LinkType::RAW, data)
}

/// A packet that was kept as a whole.
pub(crate) fn whole(time: i64, link: LinkType, data: Vec<u8>) -> OwnPacket {
    OwnPacket {
        time: Timestamp(time),
        link,
        original_len: data.len() as u32,
        data,
    }
}

/// The packets of a stream that is cut into pieces of these lengths, over and over.
pub(crate) fn cut(side: usize, first: u32, stream: &[u8], lengths: &[usize]) -> Vec<OwnPacket> {
    let mut packets = Vec::new();
    let mut at = 0;
    for (time, length) in (1..).zip(lengths.iter().cycle()) {
        if at >= stream.len() {
            break;
        }
        let end = (at + length).min(stream.len());
        let sequence = first.wrapping_add(at as u32);
        packets.push(packet(side, time * 1_000, sequence, ACK, &stream[at..end]));
        at = end;
    }
    packets
}
