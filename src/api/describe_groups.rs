//! DescribeGroups (15), versions 0–6: classic groups with their members.
//!
//! v3 authorized operations (KIP-430); v4 static members; v5 flexible; v6 a group that is not there is
//! GROUP_ID_NOT_FOUND with a message (KIP-1043), before it was described as Dead. As Apache Kafka 4.4.0.

use kafka_protocol::messages::describe_groups_response::{
    DescribedGroup as WireGroup, DescribedGroupMember,
};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};

use super::RequestContext;
use super::group_text::{group_id, shared, wire, wire_option};
use crate::error::ErrorCode;
use crate::group::command::{DescribedGroup, DescribedMember};
use crate::security::{Operation, ResourceType};

pub(super) async fn handle(
    ctx: RequestContext,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let mut groups = Vec::with_capacity(request.groups.len());
    let mut allowed = Vec::with_capacity(request.groups.len());
    for id in &request.groups {
        let id = shared(id);
        if ctx.authorize(Operation::Describe, ResourceType::Group, &id) {
            allowed.push(id);
        } else {
            let refused = DescribedGroup::failed(id, ErrorCode::GroupAuthorizationFailed);
            groups.push(answer(&refused, ctx.version));
        }
    }
    let described = ctx.node.groups.describe(allowed, ctx.version >= 6).await;
    for group in described {
        let mut answered = answer(&group, ctx.version);
        let asked = request.include_authorized_operations && ctx.version >= 3;
        if asked && group.error == ErrorCode::None {
            answered.authorized_operations =
                ctx.authorized_operations(ResourceType::Group, &group.group_id);
        }
        groups.push(answered);
    }
    DescribeGroupsResponse::default().with_groups(groups)
}

fn answer(group: &DescribedGroup, version: i16) -> WireGroup {
    let message = group.error_message.as_deref().filter(|_| version >= 6);
    WireGroup::default()
        .with_error_code(group.error.code())
        .with_error_message(message.map(wire))
        .with_group_id(group_id(&group.group_id))
        .with_group_state(wire(group.state))
        .with_protocol_type(wire(&group.protocol_type))
        .with_protocol_data(wire(&group.protocol))
        .with_members(
            group
                .members
                .iter()
                .map(|one| member(one, version))
                .collect(),
        )
        .with_authorized_operations(i32::MIN)
}

fn member(member: &DescribedMember, version: i16) -> DescribedGroupMember {
    DescribedGroupMember::default()
        .with_member_id(wire(&member.member_id))
        .with_group_instance_id(
            wire_option(member.group_instance_id.as_ref()).filter(|_| version >= 4),
        )
        .with_client_id(wire(&member.client_id))
        .with_client_host(wire(&member.client_host))
        .with_member_metadata(member.metadata.clone())
        .with_member_assignment(member.assignment.clone())
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::protocol::{Decodable, Encodable};

    use super::*;

    #[test]
    fn every_version_can_carry_every_group() {
        let good = DescribedGroup {
            state: "Stable",
            protocol_type: "consumer".into(),
            protocol: "range".into(),
            members: vec![DescribedMember {
                member_id: "m".into(),
                group_instance_id: Some("i".into()),
                client_id: "c".into(),
                client_host: "/127.0.0.1".into(),
                metadata: Bytes::from_static(b"m"),
                assignment: Bytes::from_static(b"a"),
            }],
            ..DescribedGroup::failed("g".into(), ErrorCode::None)
        };
        let missing = DescribedGroup {
            error_message: Some("Group g not found.".into()),
            ..DescribedGroup::failed("g".into(), ErrorCode::GroupIdNotFound)
        };
        for version in 0..=6 {
            let groups = vec![answer(&good, version), answer(&missing, version)];
            let response = DescribeGroupsResponse::default().with_groups(groups);
            let mut bytes = BytesMut::new();
            response.encode(&mut bytes, version).unwrap();
            let back = DescribeGroupsResponse::decode(&mut bytes.freeze(), version).unwrap();
            assert_eq!(back, response, "v{version}");
        }
    }
}
