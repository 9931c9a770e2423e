//! A single queue: where it is, how far it goes, what is in it.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use transport::Body;
use wire::body::route::{BrokerData, TopicRouteData};
use wire::code::ResponseCode;
use wire::command::{
    Command, GetMaxOffset, GetMinOffset, PullMessage, QueryConsumerOffset, SearchOffsetByTimestamp,
    UpdateConsumerOffset,
};
use wire::header::Header;
use wire::header::offset::{
    GetMaxOffsetRequest, GetMaxOffsetResponse, GetMinOffsetRequest, GetMinOffsetResponse,
    QueryConsumerOffsetRequest, QueryConsumerOffsetResponse, SearchOffsetRequest,
    SearchOffsetResponse, UpdateConsumerOffsetRequest,
};
use wire::header::pull::{PullMessageRequest, PullMessageResponse};
use wire::message::{perm, sys_flag};

use super::{Client, ClientError, TIMEOUT, misread, refused};

/// How long a broker may hold a pull for which there is no message.
const HOLD: Duration = Duration::from_secs(15);
/// Messages asked for in a pull.
const MAX_MESSAGES: i32 = 32;

/// A queue, in the order that all members of a group agree on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Queue {
    /// Name of the topic.
    pub(crate) topic: String,
    /// Name of the broker group.
    pub(crate) broker_name: String,
    /// Number of the queue on that broker, from 0.
    pub(crate) queue_id: i32,
    /// Address of the broker that serves it.
    pub(crate) address: String,
}

impl Queue {
    /// The queues of a topic that can be read, in order.
    pub(crate) fn readable(topic: &str, route: &TopicRouteData) -> Vec<Self> {
        Self::all(topic, route, perm::READ)
    }

    /// The queues of a topic that can be written, in order.
    pub(crate) fn writable(topic: &str, route: &TopicRouteData) -> Vec<Self> {
        Self::all(topic, route, perm::WRITE)
    }

    fn all(topic: &str, route: &TopicRouteData, wanted: i32) -> Vec<Self> {
        let mut queues = Vec::new();
        for data in route
            .queue_datas
            .iter()
            .filter(|data| data.perm & wanted != 0)
        {
            let broker = route
                .broker_datas
                .iter()
                .find(|broker| broker.broker_name == data.broker_name);
            let (count, address) = if wanted == perm::WRITE {
                (data.write_queue_nums, broker.and_then(BrokerData::master))
            } else {
                (
                    data.read_queue_nums,
                    broker.and_then(BrokerData::master_or_replica),
                )
            };
            let Some(address) = address else { continue };
            queues.extend((0..count).map(|queue_id| Self {
                topic: topic.to_owned(),
                broker_name: data.broker_name.clone(),
                queue_id,
                address: address.clone(),
            }));
        }
        queues.sort();
        queues
    }
}

/// What a pull asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pull<'a> {
    /// Consumer group that pulls.
    pub(crate) group: &'a str,
    /// Tag expression.
    pub(crate) expression: &'a str,
    /// Logical offset of the first message wanted.
    pub(crate) offset: i64,
    /// Whether the broker waits for a message if there is none.
    pub(crate) hold: bool,
}

/// What a pull brought.
#[derive(Debug, Clone)]
pub(crate) struct Pulled {
    /// Records, one after the other; empty for none.
    pub(crate) records: Bytes,
    /// Logical offset to go on from.
    pub(crate) next: i64,
    /// Whether the queue ends there for now.
    pub(crate) at_end: bool,
}

impl Client {
    /// The offset of the first message of a queue.
    pub(crate) async fn min_offset(&self, queue: &Queue) -> Result<i64, ClientError> {
        let request = GetMinOffsetRequest {
            topic: Cow::Borrowed(&queue.topic),
            queue_id: queue.queue_id,
            ..GetMinOffsetRequest::default()
        };
        let answer = self
            .call::<GetMinOffset>(&queue.address, &request, Body::Empty)
            .await?;
        let header: GetMinOffsetResponse = header::<GetMinOffset, _>(queue, &answer)?;
        Ok(header.offset)
    }

    /// The offset behind the last message of a queue.
    pub(crate) async fn max_offset(&self, queue: &Queue) -> Result<i64, ClientError> {
        let request = GetMaxOffsetRequest {
            topic: Cow::Borrowed(&queue.topic),
            queue_id: queue.queue_id,
            ..GetMaxOffsetRequest::default()
        };
        let answer = self
            .call::<GetMaxOffset>(&queue.address, &request, Body::Empty)
            .await?;
        let header: GetMaxOffsetResponse = header::<GetMaxOffset, _>(queue, &answer)?;
        Ok(header.offset)
    }

    /// The offset of the first message stored at a time, in milliseconds since 1970, or later.
    pub(crate) async fn offset_at(&self, queue: &Queue, time: i64) -> Result<i64, ClientError> {
        let request = SearchOffsetRequest {
            topic: Cow::Borrowed(&queue.topic),
            queue_id: queue.queue_id,
            timestamp: time,
            ..SearchOffsetRequest::default()
        };
        let answer = self
            .call::<SearchOffsetByTimestamp>(&queue.address, &request, Body::Empty)
            .await?;
        let header: SearchOffsetResponse = header::<SearchOffsetByTimestamp, _>(queue, &answer)?;
        Ok(header.offset)
    }

    /// How far a group has come in a queue; `None` if it has never been there.
    pub(crate) async fn group_offset(
        &self,
        group: &str,
        queue: &Queue,
    ) -> Result<Option<i64>, ClientError> {
        let request = QueryConsumerOffsetRequest {
            consumer_group: Cow::Borrowed(group),
            topic: Cow::Borrowed(&queue.topic),
            queue_id: queue.queue_id,
            set_zero_if_not_found: Some(false),
            ..QueryConsumerOffsetRequest::default()
        };
        let answer = self
            .ask::<QueryConsumerOffset>(&queue.address, &request, Body::Empty, TIMEOUT)
            .await?;
        match ResponseCode::try_from(answer.head.code) {
            Ok(ResponseCode::Success) => {
                let header: QueryConsumerOffsetResponse =
                    header::<QueryConsumerOffset, _>(queue, &answer)?;
                Ok(Some(header.offset))
            }
            Ok(ResponseCode::QueryNotFound) => Ok(None),
            _ => Err(refused::<QueryConsumerOffset>(&queue.address, answer)),
        }
    }

    /// Says how far a group has come in a queue.
    pub(crate) async fn commit(
        &self,
        group: &str,
        queue: &Queue,
        offset: i64,
    ) -> Result<(), ClientError> {
        let request = UpdateConsumerOffsetRequest {
            consumer_group: Cow::Borrowed(group),
            topic: Cow::Borrowed(&queue.topic),
            queue_id: queue.queue_id,
            commit_offset: offset,
            ..UpdateConsumerOffsetRequest::default()
        };
        self.call::<UpdateConsumerOffset>(&queue.address, &request, Body::Empty)
            .await?;
        Ok(())
    }

    /// Reads messages.
    pub(crate) async fn pull(&self, queue: &Queue, pull: Pull<'_>) -> Result<Pulled, ClientError> {
        let hold = if pull.hold { HOLD } else { Duration::ZERO };
        let request = PullMessageRequest {
            consumer_group: Cow::Borrowed(pull.group),
            topic: Cow::Borrowed(&queue.topic),
            queue_id: queue.queue_id,
            queue_offset: pull.offset,
            max_msg_nums: MAX_MESSAGES,
            sys_flag: sys_flag::pull::build(false, pull.hold, true, false, false),
            suspend_timeout_millis: hold.as_millis() as i64,
            subscription: Some(Cow::Borrowed(pull.expression)),
            expression_type: Some(Cow::Borrowed("TAG")),
            ..PullMessageRequest::default()
        };
        let patience = hold + TIMEOUT;
        let answer = self
            .ask::<PullMessage>(&queue.address, &request, Body::Empty, patience)
            .await?;
        let at_end = match ResponseCode::try_from(answer.head.code) {
            Ok(ResponseCode::Success | ResponseCode::PullRetryImmediately) => false,
            Ok(ResponseCode::PullOffsetMoved) => false,
            Ok(ResponseCode::PullNotFound) => true,
            _ => return Err(refused::<PullMessage>(&queue.address, answer)),
        };
        let header: PullMessageResponse = header::<PullMessage, _>(queue, &answer)?;
        Ok(Pulled {
            // An offset behind the end is moved back to the end: nothing is there either.
            at_end: at_end || header.next_begin_offset < pull.offset,
            next: if at_end {
                pull.offset
            } else {
                header.next_begin_offset
            },
            records: answer.body,
        })
    }
}

fn header<'a, C: Command, H: Header<'a>>(
    queue: &Queue,
    answer: &'a wire::frame::Frame,
) -> Result<H, ClientError> {
    answer
        .header()
        .map_err(|error| misread::<C>(&queue.address, error))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wire::body::route::QueueData;

    use super::*;

    #[test]
    fn only_queues_that_may_be_used_are_listed_and_in_order() {
        let broker = |name: &str, addresses: &[(i64, &str)]| BrokerData {
            broker_name: name.to_owned(),
            broker_addrs: addresses
                .iter()
                .map(|(id, address)| (*id, (*address).to_owned()))
                .collect::<BTreeMap<_, _>>(),
            ..BrokerData::default()
        };
        let data = |name: &str, perm, read, write| QueueData {
            broker_name: name.to_owned(),
            perm,
            read_queue_nums: read,
            write_queue_nums: write,
            ..QueueData::default()
        };
        let route = TopicRouteData {
            broker_datas: vec![
                broker("b", &[(0, "b0"), (1, "b1")]),
                broker("a", &[(1, "a1")]),
            ],
            queue_datas: vec![
                data("b", 6, 2, 1),
                data("a", 6, 1, 1),
                data("c", 6, 1, 1),
                data("d", 2, 1, 1),
            ],
            ..TopicRouteData::default()
        };
        let names = |queues: Vec<Queue>| -> Vec<String> {
            queues
                .iter()
                .map(|queue| format!("{}:{}@{}", queue.broker_name, queue.queue_id, queue.address))
                .collect()
        };
        assert_eq!(
            names(Queue::readable("t", &route)),
            ["a:0@a1", "b:0@b0", "b:1@b0"]
        );
        // Without its master a broker group takes no messages.
        assert_eq!(names(Queue::writable("t", &route)), ["b:0@b0"]);
    }
}
