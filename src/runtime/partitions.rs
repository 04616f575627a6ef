//! The partitions that this node holds, by name and by id, kept in step with committed metadata.
//!
//! Written by the one thread that applies commits, before the commit is answered; read by every
//! request under a short read lock.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::flusher::Flusher;
use super::partition::{Partition, TopicCounters};
use crate::config::{BrokerConfig, TopicConfig, topic};
use crate::controller::delta::{MetadataDelta, TopicDelta};
use crate::controller::image::MetadataImage;
use crate::controller::records::ConfigResourceType;
use crate::controller::topic_image::TopicImage;
use crate::error::ErrorCode;
use crate::log::{FoundLog, LogConfig, LogManager, PartitionLog};
use crate::types::{NodeId, Offset, PartitionId, TimestampMs, TopicId, TopicPartition};

/// One topic's partitions here; a hole where another node holds one.
#[derive(Debug)]
struct HeldTopic {
    name: Arc<str>,
    counters: Arc<TopicCounters>,
    partitions: Vec<Option<Arc<Partition>>>,
}

#[derive(Debug, Default)]
struct Table {
    by_id: HashMap<TopicId, HeldTopic>,
    ids: HashMap<Arc<str>, TopicId>,
}

#[derive(Debug)]
pub struct Partitions {
    me: NodeId,
    table: RwLock<Table>,
    logs: Arc<LogManager>,
    found: Mutex<HashMap<TopicPartition, FoundLog>>,
    /// One for each log directory.
    flushers: Vec<(PathBuf, Arc<Flusher>)>,
}

impl Partitions {
    pub fn new(me: NodeId, logs: Arc<LogManager>, found: Vec<FoundLog>) -> Self {
        let flushers = logs
            .directories()
            .into_iter()
            .map(|dir| (dir, Arc::new(Flusher::default())))
            .collect();
        let found = found
            .into_iter()
            .map(|found| (found.log.topic_partition().clone(), found))
            .collect();
        Self {
            me,
            table: RwLock::default(),
            logs,
            found: Mutex::new(found),
            flushers,
        }
    }

    pub fn flushers(&self) -> impl Iterator<Item = &Arc<Flusher>> {
        self.flushers.iter().map(|(_, flusher)| flusher)
    }

    pub fn logs(&self) -> &Arc<LogManager> {
        &self.logs
    }

    /// Where the next log goes: the directory that holds the fewest.
    fn emptiest_directory(&self) -> usize {
        let mut counts = vec![0usize; self.flushers.len()];
        if counts.len() < 2 {
            return 0;
        }
        for partition in self.all() {
            let dir = partition.with_log(|log| log.parent_directory().to_owned());
            let at = self.flushers.iter().position(|(path, _)| *path == dir);
            if let Some(count) = at.and_then(|at| counts.get_mut(at)) {
                *count += 1;
            }
        }
        (0..counts.len())
            .min_by_key(|at| counts.get(*at))
            .unwrap_or(0)
    }

    pub fn by_name(&self, topic: &str, index: PartitionId) -> Result<Arc<Partition>, ErrorCode> {
        let table = self.table.read();
        let id = table
            .ids
            .get(topic)
            .ok_or(ErrorCode::UnknownTopicOrPartition)?;
        table.held(*id, index, ErrorCode::UnknownTopicOrPartition)
    }

    pub fn by_id(&self, topic: TopicId, index: PartitionId) -> Result<Arc<Partition>, ErrorCode> {
        self.table
            .read()
            .held(topic, index, ErrorCode::UnknownTopicId)
    }

    /// Every partition here, topics in no order.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        let table = self.table.read();
        table
            .by_id
            .values()
            .flat_map(|topic| topic.partitions.iter().flatten().cloned())
            .collect()
    }

    /// What went through each topic.
    pub fn counters(&self) -> Vec<(Arc<str>, Arc<TopicCounters>)> {
        let table = self.table.read();
        table
            .by_id
            .values()
            .map(|topic| (Arc::clone(&topic.name), Arc::clone(&topic.counters)))
            .collect()
    }

    /// Acts on a commit. `image` is the state after it.
    pub fn apply(
        &self,
        image: &MetadataImage,
        delta: &MetadataDelta,
        config: &BrokerConfig,
        now: TimestampMs,
    ) {
        for (id, change) in &delta.topics {
            match change {
                TopicDelta::Deleted(before) => self.remove_topic(before, now),
                TopicDelta::Created => {
                    if let Some(topic) = image.topic_by_id(*id) {
                        let all: Vec<_> = topic.partitions().map(|(index, _)| index).collect();
                        self.update_topic(image, topic, &all, config, now);
                    }
                }
                TopicDelta::Changed(partitions) => {
                    if let Some(topic) = image.topic_by_id(*id) {
                        let changed: Vec<_> = partitions.iter().copied().collect();
                        self.update_topic(image, topic, &changed, config, now);
                    }
                }
            }
        }
        let defaults_changed = delta
            .configs
            .iter()
            .any(|resource| resource.kind == ConfigResourceType::Broker);
        if defaults_changed {
            for topic in image.topics() {
                self.reconfigure(image, topic, config);
            }
            return;
        }
        for resource in &delta.configs {
            if resource.kind == ConfigResourceType::Topic
                && let Some(topic) = image.topic(&resource.name)
            {
                self.reconfigure(image, topic, config);
            }
        }
    }

    /// After a start: what metadata does not know (a topic deleted while this node was away).
    pub fn remove_strays(&self, now: TimestampMs) {
        let strays: Vec<FoundLog> = self.found.lock().drain().map(|(_, found)| found).collect();
        for stray in strays {
            tracing::warn!(
                partition = %stray.log.topic_partition(),
                "a log directory belongs to no topic and is removed"
            );
            self.delete_log(stray.log, now);
        }
    }

    fn update_topic(
        &self,
        image: &MetadataImage,
        topic: &TopicImage,
        changed: &[PartitionId],
        config: &BrokerConfig,
        now: TimestampMs,
    ) {
        let topic_config = Arc::new(topic_config(image, &topic.name, config));
        for index in changed {
            let Some(state) = topic.partition(*index) else {
                continue;
            };
            if !state.replicas.contains(&self.me) {
                continue;
            }
            let partition = match self.held(topic.id, *index) {
                Some(partition) => partition,
                None => match self.open(topic, *index, &topic_config, now) {
                    Ok(partition) => partition,
                    Err(error) => {
                        tracing::error!(
                            partition = %TopicPartition { topic: Arc::clone(&topic.name), partition: *index },
                            %error,
                            "the partition's log cannot be made: it stays offline"
                        );
                        continue;
                    }
                },
            };
            partition.become_led(state.leader, state.leader_epoch, self.me);
        }
    }

    fn held(&self, topic: TopicId, index: PartitionId) -> Option<Arc<Partition>> {
        let table = self.table.read();
        let at = usize::try_from(index.0).ok()?;
        table.by_id.get(&topic)?.partitions.get(at)?.clone()
    }

    /// Finds or makes the log, and puts the partition in the table.
    fn open(
        &self,
        topic: &TopicImage,
        index: PartitionId,
        config: &Arc<TopicConfig>,
        now: TimestampMs,
    ) -> std::io::Result<Arc<Partition>> {
        let name = TopicPartition {
            topic: Arc::clone(&topic.name),
            partition: index,
        };
        let found = self.found.lock().remove(&name);
        let log_config = LogConfig::from(&**config);
        let (log, high_watermark) = match found {
            Some(mut found) if found.log.topic_id() == topic.id => {
                found.log.set_config(log_config);
                (found.log, found.high_watermark)
            }
            other => {
                // A topic of that name was deleted and made again while this node was away.
                if let Some(stale) = other {
                    self.delete_log(stale.log, now);
                }
                let log =
                    self.logs
                        .create(&name, topic.id, log_config, self.emptiest_directory())?;
                (log, Offset::ZERO)
            }
        };
        let flusher = self.flusher_of(&log);
        let mut table = self.table.write();
        table.ids.insert(Arc::clone(&topic.name), topic.id);
        let held = table.by_id.entry(topic.id).or_insert_with(|| HeldTopic {
            name: Arc::clone(&topic.name),
            counters: Arc::default(),
            partitions: Vec::new(),
        });
        let partition = Arc::new(Partition::new(
            log,
            Arc::clone(config),
            Arc::clone(&held.counters),
            flusher,
            high_watermark,
        ));
        let at = usize::try_from(index.0).unwrap_or(0);
        if held.partitions.len() <= at {
            held.partitions.resize(at + 1, None);
        }
        if let Some(place) = held.partitions.get_mut(at) {
            *place = Some(Arc::clone(&partition));
        }
        Ok(partition)
    }

    fn flusher_of(&self, log: &PartitionLog) -> Arc<Flusher> {
        self.flushers
            .iter()
            .find(|(dir, _)| log.directory().starts_with(dir))
            .map(|(_, flusher)| Arc::clone(flusher))
            .unwrap_or_default()
    }

    fn remove_topic(&self, topic: &TopicImage, now: TimestampMs) {
        let held = {
            let mut table = self.table.write();
            if table.ids.get(&topic.name) == Some(&topic.id) {
                table.ids.remove(&topic.name);
            }
            table.by_id.remove(&topic.id)
        };
        for partition in held
            .into_iter()
            .flat_map(|topic| topic.partitions)
            .flatten()
        {
            partition.close(ErrorCode::UnknownTopicOrPartition);
            let deleted = partition.with_log(|log| self.logs.delete(log, now));
            if let Err(error) = deleted {
                tracing::error!(%partition, %error, "a deleted partition's files could not be renamed");
            }
        }
    }

    fn delete_log(&self, mut log: PartitionLog, now: TimestampMs) {
        if let Err(error) = self.logs.delete(&mut log, now) {
            tracing::error!(partition = %log.topic_partition(), %error, "a log could not be removed");
        }
    }

    fn reconfigure(&self, image: &MetadataImage, topic: &TopicImage, config: &BrokerConfig) {
        let partitions: Vec<Arc<Partition>> = {
            let table = self.table.read();
            match table.by_id.get(&topic.id) {
                Some(held) => held.partitions.iter().flatten().cloned().collect(),
                None => return,
            }
        };
        let topic_config = Arc::new(topic_config(image, &topic.name, config));
        for partition in partitions {
            partition.configure(Arc::clone(&topic_config));
        }
    }
}

impl Table {
    fn held(
        &self,
        topic: TopicId,
        index: PartitionId,
        unknown: ErrorCode,
    ) -> Result<Arc<Partition>, ErrorCode> {
        let held = self.by_id.get(&topic).ok_or(unknown)?;
        let at = usize::try_from(index.0).map_err(|_| ErrorCode::UnknownTopicOrPartition)?;
        held.partitions
            .get(at)
            .cloned()
            .flatten()
            .ok_or(ErrorCode::UnknownTopicOrPartition)
    }
}

/// A topic's options as they apply now.
pub fn topic_config(image: &MetadataImage, name: &str, config: &BrokerConfig) -> TopicConfig {
    topic::resolve(config, image.configs(ConfigResourceType::Topic, name))
}
