//! Makes the directories of new logs, off the thread that answers for the topics' creation.
//!
//! A new log needs no file before its first append, which makes them itself when it comes earlier. Owned by
//! `Partitions`.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use parking_lot::Mutex;

use super::partition::Partition;

#[derive(Debug)]
pub struct LogMaker {
    queue: Mutex<Option<Sender<Arc<Partition>>>>,
    /// Taken by the thread.
    waiting: Mutex<Option<Receiver<Arc<Partition>>>>,
}

impl Default for LogMaker {
    fn default() -> Self {
        let (sender, receiver) = channel();
        Self {
            queue: Mutex::new(Some(sender)),
            waiting: Mutex::new(Some(receiver)),
        }
    }
}

impl LogMaker {
    pub(super) fn add(&self, partition: &Arc<Partition>) {
        if let Some(queue) = &*self.queue.lock() {
            // Nobody takes it where the thread has ended; then its first append makes the log.
            let _ = queue.send(Arc::clone(partition));
        }
    }

    /// The thread's life: until `stop`, with everything made that was added before.
    pub fn run(&self) {
        let Some(waiting) = self.waiting.lock().take() else {
            return;
        };
        for partition in waiting {
            partition.make_log();
        }
    }

    pub fn stop(&self) {
        self.queue.lock().take();
    }
}
