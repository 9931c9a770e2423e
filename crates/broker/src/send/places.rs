//! What was looked up for the requests of one read: most of them go to the same few queues.

use std::sync::Arc;

use store::{Queue, StoreError};

use crate::broker::Broker;
use crate::settings::BrokerSettings;
use crate::topics::Topic;

/// How many of the queues that were used last are looked at before the store is asked.
const RECENT: usize = 16;

/// Which of the queues of [`Places`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(usize);

/// The settings, the topic and the queues of one read.
pub(super) struct Places {
    pub(super) settings: Arc<BrokerSettings>,
    /// The topics, that of the last request at the end.
    pub(super) topics: Vec<Arc<Topic>>,
    queues: Vec<Arc<Queue>>,
}

impl Places {
    pub(super) fn new(broker: &Broker) -> Self {
        Self {
            settings: broker.settings(),
            topics: Vec::new(),
            queues: Vec::new(),
        }
    }

    /// The topic, looked up unless the last request named it, too.
    pub(super) fn topic<E>(
        &mut self,
        name: &str,
        find: impl FnOnce(&BrokerSettings) -> Result<Arc<Topic>, E>,
    ) -> Result<&Topic, E> {
        let last = self.topics.last();
        if last.is_none_or(|last| last.config.topic_name != name) {
            self.topics.push(find(&self.settings)?);
        }
        Ok(&self.topics[self.topics.len() - 1])
    }

    /// A queue of a topic, made where there is none.
    pub(super) fn queue(
        &mut self,
        broker: &Broker,
        topic: &str,
        queue_id: i32,
    ) -> Result<Place, StoreError> {
        let known = |queue: &Arc<Queue>| queue.id() == queue_id && **queue.topic() == *topic;
        let first = self.queues.len().saturating_sub(RECENT);
        match self.queues[first..].iter().position(known) {
            Some(place) => Ok(Place(first + place)),
            None => Ok(self.add(broker.queue(topic, queue_id)?)),
        }
    }

    /// Remembers a queue that was found elsewhere.
    pub(super) fn add(&mut self, queue: Arc<Queue>) -> Place {
        self.queues.push(queue);
        Place(self.queues.len() - 1)
    }

    /// Which of the topics counts what is stored in a queue: the one that the queue belongs to,
    /// which for delayed messages is not the one that was asked for.
    pub(super) fn counting_topic(&mut self, broker: &Broker, place: Place) -> Option<usize> {
        let name = &**self.get(place).topic();
        let last = self.topics.last();
        if last.is_none_or(|last| last.config.topic_name != name) {
            self.topics.push(broker.topics.get(name)?);
        }
        Some(self.topics.len() - 1)
    }

    pub(super) fn get(&self, place: Place) -> &Arc<Queue> {
        &self.queues[place.0]
    }
}
