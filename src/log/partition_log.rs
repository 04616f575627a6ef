//! One partition's log: segments, epochs, producers, and the offsets that bound them.
//!
//! Owned by its partition, under that partition's lock. Invariants: log_start ≤ log_end; flushed ≤ log_end; the
//! segments follow each other without overlap, the last one is active; a failed write changes nothing
//! that is seen. Knows nothing of high watermarks: the caller bounds what is read.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::append::{AppendError, AppendInfo, AppendOrigin};
use super::checkpoint;
use super::leader_epoch_cache::LeaderEpochCache;
use super::log_config::LogConfig;
use super::log_segment::{LogSegment, file_name};
use super::log_validator::{Validated, validate};
use super::producer_snapshot;
use super::producer_state_manager::{Checked, ProducerStateManager};
use super::storage::{File, OpenMode, Storage};
use crate::protocol::record_batch::{BatchHeader, stored_prefix};
use crate::types::{LeaderEpoch, Offset, TimestampMs, TopicId, TopicPartition};

/// How many of the last batches' places are kept: readers at the tail need no index and no disk.
const RECENT_BATCHES: usize = 64;

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
}

#[derive(Debug)]
pub struct PartitionLog {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) dir: Arc<Path>,
    topic_partition: TopicPartition,
    topic_id: TopicId,
    pub(super) config: LogConfig,
    /// Never empty.
    pub(super) segments: Vec<LogSegment>,
    pub(super) recent: VecDeque<RecentBatch>,
    pub(super) epochs: LeaderEpochCache,
    pub(super) producers: ProducerStateManager,
    pub(super) log_start: Offset,
    pub(super) log_end: Offset,
    pub(super) flushed: Offset,
    /// The epochs in memory are ahead of their file.
    pub(super) epochs_dirty: bool,
    /// Names were made in the directory since it was synced.
    pub(super) names_dirty: bool,
    /// Bytes of the segments that are no longer active.
    pub(super) retired_bytes: u64,
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
            epochs_dirty: false,
            names_dirty: true,
            retired_bytes: all - u64::from(active),
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
    pub fn flushed_offset(&self) -> Offset {
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

    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// This node leads from here on, under a new epoch.
    pub fn assign_epoch_start(&mut self, epoch: LeaderEpoch, start: Offset) {
        self.epochs_dirty |= self.epochs.assign(epoch, start);
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

    /// Appends one batch under this node's leadership.
    pub fn append_as_leader(
        &mut self,
        records: &[u8],
        epoch: LeaderEpoch,
        origin: AppendOrigin,
        now: TimestampMs,
    ) -> Result<AppendInfo, AppendError> {
        let batch = validate(records, &self.topic_partition, &self.config, origin, now)?;
        if batch.header.has_producer_id()
            && origin == AppendOrigin::Client
            && let Checked::Duplicate(known) = self.producers.check(&batch.header)?
        {
            return Ok(AppendInfo {
                first_offset: known.first_offset(),
                last_offset: known.last_offset,
                max_timestamp: known.timestamp,
                log_append_time: batch.log_append_time.map(|_| known.timestamp),
                log_start_offset: self.log_start,
                records: 0,
                bytes: 0,
                duplicate: true,
            });
        }
        let first_offset = self.log_end;
        let last_offset = first_offset.plus(i64::from(batch.header.last_offset_delta));
        self.assign_epoch_start(epoch, first_offset);
        self.write(&batch, epoch, last_offset, now)?;
        Ok(AppendInfo {
            first_offset,
            last_offset,
            max_timestamp: batch.header.max_timestamp,
            log_append_time: batch.log_append_time,
            log_start_offset: self.log_start,
            records: usize::try_from(batch.header.records_count).unwrap_or(0),
            bytes: batch.bytes.len(),
            duplicate: false,
        })
    }

    fn write(
        &mut self,
        batch: &Validated<'_>,
        epoch: LeaderEpoch,
        last_offset: Offset,
        now: TimestampMs,
    ) -> Result<(), AppendError> {
        let size = u32::try_from(batch.bytes.len()).unwrap_or(u32::MAX);
        if self.must_roll(&batch.header, size, last_offset, now) {
            self.roll()?;
        }
        let base_offset = self.log_end;
        let prefix = stored_prefix(&batch.bytes, base_offset, epoch);
        let rest = batch.bytes.get(prefix.len()..).unwrap_or_default();
        let interval = self.config.index_interval_bytes;
        let storage = Arc::clone(&self.storage);
        let active = self.active_mut()?;
        let position = active.size();
        let mut slices = [IoSlice::new(&prefix), IoSlice::new(rest)];
        if let Err(error) = active.write(&*storage, &mut slices) {
            // Whatever of it reached the file lies behind the end and is overwritten, or cut off at a
            // start; trying to cut it now may fail as the write did.
            let file = active.file(&*storage);
            let _ = file.and_then(|file| file.truncate(u64::from(position)));
            return Err(error.into());
        }
        active.record(last_offset, batch.header.max_timestamp, size, interval);
        if self.recent.len() == RECENT_BATCHES {
            self.recent.pop_front();
        }
        self.recent.push_back(RecentBatch {
            base_offset,
            last_offset,
            position,
            size,
        });
        self.producers.update(&batch.header, last_offset);
        self.log_end = last_offset.plus(1);
        Ok(())
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

    /// Kafka's rule: full, too old, its indexes full, or its base too far away.
    fn must_roll(
        &self,
        batch: &BatchHeader,
        size: u32,
        last_offset: Offset,
        now: TimestampMs,
    ) -> bool {
        let Some(active) = self.segments.last() else {
            return false;
        };
        if active.size() == 0 {
            return active.relative(last_offset) > i32::MAX as u32;
        }
        let config = &self.config;
        let started = active.first_timestamp().unwrap_or(now);
        let reached = if batch.max_timestamp.0 >= 0 {
            batch.max_timestamp
        } else {
            now
        };
        let lifetime = config.segment_ms.saturating_sub(self.jitter_ms());
        let index_full = active.indexes().is_some_and(|indexes| {
            (indexes.offsets.len() + 1) * 8 > config.segment_index_bytes as usize
                || (indexes.times.len() + 1) * 12 > config.segment_index_bytes as usize
        });
        active.size() > config.segment_bytes.saturating_sub(size)
            || reached.0.saturating_sub(started.0) > lifetime
            || index_full
            || active.relative(last_offset) > i32::MAX as u32
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

    /// The active segment ends here, a new one begins at the log's end.
    pub fn roll(&mut self) -> io::Result<()> {
        let storage = Arc::clone(&self.storage);
        let base_offset = self.log_end;
        let active = self.active_mut()?;
        if active.base_offset() == base_offset {
            return Ok(());
        }
        active.retire(&*storage)?;
        self.retired_bytes += u64::from(self.active()?.size());
        self.write_producer_snapshot()?;
        let mut segment = LogSegment::new(Arc::clone(&self.dir), base_offset, 0);
        segment.start_empty();
        // Made at once: without it the log's end would be lost when older segments go.
        segment.file(&*storage)?;
        self.segments.push(segment);
        self.recent.clear();
        self.names_dirty = true;
        Ok(())
    }

    /// Kept: this one, and the one before it as a second chance.
    pub(super) fn write_producer_snapshot(&mut self) -> io::Result<()> {
        let path = self.dir.join(file_name(self.log_end, ".snapshot"));
        let file = self.storage.open(&path, OpenMode::Create)?;
        let bytes = producer_snapshot::encode(&self.producers);
        file.truncate(0)?;
        file.write_at(&mut [IoSlice::new(&bytes)], 0)?;
        file.sync_data()
    }

    /// Cuts the log: nothing at or beyond `offset` is left. False when there was nothing.
    pub fn truncate_to(&mut self, offset: Offset) -> io::Result<bool> {
        if offset >= self.log_end {
            return Ok(false);
        }
        let storage = Arc::clone(&self.storage);
        while self.segments.len() > 1 && self.active()?.base_offset() >= offset {
            if let Some(segment) = self.segments.pop() {
                remove_files(&*storage, &segment.files())?;
            }
        }
        let parts: u64 = self
            .segments
            .iter()
            .rev()
            .skip(1)
            .map(|s| u64::from(s.size()))
            .sum();
        self.retired_bytes = parts;
        let active = self.active_mut()?;
        if active.indexes().is_none() {
            active.load_indexes(&*storage)?;
        }
        match active.find(&*storage, offset)? {
            // A batch is kept whole or not at all.
            Some(batch) => {
                let end = batch.header.base_offset;
                active.truncate(&*storage, batch.position, end)?;
                self.log_end = end;
            }
            None => self.log_end = offset,
        }
        self.log_start = self.log_start.min(self.log_end);
        self.flushed = self.flushed.min(self.log_end);
        self.recent.clear();
        self.epochs_dirty |= self.epochs.truncate_from_end(self.log_end);
        self.rebuild_producers()?;
        Ok(true)
    }

    /// Takes the snapshots beyond the end away, loads the last one before it, and replays the rest.
    pub(super) fn rebuild_producers(&mut self) -> io::Result<()> {
        let (producers, from) = super::recovery::load_producers(
            &*self.storage,
            &self.dir,
            self.log_start,
            self.log_end,
        )?;
        self.producers = producers;
        super::recovery::replay_producers(&*self.storage, &self.segments, from, &mut self.producers)
    }

    /// Brings the small files up to date: for a flush, and for a clean close.
    pub(super) fn write_epochs(&mut self) -> io::Result<()> {
        if self.epochs_dirty {
            let path = self.dir.join(checkpoint::LEADER_EPOCHS);
            checkpoint::write_epochs(&*self.storage, &path, self.epochs.entries())?;
            self.epochs_dirty = false;
        }
        Ok(())
    }

    /// Leaves the directory so that the next start need not read the log.
    pub fn close_clean(&mut self) -> io::Result<()> {
        self.write_epochs()?;
        let storage = Arc::clone(&self.storage);
        if self.log_end > Offset::ZERO {
            self.write_producer_snapshot()?;
            self.active_mut()?.write_indexes(&*storage)?;
        }
        Ok(())
    }

    /// The directory was renamed.
    pub(super) fn moved_to(&mut self, dir: PathBuf) {
        self.dir = dir.into();
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
