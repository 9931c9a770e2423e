//! Topics and groups, brokers and queues, filters, times.

use prost::{Enumeration, Message, Oneof};

/// A point in time (`google.protobuf.Timestamp`).
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Timestamp {
    /// Seconds since 1970.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds of the second, 0 to 999,999,999.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl Timestamp {
    /// The time so many milliseconds after 1970 began.
    pub fn from_millis(millis: i64) -> Self {
        let nanos = millis.rem_euclid(1000) as i32 * 1_000_000;
        Self {
            seconds: millis.div_euclid(1000),
            nanos,
        }
    }

    /// Whether it is a time of the years 1 to 9999, as all are (`Timestamps.isValid`).
    pub fn is_valid(self) -> bool {
        (-62_135_596_800..=253_402_300_799).contains(&self.seconds)
            && (0..1_000_000_000).contains(&self.nanos)
    }

    /// Milliseconds since 1970, the nearest there is for a time that is out of range.
    pub fn to_millis(self) -> i64 {
        self.seconds
            .saturating_mul(1000)
            .saturating_add(i64::from(self.nanos / 1_000_000))
    }
}

/// A length of time (`google.protobuf.Duration`).
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Duration {
    /// Seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Nanoseconds, with the sign of the seconds.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl Duration {
    /// So many milliseconds.
    pub fn from_millis(millis: i64) -> Self {
        Self {
            seconds: millis / 1000,
            nanos: (millis % 1000) as i32 * 1_000_000,
        }
    }

    /// Milliseconds, the nearest there is for a time that is out of range.
    pub fn to_millis(self) -> i64 {
        self.seconds
            .saturating_mul(1000)
            .saturating_add(i64::from(self.nanos / 1_000_000))
    }
}

/// A topic or a group.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Resource {
    /// Namespace of the name.
    #[prost(string, tag = "1")]
    pub resource_namespace: String,
    /// The name.
    #[prost(string, tag = "2")]
    pub name: String,
}

impl Resource {
    /// The resource of a name, without namespace.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            resource_namespace: String::new(),
            name: name.into(),
        }
    }
}

/// Language of a filter expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum FilterType {
    /// Not said; read as tags.
    Unspecified = 0,
    /// Tags separated by `||`.
    Tag = 1,
    /// SQL92.
    Sql = 2,
}

/// Which messages are wanted.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct FilterExpression {
    /// Language of the expression.
    #[prost(enumeration = "FilterType", tag = "1")]
    pub r#type: i32,
    /// The expression.
    #[prost(string, tag = "2")]
    pub expression: String,
}

/// What is wanted of a topic.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SubscriptionEntry {
    /// The topic.
    #[prost(message, optional, tag = "1")]
    pub topic: Option<Resource>,
    /// Which of its messages.
    #[prost(message, optional, tag = "2")]
    pub expression: Option<FilterExpression>,
}

/// Kind of the hosts of [`Endpoints`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum AddressScheme {
    /// Not said.
    Unspecified = 0,
    /// IPv4 addresses.
    Ipv4 = 1,
    /// IPv6 addresses.
    Ipv6 = 2,
    /// Host names.
    DomainName = 3,
}

/// A host and port.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Address {
    /// The host.
    #[prost(string, tag = "1")]
    pub host: String,
    /// The port.
    #[prost(int32, tag = "2")]
    pub port: i32,
}

/// Where a service is reached.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Endpoints {
    /// Kind of the hosts.
    #[prost(enumeration = "AddressScheme", tag = "1")]
    pub scheme: i32,
    /// The addresses, any of which will do.
    #[prost(message, repeated, tag = "2")]
    pub addresses: Vec<Address>,
}

/// A broker.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Broker {
    /// Name of its group.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Number in the group; 0 is the master.
    #[prost(int32, tag = "2")]
    pub id: i32,
    /// Where it is reached: a proxy's address.
    #[prost(message, optional, tag = "3")]
    pub endpoints: Option<Endpoints>,
}

/// What may be done with a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Permission {
    /// Not said.
    Unspecified = 0,
    /// Nothing.
    None = 1,
    /// Receiving.
    Read = 2,
    /// Sending.
    Write = 3,
    /// Both.
    ReadWrite = 4,
}

/// What kind of message it is, or of messages a topic is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum MessageType {
    /// Not said.
    Unspecified = 0,
    /// Nothing special.
    Normal = 1,
    /// In the order of its group.
    Fifo = 2,
    /// Delivered at a time of its own.
    Delay = 3,
    /// Delivered if its transaction is committed.
    Transaction = 4,
    /// Of a lite topic.
    Lite = 5,
    /// Delivered before those of lower priority.
    Priority = 6,
}

impl MessageType {
    /// The name, which is that of the attribute `message.type` of topics, too.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "UNSPECIFIED",
            Self::Normal => "NORMAL",
            Self::Fifo => "FIFO",
            Self::Delay => "DELAY",
            Self::Transaction => "TRANSACTION",
            Self::Lite => "LITE",
            Self::Priority => "PRIORITY",
        }
    }
}

/// A queue of a topic.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct MessageQueue {
    /// The topic.
    #[prost(message, optional, tag = "1")]
    pub topic: Option<Resource>,
    /// Number on its broker; -1: any.
    #[prost(int32, tag = "2")]
    pub id: i32,
    /// What may be done with it.
    #[prost(enumeration = "Permission", tag = "3")]
    pub permission: i32,
    /// The broker that has it.
    #[prost(message, optional, tag = "4")]
    pub broker: Option<Broker>,
    /// What kinds of messages it takes.
    #[prost(enumeration = "MessageType", repeated, tag = "5")]
    pub accept_message_types: Vec<i32>,
}

/// When to try again.
#[derive(Clone, PartialEq, Message)]
pub struct RetryPolicy {
    /// Attempts in all.
    #[prost(int32, tag = "1")]
    pub max_attempts: i32,
    /// The time between them.
    #[prost(oneof = "BackoffStrategy", tags = "2, 3")]
    pub strategy: Option<BackoffStrategy>,
}

/// The time between attempts.
#[derive(Clone, PartialEq, Oneof)]
pub enum BackoffStrategy {
    /// It grows by a factor.
    #[prost(message, tag = "2")]
    Exponential(ExponentialBackoff),
    /// It is listed.
    #[prost(message, tag = "3")]
    Customized(CustomizedBackoff),
}

/// Times between attempts that grow by a factor.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ExponentialBackoff {
    /// The first.
    #[prost(message, optional, tag = "1")]
    pub initial: Option<Duration>,
    /// The longest.
    #[prost(message, optional, tag = "2")]
    pub max: Option<Duration>,
    /// The factor.
    #[prost(float, tag = "3")]
    pub multiplier: f32,
}

/// Times between attempts one by one; the last one goes on.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CustomizedBackoff {
    /// The times.
    #[prost(message, repeated, tag = "1")]
    pub next: Vec<Duration>,
}
