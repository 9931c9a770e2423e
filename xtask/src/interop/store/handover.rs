//! A store goes over with all that a broker owes: messages that were received and not
//! acknowledged, open transactions, messages that wait for a time or by a delay level. The next
//! broker has to keep the promises of the one before.

use std::fs;
use std::time::Instant;

use super::broker::{Broker, Kind, Programs, told};
use super::dump::Line;
use crate::process::Result;

/// The name of this plan.
pub(super) const NAME: &str = "handover";

/// What every broker here is told. Producers are asked soon, but not before the next broker runs,
/// and not so often that the reference asks again before it has noted an answer.
const SETTINGS: [&str; 6] = [
    "recallMessageEnable=true",
    "transactionCheckInterval=10000",
    "transactionTimeOut=40000",
    "diskMaxUsedSpaceRatio=95",
    "waitTimeMillsInSendQueue=10000",
    "osPageCacheBusyTimeOutMills=10000",
];

/// Who has the store, one after the other. Each is stopped: after a kill the reference delivers
/// again what was acknowledged in the last seconds, whoever was killed.
const LEGS: [Kind; 3] = [Kind::Reference, Kind::Kerolox, Kind::Reference];

pub(super) fn run(programs: &Programs) -> Result<()> {
    eprintln!("== {NAME}");
    let home = programs.folder.join(NAME);
    fs::create_dir_all(&home).map_err(|error| told(&home, &error))?;
    let mut clients = programs.handover(&home)?;
    let mut faults = 0;
    for (i, kind) in LEGS.into_iter().enumerate() {
        let started = Instant::now();
        let broker = Broker::start(kind, programs, &home, &SETTINGS)?;
        let is_last = i + 1 == LEGS.len();
        clients.tell(&broker, if is_last { &["last"] } else { &[] })?;
        loop {
            match clients.next()? {
                Some(Line::Fault { what }) => {
                    eprintln!("   {what}");
                    faults += 1;
                }
                Some(Line::Steady) => break,
                other => return Err(format!("clients do not tell {other:?}")),
            }
        }
        broker.stop()?;
        let (leg, seconds) = (i + 1, started.elapsed().as_secs());
        eprintln!("   leg {leg}: {kind:?}: {seconds} s");
    }
    clients.close();
    while clients.next::<Line>()?.is_some() {}
    if faults > 0 {
        return Err(format!(
            "{faults} faults; the files are in {}",
            home.display()
        ));
    }
    fs::remove_dir_all(&home).map_err(|error| told(&home, &error))
}
