//! JoinGroup: who is let in, under which id, and whether that unsettles the group.
//!
//! Session timeout bounds and the empty group id are the API's to refuse. Parked joins are answered by
//! `rebalance.rs`.

use std::sync::Arc;

use super::group::{ClassicGroup, ClassicGroupState as State};
use super::member::ClassicGroupMember;
use super::rebalance::{
    NEW_MEMBER_JOIN_TIMEOUT_MS, maybe_complete_join_phase,
    maybe_prepare_rebalance_or_complete_join, park_join, remove_member, reply_join,
};
use super::static_member::static_member_rejoins;
use crate::error::ErrorCode;
use crate::group::command::{JoinGroup, JoinGroupReply};
use crate::group::{TimerKey, Turn};
use crate::state_machine::ReplyToken;

/// Lets a member into a group that exists by now.
pub(in crate::group) fn join(
    group: &mut ClassicGroup,
    turn: &mut Turn<'_>,
    token: ReplyToken,
    request: JoinGroup,
) {
    let is_unknown_member = request.member_id.is_empty();
    if !accepts(group, turn, &request.member_id) {
        remove_member(group, turn, &request.member_id);
        let full = JoinGroupReply::failed("", ErrorCode::GroupMaxSizeReached);
        reply_join(turn, Some(token), full);
        // It may have been the last one waited for.
        maybe_complete_join_phase(group, turn);
    } else if !group.supports_protocols(&request.protocol_type, &request.protocols) {
        let error = ErrorCode::InconsistentGroupProtocol;
        let inconsistent = JoinGroupReply::failed(request.member_id, error);
        reply_join(turn, Some(token), inconsistent);
    } else if is_unknown_member {
        join_new_member(group, turn, token, request);
    } else {
        join_existing_member(group, turn, token, request);
    }
}

/// Whether there is room under `group.max.size`, which counts those who have joined while a rebalance
/// is being prepared, and everybody otherwise.
fn accepts(group: &ClassicGroup, turn: &Turn<'_>, member_id: &str) -> bool {
    let max_size = turn.config.max_size;
    match group.state {
        State::Empty => true,
        State::PreparingRebalance => {
            let waits = group
                .member(member_id)
                .is_some_and(ClassicGroupMember::is_awaiting_join);
            waits || group.awaiting_join_count() < max_size
        }
        State::CompletingRebalance | State::Stable => {
            group.has_member(member_id) || group.size() < max_size
        }
    }
}

fn join_new_member(
    group: &mut ClassicGroup,
    turn: &mut Turn<'_>,
    token: ReplyToken,
    request: JoinGroup,
) {
    let prefix = match &request.group_instance_id {
        Some(instance_id) => instance_id,
        None => &request.client_id,
    };
    let member_id: Arc<str> = format!("{prefix}-{}", request.fresh_id).into();
    if let Some(instance_id) = &request.group_instance_id {
        match group.static_member_id(instance_id).cloned() {
            Some(old_member_id) => {
                static_member_rejoins(group, turn, token, request, (old_member_id, member_id));
            }
            None => add_member(group, turn, token, request, member_id),
        }
    } else if request.requires_known_member_id {
        group.pending_join.insert(member_id.clone());
        let timeout_ms = i64::from(request.session_timeout_ms);
        turn.schedule(TimerKey::session(group, &member_id), timeout_ms);
        let again = JoinGroupReply::failed(member_id, ErrorCode::MemberIdRequired);
        reply_join(turn, Some(token), again);
    } else {
        add_member(group, turn, token, request, member_id);
    }
}

fn join_existing_member(
    group: &mut ClassicGroup,
    turn: &mut Turn<'_>,
    token: ReplyToken,
    request: JoinGroup,
) {
    let member_id = request.member_id.clone();
    if group.pending_join.contains(&member_id) {
        if request.group_instance_id.is_some() {
            // Only dynamic members are ever pending: this one does not know who it is.
            let confused = JoinGroupReply::failed("", ErrorCode::UnknownServerError);
            reply_join(turn, Some(token), confused);
        } else {
            add_member(group, turn, token, request, member_id);
        }
        return;
    }
    if let Err(error) = group.validate_member(&member_id, request.group_instance_id.as_deref()) {
        let failed = JoinGroupReply::failed(member_id, error);
        reply_join(turn, Some(token), failed);
        return;
    }
    let unchanged = group
        .member(&member_id)
        .is_some_and(|member| member.protocols == request.protocols);
    let is_leader = group.is_leader(&member_id);
    match group.state {
        // It may not have got the answer of the rebalance: give it again.
        State::CompletingRebalance if unchanged => {
            let reply = group.join_reply(&member_id, is_leader);
            reply_join(turn, Some(token), reply);
        }
        // A follower asks where it stands; a leader that joins again wants a rebalance.
        State::Stable if unchanged && !is_leader => {
            let reply = group.join_reply(&member_id, false);
            reply_join(turn, Some(token), reply);
        }
        State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
            group.update_member(
                &member_id,
                request.protocols,
                request.rebalance_timeout_ms,
                request.session_timeout_ms,
            );
            park_join(group, turn, &member_id, token);
            maybe_prepare_rebalance_or_complete_join(group, turn);
        }
        State::Empty => {
            let unknown = JoinGroupReply::failed(member_id, ErrorCode::UnknownMemberId);
            reply_join(turn, Some(token), unknown);
        }
    }
}

fn add_member(
    group: &mut ClassicGroup,
    turn: &mut Turn<'_>,
    token: ReplyToken,
    request: JoinGroup,
    member_id: Arc<str>,
) {
    if group.is(State::PreparingRebalance) && group.previous_state == Some(State::Empty) {
        group.new_member_added = true;
    }
    group.add(ClassicGroupMember {
        member_id: member_id.clone(),
        group_instance_id: request.group_instance_id,
        client_id: request.client_id,
        client_host: request.client_host,
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        session_timeout_ms: request.session_timeout_ms,
        protocol_type: request.protocol_type,
        protocols: request.protocols,
        assignment: bytes::Bytes::new(),
        awaiting_join: Some(token),
        awaiting_sync: None,
        is_new: true,
    });
    turn.schedule(
        TimerKey::session(group, &member_id),
        NEW_MEMBER_JOIN_TIMEOUT_MS,
    );
    maybe_prepare_rebalance_or_complete_join(group, turn);
}
