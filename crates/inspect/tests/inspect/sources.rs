//! Captures of every kind: formats of files, links, versions of IP, and what is no RocketMQ.

use std::io::{self, Cursor, Read, Write};
use std::net::Ipv6Addr;

use flate2::Compression;
use flate2::write::GzEncoder;
use kerolox_inspect::{
    CaptureFile, FileFormat, LinkType, Notice, Observed, Options, Recorder, Source, Timestamp,
};
use wire::frame::SerializeType;

use crate::made::{ACK, CLIENT, SERVER, cut, ipv4, packet, segment, sends, whole};
use crate::streams::{gists, opening};
use crate::support::{OwnPacket, inspect, packets_of};

/// A connection with some sends, and the packets of raw IP that carry it.
fn connection() -> Vec<OwnPacket> {
    let streams = sends(12, SerializeType::Json);
    let directions = (0..2).flat_map(|side| cut(side, 1, &streams[side], &[333]));
    opening([1, 1]).into_iter().chain(directions).collect()
}

/// The segments of the same connection: side, number, flags, payload.
fn segments() -> Vec<(usize, Vec<u8>)> {
    let side = |data: &[u8]| usize::from(data[12..16] != CLIENT.0.octets());
    let packets = connection();
    let split = packets
        .iter()
        .map(|one| (side(&one.data), one.data[20..].to_vec()));
    split.collect()
}

#[track_caller]
fn carries_the_same(packets: &[OwnPacket]) {
    let expected = gists(&connection());
    assert_eq!(expected.len(), 12);
    assert_eq!(gists(packets), expected);
}

#[test]
fn every_link_carries_the_same_exchanges() {
    let ethernet = [&[2; 12][..], &[0x08, 0x00]].concat();
    let vlan = [&[2; 12][..], &[0x81, 0x00, 0x20, 0x07, 0x08, 0x00]].concat();
    let stacked = [0x88, 0xa8, 0, 7, 0x81, 0, 0, 8, 0x08, 0x00];
    let stacked = [&[2; 12][..], &stacked].concat();
    let cooked = [&[0, 0, 0, 1, 0, 6][..], &[2; 8], &[0x08, 0x00]].concat();
    let cooked_2 = [&[0x08, 0x00, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6][..], &[2; 8]].concat();
    for (link, head) in [
        (LinkType::ETHERNET, ethernet),
        (LinkType::ETHERNET, vlan),
        (LinkType::ETHERNET, stacked),
        (LinkType::LINUX_COOKED, cooked),
        (LinkType::LINUX_COOKED_2, cooked_2),
        (LinkType(0), vec![2, 0, 0, 0]),
        (LinkType(108), vec![0, 0, 0, 2]),
        (LinkType(228), vec![]),
    ] {
        let on_link = connection().into_iter().map(|one| {
            let data = [&head[..], &one.data].concat();
            whole(one.time.0, link, data)
        });
        // A short frame is filled up to the least that Ethernet has.
        let filled = on_link.map(|mut one| {
            one.data.resize(one.data.len().max(60), 0);
            one.original_len = one.data.len() as u32;
            one
        });
        carries_the_same(&filled.collect::<Vec<_>>());
    }
}

/// A packet of IPv6 with extension headers, each given by its number and its bytes behind the
/// number of the next.
fn ipv6(side: usize, extensions: &[(u8, Vec<u8>)], payload: &[u8]) -> Vec<u8> {
    const TCP: u8 = 6;
    let mut ends = [CLIENT.0, SERVER.0].map(|end| end.to_ipv6_mapped());
    ends.rotate_left(side);
    let mut numbers = extensions.iter().map(|(number, _)| *number).chain([TCP]);
    let first = numbers.next().unwrap_or(TCP);
    let mut inner = Vec::new();
    for ((_, bytes), next) in extensions.iter().zip(numbers) {
        inner.push(next);
        inner.extend_from_slice(bytes);
    }
    inner.extend_from_slice(payload);
    let mut data = vec![0x60, 0, 0, 0];
    data.extend_from_slice(&(inner.len() as u16).to_be_bytes());
    data.extend_from_slice(&[first, 64]);
    data.extend(ends.iter().flat_map(Ipv6Addr::octets));
    data.extend_from_slice(&inner);
    data
}

#[test]
fn extension_headers_of_ipv6_are_passed() {
    let extensions = [
        (0, [&[0][..], &[1; 6]].concat()),
        (43, [&[1][..], &[0; 14]].concat()),
        (44, vec![0, 0, 0, 9, 9, 9, 9]),
        (51, [&[1][..], &[3; 10]].concat()),
        (60, [&[0][..], &[1; 6]].concat()),
    ];
    for count in 0..=extensions.len() {
        let packets = segments()
            .into_iter()
            .zip(1..)
            .map(|((side, segment), time)| {
                whole(
                    time,
                    LinkType::RAW,
                    ipv6(side, &extensions[..count], &segment),
                )
            });
        carries_the_same(&packets.collect::<Vec<_>>());
    }
}

/// The fragments of a segment, 64 bytes in each, in disorder and one of them twice.
fn fragments(segment: &[u8], make: impl Fn(u16, bool, &[u8]) -> Vec<u8>) -> Vec<Vec<u8>> {
    const PART: usize = 64;
    let count = segment.len().div_ceil(PART);
    let parts = segment.chunks(PART).enumerate();
    let parts = parts.map(|(index, part)| make((index * PART) as u16, index + 1 == count, part));
    let mut parts: Vec<Vec<u8>> = parts.collect();
    parts.reverse();
    parts.insert(1, parts[0].clone());
    parts
}

#[test]
fn fragments_of_both_versions_are_put_together() {
    const MORE: u16 = 0x2000;
    let mut time = 0;
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for ((side, segment), id) in segments().into_iter().zip(1_u16..) {
        time += 1_000;
        if segment.len() <= 64 {
            v4.push(whole(time, LinkType::RAW, ipv4(side, id, 0, &segment)));
            v6.push(whole(time, LinkType::RAW, ipv6(side, &[], &segment)));
            continue;
        }
        let parts = fragments(&segment, |at, last, part| {
            ipv4(side, id, at / 8 + if last { 0 } else { MORE }, part)
        });
        v4.extend(
            parts
                .into_iter()
                .map(|part| whole(time, LinkType::RAW, part)),
        );
        let parts = fragments(&segment, |at, last, part| {
            let mut header = vec![0];
            header.extend_from_slice(&(at | u16::from(!last)).to_be_bytes());
            header.extend_from_slice(&u32::from(id).to_be_bytes());
            ipv6(side, &[(44, header)], part)
        });
        v6.extend(
            parts
                .into_iter()
                .map(|part| whole(time, LinkType::RAW, part)),
        );
    }
    carries_the_same(&v4);
    carries_the_same(&v6);
}

/// An integer's bytes in one of the two orders.
fn number(big: bool, value: u32) -> [u8; 4] {
    if big {
        value.to_be_bytes()
    } else {
        value.to_le_bytes()
    }
}

fn short(big: bool, value: u16) -> [u8; 2] {
    if big {
        value.to_be_bytes()
    } else {
        value.to_le_bytes()
    }
}

fn block(big: bool, kind: u32, body: &[u8], out: &mut Vec<u8>) {
    let padded = body.len().next_multiple_of(4);
    let length = number(big, padded as u32 + 12);
    out.extend(number(big, kind));
    out.extend(length);
    out.extend(body);
    out.resize(out.len() + padded - body.len(), 0);
    out.extend(length);
}

fn option(big: bool, code: u16, value: &[u8]) -> Vec<u8> {
    let mut option = [short(big, code), short(big, value.len() as u16)].concat();
    option.extend(value);
    option.resize(option.len().next_multiple_of(4), 0);
    option
}

/// The head of a packet's block: the interface, the time, and how much of the packet is there.
fn head(big: bool, interface: u32, time: u64, packet: &OwnPacket) -> Vec<u8> {
    let len = packet.data.len() as u32;
    [interface, (time >> 32) as u32, time as u32, len, len + 5]
        .into_iter()
        .flat_map(|field| number(big, field))
        .chain(packet.data.iter().copied())
        .collect()
}

#[test]
fn pcapng_tells_times_in_the_units_of_each_interface() {
    const SECOND: u64 = 1_700_000_000;
    const NANOSECONDS: i64 = 1_000_000_000;
    let one = packet(0, 0, 7, ACK, b"some bytes");
    for big in [false, true] {
        let mut file = Vec::new();
        let start = [
            &number(big, 0x1a2b_3c4d)[..],
            &short(big, 1),
            &short(big, 0),
            &[0xff; 8],
        ];
        block(big, 0x0a0d_0d0a, &start.concat(), &mut file);
        let offset = if big {
            SECOND.to_be_bytes()
        } else {
            SECOND.to_le_bytes()
        };
        // Of each interface the options, a time in its units, and what that is.
        let second = SECOND as i64 * NANOSECONDS;
        let interfaces = [
            (vec![], SECOND * 1_000_000 + 1, second + 1_000),
            (option(big, 9, &[9]), SECOND * 1_000_000_000 + 1, second + 1),
            (option(big, 9, &[3]), SECOND * 1_000 + 1, second + 1_000_000),
            (option(big, 9, &[12]), 3_000_000, 3_000),
            (
                option(big, 9, &[0x80 | 20]),
                (SECOND << 20) + 1,
                second + 953,
            ),
            (
                [option(big, 9, &[6]), option(big, 14, &offset)].concat(),
                2,
                second + 2_000,
            ),
        ];
        for (options, _, _) in &interfaces {
            let body = [&short(big, 101)[..], &[0; 2], &number(big, 0), options].concat();
            block(big, 1, &body, &mut file);
        }
        // What is not known is passed over.
        block(big, 0x0bad, b"of no account", &mut file);
        for ((_, time, _), index) in interfaces.iter().zip(0..) {
            block(big, 6, &head(big, index, *time, &one), &mut file);
        }
        // The retired block, which has how many were lost where this one has half of its
        // interface; then one without a time.
        let mut old = head(big, 0, SECOND * 1_000_000, &one);
        old.splice(..4, [short(big, 1), short(big, 9)].concat());
        block(big, 2, &old, &mut file);
        let simple = [&number(big, one.data.len() as u32)[..], &one.data].concat();
        block(big, 3, &simple, &mut file);
        let lost = if big {
            3_u64.to_be_bytes()
        } else {
            3_u64.to_le_bytes()
        };
        let statistics = [&[0; 12][..], &option(big, 5, &lost)].concat();
        block(big, 5, &statistics, &mut file);

        let mut source = CaptureFile::new(Cursor::new(file)).unwrap();
        let read = packets_of(&mut source);
        let times: Vec<Timestamp> = read.iter().map(|one| one.time).collect();
        let mut expected: Vec<Timestamp> = interfaces
            .iter()
            .map(|(_, _, time)| Timestamp(*time))
            .collect();
        let old = Timestamp(SECOND as i64 * NANOSECONDS / 1_000);
        expected.extend([old, old]);
        assert_eq!(times, expected, "big endian: {big}");
        assert!(read.iter().all(|packet| packet.data == one.data));
        assert_eq!(source.lost(), 3);
    }
}

/// A pcap file of the connection: with a magic, bytes behind each packet's head, and the unit of
/// its times in nanoseconds.
fn pcap(big: bool, magic: u32, more: usize, unit: i64) -> Vec<u8> {
    let mut file: Vec<u8> = [magic, 0x0002_0004, 0, 0, 65_535, 101]
        .into_iter()
        .flat_map(|field| number(big, field))
        .collect();
    file.splice(4..8, [short(big, 2), short(big, 4)].concat());
    for packet in connection() {
        let len = packet.data.len() as u32;
        let units = (packet.time.0 / unit) as u32;
        file.extend(
            [1_700_000_000, units, len, len]
                .into_iter()
                .flat_map(|field| number(big, field)),
        );
        file.resize(file.len() + more, 0);
        file.extend(&packet.data);
    }
    file
}

#[test]
fn pcap_is_read_in_both_orders_of_bytes_and_units_of_time() {
    for big in [false, true] {
        for (magic, more, unit) in [
            (0xa1b2_c3d4, 0, 1_000),
            (0xa1b2_3c4d, 0, 1),
            (0xa1b2_cd34, 8, 1_000),
        ] {
            let file = Cursor::new(pcap(big, magic, more, unit));
            let read = packets_of(&mut CaptureFile::new(file).unwrap());
            carries_the_same(&read);
            let latest = read.iter().map(|one| one.time.0).max().unwrap();
            let expected = connection()
                .iter()
                .map(|one| one.time.0 / unit * unit)
                .max();
            assert_eq!(latest, 1_700_000_000_000_000_000 + expected.unwrap());
        }
    }
}

/// Gives one byte at a time, as a slow pipe does.
struct Trickle(Cursor<Vec<u8>>);

impl Read for Trickle {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let one = out.len().min(1);
        self.0.read(&mut out[..one])
    }
}

#[test]
fn a_file_that_comes_byte_by_byte_is_read_packed_and_unpacked() {
    let file = pcap(false, 0xa1b2_3c4d, 0, 1);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&file).unwrap();
    for bytes in [gzip.finish().unwrap(), file] {
        let mut source = CaptureFile::new(Trickle(Cursor::new(bytes))).unwrap();
        carries_the_same(&packets_of(&mut source));
    }
}

/// Connections to a server that is asked `request` and answers `answer`.
fn connections(count: u16, request: &[u8], answer: &[u8]) -> Vec<OwnPacket> {
    let mut all = Vec::new();
    for number in 0..count {
        let mut packets = opening([1, 1]);
        packets.push(packet(0, 2, 1, ACK, request));
        packets.push(packet(1, 3, 1, ACK, answer));
        for (side, packet) in packets.iter_mut().enumerate() {
            let at = if side % 2 == 0 { 20 } else { 22 };
            packet.data[at..at + 2].copy_from_slice(&(30_000 + number).to_be_bytes());
        }
        all.extend(packets);
    }
    all
}

#[test]
fn what_is_no_rocketmq_is_said_once_and_the_rest_is_shown() {
    // The beginning of a client's first record, and of a server's.
    let hello = [&[0x16, 3, 1, 0, 100, 1, 0, 0, 96, 3, 3][..], &[7; 93]].concat();
    let server_hello = [&[0x16, 3, 3, 0, 50, 2, 0, 0, 46, 3, 3][..], &[8; 43]].concat();
    let encrypted = connections(3, &hello, &server_hello);
    let http = connections(
        3,
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    );
    let other = segment(0, 1, ACK, b"x");
    let udp = {
        let mut data = ipv4(0, 0, 0, &other);
        data[9] = 17;
        whole(1, LinkType::RAW, data)
    };
    for (foreign, is_encrypted) in [(encrypted, true), (http, false)] {
        let packets = [foreign, vec![udp.clone()], connection()].concat();
        let outcome = inspect(&packets, Options::default());
        let counts = outcome.inspector.counts();
        assert_eq!(outcome.exchanges.len(), 12);
        assert_eq!(counts.passed_over, 1);
        let [notice] = &outcome.notices[..] else {
            panic!("not said once: {:?}", outcome.notices);
        };
        let said = notice.to_string();
        assert!(said.contains("10.0.0.2:10911"), "{said}");
        if is_encrypted {
            assert!(matches!(notice, Notice::Encrypted(_)), "{said}");
            assert_eq!((counts.encrypted, counts.foreign), (3, 0));
        } else {
            assert!(matches!(notice, Notice::Foreign { .. }), "{said}");
            assert_eq!((counts.encrypted, counts.foreign), (0, 3));
        }
    }
}

#[test]
fn a_link_that_cannot_be_read_is_said_once() {
    let mut packets = connection();
    for packet in &mut packets {
        packet.link = LinkType(147);
    }
    let outcome = inspect(&packets, Options::default());
    assert_eq!(outcome.notices, [Notice::LinkType(147)]);
    assert_eq!(outcome.exchanges.len(), 0);
}

#[test]
fn a_recording_tells_how_many_packets_were_lost_if_its_format_can() {
    for (format, told) in [(FileFormat::Pcapng, 4), (FileFormat::Pcap, 0)] {
        let mut recorder = Recorder::new(Vec::new(), format).unwrap();
        let seen = packet(0, 0, 1, ACK, b"seen");
        recorder.write(&Observed::Packet(seen.as_packet())).unwrap();
        let file = recorder.finish(4).unwrap();
        let mut source = CaptureFile::new(Cursor::new(file)).unwrap();
        assert_eq!(packets_of(&mut source).len(), 1);
        assert_eq!(source.lost(), told);
    }
}
