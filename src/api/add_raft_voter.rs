//! AddRaftVoter (80), versions 0–1 (KIP-853): a server gets a vote in the ensemble. Any node takes it and asks the
//! leader, which has the change committed by a quorum of the new voters.
//!
//! The server must follow as an observer first, so that the quorum does not wait for one that has nothing yet. An
//! answer before the commit, as v1 may ask for, is not given: who is told that a voter was added may count on it.

use std::time::Duration;

use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::RequestContext;
use super::describe_quorum::LISTENER;
use crate::controller::command::ApiError;
use crate::error::ErrorCode;
use crate::protocol::messages::{AddRaftVoterRequest, AddRaftVoterResponse};
use crate::runtime::zab_peer::AddVoter;
use crate::security::authorizer::CLUSTER;
use crate::security::{Operation, ResourceType};
use crate::types::NodeId;

pub(super) async fn handle(
    ctx: RequestContext,
    request: AddRaftVoterRequest,
) -> AddRaftVoterResponse {
    match add(&ctx, request).await {
        Ok(()) => AddRaftVoterResponse::default(),
        Err(error) => AddRaftVoterResponse {
            error_code: error.error.code(),
            error_message: error.message.map(StrBytes::from_string),
            ..AddRaftVoterResponse::default()
        },
    }
}

async fn add(ctx: &RequestContext, request: AddRaftVoterRequest) -> Result<(), ApiError> {
    if !ctx.authorize(Operation::Alter, ResourceType::Cluster, CLUSTER) {
        return Err(ErrorCode::ClusterAuthorizationFailed.into());
    }
    check_cluster(ctx, request.cluster_id.as_deref())?;
    check_voter("Add", request.voter_id, request.voter_directory_id)?;
    let mut listeners = request.listeners.iter();
    let Some(listener) = listeners.find(|listener| listener.name.as_str() == LISTENER) else {
        let why = format!("Add voter request didn't include an endpoint of the listener {LISTENER}");
        return Err(ApiError::new(ErrorCode::InvalidRequest, why));
    };
    let voter = AddVoter {
        node: NodeId(request.voter_id),
        directory: request.voter_directory_id,
        host: listener.host.to_string(),
        port: listener.port,
    };
    within(request.timeout_ms, ctx.node.add_voter(voter)).await
}

/// An id that is not given is any cluster's.
pub(super) fn check_cluster(ctx: &RequestContext, given: Option<&str>) -> Result<(), ApiError> {
    let image = ctx.node.metadata();
    let ours = image.cluster_id();
    match given {
        Some(given) if given != ours => {
            let why = format!("The given id \"{given}\" doesn't match the cluster id \"{ours}\"");
            Err(ApiError::new(ErrorCode::InconsistentClusterId, why))
        }
        _ => Ok(()),
    }
}

/// A voter has an id and a disk.
pub(super) fn check_voter(what: &str, id: i32, directory: Uuid) -> Result<(), ApiError> {
    if id < 0 || directory.is_nil() {
        let why = format!("{what} voter request didn't include a valid voter");
        return Err(ApiError::new(ErrorCode::InvalidRequest, why));
    }
    Ok(())
}

/// For at most the time that the client gave.
pub(super) async fn within(
    timeout_ms: i32,
    changed: impl Future<Output = Result<(), ApiError>>,
) -> Result<(), ApiError> {
    let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
    match tokio::time::timeout(timeout, changed).await {
        Ok(changed) => changed,
        Err(_) => Err(ErrorCode::RequestTimedOut.into()),
    }
}
