//! The built binary as a user meets it: what it prints, what it refuses and
//! why, and how it ends.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

fn kerolox(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kerolox"));
    command.args(arguments).env_remove("NAMESRV_ADDR");
    command
}

fn run(arguments: &[&str]) -> Output {
    kerolox(arguments).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// A directory with one file; returns the directory and the file's path.
fn file(name: &str, content: &str) -> (TempDir, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(name);
    fs::write(&path, content).expect("a file");
    let path = path.to_str().expect("UTF-8").to_owned();
    (dir, path)
}

/// A running server; killed when dropped.
struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
    /// What it has printed, up to the line that says it is ready.
    greeting: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Server {
        let mut child = kerolox(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut greeting = String::new();
        while !greeting.contains("ready in") {
            let read = out.read_line(&mut greeting).expect("UTF-8");
            if read == 0 {
                let mut error = String::new();
                let _ = child
                    .stderr
                    .take()
                    .map(|mut e| e.read_to_string(&mut error));
                panic!("it ended instead of being ready: {greeting}{error}");
            }
        }
        Server {
            child,
            out,
            greeting,
        }
    }

    /// `kerolox start` on free ports.
    fn cluster(data: &Path, more: &[&str]) -> Server {
        let data = data.to_str().expect("UTF-8");
        let ports = ["--nameserver-port=0", "--broker-port=0", "--grpc-port=0"];
        Server::start(&[&["start", "--data", data], &ports[..], more].concat())
    }

    /// The word behind `label` in the greeting.
    fn address(&self, label: &str) -> &str {
        let line = self
            .greeting
            .lines()
            .find_map(|line| line.trim().strip_prefix(label));
        line.and_then(|rest| rest.split_whitespace().next())
            .expect("the address")
    }

    /// Sends a signal and waits for the end; the exit code and what was
    /// printed since the greeting.
    fn end(mut self, signal: Signal) -> (Option<i32>, String) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it runs");
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).expect("UTF-8");
        let status = self.child.wait().expect("it ends");
        (status.code(), rest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn start_tells_where_it_listens_and_stops_cleanly() {
    for signal in [Signal::TERM, Signal::INT] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::cluster(&dir.path().join("data"), &["--broker-name", "b-7"]);
        assert!(
            server.greeting.contains("(b-7 in DefaultCluster)"),
            "{}",
            server.greeting
        );
        for role in ["name server", "broker", "proxy"] {
            let address = server.address(role);
            assert!(
                std::net::TcpStream::connect(address).is_ok(),
                "{role} at {address}"
            );
        }
        assert_eq!(server.end(signal), (Some(0), "stopped\n".to_owned()));
    }
}

#[test]
fn a_data_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::cluster(dir.path(), &[]);
    let data = dir.path().to_str().unwrap();
    let second = run(&["start", "--data", data]);
    assert_eq!(second.status.code(), Some(1));
    assert_eq!(
        text(&second.stderr),
        format!(
            "kerolox: the data directory {data} is in use by another kerolox (process {}): \
             stop that one, or choose another directory with --data\n",
            server.child.id()
        )
    );
    // Once stopped, the directory is free again.
    server.end(Signal::TERM);
    Server::cluster(dir.path(), &[]);
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let options = ["--nameserver-port", "--broker-port", "--grpc-port"];
    for option in options {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().to_str().unwrap();
        let port_of = |each| if each == option { &port } else { "0" };
        let ports = options.into_iter().flat_map(|each| [each, port_of(each)]);
        let arguments: Vec<&str> = ["start", "--data", data].into_iter().chain(ports).collect();
        let refused = run(&arguments);
        assert_eq!(refused.status.code(), Some(1));
        assert_eq!(text(&refused.stdout), "");
        assert_eq!(
            text(&refused.stderr).lines().last().unwrap(),
            format!(
                "kerolox: 127.0.0.1:{port} is in use by another program: \
                 stop that program, or choose another port with {option}"
            )
        );
    }
    let (_dir, conf) = file(
        "namesrv.conf",
        &format!("bindAddress=127.0.0.1\nlistenPort={port}\n"),
    );
    let refused = run(&["nameserver", "-c", &conf]);
    assert_eq!(refused.status.code(), Some(1));
    let error = text(&refused.stderr).lines().last().unwrap();
    assert!(
        error.starts_with(&format!(
            "kerolox: the name server cannot start: cannot listen on 127.0.0.1:{port}"
        )),
        "{error}"
    );
    let (_dir, conf) = file(
        "rmq-proxy.json",
        &format!("{{\"bindAddress\": \"127.0.0.1\", \"grpcServerPort\": {port}}}"),
    );
    let refused = run(&["proxy", "-c", &conf, "-n", "127.0.0.1:9"]);
    assert_eq!(refused.status.code(), Some(1));
    let error = text(&refused.stderr).lines().last().unwrap();
    assert!(
        error.ends_with("choose another port with grpcServerPort"),
        "{error}"
    );
}

#[test]
fn each_role_runs_with_its_own_file() {
    let (_dir, conf) = file(
        "namesrv.toml",
        "bindAddress = \"127.0.0.1\"\nlistenPort = 0\n",
    );
    let name_server = Server::start(&["nameserver", "-c", &conf]);
    assert!(
        name_server
            .greeting
            .starts_with("The Name Server boot success. Listening on 127.0.0.1:"),
        "{}",
        name_server.greeting
    );
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let (_dir, conf) = file(
        "broker.conf",
        &format!(
            "brokerName = broker-a\nbindAddress = 127.0.0.1\nlistenPort = 0\nstorePathRootDir = {}\n",
            root.display()
        ),
    );
    let broker = Server::start(&["broker", "-c", &conf, "-n", "127.0.0.1:9"]);
    assert!(
        broker
            .greeting
            .starts_with("The broker[broker-a, 127.0.0.1:"),
        "{}",
        broker.greeting
    );
    assert!(
        broker
            .greeting
            .contains("Name servers: 127.0.0.1:9, ready in"),
        "{}",
        broker.greeting
    );
    let (_dir, conf) = file(
        "rmq-proxy.json",
        "{\"bindAddress\": \"127.0.0.1\", \"grpcServerPort\": 0, \"proxyMode\": \"CLUSTER\"}",
    );
    let lonely = run(&["proxy", "-c", &conf]);
    assert_eq!(lonely.status.code(), Some(2));
    assert!(text(&lonely.stderr).contains("give them with -n"));
    let proxy = Server::start(&["proxy", "--proxyConfigPath", &conf, "-n", "127.0.0.1:9"]);
    let greeting = &proxy.greeting;
    assert!(
        greeting.starts_with("The proxy boot success. Listening on 127.0.0.1:"),
        "{greeting}"
    );
    assert!(
        greeting.contains("name servers: 127.0.0.1:9, ready in"),
        "{greeting}"
    );
    assert_eq!(proxy.end(Signal::TERM).0, Some(0));
    assert_eq!(broker.end(Signal::TERM).0, Some(0));
    assert_eq!(name_server.end(Signal::INT).0, Some(0));
}

#[test]
fn every_fault_of_a_configuration_file_is_told_with_its_line() {
    let (_dir, conf) = file(
        "broker.conf",
        "brokerName = a\nlistenPrt = 10911\nlistenPort = many\nnamesrvAddr = here\n",
    );
    let refused = run(&["broker", "-c", &conf]);
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(
        text(&refused.stderr),
        format!(
            "kerolox: {conf}:2: there is no key `listenPrt`; did you mean `listenPort`?\n\
             {conf}:3: `listenPort` cannot be `many`: it takes a whole number from 0 to 65535\n\
             {conf}:4: `namesrvAddr` cannot be `here`: `here` is no address of a name server; \
             write it as host:port\n"
        )
    );
    let missing = run(&["nameserver", "-c", "/nowhere/namesrv.conf"]);
    assert_eq!(missing.status.code(), Some(2));
    assert_eq!(
        text(&missing.stderr),
        "kerolox: cannot read the configuration file /nowhere/namesrv.conf: No such file or directory (os error 2)\n"
    );
}

#[test]
fn the_configuration_is_printed() {
    let (_dir, conf) = file(
        "broker.conf",
        "brokerName = broker-z\nmaxMessageSize = 1000\nuseEpollNativeSelector = true\n",
    );
    let all = run(&["broker", "-c", &conf, "-n", "h:9876", "-p"]);
    assert!(all.status.success());
    let lines: Vec<&str> = text(&all.stdout).lines().collect();
    for line in [
        "brokerName=broker-z",
        "maxMessageSize=1000",
        "namesrvAddr=h:9876",
        "listenPort=10911",
    ] {
        assert!(lines.contains(&line), "{line} is not in {lines:?}");
    }
    assert_eq!(
        text(&all.stderr),
        format!("{conf}: accepted, has no effect in Kerolox: useEpollNativeSelector\n")
    );
    let important = run(&["broker", "-c", &conf, "-m"]);
    let important: Vec<&str> = text(&important.stdout).lines().collect();
    assert!(important.contains(&"brokerName=broker-z"));
    assert!(important.len() < lines.len());

    let name_server = run(&["nameserver", "-p"]);
    assert!(
        text(&name_server.stdout)
            .lines()
            .any(|line| line == "listenPort=9876")
    );
}

#[test]
fn settings_of_flushing_have_their_meaning_or_are_said_to_have_none() {
    let meaning = [
        "flushDiskType=SYNC_FLUSH",
        "flushIntervalCommitLog=200",
        "syncFlushTimeout=3000",
        "flushIntervalConsumeQueue=500",
        "flushConsumeQueueThoroughInterval=30000",
        "diskMaxUsedSpaceRatio=99",
        "diskSpaceCleanForciblyRatio=99",
        "diskSpaceWarningLevelRatio=99",
    ];
    let none = [
        "flushCommitLogTimed=false",
        "flushCommitLogLeastPages=2",
        "flushCommitLogThoroughInterval=5000",
        "commitIntervalCommitLog=100",
        "commitCommitLogLeastPages=2",
        "commitCommitLogThoroughInterval=100",
        "flushConsumeQueueLeastPages=1",
        "transientStorePoolEnable=true",
        "transientStorePoolSize=3",
    ];
    let (_dir, conf) = file("broker.conf", &[&meaning[..], &none].concat().join("\n"));
    let printed = run(&["broker", "-c", &conf, "-p"]);
    assert!(printed.status.success());
    for line in meaning {
        assert!(text(&printed.stdout).lines().any(|printed| printed == line));
    }
    let keys = none.map(|line| line.split_once('=').unwrap().0);
    assert_eq!(
        text(&printed.stderr),
        format!(
            "{conf}: accepted, has no effect in Kerolox: {}\n",
            keys.join(", ")
        )
    );
}

#[test]
fn the_option_outweighs_the_file_and_the_file_the_environment() {
    let printed = |conf: &str, more: &[&str]| {
        let (_dir, conf) = file("broker.conf", conf);
        let mut command = kerolox(&[&["broker", "-p", "-c", &conf], more].concat());
        let output = command
            .env("NAMESRV_ADDR", "environment:1")
            .output()
            .unwrap();
        let lines = text(&output.stdout).lines();
        let mut addresses = lines.filter_map(|line| line.strip_prefix("namesrvAddr="));
        addresses.next().unwrap().to_owned()
    };
    assert_eq!(printed("", &[]), "environment:1");
    assert_eq!(printed("namesrvAddr=file:1", &[]), "file:1");
    assert_eq!(
        printed("namesrvAddr=file:1", &["-n", "option:1"]),
        "option:1"
    );
    assert_eq!(printed("", &["--namesrvAddr", "option:1"]), "option:1");
}

#[test]
fn the_log_goes_where_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("kerolox.log");
    let log_option = ["--log-file", log.to_str().unwrap(), "--log-level", "info"];
    let server = Server::cluster(&dir.path().join("data"), &log_option);
    server.end(Signal::TERM);
    let logged = fs::read_to_string(&log).unwrap();
    assert!(logged.contains("INFO kerolox::start: stopping"), "{logged}");

    let refused = run(&["nameserver", "--log-level", "loud"]);
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(
        text(&refused.stderr),
        "kerolox: `kerolox.logLevel` cannot be `loud`: `loud` is not a level; \
         the levels are off, error, warn, info, debug, trace\n"
    );
}

#[test]
fn a_wrong_command_line_tells_the_right_one() {
    let help = run(&["--help"]);
    assert!(help.status.success());
    for command in ["start", "nameserver", "broker"] {
        assert!(
            text(&help.stdout).contains(&format!("\n  {command} ")),
            "{command}"
        );
    }
    let wrong = run(&["strat"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(
        text(&wrong.stderr).contains("'start'"),
        "{}",
        text(&wrong.stderr)
    );
}

#[test]
fn the_page_of_keys_is_current() {
    let page = run(&["config-keys"]);
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let committed = fs::read_to_string(committed).unwrap_or_default();
    assert!(
        text(&page.stdout) == committed,
        "docs/configuration.md is not what the declarations say: run `cargo xtask docs`"
    );
}

/// Runs a command that must succeed; what it prints.
fn lines(arguments: &[&str]) -> Vec<String> {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    text(&output.stdout).lines().map(str::to_owned).collect()
}

/// The same with JSON lines.
fn json(arguments: &[&str]) -> Vec<Value> {
    let lines = lines(&[arguments, &["--output", "json"]].concat());
    let parse = |line: String| serde_json::from_str(&line).expect("JSON");
    lines.into_iter().map(parse).collect()
}

/// What a command that must fail says.
fn refusal(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(!output.status.success(), "{arguments:?}: {output:?}");
    text(&output.stderr).to_owned()
}

/// A topic of one queue.
const TOPIC: &str = "letters";

fn send(server: &Server, body: &str) {
    let address = server.address("name server");
    lines(&["send", TOPIC, body, "--name-server", address]);
}

fn bodies(server: &Server) -> Vec<String> {
    let address = server.address("name server");
    let messages = json(&["consume", TOPIC, "--name-server", address]);
    let body = |message: &Value| message["body"].as_str().expect("a text").to_owned();
    messages.iter().map(body).collect()
}

/// Changes one bit of the first place where a text stands.
fn flip(path: &Path, text: &str) -> usize {
    let mut bytes = fs::read(path).expect("a file");
    let found = bytes
        .windows(text.len())
        .position(|part| part == text.as_bytes());
    let at = found.expect("the text");
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("a file");
    at
}

#[test]
fn a_damaged_message_is_named_and_a_repair_keeps_the_others() {
    let dir = tempfile::tempdir().expect("a directory");
    // Small files: they are read and written as a whole here.
    let (_conf, conf) = file(
        "broker.conf",
        "mappedFileSizeCommitLog=65536\ndefaultTopicQueueNums=1\nmaxHashSlotNum=7\nmaxIndexNum=3\n",
    );
    let server = Server::cluster(dir.path(), &["-c", &conf]);
    let root = dir.path().join("store");
    let store = root.to_str().expect("UTF-8");
    for body in ["alpha-letter", "beta-letter", "gamma-letter"] {
        send(&server, body);
    }
    assert!(refusal(&["store", "verify", store]).contains("in use by another process"));
    assert!(refusal(&["store", "repair", store, "--yes"]).contains("in use by another process"));
    let looked = run(&["store", "dump", store]);
    assert!(looked.status.success());
    assert!(text(&looked.stderr).contains("a broker has"), "{looked:?}");
    assert_eq!(server.end(Signal::TERM).0, Some(0));

    let verified = json(&["store", "verify", store]);
    assert_eq!(verified.len(), 1, "{verified:?}");
    assert_eq!(verified[0]["records"], 3);
    assert_eq!(verified[0]["queueEntries"], 3);
    let dumped = json(&[
        "store", "dump", store, "messages", "--topic", TOPIC, "--queue", "0", "--body",
    ]);
    let shown: Vec<&Value> = dumped.iter().map(|message| &message["body"]).collect();
    assert_eq!(shown, ["alpha-letter", "beta-letter", "gamma-letter"]);
    let position = dumped[1]["position"].as_u64().expect("a position");

    let unique = dumped[1]["properties"]["UNIQ_KEY"]
        .as_str()
        .expect("a unique id");
    let all = json(&["store", "dump", store, "index"]);
    let (files, entries): (Vec<_>, Vec<_>) =
        all.iter().partition(|line| line["kind"] == "indexFile");
    assert_eq!(
        (files.len(), entries.len()),
        (2, 3),
        "two fit into one file: {all:?}"
    );
    let summary = json(&["store", "dump", store]);
    assert!(files.iter().all(|file| summary.contains(file)));
    let of_key = [
        "store", "dump", store, "index", "--topic", TOPIC, "--key", unique,
    ];
    let found = json(&of_key);
    let found: Vec<_> = found
        .iter()
        .filter(|line| line["kind"] == "indexEntry")
        .collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["position"], position);
    assert_eq!(found[0]["number"], 2);
    let lines = lines(&of_key);
    assert!(
        lines[1].contains(&format!("position {position}  about ")),
        "{lines:?}"
    );

    let log = root.join("commitlog/00000000000000000000");
    flip(&log, "beta-letter");
    let output = run(&["store", "verify", store]);
    assert_eq!(output.status.code(), Some(1));
    let found = text(&output.stdout);
    let place = format!("damage  commitlog/00000000000000000000 at byte {position}: ");
    assert!(found.contains(&place), "{found}");
    assert!(found.contains("letters:0 offset 1: "), "{found}");
    assert!(text(&output.stderr).contains("kerolox store repair"));

    assert!(refusal(&["store", "repair", store]).contains("--yes"));
    let repaired = json(&["store", "repair", store, "--yes"]);
    assert_eq!(repaired[0]["damagedStretches"], 1);
    let verified = json(&["store", "verify", store]);
    assert_eq!(
        verified.last().expect("a line")["damage"],
        0,
        "{verified:?}"
    );

    let server = Server::cluster(dir.path(), &["-c", &conf]);
    assert_eq!(bodies(&server), ["alpha-letter", "gamma-letter"]);
    send(&server, "delta-letter");
    assert_eq!(
        bodies(&server),
        ["alpha-letter", "gamma-letter", "delta-letter"]
    );
    assert_eq!(server.end(Signal::TERM).0, Some(0));
}

#[test]
fn a_directory_that_is_none_is_refused_in_one_sentence() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().to_str().expect("UTF-8");
    for command in ["dump", "verify", "repair"] {
        let error = refusal(&["store", command, path]);
        assert!(error.contains("is no store directory"), "{error}");
        let missing = format!("{path}/none");
        let error = refusal(&["store", command, &missing]);
        assert!(
            error.contains(&format!("{missing} is no store directory")),
            "{error}"
        );
    }
    fs::create_dir_all(dir.path().join("store/commitlog")).expect("a directory");
    let error = refusal(&["store", "verify", path]);
    assert!(error.contains("here its directory `store`"), "{error}");
}
