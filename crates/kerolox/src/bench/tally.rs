//! What is counted while the load runs.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::watched_process::Usage;

/// Longest latency that is told apart, in nanoseconds; longer ones count as this.
const LONGEST: u64 = 1_000_000_000_000;

/// What happened in one run.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    /// Messages sent or received with success.
    pub(super) messages: u64,
    /// Bytes of their bodies; for pulls of the whole answers' bodies.
    pub(super) bytes: u64,
    /// Answers that refuse, by response code.
    pub(super) errors: BTreeMap<i32, u64>,
    /// Messages that were due but not sent when the run ended (open loop).
    pub(super) unsent: u64,
    /// Requests that were never answered (open loop).
    pub(super) unanswered: u64,
    /// Messages that were acknowledged but did not come (end to end).
    pub(super) missing: u64,
    /// Messages that were sent, where `messages` are those received.
    pub(super) sent: Option<u64>,
    /// What the server's process used, if it was watched.
    pub(super) server: Option<Usage>,
    /// Processor time of the load generator, if the server's process was watched.
    pub(super) own_processor: Option<Duration>,
    /// Latencies in nanoseconds.
    pub(super) latency: Histogram<u64>,
}

impl Tally {
    fn new() -> Self {
        Self {
            messages: 0,
            bytes: 0,
            errors: BTreeMap::new(),
            unsent: 0,
            unanswered: 0,
            missing: 0,
            sent: None,
            server: None,
            own_processor: None,
            latency: Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are in order"),
        }
    }

    /// Adds what another thread has counted in the same run.
    pub(super) fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.unsent += other.unsent;
        self.unanswered += other.unanswered;
        self.missing += other.missing;
        for (code, count) in &other.errors {
            *self.errors.entry(*code).or_default() += count;
        }
        let same_bounds = self.latency.add(&other.latency);
        debug_assert!(same_bounds.is_ok());
    }
}

/// When the runs begin and end, in nanoseconds on the load's clock.
#[derive(Debug, Clone)]
pub(super) struct Runs {
    /// Start of the first run: the warm-up's end.
    pub(super) start: u64,
    /// Length of a run.
    pub(super) length: u64,
    /// Number of runs.
    pub(super) count: usize,
}

impl Runs {
    /// When the last run ends.
    pub(super) fn end(&self) -> u64 {
        self.start
            .saturating_add(self.length.saturating_mul(self.count as u64))
    }

    /// The run of a time; `None` in the warm-up and after the last run.
    fn at(&self, time: u64) -> Option<usize> {
        let run = time.checked_sub(self.start)? / self.length.max(1);
        usize::try_from(run).ok().filter(|run| *run < self.count)
    }
}

/// The tallies of one load thread.
///
/// Messages count for the run in which they were answered. A latency of a closed loop counts for
/// that run too. A latency of an open loop counts for the run in which the message was meant to
/// leave, and from that moment: a server that stalls delays the sending of what comes after, and
/// a clock that starts when a message gets out at last would leave that wait out (coordinated
/// omission).
#[derive(Debug)]
pub(super) struct Recorder {
    runs: Runs,
    tallies: Vec<Tally>,
    /// Run of the time that was last told, and when that changes.
    current: Option<usize>,
    changes_at: u64,
    /// Whether latencies count for the run of their beginning.
    by_start: bool,
    /// A latency seen `repeated` times in a row: answers that come together often left together.
    repeated: u64,
    last_latency: u64,
    /// Text of the first refusal of each code.
    pub(super) remarks: BTreeMap<i32, String>,
}

impl Recorder {
    pub(super) fn new(runs: Runs, by_start: bool) -> Self {
        let tallies = (0..runs.count).map(|_| Tally::new()).collect();
        Self {
            tallies,
            by_start,
            current: None,
            changes_at: 0,
            repeated: 0,
            last_latency: 0,
            remarks: BTreeMap::new(),
            runs,
        }
    }

    /// Says what time it is; to be called before anything is counted.
    pub(super) fn tick(&mut self, now: u64) {
        if now >= self.changes_at {
            self.flush();
            self.current = self.runs.at(now);
            self.changes_at = match self.current {
                Some(run) => self.runs.start + self.runs.length * (run as u64 + 1),
                None if now < self.runs.start => self.runs.start,
                None => u64::MAX,
            };
        }
    }

    /// Counts messages that succeeded.
    pub(super) fn count(&mut self, messages: u64, bytes: u64) {
        if let Some(tally) = self.current_tally() {
            tally.messages += messages;
            tally.bytes += bytes;
        }
    }

    /// Counts a latency from `start` (intended, in an open loop) to `now`.
    pub(super) fn latency(&mut self, start: u64, now: u64) {
        let latency = now.saturating_sub(start);
        if self.by_start {
            let run = self.runs.at(start);
            if let Some(tally) = run.and_then(|run| self.tallies.get_mut(run)) {
                tally.latency.saturating_record(latency);
            }
        } else if latency == self.last_latency {
            self.repeated += 1;
        } else {
            self.flush();
            self.last_latency = latency;
            self.repeated = 1;
        }
    }

    /// Counts a refusal.
    pub(super) fn error(&mut self, code: i32, remark: impl FnOnce() -> String) {
        self.remarks.entry(code).or_insert_with(remark);
        if let Some(tally) = self.current_tally() {
            *tally.errors.entry(code).or_default() += 1;
        }
    }

    /// Counts a message that was meant to leave at `intended` and never did before `now`.
    pub(super) fn unsent(&mut self, intended: u64, now: u64) {
        self.missed(intended, now, |tally| &mut tally.unsent);
    }

    /// Counts a request that was meant to leave at `intended` and had no answer by `now`.
    pub(super) fn unanswered(&mut self, intended: u64, now: u64) {
        self.missed(intended, now, |tally| &mut tally.unanswered);
    }

    /// It took at least until now: left out, a server would look better for not answering.
    fn missed(&mut self, intended: u64, now: u64, counter: fn(&mut Tally) -> &mut u64) {
        let run = self.runs.at(intended);
        if let Some(tally) = run.and_then(|run| self.tallies.get_mut(run)) {
            *counter(tally) += 1;
            tally
                .latency
                .saturating_record(now.saturating_sub(intended));
        }
    }

    /// The tallies, one a run.
    pub(super) fn finish(mut self) -> (Vec<Tally>, BTreeMap<i32, String>) {
        self.flush();
        (self.tallies, self.remarks)
    }

    fn current_tally(&mut self) -> Option<&mut Tally> {
        self.current.and_then(|run| self.tallies.get_mut(run))
    }

    fn flush(&mut self) {
        let (latency, repeated) = (self.last_latency, std::mem::take(&mut self.repeated));
        if let Some(tally) = self.current_tally()
            && repeated > 0
        {
            tally.latency.saturating_record_n(latency, repeated);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNS: Runs = Runs {
        start: 1000,
        length: 100,
        count: 2,
    };

    #[test]
    fn the_warm_up_and_the_time_after_the_runs_are_left_out() {
        let mut recorder = Recorder::new(RUNS, false);
        for (now, latency) in [
            (999, 1),
            (1000, 10),
            (1099, 11),
            (1100, 20),
            (1199, 21),
            (1200, 1),
        ] {
            recorder.tick(now);
            recorder.count(1, 5);
            recorder.latency(now - latency, now);
        }
        let (tallies, _) = recorder.finish();
        let seen: Vec<_> = tallies
            .iter()
            .map(|tally| {
                (
                    tally.messages,
                    tally.bytes,
                    tally.latency.min(),
                    tally.latency.max(),
                )
            })
            .collect();
        assert_eq!(seen, [(2, 10, 10, 11), (2, 10, 20, 21)]);
    }

    #[test]
    fn repeated_latencies_all_count() {
        let mut recorder = Recorder::new(RUNS, false);
        recorder.tick(1050);
        for _ in 0..1000 {
            recorder.latency(1000, 1050);
        }
        recorder.latency(1040, 1050);
        let (tallies, _) = recorder.finish();
        assert_eq!(tallies[0].latency.len(), 1001);
        assert_eq!(tallies[0].latency.value_at_quantile(0.5), 50);
    }

    /// A server that stalls for 50 units under a message each 10: the late answer counts from
    /// when the message was meant to leave, and what was never sent counts as well.
    #[test]
    fn an_open_loop_counts_from_the_intended_time() {
        let mut recorder = Recorder::new(RUNS, true);
        recorder.tick(1060);
        for intended in [1010, 1020, 1030, 1040, 1050] {
            recorder.latency(intended, 1060);
        }
        recorder.tick(1110);
        // Answered in the second run, but meant for the first.
        recorder.latency(1090, 1110);
        recorder.tick(1300);
        recorder.unsent(1150, 1300);
        recorder.unanswered(1190, 1300);
        recorder.unsent(1250, 1300);
        let (tallies, _) = recorder.finish();
        assert_eq!(tallies[0].latency.max(), 50);
        assert_eq!(tallies[0].latency.len(), 6);
        assert_eq!((tallies[1].unsent, tallies[1].unanswered), (1, 1));
        assert_eq!(
            (tallies[1].latency.min(), tallies[1].latency.max()),
            (110, 150)
        );
    }

    #[test]
    fn errors_are_counted_by_code_with_the_first_remark() {
        let mut recorder = Recorder::new(RUNS, false);
        recorder.tick(1000);
        recorder.error(2, || "busy".to_owned());
        recorder.error(2, || "still busy".to_owned());
        let (tallies, remarks) = recorder.finish();
        assert_eq!(tallies[0].errors.get(&2), Some(&2));
        assert_eq!(remarks.get(&2).map(String::as_str), Some("busy"));
    }
}
