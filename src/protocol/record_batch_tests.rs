use super::*;
use proptest::prelude::*;

const NO_LIMIT: usize = 1 << 26;

fn one_record(compression: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Offset::ZERO, compression);
    builder.append(
        TimestampMs(1_700_000_000_000),
        Some(b"key"),
        Some(b"value"),
        &[],
    );
    builder.build()
}

fn patched(batch: &[u8], patch: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let mut header = BatchHeader::parse(batch).unwrap();
    patch(&mut header);
    let mut out = batch.to_vec();
    out[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    header.crc = compute_crc(&out).unwrap();
    out[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    out
}

/// The batch of one record, written out: this is Kafka's layout, not ours to change.
#[test]
fn the_layout_is_kafkas() {
    let batch = one_record(Compression::None);
    #[rustfmt::skip]
    let expected: &[u8] = &[
        0, 0, 0, 0, 0, 0, 0, 0, // base offset
        0, 0, 0, 64, // length
        0xff, 0xff, 0xff, 0xff, // leader epoch
        2, // magic
        batch[17], batch[18], batch[19], batch[20], // crc
        0, 0, // attributes
        0, 0, 0, 0, // last offset delta
        0, 0, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0, // base timestamp
        0, 0, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0, // max timestamp
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // producer id
        0xff, 0xff, // producer epoch
        0xff, 0xff, 0xff, 0xff, // base sequence
        0, 0, 0, 1, // count
        28, 0, 0, 0, 6, b'k', b'e', b'y', 10, b'v', b'a', b'l', b'u', b'e', 0,
    ];
    assert_eq!(batch, expected);
    // RFC 3720's check value, so that the polynomial is Castagnoli's.
    assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    assert!(verify_crc(&batch));
}

/// The codec crate's own writer and reader agree with ours.
#[test]
fn the_codec_crate_reads_what_is_written() {
    let mut builder = BatchBuilder::new(Offset(40), Compression::None)
        .leader_epoch(LeaderEpoch(3))
        .producer(ProducerId(9), ProducerEpoch(2), 5)
        .transactional(true);
    let header = Header {
        key: b"h",
        value: Some(b"1"),
    };
    builder.append(TimestampMs(1000), Some(b"a"), None, &[header]);
    builder.append(TimestampMs(900), None, Some(b""), &[]);
    let batch = builder.build();
    assert_eq!(
        BatchHeader::parse(&batch).unwrap().max_timestamp,
        TimestampMs(1000)
    );
    let mut bytes = bytes::Bytes::from(batch);
    let decoded = kafka_protocol::records::RecordBatchDecoder::decode(&mut bytes).unwrap();
    let seen: Vec<_> = decoded
        .records
        .iter()
        .map(|r| {
            (
                r.offset,
                r.timestamp,
                r.sequence,
                r.key.clone(),
                r.value.clone(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (40, 1000, 5, Some("a".into()), None),
            (41, 900, 6, None, Some("".into())),
        ]
    );
    assert!(
        decoded
            .records
            .iter()
            .all(|r| r.transactional && r.producer_id == 9)
    );
}

#[test]
fn a_batch_that_breaks_a_rule_is_refused() {
    let good = one_record(Compression::None);
    type Patch = fn(&mut BatchHeader);
    let cases: &[(&str, Patch)] = &[
        ("last offset delta", |h| h.last_offset_delta = -1),
        ("count", |h| h.records_count = 0),
        ("count of records", |h| h.records_count = 2),
        ("count of records", |h| h.last_offset_delta = i32::MAX),
        ("control", |h| h.attributes |= CONTROL),
        ("sequence", |h| h.producer_id = ProducerId(1)),
        ("compression", |h| h.attributes |= 5),
    ];
    assert_eq!(
        validate_batch_header(&BatchHeader::parse(&good).unwrap()),
        Ok(())
    );
    for (word, patch) in cases {
        let bad = patched(&good, patch);
        assert!(verify_crc(&bad));
        let error = validate_batch_header(&BatchHeader::parse(&bad).unwrap()).unwrap_err();
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
}

#[test]
fn heads_that_lie_about_size_or_format() {
    let good = one_record(Compression::None);
    let mut small = good.clone();
    small[8..12].copy_from_slice(&13i32.to_be_bytes());
    assert_eq!(BatchHeader::parse(&small), Err(BatchError::TooSmall(13)));
    small[8..12].copy_from_slice(&48i32.to_be_bytes());
    assert_eq!(BatchHeader::parse(&small), Err(BatchError::TooSmall(48)));
    small[8..12].copy_from_slice(&(-1i32).to_be_bytes());
    assert_eq!(BatchHeader::parse(&small), Err(BatchError::TooSmall(-1)));
    for (magic, code) in [
        (0, ErrorCode::InvalidRecord),
        (1, ErrorCode::InvalidRecord),
        (3, ErrorCode::CorruptMessage),
        (-1, ErrorCode::CorruptMessage),
    ] {
        let mut other = good.clone();
        other[16] = magic as u8;
        let error = BatchHeader::parse(&other).unwrap_err();
        assert_eq!(error, BatchError::Magic(magic));
        assert_eq!(error.code(), code);
    }
    for cut in 0..good.len() {
        let error = single_batch(&good[..cut], 9).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidRecord, "cut at {cut}");
    }
}

#[test]
fn a_produce_request_carries_one_batch() {
    let good = one_record(Compression::None);
    assert_eq!(single_batch(&good, 3).unwrap().1, good);
    assert!(single_batch(&[good.clone(), good.clone()].concat(), 3).is_err());
    assert!(single_batch(&[], 3).is_err());
    let trailing = [&good[..], &good[..20]].concat();
    assert_eq!(single_batch(&trailing, 3).unwrap().1, good);
    let zstd = one_record(Compression::Zstd);
    assert!(single_batch(&zstd, 7).is_ok());
    assert_eq!(
        single_batch(&zstd, 6).unwrap_err().code(),
        ErrorCode::UnsupportedCompressionType
    );
}

#[test]
fn every_flipped_bit_after_the_epoch_is_noticed() {
    let good = one_record(Compression::Lz4);
    for at in 17..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(!verify_crc(&bad), "byte {at}");
        }
    }
}

#[test]
fn a_stored_prefix_changes_offset_and_epoch_only() {
    let mut batch = one_record(Compression::None);
    let prefix = stored_prefix(&batch, Offset(1234), LeaderEpoch(7));
    batch[..16].copy_from_slice(&prefix);
    assert!(verify_crc(&batch));
    let header = BatchHeader::parse(&batch).unwrap();
    assert_eq!(header.base_offset, Offset(1234));
    assert_eq!(header.leader_epoch, LeaderEpoch(7));
    let records = Records::new(&batch, 0).unwrap();
    assert_eq!(records.iter().next().unwrap().unwrap().offset, Offset(1234));
}

#[test]
fn log_append_time_is_stamped_on_the_head_alone() {
    let mut batch = one_record(Compression::Gzip);
    set_max_timestamp(&mut batch, TimestampType::LogAppendTime, TimestampMs(77)).unwrap();
    assert!(verify_crc(&batch));
    let records = Records::new(&batch, NO_LIMIT).unwrap();
    assert_eq!(
        records.header().timestamp_type(),
        TimestampType::LogAppendTime
    );
    assert_eq!(
        records.iter().next().unwrap().unwrap().timestamp,
        TimestampMs(77)
    );
    set_max_timestamp(&mut batch, TimestampType::CreateTime, TimestampMs(5)).unwrap();
    assert!(verify_crc(&batch));
}

#[test]
fn sequences_wrap_at_the_largest() {
    assert_eq!(increment_sequence(i32::MAX, 1), 0);
    assert_eq!(increment_sequence(i32::MAX - 1, 3), 1);
    assert_eq!(increment_sequence(5, 2), 7);
}

#[test]
fn a_batch_of_more_or_fewer_records_than_it_says_is_an_error() {
    let mut builder = BatchBuilder::new(Offset::ZERO, Compression::Snappy);
    for _ in 0..3 {
        builder.append(TimestampMs(0), None, Some(b"v"), &[]);
    }
    let good = builder.build();
    for (count, decoded) in [(2, 2), (4, 3), (i32::MAX, 3)] {
        let bad = patched(&good, |h| h.records_count = count);
        let records = Records::new(&bad, NO_LIMIT).unwrap();
        let items: Vec<_> = records.iter().collect();
        assert_eq!(items.iter().filter(|item| item.is_ok()).count(), decoded);
        assert!(items.last().unwrap().is_err());
        assert_eq!(items.len(), decoded + 1);
    }
}

/// A batch of one record made of `body`, whatever that says.
fn batch_of(body: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    crate::protocol::varint::write_i32(&mut payload, body.len() as i32);
    payload.extend(body);
    let good = one_record(Compression::None);
    let longer = [&good[..HEADER_BYTES], &payload].concat();
    patched(&longer, |h| {
        h.batch_length = (longer.len() - LOG_OVERHEAD) as i32;
    })
}

#[test]
fn a_record_that_is_not_what_it_says_is_an_error() {
    // Attributes, timestamp delta, offset delta, key -1, value -1, then the header count.
    let cases: &[(&[u8], &str)] = &[
        (
            &[0, 0, 0, 1, 1, 0, 9],
            "invalid record size: 1 of 7 bytes are left over",
        ),
        (
            &[0, 0, 0, 1, 1, 4],
            "found invalid number of record headers 2",
        ),
        (
            &[0, 0, 0, 1, 1, 1],
            "found invalid number of record headers -1",
        ),
        (&[0, 0, 0, 1, 1, 2, 1], "invalid negative header key size"),
        (&[0, 0, 0, 1, 8, 0], "a record ends early"),
        (&[0, 0, 0, 0x80], "a record ends early"),
        (&[], "a record ends early"),
    ];
    let read = |body: &[u8]| {
        let batch = batch_of(body);
        Records::new(&batch, 0)
            .unwrap()
            .iter()
            .next()
            .unwrap()
            .map(|_| ())
    };
    assert_eq!(read(&[0, 0, 0, 1, 1, 0]), Ok(()));
    for (body, reason) in cases {
        let error = read(body).unwrap_err();
        assert_eq!(error.to_string(), *reason);
        assert_eq!(error.code(), ErrorCode::InvalidRecord);
    }
}

#[test]
fn an_empty_batch_has_no_records_whatever_it_carries() {
    let bad = patched(&batch_of(b"junk"), |h| h.records_count = 0);
    assert_eq!(Records::new(&bad, 0).unwrap().iter().count(), 0);
}

#[test]
fn a_batch_is_valid_at_its_own_size_only() {
    let good = one_record(Compression::None);
    // The CRC is made to fit, the length is not.
    let longer = patched(&[&good[..], &[0]].concat(), |_| {});
    assert!(!verify_crc(&longer));
    assert!(!verify_crc(&good[..good.len() - 1]));
    assert!(!verify_crc(&[]));
}

#[test]
fn compacted_batches_keep_their_offsets_and_horizon() {
    let mut builder = BatchBuilder::new(Offset(100), Compression::None)
        .delete_horizon(TimestampMs(5000))
        .last_offset(Offset(120));
    builder.append_at(Offset(105), TimestampMs(4000), (Some(b"k"), None), &[]);
    builder.append_at(Offset(110), TimestampMs(4500), (Some(b"l"), None), &[]);
    let batch = builder.build();
    let records = Records::new(&batch, 0).unwrap();
    let header = records.header();
    assert_eq!(header.delete_horizon(), Some(TimestampMs(5000)));
    assert_eq!(header.last_offset(), Offset(120));
    assert_eq!(header.max_timestamp, TimestampMs(4500));
    let seen: Vec<_> = records
        .iter()
        .map(|r| r.map(|r| (r.offset.0, r.timestamp.0)).unwrap())
        .collect();
    assert_eq!(seen, [(105, 4000), (110, 4500)]);
}

type OwnedHeaders = Vec<(Vec<u8>, Option<Vec<u8>>)>;
type OwnedRecord = (i64, Option<Vec<u8>>, Option<Vec<u8>>, OwnedHeaders);

fn owned_records() -> impl Strategy<Value = Vec<OwnedRecord>> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
    // Few keys, so that they repeat.
    let key = prop_oneof![Just(vec![]), Just(b"trace".to_vec()), bytes()];
    let headers = proptest::collection::vec((key, proptest::option::of(bytes())), 0..5);
    let record = (
        any::<i64>(),
        proptest::option::of(bytes()),
        proptest::option::of(bytes()),
        headers,
    );
    proptest::collection::vec(record, 0..30)
}

proptest! {
    #[test]
    fn what_is_built_is_read(records in owned_records(), base in 0i64..1 << 40) {
        for compression in Compression::ALL {
            let mut builder = BatchBuilder::new(Offset(base), compression)
                .producer(ProducerId(3), ProducerEpoch(1), i32::MAX - 4);
            for (timestamp, key, value, headers) in &records {
                let headers: Vec<Header> = headers
                    .iter()
                    .map(|(key, value)| Header { key, value: value.as_deref() })
                    .collect();
                builder.append(TimestampMs(*timestamp), key.as_deref(), value.as_deref(), &headers);
            }
            let batch = builder.build();
            prop_assert!(verify_crc(&batch));
            let read = Records::new(&batch, NO_LIMIT).unwrap();
            let mut count = 0;
            for (index, record) in read.iter().enumerate() {
                let record = record.unwrap();
                let (timestamp, key, value, headers) = &records[index];
                prop_assert_eq!(record.offset.0, base + index as i64);
                prop_assert_eq!(record.timestamp.0, *timestamp);
                prop_assert_eq!(record.sequence, increment_sequence(i32::MAX - 4, index as i32));
                prop_assert_eq!(record.key, key.as_deref());
                prop_assert_eq!(record.value, value.as_deref());
                let seen: OwnedHeaders = record
                    .headers
                    .map(|h| (h.key.to_vec(), h.value.map(<[u8]>::to_vec)))
                    .collect();
                prop_assert_eq!(&seen, headers);
                count += 1;
            }
            prop_assert_eq!(count, records.len());
            let found: Vec<_> = Batches::new(&batch).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(found[0].0.to_bytes(), *batch.first_chunk().unwrap());
        }
    }

    #[test]
    fn any_bytes_are_safe(bytes: Vec<u8>) {
        for item in Batches::new(&bytes) {
            let _ = item;
        }
        let _ = single_batch(&bytes, 9);
        let _ = verify_crc(&bytes);
    }

    /// Arbitrary records under a head that is right.
    #[test]
    fn any_records_are_safe(payload: Vec<u8>, count in -2i32..50, codec in 0u8..8, base: i64, sequence: i32) {
        let mut header = BatchHeader::parse(&one_record(Compression::None)).unwrap();
        header.batch_length = (HEADER_BYTES - LOG_OVERHEAD + payload.len()) as i32;
        header.records_count = count;
        header.attributes = i16::from(codec);
        header.base_offset = Offset(base);
        header.base_timestamp = TimestampMs(base);
        header.base_sequence = sequence;
        let batch = [&header.to_bytes()[..], &payload].concat();
        if let Ok(records) = Records::new(&batch, 1 << 16) {
            for record in records.iter().flatten() {
                for header in record.headers {
                    prop_assert!(header.key.len() <= payload.len().max(1 << 16));
                }
            }
        }
    }
}
