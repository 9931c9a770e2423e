//! The time, replaceable so that tests and simulations can set it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since 1970, UTC.
    fn now_millis(&self) -> i64;

    /// The local hour of the day, 0 to 23; `deleteWhen` is in local time.
    fn local_hour(&self) -> u32;

    /// Seconds that local time is ahead of UTC now; index files are named after local time.
    fn utc_offset_seconds(&self) -> i32 {
        0
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_millis(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => since.as_millis() as i64,
            Err(before) => -(before.duration().as_millis() as i64),
        }
    }

    fn local_hour(&self) -> u32 {
        let now = self.now_millis().div_euclid(1000);
        hour(now + i64::from(self.utc_offset_seconds()))
    }

    fn utc_offset_seconds(&self) -> i32 {
        crate::time_zone::utc_offset_seconds(self.now_millis().div_euclid(1000))
    }
}

/// The hour of the day of so many seconds since 1970.
pub(crate) fn hour(seconds: i64) -> u32 {
    (seconds.div_euclid(3600).rem_euclid(24)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_wrap_at_midnight_before_and_after_1970() {
        assert_eq!(hour(0), 0);
        assert_eq!(hour(4 * 3600 + 59), 4);
        assert_eq!(hour(86_400 - 1), 23);
        assert_eq!(hour(-1), 23);
    }

    #[test]
    fn the_machine_has_a_plausible_time() {
        assert!(SystemClock.now_millis() > 1_600_000_000_000);
        assert!(SystemClock.local_hour() < 24);
    }
}
