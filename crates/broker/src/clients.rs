//! Who is connected: the producers and consumers of each group, and what the consumers subscribe
//! to (`ProducerManager`, `ConsumerManager`, `ConsumerGroupInfo`).
//!
//! A client says every 30 seconds that it is there. It is forgotten when its connection closes,
//! when it says so, or when it has been silent for too long. Whenever that changes the members of
//! a consumer group, or its subscriptions, all members hear of it at once and share the queues
//! anew.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use config::Live;
use parking_lot::RwLock;
use store::Clock;
use transport::{Body, Connection};
use wire::body::client::{ProducerInfo, ProducerTableInfo};
use wire::body::heartbeat::{
    ConsumeFromWhere, ConsumeType, ConsumerData, MessageModel, SubscriptionData,
};
use wire::command::{Command, NotifyConsumerIdsChanged};
use wire::frame::{Head, Language, SerializeType};
use wire::header::client::NotifyConsumerIdsChangedRequest;

use crate::filter::Filter;
use crate::settings::BrokerSettings;

/// A client on its connection, in one group.
#[derive(Debug)]
pub(crate) struct Client {
    /// Where it is reached.
    pub(crate) connection: Arc<Connection>,
    /// What it calls itself.
    pub(crate) id: String,
    /// What it is written in.
    pub(crate) language: Option<Language>,
    /// Its version, an ordinal of the reference's `MQVersion`.
    pub(crate) version: i32,
    /// When it was last heard of, in milliseconds since 1970.
    heard: AtomicI64,
}

impl Client {
    /// A client that sends its first heartbeat.
    pub(crate) fn new(connection: &Arc<Connection>, head: &Head, id: &str) -> Self {
        Self {
            connection: Arc::clone(connection),
            id: id.into(),
            language: head.language,
            version: head.version,
            heard: AtomicI64::new(0),
        }
    }

    /// The same for another group.
    fn in_group(&self, now: i64) -> Arc<Self> {
        Arc::new(Self {
            connection: Arc::clone(&self.connection),
            id: self.id.clone(),
            language: self.language,
            version: self.version,
            heard: AtomicI64::new(now),
        })
    }

    /// The form that tools show it in.
    pub(crate) fn to_body(&self) -> wire::body::client::Connection {
        wire::body::client::Connection {
            client_addr: self.connection.peer().to_string(),
            client_id: self.id.clone(),
            language: self.language,
            version: self.version,
        }
    }

    fn is_on(&self, connection: &Connection) -> bool {
        self.connection.id() == connection.id()
    }

    fn heard_at(&self, now: i64) {
        self.heard.store(now, Ordering::Relaxed);
    }

    fn is_silent_since(&self, limit: i64) -> bool {
        self.heard.load(Ordering::Relaxed) < limit
    }
}

/// The clients of a group, one a connection, in the order in which they came.
#[derive(Debug, Default, Clone)]
struct Members(Vec<Arc<Client>>);

impl Members {
    /// Notes a heartbeat. Returns whether there is a new member.
    fn enter(&mut self, client: &Client, now: i64) -> bool {
        let on_connection = self
            .0
            .iter_mut()
            .find(|member| member.is_on(&client.connection));
        match on_connection {
            Some(member) if member.id == client.id => {
                member.heard_at(now);
                return false;
            }
            Some(member) => *member = client.in_group(now),
            None => self.0.push(client.in_group(now)),
        }
        true
    }
}

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
    members: Members,
    /// That of the last heartbeat; `None`: nobody has told the subscriptions yet.
    fingerprint: Option<i32>,
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
    fn broadcaster(&self, connection: &Connection) -> Option<String> {
        let broadcasts =
            self.is_broadcasting() && self.consume_type == ConsumeType::ConsumePassively;
        let mut members = self.members().iter().filter(|_| broadcasts);
        Some(members.find(|member| member.is_on(connection))?.id.clone())
    }

    fn is_broadcasting(&self) -> bool {
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
    fn subscribe(&mut self, wanted: Vec<SubscriptionData>) -> bool {
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
        let last = open.max_by_key(|member| member.heard.load(Ordering::Relaxed));
        last.map(|member| Arc::clone(&member.connection))
    }

    /// All producers, as tools show them.
    pub(crate) fn producer_table(&self) -> ProducerTableInfo {
        let info = |member: &Arc<Client>| ProducerInfo {
            client_id: member.id.clone(),
            language: member.language,
            last_update_timestamp: member.heard.load(Ordering::Relaxed),
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
mod tests {
    use super::*;
    use crate::test_clock::TestClock;
    use std::time::Duration;
    use tokio::sync::mpsc;
    use transport::{
        HandlerTable, RemotingClient, RemotingClientConfig, RemotingServer, RemotingServerConfig,
        Reply,
    };
    use wire::command::{Heartbeat, RequestCode, UnregisterClient};
    use wire::header::NoHeader;

    /// Some time that is never needed, unless a test is about to fail.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// A table, and a server that real clients connect to.
    struct Fleet {
        table: Arc<ClientTable>,
        clock: TestClock,
        server: RemotingServer,
        accepted: mpsc::Receiver<Arc<Connection>>,
        live: Live<BrokerSettings>,
    }

    struct Closed(Arc<ClientTable>);

    impl transport::ConnectionListener for Closed {
        fn closed(&self, connection: &Arc<Connection>) {
            self.0.closed(connection);
        }
    }

    impl Fleet {
        async fn new() -> Self {
            let clock = TestClock::new();
            let live = Live::new(BrokerSettings::default());
            let table = Arc::new(ClientTable::new(Arc::new(clock.clone()), live.clone()));
            let (accept, accepted) = mpsc::channel(100);
            let mut handlers = HandlerTable::new();
            handlers.inline_each(&[RequestCode::Heartbeat], move |connection, _| {
                accept.try_send(Arc::clone(connection)).unwrap();
                Ok(Reply::empty())
            });
            handlers.inline_each(&[RequestCode::UnregisterClient], |_, _| Ok(Reply::empty()));
            let config = RemotingServerConfig {
                bind_address: "127.0.0.1".into(),
                ..Default::default()
            };
            let server = RemotingServer::bind(config)
                .await
                .unwrap()
                .handlers(handlers)
                .listener(Arc::new(Closed(Arc::clone(&table))))
                .start();
            Self {
                table,
                clock,
                server,
                accepted,
                live,
            }
        }

        /// A client that connects.
        async fn client(&mut self, id: &str) -> Remote {
            let (notice, notices) = mpsc::channel(1000);
            let mut handlers = HandlerTable::new();
            handlers.inline_each(&[RequestCode::NotifyConsumerIdsChanged], move |_, frame| {
                let header: NotifyConsumerIdsChangedRequest<'_> = frame.header()?;
                notice.try_send(header.consumer_group.into_owned()).unwrap();
                Ok(Reply::empty())
            });
            let client = RemotingClient::new(RemotingClientConfig::default(), handlers);
            let head = Head::request(Heartbeat::CODE as i32, SerializeType::Json);
            let address = self.server.local_addr().to_string();
            client
                .request(&address, head, &NoHeader, Body::Empty, PATIENCE)
                .await
                .unwrap();
            let connection = self.accepted.recv().await.unwrap();
            Remote {
                client,
                here: Client::new(&connection, &head, id),
                notices,
            }
        }
    }

    /// A client, seen from both ends.
    struct Remote {
        client: RemotingClient,
        here: Client,
        notices: mpsc::Receiver<String>,
    }

    impl Remote {
        /// Waits for the next notice and returns its group.
        async fn notice(&mut self) -> String {
            tokio::time::timeout(PATIENCE, self.notices.recv())
                .await
                .unwrap()
                .unwrap()
        }

        /// Whether there was no notice so far. What was sent to the client before is there by
        /// now, since answers and notices keep their order.
        async fn no_notice(&mut self) -> bool {
            let head = Head::request(UnregisterClient::CODE as i32, SerializeType::Json);
            let address = self.here.connection.local().to_string();
            self.client
                .request(&address, head, &NoHeader, Body::Empty, PATIENCE)
                .await
                .unwrap();
            self.notices.try_recv().is_err()
        }
    }

    fn subscription(topic: &str, version: i64) -> SubscriptionData {
        SubscriptionData {
            topic: topic.into(),
            sub_string: "*".into(),
            sub_version: version,
            ..SubscriptionData::default()
        }
    }

    fn heartbeat(group: &str, topics: &[&str]) -> ConsumerHeartbeat {
        let data = ConsumerData {
            group_name: group.into(),
            subscription_data_set: topics.iter().map(|topic| subscription(topic, 1)).collect(),
            ..ConsumerData::default()
        };
        ConsumerHeartbeat {
            data,
            fingerprint: 0,
            without_subscriptions: false,
            notify: true,
        }
    }

    #[tokio::test]
    async fn members_hear_of_who_comes_and_goes() {
        let mut fleet = Fleet::new().await;
        let mut first = fleet.client("first").await;
        fleet
            .table
            .consumer_heartbeat(&first.here, heartbeat("g", &["orders"]));
        assert_eq!(first.notice().await, "g");
        fleet
            .table
            .consumer_heartbeat(&first.here, heartbeat("g", &["orders"]));
        assert!(first.no_notice().await, "nothing new");

        let mut second = fleet.client("second").await;
        fleet
            .table
            .consumer_heartbeat(&second.here, heartbeat("g", &["orders"]));
        assert_eq!(first.notice().await, "g");
        assert_eq!(second.notice().await, "g");
        assert_eq!(
            fleet.table.group("g").unwrap().client_ids(),
            ["first", "second"]
        );

        fleet
            .table
            .unregister_consumer(&first.here.connection, "g", true);
        assert_eq!(second.notice().await, "g");
        assert!(first.no_notice().await, "it has left");
        assert_eq!(fleet.table.group("g").unwrap().client_ids(), ["second"]);
    }

    #[tokio::test]
    async fn a_closed_connection_leaves_all_groups_at_once() {
        let mut fleet = Fleet::new().await;
        let (first, mut second) = (fleet.client("first").await, fleet.client("second").await);
        for group in ["g", "h"] {
            fleet
                .table
                .consumer_heartbeat(&first.here, heartbeat(group, &["orders"]));
        }
        fleet.table.producer_heartbeat(&first.here, "p");
        fleet
            .table
            .consumer_heartbeat(&second.here, heartbeat("g", &["orders"]));
        assert_eq!(second.notice().await, "g");

        first.client.shutdown().await;
        assert_eq!(second.notice().await, "g");
        assert_eq!(fleet.table.group("g").unwrap().client_ids(), ["second"]);
        assert!(fleet.table.group("h").is_none());
        assert!(fleet.table.producers("p").is_none());

        // A heartbeat that was still being served brings nobody back.
        fleet
            .table
            .consumer_heartbeat(&first.here, heartbeat("g", &["orders"]));
        fleet.table.producer_heartbeat(&first.here, "p");
        assert_eq!(fleet.table.group("g").unwrap().client_ids(), ["second"]);
        assert!(fleet.table.producers("p").is_none());
    }

    #[tokio::test]
    async fn changed_subscriptions_are_told_and_newer_ones_count() {
        let mut fleet = Fleet::new().await;
        let mut first = fleet.client("first").await;
        fleet
            .table
            .consumer_heartbeat(&first.here, heartbeat("g", &["orders"]));
        first.notice().await;
        fleet
            .table
            .consumer_heartbeat(&first.here, heartbeat("g", &["bills", "orders"]));
        assert_eq!(first.notice().await, "g");
        fleet
            .table
            .consumer_heartbeat(&first.here, heartbeat("g", &["bills"]));
        assert_eq!(first.notice().await, "g");
        assert!(fleet.table.subscription("g", "orders").is_none());
        assert!(fleet.table.has_left("g", "orders"));
        assert!(!fleet.table.has_left("g", "bills"));
        assert!(!fleet.table.has_left("nobody", "bills"));
        assert_eq!(fleet.table.groups_of("bills"), ["g"]);

        let tagged = |version| {
            let data = SubscriptionData {
                sub_string: "a".into(),
                code_set: [97].into(),
                ..subscription("bills", version)
            };
            ConsumerHeartbeat {
                data: ConsumerData {
                    group_name: "g".into(),
                    subscription_data_set: vec![data],
                    ..ConsumerData::default()
                },
                ..heartbeat("g", &[])
            }
        };
        fleet.table.consumer_heartbeat(&first.here, tagged(1));
        let known = fleet.table.subscription("g", "bills").unwrap();
        assert_eq!(known.data.sub_string, "*", "not newer than what is known");
        fleet.table.consumer_heartbeat(&first.here, tagged(2));
        let known = fleet.table.subscription("g", "bills").unwrap();
        assert_eq!(known.data.sub_string, "a");
        assert!(matches!(&known.filter, Filter::Codes(codes) if **codes == [97]));
        assert!(first.no_notice().await, "the topics are the same");
    }

    #[tokio::test]
    async fn nobody_hears_of_a_group_that_does_not_want_it() {
        let mut fleet = Fleet::new().await;
        let mut first = fleet.client("first").await;
        let mut broadcast = heartbeat("b", &["orders"]);
        broadcast.data.message_model = MessageModel::Broadcasting;
        fleet.table.consumer_heartbeat(&first.here, broadcast);
        assert!(fleet.table.is_broadcasting("b"));
        let quiet = ConsumerHeartbeat {
            notify: false,
            ..heartbeat("q", &["orders"])
        };
        fleet.table.consumer_heartbeat(&first.here, quiet);
        let switch = |on: bool| {
            let text = format!("notifyConsumerIdsChangedEnable={on}");
            fleet
                .live
                .update(&config::properties::parse("test", text.as_bytes()).unwrap())
                .unwrap();
        };
        switch(false);
        fleet
            .table
            .consumer_heartbeat(&first.here, heartbeat("g", &["orders"]));
        switch(true);
        assert!(first.no_notice().await);
    }

    #[tokio::test]
    async fn silent_clients_are_forgotten_and_closed() {
        let mut fleet = Fleet::new().await;
        let (first, mut second) = (fleet.client("first").await, fleet.client("second").await);
        fleet
            .table
            .consumer_heartbeat(&first.here, heartbeat("g", &["orders"]));
        fleet.table.producer_heartbeat(&first.here, "p");
        fleet.clock.advance(60_000);
        fleet
            .table
            .consumer_heartbeat(&second.here, heartbeat("g", &["orders"]));
        second.notice().await;
        fleet.clock.advance(60_000);
        fleet.table.expire();
        assert_eq!(
            fleet.table.group("g").unwrap().client_ids(),
            ["first", "second"]
        );
        fleet.clock.advance(1);
        fleet.table.expire();
        assert_eq!(fleet.table.group("g").unwrap().client_ids(), ["second"]);
        assert!(fleet.table.producers("p").is_none());
        assert!(!first.here.connection.is_open());
        assert_eq!(second.notice().await, "g");
    }

    #[tokio::test]
    async fn a_client_that_connects_again_counts_once() {
        let mut fleet = Fleet::new().await;
        let (old, new) = (fleet.client("same").await, fleet.client("same").await);
        fleet
            .table
            .consumer_heartbeat(&old.here, heartbeat("g", &["orders"]));
        fleet
            .table
            .consumer_heartbeat(&new.here, heartbeat("g", &["orders"]));
        let group = fleet.table.group("g").unwrap();
        assert_eq!(group.client_ids(), ["same"]);
        assert_eq!(group.members().len(), 2);
        let reached = group.client("same").unwrap();
        assert_eq!(reached.connection.id(), new.here.connection.id());
        assert!(group.client("other").is_none());
    }

    #[tokio::test]
    async fn short_heartbeats_rely_on_what_is_known() {
        let mut fleet = Fleet::new().await;
        let first = fleet.client("first").await;
        let full = |fingerprint| ConsumerHeartbeat {
            fingerprint,
            ..heartbeat("g", &["orders"])
        };
        let short = |fingerprint| ConsumerHeartbeat {
            fingerprint,
            without_subscriptions: true,
            ..heartbeat("g", &[])
        };
        let beat = |heartbeat| fleet.table.consumer_heartbeat(&first.here, heartbeat);
        assert!(beat(short(7)), "the broker was restarted and knows nothing");
        assert!(beat(short(7)), "and still does not");
        assert!(!beat(full(7)));
        assert!(!beat(short(7)));
        assert!(fleet.table.subscription("g", "orders").is_some());
        assert!(beat(full(8)), "somebody subscribes differently");
        assert!(!beat(short(8)));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn whoever_looks_after_a_notice_sees_the_change() {
        let mut fleet = Fleet::new().await;
        let mut watcher = fleet.client("watcher").await;
        fleet
            .table
            .consumer_heartbeat(&watcher.here, heartbeat("g", &["orders"]));
        watcher.notice().await;
        let mut comers = Vec::new();
        for index in 0..16 {
            comers.push(fleet.client(&format!("comer-{index}")).await);
        }
        let coming = comers.iter().map(|comer| {
            let table = Arc::clone(&fleet.table);
            let client = comer.here.in_group(0);
            tokio::task::spawn_blocking(move || {
                table.consumer_heartbeat(&client, heartbeat("g", &["orders"]));
            })
        });
        for task in coming.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        // The last notice comes after the last change.
        while fleet.table.group("g").unwrap().client_ids().len() < 17 {
            watcher.notice().await;
        }
        for comer in &comers {
            comer.client.shutdown().await;
        }
        while fleet.table.group("g").unwrap().client_ids().len() > 1 {
            watcher.notice().await;
        }
    }
}
