//! The head of a v2 record batch: what the log and the produce path need of a batch without decoding it.
//!
//! A batch is 61 bytes of head and then its records, as one compressed payload or plain. Its CRC covers
//! everything from the attributes on; the base offset and the leader epoch stand before it, so that a
//! broker can set them and store the rest as it came. Formats 0 and 1 (before Kafka 0.11) are refused, as
//! Kafka 4 refuses them. Records are decoded in `record.rs` and written in `batch_builder.rs`.

use crate::error::ErrorCode;
use crate::protocol::compression::{Compression, DecompressError};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

pub use crate::protocol::batch_builder::BatchBuilder;
pub use crate::protocol::record::{Header, Headers, Record, Records};

/// The head of a batch, up to its records.
pub const HEADER_BYTES: usize = 61;
/// The base offset and the length: what stands before the bytes that the length counts.
pub const LOG_OVERHEAD: usize = 12;
/// Where the bytes that the CRC covers begin.
pub const CRC_COVERS_FROM: usize = 21;
pub const MAGIC: i8 = 2;
/// `base_sequence` of a batch that has none.
pub const NO_SEQUENCE: i32 = -1;

const MAGIC_AT: usize = 16;
/// The low byte of the attributes, which is all that Kafka looks at.
const ATTRIBUTES_AT: usize = 22;
/// Kafka's smallest length of any format.
const SMALLEST_LENGTH: i32 = 14;

const COMPRESSION_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;
const KNOWN_ATTRIBUTES: i16 = 0x7f;

/// Why bytes are not a batch, or not one that may be appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("the batch ends early: {have} of {need} bytes")]
    Truncated { have: usize, need: usize },
    #[error("record batch is corrupt (the size {0} is smaller than the minimum allowed)")]
    TooSmall(i32),
    #[error("only record batches of magic 2 are supported, not {0}")]
    Magic(i8),
    #[error("record is corrupt (stored crc = {stored}, computed crc = {computed})")]
    Crc { stored: u32, computed: u32 },
    /// A size field that no size can be made of.
    #[error("a batch of {0} bytes and its head is more than Kafka can count")]
    SizeOverflows(i32),
    #[error("unknown compression type id: {0}")]
    UnknownCompression(u8),
    /// In a Produce request older than zstd.
    #[error("produce requests of this version may not use zstd")]
    ZstdTooOld,
    #[error("{0}")]
    Decompress(#[from] DecompressError),
    /// A record whose size field runs on, in a batch that is not compressed.
    #[error("the size of a record never ends")]
    EndlessSize,
    /// A time before 1970 in a batch that must be written anew.
    #[error("invalid negative timestamp {0}")]
    NegativeTimestamp(TimestampMs),
    #[error("the batch could not be compressed with {}", .0.name())]
    CannotCompress(Compression),
    /// The records break a rule of the format.
    #[error("{0}")]
    Structure(&'static str),
    /// The head or a record breaks a rule of the format.
    #[error("{0}")]
    Invalid(String),
}

impl BatchError {
    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        BatchError::Invalid(reason.into())
    }

    /// What a producer is answered.
    pub fn code(&self) -> ErrorCode {
        match self {
            BatchError::TooSmall(_) | BatchError::Crc { .. } => ErrorCode::CorruptMessage,
            BatchError::Magic(0 | 1) => ErrorCode::InvalidRecord,
            BatchError::Magic(_) => ErrorCode::CorruptMessage,
            BatchError::ZstdTooOld => ErrorCode::UnsupportedCompressionType,
            // What Kafka did not expect to find in bytes: it knows no better code for them.
            BatchError::SizeOverflows(_)
            | BatchError::UnknownCompression(_)
            | BatchError::Decompress(DecompressError::Invalid { .. })
            | BatchError::EndlessSize
            | BatchError::NegativeTimestamp(_)
            | BatchError::CannotCompress(_) => ErrorCode::UnknownServerError,
            BatchError::Truncated { .. }
            | BatchError::Decompress(DecompressError::TooLarge { .. })
            | BatchError::Structure(_)
            | BatchError::Invalid(_) => ErrorCode::InvalidRecord,
        }
    }
}

/// Whether record timestamps are the producer's or the broker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    #[default]
    CreateTime,
    LogAppendTime,
}

/// The 61 bytes before a batch's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: Offset,
    /// Bytes after this field: the batch's size less [`LOG_OVERHEAD`].
    pub batch_length: i32,
    pub leader_epoch: LeaderEpoch,
    pub magic: i8,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: TimestampMs,
    pub max_timestamp: TimestampMs,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub base_sequence: i32,
    pub records_count: i32,
}

/// Big-endian fields one after another out of a head known to be long enough.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            None => [0; N],
        }
    }
    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take())
    }
    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }
    fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take())
    }
}

impl BatchHeader {
    /// Reads a head; the records need not be there yet.
    ///
    /// Checks what Kafka checks before it believes a length: the size is that of a batch, the magic is 2.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let length = peek_length(bytes)?;
        let truncated = BatchError::Truncated {
            have: bytes.len(),
            need: HEADER_BYTES,
        };
        let Some(magic) = bytes.get(MAGIC_AT) else {
            return Err(truncated);
        };
        let magic = *magic as i8;
        if magic != MAGIC {
            return Err(BatchError::Magic(magic));
        }
        if length < (HEADER_BYTES - LOG_OVERHEAD) as i32 {
            return Err(BatchError::TooSmall(length));
        }
        if bytes.len() < HEADER_BYTES {
            return Err(truncated);
        }
        let mut fields = Fields(bytes);
        Ok(BatchHeader {
            base_offset: Offset(fields.i64()),
            batch_length: fields.i32(),
            leader_epoch: LeaderEpoch(fields.i32()),
            magic: i8::from_be_bytes(fields.take()),
            crc: u32::from_be_bytes(fields.take()),
            attributes: fields.i16(),
            last_offset_delta: fields.i32(),
            base_timestamp: TimestampMs(fields.i64()),
            max_timestamp: TimestampMs(fields.i64()),
            producer_id: ProducerId(fields.i64()),
            producer_epoch: ProducerEpoch(fields.i16()),
            base_sequence: fields.i32(),
            records_count: fields.i32(),
        })
    }

    /// The head as bytes, its fields as they are: the CRC is not computed.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        let mut rest = out.as_mut_slice();
        let mut put = |field: &[u8]| {
            let (target, tail) = std::mem::take(&mut rest).split_at_mut(field.len());
            target.copy_from_slice(field);
            rest = tail;
        };
        put(&self.base_offset.0.to_be_bytes());
        put(&self.batch_length.to_be_bytes());
        put(&self.leader_epoch.0.to_be_bytes());
        put(&self.magic.to_be_bytes());
        put(&self.crc.to_be_bytes());
        put(&self.attributes.to_be_bytes());
        put(&self.last_offset_delta.to_be_bytes());
        put(&self.base_timestamp.0.to_be_bytes());
        put(&self.max_timestamp.0.to_be_bytes());
        put(&self.producer_id.0.to_be_bytes());
        put(&self.producer_epoch.0.to_be_bytes());
        put(&self.base_sequence.to_be_bytes());
        put(&self.records_count.to_be_bytes());
        out
    }

    /// The whole batch: head and records.
    pub fn size_in_bytes(&self) -> usize {
        LOG_OVERHEAD + self.batch_length.max(0) as usize
    }

    pub fn last_offset(&self) -> Offset {
        Offset(
            self.base_offset
                .0
                .wrapping_add(i64::from(self.last_offset_delta)),
        )
    }

    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.wrapping_add(1))
    }

    pub fn compression(&self) -> Result<Compression, BatchError> {
        let id = (self.attributes & COMPRESSION_MASK) as u8;
        Compression::from_id(id).ok_or(BatchError::UnknownCompression(id))
    }

    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// The time of a record, of which its batch knows the rest.
    #[inline]
    pub fn record_timestamp(&self, delta: i64) -> TimestampMs {
        match self.timestamp_type() {
            TimestampType::LogAppendTime => self.max_timestamp,
            TimestampType::CreateTime => TimestampMs(self.base_timestamp.0.wrapping_add(delta)),
        }
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Transaction markers and the like: never sent by clients, never shown to them as records.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// When the cleaner may drop the tombstones of this batch (KIP-534); the base timestamp says it.
    pub fn delete_horizon(&self) -> Option<TimestampMs> {
        (self.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    /// Only the flag: the horizon itself is the base timestamp.
    pub(crate) fn set_delete_horizon_flag(&mut self, set: bool) {
        if set {
            self.attributes |= DELETE_HORIZON;
        } else {
            self.attributes &= !DELETE_HORIZON;
        }
    }

    pub fn has_producer_id(&self) -> bool {
        self.producer_id.0 > ProducerId::NONE.0
    }

    /// The sequence number of the last record, or [`NO_SEQUENCE`].
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            NO_SEQUENCE
        } else {
            increment_sequence(self.base_sequence, self.last_offset_delta)
        }
    }

    pub(crate) fn attributes_of(
        compression: Compression,
        timestamp_type: TimestampType,
        flags: BatchFlags,
    ) -> i16 {
        let mut attributes = i16::from(compression.id());
        if timestamp_type == TimestampType::LogAppendTime {
            attributes |= LOG_APPEND_TIME;
        }
        for (set, bit) in [
            (flags.transactional, TRANSACTIONAL),
            (flags.control, CONTROL),
            (flags.delete_horizon, DELETE_HORIZON),
        ] {
            if set {
                attributes |= bit;
            }
        }
        attributes
    }
}

/// The bits of the attributes that are neither compression nor timestamp type.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BatchFlags {
    pub transactional: bool,
    pub control: bool,
    pub delete_horizon: bool,
}

/// Sequence numbers wrap from `i32::MAX` to 0.
pub fn increment_sequence(sequence: i32, increment: i32) -> i32 {
    (i64::from(sequence) + i64::from(increment)).rem_euclid(1 << 31) as i32
}

fn peek_length(bytes: &[u8]) -> Result<i32, BatchError> {
    let field = bytes.get(8..LOG_OVERHEAD).and_then(|f| f.first_chunk());
    let length = field
        .map(|field| i32::from_be_bytes(*field))
        .ok_or(BatchError::Truncated {
            have: bytes.len(),
            need: LOG_OVERHEAD,
        })?;
    if length < SMALLEST_LENGTH {
        return Err(BatchError::TooSmall(length));
    }
    if length.checked_add(LOG_OVERHEAD as i32).is_none() {
        return Err(BatchError::SizeOverflows(length));
    }
    Ok(length)
}

/// The batches of a slice, one after another. A batch cut off at the end is an error, and the last item.
#[derive(Debug, Clone)]
pub struct Batches<'a> {
    rest: &'a [u8],
    failed: bool,
}

impl<'a> Batches<'a> {
    pub fn new(bytes: &'a [u8]) -> Batches<'a> {
        Batches {
            rest: bytes,
            failed: false,
        }
    }

    /// What has not been taken yet: after an error, the bytes that are not a whole batch.
    pub fn remaining(&self) -> &'a [u8] {
        self.rest
    }

    fn take(&mut self) -> Result<(BatchHeader, &'a [u8]), BatchError> {
        let header = BatchHeader::parse(self.rest)?;
        let need = header.size_in_bytes();
        let (batch, rest) = self
            .rest
            .split_at_checked(need)
            .ok_or(BatchError::Truncated {
                have: self.rest.len(),
                need,
            })?;
        self.rest = rest;
        Ok((header, batch))
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<(BatchHeader, &'a [u8]), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.failed {
            return None;
        }
        let item = self.take();
        self.failed = item.is_err();
        Some(item)
    }
}

/// The CRC32C of a batch as its head should carry it; `None` for fewer bytes than a head.
pub fn compute_crc(batch: &[u8]) -> Option<u32> {
    let covered = batch.get(CRC_COVERS_FROM..)?;
    (batch.len() >= HEADER_BYTES).then(|| crc32c::crc32c(covered))
}

/// Whether one whole batch is what its CRC says.
pub fn verify_crc(batch: &[u8]) -> bool {
    ensure_crc(batch).is_ok()
}

/// [`verify_crc`] with the error a producer is told.
pub fn ensure_crc(batch: &[u8]) -> Result<(), BatchError> {
    let header = BatchHeader::parse(batch)?;
    let computed = compute_crc(batch).unwrap_or_default();
    if header.size_in_bytes() != batch.len() || header.crc != computed {
        return Err(BatchError::Crc {
            stored: header.crc,
            computed,
        });
    }
    Ok(())
}

/// The first 16 bytes of a batch as they go to disk; the rest is stored verbatim.
///
/// Of `batch` only the length is kept, so any slice of at least [`LOG_OVERHEAD`] bytes will do.
pub fn stored_prefix(batch: &[u8], base_offset: Offset, epoch: LeaderEpoch) -> [u8; 16] {
    let mut prefix = [0; 16];
    let (offset, rest) = prefix.split_at_mut(8);
    let (length, leader_epoch) = rest.split_at_mut(4);
    offset.copy_from_slice(&base_offset.0.to_be_bytes());
    if let Some(from) = batch.get(8..LOG_OVERHEAD) {
        length.copy_from_slice(from);
    }
    leader_epoch.copy_from_slice(&epoch.0.to_be_bytes());
    prefix
}

/// Sets the timestamp type and the max timestamp of one whole batch, and its CRC anew where they change:
/// what `message.timestamp.type=LogAppendTime` does to a batch. Records stay as they are.
pub fn set_max_timestamp(
    batch: &mut [u8],
    timestamp_type: TimestampType,
    max_timestamp: TimestampMs,
) -> Result<(), BatchError> {
    let mut header = BatchHeader::parse(batch)?;
    if header.timestamp_type() == timestamp_type && header.max_timestamp == max_timestamp {
        return Ok(());
    }
    header.max_timestamp = max_timestamp;
    match timestamp_type {
        TimestampType::CreateTime => header.attributes &= !LOG_APPEND_TIME,
        TimestampType::LogAppendTime => header.attributes |= LOG_APPEND_TIME,
    }
    // Kafka writes no bit that it does not know.
    header.attributes &= KNOWN_ATTRIBUTES;
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

/// The next batch of a slice, as far as must be known to step over it: its magic is one that Kafka has ever had,
/// and it is whole. `None`: what is left is no whole batch. Kafka's `ByteBufferLogInputStream`.
pub fn next_batch(bytes: &[u8]) -> Result<Option<&[u8]>, BatchError> {
    let length = match peek_length(bytes) {
        Err(BatchError::Truncated { .. }) => return Ok(None),
        length => length?,
    };
    let Some(magic) = bytes.get(MAGIC_AT).map(|magic| *magic as i8) else {
        return Ok(None);
    };
    if !(0..=MAGIC).contains(&magic) {
        return Err(BatchError::Magic(magic));
    }
    Ok(bytes.get(..LOG_OVERHEAD + length as usize))
}

/// Whether a batch of which [`next_batch`] tells belongs to a transaction.
pub fn is_transactional(batch: &[u8]) -> bool {
    batch
        .get(MAGIC_AT)
        .is_some_and(|magic| *magic as i8 == MAGIC)
        && batch
            .get(ATTRIBUTES_AT)
            .is_some_and(|low| i16::from(*low) & TRANSACTIONAL != 0)
}

/// The one batch of a partition's records in a Produce request.
///
/// Kafka's `ProduceRequest.validateRecords`: exactly one whole batch, of magic 2, and zstd only from
/// version 7 on. The CRC is not looked at.
pub fn single_batch(
    records: &[u8],
    produce_version: i16,
) -> Result<(BatchHeader, &[u8]), BatchError> {
    let Some(batch) = next_batch(records)? else {
        return Err(BatchError::Structure(
            "a partition's records must hold one record batch",
        ));
    };
    let header = BatchHeader::parse(batch)?;
    if produce_version < 7 && header.compression()? == Compression::Zstd {
        return Err(BatchError::ZstdTooOld);
    }
    // What follows and is no whole batch is left unseen, as Kafka leaves it.
    let rest = records.get(batch.len()..).unwrap_or_default();
    if next_batch(rest)?.is_some() {
        return Err(BatchError::Structure(
            "a partition's records must hold exactly one record batch",
        ));
    }
    Ok((header, batch))
}

/// What is asked of a client's batch before anything else (Kafka's `UnifiedLog.analyzeAndValidateRecords`).
pub fn validate_base_offset(header: &BatchHeader) -> Result<(), BatchError> {
    if header.base_offset == Offset::ZERO {
        return Ok(());
    }
    Err(BatchError::Invalid(format!(
        "the base offset of a batch to append must be 0, not {}",
        header.base_offset
    )))
}

/// The rules for the head of a batch from a client (Kafka's `LogValidator.validateBatch`): a known codec, a count that
/// agrees with the last offset delta, no control batch, a sequence number with every producer id.
pub fn validate_batch_header(header: &BatchHeader) -> Result<(), BatchError> {
    header.compression()?;
    if header.last_offset_delta < 0 {
        return Err(BatchError::invalid(format!(
            "batch has an invalid offset range: last offset delta {}",
            header.last_offset_delta
        )));
    }
    if header.records_count <= 0 {
        return Err(BatchError::invalid(format!(
            "invalid reported count for record batch: {}",
            header.records_count
        )));
    }
    if i64::from(header.last_offset_delta) + 1 != i64::from(header.records_count) {
        return Err(BatchError::invalid(format!(
            "inconsistent batch offset range [0, {}] and count of records {}",
            header.last_offset_delta, header.records_count
        )));
    }
    if header.is_control() {
        return Err(BatchError::invalid(
            "clients are not allowed to write control records",
        ));
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        return Err(BatchError::invalid(format!(
            "invalid sequence number {} in record batch with producer id {}",
            header.base_sequence, header.producer_id
        )));
    }
    Ok(())
}

#[cfg(test)]
#[path = "record_batch_tests.rs"]
mod tests;
