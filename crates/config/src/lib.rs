//! Configuration keys, each declared once.
//!
//! A crate that has settings declares them with [`settings!`]: one item per
//! key gives its name in configuration files, its type, default, bounds and
//! documentation. A role joins several such groups into one flat name space
//! with [`groups!`], as `broker.conf` of Apache RocketMQ 5.5.0 ("the
//! reference") does. Everything else derives from the declarations: reading
//! files ([`load()`]), the answer to `getBrokerConfig` ([`Live::properties`]),
//! `updateBrokerConfig` ([`Live::update`]) and the reference page ([`page`]).
//!
//! This crate knows keys and values. It does not know what a broker is.
//!
//! ```
//! config::settings! {
//!     /// How messages reach the disk.
//!     pub struct FlushConfig from "MessageStoreConfig" {
//!         /// Time between two flushes of the commit log, in milliseconds.
//!         "flushIntervalCommitLog" flush_interval_commit_log: u32 = 500, range(1..=60_000), reloadable;
//!     }
//! }
//! # extern crate kerolox_config as config;
//! # fn main() {
//! use config::Settings;
//!
//! let mut flush = FlushConfig::default();
//! flush.set("flushIntervalCommitLog", "200").unwrap();
//! assert_eq!(flush.flush_interval_commit_log, 200);
//! let refused = flush.set("flushIntervalCommitLog", "0").unwrap_err();
//! assert_eq!(
//!     refused.to_string(),
//!     "`flushIntervalCommitLog` cannot be `0`: it takes a whole number from 1 to 60000"
//! );
//! # }
//! ```

mod error;
mod json_file;
mod key;
mod live;
mod load;
mod log;
pub mod machine;
mod macros;
mod nearest;
pub mod page;
pub mod properties;
pub mod reference;
mod settings;
mod toml_file;
mod value;

pub use error::ConfigError;
pub use key::{Key, KeyInfo};
pub use live::{Change, Live, Updated};
pub use load::{Entry, Loaded, load, parse_json, parse_properties, parse_toml};
pub use log::LogConfig;
pub use settings::{Settings, unknown_key};
pub use value::{Kind, Value};
