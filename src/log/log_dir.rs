//! One log directory: where it is, which it is, how many logs lie in it, and whether it can still be used.
//!
//! Shared by everything that touches its files. It fails once and for good: a disk whose writes or syncs have
//! failed is not believed again before a restart (KIP-112). Whoever notices tells it by `fail`; the
//! channel carries the news to the one who takes the partitions offline.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::{Condvar, Mutex};

use super::free_space::FreeSpace;
use crate::types::TopicId;

/// Said by every use of a directory that is offline.
#[derive(Debug, thiserror::Error)]
#[error("the log directory is offline")]
pub struct LogDirOffline;

impl LogDirOffline {
    pub(super) fn error() -> io::Error {
        io::Error::other(Self)
    }
}

#[derive(Debug)]
pub struct LogDir {
    path: PathBuf,
    /// `directory.id` (KIP-858), once `meta.properties` was read.
    id: OnceLock<TopicId>,
    offline: AtomicBool,
    /// It gets no new logs (KIP-1066).
    cordoned: AtomicBool,
    failure: OnceLock<String>,
    logs: AtomicUsize,
    space: FreeSpace,
    failures: Arc<LogDirFailureChannel>,
}

impl LogDir {
    pub fn new(path: PathBuf, failures: Arc<LogDirFailureChannel>) -> Self {
        Self {
            path,
            id: OnceLock::new(),
            offline: AtomicBool::new(false),
            cordoned: AtomicBool::new(false),
            failure: OnceLock::new(),
            logs: AtomicUsize::new(0),
            space: FreeSpace::default(),
            failures,
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `None` until it was read: of a directory that was offline from the start it never is.
    pub fn id(&self) -> Option<TopicId> {
        self.id.get().copied()
    }

    pub(super) fn identify(&self, id: TopicId) {
        // The same for the process's life.
        let _ = self.id.set(id);
    }

    pub fn is_online(&self) -> bool {
        !self.offline.load(Ordering::Acquire)
    }

    pub fn is_cordoned(&self) -> bool {
        self.cordoned.load(Ordering::Relaxed)
    }

    /// What it was before.
    pub fn set_cordoned(&self, cordoned: bool) -> bool {
        self.cordoned.swap(cordoned, Ordering::Relaxed)
    }

    /// What took it offline.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Takes it offline. Said once in the log; the rest follows by the channel. Safe under any lock.
    pub fn fail(self: &Arc<Self>, what: &str, error: &io::Error) {
        if self.failure.set(format!("{what}: {error}")).is_err() {
            return;
        }
        self.offline.store(true, Ordering::Release);
        tracing::error!(
            dir = %self.path.display(),
            %error,
            "a log directory has failed ({what}) and is offline: its partitions answer KAFKA_STORAGE_ERROR, the other \
             directories go on. Repair or replace the disk, then restart this server"
        );
        self.failures.push(Arc::clone(self));
    }

    /// The room it has, as it was last looked at.
    pub fn space(&self) -> &FreeSpace {
        &self.space
    }

    /// Logs that lie in it, ones that are moving in counted.
    pub fn log_count(&self) -> usize {
        self.logs.load(Ordering::Relaxed)
    }

    pub fn log_added(&self) {
        self.logs.fetch_add(1, Ordering::Relaxed);
    }

    pub fn log_removed(&self) {
        // A count that is wrong by a bug only places logs less evenly.
        let _ = self
            .logs
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |logs| {
                logs.checked_sub(1)
            });
    }
}

#[derive(Debug, Default)]
struct Queue {
    failed: VecDeque<Arc<LogDir>>,
    closed: bool,
}

/// From whoever sees a directory fail to the one thread that acts on it.
#[derive(Debug, Default)]
pub struct LogDirFailureChannel {
    queue: Mutex<Queue>,
    filled: Condvar,
}

impl LogDirFailureChannel {
    fn push(&self, dir: Arc<LogDir>) {
        self.queue.lock().failed.push_back(dir);
        self.filled.notify_one();
    }

    /// The next that failed; waits for one. `None` once the channel is closed.
    pub fn take_next(&self) -> Option<Arc<LogDir>> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(dir) = queue.failed.pop_front() {
                return Some(dir);
            }
            if queue.closed {
                return None;
            }
            self.filled.wait(&mut queue);
        }
    }

    pub fn close(&self) {
        self.queue.lock().closed = true;
        self.filled.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_fails_once_and_for_good() {
        let failures = Arc::new(LogDirFailureChannel::default());
        let dir = Arc::new(LogDir::new("/data".into(), Arc::clone(&failures)));
        assert!(dir.is_online() && dir.failure().is_none());
        dir.fail("a write failed", &io::Error::other("first"));
        dir.fail("a sync failed", &io::Error::other("second"));
        assert!(!dir.is_online());
        assert_eq!(dir.failure(), Some("a write failed: first"));
        assert!(Arc::ptr_eq(&failures.take_next().unwrap(), &dir));
        failures.close();
        assert!(failures.take_next().is_none(), "told once");
    }

    #[test]
    fn the_count_of_logs_does_not_wrap() {
        let dir = LogDir::new("/data".into(), Arc::default());
        dir.log_removed();
        dir.log_added();
        assert_eq!(dir.log_count(), 1);
    }
}
