//! `.index`: where in a segment an offset is to be looked for.
//!
//! Kafka's format: entries of eight bytes, the offset relative to the segment's base and the position of a
//! batch in the log file, both ascending. Sparse: one entry every `index.interval.bytes`. How it is kept and
//! written is `index_file`'s.

use std::io;

use super::index_file::{IndexEntry, IndexFile, last_in_file};
use super::storage::File;

pub(super) const ENTRY_BYTES: u64 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OffsetEntry {
    /// Of the last record of the batch that ends the interval.
    pub(super) relative_offset: u32,
    pub(super) position: u32,
}

impl IndexEntry for OffsetEntry {
    const BYTES: u64 = ENTRY_BYTES;
    const NAME: &'static str = "offset index";

    fn from_bytes(mut bytes: &[u8]) -> Self {
        use bytes::Buf;
        Self {
            relative_offset: bytes.get_u32(),
            position: bytes.get_u32(),
        }
    }

    fn put_bytes(&self, into: &mut Vec<u8>) {
        into.extend(self.relative_offset.to_be_bytes());
        into.extend(self.position.to_be_bytes());
    }

    fn relative_offset(&self) -> u32 {
        self.relative_offset
    }

    fn may_follow(&self, last: &Self) -> bool {
        self.relative_offset > last.relative_offset && self.position > last.position
    }

    fn is_news_after(&self, last: &Self) -> bool {
        self.may_follow(last)
    }
}

pub(super) type OffsetIndex = IndexFile<OffsetEntry>;

impl OffsetIndex {
    /// Where to start looking for an offset: at the last entry that is not beyond it.
    pub(super) fn floor(&self, relative_offset: u32) -> u32 {
        self.last_where(|entry| entry.relative_offset <= relative_offset)
            .map_or(0, |entry| entry.position)
    }

    /// The last entry's position that is not beyond one.
    pub(super) fn floor_position(&self, position: u32) -> Option<u32> {
        self.last_where(|entry| entry.position <= position)
            .map(|entry| entry.position)
    }
}

/// Where to start looking for an offset in an old segment.
pub(super) fn floor_in_file(file: &dyn File, relative_offset: u32) -> io::Result<u32> {
    let floor = last_in_file(file, |entry: &OffsetEntry| {
        entry.relative_offset <= relative_offset
    })?;
    Ok(floor.map_or(0, |entry| entry.position))
}

/// The last entry's position in an old segment that is not beyond one.
pub(super) fn floor_position_in_file(file: &dyn File, position: u32) -> io::Result<Option<u32>> {
    let floor = last_in_file(file, |entry: &OffsetEntry| entry.position <= position)?;
    Ok(floor.map(|entry| entry.position))
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
        assert_eq!(loaded.entries(), written.entries());
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
                    floor_in_file(&*file, offset).unwrap(),
                    position,
                    "{offset}, {tail}"
                );
            }
        }
        assert_eq!(floor_in_file(&*file(&[]), 7).unwrap(), 0);
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
        assert_eq!(loaded.entries(), [entry(10, 100), entry(21, 210)]);
        assert_eq!(file.len().unwrap(), 16);
        assert_eq!(loaded.floor_position(209), Some(100));
        assert_eq!(loaded.floor_position(99), None);
    }
}
