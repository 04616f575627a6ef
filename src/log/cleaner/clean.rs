//! One cleaning of one log: the map of its dirty part, then group by group a copy without what is superseded.
//!
//! Runs without the log's lock, over files that nobody writes to any more. The host paces it, stops it, and swaps
//! copies in. Every batch's CRC is checked before anything is decided by it: what is damaged ends the cleaning, and
//! is not given a new CRC.

use std::io::{self, IoSlice};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use super::filter::{BatchFilter, FilterRules, records_of, unless_oversized};
use super::group::{GroupSegment, group_segments};
use super::offset_map::OffsetMap;
use super::raw_record;
use super::state::{CleaningPlan, PlannedSegment};
use super::swap::{self, CLEANED, CleanedSegment};
use super::transactions::CleanedTransactions;
use crate::log::log_segment::{LogSegment, file_name};
use crate::log::offset_index;
use crate::log::storage::{File, OpenMode, read_exact_at};
use crate::log::transaction_index::TransactionIndex;
use crate::protocol::record_batch::{BatchError, BatchHeader, Batches, ensure_crc};
use crate::types::{Offset, TimestampMs};

/// A compressed batch is decompressed as a whole. One that becomes more, which no client makes by accident, must
/// not take this server's memory, nor stand in the way of its log's compaction: it stays as it is.
const MAX_DECOMPRESSED_BYTES: usize = if cfg!(test) { 1 << 20 } else { 256 << 20 };

/// Why a cleaning ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// The log was cut, deleted or moved, or the broker stops. Nothing is wrong.
    #[error("it was stopped")]
    Aborted,
    /// A file cannot be read or written; the log is as it was.
    #[error("the disk: {0}")]
    Disk(#[from] io::Error),
    /// A swap failed half-way: the log must be opened anew.
    #[error("the disk, while segments were swapped: {0}")]
    Broken(io::Error),
    #[error("{} at {position}: {error}", .file.display())]
    Damaged {
        file: PathBuf,
        position: u32,
        error: BatchError,
    },
    #[error("{0}")]
    TooLarge(String),
}

/// What a cleaning has done. Bytes are those of batches.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CleanerStats {
    /// Everything below is clean.
    pub cleaned_to: Offset,
    pub map_bytes_read: u64,
    pub map_records_read: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub records_read: u64,
    pub records_written: u64,
    /// Without a key: they went.
    pub keyless_records: u64,
    /// Batches too large to be looked into: they stayed as they were.
    pub oversized_batches: u64,
    /// Of `log.cleaner.dedupe.buffer.size`, from 0 to 1.
    pub buffer_utilization: f64,
    pub segments_before: usize,
    pub segments_after: usize,
}

/// Who a cleaning works for.
pub trait CleaningHost {
    /// So many bytes were read or written. Waits where that is too fast; an error ends the cleaning.
    fn pace(&self, bytes: usize) -> Result<(), CleanError>;
    /// Puts a copy in its place, under the log's lock.
    fn swap(&self, cleaned: CleanedSegment) -> Result<(), CleanError>;
}

/// The memory of one cleaner thread.
#[derive(Debug)]
pub struct Cleaner {
    map: OffsetMap,
    io_buffer_bytes: usize,
    filter: BatchFilter,
    read: Vec<u8>,
    write: Vec<u8>,
}

impl Cleaner {
    /// `log.cleaner.dedupe.buffer.size`, its load factor, and the size of the buffer for reading, and of that for
    /// writing.
    pub fn new(dedupe_bytes: u64, load_factor: f64, io_buffer_bytes: usize) -> Self {
        Self {
            map: OffsetMap::new(dedupe_bytes, load_factor, (rand::random(), rand::random())),
            // At least one small batch.
            io_buffer_bytes: io_buffer_bytes.max(512),
            filter: BatchFilter::default(),
            read: Vec::new(),
            write: Vec::new(),
        }
    }

    pub fn clean(
        &mut self,
        plan: &CleaningPlan,
        now: TimestampMs,
        host: &dyn CleaningHost,
    ) -> Result<CleanerStats, CleanError> {
        let result = self.run(plan, now, host);
        self.map.release();
        self.read = Vec::new();
        self.write = Vec::new();
        result
    }

    fn run(
        &mut self,
        plan: &CleaningPlan,
        now: TimestampMs,
        host: &dyn CleaningHost,
    ) -> Result<CleanerStats, CleanError> {
        let mut stats = CleanerStats::default();
        self.build_map(plan, host, &mut stats)?;
        stats.buffer_utilization = self.map.utilization();
        let cleaned_to = self.map.latest().plus(1);
        stats.cleaned_to = cleaned_to.max(plan.first_dirty);
        let segments = to_group(plan, cleaned_to)?;
        let groups = group_segments(
            &segments,
            u64::from(plan.config.segment_bytes),
            u64::from(plan.config.segment_index_bytes),
        );
        let from = segments.first().map_or(Offset::ZERO, |s| s.base_offset);
        let mut transactions = CleanedTransactions::new(&plan.aborted, from);
        for group in groups {
            let members = plan.segments.get(group).unwrap_or_default();
            stats.segments_before += members.len();
            stats.segments_after += 1;
            let mut copy = Copying {
                plan,
                host,
                now,
                transactions: &mut transactions,
                stats: &mut stats,
            };
            let copied = copy.copy(self, members);
            let swapped = copied.and_then(|cleaned| host.swap(cleaned));
            if let Err(error) = swapped {
                self.give_up(plan, members, &error);
                return Err(error);
            }
        }
        Ok(stats)
    }

    /// Takes the copy away that is not going to be swapped in.
    fn give_up(&self, plan: &CleaningPlan, members: &[PlannedSegment], error: &CleanError) {
        let half_way = matches!(error, CleanError::Broken(_));
        if let Some(first) = members.first().filter(|_| !half_way) {
            let removed = swap::remove_cleaned(&*plan.storage, &plan.dir, first.base_offset);
            if let Err(error) = removed {
                tracing::warn!(dir = %plan.dir.display(), %error, "what a cleaning has left could not be removed");
            }
        }
    }

    /// The last offset of each key from the first dirty one on, until the end or until the map is full.
    fn build_map(
        &mut self,
        plan: &CleaningPlan,
        host: &dyn CleaningHost,
        stats: &mut CleanerStats,
    ) -> Result<(), CleanError> {
        let span = plan.first_uncleanable.0.saturating_sub(plan.first_dirty.0);
        self.map.reset(u64::try_from(span).unwrap_or(0));
        let mut transactions = CleanedTransactions::new(&plan.aborted, plan.first_dirty);
        let dirty = |segment: &&PlannedSegment| segment.end_offset > plan.first_dirty;
        for segment in plan.segments.iter().filter(dirty) {
            // An empty one may have no file.
            if segment.size > 0
                && self.map_segment(plan, host, segment, &mut transactions, stats)?
            {
                return Ok(());
            }
            self.map.set_latest(segment.end_offset.plus(-1));
        }
        Ok(())
    }

    /// True when the map is full.
    fn map_segment(
        &mut self,
        plan: &CleaningPlan,
        host: &dyn CleaningHost,
        segment: &PlannedSegment,
        transactions: &mut CleanedTransactions,
        stats: &mut CleanerStats,
    ) -> Result<bool, CleanError> {
        let from = position_of(plan, segment, plan.first_dirty)?;
        let source = Source::open(plan, segment)?;
        let (map, plain) = (&mut self.map, &mut self.filter.plain);
        let mut full = false;
        source.batches(
            from,
            &mut self.read,
            self.io_buffer_bytes,
            host,
            |header, batch| {
                stats.map_bytes_read += batch.len() as u64;
                stats.map_records_read += u64::try_from(header.records_count).unwrap_or(0);
                ensure_crc(batch)?;
                let aborted = transactions.may_discard(header, batch, MAX_DECOMPRESSED_BYTES)?;
                let records = if aborted || header.is_control() {
                    None
                } else {
                    // Of one that is too large no key counts: what is older stays with it.
                    let records = records_of(header, batch, MAX_DECOMPRESSED_BYTES, plain);
                    unless_oversized(records)?
                };
                if let Some(mut rest) = records {
                    for _ in 0..header.records_count {
                        let record = raw_record::next(&mut rest)?;
                        let offset = header.base_offset.plus(i64::from(record.offset_delta));
                        if let Some(key) = record.key.filter(|_| offset >= plan.first_dirty)
                            && !map.put(key, offset)
                        {
                            full = true;
                            return Ok(ControlFlow::Break(()));
                        }
                    }
                }
                if header.last_offset() >= plan.first_dirty {
                    map.set_latest(header.last_offset());
                }
                Ok(ControlFlow::Continue(()))
            },
        )?;
        Ok(full)
    }
}

/// Where to begin looking for an offset. The log's own segments are not asked: they make a file that is missing.
fn position_of(
    plan: &CleaningPlan,
    segment: &PlannedSegment,
    offset: Offset,
) -> Result<u32, CleanError> {
    let path = plan.dir.join(file_name(segment.base_offset, ".index"));
    let Some(relative) = u32::try_from(offset.0 - segment.base_offset.0).ok() else {
        return Ok(0);
    };
    match plan.storage.open(&path, OpenMode::Read) {
        Ok(file) => Ok(offset_index::floor_in_file(&*file, relative)?.min(segment.size)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// The segments that begin below an offset, with the sizes of their indexes.
fn to_group(plan: &CleaningPlan, below: Offset) -> io::Result<Vec<GroupSegment>> {
    let entries = plan.storage.list(&plan.dir)?;
    let size_of = |base: Offset, kind| {
        let name = file_name(base, kind);
        let at = entries.binary_search_by(|entry| entry.name.cmp(&name));
        at.ok().and_then(|at| entries.get(at)).map_or(0, |e| e.len)
    };
    let below = plan.segments.iter().filter(|s| s.base_offset < below);
    Ok(below
        .map(|segment| GroupSegment {
            base_offset: segment.base_offset,
            end_offset: segment.end_offset,
            size: u64::from(segment.size),
            index_size: size_of(segment.base_offset, ".index"),
            time_index_size: size_of(segment.base_offset, ".timeindex"),
        })
        .collect())
}

/// A segment's file that is read from.
struct Source {
    path: PathBuf,
    file: Arc<dyn File>,
    size: u32,
    /// Where the next begins.
    end_offset: Offset,
}

impl Source {
    fn open(plan: &CleaningPlan, segment: &PlannedSegment) -> Result<Self, CleanError> {
        let path = plan.dir.join(file_name(segment.base_offset, ".log"));
        // A segment that is gone was cut off or deleted.
        let file = plan.storage.open(&path, OpenMode::Read);
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => CleanError::Aborted,
            _ => error.into(),
        })?;
        Ok(Self {
            path,
            file,
            size: segment.size,
            end_offset: segment.end_offset,
        })
    }

    /// Shows every batch from a position on, a buffer at a time.
    fn batches(
        &self,
        from: u32,
        buffer: &mut Vec<u8>,
        buffer_bytes: usize,
        host: &dyn CleaningHost,
        mut show: impl FnMut(&BatchHeader, &[u8]) -> Result<ControlFlow<()>, BatchError>,
    ) -> Result<(), CleanError> {
        let mut position = from;
        let mut wanted = buffer_bytes;
        let mut next_offset = Offset::ZERO;
        while position < self.size {
            let left = (self.size - position) as usize;
            buffer.resize(wanted.min(left), 0);
            read_exact_at(&*self.file, buffer, u64::from(position))?;
            host.pace(buffer.len())?;
            let start = position;
            wanted = buffer_bytes;
            let damaged = |position, error| CleanError::Damaged {
                file: self.path.clone(),
                position,
                error,
            };
            for batch in Batches::new(buffer) {
                match batch {
                    Ok((header, batch)) => {
                        // No CRC covers the base offset.
                        let (first, last) = (header.base_offset, header.last_offset());
                        if first < next_offset || last < first || last >= self.end_offset {
                            let error = BatchError::invalid("a batch has offsets out of order");
                            return Err(damaged(position, error));
                        }
                        next_offset = header.next_offset();
                        let shown = show(&header, batch);
                        if shown.map_err(|error| damaged(position, error))?.is_break() {
                            return Ok(());
                        }
                        position += u32::try_from(batch.len()).unwrap_or(u32::MAX);
                    }
                    Err(BatchError::Truncated { need, .. })
                        if position > start || (need > buffer.len() && need <= left) =>
                    {
                        // The next round begins with it, and has room for it.
                        wanted = wanted.max(need);
                        break;
                    }
                    Err(error) => return Err(damaged(position, error)),
                }
            }
        }
        Ok(())
    }
}

/// A cleaning on its second way through the log.
struct Copying<'a> {
    plan: &'a CleaningPlan,
    host: &'a dyn CleaningHost,
    now: TimestampMs,
    transactions: &'a mut CleanedTransactions,
    stats: &'a mut CleanerStats,
}

/// The file that is written.
struct Target {
    segment: LogSegment,
    file: Arc<dyn File>,
    written: u64,
    interval: u32,
}

impl Target {
    fn append(&mut self, header: &BatchHeader) -> Result<(), BatchError> {
        let size = u32::try_from(header.size_in_bytes()).unwrap_or(u32::MAX);
        if self.segment.size().saturating_add(size) > i32::MAX as u32 {
            return Err(BatchError::invalid("a cleaned segment would be too large"));
        }
        self.segment.record(
            header.last_offset(),
            header.max_timestamp,
            size,
            self.interval,
        );
        Ok(())
    }

    /// Writes what has gathered.
    fn drain(&mut self, buffer: &mut Vec<u8>, host: &dyn CleaningHost) -> Result<(), CleanError> {
        if !buffer.is_empty() {
            self.file
                .write_at(&mut [IoSlice::new(buffer)], self.written)?;
            self.written += buffer.len() as u64;
            host.pace(buffer.len())?;
            buffer.clear();
        }
        Ok(())
    }
}

impl Copying<'_> {
    /// Makes one segment of several: on disk when it returns.
    fn copy(
        &mut self,
        cleaner: &mut Cleaner,
        members: &[PlannedSegment],
    ) -> Result<CleanedSegment, CleanError> {
        let (Some(first), Some(last)) = (members.first(), members.last()) else {
            return Err(CleanError::Aborted);
        };
        let (storage, dir) = (&*self.plan.storage, &self.plan.dir);
        let base = first.base_offset;
        swap::remove_cleaned(storage, dir, base)?;
        let path = dir.join(file_name(base, &format!(".log{CLEANED}")));
        let mut segment = LogSegment::new(Arc::clone(dir), base, 0);
        segment.start_empty();
        let mut target = Target {
            segment,
            file: storage.open(&path, OpenMode::Create)?,
            written: 0,
            interval: self.plan.config.index_interval_bytes,
        };
        cleaner.write.clear();
        self.transactions.retained.clear();
        for member in members.iter().filter(|member| member.size > 0) {
            self.copy_segment(cleaner, member, &mut target)?;
        }
        target.drain(&mut cleaner.write, self.host)?;
        self.write_aborted(&mut target.segment)?;
        let mut files = target.segment.retire_as(storage, CLEANED)?;
        files.push(Arc::clone(&target.file));
        if members.len() > 1 {
            files.push(swap::write_replaces(storage, dir, (base, last.end_offset))?);
        }
        for file in files {
            file.sync_data()?;
        }
        Ok(CleanedSegment {
            segment: target.segment,
            replaced: members.iter().map(|m| (m.base_offset, m.size)).collect(),
        })
    }

    /// Of the transactions that were aborted in the copied segments those stay that a reader must know of.
    fn write_aborted(&mut self, segment: &mut LogSegment) -> io::Result<()> {
        let path = segment.path(&format!(".txnindex{CLEANED}"));
        let mut index = TransactionIndex::default();
        for aborted in self.transactions.retained.drain(..) {
            index.append(&*self.plan.storage, &path, aborted)?;
        }
        segment.set_transaction_index(index);
        Ok(())
    }

    fn copy_segment(
        &mut self,
        cleaner: &mut Cleaner,
        segment: &PlannedSegment,
        target: &mut Target,
    ) -> Result<(), CleanError> {
        let Cleaner {
            map,
            io_buffer_bytes,
            filter,
            read,
            write,
        } = cleaner;
        let mut rules = FilterRules {
            map,
            last_records: &self.plan.last_records,
            high_watermark: self.plan.high_watermark,
            now: self.now,
            delete_retention_ms: self.plan.config.compaction.delete_retention_ms,
            max_decompressed_bytes: MAX_DECOMPRESSED_BYTES,
            tombstones_stay: self.stats.oversized_batches > 0,
        };
        let source = Source::open(self.plan, segment)?;
        let (transactions, stats, host) = (&mut *self.transactions, &mut *self.stats, self.host);
        let mut failed = None;
        source.batches(0, read, *io_buffer_bytes, host, |header, batch| {
            let discard = transactions.may_discard(header, batch, rules.max_decompressed_bytes)?;
            let before = write.len();
            let found = filter.filter(&rules, (header, batch), discard, write)?;
            stats.bytes_read += batch.len() as u64;
            stats.bytes_written += (write.len() - before) as u64;
            stats.records_read += found.records_read;
            stats.records_written += found.records_kept;
            stats.keyless_records += found.keyless;
            if found.is_oversized {
                stats.oversized_batches += 1;
                rules.tombstones_stay = true;
            }
            if let Some(header) = found.header {
                target.append(&header)?;
            }
            if write.len() >= *io_buffer_bytes
                && let Err(error) = target.drain(write, host)
            {
                failed = Some(error);
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        failed.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
#[path = "clean_tests.rs"]
pub(super) mod tests;
