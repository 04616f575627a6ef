//! The voters and when enough of them agree.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::{NodeId, Zxid};

/// The servers that vote. Any two quorums have one in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voters(BTreeSet<NodeId>);

impl Voters {
    pub fn new(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self(voters.into_iter().collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, node: NodeId) -> bool {
        self.0.contains(&node)
    }

    pub fn iter(&self) -> impl Iterator<Item = NodeId> {
        self.0.iter().copied()
    }

    /// f+1 of 2f+1.
    pub fn majority(&self) -> usize {
        self.0.len() / 2 + 1
    }

    /// Who is not a voter does not count.
    pub fn is_quorum(&self, nodes: impl IntoIterator<Item = NodeId>) -> bool {
        let voters: BTreeSet<NodeId> = nodes.into_iter().filter(|n| self.contains(*n)).collect();
        voters.len() >= self.majority()
    }

    /// The newest zxid that a quorum has, given how far each node has come.
    pub fn acknowledged(&self, acks: &BTreeMap<NodeId, Zxid>) -> Zxid {
        let of = |voter: &NodeId| acks.get(voter).copied().unwrap_or(Zxid::ZERO);
        let mut sorted: Vec<Zxid> = self.0.iter().map(of).collect();
        sorted.sort_unstable_by(|a, b| b.cmp(a));
        sorted
            .get(self.majority() - 1)
            .copied()
            .unwrap_or(Zxid::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters(n: i32) -> Voters {
        Voters::new((1..=n).map(NodeId))
    }

    #[test]
    fn a_majority_is_more_than_half() {
        for (voters_count, majority) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (7, 4)] {
            assert_eq!(voters(voters_count).majority(), majority);
        }
        let three = voters(3);
        assert!(three.is_quorum([1, 3].map(NodeId)));
        assert!(
            !three.is_quorum([1, 1].map(NodeId)),
            "one voter twice is one"
        );
        assert!(!three.is_quorum([1, 9].map(NodeId)), "9 has no vote");
    }

    #[test]
    fn what_a_quorum_has_is_what_all_but_a_minority_have() {
        let acks = |of: &[(i32, u64)]| of.iter().map(|(n, z)| (NodeId(*n), Zxid(*z))).collect();
        assert_eq!(voters(1).acknowledged(&acks(&[(1, 7)])), Zxid(7));
        assert_eq!(voters(3).acknowledged(&acks(&[(1, 7)])), Zxid(0));
        assert_eq!(voters(3).acknowledged(&acks(&[(1, 7), (2, 5)])), Zxid(5));
        assert_eq!(
            voters(3).acknowledged(&acks(&[(1, 7), (2, 5), (3, 6)])),
            Zxid(6)
        );
        assert_eq!(
            voters(4).acknowledged(&acks(&[(1, 7), (2, 5), (3, 6)])),
            Zxid(5)
        );
        assert_eq!(
            voters(3).acknowledged(&acks(&[(1, 7), (8, 9), (9, 9)])),
            Zxid(0)
        );
    }
}
