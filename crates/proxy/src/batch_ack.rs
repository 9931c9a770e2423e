//! Acknowledging many messages by one request to their broker (`enableBatchAck`,
//! `ConsumerProcessor.batchAckMessage`, `MQClientAPIImpl.batchAckMessageAsync`).

use std::collections::BTreeMap;

use wire::body::assignment::{BatchAck, BatchAckMessageRequestBody};
use wire::body::json;
use wire::command::BatchAckMessage;
use wire::header::NoHeader;
use wire::message::pop::ExtraInfo;

use crate::acknowledging::{Delivered, acknowledge_one, valid};
use crate::cluster::Cluster;
use crate::error::ProxyError;

/// A message may be so many numbers behind the first of its reception: each takes a bit.
const FARTHEST: i64 = 8 * 1024;

/// The messages of one broker.
#[derive(Default)]
struct Batch {
    /// By reception: the kind of its topic, its queue, first message and time.
    acks: BTreeMap<(&'static str, i32, i64, i64), BatchAck>,
    /// Which of all messages these are.
    members: Vec<usize>,
}

impl Batch {
    fn add(&mut self, member: usize, delivered: Delivered<'_>, info: ExtraInfo<'_>, bit: usize) {
        let kind = info.topic_kind.as_str();
        let reception = (kind, info.queue_id, info.start_offset, info.pop_time);
        let ack = self.acks.entry(reception).or_insert_with(|| BatchAck {
            consumer_group: delivered.group.to_owned(),
            topic: delivered.topic.to_owned(),
            retry: kind.to_owned(),
            start_offset: info.start_offset,
            queue_id: info.queue_id,
            revive_queue_id: info.revive_queue_id,
            pop_time: info.pop_time,
            invisible_time: info.invisible_time,
            bit_set: Vec::new(),
        });
        let length = ack.bit_set.len().max(bit / 8 + 1);
        ack.bit_set.resize(length, 0);
        if let Some(byte) = ack.bit_set.get_mut(bit / 8) {
            *byte |= 1 << (bit % 8);
        }
        self.members.push(member);
    }
}

/// Acknowledges messages; says of each what came of it, in their order.
pub(crate) async fn acknowledge(
    cluster: &Cluster,
    delivered: &[Delivered<'_>],
) -> Vec<Result<(), ProxyError>> {
    let mut results = Vec::with_capacity(delivered.len());
    let mut batches: BTreeMap<&str, Batch> = BTreeMap::new();
    for (member, one) in delivered.iter().enumerate() {
        let result = match valid(one.handle) {
            Ok(info) => match bit_of(one, &info) {
                Some(bit) => {
                    let batch = batches.entry(info.broker_name).or_default();
                    batch.add(member, *one, info, bit);
                    Ok(())
                }
                None => acknowledge_one(cluster, *one).await,
            },
            Err(error) => Err(error),
        };
        results.push(result);
    }
    for (broker_name, batch) in batches {
        let sent = send(cluster, broker_name, batch.acks.into_values().collect()).await;
        if let Err(error) = sent {
            for member in batch.members {
                if let Some(result) = results.get_mut(member) {
                    *result = Err(error.clone());
                }
            }
        }
    }
    results
}

/// The bit that stands for a message; `None` if it has to be acknowledged by itself.
fn bit_of(delivered: &Delivered<'_>, info: &ExtraInfo<'_>) -> Option<usize> {
    if delivered.lite_topic.is_some() {
        return None;
    }
    let behind = info.queue_offset?.checked_sub(info.start_offset)?;
    usize::try_from(behind).ok().filter(|_| behind < FARTHEST)
}

async fn send(cluster: &Cluster, broker_name: &str, acks: Vec<BatchAck>) -> Result<(), ProxyError> {
    let broker = cluster.broker_of_handle(broker_name).await?;
    let body = json::write(&BatchAckMessageRequestBody {
        broker_name: broker_name.to_owned(),
        acks,
    });
    let answer = cluster.call::<BatchAckMessage>(&broker, &NoHeader, body);
    answer.await.map(drop).map_err(ProxyError::about_received)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bit(lite_topic: Option<&str>, handle: &str) -> Option<usize> {
        let delivered = Delivered {
            group: "g",
            topic: "t",
            lite_topic,
            handle,
        };
        bit_of(&delivered, &ExtraInfo::decode(handle).unwrap())
    }

    #[test]
    fn messages_of_one_reception_are_bits_of_one_acknowledgement() {
        let mut batch = Batch::default();
        for (member, handle) in [
            "10 7 60000 2 0 b 3 10 0",
            "10 7 60000 2 0 b 3 19 0",
            "10 7 60000 2 1 b 3 10 0",
        ]
        .into_iter()
        .enumerate()
        {
            let delivered = Delivered {
                group: "g",
                topic: "t",
                lite_topic: None,
                handle,
            };
            let info = ExtraInfo::decode(handle).unwrap();
            batch.add(member, delivered, info, bit(None, handle).unwrap());
        }
        let acks: Vec<_> = batch.acks.into_values().collect();
        let seen = acks.iter().map(|ack| (&*ack.retry, &*ack.bit_set));
        assert_eq!(seen.collect::<Vec<_>>(), [("0", &[1, 2][..]), ("1", &[1])]);
        assert_eq!(acks[0].start_offset, 10);
        assert_eq!(batch.members, [0, 1, 2]);
    }

    #[test]
    fn lite_messages_and_those_far_off_are_acknowledged_by_themselves() {
        assert_eq!(bit(Some("l"), "10 7 60000 2 0 b 3 10 0"), None);
        assert_eq!(bit(None, "10 7 60000 2 0 b 3 9 0"), None);
        assert_eq!(bit(None, "0 7 60000 2 0 b 3 8191 0"), Some(8191));
        assert_eq!(bit(None, "0 7 60000 2 0 b 3 8192 0"), None);
    }
}
