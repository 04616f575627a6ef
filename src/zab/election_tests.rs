use super::*;

const ME: NodeId = NodeId(1);

fn vote(current_epoch: u32, last: (u32, u32), candidate: i32) -> Vote {
    Vote {
        current_epoch,
        last_zxid: Zxid::new(last.0, last.1),
        candidate: NodeId(candidate),
    }
}

fn three() -> Voters {
    Voters::of([1, 2, 3].map(NodeId))
}

fn election(own: Vote) -> Election {
    let mut election = Election::default();
    election.begin(ME, Some(own));
    election
}

fn hear(election: &mut Election, from: i32, round: u64, standing: Standing) -> Outcome {
    let notification = Notification { round, standing };
    election.on_notification(ME, NodeId(from), notification)
}

fn verdict(election: &Election) -> Verdict {
    election.verdict(ME, &three(), |_| true)
}

#[test]
fn epoch_then_history_then_id() {
    let ordered = [
        vote(1, (1, 9), 3),
        vote(2, (1, 5), 1),
        vote(2, (2, 1), 1),
        vote(2, (2, 1), 2),
    ];
    assert!(ordered.is_sorted());
}

#[test]
fn a_better_vote_changes_ones_mind_and_a_quorum_decides() {
    let mut election = election(vote(0, (0, 0), 1));
    assert_eq!(verdict(&election), Verdict::Open);
    let best = vote(2, (2, 1), 2);
    assert_eq!(
        hear(&mut election, 2, 1, Standing::Looking(Some(best))),
        Outcome::Changed
    );
    assert_eq!(verdict(&election), Verdict::Quorum(NodeId(2)));
    // A worse one does not, and hears of the better; when it comes round, all agree.
    let worse = vote(1, (1, 1), 3);
    assert_eq!(
        hear(&mut election, 3, 1, Standing::Looking(Some(worse))),
        Outcome::Reply
    );
    assert_eq!(verdict(&election), Verdict::Quorum(NodeId(2)));
    hear(&mut election, 3, 1, Standing::Looking(Some(best)));
    assert_eq!(verdict(&election), Verdict::Unanimous(NodeId(2)));
    assert_eq!(
        election.verdict(ME, &three(), |node| node != NodeId(2)),
        Verdict::Open,
        "who cannot be reached cannot be followed"
    );
}

#[test]
fn a_later_round_makes_votes_void_and_an_earlier_one_is_told_so() {
    let mine = vote(1, (1, 5), 1);
    let mut election = election(mine);
    hear(&mut election, 2, 1, Standing::Looking(Some(mine)));
    assert_eq!(verdict(&election), Verdict::Quorum(ME));
    let worse = vote(1, (1, 4), 3);
    assert_eq!(
        hear(&mut election, 3, 4, Standing::Looking(Some(worse))),
        Outcome::Changed
    );
    assert_eq!(
        election.notification(),
        Notification {
            round: 4,
            standing: Standing::Looking(Some(mine))
        }
    );
    assert_eq!(verdict(&election), Verdict::Open);
    assert_eq!(
        hear(&mut election, 2, 1, Standing::Looking(Some(mine))),
        Outcome::Reply
    );
}

#[test]
fn who_has_no_vote_is_not_counted_but_repeats_what_it_hears() {
    let mine = vote(1, (1, 5), 1);
    let mut election = election(mine);
    let outsider = Some(vote(9, (9, 9), 7));
    assert_eq!(
        hear(&mut election, 7, 1, Standing::Looking(outsider)),
        Outcome::Changed,
        "a newer configuration may give it a vote"
    );
    assert_eq!(verdict(&election), Verdict::Open);
    hear(&mut election, 2, 1, Standing::Looking(outsider));
    assert_eq!(verdict(&election), Verdict::Quorum(NodeId(7)));

    let me = NodeId(9);
    let mut observer = Election::default();
    observer.begin(me, None);
    let standing = Standing::Looking(Some(mine));
    let heard = Notification { round: 3, standing };
    let outcome = observer.on_notification(me, NodeId(1), heard);
    assert_eq!(outcome, Outcome::Changed);
    assert_eq!(observer.notification(), heard);
    assert_eq!(observer.verdict(me, &three(), |_| true), Verdict::Open);
    observer.on_notification(me, NodeId(2), heard);
    assert_eq!(
        observer.verdict(me, &three(), |_| true),
        Verdict::Quorum(ME)
    );
}

#[test]
fn an_established_leader_is_joined_with_a_quorum_of_voices() {
    let mut election = election(vote(5, (5, 5), 1));
    election.begin(ME, Some(vote(5, (5, 5), 1)));
    let leader = NodeId(3);
    hear(&mut election, 2, 1, Standing::Following { leader });
    assert_eq!(verdict(&election), Verdict::Open, "hearsay");
    hear(&mut election, 3, 1, Standing::Leading { epoch: 6 });
    assert_eq!(verdict(&election), Verdict::Joined(leader));
    election.join(leader);
    assert_eq!(election.round(), 1);

    // In an ensemble of five the leader and this server are too few.
    let five = Voters::of([1, 2, 3, 4, 5].map(NodeId));
    election.on_disconnected(NodeId(2));
    assert_eq!(election.verdict(ME, &five, |_| true), Verdict::Open);
    hear(&mut election, 4, 1, Standing::Following { leader });
    assert_eq!(
        election.verdict(ME, &five, |_| true),
        Verdict::Joined(leader)
    );
    // It is looking itself by now.
    hear(
        &mut election,
        3,
        2,
        Standing::Looking(Some(vote(5, (5, 5), 3))),
    );
    assert_eq!(election.verdict(ME, &five, |_| true), Verdict::Open);
}

#[test]
fn a_candidate_that_is_gone_is_not_waited_for() {
    let mut election = election(vote(1, (1, 1), 1));
    hear(
        &mut election,
        3,
        1,
        Standing::Looking(Some(vote(2, (2, 2), 3))),
    );
    assert!(!election.on_disconnected(NodeId(2)));
    assert!(election.on_disconnected(NodeId(3)));
}

/// Each of two may be a voter to one of them only: they must come to one round all the same.
#[test]
fn a_later_round_is_taken_up_from_anybody() {
    let mine = vote(1, (1, 5), 1);
    let mut election = election(mine);
    for (from, round) in [(2, 4), (7, 6)] {
        let outcome = hear(&mut election, from, round, Standing::Looking(None));
        assert_eq!(outcome, Outcome::Changed, "a voter, or not, without a vote");
        assert_eq!(election.round(), round);
        let standing = Standing::Looking(Some(mine));
        assert_eq!(election.notification(), Notification { round, standing });
        let again = hear(&mut election, from, round, Standing::Looking(None));
        assert_eq!(again, Outcome::Reply);
    }
}

/// By a smaller configuration, which the others do not have yet, it was elected while they still waited for more
/// votes. That it leads takes nothing away from what they had.
#[test]
fn who_has_decided_in_this_round_still_counts() {
    let four = Voters::of([1, 2, 3, 5].map(NodeId));
    let mut election = election(vote(3, (3, 3), 1));
    let best = vote(3, (3, 7), 2);
    for from in [2, 3] {
        hear(&mut election, from, 1, Standing::Looking(Some(best)));
    }
    let quorum = Verdict::Quorum(NodeId(2));
    assert_eq!(election.verdict(ME, &four, |_| true), quorum);
    hear(&mut election, 2, 1, Standing::Leading { epoch: 0 });
    assert_eq!(election.verdict(ME, &four, |_| true), quorum);
    let leader = NodeId(2);
    hear(&mut election, 3, 1, Standing::Following { leader });
    assert_eq!(
        election.verdict(ME, &three(), |_| true),
        Verdict::Joined(leader)
    );
    // But not who decided in another round.
    hear(&mut election, 3, 1, Standing::Looking(Some(best)));
    hear(&mut election, 2, 0, Standing::Leading { epoch: 0 });
    assert_eq!(election.verdict(ME, &four, |_| true), Verdict::Open);
}
