use super::*;
use crate::error::ErrorCode;
use crate::log::test_log::config;
use crate::protocol::compression::compress;
use crate::protocol::record_batch::{BatchBuilder, HEADER_BYTES, Records};
use crate::types::{Offset, ProducerEpoch, ProducerId};

const NOW: TimestampMs = TimestampMs(1_000_000_000);

fn batch(compression: Compression, records: &[(i64, Option<&[u8]>)]) -> BatchBuilder {
    let mut builder = BatchBuilder::new(Offset::ZERO, compression);
    for (timestamp, key) in records {
        builder.append(TimestampMs(*timestamp), *key, Some(b"value"), &[]);
    }
    builder
}

fn plain() -> Vec<u8> {
    batch(Compression::None, &[(NOW.0, None), (NOW.0 - 5, None)]).build()
}

fn check<'a>(bytes: &'a [u8], config: &LogConfig) -> Result<Validated<'a>, AppendError> {
    validate(bytes, &"t-0", config, AppendOrigin::Client, NOW)
}

fn refusal(bytes: &[u8], config: &LogConfig) -> AppendError {
    check(bytes, config).unwrap_err()
}

#[test]
fn the_ordinary_batch_stays_where_it_is() {
    for compression in Compression::ALL {
        let bytes = batch(compression, &[(NOW.0, None)]).build();
        let checked = check(&bytes, &config()).unwrap();
        assert!(matches!(checked.bytes, Cow::Borrowed(same) if same == bytes));
        assert_eq!(checked.log_append_time, None);
        assert_eq!(checked.header, BatchHeader::parse(&bytes).unwrap());
    }
}

#[test]
fn what_is_broken_is_refused_with_kafkas_code() {
    let flip = |at: usize| {
        let mut bytes = plain();
        bytes[at] ^= 1;
        bytes
    };
    let with_crc = |change: &dyn Fn(&mut BatchHeader)| {
        let mut bytes = plain();
        let mut header = BatchHeader::parse(&bytes).unwrap();
        change(&mut header);
        bytes[..61].copy_from_slice(&header.to_bytes());
        header.crc = crc32c::crc32c(&bytes[21..]);
        bytes[..61].copy_from_slice(&header.to_bytes());
        bytes
    };
    let two = [plain(), plain()].concat();
    let control = BatchBuilder::control(batch(Compression::None, &[(1, None)]), true).build();
    let no_sequence = batch(Compression::None, &[(NOW.0, None)])
        .producer(ProducerId(1), ProducerEpoch(0), -1)
        .build();
    for (what, bytes, code) in [
        ("nothing", Vec::new(), ErrorCode::InvalidRecord),
        ("a byte of a record", flip(70), ErrorCode::CorruptMessage),
        ("the crc", flip(17), ErrorCode::CorruptMessage),
        ("a cut", plain()[..75].to_vec(), ErrorCode::InvalidRecord),
        ("two batches", two, ErrorCode::InvalidRecord),
        ("a marker", control, ErrorCode::InvalidRecord),
        ("no sequence", no_sequence, ErrorCode::InvalidRecord),
        (
            "a base offset",
            with_crc(&|h| h.base_offset = Offset(3)),
            ErrorCode::InvalidRecord,
        ),
        (
            "a count",
            with_crc(&|h| h.records_count = 3),
            ErrorCode::InvalidRecord,
        ),
        (
            "no records",
            with_crc(&|h| h.records_count = 0),
            ErrorCode::InvalidRecord,
        ),
        (
            "a delta",
            with_crc(&|h| h.last_offset_delta = -1),
            ErrorCode::InvalidRecord,
        ),
        (
            "a codec",
            with_crc(&|h| h.attributes |= 7),
            ErrorCode::UnknownServerError,
        ),
    ] {
        assert_eq!(refusal(&bytes, &config()).code(), code, "{what}");
    }
}

#[test]
fn sizes_are_bounded_before_and_after_recompression() {
    let bytes = plain();
    let exact = LogConfig {
        max_message_bytes: bytes.len() as i32,
        ..config()
    };
    assert!(check(&bytes, &exact).is_ok());
    let less = LogConfig {
        max_message_bytes: bytes.len() as i32 - 1,
        ..config()
    };
    assert_eq!(refusal(&bytes, &less).code(), ErrorCode::MessageTooLarge);

    let mut large = BatchBuilder::new(Offset::ZERO, Compression::Gzip);
    large.append(NOW, None, Some(&[0; 5000]), &[]);
    let small = large.build();
    let unpacked = LogConfig {
        max_message_bytes: 1000,
        compression: Some(Compression::None.into()),
        ..config()
    };
    assert!(small.len() < 1000);
    assert_eq!(
        refusal(&small, &unpacked).code(),
        ErrorCode::MessageTooLarge
    );

    let segment = LogConfig {
        segment_bytes: bytes.len() as u32 - 1,
        ..config()
    };
    assert_eq!(
        refusal(&bytes, &segment).code(),
        ErrorCode::RecordListTooLarge
    );
}

#[test]
fn the_records_of_a_compressed_batch_are_bounded_each() {
    let limited = LogConfig {
        max_decompressed_bytes: 50_000,
        ..config()
    };
    for codec in Compression::ALL {
        let two = |bytes: usize| {
            let mut builder = BatchBuilder::new(Offset::ZERO, codec);
            for _ in 0..2 {
                builder.append(NOW, None, Some(&vec![0; bytes]), &[]);
            }
            builder.build()
        };
        assert!(check(&two(40_000), &limited).is_ok());
        let large = two(60_000);
        let found = check(&large, &limited).map_err(|error| error.code());
        match codec {
            Compression::None => assert!(found.is_ok()),
            _ => assert_eq!(found.unwrap_err(), ErrorCode::InvalidRecord),
        }
    }
}

/// A batch of these bytes as its records, sealed.
fn of_payload(
    codec: Compression,
    records: &[u8],
    change: impl FnOnce(&mut BatchHeader),
) -> Vec<u8> {
    let mut payload = Vec::new();
    compress(codec, records, &mut payload).unwrap();
    let mut header = BatchHeader::parse(&plain()).unwrap();
    header.attributes = i16::from(codec.id());
    header.batch_length = (HEADER_BYTES - 12 + payload.len()) as i32;
    change(&mut header);
    let mut bytes = [&header.to_bytes()[..], &payload].concat();
    header.crc = crc32c::crc32c(&bytes[21..]);
    bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    bytes
}

#[test]
fn records_are_looked_at_on_the_ordinary_path() {
    let two = [12, 0, 0, 0, 1, 1, 0, 12, 0, 0, 2, 1, 1, 0];
    let changed = |at: usize, to: u8| {
        let mut bytes = two;
        bytes[at] = to;
        bytes
    };
    for codec in Compression::ALL {
        let found = |records: &[u8]| {
            let bytes = of_payload(codec, records, |_| {});
            check(&bytes, &config()).map(|_| ()).map_err(|e| e.code())
        };
        assert_eq!(found(&two), Ok(()));
        for (what, records) in [
            ("the same number twice", changed(10, 0)),
            ("a number left out", changed(10, 4)),
            ("a size that lies", changed(7, 10)),
            ("a key that is not there", changed(11, 100)),
            ("headers that are not there", changed(13, 2)),
        ] {
            assert_eq!(
                found(&records),
                Err(ErrorCode::InvalidRecord),
                "{codec:?}: {what}"
            );
        }
        assert_eq!(found(&two[..7]), Err(ErrorCode::InvalidRecord));
        assert_eq!(found(&[two, two].concat()), Err(ErrorCode::InvalidRecord));
        // What is made anew is numbered anew.
        let bytes = of_payload(codec, &changed(10, 4), |_| {});
        let other = if codec == Compression::Lz4 {
            Compression::Gzip
        } else {
            Compression::Lz4
        };
        let anew = LogConfig {
            compression: Some(other.into()),
            ..config()
        };
        let stored = check(&bytes, &anew).unwrap();
        let records = Records::new(&stored.bytes, 1000).unwrap();
        let offsets: Vec<i64> = records.iter().map(|r| r.unwrap().offset.0).collect();
        assert_eq!(offsets, [0, 1]);
    }
}

#[test]
fn the_largest_time_is_the_largest_of_the_records() {
    for codec in Compression::ALL {
        for told in [NOW.0, NOW.0 - 5, NOW.0 + 7, -1, i64::MAX, i64::MIN] {
            let mut bytes = batch(codec, &[(NOW.0 - 5, None), (NOW.0, None)]).build();
            let mut header = BatchHeader::parse(&bytes).unwrap();
            header.max_timestamp = TimestampMs(told);
            bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
            header.crc = crc32c::crc32c(&bytes[21..]);
            bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
            let stored = check(&bytes, &config()).unwrap();
            assert_eq!(stored.header.max_timestamp, NOW);
            ensure_crc(&stored.bytes).unwrap();
            assert_eq!(matches!(stored.bytes, Cow::Borrowed(_)), told == NOW.0);
        }
    }
}

#[test]
fn the_one_time_that_passes_by_wrapping_hides_no_other() {
    let window = LogConfig {
        timestamp_before_max_ms: 100,
        timestamp_after_max_ms: 10,
        ..config()
    };
    let wraps = NOW.0.wrapping_add(i64::MIN);
    assert!(check(&batch(Compression::None, &[(wraps, None)]).build(), &window).is_ok());
    let bytes = batch(
        Compression::None,
        &[(wraps, None), (5, None), (NOW.0, None)],
    )
    .build();
    let error = refusal(&bytes, &window);
    assert_eq!(error.record_errors().len(), 1);
    assert_eq!(error.record_errors()[0].batch_index, 1);
}

#[test]
fn compacted_topics_need_keys() {
    let mut compacted = config();
    compacted.cleanup_policy.compact = true;
    let keyed = batch(Compression::Lz4, &[(NOW.0, Some(b"k")), (NOW.0, Some(b""))]).build();
    assert!(matches!(
        check(&keyed, &compacted).unwrap().bytes,
        Cow::Borrowed(_)
    ));

    let bytes = batch(Compression::None, &[(NOW.0, Some(b"k")), (NOW.0, None)]).build();
    let error = refusal(&bytes, &compacted);
    assert_eq!(error.code(), ErrorCode::InvalidRecord);
    assert_eq!(
        error.client_message().unwrap(),
        "One or more records have been rejected due to 1 record errors in total, and only showing the first three errors at most: \
         [RecordError(batchIndex=1, message='Compacted topic cannot accept message without key in topic partition t-0')]"
    );
    assert_eq!(error.record_errors().len(), 1);
    assert_eq!(error.record_errors()[0].batch_index, 1);
    // A coordinator knows what it writes.
    assert!(validate(&bytes, &"t-0", &compacted, AppendOrigin::Coordinator, NOW).is_ok());
}

#[test]
fn timestamps_are_held_to_their_window() {
    let window = LogConfig {
        timestamp_before_max_ms: 100,
        timestamp_after_max_ms: 10,
        ..config()
    };
    for (ahead, fine) in [
        (0, true),
        (10, true),
        (11, false),
        (-100, true),
        (-101, false),
    ] {
        let bytes = batch(Compression::Snappy, &[(NOW.0, None), (NOW.0 + ahead, None)]).build();
        let checked = check(&bytes, &window);
        match checked {
            Ok(_) => assert!(fine, "{ahead}"),
            Err(error) => {
                assert!(!fine, "{ahead}");
                assert_eq!(error.code(), ErrorCode::InvalidTimestamp);
                assert_eq!(error.record_errors()[0].batch_index, 1);
                let message = &error.record_errors()[0].message;
                assert!(message.contains("[999999900, 1000000010]"), "{message}");
            }
        }
    }
    // No timestamp is no wrong one.
    let none = batch(Compression::None, &[(-1, None)]).build();
    assert!(check(&none, &window).is_ok());
    // Without a lower bound the head is enough; the upper one still holds.
    let upper = LogConfig {
        timestamp_after_max_ms: 10,
        ..config()
    };
    let late = batch(Compression::None, &[(NOW.0 + 11, None)]).build();
    assert_eq!(refusal(&late, &upper).code(), ErrorCode::InvalidTimestamp);
}

#[test]
fn the_broker_stamps_where_the_topic_asks_for_it() {
    let stamping = LogConfig {
        log_append_time: true,
        timestamp_after_max_ms: 1,
        ..config()
    };
    let bytes = batch(Compression::Gzip, &[(NOW.0 * 2, None), (3, None)]).build();
    let checked = check(&bytes, &stamping).unwrap();
    assert_eq!(checked.log_append_time, Some(NOW));
    assert_eq!(
        checked.header.timestamp_type(),
        TimestampType::LogAppendTime
    );
    assert_eq!(checked.header.max_timestamp, NOW);
    ensure_crc(&checked.bytes).unwrap();
    let records = Records::new(&checked.bytes, usize::MAX).unwrap();
    assert!(
        records
            .iter()
            .all(|record| record.unwrap().timestamp == NOW)
    );
    // What a client has stamped for the broker is refused.
    let stamped = BatchBuilder::new(Offset::ZERO, Compression::None)
        .log_append_time(NOW)
        .append(NOW, None, None, &[])
        .build();
    assert_eq!(
        refusal(&stamped, &stamping).code(),
        ErrorCode::InvalidTimestamp
    );
    // Where the producer stamps, the batch says so in the end.
    let checked = check(&stamped, &config()).unwrap();
    assert_eq!(checked.header.timestamp_type(), TimestampType::CreateTime);
    ensure_crc(&checked.bytes).unwrap();
}

#[test]
fn the_topics_compression_replaces_the_producers() {
    let header = crate::protocol::record_batch::Header {
        key: b"h",
        value: None,
    };
    for wanted in Compression::ALL {
        let mut builder = BatchBuilder::new(Offset::ZERO, Compression::Zstd)
            .producer(ProducerId(9), ProducerEpoch(2), 77)
            .transactional(true);
        builder.append(NOW, Some(b"a"), None, &[header, header]);
        builder.append(TimestampMs(NOW.0 - 9), None, Some(b"b"), &[]);
        let bytes = builder.build();
        let config = LogConfig {
            compression: Some(wanted.into()),
            ..config()
        };
        let checked = check(&bytes, &config).unwrap();
        assert_eq!(checked.header.compression(), Ok(wanted));
        assert_eq!(checked.header.base_sequence, 77);
        assert_eq!(checked.header.producer_epoch, ProducerEpoch(2));
        assert!(checked.header.is_transactional());
        ensure_crc(&checked.bytes).unwrap();
        let (before, after) = (
            Records::new(&bytes, usize::MAX).unwrap(),
            Records::new(&checked.bytes, usize::MAX).unwrap(),
        );
        assert_eq!(before.iter().count(), 2);
        for (before, after) in before.iter().zip(after.iter()) {
            let (before, after) = (before.unwrap(), after.unwrap());
            assert_eq!(
                (before.offset, before.timestamp, before.key, before.value),
                (after.offset, after.timestamp, after.key, after.value)
            );
            assert!(before.headers.eq(after.headers));
        }
    }
}
