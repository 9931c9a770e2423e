//! When a sender is answered under `SYNC_FLUSH`, on a disk that is flushed only when told to.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use config::Live;
use store::{FlushDiskType, MemoryDisk};
use transport::{Body, HandlerTable, RemotingClient, RemotingClientConfig, RemotingServer};
use wire::code::ResponseCode;
use wire::command::{Command, SendMessageV2};
use wire::frame::{Frame, Head, SerializeType};
use wire::header::send::SendMessageRequestV2;

use crate::broker::Broker;
use crate::routes;
use crate::settings::BrokerSettings;
use crate::test_clock::TestClock;

const TOPIC: &str = "t";

/// Some time that is never needed, unless a test is about to fail.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker whose store has no threads, so that nothing is flushed by itself.
struct Unflushed {
    broker: Arc<Broker>,
    server: RemotingServer,
    client: RemotingClient,
}

impl Unflushed {
    async fn new(sync_flush_timeout: u32) -> Self {
        let mut settings = BrokerSettings::default();
        settings.broker.broker_ip = "127.0.0.1".into();
        settings.server.bind_address = "127.0.0.1".into();
        settings.server.listen_port = 0;
        settings.store.store_path_root_dir = "/store".into();
        settings.store.mapped_file_size_commit_log = 1 << 20;
        settings.store.flush_disk_type = FlushDiskType::SyncFlush;
        settings.store.sync_flush_timeout = sync_flush_timeout;
        let bound = RemotingServer::bind(settings.server.clone()).await.unwrap();
        let port = bound.local_addr().port();
        let (disk, clock) = (Arc::new(MemoryDisk::new()), Arc::new(TestClock::new()));
        let broker = Broker::open(Live::new(settings), port, disk, clock, false).unwrap();
        let broker = Arc::new(broker);
        Self {
            server: bound.handlers(routes::handlers(&broker)).start(),
            client: RemotingClient::new(RemotingClientConfig::default(), HandlerTable::new()),
            broker,
        }
    }

    /// Sends a message; the answer.
    fn send(&self, wait: &str) -> impl Future<Output = Frame> + use<> {
        let (client, address) = (self.client.clone(), self.server.local_addr().to_string());
        let header = SendMessageRequestV2 {
            producer_group: "p".into(),
            topic: TOPIC.into(),
            default_topic: "TBW102".into(),
            default_topic_queue_nums: 1,
            properties: Some(format!("WAIT\u{1}{wait}\u{2}").into()),
            ..Default::default()
        };
        async move {
            let head = Head::request(SendMessageV2::CODE as i32, SerializeType::Json);
            let body = Body::One(Bytes::from_static(b"body"));
            let answer = client.request(&address, head, &header, body, PATIENCE);
            answer.await.unwrap()
        }
    }

    /// Messages that consumers see.
    fn stored(&self) -> i64 {
        let queue = self.broker.store.find_queue(TOPIC, 0);
        queue.map_or(0, |queue| queue.max_offset())
    }
}

#[tokio::test]
async fn only_who_waits_for_the_disk_is_answered_after_it() {
    let broker = Unflushed::new(u32::MAX / 4).await;
    let waiting = tokio::spawn(broker.send("true"));
    while broker.stored() == 0 {
        tokio::task::yield_now().await;
    }
    let answer = broker.send("false").await;
    assert_eq!(answer.head.code, ResponseCode::Success as i32);
    assert_eq!(broker.stored(), 2);
    assert!(!waiting.is_finished(), "nothing is on the disk");
    broker.broker.store.flush().unwrap();
    let answer = waiting.await.unwrap();
    assert_eq!(answer.head.code, ResponseCode::Success as i32);
}

#[tokio::test]
async fn a_sender_is_told_when_the_disk_takes_too_long_and_the_message_is_stored() {
    let broker = Unflushed::new(1).await;
    let answer = broker.send("true").await;
    assert_eq!(answer.head.code, ResponseCode::FlushDiskTimeout as i32);
    assert_eq!(broker.stored(), 1);
}
