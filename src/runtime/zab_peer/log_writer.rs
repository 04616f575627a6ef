//! The thread that owns the ZAB log: what the peer wants durable is written here, in order, while the peer goes on.
//!
//! Whatever waits when a flush ends is written together and shares the next one. The peer hears of it by the receipts,
//! which only it can read. After an error nothing is written any more: the node stops.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::metrics::Metrics;
use crate::types::Zxid;
use crate::zab::{Persist, Receipt, Write};
use crate::zab_log::{ZabLog, ZabLogError};

/// One flush takes no more than about this much; the log refuses a write beyond a GiB.
const FLUSH_BYTES: usize = 16 << 20;

enum Work {
    Persist(Persist),
    BeforeSnapshot,
    AfterSnapshot(Zxid),
}

/// What the peer's thread hears of the log's.
pub(super) enum Written {
    /// Everything up to this receipt is durable; the log that a restart would read is so long.
    Durable(Receipt, u64),
    Failed(ZabLogError),
}

pub(super) struct LogWriter {
    work: Option<Sender<Work>>,
    thread: Option<JoinHandle<()>>,
}

impl LogWriter {
    pub(super) fn start(
        log: ZabLog,
        metrics: Arc<Metrics>,
        told: impl Fn(Written) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (work, queue) = channel();
        let thread = std::thread::Builder::new().name("zab-log".into());
        let thread = thread.spawn(move || run(log, &queue, &metrics, told))?;
        Ok(Self {
            work: Some(work),
            thread: Some(thread),
        })
    }

    pub(super) fn persist(&self, persist: Persist) {
        self.send(Work::Persist(persist));
    }

    /// What is written from now on goes into another segment than what a snapshot of now makes superfluous.
    pub(super) fn before_snapshot(&self) {
        self.send(Work::BeforeSnapshot);
    }

    pub(super) fn after_snapshot(&self, zxid: Zxid) {
        self.send(Work::AfterSnapshot(zxid));
    }

    /// The thread may have ended by an error, which it has told.
    fn send(&self, work: Work) {
        if let Some(queue) = &self.work {
            let _ = queue.send(work);
        }
    }
}

impl Drop for LogWriter {
    /// What was asked for is written.
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the metadata log ended by a panic");
        }
    }
}

fn run(mut log: ZabLog, queue: &Receiver<Work>, metrics: &Metrics, told: impl Fn(Written)) {
    while let Ok(first) = queue.recv() {
        // Whoever is about to ask for more shares this flush. Where a core is free it costs nothing.
        std::thread::yield_now();
        let mut writes = Vec::new();
        let mut receipt = None;
        let mut next = Some(first);
        let mut done = Ok(());
        let mut bytes = 0;
        while let Some(work) = next.take() {
            match work {
                Work::Persist(persist) => {
                    bytes += join(&mut writes, persist.writes);
                    receipt = Some(persist.receipt);
                    if bytes < FLUSH_BYTES {
                        next = queue.try_recv().ok();
                    }
                }
                other => {
                    done = flush(&mut log, &mut writes, &mut receipt, metrics, &told);
                    done = done.and_then(|()| match other {
                        Work::AfterSnapshot(zxid) => log.after_snapshot(zxid),
                        _ => {
                            log.before_snapshot();
                            Ok(())
                        }
                    });
                }
            }
        }
        let done = done.and_then(|()| flush(&mut log, &mut writes, &mut receipt, metrics, &told));
        if let Err(error) = done {
            told(Written::Failed(error));
            return;
        }
    }
}

fn flush(
    log: &mut ZabLog,
    writes: &mut Vec<Write>,
    receipt: &mut Option<Receipt>,
    metrics: &Metrics,
    told: &impl Fn(Written),
) -> Result<(), ZabLogError> {
    let Some(receipt) = receipt.take() else {
        return Ok(());
    };
    let started = Instant::now();
    log.persist(writes)?;
    metrics.metadata_persisted(started.elapsed());
    metrics.metadata_log_bytes(log.bytes_since_snapshot());
    for write in writes.drain(..) {
        match write {
            Write::Truncate(_) => metrics.metadata_rewritten("truncate"),
            Write::Install(_) => metrics.metadata_rewritten("install"),
            _ => {}
        }
    }
    told(Written::Durable(receipt, log.bytes_since_snapshot()));
    Ok(())
}

/// Proposals behind each other become one write. Gives the bytes that came.
fn join(before: &mut Vec<Write>, more: Vec<Write>) -> usize {
    let mut bytes = 0;
    for write in more {
        if let Write::Append(proposals) = &write {
            bytes += proposals.iter().map(|p| p.payload.len()).sum::<usize>();
        }
        match (before.last_mut(), write) {
            (Some(Write::Append(before)), Write::Append(more)) => before.extend(more),
            (_, write) => before.push(write),
        }
    }
    bytes
}
