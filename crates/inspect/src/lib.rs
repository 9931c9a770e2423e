//! What RocketMQ clients and servers say to each other, read from the traffic itself.
//!
//! | module | what |
//! |---|---|
//! | `capture` | where traffic comes from, and what a source gives; capture files |
//! | `packet` | from packets to segments of TCP |
//! | `stream` | one direction of a connection, put in order |
//! | `protocol` | what is spoken on a connection: frames and calls |
//! | `message` | what a command means |
//! | `conversation` | a connection's requests and responses, put together to exchanges |
//! | `exchange` | one request, what it means, and what became of it |
//! | `inspector` | from what a source saw to exchanges, with bounded memory |
//! | `session` | who is there, what they produce and consume, how far they have come |
//! | `statistics` | how many exchanges of what, how fast, how many went wrong |
//! | [`view`] | exchanges as people and programs read them |
//! | [`terminal`] | exchanges as one browses them |
//! | `filter` | which exchanges are looked at |
//! | `follow` | the way of one message |
//! | `notice` | what a user should know, each said once |

mod capture;
mod conversation;
mod exchange;
mod filter;
mod follow;
mod inspector;
mod message;
mod names;
mod notice;
mod packet;
mod protocol;
mod session;
mod statistics;
mod stream;
pub mod terminal;
pub mod view;

#[cfg(target_os = "linux")]
pub use capture::give_way;
pub use capture::{
    CaptureFile, Chunk, FileFormat, Flow, LinkType, Live, Observed, Packet, Process, Recorder,
    Source, Timestamp, Who,
};
pub use exchange::{
    Action, Command, Exchange, Message, MessageType, Outcome, Protocol, Shares, Side, Status,
    Timing, Unanswered,
};
pub use filter::Filter;
pub use follow::{Follow, Happening, Step};
pub use inspector::{Counts, Inspector, Options};
pub use notice::Notice;
pub use session::{Client, Connection, Group, Progress, QueueKey, Sent, Sessions};
pub use statistics::{Row, Statistics, Table};
