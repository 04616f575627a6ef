//! The bugs of FACTS.md, by name: what each needs in order to happen, and what happens here.

use super::*;
use super::{broadcast, reconfiguration, synchronization};
use crate::types::{NodeId, Zxid};
use crate::zab::mutation::Mutation;

/// A retained in-memory history makes logs diverge: after TRUNC the memory is as short as the disk, and
/// so is the vote.
#[test]
fn zookeeper_2845_memory_follows_the_disk() {
    let mut ensemble = Ensemble::new(3);
    ensemble.install(1, Disk::with(1, 1, &[(1, 1), (1, 2)]));
    ensemble.install(2, Disk::with(2, 2, &[(1, 1)]));
    ensemble.start(2);
    ensemble.start(1);
    ensemble.settle();
    assert_eq!(ensemble.leader(), 2);
    assert_eq!(ensemble.server(1).disk.history(), "1.1");
    // An election without a restart.
    ensemble.transcript.clear();
    ensemble.cut(1, 2);
    ensemble.advance(2_500);
    ensemble.mend(1, 2);
    ensemble.settle();
    let lines = ensemble.transcript();
    let voted = "1→2 NOTIFICATION round 3 votes 1 (3, 1.1)";
    assert!(
        lines.iter().any(|line| line.contains("votes 1 (3, 1.1)")),
        "{voted}: {lines:?}"
    );
    assert_eq!(ensemble.image(), "1.1");
}

/// NEWLEADER is acknowledged when history and currentEpoch are durable, and not before.
#[test]
fn zookeeper_3911_3023_4785_new_leader_waits_for_the_history() {
    let mut ensemble = Ensemble::new(3);
    ensemble.install(2, Disk::with(1, 1, &[(1, 1), (1, 2)]));
    ensemble.install(3, Disk::with(1, 1, &[(1, 1)]));
    ensemble.start(2);
    ensemble.start(3);
    ensemble.stall(3);
    ensemble.advance(50);
    ensemble.write_some(3); // acceptedEpoch
    ensemble.run();
    let acks = |ensemble: &mut Ensemble| ensemble.transcript_of(&["ACK", "UPTODATE"]);
    assert_eq!(acks(&mut ensemble), [""; 0]);
    ensemble.write_some(3); // the history
    ensemble.run();
    assert_eq!(acks(&mut ensemble), [""; 0]);
    ensemble.write_some(3); // currentEpoch
    ensemble.run();
    assert_eq!(acks(&mut ensemble), ["3→2 ACK 2.0", "2→3 UPTODATE 1.2"]);
}

/// The epoch is not persisted before the transactions: a crash between them leaves the old epoch.
#[test]
fn zookeeper_4643_the_history_comes_before_the_epoch() {
    let mut ensemble = Ensemble::new(3);
    ensemble.install(2, Disk::with(1, 1, &[(1, 1), (1, 2)]));
    ensemble.start(2);
    ensemble.start(3);
    ensemble.stall(3);
    ensemble.advance(50);
    let mut seen = Vec::new();
    for _ in 0..4 {
        ensemble.write_some(3);
        ensemble.run();
        let disk = &ensemble.server(3).disk;
        seen.push((disk.current_epoch, disk.history()));
    }
    let with_epoch: Vec<_> = seen.iter().filter(|(epoch, _)| *epoch > 0).collect();
    assert!(!with_epoch.is_empty(), "{seen:?}");
    assert!(with_epoch.iter().all(|(_, h)| h == "1.1 1.2"), "{seen:?}");
}

/// A proposal is not acknowledged before it is on disk.
#[test]
fn zookeeper_4646_an_ack_is_a_promise_about_the_disk() {
    let mut ensemble = Ensemble::started(3, 0);
    ensemble.stall(1);
    ensemble.transcript.clear();
    ensemble.propose(3, "a");
    ensemble.run();
    let lines = ensemble.transcript_of(&["ACK"]);
    assert_eq!(lines, ["2→3 ACK 1.1"]);
    ensemble.crash(1);
    assert_eq!(ensemble.server(1).disk.history(), "");
}

/// An acknowledgement that comes early, or for something else, does not shut a new leader down.
#[test]
fn zookeeper_4685_an_early_ack_harms_nobody() {
    let mut ensemble = Ensemble::new(3);
    for node in 1..=3 {
        ensemble.start(node);
    }
    while ensemble.peer(3).phase() != Phase::Synchronization {
        if !ensemble.deliver_one() {
            ensemble.advance(1);
        }
    }
    for zxid in [Zxid::new(1, 1), Zxid::new(0, 7), Zxid::ZERO] {
        let (from, message) = (NodeId(1), Message::Ack(zxid));
        let now = ensemble.now;
        ensemble.peer(3).step(Input::Message { from, message }, now);
    }
    let events = ensemble.peer(3).ready().events;
    assert!(events.iter().any(|e| matches!(e, Event::Violation { .. })));
    assert!(
        !ensemble.peer(3).is_leading(),
        "and it makes no quorum either"
    );
    ensemble.cut(1, 3);
    ensemble.mend(1, 3);
    ensemble.settle();
    assert_eq!(ensemble.leader(), 3);
}

/// What is proposed while a learner joins is in its log, without a hole, after a restart.
#[test]
fn zookeeper_4925_no_holes_in_the_log_of_who_joins() {
    let mut ensemble = Ensemble::started(2, 0);
    let leader = ensemble.leader();
    ensemble.propose(leader, "a");
    ensemble.run();
    ensemble.start(3);
    while !ensemble
        .transcript
        .iter()
        .any(|line| line.ends_with("→3 NEWLEADER 1"))
    {
        assert!(ensemble.deliver_one());
    }
    ensemble.propose(leader, "b");
    ensemble.propose(leader, "c");
    ensemble.run();
    ensemble.propose(leader, "d");
    ensemble.run();
    ensemble.crash(3);
    assert_eq!(ensemble.server(3).disk.history(), "1.1 1.2 1.3 1.4");
}

/// The counter does not run into the epoch.
#[test]
fn zookeeper_1277_a_full_counter_ends_the_epoch() {
    let mut ensemble = Ensemble::new(3);
    ensemble.settings.last_counter = 2;
    for node in 1..=3 {
        ensemble.start(node);
    }
    ensemble.settle();
    ensemble.propose(3, "a");
    ensemble.propose(3, "b");
    let refused = ensemble.peer(3).propose("c".into());
    assert_eq!(refused, Err(NotLeading));
    ensemble.take_ready(NodeId(3));
    ensemble.settle();
    let leader = ensemble.leader();
    assert_eq!(ensemble.propose(leader, "c"), Zxid::new(2, 1));
    ensemble.run();
    assert_eq!(ensemble.image(), "a b c");
}

/// Even with the largest counter there is.
#[test]
fn zookeeper_1277_at_the_very_end() {
    let last = Zxid::new(1, u32::MAX);
    let mut disk = Disk::with(1, 1, &[]);
    disk.snapshot = Some(Snapshot {
        zxid: Zxid(last.0 - 1),
        voters: Voters::of([NodeId(1)]),
        body: bytes::Bytes::new(),
    });
    disk.log = vec![proposal(1, u32::MAX)];
    let mut ensemble = Ensemble::new(1);
    ensemble.install(1, disk);
    ensemble.start(1);
    ensemble.settle();
    assert_eq!(ensemble.propose(1, "a"), Zxid::new(2, 1));
}

/// Up to where it has been sent NEWLEADER, of epoch 1, and has not acknowledged it.
fn start_until_new_leader(ensemble: &mut Ensemble, node: i32) {
    ensemble.start(node);
    ensemble.stall(node);
    let sent = format!("→{node} NEWLEADER 1");
    while !ensemble.transcript.iter().any(|line| line.ends_with(&sent)) {
        if !ensemble.deliver_one() {
            ensemble.write_some(node);
        }
    }
}

/// The notes of ZooKeeper's specification: PROPOSE goes to everyone who acknowledged the epoch.
#[test]
fn a_proposal_goes_to_those_who_are_not_up_to_date_yet() {
    let mut ensemble = Ensemble::started(2, 0);
    let leader = ensemble.leader();
    start_until_new_leader(&mut ensemble, 3);
    ensemble.propose(leader, "a");
    assert_eq!(ensemble.queue(leader, 3), ["PROPOSE 1.1"]);
}

/// And a duplicate PROPOSE is tolerated.
#[test]
fn a_proposal_that_comes_twice_is_taken_once() {
    let mut ensemble = Ensemble::started(3, 0);
    ensemble.propose(3, "a");
    ensemble.run();
    let again = Message::Propose(Proposal::data(Zxid::new(1, 1), "a"));
    let from = NodeId(3);
    ensemble.step(
        NodeId(1),
        Input::Message {
            from,
            message: again,
        },
    );
    ensemble.propose(3, "b");
    ensemble.run();
    assert_eq!(ensemble.server(1).disk.history(), "1.1 1.2");
    assert_eq!(ensemble.image(), "a b");
}

/// And UPTODATE carries the leader's latest commit.
#[test]
fn up_to_date_carries_what_is_committed_by_then() {
    let mut ensemble = Ensemble::started(2, 0);
    let leader = ensemble.leader();
    start_until_new_leader(&mut ensemble, 3);
    ensemble.propose(leader, "a");
    ensemble.run();
    ensemble.transcript.clear();
    ensemble.unstall(3);
    ensemble.run();
    let lines = ensemble.transcript_of(&["UPTODATE", "COMMIT"]);
    assert_eq!(lines, [format!("{leader}→3 UPTODATE 1.1")]);
    assert_eq!(ensemble.image(), "a");
}

/// An acknowledgement that waits for the disk dies with the attempt it belongs to.
#[test]
fn an_ack_for_an_earlier_leader_never_reaches_a_later_one() {
    let mut ensemble = Ensemble::started(3, 0);
    ensemble.stall(1);
    ensemble.propose(3, "a");
    ensemble.run();
    ensemble.cut(1, 3);
    ensemble.mend(1, 3);
    ensemble.transcript.clear();
    ensemble.unstall(1);
    ensemble.settle();
    let lines = ensemble.transcript_of(&["ACK", "ACKEPOCH"]);
    let of_one: Vec<_> = lines.iter().filter(|l| l.starts_with("1→3")).collect();
    assert!(of_one[0].contains("ACKEPOCH"), "{of_one:?}");
}

/// ACKEPOCH is a promise about the disk, too.
#[test]
fn an_epoch_is_acknowledged_when_it_is_accepted_durably() {
    let mut ensemble = Ensemble::new(3);
    ensemble.start(2);
    ensemble.start(3);
    ensemble.stall(2);
    ensemble.advance(50);
    assert_eq!(ensemble.transcript_of(&["ACKEPOCH"]), [""; 0]);
    ensemble.unstall(2);
    ensemble.run();
    assert_eq!(
        ensemble.transcript_of(&["ACKEPOCH"]),
        ["2→3 ACKEPOCH (0, 0.0)"]
    );
}

/// Each scenario fails when the machine is broken in the way it is about.
#[test]
fn the_scenarios_see_what_they_are_about() {
    use Mutation as M;
    let scenarios: [(M, fn()); 21] = [
        (
            M::TruncatedOnDiskOnly,
            zookeeper_2845_memory_follows_the_disk,
        ),
        (
            M::NewLeaderAckedEarly,
            zookeeper_3911_3023_4785_new_leader_waits_for_the_history,
        ),
        (
            M::EpochBeforeHistory,
            zookeeper_4643_the_history_comes_before_the_epoch,
        ),
        (
            M::AckBeforeWrite,
            zookeeper_4646_an_ack_is_a_promise_about_the_disk,
        ),
        (
            M::EarlyAckCounts,
            synchronization::a_learner_that_lags_gets_a_diff,
        ),
        (
            M::HolesOnJoining,
            zookeeper_4925_no_holes_in_the_log_of_who_joins,
        ),
        (
            M::CounterOverflow,
            zookeeper_1277_a_full_counter_ends_the_epoch,
        ),
        (
            M::ProposeToUpToDateOnly,
            a_proposal_goes_to_those_who_are_not_up_to_date_yet,
        ),
        (
            M::DuplicateProposeTaken,
            a_proposal_that_comes_twice_is_taken_once,
        ),
        (
            M::UpToDateCarriesOldCommit,
            up_to_date_carries_what_is_committed_by_then,
        ),
        (
            M::QuorumOffByOne,
            reconfiguration::a_configuration_counts_from_its_append,
        ),
        (M::ObserversCounted, broadcast::an_observer_is_not_counted),
        (
            M::TruncationSkipped,
            synchronization::what_only_the_old_leader_had_is_cut_off_and_never_comes_back,
        ),
        (
            M::ReconfigAtCommit,
            reconfiguration::a_configuration_counts_from_its_append,
        ),
        (
            M::ReconfigWhilePending,
            reconfiguration::one_change_at_a_time_and_only_what_makes_sense,
        ),
        (
            M::EpochPromisedTwice,
            synchronization::an_epoch_promised_to_one_leader_does_not_count_for_another,
        ),
        (
            M::BetterHistoryIgnored,
            synchronization::a_prospective_leader_gives_up_before_a_better_history,
        ),
        (
            M::AckEpochEarly,
            an_epoch_is_acknowledged_when_it_is_accepted_durably,
        ),
        (
            M::StaleAckSent,
            an_ack_for_an_earlier_leader_never_reaches_a_later_one,
        ),
        (
            M::SyncUnconfirmed,
            broadcast::a_deposed_leader_answers_no_sync,
        ),
        (
            M::DeliverBeforeDurable,
            broadcast::nothing_is_acknowledged_before_it_is_durable,
        ),
    ];
    for (mutation, scenario) in scenarios {
        BROKEN.set(mutation);
        let outcome = std::panic::catch_unwind(scenario);
        BROKEN.set(Mutation::None);
        assert!(outcome.is_err(), "nobody noticed {mutation:?}");
    }
    assert_eq!(scenarios.map(|(mutation, _)| mutation), Mutation::ALL);
}

/// A leader whose own disk is the last to have its history leads when it has: before, it would decide upon less than it
/// has.
#[test]
fn a_leader_has_delivered_its_history_before_it_leads() {
    let mut ensemble = Ensemble::started(5, 0);
    ensemble.stall(4);
    ensemble.propose(5, "a");
    ensemble.run();
    ensemble.crash(5);
    ensemble.advance(100);
    assert_eq!(ensemble.server(4).image.join(" "), "");
    let acked = ensemble.transcript_of(&["ACK"]);
    let acked = acked.iter().filter(|line| line.ends_with("→4 ACK 2.0"));
    assert_eq!(acked.count(), 3, "the others have all of it");
    assert!(!ensemble.peer(4).is_leading());
    ensemble.unstall(4);
    ensemble.run();
    assert_eq!((ensemble.leader(), ensemble.image()), (4, "a".to_owned()));
}

/// Whoever asked and has begun anew since hears SYNCED never, or it would take it for a breach.
#[test]
fn synced_goes_to_nobody_who_is_not_up_to_date_any_more() {
    let mut ensemble = Ensemble::started(3, 0);
    ensemble.peer(2).sync(9).unwrap();
    ensemble.take_ready(NodeId(2));
    ensemble.deliver_from(2, 3);
    assert_eq!(ensemble.queue(3, 2), ["PING 1 0.0"]);
    // 2 has heard nothing for too long, looks for a leader and finds the same over the same connection.
    for _ in 0..25 {
        ensemble.now = ensemble.now.plus_ms(100);
        ensemble.step(NodeId(2), Input::Tick);
    }
    while ensemble.queue(3, 2) != ["LEADERINFO 1"] {
        assert!(ensemble.deliver_from(2, 3) || ensemble.deliver_from(3, 2));
    }
    // Only now 1 confirms that 3 leads.
    assert_eq!(ensemble.queue(3, 1), ["PING 1 0.0"]);
    ensemble.deliver_from(3, 1);
    while ensemble.deliver_from(1, 3) {}
    assert_eq!(ensemble.queue(3, 2), ["LEADERINFO 1"]);
    ensemble.run();
    assert_eq!(ensemble.server(2).synced, []);
    ensemble.peer(2).sync(10).unwrap();
    ensemble.take_ready(NodeId(2));
    ensemble.run();
    assert_eq!(ensemble.server(2).synced, [(10, Zxid::ZERO)]);
}
