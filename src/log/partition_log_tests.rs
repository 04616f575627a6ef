use std::path::Path;

use super::*;
use crate::error::ErrorCode;
use crate::log::checkpoint::read_text;
use crate::log::memory::MemStorage;
use crate::log::recovery::bytes_to_read;
use crate::log::storage::OpenMode;
use crate::log::test_log::*;
use crate::log::{AppendOrigin, OpenLog, open};
use crate::protocol::compression::Compression;
use crate::protocol::record_batch::BatchBuilder;
use crate::types::{ProducerEpoch, ProducerId};

fn memory() -> Arc<dyn Storage> {
    Arc::new(MemStorage::default())
}

fn names(storage: &Arc<dyn Storage>) -> Vec<String> {
    let entries = storage.list(Path::new(DIR)).unwrap();
    entries.into_iter().map(|entry| entry.name).collect()
}

fn snapshots(storage: &Arc<dyn Storage>) -> Vec<String> {
    let names = names(storage).into_iter();
    names.filter(|name| name.ends_with(".snapshot")).collect()
}

fn from_producer(sequence: i32, records: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Offset::ZERO, Compression::None).producer(
        ProducerId(5),
        ProducerEpoch(0),
        sequence,
    );
    for _ in 0..records {
        builder.append(TimestampMs(1000), None, Some(b"v"), &[]);
    }
    builder.build()
}

#[test]
fn appended_batches_are_stored_as_they_came_but_for_offset_and_epoch() {
    let storage = memory();
    let mut log = log(&storage, config());
    let sent = batch(1000, 3, 10);
    let first = append(&mut log, &sent);
    let second = log
        .append_as_leader(
            &sent,
            LeaderEpoch(4),
            AppendOrigin::Client,
            TimestampMs(1000),
        )
        .unwrap();
    assert_eq!(
        (first.first_offset, first.last_offset),
        (Offset(0), Offset(2))
    );
    assert_eq!(
        (second.first_offset, second.last_offset),
        (Offset(3), Offset(5))
    );
    assert_eq!((second.records, second.bytes), (3, sent.len()));
    let stored = read_bytes(&log, 0, usize::MAX, 6, true);
    assert_eq!(stored.len(), 2 * sent.len());
    let second = &stored[sent.len()..];
    assert_eq!(second[..8], 3i64.to_be_bytes());
    assert_eq!(second[12..16], 4i32.to_be_bytes());
    assert_eq!((&second[8..12], &second[16..]), (&sent[8..12], &sent[16..]));
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(4)));
    assert_eq!(
        log.end_offset_for_epoch(LeaderEpoch(0)),
        Some((LeaderEpoch(0), Offset(3)))
    );
}

#[test]
fn a_producers_batch_is_in_the_log_once() {
    let storage = memory();
    let mut log = log(&storage, config());
    let first = append(&mut log, &from_producer(0, 3));
    append(&mut log, &from_producer(3, 1));
    let again = append(&mut log, &from_producer(0, 3));
    assert!(again.duplicate && !first.duplicate);
    assert_eq!(
        (again.first_offset, again.last_offset),
        (first.first_offset, first.last_offset)
    );
    assert_eq!(log.log_end_offset(), Offset(4));
    let gap = log
        .append_as_leader(
            &from_producer(9, 1),
            LeaderEpoch(0),
            AppendOrigin::Client,
            TimestampMs(1),
        )
        .unwrap_err();
    assert_eq!(gap.code(), ErrorCode::OutOfOrderSequenceNumber);

    // A restart remembers the last batch of each producer, clean or not.
    flush(&mut log);
    log.close_clean().unwrap();
    for clean in [true, false] {
        let mut log = open(
            Arc::clone(&storage),
            Path::new(DIR),
            open_log(config(), clean, 0),
            &|_| {},
        )
        .unwrap();
        assert!(append(&mut log, &from_producer(3, 1)).duplicate, "{clean}");
        assert_eq!(log.log_end_offset(), Offset(4));
    }
}

#[test]
fn a_failed_write_changes_nothing() {
    let disk = crate::log::crash::CrashStorage::default();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut log = log(&storage, config());
    append(&mut log, &from_producer(0, 2));
    disk.fail_after(Some(0));
    let error = log
        .append_as_leader(
            &from_producer(2, 2),
            LeaderEpoch(0),
            AppendOrigin::Client,
            TimestampMs(1000),
        )
        .unwrap_err();
    assert!(error.is_disk_failure());
    assert_eq!(error.code(), ErrorCode::KafkaStorageError);
    assert_eq!(log.log_end_offset(), Offset(2));
    disk.fail_after(None);
    assert!(!append(&mut log, &from_producer(2, 2)).duplicate);
    assert_eq!(all_batches(&log, 0), [(0, 0, 2), (2, 0, 2)]);
}

/// When does the next batch begin a new segment?
#[test]
fn segments_roll_by_size_age_index_and_distance() {
    let size = batch(0, 1, 100).len() as u32;
    let by_size = LogConfig {
        segment_bytes: 3 * size,
        ..config()
    };
    let by_age = LogConfig {
        segment_ms: 1000,
        ..config()
    };
    // Room for two entries, one after every batch but the first.
    let by_index = LogConfig {
        segment_index_bytes: 24,
        index_interval_bytes: 1,
        ..config()
    };
    for (what, config, times, bases) in [
        (
            "size",
            by_size.clone(),
            &[0, 0, 0, 0, 0, 0, 0][..],
            &[0, 3, 6][..],
        ),
        (
            "age",
            by_age.clone(),
            &[5000, 6000, 6001, 7001, 7002],
            &[0, 2, 4],
        ),
        // Older records do not make it older.
        ("age back", by_age.clone(), &[5000, 1, 5999, 6001], &[0, 3]),
        ("index", by_index, &[1, 2, 3, 4, 5, 6], &[0, 2, 4]),
        ("never", config(), &[0, 1 << 40, 2, 3], &[0]),
    ] {
        let storage = memory();
        let mut log = log(&storage, config);
        for time in times {
            append(&mut log, &batch(*time, 1, 100));
        }
        let found: Vec<i64> = log.segments.iter().map(|s| s.base_offset().0).collect();
        assert_eq!(found, bases, "{what}");
        assert_eq!(all_batches(&log, 0).len(), times.len(), "{what}");
        let all: u64 = log.segments.iter().map(|s| u64::from(s.size())).sum();
        assert_eq!(log.size_bytes(), all, "{what}");
        assert_eq!(all, times.len() as u64 * u64::from(size), "{what}");
    }
}

#[test]
fn the_age_of_a_segment_survives_a_restart() {
    let storage = memory();
    let by_age = LogConfig {
        segment_ms: 1000,
        ..config()
    };
    let mut before = log(&storage, by_age.clone());
    append(&mut before, &batch(5000, 1, 10));
    flush(&mut before);
    before.close_clean().unwrap();
    let mut after = log(&storage, by_age);
    append(&mut after, &batch(6000, 1, 10));
    append(&mut after, &batch(6001, 1, 10));
    assert_eq!(after.segment_count(), 2);
}

#[test]
fn without_timestamps_age_counts_from_the_first_look() {
    let storage = memory();
    let mut log = log(
        &storage,
        LogConfig {
            segment_ms: 1000,
            ..config()
        },
    );
    let mut append = |now| {
        log.append_as_leader(
            &batch(-1, 1, 10),
            LeaderEpoch(0),
            AppendOrigin::Client,
            TimestampMs(now),
        )
        .unwrap();
        log.segment_count()
    };
    assert_eq!([append(5000), append(6000), append(6001)], [1, 1, 2]);
}

#[test]
fn rolls_are_spread_by_jitter_and_always_by_the_same() {
    let storage = memory();
    let mut log = log(
        &storage,
        LogConfig {
            segment_ms: 1000,
            segment_jitter_ms: 500,
            ..config()
        },
    );
    let jitter = log.jitter_ms();
    assert!((0..500).contains(&jitter));
    assert_eq!(log.jitter_ms(), jitter);
    append(&mut log, &batch(0, 1, 1));
    append(&mut log, &batch(1000 - jitter, 1, 1));
    assert_eq!(log.segment_count(), 1);
    append(&mut log, &batch(1001 - jitter, 1, 1));
    assert_eq!(log.segment_count(), 2);
}

#[test]
fn offsets_too_far_from_the_base_begin_a_new_segment() {
    let storage = memory();
    let mut log = log(&storage, config());
    append(&mut log, &batch(1, 1, 1));
    let mut far = BatchBuilder::new(Offset(i64::from(i32::MAX)), Compression::None);
    far.append(TimestampMs(1), None, None, &[]);
    let near = far.build();
    let mut far = BatchBuilder::new(Offset(i64::from(i32::MAX) + 1), Compression::None);
    far.append(TimestampMs(1), None, None, &[]);
    for (bytes, segments) in [(near, 1), (far.build(), 2)] {
        log.append_as_follower(&bytes, LeaderEpoch(0), TimestampMs(1))
            .unwrap();
        assert_eq!(log.segment_count(), segments);
    }
    assert_eq!(
        log.segments[1].base_offset(),
        Offset(i64::from(i32::MAX) + 1)
    );
}

#[test]
fn a_roll_leaves_kafkas_files() {
    let storage = memory();
    let mut log = log(&storage, config());
    append(&mut log, &from_producer(0, 3));
    log.roll().unwrap();
    log.roll().unwrap();
    assert_eq!(log.segment_count(), 2, "an empty segment is not rolled");
    append(&mut log, &from_producer(3, 3));
    flush(&mut log);
    log.close_clean().unwrap();
    assert_eq!(
        names(&storage),
        [
            "00000000000000000000.index",
            "00000000000000000000.log",
            "00000000000000000000.timeindex",
            "00000000000000000003.index",
            "00000000000000000003.log",
            "00000000000000000003.snapshot",
            "00000000000000000003.timeindex",
            "00000000000000000006.snapshot",
            "leader-epoch-checkpoint",
        ]
    );
}

#[test]
fn a_clean_stop_writes_down_an_epoch_only_with_what_it_wrote() {
    let storage = memory();
    let lead = |epoch: i32, work: &dyn Fn(&mut PartitionLog)| {
        let mut log = log(&storage, config());
        log.assign_epoch_start(LeaderEpoch(epoch), log.log_end_offset());
        work(&mut log);
        log.close_clean().unwrap();
        let file = Path::new(DIR).join("leader-epoch-checkpoint");
        read_text(&*storage, &file).unwrap().unwrap_or_default()
    };
    let appended = |log: &mut PartitionLog| {
        append(log, &batch(0, 1, 10));
    };
    assert_eq!(lead(3, &|_| {}), "");
    assert_eq!(lead(4, &|log| (appended(log), flush(log)).1), "0\n1\n4 0\n");
    assert_eq!(lead(5, &|_| {}), "0\n1\n4 0\n");
    // Whoever has flushed it.
    let elsewhere = |log: &mut PartitionLog| (appended(log), log.flushed = log.log_end).1;
    assert_eq!(lead(6, &elsewhere), "0\n2\n4 0\n6 1\n");
    let shorter = |log: &mut PartitionLog| log.delete_records_before(Offset(1)).unwrap();
    assert_eq!(lead(6, &shorter), "0\n1\n6 1\n");
}

fn leaders(base: i64, epoch: i32, records: usize) -> Vec<u8> {
    let mut builder =
        BatchBuilder::new(Offset(base), Compression::None).leader_epoch(LeaderEpoch(epoch));
    for _ in 0..records {
        builder.append(TimestampMs(base), None, Some(b"v"), &[]);
    }
    builder.build()
}

#[test]
fn a_follower_takes_what_its_leader_has() {
    let storage = memory();
    let mut log = log(
        &storage,
        LogConfig {
            segment_bytes: 200,
            ..config()
        },
    );
    let mut sent = [leaders(0, 1, 2), leaders(2, 1, 1), leaders(7, 3, 2)].concat();
    sent.extend(&leaders(9, 3, 1)[..40]);
    let info = log
        .append_as_follower(&sent, LeaderEpoch(3), TimestampMs(0))
        .unwrap()
        .unwrap();
    assert_eq!(
        (info.first_offset, info.last_offset, info.records),
        (Offset(0), Offset(8), 5)
    );
    assert_eq!(all_batches(&log, 0), [(0, 1, 2), (2, 1, 1), (7, 3, 2)]);
    assert_eq!(
        log.segments
            .iter()
            .map(|s| s.base_offset().0)
            .collect::<Vec<_>>(),
        [0, 3],
        "before the hole: one between segments looks like a lost end"
    );
    assert_eq!(
        log.epochs.entries(),
        [(LeaderEpoch(1), Offset(0)), (LeaderEpoch(3), Offset(7))]
    );

    for (what, bytes, code) in [
        (
            "what it has",
            leaders(8, 3, 1),
            ErrorCode::UnknownServerError,
        ),
        (
            "disorder",
            [leaders(20, 3, 1), leaders(19, 3, 1)].concat(),
            ErrorCode::UnknownServerError,
        ),
        (
            "damage",
            [leaders(20, 3, 1), vec![0; 61]].concat(),
            ErrorCode::CorruptMessage,
        ),
    ] {
        let error = log
            .append_as_follower(&bytes, LeaderEpoch(3), TimestampMs(0))
            .unwrap_err();
        assert_eq!(error.code(), code, "{what}");
        assert_eq!(log.log_end_offset(), Offset(9), "{what}");
    }
    // Written by a leader that this replica has not heard of yet.
    let later = [leaders(9, 3, 1), leaders(10, 4, 1)].concat();
    log.append_as_follower(&later, LeaderEpoch(3), TimestampMs(0))
        .unwrap();
    assert_eq!(log.log_end_offset(), Offset(10));
    let nothing = log.append_as_follower(&leaders(10, 4, 1), LeaderEpoch(3), TimestampMs(0));
    assert_eq!(nothing.unwrap(), None);
}

#[test]
fn a_cut_log_goes_on_from_there() {
    for cut in 0..=12 {
        let storage = memory();
        let config = LogConfig {
            segment_bytes: 400,
            index_interval_bytes: 100,
            ..config()
        };
        let mut log = log(&storage, config.clone());
        for n in 0..6 {
            log.append_as_leader(
                &from_producer(2 * n, 2),
                LeaderEpoch(n),
                AppendOrigin::Client,
                TimestampMs(1000),
            )
            .unwrap();
        }
        assert_eq!(log.truncate_to(Offset(cut)).unwrap(), cut < 12);
        // Whole batches only.
        let end = cut / 2 * 2;
        assert_eq!(log.log_end_offset(), Offset(end), "{cut}");
        assert_eq!(all_batches(&log, 0).len() as i64, end / 2, "{cut}");
        assert_eq!(log.epochs.entries().len() as i64, end / 2, "{cut}");
        let all: u64 = log.segments.iter().map(|s| u64::from(s.size())).sum();
        assert_eq!(log.size_bytes(), all, "{cut}");
        // The producer is where it was then.
        if end > 0 {
            assert!(
                append(&mut log, &from_producer(end as i32 - 2, 2)).duplicate,
                "{cut}"
            );
        }
        let again = log
            .append_as_leader(
                &from_producer(end as i32, 1),
                LeaderEpoch(9),
                AppendOrigin::Client,
                TimestampMs(1000),
            )
            .unwrap();
        assert!(!again.duplicate, "{cut}");
        let before = all_batches(&log, 0);
        flush(&mut log);
        log.close_clean().unwrap();
        for clean in [true, false] {
            let log = open(
                Arc::clone(&storage),
                Path::new(DIR),
                open_log(config.clone(), clean, 0),
                &|_| {},
            )
            .unwrap();
            assert_eq!(all_batches(&log, 0), before, "{cut} {clean}");
        }
    }
}

#[test]
fn a_log_can_start_over_elsewhere() {
    let storage = memory();
    let mut log = log(
        &storage,
        LogConfig {
            segment_bytes: 200,
            ..config()
        },
    );
    for n in 0..6 {
        append(&mut log, &from_producer(2 * n, 2));
    }
    log.truncate_fully_and_start_at(Offset(1000)).unwrap();
    assert_eq!(
        (log.log_start_offset(), log.log_end_offset()),
        (Offset(1000), Offset(1000))
    );
    assert_eq!((log.size_bytes(), log.latest_epoch()), (0, None));
    assert!(log.producers().is_empty());
    assert_eq!(
        names(&storage),
        ["00000000000000001000.log", "leader-epoch-checkpoint"]
    );
    append(&mut log, &batch(0, 1, 1));
    assert_eq!(all_batches(&log, 1000), [(1000, 0, 1)]);
    // Cut to before its start, it starts there.
    log.truncate_to(Offset(7)).unwrap();
    assert_eq!(
        (log.log_start_offset(), log.log_end_offset()),
        (Offset(7), Offset(7))
    );
}

#[test]
fn a_flush_of_what_was_cut_meanwhile_does_not_count() {
    let storage = memory();
    let mut log = log(&storage, config());
    for _ in 0..10 {
        append(&mut log, &batch(0, 1, 1));
    }
    let work = log.begin_flush().unwrap().unwrap();
    let up_to = work.up_to;
    log.truncate_to(Offset(5)).unwrap();
    for _ in 0..5 {
        append(&mut log, &batch(0, 1, 1));
    }
    work.run().unwrap();
    log.finish_flush(up_to);
    assert_eq!(log.recovery_point(), Offset(5));
    let work = log.begin_flush().unwrap().unwrap();
    let up_to = work.up_to;
    work.run().unwrap();
    log.finish_flush(up_to);
    assert_eq!(log.recovery_point(), Offset(10));
    assert!(log.begin_flush().unwrap().is_none());
}

#[test]
fn a_log_that_ends_before_its_start_starts_over() {
    let storage = memory();
    let mut before = log(&storage, config());
    append(&mut before, &from_producer(0, 3));
    before.roll().unwrap();
    append(&mut before, &from_producer(3, 2));
    flush(&mut before);
    before.close_clean().unwrap();
    let gone = OpenLog {
        log_start: Offset(9),
        ..open_log(config(), false, 5)
    };
    let mut after = open(Arc::clone(&storage), Path::new(DIR), gone, &|_| {}).unwrap();
    assert_eq!(
        (after.log_start_offset(), after.log_end_offset()),
        (Offset(9), Offset(9))
    );
    assert!(after.producers().is_empty());
    assert!(snapshots(&storage).is_empty());
    assert_eq!(append(&mut after, &batch(0, 1, 1)).first_offset, Offset(9));
}

#[test]
fn stray_snapshots_go_and_damaged_ones_are_passed_over() {
    let storage = memory();
    let mut before = log(&storage, config());
    append(&mut before, &from_producer(0, 1));
    before.roll().unwrap();
    for n in 1..4 {
        append(&mut before, &from_producer(n, 1));
        flush(&mut before);
        before.close_clean().unwrap();
    }
    assert_eq!(snapshots(&storage).len(), 4);
    let after = log(&storage, config());
    assert_eq!(
        snapshots(&storage),
        [
            "00000000000000000001.snapshot",
            "00000000000000000004.snapshot"
        ]
    );
    drop(after);
    let newest = Path::new(DIR).join("00000000000000000004.snapshot");
    storage
        .open(&newest, OpenMode::Write)
        .unwrap()
        .truncate(20)
        .unwrap();
    let mut after = log(&storage, config());
    assert!(append(&mut after, &from_producer(3, 1)).duplicate);
}

#[test]
fn stray_snapshots_go_after_a_crash_too() {
    let storage = memory();
    let mut before = log(&storage, config());
    append(&mut before, &from_producer(0, 2));
    before.roll().unwrap();
    append(&mut before, &from_producer(2, 1));
    flush(&mut before);
    before.close_clean().unwrap();
    let stray = Path::new(DIR).join("00000000000000000001.snapshot");
    storage.open(&stray, OpenMode::Create).unwrap();
    let crashed = open_log(config(), false, 3);
    open(Arc::clone(&storage), Path::new(DIR), crashed, &|_| {}).unwrap();
    assert_eq!(snapshots(&storage), ["00000000000000000002.snapshot"]);
}

#[test]
fn an_idle_clean_log_is_closed_without_a_write() {
    let disk = crate::log::crash::CrashStorage::default();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut before = log(&storage, config());
    append(&mut before, &batch(0, 1, 1));
    flush(&mut before);
    before.close_clean().unwrap();
    let mut after = log(&storage, config());
    let steps = disk.steps();
    flush(&mut after);
    after.close_clean().unwrap();
    assert_eq!(disk.steps(), steps);
}

#[test]
fn what_was_not_flushed_is_not_closed_as_clean() {
    let storage = memory();
    let mut log = log(&storage, config());
    append(&mut log, &batch(0, 1, 1));
    assert!(log.close_clean().is_err());
    flush(&mut log);
    log.close_clean().unwrap();
}

#[test]
fn a_recovery_doubts_only_what_lies_beyond_the_recovery_point() {
    let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
    let mut first = log(&storage, config());
    for _ in 0..3 {
        append(&mut first, &batch(1, 1, 100));
    }
    let path = Path::new(DIR).join("00000000000000000000.log");
    let file = storage.open(&path, OpenMode::Write).unwrap();
    // In the value of the second batch.
    let at = first.size_bytes() / 3 + 100;
    file.write_at(&mut [IoSlice::new(b"?")], at).unwrap();
    for (recovery_point, end) in [(3, 3), (2, 3), (1, 1)] {
        let opened = open_log(config(), false, recovery_point);
        let bytes = bytes_to_read(&*storage, Path::new(DIR), &opened).unwrap();
        assert_eq!(bytes, first.size_bytes());
        let log = open(Arc::clone(&storage), Path::new(DIR), opened, &|_| {}).unwrap();
        assert_eq!(log.log_end_offset(), Offset(end), "from {recovery_point}");
    }
    let clean = open_log(config(), true, 1);
    assert_eq!(bytes_to_read(&*storage, Path::new(DIR), &clean).unwrap(), 0);
}
