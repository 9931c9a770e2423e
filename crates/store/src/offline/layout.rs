//! How long the files of a directory are, found from the files themselves.

use super::queue;
use crate::consume_queue::{BATCH_ENTRY_SIZE, ENTRY_SIZE};
use crate::disk::{Disk, OpenMode};
use crate::error::StoreError;
use crate::files;
use crate::index::{self, Layout, file_name};
use crate::settings::StoreConfig;

/// The settings with the lengths that most files of the directory have, and the sizes that its
/// index shows; those of which there is no file stay as they are.
///
/// # Errors
/// [`StoreError::Io`] if a directory cannot be read.
pub fn layout(disk: &dyn Disk, settings: StoreConfig) -> Result<StoreConfig, StoreError> {
    let log = files::list(disk, &settings.commit_log_dir())?;
    let log = files::usual_len(&log).and_then(|len| usize::try_from(len).ok());
    let of_queues = |dir, entry_size: usize, otherwise| {
        let len = usual_len(disk, &settings, dir)?;
        let len = len.filter(|len| len.is_multiple_of(entry_size));
        Ok::<_, StoreError>(len.unwrap_or(otherwise))
    };
    let simple = of_queues(
        queue::SIMPLE_DIR,
        ENTRY_SIZE,
        settings.mapped_file_size_consume_queue,
    )?;
    let batch = of_queues(
        queue::BATCH_DIR,
        BATCH_ENTRY_SIZE,
        settings.mapper_file_size_batch_consume_queue,
    )?;
    let ext = of_queues(
        queue::EXT_DIR,
        1,
        settings.mapped_file_size_consume_queue_ext,
    )?;
    let index = of_index(disk, &settings)?;
    Ok(StoreConfig {
        max_hash_slot_num: index.slots,
        max_index_num: index.numbers as usize,
        mapped_file_size_commit_log: log.unwrap_or(settings.mapped_file_size_commit_log),
        mapped_file_size_consume_queue: simple,
        mapper_file_size_batch_consume_queue: batch,
        mapped_file_size_consume_queue_ext: ext,
        ..settings
    })
}

/// The length that most files of the queues in a directory have.
fn usual_len(
    disk: &dyn Disk,
    settings: &StoreConfig,
    dir: &str,
) -> Result<Option<usize>, StoreError> {
    let dir = settings.root().join(dir);
    let mut all = Vec::new();
    for topic in files::entries(disk, &dir)?
        .into_iter()
        .filter(|entry| entry.is_dir)
    {
        let dir = dir.join(topic.name);
        for queue in files::entries(disk, &dir)?
            .into_iter()
            .filter(|entry| entry.is_dir)
        {
            all.extend(files::list(disk, &dir.join(queue.name))?);
        }
    }
    Ok(files::usual_len(&all).and_then(|len| usize::try_from(len).ok()))
}

/// The layout of the index: as the settings say where the first file that shows one has their
/// length, otherwise as that file shows.
fn of_index(disk: &dyn Disk, settings: &StoreConfig) -> Result<Layout, StoreError> {
    let said = settings.index_layout();
    let dir = settings.root().join("index");
    for name in index::names(disk, &dir)? {
        let path = dir.join(file_name(name));
        let Some(file) = files::open(disk, &path, OpenMode::Read)? else {
            continue;
        };
        let failed = |error| StoreError::io("read", &path, error);
        if file.len().map_err(failed)? == said.len() {
            return Ok(said);
        }
        if let Some(shown) = Layout::shown_by(&*file).map_err(failed)? {
            return Ok(shown);
        }
    }
    Ok(said)
}
