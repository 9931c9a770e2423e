//! Handlers of the name server's own configuration.

use std::path::Path;

use transport::Reply;
use wire::command::{GetNamesrvConfig, UpdateNamesrvConfig};

use crate::error::NameServerError;
use crate::kept_file;
use crate::routes::{Answer, Request};
use crate::state::State;

/// Keys that no request may change, whatever `configBlackList` says.
const NEVER: [&str; 4] = [
    "configBlackList",
    "configStorePath",
    "kvConfigPath",
    "rocketmqHome",
];

pub(crate) fn get(state: &State, _: Request<'_, GetNamesrvConfig>) -> Answer<GetNamesrvConfig> {
    Ok(Reply::empty().with_body(state.settings.properties()))
}

/// Changes settings and keeps them in `configStorePath`.
pub(crate) fn update(
    state: &State,
    request: Request<'_, UpdateNamesrvConfig>,
) -> Answer<UpdateNamesrvConfig> {
    let changes = config::properties::parse("request", request.body)?;
    let settings = state.settings.load();
    let listed = settings.namesrv.config_black_list.split(';');
    let forbidden: Vec<_> = NEVER.into_iter().chain(listed.map(str::trim)).collect();
    if changes
        .iter()
        .any(|change| forbidden.contains(&change.key.as_str()))
    {
        return Err(NameServerError::InBlackList);
    }
    let updated = state.settings.update(&changes)?;
    for change in &updated.changed {
        let (key, from, to) = (change.key, change.from.as_deref(), change.to.as_deref());
        tracing::info!(peer = %request.connection.peer(), key, from, to, "a setting was changed");
    }
    let path = Path::new(&settings.namesrv.config_store_path);
    if updated.changed.is_empty() {
        return Ok(Reply::empty());
    }
    if path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
    {
        // Writing it anew would lose its comments and order, which are the point of the format.
        let remark = format!(
            "the change holds until the next start: edit {} to keep it",
            path.display()
        );
        return Ok(Reply::empty().with_remark(remark));
    }
    let content = state.settings.properties();
    kept_file::replace(path, content.as_bytes()).map_err(|error| NameServerError::NotKept {
        path: path.to_owned(),
        reason: error.to_string(),
        consequence: "the change holds until the next start only",
    })?;
    Ok(Reply::empty())
}
