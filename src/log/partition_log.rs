//! One partition's log: segments, epochs, producers, and the offsets that bound them.
//!
//! Owned by its partition, under that partition's lock. Invariants: log_start ≤ log_end; flushed ≤ durable ≤ log_end; the
//! segments follow each other without overlap, the last one is active; a failed write changes nothing
//! that is seen. It is told of the high watermark and keeps nothing of it: the caller bounds what is read.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint;
use super::cleaner::Cleaning;
use super::flush::{FlushPoint, FlushesInFlight};
use super::leader_epoch_cache::LeaderEpochCache;
use super::log_config::LogConfig;
use super::log_segment::{LARGEST_RELATIVE_OFFSET, LogSegment};
use super::offset_index;
use super::producer_recovery::{snapshot_path, write_snapshot};
use super::producer_state_manager::ProducerStateManager;
use super::segment_reader::NotCached;
use super::storage::{File, OpenMode, Storage};
use super::time_index;
use crate::protocol::record_batch::BatchHeader;
use crate::types::{LeaderEpoch, Offset, TimestampMs, TopicId, TopicPartition};

/// How many of the last batches' places are kept: readers at the tail need no index and no disk.
pub(super) const RECENT_BATCHES: usize = 64;

/// Where a batch of the active segment is.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecentBatch {
    pub(super) base_offset: Offset,
    pub(super) last_offset: Offset,
    pub(super) position: u32,
    pub(super) size: u32,
}

/// A range of one segment file that begins with a batch.
#[derive(Debug, Clone)]
pub struct FetchedSlice {
    pub file: Arc<dyn File>,
    pub position: u64,
    pub len: u32,
    pub first_offset: Offset,
    /// Behind the last batch in it; `None` where that is not known without reading on.
    pub next_offset: Option<Offset>,
    /// It begins with one of the last few batches appended since the log was opened: in memory, unless
    /// that is long ago.
    pub is_recent: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("offset {offset} is not between {log_start} and {log_end}")]
    OffsetOutOfRange {
        offset: Offset,
        log_start: Offset,
        log_end: Offset,
    },
    #[error("the disk: {0}")]
    Io(#[from] io::Error),
    /// Only where it was not to be waited for.
    #[error(transparent)]
    NotCached(NotCached),
}

/// A record found by its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampOffset {
    pub timestamp: TimestampMs,
    pub offset: Offset,
    pub leader_epoch: LeaderEpoch,
}

/// What `recovery` and `LogManager` make a log from.
#[derive(Debug)]
pub(super) struct LogParts {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) dir: Arc<Path>,
    pub(super) topic_partition: TopicPartition,
    pub(super) topic_id: TopicId,
    pub(super) config: LogConfig,
    pub(super) segments: Vec<LogSegment>,
    pub(super) epochs: LeaderEpochCache,
    pub(super) producers: ProducerStateManager,
    pub(super) log_start: Offset,
    pub(super) log_end: Offset,
    /// What the recovery point says is on disk.
    pub(super) flushed: Offset,
    /// The newest producer snapshot.
    pub(super) snapshot_offset: Option<Offset>,
    /// Not even the directory exists yet.
    pub(super) unmade: bool,
}

#[derive(Debug)]
pub struct PartitionLog {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) dir: Arc<Path>,
    pub(super) topic_partition: TopicPartition,
    topic_id: TopicId,
    pub(super) config: LogConfig,
    /// Never empty.
    pub(super) segments: Vec<LogSegment>,
    pub(super) recent: VecDeque<RecentBatch>,
    pub(super) epochs: LeaderEpochCache,
    pub(super) producers: ProducerStateManager,
    pub(super) log_start: Offset,
    pub(super) log_end: Offset,
    /// The recovery point: everything below is in the files on disk.
    pub(super) flushed: Offset,
    /// Everything below is on disk, in the files or in the journal.
    pub(super) durable: Offset,
    /// Where `durable` is, once a flush of the files has seen it: until then not even the log's own name may be
    /// on disk.
    pub(super) durable_mark: Option<FlushPoint>,
    /// Not even the directory exists yet: see `ensure_made`.
    unmade: bool,
    /// The epochs in memory are ahead of their file.
    pub(super) epochs_dirty: bool,
    /// The file lacks the epoch that began last.
    epoch_began: bool,
    /// Names were made in the directory since it was synced.
    pub(super) names_dirty: bool,
    /// `partition.metadata` was not synced yet.
    pub(super) metadata_dirty: bool,
    /// Bytes of the segments that are no longer active.
    pub(super) retired_bytes: u64,
    pub(super) snapshot_offset: Option<Offset>,
    /// Written beside the log and not synced: the next flush does it.
    pub(super) unsynced: Vec<Arc<dyn File>>,
    pub(super) flushes: FlushesInFlight,
    pub(super) cleaning: Cleaning,
}

impl PartitionLog {
    pub(super) fn new(parts: LogParts) -> Self {
        let active = parts.segments.last().map_or(0, LogSegment::size);
        let all: u64 = parts.segments.iter().map(|s| u64::from(s.size())).sum();
        Self {
            storage: parts.storage,
            dir: parts.dir,
            topic_partition: parts.topic_partition,
            topic_id: parts.topic_id,
            config: parts.config,
            segments: parts.segments,
            recent: VecDeque::new(),
            epochs: parts.epochs,
            producers: parts.producers,
            log_start: parts.log_start,
            log_end: parts.log_end,
            flushed: parts.flushed,
            durable: parts.flushed,
            durable_mark: None,
            unmade: parts.unmade,
            epochs_dirty: false,
            epoch_began: false,
            names_dirty: true,
            metadata_dirty: true,
            retired_bytes: all - u64::from(active),
            snapshot_offset: parts.snapshot_offset,
            unsynced: Vec::new(),
            flushes: FlushesInFlight::default(),
            cleaning: Cleaning::default(),
        }
    }

    pub fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// The partition's own directory.
    pub fn directory(&self) -> &Path {
        &self.dir
    }

    /// The log directory it lies in.
    pub fn parent_directory(&self) -> &Path {
        self.dir.parent().unwrap_or(&self.dir)
    }

    pub fn log_start_offset(&self) -> Offset {
        self.log_start
    }

    pub fn log_end_offset(&self) -> Offset {
        self.log_end
    }

    /// Everything below is on disk.
    pub fn durable_offset(&self) -> Offset {
        self.durable
    }

    /// Everything below is on disk in the log's own files: a recovery reads on from here.
    pub fn recovery_point(&self) -> Offset {
        self.flushed
    }

    pub fn size_bytes(&self) -> u64 {
        self.retired_bytes + self.segments.last().map_or(0, |s| u64::from(s.size()))
    }

    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    pub fn producers(&self) -> &ProducerStateManager {
        &self.producers
    }

    pub fn expire_producers(&mut self, silent_since: TimestampMs) {
        self.producers.expire(silent_since);
    }

    /// Transactions that ended below are decided for good.
    pub fn on_high_watermark_updated(&mut self, high_watermark: Offset) {
        self.producers.decided_below(high_watermark);
    }

    /// Where the first transaction begins that is not decided for good.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        let unstable = self.producers.first_unstable_offset()?;
        Some(unstable.max(self.log_start))
    }

    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    pub fn set_config(&mut self, config: LogConfig) {
        if !config.cleanup_policy.compact {
            self.cleaning.abort();
        }
        self.config = config;
    }

    /// Makes the directory of a new log, and says in it whose it is. Whatever makes or lists files calls it first.
    pub fn ensure_made(&mut self) -> io::Result<()> {
        if !self.unmade {
            return Ok(());
        }
        self.storage.create_dir_all(&self.dir)?;
        let path = self.dir.join(checkpoint::PARTITION_METADATA);
        let metadata = self.storage.open(&path, OpenMode::Create)?;
        let text = checkpoint::partition_metadata(self.topic_id);
        metadata.write_at(&mut [IoSlice::new(text.as_bytes())], 0)?;
        self.unmade = false;
        Ok(())
    }

    pub fn is_made(&self) -> bool {
        !self.unmade
    }

    /// This node leads from here on, under a new epoch.
    pub fn assign_epoch_start(&mut self, epoch: LeaderEpoch, start: Offset) {
        self.epoch_began |= self.epochs.assign(epoch, start);
    }

    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.epochs.end_offset_for(epoch, self.log_end)
    }

    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest()
    }

    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.epoch_of(offset)
    }

    pub fn leader_epochs(&self) -> &LeaderEpochCache {
        &self.epochs
    }

    pub(super) fn active(&self) -> io::Result<&LogSegment> {
        self.segments
            .last()
            .ok_or_else(|| io::Error::other("a log without a segment"))
    }

    pub(super) fn active_mut(&mut self) -> io::Result<&mut LogSegment> {
        self.segments
            .last_mut()
            .ok_or_else(|| io::Error::other("a log without a segment"))
    }

    /// Whether a batch goes into a new segment. Kafka's rule: the active one is full, too old, its indexes
    /// are full, or its base is too far away. `pending` bytes come before the batch.
    pub(super) fn must_roll(
        &mut self,
        batch: &BatchHeader,
        pending: u32,
        last_offset: Offset,
        now: TimestampMs,
    ) -> io::Result<bool> {
        let lifetime = self
            .config
            .max_segment_ms()
            .saturating_sub(self.jitter_ms());
        let (segment_bytes, index_bytes) = (
            u64::from(self.config.segment_bytes),
            u64::from(self.config.segment_index_bytes),
        );
        let storage = Arc::clone(&self.storage);
        let active = self.active_mut()?;
        let age_ms = active.age_ms(&*storage, now, batch.max_timestamp)?;
        let filled = u64::from(active.size()) + u64::from(pending);
        if i64::from(active.relative(last_offset)) > LARGEST_RELATIVE_OFFSET {
            return Ok(true);
        }
        if filled == 0 {
            return Ok(false);
        }
        let index_full = active.indexes().is_some_and(|indexes| {
            // The time index keeps a place for the entry that ends it.
            indexes.offsets.len() as u64 >= index_bytes / offset_index::ENTRY_BYTES
                || indexes.times.len() as u64 + 1 >= index_bytes / time_index::ENTRY_BYTES
        });
        let size = batch.size_in_bytes() as u64;
        Ok(filled + size > segment_bytes || index_full || age_ms > lifetime)
    }

    /// Spreads the rolls of a topic's partitions: the same for a segment however often it is asked.
    fn jitter_ms(&self) -> i64 {
        let limit = self.config.segment_jitter_ms.min(self.config.segment_ms);
        let Some(active) = self.segments.last().filter(|_| limit > 0) else {
            return 0;
        };
        let seed =
            active.base_offset().0 ^ i64::from(self.topic_partition.partition.0).rotate_left(32);
        (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64) >> 1).rem_euclid(limit)
    }

    /// The active segment ends here, a new one begins at the log's end. A failure (a full disk) changes nothing
    /// that is seen, and the next try begins anew.
    pub fn roll(&mut self) -> io::Result<()> {
        self.ensure_made()?;
        let storage = Arc::clone(&self.storage);
        let base_offset = self.log_end;
        let reserved = self.config.preallocate;
        let active = self.active_mut()?;
        if active.base_offset() == base_offset {
            return Ok(());
        }
        if reserved {
            active.release_reserve(&*storage)?;
        }
        active.write_indexes(&*storage)?;
        if let Some(snapshot) = self.write_producer_snapshot()? {
            self.unsynced.push(snapshot);
        }
        self.start_segment(base_offset)?;
        let at = self.segments.len().saturating_sub(2);
        if let Some(retired) = self.segments.get_mut(at) {
            // They are written: nothing is left that could fail for want of room.
            self.unsynced.extend(retired.retire(&*storage)?);
            self.retired_bytes += u64::from(retired.size());
        }
        Ok(())
    }

    /// An empty segment becomes the active one.
    pub(super) fn start_segment(&mut self, base_offset: Offset) -> io::Result<()> {
        let mut segment = LogSegment::new(Arc::clone(&self.dir), base_offset, 0);
        // Made at once: without it the log's end would be lost when older segments go. What a failed
        // start may have left there is not part of the log.
        segment.file(&*self.storage)?.truncate(0)?;
        segment.start_empty();
        self.segments.push(segment);
        self.recent.clear();
        self.names_dirty = true;
        Ok(())
    }

    /// Writes the producers as of the log's end, unless that was done.
    pub(super) fn write_producer_snapshot(&mut self) -> io::Result<Option<Arc<dyn File>>> {
        if self.snapshot_offset == Some(self.log_end) {
            return Ok(None);
        }
        let path = snapshot_path(&self.dir, self.log_end);
        let file = write_snapshot(&*self.storage, &path, &self.producers)?;
        self.snapshot_offset = Some(self.log_end);
        Ok(Some(file))
    }

    /// Brings the small files up to date: for a flush, and for a clean close.
    pub(super) fn write_epochs(&mut self) -> io::Result<()> {
        if self.epochs_dirty || self.epoch_began {
            let path = self.dir.join(checkpoint::LEADER_EPOCHS);
            checkpoint::write_epochs(&*self.storage, &path, self.epochs.entries())?;
            self.epochs_dirty = false;
            self.epoch_began = false;
        }
        Ok(())
    }

    /// An epoch that has written nothing says nothing of the log: the next one begins at the same offset and takes its
    /// place.
    fn has_news_of_epochs(&self) -> bool {
        let latest = self.epochs.entries().last();
        self.epochs_dirty
            || self.epoch_began && latest.is_some_and(|(_, start)| *start < self.log_end)
    }

    /// Writes what the next start needs so that it need not read the log; `LogManager::mark_clean` syncs it for
    /// all logs together. The caller has flushed the log, and an error says that it has not: then no start may
    /// take it for whole.
    pub fn close_clean(&mut self) -> io::Result<()> {
        if self.flushed < self.log_end {
            return Err(io::Error::other("a log is closed that is not flushed"));
        }
        if self.unmade {
            return Ok(());
        }
        if self.has_news_of_epochs() {
            self.write_epochs()?;
        }
        if self.snapshot_offset == Some(self.log_end) || self.log_end == Offset::ZERO {
            // The files are up to date.
            return Ok(());
        }
        let storage = Arc::clone(&self.storage);
        if self.config.preallocate {
            self.active()?.release_reserve(&*storage)?;
        }
        self.active_mut()?.write_indexes(&*storage)?;
        self.write_producer_snapshot()?;
        self.unsynced.clear();
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn close_transaction_indexes(&self) {
        self.segments
            .iter()
            .for_each(LogSegment::close_transaction_index);
    }

    #[cfg(test)]
    pub(super) fn holds_open_files(&self) -> bool {
        self.segments.iter().any(LogSegment::is_open)
    }

    /// The directory was renamed.
    pub(super) fn moved_to(&mut self, dir: PathBuf) {
        self.dir = dir.into();
        self.cleaning.abort();
        for segment in &mut self.segments {
            segment.moved_to(Arc::clone(&self.dir));
        }
    }
}

/// Removes files of which some may not exist.
pub(super) fn remove_files(storage: &dyn Storage, paths: &[PathBuf]) -> io::Result<()> {
    for path in paths {
        match storage.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "partition_log_tests.rs"]
mod tests;
