//! LeaveGroup (13), versions 0–5: members of a classic group go, or are removed by an admin.
//!
//! v3 several members, static ones by their instance id (KIP-345); v4 flexible; v5 the reason (KIP-800).
//! Before v3 the one member's error is the reply's. As Apache Kafka 4.4.0.

use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::RequestContext;
use super::group_text::{check_group, shared, shared_option, wire, wire_option};
use crate::error::ErrorCode;
use crate::group::command::{LeaveGroup, LeaveGroupReply, LeavingMember, Reply, Request};
use crate::security::Operation;

pub(super) async fn handle(ctx: RequestContext, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let leave = translate(&request, ctx.version);
    let group_id = leave.group_id.clone();
    let failed = |error| LeaveGroupReply {
        error,
        members: Vec::new(),
    };
    let reply = match check_group(&ctx, Operation::Read, &group_id) {
        Err(error) => failed(error),
        Ok(()) => {
            let request = Request::LeaveGroup(leave);
            match ctx.node.groups.request(&group_id, request).await {
                Reply::LeaveGroup(reply) => reply,
                _ => failed(ErrorCode::UnknownServerError),
            }
        }
    };
    answer(&reply, ctx.version)
}

fn translate(request: &LeaveGroupRequest, version: i16) -> LeaveGroup {
    let members = if version >= 3 {
        let members = request.members.iter().map(|member| LeavingMember {
            member_id: shared(&member.member_id),
            group_instance_id: shared_option(member.group_instance_id.as_ref()),
            reason: shared_option(member.reason.as_ref()),
        });
        members.collect()
    } else {
        vec![LeavingMember {
            member_id: shared(&request.member_id),
            group_instance_id: None,
            reason: None,
        }]
    };
    LeaveGroup {
        group_id: shared(&request.group_id),
        members,
    }
}

fn answer(reply: &LeaveGroupReply, version: i16) -> LeaveGroupResponse {
    if version < 3 {
        let only = reply.members.first().map(|member| member.error);
        let error = match reply.error {
            ErrorCode::None => only.unwrap_or(ErrorCode::None),
            error => error,
        };
        return LeaveGroupResponse::default().with_error_code(error.code());
    }
    let members = reply.members.iter().map(|member| {
        MemberResponse::default()
            .with_member_id(wire(&member.member_id))
            .with_group_instance_id(wire_option(member.group_instance_id.as_ref()))
            .with_error_code(member.error.code())
    });
    LeaveGroupResponse::default()
        .with_error_code(reply.error.code())
        .with_members(members.collect())
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::messages::leave_group_request::MemberIdentity;
    use kafka_protocol::protocol::{Decodable, Encodable};

    use super::*;
    use crate::group::command::LeftMember;

    #[test]
    fn the_one_member_of_old_versions_is_the_reply() {
        let request = LeaveGroupRequest::default()
            .with_member_id("old".into())
            .with_members(vec![MemberIdentity::default().with_member_id("new".into())]);
        assert_eq!(&*translate(&request, 2).members[0].member_id, "old");
        assert_eq!(&*translate(&request, 3).members[0].member_id, "new");
        let reply = LeaveGroupReply {
            error: ErrorCode::None,
            members: vec![LeftMember {
                member_id: "m".into(),
                group_instance_id: Some("i".into()),
                error: ErrorCode::UnknownMemberId,
            }],
        };
        for version in 0..=5 {
            let response = answer(&reply, version);
            let expected = match version {
                ..=2 => ErrorCode::UnknownMemberId,
                _ => ErrorCode::None,
            };
            assert_eq!(response.error_code, expected.code());
            let mut bytes = BytesMut::new();
            response.encode(&mut bytes, version).unwrap();
            let back = LeaveGroupResponse::decode(&mut bytes.freeze(), version).unwrap();
            assert_eq!(back, response, "v{version}");
        }
    }
}
