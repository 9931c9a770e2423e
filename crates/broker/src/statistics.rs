//! How much went through the broker, its topics and their groups of late, as
//! VIEW_BROKER_STATS_DATA tells it (`BrokerStatsManager`, `StatsItem`).
//!
//! The counters of a topic belong to it and are found with it, so that sending and pulling look
//! nothing up for them.

mod counter;
mod times;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::RwLock;
use wire::body::stats::BrokerStatsData;
use wire::message::names;

use self::counter::{ByQueue, Counter, SPANS, Sample, Series};
pub(crate) use self::times::Times;
use crate::topics::{Topic, TopicTable};
use crate::traffic::Traffic;

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
    put_latency: ByQueue,
    /// Of the queues of delay levels.
    queue_put_nums: ByQueue,
    queue_put_size: ByQueue,
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
    get_latency: ByQueue,
    /// Of the queues of delay levels.
    queue_get_nums: ByQueue,
    queue_get_size: ByQueue,
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

    /// Adds what others stored.
    pub(crate) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

impl TopicStatistics {
    /// Counts what was stored in the topic; for what also counts for the broker see
    /// [`Statistics::stored`].
    pub(crate) fn stored(&self, tally: Tally) {
        self.put_nums.add(tally.messages, tally.requests);
        self.put_size.add(tally.bytes, tally.requests);
    }

    /// Counts as well what was stored in the queue of a delay level.
    pub(crate) fn stored_in(&self, queue_id: i32, tally: Tally) {
        self.queue_put_nums
            .add(queue_id, tally.messages, tally.requests);
        self.queue_put_size
            .add(queue_id, tally.bytes, tally.requests);
    }

    /// Counts how long requests took that were stored in a queue.
    pub(crate) fn stored_after(&self, queue_id: i32, millis: i64, requests: u64) {
        let all = millis.unsigned_abs() * requests;
        self.put_latency.add(queue_id, all, requests);
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
        for counters in [
            &self.put_latency,
            &self.queue_put_nums,
            &self.queue_put_size,
        ] {
            counters.sample(now_millis);
        }
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
            for counters in [
                &group.get_latency,
                &group.queue_get_nums,
                &group.queue_get_size,
            ] {
                counters.sample(now_millis);
            }
        }
    }
}

impl GroupStatistics {
    /// Counts a message that came to the end of its delay level.
    pub(crate) fn delayed(&self, queue_id: i32, bytes: usize) {
        let bytes = bytes as u64;
        self.get_nums.add(1, 1);
        self.get_size.add(bytes, 1);
        self.queue_get_nums.add(queue_id, 1, 1);
        self.queue_get_size.add(queue_id, bytes, 1);
    }

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
    /// Milliseconds that heartbeats took to be noted, for each group.
    pub(crate) consumers_registered: Counter,
    pub(crate) producers_registered: Counter,
    /// Connections that were made, were closed, or were closed since nobody used them.
    pub(crate) connected: Counter,
    pub(crate) closed: Counter,
    pub(crate) idle: Counter,
    /// How long requests took that stored something.
    pub(crate) put_times: Times,
    /// Requests whose messages could not be stored.
    pub(crate) put_failed: AtomicU64,
    /// How long the longest request for messages took, in milliseconds.
    pub(crate) longest_get: AtomicI64,
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

    /// Counts how long a request took that brought messages of a queue; -1 is any queue.
    pub(crate) fn delivered_after(&self, group: &GroupStatistics, queue_id: i32, millis: i64) {
        group.get_latency.add(queue_id, millis.unsigned_abs(), 1);
        self.longest_get.fetch_max(millis, Ordering::Relaxed);
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
        self.put_times.sample(now_millis);
        for counter in [
            &self.check_points,
            &self.acknowledged,
            &self.put_by_users,
            &self.get_by_users,
            &self.consumers_registered,
            &self.producers_registered,
            &self.connected,
            &self.closed,
            &self.idle,
            &self.timer_entered,
            &self.timer_delivered,
        ] {
            counter.sample(now_millis);
        }
        topics.for_each(|topic| topic.statistics.sample(now_millis));
    }

    /// What a counter tells: `set` is its name in the reference, `key` the cluster, a topic,
    /// `topic@group`, or one of these with a queue in the place that the reference has it in. `None` if nothing was counted, or there is no such counter.
    pub(crate) fn view(
        &self,
        topics: &TopicTable,
        cluster: &str,
        (set, key): (&str, &str),
        now_millis: i64,
    ) -> Option<BrokerStatsData> {
        let of_topic = || Some(Arc::clone(&topics.get(key)?.statistics));
        let group_in = |topic: &str, group: &str| {
            let topic = topics.get(topic)?;
            let groups = topic.statistics.groups.read();
            groups.get(group).cloned()
        };
        let of_group = || {
            let (topic, group) = key.split_once('@')?;
            group_in(topic, group)
        };
        // `topic@queue@group`, or `topic@queue`.
        let of_level = || {
            let (topic, rest) = key.split_once('@')?;
            let (queue, group) = rest.split_once('@').unwrap_or((rest, ""));
            Some((topic, queue.parse().ok()?, group))
        };
        match set {
            "TOPIC_PUT_LATENCY" => {
                let (queue, topic) = key.split_once('@')?;
                let statistics = &topics.get(topic)?.statistics;
                let queue = queue.parse().ok()?;
                statistics.put_latency.report(queue, now_millis)
            }
            "GROUP_GET_LATENCY" => {
                let (queue, topic_and_group) = key.split_once('@')?;
                let (topic, group) = topic_and_group.split_once('@')?;
                let queue = queue.parse().ok()?;
                let group = group_in(topic, group)?;
                group.get_latency.report(queue, now_millis)
            }
            "QUEUE_PUT_NUMS" | "QUEUE_PUT_SIZE" => {
                let (topic, queue, _) = of_level()?;
                let statistics = &topics.get(topic)?.statistics;
                let counters = match set {
                    "QUEUE_PUT_NUMS" => &statistics.queue_put_nums,
                    _ => &statistics.queue_put_size,
                };
                counters.report(queue, now_millis)
            }
            "QUEUE_GET_NUMS" | "QUEUE_GET_SIZE" => {
                let (topic, queue, group) = of_level()?;
                let group = group_in(topic, group)?;
                let counters = match set {
                    "QUEUE_GET_NUMS" => &group.queue_get_nums,
                    _ => &group.queue_get_size,
                };
                counters.report(queue, now_millis)
            }
            "CHANNEL_ACTIVITY" => match key {
                "CONNECT" => self.connected.report(now_millis),
                "CLOSE" => self.closed.report(now_millis),
                "IDLE" => self.idle.report(now_millis),
                _ => None,
            },
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
            "CONSUMER_REGISTER_TIME" => self.consumers_registered.report(now_millis),
            "PRODUCER_REGISTER_TIME" => self.producers_registered.report(now_millis),
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
