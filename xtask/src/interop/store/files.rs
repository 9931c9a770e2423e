//! The files of a store directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::process::{Result, told};

/// What Kerolox reads and writes in the store's directory.
const IN_ROOT: [&str; 11] = [
    "abort",
    "batchconsumequeue",
    "checkpoint",
    "commitlog",
    "compacted",
    "consumequeue",
    "consumequeue_ext",
    "index",
    "lock",
    "timerlog",
    "timerwheel",
];

/// What Kerolox reads and writes in `config`, besides offsets; each with a backup, and with what is
/// left of it when a broker is killed while it writes.
const IN_CONFIG: [&str; 10] = [
    "consumerFilter.json",
    "consumerOrderInfo.json",
    "delayOffset.json",
    "messageRequestMode.json",
    "queues.snapshot",
    "subscriptionGroup.json",
    "timercheck",
    "timermetrics",
    "topicQueueMapping.json",
    "topics.json",
];

/// Larger files are told apart by length and time only.
const COMPARED: u64 = 1 << 20;

/// State of files by path.
pub(super) type Files = BTreeMap<PathBuf, (u64, SystemTime, Vec<u8>)>;

/// The files that Kerolox must leave alone. `offsets` is the one in `config` that offsets are in.
pub(super) fn foreign(store: &Path, offsets: &str) -> Result<Files> {
    let mut files = Files::new();
    collect(store, &mut files)?;
    files.retain(|path, _| {
        let name = |path: &Path| path.to_string_lossy().into_owned();
        let mut parts = path.strip_prefix(store).unwrap_or(path).iter();
        let first = parts
            .next()
            .map(|part| name(part.as_ref()))
            .unwrap_or_default();
        let second = parts
            .next()
            .map(|part| name(part.as_ref()))
            .unwrap_or_default();
        let second = [".bak", ".tmp"]
            .iter()
            .find_map(|suffix| second.strip_suffix(suffix))
            .unwrap_or(&second);
        let own = IN_ROOT.contains(&first.as_str())
            || first == "config" && (IN_CONFIG.contains(&second) || second == offsets);
        !own
    });
    Ok(files)
}

/// What happens to queues and index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Harm {
    /// Each file has a wrong byte among those that are written.
    Changed,
    /// All files are gone.
    Gone,
}

/// What can be made anew from the log.
const FROM_THE_LOG: [&str; 3] = ["batchconsumequeue", "consumequeue", "index"];

/// Damages the queues and the index of a store; `below` chooses a number.
pub(super) fn damage(
    store: &Path,
    harm: Harm,
    mut below: impl FnMut(usize) -> usize,
) -> Result<()> {
    let parts = FROM_THE_LOG.map(|part| store.join(part));
    for part in parts.into_iter().filter(|part| part.exists()) {
        if harm == Harm::Gone {
            fs::remove_dir_all(&part).map_err(|error| told(&part, &error))?;
            continue;
        }
        let mut files = Files::new();
        collect(&part, &mut files)?;
        for path in files.keys() {
            let failed = |error| told(path, &error);
            let mut bytes = fs::read(path).map_err(failed)?;
            // The header of an index file stays, by which its sizes are found.
            let written: Vec<usize> = (40..bytes.len()).filter(|&at| bytes[at] != 0).collect();
            if !written.is_empty() {
                bytes[written[below(written.len())]] ^= 0x40;
                fs::write(path, bytes).map_err(failed)?;
            }
        }
    }
    Ok(())
}

/// Copies what the messages and tables of a store are in.
pub(super) fn copy(store: &Path, to: &Path) -> Result<()> {
    let mut files = Files::new();
    for part in IN_ROOT.into_iter().chain(["config"]) {
        let part = store.join(part);
        if part.exists() {
            collect(&part, &mut files)?;
        }
    }
    // An interrupted run may have left one.
    let _ = fs::remove_dir_all(to);
    for path in files.keys() {
        let target = to.join(path.strip_prefix(store).unwrap_or(path));
        let parent = target.parent().unwrap_or(to);
        let copied = fs::create_dir_all(parent).and_then(|()| fs::copy(path, &target));
        copied.map_err(|error| told(path, &error))?;
    }
    Ok(())
}

/// The names of the files that are not in both, or not the same.
pub(super) fn differing(before: &Files, after: &Files) -> Vec<String> {
    let names = before.keys().chain(after.keys());
    let mut names: Vec<_> = names
        .filter(|&name| before.get(name) != after.get(name))
        .map(|name| name.display().to_string())
        .collect();
    names.dedup();
    names
}

fn collect(path: &Path, files: &mut Files) -> Result<()> {
    let failed = |error| told(path, &error);
    let about = fs::metadata(path).map_err(failed)?;
    if about.is_dir() {
        for entry in fs::read_dir(path).map_err(failed)? {
            collect(&entry.map_err(failed)?.path(), files)?;
        }
    } else {
        let content = if about.len() <= COMPARED {
            fs::read(path).map_err(failed)?
        } else {
            Vec::new()
        };
        let time = about.modified().map_err(failed)?;
        files.insert(path.to_owned(), (about.len(), time, content));
    }
    Ok(())
}

/// Whether a file of offsets, in the reference's JSON, says how far a group has come.
pub(super) fn says(text: &str, key: &str, queue: i32, offset: i64) -> bool {
    let dense: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let Some((_, rest)) = dense.split_once(&format!("\"{key}\":")) else {
        return false;
    };
    let Some(queues) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
        // A light queue's group has one number.
        let number = rest.split([',', '}']).next();
        return number == Some(&offset.to_string());
    };
    let wanted = format!("{queue}:{offset}");
    queues.0.split(',').any(|entry| entry == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_found_in_both_forms() {
        let text = "{\"offsetTable\":{\"t@g\":{0:5,\n\t1:15}},\"lmqOffsetTable\":{\"%LMQ%a@g\":7}}";
        assert!(says(text, "t@g", 1, 15) && says(text, "%LMQ%a@g", 0, 7));
        assert!(!says(text, "t@g", 1, 5) && !says(text, "t@h", 0, 5));
    }
}
