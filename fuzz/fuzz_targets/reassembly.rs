#![no_main]
//! Segments of one connection in any order, and the frames in them.

use std::net::{Ipv4Addr, SocketAddr};

use inspect::{Chunk, Flow, Inspector, LinkType, Observed, Options, Packet, Timestamp};
use libfuzzer_sys::fuzz_target;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

// Each step: what kind, its place in the stream, how long it is, and its bytes.
fuzz_target!(|bytes: &[u8]| {
    let mut inspector = Inspector::new(Options {
        max_buffered: 1 << 20,
        ..Options::default()
    });
    let mut count = 0;
    let mut sink = |_| count += 1;
    let mut rest = bytes;
    let mut time = 0;
    while let Some((&[kind, s0, s1, wait, length], tail)) = rest.split_first_chunk::<5>() {
        let (payload, tail) = tail.split_at(usize::from(length).min(tail.len()));
        rest = tail;
        time += i64::from(wait) * 10_000_000;
        let (source, destination) = if kind & 1 == 0 { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
        if kind & 2 == 0 {
            let mut data = vec![0x45, 0];
            data.extend_from_slice(&(40 + payload.len() as u16).to_be_bytes());
            data.extend_from_slice(&[0, 0, 0, 0, 64, 6, 0, 0]);
            data.extend_from_slice(&source.octets());
            data.extend_from_slice(&destination.octets());
            data.extend_from_slice(&[0, 1, 0, 1, 0, 0, s0, s1, 0, 0, s1, s0, 0x50, kind >> 2, 0, 0]);
            data.extend_from_slice(&[0; 4]);
            data.extend_from_slice(payload);
            let packet = Packet {
                time: Timestamp(time),
                link: LinkType::RAW,
                data: &data,
                original_len: data.len() as u32 + u32::from(kind >> 7),
            };
            inspector.observe(Observed::Packet(packet), &mut sink);
        } else {
            let end = |ip: Ipv4Addr| SocketAddr::new(ip.into(), 2);
            let chunk = Chunk {
                time: Timestamp(time),
                flow: Flow { source: end(source), destination: end(destination) },
                process: None,
                data: payload,
                missing: u64::from(s0),
                ends: kind & 4 != 0,
            };
            inspector.observe(Observed::Chunk(chunk), &mut sink);
        }
    }
    inspector.end(&mut sink);
    assert_eq!(inspector.counts().exchanges, count);
});
