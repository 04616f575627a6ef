//! Cutting a log: what a new leader does not have goes, and so does everything where a log starts over.
//!
//! Later segments go first, so that a crash on the way leaves a log that is only cut less. Batches are kept
//! whole or not at all.

use std::io;
use std::sync::Arc;

use super::log_segment::LogSegment;
use super::partition_log::PartitionLog;
use super::producer_recovery::{ProducerSnapshots, producers_at};
use crate::types::Offset;

impl PartitionLog {
    /// Nothing at or beyond `offset` is left. False when there was nothing. Where the log is clean beyond it
    /// (`cleaner_checkpoint`), the caller has written a checkpoint that says less before: after a crash what comes there
    /// would count as clean.
    pub fn truncate_to(&mut self, offset: Offset) -> io::Result<bool> {
        if offset >= self.log_end {
            return Ok(false);
        }
        if self
            .segments
            .first()
            .is_none_or(|first| offset < first.base_offset())
        {
            self.truncate_fully_and_start_at(offset)?;
            return Ok(true);
        }
        let storage = Arc::clone(&self.storage);
        let keep = self
            .segments
            .partition_point(|segment| segment.base_offset() < offset)
            .max(1);
        let gone = self.segments.split_off(keep);
        LogSegment::remove_all(&*storage, &self.dir, &gone)?;
        let retired = self.segments.iter().rev().skip(1);
        self.retired_bytes = retired.map(|segment| u64::from(segment.size())).sum();
        let interval = self.config.index_interval_bytes;
        let active = self.active_mut()?;
        if active.indexes().is_none() && active.load_indexes(&*storage).is_err() {
            active.rebuild_indexes(&*storage, interval)?;
        }
        let end = match active.find(&*storage, offset)? {
            Some(batch) => {
                // In a hole that compaction has left the next batch begins beyond.
                let end = batch.header.base_offset.min(offset);
                active.truncate(&*storage, batch.position, end)?;
                end
            }
            None => offset,
        };
        self.ended_at(end);
        self.epochs_dirty |= self.epochs.truncate_from_end(end);
        self.rebuild_producers()?;
        Ok(true)
    }

    /// Nothing is left, and the next batch gets `offset`.
    pub fn truncate_fully_and_start_at(&mut self, offset: Offset) -> io::Result<()> {
        self.ensure_made()?;
        let storage = Arc::clone(&self.storage);
        let gone = std::mem::take(&mut self.segments);
        LogSegment::remove_all(&*storage, &self.dir, &gone)?;
        self.retired_bytes = 0;
        self.unsynced.clear();
        self.start_segment(offset)?;
        self.log_start = offset;
        self.ended_at(offset);
        self.epochs.clear();
        self.epochs_dirty = true;
        ProducerSnapshots::find(&*storage, &self.dir)?.remove_beyond(Offset(-1))?;
        self.producers = super::ProducerStateManager::default();
        self.write_epochs()?;
        // Without it the log could come back from before.
        storage.sync_dir(&self.dir)?;
        (self.flushed, self.durable) = (offset, offset);
        Ok(())
    }

    fn ended_at(&mut self, end: Offset) {
        self.log_end = end;
        self.cleaning.log_was_cut(end);
        self.log_start = self.log_start.min(end);
        self.flushed = self.flushed.min(end);
        self.durable = self.durable.min(end);
        self.durable_mark = None;
        self.flushes.log_was_cut(end);
        self.snapshot_offset = None;
        self.recent.clear();
    }

    /// Takes the snapshots beyond the end away, loads the last one before it, and replays the rest.
    fn rebuild_producers(&mut self) -> io::Result<()> {
        let mut snapshots = ProducerSnapshots::find(&*self.storage, &self.dir)?;
        snapshots.remove_beyond(self.log_end)?;
        let sources = (&snapshots, &*self.segments, self.log_start);
        (self.producers, _) = producers_at(&*self.storage, sources, self.log_end)?;
        Ok(())
    }
}
