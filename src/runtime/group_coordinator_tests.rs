//! The coordinators of a node over real partitions, in memory: elections, loads, deleted topics.

use std::path::PathBuf;

use super::*;
use crate::config::broker::Origin;
use crate::controller::command::Command as ControllerCommand;
use crate::controller::records::{PartitionChangeRecord, Record};
use crate::controller::testing::{cluster_of, commit as commit_metadata, make, run, topic};
use crate::group::command::{OffsetCommit, OffsetCommitPartition, OffsetCommitTopic, OffsetFetch};
use crate::log::LogManager;
use crate::log::memory::MemStorage;

const ME: NodeId = NodeId(1);

fn config() -> BrokerConfig {
    let mut config = BrokerConfig::default();
    let partitions = ("offsets.topic.num.partitions", "2");
    let segments = ("offsets.topic.segment.bytes", "1048576");
    for (name, value) in [partitions, segments] {
        config.set_static(name, value, Origin::File).unwrap();
    }
    config
}

struct TestNode {
    image: MetadataImage,
    config: Arc<ArcSwap<BrokerConfig>>,
    partitions: Arc<Partitions>,
    groups: Arc<GroupCoordinators>,
}

impl TestNode {
    /// A node that leads both partitions of `__consumer_offsets`.
    async fn start() -> TestNode {
        let storage = Arc::new(MemStorage::default());
        let logs = LogManager::open(storage, vec![PathBuf::from("/data")]).unwrap();
        let partitions = Arc::new(Partitions::new(ME, Arc::new(logs), Vec::new(), 0));
        let config = Arc::new(ArcSwap::from_pointee(config()));
        let groups = GroupCoordinators::new(ME, Arc::clone(&config), Arc::clone(&partitions));
        let mut node = TestNode {
            image: cluster_of(&[(1, None), (2, None)]),
            config,
            partitions,
            groups,
        };
        assert_eq!(
            fetch_error(node.fetch("a").await),
            ErrorCode::NotCoordinator
        );
        make(&mut node.image, vec![topic(CONSUMER_OFFSETS, 2, 1)]);
        node.elect(ME);
        node.loaded().await;
        node
    }

    fn apply(&self, delta: &MetadataDelta) {
        let config = self.config.load();
        self.partitions
            .apply(&self.image, delta, &config, TimestampMs(0));
        self.groups.apply(&self.image, delta);
    }

    /// Both partitions get this leader, under a new epoch.
    fn elect(&mut self, leader: NodeId) {
        let topic_id = self.image.topic_id(CONSUMER_OFFSETS).unwrap();
        for index in 0..2 {
            let mut change = PartitionChangeRecord::new(topic_id, PartitionId(index));
            change.replicas = Some([NodeId(1), NodeId(2)].into_iter().collect());
            change.isr = Some([leader].into_iter().collect());
            change.leader = Some(leader);
            commit_metadata(&mut self.image, &[Record::PartitionChange(change)]);
        }
        self.apply(&MetadataDelta::whole(&self.image));
    }

    /// Waits until every shard is loaded.
    async fn loaded(&self) {
        while self.groups.list(ListGroups::default()).await
            == Err(ErrorCode::CoordinatorLoadInProgress)
        {
            tokio::task::yield_now().await;
        }
    }

    /// Asks, flushing what is appended until the answer is there.
    async fn ask(&self, group: &str, request: Request) -> Reply {
        let (groups, group) = (Arc::clone(&self.groups), group.to_owned());
        let asked = tokio::spawn(async move { groups.request(&group, request).await });
        while !asked.is_finished() {
            for partition in self.partitions.all() {
                partition.flush();
            }
            tokio::task::yield_now().await;
        }
        asked.await.unwrap()
    }

    async fn commit(&self, group: &str, topic_id: TopicId, offset: i64) -> ErrorCode {
        let request = Request::OffsetCommit(OffsetCommit {
            group_id: group.into(),
            generation: -1,
            member_id: "".into(),
            group_instance_id: None,
            retention_time_ms: -1,
            topics: vec![OffsetCommitTopic {
                name: "t".into(),
                topic_id,
                partitions: vec![OffsetCommitPartition {
                    partition: 0,
                    offset: Offset(offset),
                    leader_epoch: LeaderEpoch::UNKNOWN,
                    metadata: "".into(),
                }],
            }],
            supports_group_id_not_found: true,
        });
        match self.ask(group, request).await {
            Reply::OffsetCommit(topics) => topics[0].partitions[0].1,
            other => panic!("{other:?}"),
        }
    }

    async fn fetch(&self, group: &str) -> Reply {
        let request = Request::OffsetFetch(OffsetFetch {
            group_id: group.into(),
            topics: None,
            require_stable: false,
        });
        self.ask(group, request).await
    }

    async fn offsets(&self, group: &str) -> Vec<i64> {
        match self.fetch(group).await {
            Reply::OffsetFetch(fetch) => fetch
                .topics
                .iter()
                .flat_map(|topic| topic.partitions.iter().map(|p| p.offset.0))
                .collect(),
            other => panic!("{other:?}"),
        }
    }
}

fn fetch_error(reply: Reply) -> ErrorCode {
    match reply {
        Reply::OffsetFetch(fetch) => fetch.error,
        other => panic!("{other:?}"),
    }
}

fn names(listed: Result<Vec<ListedGroup>, ErrorCode>) -> Vec<String> {
    let listed = listed.unwrap();
    listed
        .iter()
        .map(|group| group.group_id.to_string())
        .collect()
}

// "a" and "b" hash to 97 and 98: one on each of two partitions.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_spread_and_gathered() {
    let node = TestNode::start().await;
    for (group, offset) in [("a", 1), ("b", 2), ("c", 3)] {
        assert_eq!(
            node.commit(group, TopicId::ZERO, offset).await,
            ErrorCode::None
        );
    }
    assert_eq!(node.offsets("b").await, [2]);
    assert_eq!(node.groups.partition_of("a"), PartitionId(1));
    assert_eq!(node.groups.partition_of("b"), PartitionId(0));
    let listed = node.groups.list(ListGroups::default()).await;
    assert_eq!(names(listed), ["b", "a", "c"]);
    let asked = ["a", "b", "nobody"].map(Arc::from).to_vec();
    let described = node.groups.describe(asked, false).await;
    let states: Vec<_> = described
        .iter()
        .map(|group| (&*group.group_id, group.state))
        .collect();
    assert!(states.contains(&("a", "Empty")) && states.contains(&("b", "Empty")));
    assert!(states.contains(&("nobody", "Dead")));
    let mut offsets = Vec::new();
    node.groups
        .for_each_offset(|group, _, _, offset| offsets.push(format!("{group}={offset}")));
    offsets.sort();
    assert_eq!(offsets, ["a=1", "b=2", "c=3"]);

    let groups = Arc::clone(&node.groups);
    let ids = ["a", "b"].map(Arc::from).to_vec();
    let deleting = tokio::spawn(async move { groups.delete(ids).await });
    while !deleting.is_finished() {
        for partition in node.partitions.all() {
            partition.flush();
        }
        tokio::task::yield_now().await;
    }
    let mut deleted = deleting.await.unwrap();
    deleted.sort();
    let good = |id: &str| (Arc::from(id), ErrorCode::None);
    assert_eq!(deleted, [good("a"), good("b")]);
    assert_eq!(names(node.groups.list(ListGroups::default()).await), ["c"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_knows_what_was_committed() {
    let mut node = TestNode::start().await;
    for offset in 1..=200 {
        node.commit("a", TopicId::ZERO, offset).await;
    }
    node.elect(NodeId(2));
    assert_eq!(
        fetch_error(node.fetch("a").await),
        ErrorCode::NotCoordinator
    );
    assert_eq!(
        names(node.groups.list(ListGroups::default()).await),
        [""; 0]
    );
    node.elect(ME);
    node.loaded().await;
    assert_eq!(node.offsets("a").await, [200]);
    // The next reign of the same leader is another one.
    node.elect(ME);
    node.loaded().await;
    assert_eq!(node.offsets("a").await, [200]);
    assert_eq!(node.commit("a", TopicId::ZERO, 201).await, ErrorCode::None);
    assert_eq!(node.offsets("a").await, [201]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_go_with_their_topic_and_everything_with_the_offsets_topic() {
    let mut node = TestNode::start().await;
    let made = make(&mut node.image, vec![topic("t", 1, 1)]);
    node.commit("a", made[0].id, 5).await;
    let t = Arc::clone(node.image.topic("t").unwrap());
    run(&mut node.image, ControllerCommand::DeleteTopics(vec![t.id]));
    let mut delta = MetadataDelta::default();
    delta.topics.insert(t.id, TopicDelta::Deleted(t));
    node.apply(&delta);
    assert_eq!(node.offsets("a").await, [0i64; 0]);

    let offsets = Arc::clone(node.image.topic(CONSUMER_OFFSETS).unwrap());
    let mut delta = MetadataDelta::default();
    delta
        .topics
        .insert(offsets.id, TopicDelta::Deleted(offsets));
    node.apply(&delta);
    assert_eq!(
        fetch_error(node.fetch("a").await),
        ErrorCode::NotCoordinator
    );
}

#[test]
fn the_offsets_topic_fits_the_brokers_there_are() {
    let topic = offsets_topic(&config(), 1);
    assert_eq!((topic.num_partitions, topic.replication_factor), (2, 1));
    // Not more copies than this version keeps.
    assert_eq!(
        offsets_topic(&config(), 5).replication_factor,
        MAX_REPLICATION_FACTOR
    );
    assert_eq!(offsets_topic(&config(), 0).replication_factor, 1);
    let configs: Vec<String> = topic
        .configs
        .iter()
        .map(|entry| format!("{}={}", entry.name, entry.value.as_deref().unwrap()))
        .collect();
    let expected = [
        "cleanup.policy=compact",
        "compression.type=producer",
        "segment.bytes=1048576",
    ];
    assert_eq!(configs, expected);
}
