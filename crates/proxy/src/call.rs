//! What is known of a call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;
use transport::HttpPeer;

use crate::proxy::State;

/// A call, with everything that its handler needs.
#[derive(Clone)]
pub(crate) struct Call {
    /// The proxy.
    pub(crate) state: Arc<State>,
    /// What the client calls itself (`x-mq-client-id`).
    pub(crate) client_id: String,
    /// Its version (`x-mq-client-version`).
    pub(crate) client_version: String,
    /// The other end of its connection.
    pub(crate) peer: SocketAddr,
    /// This end.
    pub(crate) local: SocketAddr,
    /// When the client stops waiting (`grpc-timeout`).
    deadline: Option<Instant>,
}

impl Call {
    /// What the headers and the connection say.
    pub(crate) fn new(state: &Arc<State>, headers: &HeaderMap, connection: HttpPeer) -> Self {
        let text = |name| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let timeout = headers
            .get("grpc-timeout")
            .and_then(|value| value.to_str().ok());
        Self {
            state: Arc::clone(state),
            client_id: text("x-mq-client-id"),
            client_version: text("x-mq-client-version"),
            peer: connection.peer,
            local: connection.local,
            deadline: timeout
                .and_then(timeout_of)
                .and_then(|timeout| Instant::now().checked_add(timeout)),
        }
    }

    /// How long the client still waits; `None` if it does not say.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        let now = Instant::now();
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(now))
    }
}

/// Reads a `grpc-timeout`: digits, then a unit.
fn timeout_of(text: &str) -> Option<Duration> {
    let (unit_at, unit) = text.char_indices().next_back()?;
    let number: u64 = text.get(..unit_at)?.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(number.checked_mul(3600)?),
        'M' => Duration::from_secs(number.checked_mul(60)?),
        'S' => Duration::from_secs(number),
        'm' => Duration::from_millis(number),
        'u' => Duration::from_micros(number),
        'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_of_a_timeout_is_known_and_nothing_else() {
        let read = |text| timeout_of(text).map(|timeout| timeout.as_micros());
        assert_eq!(read("1H"), Some(3_600_000_000));
        assert_eq!(read("31535999M"), Some(1_892_159_940_000_000));
        assert_eq!(read("2S"), Some(2_000_000));
        assert_eq!(read("3m"), Some(3000));
        assert_eq!(read("5682065u"), Some(5_682_065));
        assert_eq!(read("7000n"), Some(7));
        for wrong in ["", "5", "S", "-1S", "1s", "1é", "99999999999999999999H"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
