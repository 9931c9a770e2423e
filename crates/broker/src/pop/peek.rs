//! PEEK_MESSAGE: reads what a pop would bring, without taking it (`PeekMessageProcessor`).

use std::sync::Arc;

use bytes::Bytes;
use store::{AllMessages, GetStatus};
use transport::Reply;
use wire::code::ResponseCode;
use wire::header::pop::{PeekMessageRequest, PopMessageResponse};
use wire::message::names;

use super::checks;
use super::notification::position;
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::routes::Call;

/// What has been found so far.
#[derive(Default)]
struct Peeked {
    slices: Vec<Bytes>,
    count: usize,
    size: usize,
    rest: i64,
}

/// Serves the command.
pub(crate) async fn peek<'a>(
    broker: &Arc<Broker>,
    call: &Call,
    header: PeekMessageRequest<'_>,
    _: Bytes,
) -> Result<Reply<PopMessageResponse<'a>>, BrokerError> {
    let (topic, group, queue_id) = (&*header.topic, &*header.consumer_group, header.queue_id);
    let doing = "peeking message";
    checks::readable_topic(broker, &call.connection, topic, group, queue_id, doing)?;
    let retry_topic = if broker.settings().pop.enable_retry_topic_v2 {
        names::pop_retry_topic_v2(topic, group)
    } else {
        names::pop_retry_topic_v1(topic, group)
    };
    let began_millis = broker.now_millis();
    let most = header.max_msg_nums.max(0) as usize;
    let mut peeked = Peeked::default();
    for (topic, queue_id) in [(topic, queue_id), (&*retry_topic, -1)] {
        let Some(found) = broker.topics.get(topic) else {
            continue;
        };
        let queues = match queue_id {
            ..0 => 0..found.config.read_queue_nums,
            id => id..id.saturating_add(1),
        };
        for queue_id in queues {
            peek_queue(broker, topic, group, queue_id, most, &mut peeked)?;
        }
    }
    let answer = Reply::ok(PopMessageResponse {
        rest_num: peeked.rest,
        ..PopMessageResponse::default()
    });
    if peeked.count == 0 {
        return Ok(answer
            .with_code(ResponseCode::PullNotFound)
            .with_remark("NO_MESSAGE_IN_QUEUE"));
    }
    broker.count_delivered(topic, group, peeked.count, peeked.size);
    broker.count_delivered_after(topic, group, queue_id, began_millis);
    Ok(answer.with_remark("FOUND").with_body(peeked.slices))
}

fn peek_queue(
    broker: &Broker,
    topic: &str,
    group: &str,
    queue_id: i32,
    most: usize,
    peeked: &mut Peeked,
) -> Result<(), BrokerError> {
    let queue = broker.queue(topic, queue_id)?;
    let offset = position(
        broker,
        topic,
        group,
        queue_id,
        broker.store.first_offset(&queue),
    );
    peeked.rest += (queue.max_offset() - offset).max(0);
    let room = most.saturating_sub(peeked.count);
    if room == 0 {
        return Ok(());
    }
    let read = |offset| {
        broker
            .store
            .get_messages(&queue, offset, room, usize::MAX, &AllMessages)
    };
    let mut got = read(offset)?;
    if matches!(
        got.status,
        GetStatus::OffsetTooSmall | GetStatus::OffsetOverflowBadly
    ) {
        got = read(got.next_begin_offset)?;
    }
    peeked.count += got.message_count;
    peeked.size += got.size;
    peeked.slices.extend(got.slices);
    Ok(())
}
