//! What peers say to each other, under ZAB's names. `codec` has the bytes.
//!
//! A learner is whoever follows the leader: a follower, which votes, or an observer, which does not.

use bytes::Bytes;
use uuid::Uuid;

use crate::types::{NodeId, Zxid};
use crate::zab::election::Vote;
use crate::zab::voters::Voters;

/// What a proposal changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProposalKind {
    /// Whatever the driver makes of it.
    #[default]
    Data,
    /// The voters: the payload is `Voters::encode`, all of them as they are from here on.
    Reconfig,
}

/// A transaction and its place in the order of all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    pub zxid: Zxid,
    pub kind: ProposalKind,
    pub payload: Bytes,
}

impl Proposal {
    pub fn data(zxid: Zxid, payload: impl Into<Bytes>) -> Self {
        Self {
            zxid,
            kind: ProposalKind::Data,
            payload: payload.into(),
        }
    }
}

/// Election: where a server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notification {
    /// Of the sender's last election; rounds are compared, nothing else is read from them.
    pub round: u64,
    pub standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Whom it wants to lead; an observer wants nobody until it has heard of somebody.
    Looking(Option<Vote>),
    Following {
        leader: NodeId,
    },
    /// The epoch is 0 while it is being agreed upon.
    Leading {
        epoch: u32,
    },
}

/// Discovery: how a learner introduces itself to a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LearnerInfo {
    /// Numbers the learner's attempts to follow; comes back in LEADERINFO.
    pub attempt: u64,
    pub accepted_epoch: u32,
    /// Of its data directory: what tells a wiped server from the one that voted before.
    pub directory: Option<Uuid>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Election.
    Notification(Notification),
    /// Discovery, to the leader: the epoch that was accepted last.
    FollowerInfo(LearnerInfo),
    /// The same from one who thinks that it has no vote. Whether it has one, the leader knows better.
    ObserverInfo(LearnerInfo),
    /// Discovery, from the leader: the epoch that begins.
    LeaderInfo {
        attempt: u64,
        epoch: u32,
    },
    /// Discovery, to the leader: the epoch is accepted, durably; what the learner has.
    AckEpoch {
        attempt: u64,
        /// No leader was promised this epoch before: only then it counts for this one.
        promised: bool,
        current_epoch: u32,
        last_zxid: Zxid,
    },
    /// Synchronization, from the leader: the learner's history is the beginning of the leader's.
    Diff,
    /// Synchronization: it is, when cut off behind `to`.
    Trunc {
        to: Zxid,
    },
    /// Synchronization: a snapshot replaces it. `length` bytes follow in chunks.
    Snap {
        zxid: Zxid,
        voters: Voters,
        length: u64,
        /// CRC32C of the whole body.
        checksum: u32,
    },
    SnapChunk {
        position: u64,
        bytes: Bytes,
    },
    /// To the leader: the snapshot has come up to here.
    SnapAck {
        position: u64,
    },
    /// Synchronization: what came before is the initial history of the epoch.
    NewLeader {
        epoch: u32,
    },
    /// Synchronization: a quorum has it; everything up to here is committed.
    UpToDate {
        committed: Zxid,
    },
    /// Broadcast, from the leader; also carries the missing history in Synchronization.
    Propose(Proposal),
    /// To the leader: everything up to here is durable. With counter 0 it acknowledges NEWLEADER.
    Ack(Zxid),
    /// Broadcast, from the leader: everything up to here may be delivered.
    Commit(Zxid),
    /// Broadcast, to observers: PROPOSE and COMMIT in one.
    Inform(Proposal),
    /// From the leader, to every learner.
    Ping {
        round: u64,
        committed: Zxid,
    },
    /// The answer, with what is durable at the learner.
    Pong {
        round: u64,
        durable: Zxid,
    },
    /// To the leader's driver.
    Request {
        seq: u64,
        payload: Bytes,
    },
    /// To the learner's driver, for when it has applied `after`.
    Answer {
        seq: u64,
        after: Zxid,
        payload: Bytes,
    },
    /// To the leader: how far must I come to have everything that was committed when I asked?
    Sync {
        seq: u64,
    },
    /// So far.
    Synced {
        seq: u64,
        zxid: Zxid,
    },
}
