//! What can go wrong between two peers.

use std::time::Duration;

use wire::frame::FrameError;

/// Why a server could not listen, or a connection or request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The listening address is taken.
    #[error(
        "cannot listen on {address}: the port is in use by another process; stop that process or set listenPort to another port"
    )]
    AddressInUse {
        /// Where the server was to listen.
        address: String,
    },
    /// The listening address can't be used for another reason.
    #[error("cannot listen on {address}: {reason}; check bindAddress and listenPort")]
    Bind {
        /// Where the server was to listen.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// A list of protocols names one that there is not.
    #[error(
        "kerolox.protocols cannot name `{name}`: the protocols are {known}, or all of them: all"
    )]
    UnknownProtocol {
        /// The name.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// A class of requests is named that there is not.
    #[error("kerolox.executors cannot name `{name}`: the classes are {known}")]
    UnknownClass {
        /// The name.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// The settings of TLS can't be used.
    #[error("TLS can't be served: {0}")]
    Tls(String),
    /// No connection could be made.
    #[error("cannot connect to {address}: {reason}; check the address and that the server runs")]
    Connect {
        /// The peer, as the caller named it.
        address: String,
        /// What the system says, or how long was waited.
        reason: String,
    },
    /// A request was not answered in time. It may have been carried out.
    #[error("{address} did not answer request code {code} within {} ms", timeout.as_millis())]
    Timeout {
        /// The peer.
        address: String,
        /// The request code.
        code: i32,
        /// How long was waited.
        timeout: Duration,
    },
    /// The connection is closed. A request under way may have been carried out.
    #[error("the connection to {address} is closed; {advice}")]
    Closed {
        /// The peer.
        address: String,
        /// What to do.
        advice: &'static str,
    },
    /// Too many requests of one connection wait for their answers.
    #[error(
        "{limit} requests to {address} already wait for their answers; wait for some of them first"
    )]
    TooManyRequests {
        /// The peer.
        address: String,
        /// How many may wait at a time.
        limit: usize,
    },
    /// The peer does not read what is sent to it.
    #[error("{unsent} bytes to {address} are unsent because it does not read them; send less")]
    Backlog {
        /// The peer.
        address: String,
        /// What waits to be written, in bytes.
        unsent: usize,
    },
    /// What the peer sent is not a stream of frames; the connection is closed.
    #[error("{address} sent what is not a frame: {error}; the connection is closed")]
    Frame {
        /// The peer.
        address: String,
        /// What is wrong with the bytes.
        error: FrameError,
    },
    /// Reading from or writing to a connection failed; it is closed.
    #[error("the connection to {address} failed: {reason}")]
    Io {
        /// The peer.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// The client has been shut down.
    #[error("the client is shut down; make a new one to send requests")]
    ShutDown,
}
