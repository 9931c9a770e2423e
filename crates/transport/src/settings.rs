//! Settings of servers and clients.

use std::time::Duration;

use crate::connection::Limits;
use crate::executor::OwnSizes;
use crate::network::SocketOptions;
use crate::protocols::ALL;
use crate::tls::identity;
use crate::{listeners, proxy_protocol};

/// Above this many unsent bytes no more requests are read, unless set otherwise: room for some
/// full answers to pulls (256 KiB each).
const HIGH_WATER: usize = 1024 * 1024;

config::choices! {
    /// Whether a server takes TLS, plain connections, or both.
    pub enum TlsMode {
        /// No TLS.
        Disabled = "disabled",
        /// Both.
        Permissive = "permissive",
        /// TLS only.
        Enforcing = "enforcing",
    }
}

config::choices! {
    /// Whether clients show certificates.
    pub enum ClientAuth {
        /// They are not asked for any.
        None = "none",
        /// They may.
        Optional = "optional",
        /// They must.
        Require = "require",
    }
}

config::choices! {
    /// Who chooses the protocol of a client.
    pub enum ClientProtocol {
        /// The address alone.
        Explicit = "explicit",
        /// The client, the best of what both sides offer.
        Auto = "auto",
        /// The address, and the client when that fails.
        Downgrade = "downgrade",
    }
}

config::settings! {
    /// Where a server listens, what it speaks and what its connections may take.
    pub struct RemotingServerConfig from "NettyServerConfig", "TlsSystemConfig" {
        /// The address to listen on: a host name, an IPv4 or an IPv6 address.
        "bindAddress" bind_address: String = "0.0.0.0".to_owned(), important;
        /// The port to listen on; 0 lets the system choose one.
        "listenPort" listen_port: u16 = 0, important;
        /// Seconds without a whole frame in or a byte out after which a connection is closed; 0 for never.
        "serverChannelMaxIdleTimeSeconds" server_channel_max_idle_time_seconds: u32 = 120;
        /// Size of the system's send buffer of a connection in bytes; 0 leaves it to the system.
        "serverSocketSndBufSize" server_socket_snd_buf_size: u32 = 0;
        /// Size of the system's receive buffer of a connection in bytes; 0 leaves it to the system.
        "serverSocketRcvBufSize" server_socket_rcv_buf_size: u32 = 0;
        /// Unsent bytes of a connection above which its requests are left unread; 0 means 1 MiB.
        "writeBufferHighWaterMark" write_buffer_high_water_mark: usize = 0;
        /// Unsent bytes of a connection below which its requests are read again; 0 means half the high water mark.
        "writeBufferLowWaterMark" write_buffer_low_water_mark: usize = 0;
        /// How many connections the system holds until they are accepted.
        "serverSocketBacklog" server_socket_backlog: u32 = 1024, range(1..=65_535);
        /// How many requests to one client may wait for its answers.
        "serverAsyncSemaphoreValue" server_async_semaphore_value: usize = 64, range(1..=1_000_000);
        /// Seconds that a stopping server waits for running requests and unsent answers.
        "shutdownWaitTimeSeconds" shutdown_wait_time_seconds: u32 = 30;
        /// Unsent bytes of a connection above which it is closed, since its peer does not read.
        "kerolox.maxUnsentBytes" max_unsent_bytes: usize = 64 * 1024 * 1024, range(1_048_576..), ours;
        /// How many connections a server accepts at a time.
        "kerolox.serverMaxConnections" server_max_connections: usize = 100_000, range(1..), reloadable, ours;
        /// How many of them from one address; 0 for as many as in all.
        "kerolox.serverMaxConnectionsPerAddress" server_max_connections_per_address: usize = 0, reloadable, ours;
        /// Seconds that a new connection may take to say what protocol it speaks, handshakes included.
        "kerolox.serverHandshakeTimeoutSeconds" server_handshake_timeout_seconds: u32 = 30, range(1..=3600), ours;
        /// The protocols that are switched on, joined by commas; `all` for all. Open connections of one that is switched off come to an end.
        "kerolox.protocols" protocols: String = ALL.to_owned(), reloadable, important, ours;
        /// Where else to listen: ports, host:port or unix:/path, joined by commas. Behind `=` stands what is spoken there, if not any protocol: `10921=tls, unix:/run/kerolox.sock=remoting`.
        "kerolox.listeners" listeners: String = String::new(), check(|list| listeners::parse(list, "").map(drop)), ours;
        /// Requests of a class that run at a time and wait where a protocol has sizes of its own, joined by commas: `tls/remoting:admin=4/1000`. Connections with several layers have sizes by all their names.
        "kerolox.executors" executors: String = String::new(), check(|list| OwnSizes::parse(list).map(drop)), reloadable, ours;
        /// Addresses and networks of proxies that tell by the PROXY protocol whom they forward, joined by commas: `10.0.0.0/8, ::1`.
        "kerolox.proxyProtocolFrom" proxy_protocol_from: String = String::new(), check(|list| proxy_protocol::check(list)), reloadable, ours;
        /// Whether TLS is taken: `disabled`, `permissive` (as well as plain connections) or `enforcing` (nothing else).
        "tls.server.mode" tls_server_mode: TlsMode = TlsMode::Permissive, reloadable, important;
        /// Whether TLS works without certificate files, by a certificate that the server signs itself.
        "tls.test.mode.enable" tls_test_mode_enable: bool = true, reloadable;
        /// Directory that the self-signed certificate is kept in; not set: a new one is made at each start.
        "kerolox.tlsSelfSignedDirectory" tls_self_signed_directory: Option<String> = None, ours;
        /// File of the certificate, with those who vouch for it behind, in PEM. It is read anew when it changes.
        "tls.server.certPath" tls_server_cert_path: Option<String> = None, reloadable;
        /// File of the certificate's private key, in PEM. It is read anew when it changes.
        "tls.server.keyPath" tls_server_key_path: Option<String> = None, reloadable;
        /// What an encrypted private key is decrypted with.
        "tls.server.keyPassword" tls_server_key_password: Option<String> = None, reloadable;
        /// Files of more certificates, each with its key's, joined by commas: `a.crt=a.key, b.crt=b.key`. A client that asks for a name (SNI) is shown the first that has it, and otherwise that of `tls.server.certPath`. They are read anew when they change.
        "kerolox.tlsCertificates" tls_certificates: String = String::new(), check(|list| identity::pairs(list).map(drop)), reloadable, ours;
        /// Whether clients show certificates: `none`, `optional` or `require`.
        "tls.server.need.client.auth" tls_server_need_client_auth: ClientAuth = ClientAuth::None, reloadable;
        /// Whether `tls.server.trustCertPath` must vouch for certificates of clients; otherwise any will do.
        "tls.server.authClient" tls_server_auth_client: bool = false, reloadable;
        /// File of the certificates that vouch for clients, in PEM. It is read anew when it changes.
        "tls.server.trustCertPath" tls_server_trust_cert_path: Option<String> = None, reloadable;
        /// Properties file whose settings of TLS, but for the mode, outweigh these, if there is such a file.
        "tls.config.file" tls_config_file: String = "/etc/rocketmq/tls.properties".to_owned(), reloadable;
        /// Origins of web pages that may open WebSockets, joined by commas, `*` for all: `https://shop.example`. Pages of this machine may in any case.
        "kerolox.webSocketOrigins" web_socket_origins: String = String::new(), ours;
    }
}

config::settings! {
    /// How a server or tool connects to others.
    pub struct RemotingClientConfig from "NettyClientConfig", "TlsSystemConfig" {
        /// Milliseconds after which an attempt to connect is given up.
        "connectTimeoutMillis" connect_timeout_millis: u32 = 3000, range(1..);
        /// Seconds without a whole frame in or a byte out after which a connection is closed; 0 for never.
        "clientChannelMaxIdleTimeSeconds" client_channel_max_idle_time_seconds: u32 = 120;
        /// How many requests on one connection may wait for their answers.
        "clientAsyncSemaphoreValue" client_async_semaphore_value: usize = 65_535, range(1..=10_000_000);
        /// Size of the system's send buffer of a connection in bytes; 0 leaves it to the system.
        "clientSocketSndBufSize" client_socket_snd_buf_size: u32 = 0;
        /// Size of the system's receive buffer of a connection in bytes; 0 leaves it to the system.
        "clientSocketRcvBufSize" client_socket_rcv_buf_size: u32 = 0;
        /// Whether a connection is closed when a request times out on it and nothing at all came meanwhile.
        "clientCloseSocketIfTimeout" client_close_socket_if_timeout: bool = true;
        /// Unsent bytes of a connection above which requests wait before they are sent; 0 means 1 MiB.
        "writeBufferHighWaterMark" write_buffer_high_water_mark: usize = 0;
        /// Unsent bytes of a connection below which waiting requests are sent; 0 means half the high water mark.
        "writeBufferLowWaterMark" write_buffer_low_water_mark: usize = 0;
        /// Unsent bytes of a connection above which requests fail.
        "kerolox.maxUnsentBytes" max_unsent_bytes: usize = 64 * 1024 * 1024, range(1_048_576..), ours;
        /// Who chooses the protocol: `explicit` (the address), `auto` (the first of `kerolox.clientProtocols` that the server offers, or what is clearly faster) or `downgrade` (the address; when that fails, what stands behind it in `kerolox.clientProtocols`).
        "kerolox.clientProtocol" client_protocol: ClientProtocol = ClientProtocol::Explicit, ours;
        /// What there is to choose from, best first: schemes of addresses, joined by commas. A plain one behind an encrypted one needs `kerolox.clientMayGoPlain`.
        "kerolox.clientProtocols" client_protocols: String = "tcp, h2, ws, tls, h2s, wss".to_owned(), ours;
        /// Whether a plain protocol may be chosen for a server that is to be, or was, spoken to in TLS.
        "kerolox.clientMayGoPlain" client_may_go_plain: bool = false, ours;
        /// Seconds between two measurements of the protocols of a server that `auto` is connected to; 0 for none.
        "kerolox.clientMeasureSeconds" client_measure_seconds: u32 = 60, ours;
        /// Whether addresses without a scheme mean TLS; those of Unix sockets do not.
        "tls.enable" tls_enable: bool = false;
        /// Whether TLS works without certificate files; every server is trusted then.
        "tls.test.mode.enable" tls_test_mode_enable: bool = true, reloadable;
        /// Whether `tls.client.trustCertPath` must vouch for certificates of servers; otherwise any will do.
        "tls.client.authServer" tls_client_auth_server: bool = false;
        /// File of the certificates that vouch for servers, in PEM.
        "tls.client.trustCertPath" tls_client_trust_cert_path: Option<String> = None;
        /// File of the certificate that is shown to servers that ask for one, in PEM.
        "tls.client.certPath" tls_client_cert_path: Option<String> = None;
        /// File of that certificate's private key, in PEM.
        "tls.client.keyPath" tls_client_key_path: Option<String> = None;
        /// What an encrypted private key of a client is decrypted with.
        "tls.client.keyPassword" tls_client_key_password: Option<String> = None;
    }
}

impl RemotingServerConfig {
    pub(crate) fn limits(&self) -> Limits {
        let (high_water, low_water) = water_marks(
            self.write_buffer_high_water_mark,
            self.write_buffer_low_water_mark,
        );
        Limits {
            high_water,
            low_water,
            max_unsent: self.max_unsent_bytes.max(high_water),
            max_pending: self.server_async_semaphore_value,
            idle: seconds(self.server_channel_max_idle_time_seconds),
            serves: true,
        }
    }

    pub(crate) fn socket_options(&self) -> SocketOptions {
        SocketOptions {
            send_buffer: size(self.server_socket_snd_buf_size),
            receive_buffer: size(self.server_socket_rcv_buf_size),
            backlog: self.server_socket_backlog,
        }
    }

    pub(crate) fn handshake_timeout(&self) -> Duration {
        Duration::from_secs(self.server_handshake_timeout_seconds.into())
    }
}

impl RemotingClientConfig {
    pub(crate) fn limits(&self) -> Limits {
        let (high_water, low_water) = water_marks(
            self.write_buffer_high_water_mark,
            self.write_buffer_low_water_mark,
        );
        Limits {
            high_water,
            low_water,
            max_unsent: self.max_unsent_bytes.max(high_water),
            max_pending: self.client_async_semaphore_value,
            idle: seconds(self.client_channel_max_idle_time_seconds),
            serves: false,
        }
    }

    pub(crate) fn socket_options(&self) -> SocketOptions {
        SocketOptions {
            send_buffer: size(self.client_socket_snd_buf_size),
            receive_buffer: size(self.client_socket_rcv_buf_size),
            backlog: 0,
        }
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_millis.into())
    }
}

fn water_marks(high: usize, low: usize) -> (usize, usize) {
    let high = if high == 0 { HIGH_WATER } else { high };
    (high, if low == 0 { high / 2 } else { low.min(high) })
}

fn seconds(seconds: u32) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

fn size(bytes: u32) -> Option<u32> {
    (bytes > 0).then_some(bytes)
}
