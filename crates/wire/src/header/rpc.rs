//! Fields that the reference's headers inherit (`RpcRequestHeader`, `TopicRequestHeader`).

use std::borrow::Cow;

use super::Header;

/// What every routed request may carry (`RpcRequestHeader`).
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "RpcRequestHeader")]
pub struct RpcFields<'a> {
    /// Namespace of the resources named in the request.
    #[header(name = "ns")]
    pub namespace: Option<Cow<'a, str>>,
    /// Whether the names in the request already start with the namespace.
    #[header(name = "nsd")]
    pub namespaced: Option<bool>,
    /// Name of the broker that is meant; a static topic's logical broker may be another.
    #[header(name = "bname")]
    pub broker_name: Option<Cow<'a, str>>,
    /// Whether the caller wants no answer.
    #[header(name = "oway")]
    pub oneway: Option<bool>,
}

/// What a request about a topic may carry (`TopicRequestHeader`).
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "TopicRequestHeader")]
pub struct TopicRpcFields<'a> {
    /// Whether the queue ids are those of a static topic's logical queues.
    #[header(name = "lo")]
    pub logical: Option<bool>,
    /// What every routed request may carry.
    #[header(flatten)]
    pub rpc: RpcFields<'a>,
}
