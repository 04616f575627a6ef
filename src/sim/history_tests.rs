//! Broken histories: each is refused under the name of what it breaks, and by nothing before its last observation.

use super::*;

fn z(epoch: u32, counter: u32) -> Zxid {
    Zxid::new(epoch, counter)
}

fn content(number: u8) -> Content {
    Content::new(&[number], None)
}

fn started(node: i32) -> Observation {
    Observation::Started {
        node: NodeId(node),
        zxid: Zxid::ZERO,
        state: 0,
        last: z(9, 9),
    }
}

fn broadcast(node: i32, zxid: Zxid, number: u8) -> Observation {
    Observation::Broadcast {
        node: NodeId(node),
        zxid,
        content: content(number),
    }
}

fn delivered(node: i32, zxid: Zxid, number: u8) -> Observation {
    Observation::Delivered {
        node: NodeId(node),
        zxid,
        content: content(number),
    }
}

fn established(node: i32, epoch: u32) -> Observation {
    Observation::Established {
        node: NodeId(node),
        epoch,
    }
}

/// The state after these deliveries.
fn state(of: &[(Zxid, u8)]) -> StateDigest {
    let after = |state, (zxid, number): &(Zxid, u8)| state_after(state, *zxid, content(*number));
    of.iter().fold(0, after)
}

/// Everything but the last is fine.
fn refused(observations: &[Observation]) -> Property {
    let mut history = History::default();
    let (last, before) = observations.split_last().unwrap();
    for observation in before {
        history.observe(*observation).unwrap();
    }
    history.observe(*last).unwrap_err().property
}

/// Node 1 leads epoch 1 and delivers two proposals, node 2 the first of them.
fn beginning() -> Vec<Observation> {
    vec![
        started(1),
        started(2),
        started(3),
        established(1, 1),
        broadcast(1, z(1, 1), 1),
        broadcast(1, z(1, 2), 2),
        broadcast(1, z(1, 3), 3),
        delivered(1, z(1, 1), 1),
        delivered(2, z(1, 1), 1),
        delivered(1, z(1, 2), 2),
    ]
}

fn beginning_and(more: &[Observation]) -> Vec<Observation> {
    let mut all = beginning();
    all.extend_from_slice(more);
    all
}

#[test]
fn a_whole_history() {
    let mut history = History::default();
    let floor = history.floor();
    let more = [
        Observation::Read {
            node: NodeId(3),
            floor,
        },
        // Node 2 takes over: the third proposal was lost on the way to it.
        delivered(2, z(1, 2), 2),
        established(2, 2),
        broadcast(2, z(2, 1), 4),
        delivered(2, z(2, 1), 4),
        // Node 3 comes late and takes a snapshot; node 1 starts again and is told everything.
        Observation::Restored {
            node: NodeId(3),
            zxid: z(1, 2),
            state: state(&[(z(1, 1), 1), (z(1, 2), 2)]),
        },
        delivered(3, z(2, 1), 4),
        started(1),
        delivered(1, z(1, 1), 1),
    ];
    for observation in beginning_and(&more) {
        history.observe(observation).unwrap();
    }
    assert_eq!((history.commits(), history.last()), (3, z(2, 1)));
    assert!(history.has_all(NodeId(3)) && !history.has_all(NodeId(1)));
}

#[test]
fn integrity() {
    let never_broadcast = beginning_and(&[delivered(2, z(1, 9), 9)]);
    let something_else = beginning_and(&[delivered(2, z(1, 2), 9)]);
    let twice = beginning_and(&[broadcast(1, z(1, 3), 9)]);
    let invented = beginning_and(&[Observation::Restored {
        node: NodeId(3),
        zxid: z(1, 3),
        state: 0,
    }]);
    for broken in [never_broadcast, something_else, twice, invented] {
        assert_eq!(refused(&broken), Property::Integrity);
    }
}

#[test]
fn total_order() {
    let twice = beginning_and(&[delivered(2, z(1, 1), 1)]);
    let first_twice = beginning_and(&[delivered(1, z(1, 1), 1)]);
    let next_epoch = [
        established(1, 2),
        broadcast(1, z(2, 1), 4),
        delivered(1, z(2, 1), 4),
        delivered(2, z(2, 1), 4),
    ];
    let skipped = beginning_and(&next_epoch);
    let back = beginning_and(&[Observation::Restored {
        node: NodeId(1),
        zxid: z(1, 1),
        state: state(&[(z(1, 1), 1)]),
    }]);
    for broken in [twice, first_twice, skipped, back] {
        assert_eq!(refused(&broken), Property::TotalOrder);
    }
}

#[test]
fn agreement() {
    // Node 3 delivers its own second proposal where node 1 delivered another.
    let diverged = [
        started(1),
        started(3),
        broadcast(1, z(1, 1), 1),
        broadcast(3, z(2, 1), 2),
        delivered(3, z(2, 1), 2),
        started(1),
        delivered(1, z(1, 1), 1),
    ];
    assert_eq!(refused(&diverged), Property::Agreement);
    let another_state = beginning_and(&[Observation::Restored {
        node: NodeId(3),
        zxid: z(1, 2),
        state: state(&[(z(1, 1), 1), (z(1, 2), 3)]),
    }]);
    assert_eq!(refused(&another_state), Property::Agreement);
}

#[test]
fn local_primary_order() {
    let hole = [
        started(1),
        broadcast(1, z(1, 1), 1),
        broadcast(1, z(1, 2), 2),
        delivered(1, z(1, 2), 2),
    ];
    assert_eq!(refused(&hole), Property::LocalPrimaryOrder);
    let skipped = beginning_and(&[started(3), delivered(3, z(1, 2), 2)]);
    assert_eq!(refused(&skipped), Property::LocalPrimaryOrder);
}

#[test]
fn global_primary_order() {
    let next_epoch = [
        delivered(2, z(1, 2), 2),
        established(2, 2),
        broadcast(2, z(2, 1), 4),
        delivered(2, z(2, 1), 4),
        delivered(2, z(1, 3), 3),
    ];
    assert_eq!(
        refused(&beginning_and(&next_epoch)),
        Property::GlobalPrimaryOrder
    );
}

#[test]
fn primary_integrity() {
    let not_delivered = beginning_and(&[broadcast(2, z(2, 1), 4)]);
    assert_eq!(refused(&not_delivered), Property::PrimaryIntegrity);
    let delivered_later = beginning_and(&[
        delivered(2, z(1, 2), 2),
        broadcast(2, z(2, 1), 4),
        delivered(1, z(1, 3), 3),
    ]);
    assert_eq!(refused(&delivered_later), Property::PrimaryIntegrity);
}

#[test]
fn one_leader_per_epoch() {
    let two = beginning_and(&[established(2, 1)]);
    let of_another = beginning_and(&[broadcast(2, z(1, 4), 4)]);
    for broken in [two, of_another] {
        assert_eq!(refused(&broken), Property::OneLeaderPerEpoch);
    }
}

#[test]
fn nothing_committed_is_lost() {
    let without = beginning_and(&[established(2, 2)]);
    assert_eq!(refused(&without), Property::NothingCommittedLost);
    let never_delivered = beginning_and(&[Observation::Acknowledged { request: 7 }]);
    assert_eq!(refused(&never_delivered), Property::NothingCommittedLost);
    let not_here = beginning_and(&[Observation::Started {
        node: NodeId(1),
        zxid: Zxid::ZERO,
        state: 0,
        last: z(1, 1),
    }]);
    assert_eq!(refused(&not_here), Property::NothingCommittedLost);
}

#[test]
fn nothing_dropped_reappears() {
    let dropped = beginning_and(&[
        delivered(2, z(1, 2), 2),
        established(2, 2),
        delivered(1, z(1, 3), 3),
    ]);
    assert_eq!(refused(&dropped), Property::NothingDroppedReappears);
}

#[test]
fn reads_behind_sync_are_current() {
    let mut history = History::default();
    for observation in beginning() {
        history.observe(observation).unwrap();
    }
    let floor = history.floor();
    let read = |node| Observation::Read {
        node: NodeId(node),
        floor,
    };
    history.observe(read(1)).unwrap();
    let stale = history.observe(read(2)).unwrap_err();
    assert_eq!(stale.property, Property::CurrentReads);
}

#[test]
fn a_request_is_applied_once() {
    let request = |counter| {
        let content = Content::new(&[counter as u8], Some(7));
        let (node, zxid) = (NodeId(1), z(1, counter));
        [
            Observation::Broadcast {
                node,
                zxid,
                content,
            },
            Observation::Delivered {
                node,
                zxid,
                content,
            },
        ]
    };
    let twice = [[started(1), established(1, 1)], request(1), request(2)];
    assert_eq!(refused(&twice.concat()), Property::AppliedOnce);
}
