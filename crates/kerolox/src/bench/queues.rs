//! The queues that a load goes over: those of one topic, or of many.

use super::frames::{Frames, write_decimal};

/// Stands where a topic's number is written, in as many digits.
const TOPIC_MARK: &str = "%%%%%%";
/// Stands where a queue's number is written, in as many digits.
const QUEUE_MARK: i32 = 1_597_531;
const QUEUE_DIGITS: usize = 7;

/// All queues of a load. They count from 0 through all topics.
#[derive(Debug, Clone)]
pub(super) struct Queues {
    /// The topic; of many topics, what their names begin with.
    pub(super) topic: String,
    /// How many topics; `None`: one, and each request in flight stays with one queue.
    pub(super) topics: Option<u32>,
    /// Queues of each topic.
    pub(super) of_topic: u32,
}

impl Queues {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.topics.unwrap_or(1) as usize * self.of_topic as usize
    }

    /// The names of all topics.
    pub(super) fn topics(&self) -> Vec<String> {
        match self.topics {
            Some(count @ 2..) => (0..count)
                .map(|number| format!("{}_{number:06}", self.topic))
                .collect(),
            _ => vec![self.topic.clone()],
        }
    }

    /// What a frame says for topic and queue before they are written over: of `queue`, if each
    /// request stays with its queue.
    pub(super) fn header(&self, queue: usize) -> (String, i32) {
        match self.topics {
            None => (self.topic.clone(), (queue % self.count()) as i32),
            Some(1) => (self.topic.clone(), QUEUE_MARK),
            Some(_) => (format!("{}_{TOPIC_MARK}", self.topic), QUEUE_MARK),
        }
    }

    /// Where the frames of all slots name their queue; nothing, if each stays with its own.
    pub(super) fn places(&self, frames: &Frames) -> Option<Places> {
        self.topics?;
        let mark = QUEUE_MARK.to_string();
        let first = |slot, mark: &[u8]| frames.find(slot, mark).first().copied();
        Some(Places {
            places: (0..frames.len())
                .map(|slot| Place {
                    topic: first(slot, TOPIC_MARK.as_bytes()),
                    queue: first(slot, mark.as_bytes()),
                })
                .collect(),
            of_topic: self.of_topic as usize,
        })
    }
}

/// Where frames name their queue.
pub(super) struct Places {
    places: Vec<Place>,
    of_topic: usize,
}

struct Place {
    topic: Option<usize>,
    queue: Option<usize>,
}

impl Places {
    /// Writes a queue into a slot's frame.
    pub(super) fn write(&self, slot: usize, frame: &mut [u8], queue: usize) {
        let place = &self.places[slot];
        if let Some(at) = place.topic {
            let number = queue / self.of_topic;
            write_decimal(&mut frame[at..at + TOPIC_MARK.len()], number as u64);
        }
        if let Some(at) = place.queue {
            let number = queue % self.of_topic;
            write_decimal(&mut frame[at..at + QUEUE_DIGITS], number as u64);
        }
    }
}
