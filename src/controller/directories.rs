//! In which of its log directories a broker keeps its replicas (KIP-858). Codes and words are those of Kafka's
//! `ReplicationControlManager`. A partition that is gone, or no longer the broker's, is passed over: what
//! the broker said was true when it said it. A replica that is said to lie in a directory that is offline
//! leads no more, one that was lost and is found may lead again.

use crate::controller::brokers::check_epoch;
use crate::controller::command::{ApiError, AssignReplicasToDirs, DirectoryAssignment};
use crate::controller::elections::{Event, elect};
use crate::controller::image::MetadataImage;
use crate::controller::records::{DirectoryId, PartitionChangeRecord, Record};
use crate::types::NodeId;

pub fn assign(
    image: &MetadataImage,
    command: &AssignReplicasToDirs,
) -> Result<Vec<Record>, ApiError> {
    check_epoch(image, command.broker, command.broker_epoch)?;
    let changes = command.assignments.iter();
    Ok(changes
        .filter_map(|one| change(image, command.broker, one))
        .collect())
}

fn change(
    image: &MetadataImage,
    broker: NodeId,
    assignment: &DirectoryAssignment,
) -> Option<Record> {
    let topic = image.topic_by_id(assignment.topic_id)?;
    let state = topic.partition(assignment.partition)?;
    let at = state.replicas.iter().position(|node| *node == broker)?;
    let mut directories = state.directories().to_vec();
    directories.resize(state.replicas.len(), DirectoryId::UNASSIGNED);
    let place = directories.get_mut(at)?;
    if *place == assignment.directory {
        return None;
    }
    *place = assignment.directory;
    let mut record = PartitionChangeRecord::new(topic.id, assignment.partition);
    record.directories = Some(directories);
    let mut moved = state.clone();
    moved.apply(&record);
    let event = if image.is_in_online_dir(&moved, broker) {
        Event::Returned(broker)
    } else {
        Event::DirectoriesFailed(broker, std::slice::from_ref(&assignment.directory))
    };
    // A broker that is fenced may say where its replicas are, and leads none of them.
    if (image.is_active(broker) || !matches!(event, Event::Returned(_)))
        && let Some((isr, leader)) = elect(image, &moved, event)
    {
        record.isr = isr;
        record.leader = leader;
    }
    Some(Record::PartitionChange(record))
}

#[cfg(test)]
mod tests;
