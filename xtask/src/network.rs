//! Ports of this machine, and who listens there.

use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use wire::command::RequestCode;
use wire::frame::{Frame, Head, SerializeType, encode};
use wire::header::{EncodeHeader, NoHeader};

use crate::process::Result;

/// How long a connected server may take to answer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(120);

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
    ask(address, RequestCode::GetBrokerRuntimeInfo, &NoHeader, b"").is_some()
}

/// The code of a server's answer to a request on a connection of its own, if one comes.
pub(crate) fn ask(
    address: SocketAddr,
    code: RequestCode,
    header: &impl EncodeHeader,
    body: &[u8],
) -> Option<i32> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(ANSWER_PATIENCE)).ok()?;
    let mut request = BytesMut::new();
    let head = Head::request(code as i32, SerializeType::Json);
    encode(&head, None, header, body.len(), &mut request);
    request.extend_from_slice(body);
    stream.write_all(&request).ok()?;
    let mut answer = BytesMut::new();
    let mut piece = [0; 8192];
    loop {
        let read = stream.read(&mut piece).ok().filter(|read| *read > 0)?;
        answer.extend_from_slice(&piece[..read]);
        if let Some(frame) = Frame::decode(&mut answer).ok()? {
            return Some(frame.head.code);
        }
    }
}
