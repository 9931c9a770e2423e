//! What tells the waits of messages with a time of their own apart.

use std::hash::{DefaultHasher, Hash, Hasher};

use wire::message::{properties, property};

/// One wait of a message: one that goes on waiting is stored once more, with the number of its
/// waits in the property `TIMER_ROLL_TIMES`.
///
/// Two messages are told apart by what makes their properties unlike, since a producer that tries
/// again sends two with one id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimerWait {
    /// Stands for the message, in so many bits that no two have the same.
    message: u128,
    /// How often it went on waiting before; `None` once it is where it was meant to go.
    times: Option<i64>,
}

impl TimerWait {
    /// The wait of a message with these properties in the timer's queue.
    pub fn of(text: &str) -> TimerWait {
        let [id, takes_back, topic, due, times] = properties::get_each(
            text,
            [
                property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX,
                property::TIMER_DEL_UNIQKEY,
                property::REAL_TOPIC,
                property::TIMER_OUT_MS,
                property::TIMER_ROLL_TIMES,
            ],
        );
        let half = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            (salt, id, takes_back, topic, due).hash(&mut hasher);
            u128::from(hasher.finish())
        };
        let times = times.and_then(|times| times.parse().ok()).unwrap_or(0);
        TimerWait {
            message: half(0) << 64 | half(1),
            times: Some(times),
        }
    }

    /// How often the message went on waiting before.
    pub fn times(self) -> i64 {
        self.times.unwrap_or(0)
    }

    /// The wait that follows if the message goes on waiting.
    #[must_use]
    pub fn next(self) -> TimerWait {
        let times = self.times().saturating_add(1);
        TimerWait {
            times: Some(times),
            ..self
        }
    }

    /// The end of all waits, however many there were.
    #[must_use]
    pub fn end(self) -> TimerWait {
        TimerWait {
            times: None,
            ..self
        }
    }
}
