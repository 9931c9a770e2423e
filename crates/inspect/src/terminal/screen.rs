//! How the board is drawn.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style, Stylize};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row as Cells, Table as Grid, TableState};

use super::board::{Board, By, MAX_RECENT, Place};
use super::fields::{dump, fields};
use crate::exchange::Exchange;
use crate::view::line;
use crate::view::table::bytes;
use crate::view::time::{clock, duration};

/// Each fits a line of 58 columns.
const HELP: [(&str, &str); 12] = [
    ("1 to 5, Tab", "topics, groups, clients, …"),
    ("↑ ↓ PgUp PgDn Home End", "choose, scroll"),
    ("Enter, →", "go to exchanges, fields, bytes"),
    ("Esc, ←", "go back"),
    ("p, Space", "hold the screen, let it go on"),
    ("s", "sort by the next number"),
    ("/", "show only what all words fit:"),
    ("   orders", "a part of a name, status or id"),
    ("   >10ms", "took longer"),
    ("   !", "went wrong"),
    ("   Ctrl-U", "forget what was typed"),
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
/// The numbers in the order in which they get room.
const NUMBERS_RANK: [usize; 10] = [1, 3, 8, 0, 2, 7, 5, 6, 9, 4];

/// What is shown of an exchange, and how wide it is at most.
const COLUMNS: [(&str, u16); 8] = [
    ("time", 15),
    ("command", 28),
    ("subject", 60),
    ("group", 40),
    ("client", 45),
    ("status", 26),
    ("latency", 14),
    ("messages", ID_END as u16 + 1),
];
/// These in the order in which they get room.
const COLUMNS_RANK: [usize; 8] = [0, 1, 6, 2, 5, 7, 4, 3];
/// Where an exchange's subject stands in them, which gives way to what else is important.
const SUBJECT: usize = 2;
/// The least room of a subject, and of the name of a row.
const MIN_NAME: u16 = 12;
/// Where the command stands, which has a third of the columns at most.
const COMMAND: usize = 1;
/// So many columns hold everything that can be said at the top, and a line of 16 bytes.
const WIDE: u16 = 100;
/// So many hold the tables' names and what they are sorted by.
const TITLED: u16 = 68;
/// How wide the names of fields, and the keys of the help, are.
const NAME: usize = 24;

/// How many letters of a message's id are shown.
const ID_END: usize = 12;

const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);
const HEAD: Style = Style::new().add_modifier(Modifier::BOLD);

/// Draws everything.
pub(super) fn draw(board: &mut Board, frame: &mut Frame<'_>) {
    let area = frame.area();
    let latest = board.notices.iter().rev().take(3).rev();
    let mut said: Vec<Line<'_>> = latest
        .flat_map(|one| wrapped(&line::plain(one), area.width.into()))
        .map(|line| Line::from(line).yellow())
        .collect();
    said.drain(..said.len().saturating_sub(usize::from(area.height) / 3));
    let [head, body, notices, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Min(1),
        Constraint::Length(said.len() as u16),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(top(board, area.width)), head);
    board.page = usize::from(body.height.saturating_sub(1)).max(1);
    match board.place().clone() {
        Place::Rows { .. } => rows(board, frame, body),
        Place::Exchanges { of, .. } => exchanges(board, &of, frame, body),
        Place::Fields { of, .. } => {
            let lines = fields(&of)
                .into_iter()
                .flat_map(|(name, value)| named(name, &value, body.width));
            scrolled(board, lines.collect(), frame, body);
        }
        Place::Bytes { of, .. } => {
            let lines = dump(&of, body.width).into_iter().map(Line::from);
            scrolled(board, lines.collect(), frame, body);
        }
    }
    frame.render_widget(Paragraph::new(said), notices);
    frame.render_widget(Paragraph::new(bottom(board)), foot);
    if board.is_helping {
        help(frame);
    }
}

/// A text in lines of a width, which break at blanks if there are any.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut room = width.max(1);
    for word in text.split_inclusive(' ') {
        let is_long = word.trim_end().chars().count() > width;
        if !is_long && word.trim_end().chars().count() > room {
            lines.push(String::new());
            room = width;
        }
        for letter in word.chars() {
            if room == 0 && letter == ' ' {
                continue;
            }
            if room == 0 {
                lines.push(String::new());
                room = width.max(1);
            }
            if let Some(line) = lines.last_mut() {
                line.push(letter);
            }
            room -= 1;
        }
    }
    lines
}

/// A name and what belongs to it, in as many lines as that takes.
fn named(name: &str, value: &str, width: u16) -> Vec<Line<'static>> {
    let lines = wrapped(value, usize::from(width).saturating_sub(NAME));
    let names = std::iter::once(name).chain(std::iter::repeat(""));
    let both = names.zip(lines);
    both.map(|(name, value)| Line::from(vec![format!("{name:<NAME$}").bold(), value.into()]))
        .collect()
}

/// Which of the columns have room beside each other, with a gap between them: by their places in
/// the order of their importance, given back from the left to the right.
fn fitting(widths: &[u16], rank: &[usize], room: u16) -> Vec<usize> {
    let mut left = room + 1;
    let mut fit: Vec<usize> = rank
        .iter()
        .copied()
        .take_while(|at| {
            let taken = widths.get(*at).map_or(0, |width| width + 1);
            let fits = taken <= left;
            left = left.saturating_sub(taken);
            fits
        })
        .collect();
    fit.sort_unstable();
    fit
}

/// What it is about, and the tables that there are.
fn top(board: &Board, width: u16) -> Text<'static> {
    let total = &board.statistics.total;
    let is_wide = width >= WIDE;
    let mut first = Vec::new();
    if is_wide {
        first.push("kerolox inspect  ".bold());
    }
    if board.is_held {
        first.push("HELD".yellow().bold());
        if board.passed_over > 0 {
            first.push(format!(" ({} passed over)", board.passed_over).yellow());
        }
        first.push("  ".into());
    }
    if board.lost > 0 {
        first.push(format!("{} lost  ", board.lost).red());
    }
    first.push(
        format!(
            "{} exchanges  {:.0}/s  {} errors",
            total.exchanges,
            board.total_rate(),
            total.errors
        )
        .into(),
    );
    if let Some(p99) = total.percentile(99.0) {
        first.push(format!("  p99 {}", duration(p99)).into());
    }
    first.push(format!("  {} messages", total.messages).into());
    // Where there is little room, the way that one has gone takes that of the other tables.
    let is_first = matches!(board.place(), Place::Rows { .. });
    let shown = |by: &By| is_wide || is_first || *by == board.by;
    let tables = By::ALL.iter().enumerate().filter(|(_, by)| shown(by));
    let tables = tables.flat_map(|(at, by)| {
        let name = format!(" {} {} ", at + 1, by.name());
        let style = if *by == board.by {
            CHOSEN
        } else {
            Style::new()
        };
        [
            Span::styled(name, style),
            Span::raw(if is_wide { " " } else { "" }),
        ]
    });
    let mut second: Vec<Span<'static>> = tables.collect();
    second.push(match board.place() {
        Place::Rows { .. } if width < TITLED => "".into(),
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
    let rows = board.rows();
    if rows.is_empty() {
        let why = match (board.text.is_empty(), board.has_ended) {
            (false, _) => "Nothing fits what was typed: / changes that.",
            (true, true) => "There are no exchanges of RocketMQ in this capture.",
            (true, false) => "Nothing was seen yet.",
        };
        return instead(why, frame, area);
    }
    let longest = rows.iter().map(|(key, _)| key.chars().count()).max();
    let name = longest.map_or(0, |longest| longest as u16);
    let name = name.clamp(MIN_NAME, (area.width / 3).max(MIN_NAME));
    let widths = NUMBERS.map(|(_, width)| width);
    let fit = fitting(&widths, &NUMBERS_RANK, area.width.saturating_sub(name + 1));
    let cells = rows.into_iter().map(|(key, row)| {
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
        let numbers = fit.iter().map(|at| {
            let (name, width) = NUMBERS[*at];
            let number = format!("{:>width$}", numbers[*at], width = usize::from(width));
            match name {
                "errors" if row.errors > 0 => Cell::from(number).red(),
                _ => Cell::from(number),
            }
        });
        let name = Cell::from(line::plain(&key));
        Cells::new(std::iter::once(name).chain(numbers).collect::<Vec<_>>())
    });
    let columns = fit.iter().map(|at| NUMBERS[*at]);
    let head = columns
        .clone()
        .map(|(name, width)| format!("{name:>width$}", width = usize::from(width)));
    let name = board.by.name().trim_end_matches('s').to_owned();
    let head = Cells::new(std::iter::once(name).chain(head)).style(HEAD);
    let widths = columns.map(|(_, width)| Constraint::Length(width));
    let widths = std::iter::once(Constraint::Min(MIN_NAME)).chain(widths);
    list(board, Grid::new(cells, widths).header(head), frame, area);
}

fn exchanges(board: &Board, of: &str, frame: &mut Frame<'_>, area: Rect) {
    let exchanges = board.exchanges(of);
    if exchanges.is_empty() {
        let why = format!("None of these is among the latest {MAX_RECENT} exchanges.");
        return instead(&why, frame, area);
    }
    let texts: Vec<[String; 8]> = exchanges
        .iter()
        .map(|exchange| {
            [
                clock(exchange.timing.request.0),
                exchange.command.to_string(),
                line::subject(exchange),
                line::plain(exchange.group.as_deref().unwrap_or("-")),
                exchange.client.to_string(),
                line::status(exchange),
                latency(exchange),
                messages(exchange),
            ]
        })
        .collect();
    let mut widths = [0; 8];
    for (at, (width, (head, most))) in widths.iter_mut().zip(COLUMNS).enumerate() {
        let texts = texts.iter().map(|texts| texts[at].chars().count());
        let longest = texts.max().unwrap_or(0).max(head.len());
        *width = (longest as u16).min(most);
    }
    widths[COMMAND] = widths[COMMAND].min((area.width / 3).max(MIN_NAME));
    let wanted = std::mem::replace(&mut widths[SUBJECT], MIN_NAME);
    let fit = fitting(&widths, &COLUMNS_RANK, area.width);
    let cells = exchanges.iter().zip(&texts).map(|(exchange, texts)| {
        let cells = Cells::new(fit.iter().map(|at| texts[*at].as_str()));
        match exchange.is_error() {
            true => cells.red(),
            false => cells,
        }
    });
    let head = fit.iter().map(|at| COLUMNS[*at].0);
    let head = Cells::new(head).style(HEAD);
    // What is left goes to the subject, or stays free behind the last column.
    let taken: u16 = fit.iter().map(|at| widths[*at] + 1).sum();
    let room = (area.width + 1).saturating_sub(taken) + MIN_NAME;
    widths[SUBJECT] = wanted.clamp(MIN_NAME, room.max(MIN_NAME));
    let widths = fit.iter().map(|at| Constraint::Length(widths[*at]));
    list(board, Grid::new(cells, widths).header(head), frame, area);
}

/// Says why there is no list.
fn instead(why: &str, frame: &mut Frame<'_>, area: Rect) {
    let lines = wrapped(why, area.width.into()).into_iter().map(Line::from);
    let page: Vec<_> = std::iter::once(Line::default()).chain(lines).collect();
    frame.render_widget(Paragraph::new(page).dim(), area);
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
    let width = area.width.min(60);
    let lines = HELP
        .iter()
        .flat_map(|(keys, what)| named(keys, what, width.saturating_sub(2)));
    let lines: Vec<Line<'_>> = lines.collect();
    let height = area.height.min(lines.len() as u16 + 2);
    let area = Rect {
        x: (area.width - width) / 2,
        y: (area.height - height) / 2,
        width,
        height,
    };
    frame.render_widget(Clear, area);
    let page = Paragraph::new(lines).block(Block::bordered().title(" keys "));
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
