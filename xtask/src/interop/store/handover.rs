//! A store goes over with all that a broker owes: messages that were received and not
//! acknowledged, open transactions, messages that wait for a time or by a delay level. The next
//! broker has to keep the promises of the one before.

use std::path::Path;
use std::time::Instant;

use super::broker::{Broker, End, Kind, Programs};
use super::dump::Line;
use crate::process::Result;

/// What every broker here is told. Producers are asked soon, but not before the next broker runs,
/// and not so often that the reference asks again before it has noted an answer.
const SETTINGS: [&str; 7] = [
    "recallMessageEnable=true",
    "transactionCheckInterval=10000",
    "transactionTimeOut=50000",
    "flushConsumerOffsetInterval=500",
    "diskMaxUsedSpaceRatio=95",
    "waitTimeMillsInSendQueue=10000",
    "osPageCacheBusyTimeOutMills=10000",
];

/// Who has the store, one after the other.
pub(super) struct Plan {
    pub(super) name: &'static str,
    legs: [(Kind, End); 3],
}

/// Those who are killed owe only messages that were received: the reference delivers others again
/// that came in the last seconds, whoever was killed.
pub(super) const PLANS: [Plan; 2] = [
    Plan {
        name: "handover",
        legs: [
            (Kind::Reference, End::Stop),
            (Kind::Kerolox, End::Stop),
            (Kind::Reference, End::Stop),
        ],
    },
    Plan {
        name: "handover-by-kills",
        legs: [
            (Kind::Reference, End::Kill),
            (Kind::Kerolox, End::Kill),
            (Kind::Reference, End::Stop),
        ],
    },
];

pub(super) fn run(plan: &Plan, home: &Path, programs: &Programs) -> Result<()> {
    let mut clients = programs.handover(home)?;
    let mut faults = 0;
    for (i, (kind, end)) in plan.legs.into_iter().enumerate() {
        let started = Instant::now();
        let mut broker = Broker::start(kind, programs, home, &SETTINGS)?;
        let word = match end {
            _ if i + 1 == plan.legs.len() => "last",
            End::Kill => "kill",
            End::Stop => "stop",
        };
        clients.tell(&broker, word)?;
        loop {
            match clients.next()? {
                Some(Line::Fault { what }) => {
                    eprintln!("   {}: {what}", plan.name);
                    faults += 1;
                }
                Some(Line::Steady) => break,
                other => return Err(format!("clients do not tell {other:?}")),
            }
        }
        match end {
            End::Kill => broker.kill()?,
            End::Stop => broker.stop()?,
        }
        let (leg, seconds) = (i + 1, started.elapsed().as_secs());
        eprintln!(
            "   {}, leg {leg}: {kind:?}, {end:?}: {seconds} s",
            plan.name
        );
    }
    clients.close();
    while clients.next::<Line>()?.is_some() {}
    match faults {
        0 => Ok(()),
        _ => Err(format!("{faults} faults")),
    }
}
