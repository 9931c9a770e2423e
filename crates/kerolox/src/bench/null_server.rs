//! The null server: answers success to each request and does nothing else.
//!
//! Under the same load it shows the floor: what the load generator, the sockets and the splitting
//! of streams into frames cost by themselves.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use transport::{
    Connection, Handler, HandlerTable, Outbox, RemotingServer, RemotingServerConfig, Reply,
    TransportError,
};
use wire::command::RequestCode;
use wire::frame::Frame;
use wire::header::offset::GetMaxOffsetResponse;
use wire::header::pull::{PullMessageRequest, PullMessageResponse};
use wire::message::record::{RecordFields, RecordVersion};

/// Messages that a pull is answered with at most.
const MESSAGES: usize = 32;

/// Starts a null server whose pulls bring messages with bodies of `body_size` bytes.
pub(super) async fn start(
    listen: SocketAddr,
    body_size: usize,
) -> Result<RemotingServer, TransportError> {
    let config = RemotingServerConfig {
        bind_address: listen.ip().to_string(),
        listen_port: listen.port(),
        ..RemotingServerConfig::default()
    };
    let mut handlers = HandlerTable::new();
    handlers.otherwise(Handler::Inline(Arc::new(succeed)));
    let offset = |_: &Arc<Connection>, _: &Frame| Ok(Reply::ok(GetMaxOffsetResponse::default()));
    handlers.inline_each(
        &[RequestCode::GetMaxOffset, RequestCode::GetMinOffset],
        offset,
    );
    let records = records(body_size);
    let size = records.len() / MESSAGES;
    handlers.inline_each(&[RequestCode::PullMessage], move |_, frame| {
        let request: PullMessageRequest<'_> = frame.header()?;
        let count = usize::try_from(request.max_msg_nums)
            .unwrap_or(0)
            .clamp(1, MESSAGES);
        let header = PullMessageResponse {
            next_begin_offset: request.queue_offset + count as i64,
            max_offset: i64::MAX,
            ..PullMessageResponse::default()
        };
        Ok(Reply::ok(header).with_body(records.slice(..count * size)))
    });
    Ok(RemotingServer::bind(config)
        .await?
        .handlers(handlers)
        .start())
}

fn succeed(_: &Arc<Connection>, requests: &[Frame], outbox: &mut Outbox) {
    for request in requests {
        outbox.reply(&request.head, Reply::empty());
    }
}

/// As many equal records as a pull may bring.
fn records(body_size: usize) -> Bytes {
    let body = vec![b'x'; body_size];
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let fields = RecordFields {
        version: RecordVersion::V1,
        queue_id: 0,
        flag: 0,
        queue_offset: 0,
        physical_offset: 0,
        sys_flag: 0,
        born_timestamp: 0,
        born_host: nowhere,
        store_timestamp: 0,
        store_host: nowhere,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: &body,
        topic: "null",
        properties: b"",
        more_properties: b"",
        append_record_crc: false,
    };
    let mut records = BytesMut::new();
    for _ in 0..MESSAGES {
        fields
            .encode_into(&mut records)
            .expect("a body within limits");
    }
    records.freeze()
}
