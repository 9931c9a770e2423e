//! A broker to ask, and how to ask it.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use config::Live;
use kerolox_broker::{BrokerSettings, RunningBroker};
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use transport::{Body, HandlerTable, RemotingClient, RemotingClientConfig};
use wire::body::heartbeat::{
    ConsumeType, ConsumerData, HeartbeatData, ProducerData, SubscriptionData,
};
use wire::body::json;
use wire::code::ResponseCode;
use wire::command::{Command, Heartbeat, SendMessageV2, UpdateAndCreateTopic};
use wire::frame::{Frame, Head, SerializeType};
use wire::header::client::HeartbeatRequest;
use wire::header::send::SendMessageRequestV2;
use wire::header::topic::CreateTopicRequest;

/// Some time that is never needed, unless a test is about to fail.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A broker on a directory of its own, and a client of it.
pub(crate) struct Rig {
    pub(crate) broker: RunningBroker,
    pub(crate) client: RemotingClient,
    dir: TempDir,
    change: fn(&mut BrokerSettings),
}

/// The settings of a broker on a directory.
pub(crate) fn settings(dir: &TempDir) -> BrokerSettings {
    let mut settings = BrokerSettings::default();
    settings.broker.broker_name = "broker-a".into();
    settings.broker.broker_ip = "127.0.0.1".into();
    settings.broker.broker_config_path = Some(config_file(dir).display().to_string());
    settings.store.store_path_root_dir = dir.path().display().to_string();
    settings.store.mapped_file_size_commit_log = 1 << 20;
    settings.server.bind_address = "127.0.0.1".into();
    settings.server.listen_port = 0;
    settings
}

/// The file that a broker on a directory keeps its changed settings in.
fn config_file(dir: &TempDir) -> PathBuf {
    dir.path().join("broker.conf")
}

impl Rig {
    /// A broker on an empty directory.
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// The same with changed settings.
    pub(crate) async fn with(change: fn(&mut BrokerSettings)) -> Self {
        Self::start(TempDir::new().unwrap(), change).await
    }

    async fn start(dir: TempDir, change: fn(&mut BrokerSettings)) -> Self {
        let mut settings = settings(&dir);
        change(&mut settings);
        Self {
            broker: RunningBroker::start(Live::new(settings)).await.unwrap(),
            client: client(HandlerTable::new()),
            dir,
            change,
        }
    }

    /// Its configuration file.
    pub(crate) fn config_file(&self) -> PathBuf {
        config_file(&self.dir)
    }

    /// Stops the broker and starts it again.
    pub(crate) async fn restarted(self) -> Self {
        self.broker.shutdown().await.unwrap();
        Self::start(self.dir, self.change).await
    }

    /// Asks a broker something.
    pub(crate) async fn ask<'a, C: Command>(
        &self,
        header: C::Request<'a>,
        body: impl Into<Body>,
    ) -> Frame {
        self.ask_as::<C>(&self.client, header, body).await
    }

    /// The same as another client.
    pub(crate) async fn ask_as<'a, C: Command>(
        &self,
        client: &RemotingClient,
        header: C::Request<'a>,
        body: impl Into<Body>,
    ) -> Frame {
        let head = Head::request(C::CODE as i32, SerializeType::Json);
        let address = self.broker.local_addr().to_string();
        client
            .request(&address, head, &header, body.into(), PATIENCE)
            .await
            .unwrap()
    }

    /// The same, when it has to succeed.
    pub(crate) async fn done<'a, C: Command>(
        &self,
        header: C::Request<'a>,
        body: impl Into<Body>,
    ) -> Frame {
        let answer = self.ask::<C>(header, body).await;
        assert_eq!(answer.head.code, 0, "{:?}: {:?}", C::CODE, answer.remark);
        answer
    }

    /// The same, for the answer's body.
    pub(crate) async fn read<'a, C: Command, T: DeserializeOwned>(
        &self,
        header: C::Request<'a>,
    ) -> T {
        json::read(&self.done::<C>(header, Body::Empty).await.body).unwrap()
    }

    /// Makes a topic.
    pub(crate) async fn create_topic(&self, topic: &str, queues: i32) {
        self.done::<UpdateAndCreateTopic>(topic_request(topic, queues), Body::Empty)
            .await;
    }

    /// Sends a message.
    pub(crate) async fn send(&self, topic: &str, queue_id: i32, body: &'static str) {
        let header = SendMessageRequestV2 {
            producer_group: "p".into(),
            topic: topic.into(),
            default_topic: "TBW102".into(),
            default_topic_queue_nums: 4,
            queue_id,
            properties: Some("KEYS\u{1}k\u{2}".into()),
            ..Default::default()
        };
        self.done::<SendMessageV2>(header, Body::One(Bytes::from_static(body.as_bytes())))
            .await;
    }

    /// Says that a client is there, as a consumer of `orders` in `g` and a producer in `p`.
    pub(crate) async fn heartbeat(&self, client: &RemotingClient, id: &str) -> Frame {
        let data = HeartbeatData {
            client_id: id.into(),
            consumer_data_set: vec![ConsumerData {
                group_name: "g".into(),
                consume_type: ConsumeType::ConsumePassively,
                subscription_data_set: vec![SubscriptionData {
                    topic: "orders".into(),
                    sub_string: "*".into(),
                    sub_version: 1,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            producer_data_set: vec![ProducerData {
                group_name: "p".into(),
            }],
            ..Default::default()
        };
        self.ask_as::<Heartbeat>(client, HeartbeatRequest::default(), json::write(&data))
            .await
    }
}

/// A client that serves what the broker asks.
pub(crate) fn client(handlers: HandlerTable) -> RemotingClient {
    RemotingClient::new(RemotingClientConfig::default(), handlers)
}

/// Asks for a topic with so many queues.
pub(crate) fn topic_request(topic: &str, queues: i32) -> CreateTopicRequest<'_> {
    CreateTopicRequest {
        topic: topic.into(),
        default_topic: "TBW102".into(),
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm: 6,
        topic_filter_type: "SINGLE_TAG".into(),
        ..Default::default()
    }
}

/// Makes sure that an answer is a refusal.
pub(crate) fn refused(answer: &Frame, code: ResponseCode, remark: &str) {
    assert_eq!(answer.head.code, code as i32, "{:?}", answer.remark);
    let told = answer.remark.as_deref().unwrap_or_default();
    assert!(told.contains(remark), "{told:?} does not tell {remark:?}");
}
