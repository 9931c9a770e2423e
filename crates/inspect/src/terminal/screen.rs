//! How the board is drawn.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style, Stylize};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row as Cells, Table as Grid, TableState};

use super::board::{Board, By, Place};
use super::fields::{dump, fields};
use crate::exchange::Exchange;
use crate::view::line;
use crate::view::table::bytes;
use crate::view::time::{clock, duration};

const HELP: [(&str, &str); 11] = [
    ("1 to 5, Tab", "topics, groups, clients, brokers, commands"),
    ("↑ ↓ PgUp PgDn Home End", "choose, scroll"),
    ("Enter, →", "go to the exchanges, the fields, the bytes"),
    ("Esc, ←", "go back"),
    ("p, Space", "hold the screen, let it go on"),
    ("s", "sort by exchanges, messages, errors, bytes, p99"),
    ("/", "look at some exchanges only; words that all must fit:"),
    (
        "   orders",
        "a part of topic, group, client, server, command, status, id",
    ),
    ("   >10ms", "took longer"),
    ("   !", "went wrong"),
    ("q", "leave"),
];

/// The numbers of a row, and how wide they are.
const NUMBERS: [(&str, u16); 10] = [
    ("exch/s", 8),
    ("exchanges", 10),
    ("messages", 10),
    ("errors", 8),
    ("held", 7),
    ("in", 9),
    ("out", 9),
    ("p50", 9),
    ("p99", 9),
    ("max", 9),
];

/// How many letters of a message's id are shown.
const ID_END: usize = 12;

const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);
const HEAD: Style = Style::new().add_modifier(Modifier::BOLD);

/// Draws everything.
pub(super) fn draw(board: &mut Board, frame: &mut Frame<'_>) {
    let notices = board.notices.len().min(3) as u16;
    let [head, body, said, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Min(1),
        Constraint::Length(notices),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(top(board)), head);
    board.page = usize::from(body.height.saturating_sub(1)).max(1);
    match board.place().clone() {
        Place::Rows { .. } => rows(board, frame, body),
        Place::Exchanges { of, .. } => exchanges(board, &of, frame, body),
        Place::Fields { of, .. } => {
            let lines = fields(&of)
                .into_iter()
                .map(|(name, value)| Line::from(vec![format!("{name:<24}").bold(), value.into()]));
            scrolled(board, lines.collect(), frame, body);
        }
        Place::Bytes { of, .. } => {
            let lines = dump(&of).into_iter().map(Line::from);
            scrolled(board, lines.collect(), frame, body);
        }
    }
    let latest = board.notices.iter().rev().take(3).rev();
    let latest: Vec<Line<'_>> = latest.map(|one| line::plain(one).yellow().into()).collect();
    frame.render_widget(Paragraph::new(latest), said);
    frame.render_widget(Paragraph::new(bottom(board)), foot);
    if board.is_helping {
        help(frame);
    }
}

/// What it is about, and the tables that there are.
fn top(board: &Board) -> Text<'static> {
    let total = &board.statistics.total;
    let mut first = vec![
        "kerolox inspect".bold(),
        format!(
            "  {} exchanges  {:.0}/s  {} messages  {} errors",
            total.exchanges,
            board.total_rate(),
            total.messages,
            total.errors
        )
        .into(),
    ];
    if let Some(p99) = total.percentile(99.0) {
        first.push(format!("  p99 {}", duration(p99)).into());
    }
    if board.lost > 0 {
        first.push(format!("  {} lost", board.lost).red());
    }
    if board.is_held {
        first.push("  HELD".yellow().bold());
        if board.passed_over > 0 {
            first.push(format!(" ({} passed over)", board.passed_over).yellow());
        }
    }
    let tables = By::ALL.iter().enumerate().flat_map(|(at, by)| {
        let name = format!(" {} {} ", at + 1, by.name());
        let style = if *by == board.by {
            CHOSEN
        } else {
            Style::new()
        };
        [Span::styled(name, style), " ".into()]
    });
    let mut second: Vec<Span<'static>> = tables.collect();
    second.push(match board.place() {
        Place::Rows { .. } => format!(" by {}", board.order.name()).into(),
        Place::Exchanges { of, .. } => format!(" › {}", line::plain(of)).into(),
        Place::Fields { of, .. } => format!(" › {} {}", of.number, of.command).into(),
        Place::Bytes { of, .. } => format!(" › {} {} › bytes", of.number, of.command).into(),
    });
    Text::from(vec![Line::from(first), Line::from(second)])
}

/// What can be done.
fn bottom(board: &Board) -> Line<'static> {
    if board.is_typing {
        return Line::from(vec!["/".bold(), board.text.clone().into(), "▏".into()]);
    }
    let mut spans = Vec::new();
    if !board.text.is_empty() {
        spans.push(format!("/{}  ", board.text).cyan());
    }
    let keys = match board.place() {
        Place::Rows { .. } => "Enter exchanges  s sort  / filter  p hold  ? help  q leave",
        Place::Exchanges { .. } => "Enter fields  Esc back  / filter  p hold  ? help  q leave",
        Place::Fields { .. } => "Enter bytes  Esc back  ? help  q leave",
        Place::Bytes { .. } => "Esc back  ? help  q leave",
    };
    spans.push(keys.dim());
    Line::from(spans)
}

fn rows(board: &Board, frame: &mut Frame<'_>, area: Rect) {
    let cells = board.rows().into_iter().map(|(key, row)| {
        let time = |percent| {
            row.percentile(percent)
                .map_or_else(|| "-".to_owned(), duration)
        };
        let numbers = [
            format!("{:.0}", board.rate(&key)),
            row.exchanges.to_string(),
            row.messages.to_string(),
            row.errors.to_string(),
            row.held.to_string(),
            bytes(row.request_bytes),
            bytes(row.response_bytes),
            time(50.0),
            time(99.0),
            time(100.0),
        ];
        let numbers = numbers
            .into_iter()
            .zip(NUMBERS)
            .map(|(number, (name, width))| {
                let cell = Cell::from(format!("{number:>width$}", width = usize::from(width)));
                match name {
                    "errors" if row.errors > 0 => cell.red(),
                    _ => cell,
                }
            });
        Cells::new([Cell::from(line::plain(&key))].into_iter().chain(numbers))
    });
    let widths = NUMBERS.map(|(_, width)| Constraint::Length(width));
    let widths = [Constraint::Min(12)].into_iter().chain(widths);
    let name = board.by.name().trim_end_matches('s').to_owned();
    let head = NUMBERS.map(|(name, width)| format!("{name:>width$}", width = usize::from(width)));
    let head = Cells::new([name].into_iter().chain(head)).style(HEAD);
    list(board, Grid::new(cells, widths).header(head), frame, area);
}

fn exchanges(board: &Board, of: &str, frame: &mut Frame<'_>, area: Rect) {
    let head = [
        "time", "command", "subject", "group", "client", "status", "latency", "messages",
    ];
    let cells = board.exchanges(of).into_iter().map(|exchange| {
        let group = exchange.group.as_deref().unwrap_or("-");
        let cells = Cells::new([
            clock(exchange.timing.request.0),
            exchange.command.to_string(),
            line::subject(exchange),
            line::plain(group),
            exchange.client.to_string(),
            line::status(exchange),
            latency(exchange),
            messages(exchange),
        ]);
        if exchange.is_error() {
            cells.red()
        } else {
            cells
        }
    });
    let widths = [
        Constraint::Length(15),
        Constraint::Length(28),
        Constraint::Min(16),
        Constraint::Min(10),
        Constraint::Length(21),
        Constraint::Length(21),
        Constraint::Length(14),
        Constraint::Length(ID_END as u16 + 1),
    ];
    list(
        board,
        Grid::new(cells, widths).header(Cells::new(head).style(HEAD)),
        frame,
        area,
    );
}

fn list(board: &Board, grid: Grid<'_>, frame: &mut Frame<'_>, area: Rect) {
    let mut state = TableState::new().with_selected(board.chosen());
    frame.render_stateful_widget(grid.row_highlight_style(CHOSEN), area, &mut state);
}

fn scrolled(board: &mut Board, lines: Vec<Line<'static>>, frame: &mut Frame<'_>, area: Rect) {
    let from = board.scroll_within(lines.len());
    let seen: Vec<_> = lines.into_iter().skip(from).collect();
    frame.render_widget(Paragraph::new(seen), area);
}

fn help(frame: &mut Frame<'_>) {
    let area = frame.area();
    let (width, height) = (area.width.min(90), area.height.min(HELP.len() as u16 + 2));
    let area = Rect {
        x: (area.width - width) / 2,
        y: (area.height - height) / 2,
        width,
        height,
    };
    let lines =
        HELP.map(|(keys, what)| Line::from(vec![format!("{keys:<24}").bold(), what.into()]));
    frame.render_widget(Clear, area);
    let page = Paragraph::new(lines.to_vec()).block(Block::bordered().title(" keys "));
    frame.render_widget(page, area);
}

fn latency(exchange: &Exchange) -> String {
    match exchange.latency() {
        None => "-".to_owned(),
        Some(time) if exchange.is_held() => format!("{} held", duration(time)),
        Some(time) => duration(time),
    }
}

/// The end of the only message's id, where ids differ, or how many there are.
fn messages(exchange: &Exchange) -> String {
    match exchange.messages.as_slice() {
        [] => String::new(),
        [one] => {
            let id = line::plain(one.id.as_deref().unwrap_or("1"));
            match id.char_indices().rev().nth(ID_END - 1) {
                Some((from, _)) if from > 0 => format!("…{}", &id[from..]),
                _ => id,
            }
        }
        many => many.len().to_string(),
    }
}
