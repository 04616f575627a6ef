//! Opening a partition's directory: what is in it, and after a crash, how much of it is whole.
//!
//! After a clean shutdown only the end of the last segment is looked at. After a crash every batch from the
//! segment of the recovery point on is checked (its CRC too), the log is cut at the first that is not whole,
//! later segments go, and the indexes are made anew. What comes back is a beginning of what was appended, with
//! everything below the recovery point in it. Opening twice gives the same log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch_scan::{BatchScan, ScannedBatch};
use super::checkpoint;
use super::leader_epoch_cache::LeaderEpochCache;
use super::log_config::LogConfig;
use super::log_segment::{LogSegment, file_name};
use super::partition_log::{LogParts, PartitionLog, remove_files};
use super::producer_snapshot;
use super::producer_state_manager::ProducerStateManager;
use super::storage::{OpenMode, Storage, read_exact_at};
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
}

/// Opens what is there. `progress` hears of bytes read in a recovery.
pub fn open(
    storage: Arc<dyn Storage>,
    dir: &Path,
    open: OpenLog,
    progress: &dyn Fn(u64),
) -> io::Result<PartitionLog> {
    let dir: Arc<Path> = dir.into();
    let mut segments = find_segments(&*storage, &dir, open.log_start)?;
    let epochs = checkpoint::read_epochs(&*storage, &dir.join(checkpoint::LEADER_EPOCHS))?;
    let mut epochs = LeaderEpochCache::new(epochs);
    let clean_end = if open.clean {
        end_after_clean_shutdown(&*storage, &mut segments)
    } else {
        None
    };
    let was_clean = clean_end.is_some();
    let mut log_end = match clean_end {
        Some(end) => end,
        None => {
            let mut recovery = Recovery {
                storage: &*storage,
                config: &open.config,
                epochs: &mut epochs,
                progress,
            };
            recovery.run(&mut segments, open.recovery_point)?
        }
    };
    if log_end < open.log_start {
        log_end = open.log_start;
        segments = vec![start_over(&*storage, &dir, segments, log_end)?];
    }
    let first = segments.first().map_or(Offset::ZERO, |s| s.base_offset());
    let log_start = open.log_start.max(first).min(log_end);
    let epochs_changed =
        epochs.truncate_from_end(log_end) | epochs.truncate_from_start(log_start) | !was_clean;
    remove_stray_snapshots(&*storage, &dir, &segments)?;
    let (mut producers, from) = load_producers(&*storage, &dir, log_start, log_end)?;
    if from < log_end {
        replay_producers(&*storage, &segments, from, &mut producers)?;
    }
    // A node may hold far more logs than it may have open files.
    for _ in 0..2 {
        segments.iter().for_each(LogSegment::close_idle_file);
    }
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
        // After a crash the files beside the snapshot are not known to be up to date.
        snapshot_offset: Some(from).filter(|from| was_clean && *from == log_end),
    });
    log.epochs_dirty = epochs_changed;
    Ok(log)
}

/// The segments of a directory, in order; what an interrupted deletion left is removed.
fn find_segments(
    storage: &dyn Storage,
    dir: &Arc<Path>,
    log_start: Offset,
) -> io::Result<Vec<LogSegment>> {
    let mut segments = Vec::new();
    let mut leftovers: Vec<PathBuf> = Vec::new();
    for entry in storage.list(dir)? {
        let name = &entry.name;
        if [".deleted", ".cleaned", ".swap", ".tmp"]
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
    remove_files(storage, &leftovers)?;
    segments.sort_by_key(LogSegment::base_offset);
    if segments.is_empty() {
        let mut segment = LogSegment::new(Arc::clone(dir), log_start, 0);
        segment.start_empty();
        segments.push(segment);
    }
    Ok(segments)
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

struct Recovery<'a> {
    storage: &'a dyn Storage,
    config: &'a LogConfig,
    epochs: &'a mut LeaderEpochCache,
    progress: &'a dyn Fn(u64),
}

impl Recovery<'_> {
    /// The log's end after it. Segments wholly below the recovery point are believed.
    fn run(
        &mut self,
        segments: &mut Vec<LogSegment>,
        recovery_point: Offset,
    ) -> io::Result<Offset> {
        // A segment that ends at the recovery point is looked at too: it may have been rolled since, and its
        // indexes not synced.
        let first = segments
            .partition_point(|segment| segment.base_offset() < recovery_point)
            .saturating_sub(1);
        let mut end = Offset::ZERO;
        let mut at = first;
        while let Some(segment) = segments.get_mut(at) {
            let base_offset = segment.base_offset();
            // A hole is legitimate where compaction made it; elsewhere the end of the segment before is lost.
            let hole = base_offset > end
                && base_offset > recovery_point
                && !self.config.cleanup_policy.compact;
            if at > first && (base_offset < end || hole) {
                break;
            }
            let (segment_end, whole) = self.recover(segment)?;
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
        Ok(end)
    }

    /// Where the segment's last whole batch ends, and whether nothing was cut off.
    fn recover(&mut self, segment: &mut LogSegment) -> io::Result<(Offset, bool)> {
        let file = segment.file(self.storage)?;
        let size = segment.size();
        let mut rebuilt = LogSegment::new(
            segment.path("").parent().unwrap_or(Path::new("")).into(),
            segment.base_offset(),
            0,
        );
        rebuilt.start_empty();
        let mut end = segment.base_offset();
        for batch in BatchScan::new(Arc::clone(&file), 0, size) {
            let Some(batch) = batch.ok().filter(|batch| batch.header.base_offset >= end) else {
                break;
            };
            if !is_whole(&batch, &*file)? {
                break;
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

fn is_whole(batch: &ScannedBatch, file: &dyn super::storage::File) -> io::Result<bool> {
    Ok(verify_crc(&batch.read(file)?))
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
    for snapshot in snapshots(storage, dir)? {
        remove_files(storage, &[snapshot_path(dir, snapshot)])?;
    }
    let mut segment = LogSegment::new(Arc::clone(dir), log_start, 0);
    segment.start_empty();
    Ok(segment)
}

/// The offsets of a directory's producer snapshots, in order.
pub(super) fn snapshots(storage: &dyn Storage, dir: &Path) -> io::Result<Vec<Offset>> {
    let offset = |name: &str| name.strip_suffix(".snapshot")?.parse().ok().map(Offset);
    let mut offsets: Vec<Offset> = storage
        .list(dir)?
        .iter()
        .filter_map(|entry| offset(&entry.name))
        .collect();
    offsets.sort();
    Ok(offsets)
}

pub(super) fn snapshot_path(dir: &Path, offset: Offset) -> PathBuf {
    dir.join(file_name(offset, ".snapshot"))
}

/// Kept are those of segments, which truncations go back to, and the newest.
fn remove_stray_snapshots(
    storage: &dyn Storage,
    dir: &Path,
    segments: &[LogSegment],
) -> io::Result<()> {
    let offsets = snapshots(storage, dir)?;
    for offset in offsets.iter().rev().skip(1) {
        if !segments
            .iter()
            .any(|segment| segment.base_offset() == *offset)
        {
            remove_files(storage, &[snapshot_path(dir, *offset)])?;
        }
    }
    Ok(())
}

/// The newest readable snapshot that is not beyond the log's end, and the offset it stands for. Those beyond
/// are removed.
pub(super) fn load_producers(
    storage: &dyn Storage,
    dir: &Path,
    log_start: Offset,
    log_end: Offset,
) -> io::Result<(ProducerStateManager, Offset)> {
    for offset in snapshots(storage, dir)?.into_iter().rev() {
        let path = snapshot_path(dir, offset);
        if offset > log_end {
            remove_files(storage, &[path])?;
            continue;
        }
        let file = storage.open(&path, OpenMode::Read)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(0)];
        read_exact_at(&*file, &mut bytes, 0)?;
        match producer_snapshot::decode(&bytes) {
            Some(state) => return Ok((state, offset)),
            None => {
                tracing::warn!(path = %path.display(), "a damaged producer snapshot is ignored")
            }
        }
    }
    Ok((ProducerStateManager::default(), log_start))
}

/// Records the batches from an offset on.
pub(super) fn replay_producers(
    storage: &dyn Storage,
    segments: &[LogSegment],
    from: Offset,
    producers: &mut ProducerStateManager,
) -> io::Result<()> {
    let first = segments
        .partition_point(|segment| segment.base_offset() <= from)
        .saturating_sub(1);
    for segment in segments.iter().skip(first) {
        if segment.size() == 0 {
            continue;
        }
        let Some(start) = segment.find(storage, from)? else {
            continue;
        };
        for batch in segment.scan(storage, start.position)? {
            let header = batch?.header;
            producers.update(&header, header.last_offset());
        }
    }
    Ok(())
}
