//! Other programs.

mod running;

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

pub(crate) use self::running::{Process, until};

/// What went wrong, for the person at the terminal.
pub(crate) type Result<T> = std::result::Result<T, String>;

/// How many lines of a log are told with an error.
const LAST_LINES: usize = 40;

/// The top folder of the project.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// The folder that Cargo builds into.
pub(crate) fn target_dir() -> Result<PathBuf> {
    // This program is TARGET/PROFILE/xtask.
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let target = own.ancestors().nth(2).map(Path::to_owned);
    target.ok_or_else(|| format!("{} is not below a target folder", own.display()))
}

/// The Cargo that runs this program.
pub(crate) fn cargo() -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // What Cargo tells this program of its package would have build scripts that look at it run
    // again, and all that depends on them be built anew.
    for (name, _) in std::env::vars_os() {
        let told = name.to_string_lossy();
        if told.starts_with("CARGO_PKG_") || told.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command.current_dir(root());
    command
}

/// A Cargo that rustup chooses by a `+toolchain` argument.
pub(crate) fn rustup_cargo() -> Command {
    let mut command = Command::new("cargo");
    // Cargo hands its own toolchain to the programs it runs.
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    command.current_dir(root());
    command
}

/// Runs to the end with this terminal; an exit code other than 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .map_err(|error| cannot_run(command, &error))?;
    succeeded(command, status)
}

fn succeeded(command: &Command, status: ExitStatus) -> Result<()> {
    if status.success() {
        Ok(())
    } else {
        Err(format!("{} ended with {status}", shown(command)))
    }
}

/// The same beside others: what it says is shown when it has ended.
pub(crate) fn run_and_show(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .map_err(|error| cannot_run(command, &error))?;
    let said = [output.stdout, output.stderr].concat();
    eprintln!("{}", String::from_utf8_lossy(&said));
    succeeded(command, output.status)
}

/// Runs to the end and returns what it wrote to standard output.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| cannot_run(command, &error))?;
    succeeded(command, output.status)?;
    Ok(output.stdout)
}

/// Whether the command runs and succeeds; nothing is shown.
pub(crate) fn works(command: &mut Command) -> bool {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// An error with the ends of the logs in a folder, so that a report of the run is enough to look
/// into it.
pub(crate) fn with_logs(error: String, folder: &Path) -> String {
    let mut told = error;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "log")
            && let Ok(log) = fs::read(&path)
        {
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
            told += &format!("\n{} ends:\n{}", path.display(), last.join("\n"));
        }
    }
    told
}

/// An error of a file or folder.
pub(crate) fn told(path: &Path, error: &impl Display) -> String {
    format!("{}: {error}", path.display())
}

fn cannot_run(command: &Command, error: &std::io::Error) -> String {
    let program = command.get_program().to_string_lossy();
    format!("cannot run {program}: {error}; is it installed?")
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
