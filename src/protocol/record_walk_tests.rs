use super::*;
use crate::protocol::batch_builder::BatchBuilder;
use crate::protocol::compression::compress;
use crate::protocol::record::{Header, Records};
use crate::types::{Offset, TimestampMs};
use proptest::prelude::*;

/// Everything that a walk tells.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    shapes: Vec<RecordShape>,
    rest: Vec<u8>,
    announced: usize,
}

impl RecordSink for Told {
    fn head(&mut self, head: RecordHead) {
        self.announced += head.rest_bytes;
    }
    fn rest(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
    }
    fn record(&mut self, shape: RecordShape) {
        self.shapes.push(shape);
    }
}

fn walked(batch: &[u8], max: usize) -> Result<Told, BatchError> {
    let mut told = Told::default();
    let header = BatchHeader::parse(batch)?;
    walk_records(batch, &header, max, &mut told)?;
    assert_eq!(told.announced, told.rest.len());
    Ok(told)
}

/// A batch of these bytes as its records.
fn batch_of(codec: Compression, payload: &[u8], count: i32) -> Vec<u8> {
    let mut header = BatchHeader::parse(&BatchBuilder::new(Offset::ZERO, codec).build()).unwrap();
    let mut packed = Vec::new();
    compress(codec, payload, &mut packed).unwrap();
    header.attributes = i16::from(codec.id());
    header.records_count = count;
    header.batch_length = (HEADER_BYTES - 12 + packed.len()) as i32;
    [&header.to_bytes()[..], &packed].concat()
}

/// Time, key, value and headers.
type Parts = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<Vec<u8>>);

fn records() -> impl Strategy<Value = Vec<Parts>> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200));
    let headers = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..4);
    proptest::collection::vec((any::<i64>(), bytes(), bytes(), headers), 0..20)
}

fn payload(records: &[Parts]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Offset::ZERO, Compression::None);
    for (time, key, value, headers) in records {
        let headers: Vec<_> = headers
            .iter()
            .map(|bytes| Header {
                key: bytes,
                value: Some(bytes),
            })
            .collect();
        builder.append(
            TimestampMs(*time),
            key.as_deref(),
            value.as_deref(),
            &headers,
        );
    }
    builder.build()[HEADER_BYTES..].to_vec()
}

proptest! {
    /// The walk and the decoder agree on what is a record, whatever the bytes.
    #[test]
    fn what_is_walked_is_what_is_decoded(records in records(), flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..3), more in -2i32..3) {
        let mut bytes = payload(&records);
        for (at, flip) in flips {
            let len = bytes.len();
            if len > 0 {
                bytes[at % len] ^= flip;
            }
        }
        let count = records.len() as i32 + more;
        let plain = batch_of(Compression::None, &bytes, count);
        let decoded: Result<Vec<RecordShape>, _> = Records::new(&plain, 0)
            .unwrap()
            .iter()
            .map(|record| {
                record.map(|record| RecordShape {
                    timestamp_delta: record.timestamp.0.wrapping_sub(-1),
                    offset_delta: record.offset.0 as i32,
                    key_size: record.key.map_or(-1, |key| key.len() as i32),
                    value_size: record.value.map_or(-1, |value| value.len() as i32),
                })
            })
            .collect();
        let shapes = |told: Told| -> Vec<RecordShape> {
            let clip = |shape: RecordShape| RecordShape {
                key_size: shape.key_size.max(-1),
                value_size: shape.value_size.max(-1),
                ..shape
            };
            told.shapes.into_iter().map(clip).collect()
        };
        let plainly = walked(&plain, 0);
        prop_assert_eq!(plainly.map(shapes).ok(), decoded.ok());
        for codec in &Compression::ALL[1..] {
            let plainly = walked(&plain, 0).ok();
            let packed = walked(&batch_of(*codec, &bytes, count), usize::MAX).ok();
            prop_assert_eq!(plainly, packed, "{:?}", codec);
        }
    }

    #[test]
    fn any_bytes_are_safe(bytes: Vec<u8>, count: i32, codec in 0u8..8) {
        let count = count % 1000;
        let mut header = BatchHeader::parse(&batch_of(Compression::None, &[], count)).unwrap();
        header.attributes = i16::from(codec);
        header.batch_length = (HEADER_BYTES - 12 + bytes.len()) as i32;
        let batch = [&header.to_bytes()[..], &bytes].concat();
        let _ = walked(&batch, 1000);
    }
}

#[test]
fn records_larger_than_a_step_are_walked_through() {
    let large = vec![7; 3 << 20];
    let mut builder = BatchBuilder::new(Offset::ZERO, Compression::None);
    builder.append(TimestampMs(1), Some(b"k"), Some(&large), &[]);
    builder.append(TimestampMs(2), Some(&large), None, &[]);
    let bytes = builder.build()[HEADER_BYTES..].to_vec();
    let plain = walked(&batch_of(Compression::None, &bytes, 2), 0).unwrap();
    for codec in &Compression::ALL[1..] {
        let batch = batch_of(*codec, &bytes, 2);
        assert_eq!(walked(&batch, usize::MAX).unwrap(), plain);
        // Both bodies are a few bytes more than what is in them.
        assert!(walked(&batch, large.len()).is_err());
        assert!(walked(&batch, large.len() + 20).is_ok());
    }
}

#[test]
fn a_size_that_never_ends_is_called_so_where_kafka_does() {
    let bytes = [0x80; 9];
    let endless = walked(&batch_of(Compression::None, &bytes, 1), 0);
    assert_eq!(endless, Err(BatchError::EndlessSize));
    let cut = walked(&batch_of(Compression::None, &bytes[..4], 1), 0);
    assert_eq!(cut, Err(ENDS_EARLY));
    let packed = walked(&batch_of(Compression::Zstd, &bytes, 1), 100);
    assert_eq!(packed, Err(ENDS_EARLY));
}

#[test]
fn counts_are_exact() {
    let mut builder = BatchBuilder::new(Offset::ZERO, Compression::None);
    for at in 0..3 {
        builder.append(TimestampMs(at), None, Some(b"v"), &[]);
    }
    let bytes = builder.build()[HEADER_BYTES..].to_vec();
    for codec in Compression::ALL {
        for (count, fine) in [
            (3, true),
            (2, false),
            (4, false),
            (-1, false),
            (i32::MAX, false),
        ] {
            let found = walked(&batch_of(codec, &bytes, count), usize::MAX);
            assert_eq!(found.is_ok(), fine, "{codec:?} {count}");
        }
    }
}
