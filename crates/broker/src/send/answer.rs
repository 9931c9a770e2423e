//! Where messages were stored, and when that is answered.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use store::{Appended, StoreError};
use transport::{Refusal, Reply, Responder};
use wire::code::ResponseCode;
use wire::header::send::SendMessageResponse;
use wire::message::id::OffsetMessageId;
use wire::message::names;

use crate::broker::Broker;
use crate::statistics::Tally;
use crate::topics::Topic;

/// How long the requests of one read take.
pub(super) struct Took {
    began_millis: i64,
    /// How many were stored in which queue.
    stored: Vec<(Arc<Topic>, i32, u64)>,
}

impl Took {
    pub(super) fn since(began_millis: i64) -> Self {
        Self {
            began_millis,
            stored: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, topic: &Arc<Topic>, queue_id: i32, tally: Tally) {
        if topic.config.topic_name == names::SCHEDULE_TOPIC {
            topic.statistics.stored_in(queue_id, tally);
        }
        let stored = (Arc::clone(topic), queue_id, tally.requests);
        self.stored.push(stored);
    }

    /// Counts the time until now.
    pub(super) fn count(&self, broker: &Broker) {
        let millis = (broker.now_millis() - self.began_millis).max(0);
        for (topic, queue_id, requests) in &self.stored {
            topic.statistics.stored_after(*queue_id, millis, *requests);
            broker.statistics.put_times.add(millis, *requests);
        }
    }
}

/// Where the messages of one request were stored.
pub(super) struct Stored {
    /// The first message's number in the queue.
    pub(super) queue_offset: i64,
    pub(super) bytes: u64,
}

impl Stored {
    /// Gathers the outcomes of one request; `message_ids` gets the ids, joined by commas.
    pub(super) fn collect(
        outcomes: impl Iterator<Item = Result<Appended, StoreError>>,
        broker: &Broker,
        message_ids: &mut String,
    ) -> Result<Self, StoreError> {
        message_ids.clear();
        let mut all = Self {
            queue_offset: 0,
            bytes: 0,
        };
        for (index, outcome) in outcomes.enumerate() {
            let stored = outcome?;
            if index == 0 {
                all.queue_offset = stored.queue_offset;
            } else {
                message_ids.push(',');
            }
            all.bytes += stored.size as u64;
            let host = broker.store_host;
            OffsetMessageId {
                host,
                offset: stored.physical_offset,
            }
            .append_to(message_ids);
        }
        Ok(all)
    }
}

pub(super) fn into_owned(response: SendMessageResponse<'_>) -> SendMessageResponse<'static> {
    let owned = |text: Cow<'_, str>| Cow::<'static, str>::Owned(text.into_owned());
    SendMessageResponse {
        msg_id: owned(response.msg_id),
        queue_id: response.queue_id,
        queue_offset: response.queue_offset,
        transaction_id: response.transaction_id.map(owned),
        batch_uniq_id: response.batch_uniq_id.map(owned),
        recall_handle: response.recall_handle.map(owned),
        region_id: response.region_id.map(owned),
        trace_on: response.trace_on,
    }
}

/// Answers when everything up to `end` is on disk; what is not in time is told so, and stored
/// all the same.
pub(super) async fn answer_when_flushed(
    broker: Arc<Broker>,
    end: i64,
    waiting: Vec<(Responder, SendMessageResponse<'static>)>,
    took: Took,
) {
    let limit = Duration::from_millis(u64::from(broker.settings().store.sync_flush_timeout));
    let flushed = tokio::time::timeout(limit, broker.store.flushed(end)).await;
    broker
        .unflushed_sends
        .fetch_sub(waiting.len(), Ordering::Relaxed);
    took.count(&broker);
    for (responder, response) in waiting {
        match &flushed {
            Ok(Ok(())) => responder.reply(Reply::ok(response)),
            Ok(Err(error)) => {
                responder.refuse(&Refusal::new(ResponseCode::SystemError, error.to_string()));
            }
            Err(_) => {
                responder.reply(Reply::ok(response).with_code(ResponseCode::FlushDiskTimeout));
            }
        }
    }
}
