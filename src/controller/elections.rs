//! Who leads a partition when its brokers come and go. A leader is taken from the ISR and among
//! active brokers whose replica lies in a directory that is online, in the order of the replicas; the last in-sync replica stays in the ISR even
//! when it is gone, for it alone is known to have everything. Unclean elections are not done here.

use crate::controller::image::MetadataImage;
use crate::controller::node_list::NodeList;
use crate::controller::records::{DirectoryId, PartitionChangeRecord, Record};
use crate::controller::topic_image::PartitionState;
use crate::types::NodeId;

/// What happened to a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// It serves no more: fenced, shutting down or removed.
    Left(NodeId),
    /// The same of what lies in some of its directories.
    DirectoriesFailed(NodeId, &'a [DirectoryId]),
    /// It serves, and what its last incarnation wrote may have lost its end.
    Restarted(NodeId),
    /// It serves again, with everything it had.
    Returned(NodeId),
}

/// The changes of all partitions that an event touches. In the image the broker is as the event leaves it.
pub(super) fn on_event(image: &MetadataImage, event: Event<'_>) -> Vec<Record> {
    let mut records = Vec::new();
    for topic in image.topics() {
        for (index, state) in topic.partitions() {
            if let Some((isr, leader)) = elect(image, state, event) {
                let mut change = PartitionChangeRecord::new(topic.id, index);
                change.isr = isr;
                change.leader = leader;
                records.push(Record::PartitionChange(change));
            }
        }
    }
    records
}

/// The new ISR and leader, each where it changes; `None` when the event does not concern the
/// partition.
pub(super) fn elect(
    image: &MetadataImage,
    state: &PartitionState,
    event: Event<'_>,
) -> Option<(Option<NodeList>, Option<NodeId>)> {
    let (Event::Left(broker)
    | Event::DirectoriesFailed(broker, _)
    | Event::Restarted(broker)
    | Event::Returned(broker)) = event;
    if !state.isr.contains(&broker) {
        return None;
    }
    if let Event::DirectoriesFailed(_, failed) = event
        && !failed.contains(&state.directory(broker))
    {
        return None;
    }
    let leaves_isr = !matches!(event, Event::Returned(_)) && state.isr.len() > 1;
    let isr: NodeList = if leaves_isr {
        let others = state.isr.iter().filter(|node| **node != broker);
        others.copied().collect()
    } else {
        state.isr.clone()
    };
    let serves = |node: NodeId| match event {
        Event::Left(gone) | Event::DirectoriesFailed(gone, _) if node == gone => false,
        Event::Restarted(back) | Event::Returned(back) if node == back => {
            image.is_in_online_dir(state, node)
        }
        _ => image.is_active(node) && image.is_in_online_dir(state, node),
    };
    // Another process leads under another epoch, also when it is on the same broker.
    let must_elect = state.leader == NodeId::NONE
        || state.leader == broker && !matches!(event, Event::Returned(_));
    let leader = must_elect.then(|| {
        let mut candidates = state.replicas.iter().filter(|node| isr.contains(node));
        let found = candidates.find(|node| serves(**node));
        found.copied().unwrap_or(NodeId::NONE)
    });
    // To go on without a leader is no change.
    let leader = leader.filter(|new| *new != NodeId::NONE || state.leader != NodeId::NONE);
    let isr = leaves_isr.then_some(isr);
    (isr.is_some() || leader.is_some()).then_some((isr, leader))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::testing::{cluster_of, lies_in, partition_of};
    use crate::types::PartitionId;

    /// Partition (replicas, isr, leader), event, and what comes out: (isr, leader), with `None`
    /// for «as it was».
    type Row<'a> = (
        (&'static [i32], &'static [i32], i32),
        Event<'a>,
        Option<(Option<&'static [i32]>, Option<i32>)>,
    );

    #[test]
    fn events_move_leadership_within_the_isr() {
        use Event::{DirectoriesFailed, Left, Restarted, Returned};
        let n = NodeId;
        let failed = [DirectoryId(uuid::Uuid::from_u128(1001))];
        // Brokers 1, 2, 3 are active; 4 is fenced.
        let table: &[Row] = &[
            // Followers leave the ISR, leaders hand over to the first in-sync replica.
            (
                (&[1, 2, 3], &[1, 2, 3], 1),
                Left(n(2)),
                Some((Some(&[1, 3]), None)),
            ),
            (
                (&[1, 2, 3], &[1, 2, 3], 1),
                Left(n(1)),
                Some((Some(&[2, 3]), Some(2))),
            ),
            (
                (&[1, 2, 3], &[3, 1], 1),
                Left(n(1)),
                Some((Some(&[3]), Some(3))),
            ),
            ((&[1, 2, 3], &[1, 3], 1), Left(n(2)), None),
            // The last one stays, without leading.
            ((&[1, 2], &[1], 1), Left(n(1)), Some((None, Some(-1)))),
            ((&[1, 2], &[1], -1), Left(n(1)), None),
            // The only one left in the ISR is fenced.
            (
                (&[1, 4], &[1, 4], 1),
                Left(n(1)),
                Some((Some(&[4]), Some(-1))),
            ),
            // A restart of the last in-sync replica begins a new epoch; elsewhere it leaves.
            ((&[1], &[1], 1), Restarted(n(1)), Some((None, Some(1)))),
            ((&[1], &[1], -1), Restarted(n(1)), Some((None, Some(1)))),
            (
                (&[1, 2], &[1, 2], 1),
                Restarted(n(1)),
                Some((Some(&[2]), Some(2))),
            ),
            (
                (&[1, 2], &[1, 2], 1),
                Restarted(n(2)),
                Some((Some(&[1]), None)),
            ),
            // Back again: only those without a leader get one.
            ((&[4, 1], &[4], -1), Returned(n(4)), Some((None, Some(4)))),
            ((&[1, 2], &[1, 2], 2), Returned(n(1)), None),
            ((&[1, 2], &[2], -1), Returned(n(1)), None),
            // Broker 1 keeps its replica in the directory 1001, the others theirs nobody knows where.
            (
                (&[1, 2], &[1, 2], 1),
                DirectoriesFailed(n(1), &failed),
                Some((Some(&[2]), Some(2))),
            ),
            (
                (&[1, 2], &[1, 2], 2),
                DirectoriesFailed(n(1), &failed),
                Some((Some(&[2]), None)),
            ),
            (
                (&[1], &[1], 1),
                DirectoriesFailed(n(1), &failed),
                Some((None, Some(-1))),
            ),
            ((&[1], &[1], 1), DirectoriesFailed(n(1), &[]), None),
            ((&[2, 1], &[2], 2), DirectoriesFailed(n(1), &failed), None),
            ((&[2], &[2], 2), DirectoriesFailed(n(2), &failed), None),
        ];
        for (index, ((replicas, isr, leader), event, expected)) in table.iter().enumerate() {
            let mut image = cluster_of(&[(1, None), (2, None), (3, None), (4, None)]);
            crate::controller::testing::fence(&mut image, 4);
            partition_of(&mut image, replicas, isr, *leader);
            if let Some(at) = replicas.iter().position(|id| *id == 1) {
                lies_in(&mut image, at, failed[0]);
            }
            let records = on_event(&image, *event);
            let got = records.first().map(|record| match record {
                Record::PartitionChange(change) => {
                    assert_eq!(change.partition, PartitionId(0));
                    let ids = |list: &NodeList| list.iter().map(|n| n.0).collect::<Vec<_>>();
                    (change.isr.as_ref().map(ids), change.leader.map(|n| n.0))
                }
                other => panic!("row {index}: {other:?}"),
            });
            let expected = expected.map(|(isr, leader)| (isr.map(<[i32]>::to_vec), leader));
            assert_eq!(got, expected, "row {index}");
        }
    }

    #[test]
    fn who_is_in_sync_in_a_directory_that_is_gone_does_not_take_over() {
        for (directory, leader) in [(DirectoryId::UNASSIGNED, 1), (DirectoryId::LOST, -1)] {
            let mut image = cluster_of(&[(1, None), (2, None)]);
            partition_of(&mut image, &[1, 2], &[1, 2], 2);
            lies_in(&mut image, 0, directory);
            let state = image.partition("t", PartitionId(0)).unwrap();
            let elected = elect(&image, state, Event::Left(NodeId(2)));
            let isr = NodeList::from([1]);
            assert_eq!(elected, Some((Some(isr), Some(NodeId(leader)))));
        }
    }
}
