//! Messages that stay hidden while their clients live (`DefaultReceiptHandleManager`).
//!
//! A client that asks for it with `auto_renew` may take as long as it likes with a message: a
//! while before the message would be delivered again, the proxy has the broker hide it further.
//! The client's handle stays the same; the proxy knows which one it stands for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use wire::body::group::{GroupRetryPolicy, GroupRetryPolicyType};
use wire::message::pop::ExtraInfo;

use crate::acknowledging::{Delivered, Hidden, change_invisible_time};
use crate::error::ProxyError;
use crate::message::now_millis;
use crate::proxy::State;

/// For how long a message is hidden further, the first time, the second, and so on, in
/// milliseconds (`RenewStrategyPolicy`).
const STEPS: [i64; 6] = [60_000, 180_000, 300_000, 600_000, 1_800_000, 3_600_000];

/// A client in a group.
type Owner = (String, String);

/// What makes a message different from others with its id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    message_id: String,
    broker_name: String,
    queue_id: i32,
    queue_offset: Option<i64>,
}

impl Place {
    fn of(message_id: &str, handle: &str) -> Option<Self> {
        let info = ExtraInfo::decode(handle).ok()?;
        Some(Self {
            message_id: message_id.to_owned(),
            broker_name: info.broker_name.to_owned(),
            queue_id: info.queue_id,
            queue_offset: info.queue_offset,
        })
    }
}

/// A message that is held hidden.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    topic: String,
    /// Its lite topic, if it came as one of that.
    pub(crate) lite_topic: Option<String>,
    /// The handle that holds now.
    pub(crate) handle: String,
    /// When it was received, in milliseconds since 1970.
    received: i64,
    /// The delivery's number.
    attempt: i32,
    /// How often it was hidden further.
    renewed: usize,
    /// How often that failed since it last succeeded.
    failed: u32,
}

impl Held {
    pub(crate) fn new(delivered: Delivered<'_>, attempt: i32) -> Self {
        Self {
            topic: delivered.topic.to_owned(),
            lite_topic: delivered.lite_topic.map(str::to_owned),
            handle: delivered.handle.to_owned(),
            received: now_millis(),
            attempt,
            renewed: 0,
            failed: 0,
        }
    }

    fn is_due(&self, ahead: i64) -> bool {
        ExtraInfo::decode(&self.handle).map_or(true, |info| {
            info.next_visible_time() - now_millis() <= ahead
        })
    }
}

/// Whoever changes a message's handle holds its lock, so that nobody uses one that is changing.
type Shared = Arc<tokio::sync::Mutex<Held>>;

/// All messages that are held hidden.
#[derive(Default)]
pub(crate) struct Renewals {
    table: Mutex<HashMap<Owner, HashMap<Place, Shared>>>,
}

impl Renewals {
    /// Holds a message hidden from now on.
    pub(crate) fn hold(&self, client: &str, group: &str, message_id: &str, held: Held) {
        let Some(place) = Place::of(message_id, &held.handle) else {
            return;
        };
        let mut table = self.table.lock();
        let owner = (client.to_owned(), group.to_owned());
        let held = Arc::new(tokio::sync::Mutex::new(held));
        table.entry(owner).or_default().insert(place, held);
    }

    /// Holds a message no longer. Returns it, with the handle that holds now, if it was held.
    pub(crate) async fn release(
        &self,
        client: &str,
        group: &str,
        message_id: &str,
        handle: &str,
    ) -> Option<Held> {
        let place = Place::of(message_id, handle)?;
        let held = {
            let mut table = self.table.lock();
            let owner = (client.to_owned(), group.to_owned());
            let messages = table.get_mut(&owner)?;
            let held = messages.remove(&place)?;
            if messages.is_empty() {
                table.remove(&owner);
            }
            held
        };
        let held = held.lock().await;
        Some(held.clone())
    }

    /// How many messages are held for a client in a group.
    pub(crate) fn count(&self, client: &str, group: &str) -> usize {
        let owner = (client.to_owned(), group.to_owned());
        self.table.lock().get(&owner).map_or(0, HashMap::len)
    }

    /// Holds a message no longer.
    fn forget(&self, owner: &Owner, place: &Place) {
        let mut table = self.table.lock();
        if let Some(messages) = table.get_mut(owner) {
            messages.remove(place);
            if messages.is_empty() {
                table.remove(owner);
            }
        }
    }

    /// All messages now, with their owners.
    fn all(&self) -> Vec<(Owner, Place, Shared)> {
        let table = self.table.lock();
        let each = table.iter().flat_map(|(owner, messages)| {
            let each = messages.iter();
            each.map(move |(place, held)| (owner.clone(), place.clone(), Arc::clone(held)))
        });
        each.collect()
    }
}

/// The task that hides messages further, and gives back those of clients that have left.
pub(crate) async fn keep_hidden(state: Arc<State>) {
    let period = Duration::from_millis(state.config.renew_schedule_period_millis);
    loop {
        tokio::time::sleep(period).await;
        state.clients.expire();
        state.transactions.expire();
        round(&state).await;
    }
}

/// Looks at every message once.
async fn round(state: &Arc<State>) {
    let mut work = JoinSet::new();
    for (owner, place, held) in state.renewals.all() {
        let state = Arc::clone(state);
        work.spawn(async move {
            // A message that is being given back or hidden further is not looked at.
            let Ok(mut held) = held.try_lock() else {
                return;
            };
            if !state.clients.is_known(&owner.0) {
                give_back(&state, &owner, &held).await;
                state.renewals.forget(&owner, &place);
            } else if held.is_due(state.config.renew_ahead_time_millis)
                && !renew(&state, &owner, &mut held).await
            {
                state.renewals.forget(&owner, &place);
            }
        });
    }
    while work.join_next().await.is_some() {}
}

/// Has everything delivered to others soon, as when the proxy stops.
pub(crate) async fn give_back_all(state: &State) {
    for (owner, place, held) in state.renewals.all() {
        let held = held.lock().await;
        give_back(state, &owner, &held).await;
        state.renewals.forget(&owner, &place);
    }
}

async fn give_back(state: &State, (_, group): &Owner, held: &Held) {
    let millis = state.config.invisible_time_millis_when_clear;
    let changed = change(state, group, held, millis).await;
    if let Err(error) = changed {
        let topic = &held.topic;
        tracing::debug!(topic, group, %error, "a message comes back only when its time is up");
    }
}

/// Hides a message further. Returns whether it is held on.
async fn renew(state: &State, (_, group): &Owner, held: &mut Held) -> bool {
    let config = &state.config;
    if now_millis() - held.received >= config.renew_max_time_millis {
        let settings = state.cluster.group(group).await.unwrap_or_default();
        let wait = wait_before_retry(&settings.group_retry_policy, held.attempt);
        let given_up = change(state, group, held, wait).await;
        if let Err(error) = given_up {
            tracing::debug!(group, %error, "a message comes back only when its time is up");
        }
        return false;
    }
    let step = STEPS
        .get(held.renewed)
        .or(STEPS.last())
        .copied()
        .unwrap_or_default();
    match change(state, group, held, step).await {
        Ok(handle) => {
            held.handle = handle;
            held.renewed += 1;
            held.failed = 0;
            true
        }
        Err(error) => {
            let topic = &held.topic;
            tracing::warn!(topic, group, %error, "a message could not be hidden further");
            held.failed += 1;
            held.failed < config.max_renew_retry_times
        }
    }
}

/// How long a failed message waits until it is delivered again, in milliseconds; `attempt` is the
/// number of the failed delivery (`CustomizedRetryPolicy`, `ExponentialRetryPolicy`).
fn wait_before_retry(policy: &GroupRetryPolicy, attempt: i32) -> i64 {
    let retries = usize::try_from(attempt.saturating_sub(1)).unwrap_or_default();
    match policy.policy_type {
        GroupRetryPolicyType::Customized => {
            let waits = policy
                .customized_retry_policy
                .clone()
                .unwrap_or_default()
                .next;
            // The first two are for delayed messages, not for retries.
            waits
                .get(retries + 2)
                .or(waits.last())
                .copied()
                .unwrap_or_default()
        }
        GroupRetryPolicyType::Exponential => {
            let growing = policy.exponential_retry_policy.unwrap_or_default();
            let factor = growing.multiplier.saturating_pow(retries.min(32) as u32);
            growing.initial.saturating_mul(factor).min(growing.max)
        }
    }
}

async fn change(
    state: &State,
    group: &str,
    held: &Held,
    millis: i64,
) -> Result<String, ProxyError> {
    let delivered = Delivered {
        group,
        topic: &held.topic,
        lite_topic: held.lite_topic.as_deref(),
        handle: &held.handle,
    };
    let hidden = Hidden {
        millis,
        suspend: false,
    };
    change_invisible_time(&state.cluster, delivered, hidden).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDLE: &str = "0 1 60000 2 0 broker-a 3 4 5";

    #[tokio::test]
    async fn a_message_is_found_by_the_handle_that_the_client_has_and_gives_the_one_that_holds() {
        let renewals = Renewals::default();
        let delivered = Delivered {
            group: "g",
            topic: "t",
            lite_topic: None,
            handle: HANDLE,
        };
        renewals.hold("c", "g", "m", Held::new(delivered, 1));
        assert_eq!((renewals.count("c", "g"), renewals.count("c", "h")), (1, 0));
        let [(_, _, held)] = &renewals.all()[..] else {
            panic!("one message is held")
        };
        held.lock().await.handle = "0 9 60000 2 0 broker-a 3 4 5".into();
        let release = async |group, handle| {
            let held = renewals.release("c", group, "m", handle).await;
            held.map(|held| held.handle)
        };
        assert_eq!(release("other", HANDLE).await, None);
        assert_eq!(release("g", "no handle").await, None);
        let renewed = release("g", HANDLE).await;
        assert_eq!(renewed.as_deref(), Some("0 9 60000 2 0 broker-a 3 4 5"));
        assert_eq!(release("g", HANDLE).await, None);
        assert!(renewals.all().is_empty());
    }

    #[test]
    fn waits_grow_as_the_group_says() {
        let listed = GroupRetryPolicy::default();
        assert_eq!(wait_before_retry(&listed, 1), 10_000);
        assert_eq!(wait_before_retry(&listed, 100), 7_200_000);
        let growing = GroupRetryPolicy {
            policy_type: GroupRetryPolicyType::Exponential,
            ..GroupRetryPolicy::default()
        };
        assert_eq!(wait_before_retry(&growing, 1), 5_000);
        assert_eq!(wait_before_retry(&growing, 3), 20_000);
        assert_eq!(wait_before_retry(&growing, i32::MAX), 7_200_000);
    }
}
