//! Handlers about brokers.

use std::time::Duration;

use transport::Reply;
use wire::body::json;
use wire::body::register::RegisterBrokerBody;
use wire::body::route::GetBrokerMemberGroupResponseBody;
use wire::body::version::DataVersion;
use wire::command::{
    AddWritePermOfBroker, BrokerHeartbeat, GetBrokerClusterInfo, GetBrokerMemberGroup,
    QueryDataVersion, RegisterBroker, UnregisterBroker, WipeWritePermOfBroker,
};
use wire::header::nameserver::{
    AddWritePermOfBrokerResponse, QueryDataVersionResponse, RegisterBrokerResponse,
    WipeWritePermOfBrokerResponse,
};
use wire::message::record::crc32;

use crate::error::NameServerError;
use crate::kv_config::ORDER_TOPIC_CONFIG;
use crate::route_table::{BrokerLink, Departure, Registration, WritePermission};
use crate::routes::{Answer, Request};
use crate::state::{State, now};

/// `MQVersion.V3_0_11`: the body of older brokers is the topics alone.
const V3_0_11: i32 = 37;

/// A broker counts as gone after so long without a word, unless it says otherwise
/// (`RouteInfoManager.DEFAULT_BROKER_CHANNEL_EXPIRED_TIME`).
const SILENCE: Duration = Duration::from_secs(120);

pub(crate) fn register(
    state: &State,
    request: Request<'_, RegisterBroker>,
) -> Answer<RegisterBroker> {
    let header = &request.header;
    // 0 means that the broker did not make one.
    let checksum = header.body_crc32.unwrap_or(0);
    if checksum != 0 && crc32(request.body) as i32 != checksum {
        return Err(NameServerError::ChecksumMismatch);
    }
    let (body, filter_servers) = registered_body(&request)?;
    let registration = Registration {
        cluster: &header.cluster_name,
        broker_name: &header.broker_name,
        broker_id: header.broker_id,
        address: &header.broker_addr,
        ha_address: &header.ha_server_addr,
        zone: header.zone_name.as_deref(),
        timeout: header.heartbeat_timeout_millis.map_or(SILENCE, |millis| {
            Duration::from_millis(millis.max(0).unsigned_abs())
        }),
        acting_master: header.enable_acting_master,
        topics: body.topic_config_serialize_wrapper,
        filter_servers,
        link: BrokerLink::of(request.connection),
    };
    let settings = state.settings.load();
    let settings = &settings.namesrv;
    let delete_missing = settings.delete_topic_with_broker_registration;
    let registered = state
        .routes
        .write()
        .register(registration, delete_missing, now())?;
    state.notify(registered.min_broker_id_change);
    if !request.connection.is_open() {
        // It closed before the broker was known, so nobody has taken the broker out.
        state.disconnected(request.connection);
    }
    let header = registered.master.map(|master| RegisterBrokerResponse {
        ha_server_addr: Some(master.ha_address.into()),
        master_addr: Some(master.address.into()),
    });
    let reply = Reply::ok(header.unwrap_or_default());
    let order = settings
        .return_order_topic_config_to_broker
        .then(|| state.kv.list(ORDER_TOPIC_CONFIG));
    Ok(match order.flatten() {
        Some(order) => reply.with_body(order),
        None => reply,
    })
}

/// What a broker registers, in whichever of the three forms; filter servers only from brokers
/// that know of them.
fn registered_body(
    request: &Request<'_, RegisterBroker>,
) -> Result<(RegisterBrokerBody, Option<Vec<String>>), NameServerError> {
    let knows_filters = request.head.version >= V3_0_11;
    let read =
        |what, body: Result<_, _>| body.map_err(|error| NameServerError::Body { what, error });
    let mut body = RegisterBrokerBody::default();
    if !request.body.is_empty() {
        if !knows_filters {
            body.topic_config_serialize_wrapper =
                json::read(request.body).map_err(|error| NameServerError::Body {
                    what: "TopicConfigSerializeWrapper",
                    error,
                })?;
        } else if request.header.compressed {
            body = read(
                "RegisterBrokerBody",
                RegisterBrokerBody::decompress(request.body),
            )?;
        } else {
            body = read("RegisterBrokerBody", json::read(request.body))?;
        }
    }
    let filter_servers = knows_filters.then(|| std::mem::take(&mut body.filter_server_list));
    Ok((body, filter_servers))
}

pub(crate) fn unregister(
    state: &State,
    request: Request<'_, UnregisterBroker>,
) -> Answer<UnregisterBroker> {
    let header = request.header;
    let departure = Departure {
        cluster: header.cluster_name.into_owned(),
        broker_name: header.broker_name.into_owned(),
        address: header.broker_addr.into_owned(),
    };
    let changes = state.routes.write().unregister(&[departure]);
    state.notify(changes);
    Ok(Reply::empty())
}

pub(crate) fn heartbeat(
    state: &State,
    request: Request<'_, BrokerHeartbeat>,
) -> Answer<BrokerHeartbeat> {
    let header = &request.header;
    state
        .routes
        .write()
        .heartbeat(&header.cluster_name, &header.broker_addr, now());
    Ok(Reply::empty())
}

/// Tells a broker whether it has to register again; asking counts as a heartbeat.
pub(crate) fn query_data_version(
    state: &State,
    request: Request<'_, QueryDataVersion>,
) -> Answer<QueryDataVersion> {
    let header = &request.header;
    let asked: Option<DataVersion> = match request.body {
        [] => None,
        body => json::read(body).map_err(|error| NameServerError::Body {
            what: "DataVersion",
            error,
        })?,
    };
    let mut routes = state.routes.write();
    routes.heartbeat(&header.cluster_name, &header.broker_addr, now());
    let known = routes.data_version(&header.cluster_name, &header.broker_addr);
    drop(routes);
    let changed = known.is_none() || known != asked;
    let reply = Reply::ok(QueryDataVersionResponse { changed });
    Ok(match known {
        Some(known) => reply.with_body(json::write(&known)),
        None => reply,
    })
}

pub(crate) fn member_group(
    state: &State,
    request: Request<'_, GetBrokerMemberGroup>,
) -> Answer<GetBrokerMemberGroup> {
    let header = &request.header;
    let broker_member_group = state
        .routes
        .read()
        .member_group(&header.cluster_name, &header.broker_name);
    let body = GetBrokerMemberGroupResponseBody {
        broker_member_group,
    };
    Ok(Reply::empty().with_body(json::write(&body)))
}

pub(crate) fn cluster_info(
    state: &State,
    _: Request<'_, GetBrokerClusterInfo>,
) -> Answer<GetBrokerClusterInfo> {
    let body = json::write(state.routes.read().cluster_info());
    Ok(Reply::empty().with_body(body))
}

pub(crate) fn wipe_write_permission(
    state: &State,
    request: Request<'_, WipeWritePermOfBroker>,
) -> Answer<WipeWritePermOfBroker> {
    let name = &request.header.broker_name;
    let wipe_topic_count = state
        .routes
        .write()
        .change_permission(name, WritePermission::Wipe);
    tracing::info!(peer = %request.connection.peer(), broker_name = %name, topics = wipe_topic_count, "a broker's topics were made read-only");
    Ok(Reply::ok(WipeWritePermOfBrokerResponse {
        wipe_topic_count,
    }))
}

pub(crate) fn add_write_permission(
    state: &State,
    request: Request<'_, AddWritePermOfBroker>,
) -> Answer<AddWritePermOfBroker> {
    let name = &request.header.broker_name;
    let add_topic_count = state
        .routes
        .write()
        .change_permission(name, WritePermission::Add);
    tracing::info!(peer = %request.connection.peer(), broker_name = %name, topics = add_topic_count, "a broker's topics were made writable");
    Ok(Reply::ok(AddWritePermOfBrokerResponse { add_topic_count }))
}
