//! Bodies of names and values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Names and values: runtime information, order configuration.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KVTable {
    /// Values by name.
    pub table: BTreeMap<String, String>,
}

/// The name server's key-value configuration, as its file has it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KVConfigSerializeWrapper {
    /// Values by namespace and name.
    pub config_table: BTreeMap<String, BTreeMap<String, String>>,
}
