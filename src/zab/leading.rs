//! A leader's part in Discovery and Synchronization, and what ends a leadership. How one learner is
//! brought in line is in `serving`.
//!
//! What is counted survives a lost connection: an acknowledgement is a fact about a disk. How a
//! learner is served does not: it starts again with FOLLOWERINFO.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::state_machine::Tick;
use crate::types::{NodeId, Zxid};
use crate::zab::learner::{Learner, Stage};
use crate::zab::message::{LearnerInfo, Message};
use crate::zab::peer::{Peer, Phase, Role};
use crate::zab::ready::{Event, Write};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeadingStage {
    Discovery,
    Synchronization,
    Broadcast,
}

impl LeadingStage {
    pub fn phase(self) -> Phase {
        match self {
            LeadingStage::Discovery => Phase::Discovery,
            LeadingStage::Synchronization => Phase::Synchronization,
            LeadingStage::Broadcast => Phase::Broadcast,
        }
    }
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Leading {
    pub stage: LeadingStage,
    /// 0 until a quorum said which epochs it knows.
    pub epoch: u32,
    /// currentEpoch and the end of the history when it began: nobody in the quorum may have more.
    began_with: (u32, Zxid),
    began: Tick,
    pub learners: BTreeMap<NodeId, Learner>,
    /// Who accepted this epoch, and no other leader's of this number.
    epoch_acks: BTreeSet<NodeId>,
    /// Who has the initial history, and currentEpoch.
    pub history_acks: BTreeSet<NodeId>,
    /// How far they have come since.
    pub acks: BTreeMap<NodeId, Zxid>,
    /// When each was heard last, of those who accepted the epoch.
    pub heard: BTreeMap<NodeId, Tick>,
    /// Learners that were up to date, and whether they have fallen silent.
    pub sessions: BTreeMap<NodeId, bool>,
    pub next_ping: Tick,
    pub ping_round: u64,
    pub syncs: VecDeque<PendingSync>,
    pub snapshot_requested: bool,
}

/// A SYNC that waits for a quorum to answer a ping sent after it came.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct PendingSync {
    pub from: NodeId,
    pub seq: u64,
    pub zxid: Zxid,
    pub round: u64,
}

impl Leading {
    pub fn established_epoch(&self) -> u32 {
        match self.stage {
            LeadingStage::Broadcast => self.epoch,
            _ => 0,
        }
    }

    /// Behind this the history has to stay in memory: it is still to be sent to somebody.
    pub fn needed_from(&self) -> Zxid {
        let served = self.learners.values();
        let served = served.filter(|learner| learner.is_served());
        let cursors = served.map(|learner| learner.cursor);
        cursors.min().unwrap_or(Zxid(u64::MAX))
    }
}

impl Peer {
    pub(super) fn leading(&mut self) -> Option<&mut Leading> {
        match &mut self.role {
            Role::Leading(leading) => Some(leading),
            _ => None,
        }
    }

    pub(super) fn learner(&self, node: NodeId) -> Option<&Learner> {
        match &self.role {
            Role::Leading(leading) => leading.learners.get(&node),
            _ => None,
        }
    }

    pub(super) fn is_learner_up_to_date(&self, node: NodeId) -> bool {
        self.learner(node).is_some_and(Learner::is_up_to_date)
    }

    pub(super) fn lead(&mut self) {
        self.role = Role::Leading(Box::new(Leading {
            stage: LeadingStage::Discovery,
            epoch: 0,
            began_with: (self.epochs.current, self.history.last()),
            began: self.now,
            learners: BTreeMap::new(),
            epoch_acks: BTreeSet::new(),
            history_acks: BTreeSet::new(),
            acks: BTreeMap::new(),
            heard: BTreeMap::new(),
            sessions: BTreeMap::new(),
            next_ping: self.now.plus_ms(self.settings.ping_interval_ms as i64),
            ping_round: 0,
            syncs: VecDeque::new(),
            snapshot_requested: false,
        }));
        self.tell_all();
        for (node, info) in std::mem::take(&mut self.early_infos) {
            self.on_learner_info(node, info);
        }
        self.choose_epoch();
    }

    pub(super) fn on_learner_info(&mut self, from: NodeId, info: LearnerInfo) {
        if info.accepted_epoch < u32::MAX {
            self.seen_epoch = self.seen_epoch.max(info.accepted_epoch);
        }
        let now = self.now;
        let Role::Leading(leading) = &mut self.role else {
            if matches!(self.role, Role::Looking(_)) {
                self.early_infos.insert(from, info);
                self.consider_verdict();
            } else {
                let notification = self.notification();
                self.send(from, Message::Notification(notification));
            }
            return;
        };
        leading.learners.insert(from, Learner::new(info, now));
        let epoch = leading.epoch;
        if epoch == 0 {
            self.choose_epoch();
        } else if info.accepted_epoch > epoch {
            // It can never follow this leader, and what it promised it may have promised for good
            // reason: the next epoch will be above.
            self.elect();
        } else {
            let attempt = info.attempt;
            self.send(from, Message::LeaderInfo { attempt, epoch });
        }
    }

    /// The new epoch is above any that a quorum knows, so no older leader can have one.
    fn choose_epoch(&mut self) {
        let Role::Leading(leading) = &self.role else {
            return;
        };
        let known = leading.learners.keys().copied().chain([self.id]);
        if leading.epoch != 0 || !self.is_quorum(known) {
            return;
        }
        let accepted = leading.learners.values().map(|l| l.info.accepted_epoch);
        let newest = accepted.max().unwrap_or(0).max(self.seen_epoch);
        let newest = newest.max(self.epochs.accepted);
        assert!(newest < u32::MAX, "all epochs are used up");
        let epoch = newest + 1;
        let Some(leading) = self.leading() else {
            return;
        };
        leading.epoch = epoch;
        let attempts = leading.learners.iter().map(|(n, l)| (*n, l.info.attempt));
        let attempts: Vec<(NodeId, u64)> = attempts.collect();
        for (node, attempt) in attempts {
            self.send(node, Message::LeaderInfo { attempt, epoch });
        }
        self.epochs.accepted = epoch;
        self.disk.write(Write::AcceptedEpoch(epoch));
        let own = Message::AckEpoch {
            attempt: self.attempt,
            promised: true,
            current_epoch: self.epochs.current,
            last_zxid: self.history.last(),
        };
        self.send_when_durable(self.id, own);
    }

    pub(super) fn on_own_ack_epoch(&mut self) {
        let id = self.id;
        if let Some(leading) = self.leading()
            && leading.stage == LeadingStage::Discovery
        {
            leading.epoch_acks.insert(id);
            self.begin_synchronization();
        }
    }

    pub(super) fn on_ack_epoch(&mut self, from: NodeId, promised: bool, current: u32, last: Zxid) {
        let is_voter = self.counting_voters().contains(from);
        let goes_on_anyway = mutated!(self, BetterHistoryIgnored);
        let Some(leading) = self.leading() else {
            return;
        };
        let Some(learner) = leading.learners.get_mut(&from) else {
            return;
        };
        learner.stage = Stage::EpochAcked { last_zxid: last };
        if leading.stage != LeadingStage::Discovery {
            self.synchronize(from);
            return;
        }
        if promised && is_voter && (current, last) > leading.began_with && !goes_on_anyway {
            // What it has may be committed: it has to lead, or somebody who has it, too.
            self.elect();
            return;
        }
        if promised {
            leading.epoch_acks.insert(from);
        }
        self.begin_synchronization();
    }

    /// A quorum has accepted the epoch, and nobody in it has more than this leader.
    fn begin_synchronization(&mut self) {
        let Role::Leading(leading) = &self.role else {
            return;
        };
        if !self.is_quorum(leading.epoch_acks.iter().copied()) {
            return;
        }
        let now = self.now;
        let Some(leading) = self.leading() else {
            return;
        };
        leading.stage = LeadingStage::Synchronization;
        leading.began = now;
        let epoch = leading.epoch;
        let acked = leading.learners.iter();
        let acked = acked.filter(|(_, l)| matches!(l.stage, Stage::EpochAcked { .. }));
        let acked: Vec<NodeId> = acked.map(|(node, _)| *node).collect();
        self.epochs.current = epoch;
        self.disk.write(Write::CurrentEpoch(epoch));
        self.send_when_durable(self.id, Message::Ack(Zxid::new(epoch, 0)));
        for node in acked {
            self.synchronize(node);
        }
    }

    /// Of this leader's own history, or of a learner's.
    pub(super) fn on_new_leader_ack(&mut self, from: NodeId) {
        let end = self.history.last();
        let Some(leading) = self.leading() else {
            return;
        };
        let end = match leading.learners.get_mut(&from) {
            Some(learner) => {
                if matches!(learner.stage, Stage::NewLeader { .. }) {
                    learner.stage = Stage::NewLeader { is_acked: true };
                }
                learner.history_end
            }
            // Itself: nothing was proposed since.
            None => end,
        };
        leading.history_acks.insert(from);
        let acked = leading.acks.entry(from).or_default();
        *acked = end.max(*acked);
        if leading.stage == LeadingStage::Broadcast {
            self.on_synchronized(from);
        } else {
            self.establish();
        }
    }

    /// A quorum has the initial history: all of it is committed. So has this server, on its disk: it
    /// delivers all of it before it proposes anything.
    fn establish(&mut self) {
        let Role::Leading(leading) = &self.role else {
            return;
        };
        let has_history = leading.history_acks.contains(&self.id)
            && self.is_quorum(leading.history_acks.iter().copied());
        if leading.stage != LeadingStage::Synchronization || !has_history {
            return;
        }
        let Some(leading) = self.leading() else {
            return;
        };
        leading.stage = LeadingStage::Broadcast;
        let epoch = leading.epoch;
        let learners = leading.learners.iter();
        let synchronized: Vec<NodeId> = learners
            .filter(|(_, l)| matches!(l.stage, Stage::NewLeader { is_acked: true }))
            .map(|(node, _)| *node)
            .collect();
        self.ready.events.push(Event::Leading { epoch });
        self.committed = self.committed.max(self.history.last());
        self.deliver();
        for node in synchronized {
            self.on_synchronized(node);
        }
        let notification = self.notification();
        let links: Vec<NodeId> = self.links.iter().copied().collect();
        for node in links {
            // To those who look for a leader and would ask only later.
            if self.learner(node).is_none() {
                self.send(node, Message::Notification(notification));
            }
        }
        self.after_commit();
    }

    pub(super) fn on_learner_left(&mut self, node: NodeId) {
        if let Some(leading) = self.leading() {
            leading.learners.remove(&node);
        }
    }

    pub(super) fn on_learner_disconnected(&mut self, node: NodeId) {
        self.on_learner_left(node);
        if let Some(leading) = self.leading()
            && leading.sessions.remove(&node).is_some()
        {
            self.ready.events.push(Event::LearnerClosed(node));
        }
    }

    pub(super) fn on_tick_leading(&mut self) {
        let now = self.now;
        let Role::Leading(leading) = &self.role else {
            return;
        };
        if self.patience_ends(leading) <= now {
            self.elect();
            return;
        }
        if leading.next_ping <= now {
            self.send_pings();
        }
        self.watch_sessions();
    }

    /// When it gives up, if nothing changes until then.
    fn patience_ends(&self, leading: &Leading) -> Tick {
        let timeout_ms = self.settings.timeout_ms as i64;
        let without_quorum = || self.quorum_heard(leading).plus_ms(timeout_ms);
        let ends = match leading.stage {
            LeadingStage::Discovery => leading.began.plus_ms(timeout_ms),
            LeadingStage::Synchronization => {
                let sync_timeout_ms = self.settings.sync_timeout_ms as i64;
                leading.began.plus_ms(sync_timeout_ms).min(without_quorum())
            }
            LeadingStage::Broadcast => without_quorum(),
        };
        ends.max(self.grace_until)
    }

    pub(super) fn leading_deadline(&self, leading: &Leading) -> Tick {
        let timeout_ms = self.settings.session_timeout_ms as i64;
        let sessions = leading
            .sessions
            .iter()
            .filter(|(_, is_silent)| !**is_silent);
        let silent = sessions.map(|(node, _)| {
            let heard = leading.heard.get(node).copied().unwrap_or_default();
            heard.plus_ms(timeout_ms).max(self.grace_until)
        });
        let deadline = self.patience_ends(leading).min(leading.next_ping);
        silent.fold(deadline, Tick::min)
    }

    /// When a quorum was heard last, this server being heard always.
    fn quorum_heard(&self, leading: &Leading) -> Tick {
        self.counting_voters().reached(|node| {
            if node == self.id {
                return self.now;
            }
            let heard = leading.heard.get(&node).copied();
            heard.unwrap_or_default().max(leading.began)
        })
    }
}
