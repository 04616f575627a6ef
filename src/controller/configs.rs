//! Dynamic configs of topics, brokers, groups and client metrics subscriptions: AlterConfigs and
//! IncrementalAlterConfigs. Codes, words and the order of the checks are those of Kafka's
//! `ConfigurationControlManager`.
//!
//! What a value may be is the options table's to say (`ConfigSchema`). The values of a broker's
//! own configs are checked by that broker before the command is sent, as in Kafka; log levels
//! never come here.

use crate::config::{ConfigOverrides, ConfigText};
use crate::controller::command::{
    AlterConfigOp, AlterResourceConfigs, ApiError, IncrementalAlterConfigs, OpType, ReplaceConfigs,
    ReplaceResourceConfigs,
};
use crate::controller::decide::ConfigSchema;
use crate::controller::delta::ConfigResource;
use crate::controller::features;
use crate::controller::image::MetadataImage;
use crate::controller::partitions::replay_on_scratch;
use crate::controller::records::{ConfigRecord, ConfigResourceType, Record};
use crate::controller::topics;
use crate::error::ErrorCode;
use crate::types::NodeId;

const MAX_VALUE_LENGTH: usize = 32767;
const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";

/// A key and its new value; `None` removes it.
type Change = (ConfigText, Option<ConfigText>);

/// AlterConfigs: what is not named is removed. Results are in the order of the command.
pub fn replace(
    image: &MetadataImage,
    command: &ReplaceConfigs,
    schema: &dyn ConfigSchema,
) -> (Vec<Record>, Vec<Result<(), ApiError>>) {
    decide_each(
        image,
        &command.resources,
        command.validate_only,
        |image, request: &ReplaceResourceConfigs| {
            let existing = image.configs(request.resource.kind, &request.resource.name);
            let mut changes: Vec<Change> = Vec::new();
            for config in &request.configs {
                let value = config.value.clone();
                changes.push((config.name.clone(), value));
            }
            for key in existing.keys() {
                if !request.configs.iter().any(|config| config.name == *key) {
                    changes.push((key.clone(), None));
                }
            }
            change(image, &request.resource, changes, schema)
        },
    )
}

/// IncrementalAlterConfigs (KIP-339). Results are in the order of the command.
pub fn alter_incrementally(
    image: &MetadataImage,
    command: &IncrementalAlterConfigs,
    schema: &dyn ConfigSchema,
) -> (Vec<Record>, Vec<Result<(), ApiError>>) {
    decide_each(
        image,
        &command.resources,
        command.validate_only,
        |image, request: &AlterResourceConfigs| {
            let existing = image.configs(request.resource.kind, &request.resource.name);
            let mut changes: Vec<Change> = Vec::new();
            for op in &request.ops {
                let current = existing.get(&op.name);
                let value = apply(op, current, request.resource.kind, schema)?;
                changes.push((op.name.clone(), value));
            }
            change(image, &request.resource, changes, schema)
        },
    )
}

/// The overrides after some operations, checked for what the operations themselves need.
pub fn after(
    before: &ConfigOverrides,
    kind: ConfigResourceType,
    ops: &[AlterConfigOp],
    schema: &dyn ConfigSchema,
) -> Result<ConfigOverrides, ApiError> {
    let mut overrides = before.clone();
    for op in ops {
        match apply(op, before.get(&op.name), kind, schema)? {
            Some(value) => overrides.insert(&op.name, value),
            None => overrides.remove(&op.name),
        };
    }
    Ok(overrides)
}

fn decide_each<T>(
    image: &MetadataImage,
    requests: &[T],
    validate_only: bool,
    decide: impl Fn(&MetadataImage, &T) -> Result<Vec<Record>, ApiError>,
) -> (Vec<Record>, Vec<Result<(), ApiError>>) {
    let mut image = image.clone();
    let mut records = Vec::new();
    let last = requests.len().saturating_sub(1);
    let decided = requests.iter().enumerate().map(|(index, request)| {
        let new = decide(&image, request)?;
        if index < last {
            replay_on_scratch(&mut image, &new);
        }
        records.extend(new);
        Ok(())
    });
    let results = decided.collect();
    if validate_only {
        records.clear();
    }
    (records, results)
}

/// The value of a key after one operation.
fn apply(
    op: &AlterConfigOp,
    current: Option<&ConfigText>,
    kind: ConfigResourceType,
    schema: &dyn ConfigSchema,
) -> Result<Option<ConfigText>, ApiError> {
    let value = match (op.op, &op.value) {
        (OpType::Delete, _) => return Ok(None),
        (_, None) => {
            return Err(ApiError::new(
                ErrorCode::InvalidRequest,
                format!("Null value not supported for : {}", op.name),
            ));
        }
        (OpType::Set, Some(value)) => return Ok(Some(value.clone())),
        (OpType::Append | OpType::Subtract, Some(value)) => value,
    };
    if !schema.is_list(kind, &op.name) {
        return Err(ApiError::new(
            ErrorCode::InvalidConfig,
            format!(
                "Can't {} to key {} because its type is not LIST.",
                op.op.name(),
                op.name
            ),
        ));
    }
    let before = match current {
        Some(current) => Some(current.to_string()),
        None => schema.default_value(kind, &op.name),
    };
    let before = before.unwrap_or_default();
    let mut parts: Vec<&str> = before.split(',').filter(|part| !part.is_empty()).collect();
    for part in split_as_java(value) {
        let found = parts.iter().position(|existing| *existing == part);
        match (op.op, found) {
            (OpType::Append, None) => parts.push(part),
            (OpType::Subtract, Some(at)) => {
                parts.remove(at);
            }
            _ => {}
        }
    }
    Ok(Some(parts.join(",").into()))
}

/// `String.split(",")` leaves out empty parts at the end.
fn split_as_java(value: &str) -> impl Iterator<Item = &str> {
    let trimmed = value.trim_end_matches(',');
    let none = trimmed.is_empty() && !value.is_empty();
    trimmed.split(',').filter(move |_| !none)
}

fn change(
    image: &MetadataImage,
    resource: &ConfigResource,
    changes: Vec<Change>,
    schema: &dyn ConfigSchema,
) -> Result<Vec<Record>, ApiError> {
    let mut overrides = image.configs(resource.kind, &resource.name).clone();
    let mut records = Vec::new();
    for (key, value) in changes {
        // A broker's are written even when they do not change: it may be wanted as a signal to
        // read a key store again.
        if overrides.get(&key) == value.as_ref() && resource.kind != ConfigResourceType::Broker {
            continue;
        }
        check_min_insync_replicas(image, resource, &key, value.as_deref())?;
        match &value {
            Some(value) => overrides.insert(&key, value.clone()),
            None => overrides.remove(&key),
        };
        records.push(Record::Config(ConfigRecord {
            resource_type: resource.kind,
            resource_name: resource.name.clone(),
            key,
            value,
        }));
    }
    check_value_sizes(&overrides)?;
    check_name(resource)?;
    schema.validate(resource, &overrides)?;
    check_existence(image, resource)?;
    Ok(records)
}

/// What is eligible to lead depends on it (KIP-966), so it is the same for all brokers.
fn check_min_insync_replicas(
    image: &MetadataImage,
    resource: &ConfigResource,
    key: &str,
    value: Option<&str>,
) -> Result<(), ApiError> {
    let elr = image.feature(features::ELIGIBLE_LEADER_REPLICAS) > 0;
    if !elr || resource.kind != ConfigResourceType::Broker || key != MIN_INSYNC_REPLICAS {
        return Ok(());
    }
    let why = if !resource.name.is_empty() {
        "Broker-level min.insync.replicas cannot be altered while ELR is enabled."
    } else if value.is_none() {
        "Cluster-level min.insync.replicas cannot be removed while ELR is enabled."
    } else {
        return Ok(());
    };
    Err(ApiError::new(ErrorCode::InvalidConfig, why))
}

pub(super) fn check_value_sizes(overrides: &ConfigOverrides) -> Result<(), ApiError> {
    // What has no more bytes has no more characters either.
    let too_long = |value: &ConfigText| {
        value.len() > MAX_VALUE_LENGTH && value.encode_utf16().count() > MAX_VALUE_LENGTH
    };
    if overrides.values().any(too_long) {
        return Err(ApiError::new(
            ErrorCode::InvalidConfig,
            "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.",
        ));
    }
    Ok(())
}

fn check_name(resource: &ConfigResource) -> Result<(), ApiError> {
    let invalid = |why: &str| Err(ApiError::new(ErrorCode::InvalidRequest, why));
    let name = resource.name.as_str();
    match resource.kind {
        ConfigResourceType::Topic if name.is_empty() => {
            invalid("Default topic resources are not allowed.")
        }
        ConfigResourceType::Topic => topics::validate_name(name),
        ConfigResourceType::Broker if name.is_empty() => Ok(()),
        ConfigResourceType::Broker => match name.parse::<i32>() {
            Err(_) => invalid("Unable to parse broker name as a base 10 number."),
            Ok(id) if id < 0 => invalid("Invalid negative broker ID."),
            Ok(_) => Ok(()),
        },
        ConfigResourceType::ClientMetrics if name.is_empty() => {
            invalid("Subscription name can't be empty")
        }
        ConfigResourceType::ClientMetrics => Ok(()),
        ConfigResourceType::Group if name.is_empty() => {
            invalid("Default group resources are not allowed.")
        }
        ConfigResourceType::Group => Ok(()),
        ConfigResourceType::BrokerLogger => invalid("Unknown resource type BROKER_LOGGER"),
    }
}

fn check_existence(image: &MetadataImage, resource: &ConfigResource) -> Result<(), ApiError> {
    let name = resource.name.as_str();
    match resource.kind {
        ConfigResourceType::Topic if image.topic_id(name).is_none() => Err(ApiError::new(
            ErrorCode::UnknownTopicOrPartition,
            format!("The topic '{name}' does not exist."),
        )),
        ConfigResourceType::Broker if !name.is_empty() => {
            let id = name.parse().map(NodeId).unwrap_or(NodeId::NONE);
            match image.broker(id) {
                Some(_) => Ok(()),
                None => Err(ApiError::new(
                    ErrorCode::BrokerIdNotRegistered,
                    format!("No node with id {id} found."),
                )),
            }
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
