use super::*;
use crate::controller::command::{Command, ConfigEntry, Reply};
use crate::controller::testing::*;
use crate::types::{NodeId, PartitionId};

fn ask(image: &MetadataImage, topic: CreatableTopic) -> String {
    let command = Command::CreateTopics(CreateTopics {
        topics: vec![topic],
        validate_only: false,
    });
    match run(&mut image.clone(), command) {
        Reply::CreateTopics(results) => match &results[0] {
            Ok(created) => format!("{} x{}", created.num_partitions, created.replication_factor),
            Err(error) => error.to_string(),
        },
        other => panic!("{other:?}"),
    }
}

fn by_hand(assignments: &[(i32, &[i32])]) -> CreatableTopic {
    let assignments = assignments.iter().map(|(partition, brokers)| {
        let brokers = brokers.iter().copied().map(NodeId).collect();
        ReplicaAssignment {
            partition: *partition,
            brokers,
        }
    });
    CreatableTopic {
        assignments: assignments.collect(),
        ..CreatableTopic::with_defaults("by-hand")
    }
}

fn configured(configs: &[(&str, Option<&str>)]) -> CreatableTopic {
    let configs = configs.iter().map(|(name, value)| ConfigEntry {
        name: (*name).into(),
        value: value.map(Into::into),
    });
    CreatableTopic {
        configs: configs.collect(),
        ..CreatableTopic::with_defaults("configured")
    }
}

#[test]
fn a_topic_is_made_or_refused_in_kafkas_words() {
    let mut image = cluster_of(&[(1, None), (2, None), (3, None)]);
    make(&mut image, vec![topic("taken", 1, 1), topic("a.b", 1, 1)]);
    let long = "x".repeat(250);
    let table = [
        (topic("new", 4, 2), "4 x2"),
        (topic("new", -1, -1), "3 x1"),
        (topic(&"x".repeat(249), 1, 1), "1 x1"),
        (
            topic("taken", 1, 1),
            "TOPIC_ALREADY_EXISTS: Topic 'taken' already exists.",
        ),
        (
            topic("a.b", 1, 1),
            "TOPIC_ALREADY_EXISTS: Topic 'a.b' already exists.",
        ),
        (
            topic("a_b", 1, 1),
            "INVALID_TOPIC_EXCEPTION: Topic 'a_b' collides with existing topic: a.b",
        ),
        (
            topic("", 1, 1),
            "INVALID_TOPIC_EXCEPTION: Topic name is invalid: the empty string is not allowed",
        ),
        (
            topic("..", 1, 1),
            "INVALID_TOPIC_EXCEPTION: Topic name is invalid: '..' is not allowed",
        ),
        (
            topic(".", 1, 1),
            "INVALID_TOPIC_EXCEPTION: Topic name is invalid: '.' is not allowed",
        ),
        (
            topic("a b", 1, 1),
            "INVALID_TOPIC_EXCEPTION: Topic name is invalid: 'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'",
        ),
        (
            topic("t", 1, 0),
            "INVALID_REPLICATION_FACTOR: Replication factor must be larger than 0, or -1 to use the default value.",
        ),
        (
            topic("t", 1, 4),
            "INVALID_REPLICATION_FACTOR: Unable to replicate the partition 4 time(s): The target replication factor of 4 cannot be reached because only 3 broker(s) are registered or some brokers have all their log directories cordoned.",
        ),
        (
            topic("t", 0, 1),
            "INVALID_PARTITIONS: Number of partitions was set to an invalid non-positive value.",
        ),
        (
            topic("t", 10_001, 1),
            "POLICY_VIOLATION: Excessively large number of partitions per request.",
        ),
        (by_hand(&[(1, &[2, 1]), (0, &[1, 2])]), "2 x2"),
        (
            CreatableTopic {
                num_partitions: 1,
                ..by_hand(&[(0, &[1])])
            },
            "INVALID_REQUEST: A manual partition assignment was specified, but numPartitions was not set to -1.",
        ),
        (
            CreatableTopic {
                replication_factor: 1,
                ..by_hand(&[(0, &[1])])
            },
            "INVALID_REQUEST: A manual partition assignment was specified, but replication factor was not set to -1.",
        ),
        (
            by_hand(&[(0, &[1]), (0, &[2])]),
            "INVALID_REPLICA_ASSIGNMENT: Found multiple manual partition assignments for partition 0",
        ),
        (
            by_hand(&[(0, &[1]), (2, &[2])]),
            "INVALID_REPLICA_ASSIGNMENT: partitions should be a consecutive 0-based integer sequence",
        ),
        (
            by_hand(&[(0, &[])]),
            "INVALID_REPLICA_ASSIGNMENT: The manual partition assignment includes an empty replica list.",
        ),
        (
            by_hand(&[(0, &[1, 9])]),
            "INVALID_REPLICA_ASSIGNMENT: The manual partition assignment includes broker 9, but no such broker is registered.",
        ),
        (
            by_hand(&[(0, &[1, 1])]),
            "INVALID_REPLICA_ASSIGNMENT: The manual partition assignment includes the broker 1 more than once.",
        ),
        (
            by_hand(&[(0, &[1]), (1, &[1, 2])]),
            "INVALID_REPLICA_ASSIGNMENT: The manual partition assignment includes a partition with 2 replica(s), but this is not consistent with previous partitions, which have 1 replica(s).",
        ),
        (configured(&[("retention.ms", Some("5"))]), "3 x1"),
        (
            configured(&[("retention.ms", Some("x"))]),
            "INVALID_CONFIG: Invalid retention.ms",
        ),
        (
            configured(&[("retention.ms", None), ("b", None)]),
            "INVALID_CONFIG: Null value not supported for topic configs: retention.ms,b",
        ),
    ];
    for (topic, expected) in table {
        let name = topic.name.clone();
        assert_eq!(ask(&image, topic), expected, "{name}");
    }
    let expected = format!(
        "INVALID_TOPIC_EXCEPTION: Topic name is invalid: the length of '{long}' is longer than the max allowed length 249"
    );
    assert_eq!(ask(&image, topic(&long, 1, 1)), expected);
}

#[test]
fn a_cluster_without_an_active_broker_takes_no_topic() {
    let mut image = cluster_of(&[(1, None)]);
    fence(&mut image, 1);
    assert_eq!(
        ask(&image, topic("t", 1, 1)),
        "INVALID_REPLICATION_FACTOR: Unable to replicate the partition 1 time(s): All brokers are currently fenced, or have all their log directories cordoned."
    );
    assert_eq!(
        ask(&image, by_hand(&[(0, &[1])])),
        "INVALID_REPLICA_ASSIGNMENT: All brokers specified in the manual partition assignment for partition 0 are fenced or in controlled shutdown."
    );
}

#[test]
fn a_refused_topic_does_not_stop_the_others() {
    let mut image = cluster_of(&[(1, None)]);
    let command = Command::CreateTopics(CreateTopics {
        topics: vec![topic("a.b", 1, 1), topic("a_b", 1, 1), topic("c", 2, 1)],
        validate_only: false,
    });
    let Reply::CreateTopics(results) = run(&mut image, command) else {
        panic!()
    };
    assert_eq!(
        results[1].as_ref().unwrap_err().to_string(),
        "INVALID_TOPIC_EXCEPTION: Topic 'a_b' collides with existing topic: a.b"
    );
    let names: Vec<&str> = image.topics().map(|topic| topic.name.as_ref()).collect();
    assert_eq!(names, ["a.b", "c"]);
    assert_eq!(
        results[2].as_ref().unwrap().id,
        image.topic_id("c").unwrap()
    );
    assert_eq!(image.partition_count(), 3);
}

#[test]
fn validation_alone_leaves_no_record() {
    let image = cluster_of(&[(1, None)]);
    let mut after = image.clone();
    let command = Command::CreateTopics(CreateTopics {
        topics: vec![topic("t", 2, 1)],
        validate_only: true,
    });
    let Reply::CreateTopics(results) = run(&mut after, command) else {
        panic!()
    };
    assert_eq!(results[0].as_ref().unwrap().num_partitions, 2);
    assert_eq!(after, image);
}

#[test]
fn a_new_partition_is_led_by_its_first_replica_under_epoch_zero() {
    let mut image = cluster_of(&[(1, None), (2, None)]);
    make(&mut image, vec![by_hand(&[(0, &[2, 1])])]);
    let partition = image.partition("by-hand", PartitionId(0)).unwrap();
    assert_eq!(partition.leader, NodeId(2));
    assert_eq!(
        (partition.leader_epoch.0, partition.partition_epoch),
        (0, 0)
    );
    assert_eq!(partition.isr, partition.replicas);
    fence(&mut image, 2);
    make(
        &mut image,
        vec![CreatableTopic {
            name: "other".into(),
            ..by_hand(&[(0, &[2, 1])])
        }],
    );
    let partition = image.partition("other", PartitionId(0)).unwrap();
    assert_eq!(
        (partition.leader, partition.isr.as_ref()),
        (NodeId(1), &[NodeId(1)][..])
    );
}

#[test]
fn a_deleted_topic_takes_everything_of_its_own_along() {
    let mut image = cluster_of(&[(1, None)]);
    let before = image.clone();
    let mut made = configured(&[("retention.ms", Some("5"))]);
    made.name = "with.dots".into();
    let id = make(&mut image, vec![made])[0].id;
    assert_ne!(image, before);
    assert_eq!(image.load(NodeId(1)).replicas, 3);
    let unknown = TopicId(uuid::Uuid::from_u128(1));
    let reply = run(&mut image, Command::DeleteTopics(vec![unknown, id, id]));
    let unknown = || Err(ApiError::from(ErrorCode::UnknownTopicId));
    assert_eq!(
        reply,
        Reply::DeleteTopics(vec![unknown(), Ok(()), unknown()])
    );
    // All but the zxid is as it was.
    image.applied = before.applied;
    assert_eq!(image, before);
}

#[test]
fn internal_topics_are_known() {
    assert!(is_internal("__consumer_offsets") && is_internal("__transaction_state"));
    assert!(!is_internal("__other") && !is_internal("t"));
}
