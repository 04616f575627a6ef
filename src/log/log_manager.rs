//! The log directories: what lies in them when the broker starts, and the small files that say so.
//!
//! One process holds a directory at a time (`.lock`). After a clean shutdown logs are not read; after a crash
//! each directory's logs are recovered by `num.recovery.threads.per.data.dir` threads. A directory that cannot be
//! used is offline, and the others serve (KIP-112); without the first, which holds the metadata, nothing does.
//! All files go through `LogDirStorage`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use uuid::Uuid;

use super::checkpoint;
use super::future_log;
use super::journal;
use super::journal_replay::{self, JournalContents};
use super::log_config::LogConfig;
use super::log_dir::{LogDir, LogDirFailureChannel, LogDirOffline};
use super::log_dir_storage::{LogDirStorage, is_disk_full, is_process_limit};
use super::partition_log::PartitionLog;
use super::recovery::{self, OpenLog};
use super::recovery_progress::RecoveryProgress;
use super::retention::DoomedFiles;
use super::storage::{Space, Storage, write_atomically};
use crate::parallel;
use crate::types::{NodeId, Offset, TimestampMs, TopicId, TopicPartition};

/// Where the ZAB peer keeps its own files, in the first log directory.
pub const ZAB_DIR: &str = "zab";

const LOCK: &str = ".lock";
/// How often a start says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);
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
    #[error("log.dirs: {} and {} have the same directory.id {id}: one is a copy of the other", .first.display(), .second.display())]
    SameId {
        first: PathBuf,
        second: PathBuf,
        id: TopicId,
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

/// A log that was found, with the high watermark that was checkpointed for it.
#[derive(Debug)]
pub struct FoundLog {
    pub log: PartitionLog,
    /// A copy that was on its way to its directory.
    pub is_future: bool,
    pub high_watermark: Offset,
}

/// A log to be opened: where it is, and its checkpointed high watermark.
type Waiting = (PathBuf, OpenLog, Offset);

#[derive(Debug)]
pub struct LogManager {
    storage: Arc<dyn Storage>,
    dirs: Vec<Arc<LogDir>>,
    failures: Arc<LogDirFailureChannel>,
    /// Held for the process's life.
    _locks: Vec<Box<dyn std::any::Any + Send + Sync>>,
    doomed: Mutex<Vec<DoomedFiles>>,
    doomed_dirs: Mutex<Vec<(PathBuf, TimestampMs)>>,
}

impl LogManager {
    /// Takes the directories, making those that do not exist. The logs in them are opened by `load`.
    pub fn open(storage: Arc<dyn Storage>, dirs: Vec<PathBuf>) -> Result<Self, OpenError> {
        let failures = Arc::new(LogDirFailureChannel::default());
        let dirs: Vec<Arc<LogDir>> = dirs
            .into_iter()
            .map(|dir| Arc::new(LogDir::new(dir, Arc::clone(&failures))))
            .collect();
        let mut logs = Self {
            storage: Arc::new(LogDirStorage::new(storage, dirs.clone())),
            dirs,
            failures,
            _locks: Vec::new(),
            doomed: Mutex::default(),
            doomed_dirs: Mutex::default(),
        };
        let mut locks = Vec::new();
        logs.for_each_online(|dir| {
            locks.push(logs.take(dir)?);
            Ok(())
        })?;
        logs._locks = locks;
        Ok(logs)
    }

    /// Does something with every directory that is online. One that fails in it is offline from then on, unless it
    /// is the first. What is no disk's fault ends it.
    fn for_each_online(
        &self,
        mut act: impl FnMut(&Arc<LogDir>) -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        for (at, dir) in self.dirs.iter().enumerate() {
            if at > 0 && !dir.is_online() {
                continue;
            }
            match act(dir) {
                Err(OpenError::Io { path, error }) if at > 0 => {
                    dir.fail(&format!("{} could not be used", path.display()), &error);
                }
                other => other?,
            }
        }
        Ok(())
    }

    fn take(&self, dir: &LogDir) -> Result<super::storage::Lock, OpenError> {
        let dir = dir.path();
        self.storage
            .create_dir_all(dir)
            .map_err(OpenError::at(dir))?;
        let path = dir.join(LOCK);
        let lock = self.storage.lock(&path).map_err(OpenError::at(&path))?;
        lock.ok_or_else(|| OpenError::InUse(dir.to_owned()))
    }

    /// Every file below the directories goes through it.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// As configured; the first holds the metadata.
    pub fn dirs(&self) -> &[Arc<LogDir>] {
        &self.dirs
    }

    /// The directory that a path lies in.
    pub fn dir_of(&self, path: &Path) -> Option<&Arc<LogDir>> {
        self.dirs.iter().find(|dir| path.starts_with(dir.path()))
    }

    pub fn failures(&self) -> &LogDirFailureChannel {
        &self.failures
    }

    /// Where the next log may go, the best first: that is the directory that holds the fewest, of those that have
    /// room. A cordoned one only where every one is: what the controller gives this broker must lie somewhere.
    pub fn dirs_for_new_log(&self) -> Vec<Arc<LogDir>> {
        let online = self.dirs.iter().filter(|dir| dir.is_online());
        let mut dirs: Vec<Arc<LogDir>> = online.cloned().collect();
        if dirs.iter().any(|dir| !dir.is_cordoned()) {
            dirs.retain(|dir| !dir.is_cordoned());
        }
        dirs.sort_by_key(|dir| (dir.space().refused(), dir.log_count()));
        dirs
    }

    /// Total and usable bytes of the file system under a directory.
    pub fn space(&self, dir: &Path) -> io::Result<Space> {
        self.storage.space(dir)
    }

    /// Checks that the directories are this node's and this cluster's, and marks new ones so
    /// (`meta.properties`). Returns the ids of those that are online.
    pub fn claim(&self, node: NodeId, cluster_id: Option<&str>) -> Result<Vec<TopicId>, OpenError> {
        let mut claimed: Vec<(PathBuf, TopicId)> = Vec::new();
        self.for_each_online(|dir| {
            let id = self.claim_one(dir.path(), node, cluster_id)?;
            if let Some((first, _)) = claimed.iter().find(|(_, taken)| *taken == id) {
                return Err(OpenError::SameId {
                    first: first.clone(),
                    second: dir.path().to_owned(),
                    id,
                });
            }
            dir.identify(id);
            claimed.push((dir.path().to_owned(), id));
            Ok(())
        })?;
        Ok(claimed.into_iter().map(|(_, id)| id).collect())
    }

    fn claim_one(
        &self,
        dir: &Path,
        node: NodeId,
        cluster_id: Option<&str>,
    ) -> Result<TopicId, OpenError> {
        let path = dir.join(checkpoint::META_PROPERTIES);
        let text = checkpoint::read_text(&*self.storage, &path).map_err(OpenError::at(&path))?;
        let Some(text) = text else {
            let id = TopicId(Uuid::new_v4());
            let cluster = cluster_id.map_or(String::new(), |id| format!("cluster.id={id}\n"));
            let text = format!("#\n{cluster}directory.id={id}\nnode.id={node}\nversion=1\n");
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
            ("cluster", "cluster.id", cluster_id.map(str::to_owned)),
            ("node", "node.id", Some(node.to_string())),
        ] {
            match value(key).zip(wanted) {
                Some((found, wanted)) if found != wanted => {
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
        let known = value("directory.id").and_then(|id| id.parse().ok());
        let known = known.filter(|id: &TopicId| !id.is_zero());
        let new_cluster = cluster_id.filter(|_| value("cluster.id").is_none());
        if let (Some(id), None) = (known, new_cluster) {
            return Ok(id);
        }
        // From before directories had ids (KIP-858), or from before this node's first cluster.
        let id = known.unwrap_or_else(|| TopicId(Uuid::new_v4()));
        let kept = text
            .lines()
            .filter(|line| !line.starts_with("directory.id"));
        let mut text: String = kept.map(|line| format!("{line}\n")).collect();
        text.push_str(&format!("directory.id={id}\n"));
        if let Some(cluster_id) = new_cluster {
            text.push_str(&format!("cluster.id={cluster_id}\n"));
        }
        write_atomically(&*self.storage, &path, text.as_bytes()).map_err(OpenError::at(&path))?;
        Ok(id)
    }

    /// So many segment files are open at most.
    pub fn limit_open_files(&self, limit: usize) {
        if let Some(files) = self.storage.open_files() {
            files.set_limit(limit);
        }
    }

    /// Closes the segment files that nobody has asked for since the last call.
    pub fn close_idle_files(&self) {
        if let Some(files) = self.storage.open_files() {
            files.close_idle();
        }
    }

    /// Opens every log there is, recovering them after a crash; how far depends on a topic's own options: a compacted
    /// log has holes. The clean-shutdown mark is taken away: from
    /// here on the directories are in use.
    pub fn load(
        &self,
        config_of: &dyn Fn(&str) -> LogConfig,
        recovery_threads: usize,
        progress: &RecoveryProgress,
    ) -> Result<Vec<FoundLog>, OpenError> {
        let mut found = Vec::new();
        let load = || {
            self.for_each_online(|dir| {
                let logs = self.load_dir(dir.path(), config_of, recovery_threads, progress)?;
                logs.iter().for_each(|_| dir.log_added());
                found.extend(logs);
                Ok(())
            })
        };
        progress.during(PROGRESS_INTERVAL, |state| tracing::info!("{state}"), load)?;
        Ok(found)
    }

    fn load_dir(
        &self,
        dir: &Path,
        config_of: &dyn Fn(&str) -> LogConfig,
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
        let cleaned = read(checkpoint::CLEANER_OFFSETS)?;
        let mut waiting = Vec::new();
        let has_journal = journal::exists(storage, dir);
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
            let future = future_log::parse_name(&entry.name);
            let log = || checkpoint::parse_directory_name(&entry.name);
            let Some(topic_partition) = future.or_else(log) else {
                continue;
            };
            let at = |offsets: &BTreeMap<TopicPartition, Offset>| {
                offsets.get(&topic_partition).copied().unwrap_or_default()
            };
            let topic_id = match checkpoint::read_partition_metadata(storage, &path) {
                Ok(id) => id.unwrap_or_default(),
                // It is synced with the first flush: before that a crash may leave anything in it.
                Err(error) if error.kind() == io::ErrorKind::InvalidData && !clean => {
                    self.put_aside(&path, &topic_partition, &error)
                        .map_err(OpenError::at(&path))?;
                    continue;
                }
                Err(error) => return Err(OpenError::at(&path)(error)),
            };
            let open = OpenLog {
                topic_id,
                config: config_of(&topic_partition.topic),
                recovery_point: at(&recovery_points),
                log_start: at(&log_starts),
                clean,
                has_journal,
                topic_partition: topic_partition.clone(),
            };
            waiting.push((path, open, at(&high_watermarks)));
        }
        let journal = match clean {
            true => JournalContents::default(),
            false => journal_replay::read(storage, dir).map_err(OpenError::at(dir))?,
        };
        let empty_journal = || journal_replay::discard(storage, dir).map_err(OpenError::at(dir));
        if clean {
            empty_journal()?;
            storage.remove_file(&mark).map_err(OpenError::at(&mark))?;
            storage.sync_dir(dir).map_err(OpenError::at(dir))?;
        } else if !waiting.is_empty() {
            tracing::info!(dir = %dir.display(), logs = waiting.len(), "the last shutdown was not clean: recovering logs");
        }
        let mut found = self.open_all(waiting, threads.max(1), &journal, progress)?;
        if !clean {
            // Before there may be a journal: from then on a hole above a recovery point is a loss.
            let recovered = found.iter().map(|found| &found.log);
            let points = recovered.map(|log| (log.topic_partition().clone(), log.recovery_point()));
            let written = self.checkpoint(CheckpointKind::RecoveryPoint, dir, &points.collect());
            unless_full(written, dir, "its recovery points are not written yet")
                .map_err(OpenError::at(dir))?;
        }
        empty_journal()?;
        for FoundLog { log, .. } in &mut found {
            log.set_cleaner_checkpoint(cleaned.get(log.topic_partition()).copied());
        }
        Ok(found)
    }

    /// A log of which nobody knows whose it is: out of the way with it, for good where no record is in it.
    fn put_aside(
        &self,
        path: &Path,
        topic_partition: &TopicPartition,
        error: &io::Error,
    ) -> io::Result<()> {
        let entries = self.storage.list(path)?;
        if !entries
            .iter()
            .any(|entry| entry.name.ends_with(".log") && entry.len > 0)
        {
            tracing::info!(%error, "a log that never came to the disk is removed");
            return self.storage.remove_dir_all(path);
        }
        let stray = directory_name(topic_partition, STRAY_SUFFIX);
        let stray = path.parent().unwrap_or(path).join(stray);
        tracing::error!(%error, to = %stray.display(), "a log has lost its topic's id and is put aside");
        self.storage.rename(path, &stray)
    }

    /// In the order in which they are to be opened from the end: first those with the most to read, so that no
    /// thread is left alone with a long one.
    fn with_bytes_to_read(
        &self,
        waiting: Vec<Waiting>,
        threads: usize,
        progress: &RecoveryProgress,
    ) -> Result<Vec<Waiting>, OpenError> {
        let sized = Mutex::new(Vec::new());
        let errors = Mutex::new(None);
        parallel::for_each(waiting, threads, |waiting| {
            let (path, open, _) = &waiting;
            match recovery::bytes_to_read(&*self.storage, path, open) {
                Ok(bytes) => sized.lock().push((bytes, waiting)),
                Err(error) => *errors.lock() = Some(OpenError::at(path)(error)),
            }
        });
        if let Some(error) = errors.into_inner() {
            return Err(error);
        }
        let mut sized = sized.into_inner();
        progress.expect(sized.len(), sized.iter().map(|(bytes, _)| bytes).sum());
        sized.sort_by_key(|(bytes, _)| *bytes);
        Ok(sized.into_iter().map(|(_, waiting)| waiting).collect())
    }

    fn open_all(
        &self,
        waiting: Vec<Waiting>,
        threads: usize,
        journal: &JournalContents,
        progress: &RecoveryProgress,
    ) -> Result<Vec<FoundLog>, OpenError> {
        let waiting = self.with_bytes_to_read(waiting, threads, progress)?;
        let results = Mutex::new(Vec::new());
        parallel::for_each(waiting, threads, |(path, open, high_watermark)| {
            let bytes_read = |bytes| progress.bytes_read(bytes);
            let clean = open.clean;
            let log = recovery::open(Arc::clone(&self.storage), &path, open, &bytes_read)
                .and_then(|mut log| {
                    let is_future = log.is_future();
                    // The journal is of logs, not of their copies.
                    if !is_future {
                        journal.replay(&mut log)?;
                    }
                    if !clean {
                        flush_recovered(&mut log)?;
                    }
                    Ok(FoundLog {
                        log,
                        is_future,
                        high_watermark,
                    })
                })
                .map_err(OpenError::at(&path));
            progress.log_opened();
            results.lock().push(log);
        });
        results.into_inner().into_iter().collect()
    }

    /// An empty log. Its directory is made when `PartitionLog::ensure_made` is called, or by the first append: committed
    /// metadata would have it made again.
    pub fn create(
        &self,
        topic_partition: &TopicPartition,
        topic_id: TopicId,
        config: LogConfig,
        dir: &LogDir,
    ) -> io::Result<PartitionLog> {
        if !dir.is_online() {
            return Err(LogDirOffline::error());
        }
        let path = dir.path().join(topic_partition.to_string());
        if self.storage.exists(&path) {
            let stray = dir
                .path()
                .join(directory_name(topic_partition, STRAY_SUFFIX));
            tracing::error!(dir = %path.display(), to = %stray.display(), "there is a log where a new one is to be: it is put aside");
            self.storage.rename(&path, &stray)?;
        }
        dir.log_added();
        let storage = Arc::clone(&self.storage);
        let (name, id) = (topic_partition.clone(), topic_id);
        Ok(recovery::unmade(storage, &path, name, id, config))
    }

    /// Takes a log's directory out of use under another name; its files go after the delay, when nobody
    /// reads them any more.
    pub fn delete(&self, log: &mut PartitionLog, now: TimestampMs) -> io::Result<()> {
        let from = log.directory().to_owned();
        let name = directory_name(log.topic_partition(), DELETE_SUFFIX);
        let to = log.parent_directory().join(name);
        if let Some(dir) = self.dir_of(&from) {
            dir.log_removed();
        }
        if !log.is_made() {
            return Ok(());
        }
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
        self.remove_doomed_that(|_, remove_at| remove_at <= now);
    }

    /// Removes what has been renamed in a directory, however short ago: its disk is full.
    pub fn remove_doomed_in(&self, dir: &LogDir) {
        self.remove_doomed_that(|path, _| path.starts_with(dir.path()));
    }

    fn remove_doomed_that(&self, is_due: impl Fn(&Path, TimestampMs) -> bool) {
        let due: Vec<DoomedFiles> = {
            let mut doomed = self.doomed.lock();
            let (due, later) = doomed.drain(..).partition(|files| {
                let path = files.paths.first();
                path.is_none_or(|path| is_due(path, files.remove_at))
            });
            *doomed = later;
            due
        };
        let online = |path: &PathBuf| self.dir_of(path).is_none_or(|dir| dir.is_online());
        for files in due {
            if !files.paths.iter().all(online) {
                continue;
            }
            if let Err(error) = files.remove(&*self.storage) {
                tracing::warn!(%error, "deleted segments could not be removed");
            }
        }
        let due: Vec<PathBuf> = {
            let mut doomed = self.doomed_dirs.lock();
            let (due, later): (Vec<_>, Vec<_>) = doomed
                .drain(..)
                .partition(|(path, remove_at)| is_due(path, *remove_at));
            *doomed = later;
            due.into_iter().map(|(dir, _)| dir).collect()
        };
        for dir in due.into_iter().filter(online) {
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
            CheckpointKind::Cleaner => checkpoint::CLEANER_OFFSETS,
        };
        checkpoint::write_offsets(&*self.storage, &dir.join(name), offsets)
    }

    /// The last word of a clean shutdown of a directory: every log in it is closed, every checkpoint written. What
    /// that wrote is synced here, before the mark says so.
    pub fn mark_clean(&self, dir: &LogDir) -> io::Result<()> {
        self.storage.sync_file_system(dir.path())?;
        let path = dir.path().join(checkpoint::CLEAN_SHUTDOWN);
        write_atomically(&*self.storage, &path, br#"{"version":0,"brokerEpoch":-1}"#)
    }
}

/// What a crash has left in the page cache may not be on disk; who reads the log once it is led must not have to wait
/// for that. Where there is no room for it now, the flusher does it later.
fn flush_recovered(log: &mut PartitionLog) -> io::Result<()> {
    let flushed = log.flush_now();
    unless_full(
        flushed,
        log.directory(),
        "a recovered log is not flushed yet",
    )
}

/// What can wait for room does.
fn unless_full(done: io::Result<()>, at: &Path, what: &str) -> io::Result<()> {
    match done {
        Err(error) if is_disk_full(&error) || is_process_limit(&error) => {
            tracing::warn!(at = %at.display(), %error, "{what}");
            Ok(())
        }
        done => done,
    }
}

/// Kafka's name for the directory of a partition that is out of use. Its topic is cut where the name would be
/// too long for a file system.
pub(super) fn directory_name(topic_partition: &TopicPartition, suffix: &str) -> String {
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckpointKind {
    RecoveryPoint,
    HighWatermark,
    LogStartOffset,
    /// Up to where logs were compacted.
    Cleaner,
}

#[cfg(test)]
#[path = "log_manager_tests.rs"]
mod tests;
