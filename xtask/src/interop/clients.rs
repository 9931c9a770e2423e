//! `cargo xtask interop clients`: RocketMQ's clients for Go, Rust and C++, each in a program of its
//! own in `tests/interop/clients`, which sees that messages arrive as they should.
//!
//! All work with one server at a time, and go through its restart together.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::json;
use wire::code::ResponseCode;
use wire::command::RequestCode;
use wire::header::NoHeader;
use wire::header::topic::CreateTopicRequest;

use super::Against;
use super::store::broker::{Broker, Kind, Programs, Teller};
use crate::network::ask;
use crate::process::{self, Result, told, until};

/// A program, and how it is built. Words may name the folder that all is built into, as `OUT`.
struct Client {
    name: &'static str,
    /// Where its source is, below `tests/interop/clients`.
    source: &'static str,
    build: &'static [&'static str],
    program: &'static str,
    /// Of each of its topics.
    queues: i32,
}

const CLIENTS: [Client; 4] = [
    Client {
        name: "go",
        source: "go",
        build: &["go build -o OUT/go-remoting ./remoting"],
        program: "OUT/go-remoting",
        queues: 2,
    },
    Client {
        name: "go-grpc",
        source: "go",
        build: &["go build -o OUT/go-grpc ./grpc"],
        program: "OUT/go-grpc",
        queues: 2,
    },
    Client {
        name: "rust",
        source: "rust",
        build: &["cargo build --locked --target-dir OUT/rust"],
        program: "OUT/rust/debug/kerolox-interop-rust",
        // It waits at one queue at a time.
        queues: 1,
    },
    Client {
        name: "cpp",
        source: "cpp",
        build: &[
            "python3 -m venv OUT/venv",
            "OUT/venv/bin/pip install --quiet --disable-pip-version-check rocketmq==0.4.4",
        ],
        program: "OUT/venv/bin/python client.py",
        queues: 2,
    },
];

/// The topics that each program has, below its name, with the type of their messages.
const TOPICS: [(&str, &str); 12] = [
    ("normal", "NORMAL"),
    ("batch", "NORMAL"),
    (IN_ORDER, "FIFO"),
    ("delay", "DELAY"),
    ("transaction", "TRANSACTION"),
    ("hidden", "NORMAL"),
    ("retry", "NORMAL"),
    ("pull", "NORMAL"),
    ("push", "NORMAL"),
    ("broadcast", "NORMAL"),
    ("request", "NORMAL"),
    ("restart", "NORMAL"),
];

/// The groups, which clients by gRPC do not make themselves: one has the name of its topic, where
/// there is one only.
const GROUPS: [&str; 9] = [
    "all",
    "some",
    "batch",
    IN_ORDER,
    "delay",
    "transaction",
    "hidden",
    "push",
    "restart",
];

/// The topic and the group of messages that come in order.
const IN_ORDER: &str = "fifo";

/// What is waited for is soon due.
const SETTINGS: [&str; 3] = [
    "messageDelayLevel=1s 1s 1s 1s 1s 1s",
    "transactionTimeOut=1000",
    "transactionCheckInterval=1000",
];

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(CLIENTS.map(|client| client.name))
}

#[derive(Debug, Args)]
pub(crate) struct Clients {
    /// The server under test
    #[arg(long, value_enum, default_value_t = Against::Kerolox)]
    against: Against,
    /// Only these clients
    #[arg(long = "client", value_name = "CLIENT", value_parser = names())]
    clients: Vec<String>,
}

impl Clients {
    pub(super) fn run(self) -> Result<()> {
        let chosen = |client: &&Client| {
            self.clients.is_empty() || self.clients.iter().any(|name| name == client.name)
        };
        let clients: Vec<&Client> = CLIENTS.iter().filter(chosen).collect();
        let built = process::target_dir()?.join("interop-clients-built");
        for client in &clients {
            for line in client.build {
                process::run(&mut client.command(line, &built)?)?;
            }
        }
        let programs = Programs::prepare("interop-clients")?;
        let home = &programs.folder;
        let kind = match self.against {
            Against::Kerolox => Kind::Kerolox,
            Against::Reference => Kind::Reference,
        };
        let (mut broker, proxy) = Broker::start_with_proxy(kind, &programs, home, &SETTINGS)?;
        let proxy_answers = || {
            until(
                "the proxy answers",
                || Ok(TcpStream::connect(proxy).is_ok()),
            )
        };
        proxy_answers()?;
        let mut running = Vec::new();
        for client in clients {
            make_topics_and_groups(&broker, client)?;
            let home = home.join(client.name);
            fs::create_dir_all(&home).map_err(|error| told(&home, &error))?;
            let mut command = client.command(client.program, &built)?;
            command.args([broker.name_server, broker.address, proxy].map(|one| one.to_string()));
            command.arg(client.name);
            // Logs of clients go there.
            command.env("HOME", &home);
            command.env("rocketmq.client.logRoot", &home);
            let teller = Teller::run(&mut command, &home);
            running.push((client.name, teller?));
        }
        for (name, client) in &mut running {
            follow(name, client)?;
        }
        broker.restart()?;
        proxy_answers()?;
        for (_, client) in &mut running {
            client.say("restarted")?;
        }
        for (name, client) in &mut running {
            follow(name, client)?;
        }
        Ok(())
    }
}

impl Client {
    /// A program with its arguments, about to run in the folder of the source.
    fn command(&self, line: &str, built: &Path) -> Result<Command> {
        let line = line.replace("OUT", &built.display().to_string());
        let mut words = line.split(' ');
        let program = words.next().ok_or("no program is named")?;
        let mut command = Command::new(program);
        let sources = process::root().join("tests/interop/clients");
        command.current_dir(sources.join(self.source)).args(words);
        Ok(command)
    }
}

/// Shows what a client has done, until it wants a restart or ends.
fn follow(name: &str, client: &mut Teller) -> Result<()> {
    let fault = |error| format!("{name}: {error}");
    while let Some(step) = client.next_line().map_err(fault)? {
        if step == "restart" {
            break;
        }
        eprintln!("ok: {name}: {step}");
    }
    Ok(())
}

/// Makes the topics and groups of a client.
fn make_topics_and_groups(broker: &Broker, client: &Client) -> Result<()> {
    let Client { name, queues, .. } = *client;
    let done = |answer, what: String| match answer {
        Some(code) if code == ResponseCode::Success as i32 => Ok(()),
        _ => Err(format!("the broker does not make {what}: {answer:?}")),
    };
    for (topic, kind) in TOPICS {
        let header = CreateTopicRequest {
            topic: format!("{name}-{topic}").into(),
            default_topic: "TBW102".into(),
            read_queue_nums: queues,
            write_queue_nums: queues,
            perm: 6,
            topic_filter_type: "SINGLE_TAG".into(),
            attributes: Some(format!("+message.type={kind}").into()),
            ..CreateTopicRequest::default()
        };
        let code = RequestCode::UpdateAndCreateTopic;
        let answer = ask(broker.address, code, &header, b"");
        done(answer, format!("{name}-{topic}"))?;
    }
    for group in GROUPS {
        let settings = json!({
            "groupName": format!("{name}-{group}"),
            "consumeMessageOrderly": group == IN_ORDER,
        });
        let code = RequestCode::UpdateAndCreateSubscriptionGroup;
        let body = settings.to_string();
        let answer = ask(broker.address, code, &NoHeader, body.as_bytes());
        done(answer, format!("{name}-{group}"))?;
    }
    Ok(())
}
