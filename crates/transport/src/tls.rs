//! TLS around any other protocol. What is inside is told by its own first bytes.

mod any_certificate;
mod client;
pub(crate) mod identity;
mod stream;

pub use client::TlsClient;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::{Mutex, RwLock};
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout_at;

use self::stream::TlsStream;
use crate::endpoint::Endpoint;
use crate::error::TransportError;
use crate::executor::BoxFuture;
use crate::network::Link;
use crate::protocol::{Detection, Protocol, Refused};
use crate::settings::RemotingServerConfig;

/// The protocol's name.
pub(crate) const NAME: &str = "tls";

/// The type of the record that a handshake begins with.
const HANDSHAKE: u8 = 0x16;

/// A fatal alert `handshake_failure`, for those who are refused before a handshake.
const REFUSAL: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 40];

/// The protocol, with the certificate that it shows. Without one every handshake is refused.
#[derive(Default)]
pub(crate) struct Tls {
    config: RwLock<Option<Arc<ServerConfig>>>,
    seen: Mutex<Seen>,
}

/// What the certificate was made from.
#[derive(Default, PartialEq)]
struct Seen {
    settings: Option<RemotingServerConfig>,
    files: Vec<Stamp>,
}

/// A file as it was: its name, when it was changed, and its size; `None` when there is none.
type Stamp = (PathBuf, Option<(SystemTime, u64)>);

impl Tls {
    /// Whether these settings name other certificates or keys than those in use.
    pub(crate) fn has_news(&self, settings: &RemotingServerConfig) -> bool {
        self.seen.lock().settings.as_ref() != Some(&relevant(settings))
    }

    /// Reads certificates and keys if the settings name others, or the files have changed since.
    /// Connections that are open stay as they are. When something can't be read, what was read
    /// before stays in use.
    ///
    /// # Errors
    /// What can't be used. The same failure is told once.
    pub(crate) fn refresh(&self, settings: &RemotingServerConfig) -> Result<(), TransportError> {
        let relevant = relevant(settings);
        let now = Seen {
            files: identity::files(&relevant).into_iter().map(stamp).collect(),
            settings: Some(relevant),
        };
        let mut seen = self.seen.lock();
        if *seen == now {
            return Ok(());
        }
        let first = seen.settings.is_none();
        *seen = now;
        let config = check(settings)?;
        *self.config.write() = Some(Arc::new(config));
        if !first {
            tracing::info!("certificates and keys were read anew");
        }
        Ok(())
    }
}

/// What these settings make, or why they can't.
pub(crate) fn check(settings: &RemotingServerConfig) -> Result<ServerConfig, TransportError> {
    identity::server_config(settings).map_err(TransportError::Tls)
}

/// These settings with nothing in them but what certificates are made from.
fn relevant(settings: &RemotingServerConfig) -> RemotingServerConfig {
    RemotingServerConfig {
        tls_config_file: settings.tls_config_file.clone(),
        tls_test_mode_enable: settings.tls_test_mode_enable,
        tls_server_need_client_auth: settings.tls_server_need_client_auth,
        tls_server_key_path: settings.tls_server_key_path.clone(),
        tls_server_key_password: settings.tls_server_key_password.clone(),
        tls_server_cert_path: settings.tls_server_cert_path.clone(),
        tls_certificates: settings.tls_certificates.clone(),
        tls_server_auth_client: settings.tls_server_auth_client,
        tls_server_trust_cert_path: settings.tls_server_trust_cert_path.clone(),
        tls_self_signed_directory: settings.tls_self_signed_directory.clone(),
        ..Default::default()
    }
}

fn stamp(path: PathBuf) -> Stamp {
    let state = std::fs::metadata(&path).and_then(|it| Ok((it.modified()?, it.len())));
    (path, state.ok())
}

impl Protocol for Tls {
    fn name(&self) -> &'static str {
        NAME
    }

    fn detect(&self, first: &[u8]) -> Detection {
        match first.first() {
            Some(&HANDSHAKE) => Detection::Yes,
            _ => Detection::No,
        }
    }

    fn serve(self: Arc<Self>, link: Link, endpoint: Arc<Endpoint>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let config = self.config.read().clone();
            let Some(config) = config else {
                endpoint.log_refusal(link.peer, "TLS has no certificate it could show");
                return self.refuse(link, Refused::Off).await;
            };
            let (peer, deadline) = (link.peer, endpoint.deadline(&link));
            // In memory of its own, which is free when the handshake is over.
            let shaking = Box::pin(timeout_at(deadline, shake_hands(link, config)));
            let shaken = tokio::select! {
                shaken = shaking => shaken,
                () = endpoint.closing() => return,
            };
            match shaken {
                Ok(Ok(link)) => endpoint.serve(link).await,
                Ok(Err(error)) => {
                    endpoint.log_refusal(peer, format_args!("its TLS handshake fails: {error}"));
                }
                Err(_) => tracing::debug!(%peer, "a TLS handshake takes too long"),
            }
        })
    }

    fn refuse(self: Arc<Self>, mut link: Link, _: Refused) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            // A peer that has left does not miss the alert.
            let _ = link.stream.write_all(&REFUSAL).await;
            let _ = link.stream.shutdown().await;
        })
    }
}

async fn shake_hands(link: Link, config: Arc<ServerConfig>) -> std::io::Result<Link> {
    let peer = link.peer;
    let accept = |stream| async {
        let session = UnbufferedServerConnection::new(config).map_err(std::io::Error::other)?;
        let stream = TlsStream::shake_hands(stream, session).await?;
        let session = stream.session();
        tracing::debug!(
            %peer,
            version = ?session.protocol_version(),
            suite = ?session.negotiated_cipher_suite().map(|suite| suite.suite()),
            alpn = session.alpn_protocol().map(|name| name.escape_ascii().to_string()),
            kind = ?session.handshake_kind(),
            "TLS is set up"
        );
        Ok(stream)
    };
    link.wrap(accept).await
}
