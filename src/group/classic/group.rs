//! A live classic group: its members, its state and who waits in it.
//!
//! Soft state: what of it must survive is in the GroupMetadata record written when a generation's
//! assignment is known. Changes here decide nothing about time or records; `rebalance.rs` and its
//! neighbours do.
//!
//! Invariants: the leader is a member (or there is none); every static mapping names a member; pending
//! members are no members; the counts of waiting joins and of supported protocols match the members;
//! only members wait, each in at most one join and one sync.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::member::ClassicGroupMember;
use crate::error::ErrorCode;
use crate::group::command::{JoinGroupReply, JoinedMember, Protocol, SyncGroupReply};
use crate::group::consumer_protocol;
use crate::group::records::{GroupMetadataValue, Record};
use crate::state_machine::ReplyToken;
use crate::types::TimestampMs;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClassicGroupState {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
}

impl ClassicGroupState {
    /// Kafka's name. A group that does not exist is described as `Dead`; no live group is in that state.
    pub fn name(self) -> &'static str {
        match self {
            ClassicGroupState::Empty => "Empty",
            ClassicGroupState::PreparingRebalance => "PreparingRebalance",
            ClassicGroupState::CompletingRebalance => "CompletingRebalance",
            ClassicGroupState::Stable => "Stable",
        }
    }
}

/// How an initial rebalance waits for more members: what is left of the longest wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InitialRebalance {
    pub delay_ms: i32,
    pub remaining_ms: i32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassicGroup {
    pub group_id: Arc<str>,
    pub state: ClassicGroupState,
    pub(super) previous_state: Option<ClassicGroupState>,
    pub state_timestamp: Option<TimestampMs>,
    pub protocol_type: Option<Arc<str>>,
    pub protocol_name: Option<Arc<str>>,
    pub generation: i32,
    pub leader: Option<Arc<str>>,
    members: BTreeMap<Arc<str>, ClassicGroupMember>,
    static_members: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids given out to dynamic members that have not joined with them yet (KIP-394).
    pub(super) pending_join: BTreeSet<Arc<str>>,
    /// Members of this generation that have not asked for their assignment yet.
    pub(super) pending_sync: BTreeSet<Arc<str>>,
    /// Of a group of consumers whose subscriptions could be read.
    pub subscribed_topics: Option<BTreeSet<Arc<str>>>,
    awaiting_join_count: usize,
    supported_protocols: BTreeMap<Arc<str>, usize>,
    pub(super) new_member_added: bool,
    pub(super) initial_rebalance: Option<InitialRebalance>,
}

impl ClassicGroup {
    pub fn new(group_id: Arc<str>, now: TimestampMs) -> Self {
        Self {
            group_id,
            state: ClassicGroupState::Empty,
            previous_state: None,
            state_timestamp: Some(now),
            protocol_type: None,
            protocol_name: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_join: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            subscribed_topics: None,
            awaiting_join_count: 0,
            supported_protocols: BTreeMap::new(),
            new_member_added: false,
            initial_rebalance: None,
        }
    }

    /// The group as its record tells it: Stable with its members, or Empty.
    pub fn load(group_id: Arc<str>, stored: &GroupMetadataValue) -> Self {
        let mut group = Self::new(group_id, TimestampMs::NONE);
        if !stored.members.is_empty() {
            group.state = ClassicGroupState::Stable;
        }
        group.state_timestamp = stored.state_timestamp;
        group.generation = stored.generation;
        group.protocol_type =
            Some(stored.protocol_type.clone()).filter(|protocol_type| !protocol_type.is_empty());
        group.protocol_name = stored.protocol.clone();
        let protocol = stored.protocol.as_deref().unwrap_or_default();
        for member in &stored.members {
            let member = ClassicGroupMember::load(member, &stored.protocol_type, protocol);
            group.add(member);
        }
        if let Some(leader) = &stored.leader
            && group.members.contains_key(leader)
        {
            group.leader = Some(leader.clone());
        }
        group.subscribed_topics = group.compute_subscribed_topics();
        group
    }

    pub fn is(&self, state: ClassicGroupState) -> bool {
        self.state == state
    }

    pub fn transition_to(&mut self, state: ClassicGroupState, now: TimestampMs) {
        self.previous_state = Some(self.state);
        self.state = state;
        self.state_timestamp = Some(now);
    }

    pub fn members(&self) -> impl Iterator<Item = &ClassicGroupMember> {
        self.members.values()
    }

    pub fn member_ids(&self) -> Vec<Arc<str>> {
        self.members.keys().cloned().collect()
    }

    pub fn size(&self) -> usize {
        self.members.len()
    }

    pub fn member(&self, member_id: &str) -> Option<&ClassicGroupMember> {
        self.members.get(member_id)
    }

    pub(super) fn member_mut(&mut self, member_id: &str) -> Option<&mut ClassicGroupMember> {
        self.members.get_mut(member_id)
    }

    pub fn has_member(&self, member_id: &str) -> bool {
        self.members.contains_key(member_id)
    }

    pub fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    pub fn static_member_id(&self, group_instance_id: &str) -> Option<&Arc<str>> {
        self.static_members.get(group_instance_id)
    }

    pub fn static_count(&self) -> usize {
        self.static_members.len()
    }

    pub fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(consumer_protocol::PROTOCOL_TYPE)
    }

    /// Only commits offsets, and nobody is about to join.
    pub fn is_simple(&self) -> bool {
        self.protocol_type.is_none()
            && self.is(ClassicGroupState::Empty)
            && self.pending_join.is_empty()
    }

    pub fn awaiting_join_count(&self) -> usize {
        self.awaiting_join_count
    }

    pub fn has_all_members_joined(&self) -> bool {
        self.members.len() == self.awaiting_join_count && self.pending_join.is_empty()
    }

    /// The longest any member wants to be waited for.
    pub fn rebalance_timeout_ms(&self) -> i32 {
        self.members
            .values()
            .map(|member| member.rebalance_timeout_ms)
            .max()
            .unwrap_or(0)
            .max(0)
    }

    /// Takes a member in. The first one decides the protocol type and leads.
    pub fn add(&mut self, member: ClassicGroupMember) {
        if let Some(instance_id) = &member.group_instance_id {
            self.static_members
                .insert(instance_id.clone(), member.member_id.clone());
        }
        if self.members.is_empty() {
            self.protocol_type = Some(member.protocol_type.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(member.member_id.clone());
        }
        self.count_protocols(&member.protocols, true);
        self.awaiting_join_count += usize::from(member.is_awaiting_join());
        self.pending_join.remove(&member.member_id);
        self.members.insert(member.member_id.clone(), member);
    }

    /// Forgets a member, pending or not, and hands back what it was waiting with.
    pub fn remove(&mut self, member_id: &str) -> Option<ClassicGroupMember> {
        self.pending_join.remove(member_id);
        self.pending_sync.remove(member_id);
        let member = self.members.remove(member_id)?;
        self.count_protocols(&member.protocols, false);
        self.awaiting_join_count -= usize::from(member.is_awaiting_join());
        if let Some(instance_id) = &member.group_instance_id {
            self.static_members.remove(instance_id);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// Gives a static member's place to the id its instance has come back with. Both of the old one's
    /// waiting requests are returned, to be fenced.
    pub fn replace_static_member(
        &mut self,
        instance_id: &Arc<str>,
        old_member_id: &str,
        new_member_id: Arc<str>,
    ) -> (Option<ReplyToken>, Option<ReplyToken>) {
        let Some(mut member) = self.members.remove(old_member_id) else {
            return (None, None);
        };
        self.awaiting_join_count -= usize::from(member.is_awaiting_join());
        let fenced = (member.awaiting_join.take(), member.awaiting_sync.take());
        member.member_id = new_member_id.clone();
        member.is_new = false;
        self.members.insert(new_member_id.clone(), member);
        if self.pending_sync.remove(old_member_id) {
            self.pending_sync.insert(new_member_id.clone());
        }
        if self.is_leader(old_member_id) {
            self.leader = Some(new_member_id.clone());
        }
        self.static_members
            .insert(instance_id.clone(), new_member_id);
        fenced
    }

    /// Renews what a member says of itself when it joins.
    pub fn update_member(
        &mut self,
        member_id: &str,
        protocols: Vec<Protocol>,
        rebalance_timeout_ms: i32,
        session_timeout_ms: i32,
    ) {
        let Some(member) = self.members.get_mut(member_id) else {
            return;
        };
        member.rebalance_timeout_ms = rebalance_timeout_ms;
        member.session_timeout_ms = session_timeout_ms;
        let before = std::mem::replace(&mut member.protocols, protocols.clone());
        self.count_protocols(&before, false);
        self.count_protocols(&protocols, true);
    }

    fn count_protocols(&mut self, protocols: &[Protocol], in_use: bool) {
        // A member that names one twice is still one member.
        let names: BTreeSet<&Arc<str>> = protocols.iter().map(|(name, _)| name).collect();
        for name in names {
            let count = self.supported_protocols.entry(name.clone()).or_default();
            if in_use {
                *count += 1;
            } else {
                *count = count.saturating_sub(1);
            }
            if *count == 0 {
                self.supported_protocols.remove(name);
            }
        }
    }

    /// Lets a member wait for the rebalance to complete; a request it already waited with is returned.
    #[must_use]
    pub fn park_join(&mut self, member_id: &str, token: ReplyToken) -> Option<ReplyToken> {
        let member = self.members.get_mut(member_id)?;
        let superseded = member.awaiting_join.replace(token);
        self.awaiting_join_count += usize::from(superseded.is_none());
        superseded
    }

    #[must_use]
    pub fn take_join(&mut self, member_id: &str) -> Option<ReplyToken> {
        let token = self.members.get_mut(member_id)?.awaiting_join.take();
        self.awaiting_join_count -= usize::from(token.is_some());
        token
    }

    #[must_use]
    pub fn park_sync(&mut self, member_id: &str, token: ReplyToken) -> Option<ReplyToken> {
        self.members
            .get_mut(member_id)?
            .awaiting_sync
            .replace(token)
    }

    #[must_use]
    pub fn take_sync(&mut self, member_id: &str) -> Option<ReplyToken> {
        self.members.get_mut(member_id)?.awaiting_sync.take()
    }

    /// Whether a member with this type and these protocols has something in common with everybody.
    pub fn supports_protocols(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.is(ClassicGroupState::Empty) {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols
                .iter()
                .any(|(name, _)| self.protocol_is_common(name))
    }

    fn protocol_is_common(&self, name: &str) -> bool {
        self.supported_protocols.get(name).copied().unwrap_or(0) == self.members.len()
    }

    /// The protocol most members prefer among those everybody knows; of equals the first by name.
    pub fn select_protocol(&self) -> Option<Arc<str>> {
        let candidates: BTreeSet<Arc<str>> = self
            .supported_protocols
            .iter()
            .filter(|(_, count)| **count == self.members.len())
            .map(|(name, _)| name.clone())
            .collect();
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for vote in self
            .members
            .values()
            .filter_map(|member| member.vote(&candidates))
        {
            *votes.entry(vote).or_default() += 1;
        }
        let most = votes.values().max().copied()?;
        votes
            .into_iter()
            .find(|(_, count)| *count == most)
            .map(|(name, _)| name.clone())
    }

    /// Who is at fault when a request comes in the name of this member.
    pub fn validate_member(
        &self,
        member_id: &str,
        group_instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance_id) = group_instance_id {
            match self.static_member_id(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(known) if **known != *member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if !self.has_member(member_id) {
            return Err(ErrorCode::UnknownMemberId);
        }
        Ok(())
    }

    /// Makes sure that the leader is one of those who have joined; whether anybody has.
    pub fn maybe_elect_new_joined_leader(&mut self) -> bool {
        let Some(leader) = &self.leader else {
            return false;
        };
        if self
            .members
            .get(leader)
            .is_some_and(ClassicGroupMember::is_awaiting_join)
        {
            return true;
        }
        let joined = self
            .members
            .values()
            .find(|member| member.is_awaiting_join())
            .map(|member| member.member_id.clone());
        match joined {
            Some(member_id) => {
                self.leader = Some(member_id);
                true
            }
            None => false,
        }
    }

    /// The rebalance is over: the next generation waits for its assignment, or is nobody.
    pub fn init_next_generation(&mut self, now: TimestampMs) {
        self.generation += 1;
        self.pending_sync.clear();
        if self.members.is_empty() {
            self.protocol_name = None;
            self.transition_to(ClassicGroupState::Empty, now);
        } else {
            self.protocol_name = self.select_protocol();
            self.transition_to(ClassicGroupState::CompletingRebalance, now);
        }
        self.subscribed_topics = self.compute_subscribed_topics();
    }

    fn compute_subscribed_topics(&self) -> Option<BTreeSet<Arc<str>>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        let mut topics = BTreeSet::new();
        if self.members.is_empty() {
            return Some(topics);
        }
        let protocol = self.protocol_name.as_deref()?;
        for member in self.members.values() {
            consumer_protocol::add_topics(&member.metadata(protocol), &mut topics).ok()?;
        }
        Some(topics)
    }

    /// A group of consumers whose subscriptions cannot be read counts as subscribed to everything.
    pub fn is_subscribed_to_topic(&self, topic: &str) -> bool {
        match &self.subscribed_topics {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    pub fn joined_members(&self) -> Vec<JoinedMember> {
        self.members
            .values()
            .map(|member| member.joined(self.protocol_name.as_deref()))
            .collect()
    }

    /// The good end of a join; the leader alone learns who else is there.
    pub fn join_reply(&self, member_id: &Arc<str>, with_members: bool) -> JoinGroupReply {
        JoinGroupReply {
            error: ErrorCode::None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            leader: self.leader.clone().unwrap_or_else(|| "".into()),
            skip_assignment: false,
            member_id: member_id.clone(),
            members: match with_members {
                true => self.joined_members(),
                false => Vec::new(),
            },
        }
    }

    /// The good end of a sync.
    pub fn sync_reply(&self, assignment: Bytes) -> SyncGroupReply {
        SyncGroupReply {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol_name.clone(),
            assignment,
        }
    }

    /// The record of the group with these assignments; members without one get the empty one.
    pub fn record(&self, assignments: &BTreeMap<Arc<str>, Bytes>) -> Record {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        let members = self.members.values().map(|member| {
            let assignment = assignments.get(&member.member_id).cloned();
            member.stored(protocol, assignment.unwrap_or_default())
        });
        Record::GroupMetadata {
            group: self.group_id.clone(),
            value: Some(GroupMetadataValue {
                protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
                generation: self.generation,
                protocol: self.protocol_name.clone(),
                leader: self.leader.clone(),
                state_timestamp: self.state_timestamp,
                members: members.collect(),
            }),
        }
    }

    /// The record that makes a group known whose first member has only just come.
    pub fn empty_record(&self) -> Record {
        Record::GroupMetadata {
            group: self.group_id.clone(),
            value: Some(GroupMetadataValue {
                protocol_type: "".into(),
                generation: 0,
                protocol: None,
                leader: None,
                state_timestamp: self.state_timestamp,
                members: Vec::new(),
            }),
        }
    }

    /// Ids that were given out count no more.
    pub(in crate::group) fn forget_pending(&mut self) {
        self.pending_join.clear();
    }

    /// Panics where the group contradicts itself.
    #[cfg(test)]
    pub fn check(&self) {
        if let Some(leader) = &self.leader {
            assert!(
                self.members.contains_key(leader),
                "leader {leader} is no member"
            );
        } else {
            assert!(self.members.is_empty(), "members without a leader");
        }
        let waiting = self.members().filter(|member| member.is_awaiting_join());
        assert_eq!(waiting.count(), self.awaiting_join_count);
        for (instance_id, member_id) in &self.static_members {
            let member = &self.members[member_id];
            assert_eq!(member.group_instance_id.as_ref(), Some(instance_id));
        }
        let statics = self.members().filter(|member| member.is_static()).count();
        assert_eq!(statics, self.static_members.len());
        for pending in &self.pending_join {
            assert!(!self.members.contains_key(pending));
        }
        for pending in &self.pending_sync {
            assert!(self.members.contains_key(pending));
        }
        let mut supported: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for (name, _) in self.members().flat_map(|member| &member.protocols) {
            *supported.entry(name.clone()).or_default() += 1;
        }
        assert_eq!(supported, self.supported_protocols);
        match self.state {
            ClassicGroupState::Empty => assert!(self.members.is_empty()),
            ClassicGroupState::PreparingRebalance => {}
            ClassicGroupState::CompletingRebalance | ClassicGroupState::Stable => {
                assert!(!self.members.is_empty());
                assert!(self.protocol_name.is_some());
            }
        }
    }
}
