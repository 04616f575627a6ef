//! One member of a classic group, as the live group knows it.
//!
//! Owned by its [`super::ClassicGroup`], which alone parks and answers its requests: the group counts
//! who waits.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::group::command::{DescribedMember, JoinedMember, Protocol};
use crate::group::records::MemberMetadata;
use crate::state_machine::ReplyToken;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicGroupMember {
    pub member_id: Arc<str>,
    pub group_instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub protocol_type: Arc<str>,
    /// Best first.
    pub protocols: Vec<Protocol>,
    pub assignment: Bytes,
    /// A join that is answered when the rebalance completes.
    pub(super) awaiting_join: Option<ReplyToken>,
    /// A sync that is answered when the leader's assignment is committed.
    pub(super) awaiting_sync: Option<ReplyToken>,
    /// Has not seen a rebalance complete yet: waiting in a join is no sign of life then (its client may
    /// be gone and nobody would notice), so its first deadline counts.
    pub is_new: bool,
}

impl ClassicGroupMember {
    /// The metadata for the protocol, empty when the member does not know it.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|(name, _)| **name == *protocol)
            .map(|(_, metadata)| metadata.clone())
            .unwrap_or_default()
    }

    /// The first of its protocols that everybody knows.
    pub fn vote<'a>(&'a self, candidates: &BTreeSet<Arc<str>>) -> Option<&'a Arc<str>> {
        self.protocols
            .iter()
            .map(|(name, _)| name)
            .find(|name| candidates.contains(*name))
    }

    /// Whether a waiting request of its own proves it alive.
    pub fn has_satisfied_heartbeat(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }

    pub fn is_awaiting_join(&self) -> bool {
        self.awaiting_join.is_some()
    }

    pub fn is_static(&self) -> bool {
        self.group_instance_id.is_some()
    }

    pub(super) fn joined(&self, protocol: Option<&str>) -> JoinedMember {
        JoinedMember {
            member_id: self.member_id.clone(),
            group_instance_id: self.group_instance_id.clone(),
            metadata: protocol.map(|name| self.metadata(name)).unwrap_or_default(),
        }
    }

    pub(super) fn described(&self, protocol: Option<&str>) -> DescribedMember {
        DescribedMember {
            member_id: self.member_id.clone(),
            group_instance_id: self.group_instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            metadata: protocol.map(|name| self.metadata(name)).unwrap_or_default(),
            assignment: self.assignment.clone(),
        }
    }

    pub(super) fn stored(&self, protocol: &str, assignment: Bytes) -> MemberMetadata {
        MemberMetadata {
            member_id: self.member_id.clone(),
            group_instance_id: self.group_instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            session_timeout_ms: self.session_timeout_ms,
            subscription: self.metadata(protocol),
            assignment,
        }
    }

    /// As it comes back from a record: of its protocols only the chosen one is known.
    pub(super) fn load(stored: &MemberMetadata, protocol_type: &Arc<str>, protocol: &str) -> Self {
        Self {
            member_id: stored.member_id.clone(),
            group_instance_id: stored.group_instance_id.clone(),
            client_id: stored.client_id.clone(),
            client_host: stored.client_host.clone(),
            rebalance_timeout_ms: stored.rebalance_timeout_ms,
            session_timeout_ms: stored.session_timeout_ms,
            protocol_type: protocol_type.clone(),
            protocols: vec![(protocol.into(), stored.subscription.clone())],
            assignment: stored.assignment.clone(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
        }
    }
}
