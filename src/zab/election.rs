//! Election: the server with the most of the history leads.
//!
//! A vote wins with a quorum behind it. Rounds, and changing one's mind for a better vote, belong to
//! ensembles of more than one.

use std::collections::BTreeMap;

use crate::types::{NodeId, Zxid};
use crate::zab::quorum::Voters;

/// Ordered as ZAB orders candidates: the epoch first, then the history, then the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vote {
    pub current_epoch: u32,
    pub last_zxid: Zxid,
    pub candidate: NodeId,
}

#[derive(Debug, Default)]
pub struct Election {
    votes: BTreeMap<NodeId, Vote>,
}

impl Election {
    /// The leader, once a quorum wants it.
    pub fn on_notification(&mut self, from: NodeId, vote: Vote, voters: &Voters) -> Option<NodeId> {
        self.votes.insert(from, vote);
        let best = self.votes.values().max()?;
        let supporters = self.votes.iter().filter(|(_, vote)| *vote == best);
        voters
            .is_quorum(supporters.map(|(voter, _)| *voter))
            .then_some(best.candidate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(current_epoch: u32, last: (u32, u32), candidate: i32) -> Vote {
        Vote {
            current_epoch,
            last_zxid: Zxid::new(last.0, last.1),
            candidate: NodeId(candidate),
        }
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
    fn a_quorum_decides() {
        let one = Voters::new([NodeId(1)]);
        let mine = vote(0, (0, 0), 1);
        let decided = Election::default().on_notification(NodeId(1), mine, &one);
        assert_eq!(decided, Some(NodeId(1)));

        let three = Voters::new([1, 2, 3].map(NodeId));
        let mut election = Election::default();
        let best = vote(2, (2, 1), 2);
        assert_eq!(election.on_notification(NodeId(1), mine, &three), None);
        assert_eq!(election.on_notification(NodeId(2), best, &three), None);
        assert_eq!(
            election.on_notification(NodeId(1), best, &three),
            Some(NodeId(2))
        );
    }
}
