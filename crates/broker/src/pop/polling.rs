//! Pops that found nothing, and requests to be told of messages, wait here
//! (`PopLongPollingService`).
//!
//! One message is for one member of a group. So whoever stores it lets the group's first waiting
//! pop have a try, and the next one only if there is more.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use store::{Arrival, MessageFilter};
use transport::{Reply, Responder};
use wire::code::ResponseCode;
use wire::header::pop::NotificationResponse;

use super::notification::Notification;
use super::receive::Pop;
use crate::broker::Broker;

/// A request that waits.
pub(super) struct Held {
    pub(super) responder: Responder,
    /// When it is answered at the latest, in milliseconds since 1970.
    pub(super) deadline_millis: i64,
    pub(super) waiting: Waiting,
}

/// What a request waits for.
pub(super) enum Waiting {
    /// To receive messages.
    Pop(Pop),
    /// To hear that there are some.
    Notification(Notification),
}

impl Waiting {
    fn names(&self) -> (&str, &str, i32) {
        match self {
            Self::Pop(pop) => (&pop.topic, &pop.group, pop.queue_id),
            Self::Notification(asked) => (&asked.topic, &asked.group, asked.queue_id),
        }
    }

    fn wants(&self, tags_code: i64) -> bool {
        match self {
            Self::Pop(pop) => pop.filter.matches_entry(tags_code),
            Self::Notification(_) => true,
        }
    }
}

/// Who waits for one topic: by group and queue (-1 for any), whoever came first first.
type Queues = HashMap<(Arc<str>, i32), Line>;

#[derive(Default)]
struct Line {
    pops: VecDeque<Held>,
    notifications: VecDeque<Held>,
}

impl Line {
    fn of(&mut self, waiting: &Waiting) -> &mut VecDeque<Held> {
        match waiting {
            Waiting::Pop(_) => &mut self.pops,
            Waiting::Notification(_) => &mut self.notifications,
        }
    }

    fn is_empty(&self) -> bool {
        self.pops.is_empty() && self.notifications.is_empty()
    }
}

/// The requests that wait, by topic.
#[derive(Default)]
pub(super) struct Polling {
    topics: Mutex<HashMap<String, Queues>>,
    /// How many wait in all, to pass over the lock when none does. One that is out for a try
    /// counts, too.
    count: AtomicUsize,
    /// Counts what may let a request succeed, so that one that is out for a try tries again.
    events: AtomicU64,
}

impl Polling {
    /// Whether anybody waits.
    pub(super) fn is_waiting(&self) -> bool {
        // Pairs with the look after `put` in `hold`.
        self.count.load(Ordering::SeqCst) > 0
    }

    /// Whether no more requests may wait, in all or for this queue.
    pub(super) fn is_full(&self, broker: &Broker, topic: &str, group: &str, queue_id: i32) -> bool {
        let settings = broker.settings();
        self.count.load(Ordering::Relaxed) >= settings.pop.max_pop_polling_size
            || self.waiting(topic, group, queue_id) > settings.pop.pop_polling_size
    }

    /// How many pops of a group wait for messages of a queue.
    pub(super) fn waiting(&self, topic: &str, group: &str, queue_id: i32) -> usize {
        let topics = self.topics.lock();
        let line = topics
            .get(topic)
            .and_then(|queues| queues.get(&(Arc::from(group), queue_id)));
        line.map_or(0, |line| line.pops.len())
    }

    /// Holds a request until there is something for it or its time is over.
    pub(super) fn hold(&self, broker: &Broker, held: Held) {
        let (topic, group, queue_id) = held.waiting.names();
        let (topic, group) = (topic.to_owned(), Arc::<str>::from(group));
        self.count.fetch_add(1, Ordering::SeqCst);
        self.put(held, false);
        // A message stored between the look that found nothing and now woke nobody.
        self.serve_line(broker, &topic, &group, queue_id, None);
    }

    fn put(&self, held: Held, first: bool) {
        let (topic, group, queue_id) = held.waiting.names();
        let mut topics = self.topics.lock();
        if !topics.contains_key(topic) {
            topics.insert(topic.to_owned(), Queues::new());
        }
        let Some(queues) = topics.get_mut(topic) else {
            return;
        };
        let line = queues.entry((group.into(), queue_id)).or_default();
        let line = line.of(&held.waiting);
        if first {
            line.push_front(held);
        } else {
            line.push_back(held);
        }
    }

    /// Takes out who is first, if the line's first one wants messages with this tags code.
    fn take(
        &self,
        topic: &str,
        group: &Arc<str>,
        queue_id: i32,
        tags_code: Option<i64>,
        of: fn(&mut Line) -> &mut VecDeque<Held>,
    ) -> Option<Held> {
        let mut topics = self.topics.lock();
        let queues = topics.get_mut(topic)?;
        let key = (Arc::clone(group), queue_id);
        let line = queues.get_mut(&key)?;
        let waiting = of(line);
        let unwanted = |held: &Held| tags_code.is_some_and(|code| !held.waiting.wants(code));
        if waiting.front().is_none_or(unwanted) {
            return None;
        }
        let held = waiting.pop_front();
        if line.is_empty() {
            queues.remove(&key);
            if queues.is_empty() {
                topics.remove(topic);
            }
        }
        held
    }

    /// The groups that wait for messages of a queue, or of any queue, of a topic; each with the
    /// queue it waits for.
    fn lines(&self, topic: &str, wanted: impl Fn(&str, i32) -> bool) -> Vec<(Arc<str>, i32)> {
        let topics = self.topics.lock();
        let queues = topics.get(topic).into_iter().flat_map(HashMap::keys);
        let lines = queues.filter(|(group, queue_id)| wanted(group, *queue_id));
        lines.cloned().collect()
    }

    /// Serves who waits for a queue's new messages.
    pub(super) fn arrived(&self, broker: &Broker, arrival: &Arrival<'_>) {
        self.events.fetch_add(1, Ordering::SeqCst);
        let topic = arrival.queue.topic();
        let wanted = |_: &str, queue_id| queue_id < 0 || queue_id == arrival.queue.id();
        for (group, queue_id) in self.lines(topic, wanted) {
            self.serve_line(broker, topic, &group, queue_id, arrival.tags_code);
        }
    }

    /// Serves a group's requests that wait for messages of a queue, or of any queue.
    pub(super) fn serve(&self, broker: &Broker, topic: &str, group: &str, queue_id: Option<i32>) {
        self.events.fetch_add(1, Ordering::SeqCst);
        let wanted =
            |of: &str, id| of == group && (id < 0 || queue_id.is_none_or(|queue| queue == id));
        for (group, queue_id) in self.lines(topic, wanted) {
            self.serve_line(broker, topic, &group, queue_id, None);
        }
    }

    fn serve_line(
        &self,
        broker: &Broker,
        topic: &str,
        group: &Arc<str>,
        queue_id: i32,
        mut tags_code: Option<i64>,
    ) {
        let lines: [fn(&mut Line) -> &mut VecDeque<Held>; 2] =
            [|line| &mut line.notifications, |line| &mut line.pops];
        for line in lines {
            let mut events = self.events.load(Ordering::SeqCst);
            while let Some(held) = self.take(topic, group, queue_id, tags_code, line) {
                let outcome = held.try_answer(broker);
                if let Outcome::Nothing(held) = outcome {
                    self.put(*held, true);
                    let before = events;
                    events = self.events.load(Ordering::SeqCst);
                    if events == before {
                        break;
                    }
                    tags_code = None;
                    continue;
                }
                self.count.fetch_sub(1, Ordering::SeqCst);
                if let Outcome::Done = outcome {
                    break;
                }
            }
        }
    }

    /// Answers all whose time is over, and forgets those whose client has gone.
    pub(super) fn expire(&self, broker: &Broker, now_millis: i64) {
        if !self.is_waiting() {
            return;
        }
        let mut over = Vec::new();
        self.topics.lock().retain(|_, queues| {
            queues.retain(|_, line| {
                for waiting in [&mut line.pops, &mut line.notifications] {
                    let is_over = |held: &mut Held| {
                        held.deadline_millis <= now_millis || !held.responder.connection().is_open()
                    };
                    let mut at = 0;
                    while let Some(held) = waiting.get_mut(at) {
                        if is_over(held) {
                            over.extend(waiting.remove(at));
                        } else {
                            at += 1;
                        }
                    }
                }
                !line.is_empty()
            });
            !queues.is_empty()
        });
        self.count.fetch_sub(over.len(), Ordering::SeqCst);
        for held in over {
            held.give_up(broker);
        }
    }
}

/// What became of a request that was let try.
enum Outcome {
    /// It was answered, and there is more.
    More,
    /// It was answered.
    Done,
    /// There is nothing for it.
    Nothing(Box<Held>),
}

impl Held {
    fn try_answer(self, broker: &Broker) -> Outcome {
        let Self {
            responder, waiting, ..
        } = &self;
        if !responder.connection().is_open() {
            return Outcome::More;
        }
        match waiting {
            Waiting::Pop(pop) => match pop.receive(broker) {
                Ok(received) if received.is_empty() => Outcome::Nothing(Box::new(self)),
                Ok(received) => {
                    let more = received.rest > 0;
                    let reply = pop.reply(received);
                    self.responder.reply(reply);
                    if more { Outcome::More } else { Outcome::Done }
                }
                Err(error) => {
                    self.responder.refuse(&error.into());
                    Outcome::More
                }
            },
            Waiting::Notification(asked) => match asked.has_message(broker) {
                Ok(false) => Outcome::Nothing(Box::new(self)),
                Ok(true) => {
                    self.responder.reply(notified(true));
                    Outcome::Done
                }
                Err(error) => {
                    self.responder.refuse(&error.into());
                    Outcome::More
                }
            },
        }
    }

    /// Answers that there was nothing, unless there is something now.
    fn give_up(self, broker: &Broker) {
        let Outcome::Nothing(held) = self.try_answer(broker) else {
            return;
        };
        match held.waiting {
            Waiting::Pop(pop) => {
                let reply = pop.nothing(broker, ResponseCode::PollingTimeout);
                held.responder.reply(reply);
            }
            Waiting::Notification(_) => held.responder.reply(notified(false)),
        }
    }
}

fn notified(has_msg: bool) -> Reply<NotificationResponse> {
    Reply::ok(NotificationResponse {
        has_msg,
        polling_full: false,
    })
}
