//! `.timeindex`: from which offset on a segment has timestamps of at least a time.
//!
//! Kafka's format: entries of twelve bytes, a timestamp and an offset relative to the segment's base. An entry
//! says that no record before or at that offset has a larger timestamp. Both ascend. Kept and
//! written like the offset index.

use std::io::{self, IoSlice};
use std::sync::Arc;

use super::storage::{File, read_exact_at};
use crate::types::TimestampMs;

pub(super) const ENTRY_BYTES: u64 = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeEntry {
    pub(super) timestamp: TimestampMs,
    pub(super) relative_offset: u32,
}

impl TimeEntry {
    fn from_bytes(bytes: [u8; 12]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        Self {
            timestamp: TimestampMs(i64::from_be_bytes([a, b, c, d, e, f, g, h])),
            relative_offset: u32::from_be_bytes([i, j, k, l]),
        }
    }

    fn to_bytes(self) -> [u8; 12] {
        let [a, b, c, d, e, f, g, h] = self.timestamp.0.to_be_bytes();
        let [i, j, k, l] = self.relative_offset.to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }
}

/// The entries of the active segment.
#[derive(Debug, Default)]
pub(super) struct TimeIndex {
    entries: Vec<TimeEntry>,
    written: usize,
}

impl TimeIndex {
    pub(super) fn load(file: &dyn File) -> io::Result<Self> {
        let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len - len % ENTRY_BYTES as usize];
        read_exact_at(file, &mut bytes, 0)?;
        let mut entries: Vec<TimeEntry> = Vec::with_capacity(bytes.len() / 12);
        let (chunks, _) = bytes.as_chunks::<12>();
        for chunk in chunks {
            let entry = TimeEntry::from_bytes(*chunk);
            match entries.last() {
                _ if *chunk == [0; 12] => break,
                Some(last)
                    if entry.timestamp < last.timestamp
                        || entry.relative_offset < last.relative_offset =>
                {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the time index does not ascend",
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

    /// Says nothing new unless the timestamp is larger than the last one's.
    pub(super) fn push(&mut self, entry: TimeEntry) {
        let ascends = self.entries.last().is_none_or(|last| {
            last.timestamp < entry.timestamp && last.relative_offset < entry.relative_offset
        });
        if ascends {
            self.entries.push(entry);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn last(&self) -> Option<TimeEntry> {
        self.entries.last().copied()
    }

    /// The offset up to which everything is older than the time.
    pub(super) fn floor(&self, timestamp: TimestampMs) -> u32 {
        let after = self
            .entries
            .partition_point(|entry| entry.timestamp < timestamp);
        after
            .checked_sub(1)
            .and_then(|at| self.entries.get(at))
            .map_or(0, |entry| entry.relative_offset)
    }

    pub(super) fn truncate(&mut self, relative_offset: u32) {
        self.entries
            .retain(|entry| entry.relative_offset < relative_offset);
        self.written = self.written.min(self.entries.len());
    }

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

/// Searches an old segment's file.
pub(super) fn floor_in_file(file: &Arc<dyn File>, timestamp: TimestampMs) -> io::Result<u32> {
    let (mut low, mut high) = (0, file.len()? / ENTRY_BYTES);
    let mut floor = 0;
    while low < high {
        let middle = low + (high - low) / 2;
        let entry = read_entry(file, middle)?;
        let tail = middle > 0 && entry.timestamp.0 == 0 && entry.relative_offset == 0;
        if tail || entry.timestamp >= timestamp {
            high = middle;
        } else {
            floor = entry.relative_offset;
            low = middle + 1;
        }
    }
    Ok(floor)
}

/// The last entry of a file: the largest timestamp of its segment, as of the last roll or flush.
pub(super) fn last_in_file(file: &Arc<dyn File>) -> io::Result<Option<TimeEntry>> {
    let mut at = file.len()? / ENTRY_BYTES;
    while let Some(before) = at.checked_sub(1) {
        let entry = read_entry(file, before)?;
        if entry.timestamp.0 != 0 || entry.relative_offset != 0 || before == 0 {
            return Ok(Some(entry));
        }
        at = before;
    }
    Ok(None)
}

fn read_entry(file: &Arc<dyn File>, at: u64) -> io::Result<TimeEntry> {
    let mut bytes = [0; 12];
    read_exact_at(&**file, &mut bytes, at * ENTRY_BYTES)?;
    Ok(TimeEntry::from_bytes(bytes))
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

    fn entry(timestamp: i64, relative_offset: u32) -> TimeEntry {
        TimeEntry {
            timestamp: TimestampMs(timestamp),
            relative_offset,
        }
    }

    /// As `kafka-dump-log` prints them: 1700000002707 at 69, 1700000004607 at 115.
    const KAFKAS: [u8; 24] = [
        0, 0, 1, 0x8b, 0xcf, 0xe5, 0x72, 0x93, 0, 0, 0, 0x45, 0, 0, 1, 0x8b, 0xcf, 0xe5, 0x79,
        0xff, 0, 0, 0, 0x73,
    ];

    #[test]
    fn the_bytes_are_kafkas() {
        let file = file(&[]);
        let mut index = TimeIndex::default();
        index.push(entry(1_700_000_002_707, 69));
        // Nothing new: not larger.
        index.push(entry(1_700_000_002_707, 90));
        index.push(entry(1_700_000_004_607, 115));
        index.write(&*file).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        read_exact_at(&*file, &mut bytes, 0).unwrap();
        assert_eq!(bytes, KAFKAS);
        assert_eq!(TimeIndex::load(&*file).unwrap().entries, index.entries);
    }

    #[test]
    fn a_lookup_gives_the_offset_before_which_all_is_older() {
        for tail in [0, 5, 12, 1200] {
            let mut bytes = KAFKAS.to_vec();
            bytes.resize(24 + tail, 0);
            let file = file(&bytes);
            let loaded = TimeIndex::load(&*file).unwrap();
            assert_eq!(loaded.len(), 2);
            assert_eq!(
                last_in_file(&file).unwrap(),
                Some(entry(1_700_000_004_607, 115))
            );
            for (timestamp, offset) in [
                (0, 0),
                (1_700_000_002_707, 0),
                (1_700_000_002_708, 69),
                (1_700_000_004_607, 69),
                (1_700_000_004_608, 115),
            ] {
                let timestamp = TimestampMs(timestamp);
                assert_eq!(loaded.floor(timestamp), offset);
                assert_eq!(
                    floor_in_file(&file, timestamp).unwrap(),
                    offset,
                    "{timestamp}, {tail}"
                );
            }
        }
        assert_eq!(last_in_file(&file(&[])).unwrap(), None);
    }

    #[test]
    fn garbage_is_seen_and_a_cut_entry_is_none() {
        let swapped = [&KAFKAS[12..], &KAFKAS[..12]].concat();
        assert!(TimeIndex::load(&*file(&swapped)).is_err());
        assert_eq!(TimeIndex::load(&*file(&KAFKAS[..23])).unwrap().len(), 1);
    }

    #[test]
    fn what_was_truncated_leaves_the_file_too() {
        let file = file(&KAFKAS);
        let mut index = TimeIndex::load(&*file).unwrap();
        index.truncate(115);
        index.write(&*file).unwrap();
        assert_eq!(file.len().unwrap(), 12);
    }
}
