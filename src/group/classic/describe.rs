//! What DescribeGroups and ListGroups tell of a classic group.

use super::group::{ClassicGroup, ClassicGroupState as State};
use crate::error::ErrorCode;
use crate::group::command::{DescribedGroup, ListedGroup};

/// The name of a group type, as ListGroups shows and filters it.
pub const GROUP_TYPE: &str = "classic";

/// Only a Stable group shows its protocol and its members' metadata.
pub(in crate::group) fn describe(group: &ClassicGroup) -> DescribedGroup {
    let protocol = group
        .protocol_name
        .clone()
        .filter(|_| group.is(State::Stable));
    DescribedGroup {
        group_id: group.group_id.clone(),
        error: ErrorCode::None,
        error_message: None,
        state: group.state.name(),
        protocol_type: group.protocol_type.clone().unwrap_or_else(|| "".into()),
        members: group
            .members()
            .map(|member| member.described(protocol.as_deref()))
            .collect(),
        protocol: protocol.unwrap_or_else(|| "".into()),
    }
}

pub(in crate::group) fn listed(group: &ClassicGroup) -> ListedGroup {
    ListedGroup {
        group_id: group.group_id.clone(),
        protocol_type: group.protocol_type.clone().unwrap_or_else(|| "".into()),
        state: group.state.name(),
        group_type: GROUP_TYPE,
    }
}
