//! Runs of `kerolox bench`, the load generator, and what they report.

use std::collections::BTreeMap;
use std::process::Command;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::server::{Programs, Server};
use crate::process::{self, Result};

/// Runs a `kerolox bench --output json` to its end.
pub(super) fn report<R: DeserializeOwned>(command: &mut Command) -> Result<R> {
    let output = process::output(command)?;
    serde_json::from_slice(&output)
        .map_err(|error| format!("kerolox bench has a strange output: {error}"))
}

/// The report on a load.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    /// What was missing for reading, if anything.
    pub(super) fill: Option<Fill>,
    /// The run with the middle rate.
    pub(super) median: Run,
}

/// How queues were filled.
#[derive(Debug, Deserialize)]
pub(super) struct Fill {
    pub(super) messages: f64,
    pub(super) seconds: f64,
}

/// A run.
#[derive(Debug, Deserialize)]
pub(super) struct Run {
    pub(super) messages: f64,
    pub(super) messages_per_second: f64,
    /// Where the others are those received.
    pub(super) sent_per_second: Option<f64>,
    pub(super) megabytes_per_second: f64,
    pub(super) latency_us: Latency,
    /// Refusals by response code.
    pub(super) errors: BTreeMap<String, u64>,
    /// What the server's process used, if it was watched.
    server: Option<ServerUsage>,
    own_cpu_us_per_message: Option<f64>,
}

/// In microseconds.
#[derive(Debug, Deserialize)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p99: f64,
    #[serde(rename = "p99.9")]
    pub(super) p999: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct ServerUsage {
    cpu_us_per_message: f64,
}

impl Run {
    /// Microseconds of the server's processor time a message, if its process was watched.
    pub(super) fn of_server(&self) -> Option<f64> {
        Some(self.server.as_ref()?.cpu_us_per_message)
    }

    /// The same of the server and of the load generator.
    ///
    /// # Errors
    /// The process was not watched.
    pub(super) fn of_both(&self) -> Result<[f64; 2]> {
        let both = self.of_server().zip(self.own_cpu_us_per_message);
        let both = both.ok_or("the server's process was not watched")?;
        Ok(both.into())
    }
}

/// The report on connections that were set up and left idle.
#[derive(Debug, Deserialize)]
pub(super) struct Connections {
    pub(super) set_up_us: Latency,
    /// The server's memory for each.
    pub(super) bytes_each: f64,
}

impl Connections {
    /// Sets up so many by a protocol.
    pub(super) fn measure(
        programs: &Programs,
        server: &Server,
        protocol: &str,
        count: u32,
    ) -> Result<Self> {
        let mut bench = programs.bench(server);
        bench.args(["connections", "--protocol", protocol]);
        bench.args(["--connections", &count.to_string()]);
        report(bench.args(["--server-pid", &server.process().to_string()]))
    }
}
