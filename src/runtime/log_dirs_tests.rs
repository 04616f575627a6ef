//! A node with several directories, of which some fail.

use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::config::BrokerConfig;
use crate::controller::MetadataDelta;
use crate::controller::command::{
    AssignReplicasToDirs, Command, CreatePartitions, CreatePartitionsTopic, Reply,
};
use crate::controller::image::MetadataImage;
use crate::controller::testing::{cluster_of, make, restarted, run, topic};
use crate::error::ErrorCode;
use crate::log::fault::{EIO, ENOSPC, FaultStorage, Op};
use crate::log::memory::MemStorage;
use crate::log::storage::{OpenMode, Storage};
use crate::log::test_log::batch;
use crate::log::{AppendOrigin, LogConfig, OpenError, RecoveryProgress};
use crate::replication::fetch_session::{FetchPartition, FetchTopic};
use crate::runtime::cold_reads::ColdReads;
use crate::runtime::fetch::{FetchParams, FetchTarget, fetch};
use crate::runtime::partition::{Appended, Isolation, Partition, ReadRequest};
use crate::types::{LeaderEpoch, NodeId, Offset, PartitionId, TimestampMs, TopicPartition};

const ME: NodeId = NodeId(1);
const NOW: TimestampMs = TimestampMs(1000);

struct TestNode {
    disk: FaultStorage,
    image: MetadataImage,
    partitions: Arc<Partitions>,
}

fn try_start(
    disk: &FaultStorage,
    mut image: MetadataImage,
    dirs: &[&str],
) -> Result<TestNode, OpenError> {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let logs = LogManager::open(storage, dirs.iter().map(PathBuf::from).collect())?;
    let claimed = logs.claim(ME, Some(image.cluster_id()))?;
    let config = BrokerConfig::default();
    let defaults = LogConfig::from(&crate::config::topic::resolve(&config, &Default::default()));
    let found = logs.load(&|_| defaults.clone(), 1, &RecoveryProgress::default())?;
    let partitions = Arc::new(Partitions::new(ME, Arc::new(logs), found, 0));
    let config = BrokerConfig::default();
    partitions.apply(&image, &MetadataDelta::whole(&image), &config, NOW);
    partitions.remove_strays(NOW);
    let claimed = claimed.into_iter().map(|id| DirectoryId(id.0));
    restarted(&mut image, ME.0, claimed.collect());
    let mut node = TestNode {
        disk: disk.clone(),
        image,
        partitions,
    };
    node.tell();
    for partition in node.partitions.all() {
        partition.flush();
    }
    Ok(node)
}

fn start(dirs: &[&str]) -> TestNode {
    let disk = FaultStorage::new(Arc::new(MemStorage::default()));
    try_start(&disk, cluster_of(&[(1, None)]), dirs).unwrap()
}

impl TestNode {
    fn apply(&mut self, delta: &MetadataDelta) {
        let config = BrokerConfig::default();
        self.partitions.apply(&self.image, delta, &config, NOW);
        self.tell();
    }

    /// As the task that tells the controller does; what the controller says to it is done, too.
    fn tell(&mut self) {
        let assignments = self.partitions.assignments();
        let epoch = self.image.broker(ME).unwrap().epoch;
        if let Some(news) = assignments.take_news(ME, epoch) {
            let reply = run(&mut self.image, Command::ChangeBroker(news));
            assert_eq!(reply, Reply::ChangeBroker(Ok(())));
        }
        let command = AssignReplicasToDirs {
            broker: ME,
            broker_epoch: epoch,
            assignments: assignments.take_batch(),
        };
        let reply = run(&mut self.image, Command::AssignReplicasToDirs(command));
        assert_eq!(reply, Reply::AssignReplicasToDirs(Ok(())));
        let whole = MetadataDelta::whole(&self.image);
        let config = BrokerConfig::default();
        self.partitions.apply(&self.image, &whole, &config, NOW);
        assert!(
            assignments.take_batch().is_empty(),
            "it is told of what it knows"
        );
    }

    /// Who leads, as clients are told.
    fn leader(&self, name: &str, index: i32) -> i32 {
        let state = self.image.partition(name, PartitionId(index)).unwrap();
        assert_eq!(&*state.isr, &[ME], "it alone has everything");
        let online = self.image.is_in_online_dir(state, ME);
        assert_eq!(online, state.leader == ME, "shown as offline");
        state.leader.0
    }

    fn create(&mut self, name: &str, partitions: i32) {
        make(&mut self.image, vec![topic(name, partitions, 1)]);
        let id = self.image.topic_id(name).unwrap();
        let delta = MetadataDelta {
            topics: [(id, crate::controller::delta::TopicDelta::Created)].into(),
            ..MetadataDelta::default()
        };
        self.apply(&delta);
    }

    fn grow(&mut self, name: &str, count: i32, new: &[i32]) {
        let command = CreatePartitions {
            topics: vec![CreatePartitionsTopic {
                name: name.into(),
                count,
                assignments: None,
            }],
            validate_only: false,
        };
        let reply = run(&mut self.image, Command::CreatePartitions(command));
        assert_eq!(reply, Reply::CreatePartitions(vec![Ok(())]));
        let id = self.image.topic_id(name).unwrap();
        let new = new.iter().copied().map(PartitionId).collect();
        let delta = MetadataDelta {
            topics: [(id, crate::controller::delta::TopicDelta::Changed(new))].into(),
            ..MetadataDelta::default()
        };
        self.apply(&delta);
    }

    fn partition(&self, name: &str, index: i32) -> Arc<Partition> {
        self.partitions.by_name(name, PartitionId(index)).unwrap()
    }

    fn why_not(&self, name: &str, index: i32) -> ErrorCode {
        let found = self.partitions.by_name(name, PartitionId(index));
        found.map(drop).unwrap_err()
    }

    /// The one in that directory; topics here have one partition in each.
    fn in_dir(&self, name: &str, dir: &str) -> Arc<Partition> {
        let all = self.partitions.all();
        let mut in_it = all
            .into_iter()
            .filter(|p| &*p.topic == name && p.dir().path() == Path::new(dir));
        in_it.next().unwrap()
    }

    fn dir_of(&self, name: &str, index: i32) -> PathBuf {
        self.partition(name, index).dir().path().to_owned()
    }

    /// What the thread does with what has failed by now.
    fn handle_failures(&self) {
        let failures = self.partitions.logs().failures();
        failures.close();
        handle_failures(&self.partitions);
    }

    /// The process ends without a word; another takes the same disk.
    fn restart(self, dirs: &[&str]) -> TestNode {
        try_start(&self.disk, self.image, dirs).unwrap()
    }
}

fn append(partition: &Arc<Partition>, wait: bool) -> Result<Appended, ErrorCode> {
    let appended = partition.append(&batch(1, 1, 10), AppendOrigin::Client, wait, NOW);
    appended.map_err(|error| error.code())
}

fn read(partition: &Partition) -> Result<usize, ErrorCode> {
    let request = ReadRequest {
        offset: Offset::ZERO,
        max_bytes: 1 << 20,
        min_one_batch: true,
        isolation: Isolation::ReadUncommitted,
        current_leader_epoch: LeaderEpoch::UNKNOWN,
        last_fetched_epoch: LeaderEpoch::UNKNOWN,
    };
    let outcome = partition.read(request)?;
    Ok(outcome.slice.map_or(0, |slice| slice.len as usize))
}

#[test]
fn logs_are_spread_by_their_number() {
    let mut node = start(&["/a", "/b", "/c"]);
    node.create("t", 7);
    let counts: Vec<usize> = node
        .partitions
        .log_dirs()
        .places()
        .iter()
        .map(|p| p.dir.log_count())
        .collect();
    assert_eq!(counts, [3, 2, 2]);
    node.create("u", 2);
    assert_eq!(
        (node.dir_of("u", 0), node.dir_of("u", 1)),
        ("/b".into(), "/c".into())
    );
}

#[tokio::test]
async fn a_flush_that_fails_takes_its_directory_offline_and_everybody_there_is_told_at_once() {
    let mut node = start(&["/a", "/b"]);
    node.create("t", 2);
    node.create("u", 2);
    let (t, u, healthy) = (
        node.in_dir("t", "/b"),
        node.in_dir("u", "/b"),
        node.in_dir("t", "/a"),
    );
    let failing = append(&t, true).unwrap().commit.unwrap();
    let waiting = append(&u, true).unwrap().commit.unwrap();
    let fetched = FetchTarget {
        key: (FetchTopic::Id(u.topic_id), u.index.0),
        request: FetchPartition {
            fetch_offset: Offset::ZERO,
            max_bytes: 1 << 20,
            current_leader_epoch: LeaderEpoch::UNKNOWN,
            last_fetched_epoch: LeaderEpoch::UNKNOWN,
            log_start_offset: Offset::ZERO,
        },
        partition: Ok(Arc::clone(&u)),
    };
    let fetching = tokio::spawn(async move {
        let params = FetchParams {
            max_wait: Duration::from_secs(600),
            min_bytes: 1,
            max_bytes: 1 << 20,
            isolation: Isolation::ReadUncommitted,
        };
        fetch(&ColdReads::for_tests(2), &[fetched], params)
            .await
            .remove(0)
            .map(drop)
    });
    while u.waiting_readers() == 0 {
        tokio::task::yield_now().await;
    }

    node.disk.fail("/b", Op::Sync, EIO);
    t.flush();
    assert_eq!(failing.await.unwrap(), Err(ErrorCode::KafkaStorageError));
    // Before anything else has happened, and where no file would be touched: the directory's own flag.
    assert_eq!(u.leader_epoch(), Err(ErrorCode::KafkaStorageError));
    let looked = u.with_leader_log(LeaderEpoch::UNKNOWN, |view| view.high_watermark);
    assert_eq!(looked, Err(ErrorCode::KafkaStorageError));
    assert_eq!(append(&u, false).unwrap_err(), ErrorCode::KafkaStorageError);
    assert_eq!(read(&u), Err(ErrorCode::KafkaStorageError));
    node.handle_failures();
    assert_eq!(waiting.await.unwrap(), Err(ErrorCode::KafkaStorageError));
    assert_eq!(fetching.await.unwrap(), Err(ErrorCode::KafkaStorageError));
    assert_eq!(node.partitions.offline_count(), 2);
    assert_eq!(node.partitions.log_dirs().offline(), 1);

    // The disk works again, and is not believed.
    node.disk.heal();
    node.disk.take_calls();
    u.flush();
    t.flush();
    assert_eq!(append(&t, false).unwrap_err(), ErrorCode::KafkaStorageError);
    let calls = node.disk.take_calls();
    assert!(
        !calls.iter().any(|(_, path)| path.starts_with("/b")),
        "{calls:?}"
    );

    node.tell();
    assert_eq!(node.leader("t", t.index.0), -1);
    assert_eq!(node.leader("u", u.index.0), -1);
    assert_eq!(node.leader("t", healthy.index.0), 1);
    assert_eq!(append(&t, false).unwrap_err(), ErrorCode::KafkaStorageError);

    // The others go on, and what is new goes to them.
    let commit = append(&healthy, true).unwrap().commit.unwrap();
    healthy.flush();
    assert_eq!(commit.await.unwrap(), Ok(()));
    node.create("v", 3);
    assert!((0..3).all(|index| node.dir_of("v", index) == Path::new("/a")));
    node.grow("t", 3, &[2]);
    assert_eq!(node.dir_of("t", 2), Path::new("/a"));

    let (lost, epoch) = (t.index.0, node.image.partition("t", t.index).unwrap());
    let epoch = epoch.leader_epoch.0;
    let node = node.restart(&["/a", "/b"]);
    assert_eq!(node.leader("t", lost), 1);
    let state = node.image.partition("t", PartitionId(lost)).unwrap();
    assert_eq!(state.leader_epoch.0, epoch + 1);
    append(&node.partition("t", lost), false).unwrap();
}

#[tokio::test]
async fn the_node_stops_with_the_metadatas_directory_and_not_before() {
    let mut node = start(&["/a", "/b"]);
    node.create("t", 2);
    for (dir, fatal) in [("/b", false), ("/a", true)] {
        let failed = node.in_dir("t", dir);
        node.disk.fail(dir, Op::Write, EIO);
        assert_eq!(
            append(&failed, false).unwrap_err(),
            ErrorCode::KafkaStorageError
        );
        node.handle_failures();
        let told = node.partitions.log_dirs().failed();
        match (fatal, tokio::time::timeout(Duration::ZERO, told).await) {
            (true, Ok(why)) => assert!(
                why.starts_with(
                    "the log directory /a, which holds the cluster's metadata, has failed"
                ),
                "{why}"
            ),
            (false, Err(_)) => {}
            (_, told) => panic!("{dir}: {told:?}"),
        }
    }
}

#[test]
fn a_full_disk_or_a_limit_is_no_failure() {
    for errno in [ENOSPC, crate::log::fault::EMFILE] {
        let mut node = start(&["/a", "/b"]);
        node.create("t", 2);
        let partition = node.in_dir("t", "/b");
        node.disk.fail("/b", Op::Write, errno);
        assert_eq!(
            append(&partition, false).unwrap_err(),
            ErrorCode::KafkaStorageError
        );
        node.disk.heal();
        assert!(partition.is_online());
        assert_eq!(
            append(&partition, false).unwrap().info.first_offset,
            Offset::ZERO
        );
    }
}

/// Flushed records in the partition of each directory.
fn filled(dirs: &[&str]) -> TestNode {
    let mut node = start(dirs);
    node.create("t", dirs.len() as i32);
    for partition in node.partitions.all() {
        append(&partition, true).unwrap();
        partition.flush();
    }
    node
}

#[test]
fn what_lies_in_a_directory_that_is_offline_at_the_start_is_not_made_anew_elsewhere() {
    let faults: [(Op, &str); 5] = [
        (Op::Lock, "/b"),
        (Op::List, "/b"),
        (Op::Open, "/b/meta.properties"),
        (Op::Open, "/b/recovery-point-offset-checkpoint"),
        (Op::Read, "/b/t-1"),
    ];
    for (op, path) in faults {
        let node = filled(&["/a", "/b"]);
        assert_eq!(node.dir_of("t", 1), Path::new("/b"));
        node.disk.fail(path, op, EIO);
        let mut node = node.restart(&["/a", "/b"]);
        assert!(read(&node.partition("t", 0)).unwrap() > 0, "{op:?}");
        assert_eq!(node.why_not("t", 1), ErrorCode::KafkaStorageError, "{op:?}");
        assert_eq!(node.partitions.offline_count(), 1);
        node.handle_failures();
        node.tell();
        assert_eq!(
            (node.leader("t", 0), node.leader("t", 1)),
            (1, -1),
            "{op:?}"
        );
        // Whatever metadata says of it again, and while new ones are made.
        let whole = MetadataDelta::whole(&node.image);
        node.apply(&whole);
        node.grow("t", 3, &[1, 2]);
        assert_eq!(node.why_not("t", 1), ErrorCode::KafkaStorageError, "{op:?}");
        assert_eq!(node.dir_of("t", 2), Path::new("/a"));
        let inner = node.disk.clone();
        assert!(!inner.exists(Path::new("/a/t-1")), "{op:?}");

        // The disk is whole again at the next start, and so is the partition.
        node.disk.heal();
        let node = node.restart(&["/a", "/b"]);
        assert!(read(&node.partition("t", 1)).unwrap() > 0, "{op:?}");
        assert_eq!(node.partitions.offline_count(), 0);
        assert_eq!(node.leader("t", 1), 1, "{op:?}");
    }
}

#[test]
fn a_directory_that_is_gone_from_the_configuration_or_was_replaced_keeps_its_partitions_offline() {
    let node = filled(&["/a", "/b"]);
    let node = node.restart(&["/a"]);
    assert_eq!(node.why_not("t", 1), ErrorCode::KafkaStorageError);
    assert_eq!((node.leader("t", 0), node.leader("t", 1)), (1, -1));
    // An empty disk in its place has another id.
    node.disk.remove_dir_all(Path::new("/b")).unwrap();
    let node = node.restart(&["/a", "/b"]);
    assert_eq!(node.why_not("t", 1), ErrorCode::KafkaStorageError);
    assert_eq!(node.leader("t", 1), -1);
    assert!(read(&node.partition("t", 0)).unwrap() > 0);
}

#[test]
fn a_log_that_was_carried_into_the_only_directory_is_led_again() {
    let node = filled(&["/a", "/b"]);
    node.partition("t", 1).close_clean().unwrap();
    node.disk
        .rename(Path::new("/b/t-1"), Path::new("/a/t-1"))
        .unwrap();
    let node = node.restart(&["/a"]);
    assert_eq!(node.leader("t", 1), 1);
    assert!(read(&node.partition("t", 1)).unwrap() > 0);
}

/// The process ended between the making of the log and the controller's knowing of it.
#[test]
fn a_partition_that_lies_nobody_knows_where_is_not_made_anew_while_a_directory_is_offline() {
    let disk = FaultStorage::new(Arc::new(MemStorage::default()));
    let mut image = cluster_of(&[(1, None)]);
    let node = try_start(&disk, image.clone(), &["/a", "/b"]).unwrap();
    make(&mut image, vec![topic("t", 1, 1)]);
    disk.fail("/b", Op::Lock, EIO);
    drop(node);
    let node = try_start(&disk, image, &["/a", "/b"]).unwrap();
    assert_eq!(node.why_not("t", 0), ErrorCode::KafkaStorageError);
    assert_eq!(node.leader("t", 0), -1, "it is said to be lost");
    node.disk.heal();
    let node = node.restart(&["/a", "/b"]);
    assert_eq!(node.partitions.offline_count(), 0);
    assert_eq!(node.leader("t", 0), 1);
    assert_eq!(
        append(&node.partition("t", 0), false)
            .unwrap()
            .info
            .first_offset,
        Offset::ZERO
    );
}

#[test]
fn a_log_is_made_again_in_its_own_directory() {
    let mut node = start(&["/a", "/b"]);
    node.create("t", 2);
    let before: Vec<PathBuf> = (0..2).map(|n| node.dir_of("t", n)).collect();
    (0..2).for_each(|n| node.partition("t", n).make_log());
    for dir in ["/a/t-0", "/b/t-1"] {
        node.disk.remove_dir_all(Path::new(dir)).unwrap();
    }
    node.create("u", 1);
    let node = node.restart(&["/a", "/b"]);
    let after: Vec<PathBuf> = (0..2).map(|n| node.dir_of("t", n)).collect();
    assert_eq!(after, before);
}

#[test]
fn without_the_first_directory_nothing_starts_and_another_clusters_disk_stops_it() {
    let node = filled(&["/a", "/b"]);
    node.disk.fail("/a", Op::Lock, EIO);
    let refused = |node: &TestNode| {
        let started = try_start(&node.disk, node.image.clone(), &["/a", "/b"]);
        started.map(drop).unwrap_err().to_string()
    };
    assert!(
        refused(&node).starts_with("log.dirs: /a/.lock: "),
        "{}",
        refused(&node)
    );
    node.disk.heal();
    let path = Path::new("/b/meta.properties");
    let meta = node.disk.open(path, OpenMode::Write).unwrap();
    let mut text = vec![0; meta.len().unwrap() as usize];
    meta.read_at(&mut text, 0).unwrap();
    let foreign = String::from_utf8(text.clone())
        .unwrap()
        .replace("node.id=1", "node.id=2");
    crate::log::storage::write_atomically(&node.disk, path, foreign.as_bytes()).unwrap();
    assert_eq!(
        refused(&node),
        "log.dirs: /b holds the data of node 2, not of 1"
    );
    // A copy of the first directory.
    let path = Path::new("/a/meta.properties");
    let first = node.disk.open(path, OpenMode::Read).unwrap();
    let mut text = vec![0; first.len().unwrap() as usize];
    first.read_at(&mut text, 0).unwrap();
    crate::log::storage::write_atomically(&node.disk, Path::new("/b/meta.properties"), &text)
        .unwrap();
    assert!(
        refused(&node).starts_with("log.dirs: /a and /b have the same directory.id "),
        "{}",
        refused(&node)
    );
}

#[test]
fn a_deleted_topics_offline_log_is_removed_when_its_directory_is_back() {
    let node = filled(&["/a", "/b"]);
    node.disk.fail("/b", Op::Lock, EIO);
    let mut node = node.restart(&["/a", "/b"]);
    let id = node.image.topic_id("t").unwrap();
    let before = node.image.topic("t").unwrap().clone();
    assert_eq!(
        run(&mut node.image, Command::DeleteTopics(vec![id])),
        Reply::DeleteTopics(vec![Ok(())])
    );
    let delta = MetadataDelta {
        topics: [(id, crate::controller::delta::TopicDelta::Deleted(before))].into(),
        ..MetadataDelta::default()
    };
    node.apply(&delta);
    assert_eq!(node.partitions.offline_count(), 0);
    assert_eq!(node.why_not("t", 1), ErrorCode::UnknownTopicOrPartition);
    node.disk.heal();
    let node = node.restart(&["/a", "/b"]);
    assert!(!node.disk.exists(Path::new("/b/t-1")));
}

#[test]
fn a_cordoned_directory_gets_no_new_logs_and_keeps_those_it_has() {
    let mut node = start(&["/a", "/b"]);
    node.create("t", 2);
    let cordon = |node: &mut TestNode, dirs: &str| {
        let overrides = [("cordoned.log.dirs".to_owned(), dirs.to_owned())].into();
        let config = BrokerConfig::default().with_dynamic(&Default::default(), &overrides);
        node.partitions.cordon(&config);
        node.tell();
        let told = &node.image.broker(ME).unwrap().cordoned_directories;
        assert_eq!(*told, node.partitions.log_dirs().cordoned());
        told.len()
    };
    let to = |node: &TestNode, index: i32, dir: &str| {
        let name = TopicPartition::new("t", index);
        node.partitions.alter_log_dir(&name, Path::new(dir), NOW)
    };
    assert_eq!(cordon(&mut node, "/b"), 1);
    node.create("u", 3);
    assert!((0..3).all(|index| node.dir_of("u", index) == Path::new("/a")));
    append(&node.in_dir("t", "/b"), false).unwrap();
    assert_eq!(to(&node, 0, "/b"), Err(ErrorCode::InvalidReplicaAssignment));
    assert_eq!(to(&node, 1, "/b"), Err(ErrorCode::InvalidReplicaAssignment));
    assert_eq!(to(&node, 0, "/c"), Err(ErrorCode::LogDirNotFound));
    // With both cordoned the controller gives this node nothing; what it has given already lies somewhere.
    assert_eq!(cordon(&mut node, "*"), 2);
    let image = node.image.clone();
    cordon(&mut node, "");
    node.create("v", 2);
    assert!((0..2).all(|index| node.dir_of("v", index) == Path::new("/b")));
    node.image = image;
    cordon(&mut node, "*");
    let new_log = node.partitions.logs().dirs_for_new_log();
    assert_eq!(new_log.len(), 2);
}
