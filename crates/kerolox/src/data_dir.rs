//! The data directory of `kerolox start`: `store` is the broker's store root
//! as the reference would have it, `namesrv` is the name server's.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::CliError;

/// A data directory held by this process until dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the directory if need be and takes it; another process that
    /// holds it is an error that names the process. The hold ends with the
    /// process, however it ends.
    pub(crate) fn take(path: &Path) -> Result<DataDir, CliError> {
        let failed = |source| CliError::Data {
            path: path.to_owned(),
            source,
        };
        fs::create_dir_all(path).map_err(failed)?;
        let mut lock = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path.join("kerolox.lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = lock.read_to_string(&mut holder);
                return Err(CliError::DataInUse {
                    path: path.to_owned(),
                    process: holder.trim().parse().ok(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        lock.set_len(0)
            .and_then(|()| lock.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(lock, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(DataDir {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// A path inside, as text for a configuration key.
    pub(crate) fn file(&self, name: &str) -> String {
        self.path.join(name).to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_held_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new").join("data");
        let first = DataDir::take(&path).unwrap();
        assert_eq!(
            DataDir::take(&path).unwrap_err().to_string(),
            format!(
                "the data directory {} is in use by another kerolox (process {}): \
                 stop that one, or choose another directory with --data",
                path.display(),
                std::process::id()
            )
        );
        drop(first);
        assert!(DataDir::take(&path).is_ok());
    }

    #[test]
    fn a_file_in_its_place_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = DataDir::take(file.path()).unwrap_err().to_string();
        assert!(
            error.starts_with("cannot use the data directory "),
            "{error}"
        );
        assert!(error.ends_with("; choose another with --data"), "{error}");
    }
}
