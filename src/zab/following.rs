//! A learner's part in Discovery, Synchronization and Broadcast.
//!
//! Each word of the leader has one write that must be durable before the answer may go: acceptedEpoch
//! before ACKEPOCH; the history and then currentEpoch before the ACK of NEWLEADER; a proposal before
//! its ACK. A crash between two of them leaves a beginning of the leader's history under an older
//! currentEpoch: such a server is never better than one that has the epoch's whole initial history.
//!
//! What does not fit the stage is of an attempt that is over, or a bug of the other side's: it is
//! never acted upon.

use crate::state_machine::Tick;
use crate::types::{NodeId, Zxid};
use crate::zab::history::{Synchronization, follows};
use crate::zab::message::{LearnerInfo, Message, Proposal};
use crate::zab::peer::{Peer, Phase, Role};
use crate::zab::ready::{Answer, Event, Snapshot, Write};
use crate::zab::receiver::Receiver;

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Following {
    pub leader: NodeId,
    stage: FollowingStage,
    /// Of LEADERINFO.
    epoch: u32,
    last_heard: Tick,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
enum FollowingStage {
    /// FOLLOWERINFO is sent.
    Discovery,
    /// The epoch is accepted.
    EpochAccepted,
    /// A snapshot comes.
    Snapshot(Receiver),
    /// The missing history comes.
    Synchronization,
    /// NEWLEADER came.
    NewLeader,
    UpToDate,
}

impl Following {
    pub fn phase(&self) -> Phase {
        match self.stage {
            FollowingStage::Discovery => Phase::Discovery,
            FollowingStage::UpToDate => Phase::Broadcast,
            _ => Phase::Synchronization,
        }
    }

    /// LEADERINFO has come.
    pub fn is_accepted(&self) -> bool {
        !matches!(self.stage, FollowingStage::Discovery)
    }

    pub fn is_up_to_date(&self) -> bool {
        matches!(self.stage, FollowingStage::UpToDate)
    }
}

/// The leader said what it must not say.
struct Violation(&'static str);

type Step = Result<(), Violation>;

impl Peer {
    pub(super) fn follow(&mut self, leader: NodeId) {
        self.role = Role::Following(Following {
            leader,
            stage: FollowingStage::Discovery,
            epoch: 0,
            last_heard: self.now,
        });
        let info = LearnerInfo {
            attempt: self.attempt,
            accepted_epoch: self.epochs.accepted,
            directory: self.directory,
        };
        let message = if self.is_voter() {
            Message::FollowerInfo(info)
        } else {
            Message::ObserverInfo(info)
        };
        self.send(leader, message);
        // They wanted to follow this server.
        let notification = Message::Notification(self.notification());
        for node in std::mem::take(&mut self.early_infos).into_keys() {
            self.send(node, notification.clone());
        }
    }

    pub(super) fn leader_deadline(&self) -> Tick {
        let Role::Following(following) = &self.role else {
            return self.now;
        };
        let timeout_ms = self.settings.timeout_ms as i64;
        following
            .last_heard
            .plus_ms(timeout_ms)
            .max(self.grace_until)
    }

    pub(super) fn on_tick_following(&mut self) {
        if self.leader_deadline() <= self.now {
            self.elect();
        }
    }

    pub(super) fn on_message_from_leader(&mut self, message: Message) {
        let Role::Following(following) = &mut self.role else {
            return;
        };
        following.last_heard = self.now;
        let by = following.leader;
        if let Err(Violation(what)) = self.follow_message(message) {
            self.ready.events.push(Event::Violation { by, what });
            self.elect();
        }
    }

    fn follow_message(&mut self, message: Message) -> Step {
        let Role::Following(following) = &mut self.role else {
            return Ok(());
        };
        use FollowingStage as Stage;
        match (&mut following.stage, message) {
            (Stage::Discovery, Message::LeaderInfo { attempt, epoch }) => {
                if attempt == self.attempt {
                    self.on_leader_info(epoch);
                }
                Ok(())
            }
            // Of an attempt before. To answer even a ping would speak for a promise that is over.
            (Stage::Discovery, _) => Ok(()),
            (_, Message::Ping { round, committed }) => self.on_ping(round, committed),
            (Stage::EpochAccepted, Message::Diff) => self.on_trunc(self.history.last()),
            (Stage::EpochAccepted, Message::Trunc { to }) => self.on_trunc(to),
            (
                Stage::EpochAccepted,
                Message::Snap {
                    zxid,
                    voters,
                    length,
                    checksum,
                },
            ) => {
                if zxid <= self.history.last() || length > self.settings.max_snapshot_bytes {
                    return Err(Violation("a snapshot that is too old or too large"));
                }
                following.stage = Stage::Snapshot(Receiver::new(zxid, voters, length, checksum));
                self.on_snapshot_progress()
            }
            (Stage::Snapshot(receiver), Message::SnapChunk { position, bytes }) => {
                if !receiver.on_chunk(position, &bytes) {
                    return Err(Violation("a piece of a snapshot that does not fit"));
                }
                self.on_snapshot_progress()
            }
            (
                Stage::Synchronization | Stage::NewLeader | Stage::UpToDate,
                Message::Propose(proposal),
            ) => self.on_propose(proposal),
            (Stage::Synchronization, Message::NewLeader { epoch }) => self.on_new_leader(epoch),
            (Stage::NewLeader, Message::UpToDate { committed }) => {
                following.stage = Stage::UpToDate;
                let (leader, epoch) = (following.leader, following.epoch);
                self.ready.events.push(Event::Following { leader, epoch });
                self.commit_to(committed)
            }
            (Stage::UpToDate, Message::Commit(zxid)) => self.commit_to(zxid),
            (Stage::UpToDate, Message::Inform(proposal)) => {
                let zxid = proposal.zxid;
                self.on_inform(proposal)?;
                self.commit_to(zxid)
            }
            (
                Stage::UpToDate,
                Message::Answer {
                    seq,
                    after,
                    payload,
                },
            ) => {
                let answer = Answer {
                    seq,
                    after,
                    payload,
                };
                self.ready.answers.push(answer);
                Ok(())
            }
            (Stage::UpToDate, Message::Synced { seq, zxid }) => {
                self.ready.synced.push((seq, zxid));
                Ok(())
            }
            // It has been told by FOLLOWERINFO that this server begins anew.
            (_, Message::LeaderInfo { .. }) => Ok(()),
            _ => Err(Violation("a message that has no place in this stage")),
        }
    }

    fn on_leader_info(&mut self, epoch: u32) {
        let accepted = self.epochs.accepted;
        let Role::Following(following) = &mut self.role else {
            return;
        };
        if epoch < accepted {
            // A later leader has this server's promise.
            self.elect();
            return;
        }
        following.epoch = epoch;
        following.stage = FollowingStage::EpochAccepted;
        let leader = following.leader;
        let mut promised = epoch > accepted;
        if promised {
            self.epochs.accepted = epoch;
            self.disk.write(Write::AcceptedEpoch(epoch));
        }
        promised |= mutated!(self, EpochPromisedTwice);
        let message = Message::AckEpoch {
            attempt: self.attempt,
            promised,
            current_epoch: self.epochs.current,
            last_zxid: self.history.last(),
        };
        if mutated!(self, AckEpochEarly) {
            self.send(leader, message);
        } else {
            self.send_when_durable(leader, message);
        }
    }

    fn set_stage(&mut self, stage: FollowingStage) {
        if let Role::Following(following) = &mut self.role {
            following.stage = stage;
        }
    }

    fn session_epoch(&self) -> u32 {
        match &self.role {
            Role::Following(following) => following.epoch,
            _ => 0,
        }
    }

    /// What is behind `to` was never committed. What is left is a beginning of the leader's history.
    fn on_trunc(&mut self, to: Zxid) -> Step {
        if mutated!(self, EpochBeforeHistory) {
            self.epochs.current = self.session_epoch();
            self.disk.write(Write::CurrentEpoch(self.epochs.current));
        }
        self.set_stage(FollowingStage::Synchronization);
        if to == self.history.last() || mutated!(self, TruncationSkipped) {
            return Ok(());
        }
        if to < self.history.delivered() {
            return Err(Violation("TRUNC of what was committed"));
        }
        if self.history.synchronization(to) != Synchronization::Diff || to > self.history.last() {
            return Err(Violation("TRUNC to what is not in the history"));
        }
        self.disk.write(Write::Truncate(to));
        if mutated!(self, TruncatedOnDiskOnly) {
            return Ok(());
        }
        self.history.truncate(to);
        if self.configurations.truncate(to) {
            self.ready.events.push(Event::VotersChanged);
        }
        Ok(())
    }

    fn on_snapshot_progress(&mut self) -> Step {
        let Role::Following(following) = &mut self.role else {
            return Ok(());
        };
        let FollowingStage::Snapshot(receiver) = &mut following.stage else {
            return Ok(());
        };
        let leader = following.leader;
        let position = receiver.received();
        if !receiver.is_complete() {
            if position > 0 {
                self.send(leader, Message::SnapAck { position });
            }
            return Ok(());
        }
        let Some((zxid, voters, body)) = receiver.finish() else {
            return Err(Violation("a snapshot whose checksum is wrong"));
        };
        self.set_stage(FollowingStage::Synchronization);
        self.history.install(zxid);
        self.configurations.install(zxid, voters.clone());
        self.ready.events.push(Event::VotersChanged);
        if mutated!(self, EpochBeforeHistory) {
            self.epochs.current = self.session_epoch();
            self.disk.write(Write::CurrentEpoch(self.epochs.current));
        }
        self.disk
            .write(Write::Install(Snapshot { zxid, voters, body }));
        Ok(())
    }

    fn on_propose(&mut self, proposal: Proposal) -> Step {
        let Role::Following(following) = &self.role else {
            return Ok(());
        };
        let leader = following.leader;
        let is_acked = !matches!(following.stage, FollowingStage::Synchronization)
            || mutated!(self, EarlyAckCounts);
        let is_written = !(mutated!(self, HolesOnJoining)
            && matches!(following.stage, FollowingStage::NewLeader));
        let zxid = proposal.zxid;
        if !self.take(proposal, is_written)? {
            return Ok(());
        }
        if is_acked && mutated!(self, AckBeforeWrite) {
            self.send(leader, Message::Ack(zxid));
        } else if is_acked {
            self.send_when_durable(leader, Message::Ack(zxid));
        }
        Ok(())
    }

    fn on_inform(&mut self, proposal: Proposal) -> Step {
        self.take(proposal, true).map(|_| ())
    }

    /// `false`: it was sent twice.
    fn take(&mut self, proposal: Proposal, is_written: bool) -> Result<bool, Violation> {
        if proposal.zxid <= self.history.last() && !mutated!(self, DuplicateProposeTaken) {
            return Ok(false);
        }
        if !follows(self.history.last(), proposal.zxid) {
            return Err(Violation("a proposal that leaves a hole"));
        }
        self.append(proposal, is_written)
            .map_err(|_| Violation("a configuration that cannot be read"))?;
        Ok(true)
    }

    /// The history was written before: writes keep their order.
    fn on_new_leader(&mut self, epoch: u32) -> Step {
        let Role::Following(following) = &mut self.role else {
            return Ok(());
        };
        if epoch != following.epoch {
            return Err(Violation("NEWLEADER of another epoch"));
        }
        following.stage = FollowingStage::NewLeader;
        let leader = following.leader;
        if self.epochs.current != epoch {
            self.epochs.current = epoch;
            self.disk.write(Write::CurrentEpoch(epoch));
        }
        let message = Message::Ack(Zxid::new(epoch, 0));
        if mutated!(self, NewLeaderAckedEarly) {
            self.send(leader, message);
        } else {
            self.send_when_durable(leader, message);
        }
        Ok(())
    }

    /// Everything that is committed was sent before.
    fn commit_to(&mut self, zxid: Zxid) -> Step {
        if zxid > self.history.last() {
            return Err(Violation("a commit of what was never proposed here"));
        }
        self.committed = self.committed.max(zxid);
        self.deliver();
        Ok(())
    }

    fn on_ping(&mut self, round: u64, committed: Zxid) -> Step {
        let Role::Following(following) = &self.role else {
            return Ok(());
        };
        let (leader, is_up_to_date) = (following.leader, following.is_up_to_date());
        let durable = self.disk.durable();
        self.send(leader, Message::Pong { round, durable });
        if is_up_to_date && !mutated!(self, UpToDateCarriesOldCommit) {
            self.commit_to(committed)?;
        }
        Ok(())
    }
}
