//! `cargo xtask interop web`: clients of WebSocket and HTTP that nobody made for RocketMQ.
//!
//! Each sends a message and has one bad request refused; then each must receive what all have
//! sent. The programs, and what they are told and tell, are in `tests/interop/web`.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use super::store::broker::{Process, told, until};
use crate::network::{answers, free_ports};
use crate::process::{self, Result};

const TOPIC: &str = "web";

/// What the server logs of Chromium, which does not let its pages know.
const LOGGED: &str = "pages of this origin are not served";

struct Client {
    name: &'static str,
    program: &'static [&'static str],
    /// What it tells of its bad request.
    refusal: &'static str,
}

const CLIENTS: [Client; 5] = [
    Client {
        name: "Node's ws",
        program: &["node", "node.js"],
        refusal: "closed with 1003",
    },
    Client {
        name: "Python's websockets",
        program: &["python", "client.py", "websocket"],
        refusal: "closed with 1007",
    },
    Client {
        name: "Python's h2",
        program: &["python", "client.py", "http2"],
        refusal: "GOAWAY ENHANCE_YOUR_CALM",
    },
    Client {
        name: "Chromium",
        program: &["node", "browser.js"],
        refusal: "no WebSocket was opened",
    },
    Client {
        name: "curl",
        program: &["node", "curl.js"],
        refusal: "HTTP/2 400",
    },
];

/// Starts a server and has each client talk to it.
pub(super) fn run() -> Result<()> {
    let kerolox = super::release_binary(&[])?;
    let folder = process::target_dir()?.join("interop-web");
    prepare(&folder)?;
    let log = folder.join("server.log");
    let (_server, address) = start(&kerolox, &folder, &log)?;

    let mut failed = Vec::new();
    let mut check = |what: String, found: &str, wanted: &str| {
        let well = found == wanted;
        eprintln!("{}: {what}", if well { "ok" } else { "FAILED" });
        if !well {
            failed.push(format!("{what}: {found:?} instead of {wanted:?}"));
        }
    };
    for (client, offset) in CLIENTS.iter().zip(0..) {
        let Client { name, refusal, .. } = client;
        let sent = client.run(&folder, address, &["send", TOPIC, &client.body()])?;
        check(
            format!("{name} sends"),
            &sent,
            &format!("sent to offset {offset}"),
        );
        let refused = client.run(&folder, address, &["offend"])?;
        check(format!("{name} is refused: {refusal}"), &refused, refusal);
    }
    let logged = fs::read_to_string(&log).map_err(|error| told(&log, &error))?;
    let logged = if logged.contains(LOGGED) { LOGGED } else { "" };
    check("the server tells why".to_owned(), logged, LOGGED);
    for client in &CLIENTS {
        let received = client.run(&folder, address, &["receive", TOPIC])?;
        let mut bodies = received.lines();
        for sender in &CLIENTS {
            let what = format!("{} receives from {}", client.name, sender.name);
            check(what, bodies.next().unwrap_or_default(), &sender.body());
        }
        let rest = bodies.collect::<Vec<_>>().concat();
        check(format!("{} receives no more", client.name), &rest, "");
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(failed.join("\n"))
    }
}

/// Starts a server with a new store; where its broker answers.
fn start(kerolox: &Path, folder: &Path, log: &Path) -> Result<(Process, SocketAddr)> {
    // The broker takes the next port, too.
    let name_server = free_ports(3)?;
    let broker = name_server + 1;
    let mut command = Command::new(kerolox);
    command.args(["start", "--grpc-port", "0"]);
    command.arg("--data").arg(folder.join("data"));
    command.args(["--nameserver-port", &name_server.to_string()]);
    command.args(["--broker-port", &broker.to_string()]);
    let mut server = Process::spawn_logged(&mut command, log)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, broker));
    until("the server answers", || {
        if server.has_ended()? {
            let log = log.display();
            return Err(format!("the server ends at its start, see {log}"));
        }
        Ok(answers(address))
    })?;
    Ok((server, address))
}

impl Client {
    /// What it sends: not only ASCII.
    fn body(&self) -> String {
        format!("“{}” grüßt", self.name)
    }

    /// What it prints.
    fn run(&self, folder: &Path, address: SocketAddr, action: &[&str]) -> Result<String> {
        let mut command = program(folder, self.program)?;
        command.arg(address.to_string()).args(action);
        let printed = process::output(&mut command)?;
        Ok(String::from_utf8_lossy(&printed).trim_end().to_owned())
    }
}

/// Puts the programs into a folder, with the libraries that they use.
fn prepare(folder: &Path) -> Result<()> {
    // What an earlier run has left.
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).map_err(|error| told(folder, &error))?;
    let sources = process::root().join("tests/interop/web");
    for entry in fs::read_dir(&sources).map_err(|error| told(&sources, &error))? {
        let entry = entry.map_err(|error| told(&sources, &error))?;
        let copied = fs::copy(entry.path(), folder.join(entry.file_name()));
        copied.map_err(|error| told(&entry.path(), &error))?;
    }
    for line in [
        "npm install --silent --no-audit --no-fund",
        "python3 -m venv venv",
        "pip install --quiet --disable-pip-version-check --requirement requirements.txt",
    ] {
        let words = line.split(' ').collect::<Vec<_>>();
        process::run(&mut program(folder, &words)?)?;
    }
    Ok(())
}

/// A program with its arguments, about to run in the folder, whose Python comes before others.
fn program(folder: &Path, words: &[&str]) -> Result<Command> {
    let (name, arguments) = words.split_first().ok_or("no program is named")?;
    let others = env::var_os("PATH").unwrap_or_default();
    let folders = [folder.join("venv/bin")]
        .into_iter()
        .chain(env::split_paths(&others));
    let path = env::join_paths(folders).map_err(|error| format!("PATH: {error}"))?;
    let mut command = Command::new(name);
    command
        .current_dir(folder)
        .env("PATH", path)
        .args(arguments);
    Ok(command)
}
