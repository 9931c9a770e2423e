//! `cargo xtask interop web`: clients of all protocols with each other, most of which nobody made
//! for Kerolox.
//!
//! Each sends a message, and some have a bad request refused; then each must receive what all have
//! sent, which a table shows. The programs, and what they are told and tell, are in
//! `tests/interop/web`.

mod clients;

use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use self::clients::{CLIENTS, Client, Door};
use crate::network::{answers, free_ports};
use crate::process::{self, Process, Result, told, until};

const TOPIC: &str = "web";

/// What the server logs of the first that it refuses; it tells of an address once a minute.
const LOGGED: &str = "a message is text: send binary";

/// The broker's Unix socket, in the folder of the programs.
const SOCKET: &str = "broker.sock";

/// Starts a server and has each client talk to it.
pub(super) fn run() -> Result<()> {
    let kerolox = super::release_binary(&[])?;
    let folder = process::target_dir()?.join("interop-web");
    prepare(&folder)?;
    let world = World::start(&kerolox, &folder)?;

    let mut failed = Vec::new();
    let mut check = |what: String, found: &str, wanted: &str| {
        let well = found == wanted;
        eprintln!("{}: {what}", if well { "ok" } else { "FAILED" });
        if !well {
            failed.push(format!("{what}: {found:?} instead of {wanted:?}"));
        }
    };
    for client in &CLIENTS {
        let sent = world.send(client)?;
        check(format!("{} sends", client.name), &sent, "sent");
    }
    for client in &CLIENTS {
        if let Some(refusal) = client.refusal {
            let refused = world.ask(client, &["offend"])?;
            let what = format!("{} is refused: {refusal}", client.name);
            check(what, &refused, refusal);
        }
    }
    let log = world.log();
    let logged = fs::read_to_string(&log).map_err(|error| told(&log, &error))?;
    let logged = if logged.contains(LOGGED) { LOGGED } else { "" };
    check("the server tells why".to_owned(), logged, LOGGED);

    let mut columns = Vec::new();
    for client in &CLIENTS {
        let received = world.receive(client)?;
        let count = received.len().to_string();
        let what = format!("{} receives each message once", client.name);
        check(what, &count, &CLIENTS.len().to_string());
        columns.push(CLIENTS.map(|sender| is_there_once(&sender, &received)));
    }
    eprint!("{}", table(&columns));
    for (client, column) in CLIENTS.iter().zip(&columns) {
        let missing = CLIENTS.iter().zip(column).filter(|(_, well)| !**well);
        failed.extend(missing.map(|(sender, _)| {
            let Client { name, .. } = client;
            format!("{name} does not receive what {} has sent", sender.name)
        }));
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(failed.join("\n"))
    }
}

/// Whether what a client has sent is among messages once, with all that was given it.
fn is_there_once(sender: &Client, received: &[Value]) -> bool {
    let body = sender.body();
    let mut from = received.iter().filter(|message| message["body"] == body);
    let (Some(message), None) = (from.next(), from.next()) else {
        return false;
    };
    let [tag, key, colour] = sender.details();
    let properties = &message["properties"];
    properties["TAGS"] == tag && properties["KEYS"] == key && properties["colour"] == colour
}

/// Who receives from whom; a column is one receiver.
fn table(columns: &[[bool; CLIENTS.len()]]) -> String {
    let width = CLIENTS.iter().map(|client| client.name.chars().count());
    let width = width.max().unwrap_or_default();
    let mut table = format!("{:>1$}", "received by", width + 4);
    for (number, _) in (1..).zip(columns) {
        table.push_str(&format!("{number:>4}"));
    }
    for (row, client) in CLIENTS.iter().enumerate() {
        table.push_str(&format!("\n{:>3} {:width$}", row + 1, client.name));
        for column in columns {
            table.push_str(if column[row] { "  ok" } else { " BAD" });
        }
    }
    table + "\n"
}

/// A server with a new store, and the folder with the programs.
struct World<'a> {
    kerolox: &'a Path,
    folder: &'a Path,
    name_server: SocketAddr,
    broker: SocketAddr,
    proxy: SocketAddr,
    _server: Process,
}

impl<'a> World<'a> {
    fn start(kerolox: &'a Path, folder: &'a Path) -> Result<Self> {
        let first = free_ports(4)?;
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        // The broker takes the next port, too.
        let [name_server, broker, proxy] = [at(first), at(first + 1), at(first + 3)];
        let conf = folder.join("broker.conf");
        let written = fs::write(&conf, format!("kerolox.listeners=unix:{SOCKET}\n"));
        written.map_err(|error| told(&conf, &error))?;
        let mut command = Command::new(kerolox);
        command.current_dir(folder);
        command.args(["start", "--data", "data", "-c", "broker.conf"]);
        command.args(["--nameserver-port", &name_server.port().to_string()]);
        command.args(["--broker-port", &broker.port().to_string()]);
        command.args(["--grpc-port", &proxy.port().to_string()]);
        let log = folder.join("server.log");
        let mut server = Process::spawn_logged(&mut command, &log)?;
        until("the server answers", || {
            if server.has_ended()? {
                let log = log.display();
                return Err(format!("the server ends at its start, see {log}"));
            }
            Ok(answers(broker) && answers(name_server))
        })?;
        Ok(Self {
            kerolox,
            folder,
            name_server,
            broker,
            proxy,
            _server: server,
        })
    }

    fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// Has a client send its message; what it prints.
    fn send(&self, client: &Client) -> Result<String> {
        let [tag, key, colour] = client.details();
        self.ask(
            client,
            &["send", TOPIC, &client.body(), &tag, &key, &colour],
        )
    }

    /// Has a client receive; the messages.
    fn receive(&self, client: &Client) -> Result<Vec<Value>> {
        let count = CLIENTS.len().to_string();
        let printed = self.ask(client, &["receive", TOPIC, &count, &client.group()])?;
        let message = |line| {
            serde_json::from_str(line)
                .map_err(|error| format!("{} prints {line:?}: {error}", client.name))
        };
        printed.lines().map(message).collect()
    }

    /// Runs a client; what it prints.
    fn ask(&self, client: &Client, action: &[&str]) -> Result<String> {
        let mut command = program(self.folder, client.program)?;
        command.arg(match client.door {
            Door::NameServer => self.name_server.to_string(),
            Door::Broker => self.broker.to_string(),
            Door::BrokerSocket => SOCKET.to_owned(),
            Door::Proxy => self.proxy.to_string(),
        });
        // Logs of clients go there.
        command.env("HOME", self.folder);
        command.env("LC_ALL", "C.UTF-8");
        command.env("KEROLOX", self.kerolox);
        let printed = process::output(command.args(action))?;
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
        "mvn --batch-mode --quiet --no-transfer-progress generate-resources",
        "javac -Xlint:all,-processing,-classfile JavaClient.java",
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
    if let Ok(jars) = fs::read_to_string(folder.join("classpath")) {
        command.env("CLASSPATH", format!(".:{}", jars.trim()));
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_message_that_is_whole_and_comes_once_counts() {
        let [sender, other, ..] = &CLIENTS;
        let message = |client: &Client, colour: &str| {
            let [tag, key, _] = client.details();
            let properties = json!({"TAGS": tag, "KEYS": key, "colour": colour, "WAIT": "true"});
            json!({"body": client.body(), "properties": properties})
        };
        let whole = |client: &Client| message(client, &client.details()[2]);
        assert!(is_there_once(sender, &[whole(other), whole(sender)]));
        assert!(!is_there_once(sender, &[whole(other)]));
        assert!(!is_there_once(sender, &[whole(sender), whole(sender)]));
        assert!(!is_there_once(sender, &[message(sender, "another")]));
    }
}
