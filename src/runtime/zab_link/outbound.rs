//! What waits to be written to one link. Whoever sends never waits: a link whose other side does not read is dropped
//! when too much has come together.

use std::sync::Arc;

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::frame::{self, FrameError};
use super::handshake::LinkId;
use crate::metrics::Metrics;
use crate::types::NodeId;
use crate::zab::Message;

/// Why a link that was up is not any more.
#[derive(Debug, thiserror::Error)]
pub enum Closed {
    #[error("the other side has closed it")]
    ByOther,
    #[error("{0}")]
    Io(std::io::Error),
    #[error("what came is not understood: {0}")]
    Malformed(String),
    #[error("more than ensemble.link.queue.bytes ({0}) wait for the other side to read")]
    QueueFull(usize),
    #[error("the other side has not read for {0} ms")]
    Stalled(u128),
    #[error("a message cannot be sent: {0}")]
    Unsendable(FrameError),
    #[error("another connection took its place")]
    Replaced,
    #[error("{0}")]
    ByUs(String),
    #[error("this server stops")]
    Stopping,
}

impl Closed {
    /// A word for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Closed::ByOther => "by the other",
            Closed::Io(_) => "io",
            Closed::Malformed(_) => "malformed",
            Closed::QueueFull(_) => "queue full",
            Closed::Stalled(_) => "stalled",
            Closed::Unsendable(_) => "unsendable",
            Closed::Replaced => "replaced",
            Closed::ByUs(_) => "by us",
            Closed::Stopping => "stopping",
        }
    }
}

/// A buffer that has grown beyond it is not kept.
const KEPT_BYTES: usize = 256 << 10;

/// How much of what.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub message_bytes: usize,
    pub queue_bytes: usize,
}

/// The way to one server, as long as one link lasts: what is sent after its end is dropped, and never goes over the
/// next link by mistake.
#[derive(Debug, Clone)]
pub struct Outbound(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    node: NodeId,
    link: LinkId,
    limits: Limits,
    queue: Mutex<Queue>,
    filled: Notify,
    closed: watch::Sender<bool>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Queue {
    frames: BytesMut,
    /// Taken out, and not yet with the kernel.
    writing: usize,
    /// The first reason.
    closed: Option<Closed>,
    /// It stays closed when the reason has been fetched.
    is_closed: bool,
}

impl Outbound {
    pub(super) fn new(node: NodeId, link: LinkId, limits: Limits, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Inner {
            node,
            link,
            limits,
            queue: Mutex::default(),
            filled: Notify::new(),
            closed: watch::Sender::new(false),
            metrics,
        }))
    }

    pub fn node(&self) -> NodeId {
        self.0.node
    }

    pub(super) fn link(&self) -> LinkId {
        self.0.link
    }

    /// Behind everything that was sent before. Does not wait, and says nothing of whether it arrives.
    pub fn send(&self, message: &Message) {
        let limits = self.0.limits;
        let mut queue = self.0.queue.lock();
        if queue.is_closed {
            return;
        }
        if let Err(error) = frame::put_message(message, &mut queue.frames, limits.message_bytes) {
            drop(queue);
            self.end(Closed::Unsendable(error));
            return;
        }
        let waiting = queue.frames.len() + queue.writing;
        drop(queue);
        // One message alone may be longer than the queue.
        if waiting > limits.queue_bytes.max(limits.message_bytes) {
            self.end(Closed::QueueFull(limits.queue_bytes));
            return;
        }
        self.0.filled.notify_one();
    }

    /// Ends the link; the other side dials again, or is dialled again.
    pub fn close(&self, why: &str) {
        self.end(Closed::ByUs(why.to_owned()));
    }

    /// Bytes that are not with the kernel yet.
    pub fn waiting(&self) -> usize {
        let queue = self.0.queue.lock();
        queue.frames.len() + queue.writing
    }

    pub(super) fn end(&self, why: Closed) {
        let mut queue = self.0.queue.lock();
        if !queue.is_closed {
            queue.is_closed = true;
            queue.closed = Some(why);
            queue.frames = BytesMut::new();
            queue.writing = 0;
        }
        drop(queue);
        self.0.closed.send_replace(true);
    }

    pub(super) fn is_ended(&self) -> bool {
        self.0.queue.lock().is_closed
    }

    /// When somebody has ended it, with the reason.
    pub(super) async fn ended(&self) -> Closed {
        // The sender lives as long as this.
        let _ = self.0.closed.subscribe().wait_for(|closed| *closed).await;
        self.0
            .queue
            .lock()
            .closed
            .take()
            .unwrap_or(Closed::Replaced)
    }

    /// What was sent since the last time, which is written by now: its memory is filled again. Waits until there is
    /// something.
    pub(super) async fn next(&self, mut before: BytesMut) -> BytesMut {
        before.clear();
        if before.capacity() > KEPT_BYTES {
            before = BytesMut::new();
        }
        loop {
            let filled = self.0.filled.notified();
            {
                let mut queue = self.0.queue.lock();
                let written = std::mem::take(&mut queue.writing);
                self.0.metrics.zab_link_sent(written);
                if !queue.frames.is_empty() {
                    queue.writing = queue.frames.len();
                    return std::mem::replace(&mut queue.frames, before);
                }
            }
            filled.await;
        }
    }
}
