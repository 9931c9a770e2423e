//! The store as its users see it.

mod behaviour;
mod common;
mod golden;
mod model;
