//! Where the queues of a topic are.

use prost::Message;

use super::{Endpoints, MessageQueue, Resource, Status};

/// Which queues has a topic?
#[derive(Clone, PartialEq, Eq, Message)]
pub struct QueryRouteRequest {
    /// The topic.
    #[prost(message, optional, tag = "1")]
    pub topic: Option<Resource>,
    /// Where the client reaches the server.
    #[prost(message, optional, tag = "2")]
    pub endpoints: Option<Endpoints>,
}

/// Answer to [`QueryRouteRequest`].
#[derive(Clone, PartialEq, Eq, Message)]
pub struct QueryRouteResponse {
    /// How it went.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    /// The queues.
    #[prost(message, repeated, tag = "2")]
    pub message_queues: Vec<MessageQueue>,
}

/// Which queues shall a consumer receive from?
#[derive(Clone, PartialEq, Eq, Message)]
pub struct QueryAssignmentRequest {
    /// The topic.
    #[prost(message, optional, tag = "1")]
    pub topic: Option<Resource>,
    /// The consumer's group.
    #[prost(message, optional, tag = "2")]
    pub group: Option<Resource>,
    /// Where the client reaches the server.
    #[prost(message, optional, tag = "3")]
    pub endpoints: Option<Endpoints>,
}

/// A queue that a consumer shall receive from.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Assignment {
    /// The queue; with number -1 all of the broker.
    #[prost(message, optional, tag = "1")]
    pub message_queue: Option<MessageQueue>,
}

/// Answer to [`QueryAssignmentRequest`].
#[derive(Clone, PartialEq, Eq, Message)]
pub struct QueryAssignmentResponse {
    /// How it went.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    /// The queues.
    #[prost(message, repeated, tag = "2")]
    pub assignments: Vec<Assignment>,
}
