//! Which messages a consumer wants: by tag, or by an SQL92 expression over their properties
//! (`ExpressionMessageFilter`, `ExpressionForRetryMessageFilter`).
//!
//! [`Filter::parse`] makes the filter of a request that brings its expression along. What a group
//! told with its heartbeats is in `table`, and [`Filter::of_group`] is its filter. Either is given
//! to the store, which asks it first by queue entry and then, for expressions, by record.

mod bloom;
mod table;

use std::sync::Arc;

use store::MessageFilter;
use wire::body::heartbeat::SubscriptionData;
use wire::message::record::RecordRef;
use wire::message::sql92::{self, Expression};
use wire::message::tags::{self, TagExpression};
use wire::message::{names, properties, property};

use crate::broker::Broker;
use crate::error::BrokerError;

pub(crate) use self::table::{ConsumerFilter, FilterTable};

/// Which messages of a queue a consumer wants.
#[derive(Debug, Clone)]
pub(crate) enum Filter {
    /// Every message.
    All,
    /// Those whose tags have one of these hash codes, in ascending order.
    Codes(Arc<[i32]>),
    /// Those of which it is true.
    Expression(Arc<Expression>),
    /// Those that a group wants by the expression that it told.
    Group(Arc<ConsumerFilter>),
    /// Of messages that come again, those that the group wants of the topics they come from.
    Origins(Arc<Origins>),
}

/// A group whose messages come again.
#[derive(Debug)]
pub(crate) struct Origins {
    group: String,
    filters: Arc<FilterTable>,
}

impl Filter {
    /// The filter of an expression of a type: `TAG`, which none and an empty one stand for, or
    /// `SQL92`.
    pub(crate) fn parse(
        expression_type: Option<&str>,
        expression: &str,
    ) -> Result<Self, BrokerError> {
        match expression_type.unwrap_or_default() {
            tag if is_tag_type(tag) => match TagExpression::parse(expression) {
                Ok(TagExpression::All) => Ok(Self::All),
                Ok(tags) => Ok(Self::of_codes(tags.codes())),
                Err(error) => Err(BrokerError::SubscriptionParseFailed(error.to_string())),
            },
            sql92::SQL92 => match Expression::parse(expression) {
                Ok(expression) => Ok(Self::Expression(expression.into())),
                Err(error) => Err(BrokerError::SubscriptionParseFailed(error.to_string())),
            },
            other => Err(BrokerError::SubscriptionParseFailed(format!(
                "there are no expressions of type {other}, only of TAG and {}",
                sql92::SQL92
            ))),
        }
    }

    /// A filter for hash codes; none at all select nothing.
    fn of_codes(codes: impl IntoIterator<Item = i32>) -> Self {
        let mut codes: Vec<i32> = codes.into_iter().collect();
        codes.sort_unstable();
        Self::Codes(codes.into())
    }

    /// The filter by tag of a subscription; every message, if it selects by something else.
    pub(crate) fn by_tag(data: &SubscriptionData) -> Self {
        let all = data.class_filter_mode
            || !is_tag_type(&data.expression_type)
            || data.sub_string == tags::SUB_ALL
            || (data.sub_string.is_empty() && data.code_set.is_empty());
        if all {
            Self::All
        } else {
            Self::of_codes(data.code_set.iter().copied())
        }
    }

    /// The filter of a group that its heartbeats told for a topic; `version` is that of the
    /// subscription that the consumer knows.
    pub(crate) fn of_group(
        broker: &Broker,
        group: &str,
        topic: &str,
        version: i64,
    ) -> Result<Self, BrokerError> {
        let known = broker.filters.get(topic, group);
        let known = known.ok_or(BrokerError::FilterDataNotExist)?;
        if known.version() < version {
            return Err(BrokerError::FilterDataNotLatest);
        }
        Ok(Self::Group(known))
    }

    /// This filter for a topic: in a retry topic it asks for the topic that a message comes from,
    /// where the settings say so.
    pub(crate) fn in_topic(self, broker: &Broker, group: &str, topic: &str) -> Self {
        match self {
            Self::Expression(_) | Self::Group(_)
                if names::is_retry_topic(topic)
                    && broker.settings().broker.filter_support_retry =>
            {
                Self::Origins(Arc::new(Origins {
                    group: group.into(),
                    filters: Arc::clone(&broker.filters),
                }))
            }
            filter => filter,
        }
    }
}

impl MessageFilter for Filter {
    fn matches_entry(&self, tags_code: i64) -> bool {
        match self {
            // The reference compares the lower 32 bits.
            Self::Codes(codes) => codes.binary_search(&(tags_code as i32)).is_ok(),
            Self::All | Self::Expression(_) | Self::Group(_) | Self::Origins(_) => true,
        }
    }

    fn looks_at_bits(&self) -> bool {
        matches!(self, Self::Group(_))
    }

    fn matches_bits(&self, filter_bits: &[u8], store_timestamp: i64) -> bool {
        match self {
            Self::Group(group) => group.may_pass(filter_bits, store_timestamp),
            _ => true,
        }
    }

    fn looks_at_records(&self) -> bool {
        matches!(
            self,
            Self::Expression(_) | Self::Group(_) | Self::Origins(_)
        )
    }

    fn matches_record(&self, record: &[u8]) -> bool {
        let Ok(record) = RecordRef::parse(record) else {
            return false;
        };
        let text = record.properties();
        match self {
            Self::All | Self::Codes(_) => true,
            Self::Expression(expression) => is_true(expression, &[&text]),
            Self::Group(group) => is_true(&group.expression(), &[&text]),
            Self::Origins(origins) => {
                let topic = properties::get(&text, property::RETRY_TOPIC).unwrap_or_default();
                let known = origins.filters.get(topic, &origins.group);
                known.is_none_or(|known| is_true(&known.expression(), &[&text]))
            }
        }
    }
}

/// Whether an expression is true of a message's properties, which may stand in several texts. Where
/// they cannot be compared with what it compares them with, it is not.
fn is_true(expression: &Expression, texts: &[&str]) -> bool {
    let get = |name: &str| texts.iter().find_map(|text| properties::get(text, name));
    expression.evaluate(get) == Ok(Some(true))
}

/// Whether an expression is one of tags (`ExpressionType.isTagType`).
pub(crate) fn is_tag_type(expression_type: &str) -> bool {
    matches!(expression_type, "" | "TAG")
}

/// Refuses expressions that the broker does not look at.
pub(crate) fn check_type(broker: &Broker, expression_type: &str) -> Result<(), BrokerError> {
    if is_tag_type(expression_type) || broker.settings().broker.enable_property_filter {
        return Ok(());
    }
    Err(BrokerError::System(format!(
        "The broker does not support consumer to filter message by {expression_type}"
    )))
}
