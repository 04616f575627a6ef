//! A leader's part in Broadcast: proposals, commits, pings and sessions.

use bytes::Bytes;

use crate::types::{NodeId, Zxid};
use crate::zab::leading::{Leading, LeadingStage};
use crate::zab::learner::Stage;
use crate::zab::message::{Message, Proposal, ProposalKind};
use crate::zab::options::NotLeading;
use crate::zab::peer::{Peer, Role};
use crate::zab::ready::{Event, Request};

impl Peer {
    /// The caller drains the inbox.
    pub(super) fn propose_kind(
        &mut self,
        kind: ProposalKind,
        payload: Bytes,
    ) -> Result<Zxid, NotLeading> {
        let Role::Leading(leading) = &self.role else {
            return Err(NotLeading);
        };
        if leading.stage != LeadingStage::Broadcast {
            return Err(NotLeading);
        }
        let last = self.history.last().max(Zxid::new(leading.epoch, 0));
        let mut zxid = Zxid(last.0.wrapping_add(1));
        if last.counter() >= self.settings.last_counter {
            if !mutated!(self, CounterOverflow) {
                // Only an election gives new counters.
                self.elect();
                return Err(NotLeading);
            }
            zxid = Zxid::new(last.epoch() + 1, 1);
        }
        let proposal = Proposal {
            zxid,
            kind,
            payload,
        };
        if self.append(proposal, true).is_err() {
            return Err(NotLeading);
        }
        self.send_when_durable(self.id, Message::Ack(zxid));
        self.replicate();
        Ok(zxid)
    }

    /// Sends every learner what it has not been sent: proposals to all who take them, to observers
    /// only with their commit; then how far it is committed.
    pub(super) fn replicate(&mut self) {
        let committed = self.committed;
        let only_up_to_date = mutated!(self, ProposeToUpToDateOnly);
        let observers_count = mutated!(self, ObserversCounted);
        let voters = self.configurations.newest();
        let Role::Leading(leading) = &mut self.role else {
            return;
        };
        for (node, learner) in &mut leading.learners {
            let (is_up_to_date, is_voter) = (learner.is_up_to_date(), voters.contains(*node));
            if !learner.is_synchronized() {
                continue;
            }
            if only_up_to_date && !is_up_to_date {
                learner.cursor = self.history.last();
                continue;
            }
            let is_informed = is_up_to_date && !is_voter && !observers_count;
            for proposal in self.history.after(learner.cursor) {
                let (zxid, proposal) = (proposal.zxid, proposal.clone());
                if !is_informed {
                    self.ready.send.push((*node, Message::Propose(proposal)));
                } else if zxid <= committed {
                    self.ready.send.push((*node, Message::Inform(proposal)));
                    learner.commit_sent = zxid;
                } else {
                    break;
                }
                learner.cursor = zxid;
            }
            if is_up_to_date && learner.commit_sent < committed {
                learner.commit_sent = committed;
                self.ready.send.push((*node, Message::Commit(committed)));
            }
        }
    }

    /// NEWLEADER's acknowledgement came from it, and there is a quorum of them.
    pub(super) fn on_synchronized(&mut self, node: NodeId) {
        let sends_old_commit = mutated!(self, UpToDateCarriesOldCommit);
        let latest = self.committed;
        let Some(leading) = self.leading() else {
            return;
        };
        if let Some(learner) = leading.learners.get_mut(&node)
            && matches!(learner.stage, Stage::NewLeader { is_acked: true })
        {
            learner.stage = Stage::UpToDate;
            let committed = if sends_old_commit {
                learner.commit_sent
            } else {
                latest
            };
            learner.commit_sent = latest;
            self.send(node, Message::UpToDate { committed });
            self.start_session(node);
        }
        // What it has may make a quorum.
        self.advance_commit();
        self.replicate();
        self.after_commit();
    }

    fn start_session(&mut self, node: NodeId) {
        if let Some(leading) = self.leading()
            && leading.sessions.insert(node, false) != Some(false)
        {
            self.ready.events.push(Event::LearnerConnected(node));
        }
    }

    pub(super) fn on_own_ack(&mut self, zxid: Zxid) {
        let id = self.id;
        let Some(leading) = self.leading() else {
            return;
        };
        if zxid == Zxid::new(leading.epoch, 0) {
            self.on_new_leader_ack(id);
        } else {
            leading.acks.insert(id, zxid);
            self.advance_commit();
        }
    }

    pub(super) fn on_message_from_learner(&mut self, from: NodeId, message: Message) {
        let now = self.now;
        let Some(leading) = self.leading() else {
            return;
        };
        let Some(learner) = leading.learners.get_mut(&from) else {
            // Of an earlier connection, or of an attempt that is over.
            return;
        };
        learner.last_heard = now;
        match message {
            Message::AckEpoch {
                attempt,
                promised,
                current_epoch,
                last_zxid,
            } => {
                if attempt == learner.info.attempt && matches!(learner.stage, Stage::Discovery) {
                    leading.heard.insert(from, now);
                    self.on_ack_epoch(from, promised, current_epoch, last_zxid);
                }
                return;
            }
            _ if !learner.has_accepted_epoch() => return,
            Message::SnapAck { position } => {
                if let Stage::Snapshot(transfer) = &mut learner.stage {
                    transfer.on_ack(position);
                    self.send_snapshot(from);
                }
            }
            Message::Ack(zxid) => self.on_ack(from, zxid),
            Message::Pong { round, durable } => {
                learner.pong = learner.pong.max(round);
                learner.durable = durable;
                self.answer_syncs();
            }
            Message::Request { seq, payload } if learner.is_up_to_date() => {
                self.ready.requests.push(Request { from, seq, payload });
            }
            Message::Sync { seq } if learner.is_up_to_date() => self.on_sync(from, seq),
            _ => {}
        }
        if let Some(leading) = self.leading() {
            leading.heard.insert(from, now);
            if leading.sessions.contains_key(&from) {
                self.start_session(from);
            }
        }
    }

    fn on_ack(&mut self, from: NodeId, zxid: Zxid) {
        let early_counts = mutated!(self, EarlyAckCounts);
        let last = self.history.last();
        let Some(leading) = self.leading() else {
            return;
        };
        let Some(learner) = leading.learners.get_mut(&from) else {
            return;
        };
        if !learner.is_synchronized() {
            return;
        }
        if zxid == Zxid::new(leading.epoch, 0) {
            self.on_new_leader_ack(from);
            return;
        }
        if zxid > last {
            let what = "an acknowledgement of what was never proposed";
            self.ready.events.push(Event::Violation { by: from, what });
            self.on_learner_left(from);
            return;
        }
        learner.durable = zxid;
        if early_counts && !leading.history_acks.contains(&from) {
            self.on_new_leader_ack(from);
            return;
        }
        let acked = leading.acks.entry(from).or_default();
        *acked = zxid.max(*acked);
        self.advance_commit();
    }

    /// What a quorum has is committed, by the newest configuration. An acknowledgement counts only of
    /// who has the initial history and its epoch durably, too.
    pub(super) fn advance_commit(&mut self) {
        let Role::Leading(leading) = &self.role else {
            return;
        };
        if leading.stage != LeadingStage::Broadcast {
            return;
        }
        let reached = self.acknowledged(leading);
        if reached <= self.committed {
            return;
        }
        self.committed = reached;
        self.deliver();
        self.replicate();
        self.after_commit();
    }

    /// How far a quorum has come.
    fn acknowledged(&self, leading: &Leading) -> Zxid {
        let acked = |node: NodeId| match leading.acks.get(&node) {
            Some(acked) if leading.history_acks.contains(&node) => *acked,
            _ => Zxid::ZERO,
        };
        #[cfg(test)]
        if let Some(needed) = self.needed_by_mutation() {
            let is_counted = |node: &NodeId| {
                mutated!(self, ObserversCounted) || self.counting_voters().contains(*node)
            };
            let counted = leading.acks.keys().copied().filter(is_counted);
            let mut sorted: Vec<Zxid> = counted.map(acked).collect();
            sorted.sort_unstable();
            return sorted.into_iter().nth_back(needed - 1).unwrap_or_default();
        }
        self.counting_voters().reached(acked)
    }

    pub(super) fn send_pings(&mut self) {
        let committed = self.committed;
        let next_ping = self.now.plus_ms(self.settings.ping_interval_ms as i64);
        let Some(leading) = self.leading() else {
            return;
        };
        leading.next_ping = next_ping;
        leading.ping_round += 1;
        let round = leading.ping_round;
        let nodes: Vec<NodeId> = leading.learners.keys().copied().collect();
        for node in nodes {
            self.send(node, Message::Ping { round, committed });
        }
        self.answer_syncs();
    }

    pub(super) fn watch_sessions(&mut self) {
        let now = self.now;
        if now < self.grace_until {
            return;
        }
        let timeout_ms = self.settings.session_timeout_ms as i64;
        let Role::Leading(leading) = &mut self.role else {
            return;
        };
        for (node, is_silent) in &mut leading.sessions {
            let heard = leading.heard.get(node).copied().unwrap_or_default();
            if !*is_silent && heard.plus_ms(timeout_ms) <= now {
                *is_silent = true;
                self.ready.events.push(Event::LearnerSilent(*node));
            }
        }
    }
}
