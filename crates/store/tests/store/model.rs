//! Random lives of a store: what was promised is found, nothing is found twice, and the queues
//! and the index agree with the log, whatever happened in between.
//!
//! A seed is a life. `KEROLOX_SEEDS` says how many random ones to live through (`endless`: all
//! of them), `KEROLOX_SEED` names one to live again: `cargo xtask crash`.

mod case;
mod check;
mod world;

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use self::world::World;

/// Seeds of an ordinary run of the tests.
const SEEDS: u64 = 200;

/// Lives one life; if it goes wrong, the shortest one that still does.
fn live(seed: u64) -> Result<(), String> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let config = Config {
        max_shrink_iters: 4000,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let tree = case::case()
        .new_tree(&mut runner)
        .map_err(|reason| reason.to_string())?;
    let lived = runner.run_one(tree, |case| World::new(&case).live(&case.steps));
    match lived {
        Ok(_) => Ok(()),
        Err(TestError::Fail(reason, case)) => {
            let mut text = format!("seed {seed}: {reason}\n");
            let _ = writeln!(
                text,
                "crc {}, ext {}, {} bytes a file",
                case.crc, case.ext, case.log_file
            );
            for step in &case.steps {
                let _ = writeln!(text, "  {step:?}");
            }
            eprintln!("the log of that life:");
            let log = tracing_subscriber::fmt().with_test_writer().finish();
            tracing::subscriber::with_default(log, || {
                let _ = World::new(&case).live(&case.steps);
            });
            let _ = write!(text, "`cargo xtask crash --seed {seed}` repeats it");
            Err(text)
        }
        Err(TestError::Abort(reason)) => Err(format!("seed {seed}: {reason}")),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[test]
fn the_store_keeps_its_promises() {
    if let Some(seed) = variable("KEROLOX_SEED") {
        let lived = live(seed.parse().expect("KEROLOX_SEED is a number"));
        lived.unwrap_or_else(|report| panic!("{report}"));
        return;
    }
    let seeds = match variable("KEROLOX_SEEDS").as_deref() {
        None => SEEDS,
        Some("endless") => u64::MAX,
        Some(seeds) => seeds.parse().expect("KEROLOX_SEEDS is a number or endless"),
    };
    // Small enough to be typed again.
    let first = UNIX_EPOCH.elapsed().map_or(0, |now| now.as_micros() as u64) % 1_000_000_000;
    println!("{seeds} seeds from {first} on");
    let (next, lived) = (AtomicU64::new(0), AtomicU64::new(0));
    let report = Mutex::new(None);
    let progress = Mutex::new(Progress::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let offset = next.fetch_add(1, Ordering::Relaxed);
                    if offset >= seeds || report.lock().unwrap().is_some() {
                        return;
                    }
                    match live(first + offset) {
                        Ok(()) => progress
                            .lock()
                            .unwrap()
                            .show(lived.fetch_add(1, Ordering::Relaxed) + 1, first + offset),
                        Err(failure) => *report.lock().unwrap() = Some(failure),
                    }
                }
            });
        }
    });
    if let Some(report) = report.into_inner().unwrap() {
        panic!("{report}");
    }
}

/// One line on a terminal that tells how far it is.
struct Progress {
    start: Instant,
    shown: Instant,
}

impl Progress {
    fn new() -> Progress {
        Progress {
            start: Instant::now(),
            shown: Instant::now(),
        }
    }

    fn show(&mut self, lived: u64, seed: u64) {
        if self.shown.elapsed() < Duration::from_millis(200) || !std::io::stderr().is_terminal() {
            return;
        }
        self.shown = Instant::now();
        let rate = lived as f64 / self.start.elapsed().as_secs_f64();
        let mut out = std::io::stderr().lock();
        let _ = write!(out, "\r{lived} lives, {rate:.0} a second, seed {seed} ");
        let _ = out.flush();
    }
}
