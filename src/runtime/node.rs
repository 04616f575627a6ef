//! The handles that every API needs, and the few questions that take more than one of them.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::cold_reads::ColdReads;
use super::group_coordinator::{GroupCoordinators, offsets_topic};
use super::partition::Partition;
use super::partitions::Partitions;
use super::producer_id_manager::ProducerIdManager;
use super::zab_peer::{AddVoter, MetadataHandle, Quorum, RemoveVoter, SubmitError};
use crate::config::BrokerConfig;
use crate::controller::command::{ApiError, Command, CreatableTopic, Reply};
use crate::controller::image::MetadataImage;
use crate::controller::topics::CONSUMER_OFFSETS;
use crate::error::ErrorCode;
use crate::logging::LogLevels;
use crate::metrics::Metrics;
use crate::replication::fetch_session::SessionCache;
use crate::security::Authorizer;
use crate::types::{NodeId, PartitionId, ProducerId, TimestampMs, TopicId};
use crate::zab::Status;

/// A client that asks for what nobody knows waits so long at most for this node to be sure.
const SYNC_WITHIN: Duration = Duration::from_millis(500);

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
    pub cold_reads: ColdReads,
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
        let cold_reads = ColdReads::new(Arc::clone(&config), Arc::clone(&metrics));
        Self {
            id,
            partitions,
            groups,
            cold_reads,
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

    /// Metadata in which something is found, or else such as is no older than this call: what any node has told
    /// somebody is known here then. Without a leader that answers soon, what is here has to do.
    pub async fn metadata_with(
        &self,
        is_found: impl Fn(&MetadataImage) -> bool,
    ) -> Arc<MetadataImage> {
        if self.metadata.leader().is_none() {
            return self.metadata();
        }
        let current = self.current_metadata_with(is_found, SYNC_WITHIN).await;
        current.unwrap_or_else(|| self.metadata())
    }

    /// The same for who must not be told of an old state: `None` when no leader has answered in time.
    pub async fn current_metadata_with(
        &self,
        is_found: impl Fn(&MetadataImage) -> bool,
        within: Duration,
    ) -> Option<Arc<MetadataImage>> {
        let image = self.metadata();
        if is_found(&image) {
            return Some(image);
        }
        let synced = tokio::time::timeout(within, self.metadata.sync()).await;
        matches!(synced, Ok(Ok(()))).then(|| self.metadata())
    }

    /// Has the controller decide something; resolves once this node has applied the commit.
    pub async fn submit(&self, command: Command) -> Result<Reply, SubmitError> {
        if let Some(refused) = self.refuse_for_want_of_room(&command) {
            return Ok(refused);
        }
        self.metadata.submit(command).await
    }

    /// What makes new logs and records of metadata is refused where there is room for little more than those.
    fn refuse_for_want_of_room(&self, command: &Command) -> Option<Reply> {
        let count = match command {
            Command::CreateTopics(command) => command.topics.len(),
            Command::CreatePartitions(command) => command.topics.len(),
            _ => return None,
        };
        let error = self.partitions.log_dirs().refuse_creation()?;
        Some(match command {
            Command::CreateTopics(_) => Reply::CreateTopics(vec![Err(error); count]),
            _ => Reply::CreatePartitions(vec![Err(error); count]),
        })
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

    /// The broker on the ZAB leader's node; -1 while nobody leads.
    pub fn controller_id(&self) -> NodeId {
        self.metadata.leader().unwrap_or(NodeId::NONE)
    }

    /// This node's part in the ensemble, as it was a moment ago.
    pub fn ensemble_status(&self) -> Option<Arc<Status>> {
        self.metadata.last_status()
    }

    /// The ensemble, as its leader sees it.
    pub async fn describe_quorum(&self) -> Result<Quorum, ApiError> {
        Ok(self.metadata.describe_quorum().await?)
    }

    pub async fn add_voter(&self, voter: AddVoter) -> Result<(), ApiError> {
        self.metadata.add_voter(voter).await
    }

    pub async fn remove_voter(&self, voter: RemoveVoter) -> Result<(), ApiError> {
        self.metadata.remove_voter(voter).await
    }

    pub fn now(&self) -> TimestampMs {
        wall_clock()
    }

    /// A partition held here. One that another broker holds is `NOT_LEADER_OR_FOLLOWER`, one whose log directory is
    /// offline `KAFKA_STORAGE_ERROR`.
    pub fn partition_by_name(
        &self,
        topic: &str,
        index: PartitionId,
    ) -> Result<Arc<Partition>, ErrorCode> {
        self.partitions.by_name(topic, index).map_err(|code| {
            match self.metadata().partition(topic, index) {
                Some(_) if code != ErrorCode::KafkaStorageError => ErrorCode::NotLeaderOrFollower,
                _ => code,
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
                Some(Some(_)) if code != ErrorCode::KafkaStorageError => {
                    ErrorCode::NotLeaderOrFollower
                }
                Some(Some(_)) => code,
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
