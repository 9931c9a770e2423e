//! Many messages with one time of delivery: all come, soon, and the server's memory stays bounded.

use std::process::Command as Program;

use serde_json::Value;

use server::Server;

mod server;

#[test]
fn fifty_thousand_messages_due_together_come_soon_in_bounded_memory() {
    const MESSAGES: u64 = 50_000;
    const MEMORY: u64 = 200 << 20;
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::cluster(dir.path(), "");
    let output = Program::new(env!("CARGO_BIN_EXE_kerolox"))
        .args(["bench", "timer", "--output=json", "--queues=8"])
        .args(["--name-server", &server.name_server])
        .arg(format!(
            "--server-pid={}",
            server.process().as_raw_nonzero()
        ))
        .arg(format!("--together={MESSAGES}"))
        .args(["--delay=30s", "--duration=15s"])
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let run = &report["runs"][0];
    assert_eq!(report["fill"]["messages"], MESSAGES);
    assert_eq!(run["messages"], MESSAGES, "{run}");
    let memory = run["server"]["private_bytes"].as_u64().expect("bytes");
    assert!(memory < MEMORY, "the server took {memory} bytes");
}
