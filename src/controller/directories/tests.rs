use uuid::Uuid;

use super::*;
use crate::controller::command::{Command, Reply};
use crate::controller::testing::*;
use crate::types::{PartitionId, TopicId, Zxid};

fn dir(n: u128) -> DirectoryId {
    DirectoryId(Uuid::from_u128(n))
}

fn assign_to(
    image: &mut MetadataImage,
    broker: i32,
    assignments: &[(u128, i32, DirectoryId)],
) -> Reply {
    let id = NodeId(broker);
    let command = AssignReplicasToDirs {
        broker: id,
        broker_epoch: image.broker(id).unwrap().epoch,
        assignments: assignments
            .iter()
            .map(|(topic, partition, directory)| DirectoryAssignment {
                topic_id: TopicId(Uuid::from_u128(*topic)),
                partition: PartitionId(*partition),
                directory: *directory,
            })
            .collect(),
    };
    run(image, Command::AssignReplicasToDirs(command))
}

fn directories(image: &MetadataImage) -> Vec<DirectoryId> {
    let state = image.partition("t", PartitionId(0)).unwrap();
    state.directories().to_vec()
}

#[test]
fn each_broker_says_where_its_own_replicas_are() {
    let mut image = cluster_of(&[(1, None), (2, None), (3, None)]);
    restarted(&mut image, 1, vec![dir(1000)]);
    restarted(&mut image, 2, vec![dir(2000)]);
    partition_of(&mut image, &[2, 1], &[2, 1], 2);
    let done = Reply::AssignReplicasToDirs(Ok(()));
    assert_eq!(assign_to(&mut image, 1, &[(5, 0, dir(1000))]), done);
    assert_eq!(directories(&image), [DirectoryId::UNASSIGNED, dir(1000)]);
    assert_eq!(assign_to(&mut image, 2, &[(5, 0, dir(2000))]), done);
    assert_eq!(directories(&image), [dir(2000), dir(1000)]);
    let epoch = image.partition("t", PartitionId(0)).unwrap().leader_epoch;
    assert_eq!(epoch.0, 0, "who leads has not changed");
    // Said again, or of what is not the broker's or not there: nothing changes.
    let before = image.applied();
    for (broker, topic, partition) in [(1, 5, 0), (3, 5, 0), (1, 5, 1), (1, 6, 0)] {
        let told = assign_to(&mut image, broker, &[(topic, partition, dir(1000))]);
        assert_eq!(told, done);
    }
    assert_eq!(image.applied(), before);
}

#[test]
fn a_broker_that_was_replaced_is_not_heard() {
    let mut image = cluster_of(&[(1, None)]);
    partition_of(&mut image, &[1], &[1], 1);
    let command = AssignReplicasToDirs {
        broker: NodeId(1),
        broker_epoch: Zxid(0),
        assignments: Vec::new(),
    };
    let reply = run(&mut image, Command::AssignReplicasToDirs(command));
    let Reply::AssignReplicasToDirs(Err(error)) = reply else {
        panic!("{reply:?}");
    };
    assert_eq!(error.error, crate::error::ErrorCode::StaleBrokerEpoch);
}

#[test]
fn a_replica_that_lies_in_no_directory_that_is_online_does_not_lead() {
    let mut image = cluster_of(&[(1, None), (2, None)]);
    restarted(&mut image, 1, vec![dir(1000), dir(1001)]);
    partition_of(&mut image, &[1, 2], &[1, 2], 1);
    let state = |image: &MetadataImage| {
        let state = image.partition("t", PartitionId(0)).unwrap();
        let isr: Vec<i32> = state.isr.iter().map(|node| node.0).collect();
        (state.leader.0, isr, state.leader_epoch.0)
    };
    assign_to(&mut image, 1, &[(5, 0, dir(1000))]);
    assert_eq!(state(&image), (1, vec![1, 2], 0));
    assign_to(&mut image, 1, &[(5, 0, dir(1009))]);
    assert_eq!(state(&image), (2, vec![2], 1));
    // The last one stays in sync, and leads again once it is found.
    assign_to(&mut image, 2, &[(5, 0, DirectoryId::LOST)]);
    assert_eq!(state(&image), (-1, vec![2], 2));
    assign_to(&mut image, 1, &[(5, 0, dir(1001))]);
    assert_eq!(state(&image), (-1, vec![2], 2), "it is not in sync");
    assign_to(&mut image, 2, &[(5, 0, dir(1002))]);
    assert_eq!(state(&image), (2, vec![2], 3));
    // Not by a broker that is fenced.
    assign_to(&mut image, 2, &[(5, 0, DirectoryId::LOST)]);
    fence(&mut image, 2);
    assign_to(&mut image, 2, &[(5, 0, dir(1002))]);
    assert_eq!(state(&image), (-1, vec![2], 4));
}
