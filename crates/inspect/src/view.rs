//! Views: exchanges as people and programs read them.

pub mod json;
pub mod line;
pub mod metrics;
pub mod report;
pub mod table;
pub mod time;
