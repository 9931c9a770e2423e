//! The broker's configuration.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use config::{Change, properties};
use store::ConfigFile;
use transport::Reply;
use wire::body::json;
use wire::header::NoHeader;
use wire::header::broker::GetBrokerConfigResponse;

use crate::broker::Broker;
use crate::error::BrokerError;
use crate::routes::Call;

/// Keys that no request may change, whatever `configBlackList` says.
const LOCKED: [&str; 3] = ["brokerConfigPath", "rocketmqHome", "configBlackList"];

/// GET_BROKER_CONFIG: all settings as properties.
pub(crate) async fn get(
    broker: &Arc<Broker>,
    _: &Call,
    _: NoHeader,
    _: Bytes,
) -> Result<Reply<GetBrokerConfigResponse<'static>>, BrokerError> {
    let version = json::write(&*broker.config_version.lock());
    let version = String::from_utf8_lossy(&version).into_owned();
    let header = GetBrokerConfigResponse {
        version: version.into(),
    };
    Ok(Reply::ok(header).with_body(broker.live.properties()))
}

/// UPDATE_BROKER_CONFIG: changes settings, all or none.
pub(crate) async fn update(
    broker: &Arc<Broker>,
    call: &Call,
    _: NoHeader,
    body: Bytes,
) -> Result<Reply, BrokerError> {
    Ok(match change(broker, call, &body)? {
        None => Reply::empty(),
        Some(problem) => Reply::empty().with_remark(problem),
    })
}

/// Changes settings, all or none, and keeps them; returns why they are not kept, if so.
pub(crate) fn change(
    broker: &Arc<Broker>,
    call: &Call,
    lines: &[u8],
) -> Result<Option<String>, BrokerError> {
    let refused = |error: config::ConfigError| BrokerError::System(error.to_string());
    let changes = properties::parse("request", lines).map_err(refused)?;
    let settings = broker.settings();
    let is_locked = |key: &str| {
        let mut black_list = settings.broker.config_black_list.split(';').map(str::trim);
        LOCKED.contains(&key) || black_list.any(|locked| locked == key)
    };
    if changes.iter().any(|change| is_locked(&change.key)) {
        return Err(BrokerError::NoPermission(
            "Can not update config in black list.".into(),
        ));
    }
    let updated = broker.live.update(&changes).map_err(refused)?;
    if updated.changed.is_empty() {
        return Ok(None);
    }
    broker.store.reconfigure(broker.settings().store.clone());
    broker.config_version.lock().advance(0, broker.now_millis());
    for change in &updated.changed {
        let (key, from, to) = (change.key, &change.from, &change.to);
        tracing::info!(by = %call.connection.peer(), key, ?from, ?to, "setting changed");
    }
    // Name servers tell clients what they may do here.
    let permission = |change: &Change| change.key == "brokerPermission";
    if updated.changed.iter().any(permission) {
        broker.topics.mark_changed();
    }
    match settings.broker.broker_config_path.as_deref() {
        Some(path) if !is_toml(path) => keep(broker, path, &updated.changed)?,
        Some(path) => {
            let remark =
                format!("the change holds until the broker stops: {path} is not rewritten");
            return Ok(Some(remark));
        }
        None => {}
    }
    Ok(None)
}

fn is_toml(path: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
}

/// Writes changed values into the configuration file; what else stands there stays.
fn keep(broker: &Broker, path: &str, changed: &[Change]) -> Result<(), BrokerError> {
    let file = ConfigFile::new(Arc::clone(broker.store.disk()), path);
    let text = file.load()?.unwrap_or_default();
    let values: Vec<(&str, &str)> = changed
        .iter()
        .map(|change| (change.key, change.to.as_deref().unwrap_or_default()))
        .collect();
    let amended = properties::amend(path, &text, &values)
        .map_err(|error| BrokerError::System(error.to_string()))?;
    Ok(file.save(amended.as_bytes())?)
}
