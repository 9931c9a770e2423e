//! Pop: consumers receive messages of shared queues for a time, and acknowledge each one
//! (`PopMessageProcessor`, `AckMessageProcessor`, `PopReviveService`).
//!
//! What is received stays hidden from the group until its invisible time is over. All that is out
//! is known in memory ([`in_flight`]), and stands in the revive topic ([`revive_log`]): a check
//! point is stored before the messages go out, an acknowledgement before it is answered. So a
//! broker that was killed knows what is out when it starts again.
//!
//! What was not acknowledged in time is stored once more, in a topic of the group's own
//! ([`revive`]). Orderly consumption has no check points: the group's offset waits until the
//! messages before it are acknowledged ([`order`]).

mod ack;
mod assignment;
mod checks;
mod in_flight;
mod in_timer;
mod notification;
mod order;
mod peek;
mod polling;
mod receive;
mod revive;
mod revive_log;
mod settings;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use store::{Arrival, Disk, StoreError};
use transport::Reply;
use wire::header::NoHeader;
use wire::message::names;
use wire::message::pop::revive::{PopAck, PopCheckPoint};

pub(crate) use self::ack::{acknowledge, batch_acknowledge, change_invisible_time};
pub(crate) use self::assignment::{all_request_modes, query_assignment, set_request_mode};
pub(crate) use self::notification::{notification, polling_info};
pub(crate) use self::peek::peek;
pub(crate) use self::receive::pop;
pub use self::settings::PopConfig;

use self::assignment::RequestModes;
use self::in_flight::{Handle, InFlight, Place};
use self::order::OrderTable;
use self::polling::Polling;
use self::revive_log::Entry;
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::routes::Call;
use crate::settings::BrokerSettings;
use crate::topics::REVIVE_QUEUES;

/// The most receptions that are out, at some 150 bytes each; with more nothing further is handed
/// out.
const MAX_RECEPTIONS: usize = 1_000_000;

/// POP_ROLLBACK: moves what is out from a key-value store to the revive topic, where it is here.
pub(crate) async fn roll_back(
    _: &Arc<Broker>,
    _: &Call,
    _: NoHeader,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    Ok(Reply::empty())
}

/// The state of pop consumption.
pub(crate) struct Pop {
    broker_name: String,
    revive_topic: String,
    /// By topic and group.
    consumptions: RwLock<HashMap<String, HashMap<String, Arc<Consumption>>>>,
    /// About how many receptions are out.
    receptions: AtomicUsize,
    polling: Polling,
    orders: OrderTable,
    modes: RequestModes,
    /// When the broker started, milliseconds since 1970.
    opened_millis: i64,
    /// Counts pops, so that queues take turns.
    turn: AtomicU32,
}

/// How one group pops one topic.
///
/// The lock is held while a pop or an acknowledgement is stored, so that the revive topic has
/// them in the order in which they happened. Under it, nobody may be woken who waits for a
/// message.
pub(crate) struct Consumption {
    topic: String,
    group: String,
    in_flight: Mutex<InFlight>,
}

impl Pop {
    /// Reads the tables. What is out is read by [`recover`](Self::recover).
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        settings: &BrokerSettings,
        now: i64,
    ) -> Result<Self, BrokerError> {
        let dir = settings.store.config_dir();
        Ok(Self {
            broker_name: settings.broker.broker_name.clone(),
            revive_topic: names::revive_topic(&settings.broker.broker_cluster_name),
            consumptions: RwLock::default(),
            receptions: AtomicUsize::new(0),
            polling: Polling::default(),
            orders: OrderTable::open(Arc::clone(disk), &dir)?,
            modes: RequestModes::open(Arc::clone(disk), &dir)?,
            opened_millis: now,
            turn: AtomicU32::new(0),
        })
    }

    /// Finds out what was out when the broker ended, and how far the groups had come.
    pub(crate) fn recover(&self, broker: &Broker) -> Result<(), BrokerError> {
        revive_log::recover(broker)
    }

    fn restore(
        &self,
        broker: &Broker,
        check_point: &PopCheckPoint<'_>,
        place: Place,
        by_timer: bool,
    ) {
        let (group, topic) = (&*check_point.group, &*check_point.topic);
        // A group that was new may not have been written.
        if broker.topics.get(topic).is_none() || broker.groups.get_or_create(group).is_none() {
            return;
        }
        let queue_id = check_point.queue_id;
        let known = broker.offsets.query(group, topic, queue_id);
        let last = check_point.last_offset();
        let next = last.map_or(check_point.start_offset, |last| {
            known.unwrap_or(0).max(last + 1)
        });
        if known != Some(next) {
            broker.offsets.commit(group, topic, queue_id, next);
        }
        if last.is_some() {
            let consumption = self.consumption(topic, group);
            let mut in_flight = consumption.in_flight.lock();
            in_flight.insert(check_point, place, by_timer);
        }
    }

    fn strike(&self, ack: &PopAck<'_>) {
        let Some(consumption) = self.find(&ack.topic, &ack.group) else {
            return;
        };
        let handle = Handle {
            queue_id: ack.queue_id,
            start_offset: ack.start_offset,
            pop_time: ack.pop_time,
        };
        let mut in_flight = consumption.in_flight.lock();
        match &ack.ack_offset_list {
            Some(offsets) => offsets
                .iter()
                .for_each(|offset| in_flight.settle(&handle, *offset)),
            None => in_flight.settle(&handle, ack.ack_offset),
        }
    }

    /// The consumption of a topic by a group; `None` if it has never popped it.
    fn find(&self, topic: &str, group: &str) -> Option<Arc<Consumption>> {
        self.consumptions.read().get(topic)?.get(group).cloned()
    }

    fn consumption(&self, topic: &str, group: &str) -> Arc<Consumption> {
        if let Some(found) = self.find(topic, group) {
            return found;
        }
        let mut consumptions = self.consumptions.write();
        let groups = consumptions.entry(topic.into()).or_default();
        let consumption = groups.entry(group.into()).or_insert_with(|| {
            Arc::new(Consumption {
                topic: topic.into(),
                group: group.into(),
                in_flight: Mutex::default(),
            })
        });
        Arc::clone(consumption)
    }

    /// The consumption that a handle belongs to; `None` if it can't belong to any. It does not
    /// need to have popped since the broker started, if it does so in order or did before.
    fn consumption_of(
        &self,
        broker: &Broker,
        topic: &str,
        group: &str,
        (is_order, pop_time): (bool, i64),
    ) -> Option<Arc<Consumption>> {
        let found = self.find(topic, group);
        let may_have_popped = is_order || pop_time < self.opened_millis;
        let may_be_new = may_have_popped && broker.groups.get(group).is_some();
        found.or_else(|| may_be_new.then(|| self.consumption(topic, group)))
    }

    /// Has a topic that is being deleted start anew for all its groups, should it come back.
    pub(crate) fn forget_topic(&self, broker: &Broker, topic: &str) -> Result<(), StoreError> {
        let groups = self.consumptions.write().remove(topic);
        for consumption in groups.into_iter().flat_map(HashMap::into_values) {
            let out = consumption.in_flight.lock().outstanding();
            consumption.settle(broker, &out)?;
            for queue_id in broker
                .offsets
                .committed(&consumption.group, topic)
                .into_keys()
            {
                consumption.store_reset(broker, queue_id, 0)?;
                self.orders
                    .queue(topic, &consumption.group, queue_id)
                    .clear();
            }
        }
        Ok(())
    }

    fn all(&self) -> Vec<Arc<Consumption>> {
        let consumptions = self.consumptions.read();
        let all = consumptions.values().flat_map(HashMap::values);
        all.cloned().collect()
    }

    fn is_full(&self) -> bool {
        self.receptions.load(Ordering::Relaxed) >= MAX_RECEPTIONS
    }

    /// Hears of new messages. Those of the revive topic wake nobody: pop stores them under a lock
    /// that who wakes up needs.
    pub(crate) fn arrived(&self, broker: &Arc<Broker>, arrival: &Arrival<'_>) {
        if **arrival.queue.topic() == *self.revive_topic {
            revive_log::arrived(broker, arrival);
        } else if self.polling.is_waiting() {
            self.polling.arrived(broker, arrival);
        }
    }

    /// Delivers again what is due, and answers requests whose time is over.
    pub(crate) fn sweep(&self, broker: &Arc<Broker>) {
        let mut receptions = 0;
        let now = broker.now_millis();
        for consumption in self.all() {
            revive::deliver_due(broker, &consumption, now);
            receptions += consumption.in_flight.lock().len();
        }
        self.receptions.store(receptions, Ordering::Relaxed);
        for (topic, group, queue_id) in self.orders.take_released(now) {
            self.polling.serve(broker, &topic, &group, Some(queue_id));
        }
        self.polling.expire(broker, now);
    }

    /// Answers all requests that wait; for the shutdown.
    pub(crate) fn release(&self, broker: &Arc<Broker>) {
        self.polling.expire(broker, i64::MAX);
    }

    /// Notes in the table of offsets how much of the revive topic is not needed any more. To be
    /// called right before that table is written: the offsets of the groups in it must be those
    /// that the check points tell, or later ones.
    pub(crate) fn note_progress(&self, broker: &Broker) {
        let queues = broker.store.queues_of(&self.revive_topic);
        // Taken first: what is stored from here on comes behind.
        let mut needed = [i64::MAX; REVIVE_QUEUES as usize];
        for queue in &queues {
            if let Some(needed) = usize::try_from(queue.id())
                .ok()
                .and_then(|id| needed.get_mut(id))
            {
                *needed = queue.max_offset();
            }
        }
        for consumption in self.all() {
            for place in consumption.in_flight.lock().places() {
                let id = usize::try_from(place.queue_id).unwrap_or(usize::MAX);
                if let Some(needed) = needed.get_mut(id) {
                    *needed = (*needed).min(place.offset);
                }
            }
        }
        for queue in queues {
            let id = usize::try_from(queue.id()).unwrap_or(usize::MAX);
            let Some(settled) = needed.get(id).map(|needed| needed - 1) else {
                continue;
            };
            let (group, topic) = (names::REVIVE_GROUP, &**queue.topic());
            let known = broker.offsets.query(group, topic, queue.id());
            if settled > known.unwrap_or(-1) {
                broker.offsets.commit(group, topic, queue.id(), settled);
            }
        }
    }

    /// Writes the tables to disk.
    pub(crate) fn persist(&self, now_millis: i64) -> Result<(), BrokerError> {
        self.orders.persist(now_millis)
    }
}

impl Consumption {
    fn handle_of(queue_id: i32, start_offset: i64, pop_time: i64) -> Handle {
        Handle {
            queue_id,
            start_offset,
            pop_time,
        }
    }

    fn ack<'a>(&'a self, broker: &'a Broker, handle: &Handle, offsets: &[i64]) -> PopAck<'a> {
        let (ack_offset, ack_offset_list) = match offsets {
            [offset] => (*offset, None),
            offsets => (-1, Some(offsets.to_vec())),
        };
        PopAck {
            ack_offset,
            ack_offset_list,
            broker_name: (&*broker.pop.broker_name).into(),
            group: (&*self.group).into(),
            pop_time: handle.pop_time,
            queue_id: handle.queue_id,
            start_offset: handle.start_offset,
            topic: (&*self.topic).into(),
        }
    }

    fn check_point<'a>(&'a self, broker: &'a Broker, handle: &Handle) -> PopCheckPoint<'a> {
        PopCheckPoint {
            broker_name: (&*broker.pop.broker_name).into(),
            group: (&*self.group).into(),
            pop_time: handle.pop_time,
            queue_id: handle.queue_id,
            start_offset: handle.start_offset,
            topic: (&*self.topic).into(),
            ..PopCheckPoint::default()
        }
    }

    /// Stores that the group goes on somewhere, whatever came before.
    fn store_reset(&self, broker: &Broker, queue_id: i32, offset: i64) -> Result<(), StoreError> {
        let handle = Self::handle_of(queue_id, offset, broker.now_millis());
        self.store_position(broker, &self.check_point(broker, &handle))
    }

    /// Stores that the group has come so far without check points.
    fn store_advance(&self, broker: &Broker, queue_id: i32, next: i64) -> Result<(), StoreError> {
        let handle = Self::handle_of(queue_id, next - 1, broker.now_millis());
        let check_point = PopCheckPoint {
            num: 1,
            queue_offset_diff: vec![0],
            bit_map: 1,
            ..self.check_point(broker, &handle)
        };
        self.store_position(broker, &check_point)
    }

    fn store_position(
        &self,
        broker: &Broker,
        check_point: &PopCheckPoint<'_>,
    ) -> Result<(), StoreError> {
        let queue_id = revive_log::queue_id(&self.topic, &self.group);
        let entry = Entry::check_point(broker, queue_id, check_point)?;
        revive_log::append(broker, &[entry])?;
        Ok(())
    }
}
