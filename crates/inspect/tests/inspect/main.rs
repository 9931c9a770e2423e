//! The analyser on captures: those of the reference's own clients and servers, and made ones.

mod bodies;
mod follow;
mod golden;
mod made;
mod sources;
mod streams;
mod support;
mod timing;
