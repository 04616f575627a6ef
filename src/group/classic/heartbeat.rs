//! Heartbeat: a member says it is there, and learns whether it has to join again.

use super::group::{ClassicGroup, ClassicGroupState as State};
use super::rebalance::schedule_session;
use crate::error::ErrorCode;
use crate::group::Turn;
use crate::group::command::Heartbeat;

pub(in crate::group) fn heartbeat(
    group: &ClassicGroup,
    turn: &mut Turn<'_>,
    request: &Heartbeat,
) -> ErrorCode {
    let instance_id = request.group_instance_id.as_deref();
    if let Err(error) = group.validate_member(&request.member_id, instance_id) {
        return error;
    }
    if request.generation != group.generation {
        return ErrorCode::IllegalGeneration;
    }
    match group.state {
        State::Empty => ErrorCode::UnknownMemberId,
        State::PreparingRebalance => {
            schedule_session(group, turn, &request.member_id);
            ErrorCode::RebalanceInProgress
        }
        State::CompletingRebalance | State::Stable => {
            schedule_session(group, turn, &request.member_id);
            ErrorCode::None
        }
    }
}
