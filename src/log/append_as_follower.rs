//! Appending what a leader sent: offsets and epochs are in the batches already, and stay.

use std::io::{self, IoSlice};

use super::append::{AppendError, AppendInfo};
use super::partition_log::PartitionLog;
use crate::protocol::record_batch::{BatchError, BatchHeader, Batches, ensure_crc};
use crate::types::{LeaderEpoch, Offset, TimestampMs};

/// The batches that are checked and not yet written.
#[derive(Debug, Default)]
struct Pending {
    batches: Vec<BatchHeader>,
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
        let Some((first, last)) = batches.first().zip(batches.last()) else {
            return Ok(None);
        };
        let info = AppendInfo {
            first_offset: first.base_offset,
            last_offset: last.last_offset(),
            max_timestamp: batches
                .iter()
                .map(|batch| batch.max_timestamp)
                .max()
                .unwrap_or_default(),
            log_append_time: None,
            log_start_offset: self.log_start,
            records: batches
                .iter()
                .map(|batch| usize::try_from(batch.records_count).unwrap_or(0))
                .sum(),
            bytes: batches.iter().map(BatchHeader::size_in_bytes).sum(),
            duplicate: false,
        };
        let mut pending = Pending::default();
        for batch in batches {
            let pending_bytes = u32::try_from(pending.len).unwrap_or(u32::MAX);
            if self.must_roll(&batch, pending_bytes, batch.last_offset(), now)? {
                self.write_pending(records, &mut pending)?;
                self.roll_to(batch.base_offset)?;
            }
            pending.len += batch.size_in_bytes();
            pending.batches.push(batch);
        }
        self.write_pending(records, &mut pending)?;
        Ok(Some(info))
    }

    fn check_leaders_batches(
        &self,
        records: &[u8],
        epoch: LeaderEpoch,
    ) -> Result<Vec<BatchHeader>, AppendError> {
        let mut found: Vec<BatchHeader> = Vec::new();
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
            let next = found.last().map_or(self.log_end, BatchHeader::next_offset);
            if header.base_offset < next || header.last_offset_delta < 0 {
                return Err(AppendError::UnexpectedOffset {
                    partition: self.topic_partition.to_string(),
                    found: header.base_offset,
                    log_end: next,
                });
            }
            found.push(header);
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
        for batch in pending.batches.drain(..) {
            self.assign_epoch_start(batch.leader_epoch, batch.base_offset);
            self.record(&batch, batch.base_offset, batch.last_offset());
        }
        Ok(())
    }

    /// Rolls to where the next batch begins: a leader's log may have holes where it was compacted.
    fn roll_to(&mut self, base_offset: Offset) -> io::Result<()> {
        let end = self.log_end;
        self.log_end = base_offset.max(end);
        let rolled = self.roll();
        if rolled.is_err() {
            self.log_end = end;
        }
        rolled
    }
}
