//! What a peer says of itself, for metrics, `dohle status` and DescribeQuorum.

use crate::state_machine::Tick;
use crate::types::{NodeId, Zxid};
use crate::zab::peer::{Peer, Phase, Role as PeerRole};
use crate::zab::voters::Voters;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Leader,
    Follower,
    /// Without a vote, whether it follows or looks.
    Observer,
    /// Has a vote and knows no leader.
    Looking,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub node: NodeId,
    pub phase: Phase,
    pub role: Role,
    pub leader: Option<NodeId>,
    /// Whose initial history is here whole.
    pub current_epoch: u32,
    pub accepted_epoch: u32,
    /// The last proposal in the log.
    pub last_zxid: Zxid,
    pub durable: Zxid,
    /// As far as is known here.
    pub committed: Zxid,
    pub applied: Zxid,
    /// Elections begun since the start.
    pub elections: u64,
    pub voters: Voters,
    /// Of a leader only, itself apart.
    pub learners: Vec<LearnerStatus>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LearnerStatus {
    pub node: NodeId,
    pub is_voter: bool,
    pub is_up_to_date: bool,
    /// What is durable there.
    pub acked: Zxid,
    pub last_contact: Tick,
}

impl Peer {
    pub fn status(&self) -> Status {
        let role = match &self.role {
            PeerRole::Leading(_) => Role::Leader,
            _ if !self.is_voter() => Role::Observer,
            PeerRole::Following(_) => Role::Follower,
            PeerRole::Looking(_) => Role::Looking,
        };
        let learners = match &self.role {
            PeerRole::Leading(leading) => leading
                .learners
                .iter()
                .map(|(node, learner)| {
                    let acked = leading.acks.get(node).copied().unwrap_or_default();
                    LearnerStatus {
                        node: *node,
                        is_voter: self.voters().contains(*node),
                        is_up_to_date: learner.is_up_to_date(),
                        acked: acked.max(learner.durable),
                        last_contact: learner.last_heard,
                    }
                })
                .collect(),
            _ => Vec::new(),
        };
        Status {
            node: self.id,
            phase: self.phase(),
            role,
            leader: self.leader(),
            current_epoch: self.epochs.current,
            accepted_epoch: self.epochs.accepted,
            last_zxid: self.history.last(),
            durable: self.disk.durable(),
            committed: self.committed,
            applied: self.history.delivered(),
            elections: self.elections,
            voters: self.voters().clone(),
            learners,
        }
    }
}
