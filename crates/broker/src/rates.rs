//! How much goes through the broker in a second, of late, and by day.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::traffic::Traffic;

/// Time between two samples, in milliseconds.
const INTERVAL: i64 = 1000;

/// The spans that rates are told over, in milliseconds, ascending.
const SPANS: [i64; 3] = [10_000, 60_000, 600_000];

/// Messages in and out and looks for them, as they were counted at some time.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Stored.
    pub(crate) messages_in: u64,
    /// Delivered.
    pub(crate) messages_out: u64,
    /// Looks into a queue that found messages.
    found: u64,
    /// Those that did not.
    missed: u64,
}

impl Counts {
    fn of(traffic: &Traffic) -> Self {
        let (found, missed) = traffic.looks();
        Self {
            messages_in: traffic.total_in().0,
            messages_out: traffic.total_out().0,
            found,
            missed,
        }
    }
}

/// Samples of the traffic over the longest span.
#[derive(Default)]
pub(crate) struct Rates(Mutex<State>);

#[derive(Default)]
struct State {
    /// Times in milliseconds since 1970, oldest first.
    samples: VecDeque<(i64, Counts)>,
    /// Hour of the day at the last sample.
    hour: u32,
    /// At the start of this day and of the one before.
    this_morning: Counts,
    yesterday_morning: Counts,
}

/// What has gone through at which times.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct Report {
    /// Messages stored in a second, over 10 seconds, a minute, 10 minutes.
    pub(crate) stored: [f64; 3],
    /// Messages delivered in a second, over the same.
    pub(crate) delivered: [f64; 3],
    /// Looks into a queue in a second that found messages, over the same.
    pub(crate) found: [f64; 3],
    /// Those that did not.
    pub(crate) missed: [f64; 3],
    /// At the start of the day.
    pub(crate) this_morning: Counts,
    /// At the start of the day before.
    pub(crate) yesterday_morning: Counts,
}

impl Rates {
    /// Takes a sample when it is time for one; to be called more often than once a second.
    /// `hour` is the local hour of the day.
    pub(crate) fn sample(&self, now: i64, hour: u32, traffic: &Traffic) {
        let mut state = self.0.lock();
        if state
            .samples
            .back()
            .is_some_and(|&(at, _)| (0..INTERVAL).contains(&(now - at)))
        {
            return;
        }
        let counts = Counts::of(traffic);
        if hour < state.hour {
            state.yesterday_morning = state.this_morning;
            state.this_morning = counts;
        }
        state.hour = hour;
        state.samples.push_back((now, counts));
        // One sample as old as the longest span, or older, is what that span is counted from.
        while state
            .samples
            .get(1)
            .is_some_and(|&(at, _)| at <= now - SPANS[2])
        {
            state.samples.pop_front();
        }
    }

    /// What the samples tell.
    pub(crate) fn report(&self, now: i64, traffic: &Traffic) -> Report {
        let state = self.0.lock();
        let counts = Counts::of(traffic);
        let mut report = Report {
            this_morning: state.this_morning,
            yesterday_morning: state.yesterday_morning,
            ..Report::default()
        };
        for (index, span) in SPANS.into_iter().enumerate() {
            let before = state
                .samples
                .iter()
                .rev()
                .find(|&&(at, _)| at <= now - span);
            let Some(&(at, before)) = before.or(state.samples.front()) else {
                continue;
            };
            let seconds = (now - at) as f64 / 1000.0;
            if seconds > 0.0 {
                let rate = |now: u64, before: u64| (now - before) as f64 / seconds;
                report.stored[index] = rate(counts.messages_in, before.messages_in);
                report.delivered[index] = rate(counts.messages_out, before.messages_out);
                report.found[index] = rate(counts.found, before.found);
                report.missed[index] = rate(counts.missed, before.missed);
            }
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_told_over_their_spans() {
        let (rates, traffic) = (Rates::default(), Traffic::default());
        // A hundred messages a second for two minutes, then a minute of silence.
        for second in 0..180 {
            rates.sample(second * 1000, 9, &traffic);
            if second < 120 {
                traffic.stored(100, 0);
                traffic.delivered(50, 0);
                traffic.looked(true);
            }
        }
        let report = rates.report(180_000, &traffic);
        assert_eq!(report.stored[0], 0.0);
        assert_eq!(report.stored[1], 0.0);
        assert!(
            (report.stored[2] - 12_000.0 / 180.0).abs() < 0.01,
            "{report:?}"
        );
        assert!(
            (report.delivered[2] - 6_000.0 / 180.0).abs() < 0.01,
            "{report:?}"
        );
        assert!((report.found[2] - 120.0 / 180.0).abs() < 0.01, "{report:?}");
        assert_eq!(report.missed, [0.0; 3]);
        assert!(rates.report(130_000, &traffic).stored[0] < 100.1);
    }

    #[test]
    fn old_samples_go() {
        let (rates, traffic) = (Rates::default(), Traffic::default());
        for tenth in 0..20_000 {
            rates.sample(tenth * 100, 9, &traffic);
        }
        assert!(rates.0.lock().samples.len() <= 601 + 1);
    }

    #[test]
    fn days_begin_at_midnight() {
        let (rates, traffic) = (Rates::default(), Traffic::default());
        for (at, hour) in [(0, 22), (1, 23), (2, 0), (3, 1), (4, 23), (5, 0)] {
            rates.sample(at * 3_600_000, hour, &traffic);
            traffic.stored(10, 0);
        }
        let report = rates.report(5 * 3_600_000, &traffic);
        assert_eq!(report.yesterday_morning.messages_in, 20);
        assert_eq!(report.this_morning.messages_in, 50);
    }
}
