//! Brokers join, are fenced, shut down and are removed. Codes and words are those of Kafka's
//! `ClusterControlManager`. Sessions (who notices that a broker is gone) are not decided here.

use std::collections::BTreeSet;

use crate::controller::command::{ApiError, ChangeBroker, RegisterBroker};
use crate::controller::elections::{Event, on_event};
use crate::controller::features::METADATA_VERSION;
use crate::controller::image::{BrokerRegistration, MetadataImage};
use crate::controller::partitions::replay_on_scratch;
use crate::controller::records::{
    BrokerChangeRecord, DirectoryId, Record, RegisterBrokerRecord, UnregisterBrokerRecord,
};
use crate::error::ErrorCode;
use crate::types::{NodeId, Zxid};

/// A start of a broker's process, or the same process with something new to tell.
pub fn register(image: &MetadataImage, command: &RegisterBroker) -> Result<Vec<Record>, ApiError> {
    check_registration(image, command)?;
    let existing = image.broker(command.id);
    let same = existing.filter(|existing| existing.incarnation == command.incarnation);
    let mut record = RegisterBrokerRecord {
        id: command.id,
        incarnation: command.incarnation,
        epoch: None,
        endpoints: command.endpoints.clone(),
        rack: command.rack.clone(),
        fenced: command.fenced,
        in_controlled_shutdown: false,
        features: command.features.clone(),
        directories: command.directories.clone(),
        cordoned_directories: command.cordoned_directories.clone(),
    };
    if let Some(same) = same {
        record.epoch = Some(same.epoch);
        record.fenced = same.fenced;
        record.in_controlled_shutdown = same.in_controlled_shutdown;
        return Ok(vec![Record::RegisterBroker(record)]);
    }
    let event = if record.fenced {
        Event::Left(command.id)
    } else {
        Event::Restarted(command.id)
    };
    let mut records = vec![Record::RegisterBroker(record)];
    let mut after = image.clone();
    replay_on_scratch(&mut after, &records);
    records.extend(on_event(&after, event));
    Ok(records)
}

fn check_registration(image: &MetadataImage, command: &RegisterBroker) -> Result<(), ApiError> {
    if command.cluster_id != image.cluster_id() {
        return Err(ApiError::new(
            ErrorCode::InconsistentClusterId,
            format!(
                "Expected cluster ID {}, but got cluster ID {}",
                image.cluster_id(),
                command.cluster_id
            ),
        ));
    }
    let invalid = |why: String| Err(ApiError::new(ErrorCode::InvalidRegistration, why));
    if command.directories.is_empty() {
        return invalid("No directories specified in request".into());
    }
    if command.directories.iter().any(|dir| dir.is_reserved()) {
        return invalid("Reserved directory ID in request".into());
    }
    let directories: BTreeSet<_> = command.directories.iter().collect();
    if directories.len() != command.directories.len() {
        return invalid("Duplicate directory ID in request".into());
    }
    let mut others = image.brokers().filter(|broker| broker.id != command.id);
    let taken = others.find_map(|broker| {
        let mut theirs = broker.directories.iter();
        let both = theirs.find(|theirs| directories.contains(theirs))?;
        Some((broker.id, both.0))
    });
    if let Some((broker, directory)) = taken {
        return invalid(format!(
            "Broker {broker} is already registered with directory {}",
            crate::types::TopicId(directory)
        ));
    }
    check_features(image, command)
}

fn check_features(image: &MetadataImage, command: &RegisterBroker) -> Result<(), ApiError> {
    if !command.features.iter().any(|f| f.name == METADATA_VERSION) {
        return Err(ApiError::new(
            ErrorCode::InvalidRegistration,
            "Request features do not contain 'metadata.version'",
        ));
    }
    for (name, level) in image.features() {
        let supported = command.features.iter().find(|f| f.name == name);
        let (min, max) = supported.map_or((0, 0), |f| (f.min, f.max));
        if !(min..=max).contains(&level) {
            return Err(ApiError::new(
                ErrorCode::UnsupportedVersion,
                format!(
                    "Unable to register because the broker does not support finalized version {level} of {name}. The broker wants a version between {min} and {max}, inclusive."
                ),
            ));
        }
    }
    Ok(())
}

/// Fencing, unfencing, controlled shutdown, directories that have failed or are cordoned.
pub fn change(image: &MetadataImage, command: &ChangeBroker) -> Result<Vec<Record>, ApiError> {
    let broker = check_epoch(image, command.id, command.epoch)?;
    let was_active = broker.is_active();
    let differs = |new: Option<bool>, old: bool| new.filter(|new| *new != old);
    let failed: Vec<DirectoryId> = command
        .offline_directories
        .iter()
        .flatten()
        .filter(|failed| broker.directories.contains(failed))
        .copied()
        .collect();
    let online = broker.directories.iter();
    let online = online.filter(|dir| !failed.contains(dir)).copied();
    let record = BrokerChangeRecord {
        id: command.id,
        epoch: command.epoch,
        fenced: differs(command.fenced, broker.fenced),
        in_controlled_shutdown: differs(
            command.in_controlled_shutdown,
            broker.in_controlled_shutdown,
        ),
        directories: (!failed.is_empty()).then(|| online.collect()),
        cordoned_directories: command
            .cordoned_directories
            .clone()
            .filter(|cordoned| *cordoned != broker.cordoned_directories),
    };
    if record.fenced.is_none()
        && record.in_controlled_shutdown.is_none()
        && record.directories.is_none()
        && record.cordoned_directories.is_none()
    {
        return Ok(Vec::new());
    }
    let fenced = record.fenced.unwrap_or(broker.fenced);
    let leaving = record
        .in_controlled_shutdown
        .unwrap_or(broker.in_controlled_shutdown);
    let is_active = !fenced && !leaving;
    let mut records = vec![Record::BrokerChange(record)];
    let mut after = image.clone();
    replay_on_scratch(&mut after, &records);
    let event = match (was_active, is_active) {
        // What was led there is led nowhere after it, whatever its directory.
        (true, false) => Event::Left(command.id),
        (false, true) => Event::Returned(command.id),
        _ => Event::DirectoriesFailed(command.id, &failed),
    };
    records.extend(on_event(&after, event));
    Ok(records)
}

pub fn unregister(image: &MetadataImage, id: NodeId) -> Result<Vec<Record>, ApiError> {
    let broker = image.broker(id).ok_or_else(|| {
        ApiError::new(
            ErrorCode::BrokerIdNotRegistered,
            format!("Broker ID {id} is not currently registered"),
        )
    })?;
    let mut records = on_event(image, Event::Left(id));
    records.push(Record::UnregisterBroker(UnregisterBrokerRecord {
        id,
        epoch: broker.epoch,
    }));
    Ok(records)
}

/// The registration, when it is of this incarnation.
pub(super) fn check_epoch(
    image: &MetadataImage,
    id: NodeId,
    epoch: Zxid,
) -> Result<&BrokerRegistration, ApiError> {
    let stale = |why: String| ApiError::new(ErrorCode::StaleBrokerEpoch, why);
    let broker = image
        .broker(id)
        .ok_or_else(|| stale(format!("No broker registration found for broker id {id}")))?;
    if broker.epoch != epoch {
        return Err(stale(format!(
            "Expected broker epoch {}, but got broker epoch {epoch}",
            broker.epoch
        )));
    }
    Ok(broker)
}

#[cfg(test)]
mod tests;
