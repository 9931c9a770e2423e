//! Certificates and keys: from the settings and their files to what a handshake needs
//! (`TlsHelper.buildSslContext` of the reference).

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::Settings;
use pkcs8::der::pem::PemLabel;
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use super::any_certificate::AnyCertificate;
use crate::settings::{ClientAuth, RemotingServerConfig};

/// What HTTP clients choose from. Remoting clients name nothing.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The keys that the file `tls.config.file` may set over those of the configuration.
const IN_FILE: [&str; 8] = [
    "tls.test.mode.enable",
    "tls.server.need.client.auth",
    "tls.server.keyPath",
    "tls.server.keyPassword",
    "tls.server.certPath",
    "tls.server.authClient",
    "tls.server.trustCertPath",
    "kerolox.tlsCertificates",
];

const CERTIFICATE: &str = "self-signed.crt";
const KEY: &str = "self-signed.key";

/// A certificate with those who vouch for it, and its key.
type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// What a handshake needs, made from these settings and the files that they name; else a
/// sentence that says what is wrong with them.
pub(super) fn server_config(settings: &RemotingServerConfig) -> Result<ServerConfig, String> {
    let settings = with_file(settings)?;
    let provider = Arc::new(ring::default_provider());
    let identity = if settings.tls_test_mode_enable {
        self_signed(settings.tls_self_signed_directory.as_deref())?
    } else {
        named(&settings)?
    };
    let password = settings.tls_server_key_password.as_deref();
    let mut more = Vec::new();
    for (chain, key) in pairs(&settings.tls_certificates)? {
        let identity = (certificates(&chain)?, private_key(&key, password)?);
        let certified = certified(identity, &provider);
        more.push(certified.map_err(|error| format!("{}: {error}", chain.display()))?);
    }
    let certificates = Certificates {
        usual: certified(identity, &provider)?,
        more,
    };
    let wanted = settings.tls_server_need_client_auth;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = if settings.tls_test_mode_enable || wanted == ClientAuth::None {
        builder.with_no_client_auth()
    } else {
        builder.with_client_cert_verifier(verifier(&settings, &provider)?)
    };
    let mut config = builder.with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).into();
    // Clients come back with what they were given, so that nothing is kept for them here. New
    // certificates come with a new ticketer: what clients had to show before may not be enough.
    config.ticketer = ring::Ticketer::new().map_err(|error| error.to_string())?;
    Ok(config)
}

/// The files that these settings name, to be watched.
pub(super) fn files(settings: &RemotingServerConfig) -> Vec<PathBuf> {
    let effective = with_file(settings);
    let settings = effective.as_ref().unwrap_or(settings);
    let mut files = vec![PathBuf::from(&settings.tls_config_file)];
    if !settings.tls_test_mode_enable {
        let named = [
            &settings.tls_server_cert_path,
            &settings.tls_server_key_path,
            &settings.tls_server_trust_cert_path,
        ];
        files.extend(named.into_iter().flatten().map(PathBuf::from));
    }
    let more = pairs(&settings.tls_certificates).unwrap_or_default();
    files.extend(more.into_iter().flat_map(|(chain, key)| [chain, key]));
    files
}

/// Reads a list of files of certificates, each with that of its key: `CERTIFICATE=KEY`.
pub(crate) fn pairs(list: &str) -> Result<Vec<(PathBuf, PathBuf)>, String> {
    let items = list.split(',').map(str::trim).filter(|it| !it.is_empty());
    let read = |item: &str| match item.split_once('=') {
        Some((chain, key)) if !chain.trim().is_empty() && !key.trim().is_empty() => {
            Ok((chain.trim().into(), key.trim().into()))
        }
        _ => Err(format!("`{item}` is not as in server.crt=server.key")),
    };
    items.map(read).collect()
}

fn certified(
    (chain, key): Identity,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, String> {
    let certified = CertifiedKey::from_der(chain, key, provider);
    certified
        .map(Arc::new)
        .map_err(|error| format!("the key does not fit the certificate: {error}"))
}

/// What a server shows.
#[derive(Debug)]
struct Certificates {
    usual: Arc<CertifiedKey>,
    /// Those for clients that ask for a name which they have.
    more: Vec<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(ServerName::try_from);
        let asked = name.and_then(|name| {
            let name = name.ok()?;
            self.more.iter().find(|it| has_name(it, &name))
        });
        Some(Arc::clone(asked.unwrap_or(&self.usual)))
    }
}

fn has_name(certified: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let certificate = certified
        .end_entity_cert()
        .and_then(ParsedCertificate::try_from);
    certificate.is_ok_and(|it| verify_server_name(&it, name).is_ok())
}

/// The settings with those of `tls.config.file` over them, if there is that file.
fn with_file(settings: &RemotingServerConfig) -> Result<RemotingServerConfig, String> {
    let mut settings = settings.clone();
    let path = settings.tls_config_file.clone();
    let Ok(text) = std::fs::read(&path) else {
        return Ok(settings);
    };
    let entries = config::properties::parse(&path, &text).map_err(|error| error.to_string())?;
    for entry in entries
        .iter()
        .filter(|entry| IN_FILE.contains(&&*entry.key))
    {
        let set = settings.set(&entry.key, &entry.value);
        set.map_err(|error| format!("{path}:{}: {error}", entry.line))?;
    }
    Ok(settings)
}

fn named(settings: &RemotingServerConfig) -> Result<Identity, String> {
    let path = |key: &str, path: &Option<String>| match path.as_deref() {
        Some(path) if !path.is_empty() => Ok(PathBuf::from(path)),
        _ => Err(format!("tls.test.mode.enable=false needs {key}; set it")),
    };
    let chain = path("tls.server.certPath", &settings.tls_server_cert_path)?;
    let key = path("tls.server.keyPath", &settings.tls_server_key_path)?;
    let password = settings.tls_server_key_password.as_deref();
    Ok((certificates(&chain)?, private_key(&key, password)?))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{} can't be read: {error}", path.display()))
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(format!("{} has no certificate in PEM", path.display())),
    }
}

/// Reads a key in PEM: PKCS#8, also encrypted (with scrypt or PBKDF2 and AES), PKCS#1 or SEC1.
pub(super) fn private_key(
    path: &Path,
    password: Option<&str>,
) -> Result<PrivateKeyDer<'static>, String> {
    let bytes = read(path)?;
    if let Ok(key) = PrivateKeyDer::from_pem_slice(&bytes) {
        return Ok(key);
    }
    let path = path.display();
    let text = String::from_utf8_lossy(&bytes);
    let Ok((pkcs8::EncryptedPrivateKeyInfo::PEM_LABEL, der)) =
        pkcs8::SecretDocument::from_pem(text.trim())
    else {
        return Err(format!("{path} has no private key in PEM"));
    };
    let Some(password) = password else {
        return Err(format!("{path} is encrypted; set tls.server.keyPassword"));
    };
    let key = pkcs8::EncryptedPrivateKeyInfo::try_from(der.as_bytes())
        .and_then(|key| key.decrypt(password))
        .map_err(|error| {
            format!("{path} can't be decrypted with tls.server.keyPassword: {error}")
        })?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

fn verifier(
    settings: &RemotingServerConfig,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let required = settings.tls_server_need_client_auth == ClientAuth::Require;
    if !settings.tls_server_auth_client {
        return Ok(Arc::new(AnyCertificate {
            required,
            algorithms: provider.signature_verification_algorithms,
        }));
    }
    let Some(path) = settings.tls_server_trust_cert_path.as_deref() else {
        return Err("tls.server.authClient=true needs tls.server.trustCertPath; set it".into());
    };
    let roots = roots(path)?;
    let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
    let builder = if required {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    let verifier = builder
        .build()
        .map_err(|error| format!("{path} can't be trusted: {error}"))?;
    Ok(verifier)
}

/// Those who vouch for others, from a file in PEM.
pub(super) fn roots(path: &str) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(Path::new(path))? {
        roots
            .add(certificate)
            .map_err(|error| format!("{path} can't be trusted: {error}"))?;
    }
    Ok(Arc::new(roots))
}

/// The certificate of the test mode: kept in a directory, made where there is none.
fn self_signed(directory: Option<&str>) -> Result<Identity, String> {
    let Some(directory) = directory.map(Path::new) else {
        let (certificate, key) = make()?;
        let chain = CertificateDer::from_pem_slice(certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
        return match (chain, key) {
            (Ok(certificate), Ok(key)) => Ok((vec![certificate], key)),
            _ => Err("a certificate that was made can't be read".into()),
        };
    };
    let (at, key_at) = (directory.join(CERTIFICATE), directory.join(KEY));
    if !at.exists() || !key_at.exists() {
        let (certificate, key) = make()?;
        std::fs::create_dir_all(directory)
            .and_then(|()| write(&key_at, &key, 0o600))
            .and_then(|()| write(&at, &certificate, 0o644))
            .map_err(|error| format!("{} can't be written: {error}", directory.display()))?;
    }
    Ok((certificates(&at)?, private_key(&key_at, None)?))
}

fn write(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let options = options.create(true).truncate(true).write(true).mode(mode);
    options.open(path)?.write_all(text.as_bytes())
}

/// A certificate for this machine and its key, in PEM.
fn make() -> Result<(String, String), String> {
    let names = [
        "localhost",
        "127.0.0.1",
        "::1",
        &config::machine::host_name(),
    ];
    let made = rcgen::generate_simple_self_signed(names.map(str::to_owned));
    let made = made.map_err(|error| format!("no certificate can be made: {error}"))?;
    Ok((made.cert.pem(), made.signing_key.serialize_pem()))
}
