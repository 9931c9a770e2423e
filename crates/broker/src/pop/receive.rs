//! POP_MESSAGE: a consumer receives messages (`PopMessageProcessor`).

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use store::{GetMessages, GetStatus, Queue};
use transport::{Connection, Outbox, Reply};
use wire::code::ResponseCode;
use wire::frame::Frame;
use wire::header::pop::{PopMessageRequest, PopMessageResponse};
use wire::message::pop::revive::PopCheckPoint;
use wire::message::pop::{ExtraInfo, TopicKind, append_msg_offsets, append_start_offset};
use wire::message::record::{RecordFields, RecordRef, RecordVersion};
use wire::message::{names, properties, property};

use super::in_flight::MAX_MESSAGES;
use super::polling::{Held, Waiting};
use super::revive_log::{self, Entry};
use super::{Consumption, checks};
use crate::attributes;
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::filter::Filter;
use crate::requested::Request;

/// How much longer than its polling time a request may have taken to get here, in milliseconds
/// (`PopMessageRequestHeader.isTimeoutTooMuch`).
const LATE_MILLIS: i64 = 500;

/// How much before the end of its polling time a request is answered, in milliseconds
/// (`PopRequest.isTimeout`).
pub(super) const EARLY_MILLIS: i64 = 50;

/// A group that has no offset starts with the first message (`ConsumeInitMode.MIN`).
const FROM_FIRST: i32 = 0;

/// A pop that was found to be in order.
pub(super) struct Pop {
    pub(super) topic: String,
    pub(super) group: String,
    /// -1: any.
    pub(super) queue_id: i32,
    pub(super) filter: Filter,
    pub(super) max_count: usize,
    pub(super) invisible_time: i64,
    pub(super) init_mode: i32,
    pub(super) order: bool,
    pub(super) attempt_id: Option<String>,
}

/// What a pop has received.
pub(super) struct Received {
    pub(super) pop_time: i64,
    pub(super) revive_queue: i32,
    pub(super) slices: Vec<Bytes>,
    count: usize,
    /// Messages that are left.
    pub(super) rest: i64,
    pub(super) start_offsets: String,
    msg_offsets: String,
    order_counts: String,
}

impl Received {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Serves a pop: answers it now, or holds it.
pub(crate) fn pop(
    broker: &Arc<Broker>,
    connection: &Arc<Connection>,
    frame: &Frame,
    out: &mut Outbox,
) {
    let head = &frame.head;
    let (pop, deadline_millis) = match accept(broker, connection, frame) {
        Ok(accepted) => accepted,
        Err(error) => return out.refuse(head, &error.into()),
    };
    let received = match pop.receive(broker) {
        Ok(received) => received,
        Err(error) => return out.refuse(head, &error.into()),
    };
    if !received.is_empty() {
        let rest = received.rest;
        out.reply(head, pop.reply(received));
        if rest > 0 {
            let queue_id = Some(pop.queue_id).filter(|id| *id >= 0);
            broker
                .pop
                .polling
                .serve(broker, &pop.topic, &pop.group, queue_id);
        }
        return;
    }
    let polling = &broker.pop.polling;
    let Some(deadline_millis) = deadline_millis.filter(|deadline| *deadline > broker.now_millis())
    else {
        return out.reply(head, pop.nothing(broker, ResponseCode::PollingTimeout));
    };
    if polling.is_full(broker, &pop.topic, &pop.group, pop.queue_id) {
        return out.reply(head, pop.nothing(broker, ResponseCode::PollingFull));
    }
    polling.hold(
        broker,
        Held {
            responder: connection.responder(head),
            deadline_millis,
            waiting: Waiting::Pop(pop),
        },
    );
}

/// Checks a request. Also tells until when it may wait.
fn accept(
    broker: &Arc<Broker>,
    connection: &Connection,
    frame: &Frame,
) -> Result<(Pop, Option<i64>), BrokerError> {
    let header: PopMessageRequest<'_> = frame.header()?;
    let now = broker.now_millis();
    let born = if header.born_time == 0 {
        now
    } else {
        header.born_time
    };
    let settings = broker.settings();
    let ip = &settings.broker.broker_ip;
    let latest = born.saturating_add(header.poll_time);
    if now.saturating_sub(latest) > LATE_MILLIS {
        return Err(BrokerError::PollingTimeout(format!(
            "the broker[{ip}] pop message is timeout too much"
        )));
    }
    if header.max_msg_nums > MAX_MESSAGES as i32 {
        return Err(BrokerError::InvalidParameter(format!(
            "the broker[{ip}] pop message's num is greater than {MAX_MESSAGES}"
        )));
    }
    let (topic, group) = (&*header.topic, &*header.consumer_group);
    checks::readable_topic(
        broker,
        connection,
        topic,
        group,
        header.queue_id,
        "pop message",
    )?;
    let expression = header.expression.as_deref().unwrap_or_default();
    let expression_type = header.expression_type.as_deref();
    let filter = filter(expression_type, expression)?;
    let requested = Request {
        group,
        topic,
        expression_type,
        expression,
        is_pop: true,
    };
    broker.requested.note(requested, now);
    let pop = Pop {
        topic: topic.into(),
        group: group.into(),
        queue_id: header.queue_id.max(-1),
        filter,
        max_count: header.max_msg_nums.max(0) as usize,
        invisible_time: header.invisible_time,
        init_mode: header.init_mode,
        order: header.order.unwrap_or_default(),
        attempt_id: header.attempt_id.map(Into::into),
    };
    Ok((pop, (header.poll_time > 0).then_some(latest - EARLY_MILLIS)))
}

/// Which messages a request wants; without an expression, all.
pub(super) fn filter(
    expression_type: Option<&str>,
    expression: &str,
) -> Result<Filter, BrokerError> {
    if expression.is_empty() {
        return Ok(Filter::All);
    }
    Filter::parse(expression_type, expression)
}

impl Pop {
    /// Takes what there is.
    pub(super) fn receive(&self, broker: &Broker) -> Result<Received, BrokerError> {
        let mut received = Received {
            pop_time: broker.now_millis(),
            revive_queue: self.revive_queue(),
            slices: Vec::new(),
            count: 0,
            rest: 0,
            start_offsets: String::new(),
            msg_offsets: String::new(),
            order_counts: String::new(),
        };
        if broker.pop.is_full() {
            return Ok(received);
        }
        let turn = broker.pop.turn.fetch_add(1, Ordering::Relaxed);
        let percent = turn % 100 * 37 % 100;
        let settings = &broker.settings().pop;
        let retry_topic = (!self.order).then(|| self.retry_topic(broker, turn));
        let (first, retries) = if self.is_by_priority(broker, percent) {
            (0, settings.pop_from_retry_probability_for_priority)
        } else {
            (turn, settings.pop_from_retry_probability)
        };
        let retry_first = percent < retries;
        let retry_topic = retry_topic.as_deref();
        if let Some(retry) = retry_topic.filter(|_| retry_first) {
            self.receive_topic(broker, retry, -1, first, &mut received)?;
        }
        self.receive_topic(broker, &self.topic, self.queue_id, first, &mut received)?;
        if let Some(retry) = retry_topic.filter(|_| !retry_first) {
            self.receive_topic(broker, retry, -1, first, &mut received)?;
        }
        if !received.is_empty() {
            let began = received.pop_time;
            broker.count_delivered_after(&self.topic, &self.group, self.queue_id, began);
        }
        Ok(received)
    }

    /// Whether this pop, one of the `percent` in a hundred, looks into the queues by priority, not
    /// in turn: that takes a topic for priorities, and a group that wants it so often.
    fn is_by_priority(&self, broker: &Broker, percent: u32) -> bool {
        let topic = broker.topics.get(&self.topic);
        if self.order || !topic.is_some_and(|topic| topic.is_for("PRIORITY")) {
            return false;
        }
        let group = broker.groups.get(&self.group);
        group.is_some_and(|group| percent < attributes::priority_factor(&group.attributes))
    }

    /// The one retry topic that this pop looks into: the lists in an answer can't tell two apart
    /// that belong to the same group.
    fn retry_topic(&self, broker: &Broker, turn: u32) -> String {
        let settings = broker.settings();
        let has_both =
            settings.pop.retrieve_message_from_pop_retry_topic_v1 && turn.is_multiple_of(2);
        if settings.pop.enable_retry_topic_v2 && !has_both {
            names::pop_retry_topic_v2(&self.topic, &self.group)
        } else {
            names::pop_retry_topic_v1(&self.topic, &self.group)
        }
    }

    fn receive_topic(
        &self,
        broker: &Broker,
        topic: &str,
        queue_id: i32,
        first: u32,
        received: &mut Received,
    ) -> Result<(), BrokerError> {
        let Some(known) = broker.topics.get(topic) else {
            return Ok(());
        };
        let consumption = broker.pop.consumption(topic, &self.group);
        if queue_id >= 0 {
            return self.receive_queue(broker, &consumption, queue_id, received);
        }
        let queues = known.config.read_queue_nums.max(0).cast_unsigned();
        let ascending = broker.settings().pop.priority_order_asc;
        for at in 0..queues {
            let at = if ascending { queues - 1 - at } else { at };
            let queue_id = (first % queues + at) % queues;
            self.receive_queue(broker, &consumption, queue_id.cast_signed(), received)?;
        }
        Ok(())
    }

    /// `PopMessageProcessor.popMsgFromQueue`.
    fn receive_queue(
        &self,
        broker: &Broker,
        consumption: &Consumption,
        queue_id: i32,
        received: &mut Received,
    ) -> Result<(), BrokerError> {
        let (topic, group) = (&*consumption.topic, &*consumption.group);
        let queue = broker.queue(topic, queue_id)?;
        let mut in_flight = consumption.in_flight.lock();
        let offset = self.start(broker, consumption, &queue)?;
        let now = received.pop_time;
        let orderly = broker.pop.orders.queue(topic, group, queue_id);
        let attempt = self.attempt_id.as_deref();
        if self.order && orderly.is_blocked(attempt, self.invisible_time, now) {
            return Ok(());
        }
        let settings = &broker.settings().pop;
        let limited = settings.enable_pop_message_threshold && !self.order;
        let is_limit =
            limited && in_flight.out_of(queue_id) > settings.pop_inflight_message_threshold;
        let room = self.max_count.saturating_sub(received.count);
        if is_limit || room == 0 || queue.max_offset() <= offset {
            received.rest += (queue.max_offset() - offset).max(0);
            return Ok(());
        }
        let read = |offset| {
            broker
                .store
                .get_messages(&queue, offset, room, usize::MAX, &self.filter)
        };
        let commit = |next| broker.offsets.commit(group, topic, queue_id, next);
        let mut start = offset;
        let mut got = read(start)?;
        if matches!(
            got.status,
            GetStatus::OffsetTooSmall | GetStatus::OffsetOverflowBadly | GetStatus::OffsetFoundNull
        ) {
            start = got.next_begin_offset;
            commit(start);
            got = read(start)?;
        }
        received.rest += (got.max_offset - got.next_begin_offset).max(0);
        let has_found = got.status == GetStatus::Found;
        broker.statistics.traffic.looked(has_found);
        if got.status != GetStatus::Found {
            if got.next_begin_offset > start {
                commit(got.next_begin_offset);
            }
            return Ok(());
        }
        let records = got.records();
        let offsets: Vec<i64> = records.map(|record| record.queue_offset()).collect();
        if self.order {
            let attempt = self.attempt_id.clone();
            let (invisible, counts) = (self.invisible_time, &mut received.order_counts);
            orderly.take(attempt, (now, invisible), &offsets, counts);
            commit(start);
        } else {
            let handle = Consumption::handle_of(queue_id, start, now);
            let diff = |offset: &i64| (offset - start) as i32;
            let check_point = PopCheckPoint {
                num: offsets.len() as i8,
                invisible_time: self.invisible_time,
                queue_offset_diff: offsets.iter().map(diff).collect(),
                ..consumption.check_point(broker, &handle)
            };
            let entry = Entry::check_point(broker, received.revive_queue, &check_point)?;
            for place in revive_log::append(broker, &[entry])?.0 {
                in_flight.insert(&check_point, place, false);
            }
            commit(got.next_begin_offset);
            if let Some(counters) = broker.counters(&self.topic, group) {
                broker.statistics.check_point(&counters);
            }
        }
        broker.count_delivered(topic, group, offsets.len(), got.size);
        append_start_offset(&mut received.start_offsets, topic, queue_id, start);
        append_msg_offsets(&mut received.msg_offsets, topic, queue_id, &offsets);
        self.put(broker, topic, start, got, offsets.len(), received);
        Ok(())
    }

    /// Where to read a queue (`PopMessageProcessor.getPopOffset`).
    fn start(
        &self,
        broker: &Broker,
        consumption: &Consumption,
        queue: &Queue,
    ) -> Result<i64, BrokerError> {
        let (topic, group, id) = (&*consumption.topic, &*consumption.group, queue.id());
        if broker.settings().broker.use_server_side_reset_offset
            && let Some(reset) = broker.offsets.take_reset(group, topic, id)
        {
            broker.pop.orders.queue(topic, group, id).clear();
            consumption.store_reset(broker, id, reset)?;
            broker.offsets.commit(group, topic, id, reset);
            return Ok(reset);
        }
        if let Some(known) = broker.offsets.query(group, topic, id) {
            return Ok(known);
        }
        let check_memory = broker.settings().pop.init_pop_offset_by_check_msg_in_mem;
        let offset = if self.init_mode == FROM_FIRST || names::is_retry_topic(topic) {
            broker.store.first_offset(queue)
        } else if check_memory && queue.min_offset() <= 0 && broker.store.is_in_memory(queue, 0)? {
            0
        } else {
            (queue.max_offset() - 1).max(0)
        };
        broker.offsets.commit(group, topic, id, offset);
        Ok(offset)
    }

    /// Adds messages to an answer.
    fn put(
        &self,
        broker: &Broker,
        topic: &str,
        start: i64,
        got: GetMessages,
        count: usize,
        received: &mut Received,
    ) {
        received.count += count;
        let actual_topic = broker.settings().pop.pop_response_return_actual_retry_topic;
        if topic == self.topic || actual_topic {
            received.slices.extend(got.slices);
            return;
        }
        let mut renamed = BytesMut::new();
        for record in got.records() {
            let handle = ExtraInfo {
                start_offset: start,
                pop_time: received.pop_time,
                invisible_time: self.invisible_time,
                revive_queue_id: received.revive_queue,
                topic_kind: TopicKind::of_topic(topic),
                broker_name: &broker.pop.broker_name,
                queue_id: record.queue_id(),
                queue_offset: Some(record.queue_offset()),
                commit_log_offset: None,
            };
            rename(&record, &self.topic, &handle, &mut renamed);
        }
        received.slices.push(renamed.freeze());
    }

    /// The answer that brings messages.
    pub(super) fn reply<'a>(&self, received: Received) -> Reply<PopMessageResponse<'a>> {
        let Received {
            slices,
            pop_time,
            revive_queue,
            rest,
            start_offsets,
            msg_offsets,
            order_counts,
            ..
        } = received;
        let header = PopMessageResponse {
            pop_time,
            invisible_time: self.invisible_time,
            revive_qid: revive_queue,
            rest_num: rest,
            start_offset_info: Some(start_offsets.into()),
            msg_offset_info: Some(msg_offsets.into()),
            order_count_info: self.order.then(|| order_counts.into()),
        };
        Reply::ok(header).with_remark("FOUND").with_body(slices)
    }

    /// The answer that brings none, and why.
    pub(super) fn nothing<'a>(
        &self,
        broker: &Broker,
        code: ResponseCode,
    ) -> Reply<PopMessageResponse<'a>> {
        let header = PopMessageResponse {
            pop_time: broker.now_millis(),
            invisible_time: self.invisible_time,
            revive_qid: self.revive_queue(),
            rest_num: 0,
            start_offset_info: Some("".into()),
            msg_offset_info: Some("".into()),
            order_count_info: self.order.then(|| "".into()),
        };
        Reply::ok(header)
            .with_code(code)
            .with_remark("NO_MESSAGE_IN_QUEUE")
    }

    fn revive_queue(&self) -> i32 {
        if self.order {
            names::POP_ORDER_REVIVE_QUEUE
        } else {
            revive_log::queue_id(&self.topic, &self.group)
        }
    }
}

/// Writes a message of a retry topic as one of the topic that it was sent to, with its handle:
/// clients look for both by the topic's name.
fn rename(record: &RecordRef<'_>, topic: &str, handle: &ExtraInfo<'_>, out: &mut BytesMut) {
    let string = record.properties();
    let mut added = String::new();
    if properties::get(&string, property::POP_CK).is_none() {
        let mut text = String::new();
        // Writing to a text cannot fail.
        let _ = write!(text, "{handle}");
        properties::put(&mut added, property::POP_CK, &text);
    }
    let renamed = RecordFields {
        version: RecordVersion::for_topic_len(topic.len()),
        queue_id: record.queue_id(),
        flag: record.flag(),
        queue_offset: record.queue_offset(),
        physical_offset: record.physical_offset(),
        sys_flag: record.sys_flag(),
        born_timestamp: record.born_timestamp(),
        born_host: record.born_host(),
        store_timestamp: record.store_timestamp(),
        store_host: record.store_host(),
        reconsume_times: record.reconsume_times(),
        prepared_transaction_offset: record.prepared_transaction_offset(),
        body: record.body(),
        topic,
        properties: string.as_bytes(),
        more_properties: added.as_bytes(),
        append_record_crc: false,
    };
    if renamed.encode_into(out).is_err() {
        // Its properties leave no room for the handle, which clients can also make themselves.
        out.extend_from_slice(record.as_bytes());
    }
}
