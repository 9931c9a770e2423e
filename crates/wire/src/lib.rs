//! The RocketMQ wire protocol: bytes to values and back.
//!
//! Pure: no sockets, files, clocks or tasks, so that a server, a client, an analyser and a
//! fuzzer use the same code.

extern crate self as wire;

pub mod body;
pub mod calendar;
pub mod code;
pub mod command;
pub mod frame;
pub mod grpc;
pub mod header;
mod json;
pub mod message;
