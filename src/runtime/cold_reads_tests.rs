use std::path::Path;
use std::sync::mpsc;

use super::*;
use crate::config::{ConfigOverrides, topic};
use crate::error::ErrorCode;
use crate::log::cold::ColdStorage;
use crate::log::storage::{File, OpenMode, Storage, read_exact_at};
use crate::log::{AppendOrigin, LogConfig, LogDir, OpenLog, open, test_log};
use crate::replication::fetch_session::{FetchPartition, FetchTopic};
use crate::runtime::fetch::{FetchParams, FetchResult, FetchTarget, fetch};
use crate::runtime::flusher::Flusher;
use crate::runtime::log_dirs::Place;
use crate::runtime::partition::{Isolation, Partition};
use crate::types::{LeaderEpoch, NodeId, Offset, TimestampMs, TopicId, TopicPartition};

const ME: NodeId = NodeId(1);
const BATCHES: i64 = 300;

fn reads(threads: i32) -> Arc<ColdReads> {
    Arc::new(ColdReads::for_tests(threads))
}

/// A partition of several segments on a disk of its own.
fn partition(index: i32) -> (ColdStorage, Arc<Partition>) {
    let disk = ColdStorage::default();
    let overrides = ConfigOverrides::from([("durable.acks".to_owned(), "false".to_owned())]);
    let config = Arc::new(topic::resolve(&BrokerConfig::default(), &overrides));
    let name = TopicPartition::new("t", index);
    let dir = Path::new("/data").join(name.to_string());
    disk.create_dir_all(&dir).unwrap();
    let found = OpenLog {
        topic_partition: name,
        topic_id: TopicId::ZERO,
        config: LogConfig {
            segment_bytes: 64 << 10,
            ..LogConfig::from(&*config)
        },
        recovery_point: Offset::ZERO,
        log_start: Offset::ZERO,
        clean: true,
        has_journal: true,
    };
    let log = open(Arc::new(disk.clone()), &dir, found, &|_| {}).unwrap();
    let place = Place {
        dir: Arc::new(LogDir::new("/data".into(), Arc::default())),
        flusher: Arc::new(Flusher::default()),
    };
    let partition = Arc::new(Partition::new(
        log,
        config,
        Arc::default(),
        place,
        Offset::ZERO,
    ));
    partition.become_led(ME, LeaderEpoch(0), ME);
    for _ in 0..BATCHES {
        produce(&partition);
    }
    assert!(partition.offsets().segments > 3);
    (disk, partition)
}

fn produce(partition: &Arc<Partition>) {
    let batch = test_log::batch(1, 1, 1000);
    partition
        .append(&batch, AppendOrigin::Client, false, TimestampMs(1))
        .unwrap();
}

fn cool(disk: &ColdStorage) {
    disk.forget();
    disk.take_asked();
}

fn target(partition: &Arc<Partition>, offset: i64) -> FetchTarget {
    FetchTarget {
        key: (FetchTopic::Name("t".into()), partition.index.0),
        request: FetchPartition {
            fetch_offset: Offset(offset),
            max_bytes: 10_000,
            current_leader_epoch: LeaderEpoch::UNKNOWN,
            last_fetched_epoch: LeaderEpoch::UNKNOWN,
            log_start_offset: Offset(-1),
        },
        partition: Ok(Arc::clone(partition)),
    }
}

fn params() -> FetchParams {
    FetchParams {
        max_wait: Duration::ZERO,
        min_bytes: 1,
        max_bytes: 1 << 20,
        isolation: Isolation::ReadUncommitted,
    }
}

fn first_offset(result: &FetchResult) -> i64 {
    let slice = result.as_ref().unwrap().slice.as_ref().unwrap();
    slice.first_offset.0
}

/// The thread of the test is the one that serves connections: held up once, the test hangs.
#[tokio::test(flavor = "current_thread")]
async fn a_fetch_of_old_records_waits_and_nobody_with_it() {
    let cold = reads(2);
    let (disk, partition) = partition(0);
    cool(&disk);
    disk.hold();
    let old = {
        let (cold, target) = (Arc::clone(&cold), target(&partition, 5));
        tokio::spawn(async move { fetch(&cold, &[target], params()).await })
    };
    tokio::task::yield_now().await;
    disk.wait_for_waiting(1);
    assert!(!old.is_finished());
    // Meanwhile, in the same partition. The active segment's file is opened by this.
    disk.release();
    produce(&partition);
    disk.hold();
    let mut recent = 0;
    for n in 1..=20 {
        produce(&partition);
        let end = partition.offsets().high_watermark.0;
        assert_eq!(end, BATCHES + 1 + n);
        let hot = fetch(&cold, &[target(&partition, end - 2)], params()).await;
        assert_eq!(first_offset(&hot[0]), end - 2);
        let slice = hot[0].as_ref().unwrap().slice.as_ref().unwrap();
        recent += usize::from(slice.is_recent);
    }
    assert!(recent >= 18, "{recent}: all but around a roll");
    disk.release();
    let old = old.await.unwrap();
    assert_eq!(first_offset(&old[0]), 5);
    let asked = disk.take_asked();
    assert!(
        asked
            .keys()
            .all(|thread| thread == "cold-read" || asked[thread] == 1),
        "{asked:?}"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn one_disk_that_hangs_does_not_hold_up_the_readers_of_another() {
    let cold = reads(2);
    let worlds = [partition(0), partition(1)];
    for (disk, _) in &worlds {
        cool(disk);
    }
    worlds[0].0.hold();
    let stuck = {
        let (cold, target) = (Arc::clone(&cold), target(&worlds[0].1, 5));
        tokio::spawn(async move { fetch(&cold, &[target], params()).await })
    };
    tokio::task::yield_now().await;
    worlds[0].0.wait_for_waiting(1);
    for offset in (0..BATCHES).step_by(50) {
        let found = fetch(&cold, &[target(&worlds[1].1, offset)], params()).await;
        assert_eq!(first_offset(&found[0]), offset);
    }
    assert!(!stuck.is_finished());
    worlds[0].0.release();
    assert_eq!(first_offset(&stuck.await.unwrap()[0]), 5);
}

#[tokio::test(flavor = "current_thread")]
async fn a_disk_that_fails_is_an_error_of_its_partition() {
    let cold = reads(1);
    let (disk, partition) = partition(0);
    cool(&disk);
    disk.break_down();
    let found = fetch(&cold, &[target(&partition, 5)], params()).await;
    assert_eq!(
        found[0].as_ref().unwrap_err(),
        &ErrorCode::KafkaStorageError
    );
}

/// A file of its own disk, of so many pages that nobody has read.
fn file(pages: u64) -> (ColdStorage, Arc<dyn File>) {
    let disk = ColdStorage::default();
    disk.create_dir_all(Path::new("/")).unwrap();
    let file = disk.open(Path::new("/f"), OpenMode::Create).unwrap();
    let bytes = vec![7; (pages * crate::log::cold::PAGE) as usize];
    file.write_at(&mut [std::io::IoSlice::new(&bytes)], 0)
        .unwrap();
    disk.forget();
    (disk, file)
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_waited_for_comes_in_turn_and_before_what_is_read_ahead() {
    let cold = reads(1);
    let (disk, one) = file(1);
    disk.hold();
    let first = cold.read_in(NotCached::range(Arc::clone(&one), 0, 1));
    disk.wait_for_waiting(1);
    // The only thread waits. What comes now is done in its turn.
    let (order, done) = mpsc::channel();
    let later = [file(1), file(1), file(1)];
    for ahead in 0..2 * READ_AHEAD_PIECES {
        let (_, file) = &later[2];
        cold.read_ahead(NotCached::range(Arc::clone(file), ahead as u64, 1));
    }
    let waiting: Vec<_> = [0, 1]
        .map(|n| {
            let reading = cold.read_in(NotCached::range(Arc::clone(&later[n].1), 0, 1));
            let order = order.clone();
            let ahead = later[2].0.clone();
            tokio::spawn(async move {
                reading.await;
                order.send((n, ahead.take_asked().len())).unwrap();
            })
        })
        .into();
    {
        let queue = cold.shared.queue.lock();
        assert_eq!(
            (queue.wanted.len(), queue.ahead.len()),
            (2, READ_AHEAD_PIECES)
        );
        assert_eq!(queue.threads, 1);
    }
    later[2].0.hold();
    disk.release();
    first.await;
    for task in waiting {
        task.await.unwrap();
    }
    assert_eq!(done.try_recv().unwrap().0, 0);
    assert_eq!(done.try_recv().unwrap().0, 1);
    later[2].0.release();
}

#[tokio::test(flavor = "current_thread")]
async fn as_many_threads_as_there_is_work_up_to_the_option() {
    let cold = reads(3);
    let (disk, file) = file(8);
    disk.hold();
    assert_eq!(cold.threads(), 0);
    let mut reading = Vec::new();
    for n in 0..5 {
        let piece = NotCached::range(Arc::clone(&file), n * crate::log::cold::PAGE, 1);
        reading.push(cold.read_in(piece));
    }
    disk.wait_for_waiting(3);
    assert_eq!(cold.threads(), 3);
    disk.release();
    for read in reading {
        read.await;
    }
    let mut bytes = vec![0; 5 * 4096];
    disk.take_asked();
    read_exact_at(&*file, &mut bytes, 0).unwrap();
    assert!(disk.take_asked().is_empty(), "all of it is in memory");
    let shown = cold.metrics.render();
    assert!(shown.contains("dohle_cold_reads_total 5"), "{shown}");
    assert!(shown.contains("dohle_cold_read_bytes_total 5"));
}
