//! What a node asks the leader's driver, and what it is answered: commands for the controller, and what concerns the
//! ensemble itself. Both travel between nodes (ZAB's REQUEST), under the rules of `controller::records`.

use minicbor::{Decode, Encode};
use uuid::Uuid;

use crate::controller::command::{ApiError, Command, Reply};
use crate::controller::records::uuid_bytes;
use crate::types::{NodeId, Zxid};
use crate::zab::Status;

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) enum Asked {
    #[n(0)]
    Command(#[n(0)] Command),
    #[n(1)]
    DescribeQuorum,
    #[n(2)]
    AddVoter(#[n(0)] AddVoter),
    #[n(3)]
    RemoveVoter(#[n(0)] RemoveVoter),
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) enum Answered {
    #[n(0)]
    Reply(#[n(0)] Reply),
    #[n(1)]
    Quorum(#[n(0)] Quorum),
    #[n(2)]
    VotersChanged(#[n(0)] Result<(), ApiError>),
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AddVoter {
    #[n(0)]
    pub node: NodeId,
    #[n(1)]
    #[cbor(with = "uuid_bytes")]
    pub directory: Uuid,
    #[n(2)]
    pub host: String,
    #[n(3)]
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RemoveVoter {
    #[n(0)]
    pub node: NodeId,
    #[n(1)]
    #[cbor(with = "uuid_bytes")]
    pub directory: Uuid,
}

/// The ensemble, as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Quorum {
    #[n(0)]
    pub leader: NodeId,
    #[n(1)]
    pub epoch: u32,
    #[n(2)]
    pub committed: Zxid,
    #[n(3)]
    pub elections: u64,
    /// By id.
    #[n(4)]
    pub members: Vec<QuorumMember>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct QuorumMember {
    #[n(0)]
    pub node: NodeId,
    #[n(1)]
    pub is_voter: bool,
    /// Of a voter that has followed once.
    #[n(2)]
    #[cbor(with = "uuid_bytes")]
    pub directory: Uuid,
    #[n(3)]
    pub host: String,
    #[n(4)]
    pub port: u16,
    /// What is durable there; `None` of one that the leader has not heard of.
    #[n(5)]
    pub durable: Option<Zxid>,
    #[n(6)]
    pub is_up_to_date: bool,
    /// Milliseconds since the leader last heard of it.
    #[n(7)]
    pub silent_ms: Option<u64>,
}

impl Quorum {
    /// Of a leader's own status.
    pub(super) fn of(status: &Status, now: crate::state_machine::Tick) -> Self {
        let mut members: Vec<QuorumMember> = status
            .voters
            .iter()
            .map(|(node, voter)| {
                let own = node == status.node;
                QuorumMember {
                    node,
                    is_voter: true,
                    directory: voter.directory.unwrap_or_default(),
                    host: voter.host.clone(),
                    port: voter.port,
                    durable: own.then_some(status.durable),
                    is_up_to_date: own,
                    silent_ms: own.then_some(0),
                }
            })
            .collect();
        for learner in &status.learners {
            let at = members.binary_search_by_key(&learner.node, |member| member.node);
            let at = at.unwrap_or_else(|at| {
                let observer = QuorumMember {
                    node: learner.node,
                    is_voter: false,
                    directory: Uuid::nil(),
                    host: String::new(),
                    port: 0,
                    durable: None,
                    is_up_to_date: false,
                    silent_ms: None,
                };
                members.insert(at, observer);
                at
            });
            if let Some(member) = members.get_mut(at) {
                member.durable = Some(learner.acked);
                member.is_up_to_date = learner.is_up_to_date;
                member.silent_ms = Some(now.0.saturating_sub(learner.last_contact.0));
            }
        }
        Self {
            leader: status.node,
            epoch: status.current_epoch,
            committed: status.committed,
            elections: status.elections,
            members,
        }
    }
}
