//! AlterConfigs (33), versions 0–2: the whole set of a resource's overrides, replaced.
//!
//! v2 is flexible. Deprecated since IncrementalAlterConfigs, and still used by old tools. As Apache
//! Kafka 4.4.0: a broker's configs are checked by that broker, log levels cannot be set this way.

use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use super::config_changes::{
    Prepared, check_authorized, check_broker, check_keys, join, kind, repeated, repeated_resource,
    split,
};
use super::submit::{message, submit, unexpected};
use crate::config::ConfigOverrides;
use crate::controller::command::{
    ApiError, Command, ConfigEntry, ReplaceConfigs, ReplaceResourceConfigs, Reply,
};
use crate::controller::delta::ConfigResource;
use crate::controller::records::ConfigResourceType;
use crate::error::ErrorCode;
use crate::security::Operation;

pub(super) async fn handle(
    ctx: RequestContext,
    request: AlterConfigsRequest,
) -> AlterConfigsResponse {
    let names = request.resources.iter();
    let twice = repeated(names.map(|r| (r.resource_type, r.resource_name.as_str())));
    let prepared = request.resources.iter().map(|resource| {
        if twice.contains(&(resource.resource_type, resource.resource_name.as_str())) {
            return Prepared::Answered(Err(repeated_resource()));
        }
        prepare(&ctx, resource).into()
    });
    let (changes, known) = split(prepared.collect());
    let decided = decide(&ctx, changes, request.validate_only).await;
    let outcomes = join(known, decided);
    let responses = request.resources.iter().zip(outcomes);
    let responses = responses.map(|(resource, outcome)| {
        let response = AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_error_message(None);
        match outcome {
            Ok(()) => response,
            Err(error) => response
                .with_error_code(error.error.code())
                .with_error_message(message(error)),
        }
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}

fn prepare(
    ctx: &RequestContext,
    resource: &AlterConfigsResource,
) -> Result<ReplaceResourceConfigs, ApiError> {
    let configs = &resource.configs;
    let nulls: Vec<&str> = configs
        .iter()
        .filter(|config| config.value.is_none())
        .map(|config| config.name.as_str())
        .collect();
    check_keys(configs.iter().map(|config| config.name.as_str()), &nulls)?;
    let kind = kind(resource.resource_type)?;
    let name = resource.resource_name.as_str();
    if kind == ConfigResourceType::BrokerLogger {
        return Err(ApiError::new(
            ErrorCode::InvalidRequest,
            format!("Unknown resource type {}", resource.resource_type),
        ));
    }
    check_authorized(ctx, kind, name, Operation::AlterConfigs)?;
    let value = |value: &Option<StrBytes>| value.as_ref().map(|value| value.as_str().into());
    if kind == ConfigResourceType::Broker {
        let overrides: ConfigOverrides = configs
            .iter()
            .filter_map(|config| Some((config.name.as_str(), value(&config.value)?)))
            .collect();
        check_broker(ctx.node.id, &ctx.node.config(), name, &overrides)?;
    }
    let configs = configs.iter().map(|config| ConfigEntry {
        name: config.name.as_str().into(),
        value: value(&config.value),
    });
    Ok(ReplaceResourceConfigs {
        resource: ConfigResource::new(kind, name),
        configs: configs.collect(),
    })
}

async fn decide(
    ctx: &RequestContext,
    resources: Vec<ReplaceResourceConfigs>,
    validate_only: bool,
) -> Result<Vec<Result<(), ApiError>>, ApiError> {
    if resources.is_empty() {
        return Ok(Vec::new());
    }
    let command = Command::ReplaceConfigs(ReplaceConfigs {
        resources,
        validate_only,
    });
    match submit(ctx, command, None).await? {
        Reply::AlterConfigs(outcomes) => Ok(outcomes),
        _ => Err(unexpected()),
    }
}
