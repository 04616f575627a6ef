//! Builds v2 record batches: what the broker writes itself (offsets, transaction state, markers,
//! compacted batches) and what tests send.

use crate::protocol::compression::{Compression, compress};
use crate::protocol::record::Header;
use crate::protocol::record_batch::{
    BatchFlags, BatchHeader, HEADER_BYTES, LOG_OVERHEAD, MAGIC, NO_SEQUENCE, TimestampType,
    compute_crc,
};
use crate::protocol::varint;
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

/// Collects records and writes them as one batch.
///
/// Offsets count up from the base offset unless [`BatchBuilder::append_at`] says otherwise.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    header: BatchHeader,
    compression: Compression,
    log_append_time: Option<TimestampMs>,
    flags: BatchFlags,
    records: Vec<u8>,
    scratch: Vec<u8>,
}

impl BatchBuilder {
    pub fn new(base_offset: Offset, compression: Compression) -> Self {
        BatchBuilder {
            header: BatchHeader {
                base_offset,
                batch_length: 0,
                leader_epoch: LeaderEpoch::UNKNOWN,
                magic: MAGIC,
                crc: 0,
                attributes: 0,
                last_offset_delta: -1,
                base_timestamp: TimestampMs::NONE,
                max_timestamp: TimestampMs::NONE,
                producer_id: ProducerId::NONE,
                producer_epoch: ProducerEpoch::NONE,
                base_sequence: NO_SEQUENCE,
                records_count: 0,
            },
            compression,
            log_append_time: None,
            flags: BatchFlags::default(),
            records: Vec::new(),
            scratch: Vec::new(),
        }
    }

    pub fn leader_epoch(mut self, epoch: LeaderEpoch) -> Self {
        self.header.leader_epoch = epoch;
        self
    }

    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) -> Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    pub fn transactional(mut self, transactional: bool) -> Self {
        self.flags.transactional = transactional;
        self
    }

    /// A batch of control records (transaction markers).
    pub fn control(mut self, control: bool) -> Self {
        self.flags.control = control;
        self
    }

    /// Marks the batch as stamped by the broker: every record of it has this timestamp.
    pub fn log_append_time(mut self, timestamp: TimestampMs) -> Self {
        self.log_append_time = Some(timestamp);
        self
    }

    /// Says when the batch's tombstones may go (KIP-534). Before the first record: it is the base timestamp.
    pub fn delete_horizon(mut self, horizon: TimestampMs) -> Self {
        self.flags.delete_horizon = true;
        self.header.base_timestamp = horizon;
        self
    }

    /// Keeps a last offset whose record is gone, as compaction must.
    pub fn last_offset(mut self, last_offset: Offset) -> Self {
        let delta = (last_offset.0 - self.header.base_offset.0) as i32;
        self.header.last_offset_delta = self.header.last_offset_delta.max(delta);
        self
    }

    pub fn records_count(&self) -> i32 {
        self.header.records_count
    }

    pub fn is_empty(&self) -> bool {
        self.header.records_count == 0
    }

    /// The size of the batch so far, uncompressed.
    pub fn uncompressed_bytes(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    /// Appends a record at the next offset.
    pub fn append(
        &mut self,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> &mut Self {
        let offset = self.header.next_offset();
        self.append_at(offset, timestamp, (key, value), headers)
    }

    /// Appends a record at an offset that is not before the last one's.
    pub fn append_at<'h>(
        &mut self,
        offset: Offset,
        timestamp: TimestampMs,
        (key, value): (Option<&[u8]>, Option<&[u8]>),
        headers: impl IntoIterator<Item = &'h Header<'h>, IntoIter: ExactSizeIterator>,
    ) -> &mut Self {
        if self.is_empty() && !self.flags.delete_horizon {
            self.header.base_timestamp = timestamp;
        }
        let offset_delta = (offset.0 - self.header.base_offset.0) as i32;
        let timestamp_delta = timestamp.0.wrapping_sub(self.header.base_timestamp.0);

        let body = &mut self.scratch;
        body.clear();
        body.push(0);
        varint::write_i64(body, timestamp_delta);
        varint::write_i32(body, offset_delta);
        write_nullable(body, key);
        write_nullable(body, value);
        let headers = headers.into_iter();
        varint::write_i32(body, headers.len() as i32);
        for header in headers {
            write_nullable(body, Some(header.key));
            write_nullable(body, header.value);
        }
        varint::write_i32(&mut self.records, body.len() as i32);
        self.records.extend_from_slice(body);

        self.header.records_count += 1;
        self.header.last_offset_delta = self.header.last_offset_delta.max(offset_delta);
        self.header.max_timestamp = self.header.max_timestamp.max(timestamp);
        self
    }

    /// The batch, with lengths and CRC in place.
    pub fn build(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + self.records.len());
        out.resize(HEADER_BYTES, 0);
        let mut used = self.compression;
        if compress(used, &self.records, &mut out).is_err() {
            // A codec writing to memory has no reason to fail; plain records are always right.
            used = Compression::None;
            out.clear();
            out.resize(HEADER_BYTES, 0);
            out.extend_from_slice(&self.records);
        }
        let mut header = self.header;
        let timestamp_type = match self.log_append_time {
            Some(timestamp) => {
                header.max_timestamp = timestamp;
                TimestampType::LogAppendTime
            }
            None => TimestampType::CreateTime,
        };
        header.attributes = BatchHeader::attributes_of(used, timestamp_type, self.flags);
        header.batch_length = (out.len() - LOG_OVERHEAD) as i32;
        for with_crc in [false, true] {
            if with_crc {
                header.crc = compute_crc(&out).unwrap_or_default();
            }
            if let Some(head) = out.first_chunk_mut::<HEADER_BYTES>() {
                *head = header.to_bytes();
            }
        }
        out
    }
}

fn write_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            varint::write_i32(out, bytes.len() as i32);
            out.extend_from_slice(bytes);
        }
        None => varint::write_i32(out, -1),
    }
}
