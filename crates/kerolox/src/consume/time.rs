//! Times in UTC as text.

use wire::calendar::date;

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// A time in milliseconds since 1970 as `2026-01-31T12:00:00.123Z`.
pub(crate) fn format_time(milliseconds: i64) -> String {
    let (year, month, day) = date(milliseconds.div_euclid(DAY));
    let rest = milliseconds.rem_euclid(DAY);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, millisecond) = (rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
}

/// Reads `2026-01-31T12:00:00`, with milliseconds and `Z` or without, or only the date, or
/// milliseconds since 1970.
pub(super) fn parse_time(text: &str) -> Option<i64> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, clock) = text.split_once('T').unwrap_or((text, "00:00:00"));
    let (year, rest) = date.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let (hour, rest) = clock.split_once(':')?;
    let (minute, second) = rest.split_once(':').unwrap_or((rest, "0"));
    let (year, month) = (number(year, 9999)?, number(month, 12)?);
    let (day, hour) = (number(day, 31)?, number(hour, 23)?);
    let (minute, second) = (number(minute, 59)?, number(second, 59)?);
    let millisecond = number(&format!("{fraction:0<3}")[..3], 999)?;
    let days = days(year, month, day)?;
    Some(days * DAY + ((hour * 60 + minute) * 60 + second) * 1000 + millisecond)
}

fn number(text: &str, most: i64) -> Option<i64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number <= most)
}

/// The day since 1970-01-01 of a date; `None` if there is no such date.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let from_march = year - i64::from(month <= 2);
    let (era, year_of_era) = (from_march.div_euclid(400), from_march.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    (date(days) == (year, month, day)).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(format_time(milliseconds), text);
            assert_eq!(parse_time(text), Some(milliseconds));
        }
        assert_eq!(parse_time("2023-11-14"), Some(1_699_920_000_000));
        assert_eq!(parse_time("2023-11-14T22:13"), Some(1_699_999_980_000));
        assert_eq!(parse_time("2023-11-14T22:13:20.5"), Some(1_700_000_000_500));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for wrong in [
            "",
            "now",
            "2023-02-29",
            "2023-13-01",
            "2023-00-01",
            "2023-01-01T24:00:00",
            "2023-01-01T1é:00",
            "-5",
        ] {
            assert_eq!(parse_time(wrong), None, "{wrong:?}");
        }
    }
}
