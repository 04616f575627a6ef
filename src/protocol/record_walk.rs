//! A walk over the records of a batch that looks at their structure and leaves their contents alone.
//!
//! This is what an appended batch is checked by, so it is made to be cheap: one pass over the length fields, nothing
//! copied, no record ever made. A compressed payload is decompressed in steps and is never whole in memory, whatever
//! it may become.
//!
//! A record is held to its claimed size in every batch, compressed or not: its parts must fill it, no more and no less.

use crate::protocol::compression::Compression;
use crate::protocol::decompressor::Decompressor;
use crate::protocol::record_batch::{BatchError, BatchHeader, HEADER_BYTES};
use crate::protocol::varint;

/// What a batch may become at most: as large as Java's arrays, which no reader in Java goes beyond.
pub const MAX_DECOMPRESSED_BYTES: usize = 2_147_483_639;

/// The longest a varint of 32 bits may be.
const VARINT_BYTES: usize = 5;
/// Attributes, timestamp delta and offset delta.
const HEAD_BYTES: usize = 1 + 10 + VARINT_BYTES;

/// What stands at the front of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHead {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    /// What follows: key, value and headers, with their sizes.
    pub rest_bytes: usize,
}

/// A record without its contents. Negative sizes, all of which mean null, are as they were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordShape {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key_size: i32,
    pub value_size: i32,
}

/// Is told of every record, in order. What it has been told of is void when the walk fails.
pub trait RecordSink {
    fn head(&mut self, _head: RecordHead) {}
    /// The next of the bytes that follow the head.
    fn rest(&mut self, _bytes: &[u8]) {}
    fn record(&mut self, shape: RecordShape);
}

/// Walks one whole batch; its head and CRC have been looked at. A record of a compressed batch whose body is larger than
/// `max_record_bytes` is refused.
pub fn walk_records<S: RecordSink>(
    batch: &[u8],
    header: &BatchHeader,
    max_record_bytes: usize,
    sink: &mut S,
) -> Result<(), BatchError> {
    let payload = batch
        .get(HEADER_BYTES..header.size_in_bytes())
        .ok_or(BatchError::Truncated {
            have: batch.len(),
            need: header.size_in_bytes(),
        })?;
    let count = header.records_count;
    match header.compression()? {
        Compression::None => walk(Plain(payload), count, usize::MAX, sink),
        codec => {
            let source = Decompressor::new(codec, payload, MAX_DECOMPRESSED_BYTES)?;
            walk(source, count, max_record_bytes, sink)
        }
    }
}

/// Bytes in order, not all of which are at hand at once.
trait Source {
    /// What a size that never ends is called here: Kafka tells the two apart.
    const ENDLESS_SIZE: BatchError;

    /// At least so many bytes, unless the end comes first.
    fn peek(&mut self, want: usize) -> Result<&[u8], BatchError>;
    fn consume(&mut self, bytes: usize);
}

struct Plain<'a>(&'a [u8]);

impl Source for Plain<'_> {
    const ENDLESS_SIZE: BatchError = BatchError::EndlessSize;

    fn peek(&mut self, _: usize) -> Result<&[u8], BatchError> {
        Ok(self.0)
    }

    fn consume(&mut self, bytes: usize) {
        self.0 = self.0.get(bytes..).unwrap_or_default();
    }
}

impl Source for Decompressor<'_> {
    const ENDLESS_SIZE: BatchError = BatchError::Structure("a record ends early");

    fn peek(&mut self, want: usize) -> Result<&[u8], BatchError> {
        while self.available().len() < want && self.fill()? {}
        Ok(self.available())
    }

    fn consume(&mut self, bytes: usize) {
        Decompressor::consume(self, bytes);
    }
}

const ENDS_EARLY: BatchError = BatchError::Structure("a record ends early");

fn walk<R: Source, S: RecordSink>(
    source: R,
    count: i32,
    max_record_bytes: usize,
    sink: &mut S,
) -> Result<(), BatchError> {
    if count < 0 {
        return Err(BatchError::Invalid(format!(
            "found invalid record count {count} in magic v2 batch"
        )));
    }
    let mut walker = Walker { source, left: 0 };
    for _ in 0..count {
        walker.record(max_record_bytes, sink)?;
    }
    if count > 0 && !walker.source.peek(1)?.is_empty() {
        return Err(BatchError::Structure(
            "incorrect declared batch size, records still remaining",
        ));
    }
    Ok(())
}

struct Walker<R> {
    source: R,
    /// Of the record.
    left: usize,
}

impl<R: Source> Walker<R> {
    #[inline]
    fn record<S: RecordSink>(
        &mut self,
        max_record_bytes: usize,
        sink: &mut S,
    ) -> Result<(), BatchError> {
        self.left = self.size(max_record_bytes)?;
        let head = self.head()?;
        sink.head(head);
        let key_size = self.nullable(sink)?;
        let value_size = self.nullable(sink)?;
        let headers = self.varint(sink)?;
        if usize::try_from(headers).map_or(true, |headers| headers > self.left) {
            return Err(BatchError::Invalid(format!(
                "found invalid number of record headers {headers}"
            )));
        }
        for _ in 0..headers {
            if self.nullable(sink)? < 0 {
                return Err(BatchError::Structure("invalid negative header key size"));
            }
            self.nullable(sink)?;
        }
        if self.left != 0 {
            return Err(BatchError::Structure(
                "a record's parts do not fill its size",
            ));
        }
        sink.record(RecordShape {
            timestamp_delta: head.timestamp_delta,
            offset_delta: head.offset_delta,
            key_size,
            value_size,
        });
        Ok(())
    }

    #[inline]
    fn size(&mut self, max_record_bytes: usize) -> Result<usize, BatchError> {
        let bytes = self.source.peek(VARINT_BYTES)?;
        let Some((size, read)) = varint::read_i32(bytes) else {
            return Err(if bytes.len() < VARINT_BYTES {
                ENDS_EARLY
            } else {
                R::ENDLESS_SIZE
            });
        };
        self.source.consume(read);
        let size = usize::try_from(size)
            .map_err(|_| BatchError::Invalid(format!("invalid record size: {size}")))?;
        if size > max_record_bytes {
            return Err(BatchError::Invalid(format!(
                "invalid record size: {size} exceeds the configured maximum of {max_record_bytes}"
            )));
        }
        Ok(size)
    }

    #[inline]
    fn head(&mut self) -> Result<RecordHead, BatchError> {
        let bytes = self.source.peek(HEAD_BYTES.min(self.left))?;
        // The attributes of a record mean nothing.
        let bytes = bytes.get(1..self.left.min(bytes.len())).ok_or(ENDS_EARLY)?;
        let (timestamp_delta, first) = varint::read_i64(bytes).ok_or(ENDS_EARLY)?;
        let bytes = bytes.get(first..).unwrap_or_default();
        let (offset_delta, second) = varint::read_i32(bytes).ok_or(ENDS_EARLY)?;
        let read = 1 + first + second;
        self.source.consume(read);
        self.left -= read;
        Ok(RecordHead {
            timestamp_delta,
            offset_delta,
            rest_bytes: self.left,
        })
    }

    #[inline]
    fn varint<S: RecordSink>(&mut self, sink: &mut S) -> Result<i32, BatchError> {
        let bytes = self.source.peek(VARINT_BYTES.min(self.left))?;
        let bytes = bytes.get(..self.left).unwrap_or(bytes);
        let (value, read) = varint::read_i32(bytes).ok_or(ENDS_EARLY)?;
        sink.rest(bytes.get(..read).unwrap_or_default());
        self.source.consume(read);
        self.left -= read;
        Ok(value)
    }

    /// A size and its bytes; any negative size is null and has none.
    #[inline]
    fn nullable<S: RecordSink>(&mut self, sink: &mut S) -> Result<i32, BatchError> {
        let size = self.varint(sink)?;
        let mut ahead = usize::try_from(size).unwrap_or(0);
        if ahead > self.left {
            return Err(ENDS_EARLY);
        }
        self.left -= ahead;
        while ahead > 0 {
            let bytes = self.source.peek(1)?;
            let now = bytes.get(..ahead).unwrap_or(bytes);
            if now.is_empty() {
                return Err(ENDS_EARLY);
            }
            sink.rest(now);
            let now = now.len();
            self.source.consume(now);
            ahead -= now;
        }
        Ok(size)
    }
}

#[cfg(test)]
#[path = "record_walk_tests.rs"]
mod tests;
