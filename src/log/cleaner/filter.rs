//! What compaction keeps of one batch: bytes in, bytes out.
//!
//! Behaviour is Kafka's `Cleaner` over `MemoryRecords.filterTo`. A record stays when no later one has its key; one
//! without a value (a tombstone), or the marker of a transaction without data, stays until the batch's delete
//! horizon, which the first cleaning that meets it writes into the batch (KIP-534: a bit of the attributes, the time
//! in place of the base timestamp). The last batch of a producer, and one that ends at the high watermark, stay if
//! only as an empty head: sequence numbers and the log's end hang on them. Whatever stays keeps its offset, and the
//! batch its first and last offset, sequence, codec and timestamp type; records are copied byte for byte.
//! Pure: no files, no clock.

use std::collections::HashMap;

use super::offset_map::OffsetMap;
use super::raw_record::{self, RawRecord};
use crate::protocol::compression::{Compression, DecompressError, compress, decompress_into};
use crate::protocol::record_batch::{
    BatchError, BatchFlags, BatchHeader, HEADER_BYTES, LOG_OVERHEAD, TimestampType, compute_crc,
    ensure_crc,
};
use crate::types::{Offset, ProducerEpoch, ProducerId, TimestampMs};

/// The last that is known of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRecord {
    /// `None`: known only by a marker.
    pub last_data_offset: Option<Offset>,
    pub epoch: ProducerEpoch,
}

/// What every batch of a cleaning is judged by.
#[derive(Debug)]
pub(super) struct FilterRules<'a> {
    pub(super) map: &'a OffsetMap,
    pub(super) last_records: &'a HashMap<ProducerId, LastRecord>,
    pub(super) high_watermark: Offset,
    pub(super) now: TimestampMs,
    pub(super) delete_retention_ms: i64,
    pub(super) max_decompressed_bytes: usize,
    /// A batch that nobody looked into is before these: what they delete may be in it.
    pub(super) tombstones_stay: bool,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Filtered {
    /// The batch as it was written; `None` when nothing of it was.
    pub(super) header: Option<BatchHeader>,
    pub(super) records_read: u64,
    pub(super) records_kept: u64,
    /// Records without a key, which no compacted log should have: they go.
    pub(super) keyless: u64,
    /// It becomes more than is decompressed, and stays as it is.
    pub(super) is_oversized: bool,
}

/// Buffers that are used for one batch after another.
#[derive(Debug, Default)]
pub(super) struct BatchFilter {
    pub(super) plain: Vec<u8>,
    kept: Vec<Kept>,
    written: Vec<u8>,
}

/// A record that stays: where its bytes are, and its delta.
#[derive(Debug, Clone, Copy)]
struct Kept {
    start: usize,
    end: usize,
    timestamp_delta: i64,
}

impl BatchFilter {
    /// Appends to `out` what stays of a batch. `may_discard`: aborted data, or a marker of a transaction without
    /// data.
    pub(super) fn filter(
        &mut self,
        rules: &FilterRules<'_>,
        (header, batch): (&BatchHeader, &[u8]),
        may_discard: bool,
        out: &mut Vec<u8>,
    ) -> Result<Filtered, BatchError> {
        ensure_crc(batch)?;
        let mut found = Filtered {
            records_read: u64::try_from(header.records_count).unwrap_or(0),
            ..Filtered::default()
        };
        let past_horizon = header.delete_horizon().is_some_and(|at| at <= rules.now);
        let mut tombstones = false;
        let mut plain = std::mem::take(&mut self.plain);
        self.kept.clear();
        let mut records: &[u8] = &[];
        if !may_discard || (header.is_control() && !past_horizon) {
            let looked = records_of(header, batch, rules.max_decompressed_bytes, &mut plain);
            let Some(within) = unless_oversized(looked)? else {
                out.extend_from_slice(batch);
                self.plain = plain;
                return Ok(Filtered {
                    header: Some(*header),
                    records_kept: found.records_read,
                    is_oversized: true,
                    ..found
                });
            };
            records = within;
            tombstones = self.select(rules, header, records, &mut found)?;
        }
        found.records_kept = self.kept.len() as u64;
        let marker_of_nothing = header.is_control() && may_discard;
        let sets_horizon = (tombstones || marker_of_nothing) && header.delete_horizon().is_none();
        if self.kept.is_empty() {
            if rules.needs_head(header) {
                found.header = Some(write_empty(header, out)?);
            }
        } else if found.records_kept == found.records_read && !sets_horizon {
            out.extend_from_slice(batch);
            found.header = Some(*header);
        } else {
            let horizon = if sets_horizon {
                let at = rules.now.0.saturating_add(rules.delete_retention_ms);
                Some(TimestampMs(at))
            } else {
                header.delete_horizon()
            };
            found.header = Some(self.rewrite(header, records, horizon, out)?);
        }
        self.plain = plain;
        Ok(found)
    }

    /// Fills `kept`; whether a tombstone is among them.
    fn select(
        &mut self,
        rules: &FilterRules<'_>,
        header: &BatchHeader,
        records: &[u8],
        found: &mut Filtered,
    ) -> Result<bool, BatchError> {
        let mut rest = records;
        let mut tombstones = false;
        for _ in 0..header.records_count {
            let start = records.len() - rest.len();
            let record = raw_record::next(&mut rest)?;
            if header.is_control() || rules.retains(header, &record, found) {
                tombstones |= !record.has_value;
                self.kept.push(Kept {
                    start,
                    end: records.len() - rest.len(),
                    timestamp_delta: record.timestamp_delta,
                });
            }
        }
        Ok(tombstones)
    }

    /// Writes the batch anew with what is kept.
    fn rewrite(
        &mut self,
        header: &BatchHeader,
        records: &[u8],
        horizon: Option<TimestampMs>,
        out: &mut Vec<u8>,
    ) -> Result<BatchHeader, BatchError> {
        let stamped = header.timestamp_type() == TimestampType::LogAppendTime;
        let timestamp = |kept: &Kept| {
            if stamped {
                header.max_timestamp.0
            } else {
                header.base_timestamp.0.wrapping_add(kept.timestamp_delta)
            }
        };
        let first = self.kept.first().map_or(header.base_timestamp.0, timestamp);
        let base = horizon.map_or(first, |horizon| horizon.0);
        let mut max = TimestampMs::NONE;
        self.written.clear();
        for kept in &self.kept {
            let timestamp = timestamp(kept);
            max = max.max(TimestampMs(timestamp));
            let mut bytes = records.get(kept.start..kept.end).unwrap_or_default();
            let record = raw_record::next(&mut bytes)?;
            record.write(timestamp.wrapping_sub(base), &mut self.written);
        }
        let mut rewritten = *header;
        rewritten.base_timestamp = TimestampMs(base);
        rewritten.set_delete_horizon_flag(horizon.is_some());
        if !stamped {
            rewritten.max_timestamp = max;
        }
        rewritten.records_count = i32::try_from(self.kept.len()).unwrap_or(i32::MAX);
        let start = out.len();
        out.resize(start + HEADER_BYTES, 0);
        compress(header.compression()?, &self.written, out)
            .map_err(|error| BatchError::Invalid(format!("cannot be compressed: {error}")))?;
        seal(&mut rewritten, out, start)?;
        Ok(rewritten)
    }
}

impl FilterRules<'_> {
    /// Whether a batch without records stays as a head: the last of its producer, or the last below the high
    /// watermark.
    fn needs_head(&self, header: &BatchHeader) -> bool {
        if header.next_offset() == self.high_watermark {
            return true;
        }
        let last = header
            .has_producer_id()
            .then(|| self.last_records.get(&header.producer_id));
        last.flatten()
            .is_some_and(|last| match last.last_data_offset {
                Some(offset) => header.last_offset() == offset,
                None => header.is_control() && header.producer_epoch == last.epoch,
            })
    }

    fn retains(&self, header: &BatchHeader, record: &RawRecord<'_>, found: &mut Filtered) -> bool {
        let offset = header.base_offset.plus(i64::from(record.offset_delta));
        if offset > self.map.latest() {
            return true;
        }
        let Some(key) = record.key else {
            found.keyless += 1;
            return false;
        };
        if self.map.get(key).is_some_and(|latest| offset < latest) {
            return false;
        }
        record.has_value
            || self.tombstones_stay
            || header.delete_horizon().is_none_or(|at| self.now < at)
    }
}

/// `None` of a batch that becomes more than is decompressed.
pub(super) fn unless_oversized(
    records: Result<&[u8], BatchError>,
) -> Result<Option<&[u8]>, BatchError> {
    match records {
        Ok(records) => Ok(Some(records)),
        Err(BatchError::Decompress(DecompressError::TooLarge { .. })) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The records of a batch, decompressed into `plain` where they are compressed.
pub(super) fn records_of<'a>(
    header: &BatchHeader,
    batch: &'a [u8],
    max_decompressed_bytes: usize,
    plain: &'a mut Vec<u8>,
) -> Result<&'a [u8], BatchError> {
    let bytes = batch.get(HEADER_BYTES..).unwrap_or_default();
    match header.compression()? {
        Compression::None => Ok(bytes),
        codec => {
            decompress_into(codec, bytes, max_decompressed_bytes, plain)?;
            Ok(plain)
        }
    }
}

/// A head without records, as Kafka writes it.
fn write_empty(header: &BatchHeader, out: &mut Vec<u8>) -> Result<BatchHeader, BatchError> {
    let mut empty = *header;
    empty.attributes = BatchHeader::attributes_of(
        Compression::None,
        header.timestamp_type(),
        BatchFlags {
            transactional: header.is_transactional(),
            control: header.is_control(),
            delete_horizon: false,
        },
    );
    empty.base_timestamp = TimestampMs::NONE;
    empty.records_count = 0;
    let start = out.len();
    out.resize(start + HEADER_BYTES, 0);
    seal(&mut empty, out, start)?;
    Ok(empty)
}

/// Writes the head before what stands in `out` behind it: length and CRC.
fn seal(header: &mut BatchHeader, out: &mut [u8], start: usize) -> Result<(), BatchError> {
    let batch = out.get_mut(start..).unwrap_or_default();
    header.batch_length = i32::try_from(batch.len().saturating_sub(LOG_OVERHEAD))
        .map_err(|_| BatchError::invalid("a batch has grown too large"))?;
    for with_crc in [false, true] {
        if with_crc {
            header.crc = compute_crc(batch).unwrap_or_default();
        }
        if let Some(head) = batch.first_chunk_mut::<HEADER_BYTES>() {
            *head = header.to_bytes();
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
