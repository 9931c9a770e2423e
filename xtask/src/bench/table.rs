//! Tables of Markdown, and how numbers are written in them.

/// A table. What is empty becomes a dash.
#[derive(Debug)]
pub(super) struct Table(String);

impl Table {
    /// One with the titles of its columns.
    pub(super) fn new<const N: usize>(columns: [&str; N]) -> Self {
        let rule = "---|".repeat(N);
        Self(format!("| {} |\n|{rule}\n", columns.join(" | ")))
    }

    /// Adds a row, and tells it.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) -> &str {
        let begin = self.0.len();
        let shown = cells.map(or_dash);
        self.0 += &format!("| {} |\n", shown.join(" | "));
        &self.0[begin..]
    }

    pub(super) fn text(self) -> String {
        self.0
    }
}

fn or_dash(cell: String) -> String {
    match cell.is_empty() {
        true => "–".to_owned(),
        false => cell,
    }
}

/// The cells of a number of the reference beside that of Kerolox: a title, both, and what part
/// of the first the second is.
pub(super) fn compared(
    title: &str,
    reference: Option<f64>,
    kerolox: Option<f64>,
    shown: impl Fn(f64) -> String,
) -> [String; 4] {
    let ratio = reference.zip(kerolox);
    let ratio = ratio.map(|(theirs, ours)| less(theirs / ours));
    let shown = |number: Option<f64>| number.map(&shown).unwrap_or_default();
    [
        title.to_owned(),
        shown(reference),
        shown(kerolox),
        ratio.unwrap_or_default(),
    ]
}

/// So many times less: one part of so many.
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

/// Messages a second.
pub(super) fn rate(number: f64) -> String {
    format!("{} msg/s", grouped(number))
}

/// Bytes as millions of them.
pub(super) fn megabytes(bytes: f64) -> String {
    let millions = bytes / 1e6;
    match millions {
        millions if millions < 10.0 => format!("{millions:.1} MB"),
        millions => format!("{millions:.0} MB"),
    }
}

/// Seconds, to the millisecond.
pub(super) fn seconds(seconds: f64) -> String {
    format!("{seconds:.3} s")
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
