//! What is done before a load: finding the broker, making the topic, asking how far queues go.

use std::borrow::Cow;

use transport::{Body, HandlerTable};
use wire::command::UpdateAndCreateTopic;
use wire::header::topic::CreateTopicRequest;
use wire::message::names::AUTO_CREATE_TOPIC_KEY_TOPIC;
use wire::message::perm;

use crate::client::queue::Queue;
use crate::client::{Client, ClientError};

/// The broker that is put under load.
pub(super) struct Target {
    client: Client,
    address: String,
}

/// The messages of a queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    /// Number of the queue.
    pub(super) queue: u32,
    /// Offset of the first message.
    pub(super) begin: u64,
    /// Offset behind the last message.
    pub(super) end: u64,
}

impl Target {
    /// The broker at an address.
    pub(super) fn at(address: &str) -> Self {
        let client = Client::new("", HandlerTable::new());
        let address = address.to_owned();
        Self { client, address }
    }

    /// The first master broker that a name server knows.
    pub(super) async fn find(name_servers: &str) -> Result<Self, ClientError> {
        let client = Client::new(name_servers, HandlerTable::new());
        let masters = client.masters().await?;
        let address = masters.into_values().next().unwrap_or_default();
        Ok(Self { client, address })
    }

    /// `host:port` of the broker.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Creates the topic, or gives it that many queues.
    pub(super) async fn create_topic(&self, topic: &str, queues: u32) -> Result<(), ClientError> {
        let request = CreateTopicRequest {
            topic: Cow::Borrowed(topic),
            default_topic: Cow::Borrowed(AUTO_CREATE_TOPIC_KEY_TOPIC),
            read_queue_nums: queues as i32,
            write_queue_nums: queues as i32,
            perm: perm::READ | perm::WRITE,
            topic_filter_type: Cow::Borrowed("SINGLE_TAG"),
            ..CreateTopicRequest::default()
        };
        self.client
            .call::<UpdateAndCreateTopic>(&self.address, &request, Body::Empty)
            .await?;
        Ok(())
    }

    /// What the topic's queues hold.
    pub(super) async fn stored(
        &self,
        topic: &str,
        queues: u32,
    ) -> Result<Vec<Stored>, ClientError> {
        let mut stored = Vec::new();
        for queue in 0..queues {
            let place = Queue {
                topic: topic.to_owned(),
                broker_name: String::new(),
                queue_id: queue as i32,
                address: self.address.clone(),
            };
            let begin = self.client.min_offset(&place).await?.max(0) as u64;
            let end = self.client.max_offset(&place).await?.max(0) as u64;
            stored.push(Stored { queue, begin, end });
        }
        Ok(stored)
    }

    /// Closes the connection that was used for asking.
    pub(super) async fn close(&self) {
        self.client.shutdown().await;
    }
}
