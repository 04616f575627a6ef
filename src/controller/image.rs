//! The committed metadata of the cluster, immutable and cheap to clone: maps share their structure,
//! so an image taken is an image kept.
//!
//! Only `replay` changes it, and the same records make an equal image everywhere. What can be
//! counted from the partitions (loads, colliding names) is kept beside them by `replay`, so that no
//! decision scans 100,000 partitions. Nothing here decides.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use uuid::Uuid;

use crate::config::ConfigOverrides;
use crate::controller::delta::ConfigResource;
use crate::controller::records::{
    BrokerEndpoint, ConfigResourceType, DirectoryId, SupportedFeature,
};
use crate::controller::topic_image::{PartitionState, TopicImage};
use crate::types::{NodeId, PartitionId, ProducerId, TopicId, Zxid};

static NO_OVERRIDES: ConfigOverrides = ConfigOverrides::new();

/// See the file's head.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetadataImage {
    pub(super) cluster_id: Option<Arc<str>>,
    pub(super) applied: Zxid,
    pub(super) topics: OrdMap<TopicId, Arc<TopicImage>>,
    pub(super) topic_ids: OrdMap<Arc<str>, TopicId>,
    /// Names with '.' or '_', under the form in which metrics cannot tell them apart.
    pub(super) unified_names: OrdMap<Arc<str>, OrdSet<Arc<str>>>,
    pub(super) configs: OrdMap<ConfigResourceType, OrdMap<Arc<str>, Arc<ConfigOverrides>>>,
    pub(super) brokers: OrdMap<NodeId, Arc<BrokerRegistration>>,
    pub(super) features: OrdMap<Arc<str>, i16>,
    pub(super) next_producer_id: ProducerId,
    /// The last command of each node that became part of this image.
    pub(super) requests: OrdMap<NodeId, AppliedRequest>,
    pub(super) loads: OrdMap<NodeId, BrokerLoad>,
    pub(super) partition_count: usize,
}

/// A broker that the cluster knows, living or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerRegistration {
    pub id: NodeId,
    pub incarnation: Uuid,
    /// The broker epoch: the zxid at which this incarnation registered.
    pub epoch: Zxid,
    pub endpoints: Vec<BrokerEndpoint>,
    pub rack: Option<String>,
    pub fenced: bool,
    pub in_controlled_shutdown: bool,
    pub features: Vec<SupportedFeature>,
    /// Those that are online.
    pub directories: Vec<DirectoryId>,
    /// Those of all that get no new replicas (KIP-1066).
    pub cordoned_directories: Vec<DirectoryId>,
}

impl BrokerRegistration {
    /// It may be in an ISR and lead.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// Whether what lies there can be used; true of a replica that lies nobody knows where.
    pub fn has_online_dir(&self, directory: DirectoryId) -> bool {
        match directory {
            DirectoryId::LOST => false,
            other => other.is_reserved() || self.directories.contains(&other),
        }
    }

    /// Whether it may be given new replicas.
    pub fn has_uncordoned_dirs(&self) -> bool {
        let cordoned = &self.cordoned_directories;
        cordoned.is_empty() || self.directories.iter().any(|dir| !cordoned.contains(dir))
    }

    pub fn endpoint(&self, listener: &str) -> Option<&BrokerEndpoint> {
        self.endpoints
            .iter()
            .find(|endpoint| endpoint.name == listener)
    }
}

/// Up to where a node's commands have been applied. Of commands that change nothing there is no trace, and none is
/// needed: they can be decided again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppliedRequest {
    pub incarnation: Uuid,
    pub seq: u64,
}

/// How much of the cluster a broker has been given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BrokerLoad {
    /// Partitions whose first replica it is.
    pub preferred_leaders: u32,
    pub replicas: u32,
}

impl MetadataImage {
    /// The last proposal that is part of this image.
    pub fn applied(&self) -> Zxid {
        self.applied
    }

    /// Empty only before the cluster's first record.
    pub fn cluster_id(&self) -> &str {
        self.cluster_id.as_deref().unwrap_or_default()
    }

    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(self.topic_ids.get(name)?)
    }

    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<TopicImage>> {
        self.topics.get(&id)
    }

    pub fn topic_id(&self, name: &str) -> Option<TopicId> {
        self.topic_ids.get(name).copied()
    }

    pub fn partition(&self, topic: &str, partition: PartitionId) -> Option<&PartitionState> {
        self.topic(topic)?.partition(partition)
    }

    /// By name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<TopicImage>> {
        let ids = self.topic_ids.values();
        ids.filter_map(|id| self.topics.get(id))
    }

    /// By name, beginning with the first that is not smaller than `name`.
    pub fn topics_from(&self, name: &str) -> impl Iterator<Item = &Arc<TopicImage>> {
        let names = self
            .topic_ids
            .range::<_, str>((std::ops::Bound::Included(name), std::ops::Bound::Unbounded));
        names.filter_map(|(_, id)| self.topics.get(id))
    }

    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// A topic whose metrics could not be told from those of a topic of this name.
    pub fn colliding_topic(&self, name: &str) -> Option<&Arc<str>> {
        if !name.contains(['.', '_']) {
            return None;
        }
        let colliding = self.unified_names.get(unified(name).as_str())?;
        colliding.iter().find(|other| other.as_ref() != name)
    }

    /// The overrides of a resource; empty when it has none. All brokers' are under the empty name.
    pub fn configs(&self, kind: ConfigResourceType, name: &str) -> &ConfigOverrides {
        self.shared_configs(kind, name)
            .map_or(&NO_OVERRIDES, |configs| configs.as_ref())
    }

    /// The same, to be kept.
    pub fn shared_configs(
        &self,
        kind: ConfigResourceType,
        name: &str,
    ) -> Option<&Arc<ConfigOverrides>> {
        self.configs.get(&kind)?.get(name)
    }

    /// Every resource that has an override.
    pub fn configured_resources(&self) -> impl Iterator<Item = ConfigResource> {
        self.configs.iter().flat_map(|(kind, resources)| {
            resources
                .keys()
                .map(|name| ConfigResource::new(*kind, name.as_ref()))
        })
    }

    pub fn broker(&self, id: NodeId) -> Option<&Arc<BrokerRegistration>> {
        self.brokers.get(&id)
    }

    /// By id.
    pub fn brokers(&self) -> impl Iterator<Item = &Arc<BrokerRegistration>> {
        self.brokers.values()
    }

    /// Whether the directory of a broker's replica is online, for all that is known of it.
    pub fn is_in_online_dir(&self, state: &PartitionState, id: NodeId) -> bool {
        self.broker(id)
            .is_some_and(|broker| broker.has_online_dir(state.directory(id)))
    }

    pub fn is_active(&self, id: NodeId) -> bool {
        self.broker(id).is_some_and(|broker| broker.is_active())
    }

    pub fn load(&self, id: NodeId) -> BrokerLoad {
        self.loads.get(&id).copied().unwrap_or_default()
    }

    pub fn last_request(&self, node: NodeId) -> Option<AppliedRequest> {
        self.requests.get(&node).copied()
    }

    /// Whether this command of a node's process, or a later one, is part of the image already.
    pub fn is_applied(&self, node: NodeId, incarnation: Uuid, seq: u64) -> bool {
        self.requests
            .get(&node)
            .is_some_and(|last| last.incarnation == incarnation && last.seq >= seq)
    }

    /// Finalized features, by name.
    pub fn features(&self) -> impl Iterator<Item = (&str, i16)> {
        self.features
            .iter()
            .map(|(name, level)| (name.as_ref(), *level))
    }

    /// 0 when it is not finalized.
    pub fn feature(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// Where the next block of producer ids starts.
    pub fn next_producer_id(&self) -> ProducerId {
        self.next_producer_id
    }
}

/// Metric names turn '.' into '_'.
pub(super) fn unified(name: &str) -> String {
    name.replace('.', "_")
}
