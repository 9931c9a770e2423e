//! `cargo xtask interop inspect`: Java producers and consumers talk to Kerolox and to the
//! reference, and `kerolox inspect` watches. What it saw must be what the clients did, message by
//! message.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::process::{Command, Stdio};

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::store::broker::{Broker, Kind, Process, Programs, Teller, told, until};
use crate::process::Result;

const TOPIC: &str = "chat";

/// How headers are written: the client's name for it, and the analyser's.
const SERIALIZATIONS: [(&str, &str); 2] =
    [("JSON", "remoting-json"), ("ROCKETMQ", "remoting-rocketmq")];

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
    Sent { id: String, queue: i64, offset: i64 },
    OneWay { id: String },
    Received { id: String, queue: i64, offset: i64 },
}

/// Queue and offset of each message by its id; one-way sends know neither.
type Messages = BTreeMap<String, Option<(i64, i64)>>;

/// What went to the broker, and what came from it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ledger {
    sent: Messages,
    received: Messages,
}

impl Inspect {
    pub(crate) fn run(self) -> Result<()> {
        let features: &[&str] = if self.trace { &["ebpf"] } else { &[] };
        let programs = Programs::prepare("interop-inspect", features)?;
        for kind in [Kind::Kerolox, Kind::Reference] {
            for (serialization, protocol) in SERIALIZATIONS {
                eprintln!("== {kind:?}, {serialization}");
                self.watch(&programs, kind, serialization, protocol)?;
            }
        }
        fs::remove_dir_all(&programs.folder).map_err(|error| told(&programs.folder, &error))
    }

    fn watch(
        &self,
        programs: &Programs,
        kind: Kind,
        serialization: &str,
        protocol: &str,
    ) -> Result<()> {
        let home = programs.folder.join(format!("{kind:?}-{serialization}"));
        fs::create_dir_all(&home).map_err(|error| told(&home, &error))?;
        let broker = Broker::start(kind, programs, &home, &[])?;
        let (seen_path, said_path) = (home.join("seen.jsonl"), home.join("inspect.log"));
        let file = |path| File::create(path).map_err(|error| told(path, &error));
        let mut watch = Command::new(&programs.kerolox);
        watch.args(["inspect", "watch", "--output", "json"]);
        watch.args(["--port", &broker.address.port().to_string()]);
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

        let mut chat = programs.java(&home, "-Xmx256m", "kerolox.store.Chat");
        // Before the class, which has arguments of its own.
        chat.env(
            "JDK_JAVA_OPTIONS",
            format!("-Drocketmq.serialize.type={serialization}"),
        );
        chat.args([&broker.name_server.to_string(), TOPIC]);
        let mut chat = Teller::run(&mut chat, &home)?;
        let mut done = Ledger::default();
        while let Some(line) = chat.next()? {
            let (messages, id, place) = match line {
                Told::Sent { id, queue, offset } => (&mut done.sent, id, Some((queue, offset))),
                Told::OneWay { id } => (&mut done.sent, id, None),
                Told::Received { id, queue, offset } => {
                    (&mut done.received, id, Some((queue, offset)))
                }
            };
            if let Some(twice) = messages.insert(id, place) {
                return Err(format!("a client tells a message twice: {twice:?}"));
            }
        }
        // The last answer is on its way to the analyser for some milliseconds.
        let mut watched = Ledger::default();
        let same = until("the analyser has seen what the clients did", || {
            watched = read(&seen(), protocol)?;
            Ok(watched == done)
        });
        watch.terminate()?;
        until("the analyser has ended", || watch.has_ended())?;
        broker.stop()?;
        let counts = |ledger: &Ledger| (ledger.sent.len(), ledger.received.len());
        same.map_err(|error| {
            let (ours, theirs) = (counts(&watched), counts(&done));
            format!(
                "{error}: {ours:?} instead of {theirs:?}; see {}",
                home.display()
            )
        })?;
        let said = fs::read_to_string(&said_path).unwrap_or_default();
        if !said.is_empty() {
            return Err(format!("the analyser has something to say: {said}"));
        }
        let (sent, received) = counts(&watched);
        eprintln!("   {sent} messages sent and {received} received, as the clients tell");
        Ok(())
    }
}

/// What the analyser saw of the topic's messages.
fn read(lines: &str, protocol: &str) -> Result<Ledger> {
    let mut ledger = Ledger::default();
    // The last line may not be whole yet.
    let whole = lines.rfind('\n').map_or("", |end| &lines[..end]);
    for line in whole.lines() {
        let exchange: Value =
            serde_json::from_str(line).map_err(|error| format!("{error} in {line}"))?;
        if exchange["topic"] != TOPIC {
            continue;
        }
        if exchange["protocol"] != protocol {
            return Err(format!("this is not {protocol}: {line}"));
        }
        let command = exchange["command"].as_str().unwrap_or_default();
        let sends = command.starts_with("SEND_");
        let messages = exchange["messages"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        for (message, at) in messages.iter().zip(0..) {
            let id = message["id"].as_str().unwrap_or_default().to_owned();
            let (ledger, place) = if sends {
                let queue = exchange["queueId"].as_i64();
                let offset = exchange["offset"].as_i64().map(|first| first + at);
                (&mut ledger.sent, queue.zip(offset))
            } else if command == "PULL_MESSAGE" || command == "LITE_PULL_MESSAGE" {
                let place = message["queueId"].as_i64().zip(message["offset"].as_i64());
                (&mut ledger.received, place)
            } else {
                continue;
            };
            if ledger.insert(id, place).is_some() {
                return Err(format!("the analyser tells a message twice: {line}"));
            }
        }
    }
    Ok(ledger)
}
