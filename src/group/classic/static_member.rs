//! A static member that comes back under a new member id takes its old place (KIP-345).
//!
//! In a Stable group whose protocol stays the same that causes no rebalance: the group is only stored
//! with the new id, and the join is answered when that record commits. From JoinGroup 9 on a leader
//! learns so (skip_assignment, KIP-814); before, it is told the *old* leader's id, so that it does
//! not assign.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::group::{ClassicGroup, ClassicGroupState as State};
use super::rebalance::{
    maybe_complete_join_phase, park_join, prepare_rebalance, reply_join, reply_sync,
    schedule_session,
};
use crate::error::ErrorCode;
use crate::group::command::{
    JoinGroup, JoinGroupReply, Protocol, SyncGroupReply, append_error_for_clients,
};
use crate::group::{Pending, TimerKey, Turn};
use crate::state_machine::{Outcome, ReplyToken};

/// A static member has taken its old place, and its record is on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticRejoin {
    pub group_id: Arc<str>,
    instance_id: Arc<str>,
    old_member_id: Arc<str>,
    new_member_id: Arc<str>,
    old_leader: Option<Arc<str>>,
    generation: i32,
    old_protocols: Vec<Protocol>,
    old_rebalance_timeout_ms: i32,
    old_session_timeout_ms: i32,
    supports_skipping_assignment: bool,
}

/// `ids` are the member's old id and its new one.
pub(super) fn static_member_rejoins(
    group: &mut ClassicGroup,
    turn: &mut Turn<'_>,
    token: ReplyToken,
    request: JoinGroup,
    ids: (Arc<str>, Arc<str>),
) {
    let (old_member_id, new_member_id) = ids;
    let instance_id = request.group_instance_id.clone();
    let (Some(instance_id), Some(old)) = (instance_id, group.member(&old_member_id)) else {
        let unknown = JoinGroupReply::failed("", ErrorCode::UnknownMemberId);
        reply_join(turn, Some(token), unknown);
        return;
    };
    let rejoin = StaticRejoin {
        group_id: group.group_id.clone(),
        instance_id: instance_id.clone(),
        old_leader: group.leader.clone(),
        generation: group.generation,
        old_protocols: old.protocols.clone(),
        old_rebalance_timeout_ms: old.rebalance_timeout_ms,
        old_session_timeout_ms: old.session_timeout_ms,
        supports_skipping_assignment: request.supports_skipping_assignment,
        old_member_id: old_member_id.clone(),
        new_member_id: new_member_id.clone(),
    };
    replace(group, turn, &instance_id, (&old_member_id, &new_member_id));
    schedule_session(group, turn, &new_member_id);
    group.update_member(
        &new_member_id,
        request.protocols,
        request.rebalance_timeout_ms,
        request.session_timeout_ms,
    );
    park_join(group, turn, &new_member_id, token);
    match group.state {
        State::Stable if group.select_protocol() == group.protocol_name => {
            let assignments: BTreeMap<_, _> = group
                .members()
                .map(|member| (member.member_id.clone(), member.assignment.clone()))
                .collect();
            turn.out.records.push(group.record(&assignments));
            turn.out.pending = Some(Pending::StaticRejoin(Box::new(rejoin)));
        }
        State::Stable | State::CompletingRebalance => prepare_rebalance(group, turn),
        State::PreparingRebalance | State::Empty => maybe_complete_join_phase(group, turn),
    }
}

/// Swaps the ids; whoever still uses the old one is fenced.
fn replace(
    group: &mut ClassicGroup,
    turn: &mut Turn<'_>,
    instance_id: &Arc<str>,
    ids: (&Arc<str>, &Arc<str>),
) {
    let (from, to) = ids;
    turn.timers.cancel(&TimerKey::session(group, from));
    let (joining, syncing) = group.replace_static_member(instance_id, from, to.clone());
    let fenced = JoinGroupReply::failed(from.clone(), ErrorCode::FencedInstanceId);
    reply_join(turn, joining, fenced);
    let fenced = SyncGroupReply::failed(ErrorCode::FencedInstanceId);
    reply_sync(turn, syncing, fenced);
}

/// The record with the member's new id is committed, or the member gets its old id back.
pub(in crate::group) fn settle_static_rejoin(
    group: &mut ClassicGroup,
    turn: &mut Turn<'_>,
    rejoin: StaticRejoin,
    outcome: Outcome,
) {
    let still_there = group.static_member_id(&rejoin.instance_id) == Some(&rejoin.new_member_id);
    match outcome {
        // A rebalance that began meanwhile answers the join when it is over.
        Outcome::Committed if !group.is(State::Stable) || group.generation != rejoin.generation => {
        }
        Outcome::Committed => {
            let is_leader = group.is_leader(&rejoin.new_member_id);
            let with_members = is_leader && rejoin.supports_skipping_assignment;
            let mut reply = group.join_reply(&rejoin.new_member_id, with_members);
            if rejoin.supports_skipping_assignment {
                reply.skip_assignment = is_leader;
            } else {
                reply.leader = rejoin.old_leader.unwrap_or_else(|| "".into());
            }
            let token = group.take_join(&rejoin.new_member_id);
            reply_join(turn, token, reply);
            schedule_session(group, turn, &rejoin.new_member_id);
        }
        Outcome::NotAppended(error) | Outcome::NotCommitted(error) if still_there => {
            let mut failed = JoinGroupReply::failed("", append_error_for_clients(error));
            failed.generation = group.generation;
            failed.protocol_type = group.protocol_type.clone();
            failed.protocol_name = group.protocol_name.clone();
            failed.leader = rejoin.old_leader.clone().unwrap_or_else(|| "".into());
            let token = group.take_join(&rejoin.new_member_id);
            reply_join(turn, token, failed);
            revert(group, turn, rejoin);
        }
        Outcome::NotAppended(_) | Outcome::NotCommitted(_) => {}
    }
}

fn revert(group: &mut ClassicGroup, turn: &mut Turn<'_>, rejoin: StaticRejoin) {
    group.update_member(
        &rejoin.new_member_id,
        rejoin.old_protocols,
        rejoin.old_rebalance_timeout_ms,
        rejoin.old_session_timeout_ms,
    );
    let ids = (&rejoin.new_member_id, &rejoin.old_member_id);
    replace(group, turn, &rejoin.instance_id, ids);
    schedule_session(group, turn, &rejoin.old_member_id);
}
