use super::*;
use crate::controller::command::{Command, Reply};
use crate::controller::testing::*;

fn ask(image: &MetadataImage, name: &str, count: i32, by_hand: Option<&[&[i32]]>) -> String {
    let assignments = by_hand.map(|partitions| {
        let ids = |brokers: &&[i32]| brokers.iter().copied().map(NodeId).collect();
        partitions.iter().map(ids).collect()
    });
    let command = CreatePartitions {
        topics: vec![CreatePartitionsTopic {
            name: name.into(),
            count,
            assignments,
        }],
        validate_only: false,
    };
    let (records, results) = create(image, &command);
    match &results[0] {
        Ok(()) => format!("{} records", records.len()),
        Err(error) => error.to_string(),
    }
}

/// Topic, count, brokers by hand; what comes out.
type Row = (
    &'static str,
    i32,
    Option<&'static [&'static [i32]]>,
    &'static str,
);

#[test]
fn partitions_are_added_or_refused_in_kafkas_words() {
    let mut image = cluster_of(&[(1, None), (2, None)]);
    make(&mut image, vec![topic("t", 3, 1)]);
    let table: &[Row] = &[
        ("t", 5, None, "2 records"),
        ("t", 5, Some(&[&[1], &[2]]), "2 records"),
        ("none", 5, None, "UNKNOWN_TOPIC_OR_PARTITION"),
        (
            "t",
            3,
            None,
            "INVALID_PARTITIONS: Topic already has 3 partition(s).",
        ),
        (
            "t",
            2,
            None,
            "INVALID_PARTITIONS: The topic t currently has 3 partition(s); 2 would not be an increase.",
        ),
        (
            "t",
            -1,
            None,
            "INVALID_PARTITIONS: The topic t currently has 3 partition(s); -1 would not be an increase.",
        ),
        (
            "t",
            5,
            Some(&[&[1]]),
            "INVALID_REPLICA_ASSIGNMENT: Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified.",
        ),
        (
            "t",
            4,
            Some(&[&[1, 2]]),
            "INVALID_REPLICA_ASSIGNMENT: The manual partition assignment includes a partition with 2 replica(s), but this is not consistent with previous partitions, which have 1 replica(s).",
        ),
        (
            "t",
            10_004,
            None,
            "POLICY_VIOLATION: Excessively large number of additional partitions per request.",
        ),
    ];
    for (name, count, by_hand, expected) in table {
        assert_eq!(
            ask(&image, name, *count, *by_hand),
            *expected,
            "{name} {count}"
        );
    }
    fence(&mut image, 2);
    assert_eq!(
        ask(&image, "t", 4, Some(&[&[2]])),
        "INVALID_REPLICA_ASSIGNMENT: All brokers specified in the manual partition assignment for partition 3 are fenced or in controlled shutdown."
    );
    fence(&mut image, 1);
    assert_eq!(
        ask(&image, "t", 4, None),
        "INVALID_REPLICATION_FACTOR: All brokers are currently fenced, or have all their log directories cordoned."
    );
}

#[test]
fn added_partitions_go_on_from_the_last() {
    let mut image = cluster_of(&[(1, None), (2, None)]);
    make(&mut image, vec![topic("t", 3, 2)]);
    let command = |validate_only| {
        Command::CreatePartitions(CreatePartitions {
            topics: vec![CreatePartitionsTopic {
                name: "t".into(),
                count: 100,
                assignments: None,
            }],
            validate_only,
        })
    };
    assert_eq!(
        run(&mut image, command(true)),
        Reply::CreatePartitions(vec![Ok(())])
    );
    assert_eq!(image.topic("t").unwrap().partition_count(), 3);
    run(&mut image, command(false));
    let topic = image.topic("t").unwrap();
    assert_eq!(topic.partition_count(), 100);
    assert!(
        topic
            .partitions()
            .all(|(_, state)| state.replicas.len() == 2)
    );
    assert_eq!(image.load(NodeId(1)).preferred_leaders, 50);
}
