//! The producers of a log that is opened or cut, and with them its transaction indexes: the newest snapshot that can be
//! believed, and the batches after it.
//!
//! Invariant: a snapshot stands for the log that is there. A cut takes the snapshots beyond the new end with it;
//! they may come back after a crash, so recovery believes none beyond the first segment that it reads.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::append_as_leader::marker_of;
use super::log_segment::{LogSegment, file_name};
use super::partition_log::remove_files;
use super::producer_snapshot;
use super::producer_state_manager::{ProducerBatch, ProducerStateManager};
use super::storage::{DirEntry, File, OpenMode, Storage, read_exact_at};
use super::transaction_index::{AbortedTxn, TransactionIndex};
use crate::protocol::end_txn_marker::EndTxnMarker;
use crate::protocol::record_batch::BatchHeader;
use crate::types::Offset;

pub(super) fn invalid(error: impl Into<Box<dyn Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The producer snapshots of a directory.
pub(super) struct ProducerSnapshots<'a> {
    storage: &'a dyn Storage,
    dir: &'a Path,
    /// In order.
    offsets: Vec<Offset>,
}

impl<'a> ProducerSnapshots<'a> {
    pub fn find(storage: &'a dyn Storage, dir: &'a Path) -> io::Result<Self> {
        Ok(Self::among(&storage.list(dir)?, storage, dir))
    }

    /// Of all that the directory has.
    pub fn among(entries: &[DirEntry], storage: &'a dyn Storage, dir: &'a Path) -> Self {
        let offset = |name: &str| name.strip_suffix(".snapshot")?.parse().ok().map(Offset);
        let offsets = entries.iter().filter_map(|entry| offset(&entry.name));
        let mut offsets: Vec<Offset> = offsets.collect();
        offsets.sort();
        Self {
            storage,
            dir,
            offsets,
        }
    }

    /// Kept are those of segments, which truncations go back to, and the newest.
    pub fn remove_strays(&mut self, segments: &[LogSegment]) -> io::Result<()> {
        let newest = self.offsets.last().copied();
        self.keep(|offset| {
            let is_of = |segment: &LogSegment| segment.base_offset() == offset;
            Some(offset) == newest || segments.iter().any(is_of)
        })
    }

    pub fn remove_beyond(&mut self, last: Offset) -> io::Result<()> {
        self.keep(|offset| offset <= last)
    }

    fn keep(&mut self, is_kept: impl Fn(Offset) -> bool) -> io::Result<()> {
        let (kept, gone) = std::mem::take(&mut self.offsets)
            .into_iter()
            .partition::<Vec<_>, _>(|offset| is_kept(*offset));
        self.offsets = kept;
        let gone = gone
            .into_iter()
            .map(|offset| snapshot_path(self.dir, offset));
        remove_files(self.storage, &gone.collect::<Vec<_>>())
    }

    /// The newest readable one that is not beyond an offset, and the offset it stands for.
    fn load(&self, up_to: Offset) -> io::Result<Option<(ProducerStateManager, Offset)>> {
        let usable = |offset: &&Offset| **offset <= up_to;
        for offset in self.offsets.iter().rev().filter(usable) {
            let path = snapshot_path(self.dir, *offset);
            let file = self.storage.open(&path, OpenMode::Read)?;
            let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(0)];
            read_exact_at(&*file, &mut bytes, 0)?;
            match producer_snapshot::decode(&bytes) {
                Some(state) => return Ok(Some((state, *offset))),
                None => {
                    tracing::warn!(path = %path.display(), "a damaged producer snapshot is ignored");
                }
            }
        }
        Ok(None)
    }
}

pub(super) fn snapshot_path(dir: &Path, offset: Offset) -> PathBuf {
    dir.join(file_name(offset, ".snapshot"))
}

pub(super) fn write_snapshot(
    storage: &dyn Storage,
    path: &Path,
    producers: &ProducerStateManager,
) -> io::Result<Arc<dyn File>> {
    let file = storage.open(path, OpenMode::Create)?;
    let bytes = producer_snapshot::encode(producers);
    file.truncate(0)?;
    if let Err(error) = file.write_at(&mut [IoSlice::new(&bytes)], 0) {
        // Half of one helps nobody; a start passes it over.
        let _ = storage.remove_file(path);
        return Err(error);
    }
    Ok(file)
}

/// What the producers of a log come from: its snapshots, its segments, its start.
pub(super) type Sources<'a> = (&'a ProducerSnapshots<'a>, &'a [LogSegment], Offset);

/// The producers as of an offset, and the offset of the snapshot that they come from.
pub(super) fn producers_at(
    storage: &dyn Storage,
    (snapshots, segments, log_start): Sources<'_>,
    offset: Offset,
) -> io::Result<(ProducerStateManager, Offset)> {
    let loaded = snapshots.load(offset)?;
    let (mut producers, from) =
        loaded.unwrap_or_else(|| (ProducerStateManager::default(), log_start));
    if from < offset {
        replay(storage, segments, (from, offset), &mut producers)?;
    }
    Ok((producers, from))
}

/// Records the batches of a range of offsets.
fn replay(
    storage: &dyn Storage,
    segments: &[LogSegment],
    (from, to): (Offset, Offset),
    producers: &mut ProducerStateManager,
) -> io::Result<()> {
    let first = segments
        .partition_point(|segment| segment.base_offset() <= from)
        .saturating_sub(1);
    let wanted = segments.iter().skip(first);
    for segment in wanted.take_while(|segment| segment.base_offset() < to) {
        if segment.size() == 0 {
            continue;
        }
        let Some(start) = segment.find(storage, from)? else {
            continue;
        };
        let file = segment.file(storage)?;
        for batch in segment.scan(storage, start.position)? {
            let batch = batch?;
            if batch.header.base_offset >= to {
                break;
            }
            let marker = if batch.header.is_control() {
                marker_of(&batch.header, &batch.read(&*file)?).map_err(invalid)?
            } else {
                None
            };
            record_producer(producers, &batch.header, marker);
        }
    }
    Ok(())
}

/// Records a batch that the log holds. Returns the transaction that it has aborted.
pub(super) fn record_producer(
    producers: &mut ProducerStateManager,
    header: &BatchHeader,
    marker: Option<EndTxnMarker>,
) -> Option<AbortedTxn> {
    let batch = ProducerBatch {
        header,
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        marker,
    };
    let aborted = producers.aborted_by(&batch);
    producers.update(&batch);
    aborted
}

/// Gives every segment the transaction index that lies beside it. Returns the index files that no segment has.
pub(super) fn adopt_indexes(
    dir: &Path,
    entries: &[DirEntry],
    segments: &mut [LogSegment],
) -> Vec<PathBuf> {
    let mut orphans = Vec::new();
    let mut found = BTreeSet::new();
    for entry in entries {
        let Some((stem, suffix)) = entry.name.split_once('.') else {
            continue;
        };
        if !["index", "timeindex", "txnindex"].contains(&suffix) {
            continue;
        }
        let base = stem.parse().map(Offset).ok();
        let owner = base.and_then(|base| {
            let at = segments.binary_search_by_key(&base, LogSegment::base_offset);
            segments.get_mut(at.ok()?)
        });
        match owner {
            Some(segment) if suffix == "txnindex" => {
                segment.set_transaction_index(TransactionIndex::of_len(entry.len));
            }
            Some(segment) => {
                found.insert((segment.base_offset(), suffix));
            }
            None => orphans.push(dir.join(&entry.name)),
        }
    }
    for segment in segments {
        let has = |suffix| found.contains(&(segment.base_offset(), suffix));
        let lacks = !has("index") || !has("timeindex");
        segment.set_lacks_indexes(lacks);
    }
    orphans
}

/// Makes the indexes of old segments anew that are not there: every read would go through the whole segment.
pub(super) fn restore_missing_indexes(
    storage: &dyn Storage,
    segments: &mut [LogSegment],
    interval: u32,
) -> io::Result<()> {
    let old = segments.iter_mut().rev().skip(1);
    for segment in old.filter(|segment| segment.lacks_indexes() && segment.size() > 0) {
        tracing::warn!(path = %segment.path(".index").display(), "an index is missing and is made anew");
        segment.rebuild_indexes(storage, interval)?;
        for file in segment.retire(storage)? {
            file.sync_data()?;
        }
        segment.set_lacks_indexes(false);
    }
    Ok(())
}

/// Makes a transaction index anew that is not one of its segment: a reader would take aborted records for
/// committed. Where the other indexes are missing, it may be missing, too.
pub(super) fn check_transaction_indexes(
    storage: &dyn Storage,
    snapshots: &ProducerSnapshots<'_>,
    segments: &mut [LogSegment],
    (log_start, log_end): (Offset, Offset),
) -> io::Result<()> {
    for at in 0..segments.len() {
        let end = segments
            .get(at + 1)
            .map_or(log_end, |next| next.base_offset());
        let Some(segment) = segments.get(at) else {
            break;
        };
        let base_offset = segment.base_offset();
        match segment.check_aborted(storage, end) {
            Ok(()) if !segment.lacks_indexes() || segment.size() == 0 => continue,
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let path = segment.path(".txnindex");
                tracing::warn!(path = %path.display(), %error, "a transaction index is made anew");
            }
            Err(error) => return Err(error),
        }
        let (mut producers, _) =
            producers_at(storage, (snapshots, segments, log_start), base_offset)?;
        let Some(segment) = segments.get_mut(at) else {
            break;
        };
        segment.reset_aborted(storage)?;
        let file = segment.file(storage)?;
        for batch in segment.scan(storage, 0)? {
            let batch = batch?;
            let marker = if batch.header.is_control() {
                marker_of(&batch.header, &batch.read(&*file)?).map_err(invalid)?
            } else {
                None
            };
            if let Some(aborted) = record_producer(&mut producers, &batch.header, marker) {
                segment.record_aborted(storage, aborted)?;
            }
        }
        segment.sync_aborted(storage)?;
    }
    Ok(())
}
