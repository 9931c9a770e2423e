mod cluster;
mod several_brokers;

use super::*;
use store::{MemoryDisk, SystemClock};
use wire::code::ResponseCode;
use wire::header::pull::PullMessageResponse;

fn open(disk: &MemoryDisk) -> StaticTopics {
    let mut settings = BrokerSettings::default();
    settings.store.store_path_root_dir = "/store".into();
    let live = Live::new(settings);
    StaticTopics::open(Arc::new(disk.clone()), Arc::new(SystemClock), &live).unwrap()
}

/// A part from 0 in a queue of broker a, 100 messages long unless it is the last one.
fn part(generation: i32, logic_offset: i64, end_offset: i64) -> LogicQueueMappingItem {
    LogicQueueMappingItem {
        bname: "a".into(),
        generation,
        queue_id: 10 + generation,
        logic_offset,
        end_offset,
        ..Default::default()
    }
}

fn mapping(epoch: i64, parts: &[LogicQueueMappingItem]) -> TopicQueueMappingDetail {
    TopicQueueMappingDetail {
        bname: "a".into(),
        topic: "orders".into(),
        epoch,
        total_queues: 1,
        hosted_queues: [(0, parts.to_vec())].into(),
        ..Default::default()
    }
}

#[test]
fn a_mapping_outlives_a_restart_and_goes_with_its_topic() {
    let disk = MemoryDisk::new();
    let topics = open(&disk);
    assert!(topics.get("orders").is_none());
    let made = mapping(1, &[part(0, 0, 100), part(1, 1000, -1)]);
    topics.upsert(made.clone(), "a", false).unwrap();
    let topics = open(&disk);
    assert_eq!(topics.get("orders").as_deref(), Some(&made));
    assert_eq!(topics.infos()["orders"].curr_id_map, [(0, 11)].into());
    let fields = TopicRpcFields::default();
    let queue = topics.find("orders", 0, &fields).unwrap().unwrap();
    assert_eq!(queue.leader.queue_id, 11);
    let physical = TopicRpcFields {
        logical: Some(false),
        ..fields
    };
    assert!(topics.find("orders", 0, &physical).unwrap().is_none());
    topics.remove("orders").unwrap();
    assert!(open(&disk).get("orders").is_none());
}

#[test]
fn mappings_that_contradict_themselves_or_go_back_are_refused() {
    let topics = open(&MemoryDisk::new());
    let accepted = mapping(5, &[part(0, 0, 100), part(1, 1000, -1)]);
    topics.upsert(accepted.clone(), "a", false).unwrap();
    let other = TopicQueueMappingDetail {
        bname: "b".into(),
        ..accepted.clone()
    };
    for (wrong, remark) in [
        (other, "is for broker b"),
        (mapping(6, &[part(0, 0, 100), part(0, 1000, -1)]), "The gen"),
        (
            mapping(6, &[part(0, -1, 100), part(1, 1000, -1)]),
            "negative logic offset",
        ),
        (
            mapping(6, &[part(0, 0, 100), part(1, 0, -1)]),
            "The base logic offset",
        ),
        (
            mapping(6, &[part(0, 0, 100), part(1, 100, -1)]),
            "The max logic offset",
        ),
        (mapping(4, &[part(0, 0, -1)]), "small epoch 4 < 5"),
        (mapping(5, &[part(0, 0, -1)]), "The new leader is different"),
        (mapping(6, &[]), "null or empty"),
    ] {
        let error = topics.upsert(wrong, "a", false).unwrap_err().to_string();
        assert!(error.contains(remark), "{error}");
    }
    assert_eq!(topics.get("orders").as_deref(), Some(&accepted));
    topics
        .upsert(mapping(1, &[part(0, 0, -1)]), "a", true)
        .unwrap();
}

#[test]
fn only_the_leader_answers_for_a_queue() {
    let topics = open(&MemoryDisk::new());
    let moved = LogicQueueMappingItem {
        bname: "b".into(),
        ..part(1, 1000, -1)
    };
    let made = mapping(1, &[part(0, 0, 100), moved]);
    topics.upsert(made, "a", false).unwrap();
    for queue_id in [0, 1, -1] {
        let fields = TopicRpcFields::default();
        let error = topics.find("orders", queue_id, &fields).unwrap_err();
        let refusal = error.refusal();
        assert_eq!(refusal.code, ResponseCode::NotLeaderForQueue);
    }
}

/// What a reader at an offset of a logical queue of three parts is told, when the queue that it
/// reads has messages from `min` to `max` and answers `code`: the code, where to go on, the
/// first and last offset, and the delta.
fn told(
    offset: i64,
    code: ResponseCode,
    (next, min, max): (i64, i64, i64),
) -> (ResponseCode, i64, i64, i64, i64) {
    let parts = [part(0, 0, 100), part(1, 1000, 100), part(2, 2000, -1)];
    let mapping = Arc::new(mapping(1, &parts));
    let queue = LogicalQueue::led_here(mapping, 0).unwrap();
    let pull = LogicalPull::new(queue, offset).unwrap();
    let mut answer = PullMessageResponse {
        next_begin_offset: next,
        min_offset: min,
        max_offset: max,
        ..Default::default()
    };
    let code = pull.rewrite(code, &mut answer);
    let PullMessageResponse {
        next_begin_offset,
        min_offset,
        max_offset,
        ..
    } = answer;
    let delta = answer.offset_delta.unwrap();
    (code, next_begin_offset, min_offset, max_offset, delta)
}

#[test]
fn readers_go_from_part_to_part() {
    use ResponseCode::{PullNotFound, PullOffsetMoved, PullRetryImmediately, Success};
    // In the middle of a part.
    let first = told(50, Success, (82, 0, 100));
    assert_eq!(first, (Success, 82, 0, 2000, 0));
    let middle = told(1050, Success, (82, 0, 100));
    assert_eq!(middle, (Success, 1082, 1000, 2000, 1000));
    // At the end of a part.
    let end = told(100, PullNotFound, (100, 0, 100));
    assert_eq!(end, (PullRetryImmediately, 1000, 1000, 2000, 1000));
    let hole = told(500, PullOffsetMoved, (100, 0, 100));
    assert_eq!(hole, (PullRetryImmediately, 1000, 1000, 2000, 1000));
    let end = told(1100, PullNotFound, (100, 0, 100));
    assert_eq!(end, (PullRetryImmediately, 2000, 2000, 2000, 2000));
    // At the end of all.
    let end = told(2007, PullNotFound, (7, 0, 7));
    assert_eq!(end, (PullNotFound, 2007, 2000, 2007, 2000));
    let beyond = told(2050, PullOffsetMoved, (7, 0, 7));
    assert_eq!(beyond, (PullOffsetMoved, 2007, 2000, 2007, 2000));
    // Before messages that are gone.
    let gone = told(5, PullOffsetMoved, (20, 20, 100));
    assert_eq!(gone, (PullOffsetMoved, 20, 20, 2000, 0));
    let gone = told(1005, PullOffsetMoved, (20, 20, 100));
    assert_eq!(gone, (PullRetryImmediately, 1020, 1020, 2000, 1000));
}
