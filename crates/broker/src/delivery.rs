//! Messages that waited under another topic are stored once more, where they were meant to go.

use std::sync::Arc;

use bytes::Bytes;
use store::{Append, Queue, StoreError, TagsCode};
use tracing::warn;
use wire::message::record::RecordRef;
use wire::message::{properties, property, tags};

use crate::broker::Broker;

/// A message to store once more.
pub(crate) struct Delivery {
    /// Its record as it was stored first.
    pub(crate) record: Bytes,
    /// Its properties from now on.
    pub(crate) properties: String,
    /// Where it goes.
    pub(crate) queue: Arc<Queue>,
}

impl Delivery {
    /// The delivery of a record to where its properties say that it was meant to go; `None` if
    /// they do not.
    pub(crate) fn of(
        broker: &Broker,
        record: Bytes,
        properties: String,
    ) -> Result<Option<Self>, StoreError> {
        // Both stand near the end, from where they are looked for.
        let topic = properties::get(&properties, property::REAL_TOPIC);
        let queue_id = properties::get(&properties, property::REAL_QUEUE_ID);
        let queue_id = queue_id.and_then(|id| id.parse().ok());
        let (Some(topic), Some(queue_id)) = (topic, queue_id) else {
            warn!("a delayed message does not say where to go, so it is dropped");
            return Ok(None);
        };
        let queue = broker.queue(topic, queue_id)?;
        Ok(Some(Self {
            record,
            properties,
            queue,
        }))
    }
}

/// A record's message in another queue, with these properties.
pub(crate) fn copy<'a>(
    record: &RecordRef<'a>,
    queue: &'a Arc<Queue>,
    properties: &'a str,
) -> Append<'a> {
    let (born_host, store_host) = (record.born_host(), record.store_host());
    let (body, text) = (record.body(), properties.as_bytes());
    let mut append = Append::new(queue, body, text, born_host, store_host);
    let tag = properties::get(properties, property::TAGS);
    append.tags_code = TagsCode::Known(tags::tags_code(tag));
    append.flag = record.flag();
    append.sys_flag = record.sys_flag();
    append.born_timestamp = record.born_timestamp();
    append.reconsume_times = record.reconsume_times();
    append
}

/// Stores messages together. `done` is called, in order, for each one that is done with: it is
/// stored, or never can be.
///
/// # Errors
/// Why the others are not stored; they can be tried again.
pub(crate) fn deliver<'a>(
    broker: &Broker,
    due: &'a [Delivery],
    mut done: impl FnMut(&'a Delivery),
) -> Result<(), StoreError> {
    let mut appends = Vec::with_capacity(due.len());
    let mut appended = Vec::with_capacity(due.len());
    for delivery in due {
        let Ok(record) = RecordRef::parse(&delivery.record) else {
            continue;
        };
        appends.push(copy(&record, &delivery.queue, &delivery.properties));
        appended.push(delivery);
    }
    broker.store.append(&mut appends);
    let mut failed = Ok(());
    for (append, delivery) in appends.into_iter().zip(appended) {
        match append.outcome {
            Some(Err(error)) if error.is_illegal_message() => {
                let topic = append.queue.topic();
                warn!("a delayed message for {topic} can't be delivered and is dropped: {error}");
                done(delivery);
            }
            Some(Err(error)) => failed = Err(error),
            Some(Ok(stored)) => {
                broker.count_stored(append.queue.topic(), stored.size);
                done(delivery);
            }
            None => {}
        }
    }
    failed
}
