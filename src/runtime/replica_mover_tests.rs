//! Moves driven step by step on a node with three directories: what is served meanwhile, what ends a move, and what
//! a crash at any moment of it leaves.

use std::path::{Path, PathBuf};

use super::*;
use crate::config::BrokerConfig;
use crate::controller::MetadataDelta;
use crate::controller::command::{AssignReplicasToDirs, Command};
use crate::controller::delta::TopicDelta;
use crate::controller::image::MetadataImage;
use crate::controller::testing::{cluster_of, make, restarted, run, topic};
use crate::error::ErrorCode;
use crate::log::crash::{CrashStorage, Luck};
use crate::log::fault::{EIO, FaultStorage, Op};
use crate::log::memory::MemStorage;
use crate::log::storage::Storage;
use crate::log::test_log::{all_batches, batch};
use crate::log::{AppendOrigin, LogConfig, LogManager, RecoveryProgress};
use crate::runtime::partition::CommitOutcome;
use crate::types::{LeaderEpoch, NodeId, Offset, PartitionId, TopicPartition};

const ME: NodeId = NodeId(1);
const NOW: TimestampMs = TimestampMs(1000);
/// The first holds the metadata and no logs here.
const DIRS: [&str; 3] = ["/m", "/a", "/b"];

struct TestNode {
    image: MetadataImage,
    partitions: Arc<Partitions>,
    told: Mutex<Vec<DirectoryAssignment>>,
    /// How many steps the disk had taken when the controller was told.
    told_at: Mutex<Vec<usize>>,
    steps: Box<dyn Fn() -> usize>,
}

fn start(storage: Arc<dyn Storage>, mut image: MetadataImage) -> TestNode {
    let logs = LogManager::open(storage, DIRS.map(PathBuf::from).into()).unwrap();
    let claimed = logs.claim(ME, Some(image.cluster_id())).unwrap();
    let claimed = claimed.into_iter().map(|id| DirectoryId(id.0));
    restarted(&mut image, ME.0, claimed.collect());
    let config = BrokerConfig::default();
    let defaults = LogConfig::from(&crate::config::topic::resolve(&config, &Default::default()));
    let found = logs
        .load(&|_| defaults.clone(), 1, &RecoveryProgress::default())
        .unwrap();
    let partitions = Arc::new(Partitions::new(ME, Arc::new(logs), found, 0));
    let node = TestNode {
        image,
        partitions,
        told: Mutex::default(),
        told_at: Mutex::default(),
        steps: Box::new(|| 0),
    };
    node.apply(&MetadataDelta::whole(&node.image));
    node.partitions.remove_strays(NOW);
    node
}

/// `t-0` lies in `/a`.
fn fresh(storage: Arc<dyn Storage>) -> TestNode {
    let mut node = start(storage, cluster_of(&[(1, None)]));
    let name = TopicPartition::new("t", 0);
    let refused = node.partitions.alter_log_dir(&name, Path::new("/a"), NOW);
    assert_eq!(refused, Err(ErrorCode::UnknownTopicOrPartition));
    make(&mut node.image, vec![topic("t", 1, 1)]);
    let id = node.image.topic_id("t").unwrap();
    node.apply(&MetadataDelta {
        topics: [(id, TopicDelta::Created)].into(),
        ..MetadataDelta::default()
    });
    for assignment in node.partitions.assignments().take_batch() {
        node.image = assigned(&node.image, assignment);
    }
    assert_eq!(node.dir(), Path::new("/a"), "as it was wished for");
    node
}

fn assigned(image: &MetadataImage, assignment: DirectoryAssignment) -> MetadataImage {
    let mut image = image.clone();
    let command = AssignReplicasToDirs {
        broker: ME,
        broker_epoch: image.broker(ME).unwrap().epoch,
        assignments: vec![assignment],
    };
    run(&mut image, Command::AssignReplicasToDirs(command));
    image
}

impl TestNode {
    fn apply(&self, delta: &MetadataDelta) {
        let config = BrokerConfig::default();
        self.partitions.apply(&self.image, delta, &config, NOW);
    }

    fn partition(&self) -> Arc<Partition> {
        self.partitions.by_name("t", PartitionId(0)).unwrap()
    }

    fn dir(&self) -> PathBuf {
        self.partition().dir().path().to_owned()
    }

    fn alter(&self, to: &str) -> Result<(), ErrorCode> {
        let name = TopicPartition::new("t", 0);
        self.partitions.alter_log_dir(&name, Path::new(to), NOW)
    }

    fn append(&self, records: usize) -> tokio::sync::oneshot::Receiver<CommitOutcome> {
        let batch = batch(1, records, 100);
        let appended = self
            .partition()
            .append(&batch, AppendOrigin::Client, true, NOW);
        appended.unwrap().commit.unwrap()
    }

    /// Makes one step of the move that is waiting. False when there is none.
    fn step(&self) -> bool {
        let mover = self.partitions.mover();
        let Some(next) = mover.queue.lock().moves.pop_front() else {
            return false;
        };
        let assign = |assignment| {
            self.told_at.lock().push((self.steps)());
            self.told.lock().push(assignment);
            Ok(())
        };
        let context = MoveContext {
            partitions: &self.partitions,
            now: NOW,
            bytes_per_second: 0,
            assign: &assign,
        };
        mover.step(next, &context);
        true
    }

    fn finish(&self) {
        for _ in 0..1000 {
            if !self.step() {
                return;
            }
        }
        panic!("a move does not end");
    }

    fn batches(&self) -> Vec<(i64, i32, i32)> {
        self.partition()
            .with_log(|log| all_batches(log, log.log_start_offset().0))
    }
}

fn memory() -> (FaultStorage, TestNode) {
    let disk = FaultStorage::new(Arc::new(MemStorage::default()));
    let node = fresh(Arc::new(disk.clone()));
    (disk, node)
}

fn names(disk: &dyn Storage, dir: &str) -> Vec<String> {
    let entries = disk.list(Path::new(dir)).unwrap();
    let dirs = entries.into_iter().filter(|entry| entry.is_dir);
    dirs.map(|entry| entry.name).collect()
}

#[tokio::test]
async fn a_log_moves_while_it_is_written_and_read() {
    let (disk, node) = memory();
    let mut expected = 0;
    for _ in 0..5 {
        drop(node.append(3));
        expected += 3;
    }
    node.partition().flush();
    node.alter("/b").unwrap();
    assert_eq!(node.alter("/b"), Ok(()), "it is on its way already");
    assert!(names(&disk, "/b")[0].ends_with("-future"));
    assert_eq!(node.dir(), Path::new("/a"));
    // Written to between the steps, and waiting for a flush when the swap comes.
    assert!(node.step());
    let waiting = node.append(2);
    expected += 2;
    node.finish();
    assert_eq!(node.dir(), Path::new("/b"));
    assert_eq!(names(&disk, "/b"), ["t-0"]);
    let left = names(&disk, "/a");
    assert!(left.len() == 1 && left[0].starts_with("t-0.") && left[0].ends_with("-delete"));
    let told = node.told.lock().clone();
    let b = node.partition().dir().id().unwrap();
    assert_eq!(
        told.iter().map(|one| one.directory.0).collect::<Vec<_>>(),
        [b.0]
    );
    node.partition().flush();
    assert_eq!(waiting.await.unwrap(), Ok(()));
    let commit = node.append(1);
    node.partition().flush();
    assert_eq!(commit.await.unwrap(), Ok(()));
    let offsets = node.partition().offsets();
    assert_eq!(
        (offsets.log_end.0, offsets.high_watermark.0),
        (expected + 1, expected + 1)
    );
    assert_eq!(node.batches().len(), 7);
    let counts: Vec<usize> = node
        .partitions
        .log_dirs()
        .places()
        .iter()
        .map(|p| p.dir.log_count())
        .collect();
    assert_eq!(counts, [0, 0, 1]);
    // And back, over a restart.
    node.alter("/a").unwrap();
    let image = node.image.clone();
    let image = told
        .into_iter()
        .fold(image, |image, one| assigned(&image, one));
    drop(node);
    let node = start(Arc::new(disk.clone()), image);
    assert_eq!(node.dir(), Path::new("/b"));
    assert!(node.partition().future().is_some());
    node.finish();
    assert_eq!((node.dir(), node.batches().len()), ("/a".into(), 7));
}

#[test]
fn a_flush_that_is_under_way_is_waited_for() {
    let (_, node) = memory();
    drop(node.append(1));
    node.partition().flush();
    node.alter("/b").unwrap();
    drop(node.append(1));
    let partition = node.partition();
    let Some(crate::runtime::partition::FlushStep::Files(work)) = partition.begin_flush(None, 0)
    else {
        panic!("nothing to flush");
    };
    for _ in 0..20 {
        assert!(node.step());
    }
    assert_eq!(node.dir(), Path::new("/a"));
    let point = work.up_to;
    partition.finish_flush(point, work.run());
    node.finish();
    assert_eq!((node.dir(), node.batches().len()), ("/b".into(), 2));
    // Flushes go on, in the new place.
    drop(node.append(1));
    partition.flush();
    assert_eq!(partition.offsets().high_watermark, Offset(3));
}

#[test]
fn a_log_that_is_being_cleaned_is_not_swapped() {
    let (_, node) = memory();
    let compact = crate::config::topic::resolve(
        &BrokerConfig::default(),
        &[
            ("cleanup.policy".to_owned(), "compact".to_owned()),
            ("min.cleanable.dirty.ratio".to_owned(), "0".to_owned()),
        ]
        .into(),
    );
    let partition = node.partition();
    partition.configure(Arc::new(compact));
    for sequence in 0..2 {
        let mut builder = crate::protocol::batch_builder::BatchBuilder::new(
            Offset::ZERO,
            crate::protocol::compression::Compression::None,
        );
        builder.append(TimestampMs(sequence), Some(b"k"), Some(b"v"), &[]);
        let batch = builder.build();
        partition
            .append(&batch, AppendOrigin::Client, false, NOW)
            .unwrap();
        partition.with_log(|log| log.roll()).unwrap();
    }
    partition.flush();
    node.alter("/b").unwrap();
    // As a cleaner that had chosen it just before.
    let plan = partition.with_log(|log| log.begin_cleaning(Offset(2), NOW));
    assert!(plan.unwrap().is_some());
    for _ in 0..20 {
        assert!(node.step());
    }
    assert_eq!(node.dir(), Path::new("/a"));
    assert!(!partition.with_log(|log| log.may_go_on_cleaning()));
    partition.with_log(|log| log.end_cleaning(None));
    node.finish();
    assert_eq!((node.dir(), node.batches().len()), ("/b".into(), 2));
}

#[test]
fn a_move_is_cancelled_by_moving_back_and_by_moving_elsewhere() {
    let (disk, node) = memory();
    drop(node.append(1));
    node.alter("/b").unwrap();
    node.step();
    node.alter("/a").unwrap();
    assert!(node.partition().future().is_none());
    assert!(
        names(&disk, "/b")
            .iter()
            .all(|name| name.ends_with("-delete"))
    );
    node.finish();
    assert_eq!(node.dir(), Path::new("/a"));
    node.alter("/b").unwrap();
    node.step();
    node.alter("/m").unwrap();
    node.finish();
    assert_eq!((node.dir(), node.batches().len()), ("/m".into(), 1));
}

#[test]
fn deleted_records_and_topics_and_changed_options_are_followed() {
    let (disk, node) = memory();
    for _ in 0..4 {
        drop(node.append(5));
    }
    let partition = node.partition();
    partition.flush();
    node.alter("/b").unwrap();
    node.step();
    let delete = |before: i64| {
        let cut = partition.with_leader_log(LeaderEpoch::UNKNOWN, |view| {
            view.log.delete_records_before(Offset(before))
        });
        cut.unwrap().unwrap();
    };
    // In the middle of a batch, and then of another while nothing is left of the copy.
    delete(7);
    node.finish();
    let offsets = partition.offsets();
    assert_eq!((offsets.log_start.0, offsets.log_end.0), (7, 20));
    assert_eq!(node.batches()[0], (5, 0, 5));
    delete(12);
    node.alter("/a").unwrap();
    let config = crate::config::topic::resolve(
        &BrokerConfig::default(),
        &[("retention.ms".to_owned(), "77".to_owned())].into(),
    );
    partition.configure(Arc::new(config));
    node.finish();
    assert_eq!(partition.offsets().log_start.0, 12);
    assert_eq!(partition.with_log(|log| log.config().retention_ms), 77);
    assert_eq!(node.batches(), [(10, 0, 5), (15, 0, 5)]);

    node.alter("/b").unwrap();
    let id = node.image.topic_id("t").unwrap();
    let before = Arc::clone(node.image.topic("t").unwrap());
    node.apply(&MetadataDelta {
        topics: [(id, TopicDelta::Deleted(before))].into(),
        ..MetadataDelta::default()
    });
    node.finish();
    for dir in ["/a", "/b"] {
        let left = names(&disk, dir);
        assert!(
            left.iter().all(|name| name.ends_with("-delete")),
            "{left:?}"
        );
    }
}

#[test]
fn an_idempotent_producers_batch_is_known_after_a_move() {
    let (_, node) = memory();
    let send = |sequence| {
        let mut builder = crate::protocol::batch_builder::BatchBuilder::new(
            Offset::ZERO,
            crate::protocol::compression::Compression::None,
        )
        .producer(
            crate::types::ProducerId(9),
            crate::types::ProducerEpoch(0),
            sequence,
        );
        builder.append(TimestampMs(1), None, Some(b"v"), &[]);
        let batch = builder.build();
        let appended = node
            .partition()
            .append(&batch, AppendOrigin::Client, false, NOW);
        appended.unwrap().info.duplicate
    };
    assert!(!send(0));
    assert!(!send(1));
    node.partition().flush();
    // What is known of a producer outlives its batches.
    let cut = node
        .partition()
        .with_leader_log(LeaderEpoch::UNKNOWN, |view| {
            view.log.delete_records_before(Offset(2))
        });
    cut.unwrap().unwrap();
    node.alter("/b").unwrap();
    node.finish();
    assert_eq!(node.dir(), Path::new("/b"));
    assert!(send(1) && !send(2));
}

#[test]
fn transactions_are_decided_after_a_move_as_they_were_before() {
    use crate::log::test_txn::{txn_batch, txn_marker};
    let (_, node) = memory();
    let partition = node.partition();
    let append = |batch: &[u8]| {
        let appended = partition.append(batch, AppendOrigin::Coordinator, false, NOW);
        appended.unwrap();
    };
    append(&txn_batch(7, 0, 1));
    append(&txn_marker(7, false, 1));
    append(&txn_batch(8, 0, 1));
    append(&txn_marker(8, true, 1));
    partition.flush();
    let decided = || {
        partition
            .with_leader_log(LeaderEpoch::UNKNOWN, |view| {
                let aborted = view.log.collect_aborted(Offset(0), Offset(4)).unwrap();
                (view.last_stable_offset, view.high_watermark, aborted.len())
            })
            .unwrap()
    };
    let before = decided();
    assert_eq!(before, (Offset(4), Offset(4), 1));
    node.alter("/b").unwrap();
    node.finish();
    assert_eq!(node.dir(), Path::new("/b"));
    assert_eq!(decided(), before);
}

#[test]
fn a_directory_that_fails_ends_the_move_and_only_its_own_logs() {
    for failing in ["/a", "/b"] {
        let (disk, node) = memory();
        drop(node.append(1));
        node.partition().flush();
        node.alter("/b").unwrap();
        disk.fail(failing, Op::Read, EIO);
        disk.fail(failing, Op::Write, EIO);
        node.step();
        let failures = node.partitions.logs().failures();
        failures.close();
        crate::runtime::log_dirs::handle_failures(&node.partitions);
        node.finish();
        let partition = node.partition();
        assert_eq!(partition.is_online(), failing == "/b");
        if failing == "/b" {
            assert!(partition.future().is_none());
            drop(node.append(1));
            partition.flush();
            assert_eq!(partition.offsets().high_watermark, Offset(2));
            assert_eq!(node.alter("/m"), Err(ErrorCode::KafkaStorageError));
            assert_eq!(node.alter("/b"), Err(ErrorCode::KafkaStorageError));
        }
    }
}

#[test]
fn errors_are_kafkas() {
    let (_, node) = memory();
    let alter = |name: &str, to: &str| {
        let name = TopicPartition::new(name, 0);
        node.partitions.alter_log_dir(&name, Path::new(to), NOW)
    };
    assert_eq!(alter("t", "/c"), Err(ErrorCode::LogDirNotFound));
    assert_eq!(alter("t", "/a/t-0"), Err(ErrorCode::LogDirNotFound));
    assert_eq!(
        alter(&"x".repeat(230), "/b"),
        Err(ErrorCode::InvalidTopicException)
    );
    assert_eq!(alter("none", "/b"), Err(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(alter("t", "/a"), Ok(()));
    assert!(node.partition().future().is_none());
}

#[test]
fn copying_is_paid_for_in_time() {
    let mover = ReplicaMover::default();
    assert_eq!(mover.pay(1 << 30, 0), Duration::ZERO);
    let first = mover.pay(1000, 1000);
    let second = mover.pay(500, 1000);
    assert!(first <= Duration::from_secs(1) && first > Duration::from_millis(500));
    assert!(second > Duration::from_millis(900) && second <= Duration::from_millis(1500));
    assert!(mover.pay(1 << 30, i64::MAX) <= second);
}

#[test]
fn a_full_target_is_waited_for() {
    let (disk, node) = memory();
    drop(node.append(1));
    node.alter("/b").unwrap();
    disk.room(0);
    assert!(node.step() && node.partition().future().is_some());
    disk.heal();
    let to = node.partition().future_dir().unwrap();
    let min_free = crate::log::MinFree {
        bytes: 10,
        percent: -1.0,
    };
    let space = |usable| crate::log::storage::Space { total: 100, usable };
    to.space().look(space(5), min_free, Duration::ZERO);
    for _ in 0..3 {
        node.step();
    }
    assert_eq!(node.dir(), Path::new("/a"));
    to.space().look(space(50), min_free, Duration::ZERO);
    node.finish();
    assert_eq!(node.dir(), Path::new("/b"));
}

/// What was so at some number of steps of the disk.
struct History {
    disk: CrashStorage,
    /// What had been promised as durable.
    promised: Vec<(usize, i64)>,
    /// What the controller knew.
    images: Vec<(usize, MetadataImage)>,
}

/// A life with moves in it, appended to throughout.
fn life(disk: &CrashStorage) -> History {
    let mut node = fresh(Arc::new(disk.clone()));
    let steps = disk.clone();
    node.steps = Box::new(move || steps.steps());
    let mut promised = Vec::new();
    let mut note = |node: &TestNode| {
        let durable = node.partition().offsets().high_watermark.0;
        promised.push((disk.steps(), durable));
    };
    let write = |node: &TestNode, flush: bool| {
        drop(node.append(2));
        if flush {
            node.partition().flush();
        }
    };
    write(&node, true);
    write(&node, true);
    note(&node);
    for to in ["/b", "/a"] {
        node.alter(to).unwrap();
        note(&node);
        let mut n = 0;
        while node.partition().future().is_some() {
            node.step();
            note(&node);
            n += 1;
            if n < 4 {
                write(&node, n % 2 == 0);
                note(&node);
            }
        }
        assert_eq!(node.dir(), Path::new(to));
        write(&node, false);
        note(&node);
        write(&node, true);
        note(&node);
        node.partitions.logs().remove_doomed(TimestampMs(i64::MAX));
        note(&node);
    }
    let mut images = vec![(0, node.image.clone())];
    let told = node.told.lock().clone();
    for (at, told) in node.told_at.lock().iter().zip(told) {
        let image = assigned(&images.last().unwrap().1, told);
        images.push((*at, image));
    }
    assert_eq!(images.len(), 3);
    History {
        disk: disk.clone(),
        promised,
        images,
    }
}

impl History {
    fn promised(&self, steps: usize) -> i64 {
        let known = self.promised.iter().rfind(|(at, _)| *at <= steps);
        known.unwrap().1
    }

    /// What the controller may know after so many steps: two things while it is told.
    fn images(&self, steps: usize) -> Vec<&MetadataImage> {
        let before = self.images.iter().rfind(|(at, _)| *at < steps);
        let told = self.images.iter().rfind(|(at, _)| *at == steps);
        before
            .into_iter()
            .chain(told)
            .map(|(_, image)| image)
            .collect()
    }
}

#[test]
fn at_no_moment_of_a_move_does_a_crash_lose_the_log_or_leave_it_in_two_places() {
    let history = life(&CrashStorage::default());
    let (from, to) = (history.promised[0].0, history.disk.steps());
    assert!(to - from > 60, "{}", to - from);
    let mut offline = 0;
    for steps in from..=to {
        let durable = history.promised(steps);
        for image in history.images(steps) {
            for luck in [
                Luck::Nothing,
                Luck::Everything,
                Luck::Seed(7 + steps as u64),
                Luck::Seed(99_991),
                Luck::Seed(1 + 31 * steps as u64),
            ] {
                for lost in [None, Some("/a"), Some("/b")] {
                    let disk = history.disk.after_crash(steps, luck);
                    let disk = FaultStorage::new(Arc::new(disk));
                    if let Some(lost) = lost {
                        disk.fail(lost, Op::Lock, EIO);
                    }
                    let what = format!("{steps} steps, {luck:?}, without {lost:?}");
                    let node = start(Arc::new(disk.clone()), image.clone());
                    let found = node.partitions.by_name("t", PartitionId(0));
                    let Ok(partition) = found else {
                        assert!(lost.is_some(), "{what}");
                        offline += 1;
                        continue;
                    };
                    let end = partition.offsets().log_end.0;
                    assert!(end >= durable, "{what}: {end} of {durable}");
                    let expected: Vec<_> = (0..end / 2).map(|n| (n * 2, 0, 2)).collect();
                    assert_eq!(node.batches(), expected, "{what}");
                    let places: Vec<String> = ["/a", "/b"]
                        .into_iter()
                        .filter(|dir| Some(*dir) != lost)
                        .flat_map(|dir| names(&disk, dir))
                        .filter(|name| name == "t-0")
                        .collect();
                    assert_eq!(places.len(), 1, "{what}");
                    if lost.is_none() {
                        node.finish();
                        assert_eq!(node.batches(), expected, "{what}");
                    }
                }
            }
        }
    }
    assert!(offline > 0);
}

#[test]
fn a_move_that_ends_after_the_controller_was_told_is_taken_back() {
    // Also when the failure was handled, and the controller told, before it heard of the new place.
    for handled in [false, true] {
        let node = fresh(Arc::new(MemStorage::default()));
        drop(node.append(3));
        node.partition().flush();
        node.alter("/b").unwrap();
        let place = |path: &str| {
            let mut places = node.partitions.log_dirs().places().iter();
            places
                .find(|place| place.dir.path() == Path::new(path))
                .unwrap()
        };
        let assign = |assignment| {
            let b = &place("/b").dir;
            b.fail("it is pulled out", &std::io::Error::from_raw_os_error(EIO));
            if handled {
                node.partitions.close_dir(b);
                let batch = node.partitions.assignments().take_batch();
                let told: Vec<_> = batch.iter().map(|one| Some(one.directory)).collect();
                assert_eq!(told, [place("/a").id()], "it stays there");
            }
            node.told.lock().push(assignment);
            Ok(())
        };
        let context = MoveContext {
            partitions: &node.partitions,
            now: NOW,
            bytes_per_second: 0,
            assign: &assign,
        };
        let mover = node.partitions.mover();
        loop {
            let Some(next) = mover.queue.lock().moves.pop_front() else {
                break;
            };
            mover.step(next, &context);
        }
        let told: Vec<_> = node.told.lock().iter().map(|one| one.directory).collect();
        assert_eq!(told, [place("/b").id().unwrap()]);
        assert_eq!(node.dir(), Path::new("/a"));
        let batch = node.partitions.assignments().take_batch();
        let told: Vec<_> = batch.iter().map(|one| Some(one.directory)).collect();
        assert_eq!(told, [place("/a").id()], "that is where it is: {handled}");
    }
}
