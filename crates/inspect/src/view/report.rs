//! The report: a page of HTML with charts that needs nothing but itself.
//!
//! The page has the numbers as JSON, and draws them with a script of its own.

use std::collections::BTreeMap;

use serde::Serialize;

use super::table::{self, SessionRow, StatRow};
use crate::exchange::Exchange;
use crate::inspector::Inspector;
use crate::statistics::Statistics;

/// Points of a chart at most; with more, two become one.
const MAX_POINTS: usize = 240;
/// Rows of each table.
const TOP: usize = 20;
/// Connections, groups and queues that are shown.
const MAX_SESSIONS: usize = 500;
/// The slowest and the failed exchanges that are shown.
const MAX_EXCHANGES: usize = 25;

const PAGE: &str = include_str!("report/page.html");
/// Where the page has its numbers.
const NUMBERS: &str = "/*NUMBERS*/null";

/// What happened in a span of time.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Point {
    exchanges: u64,
    errors: u64,
    messages: u64,
    bytes: u64,
    /// Of the answered ones, the longest, in milliseconds.
    slowest: f64,
}

impl Point {
    fn merge(&mut self, other: &Self) {
        self.exchanges += other.exchanges;
        self.errors += other.errors;
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.slowest = self.slowest.max(other.slowest);
    }
}

/// An exchange that is shown by itself.
#[derive(Debug, Clone, Serialize)]
struct Shown {
    latency: f64,
    line: String,
}

/// Collects what the page shows.
#[derive(Debug)]
pub struct Report {
    statistics: Statistics,
    /// By the number of the span since 1970.
    points: BTreeMap<i64, Point>,
    /// Nanoseconds of a span.
    span: i64,
    slowest: Vec<Shown>,
    failed: Vec<Shown>,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            statistics: Statistics::default(),
            points: BTreeMap::new(),
            span: 10_000_000,
            slowest: Vec::new(),
            failed: Vec::new(),
        }
    }
}

/// What the page's script draws.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Numbers {
    from: String,
    /// Milliseconds of a point.
    span: f64,
    points: Vec<Point>,
    statistics: Vec<StatRow>,
    sessions: Vec<SessionRow>,
    slowest: Vec<Shown>,
    failed: Vec<Shown>,
    packets: u64,
    frames: u64,
    retransmissions: u64,
    missing: u64,
    lost: u64,
    encrypted: u64,
}

impl Report {
    /// Counts an exchange.
    pub fn add(&mut self, exchange: &Exchange) {
        self.statistics.add(exchange);
        let effort = exchange
            .effort()
            .map_or(0.0, |effort| effort.as_secs_f64() * 1_000.0);
        let at = exchange.timing.request.0.0.div_euclid(self.span);
        self.points.entry(at).or_default().merge(&Point {
            exchanges: 1,
            errors: u64::from(exchange.is_error()),
            messages: exchange.messages.len() as u64,
            bytes: exchange.request_len + exchange.response_len,
            slowest: effort,
        });
        self.coarsen();
        if exchange.is_error() && self.failed.len() < MAX_EXCHANGES {
            self.failed.push(shown(exchange, effort));
        }
        let slow_enough = self.slowest.last().is_none_or(|last| last.latency < effort);
        if self.slowest.len() < MAX_EXCHANGES || slow_enough {
            let place = self.slowest.partition_point(|one| one.latency >= effort);
            self.slowest.insert(place, shown(exchange, effort));
            self.slowest.truncate(MAX_EXCHANGES);
        }
    }

    /// Makes spans longer until there are few enough, gaps included.
    fn coarsen(&mut self) {
        while let (Some((first, _)), Some((last, _))) =
            (self.points.first_key_value(), self.points.last_key_value())
            && last.saturating_sub(*first) >= MAX_POINTS as i64
        {
            self.span = self.span.saturating_mul(2);
            for (at, point) in std::mem::take(&mut self.points) {
                self.points
                    .entry(at.div_euclid(2))
                    .or_default()
                    .merge(&point);
            }
        }
    }

    /// The page.
    pub fn page(&self, inspector: &Inspector) -> String {
        let first = self.points.first_key_value().map_or(0, |(at, _)| *at);
        let last = self.points.last_key_value().map_or(first, |(at, _)| *at);
        let points = (first..=last).map(|at| self.points.get(&at).cloned().unwrap_or_default());
        let mut sessions = table::sessions(inspector.sessions());
        sessions.truncate(MAX_SESSIONS);
        let counts = inspector.counts();
        let numbers = Numbers {
            from: crate::capture::Timestamp(first.saturating_mul(self.span)).to_string(),
            span: self.span as f64 / 1e6,
            points: points.collect(),
            statistics: table::statistics(&self.statistics, TOP),
            sessions,
            slowest: self.slowest.clone(),
            failed: self.failed.clone(),
            packets: counts.packets + counts.chunks,
            frames: counts.frames,
            retransmissions: counts.retransmissions,
            missing: counts.missing,
            lost: counts.lost,
            encrypted: counts.encrypted,
        };
        let numbers = serde_json::to_string(&numbers).unwrap_or_default();
        // What the traffic says must not end the script.
        PAGE.replace(NUMBERS, &numbers.replace('<', "\\u003c"))
    }
}

fn shown(exchange: &Exchange, latency: f64) -> Shown {
    Shown {
        latency,
        line: super::line::line(exchange),
    }
}
