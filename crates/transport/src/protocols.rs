//! The registry of the protocols that a server speaks, told apart by the first bytes of a
//! connection, and changed while it runs.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::time::{timeout, timeout_at};

use crate::endpoint::Endpoint;
use crate::error::TransportError;
use crate::network::Link;
use crate::protocol::{Detection, Protocol, Refused};
use crate::refusals::Refusals;
use crate::settings::TlsMode;
use crate::stack::Stack;
use crate::{proxy_protocol, tls};

/// No protocol needs more bytes than this to be told.
const MAX_FIRST_BYTES: usize = 4096;

/// Most protocols are told by far less than this, and many connections that only begin should
/// not take much memory.
const FIRST_READ: usize = 512;

/// No connection needs more protocols inside of each other.
const MAX_LAYERS: usize = 4;

/// So long a protocol may take to tell a peer that it is not served.
const REFUSING: Duration = Duration::from_secs(5);

/// The protocols of a server, asked in their order. Clones share them.
///
/// Each can be switched off and on and replaced while others are used. Connections of a protocol
/// that is switched off or replaced, alone or as a layer, are drained: what runs on them is
/// finished, then they are closed.
#[derive(Clone, Default)]
pub struct Protocols {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    registry: Mutex<Registry>,
    /// Told when stacks were retired.
    retired: watch::Sender<()>,
    refusals: Refusals,
}

#[derive(Default)]
struct Registry {
    slots: Vec<Slot>,
    tls: Option<TlsMode>,
    /// The stacks that new connections may have.
    stacks: Vec<Arc<Stack>>,
}

struct Slot {
    protocol: Arc<dyn Protocol>,
    on: bool,
}

/// One protocol of a server, as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtocolStatus {
    /// Its name.
    pub name: &'static str,
    /// Whether new connections may speak it.
    pub on: bool,
    /// Open connections that speak it, alone or among others.
    pub connections: usize,
}

/// What the first bytes of a connection tell.
enum First {
    Served(Arc<dyn Protocol>, Arc<Stack>),
    Refused(Arc<dyn Protocol>, Refused),
    Unknown,
    NeedMore,
}

impl Protocols {
    /// Adds a protocol, or replaces the one with the same name, whose connections are drained.
    /// It is switched on unless the one before was off.
    pub fn add(&self, protocol: Arc<dyn Protocol>) {
        let name = protocol.name();
        self.change(|registry| match registry.slot(name) {
            Some(slot) => {
                slot.protocol = protocol;
                registry.retire(|stack| stack.has(name));
            }
            None => registry.slots.push(Slot { protocol, on: true }),
        });
    }

    /// The protocol with this name, such as to be inside of another that takes its place.
    pub fn get(&self, name: &str) -> Option<Arc<dyn Protocol>> {
        let mut registry = self.shared.registry.lock();
        Some(Arc::clone(&registry.slot(name)?.protocol))
    }

    /// Forgets all protocols but these.
    pub(crate) fn keep(&self, names: &[&str]) {
        self.change(|registry| {
            let slots = &mut registry.slots;
            slots.retain(|slot| names.contains(&slot.protocol.name()));
        });
    }

    /// Switches on the protocols of this list and off all others; "all" stands for every one.
    ///
    /// # Errors
    /// A name that no protocol has. Nothing is changed then.
    pub fn switch(&self, list: &str) -> Result<(), TransportError> {
        let wanted = self.check(list)?;
        self.change(|registry| {
            for index in 0..registry.slots.len() {
                let slot = &mut registry.slots[index];
                let name = slot.protocol.name();
                let on = wanted.is_none_or(|list| names_of(list).any(|wanted| wanted == name));
                if std::mem::replace(&mut slot.on, on) && !on {
                    registry.retire(|stack| stack.has(name));
                }
            }
        });
        Ok(())
    }

    /// Switches TLS off, or all off that is not inside of it.
    pub(crate) fn set_tls_mode(&self, mode: TlsMode) {
        self.change(|registry| {
            if registry.tls.replace(mode) != Some(mode) {
                match mode {
                    TlsMode::Disabled => registry.retire(|stack| stack.has(tls::NAME)),
                    TlsMode::Permissive => {}
                    TlsMode::Enforcing => registry.retire(|stack| !stack.has(tls::NAME)),
                }
            }
        });
    }

    /// Whether TLS is served, and what is not inside of it.
    pub(crate) fn tls_mode(&self) -> TlsMode {
        let registry = self.shared.registry.lock();
        registry.tls.unwrap_or(TlsMode::Permissive)
    }

    /// What was logged of refused connections.
    pub(crate) fn refusals(&self) -> &Refusals {
        &self.shared.refusals
    }

    /// Checks a list for [`switch`](Self::switch); `None` stands for all.
    pub(crate) fn check<'a>(&self, list: &'a str) -> Result<Option<&'a str>, TransportError> {
        if list.trim() == ALL {
            return Ok(None);
        }
        match names_of(list).find(|name| !self.names().contains(name)) {
            None => Ok(Some(list)),
            Some(name) => Err(TransportError::UnknownProtocol {
                name: name.to_owned(),
                known: self.names().join(", "),
            }),
        }
    }

    /// The names, in order, also of those that are off.
    pub fn names(&self) -> Vec<&'static str> {
        let registry = self.shared.registry.lock();
        registry.slots.iter().map(|it| it.protocol.name()).collect()
    }

    /// All protocols, in order.
    pub fn status(&self) -> Vec<ProtocolStatus> {
        let registry = self.shared.registry.lock();
        let status = registry.slots.iter().map(|slot| {
            let name = slot.protocol.name();
            let stacks = registry.stacks.iter().filter(|stack| stack.has(name));
            ProtocolStatus {
                name,
                on: slot.on,
                connections: stacks.map(|stack| stack.connections()).sum(),
            }
        });
        status.collect()
    }

    /// Told each time that stacks are retired.
    pub(crate) fn retirements(&self) -> watch::Receiver<()> {
        self.shared.retired.subscribe()
    }

    /// Finds out the protocol of a connection, or of what a layer carries, and serves it to its
    /// end.
    pub(crate) async fn serve(&self, link: Link, endpoint: Arc<Endpoint>) {
        // In memory of its own, which is free once the protocol is known.
        let found = Box::pin(self.find(link, &endpoint));
        if let Some((protocol, link)) = found.await {
            protocol.serve(link, endpoint).await;
        }
    }

    /// Finds out the protocol of a connection. Who is refused is told so here.
    async fn find(&self, mut link: Link, endpoint: &Endpoint) -> Option<(Arc<dyn Protocol>, Link)> {
        let deadline = endpoint.deadline(&link);
        link.deadline = Some(deadline);
        let detected = tokio::select! {
            detected = timeout_at(deadline, self.detect(&mut link)) => detected,
            () = endpoint.closing() => return None,
        };
        let peer = link.peer;
        match detected {
            Ok(Ok(First::Served(protocol, stack))) => {
                link.stack = stack;
                return Some((protocol, link));
            }
            Ok(Ok(First::Refused(protocol, why))) => {
                endpoint.log_refusal(peer, format_args!("{}: {why}", protocol.name()));
                // It has had its time.
                let _ = timeout(REFUSING, protocol.refuse(link, why)).await;
            }
            Ok(Ok(First::Unknown | First::NeedMore)) if link.received.is_empty() => {}
            Ok(Ok(First::Unknown | First::NeedMore)) => {
                let first = link.received[..link.received.len().min(16)].escape_ascii();
                let names = self.names().join(", ");
                endpoint.log_refusal(
                    peer,
                    format_args!("it begins with \"{first}\", which is none of {names}"),
                );
            }
            Ok(Err(error)) => tracing::debug!(%peer, %error, "a connection failed"),
            Err(_) => tracing::debug!(%peer, "a silent connection is closed"),
        }
        None
    }

    /// Reads until the protocol is known, or the peer sends no more.
    async fn detect(&self, link: &mut Link) -> io::Result<First> {
        loop {
            if !link.received.is_empty() {
                match self.first(link) {
                    First::NeedMore if link.received.len() < MAX_FIRST_BYTES => {}
                    told => return Ok(told),
                }
            }
            link.received.reserve(FIRST_READ);
            if link.stream.read_buf(&mut link.received).await? == 0 {
                return Ok(First::Unknown);
            }
        }
    }

    /// Asks the protocols for what has been read.
    fn first(&self, link: &Link) -> First {
        if link.stack.layers().len() >= MAX_LAYERS {
            return First::Unknown;
        }
        let mut registry = self.shared.registry.lock();
        // What a proxy says stands before all that is spoken here.
        let depth = link
            .stack
            .layers()
            .iter()
            .filter(|it| **it != proxy_protocol::NAME)
            .count();
        let pin = link.pins.as_deref().and_then(|pins| pins.get(depth));
        let mut undecided = false;
        for slot in &registry.slots {
            let name = slot.protocol.name();
            let detection = match pin {
                Some(pin) if *pin == name && !undecided => Detection::Yes,
                Some(_) if name != proxy_protocol::NAME => Detection::No,
                _ => slot.protocol.detect(&link.received),
            };
            match detection {
                Detection::Yes => {
                    let protocol = Arc::clone(&slot.protocol);
                    return match registry.refusal(slot, link) {
                        Some(why) => First::Refused(protocol, why),
                        None => First::Served(protocol, registry.stack(&link.stack, name)),
                    };
                }
                Detection::No => {}
                Detection::NeedMore => undecided = true,
            }
        }
        if undecided {
            First::NeedMore
        } else {
            First::Unknown
        }
    }

    fn change(&self, change: impl FnOnce(&mut Registry)) {
        change(&mut self.shared.registry.lock());
        self.shared.retired.send_replace(());
    }
}

/// What stands for all protocols in a list of them.
pub(crate) const ALL: &str = "all";

/// The names in a list of protocols.
fn names_of(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

impl Registry {
    fn slot(&mut self, name: &str) -> Option<&mut Slot> {
        self.slots
            .iter_mut()
            .find(|slot| slot.protocol.name() == name)
    }

    /// The stack of a connection that speaks `name` upon what it spoke before.
    fn stack(&mut self, below: &Stack, name: &'static str) -> Arc<Stack> {
        if let Some(known) = self.stacks.iter().find(|stack| stack.is(below, name)) {
            return Arc::clone(known);
        }
        let stack = Arc::new(below.with(name));
        self.stacks.push(Arc::clone(&stack));
        stack
    }

    /// Why this protocol is not served on a connection.
    fn refusal(&self, slot: &Slot, link: &Link) -> Option<Refused> {
        let name = slot.protocol.name();
        let off = name == tls::NAME && self.tls == Some(TlsMode::Disabled);
        if !slot.on || off || link.stack.is_retired() {
            return Some(Refused::Off);
        }
        let open = link.is_local()
            || link.stack.has(tls::NAME)
            || [tls::NAME, proxy_protocol::NAME].contains(&name);
        (self.tls == Some(TlsMode::Enforcing) && !open).then_some(Refused::NotEncrypted)
    }

    /// Has no new connection get one of these stacks, and those that have it end.
    fn retire(&mut self, is_retired: impl Fn(&Stack) -> bool) {
        self.stacks.retain(|stack| {
            let retired = is_retired(stack);
            if retired {
                stack.retire();
            }
            !retired
        });
    }
}

impl fmt::Debug for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.status()).finish()
    }
}
