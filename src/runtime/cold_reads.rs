//! The threads that wait for the disk where a reader wants what is not in memory, so that no thread that serves
//! connections does.
//!
//! Owned by the node. At most `num.io.threads` threads, each with one piece at a time: that bounds what is read at
//! once. They are started when there is work and end when there is none for a while. What somebody waits for goes
//! first, in the order in which it came, and each connection waits for one piece at a time: so readers of many
//! old segments take turns. Pieces read ahead come after, as far as there is room for them in a short queue.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::config::BrokerConfig;
use crate::log::NotCached;
use crate::metrics::Metrics;

/// Pieces to be read ahead; more are not remembered.
const READ_AHEAD_PIECES: usize = 256;
/// A thread ends that had nothing to do for so long.
const IDLE: Duration = Duration::from_secs(10);
const STACK_BYTES: usize = 128 * 1024;

#[derive(Debug)]
struct Wanted {
    piece: NotCached,
    /// Dropped, with or without a word: it is there, or as good as it gets.
    done: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
struct Queue {
    wanted: VecDeque<Wanted>,
    ahead: VecDeque<NotCached>,
    threads: usize,
    /// Of these, those that wait for work.
    idle: usize,
    stopping: bool,
}

enum Work {
    Wanted(Wanted),
    Ahead(NotCached),
}

impl Queue {
    fn len(&self) -> usize {
        self.wanted.len() + self.ahead.len()
    }

    fn take(&mut self) -> Option<Work> {
        match self.wanted.pop_front() {
            Some(wanted) => Some(Work::Wanted(wanted)),
            None => self.ahead.pop_front().map(Work::Ahead),
        }
    }
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    config: Arc<ArcSwap<BrokerConfig>>,
}

#[derive(Debug)]
pub struct ColdReads {
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
}

impl ColdReads {
    pub fn new(config: Arc<ArcSwap<BrokerConfig>>, metrics: Arc<Metrics>) -> Self {
        Self {
            shared: Arc::new(Shared {
                queue: Mutex::default(),
                filled: Condvar::new(),
                config,
            }),
            metrics,
        }
    }

    /// It is queued at once, and the future resolves when it has been read in. Whether that worked is for the read
    /// to say that follows.
    pub fn read_in(&self, piece: NotCached) -> impl Future<Output = ()> + Send + use<> {
        let started = Instant::now();
        let bytes = piece.len();
        let (done, read) = oneshot::channel();
        {
            let mut queue = self.shared.queue.lock();
            queue.wanted.push_back(Wanted { piece, done });
            self.call_a_thread(&mut queue);
        }
        let metrics = Arc::clone(&self.metrics);
        async move {
            // An error is a thread that is gone: then the reader waits for the disk itself.
            let _ = read.await;
            metrics.cold_read(started.elapsed(), bytes);
        }
    }

    /// Somebody will want this soon.
    pub fn read_ahead(&self, piece: NotCached) {
        let mut queue = self.shared.queue.lock();
        if queue.ahead.len() < READ_AHEAD_PIECES {
            queue.ahead.push_back(piece);
            self.call_a_thread(&mut queue);
        }
    }

    fn call_a_thread(&self, queue: &mut Queue) {
        if queue.len() <= queue.idle || queue.threads >= self.shared.limit() {
            self.shared.filled.notify_one();
            return;
        }
        queue.threads += 1;
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new()
            .name("cold-read".into())
            .stack_size(STACK_BYTES)
            .spawn(move || shared.run());
        if let Err(error) = thread {
            queue.threads -= 1;
            if queue.threads == 0 {
                // Nobody is left to do it: those who wait go on.
                tracing::warn!(%error, "no thread for cold reads: connections wait for the disk themselves");
                queue.wanted.clear();
                queue.ahead.clear();
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn for_tests(threads: i32) -> Self {
        let mut config = BrokerConfig::default();
        let origin = crate::config::broker::Origin::File;
        let set = config.set_static("num.io.threads", &threads.to_string(), origin);
        set.unwrap();
        let metrics = Metrics::new([]).unwrap();
        Self::new(Arc::new(ArcSwap::from_pointee(config)), Arc::new(metrics))
    }

    #[cfg(test)]
    fn threads(&self) -> usize {
        self.shared.queue.lock().threads
    }
}

impl Drop for ColdReads {
    fn drop(&mut self) {
        self.shared.queue.lock().stopping = true;
        self.shared.filled.notify_all();
    }
}

impl Shared {
    fn limit(&self) -> usize {
        usize::try_from(self.config.load().num_io_threads)
            .unwrap_or(1)
            .max(1)
    }

    /// A thread's life.
    fn run(&self) {
        let _counted = Counted(self);
        while let Some(work) = self.next() {
            match work {
                Work::Wanted(Wanted { piece, done }) => {
                    // Whoever wanted it may be gone.
                    if !done.is_closed() {
                        piece.read_in();
                    }
                    let _ = done.send(());
                }
                Work::Ahead(piece) => piece.read_in(),
            }
        }
    }

    /// `None`: the thread is not needed any more, and not counted any more.
    fn next(&self) -> Option<Work> {
        let mut queue = self.queue.lock();
        let mut bored = false;
        loop {
            if queue.stopping || queue.threads > self.limit() || (bored && queue.len() == 0) {
                queue.threads -= 1;
                // It may have been called for what another does now.
                self.filled.notify_one();
                return None;
            }
            if let Some(work) = queue.take() {
                return Some(work);
            }
            queue.idle += 1;
            bored = self.filled.wait_for(&mut queue, IDLE).timed_out();
            queue.idle -= 1;
        }
    }
}

/// A thread that panics is not counted any more either.
struct Counted<'a>(&'a Shared);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.queue.lock().threads -= 1;
        }
    }
}

#[cfg(test)]
#[path = "cold_reads_tests.rs"]
mod tests;
