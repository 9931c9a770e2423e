//! A disk that fills up, and old files that go, as clients meet them.

mod server;

use std::borrow::Cow;
use std::fs;
use std::process::Command as Program;

use bytes::Bytes;
use rustix::process::Signal;
use server::{Client, Server, expect, message, pull};
use wire::code::ResponseCode;
use wire::command::{GetMinOffset, GetRouteInfoByTopic, PullMessage, SendMessageV2};
use wire::frame::Frame;
use wire::header::nameserver::GetRouteInfoRequest;
use wire::header::offset::{GetMinOffsetRequest, GetMinOffsetResponse};
use wire::header::pull::PullMessageResponse;
use wire::message::body::Records;

async fn send(client: &Client, body: Bytes) -> Frame {
    client
        .ask::<SendMessageV2>(&message("t", 0, ""), body)
        .await
}

/// How many messages the queue has, read one after the other.
async fn count(client: &Client) -> usize {
    let mut offset = 0;
    let mut count = 0;
    loop {
        let answer = client
            .ask::<PullMessage>(&pull("g", "t", 0, offset), "")
            .await;
        if answer.head.code == ResponseCode::PullNotFound as i32 {
            return count;
        }
        expect(&answer, ResponseCode::Success);
        count += Records::new(&answer.body).count();
        let header: PullMessageResponse = answer.header().expect("a header");
        offset = header.next_begin_offset;
    }
}

/// A file system of a few MiB in memory; unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`, with the reason printed, where this user may not mount one.
    fn mount(size: &str) -> Option<SmallDisk> {
        let dir = tempfile::tempdir().expect("a directory");
        let mut mount = Program::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        match mount.arg(dir.path()).output() {
            Ok(output) if output.status.success() => Some(SmallDisk(dir)),
            Ok(output) => {
                let reason = String::from_utf8_lossy(&output.stderr).into_owned();
                println!("skipped, it needs to mount a file system as root: {reason}");
                None
            }
            Err(error) => {
                println!("skipped, it needs to mount a file system: {error}");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Program::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

#[tokio::test]
async fn a_full_disk_refuses_answers_pulls_and_recovers_by_itself() {
    let Some(disk) = SmallDisk::mount("16m") else {
        return;
    };
    let root = disk.0.path();
    // Taken away later.
    let ballast = root.join("ballast");
    fs::write(&ballast, vec![1; 6 << 20]).expect("room");
    let start = || {
        // What is there is kept: nothing but the ballast makes room.
        let keep = "mappedFileSizeCommitLog = 1048576\ncleanFileForciblyEnable = false\n\
                    cleanResourceInterval = 100\nmaxHashSlotNum = 1000\nmaxIndexNum = 4000\n";
        Server::cluster(root, keep)
    };
    let server = start();
    let client = Client::connect(&server.broker).await;
    let body = Bytes::from(vec![7; 60_000]);
    let mut stored = 0;
    let refused = loop {
        let answer = send(&client, body.clone()).await;
        if answer.head.code != ResponseCode::Success as i32 {
            break answer;
        }
        stored += 1;
    };
    assert!(stored > 50, "{stored}");
    expect(&refused, ResponseCode::ServiceNotAvailable);
    let remark = refused.remark.expect("a reason");
    assert!(
        remark.contains("free some space, writing goes on by itself"),
        "{remark}"
    );
    assert_eq!(count(&client).await, stored);
    let names = Client::connect(&server.name_server).await;
    let route = GetRouteInfoRequest {
        topic: Cow::Borrowed("t"),
        ..GetRouteInfoRequest::default()
    };
    let route = names.ask::<GetRouteInfoByTopic>(&route, "").await;
    expect(&route, ResponseCode::Success);

    fs::remove_file(&ballast).expect("the ballast");
    loop {
        let answer = send(&client, body.clone()).await;
        if answer.head.code == ResponseCode::Success as i32 {
            break;
        }
        expect(&answer, ResponseCode::ServiceNotAvailable);
    }
    assert_eq!(count(&client).await, stored + 1);
    server.end(Signal::KILL).await;
    let server = start();
    let client = Client::connect(&server.broker).await;
    assert_eq!(count(&client).await, stored + 1);
    assert_eq!(server.end(Signal::TERM).await, Some(0));
}

#[tokio::test]
async fn who_asks_for_messages_that_are_gone_is_told_where_to_go_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let hours: Vec<String> = (0..24).map(|hour| format!("{hour:02}")).collect();
    let configuration = format!(
        "mappedFileSizeCommitLog = 4096\nmappedFileSizeConsumeQueue = 400\nfileReservedTime = 0\n\
         deleteWhen = {}\ndeleteCommitLogFilesInterval = 0\ncleanResourceInterval = 100\n",
        hours.join(";")
    );
    let server = Server::cluster(dir.path(), &configuration);
    let client = Client::connect(&server.broker).await;
    loop {
        client.send("t", 0, "message").await;
        let request = GetMinOffsetRequest {
            topic: Cow::Borrowed("t"),
            ..GetMinOffsetRequest::default()
        };
        let answer = client.ask::<GetMinOffset>(&request, "").await;
        let min: GetMinOffsetResponse = answer.header().expect("a header");
        if min.offset > 0 {
            break;
        }
    }
    // Files may still go while it asks.
    let (mut offset, mut moved) = (0, 0);
    let found = loop {
        let answer = client
            .ask::<PullMessage>(&pull("g", "t", 0, offset), "")
            .await;
        if answer.head.code == ResponseCode::Success as i32 {
            break answer;
        }
        expect(&answer, ResponseCode::PullOffsetMoved);
        let header: PullMessageResponse = answer.header().expect("a header");
        assert_eq!(header.next_begin_offset, header.min_offset);
        assert!(header.min_offset > offset);
        offset = header.next_begin_offset;
        moved += 1;
    };
    assert!(moved > 0);
    let first = Records::new(&found.body)
        .next()
        .expect("a record")
        .expect("whole");
    assert_eq!(first.queue_offset(), offset);
    assert_eq!(server.end(Signal::TERM).await, Some(0));
}
