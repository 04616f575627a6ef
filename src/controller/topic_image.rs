//! A topic and its partitions, as the image holds them.
//!
//! Partitions are numbered from 0 without a gap and kept in shared chunks: to change one in a topic
//! of 10,000 copies one chunk, and a chunk nobody else holds is changed in place.

use std::sync::Arc;

use crate::controller::node_list::NodeList;
use crate::controller::records::{DirectoryId, PartitionChangeRecord, PartitionRecord};
use crate::types::{LeaderEpoch, NodeId, PartitionId, TopicId};

const CHUNK: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicImage {
    pub name: Arc<str>,
    pub id: TopicId,
    partitions: Partitions,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Partitions {
    chunks: Vec<Arc<Vec<PartitionState>>>,
    len: usize,
}

/// A partition: who holds it, who leads it, and under which epochs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionState {
    pub replicas: NodeList,
    pub isr: NodeList,
    /// `NodeId::NONE` when nobody may lead.
    pub leader: NodeId,
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: i32,
    /// Elected uncleanly and not yet recovered.
    pub recovering: bool,
    /// What few partitions have.
    rare: Option<Box<Rare>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rare {
    elr: NodeList,
    last_known_elr: NodeList,
    adding_replicas: NodeList,
    removing_replicas: NodeList,
    directories: Vec<DirectoryId>,
}

static NO_RARE: Rare = Rare {
    elr: NodeList::EMPTY,
    last_known_elr: NodeList::EMPTY,
    adding_replicas: NodeList::EMPTY,
    removing_replicas: NodeList::EMPTY,
    directories: Vec::new(),
};

impl TopicImage {
    pub fn new(name: Arc<str>, id: TopicId) -> Self {
        Self {
            name,
            id,
            partitions: Partitions::default(),
        }
    }

    pub fn partition_count(&self) -> usize {
        self.partitions.len
    }

    pub fn partition(&self, partition: PartitionId) -> Option<&PartitionState> {
        let index = usize::try_from(partition.0).ok()?;
        self.partitions
            .chunks
            .get(index / CHUNK)?
            .get(index % CHUNK)
    }

    /// In the order of their numbers.
    pub fn partitions(&self) -> impl Iterator<Item = (PartitionId, &PartitionState)> {
        let states = self.partitions.chunks.iter().flat_map(|chunk| chunk.iter());
        (0..).map(PartitionId).zip(states)
    }

    /// The number of replicas of partition 0: what Kafka calls the topic's replication factor.
    pub fn replication_factor(&self) -> usize {
        self.partition(PartitionId(0))
            .map_or(0, |partition| partition.replicas.len())
    }

    pub(super) fn partition_mut(&mut self, partition: PartitionId) -> Option<&mut PartitionState> {
        let index = usize::try_from(partition.0).ok()?;
        let chunk = self.partitions.chunks.get_mut(index / CHUNK)?;
        Arc::make_mut(chunk).get_mut(index % CHUNK)
    }

    pub(super) fn push(&mut self, state: PartitionState) {
        let partitions = &mut self.partitions;
        match partitions.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => Arc::make_mut(chunk).push(state),
            _ => partitions.chunks.push(Arc::new(vec![state])),
        }
        partitions.len += 1;
    }
}

impl PartitionState {
    fn rare(&self) -> &Rare {
        self.rare.as_deref().unwrap_or(&NO_RARE)
    }

    /// Eligible leader replicas (KIP-966).
    pub fn elr(&self) -> &NodeList {
        &self.rare().elr
    }

    pub fn last_known_elr(&self) -> &NodeList {
        &self.rare().last_known_elr
    }

    pub fn adding_replicas(&self) -> &NodeList {
        &self.rare().adding_replicas
    }

    pub fn removing_replicas(&self) -> &NodeList {
        &self.rare().removing_replicas
    }

    /// One for every replica, or empty when none is known.
    pub fn directories(&self) -> &[DirectoryId] {
        &self.rare().directories
    }

    /// Where a broker keeps its replica, as it has said.
    pub fn directory(&self, id: NodeId) -> DirectoryId {
        let at = self.replicas.iter().position(|node| *node == id);
        let known = at.and_then(|at| self.directories().get(at));
        known.copied().unwrap_or(DirectoryId::UNASSIGNED)
    }

    pub fn is_preferred_leader(&self) -> bool {
        self.replicas.first() == Some(&self.leader)
    }

    fn set_rare(&mut self, rare: Rare) {
        self.rare = (rare != NO_RARE).then(|| Box::new(rare));
    }

    pub(super) fn from_record(record: &PartitionRecord) -> Self {
        let list = |list: &Option<NodeList>| list.clone().unwrap_or(NodeList::EMPTY);
        let mut state = Self {
            replicas: record.replicas.clone(),
            isr: record.isr.clone(),
            leader: record.leader,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
            recovering: record.recovering.unwrap_or(false),
            rare: None,
        };
        state.set_rare(Rare {
            elr: list(&record.elr),
            last_known_elr: list(&record.last_known_elr),
            adding_replicas: list(&record.adding_replicas),
            removing_replicas: list(&record.removing_replicas),
            directories: record.directories.clone().unwrap_or_default(),
        });
        state
    }

    pub(super) fn to_record(&self, topic_id: TopicId, partition: PartitionId) -> PartitionRecord {
        let list = |list: &NodeList| (!list.is_empty()).then(|| list.clone());
        let directories = self.directories();
        PartitionRecord {
            topic_id,
            partition,
            replicas: self.replicas.clone(),
            isr: self.isr.clone(),
            leader: self.leader,
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            elr: list(self.elr()),
            last_known_elr: list(self.last_known_elr()),
            adding_replicas: list(self.adding_replicas()),
            removing_replicas: list(self.removing_replicas()),
            directories: (!directories.is_empty()).then(|| directories.to_vec()),
            recovering: self.recovering.then_some(true),
        }
    }

    pub(super) fn apply(&mut self, change: &PartitionChangeRecord) {
        // Taken apart so that a field added to the record cannot be forgotten here.
        let PartitionChangeRecord {
            topic_id: _,
            partition: _,
            replicas,
            isr,
            leader,
            elr,
            last_known_elr,
            adding_replicas,
            removing_replicas,
            directories,
            recovering,
        } = change;
        let mut rare = self.rare().clone();
        let set = |field: &mut NodeList, value: &Option<NodeList>| {
            if let Some(value) = value {
                *field = value.clone();
            }
        };
        set(&mut self.replicas, replicas);
        set(&mut self.isr, isr);
        set(&mut rare.elr, elr);
        set(&mut rare.last_known_elr, last_known_elr);
        set(&mut rare.adding_replicas, adding_replicas);
        set(&mut rare.removing_replicas, removing_replicas);
        if let Some(directories) = directories {
            rare.directories.clone_from(directories);
        }
        if let Some(leader) = leader {
            self.leader = *leader;
            self.leader_epoch.0 += 1;
        }
        if let Some(recovering) = recovering {
            self.recovering = *recovering;
        }
        self.partition_epoch += 1;
        self.set_rare(rare);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(leader: i32) -> PartitionState {
        PartitionState {
            replicas: NodeList::from([leader]),
            isr: NodeList::from([leader]),
            leader: NodeId(leader),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 0,
            recovering: false,
            rare: None,
        }
    }

    #[test]
    fn partitions_keep_their_numbers_over_chunks() {
        let mut topic = TopicImage::new("t".into(), TopicId::ZERO);
        for index in 0..200 {
            topic.push(state(index));
        }
        assert_eq!(topic.partition_count(), 200);
        for (partition, state) in topic.partitions() {
            assert_eq!(state.leader.0, partition.0);
            assert_eq!(topic.partition(partition), Some(state));
        }
        assert_eq!(topic.partitions().count(), 200);
        assert_eq!(topic.partition(PartitionId(200)), None);
        assert_eq!(topic.partition(PartitionId(-1)), None);
    }

    #[test]
    fn a_changed_copy_shares_the_other_chunks() {
        let mut topic = TopicImage::new("t".into(), TopicId::ZERO);
        for index in 0..200 {
            topic.push(state(index));
        }
        let before = topic.clone();
        topic.partition_mut(PartitionId(70)).unwrap().leader = NodeId(1);
        assert_eq!(before.partition(PartitionId(70)).unwrap().leader.0, 70);
        let shared = topic
            .partitions
            .chunks
            .iter()
            .zip(&before.partitions.chunks);
        let shared: Vec<bool> = shared.map(|(a, b)| Arc::ptr_eq(a, b)).collect();
        assert_eq!(shared, [true, false, true, true]);
    }

    #[test]
    fn a_change_moves_the_epochs() {
        let mut changed = state(1);
        let mut change = PartitionChangeRecord::new(TopicId::ZERO, PartitionId(0));
        change.isr = Some(NodeList::from([1, 2]));
        changed.apply(&change);
        assert_eq!((changed.leader_epoch.0, changed.partition_epoch), (0, 1));
        change.leader = Some(NodeId(2));
        change.elr = Some(NodeList::from([3]));
        changed.apply(&change);
        assert_eq!((changed.leader_epoch.0, changed.partition_epoch), (1, 2));
        assert_eq!(
            (changed.leader, &**changed.elr()),
            (NodeId(2), &[NodeId(3)][..])
        );
        change.elr = Some(NodeList::EMPTY);
        changed.apply(&change);
        assert!(changed.rare.is_none());
        assert_eq!(size_of::<PartitionState>(), 56);
    }
}
