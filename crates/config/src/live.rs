//! Settings that change while running.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::load::{Entry, Loaded};
use crate::settings::{Settings, unknown_key};
use crate::{ConfigError, properties, reference};

/// Most faults of an update that are told.
const MOST_TOLD: usize = 20;

/// Settings shared by everybody who needs the values in force.
///
/// Cloning shares. [`load`](Live::load) costs a read lock and a reference
/// count: read it once per request or batch, not once per field.
pub struct Live<S> {
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    current: RwLock<Arc<S>>,
    /// Keys of the reference without meaning here, as they were set.
    without_effect: Mutex<BTreeMap<String, String>>,
    /// Held during an update, so that two do not mix and watchers see changes
    /// in their order. Locked before the others.
    watchers: Mutex<Vec<Watcher<S>>>,
    guards: Mutex<Vec<Guard<S>>>,
}

type Guard<S> = Box<dyn Fn(&S) -> Result<(), String> + Send + Sync>;
type Watcher<S> = Box<dyn Fn(&Arc<S>) + Send + Sync>;

/// A value that an update changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: &'static str,
    /// The value before; `None` when it was not set.
    pub from: Option<String>,
    /// The value now.
    pub to: Option<String>,
}

/// What an update did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Updated {
    /// Values that are different now.
    pub changed: Vec<Change>,
    /// Keys of the reference that were accepted and have no effect here.
    pub without_effect: Vec<String>,
}

impl<S> Clone for Live<S> {
    fn clone(&self) -> Self {
        Live {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S: Settings> Live<S> {
    /// Shares settings that did not come from a file.
    pub fn new(settings: S) -> Live<S> {
        Live::from(Loaded {
            settings,
            without_effect: Vec::new(),
        })
    }

    /// The values in force.
    pub fn load(&self) -> Arc<S> {
        Arc::clone(&self.shared.current.read())
    }

    /// Changes values, all or none: `updateBrokerConfig`.
    ///
    /// # Errors
    /// What stands against it, twenty faults at most: a key that neither Kerolox nor the
    /// reference has, a value that cannot be, or another value for a key that
    /// is read at the start only, or what a [`guard`](Live::guard) says. A key
    /// of the reference without meaning here is accepted.
    pub fn update(&self, changes: &[Entry]) -> Result<Updated, ConfigError> {
        let watchers = self.shared.watchers.lock();
        let before = self.load();
        let mut after = S::clone(&before);
        let mut without_effect = BTreeMap::new();
        let mut updated = Updated::default();
        let mut errors = Vec::new();
        for Entry { key, value, .. } in changes {
            if errors.len() == MOST_TOLD {
                break;
            }
            match S::key(key) {
                Some(info) => match after.set(key, value) {
                    Ok(()) if !info.reloadable && after.get(key) != before.get(key) => {
                        errors.push(ConfigError::NeedsRestart {
                            key: info.key,
                            current: before.get(key).unwrap_or_default(),
                        });
                    }
                    Ok(()) => {}
                    Err(error) => errors.push(error),
                },
                None if reference::has(key) => {
                    without_effect.insert(key.clone(), value.clone());
                }
                None => errors.push(unknown_key::<S>(key)),
            }
        }
        ConfigError::none_of(errors, ())?;
        for info in S::keys() {
            let (from, to) = (before.get(info.key), after.get(info.key));
            if from != to {
                let key = info.key;
                updated.changed.push(Change { key, from, to });
            }
        }
        if !updated.changed.is_empty() {
            self.check(&after).map_err(ConfigError::Unusable)?;
        }
        updated.without_effect = without_effect.keys().cloned().collect();
        self.shared.without_effect.lock().extend(without_effect);
        if !updated.changed.is_empty() {
            let after = Arc::new(after);
            *self.shared.current.write() = Arc::clone(&after);
            for watcher in watchers.iter() {
                watcher(&after);
            }
        }
        Ok(updated)
    }

    /// Calls `watcher` with the values now and after every update that changed
    /// one, on the thread that updates. It must not update these settings.
    pub fn watch(&self, watcher: impl Fn(&Arc<S>) + Send + Sync + 'static) {
        let mut watchers = self.shared.watchers.lock();
        watcher(&self.load());
        watchers.push(Box::new(watcher));
    }

    /// Asks `guard` before values change: what it says against them, in one
    /// sentence, refuses the update. It runs on the thread that updates.
    pub fn guard(&self, guard: impl Fn(&S) -> Result<(), String> + Send + Sync + 'static) {
        self.shared.guards.lock().push(Box::new(guard));
    }

    fn check(&self, after: &S) -> Result<(), String> {
        let guards = self.shared.guards.lock();
        guards.iter().try_for_each(|guard| guard(after))
    }

    /// A part of these settings that follows them: what a role hands to the
    /// crate whose group it is. Update the whole, not the part.
    pub fn part<P: Settings>(
        &self,
        part: impl Fn(&S) -> &P + Copy + Send + Sync + 'static,
    ) -> Live<P> {
        let live = Live::new(part(&self.load()).clone());
        let follower = live.clone();
        self.guard(move |whole| follower.check(part(whole)));
        let follower = live.clone();
        self.watch(move |whole| {
            let part = part(whole);
            let watchers = follower.shared.watchers.lock();
            if *follower.load() != *part {
                let part = Arc::new(part.clone());
                *follower.shared.current.write() = Arc::clone(&part);
                for watcher in watchers.iter() {
                    watcher(&part);
                }
            }
        });
        live
    }

    /// Every key that is set, sorted, as a properties text: the body of
    /// `getBrokerConfig`. Keys of the reference without meaning here are in it
    /// when they were set.
    pub fn properties(&self) -> String {
        let mut all = self.shared.without_effect.lock().clone();
        let current = self.load();
        all.extend(
            current
                .entries()
                .map(|(info, value)| (info.key.to_owned(), value)),
        );
        let mut text = String::new();
        for (key, value) in &all {
            properties::write(&mut text, key, value);
        }
        text
    }
}

impl<S: Settings> From<Loaded<S>> for Live<S> {
    fn from(loaded: Loaded<S>) -> Live<S> {
        let without_effect = loaded.without_effect.into_iter();
        Live {
            shared: Arc::new(Shared {
                current: RwLock::new(Arc::new(loaded.settings)),
                without_effect: Mutex::new(
                    without_effect
                        .map(|entry| (entry.key, entry.value))
                        .collect(),
                ),
                watchers: Mutex::new(Vec::new()),
                guards: Mutex::new(Vec::new()),
            }),
        }
    }
}
