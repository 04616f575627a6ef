//! Synchronization of one learner: DIFF, TRUNC or SNAP, the history behind it, and NEWLEADER.
//!
//! It begins when a quorum has accepted the epoch and nobody in it has a better history: what is cut off
//! at a learner then was never committed. It may begin at any time later, too.

use bytes::Bytes;

use crate::types::{NodeId, Zxid};
use crate::zab::history::Synchronization;
use crate::zab::learner::{Stage, Transfer};
use crate::zab::message::Message;
use crate::zab::peer::{Peer, Role};

impl Peer {
    pub(super) fn synchronize(&mut self, node: NodeId) {
        let Role::Leading(leading) = &mut self.role else {
            return;
        };
        let Some(learner) = leading.learners.get_mut(&node) else {
            return;
        };
        let Stage::EpochAcked { last_zxid } = learner.stage else {
            return;
        };
        match self.history.synchronization(last_zxid) {
            Synchronization::Diff => {
                learner.cursor = last_zxid;
                self.send(node, Message::Diff);
                self.send_history(node);
            }
            Synchronization::Trunc(to) => {
                learner.cursor = to;
                self.send(node, Message::Trunc { to });
                self.send_history(node);
            }
            Synchronization::Snap => {
                learner.stage = Stage::AwaitsSnapshot;
                // What is applied now, or later: behind it nothing may go.
                learner.cursor = self.history.delivered();
                self.want_snapshot();
            }
        }
    }

    fn want_snapshot(&mut self) {
        if let Some(leading) = self.leading()
            && !leading.snapshot_requested
        {
            leading.snapshot_requested = true;
            self.ready.wants_snapshot = true;
        }
    }

    pub(super) fn on_snapshot_taken(&mut self, zxid: Zxid, body: &Bytes) {
        let voters = self.configurations.at(zxid).clone();
        let is_usable = self.history.reaches(zxid) && zxid <= self.history.delivered();
        let Some(leading) = self.leading() else {
            return;
        };
        leading.snapshot_requested = false;
        let waiting = leading.learners.iter();
        let waiting = waiting.filter(|(_, l)| matches!(l.stage, Stage::AwaitsSnapshot));
        let waiting: Vec<NodeId> = waiting.map(|(node, _)| *node).collect();
        if waiting.is_empty() {
            return;
        }
        if !is_usable {
            self.want_snapshot();
            return;
        }
        for node in waiting {
            let (transfer, head) = Transfer::new(zxid, voters.clone(), body.clone());
            self.send(node, head);
            if let Some(learner) = self.leading().and_then(|l| l.learners.get_mut(&node)) {
                learner.cursor = zxid;
                learner.stage = Stage::Snapshot(transfer);
            }
            self.send_snapshot(node);
        }
    }

    /// As many pieces as may be on their way; behind the last one the history that follows.
    pub(super) fn send_snapshot(&mut self, node: NodeId) {
        let (bytes, window) = (
            self.settings.snapshot_chunk_bytes,
            self.settings.snapshot_window,
        );
        loop {
            let learner = self.leading().and_then(|l| l.learners.get_mut(&node));
            let Some(learner) = learner else {
                return;
            };
            let Stage::Snapshot(transfer) = &mut learner.stage else {
                return;
            };
            if transfer.is_sent() {
                self.send_history(node);
                return;
            }
            match transfer.next_chunk(bytes, window) {
                Some(chunk) => self.send(node, chunk),
                None => return,
            }
        }
    }

    /// Everything behind the cursor, then NEWLEADER. What is proposed from now on goes there, too.
    fn send_history(&mut self, node: NodeId) {
        let committed = self.committed;
        let Role::Leading(leading) = &mut self.role else {
            return;
        };
        let Some(learner) = leading.learners.get_mut(&node) else {
            return;
        };
        let missing = self.history.after(learner.cursor);
        let missing = missing.map(|p| (node, Message::Propose(p.clone())));
        self.ready.send.extend(missing);
        learner.cursor = self.history.last();
        learner.history_end = self.history.last();
        learner.commit_sent = committed;
        learner.stage = Stage::NewLeader { is_acked: false };
        let epoch = leading.epoch;
        self.send(node, Message::NewLeader { epoch });
        if mutated!(self, DuplicateProposeTaken)
            && let Some(last) = self.history.after(Zxid::ZERO).last()
        {
            let again = Message::Propose(last.clone());
            self.send(node, again);
        }
    }
}
