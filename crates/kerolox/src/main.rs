//! Kerolox: Apache RocketMQ 5.5.0 ("the reference") in one small binary.
//!
//! This crate is the command line: it reads options and configuration files
//! ([`cli`], [`start`]), sets up logging ([`logging`]), puts roles together
//! and stops them on a signal. What a role does is in the role's own crate.

mod bench;
mod cli;
mod client;
mod consume;
mod data_dir;
mod error;
mod inspect;
mod keys;
mod logging;
mod output;
mod send;
mod signals;
mod start;
mod store_dir;

use std::process::ExitCode;
use std::time::Instant;

use cli::{Cli, Command};
use error::CliError;

fn main() -> ExitCode {
    let begun = Instant::now();
    let cli = Cli::read();
    match run(cli, begun) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kerolox: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(cli: Cli, begun: Instant) -> Result<(), CliError> {
    match cli.command {
        Command::Start(args) => start::cluster(args, &cli.log, begun),
        Command::Nameserver(args) => start::name_server(args, &cli.log, begun),
        Command::Broker(args) => start::broker(args, &cli.log, begun),
        Command::Proxy(args) => start::proxy(args, &cli.log, begun),
        Command::Send(args) => start::client(send::run(args), &cli.log),
        Command::Consume(args) => start::client(consume::run(args), &cli.log),
        Command::Bench(args) => start::client(bench::run(args), &cli.log),
        Command::Store(args) => store_dir::run(args, &cli.log),
        Command::Inspect(args) => inspect::run(args),
        Command::ConfigKeys => output::print(&keys::page()),
    }
}
