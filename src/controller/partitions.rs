//! New partitions: of a topic in the making and of one that exists (CreatePartitions), placed by the
//! controller or by hand. Codes and words are those of Kafka's `ReplicationControlManager`.

use std::collections::BTreeSet;

use crate::controller::command::{ApiError, CreatePartitions, CreatePartitionsTopic};
use crate::controller::delta::MetadataDelta;
use crate::controller::image::MetadataImage;
use crate::controller::node_list::NodeList;
use crate::controller::placement::{self, PlacementError};
use crate::controller::records::{PartitionRecord, Record};
use crate::error::ErrorCode;
use crate::types::{LeaderEpoch, NodeId, PartitionId, TopicId};

/// How many partitions one request may make (Kafka's own bound).
pub const MAX_PARTITIONS_PER_REQUEST: i64 = 10_000;

/// Results are in the order of the command.
pub fn create(
    image: &MetadataImage,
    command: &CreatePartitions,
) -> (Vec<Record>, Vec<Result<(), ApiError>>) {
    if additional_partitions(image, command) > MAX_PARTITIONS_PER_REQUEST {
        let refused = ApiError::new(
            ErrorCode::PolicyViolation,
            "Excessively large number of additional partitions per request.",
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
            let new = add_to_topic(&image, topic)?;
            replay_on_scratch(&mut image, &new);
            records.extend(new);
            Ok(())
        })
        .collect();
    if command.validate_only {
        records.clear();
    }
    (records, results)
}

/// The image as it will be: decisions within one command build on each other.
pub(super) fn replay_on_scratch(image: &mut MetadataImage, records: &[Record]) {
    let mut delta = MetadataDelta::default();
    for record in records {
        let replayed = image.replay(image.applied(), record, &mut delta);
        debug_assert_eq!(replayed, Ok(()), "a decision contradicts its own image");
    }
}

fn additional_partitions(image: &MetadataImage, command: &CreatePartitions) -> i64 {
    let additional = command.topics.iter().filter_map(|topic| {
        let existing = image.topic(&topic.name)?.partition_count() as i64;
        Some((i64::from(topic.count) - existing).max(0))
    });
    additional.sum()
}

fn add_to_topic(
    image: &MetadataImage,
    request: &CreatePartitionsTopic,
) -> Result<Vec<Record>, ApiError> {
    let topic = image
        .topic(&request.name)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let existing = topic.partition_count();
    let Some(additional) = usize::try_from(request.count)
        .ok()
        .and_then(|count| count.checked_sub(existing))
    else {
        return Err(ApiError::new(
            ErrorCode::InvalidPartitions,
            format!(
                "The topic {} currently has {existing} partition(s); {} would not be an increase.",
                request.name, request.count
            ),
        ));
    };
    if additional == 0 {
        return Err(ApiError::new(
            ErrorCode::InvalidPartitions,
            format!("Topic already has {existing} partition(s)."),
        ));
    }
    let replication_factor = topic.replication_factor();
    let placed = match &request.assignments {
        Some(assignments) if assignments.len() != additional => {
            return Err(ApiError::new(
                ErrorCode::InvalidReplicaAssignment,
                format!(
                    "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
                    assignments.len()
                ),
            ));
        }
        Some(assignments) => {
            let mut placed = Vec::with_capacity(additional);
            for (replicas, partition) in assignments.iter().zip(existing..) {
                check_manual_assignment(image, replicas, Some(replication_factor))?;
                let replicas = NodeList::from(replicas.as_slice());
                placed.push(with_isr(image, replicas, || {
                    no_active_replica(partition as i32)
                })?);
            }
            placed
        }
        None => place_evenly(
            image,
            Some(topic),
            additional,
            replication_factor as i16,
            topic.id,
        )
        .map_err(|error| match error {
            // Here Kafka gives the placer's words alone.
            EvenlyError::Placement(error) => {
                ApiError::new(ErrorCode::InvalidReplicationFactor, error.to_string())
            }
            EvenlyError::NoActiveBroker(error) => error,
        })?,
    };
    Ok(records(topic.id, existing, placed))
}

/// Replicas and those of them that are in sync from the start.
pub(super) type Placed = (NodeList, NodeList);

pub(super) enum EvenlyError {
    Placement(PlacementError),
    NoActiveBroker(ApiError),
}

pub(super) fn place_evenly(
    image: &MetadataImage,
    existing: Option<&crate::controller::topic_image::TopicImage>,
    count: usize,
    replication_factor: i16,
    seed: TopicId,
) -> Result<Vec<Placed>, EvenlyError> {
    let factor = i32::from(replication_factor);
    let placed = placement::place(image, existing, count, factor, seed.0.as_u128())
        .map_err(EvenlyError::Placement)?;
    let no_active_broker = || {
        ApiError::new(
            ErrorCode::InvalidReplicationFactor,
            format!(
                "Unable to replicate the partition {replication_factor} time(s): All brokers are currently fenced or in controlled shutdown."
            ),
        )
    };
    let placed = placed
        .into_iter()
        .map(|replicas| with_isr(image, replicas, no_active_broker));
    placed
        .collect::<Result<_, _>>()
        .map_err(EvenlyError::NoActiveBroker)
}

/// The in-sync replicas of a new partition: those whose broker is active.
pub(super) fn with_isr(
    image: &MetadataImage,
    replicas: NodeList,
    none_active: impl FnOnce() -> ApiError,
) -> Result<Placed, ApiError> {
    let active = replicas.iter().filter(|node| image.is_active(**node));
    let isr: NodeList = active.copied().collect();
    if isr.is_empty() {
        return Err(none_active());
    }
    Ok((replicas, isr))
}

pub(super) fn no_active_replica(partition: i32) -> ApiError {
    ApiError::new(
        ErrorCode::InvalidReplicaAssignment,
        format!(
            "All brokers specified in the manual partition assignment for partition {partition} are fenced or in controlled shutdown."
        ),
    )
}

pub(super) fn check_manual_assignment(
    image: &MetadataImage,
    replicas: &[NodeId],
    replication_factor: Option<usize>,
) -> Result<(), ApiError> {
    let refuse = |why: String| Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, why));
    if replicas.is_empty() {
        return refuse("The manual partition assignment includes an empty replica list.".into());
    }
    // Sorted, so that of several faults the same one is named as Kafka names.
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    let mut seen = BTreeSet::new();
    for node in sorted {
        let Some(broker) = image.broker(node) else {
            return refuse(format!(
                "The manual partition assignment includes broker {node}, but no such broker is registered."
            ));
        };
        if !broker.has_uncordoned_dirs() {
            return refuse(format!(
                "The manual partition assignment includes broker {node}, but all its log directories are cordoned."
            ));
        }
        if !seen.insert(node) {
            return refuse(format!(
                "The manual partition assignment includes the broker {node} more than once."
            ));
        }
    }
    match replication_factor {
        Some(factor) if factor != replicas.len() => refuse(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with previous partitions, which have {factor} replica(s).",
            replicas.len()
        )),
        _ => Ok(()),
    }
}

/// The records of new partitions, numbered from `first`.
pub(super) fn records(
    topic_id: TopicId,
    first: usize,
    placed: impl IntoIterator<Item = Placed>,
) -> Vec<Record> {
    let numbers = (first as i32..).map(PartitionId);
    let partitions = placed.into_iter().zip(numbers);
    partitions
        .map(|((replicas, isr), partition)| {
            Record::Partition(PartitionRecord {
                topic_id,
                partition,
                leader: isr.first().copied().unwrap_or(NodeId::NONE),
                replicas,
                isr,
                leader_epoch: LeaderEpoch(0),
                partition_epoch: 0,
                elr: None,
                last_known_elr: None,
                adding_replicas: None,
                removing_replicas: None,
                directories: None,
                recovering: None,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
