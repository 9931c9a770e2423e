//! `kerolox store dump DIR index`.

use std::ops::ControlFlow;

use serde_json::json;
use store::{Key, OfflineIndexFile, OfflineStore};

use super::{Flow, Range, put};
use crate::consume::time::format_time;
use crate::error::CliError;
use crate::store_dir::Lines;

/// Which entries are shown.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only entries with the hash of a key of this topic
    #[arg(long, requires = "wanted")]
    topic: Option<String>,
    #[command(flatten)]
    wanted: Wanted,
    /// --from and --to are positions in the log of the messages that the entries point to
    #[command(flatten)]
    range: Range,
}

/// What the hash is of.
#[derive(Debug, clap::Args)]
#[group(id = "wanted", multiple = false)]
struct Wanted {
    /// This key, or this unique id
    #[arg(long, requires = "topic")]
    key: Option<String>,
    /// This tag
    #[arg(long, requires = "topic")]
    tag: Option<String>,
}

impl Args {
    fn hash(&self) -> Option<i32> {
        let key = self.wanted.key.as_deref().map(Key::Text);
        let key = key.or(self.wanted.tag.as_deref().map(Key::Tag))?;
        Some(key.hash(self.topic.as_deref()?))
    }
}

/// Shows each file with its entries.
pub(super) fn files(store: &OfflineStore, args: &Args, lines: &mut Lines) -> Flow {
    let hash = args.hash();
    let positions = args.range.from.unwrap_or(0)..args.range.to.unwrap_or(i64::MAX);
    let mut left = args.range.limit;
    for file in store.index_files()? {
        let file = file?;
        if put_file(&file, lines)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let begin = file.header().map_or(0, |header| header.begin_timestamp);
        for entry in file.entries() {
            let (number, entry) = entry?;
            if left == 0 {
                return Ok(ControlFlow::Continue(()));
            }
            let has_hash = hash.is_none_or(|hash| entry.hash == hash);
            if !has_hash || !positions.contains(&entry.offset) {
                continue;
            }
            left -= 1;
            // The first one counts its seconds from another time, and is of the begin.
            let seconds = if number == 1 { 0 } else { entry.seconds };
            let time = begin.saturating_add(i64::from(seconds) * 1000);
            let slot = file.slot_of(entry.hash);
            let value = json!({
                "kind": "indexEntry",
                "number": number,
                "hash": entry.hash,
                "slot": slot,
                "position": entry.offset,
                "seconds": entry.seconds,
                "timestamp": time,
                "previous": entry.previous,
            });
            put!(lines, &value, || {
                let slot = slot.map_or("no slot".to_owned(), |slot| format!("slot {slot}"));
                format!(
                    "{number:>10}  hash {}  position {}  about {}  {slot}, behind {}",
                    entry.hash,
                    entry.offset,
                    format_time(time),
                    entry.previous
                )
            });
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Shows what a file begins with.
pub(super) fn put_file(
    file: &OfflineIndexFile,
    lines: &mut Lines,
) -> Result<ControlFlow<()>, CliError> {
    let (name, len) = (file.name(), file.len());
    let Some(header) = file.header() else {
        let value = json!({"kind": "indexFile", "name": name, "length": len});
        return lines.put(&value, || {
            format!("index file    {name}  {len} bytes  its length or its header cannot be so")
        });
    };
    let value = json!({
        "kind": "indexFile",
        "name": name,
        "length": len,
        "beginTimestamp": header.begin_timestamp,
        "endTimestamp": header.end_timestamp,
        "beginPosition": header.begin_offset,
        "endPosition": header.end_offset,
        "slotsUsed": header.slots_used,
        "entries": header.count - 1,
    });
    lines.put(&value, || {
        format!(
            "index file    {name}  {len} bytes  {} entries in {} slots, messages of {} to {} at {} to {}",
            header.count - 1,
            header.slots_used,
            format_time(header.begin_timestamp),
            format_time(header.end_timestamp),
            header.begin_offset,
            header.end_offset
        )
    })
}
