//! One partition on this node: its log behind a short lock, who may write, how far it may be read,
//! and who waits for that.
//!
//! Invariants: the lock is never held across an await or a flush; log_start ≤ high_watermark ≤
//! log_end; the high watermark never goes back; a waiter for an offset is answered exactly once.
//! Decides nothing about leadership: that comes with the committed metadata.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::fetch_waiter::FetchWaiter;
use super::flusher::Flusher;
use crate::config::TopicConfig;
use crate::error::ErrorCode;
use crate::log::{
    AppendError, AppendInfo, AppendOrigin, FetchedSlice, LogConfig, PartitionLog, ReadError,
};
use crate::replication::high_watermark::{self, ReplicaProgress};
use crate::types::{LeaderEpoch, NodeId, Offset, PartitionId, TimestampMs, TopicId};

/// What has gone through a topic on this node since it started.
#[derive(Debug, Default)]
pub struct TopicCounters {
    pub messages_in: AtomicU64,
    pub bytes_in: AtomicU64,
    /// Offsets handed out to readers: what was compacted away in between counts, too.
    pub messages_out: AtomicU64,
    pub bytes_out: AtomicU64,
    pub failed_produces: AtomicU64,
}

/// Told to an `acks=all` producer when its records are below the high watermark, or never will be.
pub type CommitOutcome = Result<(), ErrorCode>;

/// Why an append was refused.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// This node does not lead the partition, or cannot.
    #[error("{0}")]
    Unavailable(ErrorCode),
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// An append that was made.
#[derive(Debug)]
pub struct Appended {
    pub info: AppendInfo,
    /// Resolves when the records are committed; `None` when they already are.
    pub commit: Option<oneshot::Receiver<CommitOutcome>>,
}

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
    /// The reader's log went another way: the leader's last common epoch and where it ends.
    pub diverging: Option<(LeaderEpoch, Offset)>,
}

/// Offsets as `/metrics` and the describing APIs show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionOffsets {
    pub log_start: Offset,
    pub high_watermark: Offset,
    pub log_end: Offset,
    pub flushed: Offset,
    pub size_bytes: u64,
    pub segments: usize,
}

#[derive(Debug)]
struct State {
    log: PartitionLog,
    /// `None` while another node leads.
    leading: Option<LeaderEpoch>,
    leader: NodeId,
    config: Arc<TopicConfig>,
    high_watermark: Offset,
    /// Bytes ever appended, and those of them that are below the high watermark.
    appended_bytes: u64,
    readable_bytes: u64,
    /// `appended_bytes` when the flush in flight began.
    flushing_bytes: u64,
    queued_to_flush: bool,
    commits: VecDeque<(Offset, oneshot::Sender<CommitOutcome>)>,
    readers: Vec<Arc<FetchWaiter>>,
    /// Set once: deleted, or its disk failed.
    closed: Option<ErrorCode>,
}

#[derive(Debug)]
pub struct Partition {
    pub topic: Arc<str>,
    pub topic_id: TopicId,
    pub index: PartitionId,
    pub counters: Arc<TopicCounters>,
    flusher: Arc<Flusher>,
    state: Mutex<State>,
}

impl Partition {
    pub fn new(
        log: PartitionLog,
        config: Arc<TopicConfig>,
        counters: Arc<TopicCounters>,
        flusher: Arc<Flusher>,
        high_watermark: Offset,
    ) -> Self {
        let bounded = high_watermark.clamp(log.log_start_offset(), log.log_end_offset());
        Self {
            topic: Arc::clone(&log.topic_partition().topic),
            topic_id: log.topic_id(),
            index: log.topic_partition().partition,
            counters,
            flusher,
            state: Mutex::new(State {
                log,
                leading: None,
                leader: NodeId::NONE,
                config,
                high_watermark: bounded,
                appended_bytes: 0,
                readable_bytes: 0,
                flushing_bytes: 0,
                queued_to_flush: false,
                commits: VecDeque::new(),
                readers: Vec::new(),
                closed: None,
            }),
        }
    }

    /// Committed metadata says who leads, from which epoch on.
    pub fn become_led(self: &Arc<Self>, leader: NodeId, epoch: LeaderEpoch, me: NodeId) {
        let mut state = self.state.lock();
        state.leader = leader;
        if leader == me {
            if state.leading != Some(epoch) {
                state.leading = Some(epoch);
                let end = state.log.log_end_offset();
                state.log.assign_epoch_start(epoch, end);
            }
        } else {
            state.leading = None;
            state.fail_waiters(ErrorCode::NotLeaderOrFollower);
        }
        self.advance_high_watermark(&mut state);
    }

    pub fn configure(self: &Arc<Self>, config: Arc<TopicConfig>) {
        let mut state = self.state.lock();
        state.log.set_config(LogConfig::from(&*config));
        state.config = config;
        self.advance_high_watermark(&mut state);
    }

    pub fn config(&self) -> Arc<TopicConfig> {
        Arc::clone(&self.state.lock().config)
    }

    /// Appends as the leader. With `wait` the answer says when the records are committed.
    pub fn append(
        self: &Arc<Self>,
        records: &[u8],
        origin: AppendOrigin,
        wait: bool,
        now: TimestampMs,
    ) -> Result<Appended, ProduceError> {
        let mut state = self.state.lock();
        let epoch = state.leading_epoch().map_err(ProduceError::Unavailable)?;
        let info = state
            .log
            .append_as_leader(records, epoch, origin, now)
            .inspect_err(|error| {
                if error.is_disk_failure() {
                    tracing::error!(partition = %self, %error, "the log cannot be written: the partition goes offline");
                }
            });
        let info = match info {
            Ok(info) => info,
            Err(error) => {
                if error.is_disk_failure() {
                    state.close(ErrorCode::KafkaStorageError);
                }
                return Err(error.into());
            }
        };
        state.appended_bytes += info.bytes as u64;
        self.counters
            .messages_in
            .fetch_add(info.records as u64, Ordering::Relaxed);
        self.counters
            .bytes_in
            .fetch_add(info.bytes as u64, Ordering::Relaxed);
        self.advance_high_watermark(&mut state);
        let target = info.last_offset.plus(1);
        let commit = (wait && state.high_watermark < target).then(|| {
            let (sender, receiver) = oneshot::channel();
            state.commits.push_back((target, sender));
            receiver
        });
        Ok(Appended { info, commit })
    }

    pub fn read(&self, request: ReadRequest) -> Result<ReadOutcome, ErrorCode> {
        let state = self.state.lock();
        state.check_epoch(request.current_leader_epoch)?;
        state.leading_epoch()?;
        let mut outcome = ReadOutcome {
            high_watermark: state.high_watermark,
            last_stable_offset: state.last_stable_offset(),
            log_start_offset: state.log.log_start_offset(),
            slice: None,
            diverging: None,
        };
        if request.last_fetched_epoch != LeaderEpoch::UNKNOWN {
            let (epoch, end) = state
                .log
                .end_offset_for_epoch(request.last_fetched_epoch)
                .ok_or(ErrorCode::OffsetOutOfRange)?;
            if epoch < request.last_fetched_epoch || end < request.offset {
                outcome.diverging = Some((epoch, end));
                return Ok(outcome);
            }
        }
        let bound = match request.isolation {
            Isolation::ReadUncommitted => state.high_watermark,
            Isolation::ReadCommitted => outcome.last_stable_offset,
        };
        outcome.slice = state
            .log
            .read(
                request.offset,
                request.max_bytes,
                bound,
                request.min_one_batch,
            )
            .map_err(|error| match error {
                ReadError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
                ReadError::Io(error) => {
                    tracing::error!(partition = %self, %error, "the log cannot be read");
                    ErrorCode::KafkaStorageError
                }
            })?;
        Ok(outcome)
    }

    /// Puts a waiting fetch on the list, or wakes it at once when there is already news of what it
    /// saw when it read.
    pub fn watch(&self, waiter: &Arc<FetchWaiter>, seen: Offset) {
        let mut state = self.state.lock();
        if state.high_watermark != seen || state.closed.is_some() || state.leading.is_none() {
            waiter.wake();
        } else {
            state.readers.push(Arc::clone(waiter));
        }
    }

    pub fn unwatch(&self, waiter: &Arc<FetchWaiter>) {
        let mut state = self.state.lock();
        if let Some(at) = state.readers.iter().position(|r| Arc::ptr_eq(r, waiter)) {
            state.readers.swap_remove(at);
        }
    }

    /// Runs something short on the log of a partition that this node leads.
    pub fn with_leader_log<T>(
        &self,
        current_leader_epoch: LeaderEpoch,
        look: impl FnOnce(LogView<'_>) -> T,
    ) -> Result<T, ErrorCode> {
        let mut state = self.state.lock();
        state.check_epoch(current_leader_epoch)?;
        let leader_epoch = state.leading_epoch()?;
        let (high_watermark, last_stable_offset) =
            (state.high_watermark, state.last_stable_offset());
        Ok(look(LogView {
            log: &mut state.log,
            leader_epoch,
            high_watermark,
            last_stable_offset,
        }))
    }

    /// Runs something short on the log, whoever leads.
    pub fn with_log<T>(&self, look: impl FnOnce(&mut PartitionLog) -> T) -> T {
        look(&mut self.state.lock().log)
    }

    pub fn count_failed_produce(&self) {
        self.counters
            .failed_produces
            .fetch_add(1, Ordering::Relaxed);
    }

    pub fn leader_epoch(&self) -> Result<LeaderEpoch, ErrorCode> {
        self.state.lock().leading_epoch()
    }

    pub fn offsets(&self) -> PartitionOffsets {
        let state = self.state.lock();
        PartitionOffsets {
            log_start: state.log.log_start_offset(),
            high_watermark: state.high_watermark,
            log_end: state.log.log_end_offset(),
            flushed: state.log.flushed_offset(),
            size_bytes: state.log.size_bytes(),
            segments: state.log.segment_count(),
        }
    }

    /// The flusher's part: what is unflushed now goes to disk outside the lock.
    pub(super) fn flush(self: &Arc<Self>) {
        let work = {
            let mut state = self.state.lock();
            state.queued_to_flush = false;
            if state.closed.is_some() {
                return;
            }
            state.flushing_bytes = state.appended_bytes;
            state.log.begin_flush()
        };
        let (up_to, result) = match work {
            Ok(None) => return,
            Ok(Some(work)) => (work.up_to, work.run()),
            Err(error) => (Offset::ZERO, Err(error)),
        };
        let mut state = self.state.lock();
        match result {
            Ok(()) => {
                state.log.finish_flush(up_to);
                self.advance_high_watermark(&mut state);
            }
            Err(error) => {
                tracing::error!(partition = %self, %error, "a flush failed: the partition goes offline");
                state.close(ErrorCode::KafkaStorageError);
            }
        }
    }

    /// Renames the segments that retention lets go.
    pub fn delete_old_segments(
        &self,
        now: TimestampMs,
    ) -> std::io::Result<Option<crate::log::DoomedFiles>> {
        let mut state = self.state.lock();
        let bound = state.high_watermark;
        state.log.delete_old_segments(bound, now)
    }

    /// For a clean shutdown: everything is flushed, and the directory says so.
    pub fn close_clean(self: &Arc<Self>) -> std::io::Result<()> {
        self.flush();
        let mut state = self.state.lock();
        state.close(ErrorCode::NotLeaderOrFollower);
        state.log.close_clean()
    }

    /// Takes the log away for good; whoever waits is told `code`.
    pub fn close(&self, code: ErrorCode) {
        self.state.lock().close(code);
    }

    fn advance_high_watermark(self: &Arc<Self>, state: &mut State) {
        if state.leading.is_none() || state.closed.is_some() {
            return;
        }
        let mine = ReplicaProgress {
            log_end: state.log.log_end_offset(),
            flushed: state.log.flushed_offset(),
        };
        let durable = state.config.durable_acks;
        let reached = high_watermark::advance(state.high_watermark, [mine], durable);
        let due = durable || state.log.flush_is_due();
        if due && mine.flushed < mine.log_end && !state.queued_to_flush {
            state.queued_to_flush = true;
            self.flusher.enqueue(Arc::clone(self));
        }
        if reached == state.high_watermark {
            return;
        }
        state.high_watermark = reached;
        let readable = if reached == mine.log_end {
            state.appended_bytes
        } else {
            state.flushing_bytes
        };
        let more = readable.saturating_sub(state.readable_bytes);
        state.readable_bytes = readable.max(state.readable_bytes);
        for reader in &state.readers {
            reader.bytes_readable(more);
        }
        while let Some((target, _)) = state.commits.front() {
            if *target > reached {
                break;
            }
            if let Some((_, sender)) = state.commits.pop_front() {
                // A producer that is gone needs no answer.
                let _ = sender.send(Ok(()));
            }
        }
    }
}

/// A log under its lock, with the marks that bound what others may see of it.
pub struct LogView<'a> {
    pub log: &'a mut PartitionLog,
    pub leader_epoch: LeaderEpoch,
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
}

impl State {
    fn leading_epoch(&self) -> Result<LeaderEpoch, ErrorCode> {
        match self.closed {
            Some(code) => Err(code),
            None => self.leading.ok_or(ErrorCode::NotLeaderOrFollower),
        }
    }

    /// KIP-320: a client that knows another epoch than this leader must look again.
    fn check_epoch(&self, client: LeaderEpoch) -> Result<(), ErrorCode> {
        match self.leading {
            Some(mine) if client != LeaderEpoch::UNKNOWN && client < mine => {
                Err(ErrorCode::FencedLeaderEpoch)
            }
            Some(mine) if client > mine => Err(ErrorCode::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }

    /// Without transactions everything committed is stable.
    fn last_stable_offset(&self) -> Offset {
        self.high_watermark
    }

    fn fail_waiters(&mut self, code: ErrorCode) {
        for (_, sender) in self.commits.drain(..) {
            let _ = sender.send(Err(code));
        }
        for reader in self.readers.drain(..) {
            reader.wake();
        }
    }

    fn close(&mut self, code: ErrorCode) {
        self.closed = Some(code);
        self.leading = None;
        self.fail_waiters(code);
    }
}

impl std::fmt::Display for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.index)
    }
}
