use super::super::crash::{CrashStorage, Luck};
use super::super::journal_replay;
use super::super::memory::MemStorage;
use super::super::test_log::*;
use super::super::{LogConfig, OpenLog, PartitionLog, open};
use super::*;
use crate::types::{LeaderEpoch, TimestampMs, TopicPartition};

fn dir() -> PathBuf {
    "/data".into()
}

fn prepared(storage: &Arc<dyn Storage>, capacity: u64) -> Journal {
    storage.create_dir_all(&dir()).unwrap();
    let journal = Journal::new(Arc::clone(storage), dir(), capacity);
    (0..2).for_each(|which| journal.preparation(which, true)().unwrap());
    journal
}

/// A log whose names are on disk, with one batch in it.
fn rooted(storage: &Arc<dyn Storage>, partition: i32) -> PartitionLog {
    let path = dir().join(format!("t-{partition}"));
    storage.create_dir_all(&path).unwrap();
    let opened = OpenLog {
        topic_partition: TopicPartition::new("t", partition),
        ..open_log(config(), true, 0)
    };
    let mut log = open(Arc::clone(storage), &path, opened, &|_| {}).unwrap();
    append(&mut log, &batch(1, 1, 10));
    flush(&mut log);
    log
}

/// As it is after a crash, the journal not yet replayed.
fn recovered(storage: &Arc<dyn Storage>, log: &PartitionLog) -> PartitionLog {
    let opened = OpenLog {
        topic_partition: log.topic_partition().clone(),
        ..open_log(config(), false, log.recovery_point().0)
    };
    open(Arc::clone(storage), log.directory(), opened, &|_| {}).unwrap()
}

fn journaled(journal: &mut Journal, logs: &mut [&mut PartitionLog]) {
    let parts: Vec<JournalPart> = logs
        .iter_mut()
        .filter_map(|log| log.begin_journal(u32::MAX).unwrap())
        .collect();
    journal.write(&parts.iter().collect::<Vec<_>>()).unwrap();
    for part in parts {
        for log in logs.iter_mut() {
            if log.topic_partition().partition == part.partition {
                log.finish_journal(part.up_to);
            }
        }
    }
}

#[test]
fn one_sync_makes_many_logs_safe() {
    let disk = CrashStorage::default();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut logs: Vec<PartitionLog> = (0..5).map(|n| rooted(&storage, n)).collect();
    let mut journal = prepared(&storage, 1 << 20);
    for round in 2..5 {
        for log in &mut logs {
            append(log, &batch(round, 2, 100));
        }
        journaled(&mut journal, &mut logs.iter_mut().collect::<Vec<_>>());
    }
    for log in &mut logs {
        assert_eq!(log.durable_offset(), Offset(7));
        assert_eq!(log.recovery_point(), Offset(1), "the files have no more");
        append(log, &batch(9, 1, 10));
    }
    let left: Arc<dyn Storage> = Arc::new(disk.after_crash(disk.steps(), Luck::Nothing));
    let contents = journal_replay::read(&*left, &dir()).unwrap();
    for log in &logs {
        let mut after = recovered(&left, log);
        assert_eq!(after.log_end_offset(), Offset(1));
        assert!(contents.replay(&mut after).unwrap() > 0);
        assert_eq!(after.log_end_offset(), Offset(7));
        assert_eq!(after.recovery_point(), Offset(7));
        let wanted: Vec<_> = all_batches(log, 0).into_iter().take(4).collect();
        assert_eq!(all_batches(&after, 0), wanted);
        assert_eq!(contents.replay(&mut after).unwrap(), 0, "it is there now");
    }
}

/// The name of a new segment may be on disk before the end of the one before, which the journal has. Kafka's own cleaner
/// leaves holes that look the same, but never one of ours above the recovery point.
#[test]
fn a_lost_end_is_not_taken_for_a_hole_of_compaction() {
    let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
    let mut journal = prepared(&storage, 1 << 20);
    let mut log = rooted(&storage, 0);
    let flushed_bytes = log.size_bytes();
    append(&mut log, &batch(2, 3, 100));
    journaled(&mut journal, &mut [&mut log]);
    assert_eq!(log.durable_offset(), Offset(4));
    log.roll().unwrap();
    append(&mut log, &batch(3, 1, 10));
    let first = log.directory().join("00000000000000000000.log");
    let first = storage.open(&first, OpenMode::Write).unwrap();
    first.truncate(flushed_bytes).unwrap();

    let mut compacted = config();
    compacted.cleanup_policy.compact = true;
    let reopened = |has_journal| {
        let opened = OpenLog {
            has_journal,
            ..open_log(compacted.clone(), false, 1)
        };
        open(Arc::clone(&storage), log.directory(), opened, &|_| {}).unwrap()
    };
    assert_eq!(reopened(false).log_end_offset(), Offset(5));
    let mut after = reopened(true);
    assert_eq!(after.log_end_offset(), Offset(1));
    let contents = journal_replay::read(&*storage, &dir()).unwrap();
    contents.replay(&mut after).unwrap();
    assert_eq!(after.log_end_offset(), Offset(4));
}

/// A copy of a compacted log, or a follower's, takes the holes over.
#[test]
fn the_holes_of_a_leader_are_no_lost_ends() {
    let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
    let mut log = rooted(&storage, 0);
    let mut wanted = vec![0];
    for base in [100, 200, 1 << 40, (1 << 40) + 5] {
        let mut copied = batch(2, 1, 100);
        copied[..8].copy_from_slice(&i64::to_be_bytes(base));
        // Each where a segment begins.
        log.set_config(LogConfig {
            segment_bytes: 1,
            ..config()
        });
        log.append_as_follower(&copied, LeaderEpoch(0), TimestampMs(2))
            .unwrap();
        wanted.push(base);
    }
    let opened = open_log(config(), false, 0);
    let after = open(Arc::clone(&storage), log.directory(), opened, &|_| {}).unwrap();
    let found: Vec<i64> = all_batches(&after, 0).iter().map(|batch| batch.0).collect();
    assert_eq!(found, wanted);
}

#[test]
fn a_log_goes_by_its_own_files_first() {
    let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
    storage.create_dir_all(Path::new(DIR)).unwrap();
    let mut log = log(&storage, config());
    append(&mut log, &batch(1, 1, 10));
    let part = log.begin_journal(u32::MAX).unwrap();
    assert!(part.is_none(), "its name may not survive");
    flush(&mut log);
    append(&mut log, &batch(2, 1, 10));
    assert!(
        log.begin_journal(10).unwrap().is_none(),
        "more than is asked for"
    );
    log.roll().unwrap();
    append(&mut log, &batch(3, 1, 10));
    assert!(
        log.begin_journal(u32::MAX).unwrap().is_none(),
        "the segment before is not synced"
    );
    flush(&mut log);
    append(&mut log, &batch(4, 1, 10));
    assert!(log.begin_journal(u32::MAX).unwrap().is_some());
}

#[test]
fn files_take_turns_and_the_older_is_read_first() {
    let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
    let mut log = rooted(&storage, 0);
    let mut journal = prepared(&storage, 2000);
    let mut switches = 0;
    for round in 0..20 {
        append(&mut log, &batch(round, 1, 300));
        let part = log.begin_journal(u32::MAX).unwrap().unwrap();
        if !journal.fits(1, part.bytes()) {
            // What the file to come has is in the log's own.
            if switches > 0 {
                let work = log.begin_settling().unwrap();
                if let Some(work) = work {
                    let up_to = work.up_to;
                    work.run().unwrap();
                    log.finish_flush(up_to);
                }
            }
            journal.switch();
            switches += 1;
        }
        journal.write(&[&part]).unwrap();
        log.finish_journal(part.up_to);
    }
    assert!(switches >= 3);
    // As if nothing beyond the recovery point had reached the log's own file.
    let end = log.log_end_offset();
    let point = log.recovery_point();
    let mut cut = recovered(&storage, &log);
    cut.truncate_to(point).unwrap();
    let contents = journal_replay::read(&*storage, &dir()).unwrap();
    contents.replay(&mut cut).unwrap();
    assert_eq!(cut.log_end_offset(), end);
    assert_eq!(all_batches(&cut, 0), all_batches(&log, 0));
}

#[test]
fn what_was_cut_off_does_not_come_back() {
    let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
    let mut log = rooted(&storage, 0);
    let mut other = rooted(&storage, 1);
    let mut journal = prepared(&storage, 1 << 20);
    append(&mut log, &batch(2, 1, 10));
    append(&mut other, &batch(2, 1, 10));
    journaled(&mut journal, &mut [&mut log, &mut other]);
    flush(&mut log);
    let partition = log.topic_partition().partition;
    journal.void(log.topic_id(), partition).unwrap();
    log.truncate_to(Offset(1)).unwrap();
    let contents = journal_replay::read(&*storage, &dir()).unwrap();
    assert_eq!(contents.replay(&mut log).unwrap(), 0);
    assert_eq!(log.log_end_offset(), Offset(1));
    let mut other = recovered(&storage, &other);
    other.truncate_to(Offset(1)).unwrap();
    assert!(contents.replay(&mut other).unwrap() > 0);
}

#[test]
fn a_group_counts_whole_and_in_its_place_only() {
    let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
    let mut log = rooted(&storage, 0);
    let mut journal = prepared(&storage, 1 << 20);
    let mut ends = vec![0];
    for round in 2..6 {
        append(&mut log, &batch(round, 1, 50));
        journaled(&mut journal, &mut [&mut log]);
        ends.push(journal.position());
    }
    let file = storage.open(&path(&dir(), 0), OpenMode::Write).unwrap();
    let mut whole = vec![0; usize::try_from(journal.position()).unwrap()];
    read_exact_at(&*file, &mut whole, 0).unwrap();
    // Every byte of the third group spoilt in turn: the first two still count.
    let third = usize::try_from(ends[2]).unwrap()..usize::try_from(ends[3]).unwrap();
    for at in third {
        let mut spoilt = whole.clone();
        spoilt[at] ^= 0x40;
        file.write_at(&mut [IoSlice::new(&spoilt)], 0).unwrap();
        let contents = journal_replay::read(&*storage, &dir()).unwrap();
        let mut cut = recovered(&storage, &log);
        cut.truncate_to(Offset(1)).unwrap();
        contents.replay(&mut cut).unwrap();
        assert_eq!(cut.log_end_offset(), Offset(3), "byte {at}");
        // The log is as it was for the next byte.
        file.write_at(&mut [IoSlice::new(&whole)], 0).unwrap();
        let contents = journal_replay::read(&*storage, &dir()).unwrap();
        contents.replay(&mut cut).unwrap();
        assert_eq!(cut.log_end_offset(), Offset(5));
    }
    // Anything for a length.
    for cut_at in 0..whole.len() {
        file.truncate(cut_at as u64).unwrap();
        journal_replay::read(&*storage, &dir()).unwrap();
    }
    journal_replay::discard(&*storage, &dir()).unwrap();
    assert!(journal_replay::read(&*storage, &dir()).unwrap().is_empty());
}

#[test]
fn an_older_generation_behind_the_end_is_not_read() {
    let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
    let mut log = rooted(&storage, 0);
    let mut journal = prepared(&storage, 1 << 20);
    for round in 2..6 {
        append(&mut log, &batch(round, 1, 50));
        journaled(&mut journal, &mut [&mut log]);
    }
    flush(&mut log);
    // Twice round: the first file is begun anew and holds one group, as long as each before.
    journal.switch();
    journal.switch();
    append(&mut log, &batch(7, 1, 50));
    journaled(&mut journal, &mut [&mut log]);
    let contents = journal_replay::read(&*storage, &dir()).unwrap();
    let mut cut = recovered(&storage, &log);
    cut.truncate_to(Offset(1)).unwrap();
    contents.replay(&mut cut).unwrap();
    assert_eq!(
        cut.log_end_offset(),
        Offset(1),
        "its one group is of offset 5 and follows nothing"
    );
}

#[test]
fn behind_a_group_whose_sync_failed_nothing_is_written() {
    let disk = CrashStorage::default();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut log = rooted(&storage, 0);
    let mut journal = prepared(&storage, 1 << 20);
    append(&mut log, &batch(2, 1, 100));
    let part = log.begin_journal(u32::MAX).unwrap().unwrap();
    // The write goes through, its sync does not.
    disk.fail_after(Some(1));
    assert!(matches!(
        journal.write(&[&part]),
        Err(JournalError::Sync(_))
    ));
    disk.fail_after(None);
    let steps = disk.steps();
    for _ in 0..2 {
        assert!(matches!(
            journal.write(&[&part]),
            Err(JournalError::Sync(_))
        ));
        journal.switch();
    }
    assert_eq!(disk.steps(), steps);
}
