//! What producers and consumers say to a broker, made up: a connection for each kind of client and
//! each serialization.

use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use bytes::BytesMut;
use kerolox_inspect::{Flow, LinkType};
use wire::command::{Command, PullMessage, SendMessageV2};
use wire::frame::{self, Head, SerializeType};
use wire::header::pull::{PullMessageRequest, PullMessageResponse};
use wire::header::send::{SendMessageRequestV2, SendMessageResponse};
use wire::message::record::{RecordFields, RecordVersion};
use wire::message::{properties, property};

/// Messages that a producer sends before the consumer asks, and that it then gets.
pub(crate) const BATCH: usize = 32;
/// Frames in a write of either end.
const PIPELINED: usize = 8;
/// Bytes of a TCP segment on an Ethernet.
const SEGMENT: usize = 1448;
/// What the packets begin with.
pub(crate) const LINK: LinkType = LinkType::ETHERNET;
/// The time of all messages, in milliseconds since 1970.
pub(crate) const NOW: i64 = 1_700_000_000_000;

const TOPICS: [&str; 4] = ["orders", "payments", "TopicOfShipments", "audit-log"];
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 10_911);

/// What one end wrote at once.
pub(crate) struct Write {
    pub(crate) flow: Flow,
    pub(crate) bytes: BytesMut,
}

/// What was said on all connections, in the order of time.
#[derive(Default)]
pub(crate) struct Traffic {
    pub(crate) writes: Vec<Write>,
    pub(crate) frames: u64,
    /// Messages sent and delivered.
    pub(crate) messages: u64,
    opaque: i32,
    /// Messages sent so far.
    sent: usize,
}

impl Traffic {
    /// Sends of messages with so many bytes, each answered.
    pub(crate) fn sends(&mut self, serialize: SerializeType, count: usize, body_len: usize) {
        let body = vec![b'x'; body_len];
        for first in (0..count).step_by(PIPELINED) {
            let (mut requests, mut answers) = (BytesMut::new(), BytesMut::new());
            for _ in first..count.min(first + PIPELINED) {
                self.sent += 1;
                let head = self.head::<SendMessageV2>(serialize);
                let properties = properties_of(self.sent);
                let request = SendMessageRequestV2 {
                    producer_group: Cow::Borrowed("shop-producers"),
                    topic: Cow::Borrowed(TOPICS[self.sent % TOPICS.len()]),
                    default_topic: Cow::Borrowed("TBW102"),
                    default_topic_queue_nums: 4,
                    queue_id: (self.sent / TOPICS.len() % 8) as i32,
                    born_timestamp: NOW,
                    properties: Some(Cow::Owned(properties)),
                    reconsume_times: Some(0),
                    unit_mode: Some(false),
                    batch: Some(false),
                    ..SendMessageRequestV2::default()
                };
                put(&head, &request, &body, &mut requests);
                let answer = SendMessageResponse {
                    msg_id: Cow::Owned(format!("0A00000200002A9F{:016X}", self.sent * 600)),
                    queue_id: request.queue_id,
                    queue_offset: (self.sent / TOPICS.len() / 8) as i64,
                    transaction_id: Some(Cow::Owned(unique_key(self.sent))),
                    region_id: Some(Cow::Borrowed("DefaultRegion")),
                    trace_on: Some(true),
                    ..SendMessageResponse::default()
                };
                put(&head.response(0), &answer, &[], &mut answers);
                self.messages += 1;
            }
            self.write(40_000 + serialize as u16, requests, answers);
        }
    }

    /// Pulls, each answered with 32 messages.
    pub(crate) fn pulls(&mut self, serialize: SerializeType, count: usize) {
        for _ in 0..count {
            let head = self.head::<PullMessage>(serialize);
            let number = head.opaque as usize;
            let queue_offset = (number * BATCH) as i64;
            let request = PullMessageRequest {
                consumer_group: Cow::Borrowed("shop-consumers"),
                topic: Cow::Borrowed(TOPICS[number % TOPICS.len()]),
                queue_id: (number % 8) as i32,
                queue_offset,
                max_msg_nums: BATCH as i32,
                sys_flag: 3,
                commit_offset: queue_offset,
                suspend_timeout_millis: 15_000,
                sub_version: NOW,
                expression_type: Some(Cow::Borrowed("TAG")),
                ..PullMessageRequest::default()
            };
            let (mut requests, mut answers) = (BytesMut::new(), BytesMut::new());
            put(&head, &request, &[], &mut requests);
            let mut body = BytesMut::new();
            for at in 0..BATCH {
                record(&request, queue_offset + at as i64, &mut body);
            }
            let answer = PullMessageResponse {
                next_begin_offset: queue_offset + BATCH as i64,
                max_offset: queue_offset + 100,
                ..PullMessageResponse::default()
            };
            put(&head.response(0), &answer, &body, &mut answers);
            self.messages += BATCH as u64;
            self.write(50_000 + serialize as u16, requests, answers);
        }
    }

    fn head<C: Command>(&mut self, serialize: SerializeType) -> Head {
        self.opaque += 1;
        self.frames += 2;
        Head {
            opaque: self.opaque,
            ..Head::request(C::CODE as i32, serialize)
        }
    }

    fn write(&mut self, port: u16, requests: BytesMut, answers: BytesMut) {
        let (client, server) = (SocketAddr::from((CLIENT, port)), SocketAddr::V4(SERVER));
        let there = Flow {
            source: client,
            destination: server,
        };
        let back = Flow {
            source: server,
            destination: client,
        };
        for (flow, bytes) in [(there, requests), (back, answers)] {
            self.writes.push(Write { flow, bytes });
        }
    }

    /// The same as packets of an Ethernet.
    pub(crate) fn packets(&self) -> Vec<Vec<u8>> {
        let mut sequences = std::collections::HashMap::new();
        let mut packets = Vec::new();
        for write in &self.writes {
            let end = |address: SocketAddr| match address {
                SocketAddr::V4(address) => (address.ip().octets(), address.port().to_be_bytes()),
                SocketAddr::V6(_) => unreachable!("all addresses here are of IPv4"),
            };
            let (source, destination) = (end(write.flow.source), end(write.flow.destination));
            for payload in write.bytes.chunks(SEGMENT) {
                let back = sequences.get(&(destination, source)).copied();
                let sequence: &mut u32 = sequences.entry((source, destination)).or_insert(1);
                let mut data = Vec::with_capacity(54 + payload.len());
                data.extend([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
                data.extend([0x45, 0]);
                data.extend((40 + payload.len() as u16).to_be_bytes());
                data.extend((packets.len() as u16).to_be_bytes());
                data.extend([0x40, 0, 64, 6, 0, 0]);
                data.extend(source.0);
                data.extend(destination.0);
                data.extend(source.1);
                data.extend(destination.1);
                data.extend(sequence.to_be_bytes());
                data.extend(back.unwrap_or(1).to_be_bytes());
                data.extend([0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
                data.extend(payload);
                *sequence = sequence.wrapping_add(payload.len() as u32);
                packets.push(data);
            }
        }
        packets
    }
}

fn put<H: wire::header::EncodeHeader>(head: &Head, header: &H, body: &[u8], out: &mut BytesMut) {
    frame::encode(head, None, header, body.len(), out);
    out.extend_from_slice(body);
}

fn record(request: &PullMessageRequest<'_>, queue_offset: i64, out: &mut BytesMut) {
    let properties = properties_of(queue_offset as usize);
    let record = RecordFields {
        version: RecordVersion::V1,
        queue_id: request.queue_id,
        flag: 0,
        queue_offset,
        physical_offset: queue_offset * 600,
        sys_flag: 0,
        born_timestamp: NOW,
        born_host: SocketAddr::from((CLIENT, 40_000)),
        store_timestamp: NOW,
        store_host: SocketAddr::V4(SERVER),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &[b'x'; 256],
        topic: &request.topic,
        properties: properties.as_bytes(),
        more_properties: b"CLUSTER\x01DefaultCluster\x02",
        append_record_crc: false,
    };
    let encoded = record.encode_into(out);
    encoded.expect("a short topic and short properties");
}

fn properties_of(number: usize) -> String {
    let mut text = String::new();
    properties::put(&mut text, property::KEYS, &format!("order-{number}"));
    let key = unique_key(number);
    properties::put(&mut text, property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX, &key);
    properties::put(&mut text, property::WAIT_STORE_MSG_OK, "true");
    let tag = ["created", "paid", "sent"][number % 3];
    properties::put(&mut text, property::TAGS, tag);
    text
}

fn unique_key(number: usize) -> String {
    format!("0A00000112AB18B4AAC2{number:012X}")
}
