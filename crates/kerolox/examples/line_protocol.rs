//! A protocol of one's own: lines of text, beside all others on the broker's port.
//!
//! ```text
//! SEND greetings hello        OK 0 12
//! READ greetings 0 12         MESSAGE 12 hello
//! ```
//!
//! `SEND topic text` stores a message and answers with its queue and offset; `READ topic queue
//! offset` answers with the first message from there on. What is refused answers `ERROR`.
//!
//! A line becomes a request on a connection inside of the broker, so that it takes the way of all
//! others: the same handlers, limits and logs. `cargo run --example line_protocol`, then
//! `nc 127.0.0.1 10911`.

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use broker::{BrokerSettings, RunningBroker};
use config::{Live, Settings};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use transport::{BoxFuture, ByteStream, Connection, Detection, Endpoint, Link, Protocol};
use wire::command::RequestCode;
use wire::frame::{Frame, Head, SerializeType};
use wire::header::EncodeHeader;
use wire::header::pull::PullMessageRequest;
use wire::header::send::{SendMessageRequest, SendMessageResponse};
use wire::message::record::RecordRef;

/// No line is longer.
const MAX_LINE: u64 = 64 * 1024;

/// The broker has so long to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The bit of a pull that brings its subscription along.
const SUBSCRIPTION: i32 = 4;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

struct Lines;

impl Protocol for Lines {
    fn name(&self) -> &'static str {
        "lines"
    }

    fn detect(&self, first: &[u8]) -> Detection {
        Detection::by_start(first, &[b"SEND ", b"READ "])
    }

    fn serve(self: Arc<Self>, link: Link, endpoint: Arc<Endpoint>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let broker = endpoint.inside(|stream| link.inner(stream));
            let (link, stream) = link.split();
            let ending = endpoint.draining(&link.stack);
            if let Err(error) = talk(stream, &broker, ending).await {
                eprintln!("{}: {error}", link.peer);
            }
            broker.close();
        })
    }
}

/// Answers line after line, until the peer leaves or the connection is to end.
async fn talk(
    stream: Box<dyn ByteStream>,
    broker: &Connection,
    ending: impl Future<Output = ()>,
) -> Result<()> {
    let (mut lines, mut ending) = (BufReader::new(stream), pin!(ending));
    loop {
        let mut line = String::new();
        let mut limited = (&mut lines).take(MAX_LINE);
        tokio::select! {
            read = limited.read_line(&mut line) => read?,
            () = &mut ending => return Ok(()),
        };
        if !line.ends_with('\n') {
            return Ok(());
        }
        let answer = match line.trim_end().splitn(3, ' ').collect::<Vec<_>>()[..] {
            ["SEND", topic, text] => send(broker, topic, text).await,
            ["READ", topic, place] => read(broker, topic, place).await,
            _ => Err("say SEND topic text, or READ topic queue offset".into()),
        };
        let answer = answer.unwrap_or_else(|error| format!("ERROR {error}"));
        lines.write_all(format!("{answer}\n").as_bytes()).await?;
        lines.flush().await?;
    }
}

async fn send(broker: &Connection, topic: &str, text: &str) -> Result<String> {
    let header = SendMessageRequest {
        producer_group: "lines".into(),
        topic: topic.into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 1,
        ..Default::default()
    };
    let answer = ask(broker, RequestCode::SendMessage, &header, text).await?;
    let stored: SendMessageResponse<'_> = answer.header()?;
    Ok(format!("OK {} {}", stored.queue_id, stored.queue_offset))
}

async fn read(broker: &Connection, topic: &str, place: &str) -> Result<String> {
    let (queue, offset) = place.split_once(' ').ok_or("say READ topic queue offset")?;
    let header = PullMessageRequest {
        consumer_group: "CID_ONSAPI_LINES".into(),
        topic: topic.into(),
        queue_id: queue.parse()?,
        queue_offset: offset.parse()?,
        max_msg_nums: 1,
        sys_flag: SUBSCRIPTION,
        subscription: Some("*".into()),
        ..Default::default()
    };
    let answer = ask(broker, RequestCode::PullMessage, &header, "").await?;
    let message = RecordRef::parse(&answer.body)?;
    let text = String::from_utf8_lossy(message.body()).into_owned();
    Ok(format!("MESSAGE {} {text}", message.queue_offset()))
}

/// Asks the broker; a refusal is an error with its code and remark.
async fn ask<H: EncodeHeader>(
    broker: &Connection,
    code: RequestCode,
    header: &H,
    body: &str,
) -> Result<Frame> {
    let head = Head::request(code as i32, SerializeType::Json);
    let asked = broker.request(head, header, body.to_owned().into(), PATIENCE);
    let answer = asked.await?;
    match (answer.head.code, answer.remark.as_deref()) {
        (0, _) => Ok(answer),
        (code, remark) => Err(format!("{code} {}", remark.unwrap_or_default()).into()),
    }
}

async fn start(data: &str, port: u16) -> Result<RunningBroker> {
    let mut settings = BrokerSettings::default();
    settings.set("bindAddress", "127.0.0.1")?;
    settings.set("brokerIP1", "127.0.0.1")?;
    settings.set("listenPort", &port.to_string())?;
    settings.set("storePathRootDir", data)?;
    let broker = RunningBroker::start(Live::new(settings)).await?;
    broker.protocols().add(Arc::new(Lines));
    Ok(broker)
}

#[tokio::main]
async fn main() -> Result<()> {
    let broker = start("./line-protocol-data", 10911).await?;
    println!("listening on {}; Ctrl-C stops it", broker.local_addr());
    tokio::signal::ctrl_c().await?;
    Ok(broker.shutdown().await?)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn lines_send_and_read() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let broker = start(&directory.path().to_string_lossy(), 0).await?;
        let mut lines = BufReader::new(TcpStream::connect(broker.local_addr()).await?);
        for (line, answer) in [
            ("SEND greetings hello to you", "OK 0 0"),
            ("SEND greetings again", "OK 0 1"),
            ("READ greetings 0 1", "MESSAGE 1 again"),
            ("READ greetings 0 0", "MESSAGE 0 hello to you"),
            (
                "READ greetings",
                "ERROR say SEND topic text, or READ topic queue offset",
            ),
            ("SEND bad$topic x", "ERROR 29 "),
        ] {
            lines.write_all(format!("{line}\n").as_bytes()).await?;
            let mut read = String::new();
            lines.read_line(&mut read).await?;
            assert!(read.starts_with(answer), "{line}: {read}");
        }
        // Switched off, its connection comes to an end.
        broker.protocols().switch("remoting")?;
        let mut rest = String::new();
        assert_eq!(lines.read_line(&mut rest).await?, 0);
        Ok(broker.shutdown().await?)
    }
}
