//! Giving a journal's file free: every log with batches in it is brought to disk by its own files.
//!
//! Nobody waits for that until the other file is full, while producers wait for each sync of the journal, on the same
//! disk. So it goes one log at a time with a pause behind each, and only as fast as the other file fills; when
//! it falls behind, and at the end, the rest is synced together. Owned by the flusher of the directory.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::flusher::{flush_files, run_flush};
use super::partition::Partition;
use crate::log::FlushWork;
use crate::log::storage::FileSystem;
use crate::metrics::Metrics;

/// Behind each log, when there is time.
const PAUSE: Duration = Duration::from_millis(2);
/// All should be done when the other file is this full, and is done at once when it is that full.
const DONE_AT_PERCENT: u64 = 50;
const HURRY_AT_PERCENT: u64 = 75;
/// Who is this part of all logs behind cannot keep up one by one: the rest is synced together.
const BEHIND_SHARE: u64 = 4;

/// How full the other file is.
#[derive(Debug, Default)]
struct Pace {
    filled_percent: Mutex<u64>,
    changed: Condvar,
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// One more, after a pause.
    Pause,
    One,
    AllTheRest,
}

impl Pace {
    fn next(&self, done: usize, total: usize) -> Step {
        let filled = *self.filled_percent.lock();
        let total = total as u64;
        let due = (filled.saturating_mul(total) / DONE_AT_PERCENT).min(total);
        let behind = due.saturating_sub(done as u64);
        if filled >= HURRY_AT_PERCENT || behind * BEHIND_SHARE > total {
            Step::AllTheRest
        } else if behind == 0 {
            Step::Pause
        } else {
            Step::One
        }
    }

    fn pause(&self) {
        self.changed
            .wait_for(&mut self.filled_percent.lock(), PAUSE);
    }
}

/// A settling under way. Dropped, it is waited for.
#[derive(Debug)]
pub(super) struct Settling {
    pace: Arc<Pace>,
    thread: Option<JoinHandle<()>>,
}

impl Settling {
    pub(super) fn begin(
        members: impl Iterator<Item = Weak<Partition>>,
        file_system: Option<Arc<dyn FileSystem>>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let pace = Arc::new(Pace::default());
        let mut members: Vec<_> = members.collect();
        // Neighbours on the disk behind each other.
        members.sort_by_cached_key(|member| member.upgrade().map(|member| member.to_string()));
        let settler = Settler {
            members,
            file_system,
            pace: Arc::clone(&pace),
            metrics: Arc::clone(metrics),
        };
        let settle = move || settler.run();
        let thread = std::thread::Builder::new().name("journal-settle".into());
        let thread = match thread.spawn(settle.clone()) {
            Ok(thread) => Some(thread),
            Err(_) => {
                *pace.filled_percent.lock() = u64::MAX;
                settle();
                None
            }
        };
        Self { pace, thread }
    }

    /// The other file is this full.
    pub(super) fn keep_up_with(&self, filled_percent: u64) {
        *self.pace.filled_percent.lock() = filled_percent;
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        *self.pace.filled_percent.lock() = u64::MAX;
        self.pace.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("settling a journal ended by a panic");
        }
    }
}

#[derive(Debug, Clone)]
struct Settler {
    members: Vec<Weak<Partition>>,
    file_system: Option<Arc<dyn FileSystem>>,
    pace: Arc<Pace>,
    metrics: Arc<Metrics>,
}

impl Settler {
    fn run(&self) {
        let total = self.members.len();
        for (done, member) in self.members.iter().enumerate() {
            match self.pace.next(done, total) {
                Step::AllTheRest => return self.hurry(done),
                Step::Pause => self.pace.pause(),
                Step::One => {}
            }
            if let Some((partition, work)) = begin(member) {
                run_flush(&partition, work, &self.metrics);
            }
        }
    }

    fn hurry(&self, done: usize) {
        let left = self.members.iter().skip(done);
        let works = left.filter_map(begin).collect();
        flush_files(works, self.file_system.as_deref(), &self.metrics);
    }
}

fn begin(member: &Weak<Partition>) -> Option<(Arc<Partition>, FlushWork)> {
    let partition = member.upgrade()?;
    let work = partition.begin_settling()?;
    Some((partition, work))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settling_goes_as_fast_as_the_other_file_fills_and_no_faster() {
        let pace = Pace::default();
        let next = |filled, done| {
            *pace.filled_percent.lock() = filled;
            pace.next(done, 100)
        };
        assert_eq!(next(0, 0), Step::Pause);
        assert_eq!(next(10, 10), Step::One);
        assert_eq!(next(10, 19), Step::One);
        assert_eq!(next(10, 20), Step::Pause);
        assert_eq!(next(20, 15), Step::One);
        assert_eq!(next(20, 14), Step::AllTheRest);
        assert_eq!(next(74, 99), Step::One);
        assert_eq!(next(75, 99), Step::AllTheRest);
        assert_eq!(next(u64::MAX, 0), Step::AllTheRest);
    }
}
