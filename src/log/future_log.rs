//! A log on its way to another directory of the same broker (KIP-113): the copy that will be the log, and how it
//! becomes it.
//!
//! The copy lies in `<topic>-<partition>.<uuid>-future`, as in Kafka, and is filled with whole batches as they are. It
//! becomes the log by one rename, synced before the old directory is renamed away: a crash in between leaves
//! both, of which the copy has everything that was durable. Whose lock is held when is the caller's affair.

use std::io;

use super::append::AppendError;
use super::log_dir::LogDir;
use super::log_manager::{LogManager, directory_name};
use super::partition_log::PartitionLog;
use super::{checkpoint, recovery};
use crate::protocol::record_batch::BatchHeader;
use crate::types::{LeaderEpoch, Offset, TimestampMs, TopicPartition};

pub(super) const FUTURE_SUFFIX: &str = "-future";
const LONGEST_NAME: usize = 255;

/// Whether Kafka's name for the copy fits a file system (KAFKA-4893): it is not cut.
pub fn can_be_moved(topic_partition: &TopicPartition) -> bool {
    // A dot and a uuid without dashes.
    topic_partition.to_string().len() + 1 + 32 + FUTURE_SUFFIX.len() <= LONGEST_NAME
}

/// Whose copy a directory is.
pub(super) fn parse_name(name: &str) -> Option<TopicPartition> {
    let (log, uuid) = name.strip_suffix(FUTURE_SUFFIX)?.rsplit_once('.')?;
    if uuid.is_empty() {
        return None;
    }
    checkpoint::parse_directory_name(log)
}

/// How far the log that is copied reaches: what of a copy is beyond it is not part of it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyBounds {
    pub log_start: Offset,
    pub valid_end: Offset,
}

impl PartitionLog {
    pub(super) fn is_future(&self) -> bool {
        let name = self.directory().file_name();
        name.is_some_and(|name| name.to_string_lossy().ends_with(FUTURE_SUFFIX))
    }

    /// What a copy that ends at `end`, with a last batch of `epoch`, has to be cut to.
    pub fn copy_bounds(&self, end: Offset, epoch: Option<LeaderEpoch>) -> CopyBounds {
        let of_epoch = epoch.and_then(|epoch| self.end_offset_for_epoch(epoch));
        let valid_end = of_epoch.map_or(self.log_end, |(_, end)| end.min(self.log_end));
        CopyBounds {
            log_start: self.log_start,
            valid_end: valid_end.min(end),
        }
    }

    /// Cuts a copy to what is still in the log that is copied.
    pub fn keep_to(&mut self, bounds: CopyBounds) -> io::Result<()> {
        if bounds.log_start > self.log_end {
            return self.truncate_fully_and_start_at(bounds.log_start);
        }
        self.truncate_to(bounds.valid_end)?;
        self.delete_records_before(bounds.log_start)
    }

    /// Appends whole batches of the log that is copied. The first of all may begin before the log start, in
    /// its middle DeleteRecords has cut.
    pub fn append_copied(&mut self, records: &[u8], now: TimestampMs) -> Result<(), AppendError> {
        let start = self.log_start;
        let first = BatchHeader::parse(records)?.base_offset;
        if self.log_end == start && first < start {
            self.truncate_fully_and_start_at(first)?;
        }
        // The log's own epochs are not doubted.
        self.append_as_follower(records, LeaderEpoch(i32::MAX), now)?;
        self.delete_records_before(start)?;
        Ok(())
    }

    /// A copy that is complete takes over what is known besides the batches: epochs without records, and
    /// producers whose batches are gone.
    pub fn take_state_of(&mut self, log: &PartitionLog) -> io::Result<()> {
        self.epochs = log.epochs.clone();
        self.epochs.truncate_from_start(self.log_start);
        self.epochs_dirty = true;
        self.producers = log.producers.clone();
        self.set_cleaner_checkpoint(log.cleaner_checkpoint());
        self.snapshot_offset = None;
        if let Some(snapshot) = self.write_producer_snapshot()? {
            self.unsynced.push(snapshot);
        }
        Ok(())
    }
}

impl LogManager {
    /// An empty copy of a log in another directory. The log itself is on disk from here on: it must not be taken for
    /// lost because only its copy is found.
    pub fn create_future(&self, log: &mut PartitionLog, dir: &LogDir) -> io::Result<PartitionLog> {
        log.ensure_made()?;
        self.storage().sync_dir(log.directory())?;
        self.storage().sync_dir(log.parent_directory())?;
        let name = directory_name(log.topic_partition(), FUTURE_SUFFIX);
        let mut future = recovery::unmade(
            std::sync::Arc::clone(self.storage()),
            &dir.path().join(name),
            log.topic_partition().clone(),
            log.topic_id(),
            log.config().clone(),
        );
        future.ensure_made()?;
        future.truncate_fully_and_start_at(log.log_start_offset())?;
        dir.log_added();
        Ok(future)
    }

    /// The copy gets the log's name, in its own directory.
    pub fn promote(&self, future: &mut PartitionLog) -> io::Result<()> {
        let to = future
            .parent_directory()
            .join(future.topic_partition().to_string());
        self.storage().rename(future.directory(), &to)?;
        future.moved_to(to);
        Ok(())
    }

    /// What `promote` has done is on disk: now the old log may go.
    pub fn finish_promotion(
        &self,
        dir: &LogDir,
        old: &mut PartitionLog,
        now: TimestampMs,
    ) -> io::Result<()> {
        self.storage().sync_dir(dir.path())?;
        let old_dir = old.parent_directory().to_owned();
        self.delete(old, now)?;
        self.storage().sync_dir(&old_dir)
    }
}

#[cfg(test)]
#[path = "future_log_tests.rs"]
mod tests;
