//! Times and durations as they are written.

use std::fmt;
use std::time::Duration;

use wire::calendar;

use crate::capture::Timestamp;

const NANOSECONDS: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// As RFC 3339 has it, in UTC: `2026-11-27T12:00:00.000000000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.div_euclid(NANOSECONDS);
        let (year, month, day) = calendar::date(seconds.div_euclid(DAY));
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{}.{:09}Z",
            TimeOfDay(seconds.rem_euclid(DAY)),
            self.0.rem_euclid(NANOSECONDS),
        )
    }
}

/// Seconds since midnight as `12:00:00`.
struct TimeOfDay(i64);

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.0 / 60;
        write!(
            f,
            "{:02}:{:02}:{:02}",
            minutes / 60,
            minutes % 60,
            self.0 % 60
        )
    }
}

/// The time of the day in UTC, to the microsecond: `12:00:00.000000`.
pub fn clock(time: Timestamp) -> String {
    let seconds = time.0.div_euclid(NANOSECONDS).rem_euclid(DAY);
    let microseconds = time.0.rem_euclid(NANOSECONDS) / 1_000;
    format!("{}.{microseconds:06}", TimeOfDay(seconds))
}

/// A duration with three digits and its unit: `12.3 ms`.
pub fn duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos() as f64;
    let units = [(1e9, "s"), (1e6, "ms"), (1e3, "µs")];
    let (unit, name) = units
        .into_iter()
        .find(|(unit, _)| nanoseconds >= *unit)
        .unwrap_or((1.0, "ns"));
    let value = nanoseconds / unit;
    let digits = match value {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    let digits = if name == "ns" { 0 } else { digits };
    format!("{value:.digits$} {name}")
}

/// Reads a duration with its unit, `ns`, `us`, `µs`, `ms` or `s`: `10ms`; `None` if it is none.
pub fn read_duration(text: &str) -> Option<Duration> {
    let units = [
        ("ms", 1e-3),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("ns", 1e-9),
        ("s", 1.0),
    ];
    let (number, seconds) = units
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))?;
    let number: f64 = number.trim().parse().ok()?;
    Duration::try_from_secs_f64(number * seconds).ok()
}
