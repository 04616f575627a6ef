//! Tells the controller in which of its log directories this node keeps each replica, and which of them have failed
//! or are cordoned (KIP-858's AssignReplicasToDirs and the `OfflineLogDirs` of a broker's heartbeat, KIP-1066).
//!
//! What is to be told is gathered here and sent in batches by one task, behind the creation of a log and before
//! the swap of one that moved; a failure goes before everything else. Nothing is told by a node with one directory:
//! there is nothing to tell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::node::Node;
use crate::controller::command::{
    AssignReplicasToDirs, ChangeBroker, Command, DirectoryAssignment, Reply,
};
use crate::controller::records::DirectoryId;
use crate::types::{NodeId, PartitionId, TopicId, Zxid};

/// Of partitions in one command: Kafka's own.
const BATCH: usize = 2250;
/// After the controller has refused.
const BACKOFF: Duration = Duration::from_millis(500);

/// What is waiting to be told; the last word on a partition counts.
#[derive(Debug, Default)]
pub struct DirectoryAssignments {
    waiting: Mutex<BTreeMap<(TopicId, PartitionId), DirectoryId>>,
    failed: Mutex<BTreeSet<DirectoryId>>,
    /// All that are cordoned now.
    cordoned: Mutex<Option<Vec<DirectoryId>>>,
    added: Notify,
}

impl DirectoryAssignments {
    pub fn add(&self, topic: TopicId, partition: PartitionId, directory: DirectoryId) {
        self.waiting.lock().insert((topic, partition), directory);
        self.added.notify_one();
    }

    pub(super) fn add_failed(&self, directory: DirectoryId) {
        self.failed.lock().insert(directory);
        self.added.notify_one();
    }

    fn take_failed(&self) -> Vec<DirectoryId> {
        std::mem::take(&mut *self.failed.lock())
            .into_iter()
            .collect()
    }

    /// These get no new logs, and no others.
    pub(super) fn set_cordoned(&self, directories: Vec<DirectoryId>) {
        *self.cordoned.lock() = Some(directories);
        self.added.notify_one();
    }

    /// What has failed and what is cordoned, if there is news of either.
    pub(super) fn take_news(&self, id: NodeId, epoch: Zxid) -> Option<ChangeBroker> {
        let (failed, cordoned) = (self.take_failed(), self.cordoned.lock().take());
        (!failed.is_empty() || cordoned.is_some()).then_some(ChangeBroker {
            id,
            epoch,
            fenced: None,
            in_controlled_shutdown: None,
            offline_directories: Some(failed),
            cordoned_directories: cordoned,
        })
    }

    /// The same as `put_back` of what `take_news` gave.
    fn put_news_back(&self, change: ChangeBroker) {
        let failed = change.offline_directories.into_iter().flatten();
        failed.for_each(|dir| self.add_failed(dir));
        let mut cordoned = self.cordoned.lock();
        if cordoned.is_none() {
            *cordoned = change.cordoned_directories;
        }
    }

    pub(super) fn take_batch(&self) -> Vec<DirectoryAssignment> {
        let mut waiting = self.waiting.lock();
        let mut batch = Vec::new();
        while batch.len() < BATCH
            && let Some(((topic_id, partition), directory)) = waiting.pop_first()
        {
            batch.push(DirectoryAssignment {
                topic_id,
                partition,
                directory,
            });
        }
        batch
    }

    /// Of what could not be told, what nothing newer was said about.
    fn put_back(&self, batch: Vec<DirectoryAssignment>) {
        let mut waiting = self.waiting.lock();
        for one in batch {
            waiting
                .entry((one.topic_id, one.partition))
                .or_insert(one.directory);
        }
    }
}

/// Why the controller does not know it yet.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotAssigned(String);

/// Resolves once the controller has it.
pub async fn assign(node: &Node, assignments: Vec<DirectoryAssignment>) -> Result<(), NotAssigned> {
    submit(node, |broker, broker_epoch| {
        Command::AssignReplicasToDirs(AssignReplicasToDirs {
            broker,
            broker_epoch,
            assignments,
        })
    })
    .await
}

/// The same of directories that have failed or are cordoned. Nothing is lost when it fails.
async fn tell_news(node: &Node) -> Result<(), NotAssigned> {
    let assignments = node.partitions.assignments();
    let Some(mut change) = assignments.take_news(node.id, Zxid::ZERO) else {
        return Ok(());
    };
    let told = submit(node, |_, epoch| {
        change.epoch = epoch;
        Command::ChangeBroker(change.clone())
    });
    let told = told.await;
    if told.is_err() {
        assignments.put_news_back(change);
    }
    told
}

async fn submit(
    node: &Node,
    command: impl FnOnce(NodeId, Zxid) -> Command,
) -> Result<(), NotAssigned> {
    let Some(epoch) = node.metadata().broker(node.id).map(|broker| broker.epoch) else {
        return Err(NotAssigned("this broker is not registered".into()));
    };
    match node.submit(command(node.id, epoch)).await {
        Ok(Reply::AssignReplicasToDirs(Ok(())) | Reply::ChangeBroker(Ok(()))) => Ok(()),
        Ok(Reply::AssignReplicasToDirs(Err(error)) | Reply::ChangeBroker(Err(error))) => {
            Err(NotAssigned(error.to_string()))
        }
        Ok(_) => Err(NotAssigned("an answer of another kind".into())),
        Err(error) => Err(NotAssigned(error.to_string())),
    }
}

/// The task's life.
pub async fn run(node: std::sync::Arc<Node>, mut shutdown: watch::Receiver<bool>) {
    let tell = async {
        let assignments = node.partitions.assignments();
        loop {
            if let Err(error) = tell_news(&node).await {
                tracing::warn!(%error, "what has become of log directories could not be told to the controller: it is tried again");
                tokio::time::sleep(BACKOFF).await;
                continue;
            }
            let batch = assignments.take_batch();
            if batch.is_empty() {
                assignments.added.notified().await;
            } else if let Err(error) = assign(&node, batch.clone()).await {
                tracing::warn!(%error, "where replicas lie could not be told to the controller: it is tried again");
                assignments.put_back(batch);
                tokio::time::sleep(BACKOFF).await;
            }
        }
    };
    tokio::select! {
        () = tell => {}
        // The sender gone means the same.
        _ = shutdown.wait_for(|stopping| *stopping) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_of_directories_that_were_not_told_are_kept() {
        let assignments = DirectoryAssignments::default();
        let dir = |n| DirectoryId(uuid::Uuid::from_u128(n));
        assert!(assignments.take_news(NodeId(1), Zxid(2)).is_none());
        assignments.add_failed(dir(1000));
        assignments.set_cordoned(vec![dir(1001)]);
        let change = assignments.take_news(NodeId(1), Zxid(2)).unwrap();
        assert!(assignments.take_news(NodeId(1), Zxid(2)).is_none());
        assignments.add_failed(dir(1002));
        assignments.put_news_back(change.clone());
        let again = assignments.take_news(NodeId(1), Zxid(3)).unwrap();
        assert_eq!(again.offline_directories, Some(vec![dir(1000), dir(1002)]));
        assert_eq!(again.cordoned_directories, Some(vec![dir(1001)]));
        // Newer news are the truth.
        assignments.set_cordoned(Vec::new());
        assignments.put_news_back(change);
        let again = assignments.take_news(NodeId(1), Zxid(3)).unwrap();
        assert_eq!(again.cordoned_directories, Some(Vec::new()));
    }

    #[test]
    fn the_last_word_counts_and_what_failed_does_not_overwrite_it() {
        let assignments = DirectoryAssignments::default();
        let dir = |n| DirectoryId(uuid::Uuid::from_u128(n));
        let at = |n| (TopicId::ZERO, PartitionId(n));
        assignments.add(at(0).0, at(0).1, dir(1000));
        assignments.add(at(1).0, at(1).1, dir(1000));
        assignments.add(at(0).0, at(0).1, dir(1001));
        let batch = assignments.take_batch();
        let told: Vec<_> = batch
            .iter()
            .map(|one| (one.partition.0, one.directory))
            .collect();
        assert_eq!(told, [(0, dir(1001)), (1, dir(1000))]);
        assignments.add(at(1).0, at(1).1, dir(1002));
        assignments.put_back(batch);
        let batch = assignments.take_batch();
        let told: Vec<_> = batch
            .iter()
            .map(|one| (one.partition.0, one.directory))
            .collect();
        assert_eq!(told, [(0, dir(1001)), (1, dir(1002))]);
        assert!(assignments.take_batch().is_empty());
    }
}
