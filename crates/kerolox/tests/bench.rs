//! `kerolox bench` against a server and against the null server.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command as Program, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A server process; killed when dropped.
struct Server {
    child: Child,
    /// The option that leads to its broker.
    target: String,
    _dir: TempDir,
}

impl Server {
    /// Starts it and waits until it has printed `ready`; takes the address behind `named`.
    fn start(arguments: &[&str], ready: &str, named: &str) -> Server {
        let dir = tempfile::tempdir().expect("a directory");
        let mut child = program(arguments)
            .current_dir(dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs");
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut greeting = String::new();
        while !greeting.contains(ready) {
            let read = out.read_line(&mut greeting).expect("UTF-8");
            assert_ne!(read, 0, "it ended instead of being ready: {greeting}");
        }
        let (_, behind) = greeting.split_once(named).expect("the address is named");
        let address = behind
            .split(|c: char| c.is_whitespace() || c == ';')
            .find(|word| !word.is_empty());
        let target = format!("--broker={}", address.expect("an address"));
        Server {
            child,
            target,
            _dir: dir,
        }
    }

    fn kerolox() -> Server {
        Server::start(
            &[
                "start",
                "--nameserver-port=0",
                "--broker-port=0",
                "--grpc-port=0",
            ],
            "ready in",
            "broker ",
        )
    }

    fn null() -> Server {
        Server::start(
            &["bench", "--null", "--listen=127.0.0.1:0"],
            "Ctrl-C",
            "listens on ",
        )
    }

    /// The result of two short runs that must succeed.
    fn bench(&self, options: &str) -> Value {
        let runs = "--warm-up 50ms --duration 200ms --runs 2";
        let report = self.report(&format!("{options} {runs}"));
        let runs = report["runs"].as_array().expect("runs");
        assert_eq!(runs.len(), 2);
        Self::check(&report);
        report
    }

    /// The result of a run that must succeed.
    fn one_run(&self, options: &str) -> Value {
        let report = self.report(options);
        Self::check(&report);
        report
    }

    fn report(&self, options: &str) -> Value {
        let mut load = program(&["bench", &self.target, "--output=json"]);
        let output = load.args(options.split(' ')).output();
        let output = output.expect("the binary runs");
        assert!(output.status.success(), "{options}: {output:?}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// There are messages with latencies, and no refusal. On a busy machine a run may be over before
    /// its first message.
    fn check(report: &Value) {
        let runs = report["runs"].as_array().expect("runs");
        let any = |run: &Value| run["messages"].as_u64() > Some(0);
        assert!(runs.iter().any(any), "{report}");
        for run in runs {
            assert_eq!(run["errors"], serde_json::json!({}), "{report}");
            let latency = |name: &str| run["latency_us"][name].as_f64().expect("a latency");
            let rising = ["p50", "p90", "p99", "p99.9", "max"].map(latency);
            assert_eq!(rising[0] > 0.0, any(run), "{report}");
            assert!(rising.is_sorted(), "{report}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(arguments: &[&str]) -> Program {
    let mut program = Program::new(env!("CARGO_BIN_EXE_kerolox"));
    program.args(arguments).env_remove("NAMESRV_ADDR");
    program
}

#[test]
fn every_load_runs_against_a_broker() {
    let server = Server::kerolox();
    for serialize in ["rocketmq", "json"] {
        for load in [
            "send --connections 2 --in-flight 8",
            "send --connections 1 --in-flight 1",
            "send --batch 4 --connections 2 --in-flight 4",
            "send --connections 2 --rate 500",
            "pull --fill 1000",
            "pull --fill 1000 --max-messages 1 --in-flight 3",
            "e2e --rate 200",
            "pop --fill 50000 --connections 2 --in-flight 3",
            "orderly --fill 50000 --connections 2 --in-flight 2",
            "transaction --connections 2 --in-flight 8",
        ] {
            server.bench(&format!("{load} --serialize {serialize}"));
        }
    }
}

#[test]
fn load_goes_by_each_protocol() {
    let mut server = Server::kerolox();
    let address = server.target.clone();
    let address = address.trim_start_matches("--broker=");
    for scheme in ["tcp", "ws", "h2", "tls", "wss", "h2s"] {
        server.target = format!("--broker={scheme}://{address}");
        for load in [
            "send --connections 2 --in-flight 8",
            "send --connections 1 --in-flight 1",
            "send --connections 2 --in-flight 64 --body-size 40000",
            "pull --fill 1000",
        ] {
            server.bench(load);
        }
    }
}

#[test]
fn connections_are_set_up_by_each_protocol() {
    let server = Server::kerolox();
    let pid = server.child.id();
    for protocol in ["remoting", "tls", "tls-resumed", "websocket", "http2"] {
        let options =
            format!("connections --protocol {protocol} --connections 20 --server-pid {pid}");
        let report = server.report(&options);
        assert_eq!(report["connections"], 20);
        let time = |name: &str| report["set_up_us"][name].as_u64().expect("a time");
        let rising = ["p50", "p99", "max"].map(time);
        assert!(rising.is_sorted() && rising[2] > 0, "{report}");
        assert!(report["bytes_each"].is_u64(), "{report}");
    }
}

#[test]
fn an_open_loop_counts_every_message() {
    let server = Server::kerolox();
    let report = server.bench("e2e --rate 1000 --queues 2");
    for run in report["runs"].as_array().expect("runs") {
        assert!(run["messages"].as_u64() > Some(0), "{report}");
        assert_eq!(run["missing"], 0, "{report}");
        assert_eq!(run["unanswered"], 0, "{report}");
    }
}

#[test]
fn messages_with_a_time_of_delivery_are_received() {
    let server = Server::kerolox();
    let report = server.one_run("timer --rate 200 --delay 1s --warm-up 2s --duration 3s");
    let sent = &report["median"]["sent_per_second"];
    assert!(sent.as_f64() > Some(0.0), "{report}");
}

#[test]
fn popping_goes_on_behind_the_end_of_the_topic() {
    let server = Server::kerolox();
    for mode in ["pop", "orderly"] {
        let options = "--fill 128 --queues 1 --connections 1 --warm-up 0 --duration 4s";
        let report = server.one_run(&format!("{mode} {options}"));
        let messages = &report["median"]["messages"];
        assert!(messages.as_u64() > Some(128), "{report}");
    }
}

#[test]
fn the_null_server_takes_sends_and_pulls() {
    let server = Server::null();
    server.bench("send --connections 2 --in-flight 8");
    server.bench("pull --max-messages 32");
    server.bench("pull --max-messages 1 --serialize json");
}

#[test]
fn refusals_are_counted_by_code_and_told() {
    let server = Server::kerolox();
    let mut load = program(&["bench", &server.target, "--warm-up=0", "--duration=200ms"]);
    // More than the 4 MB that a broker takes by default.
    let options = ["--connections=1", "--in-flight=1", "--body-size=5000000"];
    let output = load.args(options).output().expect("the binary runs");
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(table.contains("code 13 (MESSAGE_ILLEGAL)"), "{table}");
}
