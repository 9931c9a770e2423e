//! Who is connected: what each client said of itself, and the way to tell it something.
//!
//! A client is known from its settings on until it says that it leaves, or has sent no heartbeat
//! for `channelExpiredTimeout`.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use wire::grpc::{ClientType, PubSub, Settings, TelemetryCommand};

use crate::grpc::Answers;
use crate::message::now_millis;

/// All clients by their ids.
pub(crate) struct Clients {
    table: Mutex<HashMap<String, Client>>,
    expiry: Duration,
}

struct Client {
    /// As it told them.
    settings: Settings,
    /// Its telemetry stream, while there is one.
    telemetry: Option<Answers<TelemetryCommand>>,
    /// When it told them, in milliseconds since 1970.
    told: i64,
    /// When it was last heard of.
    heard: Instant,
}

impl Clients {
    pub(crate) fn new(expiry: Duration) -> Self {
        Self {
            table: Mutex::default(),
            expiry,
        }
    }

    /// A client tells its settings, on its telemetry stream.
    pub(crate) fn enter(&self, id: &str, settings: Settings, telemetry: Answers<TelemetryCommand>) {
        let client = Client {
            settings,
            telemetry: Some(telemetry),
            told: now_millis(),
            heard: Instant::now(),
        };
        self.table.lock().insert(id.to_owned(), client);
    }

    /// A client is heard of. Returns what it told of itself, if it is known.
    pub(crate) fn heard(&self, id: &str) -> Option<Settings> {
        let mut table = self.table.lock();
        let client = table.get_mut(id)?;
        client.heard = Instant::now();
        Some(client.settings.clone())
    }

    /// A client leaves. Returns what it told of itself, if it is known.
    pub(crate) fn leave(&self, id: &str) -> Option<Settings> {
        let client = self.table.lock().remove(id)?;
        Some(client.settings)
    }

    /// A telemetry stream ends. Returns what its client told of itself, unless it has another one
    /// already.
    pub(crate) fn detach(
        &self,
        id: &str,
        telemetry: &Answers<TelemetryCommand>,
    ) -> Option<Settings> {
        let mut table = self.table.lock();
        let client = table.get_mut(id)?;
        client.telemetry.take_if(|own| own.is_same(telemetry))?;
        Some(client.settings.clone())
    }

    /// Whether a client is known.
    pub(crate) fn is_known(&self, id: &str) -> bool {
        self.table.lock().contains_key(id)
    }

    /// Whether a client receives lite topics.
    pub(crate) fn is_lite(&self, id: &str) -> bool {
        let table = self.table.lock();
        table
            .get(id)
            .is_some_and(|client| is_lite(&client.settings))
    }

    /// The way to a client, while it has a telemetry stream.
    pub(crate) fn telemetry(&self, id: &str) -> Option<Answers<TelemetryCommand>> {
        let table = self.table.lock();
        table.get(id).and_then(|client| client.telemetry.clone())
    }

    /// Looks up something of a client's settings.
    pub(crate) fn with_settings<T>(
        &self,
        id: &str,
        look: impl FnOnce(&Settings) -> Option<T>,
    ) -> Option<T> {
        let table = self.table.lock();
        table.get(id).and_then(|client| look(&client.settings))
    }

    /// The way to a producer of a topic; a different one each time, as `turn` says.
    pub(crate) fn producer(&self, topic: &str, turn: usize) -> Option<Answers<TelemetryCommand>> {
        let table = self.table.lock();
        let producers: Vec<_> = table
            .values()
            .filter(|client| published(&client.settings).any(|published| published == topic))
            .filter_map(|client| client.telemetry.as_ref())
            .collect();
        let chosen = turn.checked_rem(producers.len())?;
        producers.get(chosen).map(|telemetry| (*telemetry).clone())
    }

    /// All topics that are sent to.
    pub(crate) fn published_topics(&self) -> BTreeSet<String> {
        let table = self.table.lock();
        let topics = table
            .values()
            .flat_map(|client| published(&client.settings));
        topics.map(str::to_owned).collect()
    }

    /// All consumers by their ids: what each told of itself, and when, in milliseconds since 1970.
    pub(crate) fn consumers(&self) -> HashMap<String, (Settings, i64)> {
        let table = self.table.lock();
        let consumers = table
            .iter()
            .filter(|(_, client)| matches!(client.settings.pub_sub, Some(PubSub::Subscription(_))));
        consumers
            .map(|(id, client)| (id.clone(), (client.settings.clone(), client.told)))
            .collect()
    }

    /// Forgets those that have been silent for too long.
    pub(crate) fn expire(&self) {
        self.table.lock().retain(|id, client| {
            let stays = client.heard.elapsed() < self.expiry;
            if !stays {
                tracing::info!(client = %id, "a client has fallen silent and is forgotten");
            }
            stays
        });
    }
}

/// Whether a client with these settings receives lite topics.
pub(crate) fn is_lite(settings: &Settings) -> bool {
    matches!(
        settings.client_type(),
        ClientType::LitePushConsumer | ClientType::LiteSimpleConsumer
    )
}

/// The topics that a client sends to.
fn published(settings: &Settings) -> impl Iterator<Item = &str> {
    let topics = match &settings.pub_sub {
        Some(PubSub::Publishing(publishing)) => publishing.topics.as_slice(),
        _ => &[],
    };
    topics.iter().map(|topic| topic.name.as_str())
}

#[cfg(test)]
mod tests {
    use wire::grpc::{Publishing, Resource};

    use super::*;

    fn producer(topic: &str) -> Settings {
        Settings {
            pub_sub: Some(PubSub::Publishing(Publishing {
                topics: vec![Resource::named(topic)],
                ..Publishing::default()
            })),
            ..Settings::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_known_until_it_leaves_or_falls_silent() {
        let clients = Clients::new(Duration::from_secs(120));
        let (telemetry, _response) = Answers::stream();
        clients.enter("a", producer("t"), telemetry.clone());
        clients.enter("b", producer("t"), telemetry);
        tokio::time::advance(Duration::from_secs(100)).await;
        assert!(clients.heard("a").is_some() && clients.heard("c").is_none());
        tokio::time::advance(Duration::from_secs(100)).await;
        clients.expire();
        assert!(clients.is_known("a") && !clients.is_known("b"));
        assert!(clients.leave("a").is_some() && clients.leave("a").is_none());
    }

    #[tokio::test]
    async fn producers_are_asked_in_turn_while_they_have_a_stream() {
        let clients = Clients::new(Duration::from_secs(120));
        let (telemetry, _response) = Answers::stream();
        clients.enter("a", producer("t"), telemetry.clone());
        assert!(clients.producer("t", 7).is_some());
        assert!(clients.producer("other", 7).is_none());
        let (another, _response) = Answers::stream();
        clients.detach("a", &another);
        assert!(clients.producer("t", 7).is_some());
        clients.detach("a", &telemetry);
        assert!(clients.producer("t", 7).is_none());
        assert_eq!(clients.published_topics(), ["t".to_owned()].into());
    }
}
