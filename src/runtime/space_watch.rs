//! Looks how full the log directories are, and acts on it: one thread.
//!
//! A produce only loads what was written here. Below the floor of a directory it refuses, what retention lets go
//! there is deleted at once, and so are files that wait for their delay: readers hold theirs open.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::maintenance::{self, MaintenanceStop};
use super::node::Node;
use super::partitions::Partitions;
use crate::config::BrokerConfig;
use crate::log::{LogDir, MinFree, Refused};
use crate::types::TimestampMs;

/// How often more room is looked for in a directory that is too full.
const RELIEVE_INTERVAL: Duration = Duration::from_secs(2);
/// Where nothing is left to look at.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(1);

/// The thread's life.
pub fn run(node: &Arc<Node>, stop: &MaintenanceStop) {
    let mut looked = Instant::now();
    let mut relieved = Instant::now();
    loop {
        let now = Instant::now();
        let next = look(&node.partitions, &node.config(), now - looked);
        looked = now;
        if now - relieved >= RELIEVE_INTERVAL || next.became_full {
            relieve(&node.partitions, node.now());
            relieved = now;
        }
        if stop.wait_until(Instant::now() + next.look_again) {
            return;
        }
    }
}

/// What a look at all directories found.
#[derive(Debug)]
pub struct Looked {
    pub look_again: Duration,
    pub became_full: bool,
}

/// Brings the free space of each directory up to date.
pub fn look(partitions: &Partitions, config: &BrokerConfig, since: Duration) -> Looked {
    let min_free = MinFree {
        bytes: config.log_dirs_min_free_bytes,
        percent: config.log_dirs_min_free_percent,
    };
    let mut looked = Looked {
        look_again: LOOK_AT_LEAST_EVERY,
        became_full: false,
    };
    for dir in partitions.logs().dirs() {
        // One that fails in it says so itself.
        if let Ok(space) = partitions.logs().space(dir.path()) {
            let seen = dir.space().look(space, min_free, since);
            looked.look_again = looked.look_again.min(seen.next);
            if seen.before != seen.now {
                tell(dir, seen.before, seen.now);
                looked.became_full |= seen.now > seen.before;
            }
        }
    }
    looked
}

fn tell(dir: &LogDir, before: Refused, now: Refused) {
    let (path, free, floor) = (
        dir.path().display(),
        dir.space().usable(),
        dir.space().floor(),
    );
    match (before, now) {
        (_, Refused::Nobody) => {
            tracing::info!(dir = %path, free, floor, "a log directory has room again: producers are served");
        }
        (Refused::Nobody, Refused::Producers) => tracing::error!(
            dir = %path, free, floor,
            "a log directory is too full: producers are refused (KAFKA_STORAGE_ERROR) until an eighth more than the \
             floor is free; reads and deletions go on. Delete topics or records, shorten retention, or enlarge the \
             disk; log.dirs.min.free.bytes and log.dirs.min.free.percent set the floor"
        ),
        (_, Refused::Producers) => {
            tracing::warn!(dir = %path, free, floor, "a log directory is too full for producers only");
        }
        (_, Refused::CoordinatorsToo) => tracing::error!(
            dir = %path, free, floor,
            "a log directory is below half of its floor: groups cannot commit offsets there, either, and no topics \
             are created. Delete topics or records, or enlarge the disk"
        ),
    }
}

/// Deletes what may be deleted in the directories that are too full.
pub fn relieve(partitions: &Partitions, now: TimestampMs) {
    let full = |dir: &LogDir| dir.is_online() && dir.space().refused() > Refused::Nobody;
    if !partitions.logs().dirs().iter().any(|dir| full(dir)) {
        return;
    }
    for partition in partitions.all() {
        if partition.is_online()
            && full(&partition.dir())
            && let Err(error) = partition.with_log(|log| log.roll_if_all_deleted())
        {
            tracing::debug!(%partition, %error, "a segment of deleted records stays");
        }
    }
    maintenance::delete_old_segments(partitions, now, full);
    for dir in partitions.logs().dirs() {
        if full(dir) {
            partitions.logs().remove_doomed_in(dir);
        }
    }
}

#[cfg(test)]
#[path = "space_watch_tests.rs"]
mod tests;
