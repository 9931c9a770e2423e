//! Telling the name servers which topics the broker has (`BrokerOuterAPI.registerBrokerAll`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};
use transport::{Body, RemotingClient};
use wire::body::json;
use wire::body::kv::KVTable;
use wire::body::register::RegisterBrokerBody;
use wire::body::topic::TopicConfigAndMappingSerializeWrapper;
use wire::code::ResponseCode;
use wire::command::{Command, RegisterBroker, UnregisterBroker};
use wire::frame::{Head, SerializeType};
use wire::header::nameserver::{RegisterBrokerRequest, UnRegisterBrokerRequest};
use wire::message::perm;
use wire::message::record::crc32;

use crate::broker::Broker;

/// How long a name server may take to hear that the broker goes.
const UNREGISTER_TIMEOUT: Duration = Duration::from_secs(3);

/// Registers again and again: when topics change, and every `registerNameServerPeriod`.
pub(crate) async fn run(broker: Arc<Broker>, client: RemotingClient) {
    loop {
        let period = Duration::from_millis(broker.settings().broker.register_name_server_period);
        tokio::select! {
            () = broker.topics.changed().notified() => {}
            () = tokio::time::sleep(period) => {}
        }
        register(&broker, &client).await;
    }
}

/// Registers with every name server once, with all at the same time.
pub(crate) async fn register(broker: &Arc<Broker>, client: &RemotingClient) {
    let settings = broker.settings();
    let body = body(broker, settings.broker.broker_permission);
    let mut registrations = JoinSet::new();
    for address in settings.broker.name_servers().iter() {
        let address = address.to_owned();
        let (broker, client, body) = (Arc::clone(broker), client.clone(), body.clone());
        registrations.spawn(async move { register_with(&broker, &client, &address, body).await });
    }
    while registrations.join_next().await.is_some() {}
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

/// All topics, with what the broker itself does not allow taken off their permissions.
fn body(broker: &Broker, broker_permission: i32) -> Bytes {
    let mut all = broker.topics.wrapper();
    if !(perm::is_readable(broker_permission) && perm::is_writable(broker_permission)) {
        for topic in all.topic_config_table.values_mut() {
            topic.perm &= broker_permission;
        }
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
