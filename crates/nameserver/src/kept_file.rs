//! Files that are written anew as a whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Replaces what a file holds. Whoever reads it, now or after a power cut, finds the old content
/// or the new one, never a part: the new one goes to `<path>.tmp` and takes the name once it is
/// on disk. Missing directories are made.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(directory)?;
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let mut file = File::create(&name)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&name, path)?;
    // The new name is on disk once the directory is.
    File::open(directory)?.sync_all()
}
