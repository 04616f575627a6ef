//! Appending what clients and coordinators send: offsets are given here.
//!
//! A batch is checked, then written with one positioned write, then recorded; a write that failed changes
//! nothing that is seen. The bytes are the producer's own but for the first sixteen.

use std::io::{self, IoSlice};
use std::sync::Arc;

use super::append::{AppendError, AppendInfo, AppendOrigin};
use super::log_validator::{Validated, validate};
use super::partition_log::{PartitionLog, RECENT_BATCHES, RecentBatch};
use super::producer_state_manager::Checked;
use crate::protocol::record_batch::{BatchHeader, stored_prefix};
use crate::types::{LeaderEpoch, Offset, TimestampMs};

impl PartitionLog {
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
        self.write_batch(&batch, epoch, last_offset, now)?;
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

    fn write_batch(
        &mut self,
        batch: &Validated<'_>,
        epoch: LeaderEpoch,
        last_offset: Offset,
        now: TimestampMs,
    ) -> io::Result<()> {
        if self.must_roll(&batch.header, 0, last_offset, now)? {
            self.roll()?;
        }
        let base_offset = self.log_end;
        let prefix = stored_prefix(&batch.bytes, base_offset, epoch);
        let rest = batch.bytes.get(prefix.len()..).unwrap_or_default();
        self.write_at_end(&mut [IoSlice::new(&prefix), IoSlice::new(rest)])?;
        self.record(&batch.header, base_offset, last_offset);
        Ok(())
    }

    /// One write behind the last batch. It is part of the log once it is recorded.
    pub(super) fn write_at_end(&mut self, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        let storage = Arc::clone(&self.storage);
        let active = self.active_mut()?;
        let Err(error) = active.write(&*storage, slices) else {
            return Ok(());
        };
        // Whatever of it reached the file lies behind the end and is overwritten, or cut off at a
        // start; trying to cut it now may fail as the write did.
        let end = u64::from(active.size());
        let file = active.file(&*storage);
        let _ = file.and_then(|file| file.truncate(end));
        Err(error)
    }

    /// A batch that was written is part of the log now.
    pub(super) fn record(&mut self, batch: &BatchHeader, base_offset: Offset, last_offset: Offset) {
        let interval = self.config.index_interval_bytes;
        let size = u32::try_from(batch.size_in_bytes()).unwrap_or(u32::MAX);
        let Some(active) = self.segments.last_mut() else {
            return;
        };
        let position = active.size();
        active.record(last_offset, batch.max_timestamp, size, interval);
        if self.recent.len() == RECENT_BATCHES {
            self.recent.pop_front();
        }
        self.recent.push_back(RecentBatch {
            base_offset,
            last_offset,
            position,
            size,
        });
        self.producers.update(batch, last_offset);
        self.log_end = last_offset.plus(1);
    }
}
