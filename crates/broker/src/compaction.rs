//! Topics that keep the last message of each key only (`cleanup.policy=COMPACTION`): what they
//! take, and when they are compacted.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;
use wire::message::{properties, property};

use crate::attributes;
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::topics::Topic;

/// Refuses a message without keys where a topic is compacted (`SendMessageProcessor.sendMessage`).
pub(crate) fn check_keys(topic: &Topic, sent: Option<&str>) -> Result<(), BrokerError> {
    let has_keys = || {
        let keys = properties::get(sent.unwrap_or_default(), property::KEYS);
        keys.is_some_and(|keys| !keys.trim().is_empty())
    };
    if attributes::is_compacted(&topic.config.attributes) && !has_keys() {
        return Err(BrokerError::MessageIllegal(
            "Required message key is missing".into(),
        ));
    }
    Ok(())
}

/// Compacts for ever.
pub(crate) async fn run(broker: Arc<Broker>) {
    loop {
        let millis = broker.settings().store.compaction_schedule_internal;
        tokio::time::sleep(Duration::from_millis(u64::from(millis))).await;
        let store = Arc::clone(&broker.store);
        // It reads and writes much.
        let compacted = tokio::task::spawn_blocking(move || store.compact()).await;
        if let Ok(Err(error)) = compacted {
            warn!("messages can't be compacted, trying again later: {error}");
        }
    }
}
