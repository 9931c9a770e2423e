//! The end of lite topics: one without messages for as long as its parent topic's attribute
//! `lite.topic.expiration` says, and with its parent topic (`AbstractLiteLifecycleManager`).

use std::sync::Arc;

use store::StoreError;

use super::order::OrderKey;
use super::{Rules, expiration_minutes, is_parent, queues_below};
use crate::broker::Broker;

/// Deletes the lite topics whose time is over. Reads the disk.
pub(crate) fn expire(broker: &Broker) {
    let settings = &broker.settings().broker;
    let now = broker.now_millis();
    // Before that time no message has come late.
    if now - broker.started_millis < settings.min_lite_ttl {
        return;
    }
    for (name, config) in broker.topics.wrapper().topic_config_table {
        let Some(topic) = broker.topics.get(&name).filter(|topic| is_parent(topic)) else {
            continue;
        };
        let minutes = i64::from(expiration_minutes(&topic));
        if minutes <= 0 {
            continue;
        }
        for queue in queues_below(broker, &config.topic_name) {
            let last = broker
                .store
                .store_timestamp_at(&queue, queue.max_offset() - 1);
            let silent = last.map(|last| now - last);
            let over = |silent: i64| silent >= settings.min_lite_ttl && silent > minutes * 60_000;
            if silent.is_ok_and(over) {
                tracing::info!(light_queue = %queue.topic(), "a lite topic is over");
                if let Err(error) = delete(broker, &name, queue.topic()) {
                    tracing::warn!(light_queue = %queue.topic(), %error, "files of a lite topic stay");
                }
            }
        }
    }
}

/// Deletes all lite topics below a parent topic.
///
/// # Errors
/// If files could not be removed.
pub(crate) fn delete_below(broker: &Broker, parent: &str) -> Result<(), StoreError> {
    for queue in queues_below(broker, parent) {
        delete(broker, parent, queue.topic())?;
    }
    Ok(())
}

/// Deletes a lite topic with what groups have consumed of it.
fn delete(broker: &Broker, parent: &str, light_queue: &Arc<str>) -> Result<(), StoreError> {
    for group in broker.groups.names() {
        let config = broker.groups.get(&group);
        if config.is_some_and(|config| Rules::of(&config).parent() == Some(parent)) {
            broker.lite.orders.remove(&OrderKey {
                group: group.into(),
                light_queue: Arc::clone(light_queue),
            });
        }
    }
    broker.offsets.remove_topic(light_queue);
    broker.lite.state.lock().subscriptions.forget(light_queue);
    broker.store.delete_topic(light_queue)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use config::Live;
    use store::{Append, MemoryDisk};
    use wire::body::topic::TopicConfig;
    use wire::message::{properties, property};

    use super::*;
    use crate::settings::BrokerSettings;
    use crate::test_clock::TestClock;

    const MINUTE: i64 = 60_000;

    fn broker(clock: &TestClock) -> Broker {
        let mut settings = BrokerSettings::default();
        settings.broker.broker_ip = "127.0.0.1".into();
        settings.store.store_path_root_dir = Path::new("/store").display().to_string();
        settings.store.mapped_file_size_commit_log = 1 << 16;
        settings.store.enable_lmq = true;
        settings.store.enable_multi_dispatch = true;
        let disk = Arc::new(MemoryDisk::new());
        Broker::open(
            Live::new(settings),
            10911,
            disk,
            Arc::new(clock.clone()),
            false,
        )
        .unwrap()
    }

    fn parent(broker: &Broker, name: &str, minutes: &str) {
        let attributes = [
            ("+message.type", "LITE"),
            ("+lite.topic.expiration", minutes),
        ];
        let config = TopicConfig {
            topic_name: name.into(),
            attributes: attributes
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..TopicConfig::default()
        };
        broker.topics.upsert(vec![config]).unwrap();
    }

    fn send(broker: &Broker, parent: &str, light_queue: &str) {
        let queue = broker.queue(parent, 0).unwrap();
        let text = properties::encode([(property::INNER_MULTI_DISPATCH, light_queue)]);
        let host = broker.store_host;
        let mut batch = [Append::new(&queue, b"x", text.as_bytes(), host, host)];
        broker.store.append(&mut batch);
        assert!(batch[0].outcome.as_ref().is_some_and(Result::is_ok));
    }

    #[test]
    fn a_lite_topic_ends_when_its_parent_says_and_not_before() {
        let clock = TestClock::new();
        let broker = broker(&clock);
        parent(&broker, "short", "20");
        parent(&broker, "ever", "-1");
        let all = ["%LMQ%$short$a", "%LMQ%$short$b", "%LMQ%$ever$a"];
        for (parent, light_queue) in ["short", "short", "ever"].into_iter().zip(all) {
            send(&broker, parent, light_queue);
        }
        broker.offsets.commit("g", all[0], 0, 1);
        let left = || all.map(|name| broker.store.find_queue(name, 0).is_some());

        clock.advance(20 * MINUTE);
        expire(&broker);
        assert_eq!(left(), [true; 3]);
        send(&broker, "short", all[1]);
        clock.advance(1);
        expire(&broker);
        assert_eq!(left(), [false, true, true]);
        assert_eq!(broker.offsets.query("g", all[0], 0), None);

        // It may come again.
        send(&broker, "short", all[0]);
        expire(&broker);
        assert_eq!(left(), [true; 3]);
        delete_below(&broker, "short").unwrap();
        assert_eq!(left(), [false, false, true]);
    }
}
