//! The terminal interface: from topics, groups, clients, brokers and commands to their exchanges,
//! and from an exchange to its fields and bytes.
//!
//! `board` is what is known and what is looked at, `screen` how it is drawn.

mod board;
mod fields;
mod screen;
mod words;

use std::io;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event};

use self::board::{Board, Goes};
use crate::capture::{Source, Timestamp};
use crate::inspector::{Inspector, Options};

/// How long a source may let a key wait.
const PATIENCE: Duration = Duration::from_millis(20);
/// How often the screen is drawn where nothing is typed.
const FRAME: Duration = Duration::from_millis(200);
/// Bytes of each request and response that can be looked at, unless the options say more.
const KEEP_BYTES: usize = 2048;
/// Bytes of each message's body that can be looked at, decompressed, unless the options say more.
const KEEP_BODIES: usize = 200;

/// Shows a source until the user leaves, or `interrupted` says so; a source that ends stays on the
/// screen. A `live` one goes by this machine's clock.
///
/// # Errors
/// The terminal failed, or the source did, with what it says of it.
pub fn browse(
    mut source: Box<dyn Source>,
    live: bool,
    options: Options,
    interrupted: &dyn Fn() -> bool,
) -> io::Result<()> {
    let mut inspector = Inspector::new(Options {
        keep_bytes: options.keep_bytes.max(KEEP_BYTES),
        keep_bodies: options.keep_bodies.max(KEEP_BODIES),
        ..options
    });
    let mut board = Board::default();
    let mut terminal = ratatui::try_init()?;
    let mut browse = || -> io::Result<()> {
        let mut drawn = None::<Instant>;
        while !interrupted() {
            if !board.has_ended {
                let read = source.read(PATIENCE, &mut |observed| {
                    inspector.observe(observed, &mut |exchange| board.take(exchange));
                });
                match read {
                    Ok(goes_on) => board.has_ended = !goes_on,
                    Err(error) => {
                        board.has_ended = true;
                        board.say(format!("the capture ends here: {error}"));
                    }
                }
                if board.has_ended {
                    inspector.end(&mut |exchange| board.take(exchange));
                } else if live {
                    inspector.tick(Timestamp::now(), &mut |exchange| board.take(exchange));
                }
                for notice in inspector.notices() {
                    board.say(notice.to_string());
                }
                board.lost = source.lost();
            }
            let patience = if board.has_ended {
                FRAME
            } else {
                Duration::ZERO
            };
            let mut changed = false;
            while event::poll(if changed { Duration::ZERO } else { patience })? {
                changed = true;
                if let Event::Key(key) = event::read()?
                    && board.press(key) == Goes::Away
                {
                    return Ok(());
                }
            }
            if changed || drawn.is_none_or(|drawn| drawn.elapsed() >= FRAME) {
                board.measure(Instant::now());
                terminal.draw(|frame| screen::draw(&mut board, frame))?;
                drawn = Some(Instant::now());
            }
        }
        Ok(())
    };
    let browsed = browse();
    ratatui::restore();
    browsed
}

#[cfg(test)]
mod tests;
