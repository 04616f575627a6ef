//! Heartbeat (12), versions 0–4: a member of a classic group is there.
//!
//! v3 static members (KIP-345); v4 flexible. While its coordinator loads, a heartbeat is good: nobody
//! is forgotten. As Apache Kafka 4.4.0.

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::RequestContext;
use super::group_text::{check_group, shared, shared_option};
use crate::error::ErrorCode;
use crate::group::command::{Heartbeat, Reply, Request};
use crate::security::Operation;

pub(super) async fn handle(ctx: RequestContext, request: HeartbeatRequest) -> HeartbeatResponse {
    let group_id = shared(&request.group_id);
    let error = match check_group(&ctx, Operation::Read, &group_id) {
        Err(error) => error,
        Ok(()) => {
            let request = Request::Heartbeat(Heartbeat {
                group_id: group_id.clone(),
                generation: request.generation_id,
                member_id: shared(&request.member_id),
                group_instance_id: shared_option(request.group_instance_id.as_ref()),
            });
            match ctx.node.groups.request(&group_id, request).await {
                Reply::Heartbeat(error) => error,
                _ => ErrorCode::UnknownServerError,
            }
        }
    };
    HeartbeatResponse::default().with_error_code(error.code())
}
