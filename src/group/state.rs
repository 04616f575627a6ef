//! The hard state of one partition of `__consumer_offsets`: exactly what its records rebuild.
//!
//! Only replay changes it. Two shards that have replayed the same records are equal, whatever their
//! members were doing meanwhile. Offsets written inside a transaction stay apart until its marker
//! comes (KIP-447).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::records::{GroupMetadataValue, OffsetCommitValue, Record};
use crate::types::{Offset, ProducerId, TopicId};

/// A committed offset, and where its record is: of two the later in the log counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetAndMetadata {
    pub value: OffsetCommitValue,
    pub record_offset: Offset,
}

type ByPartition<T> = BTreeMap<i32, T>;
type ByTopic<T> = BTreeMap<Arc<str>, ByPartition<T>>;

/// Something for each partition of each topic of each group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offsets<T = OffsetAndMetadata> {
    by_group: BTreeMap<Arc<str>, ByTopic<T>>,
}

impl<T> Default for Offsets<T> {
    fn default() -> Self {
        Self {
            by_group: BTreeMap::new(),
        }
    }
}

impl<T> Offsets<T> {
    pub fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&T> {
        self.by_group.get(group)?.get(topic)?.get(&partition)
    }

    pub fn of_group(&self, group: &str) -> Option<&ByTopic<T>> {
        self.by_group.get(group)
    }

    pub fn groups(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_group.keys()
    }

    /// Every entry, in the order of groups, topics and partitions.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, i32, &T)> {
        self.by_group.iter().flat_map(|(group, topics)| {
            topics.iter().flat_map(move |(topic, partitions)| {
                partitions
                    .iter()
                    .map(move |(partition, entry)| (group, topic, *partition, entry))
            })
        })
    }

    fn put(&mut self, group: &Arc<str>, topic: &Arc<str>, partition: i32, entry: T) {
        let topics = self.by_group.entry(group.clone()).or_default();
        let partitions = topics.entry(topic.clone()).or_default();
        partitions.insert(partition, entry);
    }

    fn remove(&mut self, group: &str, topic: &str, partition: i32) -> Option<T> {
        let topics = self.by_group.get_mut(group)?;
        let partitions = topics.get_mut(topic)?;
        let removed = partitions.remove(&partition);
        if partitions.is_empty() {
            topics.remove(topic);
        }
        if topics.is_empty() {
            self.by_group.remove(group);
        }
        removed
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupCoordinatorState {
    groups: BTreeMap<Arc<str>, GroupMetadataValue>,
    offsets: Offsets,
    pending_transactional_offsets: BTreeMap<ProducerId, Offsets>,
    /// Which producers have an offset pending, by partition: the same facts the other way round.
    open_transactions: Offsets<BTreeSet<ProducerId>>,
}

impl GroupCoordinatorState {
    /// Groups that have a record of their own, as last stored.
    pub fn groups(&self) -> &BTreeMap<Arc<str>, GroupMetadataValue> {
        &self.groups
    }

    pub fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    /// Partitions of the group with an offset in a transaction that has not ended.
    pub fn open_transactions(&self) -> &Offsets<BTreeSet<ProducerId>> {
        &self.open_transactions
    }

    pub fn has_open_transaction(&self, group: &str, topic: &str, partition: i32) -> bool {
        self.open_transactions
            .get(group, topic, partition)
            .is_some()
    }

    /// The topic ids that open transactions have committed this partition under.
    pub fn pending_topic_ids(&self, group: &str, topic: &str, partition: i32) -> Vec<TopicId> {
        let producers = self.open_transactions.get(group, topic, partition);
        producers
            .into_iter()
            .flatten()
            .filter_map(|producer| self.pending_transactional_offsets.get(producer))
            .filter_map(|pending| pending.get(group, topic, partition))
            .map(|pending| pending.value.topic_id)
            .collect()
    }

    /// Whether any record of the group is left.
    pub fn knows(&self, group: &str) -> bool {
        self.groups.contains_key(group)
            || self.offsets.of_group(group).is_some()
            || self.open_transactions.of_group(group).is_some()
    }

    pub fn replay(&mut self, record: &Record, record_offset: Offset, producer: ProducerId) {
        match record {
            Record::GroupMetadata { group, value } => match value {
                Some(value) => {
                    self.groups.insert(group.clone(), value.clone());
                }
                None => {
                    self.groups.remove(group);
                }
            },
            Record::OffsetCommit {
                group,
                topic,
                partition,
                value: Some(value),
            } => {
                let entry = OffsetAndMetadata {
                    value: value.clone(),
                    record_offset,
                };
                if producer == ProducerId::NONE {
                    self.offsets.put(group, topic, *partition, entry);
                } else {
                    self.replay_pending((group, topic, *partition), producer, entry);
                }
            }
            Record::OffsetCommit {
                group,
                topic,
                partition,
                value: None,
            } => self.replay_tombstone(group, topic, *partition),
        }
    }

    fn replay_pending(
        &mut self,
        (group, topic, partition): (&Arc<str>, &Arc<str>, i32),
        producer: ProducerId,
        entry: OffsetAndMetadata,
    ) {
        self.pending_transactional_offsets
            .entry(producer)
            .or_default()
            .put(group, topic, partition, entry);
        let topics = self
            .open_transactions
            .by_group
            .entry(group.clone())
            .or_default();
        let partitions = topics.entry(topic.clone()).or_default();
        partitions.entry(partition).or_default().insert(producer);
    }

    fn replay_tombstone(&mut self, group: &str, topic: &str, partition: i32) {
        self.offsets.remove(group, topic, partition);
        let producers = self
            .open_transactions
            .remove(group, topic, partition)
            .unwrap_or_default();
        for producer in producers {
            if let Some(pending) = self.pending_transactional_offsets.get_mut(&producer) {
                pending.remove(group, topic, partition);
            }
        }
    }

    /// The producer's transaction has ended: its offsets count now, or never did.
    pub fn replay_transaction_end(&mut self, producer: ProducerId, committed: bool) {
        let Some(pending) = self.pending_transactional_offsets.remove(&producer) else {
            return;
        };
        for (group, topic, partition, entry) in pending.iter() {
            self.close_transaction((group, topic, partition), producer);
            if !committed {
                continue;
            }
            let newer = self
                .offsets
                .get(group, topic, partition)
                .is_none_or(|known| entry.record_offset > known.record_offset);
            if newer {
                self.offsets.put(group, topic, partition, entry.clone());
            }
        }
    }

    fn close_transaction(
        &mut self,
        (group, topic, partition): (&Arc<str>, &Arc<str>, i32),
        producer: ProducerId,
    ) {
        let Some(mut producers) = self.open_transactions.remove(group, topic, partition) else {
            return;
        };
        producers.remove(&producer);
        if !producers.is_empty() {
            self.open_transactions
                .put(group, topic, partition, producers);
        }
    }
}
