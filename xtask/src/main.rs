//! Developer commands: `cargo xtask`.
//!
//! The checks of the source tree itself (`tidy`) are unit tests of this
//! crate: `cargo test -p xtask`.

mod bench;
mod crash;
mod docs;
mod fuzz;
mod golden;
mod interop;
mod network;
mod process;
#[cfg(test)]
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Developer commands of Kerolox.
#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    disable_help_subcommand = true,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenarios with the clients that RocketMQ users have
    #[command(subcommand)]
    Interop(interop::Interop),
    /// Run fuzz targets for a while, starting from the golden data
    Fuzz(fuzz::Fuzz),
    /// Kill stores until one breaks a promise
    Crash(crash::Crash),
    /// Measure the null server, the reference and Kerolox side by side
    Bench(bench::Bench),
    /// Write docs/configuration.md from the declarations in the code
    Docs,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Interop(interop) => interop.run(),
        Command::Fuzz(fuzz) => fuzz.run(),
        Command::Crash(crash) => crash.run(),
        Command::Bench(bench) => bench.run(),
        Command::Docs => docs::write(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
