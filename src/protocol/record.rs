//! The records of a v2 batch, decoded one by one and without copying.
//!
//! A compressed payload is decompressed as a whole when [`Records`] is made, up to a bound; records are
//! decoded when the iterator comes to them. Any bytes are safe. A record is checked as Kafka's
//! `DefaultRecord` checks it: its parts must fill the size it claims, and the batch must end where its
//! count says.

use std::borrow::Cow;

use crate::protocol::compression::{Compression, decompress};
use crate::protocol::record_batch::{
    BatchError, BatchHeader, HEADER_BYTES, NO_SEQUENCE, increment_sequence,
};
use crate::protocol::varint;
use crate::types::{Offset, TimestampMs};

/// A batch whose payload is at hand.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    header: BatchHeader,
    payload: Cow<'a, [u8]>,
}

impl<'a> Records<'a> {
    /// Takes one batch; its CRC is not looked at. Bytes after the batch are ignored.
    pub fn new(batch: &'a [u8], max_decompressed_bytes: usize) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(batch)?;
        let need = header.size_in_bytes();
        let payload = batch.get(HEADER_BYTES..need).ok_or(BatchError::Truncated {
            have: batch.len(),
            need,
        })?;
        let payload = match header.compression()? {
            Compression::None => Cow::Borrowed(payload),
            codec => Cow::Owned(decompress(codec, payload, max_decompressed_bytes)?),
        };
        Ok(Records { header, payload })
    }

    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// How many bytes the records take uncompressed.
    pub fn decompressed_bytes(&self) -> usize {
        self.payload.len()
    }

    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter {
            header: self.header,
            rest: &self.payload,
            read: 0,
            done: false,
        }
    }
}

impl<'r> IntoIterator for &'r Records<'_> {
    type Item = Result<Record<'r>, BatchError>;
    type IntoIter = RecordIter<'r>;

    fn into_iter(self) -> RecordIter<'r> {
        self.iter()
    }
}

/// One record; keys, values and headers point into the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub offset: Offset,
    pub timestamp: TimestampMs,
    /// The producer's sequence number, or [`NO_SEQUENCE`].
    pub sequence: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
    /// The record's own size, its length field included.
    pub size_in_bytes: usize,
}

/// A record's headers in their order, repeated keys and all; already checked, so reading cannot fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Headers<'a> {
    count: usize,
    rest: &'a [u8],
}

/// A header: a key, which clients take for UTF-8, and a value that may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.count = self.count.checked_sub(1)?;
        let mut reader = Reader(self.rest);
        let header = reader.header().ok()?;
        self.rest = reader.0;
        Some(header)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// Decodes the records of a batch in order; after an error there is nothing more.
#[derive(Debug, Clone)]
pub struct RecordIter<'a> {
    header: BatchHeader,
    rest: &'a [u8],
    read: i32,
    done: bool,
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let item = self.step();
        self.done = !matches!(item, Some(Ok(_)));
        item
    }
}

impl<'a> RecordIter<'a> {
    fn step(&mut self) -> Option<Result<Record<'a>, BatchError>> {
        let count = self.header.records_count;
        if count < 0 {
            let reason = format!("found invalid record count {count} in magic v2 batch");
            return Some(Err(BatchError::Invalid(reason)));
        }
        if self.read == count {
            return match self.rest {
                [] => None,
                // Kafka does not look at what an empty batch carries.
                _ if count == 0 => None,
                _ => Some(Err(BatchError::invalid(
                    "incorrect declared batch size, records still remaining",
                ))),
            };
        }
        self.read += 1;
        Some(self.record())
    }

    fn record(&mut self) -> Result<Record<'a>, BatchError> {
        let mut outer = Reader(self.rest);
        let size = outer.varint()?;
        let size = usize::try_from(size)
            .map_err(|_| BatchError::Invalid(format!("invalid record size: {size}")))?;
        let body = outer.take(size)?;
        let size_in_bytes = self.rest.len() - outer.0.len();
        self.rest = outer.0;

        let mut reader = Reader(body);
        reader.take(1)?; // the record's attributes: unused
        let timestamp_delta = reader.varlong()?;
        let offset_delta = reader.varint()?;
        let key = reader.nullable()?;
        let value = reader.nullable()?;
        let count = reader.varint()?;
        let count = usize::try_from(count)
            .ok()
            .filter(|count| *count <= reader.0.len())
            .ok_or_else(|| {
                BatchError::Invalid(format!("found invalid number of record headers {count}"))
            })?;
        let headers = Headers {
            count,
            rest: reader.0,
        };
        for _ in 0..count {
            reader.header()?;
        }
        if !reader.0.is_empty() {
            return Err(BatchError::Invalid(format!(
                "invalid record size: {} of {size} bytes are left over",
                reader.0.len()
            )));
        }
        let timestamp = self.header.record_timestamp(timestamp_delta);
        let base_offset = self.header.base_offset.0;
        Ok(Record {
            offset: Offset(base_offset.wrapping_add(i64::from(offset_delta))),
            timestamp,
            sequence: match self.header.base_sequence {
                base if base >= 0 => increment_sequence(base, offset_delta),
                _ => NO_SEQUENCE,
            },
            key,
            value,
            headers,
            size_in_bytes,
        })
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn ends_early() -> BatchError {
        BatchError::invalid("a record ends early")
    }

    fn take(&mut self, size: usize) -> Result<&'a [u8], BatchError> {
        let (taken, rest) = self.0.split_at_checked(size).ok_or_else(Self::ends_early)?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<i32, BatchError> {
        let (value, size) = varint::read_i32(self.0).ok_or_else(Self::ends_early)?;
        self.take(size)?;
        Ok(value)
    }

    fn varlong(&mut self) -> Result<i64, BatchError> {
        let (value, size) = varint::read_i64(self.0).ok_or_else(Self::ends_early)?;
        self.take(size)?;
        Ok(value)
    }

    /// A length and its bytes; any negative length is null, as Java reads it.
    fn nullable(&mut self) -> Result<Option<&'a [u8]>, BatchError> {
        match usize::try_from(self.varint()?) {
            Ok(size) => self.take(size).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn header(&mut self) -> Result<Header<'a>, BatchError> {
        let key = self
            .nullable()?
            .ok_or_else(|| BatchError::invalid("invalid negative header key size"))?;
        let value = self.nullable()?;
        Ok(Header { key, value })
    }
}
