//! What peers say to each other, under ZAB's names.

use bytes::Bytes;

use crate::types::Zxid;
use crate::zab::election::Vote;

/// A transaction and its place in the order of all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    pub zxid: Zxid,
    pub payload: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Election: whom the sender wants to lead.
    Notification(Vote),
    /// Discovery, to the leader: the epoch that was accepted last.
    FollowerInfo { accepted_epoch: u32 },
    /// Discovery, from the leader: the epoch that begins.
    LeaderInfo { epoch: u32 },
    /// Discovery, to the leader: the epoch is accepted, durably; what the follower has.
    AckEpoch { current_epoch: u32, last_zxid: Zxid },
    /// Synchronization, from the leader: what came before is the initial history of the epoch.
    NewLeader { epoch: u32 },
    /// Synchronization, from the leader: a quorum has it; all of it is committed.
    UpToDate,
    /// Broadcast, from the leader.
    Propose(Proposal),
    /// To the leader: everything up to here is durable. With counter 0 it acknowledges NEWLEADER.
    Ack(Zxid),
    /// Broadcast, from the leader: everything up to here may be delivered.
    Commit(Zxid),
}
