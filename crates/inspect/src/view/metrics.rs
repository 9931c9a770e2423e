//! Statistics as OpenMetrics, for programs that ask again and again.

use std::fmt::{Display, Write};
use std::hash::Hash;
use std::time::Duration;

use crate::statistics::{Row, Statistics, Table};

/// What a page of metrics is, in HTTP.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The quantiles of latencies, and the percent that they are.
const QUANTILES: [(&str, f64); 4] = [("0.5", 50.0), ("0.9", 90.0), ("0.99", 99.0), ("1", 100.0)];

/// A counter: its name, what it counts, its unit, and where it is in a row.
type Counter = (
    &'static str,
    &'static str,
    Option<&'static str>,
    fn(&Row) -> u64,
);

/// The counters, each of which there is by topic, group, client, server and command.
const COUNTERS: [Counter; 7] = [
    (
        "exchanges",
        "Requests and what answered them.",
        None,
        |row| row.exchanges,
    ),
    ("errors", "Exchanges that went wrong.", None, |row| {
        row.errors
    }),
    (
        "held",
        "Exchanges that the server held for want of messages.",
        None,
        |row| row.held,
    ),
    (
        "messages",
        "Messages sent, delivered, acknowledged and returned.",
        None,
        |row| row.messages,
    ),
    ("request_bytes", "Size of requests.", Some("bytes"), |row| {
        row.request_bytes
    }),
    (
        "response_bytes",
        "Size of responses.",
        Some("bytes"),
        |row| row.response_bytes,
    ),
    (
        "retransmissions",
        "Packets sent again while exchanges ran.",
        None,
        |row| row.retransmissions,
    ),
];

/// The page: what was counted, and how many packets or chunks the source lost.
pub fn page(statistics: &Statistics, lost: u64) -> String {
    let mut page = String::new();
    for (by, rows) in [
        ("topic", rows(&statistics.topics)),
        ("group", rows(&statistics.groups)),
        ("client", rows(&statistics.clients)),
        ("server", rows(&statistics.brokers)),
        ("command", rows(&statistics.commands)),
    ] {
        for (name, help, unit, value) in COUNTERS {
            let metric = format!("kerolox_inspect_{by}_{name}");
            describe(&mut page, &metric, "counter", unit, help);
            for (key, row) in &rows {
                let _ = writeln!(page, "{metric}_total{{{by}=\"{key}\"}} {}", value(row));
            }
        }
        let metric = format!("kerolox_inspect_{by}_latency_seconds");
        let help = "Latency without the time for which the server held requests.";
        describe(&mut page, &metric, "summary", Some("seconds"), help);
        for (key, row) in &rows {
            for (quantile, percent) in QUANTILES {
                if let Some(seconds) = row.percentile(percent).as_ref().map(Duration::as_secs_f64) {
                    let labels = format!("{by}=\"{key}\",quantile=\"{quantile}\"");
                    let _ = writeln!(page, "{metric}{{{labels}}} {seconds}");
                }
            }
        }
    }
    let metric = "kerolox_inspect_lost";
    describe(
        &mut page,
        metric,
        "counter",
        None,
        "Packets that came faster than they were read.",
    );
    let _ = writeln!(page, "{metric}_total {lost}\n# EOF");
    page
}

/// Writing to a text cannot fail.
fn describe(page: &mut String, metric: &str, kind: &str, unit: Option<&str>, help: &str) {
    let _ = writeln!(page, "# TYPE {metric} {kind}");
    if let Some(unit) = unit {
        let _ = writeln!(page, "# UNIT {metric} {unit}");
    }
    let _ = writeln!(page, "# HELP {metric} {help}");
}

/// The rows with their keys as the values of labels; what did not fit is under `other`.
fn rows<K: Hash + Eq + Clone + Display>(table: &Table<K>) -> Vec<(String, &Row)> {
    let rows = table.top().into_iter();
    let mut rows: Vec<_> = rows
        .map(|(key, row)| (label(&key.to_string()), row))
        .collect();
    if table.rest().exchanges > 0 {
        rows.push(("other".to_owned(), table.rest()));
    }
    rows
}

fn label(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_break_out() {
        assert_eq!(label("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }

    #[test]
    fn a_page_without_traffic_is_whole() {
        let page = page(&Statistics::default(), 3);
        assert!(page.starts_with("# TYPE kerolox_inspect_topic_exchanges counter\n"));
        assert!(page.ends_with("kerolox_inspect_lost_total 3\n# EOF\n"));
    }
}
