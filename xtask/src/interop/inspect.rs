//! `cargo xtask interop inspect`: Java producers and consumers talk to Kerolox and to the
//! reference, by remoting and by gRPC, and `kerolox inspect` watches. What it saw must be what the
//! clients did, message by message.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::store::broker::{Broker, Kind, Programs, Teller};
use crate::process::{self, Process, Result, told, until};

const TOPIC: &str = "chat";

/// How clients talk, and to which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Talk {
    /// Remoting: how headers are written as the client calls it, and as the analyser does.
    Remoting(&'static str, &'static str),
    /// gRPC to the port of its own.
    Grpc,
    /// gRPC to the broker's port.
    GrpcToBroker,
}

const TALKS: [(Kind, Talk); 7] = [
    (Kind::Kerolox, JSON),
    (Kind::Kerolox, ROCKETMQ),
    (Kind::Kerolox, Talk::Grpc),
    (Kind::Kerolox, Talk::GrpcToBroker),
    (Kind::Reference, JSON),
    (Kind::Reference, ROCKETMQ),
    (Kind::Reference, Talk::Grpc),
];
const JSON: Talk = Talk::Remoting("JSON", "remoting-json");
const ROCKETMQ: Talk = Talk::Remoting("ROCKETMQ", "remoting-rocketmq");

#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Trace the broker's process in the kernel instead of capturing packets
    #[arg(long)]
    trace: bool,
}

/// What a client tells.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Told {
    Sent {
        id: String,
        queue: Option<i64>,
        offset: i64,
    },
    OneWay {
        id: String,
    },
    Received {
        id: String,
        queue: i64,
        offset: i64,
    },
    Hidden {
        id: String,
    },
    Acknowledged {
        id: String,
    },
}

/// Queue and offset of each message by its id, where both the client and the analyser know them:
/// of what is sent by gRPC nobody is told the queue.
type Messages = BTreeMap<String, Option<(Option<i64>, i64)>>;

/// What went to the broker, what came from it, and what became of that.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ledger {
    sent: Messages,
    received: Messages,
    hidden: Messages,
    acknowledged: Messages,
}

impl Ledger {
    fn counts(&self) -> [usize; 4] {
        let Self {
            sent,
            received,
            hidden,
            acknowledged,
        } = self;
        [sent, received, hidden, acknowledged].map(BTreeMap::len)
    }
}

impl Inspect {
    pub(crate) fn run(self) -> Result<()> {
        let programs = Programs::prepare("interop-inspect")?;
        let analyser = match self.trace {
            true => tracing_binary()?,
            false => programs.kerolox.clone(),
        };
        for (number, (kind, talk)) in TALKS.into_iter().enumerate() {
            eprintln!("== {kind:?}, {talk:?}");
            let home = programs.folder.join(number.to_string());
            fs::create_dir_all(&home).map_err(|error| told(&home, &error))?;
            self.watch(&programs, &analyser, &home, kind, talk)
                .map_err(|error| process::with_logs(error, &home))?;
        }
        fs::remove_dir_all(&programs.folder).map_err(|error| told(&programs.folder, &error))
    }

    fn watch(
        &self,
        programs: &Programs,
        analyser: &Path,
        home: &Path,
        kind: Kind,
        talk: Talk,
    ) -> Result<()> {
        let (broker, proxy) = match talk {
            Talk::Remoting(..) => (Broker::start(kind, programs, home, &[])?, None),
            Talk::Grpc | Talk::GrpcToBroker => {
                let (broker, proxy) = Broker::start_with_proxy(kind, programs, home, &[])?;
                (broker, Some(proxy))
            }
        };
        let (seen_path, said_path) = (home.join("seen.jsonl"), home.join("inspect.log"));
        let file = |path| File::create(path).map_err(|error| told(path, &error));
        let mut watch = Command::new(analyser);
        watch.args(["inspect", "watch", "--output", "json"]);
        for server in [Some(broker.address), proxy].into_iter().flatten() {
            watch.args(["--port", &server.port().to_string()]);
        }
        if self.trace {
            watch.args(["--trace", "--pid", &broker.id().to_string()]);
        }
        let watch = watch.stdout(file(&seen_path)?).stderr(file(&said_path)?);
        let mut watch = Process::spawn(watch.stdin(Stdio::null()))?;
        let seen = || fs::read_to_string(&seen_path).unwrap_or_default();
        until("the analyser sees something", || {
            crate::network::answers(broker.address);
            if watch.has_ended()? {
                let said = fs::read_to_string(&said_path).unwrap_or_default();
                return Err(format!("the analyser ended: {said}"));
            }
            Ok(!seen().is_empty())
        })?;

        let done = chat(programs, home, &broker, proxy, talk)?;
        // The last answer is on its way to the analyser for some milliseconds.
        let mut watched = Ledger::default();
        let same = until("the analyser has seen what the clients did", || {
            watched = read(&seen(), talk)?;
            Ok(watched == done)
        });
        watch.terminate()?;
        until("the analyser has ended", || watch.has_ended())?;
        broker.stop()?;
        same.map_err(|error| {
            let (ours, theirs) = (watched.counts(), done.counts());
            format!("{error}: {ours:?} instead of {theirs:?}")
        })?;
        let said = fs::read_to_string(&said_path).unwrap_or_default();
        if !said.is_empty() {
            return Err(format!("the analyser has something to say: {said}"));
        }
        let [sent, received, hidden, acknowledged] = watched.counts();
        eprintln!(
            "   {sent} messages sent, {received} received, {hidden} hidden and {acknowledged} \
             acknowledged, as the clients tell"
        );
        Ok(())
    }
}

/// Builds the analyser with tracing, as the live tests do, which have often been run before.
fn tracing_binary() -> Result<PathBuf> {
    let mut build = process::cargo();
    build.args(["test", "--no-run", "--package", "kerolox"]);
    process::run(build.args(["--features", "ebpf", "--test", "inspect_live"]))?;
    let name = format!("kerolox{}", std::env::consts::EXE_SUFFIX);
    Ok(process::target_dir()?.join("debug").join(name))
}

/// Has clients talk, and returns what they tell.
fn chat(
    programs: &Programs,
    home: &Path,
    broker: &Broker,
    proxy: Option<SocketAddr>,
    talk: Talk,
) -> Result<Ledger> {
    let mut chat = match (talk, proxy) {
        (Talk::Remoting(serialization, _), _) => {
            let mut chat = programs.java(home, "-Xmx256m", "kerolox.store.Chat");
            // Before the class, which has arguments of its own.
            chat.env(
                "JDK_JAVA_OPTIONS",
                format!("-Drocketmq.serialize.type={serialization}"),
            );
            chat.arg(broker.name_server.to_string());
            chat
        }
        (_, proxy) => {
            let mut chat = programs.grpc_java(home, "-Xmx256m", "kerolox.store.GrpcChat");
            let server = proxy
                .filter(|_| talk == Talk::Grpc)
                .unwrap_or(broker.address);
            chat.args([broker.address.to_string(), server.to_string()]);
            chat
        }
    };
    let mut chat = Teller::run(chat.arg(TOPIC), home)?;
    let mut done = Ledger::default();
    while let Some(line) = chat.next()? {
        let (messages, id, place) = match line {
            Told::Sent { id, queue, offset } => (&mut done.sent, id, Some((queue, offset))),
            Told::OneWay { id } => (&mut done.sent, id, None),
            Told::Received { id, queue, offset } => {
                (&mut done.received, id, Some((Some(queue), offset)))
            }
            Told::Hidden { id } => (&mut done.hidden, id, None),
            Told::Acknowledged { id } => (&mut done.acknowledged, id, None),
        };
        if let Some(twice) = messages.insert(id, place) {
            return Err(format!("a client tells a message twice: {twice:?}"));
        }
    }
    Ok(done)
}

/// What the analyser saw of the topic's messages.
fn read(lines: &str, talk: Talk) -> Result<Ledger> {
    let mut ledger = Ledger::default();
    // The last line may not be whole yet.
    let whole = lines.rfind('\n').map_or("", |end| &lines[..end]);
    for line in whole.lines() {
        let exchange: Value =
            serde_json::from_str(line).map_err(|error| format!("{error} in {line}"))?;
        if exchange["topic"] != TOPIC {
            continue;
        }
        match talk {
            Talk::Remoting(_, protocol) if exchange["protocol"] != protocol => {
                return Err(format!("this is not {protocol}: {line}"));
            }
            // The proxy asks the broker by remoting.
            Talk::Grpc | Talk::GrpcToBroker if exchange["protocol"] != "grpc" => continue,
            _ => {}
        }
        let command = exchange["command"].as_str().unwrap_or_default();
        let messages = exchange["messages"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        for (message, at) in messages.iter().zip(0..) {
            let id = message["id"].as_str().unwrap_or_default().to_owned();
            let place = || {
                let offset = message["offset"].as_i64()?;
                Some((message["queueId"].as_i64(), offset))
            };
            let (ledger, place) = match command {
                "SEND_MESSAGE_V2" | "SEND_BATCH_MESSAGE" => {
                    let queue = exchange["queueId"].as_i64();
                    let offset = exchange["offset"].as_i64().map(|first| first + at);
                    (&mut ledger.sent, offset.map(|offset| (queue, offset)))
                }
                "SendMessage" => (&mut ledger.sent, place()),
                "PULL_MESSAGE" | "LITE_PULL_MESSAGE" | "ReceiveMessage" => {
                    (&mut ledger.received, place())
                }
                "ChangeInvisibleDuration" => (&mut ledger.hidden, None),
                "AckMessage" => (&mut ledger.acknowledged, None),
                _ => continue,
            };
            if ledger.insert(id, place).is_some() {
                return Err(format!("the analyser tells a message twice: {line}"));
            }
        }
    }
    Ok(ledger)
}
