//! Telling the name servers which topics the broker has: all of them
//! (`BrokerOuterAPI.registerBrokerAll`), or some that are new or changed
//! (`BrokerOuterAPI.registerSingleTopicAll`).

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};
use transport::{Body, RemotingClient};
use wire::body::json;
use wire::body::kv::KVTable;
use wire::body::register::RegisterBrokerBody;
use wire::body::route::{QueueData, TopicRouteData};
use wire::body::topic::{TopicConfig, TopicConfigAndMappingSerializeWrapper};
use wire::code::ResponseCode;
use wire::command::{Command, RegisterBroker, RegisterTopicInNamesrv, UnregisterBroker};
use wire::frame::{Frame, Head, SerializeType};
use wire::header::nameserver::{
    RegisterBrokerRequest, RegisterTopicRequest, UnRegisterBrokerRequest,
};
use wire::message::perm;
use wire::message::record::crc32;

use crate::broker::Broker;
use crate::changes::Changes;

/// So many times as much as one topic of a table costs one that is told by itself.
const COST_OF_SINGLE: usize = 32;

/// How long a name server may take to hear that the broker goes.
const UNREGISTER_TIMEOUT: Duration = Duration::from_secs(3);

/// Registers again and again: what has changed when topics change, and all of them every
/// `registerNameServerPeriod`.
pub(crate) async fn run(broker: Arc<Broker>, client: RemotingClient) {
    loop {
        let period = Duration::from_millis(broker.settings().broker.register_name_server_period);
        tokio::select! {
            () = broker.topics.changed().notified() => register_changes(&broker, &client).await,
            () = tokio::time::sleep(period) => register(&broker, &client).await,
        }
    }
}

/// Registers all topics with every name server once, with all at the same time.
pub(crate) async fn register(broker: &Arc<Broker>, client: &RemotingClient) {
    // All of it is told now; taken before the topics are looked at.
    drop(broker.topics.take_unregistered());
    let body = body_of_all(broker);
    with_each(broker, client, move |broker, client, address| {
        let body = body.clone();
        async move { register_with(&broker, &client, &address, body).await }
    })
    .await;
}

/// Registers what has changed: few topics of a large table one by one.
async fn register_changes(broker: &Arc<Broker>, client: &RemotingClient) {
    let names = match broker.topics.take_unregistered() {
        Changes::None => return,
        Changes::Rows(names) if names.len() * COST_OF_SINGLE < broker.topics.len() => names,
        Changes::Rows(_) | Changes::All => return register(broker, client).await,
    };
    let names = Arc::new(names);
    with_each(broker, client, move |broker, client, address| {
        let names = Arc::clone(&names);
        async move { register_topics_with(&broker, &client, &address, &names).await }
    })
    .await;
}

/// Does something with every name server, with all at the same time.
async fn with_each<F: Future<Output = ()> + Send + 'static>(
    broker: &Arc<Broker>,
    client: &RemotingClient,
    act: impl Fn(Arc<Broker>, RemotingClient, String) -> F,
) {
    let mut acts = JoinSet::new();
    for address in broker.settings().broker.name_servers().iter() {
        acts.spawn(act(Arc::clone(broker), client.clone(), address.to_owned()));
    }
    while acts.join_next().await.is_some() {}
}

/// Tells one name server of single topics. One that does not take them, since it does not know the
/// broker or the command, is told all; one that can't be reached hears of them with all others in
/// the next period.
async fn register_topics_with(
    broker: &Broker,
    client: &RemotingClient,
    address: &str,
    names: &BTreeSet<String>,
) {
    let timeout = Duration::from_millis(broker.settings().broker.register_broker_timeout_mills);
    for topic in names.iter().filter_map(|name| broker.topics.get(name)) {
        let header = RegisterTopicRequest {
            topic: topic.config.topic_name.as_str().into(),
            ..Default::default()
        };
        let body = json::write(&TopicRouteData {
            queue_datas: vec![queue_data(broker, &topic.config)],
            ..Default::default()
        });
        let head = Head::request(RegisterTopicInNamesrv::CODE as i32, SerializeType::Json);
        let told = client.request(address, head, &header, Body::One(body), timeout);
        match told.await {
            Ok(answer) if is_taken(&answer) => {}
            Ok(_) => return register_with(broker, client, address, body_of_all(broker)).await,
            Err(error) => {
                return warn!("the name server {address} did not hear of new topics: {error}");
            }
        }
    }
}

/// Whether a name server takes a topic. That it does not know the broker stands in the remark only.
fn is_taken(answer: &Frame) -> bool {
    answer.head.code == ResponseCode::Success as i32
        && answer.remark.as_deref().is_none_or(str::is_empty)
}

/// The queues of a topic, as routes have them.
fn queue_data(broker: &Broker, config: &TopicConfig) -> QueueData {
    let settings = broker.settings();
    QueueData {
        broker_name: settings.broker.broker_name.clone(),
        perm: config.perm & allowed(settings.broker.broker_permission),
        read_queue_nums: config.read_queue_nums,
        topic_sys_flag: config.topic_sys_flag,
        write_queue_nums: config.write_queue_nums,
    }
}

/// Registers with one name server.
async fn register_with(broker: &Broker, client: &RemotingClient, address: &str, body: Bytes) {
    let settings = broker.settings();
    let timeout = Duration::from_millis(settings.broker.register_broker_timeout_mills);
    let header = RegisterBrokerRequest {
        broker_name: settings.broker.broker_name.as_str().into(),
        broker_addr: broker.address.as_str().into(),
        cluster_name: settings.broker.broker_cluster_name.as_str().into(),
        ha_server_addr: broker.ha_address.as_str().into(),
        broker_id: settings.broker.broker_id,
        enable_acting_master: Some(false),
        compressed: false,
        body_crc32: Some(crc32(&body) as i32),
        ..Default::default()
    };
    let head = Head::request(RegisterBroker::CODE as i32, SerializeType::Json);
    match client
        .request(address, head, &header, Body::One(body), timeout)
        .await
    {
        Ok(answer) if answer.head.code == ResponseCode::Success as i32 => {
            debug!("registered with the name server {address}");
            set_ordered(broker, &answer.body);
        }
        Ok(answer) => {
            let remark = answer.remark.unwrap_or_default();
            warn!("the name server {address} refuses the broker: {remark}");
        }
        Err(error) => {
            warn!("the broker can't register with the name server {address}: {error}");
        }
    }
}

/// Takes over which topics are ordered, as the name server's configuration says.
fn set_ordered(broker: &Broker, answer: &[u8]) {
    if answer.is_empty() {
        return;
    }
    match json::read::<KVTable>(answer) {
        Ok(ordered) => broker
            .topics
            .set_ordered(ordered.table.keys().map(String::as_str)),
        Err(error) => warn!("the name server's list of ordered topics can't be read: {error}"),
    }
}

/// The permissions that a topic keeps under the broker's own: all, unless that is no longer to be
/// read and written.
fn allowed(broker_permission: i32) -> i32 {
    match perm::is_readable(broker_permission) && perm::is_writable(broker_permission) {
        true => !0,
        false => broker_permission,
    }
}

/// All topics, with what the broker itself does not allow taken off their permissions.
fn body_of_all(broker: &Broker) -> Bytes {
    let mut all = broker.topics.wrapper();
    let allowed = allowed(broker.settings().broker.broker_permission);
    for topic in all.topic_config_table.values_mut() {
        topic.perm &= allowed;
    }
    json::write(&RegisterBrokerBody {
        filter_server_list: Vec::new(),
        topic_config_serialize_wrapper: TopicConfigAndMappingSerializeWrapper {
            data_version: all.data_version,
            topic_config_table: all.topic_config_table,
            topic_queue_mapping_info_map: broker.static_topics.infos(),
            ..Default::default()
        },
    })
}

/// Takes the broker out of every name server, so that clients look elsewhere at once.
pub(crate) async fn unregister(broker: &Broker, client: &RemotingClient) {
    let settings = broker.settings();
    let header = UnRegisterBrokerRequest {
        broker_name: settings.broker.broker_name.as_str().into(),
        broker_addr: broker.address.as_str().into(),
        cluster_name: settings.broker.broker_cluster_name.as_str().into(),
        broker_id: settings.broker.broker_id,
    };
    let head = Head::request(UnregisterBroker::CODE as i32, SerializeType::Json);
    for address in settings.broker.name_servers().iter() {
        let sent = client
            .request(address, head, &header, Body::Empty, UNREGISTER_TIMEOUT)
            .await;
        match sent {
            Ok(_) => info!("left the name server {address}"),
            Err(error) => {
                warn!("the name server {address} did not hear that the broker goes: {error}")
            }
        }
    }
}
