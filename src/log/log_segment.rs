//! One segment: a file of record batches, the two indexes into it, and the one of aborted transactions.
//!
//! Owned by its log. The last segment of a log is active: it is appended to and has its indexes in memory.
//! The others are only read, their files opened when needed. A file that does not exist yet is
//! an empty one.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch_scan::{BatchScan, ScannedBatch};
use super::offset_index::{OffsetEntry, OffsetIndex};
use super::open_files::OpenFile;
use super::partition_log::remove_files;
use super::segment_reader::{Reads, SegmentReader};
use super::storage::{File, OpenMode, Storage};
use super::time_index::{self, TimeEntry, TimeIndex};
use super::transaction_index::{AbortedTxn, TransactionIndex, TxnIndexSearchResult};
use crate::types::{Offset, TimestampMs};

/// From a segment's base: its indexes, and Kafka's, have 31 bits for it.
pub(super) const LARGEST_RELATIVE_OFFSET: i64 = i32::MAX as i64;

/// The largest timestamp of a segment, and the last offset of a batch that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Largest {
    pub(super) timestamp: TimestampMs,
    pub(super) offset: Offset,
}

/// What belongs to an active segment only.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    pub(super) offsets: OffsetIndex,
    pub(super) times: TimeIndex,
    bytes_since_entry: u32,
}

#[derive(Debug)]
pub(super) struct LogSegment {
    dir: Arc<Path>,
    base_offset: Offset,
    size: u32,
    /// `None` until it is known: an old segment's is in its time index.
    largest: Option<Largest>,
    /// The largest of the first batch: the age of the segment counts from it. `None` until it is known.
    first_timestamp: Option<TimestampMs>,
    /// When it was first asked for its age: where batches have no timestamps, the age counts from it.
    first_asked: Option<TimestampMs>,
    indexes: Option<Indexes>,
    /// One of its index files is not there.
    lacks_indexes: bool,
    aborted: TransactionIndex,
    file: Arc<OpenFile>,
    /// The offset index of one that is not active.
    index: Arc<OpenFile>,
}

/// Nobody asks for it any more: what was removed gives its room back.
impl Drop for LogSegment {
    fn drop(&mut self) {
        self.file.close();
        self.index.close();
    }
}

/// `00000000000000000042.log` and the like.
pub(super) fn file_name(base_offset: Offset, suffix: &str) -> String {
    format!("{:020}{suffix}", base_offset.0)
}

impl LogSegment {
    pub(super) fn new(dir: Arc<Path>, base_offset: Offset, size: u32) -> Self {
        Self {
            dir,
            base_offset,
            size,
            largest: None,
            first_timestamp: None,
            first_asked: None,
            indexes: None,
            lacks_indexes: false,
            aborted: TransactionIndex::default(),
            file: Arc::default(),
            index: Arc::default(),
        }
    }

    /// The transaction index that its file holds.
    pub(super) fn set_transaction_index(&mut self, index: TransactionIndex) {
        self.aborted = index;
    }

    /// The directory has another name now; open files stay what they are.
    pub(super) fn moved_to(&mut self, dir: Arc<Path>) {
        self.dir = dir;
    }

    pub(super) fn base_offset(&self) -> Offset {
        self.base_offset
    }

    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// How long it has been filled, as a batch with `timestamp` that comes now sees it.
    pub(super) fn age_ms(
        &mut self,
        storage: &dyn Storage,
        now: TimestampMs,
        timestamp: TimestampMs,
    ) -> io::Result<i64> {
        let asked = *self.first_asked.get_or_insert(now);
        Ok(match self.first_timestamp(storage)? {
            Some(first) if first.0 >= 0 => timestamp.0.saturating_sub(first.0),
            _ => now.0.saturating_sub(asked.0),
        })
    }

    /// The largest of its first batch.
    pub(super) fn first_timestamp(
        &mut self,
        storage: &dyn Storage,
    ) -> io::Result<Option<TimestampMs>> {
        if self.first_timestamp.is_none() && self.size > 0 {
            let first = self.scan(storage, 0)?.next().transpose()?;
            self.first_timestamp = first.map(|batch| batch.header.max_timestamp);
        }
        Ok(self.first_timestamp)
    }

    pub(super) fn lacks_indexes(&self) -> bool {
        self.lacks_indexes
    }

    pub(super) fn set_lacks_indexes(&mut self, lacks: bool) {
        self.lacks_indexes = lacks;
    }

    pub(super) fn indexes(&self) -> Option<&Indexes> {
        self.indexes.as_ref()
    }

    pub(super) fn path(&self, suffix: &str) -> PathBuf {
        self.dir.join(file_name(self.base_offset, suffix))
    }

    /// 0 for what lies before the segment, in a hole that compaction has left.
    pub(super) fn relative(&self, offset: Offset) -> u32 {
        u32::try_from((offset.0 - self.base_offset.0).max(0)).unwrap_or(u32::MAX)
    }

    /// The log file, opened or made if it is not open.
    pub(super) fn file(&self, storage: &dyn Storage) -> io::Result<Arc<dyn File>> {
        let path = || self.path(".log");
        let (file, opened) = self.file.get(|| storage.open(&path(), OpenMode::Create))?;
        if opened && let Some(files) = storage.open_files() {
            files.add(&self.file);
        }
        Ok(file)
    }

    /// Lets go of the files; the next use opens them again.
    pub(super) fn close_file(&self) {
        self.file.close();
        self.index.close();
    }

    /// The offset index's file of a segment that is not active; `None` where there is none.
    pub(super) fn index_file(&self, storage: &dyn Storage) -> io::Result<Option<Arc<dyn File>>> {
        let open = || storage.open(&self.path(".index"), OpenMode::Read);
        match self.index.get(open) {
            Ok((file, opened)) => {
                if opened && let Some(files) = storage.open_files() {
                    files.add(&self.index);
                }
                Ok(Some(file))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.file.is_open()
    }

    pub(super) fn is_index_open(&self) -> bool {
        self.index.is_open()
    }

    pub(super) fn is_aborted_open(&self) -> bool {
        self.aborted.is_open()
    }

    /// The transaction index's file; `None` when there is nothing in it.
    pub(super) fn aborted_file(&self, storage: &dyn Storage) -> io::Result<Option<Arc<dyn File>>> {
        self.aborted.file(storage, &self.path(".txnindex"))
    }

    #[cfg(test)]
    pub(super) fn close_transaction_index(&self) {
        self.aborted.close_file();
    }

    /// Looks things up, whatever it takes.
    fn reader<'a>(&'a self, storage: &'a dyn Storage) -> SegmentReader<'a> {
        SegmentReader {
            segment: self,
            storage,
            reads: Reads::Blocking,
        }
    }

    pub(super) fn start_empty(&mut self) {
        self.indexes = Some(Indexes::default());
        self.largest = Some(Largest {
            timestamp: TimestampMs::NONE,
            offset: self.base_offset,
        });
    }

    /// Loads an active segment's indexes as the files have them. An error says that they must be
    /// rebuilt.
    pub(super) fn load_indexes(&mut self, storage: &dyn Storage) -> io::Result<()> {
        if self.size == 0 {
            self.start_empty();
            return Ok(());
        }
        let open = |suffix| storage.open(&self.path(suffix), OpenMode::Read);
        let indexes = Indexes {
            offsets: OffsetIndex::load(&*open(".index")?)?,
            times: TimeIndex::load(&*open(".timeindex")?)?,
            bytes_since_entry: 0,
        };
        let beyond = indexes
            .offsets
            .last()
            .is_some_and(|entry| entry.position >= self.size);
        if beyond {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the offset index points behind the end of the log",
            ));
        }
        let last = indexes.times.last();
        self.largest = Some(self.largest_of(last));
        self.indexes = Some(indexes);
        Ok(())
    }

    /// Makes the indexes anew from the batches. An error says that the file is not whole.
    pub(super) fn rebuild_indexes(
        &mut self,
        storage: &dyn Storage,
        interval: u32,
    ) -> io::Result<()> {
        let scan = self.scan(storage, 0)?;
        let size = std::mem::take(&mut self.size);
        self.start_empty();
        for batch in scan {
            match batch {
                Ok(batch) => self.record(
                    batch.header.last_offset(),
                    batch.header.max_timestamp,
                    batch.size,
                    interval,
                ),
                Err(error) => {
                    self.size = size;
                    self.indexes = None;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn largest_of(&self, last: Option<TimeEntry>) -> Largest {
        match last {
            Some(entry) => Largest {
                timestamp: entry.timestamp,
                offset: self.base_offset.plus(i64::from(entry.relative_offset)),
            },
            None => Largest {
                timestamp: TimestampMs::NONE,
                offset: self.base_offset,
            },
        }
    }

    pub(super) fn largest(&mut self, storage: &dyn Storage) -> io::Result<Largest> {
        if let Some(largest) = self.largest {
            return Ok(largest);
        }
        let last = match storage.open(&self.path(".timeindex"), OpenMode::Read) {
            Ok(file) => time_index::last_in_file(&*file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if last.is_none() && self.size > 0 {
            // No index, or no timestamps: the batches say which.
            self.recount_largest(storage)?;
        }
        let largest = self.largest.unwrap_or_else(|| self.largest_of(last));
        self.largest = Some(largest);
        Ok(largest)
    }

    /// What retention goes by: the largest timestamp, or when the file was written where there is none.
    pub(super) fn last_written(
        &mut self,
        storage: &dyn Storage,
    ) -> io::Result<Option<TimestampMs>> {
        let largest = self.largest(storage)?.timestamp;
        if largest.0 >= 0 {
            return Ok(Some(largest));
        }
        self.file(storage)?.modified()
    }

    /// Gives back what was reserved behind the end.
    pub(super) fn release_reserve(&self, storage: &dyn Storage) -> io::Result<()> {
        self.file(storage)?.truncate(u64::from(self.size))
    }

    /// Writes batches at the end. Not in the indexes yet: see `record`.
    pub(super) fn write(
        &mut self,
        storage: &dyn Storage,
        slices: &mut [IoSlice<'_>],
    ) -> io::Result<()> {
        let file = self.file(storage)?;
        file.write_at(slices, u64::from(self.size))
    }

    /// A batch of `bytes` that was written at the end is part of the segment now.
    pub(super) fn record(
        &mut self,
        last_offset: Offset,
        max_timestamp: TimestampMs,
        bytes: u32,
        interval: u32,
    ) {
        let position = self.size;
        let relative_offset = self.relative(last_offset);
        self.first_timestamp.get_or_insert(max_timestamp);
        let largest = self.largest.get_or_insert(Largest {
            timestamp: TimestampMs::NONE,
            offset: self.base_offset,
        });
        if max_timestamp > largest.timestamp {
            *largest = Largest {
                timestamp: max_timestamp,
                offset: last_offset,
            };
        }
        let largest = *largest;
        if let Some(indexes) = &mut self.indexes {
            if indexes.bytes_since_entry > interval {
                indexes.offsets.push(OffsetEntry {
                    relative_offset,
                    position,
                });
                indexes.times.push(TimeEntry {
                    timestamp: largest.timestamp,
                    relative_offset: u32::try_from(largest.offset.0 - self.base_offset.0)
                        .unwrap_or(u32::MAX),
                });
                indexes.bytes_since_entry = 0;
            }
            indexes.bytes_since_entry += bytes;
        }
        self.size += bytes;
    }

    /// Brings the index files up to date: what a reader of the files, or a clean start, needs.
    pub(super) fn write_indexes(
        &mut self,
        storage: &dyn Storage,
    ) -> io::Result<Vec<Arc<dyn File>>> {
        self.write_indexes_as(storage, "")
    }

    fn write_indexes_as(
        &mut self,
        storage: &dyn Storage,
        suffix: &str,
    ) -> io::Result<Vec<Arc<dyn File>>> {
        let path = |kind| self.path(&format!("{kind}{suffix}"));
        let (index, time) = (path(".index"), path(".timeindex"));
        let largest = self.largest;
        let base = self.base_offset;
        let Some(indexes) = &mut self.indexes else {
            return Ok(Vec::new());
        };
        if let Some(largest) = largest.filter(|largest| largest.timestamp.0 >= 0) {
            indexes.times.push(TimeEntry {
                timestamp: largest.timestamp,
                relative_offset: u32::try_from(largest.offset.0 - base.0).unwrap_or(u32::MAX),
            });
        }
        let (index, time) = (
            storage.open(&index, OpenMode::Create)?,
            storage.open(&time, OpenMode::Create)?,
        );
        indexes.offsets.write(&*index)?;
        indexes.times.write(&*time)?;
        Ok(vec![index, time])
    }

    /// No longer appended to: the indexes are on file and leave memory. Returns the files.
    pub(super) fn retire(&mut self, storage: &dyn Storage) -> io::Result<Vec<Arc<dyn File>>> {
        self.retire_as(storage, "")
    }

    /// The same with another end to the files' names: a copy gets its own name later.
    pub(super) fn retire_as(
        &mut self,
        storage: &dyn Storage,
        suffix: &str,
    ) -> io::Result<Vec<Arc<dyn File>>> {
        let mut files = self.write_indexes_as(storage, suffix)?;
        files.extend(self.aborted.file(storage, &self.path(".txnindex"))?);
        self.indexes = None;
        self.index.close();
        Ok(files)
    }

    pub(super) fn has_aborted(&self) -> bool {
        !self.aborted.is_empty()
    }

    /// A transaction that the batch behind the last one aborts.
    pub(super) fn record_aborted(
        &mut self,
        storage: &dyn Storage,
        aborted: AbortedTxn,
    ) -> io::Result<()> {
        let path = self.path(".txnindex");
        self.aborted.append(storage, &path, aborted)
    }

    /// The transactions that were aborted in this segment and reach into a range of offsets.
    pub(super) fn collect_aborted(
        &self,
        storage: &dyn Storage,
        from: Offset,
        to: Offset,
    ) -> io::Result<TxnIndexSearchResult> {
        if self.aborted.is_empty() {
            return Ok(TxnIndexSearchResult::default());
        }
        let path = self.path(".txnindex");
        self.aborted.collect_aborted(storage, &path, from, to)
    }

    /// Every transaction that was aborted in this segment.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the cleaner"))]
    pub(super) fn aborted(&self, storage: &dyn Storage) -> io::Result<Vec<AbortedTxn>> {
        self.aborted.all(storage, &self.path(".txnindex"))
    }

    pub(super) fn reset_aborted(&mut self, storage: &dyn Storage) -> io::Result<()> {
        let path = self.path(".txnindex");
        self.aborted.reset(storage, &path)
    }

    pub(super) fn sync_aborted(&self, storage: &dyn Storage) -> io::Result<()> {
        match self.aborted.file(storage, &self.path(".txnindex"))? {
            Some(file) => file.sync_data(),
            None => Ok(()),
        }
    }

    /// An error says that the transaction index is not one of a segment that ends at `end`.
    pub(super) fn check_aborted(&self, storage: &dyn Storage, end: Offset) -> io::Result<()> {
        if self.aborted.is_empty() {
            return Ok(());
        }
        let path = self.path(".txnindex");
        self.aborted
            .sanity_check(storage, &path, self.base_offset, end)
    }

    /// The batches from a position on.
    pub(super) fn scan(&self, storage: &dyn Storage, from: u32) -> io::Result<BatchScan> {
        self.reader(storage).scan(from)
    }

    /// The first batch that ends at or after an offset.
    pub(super) fn find(
        &self,
        storage: &dyn Storage,
        offset: Offset,
    ) -> io::Result<Option<ScannedBatch>> {
        self.reader(storage).find(offset)
    }

    /// The first batch with a timestamp of at least `timestamp`.
    pub(super) fn find_by_time(
        &self,
        storage: &dyn Storage,
        timestamp: TimestampMs,
    ) -> io::Result<Option<ScannedBatch>> {
        let relative = match &self.indexes {
            Some(indexes) => indexes.times.floor(timestamp),
            None => match storage.open(&self.path(".timeindex"), OpenMode::Read) {
                Ok(file) => time_index::floor_in_file(&*file, timestamp)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                Err(error) => return Err(error),
            },
        };
        let from = self.base_offset.plus(i64::from(relative));
        self.reader(storage).find_by_time(from, timestamp)
    }

    /// Cuts the file at a batch boundary; later batches are gone for good: after a crash none of them may
    /// stand behind what is appended next.
    pub(super) fn truncate(
        &mut self,
        storage: &dyn Storage,
        position: u32,
        offset: Offset,
    ) -> io::Result<()> {
        let file = self.file(storage)?;
        file.truncate(u64::from(position))?;
        file.sync_data()?;
        self.size = position;
        if position == 0 {
            self.first_timestamp = None;
            self.first_asked = None;
        }
        let relative = self.relative(offset);
        if let Some(indexes) = &mut self.indexes {
            indexes.offsets.truncate(relative);
            indexes.times.truncate(relative);
            indexes.bytes_since_entry = 0;
        }
        let path = self.path(".txnindex");
        self.aborted.truncate(storage, &path, offset)?;
        self.recount_largest(storage)
    }

    /// After a truncation the largest timestamp is looked for among what is left.
    fn recount_largest(&mut self, storage: &dyn Storage) -> io::Result<()> {
        let mut largest = self.largest_of(self.indexes.as_ref().and_then(|i| i.times.last()));
        let from = self.reader(storage).index_floor(largest.offset)?;
        for batch in self.scan(storage, from)? {
            let header = batch?.header;
            if header.max_timestamp > largest.timestamp {
                largest = Largest {
                    timestamp: header.max_timestamp,
                    offset: header.last_offset(),
                };
            }
        }
        self.largest = Some(largest);
        Ok(())
    }

    /// The files that this segment may have, `.log` first.
    pub(super) fn files(&self) -> [PathBuf; 4] {
        [
            self.path(".log"),
            self.path(".index"),
            self.path(".timeindex"),
            self.path(".txnindex"),
        ]
    }

    /// Removes all of them. The log goes for good before its indexes go: one that came back after a crash
    /// without its transaction index would show what was aborted.
    pub(super) fn remove_all(
        storage: &dyn Storage,
        dir: &Path,
        segments: &[LogSegment],
    ) -> io::Result<()> {
        if segments.is_empty() {
            return Ok(());
        }
        let logs: Vec<PathBuf> = segments.iter().map(|s| s.path(".log")).collect();
        remove_files(storage, &logs)?;
        storage.sync_dir(dir)?;
        for segment in segments {
            remove_files(storage, &segment.files())?;
        }
        Ok(())
    }
}
