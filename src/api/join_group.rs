//! JoinGroup (11), versions 0–9: a member comes to a classic group, or comes back.
//!
//! v1 a rebalance timeout of its own (KIP-62); v4 a new member joins twice, the second time with the id
//! it was given (KIP-394); v5 static members (KIP-345); v6 flexible; v7 protocol type in the reply
//! (KIP-559); v8 the reason (KIP-800); v9 the leader may be told not to assign (KIP-814).
//! The reply comes when the rebalance is over. As Apache Kafka 4.4.0; only classic groups are joined.

use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::RequestContext;
use super::group_text::{
    check_group, client_host, copied, shared, shared_option, wire, wire_option,
};
use crate::error::ErrorCode;
use crate::group::command::{JoinGroup, JoinGroupReply, Reply, Request};
use crate::security::Operation;

pub(super) async fn handle(ctx: RequestContext, request: JoinGroupRequest) -> JoinGroupResponse {
    let join = JoinGroup {
        client_id: ctx.client_id().into(),
        client_host: client_host(ctx.client.ip()),
        fresh_id: Uuid::new_v4(),
        ..translate(&request, ctx.version)
    };
    let group_id = join.group_id.clone();
    let config = ctx.node.config();
    let session_timeouts =
        config.group_min_session_timeout_ms..=config.group_max_session_timeout_ms;
    let reply = match check_group(&ctx, Operation::Read, &group_id) {
        Err(ErrorCode::InvalidGroupId) => {
            JoinGroupReply::failed(join.member_id, ErrorCode::InvalidGroupId)
        }
        Err(error) => JoinGroupReply::failed("", error),
        Ok(()) if !session_timeouts.contains(&join.session_timeout_ms) => {
            JoinGroupReply::failed(join.member_id, ErrorCode::InvalidSessionTimeout)
        }
        Ok(()) => {
            let request = Request::JoinGroup(join);
            match ctx.node.groups.request(&group_id, request).await {
                Reply::JoinGroup(reply) => reply,
                _ => JoinGroupReply::failed("", ErrorCode::UnknownServerError),
            }
        }
    };
    answer(&reply, ctx.version)
}

/// All but what the request does not tell.
fn translate(request: &JoinGroupRequest, version: i16) -> JoinGroup {
    JoinGroup {
        group_id: shared(&request.group_id),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: match version {
            0 => request.session_timeout_ms,
            _ => request.rebalance_timeout_ms,
        },
        member_id: shared(&request.member_id),
        group_instance_id: shared_option(request.group_instance_id.as_ref()),
        protocol_type: shared(&request.protocol_type),
        protocols: request
            .protocols
            .iter()
            .map(|protocol| (shared(&protocol.name), copied(&protocol.metadata)))
            .collect(),
        reason: shared_option(request.reason.as_ref()),
        client_id: "".into(),
        client_host: "".into(),
        requires_known_member_id: version >= 4,
        supports_skipping_assignment: version >= 9,
        fresh_id: Uuid::nil(),
    }
}

fn answer(reply: &JoinGroupReply, version: i16) -> JoinGroupResponse {
    let members = reply.members.iter().map(|member| {
        JoinGroupResponseMember::default()
            .with_member_id(wire(&member.member_id))
            .with_group_instance_id(
                wire_option(member.group_instance_id.as_ref()).filter(|_| version >= 5),
            )
            .with_metadata(member.metadata.clone())
    });
    let protocol_name = wire_option(reply.protocol_name.as_ref());
    JoinGroupResponse::default()
        .with_error_code(reply.error.code())
        .with_generation_id(reply.generation)
        .with_protocol_type(wire_option(reply.protocol_type.as_ref()).filter(|_| version >= 7))
        .with_protocol_name(match version {
            // Before, there was no null: the empty name stood for it.
            ..=6 => Some(protocol_name.unwrap_or_default()),
            _ => protocol_name.filter(|name| !name.is_empty()),
        })
        .with_leader(wire(&reply.leader))
        .with_skip_assignment(reply.skip_assignment && version >= 9)
        .with_member_id(StrBytes::from_string(reply.member_id.to_string()))
        .with_members(members.collect())
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
    use kafka_protocol::protocol::{Decodable, Encodable};

    use super::*;
    use crate::group::command::JoinedMember;

    #[test]
    fn version_0_has_one_timeout_for_both() {
        let request = JoinGroupRequest::default()
            .with_session_timeout_ms(10)
            .with_rebalance_timeout_ms(-1)
            .with_protocols(vec![
                JoinGroupRequestProtocol::default()
                    .with_name("range".into())
                    .with_metadata(Bytes::from_static(b"m")),
            ]);
        let join = translate(&request, 0);
        assert_eq!(join.rebalance_timeout_ms, 10);
        assert_eq!(join.protocols, [("range".into(), Bytes::from_static(b"m"))]);
        assert_eq!(translate(&request, 1).rebalance_timeout_ms, -1);
        assert!(!translate(&request, 3).requires_known_member_id);
        assert!(translate(&request, 4).requires_known_member_id);
        assert!(translate(&request, 9).supports_skipping_assignment);
    }

    #[test]
    fn every_version_can_carry_every_reply() {
        let good = JoinGroupReply {
            error: ErrorCode::None,
            generation: 3,
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            leader: "a".into(),
            skip_assignment: true,
            member_id: "a".into(),
            members: vec![JoinedMember {
                member_id: "a".into(),
                group_instance_id: Some("i".into()),
                metadata: Bytes::from_static(b"m"),
            }],
        };
        let failed = JoinGroupReply::failed("", ErrorCode::UnknownMemberId);
        for version in 0..=9 {
            for reply in [&good, &failed] {
                let response = answer(reply, version);
                let mut bytes = BytesMut::new();
                response.encode(&mut bytes, version).unwrap();
                let back = JoinGroupResponse::decode(&mut bytes.freeze(), version).unwrap();
                assert_eq!(back, response, "v{version}");
            }
        }
    }
}
