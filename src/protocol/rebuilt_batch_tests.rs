use super::*;
use crate::protocol::compression::Compression;
use crate::protocol::record_batch::{BatchBuilder, Header, Records, verify_crc};
use crate::protocol::record_walk::{RecordShape, RecordSink, walk_records};
use crate::types::{Offset, ProducerEpoch, ProducerId};
use proptest::prelude::*;

struct Feed<'a>(&'a BatchHeader, RebuiltBatch);

impl RecordSink for Feed<'_> {
    fn head(&mut self, head: RecordHead) {
        let time = self.0.record_timestamp(head.timestamp_delta);
        self.1.head(head, time);
    }
    fn rest(&mut self, bytes: &[u8]) {
        self.1.rest(bytes);
    }
    fn record(&mut self, _: RecordShape) {}
}

fn rebuilt(batch: &[u8], codec: Compression, max: usize) -> Result<Vec<u8>, RebuildError> {
    let header = BatchHeader::parse(batch).unwrap();
    let mut feed = Feed(&header, RebuiltBatch::new(&header, codec.into(), max));
    walk_records(batch, &header, usize::MAX, &mut feed).unwrap();
    feed.1.build()
}

proptest! {
    /// The same as decoding every record and building a batch of them.
    #[test]
    fn it_is_the_batch_that_a_builder_makes(
        times in proptest::collection::vec(0i64..5_000_000_000_000, 1..20),
        value: Vec<u8>,
        from in 0usize..5,
        to in 0usize..5,
    ) {
        let header = Header { key: b"h", value: Some(&value) };
        let build = |codec| {
            let mut builder = BatchBuilder::new(Offset::ZERO, codec)
                .producer(ProducerId(9), ProducerEpoch(2), 77)
                .transactional(true);
            for (at, time) in times.iter().enumerate() {
                let key = (at % 2 == 0).then_some(&value[..]);
                builder.append(TimestampMs(*time), key, Some(&value), &[header, header]);
            }
            builder.build()
        };
        let (from, to) = (Compression::ALL[from], Compression::ALL[to]);
        prop_assert_eq!(rebuilt(&build(from), to, usize::MAX).unwrap(), build(to));
    }
}

#[test]
fn records_are_numbered_and_stripped() {
    let mut builder = BatchBuilder::new(Offset(5), Compression::Zstd);
    builder.append(TimestampMs(10), Some(b"a"), None, &[]);
    builder.append_at(Offset(9), TimestampMs(7), (None, Some(b"b")), &[]);
    let mut old = builder.build();
    let mut header = BatchHeader::parse(&old).unwrap();
    header.attributes |= 0x40;
    old[..HEADER_BYTES].copy_from_slice(&header.to_bytes());

    let new = rebuilt(&old, Compression::None, usize::MAX).unwrap();
    assert!(verify_crc(&new));
    let header = BatchHeader::parse(&new).unwrap();
    assert_eq!(header.attributes, 0);
    assert_eq!((header.records_count, header.last_offset_delta), (2, 1));
    assert_eq!(header.base_timestamp, TimestampMs(10));
    assert_eq!(header.max_timestamp, TimestampMs(10));
    let records = Records::new(&new, 0).unwrap();
    let offsets: Vec<i64> = records.iter().map(|r| r.unwrap().offset.0).collect();
    assert_eq!(offsets, [5, 6]);
}

#[test]
fn sizes_are_bounded_while_it_is_made() {
    let mut builder = BatchBuilder::new(Offset::ZERO, Compression::Zstd);
    builder.append(TimestampMs(0), None, Some(&vec![0; 8 << 20]), &[]);
    let old = builder.build();
    let size = rebuilt(&old, Compression::None, usize::MAX).unwrap().len();
    assert!(rebuilt(&old, Compression::None, size).is_ok());
    assert_eq!(
        rebuilt(&old, Compression::None, size - 1),
        Err(RebuildError::TooLarge(size))
    );
    // What would not fit is not kept, however much comes.
    let Err(RebuildError::TooLarge(seen)) = rebuilt(&old, Compression::None, 1000) else {
        panic!("8 MiB in 1000 bytes");
    };
    assert!(seen < 1 << 20);
    let packed = rebuilt(&old, Compression::Gzip, usize::MAX).unwrap().len();
    assert_eq!(
        rebuilt(&old, Compression::Gzip, packed - 1),
        Err(RebuildError::TooLarge(packed))
    );
}

#[test]
fn times_before_1970_are_not_written_again() {
    for (time, fine) in [(-1, true), (-2, false), (i64::MIN, false)] {
        let mut builder = BatchBuilder::new(Offset::ZERO, Compression::None);
        builder.append(TimestampMs(4), None, None, &[]);
        builder.append(TimestampMs(time), None, None, &[]);
        let found = rebuilt(&builder.build(), Compression::Lz4, usize::MAX);
        assert_eq!(found.is_ok(), fine, "{time}");
        if let Err(error) = found {
            let expected = BatchError::NegativeTimestamp(TimestampMs(time));
            assert_eq!(error, RebuildError::Invalid(expected));
        }
    }
}
