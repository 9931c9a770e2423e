//! A consumer group that is online, and what it subscribes to.

use std::collections::BTreeMap;
use std::sync::Arc;

use transport::Connection;
use wire::body::heartbeat::{ConsumeFromWhere, ConsumeType, MessageModel, SubscriptionData};

use super::client::{Client, Members};
use crate::filter::Filter;

/// What a consumer group wants of a topic.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// As the last heartbeat told.
    pub(crate) data: SubscriptionData,
    /// Which tags it selects; everything, if it does not select by tag.
    pub(crate) filter: Filter,
}

impl From<SubscriptionData> for Subscription {
    fn from(data: SubscriptionData) -> Self {
        let filter = Filter::by_tag(&data);
        Self { data, filter }
    }
}

/// A consumer group that is online. It stands still: a change makes a new one.
#[derive(Debug, Default, Clone)]
pub(crate) struct ConsumerGroup {
    /// How its clients get their messages.
    pub(crate) consume_type: ConsumeType,
    /// Who gets a message.
    pub(crate) message_model: MessageModel,
    /// Where it starts when it has no offset.
    pub(crate) consume_from_where: ConsumeFromWhere,
    /// What it subscribes to, by topic.
    pub(crate) subscriptions: BTreeMap<String, Arc<Subscription>>,
    pub(super) members: Members,
    /// That of the last heartbeat; `None`: nobody has told the subscriptions yet.
    pub(super) fingerprint: Option<i32>,
}

impl ConsumerGroup {
    /// Its clients.
    pub(crate) fn members(&self) -> &[Arc<Client>] {
        &self.members.0
    }

    /// The ids of its clients, each once: a client that has connected again may have its old
    /// connection still, but must not be counted twice when queues are shared.
    pub(crate) fn client_ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self
            .members()
            .iter()
            .map(|member| member.id.clone())
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The client of an id, on its newest connection.
    pub(crate) fn client(&self, id: &str) -> Option<&Arc<Client>> {
        self.members()
            .iter()
            .rev()
            .find(|member| member.id == id && member.connection.is_open())
    }

    /// The id of the push consumer on a connection, if the group broadcasts.
    pub(super) fn broadcaster(&self, connection: &Connection) -> Option<String> {
        let broadcasts =
            self.is_broadcasting() && self.consume_type == ConsumeType::ConsumePassively;
        let mut members = self.members().iter().filter(|_| broadcasts);
        Some(members.find(|member| member.is_on(connection))?.id.clone())
    }

    pub(super) fn is_broadcasting(&self) -> bool {
        self.message_model == MessageModel::Broadcasting
    }

    /// Whether a member wants something else of a topic than the group did.
    pub(crate) fn is_changed_by(&self, wanted: &[SubscriptionData]) -> bool {
        wanted.iter().any(|data| {
            let known = self.subscriptions.get(&data.topic);
            known.is_some_and(|known| {
                let known = &known.data;
                known.sub_version < data.sub_version
                    && (&known.expression_type, &known.sub_string)
                        != (&data.expression_type, &data.sub_string)
            })
        })
    }

    /// Takes over what a member subscribes to. Returns whether topics came or went.
    pub(super) fn subscribe(&mut self, wanted: Vec<SubscriptionData>) -> bool {
        let before = self.subscriptions.len();
        self.subscriptions
            .retain(|topic, _| wanted.iter().any(|data| data.topic == *topic));
        let mut changed = self.subscriptions.len() < before;
        for data in wanted {
            let known = self.subscriptions.get(&data.topic);
            if known.is_some_and(|known| known.data.sub_version >= data.sub_version) {
                continue;
            }
            changed |= known.is_none();
            self.subscriptions
                .insert(data.topic.clone(), Arc::new(data.into()));
        }
        changed
    }
}
