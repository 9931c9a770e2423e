//! How much old data groups may read, as tools set and see it (`ColdDataCgCtrService`).
//!
//! Reading old data takes no memory from others here, so that nobody is held up: it is as with
//! the reference's `coldDataFlowControlEnable` switched off. The thresholds are kept until the
//! broker stops.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use config::properties;
use parking_lot::Mutex;
use serde::Serialize;
use transport::Reply;
use wire::body::json;
use wire::header::NoHeader;

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::routes::Call;

/// Bytes that a group may read of old data in a period, where an administrator has set them: at
/// most one entry for each group that there is.
#[derive(Debug, Default)]
pub(crate) struct ColdDataThresholds(Mutex<BTreeMap<String, i64>>);

impl ColdDataThresholds {
    /// Forgets the threshold of a group.
    pub(crate) fn forget(&self, group: &str) {
        self.0.lock().remove(group);
    }
}

/// What GET_COLD_DATA_FLOW_CTR_INFO tells.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ColdDataInfo {
    cg_cold_read_threshold: i64,
    config_table: BTreeMap<String, i64>,
    global_acc: i64,
    global_cold_read_threshold: i64,
    runtime_table: BTreeMap<String, i64>,
}

/// UPDATE_COLD_DATA_FLOW_CTR_CONFIG: sets thresholds, `group=bytes` a line, all or none.
pub(crate) async fn update(
    broker: &Arc<Broker>,
    _: &Call,
    _: NoHeader,
    body: Bytes,
) -> Result<Reply, BrokerError> {
    let lines = properties::parse("request", &body);
    let lines = lines.map_err(|error| BrokerError::Body(error.to_string()))?;
    let mut thresholds = BTreeMap::new();
    for line in lines {
        let (group, bytes) = (line.key, line.value);
        broker.existing_group(&group)?;
        let bytes = bytes.parse().map_err(|_| {
            BrokerError::Body(format!(
                "the threshold of group {group} is a number of bytes, not `{bytes}`"
            ))
        })?;
        thresholds.insert(group, bytes);
    }
    broker.cold_data.0.lock().extend(thresholds);
    Ok(Reply::empty())
}

/// REMOVE_COLD_DATA_FLOW_CTR_CONFIG: forgets the threshold of the group in the body.
pub(crate) async fn remove(
    broker: &Arc<Broker>,
    _: &Call,
    _: NoHeader,
    body: Bytes,
) -> Result<Reply, BrokerError> {
    let group = String::from_utf8_lossy(&body);
    broker.cold_data.forget(&group);
    Ok(Reply::empty())
}

/// GET_COLD_DATA_FLOW_CTR_INFO: all thresholds, and what was read: nothing that counts.
pub(crate) async fn info(
    broker: &Arc<Broker>,
    _: &Call,
    _: NoHeader,
    _: Bytes,
) -> Result<Reply, BrokerError> {
    let settings = broker.settings();
    let info = ColdDataInfo {
        cg_cold_read_threshold: settings.broker.cg_cold_read_threshold,
        config_table: broker.cold_data.0.lock().clone(),
        global_acc: 0,
        global_cold_read_threshold: settings.broker.global_cold_read_threshold,
        runtime_table: BTreeMap::new(),
    };
    Ok(Reply::empty().with_body(json::write(&info)))
}
