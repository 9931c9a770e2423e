//! Which client is subscribed to which lite topics (`LiteSubscriptionRegistryImpl`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use transport::Connection;

/// What a client is subscribed to.
pub(crate) struct Subscription {
    pub(crate) group: Arc<str>,
    /// The parent topic.
    pub(crate) topic: Arc<str>,
    /// The light queues of the lite topics; of a client that gets all of them, none.
    pub(crate) light_queues: BTreeSet<Arc<str>>,
    /// Its last change, in milliseconds since 1970.
    updated: i64,
    /// Where to tell it that it lost a lite topic.
    pub(crate) connection: Option<Arc<Connection>>,
}

/// Clients of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscribers {
    pub(crate) group: Arc<str>,
    pub(crate) clients: Vec<Arc<str>>,
}

type ClientsByGroup = BTreeMap<Arc<str>, BTreeSet<Arc<str>>>;

/// All subscriptions.
#[derive(Default)]
pub(crate) struct Subscriptions {
    clients: HashMap<Arc<str>, Subscription>,
    /// Who is subscribed to a lite topic, by its light queue.
    by_queue: HashMap<Arc<str>, ClientsByGroup>,
    /// Who gets all lite topics, by their parent topic.
    by_parent: HashMap<Arc<str>, ClientsByGroup>,
    count: usize,
}

/// Adds or takes away; `true` if that changed anything.
fn set(
    table: &mut HashMap<Arc<str>, ClientsByGroup>,
    name: &str,
    group: &str,
    client: &Arc<str>,
    on: bool,
) -> bool {
    if on {
        let groups = table.entry(name.into()).or_default();
        return groups
            .entry(group.into())
            .or_default()
            .insert(Arc::clone(client));
    }
    let Some(groups) = table.get_mut(name) else {
        return false;
    };
    let Some(clients) = groups.get_mut(group) else {
        return false;
    };
    let removed = clients.remove(client);
    if clients.is_empty() {
        groups.remove(group);
    }
    if groups.is_empty() {
        table.remove(name);
    }
    removed
}

impl Subscriptions {
    /// The subscription of a client, made where there is none, with where it can be told.
    pub(crate) fn open(
        &mut self,
        client: &str,
        group: &str,
        topic: &str,
        connection: Option<&Arc<Connection>>,
        now: i64,
    ) {
        let subscription = self
            .clients
            .entry(client.into())
            .or_insert_with(|| Subscription {
                group: group.into(),
                topic: topic.into(),
                light_queues: BTreeSet::new(),
                updated: now,
                connection: None,
            });
        subscription.updated = now;
        if let Some(connection) = connection {
            subscription.connection = Some(Arc::clone(connection));
        }
    }

    /// Subscribes a client to a lite topic; `true` if it was not.
    pub(crate) fn add(&mut self, client: &str, light_queue: &str) -> bool {
        let Some((client, subscription)) = self.clients.get_key_value(client) else {
            return false;
        };
        let (client, group) = (Arc::clone(client), Arc::clone(&subscription.group));
        let added = set(&mut self.by_queue, light_queue, &group, &client, true);
        if let (true, Some(subscription)) = (added, self.clients.get_mut(&client)) {
            subscription.light_queues.insert(light_queue.into());
            self.count += 1;
        }
        added
    }

    /// Ends a client's subscription to a lite topic; `true` if it had it.
    pub(crate) fn remove(&mut self, client: &str, light_queue: &str) -> bool {
        let Some((client, subscription)) = self.clients.get_key_value(client) else {
            return false;
        };
        let (client, group) = (Arc::clone(client), Arc::clone(&subscription.group));
        let removed = set(&mut self.by_queue, light_queue, &group, &client, false);
        if let (true, Some(subscription)) = (removed, self.clients.get_mut(&client)) {
            subscription.light_queues.remove(light_queue);
            self.count -= 1;
        }
        removed
    }

    /// Subscribes a client to all lite topics of its parent topic; `true` if it was not.
    pub(crate) fn add_all(&mut self, client: &str) -> bool {
        let Some((client, subscription)) = self.clients.get_key_value(client) else {
            return false;
        };
        let Subscription { group, topic, .. } = subscription;
        let added = set(&mut self.by_parent, topic, group, client, true);
        self.count += usize::from(added);
        added
    }

    /// Ends all of a client.
    pub(crate) fn leave(&mut self, client: &str) {
        let queues: Vec<Arc<str>> = match self.clients.get(client) {
            Some(subscription) => subscription.light_queues.iter().cloned().collect(),
            None => return,
        };
        for light_queue in queues {
            self.remove(client, &light_queue);
        }
        if let Some((client, Subscription { group, topic, .. })) = self.clients.remove_entry(client)
            && set(&mut self.by_parent, &topic, &group, &client, false)
        {
            self.count -= 1;
        }
    }

    /// Ends all subscriptions to a lite topic, which is gone.
    pub(crate) fn forget(&mut self, light_queue: &str) {
        for Subscribers { clients, .. } in self.of_queue(light_queue) {
            for client in clients {
                self.remove(&client, light_queue);
            }
        }
    }

    /// What a client is subscribed to.
    pub(crate) fn of_client(&self, client: &str) -> Option<&Subscription> {
        self.clients.get(client)
    }

    /// Who is subscribed to a lite topic by name, by groups in order.
    pub(crate) fn of_queue(&self, light_queue: &str) -> Vec<Subscribers> {
        list(self.by_queue.get(light_queue))
    }

    /// Who gets all lite topics of a parent topic, by groups in order.
    pub(crate) fn of_parent(&self, topic: &str) -> Vec<Subscribers> {
        list(self.by_parent.get(topic))
    }

    /// The clients of a group.
    pub(crate) fn of_group(&self, group: &str) -> Vec<Arc<str>> {
        let of_group = self.clients.iter().filter(|(_, of)| &*of.group == group);
        let mut clients: Vec<Arc<str>> = of_group.map(|(client, _)| Arc::clone(client)).collect();
        clients.sort_unstable();
        clients
    }

    /// The clients that have not been heard of since a time.
    pub(crate) fn silent_since(&self, time: i64) -> Vec<Arc<str>> {
        let silent = self.clients.iter().filter(|(_, of)| of.updated < time);
        silent.map(|(client, _)| Arc::clone(client)).collect()
    }

    /// How many subscriptions there are, each lite topic of each client counted.
    pub(crate) fn len(&self) -> usize {
        self.count
    }
}

fn list(groups: Option<&ClientsByGroup>) -> Vec<Subscribers> {
    let groups = groups.into_iter().flatten();
    groups
        .map(|(group, clients)| Subscribers {
            group: Arc::clone(group),
            clients: clients.iter().cloned().collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_counted_and_end_with_the_client_or_the_lite_topic() {
        let mut all = Subscriptions::default();
        all.open("c1", "g", "t", None, 10);
        all.open("c2", "h", "t", None, 20);
        assert!(all.add("c1", "a") && all.add("c1", "b") && all.add("c2", "a"));
        assert!(!all.add("c1", "a") && !all.add("nobody", "a"));
        assert!(all.add_all("c2") && !all.add_all("c2"));
        assert_eq!(all.len(), 4);
        let groups: Vec<_> = all.of_queue("a").into_iter().map(|of| of.group).collect();
        assert_eq!(groups, ["g".into(), "h".into()]);
        assert_eq!(all.of_parent("t")[0].clients, ["c2".into()]);
        assert_eq!(all.silent_since(15), ["c1".into()]);

        assert!(all.remove("c1", "b") && !all.remove("c1", "b"));
        all.forget("a");
        assert_eq!((all.of_queue("a"), all.len()), (Vec::new(), 1));
        all.leave("c2");
        assert_eq!((all.of_parent("t"), all.len()), (Vec::new(), 0));
        assert!(all.of_client("c2").is_none());
    }
}
