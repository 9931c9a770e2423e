//! HTTP on a server's port: frames, commands as JSON, and another crate's service.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use kerolox_transport::{
    Body, BoxFuture, Http2, HttpPeer, HttpService, RemotingServer, RemotingServerConfig, Reply,
    RequestBody, ResponseBody, WebSocket,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::command::RequestCode;
use wire::header::NoHeader;
use wire::header::offset::{GetMaxOffsetRequest, GetMaxOffsetResponse};

use crate::peer::{ECHO, LONG, client, echo, local, request};

/// Answers what has the type "application/grpc" with what it gets, and a trailer.
struct Grpc;

impl HttpService for Grpc {
    fn serves(&self, head: &http::request::Parts) -> bool {
        head.headers
            .get("content-type")
            .is_some_and(|it| it == "application/grpc")
    }

    fn call(
        &self,
        request: Request<RequestBody>,
        peer: HttpPeer,
    ) -> BoxFuture<'static, Response<ResponseBody>> {
        Box::pin(async move {
            assert!(peer.peer.ip().is_loopback());
            let asked = request.into_body().collect().await.unwrap().to_bytes();
            let trailers = async {
                let mut trailers = http::HeaderMap::new();
                trailers.insert("grpc-status", 0.into());
                Some(Ok(trailers))
            };
            let body = Full::new(asked).map_err(|never| match never {});
            Response::new(body.with_trailers(Box::pin(trailers)).boxed_unsync())
        })
    }
}

pub(crate) async fn serve() -> RemotingServer {
    let mut handlers = echo();
    handlers.inline_each(&[RequestCode::GetMaxOffset], |_, frame| {
        let request: GetMaxOffsetRequest<'_> = frame.header()?;
        let offset = i64::from(request.queue_id) * 10;
        Ok(Reply::ok(GetMaxOffsetResponse { offset }))
    });
    RemotingServer::bind(local())
        .await
        .unwrap()
        .handlers(handlers)
        .protocol(Arc::new(WebSocket::new("")))
        .protocol(Arc::new(Http2::new().service(Arc::new(Grpc))))
        .start()
}

pub(crate) type Client = h2::client::SendRequest<Bytes>;

pub(crate) async fn connect(server: &RemotingServer) -> Client {
    let stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    client
}

/// The answer to a request over HTTP/2: its status, body and trailers.
async fn ask(
    client: &Client,
    request: Request<()>,
    body: impl Into<Bytes>,
) -> (StatusCode, Bytes, Option<http::HeaderMap>) {
    try_ask(client, request, body.into()).await.unwrap()
}

async fn try_ask(
    client: &Client,
    request: Request<()>,
    body: Bytes,
) -> Result<(StatusCode, Bytes, Option<http::HeaderMap>), h2::Error> {
    let mut client = client.clone().ready().await?;
    let (answer, mut sending) = client.send_request(request, false)?;
    sending.send_data(body, true)?;
    let (head, mut stream) = answer.await?.into_parts();
    let mut whole = BytesMut::new();
    while let Some(data) = stream.data().await {
        whole.extend_from_slice(&data?);
    }
    let trailers = stream.trailers().await?;
    Ok((head.status, whole.freeze(), trailers))
}

pub(crate) fn post(path: &str, content_type: &str) -> Request<()> {
    Request::post(format!("http://broker{path}"))
        .header("content-type", content_type)
        .body(())
        .unwrap()
}

pub(crate) async fn call(client: &Client, command: &str, call: &str) -> (u16, Value) {
    try_call(client, command, call).await.unwrap()
}

/// Calls a command as JSON.
pub(crate) async fn try_call(
    client: &Client,
    command: &str,
    call: &str,
) -> Result<(u16, Value), h2::Error> {
    let request = post(&format!("/v1/commands/{command}"), "application/json");
    let (status, body, _) = try_ask(client, request, call.to_owned().into()).await?;
    Ok((status.as_u16(), serde_json::from_slice(&body).unwrap()))
}

#[tokio::test]
async fn frames_of_all_sizes_go_both_ways_in_an_exchange() {
    let server = serve().await;
    let client = client();
    let address = format!("h2://{}", server.local_addr());
    let connection = client.connection(&address).await.unwrap();
    let sizes = [0, 1, 5000, 70_000, 3_000_000, 9_000_000, 10];
    let body = |size: usize| Bytes::from((0..size).map(|it| it as u8).collect::<Vec<_>>());
    let sent = sizes.map(|size| {
        let body = Body::from(body(size));
        connection
            .start_request(request(ECHO), &NoHeader, body)
            .unwrap()
    });
    for (size, answer) in sizes.into_iter().zip(sent) {
        assert_eq!(answer.wait(LONG).await.unwrap().body, body(size));
    }
    assert_eq!(server.connections()[0].stack().name(), "http2");
    client.shutdown().await;
    server.shutdown(LONG).await;
}

#[tokio::test]
async fn a_command_is_called_as_json() {
    let server = serve().await;
    let client = connect(&server).await;
    let asked = json!({ "extFields": { "topic": "t", "queueId": 4 } }).to_string();
    let answer = json!({
        "code": 0, "name": "SUCCESS", "remark": null, "extFields": { "offset": "40" },
    });
    assert_eq!(call(&client, "GET_MAX_OFFSET", &asked).await, (200, answer));

    let (_, echoed) = call(&client, "SEND_MESSAGE", r#"{"body":"Grüße"}"#).await;
    assert_eq!(echoed["body"], "Grüße");
    let (_, echoed) = call(&client, "SEND_MESSAGE", r#"{"bodyBase64":"/wA="}"#).await;
    assert_eq!(echoed["bodyBase64"], "/wA=");

    // Refusals of the command are answers like others.
    let (status, refused) = call(&client, "GET_MAX_OFFSET", "{}").await;
    assert_eq!((status, &refused["name"]), (200, &json!("SYSTEM_ERROR")));
    let (status, refused) = call(&client, "HEART_BEAT", "").await;
    assert_eq!((status, &refused["code"]), (200, &json!(3)));
    assert_eq!(server.connection_count(), 1, "one for all calls");
}

#[tokio::test]
async fn what_is_no_call_is_refused_with_a_reason() {
    let server = serve().await;
    let client = connect(&server).await;
    for (status, command, text) in [
        (404, "NO_SUCH_COMMAND", "{}"),
        (400, "SEND_MESSAGE", "{"),
        (400, "SEND_MESSAGE", r#"{"extfields":{}}"#),
        (400, "SEND_MESSAGE", r#"{"extFields":{"topic":[]}}"#),
        (400, "SEND_MESSAGE", r#"{"body":"","bodyBase64":""}"#),
        (400, "SEND_MESSAGE", r#"{"bodyBase64":"?"}"#),
        (400, "SEND_MESSAGE", r#"{"language":"KLINGON"}"#),
    ] {
        let (told, answer) = call(&client, command, text).await;
        assert_eq!(told, status, "{command} {text}");
        assert!(answer["error"].is_string());
    }
    let text = post("/v1/commands/SEND_MESSAGE", "text/plain");
    assert_eq!(ask(&client, text, "{}").await.0, 415);
    assert_eq!(ask(&client, post("/", "application/json"), "").await.0, 404);
    let put = Request::put("http://broker/v1/commands/SEND_MESSAGE")
        .body(())
        .unwrap();
    assert_eq!(ask(&client, put, "").await.0, 405);
    let large = post("/v1/commands/SEND_MESSAGE", "application/json");
    let body = vec![b' '; 25 * 1024 * 1024];
    assert_eq!(ask(&client, large, body).await.0, 413);
}

#[tokio::test]
async fn the_list_of_commands_has_their_fields() {
    let server = serve().await;
    let list = Request::get("http://broker/v1/commands").body(()).unwrap();
    let (_, list, _) = ask(&connect(&server).await, list, "").await;
    let list: Vec<Value> = serde_json::from_slice(&list).unwrap();
    assert_eq!(list.len(), wire::command::COMMANDS.len());
    let send = list.iter().find(|it| it["name"] == "SEND_MESSAGE").unwrap();
    assert_eq!(send["code"], 10);
    let topic = json!({ "name": "topic", "kind": "text", "required": true });
    assert!(send["request"].as_array().unwrap().contains(&topic));
}

#[tokio::test]
async fn requests_of_http_1_are_answered_however_slowly_they_come() {
    let server = serve().await;
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let call = r#"{"body":"slow"}"#;
    let request = format!(
        "POST /v1/commands/SEND_MESSAGE HTTP/1.1\r\nhost: broker\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{call}",
        call.len()
    );
    let list = "GET /v1/commands HTTP/1.1\r\nhost: broker\r\nconnection: close\r\n\r\n";
    for byte in [request.as_bytes(), list.as_bytes()].concat() {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    assert!(answers.contains(r#""body":"slow""#), "{answers}");
}

#[tokio::test]
async fn another_crate_serves_requests_with_trailers() {
    let server = serve().await;
    let client = connect(&server).await;
    let call = post("/package.Service/Method", "application/grpc");
    let (status, body, trailers) = ask(&client, call, "a message").await;
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"a message"[..]));
    assert_eq!(trailers.unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let config = RemotingServerConfig {
        server_handshake_timeout_seconds: 1,
        ..local()
    };
    let server = RemotingServer::bind(config).await.unwrap();
    let server = server.handlers(echo()).start();
    let client = connect(&server).await;
    let mut slow = client.clone().ready().await.unwrap();
    let request = post("/v1/commands/SEND_MESSAGE", "application/json");
    let (answer, mut sending) = slow.send_request(request, false).unwrap();
    sending.send_data("{".into(), false).unwrap();
    let answer = tokio::time::timeout(LONG, answer).await.unwrap();
    assert_eq!(answer.unwrap().status(), 408);
    assert_eq!(call(&client, "SEND_MESSAGE", "{}").await.0, 200);
}

#[tokio::test]
async fn http_that_is_switched_off_is_refused_in_its_own_manner() {
    let server = serve().await;
    server.protocols().switch("remoting,websocket").unwrap();
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    stream
        .write_all(b"POST /v1/commands/SEND_MESSAGE HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("kerolox.protocols"));

    let stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let (_client, connection) = h2::client::handshake(stream).await.unwrap();
    connection.await.expect("GOAWAY without an error");
}
