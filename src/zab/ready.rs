//! What goes into a peer and what comes out: the whole contract with its driver.
//!
//! The driver steps inputs, then takes `Peer::ready` and does all of it: the writes in their order
//! (then `Input::Durable`), the messages in their order. Nothing in a `Ready` waits for anything
//! else in it, but `restore` comes before `apply`. `Peer::next_deadline` says when `Input::Tick` is due.
//!
//! Links: one ordered connection per pair. What a peer wanted sent before it was told of a
//! connection must not go over that connection: a driver numbers connections and drops it.

use bytes::Bytes;

use crate::types::{NodeId, Zxid};
use crate::zab::message::{Message, Proposal};
use crate::zab::voters::Voters;

/// What happens to a peer.
#[derive(Debug)]
pub enum Input {
    /// Once, first.
    Start,
    /// Time went by.
    Tick,
    /// What `Ready::persist` asked for, and everything asked for before, is on disk.
    Durable(Receipt),
    /// A connection to a node whose `Hello` was admitted. When there was one before, it is gone.
    Connected(NodeId),
    /// The connection is gone. Its messages never come after this, nor after the next `Connected`.
    Disconnected(NodeId),
    Message {
        from: NodeId,
        message: Message,
    },
    /// What `Ready::wants_snapshot` asked for: the image when exactly `zxid` was applied.
    SnapshotTaken {
        zxid: Zxid,
        body: Bytes,
    },
}

/// What a peer wants done.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub struct Ready {
    /// To be written in this order and made durable, then answered by `Input::Durable`.
    pub persist: Option<Persist>,
    /// To other servers.
    pub send: Vec<(NodeId, Message)>,
    /// Replaces the whole image, before anything of `apply`; it is durable.
    pub restore: Option<Snapshot>,
    /// Committed, and durable here: to be applied in this order. Who applies Data counts Reconfig, too.
    pub apply: Vec<Proposal>,
    /// A learner needs a snapshot of what is applied: `Input::SnapshotTaken`, at leisure.
    pub wants_snapshot: bool,
    /// To this node as the leader: for `Peer::answer`.
    pub requests: Vec<Request>,
    /// To this node's own requests: each counts when `after` is applied here.
    pub answers: Vec<Answer>,
    /// To this node's own SYNCs: when `zxid` is applied here, reads are current.
    pub synced: Vec<(u64, Zxid)>,
    pub events: Vec<Event>,
}

impl Ready {
    pub fn is_empty(&self) -> bool {
        let Self {
            persist,
            send,
            restore,
            apply,
            wants_snapshot,
            requests,
            answers,
            synced,
            events,
        } = self;
        persist.is_none()
            && send.is_empty()
            && restore.is_none()
            && apply.is_empty()
            && !wants_snapshot
            && requests.is_empty()
            && answers.is_empty()
            && synced.is_empty()
            && events.is_empty()
    }
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
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
    /// Everything after the zxid goes, and never comes back.
    Truncate(Zxid),
    /// Replaces snapshot and log together, in one moment.
    Install(Snapshot),
}

/// Everything up to a zxid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub zxid: Zxid,
    /// As they were at the zxid.
    pub voters: Voters,
    /// The driver's own.
    pub body: Bytes,
}

/// Proof of a durable write. Only a peer makes one, and only with the write to do.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Receipt(pub(super) u64);

#[cfg(test)]
impl Receipt {
    pub fn number(&self) -> u64 {
        self.0
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub from: NodeId,
    pub seq: u64,
    pub payload: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub seq: u64,
    pub after: Zxid,
    pub payload: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An election began here: whatever was asked of the leader before may be lost.
    Looking,
    /// This node's leadership is established; everything before its epoch is in `apply`.
    Leading { epoch: u32 },
    /// This node is up to date with a leader.
    Following { leader: NodeId, epoch: u32 },
    /// To a leader: the learner is up to date, or is heard again.
    LearnerConnected(NodeId),
    /// To a leader: its connection is gone.
    LearnerClosed(NodeId),
    /// To a leader: it was not heard for the session timeout.
    LearnerSilent(NodeId),
    /// The newest configuration in the log is another one.
    VotersChanged,
    /// The other one said what it must not say; this node goes to an election rather than believe it.
    Violation { by: NodeId, what: &'static str },
}
