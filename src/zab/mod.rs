//! ZAB, the atomic broadcast under the metadata (DESIGN §4): a pure machine.
//!
//! Inputs go into `Peer::step` and `Peer::propose`; `Peer::ready` gives back what is to be written,
//! sent and delivered. Whatever may happen only after a write is durable waits inside the machine
//! for the write's `Receipt`, which nobody else can make: the driver cannot send or deliver too
//! early by mistake.
//!
//! The ensemble has one voter here, which is leader and follower at once and talks to itself in
//! ZAB's own messages; each message has the one sender and the one receiver it has between servers.
//! A larger ensemble is refused, not half done: it needs DIFF/TRUNC/SNAP, notifications in rounds,
//! pings and sessions.
//!
//! Invariants: an epoch is accepted durably before it is acknowledged; the history is durable before
//! `currentEpoch` names the epoch it belongs to, and that is durable before NEWLEADER is
//! acknowledged; a proposal is durable before it is acknowledged; proposals are delivered in zxid
//! order, each once, and only when a quorum acknowledged them or an established leader had them.

pub mod election;
pub mod follower;
pub mod history;
pub mod leader;
pub mod message;
pub mod peer;
pub mod quorum;

pub use history::follows;
pub use message::{Message, Proposal};
pub use peer::{EnsembleError, Input, NotLeading, Peer, Persist, Phase, Ready, Receipt, Write};

/// What a peer finds on its disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// The newest epoch it promised to follow.
    pub accepted_epoch: u32,
    /// The newest epoch whose initial history it has whole.
    pub current_epoch: u32,
    /// Everything up to here is in the snapshot.
    pub snapshot: crate::types::Zxid,
    /// What the log has after it, in order. Whether it is committed, only a leader can say.
    pub proposals: Vec<Proposal>,
}
