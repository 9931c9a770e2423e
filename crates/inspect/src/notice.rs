//! Notices: what a user should know about the traffic or the capture, each said once.

use std::collections::HashSet;
use std::net::SocketAddr;

/// How many different notices are remembered; more are not made.
const MAX_NOTICES: usize = 4_096;

/// Something that a user should know.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Notice {
    /// A server's connections are encrypted.
    #[error(
        "connections to {0} are encrypted (TLS), so what is said there cannot be read: capture the processes instead, or turn TLS off"
    )]
    Encrypted(SocketAddr),
    /// A server speaks something else.
    #[error("{server} does not speak RocketMQ ({reason}), so its connections are left out")]
    Foreign {
        /// The server.
        server: SocketAddr,
        /// Why it cannot be RocketMQ.
        reason: &'static str,
    },
    /// Packets are cut off.
    #[error(
        "packets are cut off at {0} bytes, so large frames cannot be read: capture whole packets (tcpdump -s 0)"
    )]
    Cut(u32),
    /// Parts of a stream are missing.
    #[error(
        "parts of connections to {0} are missing in the capture; reading goes on at the next frame that can be recognized"
    )]
    Missing(SocketAddr),
    /// Parts of a stream cannot be understood.
    #[error(
        "parts of connections to {server} are no frames ({reason}); reading goes on at the next frame that can be recognized"
    )]
    Damaged {
        /// The server.
        server: SocketAddr,
        /// What is wrong.
        reason: String,
    },
    /// Messages of calls cannot be read.
    #[error("of a call to {server} {what}, so what it means is left out")]
    Unread {
        /// The server.
        server: SocketAddr,
        /// Which part of the call, and what is wrong with it.
        what: String,
    },
    /// A kind of link cannot be read.
    #[error(
        "packets of link type {0} cannot be read: capture on Ethernet, Linux cooked, loopback or raw IP"
    )]
    LinkType(u32),
    /// Too much to remember.
    #[error("more is under way than fits in memory: the connections silent longest are dropped")]
    Full,
}

/// The notices made.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    made: HashSet<Notice>,
    new: Vec<Notice>,
}

impl Notices {
    pub(crate) fn say(&mut self, notice: Notice) {
        if self.made.len() < MAX_NOTICES && self.made.insert(notice.clone()) {
            self.new.push(notice);
        }
    }

    pub(crate) fn take(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.new)
    }
}
