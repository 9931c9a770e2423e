//! Names of topics and groups: which are legal, which are the system's own, and how retry, dead
//! letter, light and namespaced names are made.
//!
//! | name | is |
//! |---|---|
//! | `%RETRY%group` | retries of a consumer group |
//! | `%RETRY%group_topic` | POP retries of a group for one topic, form 1 |
//! | `%RETRY%group+topic` | the same, form 2 |
//! | `%DLQ%group` | messages a group has given up |
//! | `%LMQ%name` | a light message queue: fed by other topics' messages |
//! | `%LMQ%$parent$lite` | the light message queue of a lite topic |
//! | `namespace%name` | a topic or group of a namespace; `%RETRY%` and `%DLQ%` stand in front |
//!
//! Sources in the reference: `TopicValidator`, `MixAll`, `KeyBuilder`, `NamespaceUtil`,
//! `LiteUtil`, `PopAckConstants`.

use std::borrow::Cow;

/// Begins retry topics.
pub const RETRY_GROUP_TOPIC_PREFIX: &str = "%RETRY%";
/// Begins dead letter topics.
pub const DLQ_GROUP_TOPIC_PREFIX: &str = "%DLQ%";
/// Begins light message queues.
pub const LMQ_PREFIX: &str = "%LMQ%";
/// Begins light message queues of lite topics.
pub const LITE_TOPIC_PREFIX: &str = "%LMQ%$";
/// Separates a lite topic's parent from its name.
pub const LITE_SEPARATOR: char = '$';
/// Separates the light message queues, and their offsets, of one message.
pub const LMQ_DISPATCH_SEPARATOR: char = ',';
/// The queue id of every light message queue.
pub const LMQ_QUEUE_ID: i32 = 0;
/// Separates a namespace from a name.
pub const NAMESPACE_SEPARATOR: char = '%';
/// Begins topics and groups of the system.
pub const SYSTEM_TOPIC_PREFIX: &str = "rmq_sys_";
/// Begins consumer groups of the system.
pub const SYSTEM_GROUP_PREFIX: &str = "CID_RMQ_SYS_";
/// Begins the topics brokers of one name synchronise through.
pub const SYNC_BROKER_MEMBER_GROUP_PREFIX: &str = "rmq_sys_SYNC_BROKER_MEMBER_";

/// Topic whose settings automatic topics take.
pub const AUTO_CREATE_TOPIC_KEY_TOPIC: &str = "TBW102";
/// Topic of delayed messages by level.
pub const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// Topic of messages that wait for a time of their own (`TimerMessageStore.TIMER_TOPIC`).
pub const TIMER_TOPIC: &str = "rmq_sys_wheel_timer";
/// Topic of benchmarks.
pub const BENCHMARK_TOPIC: &str = "BenchmarkTest";
/// Topic of half messages.
pub const TRANS_HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
/// Topic of the marks of finished half messages.
pub const TRANS_OP_HALF_TOPIC: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// Topic of half messages kept in RocksDB.
pub const ROCKSDB_TRANS_HALF_TOPIC: &str = "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC";
/// Topic of the marks of finished half messages kept in RocksDB.
pub const ROCKSDB_TRANS_OP_HALF_TOPIC: &str = "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC";
/// Topic of half messages that were checked too often.
pub const TRANS_CHECK_MAX_TIME_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
/// Topic of message traces.
pub const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";
/// Topic of self tests.
pub const SELF_TEST_TOPIC: &str = "SELF_TEST_TOPIC";
/// Topic of moved offsets.
pub const OFFSET_MOVED_EVENT: &str = "OFFSET_MOVED_EVENT";
/// Topic of offsets kept in RocksDB.
pub const ROCKSDB_OFFSET_TOPIC: &str = "CHECKPOINT_TOPIC";
/// Begins the topic of POP check points and acknowledgements; the cluster's name follows.
pub const REVIVE_TOPIC_PREFIX: &str = "rmq_sys_REVIVE_LOG_";
/// Consumer group of POP check points and acknowledgements.
pub const REVIVE_GROUP: &str = "CID_RMQ_SYS_REVIVE_GROUP";
/// Revive queue id that marks an orderly POP, which has no revive queue.
pub const POP_ORDER_REVIVE_QUEUE: i32 = 999;
/// Consumer group of messages that wait for a delay level.
pub const SCHEDULE_GROUP: &str = "SCHEDULE_CONSUMER";
/// Consumer group of half messages.
pub const TRANS_GROUP: &str = "CID_RMQ_SYS_TRANS";
/// Consumer group of the admin tools.
pub const TOOLS_CONSUMER_GROUP: &str = "TOOLS_CONSUMER";
/// Producer group of a client's own messages.
pub const CLIENT_INNER_PRODUCER_GROUP: &str = "CLIENT_INNER_PRODUCER";
/// Producer group of a client that names none.
pub const DEFAULT_PRODUCER_GROUP: &str = "DEFAULT_PRODUCER";
/// Consumer group of a client that names none.
pub const DEFAULT_CONSUMER_GROUP: &str = "DEFAULT_CONSUMER";

/// Longest topic in bytes.
pub const TOPIC_MAX_LENGTH: usize = 127;
/// Longest retry or dead letter topic in bytes.
pub const RETRY_OR_DLQ_TOPIC_MAX_LENGTH: usize = 255;
/// Longest group in bytes.
pub const GROUP_MAX_LENGTH: usize = 120;

/// The topics every broker has of its own; a broker adds its name, its cluster's, and others.
pub const SYSTEM_TOPICS: [&str; 12] = [
    AUTO_CREATE_TOPIC_KEY_TOPIC,
    SCHEDULE_TOPIC,
    BENCHMARK_TOPIC,
    TRANS_HALF_TOPIC,
    TRACE_TOPIC,
    TRANS_OP_HALF_TOPIC,
    TRANS_CHECK_MAX_TIME_TOPIC,
    SELF_TEST_TOPIC,
    OFFSET_MOVED_EVENT,
    ROCKSDB_OFFSET_TOPIC,
    ROCKSDB_TRANS_HALF_TOPIC,
    ROCKSDB_TRANS_OP_HALF_TOPIC,
];

/// The topics a client must not send to.
const NOT_ALLOWED_SEND_TOPICS: [&str; 8] = [
    SCHEDULE_TOPIC,
    TRANS_HALF_TOPIC,
    TRANS_OP_HALF_TOPIC,
    TRANS_CHECK_MAX_TIME_TOPIC,
    SELF_TEST_TOPIC,
    OFFSET_MOVED_EVENT,
    ROCKSDB_TRANS_HALF_TOPIC,
    ROCKSDB_TRANS_OP_HALF_TOPIC,
];

/// Consumers of filter servers, which there are no more.
pub const FILTER_SERVER_CONSUMER_GROUP: &str = "FILTERSRV_CONSUMER";
/// Consumers by which a broker is tried.
pub const SELF_TEST_CONSUMER_GROUP: &str = "SELF_TEST_C_GROUP";
/// Consumers of Alibaba Cloud by HTTP, and three more of its groups.
pub const ONS_HTTP_PROXY_GROUP: &str = "CID_ONS-HTTP-PROXY";
/// See [`ONS_HTTP_PROXY_GROUP`].
pub const ONS_API_PERMISSION_GROUP: &str = "CID_ONSAPI_PERMISSION";
/// See [`ONS_HTTP_PROXY_GROUP`].
pub const ONS_API_OWNER_GROUP: &str = "CID_ONSAPI_OWNER";
/// See [`ONS_HTTP_PROXY_GROUP`].
pub const ONS_API_PULL_GROUP: &str = "CID_ONSAPI_PULL";

/// The groups of tools and of the system.
const PREDEFINED_GROUPS: [&str; 14] = [
    DEFAULT_CONSUMER_GROUP,
    DEFAULT_PRODUCER_GROUP,
    TOOLS_CONSUMER_GROUP,
    SCHEDULE_GROUP,
    FILTER_SERVER_CONSUMER_GROUP,
    "__MONITOR_CONSUMER",
    CLIENT_INNER_PRODUCER_GROUP,
    "SELF_TEST_P_GROUP",
    SELF_TEST_CONSUMER_GROUP,
    ONS_HTTP_PROXY_GROUP,
    ONS_API_PERMISSION_GROUP,
    ONS_API_OWNER_GROUP,
    ONS_API_PULL_GROUP,
    TRANS_GROUP,
];

/// Why a topic's or group's name is refused. The texts are the reference's remarks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty or blank.
    #[error("The specified {0} is blank.")]
    Blank(&'static str),
    /// The name has characters other than letters, digits, `%`, `|`, `-` and `_`.
    #[error(
        "The specified {kind}: {name}, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"
    )]
    IllegalCharacters {
        /// `topic` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// The name is too long.
    #[error("The specified {kind}: {name}, is longer than {kind} max length: {max}")]
    TooLong {
        /// `topic` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
        /// Longest name in bytes.
        max: usize,
    },
    /// The name of a retry or dead letter topic is too long.
    #[error(
        "The specified topic is DLQ or Retry topic: {0}, and it's longer than topic max length: 255"
    )]
    RetryTooLong(String),
}

/// Checks a topic's name.
///
/// # Errors
/// [`NameError`] with the reference's remark.
pub fn validate_topic(topic: &str) -> Result<(), NameError> {
    check_characters("topic", topic)?;
    if is_retry_topic(topic) || is_dlq_topic(topic) {
        if topic.len() > RETRY_OR_DLQ_TOPIC_MAX_LENGTH {
            return Err(NameError::RetryTooLong(topic.into()));
        }
        return Ok(());
    }
    check_length("topic", topic, TOPIC_MAX_LENGTH)
}

/// Checks a group's name.
///
/// # Errors
/// [`NameError`] with the reference's remark.
pub fn validate_group(group: &str) -> Result<(), NameError> {
    check_characters("group", group)?;
    check_length("group", group, GROUP_MAX_LENGTH)
}

fn check_characters(kind: &'static str, name: &str) -> Result<(), NameError> {
    if name.chars().all(is_java_whitespace) {
        return Err(NameError::Blank(kind));
    }
    if is_illegal(name) {
        return Err(NameError::IllegalCharacters {
            kind,
            name: name.into(),
        });
    }
    Ok(())
}

fn check_length(kind: &'static str, name: &str, max: usize) -> Result<(), NameError> {
    if name.len() > max {
        return Err(NameError::TooLong {
            kind,
            name: name.into(),
            max,
        });
    }
    Ok(())
}

/// Java's `Character.isWhitespace`: no non-breaking blanks, but four separators.
fn is_java_whitespace(c: char) -> bool {
    match c {
        '\u{85}' | '\u{A0}' | '\u{2007}' | '\u{202F}' => false,
        '\u{1C}'..='\u{1F}' => true,
        c => c.is_whitespace(),
    }
}

/// Whether a topic's or group's name has characters other than letters, digits, `%`, `|`, `-`
/// and `_`.
pub fn is_illegal(name: &str) -> bool {
    !name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'%' | b'|' | b'-' | b'_'))
}

/// Whether a topic is the system's own. Brokers have a few more, known to themselves.
pub fn is_system_topic(topic: &str) -> bool {
    topic.starts_with(SYSTEM_TOPIC_PREFIX) || SYSTEM_TOPICS.contains(&topic)
}

/// Whether clients must not send to a topic.
pub fn is_not_allowed_send_topic(topic: &str) -> bool {
    NOT_ALLOWED_SEND_TOPICS.contains(&topic)
}

/// Whether a consumer group is the system's own by its prefix.
pub fn is_system_group(group: &str) -> bool {
    group.starts_with(SYSTEM_GROUP_PREFIX)
}

/// Whether a group is one of the fixed ones of tools and of the system.
pub fn is_predefined_group(group: &str) -> bool {
    PREDEFINED_GROUPS.contains(&group)
}

/// Whether a topic holds retries.
pub fn is_retry_topic(topic: &str) -> bool {
    topic.starts_with(RETRY_GROUP_TOPIC_PREFIX)
}

/// Whether a topic holds dead letters.
pub fn is_dlq_topic(topic: &str) -> bool {
    topic.starts_with(DLQ_GROUP_TOPIC_PREFIX)
}

/// A group's retry topic.
pub fn retry_topic(group: &str) -> String {
    format!("{RETRY_GROUP_TOPIC_PREFIX}{group}")
}

/// A group's dead letter topic.
pub fn dlq_topic(group: &str) -> String {
    format!("{DLQ_GROUP_TOPIC_PREFIX}{group}")
}

/// A cluster's topic of replies.
pub fn reply_topic(cluster: &str) -> String {
    format!("{cluster}_REPLY_TOPIC")
}

/// A cluster's topic of POP check points and acknowledgements.
pub fn revive_topic(cluster: &str) -> String {
    format!("{REVIVE_TOPIC_PREFIX}{cluster}")
}

/// The key POP requests wait under.
pub fn polling_key(topic: &str, group: &str, queue_id: i32) -> String {
    format!("{topic}@{group}@{queue_id}")
}

/// POP's retry topic of a group for one topic, form 1.
///
/// Which group and topic it is of cannot be told from the name alone.
pub fn pop_retry_topic_v1(topic: &str, group: &str) -> String {
    format!("{RETRY_GROUP_TOPIC_PREFIX}{group}_{topic}")
}

/// POP's retry topic of a group for one topic, form 2. Told apart from form 1 by the `+`, which
/// no legal topic has.
pub fn pop_retry_topic_v2(topic: &str, group: &str) -> String {
    format!("{RETRY_GROUP_TOPIC_PREFIX}{group}+{topic}")
}

/// Whether a topic is a POP retry topic of form 2.
pub fn is_pop_retry_topic_v2(topic: &str) -> bool {
    is_retry_topic(topic) && topic.contains('+')
}

/// Group and topic of a POP retry topic of form 2; `None` for any other topic, and if there is
/// more than one `+`.
fn split_pop_retry_topic_v2(topic: &str) -> Option<(&str, &str)> {
    let (group, normal) = topic
        .strip_prefix(RETRY_GROUP_TOPIC_PREFIX)?
        .split_once('+')?;
    // Trailing separators do not count, as with Java's `split`.
    let normal = normal.trim_end_matches('+');
    (!normal.is_empty() && !normal.contains('+')).then_some((group, normal))
}

/// The topic a retry topic of `group` belongs to; any other topic itself. `None` for a retry
/// topic that is not of this group.
pub fn normal_topic_of_group<'a>(topic: &'a str, group: &str) -> Option<&'a str> {
    match topic.strip_prefix(RETRY_GROUP_TOPIC_PREFIX) {
        Some(rest) => rest.strip_prefix(group)?.strip_prefix(['+', '_']),
        None => Some(topic),
    }
}

/// The topic a POP retry topic of form 2 belongs to; any other topic itself.
pub fn normal_topic(topic: &str) -> &str {
    split_pop_retry_topic_v2(topic).map_or(topic, |(_, normal)| normal)
}

/// The group of a retry topic; for POP's form 1 with `_` and the topic behind it. `None` if it is
/// no retry topic.
pub fn group_of_retry_topic(topic: &str) -> Option<&str> {
    match split_pop_retry_topic_v2(topic) {
        Some((group, _)) => Some(group),
        None => topic.strip_prefix(RETRY_GROUP_TOPIC_PREFIX),
    }
}

/// Whether a queue is a light message queue.
pub fn is_lmq(name: &str) -> bool {
    name.starts_with(LMQ_PREFIX)
}

/// Whether messages of a topic may also be put into light message queues.
pub fn topic_allows_lmq(topic: &str) -> bool {
    !is_retry_topic(topic)
        && !is_dlq_topic(topic)
        && !topic.starts_with(SYSTEM_TOPIC_PREFIX)
        && topic != SCHEDULE_TOPIC
}

/// The light message queue of a lite topic; `None` if either part is empty.
pub fn lite_lmq_name(parent: &str, lite: &str) -> Option<String> {
    if parent.is_empty() || lite.is_empty() {
        return None;
    }
    Some(format!("{LITE_TOPIC_PREFIX}{parent}{LITE_SEPARATOR}{lite}"))
}

/// Whether a queue is the light message queue of a lite topic.
pub fn is_lite_topic_queue(lmq_name: &str) -> bool {
    lmq_name.starts_with(LITE_TOPIC_PREFIX)
}

/// Parent topic and lite topic of a light message queue; `None` if it is of no lite topic, or if
/// one of the two is empty or contains `$`.
pub fn parent_and_lite_topic(lmq_name: &str) -> Option<(&str, &str)> {
    let (parent, lite) = lmq_name
        .strip_prefix(LITE_TOPIC_PREFIX)?
        .split_once(LITE_SEPARATOR)?;
    let whole = !parent.is_empty() && !lite.is_empty() && !lite.contains(LITE_SEPARATOR);
    whole.then_some((parent, lite))
}

/// Whether a light message queue is of a lite topic of `parent`.
pub fn belongs_to_parent_topic(lmq_name: &str, parent: &str) -> bool {
    lmq_name
        .strip_prefix(LITE_TOPIC_PREFIX)
        .and_then(|rest| rest.strip_prefix(parent))
        .is_some_and(|rest| rest.starts_with(LITE_SEPARATOR))
}

fn is_system_resource(name: &str) -> bool {
    is_system_topic(name) || is_system_group(name)
}

/// The prefix of a retry or dead letter topic, or nothing, and what follows it.
fn split_retry_and_dlq(name: &str) -> (&str, &str) {
    let prefix = if is_retry_topic(name) {
        RETRY_GROUP_TOPIC_PREFIX.len()
    } else if is_dlq_topic(name) {
        DLQ_GROUP_TOPIC_PREFIX.len()
    } else {
        0
    };
    name.split_at(prefix)
}

/// Whether what follows the retry or dead letter prefix starts with `namespace%`.
fn has_namespace(name: &str, namespace: &str) -> bool {
    let (_, rest) = split_retry_and_dlq(name);
    rest.strip_prefix(namespace)
        .is_some_and(|rest| rest.starts_with(NAMESPACE_SEPARATOR))
}

/// A topic or group with its namespace in front, but behind `%RETRY%` or `%DLQ%`. Names of the
/// system, and names that have it already, stay as they are; so does any if `namespace` is empty.
pub fn wrap_namespace<'a>(namespace: &str, name: &'a str) -> Cow<'a, str> {
    if namespace.is_empty()
        || name.is_empty()
        || is_system_resource(name)
        || has_namespace(name, namespace)
    {
        return Cow::Borrowed(name);
    }
    let (prefix, rest) = split_retry_and_dlq(name);
    Cow::Owned(format!("{prefix}{namespace}{NAMESPACE_SEPARATOR}{rest}"))
}

/// The retry topic of a group of a namespace; `None` if the group is empty.
pub fn wrap_namespace_and_retry(namespace: &str, group: &str) -> Option<String> {
    (!group.is_empty()).then(|| retry_topic(&wrap_namespace(namespace, group)))
}

/// A topic or group without its namespace, whichever it is.
pub fn without_namespace(name: &str) -> Cow<'_, str> {
    if is_system_resource(name) {
        return Cow::Borrowed(name);
    }
    let (prefix, rest) = split_retry_and_dlq(name);
    match rest.split_once(NAMESPACE_SEPARATOR) {
        Some((namespace, rest)) if !namespace.is_empty() && prefix.is_empty() => {
            Cow::Borrowed(rest)
        }
        Some((namespace, rest)) if !namespace.is_empty() => Cow::Owned(format!("{prefix}{rest}")),
        _ => Cow::Borrowed(name),
    }
}

/// A topic or group without `namespace`; with any other one it stays as it is.
pub fn without_this_namespace<'a>(name: &'a str, namespace: &str) -> Cow<'a, str> {
    if !namespace.is_empty() && has_namespace(name, namespace) {
        without_namespace(name)
    } else {
        Cow::Borrowed(name)
    }
}

/// The namespace of a topic or group; empty if it has none.
pub fn namespace_of(name: &str) -> &str {
    if is_system_resource(name) {
        return "";
    }
    let (_, rest) = split_retry_and_dlq(name);
    rest.split_once(NAMESPACE_SEPARATOR)
        .map_or("", |(namespace, _)| namespace)
}
