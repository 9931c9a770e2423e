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

/// GET_BROKER_RUNTIME_INFO: names and values, those of the reference as far as they have a
/// meaning here. Numbers of what cannot pile up here, such as waiting sends, are 0.
pub(crate) async fn info(
    broker: &Arc<Broker>,
    _: &Call,
    _: NoHeader,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let mut table = BTreeMap::new();
    let mut put = |name: &str, value: String| {
        table.insert(name.to_owned(), value);
    };
    let settings = broker.settings();
    let store = &broker.store;
    let now = broker.now_millis();

    put("brokerActive", "true".into());
    put("brokerVersionDesc", VERSION.into());
    put("bootTimestamp", broker.started_millis.to_string());
    put("runtime", uptime(now - broker.started_millis));
    let accepts_from = settings.broker.start_accept_send_request_time_stamp;
    put("startAcceptSendRequestTimeStamp", accepts_from.to_string());

    let traffic = &broker.statistics.traffic;
    let (messages_in, bytes_in) = traffic.total_in();
    let (messages_out, _) = traffic.total_out();
    put("putMessageTimesTotal", messages_in.max(1).to_string());
    put("putMessageSizeTotal", bytes_in.to_string());
    put(
        "putMessageAverageSize",
        (bytes_in as f64 / messages_in.max(1) as f64).to_string(),
    );
    let report = broker.rates.report(now, traffic);
    let rates = |[short, middle, long]: [f64; 3]| format!("{short:.1} {middle:.1} {long:.1}");
    put("putTps", rates(report.stored));
    put("getFoundTps", rates(report.found));
    put("getMissTps", rates(report.missed));
    let looks = std::array::from_fn(|span| report.found[span] + report.missed[span]);
    put("getTotalTps", rates(looks));
    put("getTransferredTps", rates(report.delivered));
    let statistics = &broker.statistics;
    let times = &statistics.put_times;
    put("putMessageEntireTimeMax", times.longest().to_string());
    put("putMessageDistributeTime", times.distribution());
    for (name, part) in [("putLatency99", 0.99), ("putLatency999", 0.999)] {
        put(name, format!("{:.2}", times.quantile(part)));
    }
    let failed = statistics.put_failed.load(Ordering::Relaxed);
    put("putMessageFailedTimes", failed.to_string());
    let longest = statistics.longest_get.load(Ordering::Relaxed);
    put("getMessageEntireTimeMax", longest.to_string());
    let (today, yesterday) = (report.this_morning, report.yesterday_morning);
    for (name, value) in [
        ("msgPutTotalTodayNow", messages_in),
        ("msgPutTotalTodayMorning", today.messages_in),
        ("msgPutTotalYesterdayMorning", yesterday.messages_in),
        ("msgGetTotalTodayNow", messages_out),
        ("msgGetTotalTodayMorning", today.messages_out),
        ("msgGetTotalYesterdayMorning", yesterday.messages_out),
    ] {
        put(name, value.to_string());
    }

    let log = settings.store.commit_log_dir();
    let used = store.disk_ratio()?.to_string();
    put("commitLogDiskRatio", used.clone());
    put(
        &format!("commitLogDiskRatio_{}", log.display()),
        used.clone(),
    );
    put("consumeQueueDiskRatio", used);
    if let Ok(space) = store.disk().space(&log) {
        let (total, free) = (readable(space.total), readable(space.free));
        put(
            "commitLogDirCapacity",
            format!("Total : {total}, Free : {free}."),
        );
    }
    let (min, max) = (store.min_physical_offset(), store.max_physical_offset());
    put("commitLogMinOffset", min.to_string());
    put("commitLogMaxOffset", max.to_string());
    let unflushed = (max - store.flushed_position()).max(0);
    put(
        "remainHowManyDataToFlush",
        readable(unflushed.unsigned_abs()),
    );
    put(
        "earliestMessageTimeStamp",
        store.earliest_time()?.to_string(),
    );

    let delayed: DelayOffsetSerializeWrapper = read_body(&broker.schedule.encode())?;
    for (level, offset) in delayed.offset_table {
        let (_, end) = range(broker, names::SCHEDULE_TOPIC, level - 1);
        put(
            &format!("scheduleMessageOffset_{level}"),
            format!("{offset},{end}"),
        );
    }
    for name in [
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
    ] {
        put(name, "0".into());
    }
    let unflushed = broker.unflushed_sends.load(Ordering::Relaxed);
    put("sendThreadPoolQueueSize", unflushed.to_string());
    let capacity = settings.broker.send_thread_pool_queue_capacity;
    put("sendThreadPoolQueueCapacity", capacity.to_string());
    // As the reference says it without its pool of buffers.
    put("remainTransientStoreBufferNumbs", i32::MAX.to_string());
    let timer = broker.timer.backlog(broker)?;
    put("timerReadBehind", timer.seconds.to_string());
    put("timerOffsetBehind", timer.not_entered.to_string());
    put("timerCongestNum", timer.waiting.to_string());
    for (name, counter) in [
        ("timerEnqueueTps", &broker.statistics.timer_entered),
        ("timerDequeueTps", &broker.statistics.timer_delivered),
    ] {
        put(name, format!("{:?}", counter.rate(now)));
    }
    Ok(Reply::empty().with_body(json::write(&KVTable { table })))
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
