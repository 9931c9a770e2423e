//! Following a message: from its sending through every delivery, retry and acknowledgement.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use wire::message::pop::{ExtraInfo, TopicKind};

use crate::capture::Timestamp;
use crate::exchange::{Action, Exchange, Message, MessageType};

/// Steps that are remembered of one message.
const MAX_STEPS: usize = 10_000;

/// What happened to the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// It was sent.
    Sent,
    /// It was delivered.
    Delivered,
    /// It was sent back for a retry or the dead letter queue.
    SentBack,
    /// It was acknowledged by itself.
    Acknowledged,
    /// The group said that it is done with the queue beyond the message.
    Committed,
    /// It was hidden for another time.
    Hidden,
    /// Its transaction was committed or rolled back.
    Ended,
    /// Its producer was asked what became of its transaction.
    Checked,
    /// It was taken back.
    Recalled,
    /// It was looked up.
    LookedUp,
}

impl Happening {
    /// In a word or two.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::SentBack => "sent back",
            Self::Acknowledged => "acknowledged",
            Self::Committed => "committed",
            Self::Hidden => "hidden",
            Self::Ended => "transaction ended",
            Self::Checked => "transaction checked",
            Self::Recalled => "recalled",
            Self::LookedUp => "looked up",
        }
    }
}

/// A step of the message's way.
#[derive(Debug, Clone)]
pub struct Step {
    /// What happened.
    pub happening: Happening,
    /// In which exchange.
    pub exchange: Exchange,
    /// The message as that exchange has it.
    pub message: Message,
}

impl Step {
    /// When it happened: what was delivered or looked up came with the answer, for which the
    /// request may have waited since before the message was sent.
    pub fn time(&self) -> Timestamp {
        let timing = &self.exchange.timing;
        match (self.happening, timing.response) {
            (Happening::Delivered | Happening::LookedUp, Some((first, _))) => first,
            _ => timing.request.0,
        }
    }
}

/// A place that the message is stored at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    broker: SocketAddr,
    topic: Arc<str>,
    queue_id: i32,
    offset: i64,
}

/// Collects the steps of one message out of all exchanges.
#[derive(Debug)]
pub struct Follow {
    ids: HashSet<Box<str>>,
    places: HashSet<Place>,
    /// Groups and places beyond which they are known to be done.
    committed: HashSet<(Arc<str>, Place)>,
    steps: Vec<Step>,
}

impl Follow {
    /// Follows the message with a unique id or an offset message id.
    pub fn new(id: &str) -> Self {
        Self {
            ids: HashSet::from([id.into()]),
            places: HashSet::new(),
            committed: HashSet::new(),
            steps: Vec::new(),
        }
    }

    /// Looks for the message in an exchange; `true` if it was there.
    pub fn take(&mut self, exchange: &Exchange) -> bool {
        if self.steps.len() >= MAX_STEPS {
            return false;
        }
        let before = self.steps.len();
        for message in &exchange.messages {
            if self.is_it(exchange, message) {
                self.learn(exchange, message);
                self.steps.push(Step {
                    happening: happening(exchange.action),
                    exchange: Exchange {
                        messages: Vec::new(),
                        ..exchange.clone()
                    },
                    message: message.clone(),
                });
            }
        }
        self.look_for_commit(exchange);
        self.steps.len() > before
    }

    /// The steps so far, in the order in which they happened.
    pub fn steps(&self) -> Vec<&Step> {
        let mut steps: Vec<&Step> = self.steps.iter().collect();
        steps.sort_by_key(|step| step.time());
        steps
    }

    fn is_it(&self, exchange: &Exchange, message: &Message) -> bool {
        let ids = [&message.id, &message.offset_id];
        if ids.into_iter().flatten().any(|id| self.ids.contains(id)) {
            return true;
        }
        // An acknowledgement names the place alone.
        message.id.is_none() && place(exchange, message).is_some_and(|at| self.places.contains(&at))
    }

    fn learn(&mut self, exchange: &Exchange, message: &Message) {
        self.ids.extend(
            [&message.id, &message.offset_id]
                .into_iter()
                .flatten()
                .cloned(),
        );
        self.places.extend(place(exchange, message));
    }

    /// Looks for a commit that has a group pass the message.
    fn look_for_commit(&mut self, exchange: &Exchange) {
        let (Some(committed), Some(topic), Some(group), Some(queue_id)) = (
            exchange.committed,
            &exchange.topic,
            &exchange.group,
            exchange.queue_id,
        ) else {
            return;
        };
        let passed = self.places.iter().filter(|place| {
            place.topic == *topic
                && place.queue_id == queue_id
                && place.broker == exchange.server
                && place.offset < committed
        });
        for place in passed.cloned().collect::<Vec<_>>() {
            if self.committed.insert((Arc::clone(group), place.clone())) {
                self.steps.push(Step {
                    happening: Happening::Committed,
                    exchange: Exchange {
                        messages: Vec::new(),
                        ..exchange.clone()
                    },
                    message: Message {
                        topic: Some(Arc::clone(topic)),
                        queue_id: Some(queue_id),
                        offset: Some(place.offset),
                        ..Message::default()
                    },
                });
            }
        }
    }
}

/// Where a message is stored, as an exchange tells.
fn place(exchange: &Exchange, message: &Message) -> Option<Place> {
    let waits = matches!(
        message.message_type,
        Some(MessageType::Delayed | MessageType::Transactional)
    );
    if waits && matches!(exchange.action, Action::Send | Action::CheckTransaction) {
        // Until it is delivered it is in a queue of the broker's own.
        return None;
    }
    let topic = message.topic.as_ref().or(exchange.topic.as_ref())?;
    let handle = message.handle.as_deref();
    // A message that is delivered again comes from a topic of the group, which its handle tells.
    if let Some(handle) = handle.and_then(|handle| ExtraInfo::decode(handle).ok())
        && let Some(offset) = handle.queue_offset
    {
        let topic = match (TopicKind::of_topic(topic), &exchange.group) {
            (TopicKind::Normal, Some(group)) => handle.topic_kind.real_topic(topic, group),
            _ => topic.as_ref().into(),
        };
        return Some(Place {
            broker: exchange.server,
            topic: topic.into(),
            queue_id: handle.queue_id,
            offset,
        });
    }
    Some(Place {
        broker: exchange.server,
        topic: Arc::clone(topic),
        queue_id: message.queue_id?,
        offset: message.offset?,
    })
}

fn happening(action: Action) -> Happening {
    match action {
        Action::Send => Happening::Sent,
        Action::Pull | Action::Pop => Happening::Delivered,
        Action::SendBack => Happening::SentBack,
        Action::Acknowledge => Happening::Acknowledged,
        Action::ChangeInvisible => Happening::Hidden,
        Action::EndTransaction => Happening::Ended,
        Action::CheckTransaction => Happening::Checked,
        Action::Recall => Happening::Recalled,
        Action::Commit => Happening::Committed,
        Action::Heartbeat | Action::Other => Happening::LookedUp,
    }
}
