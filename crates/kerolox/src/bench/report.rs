//! What a load came to, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;
use wire::code::ResponseCode;

use super::tally::Tally;

/// The result of a load, with what it was.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// What was measured, as on the command line.
    pub(super) mode: &'static str,
    pub(super) broker: String,
    pub(super) topic: String,
    /// Of all topics.
    pub(super) queues: usize,
    /// What had to be sent before pulling, if anything.
    pub(super) fill: Option<Fill>,
    pub(super) connections: usize,
    pub(super) in_flight: usize,
    pub(super) threads: usize,
    pub(super) serialize: &'static str,
    /// Bytes of a message's body.
    pub(super) body_size: usize,
    /// Messages a send.
    pub(super) batch: u32,
    /// Messages a pull at most.
    pub(super) max_messages: u32,
    /// Messages a second that the load intends; absent in a closed loop.
    pub(super) rate: Option<f64>,
    pub(super) runs: Vec<RunReport>,
    /// The run with the middle rate.
    pub(super) median: Option<RunReport>,
    /// What the server said with the first refusal of each code.
    pub(super) remarks: BTreeMap<i32, String>,
}

/// How the queues were filled.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Fill {
    pub(super) seconds: f64,
    pub(super) messages: u64,
    /// Requests that the server was too busy for; they were sent again later.
    pub(super) refused: u64,
}

/// One run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct RunReport {
    pub(super) seconds: f64,
    pub(super) messages: u64,
    pub(super) messages_per_second: f64,
    /// Messages sent a second, where the others are those received.
    pub(super) sent_per_second: Option<f64>,
    /// Millions of bytes: of bodies sent, or of pull answers' bodies.
    pub(super) megabytes_per_second: f64,
    pub(super) latency_us: Latency,
    /// Refusals by response code.
    pub(super) errors: BTreeMap<i32, u64>,
    /// Open loop: messages that were due in the run but could not be sent in it.
    pub(super) unsent: u64,
    /// Open loop: requests without an answer.
    pub(super) unanswered: u64,
    /// What the server's process used, if it was watched.
    pub(super) server: Option<ServerUsage>,
    /// Processor time of the load generator, in microseconds, if the server's process was watched.
    pub(super) own_cpu_us_per_message: Option<f64>,
    /// End to end: messages that were acknowledged but did not come.
    pub(super) missing: u64,
}

/// What a server's process used in a run.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ServerUsage {
    /// Processor time of all its threads, in microseconds.
    pub(super) cpu_us_per_message: f64,
    /// Resident memory at the run's end, in bytes.
    pub(super) resident_bytes: u64,
    /// The part of it that no file backs.
    pub(super) private_bytes: u64,
}

/// Latencies in microseconds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Latency {
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    #[serde(rename = "p99.9")]
    pub(super) p999: f64,
    pub(super) max: f64,
}

impl RunReport {
    pub(super) fn new(tally: &Tally, seconds: f64) -> Self {
        let at = |quantile| tally.latency.value_at_quantile(quantile) as f64 / 1000.0;
        let a_message = |time: Duration| time.as_secs_f64() * 1e6 / tally.messages.max(1) as f64;
        Self {
            seconds,
            messages: tally.messages,
            messages_per_second: tally.messages as f64 / seconds,
            sent_per_second: tally.sent.map(|sent| sent as f64 / seconds),
            megabytes_per_second: tally.bytes as f64 / seconds / 1e6,
            latency_us: Latency {
                mean: tally.latency.mean() / 1000.0,
                p50: at(0.5),
                p90: at(0.9),
                p99: at(0.99),
                p999: at(0.999),
                max: tally.latency.max() as f64 / 1000.0,
            },
            errors: tally.errors.clone(),
            unsent: tally.unsent,
            unanswered: tally.unanswered,
            missing: tally.missing,
            server: tally.server.map(|usage| ServerUsage {
                cpu_us_per_message: a_message(usage.processor),
                resident_bytes: usage.resident,
                private_bytes: usage.private,
            }),
            own_cpu_us_per_message: tally.own_processor.map(a_message),
        }
    }

    fn row(&self, name: &str, out: &mut String) {
        let latency = &self.latency_us;
        let _ = write!(
            out,
            "{name:>6} {:>12} {:>9.1}",
            grouped(self.messages_per_second.round() as u64),
            self.megabytes_per_second
        );
        for microseconds in [
            latency.p50,
            latency.p90,
            latency.p99,
            latency.p999,
            latency.max,
        ] {
            let _ = write!(out, " {:>9}", time(microseconds));
        }
        let errors: u64 = self.errors.values().sum();
        let _ = writeln!(
            out,
            " {:>8}",
            grouped(errors + self.unanswered + self.missing)
        );
    }
}

impl Report {
    /// The run with the middle rate.
    pub(super) fn with_median(mut self) -> Self {
        let mut by_rate: Vec<_> = self.runs.iter().collect();
        by_rate.sort_by(|a, b| a.messages_per_second.total_cmp(&b.messages_per_second));
        self.median = by_rate.get(by_rate.len() / 2).map(|run| (*run).clone());
        self
    }

    /// The result as a table.
    pub(super) fn table(&self) -> String {
        let mut out = format!(
            "{} on {}, topic {} ({} queues), ",
            self.mode, self.broker, self.topic, self.queues
        );
        let _ = match self.rate {
            Some(rate) => write!(out, "{} messages a second intended", grouped(rate as u64)),
            None => write!(
                out,
                "{} connections × {} in flight",
                self.connections, self.in_flight
            ),
        };
        let _ = match self.mode {
            "pull" | "pop" | "orderly" => {
                writeln!(
                    out,
                    ", up to {} messages a {}",
                    self.max_messages,
                    if self.mode == "pull" { "pull" } else { "pop" }
                )
            }
            _ if self.batch > 1 => {
                writeln!(out, ", {} B × {} a request", self.body_size, self.batch)
            }
            _ => writeln!(out, ", {} B", self.body_size),
        };
        if let Some(fill) = &self.fill {
            let _ = writeln!(
                out,
                "filled before with {} messages in {:.1} s, {} requests refused",
                grouped(fill.messages),
                fill.seconds,
                grouped(fill.refused)
            );
        }
        let _ = writeln!(
            out,
            "{:>6} {:>12} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8}",
            "run", "msg/s", "MB/s", "p50", "p90", "p99", "p99.9", "max", "failed"
        );
        for (number, run) in self.runs.iter().enumerate() {
            run.row(&(number + 1).to_string(), &mut out);
        }
        if let (Some(median), 2..) = (&self.median, self.runs.len()) {
            median.row("median", &mut out);
        }
        for (number, run) in self.runs.iter().enumerate() {
            if let Some(sent) = run.sent_per_second {
                let sent = grouped(sent.round() as u64);
                let _ = writeln!(out, "run {}: {sent} messages sent a second", number + 1);
            }
            if let Some(server) = &run.server {
                let _ = writeln!(
                    out,
                    "run {}: the server took {} of processor time a message, the load generator {}; {} MB resident, {} MB private",
                    number + 1,
                    time(server.cpu_us_per_message),
                    time(run.own_cpu_us_per_message.unwrap_or_default()),
                    grouped(server.resident_bytes / 1_000_000),
                    grouped(server.private_bytes / 1_000_000),
                );
            }
            for (code, count) in &run.errors {
                let name = ResponseCode::try_from(*code).map_or("unknown code", ResponseCode::name);
                let remark = self.remarks.get(code).map_or("", String::as_str);
                let _ = writeln!(
                    out,
                    "run {}: {} answers with code {code} ({name}): {remark}",
                    number + 1,
                    grouped(*count)
                );
            }
            for (count, what) in [
                (
                    run.unsent,
                    "messages were due but could not be sent: the broker does not keep up",
                ),
                (run.unanswered, "requests were not answered"),
                (run.missing, "messages were acknowledged but did not come"),
            ] {
                if count > 0 {
                    let _ = writeln!(out, "run {}: {} {what}", number + 1, grouped(count));
                }
            }
        }
        out
    }
}

/// What more load than a broker can take does to its rate.
#[derive(Debug, Serialize)]
pub(super) struct Overload {
    /// With as much as keeps the broker busy.
    usual: Report,
    /// With many times the connections.
    overloaded: Report,
    /// The part of the usual rate that is left, by the medians.
    kept: f64,
}

impl Overload {
    pub(super) fn new(usual: Report, overloaded: Report) -> Self {
        let rate = |report: &Report| {
            let median = report.median.as_ref();
            median.map_or(0.0, |run| run.messages_per_second)
        };
        let kept = rate(&overloaded) / rate(&usual).max(1.0);
        Self {
            usual,
            overloaded,
            kept,
        }
    }

    /// The result as tables.
    pub(super) fn table(&self) -> String {
        format!(
            "{}\n{}\n{:.1} % of the rate are kept\n",
            self.usual.table(),
            self.overloaded.table(),
            self.kept * 100.0
        )
    }
}

/// A number with commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Microseconds in a unit that fits.
fn time(microseconds: f64) -> String {
    match microseconds {
        us if us < 10.0 => format!("{us:.1} µs"),
        us if us < 1000.0 => format!("{us:.0} µs"),
        us if us < 10_000.0 => format!("{:.2} ms", us / 1000.0),
        us if us < 1_000_000.0 => format!("{:.1} ms", us / 1000.0),
        us => format!("{:.2} s", us / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(2_770_000), "2,770,000");
        assert_eq!(time(7.25), "7.2 µs");
        assert_eq!(time(138.4), "138 µs");
        assert_eq!(time(29_000.0), "29.0 ms");
        assert_eq!(time(1_500_000.0), "1.50 s");
    }
}
