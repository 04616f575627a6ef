//! What stays of a batch, case by case.

use super::*;
use crate::protocol::record_batch::{BatchBuilder, Batches, Header, Records};
use crate::types::LeaderEpoch;

const NOW: i64 = 1_000_000;
const RETENTION: i64 = 500;

struct Setting {
    map: OffsetMap,
    last_records: HashMap<ProducerId, LastRecord>,
    high_watermark: i64,
    now: i64,
}

/// A map that knows so many offsets, and the last of some keys.
fn setting(latest: i64, keys: &[(&str, i64)]) -> Setting {
    let mut map = OffsetMap::new(1 << 16, 0.9, (3, 4));
    map.reset(1000);
    for (key, offset) in keys {
        assert!(map.put(key.as_bytes(), Offset(*offset)));
    }
    map.set_latest(Offset(latest));
    Setting {
        map,
        last_records: HashMap::new(),
        high_watermark: 1 << 40,
        now: NOW,
    }
}

impl Setting {
    fn filter_as(&self, batch: &[u8], may_discard: bool) -> (Filtered, Vec<u8>) {
        let rules = FilterRules {
            map: &self.map,
            last_records: &self.last_records,
            high_watermark: Offset(self.high_watermark),
            now: TimestampMs(self.now),
            delete_retention_ms: RETENTION,
            max_decompressed_bytes: 1 << 20,
            tombstones_stay: false,
        };
        let header = BatchHeader::parse(batch).unwrap();
        let mut out = b"before".to_vec();
        let found = BatchFilter::default()
            .filter(&rules, (&header, batch), may_discard, &mut out)
            .unwrap();
        assert!(out.starts_with(b"before"));
        let out = out.split_off(6);
        match found.header {
            Some(header) => {
                assert_eq!(BatchHeader::parse(&out).unwrap(), header);
                assert!(ensure_crc(&out).is_ok());
                assert_eq!(Batches::new(&out).count(), 1);
                assert_eq!(header.records_count as u64, found.records_kept);
            }
            None => assert!(out.is_empty()),
        }
        (found, out)
    }

    fn filter(&self, batch: &[u8]) -> (Filtered, Vec<u8>) {
        self.filter_as(batch, false)
    }
}

type Row = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>);

/// Offset, timestamp, key and value of what is in a batch.
fn rows(batch: &[u8]) -> Vec<Row> {
    let records = Records::new(batch, 1 << 20).unwrap();
    let row = |record: crate::protocol::record_batch::Record<'_>| {
        (
            record.offset.0,
            record.timestamp.0,
            record.key.map(<[u8]>::to_vec),
            record.value.map(<[u8]>::to_vec),
        )
    };
    records.iter().map(|record| row(record.unwrap())).collect()
}

fn offsets(batch: &[u8]) -> Vec<i64> {
    rows(batch).into_iter().map(|row| row.0).collect()
}

/// Records from offset 10 on: key, whether it has a value; timestamps count up from 100.
fn builder(compression: Compression) -> BatchBuilder {
    BatchBuilder::new(Offset(10), compression)
        .leader_epoch(LeaderEpoch(3))
        .producer(ProducerId(7), ProducerEpoch(1), 40)
}

fn fill(builder: &mut BatchBuilder, records: &[(&str, bool)]) {
    for (at, (key, has_value)) in records.iter().enumerate() {
        let value = has_value.then_some(b"value".as_slice());
        builder.append(
            TimestampMs(100 + at as i64),
            Some(key.as_bytes()),
            value,
            &[],
        );
    }
}

fn batch(records: &[(&str, bool)]) -> Vec<u8> {
    let mut builder = builder(Compression::None);
    fill(&mut builder, records);
    builder.build()
}

#[test]
fn only_the_last_of_a_key_stays_and_nothing_moves() {
    let input = batch(&[("a", true), ("b", true), ("c", true), ("d", true)]);
    let (found, out) = setting(20, &[("a", 15), ("b", 11), ("d", 14)]).filter(&input);
    // «c» is unknown to the map: nothing newer was seen.
    assert_eq!(offsets(&out), [11, 12]);
    assert_eq!((found.records_read, found.records_kept), (4, 2));
    let before = BatchHeader::parse(&input).unwrap();
    let after = found.header.unwrap();
    assert_eq!(after.base_offset, before.base_offset);
    assert_eq!(after.last_offset(), before.last_offset());
    assert_eq!(after.base_sequence, before.base_sequence);
    assert_eq!(after.last_sequence(), before.last_sequence());
    assert_eq!(after.leader_epoch, before.leader_epoch);
    assert_eq!(after.attributes, before.attributes);
    assert_eq!((after.base_timestamp.0, after.max_timestamp.0), (101, 102));
    let kept: Vec<_> = rows(&input)
        .into_iter()
        .filter(|row| [11, 12].contains(&row.0))
        .collect();
    assert_eq!(rows(&out), kept);
}

#[test]
fn what_the_map_has_not_seen_stays() {
    let input = batch(&[("a", true), ("a", true), ("a", true)]);
    assert_eq!(
        offsets(&setting(11, &[("a", 11)]).filter(&input).1),
        [11, 12]
    );
    // All of it: the very bytes.
    let (found, out) = setting(9, &[("a", 9)]).filter(&input);
    assert_eq!(out, input);
    assert_eq!(found.records_kept, 3);
}

#[test]
fn a_batch_that_loses_everything_goes() {
    let input = batch(&[("a", true), ("b", true)]);
    let (found, out) = setting(20, &[("a", 15), ("b", 16)]).filter(&input);
    assert!(out.is_empty() && found.header.is_none());
    assert_eq!((found.records_read, found.records_kept), (2, 0));
}

#[test]
fn records_without_a_key_go() {
    let mut builder = builder(Compression::None);
    builder.append(TimestampMs(100), None, Some(b"v"), &[]);
    builder.append(TimestampMs(100), Some(b""), Some(b"v"), &[]);
    let (found, out) = setting(20, &[]).filter(&builder.build());
    assert_eq!(offsets(&out), [11]);
    assert_eq!(found.keyless, 1);
}

#[test]
fn a_tombstone_stays_until_its_horizon() {
    let input = batch(&[("a", true), ("b", false), ("c", true)]);
    let mut at = setting(20, &[("a", 10), ("b", 11), ("c", 12)]);
    // The first cleaning that meets it says until when.
    let (found, first) = at.filter(&input);
    let header = found.header.unwrap();
    assert_eq!(header.delete_horizon(), Some(TimestampMs(NOW + RETENTION)));
    assert_eq!(rows(&first), rows(&input), "times and offsets stay");
    assert_eq!(header.max_timestamp.0, 102);
    // The next ones leave it.
    at.now = NOW + RETENTION - 1;
    assert_eq!(at.filter(&first).1, first);
    // What goes meanwhile goes, and the horizon stays what it was.
    let other = {
        let mut other = setting(20, &[("a", 15), ("b", 11), ("c", 12)]);
        other.now = at.now;
        other.filter(&first)
    };
    assert_eq!(offsets(&other.1), [11, 12]);
    assert_eq!(
        other.0.header.unwrap().delete_horizon(),
        header.delete_horizon()
    );
    assert_eq!(rows(&other.1), rows(&input)[1..]);
    // When the time has come the tombstone goes.
    at.now = NOW + RETENTION;
    let (found, last) = at.filter(&first);
    assert_eq!(offsets(&last), [10, 12]);
    assert_eq!(
        found.header.unwrap().delete_horizon(),
        header.delete_horizon()
    );
    assert_eq!(rows(&last)[1], rows(&input)[2]);
    // A batch of nothing else goes with it.
    let alone = setting(20, &[]);
    let (_, first) = alone.filter(&batch(&[("b", false)]));
    let mut later = setting(20, &[]);
    later.now = NOW + RETENTION;
    assert!(later.filter(&first).1.is_empty());
}

#[test]
fn a_superseded_tombstone_sets_no_horizon() {
    let input = batch(&[("a", true), ("b", false)]);
    let (found, _) = setting(20, &[("b", 19)]).filter(&input);
    assert_eq!(found.header.unwrap().delete_horizon(), None);
    // One that the map has not seen does: it is a tombstone all the same.
    let (found, _) = setting(9, &[]).filter(&input);
    assert!(found.header.unwrap().delete_horizon().is_some());
}

#[test]
fn the_last_batch_of_a_producer_stays_as_a_head() {
    let input = batch(&[("a", true), ("b", true)]);
    let last = |offset, epoch| LastRecord {
        last_data_offset: offset,
        epoch: ProducerEpoch(epoch),
    };
    for (what, producer, record, stays) in [
        ("its last batch", 7, last(Some(Offset(11)), 1), true),
        ("an earlier one", 7, last(Some(Offset(15)), 1), false),
        ("known by a marker only", 7, last(None, 1), false),
        ("another producer's", 8, last(Some(Offset(11)), 1), false),
    ] {
        let mut at = setting(20, &[("a", 15), ("b", 16)]);
        at.last_records.insert(ProducerId(producer), record);
        let (found, out) = at.filter(&input);
        assert_eq!(found.header.is_some(), stays, "{what}");
        if let Some(header) = found.header {
            let before = BatchHeader::parse(&input).unwrap();
            assert_eq!(out.len(), HEADER_BYTES);
            assert_eq!(header.records_count, 0);
            assert_eq!(header.base_timestamp, TimestampMs::NONE);
            assert_eq!(header.max_timestamp, before.max_timestamp);
            assert_eq!(header.last_offset(), before.last_offset());
            assert_eq!(header.last_sequence(), before.last_sequence());
            assert_eq!(
                (header.producer_id, header.producer_epoch),
                (before.producer_id, before.producer_epoch)
            );
            // And stays so, until the producer has written something else.
            assert_eq!(at.filter(&out).1, out);
            at.last_records
                .insert(ProducerId(7), last(Some(Offset(30)), 1));
            assert!(at.filter(&out).1.is_empty());
        }
    }
    // A batch without a producer is nobody's last.
    let mut plain = BatchBuilder::new(Offset(10), Compression::None);
    fill(&mut plain, &[("a", true)]);
    let mut at = setting(20, &[("a", 15)]);
    at.last_records
        .insert(ProducerId::NONE, last(Some(Offset(10)), -1));
    assert!(at.filter(&plain.build()).1.is_empty());
}

#[test]
fn the_batch_below_the_high_watermark_stays_as_a_head() {
    let input = batch(&[("a", true), ("b", true)]);
    for (high_watermark, stays) in [(11, false), (12, true), (13, false)] {
        let mut at = setting(20, &[("a", 15), ("b", 16)]);
        at.high_watermark = high_watermark;
        assert_eq!(
            at.filter(&input).0.header.is_some(),
            stays,
            "{high_watermark}"
        );
    }
}

#[test]
fn aborted_data_goes_whatever_the_map_says() {
    let mut aborted = builder(Compression::None).transactional(true);
    fill(&mut aborted, &[("a", true), ("b", false)]);
    let aborted = aborted.build();
    let mut at = setting(9, &[]);
    assert!(at.filter_as(&aborted, true).1.is_empty());
    let last = LastRecord {
        last_data_offset: Some(Offset(11)),
        epoch: ProducerEpoch(1),
    };
    at.last_records.insert(ProducerId(7), last);
    let header = at.filter_as(&aborted, true).0.header.unwrap();
    assert_eq!(header.records_count, 0);
    assert!(header.is_transactional() && !header.is_control());
}

#[test]
fn a_marker_goes_a_horizon_after_its_data() {
    let mut marker = BatchBuilder::new(Offset(10), Compression::None)
        .producer(ProducerId(7), ProducerEpoch(1), -1)
        .transactional(true)
        .control(true);
    marker.append(TimestampMs(100), Some(&[0, 0, 0, 1]), Some(&[0; 6]), &[]);
    let marker = marker.build();
    let mut at = setting(20, &[]);
    // There is data: it stays as it is, whatever its key.
    assert_eq!(at.filter(&marker).1, marker);
    // Its data is gone.
    let (found, waiting) = at.filter_as(&marker, true);
    let header = found.header.unwrap();
    assert_eq!(header.delete_horizon(), Some(TimestampMs(NOW + RETENTION)));
    assert!(header.is_control() && header.is_transactional());
    assert_eq!(rows(&waiting), rows(&marker));
    at.now = NOW + RETENTION - 1;
    assert_eq!(at.filter_as(&waiting, true).1, waiting);
    at.now = NOW + RETENTION;
    assert!(at.filter_as(&waiting, true).1.is_empty());
    // Data that turned up again (it cannot) keeps it.
    assert_eq!(at.filter(&waiting).1, waiting);
    // All that is known of a producer.
    let of = |epoch| LastRecord {
        last_data_offset: None,
        epoch: ProducerEpoch(epoch),
    };
    at.last_records.insert(ProducerId(7), of(1));
    let header = at.filter_as(&waiting, true).0.header.unwrap();
    assert!(header.is_control() && header.records_count == 0);
    at.last_records.insert(ProducerId(7), of(2));
    assert!(at.filter_as(&waiting, true).1.is_empty());
}

#[test]
fn headers_are_kept_byte_for_byte_in_every_codec() {
    let header = |key: &'static [u8], value| Header { key, value };
    let headers = [
        header(b"twice", Some(b"1".as_slice())),
        header(b"twice", Some(b"2")),
        header(b"twice", Some(b"1")),
        header(b"", None),
        header(&[0xff, 0xfe], Some(b"not UTF-8")),
    ];
    for codec in Compression::ALL {
        for tombstone in [false, true] {
            let mut builder = builder(codec);
            builder.append(TimestampMs(100), Some(b"a"), Some(b"gone"), &headers);
            let value = (!tombstone).then_some(b"v".as_slice());
            builder.append(TimestampMs(90), Some(b"b"), value, &headers);
            let input = builder.build();
            let (found, out) = setting(20, &[("a", 19)]).filter(&input);
            let after = found.header.unwrap();
            assert_eq!(after.compression().unwrap(), codec);
            assert_eq!(after.delete_horizon().is_some(), tombstone);
            let records = Records::new(&out, 1 << 20).unwrap();
            let record = records.iter().next().unwrap().unwrap();
            assert_eq!(record.headers.collect::<Vec<_>>(), headers);
            assert_eq!(
                (record.offset.0, record.timestamp.0, record.sequence),
                (11, 90, 41)
            );
        }
    }
}

#[test]
fn log_append_time_stays_the_brokers() {
    let mut builder = builder(Compression::None).log_append_time(TimestampMs(777));
    fill(&mut builder, &[("a", true), ("b", false), ("c", true)]);
    let input = builder.build();
    for tombstone_superseded in [true, false] {
        let b = if tombstone_superseded { 19 } else { 11 };
        let (found, out) = setting(20, &[("a", 18), ("b", b)]).filter(&input);
        let header = found.header.unwrap();
        assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!(header.max_timestamp.0, 777);
        assert!(rows(&out).iter().all(|row| row.1 == 777));
    }
}

#[test]
fn a_damaged_batch_is_an_error_and_gets_no_new_crc() {
    let input = batch(&[("a", true), ("b", true)]);
    let at = setting(20, &[("a", 15)]);
    let rules = FilterRules {
        map: &at.map,
        last_records: &at.last_records,
        high_watermark: Offset(0),
        now: TimestampMs(NOW),
        delete_retention_ms: RETENTION,
        max_decompressed_bytes: 1 << 20,
        tombstones_stay: false,
    };
    for at in crate::protocol::record_batch::CRC_COVERS_FROM..input.len() {
        let mut damaged = input.clone();
        damaged[at] ^= 0x20;
        let header = BatchHeader::parse(&damaged).unwrap();
        let mut out = Vec::new();
        let filtered = BatchFilter::default().filter(&rules, (&header, &damaged), false, &mut out);
        assert!(filtered.is_err() && out.is_empty(), "byte {at}");
    }
}
