use bytes::Bytes;
use uuid::Uuid;

use super::*;
use crate::types::{NodeId, Zxid};

fn voter(node: i32) -> Voter {
    Voter::at("localhost", 9000 + node as u16)
}

fn add(ensemble: &mut Ensemble, leader: i32, node: i32) -> Result<Zxid, ReconfigError> {
    let change = Change::Add(NodeId(node), voter(node));
    let changed = ensemble.peer(leader).reconfigure(change);
    ensemble.take_ready(NodeId(leader));
    changed
}

fn remove(ensemble: &mut Ensemble, leader: i32, node: i32) -> Result<Zxid, ReconfigError> {
    let changed = ensemble
        .peer(leader)
        .reconfigure(Change::Remove(NodeId(node)));
    ensemble.take_ready(NodeId(leader));
    changed
}

fn voters_at(ensemble: &mut Ensemble, node: i32) -> Vec<i32> {
    ensemble.peer(node).voters().nodes().map(|n| n.0).collect()
}

#[test]
fn an_ensemble_grows_from_one_to_three_and_shrinks_again() {
    let mut ensemble = Ensemble::started(1, 2);
    ensemble.propose(1, "a");
    ensemble.run();
    for node in [2, 3] {
        add(&mut ensemble, 1, node).unwrap();
        ensemble.run();
    }
    for node in 1..=3 {
        assert_eq!(voters_at(&mut ensemble, node), [1, 2, 3]);
        assert!(ensemble.peer(node).is_voter());
    }
    // The first one is not needed any more.
    ensemble.crash(1);
    ensemble.settle();
    assert_eq!(ensemble.leader(), 3);
    ensemble.propose(3, "b");
    ensemble.run();
    remove(&mut ensemble, 3, 1).unwrap();
    ensemble.run();
    remove(&mut ensemble, 3, 2).unwrap();
    ensemble.run();
    ensemble.crash(2);
    ensemble.propose(3, "c");
    ensemble.run();
    assert_eq!(ensemble.image(), "a b c");
    // A restart finds the voters in the log, whatever the configuration file says.
    ensemble.crash(3);
    ensemble.start(3);
    ensemble.settle();
    assert_eq!(ensemble.leader(), 3);
    assert_eq!(ensemble.image(), "a b c");
}

#[test]
pub(super) fn one_change_at_a_time_and_only_what_makes_sense() {
    let mut ensemble = Ensemble::started(3, 2);
    let node = NodeId;
    assert_eq!(add(&mut ensemble, 1, 4), Err(ReconfigError::NotLeading));
    assert_eq!(
        add(&mut ensemble, 3, 2),
        Err(ReconfigError::AlreadyAVoter(node(2)))
    );
    assert_eq!(
        add(&mut ensemble, 3, 9),
        Err(ReconfigError::NotUpToDate(node(9)))
    );
    assert_eq!(
        remove(&mut ensemble, 3, 4),
        Err(ReconfigError::NotAVoter(node(4)))
    );
    let nowhere = Change::Update(node(2), Voter::default());
    assert_eq!(
        ensemble.peer(3).reconfigure(nowhere),
        Err(ReconfigError::Host(node(2)))
    );
    add(&mut ensemble, 3, 4).unwrap();
    assert_eq!(add(&mut ensemble, 3, 5), Err(ReconfigError::Pending));
    ensemble.run();
    add(&mut ensemble, 3, 5).unwrap();
    ensemble.run();
    assert_eq!(voters_at(&mut ensemble, 1), [1, 2, 3, 4, 5]);

    let mut alone = Ensemble::started(1, 0);
    assert_eq!(
        remove(&mut alone, 1, 1),
        Err(ReconfigError::LastVoter(node(1)))
    );
}

#[test]
pub(super) fn a_configuration_counts_from_its_append() {
    let mut ensemble = Ensemble::started(3, 1);
    ensemble.stall(4);
    ensemble.stall(2);
    add(&mut ensemble, 3, 4).unwrap();
    ensemble.run();
    let committed = ensemble.peer(3).status().committed;
    assert_eq!(committed, Zxid::ZERO, "3 and 1 are two of four");
    ensemble.unstall(4);
    ensemble.run();
    assert_eq!(ensemble.peer(3).status().committed, Zxid::new(1, 1));
}

/// What is on its way when a voter comes reaches it, too.
#[test]
fn a_new_voter_gets_the_proposals_that_are_not_committed() {
    let mut ensemble = Ensemble::started(3, 1);
    ensemble.stall(1);
    ensemble.stall(2);
    ensemble.propose(3, "a");
    ensemble.run();
    assert_eq!(ensemble.server(4).disk.history(), "");
    add(&mut ensemble, 3, 4).unwrap();
    ensemble.run();
    assert_eq!(ensemble.server(4).disk.history(), "1.1 1.2");
    ensemble.unstall(1);
    ensemble.run();
    assert_eq!(ensemble.server(4).image.join(" "), "a");
}

#[test]
fn a_leader_that_is_removed_steps_down_after_the_commit() {
    let mut ensemble = Ensemble::started(3, 0);
    ensemble.propose(3, "a");
    remove(&mut ensemble, 3, 3).unwrap();
    assert!(ensemble.peer(3).is_leading());
    ensemble.run();
    assert!(!ensemble.peer(3).is_leading());
    ensemble.settle();
    assert_eq!(ensemble.leader(), 2);
    assert_eq!(ensemble.peer(3).leader(), Some(NodeId(2)));
    assert_eq!(ensemble.peer(3).status().role, Role::Observer);
    ensemble.propose(2, "b");
    ensemble.run();
    assert_eq!(ensemble.image(), "a b");
}

#[test]
fn a_change_that_was_not_committed_is_undone_with_the_log() {
    let mut ensemble = Ensemble::started(3, 1);
    ensemble.cut_silently(1, 3);
    ensemble.cut_silently(2, 3);
    ensemble.cut_silently(3, 4);
    add(&mut ensemble, 3, 4).unwrap();
    assert_eq!(voters_at(&mut ensemble, 3), [1, 2, 3, 4]);
    ensemble.advance(2_500);
    assert_eq!(ensemble.leader(), 2);
    for node in [1, 2, 4] {
        ensemble.mend(node, 3);
    }
    ensemble.propose(2, "a");
    ensemble.settle();
    assert_eq!(voters_at(&mut ensemble, 3), [1, 2, 3]);
    let events = &ensemble.server(3).events;
    assert_eq!(
        events
            .iter()
            .filter(|e| **e == Event::VotersChanged)
            .count(),
        2
    );
    assert_eq!(ensemble.image(), "a");
}

/// 2 removed itself while it led, and nobody else has that in its log: only it can lead.
#[test]
fn a_removal_that_only_the_removed_has_can_be_seen_through() {
    let mut ensemble = Ensemble::started(2, 0);
    assert_eq!(ensemble.leader(), 2);
    ensemble.cut_silently(1, 2);
    remove(&mut ensemble, 2, 2).unwrap();
    ensemble.advance(2_500);
    ensemble.mend(1, 2);
    ensemble.settle();
    assert_eq!(ensemble.leader(), 1);
    assert_eq!(voters_at(&mut ensemble, 1), [1]);
    assert_eq!(ensemble.peer(2).status().role, Role::Observer);
}

/// The same after a restart, when all that is known to be committed is a configuration before it had
/// a vote at all.
#[test]
fn a_removed_voter_that_was_added_before_sees_it_through_after_a_restart() {
    let mut ensemble = Ensemble::started(1, 1);
    add(&mut ensemble, 1, 2).unwrap();
    ensemble.run();
    ensemble.crash(1);
    ensemble.advance(2_500);
    // 2 has the better history, so it leads.
    ensemble.server(2).disk.log.push(proposal(1, 2));
    ensemble.crash(2);
    ensemble.start(2);
    ensemble.start(1);
    ensemble.settle();
    assert_eq!(ensemble.leader(), 2);
    ensemble.cut_silently(1, 2);
    remove(&mut ensemble, 2, 2).unwrap();
    ensemble.crash(2);
    ensemble.crash(1);
    ensemble.start(2);
    ensemble.mend(1, 2);
    ensemble.start(1);
    ensemble.settle();
    assert_eq!(ensemble.leader(), 1);
    assert_eq!(voters_at(&mut ensemble, 2), [1]);
}

/// 4 has a vote and does not know it; the quorum of the others needs it.
#[test]
fn a_voter_that_does_not_know_it_has_a_vote_helps_all_the_same() {
    let mut ensemble = Ensemble::started(3, 1);
    ensemble.cut_silently(3, 4);
    add(&mut ensemble, 3, 4).unwrap();
    ensemble.run();
    assert_eq!(voters_at(&mut ensemble, 1), [1, 2, 3, 4]);
    assert_eq!(voters_at(&mut ensemble, 4), [1, 2, 3]);
    ensemble.crash(3);
    ensemble.advance(2_500);
    assert_eq!(ensemble.leader(), 2);
    assert_eq!(voters_at(&mut ensemble, 4), [1, 2, 3, 4]);
}

#[test]
fn snapshots_carry_the_voters() {
    let mut ensemble = Ensemble::started(3, 1);
    add(&mut ensemble, 3, 4).unwrap();
    ensemble.run();
    ensemble.settings.history_bytes = 0;
    for node in 1..=3 {
        ensemble.crash(node);
    }
    ensemble.crash(4);
    for node in 1..=4 {
        ensemble.start(node);
    }
    ensemble.settle();
    let leader = ensemble.leader();
    ensemble.propose(leader, "a");
    ensemble.propose(leader, "b");
    ensemble.run();
    ensemble.start(5);
    ensemble.settle();
    assert!(ensemble.server(5).disk.snapshot.is_some());
    assert_eq!(voters_at(&mut ensemble, 5), [1, 2, 3, 4]);
    ensemble.crash(5);
    ensemble.start(5);
    assert_eq!(
        voters_at(&mut ensemble, 5),
        [1, 2, 3, 4],
        "of its own snapshot"
    );
}

fn with_directory(node: i32, directory: Uuid) -> PeerOptions {
    let voters = Voters::new((1..=3).map(|n| (NodeId(n), voter(n))));
    PeerOptions {
        directory: Some(directory),
        ..PeerOptions::new(NodeId(node), voters)
    }
}

fn with_directories() -> Ensemble {
    let mut ensemble = Ensemble::new(3);
    for node in 1..=3 {
        ensemble.start_with(node, with_directory(node, Ensemble::directory_of(node)));
    }
    ensemble.settle();
    ensemble
}

#[test]
fn the_disks_of_voters_are_recorded_and_no_other_is_admitted() {
    let mut ensemble = with_directories();
    for node in 1..=3 {
        for (of, voter) in ensemble.peer(node).voters().clone().iter() {
            assert_eq!(voter.directory, Some(Ensemble::directory_of(of.0)));
        }
    }
    let wiped = Hello {
        version: PROTOCOL_VERSION,
        cluster_id: None,
        node: NodeId(1),
        directory: Uuid::from_u128(1),
        is_voter: true,
        incarnation: Uuid::nil(),
    };
    let refused = ensemble.peer(2).admit(&wiped).unwrap_err().to_string();
    assert!(refused.contains("was wiped or replaced"), "{refused}");
    // Removed, it may come as an observer, and get its vote back with the new disk.
    remove(&mut ensemble, 3, 1).unwrap();
    ensemble.run();
    assert_eq!(ensemble.peer(2).admit(&wiped), Ok(()));
}

/// The removal is in its log because it came back as an observer: it is not the one that voted, and others, who do not
/// know of the removal, would not have it.
#[test]
fn a_removed_voter_with_another_disk_does_not_see_its_removal_through() {
    for (directory, may_lead) in [
        (Ensemble::directory_of(1), true),
        (Uuid::from_u128(1), false),
    ] {
        let mut ensemble = with_directories();
        ensemble.crash(1);
        ensemble.cut_silently(2, 3);
        remove(&mut ensemble, 3, 1).unwrap();
        let disk = ensemble.server(3).disk.clone();
        ensemble.crash(2);
        ensemble.crash(3);
        ensemble.install(1, disk);
        ensemble.start_with(1, with_directory(1, directory));
        assert_eq!(voters_at(&mut ensemble, 1), [2, 3]);
        let wanted = ensemble.peer(1).election.candidate();
        assert_eq!(wanted.is_some(), may_lead, "{directory}");
    }
}

#[test]
fn an_ensemble_of_one_without_a_directory_proposes_nothing_of_its_own() {
    let mut ensemble = Ensemble::started(1, 0);
    assert_eq!(ensemble.propose(1, "a"), Zxid::new(1, 1));
    let payload = Bytes::from("b");
    assert_eq!(ensemble.peer(1).propose(payload), Ok(Zxid::new(1, 2)));
}

/// 1 added 3 and lost its leadership before 3 heard of it. 3 is in a later round, without a vote as
/// it thinks, and 1 needs it.
#[test]
fn a_voter_that_was_being_added_is_met_in_its_later_round() {
    let mut ensemble = Ensemble::started(1, 1);
    assert_eq!(ensemble.leader(), 1);
    ensemble.cut_silently(1, 2);
    add(&mut ensemble, 1, 2).unwrap();
    for _ in 0..3 {
        ensemble.step(NodeId(2), Input::Disconnected(NodeId(1)));
        ensemble.peer(2).elect();
        ensemble.take_ready(NodeId(2));
    }
    ensemble.crash(1);
    ensemble.start(1);
    ensemble.mend(1, 2);
    ensemble.advance(1_000);
    assert_eq!(ensemble.leader(), 1);
    assert_eq!(voters_at(&mut ensemble, 2), [1, 2]);
}
