//! Where topics are, for clients: always at the proxy itself (`RouteActivity`).

use std::collections::BTreeMap;

use wire::body::route::{BrokerData, QueueData};
use wire::grpc::{
    Address, Assignment, Broker, Code, Endpoints, MessageQueue, Permission, QueryAssignmentRequest,
    QueryAssignmentResponse, QueryRouteRequest, QueryRouteResponse, Resource,
};
use wire::message::perm;

use crate::call::Call;
use crate::cluster::TopicType;
use crate::error::{ProxyError, ok};
use crate::validate;

/// All queues of a topic, each with the kinds of messages it takes.
pub(crate) async fn query_route(
    call: Call,
    request: QueryRouteRequest,
) -> Result<QueryRouteResponse, ProxyError> {
    let topic = validate::topic(request.topic.as_ref())?;
    let endpoints = reached(&call, request.endpoints.as_ref());
    let cluster = &call.state.cluster;
    let route = cluster.route(topic).await?;
    let kind = cluster.topic_type(topic).await;
    let brokers: BTreeMap<&str, &BrokerData> = by_name(&route.data.broker_datas);
    let mut message_queues = Vec::new();
    for queues in &route.data.queue_datas {
        let Some(data) = brokers.get(queues.broker_name.as_str()) else {
            continue;
        };
        for id in data.broker_addrs.keys() {
            let broker = broker(&data.broker_name, *id, &endpoints);
            list_queues(
                queues,
                request.topic.as_ref(),
                kind,
                &broker,
                &mut message_queues,
            );
        }
    }
    Ok(QueryRouteResponse {
        status: ok(),
        message_queues,
    })
}

/// What a consumer shall receive from: each broker as one queue, or all queues one by one if its
/// group receives in order, and not lite topics.
pub(crate) async fn query_assignment(
    call: Call,
    request: QueryAssignmentRequest,
) -> Result<QueryAssignmentResponse, ProxyError> {
    let topic = validate::topic(request.topic.as_ref())?;
    let group = validate::group(request.group.as_ref())?;
    let endpoints = reached(&call, request.endpoints.as_ref());
    let cluster = &call.state.cluster;
    let route = cluster.route(topic).await?;
    let group = cluster.group(group).await;
    let in_order = group
        .is_some_and(|group| group.consume_message_orderly && group.lite_bind_topic().is_none());
    let brokers = by_name(&route.data.broker_datas);
    let mut assignments = Vec::new();
    for queues in &route.data.queue_datas {
        let readable = perm::is_readable(queues.perm) && queues.read_queue_nums > 0;
        let data = brokers.get(queues.broker_name.as_str());
        let Some(data) = data.filter(|_| readable) else {
            continue;
        };
        let ids = if in_order {
            0..queues.read_queue_nums
        } else {
            -1..0
        };
        let broker = broker(&data.broker_name, 0, &endpoints);
        assignments.extend(ids.map(|id| Assignment {
            message_queue: Some(MessageQueue {
                topic: request.topic.clone(),
                id,
                permission: permission(queues.perm) as i32,
                broker: Some(broker.clone()),
                accept_message_types: Vec::new(),
            }),
        }));
    }
    if assignments.is_empty() {
        return Err(ProxyError::new(Code::Forbidden, "no readable queue"));
    }
    Ok(QueryAssignmentResponse {
        status: ok(),
        assignments,
    })
}

fn by_name(brokers: &[BrokerData]) -> BTreeMap<&str, &BrokerData> {
    let named = brokers.iter();
    named
        .map(|broker| (broker.broker_name.as_str(), broker))
        .collect()
}

/// Where the client reaches this proxy: the hosts that it names, with the port that it came to.
fn reached(call: &Call, named: Option<&Endpoints>) -> Endpoints {
    let mut endpoints = named.cloned().unwrap_or_default();
    if !call.state.config.use_endpoint_port_from_request {
        let port = i32::from(call.local.port());
        endpoints
            .addresses
            .iter_mut()
            .for_each(|address: &mut Address| address.port = port);
    }
    endpoints
}

fn broker(name: &str, id: i64, endpoints: &Endpoints) -> Broker {
    Broker {
        name: name.to_owned(),
        id: i32::try_from(id).unwrap_or(i32::MAX),
        endpoints: Some(endpoints.clone()),
    }
}

/// The queues of a topic on a broker: those that can only be read or only be written first, then
/// those that can both. Numbers go on from one kind to the next.
fn list_queues(
    queues: &QueueData,
    topic: Option<&Resource>,
    kind: TopicType,
    broker: &Broker,
    list: &mut Vec<MessageQueue>,
) {
    let (read, write) = (queues.read_queue_nums, queues.write_queue_nums);
    let permission = permission(queues.perm);
    let counts = match permission {
        Permission::ReadWrite => {
            let both = read.min(write);
            vec![
                (Permission::Read, read - both),
                (Permission::Write, write - both),
                (Permission::ReadWrite, both),
            ]
        }
        Permission::Read => vec![(permission, read)],
        Permission::Write => vec![(permission, write)],
        Permission::None | Permission::Unspecified => vec![(permission, read.max(write).max(1))],
    };
    let permissions = counts
        .into_iter()
        .flat_map(|(permission, count)| (0..count).map(move |_| permission));
    list.extend((0..).zip(permissions).map(|(id, permission)| MessageQueue {
        topic: topic.cloned(),
        id,
        permission: permission as i32,
        broker: Some(broker.clone()),
        accept_message_types: kind.accepted(),
    }));
}

fn permission(bits: i32) -> Permission {
    match (perm::is_readable(bits), perm::is_writable(bits)) {
        (true, true) => Permission::ReadWrite,
        (true, false) => Permission::Read,
        (false, true) => Permission::Write,
        (false, false) => Permission::None,
    }
}

#[cfg(test)]
mod tests {
    use wire::grpc::MessageType;

    use super::*;

    #[test]
    fn queues_are_listed_by_what_may_be_done_with_them() {
        let list = |perm, read, write| {
            let data = QueueData {
                perm,
                read_queue_nums: read,
                write_queue_nums: write,
                ..QueueData::default()
            };
            let kind = TopicType::One(MessageType::Fifo);
            let mut list = Vec::new();
            list_queues(&data, None, kind, &Broker::default(), &mut list);
            let queue = |queue: &MessageQueue| (queue.id, queue.permission());
            list.iter().map(queue).collect::<Vec<_>>()
        };
        use Permission::{Read, ReadWrite, Write};
        assert_eq!(list(6, 3, 2), [(0, Read), (1, ReadWrite), (2, ReadWrite)]);
        assert_eq!(list(6, 1, 2), [(0, Write), (1, ReadWrite)]);
        assert_eq!(list(4, 2, 2), [(0, Read), (1, Read)]);
        assert_eq!(list(2, 1, 2), [(0, Write), (1, Write)]);
        assert_eq!(list(0, 0, 0), [(0, Permission::None)]);
    }
}
