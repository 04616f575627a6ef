//! Appending what clients and coordinators send: offsets are given here.
//!
//! A batch is checked, then written with one positioned write, then recorded; a write that failed changes
//! nothing that is seen. The bytes are the producer's own but for the first sixteen.

use std::io::{self, IoSlice};
use std::sync::Arc;

use super::append::{AppendError, AppendInfo, AppendOrigin};
use super::log_validator::{Validated, validate};
use super::partition_log::{PartitionLog, RECENT_BATCHES, RecentBatch};
use super::producer_state_manager::{Checked, ProducerBatch};
use crate::protocol::end_txn_marker::EndTxnMarker;
use crate::protocol::record_batch::{BatchError, BatchHeader, stored_prefix};
use crate::types::{LeaderEpoch, TimestampMs};

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
        let marker = marker_of(&batch.header, &batch.bytes)?;
        if batch.header.has_producer_id()
            && let Checked::Duplicate(known) =
                self.producers.check(&batch.header, marker, origin)?
        {
            return Ok(AppendInfo {
                first_offset: known.first_offset(),
                last_offset: known.last_offset,
                max_timestamp: known.timestamp,
                // As Kafka, whichever time it is.
                log_append_time: Some(known.timestamp),
                log_start_offset: self.log_start,
                records: 0,
                bytes: 0,
                duplicate: true,
            });
        }
        let first_offset = self.log_end;
        let last_offset = first_offset.plus(i64::from(batch.header.last_offset_delta));
        self.assign_epoch_start(epoch, first_offset);
        self.write_batch(&batch, marker, epoch, now)?;
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
        marker: Option<EndTxnMarker>,
        epoch: LeaderEpoch,
        now: TimestampMs,
    ) -> io::Result<()> {
        let base_offset = self.log_end;
        let last_offset = base_offset.plus(i64::from(batch.header.last_offset_delta));
        if self.must_roll(&batch.header, 0, last_offset, now)? {
            self.roll()?;
        }
        let prefix = stored_prefix(&batch.bytes, base_offset, epoch);
        let rest = batch.bytes.get(prefix.len()..).unwrap_or_default();
        self.write_at_end(&mut [IoSlice::new(&prefix), IoSlice::new(rest)])?;
        self.record(&ProducerBatch {
            header: &batch.header,
            base_offset,
            last_offset,
            marker,
        })
    }

    /// One write behind the last batch. It is part of the log once it is recorded.
    pub(super) fn write_at_end(&mut self, slices: &mut [IoSlice<'_>]) -> io::Result<()> {
        self.ensure_made()?;
        let storage = Arc::clone(&self.storage);
        let reserve = self.config.preallocate.then_some(self.config.segment_bytes);
        let active = self.active_mut()?;
        if let Some(bytes) = reserve.filter(|_| active.size() == 0) {
            active.file(&*storage)?.reserve(u64::from(bytes))?;
        }
        let written = active.write(&*storage, slices);
        if written.is_err() {
            self.cut_unrecorded();
        }
        written
    }

    /// What reached the file behind the last batch is overwritten, or cut off at a start; trying to cut it now
    /// may fail as the write did.
    fn cut_unrecorded(&self) {
        if let Ok(active) = self.active() {
            let end = u64::from(active.size());
            let file = active.file(&*self.storage);
            let _ = file.and_then(|file| file.truncate(end));
        }
    }

    /// A batch that was written is part of the log now. It is not when its transaction cannot be put down as
    /// aborted: readers would take it for committed.
    pub(super) fn record(&mut self, batch: &ProducerBatch<'_>) -> io::Result<()> {
        let interval = self.config.index_interval_bytes;
        let size = u32::try_from(batch.header.size_in_bytes()).unwrap_or(u32::MAX);
        let aborted = self.producers.aborted_by(batch);
        let storage = Arc::clone(&self.storage);
        let active = self.active_mut()?;
        if let Some(aborted) = aborted
            && let Err(error) = active.record_aborted(&*storage, aborted)
        {
            self.cut_unrecorded();
            return Err(error);
        }
        let position = active.size();
        active.record(
            batch.last_offset,
            batch.header.max_timestamp,
            size,
            interval,
        );
        if self.recent.len() == RECENT_BATCHES {
            self.recent.pop_front();
        }
        self.recent.push_back(RecentBatch {
            base_offset: batch.base_offset,
            last_offset: batch.last_offset,
            position,
            size,
        });
        self.producers.update(batch);
        self.log_end = batch.last_offset.plus(1);
        Ok(())
    }
}

/// What a control batch says of a transaction.
pub(super) fn marker_of(
    header: &BatchHeader,
    batch: &[u8],
) -> Result<Option<EndTxnMarker>, BatchError> {
    if !header.is_control() || !header.has_producer_id() {
        return Ok(None);
    }
    EndTxnMarker::of_batch(batch)
}
