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
use wire::header::broker::GetBrokerConfigResponse;

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
    assert!(
        info.table["putTps"]
            .split(' ')
            .all(|rate| rate.parse::<f64>().is_ok()),
        "{info:?}"
    );
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
