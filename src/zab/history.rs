//! The part of a peer's history that is not delivered yet, in memory. All of it, and everything
//! before, is on disk or on its way there; after a restart it is rebuilt from the disk alone.

use std::collections::VecDeque;

use crate::types::Zxid;
use crate::zab::message::Proposal;

/// Whether a proposal may stand directly behind another: the next counter of the same epoch, or the
/// first of a later one.
pub fn follows(last: Zxid, next: Zxid) -> bool {
    if next.epoch() == last.epoch() {
        last.counter().checked_add(1) == Some(next.counter())
    } else {
        next.epoch() > last.epoch() && next.counter() == 1
    }
}

#[derive(Debug)]
pub struct History {
    last: Zxid,
    delivered: Zxid,
    waiting: VecDeque<Proposal>,
}

impl History {
    /// As the disk has it.
    pub fn new(snapshot: Zxid, proposals: Vec<Proposal>) -> Self {
        Self {
            last: proposals.last().map_or(snapshot, |last| last.zxid),
            delivered: snapshot,
            waiting: proposals.into(),
        }
    }

    pub fn last(&self) -> Zxid {
        self.last
    }

    pub fn delivered(&self) -> Zxid {
        self.delivered
    }

    pub fn append(&mut self, proposal: Proposal) {
        assert!(
            follows(self.last, proposal.zxid),
            "proposal {:#x} cannot follow {:#x}",
            proposal.zxid,
            self.last
        );
        self.last = proposal.zxid;
        self.waiting.push_back(proposal);
    }

    /// Everything up to `zxid` that was not delivered before.
    pub fn deliver(&mut self, zxid: Zxid, into: &mut Vec<Proposal>) {
        while let Some(next) = self.waiting.pop_front_if(|next| next.zxid <= zxid) {
            self.delivered = next.zxid;
            into.push(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal(epoch: u32, counter: u32) -> Proposal {
        Proposal {
            zxid: Zxid::new(epoch, counter),
            payload: bytes::Bytes::new(),
        }
    }

    #[test]
    fn zxids_have_no_holes() {
        let z = Zxid::new;
        let table = [
            (Zxid::ZERO, z(1, 1), true),
            (z(1, 1), z(1, 2), true),
            (z(1, 2), z(1, 2), false),
            (z(1, 2), z(1, 4), false),
            (z(1, 2), z(2, 1), true),
            (z(1, 2), z(5, 1), true),
            (z(1, 2), z(2, 2), false),
            (z(2, 1), z(1, 2), false),
            (z(1, u32::MAX), z(1, 0), false),
            (z(1, u32::MAX), z(2, 1), true),
        ];
        for (last, next, expected) in table {
            assert_eq!(follows(last, next), expected, "{last:#x} {next:#x}");
        }
    }

    #[test]
    fn everything_is_delivered_once_and_in_order() {
        let mut history = History::new(Zxid::new(1, 3), vec![proposal(1, 4)]);
        history.append(proposal(2, 1));
        history.append(proposal(2, 2));
        assert_eq!(
            (history.last(), history.delivered()),
            (Zxid::new(2, 2), Zxid::new(1, 3))
        );
        let mut delivered = Vec::new();
        history.deliver(Zxid::new(2, 1), &mut delivered);
        history.deliver(Zxid::new(2, 1), &mut delivered);
        assert_eq!(delivered, [proposal(1, 4), proposal(2, 1)]);
        history.deliver(Zxid::new(9, 9), &mut delivered);
        assert_eq!(delivered.len(), 3);
        assert_eq!(history.delivered(), Zxid::new(2, 2));
    }

    #[test]
    #[should_panic(expected = "cannot follow")]
    fn a_hole_is_a_bug() {
        History::new(Zxid::new(1, 3), Vec::new()).append(proposal(1, 5));
    }
}
