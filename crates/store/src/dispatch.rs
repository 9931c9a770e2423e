//! From a record of the log back to its queue entries, as recovery needs them.

use wire::message::delay_levels::DelayLevels;
use wire::message::names;
use wire::message::properties;
use wire::message::property;
use wire::message::record::RecordRef;
use wire::message::sys_flag::message as sys_flag;
use wire::message::tags;

use crate::append::is_queued;
use crate::consume_queue::{QueueEntry, QueueKind, QueueUnit};

/// One entry of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dispatch {
    pub(crate) topic: String,
    pub(crate) queue_id: i32,
    /// The kind of the topic's queues, as far as the record tells.
    pub(crate) kind: QueueKind,
    pub(crate) unit: QueueUnit,
    /// When the record was stored, in milliseconds since 1970.
    pub(crate) store_timestamp: i64,
}

/// Whether the messages of a topic's simple queues may be in light queues as well
/// (`MixAll.topicAllowsLMQ`); of the system's own topics, which keep messages that are not there
/// yet, none are.
pub(crate) fn feeds_light_queues(topic: &str) -> bool {
    names::topic_allows_lmq(topic) && !names::is_system_topic(topic)
}

/// The entries of a record: one in its queue, for all messages of an inner batch, and one in each
/// light message queue it is in (`CommitLog.checkMessageAndReturnSize`, `ConsumeQueue.multiDispatchLmqQueue`).
pub(crate) fn dispatches(
    record: &RecordRef<'_>,
    physical_offset: i64,
    levels: &DelayLevels,
) -> Vec<Dispatch> {
    if !is_queued(record.sys_flag()) {
        return Vec::new();
    }
    let topic = record.topic().into_owned();
    let text = record.properties();
    let [
        tag,
        delay,
        light_queues,
        light_offsets,
        inner_base,
        inner_num,
    ] = properties::get_each(
        &text,
        [
            property::TAGS,
            property::DELAY_TIME_LEVEL,
            property::INNER_MULTI_DISPATCH,
            property::INNER_MULTI_QUEUE_OFFSET,
            property::INNER_BASE,
            property::INNER_NUM,
        ],
    );
    let level = delay.and_then(|level| level.parse().ok()).unwrap_or(0);
    let tags_code = if topic == names::SCHEDULE_TOPIC && level > 0 {
        record.store_timestamp() + levels.delay_millis(level)
    } else {
        tags::tags_code(tag.filter(|tag| !tag.is_empty()))
    };
    let entry = QueueEntry {
        physical_offset,
        size: record.total_size() as i32,
        tags_code,
    };
    let mut unit = QueueUnit {
        queue_offset: record.queue_offset(),
        count: 1,
        entry,
    };
    let store_timestamp = record.store_timestamp();
    let mut kind = QueueKind::Simple;
    if sys_flag::has(record.sys_flag(), sys_flag::INNER_BATCH) {
        kind = QueueKind::Batch;
        let base = inner_base.and_then(|base| base.parse().ok());
        let count = inner_num.and_then(|count| count.parse().ok());
        if let (Some(base), Some(count @ 1..)) = (base, count) {
            (unit.queue_offset, unit.count) = (base, count);
        }
    }
    let mut all = vec![Dispatch {
        topic,
        queue_id: record.queue_id(),
        kind,
        unit,
        store_timestamp,
    }];
    let feeds = kind == QueueKind::Simple && feeds_light_queues(&record.topic());
    if let (true, Some(queues), Some(offsets)) = (feeds, light_queues, light_offsets) {
        let queues = queues.split(names::LMQ_DISPATCH_SEPARATOR);
        let offsets = offsets.split(names::LMQ_DISPATCH_SEPARATOR);
        for (queue, offset) in queues.zip(offsets) {
            if let Ok(queue_offset) = offset.parse() {
                all.push(Dispatch {
                    topic: queue.to_owned(),
                    queue_id: if names::is_lmq(queue) {
                        names::LMQ_QUEUE_ID
                    } else {
                        record.queue_id()
                    },
                    kind: QueueKind::Simple,
                    unit: QueueUnit {
                        queue_offset,
                        count: 1,
                        entry,
                    },
                    store_timestamp,
                });
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use wire::message::record::{RecordFields, RecordVersion};
    use wire::message::sys_flag::message::TRANSACTION_PREPARED_TYPE;

    fn record(topic: &str, sys_flag: i32, properties: &str) -> BytesMut {
        let fields = RecordFields {
            version: RecordVersion::V1,
            queue_id: 3,
            flag: 0,
            queue_offset: 7,
            physical_offset: 1000,
            sys_flag,
            born_timestamp: 0,
            born_host: ([127, 0, 0, 1], 1).into(),
            store_timestamp: 5_000_000,
            store_host: ([127, 0, 0, 1], 2).into(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: b"body",
            topic,
            properties: properties.as_bytes(),
            more_properties: &[],
            append_record_crc: false,
        };
        let mut bytes = BytesMut::new();
        fields.encode_into(&mut bytes).unwrap();
        bytes
    }

    fn of(bytes: &[u8]) -> Vec<Dispatch> {
        let levels = DelayLevels::parse("1s 5s").unwrap();
        dispatches(&RecordRef::parse(bytes).unwrap(), 1000, &levels)
    }

    #[test]
    fn a_message_goes_to_its_queue_with_its_tag() {
        let bytes = record("t", 0, "TAGS\u{1}TagA\u{2}");
        let entry = QueueEntry {
            physical_offset: 1000,
            size: bytes.len() as i32,
            tags_code: 2_598_919,
        };
        let expected = Dispatch {
            topic: "t".to_owned(),
            queue_id: 3,
            kind: QueueKind::Simple,
            unit: QueueUnit {
                queue_offset: 7,
                count: 1,
                entry,
            },
            store_timestamp: 5_000_000,
        };
        assert_eq!(of(&bytes), [expected]);
    }

    #[test]
    fn a_delayed_message_has_its_delivery_time() {
        let code = |topic, level: &str| {
            of(&record(
                topic,
                0,
                &format!("TAGS\u{1}TagA\u{2}DELAY\u{1}{level}\u{2}"),
            ))[0]
                .unit
                .entry
                .tags_code
        };
        assert_eq!(code(names::SCHEDULE_TOPIC, "2"), 5_005_000);
        assert_eq!(
            code(names::SCHEDULE_TOPIC, "99"),
            5_005_000,
            "the highest level"
        );
        assert_eq!(code(names::SCHEDULE_TOPIC, "0"), 2_598_919);
        assert_eq!(code("t", "2"), 2_598_919);
    }

    #[test]
    fn light_queues_get_an_entry_each() {
        let bytes = record(
            "t",
            0,
            "INNER_MULTI_DISPATCH\u{1}%LMQ%a,%LMQ%b,other\u{2}INNER_MULTI_QUEUE_OFFSET\u{1}4,5,6\u{2}",
        );
        let places: Vec<_> = of(&bytes)
            .into_iter()
            .map(|at| (at.topic, at.queue_id, at.unit.queue_offset))
            .collect();
        assert_eq!(
            places,
            [
                ("t".to_owned(), 3, 7),
                ("%LMQ%a".to_owned(), 0, 4),
                ("%LMQ%b".to_owned(), 0, 5),
                ("other".to_owned(), 3, 6)
            ]
        );
    }

    #[test]
    fn an_inner_batch_is_one_entry_for_all_its_messages() {
        let text = "INNER_BASE\u{1}40\u{2}INNER_NUM\u{1}3\u{2}";
        let place = |sys_flag| {
            let [at] = <[Dispatch; 1]>::try_from(of(&record("t", sys_flag, text))).unwrap();
            (at.kind, at.unit.queue_offset, at.unit.count)
        };
        assert_eq!(place(sys_flag::INNER_BATCH), (QueueKind::Batch, 40, 3));
        // Anybody may send the properties.
        assert_eq!(place(0), (QueueKind::Simple, 7, 1));
    }

    #[test]
    fn half_messages_are_in_no_queue() {
        assert!(of(&record("t", TRANSACTION_PREPARED_TYPE, "")).is_empty());
    }
}
