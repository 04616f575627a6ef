//! The offset checkpoints of the log directories, written when something has moved since the last time.
//!
//! Kafka's files, each with every partition of its directory: with many partitions at rest the writing
//! would be most of a node's work. Owned by `Partitions`; written by the maintenance thread, the cleaner and a stop.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::partition::Partition;
use super::partitions::Partitions;
use crate::log::CheckpointKind;
use crate::types::{Offset, TopicPartition};

#[derive(Debug, Default)]
pub struct Checkpoints {
    /// A digest of what each file says. Held while one is gathered and written: what was gathered earlier must not be
    /// written behind what was gathered later.
    written: Mutex<HashMap<(PathBuf, CheckpointKind), u64>>,
}

type Entries = Vec<(Arc<Partition>, Offset)>;

impl Checkpoints {
    /// One kind of every directory that is online.
    pub fn write(&self, partitions: &Partitions, kind: CheckpointKind) {
        self.write_some(partitions, kind, |_| true);
    }

    /// The same for one directory. False when it could not be written.
    pub fn write_dir(&self, partitions: &Partitions, kind: CheckpointKind, dir: &Path) -> bool {
        self.write_some(partitions, kind, |other| other == dir)
    }

    fn write_some(
        &self,
        partitions: &Partitions,
        kind: CheckpointKind,
        wanted: impl Fn(&Path) -> bool,
    ) -> bool {
        let mut written = self.written.lock();
        let dirs = partitions.logs().dirs().iter();
        let mut by_dir: BTreeMap<PathBuf, Entries> = dirs
            .filter(|dir| dir.is_online() && wanted(dir.path()))
            .map(|dir| (dir.path().to_owned(), Entries::new()))
            .collect();
        for partition in partitions.all().into_iter().filter(|p| p.is_online()) {
            if let Some(entries) = by_dir.get_mut(partition.dir().path()) {
                let offsets = partition.offsets();
                let offset = match kind {
                    CheckpointKind::RecoveryPoint => Some(offsets.recovery_point),
                    CheckpointKind::HighWatermark => Some(offsets.high_watermark),
                    // A log start of 0 goes without saying.
                    CheckpointKind::LogStartOffset => Some(offsets.log_start).filter(|at| at.0 > 0),
                    CheckpointKind::Cleaner => partition.with_log(|log| log.cleaner_checkpoint()),
                };
                entries.extend(offset.map(|offset| (Arc::clone(&partition), offset)));
            }
            // A copy goes by its log's name: it lies in another directory.
            if let Some(future) = partition.future()
                && let Some(entries) = by_dir.get_mut(future.place.dir.path())
            {
                let offset = future.with_log(|log| match kind {
                    CheckpointKind::RecoveryPoint => Some(log.recovery_point()),
                    CheckpointKind::HighWatermark => Some(Offset::ZERO),
                    CheckpointKind::LogStartOffset => {
                        Some(log.log_start_offset()).filter(|at| at.0 > 0)
                    }
                    CheckpointKind::Cleaner => None,
                });
                entries.extend(offset.map(|offset| (Arc::clone(&partition), offset)));
            }
        }
        let mut all_written = true;
        for (dir, entries) in by_dir {
            let key = (dir, kind);
            let digest = digest(&entries);
            if written.get(&key) == Some(&digest) {
                continue;
            }
            match partitions.logs().checkpoint(kind, &key.0, &named(&entries)) {
                Ok(()) => {
                    written.insert(key, digest);
                }
                Err(error) => {
                    tracing::error!(dir = %key.0.display(), ?kind, %error, "a checkpoint could not be written");
                    all_written = false;
                }
            }
        }
        all_written
    }
}

fn named(entries: &Entries) -> BTreeMap<TopicPartition, Offset> {
    let name = |partition: &Partition| TopicPartition {
        topic: Arc::clone(&partition.topic),
        partition: partition.index,
    };
    let entries = entries.iter();
    entries
        .map(|(partition, offset)| (name(partition), *offset))
        .collect()
}

/// The same for the same entries in any order.
fn digest(entries: &Entries) -> u64 {
    let one = |(partition, offset): &(Arc<Partition>, Offset)| {
        let mut hasher = DefaultHasher::new();
        (partition.topic_id, partition.index, offset).hash(&mut hasher);
        hasher.finish()
    };
    // Each has its own weight in the sum, and none is no entry at all.
    entries
        .iter()
        .map(one)
        .fold(entries.len() as u64, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::BrokerConfig;
    use crate::controller::MetadataDelta;
    use crate::controller::testing::{cluster_of, make, topic};
    use crate::log::memory::MemStorage;
    use crate::log::storage::{OpenMode, Storage};
    use crate::log::{AppendOrigin, LogManager, test_log};
    use crate::types::{NodeId, TimestampMs};

    #[test]
    fn a_checkpoint_is_written_when_something_has_moved() {
        let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
        let logs = LogManager::open(Arc::clone(&storage), vec!["/data".into()]).unwrap();
        let me = NodeId(1);
        let partitions = Partitions::new(me, Arc::new(logs), Vec::new(), 0);
        let mut image = cluster_of(&[(1, None)]);
        make(&mut image, vec![topic("t", 2, 1)]);
        let delta = MetadataDelta::whole(&image);
        partitions.apply(&image, &delta, &BrokerConfig::default(), TimestampMs(0));
        let path = Path::new("/data/recovery-point-offset-checkpoint");
        let checkpoints = Checkpoints::default();
        let written = |checkpoints: &Checkpoints| {
            checkpoints.write(&partitions, CheckpointKind::RecoveryPoint);
            let text = storage.open(path, OpenMode::Read).ok().map(|file| {
                let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
                file.read_at(&mut bytes, 0).unwrap();
                String::from_utf8(bytes).unwrap()
            });
            let _ = storage.remove_file(path);
            text
        };
        let lines = |text: Option<String>| -> Vec<String> {
            text.unwrap().lines().skip(2).map(str::to_owned).collect()
        };
        assert_eq!(lines(written(&checkpoints)), ["t 0 0", "t 1 0"]);
        assert_eq!(written(&checkpoints), None);
        let partition = partitions
            .by_name("t", crate::types::PartitionId(1))
            .unwrap();
        let batch = test_log::batch(1, 3, 10);
        let append = || partition.append(&batch, AppendOrigin::Client, false, TimestampMs(1));
        append().unwrap();
        assert_eq!(written(&checkpoints), None, "it is not on disk yet");
        partition.flush();
        assert_eq!(lines(written(&checkpoints)), ["t 0 0", "t 1 3"]);
        assert_eq!(written(&checkpoints), None);
    }
}
