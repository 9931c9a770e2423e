//! The broker role: takes messages, keeps them, and hands them to consumers.
//!
//! [`RunningBroker`] is a broker. Inside, `broker` holds the state that everything shares,
//! `routes` tells which command is served by what, and each other module is one subject: its
//! state, its rules, its handlers. A handler is a function from a typed request to a typed reply;
//! it never touches bytes of frames, and knows nothing of sockets.
//!
//! Locks are short, never held across an await, and never taken while another one is held, but
//! for those that a table's own file writing needs, that of `transaction`, which is held over an
//! append, the one of a group's pops of a topic, and for a group's order in a lite topic, which is
//! locked while its messages are read and its offset is committed. The one of `other_brokers` is
//! held while the name servers are asked.

mod admin;
mod attributes;
mod broadcast_offsets;
mod broker;
mod changes;
mod clients;
mod cold_data;
mod compaction;
mod delivery;
mod error;
mod existing;
mod filter;
mod groups;
mod lite;
mod locks;
mod long_polling;
mod metrics;
mod offsets;
mod other_brokers;
mod pop;
mod pull;
mod rates;
mod registration;
mod reply;
mod requested;
mod routes;
mod schedule;
mod send;
mod send_back;
mod settings;
mod static_topics;
mod statistics;
mod table_file;
#[cfg(test)]
mod test_clock;
mod timer;
mod topics;
mod traffic;
mod transaction;
mod versioned_table;

pub use broker::{RunningBroker, StartError};
pub use pop::PopConfig;
pub use routes::SERVED;
pub use settings::{BrokerConfig, BrokerSettings};
