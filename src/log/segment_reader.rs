//! Look-ups in a segment, of everything or of what is in memory only.
//!
//! A look-up is made under the partition's lock, so it must not wait for the disk: `Reads::Cached` ends it with
//! `NotCached` instead, which says what is missing and can bring it into memory when the lock is no longer
//! held. Then the look-up is made anew: whatever was rolled, deleted or compacted meanwhile, it sees the log as
//! it is. Decides nothing about who waits, and where.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;

use super::batch_scan::{BatchScan, ScannedBatch};
use super::log_segment::LogSegment;
use super::offset_index;
use super::storage::{File, OpenMode, Storage, is_cached};
use super::transaction_index::TxnIndexSearchResult;
use crate::types::{Offset, TimestampMs};

/// A scan that has to wait brings in so much: what it will look at next, most likely.
const SCAN_BYTES: u64 = 64 << 10;

/// How a look-up treats the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Waits for it.
    Blocking,
    /// Not at all: what is not open or not in memory ends it.
    Cached,
    /// The same, but the files of the segment with this base offset may be opened: their names and inodes have been
    /// read in.
    CachedAfterOpen(Offset),
}

/// What is missing in memory.
#[derive(Debug, Clone, thiserror::Error)]
#[error("it is not in memory")]
pub struct NotCached(Missing);

#[derive(Debug, Clone)]
enum Missing {
    Range {
        file: Arc<dyn File>,
        position: u64,
        len: u64,
    },
    /// The storage is known to the log only.
    Names {
        storage: Option<Arc<dyn Storage>>,
        segment: Offset,
        paths: Vec<PathBuf>,
    },
}

impl NotCached {
    pub fn range(file: Arc<dyn File>, position: u64, len: u64) -> Self {
        Self(Missing::Range {
            file,
            position,
            len,
        })
    }

    /// Unpacks an error of a look-up; `Err` gives back any other.
    pub fn of(error: io::Error) -> Result<Self, io::Error> {
        error.downcast::<Self>()
    }

    /// Where names are to be looked up.
    pub(super) fn below(mut self, storage: &Arc<dyn Storage>) -> Self {
        if let Missing::Names { storage: below, .. } = &mut self.0 {
            *below = Some(Arc::clone(storage));
        }
        self
    }

    /// How the look-up is made again when this has been read in.
    pub fn next_reads(&self, reads: Reads) -> Reads {
        match &self.0 {
            Missing::Names { segment, .. } => Reads::CachedAfterOpen(*segment),
            Missing::Range { .. } => reads,
        }
    }

    /// In bytes; 0 where it is only names.
    pub fn len(&self) -> u64 {
        match &self.0 {
            Missing::Range { len, .. } => *len,
            Missing::Names { .. } => 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Brings it into memory. Blocks on the disk. What fails here fails again in the look-up, which says so.
    pub fn read_in(&self) {
        match &self.0 {
            Missing::Range {
                file,
                position,
                len,
            } => {
                let _ = file.read_in(*position, *len);
            }
            Missing::Names { storage, paths, .. } => {
                for (storage, path) in storage
                    .iter()
                    .flat_map(|s| paths.iter().map(move |p| (s, p)))
                {
                    let _ = storage.open(path, OpenMode::Read);
                }
            }
        }
    }
}

impl From<NotCached> for io::Error {
    fn from(missing: NotCached) -> Self {
        io::Error::new(io::ErrorKind::WouldBlock, missing)
    }
}

/// A file of which only what is in memory is read.
#[derive(Debug)]
struct CachedFile {
    inner: Arc<dyn File>,
    /// What a miss brings in: so many bytes from where it was, or the whole file.
    brings_in: Option<u64>,
}

impl File for CachedFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        match self.inner.read_cached_at(buf, position) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let (from, len) = match self.brings_in {
                    Some(len) => (position, len.max(buf.len() as u64)),
                    None => (0, self.inner.len()?),
                };
                Err(NotCached::range(Arc::clone(&self.inner), from, len).into())
            }
            other => other,
        }
    }

    fn write_at(&self, slices: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        self.inner.write_at(slices, position)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.inner.truncate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.fd()
    }
}

/// A segment, and how it is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct SegmentReader<'a> {
    pub(super) segment: &'a LogSegment,
    pub(super) storage: &'a dyn Storage,
    pub(super) reads: Reads,
}

impl SegmentReader<'_> {
    /// Files are opened by whoever may wait for that.
    fn expect_open(&self, is_open: impl FnOnce() -> bool) -> io::Result<()> {
        match self.reads {
            Reads::Blocking => Ok(()),
            Reads::CachedAfterOpen(segment) if segment == self.segment.base_offset() => Ok(()),
            _ if is_open() => Ok(()),
            _ => Err(self.not_open()),
        }
    }

    /// The log file itself.
    pub(super) fn file(&self) -> io::Result<Arc<dyn File>> {
        self.expect_open(|| self.segment.is_open())?;
        self.segment.file(self.storage)
    }

    fn not_open(&self) -> io::Error {
        NotCached(Missing::Names {
            storage: None,
            segment: self.segment.base_offset(),
            paths: [".log", ".index", ".txnindex"]
                .map(|suffix| self.segment.path(suffix))
                .into(),
        })
        .into()
    }

    /// The transactions that were aborted in this segment and reach into a range of offsets.
    pub(super) fn collect_aborted(
        &self,
        from: Offset,
        to: Offset,
    ) -> io::Result<TxnIndexSearchResult> {
        if self.reads != Reads::Blocking && self.segment.has_aborted() {
            self.expect_open(|| self.segment.is_aborted_open())?;
            // A short file: all of it is brought in.
            if let Some(file) = self.segment.aborted_file(self.storage)? {
                let len = file.len()?;
                if !is_cached(&*file, 0, len) {
                    return Err(NotCached::range(file, 0, len).into());
                }
            }
        }
        self.segment.collect_aborted(self.storage, from, to)
    }

    fn through(&self, inner: Arc<dyn File>, brings_in: Option<u64>) -> Arc<dyn File> {
        match self.reads {
            Reads::Blocking => inner,
            Reads::Cached | Reads::CachedAfterOpen(_) => Arc::new(CachedFile { inner, brings_in }),
        }
    }

    /// `None`: there is none.
    fn index(&self) -> io::Result<Option<Arc<dyn File>>> {
        self.expect_open(|| self.segment.is_index_open())?;
        let file = self.segment.index_file(self.storage)?;
        Ok(file.map(|file| self.through(file, None)))
    }

    /// The batches from a position on.
    pub(super) fn scan(&self, from: u32) -> io::Result<BatchScan> {
        let file = self.through(self.file()?, Some(SCAN_BYTES));
        Ok(BatchScan::new(file, from, self.segment.size()))
    }

    /// The first batch that ends at or after an offset.
    pub(super) fn find(&self, offset: Offset) -> io::Result<Option<ScannedBatch>> {
        self.first(self.index_floor(offset)?, |batch| {
            batch.header.last_offset() >= offset
        })
    }

    /// The first batch from an indexed offset on with a timestamp of at least `timestamp`.
    pub(super) fn find_by_time(
        &self,
        from: Offset,
        timestamp: TimestampMs,
    ) -> io::Result<Option<ScannedBatch>> {
        self.first(self.index_floor(from)?, |batch| {
            batch.header.max_timestamp >= timestamp
        })
    }

    fn first(
        &self,
        from: u32,
        wanted: impl Fn(&ScannedBatch) -> bool,
    ) -> io::Result<Option<ScannedBatch>> {
        for batch in self.scan(from)? {
            let batch = batch?;
            if wanted(&batch) {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// The base offset of the batch that begins at a position.
    pub(super) fn base_offset_at(&self, position: u32) -> io::Result<Offset> {
        let mut base_offset = [0; 8];
        let file = self.through(self.file()?, Some(SCAN_BYTES));
        super::storage::read_exact_at(&*file, &mut base_offset, u64::from(position))?;
        Ok(Offset(i64::from_be_bytes(base_offset)))
    }

    pub(super) fn index_floor(&self, offset: Offset) -> io::Result<u32> {
        let relative = self.segment.relative(offset);
        if let Some(indexes) = self.segment.indexes() {
            return Ok(indexes.offsets.floor(relative));
        }
        match self.index()? {
            Some(file) => offset_index::floor_in_file(&*file, relative),
            None => Ok(0),
        }
    }

    /// The last indexed start of a batch that is not beyond a position.
    pub(super) fn indexed_position(&self, position: u32) -> io::Result<Option<u32>> {
        if let Some(indexes) = self.segment.indexes() {
            return Ok(indexes.offsets.floor_position(position));
        }
        match self.index()? {
            Some(file) => offset_index::floor_position_in_file(&*file, position),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
#[path = "segment_reader_tests.rs"]
mod tests;
