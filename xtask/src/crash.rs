//! `cargo xtask crash`: kills stores until one breaks a promise.

use clap::Args;

use crate::process::{self, Result};

/// The tests that do the work; without variables they are short.
const MODEL: [&str; 3] = ["store", "--exact", "model::the_store_keeps_its_promises"];
const BLACK_BOX: [&str; 3] = ["crash", "--test-threads", "1"];

#[derive(Debug, Args)]
pub(crate) struct Crash {
    /// How many random lives of a store on a simulated disk; without it there is no end
    #[arg(long)]
    seeds: Option<u64>,
    /// Live one life again
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Kill the built server under load instead, and start it again
    #[arg(long, conflicts_with_all = ["seeds", "seed"])]
    black_box: bool,
    /// How often the server is killed
    #[arg(long, default_value_t = 200, requires = "black_box")]
    rounds: usize,
}

impl Crash {
    pub(crate) fn run(self) -> Result<()> {
        let (test, variable) = match self {
            Crash {
                black_box: true,
                rounds,
                ..
            } => (BLACK_BOX, ("KEROLOX_ROUNDS", rounds.to_string())),
            Crash {
                seed: Some(seed), ..
            } => (MODEL, ("KEROLOX_SEED", seed.to_string())),
            Crash {
                seeds: Some(seeds), ..
            } => (MODEL, ("KEROLOX_SEEDS", seeds.to_string())),
            _ => (MODEL, ("KEROLOX_SEEDS", "endless".to_owned())),
        };
        let [target, rest @ ..] = test;
        let mut command = process::cargo();
        command
            // Of the workspace, so that what its own tests had built serves here, too.
            .args(["test", "--quiet", "--workspace", "--test", target])
            .args(["--", "--nocapture"])
            .args(rest)
            .env(variable.0, variable.1);
        process::run(&mut command)
    }
}
