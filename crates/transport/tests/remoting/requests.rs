//! Asking and answering.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kerolox_transport::{
    Body, Executor, HandlerTable, Refusal, RemotingClient, RemotingClientConfig, RemotingServer,
    Reply, TransportError,
};
use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use wire::code::ResponseCode;
use wire::command::RequestCode;
use wire::frame::{Head, SerializeType};
use wire::header::NoHeader;

use crate::peer::{ECHO, LONG, Peer, ask, client, echo, frame, request, serve};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_pipelined_requests_are_answered_in_order() {
    const COUNT: i32 = 20_000;
    let server = serve(echo()).await;
    let mut peer = Peer::connect(server.local_addr()).await;
    let body = |opaque: i32| vec![opaque as u8; opaque as usize % 700];
    let mut requests = Vec::new();
    for opaque in 1..=COUNT {
        let serialize = match opaque % 3 {
            0 => SerializeType::RocketMq,
            _ => SerializeType::Json,
        };
        let head = Head {
            opaque,
            ..Head::request(ECHO as i32, serialize)
        };
        requests.extend_from_slice(&frame(&head, &body(opaque)));
    }
    let (read, mut write) = peer.stream.into_split();
    let writing = tokio::spawn(async move {
        write.write_all(&requests).await.unwrap();
        write
    });
    // Only the write half moved; a peer reads from what is left.
    let mut received = bytes::BytesMut::new();
    for opaque in 1..=COUNT {
        let answer = loop {
            if let Some(frame) = wire::frame::Frame::decode(&mut received).unwrap() {
                break frame;
            }
            read.readable().await.unwrap();
            let _ = read.try_read_buf(&mut received);
        };
        assert_eq!((answer.head.opaque, answer.head.code), (opaque, 0));
        assert!(answer.head.is_response());
        assert_eq!(answer.body, body(opaque));
    }
    drop(writing.await.unwrap());
    peer = Peer::connect(server.local_addr()).await;
    peer.send(&frame(&request(ECHO), b"next")).await;
    assert_eq!(peer.receive().await.unwrap().body, "next");
}

#[tokio::test]
async fn a_request_can_come_byte_by_byte() {
    let server = serve(echo()).await;
    let mut peer = Peer::connect(server.local_addr()).await;
    let bytes = frame(
        &Head {
            opaque: 5,
            ..request(ECHO)
        },
        b"body",
    );
    for byte in bytes.iter().chain(&bytes) {
        peer.send(&[*byte]).await;
        tokio::task::yield_now().await;
    }
    for _ in 0..2 {
        let answer = peer.receive().await.unwrap();
        assert_eq!((answer.head.opaque, &answer.body[..]), (5, &b"body"[..]));
    }
}

#[tokio::test]
async fn consecutive_requests_of_one_read_reach_their_handler_together() {
    let runs: Arc<Mutex<Vec<Vec<i32>>>> = Arc::default();
    let mut table = HandlerTable::new();
    let seen = Arc::clone(&runs);
    table.inline(
        &[RequestCode::SendMessage, RequestCode::SendMessageV2],
        move |_, run, outbox| {
            seen.lock()
                .push(run.iter().map(|frame| frame.head.opaque).collect());
            for frame in run {
                outbox.reply(&frame.head, Reply::empty());
            }
        },
    );
    table.inline_each(&[RequestCode::Heartbeat], |_, _| Ok(Reply::empty()));
    let server = serve(table).await;
    let mut peer = Peer::connect(server.local_addr()).await;
    use RequestCode::{Heartbeat, SendMessage, SendMessageV2};
    let codes = [
        SendMessage,
        SendMessageV2,
        SendMessage,
        Heartbeat,
        SendMessage,
        SendMessageV2,
    ];
    let mut bytes = Vec::new();
    for (opaque, code) in (1..).zip(codes) {
        bytes.extend_from_slice(&frame(
            &Head {
                opaque,
                ..request(code)
            },
            b"",
        ));
    }
    peer.send(&bytes).await;
    for opaque in 1..=6 {
        assert_eq!(peer.receive().await.unwrap().head.opaque, opaque);
    }
    assert_eq!(*runs.lock(), [vec![1, 2, 3], vec![5, 6]]);
}

#[tokio::test]
async fn an_unknown_code_is_refused_in_the_references_words() {
    let server = serve(HandlerTable::new()).await;
    let mut peer = Peer::connect(server.local_addr()).await;
    peer.send(&frame(
        &Head {
            opaque: 9,
            ..Head::request(0, SerializeType::Json)
        },
        b"",
    ))
    .await;
    let answer = peer.receive().await.unwrap();
    assert_eq!((answer.head.code, answer.head.opaque), (3, 9));
    assert_eq!(
        answer.remark.as_deref(),
        Some(" request type 0 not supported")
    );
}

#[tokio::test]
async fn oneway_requests_are_handled_and_never_answered() {
    let mut table = echo();
    let executor = Executor::new("test", 1, 10);
    table.spawned(&[RequestCode::Heartbeat], &executor, |_, _| async {
        Ok(Reply::empty())
    });
    let server = serve(table).await;
    let mut peer = Peer::connect(server.local_addr()).await;
    for code in [ECHO, RequestCode::Heartbeat, RequestCode::PullMessage] {
        peer.send(&frame(
            &Head {
                opaque: 1,
                ..request(code).oneway()
            },
            b"",
        ))
        .await;
    }
    peer.send(&frame(
        &Head {
            opaque: 2,
            ..request(ECHO)
        },
        b"",
    ))
    .await;
    assert_eq!(peer.receive().await.unwrap().head.opaque, 2);
}

#[tokio::test]
async fn the_server_asks_the_client_on_the_same_connection() {
    let mut of_server = HandlerTable::new();
    let executor = Executor::new("test", 4, 10);
    of_server.spawned(&[ECHO], &executor, |connection, frame| async move {
        let head = request(RequestCode::GetConsumerRunningInfo);
        let body = Body::One(frame.body);
        let answer = connection
            .request(head, &NoHeader, body, LONG)
            .await
            .map_err(|error| Refusal::new(ResponseCode::SystemError, error.to_string()))?;
        Ok(Reply::empty().with_body(answer.body))
    });
    let server = serve(of_server).await;
    let mut of_client = HandlerTable::new();
    of_client.inline_each(&[RequestCode::GetConsumerRunningInfo], |_, frame| {
        let mut body = frame.body.to_vec();
        body.reverse();
        Ok(Reply::empty().with_body(body))
    });
    let client = RemotingClient::new(RemotingClientConfig::default(), of_client);
    let address = server.local_addr().to_string();
    let body = Body::One(Bytes::from_static(b"abc"));
    let answer = client
        .request(&address, request(ECHO), &NoHeader, body, LONG)
        .await
        .unwrap();
    assert_eq!(answer.body, "cba");
    assert_eq!(server.connection_count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_pass_in_both_directions() {
    let server = serve(echo()).await;
    let client = client();
    let address = server.local_addr().to_string();
    for size in [4095, 4096, 4097, 300_000, 4 * 1024 * 1024, 16_000_000] {
        let body: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
        let sent = Body::from(body.clone());
        let answer = client
            .request(&address, request(ECHO), &NoHeader, sent, LONG)
            .await
            .unwrap();
        assert!(
            answer.body == body,
            "a body of {size} bytes came back different"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_out_of_order_find_their_requests() {
    let held: Arc<Mutex<Vec<_>>> = Arc::default();
    let mut table = HandlerTable::new();
    let keep = Arc::clone(&held);
    table.inline_held(&[RequestCode::PullMessage], move |connection, frame, _| {
        let mut held = keep.lock();
        held.push((connection.responder(&frame.head), frame.body.clone()));
        if held.len() == 100 {
            for (responder, body) in held.drain(..).rev() {
                responder.reply(Reply::empty().with_body(body));
            }
        }
    });
    let server = serve(table).await;
    let client = client();
    let address = server.local_addr().to_string();
    let connection = client.connection(&address).await.unwrap();
    let head = request(RequestCode::PullMessage);
    let waiting: Vec<_> = (0..100_u8)
        .map(|index| {
            connection
                .start_request(head, &NoHeader, vec![index].into())
                .unwrap()
        })
        .collect();
    for (index, answer) in (0..).zip(waiting) {
        assert_eq!(answer.wait(LONG).await.unwrap().body, [index].as_slice());
    }
}

#[tokio::test]
async fn a_request_times_out_and_makes_room_for_the_next() {
    let mut table = echo();
    table.inline_held(&[RequestCode::PullMessage], |connection, frame, _| {
        connection.responder(&frame.head).dismiss();
    });
    let server = serve(table).await;
    let config = RemotingClientConfig {
        client_async_semaphore_value: 1,
        client_close_socket_if_timeout: false,
        ..Default::default()
    };
    let client = RemotingClient::new(config, HandlerTable::new());
    let address = server.local_addr().to_string();
    let head = request(RequestCode::PullMessage);
    let short = Duration::from_millis(30);
    let error = client
        .request(&address, head, &NoHeader, Body::Empty, short)
        .await
        .unwrap_err();
    let expected = format!("{address} did not answer request code 11 within 30 ms");
    assert_eq!(error.to_string(), expected);

    let connection = client.connection(&address).await.unwrap();
    let waiting = connection
        .start_request(head, &NoHeader, Body::Empty)
        .unwrap();
    let error = connection
        .start_request(head, &NoHeader, Body::Empty)
        .unwrap_err();
    assert!(
        matches!(error, TransportError::TooManyRequests { limit: 1, .. }),
        "{error}"
    );
    drop(waiting);
    assert_eq!(ask(&client, &server, ECHO).await.unwrap().head.code, 0);
    assert_eq!(server.connection_count(), 1);
}

#[tokio::test]
async fn a_connection_on_which_nothing_comes_is_given_up_after_a_timeout() {
    let mut table = HandlerTable::new();
    table.inline_held(&[RequestCode::PullMessage], |connection, frame, _| {
        connection.responder(&frame.head).dismiss();
    });
    let server = serve(table).await;
    let client = client();
    let address = server.local_addr().to_string();
    let connection = client.connection(&address).await.unwrap();
    let head = request(RequestCode::PullMessage);
    let short = Duration::from_millis(30);
    client
        .request(&address, head, &NoHeader, Body::Empty, short)
        .await
        .unwrap_err();
    assert!(!connection.is_open());
}

/// A server whose requests are answered when they get a permit.
async fn serve_gated(executor: &Arc<Executor>) -> (RemotingServer, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let mut table = HandlerTable::new();
    let wait = Arc::clone(&gate);
    table.spawned(&[ECHO], executor, move |_, _| {
        let wait = Arc::clone(&wait);
        async move {
            wait.acquire().await.unwrap().forget();
            Ok(Reply::empty())
        }
    });
    (serve(table).await, gate)
}

#[tokio::test]
async fn an_overloaded_executor_answers_busy_at_once() {
    let executor = Executor::new("test", 1, 2);
    let (server, gate) = serve_gated(&executor).await;
    let mut peer = Peer::connect(server.local_addr()).await;
    for opaque in 1..=6 {
        let head = Head {
            opaque,
            ..request(ECHO)
        };
        peer.send(&frame(&head, b"")).await;
    }
    for opaque in 4..=6 {
        let answer = peer.receive().await.unwrap();
        assert_eq!((answer.head.opaque, answer.head.code), (opaque, 2));
        let remark = "[OVERLOAD]system busy, start flow control for a while";
        assert_eq!(answer.remark.as_deref(), Some(remark));
    }
    gate.add_permits(3);
    for opaque in 1..=3 {
        let answer = peer.receive().await.unwrap();
        assert_eq!((answer.head.opaque, answer.head.code), (opaque, 0));
    }
}

#[tokio::test]
async fn a_request_that_waits_too_long_for_its_turn_is_answered_busy() {
    let executor = Executor::new("test", 1, 2);
    executor.limit_wait(|| Some(Duration::from_millis(20)));
    let (server, gate) = serve_gated(&executor).await;
    let mut peer = Peer::connect(server.local_addr()).await;
    for opaque in 1..=2 {
        let head = Head {
            opaque,
            ..request(ECHO)
        };
        peer.send(&frame(&head, b"")).await;
    }
    let answer = peer.receive().await.unwrap();
    assert_eq!((answer.head.opaque, answer.head.code), (2, 2));
    let remark = answer.remark.as_deref().unwrap();
    let rest = remark.strip_prefix(
        "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while, period in queue: ",
    );
    let (millis, rest) = rest.and_then(|rest| rest.split_once("ms")).unwrap();
    assert!(millis.parse::<u64>().unwrap() >= 20, "{remark}");
    assert_eq!(rest, ", size of queue: 0");
    gate.add_permits(1);
    let answer = peer.receive().await.unwrap();
    assert_eq!((answer.head.opaque, answer.head.code), (1, 0));
}

#[tokio::test]
async fn a_handler_that_gives_up_or_panics_still_answers() {
    let executor = Executor::new("test", 1, 10);
    let mut table = echo();
    table.spawned_held(
        &[RequestCode::PullMessage],
        &executor,
        |responder, _| async move {
            drop(responder);
        },
    );
    table.spawned_held(
        &[RequestCode::QueryMessage],
        &executor,
        |_responder, _| async {
            panic!("on purpose");
        },
    );
    let server = serve(table).await;
    let client = client();
    for code in [RequestCode::PullMessage, RequestCode::QueryMessage] {
        assert_eq!(ask(&client, &server, code).await.unwrap().head.code, 1);
    }
    assert_eq!(ask(&client, &server, ECHO).await.unwrap().head.code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_serves_all_who_ask_the_same_address() {
    let server = serve(echo()).await;
    let client = client();
    let address = server.local_addr().to_string();
    let done = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (client, address, done) = (client.clone(), address.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                for _ in 0..20 {
                    let head = request(ECHO);
                    client
                        .request(&address, head, &NoHeader, Body::Empty, LONG)
                        .await
                        .unwrap();
                    done.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(done.load(Ordering::SeqCst), 1000);
    assert_eq!(
        (server.connection_count(), client.connection_count()),
        (1, 1)
    );
}
