//! Opening a partition's directory: what is in it, and after a crash, how much of it is whole.
//!
//! After a clean shutdown only the end of the last segment is looked at. After a crash every batch from the
//! segment of the recovery point on is looked at: below the recovery point its head only, which is what the indexes
//! and producers are made anew from; beyond it all of it, with its CRC. The log is cut at the first batch that is not
//! whole, later segments go. What comes back is a beginning of what was appended, with
//! everything below the recovery point in it. Opening twice gives the same log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::append_as_leader::marker_of;
use super::batch_scan::BatchScan;
use super::checkpoint;
use super::cleaner;
use super::leader_epoch_cache::LeaderEpochCache;
use super::log_config::LogConfig;
use super::log_segment::{LARGEST_RELATIVE_OFFSET, LogSegment};
use super::partition_log::{LogParts, PartitionLog, remove_files};
use super::producer_recovery::{
    ProducerSnapshots, adopt_indexes, check_transaction_indexes, invalid, producers_at,
    record_producer, restore_missing_indexes, snapshot_path, write_snapshot,
};
use super::producer_state_manager::ProducerStateManager;
use super::storage::{DirEntry, Storage};
use crate::protocol::record_batch::verify_crc;
use crate::types::{Offset, TopicId, TopicPartition};

/// What the checkpoints and metadata say of a log that is opened.
#[derive(Debug, Clone)]
pub struct OpenLog {
    pub topic_partition: TopicPartition,
    pub topic_id: TopicId,
    pub config: LogConfig,
    /// Everything below was on disk.
    pub recovery_point: Offset,
    /// From the checkpoint: DeleteRecords may have moved it above the first segment.
    pub log_start: Offset,
    pub clean: bool,
    /// Its directory has a journal: who compacted here has done so below the recovery point.
    pub has_journal: bool,
}

/// Opens what is there. `progress` hears of bytes read in a recovery.
pub fn open(
    storage: Arc<dyn Storage>,
    dir: &Path,
    open: OpenLog,
    progress: &dyn Fn(u64),
) -> io::Result<PartitionLog> {
    let dir: Arc<Path> = dir.into();
    let (mut segments, mut snapshots) = find_files(&*storage, &dir, open.log_start)?;
    let epochs = checkpoint::read_epochs(&*storage, &dir.join(checkpoint::LEADER_EPOCHS))?;
    let mut epochs = LeaderEpochCache::new(epochs);
    let clean_end = if open.clean {
        end_after_clean_shutdown(&*storage, &mut segments)
    } else {
        None
    };
    let was_clean = clean_end.is_some();
    let (mut log_end, mut producers) = match clean_end {
        Some(end) => (end, None),
        None => {
            let mut recovery = Recovery {
                storage: &*storage,
                dir: &dir,
                config: &open.config,
                epochs: &mut epochs,
                producers: ProducerStateManager::default(),
                progress,
            };
            let end = recovery.run(&mut segments, snapshots, &open)?;
            let producers = recovery.producers;
            snapshots = ProducerSnapshots::find(&*storage, &dir)?;
            (end, Some(producers))
        }
    };
    if log_end < open.log_start {
        log_end = open.log_start;
        segments = vec![start_over(&*storage, &dir, segments, log_end)?];
        snapshots.remove_beyond(Offset(-1))?;
        producers = Some(ProducerStateManager::default());
        epochs.clear();
    }
    let first = segments.first().map_or(Offset::ZERO, |s| s.base_offset());
    let log_start = open.log_start.max(first).min(log_end);
    let epochs_changed = epochs.truncate_from_end(log_end)
        | epochs.truncate_from_start(log_start)
        | producers.is_some();
    snapshots.remove_strays(&segments)?;
    check_transaction_indexes(&*storage, &snapshots, &mut segments, (log_start, log_end))?;
    restore_missing_indexes(&*storage, &mut segments, open.config.index_interval_bytes)?;
    let (producers, snapshot_offset) = match producers {
        // After a crash the files beside a snapshot are not known to be up to date.
        Some(producers) => (producers, None),
        None => {
            snapshots.remove_beyond(log_end)?;
            let sources = (&snapshots, &*segments, log_start);
            let (producers, snapshot) = producers_at(&*storage, sources, log_end)?;
            (producers, Some(snapshot).filter(|at| *at == log_end))
        }
    };
    // A node may hold far more logs than it may have open files.
    segments.iter().for_each(LogSegment::close_file);
    let mut log = PartitionLog::new(LogParts {
        storage,
        dir,
        topic_partition: open.topic_partition,
        topic_id: open.topic_id,
        config: open.config,
        segments,
        epochs,
        producers,
        log_start,
        log_end,
        // What a crash left in the page cache may not be on disk yet.
        flushed: if was_clean {
            log_end
        } else {
            open.recovery_point.min(log_end)
        },
        snapshot_offset,
        unmade: false,
    });
    log.epochs_dirty = epochs_changed;
    Ok(log)
}

/// An empty log of which nothing is on disk yet, not even its directory.
pub(super) fn unmade(
    storage: Arc<dyn Storage>,
    dir: &Path,
    topic_partition: TopicPartition,
    topic_id: TopicId,
    config: LogConfig,
) -> PartitionLog {
    let dir: Arc<Path> = dir.into();
    let mut segment = LogSegment::new(Arc::clone(&dir), Offset::ZERO, 0);
    segment.start_empty();
    PartitionLog::new(LogParts {
        storage,
        dir,
        topic_partition,
        topic_id,
        config,
        segments: vec![segment],
        epochs: LeaderEpochCache::new(Vec::new()),
        producers: ProducerStateManager::default(),
        log_start: Offset::ZERO,
        log_end: Offset::ZERO,
        flushed: Offset::ZERO,
        snapshot_offset: None,
        unmade: true,
    })
}

/// The segments of a directory, in order, and its producer snapshots; what an interrupted deletion left is removed. A node may
/// have a hundred thousand of them to open: each is listed once.
fn find_files<'a>(
    storage: &'a dyn Storage,
    dir: &'a Arc<Path>,
    log_start: Offset,
) -> io::Result<(Vec<LogSegment>, ProducerSnapshots<'a>)> {
    let entries = cleaner::swap::recover(storage, dir)?;
    let mut segments = Vec::new();
    let mut leftovers: Vec<PathBuf> = Vec::new();
    for entry in &entries {
        let name = &entry.name;
        if [".deleted", ".tmp"]
            .iter()
            .any(|suffix| name.ends_with(suffix))
        {
            leftovers.push(dir.join(name));
        } else if let Some(stem) = name.strip_suffix(".log")
            && let Ok(base) = stem.parse::<i64>()
        {
            let size = u32::try_from(entry.len).map_err(|_| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "{name} has {} bytes, more than a segment can have",
                        entry.len
                    ),
                )
            })?;
            segments.push(LogSegment::new(Arc::clone(dir), Offset(base), size));
        }
    }
    segments.sort_by_key(LogSegment::base_offset);
    leftovers.extend(adopt_indexes(dir, &entries, &mut segments));
    remove_files(storage, &leftovers)?;
    if segments.is_empty() {
        let mut segment = LogSegment::new(Arc::clone(dir), log_start, 0);
        segment.start_empty();
        segments.push(segment);
    }
    Ok((segments, ProducerSnapshots::among(&entries, storage, dir)))
}

/// The log's end, found behind the last index entry; `None` when the files are not as a clean shutdown
/// leaves them.
fn end_after_clean_shutdown(storage: &dyn Storage, segments: &mut [LogSegment]) -> Option<Offset> {
    let active = segments.last_mut()?;
    active.load_indexes(storage).ok()?;
    if active.size() == 0 {
        return Some(active.base_offset());
    }
    let from = active
        .indexes()
        .and_then(|indexes| indexes.offsets.last())
        .map_or(0, |entry| entry.position);
    let mut end = active.base_offset();
    for batch in active.scan(storage, from).ok()? {
        end = batch.ok()?.header.next_offset();
    }
    Some(end)
}

/// Where a recovery begins, of segments in their order. One that ends at the recovery point is looked at too: it may have
/// been rolled since, and its indexes not synced.
fn first_to_read(bases: impl Iterator<Item = Offset>, recovery_point: Offset) -> usize {
    let before = bases.take_while(|base| *base < recovery_point).count();
    before.saturating_sub(1)
}

/// The segments that opening a log will go through, in bytes; 0 after a clean shutdown.
pub(super) fn bytes_to_read(storage: &dyn Storage, dir: &Path, open: &OpenLog) -> io::Result<u64> {
    if open.clean {
        return Ok(0);
    }
    // Names of one length: they are listed in the order of the offsets.
    let segment = |entry: &DirEntry| {
        let base: i64 = entry.name.strip_suffix(".log")?.parse().ok()?;
        Some((Offset(base), entry.len))
    };
    let sizes: Vec<(Offset, u64)> = storage.list(dir)?.iter().filter_map(segment).collect();
    let first = first_to_read(sizes.iter().map(|(base, _)| *base), open.recovery_point);
    Ok(sizes.iter().skip(first).map(|(_, bytes)| bytes).sum())
}

struct Recovery<'a> {
    storage: &'a dyn Storage,
    dir: &'a Path,
    config: &'a LogConfig,
    epochs: &'a mut LeaderEpochCache,
    /// As of the batch that is looked at.
    producers: ProducerStateManager,
    progress: &'a dyn Fn(u64),
}

impl Recovery<'_> {
    /// The log's end after it. Segments wholly below the recovery point are believed.
    fn run(
        &mut self,
        segments: &mut Vec<LogSegment>,
        mut found: ProducerSnapshots<'_>,
        open: &OpenLog,
    ) -> io::Result<Offset> {
        let recovery_point = open.recovery_point;
        let first = first_to_read(segments.iter().map(LogSegment::base_offset), recovery_point);
        let mut end = Offset::ZERO;
        let mut snapshots = Vec::new();
        if let Some(segment) = segments.get(first) {
            // Snapshots from here on may be of a log that was cut since.
            let from = segment.base_offset();
            found.remove_beyond(from)?;
            let sources = (&found, &**segments, open.log_start);
            (self.producers, _) = producers_at(self.storage, sources, from)?;
        }
        let mut at = first;
        let mut before = Offset::ZERO;
        while let Some(segment) = segments.get_mut(at) {
            let base_offset = segment.base_offset();
            // A hole is legitimate where compaction made it; elsewhere the end of the segment before is lost, if that could
            // go so far. Kafka compacts above the recovery point, too.
            let by_kafka = self.config.cleanup_policy.compact && !open.has_journal;
            let could_reach = base_offset.0.saturating_sub(before.0) - 1 <= LARGEST_RELATIVE_OFFSET;
            let hole =
                base_offset > end && base_offset > recovery_point && could_reach && !by_kafka;
            before = base_offset;
            if at > first && (base_offset < end || hole) {
                break;
            }
            if at > first {
                let path = snapshot_path(self.dir, base_offset);
                snapshots.push(write_snapshot(self.storage, &path, &self.producers)?);
            }
            let (segment_end, whole) = self.recover(segment, recovery_point)?;
            end = segment_end;
            at += 1;
            if !whole {
                break;
            }
        }
        for segment in segments.drain(at.max(1)..) {
            tracing::warn!(file = %segment.path(".log").display(), "a segment behind the end of the log is removed");
            remove_files(self.storage, &segment.files())?;
        }
        // Only the last is appended to. Its recovery may have been this one's last word, so the others'
        // indexes are synced here.
        for segment in segments.iter_mut().rev().skip(1) {
            for file in segment.retire(self.storage)? {
                file.sync_data()?;
            }
        }
        for file in snapshots {
            file.sync_data()?;
        }
        Ok(end)
    }

    /// Where the segment's last whole batch ends, and whether nothing was cut off.
    fn recover(
        &mut self,
        segment: &mut LogSegment,
        recovery_point: Offset,
    ) -> io::Result<(Offset, bool)> {
        let file = segment.file(self.storage)?;
        let size = segment.size();
        let mut rebuilt = LogSegment::new(
            segment.path("").parent().unwrap_or(Path::new("")).into(),
            segment.base_offset(),
            0,
        );
        rebuilt.start_empty();
        rebuilt.reset_aborted(self.storage)?;
        let mut end = segment.base_offset();
        for batch in BatchScan::new(Arc::clone(&file), 0, size) {
            let Some(batch) = batch.ok().filter(|batch| batch.header.base_offset >= end) else {
                break;
            };
            let unsure = batch.header.next_offset() > recovery_point;
            let bytes = match unsure || batch.header.is_control() {
                true => batch.read(&*file)?,
                false => Vec::new(),
            };
            if unsure && !verify_crc(&bytes) {
                break;
            }
            let marker = marker_of(&batch.header, &bytes).map_err(invalid)?;
            let aborted = record_producer(&mut self.producers, &batch.header, marker);
            if let Some(aborted) = aborted {
                rebuilt.record_aborted(self.storage, aborted)?;
            }
            (self.progress)(u64::from(batch.size));
            end = batch.header.next_offset();
            self.epochs
                .assign(batch.header.leader_epoch, batch.header.base_offset);
            rebuilt.record(
                batch.header.last_offset(),
                batch.header.max_timestamp,
                batch.size,
                self.config.index_interval_bytes,
            );
        }
        let valid = rebuilt.size();
        if valid < size {
            tracing::warn!(
                file = %segment.path(".log").display(),
                bytes = size - valid,
                "the end of a log was not whole and is cut off"
            );
            file.truncate(u64::from(valid))?;
            file.sync_data()?;
        }
        *segment = rebuilt;
        Ok((end, valid == size))
    }
}

/// The log is shorter than where it is to start: nothing of it counts, and its offsets are not given again.
fn start_over(
    storage: &dyn Storage,
    dir: &Arc<Path>,
    segments: Vec<LogSegment>,
    log_start: Offset,
) -> io::Result<LogSegment> {
    tracing::warn!(dir = %dir.display(), %log_start, "a log ends before it starts: it starts over empty");
    for segment in segments {
        remove_files(storage, &segment.files())?;
    }
    let mut segment = LogSegment::new(Arc::clone(dir), log_start, 0);
    segment.start_empty();
    Ok(segment)
}
