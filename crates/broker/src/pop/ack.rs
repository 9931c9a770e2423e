//! ACK_MESSAGE, BATCH_ACK_MESSAGE and CHANGE_MESSAGE_INVISIBLETIME (`AckMessageProcessor`,
//! `ChangeInvisibleTimeProcessor`).
//!
//! Acknowledgements that one read of a connection brought are stored together. One for a message
//! that is not out any more, since it was acknowledged already or its time was over, changes
//! nothing and succeeds.

use std::sync::Arc;

use bytes::Bytes;
use store::{FlushDiskType, StoreError};
use transport::{Connection, Outbox, Refusal, Reply, Responder};
use wire::body::assignment::{BatchAck, BatchAckMessageRequestBody};
use wire::frame::{Frame, Head};
use wire::header::NoHeader;
use wire::header::pop::{
    AckMessageRequest, ChangeInvisibleTimeRequest, ChangeInvisibleTimeResponse,
};
use wire::message::names::POP_ORDER_REVIVE_QUEUE;
use wire::message::pop::revive::PopCheckPoint;
use wire::message::pop::{ExtraInfo, TopicKind};

use super::in_flight::{Handle, Place};
use super::in_timer::InTimer;
use super::order::Step;
use super::revive_log::{self, Entry};
use super::{Consumption, checks};
use crate::admin::read_body;
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::lite;
use crate::routes::Call;

/// A message that was consumed.
struct Ack {
    consumption: Arc<Consumption>,
    handle: Handle,
    offset: i64,
    is_order: bool,
    invisible_time: i64,
    in_timer: Option<InTimer>,
}

impl Ack {
    /// Counts what was acknowledged like this one. What is consumed in order does not count
    /// (`AckMessageProcessor.appendAck`).
    fn count(&self, broker: &Broker, messages: usize, requests: usize) {
        let Consumption { topic, group, .. } = &*self.consumption;
        if !self.is_order
            && let Some(counters) = broker.counters(topic, group)
        {
            broker
                .statistics
                .acknowledged(&counters, messages, requests);
        }
    }
}

/// Serves the acknowledgements of single messages of one read.
pub(crate) fn acknowledge(
    broker: &Arc<Broker>,
    connection: &Arc<Connection>,
    run: &[Frame],
    out: &mut Outbox,
) {
    let mut accepted: Vec<(Head, Ack)> = Vec::with_capacity(run.len());
    for frame in run {
        match accept(broker, connection, frame) {
            Ok(Some(ack)) => accepted.push((frame.head, ack)),
            Ok(None) => out.reply(&frame.head, Reply::empty()),
            Err(error) => out.refuse(&frame.head, &error.into()),
        }
    }
    // Those of one consumption stand together, whatever order the others are answered in.
    accepted.sort_by_key(|(_, ack)| (Arc::as_ptr(&ack.consumption), ack.is_order, ack.handle));
    let is_one = |one: &(Head, Ack), next: &(Head, Ack)| {
        !next.1.is_order && !one.1.is_order && Arc::ptr_eq(&one.1.consumption, &next.1.consumption)
    };
    let mut waiting = Vec::new();
    for acks in accepted.chunk_by(is_one) {
        let settled = settle(broker, connection, acks.iter().map(|(_, ack)| ack));
        if settled.is_ok()
            && let Some((_, ack)) = acks.first()
        {
            ack.count(broker, acks.len(), acks.len());
        }
        for (head, _) in acks {
            match &settled {
                Ok(end) if is_flushed(broker, *end) => out.reply(head, Reply::empty()),
                Ok(end) => waiting.push((connection.responder(head), *end)),
                Err(error) => out.refuse(head, &error.refusal()),
            }
        }
    }
    if !waiting.is_empty() {
        tokio::spawn(answer_when_flushed(Arc::clone(broker), waiting));
    }
}

/// Whether what was stored up to `end` needs no waiting for the disk.
fn is_flushed(broker: &Broker, end: i64) -> bool {
    broker.settings().store.flush_disk_type == FlushDiskType::AsyncFlush
        || broker.store.flushed_position() >= end
}

async fn answer_when_flushed(broker: Arc<Broker>, waiting: Vec<(Responder, i64)>) {
    for (responder, end) in waiting {
        let flushed = broker.store.flushed(end).await;
        let answer = flushed.map(|()| Reply::empty());
        responder.answer(answer.map_err(|error| Refusal::from(BrokerError::from(error))));
    }
}

/// Whether a request is about a message of a lite topic.
fn is_lite(lite_topic: Option<&str>) -> bool {
    lite_topic.is_some_and(|name| !name.trim().is_empty())
}

/// Checks one request; `None`: it is about nothing that is out, or it is done.
fn accept(
    broker: &Broker,
    connection: &Connection,
    frame: &Frame,
) -> Result<Option<Ack>, BrokerError> {
    let header: AckMessageRequest<'_> = frame.header()?;
    if is_lite(header.lite_topic.as_deref()) {
        lite::pop::acknowledge(broker, &header)?;
        return Ok(None);
    }
    let (topic, group, queue_id) = (&*header.topic, &*header.consumer_group, header.queue_id);
    let (min, max) = checks::queue_of_handle(broker, connection, topic, queue_id)?;
    let offset = header.offset;
    if !(min..=max).contains(&offset) {
        return Err(BrokerError::NoMessage(format!(
            "offset is illegal, key:{topic}@{queue_id}, commit:{offset}, store:{min}~{max}"
        )));
    }
    let info = decode(&header.extra_info)?;
    let is_order = info.is_order();
    let when = (is_order, info.pop_time);
    let Some(consumption) = broker.pop.consumption_of(broker, topic, group, when) else {
        return Ok(None);
    };
    let handle = Consumption::handle_of(queue_id, info.start_offset, info.pop_time);
    Ok(Some(Ack {
        consumption,
        handle,
        offset,
        is_order,
        invisible_time: info.invisible_time,
        in_timer: InTimer::of(broker, &handle, info.invisible_time, info.revive_queue_id),
    }))
}

/// What a handle says.
fn decode(handle: &str) -> Result<ExtraInfo<'_>, BrokerError> {
    ExtraInfo::decode(handle).map_err(|error| BrokerError::System(error.to_string()))
}

/// Strikes off messages of one consumption; those of orderly consumption one at a time. Returns
/// what has to be flushed for that to last.
fn settle<'a>(
    broker: &Arc<Broker>,
    connection: &Connection,
    acks: impl Iterator<Item = &'a Ack>,
) -> Result<i64, BrokerError> {
    let (mut unordered, mut in_timer) = (Vec::new(), Vec::new());
    let mut consumption = None;
    for ack in acks {
        if ack.is_order {
            acknowledge_in_order(broker, connection, ack)?;
            continue;
        }
        consumption = Some(&ack.consumption);
        let is_known = || ack.consumption.in_flight.lock().is_known(&ack.handle);
        match ack.in_timer {
            Some(reception) if !is_known() => in_timer.push((reception, ack)),
            _ => unordered.push((ack.handle, ack.offset)),
        }
    }
    let Some(consumption) = consumption else {
        return Ok(0);
    };
    let end = consumption.settle(broker, &unordered)?;
    Ok(end.max(consumption.settle_in_timer(broker, &in_timer)?))
}

impl Consumption {
    /// Strikes off messages, those of a reception standing together.
    pub(super) fn settle(
        &self,
        broker: &Broker,
        acks: &[(Handle, i64)],
    ) -> Result<i64, StoreError> {
        let mut in_flight = self.in_flight.lock();
        let mut entries = Vec::new();
        for of_reception in acks.chunk_by(|one, next| one.0 == next.0) {
            let mut place = None;
            let mut offsets = Vec::with_capacity(of_reception.len());
            for (handle, offset) in of_reception {
                if let Some(found) = in_flight.place_of(handle, *offset) {
                    place = Some(found);
                    offsets.push(*offset);
                }
            }
            if let (Some(place), Some((handle, _))) = (place, of_reception.first()) {
                let ack = self.ack(broker, handle, &offsets);
                entries.push(Entry::ack(broker, place.queue_id, &ack)?);
            }
        }
        if entries.is_empty() {
            return Ok(0);
        }
        let (_, end) = revive_log::append(broker, &entries)?;
        for (handle, offset) in acks {
            in_flight.settle(handle, *offset);
        }
        Ok(end)
    }

    /// Has the timer strike off messages of receptions that it may have, those of a reception
    /// standing together.
    fn settle_in_timer(
        &self,
        broker: &Broker,
        acks: &[(InTimer, &Ack)],
    ) -> Result<i64, StoreError> {
        let mut entries = Vec::new();
        for of_reception in acks.chunk_by(|one, next| one.1.handle == next.1.handle) {
            let offsets: Vec<i64> = of_reception.iter().map(|(_, ack)| ack.offset).collect();
            if let Some((reception, ack)) = of_reception.first() {
                let ack = self.ack(broker, &ack.handle, &offsets);
                entries.extend(reception.ack(broker, &ack)?);
            }
        }
        if entries.is_empty() {
            return Ok(0);
        }
        Ok(revive_log::append(broker, &entries)?.1)
    }

    /// Strikes off a message that was received in order, and has the group go on if none before it
    /// is left.
    pub(super) fn settle_in_order(
        &self,
        broker: &Broker,
        queue_id: i32,
        offset: i64,
        pop_time: i64,
    ) -> Result<Step, StoreError> {
        let Self { topic, group, .. } = self;
        let _in_order = self.in_flight.lock();
        let old = broker.offsets.query(group, topic, queue_id).unwrap_or(-1);
        if offset < old {
            return Ok(Step::Late);
        }
        let orderly = broker.pop.orders.queue(topic, group, queue_id);
        let step = orderly.acknowledge(offset, pop_time);
        if let Step::Next(next) = step {
            if next > old {
                self.store_advance(broker, queue_id, next)?;
            }
            if !broker.offsets.has_reset(group, topic, queue_id) {
                broker.offsets.commit(group, topic, queue_id, next);
            }
        }
        Ok(step)
    }

    /// Hides a message from now on for a time. Returns the time of the pop that it seems to come
    /// from now.
    pub(super) fn hide(
        &self,
        broker: &Broker,
        handle: &Handle,
        offset: i64,
        invisible_time: i64,
        suspend: bool,
        in_timer: Option<InTimer>,
    ) -> Result<i64, StoreError> {
        let mut in_flight = self.in_flight.lock();
        let now = broker.now_millis();
        let ack = self.ack(broker, handle, &[offset]);
        let in_timer = in_timer.filter(|_| !in_flight.is_known(handle));
        let (queue_id, settled) = match (in_flight.place_of(handle, offset), in_timer) {
            (Some(Place { queue_id, .. }), _) => {
                (queue_id, Some(Entry::ack(broker, queue_id, &ack)?))
            }
            (None, Some(reception)) => {
                let queue_id = reception.revive_queue(&self.topic, &self.group);
                (queue_id, reception.ack(broker, &ack)?)
            }
            (None, None) => return Ok(now),
        };
        let Some(settled) = settled else {
            return Ok(now);
        };
        // Later than that of any handle that was used up, which stays good for nothing.
        let mut pop_time = now.max(handle.pop_time.saturating_add(1));
        let new_handle = |pop_time| Self::handle_of(handle.queue_id, offset, pop_time);
        while in_flight.is_known(&new_handle(pop_time)) {
            pop_time += 1;
        }
        let check_point = PopCheckPoint {
            num: 1,
            invisible_time,
            queue_offset_diff: vec![0],
            suspend,
            ..self.check_point(broker, &new_handle(pop_time))
        };
        let hidden = Entry::check_point(broker, queue_id, &check_point)?;
        let mut appends = [hidden.append(broker), settled.append(broker)];
        // Both or none.
        appends[1].with_previous = true;
        revive_log::store(broker, &mut appends);
        let places = revive_log::places(appends.into())?;
        if let Some(place) = places.first() {
            in_flight.insert(&check_point, *place, false);
        }
        in_flight.settle(handle, offset);
        Ok(pop_time)
    }
}

/// `AckMessageProcessor.ackOrderly`.
fn acknowledge_in_order(
    broker: &Arc<Broker>,
    connection: &Connection,
    ack: &Ack,
) -> Result<(), BrokerError> {
    let Consumption { topic, group, .. } = &*ack.consumption;
    let (queue_id, offset) = (ack.handle.queue_id, ack.offset);
    let step = ack
        .consumption
        .settle_in_order(broker, queue_id, offset, ack.handle.pop_time)?;
    match step {
        Step::Late => return Ok(()),
        Step::Next(_) => {}
        Step::Illegal => {
            let old = broker.offsets.query(group, topic, queue_id).unwrap_or(-1);
            return Err(BrokerError::MessageIllegal(format!(
                "offset is illegal, key:{topic}@{group}@{queue_id}, old:{old}, commit:{offset}, \
                 next:-1, {}",
                connection.peer()
            )));
        }
    }
    let now = broker.now_millis();
    let orderly = broker.pop.orders.queue(topic, group, queue_id);
    if !orderly.is_blocked(None, ack.invisible_time, now) {
        broker
            .pop
            .polling
            .serve(broker, topic, group, Some(queue_id));
    }
    Ok(())
}

/// Serves acknowledgements of many messages.
pub(crate) async fn batch_acknowledge(
    broker: &Arc<Broker>,
    call: &Call,
    _: NoHeader,
    body: Bytes,
) -> Result<Reply, BrokerError> {
    let batch: BatchAckMessageRequestBody = if body.is_empty() {
        BatchAckMessageRequestBody::default()
    } else {
        read_body(&body)?
    };
    if batch.acks.is_empty() {
        return Err(BrokerError::NoMessage(
            "there is nothing to acknowledge".into(),
        ));
    }
    let mut end = 0;
    for batch in &batch.acks {
        let acks = acks_of(broker, batch)?;
        end = end.max(settle(broker, &call.connection, acks.iter())?);
        if let Some(ack) = acks.first() {
            ack.count(broker, acks.len(), 1);
        }
    }
    if !is_flushed(broker, end) {
        broker.store.flushed(end).await?;
    }
    Ok(Reply::empty())
}

/// The messages that a batch stands for, as far as the queue has them.
fn acks_of(broker: &Broker, batch: &BatchAck) -> Result<Vec<Ack>, BrokerError> {
    let kind: TopicKind = batch.retry.parse().map_err(|()| {
        BrokerError::Body(format!(
            "\"{}\" is no kind of topic: 0, 1 or 2",
            batch.retry
        ))
    })?;
    let topic = kind.real_topic(&batch.topic, &batch.consumer_group);
    let queue = broker.store.find_queue(&topic, batch.queue_id);
    let is_order = batch.revive_queue_id == POP_ORDER_REVIVE_QUEUE;
    let group = &*batch.consumer_group;
    let when = (is_order, batch.pop_time);
    let consumption = broker.pop.consumption_of(broker, &topic, group, when);
    let (Some(queue), Some(consumption)) = (queue, consumption) else {
        return Ok(Vec::new());
    };
    let handle = Consumption::handle_of(batch.queue_id, batch.start_offset, batch.pop_time);
    let in_timer = InTimer::of(broker, &handle, batch.invisible_time, batch.revive_queue_id);
    let bits = batch.bit_set.iter().zip(0_i64..).flat_map(|(byte, at)| {
        let set = (0..8).filter(move |bit| byte & (1 << bit) != 0);
        set.map(move |bit| at * 8 + bit)
    });
    let offsets = bits.filter_map(|bit| batch.start_offset.checked_add(bit));
    let offsets = offsets
        .filter(|offset| (broker.store.first_offset(&queue)..=queue.max_offset()).contains(offset));
    Ok(offsets
        .map(|offset| Ack {
            consumption: Arc::clone(&consumption),
            handle,
            offset,
            is_order,
            invisible_time: batch.invisible_time,
            in_timer,
        })
        .collect())
}

/// Serves a change of the time for which a message is hidden.
pub(crate) fn change_invisible_time(
    broker: &Arc<Broker>,
    call: &Call,
    header: ChangeInvisibleTimeRequest<'_>,
    _: &Bytes,
) -> Result<Reply<ChangeInvisibleTimeResponse>, BrokerError> {
    if is_lite(header.lite_topic.as_deref()) {
        return lite::pop::change_invisible_time(broker, &header);
    }
    let (topic, group, queue_id) = (&*header.topic, &*header.consumer_group, header.queue_id);
    let (min, max) = checks::queue_of_handle(broker, &call.connection, topic, queue_id)?;
    let offset = header.offset;
    if !(min..max).contains(&offset) {
        return Err(BrokerError::NoMessage(format!(
            "offset is illegal, key:{topic}@{queue_id}, offset:{offset}, store:{min}~{max}"
        )));
    }
    let info = decode(&header.extra_info)?;
    let (invisible_time, revive_qid) = (header.invisible_time, info.revive_queue_id);
    let handle = Consumption::handle_of(queue_id, info.start_offset, info.pop_time);
    let consumption =
        broker
            .pop
            .consumption_of(broker, topic, group, (info.is_order(), info.pop_time));
    if !info.is_order() {
        let pop_time = match consumption {
            Some(consumption) => {
                let suspend = header.suspend;
                let in_timer = InTimer::of(broker, &handle, info.invisible_time, revive_qid);
                consumption.hide(broker, &handle, offset, invisible_time, suspend, in_timer)?
            }
            None => broker.now_millis(),
        };
        if let Some(counters) = broker.counters(topic, group) {
            broker.statistics.check_point(&counters);
            broker.statistics.acknowledged(&counters, 1, 1);
        }
        return Ok(Reply::ok(ChangeInvisibleTimeResponse {
            pop_time,
            invisible_time,
            revive_qid,
        }));
    }
    let _in_order = consumption
        .as_ref()
        .map(|consumption| consumption.in_flight.lock());
    if broker
        .offsets
        .query(group, topic, queue_id)
        .is_some_and(|old| offset < old)
    {
        return Ok(Reply::ok(ChangeInvisibleTimeResponse::default()));
    }
    let until = broker.now_millis().saturating_add(invisible_time);
    broker
        .pop
        .orders
        .queue(topic, group, queue_id)
        .hide_until(offset, info.pop_time, until);
    Ok(Reply::ok(ChangeInvisibleTimeResponse {
        pop_time: info.pop_time,
        invisible_time: until - info.pop_time,
        revive_qid,
    }))
}
