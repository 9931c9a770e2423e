//! What connections cost: the time to set one up, and the server's memory while they are idle.

use std::fmt::Write;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use clap::ValueEnum;
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use transport::{
    BoxFuture, Link, Listener, Network, RemotingClientConfig, RemotingClientFactory, SocketOptions,
    Sockets, TlsClient,
};
use wire::command::RequestCode;
use wire::frame::{Frame, Head, SerializeType, encode};
use wire::header::NoHeader;

use super::watched_process::WatchedProcess;
use crate::client::ClientError;

/// How a connection is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Protocol {
    /// Plain TCP, or a Unix socket
    Remoting,
    /// TLS, a whole handshake each time
    Tls,
    /// TLS, coming back with what the server gave before
    TlsResumed,
    /// WebSocket
    Websocket,
    /// An exchange of HTTP/2
    Http2,
}

impl Protocol {
    const fn name(self) -> &'static str {
        match self {
            Self::Remoting => "remoting",
            Self::Tls => "tls",
            Self::TlsResumed => "tls, resumed",
            Self::Websocket => "websocket",
            Self::Http2 => "http2",
        }
    }
}

/// Idle connections have given back their buffers after this time.
const SETTLED: Duration = Duration::from_secs(5);

/// So many connections to a server on this machine have one address of it as their own, then the
/// next. Linux looks through every second port first for a free one, so that connecting takes
/// milliseconds once these 14,000 are taken, whatever the server does.
const EACH_ADDRESS: u32 = 5_000;

/// So many runs after one another have so many addresses each, of the 16 million of a machine.
const RUNS: u32 = 1 << 16;
const EACH_RUN: u32 = 1 << 7;

/// Longer set-ups count as this one, in microseconds.
const LONGEST: u64 = 60_000_000;

/// The result.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    protocol: &'static str,
    connections: usize,
    /// From the beginning to the end of the handshake, in microseconds.
    set_up_us: SetUp,
    /// The server's memory for an idle connection, if its process was watched.
    bytes_each: Option<u64>,
}

#[derive(Debug, Serialize)]
struct SetUp {
    p50: u64,
    p99: u64,
    max: u64,
}

impl Report {
    /// For people.
    pub(super) fn table(&self) -> String {
        let SetUp { p50, p99, max } = self.set_up_us;
        let mut text = format!(
            "{} connections, {}\nset-up   p50 {p50} µs, p99 {p99} µs, max {max} µs\n",
            self.connections, self.protocol
        );
        if let Some(bytes) = self.bytes_each {
            let _ = writeln!(text, "memory   {bytes} bytes each");
        }
        text
    }
}

/// Sets up so many connections one after the other, each of which is asked something once, and
/// keeps them until the server's memory is known.
///
/// # Errors
/// A connection can't be made, or its request is not answered.
pub(super) async fn measure(
    address: &str,
    protocol: Protocol,
    count: usize,
    server: Option<WatchedProcess>,
) -> Result<Report, ClientError> {
    let way = Way::new(protocol)?;
    let mut times = Histogram::<u64>::new_with_max(LONGEST, 3)
        .map_err(|error| ClientError::Argument(error.to_string()))?;
    // What the server sets up once is not counted.
    drop(open(address, &way).await?);
    let before = server.map(WatchedProcess::resident);
    let mut links = Vec::with_capacity(count);
    for _ in 0..count {
        let (link, time) = open(address, &way).await?;
        times.saturating_record(time.as_micros() as u64);
        links.push(link);
    }
    let mut bytes_each = None;
    if let (Some(server), Some(before)) = (server, before) {
        tokio::time::sleep(SETTLED).await;
        let more = server.resident().saturating_sub(before);
        bytes_each = Some(more / count as u64);
    }
    Ok(Report {
        protocol: protocol.name(),
        connections: count,
        set_up_us: SetUp {
            p50: times.value_at_quantile(0.5),
            p99: times.value_at_quantile(0.99),
            max: times.max(),
        },
        bytes_each,
    })
}

/// Sets up connections of one kind.
struct Way {
    /// What addresses begin with.
    scheme: &'static str,
    factory: RemotingClientFactory,
    /// TLS without what the server gave before.
    whole: Option<TlsClient>,
}

impl Way {
    fn new(protocol: Protocol) -> Result<Self, ClientError> {
        let config = RemotingClientConfig::default();
        let whole = match protocol {
            Protocol::Tls => Some(TlsClient::new(&config)?.without_resumption()),
            _ => None,
        };
        let scheme = match protocol {
            Protocol::Remoting | Protocol::Tls => "tcp",
            Protocol::TlsResumed => "tls",
            Protocol::Websocket => "ws",
            Protocol::Http2 => "h2",
        };
        let network = Arc::new(ManyAddresses::default());
        let factory = RemotingClientFactory::new(config).network(network);
        Ok(Self {
            scheme,
            factory,
            whole,
        })
    }

    async fn connect(&self, address: &str) -> io::Result<Link> {
        let with_scheme = format!("{}://{address}", self.scheme);
        let link = self.factory.connect(&with_scheme).await?;
        match &self.whole {
            None => Ok(link),
            Some(tls) => tls.connect(link, address).await,
        }
    }
}

/// Sockets that connect from one address of this machine after the other, to it alone.
#[derive(Default)]
struct ManyAddresses {
    connections: AtomicU32,
}

impl Network for ManyAddresses {
    fn connect<'a>(
        &'a self,
        address: &'a str,
        options: SocketOptions,
    ) -> BoxFuture<'a, io::Result<Link>> {
        let to = match address.parse() {
            Ok(SocketAddr::V4(to)) if to.ip().is_loopback() => to,
            _ => return Sockets.connect(address, options),
        };
        let number = self.connections.fetch_add(1, Ordering::Relaxed) / EACH_ADDRESS;
        // Ports of a run before stay taken for a minute.
        let first = std::process::id() % RUNS * EACH_RUN;
        let own = Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + first + number);
        Box::pin(async move {
            let socket = TcpSocket::new_v4()?;
            socket.bind((own, 0).into())?;
            let stream = socket.connect(to.into()).await?;
            stream.set_nodelay(true)?;
            let local = stream.local_addr()?;
            Ok(Link::new(stream, to.into(), local))
        })
    }

    fn listen<'a>(
        &'a self,
        address: &'a str,
        options: SocketOptions,
    ) -> BoxFuture<'a, io::Result<Arc<dyn Listener>>> {
        Sockets.listen(address, options)
    }
}

/// A connection, and how long it took to set up.
async fn open(address: &str, way: &Way) -> Result<(Link, Duration), ClientError> {
    let start = Instant::now();
    let mut link = way.connect(address).await?;
    let time = start.elapsed();
    // Brokers refuse it, which shows that they serve the connection.
    let head = Head::request(RequestCode::GetNamesrvConfig as i32, SerializeType::Json);
    let mut bytes = BytesMut::new();
    encode(&head, None, &NoHeader, 0, &mut bytes);
    link.stream.write_all(&bytes).await?;
    link.stream.flush().await?;
    bytes.clear();
    while !matches!(Frame::decode(&mut bytes), Ok(Some(_))) {
        if link.stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
    Ok((link, time))
}
