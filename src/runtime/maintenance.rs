//! What logs need from time to time: retention, checkpoints, forgetting silent producers, removing files whose
//! time has come. One thread; nothing here is in the way of a request for longer than a partition's lock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::node::Node;
use super::partition::Partition;
use super::partitions::Partitions;
use crate::log::{CheckpointKind, LogDir};
use crate::types::TimestampMs;

/// How often files whose delay may be over are looked for.
const REMOVE_INTERVAL: Duration = Duration::from_secs(1);

/// Stops the thread.
#[derive(Debug, Default)]
pub struct MaintenanceStop {
    stopping: Mutex<bool>,
    told: Condvar,
}

impl MaintenanceStop {
    pub fn stop(&self) {
        *self.stopping.lock() = true;
        self.told.notify_all();
    }

    /// True when it is time to stop.
    pub(super) fn wait_until(&self, deadline: Instant) -> bool {
        let mut stopping = self.stopping.lock();
        while !*stopping {
            if self.told.wait_until(&mut stopping, deadline).timed_out() {
                return *stopping;
            }
        }
        true
    }
}

#[derive(Debug, Clone, Copy)]
enum Task {
    Retention,
    RecoveryPoints,
    LogStarts,
    HighWatermarks,
    Producers,
    RemoveFiles,
}

/// The thread's life.
pub fn run(node: &Arc<Node>, stop: &MaintenanceStop) {
    let config = node.config();
    let ms = |value: i64| Duration::from_millis(u64::try_from(value.max(1)).unwrap_or(1));
    let mut tasks = [
        (Task::Retention, ms(config.log_retention_check_interval_ms)),
        (
            Task::RecoveryPoints,
            ms(i64::from(config.log_flush_offset_checkpoint_interval_ms)),
        ),
        (
            Task::LogStarts,
            ms(i64::from(
                config.log_flush_start_offset_checkpoint_interval_ms,
            )),
        ),
        (
            Task::HighWatermarks,
            ms(config.replica_high_watermark_checkpoint_interval_ms),
        ),
        (
            Task::Producers,
            ms(i64::from(config.producer_id_expiration_check_interval_ms)),
        ),
        (Task::RemoveFiles, REMOVE_INTERVAL),
    ]
    .map(|(task, interval)| (task, interval, Instant::now() + interval));
    while let Some(next) = tasks.iter().map(|(_, _, due)| *due).min() {
        if stop.wait_until(next) {
            return;
        }
        let now = Instant::now();
        for (task, interval, due) in &mut tasks {
            if *due <= now {
                perform(node, *task);
                *due = Instant::now() + *interval;
            }
        }
    }
}

fn perform(node: &Node, task: Task) {
    let checkpoint = |kind| node.partitions.checkpoints().write(&node.partitions, kind);
    match task {
        Task::Retention => {
            delete_old_segments(&node.partitions, node.now(), |_| true);
            node.partitions.logs().close_idle_files();
        }
        Task::RecoveryPoints => {
            checkpoint(CheckpointKind::RecoveryPoint);
            checkpoint(CheckpointKind::Cleaner);
        }
        Task::LogStarts => checkpoint(CheckpointKind::LogStartOffset),
        Task::HighWatermarks => checkpoint(CheckpointKind::HighWatermark),
        Task::Producers => {
            let kept = i64::from(node.config().producer_id_expiration_ms);
            let silent_since = TimestampMs(node.now().0 - kept);
            for partition in node.partitions.all() {
                partition.with_log(|log| log.expire_producers(silent_since));
            }
        }
        Task::RemoveFiles => {
            node.partitions.logs().remove_doomed(node.now());
            node.metrics.run_upkeep();
        }
    }
}

/// Those of a directory that has failed are left alone.
fn online(partitions: &Partitions) -> impl Iterator<Item = Arc<Partition>> {
    let all = partitions.all().into_iter();
    all.filter(|partition| partition.is_online())
}

/// What retention lets go in these directories.
pub(super) fn delete_old_segments(
    partitions: &Partitions,
    now: TimestampMs,
    wanted: impl Fn(&LogDir) -> bool,
) {
    for partition in online(partitions).filter(|partition| wanted(&partition.dir())) {
        delete_old_segments_of(partitions, &partition, now);
    }
}

/// Leaves a log alone that is being cleaned.
pub(super) fn delete_old_segments_of(
    partitions: &Partitions,
    partition: &Partition,
    now: TimestampMs,
) {
    match partition.delete_old_segments(now) {
        Ok(Some(files)) => {
            tracing::info!(%partition, files = files.paths.len(), "old segments are deleted");
            partitions.logs().doom(files);
        }
        Ok(None) => {}
        Err(error) if !partition.is_online() => {
            tracing::debug!(%partition, %error, "old segments stay");
        }
        Err(error) => {
            tracing::error!(%partition, %error, "old segments could not be deleted");
        }
    }
}
