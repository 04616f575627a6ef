//! RemoveRaftVoter (81), version 0 (KIP-853): a server loses its vote in the ensemble. Any node takes it and asks
//! the leader; one that removes itself leads until that is committed.

use kafka_protocol::messages::{RemoveRaftVoterRequest, RemoveRaftVoterResponse};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use super::add_raft_voter::{check_cluster, check_voter, within};
use crate::controller::command::ApiError;
use crate::error::ErrorCode;
use crate::runtime::zab_peer::RemoveVoter;
use crate::security::authorizer::CLUSTER;
use crate::security::{Operation, ResourceType};
use crate::types::NodeId;

/// The request has no time of its own.
const TIMEOUT_MS: i32 = 30_000;

pub(super) async fn handle(
    ctx: RequestContext,
    request: RemoveRaftVoterRequest,
) -> RemoveRaftVoterResponse {
    match remove(&ctx, request).await {
        Ok(()) => RemoveRaftVoterResponse::default(),
        Err(error) => RemoveRaftVoterResponse::default()
            .with_error_code(error.error.code())
            .with_error_message(error.message.map(StrBytes::from_string)),
    }
}

async fn remove(ctx: &RequestContext, request: RemoveRaftVoterRequest) -> Result<(), ApiError> {
    if !ctx.authorize(Operation::Alter, ResourceType::Cluster, CLUSTER) {
        return Err(ErrorCode::ClusterAuthorizationFailed.into());
    }
    check_cluster(ctx, request.cluster_id.as_deref())?;
    check_voter("Remove", request.voter_id, request.voter_directory_id)?;
    let voter = RemoveVoter {
        node: NodeId(request.voter_id),
        directory: request.voter_directory_id,
    };
    within(TIMEOUT_MS, ctx.node.remove_voter(voter)).await
}
