//! What changed between two images, for those who keep something of their own beside the image:
//! the broker's partition table, its logs, its view of the configs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::controller::image::MetadataImage;
use crate::controller::records::ConfigResourceType;
use crate::controller::topic_image::TopicImage;
use crate::types::{NodeId, PartitionId, TopicId};

/// A thing with configs: a topic, a broker by its id, all brokers (the empty name), a group, a
/// client metrics subscription.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, minicbor::Encode, minicbor::Decode,
)]
pub struct ConfigResource {
    #[n(0)]
    pub kind: ConfigResourceType,
    #[n(1)]
    pub name: String,
}

impl ConfigResource {
    pub fn new(kind: ConfigResourceType, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
        }
    }
}

/// The new state is in the image; this says where to look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetadataDelta {
    pub topics: BTreeMap<TopicId, TopicDelta>,
    pub configs: BTreeSet<ConfigResource>,
    pub brokers: BTreeSet<NodeId>,
    /// A finalized feature changed.
    pub features: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicDelta {
    /// With all its partitions.
    Created,
    /// These partitions are new or changed.
    Changed(BTreeSet<PartitionId>),
    /// As it was before.
    Deleted(Arc<TopicImage>),
}

impl MetadataDelta {
    /// From nothing to this image: what a node that starts has to learn.
    pub fn whole(image: &MetadataImage) -> Self {
        Self {
            topics: image
                .topics()
                .map(|topic| (topic.id, TopicDelta::Created))
                .collect(),
            configs: image.configured_resources().collect(),
            brokers: image.brokers().map(|broker| broker.id).collect(),
            features: image.features().next().is_some(),
        }
    }

    /// From one image to a later one whose changes between nobody heard of: a snapshot took their place.
    pub fn between(before: &MetadataImage, after: &MetadataImage) -> Self {
        let mut delta = Self {
            features: !before.features().eq(after.features()),
            ..Self::default()
        };
        for topic in before.topics() {
            if after.topic_by_id(topic.id).is_none() {
                delta.on_topic_deleted(topic.clone());
            }
        }
        for topic in after.topics() {
            match before.topic_by_id(topic.id) {
                None => delta.on_topic_created(topic.id),
                Some(old) if Arc::ptr_eq(old, topic) => {}
                Some(old) => {
                    for (index, state) in topic.partitions() {
                        if old.partition(index) != Some(state) {
                            delta.on_partition(topic.id, index);
                        }
                    }
                }
            }
        }
        let resources = before
            .configured_resources()
            .chain(after.configured_resources());
        let overrides_differ = |ConfigResource { kind, name }: &ConfigResource| {
            before.configs(*kind, name) != after.configs(*kind, name)
        };
        delta.configs = resources.filter(overrides_differ).collect();
        let brokers = before.brokers().chain(after.brokers());
        delta.brokers = brokers
            .map(|broker| broker.id)
            .filter(|id| before.broker(*id) != after.broker(*id))
            .collect();
        delta
    }

    pub fn is_empty(&self) -> bool {
        let Self {
            topics,
            configs,
            brokers,
            features,
        } = self;
        topics.is_empty() && configs.is_empty() && brokers.is_empty() && !features
    }

    pub(super) fn on_topic_created(&mut self, id: TopicId) {
        self.topics.insert(id, TopicDelta::Created);
    }

    pub(super) fn on_partition(&mut self, id: TopicId, partition: PartitionId) {
        let changed = || TopicDelta::Changed(BTreeSet::new());
        if let TopicDelta::Changed(partitions) = self.topics.entry(id).or_insert_with(changed) {
            partitions.insert(partition);
        }
    }

    /// A topic that came and went within one delta was never there.
    pub(super) fn on_topic_deleted(&mut self, before: Arc<TopicImage>) {
        let id = before.id;
        if self.topics.get(&id) == Some(&TopicDelta::Created) {
            self.topics.remove(&id);
        } else {
            self.topics.insert(id, TopicDelta::Deleted(before));
        }
    }
}
