//! What brokers have promised, and whether a store keeps it.

use std::collections::{BTreeMap, BTreeSet};

use super::dump::{Content, Dump, Line, Message, Sent};
use crate::process::Result;

/// The topic of messages that wait for a delay level.
const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";

/// Sends that may be under way when a broker is killed: those of four senders, in batches.
const UNDER_WAY: usize = 4 * 12;

/// Most messages that one query by key finds.
const MAX_FOUND: usize = 64;

/// Properties that ask the broker to wait before it answers or delivers; copies may lack them.
const ASKED_ONCE: [&str; 2] = ["DELAY", "WAIT"];

/// Faults that are shown.
const SHOWN: usize = 20;

/// A message that was acknowledged.
#[derive(Debug)]
struct Promise {
    topic: String,
    /// Where the acknowledgement says that it is: for a delayed message, where it waits.
    place: Place,
    position: i64,
    delayed: bool,
    content: Content,
}

/// A queue, and the offset of a message in it.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    topic: String,
    queue: i32,
    offset: i64,
}

/// All promises of all legs.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// By id.
    sent: BTreeMap<String, Promise>,
    /// Ids, and the topic where the message comes again.
    given_back: BTreeSet<(String, String)>,
    /// How far groups have come, by `topic@group` and queue.
    pub(super) offsets: BTreeMap<(String, i32), i64>,
    /// The legs that were ended by a kill.
    killed: BTreeSet<String>,
}

impl Ledger {
    /// Takes down a promise; whether it was one.
    pub(super) fn add(&mut self, line: Line) -> Result<()> {
        match line {
            Line::Sent(sent) => self.add_sent(sent)?,
            Line::Committed { key, queue, offset } => {
                self.offsets.insert((key, queue), offset);
            }
            Line::GivenBack { id, topic } => {
                self.given_back.insert((id, topic));
            }
            other => return Err(format!("clients do not tell {other:?}")),
        }
        Ok(())
    }

    fn add_sent(&mut self, sent: Sent) -> Result<()> {
        let delayed = sent.delay_level > 0;
        let (topic, queue) = if delayed {
            (SCHEDULE_TOPIC, sent.delay_level - 1)
        } else {
            (sent.topic.as_str(), sent.queue)
        };
        for (i, content) in sent.contents.into_iter().enumerate() {
            let position = sent.positions.get(i).or(sent.positions.last());
            let promise = Promise {
                topic: sent.topic.clone(),
                place: Place {
                    topic: topic.to_owned(),
                    queue,
                    offset: sent.offset + i as i64,
                },
                position: *position.ok_or("an acknowledgement without a position")?,
                delayed,
                content,
            };
            let id = promise.content.id.clone().ok_or("a send without an id")?;
            self.sent.insert(id, promise);
        }
        Ok(())
    }

    /// Messages that were acknowledged so far.
    pub(super) fn len(&self) -> usize {
        self.sent.len()
    }

    /// Takes down that a leg has ended by a kill.
    pub(super) fn add_kill(&mut self, leg: usize) {
        self.killed.insert(leg.to_string());
    }

    /// Whether each delayed message is where it was meant to go.
    pub(super) fn all_delivered(&self, dump: &Dump) -> bool {
        let there: BTreeSet<(&str, &str)> = dump
            .own()
            .flat_map(|message| {
                let ids = message.contents.iter().filter_map(|one| one.id.as_deref());
                ids.map(|id| (id, message.topic.as_str()))
            })
            .collect();
        let delayed = self.sent.iter().filter(|(_, promise)| promise.delayed);
        let delayed = delayed.map(|(id, promise)| (id.as_str(), promise.topic.as_str()));
        let given_back = self.given_back.iter();
        let given_back = given_back.map(|(id, topic)| (id.as_str(), topic.as_str()));
        delayed.chain(given_back).all(|one| there.contains(&one))
    }

    /// All acknowledged messages are there, where they were acknowledged and as they were sent;
    /// all are counted once, and nothing is there that nobody sent.
    pub(super) fn check(&self, dump: &Dump) -> Result<()> {
        let mut faults = Faults::default();
        let mut found: BTreeMap<&str, Vec<(Place, &Message, &Content)>> = BTreeMap::new();
        for message in dump.own() {
            for (i, content) in message.contents.iter().enumerate() {
                let Some(id) = content.id.as_deref() else {
                    faults.add(format!("nobody sent {message:?}"));
                    continue;
                };
                let place = Place {
                    topic: message.topic.clone(),
                    queue: message.queue,
                    offset: message.offset + i as i64,
                };
                let places = found.entry(id).or_default();
                places.push((place, message, content));
            }
        }
        for (id, promise) in &self.sent {
            let places = found.remove(id.as_str()).unwrap_or_default();
            self.check_promise(id, promise, &places, &mut faults);
        }
        if found.len() > UNDER_WAY * self.killed.len() {
            faults.add(format!("{} messages were never acknowledged", found.len()));
        }
        for (id, places) in found {
            // What was under way when the broker was killed may have been stored.
            let killed = id
                .split_once('-')
                .is_some_and(|(leg, _)| self.killed.contains(leg));
            let mut topics: Vec<&str> = places.iter().map(|place| place.0.topic.as_str()).collect();
            topics.sort_unstable();
            let count = topics.len();
            topics.dedup();
            if !killed || count > topics.len() {
                faults.add(format!("{id} was not acknowledged and is at {places:?}"));
            }
        }
        faults.report()
    }

    fn check_promise(
        &self,
        id: &str,
        promise: &Promise,
        places: &[(Place, &Message, &Content)],
        faults: &mut Faults,
    ) {
        let there = places.iter().any(|(place, message, _)| {
            *place == promise.place && message.position == promise.position
        });
        if !there {
            faults.add(format!(
                "{id} is not where it was acknowledged: {promise:?}, but at {places:?}"
            ));
        }
        for (place, _, content) in places {
            let wanted = &promise.content;
            let differs = wanted.body != content.body || wanted.flag != content.flag;
            let missing = wanted
                .properties
                .iter()
                .filter(|(name, _)| *place == promise.place || !ASKED_ONCE.contains(&name.as_str()))
                .find(|&(name, value)| content.properties.get(name) != Some(value));
            if differs || missing.is_some() {
                faults.add(format!(
                    "{id} is not as it was sent, see {missing:?}: {wanted:?}, {content:?}"
                ));
            }
        }
        let count = |topic: &str| places.iter().filter(|place| place.0.topic == topic).count();
        let again = self.given_back.iter().filter(|(given, _)| given == id);
        let again: Vec<&str> = again.map(|(_, topic)| topic.as_str()).collect();
        // Delivered messages may be delivered once more after each kill.
        let deliveries = 0..=1 + self.killed.len();
        let waiting = again.len() + usize::from(promise.delayed);
        let own = count(&promise.topic);
        let once = if promise.delayed {
            deliveries.contains(&own)
        } else {
            own == 1
        };
        let come_again: usize = again.iter().map(|topic| count(topic)).sum();
        let well = once
            && count(SCHEDULE_TOPIC) == waiting
            && again.iter().all(|topic| deliveries.contains(&count(topic)))
            && places.len() == own + waiting + come_again;
        if !well {
            faults.add(format!("{id} is not counted once: {places:?}"));
        }
    }
}

/// The files agree with each other: each record of the log has its queue entry and each entry its
/// record, in queues without gaps.
pub(super) fn check_files(store: &Dump) -> Result<()> {
    let mut faults = Faults::default();
    let mut next: BTreeMap<(&str, i32), i64> = BTreeMap::new();
    let mut own = 0;
    for message in &store.messages {
        let Some(entry) = &message.entry else {
            return Err("the store is told without queue entries".to_owned());
        };
        let Some(record) = store.log.get(&message.position) else {
            faults.add(format!("the log has no record for {message:?}"));
            continue;
        };
        let in_own = entry.in_queue == message.topic;
        let agrees = record.topic == message.topic
            && record.queue == message.queue
            && record.offset == message.offset
            && record.size == message.size;
        // A light queue counts by itself.
        let agrees_too = !in_own
            || entry.at == record.offset
                && entry.count == record.count
                && entry.tags_code == record.tags_code;
        if !agrees || !agrees_too {
            faults.add(format!("{record:?} is not as its entry says: {message:?}"));
        }
        if in_own {
            own += 1;
            let queue = (message.topic.as_str(), message.queue);
            let min = store.queues.get(&(message.topic.clone(), message.queue));
            let first = min.map_or(0, |bounds| bounds.0);
            let next = next.entry(queue).or_insert(first);
            if entry.at != *next {
                faults.add(format!("an entry is missing before {message:?}"));
            }
            *next = entry.at + i64::from(entry.count);
        }
    }
    if own != store.log.len() {
        faults.add(format!("{} records have {own} entries", store.log.len()));
    }
    for (queue, bounds) in &store.queues {
        if let Some(next) = next.get(&(queue.0.as_str(), queue.1))
            && *next != bounds.1
        {
            faults.add(format!(
                "{queue:?} ends at {next}, its bounds are {bounds:?}"
            ));
        }
    }
    faults.report()
}

/// What a broker answers is what the reference finds in the files; messages may have come behind.
pub(super) fn check_same(store: &Dump, broker: &Dump) -> Result<()> {
    let mut faults = Faults::default();
    let place = |message: &Message| (message.topic.clone(), message.queue, message.offset);
    let mut answered: BTreeMap<_, _> = broker
        .own()
        .map(|message| (place(message), message))
        .collect();
    for message in store.own() {
        let bare = Message {
            entry: None,
            ..message.clone()
        };
        match answered.remove(&place(message)) {
            Some(same) if *same == bare => {}
            other => faults.add(format!(
                "the files have {bare:?}, the broker answers {other:?}"
            )),
        }
    }
    for message in answered.values() {
        if message.position < store.end {
            faults.add(format!("only the broker has {message:?}"));
        }
    }
    for (queue, (min, max)) in &store.queues {
        let light = queue.0.starts_with("%LMQ%");
        match broker.queues.get(queue) {
            Some(bounds) if bounds.0 == *min && bounds.1 >= *max => {}
            None if *max == 0 || light => {}
            other => faults.add(format!("{queue:?} has {:?}, not {other:?}", (min, max))),
        }
    }
    for (at, offset) in &store.times {
        if let Some(answer) = broker.times.get(at)
            && answer != offset
        {
            faults.add(format!(
                "{at:?} finds {offset} in the files, {answer} from the broker"
            ));
        }
    }
    let mut settings =
        |what: &str, kept: &BTreeMap<String, String>, told: &BTreeMap<String, String>| {
            for (name, setting) in kept {
                let told = told.get(name);
                if told != Some(setting) {
                    faults.add(format!(
                        "{what} {name} is {setting}, the broker says {told:?}"
                    ));
                }
            }
        };
    settings("topic", &store.topics, &broker.topics);
    settings("group", &store.groups, &broker.groups);
    if store.offsets != broker.offsets {
        faults.add(format!(
            "offsets {:?}, not {:?}",
            store.offsets, broker.offsets
        ));
    }
    faults.report()
}

/// Each key of each message from a position on finds its messages.
pub(super) fn check_keys(dump: &Dump, from: i64) -> Result<()> {
    let mut wanted: BTreeMap<(String, String), BTreeSet<i64>> = BTreeMap::new();
    for message in dump.own().filter(|message| message.position >= from) {
        for key in &message.keys {
            let key = (message.topic.clone(), key.clone());
            wanted.entry(key).or_default().insert(message.position);
        }
    }
    let mut faults = Faults::default();
    for (key, positions) in wanted {
        let found = dump.keys.get(&key);
        let mut newest = positions.iter().rev().take(MAX_FOUND);
        if !newest.all(|position| found.is_some_and(|found| found.contains(position))) {
            faults.add(format!(
                "{key:?} should find {positions:?}, but finds {found:?}"
            ));
        }
    }
    faults.report()
}

/// What is wrong; only the first few are kept.
#[derive(Debug, Default)]
struct Faults {
    shown: Vec<String>,
    count: usize,
}

impl Faults {
    fn add(&mut self, fault: String) {
        self.count += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(fault);
        }
    }

    fn report(self) -> Result<()> {
        match self.count {
            0 => Ok(()),
            count => Err(format!("{count} faults:\n  {}", self.shown.join("\n  "))),
        }
    }
}
