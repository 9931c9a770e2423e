//! Statistics: how many exchanges there were of what, how fast, how many went wrong.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::capture::Timestamp;
use crate::exchange::{Command, Exchange};

/// Rows of a table; what comes beyond is counted in one row for the rest.
const MAX_ROWS: usize = 4_096;

/// Latencies above count as this, in microseconds: an hour.
const MAX_LATENCY: u64 = 3_600_000_000;

/// Exchanges, counted by everything that one asks for.
#[derive(Debug, Default)]
pub struct Statistics {
    /// All of them.
    pub total: Row,
    /// By topic.
    pub topics: Table<Arc<str>>,
    /// By producer or consumer group.
    pub groups: Table<Arc<str>>,
    /// By the client's id, or its address while that is not known.
    pub clients: Table<Arc<str>>,
    /// By the server's address.
    pub brokers: Table<SocketAddr>,
    /// By command.
    pub commands: Table<Command>,
    span: Option<(Timestamp, Timestamp)>,
}

impl Statistics {
    /// Counts an exchange.
    pub fn add(&mut self, exchange: &Exchange) {
        let begun = exchange.timing.request.0;
        let ended = exchange.timing.response.map_or(begun, |(_, last)| last);
        let (first, last) = self.span.get_or_insert((begun, ended));
        *first = begun.min(*first);
        *last = ended.max(*last);
        self.total.add(exchange);
        if let Some(topic) = &exchange.topic {
            self.topics.add(topic, exchange);
        }
        if let Some(group) = &exchange.group {
            self.groups.add(group, exchange);
        }
        self.clients.add(&exchange.client_id, exchange);
        self.brokers.add(&exchange.server, exchange);
        self.commands.add(&exchange.command, exchange);
    }

    /// From the first exchange's beginning to the last one's end.
    pub fn span(&self) -> Duration {
        self.span
            .map_or(Duration::ZERO, |(first, last)| first.until(last))
    }
}

/// Exchanges, counted by one thing. Bounded: see [`Table::rest`].
#[derive(Debug)]
pub struct Table<K> {
    rows: HashMap<K, Row, foldhash::fast::RandomState>,
    rest: Row,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self {
            rows: HashMap::default(),
            rest: Row::default(),
        }
    }
}

impl<K: Hash + Eq + Clone + Display> Table<K> {
    fn add(&mut self, key: &K, exchange: &Exchange) {
        if let Some(row) = self.rows.get_mut(key) {
            return row.add(exchange);
        }
        if self.rows.len() >= MAX_ROWS {
            return self.rest.add(exchange);
        }
        self.rows.entry(key.clone()).or_default().add(exchange);
    }

    /// The rows, those with the most exchanges first.
    pub fn top(&self) -> Vec<(&K, &Row)> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_cached_key(|(key, row)| (u64::MAX - row.exchanges, key.to_string()));
        rows
    }

    /// The row of one key.
    pub fn get(&self, key: &K) -> Option<&Row> {
        self.rows.get(key)
    }

    /// What belongs to keys that came after the table was full.
    pub fn rest(&self) -> &Row {
        &self.rest
    }
}

/// What is counted.
#[derive(Debug, Default, Clone)]
pub struct Row {
    /// Exchanges.
    pub exchanges: u64,
    /// Those that went wrong.
    pub errors: u64,
    /// Those that the server held until there was something to give, or in vain.
    pub held: u64,
    /// Messages sent, delivered, acknowledged and returned.
    pub messages: u64,
    /// Bytes of requests.
    pub request_bytes: u64,
    /// Bytes of responses.
    pub response_bytes: u64,
    /// Packets sent again while exchanges ran.
    pub retransmissions: u64,
    /// Efforts of the answered ones.
    latencies: Latencies,
}

impl Row {
    fn add(&mut self, exchange: &Exchange) {
        self.exchanges += 1;
        self.errors += u64::from(exchange.is_error());
        self.held += u64::from(exchange.is_held());
        self.messages += exchange.messages.len() as u64;
        self.request_bytes += exchange.request_len;
        self.response_bytes += exchange.response_len;
        self.retransmissions += u64::from(exchange.timing.retransmissions);
        if let Some(effort) = exchange.effort() {
            self.latencies.record(effort);
        }
    }

    /// The latency that so many of a hundred answered exchanges did not exceed, without the time
    /// for which they were held; `None` if none was answered.
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        self.latencies.percentile(percent)
    }
}

/// A distribution of latencies, exact to a hundredth, in microseconds.
#[derive(Debug, Clone, Default)]
struct Latencies(Option<Histogram<u32>>);

impl Latencies {
    fn record(&mut self, effort: Duration) {
        if self.0.is_none() {
            // Two digits are within what it accepts.
            self.0 = Histogram::new(2).ok();
        }
        let Some(histogram) = &mut self.0 else { return };
        // It grows as far as needed, and the latency is within what it can have.
        let microseconds = u64::try_from(effort.as_micros()).unwrap_or(MAX_LATENCY);
        let _ = histogram.record(microseconds.min(MAX_LATENCY));
    }

    fn percentile(&self, percent: f64) -> Option<Duration> {
        let histogram = self.0.as_ref()?;
        Some(Duration::from_micros(
            histogram.value_at_quantile(percent / 100.0),
        ))
    }
}
