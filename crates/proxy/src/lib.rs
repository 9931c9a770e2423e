//! The proxy role: the gRPC API of the 5.x clients, `apache.rocketmq.v2.MessagingService`.
//!
//! A [`Proxy`] knows nothing of a broker's insides: it asks name servers and brokers by remoting
//! commands, as any client does, so it serves a cluster of either kind. It is reached on a port
//! of its own, plain or in TLS, and on every server that is given [`Proxy::service`].
//!
//! | module | what |
//! |---|---|
//! | `proxy` | starting and stopping |
//! | `routes` | which handler serves which call, one line each |
//! | `call`, `grpc` | what is known of a call; messages in and out of HTTP bodies |
//! | `cluster`, `cache` | name servers and brokers: asking, finding, remembering |
//! | `route`, `sending`, `receiving`, `acknowledging`, `batch_ack`, `transactions`, `lite`, `telemetry`, `activity` | the calls by area |
//! | `clients`, `renewal` | who is connected; what is hidden for them |
//! | `questions`, `presence` | what brokers ask clients; consumers as brokers see them |
//! | `message`, `handles` | messages to properties and records, and back; what they are acknowledged with |
//! | `metrics` | what those are told who watch the proxy |
//! | `validate`, `error`, `settings` | what is refused, how that is told, the configuration keys |

mod acknowledging;
mod activity;
mod batch_ack;
mod cache;
mod call;
mod clients;
mod cluster;
mod error;
mod grpc;
mod handles;
mod lite;
mod message;
mod metrics;
mod presence;
mod proxy;
mod questions;
mod receiving;
mod renewal;
mod route;
mod routes;
mod sending;
mod settings;
mod telemetry;
mod transactions;
mod validate;

pub use proxy::Proxy;
pub use routes::SERVED;
pub use settings::{ProxyConfig, ProxySettings};
