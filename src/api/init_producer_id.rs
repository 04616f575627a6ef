//! InitProducerId (22), versions 0–5: an id for an idempotent producer (KIP-98).
//!
//! v2 is flexible; v3 a producer may give the id and epoch it had (KIP-360), which only matters for
//! a transactional one: without a transactional id it gets a new id, as from Kafka. Transactional
//! producers are refused with UNSUPPORTED_VERSION: there is no transaction coordinator yet.

use kafka_protocol::messages::{
    InitProducerIdRequest, InitProducerIdResponse, ProducerId as WireProducerId,
};

use super::RequestContext;
use crate::error::ErrorCode;
use crate::security::authorizer::CLUSTER;
use crate::security::{Operation, ResourceType};
use crate::types::ProducerId;

pub(super) async fn handle(
    ctx: RequestContext,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    match init(&ctx, &request).await {
        Ok(id) => InitProducerIdResponse::default()
            .with_producer_id(WireProducerId(id.0))
            .with_producer_epoch(0),
        Err(code) => InitProducerIdResponse::default()
            .with_error_code(code.code())
            .with_producer_id(WireProducerId(-1))
            .with_producer_epoch(-1),
    }
}

async fn init(
    ctx: &RequestContext,
    request: &InitProducerIdRequest,
) -> Result<ProducerId, ErrorCode> {
    if let Some(id) = &request.transactional_id {
        if !ctx.authorize(Operation::Write, ResourceType::TransactionalId, id) {
            return Err(ErrorCode::TransactionalIdAuthorizationFailed);
        }
    } else if !may_write_idempotently(ctx) {
        return Err(ErrorCode::ClusterAuthorizationFailed);
    }
    if (request.producer_id.0 == -1) != (request.producer_epoch == -1) {
        return Err(ErrorCode::InvalidRequest);
    }
    match request.transactional_id.as_ref().map(|id| id.as_str()) {
        None => ctx.node.generate_producer_id().await,
        Some("") => Err(ErrorCode::InvalidRequest),
        Some(_) => Err(ErrorCode::UnsupportedVersion),
    }
}

/// Who may write to any topic may do so idempotently (KIP-679).
fn may_write_idempotently(ctx: &RequestContext) -> bool {
    let image = ctx.node.metadata();
    ctx.authorize(Operation::IdempotentWrite, ResourceType::Cluster, CLUSTER)
        || image
            .topics()
            .any(|topic| ctx.authorize(Operation::Write, ResourceType::Topic, &topic.name))
}
