//! A name server as brokers and clients meet it, over sockets.

#![allow(clippy::unwrap_used, reason = "a test fails where it finds nothing")]

mod brokers;
mod golden;
mod topics;
mod world;
