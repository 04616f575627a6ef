//! A disk that is full after any number of bytes: in the middle of a batch, of an index at a roll, of a producer
//! snapshot, of the epochs at a flush. Nothing that was acknowledged is lost, nothing that is seen has
//! changed, and with room the same write goes through.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::fault::{ENOSPC, FaultStorage, Op};
use super::log_dir_storage::is_disk_full;
use super::log_segment::file_name;
use super::memory::MemStorage;
use super::storage::{OpenMode, Storage, read_exact_at};
use super::test_log::{DIR, all_batches, config, log, open_log};
use super::{AppendError, AppendOrigin, LogConfig, PartitionLog, open};
use crate::protocol::compression::Compression;
use crate::protocol::record_batch::BatchBuilder;
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

const BATCHES: i32 = 10;

fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 400,
        index_interval_bytes: 1,
        ..config()
    }
}

fn batch(n: i32) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Offset::ZERO, Compression::None).producer(
        ProducerId(1 + i64::from(n % 2)),
        ProducerEpoch(0),
        n / 2 * 2,
    );
    for _ in 0..2 {
        builder.append(TimestampMs(i64::from(n)), None, Some(&[n as u8; 20]), &[]);
    }
    builder.build()
}

fn try_append(log: &mut PartitionLog, n: i32) -> Result<bool, AppendError> {
    // Each under an epoch of its own: a flush writes them.
    let (epoch, now) = (LeaderEpoch(n), TimestampMs(i64::from(n)));
    let info = log.append_as_leader(&batch(n), epoch, AppendOrigin::Client, now)?;
    Ok(info.duplicate)
}

fn try_flush(log: &mut PartitionLog) -> io::Result<()> {
    if let Some(work) = log.begin_flush()? {
        let point = work.up_to;
        work.run()?;
        log.finish_flush(point);
    }
    Ok(())
}

fn expected(batches: i32) -> Vec<(i64, i32, i32)> {
    (0..batches).map(|n| (i64::from(n) * 2, n, 2)).collect()
}

/// That a segment was rolled for a batch that did not come is no harm.
fn seen(log: &PartitionLog) -> (Offset, Offset, u64, Vec<(i64, i32, i32)>) {
    (
        log.log_end_offset(),
        log.recovery_point(),
        log.size_bytes(),
        all_batches(log, 0),
    )
}

fn reopen(storage: &Arc<dyn Storage>, log: &PartitionLog) -> PartitionLog {
    let found = open_log(small(), false, log.recovery_point().0);
    open(Arc::clone(storage), Path::new(DIR), found, &|_| {}).unwrap()
}

/// How often the disk was full.
fn live(disk: &FaultStorage, crash: bool) -> usize {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut log = log(&storage, small());
    let mut refused = 0;
    for n in 0..BATCHES {
        let before = (seen(&log), log.producers().clone());
        match try_append(&mut log, n) {
            Ok(duplicate) => assert!(!duplicate),
            Err(AppendError::Disk(error)) if is_disk_full(&error) => {
                refused += 1;
                assert_eq!((seen(&log), log.producers().clone()), before);
                disk.heal();
                if crash {
                    log = reopen(&storage, &log);
                    assert_eq!(all_batches(&log, 0), expected(n));
                    // The last of each producer is known: a snapshot has no more.
                    for known in (n - 2).max(0)..n {
                        assert!(try_append(&mut log, known).unwrap(), "batch {known}");
                    }
                }
                assert!(!try_append(&mut log, n).unwrap(), "batch {n}");
            }
            Err(error) => panic!("{error}"),
        }
        if n % 3 == 2
            && let Err(error) = try_flush(&mut log)
        {
            refused += 1;
            assert!(is_disk_full(&error));
            disk.heal();
            if crash {
                log = reopen(&storage, &log);
            }
            try_flush(&mut log).unwrap();
        }
        assert_eq!(all_batches(&log, 0), expected(n + 1));
    }
    disk.heal();
    try_flush(&mut log).unwrap();
    for _ in 0..2 {
        log = reopen(&storage, &log);
        assert_eq!(all_batches(&log, 0), expected(BATCHES));
        assert!(
            try_append(&mut log, BATCHES - 1).unwrap(),
            "a repeated batch"
        );
    }
    refused
}

#[test]
fn a_disk_that_is_full_after_any_byte_loses_nothing_and_goes_on_when_it_has_room() {
    let new = || FaultStorage::new(Arc::new(MemStorage::default()));
    let disk = new();
    assert_eq!(live(&disk, false), 0);
    let written = disk.written();
    assert!(written > 1000, "{written}");
    for crash in [false, true] {
        let mut refused = 0;
        for room in (0..written).step_by(if crash { 5 } else { 3 }) {
            let disk = new();
            disk.room(room);
            refused += live(&disk, crash);
        }
        // The last bytes are written when nobody asks any more: at the end of the life.
        assert!(refused as u64 > written / 8, "{refused} of {written}");
    }
}

/// Retention is how a full disk gets room: it must not need any.
#[test]
fn old_segments_go_without_room_for_a_new_one() {
    let disk = FaultStorage::new(Arc::new(MemStorage::default()));
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut log = log(&storage, small());
    for n in 0..BATCHES {
        try_append(&mut log, n).unwrap();
    }
    let before = log.segment_count();
    assert!(before > 2);
    log.set_config(LogConfig {
        retention_ms: 1,
        ..small()
    });
    disk.room(0);
    let end = log.log_end_offset();
    let gone = log.delete_old_segments(end, TimestampMs(1000)).unwrap();
    assert!(gone.unwrap().paths.len() >= before - 1);
    assert_eq!((log.segment_count(), log.log_end_offset()), (1, end));
    disk.heal();
    log.delete_old_segments(end, TimestampMs(1000)).unwrap();
    assert_eq!(log.size_bytes(), 0);
    assert_eq!(
        io::Error::from_raw_os_error(ENOSPC).kind(),
        io::ErrorKind::StorageFull
    );
}

/// DeleteRecords up to the end gives back the active segment, too.
#[test]
fn what_was_deleted_to_the_end_takes_no_room() {
    let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
    let mut log = log(&storage, config());
    for n in 0..BATCHES {
        try_append(&mut log, n).unwrap();
    }
    let end = log.log_end_offset();
    log.delete_records_before(Offset(end.0 - 1)).unwrap();
    log.roll_if_all_deleted().unwrap();
    assert!(
        log.delete_old_segments(end, TimestampMs(0))
            .unwrap()
            .is_none()
    );
    log.delete_records_before(end).unwrap();
    log.roll_if_all_deleted().unwrap();
    assert!(
        log.delete_old_segments(end, TimestampMs(0))
            .unwrap()
            .is_some()
    );
    assert_eq!(
        (
            log.size_bytes(),
            log.log_end_offset(),
            log.log_start_offset()
        ),
        (0, end, end)
    );
    log.roll_if_all_deleted().unwrap();
    assert_eq!(log.segment_count(), 1);
}

/// Until the next segment is there, the active one goes on with all its entries.
#[test]
fn a_roll_without_room_for_a_snapshot_or_a_segment_leaves_the_active_one_as_it_was() {
    let indexes = |failing: Option<&str>| {
        let disk = FaultStorage::new(Arc::new(MemStorage::default()));
        let storage: Arc<dyn Storage> = Arc::new(disk.clone());
        let config = LogConfig {
            index_interval_bytes: 1,
            ..config()
        };
        let mut log = log(&storage, config);
        (0..3).for_each(|n| assert!(!try_append(&mut log, n).unwrap()));
        if let Some(kind) = failing {
            let path = Path::new(DIR).join(file_name(log.log_end_offset(), kind));
            for op in [Op::Open, Op::Write, Op::Truncate] {
                disk.fail(&path, op, ENOSPC);
            }
            let before = seen(&log);
            log.roll().unwrap_err();
            assert_eq!(seen(&log), before);
            disk.heal();
        }
        (3..6).for_each(|n| assert!(!try_append(&mut log, n).unwrap()));
        log.roll().unwrap();
        [".index", ".timeindex"].map(|kind| {
            let path = Path::new(DIR).join(file_name(Offset::ZERO, kind));
            let file = storage.open(&path, OpenMode::Read).unwrap();
            let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
            read_exact_at(&*file, &mut bytes, 0).unwrap();
            bytes
        })
    };
    let [offsets, times] = indexes(None);
    assert_eq!(offsets.len() / 8, 5);
    for kind in [".snapshot", ".log"] {
        let [found, found_times] = indexes(Some(kind));
        assert_eq!(found, offsets, "{kind}");
        // What the attempt wrote may have an entry of its own.
        assert!(found_times.len() >= times.len(), "{kind}");
    }
}

/// What a flush that could not begin was to sync is synced by the next.
#[test]
fn a_settling_without_room_to_begin_forgets_no_file() {
    let disk = FaultStorage::new(Arc::new(MemStorage::default()));
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut log = log(&storage, config());
    try_append(&mut log, 0).unwrap();
    try_flush(&mut log).unwrap();
    try_append(&mut log, 1).unwrap();
    let part = log.begin_journal(u32::MAX).unwrap().unwrap();
    log.finish_journal(part.up_to);
    // Something only the journal has, a rolled segment, and epochs to write.
    log.roll().unwrap();
    log.assign_epoch_start(LeaderEpoch(9), log.log_end_offset());
    for failing in ["leader-epoch-checkpoint.tmp", "leader-epoch-checkpoint"] {
        disk.fail(Path::new(DIR).join(failing), Op::Open, ENOSPC);
    }
    let error = log.begin_settling().unwrap_err();
    assert!(is_disk_full(&error) && !log.is_flushing());
    disk.heal();
    disk.take_calls();
    let work = log.begin_settling().unwrap().unwrap();
    let point = work.up_to;
    work.run().unwrap();
    log.finish_flush(point);
    assert_eq!(log.recovery_point(), log.log_end_offset());
    let synced: Vec<_> = disk.take_calls().into_iter().collect();
    for kind in [".log", ".index", ".timeindex"] {
        let path = Path::new(DIR).join(file_name(Offset::ZERO, kind));
        assert!(synced.contains(&(Op::Sync, path)), "{kind}: {synced:?}");
    }
    let path = Path::new(DIR).join(file_name(log.log_end_offset(), ".snapshot"));
    assert!(synced.contains(&(Op::Sync, path)), "{synced:?}");
}
