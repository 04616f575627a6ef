use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::controller::command::{Command, CreateTopics, Reply};
use crate::controller::testing::*;

/// The difference between the most and the least loaded.
fn spread(loads: impl IntoIterator<Item = u32> + Clone) -> u32 {
    let most = loads.clone().into_iter().max().unwrap_or(0);
    most - loads.into_iter().min().unwrap_or(0)
}

fn brokers(racks: &[usize]) -> Vec<(i32, Option<&'static str>)> {
    const NAMES: [&str; 4] = ["a", "b", "c", "d"];
    let mut id = 0;
    let mut brokers = Vec::new();
    for (rack, count) in racks.iter().enumerate() {
        for _ in 0..*count {
            id += 1;
            brokers.push((id, Some(NAMES[rack])));
        }
    }
    brokers
}

fn cluster_loads(image: &MetadataImage) -> (u32, u32) {
    let loads: Vec<_> = image
        .brokers()
        .map(|broker| image.load(broker.id))
        .collect();
    (
        spread(loads.iter().map(|load| load.preferred_leaders)),
        spread(loads.iter().map(|load| load.replicas)),
    )
}

fn topic_spread(topic: &TopicImage, brokers: usize) -> (u32, u32) {
    let mut leaders = vec![0; brokers];
    let mut replicas = vec![0; brokers];
    for (_, partition) in topic.partitions() {
        for (position, node) in partition.replicas.iter().enumerate() {
            replicas[node.0 as usize - 1] += 1;
            leaders[node.0 as usize - 1] += u32::from(position == 0);
        }
    }
    (spread(leaders), spread(replicas))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Racks of one size, topics of any: every topic is even by itself, the cluster is even as a
    /// whole, no partition is twice in a rack while another rack is free.
    #[test]
    fn topics_and_cluster_are_even(
        rack_count in 1..4usize,
        per_rack in 1..5usize,
        sizes in prop::collection::vec((1..40i32, 1..4i16), 1..12),
    ) {
        let racks = vec![per_rack; rack_count];
        let members = brokers(&racks);
        let mut image = cluster_of(&members);
        for (index, (partitions, factor)) in sizes.iter().enumerate() {
            let factor = (*factor).min(members.len() as i16);
            make(&mut image, vec![topic(&format!("t{index}"), *partitions, factor)]);
            let made = image.topic(&format!("t{index}")).unwrap();
            let (leaders, replicas) = topic_spread(made, members.len());
            prop_assert!(leaders <= 1, "leaders of one topic: {leaders}");
            prop_assert!(replicas <= 2, "replicas of one topic: {replicas}");
            for (_, partition) in made.partitions() {
                let distinct: BTreeSet<_> = partition.replicas.iter().collect();
                prop_assert_eq!(distinct.len(), usize::try_from(factor).unwrap());
                let in_racks: BTreeSet<_> = partition
                    .replicas
                    .iter()
                    .map(|node| image.broker(*node).unwrap().rack.clone())
                    .collect();
                prop_assert_eq!(in_racks.len(), rack_count.min(factor as usize));
            }
        }
        let (leaders, replicas) = cluster_loads(&image);
        prop_assert!(leaders <= 1, "leaders of the cluster: {leaders}");
        // Leaders go first: evening them out leaves the replicas a little less so.
        prop_assert!(replicas <= 4, "replicas of the cluster: {replicas}");
    }

    /// Many topics of one partition: nothing but the cluster's loads can spread them.
    #[test]
    fn single_partitions_are_even(count in 1..200usize, members in 1..9usize, factor in 1..4i16) {
        let mut image = cluster_of(&brokers(&[members]));
        let factor = factor.min(members as i16);
        for index in 0..count {
            make(&mut image, vec![topic(&format!("t{index}"), 1, factor)]);
        }
        let (leaders, replicas) = cluster_loads(&image);
        prop_assert!(leaders <= 1 && replicas <= 2, "{leaders} {replicas}");
    }
}

#[test]
fn one_request_of_many_topics_is_even_too() {
    let mut image = cluster_of(&brokers(&[5]));
    make(
        &mut image,
        (0..100).map(|n| topic(&format!("t{n}"), 1, 2)).collect(),
    );
    // A leader is forced by the leaders, so a broker may be one replica above or below.
    let (leaders, replicas) = cluster_loads(&image);
    assert!(leaders == 0 && replicas <= 2, "{leaders} {replicas}");
}

#[test]
fn a_new_broker_takes_the_single_partitions_but_not_a_whole_topic() {
    let mut image = cluster_of(&brokers(&[2]));
    make(&mut image, vec![topic("old", 60, 1)]);
    run(
        &mut image,
        Command::RegisterBroker(registration(3, Some("a"))),
    );
    make(&mut image, vec![topic("wide", 9, 1)]);
    assert_eq!(topic_spread(image.topic("wide").unwrap(), 3), (0, 0));
    for n in 0..27 {
        make(&mut image, vec![topic(&format!("t{n}"), 1, 1)]);
    }
    assert_eq!(image.load(NodeId(3)).replicas, 30);
}

#[test]
fn a_leaders_partners_are_many() {
    // When a broker fails its partitions must not all fall to one other.
    let mut image = cluster_of(&brokers(&[6]));
    make(&mut image, vec![topic("t", 300, 2)]);
    let mut partners = std::collections::BTreeMap::new();
    for (_, partition) in image.topic("t").unwrap().partitions() {
        if partition.replicas[0] == NodeId(1) {
            *partners.entry(partition.replicas[1]).or_insert(0) += 1;
        }
    }
    assert_eq!(partners.len(), 5, "{partners:?}");
    assert!(partners.values().all(|count| *count <= 20), "{partners:?}");
}

#[test]
fn brokers_out_of_service_are_the_last_choice_and_never_lead() {
    let mut image = cluster_of(&brokers(&[3]));
    fence(&mut image, 2);
    make(&mut image, vec![topic("two", 10, 2), topic("three", 10, 3)]);
    let two = image.topic("two").unwrap();
    assert!(
        two.partitions()
            .all(|(_, state)| !state.replicas.contains(&NodeId(2)))
    );
    let three = image.topic("three").unwrap();
    assert!(
        three
            .partitions()
            .all(|(_, state)| state.replicas[2] == NodeId(2)
                && !state.isr.contains(&NodeId(2))
                && state.leader != NodeId(2))
    );
}

#[test]
fn the_same_image_and_ids_place_the_same_way() {
    let command = Command::CreateTopics(CreateTopics {
        topics: vec![topic("t", 50, 3)],
        validate_only: false,
    });
    let image = cluster_of(&brokers(&[3, 3]));
    let place = || {
        let mut image = image.clone();
        assert!(matches!(
            run(&mut image, command.clone()),
            Reply::CreateTopics(_)
        ));
        image
    };
    assert_eq!(place(), place());
}
