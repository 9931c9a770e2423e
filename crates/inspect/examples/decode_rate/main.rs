//! How fast traffic is read, one thread, in processor time: `cargo run --release -p
//! kerolox-inspect --example decode_rate`. With a file's name, it writes that traffic to a pcap
//! file instead. `cargo xtask bench inspect` makes a table of it.

mod traffic;

use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::io::BufWriter;
use std::time::Duration;

use kerolox_inspect::{
    Chunk, FileFormat, Inspector, Observed, Options, Packet, Recorder, Statistics, Timestamp,
};
use rustix::time::{ClockId, clock_gettime};
use wire::command::{Command, SendMessageV2};
use wire::frame::{self, Frame, SerializeType};
use wire::header::HeaderError;
use wire::header::pull::{PullMessageRequest, PullMessageResponse};
use wire::header::send::{SendMessageRequestV2, SendMessageResponse};

use traffic::Traffic;

/// Processor time of a measurement.
const LENGTH: Duration = Duration::from_secs(2);

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(path) = std::env::args().nth(1) {
        return write(&path);
    }
    let mut sends = Vec::new();
    for serialize in [SerializeType::RocketMq, SerializeType::Json] {
        let mut traffic = Traffic::default();
        traffic.sends(serialize, 200_000, 256);
        sends.push((format!("sends, {}", serialize.name()), traffic));
    }
    let (mut pulls, mut large) = (Traffic::default(), Traffic::default());
    pulls.pulls(SerializeType::RocketMq, 4_000);
    large.sends(SerializeType::RocketMq, 6_000, 16 << 10);
    let work = sends.into_iter().chain([
        ("pulls of 32 messages, ROCKETMQ".to_owned(), pulls),
        ("sends and pulls, both".to_owned(), mixed(2_000)),
        ("sends of 16 KB, ROCKETMQ".to_owned(), large),
    ]);
    for (name, traffic) in work {
        frames(&name, &traffic)?;
        measure(&name, "stream", &traffic, |observe| {
            for (write, time) in traffic.writes.iter().zip(times()) {
                observe(Observed::Chunk(Chunk {
                    time,
                    flow: write.flow,
                    process: None,
                    data: &write.bytes,
                    missing: 0,
                    ends: false,
                }));
            }
        })?;
        let packets = traffic.packets();
        measure(&name, "packets", &traffic, |observe| {
            for (data, time) in packets.iter().zip(times()) {
                observe(Observed::Packet(packet(data, time)));
            }
        })?;
    }
    Ok(())
}

/// As much sent as consumed, and as much of either serialization.
fn mixed(rounds: usize) -> Traffic {
    let mut traffic = Traffic::default();
    for _ in 0..rounds {
        for serialize in [SerializeType::RocketMq, SerializeType::Json] {
            traffic.sends(serialize, traffic::BATCH, 256);
            traffic.pulls(serialize, 1);
        }
    }
    traffic
}

/// A time for each of what is observed, 5 µs apart.
fn times() -> impl Iterator<Item = Timestamp> {
    let first = traffic::NOW * 1_000_000;
    (0..).map(move |at| Timestamp(first + at * 5_000))
}

fn packet(data: &[u8], time: Timestamp) -> Packet<'_> {
    Packet {
        time,
        link: traffic::LINK,
        data,
        original_len: data.len() as u32,
    }
}

/// Cuts the traffic into frames, and reads the head, the typed header and the body of each, over
/// and over.
fn frames(name: &str, traffic: &Traffic) -> Result<(), Box<dyn Error>> {
    let passes = passes(|| {
        let mut frames = 0;
        for write in &traffic.writes {
            let mut rest: &[u8] = &write.bytes;
            while let Some(len) = frame::whole(rest)? {
                let (bytes, behind) = rest.split_at(len);
                read(&Frame::read(&bytes)?)?;
                (frames, rest) = (frames + 1, behind);
            }
        }
        match frames == traffic.frames {
            true => Ok(()),
            false => Err(format!("of {} frames {frames} were read", traffic.frames).into()),
        }
    })?;
    tell(name, "frames", traffic, &passes);
    Ok(())
}

/// Reads the header of a frame, by what it has that others do not.
fn read(frame: &Frame<&[u8]>) -> Result<(), HeaderError> {
    let sends = frame.head.code == SendMessageV2::CODE as i32;
    match (frame.head.is_response(), sends) {
        (false, true) => drop(black_box(frame.header::<SendMessageRequestV2<'_>>()?)),
        (false, false) => drop(black_box(frame.header::<PullMessageRequest<'_>>()?)),
        (true, _) if frame.body.is_empty() => {
            drop(black_box(frame.header::<SendMessageResponse<'_>>()?));
        }
        (true, _) => drop(black_box(frame.header::<PullMessageResponse>()?)),
    }
    Ok(())
}

/// Has an inspector see the traffic over and over; prints how long that took.
fn measure(
    name: &str,
    from: &str,
    traffic: &Traffic,
    give: impl Fn(&mut dyn FnMut(Observed<'_>)),
) -> Result<(), Box<dyn Error>> {
    let passes = passes(|| {
        let mut inspector = Inspector::new(Options::default());
        let mut statistics = Statistics::default();
        give(&mut |observed| {
            inspector.observe(observed, &mut |exchange| statistics.add(&exchange));
        });
        let (frames, exchanges) = (inspector.counts().frames, statistics.total.exchanges);
        if (frames, exchanges, statistics.total.errors) != (traffic.frames, traffic.frames / 2, 0) {
            let made = traffic.frames;
            return Err(format!("of {made} frames {frames} make {exchanges} exchanges").into());
        }
        Ok(())
    })?;
    tell(name, from, traffic, &passes);
    Ok(())
}

/// How long each pass took, in order.
fn passes(
    mut pass: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut passes = Vec::new();
    while passes.iter().sum::<Duration>() < LENGTH {
        let begun = processor_time();
        pass()?;
        passes.push(processor_time() - begun);
    }
    passes.sort();
    Ok(passes)
}

fn tell(name: &str, from: &str, traffic: &Traffic, passes: &[Duration]) {
    let middle = passes[passes.len() / 2].as_secs_f64();
    let bytes: usize = traffic.writes.iter().map(|write| write.bytes.len()).sum();
    println!(
        "{}",
        serde_json::json!({
            "work": name,
            "from": from,
            "frames_per_second": traffic.frames as f64 / middle,
            "messages_per_second": traffic.messages as f64 / middle,
            "bytes_per_second": bytes as f64 / middle,
        })
    );
}

/// What this thread has used so far.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Writes sends and pulls of both serializations to a file.
fn write(path: &str) -> Result<(), Box<dyn Error>> {
    let out = BufWriter::new(File::create(path)?);
    let mut recorder = Recorder::new(out, FileFormat::Pcap)?;
    let traffic = mixed(2_000);
    for (data, time) in traffic.packets().iter().zip(times()) {
        recorder.write(&Observed::Packet(packet(data, time)))?;
    }
    recorder.finish(0)?;
    println!(
        "{}",
        serde_json::json!({ "frames": traffic.frames, "messages": traffic.messages })
    );
    Ok(())
}
