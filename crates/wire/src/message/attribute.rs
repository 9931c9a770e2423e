//! Names of attributes: settings that topics and groups were given later
//! (`TopicAttributes`, `SubscriptionGroupAttributes`, `LiteSubModel`).

/// What the entries of a topic's queues stand for.
pub const QUEUE_TYPE: &str = "queue.type";
/// How messages leave a topic.
pub const CLEANUP_POLICY: &str = "cleanup.policy";
/// Which kind of messages a topic is for.
pub const MESSAGE_TYPE: &str = "message.type";
/// How long a topic's messages are kept, in milliseconds.
pub const RESERVE_TIME: &str = "reserve.time";
/// How long a lite topic lives without a message, in minutes.
pub const LITE_EXPIRATION: &str = "lite.topic.expiration";

/// How many pops of a hundred have a group get messages by priority.
pub const PRIORITY_FACTOR: &str = "priority.factor";
/// The topic whose lite topics a group consumes.
pub const LITE_BIND_TOPIC: &str = "lite.bind.topic";
/// Whether members of a group share a lite topic.
pub const LITE_SUB_MODEL: &str = "lite.sub.model";
/// The value of [`LITE_SUB_MODEL`] by which a lite topic has one client at a time.
pub const LITE_EXCLUSIVE: &str = "Exclusive";
/// Whether who takes a lite topic from another member starts anew.
pub const LITE_RESET_OFFSET_EXCLUSIVE: &str = "lite.sub.reset.offset.exclusive";
/// Whether a lite topic that is left starts anew.
pub const LITE_RESET_OFFSET_UNSUBSCRIBE: &str = "lite.sub.reset.offset.unsubscribe";
/// How many lite topics each client may subscribe to.
pub const LITE_CLIENT_QUOTA: &str = "lite.sub.client.quota";
/// How many lite topics with messages are kept for each client.
pub const LITE_CLIENT_MAX_EVENT_COUNT: &str = "lite.sub.client.max.event.cnt";
/// Its presence has the members of a group take all lite topics.
pub const LITE_WILDCARD: &str = "lite.sub.wildcard";
