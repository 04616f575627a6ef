//! Snapshots of the image: what bounds the log, and what a learner gets that is too far behind.
//!
//! Both are made by a thread of their own out of an image that does not change. The first has time: its thread gives way to
//! whoever serves.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::Message;
use crate::controller::MetadataImage;
use crate::zab::{Snapshot, Voters};
use crate::zab_log::SnapshotWriter;

/// When the next snapshot is due.
pub(super) struct Snapshots {
    writer: SnapshotWriter,
    at_least: u64,
    after_bytes: u64,
    /// The log that a restart would read.
    pub(super) log_bytes: u64,
    writing: bool,
    to_itself: mpsc::WeakSender<Message>,
}

impl Snapshots {
    pub(super) fn new(
        writer: SnapshotWriter,
        after_bytes: u64,
        to_itself: mpsc::WeakSender<Message>,
    ) -> Self {
        Self {
            writer,
            at_least: after_bytes,
            after_bytes,
            log_bytes: 0,
            writing: false,
            to_itself,
        }
    }

    pub(super) fn is_due(&self) -> bool {
        !self.writing && self.log_bytes >= self.after_bytes
    }

    /// Whether one was begun.
    pub(super) fn begin(&mut self, image: Arc<MetadataImage>, voters: Voters) -> bool {
        let (writer, to_itself) = (self.writer.clone(), self.to_itself.clone());
        let work = move || {
            give_way();
            let snapshot = Snapshot {
                zxid: image.applied(),
                voters,
                body: image.to_snapshot().into(),
            };
            let written = writer.write(&snapshot).map(|()| snapshot.body.len() as u64);
            if let Some(queue) = to_itself.upgrade() {
                // A peer that is closed finds the snapshot when it opens again.
                let _ = queue.blocking_send(Message::SnapshotWritten(snapshot.zxid, written));
            }
        };
        self.writing = spawn("zab-snapshot", work);
        self.writing
    }

    /// Whether it is there.
    pub(super) fn on_written(&mut self, written: &std::io::Result<u64>) -> bool {
        self.writing = false;
        match written {
            Ok(bytes) => {
                self.after_bytes = self.at_least.max(*bytes);
                true
            }
            // The log has everything; another is tried when it has grown by as much again.
            Err(error) => {
                tracing::warn!("a metadata snapshot could not be written: {error}");
                self.after_bytes = self.after_bytes.max(self.log_bytes) + self.at_least;
                false
            }
        }
    }

    /// For a learner.
    pub(super) fn take(&self, image: Arc<MetadataImage>) {
        let to_itself = self.to_itself.clone();
        spawn("zab-snap", move || {
            let body = image.to_snapshot();
            if let Some(queue) = to_itself.upgrade() {
                // A peer that is closed has no learners.
                let _ = queue.blocking_send(Message::SnapshotTaken(image.applied(), body));
            }
        });
    }
}

/// A tenth of what an ordinary thread gets where both want a core.
const NICE: i32 = 10;

/// Of this thread, for Linux counts them one by one.
fn give_way() {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!("a metadata snapshot is taken at full priority: {error}");
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> bool {
    let spawned = std::thread::Builder::new().name(name.into()).spawn(work);
    if let Err(error) = &spawned {
        tracing::warn!("no thread for a metadata snapshot: {error}");
    }
    spawned.is_ok()
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;

    #[test]
    fn only_the_thread_that_asks_gives_way() {
        let before = getpriority_process(None).unwrap();
        let gave_way = std::thread::spawn(|| {
            super::give_way();
            getpriority_process(None).unwrap()
        });
        assert_eq!(gave_way.join().unwrap(), super::NICE);
        assert_eq!(getpriority_process(None).unwrap(), before);
    }
}
