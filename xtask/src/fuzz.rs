//! `cargo xtask fuzz`: every fuzz target for a while.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use clap::Args;

use crate::golden;
use crate::process::{self, Result, told};

#[derive(Debug, Args)]
pub(crate) struct Fuzz {
    /// How long each target runs
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// The targets; without any, all of them
    targets: Vec<String>,
}

impl Fuzz {
    pub(crate) fn run(self) -> Result<()> {
        let all = targets()?;
        let unknown = self.targets.iter().find(|target| !all.contains(target));
        if let Some(unknown) = unknown {
            return Err(format!(
                "there is no fuzz target `{unknown}`: there are {}",
                all.join(", ")
            ));
        }
        let chosen = if self.targets.is_empty() {
            all
        } else {
            self.targets
        };
        install()?;
        let seeds = process::target_dir()?.join("fuzz-seeds");
        write_seeds(&seeds)?;
        process::run(process::rustup_cargo().args(["+nightly", "fuzz", "build"]))?;
        let left = Mutex::new(chosen.iter());
        let failed = Mutex::new(Vec::new());
        let take = || left.lock().ok()?.next();
        let fuzz_some = || {
            while let Some(target) = take() {
                if let Err(error) = fuzz(target, &seeds, self.seconds)
                    && let Ok(mut failed) = failed.lock()
                {
                    failed.push(error);
                }
            }
        };
        // A target takes one core.
        thread::scope(|scope| {
            for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(fuzz_some);
            }
        });
        let failed = failed.into_inner().unwrap_or_default();
        if failed.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "{}\ninputs that made a target fail are in fuzz/artifacts",
                failed.join("\n")
            ))
        }
    }
}

/// Runs a target, and shows what it said as a whole.
fn fuzz(target: &str, seeds: &Path, seconds: u32) -> Result<()> {
    eprintln!("== fuzzing {target} for {seconds} s");
    let corpus = process::root().join("fuzz/corpus").join(target);
    fs::create_dir_all(&corpus).map_err(|error| told(&corpus, &error))?;
    let mut command = process::rustup_cargo();
    command
        .args(["+nightly", "fuzz", "run", target])
        .args([&*corpus, seeds])
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        // An input that takes longer is a finding, also where others want the machine.
        .args(["-timeout=20", "-verbosity=0", "-print_final_stats=1"])
        // A buffer that was read to its end, of a task that still runs, would count as one
        // that nobody has.
        .env("ASAN_OPTIONS", "detect_leaks=0");
    process::run_and_show(&mut command)
}

/// The names of the targets: the files of `fuzz/fuzz_targets`.
fn targets() -> Result<Vec<String>> {
    let folder = process::root().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&folder).map_err(|error| told(&folder, &error))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".rs")?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn install() -> Result<()> {
    if !process::works(
        Command::new("rustc")
            .env_remove("RUSTUP_TOOLCHAIN")
            .args(["+nightly", "--version"]),
    ) {
        let rustup = ["toolchain", "install", "nightly", "--profile", "minimal"];
        process::run(Command::new("rustup").args(rustup))?;
    }
    if !process::works(process::rustup_cargo().args(["fuzz", "--version"])) {
        process::run(process::rustup_cargo().args(["install", "--locked", "cargo-fuzz"]))?;
    }
    Ok(())
}

/// Writes a file for each golden value, named by its place.
fn write_seeds(folder: &Path) -> Result<()> {
    let failed = |error| told(folder, &error);
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(failed)?;
    }
    fs::create_dir_all(folder).map_err(failed)?;
    for (number, value) in golden::values()?.iter().enumerate() {
        fs::write(folder.join(format!("{number:05}")), value).map_err(failed)?;
    }
    Ok(())
}
