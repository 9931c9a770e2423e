//! LITE_SUBSCRIPTION_CTL: which lite topics clients want (`LiteSubscriptionCtlProcessor`,
//! `LiteSubscriptionRegistryImpl`).

use std::sync::Arc;

use bytes::Bytes;
use transport::{Body, Connection, Reply};
use wire::body::json;
use wire::body::lite::{
    LiteSubscriptionAction, LiteSubscriptionCtlRequestBody, LiteSubscriptionDto, OffsetOption,
    OffsetOptionType,
};
use wire::command::{Command, NotifyUnsubscribeLite};
use wire::frame::{Head, SerializeType};
use wire::header::lite::{LiteSubscriptionCtlRequest, NotifyUnsubscribeLiteRequest};
use wire::message::names;

use super::order::OrderKey;
use super::subscriptions::Subscriptions;
use super::{Rules, WILDCARD_DELAY_MILLIS, queue, wildcard_name};
use crate::broker::Broker;
use crate::error::BrokerError;
use crate::routes::Call;

/// [`OffsetOptionType::Policy`]: from the first message.
const POLICY_FIRST: i64 = 1;
/// [`OffsetOptionType::Policy`]: behind the last message.
const POLICY_BEHIND_LAST: i64 = 2;

/// LITE_SUBSCRIPTION_CTL: clients subscribe to lite topics and leave them.
pub(crate) async fn control(
    broker: &Arc<Broker>,
    call: &Call,
    _: LiteSubscriptionCtlRequest<'_>,
    body: Bytes,
) -> Result<Reply, BrokerError> {
    if body.is_empty() {
        return Err(BrokerError::IllegalOperation(
            "Request body is null.".into(),
        ));
    }
    let body: LiteSubscriptionCtlRequestBody =
        json::read(&body).map_err(|error| BrokerError::Body(error.to_string()))?;
    if body.subscription_set.is_empty() {
        return Err(BrokerError::IllegalOperation(
            "LiteSubscriptionCtlRequestBody is empty.".into(),
        ));
    }
    for change in &body.subscription_set {
        let names = [&change.client_id, &change.group, &change.topic];
        if names.iter().any(|name| name.trim().is_empty()) {
            tracing::warn!(
                ?change,
                "a subscription to lite topics names not all it must"
            );
            continue;
        }
        apply(broker, &call.connection, change)?;
    }
    Ok(Reply::empty())
}

fn apply(
    broker: &Broker,
    connection: &Arc<Connection>,
    change: &LiteSubscriptionDto,
) -> Result<(), BrokerError> {
    let named = change.lite_topic_set.iter();
    let light_queues: Vec<Arc<str>> = named
        .filter_map(|lite| names::lite_lmq_name(&change.topic, lite))
        .map(Arc::from)
        .collect();
    let config = broker.groups.get(&change.group);
    let config = config.as_deref();
    let rules = config.map(Rules::of);
    let may_consume = config.is_some_and(|config| config.consume_enable);
    let consuming = rules.as_ref().filter(|_| may_consume).ok_or_else(|| {
        BrokerError::IllegalOperation("Consumer group is not allowed to consume.".into())
    });
    match change.action {
        LiteSubscriptionAction::PartialAdd => {
            add_some(broker, connection, change, &light_queues, consuming?)?;
        }
        LiteSubscriptionAction::PartialRemove => {
            let resets = rules.as_ref().is_some_and(Rules::resets_when_left);
            for light_queue in &light_queues {
                let removed = {
                    let subscriptions = &mut broker.lite.state.lock().subscriptions;
                    subscriptions.remove(&change.client_id, light_queue)
                };
                if removed && resets {
                    start_anew(broker, &change.group, light_queue);
                }
            }
        }
        LiteSubscriptionAction::CompleteAdd => {
            replace_all(broker, connection, change, &light_queues, consuming?);
        }
        LiteSubscriptionAction::CompleteRemove => broker.lite.leave(broker, &change.client_id),
    }
    Ok(())
}

/// Subscribes a client to more lite topics.
fn add_some(
    broker: &Broker,
    connection: &Arc<Connection>,
    change: &LiteSubscriptionDto,
    light_queues: &[Arc<str>],
    rules: &Rules<'_>,
) -> Result<(), BrokerError> {
    let max = broker.settings().broker.max_lite_subscription_count;
    if broker.lite.state.lock().subscriptions.len() >= max {
        return Err(BrokerError::LiteSubscriptionQuota(format!(
            "lite subscription quota exceeded {max}"
        )));
    }
    if rules.is_wildcard() {
        return Err(BrokerError::IllegalOperation(
            "subscribe lite operation is not supported for this group".into(),
        ));
    }
    open(
        broker,
        connection,
        change,
        &mut broker.lite.state.lock().subscriptions,
    );
    for light_queue in light_queues {
        add(broker, change, light_queue, Some(rules));
    }
    Ok(())
}

/// Subscribes a client to these lite topics and no others; to all, if its group takes all.
fn replace_all(
    broker: &Broker,
    connection: &Arc<Connection>,
    change: &LiteSubscriptionDto,
    light_queues: &[Arc<str>],
    rules: &Rules<'_>,
) {
    let client = &change.client_id;
    let mut state = broker.lite.state.lock();
    open(broker, connection, change, &mut state.subscriptions);
    if rules.is_wildcard() {
        if state.subscriptions.add_all(client) {
            let at = broker.now_millis() + WILDCARD_DELAY_MILLIS;
            state.events.look_later(&wildcard_name(&change.group), at);
        }
        return;
    }
    let before = state.subscriptions.of_client(client);
    let mut left: Vec<Arc<str>> = before
        .map(|before| before.light_queues.iter().cloned().collect())
        .unwrap_or_default();
    left.retain(|light_queue| !light_queues.contains(light_queue));
    for light_queue in left {
        state.subscriptions.remove(client, &light_queue);
    }
    drop(state);
    for light_queue in light_queues {
        add(broker, change, light_queue, None);
    }
}

fn open(
    broker: &Broker,
    connection: &Arc<Connection>,
    change: &LiteSubscriptionDto,
    subscriptions: &mut Subscriptions,
) {
    let (client, group, topic) = (&change.client_id, &change.group, &change.topic);
    subscriptions.open(client, group, topic, Some(connection), broker.now_millis());
}

/// Subscribes a client to a lite topic. With rules, as by a single subscription: others may have
/// to leave it, and the client may say where to start.
fn add(
    broker: &Broker,
    change: &LiteSubscriptionDto,
    light_queue: &Arc<str>,
    rules: Option<&Rules<'_>>,
) {
    let (client, group) = (&change.client_id, &change.group);
    if let Some(rules) = rules {
        if rules.is_exclusive() {
            exclude_others(broker, rules, change, light_queue);
        }
        if let Some(option) = change.offset_option {
            reset(broker, group, light_queue, option);
        }
    }
    let added = broker
        .lite
        .state
        .lock()
        .subscriptions
        .add(client, light_queue);
    if added && queue(broker, light_queue).is_some() {
        broker.lite.dispatch(broker, light_queue, Some(group), None);
    }
}

/// Takes a lite topic from the other clients of the group, and tells them.
fn exclude_others(
    broker: &Broker,
    rules: &Rules<'_>,
    change: &LiteSubscriptionDto,
    light_queue: &Arc<str>,
) {
    let (client, group) = (&*change.client_id, &*change.group);
    let of_queue = broker.lite.state.lock().subscriptions.of_queue(light_queue);
    let of_group = of_queue.into_iter().filter(|of| &*of.group == group);
    for other in of_group.flat_map(|of| of.clients) {
        if &*other == client {
            continue;
        }
        let connection = {
            let subscriptions = &mut broker.lite.state.lock().subscriptions;
            subscriptions.remove(&other, light_queue);
            let subscription = subscriptions.of_client(&other);
            subscription.and_then(|of| of.connection.clone())
        };
        if let (Some(connection), Some((_, lite_topic))) =
            (connection, names::parent_and_lite_topic(light_queue))
        {
            let header = NotifyUnsubscribeLiteRequest {
                lite_topic: lite_topic.into(),
                consumer_group: group.into(),
                client_id: (&*other).into(),
                ..Default::default()
            };
            let head = Head::request(NotifyUnsubscribeLite::CODE as i32, SerializeType::Json);
            // Who can't be told finds out by its next complete subscription.
            if let Err(error) = connection.oneway(head, &header, Body::Empty) {
                tracing::debug!(group, client = %other, %error, "not told that it lost a lite topic");
            }
        }
        if rules.resets_when_taken() {
            start_anew(broker, group, light_queue);
        }
    }
}

fn start_anew(broker: &Broker, group: &str, light_queue: &Arc<str>) {
    let option = OffsetOption {
        option_type: OffsetOptionType::Policy,
        value: POLICY_FIRST,
    };
    reset(broker, group, light_queue, option);
}

/// Sets where a group goes on in a lite topic.
fn reset(broker: &Broker, group: &str, light_queue: &Arc<str>, option: OffsetOption) {
    let current = broker
        .offsets
        .query(group, light_queue, names::LMQ_QUEUE_ID);
    let end = || queue(broker, light_queue).map_or(0, |queue| queue.max_offset());
    let target = match (option.option_type, option.value) {
        (OffsetOptionType::Policy, POLICY_FIRST) => Some(0),
        (OffsetOptionType::Policy, POLICY_BEHIND_LAST) => Some(end()),
        (OffsetOptionType::Offset, offset) => Some(offset),
        (OffsetOptionType::TailN, count) => {
            let known = current.filter(|offset| *offset >= 0);
            known.map(|offset| offset.saturating_sub(count).max(0))
        }
        (OffsetOptionType::Policy | OffsetOptionType::Timestamp, _) => None,
    };
    if let Some(target) = target.filter(|target| Some(*target) != current) {
        broker
            .offsets
            .assign_reset(group, light_queue, names::LMQ_QUEUE_ID, target);
        broker.lite.orders.remove(&OrderKey {
            group: group.into(),
            light_queue: Arc::clone(light_queue),
        });
    }
}
