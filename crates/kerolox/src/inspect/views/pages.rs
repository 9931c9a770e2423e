//! Pages: what is shown as a whole, at the end, or again and again.

use std::io::{ErrorKind, IsTerminal, Write, stdout};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use inspect::{Exchange, Inspector};

use super::View;
use crate::error::CliError;
use crate::output::print;

/// How often a terminal is drawn anew.
const FRAME: Duration = Duration::from_secs(1);

/// Takes the cursor home, and does not break lines that are too long for the terminal.
const HOME: &str = "\x1b[H\x1b[?7l";
/// Breaks lines again.
const BREAK_LINES: &str = "\x1b[?7h";
/// Clears what is behind the cursor in its line, and goes to the next.
const NEXT_LINE: &str = "\x1b[K\r\n";
/// Clears everything behind the cursor.
const CLEAR: &str = "\x1b[J";

/// What is shown as a whole.
pub(in crate::inspect) trait Page {
    /// Takes an exchange that has ended.
    fn add(&mut self, exchange: &Exchange);

    /// What there is to show of all so far, in lines.
    fn text(&self, inspector: &Inspector) -> String;

    /// Why there is nothing to show at the end, if that is an error.
    fn is_in_vain(&self) -> Option<CliError> {
        None
    }
}

/// Shows a page.
pub(in crate::inspect) struct Pages<P> {
    page: P,
    /// How often it is shown, if not at the end alone.
    every: Option<Duration>,
    /// Whether it takes the place of the one before.
    is_drawn: bool,
    shown: Instant,
}

impl<P: Page> Pages<P> {
    /// A page that is shown at the end and at an `interval`, by default a short one where somebody
    /// watches at a terminal.
    pub(in crate::inspect) fn new(page: P, interval: Option<Duration>, is_watched: bool) -> Self {
        let is_drawn = is_watched && stdout().is_terminal();
        Self {
            page,
            every: interval.or(is_drawn.then_some(FRAME)),
            is_drawn,
            shown: Instant::now(),
        }
    }
}

impl<P: Page> View for Pages<P> {
    fn take(&mut self, exchange: &Exchange) -> ControlFlow<()> {
        self.page.add(exchange);
        ControlFlow::Continue(())
    }

    fn pause(&mut self, inspector: &Inspector) -> ControlFlow<()> {
        if self.every.is_none_or(|every| self.shown.elapsed() < every) {
            return ControlFlow::Continue(());
        }
        self.shown = Instant::now();
        let text = self.page.text(inspector);
        let text = match self.is_drawn {
            true => drawn(&text, height()),
            false => text,
        };
        let mut out = stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => ControlFlow::Break(()),
            // What else fails here fails at the end, too.
            _ => ControlFlow::Continue(()),
        }
    }

    fn end(&mut self, inspector: &Inspector) -> Result<(), CliError> {
        if self.is_drawn {
            print(&format!("{HOME}{CLEAR}{BREAK_LINES}"))?;
        }
        self.page.is_in_vain().map_or(Ok(()), Err)?;
        print(&self.page.text(inspector))
    }
}

/// The lines of the terminal.
fn height() -> usize {
    rustix::termios::tcgetwinsize(stdout()).map_or(24, |size| usize::from(size.ws_row))
}

/// A page in the place of the one before; what does not fit is left out.
fn drawn(text: &str, height: usize) -> String {
    let lines = text.lines().take(height.saturating_sub(1));
    let lines: String = lines.map(|line| format!("{line}{NEXT_LINE}")).collect();
    format!("{HOME}{lines}{CLEAR}{BREAK_LINES}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_drawn_does_not_scroll_the_terminal() {
        let drawn = drawn("one\ntwo\nthree\n", 3);
        assert!(drawn.contains("two") && !drawn.contains("three"));
        assert_eq!(drawn.matches('\n').count(), 2);
    }
}
