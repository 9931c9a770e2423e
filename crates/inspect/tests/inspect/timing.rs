//! Where the time of exchanges went, and how far groups are behind.

use std::time::Duration;

use kerolox_inspect::view::{json, line};
use kerolox_inspect::{Exchange, Options, Shares, Timestamp};
use serde_json::Value;
use wire::frame::SerializeType;

use crate::follow::{Dialogue, record};
use crate::made::{ACK, SYN, packet, sends};
use crate::support::{OwnPacket, inspect};

const MILLISECOND: i64 = 1_000_000;

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A packet that also says what its sender has of the other direction.
fn answering(mut packet: OwnPacket, number: u32) -> OwnPacket {
    packet.data[28..32].copy_from_slice(&number.to_be_bytes());
    packet
}

#[test]
fn the_time_of_an_exchange_is_shared_out_and_packets_sent_again_are_told() {
    let [request, response] = sends(1, SerializeType::Json);
    let (start, end) = request.split_at(100);
    let next = 1_000 + request.len() as u32;
    // The server is 2 ms away from where packets are captured, the client 1 ms.
    let packets = [
        packet(0, 0, 999, SYN, &[]),
        answering(packet(1, 2 * MILLISECOND, 1_999, SYN | ACK, &[]), 1_000),
        answering(packet(0, 3 * MILLISECOND, 1_000, ACK, &[]), 2_000),
        answering(packet(0, 10 * MILLISECOND, 1_000, ACK, start), 2_000),
        answering(packet(0, 14 * MILLISECOND, 1_100, ACK, end), 2_000),
        answering(packet(0, 17 * MILLISECOND, 1_100, ACK, end), 2_000),
        answering(
            packet(1, 30 * MILLISECOND, 2_000, ACK, &response[..50]),
            next,
        ),
        answering(
            packet(1, 35 * MILLISECOND, 2_050, ACK, &response[50..]),
            next,
        ),
    ];
    let outcome = inspect(&packets, Options::default());
    let [exchange] = &outcome.exchanges[..] else {
        panic!("not one exchange: {:#?}", outcome.exchanges);
    };
    let shares = Shares {
        client: milliseconds(4),
        network: milliseconds(2 + 5),
        server: milliseconds(30 - 14 - 2),
    };
    assert_eq!(exchange.timing.shares(), Some(shares));
    assert_eq!(exchange.latency(), Some(milliseconds(25)));
    let shown = line::line(exchange);
    assert!(shown.contains("  25.0 ms  1 sent again  "), "{shown}");
    let object: Value = serde_json::from_str(&json::line(exchange)).expect("JSON");
    let number = |name: &str| object[name].as_f64();
    assert_eq!(number("clientTime"), Some(4.0));
    assert_eq!(number("networkTime"), Some(7.0));
    assert_eq!(number("serverTime"), Some(14.0));
    assert_eq!(number("retransmissions"), Some(1.0));
    // Without the connection's opening nobody knows the way.
    let outcome = inspect(&packets[3..], Options::default());
    assert_eq!(outcome.exchanges.len(), 1);
    assert_eq!(outcome.exchanges[0].timing.shares(), None);
}

/// A pull of a message that is stored at `STORED`, asked for and answered at these milliseconds.
fn pulled(asked: i64, answered: i64) -> Exchange {
    let mut dialogue = Dialogue::default();
    dialogue.pull("orders", "1", &record("orders", (1, 5), 100, ""));
    for (packet, time) in dialogue.packets.iter_mut().zip([asked, answered]) {
        packet.time = Timestamp(time * MILLISECOND);
    }
    let mut outcome = inspect(&dialogue.packets, Options::default());
    outcome.exchanges.remove(0)
}

#[test]
fn a_long_poll_is_told_from_a_slow_pull() {
    const STORED: i64 = 1_700_000_000_001;
    let held = pulled(STORED - 400, STORED + 30);
    assert_eq!(held.timing.held, milliseconds(400));
    assert_eq!(held.effort(), Some(milliseconds(30)));
    let shown = line::line(&held);
    assert!(shown.contains("  430 ms (held 400 ms)  "), "{shown}");
    let slow = pulled(STORED + 5, STORED + 435);
    assert!(!slow.is_held());
    assert_eq!(slow.effort(), Some(milliseconds(430)));
}

#[test]
fn how_far_a_group_is_behind_is_seen_on_the_wire() {
    let mut dialogue = Dialogue::default();
    dialogue.pull("orders", "1", &record("orders", (1, 5), 100, ""));
    let lag = |dialogue: &Dialogue| {
        let outcome = inspect(&dialogue.packets, Options::default());
        let progress = outcome.inspector.sessions().progress();
        let behind = progress.map(|(key, progress)| {
            let queue = format!("{} {} {}", key.group, key.topic, key.queue_id);
            (queue, progress.lag())
        });
        behind.collect::<Vec<_>>()
    };
    // The queue ends at 9, the pull brought 5.
    let queue = "buyers orders 1".to_owned();
    assert_eq!(lag(&dialogue), [(queue.clone(), 3)]);
    dialogue.commit("4");
    assert_eq!(lag(&dialogue), [(queue, 5)]);
}
