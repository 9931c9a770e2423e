//! Tables: statistics and sessions, as rows for programs and as columns for people.

use std::fmt::Display;
use std::hash::Hash;
use std::time::Duration;

use serde::Serialize;

use super::line::plain;
use super::time::duration;
use crate::session::{Connection, Sessions};
use crate::statistics::{Row, Statistics, Table};

/// A row of the statistics.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatRow {
    /// What is counted by: `total`, `topic`, `group`, `client`, `broker`, `command`.
    pub by: &'static str,
    /// Which one of these.
    pub name: String,
    /// Exchanges.
    pub exchanges: u64,
    /// Exchanges in a second.
    pub rate: f64,
    /// Exchanges that went wrong.
    pub errors: u64,
    /// Exchanges that the server held for want of something to give.
    pub held: u64,
    /// Messages.
    pub messages: u64,
    /// Bytes of requests.
    pub request_bytes: u64,
    /// Bytes of responses.
    pub response_bytes: u64,
    /// Packets sent again while exchanges ran.
    pub retransmissions: u64,
    /// The latency that half of the exchanges did not exceed, in milliseconds.
    pub p50: Option<f64>,
    /// The latency that 99 of 100 did not exceed.
    pub p99: Option<f64>,
    /// The longest latency.
    pub max: Option<f64>,
}

/// The rows of the statistics: the total, then the `top` of each table.
pub fn statistics(statistics: &Statistics, top: usize) -> Vec<StatRow> {
    let span = statistics.span();
    let mut rows = vec![stat_row("total", "all".to_owned(), &statistics.total, span)];
    add_table(&mut rows, "topic", &statistics.topics, top, span);
    add_table(&mut rows, "group", &statistics.groups, top, span);
    add_table(&mut rows, "client", &statistics.clients, top, span);
    add_table(&mut rows, "broker", &statistics.brokers, top, span);
    add_table(&mut rows, "command", &statistics.commands, top, span);
    rows
}

fn add_table<K: Hash + Eq + Clone + Display>(
    rows: &mut Vec<StatRow>,
    by: &'static str,
    table: &Table<K>,
    top: usize,
    span: Duration,
) {
    for (name, row) in table.top().into_iter().take(top) {
        rows.push(stat_row(by, name.to_string(), row, span));
    }
    if table.rest().exchanges > 0 {
        rows.push(stat_row(by, "(others)".to_owned(), table.rest(), span));
    }
}

fn stat_row(by: &'static str, name: String, row: &Row, span: Duration) -> StatRow {
    let milliseconds = |percent| {
        let latency: Option<Duration> = row.percentile(percent);
        latency.map(|latency| latency.as_secs_f64() * 1_000.0)
    };
    StatRow {
        by,
        name,
        exchanges: row.exchanges,
        // Fewer than a second's exchanges are no rate.
        rate: row.exchanges as f64 / span.as_secs_f64().max(1.0),
        errors: row.errors,
        held: row.held,
        messages: row.messages,
        request_bytes: row.request_bytes,
        response_bytes: row.response_bytes,
        retransmissions: row.retransmissions,
        p50: milliseconds(50.0),
        p99: milliseconds(99.0),
        max: milliseconds(100.0),
    }
}

/// Statistics for people, a table for each thing counted by.
pub fn statistics_text(rows: &[StatRow]) -> String {
    let mut text = String::new();
    for part in rows.chunk_by(|a, b| a.by == b.by) {
        let by = part.first().map_or("", |row| row.by);
        let head = [
            by,
            "exchanges",
            "/s",
            "errors",
            "held",
            "messages",
            "sent",
            "received",
            "p50",
            "p99",
            "max",
        ];
        let latency = |milliseconds: Option<f64>| {
            milliseconds.map_or("-".to_owned(), |latency| {
                duration(Duration::from_secs_f64(latency / 1_000.0))
            })
        };
        let cells = part.iter().map(|row| {
            vec![
                plain(&row.name),
                row.exchanges.to_string(),
                format!("{:.1}", row.rate),
                row.errors.to_string(),
                row.held.to_string(),
                row.messages.to_string(),
                bytes(row.request_bytes),
                bytes(row.response_bytes),
                latency(row.p50),
                latency(row.p99),
                latency(row.max),
            ]
        });
        text.push_str(&columns(&head, &cells.collect::<Vec<_>>()));
        text.push('\n');
    }
    text
}

/// Bytes with a unit: `1.2 MB`.
pub fn bytes(count: u64) -> String {
    let units = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    let value = count as f64;
    match units.into_iter().find(|(unit, _)| value >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", value / unit),
        None => format!("{count} B"),
    }
}

/// Cells in columns as wide as their widest; the first is aligned to the left.
pub fn columns(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    let head = head.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (index, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if index == 0 {
                line.push_str(&format!("{cell:<width$}"));
            } else {
                line.push_str(&format!("  {cell:>width$}"));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Something of the sessions, as programs read it.
#[derive(Debug, Clone, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "lowercase",
    rename_all_fields = "camelCase"
)]
pub enum SessionRow {
    /// A connection.
    Connection {
        /// Its number.
        number: u64,
        /// The end that opened it.
        client: String,
        /// The end that accepted it.
        server: String,
        /// How requests travel.
        protocol: &'static str,
        /// The client's id.
        client_id: Option<String>,
        /// What the client is written in.
        language: Option<&'static str>,
        /// The client's process.
        process: Option<String>,
        /// When it was first seen.
        first: String,
        /// When it was last seen.
        last: String,
        /// Whether its end was seen.
        closed: bool,
        /// Exchanges.
        exchanges: u64,
        /// Exchanges that went wrong.
        errors: u64,
        /// Bytes that the client sent.
        client_bytes: u64,
        /// Bytes that the server sent.
        server_bytes: u64,
        /// Packets sent again, both ways.
        retransmissions: u64,
        /// Bytes that the capture does not have.
        missing: u64,
        /// From the place of the capture to the server and back, in milliseconds.
        server_round_trip: Option<f64>,
        /// From the place of the capture to the client and back, in milliseconds.
        client_round_trip: Option<f64>,
    },
    /// A client.
    Client {
        /// Its id.
        id: String,
        /// Its address.
        address: String,
        /// What it is written in.
        language: Option<&'static str>,
        /// Heartbeats seen.
        heartbeats: u64,
        /// Whether it left its groups.
        left: bool,
        /// The groups that it produces in.
        producer_groups: Vec<String>,
        /// The groups that it consumes in.
        consumer_groups: Vec<String>,
    },
    /// A consumer group.
    Group {
        /// Its name.
        name: String,
        /// How its clients get their messages.
        consume_type: Option<String>,
        /// Who gets a message.
        message_model: Option<String>,
        /// Whether it consumes in order.
        ordered: bool,
        /// Topics with their expressions.
        subscriptions: Vec<(String, String)>,
        /// Its clients.
        members: Vec<String>,
        /// How often its members changed.
        rebalances: u64,
        /// Messages delivered to it.
        delivered: u64,
        /// Messages that it acknowledged one by one.
        acknowledged: u64,
        /// Messages that it sent back.
        sent_back: u64,
    },
    /// How far a group has come in a queue.
    Queue {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
        /// The broker.
        broker: String,
        /// The queue.
        queue_id: i32,
        /// Behind its last message.
        max_offset: i64,
        /// Behind the last message delivered.
        delivered: i64,
        /// What the group is done with.
        committed: Option<i64>,
        /// Messages that the group is behind.
        lag: i64,
    },
}

/// All that is known of who is there.
pub fn sessions(sessions: &Sessions) -> Vec<SessionRow> {
    let strings = |names: &mut dyn Iterator<Item = &std::sync::Arc<str>>| -> Vec<String> {
        names.map(|name| name.to_string()).collect()
    };
    let mut rows: Vec<SessionRow> = sessions.connections().map(connection).collect();
    rows.extend(sessions.clients().map(|client| SessionRow::Client {
        id: client.id.to_string(),
        address: client.address.to_string(),
        language: client.language.map(|language| language.name()),
        heartbeats: client.heartbeats,
        left: client.left,
        producer_groups: strings(&mut client.producer_groups.iter()),
        consumer_groups: strings(&mut client.consumer_groups.iter()),
    }));
    rows.extend(sessions.groups().map(|group| {
        SessionRow::Group {
            name: group.name.to_string(),
            consume_type: group.consume_type.map(|kind| format!("{kind:?}")),
            message_model: group.message_model.map(|model| format!("{model:?}")),
            ordered: group.ordered,
            subscriptions: group
                .subscriptions
                .iter()
                .map(|(topic, expression)| (topic.to_string(), expression.to_string()))
                .collect(),
            members: strings(&mut group.members.iter()),
            rebalances: group.rebalances,
            delivered: group.delivered,
            acknowledged: group.acknowledged,
            sent_back: group.sent_back,
        }
    }));
    let mut queues: Vec<_> = sessions.progress().collect();
    queues.sort_by_cached_key(|(key, _)| {
        (
            key.group.clone(),
            key.topic.clone(),
            key.broker,
            key.queue_id,
        )
    });
    rows.extend(queues.into_iter().map(|(key, progress)| SessionRow::Queue {
        group: key.group.to_string(),
        topic: key.topic.to_string(),
        broker: key.broker.to_string(),
        queue_id: key.queue_id,
        max_offset: progress.max_offset,
        delivered: progress.delivered,
        committed: progress.committed,
        lag: progress.lag(),
    }));
    rows
}

fn connection(connection: &Connection) -> SessionRow {
    let milliseconds = |trip: Option<Duration>| trip.map(|trip| trip.as_secs_f64() * 1_000.0);
    let [client, server] = &connection.sent;
    SessionRow::Connection {
        number: connection.number,
        client: connection.client.to_string(),
        server: connection.server.to_string(),
        protocol: connection.protocol.name(),
        client_id: connection.client_id.as_ref().map(ToString::to_string),
        language: connection.language.map(|language| language.name()),
        process: connection
            .process
            .as_ref()
            .map(|process| process.name.to_string()),
        first: connection.first.to_string(),
        last: connection.last.to_string(),
        closed: connection.closed,
        exchanges: connection.exchanges,
        errors: connection.errors,
        client_bytes: client.bytes,
        server_bytes: server.bytes,
        retransmissions: client.retransmissions + server.retransmissions,
        missing: client.missing + server.missing,
        server_round_trip: milliseconds(connection.server_round_trip),
        client_round_trip: milliseconds(connection.client_round_trip),
    }
}

/// Sessions for people, a table for each kind.
pub fn sessions_text(rows: &[SessionRow]) -> String {
    let mut connections = Vec::new();
    let mut clients = Vec::new();
    let mut groups = Vec::new();
    let mut queues = Vec::new();
    let or = |text: &Option<String>| text.as_deref().map_or("-".to_owned(), plain);
    let trip = |milliseconds: &Option<f64>| {
        milliseconds.map_or("-".to_owned(), |trip| {
            duration(Duration::from_secs_f64(trip / 1_000.0))
        })
    };
    for row in rows {
        match row {
            SessionRow::Connection {
                client,
                server,
                protocol,
                client_id,
                exchanges,
                errors,
                client_bytes,
                server_bytes,
                retransmissions,
                missing,
                server_round_trip,
                ..
            } => connections.push(vec![
                format!("{client} → {server}"),
                (*protocol).to_owned(),
                or(client_id),
                exchanges.to_string(),
                errors.to_string(),
                bytes(*client_bytes),
                bytes(*server_bytes),
                retransmissions.to_string(),
                bytes(*missing),
                trip(server_round_trip),
            ]),
            SessionRow::Client {
                id,
                language,
                heartbeats,
                left,
                producer_groups,
                consumer_groups,
                ..
            } => clients.push(vec![
                plain(id),
                language.unwrap_or("-").to_owned(),
                heartbeats.to_string(),
                if *left { "left" } else { "there" }.to_owned(),
                plain(&producer_groups.join(", ")),
                plain(&consumer_groups.join(", ")),
            ]),
            SessionRow::Group {
                name,
                message_model,
                ordered,
                subscriptions,
                members,
                rebalances,
                delivered,
                sent_back,
                ..
            } => groups.push(vec![
                plain(name),
                or(message_model),
                if *ordered { "in order" } else { "concurrent" }.to_owned(),
                members.len().to_string(),
                rebalances.to_string(),
                delivered.to_string(),
                sent_back.to_string(),
                subscriptions
                    .iter()
                    .map(|(topic, expression)| plain(&format!("{topic}: {expression}")))
                    .collect::<Vec<_>>()
                    .join(", "),
            ]),
            SessionRow::Queue {
                group,
                topic,
                broker,
                queue_id,
                max_offset,
                delivered,
                committed,
                lag,
            } => queues.push(vec![
                plain(&format!("{group} of {topic}[{queue_id}]")),
                broker.clone(),
                max_offset.to_string(),
                delivered.to_string(),
                committed.map_or("-".to_owned(), |offset| offset.to_string()),
                lag.to_string(),
            ]),
        }
    }
    let tables: [(&[&str], _); 4] = [
        (
            &[
                "connection",
                "protocol",
                "client id",
                "exchanges",
                "errors",
                "sent",
                "received",
                "sent again",
                "missing",
                "to the server and back",
            ],
            connections,
        ),
        (
            &[
                "client",
                "language",
                "heartbeats",
                "is",
                "produces in",
                "consumes in",
            ],
            clients,
        ),
        (
            &[
                "group",
                "model",
                "order",
                "members",
                "rebalances",
                "delivered",
                "sent back",
                "subscriptions",
            ],
            groups,
        ),
        (
            &[
                "group and queue",
                "broker",
                "end",
                "delivered",
                "committed",
                "lag",
            ],
            queues,
        ),
    ];
    let tables = tables.iter().filter(|(_, rows)| !rows.is_empty());
    tables
        .map(|(head, rows)| columns(head, rows) + "\n")
        .collect()
}
