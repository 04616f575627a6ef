//! Records into the image: the only place where it changes.
//!
//! A record that does not fit is no client's fault: the log is damaged or two versions disagree.
//! The caller must stop, for nothing it would do from there on could be trusted.

use std::sync::Arc;

use imbl::ordmap::Entry;

use crate::config::ConfigOverrides;
use crate::controller::delta::{ConfigResource, MetadataDelta};
use crate::controller::image::{AppliedRequest, BrokerRegistration, MetadataImage, unified};
use crate::controller::records::*;
use crate::controller::topic_image::{PartitionState, TopicImage};
use crate::types::{NodeId, PartitionId, ProducerId, TopicId, Zxid};

/// Why a record does not fit the image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    #[error("the record at zxid {record:#x} is not newer than the image at {image:#x}")]
    NotNewer { image: Zxid, record: Zxid },
    #[error("the cluster id changes from {old} to {new}")]
    ClusterIdChanged { old: String, new: String },
    #[error("topic {0} is created twice")]
    DuplicateTopic(String),
    #[error("topic id {0} is unknown")]
    UnknownTopic(TopicId),
    #[error("partition {1} of topic id {0} is unknown")]
    UnknownPartition(TopicId, PartitionId),
    #[error("partition {1} of topic id {0} comes out of order")]
    PartitionOutOfOrder(TopicId, PartitionId),
    #[error("broker {0} is not registered under epoch {1:#x}")]
    UnknownBroker(NodeId, Zxid),
    #[error("the next producer id goes back from {old} to {new}")]
    ProducerIdsWentBack { old: ProducerId, new: ProducerId },
    #[error("command {1} of node {0} is applied twice")]
    AppliedTwice(NodeId, u64),
    #[error("log levels are not part of the metadata")]
    NotAResource,
}

impl MetadataImage {
    /// All records of one proposal. On an error the image is no longer good for anything.
    pub fn replay_all(
        &mut self,
        zxid: Zxid,
        records: &[Record],
        delta: &mut MetadataDelta,
    ) -> Result<(), ReplayError> {
        if zxid <= self.applied {
            return Err(ReplayError::NotNewer {
                image: self.applied,
                record: zxid,
            });
        }
        for record in records {
            self.replay(zxid, record, delta)?;
        }
        self.applied = zxid;
        Ok(())
    }

    /// One record of the proposal at `zxid`.
    pub fn replay(
        &mut self,
        zxid: Zxid,
        record: &Record,
        delta: &mut MetadataDelta,
    ) -> Result<(), ReplayError> {
        match record {
            Record::Cluster(record) => self.replay_cluster(record),
            Record::FeatureLevel(record) => {
                self.replay_feature_level(record);
                delta.features = true;
                Ok(())
            }
            Record::RegisterBroker(record) => {
                self.replay_register_broker(zxid, record);
                delta.brokers.insert(record.id);
                Ok(())
            }
            Record::BrokerChange(record) => {
                delta.brokers.insert(record.id);
                self.replay_broker_change(record)
            }
            Record::UnregisterBroker(record) => {
                delta.brokers.insert(record.id);
                self.registered(record.id, record.epoch)?;
                self.brokers.remove(&record.id);
                Ok(())
            }
            Record::Topic(record) => self.replay_topic(record, delta),
            Record::Partition(record) => self.replay_partition(record, delta),
            Record::PartitionChange(record) => self.replay_partition_change(record, delta),
            Record::RemoveTopic(record) => self.replay_remove_topic(record, delta),
            Record::Config(record) => self.replay_config(record, delta),
            Record::ProducerIds(record) => self.replay_producer_ids(record),
            Record::Request(record) => self.replay_request(record),
        }
    }

    fn replay_request(&mut self, record: &RequestRecord) -> Result<(), ReplayError> {
        let (node, incarnation, seq) = (record.node, record.incarnation, record.seq);
        if self.is_applied(node, incarnation, seq) {
            return Err(ReplayError::AppliedTwice(node, seq));
        }
        self.requests
            .insert(node, AppliedRequest { incarnation, seq });
        Ok(())
    }

    fn replay_cluster(&mut self, record: &ClusterRecord) -> Result<(), ReplayError> {
        match &self.cluster_id {
            Some(old) if **old != *record.cluster_id => Err(ReplayError::ClusterIdChanged {
                old: old.to_string(),
                new: record.cluster_id.clone(),
            }),
            _ => {
                self.cluster_id = Some(record.cluster_id.as_str().into());
                Ok(())
            }
        }
    }

    fn replay_feature_level(&mut self, record: &FeatureLevelRecord) {
        if record.level == 0 {
            self.features.remove(record.name.as_str());
        } else {
            self.features
                .insert(record.name.as_str().into(), record.level);
        }
    }

    fn replay_register_broker(&mut self, zxid: Zxid, record: &RegisterBrokerRecord) {
        let RegisterBrokerRecord {
            id,
            incarnation,
            epoch,
            endpoints,
            rack,
            fenced,
            in_controlled_shutdown,
            features,
            directories,
            cordoned_directories,
        } = record.clone();
        let registration = BrokerRegistration {
            id,
            incarnation,
            epoch: epoch.unwrap_or(zxid),
            endpoints,
            rack,
            fenced,
            in_controlled_shutdown,
            features,
            directories,
            cordoned_directories: cordoned_directories.unwrap_or_default(),
        };
        self.brokers.insert(id, Arc::new(registration));
    }

    fn registered(
        &mut self,
        id: NodeId,
        epoch: Zxid,
    ) -> Result<&mut Arc<BrokerRegistration>, ReplayError> {
        self.brokers
            .get_mut(&id)
            .filter(|broker| broker.epoch == epoch)
            .ok_or(ReplayError::UnknownBroker(id, epoch))
    }

    fn replay_broker_change(&mut self, record: &BrokerChangeRecord) -> Result<(), ReplayError> {
        let broker = Arc::make_mut(self.registered(record.id, record.epoch)?);
        if let Some(fenced) = record.fenced {
            broker.fenced = fenced;
        }
        if let Some(in_controlled_shutdown) = record.in_controlled_shutdown {
            broker.in_controlled_shutdown = in_controlled_shutdown;
        }
        if let Some(directories) = &record.directories {
            broker.directories.clone_from(directories);
        }
        if let Some(cordoned) = &record.cordoned_directories {
            broker.cordoned_directories.clone_from(cordoned);
        }
        Ok(())
    }

    fn replay_topic(
        &mut self,
        record: &TopicRecord,
        delta: &mut MetadataDelta,
    ) -> Result<(), ReplayError> {
        let name: Arc<str> = record.name.as_str().into();
        if self.topic_ids.contains_key(&name) || self.topics.contains_key(&record.id) {
            return Err(ReplayError::DuplicateTopic(record.name.clone()));
        }
        if name.contains(['.', '_']) {
            let unified = unified(&name).into();
            self.unified_names
                .entry(unified)
                .or_default()
                .insert(name.clone());
        }
        self.topic_ids.insert(name.clone(), record.id);
        let topic = TopicImage::new(name, record.id);
        self.topics.insert(record.id, Arc::new(topic));
        delta.on_topic_created(record.id);
        Ok(())
    }

    fn replay_partition(
        &mut self,
        record: &PartitionRecord,
        delta: &mut MetadataDelta,
    ) -> Result<(), ReplayError> {
        let topic = self
            .topics
            .get_mut(&record.topic_id)
            .ok_or(ReplayError::UnknownTopic(record.topic_id))?;
        if i32::try_from(topic.partition_count()) != Ok(record.partition.0) {
            return Err(ReplayError::PartitionOutOfOrder(
                record.topic_id,
                record.partition,
            ));
        }
        Arc::make_mut(topic).push(PartitionState::from_record(record));
        self.partition_count += 1;
        self.add_load(&record.replicas);
        delta.on_partition(record.topic_id, record.partition);
        Ok(())
    }

    fn replay_partition_change(
        &mut self,
        record: &PartitionChangeRecord,
        delta: &mut MetadataDelta,
    ) -> Result<(), ReplayError> {
        let topic = self
            .topics
            .get_mut(&record.topic_id)
            .ok_or(ReplayError::UnknownTopic(record.topic_id))?;
        let state = Arc::make_mut(topic).partition_mut(record.partition).ok_or(
            ReplayError::UnknownPartition(record.topic_id, record.partition),
        )?;
        let before = state.replicas.clone();
        state.apply(record);
        let after = state.replicas.clone();
        if before != after {
            self.remove_load(&before);
            self.add_load(&after);
        }
        delta.on_partition(record.topic_id, record.partition);
        Ok(())
    }

    fn replay_remove_topic(
        &mut self,
        record: &RemoveTopicRecord,
        delta: &mut MetadataDelta,
    ) -> Result<(), ReplayError> {
        let topic = self
            .topics
            .remove(&record.topic_id)
            .ok_or(ReplayError::UnknownTopic(record.topic_id))?;
        self.topic_ids.remove(&topic.name);
        let unified: Arc<str> = unified(&topic.name).into();
        if let Entry::Occupied(mut names) = self.unified_names.entry(unified) {
            names.get_mut().remove(&topic.name);
            if names.get().is_empty() {
                names.remove();
            }
        }
        for (_, partition) in topic.partitions() {
            self.remove_load(&partition.replicas);
        }
        self.partition_count -= topic.partition_count();
        let had_configs = self
            .configs
            .get_mut(&ConfigResourceType::Topic)
            .and_then(|topics| topics.remove(&topic.name));
        if had_configs.is_some() {
            self.drop_kind_without_configs(ConfigResourceType::Topic);
        }
        delta.on_topic_deleted(topic);
        Ok(())
    }

    fn replay_config(
        &mut self,
        record: &ConfigRecord,
        delta: &mut MetadataDelta,
    ) -> Result<(), ReplayError> {
        let kind = record.resource_type;
        if kind == ConfigResourceType::BrokerLogger {
            return Err(ReplayError::NotAResource);
        }
        let name = record.resource_name.as_str();
        let resources = self.configs.entry(kind).or_default();
        match (&record.value, resources.get_mut(name)) {
            (Some(value), Some(overrides)) => {
                Arc::make_mut(overrides).insert(&record.key, value.clone());
            }
            (Some(value), None) => {
                let overrides = ConfigOverrides::from([(record.key.as_str(), value.clone())]);
                resources.insert(name.into(), Arc::new(overrides));
            }
            (None, Some(overrides)) => {
                let overrides = Arc::make_mut(overrides);
                overrides.remove(&record.key);
                if overrides.is_empty() {
                    resources.remove(name);
                }
            }
            (None, None) => {}
        }
        self.drop_kind_without_configs(kind);
        let resource = ConfigResource::new(kind, record.resource_name.as_str());
        delta.configs.insert(resource);
        Ok(())
    }

    fn drop_kind_without_configs(&mut self, kind: ConfigResourceType) {
        if self.configs.get(&kind).is_some_and(|all| all.is_empty()) {
            self.configs.remove(&kind);
        }
    }

    fn replay_producer_ids(&mut self, record: &ProducerIdsRecord) -> Result<(), ReplayError> {
        if record.next_producer_id <= self.next_producer_id {
            return Err(ReplayError::ProducerIdsWentBack {
                old: self.next_producer_id,
                new: record.next_producer_id,
            });
        }
        self.next_producer_id = record.next_producer_id;
        Ok(())
    }

    fn add_load(&mut self, replicas: &[NodeId]) {
        for (position, node) in replicas.iter().enumerate() {
            let load = self.loads.entry(*node).or_default();
            load.replicas += 1;
            load.preferred_leaders += u32::from(position == 0);
        }
    }

    fn remove_load(&mut self, replicas: &[NodeId]) {
        for (position, node) in replicas.iter().enumerate() {
            if let Some(load) = self.loads.get_mut(node) {
                load.replicas -= 1;
                load.preferred_leaders -= u32::from(position == 0);
                if load.replicas == 0 {
                    self.loads.remove(node);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
