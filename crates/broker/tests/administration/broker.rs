//! The broker itself: its settings, how it is doing.

use bytes::Bytes;
use transport::Body;
use wire::body::json;
use wire::body::kv::KVTable;
use wire::body::offset::DelayOffsetSerializeWrapper;
use wire::body::version::DataVersion;
use wire::code::ResponseCode;
use wire::command::*;
use wire::header::NoHeader;
use wire::header::broker::{GetBrokerConfigResponse, SwitchTimerEngineRequest};
use wire::header::send::SendMessageRequestV2;

use crate::rig::*;

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_shown_and_changed() {
    let rig = Rig::new().await;
    let shown = async || {
        let answer = rig.done::<GetBrokerConfig>(NoHeader, Body::Empty).await;
        let header: GetBrokerConfigResponse<'_> = answer.header().unwrap();
        let version: DataVersion = json::read(header.version.as_bytes()).unwrap();
        (
            String::from_utf8(answer.body.to_vec()).unwrap(),
            version.counter,
        )
    };
    std::fs::write(rig.config_file(), "# ours\nautoCreateTopicEnable = true\n").unwrap();
    let (before, version) = shown().await;
    assert!(before.contains("autoCreateTopicEnable=true"), "{before}");
    rig.done::<UpdateBrokerConfig>(
        NoHeader,
        Bytes::from_static(b"autoCreateTopicEnable=false\n"),
    )
    .await;
    let (after, changes) = shown().await;
    assert!(after.contains("autoCreateTopicEnable=false"), "{after}");
    assert_eq!(changes, version + 1);
    let kept = std::fs::read_to_string(rig.config_file()).unwrap();
    assert_eq!(kept, "# ours\nautoCreateTopicEnable=false\n");
    for (text, code, remark) in [
        (
            "autoCreateTopicEnabel=true",
            ResponseCode::SystemError,
            "autoCreateTopicEnable",
        ),
        ("brokerName=other", ResponseCode::SystemError, "brokerName"),
        (
            "kerolox.protocols=gopher",
            ResponseCode::SystemError,
            "the protocols are proxy, remoting",
        ),
        (
            "tls.test.mode.enable=false",
            ResponseCode::SystemError,
            "tls.server.certPath",
        ),
        (
            "brokerConfigPath=/x",
            ResponseCode::NoPermission,
            "black list",
        ),
    ] {
        let answer = rig
            .ask::<UpdateBrokerConfig>(NoHeader, Bytes::from_static(text.as_bytes()))
            .await;
        refused(&answer, code, remark);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_tells_how_it_is_doing() {
    let rig = Rig::new().await;
    rig.send("orders", 0, "one").await;
    let info: KVTable = rig.read::<GetBrokerRuntimeInfo, _>(NoHeader).await;
    assert_eq!(info.table["brokerVersionDesc"], "V5_5_0");
    assert_eq!(info.table["msgPutTotalTodayNow"], "1");
    assert!(
        info.table["commitLogDirCapacity"].starts_with("Total : "),
        "{info:?}"
    );
    for rates in ["putTps", "getFoundTps", "getMissTps", "getTotalTps"] {
        let mut rates = info.table[rates].split(' ');
        assert!(rates.all(|rate| rate.parse::<f64>().is_ok()), "{info:?}");
    }
    let times = info.table["putMessageDistributeTime"].split(' ');
    let times: Vec<_> = times.filter_map(|time| time.split_once(':')).collect();
    assert_eq!((times[0].0, times[1].0), ("[<=0ms]", "[0~10ms]"));
    for millis in [
        "putLatency99",
        "putMessageEntireTimeMax",
        "getMessageEntireTimeMax",
    ] {
        assert!(info.table[millis].parse::<f64>().is_ok(), "{info:?}");
    }
    assert_eq!(info.table["putMessageFailedTimes"], "0");
    assert_eq!(info.table["sendThreadPoolQueueCapacity"], "10000");
    rig.done::<DeleteExpiredCommitLog>(NoHeader, Body::Empty)
        .await;
    rig.done::<CleanExpiredConsumeQueue>(NoHeader, Body::Empty)
        .await;
    rig.done::<CleanUnusedTopic>(NoHeader, Body::Empty).await;
    let delayed: DelayOffsetSerializeWrapper = rig.read::<GetAllDelayOffset, _>(NoHeader).await;
    assert!(delayed.data_version.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn thresholds_of_cold_data_are_kept_and_told() {
    let rig = Rig::new().await;
    let told = async || -> serde_json::Value {
        let answer = rig.done::<GetColdDataFlowCtrInfo>(NoHeader, Body::Empty);
        serde_json::from_slice(&answer.await.body).unwrap()
    };
    let set = async |text: &'static str| {
        let body = Bytes::from_static(text.as_bytes());
        rig.ask::<UpdateColdDataFlowCtrConfig>(NoHeader, body).await
    };
    for (text, code, remark) in [
        (
            "nobody=1",
            ResponseCode::SubscriptionGroupNotExist,
            "nobody",
        ),
        (
            "TOOLS_CONSUMER=much",
            ResponseCode::SystemError,
            "not `much`",
        ),
    ] {
        refused(&set(text).await, code, remark);
    }
    assert_eq!(set("TOOLS_CONSUMER=4096\n").await.head.code, 0);
    let with_one = told().await;
    assert_eq!(with_one["configTable"]["TOOLS_CONSUMER"], 4096);
    assert_eq!(with_one["cgColdReadThreshold"], 3_145_728);
    assert_eq!(with_one["globalColdReadThreshold"], 104_857_600);
    let group = Bytes::from_static(b"TOOLS_CONSUMER");
    rig.done::<RemoveColdDataFlowCtrConfig>(NoHeader, group)
        .await;
    assert_eq!(told().await["configTable"], serde_json::json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_tells_what_its_timer_has_to_do() {
    let rig = Rig::with(|settings| settings.store.timer_stop_enqueue = true).await;
    rig.create_topic("orders", 1).await;
    let info = async || -> KVTable { rig.read::<GetBrokerRuntimeInfo, _>(NoHeader).await };
    let waits = |info: &KVTable| {
        ["timerOffsetBehind", "timerCongestNum"].map(|name| info.table[name].clone())
    };
    let header = SendMessageRequestV2 {
        producer_group: "p".into(),
        topic: "orders".into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 1,
        properties: Some("TIMER_DELAY_SEC\u{1}3600\u{2}".into()),
        ..Default::default()
    };
    rig.done::<SendMessageV2>(header, Body::One("x".into()))
        .await;
    assert_eq!(waits(&info().await), ["1", "0"]);

    let switch = |engine_type: &'static str| SwitchTimerEngineRequest {
        engine_type: Some(engine_type.into()),
    };
    let answer = rig.ask::<SwitchTimerEngine>(switch("R"), Body::Empty).await;
    refused(
        &answer,
        ResponseCode::InvalidParameter,
        "timerRocksDBEnable",
    );
    let answer = rig
        .done::<SwitchTimerEngine>(switch("F"), Body::Empty)
        .await;
    let remark = answer.remark.as_deref();
    assert_eq!(remark, Some("switch timer engine success"));
    let mut told = info().await;
    while waits(&told) != ["0", "1"] {
        told = info().await;
    }
    assert_eq!(told.table["timerReadBehind"], "0");
    let rate: f64 = told.table["timerEnqueueTps"].parse().unwrap();
    assert!(rate > 0.0, "{told:?}");
    let settings = rig.done::<GetBrokerConfig>(NoHeader, Body::Empty).await;
    let settings = String::from_utf8(settings.body.to_vec()).unwrap();
    assert!(
        settings
            .lines()
            .any(|line| line == "timerStopEnqueue=false")
    );
}
