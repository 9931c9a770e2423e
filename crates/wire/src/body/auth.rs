//! Bodies about users and access control.

use serde::{Deserialize, Serialize};

/// A user.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UserInfo {
    /// Password; not shown to all.
    pub password: Option<String>,
    /// `enable` or `disable`.
    pub user_status: Option<String>,
    /// `Super` or `Normal`.
    pub user_type: Option<String>,
    /// Name of the user.
    pub username: Option<String>,
}

/// What a subject may do.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AclInfo {
    /// Policies.
    pub policies: Vec<PolicyInfo>,
    /// Whom they are for, such as `User:alice`.
    pub subject: Option<String>,
}

/// One policy.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyInfo {
    /// Its rules.
    pub entries: Vec<PolicyEntryInfo>,
    /// `Custom` or `Default`.
    pub policy_type: Option<String>,
}

/// One rule.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyEntryInfo {
    /// What is done: `Pub`, `Sub`, `Create`, `Update`, `Delete`, `Get`, `List`, `All`.
    pub actions: Vec<String>,
    /// `Allow` or `Deny`.
    pub decision: Option<String>,
    /// To what, such as `Topic:*`.
    pub resource: Option<String>,
    /// From where: addresses, ranges such as `192.0.2.0/24`, or `*`.
    pub source_ips: Vec<String>,
}
