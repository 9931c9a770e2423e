//! Lite topics: which of them clients want (`ClientProcessor`, `LiteSubscriptionService`). Brokers
//! keep that; what they give a client they choose by its id.

use parking_lot::Mutex;
use tokio::time::Instant;
use transport::Body;
use wire::body::group::SubscriptionGroupConfig;
use wire::body::json;
use wire::body::lite::{
    LiteSubscriptionAction as Action, LiteSubscriptionCtlRequestBody, LiteSubscriptionDto,
    OffsetOption, OffsetOptionType,
};
use wire::command::LiteSubscriptionCtl;
use wire::grpc::{
    Code, LiteSubscriptionAction, OffsetPolicy, OffsetType, PubSub, Settings, Subscription,
    SyncLiteSubscriptionRequest, SyncLiteSubscriptionResponse,
};
use wire::header::lite::LiteSubscriptionCtlRequest;

use crate::call::Call;
use crate::clients::is_lite;
use crate::cluster::Cluster;
use crate::error::{ProxyError, status};
use crate::proxy::State;
use crate::validate;

/// So many lite topics above its quota a client may name: the broker counts them one by one.
const QUOTA_SLACK: i64 = 300;

/// How many requests of a kind are let in: so many a second, and as many at once when there were
/// fewer before.
pub(crate) struct Rate {
    per_second: u32,
    /// How many are let in now, as of then.
    left: Mutex<(f64, Instant)>,
}

impl Rate {
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            per_second,
            left: Mutex::new((per_second.into(), Instant::now())),
        }
    }

    /// Whether one more is let in now; it counts then.
    fn admits(&self) -> bool {
        let most = f64::from(self.per_second);
        let mut left = self.left.lock();
        let (before, then) = *left;
        let now = Instant::now();
        let earned = now.duration_since(then).as_secs_f64() * most;
        let has = (before + earned).min(most);
        let admits = has >= 1.0;
        *left = (if admits { has - 1.0 } else { has }, now);
        admits
    }
}

/// A client says which lite topics it wants.
pub(crate) async fn subscribe(
    call: Call,
    request: SyncLiteSubscriptionRequest,
) -> Result<SyncLiteSubscriptionResponse, ProxyError> {
    let topic = validate::topic(request.topic.as_ref())?;
    let group = validate::group(request.group.as_ref())?;
    let named = &request.lite_topic_set;
    let (config, cluster) = (&call.state.config, &call.state.cluster);
    let action = match LiteSubscriptionAction::try_from(request.action) {
        Ok(LiteSubscriptionAction::PartialAdd) => Action::PartialAdd,
        Ok(LiteSubscriptionAction::PartialRemove) => Action::PartialRemove,
        Ok(LiteSubscriptionAction::CompleteAdd) => Action::CompleteAdd,
        Ok(LiteSubscriptionAction::CompleteRemove) => Action::CompleteRemove,
        Err(unknown) => {
            let unknown = format!("unknown LiteSubscriptionAction: {unknown}");
            return Err(ProxyError::new(Code::InternalServerError, unknown));
        }
    };
    let adds = action == Action::PartialAdd;
    if adds {
        let mut named = named.iter();
        named.try_for_each(|name| validate::lite_topic(name, config))?;
    }
    let settings = cluster.known_group(group).await?;
    check_topic(&settings, group, topic)?;
    let quota = i64::from(settings.lite_client_quota());
    if !named.is_empty() && named.len() as i64 > quota + QUOTA_SLACK {
        let exceeded = format!("lite subscription quota exceeded: {quota}");
        return Err(ProxyError::new(
            Code::LiteSubscriptionQuotaExceeded,
            exceeded,
        ));
    }
    if adds && !call.state.lite_rate.admits() {
        let client = &call.client_id;
        let many = format!(
            "Too many syncLiteSubscription requests, topic={topic}, group={group}, \
             clientId={client}"
        );
        return Err(ProxyError::new(Code::TooManyRequests, many));
    }
    let change = LiteSubscriptionDto {
        action,
        client_id: call.client_id.clone(),
        group: group.to_owned(),
        lite_topic_set: named.clone(),
        offset_option: match &request.offset_option {
            Some(option) if adds => Some(offset_option(option.offset_type.as_ref())?),
            _ => None,
        },
        topic: topic.to_owned(),
        version: request.version(),
    };
    tell_brokers(cluster, change).await?;
    Ok(SyncLiteSubscriptionResponse {
        status: Some(status(Code::Ok, "")),
    })
}

fn offset_option(wanted: Option<&OffsetType>) -> Result<OffsetOption, ProxyError> {
    let (option_type, value) = match wanted {
        // The numbers of policies are the same.
        Some(OffsetType::Policy(policy)) if OffsetPolicy::try_from(*policy).is_ok() => {
            (OffsetOptionType::Policy, i64::from(*policy))
        }
        Some(OffsetType::Policy(policy)) => {
            let unknown = format!("Unknown OffsetOption.Policy value: {policy}");
            return Err(ProxyError::new(Code::InternalServerError, unknown));
        }
        Some(OffsetType::Offset(offset)) => (OffsetOptionType::Offset, *offset),
        Some(OffsetType::TailN(count)) => (OffsetOptionType::TailN, *count),
        Some(OffsetType::Timestamp(millis)) => (OffsetOptionType::Timestamp, *millis),
        None => {
            let unknown = "Unknown OffsetOption type: OFFSETTYPE_NOT_SET";
            return Err(ProxyError::new(Code::InternalServerError, unknown));
        }
    };
    Ok(OffsetOption { option_type, value })
}

/// Tells all brokers of the topic. Who cannot be told does not keep the others from it.
async fn tell_brokers(cluster: &Cluster, change: LiteSubscriptionDto) -> Result<(), ProxyError> {
    let route = cluster.route(&change.topic).await?;
    let body = LiteSubscriptionCtlRequestBody {
        subscription_set: vec![change],
    };
    let body = Body::from(json::write(&body));
    let header = LiteSubscriptionCtlRequest::default();
    let mut told = Ok(());
    for queue in &route.readable {
        let telling = cluster.call::<LiteSubscriptionCtl>(&queue.address, &header, body.clone());
        told = told.and(telling.await.map(drop));
    }
    told
}

/// A client has left, or lost its way to be told of things: no lite topics wait for it any more.
pub(crate) async fn leave(state: &State, client: &str, settings: &Settings) {
    let Some(PubSub::Subscription(subscription)) = &settings.pub_sub else {
        return;
    };
    let (Some(topic), Some(group)) = (topic_of(subscription), &subscription.group) else {
        return;
    };
    if !is_lite(settings) {
        return;
    }
    let change = LiteSubscriptionDto {
        action: Action::CompleteRemove,
        client_id: client.to_owned(),
        group: group.name.clone(),
        topic: topic.to_owned(),
        ..LiteSubscriptionDto::default()
    };
    if let Err(error) = tell_brokers(&state.cluster, change).await {
        tracing::warn!(client, topic, %error, "a broker cannot be told that a client has left");
    }
}

/// The topic whose lite topics a client receives.
fn topic_of(subscription: &Subscription) -> Option<&str> {
    let first = subscription.subscriptions.first()?;
    first.topic.as_ref().map(|topic| topic.name.as_str())
}

/// Refuses a client that receives in another way than its group (`ClientProcessor.validateLiteMode`).
pub(crate) fn check_client(
    settings: &Settings,
    subscription: &Subscription,
    group: &str,
    config: &SubscriptionGroupConfig,
) -> Result<(), ProxyError> {
    let refused = |message| Err(ProxyError::new(Code::IllegalConsumerGroup, message));
    match (config.lite_bind_topic().is_some(), is_lite(settings)) {
        (false, true) => refused(format!("regular group cannot use LITE mode: {group}")),
        (true, false) => refused(format!("lite group must use LITE mode: {group}")),
        (false, false) => Ok(()),
        (true, true) => {
            topic_of(subscription).map_or(Ok(()), |topic| check_topic(config, group, topic))
        }
    }
}

fn check_topic(
    config: &SubscriptionGroupConfig,
    group: &str,
    topic: &str,
) -> Result<(), ProxyError> {
    let bound = config.lite_bind_topic();
    if bound == Some(topic) {
        return Ok(());
    }
    let bound = bound.unwrap_or("null");
    Err(ProxyError::new(
        Code::IllegalTopic,
        format!("lite group {group} is expected to bind topic {bound}, but actual is {topic}"),
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_lets_in_so_many_at_once_and_then_as_time_goes_on() {
        let rate = Rate::new(10);
        let admitted = || (0..20).filter(|_| rate.admits()).count();
        assert_eq!((admitted(), admitted()), (10, 0));
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!((admitted(), admitted()), (2, 0));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(admitted(), 10);
    }
}
