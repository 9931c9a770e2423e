//! The store as its users see it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod batch_queues;
mod behaviour;
mod common;
mod damage;
mod faults;
mod filter_bits;
mod golden;
mod index;
mod model;
mod offline;
mod retention;
mod timer;
