//! Messages from producers to consumers, through the built binary and over the wire.

mod server;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::process::Command as Program;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rustix::process::Signal;
use serde_json::Value;
use server::{Client, Server, TIMEOUT, expect, message, pull};
use tempfile::TempDir;
use transport::HandlerTable;
use wire::body::json;
use wire::body::route::TopicRouteData;
use wire::body::topic::{TopicConfigAndQueueMapping, TopicConfigSerializeWrapper};
use wire::code::ResponseCode;
use wire::command::{
    ConsumerSendMsgBack, DeleteTopicInBroker, GetAllTopicConfig, GetMaxOffset, GetMinOffset,
    GetRouteInfoByTopic, GetTopicConfig, PullMessage, QueryConsumerOffset, RequestCode,
    SendBatchMessage, SendMessage, SendMessageV2, UpdateAndCreateTopic, UpdateConsumerOffset,
    ViewMessageById,
};
use wire::frame::{Frame, Head, SerializeType};
use wire::header::nameserver::GetRouteInfoRequest;
use wire::header::offset::{
    GetMaxOffsetRequest, GetMaxOffsetResponse, GetMinOffsetRequest, GetMinOffsetResponse,
    QueryConsumerOffsetRequest, QueryConsumerOffsetResponse, UpdateConsumerOffsetRequest,
};
use wire::header::pull::{PullMessageRequest, PullMessageResponse, ViewMessageRequest};
use wire::header::send::{ConsumerSendMsgBackRequest, SendMessageRequest, SendMessageResponse};
use wire::header::topic::{
    CreateTopicRequest, DeleteTopicRequest, GetAllTopicConfigRequest, GetTopicConfigRequest,
};
use wire::message::body::{BatchMessage, Records};
use wire::message::id::OffsetMessageId;
use wire::message::record::RecordRef;
use wire::message::{properties, property, sys_flag};

/// A server with an empty directory, and a connection to its broker.
async fn start() -> (TempDir, Server, Client) {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::cluster(dir.path(), "");
    let client = Client::connect(&server.broker).await;
    (dir, server, client)
}

fn records(answer: &Frame) -> Vec<RecordRef<'_>> {
    let records: Result<_, _> = Records::new(&answer.body).collect();
    records.expect("whole records")
}

fn bodies(answer: &Frame) -> Vec<&str> {
    records(answer)
        .iter()
        .map(|record| std::str::from_utf8(record.body()).expect("UTF-8"))
        .collect()
}

fn stored(answer: &Frame) -> SendMessageResponse<'_> {
    expect(answer, ResponseCode::Success);
    answer.header().expect("a header")
}

fn pulled(answer: &Frame) -> PullMessageResponse {
    answer.header().expect("a header")
}

/// The same pull, held for a while if there is nothing.
fn held(request: PullMessageRequest<'_>, limit: Duration) -> PullMessageRequest<'_> {
    PullMessageRequest {
        sys_flag: request.sys_flag | sys_flag::pull::SUSPEND,
        suspend_timeout_millis: limit.as_millis() as i64,
        ..request
    }
}

async fn offset_of(client: &Client, group: &str, topic: &str) -> Frame {
    let query = QueryConsumerOffsetRequest {
        consumer_group: Cow::Borrowed(group),
        topic: Cow::Borrowed(topic),
        ..QueryConsumerOffsetRequest::default()
    };
    client.ask::<QueryConsumerOffset>(&query, "").await
}

fn offset(answer: &Frame) -> i64 {
    expect(answer, ResponseCode::Success);
    let header: QueryConsumerOffsetResponse = answer.header().expect("a header");
    header.offset
}

fn commit<'a>(group: &'a str, topic: &'a str, offset: i64) -> UpdateConsumerOffsetRequest<'a> {
    UpdateConsumerOffsetRequest {
        consumer_group: Cow::Borrowed(group),
        topic: Cow::Borrowed(topic),
        commit_offset: offset,
        ..UpdateConsumerOffsetRequest::default()
    }
}

/// First offset of a queue, and the one behind its last.
async fn range(client: &Client, topic: &str, queue_id: i32) -> (i64, i64) {
    let topic = Cow::Borrowed(topic);
    let request = GetMinOffsetRequest {
        topic: topic.clone(),
        queue_id,
        ..GetMinOffsetRequest::default()
    };
    let min = client.ask::<GetMinOffset>(&request, "").await;
    let request = GetMaxOffsetRequest {
        topic,
        queue_id,
        ..GetMaxOffsetRequest::default()
    };
    let max = client.ask::<GetMaxOffset>(&request, "").await;
    let min: GetMinOffsetResponse = min.header().expect("a header");
    let max: GetMaxOffsetResponse = max.header().expect("a header");
    (min.offset, max.offset)
}

#[tokio::test]
async fn a_message_comes_out_as_it_went_in() {
    let (_dir, server, _) = start().await;
    for serialize in [SerializeType::Json, SerializeType::RocketMq] {
        let client = Client::with(&server.broker, serialize, HandlerTable::new()).await;
        let topic = serialize.name();
        let sent = "KEYS\u{1}k1 k2\u{2}UNIQ_KEY\u{1}7F000001162E18B4AAC21B2F9D0C0000\u{2}\
                    WAIT\u{1}true\u{2}TAGS\u{1}TagA\u{2}größe\u{1}値 🚀\u{2}";
        let mut header = message(topic, 2, sent);
        header.flag = -7;
        let body = "Hello RocketMQ 你好";
        let answer = client.ask::<SendMessageV2>(&header, body).await;
        assert_eq!(answer.head.serialize, serialize);
        let stored = stored(&answer);
        assert_eq!((stored.queue_id, stored.queue_offset), (2, 0));
        assert_eq!(
            stored.transaction_id.as_deref(),
            Some("7F000001162E18B4AAC21B2F9D0C0000")
        );

        let got = client.ask::<PullMessage>(&pull("g", topic, 2, 0), "").await;
        expect(&got, ResponseCode::Success);
        assert_eq!(got.head.serialize, serialize);
        let position = pulled(&got);
        assert_eq!(
            (
                position.next_begin_offset,
                position.min_offset,
                position.max_offset
            ),
            (1, 0, 1)
        );
        let [record] = records(&got)[..] else {
            panic!("one message is there");
        };
        assert_eq!(record.body(), body.as_bytes());
        record.check_body_crc().unwrap();
        assert_eq!(record.topic(), topic);
        assert_eq!((record.queue_id(), record.queue_offset()), (2, 0));
        assert_eq!((record.flag(), record.reconsume_times()), (-7, 0));
        assert_eq!(record.born_timestamp(), header.born_timestamp);
        assert_eq!(record.born_host(), client.connection.local());
        assert_eq!(record.store_host().to_string(), server.broker);
        let all = record.properties();
        let added = all.strip_prefix(sent).expect("what was sent, untouched");
        let added: BTreeMap<_, _> = properties::iter(added).collect();
        assert_eq!(
            added,
            BTreeMap::from([
                ("CLUSTER", "DefaultCluster"),
                ("MSG_REGION", "DefaultRegion"),
                ("TRACE_ON", "true"),
            ])
        );

        // The message's id leads to the same record.
        let id = OffsetMessageId::decode(&stored.msg_id).unwrap();
        assert_eq!(id.host.to_string(), server.broker);
        let view = ViewMessageRequest {
            topic: None,
            offset: id.offset,
        };
        let viewed = client.ask::<ViewMessageById>(&view, "").await;
        expect(&viewed, ResponseCode::Success);
        assert_eq!(viewed.body, got.body);
    }
}

#[tokio::test]
async fn properties_without_a_separator_at_their_end_stay_whole() {
    let (_dir, _server, client) = start().await;
    let header = message("t", 0, "TAGS\u{1}a\u{2}last\u{1}value");
    stored(&client.ask::<SendMessageV2>(&header, "b").await);
    let got = client.ask::<PullMessage>(&pull("g", "t", 0, 0), "").await;
    let all = records(&got)[0].properties().into_owned();
    let found = properties::get_each(
        &all,
        [
            "TAGS",
            "last",
            property::MSG_REGION,
            property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX,
        ],
    );
    assert_eq!(
        found[..3],
        [Some("a"), Some("value"), Some("DefaultRegion")]
    );
    // A message that came without a unique id has one from the broker.
    assert_eq!(found[3].map(str::len), Some(32));
}

#[tokio::test]
async fn every_way_of_sending_stores() {
    let (_dir, _server, client) = start().await;
    let first = SendMessageRequest {
        producer_group: Cow::Borrowed("producers"),
        topic: Cow::Borrowed("t"),
        default_topic: Cow::Borrowed("TBW102"),
        default_topic_queue_nums: 4,
        ..SendMessageRequest::default()
    };
    assert_eq!(
        stored(&client.ask::<SendMessage>(&first, "v1").await).queue_offset,
        0
    );
    assert_eq!(client.send("t", 0, "v2").await, 1);

    let mut batch = BytesMut::new();
    for (flag, body, properties) in [
        (5, "batch 1", "TAGS\u{1}a\u{2}"),
        (6, "batch 2", "TAGS\u{1}b\u{2}"),
        (7, "batch 3", ""),
    ] {
        let message = BatchMessage {
            flag,
            body: body.as_bytes(),
            properties: properties.as_bytes(),
        };
        message.encode_into(&mut batch).unwrap();
    }
    let batch = batch.freeze();
    let mut header = message("t", 0, "");
    header.batch = Some(true);
    let answer = client.ask::<SendBatchMessage>(&header, batch.clone()).await;
    let answer = stored(&answer);
    assert_eq!(answer.queue_offset, 2);
    assert_eq!(answer.msg_id.split(',').count(), 3);
    // Older clients send batches under the code of a single message.
    let answer = client.ask::<SendMessageV2>(&header, batch).await;
    assert_eq!(stored(&answer).queue_offset, 5);

    // One-way: nothing is answered, and the message is there all the same.
    let head = Head::request(RequestCode::SendMessageV2 as i32, SerializeType::Json).oneway();
    let header = message("t", 0, "");
    client
        .connection
        .oneway(head, &header, "one-way".into())
        .unwrap();

    let got = client.ask::<PullMessage>(&pull("g", "t", 0, 0), "").await;
    let expected = [
        "v1", "v2", "batch 1", "batch 2", "batch 3", "batch 1", "batch 2", "batch 3", "one-way",
    ];
    assert_eq!(bodies(&got), expected);
    let flags: Vec<i32> = records(&got).iter().map(RecordRef::flag).collect();
    assert_eq!(flags, [0, 0, 5, 6, 7, 5, 6, 7, 0]);

    let mut tagged = pull("g", "t", 0, 0);
    tagged.subscription = Some(Cow::Borrowed("b || c"));
    let got = client.ask::<PullMessage>(&tagged, "").await;
    assert_eq!(bodies(&got), ["batch 2", "batch 2"]);
}

#[tokio::test]
async fn an_automatic_topic_is_found_through_the_name_server() {
    let (_dir, server, client) = start().await;
    client.send("news", 3, "first").await;
    let names = Client::connect(&server.name_server).await;
    let request = GetRouteInfoRequest {
        topic: Cow::Borrowed("news"),
        ..GetRouteInfoRequest::default()
    };
    let begun = Instant::now();
    let route = loop {
        let answer = names.ask::<GetRouteInfoByTopic>(&request, "").await;
        if answer.head.code == ResponseCode::Success as i32 {
            break json::read::<TopicRouteData>(&answer.body).unwrap();
        }
        expect(&answer, ResponseCode::TopicNotExist);
        assert!(begun.elapsed() < TIMEOUT, "the broker does not register it");
    };
    let [queues] = &route.queue_datas[..] else {
        panic!("one broker has it: {route:?}");
    };
    assert_eq!(
        (queues.read_queue_nums, queues.write_queue_nums, queues.perm),
        (4, 4, 6)
    );
    assert_eq!(
        route.broker_datas[0].broker_addrs,
        BTreeMap::from([(0, server.broker.clone())])
    );
}

#[tokio::test]
async fn a_held_pull_is_answered_by_the_next_message() {
    let (_dir, _server, client) = start().await;
    client.send("t", 0, "old").await;
    // Of one connection requests are served in their order: this pull is held when the message
    // comes.
    let long = held(pull("g", "t", 0, 1), Duration::from_secs(600));
    let waiting = client.start::<PullMessage>(&long, "").unwrap();
    let others = held(pull("g", "t", 1, 0), Duration::from_secs(600));
    let other_queue = client.start::<PullMessage>(&others, "").unwrap();
    client.send("t", 0, "new").await;
    let got = waiting.wait(TIMEOUT).await.unwrap();
    expect(&got, ResponseCode::Success);
    assert_eq!(bodies(&got), ["new"]);
    // Another queue's pull has not been woken, and is by its own message.
    client.send("t", 1, "other").await;
    let got = other_queue.wait(TIMEOUT).await.unwrap();
    assert_eq!(bodies(&got), ["other"]);
}

#[tokio::test]
async fn a_held_pull_without_a_message_ends_in_time() {
    let (_dir, _server, client) = start().await;
    client.send("t", 0, "old").await;
    let begun = Instant::now();
    let limit = Duration::from_millis(300);
    let short = held(pull("g", "t", 0, 1), limit);
    let answer = client.ask::<PullMessage>(&short, "").await;
    expect(&answer, ResponseCode::PullNotFound);
    assert_eq!(pulled(&answer).next_begin_offset, 1);
    assert!(begun.elapsed() >= limit, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_held_pull_waits_for_its_tag() {
    let (_dir, _server, client) = start().await;
    client.send("t", 0, "old").await;
    let tagged = |limit| {
        let mut request = held(pull("g", "t", 0, 1), limit);
        request.subscription = Some(Cow::Borrowed("wanted"));
        request
    };
    let long = tagged(Duration::from_secs(600));
    let waiting = client.start::<PullMessage>(&long, "").unwrap();
    let other = message("t", 0, "TAGS\u{1}other\u{2}");
    stored(&client.ask::<SendMessageV2>(&other, "unwanted").await);
    let wanted = message("t", 0, "TAGS\u{1}wanted\u{2}");
    stored(&client.ask::<SendMessageV2>(&wanted, "wanted").await);
    let got = waiting.wait(TIMEOUT).await.unwrap();
    expect(&got, ResponseCode::Success);
    assert_eq!(bodies(&got), ["wanted"]);
    assert_eq!(pulled(&got).next_begin_offset, 3);

    // One that saw nothing but other tags goes on behind them. It is held for longer than the
    // message takes to come.
    let mut short = tagged(Duration::from_secs(5));
    short.queue_offset = 3;
    let waiting = client.start::<PullMessage>(&short, "").unwrap();
    stored(&client.ask::<SendMessageV2>(&other, "unwanted").await);
    let answer = waiting.wait(TIMEOUT).await.unwrap();
    expect(&answer, ResponseCode::PullRetryImmediately);
    assert_eq!(pulled(&answer).next_begin_offset, 4);
}

#[tokio::test]
async fn a_pull_from_where_nothing_is_tells_where_to_go_on() {
    let (_dir, _server, client) = start().await;
    client.send("t", 1, "makes the topic").await;
    for _ in 0..40 {
        client.send("t", 0, "x").await;
    }
    use ResponseCode::{PullNotFound, PullOffsetMoved, PullRetryImmediately, Success};
    // Queue, offset; answer and where to go on.
    for (queue_id, offset, code, next) in [
        (2, 0, PullNotFound, 0),
        (2, 7, PullOffsetMoved, 0),
        (2, -1, PullOffsetMoved, 0),
        (0, -1, PullOffsetMoved, 0),
        (0, 0, Success, 32),
        (0, 32, Success, 40),
        (0, 40, PullNotFound, 40),
        (0, 41, PullOffsetMoved, 40),
        (0, i64::MAX, PullOffsetMoved, 40),
        (0, i64::MIN, PullOffsetMoved, 0),
    ] {
        let mut request = pull("g", "t", queue_id, offset);
        request.max_msg_nums = 100;
        let answer = client.ask::<PullMessage>(&request, "").await;
        let what = format!("queue {queue_id} from {offset}: {:?}", answer.remark);
        assert_eq!(answer.head.code, code as i32, "{what}");
        assert_eq!(pulled(&answer).next_begin_offset, next, "{what}");
    }
    let mut request = pull("g", "t", 0, 0);
    request.subscription = Some(Cow::Borrowed("no-such-tag"));
    let answer = client.ask::<PullMessage>(&request, "").await;
    expect(&answer, PullRetryImmediately);
    assert_eq!(pulled(&answer).next_begin_offset, 40);
}

#[tokio::test]
async fn offsets_are_kept_for_each_group() {
    let (_dir, _server, client) = start().await;
    client.send("t", 0, "1").await;
    client.send("t", 0, "2").await;

    // A group that nobody knows starts at the beginning, unless it does not want to, and its
    // commits are refused.
    assert_eq!(offset(&offset_of(&client, "new", "t").await), 0);
    let ask_only = QueryConsumerOffsetRequest {
        consumer_group: Cow::Borrowed("new"),
        topic: Cow::Borrowed("t"),
        set_zero_if_not_found: Some(false),
        ..QueryConsumerOffsetRequest::default()
    };
    let answer = client.ask::<QueryConsumerOffset>(&ask_only, "").await;
    expect(&answer, ResponseCode::QueryNotFound);
    let empty_queue = QueryConsumerOffsetRequest {
        queue_id: 3,
        set_zero_if_not_found: None,
        ..ask_only
    };
    let answer = client.ask::<QueryConsumerOffset>(&empty_queue, "").await;
    expect(&answer, ResponseCode::QueryNotFound);
    let answer = client
        .ask::<UpdateConsumerOffset>(&commit("new", "t", 1), "")
        .await;
    expect(&answer, ResponseCode::SubscriptionGroupNotExist);

    // A pull makes the group known, and may bring an offset along.
    client.ask::<PullMessage>(&pull("g", "t", 0, 0), "").await;
    let answer = client
        .ask::<UpdateConsumerOffset>(&commit("g", "t", 1), "")
        .await;
    expect(&answer, ResponseCode::Success);
    assert_eq!(offset(&offset_of(&client, "g", "t").await), 1);
    let mut request = pull("g", "t", 0, 1);
    request.commit_offset = 9;
    client.ask::<PullMessage>(&request, "").await;
    assert_eq!(offset(&offset_of(&client, "g", "t").await), 1);
    request.sys_flag |= sys_flag::pull::COMMIT_OFFSET;
    request.commit_offset = 2;
    client.ask::<PullMessage>(&request, "").await;
    assert_eq!(offset(&offset_of(&client, "g", "t").await), 2);
    // Each group for itself.
    assert_eq!(offset(&offset_of(&client, "other", "t").await), 0);
}

/// Waits for the message at an offset of queue 0.
async fn wait_for(client: &Client, topic: &str, offset: i64) -> Frame {
    let request = held(pull("g", topic, 0, offset), TIMEOUT);
    let answer = client.ask::<PullMessage>(&request, "").await;
    expect(&answer, ResponseCode::Success);
    answer
}

#[tokio::test]
async fn a_message_sent_back_comes_again_or_is_buried() {
    let (_dir, _server, client) = start().await;
    let header = message("t", 3, "TAGS\u{1}a\u{2}mine\u{1}yes\u{2}");
    let answer = client.ask::<SendMessageV2>(&header, "again").await;
    let msg_id = stored(&answer).msg_id.into_owned();
    let mut back = ConsumerSendMsgBackRequest {
        offset: OffsetMessageId::decode(&msg_id).unwrap().offset,
        group: Cow::Borrowed("g"),
        delay_level: 1,
        origin_topic: Some(Cow::Borrowed("t")),
        max_reconsume_times: Some(16),
        ..ConsumerSendMsgBackRequest::default()
    };
    let begun = Instant::now();
    let answer = client.ask::<ConsumerSendMsgBack>(&back, "").await;
    expect(&answer, ResponseCode::Success);
    let got = wait_for(&client, "%RETRY%g", 0).await;
    assert!(
        begun.elapsed() >= Duration::from_millis(999),
        "{:?}",
        begun.elapsed()
    );
    let [retry] = records(&got)[..] else {
        panic!("one message is there");
    };
    assert_eq!((retry.body(), retry.reconsume_times()), (&b"again"[..], 1));
    let all = retry.properties();
    let found = properties::get_each(
        &all,
        [
            property::RETRY_TOPIC,
            property::ORIGIN_MESSAGE_ID,
            "TAGS",
            "mine",
        ],
    );
    assert_eq!(found, [Some("t"), Some(&*msg_id), Some("a"), Some("yes")]);

    // Given up at once, and after the last retry.
    back.delay_level = -1;
    client.ask::<ConsumerSendMsgBack>(&back, "").await;
    assert_eq!(bodies(&wait_for(&client, "%DLQ%g", 0).await), ["again"]);
    back.delay_level = 0;
    back.offset = retry.physical_offset();
    back.max_reconsume_times = Some(1);
    client.ask::<ConsumerSendMsgBack>(&back, "").await;
    let got = wait_for(&client, "%DLQ%g", 1).await;
    let record = records(&got)[0];
    assert_eq!(record.body(), b"again");
    let all = record.properties();
    assert_eq!(properties::get(&all, property::RETRY_TOPIC), Some("t"));
    assert_eq!(
        properties::get(&all, property::ORIGIN_MESSAGE_ID),
        Some(&*msg_id)
    );

    // What is nowhere can't be sent back.
    back.offset = 1_000_000_000;
    let answer = client.ask::<ConsumerSendMsgBack>(&back, "").await;
    expect(&answer, ResponseCode::SystemError);
}

#[tokio::test]
async fn a_delayed_message_does_not_come_early() {
    let (_dir, _server, client) = start().await;
    let begun = Instant::now();
    let delayed = message("t", 0, "DELAY\u{1}1\u{2}TAGS\u{1}a\u{2}");
    let answer = client.ask::<SendMessageV2>(&delayed, "later").await;
    assert_eq!(stored(&answer).queue_id, 0);
    // One that is sent after it without a delay comes before it.
    assert_eq!(client.send("t", 0, "at once").await, 0);
    let mut request = held(pull("g", "t", 0, 1), TIMEOUT);
    request.subscription = Some(Cow::Borrowed("a"));
    let got = client.ask::<PullMessage>(&request, "").await;
    expect(&got, ResponseCode::Success);
    let elapsed = begun.elapsed();
    assert!(elapsed >= Duration::from_millis(999), "{elapsed:?}");
    let record = records(&got)[0];
    assert_eq!((record.body(), record.queue_offset()), (&b"later"[..], 1));
    assert_eq!(record.topic(), "t");
    let all = record.properties();
    let names = [
        property::DELAY_TIME_LEVEL,
        property::REAL_TOPIC,
        property::REAL_QUEUE_ID,
    ];
    assert_eq!(
        properties::get_each(&all, names),
        [Some("1"), Some("t"), Some("0")]
    );
}

fn new_topic(topic: &str, queues: i32) -> CreateTopicRequest<'_> {
    CreateTopicRequest {
        topic: Cow::Borrowed(topic),
        default_topic: Cow::Borrowed("TBW102"),
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm: 6,
        topic_filter_type: Cow::Borrowed("SINGLE_TAG"),
        ..CreateTopicRequest::default()
    }
}

async fn topic_config(client: &Client, topic: &str) -> Frame {
    let request = GetTopicConfigRequest {
        topic: Cow::Borrowed(topic),
        ..GetTopicConfigRequest::default()
    };
    client.ask::<GetTopicConfig>(&request, "").await
}

#[tokio::test]
async fn topics_are_made_and_deleted() {
    let (_dir, _server, client) = start().await;
    let answer = client
        .ask::<UpdateAndCreateTopic>(&new_topic("made", 16), "")
        .await;
    expect(&answer, ResponseCode::Success);
    let answer = topic_config(&client, "made").await;
    let config: TopicConfigAndQueueMapping = json::read(&answer.body).unwrap();
    assert_eq!(config.config.topic_name, "made");
    assert_eq!(
        (
            config.config.read_queue_nums,
            config.config.write_queue_nums
        ),
        (16, 16)
    );
    assert_eq!(client.send("made", 15, "x").await, 0);

    let list = GetAllTopicConfigRequest::default();
    let answer = client.ask::<GetAllTopicConfig>(&list, "").await;
    let all: TopicConfigSerializeWrapper = json::read(&answer.body).unwrap();
    assert_eq!(all.topic_config_table["made"], config.config);

    let request = DeleteTopicRequest {
        topic: Cow::Borrowed("made"),
        ..DeleteTopicRequest::default()
    };
    let answer = client.ask::<DeleteTopicInBroker>(&request, "").await;
    expect(&answer, ResponseCode::Success);
    let answer = topic_config(&client, "made").await;
    expect(&answer, ResponseCode::TopicNotExist);
    let answer = client
        .ask::<PullMessage>(&pull("g", "made", 15, 0), "")
        .await;
    expect(&answer, ResponseCode::TopicNotExist);
    // Made again, it is empty.
    client
        .ask::<UpdateAndCreateTopic>(&new_topic("made", 16), "")
        .await;
    assert_eq!(range(&client, "made", 15).await, (0, 0));
    assert_eq!(client.send("made", 15, "y").await, 0);
    let got = client
        .ask::<PullMessage>(&pull("g", "made", 15, 0), "")
        .await;
    assert_eq!(bodies(&got), ["y"]);
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let configuration = "messageDelayLevel = 2s 1h\n";
    let server = Server::cluster(dir.path(), configuration);
    let client = Client::connect(&server.broker).await;
    client
        .ask::<UpdateAndCreateTopic>(&new_topic("made", 3), "")
        .await;
    client.send("made", 2, "1").await;
    client.send("made", 2, "2").await;
    client.send("automatic", 0, "3").await;
    client
        .ask::<PullMessage>(&pull("g", "automatic", 0, 0), "")
        .await;
    let answer = client
        .ask::<UpdateConsumerOffset>(&commit("g", "automatic", 1), "")
        .await;
    expect(&answer, ResponseCode::Success);
    let delayed = message("made", 0, "DELAY\u{1}1\u{2}");
    stored(&client.ask::<SendMessageV2>(&delayed, "later").await);
    let longer = message("made", 1, "DELAY\u{1}2\u{2}");
    stored(&client.ask::<SendMessageV2>(&longer, "much later").await);
    // A held pull does not keep the server from stopping, and is answered.
    let long = held(pull("g", "automatic", 1, 0), Duration::from_secs(600));
    let waiting = client.start::<PullMessage>(&long, "").unwrap();
    offset(&offset_of(&client, "g", "automatic").await);
    let stopping = tokio::spawn(server.end(Signal::TERM));
    let answer = waiting.wait(TIMEOUT).await.unwrap();
    expect(&answer, ResponseCode::PullNotFound);
    assert_eq!(stopping.await.unwrap(), Some(0));

    let server = Server::cluster(dir.path(), configuration);
    let client = Client::connect(&server.broker).await;
    let answer = topic_config(&client, "made").await;
    let config: TopicConfigAndQueueMapping = json::read(&answer.body).unwrap();
    assert_eq!(config.config.write_queue_nums, 3);
    expect(
        &topic_config(&client, "automatic").await,
        ResponseCode::Success,
    );
    assert_eq!(offset(&offset_of(&client, "g", "automatic").await), 1);
    let got = client
        .ask::<PullMessage>(&pull("g", "made", 2, 0), "")
        .await;
    assert_eq!(bodies(&got), ["1", "2"]);
    assert_eq!(client.send("made", 2, "4").await, 2);
    assert_eq!(bodies(&wait_for(&client, "made", 0).await), ["later"]);
    assert_eq!(range(&client, "made", 0).await, (0, 1));
    assert_eq!(range(&client, "made", 1).await, (0, 0));
    assert_eq!(server.end(Signal::INT).await, Some(0));

    // What was delivered is not delivered again.
    let server = Server::cluster(dir.path(), configuration);
    let client = Client::connect(&server.broker).await;
    assert_eq!(range(&client, "made", 0).await, (0, 1));
}

#[test]
fn fifty_thousand_messages_due_together_come_soon_in_bounded_memory() {
    const MESSAGES: u64 = 50_000;
    const MEMORY: u64 = 200 << 20;
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::cluster(dir.path(), "");
    let output = Program::new(env!("CARGO_BIN_EXE_kerolox"))
        .args(["bench", "timer", "--output=json", "--queues=8"])
        .args(["--name-server", &server.name_server])
        .arg(format!(
            "--server-pid={}",
            server.process().as_raw_nonzero()
        ))
        .arg(format!("--together={MESSAGES}"))
        .args(["--delay=30s", "--duration=15s"])
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let run = &report["runs"][0];
    assert_eq!(report["fill"]["messages"], MESSAGES);
    assert_eq!(run["messages"], MESSAGES, "{run}");
    let memory = run["server"]["private_bytes"].as_u64().expect("bytes");
    assert!(memory < MEMORY, "the server took {memory} bytes");
}
