//! Malformed streams, each sent to a server of its own connection, against what the reference's
//! broker did with the same bytes (`frames-bad.jsonl`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kerolox_transport::{HandlerTable, Refusal};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use wire::code::ResponseCode;
use wire::command::RequestCode;
use wire::header::NoHeader;

use crate::peer::{Peer, echo, frame, request, serve};

/// Answers heartbeats and what stands at 35 as the reference's broker answered these streams.
fn heartbeats() -> HandlerTable {
    let mut table = echo();
    table.inline_each(&[RequestCode::Heartbeat], |_, frame| {
        if frame.body.is_empty() {
            let remark = "a heartbeat has a body: the client's groups";
            return Err(Refusal::new(ResponseCode::SystemError, remark));
        }
        Ok(kerolox_transport::Reply::ok(NoHeader))
    });
    table.inline_each(&[RequestCode::UnregisterClient], |_, _| {
        Ok(kerolox_transport::Reply::ok(NoHeader))
    });
    table
}

#[tokio::test]
async fn every_bad_stream_is_treated_as_by_the_reference_and_bothers_nobody() {
    let server = serve(heartbeats()).await;
    let mut bystander = Peer::connect(server.local_addr()).await;
    let cases = include_str!("../data/frames-bad.jsonl");
    for (opaque, line) in (1..).zip(cases.lines()) {
        let case: Value = serde_json::from_str(line).unwrap();
        let name = case["name"].as_str().unwrap();
        if name == "http_get" {
            continue; // The reference closes such a connection; here HTTP is spoken.
        }
        let bytes = STANDARD
            .decode(case["frame_b64"].as_str().unwrap())
            .unwrap();
        let mut peer = Peer::connect(server.local_addr()).await;
        peer.send(&bytes).await;
        // The end of our bytes makes a server that waits for more close, too.
        peer.stream.shutdown().await.unwrap();

        let mut answers = Vec::new();
        while let Some(answer) = peer.receive().await {
            answers.push((i64::from(answer.head.code), i64::from(answer.head.opaque)));
        }
        let expected = &case["broker"]["answers"];
        let mut expected: Vec<_> = expected
            .as_array()
            .unwrap()
            .iter()
            .map(|answer| {
                (
                    answer["code"].as_i64().unwrap(),
                    answer["opaque"].as_i64().unwrap(),
                )
            })
            .collect();
        match name {
            // The good frame in front is answered here before the connection is closed.
            "good_then_bad_then_good" => expected.push((1, 7)),
            // Without an opaque the reference takes a number of its own counter.
            "json_missing_opaque" | "json_names_other_case" => expected[0].1 = 0,
            _ => {}
        }
        assert_eq!(answers, expected, "{name}");

        bystander
            .send(&frame(
                &wire::frame::Head {
                    opaque,
                    ..request(crate::peer::ECHO)
                },
                b"",
            ))
            .await;
        assert_eq!(
            bystander.receive().await.unwrap().head.opaque,
            opaque,
            "after {name}"
        );
    }
}

#[tokio::test]
async fn a_stream_that_is_no_frames_is_closed_and_one_that_is_stays_open() {
    let server = serve(heartbeats()).await;
    let cases = include_str!("../data/frames-bad.jsonl");
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let name = case["name"].as_str().unwrap();
        if name == "http_get" {
            continue; // The reference closes such a connection; here HTTP is spoken.
        }
        let bytes = STANDARD
            .decode(case["frame_b64"].as_str().unwrap())
            .unwrap();
        let answers = case["broker"]["answers"].as_array().unwrap().len();
        let mut peer = Peer::connect(server.local_addr()).await;
        peer.send(&bytes).await;
        if case["broker"]["connection"] == "closed" {
            while peer.receive().await.is_some() {}
        } else if answers > 0 {
            for _ in 0..answers {
                peer.receive().await.expect(name);
            }
            peer.send(&frame(&request(crate::peer::ECHO), b"still here"))
                .await;
            let answer = peer.receive().await.expect(name);
            assert_eq!(answer.body, "still here", "{name}");
        }
    }
}
