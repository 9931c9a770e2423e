//! The delay levels of `messageDelayLevel`, and when a message of a level is due.

/// How long each delay level waits (`MessageStoreConfig.messageDelayLevel`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DelayLevels {
    /// Milliseconds of level 1, 2, …
    millis: Vec<i64>,
}

impl DelayLevels {
    /// Reads times such as `1s 5s 2m 1h 1d`, the first for level 1; `None` if one of them is no
    /// number with a unit of `s`, `m`, `h` or `d`.
    pub fn parse(text: &str) -> Option<DelayLevels> {
        let millis = text.split_whitespace().map(|word| {
            let unit = match word.chars().last()? {
                's' => 1000,
                'm' => 60 * 1000,
                'h' => 60 * 60 * 1000,
                'd' => 24 * 60 * 60 * 1000,
                _ => return None,
            };
            let number: i64 = word.get(..word.len() - 1)?.parse().ok()?;
            number.checked_mul(unit).filter(|millis| *millis >= 0)
        });
        Some(DelayLevels {
            millis: millis.collect::<Option<Vec<i64>>>()?,
        })
    }

    /// Says what is wrong with a text for a setting, which must have a level.
    ///
    /// # Errors
    /// It cannot be read, or is empty.
    pub fn check(text: &str) -> Result<(), String> {
        match DelayLevels::parse(text) {
            Some(levels) if levels.max_level() > 0 => Ok(()),
            _ => Err(
                "the delays are numbers with a unit of s, m, h or d, as in `1s 5s 1m`".to_owned(),
            ),
        }
    }

    /// The highest level.
    pub fn max_level(&self) -> i32 {
        self.millis.len() as i32
    }

    /// Milliseconds a level waits. A level above the highest counts as the highest, one below 1
    /// or one of no levels at all as 1 second (`DefaultMessageStore.computeDeliverTimestamp`).
    pub fn delay_millis(&self, level: i32) -> i64 {
        usize::try_from(level.min(self.max_level()) - 1)
            .ok()
            .and_then(|index| self.millis.get(index))
            .copied()
            .unwrap_or(1000)
    }

    /// The level that waits longer than `millis`, and of those the least long; where none does,
    /// the one that waits longest (`ProxyConfig.computeDelayLevel`). `None` if there are no levels.
    pub fn level_longer_than(&self, millis: i64) -> Option<i32> {
        let waits = (1..).zip(&self.millis);
        let longer = waits.clone().filter(|(_, wait)| **wait > millis);
        let level = longer.min_by_key(|(_, wait)| **wait);
        // Of equal ones the last, as where they are sorted.
        let level = level.or_else(|| waits.max_by_key(|(_, wait)| **wait));
        level.map(|(level, _)| level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_wait_as_written() {
        let levels = DelayLevels::parse("1s 5s 2m  1h 3d").unwrap();
        assert_eq!(levels.max_level(), 5);
        let waits: Vec<i64> = (0..=6).map(|level| levels.delay_millis(level)).collect();
        assert_eq!(
            waits,
            [
                1000,
                1000,
                5000,
                120_000,
                3_600_000,
                259_200_000,
                259_200_000
            ]
        );
    }

    #[test]
    fn a_time_has_the_shortest_level_that_does_not_end_before_it() {
        let levels = DelayLevels::parse("1h 1s 5s 1h").unwrap();
        let waits = [-5, 0, 999, 1000, 4999, 5000, 3_600_000];
        let found = waits.map(|millis| levels.level_longer_than(millis));
        assert_eq!(found, [2, 2, 2, 3, 3, 1, 4].map(Some));
        assert_eq!(DelayLevels::default().level_longer_than(0), None);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["5", "s", "1s x", "1w", "-1s", "9223372036854775807d"] {
            assert_eq!(DelayLevels::parse(text), None, "{text}");
        }
        assert_eq!(DelayLevels::parse("").unwrap().max_level(), 0);
    }
}
