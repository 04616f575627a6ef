use super::*;
use crate::controller::command::{Command, CreateTopics, Reply};
use crate::controller::testing::*;
use crate::types::PartitionId;
use uuid::Uuid;

#[test]
fn a_registration_is_refused_in_kafkas_words() {
    let image = cluster_of(&[(1, None)]);
    let other = registration(2, None);
    let directory = |id: u128| DirectoryId(Uuid::from_u128(id));
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
            offline_directories: None,
            cordoned_directories: None,
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
            offline_directories: None,
            cordoned_directories: None,
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

#[test]
fn a_directory_that_fails_takes_the_leaders_in_it_until_a_restart_has_it_again() {
    let mut image = cluster_of(&[(1, None), (2, None)]);
    let dir = |n: u128| DirectoryId(Uuid::from_u128(n));
    restarted(&mut image, 1, vec![dir(1001), dir(1011)]);
    partition_of(&mut image, &[1, 2], &[1], 1);
    lies_in(&mut image, 0, dir(1011));
    let state = |image: &MetadataImage| {
        let partition = image.partition("t", PartitionId(0)).unwrap();
        (partition.leader.0, partition.leader_epoch.0)
    };
    let fail = |image: &mut MetadataImage, dirs: &[u128]| {
        let command = Command::ChangeBroker(ChangeBroker {
            id: NodeId(1),
            epoch: image.broker(NodeId(1)).unwrap().epoch,
            fenced: None,
            in_controlled_shutdown: None,
            offline_directories: Some(dirs.iter().map(|n| dir(*n)).collect()),
            cordoned_directories: None,
        });
        assert_eq!(run(image, command), Reply::ChangeBroker(Ok(())));
        image.broker(NodeId(1)).unwrap().directories.clone()
    };
    // Another's directory is not this broker's to take away.
    assert_eq!(fail(&mut image, &[1002, 7777]), [dir(1001), dir(1011)]);
    assert_eq!(state(&image), (1, 0));
    assert_eq!(fail(&mut image, &[1011]), [dir(1001)]);
    assert_eq!(state(&image), (-1, 1));
    let before = image.applied();
    fail(&mut image, &[1011]);
    assert_eq!(image.applied(), before, "said twice, it is said once");
    // Neither fenced and back nor started without it does it lead.
    fence(&mut image, 1);
    let unfence = Command::ChangeBroker(ChangeBroker {
        id: NodeId(1),
        epoch: image.broker(NodeId(1)).unwrap().epoch,
        fenced: Some(false),
        in_controlled_shutdown: None,
        offline_directories: None,
        cordoned_directories: None,
    });
    run(&mut image, unfence);
    restarted(&mut image, 1, vec![dir(1001)]);
    assert_eq!(state(&image), (-1, 1));
    // Nor does another's coming and going make it.
    restarted(&mut image, 2, vec![dir(1002)]);
    assert_eq!(state(&image), (-1, 1));
    restarted(&mut image, 1, vec![dir(1001), dir(1011)]);
    assert_eq!(state(&image), (1, 2));
}

#[test]
fn a_broker_whose_directories_are_all_cordoned_gets_no_new_replicas() {
    let mut image = cluster_of(&[(1, None), (2, None)]);
    let dir = |n: u128| DirectoryId(Uuid::from_u128(n));
    restarted(&mut image, 1, vec![dir(1001), dir(1011)]);
    let change = |image: &MetadataImage, cordoned: &[u128], failed: &[u128]| {
        Command::ChangeBroker(ChangeBroker {
            id: NodeId(1),
            epoch: image.broker(NodeId(1)).unwrap().epoch,
            fenced: None,
            in_controlled_shutdown: None,
            offline_directories: Some(failed.iter().map(|n| dir(*n)).collect()),
            cordoned_directories: Some(cordoned.iter().map(|n| dir(*n)).collect()),
        })
    };
    let on_one = |image: &mut MetadataImage, name: &str| {
        let made = make(image, vec![topic(name, 20, 1)]);
        assert_eq!(made.len(), 1);
        let topic = image.topic(name).unwrap();
        let on_one = topic
            .partitions()
            .filter(|(_, p)| p.replicas[0] == NodeId(1));
        on_one.count()
    };
    let by_hand = |image: &MetadataImage| {
        let checked = crate::controller::partitions::check_manual_assignment(
            image,
            &[NodeId(2), NodeId(1)],
            None,
        );
        checked.map_err(|error| error.to_string())
    };
    let command = change(&image, &[1001], &[]);
    assert_eq!(
        run(&mut image, command.clone()),
        Reply::ChangeBroker(Ok(()))
    );
    let before = image.applied();
    run(&mut image, command);
    assert_eq!(image.applied(), before, "said twice, it is said once");
    assert_eq!(on_one(&mut image, "t"), 10);
    assert_eq!(by_hand(&image), Ok(()));
    // What is online of it is cordoned.
    let command = change(&image, &[1001], &[1011]);
    run(&mut image, command);
    assert_eq!(on_one(&mut image, "u"), 0);
    assert_eq!(
        by_hand(&image).unwrap_err(),
        "INVALID_REPLICA_ASSIGNMENT: The manual partition assignment includes broker 1, but all its log directories are cordoned."
    );
    let state = image.topic("t").unwrap().partition(PartitionId(0)).unwrap();
    assert_ne!(state.leader, NodeId::NONE, "what is there stays");
    let command = Command::CreateTopics(CreateTopics {
        topics: vec![topic("v", 1, 2)],
        validate_only: false,
    });
    let Reply::CreateTopics(refused) = run(&mut image, command.clone()) else {
        panic!()
    };
    let refused = refused.into_iter().next().unwrap().unwrap_err().to_string();
    assert!(refused.ends_with("because only 1 broker(s) are registered or some brokers have all their log directories cordoned."), "{refused}");
    fence(&mut image, 2);
    let Reply::CreateTopics(refused) = run(&mut image, command) else {
        panic!()
    };
    let refused = refused.into_iter().next().unwrap().unwrap_err().to_string();
    assert!(
        refused.ends_with("or have all their log directories cordoned."),
        "{refused}"
    );
    // A start says anew which are.
    restarted(&mut image, 1, vec![dir(1001), dir(1011)]);
    assert!(on_one(&mut image, "w") > 0);
}
