//! TLS on a server's port.

use std::path::Path;
use std::sync::Arc;

use config::{Live, Settings};
use kerolox_transport::{
    ByteStream, ClientAuth, RemotingServer, RemotingServerConfig, TransportError,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, HandshakeKind, ProtocolVersion, SignatureScheme,
    SupportedProtocolVersion,
};

use crate::peer::{self, ECHO, Peer, ask, echo, local};

/// Trusts every server.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// A certificate and its key, in PEM.
struct Identity {
    certificate: String,
    key: String,
}

/// Who signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn sign(&self, last_year: i32) -> Identity {
        self.sign_for("localhost", last_year)
    }

    fn sign_for(&self, name: &str, last_year: i32) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(last_year, 1, 1);
        let key = KeyPair::generate().unwrap();
        Identity {
            certificate: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

/// What the test clients start from.
fn client(versions: &[&'static SupportedProtocolVersion], own: Option<&Identity>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer));
    match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain = CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![chain], key).unwrap()
        }
    }
}

fn any_client() -> Arc<ClientConfig> {
    Arc::new(client(&[&TLS13, &TLS12], None))
}

async fn connect(
    server: &RemotingServer,
    client: &Arc<ClientConfig>,
) -> std::io::Result<Peer<TlsStream<TcpStream>>> {
    shake_hands(TcpStream::connect(server.local_addr()).await?, client).await
}

async fn shake_hands<S: ByteStream>(
    stream: S,
    client: &Arc<ClientConfig>,
) -> std::io::Result<Peer<TlsStream<S>>> {
    shake_hands_with("localhost", stream, client).await
}

/// The same with a server by another name.
async fn shake_hands_with<S: ByteStream>(
    name: &'static str,
    stream: S,
    client: &Arc<ClientConfig>,
) -> std::io::Result<Peer<TlsStream<S>>> {
    let name = ServerName::try_from(name).unwrap();
    let connector = TlsConnector::from(Arc::clone(client));
    Ok(Peer::on(connector.connect(name, stream).await?))
}

/// Whether a request is answered over TLS. A client of TLS 1.3 learns by its first read only
/// that its certificate is refused.
async fn is_served(server: &RemotingServer, client: &Arc<ClientConfig>) -> bool {
    match connect(server, client).await {
        Ok(mut peer) => peer.echo("over TLS").await.is_some(),
        Err(_) => false,
    }
}

async fn serve(config: RemotingServerConfig) -> (RemotingServer, Live<RemotingServerConfig>) {
    let live = Live::new(config);
    let bound = RemotingServer::bind((*live.load()).clone()).await.unwrap();
    let server = bound.handlers(echo()).follow(&live).unwrap().start();
    (server, live)
}

fn update(live: &Live<RemotingServerConfig>, text: &str) -> Result<(), String> {
    let changes = config::properties::parse("update", text.as_bytes()).unwrap();
    let updated = live.update(&changes).map_err(|error| error.to_string());
    updated.map(drop)
}

fn shown(peer: &Peer<TlsStream<TcpStream>>) -> CertificateDer<'static> {
    let (_, session) = peer.stream.get_ref();
    session.peer_certificates().unwrap()[0].clone().into_owned()
}

/// Settings with the files of an identity in a directory.
fn with_files(directory: &Path, identity: &Identity) -> RemotingServerConfig {
    let (certificate, key) = (directory.join("server.crt"), directory.join("server.key"));
    std::fs::write(&certificate, &identity.certificate).unwrap();
    std::fs::write(&key, &identity.key).unwrap();
    RemotingServerConfig {
        tls_test_mode_enable: false,
        tls_server_cert_path: Some(certificate.to_string_lossy().into_owned()),
        tls_server_key_path: Some(key.to_string_lossy().into_owned()),
        ..local()
    }
}

#[tokio::test]
async fn tls_and_plain_connections_share_a_port() {
    let (server, _live) = serve(local()).await;
    for (version, name) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let client = Arc::new(client(&[version], None));
        let mut peer = connect(&server, &client).await.unwrap();
        assert_eq!(peer.stream.get_ref().1.protocol_version(), Some(name));
        peer.echo("encrypted").await.unwrap();
        assert_eq!(server.connections()[0].stack().name(), "tls/remoting");
        peer.stream.shutdown().await.unwrap();
        while server.connection_count() > 0 {
            tokio::task::yield_now().await;
        }
    }
    let mut peer = Peer::connect(server.local_addr()).await;
    peer.echo("plain").await.unwrap();
}

#[tokio::test]
async fn clients_choose_among_the_protocols_that_are_named() {
    let (server, _live) = serve(local()).await;
    for (offered, chosen) in [(&["x", "h2"][..], "h2"), (&["http/1.1"], "http/1.1")] {
        let mut config = client(&[&TLS13], None);
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().into()).collect();
        let peer = connect(&server, &Arc::new(config)).await.unwrap();
        let (_, session) = peer.stream.get_ref();
        assert_eq!(session.alpn_protocol(), Some(chosen.as_bytes()));
    }
    let mut config = client(&[&TLS13], None);
    config.alpn_protocols = vec![b"gopher".to_vec()];
    let error = connect(&server, &Arc::new(config)).await.err().unwrap();
    assert!(
        error.to_string().contains("NoApplicationProtocol"),
        "{error}"
    );
}

#[tokio::test]
async fn a_client_that_comes_back_resumes_its_session() {
    let (server, _live) = serve(local()).await;
    for version in [&TLS12, &TLS13] {
        let client = Arc::new(client(&[version], None));
        let mut first = connect(&server, &client).await.unwrap();
        first.echo("the answer brings tickets along").await.unwrap();
        let second = connect(&server, &client).await.unwrap();
        let (_, session) = second.stream.get_ref();
        assert_eq!(session.handshake_kind(), Some(HandshakeKind::Resumed));
    }
}

#[tokio::test]
async fn the_mode_changes_while_the_server_runs() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let config = RemotingServerConfig {
        listeners: format!("unix:{}", socket.display()),
        ..local()
    };
    let (server, live) = serve(config).await;
    let client = any_client();
    let mut plain = Peer::connect(server.local_addr()).await;
    plain.echo("plain").await.unwrap();
    let mut encrypted = connect(&server, &client).await.unwrap();
    encrypted.echo("encrypted").await.unwrap();

    update(&live, "tls.server.mode=enforcing").unwrap();
    assert!(plain.receive().await.is_none());
    let mut refused = Peer::connect(server.local_addr()).await;
    assert!(refused.echo("plain").await.is_none());
    let advice = ask(&peer::client(), &server, ECHO).await.unwrap_err();
    assert!(advice.to_string().contains("tls://"), "{advice}");
    encrypted.echo("goes on").await.unwrap();
    let mut on_this_machine = Peer::on(UnixStream::connect(&socket).await.unwrap());
    on_this_machine.echo("nobody listens").await.unwrap();

    update(&live, "tls.server.mode=disabled").unwrap();
    assert!(encrypted.receive().await.is_none());
    let alert = connect(&server, &client).await.err().unwrap().to_string();
    assert!(alert.contains("HandshakeFailure"), "{alert}");
    let mut plain = Peer::connect(server.local_addr()).await;
    plain.echo("plain again").await.unwrap();

    update(&live, "tls.server.mode=permissive").unwrap();
    assert!(is_served(&server, &client).await);
}

#[tokio::test]
async fn certificates_are_read_anew_when_their_files_change() {
    let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let first = authority.sign(4000);
    let (server, live) = serve(with_files(directory.path(), &first)).await;
    let client = any_client();
    let mut open = connect(&server, &client).await.unwrap();
    let der = |identity: &Identity| {
        CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()
    };
    assert_eq!(shown(&open), der(&first));

    // Between the two writes the key does not fit, and the old certificate is shown.
    let second = authority.sign(4000);
    with_files(directory.path(), &second);
    loop {
        let peer = connect(&server, &any_client()).await.unwrap();
        if shown(&peer) == der(&second) {
            break;
        }
        assert_eq!(shown(&peer), der(&first));
    }
    open.echo("goes on with the first").await.unwrap();

    let refused = update(&live, "tls.server.certPath=/nowhere").unwrap_err();
    assert!(
        refused.starts_with("TLS can't be served: /nowhere can't be read: "),
        "{refused}"
    );
    assert!(is_served(&server, &client).await);
}

#[tokio::test]
async fn a_client_is_shown_the_certificate_of_the_name_that_it_asks_for() {
    let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let write = |identity: &Identity, name: &str| {
        let path = |kind| directory.path().join(format!("{name}.{kind}"));
        std::fs::write(path("key"), &identity.key).unwrap();
        std::fs::write(path("crt"), &identity.certificate).unwrap();
        format!("{}={}", path("crt").display(), path("key").display())
    };
    let usual = authority.sign_for("broker.example", 4000);
    let (one, many) = ("one.example", "*.many.example");
    let [first, second] = [one, many].map(|name| authority.sign_for(name, 4000));
    let config = RemotingServerConfig {
        tls_certificates: [write(&first, "one"), write(&second, "many")].join(", "),
        ..with_files(directory.path(), &usual)
    };
    let (server, live) = serve(config).await;
    let shown = async |name| {
        let stream = TcpStream::connect(server.local_addr()).await.unwrap();
        let mut peer = shake_hands_with(name, stream, &any_client()).await.unwrap();
        peer.echo("by name").await.unwrap();
        shown(&peer)
    };
    let der = |identity: &Identity| {
        CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()
    };
    for (name, wanted) in [
        ("one.example", &first),
        ("a.many.example", &second),
        ("b.many.example", &second),
        ("many.example", &usual),
        ("broker.example", &usual),
        ("elsewhere.example", &usual),
        // No name is sent for an address.
        ("127.0.0.1", &usual),
    ] {
        assert_eq!(shown(name).await, der(wanted), "{name}");
    }

    let renewed = authority.sign_for(one, 4001);
    write(&renewed, "one");
    while shown("one.example").await != der(&renewed) {}
    assert_eq!(shown("a.many.example").await, der(&second));

    update(&live, "kerolox.tlsCertificates=").unwrap();
    assert_eq!(shown("one.example").await, der(&usual));
    for bad in ["one.crt", "=one.key", "/nowhere.crt=/nowhere.key"] {
        let refused = update(&live, &format!("kerolox.tlsCertificates={bad}")).unwrap_err();
        assert!(
            refused.contains(bad.split('=').next().unwrap()),
            "{refused}"
        );
    }
    assert_eq!(shown("one.example").await, der(&usual));
}

#[tokio::test]
async fn clients_show_certificates_as_the_settings_want() {
    let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let trusted = directory.path().join("trusted.crt");
    std::fs::write(&trusted, authority.0.pem()).unwrap();
    let config = RemotingServerConfig {
        tls_server_trust_cert_path: Some(trusted.to_string_lossy().into_owned()),
        ..with_files(directory.path(), &authority.sign(4000))
    };
    let known = authority.sign(4000);
    let expired = authority.sign(2001);
    let stranger = Authority::new().sign(4000);
    let clients = [None, Some(&known), Some(&expired), Some(&stranger)];
    for (auth, verified, served) in [
        (ClientAuth::None, true, [true, true, true, true]),
        (ClientAuth::Optional, true, [true, true, false, false]),
        (ClientAuth::Require, true, [false, true, false, false]),
        (ClientAuth::Require, false, [false, true, true, true]),
    ] {
        let config = RemotingServerConfig {
            tls_server_need_client_auth: auth,
            tls_server_auth_client: verified,
            ..config.clone()
        };
        let (server, _live) = serve(config).await;
        for (own, served) in clients.iter().zip(served) {
            for version in [&TLS12, &TLS13] {
                let client = Arc::new(client(&[version], *own));
                let found = is_served(&server, &client).await;
                assert_eq!(found, served, "{auth:?} {verified} {version:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_file_of_settings_outweighs_the_configuration() {
    let (directory, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let file = directory.path().join("tls.properties");
    let text = format!(
        "tls.test.mode.enable=false\ntls.server.certPath={0}/encrypted.crt\n\
         tls.server.keyPath={0}/encrypted.key\ntls.server.keyPassword=secret\n\
         tls.client.authServer=false\n",
        data.display()
    );
    std::fs::write(&file, &text).unwrap();
    let config = RemotingServerConfig {
        tls_config_file: file.to_string_lossy().into_owned(),
        ..with_files(directory.path(), &authority.sign(4000))
    };
    let (server, _live) = serve(config.clone()).await;
    let peer = connect(&server, &any_client()).await.unwrap();
    let expected = CertificateDer::from_pem_file(data.join("encrypted.crt")).unwrap();
    assert_eq!(shown(&peer), expected);

    std::fs::write(&file, text.replace("secret", "wrong")).unwrap();
    let bound = RemotingServer::bind(config.clone()).await.unwrap();
    let error = bound.follow(&Live::new(config)).err().unwrap().to_string();
    assert!(
        error.contains("can't be decrypted with tls.server.keyPassword"),
        "{error}"
    );
}

#[tokio::test]
async fn a_certificate_that_was_made_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tls").to_string_lossy().into_owned();
    let config = RemotingServerConfig {
        tls_self_signed_directory: Some(path),
        ..local()
    };
    let mut certificates = Vec::new();
    for _ in 0..2 {
        let (server, _live) = serve(config.clone()).await;
        certificates.push(shown(&connect(&server, &any_client()).await.unwrap()));
    }
    assert_eq!(certificates[0], certificates[1]);
}

#[tokio::test]
async fn settings_that_cannot_be_served_do_not_start() {
    for (key, value, wanted) in [
        (
            "tls.test.mode.enable",
            "false",
            "TLS can't be served: tls.test.mode.enable=false needs tls.server.certPath; set it",
        ),
        (
            "kerolox.protocols",
            "remoting,gopher",
            "kerolox.protocols cannot name `gopher`: the protocols are proxy, remoting, tls, websocket, http2, or all of them: all",
        ),
    ] {
        let mut config = local();
        config.set(key, value).unwrap();
        let bound = RemotingServer::bind(config.clone()).await.unwrap();
        let error: TransportError = bound.follow(&Live::new(config)).err().unwrap();
        assert_eq!(error.to_string(), wanted);
    }
}
