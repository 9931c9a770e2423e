//! What settings of the proxy change.

use wire::grpc::{
    Address, AddressScheme, ClientType, Code, Command, Endpoints, MessageType, Metric, PubSub,
    Publishing, Settings, Timestamp,
};

use crate::rig::{Rig, message};
use crate::{acknowledge, handle, receive, send};

#[tokio::test]
async fn messages_that_are_acknowledged_together_are_all_done_and_the_faulty_told() {
    let rig = Rig::with(&[("enableBatchAck", "true")]).await;
    rig.topic("orders", MessageType::Normal).await;
    for body in ["one", "two", "three"] {
        send(&rig, vec![message("orders", body, body)]).await;
    }
    let mut handles = Vec::new();
    while handles.len() < 3 {
        let (_, received) = receive(&rig, "orders", "g", 10_000).await;
        handles.extend(received.iter().map(handle));
    }
    let elsewhere = handles[0].replace("broker-a", "broker-z");
    handles.insert(1, "no handle".into());
    handles.push(elsewhere);
    let codes = acknowledge(&rig, "orders", "g", &handles).await;
    let (ok, failed) = (Code::Ok, Code::InternalServerError);
    let entries = [ok, failed, ok, ok, Code::InvalidReceiptHandle];
    let wanted = [&[Code::MultipleResults], &entries[..]].concat();
    assert_eq!(
        codes,
        wanted.iter().map(|code| *code as i32).collect::<Vec<_>>()
    );
    // The group goes on behind what is acknowledged.
    while rig.progress("orders", "g").await != Some(3) {
        tokio::time::sleep(crate::rig::POLL).await;
    }
    rig.stop().await;
}

#[tokio::test]
async fn what_clients_do_counts_at_the_broker_however_they_acknowledge() {
    for batches in ["false", "true"] {
        let rig = Rig::with(&[("enableBatchAck", batches)]).await;
        rig.topic("orders", MessageType::Normal).await;
        for body in ["one", "two"] {
            send(&rig, vec![message("orders", body, body)]).await;
        }
        let mut handles = Vec::new();
        while handles.len() < 2 {
            let (_, received) = receive(&rig, "orders", "g", 10_000).await;
            handles.extend(received.iter().map(handle));
        }
        acknowledge(&rig, "orders", "g", &handles).await;
        for (counter, key) in [
            ("TOPIC_PUT_NUMS", "orders"),
            ("GROUP_GET_NUMS", "orders@g"),
            ("GROUP_ACK_NUMS", "orders@g"),
        ] {
            assert_eq!(rig.counted(counter, key).await, 2, "{counter} {batches}");
        }
        rig.stop().await;
    }
}

#[tokio::test]
async fn a_delayed_message_waits_by_its_level_where_the_proxy_uses_levels() {
    let rig = Rig::with(&[("useDelayLevel", "true")]).await;
    rig.topic("later", MessageType::Delay).await;
    let mut message = message("later", "m", "soon");
    if let Some(system) = &mut message.system_properties {
        system.delivery_timestamp = Some(Timestamp::from_millis(1));
    }
    let told = send(&rig, vec![message]).await;
    assert_eq!(told.0, Code::Ok as i32);
    // The first queue there is that of level 1.
    assert_eq!(rig.count("SCHEDULE_TOPIC_XXXX").await, Some(1));
    rig.stop().await;
}

#[tokio::test]
async fn clients_are_told_where_to_send_what_they_measure() {
    let endpoints = |host: &str, port| Endpoints {
        scheme: AddressScheme::Ipv4 as i32,
        addresses: vec![Address {
            host: host.into(),
            port,
        }],
    };
    let proxy = endpoints("proxy.example", 8081);
    for (mode, wanted) in [
        ("off", None),
        ("on", Some(endpoints("metrics.example", 4317))),
        ("proxy", Some(proxy.clone())),
    ] {
        let rig = Rig::with(&[
            ("metricCollectorMode", mode),
            ("metricCollectorAddress", "metrics.example:4317"),
        ])
        .await;
        let settings = Settings {
            client_type: Some(ClientType::Producer as i32),
            access_point: Some(proxy.clone()),
            pub_sub: Some(PubSub::Publishing(Publishing::default())),
            ..Settings::default()
        };
        let mut stream = rig.telemetry("c", settings).await;
        let told = stream.next().await.and_then(|told| told.command);
        let Some(Command::Settings(settings)) = told else {
            panic!("{told:?}")
        };
        let metric = Metric {
            on: wanted.is_some(),
            endpoints: wanted,
        };
        assert_eq!(settings.metric, Some(metric), "{mode}");
        rig.stop().await;
    }
}
