//! Who is connected: the producers and consumers of each group, and what the consumers subscribe
//! to (`ProducerManager`, `ConsumerManager`, `ConsumerGroupInfo`).
//!
//! A client says every 30 seconds that it is there. It is forgotten when its connection closes,
//! when it says so, or when it has been silent for too long. Whenever that changes the members of
//! a consumer group, or its subscriptions, all members hear of it at once and share the queues
//! anew.

mod client;
mod consumer_group;

use std::collections::HashMap;
use std::sync::Arc;

use config::Live;
use parking_lot::RwLock;
use store::Clock;
use transport::{Body, Connection};
use wire::body::client::{ProducerInfo, ProducerTableInfo};
use wire::body::heartbeat::ConsumerData;
use wire::command::{Command, NotifyConsumerIdsChanged};
use wire::frame::{Head, SerializeType};
use wire::header::client::NotifyConsumerIdsChangedRequest;

use self::client::Members;
use crate::settings::BrokerSettings;

pub(crate) use self::client::Client;
pub(crate) use self::consumer_group::{ConsumerGroup, Subscription};

/// What a heartbeat says about one consumer group.
pub(crate) struct ConsumerHeartbeat {
    /// The group and what it does.
    pub(crate) data: ConsumerData,
    /// Hash of all that the client says; 0 from a client that always says all.
    pub(crate) fingerprint: i32,
    /// Whether the subscriptions are left out of `data`, since the broker has them.
    pub(crate) without_subscriptions: bool,
    /// Whether the group wants its members to hear of changes at once.
    pub(crate) notify: bool,
}

/// Everybody who is connected.
pub(crate) struct ClientTable {
    consumers: RwLock<HashMap<String, Arc<ConsumerGroup>>>,
    producers: RwLock<HashMap<String, Members>>,
    clock: Arc<dyn Clock>,
    live: Live<BrokerSettings>,
}

/// Members that are to hear of a change in their group, once no lock is held any more.
struct Notice {
    group: String,
    members: Members,
}

impl Notice {
    fn of(group: &str, changed: &ConsumerGroup) -> Self {
        Self {
            group: group.into(),
            members: changed.members.clone(),
        }
    }

    fn send(self) {
        let header = NotifyConsumerIdsChangedRequest {
            consumer_group: self.group.as_str().into(),
            ..NotifyConsumerIdsChangedRequest::default()
        };
        let head = Head::request(NotifyConsumerIdsChanged::CODE as i32, SerializeType::Json);
        for member in self.members.0 {
            // Who can't be told asks for the members every 20 seconds by itself.
            if let Err(error) = member.connection.oneway(head, &header, Body::Empty) {
                tracing::debug!(group = self.group, client = member.id, %error, "not notified");
            }
        }
    }
}

impl ClientTable {
    /// Nobody yet.
    pub(crate) fn new(clock: Arc<dyn Clock>, live: Live<BrokerSettings>) -> Self {
        Self {
            consumers: RwLock::default(),
            producers: RwLock::default(),
            clock,
            live,
        }
    }

    /// A group that is online.
    pub(crate) fn group(&self, group: &str) -> Option<Arc<ConsumerGroup>> {
        self.consumers.read().get(group).cloned()
    }

    /// What a group that is online wants of a topic.
    pub(crate) fn subscription(&self, group: &str, topic: &str) -> Option<Arc<Subscription>> {
        self.consumers
            .read()
            .get(group)?
            .subscriptions
            .get(topic)
            .cloned()
    }

    /// Whether every client of the group gets every message.
    pub(crate) fn is_broadcasting(&self, group: &str) -> bool {
        self.consumers
            .read()
            .get(group)
            .is_some_and(|group| group.is_broadcasting())
    }

    /// The id of the push consumer on a connection, if its group broadcasts.
    pub(crate) fn broadcaster(&self, group: &str, connection: &Connection) -> Option<String> {
        self.consumers.read().get(group)?.broadcaster(connection)
    }

    /// Whether a group may have offsets in a topic that it no longer subscribes to: it is online,
    /// and does not.
    pub(crate) fn has_left(&self, group: &str, topic: &str) -> bool {
        let consumers = self.consumers.read();
        let subscriptions = consumers.get(group).map(|group| &group.subscriptions);
        subscriptions.is_some_and(|topics| !topics.is_empty() && !topics.contains_key(topic))
    }

    /// The groups that are online with a subscription to a topic.
    pub(crate) fn groups_of(&self, topic: &str) -> Vec<String> {
        let consumers = self.consumers.read();
        let of_topic = consumers
            .iter()
            .filter(|(_, group)| group.subscriptions.contains_key(topic));
        of_topic.map(|(name, _)| name.clone()).collect()
    }

    /// Takes note of a consumer's heartbeat. Returns whether the client shall tell its
    /// subscriptions with the next one.
    pub(crate) fn consumer_heartbeat(&self, client: &Client, heartbeat: ConsumerHeartbeat) -> bool {
        let ConsumerHeartbeat {
            data,
            fingerprint,
            without_subscriptions,
            notify,
        } = heartbeat;
        let now = self.clock.now_millis();
        let mut consumers = self.consumers.write();
        // A connection first stops being open, then `closed` comes by here. So whoever finds it
        // open under the lock is still to be cleared away by that.
        if !client.connection.is_open() {
            return false;
        }
        if !consumers.contains_key(&data.group_name) {
            consumers.insert(data.group_name.clone(), Arc::default());
        }
        let Some(group) = consumers.get_mut(&data.group_name).map(Arc::make_mut) else {
            return false;
        };
        group.consume_type = data.consume_type;
        group.message_model = data.message_model;
        group.consume_from_where = data.consume_from_where;
        let mut changed = group.members.enter(client, now);
        let other = group.fingerprint.is_some_and(|known| known != fingerprint);
        let unknown = without_subscriptions && group.fingerprint.is_none();
        if !without_subscriptions {
            changed |= group.subscribe(data.subscription_data_set);
            group.fingerprint = Some(fingerprint);
        } else if !unknown {
            group.fingerprint = Some(fingerprint);
        }
        let tell = changed && notify && !group.is_broadcasting() && self.notifies();
        let notice = tell.then(|| Notice::of(&data.group_name, group));
        let members = group.members().len();
        drop(consumers);
        if changed {
            let (group, id) = (&data.group_name, &client.id);
            tracing::info!(%group, client = %id, members, "consumer group changed by a heartbeat");
        }
        notice.into_iter().for_each(Notice::send);
        other || unknown
    }

    /// Takes note of a producer's heartbeat.
    pub(crate) fn producer_heartbeat(&self, client: &Client, group: &str) {
        let now = self.clock.now_millis();
        let mut producers = self.producers.write();
        // As with consumers.
        if !client.connection.is_open() {
            return;
        }
        if !producers.contains_key(group) {
            producers.insert(group.into(), Members::default());
        }
        if let Some(members) = producers.get_mut(group) {
            members.enter(client, now);
        }
    }

    /// A consumer leaves its group; `notify` tells whether the group wants its members to hear of
    /// it at once.
    pub(crate) fn unregister_consumer(&self, connection: &Connection, group: &str, notify: bool) {
        let leaves = |name: &str, member: &Client| name == group && member.is_on(connection);
        let (_, notices) = self.remove_consumers(leaves);
        if notify {
            notices.into_iter().for_each(Notice::send);
        }
    }

    /// A producer leaves its group.
    pub(crate) fn unregister_producer(&self, connection: &Connection, group: &str) {
        self.remove_producers(|name, member| name == group && member.is_on(connection));
    }

    /// A connection has closed, and with it its client left all groups.
    pub(crate) fn closed(&self, connection: &Connection) {
        self.remove_producers(|_, member| member.is_on(connection));
        let (_, notices) = self.remove_consumers(|_, member| member.is_on(connection));
        notices.into_iter().for_each(Notice::send);
    }

    /// Forgets clients that have been silent for too long and closes their connections; to be
    /// called now and then.
    pub(crate) fn expire(&self) {
        let limit = self.clock.now_millis() - self.live.load().broker.channel_expired_timeout;
        let mut silent = self.remove_producers(|_, member| member.is_silent_since(limit));
        let (consumers, notices) = self.remove_consumers(|_, member| member.is_silent_since(limit));
        notices.into_iter().for_each(Notice::send);
        silent.extend(consumers);
        for client in silent {
            let address = client.connection.peer();
            tracing::warn!(client = client.id, %address, "no heartbeat for too long, closed");
            client.connection.close();
        }
    }

    /// The clients of a producer group, if it is online.
    pub(crate) fn producers(&self, group: &str) -> Option<Vec<Arc<Client>>> {
        self.producers
            .read()
            .get(group)
            .map(|members| members.0.clone())
    }

    /// The connection of the producer with a client id, that of its last heartbeat if there are
    /// several.
    pub(crate) fn producer(&self, client_id: &str) -> Option<Arc<Connection>> {
        let groups = self.producers.read();
        let members = groups.values().flat_map(|members| &members.0);
        let open = members.filter(|member| member.id == client_id && member.connection.is_open());
        let last = open.max_by_key(|member| member.heard());
        last.map(|member| Arc::clone(&member.connection))
    }

    /// All producers, as tools show them.
    pub(crate) fn producer_table(&self) -> ProducerTableInfo {
        let info = |member: &Arc<Client>| ProducerInfo {
            client_id: member.id.clone(),
            language: member.language,
            last_update_timestamp: member.heard(),
            // A Java address object as text starts with a slash.
            remote_ip: format!("/{}", member.connection.peer()),
            version: member.version,
        };
        let producers = self.producers.read();
        let groups = producers.iter();
        ProducerTableInfo {
            data: groups
                .map(|(name, members)| (name.clone(), members.0.iter().map(info).collect()))
                .collect(),
        }
    }

    fn notifies(&self) -> bool {
        self.live.load().broker.notify_consumer_ids_changed_enable
    }

    /// Takes members out of consumer groups. Returns them, and what is to be told to those that
    /// stay; groups without any are gone.
    fn remove_consumers(
        &self,
        leaves: impl Fn(&str, &Client) -> bool,
    ) -> (Vec<Arc<Client>>, Vec<Notice>) {
        let notifies = self.notifies();
        let (mut gone, mut notices) = (Vec::new(), Vec::new());
        self.consumers.write().retain(|name, group| {
            if !group.members().iter().any(|member| leaves(name, member)) {
                return true;
            }
            let group = Arc::make_mut(group);
            gone.extend(
                group
                    .members
                    .0
                    .extract_if(.., |member| leaves(name, member)),
            );
            let members = group.members().len();
            tracing::info!(
                group = name,
                members,
                "consumer group changed: a member left"
            );
            if notifies && !group.is_broadcasting() {
                notices.push(Notice::of(name, group));
            }
            members > 0
        });
        (gone, notices)
    }

    /// Takes members out of producer groups and returns them; groups without any are gone.
    fn remove_producers(&self, leaves: impl Fn(&str, &Client) -> bool) -> Vec<Arc<Client>> {
        let mut gone = Vec::new();
        self.producers.write().retain(|name, members| {
            gone.extend(members.0.extract_if(.., |member| leaves(name, member)));
            !members.0.is_empty()
        });
        gone
    }
}

#[cfg(test)]
mod tests;
