//! What was not acknowledged in time is delivered again: a copy goes to the group's retry topic
//! (`PopReviveService`).

use std::sync::Arc;

use bytes::Bytes;
use store::{Append, Queue, StoreError};
use tracing::warn;
use wire::message::record::RecordRef;
use wire::message::{names, perm, properties, property};

use super::Consumption;
use super::in_flight::{Due, Handle};
use super::revive_log::{self, Entry};
use crate::broker::Broker;
use crate::delivery;

/// Messages that are delivered again together.
const BATCH: usize = 64;

/// How long what could not be delivered again waits for the next try, in milliseconds.
const RETRY_MILLIS: i64 = 10_000;

/// Queues of a retry topic (`PopAckConstants.retryQueueNum`).
const RETRY_QUEUES: i32 = 1;

/// A message that is due.
struct Again {
    handle: Handle,
    offset: i64,
    /// What is delivered; nothing, if it is gone.
    copy: Option<Copy>,
    /// That its first reception is settled.
    ack: Entry,
}

struct Copy {
    record: Bytes,
    /// How often it was delivered before, as its consumer sees it.
    reconsume_times: i32,
    properties: String,
    queue: Arc<Queue>,
}

/// Delivers again what is due of one consumption at a time.
pub(super) fn deliver_due(broker: &Arc<Broker>, consumption: &Consumption, now: i64) {
    let mut any = false;
    let delivered_until = broker.timer.delivered_until();
    loop {
        let mut due = Vec::new();
        {
            let mut in_flight = consumption.in_flight.lock();
            while due.iter().map(|due: &Due| due.offsets.len()).sum::<usize>() < BATCH {
                match in_flight.take_due(now, delivered_until) {
                    Some(one) => due.push(one),
                    None => break,
                }
            }
        }
        if due.is_empty() {
            break;
        }
        any = true;
        if let Err(error) = deliver(broker, consumption, &due) {
            let Consumption { topic, group, .. } = consumption;
            warn!("messages of {topic} can't be delivered to {group} again, trying later: {error}");
        }
        // What was delivered is settled, so that this puts off the rest only.
        let mut in_flight = consumption.in_flight.lock();
        for due in due {
            in_flight.put_off(due.handle, now + RETRY_MILLIS);
        }
    }
    if any {
        let topic = normal_topic(consumption);
        broker
            .pop
            .polling
            .serve(broker, topic, &consumption.group, None);
    }
}

fn normal_topic(consumption: &Consumption) -> &str {
    let Consumption { topic, group, .. } = consumption;
    names::normal_topic_of_group(topic, group).unwrap_or(topic)
}

/// Stores the copies. A copy and the word that its first reception is settled go into the log
/// together, or neither does.
fn deliver(broker: &Broker, consumption: &Consumption, due: &[Due]) -> Result<(), StoreError> {
    let Consumption { topic, group, .. } = consumption;
    // Nobody is left to deliver to.
    let is_dropped = broker.topics.get(normal_topic(consumption)).is_none()
        || broker.groups.get_or_create(group).is_none();
    let mut again = Vec::new();
    for Due {
        handle,
        place,
        offsets,
        suspended,
    } in due
    {
        for &offset in offsets {
            let ack = consumption.ack(broker, handle, &[offset]);
            again.push(Again {
                handle: *handle,
                offset,
                copy: match broker.store.find_queue(topic, handle.queue_id) {
                    Some(queue) if !is_dropped => {
                        let copy = copy(broker, consumption, handle, &queue, offset)?;
                        copy.map(|copy| copy.counting(!suspended))
                    }
                    _ => None,
                },
                ack: Entry::ack(broker, place.queue_id, &ack)?,
            });
        }
    }
    let mut appends = Vec::with_capacity(2 * again.len());
    for one in &again {
        let mut ack = one.ack.append(broker);
        if let Some(copy) = &one.copy
            && let Ok(record) = RecordRef::parse(&copy.record)
        {
            appends.push(copy.append(broker, &record));
            ack.with_previous = true;
        }
        appends.push(ack);
    }
    revive_log::store(broker, &mut appends);
    let (acks, copies): (Vec<_>, Vec<_>) = appends
        .into_iter()
        .partition(|append| **append.queue.topic() == *broker.pop.revive_topic);
    for copy in copies {
        if let Some(Ok(stored)) = copy.outcome {
            broker.count_stored(copy.queue.topic(), stored.size);
        }
    }
    let mut failed = Ok(());
    let mut in_flight = consumption.in_flight.lock();
    for (one, ack) in again.iter().zip(acks) {
        match ack.outcome {
            Some(Err(error)) => failed = Err(error),
            _ => in_flight.settle(&one.handle, one.offset),
        }
    }
    failed
}

/// A message as it is delivered again; `None` if it is gone (`PopReviveService.reviveRetry`).
fn copy(
    broker: &Broker,
    consumption: &Consumption,
    handle: &Handle,
    queue: &Queue,
    offset: i64,
) -> Result<Option<Copy>, StoreError> {
    let Some(record) = broker.store.message_at(queue, offset)? else {
        return Ok(None);
    };
    let Ok(message) = RecordRef::parse(&record) else {
        return Ok(None);
    };
    let Consumption { topic, group, .. } = consumption;
    let retry_topic = if names::is_retry_topic(topic) {
        topic.clone()
    } else if broker.settings().pop.enable_retry_topic_v2 {
        names::pop_retry_topic_v2(topic, group)
    } else {
        names::pop_retry_topic_v1(topic, group)
    };
    let retry_queue = retry_queue(broker, consumption, &retry_topic, message.queue_id());
    let mut properties = message.properties().into_owned();
    let first_pop = properties::get(&properties, property::FIRST_POP_TIME);
    if message.reconsume_times() == 0 || first_pop.is_none() {
        let pop_time = handle.pop_time.to_string();
        properties::set(&mut properties, property::FIRST_POP_TIME, &pop_time);
    }
    properties::set(&mut properties, property::ORIGIN_GROUP, group);
    Ok(Some(Copy {
        queue: broker.queue(&retry_topic, retry_queue)?,
        reconsume_times: message.reconsume_times(),
        properties,
        record,
    }))
}

/// The queue of a retry topic that messages of a queue go to; has the topic made if there is none.
fn retry_queue(
    broker: &Broker,
    consumption: &Consumption,
    retry_topic: &str,
    queue_id: i32,
) -> i32 {
    let access = perm::READ | perm::WRITE;
    let make = |queues| {
        let topics = &broker.topics;
        topics.create_on_send_back(retry_topic, queues, access, None, 0)
    };
    if !broker.settings().pop.use_separate_retry_queue {
        make(RETRY_QUEUES);
        return 0;
    }
    let topic = broker.topics.get(normal_topic(consumption));
    let queues = topic.map_or(RETRY_QUEUES, |topic| topic.config.write_queue_nums);
    let mut config = make(queues).config.clone();
    if config.write_queue_nums != queues {
        (config.read_queue_nums, config.write_queue_nums) = (queues, queues);
        if let Err(error) = broker.topics.upsert(vec![config]) {
            warn!("{retry_topic} can't be given {queues} queues: {error}");
        }
    }
    if (0..queues).contains(&queue_id) {
        queue_id
    } else {
        0
    }
}

impl Copy {
    /// With a delivery that failed counted.
    fn counting(self, failed: bool) -> Self {
        let times = self.reconsume_times.saturating_add(i32::from(failed));
        Self {
            reconsume_times: times,
            ..self
        }
    }

    fn append<'a>(&'a self, broker: &Broker, record: &RecordRef<'a>) -> Append<'a> {
        let mut append = delivery::copy(record, &self.queue, &self.properties);
        append.born_host = broker.store_host;
        append.store_host = broker.store_host;
        append.reconsume_times = self.reconsume_times;
        append
    }
}
