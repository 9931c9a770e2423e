//! `kerolox inspect` watching a server of this machine, as a user meets it. Where packets may not be
//! captured, all that can be tested is that it says so; `KEROLOX_LIVE=1` makes that a failure.

mod server;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use transport::Body;
use wire::code::ResponseCode;
use wire::command::PullMessage;

use server::{Client, Server, TIMEOUT, pull};

/// A process that does not outlive the test.
struct Running(Child);

impl Running {
    fn spawn(command: &mut Command) -> Self {
        Self(command.spawn().expect("it runs"))
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("a child").is_some()
    }

    /// Ends a program as a user does; it must end well.
    fn terminate(&mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).expect("it runs");
        assert!(self.0.wait().expect("it ends").success());
    }

    /// What it has to say, when it has ended.
    fn said(&mut self) -> String {
        let begun = Instant::now();
        while !self.has_ended() {
            assert!(begun.elapsed() < TIMEOUT, "it does not end");
        }
        let mut said = String::new();
        let errors = self.0.stderr.as_mut().expect("a pipe");
        errors.read_to_string(&mut said).expect("UTF-8");
        said
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running `kerolox inspect` that has its source open.
struct Inspect {
    process: Running,
    lines: Receiver<String>,
    /// Where its metrics are.
    metrics: String,
}

impl Inspect {
    /// Starts it at the loopback interface; `None` where it may not capture.
    fn start(arguments: &[&str]) -> Option<Self> {
        Self::start_at("lo", arguments)
    }

    fn start_at(interface: &str, arguments: &[&str]) -> Option<Self> {
        let mut inspect = Command::new(env!("CARGO_BIN_EXE_kerolox"));
        inspect.arg("inspect").args(arguments);
        inspect.args(["--interface", interface, "--metrics", "127.0.0.1:0"]);
        let piped = inspect.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Running::spawn(piped);
        let mut said = String::new();
        let mut errors = BufReader::new(process.0.stderr.take().expect("a pipe"));
        errors.read_line(&mut said).expect("UTF-8");
        let Some(address) = said.trim().strip_prefix("kerolox: metrics are at http://") else {
            may_not(&said);
            return None;
        };
        let metrics = address.trim_end_matches("/metrics").to_owned();
        process.0.stderr = Some(errors.into_inner());
        let (sender, lines) = channel();
        let out = BufReader::new(process.0.stdout.take().expect("a pipe"));
        thread::spawn(move || {
            // Nobody hears it any more if the test has failed.
            let lines = out.lines().map_while(Result::ok);
            lines.map_while(|line| sender.send(line).ok()).count()
        });
        Some(Self {
            process,
            lines,
            metrics,
        })
    }

    fn next(&self) -> Value {
        let line = self.lines.recv_timeout(TIMEOUT).expect("a line");
        serde_json::from_str(&line).expect("JSON")
    }

    /// Ends it, and returns what it showed that nobody has read.
    fn end(mut self) -> Vec<String> {
        self.process.terminate();
        self.lines.iter().collect()
    }

    /// Asks for the metrics, and returns the answer's headers and page.
    fn ask(&self, method: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.metrics).expect("a connection");
        let request = format!("{method} /metrics HTTP/1.1\r\nHost: here\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, page) = answer.split_once("\r\n\r\n").expect("HTTP");
        (head.to_owned(), page.to_owned())
    }
}

/// Asserts that it says why it cannot capture or trace, and that this may be so.
fn may_not(said: &str) {
    let reasons = ["CAP_NET_RAW", "CAP_BPF", "CONFIG_DEBUG_INFO_BTF", "5.17"];
    assert!(reasons.iter().any(|why| said.contains(why)), "{said}");
    assert!(std::env::var_os("KEROLOX_LIVE").is_none(), "{said}");
    eprintln!("packets may not be captured here, so nothing is watched: {said}");
}

/// What an object says, without numbers and times.
fn gist(object: &Value) -> String {
    let text = |name: &str| object[name].as_str().unwrap_or("-").to_owned();
    ["command", "topic", "group", "status"].map(text).join(" ")
}

const SEND: &str = "SEND_MESSAGE_V2 orders producers SUCCESS";
const OTHER_SEND: &str = "SEND_MESSAGE_V2 parcels producers SUCCESS";
const PULL: &str = "PULL_MESSAGE orders readers SUCCESS";
const FAILED_PULL: &str = "PULL_MESSAGE nowhere strangers TOPIC_NOT_EXIST";

/// Does what is watched.
async fn talk(server: &Server) {
    let client = Client::connect(&server.broker).await;
    for body in ["first", "second", "third"] {
        client.send("orders", 0, body).await;
    }
    client.send("parcels", 1, "fourth").await;
    for (group, topic, code) in [
        ("readers", "orders", ResponseCode::Success),
        ("strangers", "nowhere", ResponseCode::TopicNotExist),
    ] {
        let header = pull(group, topic, 0, 0);
        let answer = client.ask::<PullMessage>(&header, Body::Empty).await;
        server::expect(&answer, code);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_is_shown_by_every_filter_and_counted() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::cluster(dir.path(), "");
    let port = port_of(&server.broker);
    let all = [SEND, SEND, SEND, OTHER_SEND, PULL, FAILED_PULL];
    let elsewhere = ["--topic", "orders"];
    // The kernel knows the server by its program's name, and this test as whoever runs it.
    let id = server.process().as_raw_pid().to_string();
    let mut cat = Command::new("cat");
    let cat = Running::spawn(cat.stdin(Stdio::piped()));
    let silent = cat.0.id().to_string();
    let cases: [(&str, &[&str], &[&str]); 13] = [
        (port, &[], &all),
        (port, &["--topic", "parcels"], &[OTHER_SEND]),
        (port, &["--group", "readers"], &[PULL]),
        (
            port,
            &["--client", "127.0.0.1", "--group", "strangers"],
            &[FAILED_PULL],
        ),
        (port, &["--code", "PULL_MESSAGE"], &[PULL, FAILED_PULL]),
        (port, &["--code", "17"], &[FAILED_PULL]),
        (port, &["--errors"], &[FAILED_PULL]),
        (
            port,
            &["--slower-than", "1ns", "--topic", "orders"],
            &[SEND, SEND, SEND, PULL],
        ),
        (port, &["--slower-than", "100s"], &[]),
        (port_of(&server.name_server), &elsewhere, &[]),
        (port, &["--pid", &id], &all),
        (port, &["--process", "kerolox"], &all),
        (port, &["--pid", &silent], &[]),
    ];
    let mut watched = Vec::new();
    for (port, filter, expected) in cases {
        let arguments = ["watch", "--output", "json", "--port", port];
        let Some(inspect) = Inspect::start(&[&arguments, filter].concat()) else {
            return;
        };
        watched.push((inspect, filter, expected));
    }
    talk(&server).await;
    for (inspect, filter, expected) in &watched {
        let seen: Vec<String> = expected.iter().map(|_| gist(&inspect.next())).collect();
        assert_eq!(seen, *expected, "{filter:?}");
    }
    let (everything, ..) = &watched[0];
    let (head, page) = everything.ask("GET");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Type: application/openmetrics-text; version=1.0.0"));
    let samples = samples(&page);
    let value = |name: &str| {
        let found = samples.iter().find(|(sample, _)| sample == name);
        found.map(|(_, value)| *value)
    };
    for (name, expected) in [
        ("topic_exchanges_total{topic=\"orders\"}", 4.0),
        ("topic_messages_total{topic=\"orders\"}", 6.0),
        ("topic_errors_total{topic=\"orders\"}", 0.0),
        ("topic_errors_total{topic=\"nowhere\"}", 1.0),
        ("group_exchanges_total{group=\"producers\"}", 4.0),
        ("command_exchanges_total{command=\"PULL_MESSAGE\"}", 2.0),
        ("lost_total", 0.0),
    ] {
        let name = format!("kerolox_inspect_{name}");
        assert_eq!(value(&name), Some(expected), "{name} in\n{page}");
    }
    let served = format!(
        "kerolox_inspect_server_exchanges_total{{server=\"{}\"}}",
        server.broker
    );
    assert_eq!(value(&served), Some(6.0), "{served} in\n{page}");
    let fastest = "kerolox_inspect_topic_latency_seconds{topic=\"orders\",quantile=\"0.5\"}";
    let slowest = fastest.replace("0.5", "1");
    assert!(value(fastest) > Some(0.0) && value(fastest) <= value(&slowest));
    let (head, page) = everything.ask("POST");
    assert!(
        head.starts_with("HTTP/1.1 405 ") && page.is_empty(),
        "{head}"
    );
    for (inspect, filter, _) in watched {
        assert_eq!(inspect.end(), [""; 0], "{filter:?}");
    }
    assert_eq!(server.end(Signal::TERM).await, Some(0));
}

/// A control group as a container runtime makes one; removed when dropped.
struct Container {
    identifier: String,
    group: PathBuf,
}

impl Container {
    /// Puts a process into a new one. `None` where none can be made.
    fn holding(process: Pid) -> Option<Self> {
        let id = process.as_raw_pid();
        let identifier = format!("{id:08x}{}", "4f".repeat(28));
        // The second version of control groups alone, beside the first one, and the first one.
        let roots = ["", "unified", "pids"].map(|root| Path::new("/sys/fs/cgroup").join(root));
        let roots = roots
            .iter()
            .filter(|root| root.join("cgroup.procs").exists());
        let mut groups = roots.map(|root| root.join(format!("docker-{identifier}.scope")));
        groups.find_map(|group| {
            fs::create_dir(&group).ok()?;
            let container = Self {
                identifier: identifier.clone(),
                group,
            };
            let put = fs::write(container.group.join("cgroup.procs"), id.to_string());
            put.is_ok().then_some(container)
        })
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.group);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_processes_of_a_container_are_watched() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::cluster(dir.path(), "");
    let Some(container) = Container::holding(server.process()) else {
        eprintln!("no control group can be made here, so no container is watched");
        return;
    };
    let arguments = [
        "watch",
        "--output",
        "json",
        "--port",
        port_of(&server.broker),
    ];
    let chosen = ["--container", &container.identifier[..12]];
    let Some(inspect) = Inspect::start(&[&arguments[..], &chosen].concat()) else {
        return;
    };
    talk(&server).await;
    let expected = [SEND, SEND, SEND, OTHER_SEND, PULL, FAILED_PULL];
    let seen: Vec<String> = expected.iter().map(|_| gist(&inspect.next())).collect();
    assert_eq!(seen, expected);
    assert_eq!(inspect.end(), [""; 0]);
    assert_eq!(server.end(Signal::TERM).await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_counted_so_far_is_shown_again_and_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::cluster(dir.path(), "");
    let arguments = [
        "stat",
        "--output",
        "json",
        "--port",
        port_of(&server.broker),
    ];
    let Some(inspect) = Inspect::start(&[&arguments[..], &["--interval", "100ms"]].concat()) else {
        return;
    };
    talk(&server).await;
    let begun = Instant::now();
    // Nobody ends it before the totals are shown.
    while inspect.next()["exchanges"] != 6 {
        assert!(begun.elapsed() < TIMEOUT, "the totals are not shown");
    }
    let lines = inspect.end();
    let last = lines.iter().rev().find(|line| line.contains("\"total\""));
    assert!(
        last.is_some_and(|row| row.contains("\"exchanges\":6")),
        "{lines:?}"
    );
    assert_eq!(server.end(Signal::TERM).await, Some(0));
}

fn port_of(address: &str) -> &str {
    address.rsplit_once(':').expect("a port").1
}

#[cfg(feature = "ebpf")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_says_over_tls_is_read_by_tracing_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::cluster(dir.path(), "");
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-quiet", "-connect", &server.broker]);
    let piped = openssl.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = Running::spawn(piped.stderr(Stdio::null()));
    let id = client.0.id().to_string();
    let arguments = ["watch", "--trace", "--pid", &id, "--output", "json"];
    let Some(inspect) = Inspect::start(&arguments) else {
        return;
    };
    let header = br#"{"code":105,"extFields":{"topic":"nowhere"},"flag":0,"language":"JAVA","opaque":7,"version":513}"#;
    let length = header.len() as u32;
    let frame = [
        &(length + 4).to_be_bytes()[..],
        &length.to_be_bytes(),
        header,
    ]
    .concat();
    let stdin = client.0.stdin.as_mut().expect("a pipe");
    stdin.write_all(&frame).expect("a request");
    let mut answer = [0; 8];
    let stdout = client.0.stdout.as_mut().expect("a pipe");
    stdout.read_exact(&mut answer).expect("an answer");
    let seen = inspect.next();
    assert_eq!(seen["command"], "GET_ROUTEINFO_BY_TOPIC", "{seen}");
    assert_eq!(seen["server"], *server.broker, "{seen}");
    assert_eq!(seen["topic"], "nowhere", "{seen}");
    assert_ne!(seen["status"], "UNANSWERED", "{seen}");
    assert_eq!(seen["process"]["name"], "openssl", "{seen}");
    assert_eq!(inspect.end(), [""; 0]);
}

/// The samples of a page of OpenMetrics, which must be whole: each of a metric that was described,
/// and no metric described twice.
fn samples(page: &str) -> Vec<(String, f64)> {
    let page = page.strip_suffix("# EOF\n").expect("the page's end");
    let (mut known, mut samples) = (Vec::new(), Vec::new());
    for line in page.lines() {
        if let Some(metric) = line.strip_prefix("# TYPE ") {
            let (name, kind) = metric.split_once(' ').expect("a type");
            assert!(
                known.iter().all(|(known, _)| *known != name),
                "{name} twice"
            );
            known.push((name, kind));
            continue;
        }
        let (current, kind) = *known.last().expect("a described metric");
        if let Some(unit) = line.strip_prefix("# UNIT ") {
            let (name, unit) = unit.split_once(' ').expect("a unit");
            assert!(
                name == current && name.ends_with(&format!("_{unit}")),
                "{line}"
            );
        } else if let Some(help) = line.strip_prefix("# HELP ") {
            assert!(help.starts_with(&format!("{current} ")), "{line}");
        } else {
            let (sample, value) = line.rsplit_once(' ').expect("a value");
            let name = sample.split('{').next().unwrap_or_default();
            let suffix = if kind == "counter" { "_total" } else { "" };
            assert_eq!(name, format!("{current}{suffix}"), "{line}");
            samples.push((sample.to_owned(), value.parse().expect("a number")));
        }
    }
    samples
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_recorded_can_be_opened_while_it_goes_on_and_later() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::cluster(dir.path(), "");
    for name in ["traffic.pcap", "traffic.pcapng"] {
        let out = dir.path().join(name);
        let port = port_of(&server.broker);
        let mut record = Command::new(env!("CARGO_BIN_EXE_kerolox"));
        record.args(["inspect", "record", "--interface", "lo", "--port", port]);
        record.arg(&out);
        let mut record = Running::spawn(record.stderr(Stdio::piped()));
        let begun = Instant::now();
        // It begins the file when it has its source.
        while !out.exists() {
            if record.has_ended() {
                return may_not(&record.said());
            }
            assert!(begun.elapsed() < TIMEOUT, "nothing is recorded");
        }
        talk(&server).await;
        let expected = [SEND, SEND, SEND, OTHER_SEND, PULL, FAILED_PULL];
        while opened(&out, port) != expected {
            assert!(begun.elapsed() < TIMEOUT, "{:?}", opened(&out, port));
        }
        record.terminate();
        assert_eq!(opened(&out, port), expected);
        let said = record.said();
        assert!(said.ends_with(" 0 were lost\n"), "{said}");
    }
}

/// What a file holds so far.
fn opened(file: &Path, port: &str) -> Vec<String> {
    let mut open = Command::new(env!("CARGO_BIN_EXE_kerolox"));
    open.args(["inspect", "open", "-", "--output", "json", "--port", port]);
    let file = fs::File::open(file).expect("a file");
    let output = open.stdin(file).output().expect("the binary runs");
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    let objects = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    objects.map(|object: Value| gist(&object)).collect()
}

#[test]
fn an_interface_that_is_removed_ends_watching_with_a_word() {
    let name = format!("kb{}", std::process::id());
    let ip = |arguments: &[&str]| {
        let mut ip = Command::new("ip");
        let status = ip.args(arguments).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    if !ip(&["link", "add", &name, "type", "veth"]) {
        assert!(
            std::env::var_os("KEROLOX_LIVE").is_none(),
            "no interface can be made"
        );
        eprintln!("no interface can be made here, so none is removed");
        return;
    }
    let is_up = ip(&["link", "set", &name, "up"]);
    let inspect = Inspect::start_at(&name, &["overview", "--output", "json"]);
    assert!(ip(&["link", "del", &name]) && is_up);
    let Some(mut inspect) = inspect else {
        return;
    };
    let said = inspect.process.said();
    assert!(
        said.contains(&format!("the interface {name} went down or was removed")),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    let code = inspect.process.0.wait().expect("it has ended").code();
    assert_eq!(code, Some(1), "{said}");
    // What was seen so far is shown.
    assert_eq!(inspect.next()["exchanges"], 0);
}

#[test]
fn a_missing_permission_is_named_with_what_to_do() {
    // A process in another network namespace, if one can be made.
    let mut unshare = Command::new("unshare");
    let unshare = unshare.args(["--net", "cat"]).stdin(Stdio::piped());
    let mut elsewhere = Running::spawn(unshare.stderr(Stdio::null()));
    let id = elsewhere.0.id().to_string();
    let own = fs::read_link("/proc/self/ns/net").expect("a namespace");
    let begun = Instant::now();
    let is_there = || {
        let theirs = fs::read_link(format!("/proc/{id}/ns/net"));
        theirs.is_ok_and(|theirs| theirs != own)
    };
    while !is_there() && !elsewhere.has_ended() {
        assert!(begun.elapsed() < TIMEOUT, "unshare does nothing");
    }
    let cases: [(&str, &[&str], &str); 3] = [
        ("net_raw", &[], "CAP_NET_RAW"),
        ("sys_ptrace", &["--pid", "1"], "CAP_SYS_PTRACE"),
        ("sys_admin", &["--pid", &id], "CAP_SYS_ADMIN"),
    ];
    let is_root = rustix::process::geteuid().is_root();
    for (capability, arguments, named) in cases {
        let mut watch = if is_root {
            let mut without = Command::new("setpriv");
            without.arg(format!("--bounding-set=-{capability}"));
            without.arg(env!("CARGO_BIN_EXE_kerolox"));
            without
        } else {
            Command::new(env!("CARGO_BIN_EXE_kerolox"))
        };
        if named == "CAP_SYS_ADMIN" && !is_there() {
            eprintln!("no network namespace can be made here, so entering one is not refused");
            continue;
        }
        watch.args(["inspect", "watch"]).args(arguments);
        let mut watch = Running::spawn(watch.stderr(Stdio::piped()));
        let said = watch.said();
        let code = watch.0.wait().expect("it has ended").code();
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(named) && said.contains("setcap "), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
