//! Where the parts of a file of the index are, told by its broker or by the file itself.

use std::io;

use super::file::{ENTRY_SIZE, Entry, HEADER_SIZE, Header};
use crate::disk::File;

const SLOT_SIZE: usize = 4;
/// Bytes searched at a time, whole places.
const AT_A_TIME: u64 = (ENTRY_SIZE as u64) << 15;

/// Where the parts of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Slots of a file (`maxHashSlotNum`).
    pub(crate) slots: usize,
    /// One more than the entries a file holds (`maxIndexNum`).
    pub(crate) numbers: i32,
}

impl Layout {
    /// Bytes of a file.
    pub(crate) fn len(&self) -> u64 {
        self.entry_at(self.numbers)
    }

    /// Bytes of the header and the slots.
    pub(super) fn head_len(&self) -> usize {
        HEADER_SIZE + self.slots * SLOT_SIZE
    }

    /// The slot of a hash that is not negative.
    pub(crate) fn slot_of(&self, hash: i32) -> usize {
        hash as usize % self.slots
    }

    pub(crate) fn slot_at(&self, slot: usize) -> u64 {
        (HEADER_SIZE + slot * SLOT_SIZE) as u64
    }

    pub(crate) fn entry_at(&self, number: i32) -> u64 {
        self.head_len() as u64 + number as u64 * ENTRY_SIZE as u64
    }

    /// The layout that a file shows by itself: its header tells how many entries there are, and
    /// which messages the first and the last one point to. The last one is found from the file's
    /// end on, behind which only a kill leaves anything. `None` where there is no entry, or where
    /// header and entries contradict each other.
    pub(crate) fn shown_by(file: &dyn File) -> io::Result<Option<Layout>> {
        let Some(header) = Header::read(file)? else {
            return Ok(None);
        };
        let mut end = file.len()?;
        let fits = (HEADER_SIZE as u64..=i32::MAX as u64).contains(&end);
        if header.count <= 1 || !fits || !end.is_multiple_of(SLOT_SIZE as u64) {
            return Ok(None);
        }
        let len = end;
        let before_last = (header.count - 1) as u64 * ENTRY_SIZE as u64;
        let mut bytes = Vec::new();
        loop {
            let left = end.saturating_sub(HEADER_SIZE as u64) / ENTRY_SIZE as u64;
            let begin = end - AT_A_TIME.min(left * ENTRY_SIZE as u64);
            if begin == end {
                return Ok(None);
            }
            if file.next_data(begin)?.is_some_and(|data| data < end) {
                bytes.resize((end - begin) as usize, 0);
                file.read_at(&mut bytes, begin)?;
                let (places, _) = bytes.as_chunks();
                for (index, place) in places.iter().enumerate().rev() {
                    let entry = Entry::decode(place);
                    if *place == [0; ENTRY_SIZE] || entry.offset > header.end_offset {
                        continue;
                    }
                    if entry.offset < header.end_offset {
                        return Ok(None);
                    }
                    let at = begin + (index * ENTRY_SIZE) as u64;
                    let slots_end = at.saturating_sub(before_last);
                    if slots_end > HEADER_SIZE as u64 && begins_at(file, slots_end, &header)? {
                        return Ok(Some(Layout {
                            slots: (slots_end as usize - HEADER_SIZE) / SLOT_SIZE,
                            numbers: ((len - slots_end) / ENTRY_SIZE as u64) as i32,
                        }));
                    }
                }
            }
            end = begin;
        }
    }
}

/// Whether the first entry of a file, behind the empty place, can be there.
fn begins_at(file: &dyn File, slots_end: u64, header: &Header) -> io::Result<bool> {
    let mut bytes = [0; 2 * ENTRY_SIZE];
    file.read_at(&mut bytes, slots_end)?;
    let (places, _) = bytes.as_chunks();
    let [empty, first] = places else {
        return Ok(false);
    };
    let entry = Entry::decode(first);
    let is_first = entry.offset == header.begin_offset && entry.previous == 0;
    let is_there = *first != [0; ENTRY_SIZE];
    Ok(*empty == [0; ENTRY_SIZE] && is_there && is_first)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::file::Tail;
    use super::*;
    use crate::disk::{Disk, MemoryDisk, OpenMode};

    fn new_file() -> Arc<dyn File> {
        let disk = MemoryDisk::new();
        disk.create_dir_all(Path::new("/index")).unwrap();
        let path = Path::new("/index/20261127000000000");
        disk.open(path, OpenMode::Create).unwrap()
    }

    proptest! {
        /// Whatever the sizes and the keys, even if a kill has left entries behind the last one
        /// that the header knows.
        #[test]
        fn a_file_shows_its_layout(
            slots in 1_usize..40,
            numbers in 2..40,
            keys in prop::collection::vec((1..100, 0_i64..3), 1..39),
            begin in prop_oneof![Just(0_i64), 0_i64..1000],
            known in 0_usize..39,
            closed: bool,
        ) {
            let layout = Layout { slots, numbers };
            let file = new_file();
            file.set_len(layout.len()).unwrap();
            let mut tail = Tail::new(Arc::clone(&file), PathBuf::new(), layout);
            let mut header = Header::behind(None);
            let mut offset = begin;
            let mut known_bytes = [0; HEADER_SIZE];
            for (number, (hash, step)) in keys.iter().take(numbers as usize - 1).enumerate() {
                tail.add(&mut header, *hash, offset, 1000);
                offset += step * 100;
                tail.write_entries(&header).unwrap();
                if number <= known {
                    file.read_at(&mut known_bytes, 0).unwrap();
                }
            }
            if closed {
                tail.finish(&header).unwrap();
            } else {
                file.write_at(&known_bytes, 0).unwrap();
            }
            prop_assert_eq!(Layout::shown_by(&*file).unwrap(), Some(layout));
        }
    }

    #[test]
    fn a_file_without_entries_shows_no_layout() {
        let file = new_file();
        for len in [0, 39, 40, 44, 84, 1000] {
            file.set_len(len).unwrap();
            assert_eq!(Layout::shown_by(&*file).unwrap(), None);
        }
        file.write_at(&[0xff; 1000], 0).unwrap();
        assert_eq!(Layout::shown_by(&*file).unwrap(), None);
        file.write_at(&[0x7f; 40], 0).unwrap();
        assert_eq!(Layout::shown_by(&*file).unwrap(), None);
    }
}
