use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::controller::TopicDelta;
use crate::controller::command::*;
use crate::controller::testing::*;

/// Something to do, with small numbers that often meet what is there.
fn any_command() -> impl Strategy<Value = u64> {
    any::<u64>()
}

fn directory(n: u64) -> DirectoryId {
    DirectoryId(Uuid::from_u128(1000 + u128::from(n)))
}

fn command_of(bits: u64, image: &MetadataImage) -> Command {
    let pick = |shift: u32, of: u64| (bits >> shift) % of;
    let name = format!("t{}.{}", pick(8, 4), pick(12, 3));
    let set = |kind, name: &str| {
        Command::IncrementalAlterConfigs(IncrementalAlterConfigs {
            resources: vec![AlterResourceConfigs {
                resource: ConfigResource::new(kind, name),
                ops: vec![AlterConfigOp {
                    name: ["retention.ms", "cleanup.policy"][pick(16, 2) as usize].into(),
                    op: OpType::from_code(pick(20, 4) as i8).unwrap(),
                    value: Some(pick(24, 9).to_string().into()),
                }],
            }],
            validate_only: pick(28, 8) == 0,
        })
    };
    let node = NodeId(pick(32, 4) as i32 + 1);
    let epoch = image.broker(node).map_or(Zxid(1), |broker| broker.epoch);
    match bits % 9 {
        0 | 1 => Command::CreateTopics(CreateTopics {
            topics: vec![topic(&name, pick(36, 70) as i32, pick(42, 3) as i16)],
            validate_only: pick(44, 8) == 0,
        }),
        2 => Command::DeleteTopics(vec![image.topic_id(&name).unwrap_or_default()]),
        3 => Command::CreatePartitions(CreatePartitions {
            topics: vec![CreatePartitionsTopic {
                name,
                count: pick(36, 140) as i32,
                assignments: None,
            }],
            validate_only: false,
        }),
        4 => set(ConfigResourceType::Topic, &name),
        5 => set(ConfigResourceType::Group, "g"),
        6 => Command::AllocateProducerIds(AllocateProducerIds {
            broker: node,
            broker_epoch: epoch,
        }),
        7 => Command::ChangeBroker(ChangeBroker {
            id: node,
            epoch,
            fenced: Some(pick(48, 2) == 0),
            in_controlled_shutdown: None,
            offline_directories: Some(vec![directory(pick(50, 4))]),
            cordoned_directories: Some(vec![directory(pick(52, 4))]),
        }),
        _ => {
            let mut again = registration(node.0, None);
            again.incarnation = Uuid::from_u128(u128::from(pick(50, 3)) + 200);
            Command::RegisterBroker(again)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The same records make an equal image; so does a snapshot taken anywhere on the way, with the
    /// rest replayed on top. Every record survives its encoding.
    #[test]
    fn records_and_snapshots_rebuild_the_image(
        commands in prop::collection::vec(any_command(), 1..60),
        snapshot_at in 0..60usize,
    ) {
        let mut image = cluster_of(&[(1, Some("a")), (2, Some("b")), (3, None)]);
        let start = image.clone();
        let mut from_snapshot = start.clone();
        let mut log: Vec<(Zxid, Vec<u8>)> = Vec::new();
        let mut ids = 0u128;
        let mut heard = MetadataDelta::default();
        for (index, bits) in commands.iter().enumerate() {
            let mut new_id = || {
                ids += 1;
                Uuid::from_u128(ids)
            };
            let mut env = crate::controller::Environment {
                new_id: &mut new_id,
                schema: &TwoKeys,
                settings: &SETTINGS,
            };
            let command = command_of(*bits, &image);
            let bytes = minicbor::to_vec(&command).unwrap();
            prop_assert_eq!(&minicbor::decode::<Command>(&bytes).unwrap(), &command);
            let decision = crate::controller::decide(&image, &command, &mut env);
            let bytes = minicbor::to_vec(&decision.reply).unwrap();
            prop_assert_eq!(minicbor::decode::<Reply>(&bytes).unwrap(), decision.reply);
            if !decision.records.is_empty() {
                let mut records = vec![Record::Request(RequestRecord {
                    node: NodeId(1),
                    incarnation: Uuid::from_u128(7),
                    seq: index as u64,
                    reply: Some(minicbor::decode(&bytes).unwrap()),
                })];
                records.extend(decision.records);
                heard = commit_into(&mut image, &records, heard);
                let mut payload = Vec::new();
                crate::controller::snapshot::encode_records(&records, &mut payload);
                log.push((image.applied(), payload));
            }
            if index == snapshot_at {
                let snapshot = image.to_snapshot();
                from_snapshot = MetadataImage::from_snapshot(&snapshot, image.applied()).unwrap();
                prop_assert_eq!(&from_snapshot, &image);
            }
        }
        let replayed = |mut from: MetadataImage| {
            let mut delta = MetadataDelta::default();
            let since = from.applied();
            for (zxid, payload) in log.iter().filter(|(zxid, _)| *zxid > since) {
                let records = crate::controller::snapshot::decode_records(payload).unwrap();
                from.replay_all(*zxid, &records, &mut delta).unwrap();
            }
            from
        };
        let replayed_all = replayed(start.clone());
        prop_assert_eq!(&replayed_all, &image);
        prop_assert_eq!(&replayed(from_snapshot), &image);
        prop_assert_eq!(replayed_all.to_snapshot(), image.to_snapshot());
        check_between(&start, &image, heard);
        let counted: usize = image.topics().map(|topic| topic.partition_count()).sum();
        prop_assert_eq!(image.partition_count(), counted);
        let replicas: usize = image
            .topics()
            .flat_map(|topic| topic.partitions())
            .map(|(_, state)| state.replicas.len())
            .sum();
        let loads: u32 = image.loads.values().map(|load| load.replicas).sum();
        prop_assert_eq!(loads as usize, replicas);
    }
}

fn commit_into(
    image: &mut MetadataImage,
    records: &[Record],
    mut delta: MetadataDelta,
) -> MetadataDelta {
    let next = Zxid(image.applied().0 + 1);
    image.replay_all(next, records, &mut delta).unwrap();
    delta
}

/// Who only sees the two ends is told of no more than who heard everything, and of all that differs.
fn check_between(before: &MetadataImage, after: &MetadataImage, heard: MetadataDelta) {
    let between = MetadataDelta::between(before, after);
    for (id, change) in &heard.topics {
        match (change, between.topics.get(id)) {
            (TopicDelta::Changed(all), Some(TopicDelta::Changed(some))) => {
                assert!(some.is_subset(all));
            }
            (TopicDelta::Changed(all), None) => {
                let of = |image: &MetadataImage, p: &PartitionId| {
                    image.topic_by_id(*id).unwrap().partition(*p).cloned()
                };
                assert!(all.iter().all(|p| of(before, p) == of(after, p)));
            }
            (change, told) => assert_eq!(Some(change), told),
        }
    }
    assert!(
        between
            .topics
            .keys()
            .all(|id| heard.topics.contains_key(id))
    );
    assert!(between.configs.is_subset(&heard.configs));
    assert!(between.brokers.is_subset(&heard.brokers));
    assert!(MetadataDelta::between(after, after).is_empty());
    let told = MetadataDelta::between(&MetadataImage::default(), after);
    assert_eq!(told, MetadataDelta::whole(after));
}

#[test]
fn a_command_is_applied_once() {
    let mut image = cluster_of(&[(1, None)]);
    let record = |incarnation, seq| {
        Record::Request(RequestRecord {
            node: NodeId(1),
            incarnation: Uuid::from_u128(incarnation),
            seq,
            reply: None,
        })
    };
    commit(&mut image, &[record(1, 5)]);
    let applied = |image: &MetadataImage, incarnation, seq| {
        image.is_applied(NodeId(1), Uuid::from_u128(incarnation), seq)
    };
    assert!(applied(&image, 1, 5) && applied(&image, 1, 4) && !applied(&image, 1, 6));
    assert!(!applied(&image, 2, 1), "another process counts for itself");
    let again = image
        .clone()
        .replay(Zxid(99), &record(1, 5), &mut MetadataDelta::default());
    assert_eq!(again, Err(ReplayError::AppliedTwice(NodeId(1), 5)));
    commit(&mut image, &[record(2, 1)]);
    assert!(applied(&image, 2, 1) && !applied(&image, 1, 5));
    let kept = MetadataImage::from_snapshot(&image.to_snapshot(), image.applied()).unwrap();
    assert_eq!(kept, image);
}

#[test]
fn the_image_finds_what_it_holds() {
    let mut image = cluster_of(&[(1, None)]);
    let made = make(
        &mut image,
        vec![topic("b", 2, 1), topic("a", 1, 1), topic("c", 1, 1)],
    );
    let names = |topics: &mut dyn Iterator<Item = &Arc<TopicImage>>| {
        topics
            .map(|topic| topic.name.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&mut image.topics()), ["a", "b", "c"]);
    assert_eq!(names(&mut image.topics_from("aa")), ["b", "c"]);
    assert_eq!(names(&mut image.topics_from("b")), ["b", "c"]);
    assert_eq!(image.topic_by_id(made[0].id).unwrap().name.as_ref(), "b");
    assert_eq!(image.topic_id("b"), Some(made[0].id));
    assert!(image.partition("b", PartitionId(1)).is_some());
    assert!(image.partition("b", PartitionId(2)).is_none());
    assert!(image.topic("none").is_none());
    assert!(image.configs(ConfigResourceType::Topic, "b").is_empty());
}

#[test]
fn a_record_that_does_not_fit_is_an_error() {
    let image = cluster_of(&[(1, None)]);
    let id = TopicId(Uuid::from_u128(1));
    let t = |name: &str| {
        Record::Topic(TopicRecord {
            name: name.into(),
            id,
        })
    };
    let next = |to| {
        Record::ProducerIds(ProducerIdsRecord {
            broker: NodeId(1),
            broker_epoch: Zxid(1),
            next_producer_id: ProducerId(to),
        })
    };
    let change = PartitionChangeRecord::new(id, PartitionId(3));
    let cluster = ClusterRecord {
        cluster_id: "other".into(),
    };
    let unregister = UnregisterBrokerRecord {
        id: NodeId(1),
        epoch: Zxid(77),
    };
    let log_level = ConfigRecord {
        resource_type: ConfigResourceType::BrokerLogger,
        resource_name: "1".into(),
        key: "root".into(),
        value: None,
    };
    let unknown = ReplayError::UnknownTopic(id);
    let table = [
        (
            vec![t("x"), t("x")],
            ReplayError::DuplicateTopic("x".into()),
        ),
        (
            vec![t("x"), t("y")],
            ReplayError::DuplicateTopic("y".into()),
        ),
        (
            vec![Record::RemoveTopic(RemoveTopicRecord { topic_id: id })],
            unknown.clone(),
        ),
        (vec![Record::PartitionChange(change.clone())], unknown),
        (
            vec![t("x"), Record::PartitionChange(change)],
            ReplayError::UnknownPartition(id, PartitionId(3)),
        ),
        (
            vec![next(1000), next(1000)],
            ReplayError::ProducerIdsWentBack {
                old: ProducerId(1000),
                new: ProducerId(1000),
            },
        ),
        (
            vec![Record::Cluster(cluster)],
            ReplayError::ClusterIdChanged {
                old: CLUSTER_ID.into(),
                new: "other".into(),
            },
        ),
        (
            vec![Record::UnregisterBroker(unregister)],
            ReplayError::UnknownBroker(NodeId(1), Zxid(77)),
        ),
        (vec![Record::Config(log_level)], ReplayError::NotAResource),
    ];
    for (records, expected) in table {
        let mut image = image.clone();
        let replayed = image.replay_all(Zxid::new(9, 9), &records, &mut MetadataDelta::default());
        assert_eq!(replayed, Err(expected));
    }
    let mut image = image;
    let old = image.applied();
    let replayed = image.replay_all(old, &[], &mut MetadataDelta::default());
    assert!(matches!(replayed, Err(ReplayError::NotNewer { .. })));
}

#[test]
fn a_delta_names_what_changed() {
    let mut image = cluster_of(&[(1, None)]);
    let made = make(&mut image, vec![topic("a", 2, 1), topic("b", 1, 1)]);
    let [a, b] = made.as_slice() else { panic!() };
    let whole = MetadataDelta::whole(&image);
    assert_eq!(whole.topics.get(&a.id), Some(&TopicDelta::Created));
    assert!(whole.features && whole.brokers.contains(&NodeId(1)) && whole.configs.len() == 1);

    let mut change = PartitionChangeRecord::new(a.id, PartitionId(1));
    change.leader = Some(NodeId(1));
    let before_b = image.topic("b").unwrap().clone();
    let short_lived = TopicId(Uuid::from_u128(99));
    let delta = commit(
        &mut image,
        &[
            Record::PartitionChange(change),
            Record::RemoveTopic(RemoveTopicRecord { topic_id: b.id }),
            Record::Topic(TopicRecord {
                name: "c".into(),
                id: short_lived,
            }),
            Record::RemoveTopic(RemoveTopicRecord {
                topic_id: short_lived,
            }),
        ],
    );
    let expected = [
        (a.id, TopicDelta::Changed([PartitionId(1)].into())),
        (b.id, TopicDelta::Deleted(before_b)),
    ];
    assert_eq!(delta.topics, expected.into());
    assert!(!delta.is_empty() && delta.configs.is_empty() && !delta.features);
}

/// Not a time: the work of one change must not grow with the topics and partitions around it.
#[test]
fn a_change_in_a_large_image_shares_nearly_everything() {
    let mut image = cluster_of(&[(1, None)]);
    for n in 0..100 {
        make(&mut image, vec![topic(&format!("t{n}"), 1000, 1)]);
    }
    assert_eq!(image.partition_count(), 100_000);
    let before = image.clone();
    let id = image.topic_id("t50").unwrap();
    let change = PartitionChangeRecord::new(id, PartitionId(500));
    commit(&mut image, &[Record::PartitionChange(change)]);
    let shared = image.topics().zip(before.topics());
    assert_eq!(shared.filter(|(a, b)| Arc::ptr_eq(a, b)).count(), 99);
}
