use super::*;
use crate::log::cold::ColdStorage;
use crate::log::storage::read_exact_at;
use crate::log::test_log::{append, batch, config, log};
use crate::log::test_txn::{txn_batch, txn_marker};
use crate::log::{AppendOrigin, FetchedSlice, LogConfig, PartitionLog, ReadError};
use crate::types::LeaderEpoch;

/// Several segments with sparse indexes, and an active one longer than what is remembered of it.
fn filled(storage: &Arc<dyn Storage>) -> PartitionLog {
    let config = LogConfig {
        segment_bytes: 100_000,
        index_interval_bytes: 6000,
        ..config()
    };
    let mut log = log(storage, config);
    for n in 0..200 {
        append(
            &mut log,
            &batch(n, 1 + n as usize % 3, 500 + (n as usize * 37) % 900),
        );
    }
    assert!(log.segment_count() > 2);
    log
}

fn read(
    log: &PartitionLog,
    reads: Reads,
    start: i64,
    max_bytes: usize,
) -> Result<Option<FetchedSlice>, ReadError> {
    log.read_as(reads, Offset(start), max_bytes, log.log_end_offset(), true)
}

/// What a reader does that must not wait; how often something was missing.
fn read_cached(log: &PartitionLog, start: i64, max_bytes: usize) -> (FetchedSlice, usize) {
    let mut reads = Reads::Cached;
    for missed in 0.. {
        match read(log, reads, start, max_bytes) {
            Ok(found) => return (found.unwrap(), missed),
            Err(ReadError::NotCached(missing)) => {
                reads = missing.next_reads(reads);
                missing.read_in();
            }
            Err(error) => panic!("{error}"),
        }
        assert!(missed < 10, "it never ends");
    }
    unreachable!()
}

#[test]
fn a_look_up_that_must_not_wait_finds_the_same_and_never_asks_the_disk() {
    let disk = ColdStorage::default();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let log = filled(&storage);
    let mut misses = 0;
    for start in (0..log.log_end_offset().0).step_by(7) {
        for max_bytes in [1, 3000, 20_000, 1 << 20] {
            let wanted = read(&log, Reads::Blocking, start, max_bytes)
                .unwrap()
                .unwrap();
            disk.forget();
            disk.take_asked();
            // Held, the disk would stop whoever waits for it; only what brings things in is let through.
            let (found, missed) = {
                let mut reads = Reads::Cached;
                let mut missed = 0;
                loop {
                    disk.take_asked();
                    let looked = read(&log, reads, start, max_bytes);
                    assert!(
                        disk.take_asked().is_empty(),
                        "{start}: it has waited for the disk"
                    );
                    match looked {
                        Ok(found) => break (found.unwrap(), missed),
                        Err(ReadError::NotCached(missing)) => {
                            reads = missing.next_reads(reads);
                            missing.read_in();
                            missed += 1;
                            assert!(missed < 10, "it never ends");
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            };
            misses += missed;
            let place = |slice: &FetchedSlice| {
                (
                    slice.position,
                    slice.len,
                    slice.first_offset,
                    slice.next_offset,
                )
            };
            assert_eq!(place(&found), place(&wanted), "{start}, {max_bytes}");
            // What is handed out is the file itself, which waits where it must.
            let mut bytes = vec![0; found.len as usize];
            disk.forget();
            read_exact_at(&*found.file, &mut bytes, found.position).unwrap();
        }
    }
    assert!(misses > 100, "{misses}: nothing was cold");
}

#[test]
fn the_last_batches_are_found_without_a_look_at_any_file() {
    let disk = ColdStorage::default();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let log = filled(&storage);
    disk.forget_pages();
    disk.take_asked();
    let end = log.log_end_offset().0;
    let found = read(&log, Reads::Cached, end - 5, 1 << 20)
        .unwrap()
        .unwrap();
    assert!(found.is_recent);
    let (old, missed) = read_cached(&log, 3, 1 << 20);
    assert!(!old.is_recent && missed > 0);
}

#[test]
fn a_log_that_changed_while_it_was_read_in_is_looked_up_as_it_is_now() {
    let disk = ColdStorage::default();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut log = filled(&storage);
    disk.forget();
    let Err(ReadError::NotCached(missing)) = read(&log, Reads::Cached, 3, 4000) else {
        panic!("it was not cold");
    };
    log.delete_records_before(Offset(200)).unwrap();
    missing.read_in();
    assert!(matches!(
        read(&log, missing.next_reads(Reads::Cached), 3, 4000),
        Err(ReadError::OffsetOutOfRange { .. })
    ));
}

#[test]
fn aborted_transactions_are_collected_from_memory_only() {
    let disk = ColdStorage::default();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut log = log(
        &storage,
        LogConfig {
            segment_bytes: 2000,
            ..config()
        },
    );
    for n in 0..40 {
        append(&mut log, &txn_batch(1, n, 1));
        let marker = txn_marker(1, n % 3 == 0, 1);
        log.append_as_leader(
            &marker,
            LeaderEpoch(0),
            AppendOrigin::Coordinator,
            TimestampMs(1),
        )
        .unwrap();
    }
    assert!(log.segment_count() > 3);
    let end = log.log_end_offset();
    for from in (0..end.0).step_by(5) {
        let wanted = log.collect_aborted(Offset(from), end).unwrap();
        log.close_transaction_indexes();
        disk.forget();
        let mut reads = Reads::Cached;
        let mut missed = 0;
        let found = loop {
            disk.take_asked();
            let looked = log.collect_aborted_as(reads, Offset(from), end);
            assert!(disk.take_asked().is_empty(), "it has waited for the disk");
            match looked {
                Ok(found) => break found,
                Err(ReadError::NotCached(missing)) => {
                    reads = missing.next_reads(reads);
                    missing.read_in();
                    missed += 1;
                }
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(found, wanted);
        assert!(missed > 0 && !wanted.is_empty(), "from {from}");
    }
}
