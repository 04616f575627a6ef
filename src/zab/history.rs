//! A peer's history in memory: what is not delivered yet, and some of what is, for learners that
//! lag a little. All of it, and everything before, is on disk or on its way there; after a restart
//! it is rebuilt from the disk alone.
//!
//! Two histories of one ensemble that have a zxid in common are equal up to it: the proposals of an
//! epoch come from its one leader, in order, behind the initial history that the epoch's quorum has.

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
#[cfg_attr(test, derive(Clone))]
pub struct History {
    /// What `proposals` begins behind.
    floor: Zxid,
    last: Zxid,
    delivered: Zxid,
    proposals: VecDeque<Proposal>,
    /// Of the payloads.
    bytes: usize,
}

/// How a learner's history becomes the leader's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synchronization {
    /// It is a beginning of the leader's.
    Diff,
    /// It is, up to here; what is behind was never committed.
    Trunc(Zxid),
    /// What it lacks is not in memory any more.
    Snap,
}

impl History {
    /// As the disk has it.
    pub fn new(snapshot: Zxid, proposals: Vec<Proposal>) -> Self {
        Self {
            floor: snapshot,
            last: proposals.last().map_or(snapshot, |last| last.zxid),
            delivered: snapshot,
            bytes: proposals.iter().map(|p| p.payload.len()).sum(),
            proposals: proposals.into(),
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
        self.bytes += proposal.payload.len();
        self.proposals.push_back(proposal);
    }

    /// Cuts off what is behind `to`, which is in the history. What was delivered was committed, and
    /// is in every leader's history.
    pub fn truncate(&mut self, to: Zxid) {
        assert!(
            to >= self.delivered,
            "what is behind {to:#x} was delivered up to {:#x} and cannot be cut off",
            self.delivered
        );
        while let Some(cut) = self.proposals.pop_back_if(|last| last.zxid > to) {
            self.bytes -= cut.payload.len();
        }
        self.last = self.proposals.back().map_or(self.floor, |last| last.zxid);
    }

    /// A snapshot takes the place of everything. It counts as delivered when it is durable.
    pub fn install(&mut self, zxid: Zxid) {
        self.floor = zxid;
        self.last = zxid;
        self.proposals.clear();
        self.bytes = 0;
    }

    pub fn on_restored(&mut self, zxid: Zxid) {
        self.delivered = self.delivered.max(zxid);
    }

    /// Everything up to `zxid` that was not delivered before.
    pub fn deliver(&mut self, zxid: Zxid, into: &mut Vec<Proposal>) {
        if zxid <= self.delivered || self.floor > self.delivered {
            // A snapshot that is not durable yet comes first.
            return;
        }
        let from = self.delivered;
        let proposals = self.after(from).take_while(|next| next.zxid <= zxid);
        let before = into.len();
        into.extend(proposals.cloned());
        if let Some(last) = into.get(before..).and_then(<[Proposal]>::last) {
            self.delivered = last.zxid;
        }
    }

    /// What is behind a zxid, as far as it is in memory.
    pub fn after(&self, zxid: Zxid) -> impl Iterator<Item = &Proposal> {
        let from = self.proposals.partition_point(|p| p.zxid <= zxid);
        self.proposals.range(from..)
    }

    /// What is behind a zxid is all in memory.
    pub fn reaches(&self, zxid: Zxid) -> bool {
        zxid >= self.floor
    }

    /// What it takes to bring in line a history that ends with `learner_last`.
    pub fn synchronization(&self, learner_last: Zxid) -> Synchronization {
        if !self.reaches(learner_last) {
            return Synchronization::Snap;
        }
        let behind = self.proposals.partition_point(|p| p.zxid <= learner_last);
        let common = match behind.checked_sub(1).and_then(|at| self.proposals.get(at)) {
            Some(common) => common.zxid,
            None => self.floor,
        };
        if common == learner_last {
            Synchronization::Diff
        } else {
            Synchronization::Trunc(common)
        }
    }

    /// Forgets the oldest that were delivered, but nothing behind `keep_from`.
    pub fn trim(&mut self, max_bytes: usize, keep_from: Zxid) {
        let limit = self.delivered.min(keep_from);
        while self.bytes > max_bytes {
            let Some(old) = self.proposals.pop_front_if(|old| old.zxid <= limit) else {
                return;
            };
            self.bytes -= old.payload.len();
            self.floor = old.zxid;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn z(epoch: u32, counter: u32) -> Zxid {
        Zxid::new(epoch, counter)
    }

    fn proposal(epoch: u32, counter: u32) -> Proposal {
        Proposal::data(z(epoch, counter), "four")
    }

    fn history(snapshot: Zxid, proposals: &[(u32, u32)]) -> History {
        let proposals = proposals.iter().map(|(e, c)| proposal(*e, *c)).collect();
        History::new(snapshot, proposals)
    }

    #[test]
    fn zxids_have_no_holes() {
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
        let mut history = history(z(1, 3), &[(1, 4)]);
        history.append(proposal(2, 1));
        history.append(proposal(2, 2));
        assert_eq!((history.last(), history.delivered()), (z(2, 2), z(1, 3)));
        let mut delivered = Vec::new();
        history.deliver(z(2, 1), &mut delivered);
        history.deliver(z(2, 1), &mut delivered);
        assert_eq!(delivered, [proposal(1, 4), proposal(2, 1)]);
        history.deliver(z(9, 9), &mut delivered);
        assert_eq!(delivered.len(), 3);
        assert_eq!(history.delivered(), z(2, 2));
    }

    #[test]
    fn a_learner_is_brought_in_line() {
        use Synchronization::{Diff, Snap, Trunc};
        let history = history(z(1, 3), &[(1, 4), (1, 5), (3, 1), (3, 2)]);
        let table = [
            (z(1, 2), Snap),
            (z(1, 3), Diff),
            (z(1, 4), Diff),
            (z(3, 2), Diff),
            // The old leader had more of epoch 1 than came through.
            (z(1, 6), Trunc(z(1, 5))),
            // An epoch that nobody else saw anything of.
            (z(2, 7), Trunc(z(1, 5))),
            (z(3, 9), Trunc(z(3, 2))),
            (Zxid::ZERO, Snap),
        ];
        for (last, expected) in table {
            assert_eq!(history.synchronization(last), expected, "{last:#x}");
        }
        let empty = History::new(Zxid::ZERO, Vec::new());
        assert_eq!(empty.synchronization(Zxid::ZERO), Diff);
        assert_eq!(empty.synchronization(z(1, 1)), Trunc(Zxid::ZERO));
    }

    #[test]
    fn what_is_cut_off_is_gone_and_what_was_delivered_stays() {
        let mut history = history(z(1, 3), &[(1, 4), (1, 5), (3, 1)]);
        history.deliver(z(1, 4), &mut Vec::new());
        history.truncate(z(1, 5));
        assert_eq!(history.last(), z(1, 5));
        history.append(proposal(4, 1));
        let cut = std::panic::catch_unwind(move || history.truncate(z(1, 3)));
        assert!(cut.is_err());
    }

    #[test]
    fn a_snapshot_replaces_everything_once_it_is_durable() {
        let mut history = history(z(1, 3), &[(1, 4)]);
        history.install(z(5, 5));
        assert_eq!((history.last(), history.delivered()), (z(5, 5), z(1, 3)));
        history.append(proposal(5, 6));
        let mut delivered = Vec::new();
        history.deliver(z(5, 6), &mut delivered);
        assert!(delivered.is_empty());
        history.on_restored(z(5, 5));
        history.deliver(z(5, 6), &mut delivered);
        assert_eq!(delivered, [proposal(5, 6)]);
    }

    #[test]
    fn memory_is_bounded_by_what_may_go() {
        let mut history = history(z(1, 3), &[(1, 4), (1, 5), (1, 6), (1, 7)]);
        history.trim(0, z(9, 9));
        assert!(history.reaches(z(1, 3)), "nothing was delivered");
        history.deliver(z(1, 6), &mut Vec::new());
        history.trim(0, z(1, 5));
        assert!(history.reaches(z(1, 5)) && !history.reaches(z(1, 4)));
        history.trim(8, z(9, 9));
        assert!(history.reaches(z(1, 5)), "two of four bytes may stay");
        history.trim(0, z(9, 9));
        assert!(!history.reaches(z(1, 5)));
        assert_eq!(history.last(), z(1, 7));
    }

    #[test]
    #[should_panic(expected = "cannot follow")]
    fn a_hole_is_a_bug() {
        history(z(1, 3), &[]).append(proposal(1, 5));
    }
}
