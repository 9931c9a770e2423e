//! Timed messages that are all due at one time: how late they come.

use super::engine::{Clock, Outcome, Pace, drive};
use super::load::Load;
use super::report::Fill;
use super::run::{connect, followers};
use super::sending::{Kind, Moment};
use super::setup::Stored;
use super::tally::Runs;
use crate::client::ClientError;

/// Sends so many messages, and measures from the time on at which they are due.
pub(super) fn deliver_together(
    load: &Load,
    address: &str,
    stored: &[Stored],
    count: u64,
) -> Result<(Option<Fill>, Outcome), ClientError> {
    let clock = Clock::start();
    let due = Moment::after(clock.now(), load.delay);
    let followers = followers(load, address, stored)?;
    let sends = load.sends(1, Kind::Together(due));
    let lanes = (0..load.connections).map(|lane| {
        let (frames, work) = sends.lane(lane, load.connections, load.in_flight);
        connect(address, frames, work)
    });
    let lanes = lanes.collect::<Result<Vec<_>, _>>()?;
    let whole = Runs {
        start: 0,
        length: u64::MAX / 2,
        count: 1,
    };
    let (sent, remarks) = drive(lanes, clock, whole, Pace::Count(count))?;
    let seconds = clock.now() as f64 / 1e9;
    if clock.now() > due.stamp {
        return Err(ClientError::Argument(format!(
            "--delay must be longer: sending took {seconds:.1} s"
        )));
    }
    let messages: u64 = sent.iter().map(|tally| tally.messages).sum();
    let refused = sent.iter().flat_map(|tally| tally.errors.values()).sum();
    let runs = Runs {
        start: due.stamp,
        length: load.duration.as_nanos() as u64,
        count: 1,
    };
    let (mut received, mut received_remarks) = load.watched(clock, &runs, || {
        drive(followers, clock, runs.clone(), Pace::Closed)
    })?;
    if let Some(tally) = received.first_mut() {
        tally.missing = messages.saturating_sub(tally.messages);
    }
    received_remarks.extend(remarks);
    let fill = Fill {
        seconds,
        messages,
        refused,
    };
    Ok((Some(fill), (received, received_remarks)))
}
