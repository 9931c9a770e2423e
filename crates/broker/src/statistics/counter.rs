//! A counter and what it counted of late (`StatsItem`, `StatsItemSet`).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use wire::body::stats::{BrokerStatsData, BrokerStatsItem};

/// Minute, hour and day: milliseconds from one sample to the next, and how many are kept.
pub(super) const SPANS: [(i64, usize); 3] = [(10_000, 7), (600_000, 7), (3_600_000, 25)];

/// A counter as it was at some time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// In milliseconds since 1970.
    pub(super) at: i64,
    pub(super) value: u64,
    pub(super) times: u64,
}

impl Sample {
    fn is_zero(self) -> bool {
        self.value == 0 && self.times == 0
    }

    fn counts_as(self, other: Self) -> bool {
        (self.value, self.times) == (other.value, other.times)
    }

    /// What a counter was before anything was counted.
    fn zero_before(self, millis: i64) -> Self {
        Self {
            at: self.at - millis,
            value: 0,
            times: 0,
        }
    }

    fn since(self, first: Self) -> BrokerStatsItem {
        let sum = self.value.saturating_sub(first.value);
        let times = self.times.saturating_sub(first.times);
        let millis = (self.at - first.at).max(1);
        BrokerStatsItem {
            sum: sum as i64,
            tps: sum as f64 * 1000.0 / millis as f64,
            avgpt: match times {
                0 => 0.0,
                times => sum as f64 / times as f64,
            },
        }
    }
}

/// The last samples of a counter, oldest first, for each of [`SPANS`].
#[derive(Debug, Default)]
pub(super) struct Series(Mutex<[VecDeque<Sample>; 3]>);

impl Series {
    pub(super) fn sample(&self, now: Sample) {
        if now.is_zero() {
            return;
        }
        for (samples, (period, kept)) in self.0.lock().iter_mut().zip(SPANS) {
            if let Some(first) = samples.front_mut().filter(|first| first.counts_as(now)) {
                // Nothing happened in the whole span, as is so with most counters.
                first.at = now.at;
                samples.truncate(1);
                samples.shrink_to_fit();
                continue;
            }
            if samples.is_empty() {
                samples.push_back(now.zero_before(period));
            }
            if samples.back().is_none_or(|last| now.at - last.at >= period) {
                samples.push_back(now);
            }
            if samples.len() > kept {
                samples.pop_front();
            }
        }
    }

    /// What came since the oldest sample of each span; `None` if there never was anything.
    pub(super) fn report(&self, now: Sample) -> Option<BrokerStatsData> {
        if now.is_zero() {
            return None;
        }
        let series = self.0.lock();
        let since = |span: usize| {
            let first = series[span].front().copied();
            now.since(first.unwrap_or(now.zero_before(SPANS[span].0)))
        };
        Some(BrokerStatsData {
            stats_minute: since(0),
            stats_hour: since(1),
            stats_day: since(2),
        })
    }
}

/// Counts requests, and what they brought.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    value: AtomicU64,
    times: AtomicU64,
    series: Series,
}

impl Counter {
    /// Counts `times` requests that brought `value` in all.
    pub(crate) fn add(&self, value: u64, times: u64) {
        self.value.fetch_add(value, Ordering::Relaxed);
        self.times.fetch_add(times, Ordering::Relaxed);
    }

    fn at(&self, now_millis: i64) -> Sample {
        Sample {
            at: now_millis,
            value: self.value.load(Ordering::Relaxed),
            times: self.times.load(Ordering::Relaxed),
        }
    }

    pub(super) fn sample(&self, now_millis: i64) {
        self.series.sample(self.at(now_millis));
    }

    pub(super) fn report(&self, now_millis: i64) -> Option<BrokerStatsData> {
        self.series.report(self.at(now_millis))
    }

    /// What came in a second, in the last minute.
    pub(crate) fn rate(&self, now_millis: i64) -> f64 {
        let report = self.report(now_millis);
        report.map_or(0.0, |report| report.stats_minute.tps)
    }
}

/// A counter for each queue that has something to count.
#[derive(Debug, Default)]
pub(super) struct ByQueue(RwLock<BTreeMap<i32, Arc<Counter>>>);

impl ByQueue {
    pub(super) fn add(&self, queue_id: i32, value: u64, times: u64) {
        self.of(queue_id).add(value, times);
    }

    fn of(&self, queue_id: i32) -> Arc<Counter> {
        if let Some(known) = self.0.read().get(&queue_id) {
            return Arc::clone(known);
        }
        Arc::clone(self.0.write().entry(queue_id).or_default())
    }

    pub(super) fn sample(&self, now_millis: i64) {
        for counter in self.0.read().values() {
            counter.sample(now_millis);
        }
    }

    pub(super) fn report(&self, queue_id: i32, now_millis: i64) -> Option<BrokerStatsData> {
        self.0.read().get(&queue_id)?.report(now_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_span_tells_what_came_within_it() {
        let counter = Counter::default();
        assert_eq!(counter.report(0), None);
        // Two requests of five messages a second, for two hours; then ten minutes of silence.
        for second in 1..=7800 {
            if second <= 7200 {
                counter.add(10, 2);
            }
            counter.sample(second * 1000);
        }
        let now = 7800 * 1000;
        let told = counter.report(now).unwrap();
        assert_eq!(told.stats_minute.sum, 0);
        assert_eq!(told.stats_minute.avgpt, 0.0);
        // The hour begins with the sample that is an hour old.
        let hour = told.stats_hour;
        assert!((29_000..=36_000).contains(&hour.sum), "{hour:?}");
        assert_eq!(hour.avgpt, 5.0);
        assert!((hour.tps - 8.3).abs() < 0.5, "{hour:?}");
        assert_eq!(told.stats_day.sum, 72_000);
    }

    #[test]
    fn samples_are_bounded() {
        let counter = Counter::default();
        for hour in 0..1000 {
            counter.add(1, 1);
            counter.sample(hour * 3_600_000);
        }
        let kept: Vec<usize> = counter.series.0.lock().iter().map(VecDeque::len).collect();
        assert_eq!(kept, [7, 7, 25]);
    }
}
