//! What a leader knows: who answered its epoch, who has its history, how far each has come.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::types::{NodeId, Zxid};
use crate::zab::message::{Message, Proposal};
use crate::zab::quorum::Voters;

#[derive(Debug, Default)]
pub struct Leader {
    /// 0 until a quorum said which epochs it knows.
    epoch: u32,
    /// Discovery: the last accepted epochs.
    infos: BTreeMap<NodeId, u32>,
    /// Discovery: who accepted this epoch.
    epoch_acks: BTreeSet<NodeId>,
    /// Synchronization: who has the initial history.
    history_acks: BTreeSet<NodeId>,
    established: bool,
    /// The last zxid given to a proposal.
    last: Zxid,
    acks: BTreeMap<NodeId, Zxid>,
    committed: Zxid,
}

/// What all who are to follow get to hear next.
pub type ToAll = Option<Message>;

impl Leader {
    pub fn is_established(&self) -> bool {
        self.established
    }

    /// The new epoch is above any that a quorum knows, so no older leader can have one.
    pub fn on_follower_info(&mut self, from: NodeId, accepted: u32, voters: &Voters) -> ToAll {
        self.infos.insert(from, accepted);
        if self.epoch != 0 || !voters.is_quorum(self.infos.keys().copied()) {
            return None;
        }
        let newest = self.infos.values().copied().max().unwrap_or(0);
        assert!(newest < u32::MAX, "all epochs are used up");
        self.epoch = newest + 1;
        self.last = Zxid::new(self.epoch, 0);
        Some(Message::LeaderInfo { epoch: self.epoch })
    }

    pub fn on_ack_epoch(&mut self, from: NodeId, voters: &Voters) -> ToAll {
        self.epoch_acks.insert(from);
        let enough = voters.is_quorum(self.epoch_acks.iter().copied());
        (enough && self.history_acks.is_empty()).then_some(Message::NewLeader { epoch: self.epoch })
    }

    pub fn on_ack(&mut self, from: NodeId, zxid: Zxid, voters: &Voters) -> ToAll {
        if zxid.epoch() != self.epoch {
            // It belongs to a leadership that is over.
            return None;
        }
        if zxid.counter() == 0 {
            self.history_acks.insert(from);
            let enough = voters.is_quorum(self.history_acks.iter().copied());
            if self.established || !enough {
                return None;
            }
            self.established = true;
            return Some(Message::UpToDate);
        }
        self.acks.insert(from, zxid);
        let acknowledged = voters.acknowledged(&self.acks);
        if acknowledged <= self.committed {
            return None;
        }
        self.committed = acknowledged;
        Some(Message::Commit(acknowledged))
    }

    /// `None` when the epoch has no counter left: only an election gives new ones.
    pub fn propose(&mut self, payload: Bytes) -> Option<Proposal> {
        let counter = self.last.counter().checked_add(1)?;
        self.last = Zxid::new(self.epoch, counter);
        Some(Proposal {
            zxid: self.last,
            payload,
        })
    }

    #[cfg(test)]
    pub(super) fn use_up_counters_but(&mut self, left: u32) {
        self.last = Zxid::new(self.epoch, u32::MAX - left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_needs_a_quorum() {
        let voters = Voters::new([1, 2, 3].map(NodeId));
        let mut leader = Leader::default();
        assert_eq!(leader.on_follower_info(NodeId(1), 4, &voters), None);
        let info = leader.on_follower_info(NodeId(2), 7, &voters);
        assert_eq!(info, Some(Message::LeaderInfo { epoch: 8 }));
        // One who comes late does not move the epoch.
        assert_eq!(leader.on_follower_info(NodeId(3), 30, &voters), None);

        assert_eq!(leader.on_ack_epoch(NodeId(1), &voters), None);
        let new_leader = leader.on_ack_epoch(NodeId(2), &voters);
        assert_eq!(new_leader, Some(Message::NewLeader { epoch: 8 }));

        assert_eq!(leader.on_ack(NodeId(1), Zxid::new(8, 0), &voters), None);
        assert!(!leader.is_established());
        let up = leader.on_ack(NodeId(3), Zxid::new(8, 0), &voters);
        assert_eq!(up, Some(Message::UpToDate));
        assert!(leader.is_established());

        let first = leader.propose(Bytes::new()).unwrap().zxid;
        let second = leader.propose(Bytes::new()).unwrap().zxid;
        assert_eq!((first, second), (Zxid::new(8, 1), Zxid::new(8, 2)));
        assert_eq!(leader.on_ack(NodeId(1), second, &voters), None);
        assert_eq!(
            leader.on_ack(NodeId(2), first, &voters),
            Some(Message::Commit(first))
        );
        assert_eq!(leader.on_ack(NodeId(3), first, &voters), None);
        assert_eq!(
            leader.on_ack(NodeId(3), second, &voters),
            Some(Message::Commit(second))
        );
        // Of an earlier leadership.
        assert_eq!(leader.on_ack(NodeId(3), Zxid::new(7, 9), &voters), None);
    }
}
