//! A send request that is in order: what it stores, and what is answered.

use std::borrow::Cow;
use std::sync::Arc;

use store::{Append, TagsCode};
use transport::Connection;
use wire::command::RequestCode;
use wire::frame::Frame;
use wire::header::send::{SendMessageRequest, SendMessageResponse};
use wire::message::body::{Batch, BatchMessage};
use wire::message::{properties, property, tags};

use super::message::Draft;
use super::places::Places;
use super::plan::{self, Plan};
use super::request::{check_started, choose_queue, find_topic, with_full_names};
use crate::broker::Broker;
use crate::compaction;
use crate::error::BrokerError;
use crate::static_topics::LogicalQueue;
use crate::statistics::Tally;

/// A message, or a batch of them, that is in order.
pub(super) struct Sending<'a> {
    pub(super) frame: &'a Frame,
    /// Without properties; the queue is the one that the client is told, unless it is a logical
    /// one.
    pub(super) header: SendMessageRequest<'a>,
    /// The properties.
    sent: Cow<'a, str>,
    pub(super) plan: Plan,
    /// Which of the topics of [`Places`] counts it.
    pub(super) topic: Option<usize>,
    /// The logical queue that it was sent to, in a static topic.
    logical: Option<LogicalQueue>,
    /// Whether the answer waits for the disk when the broker flushes synchronously.
    pub(super) wait_store: bool,
}

impl<'a> Sending<'a> {
    /// Checks one request (`AbstractSendMessageProcessor.msgCheck` and what follows it).
    pub(super) fn accept(
        broker: &Arc<Broker>,
        connection: &Connection,
        places: &mut Places,
        frame: &'a Frame,
    ) -> Result<Self, BrokerError> {
        let code = RequestCode::of(&frame.head);
        let mut header: SendMessageRequest<'a> = match code {
            Ok(RequestCode::SendMessage) => frame.header()?,
            _ => with_full_names(frame.header()?),
        };
        check_started(broker, &places.settings)?;
        if frame.body.is_empty() {
            return Err(BrokerError::Body(
                "a message without a body can't be stored".into(),
            ));
        }
        let logical =
            broker
                .static_topics
                .find_for_message(&header.topic, header.queue_id, &header.rpc)?;
        if let Some(logical) = &logical {
            header.queue_id = logical.leader.queue_id;
        }
        let topic = places.topic(&header.topic, |settings| {
            find_topic(broker, settings, &header)
        })?;
        header.queue_id = choose_queue(broker, topic, &header, connection)?;
        let sent = header.properties.take().unwrap_or_default();
        let draft = Draft::new(&sent);
        let is_batch =
            code == Ok(RequestCode::SendBatchMessage) || header.batch.unwrap_or_default();
        if !is_batch {
            compaction::check_keys(topic, Some(&sent))?;
            if let Some(priority) = draft.read.deciding_priority() {
                // The queue of the highest number holds all from its own priority up.
                let last = topic.config.write_queue_nums - 1;
                header.queue_id = priority.min(last).max(0);
            }
        }
        plan::check_size(&places.settings, frame.body.len())?;
        let wait_store = draft.read.wait_store;
        let plan = if is_batch {
            Plan::batch(broker, places, &frame.body, &header, draft)?
        } else {
            Plan::single(broker, places, frame, &mut header, draft)?
        };
        Ok(Self {
            frame,
            header,
            sent,
            topic: places.counting_topic(broker, plan.place),
            logical,
            wait_store,
            plan,
        })
    }

    /// What it counts for when `bytes` of records are stored.
    pub(super) fn tally(&self, bytes: u64) -> Tally {
        let messages = self.plan.records.max(self.plan.inner_messages as usize);
        Tally {
            requests: 1,
            messages: messages as u64,
            bytes,
        }
    }

    /// Adds the records that it makes.
    pub(super) fn append_to<'s>(
        &'s self,
        broker: &'s Broker,
        connection: &Connection,
        places: &'s Places,
        appends: &mut Vec<Append<'s>>,
    ) {
        let plan = &self.plan;
        let stored = plan.rewritten.as_deref().unwrap_or(&self.sent);
        let added = plan.added.as_deref().unwrap_or(&broker.own_properties);
        let record = |body, properties| {
            let (born_host, store_host) = (connection.peer(), broker.store_host);
            let queue = places.get(plan.place);
            let mut append = Append::new(queue, body, properties, born_host, store_host);
            append.tags_code = plan.tags_code;
            append.flag = self.header.flag;
            append.sys_flag = self.header.sys_flag;
            append.born_timestamp = self.header.born_timestamp;
            append.reconsume_times = self.header.reconsume_times.unwrap_or(0);
            append.more_properties = added.as_bytes();
            append.inner_messages = plan.inner_messages;
            append
        };
        if !plan.is_batch {
            appends.push(record(&self.frame.body, stored.as_bytes()));
            return;
        }
        for (index, message) in Batch::new(&self.frame.body).flatten().enumerate() {
            let BatchMessage {
                flag,
                body,
                properties,
            } = message;
            let text = str::from_utf8(properties).unwrap_or_default();
            let mut append = record(body, properties);
            append.flag = flag;
            append.tags_code =
                TagsCode::Known(tags::tags_code(properties::get(text, property::TAGS)));
            append.with_previous = index > 0;
            appends.push(append);
        }
    }

    /// The answer, once its first message has a number in the queue.
    pub(super) fn response<'s>(
        &'s self,
        broker: &'s Broker,
        queue_offset: i64,
        message_ids: &'s str,
    ) -> SendMessageResponse<'s> {
        let plan = &self.plan;
        let (queue_id, queue_offset) = match &self.logical {
            Some(logical) => (logical.id, logical.offset_of_message(queue_offset)),
            None => (self.header.queue_id, queue_offset),
        };
        let unique_id = plan.unique_id.get(&self.sent);
        SendMessageResponse {
            msg_id: Cow::Borrowed(message_ids),
            queue_id,
            queue_offset,
            transaction_id: unique_id.map(Cow::Borrowed),
            batch_uniq_id: unique_id
                .filter(|_| plan.inner_messages > 0)
                .map(Cow::Borrowed),
            recall_handle: plan.recall_handle.as_deref().map(Cow::Borrowed),
            region_id: Some(Cow::Borrowed(&broker.region_id)),
            trace_on: Some(broker.trace_on),
        }
    }
}
