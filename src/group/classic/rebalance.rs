//! From one generation to the next: who is waited for, how long, and what happens when time is up.
//!
//! Every change that unsettles a group ends here, in [`maybe_prepare_rebalance_or_complete_join`].

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::group::{ClassicGroup, ClassicGroupState as State, InitialRebalance};
use crate::error::ErrorCode;
use crate::group::command::{JoinGroupReply, Reply, SyncGroupReply};
use crate::group::{TimerKey, Turn};
use crate::state_machine::{Release, ReplyToken};

/// How long a new member may take until its first rebalance is over, before it is taken for gone.
pub const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 5 * 60 * 1000;

pub(super) fn reply_join(turn: &mut Turn<'_>, token: Option<ReplyToken>, reply: JoinGroupReply) {
    if let Some(token) = token {
        turn.out
            .reply(token, Reply::JoinGroup(reply), Release::AtOnce);
    }
}

pub(super) fn reply_sync(turn: &mut Turn<'_>, token: Option<ReplyToken>, reply: SyncGroupReply) {
    if let Some(token) = token {
        turn.out
            .reply(token, Reply::SyncGroup(reply), Release::AtOnce);
    }
}

/// Parks a join; one the member had waiting before is sent to try again.
pub(super) fn park_join(
    group: &mut ClassicGroup,
    turn: &mut Turn<'_>,
    member_id: &Arc<str>,
    token: ReplyToken,
) {
    let superseded = group.park_join(member_id, token);
    let again = JoinGroupReply::failed(member_id.clone(), ErrorCode::RebalanceInProgress);
    reply_join(turn, superseded, again);
}

/// Starts the member's session anew.
pub(in crate::group) fn schedule_session(
    group: &ClassicGroup,
    turn: &mut Turn<'_>,
    member_id: &Arc<str>,
) {
    if let Some(member) = group.member(member_id) {
        let timeout_ms = i64::from(member.session_timeout_ms);
        turn.schedule(TimerKey::session(group, member_id), timeout_ms);
    }
}

/// Forgets a member and answers whatever it waited with.
pub(super) fn remove_member(group: &mut ClassicGroup, turn: &mut Turn<'_>, member_id: &Arc<str>) {
    turn.timers.cancel(&TimerKey::session(group, member_id));
    let Some(member) = group.remove(member_id) else {
        return;
    };
    let unknown = JoinGroupReply::failed("", ErrorCode::UnknownMemberId);
    reply_join(turn, member.awaiting_join, unknown);
    let unknown = SyncGroupReply::failed(ErrorCode::UnknownMemberId);
    reply_sync(turn, member.awaiting_sync, unknown);
}

pub(super) fn maybe_prepare_rebalance_or_complete_join(
    group: &mut ClassicGroup,
    turn: &mut Turn<'_>,
) {
    match group.state {
        State::PreparingRebalance => maybe_complete_join_phase(group, turn),
        State::Stable | State::CompletingRebalance | State::Empty => {
            prepare_rebalance(group, turn);
        }
    }
}

/// Everybody has to join again. An empty group waits a little for more members to come.
pub(in crate::group) fn prepare_rebalance(group: &mut ClassicGroup, turn: &mut Turn<'_>) {
    if group.is(State::CompletingRebalance) {
        reset_and_propagate_error(group, turn, ErrorCode::RebalanceInProgress);
    }
    group.pending_sync.clear();
    turn.timers.cancel(&TimerKey::Sync(group.group_id.clone()));
    let is_initial = group.is(State::Empty);
    if is_initial {
        let delay_ms = turn.config.initial_rebalance_delay_ms;
        group.initial_rebalance = Some(InitialRebalance {
            delay_ms,
            remaining_ms: group.rebalance_timeout_ms().saturating_sub(delay_ms).max(0),
        });
        turn.schedule(TimerKey::Join(group.group_id.clone()), i64::from(delay_ms));
    }
    group.transition_to(State::PreparingRebalance, turn.now.wall);
    if is_initial {
        return;
    }
    if group.has_all_members_joined() {
        complete_join(group, turn);
    } else {
        schedule_join_timeout(group, turn);
    }
}

fn schedule_join_timeout(group: &mut ClassicGroup, turn: &mut Turn<'_>) {
    group.initial_rebalance = None;
    let timeout_ms = i64::from(group.rebalance_timeout_ms());
    turn.schedule(TimerKey::Join(group.group_id.clone()), timeout_ms);
}

/// Completes the join unless it is the initial one (that one waits its time) or somebody is missing.
pub(super) fn maybe_complete_join_phase(group: &mut ClassicGroup, turn: &mut Turn<'_>) {
    if group.is(State::PreparingRebalance)
        && group.previous_state != Some(State::Empty)
        && group.has_all_members_joined()
    {
        complete_join(group, turn);
    }
}

/// Goes on with those who have joined. Dynamic members who have not are out; static ones keep their
/// place until their session ends (KIP-345).
pub(super) fn complete_join(group: &mut ClassicGroup, turn: &mut Turn<'_>) {
    turn.timers.cancel(&TimerKey::Join(group.group_id.clone()));
    group.initial_rebalance = None;
    let missing: Vec<Arc<str>> = group
        .members()
        .filter(|member| !member.is_awaiting_join() && !member.is_static())
        .map(|member| member.member_id.clone())
        .collect();
    for member_id in &missing {
        remove_member(group, turn, member_id);
    }
    if !group.maybe_elect_new_joined_leader() && group.size() > 0 {
        // Only static members, and none of them has joined: there is nobody to assign anything.
        schedule_join_timeout(group, turn);
        return;
    }
    group.new_member_added = false;
    group.init_next_generation(turn.now.wall);
    if group.is(State::Empty) {
        turn.out.records.push(group.record(&BTreeMap::new()));
        return;
    }
    for member_id in group.member_ids() {
        let reply = group.join_reply(&member_id, group.is_leader(&member_id));
        let token = group.take_join(&member_id);
        reply_join(turn, token, reply);
        schedule_session(group, turn, &member_id);
        if let Some(member) = group.member_mut(&member_id) {
            member.is_new = false;
        }
        group.pending_sync.insert(member_id);
    }
    let timeout_ms = i64::from(group.rebalance_timeout_ms());
    turn.schedule(TimerKey::Sync(group.group_id.clone()), timeout_ms);
}

/// Nobody's assignment counts any more, and those who wait for one are told why.
pub(super) fn reset_and_propagate_error(
    group: &mut ClassicGroup,
    turn: &mut Turn<'_>,
    error: ErrorCode,
) {
    for member_id in group.member_ids() {
        if let Some(member) = group.member_mut(&member_id) {
            member.assignment = Bytes::new();
        }
        if let Some(token) = group.take_sync(&member_id) {
            reply_sync(turn, Some(token), SyncGroupReply::failed(error));
            schedule_session(group, turn, &member_id);
        }
    }
}

/// The wait for members to join is over.
pub(in crate::group) fn expire_join(group: &mut ClassicGroup, turn: &mut Turn<'_>) {
    if !group.is(State::PreparingRebalance) {
        return;
    }
    let Some(waited) = group.initial_rebalance else {
        complete_join(group, turn);
        return;
    };
    if !group.new_member_added || waited.remaining_ms == 0 {
        complete_join(group, turn);
        return;
    }
    group.new_member_added = false;
    let delay_ms = turn
        .config
        .initial_rebalance_delay_ms
        .min(waited.remaining_ms);
    group.initial_rebalance = Some(InitialRebalance {
        delay_ms,
        remaining_ms: (waited.remaining_ms - waited.delay_ms).max(0),
    });
    turn.schedule(TimerKey::Join(group.group_id.clone()), i64::from(delay_ms));
}

/// Members who never asked for their assignment are out.
pub(in crate::group) fn expire_sync(group: &mut ClassicGroup, turn: &mut Turn<'_>) {
    let settled = matches!(group.state, State::CompletingRebalance | State::Stable);
    if !settled || group.pending_sync.is_empty() {
        return;
    }
    for member_id in std::mem::take(&mut group.pending_sync) {
        remove_member(group, turn, &member_id);
    }
    prepare_rebalance(group, turn);
}

/// A member has not been heard of for its session timeout, or never used the id it was given.
pub(in crate::group) fn expire_session(
    group: &mut ClassicGroup,
    turn: &mut Turn<'_>,
    member_id: &Arc<str>,
) {
    if group.pending_join.contains(member_id) {
        group.remove(member_id);
        if group.is(State::PreparingRebalance) && group.has_all_members_joined() {
            complete_join(group, turn);
        }
        return;
    }
    let gone = group
        .member(member_id)
        .is_some_and(|member| !member.has_satisfied_heartbeat());
    if !gone {
        return;
    }
    remove_member(group, turn, member_id);
    match group.state {
        State::Stable | State::CompletingRebalance => prepare_rebalance(group, turn),
        State::PreparingRebalance if group.has_all_members_joined() => complete_join(group, turn),
        State::PreparingRebalance | State::Empty => {}
    }
}

/// Everybody who waits gets the error: the group moves elsewhere, or was never stored.
pub(in crate::group) fn answer_everybody(
    group: &mut ClassicGroup,
    turn: &mut Turn<'_>,
    error: ErrorCode,
) {
    for member_id in group.member_ids() {
        let token = group.take_join(&member_id);
        reply_join(
            turn,
            token,
            JoinGroupReply::failed(member_id.clone(), error),
        );
        let token = group.take_sync(&member_id);
        reply_sync(turn, token, SyncGroupReply::failed(error));
    }
}
