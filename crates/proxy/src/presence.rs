//! Consumers by gRPC as brokers and their tools see them, where the proxy belongs to a broker
//! (`proxyMode=LOCAL`): each has a connection of its own to every broker, on which it is asked,
//! and sends heartbeats.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::Mutex;
use transport::{Body, RemotingClient, RemotingClientConfig};
use wire::body::heartbeat::{
    ConsumeType, ConsumerData, HeartbeatData, MessageModel, SubscriptionData,
};
use wire::body::json;
use wire::command::{Command, Heartbeat};
use wire::frame::{Head, SerializeType};
use wire::grpc::{ClientType, FilterType, PubSub, Settings};
use wire::header::client::HeartbeatRequest;
use wire::message::tags::{TagExpression, java_hash};

use crate::clients::is_lite;
use crate::proxy::State;
use crate::questions;
use crate::settings::ProxyMode;

/// The connections by client.
pub(crate) struct Presences {
    table: Mutex<HashMap<String, RemotingClient>>,
    /// How each connects.
    config: RemotingClientConfig,
}

impl Presences {
    pub(crate) fn new(config: RemotingClientConfig) -> Self {
        Self {
            table: Mutex::default(),
            config,
        }
    }

    /// Closes all connections.
    pub(crate) async fn shutdown(&self) {
        for (_, client) in self.table.lock().await.drain() {
            client.shutdown().await;
        }
    }
}

/// Tells the brokers of all consumers, and of those that have left by closing their connections.
pub(crate) async fn send_heartbeats(state: &Arc<State>) {
    if state.config.proxy_mode != ProxyMode::Local {
        return;
    }
    let brokers = match state.cluster.masters().await {
        Ok(brokers) => brokers,
        Err(error) => {
            tracing::warn!(%error, "no broker can be told of consumers");
            return;
        }
    };
    let header = HeartbeatRequest::default();
    let consumers = state.clients.consumers();
    let mut table = state.presences.table.lock().await;
    let left: Vec<_> = table
        .extract_if(|id, _| !consumers.contains_key(id))
        .collect();
    for (_, client) in left {
        client.shutdown().await;
    }
    for (id, (settings, version)) in consumers {
        let client = table.entry(id.clone()).or_insert_with(|| {
            let executor = state.questions.executor();
            let handlers = questions::handlers(&Arc::downgrade(state), executor);
            RemotingClient::new(state.presences.config.clone(), handlers)
        });
        let Some(data) = consumer_data(&settings, version) else {
            continue;
        };
        let heartbeat = HeartbeatData {
            client_id: id,
            consumer_data_set: vec![data],
            ..HeartbeatData::default()
        };
        let body = Body::from(json::write(&heartbeat));
        for (_, address) in &brokers {
            let head = Head::request(Heartbeat::CODE as i32, SerializeType::Json).oneway();
            let address = state.cluster.told(address);
            let told = client.oneway(&address, head, &header, body.clone());
            if let Err(error) = told.await {
                tracing::warn!(%error, "a broker cannot be told of consumers");
            }
        }
    }
}

/// What a heartbeat says of a consumer (`ClientActivity.registerConsumer`).
fn consumer_data(settings: &Settings, version: i64) -> Option<ConsumerData> {
    let Some(PubSub::Subscription(subscription)) = &settings.pub_sub else {
        return None;
    };
    Some(ConsumerData {
        consume_type: match settings.client_type() {
            ClientType::SimpleConsumer | ClientType::LiteSimpleConsumer => {
                ConsumeType::ConsumeActively
            }
            _ => ConsumeType::ConsumePassively,
        },
        group_name: subscription.group.as_ref()?.name.clone(),
        message_model: if is_lite(settings) {
            MessageModel::LiteSelective
        } else {
            MessageModel::Clustering
        },
        subscription_data_set: subscriptions(settings, version),
        ..ConsumerData::default()
    })
}

/// What a consumer wants of which topics, in the words of remoting.
pub(crate) fn subscriptions(settings: &Settings, version: i64) -> Vec<SubscriptionData> {
    let entries = match &settings.pub_sub {
        Some(PubSub::Subscription(subscription)) => subscription.subscriptions.as_slice(),
        _ => &[],
    };
    let each = entries.iter().filter_map(|entry| {
        let filter = entry.expression.clone().unwrap_or_default();
        let sql = filter.r#type() == FilterType::Sql;
        let tags: BTreeSet<String> = match TagExpression::parse(&filter.expression) {
            Ok(TagExpression::Tags(tags)) if !sql => tags.iter().map(|it| (*it).into()).collect(),
            _ => BTreeSet::new(),
        };
        Some(SubscriptionData {
            code_set: tags.iter().map(|tag| java_hash(tag)).collect(),
            tags_set: tags,
            expression_type: if sql { "SQL92" } else { "TAG" }.to_owned(),
            sub_string: match filter.expression.as_str() {
                "" => "*".to_owned(),
                expression => expression.to_owned(),
            },
            sub_version: version,
            topic: entry.topic.as_ref()?.name.clone(),
            ..SubscriptionData::default()
        })
    });
    each.collect()
}
