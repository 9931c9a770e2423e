//! What a name server hears of a broker's topics.

use std::sync::Arc;

use config::Live;
use store::MemoryDisk;
use tokio::sync::mpsc;
use transport::{
    HandlerTable, Refusal, RemotingClient, RemotingClientConfig, RemotingServer,
    RemotingServerConfig, Reply,
};
use wire::body::json;
use wire::body::register::RegisterBrokerBody;
use wire::body::route::TopicRouteData;
use wire::body::topic::TopicConfig;
use wire::command::RequestCode;
use wire::header::NoHeader;

use super::*;
use crate::settings::BrokerSettings;
use crate::test_clock::TestClock;

/// What a name server is told.
#[derive(Debug, PartialEq)]
enum Heard {
    /// All topics, so many.
    All(usize),
    /// The write queues of one.
    One(String, i32),
}

/// A name server, and what it hears. It may not know of single topics.
async fn name_server(takes_single: bool) -> (RemotingServer, mpsc::UnboundedReceiver<Heard>) {
    let (hears, heard) = mpsc::unbounded_channel();
    let mut handlers = HandlerTable::new();
    let hears_all = hears.clone();
    handlers.inline_each(&[RequestCode::RegisterBroker], move |_, frame| {
        let body: RegisterBrokerBody = json::read(&frame.body).unwrap();
        let topics = body.topic_config_serialize_wrapper.topic_config_table;
        hears_all.send(Heard::All(topics.len())).unwrap();
        Ok(Reply::<NoHeader>::empty())
    });
    handlers.inline_each(&[RequestCode::RegisterTopicInNamesrv], move |_, frame| {
        if !takes_single {
            let code = ResponseCode::RequestCodeNotSupported;
            return Err(Refusal::new(code, "never heard of it"));
        }
        let topic = frame.header::<RegisterTopicRequest<'_>>().unwrap().topic;
        let route: TopicRouteData = json::read(&frame.body).unwrap();
        let [queues] = &route.queue_datas[..] else {
            panic!("{route:?}");
        };
        assert_eq!(queues.broker_name, "broker-x");
        let queues = queues.write_queue_nums;
        hears.send(Heard::One(topic.into_owned(), queues)).unwrap();
        Ok(Reply::<NoHeader>::empty())
    });
    let config = RemotingServerConfig {
        bind_address: "127.0.0.1".into(),
        listen_port: 0,
        ..RemotingServerConfig::default()
    };
    let bound = RemotingServer::bind(config).await.unwrap();
    (bound.handlers(handlers).start(), heard)
}

/// A broker with many topics that registers only when these change.
async fn broker(name_server: &RemotingServer) -> Arc<Broker> {
    let mut settings = BrokerSettings::default();
    settings.broker.broker_ip = "127.0.0.1".into();
    settings.broker.broker_name = "broker-x".into();
    settings.broker.namesrv_addr = Some(name_server.local_addr().to_string());
    settings.broker.register_name_server_period = 1_000_000_000;
    settings.store.store_path_root_dir = "/store".into();
    settings.store.mapped_file_size_commit_log = 1 << 20;
    let (disk, clock) = (Arc::new(MemoryDisk::new()), Arc::new(TestClock::new()));
    let broker = Broker::open(Live::new(settings), 10911, disk, clock, false).unwrap();
    let broker = Arc::new(broker);
    let many = (0..100).map(|number| topic(&format!("topic-{number}"), 8));
    broker.topics.upsert(many.collect()).unwrap();
    let client = RemotingClient::new(RemotingClientConfig::default(), HandlerTable::new());
    register(&broker, &client).await;
    tokio::spawn(run(Arc::clone(&broker), client));
    broker
}

fn topic(name: &str, queues: i32) -> TopicConfig {
    TopicConfig {
        topic_name: name.into(),
        write_queue_nums: queues,
        ..TopicConfig::default()
    }
}

#[tokio::test]
async fn one_topic_of_many_is_told_by_itself_and_a_loss_with_all() {
    let (server, mut heard) = name_server(true).await;
    let broker = broker(&server).await;
    let all = broker.topics.len();
    assert_eq!(heard.recv().await, Some(Heard::All(all)));
    for queues in [3, 4] {
        broker.topics.upsert(vec![topic("new", queues)]).unwrap();
        assert_eq!(heard.recv().await, Some(Heard::One("new".into(), queues)));
    }
    broker.topics.remove(["new"]).unwrap();
    assert_eq!(heard.recv().await, Some(Heard::All(all)));
}

#[tokio::test]
async fn a_name_server_that_takes_no_single_topic_is_told_all() {
    let (server, mut heard) = name_server(false).await;
    let broker = broker(&server).await;
    let all = broker.topics.len();
    assert_eq!(heard.recv().await, Some(Heard::All(all)));
    broker.topics.upsert(vec![topic("new", 3)]).unwrap();
    assert_eq!(heard.recv().await, Some(Heard::All(all + 1)));
}
