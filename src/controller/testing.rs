//! Small clusters for the tests of the controller.

use uuid::Uuid;

use crate::config::ConfigOverrides;
use crate::controller::command::*;
use crate::controller::decide::*;
use crate::controller::delta::{ConfigResource, MetadataDelta};
use crate::controller::features;
use crate::controller::image::MetadataImage;
use crate::controller::node_list::NodeList;
use crate::controller::records::*;
use crate::error::ErrorCode;
use crate::types::{LeaderEpoch, NodeId, PartitionId, TopicId, Zxid};

/// Knows two keys: `cleanup.policy`, a list, and `retention.ms`, a number.
pub struct TwoKeys;

impl ConfigSchema for TwoKeys {
    fn validate(&self, _: &ConfigResource, overrides: &ConfigOverrides) -> Result<(), ApiError> {
        for (key, value) in overrides {
            let valid = match key.as_str() {
                "cleanup.policy" | "min.insync.replicas" => true,
                "retention.ms" => value.parse::<i64>().is_ok(),
                _ => false,
            };
            if !valid {
                let why = format!("Invalid {key}");
                return Err(ApiError::new(ErrorCode::InvalidConfig, why));
            }
        }
        Ok(())
    }

    fn is_list(&self, _: ConfigResourceType, key: &str) -> bool {
        key == "cleanup.policy"
    }

    fn default_value(&self, _: ConfigResourceType, key: &str) -> Option<String> {
        (key == "cleanup.policy").then(|| "delete".to_owned())
    }
}

pub const SETTINGS: Settings = Settings {
    num_partitions: 3,
    default_replication_factor: 1,
    max_replication_factor: i16::MAX,
    min_insync_replicas: 1,
    node: NodeId(1),
};

/// Decides with ids counted up from the number of topics, and replays what was decided.
pub fn run(image: &mut MetadataImage, command: Command) -> Reply {
    let mut next = image.topic_count() as u128 + 1000 * (u128::from(image.applied().0) + 1);
    let mut new_id = || {
        next += 1;
        Uuid::from_u128(next)
    };
    let mut env = Environment {
        new_id: &mut new_id,
        schema: &TwoKeys,
        settings: &SETTINGS,
    };
    let decision = decide(image, &command, &mut env);
    commit(image, &decision.records);
    decision.reply
}

pub fn commit(image: &mut MetadataImage, records: &[Record]) -> MetadataDelta {
    let mut delta = MetadataDelta::default();
    if !records.is_empty() {
        let next = Zxid(image.applied().0 + 1);
        image.replay_all(next, records, &mut delta).unwrap();
    }
    delta
}

pub const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";

pub fn registration(id: i32, rack: Option<&str>) -> RegisterBroker {
    RegisterBroker {
        id: NodeId(id),
        incarnation: Uuid::from_u128(77 + id as u128),
        cluster_id: CLUSTER_ID.into(),
        endpoints: vec![BrokerEndpoint {
            name: "PLAINTEXT".into(),
            host: "localhost".into(),
            port: 9092,
            security_protocol: SecurityProtocol::Plaintext,
        }],
        rack: rack.map(str::to_owned),
        features: features::supported(),
        directories: vec![DirectoryId(Uuid::from_u128(1000 + id as u128))],
        fenced: false,
        cordoned_directories: None,
    }
}

/// A formatted cluster with these brokers, all active.
pub fn cluster_of(brokers: &[(i32, Option<&str>)]) -> MetadataImage {
    let mut image = MetadataImage::default();
    let format = FormatCluster {
        cluster_id: CLUSTER_ID.into(),
        features: features::of_a_new_cluster(),
    };
    let reply = run(&mut image, Command::FormatCluster(format));
    assert_eq!(reply, Reply::FormatCluster(Ok(())));
    for (id, rack) in brokers {
        let command = Command::RegisterBroker(registration(*id, *rack));
        assert_eq!(run(&mut image, command), Reply::RegisterBroker(Ok(())));
    }
    image
}

/// A new start of a broker's process, with these directories.
pub fn restarted(image: &mut MetadataImage, id: i32, directories: Vec<DirectoryId>) {
    let command = RegisterBroker {
        incarnation: Uuid::from_u128(1000 * (1 + u128::from(image.applied().0))),
        directories,
        ..registration(id, None)
    };
    let reply = run(image, Command::RegisterBroker(command));
    assert_eq!(reply, Reply::RegisterBroker(Ok(())));
}

pub fn fence(image: &mut MetadataImage, id: i32) {
    let command = Command::ChangeBroker(ChangeBroker {
        id: NodeId(id),
        epoch: image.broker(NodeId(id)).unwrap().epoch,
        fenced: Some(true),
        in_controlled_shutdown: None,
        offline_directories: None,
        cordoned_directories: None,
    });
    assert_eq!(run(image, command), Reply::ChangeBroker(Ok(())));
}

/// The topic `t` with one partition in this very state.
pub fn partition_of(image: &mut MetadataImage, replicas: &[i32], isr: &[i32], leader: i32) {
    let list = |ids: &[i32]| ids.iter().copied().map(NodeId).collect::<NodeList>();
    let id = TopicId(Uuid::from_u128(5));
    let topic = Record::Topic(TopicRecord {
        name: "t".into(),
        id,
    });
    let partition = Record::Partition(PartitionRecord {
        topic_id: id,
        partition: PartitionId(0),
        replicas: list(replicas),
        isr: list(isr),
        leader: NodeId(leader),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: 0,
        elr: None,
        last_known_elr: None,
        adding_replicas: None,
        removing_replicas: None,
        directories: None,
        recovering: None,
    });
    commit(image, &[topic, partition]);
}

/// The replica at some place of that partition's lies in this directory, the others nobody knows where.
pub fn lies_in(image: &mut MetadataImage, at: usize, directory: DirectoryId) {
    let mut change = PartitionChangeRecord::new(TopicId(Uuid::from_u128(5)), PartitionId(0));
    let state = image.partition("t", PartitionId(0)).unwrap();
    let mut directories = vec![DirectoryId::UNASSIGNED; state.replicas.len()];
    directories[at] = directory;
    change.directories = Some(directories);
    commit(image, &[Record::PartitionChange(change)]);
}

pub fn topic(name: &str, num_partitions: i32, replication_factor: i16) -> CreatableTopic {
    CreatableTopic {
        num_partitions,
        replication_factor,
        ..CreatableTopic::with_defaults(name)
    }
}

/// One by one; panics when one is refused.
pub fn make(image: &mut MetadataImage, topics: Vec<CreatableTopic>) -> Vec<CreatedTopic> {
    let command = Command::CreateTopics(CreateTopics {
        topics,
        validate_only: false,
    });
    match run(image, command) {
        Reply::CreateTopics(results) => results.into_iter().map(Result::unwrap).collect(),
        other => panic!("{other:?}"),
    }
}
