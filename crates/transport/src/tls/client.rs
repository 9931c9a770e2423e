//! The client's side of TLS.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, UnbufferedClientConnection, WebPkiServerVerifier};
use rustls::crypto::ring;
use rustls::pki_types::ServerName;

use super::any_certificate::AnyCertificate;
use super::identity;
use super::stream::TlsStream;
use crate::error::TransportError;
use crate::network::Link;
use crate::settings::RemotingClientConfig;

/// Sets up TLS on connections to servers. Clones share what servers gave for coming back.
#[derive(Clone)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
}

impl TlsClient {
    /// A client that shows and trusts what the settings say; by default it shows nothing and
    /// trusts every server, as the reference's does.
    ///
    /// # Errors
    /// A file that the settings name can't be used.
    pub fn new(settings: &RemotingClientConfig) -> Result<Self, TransportError> {
        let config = config(settings).map_err(TransportError::Tls)?;
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// The same for a protocol that is named in the handshake, such as `h2`.
    #[must_use]
    pub fn speaking(self, alpn: &str) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = vec![alpn.into()];
        Self {
            config: Arc::new(config),
        }
    }

    /// The same without coming back to what servers gave earlier.
    #[must_use]
    pub fn without_resumption(self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::disabled();
        Self {
            config: Arc::new(config),
        }
    }

    /// Sets up TLS on a connection to `host:port`.
    ///
    /// # Errors
    /// The handshake fails.
    pub async fn connect(&self, link: Link, address: &str) -> io::Result<Link> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let config = Arc::clone(&self.config);
        let session = UnbufferedClientConnection::new(config, name).map_err(io::Error::other)?;
        link.wrap(|stream| TlsStream::shake_hands(stream, session))
            .await
    }
}

/// As `TlsHelper.buildSslContext` of the reference makes it for clients.
pub(super) fn config(settings: &RemotingClientConfig) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = if settings.tls_test_mode_enable
        || !settings.tls_client_auth_server
    {
        Arc::new(AnyCertificate {
            required: true,
            algorithms: provider.signature_verification_algorithms,
        })
    } else {
        let Some(path) = settings.tls_client_trust_cert_path.as_deref() else {
            return Err("tls.client.authServer=true needs tls.client.trustCertPath; set it".into());
        };
        let roots = identity::roots(path)?;
        WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|error| format!("{path} can't be trusted: {error}"))?
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let own = (
        &settings.tls_client_cert_path,
        &settings.tls_client_key_path,
    );
    match own {
        (Some(chain), Some(key)) if !settings.tls_test_mode_enable => {
            let password = settings.tls_client_key_password.as_deref();
            builder
                .with_client_auth_cert(
                    identity::certificates(Path::new(chain))?,
                    identity::private_key(Path::new(key), password)?,
                )
                .map_err(|error| format!("the key does not fit the certificate: {error}"))
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}
