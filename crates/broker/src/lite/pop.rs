//! POP_LITE_MESSAGE and what follows it: acknowledging, changing invisible times
//! (`PopLiteMessageProcessor`, `AckMessageProcessor.ackLite`,
//! `ChangeInvisibleTimeProcessor.processChangeInvisibleTimeForLite`).

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use store::{AllMessages, GetMessages, GetStatus, Queue};
use transport::{Connection, Outbox, Reply, Responder};
use wire::code::ResponseCode;
use wire::frame::Frame;
use wire::header::lite::{PopLiteMessageRequest, PopLiteMessageResponse};
use wire::header::pop::{
    AckMessageRequest, ChangeInvisibleTimeRequest, ChangeInvisibleTimeResponse,
};
use wire::message::pop::ExtraInfo;
use wire::message::record::RecordRef;
use wire::message::{names, perm, properties, property};

use super::order::{Acknowledged, Order, OrderKey};
use super::{Rules, State, is_parent, queue};
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::topics::Topic;

/// Most messages of one request.
const MOST_MESSAGES: i32 = 32;
/// A request that is so many milliseconds over its time is not looked at.
const TOO_LATE_MILLIS: i64 = 500;
/// The most requests that wait; further ones are answered at once (`maxPopPollingSize`).
const MAX_HELD: usize = 100_000;
/// The most of one client (`popPollingSize`).
const MAX_HELD_OF_CLIENT: usize = 1024;

/// A request for messages of a client's lite topics.
pub(crate) struct Pop {
    responder: Responder,
    client: Arc<str>,
    parent: Arc<Topic>,
    group: Arc<str>,
    attempt_id: Option<Box<str>>,
    max_count: usize,
    invisible_time: i64,
    /// When it is answered at the latest, in milliseconds since 1970.
    deadline: i64,
}

/// Messages of lite topics.
#[derive(Default)]
struct Received {
    slices: Vec<Bytes>,
    size: usize,
    /// How often each was received before.
    times: Vec<i32>,
    /// When, in milliseconds since 1970; acknowledgements name it.
    pop_time: i64,
}

/// Serves one request: answers it now, or holds it.
pub(crate) fn pop(
    broker: &Arc<Broker>,
    connection: &Arc<Connection>,
    frame: &Frame,
    out: &mut Outbox,
) {
    match accept(broker, connection, frame) {
        Ok(pop) => pop.serve(broker),
        Err(error) => out.refuse(&frame.head, &error.into()),
    }
}

/// Checks a request.
fn accept(
    broker: &Broker,
    connection: &Arc<Connection>,
    frame: &Frame,
) -> Result<Pop, BrokerError> {
    let header: PopLiteMessageRequest<'_> = frame.header()?;
    let settings = broker.settings();
    let ip = &settings.broker.broker_ip;
    let now = broker.now_millis();
    let born = match header.born_time {
        0 => now,
        born => born,
    };
    let deadline = born.saturating_add(header.poll_time);
    if now.saturating_sub(deadline) > TOO_LATE_MILLIS {
        return Err(BrokerError::PollingTimeout(format!(
            "the broker[{ip}] pop message is timeout too much"
        )));
    }
    settings.broker.check_readable("pop message")?;
    if header.max_msg_num > MOST_MESSAGES {
        return Err(BrokerError::InvalidParameter(format!(
            "the broker[{ip}] pop message's num is greater than {MOST_MESSAGES}"
        )));
    }
    let topic = broker.existing_topic(&header.topic)?;
    if !perm::is_readable(topic.config.perm) {
        return Err(BrokerError::NoPermission(format!(
            "the topic [{}] peeking message is forbidden",
            header.topic
        )));
    }
    if !is_parent(&topic) {
        return Err(BrokerError::InvalidParameter(format!(
            "the topic [{}] message type not match",
            header.topic
        )));
    }
    let group = &*header.consumer_group;
    let config = broker.consuming_group(group)?;
    if Rules::of(&config).parent() != Some(&*header.topic) {
        return Err(BrokerError::InvalidParameter(format!(
            "subscription bind topic not match, {group}"
        )));
    }
    Ok(Pop {
        responder: connection.responder(&frame.head),
        client: (*header.client_id).into(),
        parent: topic,
        group: group.into(),
        attempt_id: header.attempt_id.as_deref().map(Into::into),
        max_count: header.max_msg_num.max(0) as usize,
        invisible_time: header.invisible_time,
        deadline,
    })
}

impl State {
    /// Holds a request; gives it back if there is something for its client, or with the code to
    /// answer if too many wait.
    fn hold(&mut self, pop: Pop) -> Result<(), (Pop, Option<ResponseCode>)> {
        if self.events.has_any(&pop.client) {
            return Err((pop, None));
        }
        let held = self.held.entry(Arc::clone(&pop.client)).or_default();
        if self.held_count >= MAX_HELD || held.len() >= MAX_HELD_OF_CLIENT {
            return Err((pop, Some(ResponseCode::PollingFull)));
        }
        held.push_back(pop);
        self.held_count += 1;
        Ok(())
    }

    /// The request of a client that has waited longest.
    pub(super) fn take_held(&mut self, client: &str) -> Option<Pop> {
        let held = self.held.get_mut(client)?;
        let mut taken = None;
        while let Some(pop) = held.pop_front() {
            self.held_count -= 1;
            if pop.responder.connection().is_open() {
                taken = Some(pop);
                break;
            }
        }
        if held.is_empty() {
            self.held.remove(client);
        }
        taken
    }

    /// The requests that have waited long enough, or whose client has gone.
    pub(super) fn take_over(&mut self, now: i64) -> Vec<Pop> {
        let mut over = Vec::new();
        self.held.retain(|_, pops| {
            let (done, left) = std::mem::take(pops)
                .into_iter()
                .partition(|pop| pop.deadline <= now || !pop.responder.connection().is_open());
            *pops = left;
            over.extend::<VecDeque<Pop>>(done);
            !pops.is_empty()
        });
        self.held_count -= over.len();
        over
    }
}

impl Pop {
    /// Answers with what there is, or holds the request.
    pub(super) fn serve(self, broker: &Broker) {
        let mut pop = self;
        loop {
            match pop.receive(broker) {
                Err(error) => return pop.responder.refuse(&error.into()),
                Ok(received) if !received.times.is_empty() => return pop.answer(broker, received),
                Ok(_) if pop.deadline <= broker.now_millis() => return pop.give_up(),
                Ok(_) => {
                    // What comes from now on wakes it.
                    let held = broker.lite.state.lock().hold(pop);
                    match held {
                        Ok(()) => return,
                        Err((full, Some(code))) => return full.answer_empty(code),
                        Err((again, None)) => pop = again,
                    }
                }
            }
        }
    }

    fn answer(self, broker: &Broker, received: Received) {
        let Received {
            slices,
            size,
            times,
            pop_time,
        } = received;
        let counters = self.parent.statistics.group(&self.group);
        let parent = &self.parent.config.topic_name;
        broker
            .statistics
            .delivered(&counters, parent, times.len(), size);
        let took = (broker.now_millis() - pop_time).max(0);
        let queue_id = names::LMQ_QUEUE_ID;
        broker.statistics.delivered_after(&counters, queue_id, took);
        let counts: Vec<String> = times.iter().map(i32::to_string).collect();
        let header = self.header(pop_time, counts.join(";"));
        let reply = Reply::ok(header).with_remark(GetStatus::Found.name());
        self.responder.reply(reply.with_body(slices));
    }

    fn header(&self, pop_time: i64, counts: String) -> PopLiteMessageResponse<'static> {
        PopLiteMessageResponse {
            pop_time,
            invisible_time: self.invisible_time,
            revive_qid: names::POP_ORDER_REVIVE_QUEUE,
            order_count_info: Some(counts.into()),
            ..Default::default()
        }
    }

    /// Answers that there was nothing in its time.
    pub(super) fn give_up(self) {
        self.answer_empty(ResponseCode::PollingTimeout);
    }

    fn answer_empty(self, code: ResponseCode) {
        let reply = Reply::ok(self.header(self.deadline, String::new()));
        let status = GetStatus::NoMessageInQueue.name();
        self.responder
            .reply(reply.with_code(code).with_remark(status));
    }

    /// Takes messages of the lite topics that have something for the client.
    fn receive(&self, broker: &Broker) -> Result<Received, BrokerError> {
        let pop_time = broker.now_millis();
        let mut received = Received {
            pop_time,
            ..Received::default()
        };
        while received.times.len() < self.max_count {
            let next = broker.lite.state.lock().events.next(&self.client, pop_time);
            let Some(light_queue) = next else {
                break;
            };
            let Some(queue) = queue(broker, &light_queue) else {
                continue;
            };
            let key = OrderKey {
                group: Arc::clone(&self.group),
                light_queue,
            };
            let order = broker.lite.orders.get(&key);
            let mut order = order.lock();
            let count = self.max_count - received.times.len();
            self.receive_of(broker, &queue, &mut order, count, &mut received)?;
            broker.lite.orders.watch(&key, &mut order);
        }
        Ok(received)
    }

    /// Takes messages of one lite topic.
    fn receive_of(
        &self,
        broker: &Broker,
        queue: &Arc<Queue>,
        order: &mut Order,
        count: usize,
        received: &mut Received,
    ) -> Result<(), BrokerError> {
        let pop_time = received.pop_time;
        let attempt_id = self.attempt_id.as_deref();
        if order.is_blocked(attempt_id, pop_time) {
            return Ok(());
        }
        let offset = self.start(broker, queue, order)?;
        let got = self.read(broker, queue, offset, count)?;
        if got.status != GetStatus::Found {
            return Ok(());
        }
        let records = got.records();
        let offsets = records.map(|record| offset_in(queue.topic(), &record));
        let times = order.receive(attempt_id, offsets, pop_time, self.invisible_time);
        received.times.extend(times);
        received.size += got.size;
        received.slices.extend(got.slices);
        Ok(())
    }

    /// Where the group goes on; a new group at the first message while that is in memory, else at
    /// the last one (`getPopOffset`, `getInitOffset`).
    fn start(&self, broker: &Broker, queue: &Queue, order: &mut Order) -> Result<i64, BrokerError> {
        let (offsets, topic) = (&broker.offsets, queue.topic());
        if let Some(reset) = offsets.take_reset(&self.group, topic, queue.id()) {
            order.clear();
            offsets.commit(&self.group, topic, queue.id(), reset);
            return Ok(reset);
        }
        let known = offsets.query(&self.group, topic, queue.id());
        if let Some(offset) = known.filter(|offset| *offset >= 0) {
            return Ok(offset);
        }
        let from_start = queue.min_offset() <= 0 && broker.store.is_in_memory(queue, 0)?;
        let offset = match from_start {
            true => 0,
            false => (queue.max_offset() - 1).max(0),
        };
        offsets.commit(&self.group, topic, queue.id(), offset);
        Ok(offset)
    }

    /// Reads from an offset, or from where the messages are if there are none at it.
    fn read(
        &self,
        broker: &Broker,
        queue: &Queue,
        offset: i64,
        count: usize,
    ) -> Result<GetMessages, BrokerError> {
        let read = |offset| {
            let all = &AllMessages;
            broker
                .store
                .get_messages(queue, offset, count, usize::MAX, all)
        };
        let got = read(offset)?;
        match got.status {
            GetStatus::OffsetTooSmall
            | GetStatus::OffsetOverflowBadly
            | GetStatus::OffsetFoundNull
            | GetStatus::NoMatchedMessage
            | GetStatus::MessageWasRemoving => {
                let next = got.next_begin_offset;
                let offsets = &broker.offsets;
                offsets.commit(&self.group, queue.topic(), queue.id(), next);
                Ok(read(next)?)
            }
            _ => Ok(got),
        }
    }
}

/// The number that a record has in a light queue.
fn offset_in(light_queue: &str, record: &RecordRef<'_>) -> i64 {
    let text = record.properties();
    let wanted = [
        property::INNER_MULTI_DISPATCH,
        property::INNER_MULTI_QUEUE_OFFSET,
    ];
    let [queues, offsets] =
        properties::get_each(&text, wanted).map(|list| list.unwrap_or_default().split(','));
    let place = queues.zip(offsets).find(|(queue, _)| *queue == light_queue);
    place
        .and_then(|(_, offset)| offset.parse().ok())
        .unwrap_or_else(|| record.queue_offset())
}

/// The light queue of a message that is acknowledged or hidden longer, which the queue must have.
fn light_queue_of(
    broker: &Broker,
    topic: &str,
    lite_topic: Option<&str>,
    offset: i64,
) -> Result<Arc<Queue>, BrokerError> {
    let light_queue = names::lite_lmq_name(topic, lite_topic.unwrap_or_default());
    let queue = light_queue.and_then(|name| queue(broker, &name));
    queue
        .filter(|queue| offset <= queue.max_offset())
        .ok_or_else(|| BrokerError::NoMessage("ack offset illegal.".into()))
}

/// ACK_MESSAGE of a message of a lite topic.
pub(crate) fn acknowledge(
    broker: &Broker,
    header: &AckMessageRequest<'_>,
) -> Result<(), BrokerError> {
    let (group, offset) = (&*header.consumer_group, header.offset);
    let config = broker.groups.get(group);
    if config
        .and_then(|config| Rules::of(&config).parent().map(str::to_owned))
        .as_deref()
        != Some(&*header.topic)
    {
        return Err(BrokerError::InvalidParameter(
            "group type or bind topic not match.".into(),
        ));
    }
    let queue = light_queue_of(broker, &header.topic, header.lite_topic.as_deref(), offset)?;
    let info = ExtraInfo::decode(&header.extra_info)?;
    if header.queue_id != names::LMQ_QUEUE_ID || !info.is_order() {
        return Err(BrokerError::InvalidParameter("ack queue illegal.".into()));
    }
    let light_queue = queue.topic();
    let committed = || {
        broker
            .offsets
            .query(group, light_queue, names::LMQ_QUEUE_ID)
    };
    let key = OrderKey {
        group: group.into(),
        light_queue: Arc::clone(light_queue),
    };
    let order = broker.lite.orders.get(&key);
    let mut order = order.lock();
    if committed().is_some_and(|committed| offset < committed) {
        return Ok(());
    }
    match order.acknowledge(offset, info.pop_time) {
        Acknowledged::Late => return Ok(()),
        Acknowledged::Unknown => {
            return Err(BrokerError::MessageIllegal("ack offset illegal.".into()));
        }
        Acknowledged::Next(next) => {
            if !broker
                .offsets
                .has_reset(group, light_queue, names::LMQ_QUEUE_ID)
            {
                broker
                    .offsets
                    .commit(group, light_queue, names::LMQ_QUEUE_ID, next);
            }
        }
    }
    if let Some(counters) = broker.counters(&header.topic, group) {
        broker.statistics.acknowledged(&counters, 1, 1);
    }
    let is_free = !order.is_blocked(None, broker.now_millis());
    drop(order);
    if is_free && committed().unwrap_or(-1) < queue.max_offset() {
        broker.lite.dispatch(broker, light_queue, Some(group), None);
    }
    Ok(())
}

/// CHANGE_MESSAGE_INVISIBLETIME of a message of a lite topic, or of all that was received with it.
pub(crate) fn change_invisible_time(
    broker: &Broker,
    header: &ChangeInvisibleTimeRequest<'_>,
) -> Result<Reply<ChangeInvisibleTimeResponse>, BrokerError> {
    let (group, offset) = (&*header.consumer_group, header.offset);
    let queue = light_queue_of(broker, &header.topic, header.lite_topic.as_deref(), offset)?;
    let info = ExtraInfo::decode(&header.extra_info)?;
    let light_queue = queue.topic();
    let committed = broker
        .offsets
        .query(group, light_queue, names::LMQ_QUEUE_ID);
    if committed.is_some_and(|committed| offset < committed) {
        return Ok(Reply::ok(ChangeInvisibleTimeResponse::default()));
    }
    let key = OrderKey {
        group: group.into(),
        light_queue: Arc::clone(light_queue),
    };
    let visible_at = broker.now_millis().saturating_add(header.invisible_time);
    let order = broker.lite.orders.get(&key);
    let mut order = order.lock();
    if header.suspend {
        order.suspend(info.pop_time, visible_at);
    } else {
        order.change_visibility(offset, info.pop_time, visible_at);
    }
    broker.lite.orders.watch(&key, &mut order);
    Ok(Reply::ok(ChangeInvisibleTimeResponse {
        pop_time: info.pop_time,
        invisible_time: visible_at.saturating_sub(info.pop_time),
        revive_qid: info.revive_queue_id,
    }))
}
