//! How much went through the broker, its topics and their groups of late, as
//! VIEW_BROKER_STATS_DATA tells it (`BrokerStatsManager`, `StatsItem`).
//!
//! The counters of a topic belong to it and are found with it, so that sending and pulling look
//! nothing up for them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use wire::body::stats::{BrokerStatsData, BrokerStatsItem};
use wire::message::names;

use crate::topics::{Topic, TopicTable};
use crate::traffic::Traffic;

/// Minute, hour and day: milliseconds from one sample to the next, and how many are kept.
const SPANS: [(i64, usize); 3] = [(10_000, 7), (600_000, 7), (3_600_000, 25)];

/// A counter as it was at some time.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// In milliseconds since 1970.
    at: i64,
    value: u64,
    times: u64,
}

impl Sample {
    fn is_zero(self) -> bool {
        self.value == 0 && self.times == 0
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
struct Series(Mutex<[VecDeque<Sample>; 3]>);

impl Series {
    fn sample(&self, now: Sample) {
        if now.is_zero() {
            return;
        }
        for (samples, (period, kept)) in self.0.lock().iter_mut().zip(SPANS) {
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
    fn report(&self, now: Sample) -> Option<BrokerStatsData> {
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

    fn sample(&self, now_millis: i64) {
        self.series.sample(self.at(now_millis));
    }

    fn report(&self, now_millis: i64) -> Option<BrokerStatsData> {
        self.series.report(self.at(now_millis))
    }

    /// What came in a second, in the last minute.
    pub(crate) fn rate(&self, now_millis: i64) -> f64 {
        let report = self.report(now_millis);
        report.map_or(0.0, |report| report.stats_minute.tps)
    }
}

/// What one or more requests stored in one topic.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) messages: u64,
    /// Of their records.
    pub(crate) bytes: u64,
}

/// The counters of a topic. They outlive changes of its settings.
#[derive(Debug, Default)]
pub(crate) struct TopicStatistics {
    put_nums: Counter,
    put_size: Counter,
    groups: RwLock<HashMap<String, Arc<GroupStatistics>>>,
}

/// The counters of a group that consumes a topic.
#[derive(Debug, Default)]
pub(crate) struct GroupStatistics {
    get_nums: Counter,
    get_size: Counter,
    check_points: Counter,
    acknowledged: Counter,
    sent_back: Counter,
}

impl Tally {
    /// Of one message in a request of its own.
    pub(crate) fn one(bytes: i32) -> Self {
        Self {
            requests: 1,
            messages: 1,
            bytes: bytes as u64,
        }
    }
}

impl TopicStatistics {
    /// Counts what was stored in the topic; for what also counts for the broker see
    /// [`Statistics::stored`].
    pub(crate) fn stored(&self, tally: Tally) {
        self.put_nums.add(tally.messages, tally.requests);
        self.put_size.add(tally.bytes, tally.requests);
    }

    /// The counters of a group.
    pub(crate) fn group(&self, group: &str) -> Arc<GroupStatistics> {
        if let Some(known) = self.groups.read().get(group) {
            return Arc::clone(known);
        }
        let mut groups = self.groups.write();
        Arc::clone(groups.entry(group.into()).or_default())
    }

    /// Forgets the counters of a group.
    pub(crate) fn remove_group(&self, group: &str) {
        self.groups.write().remove(group);
    }

    fn sample(&self, now_millis: i64) {
        self.put_nums.sample(now_millis);
        self.put_size.sample(now_millis);
        for group in self.groups.read().values() {
            for counter in [
                &group.get_nums,
                &group.get_size,
                &group.check_points,
                &group.acknowledged,
                &group.sent_back,
            ] {
                counter.sample(now_millis);
            }
        }
    }
}

impl GroupStatistics {
    /// Counts a message that the group returned.
    pub(crate) fn sent_back(&self) {
        self.sent_back.add(1, 1);
    }
}

/// The counters of the broker, and the way to all others.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    pub(crate) traffic: Traffic,
    put: Series,
    get: Series,
    check_points: Counter,
    acknowledged: Counter,
    put_by_users: Counter,
    get_by_users: Counter,
    /// Messages that got into the timer's wheel.
    pub(crate) timer_entered: Counter,
    /// Messages that the timer delivered.
    pub(crate) timer_delivered: Counter,
    /// When the last samples were taken, in milliseconds since 1970.
    sampled_at: AtomicI64,
}

impl Statistics {
    /// Counts what was stored.
    pub(crate) fn stored(&self, topic: &Topic, tally: Tally) {
        if tally.requests == 0 {
            return;
        }
        self.traffic.stored(tally.messages, tally.bytes);
        topic.statistics.stored(tally);
        if !names::is_system_topic(&topic.config.topic_name) {
            self.put_by_users.add(tally.messages, 0);
        }
    }

    /// Counts what one pull brought, or one queue for a pop.
    pub(crate) fn delivered(
        &self,
        group: &GroupStatistics,
        topic: &str,
        messages: usize,
        bytes: usize,
    ) {
        let (messages, bytes) = (messages as u64, bytes as u64);
        self.traffic.delivered(messages, bytes);
        group.get_nums.add(messages, 1);
        group.get_size.add(bytes, 1);
        if !names::is_system_topic(topic) {
            self.get_by_users.add(messages, 0);
        }
    }

    /// Counts a check point of what a group has received.
    pub(crate) fn check_point(&self, group: &GroupStatistics) {
        group.check_points.add(1, 1);
        self.check_points.add(1, 0);
    }

    /// Counts what so many requests of a group acknowledged.
    pub(crate) fn acknowledged(&self, group: &GroupStatistics, messages: usize, requests: usize) {
        group.acknowledged.add(messages as u64, requests as u64);
        self.acknowledged.add(messages as u64, 0);
    }

    /// Takes samples of all counters when it is time for them.
    pub(crate) fn sample(&self, topics: &TopicTable, now_millis: i64) {
        let passed = now_millis - self.sampled_at.load(Ordering::Relaxed);
        if (0..SPANS[0].0).contains(&passed) {
            return;
        }
        self.sampled_at.store(now_millis, Ordering::Relaxed);
        self.put.sample(total(now_millis, self.traffic.total_in()));
        self.get.sample(total(now_millis, self.traffic.total_out()));
        for counter in [
            &self.check_points,
            &self.acknowledged,
            &self.put_by_users,
            &self.get_by_users,
            &self.timer_entered,
            &self.timer_delivered,
        ] {
            counter.sample(now_millis);
        }
        topics.for_each(|topic| topic.statistics.sample(now_millis));
    }

    /// What a counter tells: `set` is its name in the reference, `key` the cluster, a topic, or
    /// `topic@group`. `None` if nothing was counted, or there is no such counter.
    pub(crate) fn view(
        &self,
        topics: &TopicTable,
        cluster: &str,
        (set, key): (&str, &str),
        now_millis: i64,
    ) -> Option<BrokerStatsData> {
        let of_topic = || Some(Arc::clone(&topics.get(key)?.statistics));
        let of_group = || {
            let (topic, group) = key.split_once('@')?;
            let topic = topics.get(topic)?;
            let groups = topic.statistics.groups.read();
            groups.get(group).cloned()
        };
        match set {
            "TOPIC_PUT_NUMS" => of_topic()?.put_nums.report(now_millis),
            "TOPIC_PUT_SIZE" => of_topic()?.put_size.report(now_millis),
            "GROUP_GET_NUMS" => of_group()?.get_nums.report(now_millis),
            "GROUP_GET_SIZE" => of_group()?.get_size.report(now_millis),
            "GROUP_CK_NUMS" => of_group()?.check_points.report(now_millis),
            "GROUP_ACK_NUMS" => of_group()?.acknowledged.report(now_millis),
            "SNDBCK_PUT_NUMS" => of_group()?.sent_back.report(now_millis),
            _ if key != cluster => None,
            "BROKER_PUT_NUMS" => self.put.report(total(now_millis, self.traffic.total_in())),
            "BROKER_GET_NUMS" => self.get.report(total(now_millis, self.traffic.total_out())),
            "BROKER_CK_NUMS" => self.check_points.report(now_millis),
            "BROKER_ACK_NUMS" => self.acknowledged.report(now_millis),
            "BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC" => self.put_by_users.report(now_millis),
            "BROKER_GET_NUMS_WITHOUT_SYSTEM_TOPIC" => self.get_by_users.report(now_millis),
            _ => None,
        }
    }
}

/// The broker's own counters do not count requests.
fn total(at: i64, (value, _): (u64, u64)) -> Sample {
    Sample {
        at,
        value,
        times: 0,
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
