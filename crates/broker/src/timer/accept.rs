//! Which messages have a time of their own, and where they wait for it
//! (`HookUtils.handleScheduleMessage`, `HookUtils.transformTimerMessage`).

use std::sync::Arc;

use store::Queue;
use wire::message::recall::RecallHandle;
use wire::message::sys_flag::message as message_flag;
use wire::message::{names, properties, property};

use crate::broker::Broker;
use crate::error::BrokerError;

/// Properties of messages with a time of their own; the first one that is there counts. A delay
/// level overrides them.
pub(crate) const TIMES: [&str; 3] = [
    property::TIMER_DELAY_SEC,
    property::TIMER_DELAY_MS,
    property::TIMER_DELIVER_MS,
];

/// Where a message waits for its time.
pub(crate) struct Timed {
    /// The timer's queue.
    pub(crate) queue: Arc<Queue>,
    /// When it is due, rounded down, in milliseconds since 1970.
    pub(super) due: i64,
}

impl Timed {
    /// What the message is taken back with; a retry is not
    /// (`SendMessageProcessor.attachRecallHandle`).
    pub(crate) fn recall_handle(
        &self,
        broker: &Broker,
        topic: &str,
        unique_id: &str,
    ) -> Option<String> {
        let handle = RecallHandle {
            topic: topic.to_owned(),
            broker_name: broker.settings().broker.broker_name.clone(),
            // One more, so that it is rounded down to the same time again.
            timestamp: self.due.saturating_add(1).to_string(),
            message_id: unique_id.to_owned(),
        };
        (!names::is_retry_topic(topic)).then(|| handle.encode())
    }
}

/// Where a message for a topic's queue waits, if its properties give it a time that is still to
/// come, and the properties by which it finds its way.
pub(crate) fn place(
    broker: &Broker,
    sent: &str,
    sys_flag: i32,
    topic: &str,
    queue_id: i32,
    added: &mut String,
) -> Result<Option<Timed>, BrokerError> {
    let is_final = matches!(
        message_flag::transaction_type(sys_flag),
        message_flag::TRANSACTION_NOT_TYPE | message_flag::TRANSACTION_COMMIT_TYPE
    );
    // One that has been in the timer keeps its properties.
    if !is_final || properties::get(sent, property::TIMER_OUT_MS).is_some() {
        return Ok(None);
    }
    let settings = &broker.settings().store;
    if !settings.timer_wheel_enable {
        let problem = "accurate timer message is not enabled, timerWheelEnable is false";
        return Err(BrokerError::System(problem.into()));
    }
    let max_delay = i64::from(settings.timer_max_delay_sec) * 1000;
    let illegal = || {
        BrokerError::MessageIllegal(format!(
            "timer message illegal, the delay time should not be bigger than the max delay \
             {max_delay}ms; or if set del msg, the delay time should be bigger than the current time"
        ))
    };
    let now = broker.now_millis();
    let due = due(sent, now).ok_or_else(illegal)?;
    if due <= now {
        return match properties::get(sent, property::TIMER_DEL_UNIQKEY) {
            Some(_) => Err(illegal()),
            None => Ok(None),
        };
    }
    if due - now > max_delay {
        return Err(illegal());
    }
    let precision = i64::from(settings.timer_precision_ms);
    // It is delivered when the moment that it is rounded to is over.
    let due = (due - 1).div_euclid(precision) * precision;
    let limit = settings.timer_congest_num_each_slot;
    if limit < i32::MAX && broker.timer.is_congested(broker, due, limit)? {
        let most = i64::from(limit) * 2;
        return Err(BrokerError::System(format!(
            "timer message is under flow control, max num limit is {most} or the current value is \
             greater than {limit} and less than {most}, trigger random flow control"
        )));
    }
    properties::put(added, property::TIMER_OUT_MS, &due.to_string());
    properties::put(added, property::REAL_TOPIC, topic);
    properties::put(added, property::REAL_QUEUE_ID, &queue_id.to_string());
    let queue = broker.queue(names::TIMER_TOPIC, 0)?;
    Ok(Some(Timed { queue, due }))
}

/// When a message is due, in milliseconds since 1970; `None` if that is no number.
fn due(sent: &str, now: i64) -> Option<i64> {
    let [seconds, millis, at] = properties::get_each(sent, TIMES);
    let delay = match (seconds, millis) {
        (Some(seconds), _) => seconds.parse::<i64>().ok()?.saturating_mul(1000),
        (None, Some(millis)) => millis.parse().ok()?,
        (None, None) => return at?.parse().ok(),
    };
    Some(now.saturating_add(delay))
}
