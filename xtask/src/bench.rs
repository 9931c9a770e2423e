//! `cargo xtask bench`: null server, reference and Kerolox side by side.
//!
//! `cargo xtask bench kinds` does the same with other workloads: every kind of message.
//!
//! Below it stand the measurements of scale, each a command of its own: how long a start takes
//! on a large store, what a broker takes of memory, what many queues cost, how the protocols
//! compare, and how fast the analyser reads traffic and what it costs the broker that it watches.

mod flush;
mod history;
mod inspect;
mod inspect_live;
mod load;
mod machine;
mod memory;
mod page;
mod protocols;
mod queues;
mod recovery;
mod results;
mod server;
mod side_by_side;
mod table;
mod usage;
mod workload;

use clap::{Args, Subcommand};

use self::page::Page;
use self::server::Programs;
use self::side_by_side::SideBySide;
use self::workload::List;
use crate::process::Result;

/// Options of `cargo xtask bench`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bench {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    side_by_side: SideBySide,
}

/// A measurement with a table of its own.
#[derive(Debug, Subcommand)]
enum Other {
    /// Measure pop, transactions, timers and orderly consumption
    Kinds(SideBySide),
    /// Measure the start on large stores, after a clean stop and after a kill
    Recovery(recovery::Recovery),
    /// Measure memory: idle, under load, with many connections and topics, and a long history
    Memory(memory::Memory),
    /// Measure sending, pulling and starting with many queues
    Queues(queues::Queues),
    /// Measure how fast the analyser reads captured traffic, beside tshark
    Inspect(inspect::Inspect),
    /// Measure what it costs to have the analyser watch a broker (Linux, as root)
    InspectLive(inspect_live::InspectLive),
    /// Measure the protocols of the remoting layer beside each other
    Protocols(protocols::Protocols),
}

/// Options of what is measured beside the reference.
#[derive(Debug, Args)]
struct Comparison {
    /// Leave the reference out
    #[arg(long, conflicts_with = "write")]
    without_reference: bool,
    #[command(flatten)]
    page: Page,
}

impl Comparison {
    fn programs(&self) -> Result<Programs> {
        Programs::ready(!self.without_reference)
    }
}

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        match self.other {
            None => self.side_by_side.run(List::Workloads),
            Some(Other::Kinds(kinds)) => kinds.run(List::Kinds),
            Some(Other::Recovery(recovery)) => recovery.run(),
            Some(Other::Memory(memory)) => memory.run(),
            Some(Other::Queues(queues)) => queues.run(),
            Some(Other::Inspect(inspect)) => inspect.run(),
            Some(Other::InspectLive(inspect)) => inspect.run(),
            Some(Other::Protocols(protocols)) => protocols.run(),
        }
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![]), 0.0);
    }
}
