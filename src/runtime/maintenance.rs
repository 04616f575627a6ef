//! What logs need from time to time: retention, checkpoints, forgetting silent producers, removing files whose
//! time has come. One thread; nothing here is in the way of a request for longer than a partition's lock.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::node::Node;
use super::partition::Partition;
use crate::log::CheckpointKind;
use crate::types::{Offset, TimestampMs, TopicPartition};

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
    fn wait_until(&self, deadline: Instant) -> bool {
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
    match task {
        Task::Retention => {
            delete_old_segments(node);
            for partition in node.partitions.all() {
                partition.with_log(|log| log.close_idle_files());
            }
        }
        Task::RecoveryPoints => checkpoint(node, CheckpointKind::RecoveryPoint),
        Task::LogStarts => checkpoint(node, CheckpointKind::LogStartOffset),
        Task::HighWatermarks => checkpoint(node, CheckpointKind::HighWatermark),
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

fn delete_old_segments(node: &Node) {
    for partition in node.partitions.all() {
        match partition.delete_old_segments(node.now()) {
            Ok(Some(files)) => {
                tracing::info!(%partition, files = files.paths.len(), "old segments are deleted");
                node.partitions.logs().doom(files);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%partition, %error, "old segments could not be deleted");
            }
        }
    }
}

/// Writes one kind of checkpoint of every directory.
pub fn checkpoint(node: &Node, kind: CheckpointKind) {
    let mut by_dir: BTreeMap<PathBuf, BTreeMap<TopicPartition, Offset>> = node
        .partitions
        .logs()
        .directories()
        .into_iter()
        .map(|dir| (dir, BTreeMap::new()))
        .collect();
    for partition in node.partitions.all() {
        let (dir, name) = place(&partition);
        let offsets = partition.offsets();
        let offset = match kind {
            CheckpointKind::RecoveryPoint => offsets.flushed,
            CheckpointKind::HighWatermark => offsets.high_watermark,
            CheckpointKind::LogStartOffset => offsets.log_start,
        };
        // A log start of 0 goes without saying.
        if kind == CheckpointKind::LogStartOffset && offset == Offset::ZERO {
            continue;
        }
        by_dir.entry(dir).or_default().insert(name, offset);
    }
    for (dir, offsets) in by_dir {
        write(node, kind, &dir, &offsets);
    }
}

fn place(partition: &Partition) -> (PathBuf, TopicPartition) {
    partition.with_log(|log| {
        (
            log.parent_directory().to_owned(),
            log.topic_partition().clone(),
        )
    })
}

fn write(
    node: &Node,
    kind: CheckpointKind,
    dir: &Path,
    offsets: &BTreeMap<TopicPartition, Offset>,
) {
    if let Err(error) = node.partitions.logs().checkpoint(kind, dir, offsets) {
        tracing::error!(dir = %dir.display(), ?kind, %error, "a checkpoint could not be written");
    }
}
