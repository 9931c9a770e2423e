//! What a server offers: its answer to `GET_CLIENT_CONFIG` (47), which no server of the reference
//! serves.
//!
//! The body is a JSON object:
//!
//! | member | what |
//! |---|---|
//! | `protocols` | names of the protocols that are switched on |
//! | `tls` | `tls.server.mode`: with `enforcing` all but TLS is refused |
//! | `listeners` | array: each port of the server, the main one first |
//! | `listeners[].address` | IP address and port; Unix sockets are not told |
//! | `listeners[].protocols` | names of what is spoken there, outermost first; empty for any |

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use wire::command::RequestCode;
use wire::header::NoHeader;

use crate::handler::HandlerTable;
use crate::protocols::Protocols;
use crate::reply::Reply;
use crate::settings::TlsMode;
use crate::tls;

/// The commands that every server answers by itself.
pub const SERVED: &[RequestCode] = &[RequestCode::GetClientConfig];

/// What a server offers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Offer {
    protocols: Vec<String>,
    tls: String,
    listeners: Vec<Port>,
}

/// A port of a server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    /// What is spoken there, outermost first; empty for any.
    pub(crate) protocols: Vec<String>,
}

impl Offer {
    /// What a server of these protocols offers now.
    fn of(protocols: &Protocols, listeners: &[Port]) -> Self {
        let mode = protocols.tls_mode();
        let status = protocols.status().into_iter();
        let offered =
            status.filter(|it| it.on && (it.name != tls::NAME || mode != TlsMode::Disabled));
        Self {
            protocols: offered.map(|it| it.name.to_owned()).collect(),
            tls: mode.word().to_owned(),
            listeners: listeners.to_vec(),
        }
    }

    /// What a server offers that does not tell: one of the reference.
    pub(super) fn untold() -> Self {
        Self {
            protocols: ["remoting", tls::NAME].map(str::to_owned).into(),
            tls: TlsMode::Permissive.word().to_owned(),
            listeners: Vec::new(),
        }
    }

    /// Whether a host and port, as they were dialled, serve these protocols inside of each other.
    pub(super) fn serves(&self, target: &str, layers: &[&str]) -> bool {
        let port = target.rsplit_once(':').map_or("", |(_, port)| port);
        let known = self.listeners.iter();
        let mut known = known.filter(|it| it.address.port().to_string() == port);
        // Behind a mapping of ports the server does not know what was dialled.
        self.speaks(layers) && known.next().is_none_or(|it| it.takes(layers))
    }

    /// Another port of the host in `target` that serves these protocols. A server can send nobody
    /// to another host.
    pub(super) fn elsewhere(&self, target: &str, layers: &[&str]) -> Option<String> {
        let (host, _) = target.rsplit_once(':')?;
        let here = |ip: std::net::IpAddr| {
            ip.is_unspecified() || ip.to_string() == host.trim_matches(['[', ']'])
        };
        let mut ports = self.listeners.iter();
        let port = ports.find(|it| here(it.address.ip()) && it.takes(layers))?;
        self.speaks(layers)
            .then(|| format!("{host}:{}", port.address.port()))
    }

    fn speaks(&self, layers: &[&str]) -> bool {
        let open = self.tls != TlsMode::Enforcing.word() || layers.contains(&tls::NAME);
        open && layers
            .iter()
            .all(|layer| self.protocols.iter().any(|it| it == layer))
    }
}

impl Port {
    fn takes(&self, layers: &[&str]) -> bool {
        self.protocols.len() <= layers.len()
            && self.protocols.iter().zip(layers).all(|(it, at)| it == at)
    }
}

/// Has a server with these ports tell what it offers.
pub(crate) fn serve(handlers: &mut HandlerTable, protocols: &Protocols, listeners: Vec<Port>) {
    let protocols = protocols.clone();
    handlers.inline_each(SERVED, move |_, _| {
        let offer = Offer::of(&protocols, &listeners);
        // Strings, numbers and addresses are always written.
        let body = serde_json::to_vec(&offer).unwrap_or_default();
        Ok(Reply::<NoHeader>::empty().with_body(body))
    });
}
