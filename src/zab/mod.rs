//! ZAB, the atomic broadcast under the metadata (DESIGN §4): a pure machine.
//!
//! Inputs go into `Peer::step` and `Peer::propose`; `Peer::ready` gives back what is to be written,
//! sent and delivered. Whatever may happen only after a write is durable waits inside the machine
//! for the write's `Receipt`, which nobody else can make: the driver cannot send or deliver too
//! early by mistake.
//!
//! Time comes with the inputs, chance as a seed; links are the driver's.
//!
//! The phases are those of the paper (Junqueira, Reed, Serafini: "Zab: High-performance broadcast for
//! primary-backup systems", DSN 2011): `looking` and `election`; Discovery and Synchronization in
//! `leading` and `following`; `broadcast`. A leader is a learner of itself. An ensemble of one is the
//! same machine without anybody to talk to.
//!
//! Invariants: an epoch is accepted durably before it is acknowledged, and counts only for the first
//! leader it was promised to; the history is durable before `currentEpoch` names the epoch it belongs
//! to, and that is durable before NEWLEADER is acknowledged; nothing is proposed before a quorum
//! acknowledged NEWLEADER; a proposal is durable before it is acknowledged; proposals are delivered in
//! zxid order, each once, and only when they are durable here and a quorum acknowledged them or an
//! established leader had them.

/// Whether a test broke the peer in this way on purpose; never, outside of tests.
macro_rules! mutated {
    ($peer:expr, $mutation:ident) => {{
        #[cfg(test)]
        let is_mutated = $peer.mutation == crate::zab::mutation::Mutation::$mutation;
        #[cfg(not(test))]
        let is_mutated = false;
        is_mutated
    }};
}

pub mod admission;
mod broadcast;
pub mod codec;
mod disk;
pub mod election;
mod following;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub mod history;
mod leading;
mod learner;
mod looking;
pub mod message;
#[cfg(test)]
pub mod mutation;
pub mod options;
pub mod peer;
pub mod ready;
mod receiver;
mod reconfig;
mod requests;
mod serving;
pub mod settings;
pub mod status;
#[cfg(test)]
pub mod testing;
pub mod voters;

pub use admission::{Hello, PROTOCOL_VERSION, Refusal};
pub use history::follows;
pub use message::{Message, Proposal, ProposalKind};
pub use options::{EnsembleError, NotLeading, PeerOptions};
pub use peer::{Peer, Phase};
pub use ready::{Answer, Event, Input, Persist, Ready, Receipt, Request, Snapshot, Write};
pub use reconfig::{Change, ReconfigError};
pub use requests::NoLeader;
pub use settings::Settings;
pub use status::{LearnerStatus, Role, Status};
pub use voters::{Voter, Voters};

/// What a peer finds on its disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recovered {
    /// The newest epoch it promised to follow.
    pub accepted_epoch: u32,
    /// The newest epoch whose initial history it has whole.
    pub current_epoch: u32,
    /// Everything up to here is in the snapshot.
    pub snapshot: crate::types::Zxid,
    /// As the snapshot has them; those of the configuration file when there is none.
    pub voters: Option<Voters>,
    /// What the log has after it, in order. Whether it is committed, only a leader can say.
    pub proposals: Vec<Proposal>,
}

#[cfg(test)]
mod tests;
