//! A batch made anew from another one's records while that is walked: in another compression, numbered from 0.
//!
//! Keys, values and headers go from the one payload to the other as they come, so that no record is ever whole in
//! memory. What is kept of the head: producer and sequence, and whether the batch is transactional; the other bits
//! are gone, as they are in Kafka.

use crate::protocol::compression::CodecLevel;
use crate::protocol::compressor::Compressor;
use crate::protocol::record_batch::{
    BatchError, BatchFlags, BatchHeader, HEADER_BYTES, LOG_OVERHEAD, TimestampType, compute_crc,
};
use crate::protocol::record_walk::RecordHead;
use crate::protocol::varint;
use crate::types::TimestampMs;

/// Takes the records of `header`'s batch.
#[derive(Debug)]
pub struct RebuiltBatch {
    header: BatchHeader,
    codec: CodecLevel,
    /// `None` once it is too large to be kept, or has failed.
    out: Option<Compressor>,
    max_bytes: usize,
    /// A record with a time before 1970, which is not written again.
    negative_time: Option<TimestampMs>,
    too_large: Option<usize>,
    scratch: Vec<u8>,
}

/// Why there is no new batch, though the old one is sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RebuildError {
    Invalid(BatchError),
    /// Of so many bytes at least.
    TooLarge(usize),
}

impl RebuiltBatch {
    pub fn new(header: &BatchHeader, codec: CodecLevel, max_bytes: usize) -> Self {
        let mut batch = Self {
            header: BatchHeader {
                records_count: 0,
                last_offset_delta: -1,
                max_timestamp: TimestampMs::NONE,
                ..*header
            },
            codec,
            out: None,
            max_bytes,
            negative_time: None,
            too_large: None,
            scratch: Vec::new(),
        };
        batch.out = Compressor::new(codec, vec![0; HEADER_BYTES]).ok();
        batch
    }

    /// A record's head, its time being what the old batch makes of it.
    pub fn head(&mut self, head: RecordHead, timestamp: TimestampMs) {
        if timestamp.0 < 0 && timestamp != TimestampMs::NONE {
            self.negative_time = self.negative_time.or(Some(timestamp));
        }
        let header = &mut self.header;
        if header.records_count == 0 {
            header.base_timestamp = timestamp;
        }
        header.max_timestamp = header.max_timestamp.max(timestamp);
        header.last_offset_delta = header.records_count;
        header.records_count += 1;

        let delta = timestamp.0.wrapping_sub(header.base_timestamp.0);
        let front = 1 + varint::size_i64(delta) + varint::size_i32(header.last_offset_delta);
        self.scratch.clear();
        varint::write_i32(&mut self.scratch, (front + head.rest_bytes) as i32);
        self.scratch.push(0);
        varint::write_i64(&mut self.scratch, delta);
        varint::write_i32(&mut self.scratch, header.last_offset_delta);
        if let Some(out) = &mut self.out
            && out.write(&self.scratch).is_err()
        {
            self.out = None;
        }
    }

    /// What follows the head.
    pub fn rest(&mut self, bytes: &[u8]) {
        let Some(out) = &mut self.out else {
            return;
        };
        if out.write(bytes).is_err() {
            self.out = None;
        } else if out.written() > self.max_bytes {
            self.too_large = Some(out.written());
            self.out = None;
        }
    }

    /// The batch, stamped by the producers.
    pub fn build(self) -> Result<Vec<u8>, RebuildError> {
        if let Some(time) = self.negative_time {
            return Err(RebuildError::Invalid(BatchError::NegativeTimestamp(time)));
        }
        if let Some(size) = self.too_large {
            return Err(RebuildError::TooLarge(size));
        }
        let failed = || RebuildError::Invalid(BatchError::CannotCompress(self.codec.codec));
        let out = self.out.ok_or_else(failed)?;
        let mut out = out.finish().map_err(|_| failed())?;
        if out.len() > self.max_bytes {
            return Err(RebuildError::TooLarge(out.len()));
        }
        let mut header = self.header;
        let flags = BatchFlags {
            transactional: header.is_transactional(),
            ..BatchFlags::default()
        };
        header.attributes =
            BatchHeader::attributes_of(self.codec.codec, TimestampType::CreateTime, flags);
        header.batch_length = (out.len() - LOG_OVERHEAD) as i32;
        for with_crc in [false, true] {
            if with_crc {
                header.crc = compute_crc(&out).unwrap_or_default();
            }
            if let Some(head) = out.first_chunk_mut::<HEADER_BYTES>() {
                *head = header.to_bytes();
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
#[path = "rebuilt_batch_tests.rs"]
mod tests;
