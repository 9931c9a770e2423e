//! Handlers of the key-value configuration.

use transport::Reply;
use wire::command::{DeleteKvConfig, GetKvConfig, GetKvListByNamespace, PutKvConfig};
use wire::header::nameserver::GetKVConfigResponse;

use crate::error::NameServerError;
use crate::kv_config::ORDER_TOPIC_CONFIG;
use crate::routes::{Answer, Request};
use crate::state::State;

pub(crate) fn put(state: &State, request: Request<'_, PutKvConfig>) -> Answer<PutKvConfig> {
    let header = &request.header;
    state
        .kv
        .put(&header.namespace, &header.key, &header.value)?;
    show(state, &header.namespace);
    Ok(Reply::empty())
}

pub(crate) fn get(state: &State, request: Request<'_, GetKvConfig>) -> Answer<GetKvConfig> {
    let header = &request.header;
    match state.kv.get(&header.namespace, &header.key) {
        Some(value) => Ok(Reply::ok(GetKVConfigResponse {
            value: Some(value.into()),
        })),
        None => Err(NameServerError::KvNotFound {
            namespace: header.namespace.to_string(),
            key: header.key.to_string(),
        }),
    }
}

pub(crate) fn delete(
    state: &State,
    request: Request<'_, DeleteKvConfig>,
) -> Answer<DeleteKvConfig> {
    let header = &request.header;
    state.kv.delete(&header.namespace, &header.key)?;
    show(state, &header.namespace);
    Ok(Reply::empty())
}

pub(crate) fn list(
    state: &State,
    request: Request<'_, GetKvListByNamespace>,
) -> Answer<GetKvListByNamespace> {
    let namespace = &request.header.namespace;
    let not_found = || NameServerError::NamespaceNotFound(namespace.to_string());
    Ok(Reply::empty().with_body(state.kv.list(namespace).ok_or_else(not_found)?))
}

/// Has routes show what changed in a namespace.
fn show(state: &State, namespace: &str) {
    if namespace == ORDER_TOPIC_CONFIG {
        state.routes.write().touch();
    }
}
