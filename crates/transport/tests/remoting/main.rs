//! Servers and clients over real sockets.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_frames;
mod choice;
mod closing;
mod floods;
mod http;
mod http_floods;
mod limits;
mod listeners;
mod mixed;
mod networks;
mod peer;
mod protocols;
mod requests;
mod tls;
mod websocket;
