//! The names of the properties RocketMQ itself knows (`MessageConst`, without the prefix
//! `PROPERTY_` where it has one), and a few values of them.

/// Keys to find the message by, separated by [`KEY_SEPARATOR`].
pub const KEYS: &str = "KEYS";
/// Tag consumers filter by.
pub const TAGS: &str = "TAGS";
/// `false`: the producer does not want the answer to wait for disk or replicas.
pub const WAIT_STORE_MSG_OK: &str = "WAIT";
/// Delay level, from 1; the broker's `messageDelayLevel` says how long each is.
pub const DELAY_TIME_LEVEL: &str = "DELAY";
/// Topic of a message that is being retried.
pub const RETRY_TOPIC: &str = "RETRY_TOPIC";
/// Consumer group a retried message belongs to.
pub const ORIGIN_GROUP: &str = "ORIGIN_GROUP";
/// Topic a delayed or half message is really for.
pub const REAL_TOPIC: &str = "REAL_TOPIC";
/// Queue a delayed or half message is really for.
pub const REAL_QUEUE_ID: &str = "REAL_QID";
/// `true`: a transaction's half message.
pub const TRANSACTION_PREPARED: &str = "TRAN_MSG";
/// Producer group of a transactional message.
pub const PRODUCER_GROUP: &str = "PGROUP";
/// The queue's smallest offset, told to consumers.
pub const MIN_OFFSET: &str = "MIN_OFFSET";
/// The queue's largest offset, told to consumers.
pub const MAX_OFFSET: &str = "MAX_OFFSET";
/// Id for filtering by unit.
pub const BUYER_ID: &str = "BUYER_ID";
/// Offset message id of the message first sent, on its retries.
pub const ORIGIN_MESSAGE_ID: &str = "ORIGIN_MESSAGE_ID";
/// Mark of a transferred message.
pub const TRANSFER_FLAG: &str = "TRANSFER_FLAG";
/// Mark of a corrected message.
pub const CORRECTION_FLAG: &str = "CORRECTION_FLAG";
/// Mark of a message from MetaQ 2.
pub const MQ2_FLAG: &str = "MQ2_FLAG";
/// How often the message was consumed, on a message sent back.
pub const RECONSUME_TIME: &str = "RECONSUME_TIME";
/// Region of the broker, for traces.
pub const MSG_REGION: &str = "MSG_REGION";
/// Whether the broker wants traces of the message.
pub const TRACE_SWITCH: &str = "TRACE_ON";
/// The message's unique id, made by the client ([`UniqueId`](super::id::UniqueId)).
pub const UNIQ_CLIENT_MESSAGE_ID_KEYIDX: &str = "UNIQ_KEY";
/// Offset of the half message.
pub const TRANS_OFFSET: &str = "TRANS_OFFSET";
/// Id given by an extension.
pub const EXTEND_UNIQ_INFO: &str = "EXTEND_UNIQ_INFO";
/// How often the message may be retried before it is given up.
pub const MAX_RECONSUME_TIMES: &str = "MAX_RECONSUME_TIMES";
/// When consuming it started, milliseconds since 1970.
pub const CONSUME_START_TIMESTAMP: &str = "CONSUME_START_TIME";
/// Priority of the message, from 0.
pub const PRIORITY: &str = "_SYS_MSG_PRIORITY_";
/// Messages in an inner batch.
pub const INNER_NUM: &str = "INNER_NUM";
/// Queue offset of the first message of an inner batch.
pub const INNER_BASE: &str = "INNER_BASE";
/// Where the message came from, for deduplication: two parts joined by `_`.
pub const DUP_INFO: &str = "DUP_INFO";
/// Seconds before a half message is first checked.
pub const CHECK_IMMUNITY_TIME_IN_SECONDS: &str = "CHECK_IMMUNITY_TIME_IN_SECONDS";
/// Queue offset of a half message that was put back.
pub const TRANSACTION_PREPARED_QUEUE_OFFSET: &str = "TRAN_PREPARED_QUEUE_OFFSET";
/// Id of the transaction, the message's unique id.
pub const TRANSACTION_ID: &str = "__transactionId__";
/// How often a half message has been checked.
pub const TRANSACTION_CHECK_TIMES: &str = "TRANSACTION_CHECK_TIMES";
/// Namespace of the message.
pub const INSTANCE_ID: &str = "INSTANCE_ID";
/// Joins a request to its reply.
pub const CORRELATION_ID: &str = "CORRELATION_ID";
/// Client id the reply to a request goes to.
pub const MESSAGE_REPLY_TO_CLIENT: &str = "REPLY_TO_CLIENT";
/// Milliseconds a request waits for its reply.
pub const MESSAGE_TTL: &str = "TTL";
/// When the broker got a reply, milliseconds since 1970.
pub const REPLY_MESSAGE_ARRIVE_TIME: &str = "ARRIVE_TIME";
/// When the broker pushed a reply, milliseconds since 1970.
pub const PUSH_REPLY_TIME: &str = "PUSH_REPLY_TIME";
/// Cluster of the broker that stored the message.
pub const CLUSTER: &str = "CLUSTER";
/// Type of the message; `reply` marks replies.
pub const MESSAGE_TYPE: &str = "MSG_TYPE";
/// POP: the handle to acknowledge with ([`ExtraInfo`](super::pop::ExtraInfo)).
pub const POP_CK: &str = "POP_CK";
/// POP: queue offset of the check point.
pub const POP_CK_OFFSET: &str = "POP_CK_OFFSET";
/// POP: when the message was first taken, milliseconds since 1970.
pub const FIRST_POP_TIME: &str = "1ST_POP_TIME";
/// Key that chose the queue of an ordered message.
pub const SHARDING_KEY: &str = "__SHARDINGKEY";
/// Lite topic of the message.
pub const LITE_TOPIC: &str = "__LITE_TOPIC";
/// Queue the message is to be forwarded to.
pub const FORWARD_QUEUE_ID: &str = "PROPERTY_FORWARD_QUEUE_ID";
/// Mark of a redirected message.
pub const REDIRECT: &str = "REDIRECT";
/// Light message queues the message is also put into, separated by commas.
pub const INNER_MULTI_DISPATCH: &str = "INNER_MULTI_DISPATCH";
/// Offsets in the queues of [`INNER_MULTI_DISPATCH`], separated by commas.
pub const INNER_MULTI_QUEUE_OFFSET: &str = "INNER_MULTI_QUEUE_OFFSET";
/// Context of a distributed trace.
pub const TRACE_CONTEXT: &str = "TRACE_CONTEXT";
/// Timer: seconds until delivery.
pub const TIMER_DELAY_SEC: &str = "TIMER_DELAY_SEC";
/// Timer: when to deliver, milliseconds since 1970.
pub const TIMER_DELIVER_MS: &str = "TIMER_DELIVER_MS";
/// The producer's address, where a proxy sent in its place.
pub const BORN_HOST: &str = "__BORNHOST";
/// The producer's clock, where a proxy sent in its place.
pub const BORN_TIMESTAMP: &str = "BORN_TIMESTAMP";
/// Begins the names of properties that are not stored.
pub const TRANSIENT_PREFIX: &str = "__RMQ.TRANSIENT.";
/// System flag of the topic, for the time of processing.
pub const TRANSIENT_TOPIC_CONFIG: &str = "__RMQ.TRANSIENT.TOPIC_SYS_FLAG";
/// System flag of the group, for the time of processing.
pub const TRANSIENT_GROUP_CONFIG: &str = "__RMQ.TRANSIENT.GROUP_SYS_FLAG";
/// Separates the keys of [`KEYS`] and the parts of POP's texts.
pub const KEY_SEPARATOR: char = ' ';
/// Index by key.
pub const INDEX_KEY_TYPE: &str = "K";
/// Index by unique id.
pub const INDEX_UNIQUE_TYPE: &str = "U";
/// Index by tag.
pub const INDEX_TAG_TYPE: &str = "T";
/// Which engine keeps a timer message.
pub const TIMER_ENGINE_TYPE: &str = "E_T";
/// [`TIMER_ENGINE_TYPE`]: the time line in RocksDB.
pub const TIMER_ENGINE_ROCKSDB_TIMELINE: &str = "R";
/// [`TIMER_ENGINE_TYPE`]: the time wheel in files.
pub const TIMER_ENGINE_FILE_TIME_WHEEL: &str = "F";
/// Timer: when the message entered the wheel, milliseconds since 1970.
pub const TIMER_ENQUEUE_MS: &str = "TIMER_ENQUEUE_MS";
/// Timer: when the message left the wheel, milliseconds since 1970.
pub const TIMER_DEQUEUE_MS: &str = "TIMER_DEQUEUE_MS";
/// Timer: how often the message was put into the wheel again.
pub const TIMER_ROLL_TIMES: &str = "TIMER_ROLL_TIMES";
/// Timer: when to deliver, as the broker computed it, milliseconds since 1970.
pub const TIMER_OUT_MS: &str = "TIMER_OUT_MS";
/// Timer: unique id of the message to recall.
pub const TIMER_DEL_UNIQKEY: &str = "TIMER_DEL_UNIQKEY";
/// Timer: mark of a message put into the wheel again.
pub const TIMER_ROLL_LABEL: &str = "TIMER_ROLL_LABEL";
/// Timer: the delay level it came from.
pub const TIMER_DELAY_LEVEL: &str = "TIMER_DELAY_LEVEL";
/// Timer: milliseconds until delivery.
pub const TIMER_DELAY_MS: &str = "TIMER_DELAY_MS";
/// CRC of the stored record ([`record`](super::record)).
pub const CRC32: &str = "__CRC32#";
/// Topic of a message in a dead letter queue.
pub const DLQ_ORIGIN_TOPIC: &str = "DLQ_ORIGIN_TOPIC";
/// Offset message id of a message in a dead letter queue.
pub const DLQ_ORIGIN_MESSAGE_ID: &str = "DLQ_ORIGIN_MESSAGE_ID";

/// The names an application must not use for properties of its own (`STRING_HASH_SET`).
pub const RESERVED: [&str; 54] = [
    TRACE_SWITCH,
    MSG_REGION,
    KEYS,
    TAGS,
    WAIT_STORE_MSG_OK,
    DELAY_TIME_LEVEL,
    RETRY_TOPIC,
    ORIGIN_GROUP,
    REAL_TOPIC,
    REAL_QUEUE_ID,
    TRANSACTION_PREPARED,
    PRODUCER_GROUP,
    MIN_OFFSET,
    MAX_OFFSET,
    BUYER_ID,
    ORIGIN_MESSAGE_ID,
    TRANSFER_FLAG,
    CORRECTION_FLAG,
    MQ2_FLAG,
    RECONSUME_TIME,
    UNIQ_CLIENT_MESSAGE_ID_KEYIDX,
    MAX_RECONSUME_TIMES,
    CONSUME_START_TIMESTAMP,
    POP_CK,
    POP_CK_OFFSET,
    FIRST_POP_TIME,
    TRANSACTION_PREPARED_QUEUE_OFFSET,
    DUP_INFO,
    EXTEND_UNIQ_INFO,
    INSTANCE_ID,
    CORRELATION_ID,
    MESSAGE_REPLY_TO_CLIENT,
    MESSAGE_TTL,
    REPLY_MESSAGE_ARRIVE_TIME,
    PUSH_REPLY_TIME,
    CLUSTER,
    MESSAGE_TYPE,
    INNER_MULTI_QUEUE_OFFSET,
    TIMER_DELAY_MS,
    TIMER_DELAY_SEC,
    TIMER_DELIVER_MS,
    TIMER_ENQUEUE_MS,
    TIMER_DEQUEUE_MS,
    TIMER_ROLL_TIMES,
    TIMER_OUT_MS,
    TIMER_DEL_UNIQKEY,
    TIMER_DELAY_LEVEL,
    BORN_HOST,
    BORN_TIMESTAMP,
    DLQ_ORIGIN_TOPIC,
    DLQ_ORIGIN_MESSAGE_ID,
    CRC32,
    PRIORITY,
    LITE_TOPIC,
];

/// Whether an application must not use `name` for a property of its own.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}
