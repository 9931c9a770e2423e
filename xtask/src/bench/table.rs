//! The results as a table, for a terminal and for docs/benchmarks.md.

use std::fmt::Write;
use std::fs;

use super::server::Kind;
use super::{Metric, Process, Results, Workload};
use crate::process::{self, Result};

/// What a command writes stands behind a line with its name, and before this one.
const END: &str = "<!-- end of what is written -->";

/// The results as Markdown.
pub(super) fn markdown(workloads: &[Workload], results: &Results) -> String {
    let mut out = format!("`{}` on {}:\n\n", results.command, results.machine);
    out.push_str("| work | reference | Kerolox | Kerolox is | floor | of floor |\n|---|---|---|---|---|---|\n");
    for workload in workloads {
        let number = |kind: Kind, metric: Metric| {
            results
                .workloads
                .get(&workload.name)?
                .get(kind.name())?
                .get(&metric)
                .copied()
        };
        let shown = |kind: Kind| {
            let numbers = workload
                .shows
                .iter()
                .filter_map(|metric| Some(self::number(*metric, number(kind, *metric)?)));
            or_dash(numbers.collect::<Vec<_>>().join(", "))
        };
        let ratios = workload.shows.iter().filter_map(|metric| {
            compared(
                *metric,
                number(Kind::Reference, *metric)?,
                number(Kind::Kerolox, *metric)?,
            )
        });
        let of_floor = number(Kind::Kerolox, Metric::Rate)
            .zip(number(Kind::Null, Metric::Rate))
            .map(|(ours, floor)| format!("{:.2}", ours / floor));
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} |",
            workload.title,
            shown(Kind::Reference),
            shown(Kind::Kerolox),
            or_dash(ratios.collect::<Vec<_>>().join(", ")),
            shown(Kind::Null),
            or_dash(of_floor.unwrap_or_default()),
        );
    }
    processes(results, &mut out);
    for failure in &results.failures {
        let _ = writeln!(out, "\nRefused (code: count): {failure}");
    }
    out
}

fn processes(results: &Results, out: &mut String) {
    type Number = fn(&Process) -> f64;
    type Shown = fn(f64) -> String;
    let megabytes: Shown = |bytes| format!("{:.0} MB", bytes / 1e6);
    let seconds: Shown = |seconds| format!("{seconds:.3} s");
    let rows: [(&str, Number, Shown); 4] = [
        (
            "resident memory when idle",
            |process| process.idle_resident,
            megabytes,
        ),
        (
            "resident memory after all of this",
            |process| process.loaded_resident,
            megabytes,
        ),
        (
            "of that private",
            |process| process.loaded_private,
            megabytes,
        ),
        (
            "start to first answer",
            |process| process.start_seconds,
            seconds,
        ),
    ];
    for (title, number, show) in rows {
        let number = |kind: Kind| results.processes.get(kind.name()).map(number);
        let (reference, kerolox) = (number(Kind::Reference), number(Kind::Kerolox));
        let ratio = reference
            .zip(kerolox)
            .map(|(theirs, ours)| less(theirs / ours));
        let shown = |number: Option<f64>| or_dash(number.map(show).unwrap_or_default());
        let _ = writeln!(
            out,
            "| {title} | {} | {} | {} | {} | – |",
            shown(reference),
            shown(kerolox),
            or_dash(ratio.unwrap_or_default()),
            shown(number(Kind::Null)),
        );
    }
}

pub(super) fn or_dash(text: String) -> String {
    if text.is_empty() {
        "–".to_owned()
    } else {
        text
    }
}

/// A number with its unit.
pub(super) fn number(metric: Metric, number: f64) -> String {
    match metric {
        Metric::Rate => format!("{} msg/s", grouped(number)),
        Metric::Sent => format!("{} sent/s", grouped(number)),
        Metric::Megabytes => format!("{} MB/s", grouped(number)),
        Metric::P50 => format!("p50 {}", time(number)),
        Metric::P99 => format!("p99 {}", time(number)),
        Metric::P999 => format!("p99.9 {}", time(number)),
        Metric::Cpu => format!("{} of processor", time(number)),
    }
}

/// How Kerolox compares; nothing where the rate says it already.
fn compared(metric: Metric, reference: f64, kerolox: f64) -> Option<String> {
    match metric {
        Metric::Rate => Some(format!("{:.1}× rate", kerolox / reference)),
        Metric::Sent | Metric::Megabytes => None,
        Metric::P50 => Some(format!("p50 {}", less(reference / kerolox))),
        Metric::P99 => Some(format!("p99 {}", less(reference / kerolox))),
        Metric::P999 => Some(format!("p99.9 {}", less(reference / kerolox))),
        Metric::Cpu => Some(format!("processor {}", less(reference / kerolox))),
    }
}

/// How much less: one part of so many.
pub(super) fn less(times: f64) -> String {
    match times {
        times if times >= 20.0 => format!("1/{times:.0}"),
        times if times >= 1.0 => format!("1/{times:.1}"),
        times => format!("{:.1}×", 1.0 / times),
    }
}

/// Two to three digits, with commas between thousands.
pub(super) fn grouped(number: f64) -> String {
    let step = 10f64.powf((number.max(1.0).log10().floor() - 2.0).max(0.0));
    let digits = format!("{:.0}", (number / step).round() * step);
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Microseconds in a unit that fits.
pub(super) fn time(microseconds: f64) -> String {
    match microseconds {
        us if us < 10.0 => format!("{us:.1} µs"),
        us if us < 1000.0 => format!("{us:.0} µs"),
        us if us < 10_000.0 => format!("{:.1} ms", us / 1000.0),
        us => format!("{:.0} ms", us / 1000.0),
    }
}

/// Puts the table of a command into docs/benchmarks.md.
pub(super) fn write_page(command: &str, table: &str) -> Result<()> {
    let path = process::root().join("docs/benchmarks.md");
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    let page = fs::read_to_string(&path).map_err(told)?;
    let page = replaced(&page, command, table).ok_or_else(|| {
        format!(
            "{} has lost the lines around the table of {command}",
            path.display()
        )
    })?;
    fs::write(&path, page).map_err(told)
}

fn begin(command: &str) -> String {
    format!("<!-- written by cargo xtask {command} --write -->")
}

fn replaced(page: &str, command: &str, table: &str) -> Option<String> {
    let begin = begin(command);
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!(
        "{before}{begin}\n\n{}\n\n{END}{after}",
        table.trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_as_many_digits_as_they_are_worth() {
        assert_eq!(number(Metric::Rate, 2_771_234.0), "2,770,000 msg/s");
        assert_eq!(number(Metric::Rate, 66_749.0), "66,700 msg/s");
        assert_eq!(number(Metric::Megabytes, 65.4), "65 MB/s");
        assert_eq!(number(Metric::P999, 103_400.0), "p99.9 103 ms");
    }

    #[test]
    fn comparisons_read_well_both_ways() {
        assert_eq!(
            compared(Metric::Rate, 50.0, 600.0).as_deref(),
            Some("12.0× rate")
        );
        assert_eq!(
            compared(Metric::P50, 40.0, 10.0).as_deref(),
            Some("p50 1/4.0")
        );
        assert_eq!(
            compared(Metric::P50, 10.0, 20.0).as_deref(),
            Some("p50 2.0×")
        );
    }

    #[test]
    fn the_table_goes_between_its_lines() {
        let [first, second] = ["bench", "bench memory"].map(begin);
        let page = format!("{first}\nold\n{END}\n{second}\nold\n{END}\nb\n");
        assert_eq!(
            replaced(&page, "bench memory", "new").as_deref(),
            Some(&*format!(
                "{first}\nold\n{END}\n{second}\n\nnew\n\n{END}\nb\n"
            ))
        );
        assert_eq!(replaced("nothing", "bench", "new"), None);
    }
}
