//! A record as bytes, with the few fields that compaction looks at.
//!
//! Headers and values are not decoded: what stays is copied byte for byte, repeated header keys and all.

use crate::protocol::record_batch::BatchError;
use crate::protocol::varint;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawRecord<'a> {
    /// All of it, its length field included.
    pub(super) bytes: &'a [u8],
    /// The record's attributes, and what follows the timestamp delta: what does not depend on the batch's base
    /// timestamp.
    pub(super) attributes: u8,
    pub(super) behind_timestamp: &'a [u8],
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) key: Option<&'a [u8]>,
    pub(super) has_value: bool,
}

fn ends_early() -> BatchError {
    BatchError::invalid("a record ends early")
}

/// Takes the next record off `rest`.
pub(super) fn next<'a>(rest: &mut &'a [u8]) -> Result<RawRecord<'a>, BatchError> {
    let all = *rest;
    let (size, taken) = varint::read_i32(all).ok_or_else(ends_early)?;
    let end = usize::try_from(size)
        .ok()
        .and_then(|size| size.checked_add(taken))
        .ok_or_else(|| BatchError::Invalid(format!("invalid record size: {size}")))?;
    let (bytes, behind) = all.split_at_checked(end).ok_or_else(ends_early)?;
    let body = bytes.get(taken..).ok_or_else(ends_early)?;
    let (attributes, body) = body.split_first().ok_or_else(ends_early)?;
    let (timestamp_delta, taken) = varint::read_i64(body).ok_or_else(ends_early)?;
    let behind_timestamp = body.get(taken..).ok_or_else(ends_early)?;
    let (offset_delta, taken) = varint::read_i32(behind_timestamp).ok_or_else(ends_early)?;
    let body = behind_timestamp.get(taken..).ok_or_else(ends_early)?;
    let (size, taken) = varint::read_i32(body).ok_or_else(ends_early)?;
    let mut body = body.get(taken..).ok_or_else(ends_early)?;
    let key = match usize::try_from(size) {
        Ok(size) => {
            let (key, behind) = body.split_at_checked(size).ok_or_else(ends_early)?;
            body = behind;
            Some(key)
        }
        Err(_) => None,
    };
    let (size, _) = varint::read_i32(body).ok_or_else(ends_early)?;
    *rest = behind;
    Ok(RawRecord {
        bytes,
        attributes: *attributes,
        behind_timestamp,
        timestamp_delta,
        offset_delta,
        key,
        has_value: size >= 0,
    })
}

impl RawRecord<'_> {
    /// Writes it with another timestamp delta.
    pub(super) fn write(&self, timestamp_delta: i64, out: &mut Vec<u8>) {
        if timestamp_delta == self.timestamp_delta {
            out.extend_from_slice(self.bytes);
            return;
        }
        let zigzag = (timestamp_delta << 1 ^ timestamp_delta >> 63) as u64;
        let size = 1 + varint::size_u64(zigzag) + self.behind_timestamp.len();
        varint::write_i32(out, i32::try_from(size).unwrap_or(i32::MAX));
        out.push(self.attributes);
        varint::write_u64(out, zigzag);
        out.extend_from_slice(self.behind_timestamp);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::compression::Compression;
    use crate::protocol::record_batch::{BatchBuilder, HEADER_BYTES, Header};
    use crate::types::{Offset, TimestampMs};
    use proptest::prelude::*;

    fn payload() -> Vec<u8> {
        let header = Header {
            key: b"h",
            value: None,
        };
        let mut builder = BatchBuilder::new(Offset(7), Compression::None);
        builder.append(TimestampMs(100), Some(b"k"), Some(b"v"), &[header, header]);
        builder.append(TimestampMs(90), None, None, &[]);
        builder.append(TimestampMs(1 << 40), Some(b""), None, &[]);
        builder.build()[HEADER_BYTES..].to_vec()
    }

    #[test]
    fn the_fields_are_found_and_the_rest_is_copied() {
        let payload = payload();
        let mut rest = payload.as_slice();
        let records: Vec<_> = (0..3).map(|_| next(&mut rest).unwrap()).collect();
        assert!(rest.is_empty());
        let seen: Vec<_> = records
            .iter()
            .map(|r| (r.offset_delta, r.timestamp_delta, r.key, r.has_value))
            .collect();
        let expected: [(i32, i64, Option<&[u8]>, bool); 3] = [
            (0, 0, Some(b"k"), true),
            (1, -10, None, false),
            (2, (1 << 40) - 100, Some(b""), false),
        ];
        assert_eq!(seen, expected);
        let mut copied = Vec::new();
        records
            .iter()
            .for_each(|r| r.write(r.timestamp_delta, &mut copied));
        assert_eq!(copied, payload);
        // Another base timestamp and back again.
        let mut moved = Vec::new();
        records
            .iter()
            .for_each(|r| r.write(r.timestamp_delta - 5000, &mut moved));
        let (mut rest, mut back) = (moved.as_slice(), Vec::new());
        for record in &records {
            let found = next(&mut rest).unwrap();
            assert_eq!(found.timestamp_delta, record.timestamp_delta - 5000);
            assert_eq!(found.behind_timestamp, record.behind_timestamp);
            found.write(found.timestamp_delta + 5000, &mut back);
        }
        assert_eq!(back, payload);
    }

    #[test]
    fn a_record_that_is_cut_off_is_an_error() {
        let payload = payload();
        let first = {
            let mut rest = payload.as_slice();
            next(&mut rest).unwrap().bytes.len()
        };
        for cut in 0..first {
            assert!(next(&mut &payload[..cut]).is_err(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes: Vec<u8>) {
            let mut rest = bytes.as_slice();
            while let Ok(record) = next(&mut rest) {
                prop_assert!(!record.bytes.is_empty());
            }
        }
    }
}
