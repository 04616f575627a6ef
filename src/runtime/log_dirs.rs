//! The log directories of a running node: each with its flusher, and what follows when one fails.
//!
//! A partition that meets a failed directory answers so at once, by the directory's own flag. The one thread
//! here then takes every other partition of it offline, wakes who waits, and has the controller told; when the metadata's directory or
//! the last one is gone, the node is told to stop. Owns no file.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::flusher::Flusher;
use super::partitions::Partitions;
use crate::controller::command::ApiError;
use crate::controller::records::DirectoryId;
use crate::error::ErrorCode;
use crate::log::{Journal, LogDir, LogManager, Refused};
use crate::types::TopicPartition;

/// Where a partition's log lies.
#[derive(Debug, Clone)]
pub struct Place {
    pub dir: Arc<LogDir>,
    pub flusher: Arc<Flusher>,
}

impl Place {
    pub fn id(&self) -> Option<DirectoryId> {
        self.dir.id().map(|id| DirectoryId(id.0))
    }
}

/// Wishes for partitions that are not here that are remembered.
const PREFERRED_AT_MOST: usize = 10_000;

#[derive(Debug)]
pub struct LogDirs {
    /// As configured; the first holds the metadata.
    places: Vec<Place>,
    fatal: watch::Sender<Option<String>>,
    /// Where AlterReplicaLogDirs wants logs that do not exist yet.
    preferred: Mutex<HashMap<TopicPartition, Arc<LogDir>>>,
}

impl LogDirs {
    /// `journal_bytes` is the size of a journal file; 0: without journals.
    pub fn new(logs: &LogManager, journal_bytes: u64) -> Self {
        let journal = |dir: &LogDir| {
            let storage = Arc::clone(logs.storage());
            let dir = dir.path().to_owned();
            (journal_bytes > 0).then(|| Journal::new(storage, dir, journal_bytes))
        };
        let places = logs
            .dirs()
            .iter()
            .map(|dir| Place {
                dir: Arc::clone(dir),
                flusher: Arc::new(Flusher::new(journal(dir))),
            })
            .collect();
        Self {
            places,
            fatal: watch::Sender::new(None),
            preferred: Mutex::default(),
        }
    }

    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Of a path below one of them.
    pub fn place_of(&self, path: &Path) -> Option<&Place> {
        self.places
            .iter()
            .find(|place| path.starts_with(place.dir.path()))
    }

    pub(super) fn prefer(&self, name: &TopicPartition, place: &Place) {
        let mut preferred = self.preferred.lock();
        if preferred.len() < PREFERRED_AT_MOST || preferred.contains_key(name) {
            preferred.insert(name.clone(), Arc::clone(&place.dir));
        }
    }

    pub(super) fn take_preferred(&self, name: &TopicPartition) -> Option<Arc<LogDir>> {
        self.preferred.lock().remove(name)
    }

    pub fn offline(&self) -> usize {
        self.places
            .iter()
            .filter(|place| !place.dir.is_online())
            .count()
    }

    /// Those that get no new logs.
    pub fn cordoned(&self) -> Vec<DirectoryId> {
        let cordoned = self.places.iter().filter(|place| place.dir.is_cordoned());
        cordoned.filter_map(Place::id).collect()
    }

    pub fn all_online(&self) -> bool {
        self.offline() == 0
    }

    /// Why nothing may be created now: the directory of the metadata keeps its last room for what must be
    /// written.
    pub fn refuse_creation(&self) -> Option<ApiError> {
        let dir = &self.places.first()?.dir;
        (dir.space().refused() == Refused::CoordinatorsToo).then(|| {
            ApiError::new(
                ErrorCode::KafkaStorageError,
                format!(
                    "The log directory {} is too full: {} bytes are free. Delete topics or records, or enlarge the disk.",
                    dir.path().display(),
                    dir.space().usable()
                ),
            )
        })
    }

    /// Resolves when the node cannot go on without what has failed.
    pub async fn failed(&self) -> String {
        let mut fatal = self.fatal.subscribe();
        match fatal.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            // The sender lives as long as this does.
            Err(_) => std::future::pending().await,
        }
    }

    fn on_failure(&self, dir: &LogDir, partitions: usize) {
        let dir_path = dir.path().display();
        tracing::error!(dir = %dir_path, partitions, "the partitions of a failed log directory are offline");
        let why = dir.failure().unwrap_or_default();
        let first = self.places.first();
        let fatal = if first.is_some_and(|place| !place.dir.is_online()) {
            format!(
                "the log directory {dir_path}, which holds the cluster's metadata, has failed ({why})"
            )
        } else if self.offline() == self.places.len() {
            format!("all log directories have failed, the last one {dir_path} ({why})")
        } else {
            return;
        };
        // Who waits for it stops the node.
        self.fatal.send_replace(Some(fatal));
    }
}

/// The thread's life: until the channel is closed.
pub fn handle_failures(partitions: &Partitions) {
    while let Some(dir) = partitions.logs().failures().take_next() {
        let closed = partitions.close_dir(&dir);
        if let Some(id) = dir.id() {
            partitions.assignments().add_failed(DirectoryId(id.0));
        }
        partitions.log_dirs().on_failure(&dir, closed);
    }
}

#[cfg(test)]
#[path = "log_dirs_tests.rs"]
mod tests;
