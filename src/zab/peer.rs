//! A peer: the machine itself. Here are its state, its way in (`step`) and its way out (`ready`);
//! what it does in each phase is in `looking`, `following`, `leading` and `broadcast`.
//!
//! A leader is a learner of itself: its own promises and acknowledgements wait for its disk like
//! everybody's, and count like everybody's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use uuid::Uuid;

use crate::state_machine::Tick;
use crate::types::{NodeId, Zxid};
use crate::zab::Recovered;
use crate::zab::admission::{Hello, PROTOCOL_VERSION, Refusal, admit};
use crate::zab::disk::Disk;
use crate::zab::election::Election;
use crate::zab::following::Following;
use crate::zab::history::History;
use crate::zab::leading::{Leading, LeadingStage};
use crate::zab::looking::Looking;
use crate::zab::message::{LearnerInfo, Message, Proposal, ProposalKind};
use crate::zab::options::{EnsembleError, NotLeading, PeerOptions};
use crate::zab::ready::{Event, Input, Ready, Receipt};
use crate::zab::settings::Settings;
use crate::zab::voters::{Configurations, InvalidVoters, Voters};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Election,
    Discovery,
    Synchronization,
    Broadcast,
}

/// The epochs as they are on disk, or will be when the writes before are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Epochs {
    pub accepted: u32,
    pub current: u32,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) enum Role {
    Looking(Looking),
    Following(Following),
    Leading(Box<Leading>),
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Peer {
    pub(super) id: NodeId,
    pub(super) directory: Option<Uuid>,
    cluster_id: Option<String>,
    pub(super) settings: Settings,
    pub(super) now: Tick,
    /// After a pause of this server nobody's silence is held against them until here.
    pub(super) grace_until: Tick,
    pub(super) chance: u64,
    pub(super) links: BTreeSet<NodeId>,
    pub(super) configurations: Configurations,
    pub(super) epochs: Epochs,
    /// The highest epoch that anybody said to have accepted.
    pub(super) seen_epoch: u32,
    pub(super) history: History,
    /// As far as is known here.
    pub(super) committed: Zxid,
    pub(super) disk: Disk,
    pub(super) election: Election,
    pub(super) elections: u64,
    /// Numbers the times that this server looked for a leader: what it promised in one is void in the next.
    pub(super) attempt: u64,
    pub(super) role: Role,
    /// From those who took this server for the leader before it knew.
    pub(super) early_infos: BTreeMap<NodeId, LearnerInfo>,
    /// From this peer to itself.
    pub(super) inbox: VecDeque<Message>,
    pub(super) ready: Ready,
    #[cfg(test)]
    pub mutation: crate::zab::mutation::Mutation,
}

impl Peer {
    pub fn new(options: PeerOptions, recovered: Recovered) -> Result<Self, EnsembleError> {
        let voters = recovered.voters.unwrap_or(options.voters);
        let mut configurations = Configurations::new(recovered.snapshot, voters);
        for proposal in &recovered.proposals {
            if proposal.kind == ProposalKind::Reconfig {
                let voters = Voters::decode(&proposal.payload)
                    .map_err(|error| EnsembleError::Voters(proposal.zxid, error))?;
                configurations.append(proposal.zxid, voters);
            }
        }
        if configurations.newest().is_empty() {
            return Err(EnsembleError::NoVoters);
        }
        let history = History::new(recovered.snapshot, recovered.proposals);
        Ok(Self {
            id: options.node,
            directory: options.directory,
            cluster_id: options.cluster_id,
            settings: options.settings,
            now: Tick(0),
            grace_until: Tick(0),
            chance: options.seed,
            links: BTreeSet::new(),
            configurations,
            epochs: Epochs {
                accepted: recovered.accepted_epoch,
                current: recovered.current_epoch,
            },
            seen_epoch: 0,
            committed: recovered.snapshot,
            disk: Disk::new(history.last()),
            history,
            election: Election::default(),
            elections: 0,
            attempt: 0,
            role: Role::Looking(Looking::default()),
            early_infos: BTreeMap::new(),
            inbox: VecDeque::new(),
            ready: Ready::default(),
            #[cfg(test)]
            mutation: crate::zab::mutation::Mutation::None,
        })
    }

    pub fn phase(&self) -> Phase {
        match &self.role {
            Role::Looking(_) => Phase::Election,
            Role::Following(following) => following.phase(),
            Role::Leading(leading) => leading.stage.phase(),
        }
    }

    /// Established: it may propose.
    pub fn is_leading(&self) -> bool {
        matches!(&self.role, Role::Leading(leading) if leading.stage == LeadingStage::Broadcast)
    }

    /// Whom this node follows or is, established or not.
    pub fn leader(&self) -> Option<NodeId> {
        match &self.role {
            Role::Looking(_) => None,
            Role::Following(following) => Some(following.leader),
            Role::Leading(_) => Some(self.id),
        }
    }

    pub fn current_epoch(&self) -> u32 {
        self.epochs.current
    }

    /// The last proposal of the history, committed or not.
    pub fn last_zxid(&self) -> Zxid {
        self.history.last()
    }

    /// The last proposal that was handed out to be applied.
    pub fn delivered(&self) -> Zxid {
        self.history.delivered()
    }

    /// The newest configuration in the log.
    pub fn voters(&self) -> &Voters {
        self.configurations.newest()
    }

    /// As of a place in the log: what belongs into a snapshot at it.
    pub fn voters_at(&self, zxid: Zxid) -> &Voters {
        self.configurations.at(zxid)
    }

    /// As of what was handed out to be applied.
    pub fn voters_applied(&self) -> &Voters {
        self.voters_at(self.delivered())
    }

    pub fn is_voter(&self) -> bool {
        self.votes_in(self.counting_voters())
    }

    /// Whether it is one of them, with this disk: who was recorded with another is not the one that promised and
    /// acknowledged.
    pub(super) fn votes_in(&self, voters: &Voters) -> bool {
        let recorded = voters.get(self.id).map(|voter| voter.directory);
        recorded.is_some_and(|disk| {
            disk.is_none() || self.directory.is_none() || disk == self.directory
        })
    }

    /// Once the cluster has one.
    pub fn set_cluster_id(&mut self, cluster_id: String) {
        self.cluster_id = Some(cluster_id);
    }

    /// Up to date with a leader now, itself perhaps.
    pub fn is_current(&self) -> bool {
        self.phase() == Phase::Broadcast
    }

    /// What this node says first on a connection; `incarnation` is the process.
    pub fn hello(&self, incarnation: Uuid) -> Hello {
        Hello {
            version: PROTOCOL_VERSION,
            cluster_id: self.cluster_id.clone(),
            node: self.id,
            directory: self.directory.unwrap_or_default(),
            is_voter: self.is_voter(),
            incarnation,
        }
    }

    /// Whether a connection may be used; to be asked on both ends, before `Input::Connected`.
    pub fn admit(&self, hello: &Hello) -> Result<(), Refusal> {
        admit(hello, self.id, self.cluster_id.as_deref(), self.voters())
    }

    pub fn step(&mut self, input: Input, now: Tick) {
        if self.now.plus_ms((self.settings.timeout_ms / 2) as i64) < now {
            // Not woken for long: what others sent meanwhile is still to come.
            self.grace_until = now.plus_ms(self.settings.ping_interval_ms as i64);
        }
        self.now = now.max(self.now);
        match input {
            Input::Start => self.elect(),
            Input::Tick => self.on_tick(),
            Input::Durable(receipt) => self.on_durable(&receipt),
            Input::Connected(node) => self.on_connected(node),
            Input::Disconnected(node) => self.on_disconnected(node),
            Input::Message { from, message } => self.on_message(from, message),
            Input::SnapshotTaken { zxid, body } => self.on_snapshot_taken(zxid, &body),
        }
        self.drain_inbox();
    }

    /// Everything there is to do, once.
    pub fn ready(&mut self) -> Ready {
        self.ready.persist = self.disk.take(self.history.last());
        std::mem::take(&mut self.ready)
    }

    /// When `Input::Tick` is due, if nothing happens before. It is never far away: a tick that comes
    /// late is how a pause is noticed.
    pub fn next_deadline(&self) -> Option<Tick> {
        let deadline = match &self.role {
            Role::Looking(looking) => looking.next_deadline(),
            Role::Following(_) => self.leader_deadline(),
            Role::Leading(leading) => self.leading_deadline(leading),
        };
        let at_latest = self.now.plus_ms(self.settings.ping_interval_ms as i64);
        Some(deadline.clamp(self.now, at_latest))
    }

    fn on_tick(&mut self) {
        match &self.role {
            Role::Looking(_) => self.on_tick_looking(),
            Role::Following(_) => self.on_tick_following(),
            Role::Leading(_) => self.on_tick_leading(),
        }
    }

    pub(super) fn drain_inbox(&mut self) {
        while let Some(message) = self.inbox.pop_front() {
            match message {
                Message::AckEpoch { .. } => self.on_own_ack_epoch(),
                Message::Ack(zxid) => self.on_own_ack(zxid),
                _ => {}
            }
        }
    }

    fn on_durable(&mut self, receipt: &Receipt) {
        let released = self.disk.on_durable(receipt);
        if let Some(snapshot) = released.restore {
            // Whatever was to be applied before is in it.
            self.ready.apply.clear();
            self.history.on_restored(snapshot.zxid);
            self.committed = self.committed.max(snapshot.zxid);
            self.ready.restore = Some(snapshot);
        }
        for waiting in released.messages {
            let is_stale = waiting.attempt != self.attempt;
            if is_stale && !mutated!(self, StaleAckSent) {
                continue;
            }
            if waiting.to == self.id {
                self.inbox.push_back(waiting.message);
            } else {
                self.send(waiting.to, waiting.message);
            }
        }
        self.deliver();
    }

    fn on_connected(&mut self, node: NodeId) {
        if self.links.contains(&node) {
            self.on_disconnected(node);
        }
        self.links.insert(node);
        let notification = self.notification();
        self.send(node, Message::Notification(notification));
        self.consider_verdict();
    }

    fn on_disconnected(&mut self, node: NodeId) {
        self.links.remove(&node);
        // What was to go over that connection must not go over the next.
        self.ready.send.retain(|(to, _)| *to != node);
        self.early_infos.remove(&node);
        match &self.role {
            Role::Looking(_) => {
                if self.election.on_disconnected(node) {
                    self.elect();
                }
            }
            Role::Following(following) if following.leader == node => self.elect(),
            Role::Following(_) => {}
            Role::Leading(_) => self.on_learner_disconnected(node),
        }
    }

    fn on_message(&mut self, from: NodeId, message: Message) {
        if !self.links.contains(&from) {
            return;
        }
        match message {
            Message::Notification(notification) => self.on_notification(from, notification),
            Message::FollowerInfo(info) | Message::ObserverInfo(info) => {
                self.on_learner_info(from, info);
            }
            message => match &self.role {
                Role::Following(following) if following.leader == from => {
                    self.on_message_from_leader(message);
                }
                Role::Leading(_) => self.on_message_from_learner(from, message),
                // From somebody who was left.
                _ => {}
            },
        }
    }

    /// Over the connection there is; without one it is lost, like the connection.
    pub(super) fn send(&mut self, to: NodeId, message: Message) {
        if self.links.contains(&to) {
            self.ready.send.push((to, message));
        }
    }

    /// Once all that was asked of the disk is done, unless this attempt is over by then.
    pub(super) fn send_when_durable(&mut self, to: NodeId, message: Message) {
        let Some(message) = self.disk.when_durable(self.attempt, to, message) else {
            return;
        };
        if to == self.id {
            self.inbox.push_back(message);
        } else {
            self.send(to, message);
        }
    }

    /// What is committed and on this node's own disk: what was once applied here is here after a
    /// restart, too.
    pub(super) fn deliver(&mut self) {
        let mut up_to = self.committed.min(self.disk.durable());
        if mutated!(self, DeliverBeforeDurable) {
            up_to = self.committed;
        }
        self.history.deliver(up_to, &mut self.ready.apply);
        let keep_from = match &self.role {
            Role::Leading(leading) => leading.needed_from(),
            _ => Zxid(u64::MAX),
        };
        self.history.trim(self.settings.history_bytes, keep_from);
    }

    /// At the end of the history and of the log; a configuration takes effect.
    pub(super) fn append(
        &mut self,
        proposal: Proposal,
        is_written: bool,
    ) -> Result<(), InvalidVoters> {
        if proposal.kind == ProposalKind::Reconfig {
            let voters = Voters::decode(&proposal.payload)?;
            self.configurations.append(proposal.zxid, voters);
            self.ready.events.push(Event::VotersChanged);
        }
        self.history.append(proposal.clone());
        if is_written {
            self.disk.append(proposal);
        }
        Ok(())
    }

    pub(super) fn next_chance(&mut self, below: u64) -> u64 {
        // splitmix64
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.chance ^ (self.chance >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below.max(1)
    }

    /// Puts a transaction behind all others. When the epoch's counters are used up there is an
    /// election first: the caller proposes again once somebody leads.
    pub fn propose(&mut self, payload: Bytes) -> Result<Zxid, NotLeading> {
        let zxid = self.propose_kind(ProposalKind::Data, payload);
        self.drain_inbox();
        zxid
    }
}
