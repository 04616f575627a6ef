//! What an append is asked, and what it answers.
//!
//! The appending itself is in `append_as_leader` and `append_as_follower`.

use std::io;

use super::producer_state_manager::SequenceError;
use crate::error::ErrorCode;
use crate::protocol::record_batch::BatchError;
use crate::types::{Offset, TimestampMs};

/// Who appends: a coordinator's batches are this broker's own work and are not doubted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOrigin {
    Client,
    Coordinator,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendInfo {
    pub first_offset: Offset,
    pub last_offset: Offset,
    pub max_timestamp: TimestampMs,
    /// With `message.timestamp.type=LogAppendTime`.
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
    Sequence(#[from] SequenceError),
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
            AppendError::Sequence(SequenceError::StaleEpoch { .. }) => {
                ErrorCode::InvalidProducerEpoch
            }
            AppendError::Sequence(SequenceError::OutOfOrder { .. }) => {
                ErrorCode::OutOfOrderSequenceNumber
            }
            AppendError::Disk(_) => ErrorCode::KafkaStorageError,
        }
    }

    pub fn is_disk_failure(&self) -> bool {
        matches!(self, AppendError::Disk(_))
    }

    /// What Kafka tells besides the code: only where records are to blame.
    pub fn client_message(&self) -> Option<String> {
        match self {
            AppendError::Batch(_) if self.code() == ErrorCode::InvalidRecord => {
                Some(self.to_string())
            }
            AppendError::Timestamps { message, .. } | AppendError::Records { message, .. } => {
                Some(message.clone())
            }
            _ => None,
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
