use super::*;
use crate::controller::command::{Command, Reply};
use crate::controller::testing::*;
use crate::types::PartitionId;
use uuid::Uuid;

#[test]
fn a_registration_is_refused_in_kafkas_words() {
    let image = cluster_of(&[(1, None)]);
    let other = registration(2, None);
    let directory = |id: u128| crate::controller::records::DirectoryId(Uuid::from_u128(id));
    let mut no_metadata_version = other.clone();
    no_metadata_version.features.clear();
    let mut old = other.clone();
    old.features.retain(|f| f.name != "group.version");
    let table = [
        (
            RegisterBroker {
                cluster_id: "x".into(),
                ..other.clone()
            },
            "INCONSISTENT_CLUSTER_ID: Expected cluster ID MkU3OEVBNTcwNTJENDM2Qg, but got cluster ID x",
        ),
        (
            RegisterBroker {
                directories: vec![],
                ..other.clone()
            },
            "INVALID_REGISTRATION: No directories specified in request",
        ),
        (
            RegisterBroker {
                directories: vec![directory(1)],
                ..other.clone()
            },
            "INVALID_REGISTRATION: Reserved directory ID in request",
        ),
        (
            RegisterBroker {
                directories: vec![directory(500); 2],
                ..other.clone()
            },
            "INVALID_REGISTRATION: Duplicate directory ID in request",
        ),
        (
            RegisterBroker {
                directories: vec![directory(1001)],
                ..other.clone()
            },
            "INVALID_REGISTRATION: Broker 1 is already registered with directory AAAAAAAAAAAAAAAAAAAD6Q",
        ),
        (
            no_metadata_version,
            "INVALID_REGISTRATION: Request features do not contain 'metadata.version'",
        ),
        (
            old,
            "UNSUPPORTED_VERSION: Unable to register because the broker does not support finalized version 1 of group.version. The broker wants a version between 0 and 0, inclusive.",
        ),
    ];
    for (command, expected) in table {
        assert_eq!(
            register(&image, &command).unwrap_err().to_string(),
            expected
        );
    }
}

#[test]
fn a_new_incarnation_gets_an_epoch_and_new_leader_epochs() {
    let mut image = cluster_of(&[(1, None)]);
    make(&mut image, vec![topic("t", 2, 1)]);
    let first = image.broker(NodeId(1)).unwrap().epoch;

    // The same process again: nothing moves.
    run(
        &mut image,
        Command::RegisterBroker(registration(1, Some("r"))),
    );
    let broker = image.broker(NodeId(1)).unwrap();
    assert_eq!((broker.epoch, broker.rack.as_deref()), (first, Some("r")));
    assert_eq!(
        image.partition("t", PartitionId(1)).unwrap().leader_epoch.0,
        0
    );

    let mut restarted = registration(1, None);
    restarted.incarnation = Uuid::from_u128(4711);
    run(&mut image, Command::RegisterBroker(restarted));
    assert_eq!(image.broker(NodeId(1)).unwrap().epoch, image.applied());
    let partition = image.partition("t", PartitionId(1)).unwrap();
    assert_eq!((partition.leader, partition.leader_epoch.0), (NodeId(1), 1));
}

#[test]
fn fencing_moves_leaders_and_returning_brings_back_only_the_leaderless() {
    let mut image = cluster_of(&[(1, None), (2, None)]);
    partition_of(&mut image, &[1, 2], &[1, 2], 1);
    let state = |image: &MetadataImage| {
        let partition = image.partition("t", PartitionId(0)).unwrap();
        let isr: Vec<i32> = partition.isr.iter().map(|node| node.0).collect();
        (partition.leader.0, isr, partition.leader_epoch.0)
    };
    fence(&mut image, 1);
    assert_eq!(state(&image), (2, vec![2], 1));
    fence(&mut image, 2);
    assert_eq!(state(&image), (-1, vec![2], 2));
    let change = |image: &MetadataImage, id: i32, fenced| {
        Command::ChangeBroker(ChangeBroker {
            id: NodeId(id),
            epoch: image.broker(NodeId(id)).unwrap().epoch,
            fenced: Some(fenced),
            in_controlled_shutdown: None,
        })
    };
    let unfence = change(&image, 1, false);
    run(&mut image, unfence);
    assert_eq!(state(&image), (-1, vec![2], 2));
    let unfence = change(&image, 2, false);
    run(&mut image, unfence.clone());
    assert_eq!(state(&image), (2, vec![2], 3));
    // Said twice, it is said once.
    let before = image.applied();
    run(&mut image, unfence);
    assert_eq!(image.applied(), before);
}

#[test]
fn an_old_incarnation_changes_nothing() {
    let mut image = cluster_of(&[(1, None)]);
    let reply = run(
        &mut image,
        Command::ChangeBroker(ChangeBroker {
            id: NodeId(1),
            epoch: Zxid(1),
            fenced: Some(true),
            in_controlled_shutdown: None,
        }),
    );
    let Reply::ChangeBroker(Err(error)) = reply else {
        panic!("{reply:?}")
    };
    assert_eq!(error.error, ErrorCode::StaleBrokerEpoch);
}

#[test]
fn a_removed_broker_leads_nothing() {
    let mut image = cluster_of(&[(1, None), (2, None)]);
    partition_of(&mut image, &[1, 2], &[1, 2], 1);
    let reply = run(&mut image, Command::UnregisterBroker(NodeId(1)));
    assert_eq!(reply, Reply::UnregisterBroker(Ok(())));
    assert!(image.broker(NodeId(1)).is_none());
    assert_eq!(
        image.partition("t", PartitionId(0)).unwrap().leader,
        NodeId(2)
    );
    let Reply::UnregisterBroker(Err(error)) = run(&mut image, Command::UnregisterBroker(NodeId(1)))
    else {
        panic!()
    };
    assert_eq!(
        error.to_string(),
        "BROKER_ID_NOT_REGISTERED: Broker ID 1 is not currently registered"
    );
}
