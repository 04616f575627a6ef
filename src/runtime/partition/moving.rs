//! A partition's log moves to another directory while it is served: the copy beside the log, and the moment in which
//! they change places.
//!
//! The copy is behind a lock of its own, taken before the partition's where both are: no request waits for its disk. In the swap flushes are held: what is durable does not move, all of it is in the copy and on its
//! disk, and the rest is copied under the partition's lock. Nothing becomes durable again before the new name
//! of the copy is, and the old log is out of the way.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Partition, State};
use crate::log::storage::read_exact_at;
use crate::log::{AppendError, LogConfig, LogDir, LogManager, PartitionLog, ReadError};
use crate::runtime::log_dirs::Place;
use crate::types::{Offset, TimestampMs};

/// So much is copied at most while the partition's lock is held.
const LAST_PIECE_BYTES: u64 = 256 << 10;

/// The copy of a log that moves.
#[derive(Debug)]
pub struct FutureLog {
    log: Mutex<PartitionLog>,
    pub place: Place,
}

impl FutureLog {
    /// Runs something short on it.
    pub fn with_log<T>(&self, look: impl FnOnce(&mut PartitionLog) -> T) -> T {
        look(&mut self.log.lock())
    }

    fn flush(&self) -> io::Result<()> {
        let work = self.log.lock().begin_flush_of_all()?;
        let point = work.up_to;
        work.run()?;
        self.log.lock().finish_flush(point);
        Ok(())
    }

    pub(super) fn close_clean(&self) -> io::Result<()> {
        self.flush()?;
        self.log.lock().close_clean()
    }
}

/// Why a step of a move was not made.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// Cancelled, deleted, or the log's own directory has failed.
    #[error("the move is over")]
    Over,
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<AppendError> for MoveError {
    fn from(error: AppendError) -> Self {
        MoveError::Io(match error {
            AppendError::Disk(error) => error,
            error => io::Error::other(error.to_string()),
        })
    }
}

impl From<ReadError> for MoveError {
    fn from(error: ReadError) -> Self {
        MoveError::Io(match error {
            ReadError::Io(error) => error,
            error => io::Error::other(error.to_string()),
        })
    }
}

/// What came of an attempt to change places.
#[derive(Debug, PartialEq, Eq)]
pub enum Swap {
    Done,
    /// A flush or the cleaner is at work on the log: try again soon.
    InUse,
    /// Too much was appended meanwhile: copy on.
    Behind,
}

impl Partition {
    /// The copy, while there is one.
    pub fn future(&self) -> Option<Arc<FutureLog>> {
        self.state.lock().future.clone()
    }

    pub fn future_dir(&self) -> Option<Arc<LogDir>> {
        self.future().map(|future| Arc::clone(&future.place.dir))
    }

    /// Makes an empty copy in another directory.
    pub fn begin_move(&self, logs: &LogManager, place: Place) -> io::Result<()> {
        let mut state = self.state.lock();
        // None begins while there is a copy (Kafka pauses it, too).
        if state.log.is_being_cleaned() {
            state.log.abort_cleaning();
        }
        let log = logs.create_future(&mut state.log, &place.dir)?;
        state.future = Some(Arc::new(FutureLog {
            log: Mutex::new(log),
            place,
        }));
        Ok(())
    }

    /// A copy that a former life has left.
    pub fn continue_move(&self, mut log: PartitionLog, place: Place) {
        let mut state = self.state.lock();
        log.set_config(LogConfig::from(&*state.config));
        state.future = Some(Arc::new(FutureLog {
            log: Mutex::new(log),
            place,
        }));
    }

    /// The move is over without having been one. Whose files the copy's are, is the caller's to decide.
    pub fn cancel_move(self: &Arc<Self>) -> Option<Arc<FutureLog>> {
        let mut state = self.state.lock();
        let future = state.future.take();
        self.release_flushes(&mut state);
        future
    }

    /// Copies what comes next, about `max_bytes` of it. How many bytes those were: 0 when the copy has everything.
    pub fn copy_to_future(&self, max_bytes: usize, now: TimestampMs) -> Result<u64, MoveError> {
        let future = self.future().ok_or(MoveError::Over)?;
        let mut copy = future.log.lock();
        let (end, epoch) = (copy.log_end_offset(), copy.latest_epoch());
        // The copy's lock is this thread's own: nobody takes it and then the partition's.
        let (bounds, slice) = {
            let state = self.state.lock();
            if state.unmovable(&future) {
                return Err(MoveError::Over);
            }
            let bounds = state.log.copy_bounds(end, epoch);
            let from = bounds.valid_end.max(bounds.log_start);
            let log_end = state.log.log_end_offset();
            (bounds, state.log.read(from, max_bytes, log_end, true)?)
        };
        copy.keep_to(bounds)?;
        let Some(slice) = slice else {
            return Ok(0);
        };
        let mut bytes = vec![0; slice.len as usize];
        read_exact_at(&*slice.file, &mut bytes, slice.position)?;
        copy.append_copied(&bytes, now)?;
        Ok(bytes.len() as u64)
    }

    /// Brings the copy to disk.
    pub fn flush_future(&self) -> Result<(), MoveError> {
        let future = self.future().ok_or(MoveError::Over)?;
        Ok(future.flush()?)
    }

    /// Nothing is flushed from here on. False while a flush is under way that began before.
    fn hold_flushes(&self) -> bool {
        let mut state = self.state.lock();
        state.flushes_held = true;
        !state.log.is_flushing()
    }

    fn release_flushes(self: &Arc<Self>, state: &mut State) {
        if std::mem::take(&mut state.flushes_held) {
            state.queued_to_flush = false;
            state.flush_timer = false;
            self.advance_high_watermark(state);
        }
    }

    /// The copy, which has caught up, takes the log's place.
    pub fn swap_with_future(
        self: &Arc<Self>,
        logs: &LogManager,
        now: TimestampMs,
    ) -> Result<Swap, MoveError> {
        if !self.hold_flushes() {
            return Ok(Swap::InUse);
        }
        let swapped = self.try_swap(logs, now);
        let mut state = self.state.lock();
        self.release_flushes(&mut state);
        swapped
    }

    fn try_swap(self: &Arc<Self>, logs: &LogManager, now: TimestampMs) -> Result<Swap, MoveError> {
        let future = self.future().ok_or(MoveError::Over)?;
        // What is durable stands still now: all of it goes to the copy's disk.
        let durable = self.state.lock().log.durable_offset();
        while future.with_log(|log| log.log_end_offset()) < durable {
            if self.copy_to_future(LAST_PIECE_BYTES as usize, now)? == 0 {
                break;
            }
        }
        future.flush()?;
        let mut copy = future.log.lock();
        let mut old = {
            let mut state = self.state.lock();
            if state.unmovable(&future) {
                return Err(MoveError::Over);
            }
            if state.log.is_being_cleaned() {
                state.log.abort_cleaning();
                return Ok(Swap::InUse);
            }
            if state.log.is_flushing() {
                return Ok(Swap::InUse);
            }
            if !state.copy_last_piece(&mut copy, durable, now)? {
                return Ok(Swap::Behind);
            }
            logs.promote(&mut copy)?;
            std::mem::swap(&mut state.log, &mut *copy);
            state.place = future.place.clone();
            state.future = None;
            copy
        };
        // Served from the new place already; what was appended since is not durable before this is.
        if let Err(error) = logs.finish_promotion(&future.place.dir, &mut old, now) {
            tracing::warn!(partition = %self, %error, "the old directory of a moved log is still there");
        }
        Ok(Swap::Done)
    }
}

impl State {
    fn unmovable(&self, future: &Arc<FutureLog>) -> bool {
        let same = |mine: &Arc<FutureLog>| Arc::ptr_eq(mine, future);
        !self.future.as_ref().is_some_and(same)
            || self.closed.is_some()
            || !self.place.dir.is_online()
            || !future.place.dir.is_online()
    }

    /// Copies what little is missing. False when it is too much, or what is durable is not on the copy's disk.
    fn copy_last_piece(
        &mut self,
        copy: &mut PartitionLog,
        durable: Offset,
        now: TimestampMs,
    ) -> Result<bool, MoveError> {
        let mut left = LAST_PIECE_BYTES;
        loop {
            let bounds = self
                .log
                .copy_bounds(copy.log_end_offset(), copy.latest_epoch());
            copy.keep_to(bounds)?;
            if copy.log_end_offset() == self.log.log_end_offset() {
                break;
            }
            let slice = self.log.read(
                copy.log_end_offset(),
                left as usize,
                self.log.log_end_offset(),
                false,
            )?;
            let Some(slice) = slice else {
                return Ok(false);
            };
            let mut bytes = vec![0; slice.len as usize];
            read_exact_at(&*slice.file, &mut bytes, slice.position)?;
            copy.append_copied(&bytes, now)?;
            left = left.saturating_sub(u64::from(slice.len));
        }
        copy.take_state_of(&self.log)?;
        Ok(copy.recovery_point() >= durable.min(self.log.log_end_offset()))
    }
}

#[cfg(test)]
#[path = "moving_tests.rs"]
mod tests;
