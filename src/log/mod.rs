//! The partition log (DESIGN §6): Kafka's own layout on disk, over the file traits of `storage`.
//!
//! `LogManager` owns the directories, `PartitionLog` one partition's files. Nothing here knows of
//! networks, leaders or replicas.

mod append;
mod append_as_follower;
mod append_as_leader;
mod batch_scan;
pub mod block_writer;
mod checkpoint;
pub mod cleaner;
#[cfg(test)]
pub(crate) mod cold;
#[cfg(test)]
pub(crate) mod crash;
#[cfg(test)]
pub(crate) mod fault;
mod flush;
mod free_space;
#[cfg(test)]
mod full_disk_tests;
mod future_log;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod index_file;
mod journal;
mod journal_replay;
mod leader_epoch_cache;
mod log_config;
mod log_dir;
mod log_dir_storage;
mod log_manager;
mod log_segment;
mod log_validator;
pub mod memory;
#[cfg(test)]
mod model_tests;
mod offset_index;
mod open_files;
mod partition_log;
mod producer_recovery;
mod producer_snapshot;
mod producer_state_manager;
mod read;
mod recovery;
mod recovery_progress;
mod retention;
mod segment_reader;
pub mod storage;
#[cfg(test)]
pub(crate) mod test_log;
#[cfg(test)]
pub(crate) mod test_txn;
mod time_index;
mod transaction_index;
#[cfg(test)]
mod transaction_tests;
mod truncate;

pub use append::{AppendError, AppendInfo, AppendOrigin, RecordProblem};
pub use flush::{FlushPoint, FlushWork, JournalPart};
pub use free_space::{FreeSpace, MinFree, Refused};
pub use future_log::{CopyBounds, can_be_moved};
pub use journal::{Journal, JournalError};
pub use leader_epoch_cache::LeaderEpochCache;
pub use log_config::{CompactionConfig, LogConfig};
pub use log_dir::{LogDir, LogDirFailureChannel, LogDirOffline};
pub use log_dir_storage::{is_disk_full, is_process_limit};
pub use log_manager::{CheckpointKind, FoundLog, LogManager, OpenError, ZAB_DIR};
pub use log_validator::{Validated, validate};
pub use partition_log::{FetchedSlice, PartitionLog, ReadError, TimestampOffset};
pub use producer_state_manager::{ProducerEntry, ProducerStateManager};
pub use recovery::{OpenLog, open};
pub use recovery_progress::RecoveryProgress;
pub use retention::DoomedFiles;
pub use segment_reader::{NotCached, Reads};
pub use transaction_index::AbortedTxn;
