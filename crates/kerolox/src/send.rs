//! `kerolox send`: sends messages from the command line.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, BufRead};
use std::pin::Pin;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;
use transport::{Body, HandlerTable};
use wire::code::ResponseCode;
use wire::command::{Command, SendMessageV2};
use wire::frame::{Head, SerializeType};
use wire::header::send::{SendMessageRequestV2, SendMessageResponse};
use wire::message::id::UniqueIdGenerator;
use wire::message::names::{self, AUTO_CREATE_TOPIC_KEY_TOPIC, CLIENT_INNER_PRODUCER_GROUP};
use wire::message::{properties, property};

use crate::client::queue::Queue;
use crate::client::{
    Client, ClientError, ClusterArgs, OutputFormat, TIMEOUT, misread, print_line, refused,
};
use crate::error::CliError;

/// Messages on their way at a time.
const WINDOW: usize = 64;
/// The status of a message that was stored and has all that was promised.
const SEND_OK: &str = "SEND_OK";
/// Queues of a topic that a broker creates on the way, as clients ask for.
const DEFAULT_QUEUES: i32 = 4;

/// Options of `kerolox send`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Topic to send to
    topic: String,
    /// Body of the message; `-` or nothing: each line of standard input that is not empty is one
    body: Option<String>,
    /// Tag that consumers can filter by
    #[arg(short, long)]
    tag: Option<String>,
    /// Key that the message can be found by; may be given several times
    #[arg(short, long = "key", value_name = "KEY")]
    keys: Vec<String>,
    /// Property of the message; may be given several times
    #[arg(short, long = "property", value_name = "NAME=VALUE", value_parser = name_and_value)]
    properties: Vec<(String, String)>,
    /// Send the message so many times
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    output: OutputFormat,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    if property::is_reserved(name) {
        return Err(format!(
            "`{name}` is a name that RocketMQ uses itself; choose another"
        ));
    }
    if name.is_empty() || value.is_empty() {
        return Err("neither name nor value can be empty".to_owned());
    }
    no_separators(text)?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A property with the bytes that separate properties would come out as others.
fn no_separators(text: &str) -> Result<(), String> {
    let separators = [
        properties::NAME_VALUE_SEPARATOR,
        properties::PROPERTY_SEPARATOR,
    ];
    match text.contains(separators) {
        true => Err("the characters U+0001 and U+0002 cannot be in it".to_owned()),
        false => Ok(()),
    }
}

/// A message that was stored.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    topic: String,
    /// The id that the client made.
    msg_id: String,
    /// The id that tells the broker and the place in its commit log.
    offset_msg_id: String,
    broker_name: String,
    queue_id: i32,
    queue_offset: i64,
    /// `SEND_OK`, or what the broker could not do besides storing the message (`SendStatus` of the
    /// reference).
    status: &'static str,
}

impl Sent {
    fn line(&self, output: OutputFormat) -> String {
        match output {
            OutputFormat::Json => serde_json::to_string(self).unwrap_or_default(),
            OutputFormat::Table => {
                let Self {
                    msg_id,
                    broker_name,
                    queue_id,
                    queue_offset,
                    status,
                    ..
                } = self;
                let status = if *status == SEND_OK { "" } else { status };
                format!("{msg_id}  {broker_name}:{queue_id}  offset {queue_offset}  {status}")
                    .trim_end()
                    .to_owned()
            }
        }
    }
}

/// Sends the messages and prints where each was stored.
pub(crate) async fn run(args: Args) -> Result<(), CliError> {
    let wrong = |text: String| ClientError::Argument(text);
    names::validate_topic(&args.topic).map_err(|error| wrong(error.to_string()))?;
    for text in args.tag.iter().chain(&args.keys) {
        no_separators(text).map_err(|why| wrong(format!("`{text}` cannot be used: {why}")))?;
    }
    let body = args.body.as_deref().filter(|body| *body != "-");
    if body.is_none() && args.count > 1 {
        return Err(
            wrong("--count goes with a BODY, not with lines of standard input".to_owned()).into(),
        );
    }
    if body == Some("") {
        return Err(wrong("the BODY is empty, which no broker takes".to_owned()).into());
    }
    let client = Client::new(&args.cluster, HandlerTable::new())?;
    let queues = queues(&client, &args.topic).await?;
    let bodies = match body {
        Some(body) => repeated(Bytes::copy_from_slice(body.as_bytes()), args.count),
        None => lines(),
    };
    let sender = Sender::new(&client, &args, queues).await?;
    let done = sender.send_all(bodies).await;
    client.shutdown().await;
    Ok(done?)
}

/// The queues that can be sent to: those of the topic, or those that it will have when a broker
/// creates it.
async fn queues(client: &Client, topic: &str) -> Result<Vec<Queue>, ClientError> {
    let queues = match client.find_route(topic).await? {
        Some(route) => Queue::writable(topic, &route),
        None => {
            let template = client.find_route(AUTO_CREATE_TOPIC_KEY_TOPIC).await?;
            let template = template.ok_or_else(|| ClientError::NotCreated {
                topic: topic.to_owned(),
            })?;
            let mut queues = Queue::writable(topic, &template);
            queues.retain(|queue| queue.queue_id < DEFAULT_QUEUES);
            queues
        }
    };
    if queues.is_empty() {
        return Err(ClientError::NotWritable {
            topic: topic.to_owned(),
        });
    }
    Ok(queues)
}

fn repeated(body: Bytes, count: u64) -> mpsc::Receiver<io::Result<Bytes>> {
    let (into, bodies) = mpsc::channel(WINDOW);
    tokio::spawn(async move {
        for _ in 0..count {
            if into.send(Ok(body.clone())).await.is_err() {
                break;
            }
        }
    });
    bodies
}

/// The lines of standard input. They are read by a thread of their own, since a read from a
/// terminal cannot be given up.
fn lines() -> mpsc::Receiver<io::Result<Bytes>> {
    let (into, bodies) = mpsc::channel(WINDOW);
    std::thread::spawn(move || {
        for line in io::stdin().lock().split(b'\n') {
            let line = line.map(|mut line| {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                Bytes::from(line)
            });
            let empty = line.as_ref().is_ok_and(Bytes::is_empty);
            if !empty && into.blocking_send(line).is_err() {
                break;
            }
        }
    });
    bodies
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Sent, ClientError>> + 'a>>;

struct Sender<'a> {
    client: &'a Client,
    args: &'a Args,
    queues: Vec<Queue>,
    ids: UniqueIdGenerator,
    /// Index of the queue that the next message goes to.
    turn: usize,
}

impl<'a> Sender<'a> {
    async fn new(
        client: &'a Client,
        args: &'a Args,
        queues: Vec<Queue>,
    ) -> Result<Self, ClientError> {
        let now = milliseconds();
        let connection = client.connection(&queues[0].address).await?;
        let ip = connection.local().ip().to_canonical();
        Ok(Self {
            client,
            args,
            ids: UniqueIdGenerator::new(ip, std::process::id(), now as i32, 0),
            // Not always the same queue when it is called for one message.
            turn: now as usize % queues.len(),
            queues,
        })
    }

    async fn send_all(
        mut self,
        mut bodies: mpsc::Receiver<io::Result<Bytes>>,
    ) -> Result<(), ClientError> {
        let mut answers: VecDeque<Answer<'a>> = VecDeque::new();
        let mut more = true;
        while more || !answers.is_empty() {
            tokio::select! {
                body = bodies.recv(), if more && answers.len() < WINDOW => match body {
                    Some(body) => {
                        let body = body.map_err(|source| ClientError::Terminal {
                            what: "read standard input",
                            source,
                        })?;
                        answers.push_back(self.send(body).await?);
                    }
                    None => more = false,
                },
                sent = first(&mut answers), if !answers.is_empty() => {
                    answers.pop_front();
                    if print_line(&sent?.line(self.args.output))?.is_break() {
                        // Nobody reads on; what was sent is sent.
                        more = false;
                        bodies.close();
                    }
                }
            }
        }
        Ok(())
    }

    /// Puts a message on its way; what comes back waits for the answer.
    async fn send(&mut self, body: Bytes) -> Result<Answer<'a>, ClientError> {
        let queue = self.queues[self.turn % self.queues.len()].clone();
        self.turn += 1;
        let now = milliseconds();
        let msg_id = self.ids.next(now).to_string();
        let properties = self.properties(&msg_id);
        let request = SendMessageRequestV2 {
            producer_group: Cow::Borrowed(CLIENT_INNER_PRODUCER_GROUP),
            topic: Cow::Borrowed(&self.args.topic),
            default_topic: Cow::Borrowed(AUTO_CREATE_TOPIC_KEY_TOPIC),
            default_topic_queue_nums: DEFAULT_QUEUES,
            queue_id: queue.queue_id,
            born_timestamp: now,
            properties: Some(Cow::Borrowed(&properties)),
            reconsume_times: Some(0),
            unit_mode: Some(false),
            batch: Some(false),
            broker_name: Some(Cow::Borrowed(&queue.broker_name)),
            ..SendMessageRequestV2::default()
        };
        let head = Head::request(SendMessageV2::CODE as i32, SerializeType::Json);
        let connection = self.client.connection(&queue.address).await?;
        let pending = connection.start_request(head, &request, Body::One(body))?;
        Ok(Box::pin(async move {
            let answer = pending.wait(TIMEOUT).await?;
            let status = match ResponseCode::try_from(answer.head.code) {
                Ok(ResponseCode::Success) => SEND_OK,
                Ok(
                    stored @ (ResponseCode::FlushDiskTimeout
                    | ResponseCode::FlushSlaveTimeout
                    | ResponseCode::SlaveNotAvailable),
                ) => stored.name(),
                _ => return Err(refused::<SendMessageV2>(&queue.address, answer)),
            };
            let header: SendMessageResponse<'_> = answer
                .header()
                .map_err(|error| misread::<SendMessageV2>(&queue.address, error))?;
            Ok(Sent {
                msg_id,
                offset_msg_id: header.msg_id.into_owned(),
                queue_id: header.queue_id,
                queue_offset: header.queue_offset,
                status,
                topic: queue.topic,
                broker_name: queue.broker_name,
            })
        }))
    }

    fn properties(&self, msg_id: &str) -> String {
        let mut all = String::new();
        properties::put(&mut all, property::UNIQ_CLIENT_MESSAGE_ID_KEYIDX, msg_id);
        properties::put(&mut all, property::WAIT_STORE_MSG_OK, "true");
        if let Some(tag) = &self.args.tag {
            properties::put(&mut all, property::TAGS, tag);
        }
        if !self.args.keys.is_empty() {
            properties::put(
                &mut all,
                property::KEYS,
                &self.args.keys.join(&property::KEY_SEPARATOR.to_string()),
            );
        }
        for (name, value) in &self.args.properties {
            properties::put(&mut all, name, value);
        }
        all
    }
}

/// The outcome of the first message under way.
async fn first(answers: &mut VecDeque<Answer<'_>>) -> Result<Sent, ClientError> {
    match answers.front_mut() {
        Some(answer) => answer.await,
        None => std::future::pending().await,
    }
}

fn milliseconds() -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    now.as_millis() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_that_could_not_be_read_back_are_refused() {
        assert_eq!(
            name_and_value("a=b=c"),
            Ok(("a".to_owned(), "b=c".to_owned()))
        );
        for wrong in ["a", "=b", "a=", "KEYS=x", "a=b\u{2}c", "a\u{1}b=c"] {
            assert!(name_and_value(wrong).is_err(), "{wrong:?}");
        }
    }
}
