//! Ports of this machine, and who listens there.

use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use crate::process::Result;

/// How long a connected server may take to answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(120);

/// `GET_BROKER_RUNTIME_INFO`, as JSON.
const QUESTION: &str = r#"{"code":28,"flag":0,"language":"JAVA","opaque":1,"serializeTypeCurrentRPC":"JSON","version":513}"#;

/// Where free ports are looked for: below those that the system gives to clients, which keep them
/// for a minute after their connections.
const PORTS: Range<u16> = 10_000..32_000;

/// The first of so many free ports in a row, which were not given before: who got them may listen
/// there only later.
pub(crate) fn free_ports(count: u16) -> Result<u16> {
    // Somewhere else in each run, since others look for ports, too.
    static NEXT: LazyLock<Mutex<u16>> = LazyLock::new(|| {
        let start = RandomState::new().hash_one(()) % u64::from(PORTS.end - PORTS.start);
        Mutex::new(PORTS.start + start as u16)
    });
    let free = |port: u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    let first = (*next..PORTS.end - count)
        .chain(PORTS.start..PORTS.end - count)
        .find(|first| (*first..first + count).all(free))
        .ok_or_else(|| format!("no {count} free ports in a row were found"))?;
    *next = first + count;
    Ok(first)
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
