//! What groups want of topics by their requests: those of proxies and of clients that say it with
//! each request, and maybe in no heartbeat (`ConsumerManager.consumerCompensationTable`). It is for
//! tools only.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use wire::body::heartbeat::SubscriptionData;
use wire::message::names;
use wire::message::tags::{SUB_ALL, TagExpression};

use crate::clients::Subscription;
use crate::filter;

/// The last requests' subscriptions, by group and topic.
#[derive(Default)]
pub(crate) struct RequestedSubscriptions(RwLock<HashMap<String, HashMap<String, Requested>>>);

struct Requested {
    subscription: Arc<Subscription>,
    /// Whether it came with a pop, which asks for the retry topic as well.
    is_pop: bool,
}

/// What a request says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) group: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) expression_type: Option<&'a str>,
    pub(crate) expression: &'a str,
    pub(crate) is_pop: bool,
}

impl RequestedSubscriptions {
    /// Takes note of a request whose expression is in order.
    pub(crate) fn note(&self, request: Request<'_>, now_millis: i64) {
        let (group, topic) = (request.group, request.topic);
        let is_known = |known: &Requested| {
            let data = &known.subscription.data;
            data.sub_string == request.sub_string()
                && data.expression_type == request.language()
                && known.is_pop == request.is_pop
        };
        let groups = self.0.read();
        let known = groups.get(group).and_then(|topics| topics.get(topic));
        if known.is_some_and(is_known) {
            return;
        }
        drop(groups);
        let requested = Requested {
            subscription: Arc::new(request.data(now_millis).into()),
            is_pop: request.is_pop,
        };
        let mut groups = self.0.write();
        let topics = groups.entry(group.into()).or_default();
        topics.insert(topic.into(), requested);
    }

    /// What a group's last request wanted of a topic.
    pub(crate) fn get(&self, group: &str, topic: &str) -> Option<Arc<Subscription>> {
        let groups = self.0.read();
        let topics = groups.get(group)?;
        if let Some(requested) = topics.get(topic) {
            return Some(Arc::clone(&requested.subscription));
        }
        let normal_topic = names::normal_topic_of_group(topic, group)?;
        let popped = topics.get(normal_topic).filter(|popped| popped.is_pop)?;
        let all = SubscriptionData {
            topic: topic.into(),
            sub_string: SUB_ALL.into(),
            sub_version: popped.subscription.data.sub_version,
            ..SubscriptionData::default()
        };
        Some(Arc::new(all.into()))
    }

    /// Forgets a group.
    pub(crate) fn remove_group(&self, group: &str) {
        self.0.write().remove(group);
    }
}

impl<'a> Request<'a> {
    fn language(self) -> &'a str {
        let named = self.expression_type.unwrap_or_default();
        if filter::is_tag_type(named) {
            "TAG"
        } else {
            named
        }
    }

    fn sub_string(self) -> &'a str {
        if self.expression.is_empty() {
            SUB_ALL
        } else {
            self.expression
        }
    }

    /// As a heartbeat would say it (`FilterAPI.build`).
    fn data(self, now_millis: i64) -> SubscriptionData {
        let mut data = SubscriptionData {
            topic: self.topic.into(),
            expression_type: self.language().into(),
            sub_string: self.sub_string().into(),
            sub_version: now_millis,
            ..SubscriptionData::default()
        };
        if filter::is_tag_type(self.language())
            && let Ok(expression) = TagExpression::parse(self.expression)
        {
            data.code_set = expression.codes().into_iter().collect();
            if let TagExpression::Tags(tags) = expression {
                data.tags_set = tags.into_iter().map(Into::into).collect();
            }
        }
        data
    }
}
