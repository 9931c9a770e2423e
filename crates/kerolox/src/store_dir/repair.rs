//! `kerolox store repair`.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use serde_json::json;
use store::{Clock, OsDisk, SystemClock};

use super::{DirArgs, Lines};
use crate::consume::time::format_time;
use crate::error::CliError;

/// Options of `kerolox store repair`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    dir: DirArgs,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Makes the queues anew, after asking.
pub(super) fn run(args: &Args) -> Result<(), CliError> {
    let disk = OsDisk::shared();
    // Tells what is wrong with the directory before it asks.
    let store = args.dir.open()?;
    if store.is_in_use()? {
        let root = store.settings().root();
        return Err(store::StoreError::InUse { root }.into());
    }
    if !args.yes && !confirmed(args)? {
        return Ok(());
    }
    let suffix = format_time(SystemClock.now_millis()).replace(['-', ':', '.', 'Z'], "");
    let settings = args.dir.settings(&*disk)?;
    let repaired = store::repair(disk, Arc::new(SystemClock), settings, &suffix)?;
    let mut lines = Lines::new(args.dir.output);
    let value = json!({
        "kind": "repaired",
        "damagedStretches": repaired.stretches,
        "damagedBytes": repaired.damaged_bytes,
        "cutBytes": repaired.cut_bytes,
        "queueEntries": repaired.queue_entries,
        "backups": repaired.backups,
    });
    let _ = lines.put(&value, || {
        let mut text = format!("{} queue entries made from the log", repaired.queue_entries);
        if repaired.stretches > 0 {
            text.push_str(&format!(
                "\n{} damaged bytes in {} stretches of the log are passed over",
                repaired.damaged_bytes, repaired.stretches
            ));
        }
        if repaired.cut_bytes > 0 {
            text.push_str(&format!(
                "\n{} bytes behind the last whole message are cut off",
                repaired.cut_bytes
            ));
        }
        for backup in &repaired.backups {
            let path = args.dir.dir.join(backup);
            text.push_str(&format!("\nwhat was there before is in {}", path.display()));
        }
        text
    })?;
    lines.end()
}

/// Asks on the terminal.
fn confirmed(args: &Args) -> Result<bool, CliError> {
    if !std::io::stdin().is_terminal() {
        return Err(CliError::Unconfirmed);
    }
    eprint!(
        "Make the queues of {} anew from its log? What is there now is kept under other names. [y/N] ",
        args.dir.dir.display()
    );
    let mut answer = String::new();
    std::io::stderr()
        .flush()
        .and_then(|()| std::io::stdin().read_line(&mut answer))
        .map_err(|source| CliError::System {
            what: "ask on the terminal",
            source,
        })?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
