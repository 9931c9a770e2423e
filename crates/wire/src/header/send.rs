//! Headers of sending: messages, replies, returns to the broker, recalls.

use std::borrow::Cow;

use super::{Header, RpcFields, TopicRpcFields};

/// One message, or a batch, to store; field names in full.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "SendMessageRequestHeader")]
pub struct SendMessageRequest<'a> {
    /// Name of the sending producer group.
    #[header(required)]
    pub producer_group: Cow<'a, str>,
    /// Topic to store into, with its `%RETRY%` or `%DLQ%` prefix if it has one.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Topic whose settings an unknown topic is created with, `TBW102` by custom.
    #[header(required)]
    pub default_topic: Cow<'a, str>,
    /// Queues that the producer wants for a topic created by this request.
    #[header(required)]
    pub default_topic_queue_nums: i32,
    /// Queue to store into; a negative one leaves the choice to the broker.
    #[header(required)]
    pub queue_id: i32,
    /// System flag bits of the message: compression, transaction, host kinds.
    #[header(required)]
    pub sys_flag: i32,
    /// When the producer made the message, in milliseconds since 1970.
    #[header(required)]
    pub born_timestamp: i64,
    /// Flag bits of the application, kept with the message.
    #[header(required)]
    pub flag: i32,
    /// Properties of the message: name, 0x01, value, 0x02, and so on.
    pub properties: Option<Cow<'a, str>>,
    /// How often the message has been consumed without success.
    pub reconsume_times: Option<i32>,
    /// Whether the producer belongs to a unit of a multi-unit deployment.
    pub unit_mode: Option<bool>,
    /// Whether the body holds several messages.
    pub batch: Option<bool>,
    /// Consumptions after which a returned message goes to the dead letter queue.
    pub max_reconsume_times: Option<i32>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// [`SendMessageRequest`] with one letter for a name; what clients send.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "SendMessageRequestHeaderV2")]
pub struct SendMessageRequestV2<'a> {
    /// Name of the sending producer group.
    #[header(name = "a", required)]
    pub producer_group: Cow<'a, str>,
    /// Topic to store into, with its `%RETRY%` or `%DLQ%` prefix if it has one.
    #[header(name = "b", required)]
    pub topic: Cow<'a, str>,
    /// Topic whose settings an unknown topic is created with, `TBW102` by custom.
    #[header(name = "c", required)]
    pub default_topic: Cow<'a, str>,
    /// Queues that the producer wants for a topic created by this request.
    #[header(name = "d", required)]
    pub default_topic_queue_nums: i32,
    /// Queue to store into; a negative one leaves the choice to the broker.
    #[header(name = "e", required)]
    pub queue_id: i32,
    /// System flag bits of the message: compression, transaction, host kinds.
    #[header(name = "f", required)]
    pub sys_flag: i32,
    /// When the producer made the message, in milliseconds since 1970.
    #[header(name = "g", required)]
    pub born_timestamp: i64,
    /// Flag bits of the application, kept with the message.
    #[header(name = "h", required)]
    pub flag: i32,
    /// Properties of the message: name, 0x01, value, 0x02, and so on.
    #[header(name = "i")]
    pub properties: Option<Cow<'a, str>>,
    /// How often the message has been consumed without success.
    #[header(name = "j")]
    pub reconsume_times: Option<i32>,
    /// Whether the producer belongs to a unit of a multi-unit deployment.
    #[header(name = "k")]
    pub unit_mode: Option<bool>,
    /// Consumptions after which a returned message goes to the dead letter queue.
    #[header(name = "l")]
    pub max_reconsume_times: Option<i32>,
    /// Whether the body holds several messages.
    #[header(name = "m")]
    pub batch: Option<bool>,
    /// Name of the broker that is meant; proxies route by it.
    #[header(name = "n")]
    pub broker_name: Option<Cow<'a, str>>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// Where the message was stored.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "SendMessageResponseHeader")]
pub struct SendMessageResponse<'a> {
    /// Offset message id: the broker's address and the record's place in the commit log; for a
    /// batch one per message, joined by commas.
    #[header(required)]
    pub msg_id: Cow<'a, str>,
    /// Queue that the message went to.
    #[header(required)]
    pub queue_id: i32,
    /// Logical offset in that queue, of the first message of a batch.
    #[header(required)]
    pub queue_offset: i64,
    /// Unique id of a half message, to end its transaction with.
    pub transaction_id: Option<Cow<'a, str>>,
    /// Unique id of a batch, where inner batches are stored as one record.
    pub batch_uniq_id: Option<Cow<'a, str>>,
    /// Handle that recalls a timed message while it has not been delivered.
    pub recall_handle: Option<Cow<'a, str>>,
    /// Region of the broker, for message traces; added to the fields of the class.
    #[header(name = "MSG_REGION")]
    pub region_id: Option<Cow<'a, str>>,
    /// Whether message traces are wanted; added to the fields of the class.
    #[header(name = "TRACE_ON")]
    pub trace_on: Option<bool>,
}

/// A message that failed to be consumed, returned for a retry.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "ConsumerSendMsgBackRequestHeader")]
pub struct ConsumerSendMsgBackRequest<'a> {
    /// Place of the message in the commit log, in bytes.
    #[header(required)]
    pub offset: i64,
    /// Consumer group that failed.
    #[header(required)]
    pub group: Cow<'a, str>,
    /// Delay level of the retry; 0: by the number of retries so far, negative: to the dead letter
    /// queue at once.
    #[header(required)]
    pub delay_level: i32,
    /// Unique id of the message.
    pub origin_msg_id: Option<Cow<'a, str>>,
    /// Topic that the message was first sent to.
    pub origin_topic: Option<Cow<'a, str>>,
    /// Whether the consumer belongs to a unit of a multi-unit deployment.
    pub unit_mode: bool,
    /// Retries after which the message goes to the dead letter queue, for clients of version
    /// 3.4.9 and later.
    pub max_reconsume_times: Option<i32>,
    /// What every routed request may carry.
    #[header(flatten)]
    pub rpc: RpcFields<'a>,
}

/// A reply that the broker pushes to the client that waits for it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "ReplyMessageRequestHeader")]
pub struct ReplyMessageRequest<'a> {
    /// Producer group of the replying client.
    #[header(required)]
    pub producer_group: Cow<'a, str>,
    /// Reply topic of the cluster.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Topic whose settings an unknown topic would be created with.
    #[header(required)]
    pub default_topic: Cow<'a, str>,
    /// Queues of a topic so created.
    #[header(required)]
    pub default_topic_queue_nums: i32,
    /// Queue that the reply was sent to.
    #[header(required)]
    pub queue_id: i32,
    /// System flag bits of the reply.
    #[header(required)]
    pub sys_flag: i32,
    /// When the reply was made, in milliseconds since 1970.
    #[header(required)]
    pub born_timestamp: i64,
    /// Flag bits of the application.
    #[header(required)]
    pub flag: i32,
    /// Properties of the reply, the correlation id among them.
    pub properties: Option<Cow<'a, str>>,
    /// How often the reply has been consumed without success.
    pub reconsume_times: Option<i32>,
    /// Whether the sender belongs to a unit of a multi-unit deployment.
    pub unit_mode: bool,
    /// Address of the replying client.
    #[header(required)]
    pub born_host: Cow<'a, str>,
    /// Address of the broker.
    #[header(required)]
    pub store_host: Cow<'a, str>,
    /// When the broker took the reply, in milliseconds since 1970.
    #[header(required)]
    pub store_timestamp: i64,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// Takes back a timed message that has not been delivered.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "RecallMessageRequestHeader")]
pub struct RecallMessageRequest<'a> {
    /// Producer group that sent the message.
    pub producer_group: Option<Cow<'a, str>>,
    /// Topic of the message.
    #[header(required)]
    pub topic: Cow<'a, str>,
    /// Handle that the answer to the send carried.
    #[header(required)]
    pub recall_handle: Cow<'a, str>,
    /// What every request about a topic may carry.
    #[header(flatten)]
    pub rpc: TopicRpcFields<'a>,
}

/// What was taken back.
#[derive(Debug, Default, Clone, PartialEq, Eq, Header)]
#[header(name = "RecallMessageResponseHeader")]
pub struct RecallMessageResponse<'a> {
    /// Unique id of the recalled message.
    #[header(required)]
    pub msg_id: Cow<'a, str>,
    /// Region of the broker, for message traces; added to the fields of the class.
    #[header(name = "MSG_REGION")]
    pub region_id: Option<Cow<'a, str>>,
}
