//! Drives one shard of the group coordinator: requests in, one batch a decision, replies out when they may.
//!
//! State is behind a short lock, never held across an await. A decision's records are appended and replayed
//! under it, so that the next decision sees them. What waits for a commit stands in one queue in log order;
//! the shard's one task waits for the queue's head and for the next deadline, and for nothing when
//! there is neither.
//!
//! Invariants: every request is answered exactly once; nothing that stands for a record leaves before the
//! record is below the high watermark; after `unload` nothing is appended.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::error::ErrorCode;
use crate::group::command::{Command, Reply, Request};
use crate::group::records::Record;
use crate::group::{
    GroupConfig, GroupCoordinator, GroupCoordinatorShard, GroupCoordinatorState, GroupDecision,
    Pending,
};
use crate::protocol::batch_builder::BatchBuilder;
use crate::protocol::compression::Compression;
use crate::state_machine::{Coordinator, Now, Outcome, Release, ReplyToken, Tick};
use crate::types::{Offset, PartitionId, ProducerId, TimestampMs};

/// What was appended, and how its commit will be told; `None` when it is committed already.
#[derive(Debug)]
pub struct LogAppend {
    pub base_offset: Offset,
    pub commit: Option<oneshot::Receiver<Result<(), ErrorCode>>>,
}

/// The partition that a shard writes to.
pub trait CoordinatorLog: std::fmt::Debug + Send + Sync + 'static {
    /// Appends one batch, if this node still leads in the shard's epoch.
    fn append(&self, batch: &[u8], now: TimestampMs) -> Result<LogAppend, ErrorCode>;
    /// The largest batch it takes.
    fn max_batch_bytes(&self) -> usize;
}

/// How a shard runs.
#[derive(Debug, Clone)]
pub struct ShardOptions {
    pub group: Arc<GroupConfig>,
    /// `offsets.commit.timeout.ms`
    pub commit_timeout: Duration,
    /// `offsets.topic.compression.codec`
    pub compression: Compression,
}

/// How far a head of the queue is.
#[derive(Debug)]
enum Commit {
    Waiting(oneshot::Receiver<Result<(), ErrorCode>>),
    /// The task holds the receiver.
    Watched,
    Done,
}

/// What waits until everything up to one append is committed.
#[derive(Debug)]
struct Held {
    commit: Commit,
    until: Instant,
    replies: Vec<(ReplyToken, Reply)>,
    pending: Option<Pending>,
}

#[derive(Debug)]
struct State {
    hard: GroupCoordinatorState,
    soft: GroupCoordinatorShard,
    held: VecDeque<Held>,
    waiting: HashMap<ReplyToken, oneshot::Sender<Reply>>,
    next_token: u64,
    unloaded: bool,
}

#[derive(Debug)]
pub struct RunningShard<L> {
    log: L,
    options: ShardOptions,
    started: Instant,
    state: Mutex<State>,
    /// The queue has a new head, or a deadline has come closer.
    changed: Notify,
}

impl<L: CoordinatorLog> RunningShard<L> {
    /// Makes the groups of a loaded partition live, and starts the shard's task.
    pub fn start(log: L, options: ShardOptions, hard: GroupCoordinatorState) -> Arc<Self> {
        let shard = Arc::new(Self {
            log,
            started: Instant::now(),
            state: Mutex::new(State {
                soft: GroupCoordinatorShard::new(options.group.clone()),
                hard,
                held: VecDeque::new(),
                waiting: HashMap::new(),
                next_token: 0,
                unloaded: false,
            }),
            options,
            changed: Notify::new(),
        });
        shard.command(Command::Load);
        tokio::spawn(Arc::clone(&shard).run_task());
        shard
    }

    /// Asks the shard; the reply comes when it may leave.
    pub async fn request(&self, request: Request) -> Reply {
        let gone = request.refuse(ErrorCode::NotCoordinator);
        let receiver = {
            let mut state = self.state.lock();
            if state.unloaded {
                return gone;
            }
            let token = ReplyToken(state.next_token);
            state.next_token += 1;
            let (sender, receiver) = oneshot::channel();
            state.waiting.insert(token, sender);
            let command = Command::Request { token, request };
            self.decide(&mut state, command);
            receiver
        };
        receiver.await.unwrap_or(gone)
    }

    /// Tells the shard something that nobody waits for.
    pub fn command(&self, command: Command) {
        let mut state = self.state.lock();
        if !state.unloaded {
            self.decide(&mut state, command);
        }
    }

    /// The leadership is gone: everybody is told, nothing more is written.
    pub fn unload(&self) {
        let mut state = self.state.lock();
        if state.unloaded {
            return;
        }
        state.unloaded = true;
        for held in std::mem::take(&mut state.held) {
            for (token, reply) in held.replies {
                state.answer(token, reply.failed(ErrorCode::NotCoordinator));
            }
        }
        let State { hard, soft, .. } = &mut *state;
        let decision = GroupCoordinator::decide(hard, soft, Command::Unload, self.now());
        for out in decision.replies {
            state.answer(out.token, out.reply);
        }
        self.changed.notify_one();
    }

    /// Every committed offset, for lag: group, topic, partition, offset.
    pub fn for_each_offset(&self, mut each: impl FnMut(&Arc<str>, &Arc<str>, PartitionId, Offset)) {
        let state = self.state.lock();
        for (group, topic, partition, known) in state.hard.offsets().iter() {
            each(group, topic, PartitionId(partition), known.value.offset);
        }
    }

    /// How many groups are in each state, by Kafka's name of it.
    pub fn for_each_group(&self, mut each: impl FnMut(&Arc<str>, &'static str)) {
        let state = self.state.lock();
        for group in state.soft.groups() {
            each(&group.group_id, group.state.name());
        }
    }

    fn now(&self) -> Now {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            wall: TimestampMs(i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)),
            tick: Tick(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)),
        }
    }

    fn decide(&self, state: &mut State, command: Command) {
        let now = self.now();
        let (head, deadline) = state.next_events();
        let decision = GroupCoordinator::decide(&state.hard, &mut state.soft, command, now);
        self.carry_out(state, decision, now);
        // The task sleeps towards what it knew: wake it only for something sooner.
        let (head_now, deadline_now) = state.next_events();
        let sooner = deadline_now.is_some_and(|at| deadline.is_none_or(|before| at < before));
        if sooner || (head_now && !head) {
            self.changed.notify_one();
        }
    }

    /// Does what a decision asks for, and what comes of that.
    fn carry_out(&self, state: &mut State, decision: GroupDecision, now: Now) {
        let mut work = VecDeque::from([decision]);
        while let Some(decision) = work.pop_front() {
            let appended = self.append(state, &decision, now);
            let mut after = Vec::new();
            for out in decision.replies {
                match (out.release, &appended) {
                    (Release::AtOnce, _) => state.answer(out.token, out.reply),
                    (Release::WhenCommitted, Err(error)) => {
                        state.answer(out.token, out.reply.failed(*error));
                    }
                    (Release::WhenCommitted, Ok(_)) => after.push((out.token, out.reply)),
                }
            }
            match (appended, decision.pending) {
                (Err(error), Some(pending)) => {
                    let outcome = Outcome::NotAppended(error);
                    work.push_back(state.settle(pending, outcome, now));
                }
                (Err(_), None) => {}
                (Ok(commit), pending) => self.hold(state, commit, after, pending),
            }
            while state.head_is_done() {
                work.extend(state.release_head(Outcome::Committed, now));
            }
        }
    }

    /// Appends and replays a decision's records. `Ok(None)`: there were none.
    fn append(
        &self,
        state: &mut State,
        decision: &GroupDecision,
        now: Now,
    ) -> Result<Option<Commit>, ErrorCode> {
        let mut commit = None;
        let mut rest = decision.records.as_slice();
        while !rest.is_empty() {
            let limit = match decision.splittable {
                true => self.log.max_batch_bytes(),
                false => usize::MAX,
            };
            let (batch, count) = self.batch(rest, limit, now);
            let appended = self.log.append(&batch, now.wall).inspect_err(|error| {
                tracing::warn!(log = ?self.log, %error, "group records could not be appended");
            })?;
            let (written, later) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            for (record, delta) in written.iter().zip(0..) {
                let offset = appended.base_offset.plus(delta);
                GroupCoordinator::replay(&mut state.hard, record, offset, ProducerId::NONE);
                log_group(record);
            }
            rest = later;
            commit = Some(match appended.commit {
                Some(receiver) => Commit::Waiting(receiver),
                None => Commit::Done,
            });
        }
        Ok(commit)
    }

    /// One batch of as many records as fit (at least one), and how many those are.
    fn batch(&self, records: &[Record], limit: usize, now: Now) -> (Vec<u8>, usize) {
        let mut batch = BatchBuilder::new(Offset::ZERO, self.options.compression);
        let mut count = 0;
        for record in records {
            let (key, value) = record.encode();
            // Length, attributes, deltas and no headers take less than this.
            let size = key.len() + value.as_ref().map_or(0, Vec::len) + 40;
            if count > 0 && batch.uncompressed_bytes() + size > limit {
                break;
            }
            batch.append(now.wall, Some(&key), value.as_deref(), &[]);
            count += 1;
        }
        (batch.build(), count)
    }

    /// Queues what has to wait for a commit: its own, or all those before it.
    fn hold(
        &self,
        state: &mut State,
        commit: Option<Commit>,
        replies: Vec<(ReplyToken, Reply)>,
        pending: Option<Pending>,
    ) {
        if commit.is_none() && pending.is_none() {
            if let Some(last) = state.held.back_mut() {
                last.replies.extend(replies);
            } else {
                for (token, reply) in replies {
                    state.answer(token, reply);
                }
            }
            return;
        }
        state.held.push_back(Held {
            commit: commit.unwrap_or(Commit::Done),
            until: Instant::now() + self.options.commit_timeout,
            replies,
            pending,
        });
    }

    async fn run_task(self: Arc<Self>) {
        let mut watched: Option<(oneshot::Receiver<Result<(), ErrorCode>>, Instant)> = None;
        loop {
            let deadline = {
                let mut state = self.state.lock();
                if state.unloaded {
                    return;
                }
                if watched.is_none() {
                    watched = state.watch_head();
                }
                GroupCoordinator::next_deadline(&state.soft)
            };
            tokio::select! {
                outcome = committed(&mut watched) => {
                    watched = None;
                    self.head_ended(outcome);
                }
                () = self.sleep_until(deadline) => self.fire(),
                () = self.changed.notified() => {}
            }
        }
    }

    async fn sleep_until(&self, deadline: Option<Tick>) {
        match deadline {
            Some(tick) => {
                tokio::time::sleep_until(self.started + Duration::from_millis(tick.0)).await;
            }
            None => std::future::pending().await,
        }
    }

    fn head_ended(&self, outcome: Outcome) {
        let mut state = self.state.lock();
        if state.unloaded {
            return;
        }
        let now = self.now();
        // Even when nothing was left open: later appends may have been committed with this one.
        let decision = state.release_head(outcome, now).unwrap_or_default();
        self.carry_out(&mut state, decision, now);
    }

    fn fire(&self) {
        let mut state = self.state.lock();
        let now = self.now();
        while !state.unloaded
            && GroupCoordinator::next_deadline(&state.soft).is_some_and(|due| due <= now.tick)
        {
            let State { hard, soft, .. } = &mut *state;
            let decision = GroupCoordinator::on_deadline(hard, soft, now);
            self.carry_out(&mut state, decision, now);
        }
    }
}

/// A line for each change of a group that is stored: rebalances are rare, and worth knowing of.
fn log_group(record: &Record) {
    if let Record::GroupMetadata { group, value } = record {
        match value {
            Some(value) => tracing::info!(
                group = &**group,
                generation = value.generation,
                protocol = value.protocol.as_deref(),
                members = value.members.len(),
                "group stored"
            ),
            None => tracing::info!(group = &**group, "group gone"),
        }
    }
}

/// Waits for the watched append, or for nothing when there is none.
async fn committed(
    watched: &mut Option<(oneshot::Receiver<Result<(), ErrorCode>>, Instant)>,
) -> Outcome {
    let Some((receiver, until)) = watched else {
        return std::future::pending().await;
    };
    match tokio::time::timeout_at(*until, receiver).await {
        Ok(Ok(Ok(()))) => Outcome::Committed,
        Ok(Ok(Err(error))) => Outcome::NotCommitted(error),
        Ok(Err(_)) => Outcome::NotCommitted(ErrorCode::NotLeaderOrFollower),
        Err(_) => Outcome::NotCommitted(ErrorCode::RequestTimedOut),
    }
}

impl State {
    fn answer(&mut self, token: ReplyToken, reply: Reply) {
        if let Some(sender) = self.waiting.remove(&token) {
            // A client that is gone needs no answer.
            let _ = sender.send(reply);
        }
    }

    /// Whether something waits for a commit, and when the next deadline is.
    fn next_events(&self) -> (bool, Option<Tick>) {
        let deadline = GroupCoordinator::next_deadline(&self.soft);
        (!self.held.is_empty(), deadline)
    }

    fn head_is_done(&self) -> bool {
        matches!(
            self.held.front(),
            Some(Held {
                commit: Commit::Done,
                ..
            })
        )
    }

    fn watch_head(&mut self) -> Option<(oneshot::Receiver<Result<(), ErrorCode>>, Instant)> {
        let head = self.held.front_mut()?;
        match std::mem::replace(&mut head.commit, Commit::Watched) {
            Commit::Waiting(receiver) => Some((receiver, head.until)),
            other => {
                head.commit = other;
                None
            }
        }
    }

    /// The head's append has ended: its replies leave, and what it left open goes on.
    fn release_head(&mut self, outcome: Outcome, now: Now) -> Option<GroupDecision> {
        let head = self.held.pop_front()?;
        for (token, reply) in head.replies {
            let reply = match outcome {
                Outcome::Committed => reply,
                Outcome::NotAppended(error) | Outcome::NotCommitted(error) => reply.failed(error),
            };
            self.answer(token, reply);
        }
        Some(self.settle(head.pending?, outcome, now))
    }

    fn settle(&mut self, pending: Pending, outcome: Outcome, now: Now) -> GroupDecision {
        GroupCoordinator::settle(&self.hard, &mut self.soft, pending, outcome, now)
    }
}

#[cfg(test)]
#[path = "group_coordinator_shard_tests.rs"]
mod tests;
