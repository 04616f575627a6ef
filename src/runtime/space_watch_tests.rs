//! A node whose disk fills, seen from its partitions.

use std::path::{Path, PathBuf};

use super::*;
use crate::config::broker::Origin;
use crate::controller::MetadataDelta;
use crate::controller::testing::{cluster_of, make, topic};
use crate::error::ErrorCode;
use crate::log::fault::{ENOSPC, FaultStorage, Op};
use crate::log::memory::MemStorage;
use crate::log::storage::Storage;
use crate::log::test_log::batch;
use crate::log::{AppendOrigin, LogManager};
use crate::runtime::partition::{Partition, ProduceError};
use crate::types::{LeaderEpoch, NodeId, Offset, PartitionId};

const ME: NodeId = NodeId(1);
const SECOND: Duration = Duration::from_secs(1);

struct TestNode {
    disk: FaultStorage,
    config: BrokerConfig,
    partitions: Partitions,
}

/// With a floor of 1000 bytes and `t` of one partition.
fn node() -> TestNode {
    let disk = FaultStorage::new(Arc::new(MemStorage::default()));
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let logs = LogManager::open(storage, vec![PathBuf::from("/a")]).unwrap();
    let mut config = BrokerConfig::default();
    config
        .set_static("log.dirs.min.free.bytes", "1000", Origin::File)
        .unwrap();
    let partitions = Partitions::new(ME, Arc::new(logs), Vec::new(), 0);
    let mut image = cluster_of(&[(1, None)]);
    make(&mut image, vec![topic("t", 1, 1)]);
    let whole = MetadataDelta::whole(&image);
    partitions.apply(&image, &whole, &config, TimestampMs(0));
    TestNode {
        disk,
        config,
        partitions,
    }
}

impl TestNode {
    fn look(&self, usable: u64) -> Looked {
        self.disk.set_space(100_000, usable);
        look(&self.partitions, &self.config, SECOND)
    }

    fn partition(&self) -> Arc<Partition> {
        self.partitions.by_name("t", PartitionId(0)).unwrap()
    }

    fn append(&self, origin: AppendOrigin) -> Result<Offset, ProduceError> {
        let appended = self
            .partition()
            .append(&batch(1, 1, 10), origin, false, TimestampMs(1));
        appended.map(|appended| appended.info.first_offset)
    }

    fn files(&self) -> Vec<String> {
        let entries = self.disk.list(Path::new("/a/t-0")).unwrap();
        entries.into_iter().map(|entry| entry.name).collect()
    }
}

#[test]
fn below_the_floor_producers_are_refused_and_then_coordinators_and_above_it_all_are_served() {
    let node = node();
    let (client, coordinator) = (AppendOrigin::Client, AppendOrigin::Coordinator);
    assert!(!node.look(1000).became_full);
    node.append(client).unwrap();
    assert!(node.look(999).became_full);
    let refused = node.append(client).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::KafkaStorageError);
    assert_eq!(
        refused.to_string(),
        "The log directory of this partition is too full: 999 bytes are free, and 1000 are kept free."
    );
    assert_eq!(node.append(coordinator).unwrap(), Offset(1));
    assert!(node.partitions.log_dirs().refuse_creation().is_none());
    assert!(!node.look(998).became_full, "it is so already");
    assert!(node.look(100).became_full);
    assert_eq!(
        node.append(coordinator).unwrap_err().code(),
        ErrorCode::KafkaStorageError
    );
    let refused = node.partitions.log_dirs().refuse_creation().unwrap();
    assert_eq!(refused.error, ErrorCode::KafkaStorageError);
    assert!(node.partition().is_online());
    node.look(1125);
    assert_eq!(node.append(client).unwrap(), Offset(2));
    assert_eq!(node.partitions.logs().dirs()[0].space().refusals(), 2);
}

#[test]
fn the_floor_is_changed_while_running() {
    let mut node = node();
    node.look(500);
    node.append(AppendOrigin::Client).unwrap_err();
    for (name, value) in [("bytes", "0"), ("percent", "-1")] {
        let name = format!("log.dirs.min.free.{name}");
        node.config
            .set_static(&name, value, Origin::CommandLine)
            .unwrap();
    }
    node.look(500);
    node.append(AppendOrigin::Client).unwrap();
    node.config
        .set_static("log.dirs.min.free.percent", "1", Origin::CommandLine)
        .unwrap();
    assert!(node.look(900).became_full);
}

#[test]
fn a_full_directory_gives_back_at_once_what_may_go() {
    let node = node();
    node.append(AppendOrigin::Client).unwrap();
    let partition = node.partition();
    partition.flush();
    let end = partition.offsets().log_end;
    partition
        .with_leader_log(LeaderEpoch::UNKNOWN, |view| {
            view.log.delete_records_before(end)
        })
        .unwrap()
        .unwrap();
    node.look(100_000);
    relieve(&node.partitions, TimestampMs(0));
    assert!(
        node.files()
            .iter()
            .any(|name| name == "00000000000000000000.log"),
        "there is room"
    );
    node.look(10);
    relieve(&node.partitions, TimestampMs(0));
    let left = node.files();
    assert!(
        left.iter().any(|name| name == "00000000000000000001.log"),
        "{left:?}"
    );
    assert!(
        !left
            .iter()
            .any(|name| name.starts_with("00000000000000000000.")),
        "{left:?}"
    );
    node.look(2000);
    assert_eq!(node.append(AppendOrigin::Client).unwrap(), end);
}

/// Somebody else's files have taken the last room before it was seen.
#[test]
fn a_write_that_finds_the_disk_full_is_refused_and_the_next_one_goes_through() {
    let node = node();
    node.append(AppendOrigin::Client).unwrap();
    node.disk.room(7);
    let refused = node.append(AppendOrigin::Client).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::KafkaStorageError);
    let ProduceError::Append(error) = refused else {
        panic!("{refused}");
    };
    assert!(error.client_message().unwrap().contains("full"));
    assert!(node.partition().is_online());
    node.disk.heal();
    assert_eq!(node.append(AppendOrigin::Client).unwrap(), Offset(1));
}

/// The epochs of a log are written before its first flush.
#[test]
fn a_flush_without_room_to_begin_is_tried_again_and_is_no_failure() {
    let node = node();
    node.append(AppendOrigin::Client).unwrap();
    node.disk.fail("/a/t-0", Op::Open, ENOSPC);
    let partition = node.partition();
    partition.flush();
    assert!(partition.is_online());
    assert_eq!(partition.offsets().high_watermark, Offset::ZERO);
    node.disk.heal();
    partition.flush();
    assert_eq!(partition.offsets().high_watermark, Offset(1));
}

/// What only the journal has is lost with it when it is not brought to the files.
#[test]
fn a_log_that_cannot_be_settled_does_not_pass_for_settled() {
    let node = node();
    node.append(AppendOrigin::Client).unwrap();
    let partition = node.partition();
    partition.flush();
    node.append(AppendOrigin::Client).unwrap();
    let places = node.partitions.log_dirs().places();
    let journaled = partition.begin_flush(Some(&*places[0].flusher), 1 << 20);
    let Some(crate::runtime::partition::FlushStep::Journal(part)) = journaled else {
        panic!("{journaled:?}");
    };
    partition.finish_journal(part.up_to);
    assert_eq!(partition.offsets().high_watermark, Offset(2));
    partition.become_led(ME, LeaderEpoch(1), ME);
    // When there is room soon, it goes on.
    node.disk.fail_times("/a/t-0", Op::Open, ENOSPC, 3);
    let work = partition.begin_settling().unwrap();
    assert_eq!(work.up_to.offset, Offset(2));
    partition.abandon_journal();
    partition.become_led(ME, LeaderEpoch(2), ME);
    node.disk.fail("/a/t-0", Op::Open, ENOSPC);
    assert!(partition.begin_settling().is_none());
    assert!(!partition.is_online());
}

#[test]
fn a_sync_without_room_is_a_failure_all_the_same() {
    let node = node();
    node.append(AppendOrigin::Client).unwrap();
    node.disk.fail("/a/t-0", Op::Sync, ENOSPC);
    node.partition().flush();
    assert!(!node.partition().is_online());
}
