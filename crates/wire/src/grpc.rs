//! The messages of `apache.rocketmq.v2.MessagingService`, the gRPC API of the 5.x clients.
//!
//! Source in the reference: `definition.proto` and `service.proto` of `rocketmq-proto`. Field
//! numbers stand with the fields; a message type has the name of its source. Enums are open, as in
//! protobuf 3: a field holds the number, and its accessor reads a number without a name as the
//! first name.
//!
//! | module | what |
//! |---|---|
//! | [`rpc`] | the calls of the service, one line each |
//! | `code` | what answers say: [`Code`], [`Status`] |
//! | `resource` | topics and groups, brokers and queues, filters, times |
//! | `message` | a message with its properties |
//! | `client` | what a client says of itself, and the commands of its telemetry stream |
//! | `route`, `send`, `receive`, `offset` | requests and answers, by area |

mod client;
mod code;
mod message;
mod offset;
mod receive;
mod resource;
mod route;
pub mod rpc;
mod send;

pub use client::*;
pub use code::*;
pub use message::*;
pub use offset::*;
pub use receive::*;
pub use resource::*;
pub use route::*;
pub use send::*;
