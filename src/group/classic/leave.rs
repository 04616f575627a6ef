//! LeaveGroup: members go of their own will, or an admin removes static ones by their instance id.

use std::sync::Arc;

use super::group::{ClassicGroup, ClassicGroupState as State};
use super::rebalance::{maybe_complete_join_phase, prepare_rebalance, remove_member};
use crate::error::ErrorCode;
use crate::group::Turn;
use crate::group::command::{LeaveGroup, LeavingMember, LeftMember};

pub(in crate::group) fn leave(
    group: &mut ClassicGroup,
    turn: &mut Turn<'_>,
    request: &LeaveGroup,
) -> Vec<LeftMember> {
    let members: Vec<LeftMember> = request
        .members
        .iter()
        .map(|leaving| LeftMember {
            member_id: leaving.member_id.clone(),
            group_instance_id: leaving.group_instance_id.clone(),
            error: leave_one(group, turn, leaving)
                .err()
                .unwrap_or(ErrorCode::None),
        })
        .collect();
    if members.iter().any(|left| left.error == ErrorCode::None) {
        match group.state {
            State::CompletingRebalance | State::Stable => prepare_rebalance(group, turn),
            State::PreparingRebalance => maybe_complete_join_phase(group, turn),
            State::Empty => {}
        }
    }
    members
}

fn leave_one(
    group: &mut ClassicGroup,
    turn: &mut Turn<'_>,
    leaving: &LeavingMember,
) -> Result<(), ErrorCode> {
    let member_id: Arc<str> = if leaving.member_id.is_empty() {
        leaving
            .group_instance_id
            .as_deref()
            .and_then(|instance_id| group.static_member_id(instance_id))
            .cloned()
            .ok_or(ErrorCode::UnknownMemberId)?
    } else {
        if !group.pending_join.contains(&leaving.member_id) {
            let instance_id = leaving.group_instance_id.as_deref();
            group.validate_member(&leaving.member_id, instance_id)?;
        }
        leaving.member_id.clone()
    };
    remove_member(group, turn, &member_id);
    Ok(())
}
