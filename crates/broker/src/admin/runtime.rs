//! How the broker is doing, and its housekeeping on demand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use transport::Reply;
use wire::body::json;
use wire::body::kv::KVTable;
use wire::body::offset::DelayOffsetSerializeWrapper;
use wire::header::NoHeader;
use wire::header::broker::ViewBrokerStatsDataRequest;
use wire::message::names;

use super::offset::range;
use super::read_body;
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::routes::Call;

/// The version of RocketMQ whose broker this one is like.
const VERSION: &str = "V5_5_0";

/// Names and values, as they are told.
#[derive(Default)]
struct Table(BTreeMap<String, String>);

impl Table {
    fn put(&mut self, name: impl Into<String>, value: impl ToString) {
        self.0.insert(name.into(), value.to_string());
    }
}

/// Names whose numbers stay 0, since what they count cannot pile up here.
const NEVER_WAITING: [&str; 13] = [
    "dispatchBehindBytes",
    "dispatchMaxBuffer",
    "pageCacheLockTimeMills",
    "sendThreadPoolQueueHeadWaitTimeMills",
    "pullThreadPoolQueueSize",
    "pullThreadPoolQueueHeadWaitTimeMills",
    "litePullThreadPoolQueueSize",
    "litePullThreadPoolQueueHeadWaitTimeMills",
    "queryThreadPoolQueueSize",
    "queryThreadPoolQueueHeadWaitTimeMills",
    "ackThreadPoolQueueSize",
    "ackThreadPoolQueueHeadWaitTimeMills",
    "EndTransactionQueueSize",
];

/// GET_BROKER_RUNTIME_INFO: names and values, those of the reference as far as they have a
/// meaning here.
pub(crate) async fn info(
    broker: &Arc<Broker>,
    _: &Call,
    _: NoHeader,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let mut table = Table::default();
    let settings = broker.settings();
    table.put("brokerActive", true);
    table.put("brokerVersionDesc", VERSION);
    table.put("bootTimestamp", broker.started_millis);
    table.put(
        "runtime",
        uptime(broker.now_millis() - broker.started_millis),
    );
    table.put(
        "startAcceptSendRequestTimeStamp",
        settings.broker.start_accept_send_request_time_stamp,
    );
    put_traffic(&mut table, broker);
    put_log(&mut table, broker)?;
    put_waiting(&mut table, broker)?;
    // As the reference says it without its pool of buffers.
    table.put("remainTransientStoreBufferNumbs", i32::MAX);
    Ok(Reply::empty().with_body(json::write(&KVTable { table: table.0 })))
}

/// How many messages come and go, and how long that takes.
fn put_traffic(table: &mut Table, broker: &Broker) {
    let statistics = &broker.statistics;
    let traffic = &statistics.traffic;
    let (messages_in, bytes_in) = traffic.total_in();
    let (messages_out, _) = traffic.total_out();
    let count = messages_in.max(1);
    table.put("putMessageTimesTotal", count);
    table.put("putMessageSizeTotal", bytes_in);
    table.put("putMessageAverageSize", bytes_in as f64 / count as f64);
    let report = broker.rates.report(broker.now_millis(), traffic);
    let rates = |[short, middle, long]: [f64; 3]| format!("{short:.1} {middle:.1} {long:.1}");
    table.put("putTps", rates(report.stored));
    table.put("getFoundTps", rates(report.found));
    table.put("getMissTps", rates(report.missed));
    let looks = std::array::from_fn(|span| report.found[span] + report.missed[span]);
    table.put("getTotalTps", rates(looks));
    table.put("getTransferredTps", rates(report.delivered));
    let times = &statistics.put_times;
    table.put("putMessageEntireTimeMax", times.longest());
    table.put("putMessageDistributeTime", times.distribution());
    for (name, part) in [("putLatency99", 0.99), ("putLatency999", 0.999)] {
        table.put(name, format!("{:.2}", times.quantile(part)));
    }
    let failed = statistics.put_failed.load(Ordering::Relaxed);
    table.put("putMessageFailedTimes", failed);
    let longest = statistics.longest_get.load(Ordering::Relaxed);
    table.put("getMessageEntireTimeMax", longest);
    let (today, yesterday) = (report.this_morning, report.yesterday_morning);
    for (name, value) in [
        ("msgPutTotalTodayNow", messages_in),
        ("msgPutTotalTodayMorning", today.messages_in),
        ("msgPutTotalYesterdayMorning", yesterday.messages_in),
        ("msgGetTotalTodayNow", messages_out),
        ("msgGetTotalTodayMorning", today.messages_out),
        ("msgGetTotalYesterdayMorning", yesterday.messages_out),
    ] {
        table.put(name, value);
    }
}

/// What is in the log, and on its disk.
fn put_log(table: &mut Table, broker: &Broker) -> Result<(), BrokerError> {
    let store = &broker.store;
    let log = broker.settings().store.commit_log_dir();
    let used = store.disk_ratio()?;
    table.put("commitLogDiskRatio", used);
    table.put(format!("commitLogDiskRatio_{}", log.display()), used);
    table.put("consumeQueueDiskRatio", used);
    if let Ok(space) = store.disk().space(&log) {
        let (total, free) = (readable(space.total), readable(space.free));
        let capacity = format!("Total : {total}, Free : {free}.");
        table.put("commitLogDirCapacity", capacity);
    }
    let (min, max) = (store.min_physical_offset(), store.max_physical_offset());
    table.put("commitLogMinOffset", min);
    table.put("commitLogMaxOffset", max);
    let unflushed = (max - store.flushed_position()).max(0).unsigned_abs();
    table.put("remainHowManyDataToFlush", readable(unflushed));
    table.put("earliestMessageTimeStamp", store.earliest_time()?);
    Ok(())
}

/// What waits: delayed messages, those with a time of their own, requests.
fn put_waiting(table: &mut Table, broker: &Broker) -> Result<(), BrokerError> {
    let delayed: DelayOffsetSerializeWrapper = read_body(&broker.schedule.encode())?;
    for (level, offset) in delayed.offset_table {
        let (_, end) = range(broker, names::SCHEDULE_TOPIC, level - 1);
        let name = format!("scheduleMessageOffset_{level}");
        table.put(name, format!("{offset},{end}"));
    }
    for name in NEVER_WAITING {
        table.put(name, 0);
    }
    let unflushed = broker.unflushed_sends.load(Ordering::Relaxed);
    table.put("sendThreadPoolQueueSize", unflushed);
    let capacity = broker.settings().broker.send_thread_pool_queue_capacity;
    table.put("sendThreadPoolQueueCapacity", capacity);
    let timer = broker.timer.backlog(broker)?;
    table.put("timerReadBehind", timer.seconds);
    table.put("timerOffsetBehind", timer.not_entered);
    table.put("timerCongestNum", timer.waiting);
    let now = broker.now_millis();
    for (name, counter) in [
        ("timerEnqueueTps", &broker.statistics.timer_entered),
        ("timerDequeueTps", &broker.statistics.timer_delivered),
    ] {
        table.put(name, format!("{:?}", counter.rate(now)));
    }
    Ok(())
}

/// A span of time, as the reference writes it.
fn uptime(millis: i64) -> String {
    let seconds = millis / 1000;
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    let (days, hours) = (hours / 24, hours % 24);
    format!("[ {days} days, {hours} hours, {minutes} minutes, {seconds} seconds ]")
}

/// A number of bytes, as the reference writes it.
fn readable(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].into_iter();
    let mut unit = "B";
    while value >= 1024.0
        && let Some(larger) = units.next()
    {
        value /= 1024.0;
        unit = larger;
    }
    if unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// VIEW_BROKER_STATS_DATA: what a counter of the broker, a topic or a group counted in the last
/// minute, hour and day.
pub(crate) async fn statistics(
    broker: &Arc<Broker>,
    _: &Call,
    header: ViewBrokerStatsDataRequest<'_>,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let (set, key) = (&*header.stats_name, &*header.stats_key);
    let cluster = &broker.settings().broker.broker_cluster_name;
    let (topics, now) = (&broker.topics, broker.now_millis());
    let told = broker.statistics.view(topics, cluster, (set, key), now);
    let told =
        told.ok_or_else(|| BrokerError::System(format!("The stats <{set}> <{key}> not exist")))?;
    Ok(Reply::empty().with_body(json::write(&told)))
}

/// DELETE_EXPIRED_COMMITLOG: removes what is too old, whatever the hour.
pub(crate) async fn delete_expired(
    broker: &Arc<Broker>,
    _: &Call,
    _: NoHeader,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let files = broker.store.delete_expired_files()?;
    tracing::info!(files, "expired commit log files deleted on demand");
    Ok(Reply::empty())
}

/// CLEAN_EXPIRED_CONSUMEQUEUE: removes what in the queues points to removed messages.
pub(crate) async fn clean_queues(
    broker: &Arc<Broker>,
    _: &Call,
    _: NoHeader,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    broker.store.clean_queues()?;
    Ok(Reply::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_read_as_in_the_reference() {
        assert_eq!(
            uptime(93_784_000),
            "[ 1 days, 2 hours, 3 minutes, 4 seconds ]"
        );
        assert_eq!(readable(1023), "1023 B");
        assert_eq!(readable(1536), "1.5 KiB");
        assert_eq!(readable(251 << 30), "251.0 GiB");
        assert_eq!(readable(u64::MAX), "16.0 EiB");
    }
}
