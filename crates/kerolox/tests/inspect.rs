//! `kerolox inspect` on capture files, as a user meets it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
