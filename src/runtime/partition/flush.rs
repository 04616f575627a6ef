//! A partition's way to disk: what its flusher takes up, and what comes of it.
//!
//! Owned by the partition; called by its directory's flusher without the partition's lock.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Partition, State};
use crate::log::{FlushPoint, FlushWork, JournalPart, is_disk_full, is_process_limit};
use crate::runtime::flusher::Flusher;

/// When a flush is tried again that had no room to begin.
const FLUSH_RETRY: Duration = Duration::from_secs(1);

/// How long, and how often, room is waited for where a journal's file is to be given free.
const SETTLE_WAIT: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 1000 });
const SETTLE_ATTEMPTS: usize = 10;

/// How a partition is brought to disk this time.
#[derive(Debug)]
pub(in crate::runtime) enum FlushStep {
    Journal(JournalPart),
    Files(FlushWork),
}

impl Partition {
    /// The flusher's part: gathers what is not on disk now, for the journal where that is no more than
    /// `journal_bytes`, and the flusher is that of the log's directory: the log may have moved while it was
    /// queued. `None` where there is nothing to do.
    pub(in crate::runtime) fn begin_flush(
        self: &Arc<Self>,
        by: Option<&Flusher>,
        journal_bytes: u32,
    ) -> Option<FlushStep> {
        self.begin(|state| {
            if state.flushes_held {
                // It stays queued: the end of the swap queues it where it is then.
                return Ok(None);
            }
            let same = by.is_some_and(|by| std::ptr::eq(by, &*state.place.flusher));
            let journal_bytes = if same { journal_bytes } else { 0 };
            state.queued_to_flush = false;
            state.flush_timer = false;
            state.flushing_bytes = state.appended_bytes;
            if journal_bytes > 0
                && let Some(part) = state.log.begin_journal(journal_bytes)?
            {
                return Ok(Some(FlushStep::Journal(part)));
            }
            Ok(state.log.begin_flush()?.map(FlushStep::Files))
        })
    }

    /// Gathers what only the journal has. It must be: the journal's file is used again. Waits for room, and not
    /// for ever.
    pub(in crate::runtime) fn begin_settling(self: &Arc<Self>) -> Option<FlushWork> {
        for attempt in 1.. {
            let mut state = self.state.lock();
            if state.closed.is_some() || !state.place.dir.is_online() {
                return None;
            }
            match state.log.begin_settling() {
                Ok(work) => return work,
                Err(error)
                    if attempt < SETTLE_ATTEMPTS
                        && (is_disk_full(&error) || is_process_limit(&error)) =>
                {
                    drop(state);
                    std::thread::sleep(SETTLE_WAIT);
                }
                Err(error) => {
                    state.flush_failed(&error);
                    return None;
                }
            }
        }
        None
    }

    fn begin<T>(
        self: &Arc<Self>,
        gather: impl FnOnce(&mut State) -> io::Result<Option<T>>,
    ) -> Option<T> {
        let mut state = self.state.lock();
        if state.closed.is_some() || !state.place.dir.is_online() {
            return None;
        }
        match gather(&mut state) {
            Ok(gathered) => gathered,
            // Nothing has been synced yet, and so nothing has been lost.
            Err(error) if is_disk_full(&error) || is_process_limit(&error) => {
                tracing::warn!(partition = %self, %error, "a flush cannot begin and is tried again");
                if let Some(due) = Instant::now().checked_add(FLUSH_RETRY) {
                    state.queued_to_flush = true;
                    state.place.flusher.enqueue_at(due, self);
                }
                None
            }
            Err(error) => {
                state.flush_failed(&error);
                None
            }
        }
    }

    /// A flush of the files has ended.
    pub(in crate::runtime) fn finish_flush(
        self: &Arc<Self>,
        point: FlushPoint,
        result: io::Result<()>,
    ) {
        let mut state = self.state.lock();
        match result {
            Ok(()) => {
                state.log.finish_flush(point);
                self.advance_high_watermark(&mut state);
            }
            // What was not synced may never be, whatever a second try would say.
            Err(error) => state.flush_failed(&error),
        }
    }

    pub(in crate::runtime) fn finish_journal(self: &Arc<Self>, point: FlushPoint) {
        let mut state = self.state.lock();
        state.log.finish_journal(point);
        self.advance_high_watermark(&mut state);
    }

    /// The journal did not take the part, and nothing else has happened.
    pub(in crate::runtime) fn abandon_journal(&self) {
        self.state.lock().log.abandon_flush();
    }

    /// Flushes by the files, here and now. Blocks on the disk.
    pub(in crate::runtime) fn flush(self: &Arc<Self>) {
        if let Some(FlushStep::Files(work)) = self.begin_flush(None, 0) {
            let point = work.up_to;
            self.finish_flush(point, work.run());
        }
    }

    /// `flush.ms` counts from the first record that is not on disk.
    pub(super) fn start_flush_timer(self: &Arc<Self>, state: &mut State) {
        if state.flush_timer || state.queued_to_flush || state.config.flush_ms == i64::MAX {
            return;
        }
        let wait = Duration::from_millis(u64::try_from(state.config.flush_ms).unwrap_or(0));
        // One that ends beyond all time never ends.
        if let Some(due) = Instant::now().checked_add(wait) {
            state.flush_timer = true;
            state.place.flusher.enqueue_at(due, self);
        }
    }
}
