//! Ports of this machine, and who listens there.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::process::Result;

/// How long a connected server may take to answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(120);

/// `GET_BROKER_RUNTIME_INFO`, as JSON.
const QUESTION: &str = r#"{"code":28,"flag":0,"language":"JAVA","opaque":1,"serializeTypeCurrentRPC":"JSON","version":513}"#;

/// The first of so many free ports in a row.
pub(crate) fn free_ports(count: u16) -> Result<u16> {
    for _ in 0..100 {
        let first =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|bound| bound.local_addr());
        let first = first
            .map_err(|error| format!("no port is free: {error}"))?
            .port();
        let free = |port: u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
        if first < u16::MAX - count && (first..first + count).all(free) {
            return Ok(first);
        }
    }
    Err(format!("no {count} free ports in a row were found"))
}

/// Whether a server answers a question at this address now.
pub(crate) fn answers(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return false;
    };
    let length = QUESTION.len() as u32;
    let mut frame = (length + 4).to_be_bytes().to_vec();
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(QUESTION.as_bytes());
    let limit = stream.set_read_timeout(Some(ANSWER_PATIENCE));
    limit.is_ok() && stream.write_all(&frame).is_ok() && stream.read_exact(&mut [0; 8]).is_ok()
}
