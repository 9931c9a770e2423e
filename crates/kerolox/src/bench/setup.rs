//! What is done before a load: finding the broker, making the topic, asking how far queues go.

use transport::{Body, HandlerTable};
use wire::body::json;
use wire::body::topic::{CreateTopicListRequestBody, TopicConfig};
use wire::command::{GetBrokerConfig, UpdateAndCreateTopicList};
use wire::header::NoHeader;
use wire::header::topic::CreateTopicListRequest;
use wire::message::perm;

use super::queues::Queues;
use crate::client::queue::Queue;
use crate::client::{Client, ClientError, ClusterArgs};
use crate::error::CliError;

/// Topics created with one request.
const TOPICS_AT_ONCE: usize = 100;

/// The broker that is put under load.
pub(super) struct Target {
    client: Client,
    address: String,
}

/// The messages of a queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    /// Number of the queue.
    pub(super) queue: usize,
    /// Offset of the first message.
    pub(super) begin: u64,
    /// Offset behind the last message.
    pub(super) end: u64,
}

/// What a load must know of the broker.
#[derive(Debug, Default, Clone)]
pub(super) struct Found {
    /// Name of the broker, for pops.
    pub(super) broker_name: String,
    /// What the queues hold, for loads that read.
    pub(super) stored: Vec<Stored>,
}

impl Target {
    /// The broker at an address.
    pub(super) fn at(address: &str, cluster: &ClusterArgs) -> Result<Self, CliError> {
        let client = Client::new(cluster, HandlerTable::new())?;
        let address = address.to_owned();
        Ok(Self { client, address })
    }

    /// The first master broker that a name server knows.
    pub(super) async fn find(cluster: &ClusterArgs) -> Result<Self, CliError> {
        let client = Client::new(cluster, HandlerTable::new())?;
        let masters = client.masters().await?;
        let address = masters.into_values().next().unwrap_or_default();
        Ok(Self { client, address })
    }

    /// `host:port` of the broker.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Creates the topics, or gives them that many queues.
    pub(super) async fn create_topics(&self, queues: &Queues) -> Result<(), ClientError> {
        let config = |topic: &String| TopicConfig {
            topic_name: topic.clone(),
            read_queue_nums: queues.of_topic as i32,
            write_queue_nums: queues.of_topic as i32,
            perm: perm::READ | perm::WRITE,
            ..TopicConfig::default()
        };
        for topics in queues.topics().chunks(TOPICS_AT_ONCE) {
            let body = CreateTopicListRequestBody {
                topic_config_list: topics.iter().map(config).collect(),
            };
            let request = CreateTopicListRequest::default();
            self.client
                .call::<UpdateAndCreateTopicList>(&self.address, &request, json::write(&body))
                .await?;
        }
        Ok(())
    }

    /// What the queues hold.
    pub(super) async fn stored(&self, queues: &Queues) -> Result<Vec<Stored>, ClientError> {
        let mut stored = Vec::new();
        for topic in queues.topics() {
            for queue in 0..queues.of_topic {
                let place = Queue {
                    topic: topic.clone(),
                    broker_name: String::new(),
                    queue_id: queue as i32,
                    address: self.address.clone(),
                };
                stored.push(Stored {
                    queue: stored.len(),
                    begin: self.client.min_offset(&place).await?.max(0) as u64,
                    end: self.client.max_offset(&place).await?.max(0) as u64,
                });
            }
        }
        Ok(stored)
    }

    /// Name of the broker, as its configuration has it.
    pub(super) async fn broker_name(&self) -> Result<String, ClientError> {
        let answer = self
            .client
            .call::<GetBrokerConfig>(&self.address, &NoHeader, Body::Empty)
            .await?;
        let settings = String::from_utf8_lossy(&answer.body);
        let name = settings
            .lines()
            .find_map(|line| line.strip_prefix("brokerName="));
        name.map(|name| name.trim().to_owned()).ok_or_else(|| {
            let text = format!("the broker at {} does not tell its name", self.address);
            ClientError::Argument(text)
        })
    }

    /// Closes the connection that was used for asking.
    pub(super) async fn close(&self) {
        self.client.shutdown().await;
    }
}
