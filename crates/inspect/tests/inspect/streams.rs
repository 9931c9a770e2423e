//! Streams put in order, whatever happened to their packets.

use kerolox_inspect::{Exchange, Notice, Options, Outcome};
use proptest::prelude::*;
use wire::frame::SerializeType;

use crate::made::{ACK, FIN, SYN, cut, packet, sends};
use crate::support::{OwnPacket, inspect, packets};

/// What an exchange says, without when it was seen.
fn gist(exchange: &Exchange) -> String {
    let ids: Vec<_> = exchange
        .messages
        .iter()
        .map(|one| (&one.id, one.offset, one.body_len))
        .collect();
    format!(
        "{} {} {:?} {:?} {:?} {:?} {} {} {ids:?}",
        exchange.id,
        exchange.command,
        exchange.topic,
        exchange.group,
        exchange.offset,
        exchange.outcome,
        exchange.request_len,
        exchange.response_len,
    )
}

pub(crate) fn gists(packets: &[OwnPacket]) -> Vec<String> {
    let mut gists: Vec<String> = inspect(packets, Options::default())
        .exchanges
        .iter()
        .map(gist)
        .collect();
    gists.sort();
    gists
}

/// The opening of a connection whose directions begin at these numbers.
pub(crate) fn opening(first: [u32; 2]) -> Vec<OwnPacket> {
    let [client, server] = first.map(|number| number.wrapping_sub(1));
    vec![
        packet(0, 0, client, SYN, &[]),
        packet(1, 1, server, SYN | ACK, &[]),
    ]
}

fn serializations() -> impl Strategy<Value = SerializeType> {
    prop_oneof![Just(SerializeType::Json), Just(SerializeType::RocketMq)]
}

/// The client for C++, of versions 1 and 2, writes each header with a line's end.
#[test]
fn headers_with_a_line_end_are_read() {
    let header = concat!(
        r#"{"code":105,"extFields":{"AccessKey":"","topic":"orders"},"flag":0,"#,
        r#""language":"CPP","opaque":7,"remark":"","version":63}"#,
        "\n"
    );
    let length = header.len() as u32;
    let words = [length + 4, length].map(u32::to_be_bytes);
    let bytes = [words.as_flattened(), header.as_bytes()].concat();
    let outcome = inspect(&[packet(0, 0, 1, ACK, &bytes)], Options::default());
    let asked: Vec<String> = outcome.exchanges.iter().map(gist).collect();
    assert_eq!(outcome.notices, []);
    assert_eq!(asked.len(), 1);
    assert!(
        asked[0].starts_with("7 GET_ROUTEINFO_BY_TOPIC Some(\"orders\")"),
        "{asked:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_stream_cut_and_reordered_anywhere_gives_the_same_exchanges(
        serialize in serializations(),
        lengths in prop::collection::vec(20_usize..700, 1..20),
        first in any::<[u32; 2]>(),
        order in any::<u64>(),
        copies in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let streams = sends(40, serialize);
        let whole = [100_000];
        let mut expected = opening(first);
        for side in 0..2 {
            expected.extend(cut(side, first[side], &streams[side], &whole));
        }
        let mut pieces: Vec<OwnPacket> = (0..2)
            .flat_map(|side| cut(side, first[side], &streams[side], &lengths))
            .collect();
        for side in 0..2 {
            let end = first[side].wrapping_add(streams[side].len() as u32);
            pieces.push(packet(side, 1, end, FIN | ACK, &[]));
        }
        let twice: Vec<OwnPacket> = copies.iter().map(|copy| copy.get(&pieces).clone()).collect();
        pieces.extend(twice);
        // A permutation that the number gives.
        let mut state = order | 1;
        for at in (1..pieces.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            pieces.swap(at, (state >> 33) as usize % (at + 1));
        }
        let packets = [opening(first), pieces].concat();
        prop_assert_eq!(gists(&packets), gists(&expected));
    }

    #[test]
    fn any_packets_are_read_to_their_end(
        datas in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..50),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 0..60),
    ) {
        let mut all = packets("remoting.pcap");
        for (packet, at, byte) in damage {
            let data = &mut all[packet.index(434)].data;
            let at = at.index(data.len());
            data[at] = byte;
        }
        for data in datas {
            let mut one = all[0].clone();
            one.original_len = data.len() as u32;
            one.data = data;
            all.push(one);
        }
        let outcome = inspect(&all, Options::default());
        prop_assert_eq!(outcome.inspector.counts().exchanges, outcome.exchanges.len() as u64);
    }
}

#[test]
fn a_connection_is_read_from_its_middle_on() {
    for serialize in [SerializeType::Json, SerializeType::RocketMq] {
        let streams = sends(20, serialize);
        let whole = gists(
            &[
                cut(0, 1, &streams[0], &[9_999]),
                cut(1, 1, &streams[1], &[9_999]),
            ]
            .concat(),
        );
        let middle = streams.each_ref().map(|stream| &stream[stream.len() / 3..]);
        let part = gists(&[cut(0, 1, middle[0], &[500]), cut(1, 1, middle[1], &[500])].concat());
        let known = part.iter().filter(|gist| whole.contains(gist)).count();
        assert!(
            known >= 11,
            "{serialize:?}: {known} of {}: {part:#?}",
            whole.len()
        );
    }
}

#[test]
fn a_lost_packet_costs_what_was_in_it_alone() {
    let streams = sends(60, SerializeType::Json);
    let first = [u32::MAX - 3_000, 5];
    let mut pieces = cut(0, first[0], &streams[0], &[400]);
    let lost = pieces.len() / 2;
    pieces.remove(lost);
    pieces.extend(cut(1, first[1], &streams[1], &[400]));
    let outcome = inspect(&[opening(first), pieces].concat(), Options::default());
    let answered = outcome
        .exchanges
        .iter()
        .filter(|one| matches!(one.outcome, Outcome::Answered(_)) && one.topic.is_some());
    assert!(answered.count() >= 57);
    assert_eq!(outcome.inspector.counts().missing, 400);
    assert!(
        matches!(outcome.notices[..], [Notice::Missing(_)]),
        "{:?}",
        outcome.notices
    );
}

#[test]
fn one_direction_alone_gives_what_it_says() {
    let streams = sends(10, SerializeType::RocketMq);
    let requests = inspect(&cut(0, 7, &streams[0], &[333]), Options::default());
    assert_eq!(requests.exchanges.len(), 10);
    assert!(
        requests
            .exchanges
            .iter()
            .all(|one| one.topic.as_deref() == Some("orders"))
    );
    let responses = inspect(&cut(1, 7, &streams[1], &[333]), Options::default());
    assert_eq!(responses.exchanges.len(), 10);
    assert!(
        responses
            .exchanges
            .iter()
            .all(|one| one.server.port() == 10_911)
    );
}

#[test]
fn a_capture_that_has_each_packet_twice_tells_of_nothing_sent_again() {
    let once = packets("remoting.pcap");
    let twice: Vec<OwnPacket> = once
        .iter()
        .flat_map(|one| [one.clone(), one.clone()])
        .collect();
    assert_eq!(gists(&twice), gists(&once));
    let count = |packets: &[OwnPacket]| {
        inspect(packets, Options::default())
            .inspector
            .counts()
            .retransmissions
    };
    assert_eq!(count(&twice), count(&once));
}

#[test]
fn packets_cut_off_by_a_snap_length_still_tell_their_commands() {
    let mut cut_off = packets("remoting.pcap");
    for packet in &mut cut_off {
        packet.data.truncate(700);
    }
    let outcome = inspect(&cut_off, Options::default());
    assert!(outcome.exchanges.len() > 120, "{}", outcome.exchanges.len());
    assert!(
        outcome.notices.contains(&Notice::Cut(700)),
        "{:?}",
        outcome.notices
    );
}

#[test]
fn memory_is_bounded_by_what_the_options_allow() {
    let options = Options {
        max_connections: 8,
        max_buffered: 64 << 10,
        ..Options::default()
    };
    let streams = sends(3, SerializeType::Json);
    let mut all = Vec::new();
    for port in 0..100_u16 {
        let mut packets = cut(0, 1, &streams[0], &[100]);
        // All but the last packet, so that every connection has a frame that is not whole.
        packets.pop();
        for packet in &mut packets {
            packet.data[20..22].copy_from_slice(&(20_000 + port).to_be_bytes());
        }
        all.extend(packets);
    }
    let outcome = inspect(&all, options);
    assert!(outcome.inspector.counts().dropped >= 92);
    assert!(
        outcome.notices.contains(&Notice::Full),
        "{:?}",
        outcome.notices
    );
}
