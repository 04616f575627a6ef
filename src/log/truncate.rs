//! Cutting a log: what a new leader does not have goes, and so does everything where a log starts over.
//!
//! Later segments go first, so that a crash on the way leaves a log that is only cut less. Batches are kept
//! whole or not at all.

use std::io;
use std::sync::Arc;

use super::partition_log::{PartitionLog, remove_files};
use crate::types::Offset;

impl PartitionLog {
    /// Nothing at or beyond `offset` is left. False when there was nothing.
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
        let before = self.segments.len();
        while self.segments.len() > 1 && self.active()?.base_offset() >= offset {
            if let Some(segment) = self.segments.pop() {
                remove_files(&*storage, &segment.files())?;
            }
        }
        if self.segments.len() < before {
            storage.sync_dir(&self.dir)?;
        }
        let retired = self.segments.iter().rev().skip(1);
        self.retired_bytes = retired.map(|segment| u64::from(segment.size())).sum();
        let interval = self.config.index_interval_bytes;
        let active = self.active_mut()?;
        if active.indexes().is_none() && active.load_indexes(&*storage).is_err() {
            active.rebuild_indexes(&*storage, interval)?;
        }
        let end = match active.find(&*storage, offset)? {
            Some(batch) => {
                let end = batch.header.base_offset;
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
        let storage = Arc::clone(&self.storage);
        while let Some(segment) = self.segments.pop() {
            remove_files(&*storage, &segment.files())?;
        }
        self.retired_bytes = 0;
        self.unsynced.clear();
        self.start_segment(offset)?;
        self.log_start = offset;
        self.ended_at(offset);
        self.epochs.clear();
        self.epochs_dirty = true;
        let snapshots = super::recovery::snapshots(&*storage, &self.dir)?;
        for snapshot in snapshots {
            remove_files(
                &*storage,
                &[super::recovery::snapshot_path(&self.dir, snapshot)],
            )?;
        }
        self.producers = super::ProducerStateManager::default();
        self.write_epochs()?;
        // Without it the log could come back from before.
        storage.sync_dir(&self.dir)?;
        self.flushed = offset;
        Ok(())
    }

    fn ended_at(&mut self, end: Offset) {
        self.log_end = end;
        self.log_start = self.log_start.min(end);
        self.flushed = self.flushed.min(end);
        self.flushes.log_was_cut(end);
        self.snapshot_offset = None;
        self.recent.clear();
    }

    /// Takes the snapshots beyond the end away, loads the last one before it, and replays the rest.
    fn rebuild_producers(&mut self) -> io::Result<()> {
        let (producers, from) = super::recovery::load_producers(
            &*self.storage,
            &self.dir,
            self.log_start,
            self.log_end,
        )?;
        self.producers = producers;
        super::recovery::replay_producers(&*self.storage, &self.segments, from, &mut self.producers)
    }
}
