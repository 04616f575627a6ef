//! The group coordinators of this node: a shard for each partition of `__consumer_offsets` it leads.
//!
//! Who coordinates a group is who leads its partition, under that leader epoch: `apply` starts and stops
//! shards as committed metadata says. A new leader first rebuilds its state from the partition, off the
//! network threads, and answers COORDINATOR_LOAD_IN_PROGRESS meanwhile.
//!
//! Invariants: at most one shard a partition; a shard never outlives its leader epoch; what a load of an
//! earlier epoch brings is thrown away.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::RwLock;

use super::group_coordinator_loader::{GroupLoader, LoadError};
use super::group_coordinator_shard::{CoordinatorLog, LogAppend, RunningShard, ShardOptions};
use super::partition::Partition;
use super::partitions::Partitions;
use crate::config::BrokerConfig;
use crate::controller::command::{ConfigEntry, CreatableTopic};
use crate::controller::delta::{MetadataDelta, TopicDelta};
use crate::controller::image::MetadataImage;
use crate::controller::topic_image::TopicImage;
use crate::controller::topics::{CONSUMER_OFFSETS, MAX_REPLICATION_FACTOR};
use crate::error::ErrorCode;
use crate::group::command::{
    Command, DescribeGroups, DescribedGroup, ListGroups, ListedGroup, Reply, Request,
};
use crate::group::{GroupConfig, GroupCoordinatorState, partition_for};
use crate::log::AppendOrigin;
use crate::log::storage::read_exact_at;
use crate::protocol::compression::Compression;
use crate::types::{LeaderEpoch, NodeId, Offset, PartitionId, TimestampMs, TopicId};

/// A partition of `__consumer_offsets` as one reign over it sees it.
#[derive(Debug)]
pub struct LedPartition {
    partition: Arc<Partition>,
    epoch: LeaderEpoch,
}

impl CoordinatorLog for LedPartition {
    fn append(&self, batch: &[u8], now: TimestampMs) -> Result<LogAppend, ErrorCode> {
        if self.partition.leader_epoch()? != self.epoch {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        let appended = self
            .partition
            .append(batch, AppendOrigin::Coordinator, true, now)
            .map_err(|error| error.code())?;
        Ok(LogAppend {
            base_offset: appended.info.first_offset,
            commit: appended.commit,
        })
    }

    fn max_batch_bytes(&self) -> usize {
        usize::try_from(self.partition.config().max_message_bytes).unwrap_or(0)
    }
}

type Shard = RunningShard<LedPartition>;

#[derive(Debug)]
enum State {
    /// With the topics deleted since the load began.
    Loading(Vec<(Arc<str>, TopicId)>),
    Active(Arc<Shard>),
    /// Its records cannot be read: another broker may do better.
    Failed,
}

#[derive(Debug)]
struct Slot {
    epoch: LeaderEpoch,
    state: State,
}

#[derive(Debug)]
pub struct GroupCoordinators {
    me: NodeId,
    config: Arc<ArcSwap<BrokerConfig>>,
    partitions: Arc<Partitions>,
    /// Commits are applied on a thread outside of the runtime.
    runtime: tokio::runtime::Handle,
    slots: RwLock<HashMap<PartitionId, Slot>>,
    /// How many partitions groups are spread over: 0 until the topic is there.
    partition_count: RwLock<i32>,
}

impl GroupCoordinators {
    /// To be called within the runtime that the shards are to run on.
    pub fn new(
        me: NodeId,
        config: Arc<ArcSwap<BrokerConfig>>,
        partitions: Arc<Partitions>,
    ) -> Arc<Self> {
        Arc::new(Self {
            me,
            config,
            partitions,
            runtime: tokio::runtime::Handle::current(),
            slots: RwLock::default(),
            partition_count: RwLock::new(0),
        })
    }

    /// Acts on a commit, after the partitions have. `image` is the state after it.
    pub fn apply(self: &Arc<Self>, image: &MetadataImage, delta: &MetadataDelta) {
        let mut deleted = Vec::new();
        for (id, change) in &delta.topics {
            match change {
                TopicDelta::Deleted(before) if &*before.name == CONSUMER_OFFSETS => {
                    *self.partition_count.write() = 0;
                    self.stop_all();
                }
                TopicDelta::Deleted(before) => deleted.push((Arc::clone(&before.name), before.id)),
                TopicDelta::Created | TopicDelta::Changed(_) => {
                    if let Some(topic) = image.topic_by_id(*id)
                        && &*topic.name == CONSUMER_OFFSETS
                    {
                        self.lead(topic);
                    }
                }
            }
        }
        if !deleted.is_empty() {
            self.delete_topics(deleted);
        }
    }

    /// Stops every shard; whoever waits is sent elsewhere.
    pub fn stop_all(&self) {
        let slots: Vec<Slot> = self.slots.write().drain().map(|(_, slot)| slot).collect();
        for slot in slots {
            slot.stop();
        }
    }

    /// Starts and stops shards so that they are those this node leads.
    fn lead(self: &Arc<Self>, topic: &TopicImage) {
        *self.partition_count.write() = i32::try_from(topic.partition_count()).unwrap_or(i32::MAX);
        for (index, state) in topic.partitions() {
            let leads = state.leader == self.me;
            let epoch = state.leader_epoch;
            let before = {
                let mut slots = self.slots.write();
                match slots.get(&index) {
                    Some(slot) if leads && slot.epoch == epoch => continue,
                    None if !leads => continue,
                    _ => {}
                }
                let before = slots.remove(&index);
                if leads {
                    let loading = Slot {
                        epoch,
                        state: State::Loading(Vec::new()),
                    };
                    slots.insert(index, loading);
                }
                before
            };
            if let Some(before) = before {
                before.stop();
            }
            if leads {
                let this = Arc::clone(self);
                self.runtime.spawn_blocking(move || this.load(index, epoch));
            }
        }
    }

    /// Rebuilds a partition's state, and makes it live unless the reign is over by then.
    fn load(self: Arc<Self>, index: PartitionId, epoch: LeaderEpoch) {
        let loaded = self
            .partitions
            .by_name(CONSUMER_OFFSETS, index)
            .map_err(|code| LoadError::Read(code.to_string()))
            .and_then(|partition| Ok((read_state(&partition)?, partition)));
        let mut slots = self.slots.write();
        let Some(slot) = slots.get_mut(&index).filter(|slot| slot.epoch == epoch) else {
            return;
        };
        let State::Loading(deleted) = &mut slot.state else {
            return;
        };
        match loaded {
            Ok((state, partition)) => {
                let deleted = std::mem::take(deleted);
                let log = LedPartition { partition, epoch };
                let shard = RunningShard::start(log, self.options(), state);
                if !deleted.is_empty() {
                    shard.command(Command::DeleteTopics(deleted));
                }
                slot.state = State::Active(shard);
            }
            Err(error) => {
                tracing::error!(
                    partition = index.0,
                    %error,
                    "groups cannot be loaded: their coordinator stays away"
                );
                slot.state = State::Failed;
            }
        }
    }

    fn options(&self) -> ShardOptions {
        let config = self.config.load();
        let at_least_0 = |value: i32| usize::try_from(value).unwrap_or(0);
        let timeout_ms = u64::try_from(config.offsets_commit_timeout_ms).unwrap_or(0);
        ShardOptions {
            group: Arc::new(GroupConfig {
                initial_rebalance_delay_ms: config.group_initial_rebalance_delay_ms,
                max_size: at_least_0(config.group_max_size),
                offset_metadata_max_bytes: at_least_0(config.offset_metadata_max_bytes),
                offsets_retention_ms: i64::from(config.offsets_retention_minutes) * 60_000,
                offsets_retention_check_interval_ms: config.offsets_retention_check_interval_ms,
            }),
            commit_timeout: Duration::from_millis(timeout_ms),
            // The row takes nothing but the ids of codecs.
            compression: u8::try_from(config.offsets_topic_compression_codec)
                .ok()
                .and_then(Compression::from_id)
                .unwrap_or_default(),
        }
    }

    fn delete_topics(&self, topics: Vec<(Arc<str>, TopicId)>) {
        let mut slots = self.slots.write();
        for slot in slots.values_mut() {
            match &mut slot.state {
                State::Loading(deleted) => deleted.extend(topics.iter().cloned()),
                State::Active(shard) => shard.command(Command::DeleteTopics(topics.clone())),
                State::Failed => {}
            }
        }
    }

    /// The partition of `__consumer_offsets` that a group belongs to.
    pub fn partition_of(&self, group_id: &str) -> PartitionId {
        let count = match *self.partition_count.read() {
            0 => self.config.load().offsets_topic_num_partitions,
            count => count,
        };
        PartitionId(partition_for(group_id, count))
    }

    fn shard(&self, index: PartitionId) -> Result<Arc<Shard>, ErrorCode> {
        match self.slots.read().get(&index).map(|slot| &slot.state) {
            Some(State::Active(shard)) => Ok(Arc::clone(shard)),
            Some(State::Loading(_)) => Err(ErrorCode::CoordinatorLoadInProgress),
            Some(State::Failed) | None => Err(ErrorCode::NotCoordinator),
        }
    }

    /// Every shard that is loaded, with its partition, in order; or that one is still loading.
    fn shards(&self) -> Result<BTreeMap<PartitionId, Arc<Shard>>, ErrorCode> {
        let slots = self.slots.read();
        let mut shards = BTreeMap::new();
        for (index, slot) in slots.iter() {
            match &slot.state {
                State::Active(shard) => {
                    shards.insert(*index, Arc::clone(shard));
                }
                State::Loading(_) => return Err(ErrorCode::CoordinatorLoadInProgress),
                State::Failed => {}
            }
        }
        Ok(shards)
    }

    /// Asks the coordinator of `group_id`, which the request is about.
    pub async fn request(&self, group_id: &str, request: Request) -> Reply {
        match self.shard(self.partition_of(group_id)) {
            Ok(shard) => shard.request(request).await,
            Err(error) => request.refuse(error),
        }
    }

    /// Groups by the shard that has them.
    fn by_partition(&self, groups: Vec<Arc<str>>) -> BTreeMap<PartitionId, Vec<Arc<str>>> {
        let mut by_partition: BTreeMap<PartitionId, Vec<Arc<str>>> = BTreeMap::new();
        for group in groups {
            let partition = self.partition_of(&group);
            by_partition.entry(partition).or_default().push(group);
        }
        by_partition
    }

    pub async fn describe(
        &self,
        groups: Vec<Arc<str>>,
        supports_group_id_not_found: bool,
    ) -> Vec<DescribedGroup> {
        let mut described = Vec::with_capacity(groups.len());
        for group_ids in self.by_partition(groups).into_values() {
            let Some(first) = group_ids.first().cloned() else {
                continue;
            };
            let request = Request::DescribeGroups(DescribeGroups {
                group_ids,
                supports_group_id_not_found,
            });
            if let Reply::DescribeGroups(groups) = self.request(&first, request).await {
                described.extend(groups);
            }
        }
        described
    }

    pub async fn delete(&self, groups: Vec<Arc<str>>) -> Vec<(Arc<str>, ErrorCode)> {
        let mut deleted = Vec::with_capacity(groups.len());
        for group_ids in self.by_partition(groups).into_values() {
            let Some(first) = group_ids.first().cloned() else {
                continue;
            };
            let request = Request::DeleteGroups(group_ids);
            if let Reply::DeleteGroups(results) = self.request(&first, request).await {
                deleted.extend(results);
            }
        }
        deleted
    }

    /// The groups of every shard here.
    pub async fn list(&self, filter: ListGroups) -> Result<Vec<ListedGroup>, ErrorCode> {
        let mut listed = Vec::new();
        for shard in self.shards()?.into_values() {
            let reply = shard.request(Request::ListGroups(filter.clone())).await;
            if let Reply::ListGroups {
                error: ErrorCode::None,
                groups,
            } = reply
            {
                listed.extend(groups);
            }
        }
        Ok(listed)
    }

    /// Every committed offset of the groups coordinated here, for lag: group, topic, partition, offset.
    pub fn for_each_offset(&self, mut each: impl FnMut(&Arc<str>, &Arc<str>, PartitionId, Offset)) {
        for shard in self.active() {
            shard.for_each_offset(&mut each);
        }
    }

    /// Every group coordinated here, with Kafka's name of its state.
    pub fn for_each_group(&self, mut each: impl FnMut(&Arc<str>, &'static str)) {
        for shard in self.active() {
            shard.for_each_group(&mut each);
        }
    }

    fn active(&self) -> Vec<Arc<Shard>> {
        let slots = self.slots.read();
        let shards = slots.values().filter_map(|slot| match &slot.state {
            State::Active(shard) => Some(Arc::clone(shard)),
            State::Loading(_) | State::Failed => None,
        });
        shards.collect()
    }
}

impl Slot {
    fn stop(self) {
        if let State::Active(shard) = self.state {
            shard.unload();
        }
    }
}

/// Reads the whole partition, from its first offset to its end.
fn read_state(partition: &Partition) -> Result<GroupCoordinatorState, LoadError> {
    const CHUNK_BYTES: usize = 5 << 20;
    let started = std::time::Instant::now();
    let mut loader = GroupLoader::default();
    let (mut next, end) = partition.with_log(|log| (log.log_start_offset(), log.log_end_offset()));
    let mut bytes = Vec::new();
    while next < end {
        let slice = partition
            .with_log(|log| log.read(next, CHUNK_BYTES, end, true))
            .map_err(|error| LoadError::Read(error.to_string()))?;
        let Some(slice) = slice else {
            break;
        };
        bytes.resize(slice.len as usize, 0);
        read_exact_at(&*slice.file, &mut bytes, slice.position)?;
        match loader.load(&bytes, next)? {
            Some(after) => next = after,
            None => break,
        }
    }
    for (version, count) in &loader.skipped {
        tracing::info!(partition = %partition, version, count, "records of another kind were left alone");
    }
    tracing::debug!(
        partition = %partition,
        records = loader.records,
        bytes = loader.bytes,
        elapsed_ms = started.elapsed().as_millis() as u64,
        "groups and offsets are loaded"
    );
    Ok(loader.state)
}

/// `__consumer_offsets` as it is made when the first group is looked for. Kafka refuses to make it with
/// fewer brokers than `offsets.topic.replication.factor`; here it takes as many as there are, so that
/// one node works as it is.
pub fn offsets_topic(config: &BrokerConfig, live_brokers: usize) -> CreatableTopic {
    let live_brokers = i16::try_from(live_brokers.max(1)).unwrap_or(i16::MAX);
    let entry = |name: &str, value: String| ConfigEntry {
        name: name.into(),
        value: Some(value.into()),
    };
    CreatableTopic {
        name: CONSUMER_OFFSETS.to_owned(),
        num_partitions: config.offsets_topic_num_partitions,
        replication_factor: config
            .offsets_topic_replication_factor
            .min(live_brokers)
            .min(MAX_REPLICATION_FACTOR),
        assignments: Vec::new(),
        configs: vec![
            entry("cleanup.policy", "compact".to_owned()),
            entry("compression.type", "producer".to_owned()),
            entry(
                "segment.bytes",
                config.offsets_topic_segment_bytes.to_string(),
            ),
        ],
    }
}

#[cfg(test)]
#[path = "group_coordinator_tests.rs"]
mod tests;
