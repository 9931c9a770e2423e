//! Round trips: from the place of the capture to one end of a connection and back, without what
//! the end does in between.

use std::time::Duration;

use crate::capture::Timestamp;

/// Trips remembered. The shortest counts: the others waited for an acknowledgement put off.
const REMEMBERED: usize = 8;
/// Trips without which nobody knows whether all were put off; that of a SYN never is.
const ENOUGH: usize = 3;

/// Measures the trips of what one end receives.
#[derive(Debug, Default)]
pub(crate) struct RoundTrip {
    /// What was sent to the end and is not acknowledged: the number behind it, and when.
    under_way: Option<(u32, Timestamp)>,
    trips: [Duration; REMEMBERED],
    count: usize,
    /// Whether one of the trips was that of a SYN.
    of_syn: bool,
}

impl RoundTrip {
    /// Something was sent to the end, up to this number.
    pub(crate) fn sent(&mut self, number: u32, time: Timestamp) {
        self.under_way.get_or_insert((number, time));
    }

    /// Something was sent to it again, so that nobody knows which is acknowledged.
    pub(crate) fn sent_again(&mut self) {
        self.under_way = None;
    }

    /// The SYN of the other end is answered.
    pub(crate) fn syn_answered(&mut self) {
        self.of_syn = true;
    }

    /// The end has everything before this number. Only a `bare` acknowledgement was not put off
    /// until there was something to say.
    pub(crate) fn acknowledged(&mut self, number: u32, time: Timestamp, bare: bool) {
        let Some((sent, since)) = self.under_way else {
            return;
        };
        if (number.wrapping_sub(sent) as i32) < 0 {
            return;
        }
        self.under_way = None;
        if bare && let Some(trip) = self.trips.get_mut(self.count % REMEMBERED) {
            *trip = since.until(time);
            self.count += 1;
        }
    }

    /// The trip at present, if it could be measured.
    pub(crate) fn estimate(&self) -> Option<Duration> {
        if !self.of_syn && self.count < ENOUGH {
            return None;
        }
        self.trips.iter().take(self.count).min().copied()
    }
}
