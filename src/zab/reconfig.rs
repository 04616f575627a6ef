//! Reconfiguration: voters come and go one at a time, while the ensemble runs.
//!
//! A change is proposed only when the one before is committed, by a leader whose whole initial history
//! is (every established one's is). So at any time there are at most two configurations in use, and
//! they differ by one voter.

use crate::types::{NodeId, Zxid};
use crate::zab::message::ProposalKind;
use crate::zab::peer::Peer;
use crate::zab::voters::{MAX_HOST_BYTES, MAX_VOTERS, Voter, Voters};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An observer that is up to date gets a vote.
    Add(NodeId, Voter),
    /// A voter becomes an observer.
    Remove(NodeId),
    /// A voter has moved, or its disk is another one.
    Update(NodeId, Voter),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReconfigError {
    #[error("this server does not lead")]
    NotLeading,
    #[error("the change of the voters before this one is not committed yet")]
    Pending,
    #[error("node {0} is a voter already")]
    AlreadyAVoter(NodeId),
    #[error("node {0} is not a voter")]
    NotAVoter(NodeId),
    #[error("node {0} is the last voter")]
    LastVoter(NodeId),
    #[error("node {0} is not connected, or has not caught up: start it as an observer first")]
    NotUpToDate(NodeId),
    #[error("an ensemble has at most {MAX_VOTERS} voters")]
    TooMany,
    #[error("the host of node {0} is not one")]
    Host(NodeId),
}

impl Peer {
    /// Committed when the zxid is; counts from now on.
    pub fn reconfigure(&mut self, change: Change) -> Result<Zxid, ReconfigError> {
        if !self.is_leading() {
            return Err(ReconfigError::NotLeading);
        }
        if self.has_pending_change() && !mutated!(self, ReconfigWhilePending) {
            return Err(ReconfigError::Pending);
        }
        let voters = self.configurations.newest();
        let changed = match change.clone() {
            Change::Add(node, _) if voters.contains(node) => {
                return Err(ReconfigError::AlreadyAVoter(node));
            }
            Change::Remove(node) | Change::Update(node, _) if !voters.contains(node) => {
                return Err(ReconfigError::NotAVoter(node));
            }
            Change::Add(node, voter) | Change::Update(node, voter) => {
                if voter.host.is_empty() || voter.host.len() > MAX_HOST_BYTES {
                    return Err(ReconfigError::Host(node));
                }
                if !voters.contains(node) && !self.is_learner_up_to_date(node) {
                    // It would only make the quorum larger.
                    return Err(ReconfigError::NotUpToDate(node));
                }
                voters.with(node, voter)
            }
            Change::Remove(node) => voters.without(node),
        };
        if changed.len() > MAX_VOTERS {
            return Err(ReconfigError::TooMany);
        }
        if let (true, Change::Remove(node)) = (changed.is_empty(), &change) {
            return Err(ReconfigError::LastVoter(*node));
        }
        let zxid = self.propose_kind(ProposalKind::Reconfig, changed.encode());
        // With a voter less, what is on the way may have its quorum.
        self.advance_commit();
        self.drain_inbox();
        zxid.map_err(|_| ReconfigError::NotLeading)
    }

    fn has_pending_change(&self) -> bool {
        self.configurations.newest_zxid() > self.committed
    }

    /// What a leader sees to when something is committed, or a learner has come.
    pub(super) fn after_commit(&mut self) {
        if !self.is_leading() || self.has_pending_change() {
            return;
        }
        if self.is_voter() {
            self.record_directories();
        } else {
            // It was removed, and everybody is told.
            self.elect();
        }
    }

    /// With which disk each voter votes: from then on no other is admitted under its id.
    fn record_directories(&mut self) {
        let mut voters = self.configurations.newest().clone();
        let mut is_new = false;
        for (node, voter) in self.configurations.newest().iter() {
            let directory = match voter.directory {
                Some(_) => None,
                None if node == self.id => self.directory,
                None => {
                    let learner = self.learner(node).filter(|l| l.is_up_to_date());
                    learner.and_then(|learner| learner.info.directory)
                }
            };
            if let Some(directory) = directory {
                voters = voters.with(node, voter.clone().with_directory(directory));
                is_new = true;
            }
        }
        if is_new {
            // A counter that is used up ends the leadership; the next one sees to it.
            let _ = self.propose_kind(ProposalKind::Reconfig, voters.encode());
        }
    }

    /// By which elections and quorums go.
    pub(super) fn counting_voters(&self) -> &Voters {
        if mutated!(self, ReconfigAtCommit) {
            return self.configurations.at(self.committed);
        }
        self.configurations.newest()
    }

    pub(super) fn is_quorum(&self, nodes: impl IntoIterator<Item = NodeId>) -> bool {
        let voters = self.counting_voters();
        #[cfg(test)]
        if let Some(needed) = self.needed_by_mutation() {
            let is_counted =
                |node: &NodeId| mutated!(self, ObserversCounted) || voters.contains(*node);
            return nodes.into_iter().filter(is_counted).count() >= needed;
        }
        voters.is_quorum(nodes)
    }

    #[cfg(test)]
    pub(super) fn needed_by_mutation(&self) -> Option<usize> {
        use crate::zab::mutation::Mutation;
        let voters = self.counting_voters();
        match self.mutation {
            Mutation::QuorumOffByOne => Some(voters.len().div_ceil(2)),
            Mutation::ObserversCounted => Some(voters.majority()),
            _ => None,
        }
    }
}
