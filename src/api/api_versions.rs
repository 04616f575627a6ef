//! ApiVersions (18), versions 0–5: what this broker serves, and its features.
//!
//! v3 names the client's software (KIP-511) and carries features (KIP-584); v4 allows a feature's
//! lowest level to be 0 (KIP-1022); v5 says which cluster and node the client means to reach
//! (KIP-1242). A version from the future is answered in the body of version 0 with error 35 and the
//! row of ApiVersions itself, so that the client can ask again.

use super::{APIS, Api, RequestContext, RequestError, Response};
use crate::error::ErrorCode;
use crate::protocol::frame::encode_response;
use crate::protocol::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use crate::protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, StrBytes};

/// This API's own key.
pub(super) const KEY: i16 = 18;

pub(super) async fn handle(
    ctx: RequestContext,
    request: ApiVersionsRequest,
) -> ApiVersionsResponse {
    if ctx.version >= 3 {
        let (name, version) = (
            request.client_software_name.as_str(),
            request.client_software_version.as_str(),
        );
        if !is_software_name(name) || !is_software_name(version) {
            return refuse(ErrorCode::InvalidRequest);
        }
        tracing::debug!(client = %ctx.client, name, version, "the client's software");
    }
    // Whom the client means to reach is said in full or not at all.
    if request.cluster_id.is_some() != (request.node_id != -1) {
        return refuse(ErrorCode::InvalidRequest);
    }
    let image = ctx.node.metadata();
    let other_cluster = request
        .cluster_id
        .as_ref()
        .is_some_and(|id| id.as_str() != image.cluster_id());
    let other_node = request.node_id != -1 && request.node_id != ctx.node.id.0;
    if other_cluster || other_node {
        return refuse(ErrorCode::RebootstrapRequired);
    }
    ApiVersionsResponse {
        api_keys: APIS.iter().map(advertised).collect(),
        supported_features: crate::controller::features::supported()
            .into_iter()
            // Old clients cannot read a lowest level of 0.
            .filter(|feature| ctx.version >= 4 || feature.min > 0)
            .map(|feature| SupportedFeatureKey {
                name: StrBytes::from_string(feature.name),
                min_version: feature.min,
                max_version: feature.max,
                ..Default::default()
            })
            .collect(),
        finalized_features_epoch: i64::try_from(image.applied().0).unwrap_or(i64::MAX),
        finalized_features: image
            .features()
            .map(|(name, level)| FinalizedFeatureKey {
                name: StrBytes::from_string(name.to_owned()),
                max_version_level: level,
                min_version_level: level,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

/// The client speaks a version that is not known here.
pub(super) async fn answer_newer(ctx: RequestContext) -> Result<Option<Response>, RequestError> {
    let response = refuse(ErrorCode::UnsupportedVersion);
    let frame = encode_response(ctx.correlation_id, 0, &response, 0).map_err(|error| {
        RequestError::Encode {
            api: "ApiVersions",
            version: 0,
            reason: error.to_string(),
        }
    })?;
    Ok(Some(frame.freeze().into()))
}

fn refuse(code: ErrorCode) -> ApiVersionsResponse {
    let api_keys = if code == ErrorCode::UnsupportedVersion {
        APIS.iter()
            .filter(|api| api.key == KEY)
            .map(advertised)
            .collect()
    } else {
        Vec::new()
    };
    ApiVersionsResponse {
        error_code: code.code(),
        api_keys,
        ..Default::default()
    }
}

fn advertised(api: &Api) -> ApiVersion {
    ApiVersion {
        api_key: api.key,
        min_version: api.advertised_min_version,
        max_version: api.max_version,
        ..Default::default()
    }
}

/// Letters and digits, with `-` and `.` between them.
fn is_software_name(name: &str) -> bool {
    let inner = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    let ends = [name.bytes().next(), name.bytes().next_back()];
    inner && ends.iter().all(|end| end.is_some_and(|b| b.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_are_kafkas() {
        for good in ["a", "apache-kafka-java", "4.4.0", "librdkafka", "v1"] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", "a b", ".1", "1.", "é"] {
            assert!(!is_software_name(bad), "{bad}");
        }
    }
}
