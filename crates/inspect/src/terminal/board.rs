//! What is known, what of it is looked at, and what keys do.

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::words::Words;
use crate::exchange::Exchange;
use crate::statistics::{Row, Statistics, Table};

/// Exchanges that can be looked at; older ones are only counted.
pub(super) const MAX_RECENT: usize = 5_000;
/// Exchanges that wait while the screen is held; more are only counted as passed over.
const MAX_HELD: usize = 20_000;
/// How often rates are measured.
const MEASURE: Duration = Duration::from_secs(1);

/// Whether the user stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goes {
    On,
    Away,
}

/// What exchanges are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum By {
    #[default]
    Topic,
    Group,
    Client,
    Broker,
    Command,
}

impl By {
    pub(super) const ALL: [Self; 5] = [
        Self::Topic,
        Self::Group,
        Self::Client,
        Self::Broker,
        Self::Command,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Topic => "topics",
            Self::Group => "groups",
            Self::Client => "clients",
            Self::Broker => "brokers",
            Self::Command => "commands",
        }
    }

    /// What an exchange is counted under.
    fn key(self, exchange: &Exchange) -> Option<String> {
        match self {
            Self::Topic => exchange.topic.as_deref().map(str::to_owned),
            Self::Group => exchange.group.as_deref().map(str::to_owned),
            Self::Client => Some(exchange.client_id.to_string()),
            Self::Broker => Some(exchange.server.to_string()),
            Self::Command => Some(exchange.command.to_string()),
        }
    }
}

/// What rows are in the order of; the most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Order {
    #[default]
    Exchanges,
    Messages,
    Errors,
    Bytes,
    P99,
}

impl Order {
    const fn next(self) -> Self {
        match self {
            Self::Exchanges => Self::Messages,
            Self::Messages => Self::Errors,
            Self::Errors => Self::Bytes,
            Self::Bytes => Self::P99,
            Self::P99 => Self::Exchanges,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Exchanges => "exchanges",
            Self::Messages => "messages",
            Self::Errors => "errors",
            Self::Bytes => "bytes",
            Self::P99 => "p99",
        }
    }

    fn of(self, row: &Row) -> u64 {
        match self {
            Self::Exchanges => row.exchanges,
            Self::Messages => row.messages,
            Self::Errors => row.errors,
            Self::Bytes => row.request_bytes + row.response_bytes,
            Self::P99 => row
                .percentile(99.0)
                .map_or(0, |time| time.as_nanos() as u64),
        }
    }
}

/// What is looked at. A choice is kept by what it is of, since rows move.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// The rows of a table.
    Rows { chosen: Option<String> },
    /// The exchanges of a row, the latest first; without a choice the latest is chosen.
    Exchanges { of: String, chosen: Option<u64> },
    /// The fields of an exchange.
    Fields { of: Arc<Exchange>, from: usize },
    /// The bytes of an exchange.
    Bytes { of: Arc<Exchange>, from: usize },
}

/// What is known and looked at.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) statistics: Statistics,
    /// The latest first.
    recent: VecDeque<Arc<Exchange>>,
    /// What came while the screen was held.
    held: Vec<Exchange>,
    pub(super) passed_over: u64,
    pub(super) is_held: bool,
    pub(super) lost: u64,
    /// Whether nothing will come any more.
    pub(super) has_ended: bool,
    pub(super) notices: Vec<String>,
    pub(super) by: By,
    pub(super) order: Order,
    /// The last one is on the screen, the others are behind it.
    places: Vec<Place>,
    words: Words,
    /// The words as typed.
    pub(super) text: String,
    pub(super) is_typing: bool,
    pub(super) is_helping: bool,
    rates: Rates,
    /// Rows that the screen had for the list, and lines that it may scroll.
    pub(super) page: usize,
}

/// Exchanges a second.
#[derive(Debug, Default)]
struct Rates {
    measured: Option<Instant>,
    by: By,
    counts: HashMap<String, u64>,
    rates: HashMap<String, f64>,
    total: (u64, f64),
}

impl Default for Board {
    fn default() -> Self {
        Self {
            statistics: Statistics::default(),
            recent: VecDeque::new(),
            held: Vec::new(),
            passed_over: 0,
            is_held: false,
            lost: 0,
            has_ended: false,
            notices: Vec::new(),
            by: By::default(),
            order: Order::default(),
            places: vec![Place::Rows { chosen: None }],
            words: Words::default(),
            text: String::new(),
            is_typing: false,
            is_helping: false,
            rates: Rates::default(),
            page: 10,
        }
    }
}

impl Board {
    /// Takes an exchange that has ended.
    pub(super) fn take(&mut self, exchange: Exchange) {
        if !self.is_held {
            self.show(exchange);
        } else if self.held.len() < MAX_HELD {
            self.held.push(exchange);
        } else {
            self.passed_over += 1;
        }
    }

    fn show(&mut self, exchange: Exchange) {
        if self.words.fit(&exchange) {
            self.statistics.add(&exchange);
        }
        self.recent.truncate(MAX_RECENT - 1);
        self.recent.push_front(Arc::new(exchange));
    }

    /// Says something for the user to know.
    pub(super) fn say(&mut self, notice: String) {
        self.notices.push(notice);
    }

    /// Measures rates, if it is time to.
    pub(super) fn measure(&mut self, now: Instant) {
        if self.is_held {
            return;
        }
        let elapsed = self.rates.measured.map(|then| now - then);
        if elapsed.is_some_and(|elapsed| elapsed < MEASURE) && self.rates.by == self.by {
            return;
        }
        let rows = self.rows().into_iter();
        let counts: HashMap<_, _> = rows.map(|(key, row)| (key, row.exchanges)).collect();
        let seconds = elapsed.map_or(f64::INFINITY, |elapsed| elapsed.as_secs_f64());
        let total = self.statistics.total.exchanges;
        let known = self.rates.by == self.by;
        let rate = |(key, count): (&String, &u64)| {
            let before = self.rates.counts.get(key);
            let before = before.copied().unwrap_or(if known { 0 } else { *count });
            (key.clone(), count.saturating_sub(before) as f64 / seconds)
        };
        self.rates = Rates {
            measured: Some(now),
            by: self.by,
            rates: counts.iter().map(rate).collect(),
            total: (
                total,
                total.saturating_sub(self.rates.total.0) as f64 / seconds,
            ),
            counts,
        };
    }

    /// Exchanges a second of a row.
    pub(super) fn rate(&self, key: &str) -> f64 {
        self.rates.rates.get(key).copied().unwrap_or(0.0)
    }

    /// Exchanges a second of all.
    pub(super) fn total_rate(&self) -> f64 {
        self.rates.total.1
    }

    /// What is on the screen.
    pub(super) fn place(&self) -> &Place {
        // The first place is never left.
        &self.places[self.places.len() - 1]
    }

    /// The rows of the table, in their order.
    pub(super) fn rows(&self) -> Vec<(String, &Row)> {
        fn texts<K: Hash + Eq + Clone + Display>(table: &Table<K>) -> Vec<(String, &Row)> {
            let rows = table.top().into_iter();
            rows.map(|(key, row)| (key.to_string(), row)).collect()
        }
        let mut rows = match self.by {
            By::Topic => texts(&self.statistics.topics),
            By::Group => texts(&self.statistics.groups),
            By::Client => texts(&self.statistics.clients),
            By::Broker => texts(&self.statistics.brokers),
            By::Command => texts(&self.statistics.commands),
        };
        // Rows with the same number stay in the order of their exchanges.
        rows.sort_by_key(|(_, row)| std::cmp::Reverse(self.order.of(row)));
        rows
    }

    /// The exchanges of a row that are still there and fit, the latest first.
    pub(super) fn exchanges(&self, of: &str) -> Vec<&Arc<Exchange>> {
        let recent = self.recent.iter();
        let fit = recent.filter(|exchange| {
            self.words.fit(exchange) && self.by.key(exchange).as_deref() == Some(of)
        });
        fit.collect()
    }

    /// Does what a key is for.
    pub(super) fn press(&mut self, key: KeyEvent) -> Goes {
        if key.kind == KeyEventKind::Release {
            return Goes::On;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            match key.code {
                KeyCode::Char('c') => return Goes::Away,
                KeyCode::Char('u') if self.is_typing => self.text.clear(),
                _ => {}
            }
            return Goes::On;
        }
        if self.is_typing {
            self.type_key(key.code);
            return Goes::On;
        }
        if self.is_helping {
            self.is_helping = false;
            return Goes::On;
        }
        match key.code {
            KeyCode::Char('q') => return Goes::Away,
            KeyCode::Char('?' | 'h') => self.is_helping = true,
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Char('p' | ' ') => self.hold(),
            KeyCode::Char('s') => self.order = self.order.next(),
            KeyCode::Char(digit @ '1'..='5') => self.turn(digit as usize - '1' as usize),
            KeyCode::Tab => self.turn(self.by as usize + 1),
            KeyCode::BackTab => self.turn(self.by as usize + By::ALL.len() - 1),
            KeyCode::Enter | KeyCode::Right => self.enter(),
            KeyCode::Esc | KeyCode::Left | KeyCode::Backspace => self.leave(),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::PageDown => self.step(self.page as isize),
            KeyCode::PageUp => self.step(-(self.page as isize)),
            KeyCode::Home => self.step(isize::MIN),
            KeyCode::End => self.step(isize::MAX),
            _ => {}
        }
        Goes::On
    }

    fn type_key(&mut self, code: KeyCode) {
        match code {
            KeyCode::Char(one) => self.text.push(one),
            KeyCode::Backspace => drop(self.text.pop()),
            KeyCode::Esc => {
                self.text.clear();
                self.is_typing = false;
            }
            KeyCode::Enter => self.is_typing = false,
            _ => {}
        }
        if !self.is_typing {
            self.choose(Words::read(&self.text));
        }
    }

    /// Looks at the exchanges that fit alone: counting begins anew with those that are still there.
    fn choose(&mut self, words: Words) {
        self.words = words;
        self.statistics = Statistics::default();
        self.rates = Rates::default();
        for exchange in self.recent.iter().rev() {
            if self.words.fit(exchange) {
                self.statistics.add(exchange);
            }
        }
    }

    /// Holds the screen, or lets it go on with what came meanwhile.
    fn hold(&mut self) {
        self.is_held = !self.is_held;
        if !self.is_held {
            for exchange in std::mem::take(&mut self.held) {
                self.show(exchange);
            }
        }
    }

    /// Turns to another table.
    fn turn(&mut self, to: usize) {
        self.by = By::ALL[to % By::ALL.len()];
        self.places = vec![Place::Rows { chosen: None }];
    }

    /// Goes from what is chosen to what is behind it.
    fn enter(&mut self) {
        let next = match self.place() {
            Place::Rows { .. } => {
                let rows = self.rows();
                let at = self.chosen();
                rows.get(at).map(|(key, _)| Place::Exchanges {
                    of: key.clone(),
                    chosen: None,
                })
            }
            Place::Exchanges { of, .. } => {
                let exchanges = self.exchanges(of);
                exchanges.get(self.chosen()).map(|exchange| Place::Fields {
                    of: Arc::clone(exchange),
                    from: 0,
                })
            }
            Place::Fields { of, .. } => Some(Place::Bytes {
                of: Arc::clone(of),
                from: 0,
            }),
            Place::Bytes { .. } => None,
        };
        self.places.extend(next);
    }

    fn leave(&mut self) {
        if self.places.len() > 1 {
            self.places.pop();
        }
    }

    /// Which line of the list is chosen.
    pub(super) fn chosen(&self) -> usize {
        let at = match self.place() {
            Place::Rows { chosen } => chosen
                .as_ref()
                .and_then(|chosen| self.rows().iter().position(|(key, _)| key == chosen)),
            Place::Exchanges { of, chosen } => chosen.and_then(|chosen| {
                let exchanges = self.exchanges(of);
                exchanges.iter().position(|one| one.number == chosen)
            }),
            Place::Fields { .. } | Place::Bytes { .. } => None,
        };
        at.unwrap_or(0)
    }

    /// Moves the choice, or the lines that are seen.
    fn step(&mut self, lines: isize) {
        let at = self.chosen();
        let next = at.saturating_add_signed(lines);
        let moved = match self.place() {
            Place::Rows { .. } => {
                let mut rows = self.rows();
                let at = next.min(rows.len().saturating_sub(1));
                let chosen = (at < rows.len()).then(|| rows.swap_remove(at).0);
                Place::Rows { chosen }
            }
            Place::Exchanges { of, .. } => {
                let exchanges = self.exchanges(of);
                let at = next.min(exchanges.len().saturating_sub(1));
                // At the top the latest is chosen, whichever it is.
                let chosen = (at > 0).then(|| exchanges.get(at).map(|one| one.number));
                Place::Exchanges {
                    of: of.clone(),
                    chosen: chosen.flatten(),
                }
            }
            Place::Fields { of, from } => Place::Fields {
                of: Arc::clone(of),
                from: from.saturating_add_signed(lines),
            },
            Place::Bytes { of, from } => Place::Bytes {
                of: Arc::clone(of),
                from: from.saturating_add_signed(lines),
            },
        };
        self.places.pop();
        self.places.push(moved);
    }

    /// Scrolls no further than to the last line.
    pub(super) fn scroll_within(&mut self, lines: usize) -> usize {
        let last = lines.saturating_sub(self.page);
        match self.places.last_mut() {
            Some(Place::Fields { from, .. } | Place::Bytes { from, .. }) => {
                *from = (*from).min(last);
                *from
            }
            _ => 0,
        }
    }
}
