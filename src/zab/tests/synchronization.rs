use super::*;
use crate::types::{NodeId, Zxid};

const SYNC: &[&str] = &[
    "LEADERINFO",
    "ACKEPOCH",
    "DIFF",
    "TRUNC",
    "SNAP",
    "CHUNK",
    "SNAPACK",
    "NEWLEADER",
    "UPTODATE",
    "PROPOSE",
    "ACK",
    "COMMIT",
    "INFORM",
];

/// Of what one server says to another and back.
fn between(ensemble: &mut Ensemble, a: i32, b: i32) -> Vec<String> {
    let lines = ensemble.transcript_of(SYNC);
    let (to, from) = (format!("{a}→{b} "), format!("{b}→{a} "));
    lines
        .into_iter()
        .filter(|line| line.starts_with(&to) || line.starts_with(&from))
        .collect()
}

#[test]
fn a_new_ensemble_discovers_and_synchronizes() {
    let mut ensemble = Ensemble::new(3);
    ensemble.start(2);
    ensemble.start(3);
    ensemble.settle();
    assert_eq!(
        between(&mut ensemble, 2, 3),
        [
            "3→2 LEADERINFO 1",
            "2→3 ACKEPOCH (0, 0.0)",
            "3→2 DIFF",
            "3→2 NEWLEADER 1",
            "2→3 ACK 1.0",
            "3→2 UPTODATE 0.0",
        ]
    );
    for node in [2, 3] {
        let disk = &ensemble.server(node).disk;
        assert_eq!((disk.accepted_epoch, disk.current_epoch), (1, 1));
    }
}

#[test]
fn the_new_epoch_is_above_all_that_a_quorum_knows() {
    let mut ensemble = Ensemble::new(3);
    ensemble.install(2, Disk::with(7, 3, &[(3, 1)]));
    ensemble.install(3, Disk::with(5, 4, &[(3, 1)]));
    ensemble.start(2);
    ensemble.start(3);
    ensemble.settle();
    assert_eq!(ensemble.leader(), 3);
    assert_eq!(ensemble.peer(3).current_epoch(), 8);
}

#[test]
pub(super) fn a_learner_that_lags_gets_a_diff() {
    let mut ensemble = Ensemble::new(3);
    ensemble.install(1, Disk::with(1, 1, &[(1, 1)]));
    ensemble.install(2, Disk::with(1, 1, &[(1, 1), (1, 2), (1, 3)]));
    ensemble.start(1);
    ensemble.start(2);
    ensemble.settle();
    assert_eq!(
        between(&mut ensemble, 1, 2),
        [
            "2→1 LEADERINFO 2",
            "1→2 ACKEPOCH (1, 1.1)",
            "2→1 DIFF",
            "2→1 PROPOSE 1.2",
            "2→1 PROPOSE 1.3",
            "2→1 NEWLEADER 2",
            "1→2 ACK 2.0",
            "2→1 UPTODATE 1.3",
        ]
    );
    assert_eq!(ensemble.server(1).disk.history(), "1.1 1.2 1.3");
    assert_eq!(ensemble.image(), "1.1 1.2 1.3");
}

#[test]
pub(super) fn what_only_the_old_leader_had_is_cut_off_and_never_comes_back() {
    let mut ensemble = Ensemble::started(3, 0);
    ensemble.propose(3, "a");
    ensemble.run();
    // The old leader writes what nobody else gets to see.
    ensemble.cut_silently(1, 3);
    ensemble.cut_silently(2, 3);
    ensemble.propose(3, "lost");
    ensemble.propose(3, "lost, too");
    ensemble.crash(3);
    assert_eq!(ensemble.server(3).disk.history(), "1.1 1.2 1.3");
    ensemble.advance(2_200);
    assert_eq!(ensemble.leader(), 2);
    ensemble.propose(2, "b");
    ensemble.run();
    ensemble.transcript.clear();

    for node in [1, 2] {
        ensemble.mend(node, 3);
    }
    ensemble.start(3);
    ensemble.settle();
    assert_eq!(
        between(&mut ensemble, 2, 3),
        [
            "2→3 LEADERINFO 2",
            "3→2 ACKEPOCH (1, 1.3)",
            "2→3 TRUNC 1.1",
            "2→3 PROPOSE 2.1",
            "2→3 NEWLEADER 2",
            "3→2 ACK 2.0",
            "2→3 UPTODATE 2.1",
        ]
    );
    assert_eq!(ensemble.server(3).disk.history(), "1.1 2.1");
    for node in 1..=3 {
        ensemble.crash(node);
    }
    for node in 1..=3 {
        ensemble.start(node);
    }
    ensemble.settle();
    assert_eq!(ensemble.image(), "a b");
}

fn with_snapshot() -> Ensemble {
    let mut ensemble = Ensemble::new(3);
    ensemble.settings.history_bytes = 0;
    ensemble.settings.snapshot_chunk_bytes = 4;
    ensemble.settings.snapshot_window = 2;
    ensemble.start(2);
    ensemble.start(3);
    ensemble.settle();
    for payload in ["first", "second", "third"] {
        ensemble.propose(3, payload);
    }
    ensemble.run();
    ensemble.transcript.clear();
    ensemble
}

#[test]
fn a_learner_that_is_far_behind_gets_a_snapshot() {
    let mut ensemble = with_snapshot();
    ensemble.start(1);
    ensemble.settle();
    assert_eq!(
        between(&mut ensemble, 1, 3),
        [
            "3→1 LEADERINFO 1",
            "1→3 ACKEPOCH (0, 0.0)",
            "3→1 SNAP 1.3 of 18 bytes",
            "3→1 CHUNK 0+4",
            "1→3 SNAPACK 4",
            "3→1 CHUNK 4+4",
            "1→3 SNAPACK 8",
            "3→1 CHUNK 8+4",
            "1→3 SNAPACK 12",
            "3→1 CHUNK 12+4",
            "1→3 SNAPACK 16",
            "3→1 CHUNK 16+2",
            "3→1 NEWLEADER 1",
            "1→3 ACK 1.0",
            "3→1 UPTODATE 1.3",
        ]
    );
    assert_eq!(ensemble.image(), "first second third");
    let snapshot = ensemble.server(1).disk.snapshot.clone().unwrap();
    assert_eq!(snapshot.zxid, Zxid::new(1, 3));
    assert_eq!(snapshot.voters.len(), 3);
    ensemble.propose(3, "fourth");
    ensemble.run();
    ensemble.crash(1);
    ensemble.start(1);
    ensemble.settle();
    assert_eq!(ensemble.image(), "first second third fourth");
}

/// What is proposed meanwhile comes after the snapshot, in order, each once.
#[test]
fn proposals_during_a_snapshot_are_neither_missed_nor_doubled() {
    let mut ensemble = with_snapshot();
    ensemble.start(1);
    // Up to the second piece.
    while !ensemble
        .transcript
        .iter()
        .any(|line| line.contains("CHUNK 4"))
    {
        ensemble.now = ensemble.now.plus_ms(1);
        if std::mem::take(&mut ensemble.server(3).ready.wants_snapshot) {
            let body = bytes::Bytes::from_static(b"first second third");
            let zxid = Zxid::new(1, 3);
            ensemble.step(NodeId(3), Input::SnapshotTaken { zxid, body });
        }
        ensemble.deliver_one();
    }
    ensemble.propose(3, "fourth");
    ensemble.propose(3, "fifth");
    ensemble.transcript.clear();
    ensemble.run();
    let proposed: Vec<_> = between(&mut ensemble, 1, 3)
        .into_iter()
        .filter(|line| !line.contains("CHUNK") && !line.contains("ACK"))
        .collect();
    assert_eq!(
        proposed,
        [
            "3→1 PROPOSE 1.4",
            "3→1 PROPOSE 1.5",
            "3→1 NEWLEADER 1",
            "3→1 UPTODATE 1.3",
            "3→1 COMMIT 1.5",
        ]
    );
    assert_eq!(ensemble.image(), "first second third fourth fifth");
}

#[test]
fn proposals_between_new_leader_and_up_to_date_are_acknowledged_in_order() {
    let mut ensemble = Ensemble::new(3);
    ensemble.start(2);
    ensemble.start(3);
    ensemble.settle();
    ensemble.start(1);
    ensemble.stall(1);
    while !ensemble
        .transcript
        .iter()
        .any(|line| line == "3→1 NEWLEADER 1")
    {
        if !ensemble.deliver_one() {
            ensemble.write_some(1);
        }
    }
    ensemble.propose(3, "a");
    ensemble.propose(3, "b");
    ensemble.transcript.clear();
    ensemble.run();
    assert_eq!(
        between(&mut ensemble, 1, 3),
        ["3→1 PROPOSE 1.1", "3→1 PROPOSE 1.2"],
        "nothing is durable there"
    );
    ensemble.unstall(1);
    ensemble.run();
    assert_eq!(
        between(&mut ensemble, 1, 3),
        [
            "1→3 ACK 1.0",
            "1→3 ACK 1.1",
            "1→3 ACK 1.2",
            "3→1 UPTODATE 1.2"
        ]
    );
    assert_eq!(ensemble.image(), "a b");
}

/// A crash of the learner between any two of its writes leaves a server that can do no harm, and
/// that comes back.
#[test]
fn a_crash_between_any_two_writes_of_a_learner_is_survived() {
    let stages = [
        "1.1 1.2 1.3",
        "1.1 1.2 1.3",
        "1.1",
        "1.1 2.1",
        "1.1 2.1 2.2",
        "1.1 2.1 2.2",
    ];
    for (writes, stage) in stages.into_iter().enumerate() {
        let mut ensemble = Ensemble::new(3);
        ensemble.install(1, Disk::with(1, 1, &[(1, 1), (1, 2), (1, 3)]));
        ensemble.install(2, Disk::with(2, 2, &[(1, 1), (2, 1), (2, 2)]));
        ensemble.install(3, Disk::with(2, 2, &[(1, 1), (2, 1), (2, 2)]));
        ensemble.start(2);
        ensemble.start(3);
        ensemble.settle();
        assert_eq!(ensemble.leader(), 3);
        ensemble.start(1);
        ensemble.stall(1);
        ensemble.run();
        for _ in 0..writes {
            ensemble.write_some(1);
            ensemble.run();
        }
        ensemble.crash(1);
        let disk = ensemble.server(1).disk.clone();
        assert_eq!(disk.history(), stage, "{writes} writes");
        let epochs = (disk.accepted_epoch, disk.current_epoch);
        let expected = match writes {
            0 => (1, 1),
            5 => (3, 3),
            _ => (3, 1),
        };
        assert_eq!(epochs, expected, "{writes} writes");
        // With either of the others it makes a quorum, which has everything.
        ensemble.crash(3);
        ensemble.start(1);
        ensemble.settle();
        assert_eq!(ensemble.leader(), 2, "{writes} writes");
        assert_eq!(ensemble.image(), "1.1 2.1 2.2");
    }
}

/// The voters of 2 know an epoch that was never established; it counts for the next, not for itself.
#[test]
pub(super) fn an_epoch_promised_to_one_leader_does_not_count_for_another() {
    let mut ensemble = Ensemble::new(3);
    ensemble.install(1, Disk::with(1, 0, &[]));
    ensemble.start(1);
    ensemble.start(2);
    ensemble.start(3);
    // 1 has promised epoch 1 to somebody. 2 leads, and 3's word gives it epoch 1.
    ensemble.cut(1, 2);
    ensemble.cut(1, 3);
    ensemble.settle();
    assert_eq!(ensemble.peer(3).current_epoch(), 1);
    ensemble.transcript.clear();
    ensemble.mend(1, 2);
    ensemble.mend(1, 3);
    ensemble.settle();
    let lines = between(&mut ensemble, 1, 3);
    assert_eq!(lines[1], "1→3 ACKEPOCH (0, 0.0) (promised before)");
    assert_eq!(lines.last().unwrap(), "3→1 UPTODATE 0.0");
    assert_eq!(ensemble.leader(), 3);
}

/// Somebody promised a later epoch to a leader that never came to be: it can join only a later one.
#[test]
fn a_server_that_promised_a_later_epoch_brings_about_an_election() {
    let mut ensemble = Ensemble::new(3);
    ensemble.install(1, Disk::with(9, 0, &[]));
    ensemble.start(2);
    ensemble.start(3);
    ensemble.settle();
    ensemble.propose(3, "a");
    ensemble.transcript.clear();
    ensemble.start(1);
    ensemble.settle();
    assert_eq!(ensemble.peer(1).current_epoch(), 10);
    assert_eq!(ensemble.image(), "a");
}

/// What the votes did not show, Discovery does.
#[test]
pub(super) fn a_prospective_leader_gives_up_before_a_better_history() {
    let mut ensemble = Ensemble::new(3);
    ensemble.install(2, Disk::with(1, 1, &[(1, 1), (1, 2)]));
    ensemble.install(3, Disk::with(1, 1, &[(1, 1)]));
    ensemble.start(3);
    ensemble.run();
    // Somebody makes 3 lead.
    ensemble.peer(3).lead();
    ensemble.take_ready(NodeId(3));
    ensemble.start(2);
    ensemble.run();
    assert_eq!(
        ensemble.transcript_of(&["ACKEPOCH"]),
        ["2→3 ACKEPOCH (1, 1.2)"]
    );
    ensemble.settle();
    assert_eq!(ensemble.leader(), 2);
    assert_eq!(ensemble.image(), "1.1 1.2");
}
