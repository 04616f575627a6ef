//! What an append is asked, and what it answers.
//!
//! The appending itself is in `append_as_leader` and `append_as_follower`.

use std::io;

use super::log_dir_storage::is_disk_full;
use super::producer_state_manager::ProducerStateError;
use crate::error::ErrorCode;
use crate::protocol::record_batch::BatchError;
use crate::types::{Offset, TimestampMs};

/// Who appends: a coordinator's batches are this broker's own work and are not doubted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOrigin {
    Client,
    Coordinator,
    /// A transaction coordinator's marker, under the rules of the transaction's version.
    Marker {
        transaction_version: i16,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendInfo {
    pub first_offset: Offset,
    pub last_offset: Offset,
    pub max_timestamp: TimestampMs,
    /// With `message.timestamp.type=LogAppendTime`, and of a duplicate.
    pub log_append_time: Option<TimestampMs>,
    pub log_start_offset: Offset,
    pub records: usize,
    /// 0 for a duplicate.
    pub bytes: usize,
    /// The batch was there already; the offsets are those it has.
    pub duplicate: bool,
}

/// One record that made its batch be refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordProblem {
    pub batch_index: i32,
    pub message: String,
}

/// Why nothing was appended. `Disk` is the disk's fault, `UnexpectedOffset` the leader's, the rest the client's.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error("{0}")]
    Batch(#[from] BatchError),
    #[error(
        "the record batch size in the append to {partition} is {size} bytes which exceeds the maximum configured value of {max}"
    )]
    TooLarge {
        partition: String,
        size: usize,
        max: i32,
    },
    #[error("{message}")]
    Timestamps {
        message: String,
        problems: Vec<RecordProblem>,
    },
    #[error("{message}")]
    Records {
        message: String,
        problems: Vec<RecordProblem>,
    },
    /// A batch that no segment may hold.
    #[error(
        "message batch size is {size} bytes in append to partition {partition}, which exceeds the maximum configured segment size of {max}"
    )]
    LargerThanSegment {
        partition: String,
        size: usize,
        max: u32,
    },
    #[error("{0}")]
    ProducerState(#[from] ProducerStateError),
    /// A leader's batch that does not follow what is here.
    #[error(
        "unexpected offset in append to {partition}: {found} is less than the next offset {log_end}"
    )]
    UnexpectedOffset {
        partition: String,
        found: Offset,
        log_end: Offset,
    },
    #[error("the disk: {0}")]
    Disk(#[from] io::Error),
}

impl AppendError {
    pub fn code(&self) -> ErrorCode {
        match self {
            AppendError::Batch(error) => error.code(),
            AppendError::TooLarge { .. } => ErrorCode::MessageTooLarge,
            AppendError::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
            AppendError::UnexpectedOffset { .. } => ErrorCode::UnknownServerError,
            AppendError::Timestamps { .. } => ErrorCode::InvalidTimestamp,
            AppendError::Records { .. } => ErrorCode::InvalidRecord,
            AppendError::ProducerState(error) => match error {
                ProducerStateError::StaleEpoch { .. } => ErrorCode::InvalidProducerEpoch,
                ProducerStateError::OutOfOrder { .. } => ErrorCode::OutOfOrderSequenceNumber,
                ProducerStateError::NotTransactional { .. } => ErrorCode::InvalidTxnState,
                ProducerStateError::CoordinatorFenced { .. } => {
                    ErrorCode::TransactionCoordinatorFenced
                }
            },
            AppendError::Disk(_) => ErrorCode::KafkaStorageError,
        }
    }

    pub fn is_disk_failure(&self) -> bool {
        matches!(self, AppendError::Disk(_))
    }

    /// What Kafka tells besides the code: only where records are to blame. And a full disk, which it does not know.
    pub fn client_message(&self) -> Option<String> {
        match self {
            AppendError::Timestamps { message, .. } | AppendError::Records { message, .. } => {
                Some(message.clone())
            }
            AppendError::Disk(error) if is_disk_full(error) => {
                Some("The disk of this partition's log directory is full.".to_owned())
            }
            _ => None,
        }
    }

    /// Whether Kafka tells where the log begins: where it had begun to look at the records.
    pub fn tells_log_start(&self) -> bool {
        match self {
            AppendError::Batch(error) => error.code() != ErrorCode::CorruptMessage,
            AppendError::Timestamps { .. }
            | AppendError::Records { .. }
            | AppendError::ProducerState(_) => true,
            AppendError::TooLarge { .. }
            | AppendError::LargerThanSegment { .. }
            | AppendError::UnexpectedOffset { .. }
            | AppendError::Disk(_) => false,
        }
    }

    pub fn record_errors(&self) -> &[RecordProblem] {
        match self {
            AppendError::Timestamps { problems, .. } | AppendError::Records { problems, .. } => {
                problems
            }
            _ => &[],
        }
    }
}
