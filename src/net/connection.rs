//! One client connection: frames in, requests started in order, replies out in the same order.
//!
//! Owned by its own task. A request that waits holds up the next one, as in Kafka, unless its API
//! says that it may be overlapped (`pipeline.rs`). Whatever goes
//! wrong with a client's bytes ends its connection with one line in the log that says why.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::watch;

use super::outbox::Outbox;
use super::pipeline::Pipeline;
use super::transport::Transport;
use crate::api::{self, RequestContext, RequestError};
use crate::protocol::frame;
use crate::protocol::header::{HeaderError, RequestHeader};
use crate::runtime::Node;
use crate::security::Principal;

/// The room a quiet connection keeps for what comes next.
const IDLE_BUFFER_BYTES: usize = 4 * 1024;
/// What that grows to while what comes fills it, for a client that sends many small requests at once. It falls again
/// with the first reads that do not.
const BUSY_BUFFER_BYTES: usize = 16 * 1024;
/// How much is read ahead while a request holds up the next.
const READ_AHEAD_BYTES: usize = 64 * 1024;
/// A long frame's room grows by so much as its bytes come: a claimed length reserves nothing.
const GROWTH_BYTES: usize = 1024 * 1024;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Closed {
    #[error("the client closed it")]
    ByClient,
    #[error("the broker is shutting down")]
    Shutdown,
    #[error("nothing was sent for connections.max.idle.ms")]
    Idle,
    #[error("the socket failed: {0}")]
    Socket(#[from] io::Error),
    #[error("a log could not be read for a reply: {0}")]
    Disk(io::Error),
    /// `sent` says what the bytes look like, where they look like anything.
    #[error("a frame of {len} bytes is {problem}{}", .sent.map(|s| format!(" (these bytes look like {s})")).unwrap_or_default())]
    Frame {
        len: i32,
        problem: &'static str,
        sent: Option<&'static str>,
    },
    #[error("the request header cannot be read: {0}")]
    Header(#[from] HeaderError),
    #[error("{0}")]
    Request(#[from] RequestError),
}

impl Closed {
    /// The metric's label.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Closed::ByClient => "client",
            Closed::Shutdown => "shutdown",
            Closed::Idle => "idle",
            Closed::Socket(_) => "socket",
            Closed::Disk(_) => "disk",
            Closed::Frame { .. } => "frame",
            Closed::Header(_) => "header",
            Closed::Request(_) => "request",
        }
    }

    /// Whether the broker could not answer as it should: a disk that fails, or a bug.
    pub(crate) fn is_own_fault(&self) -> bool {
        matches!(
            self,
            Closed::Disk(_) | Closed::Request(RequestError::Encode { .. })
        )
    }

    /// Whether the client sent what it should not have.
    pub(crate) fn is_bad_input(&self) -> bool {
        matches!(
            self,
            Closed::Frame { .. } | Closed::Header(_) | Closed::Request(_)
        ) && !self.is_own_fault()
    }
}

/// Limits that hold for the connection's life.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) request_bytes: i32,
    pub(crate) pipelined_requests: usize,
    pub(crate) idle: Duration,
}

pub(crate) struct Connection {
    node: Arc<Node>,
    transport: Transport,
    listener: Arc<str>,
    principal: Principal,
    limits: Limits,
    inbox: BytesMut,
    outbox: Outbox,
    /// How much is read at once, if no more is known to come.
    room: usize,
    pipeline: Pipeline,
    last_client_id: Option<Arc<str>>,
}

impl Connection {
    pub(crate) fn new(
        node: Arc<Node>,
        transport: Transport,
        listener: Arc<str>,
        limits: Limits,
    ) -> Self {
        Self {
            node,
            transport,
            listener,
            principal: Principal::anonymous(),
            limits,
            inbox: BytesMut::new(),
            outbox: Outbox::default(),
            room: IDLE_BUFFER_BYTES,
            pipeline: Pipeline::new(limits.pipelined_requests),
            last_client_id: None,
        }
    }

    /// Serves until something ends it. `shutdown` turns true once: what is in flight is answered,
    /// nothing new is started.
    pub(crate) async fn serve(mut self, mut shutdown: watch::Receiver<bool>) -> Closed {
        match self.run(&mut shutdown).await {
            Ok(closed) | Err(closed) => closed,
        }
    }

    async fn run(&mut self, shutdown: &mut watch::Receiver<bool>) -> Result<Closed, Closed> {
        let mut last_read = Instant::now();
        let idle = tokio::time::sleep(self.limits.idle);
        tokio::pin!(idle);
        loop {
            let stopping = *shutdown.borrow_and_update();
            if !stopping {
                self.start_what_is_here().await?;
            }
            if let Err(closed) = self.take_finished() {
                // What was asked before is answered.
                while !self.outbox.is_empty() {
                    self.send_some().await?;
                }
                return Err(closed);
            }
            if !self.outbox.is_empty() {
                self.send_some().await?;
                continue;
            }
            if stopping && self.pipeline.is_empty() {
                return Err(Closed::Shutdown);
            }
            let may_read = self.prepare_to_read();
            tokio::select! {
                () = self.pipeline.finish(), if !self.pipeline.is_empty() => {}
                read = self.transport.read(&mut self.inbox), if may_read => {
                    let read = read?;
                    if read == 0 {
                        return self.finish_after_client_closed().await;
                    }
                    self.node.metrics.network_bytes_in(read);
                    last_read = Instant::now();
                    self.adapt_room();
                }
                _ = shutdown.changed(), if !stopping => {}
                () = &mut idle => {
                    let deadline = last_read + self.limits.idle;
                    if self.pipeline.is_empty() && deadline <= Instant::now() {
                        return Err(Closed::Idle);
                    }
                    // A request that waits is not idleness: look again soon after.
                    let soonest = Instant::now() + Duration::from_secs(1);
                    idle.as_mut().reset(deadline.max(soonest).into());
                }
            }
        }
    }

    /// What can be sent without waiting for the disk once more.
    async fn send_some(&mut self) -> Result<(), Closed> {
        let prepared = self.outbox.prepare(&self.node.cold_reads).await;
        prepared.map_err(Closed::Disk)?;
        let sent = self.transport.send(&mut self.outbox).await?;
        self.node.metrics.network_bytes_out(sent);
        Ok(())
    }

    /// The client has closed its side. What it sent whole is still carried out (`acks=0` wants no
    /// more than that); nobody is there to be answered.
    async fn finish_after_client_closed(&mut self) -> Result<Closed, Closed> {
        loop {
            self.start_what_is_here().await?;
            if self.pipeline.is_empty() || !self.holds_whole_frame() {
                return Ok(Closed::ByClient);
            }
            self.pipeline.finish().await;
            while let Some(outcome) = self.pipeline.pop() {
                outcome?;
            }
        }
    }

    /// Whether what comes next may start, as far as it is here.
    fn may_start(&self) -> bool {
        let key = self.inbox.get(4..).and_then(|rest| rest.first_chunk());
        self.pipeline
            .admits(key.map_or(-1, |key| i16::from_be_bytes(*key)))
    }

    async fn start_what_is_here(&mut self) -> Result<(), Closed> {
        while self.may_start() {
            let Some(frame) = self.next_frame()? else {
                break;
            };
            let len = frame.len();
            let (header, body) = RequestHeader::parse(frame)?;
            let version = header.api_version;
            let ctx = self.context(&header);
            let (api, served) = api::start(header.api_key, ctx, body)?;
            self.pipeline.start(api, version, len, served).await;
        }
        Ok(())
    }

    fn context(&mut self, header: &RequestHeader) -> RequestContext {
        let client_id = header.client_id.as_deref();
        if self.last_client_id.as_deref() != client_id {
            self.last_client_id = client_id.map(Arc::from);
        }
        RequestContext {
            node: Arc::clone(&self.node),
            version: header.api_version,
            correlation_id: header.correlation_id,
            client_id: self.last_client_id.clone(),
            client: self.transport.peer,
            principal: self.principal.clone(),
            listener: Arc::clone(&self.listener),
        }
    }

    /// Moves finished replies to the outbox, up to the first request that is not finished. An error is that of the
    /// request behind them.
    fn take_finished(&mut self) -> Result<(), Closed> {
        while let Some(outcome) = self.pipeline.pop() {
            let done = outcome?;
            tracing::debug!(
                client = %self.transport.peer,
                api = done.api.name,
                version = done.version,
                micros = done.took.as_micros() as u64,
                "answered"
            );
            self.node.metrics.request_served(done.api.key, done.took);
            if let Some(response) = done.response {
                self.outbox.push(response.parts).map_err(Closed::Disk)?;
            }
        }
        Ok(())
    }

    fn holds_whole_frame(&self) -> bool {
        self.frame_len()
            .is_some_and(|len| self.inbox.len() >= 4 + len.max(0) as usize)
    }

    fn frame_len(&self) -> Option<i32> {
        self.inbox.first_chunk().map(|len| i32::from_be_bytes(*len))
    }

    /// The next whole frame, without its length, if it is here.
    fn next_frame(&mut self) -> Result<Option<Bytes>, Closed> {
        let Some(len) = self.frame_len() else {
            return Ok(None);
        };
        if len < 0 || len > self.limits.request_bytes {
            return Err(Closed::Frame {
                len,
                problem: if len < 0 {
                    "impossible"
                } else {
                    "larger than socket.request.max.bytes"
                },
                sent: frame::sniff(&self.inbox),
            });
        }
        let len = len as usize;
        if self.inbox.len() < 4 + len {
            return Ok(None);
        }
        self.inbox.advance(4);
        Ok(Some(self.inbox.split_to(len).freeze()))
    }

    /// Makes room for what is coming; false while enough is read ahead of a request that waits.
    fn prepare_to_read(&mut self) -> bool {
        if !self.may_start() && self.inbox.len() >= READ_AHEAD_BYTES {
            return false;
        }
        let missing = match self.frame_len() {
            Some(len) => (4 + len.max(0) as usize).saturating_sub(self.inbox.len()),
            None => 0,
        };
        let room = missing.clamp(self.room, GROWTH_BYTES);
        if self.inbox.capacity() - self.inbox.len() < room {
            self.inbox.reserve(room);
        }
        true
    }

    /// After something was read.
    fn adapt_room(&mut self) {
        let small_ones = self.inbox.len() == self.inbox.capacity() && self.holds_whole_frame();
        self.room = if small_ones {
            (2 * self.room).min(BUSY_BUFFER_BYTES)
        } else {
            (self.room / 2).max(IDLE_BUFFER_BYTES)
        };
    }
}
