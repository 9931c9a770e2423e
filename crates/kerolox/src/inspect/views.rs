//! What the commands show of exchanges: lines, tables, one message's way.

pub(super) mod pages;

use std::io::{BufWriter, ErrorKind, StdoutLock, Write};
use std::ops::ControlFlow;

use inspect::view::table::{self, columns};
use inspect::view::time::duration;
use inspect::view::{json, line};
use inspect::{Counts, Exchange, Follow, Inspector, Statistics};
use serde::Serialize;

use self::pages::Page;
use super::put;
use crate::client::OutputFormat;
use crate::error::CliError;

/// Shows exchanges.
pub(super) trait View {
    /// Takes an exchange that has ended; broken off: nobody reads any more.
    fn take(&mut self, exchange: &Exchange) -> ControlFlow<()>;

    /// Shows what was taken so far, since more may be long in coming; broken off as above.
    fn pause(&mut self, inspector: &Inspector) -> ControlFlow<()>;

    /// Shows what there is to show at the end.
    fn end(&mut self, inspector: &Inspector) -> Result<(), CliError>;
}

fn system(source: std::io::Error) -> CliError {
    CliError::System {
        what: "write to standard output",
        source,
    }
}

/// An object a line.
fn json_lines<T: Serialize>(rows: &[T]) -> String {
    let lines = rows
        .iter()
        .filter_map(|row| serde_json::to_string(row).ok());
    lines.map(|line| line + "\n").collect()
}

/// A line an exchange.
pub(super) struct Lines {
    out: BufWriter<StdoutLock<'static>>,
    output: OutputFormat,
    failed: Option<std::io::Error>,
}

impl Lines {
    pub(super) fn new(output: OutputFormat) -> Self {
        Self {
            out: BufWriter::new(std::io::stdout().lock()),
            output,
            failed: None,
        }
    }
}

impl View for Lines {
    fn take(&mut self, exchange: &Exchange) -> ControlFlow<()> {
        let text = match self.output {
            OutputFormat::Json => json::line(exchange),
            OutputFormat::Table => line::line(exchange),
        };
        put(&mut self.out, &text).unwrap_or_else(|error| {
            self.failed = Some(error);
            ControlFlow::Break(())
        })
    }

    fn pause(&mut self, _: &Inspector) -> ControlFlow<()> {
        // What fails here fails at the end, too.
        let _ = self.out.flush();
        ControlFlow::Continue(())
    }

    fn end(&mut self, _: &Inspector) -> Result<(), CliError> {
        match self.failed.take().map_or_else(|| self.out.flush(), Err) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(system(error)),
            _ => Ok(()),
        }
    }
}

/// Counts.
pub(super) struct StatTables {
    statistics: Statistics,
    output: OutputFormat,
    top: usize,
}

impl StatTables {
    pub(super) fn new(output: OutputFormat, top: usize) -> Self {
        Self {
            statistics: Statistics::default(),
            output,
            top,
        }
    }
}

impl Page for StatTables {
    fn add(&mut self, exchange: &Exchange) {
        self.statistics.add(exchange);
    }

    fn text(&self, _: &Inspector) -> String {
        let rows = table::statistics(&self.statistics, self.top);
        match self.output {
            OutputFormat::Json => json_lines(&rows),
            OutputFormat::Table => table::statistics_text(&rows),
        }
    }
}

/// Who is there.
pub(super) struct SessionTables {
    output: OutputFormat,
}

impl SessionTables {
    pub(super) fn new(output: OutputFormat) -> Self {
        Self { output }
    }
}

impl Page for SessionTables {
    fn add(&mut self, _: &Exchange) {}

    fn text(&self, inspector: &Inspector) -> String {
        let rows = table::sessions(inspector.sessions());
        match self.output {
            OutputFormat::Json => json_lines(&rows),
            OutputFormat::Table => table::sessions_text(&rows),
        }
    }
}

/// The way of one message.
pub(super) struct Follower {
    follow: Follow,
    id: String,
    output: OutputFormat,
}

impl Follower {
    pub(super) fn new(output: OutputFormat, id: &str) -> Self {
        Self {
            follow: Follow::new(id),
            id: id.to_owned(),
            output,
        }
    }
}

impl Page for Follower {
    fn add(&mut self, exchange: &Exchange) {
        self.follow.take(exchange);
    }

    fn text(&self, _: &Inspector) -> String {
        let steps = self.follow.steps();
        let lines = steps.iter().map(|step| match self.output {
            OutputFormat::Json => json::step(step) + "\n",
            OutputFormat::Table => line::step(step) + "\n",
        });
        lines.collect()
    }

    fn is_in_vain(&self) -> Option<CliError> {
        let id = self.id.clone();
        let steps = self.follow.steps();
        steps.is_empty().then_some(CliError::NoMessage { id })
    }
}

/// A page that says what is going on.
pub(super) struct Overview {
    statistics: Statistics,
    output: OutputFormat,
}

/// The page as programs read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OverviewLine {
    seconds: f64,
    packets: u64,
    chunks: u64,
    bytes: u64,
    lost: u64,
    frames: u64,
    exchanges: u64,
    errors: u64,
    messages: u64,
    connections: usize,
    clients: usize,
    groups: usize,
    retransmissions: u64,
    reordered: u64,
    missing: u64,
    skipped: u64,
    cut: u64,
    foreign: u64,
    encrypted: u64,
    dropped: u64,
    lag: i64,
}

impl Overview {
    pub(super) fn new(output: OutputFormat) -> Self {
        Self {
            statistics: Statistics::default(),
            output,
        }
    }

    fn line(&self, inspector: &Inspector) -> OverviewLine {
        let counts: &Counts = inspector.counts();
        let sessions = inspector.sessions();
        OverviewLine {
            seconds: self.statistics.span().as_secs_f64(),
            packets: counts.packets,
            chunks: counts.chunks,
            bytes: counts.bytes,
            lost: counts.lost,
            frames: counts.frames,
            exchanges: self.statistics.total.exchanges,
            errors: self.statistics.total.errors,
            messages: self.statistics.total.messages,
            connections: sessions.connections().count(),
            clients: sessions.clients().count(),
            groups: sessions.groups().count(),
            retransmissions: counts.retransmissions,
            reordered: counts.reordered,
            missing: counts.missing,
            skipped: counts.skipped,
            cut: counts.cut,
            foreign: counts.foreign,
            encrypted: counts.encrypted,
            dropped: counts.dropped,
            lag: sessions
                .progress()
                .map(|(_, progress)| progress.lag())
                .sum(),
        }
    }
}

impl Page for Overview {
    fn add(&mut self, exchange: &Exchange) {
        self.statistics.add(exchange);
    }

    fn text(&self, inspector: &Inspector) -> String {
        let line = self.line(inspector);
        if self.output == OutputFormat::Json {
            return json_lines(&[line]);
        }
        let fact = |name: &str, value: String| vec![name.to_owned(), value];
        let facts = [
            fact("time", duration(self.statistics.span())),
            fact("packets", (line.packets + line.chunks).to_string()),
            fact("bytes", table::bytes(line.bytes)),
            fact("connections", line.connections.to_string()),
            fact("clients", line.clients.to_string()),
            fact("consumer groups", line.groups.to_string()),
            fact("frames", line.frames.to_string()),
            fact("exchanges", line.exchanges.to_string()),
            fact("gone wrong", line.errors.to_string()),
            fact("messages", line.messages.to_string()),
            fact("messages behind", line.lag.to_string()),
            fact("packets sent again", line.retransmissions.to_string()),
            fact("packets lost", line.lost.to_string()),
            fact("bytes missing", line.missing.to_string()),
            fact("bytes not understood", line.skipped.to_string()),
            fact("packets cut off", line.cut.to_string()),
            fact("encrypted connections", line.encrypted.to_string()),
            fact("other connections", line.foreign.to_string()),
            fact("connections dropped", line.dropped.to_string()),
        ];
        let top = table::statistics(&self.statistics, 5);
        let text = columns(&["", ""], &facts);
        format!("{}\n{}", text.trim_start(), table::statistics_text(&top))
    }
}
