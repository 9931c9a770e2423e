//! `kerolox store verify`.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use serde_json::json;
use store::{Finding, Place, Report, Severity, Verified};

use super::{DirArgs, Lines};
use crate::error::CliError;

/// Options of `kerolox store verify`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    dir: DirArgs,
}

/// Tells each finding as it is made, and on a terminal how far it has come.
struct Printer {
    lines: Lines,
    bar: Bar,
    failed: Option<CliError>,
}

impl Report for Printer {
    fn found(&mut self, finding: Finding) {
        self.bar.clear();
        let Place {
            file,
            at,
            queue,
            offset,
        } = &finding.place;
        let severity = match finding.severity {
            Severity::Damage => "damage",
            Severity::Note => "note",
        };
        let (topic, queue_id) = queue.clone().unzip();
        let value = json!({
            "kind": "finding",
            "severity": severity,
            "file": file,
            "at": at,
            "topic": topic,
            "queueId": queue_id,
            "queueOffset": offset,
            "what": finding.what,
        });
        let written = self.lines.put(&value, || {
            let mut line = format!("{severity}  {}", file.display());
            if let Some(at) = at {
                line.push_str(&format!(" at byte {at}"));
            }
            if let Some((topic, id)) = queue {
                line.push_str(&format!("  {topic}:{id}"));
            }
            if let Some(offset) = offset {
                line.push_str(&format!(" offset {offset}"));
            }
            format!("{line}: {}", finding.what)
        });
        if let Err(error) = written {
            self.failed = Some(error);
        }
    }

    fn progress(&mut self, done: u64, total: u64) {
        self.bar.show(done, total);
    }
}

/// Compares everything with everything; an error if something is wrong.
pub(super) fn run(args: &Args) -> Result<(), CliError> {
    let store = args.dir.open()?;
    let mut printer = Printer {
        lines: Lines::new(args.dir.output),
        bar: Bar::new(),
        failed: None,
    };
    let verified = store.verify(&mut printer)?;
    printer.bar.clear();
    if let Some(error) = printer.failed {
        return Err(error);
    }
    let Verified {
        records,
        queues,
        queue_entries,
        index_entries,
        timer_entries,
        config_files,
        damage,
        notes,
    } = verified;
    let value = json!({
        "kind": "verified",
        "records": records,
        "queues": queues,
        "queueEntries": queue_entries,
        "indexEntries": index_entries,
        "timerEntries": timer_entries,
        "configFiles": config_files,
        "damage": damage,
        "notes": notes,
    });
    let _ = printer.lines.put(&value, || {
        format!(
            "{records} records, {queue_entries} entries of {queues} queues, \
             {index_entries} index entries, {timer_entries} timer entries, {config_files} configuration files: \
             {damage} findings of damage, {notes} notes"
        )
    })?;
    printer.lines.end()?;
    if damage > 0 {
        return Err(CliError::DamagedStore {
            path: args.dir.dir.clone(),
            damage,
        });
    }
    Ok(())
}

/// A bar on the terminal's last line.
struct Bar {
    shown: bool,
    next: Instant,
    begun: Instant,
}

impl Bar {
    const WIDTH: u64 = 40;

    fn new() -> Bar {
        let now = Instant::now();
        Bar {
            shown: std::io::stderr().is_terminal(),
            next: now,
            begun: now,
        }
    }

    fn show(&mut self, done: u64, total: u64) {
        let now = Instant::now();
        if !self.shown || now < self.next || total == 0 {
            return;
        }
        self.next = now + Duration::from_millis(100);
        let full = (done * Self::WIDTH / total) as usize;
        let seconds = now.duration_since(self.begun).as_secs();
        eprint!(
            "\r[{:<width$}] {:3} %, {} of {} MiB, {seconds} s ",
            "#".repeat(full),
            done * 100 / total,
            done >> 20,
            total >> 20,
            width = Self::WIDTH as usize,
        );
    }

    fn clear(&self) {
        if self.shown {
            eprint!("\r{:90}\r", "");
        }
    }
}
