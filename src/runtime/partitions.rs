//! The partitions that this node holds, by name and by id, kept in step with committed metadata.
//!
//! Written by the one thread that applies commits, before the commit is answered; read by every
//! request under a short read lock. A partition whose log may lie in a directory that is offline is offline: an
//! empty log is never made in another one instead.

mod placement;

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};

use super::checkpoints::Checkpoints;
use super::directory_assignments::DirectoryAssignments;
use super::log_dirs::LogDirs;
use super::log_maker::LogMaker;
use super::partition::{Partition, TopicCounters};
use super::replica_mover::ReplicaMover;
use crate::config::{BrokerConfig, TopicConfig, topic};
use crate::controller::delta::{MetadataDelta, TopicDelta};
use crate::controller::image::MetadataImage;
use crate::controller::records::ConfigResourceType;
use crate::controller::topic_image::{PartitionState, TopicImage};
use crate::error::ErrorCode;
use crate::log::{CheckpointKind, FoundLog, LogConfig, LogDir, LogManager, PartitionLog};
use crate::types::{NodeId, Offset, PartitionId, TimestampMs, TopicId, TopicPartition};

/// What this node has of a partition.
#[derive(Debug, Clone, Default)]
enum Slot {
    /// Another node holds it.
    #[default]
    None,
    Held(Arc<Partition>),
    /// It is this node's, and its log cannot be reached or made.
    Offline,
}

/// One topic's partitions here.
#[derive(Debug)]
struct HeldTopic {
    name: Arc<str>,
    counters: Arc<TopicCounters>,
    partitions: Vec<Slot>,
}

impl HeldTopic {
    fn held(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.partitions.iter().filter_map(|slot| match slot {
            Slot::Held(partition) => Some(partition),
            Slot::None | Slot::Offline => None,
        })
    }
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
    /// Mostly one; a crash in the swap of a move leaves two.
    found: Mutex<HashMap<TopicPartition, Vec<FoundLog>>>,
    dirs: LogDirs,
    assignments: DirectoryAssignments,
    maker: LogMaker,
    checkpoints: Checkpoints,
    mover: ReplicaMover,
    /// Two requests must not begin a move of the same log.
    altering: Mutex<()>,
    /// Copies that a former life has left unfinished.
    futures: Mutex<HashMap<TopicPartition, FoundLog>>,
    /// What comes from here on is new: metadata that was there at the start has been applied.
    started: AtomicBool,
}

impl Partitions {
    /// `journal_bytes` is the size of a journal file; 0: without journals.
    pub fn new(
        me: NodeId,
        logs: Arc<LogManager>,
        found: Vec<FoundLog>,
        journal_bytes: u64,
    ) -> Self {
        let mut currents: HashMap<TopicPartition, Vec<FoundLog>> = HashMap::new();
        let mut futures = HashMap::new();
        for log in found {
            let name = log.log.topic_partition().clone();
            if log.is_future {
                futures.insert(name, log);
            } else {
                currents.entry(name).or_default().push(log);
            }
        }
        Self {
            me,
            table: RwLock::default(),
            dirs: LogDirs::new(&logs, journal_bytes),
            logs,
            found: Mutex::new(currents),
            assignments: DirectoryAssignments::default(),
            maker: LogMaker::default(),
            checkpoints: Checkpoints::default(),
            mover: ReplicaMover::default(),
            altering: Mutex::default(),
            futures: Mutex::new(futures),
            started: AtomicBool::new(false),
        }
    }

    pub fn checkpoints(&self) -> &Checkpoints {
        &self.checkpoints
    }

    pub fn mover(&self) -> &ReplicaMover {
        &self.mover
    }

    pub fn maker(&self) -> &LogMaker {
        &self.maker
    }

    pub fn logs(&self) -> &Arc<LogManager> {
        &self.logs
    }

    pub fn log_dirs(&self) -> &LogDirs {
        &self.dirs
    }

    /// What the controller is to know of where logs lie.
    pub fn assignments(&self) -> &DirectoryAssignments {
        &self.assignments
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
            .flat_map(|topic| topic.held().cloned())
            .collect()
    }

    /// How many partitions of this node cannot be used.
    pub fn offline_count(&self) -> usize {
        let table = self.table.read();
        let slots = table.by_id.values().flat_map(|topic| &topic.partitions);
        slots
            .filter(|slot| match slot {
                Slot::None => false,
                Slot::Held(partition) => !partition.is_online(),
                Slot::Offline => true,
            })
            .count()
    }

    /// Takes every partition offline whose log lies there, and says how many those are.
    pub(super) fn close_dir(&self, dir: &Arc<LogDir>) -> usize {
        let mut in_it = self.all();
        in_it.retain(|partition| Arc::ptr_eq(&partition.dir(), dir));
        for partition in self.all() {
            if partition
                .future_dir()
                .is_some_and(|to| Arc::ptr_eq(&to, dir))
            {
                tracing::warn!(%partition, "a log stays where it is: the directory it was moved to has failed");
                partition.cancel_move();
                self.note_where_it_is(&partition);
            }
        }
        for partition in &in_it {
            partition.close(ErrorCode::KafkaStorageError);
        }
        in_it.len()
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
        let configs = TopicConfigs::new(image, config);
        for (id, change) in &delta.topics {
            match change {
                TopicDelta::Deleted(before) => self.remove_topic(before, now),
                TopicDelta::Created => {
                    if let Some(topic) = image.topic_by_id(*id) {
                        let all = topic.partitions().map(|(index, _)| index);
                        self.update_topic(topic, all, &configs, now);
                    }
                }
                TopicDelta::Changed(partitions) => {
                    if let Some(topic) = image.topic_by_id(*id) {
                        self.update_topic(topic, partitions.iter().copied(), &configs, now);
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
                self.reconfigure(topic, &configs);
            }
            return;
        }
        for resource in &delta.configs {
            if resource.kind == ConfigResourceType::Topic
                && let Some(topic) = image.topic(&resource.name)
            {
                self.reconfigure(topic, &configs);
            }
        }
    }

    /// After a start: what metadata does not know (a topic deleted while this node was away) goes.
    pub fn remove_strays(&self, now: TimestampMs) {
        self.started.store(true, Ordering::Release);
        let strays = std::mem::take(&mut *self.found.lock())
            .into_values()
            .flatten();
        let futures = std::mem::take(&mut *self.futures.lock()).into_values();
        for stray in strays.chain(futures) {
            tracing::warn!(
                dir = %stray.log.directory().display(),
                "a log directory belongs to no topic and is removed"
            );
            self.delete_log(stray.log, now);
        }
    }

    fn update_topic(
        &self,
        topic: &TopicImage,
        changed: impl Iterator<Item = PartitionId>,
        configs: &TopicConfigs<'_>,
        now: TimestampMs,
    ) {
        for index in changed {
            let Some(state) = topic.partition(index) else {
                continue;
            };
            if !state.replicas.contains(&self.me) {
                continue;
            }
            let (partition, is_new) = match self.slot(topic.id, index) {
                Slot::Held(partition) => {
                    partition.become_led(state.leader, state.leader_epoch, self.me);
                    continue;
                }
                Slot::None => (self.find_or_make(topic, index, state, configs, now), true),
                Slot::Offline => (self.find_or_make(topic, index, state, configs, now), false),
            };
            match partition {
                Ok(partition) => {
                    self.note_directory(topic.id, index, state, &partition);
                    partition.become_led(state.leader, state.leader_epoch, self.me);
                    if !partition.with_log(|log| log.is_made()) {
                        self.maker.add(&partition);
                    }
                    self.put(topic, index, Slot::Held(partition));
                }
                Err(error) => {
                    if is_new {
                        let partition = TopicPartition {
                            topic: Arc::clone(&topic.name),
                            partition: index,
                        };
                        tracing::error!(%partition, %error, "the partition is offline");
                        self.note_lost(topic.id, index, state);
                    }
                    self.put(topic, index, Slot::Offline);
                }
            }
        }
    }

    fn slot(&self, topic: TopicId, index: PartitionId) -> Slot {
        let table = self.table.read();
        let at = usize::try_from(index.0).unwrap_or(usize::MAX);
        let held = table.by_id.get(&topic);
        let slot = held.and_then(|held| held.partitions.get(at));
        slot.cloned().unwrap_or_default()
    }

    fn put(&self, topic: &TopicImage, index: PartitionId, slot: Slot) {
        let mut table = self.table.write();
        let held = table.topic(topic);
        let at = usize::try_from(index.0).unwrap_or(0);
        if held.partitions.len() <= at {
            held.partitions.resize(at + 1, Slot::None);
        }
        if let Some(place) = held.partitions.get_mut(at) {
            *place = slot;
        }
    }

    fn find_or_make(
        &self,
        topic: &TopicImage,
        index: PartitionId,
        state: &PartitionState,
        configs: &TopicConfigs<'_>,
        now: TimestampMs,
    ) -> io::Result<Arc<Partition>> {
        let config = configs.of(&topic.name);
        let name = TopicPartition {
            topic: Arc::clone(&topic.name),
            partition: index,
        };
        let log_config = LogConfig::from(&*config);
        let (log, high_watermark) = match self.found_log(&name, topic.id, state, now)? {
            Some(mut found) => {
                found.log.set_config(log_config);
                (found.log, found.high_watermark)
            }
            None => {
                let log = self.make_log(&name, topic.id, log_config, state)?;
                (log, Offset::ZERO)
            }
        };
        let place = self.dirs.place_of(log.directory()).cloned();
        let place = place.ok_or_else(|| io::Error::other("the log lies in no log directory"))?;
        let counters = Arc::clone(&self.table.write().topic(topic).counters);
        let partition = Arc::new(Partition::new(log, config, counters, place, high_watermark));
        self.continue_move(&name, &partition, now);
        Ok(partition)
    }

    fn remove_topic(&self, topic: &TopicImage, now: TimestampMs) {
        let held = {
            let mut table = self.table.write();
            if table.ids.get(&topic.name) == Some(&topic.id) {
                table.ids.remove(&topic.name);
            }
            table.by_id.remove(&topic.id)
        };
        let mut cleaned = BTreeSet::new();
        for partition in held.iter().flat_map(HeldTopic::held) {
            partition.close(ErrorCode::UnknownTopicOrPartition);
            if partition.with_log(|log| log.cleaner_checkpoint().is_some()) {
                cleaned.insert(partition.dir().path().to_owned());
            }
            self.delete_future(partition, now);
            if !partition.dir().is_online() {
                // The next start finds a log of no topic.
                continue;
            }
            let deleted = partition.with_log(|log| self.logs.delete(log, now));
            if let Err(error) = deleted {
                tracing::error!(%partition, %error, "a deleted partition's files could not be renamed");
            }
        }
        for dir in cleaned {
            // What comes again by this name is not clean up to there.
            self.checkpoints
                .write_dir(self, CheckpointKind::Cleaner, &dir);
        }
    }

    fn delete_log(&self, mut log: PartitionLog, now: TimestampMs) {
        if let Err(error) = self.logs.delete(&mut log, now) {
            tracing::error!(partition = %log.topic_partition(), %error, "a log could not be removed");
        }
    }

    fn reconfigure(&self, topic: &TopicImage, configs: &TopicConfigs<'_>) {
        let partitions: Vec<Arc<Partition>> = {
            let table = self.table.read();
            match table.by_id.get(&topic.id) {
                Some(held) => held.held().cloned().collect(),
                None => return,
            }
        };
        let config = configs.of(&topic.name);
        for partition in partitions {
            partition.configure(Arc::clone(&config));
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
        match held.partitions.get(at) {
            Some(Slot::Held(partition)) => Ok(Arc::clone(partition)),
            Some(Slot::Offline) => Err(ErrorCode::KafkaStorageError),
            Some(Slot::None) | None => Err(ErrorCode::UnknownTopicOrPartition),
        }
    }

    fn topic(&mut self, topic: &TopicImage) -> &mut HeldTopic {
        self.ids.insert(Arc::clone(&topic.name), topic.id);
        self.by_id.entry(topic.id).or_insert_with(|| HeldTopic {
            name: Arc::clone(&topic.name),
            counters: Arc::default(),
            partitions: Vec::new(),
        })
    }
}

/// The options of topics after one commit, each found once. Most have none of their own: they share one set.
pub struct TopicConfigs<'a> {
    image: &'a MetadataImage,
    broker: &'a BrokerConfig,
    defaults: OnceCell<Arc<TopicConfig>>,
    others: RefCell<HashMap<String, Arc<TopicConfig>>>,
}

impl<'a> TopicConfigs<'a> {
    pub fn new(image: &'a MetadataImage, broker: &'a BrokerConfig) -> Self {
        Self {
            image,
            broker,
            defaults: OnceCell::new(),
            others: RefCell::default(),
        }
    }

    pub fn of(&self, topic: &str) -> Arc<TopicConfig> {
        let resolve = |own| Arc::new(topic::resolve(self.broker, own));
        let own = self.image.configs(ConfigResourceType::Topic, topic);
        if own.is_empty() {
            return Arc::clone(self.defaults.get_or_init(|| resolve(own)));
        }
        if let Some(known) = self.others.borrow().get(topic) {
            return Arc::clone(known);
        }
        let config = resolve(own);
        let mut others = self.others.borrow_mut();
        others.insert(topic.to_owned(), Arc::clone(&config));
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::records::{ConfigRecord, Record};
    use crate::controller::testing::{cluster_of, commit};

    #[test]
    fn topics_without_options_of_their_own_share_one_set() {
        let mut image = cluster_of(&[(1, None)]);
        commit(
            &mut image,
            &[Record::Config(ConfigRecord {
                resource_type: ConfigResourceType::Topic,
                resource_name: "own".to_owned(),
                key: "retention.ms".into(),
                value: Some("7".into()),
            })],
        );
        let broker = BrokerConfig::default();
        let configs = TopicConfigs::new(&image, &broker);
        assert!(Arc::ptr_eq(&configs.of("one"), &configs.of("two")));
        assert!(Arc::ptr_eq(&configs.of("own"), &configs.of("own")));
        assert_eq!(configs.of("own").retention_ms, 7);
        assert_ne!(configs.of("one").retention_ms, 7);
    }
}
