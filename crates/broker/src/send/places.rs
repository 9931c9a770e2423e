//! What was looked up for the requests of one read: most of them go to the same few queues.

use std::sync::Arc;

use store::{Queue, StoreError};

use crate::broker::Broker;
use crate::settings::BrokerSettings;
use crate::topics::Topic;

/// How many of the queues and topics that were used last are looked at before others are asked.
pub(super) const RECENT: usize = 16;

/// Which of the queues of [`Places`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(usize);

/// The settings, the topics and the queues of one read.
pub(super) struct Places {
    pub(super) settings: Arc<BrokerSettings>,
    /// That of the last request, which may be sent to.
    topic: Option<Arc<Topic>>,
    /// Those that are not known to be in the file.
    pub(super) unkept: Vec<Arc<Topic>>,
    /// Those that count what is stored, also what waits where nobody may send to.
    pub(super) counting: Vec<Arc<Topic>>,
    queues: Vec<Arc<Queue>>,
}

impl Places {
    pub(super) fn new(broker: &Broker) -> Self {
        Self {
            settings: broker.settings(),
            topic: None,
            unkept: Vec::new(),
            counting: Vec::new(),
            queues: Vec::new(),
        }
    }

    /// The topic, looked up unless the last request named it, too.
    pub(super) fn topic<E>(
        &mut self,
        name: &str,
        find: impl FnOnce(&BrokerSettings) -> Result<Arc<Topic>, E>,
    ) -> Result<&Topic, E> {
        let topic = match self.topic.take() {
            Some(last) if last.config.topic_name == name => last,
            _ => {
                let found = find(&self.settings)?;
                self.unkept
                    .extend((!found.is_kept()).then(|| Arc::clone(&found)));
                found
            }
        };
        Ok(self.topic.insert(topic))
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
        let first = self.queues.len().saturating_sub(RECENT);
        let is_it = |known: &Arc<Queue>| Arc::ptr_eq(known, &queue);
        if let Some(place) = self.queues[first..].iter().position(is_it) {
            return Place(first + place);
        }
        self.queues.push(queue);
        Place(self.queues.len() - 1)
    }

    /// Which of the topics counts what is stored in a queue: the one that the queue belongs to,
    /// which for delayed messages is not the one that was asked for.
    pub(super) fn counting_topic(&mut self, broker: &Broker, place: Place) -> Option<usize> {
        let name = &**self.get(place).topic();
        let is_it = |topic: &Arc<Topic>| topic.config.topic_name == name;
        let first = self.counting.len().saturating_sub(RECENT);
        if let Some(known) = self.counting[first..].iter().position(is_it) {
            return Some(first + known);
        }
        let sent_to = self.topic.clone().filter(is_it);
        let topic = sent_to.or_else(|| broker.topics.get(name))?;
        self.counting.push(topic);
        Some(self.counting.len() - 1)
    }

    pub(super) fn get(&self, place: Place) -> &Arc<Queue> {
        &self.queues[place.0]
    }
}

#[cfg(test)]
mod tests {
    use config::Live;
    use store::MemoryDisk;
    use wire::message::names;

    use super::*;
    use crate::settings::BrokerSettings;
    use crate::test_clock::TestClock;

    #[test]
    fn a_topic_that_counts_a_detour_still_has_to_be_looked_up_to_be_sent_to() {
        let mut settings = BrokerSettings::default();
        settings.broker.broker_ip = "127.0.0.1".into();
        settings.store.store_path_root_dir = "/store".into();
        settings.store.mapped_file_size_commit_log = 1 << 20;
        let (disk, clock) = (Arc::new(MemoryDisk::new()), Arc::new(TestClock::new()));
        let broker = Broker::open(Live::new(settings), 10911, disk, clock, false).unwrap();
        let mut places = Places::new(&broker);
        let detour = places.queue(&broker, names::SCHEDULE_TOPIC, 0).unwrap();
        assert!(places.counting_topic(&broker, detour).is_some());
        let refused = places.topic(names::SCHEDULE_TOPIC, |_| Err("forbidden"));
        assert_eq!(refused.err(), Some("forbidden"));
    }
}
