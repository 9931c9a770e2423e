//! Which protocol a client speaks with a server.
//!
//! [`Choice`] is what is known of one server: a state machine, which is told what happened and
//! when, and has neither clock nor sockets. [`chooser`] connects as it says.
//!
//! - Ways are tried in the order of the settings. One that failed, or that the server does not
//!   offer, comes behind all others, a failed one for [`PUT_OFF`].
//! - Ways are measured in rounds. One that is clearly faster ([`MARGIN`], [`LEAST_GAIN`]) than
//!   the one in use in each of [`ROUNDS`] rounds takes its place for new connections.
//! - A plain way is never taken where encryption is wanted: for a server that is to be, or once
//!   was, spoken to in TLS, and behind an encrypted way in the order. Only
//!   `kerolox.clientMayGoPlain` allows it, and then after the encrypted ones.

pub(crate) mod chooser;
pub(crate) mod offer;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use self::offer::Offer;
use crate::tls;

/// A way that failed is tried last for so long.
const PUT_OFF: Duration = Duration::from_secs(60);

/// A way has to cost less than this share of the one in use to take its place.
const MARGIN: f64 = 0.75;

/// It has to be better by so much at least: below that, loopback, chance decides.
const LEAST_GAIN: Duration = Duration::from_micros(100);

/// It has to be so in each of so many rounds.
const ROUNDS: u32 = 3;

/// How much a new measurement weighs against all before.
const WEIGHT: f64 = 0.3;

/// A connection is taken to carry so many requests, each of which pays its part of connecting.
const REQUESTS: f64 = 100.0;

/// One way to reach a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) scheme: String,
    /// Host and port.
    pub(crate) target: String,
    /// The protocols that the scheme stands for.
    pub(crate) layers: &'static [&'static str],
}

impl Way {
    fn is_encrypted(&self) -> bool {
        self.layers.contains(&tls::NAME)
    }
}

/// The address that it is connected to by.
impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.target)
    }
}

/// What is known of a way.
#[derive(Debug)]
struct Candidate {
    way: Way,
    offered: bool,
    /// When its failure is forgotten.
    put_off_until: Duration,
    /// Seconds that a request costs, smoothed.
    cost: Option<f64>,
}

/// What is known of the ways to one server. Points in time are durations since any one moment.
#[derive(Debug)]
pub(crate) struct Choice {
    /// Host and port of the server, as the user knows it.
    target: String,
    /// The best of the settings first.
    candidates: Vec<Candidate>,
    may_go_plain: bool,
    /// Whether the server is to be, or was, spoken to in TLS.
    encrypted: bool,
    /// The scheme that was found to be faster than those before it.
    faster: Option<String>,
    /// The one that is about to be, and in how many rounds it was.
    rising: Option<(String, u32)>,
    measured_at: Option<Duration>,
}

impl Choice {
    /// A choice between these schemes with their protocols, the best first.
    pub(crate) fn new(
        target: &str,
        schemes: &[(&str, &'static [&'static str])],
        encrypted: bool,
        may_go_plain: bool,
    ) -> Self {
        let candidate = |&(scheme, layers): &(&str, &'static [&'static str])| Candidate {
            way: Way {
                scheme: scheme.to_owned(),
                target: target.to_owned(),
                layers,
            },
            offered: true,
            put_off_until: Duration::ZERO,
            cost: None,
        };
        Self {
            target: target.to_owned(),
            candidates: schemes.iter().map(candidate).collect(),
            may_go_plain,
            encrypted,
            faster: None,
            rising: None,
            measured_at: None,
        }
    }

    /// The ways to try, one after the other.
    pub(crate) fn order(&self, now: Duration) -> Vec<Way> {
        let ways = self.sorted(now).into_iter();
        ways.map(|it| it.way.clone()).collect()
    }

    /// The ways to measure.
    pub(crate) fn ready(&self, now: Duration) -> Vec<Way> {
        let ready = self.sorted(now).into_iter();
        let ready = ready.filter(|it| it.is_ready(now));
        ready.map(|it| it.way.clone()).collect()
    }

    /// A connection was made, and answered.
    pub(crate) fn connected(&mut self, way: &Way) {
        self.encrypted |= way.is_encrypted();
        if let Some(candidate) = self.candidate(way) {
            candidate.put_off_until = Duration::ZERO;
        }
    }

    /// No connection could be made, or it did not answer.
    pub(crate) fn failed(&mut self, way: &Way, now: Duration) {
        if let Some(candidate) = self.candidate(way) {
            candidate.put_off_until = now + PUT_OFF;
        }
    }

    /// The server has told what it offers.
    pub(crate) fn learn(&mut self, offer: &Offer) {
        for Candidate {
            way, offered, cost, ..
        } in &mut self.candidates
        {
            let target = if offer.serves(&self.target, way.layers) {
                Some(self.target.clone())
            } else {
                offer.elsewhere(&self.target, way.layers)
            };
            *offered = target.is_some();
            if let Some(target) = target.filter(|target| *target != way.target) {
                way.target = target;
                *cost = None;
            }
        }
    }

    /// Whether a round of measurements is due, which it then counts as begun.
    pub(crate) fn begin_round(&mut self, now: Duration, period: Duration) -> bool {
        let due = self.measured_at.is_none_or(|last| now >= last + period);
        if due {
            self.measured_at = Some(now);
        }
        due
    }

    /// How long it took to connect by a way, and to have a request answered.
    pub(crate) fn measured(&mut self, way: &Way, connect: Duration, round_trip: Duration) {
        let new = round_trip.as_secs_f64() + connect.as_secs_f64() / REQUESTS;
        if let Some(candidate) = self.candidate(way) {
            let smoothed = |old: f64| old + WEIGHT * (new - old);
            candidate.cost = Some(candidate.cost.map_or(new, smoothed));
        }
    }

    /// All ways have been measured. Returns what new connections have from now on, if that changed.
    pub(crate) fn end_round(&mut self, now: Duration) -> Option<Way> {
        let ready = self.sorted(now).into_iter();
        let measured = ready.filter(|it| it.is_ready(now) && !self.is_last(it));
        let costs: Vec<_> = measured.map(|it| (&it.way, it.cost)).collect();
        let (_, Some(used)) = *costs.first()? else {
            return None;
        };
        let costs = costs
            .iter()
            .filter_map(|(way, cost)| Some((*way, (*cost)?)));
        let best = costs.min_by(|(_, a), (_, b)| a.total_cmp(b));
        let better = best
            .filter(|(_, cost)| *cost < used * MARGIN && used - cost > LEAST_GAIN.as_secs_f64());
        let Some(way) = better.map(|(way, _)| way.clone()) else {
            self.rising = None;
            return None;
        };
        let rounds = match &self.rising {
            Some((scheme, rounds)) if *scheme == way.scheme => rounds + 1,
            _ => 1,
        };
        if rounds < ROUNDS {
            self.rising = Some((way.scheme, rounds));
            return None;
        }
        self.rising = None;
        self.faster = Some(way.scheme.clone());
        Some(way)
    }

    /// What may be spoken, the best first.
    fn sorted(&self, now: Duration) -> Vec<&Candidate> {
        let is_encrypted = |it: &Candidate| it.way.is_encrypted();
        let first = self.candidates.iter().position(is_encrypted);
        let guarded = if self.encrypted { Some(0) } else { first };
        let all = self.candidates.iter().enumerate();
        let allowed = all.filter(|(rank, it)| {
            self.may_go_plain || is_encrypted(it) || guarded.is_none_or(|first| *rank < first)
        });
        let mut allowed: Vec<_> = allowed.map(|(_, it)| it).collect();
        allowed.sort_by_key(|it| {
            let faster = self.faster.as_ref() == Some(&it.way.scheme);
            (!it.is_ready(now), self.is_last(it), !faster)
        });
        allowed
    }

    /// Whether all encrypted ways come before.
    fn is_last(&self, candidate: &Candidate) -> bool {
        self.encrypted && !candidate.way.is_encrypted()
    }

    fn candidate(&mut self, way: &Way) -> Option<&mut Candidate> {
        self.candidates.iter_mut().find(|it| it.way == *way)
    }
}

impl Candidate {
    fn is_ready(&self, now: Duration) -> bool {
        self.offered && now >= self.put_off_until
    }
}
