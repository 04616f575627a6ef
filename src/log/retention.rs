//! What may go: segments beyond a log's age or size, and what DeleteRecords has cut off.
//!
//! A segment goes whole, oldest first, and never the active one: a full active segment is rolled first.
//! Its files are renamed at once and removed after `file.delete.delay.ms`, when nobody reads them any more.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::log_dir_storage::is_disk_full;
use super::log_segment::{LogSegment, file_name};
use super::partition_log::{PartitionLog, remove_files};
use crate::types::{Offset, TimestampMs};

/// Files that have a new name and may be removed once their time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoomedFiles {
    pub paths: Vec<PathBuf>,
    pub remove_at: TimestampMs,
}

pub(super) const DELETED: &str = ".deleted";
/// All but the transaction index.
const DOOMED_FIRST: [&str; 4] = [".log", ".index", ".timeindex", ".snapshot"];

impl PartitionLog {
    /// Moves the log start up. The caller has bounded it by the high watermark.
    pub fn delete_records_before(&mut self, offset: Offset) -> io::Result<()> {
        if offset > self.log_start {
            self.log_start = offset.min(self.log_end);
            self.producers.decided_below(self.log_start);
            self.epochs_dirty |= self.epochs.truncate_from_start(self.log_start);
        }
        Ok(())
    }

    /// Renames what `retention.ms`, `retention.bytes` and the log start let go. `bound` is the high watermark:
    /// nothing at or above it goes.
    pub fn delete_old_segments(
        &mut self,
        bound: Offset,
        now: TimestampMs,
    ) -> io::Result<Option<DoomedFiles>> {
        // Nothing was ever in it, or what it holds is being replaced.
        if self.log_end == Offset::ZERO || self.cleaning.is_running() {
            return Ok(None);
        }
        let mut count = self.count_below_log_start(bound);
        if self.config.cleanup_policy.delete {
            count = count
                .max(self.count_expired(bound, now)?)
                .max(self.count_oversized(bound));
        }
        if count == 0 {
            return Ok(None);
        }
        if count == self.segments.len()
            && let Err(error) = self.roll()
        {
            if !is_disk_full(&error) {
                return Err(error);
            }
            // There is no room for a new segment before the older ones have made it.
            count -= 1;
        }
        if count == 0 {
            return Ok(None);
        }
        // The new name must be there before the old ones go.
        self.storage.sync_dir(&self.dir)?;
        let mut paths = Vec::new();
        let gone: Vec<_> = self.segments.drain(..count).collect();
        for segment in &gone {
            self.retired_bytes -= u64::from(segment.size());
            paths.extend(self.rename_doomed(segment.base_offset(), &DOOMED_FIRST)?);
        }
        if gone.iter().any(LogSegment::has_aborted) {
            // A log that came back after a crash without it would show what was aborted.
            self.storage.sync_dir(&self.dir)?;
        }
        for segment in &gone {
            paths.extend(self.rename_doomed(segment.base_offset(), &[".txnindex"])?);
        }
        if let Some(first) = self.segments.first() {
            self.log_start = self.log_start.max(first.base_offset());
        }
        self.producers.decided_below(self.log_start);
        self.epochs_dirty |= self.epochs.truncate_from_start(self.log_start);
        Ok(Some(DoomedFiles {
            paths,
            remove_at: TimestampMs(now.0.saturating_add(self.config.file_delete_delay_ms)),
        }))
    }

    /// Ends the active segment when DeleteRecords has left nothing of it. Kafka keeps such a segment until it is
    /// full or old; on a full disk it is what takes the room.
    pub fn roll_if_all_deleted(&mut self) -> io::Result<()> {
        if self.log_start == self.log_end && self.active()?.size() > 0 {
            self.roll()?;
        }
        Ok(())
    }

    fn rename_doomed(&self, base_offset: Offset, suffixes: &[&str]) -> io::Result<Vec<PathBuf>> {
        let mut renamed = Vec::new();
        for suffix in suffixes {
            let name = file_name(base_offset, suffix);
            let from = self.dir.join(&name);
            let to = self.dir.join(name + DELETED);
            match self.storage.rename(&from, &to) {
                Ok(()) => renamed.push(to),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(renamed)
    }

    /// Where the segment after the one at `at` begins.
    fn end_of(&self, at: usize) -> Offset {
        self.segments
            .get(at + 1)
            .map_or(self.log_end, |next| next.base_offset())
    }

    fn count_below_log_start(&self, bound: Offset) -> usize {
        (0..self.segments.len().saturating_sub(1))
            .take_while(|at| self.end_of(*at) <= self.log_start && self.end_of(*at) <= bound)
            .count()
    }

    fn count_expired(&mut self, bound: Offset, now: TimestampMs) -> io::Result<usize> {
        let retention_ms = self.config.retention_ms;
        if retention_ms < 0 {
            return Ok(0);
        }
        let storage = Arc::clone(&self.storage);
        let mut count = 0;
        let last = self.segments.len().saturating_sub(1);
        while let Some(end) = (count < self.segments.len()).then(|| self.end_of(count)) {
            let Some(segment) = self.segments.get_mut(count) else {
                break;
            };
            let empty = segment.size() == 0;
            if end > bound || (empty && count == last) {
                break;
            }
            let written = if empty {
                None
            } else {
                segment.last_written(&*storage)?
            };
            let expired = written.is_some_and(|at| now.0.saturating_sub(at.0) > retention_ms);
            if !expired && !empty {
                break;
            }
            count += 1;
        }
        Ok(count)
    }

    fn count_oversized(&self, bound: Offset) -> usize {
        let Ok(limit) = u64::try_from(self.config.retention_bytes) else {
            return 0;
        };
        let mut excess = self.size_bytes().saturating_sub(limit);
        let mut count = 0;
        for (at, segment) in self.segments.iter().enumerate() {
            let size = u64::from(segment.size());
            if size == 0 || size > excess || self.end_of(at) > bound {
                break;
            }
            excess -= size;
            count += 1;
        }
        count
    }
}

impl DoomedFiles {
    pub fn remove(&self, storage: &dyn super::storage::Storage) -> io::Result<()> {
        remove_files(storage, &self.paths)
    }
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
