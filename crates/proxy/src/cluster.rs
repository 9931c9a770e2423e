//! Name servers and brokers: asking them, finding them, remembering what they said.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use transport::{Addresses, Body, RemotingClient};
use wire::body::group::SubscriptionGroupConfig;
use wire::body::json;
use wire::body::route::{BrokerData, ClusterInfo, TopicRouteData};
use wire::body::topic::TopicConfig;
use wire::code::ResponseCode;
use wire::command::{
    Command, GetBrokerClusterInfo, GetBrokerConfig, GetRouteInfoByTopic,
    GetSubscriptionGroupConfig, GetTopicConfig,
};
use wire::frame::{Frame, Head, SerializeType};
use wire::grpc::{Code, MessageType};
use wire::header::NoHeader;
use wire::header::group::GetSubscriptionGroupConfigRequest;
use wire::header::nameserver::GetRouteInfoRequest;
use wire::header::topic::GetTopicConfigRequest;
use wire::message::attribute::MESSAGE_TYPE;
use wire::message::perm;

use crate::cache::Cache;
use crate::error::ProxyError;
use crate::settings::ProxyConfig;

/// How long a server may take for an answer (`MessagingProcessor.DEFAULT_TIMEOUT_MILLS`).
pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);

/// A queue that can be sent to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Queue {
    pub(crate) broker_name: String,
    pub(crate) queue_id: i32,
    /// Where its broker is.
    pub(crate) address: String,
}

/// Where the queues of a topic are.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) data: TopicRouteData,
    /// In the order that all proxies agree on, so that a message group has one queue.
    pub(crate) writable: Vec<Queue>,
    /// The brokers with queues to read, each with queue -1 for any of them, in order.
    pub(crate) readable: Vec<Queue>,
    /// Whose turn it is.
    next: AtomicUsize,
}

impl Route {
    /// `MessageQueueSelector`.
    fn new(data: TopicRouteData) -> Self {
        let (mut writable, mut readable) = (Vec::new(), Vec::new());
        for queues in &data.queue_datas {
            let broker = data
                .broker_datas
                .iter()
                .find(|broker| broker.broker_name == queues.broker_name);
            let Some(broker) = broker else { continue };
            let queue = |queue_id, address: &String| Queue {
                broker_name: broker.broker_name.clone(),
                queue_id,
                address: address.clone(),
            };
            if perm::is_readable(queues.perm)
                && queues.read_queue_nums > 0
                && let Some(address) = broker.master_or_replica()
            {
                readable.push(queue(-1, address));
            }
            if perm::is_writable(queues.perm)
                && let Some(address) = broker.master()
            {
                writable.extend((0..queues.write_queue_nums).map(|id| queue(id, address)));
            }
        }
        writable.sort();
        readable.sort();
        Self {
            data,
            writable,
            readable,
            next: AtomicUsize::new(0),
        }
    }

    /// One of the queues or brokers in turn.
    pub(crate) fn in_turn<'q>(&self, queues: &'q [Queue]) -> Option<&'q Queue> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        queues.get(turn.checked_rem(queues.len())?)
    }
}

/// What kinds of messages a topic is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopicType {
    /// One kind.
    One(MessageType),
    /// All the old kinds.
    Mixed,
}

impl TopicType {
    /// What a topic's settings say.
    fn of(topic: &TopicConfig) -> Self {
        let name = topic.attributes.get(MESSAGE_TYPE).map(String::as_str);
        match name {
            None => Self::One(MessageType::Normal),
            Some("MIXED") => Self::Mixed,
            Some(name) => Self::One(
                [
                    MessageType::Normal,
                    MessageType::Fifo,
                    MessageType::Delay,
                    MessageType::Transaction,
                    MessageType::Lite,
                    MessageType::Priority,
                ]
                .into_iter()
                .find(|known| known.name() == name)
                .unwrap_or(MessageType::Unspecified),
            ),
        }
    }

    /// The kinds, as routes list them (`RouteActivity.parseTopicMessageType`).
    pub(crate) fn accepted(self) -> Vec<i32> {
        let kinds = match self {
            Self::One(kind) => vec![kind],
            Self::Mixed => vec![
                MessageType::Normal,
                MessageType::Fifo,
                MessageType::Delay,
                MessageType::Transaction,
            ],
        };
        kinds.into_iter().map(|kind| kind as i32).collect()
    }

    /// Refuses a message of another kind (`DefaultTopicMessageTypeValidator`).
    pub(crate) fn check(self, message: MessageType) -> Result<(), ProxyError> {
        let expected = match self {
            Self::Mixed => return Ok(()),
            Self::One(expected) if expected == message => return Ok(()),
            Self::One(expected) => expected,
        };
        Err(ProxyError::new(
            Code::MessagePropertyConflictWithType,
            format!(
                "TopicMessageType validate failed, the expected type is {}, but actual type is {}",
                expected.name(),
                message.name()
            ),
        ))
    }
}

/// One cluster, as its name servers know it.
pub(crate) struct Cluster {
    remoting: RemotingClient,
    name_servers: Addresses,
    name: String,
    routes: Cache<Route>,
    topics: Cache<TopicConfig>,
    groups: Cache<SubscriptionGroupConfig>,
    brokers: Cache<ClusterInfo>,
}

impl Cluster {
    pub(crate) fn new(config: &ProxyConfig, remoting: RemotingClient) -> Self {
        let routes = || {
            Cache::new(
                config.topic_route_service_cache_refresh_seconds,
                config.topic_route_service_cache_expired_seconds,
                config.topic_route_service_cache_max_num,
            )
        };
        Self {
            remoting,
            name_servers: config.name_servers(),
            name: config.rocketmq_cluster_name.clone(),
            routes: routes(),
            topics: Cache::new(
                config.topic_config_cache_refresh_seconds,
                config.topic_config_cache_expired_seconds,
                config.topic_config_cache_max_num,
            ),
            groups: Cache::new(
                config.subscription_group_config_cache_refresh_seconds,
                config.subscription_group_config_cache_expired_seconds,
                config.subscription_group_config_cache_max_num,
            ),
            brokers: Cache::new(
                config.topic_route_service_cache_refresh_seconds,
                config.topic_route_service_cache_expired_seconds,
                1,
            ),
        }
    }

    /// The address that a server is reached by, which name servers tell without the protocol.
    pub(crate) fn told<'a>(&self, address: &'a str) -> Cow<'a, str> {
        self.name_servers.told(address)
    }

    /// Asks a server and takes any answer, refusals included. Headers are JSON, since a ROCKETMQ
    /// header has no room for the codes of pop.
    pub(crate) async fn ask<C: Command>(
        &self,
        address: &str,
        request: &C::Request<'_>,
        body: impl Into<Body>,
        timeout: Duration,
    ) -> Result<Frame, ProxyError> {
        let head = Head::request(C::CODE as i32, SerializeType::Json);
        let address = self.told(address);
        let answer = self
            .remoting
            .request(&address, head, request, body.into(), timeout);
        Ok(answer.await?)
    }

    /// Asks a server and wants success.
    pub(crate) async fn call<C: Command>(
        &self,
        address: &str,
        request: &C::Request<'_>,
        body: impl Into<Body>,
    ) -> Result<Frame, ProxyError> {
        let answer = self.ask::<C>(address, request, body, TIMEOUT).await?;
        if answer.head.code == ResponseCode::Success as i32 {
            Ok(answer)
        } else {
            Err(refused(answer))
        }
    }

    /// Tells a server something.
    pub(crate) async fn tell<C: Command>(
        &self,
        address: &str,
        request: &C::Request<'_>,
        body: impl Into<Body>,
    ) -> Result<(), ProxyError> {
        let head = Head::request(C::CODE as i32, SerializeType::Json).oneway();
        let address = self.told(address);
        let told = self.remoting.oneway(&address, head, request, body.into());
        Ok(told.await?)
    }

    /// Asks the name servers.
    async fn ask_name_server<C: Command>(
        &self,
        request: &C::Request<'_>,
    ) -> Result<(&str, Frame), ProxyError> {
        let ask = |address| self.ask::<C>(address, request, Body::Empty, TIMEOUT);
        let asked = self.name_servers.ask_in_turn(ask).await;
        asked.map_err(|failure| {
            let none = "the proxy knows no name server: set namesrvAddr";
            failure.unwrap_or_else(|| ProxyError::new(Code::InternalServerError, none))
        })
    }

    /// Where the queues of a topic are.
    pub(crate) async fn route(&self, topic: &str) -> Result<Arc<Route>, ProxyError> {
        let found = self.routes.get(topic, || self.load_route(topic)).await?;
        found.ok_or_else(|| {
            // The words of MQClientException, which clients have seen for years.
            let remark = format!(
                "CODE: {}  DESC: No topic route info in name server for the topic: {topic}\nFor \
                 more information, please visit the url, \
                 https://rocketmq.apache.org/docs/bestPractice/06FAQ",
                ResponseCode::TopicNotExist as i32
            );
            ProxyError::new(Code::TopicNotFound, remark)
        })
    }

    async fn load_route(&self, topic: &str) -> Result<Option<Route>, ProxyError> {
        let request = GetRouteInfoRequest {
            topic: topic.into(),
            accept_standard_json_only: Some(true),
            ..GetRouteInfoRequest::default()
        };
        let (address, answer) = self
            .ask_name_server::<GetRouteInfoByTopic>(&request)
            .await?;
        match ResponseCode::try_from(answer.head.code) {
            Ok(ResponseCode::Success) => {
                let data: TopicRouteData =
                    json::read(&answer.body).map_err(|error| ProxyError::answer(address, error))?;
                let empty = data.queue_datas.is_empty() || data.broker_datas.is_empty();
                Ok((!empty).then(|| Route::new(data)))
            }
            Ok(ResponseCode::TopicNotExist) => Ok(None),
            _ => Err(refused(answer)),
        }
    }

    /// What kinds of messages a topic is for; an unknown one is for none.
    pub(crate) async fn topic_type(&self, topic: &str) -> TopicType {
        let found = self.topics.get(topic, || self.load_topic(topic)).await;
        match found {
            Ok(Some(config)) => TopicType::of(&config),
            Ok(None) => TopicType::One(MessageType::Unspecified),
            Err(error) => {
                tracing::debug!(topic, %error, "the topic's type is not known");
                TopicType::One(MessageType::Unspecified)
            }
        }
    }

    async fn load_topic(&self, topic: &str) -> Result<Option<TopicConfig>, ProxyError> {
        let route = self.route(topic).await?;
        let broker = route
            .data
            .broker_datas
            .iter()
            .find_map(BrokerData::master_or_replica);
        let Some(address) = broker else {
            return Ok(None);
        };
        let request = GetTopicConfigRequest {
            topic: topic.into(),
            ..GetTopicConfigRequest::default()
        };
        let answer = self
            .ask::<GetTopicConfig>(address, &request, Body::Empty, TIMEOUT)
            .await?;
        match ResponseCode::try_from(answer.head.code) {
            Ok(ResponseCode::Success) => json::read(&answer.body)
                .map(Some)
                .map_err(|error| ProxyError::answer(address, error)),
            Ok(ResponseCode::TopicNotExist) => Ok(None),
            _ => Err(refused(answer)),
        }
    }

    /// The settings of a group; `None` if it has none yet, or nobody says.
    pub(crate) async fn group(&self, group: &str) -> Option<Arc<SubscriptionGroupConfig>> {
        let found = self.groups.get(group, || self.load_group(group)).await;
        found.unwrap_or_else(|error| {
            tracing::debug!(group, %error, "the group's settings are not known");
            None
        })
    }

    /// The settings of a group: those that it has, or will have once it is made.
    ///
    /// # Errors
    /// There is no such group, and brokers make none (`autoCreateSubscriptionGroup`).
    pub(crate) async fn known_group(
        &self,
        group: &str,
    ) -> Result<Arc<SubscriptionGroupConfig>, ProxyError> {
        match self.groups.get(group, || self.load_group(group)).await {
            Ok(Some(known)) => Ok(known),
            Ok(None) if !self.makes_groups().await => {
                let unknown = format!("group not found: {group}");
                Err(ProxyError::new(Code::IllegalConsumerGroup, unknown))
            }
            Ok(None) | Err(_) => Ok(Arc::default()),
        }
    }

    /// Whether brokers make groups that are consumed by; so it is taken to be where none says.
    async fn makes_groups(&self) -> bool {
        let makes = async {
            let brokers = self.masters().await.ok()?;
            let (_, address) = brokers.first()?;
            let answer = self
                .call::<GetBrokerConfig>(address, &NoHeader, Body::Empty)
                .await
                .ok()?;
            let text = std::str::from_utf8(&answer.body).ok()?;
            let setting = text
                .lines()
                .find_map(|line| line.strip_prefix("autoCreateSubscriptionGroup="))?;
            Some(setting.trim() != "false")
        };
        makes.await.unwrap_or(true)
    }

    async fn load_group(&self, group: &str) -> Result<Option<SubscriptionGroupConfig>, ProxyError> {
        let brokers = self.masters().await?;
        let Some((_, address)) = brokers.first() else {
            return Ok(None);
        };
        let request = GetSubscriptionGroupConfigRequest {
            group: group.into(),
            ..GetSubscriptionGroupConfigRequest::default()
        };
        let answer = self
            .ask::<GetSubscriptionGroupConfig>(address, &request, Body::Empty, TIMEOUT)
            .await?;
        match ResponseCode::try_from(answer.head.code) {
            Ok(ResponseCode::Success) => json::read(&answer.body)
                .map(Some)
                .map_err(|error| ProxyError::answer(address, error)),
            Ok(ResponseCode::SubscriptionGroupNotExist) => Ok(None),
            _ => Err(refused(answer)),
        }
    }

    /// Names and addresses of the masters of this cluster.
    pub(crate) async fn masters(&self) -> Result<Vec<(String, String)>, ProxyError> {
        let all = self.brokers.get(&self.name, || self.load_brokers()).await?;
        let brokers = all.iter().flat_map(|all| all.broker_addr_table.values());
        let masters = brokers
            .filter(|broker| broker.cluster == self.name)
            .filter_map(|broker| {
                let address = broker.master()?;
                Some((broker.broker_name.clone(), address.clone()))
            });
        Ok(masters.collect())
    }

    async fn load_brokers(&self) -> Result<Option<ClusterInfo>, ProxyError> {
        let (address, answer) = self
            .ask_name_server::<GetBrokerClusterInfo>(&Default::default())
            .await?;
        if answer.head.code != ResponseCode::Success as i32 {
            return Err(refused(answer));
        }
        json::read(&answer.body)
            .map(Some)
            .map_err(|error| ProxyError::answer(address, error))
    }

    /// Address of the master of a name, in whichever cluster.
    pub(crate) async fn broker(&self, name: &str) -> Result<String, ProxyError> {
        let all = self.brokers.get(&self.name, || self.load_brokers()).await?;
        let broker = all.as_ref().and_then(|all| all.broker_addr_table.get(name));
        let address = broker.and_then(BrokerData::master);
        address.cloned().ok_or_else(|| {
            let unknown = format!("cannot find broker {name}");
            ProxyError::new(Code::BadRequest, unknown)
        })
    }

    /// The same for a name in a receipt handle, which is to blame if there is no such broker.
    pub(crate) async fn broker_of_handle(&self, name: &str) -> Result<String, ProxyError> {
        self.broker(name).await.map_err(|error| match error {
            ProxyError::Refused { message, .. } => {
                ProxyError::new(Code::InvalidReceiptHandle, message)
            }
            other => other,
        })
    }

    /// Closes all connections.
    pub(crate) async fn shutdown(&self) {
        self.remoting.shutdown().await;
    }
}

/// The error that a refusing answer is.
pub(crate) fn refused(answer: Frame) -> ProxyError {
    let code = answer.head.code;
    ProxyError::Remote {
        code,
        remark: answer.remark.unwrap_or_else(|| code.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use wire::body::route::QueueData;

    use super::*;

    fn route(brokers: &[(&str, i64, i32)]) -> Route {
        let data = TopicRouteData {
            broker_datas: brokers
                .iter()
                .map(|(name, id, _)| BrokerData {
                    broker_name: (*name).into(),
                    broker_addrs: [(*id, format!("{name}:1"))].into(),
                    ..BrokerData::default()
                })
                .collect(),
            queue_datas: brokers
                .iter()
                .map(|(name, _, perm)| QueueData {
                    broker_name: (*name).into(),
                    perm: *perm,
                    read_queue_nums: 2,
                    write_queue_nums: 2,
                    ..QueueData::default()
                })
                .collect(),
            ..TopicRouteData::default()
        };
        Route::new(data)
    }

    #[test]
    fn queues_are_in_order_and_only_of_masters() {
        let route = route(&[("b", 0, 6), ("c", 1, 6), ("a", 0, 2)]);
        let names = |queues: &[Queue]| -> Vec<String> {
            let name = |queue: &Queue| format!("{}{}", queue.broker_name, queue.queue_id);
            queues.iter().map(name).collect()
        };
        assert_eq!(names(&route.writable), ["a0", "a1", "b0", "b1"]);
        // Without its master a broker is still read from.
        assert_eq!(names(&route.readable), ["b-1", "c-1"]);
        let turns: Vec<_> = (0..3).map(|_| route.in_turn(&route.readable)).collect();
        assert_eq!(turns[0], turns[2]);
        assert_ne!(turns[0], turns[1]);
        assert_eq!(route.in_turn(&[]), None);
    }

    #[test]
    fn a_topic_takes_its_type_and_a_mixed_one_all() {
        let topic = |attribute: Option<&str>| {
            let attributes = attribute.map(|name| (MESSAGE_TYPE.to_owned(), name.to_owned()));
            TopicType::of(&TopicConfig {
                attributes: attributes.into_iter().collect(),
                ..TopicConfig::default()
            })
        };
        let fits = |topic: TopicType, kind| topic.check(kind).is_ok();
        assert!(fits(topic(None), MessageType::Normal));
        assert!(!fits(topic(None), MessageType::Fifo));
        assert!(fits(topic(Some("FIFO")), MessageType::Fifo));
        assert!(fits(topic(Some("MIXED")), MessageType::Delay));
        assert!(!fits(topic(Some("OTHER")), MessageType::Normal));
        let refusal = topic(Some("DELAY")).check(MessageType::Fifo).unwrap_err();
        assert_eq!(refusal.code(), Code::MessagePropertyConflictWithType);
        assert_eq!(
            refusal.to_string(),
            "TopicMessageType validate failed, the expected type is DELAY, but actual type is FIFO"
        );
    }
}
