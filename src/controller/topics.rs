//! Topics are created and deleted: CreateTopics, auto-creation, internal topics, DeleteTopics.
//! Codes, words and the order of the checks are those of Kafka's `ReplicationControlManager`; one
//! thing is stricter: two names of one request that collide are refused like one that collides
//! with an existing topic.

use std::collections::BTreeMap;

use crate::config::ConfigOverrides;
use crate::controller::command::{
    ApiError, CreatableTopic, CreateTopics, CreatedTopic, ReplicaAssignment,
};
use crate::controller::configs;
use crate::controller::decide::Environment;
use crate::controller::delta::ConfigResource;
use crate::controller::image::MetadataImage;
use crate::controller::node_list::NodeList;
use crate::controller::partitions::{
    self, EvenlyError, MAX_PARTITIONS_PER_REQUEST, Placed, check_manual_assignment,
    no_active_replica, place_evenly, replay_on_scratch, with_isr,
};
use crate::controller::records::{
    ConfigRecord, ConfigResourceType, Record, RemoveTopicRecord, TopicRecord,
};
use crate::error::ErrorCode;
use crate::types::TopicId;

pub const CONSUMER_OFFSETS: &str = "__consumer_offsets";
pub const TRANSACTION_STATE: &str = "__transaction_state";
pub const SHARE_GROUP_STATE: &str = "__share_group_state";
pub const MAX_NAME_LENGTH: usize = 249;

/// Kept by the coordinators, not by users.
pub fn is_internal(name: &str) -> bool {
    matches!(
        name,
        CONSUMER_OFFSETS | TRANSACTION_STATE | SHARE_GROUP_STATE
    )
}

/// In Kafka's words when it cannot be a topic's name.
pub fn validate_name(name: &str) -> Result<(), ApiError> {
    let reason = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if name == "." || name == ".." {
        format!("'{name}' is not allowed")
    } else if name.encode_utf16().count() > MAX_NAME_LENGTH {
        format!("the length of '{name}' is longer than the max allowed length {MAX_NAME_LENGTH}")
    } else if !name
        .bytes()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'))
    {
        format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        )
    } else {
        return Ok(());
    };
    Err(ApiError::new(
        ErrorCode::InvalidTopicException,
        format!("Topic name is invalid: {reason}"),
    ))
}

/// Partitions are not replicated yet.
pub const MAX_REPLICATION_FACTOR: i16 = 1;

/// Results are in the order of the command.
pub fn create(
    image: &MetadataImage,
    command: &CreateTopics,
    env: &mut Environment<'_>,
) -> (Vec<Record>, Vec<Result<CreatedTopic, ApiError>>) {
    if total_partitions(command, env.settings.num_partitions) > MAX_PARTITIONS_PER_REQUEST {
        let refused = ApiError::new(
            ErrorCode::PolicyViolation,
            "Excessively large number of partitions per request.",
        );
        return (Vec::new(), vec![Err(refused); command.topics.len()]);
    }
    // Later topics are placed on top of the earlier ones.
    let mut image = image.clone();
    let mut records = Vec::new();
    let results = command
        .topics
        .iter()
        .map(|topic| {
            let (new, created) = create_one(&image, topic, env)?;
            replay_on_scratch(&mut image, &new);
            records.extend(new);
            Ok(created)
        })
        .collect();
    if command.validate_only {
        records.clear();
    }
    (records, results)
}

fn total_partitions(command: &CreateTopics, default: i32) -> i64 {
    let partitions = command.topics.iter().map(|topic| {
        if !topic.assignments.is_empty() {
            topic.assignments.len() as i64
        } else if topic.num_partitions == -1 {
            i64::from(default)
        } else {
            i64::from(topic.num_partitions.max(0))
        }
    });
    partitions.sum()
}

fn create_one(
    image: &MetadataImage,
    topic: &CreatableTopic,
    env: &mut Environment<'_>,
) -> Result<(Vec<Record>, CreatedTopic), ApiError> {
    let name = topic.name.as_str();
    if image.topic_id(name).is_some() {
        return Err(ApiError::new(
            ErrorCode::TopicAlreadyExists,
            format!("Topic '{name}' already exists."),
        ));
    }
    if let Some(other) = image.colliding_topic(name) {
        return Err(ApiError::new(
            ErrorCode::InvalidTopicException,
            format!("Topic '{name}' collides with existing topic: {other}"),
        ));
    }
    validate_name(name)?;
    let overrides = overrides(topic)?;
    let resource = ConfigResource::new(ConfigResourceType::Topic, name);
    if !overrides.is_empty() {
        configs::check_value_sizes(&overrides)?;
        env.schema.validate(&resource, &overrides)?;
    }

    let id = TopicId((env.new_id)());
    let placed = if topic.assignments.is_empty() {
        place_new(image, topic, id, env)?
    } else {
        place_by_hand(image, topic)?
    };
    let created = CreatedTopic {
        id,
        num_partitions: placed.len() as i32,
        replication_factor: placed.first().map_or(0, |(replicas, _)| replicas.len()) as i16,
    };
    let most = env.settings.max_replication_factor;
    if created.replication_factor > most {
        // Better no topic than one whose copies are said to be in sync and are not there.
        return Err(ApiError::new(
            ErrorCode::InvalidReplicationFactor,
            format!(
                "Replication factor {} is larger than {most}: this version does not replicate partitions yet.",
                created.replication_factor
            ),
        ));
    }

    let mut records = Vec::with_capacity(1 + overrides.len() + placed.len());
    records.push(Record::Topic(TopicRecord {
        name: name.to_owned(),
        id,
    }));
    records.extend(overrides.into_iter().map(|(key, value)| {
        Record::Config(ConfigRecord {
            resource_type: ConfigResourceType::Topic,
            resource_name: name.to_owned(),
            key,
            value: Some(value),
        })
    }));
    records.extend(partitions::records(id, 0, placed));
    Ok((records, created))
}

fn overrides(topic: &CreatableTopic) -> Result<ConfigOverrides, ApiError> {
    let mut overrides = ConfigOverrides::new();
    let mut nulls = Vec::new();
    for config in &topic.configs {
        match &config.value {
            Some(value) => {
                overrides.insert(&config.name, value.clone());
            }
            None => nulls.push(config.name.as_str()),
        }
    }
    if nulls.is_empty() {
        return Ok(overrides);
    }
    Err(ApiError::new(
        ErrorCode::InvalidConfig,
        format!(
            "Null value not supported for topic configs: {}",
            nulls.join(",")
        ),
    ))
}

fn place_new(
    image: &MetadataImage,
    topic: &CreatableTopic,
    id: TopicId,
    env: &Environment<'_>,
) -> Result<Vec<Placed>, ApiError> {
    let factor = match topic.replication_factor {
        -1 => env.settings.default_replication_factor,
        factor if factor <= 0 => {
            return Err(ApiError::new(
                ErrorCode::InvalidReplicationFactor,
                "Replication factor must be larger than 0, or -1 to use the default value.",
            ));
        }
        factor => factor,
    };
    let count = match topic.num_partitions {
        -1 => env.settings.num_partitions,
        count if count <= 0 => {
            return Err(ApiError::new(
                ErrorCode::InvalidPartitions,
                "Number of partitions was set to an invalid non-positive value.",
            ));
        }
        count => count,
    };
    place_evenly(image, None, count.max(1) as usize, factor, id).map_err(|error| match error {
        EvenlyError::Placement(error) => ApiError::new(
            ErrorCode::InvalidReplicationFactor,
            format!("Unable to replicate the partition {factor} time(s): {error}"),
        ),
        EvenlyError::NoActiveBroker(error) => error,
    })
}

fn place_by_hand(image: &MetadataImage, topic: &CreatableTopic) -> Result<Vec<Placed>, ApiError> {
    let invalid = |why: &str| Err(ApiError::new(ErrorCode::InvalidRequest, why));
    if topic.replication_factor != -1 {
        return invalid(
            "A manual partition assignment was specified, but replication factor was not set to -1.",
        );
    }
    if topic.num_partitions != -1 {
        return invalid(
            "A manual partition assignment was specified, but numPartitions was not set to -1.",
        );
    }
    let mut placed: BTreeMap<i32, Placed> = BTreeMap::new();
    let mut replication_factor = None;
    for ReplicaAssignment { partition, brokers } in &topic.assignments {
        if placed.contains_key(partition) {
            return Err(ApiError::new(
                ErrorCode::InvalidReplicaAssignment,
                format!("Found multiple manual partition assignments for partition {partition}"),
            ));
        }
        check_manual_assignment(image, brokers, replication_factor)?;
        replication_factor = Some(brokers.len());
        let replicas = NodeList::from(brokers.as_slice());
        let placement = with_isr(image, replicas, || no_active_replica(*partition))?;
        placed.insert(*partition, placement);
    }
    if !placed.keys().copied().eq(0..placed.len() as i32) {
        return Err(ApiError::new(
            ErrorCode::InvalidReplicaAssignment,
            "partitions should be a consecutive 0-based integer sequence",
        ));
    }
    Ok(placed.into_values().collect())
}

/// Results are in the order of the ids. Names are resolved, and authorized, before.
pub fn delete(image: &MetadataImage, ids: &[TopicId]) -> (Vec<Record>, Vec<Result<(), ApiError>>) {
    let mut records: Vec<Record> = Vec::with_capacity(ids.len());
    let mut deleted = std::collections::BTreeSet::new();
    let results = ids
        .iter()
        .map(|id| {
            if image.topic_by_id(*id).is_none() || !deleted.insert(*id) {
                return Err(ErrorCode::UnknownTopicId.into());
            }
            records.push(Record::RemoveTopic(RemoveTopicRecord { topic_id: *id }));
            Ok(())
        })
        .collect();
    (records, results)
}

#[cfg(test)]
mod tests;
