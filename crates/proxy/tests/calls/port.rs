//! What is spoken on the proxy's port.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::grpc::rpc::Heartbeat;
use wire::grpc::{Code, HeartbeatRequest};

use crate::rig::Rig;

/// What comes back until the connection is closed.
async fn answer_to(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(bytes).await.expect("it is taken");
    let mut answer = Vec::new();
    // A reset is a way to close it, too.
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

async fn is_served(rig: &Rig) -> bool {
    let answer = rig.call::<Heartbeat>(&HeartbeatRequest::default()).await;
    answer.told().0 == Code::UnrecognizedClientType as i32
}

#[tokio::test]
async fn calls_come_plain_and_in_tls_and_nothing_else_is_spoken() {
    let mut rig = Rig::start().await;
    assert!(is_served(&rig).await, "in TLS, as all tests are");
    rig.go_plain().await;
    assert!(is_served(&rig).await);

    let address = rig.proxy_address();
    for path in ["/v1/commands", "/v1/frames"] {
        let head = format!("POST {path} HTTP/1.1\r\nconnection: close\r\n\r\n");
        let answer = answer_to(address, head.as_bytes()).await;
        assert!(answer.starts_with(b"HTTP/1.1 404 "), "{path}");
        assert_eq!(rig.status_of(path).await, 404, "{path}");
    }
    // A remoting frame, and what would open a WebSocket.
    let frame = [
        &[0, 0, 0, 24, 0, 0, 0, 20][..],
        b"{\"code\":105,\"flag\":0}",
    ]
    .concat();
    assert_eq!(answer_to(address, &frame).await, b"");
    let upgrade = "GET /v1/frames HTTP/1.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                   sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n\r\n";
    assert_eq!(answer_to(address, upgrade.as_bytes()).await, b"");
    rig.stop().await;
}

#[tokio::test]
async fn a_plain_client_is_told_to_use_tls_where_nothing_else_is_taken() {
    let rig = Rig::with(&[("tls.server.mode", "enforcing")]).await;
    assert!(is_served(&rig).await);
    let address = rig.proxy_address();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let answer = answer_to(address, preface).await;
    let told = String::from_utf8_lossy(&answer);
    assert!(told.contains("tls.server.mode=enforcing"), "{told}");
    rig.stop().await;
}

#[tokio::test]
async fn certificate_files_that_are_not_there_keep_the_proxy_from_starting() {
    let mut settings = proxy::ProxySettings::default();
    for (key, value) in [
        ("bindAddress", "127.0.0.1"),
        ("grpcServerPort", "0"),
        ("tlsTestModeEnable", "false"),
        ("tlsCertPath", "/nowhere/proxy.crt"),
        ("tlsKeyPath", "/nowhere/proxy.key"),
    ] {
        config::Settings::set(&mut settings, key, value).expect("a good value");
    }
    let refused = proxy::Proxy::start(settings).await.err();
    let refused = refused.expect("it does not start").to_string();
    assert!(refused.contains("/nowhere/proxy.crt"), "{refused}");
}

#[tokio::test]
async fn those_who_ask_for_metrics_are_told_that_the_proxy_is_up() {
    let rig = Rig::start().await;
    assert_eq!(rig.metrics_address(), None);
    rig.stop().await;

    let rig = Rig::with(&[
        ("metricsExporterType", "PROM"),
        ("metricsPromExporterPort", "0"),
        ("metricsLabel", "zone:a,cluster:x,odd"),
        ("proxyName", "proxy \"1\""),
    ])
    .await;
    let address = rig.metrics_address().expect("they are served");
    let ask = async |path: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nhost: proxy\r\nconnection: close\r\n\r\n");
        String::from_utf8(answer_to(address, head.as_bytes()).await).expect("a text")
    };
    let page = ask("/metrics").await;
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    let up = "rocketmq_proxy_up{cluster=\"DefaultCluster\",node_id=\"proxy \\\"1\\\"\",\
              node_type=\"proxy\",otel_scope_name=\"broker-meter\",proxy_mode=\"cluster\",zone=\"a\"} 1.0\n";
    assert!(page.ends_with(up), "{page}");
    assert_eq!(ask("/").await.lines().last(), page.lines().last());
    assert!(ask("/other").await.starts_with("HTTP/1.1 404 "));
    rig.stop().await;
}
