//! For each client the lite topics that have something for it (`LiteEventDispatcher`): what comes
//! in one of them is told to one client of each group.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// After so many milliseconds without a request a client with events loses them to others.
const INACTIVE_MILLIS: i64 = 10_000;
/// The same for a client without events, which may be waiting.
const LONG_POLLING_MILLIS: i64 = 35_000;
/// For so many milliseconds such a client is only told what no other takes.
const AVOIDED_MILLIS: i64 = 10_000;

/// The lite topics of one client, by their light queues; none twice.
struct EventSet {
    group: Arc<str>,
    queue: VecDeque<Arc<str>>,
    members: HashSet<Arc<str>>,
    /// When the client took an event or looked for one, in milliseconds since 1970.
    accessed: i64,
}

/// The events of all clients.
#[derive(Default)]
pub(crate) struct Events {
    clients: HashMap<Arc<str>, EventSet>,
    /// Until when a client is avoided, in milliseconds since 1970.
    avoided: HashMap<Arc<str>, i64>,
    /// When a client that could not be told all looks through all of its lite topics, in
    /// milliseconds since 1970.
    full: HashMap<Arc<str>, i64>,
    turn: usize,
}

/// What a client that is gone leaves to others of its group.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Abandoned {
    pub(crate) client: Arc<str>,
    pub(crate) group: Arc<str>,
    pub(crate) light_queues: Vec<Arc<str>>,
}

impl Events {
    /// Tells one client of a group of a lite topic; clients take turns, those that seem to be gone
    /// come last, and so does `except`. `None` if no client has room for it, of `capacity` events.
    pub(crate) fn offer(
        &mut self,
        group: &Arc<str>,
        clients: &[Arc<str>],
        light_queue: &Arc<str>,
        except: Option<&str>,
        capacity: usize,
        now: i64,
    ) -> Option<Arc<str>> {
        self.turn = self.turn.wrapping_add(1);
        let start = self.turn.checked_rem(clients.len())?;
        let (before, behind) = clients.split_at_checked(start)?;
        let mut choice: Vec<&Arc<str>> = behind.iter().chain(before).collect();
        choice.sort_by_key(|client| {
            Some(&***client) == except
                || self.avoided.get(*client).is_some_and(|until| now < *until)
        });
        let taker = choice
            .into_iter()
            .find(|client| self.put(client, group, light_queue, capacity, now))?;
        Some(Arc::clone(taker))
    }

    /// Tells a client of a lite topic; `false` if it has no room for it.
    pub(crate) fn put(
        &mut self,
        client: &Arc<str>,
        group: &Arc<str>,
        light_queue: &Arc<str>,
        capacity: usize,
        now: i64,
    ) -> bool {
        let set = self.set(client, group, now);
        if set.members.contains(light_queue) {
            return true;
        }
        if set.queue.len() >= capacity {
            return false;
        }
        set.members.insert(Arc::clone(light_queue));
        set.queue.push_back(Arc::clone(light_queue));
        true
    }

    fn set(&mut self, client: &Arc<str>, group: &Arc<str>, now: i64) -> &mut EventSet {
        self.clients
            .entry(Arc::clone(client))
            .or_insert_with(|| EventSet {
                group: Arc::clone(group),
                queue: VecDeque::new(),
                members: HashSet::new(),
                accessed: now,
            })
    }

    /// The next lite topic that has something for a client.
    pub(crate) fn next(&mut self, client: &str, now: i64) -> Option<Arc<str>> {
        let set = self.clients.get_mut(client)?;
        set.accessed = now;
        let light_queue = set.queue.pop_front()?;
        set.members.remove(&light_queue);
        Some(light_queue)
    }

    /// Whether there is something for a client.
    pub(crate) fn has_any(&self, client: &str) -> bool {
        let set = self.clients.get(client);
        set.is_some_and(|set| !set.queue.is_empty())
    }

    /// When a client looked for something the last time, in milliseconds since 1970; -1: never.
    pub(crate) fn accessed(&self, client: &str) -> i64 {
        self.clients.get(client).map_or(-1, |set| set.accessed)
    }

    /// Takes all that waits for a client that leaves.
    pub(crate) fn leave(&mut self, client: &str) -> Option<Abandoned> {
        self.full.remove(client);
        let (client, set) = self.clients.remove_entry(client)?;
        Some(Abandoned {
            client,
            group: set.group,
            light_queues: set.queue.into(),
        })
    }

    /// Takes all that waits for clients that do not come for it.
    pub(crate) fn abandoned(&mut self, now: i64) -> Vec<Abandoned> {
        self.avoided.retain(|_, until| now < *until);
        let gone = |set: &EventSet| {
            let silent = now - set.accessed;
            silent > LONG_POLLING_MILLIS || !set.queue.is_empty() && silent > INACTIVE_MILLIS
        };
        let gone: Vec<Arc<str>> = self
            .clients
            .iter()
            .filter(|(_, set)| gone(set))
            .map(|(client, _)| Arc::clone(client))
            .collect();
        for client in &gone {
            self.avoided
                .insert(Arc::clone(client), now + AVOIDED_MILLIS);
        }
        gone.iter()
            .filter_map(|client| self.leave(client))
            .collect()
    }

    /// Has a client look through all of its lite topics later, or what goes by its name.
    pub(crate) fn look_later(&mut self, client: &Arc<str>, at: i64) {
        self.full.entry(Arc::clone(client)).or_insert(at);
    }

    /// Who is to look through all of its lite topics now.
    pub(crate) fn due(&mut self, now: i64) -> Vec<Arc<str>> {
        let due = self.full.extract_if(|_, at| *at <= now);
        due.map(|(client, _)| client).collect()
    }

    /// How many clients have a set of events.
    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<const N: usize>(names: [&str; N]) -> [Arc<str>; N] {
        names.map(Arc::from)
    }

    #[test]
    fn clients_take_turns_until_they_are_full() {
        let mut events = Events::default();
        let clients = names(["c1", "c2"]);
        let [group, a, b, c] = names(["g", "a", "b", "c"]);
        let first = events.offer(&group, &clients, &a, None, 1, 0).unwrap();
        let second = events.offer(&group, &clients, &b, None, 1, 0).unwrap();
        assert_ne!(first, second);
        assert_eq!(events.offer(&group, &clients, &c, None, 1, 0), None);
        assert_eq!(events.next(&first, 0), Some(a.clone()));
        assert_eq!(events.next(&first, 0), None);
        let taker = events.offer(&group, &clients, &c, None, 1, 0);
        assert_eq!(taker, Some(first.clone()));
        // What it has been told of already is not told twice.
        assert!(events.put(&first, &group, &c, 1, 0));
        assert_eq!(events.next(&first, 0), Some(c));
        assert!(!events.has_any(&first) && events.has_any(&second));
    }

    #[test]
    fn what_a_silent_client_has_goes_to_others() {
        let mut events = Events::default();
        let clients = names(["c1", "c2"]);
        let [group, a] = names(["g", "a"]);
        assert!(events.put(&clients[0], &group, &a, 10, 0));
        assert_eq!(events.abandoned(INACTIVE_MILLIS), []);
        let left = Abandoned {
            client: clients[0].clone(),
            group: group.clone(),
            light_queues: vec![a.clone()],
        };
        let now = INACTIVE_MILLIS + 1;
        assert_eq!(events.abandoned(now), [left]);
        for _ in 0..2 {
            let taker = events.offer(&group, &clients, &a, None, 10, now);
            assert_eq!(taker, Some(clients[1].clone()));
        }
        let taker = events.offer(&group, &clients[..1], &a, None, 10, now);
        assert_eq!(taker, Some(clients[0].clone()), "there is no other");
    }
}
