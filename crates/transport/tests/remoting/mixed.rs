//! Clients of all protocols: at once, while protocols come and go, byte by byte, and at their ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use config::Live;
use kerolox_transport::{
    Body, BoxFuture, Connection, Detection, Endpoint, HandlerTable, Link, Network, Protocol,
    Refused, RemotingClient, RemotingClientConfig, RemotingClientFactory, RemotingServer,
    RemotingServerConfig, Sockets, TransportError,
};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use wire::code::ResponseCode;
use wire::command::RequestCode;
use wire::header::NoHeader;

use crate::closing::gated;
use crate::http::try_call;
use crate::listeners::set;
use crate::networks::{Dripping, Proxied};
use crate::peer::{ECHO, LONG, echo, local, request};

const CLIENTS: usize = 500;

/// Requests that each way must get answered between two changes.
const ROUND: usize = 50;

/// The ways to speak to a server: the layers as it names them, and what stands in front of an
/// address. The last calls commands as JSON.
const WAYS: [(&str, &str); 10] = [
    ("remoting", "tcp://"),
    ("remoting", "unix:"),
    ("tls/remoting", "tls://"),
    ("proxy/remoting", "tcp://"),
    ("proxy/tls/remoting", "tls://"),
    ("websocket", "ws://"),
    ("proxy/tls/websocket", "wss://"),
    ("proxy/http2", "h2://"),
    ("tls/http2", "h2s://"),
    ("http2", "http://"),
];

/// A server on a port and on a Unix socket, and where that is.
struct Served {
    server: RemotingServer,
    live: Live<RemotingServerConfig>,
    socket: String,
    _directory: tempfile::TempDir,
}

impl Served {
    async fn on(network: &dyn Network) -> Self {
        Self::with(network, echo(), local()).await
    }

    async fn with(
        network: &dyn Network,
        table: HandlerTable,
        config: RemotingServerConfig,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket").display().to_string();
        let live = Live::new(RemotingServerConfig {
            listeners: format!("unix:{socket}"),
            proxy_protocol_from: "127.0.0.1".into(),
            ..config
        });
        let bound = RemotingServer::bind_on(network, (*live.load()).clone()).await;
        let server = bound.unwrap().handlers(table).follow(&live).unwrap();
        Self {
            server: server.start(),
            live,
            socket,
            _directory: directory,
        }
    }

    /// What a client that speaks like this calls the server.
    fn address(&self, scheme: &str) -> String {
        match scheme {
            "unix:" => format!("unix:{}", self.socket),
            _ => format!("{scheme}{}", self.server.local_addr()),
        }
    }
}

/// A client that speaks through these layers.
fn client(layers: &str, network: impl Network) -> RemotingClient {
    let config = RemotingClientConfig {
        connect_timeout_millis: LONG.as_millis() as u32,
        ..Default::default()
    };
    let factory = RemotingClientFactory::new(config);
    let factory = match layers.starts_with("proxy") {
        true => factory.network(Arc::new(Proxied(network))),
        false => factory.network(Arc::new(network)),
    };
    factory.client(HandlerTable::new(), Arc::new(()))
}

/// A connection that requests are sent on.
enum Caller {
    /// The client closes its connection when it is dropped.
    Frames {
        connection: Arc<Connection>,
        _client: RemotingClient,
    },
    /// With the task of the connection.
    Json(
        h2::client::SendRequest<Bytes>,
        JoinHandle<Result<(), h2::Error>>,
    ),
}

impl Caller {
    async fn connect(client: &RemotingClient, address: &str) -> Option<Self> {
        let Some(address) = address.strip_prefix("http://") else {
            let connection = client.connection(address).await.ok()?;
            let _client = client.clone();
            return Some(Self::Frames {
                connection,
                _client,
            });
        };
        let stream = TcpStream::connect(address).await.ok()?;
        let (client, connection) = h2::client::handshake(stream).await.ok()?;
        Some(Self::Json(client, tokio::spawn(connection)))
    }

    /// Whether a request was answered with its own body. Only a connection that ends may fail it.
    async fn is_echoed(&self) -> bool {
        self.ask(ECHO).await
    }

    /// Whether a request of this code was answered, with its own body or none.
    async fn ask(&self, code: RequestCode) -> bool {
        let ends = [ResponseCode::GoAway, ResponseCode::ServiceNotAvailable];
        let is_end = |code: i64| ends.iter().any(|end| *end as i64 == code);
        let wanted = if code == ECHO { "mixed" } else { "" };
        match self {
            Self::Frames { connection, .. } => {
                let body = Body::from("mixed");
                match connection
                    .request(request(code), &NoHeader, body, LONG)
                    .await
                {
                    Ok(answer) if answer.head.code == 0 => {
                        assert_eq!(answer.body, wanted);
                        true
                    }
                    Ok(answer) if is_end(answer.head.code.into()) => false,
                    Err(TransportError::Closed { .. }) => false,
                    other => panic!("{other:?}"),
                }
            }
            Self::Json(client, _) => {
                let call = try_call(client, code.name(), r#"{"body":"mixed"}"#);
                match tokio::time::timeout(LONG, call).await.unwrap() {
                    Ok((200, answer)) if answer["code"] == 0 => {
                        assert_eq!(answer["body"].as_str().unwrap_or_default(), wanted);
                        true
                    }
                    Ok((200, answer)) if answer["code"].as_i64().is_some_and(is_end) => false,
                    Ok((503, _)) | Err(_) => false,
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    /// Waits until the connection is closed.
    async fn ended(&self) {
        let is_open = || match self {
            Self::Frames { connection, .. } => connection.is_open(),
            Self::Json(_, driver) => !driver.is_finished(),
        };
        while is_open() {
            tokio::task::yield_now().await;
        }
    }
}

/// A protocol in the place of one that does the same.
struct Replacement(Arc<dyn Protocol>);

impl Protocol for Replacement {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn detect(&self, first: &[u8]) -> Detection {
        self.0.detect(first)
    }

    fn serve(self: Arc<Self>, link: Link, endpoint: Arc<Endpoint>) -> BoxFuture<'static, ()> {
        Arc::clone(&self.0).serve(link, endpoint)
    }

    fn refuse(self: Arc<Self>, link: Link, why: Refused) -> BoxFuture<'static, ()> {
        Arc::clone(&self.0).refuse(link, why)
    }
}

/// What happens to the clients of one way.
#[derive(Default)]
struct Fate {
    /// Even while the way is there, odd while it is changed or away.
    generation: AtomicUsize,
    echoed: AtomicUsize,
    ended: AtomicUsize,
}

/// Sends requests until told to stop, on a new connection whenever one ends. None ends, and none
/// is refused, but for a change of the way.
async fn go_on(
    served: Arc<Served>,
    way: usize,
    fates: Arc<[Fate; WAYS.len()]>,
    stop: Arc<AtomicBool>,
) {
    let ((layers, scheme), fate) = (WAYS[way], &fates[way]);
    let (client, address) = (client(layers, Sockets), served.address(scheme));
    loop {
        let generation = fate.generation.load(Ordering::SeqCst);
        if let Some(caller) = Caller::connect(&client, &address).await {
            while caller.is_echoed().await {
                fate.echoed.fetch_add(1, Ordering::SeqCst);
                if stop.load(Ordering::SeqCst) {
                    return;
                }
            }
        }
        let now = fate.generation.load(Ordering::SeqCst);
        assert!(
            generation % 2 == 1 || now != generation,
            "a connection of {layers} by {scheme} ended without a reason"
        );
        fate.ended.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_go_on_while_protocols_are_switched_and_replaced() {
    enum Change {
        Switch(&'static str),
        Replace(&'static str),
    }
    use Change::{Replace, Switch};
    let served = Arc::new(Served::on(&Sockets).await);
    let stop = Arc::new(AtomicBool::new(false));
    let fates: Arc<[Fate; WAYS.len()]> = Arc::default();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (served, fates) = (Arc::clone(&served), Arc::clone(&fates));
            tokio::spawn(go_on(served, number % WAYS.len(), fates, Arc::clone(&stop)))
        })
        .collect();
    let mut on = [true; WAYS.len()];
    for change in [
        Switch("all"),
        Switch("remoting,proxy"),
        Switch("all"),
        Replace("websocket"),
        Replace("tls"),
        Switch("websocket,http2,tls"),
        Switch("remoting,tls,websocket"),
        Switch("all"),
        Replace("http2"),
        Replace("proxy"),
        Replace("remoting"),
        Switch("remoting,websocket,http2"),
        Switch("all"),
    ] {
        let (before, mut changed) = (on, [false; WAYS.len()]);
        for (way, (layers, _)) in WAYS.iter().enumerate() {
            let mut layers = layers.split('/');
            match &change {
                Switch(list) => {
                    on[way] = *list == "all" || layers.all(|it| list.split(',').any(|on| on == it));
                    changed[way] = on[way] != before[way];
                }
                Replace(name) => changed[way] = layers.any(|it| it == *name),
            }
        }
        // Odd before what is there changes, even once it is there again.
        let turn = |there: [bool; WAYS.len()]| {
            for (way, fate) in fates.iter().enumerate() {
                let turned = usize::from(changed[way] && there[way]);
                fate.generation.fetch_add(turned, Ordering::SeqCst);
            }
        };
        turn(before);
        match change {
            Switch(list) => set(&served.live, &format!("kerolox.protocols={list}")),
            Replace(name) => {
                let protocols = served.server.protocols();
                let inside = protocols.get(name).unwrap();
                protocols.add(Arc::new(Replacement(inside)));
            }
        }
        turn(on);
        // All that are on get on.
        let echoed = |way: usize| fates[way].echoed.load(Ordering::SeqCst);
        let before: [usize; WAYS.len()] = std::array::from_fn(echoed);
        while (0..WAYS.len()).any(|way| on[way] && echoed(way) < before[way] + ROUND) {
            let failed = clients.iter().any(|client| client.is_finished());
            assert!(!failed, "a client has given up");
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    for (fate, way) in fates.iter().zip(WAYS) {
        assert!(fate.ended.load(Ordering::SeqCst) > 0, "{way:?}");
    }
    while served.server.connection_count() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn every_protocol_can_come_byte_by_byte() {
    let served = Served::on(&Dripping).await;
    for (layers, scheme) in WAYS {
        let client = client(layers, Dripping);
        let caller = Caller::connect(&client, &served.address(scheme)).await;
        assert!(caller.unwrap().is_echoed().await, "{layers} by {scheme}");
        let connection = served
            .server
            .connections()
            .into_iter()
            .max_by_key(|it| it.id());
        let connection = connection.unwrap();
        assert_eq!(connection.stack().name(), layers);
        if layers.starts_with("proxy") {
            assert_eq!(connection.peer().to_string(), "203.0.113.7:4711");
        }
    }
}

#[tokio::test]
async fn a_server_that_stops_gives_its_last_answers_by_every_protocol() {
    for (layers, scheme) in WAYS {
        let (table, gate, mut starts) = gated();
        let served = Served::with(&Sockets, table, local()).await;
        let (address, port) = (served.address(scheme), served.server.local_addr());
        let caller = Caller::connect(&client(layers, Sockets), &address).await;
        let caller = caller.unwrap();
        let asking = caller.ask(RequestCode::PullMessage);
        let stopping = async {
            starts.recv().await.unwrap();
            let stopping = tokio::spawn(served.server.shutdown(LONG));
            // Once the port is closed the server is on its way.
            while TcpStream::connect(port).await.is_ok() {}
            gate.add_permits(1);
            stopping.await.unwrap();
        };
        let (answered, ()) = tokio::join!(asking, stopping);
        assert!(answered, "{layers} by {scheme}");
        assert!(!caller.ask(ECHO).await, "{layers} by {scheme}");
    }
}

#[tokio::test]
async fn idle_connections_of_every_protocol_are_closed() {
    let config = RemotingServerConfig {
        server_channel_max_idle_time_seconds: 1,
        ..local()
    };
    let served = Served::with(&Sockets, echo(), config).await;
    let mut callers = Vec::new();
    for (layers, scheme) in WAYS {
        let client = client(layers, Sockets);
        let caller = Caller::connect(&client, &served.address(scheme)).await;
        let caller = caller.unwrap();
        assert!(caller.is_echoed().await);
        callers.push(caller);
    }
    for (caller, (layers, scheme)) in callers.iter().zip(WAYS) {
        let ended = tokio::time::timeout(LONG, caller.ended()).await;
        assert!(ended.is_ok(), "{layers} by {scheme}");
    }
    while served.server.connection_count() > 0 {
        tokio::task::yield_now().await;
    }
}
