//! What a fetch asks of a partition, and what it is told.

use crate::error::ErrorCode;
use crate::log::{AbortedTxn, FetchedSlice, NotCached};
use crate::types::{LeaderEpoch, Offset};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
}

#[derive(Debug, Clone, Copy)]
pub struct ReadRequest {
    pub offset: Offset,
    pub max_bytes: usize,
    /// Give the first batch even when it is larger.
    pub min_one_batch: bool,
    pub isolation: Isolation,
    pub current_leader_epoch: LeaderEpoch,
    pub last_fetched_epoch: LeaderEpoch,
}

/// What a read found.
#[derive(Debug)]
pub struct ReadOutcome {
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
    pub log_start_offset: Offset,
    pub slice: Option<FetchedSlice>,
    /// There is more to read than the slice: behind the end of its segment, or than was asked for.
    pub more_readable: bool,
    /// To a reader of what is committed: the transactions in the slice that were aborted.
    pub aborted: Option<Vec<AbortedTxn>>,
    /// The reader's log went another way: the leader's last common epoch and where it ends.
    pub diverging: Option<(LeaderEpoch, Offset)>,
}

/// Why a read was not made.
#[derive(Debug)]
pub enum NotRead {
    Refused(ErrorCode),
    /// It would have to wait for the disk, and was not to.
    NotCached(NotCached),
}

impl From<ErrorCode> for NotRead {
    fn from(code: ErrorCode) -> Self {
        NotRead::Refused(code)
    }
}

impl ReadOutcome {
    /// How far the reader could see.
    pub fn bound(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadUncommitted => self.high_watermark,
            Isolation::ReadCommitted => self.last_stable_offset,
        }
    }
}
