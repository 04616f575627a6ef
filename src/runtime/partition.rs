//! One partition on this node: its log behind a short lock, who may write, how far it may be read,
//! and who waits for that.
//!
//! Invariants: the lock is never held across an await or a flush; log_start ≤ last_stable ≤ high_watermark ≤
//! log_end; the high watermark never goes back; a waiter for an offset is answered exactly once.
//! Decides nothing about leadership: that comes with the committed metadata.

mod flush;
pub mod moving;

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

pub(super) use self::flush::FlushStep;
use self::moving::FutureLog;
use super::fetch_waiter::FetchWaiter;
use super::log_dirs::Place;
use crate::config::TopicConfig;
use crate::error::ErrorCode;
use crate::log::{
    AppendError, AppendInfo, AppendOrigin, LogConfig, LogDir, PartitionLog, ProducerEntry,
    ReadError, Reads, is_disk_full, is_process_limit,
};
use crate::replication::high_watermark::{self, ReplicaProgress};
use crate::types::{LeaderEpoch, NodeId, Offset, PartitionId, ProducerId, TimestampMs, TopicId};

pub use super::partition_read::{Isolation, NotRead, ReadOutcome, ReadRequest};

/// The last of what was appended is taken to be in memory for so long.
const STAYS_CACHED: Duration = Duration::from_secs(30);

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
    /// Its log directory keeps what room is left: retriable.
    #[error(
        "The log directory of this partition is too full: {free} bytes are free, and {floor} are kept free."
    )]
    DiskFull { free: u64, floor: u64 },
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl ProduceError {
    pub fn code(&self) -> ErrorCode {
        match self {
            ProduceError::Unavailable(code) => *code,
            ProduceError::DiskFull { .. } => ErrorCode::KafkaStorageError,
            ProduceError::Append(error) => error.code(),
        }
    }
}

/// An append that was made.
#[derive(Debug)]
pub struct Appended {
    pub info: AppendInfo,
    /// Resolves when the records are committed; `None` when they already are.
    pub commit: Option<oneshot::Receiver<CommitOutcome>>,
}

/// Offsets as `/metrics` and the describing APIs show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionOffsets {
    pub log_start: Offset,
    pub high_watermark: Offset,
    pub log_end: Offset,
    /// Everything below is in the segment files on disk.
    pub recovery_point: Offset,
    pub size_bytes: u64,
    pub segments: usize,
}

#[derive(Debug)]
struct State {
    log: PartitionLog,
    place: Place,
    /// Its copy in another directory, while it moves.
    future: Option<Arc<FutureLog>>,
    /// Nothing is flushed while a copy takes the log's place.
    flushes_held: bool,
    /// `None` while another node leads.
    leading: Option<LeaderEpoch>,
    leader: NodeId,
    config: Arc<TopicConfig>,
    /// Where the log ended when this node began to lead it.
    leading_from: Offset,
    high_watermark: Offset,
    /// As the waiting readers were last told.
    last_stable_told: Offset,
    /// Bytes ever appended, and those of them that are below the high watermark.
    appended_bytes: u64,
    /// When the last of them came.
    appended_at: Option<Instant>,
    readable_bytes: u64,
    /// `appended_bytes` when the flush in flight began.
    flushing_bytes: u64,
    queued_to_flush: bool,
    /// `flush.ms` runs for what was appended.
    flush_timer: bool,
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
    state: Mutex<State>,
}

impl Partition {
    pub fn new(
        mut log: PartitionLog,
        config: Arc<TopicConfig>,
        counters: Arc<TopicCounters>,
        place: Place,
        high_watermark: Offset,
    ) -> Self {
        let bounded = high_watermark.clamp(log.log_start_offset(), log.log_end_offset());
        log.on_high_watermark_updated(bounded);
        Self {
            topic: Arc::clone(&log.topic_partition().topic),
            topic_id: log.topic_id(),
            index: log.topic_partition().partition,
            counters,
            state: Mutex::new(State {
                log,
                place,
                future: None,
                flushes_held: false,
                leading: None,
                leader: NodeId::NONE,
                config,
                leading_from: Offset::ZERO,
                high_watermark: bounded,
                last_stable_told: bounded,
                appended_bytes: 0,
                appended_at: None,
                readable_bytes: 0,
                flushing_bytes: 0,
                queued_to_flush: false,
                flush_timer: false,
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
                state.leading_from = state.log.log_end_offset();
                let start = state.leading_from;
                state.log.assign_epoch_start(epoch, start);
            }
        } else {
            state.leading = None;
            state.fail_waiters(ErrorCode::NotLeaderOrFollower);
        }
        self.advance_high_watermark(&mut state);
    }

    pub fn configure(self: &Arc<Self>, config: Arc<TopicConfig>) {
        let future = {
            let mut state = self.state.lock();
            state.log.set_config(LogConfig::from(&*config));
            state.config = Arc::clone(&config);
            self.advance_high_watermark(&mut state);
            state.future.clone()
        };
        if let Some(future) = future {
            future.with_log(|log| log.set_config(LogConfig::from(&*config)));
        }
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
        let space = state.place.dir.space();
        if !space.admits(origin) {
            return Err(ProduceError::DiskFull {
                free: space.usable(),
                floor: space.floor(),
            });
        }
        let info = match state.log.append_as_leader(records, epoch, origin, now) {
            Ok(info) => info,
            Err(error) => {
                if let AppendError::Disk(cause) = &error {
                    state.on_failed_write(self, cause);
                }
                return Err(error.into());
            }
        };
        state.appended_bytes += info.bytes as u64;
        state.appended_at = Some(Instant::now());
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

    /// Reads without waiting for the disk, or at whatever it takes: see `Reads`. Only `Reads::Blocking` is sure to be
    /// answered.
    pub fn read_as(&self, reads: Reads, request: ReadRequest) -> Result<ReadOutcome, NotRead> {
        let state = self.state.lock();
        state.check_epoch(request.current_leader_epoch)?;
        state.leading_epoch()?;
        let mut outcome = ReadOutcome {
            high_watermark: state.high_watermark,
            last_stable_offset: state.last_stable_offset(),
            log_start_offset: state.log.log_start_offset(),
            slice: None,
            more_readable: false,
            aborted: None,
            diverging: None,
        };
        if request.last_fetched_epoch != LeaderEpoch::UNKNOWN {
            let (epoch, end) = state
                .log
                .end_offset_for_epoch(request.last_fetched_epoch)
                .ok_or(NotRead::Refused(ErrorCode::OffsetOutOfRange))?;
            if epoch < request.last_fetched_epoch || end < request.offset {
                outcome.diverging = Some((epoch, end));
                return Ok(outcome);
            }
        }
        let found = state.read_log(reads, &request, &mut outcome);
        found.map_err(|error| match error {
            ReadError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange.into(),
            ReadError::NotCached(missing) => NotRead::NotCached(missing),
            ReadError::Io(error) => self.read_failed(&error).into(),
        })?;
        Ok(outcome)
    }

    /// Reads, whatever it takes.
    pub fn read(&self, request: ReadRequest) -> Result<ReadOutcome, ErrorCode> {
        match self.read_as(Reads::Blocking, request) {
            Ok(outcome) => Ok(outcome),
            Err(NotRead::Refused(code)) => Err(code),
            Err(NotRead::NotCached(_)) => Err(ErrorCode::KafkaStorageError),
        }
    }

    fn read_failed(&self, error: &io::Error) -> ErrorCode {
        tracing::error!(partition = %self, %error, "the log cannot be read");
        match error.kind() {
            // As Kafka's `CorruptRecordException`: another replica may have it whole.
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => ErrorCode::CorruptMessage,
            _ => ErrorCode::KafkaStorageError,
        }
    }

    /// Puts a waiting fetch on the list, or wakes it at once when there is already news of what it
    /// saw when it read.
    pub fn watch(&self, waiter: &Arc<FetchWaiter>, seen: &ReadOutcome) {
        let mut state = self.state.lock();
        let news = (seen.high_watermark, seen.last_stable_offset)
            != (state.high_watermark, state.last_stable_offset());
        if news || state.leading_epoch().is_err() {
            waiter.wake();
        } else {
            state.readers.push(Arc::clone(waiter));
        }
    }

    #[cfg(test)]
    pub(super) fn waiting_readers(&self) -> usize {
        self.state.lock().readers.len()
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
        let (high_watermark, last_stable_offset, leading_from) = (
            state.high_watermark,
            state.last_stable_offset(),
            state.leading_from,
        );
        Ok(look(LogView {
            log: &mut state.log,
            leader_epoch,
            leading_from,
            high_watermark,
            last_stable_offset,
        }))
    }

    /// The producers that the log knows, by id; a follower knows them, too.
    pub fn producers(&self) -> Result<Vec<(ProducerId, ProducerEntry)>, ErrorCode> {
        let state = self.state.lock();
        state.usable()?;
        let entries = state.log.producers().entries().into_iter();
        Ok(entries.map(|(id, entry)| (id, entry.clone())).collect())
    }

    /// Whether this node leads it and a transaction in it should have been ended long ago.
    pub fn has_late_transaction(&self, now: TimestampMs, max_timeout_ms: i64) -> bool {
        let state = self.state.lock();
        let producers = state.log.producers();
        state.leading_epoch().is_ok() && producers.has_late_transaction(now, max_timeout_ms)
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
            recovery_point: state.log.recovery_point(),
            size_bytes: state.log.size_bytes(),
            segments: state.log.segment_count(),
        }
    }

    /// Makes the directory of a new log, unless that is done or the partition is gone.
    pub(super) fn make_log(&self) {
        let mut state = self.state.lock();
        if state.closed.is_some() {
            return;
        }
        if let Err(error) = state.log.ensure_made() {
            // Its first append tries again, and says so to whoever sent it.
            tracing::error!(partition = %self, %error, "the directory of a new log cannot be made");
        }
    }

    /// Renames the segments that retention lets go.
    pub fn delete_old_segments(
        &self,
        now: TimestampMs,
    ) -> io::Result<Option<crate::log::DoomedFiles>> {
        let mut state = self.state.lock();
        let bound = state.high_watermark;
        state.log.delete_old_segments(bound, now)
    }

    /// For a clean shutdown: everything is flushed, and the directory says so.
    pub fn close_clean(self: &Arc<Self>) -> io::Result<()> {
        self.flush();
        let future = {
            let mut state = self.state.lock();
            state.close(ErrorCode::NotLeaderOrFollower);
            state.log.close_clean()?;
            state.future.take()
        };
        future.map_or(Ok(()), |future| future.close_clean())
    }

    /// The log directory that the log lies in.
    pub fn dir(&self) -> Arc<LogDir> {
        Arc::clone(&self.state.lock().place.dir)
    }

    /// Whether its log can be used.
    pub fn is_online(&self) -> bool {
        let state = self.state.lock();
        state.closed != Some(ErrorCode::KafkaStorageError) && state.place.dir.is_online()
    }

    /// Takes the log away for good; whoever waits is told `code`.
    pub fn close(&self, code: ErrorCode) {
        self.state.lock().close(code);
    }

    fn advance_high_watermark(self: &Arc<Self>, state: &mut State) {
        // What a directory that has failed says it has is not believed.
        if state.leading_epoch().is_err() {
            return;
        }
        let mine = ReplicaProgress {
            log_end: state.log.log_end_offset(),
            durable: state.log.durable_offset(),
        };
        let durable = state.config.durable_acks;
        let reached = high_watermark::advance(state.high_watermark, [mine], durable);
        let due = durable || state.log.flush_is_due();
        if due && mine.durable < mine.log_end && !state.queued_to_flush {
            state.queued_to_flush = true;
            state.place.flusher.enqueue(Arc::clone(self));
        }
        if !durable && mine.durable < mine.log_end {
            self.start_flush_timer(state);
        }
        if reached == state.high_watermark {
            state.tell_last_stable();
            return;
        }
        state.high_watermark = reached;
        state.log.on_high_watermark_updated(reached);
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
        state.tell_last_stable();
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
    /// Where the log ended when the epoch began.
    pub leading_from: Offset,
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
}

impl State {
    /// Whoever leads.
    fn usable(&self) -> Result<(), ErrorCode> {
        match self.closed {
            Some(code) => Err(code),
            None if !self.place.dir.is_online() => Err(ErrorCode::KafkaStorageError),
            None => Ok(()),
        }
    }

    fn leading_epoch(&self) -> Result<LeaderEpoch, ErrorCode> {
        self.usable()?;
        self.leading.ok_or(ErrorCode::NotLeaderOrFollower)
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

    fn was_appended_lately(&self) -> bool {
        self.appended_at
            .is_some_and(|at| at.elapsed() < STAYS_CACHED)
    }

    /// Everything below is decided, and the decision cannot be lost.
    fn last_stable_offset(&self) -> Offset {
        self.log
            .first_unstable_offset()
            .map_or(self.high_watermark, |first| first.min(self.high_watermark))
    }

    /// Wakes who waits for decisions when there are some.
    fn tell_last_stable(&mut self) {
        let last_stable = self.last_stable_offset();
        if last_stable != self.last_stable_told {
            self.last_stable_told = last_stable;
            for reader in &self.readers {
                reader.more_is_stable();
            }
        }
    }

    /// Puts what is there into the outcome.
    fn read_log(
        &self,
        reads: Reads,
        request: &ReadRequest,
        outcome: &mut ReadOutcome,
    ) -> Result<(), ReadError> {
        let bound = outcome.bound(request.isolation);
        let (offset, max_bytes) = (request.offset, request.max_bytes);
        let log = &self.log;
        outcome.slice = log.read_as(reads, offset, max_bytes, bound, request.min_one_batch)?;
        if let Some(slice) = &mut outcome.slice {
            slice.is_recent &= self.was_appended_lately();
        }
        let next = outcome.slice.as_ref().map(|slice| slice.next_offset);
        outcome.more_readable = next.is_some_and(|next| next.is_none_or(|next| next < bound));
        if request.isolation == Isolation::ReadCommitted {
            outcome.aborted = Some(match next {
                Some(next) => log.collect_aborted_as(reads, offset, next.unwrap_or(bound))?,
                None => Vec::new(),
            });
        }
        Ok(())
    }

    fn fail_waiters(&mut self, code: ErrorCode) {
        for (_, sender) in self.commits.drain(..) {
            let _ = sender.send(Err(code));
        }
        for reader in self.readers.drain(..) {
            reader.wake();
        }
    }

    /// A write that failed has changed nothing. A full disk, or a process at its limits, may take the next one;
    /// what else there is takes the log away.
    fn on_failed_write(&mut self, partition: &Partition, error: &io::Error) {
        if is_disk_full(error) || is_process_limit(error) {
            tracing::warn!(%partition, %error, "a write failed: the producer tries again");
        } else {
            if self.place.dir.is_online() {
                tracing::error!(%partition, %error, "the log cannot be written: the partition goes offline");
            }
            self.close(ErrorCode::KafkaStorageError);
        }
    }

    fn flush_failed(&mut self, error: &io::Error) {
        if self.closed.is_none() {
            self.place.dir.fail("a flush failed", error);
            self.close(ErrorCode::KafkaStorageError);
        }
    }

    fn close(&mut self, code: ErrorCode) {
        self.closed = Some(code);
        self.leading = None;
        self.log.abort_cleaning();
        self.fail_waiters(code);
    }
}

impl std::fmt::Display for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.index)
    }
}
