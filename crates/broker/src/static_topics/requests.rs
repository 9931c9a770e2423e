//! Requests about a logical queue, answered with the help of the brokers that have its parts
//! (`PullMessageProcessor`, `ConsumerManageProcessor` and `AdminBrokerProcessor`, each in
//! `rewriteRequestForStaticTopic`).

use std::sync::Arc;

use bytes::Bytes;
use transport::Reply;
use wire::body::static_topic::LogicQueueMappingItem;
use wire::code::ResponseCode;
use wire::command::{
    Command, GetEarliestMsgStoreTime, GetMaxOffset, GetMinOffset, PullMessage, QueryConsumerOffset,
    SearchOffsetByTimestamp, UpdateConsumerOffset,
};
use wire::frame::Frame;
use wire::header::offset::{
    GetEarliestMsgStoretimeRequest, GetEarliestMsgStoretimeResponse, GetMaxOffsetRequest,
    GetMaxOffsetResponse, GetMinOffsetRequest, GetMinOffsetResponse, QueryConsumerOffsetRequest,
    QueryConsumerOffsetResponse, SearchOffsetRequest, SearchOffsetResponse,
    UpdateConsumerOffsetRequest, UpdateConsumerOffsetResponse,
};
use wire::header::pull::{PullMessageRequest, PullMessageResponse};
use wire::header::{Header, RpcFields, TopicRpcFields};
use wire::message::sys_flag::pull as pull_flag;

use super::logical_queue::{
    LogicalPull, LogicalQueue, to_logical, to_logical_loosely, to_physical,
};
use crate::admin::offset;
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::other_brokers::accepted;
use crate::routes::Call;

type Answer<H> = Result<Reply<H>, BrokerError>;

/// Fields that make a request one about a broker's own queue.
pub(super) fn own_queue(broker_name: &str) -> TopicRpcFields<'_> {
    TopicRpcFields {
        logical: Some(false),
        rpc: RpcFields {
            broker_name: Some(broker_name.into()),
            ..RpcFields::default()
        },
    }
}

/// Has the broker of a part answer a request about the part's queue; if it is this one, `here`.
async fn ask<'a, C: Command, T: for<'h> Header<'h>>(
    broker: &Broker,
    (queue, part): (&LogicalQueue, &LogicQueueMappingItem),
    header: C::Request<'a>,
    here: impl FnOnce(C::Request<'a>) -> Answer<T>,
) -> Result<T, BrokerError> {
    if queue.is_here(part) {
        return Ok(here(header)?.header);
    }
    let answer = broker.ask_other::<C>(&part.bname, &header).await?;
    Ok(accepted(answer, &part.bname)?.header()?)
}

/// GET_MAX_OFFSET: behind the last part of which it is known where it begins.
pub(crate) async fn max(
    broker: &Arc<Broker>,
    call: &Call,
    queue: LogicalQueue,
    header: GetMaxOffsetRequest<'_>,
) -> Answer<GetMaxOffsetResponse> {
    let part = queue.part_at(i64::MAX)?;
    let asked = GetMaxOffsetRequest {
        queue_id: part.queue_id,
        rpc: own_queue(&part.bname),
        ..header
    };
    let here = |header| offset::max(broker, call, header, &Bytes::new());
    let told: GetMaxOffsetResponse =
        ask::<GetMaxOffset, _>(broker, (&queue, part), asked, here).await?;
    let offset = to_logical(part, told.offset);
    Ok(Reply::ok(GetMaxOffsetResponse { offset }))
}

/// GET_MIN_OFFSET: the beginning of the first part.
pub(crate) async fn min(
    broker: &Arc<Broker>,
    call: &Call,
    queue: LogicalQueue,
    header: GetMinOffsetRequest<'_>,
) -> Answer<GetMinOffsetResponse> {
    let part = queue.part_at(0)?;
    let asked = GetMinOffsetRequest {
        queue_id: part.queue_id,
        rpc: own_queue(&part.bname),
        ..header
    };
    let here = |header| offset::min(broker, call, header, &Bytes::new());
    let told: GetMinOffsetResponse =
        ask::<GetMinOffset, _>(broker, (&queue, part), asked, here).await?;
    let offset = to_logical_loosely(part, told.offset);
    Ok(Reply::ok(GetMinOffsetResponse { offset }))
}

/// QUERY_CONSUMER_OFFSET: in the last part that the group has an offset of.
pub(crate) async fn query(
    broker: &Arc<Broker>,
    call: &Call,
    queue: LogicalQueue,
    header: QueryConsumerOffsetRequest<'_>,
) -> Answer<QueryConsumerOffsetResponse> {
    let here = |header| offset::query(broker, call, header, &Bytes::new());
    if queue.is_one_queue() {
        let queue_id = queue.leader.queue_id;
        return here(QueryConsumerOffsetRequest { queue_id, ..header });
    }
    for part in queue.parts().rev() {
        let asked = QueryConsumerOffsetRequest {
            queue_id: part.queue_id,
            // With several parts only the consumer knows where to begin.
            set_zero_if_not_found: Some(false),
            rpc: own_queue(&part.bname),
            ..header.clone()
        };
        match ask::<QueryConsumerOffset, _>(broker, (&queue, part), asked, here).await {
            Ok(QueryConsumerOffsetResponse { offset }) => {
                let offset = to_logical(part, offset);
                return Ok(Reply::ok(QueryConsumerOffsetResponse { offset }));
            }
            Err(BrokerError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(BrokerError::no_offset())
}

/// UPDATE_CONSUMER_OFFSET: in the part that the offset is in.
pub(crate) async fn update(
    broker: &Arc<Broker>,
    call: &Call,
    queue: LogicalQueue,
    header: UpdateConsumerOffsetRequest<'_>,
) -> Answer<UpdateConsumerOffsetResponse> {
    let part = queue.part_at(header.commit_offset)?;
    let asked = UpdateConsumerOffsetRequest {
        queue_id: part.queue_id,
        commit_offset: to_physical(part, header.commit_offset),
        rpc: own_queue(&part.bname),
        ..header
    };
    let here = |header| offset::update(broker, call, header, &Bytes::new());
    let told = ask::<UpdateConsumerOffset, _>(broker, (&queue, part), asked, here).await?;
    Ok(Reply::ok(told))
}

/// GET_EARLIEST_MSG_STORETIME: of the first part that has messages.
pub(crate) async fn earliest_time(
    broker: &Arc<Broker>,
    queue: &LogicalQueue,
    header: &GetEarliestMsgStoretimeRequest<'_>,
) -> Answer<GetEarliestMsgStoretimeResponse> {
    let mut timestamp = -1;
    for part in queue.parts() {
        timestamp = part_begins(broker, (queue, part), &header.topic).await?;
        if timestamp >= 0 {
            break;
        }
    }
    Ok(Reply::ok(GetEarliestMsgStoretimeResponse { timestamp }))
}

/// When a part's first message was stored, in milliseconds since 1970; -1 if it has none.
async fn part_begins(
    broker: &Arc<Broker>,
    (queue, part): (&LogicalQueue, &LogicQueueMappingItem),
    topic: &str,
) -> Result<i64, BrokerError> {
    let asked = GetEarliestMsgStoretimeRequest {
        topic: topic.into(),
        queue_id: part.queue_id,
        rpc: own_queue(&part.bname),
    };
    let here = |header| offset::earliest_here(broker, &header);
    let told: GetEarliestMsgStoretimeResponse =
        ask::<GetEarliestMsgStoreTime, _>(broker, (queue, part), asked, here).await?;
    Ok(told.timestamp)
}

/// SEARCH_OFFSET_BY_TIMESTAMP: in the last part that had begun by then, or else the first one.
pub(crate) async fn search(
    broker: &Arc<Broker>,
    queue: &LogicalQueue,
    header: SearchOffsetRequest<'_>,
) -> Answer<SearchOffsetResponse> {
    let first = queue.part_at(0)?;
    let is_later = |part: &&LogicQueueMappingItem| part.generation > first.generation;
    let mut part = first;
    for later in queue.parts().rev().take_while(is_later) {
        let begins = part_begins(broker, (queue, later), &header.topic).await?;
        if (0..=header.timestamp).contains(&begins) {
            part = later;
            break;
        }
    }
    let asked = SearchOffsetRequest {
        queue_id: part.queue_id,
        rpc: own_queue(&part.bname),
        ..header
    };
    let here = |header| offset::search_here(broker, &header);
    let told: SearchOffsetResponse =
        ask::<SearchOffsetByTimestamp, _>(broker, (queue, part), asked, here).await?;
    let offset = to_logical_loosely(part, told.offset);
    Ok(Reply::ok(SearchOffsetResponse { offset }))
}

/// PULL_MESSAGE from a part that another broker has. Nobody waits there for messages: no more
/// come to the part.
///
/// # Errors
/// That broker does not answer, or refuses.
pub(crate) async fn pull(
    broker: &Broker,
    logical: &LogicalPull,
    frame: &Frame,
) -> Answer<PullMessageResponse> {
    let elsewhere = logical.broker_name();
    let header: PullMessageRequest<'_> = frame.header()?;
    let asked = PullMessageRequest {
        queue_id: logical.queue_id(),
        queue_offset: logical.asked,
        max_msg_nums: logical.limit(header.max_msg_nums),
        sys_flag: header.sys_flag & !(pull_flag::SUSPEND | pull_flag::COMMIT_OFFSET),
        rpc: own_queue(elsewhere),
        ..header
    };
    let answer = broker.ask_other::<PullMessage>(elsewhere, &asked).await?;
    let code = ResponseCode::try_from(answer.head.code).unwrap_or(ResponseCode::SystemError);
    let answer = match code {
        ResponseCode::PullNotFound
        | ResponseCode::PullRetryImmediately
        | ResponseCode::PullOffsetMoved => answer,
        _ => accepted(answer, elsewhere)?,
    };
    let mut told: PullMessageResponse = answer.header()?;
    let code = logical.rewrite(code, &mut told);
    let reply = Reply::ok(told).with_code(code);
    Ok(match code {
        ResponseCode::Success => reply.with_body(answer.body),
        _ => reply,
    })
}
