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
//! Lines become frames in a pipe, so that requests take the way of all others: the same
//! handlers, limits and logs. `cargo run --example line_protocol`, then `nc 127.0.0.1 10911`.

use std::error::Error;
use std::sync::Arc;

use broker::{BrokerSettings, RunningBroker};
use bytes::BytesMut;
use config::{Live, Settings};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use transport::{BoxFuture, Detection, Endpoint, Link, Protocol};
use wire::code::ResponseCode;
use wire::command::RequestCode;
use wire::frame::{Frame, Head, SerializeType, encode};
use wire::header::EncodeHeader;
use wire::header::pull::PullMessageRequest;
use wire::header::send::{SendMessageRequest, SendMessageResponse};
use wire::message::record::RecordRef;

/// No line is longer.
const MAX_LINE: u64 = 64 * 1024;

struct Lines;

impl Protocol for Lines {
    fn name(&self) -> &'static str {
        "lines"
    }

    fn detect(&self, first: &[u8]) -> Detection {
        for word in [b"SEND ", b"READ "] {
            let size = first.len().min(word.len());
            if first[..size] == word[..size] {
                return if size == word.len() {
                    Detection::Yes
                } else {
                    Detection::NeedMore
                };
            }
        }
        Detection::No
    }

    fn serve(self: Arc<Self>, link: Link, endpoint: Arc<Endpoint>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let (frames, theirs) = tokio::io::duplex(64 * 1024);
            let (_, serving) = endpoint.open(link.inner(theirs));
            let Ok(link) = link.wrap(|stream| std::future::ready(Ok(stream))).await else {
                return;
            };
            let ending = endpoint.draining(&link.stack);
            let talking = talk(BufReader::new(link.stream), frames, ending);
            // When the talk ends, so do the frames.
            if let (Err(error), ()) = tokio::join!(talking, serving) {
                eprintln!("{}: {error}", link.peer);
            }
        })
    }
}

/// Answers line after line, until the peer leaves or the connection is to end.
async fn talk(
    mut lines: impl AsyncBufReadExt + AsyncWriteExt + Unpin,
    mut frames: DuplexStream,
    ending: impl Future<Output = ()>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut ending = std::pin::pin!(ending);
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
            ["SEND", topic, text] => send(&mut frames, topic, text).await?,
            ["READ", topic, place] => read(&mut frames, topic, place).await?,
            _ => "ERROR say SEND topic text, or READ topic queue offset".to_owned(),
        };
        lines.write_all(format!("{answer}\n").as_bytes()).await?;
        lines.flush().await?;
    }
}

async fn send(
    frames: &mut DuplexStream,
    topic: &str,
    text: &str,
) -> Result<String, Box<dyn Error + Send + Sync>> {
    let header = SendMessageRequest {
        producer_group: "lines".into(),
        topic: topic.into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 1,
        ..Default::default()
    };
    let answer = ask(frames, RequestCode::SendMessage, &header, text.as_bytes()).await?;
    if answer.head.code != ResponseCode::Success as i32 {
        return Ok(refusal(&answer));
    }
    let stored: SendMessageResponse<'_> = answer.header()?;
    Ok(format!("OK {} {}", stored.queue_id, stored.queue_offset))
}

async fn read(
    frames: &mut DuplexStream,
    topic: &str,
    place: &str,
) -> Result<String, Box<dyn Error + Send + Sync>> {
    let numbers = place
        .split_once(' ')
        .and_then(|(queue, offset)| Some((queue.parse().ok()?, offset.parse().ok()?)));
    let Some((queue_id, queue_offset)) = numbers else {
        return Ok("ERROR queue and offset are numbers".to_owned());
    };
    let header = PullMessageRequest {
        consumer_group: "CID_ONSAPI_LINES".into(),
        topic: topic.into(),
        queue_id,
        queue_offset,
        max_msg_nums: 1,
        sys_flag: SUBSCRIPTION,
        subscription: Some("*".into()),
        ..Default::default()
    };
    let answer = ask(frames, RequestCode::PullMessage, &header, b"").await?;
    if answer.head.code != ResponseCode::Success as i32 {
        return Ok(refusal(&answer));
    }
    let message = RecordRef::parse(&answer.body)?;
    let text = String::from_utf8_lossy(message.body()).into_owned();
    Ok(format!("MESSAGE {} {text}", message.queue_offset()))
}

/// The bit of a pull that brings its subscription along.
const SUBSCRIPTION: i32 = 4;

fn refusal(answer: &Frame) -> String {
    format!(
        "ERROR {} {}",
        answer.head.code,
        answer.remark.as_deref().unwrap_or_default()
    )
}

/// Sends a request through the pipe, and waits for its answer.
async fn ask<H: EncodeHeader>(
    frames: &mut DuplexStream,
    code: RequestCode,
    header: &H,
    body: &[u8],
) -> Result<Frame, Box<dyn Error + Send + Sync>> {
    let mut bytes = BytesMut::new();
    let head = Head::request(code as i32, SerializeType::Json);
    encode(&head, None, header, body.len(), &mut bytes);
    bytes.extend_from_slice(body);
    frames.write_all(&bytes).await?;
    bytes.clear();
    loop {
        if let Some(answer) = Frame::decode(&mut bytes)? {
            return Ok(answer);
        }
        if frames.read_buf(&mut bytes).await? == 0 {
            return Err("the broker closes the connection".into());
        }
    }
}

async fn start(data: &str, port: u16) -> Result<RunningBroker, Box<dyn Error>> {
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
async fn main() -> Result<(), Box<dyn Error>> {
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
    async fn lines_send_and_read() -> Result<(), Box<dyn Error>> {
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
