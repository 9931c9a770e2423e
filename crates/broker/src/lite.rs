//! Lite topics: many small topics below one parent topic, each consumed by itself and in order
//! (`org.apache.rocketmq.broker.lite`).
//!
//! A message names its lite topic in a property; it is stored in the parent topic and entered into
//! the light queue of the lite topic (`%LMQ%$parent$lite`). A group is bound to one parent topic by
//! its attribute `lite.bind.topic`, and its clients tell which lite topics they want. Who takes
//! messages names none: for each client the broker keeps the lite topics that have something for it
//! (`events`), which arriving messages, acknowledgements and the end of invisible times tell.
//!
//! Subscriptions and what is in flight (`order`) are in memory: after a restart clients subscribe
//! anew, and a group goes on at its committed offsets.

pub(crate) mod control;
mod events;
pub(crate) mod expiry;
mod order;
pub(crate) mod pop;
mod subscriptions;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use store::{Arrival, Queue};
use wire::body::group::SubscriptionGroupConfig;
use wire::message::{attribute, names};

use self::events::{Abandoned, Events};
use self::order::{OrderKey, Orders};
use self::pop::Pop;
use self::subscriptions::{Subscribers, Subscriptions};
use crate::broker::Broker;
use crate::topics::Topic;

/// How long after the subscription of a client that gets all lite topics they are looked through,
/// in milliseconds: others of its group may subscribe at the same time.
const WILDCARD_DELAY_MILLIS: i64 = 5000;

/// What the broker knows of lite topics' consumers.
#[derive(Default)]
pub(crate) struct Lite {
    state: Mutex<State>,
    orders: Orders,
}

#[derive(Default)]
struct State {
    subscriptions: Subscriptions,
    events: Events,
    /// The requests that wait for something, by client.
    held: HashMap<Arc<str>, VecDeque<Pop>>,
    held_count: usize,
}

/// What the attributes of a group say about lite topics (`SubscriptionGroupConfig`).
pub(crate) struct Rules<'a>(&'a SubscriptionGroupConfig);

impl<'a> Rules<'a> {
    pub(crate) fn of(group: &'a SubscriptionGroupConfig) -> Self {
        Self(group)
    }

    /// The parent topic of the lite topics that the group consumes.
    pub(crate) fn parent(&self) -> Option<&'a str> {
        self.0.lite_bind_topic()
    }

    fn is(&self, name: &str, value: &str) -> bool {
        let found = self.0.attributes.get(name);
        found.is_some_and(|found| found.eq_ignore_ascii_case(value))
    }

    /// Whether a lite topic has one client at a time.
    fn is_exclusive(&self) -> bool {
        self.is(attribute::LITE_SUB_MODEL, attribute::LITE_EXCLUSIVE)
    }

    /// Whether a lite topic is consumed anew when another client takes it over.
    fn resets_when_taken(&self) -> bool {
        self.is(attribute::LITE_RESET_OFFSET_EXCLUSIVE, "true")
    }

    /// Whether a lite topic is consumed anew after a client has left it.
    fn resets_when_left(&self) -> bool {
        self.is(attribute::LITE_RESET_OFFSET_UNSUBSCRIBE, "true")
    }

    /// Whether its clients get all lite topics of the parent topic.
    pub(crate) fn is_wildcard(&self) -> bool {
        self.0.attributes.contains_key(attribute::LITE_WILDCARD)
    }

    /// Most lite topics that wait for one client.
    fn max_events(&self, broker: &Broker) -> usize {
        let own = self
            .0
            .attributes
            .get(attribute::LITE_CLIENT_MAX_EVENT_COUNT);
        let own = own.and_then(|count| count.parse().ok());
        own.filter(|count| *count > 0)
            .unwrap_or(broker.settings().broker.max_client_event_count)
    }
}

/// Whether a topic has lite topics below it.
pub(crate) fn is_parent(topic: &Topic) -> bool {
    topic.is_for("LITE")
}

/// After how many minutes without a message a lite topic of this parent topic ends; -1: never.
pub(crate) fn expiration_minutes(topic: &Topic) -> i32 {
    let minutes = topic.config.attributes.get(attribute::LITE_EXPIRATION);
    minutes
        .and_then(|minutes| minutes.parse().ok())
        .unwrap_or(-1)
}

/// The light queue of a lite topic, if it has had a message.
pub(crate) fn queue(broker: &Broker, light_queue: &str) -> Option<Arc<Queue>> {
    let queue = broker.store.find_queue(light_queue, names::LMQ_QUEUE_ID);
    queue.filter(|queue| queue.max_offset() > 0)
}

/// Whether a group has not consumed all of a queue.
fn is_behind(broker: &Broker, group: &str, queue: &Queue) -> bool {
    let offset = broker.offsets.query(group, queue.topic(), queue.id());
    offset.unwrap_or(-1) < queue.max_offset()
}

/// The light queues of all lite topics below a parent topic.
pub(crate) fn queues_below(broker: &Broker, parent: &str) -> Vec<Arc<Queue>> {
    let mut topics = broker.store.topics();
    topics.retain(|topic| names::belongs_to_parent_topic(topic, parent));
    topics
        .iter()
        .filter_map(|topic| queue(broker, topic))
        .collect()
}

impl Lite {
    /// Messages arrived: tells a client of each group that wants them.
    pub(crate) fn arrived(&self, broker: &Broker, arrival: &Arrival<'_>) {
        let topic = arrival.queue.topic();
        if names::is_lite_topic_queue(topic) {
            self.dispatch(broker, topic, None, None);
        }
    }

    /// Tells a client of each group, or of one, of a lite topic that has something for it; not
    /// `except`, unless there is no other.
    fn dispatch(
        &self,
        broker: &Broker,
        light_queue: &Arc<str>,
        group: Option<&str>,
        except: Option<&str>,
    ) {
        let Some((parent, _)) = names::parent_and_lite_topic(light_queue) else {
            return;
        };
        let mut groups = {
            let state = self.state.lock();
            let mut groups = state.subscriptions.of_queue(light_queue);
            groups.extend(state.subscriptions.of_parent(parent));
            groups
        };
        groups.retain(|of| group.is_none_or(|group| &*of.group == group));
        for subscribers in groups {
            self.dispatch_to(broker, light_queue, &subscribers, except);
        }
    }

    /// Tells one of some clients of a lite topic, and has it look later if none has room.
    fn dispatch_to(
        &self,
        broker: &Broker,
        light_queue: &Arc<str>,
        subscribers: &Subscribers,
        except: Option<&str>,
    ) -> bool {
        let Subscribers { group, clients } = subscribers;
        let Some(config) = broker.groups.get(group) else {
            return false;
        };
        let rules = Rules::of(&config);
        let capacity = rules.max_events(broker);
        let now = broker.now_millis();
        let settings = &broker.settings().broker;
        let woken = {
            let mut state = self.state.lock();
            let events = &mut state.events;
            match events.offer(group, clients, light_queue, except, capacity, now) {
                Some(client) => state.take_held(&client),
                None if rules.is_wildcard() => {
                    let delay = settings.lite_event_full_dispatch_delay_time_for_wildcard_group;
                    events.look_later(&wildcard_name(group), now + delay);
                    return false;
                }
                None => {
                    let at = now + settings.lite_event_full_dispatch_delay_time;
                    clients
                        .iter()
                        .for_each(|client| events.look_later(client, at));
                    return false;
                }
            }
        };
        if let Some(pop) = woken {
            pop.serve(broker);
        }
        true
    }

    /// Tells a client of all of its lite topics that have something for it
    /// (`doFullDispatchForClient`).
    pub(crate) fn look_for_client(&self, broker: &Broker, client: &str) {
        let (group, light_queues) = {
            let state = self.state.lock();
            let Some(subscription) = state.subscriptions.of_client(client) else {
                return;
            };
            let light_queues: Vec<_> = subscription.light_queues.iter().cloned().collect();
            (Arc::clone(&subscription.group), light_queues)
        };
        let subscribers = Subscribers {
            group,
            clients: vec![client.into()],
        };
        for light_queue in light_queues {
            let queue = queue(broker, &light_queue);
            if queue.is_some_and(|queue| is_behind(broker, &subscribers.group, &queue))
                && !self.dispatch_to(broker, &light_queue, &subscribers, None)
            {
                return;
            }
        }
    }

    /// Tells the clients of a group of all lite topics that have something for it
    /// (`doFullDispatchByGroup`).
    pub(crate) fn look_for_group(&self, broker: &Broker, group: &str) {
        let Some(config) = broker.groups.get(group) else {
            return;
        };
        let rules = Rules::of(&config);
        if !rules.is_wildcard() {
            let clients = self.state.lock().subscriptions.of_group(group);
            clients
                .iter()
                .for_each(|client| self.look_for_client(broker, client));
            return;
        }
        let Some(parent) = rules.parent() else {
            return;
        };
        let groups = self.state.lock().subscriptions.of_parent(parent);
        let Some(subscribers) = groups.into_iter().find(|of| &*of.group == group) else {
            return;
        };
        for queue in queues_below(broker, parent) {
            if is_behind(broker, group, &queue)
                && !self.dispatch_to(broker, queue.topic(), &subscribers, None)
            {
                return;
            }
        }
    }

    /// Ends all of a client; what waits for it goes to others of its group.
    fn leave(&self, broker: &Broker, client: &str) {
        let abandoned = {
            let mut state = self.state.lock();
            state.subscriptions.leave(client);
            state.events.leave(client)
        };
        self.pass_on(broker, abandoned);
    }

    fn pass_on(&self, broker: &Broker, abandoned: impl IntoIterator<Item = Abandoned>) {
        for Abandoned {
            client,
            group,
            light_queues,
        } in abandoned
        {
            for light_queue in light_queues {
                self.dispatch(broker, &light_queue, Some(&group), Some(&client));
            }
        }
    }

    /// Does what is due: answers requests that waited long enough, tells of messages that are
    /// visible again, forgets clients that are silent.
    pub(crate) fn sweep(&self, broker: &Broker) {
        let now = broker.now_millis();
        let timeout = broker
            .settings()
            .broker
            .lite_subscription_check_timeout_mills;
        let (over, abandoned, due, silent) = {
            let mut state = self.state.lock();
            let over = state.take_over(now);
            let abandoned = state.events.abandoned(now);
            let due = state.events.due(now);
            (
                over,
                abandoned,
                due,
                state.subscriptions.silent_since(now - timeout),
            )
        };
        for pop in over {
            pop.give_up();
        }
        for client in silent {
            tracing::info!(%client, "a client of lite topics was silent too long");
            self.leave(broker, &client);
        }
        self.pass_on(broker, abandoned);
        for name in due {
            match name
                .strip_prefix('$')
                .and_then(|name| name.strip_suffix('$'))
            {
                Some(group) => self.look_for_group(broker, group),
                None => self.look_for_client(broker, &name),
            }
        }
        for OrderKey { group, light_queue } in self.orders.free(now) {
            self.dispatch(broker, &light_queue, Some(&group), None);
        }
    }

    /// Answers all requests that wait; for the shutdown.
    pub(crate) fn release(&self) {
        let over = self.state.lock().take_over(i64::MAX);
        for pop in over {
            pop.give_up();
        }
    }

    /// Runs `read` on the numbers that the broker tells of itself.
    pub(crate) fn numbers(&self) -> Numbers {
        let state = self.state.lock();
        Numbers {
            subscriptions: state.subscriptions.len(),
            clients_with_events: state.events.len(),
            orders: self.orders.len(),
        }
    }

    /// The lite topics that a client is subscribed to, by their light queues; `None` if the client
    /// is not known. With when it looked for something the last time, in milliseconds since 1970.
    pub(crate) fn client(&self, client: &str) -> (Option<Vec<Arc<str>>>, i64) {
        let state = self.state.lock();
        let subscription = state.subscriptions.of_client(client);
        let queues = subscription.map(|of| of.light_queues.iter().cloned().collect());
        (queues, state.events.accessed(client))
    }

    /// The clients that are subscribed to a lite topic by name, as pairs of group and client, and
    /// the groups that get all lite topics of the parent topic.
    pub(crate) fn subscribers(&self, light_queue: &str, parent: &str) -> Vec<(Arc<str>, Arc<str>)> {
        let state = self.state.lock();
        let named = state.subscriptions.of_queue(light_queue);
        let mut pairs = Vec::new();
        for Subscribers { group, clients } in named {
            pairs.extend(
                clients
                    .into_iter()
                    .map(|client| (Arc::clone(&group), client)),
            );
        }
        let all = state.subscriptions.of_parent(parent).into_iter();
        pairs.extend(all.map(|of| (of.group, "*".into())));
        pairs
    }
}

/// How much there is of what.
pub(crate) struct Numbers {
    pub(crate) subscriptions: usize,
    pub(crate) clients_with_events: usize,
    pub(crate) orders: usize,
}

/// By what a group that gets all lite topics is looked after: no client has such a name.
fn wildcard_name(group: &str) -> Arc<str> {
    format!("${group}$").into()
}
