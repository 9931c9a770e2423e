//! Remembering what name servers and brokers said.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::ProxyError;

/// Values by name, asked for again after a while. What is not there is not remembered, so that
/// it is seen as soon as it comes to be.
pub(crate) struct Cache<V> {
    entries: Mutex<HashMap<String, Entry<V>>>,
    /// After this time a value is asked for again.
    refresh: Duration,
    /// For so long a value holds when nobody answers.
    expiry: Duration,
    capacity: usize,
}

struct Entry<V> {
    value: Arc<V>,
    loaded: Instant,
    /// When somebody last set out to load it again.
    asked: Instant,
}

impl<V> Cache<V> {
    pub(crate) fn new(refresh_seconds: u64, expiry_seconds: u64, capacity: usize) -> Self {
        Self {
            entries: Mutex::default(),
            refresh: Duration::from_secs(refresh_seconds),
            expiry: Duration::from_secs(expiry_seconds),
            capacity,
        }
    }

    /// The value of a name: the remembered one, or what `load` finds. While one caller loads a
    /// value again, the others go on with the old one.
    pub(crate) async fn get<F>(
        &self,
        name: &str,
        load: impl FnOnce() -> F,
    ) -> Result<Option<Arc<V>>, ProxyError>
    where
        F: Future<Output = Result<Option<V>, ProxyError>>,
    {
        let old = {
            let mut entries = self.entries.lock();
            match entries.get_mut(name) {
                Some(entry) if entry.asked.elapsed() < self.refresh => {
                    return Ok(Some(Arc::clone(&entry.value)));
                }
                Some(entry) => {
                    entry.asked = Instant::now();
                    let holds = entry.loaded.elapsed() < self.expiry;
                    holds.then(|| Arc::clone(&entry.value))
                }
                None => None,
            }
        };
        match load().await {
            Ok(Some(value)) => {
                let value = Arc::new(value);
                self.put(name, Arc::clone(&value));
                Ok(Some(value))
            }
            Ok(None) => {
                self.entries.lock().remove(name);
                Ok(None)
            }
            Err(error) => match old {
                Some(value) => {
                    tracing::warn!(name, %error, "what is known is kept, since nobody answers");
                    Ok(Some(value))
                }
                None => {
                    self.entries.lock().remove(name);
                    Err(error)
                }
            },
        }
    }

    fn put(&self, name: &str, value: Arc<V>) {
        let now = Instant::now();
        let mut entries = self.entries.lock();
        if entries.len() >= self.capacity && !entries.contains_key(name) {
            entries.retain(|_, entry| entry.loaded.elapsed() < self.refresh);
            if entries.len() >= self.capacity {
                entries.clear();
            }
        }
        let entry = Entry {
            value,
            loaded: now,
            asked: now,
        };
        entries.insert(name.to_owned(), entry);
    }
}

#[cfg(test)]
mod tests {
    use wire::grpc::Code;

    use super::*;

    async fn get(cache: &Cache<u32>, found: Result<Option<u32>, ProxyError>) -> Option<u32> {
        cache
            .get("a", || async { found })
            .await
            .unwrap()
            .map(|value| *value)
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_is_loaded_again_after_a_while_and_outlives_failures_for_a_while() {
        let cache = Cache::new(20, 300, 2);
        let failure = || Err(ProxyError::new(Code::InternalServerError, "nobody answers"));
        assert_eq!(get(&cache, Ok(None)).await, None);
        assert_eq!(get(&cache, Ok(Some(1))).await, Some(1));
        assert_eq!(get(&cache, Ok(Some(2))).await, Some(1));
        tokio::time::advance(Duration::from_secs(21)).await;
        assert_eq!(get(&cache, failure()).await, Some(1));
        tokio::time::advance(Duration::from_secs(21)).await;
        assert_eq!(get(&cache, Ok(Some(3))).await, Some(3));
        tokio::time::advance(Duration::from_secs(301)).await;
        assert!(cache.get("a", || async { failure() }).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_values_than_allowed_are_remembered() {
        let cache = Cache::new(20, 300, 2);
        for name in ["a", "b", "c", "d"] {
            cache.get(name, || async { Ok(Some(1)) }).await.unwrap();
        }
        assert!(cache.entries.lock().len() <= 2);
    }
}
