//! The name server: brokers say where they are and what topics they have, clients ask.
//!
//! It answers as the name server of Apache RocketMQ 5.5.0 ("the reference") does. It has no data
//! but what living brokers have told it, beside a small key-value configuration kept in a file;
//! name servers know nothing of each other, and each broker registers with all of them.
//!
//! | module | what |
//! |---|---|
//! | `name_server` | start and stop |
//! | `settings` | the configuration keys |
//! | `routes` | every command served: its handler, and where that runs |
//! | `brokers`, `topics`, `kv`, `configuration` | the handlers: plain functions from a request to its answer |
//! | `state` | what they share |
//! | `route_table` | brokers and topics, and the rules they come and go by; no sockets, no clock |
//! | `zone`, `route_answers` | routes narrowed to a zone; routes as last encoded |
//! | `notices` | telling brokers that the smallest id of their group has changed |
//! | `kv_config`, `kept_file` | the key-value configuration; files replaced as a whole |
//! | `error` | what goes wrong, and its response code |
//!
//! A broker is given up at once when the connection it registered on closes, and after the time it
//! asked for (120 seconds by default) when it falls silent.

mod brokers;
mod configuration;
mod error;
mod kept_file;
mod kv;
mod kv_config;
mod name_server;
mod notices;
mod route_answers;
mod route_table;
mod routes;
mod settings;
mod state;
mod topics;
mod zone;

pub use error::NameServerError;
pub use name_server::NameServer;
pub use routes::SERVED;
pub use settings::{NameServerSettings, NamesrvConfig};
