//! Opening a partition's directory: what is in it, and after a crash, how much of it is whole.
//!
//! After a clean shutdown only the end of the last segment is looked at. After a crash every batch from the
//! segment of the recovery point on is checked (its CRC too), the log is cut at the first that is not whole,
//! later segments go, and the indexes are made anew. Opening twice gives the same log.

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
        end_after_clean_shutdown(&*storage, &mut segments, open.config.index_interval_bytes)
    } else {
        None
    };
    let was_clean = clean_end.is_some();
    let log_end = match clean_end {
        Some(end) => end,
        None => {
            let mut recovery = Recovery {
                storage: &*storage,
                interval: open.config.index_interval_bytes,
                epochs: &mut epochs,
                progress,
            };
            recovery.run(&mut segments, open.recovery_point)?
        }
    };
    let first = segments.first().map_or(Offset::ZERO, |s| s.base_offset());
    let log_start = open.log_start.max(first).min(log_end);
    let epochs_changed =
        epochs.truncate_from_end(log_end) | epochs.truncate_from_start(log_start) | !was_clean;
    let (mut producers, from) = load_producers(&*storage, &dir, log_start, log_end)?;
    replay_producers(&*storage, &segments, from, &mut producers)?;
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
fn end_after_clean_shutdown(
    storage: &dyn Storage,
    segments: &mut [LogSegment],
    _interval: u32,
) -> Option<Offset> {
    let active = segments.last_mut()?;
    active.load_indexes(storage).ok()?;
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
    interval: u32,
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
        let first = segments
            .partition_point(|segment| segment.base_offset() <= recovery_point)
            .saturating_sub(1);
        let mut end = Offset::ZERO;
        let mut at = first;
        while let Some(segment) = segments.get_mut(at) {
            if at > first && segment.base_offset() < end {
                break;
            }
            let (segment_end, whole) = self.recover(segment)?;
            end = segment_end;
            at += 1;
            if !whole {
                break;
            }
            if at < segments.len()
                && let Some(segment) = segments.get_mut(at - 1)
            {
                segment.retire(self.storage)?;
            }
        }
        for segment in segments.drain(at.max(1)..) {
            tracing::warn!(file = %segment.path(".log").display(), "a segment behind the end of the log is removed");
            remove_files(self.storage, &segment.files())?;
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
                self.interval,
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

/// The newest readable snapshot that is not beyond the log's end, and the offset it stands for. Those beyond
/// are removed.
pub(super) fn load_producers(
    storage: &dyn Storage,
    dir: &Path,
    log_start: Offset,
    log_end: Offset,
) -> io::Result<(ProducerStateManager, Offset)> {
    let mut offsets: Vec<Offset> = storage
        .list(dir)?
        .iter()
        .filter_map(|entry| {
            entry
                .name
                .strip_suffix(".snapshot")?
                .parse()
                .ok()
                .map(Offset)
        })
        .collect();
    offsets.sort();
    for offset in offsets.into_iter().rev() {
        let path = dir.join(file_name(offset, ".snapshot"));
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
