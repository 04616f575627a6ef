//! The partition log (DESIGN §6): Kafka's own layout on disk, over the file traits of `storage`.
//!
//! `LogManager` owns the directories, `PartitionLog` one partition's files. Nothing here knows of
//! networks, leaders or replicas.

mod append;
mod append_as_follower;
mod append_as_leader;
mod batch_scan;
mod checkpoint;
#[cfg(test)]
pub(crate) mod crash;
mod flush;
mod leader_epoch_cache;
mod log_config;
mod log_manager;
mod log_segment;
mod log_validator;
pub mod memory;
#[cfg(test)]
mod model_tests;
mod offset_index;
mod partition_log;
mod producer_snapshot;
mod producer_state_manager;
mod read;
mod recovery;
mod retention;
pub mod storage;
#[cfg(test)]
pub(crate) mod test_log;
mod time_index;
mod truncate;

pub use append::{AppendError, AppendInfo, AppendOrigin, RecordProblem};
pub use flush::FlushWork;
pub use leader_epoch_cache::LeaderEpochCache;
pub use log_config::LogConfig;
pub use log_manager::{CheckpointKind, FoundLog, LogManager, OpenError, RecoveryProgress, ZAB_DIR};
pub use partition_log::{FetchedSlice, PartitionLog, ReadError, TimestampOffset};
pub use producer_state_manager::{ProducerEntry, ProducerStateManager};
pub use recovery::{OpenLog, open};
pub use retention::DoomedFiles;
