//! What tools ask a client through its broker, with a proxy that belongs to the broker.

use transport::Body;
use wire::body::client::{CMResult, ConsumeMessageDirectlyResult};
use wire::body::json;
use wire::body::running::ConsumerRunningInfo;
use wire::code::ResponseCode;
use wire::command::{ConsumeMessageDirectly, GetConsumerRunningInfo};
use wire::frame::Frame;
use wire::grpc::{ClientType, Code, Command, MessageType, ThreadStackTrace, VerifyMessageResult};
use wire::header::client::{ConsumeMessageDirectlyResultRequest, GetConsumerRunningInfoRequest};
use wire::message::id::OffsetMessageId;

use crate::rig::{POLL, Rig, Stream, message};
use crate::{consumer, send};

/// Two clients of one group, which brokers must tell apart.
const ASKED: &str = "asked";
const OTHER: &str = "other";

async fn enter(rig: &Rig, client: &str) -> Stream {
    let settings = consumer(ClientType::PushConsumer, "g", "orders", None);
    let mut stream = rig.telemetry(client, settings).await;
    stream.next().await.expect("the settings that hold");
    stream
}

async fn start(settings: &[(&str, &str)]) -> (Rig, Stream, Stream) {
    let rig = Rig::with(&[&[("proxyMode", "LOCAL")], settings].concat()).await;
    rig.topic("orders", MessageType::Normal).await;
    let other = enter(&rig, OTHER).await;
    let asked = enter(&rig, ASKED).await;
    // Brokers hear of consumers a moment later.
    for client in [OTHER, ASKED] {
        while running_info(&rig, client, false).await.head.code != 0 {
            tokio::time::sleep(POLL).await;
        }
    }
    (rig, asked, other)
}

async fn running_info(rig: &Rig, client: &str, jstack_enable: bool) -> Frame {
    let header = GetConsumerRunningInfoRequest {
        consumer_group: "g".into(),
        client_id: client.into(),
        jstack_enable,
        ..GetConsumerRunningInfoRequest::default()
    };
    rig.ask_broker::<GetConsumerRunningInfo>(&header, Body::Empty)
        .await
}

#[tokio::test]
async fn a_client_tells_what_its_threads_do() {
    let (rig, mut asked, other) = start(&[]).await;
    let answering = async {
        let question = asked.next().await.and_then(|told| told.command);
        let Some(Command::PrintThreadStackTrace(question)) = question else {
            panic!("{question:?}")
        };
        let trace = |text: &str| {
            Command::ThreadStackTrace(ThreadStackTrace {
                nonce: question.nonce.clone(),
                thread_stack_trace: Some(text.to_owned()),
            })
        };
        // Only who was asked can answer.
        other.say(Code::Ok, trace("a guess"));
        tokio::task::yield_now().await;
        asked.say(Code::Ok, trace("main: waits"));
    };
    let (answer, ()) = tokio::join!(running_info(&rig, ASKED, true), answering);
    assert_eq!(answer.head.code, 0, "{:?}", answer.remark);
    let info: ConsumerRunningInfo = json::read(&answer.body).expect("a body");
    assert_eq!(info.jstack.as_deref(), Some("main: waits"));
    let topics: Vec<_> = info.subscription_set.iter().map(|it| &*it.topic).collect();
    assert_eq!(topics, ["orders"]);
    rig.stop().await;
}

#[tokio::test]
async fn a_client_consumes_a_message_when_it_is_told_to() {
    let (rig, mut asked, _other) = start(&[]).await;
    send(&rig, vec![message("orders", "m", "again")]).await;
    // The first message lies at the beginning of the log.
    let mut id = String::new();
    let place = OffsetMessageId {
        host: rig.broker_address(),
        offset: 0,
    };
    place.append_to(&mut id);
    for (told, result) in [
        (Code::Ok, CMResult::Success),
        (Code::FailedToConsumeMessage, CMResult::Later),
    ] {
        let header = ConsumeMessageDirectlyResultRequest {
            consumer_group: "g".into(),
            client_id: Some(ASKED.into()),
            msg_id: Some(id.as_str().into()),
            topic: Some("orders".into()),
            ..ConsumeMessageDirectlyResultRequest::default()
        };
        let answering = async {
            let question = asked.next().await.and_then(|told| told.command);
            let Some(Command::VerifyMessage(question)) = question else {
                panic!("{question:?}")
            };
            let body = question.message.map(|message| message.body);
            assert_eq!(body.as_deref(), Some(&b"again"[..]));
            let nonce = question.nonce;
            asked.say(
                told,
                Command::VerifyMessageResult(VerifyMessageResult { nonce }),
            );
        };
        let asking = rig.ask_broker::<ConsumeMessageDirectly>(&header, Body::Empty);
        let (answer, ()) = tokio::join!(asking, answering);
        assert_eq!(answer.head.code, 0, "{:?}", answer.remark);
        let answer: ConsumeMessageDirectlyResult = json::read(&answer.body).expect("a body");
        assert_eq!(answer.consume_result, Some(result));
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_answer_is_waited_for_no_longer_than_the_setting_says() {
    let (rig, _asked, _other) = start(&[("grpcProxyRelayRequestTimeoutInSeconds", "1")]).await;
    let answer = running_info(&rig, ASKED, true).await;
    assert_eq!(answer.head.code, ResponseCode::SystemBusy as i32);
    rig.stop().await;
}
