//! `kerolox inspect` on capture files, as a user meets it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn capture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../inspect/tests/data")
        .join(name)
}

fn inspect(command: &str, file: &Path, arguments: &[&str]) -> Output {
    let mut inspect = Command::new(env!("CARGO_BIN_EXE_kerolox"));
    inspect.args(["inspect", command]);
    if command != "open" {
        inspect.arg("--file");
    }
    let inspect = inspect.arg(file).args(arguments);
    inspect.output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

fn objects(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines = text(&output.stdout).lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn a_capture_is_shown_as_an_object_an_exchange() {
    let objects = objects(&inspect(
        "open",
        &capture("remoting.pcap"),
        &["--output", "json"],
    ));
    assert_eq!(objects.len(), 133);
    let names = [
        "time", "client", "server", "command", "topic", "group", "queueId", "status", "latency",
    ];
    for object in &objects {
        for name in names {
            assert!(object.get(name).is_some(), "{name} is missing in {object}");
        }
    }
    let sends = objects
        .iter()
        .filter(|one| one["command"] == "SEND_BATCH_MESSAGE");
    let sends: Vec<&Value> = sends.collect();
    assert_eq!(sends.len(), 1);
    assert_eq!(sends[0]["type"], "batch");
    assert_eq!(sends[0]["messages"].as_array().map(Vec::len), Some(2));
}

#[test]
fn filters_choose_what_is_shown() {
    let count = |arguments: &[&str]| {
        let arguments = [arguments, &["--output", "json"]].concat();
        objects(&inspect("watch", &capture("remoting.pcap"), &arguments)).len()
    };
    assert_eq!(count(&["--code", "SEND_BATCH_MESSAGE"]), 1);
    assert_eq!(
        count(&["--code", "TOPIC_NOT_EXIST"]),
        count(&["--code", "17"])
    );
    assert_eq!(count(&["--topic", "cap-order", "--errors"]), 0);
    assert!(count(&["--slower-than", "100ms"]) < count(&["--slower-than", "10ms"]));
}

#[test]
fn a_message_is_followed_from_its_sending_to_its_acknowledgement() {
    let file = capture("remoting.pcap");
    let sends = objects(&inspect(
        "open",
        &file,
        &["--output", "json", "--code", "310"],
    ));
    let sent_back = objects(&inspect(
        "open",
        &file,
        &["--output", "json", "--code", "36"],
    ));
    let id = sent_back[0]["messages"][0]["id"].as_str().expect("an id");
    assert!(sends.iter().any(|send| send["messages"][0]["id"] == id));
    let output = inspect("follow", &file, &[id, "--output", "json"]);
    let steps = objects(&output);
    let steps: Vec<&str> = steps
        .iter()
        .filter_map(|step| step["happening"].as_str())
        .collect();
    assert_eq!(steps.first(), Some(&"sent"), "{steps:?}");
    for step in ["delivered", "sent back", "committed"] {
        assert!(steps.contains(&step), "{step} is missing in {steps:?}");
    }
}

#[test]
fn what_was_recorded_is_opened_as_it_was() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = capture("remoting.pcap");
    let before = inspect("open", &file, &["--output", "json"]);
    for name in ["again.pcap", "again.pcapng"] {
        let again = folder.path().join(name);
        let path = again.to_str().expect("UTF-8");
        let recorded = inspect("record", &file, &[path]);
        assert!(recorded.status.success(), "{}", text(&recorded.stderr));
        let after = inspect("open", &again, &["--output", "json"]);
        assert_eq!(text(&before.stdout), text(&after.stdout), "{name}");
    }
}

#[test]
fn the_report_is_one_page_that_needs_nothing_else() {
    let folder = tempfile::tempdir().expect("a directory");
    let page = folder.path().join("report.html");
    let path = page.to_str().expect("UTF-8");
    let output = inspect("stat", &capture("remoting.pcap"), &["--report", path]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let page = fs::read_to_string(&page).expect("a page");
    assert!(page.contains("cap-normal") && !page.contains("NUMBERS"));
    assert!(!page.contains("src=") && !page.contains("href="));
}

#[test]
fn a_file_that_breaks_off_is_shown_as_far_as_it_goes() {
    let folder = tempfile::tempdir().expect("a directory");
    let whole = fs::read(capture("remoting.pcap")).expect("a capture");
    let path = folder.path().join("cut.pcap");
    fs::write(&path, &whole[..whole.len() / 2 + 3]).expect("a file");
    let output = inspect("open", &path, &["--output", "json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).lines().count() > 20);
    assert_eq!(
        text(&output.stderr).lines().count(),
        1,
        "{}",
        text(&output.stderr)
    );
    assert!(text(&output.stderr).contains("it was cut off"));
}

#[test]
fn who_sees_nothing_is_told_whether_there_is_something() {
    let said = |arguments: &[&str]| {
        let output = inspect("open", &capture("remoting.pcap"), arguments);
        assert!(output.status.success() && output.stdout.is_empty());
        text(&output.stderr).to_owned()
    };
    assert_eq!(
        said(&["--topic", "no-such-topic"]),
        "kerolox: none of the 133 exchanges matches the filters\n"
    );
    assert_eq!(
        said(&["--port", "1"]),
        "kerolox: nothing of RocketMQ is in the 434 packets that were read\n"
    );
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_read() {
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("traffic.pcap");
    fs::copy(capture("remoting.pcap"), &file).expect("a copy");
    let path = file.to_str().expect("UTF-8");
    let refused = |command: &str, arguments: &[&str]| {
        let output = inspect(command, &file, arguments);
        assert!(!output.status.success() && output.stdout.is_empty());
        text(&output.stderr).to_owned()
    };
    assert!(refused("record", &[path]).contains("this is the file that is read"));
    let before = fs::read(capture("remoting.pcap")).expect("a capture");
    assert!(fs::read(&file).expect("a capture") == before);
    let said = refused("stat", &["--report", "/no/such/folder/report.html"]);
    assert!(said.contains("/no/such/folder/report.html: "), "{said}");
    let said = refused("stat", &["--interval", "1ms"]);
    assert!(said.contains("every 100ms"), "{said}");
    let mut inspect = Command::new(env!("CARGO_BIN_EXE_kerolox"));
    let output = inspect.args(["inspect", path]).output().expect("it runs");
    let said = text(&output.stderr);
    assert!(
        said.contains(&format!("kerolox inspect open {path}")),
        "{said}"
    );
}

#[test]
fn what_comes_through_a_pipe_is_shown_as_it_comes() {
    let mut open = Command::new(env!("CARGO_BIN_EXE_kerolox"));
    open.args(["inspect", "open", "-", "--output", "json"]);
    let piped = open.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut open = piped.spawn().expect("it runs");
    let mut pipe = open.stdin.take().expect("a pipe");
    let whole = fs::read(capture("remoting.pcap")).expect("a capture");
    // A request and its answer are among the first five packets.
    let header = 24;
    let behind = (0..5).fold(header, |at, _| {
        let captured = whole[at + 8..].first_chunk().expect("a packet");
        at + 16 + u32::from_le_bytes(*captured) as usize
    });
    let (first, second) = whole.split_at(behind);
    pipe.write_all(first).expect("it reads");
    let mut lines = BufReader::new(open.stdout.take().expect("a pipe")).lines();
    let early = lines.next().expect("a line before the pipe ends");
    assert!(early.expect("UTF-8").contains("GET_BROKER_CLUSTER_INFO"));
    pipe.write_all(second).expect("it reads");
    drop(pipe);
    assert_eq!(lines.count(), 132);
    assert!(open.wait().expect("it ends").success());
}

#[test]
fn what_is_no_capture_is_refused_with_a_word() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("notes.txt");
    fs::write(&path, "not a capture at all").expect("a file");
    let output = inspect("open", &path, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("neither a pcap nor a pcapng file"));
    let output = inspect("open", &folder.path().join("absent"), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("absent"));
}
