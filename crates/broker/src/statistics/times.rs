//! How long requests took (`StoreStatsService`).

use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;

/// Times are told of the last whole minute, in milliseconds.
const MINUTE: i64 = 60_000;

/// How often a time grows by so many milliseconds from one bucket to the next
/// (`StoreStatsService.PUT_MESSAGE_ENTIRE_TIME_BUCKETS`).
const STEPS: [(i64, usize); 7] = [
    (1, 20),
    (2, 15),
    (5, 10),
    (10, 10),
    (50, 6),
    (100, 5),
    (1000, 9),
];

/// Buckets up to ten seconds, and one for all beyond.
const BUCKETS: usize = 76;

/// The last time of each bucket, in milliseconds, but for the last one.
const BOUNDS: [i64; BUCKETS - 1] = {
    let mut bounds = [0; BUCKETS - 1];
    let (mut at, mut step, mut bound) = (0, 0, 0);
    while step < STEPS.len() {
        let mut more = STEPS[step].1;
        while more > 0 {
            bound += STEPS[step].0;
            bounds[at] = bound;
            (at, more) = (at + 1, more - 1);
        }
        step += 1;
    }
    bounds
};

/// The classes that tools show, and the first time that is too long for each
/// (`PUT_MESSAGE_ENTIRE_TIME_MAX_DESC`).
const CLASSES: [(&str, i64); 13] = [
    ("[<=0ms]", 1),
    ("[0~10ms]", 10),
    ("[10~50ms]", 50),
    ("[50~100ms]", 100),
    ("[100~200ms]", 200),
    ("[200~500ms]", 500),
    ("[500ms~1s]", 1_000),
    ("[1~2s]", 2_000),
    ("[2~3s]", 3_000),
    ("[3~4s]", 4_000),
    ("[4~5s]", 5_000),
    ("[5~10s]", 10_000),
    ("[10s~]", i64::MAX),
];

/// Requests by the time that they took.
#[derive(Debug, Clone, PartialEq)]
struct Counts {
    buckets: [u64; BUCKETS],
    classes: [u64; CLASSES.len()],
}

impl Counts {
    const ZERO: Self = Self {
        buckets: [0; BUCKETS],
        classes: [0; CLASSES.len()],
    };
}

/// The counts when the minute began, and those of the minute before.
#[derive(Debug)]
struct Minute {
    /// In milliseconds since 1970.
    began: i64,
    counted: Counts,
    last: Counts,
}

/// The times of requests.
#[derive(Debug)]
pub(crate) struct Times {
    buckets: [AtomicU64; BUCKETS],
    classes: [AtomicU64; CLASSES.len()],
    longest: AtomicI64,
    minute: Mutex<Minute>,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            classes: [const { AtomicU64::new(0) }; CLASSES.len()],
            longest: AtomicI64::new(0),
            minute: Mutex::new(Minute {
                began: 0,
                counted: Counts::ZERO,
                last: Counts::ZERO,
            }),
        }
    }
}

impl Times {
    /// Counts requests that took so many milliseconds each.
    pub(crate) fn add(&self, millis: i64, requests: u64) {
        let bucket = BOUNDS.partition_point(|bound| *bound < millis);
        let class = CLASSES.partition_point(|(_, too_long)| *too_long <= millis);
        for counter in [self.buckets.get(bucket), self.classes.get(class)] {
            counter.map(|counter| counter.fetch_add(requests, Ordering::Relaxed));
        }
        self.longest.fetch_max(millis, Ordering::Relaxed);
    }

    /// Begins a new minute when it is time for one.
    pub(super) fn sample(&self, now_millis: i64) {
        let mut minute = self.minute.lock();
        if (0..MINUTE).contains(&(now_millis - minute.began)) {
            return;
        }
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let now = Counts {
            buckets: self.buckets.each_ref().map(load),
            classes: self.classes.each_ref().map(load),
        };
        let mut last = now.clone();
        let before = &minute.counted;
        for (count, before) in last.buckets.iter_mut().zip(before.buckets) {
            *count -= before;
        }
        for (count, before) in last.classes.iter_mut().zip(before.classes) {
            *count -= before;
        }
        *minute = Minute {
            began: now_millis,
            counted: now,
            last,
        };
    }

    /// The longest time, in milliseconds.
    pub(crate) fn longest(&self) -> i64 {
        self.longest.load(Ordering::Relaxed)
    }

    /// How many of the last minute's requests are in each class, as the reference writes it.
    pub(crate) fn distribution(&self) -> String {
        let counts = self.minute.lock().last.classes;
        let mut text = String::new();
        for ((class, _), count) in CLASSES.iter().zip(counts) {
            let _ = write!(text, "{class}:{count} ");
        }
        text
    }

    /// The time, in milliseconds, that this part of the last minute's requests stayed below, from
    /// 0 to 1. Times in a bucket count as evenly spread.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let counts = self.minute.lock().last.buckets;
        let all: u64 = counts.iter().sum();
        let mut rest = (all as f64 * part) as u64;
        let mut begin = 0;
        for (bound, count) in BOUNDS.into_iter().chain([self.longest()]).zip(counts) {
            if rest <= count {
                let share = if count == 0 {
                    0.0
                } else {
                    rest as f64 / count as f64
                };
                return begin as f64 + (bound - begin) as f64 * share;
            }
            rest -= count;
            begin = bound;
        }
        begin as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_minute_is_told_by_classes_and_quantiles() {
        assert_eq!(BOUNDS.last(), Some(&10_000));
        assert_eq!(Times::default().quantile(0.99), 0.0);
        let times = Times::default();
        times.sample(60_000);
        for (millis, requests) in [(0, 900), (10, 90), (120, 9), (20_000, 1)] {
            times.add(millis, requests);
        }
        times.sample(119_999);
        assert!(times.distribution().starts_with("[<=0ms]:0 [0~10ms]:0 "));
        times.sample(120_000);
        assert_eq!(
            times.distribution(),
            "[<=0ms]:900 [0~10ms]:0 [10~50ms]:90 [50~100ms]:0 [100~200ms]:9 [200~500ms]:0 \
             [500ms~1s]:0 [1~2s]:0 [2~3s]:0 [3~4s]:0 [4~5s]:0 [5~10s]:0 [10s~]:1 "
        );
        assert_eq!(times.longest(), 20_000);
        assert_eq!(times.quantile(0.99), 10.0);
        assert_eq!(times.quantile(0.999), 120.0);
        assert_eq!(times.quantile(0.45), 0.5);
        times.sample(180_000);
        assert_eq!(times.quantile(0.999), 0.0, "a minute without requests");
    }
}
