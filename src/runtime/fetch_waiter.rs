//! A fetch that waits for bytes: what purgatory is here.
//!
//! A waiter stands in the list of every partition it reads. Each partition tells it how many bytes
//! have become readable; it wakes when that is enough, or when anything else has happened that it
//! must look at. One that reads only what is committed is told when more is decided, and looks how much it is.

use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::Notify;

use super::partition::Isolation;

#[derive(Debug)]
pub struct FetchWaiter {
    isolation: Isolation,
    missing: AtomicI64,
    woken: Notify,
}

impl FetchWaiter {
    /// Wakes after `missing` more bytes.
    pub fn new(missing: usize, isolation: Isolation) -> Self {
        Self {
            isolation,
            missing: AtomicI64::new(i64::try_from(missing).unwrap_or(i64::MAX)),
            woken: Notify::new(),
        }
    }

    pub fn bytes_readable(&self, bytes: u64) {
        if self.isolation == Isolation::ReadCommitted {
            return;
        }
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if self.missing.fetch_sub(bytes, Ordering::AcqRel) <= bytes {
            self.wake();
        }
    }

    /// The last stable offset has moved.
    pub fn more_is_stable(&self) {
        if self.isolation == Isolation::ReadCommitted {
            self.wake();
        }
    }

    pub fn wake(&self) {
        self.woken.notify_one();
    }

    pub async fn wait(&self) {
        self.woken.notified().await;
    }
}
