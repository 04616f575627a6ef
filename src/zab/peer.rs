//! A peer: the phases, and the way of messages between its leading and its following half.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::types::{NodeId, Zxid};
use crate::zab::Recovered;
use crate::zab::election::{Election, Vote};
use crate::zab::follower::{self, Answer, Epochs};
use crate::zab::history::History;
use crate::zab::leader::Leader;
use crate::zab::message::{Message, Proposal};
use crate::zab::quorum::Voters;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Election,
    Discovery,
    Synchronization,
    Broadcast,
}

/// What happens to a peer, proposals apart.
#[derive(Debug)]
pub enum Input {
    /// Once, first.
    Start,
    /// What `Ready::persist` asked for, and everything asked for before, is on disk.
    Durable(Receipt),
}

/// What a peer wants done. Nothing in it waits for anything else in it.
#[derive(Debug, Default)]
pub struct Ready {
    /// To be written in this order and made durable, then answered by `Input::Durable`.
    pub persist: Option<Persist>,
    /// To other servers.
    pub send: Vec<(NodeId, Message)>,
    /// Committed: to be applied in this order.
    pub apply: Vec<Proposal>,
}

#[derive(Debug)]
pub struct Persist {
    pub writes: Vec<Write>,
    pub receipt: Receipt,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    AcceptedEpoch(u32),
    CurrentEpoch(u32),
    /// At the end of the log. One flush may make all of them durable.
    Append(Vec<Proposal>),
}

/// Proof of a durable write. Only a peer makes one, and only with the write to do.
#[derive(Debug)]
pub struct Receipt(u64);

/// Nothing can be proposed here now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this server does not lead")]
pub struct NotLeading;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnsembleError {
    #[error(
        "an ensemble of {0} voters is not supported by this version: name one voter, this node"
    )]
    TooLarge(usize),
    #[error("node {0} is not a voter: an ensemble of one consists of this node")]
    NotAVoter(NodeId),
}

#[derive(Debug)]
pub struct Peer {
    id: NodeId,
    voters: Voters,
    phase: Phase,
    epochs: Epochs,
    history: History,
    election: Election,
    leader: Option<Leader>,
    /// From this peer to itself.
    inbox: VecDeque<Message>,
    ready: Ready,
    /// Writes asked for since the last `ready`.
    writes: Vec<Write>,
    /// Receipts are numbered.
    next_receipt: u64,
    /// Answers to the leader that wait for the receipt of this number, oldest first.
    answers: VecDeque<(u64, Message)>,
}

impl Peer {
    pub fn new(id: NodeId, voters: Voters, recovered: Recovered) -> Result<Self, EnsembleError> {
        if voters.len() > 1 {
            return Err(EnsembleError::TooLarge(voters.len()));
        }
        if !voters.contains(id) {
            return Err(EnsembleError::NotAVoter(id));
        }
        Ok(Self {
            id,
            voters,
            phase: Phase::Election,
            epochs: Epochs {
                accepted: recovered.accepted_epoch,
                current: recovered.current_epoch,
            },
            history: History::new(recovered.snapshot, recovered.proposals),
            election: Election::default(),
            leader: None,
            inbox: VecDeque::new(),
            ready: Ready::default(),
            writes: Vec::new(),
            next_receipt: 0,
            answers: VecDeque::new(),
        })
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    pub fn is_leading(&self) -> bool {
        self.phase == Phase::Broadcast && self.leader.as_ref().is_some_and(Leader::is_established)
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

    pub fn step(&mut self, input: Input) {
        match input {
            Input::Start => self.elect(),
            Input::Durable(receipt) => self.on_durable(receipt),
        }
        self.drain_inbox();
    }

    /// Puts a transaction behind all others. When the epoch's counters are used up there is an
    /// election first: the caller proposes again once this peer leads.
    pub fn propose(&mut self, payload: Bytes) -> Result<Zxid, NotLeading> {
        if !self.is_leading() {
            return Err(NotLeading);
        }
        let leader = self.leader.as_mut().ok_or(NotLeading)?;
        let Some(proposal) = leader.propose(payload) else {
            self.elect();
            self.drain_inbox();
            return Err(NotLeading);
        };
        let zxid = proposal.zxid;
        self.tell_all(Message::Propose(proposal));
        self.drain_inbox();
        Ok(zxid)
    }

    /// Everything there is to do, once.
    pub fn ready(&mut self) -> Ready {
        let writes = std::mem::take(&mut self.writes);
        if !writes.is_empty() {
            let receipt = Receipt(self.next_receipt);
            self.next_receipt += 1;
            self.ready.persist = Some(Persist { writes, receipt });
        }
        std::mem::take(&mut self.ready)
    }

    /// As if all counters of the epoch but these had been used.
    #[cfg(test)]
    pub(crate) fn use_up_counters_but(&mut self, left: u32) {
        let last = Zxid::new(self.epochs.current, u32::MAX - left);
        self.history = History::new(last, Vec::new());
        if let Some(leader) = self.leader.as_mut() {
            leader.use_up_counters_but(left);
        }
    }

    fn elect(&mut self) {
        self.phase = Phase::Election;
        self.leader = None;
        self.election = Election::default();
        self.tell_all(Message::Notification(Vote {
            current_epoch: self.epochs.current,
            last_zxid: self.history.last(),
            candidate: self.id,
        }));
    }

    fn tell_all(&mut self, message: Message) {
        for voter in self.voters.iter() {
            if voter == self.id {
                self.inbox.push_back(message.clone());
            } else {
                self.ready.send.push((voter, message.clone()));
            }
        }
    }

    fn drain_inbox(&mut self) {
        while let Some(message) = self.inbox.pop_front() {
            self.on_message(self.id, message);
        }
    }

    fn on_durable(&mut self, receipt: Receipt) {
        while let Some((_, answer)) = self
            .answers
            .pop_front_if(|(number, _)| *number <= receipt.0)
        {
            self.inbox.push_back(answer);
        }
    }

    fn on_message(&mut self, from: NodeId, message: Message) {
        match message {
            Message::Notification(vote) => {
                let elected = self.election.on_notification(from, vote, &self.voters);
                if self.phase == Phase::Election && elected == Some(self.id) {
                    self.lead();
                }
            }
            Message::LeaderInfo { epoch } => {
                match follower::on_leader_info(&mut self.epochs, &self.history, epoch) {
                    Some(answer) => self.answer(answer),
                    None => self.elect(),
                }
            }
            Message::NewLeader { epoch } => {
                self.phase = Phase::Synchronization;
                let answer = follower::on_new_leader(&mut self.epochs, epoch);
                self.answer(answer);
            }
            Message::UpToDate => {
                self.phase = Phase::Broadcast;
                let all = self.history.last();
                self.history.deliver(all, &mut self.ready.apply);
            }
            Message::Propose(proposal) => {
                if let Some(answer) = follower::on_propose(&mut self.history, proposal) {
                    self.answer(answer);
                }
            }
            Message::Commit(zxid) => self.history.deliver(zxid, &mut self.ready.apply),
            Message::FollowerInfo { .. } | Message::AckEpoch { .. } | Message::Ack(_) => {
                self.on_message_to_leader(from, message);
            }
        }
    }

    fn lead(&mut self) {
        self.phase = Phase::Discovery;
        self.leader = Some(Leader::default());
        self.inbox.push_back(Message::FollowerInfo {
            accepted_epoch: self.epochs.accepted,
        });
    }

    fn on_message_to_leader(&mut self, from: NodeId, message: Message) {
        let Some(leader) = self.leader.as_mut() else {
            return;
        };
        let next = match message {
            Message::FollowerInfo { accepted_epoch } => {
                leader.on_follower_info(from, accepted_epoch, &self.voters)
            }
            Message::AckEpoch { .. } => leader.on_ack_epoch(from, &self.voters),
            Message::Ack(zxid) => leader.on_ack(from, zxid, &self.voters),
            _ => None,
        };
        if let Some(message) = next {
            self.tell_all(message);
        }
    }

    /// To the leader: itself.
    fn answer(&mut self, answer: Answer) {
        let Some(write) = answer.write else {
            // What it rests on was asked for before, and may still be on its way to the disk.
            match self.answers.back() {
                Some((number, _)) => self.answers.push_back((*number, answer.message)),
                None => self.inbox.push_back(answer.message),
            }
            return;
        };
        let receipt = self.next_receipt;
        match (self.writes.last_mut(), write) {
            // Proposals behind each other share a flush, and one ACK speaks for all of them.
            (Some(Write::Append(before)), Write::Append(more)) => {
                before.extend(more);
                if let Some((number, Message::Ack(zxid))) = self.answers.back_mut()
                    && *number == receipt
                    && let Message::Ack(newer) = answer.message
                {
                    *zxid = newer;
                    return;
                }
            }
            (_, write) => self.writes.push(write),
        }
        self.answers.push_back((receipt, answer.message));
    }
}

#[cfg(test)]
mod tests;
