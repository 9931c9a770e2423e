//! Clients of a real server come and go.

use std::time::Duration;

use tokio::sync::mpsc;
use transport::{
    HandlerTable, RemotingClient, RemotingClientConfig, RemotingServer, RemotingServerConfig, Reply,
};
use wire::body::heartbeat::{MessageModel, SubscriptionData};
use wire::command::{Heartbeat, RequestCode, UnregisterClient};
use wire::header::NoHeader;

use super::*;
use crate::filter::Filter;
use crate::test_clock::TestClock;

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
