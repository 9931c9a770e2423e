//! What is delivered again: how often, where from, and how much of it may be out.

use config::properties;

use super::*;

impl Rig {
    fn set(&self, line: &str) {
        let changes = properties::parse("test", line.as_bytes()).unwrap();
        self.broker().live.update(&changes).unwrap();
    }
}

#[test]
fn a_delivery_that_is_put_off_is_no_failed_one() {
    let mut rig = Rig::new();
    rig.send(0);
    let got = rig.pop(1, 1000, false).remove(0);
    let hidden = rig.hide(&got, 5000, true).unwrap();
    rig.kill();
    rig.advance(5001);
    let again = rig.pop(1, 1000, false).remove(0);
    assert_eq!((again.number, again.times), (0, 0));
    rig.ack(&hidden).unwrap();
    rig.advance(1000);
    let again = rig.pop(1, 1000, false).remove(0);
    assert_eq!((again.number, again.times), (0, 1));
    rig.hide(&again, 5000, false).unwrap();
    rig.advance(5001);
    let again = rig.pop(1, 1000, false).remove(0);
    assert_eq!((again.number, again.times), (0, 2));

    let store = &rig.broker().store;
    let queue = store.find_queue(&again.topic, again.queue_id).unwrap();
    let message = store.message_at(&queue, again.offset).unwrap().unwrap();
    let record = wire::message::record::RecordRef::parse(&message).unwrap();
    let text = record.properties();
    let group = wire::message::properties::get(&text, property::ORIGIN_GROUP);
    assert_eq!(group, Some(GROUP));
}

#[test]
fn retries_may_keep_to_queues_of_their_own() {
    let rig = Rig::new();
    let queues = |rig: &Rig| -> BTreeMap<u32, i32> {
        rig.advance(1000);
        let all = rig.pop(32, 1000, false);
        let own = all.iter().map(|got| (got.number, got.queue_id));
        own.collect()
    };
    rig.send(0);
    rig.send(1);
    rig.pop(32, 1000, false);
    assert_eq!(queues(&rig), BTreeMap::from([(0, 0), (1, 0)]));
    rig.set("useSeparateRetryQueue=true");
    rig.send(2);
    rig.send(3);
    let from_retries = BTreeMap::from([(0, 0), (1, 0), (2, 0), (3, 1)]);
    assert_eq!(queues(&rig), from_retries, "sent ones first");
    assert_eq!(queues(&rig), from_retries, "then delivered again");
}

#[test]
fn a_group_with_too_much_out_gets_no_more_until_it_acknowledges() {
    let rig = Rig::new();
    rig.set("enablePopMessageThreshold=true\npopInflightMessageThreshold=2");
    (0..12).for_each(|number| rig.send(number * QUEUES as u32));
    let first = rig.pop(2, 1000, false);
    let more = rig.pop(3, 1000, false);
    assert_eq!((first.len(), more.len()), (2, 3), "two are not too many");
    assert!(rig.pop(3, 1000, false).is_empty(), "five are");
    for got in &more {
        rig.ack(got).unwrap();
    }
    assert_eq!(rig.pop(2, 1000, false).len(), 2);
    assert!(rig.pop(1, 1000, false).is_empty());
    rig.set("enablePopMessageThreshold=false");
    assert_eq!(rig.pop(32, 1000, false).len(), 5);
}

#[test]
fn what_a_new_group_received_comes_again_after_a_kill() {
    let mut rig = Rig::new();
    rig.broker().persist();
    rig.send(0);
    let pop = |rig: &Rig, invisible_time| {
        rig.broker().groups.get_or_create("new").unwrap();
        let pop = Pop {
            topic: TOPIC.into(),
            group: "new".into(),
            queue_id: -1,
            filter: Filter::All,
            max_count: 1,
            invisible_time,
            // Behind the last.
            init_mode: 1,
            order: false,
            attempt_id: None,
        };
        let received = pop.receive(rig.broker()).unwrap();
        received.slices.len()
    };
    assert_eq!(pop(&rig, 1000), 1);
    rig.kill();
    assert_eq!(pop(&rig, 1000), 0, "it is out");
    rig.advance(1000);
    assert_eq!(pop(&rig, 1000), 1);
}
