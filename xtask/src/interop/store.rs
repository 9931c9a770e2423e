//! `cargo xtask interop store`: one store directory goes back and forth between Kerolox and the
//! reference, with traffic under each, and some of them killed.
//!
//! After each leg the reference's own store opens a copy and tells all that it finds; the next
//! broker has to answer the same; and both have to hold what was promised in all legs so far.

pub(super) mod broker;
mod dump;
mod files;
mod handover;
mod ledger;

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Args;

use self::broker::{Broker, End, Kind, Programs};
use self::dump::{Dump, Line};
use self::files::Harm;
use self::ledger::Ledger;
use crate::process::{self, Result, told, until};

/// Messages that clients try in a leg that ends in peace.
const SENDS: u32 = 1_000;

/// What every broker here is told: files so small that many are begun, and offsets soon on disk.
const SETTINGS: [&str; 11] = [
    "mappedFileSizeCommitLog=262144",
    "mappedFileSizeConsumeQueue=2000",
    "mapperFileSizeBatchConsumeQueue=4600",
    "maxHashSlotNum=500",
    "maxIndexNum=2000",
    "maxMessageSize=131072",
    "flushConsumerOffsetInterval=500",
    "enablePropertyFilter=true",
    // A full disk or a slow moment of the tester's machine is no finding.
    "diskMaxUsedSpaceRatio=95",
    "waitTimeMillsInSendQueue=10000",
    "osPageCacheBusyTimeOutMills=10000",
];

#[derive(Debug, Args)]
pub(crate) struct Store {
    /// How often the directory goes to the reference, back, and both once more
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// Repeats the random choices of an earlier run [default: the time]
    #[arg(long)]
    seed: Option<u64>,
    /// Only the plan of this name, such as handover
    #[arg(long)]
    plan: Option<String>,
}

/// Who runs on a directory, one after the other.
struct Plan {
    name: &'static str,
    settings: Vec<&'static str>,
    /// What the traffic under the reference has besides, since Kerolox does not serve it.
    extras: Vec<&'static str>,
    /// Whether the queues and the index are damaged after each leg of Kerolox, and repaired.
    damaged: bool,
    legs: Vec<(Kind, End)>,
}

impl Store {
    pub(crate) fn run(self) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let seed = self.seed.unwrap_or(now.unwrap_or_default().as_secs());
        let programs = Programs::prepare("interop-store")?;
        eprintln!("== --seed {seed} repeats the random choices");
        let is_wanted = |name: &str| self.plan.as_deref().is_none_or(|plan| plan == name);
        let mut plans = plans(self.rounds, &mut Random(seed));
        plans.retain(|plan| is_wanted(plan.name));
        let handovers = handover::PLANS.iter().filter(|plan| is_wanted(plan.name));
        let handovers: Vec<_> = handovers.collect();
        if plans.is_empty() && handovers.is_empty() {
            return Err("there is no plan of this name".to_owned());
        }
        let programs = &programs;
        // Most of a handover is waiting, so these go on beside the others.
        thread::scope(|scope| {
            let handovers: Vec<_> = handovers
                .iter()
                .map(|plan| {
                    scope.spawn(|| {
                        let run = |home: PathBuf| handover::run(plan, &home, programs);
                        in_its_home(programs, plan.name, seed, run)
                    })
                })
                .collect();
            let mut done = plans.into_iter().try_for_each(|plan| {
                in_its_home(programs, plan.name, seed, |home| {
                    let mut run = Run {
                        programs,
                        home,
                        plan,
                        ledger: Ledger::default(),
                        keys_from: 0,
                        before: None,
                        // So that a plan's choices do not depend on the others that run.
                        random: Random(seed),
                    };
                    run.all_legs()
                })
            });
            for handover in handovers {
                let result = handover.join();
                done = done.and(result.unwrap_or_else(|_| Err("a handover panics".to_owned())));
            }
            done
        })
    }
}

/// Runs a plan in a folder of its own, which stays if the plan fails.
fn in_its_home(
    programs: &Programs,
    name: &str,
    seed: u64,
    run: impl FnOnce(PathBuf) -> Result<()>,
) -> Result<()> {
    let home = programs.folder.join(name);
    fs::create_dir_all(&home).map_err(|error| told(&home, &error))?;
    run(home.clone()).map_err(|error| {
        let error = format!("{name}: {error}\n--seed {seed} repeats the random choices");
        process::with_logs(error, &home)
    })?;
    fs::remove_dir_all(&home).map_err(|error| told(&home, &error))
}

fn plans(rounds: u32, random: &mut Random) -> Vec<Plan> {
    use End::{Kill, Stop};
    use Kind::{Kerolox, Reference};
    let mut back_and_forth = Vec::new();
    for _ in 0..rounds {
        // Each of the two is killed once, and stopped once.
        let ends = || [[Kill, Stop], [Stop, Kill]];
        let reference = ends()[random.below(2)];
        let kerolox = ends()[random.below(2)];
        for (reference, kerolox) in reference.into_iter().zip(kerolox) {
            back_and_forth.extend([(Reference, reference), (Kerolox, kerolox)]);
        }
    }
    vec![
        Plan {
            name: "kerolox-stopped",
            settings: vec![],
            extras: vec![],
            damaged: false,
            legs: vec![(Kerolox, Stop)],
        },
        Plan {
            name: "kerolox-killed-with-record-crc",
            settings: vec!["enabledAppendPropCRC=true"],
            extras: vec![],
            damaged: false,
            legs: vec![(Kerolox, Kill)],
        },
        Plan {
            name: "back-and-forth",
            settings: vec![],
            extras: vec!["filters"],
            damaged: false,
            legs: back_and_forth,
        },
        Plan {
            name: "light-queues",
            settings: vec!["enableLmq=true", "enableMultiDispatch=true"],
            extras: vec!["light-queues"],
            damaged: false,
            legs: vec![(Reference, Stop), (Kerolox, Kill), (Reference, Stop)],
        },
        Plan {
            name: "repaired",
            settings: vec![],
            extras: vec![],
            damaged: true,
            legs: vec![(Kerolox, Stop), (Reference, Stop), (Kerolox, Kill)],
        },
    ]
}

/// A directory on its way.
struct Run<'a> {
    programs: &'a Programs,
    home: PathBuf,
    plan: Plan,
    ledger: Ledger,
    /// The position in the log from which on keys have to be found.
    keys_from: i64,
    /// What the reference found after the last leg.
    before: Option<Dump>,
    random: Random,
}

impl Run<'_> {
    fn all_legs(&mut self) -> Result<()> {
        for (i, (kind, end)) in self.plan.legs.clone().into_iter().enumerate() {
            let leg = i + 1;
            let started = Instant::now();
            self.leg(leg, kind, end)
                .map_err(|error| format!("leg {leg}, {kind:?} to {end:?}: {error}"))?;
            let (seconds, count) = (started.elapsed().as_secs(), self.ledger.len());
            let name = self.plan.name;
            eprintln!(
                "   {name}, leg {leg}: {kind:?}, {end:?}: {count} messages kept so far, {seconds} s"
            );
        }
        self.last_leg()
            .map_err(|error| format!("after the last leg: {error}"))
    }

    fn leg(&mut self, leg: usize, kind: Kind, end: End) -> Result<()> {
        let store = self.home.join("store");
        let foreign = files::foreign(&store, self.offsets_file());
        let mut broker = self.start(kind)?;
        self.check_answers(&broker, kind)?;
        let sends = if end == End::Kill { 0 } else { SENDS };
        let seed = self.random.next() >> 1;
        let extras: &[&str] = match kind {
            Kind::Reference => &self.plan.extras,
            Kind::Kerolox => &[],
        };
        let mut traffic = self
            .programs
            .traffic(&self.home, &broker, leg, seed, sends, extras)?;
        let mut kill_at = usize::MAX;
        while let Some(line) = traffic.next()? {
            match line {
                Line::Steady => {
                    self.wait_for_offsets()?;
                    if end == End::Kill {
                        let more = SENDS as usize / 2 + self.random.below(SENDS as usize);
                        kill_at = self.ledger.len() + more;
                    }
                }
                promise => self.ledger.add(promise)?,
            }
            if self.ledger.len() >= kill_at {
                kill_at = usize::MAX;
                broker.kill()?;
                self.ledger.add_kill(leg);
            }
        }
        if end == End::Stop {
            broker.stop()?;
        }
        if store.join("abort").exists() != (end == End::Kill) {
            return Err("the file `abort` does not tell how the broker ended".to_owned());
        }
        if kind == Kind::Kerolox && leg > 1 {
            let after = files::foreign(&store, self.offsets_file())?;
            let differing = files::differing(&foreign?, &after);
            if !differing.is_empty() {
                return Err(format!(
                    "Kerolox has changed what is not its own: {differing:?}"
                ));
            }
        }
        if self.plan.damaged && kind == Kind::Kerolox {
            let harm = if leg == 1 { Harm::Changed } else { Harm::Gone };
            files::damage(&store, harm, |below| self.random.below(below))?;
            self.programs.repair(&self.home, &store)?;
        }
        self.read_files(kind, end)
    }

    /// Once more Kerolox, without traffic, until each delayed message has come.
    fn last_leg(&mut self) -> Result<()> {
        let broker = self.start(Kind::Kerolox)?;
        self.check_answers(&broker, Kind::Kerolox)?;
        until("each delayed message is delivered", || {
            let dump = self.programs.read_broker(&self.home, &broker)?;
            Ok(self.ledger.all_delivered(&dump))
        })?;
        broker.stop()?;
        self.read_files(Kind::Kerolox, End::Stop)
    }

    fn start(&self, kind: Kind) -> Result<Broker> {
        let settings: Vec<&str> = SETTINGS
            .iter()
            .chain(&self.plan.settings)
            .copied()
            .collect();
        Broker::start(kind, self.programs, &self.home, &settings)
    }

    /// A new broker answers what was found in the files, and all that was promised.
    fn check_answers(&mut self, broker: &Broker, kind: Kind) -> Result<()> {
        let Some(before) = &self.before else {
            return Ok(());
        };
        let dump = self.programs.read_broker(&self.home, broker)?;
        ledger::check_same(before, &dump)
            .map_err(|error| format!("the broker's answers: {error}"))?;
        self.ledger
            .check(&dump)
            .map_err(|error| format!("the broker's answers: {error}"))?;
        if kind == Kind::Reference {
            ledger::check_keys(&dump, self.keys_from)?;
        }
        Ok(())
    }

    /// Has the reference read a copy of the files.
    fn read_files(&mut self, kind: Kind, end: End) -> Result<()> {
        let copy = self.home.join("copy");
        files::copy(&self.home.join("store"), &copy)?;
        let dump = self.programs.read_store(&self.home, &copy)?;
        let checked = ledger::check_files(&dump).and_then(|()| self.ledger.check(&dump));
        checked.map_err(|error| format!("the reference reads the files: {error}"))?;
        if end == End::Kill || kind == Kind::Kerolox {
            // The reference drops the index that it has not flushed, and fills it again only
            // from where it recovers the log. Kerolox writes no index yet.
            self.keys_from = dump.end;
        }
        if self.plan.damaged && kind == Kind::Kerolox {
            // The index was made anew from the whole log.
            self.keys_from = 0;
        }
        ledger::check_keys(&dump, self.keys_from)?;
        for (key, offset) in &self.ledger.offsets {
            let kept = dump.offsets.get(key);
            if kept != Some(offset) {
                return Err(format!(
                    "{key:?} has come to {offset}, the files say {kept:?}"
                ));
            }
        }
        if let Some(before) = &self.before {
            for (table, counter) in &before.versions {
                if dump.versions.get(table) < Some(counter) {
                    return Err(format!("the version of the {table} goes back"));
                }
            }
        }
        self.before = Some(dump);
        Ok(())
    }

    /// Waits until the offsets of the groups are in their file, from where on no kill loses them.
    fn wait_for_offsets(&self) -> Result<()> {
        let file = self.home.join("store/config").join(self.offsets_file());
        until("the offsets of groups are written", || {
            // The file is missing while the reference replaces it.
            let text = fs::read_to_string(&file).unwrap_or_default();
            let mut offsets = self.ledger.offsets.iter();
            Ok(offsets.all(|((key, queue), offset)| files::says(&text, key, *queue, *offset)))
        })
    }

    fn offsets_file(&self) -> &'static str {
        if self.plan.settings.contains(&"enableLmq=true") {
            "lmqConsumerOffset.json"
        } else {
            "consumerOffset.json"
        }
    }
}

/// A generator of random numbers (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}
