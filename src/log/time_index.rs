//! `.timeindex`: from which offset on a segment has timestamps of at least a time.
//!
//! Kafka's format: entries of twelve bytes, a timestamp and an offset relative to the segment's base. An entry
//! says that no record before or at that offset has a larger timestamp. Both ascend. How it is kept and
//! written is `index_file`'s.

use std::io;

use super::index_file::{self, IndexEntry, IndexFile};
use super::storage::File;
use crate::types::TimestampMs;

pub(super) const ENTRY_BYTES: u64 = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeEntry {
    pub(super) timestamp: TimestampMs,
    pub(super) relative_offset: u32,
}

impl IndexEntry for TimeEntry {
    const BYTES: u64 = ENTRY_BYTES;
    const NAME: &'static str = "time index";

    fn from_bytes(mut bytes: &[u8]) -> Self {
        use bytes::Buf;
        Self {
            timestamp: TimestampMs(bytes.get_i64()),
            relative_offset: bytes.get_u32(),
        }
    }

    fn put_bytes(&self, into: &mut Vec<u8>) {
        into.extend(self.timestamp.0.to_be_bytes());
        into.extend(self.relative_offset.to_be_bytes());
    }

    fn relative_offset(&self) -> u32 {
        self.relative_offset
    }

    fn may_follow(&self, last: &Self) -> bool {
        self.timestamp >= last.timestamp && self.relative_offset >= last.relative_offset
    }

    /// Says nothing new unless the timestamp is larger than the last one's.
    fn is_news_after(&self, last: &Self) -> bool {
        self.timestamp > last.timestamp && self.relative_offset > last.relative_offset
    }
}

pub(super) type TimeIndex = IndexFile<TimeEntry>;

impl TimeIndex {
    /// The offset up to which everything is older than the time.
    pub(super) fn floor(&self, timestamp: TimestampMs) -> u32 {
        self.last_where(|entry| entry.timestamp < timestamp)
            .map_or(0, |entry| entry.relative_offset)
    }
}

/// Searches an old segment's file.
pub(super) fn floor_in_file(file: &dyn File, timestamp: TimestampMs) -> io::Result<u32> {
    let floor = index_file::last_in_file(file, |entry: &TimeEntry| entry.timestamp < timestamp)?;
    Ok(floor.map_or(0, |entry| entry.relative_offset))
}

/// The last entry of a file: the largest timestamp of its segment, as of the last roll or flush.
pub(super) fn last_in_file(file: &dyn File) -> io::Result<Option<TimeEntry>> {
    index_file::last_in_file(file, |_| true)
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::log::memory::MemStorage;
    use crate::log::storage::{OpenMode, Storage, read_exact_at};

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
        assert_eq!(TimeIndex::load(&*file).unwrap().entries(), index.entries());
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
                last_in_file(&*file).unwrap(),
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
                    floor_in_file(&*file, timestamp).unwrap(),
                    offset,
                    "{timestamp}, {tail}"
                );
            }
        }
        assert_eq!(last_in_file(&*file(&[])).unwrap(), None);
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
