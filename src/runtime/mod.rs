//! What runs on tokio: the tasks, threads and locks that own the pure machines and the logs.
//!
//! `Node` is the one handle that every request gets. Nothing here decides what a test would need a
//! socket or a clock for; that is in the machines below.

pub mod checkpoints;
pub mod cold_reads;
pub mod collectors;
pub mod directory_assignments;
pub mod fetch;
mod fetch_waiter;
pub mod flusher;
pub mod group_coordinator;
mod group_coordinator_loader;
mod group_coordinator_shard;
pub mod log_cleaner;
pub mod log_dirs;
pub mod log_maker;
pub mod maintenance;
mod node;
pub mod partition;
mod partition_read;
pub mod partitions;
pub mod producer_id_manager;
#[cfg(test)]
mod read_committed_tests;
pub mod readiness;
pub mod replica_mover;
mod settling;
pub mod space_watch;
pub mod zab_link;
pub mod zab_peer;
pub mod zab_settings;

pub use node::{Node, NodeParts, wall_clock};

/// The runtime that everything asynchronous runs on: work stealing over `worker.threads` (by default
/// one for each processor). The one place that decides it.
pub fn build(worker_threads: usize) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if worker_threads > 0 {
        builder.worker_threads(worker_threads);
    }
    builder.thread_name("dohle-worker").enable_all().build()
}
