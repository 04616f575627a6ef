use std::collections::BTreeSet;

use super::*;
use crate::log::Journal;
use crate::log::crash::CrashStorage;
use crate::log::fault::{ENOSPC, FaultStorage, Op};
use crate::log::memory::MemStorage;
use crate::log::storage::OpenMode;
use crate::log::storage::RealStorage;
use crate::log::test_log::{all_batches, append, batch, config, flush};

const DIR: &str = "/data";

fn manager(storage: &Arc<dyn Storage>) -> LogManager {
    LogManager::open(Arc::clone(storage), vec![PathBuf::from(DIR)]).unwrap()
}

fn id(n: u128) -> TopicId {
    TopicId(Uuid::from_u128(n))
}

fn load(logs: &LogManager) -> Vec<FoundLog> {
    let mut found = logs
        .load(&|_| config(), 2, &RecoveryProgress::default())
        .unwrap();
    found.sort_by_key(|found| found.log.topic_partition().clone());
    found
}

fn names(storage: &Arc<dyn Storage>) -> BTreeSet<String> {
    let entries = storage.list(Path::new(DIR)).unwrap();
    entries.into_iter().map(|entry| entry.name).collect()
}

#[test]
fn logs_are_found_again_after_a_clean_shutdown_and_after_none() {
    for clean in [true, false] {
        let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
        let logs = manager(&storage);
        assert!(load(&logs).is_empty());
        let mut ends = BTreeMap::new();
        for partition in 0..3 {
            let name = TopicPartition::new("a-b", partition);
            let mut log = logs
                .create(&name, id(7), config(), &logs.dirs()[0])
                .unwrap();
            log.ensure_made().unwrap();
            for _ in 0..partition {
                append(&mut log, &batch(1000, 2, 10));
            }
            ends.insert(name, log.log_end_offset());
            if clean {
                flush(&mut log);
                log.close_clean().unwrap();
            }
        }
        let dir = Path::new(DIR);
        for kind in [CheckpointKind::RecoveryPoint, CheckpointKind::HighWatermark] {
            logs.checkpoint(kind, dir, &ends).unwrap();
        }
        let starts = BTreeMap::from([(TopicPartition::new("a-b", 2), Offset(1))]);
        logs.checkpoint(CheckpointKind::LogStartOffset, dir, &starts)
            .unwrap();
        if clean {
            logs.mark_clean(&logs.dirs()[0]).unwrap();
        }

        let found = load(&manager(&storage));
        assert!(
            !storage.exists(&dir.join(checkpoint::CLEAN_SHUTDOWN)),
            "in use from here on"
        );
        for (partition, found) in found.iter().enumerate() {
            let n = partition as i64;
            assert_eq!(found.log.topic_id(), id(7));
            assert_eq!(found.log.log_end_offset(), Offset(2 * n));
            assert_eq!(found.high_watermark, Offset(2 * n));
            assert_eq!(found.log.durable_offset(), Offset(2 * n), "clean: {clean}");
            assert_eq!(found.log.log_start_offset(), Offset(i64::from(n == 2)));
            assert_eq!(
                all_batches(&found.log, 0.max(i64::from(n == 2))).len(),
                partition
            );
        }
        assert_eq!(found.len(), 3);
    }
}

#[test]
fn a_directory_is_one_nodes_of_one_cluster() {
    let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
    let logs = manager(&storage);
    let first = logs.claim(NodeId(1), Some("c1")).unwrap();
    assert!(!first[0].is_zero());
    assert_eq!(
        manager(&storage).claim(NodeId(1), Some("c1")).unwrap(),
        first
    );
    assert_eq!(manager(&storage).claim(NodeId(1), None).unwrap(), first);
    for (node, cluster, said) in [
        (
            2,
            "c1",
            "log.dirs: /data holds the data of node 1, not of 2",
        ),
        (
            1,
            "c2",
            "log.dirs: /data holds the data of cluster c1, not of c2",
        ),
    ] {
        let error = logs.claim(NodeId(node), Some(cluster)).unwrap_err();
        assert_eq!(error.to_string(), said);
    }
    // As Kafka's own `kafka-storage` writes it.
    let kafkas = "#\n#Tue Nov 24 08:00:00 UTC 2026\ncluster.id=c1\ndirectory.id=tYGMhc_aQXejKsXptq15Rw\nnode.id=1\nversion=1\n";
    let path = Path::new(DIR).join(checkpoint::META_PROPERTIES);
    write_atomically(&*storage, &path, kafkas.as_bytes()).unwrap();
    assert_eq!(
        logs.claim(NodeId(1), Some("c1")).unwrap()[0].to_string(),
        "tYGMhc_aQXejKsXptq15Rw"
    );
}

#[test]
fn two_processes_cannot_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let open = || LogManager::open(Arc::new(RealStorage), vec![dir.path().to_owned()]);
    let first = open().unwrap();
    let error = open().unwrap_err();
    assert!(matches!(error, OpenError::InUse(_)));
    assert!(error.to_string().ends_with("is in use by another process"));
    drop(first);
    open().unwrap();
}

#[test]
fn a_deleted_log_is_out_of_the_way_at_once_and_gone_later() {
    let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
    let logs = manager(&storage);
    let long = "x".repeat(249);
    for topic in ["t", &long] {
        let name = TopicPartition::new(topic, 12);
        let mut log = logs
            .create(&name, id(1), config(), &logs.dirs()[0])
            .unwrap();
        append(&mut log, &batch(0, 1, 1));
        logs.delete(&mut log, TimestampMs(1000)).unwrap();
        let deleted: Vec<String> = names(&storage)
            .into_iter()
            .filter(|name| name.ends_with("-delete"))
            .collect();
        assert_eq!(deleted.len(), 1);
        assert!(deleted[0].len() <= 255, "{}", deleted[0].len());
        assert!(deleted[0].starts_with(if topic == "t" { "t-12." } else { "xxx" }));
        // Whoever reads it still can; the name is free.
        assert_eq!(all_batches(&log, 0).len(), 1);
        let again = logs
            .create(&name, id(2), config(), &logs.dirs()[0])
            .unwrap();
        assert_eq!(again.log_end_offset(), Offset::ZERO);
        logs.remove_doomed(TimestampMs(60_999));
        assert!(names(&storage).contains(&deleted[0]));
        logs.remove_doomed(TimestampMs(61_000));
        assert!(!names(&storage).contains(&deleted[0]));
    }
}

#[test]
fn an_interrupted_deletion_is_finished_by_the_next_start() {
    let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
    let logs = manager(&storage);
    let mut log = logs
        .create(
            &TopicPartition::new("t", 0),
            id(1),
            config(),
            &logs.dirs()[0],
        )
        .unwrap();
    logs.delete(&mut log, TimestampMs(0)).unwrap();
    assert!(load(&manager(&storage)).is_empty());
    assert!(
        names(&storage)
            .iter()
            .all(|name| !name.ends_with("-delete"))
    );
}

#[test]
fn whose_data_it_is_is_on_disk_with_the_first_flush() {
    let disk = CrashStorage::default();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let logs = manager(&storage);
    let mut log = logs
        .create(
            &TopicPartition::new("t", 0),
            id(9),
            config(),
            &logs.dirs()[0],
        )
        .unwrap();
    append(&mut log, &batch(0, 1, 1));
    let unflushed = disk.steps();
    flush(&mut log);
    let luck = crate::log::crash::Luck::Nothing;
    let after: Arc<dyn Storage> = Arc::new(disk.after_crash(disk.steps(), luck));
    let found = load(&manager(&after));
    assert_eq!(found[0].log.topic_id(), id(9));
    assert_eq!(found[0].log.log_end_offset(), Offset(1));

    // Before, the crash may leave an empty file: the log is put aside, and the broker starts.
    let before: Arc<dyn Storage> =
        Arc::new(disk.after_crash(unflushed, crate::log::crash::Luck::Everything));
    let log_dir = Path::new(DIR).join("t-0");
    let cut_to_nothing = |name: &str| {
        let file = before.open(&log_dir.join(name), OpenMode::Write).unwrap();
        file.truncate(0).unwrap();
    };
    cut_to_nothing(checkpoint::PARTITION_METADATA);
    assert!(load(&manager(&before)).is_empty());
    let strays = |names: BTreeSet<String>| names.iter().filter(|n| n.ends_with("-stray")).count();
    assert_eq!(strays(names(&before)), 1);

    // Where no record is in it either, there is nothing to put aside.
    let stray = names(&before).into_iter().find(|n| n.ends_with("-stray"));
    let stray = Path::new(DIR).join(stray.unwrap());
    before.rename(&stray, &log_dir).unwrap();
    cut_to_nothing("00000000000000000000.log");
    assert!(load(&manager(&before)).is_empty());
    assert_eq!(strays(names(&before)), 0);
    assert!(!before.exists(&log_dir));
}

/// See `a_lost_end_is_not_taken_for_a_hole_of_compaction`: that there is a journal is seen by its files.
#[test]
fn the_lost_end_of_a_compacted_log_comes_from_the_journal() {
    let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
    let logs = manager(&storage);
    let t = TopicPartition::new("t", 0);
    let mut log = logs.create(&t, id(1), config(), &logs.dirs()[0]).unwrap();
    append(&mut log, &batch(1, 1, 10));
    flush(&mut log);
    let flushed_bytes = log.size_bytes();
    let mut journal = Journal::new(Arc::clone(&storage), DIR.into(), 1 << 20);
    (0..2).for_each(|which| journal.preparation(which, true)().unwrap());
    append(&mut log, &batch(2, 3, 100));
    let part = log.begin_journal(u32::MAX).unwrap().unwrap();
    journal.write(&[&part]).unwrap();
    log.roll().unwrap();
    let first = log.directory().join("00000000000000000000.log");
    let first = storage.open(&first, OpenMode::Write).unwrap();
    first.truncate(flushed_bytes).unwrap();
    drop(logs);

    let mut compacted = config();
    compacted.cleanup_policy.compact = true;
    let found = manager(&storage)
        .load(&|_| compacted.clone(), 1, &RecoveryProgress::default())
        .unwrap();
    assert_eq!(all_batches(&found[0].log, 0), [(0, 0, 1), (1, 0, 3)]);
}

#[test]
fn a_start_after_a_crash_says_what_is_on_disk_if_there_is_room_to() {
    let disk = FaultStorage::new(Arc::new(MemStorage::default()));
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let logs = manager(&storage);
    let t = TopicPartition::new("t", 0);
    let mut log = logs.create(&t, id(1), config(), &logs.dirs()[0]).unwrap();
    append(&mut log, &batch(0, 3, 1));
    flush(&mut log);
    drop(logs);
    let recovery_points = Path::new(DIR).join(checkpoint::RECOVERY_POINTS);
    let logs = manager(&storage);
    disk.fail(DIR, Op::Write, ENOSPC);
    assert_eq!(load(&logs)[0].log.log_end_offset(), Offset(3));
    disk.heal();
    assert!(!storage.exists(&recovery_points));
    drop(logs);
    load(&manager(&storage));
    let written = checkpoint::read_offsets(&*storage, &recovery_points).unwrap();
    assert_eq!(written.get(&t), Some(&Offset(3)));
}

#[test]
fn segments_that_retention_let_go_are_removed_later() {
    let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
    let logs = manager(&storage);
    let short = LogConfig {
        retention_ms: 10,
        ..config()
    };
    let mut log = logs
        .create(&TopicPartition::new("t", 0), id(1), short, &logs.dirs()[0])
        .unwrap();
    append(&mut log, &batch(0, 1, 1));
    let doomed = log
        .delete_old_segments(Offset(1), TimestampMs(100))
        .unwrap()
        .unwrap();
    assert!(doomed.paths.iter().all(|path| storage.exists(path)));
    logs.doom(doomed.clone());
    logs.remove_doomed(TimestampMs(100 + 59_999));
    assert!(storage.exists(&doomed.paths[0]));
    logs.remove_doomed(TimestampMs(100 + 60_000));
    assert!(!doomed.paths.iter().any(|path| storage.exists(path)));
}

#[test]
fn opening_many_clean_logs_keeps_no_file_open() {
    let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
    let logs = manager(&storage);
    let mut log = logs
        .create(
            &TopicPartition::new("t", 0),
            id(1),
            config(),
            &logs.dirs()[0],
        )
        .unwrap();
    append(&mut log, &batch(0, 1, 1));
    flush(&mut log);
    log.close_clean().unwrap();
    logs.mark_clean(&logs.dirs()[0]).unwrap();
    let found = load(&manager(&storage));
    assert!(!found[0].log.holds_open_files());
}

/// A roll's indexes and a close's snapshot are not synced one by one.
#[test]
fn a_clean_mark_is_not_written_before_what_it_stands_for() {
    let disk = CrashStorage::default();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let logs = manager(&storage);
    let mut log = logs
        .create(
            &TopicPartition::new("t", 0),
            id(9),
            config(),
            &logs.dirs()[0],
        )
        .unwrap();
    append(&mut log, &batch(1000, 1, 1));
    flush(&mut log);
    log.roll().unwrap();
    log.close_clean().unwrap();
    let from = disk.steps();
    logs.mark_clean(&logs.dirs()[0]).unwrap();
    let marked = (from..=disk.steps()).filter(|steps| {
        let luck = crate::log::crash::Luck::Nothing;
        let left: Arc<dyn Storage> = Arc::new(disk.after_crash(*steps, luck));
        let marked = left.exists(&Path::new(DIR).join(checkpoint::CLEAN_SHUTDOWN));
        let times = Path::new(DIR).join("t-0/00000000000000000000.timeindex");
        let whole = left
            .open(&times, OpenMode::Read)
            .is_ok_and(|file| file.len().unwrap() == 12);
        assert!(whole || !marked, "after {steps} steps");
        marked
    });
    assert!(marked.count() > 0);
}

#[test]
fn a_new_log_needs_no_file_before_its_first_append() {
    let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
    let logs = manager(&storage);
    logs.claim(NodeId(1), Some("c1")).unwrap();
    let make = |partition| {
        let name = TopicPartition::new("t", partition);
        logs.create(&name, id(7), config(), &logs.dirs()[0])
            .unwrap()
    };
    let path = |partition: i32| Path::new(DIR).join(format!("t-{partition}"));
    let mut logs_made: Vec<PartitionLog> = (0..4).map(make).collect();
    assert!((0..4).all(|n| !storage.exists(&path(n))));
    let [appended, cut, deleted, closed] = &mut logs_made[..] else {
        unreachable!()
    };
    append(appended, &batch(1, 1, 10));
    cut.truncate_fully_and_start_at(Offset(7)).unwrap();
    logs.delete(deleted, TimestampMs(0)).unwrap();
    logs.remove_doomed(TimestampMs(i64::MAX));
    closed.close_clean().unwrap();
    assert!(
        closed
            .delete_old_segments(Offset(9), TimestampMs(9))
            .unwrap()
            .is_none()
    );
    let there: Vec<bool> = (0..4).map(|n| storage.exists(&path(n))).collect();
    assert_eq!(there, [true, true, false, false]);
    // What lies where a new log is to be is nobody's to write over.
    let again = make(0);
    assert!(!again.is_made() && !storage.exists(&path(0)));
    let stray = |name: &str| name.starts_with("t-0.") && name.ends_with(STRAY_SUFFIX);
    let names = storage.list(Path::new(DIR)).unwrap();
    assert!(names.iter().any(|entry| stray(&entry.name)), "{names:?}");
}
