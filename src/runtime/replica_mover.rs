//! Moves logs between the directories of this broker: what Kafka's `ReplicaAlterLogDirsManager` and its threads do.
//!
//! One queue, `num.replica.alter.log.dirs.threads` threads; each takes the next partition, makes one step of its move
//! and puts it back behind the others. The copying of all together is slowed down to
//! `replica.alter.log.dirs.io.max.bytes.per.second`. A move that has caught up is told to the controller before it is
//! done (KIP-858): from then on the new directory is where the log is missed if it is not there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::directory_assignments::{self, NotAssigned};
use super::node::Node;
use super::partition::Partition;
use super::partition::moving::{MoveError, Swap};
use super::partitions::Partitions;
use crate::controller::command::DirectoryAssignment;
use crate::controller::records::DirectoryId;
use crate::log::{Refused, is_disk_full, is_process_limit};
use crate::types::TimestampMs;

const PIECE_BYTES: usize = 1 << 20;
/// After what passes: a full disk, a controller that is away.
const BACKOFF: Duration = Duration::from_secs(1);
/// A flush takes about so long.
const IN_USE_WAIT: Duration = Duration::from_millis(1);

#[derive(Debug)]
struct Move {
    partition: Arc<Partition>,
    due: Instant,
    /// The controller knows where the log will be.
    assigned: bool,
}

#[derive(Debug, Default)]
struct Queue {
    moves: VecDeque<Move>,
    stopping: bool,
    /// When the bytes that were copied are paid for.
    paid: Option<Instant>,
}

#[derive(Debug, Default)]
pub struct ReplicaMover {
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// What a step needs of the node.
pub struct MoveContext<'a> {
    pub partitions: &'a Partitions,
    pub now: TimestampMs,
    pub bytes_per_second: i64,
    pub assign: &'a dyn Fn(DirectoryAssignment) -> Result<(), NotAssigned>,
}

/// What comes after a step.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Again(Duration),
    Over,
}

impl ReplicaMover {
    pub fn add(&self, partition: Arc<Partition>) {
        self.queue.lock().moves.push_back(Move {
            partition,
            due: Instant::now(),
            assigned: false,
        });
        self.changed.notify_one();
    }

    pub fn stop(&self) {
        self.queue.lock().stopping = true;
        self.changed.notify_all();
    }

    /// A thread's life.
    pub fn run(&self, node: &Node, runtime: &tokio::runtime::Handle) {
        let assign =
            |assignment| runtime.block_on(directory_assignments::assign(node, vec![assignment]));
        while let Some(next) = self.take_next() {
            let context = MoveContext {
                partitions: &node.partitions,
                now: node.now(),
                bytes_per_second: node.config().replica_alter_log_dirs_io_max_bytes_per_second,
                assign: &assign,
            };
            self.step(next, &context);
        }
    }

    fn take_next(&self) -> Option<Move> {
        let mut queue = self.queue.lock();
        loop {
            if queue.stopping {
                return None;
            }
            let now = Instant::now();
            if let Some(at) = queue.moves.iter().position(|next| next.due <= now) {
                return queue.moves.remove(at);
            }
            match queue.moves.iter().map(|next| next.due).min() {
                Some(due) => {
                    self.changed.wait_until(&mut queue, due);
                }
                None => self.changed.wait(&mut queue),
            }
        }
    }

    fn step(&self, mut next: Move, context: &MoveContext<'_>) {
        let wait = match self.try_step(&mut next, context) {
            Ok(Next::Over) => return,
            Err(MoveError::Over) => {
                context.partitions.note_where_it_is(&next.partition);
                return;
            }
            Ok(Next::Again(wait)) => wait,
            Err(MoveError::Io(error)) if is_disk_full(&error) || is_process_limit(&error) => {
                BACKOFF
            }
            Err(MoveError::Io(error)) => {
                // A directory that has failed in it says so itself.
                tracing::error!(partition = %next.partition, %error, "a log cannot be moved");
                next.partition.cancel_move();
                context.partitions.note_where_it_is(&next.partition);
                return;
            }
        };
        next.due = Instant::now() + wait;
        self.queue.lock().moves.push_back(next);
        self.changed.notify_one();
    }

    fn try_step(&self, next: &mut Move, context: &MoveContext<'_>) -> Result<Next, MoveError> {
        let partition = &next.partition;
        let Some(dir) = partition.future_dir() else {
            return Err(MoveError::Over);
        };
        if dir.space().refused() > Refused::Nobody {
            return Ok(Next::Again(BACKOFF));
        }
        let copied = partition.copy_to_future(PIECE_BYTES, context.now)?;
        if copied > 0 {
            return Ok(Next::Again(self.pay(copied, context.bytes_per_second)));
        }
        partition.flush_future()?;
        if !next.assigned {
            let Some(directory) = dir.id() else {
                return Err(MoveError::Over);
            };
            let assignment = DirectoryAssignment {
                topic_id: partition.topic_id,
                partition: partition.index,
                directory: DirectoryId(directory.0),
            };
            if let Err(error) = (context.assign)(assignment) {
                tracing::warn!(%partition, %error, "where a log moves to could not be told to the controller");
                return Ok(Next::Again(BACKOFF));
            }
            next.assigned = true;
        }
        match partition.swap_with_future(context.partitions.logs(), context.now)? {
            Swap::Done => {
                tracing::info!(%partition, dir = %dir.path().display(), "a log has been moved");
                Ok(Next::Over)
            }
            Swap::InUse => Ok(Next::Again(IN_USE_WAIT)),
            Swap::Behind => Ok(Next::Again(Duration::ZERO)),
        }
    }

    /// How long to wait for so many bytes to have been copied no faster than allowed.
    fn pay(&self, bytes: u64, bytes_per_second: i64) -> Duration {
        let Some(rate) = u64::try_from(bytes_per_second)
            .ok()
            .filter(|rate| *rate > 0)
        else {
            return Duration::ZERO;
        };
        let cost = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let now = Instant::now();
        let mut queue = self.queue.lock();
        let from = queue.paid.map_or(now, |paid| paid.max(now));
        let paid = from.checked_add(cost).unwrap_or(from);
        queue.paid = Some(paid);
        paid - now
    }
}

#[cfg(test)]
#[path = "replica_mover_tests.rs"]
mod tests;
