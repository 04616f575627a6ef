use bytes::Bytes;

use super::*;
use crate::types::{NodeId, Zxid};

const BROADCAST: &[&str] = &["PROPOSE", "ACK", "COMMIT", "INFORM"];

#[test]
fn a_proposal_commits_at_a_quorum_and_observers_are_informed() {
    let mut ensemble = Ensemble::started(3, 1);
    ensemble.transcript.clear();
    ensemble.propose(3, "a");
    ensemble.run();
    assert_eq!(
        ensemble.transcript_of(BROADCAST),
        [
            "3→1 PROPOSE 1.1",
            "1→3 ACK 1.1",
            "3→1 COMMIT 1.1",
            "3→2 PROPOSE 1.1",
            "2→3 ACK 1.1",
            "3→2 COMMIT 1.1",
            "3→4 INFORM 1.1",
        ]
    );
    assert_eq!(ensemble.image(), "a");
    assert_eq!(ensemble.server(4).disk.history(), "1.1");
}

#[test]
fn proposals_are_pipelined_and_share_a_flush() {
    let mut ensemble = Ensemble::started(3, 0);
    ensemble.transcript.clear();
    for node in 1..=3 {
        ensemble.stall(node);
    }
    for payload in ["a", "b", "c"] {
        let payload = Bytes::from(payload);
        ensemble.peer(3).propose(payload).unwrap();
    }
    // One `ready` for all.
    ensemble.take_ready(NodeId(3));
    ensemble.run();
    assert_eq!(
        ensemble.transcript().len(),
        6,
        "PROPOSE does not wait for anything"
    );
    for node in 1..=3 {
        ensemble.unstall(node);
    }
    ensemble.run();
    assert_eq!(ensemble.image(), "a b c");
}

#[test]
pub(super) fn nothing_is_acknowledged_before_it_is_durable() {
    let mut ensemble = Ensemble::started(3, 0);
    ensemble.stall(1);
    ensemble.stall(2);
    ensemble.transcript.clear();
    ensemble.propose(3, "a");
    ensemble.run();
    assert_eq!(
        ensemble.transcript(),
        ["3→1 PROPOSE 1.1", "3→2 PROPOSE 1.1"]
    );
    assert_eq!(ensemble.image(), "");
    ensemble.unstall(2);
    ensemble.run();
    assert_eq!(
        ensemble.transcript_of(BROADCAST),
        ["2→3 ACK 1.1", "3→1 COMMIT 1.1", "3→2 COMMIT 1.1"]
    );
    // 1 knows that it is committed, and applies what is on its own disk.
    assert_eq!(ensemble.server(1).image.join(" "), "");
    ensemble.unstall(1);
    ensemble.run();
    assert_eq!(ensemble.image(), "a");
}

#[test]
fn a_slow_disk_of_the_leader_holds_up_nobody_else() {
    let mut ensemble = Ensemble::started(3, 0);
    ensemble.stall(3);
    ensemble.propose(3, "a");
    ensemble.propose(3, "b");
    ensemble.advance(10_000);
    assert_eq!(ensemble.leader(), 3, "its disk is not its voice");
    assert_eq!(ensemble.server(1).image.join(" "), "a b");
    assert_eq!(ensemble.server(3).image.join(" "), "");
    ensemble.unstall(3);
    ensemble.run();
    assert_eq!(ensemble.image(), "a b");
}

#[test]
fn a_minority_that_is_gone_stops_nothing() {
    let mut ensemble = Ensemble::started(5, 0);
    ensemble.crash(1);
    ensemble.crash(2);
    ensemble.propose(5, "a");
    ensemble.run();
    assert_eq!(ensemble.image(), "a");
    ensemble.start(1);
    ensemble.start(2);
    ensemble.settle();
    assert_eq!(ensemble.image(), "a");
}

#[test]
pub(super) fn an_observer_is_not_counted() {
    let mut ensemble = Ensemble::started(3, 2);
    ensemble.stall(1);
    ensemble.stall(2);
    ensemble.propose(3, "a");
    ensemble.run();
    assert_eq!(ensemble.image(), "");
}

#[test]
fn pings_carry_what_is_committed_and_bring_back_what_is_durable() {
    let mut ensemble = Ensemble::started(3, 0);
    ensemble.propose(3, "a");
    ensemble.run();
    ensemble.transcript.clear();
    ensemble.advance(500);
    let pings: Vec<_> = std::mem::take(&mut ensemble.transcript);
    let of_one = |line: &&String| line.starts_with("3→1") || line.starts_with("1→3");
    let of_one: Vec<_> = pings.iter().filter(of_one).collect();
    assert!(of_one[0].starts_with("3→1 PING") && of_one[0].ends_with(" 1.1"));
    assert!(of_one[1].starts_with("1→3 PONG") && of_one[1].ends_with(" 1.1"));
    let status = ensemble.peer(3).status();
    assert_eq!(status.learners.len(), 2);
    assert!(
        status
            .learners
            .iter()
            .all(|l| l.acked == Zxid::new(1, 1) && l.is_up_to_date)
    );
}

#[test]
fn requests_go_to_the_leader_and_answers_come_back() {
    let mut ensemble = Ensemble::started(3, 1);
    for node in [1, 3, 4] {
        let payload = Bytes::from(format!("of {node}"));
        ensemble
            .peer(node)
            .request(70 + node as u64, payload)
            .unwrap();
        ensemble.take_ready(NodeId(node));
    }
    ensemble.run();
    let requests = std::mem::take(&mut ensemble.server(3).ready.requests);
    assert_eq!(requests.len(), 3);
    for request in requests {
        let zxid = ensemble.propose(3, "p");
        let answer = Bytes::from("done");
        ensemble
            .peer(3)
            .answer(request.from, request.seq, zxid, answer);
        ensemble.take_ready(NodeId(3));
    }
    ensemble.run();
    for node in [1, 3, 4] {
        let answers = &ensemble.server(node).ready.answers;
        assert_eq!(answers.len(), 1, "{node}");
        assert_eq!(answers[0].seq, 70 + node as u64);
    }
    ensemble.crash(1);
    ensemble.crash(2);
    ensemble.advance(2_100);
    let refused = ensemble.peer(3).request(1, Bytes::new());
    assert_eq!(refused, Err(NoLeader));
}

#[test]
fn sync_says_how_far_to_come() {
    let mut ensemble = Ensemble::started(3, 1);
    ensemble.propose(3, "a");
    ensemble.run();
    for node in [1, 3, 4] {
        ensemble.peer(node).sync(9).unwrap();
        ensemble.take_ready(NodeId(node));
    }
    ensemble.run();
    for node in [1, 3, 4] {
        assert_eq!(
            ensemble.server(node).synced,
            [(9, Zxid::new(1, 1))],
            "{node}"
        );
    }
}

/// 3 was left by everybody and does not know it yet.
#[test]
pub(super) fn a_deposed_leader_answers_no_sync() {
    let mut ensemble = Ensemble::started(3, 1);
    ensemble.cut_silently(1, 3);
    ensemble.cut_silently(2, 3);
    // The others notice first.
    for node in [1, 2] {
        ensemble.step(NodeId(node), Input::Disconnected(NodeId(3)));
    }
    ensemble.settle();
    assert!(ensemble.peer(2).is_leading() && ensemble.peer(3).is_leading());
    ensemble.propose(2, "new");
    for node in [3, 4] {
        let seq = ensemble.peer(node).sync(1);
        if node == 3 {
            seq.unwrap();
        }
        ensemble.take_ready(NodeId(node));
    }
    ensemble.advance(1_000);
    assert_eq!(ensemble.server(3).synced, []);
}

#[test]
fn sessions_end_at_once_with_a_connection_and_by_timeout_with_silence() {
    let mut ensemble = Ensemble::started(3, 1);
    let connected = Event::LearnerConnected;
    let events = std::mem::take(&mut ensemble.server(3).events);
    for node in [1, 2, 4] {
        assert!(events.contains(&connected(NodeId(node))), "{events:?}");
    }
    ensemble.crash(4);
    let events = std::mem::take(&mut ensemble.server(3).events);
    assert_eq!(events, [Event::LearnerClosed(NodeId(4))]);

    ensemble.cut_silently(1, 3);
    ensemble.advance(1_400);
    assert_eq!(ensemble.server(3).events, []);
    ensemble.advance(1_000);
    let events = std::mem::take(&mut ensemble.server(3).events);
    assert_eq!(events, [Event::LearnerSilent(NodeId(1))]);
    ensemble.mend(1, 3);
    ensemble.settle();
    let events = std::mem::take(&mut ensemble.server(3).events);
    assert!(events.contains(&connected(NodeId(1))), "{events:?}");
}

#[test]
fn a_learner_that_is_heard_again_has_its_session_back() {
    let mut ensemble = Ensemble::started(3, 0);
    ensemble.settings.session_timeout_ms = 300;
    for node in 1..=3 {
        ensemble.crash(node);
    }
    for node in 1..=3 {
        ensemble.start(node);
    }
    ensemble.settle();
    ensemble.server(3).events.clear();
    // Pings come twice a second: each time it was silent, and is heard again.
    ensemble.advance(600);
    let events = std::mem::take(&mut ensemble.server(3).events);
    let of_one: Vec<_> = events
        .into_iter()
        .filter(|event| {
            [
                Event::LearnerSilent(NodeId(1)),
                Event::LearnerConnected(NodeId(1)),
            ]
            .contains(event)
        })
        .collect();
    assert_eq!(
        of_one,
        [
            Event::LearnerSilent(NodeId(1)),
            Event::LearnerConnected(NodeId(1))
        ]
    );
}
