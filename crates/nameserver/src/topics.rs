//! Handlers about topics.

use std::time::Duration;

use transport::Reply;
use wire::body::json;
use wire::body::route::TopicRouteData;
use wire::body::topic::TopicList;
use wire::command::{
    DeleteTopicInNamesrv, GetAllTopicListFromNameServer, GetHasUnitSubTopicList,
    GetHasUnitSubUnUnitTopicList, GetRouteInfoByTopic, GetSystemTopicListFromNs,
    GetTopicsByCluster, GetUnitTopicList, RegisterTopicInNamesrv,
};

use crate::error::NameServerError;
use crate::kv_config::ORDER_TOPIC_CONFIG;
use crate::route_answers::{Form, Stamp};
use crate::route_table::RouteTable;
use crate::routes::{Answer, Request};
use crate::state::{State, now};
use crate::zone;

/// `MQVersion.V4_9_4`: clients from here on read standard JSON.
const V4_9_4: i32 = 401;

pub(crate) fn route(
    state: &State,
    request: Request<'_, GetRouteInfoByTopic>,
) -> Answer<GetRouteInfoByTopic> {
    let header = &request.header;
    let settings = state.settings.load();
    let settings = &settings.namesrv;
    let wait = Duration::from_secs(settings.wait_seconds_for_service);
    if settings.need_wait_for_service && now().saturating_duration_since(state.started) < wait {
        return Err(NameServerError::NotReady);
    }
    let standard = request.head.version >= V4_9_4 || header.accept_standard_json_only == Some(true);
    let form = if standard {
        Form::Standard
    } else {
        Form::Plain
    };
    let zone = header
        .zone_name
        .as_deref()
        .filter(|zone| header.zone_mode == Some(true) && !zone.trim().is_empty());

    // Held to the end, so that what is kept for others is of the generation it says.
    let routes = state.routes.read();
    let stamp = Stamp {
        generation: routes.generation(),
        acting_master: settings.support_acting_master,
        order: settings.order_message_enable,
    };
    if zone.is_none()
        && let Some(answer) = state.answers.get(stamp, &header.topic, form)
    {
        return Ok(Reply::empty().with_body(answer));
    }
    let Some(mut route) = routes.route(&header.topic, stamp.acting_master) else {
        return Err(NameServerError::TopicNotExist(header.topic.to_string()));
    };
    if stamp.order {
        route.order_topic_conf = state.kv.get(ORDER_TOPIC_CONFIG, &header.topic);
    }
    if let Some(zone) = zone {
        zone::narrow(&mut route, zone);
        return Ok(Reply::empty().with_body(form.encode(&route)));
    }
    let answer = form.encode(&route);
    state
        .answers
        .put(stamp, &header.topic, form, answer.clone());
    Ok(Reply::empty().with_body(answer))
}

/// Adds a topic's queues. As in the reference success is answered even when a broker is unknown
/// and nothing was done, but the remark says so.
pub(crate) fn register(
    state: &State,
    request: Request<'_, RegisterTopicInNamesrv>,
) -> Answer<RegisterTopicInNamesrv> {
    let topic = &request.header.topic;
    if request.body.is_empty() {
        return Ok(Reply::empty());
    }
    let route: TopicRouteData =
        json::read(request.body).map_err(|error| NameServerError::Body {
            what: "TopicRouteData",
            error,
        })?;
    match state
        .routes
        .write()
        .register_topic(topic, route.queue_datas)
    {
        Ok(()) => Ok(Reply::empty()),
        Err(broker) => {
            tracing::warn!(%topic, broker, "a topic was not registered: its broker is unknown");
            Ok(Reply::empty().with_remark(format!(
                "topic {topic} was not registered: no broker {broker} is registered here"
            )))
        }
    }
}

pub(crate) fn delete(
    state: &State,
    request: Request<'_, DeleteTopicInNamesrv>,
) -> Answer<DeleteTopicInNamesrv> {
    let header = &request.header;
    let cluster = header
        .cluster_name
        .as_deref()
        .filter(|cluster| !cluster.is_empty());
    state.routes.write().delete_topic(&header.topic, cluster);
    tracing::info!(peer = %request.connection.peer(), topic = %header.topic, cluster, "a topic was deleted");
    Ok(Reply::empty())
}

pub(crate) fn all(
    state: &State,
    _: Request<'_, GetAllTopicListFromNameServer>,
) -> Answer<GetAllTopicListFromNameServer> {
    list(
        state,
        state.settings.load().namesrv.enable_all_topic_list,
        RouteTable::all_topics,
    )
}

pub(crate) fn of_cluster(
    state: &State,
    request: Request<'_, GetTopicsByCluster>,
) -> Answer<GetTopicsByCluster> {
    list_if_enabled(state, |routes| {
        routes.topics_of_cluster(&request.header.cluster)
    })
}

pub(crate) fn of_system(
    state: &State,
    _: Request<'_, GetSystemTopicListFromNs>,
) -> Answer<GetSystemTopicListFromNs> {
    list(state, true, RouteTable::system_topics)
}

pub(crate) fn of_units(
    state: &State,
    _: Request<'_, GetUnitTopicList>,
) -> Answer<GetUnitTopicList> {
    list_if_enabled(state, RouteTable::unit_topics)
}

pub(crate) fn with_unit_subscribers(
    state: &State,
    _: Request<'_, GetHasUnitSubTopicList>,
) -> Answer<GetHasUnitSubTopicList> {
    list_if_enabled(state, RouteTable::topics_with_unit_subscribers)
}

pub(crate) fn common_with_unit_subscribers(
    state: &State,
    _: Request<'_, GetHasUnitSubUnUnitTopicList>,
) -> Answer<GetHasUnitSubUnUnitTopicList> {
    list_if_enabled(state, RouteTable::common_topics_with_unit_subscribers)
}

fn list_if_enabled(
    state: &State,
    make: impl FnOnce(&RouteTable) -> TopicList,
) -> Result<Reply, NameServerError> {
    list(state, state.settings.load().namesrv.enable_topic_list, make)
}

fn list(
    state: &State,
    enabled: bool,
    make: impl FnOnce(&RouteTable) -> TopicList,
) -> Result<Reply, NameServerError> {
    if !enabled {
        return Err(NameServerError::ListingDisabled);
    }
    let list = make(&state.routes.read());
    Ok(Reply::empty().with_body(json::write(&list)))
}
