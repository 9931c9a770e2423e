//! What RocketMQ clients and servers say to each other, read from the traffic itself.
//!
//! | module | what |
//! |---|---|
//! | `capture` | where traffic comes from, and what a source gives |

mod capture;

pub use capture::{Chunk, Flow, LinkType, Observed, Packet, Process, Source, Timestamp};
