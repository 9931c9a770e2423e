//! What the user types to look at some exchanges only.

use std::time::Duration;

use crate::exchange::Exchange;
use crate::view::line;
use crate::view::time::read_duration;

/// Words that all must fit an exchange: a part of its command, topic, group, client, server,
/// status or a message's id; `!` for what went wrong; `>10ms` for what took longer.
#[derive(Debug, Clone, Default)]
pub(super) struct Words(Vec<Word>);

#[derive(Debug, Clone)]
enum Word {
    Part(String),
    Slower(Duration),
    Error,
}

impl Words {
    /// Reads what was typed.
    pub(super) fn read(text: &str) -> Self {
        let word = |word: &str| match word.strip_prefix('>').and_then(read_duration) {
            Some(limit) => Word::Slower(limit),
            None if word == "!" => Word::Error,
            None => Word::Part(word.to_lowercase()),
        };
        Self(text.split_whitespace().map(word).collect())
    }

    /// Whether an exchange fits.
    pub(super) fn fit(&self, exchange: &Exchange) -> bool {
        self.0.iter().all(|word| match word {
            Word::Part(part) => parts(exchange).any(|text| text.to_lowercase().contains(part)),
            Word::Slower(limit) => exchange.effort().is_some_and(|effort| effort > *limit),
            Word::Error => exchange.is_error(),
        })
    }
}

fn parts(exchange: &Exchange) -> impl Iterator<Item = String> {
    let fixed = [
        exchange.command.to_string(),
        line::status(exchange),
        exchange.client.to_string(),
        exchange.server.to_string(),
        exchange.client_id.to_string(),
    ];
    let named = [&exchange.topic, &exchange.group].into_iter().flatten();
    let ids = exchange.messages.iter();
    let ids = ids.filter_map(|message| message.id.as_deref());
    let texts = named
        .map(|name| name.to_string())
        .chain(ids.map(str::to_owned));
    fixed.into_iter().chain(texts)
}
