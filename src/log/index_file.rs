//! What the two indexes of a segment share: entries of one size that ascend, in memory or in a file.
//!
//! The active segment's entries are in memory and reach the file when the segment is rolled or its log is closed
//! clean: after a crash they are rebuilt from the log, so nothing hangs on them. An old segment's stay in
//! the file and are searched there. A tail of zeroes (a file that Kafka preallocated) is not part
//! of an index.

use std::io::{self, IoSlice};

use super::storage::{File, read_exact_at};

/// What an index is made of.
pub(super) trait IndexEntry: Copy {
    const BYTES: u64;
    /// What the index is called in an error.
    const NAME: &'static str;

    /// From as many bytes as an entry has.
    fn from_bytes(bytes: &[u8]) -> Self;
    fn put_bytes(&self, into: &mut Vec<u8>);
    /// To the segment's base.
    fn relative_offset(&self) -> u32;
    /// Whether a file may hold it behind another.
    fn may_follow(&self, last: &Self) -> bool;
    /// Whether it says something that the last one does not.
    fn is_news_after(&self, last: &Self) -> bool;
}

/// The entries of the active segment.
#[derive(Debug)]
pub(super) struct IndexFile<E> {
    entries: Vec<E>,
    /// Entries that are in the file already.
    written: usize,
}

impl<E> Default for IndexFile<E> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            written: 0,
        }
    }
}

impl<E: IndexEntry> IndexFile<E> {
    /// Reads a file whole; fails on entries that do not ascend, as a file that was torn has.
    pub(super) fn load(file: &dyn File) -> io::Result<Self> {
        let count = file.len()? / E::BYTES;
        let mut bytes = vec![0; usize::try_from(count * E::BYTES).unwrap_or(usize::MAX)];
        read_exact_at(file, &mut bytes, 0)?;
        let mut entries: Vec<E> = Vec::new();
        for bytes in bytes.chunks_exact(E::BYTES as usize) {
            if is_zero(bytes) {
                break;
            }
            let entry = E::from_bytes(bytes);
            if entries.last().is_some_and(|last| !entry.may_follow(last)) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("the {} does not ascend", E::NAME),
                ));
            }
            entries.push(entry);
        }
        Ok(Self {
            written: entries.len(),
            entries,
        })
    }

    pub(super) fn push(&mut self, entry: E) {
        if self
            .entries
            .last()
            .is_none_or(|last| entry.is_news_after(last))
        {
            self.entries.push(entry);
        }
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> &[E] {
        &self.entries
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn last(&self) -> Option<E> {
        self.entries.last().copied()
    }

    /// The last entry of which something is true that is true of all before it.
    pub(super) fn last_where(&self, holds: impl Fn(&E) -> bool) -> Option<E> {
        let after = self.entries.partition_point(holds);
        self.entries.get(after.checked_sub(1)?).copied()
    }

    /// Drops entries at or beyond an offset.
    pub(super) fn truncate(&mut self, relative_offset: u32) {
        self.entries
            .retain(|entry| entry.relative_offset() < relative_offset);
        self.written = self.written.min(self.entries.len());
    }

    /// Brings the file up to date. What it held beyond the entries is cut off.
    pub(super) fn write(&mut self, file: &dyn File) -> io::Result<()> {
        let mut bytes = Vec::new();
        for entry in self.entries.get(self.written..).unwrap_or_default() {
            entry.put_bytes(&mut bytes);
        }
        if !bytes.is_empty() {
            let from = self.written as u64 * E::BYTES;
            file.write_at(&mut [IoSlice::new(&bytes)], from)?;
        }
        let len = self.entries.len() as u64 * E::BYTES;
        if file.len()? != len {
            file.truncate(len)?;
        }
        self.written = self.entries.len();
        Ok(())
    }
}

/// As [`IndexFile::last_where`], of an old segment: the file is searched, not read whole.
pub(super) fn last_in_file<E: IndexEntry>(
    file: &dyn File,
    holds: impl Fn(&E) -> bool,
) -> io::Result<Option<E>> {
    let (mut low, mut high) = (0, file.len()? / E::BYTES);
    let mut found = None;
    let mut bytes = vec![0; E::BYTES as usize];
    while low < high {
        let middle = low + (high - low) / 2;
        read_exact_at(file, &mut bytes, middle * E::BYTES)?;
        let entry = E::from_bytes(&bytes);
        // Zeroes behind the first entry are a preallocated tail.
        if (middle > 0 && is_zero(&bytes)) || !holds(&entry) {
            high = middle;
        } else {
            found = Some(entry);
            low = middle + 1;
        }
    }
    Ok(found)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
