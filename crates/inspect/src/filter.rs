//! Filters: which exchanges are looked at.

use std::time::Duration;

use crate::exchange::{Command, Exchange, Outcome};

/// What an exchange must be like; what is `None` or `false` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// It, or one of its messages, is of this topic.
    pub topic: Option<String>,
    /// It is of this producer or consumer group.
    pub group: Option<String>,
    /// It is of a client with this id or address.
    pub client: Option<String>,
    /// Its request or response has this code or name: `310`, `SEND_MESSAGE_V2`, `TOPIC_NOT_EXIST`.
    pub code: Option<String>,
    /// It took longer, without the time for which the server held it.
    pub slower_than: Option<Duration>,
    /// It went wrong.
    pub errors: bool,
}

impl Filter {
    /// Whether an exchange is like that.
    pub fn matches(&self, exchange: &Exchange) -> bool {
        let is = |wanted: &Option<String>, found: &dyn Fn(&str) -> bool| {
            wanted.as_deref().is_none_or(found)
        };
        is(&self.topic, &|topic| {
            exchange.topic.as_deref() == Some(topic)
                || exchange
                    .messages
                    .iter()
                    .any(|one| one.topic.as_deref() == Some(topic))
        }) && is(&self.group, &|group| {
            exchange.group.as_deref() == Some(group)
        }) && is(&self.client, &|client| {
            &*exchange.client_id == client
                || exchange.client.ip().to_string() == client
                || exchange.client.to_string() == client
        }) && is(&self.code, &|code| has_code(exchange, code))
            && self
                .slower_than
                .is_none_or(|limit| exchange.effort().is_some_and(|effort| effort > limit))
            && (!self.errors || exchange.is_error())
    }
}

fn has_code(exchange: &Exchange, wanted: &str) -> bool {
    let number: Option<i32> = wanted.parse().ok();
    let of_response = match exchange.outcome {
        Outcome::Answered(status) => {
            number == Some(status.code) || status.name.eq_ignore_ascii_case(wanted)
        }
        _ => false,
    };
    let of_request = match &exchange.command {
        Command::Unseen => false,
        command => {
            number.is_some() && number == command.code()
                || command.to_string().eq_ignore_ascii_case(wanted)
        }
    };
    of_request || of_response
}
