//! What RocketMQ clients and servers say to each other, read from the traffic itself.
//!
//! | module | what |
//! |---|---|
//! | `capture` | where traffic comes from, and what a source gives |
//! | `inspector` | from what a source saw to exchanges |
//! | `exchange` | one request, what it means, and what became of it |
//! | `session` | who is there, what they produce and consume, how far they have come |
//! | `statistics` | how many exchanges of what, how fast, how many went wrong |
//! | `notice` | what a user should know, each said once |

mod capture;
mod exchange;
mod inspector;
mod notice;
mod session;
mod statistics;

pub use capture::{Chunk, Flow, LinkType, Live, Observed, Packet, Process, Source, Timestamp, Who};
pub use exchange::{
    Action, Command, Exchange, Message, MessageType, Outcome, Protocol, Shares, Side, Status,
    Timing, Unanswered,
};
pub use inspector::{Counts, Inspector, Options};
pub use notice::Notice;
pub use session::{Client, Connection, Group, Progress, QueueKey, Sent, Sessions};
pub use statistics::{Row, Statistics, Table};
