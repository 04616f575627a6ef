//! Appending what a leader sent: offsets and epochs are in the batches already, and stay.

use std::io::{self, IoSlice};

use super::append::{AppendError, AppendInfo};
use super::append_as_leader::marker_of;
use super::log_segment::LARGEST_RELATIVE_OFFSET;
use super::partition_log::PartitionLog;
use super::producer_state_manager::ProducerBatch;
use crate::protocol::end_txn_marker::EndTxnMarker;
use crate::protocol::record_batch::{BatchError, BatchHeader, Batches, ensure_crc};
use crate::types::{LeaderEpoch, TimestampMs};

/// A batch of the leader's, and what it says of a transaction.
type LeadersBatch = (BatchHeader, Option<EndTxnMarker>);

/// The batches that are checked and not yet written.
#[derive(Debug, Default)]
struct Pending {
    batches: Vec<LeadersBatch>,
    from: usize,
    len: usize,
}

impl PartitionLog {
    /// Appends whole batches as they are; a batch cut off at the end is left out, and so is what comes from
    /// a later epoch than the replica knows (`None` when nothing is left). All of it is checked before any of
    /// it is written. Producers are not doubted: the leader has done that.
    pub fn append_as_follower(
        &mut self,
        records: &[u8],
        epoch: LeaderEpoch,
        now: TimestampMs,
    ) -> Result<Option<AppendInfo>, AppendError> {
        let batches = self.check_leaders_batches(records, epoch)?;
        let headers = || batches.iter().map(|(header, _)| header);
        let Some((first, last)) = headers().next().zip(headers().next_back()) else {
            return Ok(None);
        };
        let info = AppendInfo {
            first_offset: first.base_offset,
            last_offset: last.last_offset(),
            max_timestamp: headers()
                .map(|batch| batch.max_timestamp)
                .max()
                .unwrap_or_default(),
            log_append_time: None,
            log_start_offset: self.log_start,
            records: headers()
                .map(|batch| usize::try_from(batch.records_count).unwrap_or(0))
                .sum(),
            bytes: headers().map(BatchHeader::size_in_bytes).sum(),
            duplicate: false,
        };
        let mut pending = Pending::default();
        for batch in batches {
            let pending_bytes = u32::try_from(pending.len).unwrap_or(u32::MAX);
            let header = &batch.0;
            if self.must_roll(header, pending_bytes, header.last_offset(), now)? {
                self.write_pending(records, &mut pending)?;
                self.roll_for(header)?;
            }
            pending.len += header.size_in_bytes();
            pending.batches.push(batch);
        }
        self.write_pending(records, &mut pending)?;
        Ok(Some(info))
    }

    fn check_leaders_batches(
        &self,
        records: &[u8],
        epoch: LeaderEpoch,
    ) -> Result<Vec<LeadersBatch>, AppendError> {
        let mut found: Vec<LeadersBatch> = Vec::new();
        for batch in Batches::new(records) {
            let (header, bytes) = match batch {
                Ok(batch) => batch,
                Err(BatchError::Truncated { .. }) => break,
                Err(error) => return Err(error.into()),
            };
            ensure_crc(bytes)?;
            if header.leader_epoch > epoch {
                break;
            }
            let next = found
                .last()
                .map_or(self.log_end, |(last, _)| last.next_offset());
            if header.base_offset < next || header.last_offset_delta < 0 {
                return Err(AppendError::UnexpectedOffset {
                    partition: self.topic_partition.to_string(),
                    found: header.base_offset,
                    log_end: next,
                });
            }
            found.push((header, marker_of(&header, bytes)?));
        }
        Ok(found)
    }

    fn write_pending(&mut self, records: &[u8], pending: &mut Pending) -> io::Result<()> {
        let to = pending.from + pending.len;
        let bytes = records.get(pending.from..to).unwrap_or_default();
        if !bytes.is_empty() {
            self.write_at_end(&mut [IoSlice::new(bytes)])?;
        }
        pending.from = to;
        pending.len = 0;
        for (header, marker) in pending.batches.drain(..) {
            self.assign_epoch_start(header.leader_epoch, header.base_offset);
            self.record(&ProducerBatch {
                header: &header,
                base_offset: header.base_offset,
                last_offset: header.last_offset(),
                marker,
            })?;
        }
        Ok(())
    }

    /// A leader's log may have holes where it was compacted. The new segment begins before the hole where it can: one
    /// between two segments looks like a lost end after a crash.
    fn roll_for(&mut self, batch: &BatchHeader) -> io::Result<()> {
        if batch.last_offset().0.saturating_sub(self.log_end.0) <= LARGEST_RELATIVE_OFFSET {
            return self.roll();
        }
        let end = self.log_end;
        self.log_end = batch.base_offset.max(end);
        let rolled = self.roll();
        if rolled.is_err() {
            self.log_end = end;
        }
        rolled
    }
}
