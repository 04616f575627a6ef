use super::*;
use crate::log::LogConfig;
use crate::log::memory::MemStorage;
use crate::log::storage::Storage;
use crate::log::test_log::{append, batch, config, log};

/// Segments of one batch of 100 bytes of value each, with these timestamps; the last is active.
fn with(timestamps: &[i64], config: LogConfig) -> PartitionLog {
    let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
    let mut log = log(&storage, config);
    for (at, timestamp) in timestamps.iter().enumerate() {
        if at > 0 {
            log.roll().unwrap();
        }
        append(&mut log, &batch(*timestamp, 1, 100));
    }
    log
}

fn kept(log: &mut PartitionLog, bound: i64, now: i64) -> Vec<i64> {
    log.delete_old_segments(Offset(bound), TimestampMs(now))
        .unwrap();
    log.segments
        .iter()
        .map(|segment| segment.base_offset().0)
        .collect()
}

#[test]
fn segments_go_by_age() {
    let short = || LogConfig {
        retention_ms: 100,
        ..config()
    };
    for (what, timestamps, bound, now, bases) in [
        ("none is old", &[0, 10, 20][..], 3, 100, &[0, 1, 2][..]),
        ("one", &[0, 10, 20], 3, 101, &[1, 2]),
        (
            "not past the high watermark",
            &[0, 10, 20],
            0,
            1000,
            &[0, 1, 2],
        ),
        ("in order only", &[500, 10, 20], 3, 550, &[0, 1, 2]),
        (
            "a future one holds the rest",
            &[0, 10_000, 20],
            3,
            1000,
            &[1, 2],
        ),
        (
            "all: the active one is rolled first",
            &[0, 10, 20],
            3,
            1000,
            &[3],
        ),
    ] {
        let mut log = with(timestamps, short());
        assert_eq!(kept(&mut log, bound, now), bases, "{what}");
        assert_eq!(log.log_start_offset().0, bases[0], "{what}");
        assert_eq!(log.log_end_offset().0, 3, "{what}");
        let size: u64 = log.segments.iter().map(|s| u64::from(s.size())).sum();
        assert_eq!(log.size_bytes(), size, "{what}");
        assert_eq!(kept(&mut log, bound, now), bases, "{what}, again");
    }
}

#[test]
fn segments_go_by_size() {
    let size = batch(0, 1, 100).len() as i64;
    for (limit, bases) in [
        (-1, &[0, 1, 2][..]),
        (3 * size, &[0, 1, 2]),
        (2 * size + 1, &[0, 1, 2]),
        (2 * size, &[1, 2]),
        (size, &[2]),
        (1, &[2]),
        (0, &[3]),
    ] {
        let mut log = with(
            &[0, 0, 0],
            LogConfig {
                retention_bytes: limit,
                ..config()
            },
        );
        assert_eq!(kept(&mut log, 3, 0), bases, "{limit}");
    }
}

#[test]
fn deleted_records_take_their_segments_with_them() {
    let mut compacted = config();
    compacted.cleanup_policy.delete = false;
    compacted.retention_ms = 1;
    for (start, bases) in [(0, &[0, 1, 2][..]), (1, &[1, 2]), (2, &[2]), (3, &[2])] {
        let mut log = with(&[0, 0, 0], compacted.clone());
        log.delete_records_before(Offset(start)).unwrap();
        assert_eq!(kept(&mut log, 3, 1000), bases, "{start}");
        assert_eq!(log.log_start_offset().0, start);
    }
}

#[test]
fn the_log_start_never_goes_back_or_beyond_the_end() {
    let mut log = with(&[0, 0, 0], config());
    for (to, start) in [(2, 2), (1, 2), (9, 3)] {
        log.delete_records_before(Offset(to)).unwrap();
        assert_eq!(log.log_start_offset().0, start);
    }
}

#[test]
fn without_timestamps_age_is_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(crate::log::storage::RealStorage);
    let opened = crate::log::test_log::open_log(
        LogConfig {
            retention_ms: 3_600_000,
            ..config()
        },
        true,
        0,
    );
    let mut log = crate::log::open(storage, dir.path(), opened, &|_| {}).unwrap();
    append(&mut log, &batch(-1, 1, 1));
    let written = log
        .active()
        .unwrap()
        .file(&*log.storage)
        .unwrap()
        .modified()
        .unwrap()
        .unwrap();
    assert!(written.0 > 1_500_000_000_000);
    assert_eq!(kept(&mut log, 1, written.0 + 3_600_000), [0]);
    assert_eq!(kept(&mut log, 1, written.0 + 3_600_001), [1]);
    // Where nobody knows, nothing goes.
    let mut log = with(
        &[-1],
        LogConfig {
            retention_ms: 1,
            ..config()
        },
    );
    assert_eq!(kept(&mut log, 1, i64::MAX), [0]);
}
