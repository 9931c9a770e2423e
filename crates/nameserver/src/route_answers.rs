//! Routes as they were last encoded. Clients ask for the same few again and again, and mostly
//! nothing has changed meanwhile.

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::RwLock;
use wire::body::json;
use wire::body::route::TopicRouteData;

/// How the names of maps are written in a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Numbers without quotes, as the reference's older clients got it.
    Plain,
    /// Standard JSON.
    Standard,
}

impl Form {
    /// Writes a route in this form.
    pub(crate) fn encode(self, route: &TopicRouteData) -> Bytes {
        match self {
            Self::Plain => json::write(route),
            Self::Standard => json::write_standard(route),
        }
    }
}

/// What routes depend on beside their topic. Answers under another stamp are out of date.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// [`RouteTable::generation`](crate::route_table::RouteTable::generation).
    pub generation: u64,
    /// Whether replicas may be shown as masters.
    pub acting_master: bool,
    /// Whether order configurations are shown.
    pub order: bool,
}

/// Encoded routes of one stamp by topic; at most one of each form for every topic that exists.
#[derive(Default)]
pub(crate) struct RouteAnswers(RwLock<Answers>);

#[derive(Default)]
struct Answers {
    stamp: Stamp,
    by_topic: HashMap<String, ByForm>,
}

/// One topic's answers, at the place of their form.
type ByForm = [Option<Bytes>; 2];

impl RouteAnswers {
    /// The answer for a topic, if it has been given before and still holds.
    pub(crate) fn get(&self, stamp: Stamp, topic: &str, form: Form) -> Option<Bytes> {
        let answers = self.0.read();
        if answers.stamp != stamp {
            return None;
        }
        answers.by_topic.get(topic)?[form as usize].clone()
    }

    /// Keeps an answer. The caller holds off changes of the generation meanwhile.
    pub(crate) fn put(&self, stamp: Stamp, topic: &str, form: Form, answer: Bytes) {
        let mut answers = self.0.write();
        if answers.stamp != stamp {
            answers.by_topic.clear();
            answers.stamp = stamp;
        }
        let by_form = answers.by_topic.entry(topic.to_owned()).or_default();
        by_form[form as usize] = Some(answer);
    }
}
