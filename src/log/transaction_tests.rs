//! Transactions in a log and in the files beside it: rolls, restarts, cuts, deletion, damage.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::memory::MemStorage;
use super::storage::{OpenMode, Storage, read_exact_at};
use super::test_log::*;
use super::{AbortedTxn, AppendError, AppendOrigin, LogConfig, PartitionLog, open};
use crate::error::ErrorCode;
use crate::protocol::compression::Compression;
use crate::protocol::end_txn_marker::EndTxnMarker;
use crate::protocol::record_batch::BatchBuilder;
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

fn memory() -> Arc<dyn Storage> {
    Arc::new(MemStorage::default())
}

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

fn contents(storage: &Arc<dyn Storage>, name: &str) -> Vec<u8> {
    let file = storage.open(&path(name), OpenMode::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    read_exact_at(&*file, &mut bytes, 0).unwrap();
    bytes
}

fn data(producer: i64, epoch: i16, sequence: i32) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Offset::ZERO, Compression::None)
        .producer(ProducerId(producer), ProducerEpoch(epoch), sequence)
        .transactional(true);
    builder.append(TimestampMs(1000), None, Some(b"v"), &[]);
    builder.build()
}

fn try_append(
    log: &mut PartitionLog,
    batch: &[u8],
    origin: AppendOrigin,
) -> Result<(), AppendError> {
    log.append_as_leader(batch, LeaderEpoch(0), origin, TimestampMs(1000))
        .map(|_| ())
}

fn send(log: &mut PartitionLog, producer: i64, sequence: i32) {
    try_append(log, &data(producer, 0, sequence), AppendOrigin::Client).unwrap();
}

fn end(log: &mut PartitionLog, producer: i64, committed: bool) {
    let marker = EndTxnMarker {
        committed,
        coordinator_epoch: 0,
    };
    let batch = marker.to_batch(ProducerId(producer), ProducerEpoch(0), TimestampMs(1000));
    try_append(log, &batch, AppendOrigin::Coordinator).unwrap();
}

fn txn(producer: i64, first: i64, last: i64, stable: i64) -> AbortedTxn {
    AbortedTxn {
        producer_id: ProducerId(producer),
        first_offset: Offset(first),
        last_offset: Offset(last),
        last_stable_offset: Offset(stable),
    }
}

fn aborted(log: &PartitionLog, from: i64, to: i64) -> Vec<AbortedTxn> {
    log.collect_aborted(Offset(from), Offset(to)).unwrap()
}

/// Producers 1 and 2 are aborted, 1 across a roll at 3; 3 is open.
fn three_transactions(storage: &Arc<dyn Storage>) -> PartitionLog {
    let mut log = log(storage, config());
    send(&mut log, 1, 0);
    send(&mut log, 2, 0);
    end(&mut log, 2, false);
    log.roll().unwrap();
    send(&mut log, 1, 1);
    send(&mut log, 3, 0);
    end(&mut log, 1, false);
    log
}

fn reopen(storage: &Arc<dyn Storage>, clean: bool, recovery_point: i64) -> PartitionLog {
    let opened = open_log(config(), clean, recovery_point);
    open(Arc::clone(storage), Path::new(DIR), opened, &|_| {}).unwrap()
}

const FIRST: &str = "00000000000000000000.txnindex";
const SECOND: &str = "00000000000000000003.txnindex";

fn numbers(numbers: [i64; 4]) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    for number in numbers {
        bytes.extend(number.to_be_bytes());
    }
    bytes
}

#[test]
fn each_segment_lists_what_was_aborted_in_it() {
    let storage = memory();
    let log = three_transactions(&storage);
    assert_eq!(contents(&storage, FIRST), numbers([2, 1, 2, 0]));
    assert_eq!(contents(&storage, SECOND), numbers([1, 0, 5, 4]));
    let all = [txn(2, 1, 2, 0), txn(1, 0, 5, 4)];
    assert_eq!(log.segments[0].aborted(&*storage).unwrap(), all[..1]);
    assert_eq!(aborted(&log, 0, 4), all);
    assert_eq!(aborted(&log, 0, 1), all[1..]);
    assert_eq!(aborted(&log, 3, 4), all[1..]);
    assert_eq!(aborted(&log, 2, 3), all);
    assert_eq!(log.first_unstable_offset(), Some(Offset(0)));
}

#[test]
fn a_restart_finds_them_again() {
    for clean in [true, false] {
        let storage = memory();
        let mut log = three_transactions(&storage);
        flush(&mut log);
        if clean {
            log.close_clean().unwrap();
        }
        drop(log);
        let mut log = reopen(&storage, clean, 6);
        assert_eq!(aborted(&log, 0, 4), [txn(2, 1, 2, 0), txn(1, 0, 5, 4)]);
        assert_eq!(log.producers().first_undecided_offset(), Some(Offset(4)));
        log.on_high_watermark_updated(Offset(6));
        assert_eq!(log.first_unstable_offset(), Some(Offset(4)));
        end(&mut log, 3, false);
        assert_eq!(aborted(&log, 6, 7), [txn(3, 4, 6, 7)]);
        assert_eq!(contents(&storage, SECOND).len(), 68, "clean: {clean}");
    }
}

#[test]
fn recovery_makes_the_indexes_of_what_it_reads_anew() {
    for (recovery_point, believed) in [(0, false), (3, false), (6, true)] {
        let storage = memory();
        drop(three_transactions(&storage));
        for name in [FIRST, SECOND] {
            storage
                .open(&path(name), OpenMode::Write)
                .unwrap()
                .truncate(0)
                .unwrap();
        }
        let log = reopen(&storage, false, recovery_point);
        let all = [txn(2, 1, 2, 0), txn(1, 0, 5, 4)];
        let skipped = usize::from(believed);
        assert_eq!(aborted(&log, 0, 4), all[skipped..], "{recovery_point}");
    }
}

#[test]
fn the_snapshot_at_a_segment_says_which_transactions_it_begins_with() {
    let storage = memory();
    drop(three_transactions(&storage));
    // Without it the state is read out of the segment before.
    for removed in [false, true] {
        if removed {
            storage
                .remove_file(&path("00000000000000000003.snapshot"))
                .unwrap();
        }
        let log = reopen(&storage, false, 6);
        assert_eq!(aborted(&log, 3, 4), [txn(1, 0, 5, 4)]);
    }
    // Recovery of both leaves it for the next.
    drop(reopen(&storage, false, 0));
    assert!(storage.exists(&path("00000000000000000003.snapshot")));
}

#[test]
fn a_cut_takes_the_aborts_and_their_entries() {
    for (to, expected, open) in [
        (6, vec![txn(2, 1, 2, 0), txn(1, 0, 5, 4)], Some(4)),
        (5, vec![txn(2, 1, 2, 0)], Some(0)),
        (3, vec![txn(2, 1, 2, 0)], Some(0)),
        (2, vec![], Some(0)),
        (1, vec![], Some(0)),
        (0, vec![], None),
    ] {
        let storage = memory();
        let mut log = three_transactions(&storage);
        log.truncate_to(Offset(to)).unwrap();
        log.on_high_watermark_updated(Offset(to));
        assert_eq!(aborted(&log, 0, 6), expected, "{to}");
        assert_eq!(log.first_unstable_offset(), open.map(Offset), "{to}");
        let bytes: usize = [FIRST, SECOND]
            .into_iter()
            .filter(|name| storage.exists(&path(name)))
            .map(|name| contents(&storage, name).len())
            .sum();
        assert_eq!(bytes, expected.len() * 34, "{to}");
    }
    let storage = memory();
    let mut log = three_transactions(&storage);
    log.truncate_fully_and_start_at(Offset(40)).unwrap();
    assert_eq!(
        (aborted(&log, 0, 99), log.first_unstable_offset()),
        (vec![], None)
    );
    assert!(!storage.exists(&path(FIRST)) && !storage.exists(&path(SECOND)));
}

#[test]
fn deletion_takes_the_index_with_its_segment() {
    let storage = memory();
    let mut log = three_transactions(&storage);
    log.delete_records_before(Offset(3)).unwrap();
    let files = log
        .delete_old_segments(Offset(6), TimestampMs(0))
        .unwrap()
        .unwrap();
    assert!(!storage.exists(&path(FIRST)));
    let doomed = path("00000000000000000000.txnindex.deleted");
    assert!(files.paths.contains(&doomed));
    assert_eq!(aborted(&log, 3, 4), [txn(1, 0, 5, 4)]);
    // What began before the start is unstable from the start on.
    assert_eq!(log.first_unstable_offset(), Some(Offset(3)));
    log.delete_records_before(Offset(6)).unwrap();
    assert_eq!(log.first_unstable_offset(), Some(Offset(6)));
    assert_eq!(log.producers().first_undecided_offset(), Some(Offset(4)));
}

#[test]
fn a_damaged_index_is_made_anew_and_an_ownerless_one_goes() {
    for (name, damage) in [
        (FIRST, numbers([2, 1, 1000, 0])),
        (SECOND, numbers([1, 0, 2, 3])),
        (SECOND, vec![1; 34]),
        (SECOND, [numbers([1, 0, 5, 4]), vec![0; 34]].concat()),
    ] {
        let storage = memory();
        let mut log = three_transactions(&storage);
        flush(&mut log);
        log.close_clean().unwrap();
        drop(log);
        let file = storage.open(&path(name), OpenMode::Write).unwrap();
        file.write_at(&mut [std::io::IoSlice::new(&damage)], 0)
            .unwrap();
        for orphan in ["77.txnindex", "00000000000000000077.index"] {
            storage.open(&path(orphan), OpenMode::Create).unwrap();
        }
        let log = reopen(&storage, true, 6);
        assert_eq!(aborted(&log, 0, 4), [txn(2, 1, 2, 0), txn(1, 0, 5, 4)]);
        assert_eq!(contents(&storage, FIRST), numbers([2, 1, 2, 0]));
        assert_eq!(contents(&storage, SECOND), numbers([1, 0, 5, 4]));
        assert!(!storage.exists(&path("77.txnindex")));
        assert!(!storage.exists(&path("00000000000000000077.index")));
    }
}

#[test]
fn what_may_not_be_appended_says_why() {
    let storage = memory();
    let mut log = log(&storage, config());
    send(&mut log, 1, 0);
    let plain = {
        let mut builder = BatchBuilder::new(Offset::ZERO, Compression::None).producer(
            ProducerId(1),
            ProducerEpoch(0),
            1,
        );
        builder.append(TimestampMs(1000), None, Some(b"v"), &[]);
        builder.build()
    };
    let marker = |epoch, coordinator_epoch| {
        EndTxnMarker {
            committed: true,
            coordinator_epoch,
        }
        .to_batch(ProducerId(1), ProducerEpoch(epoch), TimestampMs(0))
    };
    let coordinator = AppendOrigin::Coordinator;
    let code = |result: Result<(), AppendError>| result.unwrap_err().code();
    let refused = try_append(&mut log, &plain, AppendOrigin::Client);
    assert_eq!(code(refused), ErrorCode::InvalidTxnState);
    let refused = try_append(&mut log, &marker(0, 0), AppendOrigin::Client);
    assert_eq!(code(refused), ErrorCode::InvalidRecord);
    try_append(&mut log, &marker(2, 9), coordinator).unwrap();
    let refused = try_append(&mut log, &marker(2, 8), coordinator);
    assert_eq!(code(refused), ErrorCode::TransactionCoordinatorFenced);
    let refused = try_append(&mut log, &marker(1, 9), coordinator);
    assert_eq!(code(refused), ErrorCode::InvalidProducerEpoch);
    let refused = try_append(&mut log, &data(1, 1, 0), AppendOrigin::Client);
    assert_eq!(code(refused), ErrorCode::InvalidProducerEpoch);
    assert_eq!(log.log_end_offset(), Offset(2));
    // A control batch of a producer that ends no transaction.
    let mut builder = BatchBuilder::new(Offset::ZERO, Compression::None)
        .producer(ProducerId(1), ProducerEpoch(2), -1)
        .control(true);
    builder.append(TimestampMs(0), Some(&[0, 0, 0, 7]), Some(&[0; 6]), &[]);
    let refused = try_append(&mut log, &builder.build(), coordinator);
    assert_eq!(code(refused), ErrorCode::InvalidRecord);
}

#[test]
fn an_abort_that_cannot_be_put_down_is_not_in_the_log() {
    let disk = super::crash::CrashStorage::default();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut log = log(&storage, config());
    send(&mut log, 1, 0);
    let marker = EndTxnMarker {
        committed: false,
        coordinator_epoch: 0,
    };
    let batch = marker.to_batch(ProducerId(1), ProducerEpoch(0), TimestampMs(1000));
    // The batch reaches the log file, its transaction no index.
    disk.fail_after(Some(1));
    let failed = try_append(&mut log, &batch, AppendOrigin::Coordinator).unwrap_err();
    assert!(failed.is_disk_failure());
    assert_eq!(log.log_end_offset(), Offset(1));
    assert_eq!(log.producers().first_undecided_offset(), Some(Offset(0)));
    disk.fail_after(None);
    try_append(&mut log, &batch, AppendOrigin::Coordinator).unwrap();
    assert_eq!(aborted(&log, 0, 1), [txn(1, 0, 1, 2)]);
}

#[test]
fn an_index_is_on_disk_before_recovery_passes_its_segment() {
    let disk = super::crash::CrashStorage::default();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut log = three_transactions(&storage);
    disk.sync_dir(Path::new("/data")).unwrap();
    flush(&mut log);
    let left: Arc<dyn Storage> =
        Arc::new(disk.after_crash(disk.steps(), super::crash::Luck::Nothing));
    let log = reopen(&left, false, 6);
    assert_eq!(aborted(&log, 0, 4), [txn(2, 1, 2, 0), txn(1, 0, 5, 4)]);
}

#[test]
fn an_entry_that_was_cut_off_does_not_come_back() {
    let disk = super::crash::CrashStorage::default();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut log = log(&storage, config());
    disk.sync_dir(Path::new("/data")).unwrap();
    send(&mut log, 1, 0);
    end(&mut log, 1, false);
    log.roll().unwrap();
    flush(&mut log);
    // The same transaction is committed in another history, in a segment that recovery passes by.
    log.truncate_to(Offset(1)).unwrap();
    end(&mut log, 1, true);
    log.roll().unwrap();
    send(&mut log, 2, 0);
    flush(&mut log);
    let left: Arc<dyn Storage> =
        Arc::new(disk.after_crash(disk.steps(), super::crash::Luck::Nothing));
    let log = reopen(&left, false, 3);
    assert_eq!(log.log_end_offset(), Offset(3));
    assert_eq!(aborted(&log, 0, 2), []);
}

/// Several segments with several index entries each, and a producer with its only batch at the start of one.
fn long_log(storage: &Arc<dyn Storage>) -> PartitionLog {
    let config = LogConfig {
        index_interval_bytes: 60,
        ..config()
    };
    let mut log = log(storage, config);
    for segment in 0..3 {
        send(&mut log, 20 + segment, 0);
        for sequence in 0..10 {
            send(&mut log, 1, segment as i32 * 10 + sequence);
        }
        log.roll().unwrap();
    }
    log
}

#[test]
fn without_snapshots_the_producers_are_read_out_of_all_segments() {
    let storage = memory();
    let before = {
        let mut log = long_log(&storage);
        flush(&mut log);
        log.producers().entries().len()
    };
    assert_eq!(before, 4);
    for entry in storage.list(Path::new(DIR)).unwrap() {
        if entry.name.ends_with(".snapshot") {
            storage.remove_file(&path(&entry.name)).unwrap();
        }
    }
    let log = reopen(&storage, false, 33);
    assert_eq!(log.producers().entries().len(), before);
    assert_eq!(log.producers().first_undecided_offset(), Some(Offset(0)));
}

#[test]
fn a_reader_in_a_hole_begins_behind_it() {
    let storage = memory();
    let mut leader = long_log(&storage);
    let second = read_bytes(&leader, 11, usize::MAX, 33, true);
    let (first, rest) = second.split_at(second.len() / 11);
    leader.truncate_fully_and_start_at(Offset(0)).unwrap();
    send(&mut leader, 9, 0);
    // What a compacted leader has: nothing between 1, where a segment begins, and 11.
    for (segment_bytes, bytes) in [(first.len() as u32, first), (1 << 20, rest)] {
        let config = LogConfig {
            segment_bytes,
            ..leader.config().clone()
        };
        leader.set_config(config);
        leader
            .append_as_follower(bytes, LeaderEpoch(0), TimestampMs(0))
            .unwrap();
    }
    assert_eq!(leader.segments[1].base_offset(), Offset(1));
    let found = leader
        .read(Offset(3), 1, Offset(22), true)
        .unwrap()
        .unwrap();
    assert_eq!(found.first_offset, Offset(11));
}

#[test]
fn a_missing_index_of_an_old_segment_is_made_anew() {
    for suffix in ["index", "timeindex"] {
        let storage = memory();
        let mut log = long_log(&storage);
        flush(&mut log);
        log.close_clean().unwrap();
        let gone = format!("00000000000000000011.{suffix}");
        let before = contents(&storage, &gone);
        assert!(!before.is_empty());
        storage.remove_file(&path(&gone)).unwrap();
        drop(log);
        let config = LogConfig {
            index_interval_bytes: 60,
            ..config()
        };
        let opened = open_log(config, true, 33);
        open(Arc::clone(&storage), Path::new(DIR), opened, &|_| {}).unwrap();
        assert_eq!(contents(&storage, &gone), before);
    }
}

/// Who loses the indexes of a segment loses the transaction index, too, and nothing else says that it was there.
#[test]
fn a_missing_index_takes_the_transaction_index_for_missing() {
    let storage = memory();
    let mut log = three_transactions(&storage);
    flush(&mut log);
    log.close_clean().unwrap();
    drop(log);
    for name in [FIRST, "00000000000000000000.index"] {
        storage.remove_file(&path(name)).unwrap();
    }
    let log = reopen(&storage, true, 6);
    assert_eq!(aborted(&log, 0, 4), [txn(2, 1, 2, 0), txn(1, 0, 5, 4)]);
    assert_eq!(contents(&storage, FIRST), numbers([2, 1, 2, 0]));
}
