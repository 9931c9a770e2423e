//! Frames that the reference wrote, byte for byte, answered by this name server.
//! `tests/data/frames.jsonl` has them with what is in them.

use crate::world::{World, assert_success, text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::frame::Frame;

fn golden(name: &str) -> Value {
    let frames = include_str!("../data/frames.jsonl").lines();
    let mut frames = frames.map(|line| serde_json::from_str::<Value>(line).unwrap());
    frames.find(|frame| frame["name"] == name).unwrap()
}

fn bytes(frame: &Value, part: &str) -> Vec<u8> {
    STANDARD.decode(frame[part].as_str().unwrap()).unwrap()
}

/// A bare connection.
struct Peer(TcpStream, BytesMut);

impl Peer {
    async fn of(world: &World) -> Self {
        Self(
            TcpStream::connect(&world.address).await.unwrap(),
            BytesMut::new(),
        )
    }

    async fn send(&mut self, name: &str) -> Frame {
        let request = golden(name);
        self.0
            .write_all(&bytes(&request, "frame_b64"))
            .await
            .unwrap();
        loop {
            if let Some(frame) = Frame::decode(&mut self.1).unwrap() {
                assert_eq!(i64::from(frame.head.opaque), request["opaque"]);
                return frame;
            }
            assert_ne!(
                self.0.read_buf(&mut self.1).await.unwrap(),
                0,
                "{name} is answered"
            );
        }
    }
}

const ROUTE: &str = r#"{"brokerDatas":[{"brokerAddrs":{"0":"127.0.0.1:10911"},"brokerName":"broker-a","cluster":"DefaultCluster","enableActingMaster":false}],"filterServerTable":{"127.0.0.1:10911":["192.0.2.30:5000"]},"queueDatas":[{"brokerName":"broker-a","perm":6,"readQueueNums":8,"topicSysFlag":0,"writeQueueNums":8}],"topicQueueMappingByBroker":{"broker-a":{"bname":"broker-a","currIdMap":{"0":3},"dirty":false,"epoch":1732186800123,"scope":"__global__","topic":"TopicTest","totalQueues":8}}}"#;

#[tokio::test]
async fn a_broker_and_clients_of_the_reference_are_served() {
    for form in ["json", "rmq"] {
        let name = |name: &str| format!("{name}.{form}");
        let world = World::new().await;
        let mut peer = Peer::of(&world).await;
        assert_success(&peer.send(&name("register_broker_plain")).await);
        assert_eq!(text(&peer.send(&name("get_route")).await.body), ROUTE);
        assert_eq!(
            text(&peer.send(&name("get_route_standard_json")).await.body),
            ROUTE
        );

        let version = peer.send(&name("query_data_version")).await;
        assert_eq!(version.ext.get("changed").as_deref(), Some("false"));
        assert_eq!(
            version.body,
            bytes(&golden("query_data_version.json"), "body_b64")
        );

        // The same address comes back with another id: that of a replica, without a master now.
        assert_success(&peer.send(&name("register_broker_compressed")).await);
        let route = world.route("TopicTest").await.unwrap();
        let ids = route.broker_datas[0].broker_addrs.keys();
        assert_eq!(ids.collect::<Vec<_>>(), [&1]);
        assert_eq!(route.queue_datas[0].perm, 4);

        assert_success(&peer.send(&name("unregister_broker")).await);
        let answer = peer.send(&name("get_route")).await;
        assert_eq!(answer.head.code, 17);
        let expected = golden("route_response_not_exist.json")["remark"]
            .as_str()
            .unwrap()
            .replace("nope", "TopicTest");
        assert_eq!(answer.remark, Some(expected));
    }
}
