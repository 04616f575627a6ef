//! IncrementalAlterConfigs (44), versions 0–1 (KIP-339): single overrides set, deleted, appended to
//! and subtracted from.
//!
//! v1 is flexible. As Apache Kafka 4.4.0: a broker's configs are checked by that broker; its log
//! levels (KIP-412) change here and at once, and are forgotten when it stops.

use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::RequestContext;
use super::broker_logger;
use super::config_changes::{
    Prepared, check_authorized, check_broker, check_keys, join, kind, repeated, repeated_resource,
    split,
};
use super::submit::{message, submit, unexpected};
use crate::controller::command::{
    AlterConfigOp, AlterResourceConfigs, ApiError, Command, IncrementalAlterConfigs, OpType, Reply,
};
use crate::controller::configs;
use crate::controller::ConfigSchema;
use crate::controller::delta::ConfigResource;
use crate::controller::records::ConfigResourceType;
use crate::controller::schema::OptionsTables;
use crate::error::ErrorCode;
use crate::security::Operation;

pub(super) async fn handle(
    ctx: RequestContext,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let names = request.resources.iter();
    let twice = repeated(names.map(|r| (r.resource_type, r.resource_name.as_str())));
    let prepared = request.resources.iter().map(|resource| {
        if twice.contains(&(resource.resource_type, resource.resource_name.as_str())) {
            return Prepared::Answered(Err(repeated_resource()));
        }
        prepare(&ctx, resource, request.validate_only)
            .unwrap_or_else(|error| Prepared::Answered(Err(error)))
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
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

fn prepare(
    ctx: &RequestContext,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<Prepared<AlterResourceConfigs>, ApiError> {
    let configs = &resource.configs;
    let nulls: Vec<&str> = configs
        .iter()
        .filter(|op| op.value.is_none() && op.config_operation != OpType::Delete as i8)
        .map(|op| op.name.as_str())
        .collect();
    check_keys(configs.iter().map(|op| op.name.as_str()), &nulls)?;
    let kind = kind(resource.resource_type)?;
    let name = resource.resource_name.as_str();
    check_authorized(ctx, kind, name, Operation::AlterConfigs)?;
    let ops = ops(resource, kind)?;
    match kind {
        ConfigResourceType::BrokerLogger => {
            broker_logger::alter(ctx, name, &ops, validate_only)?;
            return Ok(Prepared::Answered(Ok(())));
        }
        ConfigResourceType::Broker => {
            // Without the changes before it that are still under way, as in Kafka, whose brokers apply what they have
            // answered already.
            let image = ctx.node.metadata();
            check_lists(&ops)?;
            let before = image.configs(kind, name);
            let after = configs::after(before, kind, &ops, &OptionsTables)?;
            check_broker(ctx.node.id, &ctx.node.config(), name, &after)?;
        }
        _ => {}
    }
    Ok(Prepared::ForController(AlterResourceConfigs {
        resource: ConfigResource::new(kind, name),
        ops,
    }))
}

/// Only a list can be added to.
fn check_lists(ops: &[AlterConfigOp]) -> Result<(), ApiError> {
    let adds = |op: &&AlterConfigOp| matches!(op.op, OpType::Append | OpType::Subtract);
    let is_list = |name: &str| OptionsTables.is_list(ConfigResourceType::Broker, name);
    match ops.iter().filter(adds).find(|op| !is_list(&op.name)) {
        None => Ok(()),
        Some(op) => {
            let what = op.op.name().to_lowercase();
            let why = format!(
                "Config value {what} is not allowed for config key: {}",
                op.name
            );
            Err(ApiError::new(ErrorCode::InvalidConfig, why))
        }
    }
}

fn ops(
    resource: &AlterConfigsResource,
    kind: ConfigResourceType,
) -> Result<Vec<AlterConfigOp>, ApiError> {
    let ops = resource.configs.iter().map(|config| {
        let code = config.config_operation;
        let op = OpType::from_code(code).ok_or_else(|| {
            let why = match kind {
                ConfigResourceType::BrokerLogger => format!(
                    "Unknown operation type {code} is not allowed for the BROKER_LOGGER resource"
                ),
                _ => format!("Unknown operations type {code}"),
            };
            ApiError::new(ErrorCode::InvalidRequest, why)
        })?;
        Ok(AlterConfigOp {
            name: config.name.as_str().into(),
            op,
            value: config.value.as_ref().map(|value| value.as_str().into()),
        })
    });
    ops.collect()
}

async fn decide(
    ctx: &RequestContext,
    resources: Vec<AlterResourceConfigs>,
    validate_only: bool,
) -> Result<Vec<Result<(), ApiError>>, ApiError> {
    if resources.is_empty() {
        return Ok(Vec::new());
    }
    let command = Command::IncrementalAlterConfigs(IncrementalAlterConfigs {
        resources,
        validate_only,
    });
    match submit(ctx, command, None).await? {
        Reply::AlterConfigs(outcomes) => Ok(outcomes),
        _ => Err(unexpected()),
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::incremental_alter_configs_request::AlterableConfig;
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    #[test]
    fn operations_have_kafkas_numbers() {
        let resource = |code| {
            let config = AlterableConfig::default()
                .with_name(StrBytes::from_static_str("k"))
                .with_config_operation(code);
            AlterConfigsResource::default().with_configs(vec![config])
        };
        let told = |code, kind| match ops(&resource(code), kind) {
            Ok(ops) => ops[0].op.name().to_owned(),
            Err(error) => error.to_string(),
        };
        let topic = ConfigResourceType::Topic;
        let names = [0, 1, 2, 3].map(|code| told(code, topic));
        assert_eq!(names, ["SET", "DELETE", "APPEND", "SUBTRACT"]);
        assert_eq!(told(4, topic), "INVALID_REQUEST: Unknown operations type 4");
        assert_eq!(
            told(4, ConfigResourceType::BrokerLogger),
            "INVALID_REQUEST: Unknown operation type 4 is not allowed for the BROKER_LOGGER resource"
        );
    }
}
