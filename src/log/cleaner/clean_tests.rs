//! Whole cleanings of small logs.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::config::CleanupPolicy;
use crate::log::memory::MemStorage;
use crate::log::storage::Storage;
use crate::log::test_log::{self, DIR, append, clean, clean_while, flush, open_log};
use crate::log::{LogConfig, PartitionLog, open};
use crate::protocol::compression::Compression;
use crate::protocol::record_batch::{BatchBuilder, Records};

pub(in crate::log::cleaner) fn compacted() -> LogConfig {
    LogConfig {
        cleanup_policy: CleanupPolicy {
            delete: false,
            compact: true,
        },
        segment_bytes: 1000,
        index_interval_bytes: 100,
        ..test_log::config()
    }
}

pub(in crate::log::cleaner) fn cleaner() -> Cleaner {
    Cleaner::new(1 << 20, 0.9, 600)
}

fn keyed(records: &[(&str, Option<&str>)]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Offset::ZERO, Compression::None);
    for (key, value) in records {
        builder.append(
            TimestampMs(100),
            Some(key.as_bytes()),
            value.map(str::as_bytes),
            &[],
        );
    }
    builder.build()
}

/// Offset, key and value of all there is, in the log's order.
fn contents(log: &PartitionLog) -> Vec<(i64, String, Option<String>)> {
    let mut found = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let storage = &*log.storage;
    for segment in &log.segments {
        for batch in segment.scan(storage, 0).unwrap() {
            let bytes = batch
                .unwrap()
                .read(&*segment.file(storage).unwrap())
                .unwrap();
            for record in Records::new(&bytes, 1 << 20).unwrap().iter() {
                let record = record.unwrap();
                found.push((
                    record.offset.0,
                    text(record.key.unwrap_or_default()),
                    record.value.map(text),
                ));
            }
        }
    }
    found
}

fn offsets(log: &PartitionLog) -> Vec<i64> {
    contents(log)
        .into_iter()
        .map(|(offset, ..)| offset)
        .collect()
}

/// A log with each of `rounds` times «a» to «d», a segment a round, and an active segment with one record.
fn log_of(storage: &Arc<dyn Storage>, config: LogConfig, rounds: usize) -> PartitionLog {
    let mut log = test_log::log(storage, config);
    for round in 0..rounds {
        for key in ["a", "b", "c", "d"] {
            append(&mut log, &keyed(&[(key, Some(&format!("{round}")))]));
        }
        log.roll().unwrap();
    }
    append(&mut log, &keyed(&[("a", Some("last"))]));
    flush(&mut log);
    log
}

fn storage() -> Arc<dyn Storage> {
    Arc::new(MemStorage::default())
}

fn names(storage: &Arc<dyn Storage>) -> Vec<String> {
    let entries = storage.list(Path::new(DIR)).unwrap();
    entries.into_iter().map(|entry| entry.name).collect()
}

#[test]
fn the_last_of_each_key_below_the_active_segment_stays() {
    let storage = storage();
    let mut log = log_of(&storage, compacted(), 3);
    let stats = clean(&mut log, &mut cleaner(), (13, 1000))
        .unwrap()
        .unwrap();
    assert_eq!(offsets(&log), [8, 9, 10, 11, 12]);
    assert_eq!(stats.cleaned_to, Offset(12));
    assert_eq!((stats.records_read, stats.records_written), (12, 4));
    assert_eq!((stats.segments_before, stats.segments_after), (3, 1));
    assert_eq!(log.cleaner_checkpoint(), Some(Offset(12)));
    assert_eq!(log.segment_count(), 2);
    let sizes: u64 = log.segments.iter().map(|s| u64::from(s.size())).sum();
    assert_eq!(log.size_bytes(), sizes);
    assert!(names(&storage).iter().all(|name| !name.ends_with(CLEANED)
        && !name.ends_with(".swap")
        && !name.ends_with(".deleted")));
    // There is nothing more to do.
    assert!(clean(&mut log, &mut cleaner(), (13, 1000)).is_none());
    // A reader of what is gone goes on with what is left.
    let bytes = test_log::read_bytes(&log, 0, 1 << 20, 13, true);
    assert_eq!(BatchHeader::parse(&bytes).unwrap().base_offset, Offset(8));
    // And so after a restart.
    let again = open(
        Arc::clone(&storage),
        Path::new(DIR),
        open_log(compacted(), false, 13),
        &|_| {},
    );
    assert_eq!(offsets(&again.unwrap()), [8, 9, 10, 11, 12]);
}

#[test]
fn nothing_beyond_the_bounds_is_touched() {
    // High watermark, flushed, min lag: what is left.
    let table: [(i64, bool, i64, &[i64]); 5] = [
        (13, true, 0, &[8, 9, 10, 11, 12]),
        (11, true, 0, &[4, 5, 6, 7, 8, 9, 10, 11, 12]),
        (3, true, 0, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        (13, false, 0, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        // All were written at 100: at 1000 they are not old enough.
        (13, true, 901, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
    ];
    for (bound, flushed, min_lag, left) in table {
        let mut config = compacted();
        config.compaction.min_lag_ms = min_lag;
        let storage = storage();
        let mut log = log_of(&storage, config, 3);
        if !flushed {
            log.flushed = Offset(2);
        }
        let cleaned = clean(&mut log, &mut cleaner(), (bound, 1000));
        assert_eq!(offsets(&log), left, "{bound} {flushed} {min_lag}");
        assert_eq!(cleaned.is_some(), left.len() < 13);
    }
}

#[test]
fn a_log_is_cleaned_when_it_is_dirty_enough_or_has_waited_too_long() {
    let mut config = compacted();
    config.compaction.min_dirty_ratio = 0.5;
    let storage = storage();
    let mut log = log_of(&storage, config.clone(), 3);
    assert!(clean(&mut log, &mut cleaner(), (13, 1000)).is_some());
    // Three records beside four clean ones are less than half.
    for key in ["a", "b"] {
        append(&mut log, &keyed(&[(key, Some("n"))]));
    }
    log.roll().unwrap();
    append(&mut log, &keyed(&[("x", Some("y"))]));
    flush(&mut log);
    assert!(clean(&mut log, &mut cleaner(), (16, 1000)).is_none());
    config.compaction.max_lag_ms = 900;
    log.set_config(config.clone());
    assert!(clean(&mut log, &mut cleaner(), (16, 1000)).is_none());
    assert!(clean(&mut log, &mut cleaner(), (16, 1001)).is_some());
    assert_eq!(offsets(&log), [10, 11, 13, 14, 15]);
    // Another policy is not compaction's.
    let mut log = log_of(&storage_of(), compacted(), 3);
    log.set_config(test_log::config());
    assert!(clean(&mut log, &mut cleaner(), (13, 1000)).is_none());
}

fn storage_of() -> Arc<dyn Storage> {
    storage()
}

#[test]
fn a_full_map_cleans_as_far_as_it_goes_and_the_next_goes_on() {
    let storage = storage();
    let mut log = test_log::log(&storage, compacted());
    for n in 0..60 {
        append(&mut log, &keyed(&[(&format!("{}", n % 30), Some("v"))]));
    }
    log.roll().unwrap();
    append(&mut log, &keyed(&[("x", Some("y"))]));
    flush(&mut log);
    // Room for ten keys.
    let mut small = Cleaner::new(24 * 12, 0.9, 600);
    let mut ends = Vec::new();
    while let Some(cleaned) = clean(&mut log, &mut small, (61, 1000)) {
        let stats = cleaned.unwrap();
        assert!(stats.buffer_utilization <= 1.0);
        ends.push(stats.cleaned_to.0);
    }
    assert!(
        ends.is_sorted() && ends.len() >= 6 && ends[0] > 0,
        "{ends:?}"
    );
    assert_eq!(ends.last(), Some(&60));
    assert_eq!(offsets(&log), (30..61).collect::<Vec<_>>());
}

#[test]
fn tombstones_go_a_delete_retention_later() {
    let mut config = compacted();
    config.compaction.delete_retention_ms = 50;
    let storage = storage();
    let mut log = test_log::log(&storage, config);
    append(&mut log, &keyed(&[("a", Some("v")), ("b", Some("v"))]));
    append(&mut log, &keyed(&[("a", None), ("c", Some("v"))]));
    let end = |log: &mut PartitionLog| {
        log.roll().unwrap();
        let info = append(log, &keyed(&[("x", Some("y"))]));
        flush(log);
        info.last_offset.0 + 1
    };
    let bound = end(&mut log);
    clean(&mut log, &mut cleaner(), (bound, 1000))
        .unwrap()
        .unwrap();
    assert_eq!(offsets(&log), [1, 2, 3, 4]);
    for (now, left) in [(1049, vec![1, 2, 3, 4, 5]), (1050, vec![1, 3, 5, 6])] {
        let bound = end(&mut log);
        clean(&mut log, &mut cleaner(), (bound, now))
            .unwrap()
            .unwrap();
        assert_eq!(offsets(&log), left);
    }
}

#[test]
fn a_batch_larger_than_the_buffer_is_read_whole() {
    let storage = storage();
    let mut log = test_log::log(
        &storage,
        LogConfig {
            segment_bytes: 1 << 20,
            ..compacted()
        },
    );
    let large = "x".repeat(5000);
    append(&mut log, &keyed(&[("a", Some("1"))]));
    append(
        &mut log,
        &keyed(&[("b", Some(&large)), ("a", Some(&large))]),
    );
    append(&mut log, &keyed(&[("b", Some("2"))]));
    log.roll().unwrap();
    append(&mut log, &keyed(&[("x", None)]));
    flush(&mut log);
    clean(&mut log, &mut cleaner(), (5, 1000)).unwrap().unwrap();
    assert_eq!(offsets(&log), [2, 3, 4]);
}

#[test]
fn damage_ends_a_cleaning_and_leaves_the_log() {
    let storage = storage();
    let mut log = log_of(&storage, compacted(), 3);
    let before = contents(&log);
    let path = Path::new(DIR).join(file_name(Offset(4), ".log"));
    let file = storage.open(&path, OpenMode::Write).unwrap();
    // The base offset, the length, the CRC, and what it covers; in the second batch.
    for at in [1, 7, 9, 11, 17, 22, 60, 69] {
        let place = 70 + at;
        let mut byte = [0];
        read_exact_at(&*file, &mut byte, place).unwrap();
        file.write_at(&mut [IoSlice::new(&[byte[0] ^ 1])], place)
            .unwrap();
        let cleaned = clean(&mut log, &mut cleaner(), (13, 1000)).unwrap();
        let error = cleaned.unwrap_err();
        assert!(
            matches!(&error, CleanError::Damaged { position: 70, .. }),
            "{at}: {error}"
        );
        file.write_at(&mut [IoSlice::new(&byte)], place).unwrap();
        assert_eq!(contents(&log), before);
        assert!(names(&storage).iter().all(|name| !name.ends_with(CLEANED)));
        assert!(!log.is_being_cleaned());
        assert_eq!(log.cleaner_checkpoint(), None);
    }
}

/// Whatever happens to a log while it is cleaned: the cleaning ends and changes nothing of what came of it.
#[test]
fn a_log_that_changes_meanwhile_ends_its_cleaning() {
    type Change = fn(&mut PartitionLog);
    let changes: [(&str, Change, bool); 8] = [
        (
            "cut",
            |log| assert!(log.truncate_to(Offset(6)).unwrap()),
            true,
        ),
        (
            "started over",
            |log| log.truncate_fully_and_start_at(Offset(3)).unwrap(),
            true,
        ),
        (
            "cut above what is cleaned",
            |log| assert!(log.truncate_to(Offset(12)).unwrap()),
            true,
        ),
        (
            "no longer compacted",
            |log| log.set_config(test_log::config()),
            true,
        ),
        ("closed", PartitionLog::abort_cleaning, true),
        (
            "appended to",
            |log| assert_eq!(append(log, &keyed(&[("a", Some("z"))])).records, 1),
            false,
        ),
        ("rolled", |log| log.roll().unwrap(), false),
        (
            "records deleted",
            |log| log.delete_records_before(Offset(5)).unwrap(),
            false,
        ),
    ];
    for (what, change, ends) in changes {
        // Before each pause of a cleaning in turn.
        for at in 0.. {
            let storage = storage();
            let mut log = log_of(&storage, compacted(), 3);
            let mut expected = {
                let storage = self::storage();
                let mut log = log_of(&storage, compacted(), 3);
                change(&mut log);
                (contents(&log), log.log_start, log.log_end)
            };
            let count = std::cell::Cell::new(0);
            let result = clean_while(
                &mut log,
                &mut cleaner(),
                (13, 1000),
                Box::new(|log| {
                    if count.get() == at {
                        change(log);
                    }
                    count.set(count.get() + 1);
                }),
            );
            let result = result.unwrap();
            if count.get() <= at {
                assert!(at > 3, "{at}");
                break;
            }
            assert_eq!(result.is_err(), ends, "{what}");
            if !ends {
                expected.0.retain(|(offset, ..)| *offset >= 8);
            }
            assert_eq!(
                (contents(&log), log.log_start, log.log_end),
                expected,
                "{what} at {at}"
            );
            assert!(
                names(&storage).iter().all(|name| !name.ends_with(CLEANED)),
                "{what}"
            );
            assert_eq!(log.cleaner_checkpoint(), (!ends).then_some(Offset(12)));
            assert!(!log.is_being_cleaned());
        }
    }
}

#[test]
fn one_cleaning_at_a_time_and_no_retention_meanwhile() {
    let storage = storage();
    let mut config = compacted();
    config.cleanup_policy.delete = true;
    let mut log = log_of(&storage, config, 3);
    let bounds = Offset(13);
    let now = TimestampMs(1000);
    assert!(log.begin_cleaning(bounds, now).unwrap().is_some());
    assert!(log.begin_cleaning(bounds, now).unwrap().is_none());
    log.delete_records_before(Offset(8)).unwrap();
    assert_eq!(log.delete_old_segments(Offset(13), now).unwrap(), None);
    // Until the other one is really gone.
    log.abort_cleaning();
    assert!(log.begin_cleaning(bounds, now).unwrap().is_none());
    log.end_cleaning(None);
    assert!(log.delete_old_segments(Offset(13), now).unwrap().is_some());
    assert!(log.begin_cleaning(bounds, now).unwrap().is_some());
    log.end_cleaning(None);
    log.mark_uncleanable();
    assert!(log.begin_cleaning(bounds, now).unwrap().is_none());
}

#[test]
fn a_checkpoint_follows_the_log() {
    let storage = storage();
    let mut log = log_of(&storage, compacted(), 3);
    clean(&mut log, &mut cleaner(), (13, 1000))
        .unwrap()
        .unwrap();
    log.truncate_to(Offset(9)).unwrap();
    assert_eq!(log.cleaner_checkpoint(), Some(Offset(9)));
    // What is written there now is dirty.
    for key in ["a", "b", "a"] {
        append(&mut log, &keyed(&[(key, Some("new"))]));
    }
    log.roll().unwrap();
    append(&mut log, &keyed(&[("x", None)]));
    flush(&mut log);
    clean(&mut log, &mut cleaner(), (13, 1000))
        .unwrap()
        .unwrap();
    assert_eq!(offsets(&log), [10, 11, 12]);
}

/// The hole ends in a segment with index entries of its own, all of them beyond the hole.
#[test]
fn a_reader_in_a_hole_comes_to_the_next_batch() {
    let storage = storage();
    let mut log = test_log::log(&storage, compacted());
    for _ in 0..4 {
        append(&mut log, &keyed(&[("a", Some("v"))]));
    }
    log.roll().unwrap();
    for n in 0..10 {
        append(
            &mut log,
            &keyed(&[(&format!("{n}"), Some("v")), ("a", Some("v"))]),
        );
    }
    log.roll().unwrap();
    append(&mut log, &keyed(&[("x", Some("v"))]));
    flush(&mut log);
    let config = LogConfig {
        segment_bytes: 800,
        ..compacted()
    };
    log.set_config(config);
    clean(&mut log, &mut cleaner(), (25, 1000))
        .unwrap()
        .unwrap();
    assert_eq!(log.segment_count(), 3);
    for offset in 0..4 {
        let bytes = test_log::read_bytes(&log, offset, 1 << 20, 25, true);
        assert_eq!(
            BatchHeader::parse(&bytes).unwrap().base_offset,
            Offset(4),
            "{offset}"
        );
    }
}

/// Kafka's end is where it was asked to be, not where the next batch begins.
#[test]
fn a_cut_in_a_hole_ends_the_log_there() {
    let storage = storage();
    let mut log = log_of(&storage, compacted(), 3);
    clean(&mut log, &mut cleaner(), (13, 1000))
        .unwrap()
        .unwrap();
    assert_eq!(offsets(&log), [8, 9, 10, 11, 12]);
    log.truncate_to(Offset(5)).unwrap();
    assert_eq!(log.log_end_offset(), Offset(5));
    assert_eq!(
        append(&mut log, &keyed(&[("n", None)])).first_offset,
        Offset(5)
    );
}

/// As a zip bomb, or a producer with a very good codec.
#[test]
fn a_batch_that_becomes_too_much_stays_and_the_log_is_cleaned_around_it() {
    let large = "x".repeat(2 << 20);
    let oversized = |codec| {
        let mut builder = BatchBuilder::new(Offset::ZERO, codec);
        for key in ["a", "b"] {
            builder.append(
                TimestampMs(100),
                Some(key.as_bytes()),
                Some(large.as_bytes()),
                &[],
            );
        }
        builder.build()
    };
    let headers = |log: &PartitionLog| -> Vec<(i64, i32)> {
        let scans = log
            .segments
            .iter()
            .map(|s| s.scan(&*log.storage, 0).unwrap());
        let batches = scans.flatten().map(|batch| batch.unwrap().header);
        batches
            .map(|h| (h.base_offset.0, h.records_count))
            .collect()
    };
    for codec in [Compression::Zstd, Compression::Gzip] {
        let mut config = compacted();
        config.compaction.delete_retention_ms = 50;
        config.segment_bytes = 1 << 20;
        config.max_decompressed_bytes = 8 << 20;
        let storage = storage();
        let mut log = test_log::log(&storage, config);
        append(
            &mut log,
            &keyed(&[("c", Some("1")), ("a", None), ("d", Some("1"))]),
        );
        append(&mut log, &oversized(codec));
        append(
            &mut log,
            &keyed(&[("b", None), ("c", Some("2")), ("d", None)]),
        );
        let end = |log: &mut PartitionLog| {
            log.roll().unwrap();
            let info = append(log, &keyed(&[("x", Some("y"))]));
            flush(log);
            info.last_offset.0 + 1
        };
        let bound = end(&mut log);
        let stats = clean(&mut log, &mut cleaner(), (bound, 1000))
            .unwrap()
            .unwrap();
        assert_eq!((stats.oversized_batches, stats.cleaned_to), (1, Offset(8)));
        assert_eq!((stats.records_read, stats.records_written), (8, 6));
        // What it may have deleted, and what deletes something in it, is there.
        assert_eq!(headers(&log), [(0, 1), (3, 2), (5, 3), (8, 1)], "{codec:?}");
        let bound = end(&mut log);
        let stats = clean(&mut log, &mut cleaner(), (bound, 2000))
            .unwrap()
            .unwrap();
        assert_eq!(stats.oversized_batches, 1);
        // The tombstone of `a` before it is over; the one of `b` behind it must not be.
        assert_eq!(headers(&log), [(3, 2), (5, 3), (8, 1), (9, 1)], "{codec:?}");
    }
}

/// The end was lost in a crash after the cleaning; what was written there since is not clean.
#[test]
fn a_checkpoint_beyond_the_end_of_a_shorter_log_does_not_count() {
    let storage = storage();
    let mut log = log_of(&storage, compacted(), 1);
    log.set_cleaner_checkpoint(Some(Offset(9)));
    assert_eq!(log.cleaner_checkpoint(), None);
    for key in ["a", "b", "c", "d"] {
        append(&mut log, &keyed(&[(key, Some("new"))]));
    }
    log.roll().unwrap();
    append(&mut log, &keyed(&[("x", None)]));
    flush(&mut log);
    clean(&mut log, &mut cleaner(), (10, 1000))
        .unwrap()
        .unwrap();
    assert_eq!(offsets(&log), [5, 6, 7, 8, 9]);
    log.set_cleaner_checkpoint(Some(Offset(10)));
    assert_eq!(log.cleaner_checkpoint(), Some(Offset(10)));
}
