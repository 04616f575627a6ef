//! `.index`: where in a segment an offset is to be looked for.
//!
//! Kafka's format: entries of eight bytes, the offset relative to the segment's base and the position of a
//! batch in the log file, both ascending. Sparse: one entry every `index.interval.bytes`. A tail of zeroes (a
//! file that Kafka preallocated) is not part of it.
//!
//! The active segment's entries are in memory and reach the file when the log is flushed or rolled: after a
//! crash they are rebuilt from the log, so nothing hangs on them. An old segment's stay in the file and
//! are searched there.

use std::io::{self, IoSlice};
use std::sync::Arc;

use super::storage::{File, read_exact_at};

pub(super) const ENTRY_BYTES: u64 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OffsetEntry {
    /// Of the last record of the batch that ends the interval.
    pub(super) relative_offset: u32,
    pub(super) position: u32,
}

impl OffsetEntry {
    fn from_bytes(bytes: [u8; 8]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        Self {
            relative_offset: u32::from_be_bytes([a, b, c, d]),
            position: u32::from_be_bytes([e, f, g, h]),
        }
    }

    fn to_bytes(self) -> [u8; 8] {
        let [a, b, c, d] = self.relative_offset.to_be_bytes();
        let [e, f, g, h] = self.position.to_be_bytes();
        [a, b, c, d, e, f, g, h]
    }
}

/// The entries of the active segment.
#[derive(Debug, Default)]
pub(super) struct OffsetIndex {
    entries: Vec<OffsetEntry>,
    /// Entries that are in the file already.
    written: usize,
}

impl OffsetIndex {
    /// Reads a file whole; fails on entries that do not ascend, as a file that was torn has.
    pub(super) fn load(file: &dyn File) -> io::Result<Self> {
        let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len - len % ENTRY_BYTES as usize];
        read_exact_at(file, &mut bytes, 0)?;
        let mut entries: Vec<OffsetEntry> = Vec::with_capacity(bytes.len() / 8);
        let (chunks, _) = bytes.as_chunks::<8>();
        for chunk in chunks {
            let entry = OffsetEntry::from_bytes(*chunk);
            match entries.last() {
                _ if *chunk == [0; 8] => break,
                Some(last)
                    if entry.relative_offset <= last.relative_offset
                        || entry.position <= last.position =>
                {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the offset index does not ascend",
                    ));
                }
                _ => entries.push(entry),
            }
        }
        Ok(Self {
            written: entries.len(),
            entries,
        })
    }

    pub(super) fn push(&mut self, entry: OffsetEntry) {
        let ascends = self.entries.last().is_none_or(|last| {
            last.relative_offset < entry.relative_offset && last.position < entry.position
        });
        if ascends {
            self.entries.push(entry);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn last(&self) -> Option<OffsetEntry> {
        self.entries.last().copied()
    }

    /// Where to start looking for an offset: at the last entry that is not beyond it.
    pub(super) fn floor(&self, relative_offset: u32) -> u32 {
        let after = self
            .entries
            .partition_point(|entry| entry.relative_offset <= relative_offset);
        after
            .checked_sub(1)
            .and_then(|at| self.entries.get(at))
            .map_or(0, |entry| entry.position)
    }

    /// The last entry's position that is not beyond one.
    pub(super) fn floor_position(&self, position: u32) -> Option<u32> {
        let after = self
            .entries
            .partition_point(|entry| entry.position <= position);
        let at = after.checked_sub(1)?;
        self.entries.get(at).map(|entry| entry.position)
    }

    /// Drops entries at or beyond an offset.
    pub(super) fn truncate(&mut self, relative_offset: u32) {
        self.entries
            .retain(|entry| entry.relative_offset < relative_offset);
        self.written = self.written.min(self.entries.len());
    }

    /// Brings the file up to date. What it held beyond the entries is cut off.
    pub(super) fn write(&mut self, file: &dyn File) -> io::Result<()> {
        let fresh = self.entries.get(self.written..).unwrap_or_default();
        let bytes: Vec<u8> = fresh.iter().flat_map(|entry| entry.to_bytes()).collect();
        let from = self.written as u64 * ENTRY_BYTES;
        if !bytes.is_empty() {
            file.write_at(&mut [IoSlice::new(&bytes)], from)?;
        }
        let len = self.entries.len() as u64 * ENTRY_BYTES;
        if file.len()? != len {
            file.truncate(len)?;
        }
        self.written = self.entries.len();
        Ok(())
    }
}

/// Where to start looking for an offset in an old segment.
pub(super) fn floor_in_file(file: &Arc<dyn File>, relative_offset: u32) -> io::Result<u32> {
    let floor = last_in_file(file, |entry| entry.relative_offset <= relative_offset)?;
    Ok(floor.map_or(0, |entry| entry.position))
}

/// The last entry's position in an old segment that is not beyond one.
pub(super) fn floor_position_in_file(
    file: &Arc<dyn File>,
    position: u32,
) -> io::Result<Option<u32>> {
    let floor = last_in_file(file, |entry| entry.position <= position)?;
    Ok(floor.map(|entry| entry.position))
}

/// The last entry of which something is true that is true of all before it. The file is searched, not read whole.
fn last_in_file(
    file: &Arc<dyn File>,
    holds: impl Fn(&OffsetEntry) -> bool,
) -> io::Result<Option<OffsetEntry>> {
    let (mut low, mut high) = (0, file.len()? / ENTRY_BYTES);
    let mut floor = None;
    while low < high {
        let middle = low + (high - low) / 2;
        let mut bytes = [0; 8];
        read_exact_at(&**file, &mut bytes, middle * ENTRY_BYTES)?;
        let entry = OffsetEntry::from_bytes(bytes);
        // Zeroes behind the first entry are a preallocated tail.
        let beyond = (middle > 0 && bytes == [0; 8]) || !holds(&entry);
        if beyond {
            high = middle;
        } else {
            floor = Some(entry);
            low = middle + 1;
        }
    }
    Ok(floor)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::log::memory::MemStorage;
    use crate::log::storage::{OpenMode, Storage};

    fn file(bytes: &[u8]) -> Arc<dyn File> {
        let storage = MemStorage::default();
        storage.create_dir_all(Path::new("/")).unwrap();
        let file = storage.open(Path::new("/i"), OpenMode::Create).unwrap();
        file.write_at(&mut [IoSlice::new(bytes)], 0).unwrap();
        file
    }

    fn contents(file: &dyn File) -> Vec<u8> {
        let mut bytes = vec![0; file.len().unwrap() as usize];
        read_exact_at(file, &mut bytes, 0).unwrap();
        bytes
    }

    fn entry(relative_offset: u32, position: u32) -> OffsetEntry {
        OffsetEntry {
            relative_offset,
            position,
        }
    }

    fn index(entries: &[(u32, u32)]) -> OffsetIndex {
        let mut index = OffsetIndex::default();
        for (offset, position) in entries {
            index.push(entry(*offset, *position));
        }
        index
    }

    /// As `kafka-dump-log` prints them: offset 69 at 4128, 115 at 8852.
    const KAFKAS: [u8; 16] = [
        0, 0, 0, 0x45, 0, 0, 0x10, 0x20, 0, 0, 0, 0x73, 0, 0, 0x22, 0x94,
    ];

    #[test]
    fn the_bytes_are_kafkas() {
        let file = file(&[]);
        let mut written = index(&[(69, 4128), (115, 8852)]);
        written.write(&*file).unwrap();
        assert_eq!(contents(&*file), KAFKAS);
        let loaded = OffsetIndex::load(&*file).unwrap();
        assert_eq!(loaded.entries, written.entries);
    }

    #[test]
    fn a_lookup_gives_the_last_entry_that_is_not_beyond() {
        for tail in [0, 1, 8, 4096] {
            let mut bytes = KAFKAS.to_vec();
            bytes.resize(16 + tail, 0);
            let file = file(&bytes);
            let loaded = OffsetIndex::load(&*file).unwrap();
            assert_eq!(loaded.len(), 2, "{tail} zeroes behind");
            for (offset, position) in [
                (0, 0),
                (68, 0),
                (69, 4128),
                (114, 4128),
                (115, 8852),
                (u32::MAX, 8852),
            ] {
                assert_eq!(loaded.floor(offset), position);
                assert_eq!(
                    floor_in_file(&file, offset).unwrap(),
                    position,
                    "{offset}, {tail}"
                );
            }
        }
        assert_eq!(floor_in_file(&file(&[]), 7).unwrap(), 0);
    }

    #[test]
    fn garbage_is_seen() {
        for (what, bytes) in [
            ("offsets that fall", [&KAFKAS[8..], &KAFKAS[..8]].concat()),
            ("an entry twice", [&KAFKAS[..8], &KAFKAS[..8]].concat()),
            ("noise", (0..64u8).map(|n| n.wrapping_mul(151)).collect()),
        ] {
            assert!(OffsetIndex::load(&*file(&bytes)).is_err(), "{what}");
        }
        // A cut entry is none.
        assert_eq!(OffsetIndex::load(&*file(&KAFKAS[..13])).unwrap().len(), 1);
    }

    #[test]
    fn what_was_truncated_leaves_the_file_too() {
        let file = file(&[]);
        let mut index = index(&[(10, 100), (20, 200), (30, 300)]);
        index.write(&*file).unwrap();
        index.truncate(20);
        index.push(entry(21, 210));
        index.write(&*file).unwrap();
        let loaded = OffsetIndex::load(&*file).unwrap();
        assert_eq!(loaded.entries, [entry(10, 100), entry(21, 210)]);
        assert_eq!(file.len().unwrap(), 16);
        assert_eq!(loaded.floor_position(209), Some(100));
        assert_eq!(loaded.floor_position(99), None);
    }
}
