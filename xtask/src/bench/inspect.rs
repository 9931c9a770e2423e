//! `cargo xtask bench inspect`: how fast captured traffic is read, beside tshark.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::Args;
use serde::Deserialize;

use super::median;
use super::page::Page;
use super::table::{Table, grouped, megabytes};
use super::usage::{self, Usage};
use crate::interop;
use crate::process::{self, Result, told};

/// Options of `cargo xtask bench inspect`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Rounds; in each the programs read the file one after the other
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    #[command(flatten)]
    page: Page,
}

/// A line of the example `decode_rate`.
#[derive(Debug, Deserialize)]
struct Rate {
    work: String,
    from: String,
    frames_per_second: f64,
    messages_per_second: f64,
    bytes_per_second: f64,
}

/// What it says of the file that it wrote.
#[derive(Debug, Deserialize)]
struct Written {
    frames: u64,
    messages: u64,
}

impl Inspect {
    pub(super) fn run(self) -> Result<()> {
        let kerolox = interop::release_binary(&[])?;
        let mut build = process::cargo();
        build.args(["build", "--release", "--package", "kerolox-inspect"]);
        process::run(build.args(["--example", "decode_rate"]))?;
        let decode_rate = process::target_dir()?.join("release/examples/decode_rate");
        let mut table = memory(&decode_rate)?;
        let file = process::target_dir()?.join("bench/traffic.pcap");
        let files = self.files(&kerolox, &decode_rate, &file);
        // It may not have been written.
        let _ = fs::remove_file(&file);
        table.push_str(&files?);
        self.page.publish("bench inspect", &table)
    }

    /// Has all programs read the same file in turn.
    fn files(&self, kerolox: &Path, decode_rate: &Path, file: &Path) -> Result<String> {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).map_err(|error| told(folder, &error))?;
        }
        let written = process::output(Command::new(decode_rate).arg(file))?;
        let written: Written = serde_json::from_slice(&written)
            .map_err(|error| format!("decode_rate has a strange output: {error}"))?;
        let size = fs::metadata(file).map_err(|error| told(file, &error))?;
        let mut programs: Vec<(&str, &Path, Vec<&str>)> = vec![
            (
                "`kerolox inspect stat`",
                kerolox,
                vec!["inspect", "stat", "--file"],
            ),
            (
                "`kerolox inspect open --output json`",
                kerolox,
                vec!["inspect", "open", "--output", "json"],
            ),
        ];
        let tshark = Path::new("tshark");
        if process::works(Command::new(tshark).arg("--version")) {
            programs.push((
                "`tshark -q -z conv,tcp`: bytes by connection",
                tshark,
                vec!["-n", "-q", "-z", "conv,tcp", "-r"],
            ));
            programs.push((
                "`tshark -T json`: headers down to TCP",
                tshark,
                vec!["-n", "-T", "json", "-r"],
            ));
        } else {
            eprintln!("there is no tshark here, so it is left out: apt-get install tshark");
        }
        let mut samples: Vec<Vec<Usage>> = vec![Vec::new(); programs.len()];
        for round in 1..=self.rounds {
            eprintln!("== round {round} of {}", self.rounds);
            for ((_, program, options), samples) in programs.iter().zip(&mut samples) {
                let mut command = Command::new(program);
                command.args(options).arg(file).stdin(Stdio::null());
                // What a user does who has the output go to a file, without the file.
                samples.push(usage::of_run(
                    command.stdout(Stdio::null()).stderr(Stdio::null()),
                )?);
            }
        }
        let mut table = Table::new([
            "program",
            "time",
            "of processor",
            "frames/s of processor",
            "memory",
        ]);
        for ((title, ..), samples) in programs.iter().zip(samples) {
            let middle = |number: fn(&Usage) -> f64| median(samples.iter().map(number).collect());
            let processor = middle(|usage| usage.processor.as_secs_f64());
            table.row([
                (*title).to_owned(),
                format!("{:.2} s", middle(|usage| usage.time.as_secs_f64())),
                format!("{processor:.2} s"),
                grouped(written.frames as f64 / processor.max(0.01)),
                megabytes(middle(|usage| usage.memory as f64)),
            ]);
        }
        Ok(format!(
            "\nA file of {} with {} frames, {} messages among them, sent and consumed in packets \
             of an Ethernet:\n\n{}",
            megabytes(size.len() as f64),
            grouped(written.frames as f64),
            grouped(written.messages as f64),
            table.text()
        ))
    }
}

/// What one thread reads from memory.
fn memory(decode_rate: &Path) -> Result<String> {
    let output = process::output(&mut Command::new(decode_rate))?;
    let output = String::from_utf8_lossy(&output);
    let rates = output.lines().map(|line| {
        serde_json::from_str(line)
            .map_err(|error| format!("decode_rate has a strange output: {error}"))
    });
    let rates: Vec<Rate> = rates.collect::<Result<_>>()?;
    let mut table = Table::new([
        "from memory, one thread",
        "frames alone: frames/s",
        "exchanges: frames/s",
        "messages/s",
        "bytes/s",
        "from packets: frames/s",
        "bytes/s",
    ]);
    let from = |from: &'static str| rates.iter().filter(move |rate| rate.from == from);
    for ((frames, stream), packets) in from("frames").zip(from("stream")).zip(from("packets")) {
        table.row([
            stream.work.clone(),
            grouped(frames.frames_per_second),
            grouped(stream.frames_per_second),
            grouped(stream.messages_per_second),
            bytes(stream.bytes_per_second),
            grouped(packets.frames_per_second),
            bytes(packets.bytes_per_second),
        ]);
    }
    Ok(table.text())
}

fn bytes(bytes: f64) -> String {
    format!("{:.2} GB", bytes / 1e9)
}
