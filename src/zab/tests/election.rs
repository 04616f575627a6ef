use super::*;
use crate::state_machine::Tick;
use crate::types::{NodeId, Zxid};
use crate::zab::election::Vote;
use crate::zab::message::{Message, Notification, Standing};

const ELECTION: &[&str] = &["NOTIFICATION", "FOLLOWERINFO", "OBSERVERINFO"];

#[test]
fn two_of_three_agree_on_the_better_one() {
    let mut ensemble = Ensemble::new(3);
    ensemble.install(1, Disk::with(1, 1, &[(1, 1), (1, 2)]));
    ensemble.install(2, Disk::with(1, 1, &[(1, 1)]));
    ensemble.start(1);
    ensemble.start(2);
    ensemble.run();
    assert_eq!(
        ensemble.transcript_of(ELECTION),
        [
            "1→2 NOTIFICATION round 1 votes 1 (1, 1.2)",
            "2→1 NOTIFICATION round 1 votes 2 (1, 1.1)",
            // It may not have been looking when the first came.
            "1→2 NOTIFICATION round 1 votes 1 (1, 1.2)",
            "2→1 NOTIFICATION round 1 votes 1 (1, 1.2)",
        ]
    );
    // A better vote may still come.
    assert_eq!(ensemble.peer(1).phase(), Phase::Election);
    ensemble.advance(20);
    assert_eq!(ensemble.leader(), 1);
    assert_eq!(ensemble.image(), "1.1 1.2");
    let decided = ensemble.transcript_of(ELECTION);
    assert_eq!(decided[0], "1→2 NOTIFICATION leads 0");
    assert!(
        decided.contains(&"2→1 FOLLOWERINFO 1".to_owned()),
        "{decided:?}"
    );
}

#[test]
fn the_epoch_counts_before_the_history() {
    let mut ensemble = Ensemble::new(3);
    ensemble.install(1, Disk::with(3, 3, &[(1, 1)]));
    ensemble.install(2, Disk::with(3, 2, &[(1, 1), (2, 1), (2, 2)]));
    ensemble.install(3, Disk::with(3, 2, &[(1, 1), (2, 1)]));
    for node in 1..=3 {
        ensemble.start(node);
    }
    ensemble.settle();
    assert_eq!(ensemble.leader(), 1);
    assert_eq!(ensemble.image(), "1.1");
}

#[test]
fn a_killed_leader_is_replaced_at_once() {
    let mut ensemble = Ensemble::started(3, 0);
    assert_eq!(ensemble.leader(), 3);
    ensemble.propose(3, "a");
    ensemble.run();
    ensemble.crash(3);
    let killed = ensemble.now;
    ensemble.advance(25);
    assert_eq!(ensemble.leader(), 2);
    ensemble.propose(2, "b");
    ensemble.run();
    assert_eq!(ensemble.image(), "a b");
    assert!(ensemble.now <= Tick(killed.0 + 30));
}

/// 2 has noticed first, and 1 heard of its vote while it still followed.
#[test]
fn a_vote_that_came_before_its_hearer_looked_is_told_again() {
    let mut ensemble = Ensemble::started(3, 0);
    assert_eq!(ensemble.leader(), 3);
    ensemble.cut(2, 3);
    ensemble.run();
    ensemble.crash(3);
    ensemble.advance(25);
    assert_eq!(ensemble.leader(), 2);
}

#[test]
fn who_comes_late_joins_without_an_election() {
    let mut ensemble = Ensemble::new(5);
    for node in 1..=4 {
        ensemble.start(node);
    }
    ensemble.settle();
    let leader = ensemble.leader();
    let before: Vec<u64> = (1..=4)
        .map(|n| ensemble.peer(n).status().elections)
        .collect();
    ensemble.start(5);
    ensemble.run();
    assert_eq!(ensemble.peer(5).leader(), Some(NodeId(leader)));
    assert_eq!(ensemble.peer(5).phase(), Phase::Broadcast);
    let after: Vec<u64> = (1..=4)
        .map(|n| ensemble.peer(n).status().elections)
        .collect();
    assert_eq!(before, after);
}

#[test]
fn a_broken_connection_to_the_leader_costs_one_server_a_moment() {
    let mut ensemble = Ensemble::started(3, 0);
    ensemble.cut(1, 3);
    ensemble.settle();
    assert_eq!(ensemble.peer(1).phase(), Phase::Election);
    assert_eq!(ensemble.leader(), 3);
    ensemble.mend(1, 3);
    ensemble.settle();
    assert_eq!(ensemble.peer(1).leader(), Some(NodeId(3)));
    assert_eq!(ensemble.leader(), 3);
    assert_eq!(ensemble.peer(3).current_epoch(), 1);
}

#[test]
fn a_silent_leader_is_left_and_steps_down_and_comes_back() {
    let mut ensemble = Ensemble::started(3, 0);
    ensemble.cut_silently(1, 3);
    ensemble.cut_silently(2, 3);
    ensemble.advance(1_400);
    assert_eq!(ensemble.leader(), 3, "nobody has noticed");
    ensemble.advance(1_000);
    assert_eq!(ensemble.leader(), 2);
    assert_eq!(ensemble.peer(3).phase(), Phase::Election);
    ensemble.mend(1, 3);
    ensemble.mend(2, 3);
    ensemble.settle();
    assert_eq!(ensemble.leader(), 2);
    assert_eq!(ensemble.peer(3).leader(), Some(NodeId(2)));
}

/// Its followers have left it for another, and it learns so before its own patience ends.
#[test]
fn a_leader_that_hears_of_a_later_one_steps_down() {
    let mut ensemble = Ensemble::started(5, 0);
    assert_eq!(ensemble.leader(), 5);
    for node in 1..=4 {
        ensemble.cut_silently(node, 5);
    }
    ensemble.advance(2_100);
    ensemble.mend(1, 5);
    ensemble.run();
    assert_ne!(ensemble.peer(5).phase(), Phase::Broadcast);
}

#[test]
fn without_a_quorum_there_is_no_leader_and_no_change() {
    let mut ensemble = Ensemble::started(3, 0);
    ensemble.propose(3, "a");
    ensemble.run();
    ensemble.crash(1);
    ensemble.crash(2);
    ensemble.propose(3, "b");
    ensemble.advance(1_900);
    assert_eq!(ensemble.leader(), 3);
    ensemble.advance(200);
    assert_eq!(ensemble.peer(3).phase(), Phase::Election);
    assert_eq!(ensemble.image(), "a");
    let refused = ensemble.peer(3).propose(bytes::Bytes::new());
    assert_eq!(refused, Err(NotLeading));
    ensemble.start(1);
    ensemble.settle();
    assert_eq!(ensemble.leader(), 3);
    assert_eq!(
        ensemble.image(),
        "a b",
        "it had it, and so it is in the new epoch"
    );
}

/// A SIGSTOP of the leader: when it goes on, the answers to its pings are already waiting.
#[test]
fn a_pause_does_not_by_itself_cost_the_leadership() {
    let mut ensemble = Ensemble::started(3, 0);
    ensemble.now = ensemble.now.plus_ms(10_000);
    ensemble.step(NodeId(3), Input::Tick);
    assert_eq!(ensemble.leader(), 3);
    ensemble.advance(3_000);
    assert_eq!(ensemble.leader(), 3);
    assert_eq!(ensemble.peer(3).current_epoch(), 1);
    // Without anybody there it does.
    ensemble.cut_silently(1, 3);
    ensemble.cut_silently(2, 3);
    ensemble.now = ensemble.now.plus_ms(10_000);
    ensemble.step(NodeId(3), Input::Tick);
    assert!(ensemble.peer(3).is_leading());
    ensemble.advance(600);
    assert!(!ensemble.peer(3).is_leading());
}

#[test]
fn observers_elect_nobody() {
    let mut ensemble = Ensemble::new(3);
    for node in [1, 4, 5, 6] {
        ensemble.start(node);
    }
    ensemble.advance(5_000);
    assert_eq!(ensemble.peer(1).phase(), Phase::Election);
    ensemble.start(2);
    ensemble.settle();
    assert_eq!(ensemble.leader(), 2);
    for node in 4..=6 {
        assert_eq!(ensemble.peer(node).leader(), Some(NodeId(2)));
        assert_eq!(ensemble.peer(node).status().role, Role::Observer);
    }
}

/// The candidate everybody agreed on dies before it leads.
#[test]
fn an_elected_server_that_dies_is_not_waited_for() {
    let mut ensemble = Ensemble::new(3);
    for node in 1..=3 {
        ensemble.start(node);
    }
    while ensemble.peer(1).leader().is_none() {
        assert!(ensemble.deliver_one());
    }
    ensemble.crash(3);
    ensemble.advance(50);
    assert_eq!(ensemble.leader(), 2);
}

/// 1 decides for 3 and introduces itself before 3 knows that it is elected.
#[test]
fn an_introduction_that_comes_early_is_kept() {
    let mut ensemble = Ensemble::new(3);
    for node in 1..=3 {
        ensemble.start(node);
    }
    // 3 hears nobody yet.
    while [(1, 2), (2, 1), (3, 1), (3, 2)]
        .iter()
        .any(|(a, b)| ensemble.deliver_from(*a, *b))
    {}
    assert_eq!(ensemble.peer(1).leader(), Some(NodeId(3)));
    assert_eq!(ensemble.peer(3).leader(), None);
    // All that 1 said, the last of which is FOLLOWERINFO; the others' votes after it.
    while ensemble.deliver_from(1, 3) {}
    ensemble.run();
    assert_eq!(ensemble.leader(), 3);
}

/// 3 is gone for good, and each of the others has its vote from the other.
#[test]
fn a_vote_for_one_whom_nobody_can_reach_does_not_go_round_for_ever() {
    let mut ensemble = Ensemble::new(3);
    ensemble.start(1);
    ensemble.start(2);
    for (node, from) in [(1, 2), (2, 1)] {
        let standing = Standing::Looking(Some(Vote {
            current_epoch: 1,
            last_zxid: Zxid::new(1, 2),
            candidate: NodeId(3),
        }));
        let notification = Notification { round: 9, standing };
        let (from, message) = (NodeId(from), Message::Notification(notification));
        ensemble.step(NodeId(node), Input::Message { from, message });
    }
    ensemble.advance(500);
    for node in [1, 2] {
        let wanted = ensemble.peer(node).election.candidate();
        assert_eq!(wanted, Some(NodeId(3)));
    }
    ensemble.advance(1_500);
    assert_eq!(ensemble.leader(), 2);
}
