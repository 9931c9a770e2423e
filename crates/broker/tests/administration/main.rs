//! Administration and clients' bookkeeping, as a client and a tool meet them on the wire.

#![allow(clippy::unwrap_used, reason = "a test fails where it finds nothing")]

mod broker;
mod clients;
mod filters;
mod light_queues;
mod lite_topics;
mod messages;
mod offsets;
mod permissions;
mod priorities;
mod refusals;
mod rig;
mod static_topics;
mod statistics;
mod topics_and_groups;
