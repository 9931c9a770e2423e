//! The heads of HTTP/1.1 messages, where a handshake is all that is said in HTTP.

use std::io;

use bytes::{Buf, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use httparse::{EMPTY_HEADER, Header, Status};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest head that is read, in bytes.
pub(crate) const MAX_HEAD: usize = 16 * 1024;

/// The most fields in a head.
const MAX_FIELDS: usize = 64;

/// Reads the head of a request off the front, with its size; `None` while more bytes are needed.
///
/// # Errors
/// The bytes are no head, or one with too many fields.
pub(crate) fn request(bytes: &[u8]) -> io::Result<Option<(Request<()>, usize)>> {
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    let Status::Complete(size) = head.parse(bytes).map_err(malformed)? else {
        return Ok(None);
    };
    let (Some(method), Some(path)) = (head.method, head.path) else {
        return Err(malformed("no method"));
    };
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).map_err(malformed)?;
    *request.uri_mut() = path.parse().map_err(malformed)?;
    *request.headers_mut() = header_map(head.headers)?;
    Ok(Some((request, size)))
}

/// The same for an answer.
///
/// # Errors
/// Those of [`request`].
pub(crate) fn response(bytes: &[u8]) -> io::Result<Option<(Response<()>, usize)>> {
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    let mut head = httparse::Response::new(&mut fields);
    let Status::Complete(size) = head.parse(bytes).map_err(malformed)? else {
        return Ok(None);
    };
    let mut response = Response::new(());
    *response.status_mut() =
        StatusCode::from_u16(head.code.unwrap_or_default()).map_err(malformed)?;
    *response.headers_mut() = header_map(head.headers)?;
    Ok(Some((response, size)))
}

/// Reads a head and takes it off the front of what was received.
///
/// # Errors
/// Reading failed, the stream ended, or the bytes are no head of up to 16 KiB.
pub(crate) async fn read<H>(
    stream: &mut (impl AsyncRead + Unpin),
    received: &mut BytesMut,
    parse: impl Fn(&[u8]) -> io::Result<Option<(H, usize)>>,
) -> io::Result<H> {
    loop {
        if let Some((head, size)) = parse(received)? {
            received.advance(size);
            return Ok(head);
        }
        if received.len() >= MAX_HEAD {
            return Err(malformed("longer than 16 KiB"));
        }
        received.reserve(1024);
        if stream.read_buf(received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Whether a field that is a list of names has this one, in upper or lower case.
pub(crate) fn names(headers: &HeaderMap, field: HeaderName, name: &str) -> bool {
    let values = headers.get_all(field).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| known.trim().eq_ignore_ascii_case(name))
}

fn header_map(fields: &[Header<'_>]) -> io::Result<HeaderMap> {
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(malformed)?;
        let value = HeaderValue::from_bytes(field.value).map_err(malformed)?;
        map.append(name, value);
    }
    Ok(map)
}

fn malformed(why: impl std::fmt::Display) -> io::Error {
    let text = format!("what came is no head of an HTTP message: {why}");
    io::Error::new(io::ErrorKind::InvalidData, text)
}
