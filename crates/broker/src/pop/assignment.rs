//! Which queues a client shall consume, and whether it pulls or pops them: QUERY_ASSIGNMENT,
//! SET_MESSAGE_REQUEST_MODE and GET_ALL_MESSAGE_REQUEST_MODE (`QueryAssignmentProcessor`).
//! `config/messageRequestMode.json` keeps what was set.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;
use store::Disk;
use transport::Reply;
use wire::body::assignment::{
    MessageQueueAssignment, MessageRequestMode, MessageRequestModeSerializeWrapper,
    QueryAssignmentRequestBody, QueryAssignmentResponseBody, SetMessageRequestModeRequestBody,
};
use wire::body::heartbeat::MessageModel;
use wire::body::json;
use wire::body::queue::MessageQueue;
use wire::body::route::TopicRouteData;
use wire::code::ResponseCode;
use wire::command::GetRouteInfoByTopic;
use wire::header::NoHeader;
use wire::header::nameserver::GetRouteInfoRequest;
use wire::message::{names, perm};

use crate::admin::read_body;
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::routes::Call;
use crate::table_file::TableFile;

/// How long a name server may take to tell a route. Clients wait for a second.
const ROUTE_TIMEOUT: Duration = Duration::from_millis(800);

/// How groups get the messages of topics, as far as somebody has set it.
pub(super) struct RequestModes {
    modes: RwLock<MessageRequestModeSerializeWrapper>,
    file: TableFile,
}

impl RequestModes {
    pub(super) fn open(disk: Arc<dyn Disk>, config_dir: &Path) -> Result<Self, BrokerError> {
        let path = config_dir.join("messageRequestMode.json");
        let (file, content) = TableFile::open(disk, &path)?;
        Ok(Self {
            modes: RwLock::new(content.unwrap_or_default()),
            file,
        })
    }

    fn get(&self, topic: &str, group: &str) -> Option<(MessageRequestMode, i32)> {
        let modes = self.modes.read();
        let set = modes.message_request_mode_map.get(topic)?.get(group)?;
        Some((set.mode, set.pop_share_queue_num))
    }

    fn set(&self, mode: SetMessageRequestModeRequestBody) -> Result<(), BrokerError> {
        let (topic, group) = (mode.topic.clone(), mode.consumer_group.clone());
        let mut modes = self.modes.write();
        let groups = modes.message_request_mode_map.entry(topic).or_default();
        groups.insert(group, mode);
        drop(modes);
        self.file.touch();
        Ok(self.file.save(|| self.encode())?)
    }

    fn encode(&self) -> Bytes {
        json::write(&*self.modes.read())
    }
}

/// Sets how a group gets the messages of a topic.
pub(crate) async fn set_request_mode(
    broker: &Arc<Broker>,
    _: &Call,
    _: NoHeader,
    body: Bytes,
) -> Result<Reply, BrokerError> {
    let mode: SetMessageRequestModeRequestBody = read_body(&body)?;
    if names::is_retry_topic(&mode.topic) {
        return Err(BrokerError::NoPermission(
            "retry topic is not allowed to set mode".into(),
        ));
    }
    broker.existing_topic(&mode.topic)?;
    broker.group(&mode.consumer_group)?;
    broker.pop.modes.set(mode)?;
    Ok(Reply::empty())
}

/// Tells what was set for all groups.
pub(crate) async fn all_request_modes(
    broker: &Arc<Broker>,
    _: &Call,
    _: NoHeader,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    Ok(Reply::empty().with_body(broker.pop.modes.encode()))
}

/// Tells a client its queues of a topic.
pub(crate) async fn query_assignment(
    broker: &Arc<Broker>,
    _: &Call,
    _: NoHeader,
    body: Bytes,
) -> Result<Reply, BrokerError> {
    let asked: QueryAssignmentRequestBody = read_body(&body)?;
    let settings = broker.settings();
    let set = broker.pop.modes.get(&asked.topic, &asked.consumer_group);
    let (mode, share) = set.unwrap_or_else(|| {
        let by_default = MessageRequestMode::from(settings.pop.default_message_request_mode);
        match by_default {
            // What is to be retried comes to each client by itself.
            _ if names::is_retry_topic(&asked.topic) => (MessageRequestMode::Pull, 0),
            mode => (mode, settings.pop.default_pop_share_queue_num),
        }
    });
    let queues = match queues_of(broker, &asked.topic).await {
        Some(all) => assign(broker, &asked, mode, share, all),
        None => None,
    };
    let assignment = |message_queue| MessageQueueAssignment {
        attachments: None,
        message_queue,
        mode,
    };
    let answer = QueryAssignmentResponseBody {
        message_queue_assignments: queues.map(|all| all.into_iter().map(assignment).collect()),
    };
    Ok(Reply::empty().with_body(json::write(&answer)))
}

/// All queues of a topic, on all brokers that the name server knows; without a name server on
/// this one. `None` if the topic is not known.
async fn queues_of(broker: &Broker, topic: &str) -> Option<BTreeSet<MessageQueue>> {
    let settings = broker.settings();
    let queues = |broker_name: &str, count: i32| {
        let queue = |queue_id| MessageQueue {
            broker_name: broker_name.to_owned(),
            queue_id,
            topic: topic.to_owned(),
        };
        (0..count).map(queue).collect::<Vec<_>>()
    };
    if names::is_lmq(topic) {
        return Some(queues(&broker.pop.broker_name, 1).into_iter().collect());
    }
    if settings.broker.name_servers().is_empty() {
        let known = broker.topics.get(topic)?;
        let count = known.config.read_queue_nums;
        return Some(queues(&broker.pop.broker_name, count).into_iter().collect());
    }
    let header = GetRouteInfoRequest {
        topic: topic.into(),
        accept_standard_json_only: Some(true),
        ..GetRouteInfoRequest::default()
    };
    let answer = broker.ask_name_servers::<GetRouteInfoByTopic>(&header, ROUTE_TIMEOUT);
    let answer = answer.await.ok()?;
    if answer.head.code != ResponseCode::Success as i32 {
        return None;
    }
    let route: TopicRouteData = json::read(&answer.body).ok()?;
    let readable = route
        .queue_datas
        .iter()
        .filter(|data| perm::is_readable(data.perm));
    let all = readable.flat_map(|data| queues(&data.broker_name, data.read_queue_nums));
    Some(all.collect())
}

/// The client's share; `None` if it can't be told, and the client shall keep what it has.
fn assign(
    broker: &Broker,
    asked: &QueryAssignmentRequestBody,
    mode: MessageRequestMode,
    share: i32,
    all: BTreeSet<MessageQueue>,
) -> Option<BTreeSet<MessageQueue>> {
    match asked.message_model {
        MessageModel::Broadcasting => return Some(all),
        MessageModel::LiteSelective => return None,
        MessageModel::Clustering => {}
    }
    if !broker.settings().pop.server_load_balancer_enable {
        return Some(all);
    }
    let mut clients = broker.clients.group(&asked.consumer_group)?.client_ids();
    clients.sort_unstable();
    let strategy = Strategy::of_name(&asked.strategy_name)?;
    let all: Vec<MessageQueue> = all.into_iter().collect();
    let mine = clients.iter().position(|client| *client == asked.client_id);
    let queues = match mode {
        MessageRequestMode::Pull => strategy.share(&all, mine, clients.len()),
        MessageRequestMode::Pop => strategy.share_to_pop(&all, mine, clients.len(), share),
    };
    Some(queues.into_iter().collect())
}

/// How queues are shared among clients.
#[derive(Debug, Clone, Copy)]
enum Strategy {
    /// Each client gets queues that stand together (`AllocateMessageQueueAveragely`).
    Averagely,
    /// The queues go round (`AllocateMessageQueueAveragelyByCircle`).
    AveragelyByCircle,
}

impl Strategy {
    fn of_name(name: &str) -> Option<Self> {
        match name {
            "AVG" => Some(Self::Averagely),
            "AVG_BY_CIRCLE" => Some(Self::AveragelyByCircle),
            _ => None,
        }
    }

    /// What the client at this place among all gets.
    fn share(self, all: &[MessageQueue], mine: Option<usize>, clients: usize) -> Vec<MessageQueue> {
        let Some(mine) = mine else {
            return Vec::new();
        };
        let clients = clients.max(1);
        let (each, more) = (all.len() / clients, all.len() % clients);
        match self {
            Self::Averagely => {
                let start = mine * each + mine.min(more);
                let count = each + usize::from(mine < more);
                all.iter().skip(start).take(count).cloned().collect()
            }
            Self::AveragelyByCircle => all.iter().skip(mine).step_by(clients).cloned().collect(),
        }
    }

    /// The same for clients that pop: each also gets the queues of the `share` clients behind it
    /// (`QueryAssignmentProcessor.allocate4Pop`).
    fn share_to_pop(
        self,
        all: &[MessageQueue],
        mine: Option<usize>,
        clients: usize,
        share: i32,
    ) -> Vec<MessageQueue> {
        let share = usize::try_from(share).unwrap_or_default();
        if share == 0 || share + 1 >= clients {
            let any = |queue: &MessageQueue| MessageQueue {
                queue_id: -1,
                ..queue.clone()
            };
            return all.iter().map(any).collect();
        }
        let Some(mine) = mine else {
            return Vec::new();
        };
        if clients > all.len() {
            let one = all.get(mine % all.len().max(1));
            return one.cloned().into_iter().collect();
        }
        let together = (mine..=mine + share).map(|place| place % clients);
        together
            .flat_map(|place| self.share(all, Some(place), clients))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(count: i32) -> Vec<MessageQueue> {
        (0..count)
            .map(|queue_id| MessageQueue {
                queue_id,
                ..MessageQueue::default()
            })
            .collect()
    }

    fn ids(queues: Vec<MessageQueue>) -> Vec<i32> {
        queues.iter().map(|queue| queue.queue_id).collect()
    }

    #[test]
    fn every_queue_belongs_to_one_client() {
        let share = |strategy: Strategy, client| ids(strategy.share(&queues(5), Some(client), 3));
        assert_eq!(share(Strategy::Averagely, 0), [0, 1]);
        assert_eq!(share(Strategy::Averagely, 1), [2, 3]);
        assert_eq!(share(Strategy::Averagely, 2), [4]);
        assert_eq!(share(Strategy::AveragelyByCircle, 1), [1, 4]);
        let alone = Strategy::Averagely.share(&queues(2), Some(2), 3);
        assert!(alone.is_empty(), "more clients than queues");
        assert!(Strategy::Averagely.share(&queues(2), None, 3).is_empty());
    }

    #[test]
    fn clients_that_pop_share_queues_with_those_behind_them() {
        let share = |client, clients, share| {
            ids(Strategy::Averagely.share_to_pop(&queues(4), Some(client), clients, share))
        };
        assert_eq!(share(0, 4, 0), [-1; 4]);
        assert_eq!(share(0, 4, 3), [-1; 4], "all share all");
        assert_eq!(share(3, 4, 1), [3, 0]);
        assert_eq!(share(6, 9, 1), [2], "each client has at least one");
    }
}
