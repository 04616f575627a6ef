//! Group commit for record logs: one thread for each log directory, one flush in flight.
//!
//! Partitions with unflushed records queue here; whatever is appended while a flush runs joins the
//! next one. A flush that failed is never tried again as if it could succeed: its partition is
//! told, and stops serving.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::partition::Partition;
use crate::metrics::Metrics;

#[derive(Debug, Default)]
struct Queue {
    dirty: Vec<Arc<Partition>>,
    stopping: bool,
}

/// The queue of one log directory.
#[derive(Debug, Default)]
pub struct Flusher {
    queue: Mutex<Queue>,
    filled: Condvar,
}

impl Flusher {
    pub(super) fn enqueue(&self, partition: Arc<Partition>) {
        self.queue.lock().dirty.push(partition);
        self.filled.notify_one();
    }

    /// Flushes what is queued, then lets `run` return.
    pub fn stop(&self) {
        self.queue.lock().stopping = true;
        self.filled.notify_one();
    }

    /// The thread's life.
    pub fn run(&self, metrics: &Metrics) {
        loop {
            let dirty = {
                let mut queue = self.queue.lock();
                while queue.dirty.is_empty() {
                    if queue.stopping {
                        return;
                    }
                    self.filled.wait(&mut queue);
                }
                std::mem::take(&mut queue.dirty)
            };
            for partition in dirty {
                let started = Instant::now();
                partition.flush();
                metrics.log_flushed(started.elapsed());
            }
        }
    }
}
