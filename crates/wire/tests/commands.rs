//! Declared commands, headers and response codes against those of the reference.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use serde_json::Value;
use wire::code::ResponseCode;
use wire::command::{COMMANDS, Command, HeaderInfo, PopMessage, RequestCode, UnknownRequestCode};
use wire::frame::{Frame, Head, SerializeType, encode};
use wire::header::{
    EncodeHeader, Header, HeaderError, auth, broker, client, controller, group, nameserver, offset,
    pop, pull, send, topic, transaction,
};

extern crate kerolox_wire as wire;

/// Header classes that no request code of the reference is bound to.
const WITHOUT_COMMAND: [HeaderInfo; 3] = [
    HeaderInfo::of::<offset::InitConsumerOffsetRequest<'static>>(),
    HeaderInfo::of::<topic::RegisterOrderTopicRequest<'static>>(),
    HeaderInfo::of::<topic::StatisticsMessagesRequest<'static>>(),
];

/// Fields that the reference puts into the map beside those of its header classes.
const BESIDE_THE_CLASS: [(&str, &str); 10] = [
    ("GetRouteInfoRequestHeader", "__ZONE_MODE"),
    ("GetRouteInfoRequestHeader", "__ZONE_NAME"),
    ("QueryMessageRequestHeader", "_UNIQUE_KEY_QUERY"),
    ("RegisterBrokerRequestHeader", "__ZONE_NAME"),
    ("SendMessageResponseHeader", "MSG_REGION"),
    ("SendMessageResponseHeader", "TRACE_ON"),
    ("RecallMessageResponseHeader", "MSG_REGION"),
    ("answer to HEART_BEAT", "IS_SUB_CHANGE"),
    ("answer to HEART_BEAT", "IS_SUPPORT_HEART_BEAT_V2"),
    ("SWITCH_TIMER_ENGINE", "E_T"),
];

/// The rows of a table of the reference, without the one that names the columns.
fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
    table.lines().skip(1).map(|line| line.split('\t').collect())
}

#[test]
fn request_codes_are_those_of_the_reference() {
    let theirs: BTreeMap<i32, &str> = rows(include_str!("data/request-codes.tsv"))
        .map(|row| (row[2].parse().unwrap(), row[1]))
        .collect();
    let ours: BTreeMap<i32, &str> = COMMANDS
        .iter()
        .map(|command| (command.code as i32, command.code.name()))
        .collect();
    assert_eq!(ours, theirs);
    assert_eq!(ours.len(), COMMANDS.len(), "a number is declared twice");
    for (number, name) in theirs {
        let code = RequestCode::try_from(number).unwrap();
        assert_eq!((code.name(), code.info().code), (name, code));
    }
    assert_eq!(RequestCode::try_from(16), Err(UnknownRequestCode(16)));
}

#[test]
fn response_codes_are_those_of_the_reference() {
    let theirs: BTreeMap<i32, &str> = rows(include_str!("data/response-codes.tsv"))
        .map(|row| (row[2].parse().unwrap(), row[1]))
        .collect();
    let ours: BTreeMap<i32, &str> = ResponseCode::ALL
        .iter()
        .map(|code| (*code as i32, code.name()))
        .collect();
    assert_eq!(ours, theirs);
    for number in theirs.into_keys() {
        assert_eq!(ResponseCode::try_from(number).unwrap() as i32, number);
    }
    assert!(ResponseCode::try_from(214).is_err());
}

/// Wire name, kind and whether it is required, of every field of every header class.
type Headers = BTreeMap<String, BTreeSet<(String, &'static str, bool)>>;

fn declared() -> Headers {
    let bound = COMMANDS
        .iter()
        .flat_map(|command| [command.request, command.response]);
    let mut headers = Headers::new();
    for header in bound.chain(WITHOUT_COMMAND) {
        let fields = (header.fields)();
        let count = fields.len();
        let fields: BTreeSet<_> = fields
            .into_iter()
            .filter(|field| !BESIDE_THE_CLASS.contains(&(header.name, field.name)))
            .map(|field| (field.name.to_owned(), field.kind.name(), field.required))
            .collect();
        let beside = BESIDE_THE_CLASS
            .iter()
            .filter(|(class, _)| *class == header.name)
            .count();
        assert_eq!(
            fields.len() + beside,
            count,
            "{} names a field twice",
            header.name
        );
        headers.insert(header.name.to_owned(), fields);
    }
    for class in ["no header", "answer to HEART_BEAT", "SWITCH_TIMER_ENGINE"] {
        assert!(
            headers
                .remove(class)
                .is_some_and(|fields| fields.is_empty()),
            "{class}"
        );
    }
    headers
}

#[test]
fn headers_are_those_of_the_reference() {
    let mut theirs = Headers::new();
    for row in rows(include_str!("data/headers.tsv")) {
        let fields = theirs.entry(row[0].to_owned()).or_default();
        let kind = match row[4] {
            "String" => "text",
            "int" | "Integer" => "int",
            "long" | "Long" => "long",
            "boolean" | "Boolean" => "bool",
            "BoundaryType" => "enum",
            _ => continue,
        };
        fields.insert((row[3].to_owned(), kind, row[5] == "required"));
    }
    let ours = declared();
    for (class, fields) in &theirs {
        assert_eq!(ours.get(class), Some(fields), "{class}");
    }
    assert_eq!(
        ours.keys().collect::<Vec<_>>(),
        theirs.keys().collect::<Vec<_>>()
    );
    assert_eq!(theirs.len(), 152);
}

#[test]
fn headers_are_bound_to_the_codes_that_their_classes_state() {
    for row in rows(include_str!("data/headers.tsv")).filter(|row| !row[2].is_empty()) {
        let code = RequestCode::try_from(row[2].parse::<i32>().unwrap()).unwrap();
        let info = code.info();
        let bound = if row[1] == "request" {
            info.request
        } else {
            info.response
        };
        assert_eq!(bound.name, row[0], "{}", code.name());
    }
}

#[test]
fn a_pop_in_a_rocketmq_header_is_known_by_its_cut_code() {
    let head = |serialize, code| Head {
        code,
        ..Head::request(0, serialize)
    };
    let of = |serialize, code| RequestCode::of(&head(serialize, code));
    assert_eq!(
        of(SerializeType::RocketMq, 3442),
        Ok(RequestCode::PopMessage)
    );
    assert_eq!(
        of(SerializeType::RocketMq, 310),
        Ok(RequestCode::SendMessageV2)
    );
    assert_eq!(of(SerializeType::Json, 200_050), Ok(PopMessage::CODE));
    assert_eq!(of(SerializeType::Json, 3442), Err(UnknownRequestCode(3442)));
    let cut: BTreeSet<i16> = COMMANDS
        .iter()
        .map(|command| command.code as i32 as i16)
        .collect();
    assert_eq!(
        cut.len(),
        COMMANDS.len(),
        "two codes are the same in 16 bits"
    );
}

/// The fields of a frame that has `header`, in the frame's own serialization.
fn fields_of<H: EncodeHeader>(head: &Head, header: &H) -> BTreeMap<String, String> {
    let mut out = BytesMut::new();
    encode(head, None, header, 0, &mut out);
    let frame = Frame::decode(&mut out)
        .expect("a good frame")
        .expect("a whole frame");
    let fields = frame.ext.iter();
    fields
        .filter_map(|(name, value)| Some((name.into_owned(), value?.into_owned())))
        .collect()
}

/// Reads the frame's header as `H` and writes it again.
fn through<'a, H: Header<'a> + EncodeHeader>(
    frame: &'a Frame,
) -> Result<BTreeMap<String, String>, HeaderError> {
    Ok(fields_of(&frame.head, &frame.header::<H>()?))
}

macro_rules! through_class {
    ($class:expr, $frame:expr; $($header:ty),* $(,)?) => {
        match $class {
            $(class if class == <$header as Header>::NAME => through::<$header>($frame),)*
            class => panic!("{class} is not listed in this test"),
        }
    };
}

fn through_class(class: &str, frame: &Frame) -> Result<BTreeMap<String, String>, HeaderError> {
    through_class!(
        class, frame;
        auth::CreateAclRequest, auth::CreateUserRequest, auth::DeleteAclRequest,
        auth::ListUsersRequest, broker::ExchangeHAInfoRequest,
        broker::NotifyMinBrokerIdChangeRequest, broker::ViewBrokerStatsDataRequest,
        client::ConsumeMessageDirectlyResultRequest, client::GetConsumerListByGroupRequest,
        client::HeartbeatRequest, client::LockBatchMqRequest,
        client::NotifyConsumerIdsChangedRequest, client::UnregisterClientRequest,
        controller::AlterSyncStateSetRequest, controller::ApplyBrokerIdRequest,
        controller::ElectMasterRequest, controller::ElectMasterResponse,
        controller::GetMetaDataResponse, controller::GetNextBrokerIdRequest,
        controller::NotifyBrokerRoleChangedRequest, controller::RegisterBrokerToControllerRequest,
        controller::RegisterBrokerToControllerResponse, group::DeleteSubscriptionGroupRequest,
        group::GetAllSubscriptionGroupResponse, group::GetConsumeStatsRequest,
        nameserver::BrokerHeartbeatRequest, nameserver::GetRouteInfoRequest,
        nameserver::PutKVConfigRequest, nameserver::QueryDataVersionRequest,
        nameserver::RegisterBrokerRequest, nameserver::RegisterBrokerResponse,
        nameserver::UnRegisterBrokerRequest, offset::GetEarliestMsgStoretimeRequest,
        offset::GetMaxOffsetRequest, offset::GetMinOffsetResponse,
        offset::QueryConsumerOffsetRequest, offset::QueryConsumerOffsetResponse,
        offset::ResetOffsetRequest, offset::SearchOffsetRequest,
        offset::UpdateConsumerOffsetRequest, pop::AckMessageRequest,
        pop::ChangeInvisibleTimeRequest, pop::ChangeInvisibleTimeResponse,
        pop::NotificationRequest, pop::NotificationResponse, pop::PeekMessageRequest,
        pop::PollingInfoRequest, pop::PopMessageRequest, pop::PopMessageResponse,
        pull::PullMessageRequest, pull::PullMessageResponse, pull::ViewMessageRequest,
        send::ConsumerSendMsgBackRequest, send::RecallMessageRequest, send::RecallMessageResponse,
        send::ReplyMessageRequest, send::SendMessageRequest, send::SendMessageRequestV2,
        send::SendMessageResponse, topic::CreateTopicListRequest, topic::CreateTopicRequest,
        topic::DeleteTopicRequest, topic::GetAllTopicConfigResponse,
        transaction::CheckTransactionStateRequest, transaction::EndTransactionRequest,
        wire::header::lite::PopLiteMessageRequest,
    )
}

#[test]
fn every_golden_header_keeps_its_fields_as_a_type() {
    let mut headers = 0;
    for line in include_str!("data/frames.jsonl").lines() {
        let golden: Value = serde_json::from_str(line).unwrap();
        let Some(class) = golden["header_class"].as_str() else {
            continue;
        };
        let class = class.rsplit('.').next().unwrap();
        let bytes = STANDARD
            .decode(golden["frame_b64"].as_str().unwrap())
            .unwrap();
        let frame = Frame::decode(&mut BytesMut::from(&*bytes))
            .unwrap()
            .unwrap();
        let before: BTreeMap<String, String> = frame
            .ext
            .iter()
            .filter_map(|(name, value)| Some((name.into_owned(), value?.into_owned())))
            .collect();
        match through_class(class, &frame) {
            Ok(after) => assert_eq!(after, before, "{}", golden["name"]),
            Err(error) => panic!("{}: {error}", golden["name"]),
        }
        headers += 1;
    }
    assert!(headers > 150, "only {headers} headers were compared");
}

#[test]
fn a_request_without_a_required_field_is_refused_by_name() {
    let mut out = BytesMut::new();
    let head = Head::request(RequestCode::GetMaxOffset as i32, SerializeType::Json);
    encode(&head, None, &[("topic", "T")][..], 0, &mut out);
    let frame = Frame::decode(&mut out).unwrap().unwrap();
    let error = frame.header::<offset::GetMaxOffsetRequest>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the field queueId of GetMaxOffsetRequestHeader is missing"
    );
}

#[test]
fn absent_fields_have_the_defaults_of_the_reference() {
    assert!(offset::GetMaxOffsetRequest::default().committed);
    assert_eq!(offset::ResetOffsetRequest::default().queue_id, -1);
    let mut out = BytesMut::new();
    let head = Head::request(RequestCode::GetMaxOffset as i32, SerializeType::RocketMq);
    encode(
        &head,
        None,
        &[("topic", "T"), ("queueId", "3")][..],
        0,
        &mut out,
    );
    let frame = Frame::decode(&mut out).unwrap().unwrap();
    assert!(
        frame
            .header::<offset::GetMaxOffsetRequest>()
            .unwrap()
            .committed
    );
}
