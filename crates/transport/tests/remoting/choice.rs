//! Clients that choose the protocol.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use config::Live;
use kerolox_transport::{
    Body, BoxFuture, ClientProtocol, Connector, HandlerTable, Link, Network, RemotingClient,
    RemotingClientConfig, RemotingClientFactory, RemotingServerConfig, SocketOptions, TlsMode,
    TransportError,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use wire::code::ResponseCode;
use wire::command::RequestCode;
use wire::header::NoHeader;

use crate::listeners::{serve, set};
use crate::peer::{self, ECHO, LONG, ask, local, request};

fn client(choose: ClientProtocol, list: &str) -> RemotingClientConfig {
    RemotingClientConfig {
        client_protocol: choose,
        client_protocols: list.to_owned(),
        ..Default::default()
    }
}

fn made(config: RemotingClientConfig) -> RemotingClient {
    RemotingClient::new(config, HandlerTable::new())
}

/// Has a request answered; what it went by.
async fn spoken(client: &RemotingClient, address: &str) -> Result<String, TransportError> {
    let connection = client.connection(address).await?;
    let asked = connection.request(request(ECHO), &NoHeader, Body::from("chosen"), LONG);
    assert_eq!(asked.await?.body, "chosen");
    Ok(connection.stack().name().to_owned())
}

/// Waits until the connection that was drained is gone.
async fn without_connections(client: &RemotingClient) {
    let gone = async {
        while client.connection_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, gone).await.unwrap();
}

fn switch(live: &Live<RemotingServerConfig>, protocols: &str) {
    set(live, &format!("kerolox.protocols={protocols}"));
}

#[tokio::test]
async fn the_best_of_what_both_offer_is_spoken_and_nothing_plain_after_tls() {
    let (server, live) = serve(local()).await;
    let address = server.local_addr().to_string();
    let client = made(client(ClientProtocol::Auto, "wss, tls, tcp"));
    assert_eq!(spoken(&client, &address).await.unwrap(), "tls/websocket");

    switch(&live, "remoting, tls");
    without_connections(&client).await;
    assert_eq!(spoken(&client, &address).await.unwrap(), "tls/remoting");

    switch(&live, "remoting");
    without_connections(&client).await;
    let error = spoken(&client, &address).await.unwrap_err().to_string();
    assert!(
        error.contains("wss://") && error.contains("tls://"),
        "{error}"
    );
    assert!(!error.contains("tcp://"), "{error}");

    switch(&live, "all");
    let back = spoken(&client, &address).await.unwrap();
    assert!(back.starts_with("tls/"), "{back}");
}

#[tokio::test]
async fn plain_is_spoken_after_tls_when_the_settings_say_so() {
    let (server, _live) = serve(RemotingServerConfig {
        tls_server_mode: TlsMode::Disabled,
        ..local()
    })
    .await;
    let address = format!("tls://{}", server.local_addr());
    for choose in [ClientProtocol::Auto, ClientProtocol::Downgrade] {
        let mut config = client(choose, "tls, ws, tcp");
        let refused = spoken(&made(config.clone()), &address).await;
        assert!(refused.is_err(), "{choose:?}: {refused:?}");
        config.client_may_go_plain = true;
        assert_eq!(spoken(&made(config), &address).await.unwrap(), "websocket");
    }
}

#[tokio::test]
async fn a_downgrade_goes_to_what_stands_behind_in_the_list() {
    let (server, live) = serve(local()).await;
    let client = made(client(ClientProtocol::Downgrade, "tcp, h2, ws"));
    let address = format!("h2://{}", server.local_addr());
    assert_eq!(spoken(&client, &address).await.unwrap(), "http2");
    switch(&live, "remoting, websocket");
    without_connections(&client).await;
    assert_eq!(spoken(&client, &address).await.unwrap(), "websocket");
    switch(&live, "remoting");
    without_connections(&client).await;
    assert!(spoken(&client, &address).await.is_err());
}

#[tokio::test]
async fn a_port_without_remoting_is_noticed_before_it_is_used() {
    let (server, _live) = serve(RemotingServerConfig {
        protocols: "websocket".to_owned(),
        ..local()
    })
    .await;
    let address = server.local_addr().to_string();
    let auto = made(client(ClientProtocol::Auto, "tcp, ws"));
    assert_eq!(spoken(&auto, &address).await.unwrap(), "websocket");
    let explicit = ask(&peer::client(), &server, ECHO).await.unwrap();
    assert_eq!(explicit.head.code, ResponseCode::ServiceNotAvailable as i32);
}

#[tokio::test]
async fn an_enforcing_port_is_spoken_to_in_tls() {
    let (server, _live) = serve(RemotingServerConfig {
        tls_server_mode: TlsMode::Enforcing,
        ..local()
    })
    .await;
    let address = server.local_addr().to_string();
    let auto = made(client(ClientProtocol::Auto, "tcp, tls"));
    assert_eq!(spoken(&auto, &address).await.unwrap(), "tls/remoting");
    let enabled = made(RemotingClientConfig {
        tls_enable: true,
        ..Default::default()
    });
    assert_eq!(spoken(&enabled, &address).await.unwrap(), "tls/remoting");
}

#[tokio::test]
async fn another_port_serves_what_the_dialled_one_does_not() {
    let (server, live) = serve(RemotingServerConfig {
        listeners: "127.0.0.1:0=tls".to_owned(),
        ..local()
    })
    .await;
    let [main, pinned] = *server.local_addrs() else {
        panic!("two ports");
    };
    let auto = made(client(ClientProtocol::Auto, "ws, tls"));
    assert_eq!(
        spoken(&auto, &pinned.to_string()).await.unwrap(),
        "tls/remoting"
    );

    // By TLS it learned where WebSockets are; but TLS was spoken, and ws is plain.
    switch(&live, "remoting, websocket");
    without_connections(&auto).await;
    assert!(spoken(&auto, &pinned.to_string()).await.is_err());

    switch(&live, "all");
    let auto = made(RemotingClientConfig {
        client_may_go_plain: true,
        ..client(ClientProtocol::Auto, "ws, tls")
    });
    assert_eq!(
        spoken(&auto, &pinned.to_string()).await.unwrap(),
        "tls/remoting"
    );
    switch(&live, "remoting, websocket");
    without_connections(&auto).await;
    let connection = auto.connection(&pinned.to_string()).await.unwrap();
    assert_eq!(
        (connection.stack().name(), connection.peer()),
        ("websocket", main)
    );
}

#[tokio::test]
async fn a_server_tells_what_it_offers() {
    let (server, live) = serve(RemotingServerConfig {
        listeners: "127.0.0.1:0=tls/remoting".to_owned(),
        ..local()
    })
    .await;
    set(&live, "tls.server.mode=disabled");
    let answer = ask(&peer::client(), &server, RequestCode::GetClientConfig).await;
    let body = answer.unwrap().body;
    let [main, pinned] = *server.local_addrs() else {
        panic!("two ports");
    };
    let expected = format!(
        r#"{{"protocols":["proxy","remoting","websocket","http2"],"tls":"disabled","listeners":[{{"address":"{main}","protocols":[]}},{{"address":"{pinned}","protocols":["tls","remoting"]}}]}}"#
    );
    assert_eq!(std::str::from_utf8(&body).unwrap(), expected);
}

#[tokio::test]
async fn who_gives_up_waiting_leaves_no_connection_and_goes_on_with_the_next_protocol() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let client = made(client(ClientProtocol::Auto, "tcp, ws"));
    let begun = async |first: &[u8]| {
        let (mut stream, _) = silent.accept().await.unwrap();
        let mut bytes = [0; 3];
        stream.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, first);
    };
    for first in [b"\0\0\0", b"GET"] {
        tokio::select! {
            made = client.connection(&address) => panic!("{made:?}"),
            () = begun(first) => {}
        }
    }
    without_connections(&client).await;
}

/// Remoting on a line on which each way takes a hundredth of a second.
struct FarAway;

const DELAY: Duration = Duration::from_millis(10);

impl Connector for FarAway {
    fn scheme(&self) -> &'static str {
        "far"
    }

    fn layers(&self) -> &'static [&'static str] {
        &["remoting"]
    }

    fn connect<'a>(
        &'a self,
        network: &'a dyn Network,
        address: &'a str,
        options: SocketOptions,
    ) -> BoxFuture<'a, io::Result<Link>> {
        Box::pin(async move {
            let link = network.connect(address, options).await?;
            let (near, far) = tokio::io::duplex(1024);
            let wrapped = link.wrap(|server| async {
                let (server, client) = (tokio::io::split(server), tokio::io::split(far));
                tokio::spawn(carry(client.0, server.1));
                tokio::spawn(carry(server.0, client.1));
                Ok(near)
            });
            wrapped.await
        })
    }
}

async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut bytes = [0; 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        tokio::time::sleep(DELAY).await;
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
    // Whoever has left does not miss the end.
    let _ = to.shutdown().await;
}

#[tokio::test]
async fn new_connections_move_to_the_protocol_that_is_found_to_be_faster() {
    let (server, _live) = serve(local()).await;
    let address = server.local_addr().to_string();
    let config = RemotingClientConfig {
        client_measure_seconds: 1,
        ..client(ClientProtocol::Auto, "far, ws")
    };
    let factory = RemotingClientFactory::new(config).connector(Arc::new(FarAway));
    let client = factory.client(HandlerTable::new(), Arc::new(()));
    let first = client.connection(&address).await.unwrap();
    assert_eq!(first.stack().name(), "remoting");

    let moved = async {
        while spoken(&client, &address).await.unwrap() == "remoting" {
            client.connection(&address).await.unwrap().close();
            without_connections(&client).await;
        }
    };
    tokio::time::timeout(LONG, moved).await.unwrap();
    let second = client.connection(&address).await.unwrap();
    assert_eq!(second.stack().name(), "websocket");
}
