//! The handles that every API needs, and the few questions that take more than one of them.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::group_coordinator::{GroupCoordinators, offsets_topic};
use super::partition::Partition;
use super::partitions::Partitions;
use super::producer_id_manager::ProducerIdManager;
use super::zab_peer::{MetadataHandle, SubmitError};
use crate::config::BrokerConfig;
use crate::controller::command::{Command, CreatableTopic, Reply};
use crate::controller::image::MetadataImage;
use crate::controller::topics::CONSUMER_OFFSETS;
use crate::error::ErrorCode;
use crate::logging::LogLevels;
use crate::metrics::Metrics;
use crate::replication::fetch_session::SessionCache;
use crate::security::Authorizer;
use crate::types::{NodeId, PartitionId, ProducerId, TimestampMs, TopicId};

/// What a node is made of.
pub struct NodeParts {
    pub id: NodeId,
    pub config: Arc<ArcSwap<BrokerConfig>>,
    pub metadata: MetadataHandle,
    pub partitions: Arc<Partitions>,
    pub groups: Arc<GroupCoordinators>,
    pub metrics: Arc<Metrics>,
    pub log_levels: Arc<LogLevels>,
}

#[derive(Debug)]
pub struct Node {
    pub id: NodeId,
    pub partitions: Arc<Partitions>,
    pub groups: Arc<GroupCoordinators>,
    pub metrics: Arc<Metrics>,
    pub log_levels: Arc<LogLevels>,
    pub authorizer: Authorizer,
    pub fetch_sessions: Mutex<SessionCache>,
    config: Arc<ArcSwap<BrokerConfig>>,
    metadata: MetadataHandle,
    producer_ids: ProducerIdManager,
}

impl Node {
    pub fn new(parts: NodeParts) -> Self {
        let NodeParts {
            id,
            config,
            metadata,
            partitions,
            groups,
            metrics,
            log_levels,
        } = parts;
        let slots = config.load().max_incremental_fetch_session_cache_slots;
        Self {
            id,
            partitions,
            groups,
            metrics,
            log_levels,
            authorizer: Authorizer::default(),
            fetch_sessions: Mutex::new(SessionCache::new(usize::try_from(slots).unwrap_or(0))),
            config,
            metadata,
            producer_ids: ProducerIdManager::default(),
        }
    }

    /// The options as they apply now, dynamic ones included.
    pub fn config(&self) -> Arc<BrokerConfig> {
        self.config.load_full()
    }

    /// Committed metadata, as of this node's last applied commit.
    pub fn metadata(&self) -> Arc<MetadataImage> {
        self.metadata.image()
    }

    /// Has the controller decide something; resolves once this node has applied the commit.
    pub async fn submit(&self, command: Command) -> Result<Reply, SubmitError> {
        self.metadata.submit(command).await
    }

    /// An id for an idempotent producer; nobody gets it again.
    pub async fn generate_producer_id(&self) -> Result<ProducerId, ErrorCode> {
        self.producer_ids
            .generate(self.id, &self.metadata)
            .await
            .map_err(|error| error.error)
    }

    /// A topic as auto-creation makes it; an internal one with what it needs.
    pub fn creatable_topic(&self, name: &str) -> CreatableTopic {
        if name == CONSUMER_OFFSETS {
            let live = self.metadata().brokers().filter(|b| b.is_active()).count();
            return offsets_topic(&self.config(), live);
        }
        CreatableTopic::with_defaults(name)
    }

    /// The broker on the ZAB leader's node.
    pub fn controller_id(&self) -> NodeId {
        self.metadata.leader()
    }

    pub fn now(&self) -> TimestampMs {
        wall_clock()
    }

    /// A partition held here. One that another broker holds is `NOT_LEADER_OR_FOLLOWER`.
    pub fn partition_by_name(
        &self,
        topic: &str,
        index: PartitionId,
    ) -> Result<Arc<Partition>, ErrorCode> {
        self.partitions.by_name(topic, index).map_err(|code| {
            match self.metadata().partition(topic, index) {
                Some(_) => ErrorCode::NotLeaderOrFollower,
                None => code,
            }
        })
    }

    pub fn partition_by_id(
        &self,
        topic: TopicId,
        index: PartitionId,
    ) -> Result<Arc<Partition>, ErrorCode> {
        self.partitions.by_id(topic, index).map_err(|code| {
            let image = self.metadata();
            match image.topic_by_id(topic).map(|t| t.partition(index)) {
                Some(Some(_)) => ErrorCode::NotLeaderOrFollower,
                Some(None) => ErrorCode::UnknownTopicOrPartition,
                None => code,
            }
        })
    }
}

/// The time that records and requests are stamped with.
pub fn wall_clock() -> TimestampMs {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
