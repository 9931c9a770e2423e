//! Commands of administration, and those by which clients say and ask what goes on, by subject.

use serde::de::DeserializeOwned;
use wire::body::json;
use wire::body::version::DataVersion;

use crate::error::BrokerError;

pub(crate) mod ask_client;
pub(crate) mod client;
pub(crate) mod group;
pub(crate) mod lite;
pub(crate) mod message;
pub(crate) mod offset;
pub(crate) mod progress;
pub(crate) mod runtime;
pub(crate) mod settings;
pub(crate) mod topic;

/// Most entries of a table in one page (`splitMetadataSize`).
const PAGE: usize = 2000;

/// Reads the JSON body of a request.
pub(crate) fn read_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, BrokerError> {
    json::read(body).map_err(|error| BrokerError::Body(error.to_string()))
}

/// Which part of a table to answer: how many entries to skip, and how many there are at most.
/// Paging starts again when the table has changed since the first page; a client that does not
/// know of pages gets all.
fn page(seen: Option<&str>, skip: i32, count: Option<i32>, version: DataVersion) -> (usize, usize) {
    let count = match (seen, count) {
        (None, None) => return (0, usize::MAX),
        (_, None) => PAGE,
        (_, Some(count)) => PAGE.min(usize::try_from(count).unwrap_or_default()),
    };
    let seen = seen.and_then(|seen| json::read::<DataVersion>(seen.as_bytes()).ok());
    let skip = if seen == Some(version) {
        usize::try_from(skip).unwrap_or_default()
    } else {
        0
    };
    (skip, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_go_on_while_the_table_stays_the_same() {
        let version = DataVersion {
            counter: 3,
            state_version: 0,
            timestamp: 7,
        };
        let same = r#"{"counter":3,"stateVersion":0,"timestamp":7}"#;
        assert_eq!(page(None, 0, None, version), (0, usize::MAX));
        assert_eq!(page(Some(""), 0, Some(100), version), (0, 100));
        assert_eq!(page(Some(same), 100, Some(100), version), (100, 100));
        assert_eq!(page(Some(same), 100, Some(i32::MAX), version), (100, PAGE));
        let changed = DataVersion {
            counter: 4,
            ..version
        };
        assert_eq!(page(Some(same), 100, Some(100), changed), (0, 100));
        assert_eq!(page(Some(same), -1, Some(-1), version), (0, 0));
    }
}
