//! What a peer is made from, and why it may refuse to be made or to propose.

use uuid::Uuid;

use crate::types::{NodeId, Zxid};
use crate::zab::settings::Settings;
use crate::zab::voters::{InvalidVoters, Voters};

/// Nothing can be proposed here now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this server does not lead")]
pub struct NotLeading;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnsembleError {
    #[error("ensemble.voters names no voter")]
    NoVoters,
    /// The log is whole but cannot be what it should be.
    #[error("the voters at zxid {0:#x} of the log cannot be read: {1}")]
    Voters(Zxid, InvalidVoters),
}

/// What a peer is told of itself.
#[derive(Debug, Clone)]
pub struct PeerOptions {
    pub node: NodeId,
    /// Of the `zab` directory. Without one it is not recorded with the voters.
    pub directory: Option<Uuid>,
    /// None until the cluster has one.
    pub cluster_id: Option<String>,
    /// `ensemble.voters`: what counts until the log says otherwise. Who is not among them observes.
    pub voters: Voters,
    pub settings: Settings,
    /// Chance, as far as a peer needs any.
    pub seed: u64,
}

impl PeerOptions {
    pub fn new(node: NodeId, voters: Voters) -> Self {
        Self {
            node,
            directory: None,
            cluster_id: None,
            voters,
            settings: Settings::default(),
            seed: 0,
        }
    }
}
