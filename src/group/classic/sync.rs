//! SyncGroup: the leader brings the assignment, everybody else waits for it.
//!
//! The assignment is stored first; the group is Stable, and the waiting syncs are answered, when its
//! record commits.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::group::{ClassicGroup, ClassicGroupState as State};
use super::rebalance::{
    maybe_prepare_rebalance_or_complete_join, reply_sync, reset_and_propagate_error,
    schedule_session,
};
use crate::error::ErrorCode;
use crate::group::command::{SyncGroup, SyncGroupReply, append_error_for_clients};
use crate::group::{Pending, TimerKey, Turn};
use crate::state_machine::{Outcome, ReplyToken};

/// A generation's assignment on its way into the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwaitedAssignment {
    pub group_id: Arc<str>,
    generation: i32,
    assignments: BTreeMap<Arc<str>, Bytes>,
}

pub(in crate::group) fn sync(
    group: &mut ClassicGroup,
    turn: &mut Turn<'_>,
    token: ReplyToken,
    request: SyncGroup,
) {
    if let Err(error) = validate(group, &request) {
        reply_sync(turn, Some(token), SyncGroupReply::failed(error));
        return;
    }
    let member_id = &request.member_id;
    match group.state {
        State::PreparingRebalance => {
            let again = SyncGroupReply::failed(ErrorCode::RebalanceInProgress);
            reply_sync(turn, Some(token), again);
        }
        State::CompletingRebalance => {
            let superseded = group.park_sync(member_id, token);
            let again = SyncGroupReply::failed(ErrorCode::RebalanceInProgress);
            reply_sync(turn, superseded, again);
            remove_pending_sync(group, turn, member_id);
            if group.is_leader(member_id) {
                let assignments = request.assignments.into_iter().collect();
                turn.out.records.push(group.record(&assignments));
                turn.out.pending = Some(Pending::Assignment(AwaitedAssignment {
                    group_id: group.group_id.clone(),
                    generation: group.generation,
                    assignments,
                }));
            }
        }
        State::Stable => {
            remove_pending_sync(group, turn, member_id);
            let assignment = group
                .member(member_id)
                .map(|member| member.assignment.clone());
            let reply = group.sync_reply(assignment.unwrap_or_default());
            reply_sync(turn, Some(token), reply);
        }
        State::Empty => {
            let unknown = SyncGroupReply::failed(ErrorCode::UnknownMemberId);
            reply_sync(turn, Some(token), unknown);
        }
    }
}

fn validate(group: &ClassicGroup, request: &SyncGroup) -> Result<(), ErrorCode> {
    group.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
    if request.generation != group.generation {
        return Err(ErrorCode::IllegalGeneration);
    }
    let differs = |asked: &Option<Arc<str>>, known: &Option<Arc<str>>| {
        asked.is_some() && known.is_some() && asked != known
    };
    if differs(&request.protocol_type, &group.protocol_type)
        || differs(&request.protocol_name, &group.protocol_name)
    {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    Ok(())
}

fn remove_pending_sync(group: &mut ClassicGroup, turn: &mut Turn<'_>, member_id: &Arc<str>) {
    group.pending_sync.remove(member_id);
    if group.pending_sync.is_empty() {
        turn.timers.cancel(&TimerKey::Sync(group.group_id.clone()));
    }
}

/// The assignment is stored: hand it out. Or it is not: tell everybody, and start over.
pub(in crate::group) fn settle_sync(
    group: &mut ClassicGroup,
    turn: &mut Turn<'_>,
    awaited: AwaitedAssignment,
    outcome: Outcome,
) {
    if !group.is(State::CompletingRebalance) || group.generation != awaited.generation {
        return;
    }
    match outcome {
        Outcome::Committed => {
            for member_id in group.member_ids() {
                let assignment = awaited.assignments.get(&member_id).cloned();
                let assignment = assignment.unwrap_or_default();
                if let Some(member) = group.member_mut(&member_id) {
                    member.assignment = assignment.clone();
                }
                if let Some(token) = group.take_sync(&member_id) {
                    reply_sync(turn, Some(token), group.sync_reply(assignment));
                    schedule_session(group, turn, &member_id);
                }
            }
            group.transition_to(State::Stable, turn.now.wall);
        }
        Outcome::NotAppended(error) | Outcome::NotCommitted(error) => {
            let error = append_error_for_clients(error);
            reset_and_propagate_error(group, turn, error);
            maybe_prepare_rebalance_or_complete_join(group, turn);
        }
    }
}
