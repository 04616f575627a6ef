//! How far the opening of the logs has come at a start: for the log output, `/health/ready`, and whoever waits.
//!
//! Counted up by the threads that open logs; read by anybody. After a clean shutdown there are no bytes to read.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

#[derive(Debug, Default)]
pub struct RecoveryProgress {
    logs: AtomicUsize,
    logs_done: AtomicUsize,
    bytes: AtomicU64,
    bytes_done: AtomicU64,
    started: OnceLock<Instant>,
    finished: Mutex<bool>,
    changed: Condvar,
}

/// A moment of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryState {
    pub logs: usize,
    pub logs_done: usize,
    /// What has to be read: segments that were not known to be on disk.
    pub bytes: u64,
    pub bytes_done: u64,
    /// At the pace so far; `None` while there is none.
    pub left: Option<Duration>,
}

impl RecoveryState {
    fn new(logs: (usize, usize), bytes: (u64, u64), elapsed: Duration) -> Self {
        let ((logs, logs_done), (bytes, bytes_done)) = (logs, bytes);
        // Logs that need no reading take their time too; where there is much to read, that decides.
        let part_left = if bytes > 0 && bytes_done > 0 {
            Some(bytes.saturating_sub(bytes_done) as f64 / bytes_done as f64)
        } else if bytes == 0 && logs_done > 0 {
            Some(logs.saturating_sub(logs_done) as f64 / logs_done as f64)
        } else {
            None
        };
        let left = part_left
            .and_then(|part| Duration::try_from_secs_f64(elapsed.as_secs_f64() * part).ok());
        Self {
            logs,
            logs_done,
            bytes,
            bytes_done,
            left,
        }
    }
}

impl fmt::Display for RecoveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MEGABYTE: f64 = 1e6;
        write!(f, "{} of {} logs are open", self.logs_done, self.logs)?;
        if self.bytes > 0 {
            let megabytes = |bytes: u64| bytes as f64 / MEGABYTE;
            let (done, all) = (megabytes(self.bytes_done), megabytes(self.bytes));
            write!(f, ", {done:.1} of {all:.1} MB read")?;
        }
        match self.left {
            Some(left) => write!(f, ", about {} s left", left.as_secs_f64().ceil()),
            None => Ok(()),
        }
    }
}

impl RecoveryProgress {
    /// So many logs wait to be opened, and so many bytes in them to be read.
    pub fn expect(&self, logs: usize, bytes: u64) {
        self.started.get_or_init(Instant::now);
        self.logs.fetch_add(logs, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn bytes_read(&self, bytes: u64) {
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn log_opened(&self) {
        self.logs_done.fetch_add(1, Ordering::Relaxed);
    }

    pub fn state(&self) -> RecoveryState {
        let elapsed = self.started.get().map_or(Duration::ZERO, Instant::elapsed);
        let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        let bytes = |bytes: &AtomicU64| bytes.load(Ordering::Relaxed);
        RecoveryState::new(
            (count(&self.logs), count(&self.logs_done)),
            (bytes(&self.bytes), bytes(&self.bytes_done)),
            elapsed,
        )
    }

    /// Calls `say` now and then, on a thread beside, while `work` runs.
    pub fn during<T>(
        &self,
        every: Duration,
        say: impl Fn(RecoveryState) + Send + Sync,
        work: impl FnOnce() -> T,
    ) -> T {
        std::thread::scope(|scope| {
            let _ = std::thread::Builder::new().spawn_scoped(scope, || {
                let mut finished = self.finished.lock();
                while !*finished {
                    if self.changed.wait_for(&mut finished, every).timed_out() {
                        say(self.state());
                    }
                }
            });
            let _finish = Finish(self);
            work()
        })
    }
}

/// However the work ends.
struct Finish<'a>(&'a RecoveryProgress);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        *self.0.finished.lock() = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn what_is_left_goes_by_the_bytes_or_by_the_logs() {
        let left = |logs, bytes, seconds| {
            RecoveryState::new(logs, bytes, Duration::from_secs(seconds))
                .left
                .map(|left| left.as_secs())
        };
        assert_eq!(left((10, 0), (0, 0), 3), None, "no pace yet");
        assert_eq!(left((10, 0), (500, 0), 3), None);
        assert_eq!(left((10, 5), (0, 0), 3), Some(3));
        assert_eq!(left((10, 9), (400, 100), 10), Some(30));
        assert_eq!(left((10, 10), (400, 400), 10), Some(0));
        assert_eq!(
            left((10, 10), (400, 500), 10),
            Some(0),
            "more than was thought"
        );
    }

    #[test]
    fn it_says_what_a_person_wants_to_know() {
        let text = |bytes, seconds| {
            RecoveryState::new((300, 12), bytes, Duration::from_secs(seconds)).to_string()
        };
        assert_eq!(text((0, 0), 0), "12 of 300 logs are open, about 0 s left");
        assert_eq!(
            text((20_000_000, 5_000_000), 10),
            "12 of 300 logs are open, 5.0 of 20.0 MB read, about 30 s left"
        );
    }

    #[test]
    fn it_is_said_while_the_work_goes_on() {
        let progress = RecoveryProgress::default();
        progress.expect(2, 100);
        let (said, heard) = channel();
        let done = progress.during(
            Duration::from_millis(1),
            move |state| said.send(state).unwrap(),
            || {
                progress.bytes_read(40);
                progress.log_opened();
                // It ends when something was said.
                heard.iter().find(|state| state.bytes_done == 40)
            },
        );
        let state = done.unwrap();
        assert_eq!((state.logs, state.logs_done, state.bytes), (2, 1, 100));
    }
}
