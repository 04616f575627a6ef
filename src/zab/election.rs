//! Election: the server with the most of the history leads. Rounds as in fast leader election.
//!
//! Everybody begins for itself and changes its mind for a better vote; a vote that a quorum shares
//! stands for a short while, in case a better one is on its way, and is then decided. A later
//! round makes the votes of an earlier one void. Who hears of a leader with a quorum of voices,
//! its own vote among them, joins it without deciding anything.
//!
//! Nothing here is needed for safety: who is elected by mistake does not get through Discovery.
//! Only the votes of voters count, by the newest configuration of the one who counts; but anybody's
//! vote can change a mind, for the better candidate may be a voter only in a newer configuration. A
//! server that has no vote of its own repeats the best that it hears, for the same reason.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::{NodeId, Zxid};
use crate::zab::message::{Notification, Standing};
use crate::zab::voters::Voters;

/// Ordered as ZAB orders candidates: the epoch first, then the history, then the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vote {
    pub current_epoch: u32,
    pub last_zxid: Zxid,
    pub candidate: NodeId,
}

#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub struct Election {
    round: u64,
    /// What this server would be itself; an observer would not.
    own: Option<Vote>,
    vote: Option<Vote>,
    /// Of this round.
    votes: BTreeMap<NodeId, Vote>,
    /// Servers that are not looking: whom they follow, themselves when they lead.
    settled: BTreeMap<NodeId, Settled>,
}

#[derive(Debug, Clone, Copy)]
struct Settled {
    leader: NodeId,
    /// 0 unless it leads itself and is established.
    epoch: u32,
    round: u64,
}

/// What a notification calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Nothing,
    /// The sender is behind: it has to hear this server's vote, be it again, for it may not have been looking yet
    /// when it came.
    Reply,
    /// This server has changed its vote: everybody has to hear it.
    Changed,
}

/// What the votes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Open,
    /// A quorum is for it; a better one may come.
    Quorum(NodeId),
    /// Nobody is left who could change it.
    Unanimous(NodeId),
    /// Somebody leads already.
    Joined(NodeId),
}

impl Election {
    /// A round of its own, and its own vote.
    pub fn begin(&mut self, me: NodeId, own: Option<Vote>) {
        self.round += 1;
        self.own = own;
        self.vote = own;
        self.votes.clear();
        self.settled.clear();
        self.votes.extend(own.map(|own| (me, own)));
    }

    pub fn round(&self) -> u64 {
        self.round
    }

    /// Whom this server wants.
    pub fn candidate(&self) -> Option<NodeId> {
        self.vote.map(|vote| vote.candidate)
    }

    pub fn notification(&self) -> Notification {
        Notification {
            round: self.round,
            standing: Standing::Looking(self.vote),
        }
    }

    pub fn on_notification(
        &mut self,
        me: NodeId,
        from: NodeId,
        notification: Notification,
    ) -> Outcome {
        let Notification { round, standing } = notification;
        let (leader, epoch) = match standing {
            Standing::Looking(vote) => {
                self.settled.remove(&from);
                return self.on_looking(me, from, round, vote);
            }
            Standing::Following { leader } => (leader, 0),
            Standing::Leading { epoch } => (from, epoch),
        };
        let settled = Settled {
            leader,
            epoch,
            round,
        };
        self.votes.remove(&from);
        self.settled.insert(from, settled);
        Outcome::Nothing
    }

    /// A later round is taken up from anybody, with a vote or without: who counts this server, and is
    /// not counted by it, has to hear from it in its own round.
    fn on_looking(&mut self, me: NodeId, from: NodeId, round: u64, vote: Option<Vote>) -> Outcome {
        if round < self.round {
            return Outcome::Reply;
        }
        let is_new_round = round > self.round;
        let mine = if is_new_round {
            self.round = round;
            self.votes.clear();
            self.own.max(vote)
        } else {
            self.vote.max(vote)
        };
        if let Some(vote) = vote {
            self.votes.insert(from, vote);
        }
        let is_changed = is_new_round || mine != self.vote;
        self.vote = mine;
        if let Some(mine) = mine {
            self.votes.insert(me, mine);
        }
        if is_changed {
            Outcome::Changed
        } else if vote < mine {
            Outcome::Reply
        } else {
            Outcome::Nothing
        }
    }

    /// Its vote is worth nothing any more. Gives whether this server wanted it: then it has to begin
    /// again.
    pub fn on_disconnected(&mut self, node: NodeId) -> bool {
        self.votes.remove(&node);
        self.settled.remove(&node);
        self.vote.is_some_and(|vote| vote.candidate == node)
    }

    /// `has_link` says whom this server can reach.
    pub fn verdict(
        &self,
        me: NodeId,
        voters: &Voters,
        has_link: impl Fn(NodeId) -> bool,
    ) -> Verdict {
        if let Some(leader) = self.established_leader(me, voters, &has_link) {
            return Verdict::Joined(leader);
        }
        let Some(vote) = self.vote else {
            return Verdict::Open;
        };
        if vote.candidate != me && !has_link(vote.candidate) {
            return Verdict::Open;
        }
        let wanted = self.votes.iter().filter(|(_, of)| **of == vote);
        // Who has decided in this round did so by this vote, and has not taken it back.
        let in_this_round = self
            .settled
            .iter()
            .filter(|(_, settled)| settled.leader == vote.candidate && settled.round == self.round);
        let wanted = wanted.map(|(node, _)| *node);
        let supporters: BTreeSet<NodeId> =
            wanted.chain(in_this_round.map(|(node, _)| *node)).collect();
        let supporters = || supporters.iter().copied();
        if !voters.is_quorum(supporters()) {
            Verdict::Open
        } else if supporters().filter(|node| voters.contains(*node)).count() == voters.len() {
            Verdict::Unanimous(vote.candidate)
        } else {
            Verdict::Quorum(vote.candidate)
        }
    }

    /// One that says itself that it leads, with a quorum of voices behind it; this server's, which
    /// is ready to follow, is one. To an observer the leader's own word is enough.
    fn established_leader(
        &self,
        me: NodeId,
        voters: &Voters,
        has_link: impl Fn(NodeId) -> bool,
    ) -> Option<NodeId> {
        let leading = self
            .settled
            .iter()
            .filter(|(node, settled)| settled.leader == **node && **node != me && has_link(**node));
        let joinable = leading.filter(|(leader, _)| {
            let behind = self.settled.iter().filter(|(_, s)| s.leader == **leader);
            let voices = behind.map(|(node, _)| *node).chain([me]);
            !voters.contains(me) || voters.is_quorum(voices)
        });
        let newest = joinable.max_by_key(|(_, settled)| (settled.epoch, settled.round));
        newest.map(|(leader, _)| *leader)
    }

    /// Takes the round of the leader it joins, be it lower: when that leader begins to look again,
    /// its round is above.
    pub fn join(&mut self, leader: NodeId) {
        if let Some(settled) = self.settled.get(&leader) {
            self.round = settled.round;
        }
    }
}

#[cfg(test)]
#[path = "election_tests.rs"]
mod tests;
