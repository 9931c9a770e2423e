//! The setting every role has.

crate::settings! {
    /// What is logged. Every role has this group.
    pub struct LogConfig {
        /// How much is logged: `off`, `error`, `warn`, `info`, `debug` or `trace`. A single part of the
        /// program can have its own level: `info,kerolox_store=debug`.
        "kerolox.logLevel" log_level: String = "info".into(), check(|levels| check_level(levels)), reloadable, important, ours;
    }
}

/// Accepts `level` and `target=level`, joined by commas.
fn check_level(levels: &str) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    for part in levels.split(',') {
        let level = part.rsplit('=').next().unwrap_or(part).trim();
        if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
            return Err(format!(
                "`{level}` is not a level; the levels are {}",
                LEVELS.join(", ")
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    #[test]
    fn levels_are_checked() {
        let mut log = LogConfig::default();
        log.set("kerolox.logLevel", "warn,kerolox_store=debug")
            .unwrap();
        assert_eq!(log.log_level, "warn,kerolox_store=debug");
        assert_eq!(
            log.set("kerolox.logLevel", "loud").unwrap_err().to_string(),
            "`kerolox.logLevel` cannot be `loud`: `loud` is not a level; \
             the levels are off, error, warn, info, debug, trace"
        );
    }
}
