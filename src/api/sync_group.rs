//! SyncGroup (14), versions 0–5: the leader of a classic group brings the assignment, everybody gets theirs.
//!
//! v3 static members (KIP-345); v4 flexible; v5 the member says which protocol it means, and must
//! (KIP-559). The reply comes when the assignment is stored. As Apache Kafka 4.4.0.

use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::RequestContext;
use super::group_text::{check_group, copied, shared, shared_option, wire_option};
use crate::error::ErrorCode;
use crate::group::command::{Reply, Request, SyncGroup, SyncGroupReply};
use crate::security::Operation;

pub(super) async fn handle(ctx: RequestContext, request: SyncGroupRequest) -> SyncGroupResponse {
    let names_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    let sync = translate(&request);
    let group_id = sync.group_id.clone();
    let reply = if ctx.version >= 5 && !names_protocol {
        SyncGroupReply::failed(ErrorCode::InconsistentGroupProtocol)
    } else {
        match check_group(&ctx, Operation::Read, &group_id) {
            Err(error) => SyncGroupReply::failed(error),
            Ok(()) => {
                let request = Request::SyncGroup(sync);
                match ctx.node.groups.request(&group_id, request).await {
                    Reply::SyncGroup(reply) => reply,
                    _ => SyncGroupReply::failed(ErrorCode::UnknownServerError),
                }
            }
        }
    };
    answer(reply, ctx.version)
}

fn translate(request: &SyncGroupRequest) -> SyncGroup {
    SyncGroup {
        group_id: shared(&request.group_id),
        generation: request.generation_id,
        member_id: shared(&request.member_id),
        group_instance_id: shared_option(request.group_instance_id.as_ref()),
        protocol_type: shared_option(request.protocol_type.as_ref()),
        protocol_name: shared_option(request.protocol_name.as_ref()),
        assignments: request
            .assignments
            .iter()
            .map(|one| (shared(&one.member_id), copied(&one.assignment)))
            .collect(),
    }
}

fn answer(reply: SyncGroupReply, version: i16) -> SyncGroupResponse {
    let named = version >= 5;
    SyncGroupResponse::default()
        .with_error_code(reply.error.code())
        .with_protocol_type(wire_option(reply.protocol_type.as_ref()).filter(|_| named))
        .with_protocol_name(wire_option(reply.protocol_name.as_ref()).filter(|_| named))
        .with_assignment(reply.assignment)
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::protocol::{Decodable, Encodable};

    use super::*;

    #[test]
    fn every_version_can_carry_every_reply() {
        let good = SyncGroupReply {
            error: ErrorCode::None,
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignment: Bytes::from_static(b"A"),
        };
        let failed = SyncGroupReply::failed(ErrorCode::RebalanceInProgress);
        for version in 0..=5 {
            for reply in [good.clone(), failed.clone()] {
                let response = answer(reply, version);
                let mut bytes = BytesMut::new();
                response.encode(&mut bytes, version).unwrap();
                let back = SyncGroupResponse::decode(&mut bytes.freeze(), version).unwrap();
                assert_eq!(back, response, "v{version}");
            }
        }
    }
}
