//! UpdateFeatures (57), versions 0–2 (KIP-584, KIP-1022): raises or lowers finalized levels, all of them or none.
//!
//! v0's `AllowDowngrade` is not looked at, as in Kafka: a downgrade needs v1's upgrade type. v2 has no results of single
//! features any more; the ones before had the same code as the whole.

use kafka_protocol::messages::update_features_request::FeatureUpdateKey;
use kafka_protocol::messages::update_features_response::UpdatableFeatureResult;
use kafka_protocol::messages::{UpdateFeaturesRequest, UpdateFeaturesResponse};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use super::submit::{message, submit, unexpected};
use crate::controller::command::{ApiError, Command, FeatureUpdate, Reply, UpdateFeatures};
use crate::error::ErrorCode;
use crate::security::authorizer::CLUSTER;
use crate::security::{Operation, ResourceType};

pub(super) async fn handle(
    ctx: RequestContext,
    request: UpdateFeaturesRequest,
) -> UpdateFeaturesResponse {
    let names = request.feature_updates.iter();
    let names: Vec<StrBytes> = names.map(|update| update.feature.clone()).collect();
    match update(&ctx, request).await {
        Ok(()) => UpdateFeaturesResponse::default()
            .with_error_message(None)
            .with_results(results(&ctx, names)),
        Err(error) => UpdateFeaturesResponse::default()
            .with_error_code(error.error.code())
            .with_error_message(message(error)),
    }
}

async fn update(ctx: &RequestContext, request: UpdateFeaturesRequest) -> Result<(), ApiError> {
    if !ctx.authorize(Operation::Alter, ResourceType::Cluster, CLUSTER) {
        return Err(ErrorCode::ClusterAuthorizationFailed.into());
    }
    let wanted = |update: FeatureUpdateKey| FeatureUpdate {
        name: update.feature.to_string(),
        level: update.max_version_level,
        upgrade_type: update.upgrade_type,
    };
    let command = Command::UpdateFeatures(UpdateFeatures {
        updates: request.feature_updates.into_iter().map(wanted).collect(),
        validate_only: request.validate_only,
    });
    match submit(ctx, command, Some(request.timeout_ms)).await? {
        Reply::UpdateFeatures(updated) => updated,
        _ => Err(unexpected()),
    }
}

/// Of an update that went through.
fn results(ctx: &RequestContext, names: Vec<StrBytes>) -> Vec<UpdatableFeatureResult> {
    if ctx.version > 1 {
        return Vec::new();
    }
    let result = |name| {
        UpdatableFeatureResult::default()
            .with_feature(name)
            // What Kafka says of no error.
            .with_error_message(Some(StrBytes::from_static_str("NONE")))
    };
    names.into_iter().map(result).collect()
}
