//! The log directories: what lies in them when the broker starts, and the small files that say so.
//!
//! One process holds a directory at a time (`.lock`). After a clean shutdown logs are not read; after a crash
//! each directory's logs are recovered by `num.recovery.threads.per.data.dir` threads.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use uuid::Uuid;

use super::checkpoint;
use super::log_config::LogConfig;
use super::partition_log::PartitionLog;
use super::recovery::{self, OpenLog};
use super::retention::DoomedFiles;
use super::storage::{OpenMode, Space, Storage, write_atomically};
use crate::types::{NodeId, Offset, TimestampMs, TopicId, TopicPartition};

/// Where the ZAB peer keeps its own files, in the first log directory.
pub const ZAB_DIR: &str = "zab";

const LOCK: &str = ".lock";
const DELETE_SUFFIX: &str = "-delete";
const STRAY_SUFFIX: &str = "-stray";

/// Why the directories cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("log.dirs: {} is in use by another process", .0.display())]
    InUse(PathBuf),
    #[error("log.dirs: {} holds the data of {what} {found}, not of {wanted}", .dir.display())]
    Foreign {
        dir: PathBuf,
        what: &'static str,
        found: String,
        wanted: String,
    },
    #[error("log.dirs: {}: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
}

impl OpenError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
        let path = path.to_owned();
        move |error| OpenError::Io { path, error }
    }
}

/// How far a recovery has come, for the log and `/health/ready`.
#[derive(Debug, Default)]
pub struct RecoveryProgress {
    pub logs: AtomicUsize,
    pub logs_done: AtomicUsize,
    pub bytes_done: AtomicU64,
}

/// A log that was found, with the high watermark that was checkpointed for it.
#[derive(Debug)]
pub struct FoundLog {
    pub log: PartitionLog,
    pub high_watermark: Offset,
}

#[derive(Debug)]
pub struct LogManager {
    storage: Arc<dyn Storage>,
    dirs: Vec<PathBuf>,
    /// Held for the process's life.
    _locks: Vec<Box<dyn std::any::Any + Send + Sync>>,
    doomed: Mutex<Vec<DoomedFiles>>,
    doomed_dirs: Mutex<Vec<(PathBuf, TimestampMs)>>,
}

impl LogManager {
    /// Takes the directories and says what each is, making those that do not exist. The logs in them are
    /// opened by `load`.
    pub fn open(storage: Arc<dyn Storage>, dirs: Vec<PathBuf>) -> Result<Self, OpenError> {
        let mut locks = Vec::new();
        for dir in &dirs {
            storage.create_dir_all(dir).map_err(OpenError::at(dir))?;
            let path = dir.join(LOCK);
            match storage.lock(&path).map_err(OpenError::at(&path))? {
                Some(lock) => locks.push(lock),
                None => return Err(OpenError::InUse(dir.clone())),
            }
        }
        Ok(Self {
            storage,
            dirs,
            _locks: locks,
            doomed: Mutex::default(),
            doomed_dirs: Mutex::default(),
        })
    }

    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    pub fn directories(&self) -> Vec<PathBuf> {
        self.dirs.clone()
    }

    /// Total and usable bytes of the file system under a directory.
    pub fn space(&self, dir: &Path) -> io::Result<Space> {
        self.storage.space(dir)
    }

    /// Checks that the directories are this node's and this cluster's, and marks new ones so
    /// (`meta.properties`). Returns their ids.
    pub fn claim(&self, node: NodeId, cluster_id: &str) -> Result<Vec<TopicId>, OpenError> {
        self.dirs
            .iter()
            .map(|dir| self.claim_one(dir, node, cluster_id))
            .collect()
    }

    fn claim_one(&self, dir: &Path, node: NodeId, cluster_id: &str) -> Result<TopicId, OpenError> {
        let path = dir.join(checkpoint::META_PROPERTIES);
        let text = checkpoint::read_text(&*self.storage, &path).map_err(OpenError::at(&path))?;
        let Some(text) = text else {
            let id = TopicId(Uuid::new_v4());
            let text = format!(
                "#\ncluster.id={cluster_id}\ndirectory.id={id}\nnode.id={node}\nversion=1\n"
            );
            write_atomically(&*self.storage, &path, text.as_bytes())
                .map_err(OpenError::at(&path))?;
            return Ok(id);
        };
        let value = |key: &str| {
            text.lines()
                .filter_map(|line| line.split_once('='))
                .find(|(name, _)| name.trim() == key)
                .map(|(_, value)| value.trim().replace('\\', ""))
        };
        for (what, key, wanted) in [
            ("cluster", "cluster.id", cluster_id.to_owned()),
            ("node", "node.id", node.to_string()),
        ] {
            match value(key) {
                Some(found) if found != wanted => {
                    return Err(OpenError::Foreign {
                        dir: dir.to_owned(),
                        what,
                        found,
                        wanted,
                    });
                }
                _ => {}
            }
        }
        Ok(value("directory.id")
            .and_then(|id| id.parse().ok())
            .unwrap_or_default())
    }

    /// Opens every log there is, recovering them after a crash. The clean-shutdown mark is taken away: from
    /// here on the directories are in use.
    pub fn load(
        &self,
        default_config: &LogConfig,
        recovery_threads: usize,
        progress: &RecoveryProgress,
    ) -> Result<Vec<FoundLog>, OpenError> {
        let mut found = Vec::new();
        for dir in &self.dirs {
            found.extend(self.load_dir(dir, default_config, recovery_threads, progress)?);
        }
        Ok(found)
    }

    fn load_dir(
        &self,
        dir: &Path,
        default_config: &LogConfig,
        threads: usize,
        progress: &RecoveryProgress,
    ) -> Result<Vec<FoundLog>, OpenError> {
        let storage = &*self.storage;
        let mark = dir.join(checkpoint::CLEAN_SHUTDOWN);
        let clean = storage.exists(&mark);
        let read = |name: &str| {
            let path = dir.join(name);
            checkpoint::read_offsets(storage, &path).map_err(OpenError::at(&path))
        };
        let recovery_points = read(checkpoint::RECOVERY_POINTS)?;
        let high_watermarks = read(checkpoint::HIGH_WATERMARKS)?;
        let log_starts = read(checkpoint::LOG_START_OFFSETS)?;
        let mut waiting = Vec::new();
        for entry in storage.list(dir).map_err(OpenError::at(dir))? {
            if !entry.is_dir {
                continue;
            }
            let path = dir.join(&entry.name);
            if entry.name.ends_with(DELETE_SUFFIX) {
                storage
                    .remove_dir_all(&path)
                    .map_err(OpenError::at(&path))?;
                continue;
            }
            let Some(topic_partition) = checkpoint::parse_directory_name(&entry.name) else {
                continue;
            };
            let at = |offsets: &BTreeMap<TopicPartition, Offset>| {
                offsets.get(&topic_partition).copied().unwrap_or_default()
            };
            let topic_id = match checkpoint::read_partition_metadata(storage, &path) {
                Ok(id) => id.unwrap_or_default(),
                // It is synced with the first flush: before that a crash may leave anything in it.
                Err(error) if error.kind() == io::ErrorKind::InvalidData && !clean => {
                    let stray = dir.join(directory_name(&topic_partition, STRAY_SUFFIX));
                    tracing::error!(%error, to = %stray.display(), "a log has lost its topic's id and is put aside");
                    storage
                        .rename(&path, &stray)
                        .map_err(OpenError::at(&path))?;
                    continue;
                }
                Err(error) => return Err(OpenError::at(&path)(error)),
            };
            let open = OpenLog {
                topic_id,
                config: default_config.clone(),
                recovery_point: at(&recovery_points),
                log_start: at(&log_starts),
                clean,
                topic_partition: topic_partition.clone(),
            };
            waiting.push((path, open, at(&high_watermarks)));
        }
        if clean {
            storage.remove_file(&mark).map_err(OpenError::at(&mark))?;
            storage.sync_dir(dir).map_err(OpenError::at(dir))?;
        } else if !waiting.is_empty() {
            tracing::info!(dir = %dir.display(), logs = waiting.len(), "the last shutdown was not clean: recovering logs");
        }
        self.open_all(waiting, threads.max(1), progress)
    }

    fn open_all(
        &self,
        waiting: Vec<(PathBuf, OpenLog, Offset)>,
        threads: usize,
        progress: &RecoveryProgress,
    ) -> Result<Vec<FoundLog>, OpenError> {
        progress.logs.fetch_add(waiting.len(), Ordering::Relaxed);
        let queue = Mutex::new(waiting);
        let results = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..threads.min(queue.lock().len()) {
                scope.spawn(|| {
                    while let Some((path, open, high_watermark)) = { queue.lock().pop() } {
                        let bytes = |bytes| {
                            progress.bytes_done.fetch_add(bytes, Ordering::Relaxed);
                        };
                        let log = recovery::open(Arc::clone(&self.storage), &path, open, &bytes)
                            .map(|log| FoundLog {
                                log,
                                high_watermark,
                            })
                            .map_err(OpenError::at(&path));
                        progress.logs_done.fetch_add(1, Ordering::Relaxed);
                        results.lock().push(log);
                    }
                });
            }
        });
        results.into_inner().into_iter().collect()
    }

    /// Makes an empty log in the directory that holds the fewest. Not synced: metadata would have it made
    /// again.
    pub fn create(
        &self,
        topic_partition: &TopicPartition,
        topic_id: TopicId,
        config: LogConfig,
        dir: usize,
    ) -> io::Result<PartitionLog> {
        let parent = self
            .dirs
            .get(dir)
            .ok_or_else(|| io::Error::other("no such log directory"))?;
        let path = parent.join(topic_partition.to_string());
        self.storage.create_dir_all(&path)?;
        let metadata = self
            .storage
            .open(&path.join(checkpoint::PARTITION_METADATA), OpenMode::Create)?;
        let text = checkpoint::partition_metadata(topic_id);
        metadata.write_at(&mut [io::IoSlice::new(text.as_bytes())], 0)?;
        let open = OpenLog {
            topic_partition: topic_partition.clone(),
            topic_id,
            config,
            recovery_point: Offset::ZERO,
            log_start: Offset::ZERO,
            clean: true,
        };
        recovery::open(Arc::clone(&self.storage), &path, open, &|_| {})
    }

    /// Takes a log's directory out of use under another name; its files go after the delay, when nobody
    /// reads them any more.
    pub fn delete(&self, log: &mut PartitionLog, now: TimestampMs) -> io::Result<()> {
        let from = log.directory().to_owned();
        let name = directory_name(log.topic_partition(), DELETE_SUFFIX);
        let to = log.parent_directory().join(name);
        self.storage.rename(&from, &to)?;
        let remove_at = now.0.saturating_add(log.config().file_delete_delay_ms);
        log.moved_to(to.clone());
        self.doomed_dirs.lock().push((to, TimestampMs(remove_at)));
        Ok(())
    }

    /// Files that retention renamed.
    pub fn doom(&self, files: DoomedFiles) {
        self.doomed.lock().push(files);
    }

    /// Removes what has been renamed for long enough.
    pub fn remove_doomed(&self, now: TimestampMs) {
        let due: Vec<DoomedFiles> = {
            let mut doomed = self.doomed.lock();
            let (due, later) = doomed.drain(..).partition(|files| files.remove_at <= now);
            *doomed = later;
            due
        };
        for files in due {
            if let Err(error) = files.remove(&*self.storage) {
                tracing::warn!(%error, "deleted segments could not be removed");
            }
        }
        let due: Vec<PathBuf> = {
            let mut doomed = self.doomed_dirs.lock();
            let (due, later): (Vec<_>, Vec<_>) = doomed
                .drain(..)
                .partition(|(_, remove_at)| *remove_at <= now);
            *doomed = later;
            due.into_iter().map(|(dir, _)| dir).collect()
        };
        for dir in due {
            if let Err(error) = self.storage.remove_dir_all(&dir) {
                tracing::warn!(dir = %dir.display(), %error, "a deleted log could not be removed");
            }
        }
    }

    /// Writes one of the offset checkpoints of a directory.
    pub fn checkpoint(
        &self,
        kind: CheckpointKind,
        dir: &Path,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> io::Result<()> {
        let name = match kind {
            CheckpointKind::RecoveryPoint => checkpoint::RECOVERY_POINTS,
            CheckpointKind::HighWatermark => checkpoint::HIGH_WATERMARKS,
            CheckpointKind::LogStartOffset => checkpoint::LOG_START_OFFSETS,
        };
        checkpoint::write_offsets(&*self.storage, &dir.join(name), offsets)
    }

    /// The last word of a clean shutdown: every log is closed, every checkpoint written. What that wrote is
    /// synced here, before the mark says so.
    pub fn mark_clean(&self) -> io::Result<()> {
        for dir in &self.dirs {
            self.storage.sync_file_system(dir)?;
            let path = dir.join(checkpoint::CLEAN_SHUTDOWN);
            write_atomically(&*self.storage, &path, br#"{"version":0,"brokerEpoch":-1}"#)?;
        }
        Ok(())
    }
}

/// Kafka's name for the directory of a partition that is out of use. Its topic is cut where the name would be
/// too long for a file system.
fn directory_name(topic_partition: &TopicPartition, suffix: &str) -> String {
    const LONGEST: usize = 255;
    let suffix = format!(
        "-{}.{}{suffix}",
        topic_partition.partition,
        Uuid::new_v4().simple()
    );
    let room = LONGEST.saturating_sub(suffix.len());
    // Topic names are ASCII.
    let topic: String = topic_partition.topic.chars().take(room).collect();
    topic + &suffix
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckpointKind {
    RecoveryPoint,
    HighWatermark,
    LogStartOffset,
}

#[cfg(test)]
#[path = "log_manager_tests.rs"]
mod tests;
