//! The driver of the metadata: one thread owns the ZAB peer, its log and the images, and takes
//! commands from everybody.
//!
//! A command is decided against the speculative image (everything proposed so far), so commands do
//! not wait for each other's flush: all that came during one flush are decided together and share
//! the next. What is committed is replayed into the committed image, handed to the listener (the
//! broker's partitions), published, and only then answered. A reply without records of its own
//! still waits for everything it was decided upon.
//!
//! The driver decides nothing. When the disk fails or a record contradicts the image it stops for
//! good, and `MetadataHandle::stopped` says why.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use crate::controller::command::{ApiError, FormatCluster};
use crate::controller::snapshot::{RecordsError, decode_records, encode_records};
use crate::controller::{
    Command, ConfigSchema, Environment, MetadataDelta, MetadataImage, Record, Reply, Settings,
    decide, features,
};
use crate::error::ErrorCode;
use crate::log::storage::Storage;
use crate::types::{NodeId, TopicId, Zxid};
use crate::zab::quorum::Voters;
use crate::zab::{EnsembleError, Input, Peer, Proposal};
use crate::zab_log::{Opened, ZabLog, ZabLogError};

/// Commands that wait for the thread; a sender beyond waits, too.
const QUEUED_COMMANDS: usize = 1024;
/// What one flush takes along, the last command's records apart.
const BATCH_BYTES: usize = 1 << 20;
/// A log shorter than this is not worth a snapshot.
const SNAPSHOT_AFTER_BYTES: u64 = 8 << 20;

/// What the thread works with.
pub struct ZabPeerOptions {
    pub node: NodeId,
    pub voters: Vec<NodeId>,
    /// `<first log directory>/zab`.
    pub dir: PathBuf,
    pub storage: Arc<dyn Storage>,
    pub schema: Arc<dyn ConfigSchema + Send + Sync>,
    pub settings: Settings,
    /// `min.insync.replicas`, for a cluster that is new.
    pub min_insync_replicas: i32,
}

/// Hears of every change, in order, before those who asked for it get their replies. Called on the
/// metadata's own thread: what takes long is to be done elsewhere.
pub trait MetadataListener: Send {
    fn on_change(&mut self, image: &Arc<MetadataImage>, delta: &MetadataDelta);
}

impl<F: FnMut(&Arc<MetadataImage>, &MetadataDelta) + Send> MetadataListener for F {
    fn on_change(&mut self, image: &Arc<MetadataImage>, delta: &MetadataDelta) {
        self(image, delta);
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ZabPeerError {
    #[error(transparent)]
    Log(#[from] ZabLogError),
    #[error(transparent)]
    Ensemble(#[from] EnsembleError),
    /// The log is whole but cannot be what it should be.
    #[error("the metadata at zxid {0:#x} cannot be applied: {1}")]
    Records(Zxid, RecordsError),
    #[error("the thread of the metadata cannot be started: {0}")]
    Thread(std::io::Error),
}

/// Why a command has no reply. What became of it is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    #[error("the server is shutting down")]
    Closed,
    #[error("the metadata cannot be changed any more: {0}")]
    Failed(Arc<str>),
}

impl From<SubmitError> for ApiError {
    /// A server that is closing is not the controller for long; a client asks another.
    fn from(error: SubmitError) -> Self {
        let code = match &error {
            SubmitError::Closed => ErrorCode::NotController,
            SubmitError::Failed(_) => ErrorCode::KafkaStorageError,
        };
        ApiError::new(code, error.to_string())
    }
}

/// Everybody's way to the metadata.
#[derive(Debug, Clone)]
pub struct MetadataHandle {
    image: Arc<ArcSwap<MetadataImage>>,
    queue: mpsc::Sender<Message>,
    state: watch::Receiver<State>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
    leader: NodeId,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Running,
    Closed,
    Failed(Arc<str>),
}

enum Message {
    Submit(Box<Command>, oneshot::Sender<Reply>),
    SnapshotWritten(Zxid, std::io::Result<u64>),
    Close,
}

impl MetadataHandle {
    /// Everything committed and applied here. It is a snapshot: it stays as it is.
    pub fn image(&self) -> Arc<MetadataImage> {
        self.image.load_full()
    }

    /// The node of the ZAB leader. Of an ensemble of one it is the one.
    pub fn leader(&self) -> NodeId {
        self.leader
    }

    /// Comes back when this node has applied what was decided, or knows that nothing was.
    pub async fn submit(&self, command: Command) -> Result<Reply, SubmitError> {
        let (reply, answered) = oneshot::channel();
        let message = Message::Submit(Box::new(command), reply);
        if self.queue.send(message).await.is_err() {
            return Err(self.why_stopped().await);
        }
        match answered.await {
            Ok(reply) => Ok(reply),
            Err(_) => Err(self.why_stopped().await),
        }
    }

    /// The thread ended, or is about to.
    async fn why_stopped(&self) -> SubmitError {
        self.stopped().await.unwrap_or(SubmitError::Closed)
    }

    /// Waits until the metadata stops; the error, unless it was closed.
    pub async fn stopped(&self) -> Option<SubmitError> {
        let mut state = self.state.clone();
        let state = state.wait_for(|state| *state != State::Running).await;
        match state.as_deref() {
            Ok(State::Failed(why)) => Some(SubmitError::Failed(why.clone())),
            _ => None,
        }
    }

    /// What was submitted before is done; then the thread ends. Waits for it.
    pub async fn close(&self) {
        if self.queue.send(Message::Close).await.is_ok() {
            self.stopped().await;
        }
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // It has said that it is done: the join is immediate.
            let _ = thread.join();
        }
    }
}

/// A peer that has recovered and leads, not yet running.
pub struct ZabPeer {
    driver: Driver,
}

struct Driver {
    peer: Peer,
    log: ZabLog,
    committed: MetadataImage,
    speculative: MetadataImage,
    /// Proposed here and not yet committed: spares decoding them.
    proposed: VecDeque<(Zxid, Vec<Record>)>,
    /// Go out when this node has applied the zxid.
    replies: VecDeque<(Zxid, oneshot::Sender<Reply>, Reply)>,
    options: ZabPeerOptions,
    published: Arc<ArcSwap<MetadataImage>>,
    listener: Option<Box<dyn MetadataListener>>,
    snapshot: SnapshotState,
}

/// When the next snapshot is due.
struct SnapshotState {
    writing: bool,
    after_bytes: u64,
}

impl ZabPeer {
    /// Reads the disk and goes through an election; a new directory becomes a new cluster. Blocks
    /// on the disk, for some milliseconds when there is little to read.
    pub fn open(options: ZabPeerOptions) -> Result<Self, ZabPeerError> {
        let Opened {
            log,
            recovered,
            snapshot,
        } = ZabLog::open(options.storage.clone(), &options.dir, rand::random())?;
        let committed = match &snapshot {
            Some(body) => MetadataImage::from_snapshot(body, recovered.snapshot)
                .map_err(|error| ZabPeerError::Records(recovered.snapshot, error))?,
            None => MetadataImage::default(),
        };
        let voters = Voters::new(options.voters.iter().copied());
        let peer = Peer::new(options.node, voters, recovered)?;
        let snapshot_bytes = snapshot.map_or(0, |body| body.len() as u64);
        let mut driver = Driver {
            peer,
            log,
            speculative: committed.clone(),
            committed,
            proposed: VecDeque::new(),
            replies: VecDeque::new(),
            options,
            published: Arc::default(),
            listener: None,
            snapshot: SnapshotState {
                writing: false,
                after_bytes: SNAPSHOT_AFTER_BYTES.max(snapshot_bytes),
            },
        };
        driver.peer.step(Input::Start);
        driver.settle()?;
        driver.speculative = driver.committed.clone();
        driver.format()?;
        Ok(Self { driver })
    }

    /// What the disk had. The listener will hear of what comes after it, so whoever listens begins
    /// with `MetadataDelta::whole` of this.
    pub fn image(&self) -> Arc<MetadataImage> {
        self.driver.published.load_full()
    }

    /// The election's outcome: every leadership has a higher one.
    pub fn epoch(&self) -> u32 {
        self.driver.peer.current_epoch()
    }

    pub fn start(
        mut self,
        listener: impl MetadataListener + 'static,
    ) -> Result<MetadataHandle, ZabPeerError> {
        self.driver.listener = Some(Box::new(listener));
        let image = self.driver.published.clone();
        let leader = self.driver.options.node;
        let (queue, commands) = mpsc::channel(QUEUED_COMMANDS);
        let (state_sender, state) = watch::channel(State::Running);
        let to_itself = queue.downgrade();
        let thread = std::thread::Builder::new()
            .name("zab-peer".into())
            .spawn(move || {
                let ended = self.driver.run(commands, to_itself);
                let ended = match ended {
                    Ok(()) => State::Closed,
                    Err(error) => {
                        tracing::error!("the metadata stops: {error}");
                        State::Failed(error.to_string().into())
                    }
                };
                // Nobody may be listening any more.
                let _ = state_sender.send(ended);
            })
            .map_err(ZabPeerError::Thread)?;
        Ok(MetadataHandle {
            image,
            queue,
            state,
            thread: Arc::new(Mutex::new(Some(thread))),
            leader,
        })
    }
}

impl Driver {
    fn run(
        &mut self,
        mut commands: mpsc::Receiver<Message>,
        to_itself: mpsc::WeakSender<Message>,
    ) -> Result<(), ZabPeerError> {
        while let Some(first) = commands.blocking_recv() {
            let mut next = Some(first);
            let mut batch_bytes = 0;
            let mut close = false;
            while let Some(message) = next.take() {
                match message {
                    Message::Submit(command, reply) => {
                        batch_bytes += self.decide(&command, Some(reply))?;
                    }
                    Message::SnapshotWritten(zxid, written) => {
                        self.on_snapshot(zxid, written)?;
                    }
                    Message::Close => close = true,
                }
                if batch_bytes < BATCH_BYTES && !close {
                    next = commands.try_recv().ok();
                }
            }
            self.settle()?;
            if close {
                return Ok(());
            }
            self.maybe_snapshot(&to_itself);
        }
        Ok(())
    }

    /// Decides and proposes; the reply waits. Gives the bytes that were proposed.
    fn decide(
        &mut self,
        command: &Command,
        reply_to: Option<oneshot::Sender<Reply>>,
    ) -> Result<usize, ZabPeerError> {
        let decision = decide(
            &self.speculative,
            command,
            &mut Environment {
                new_id: &mut new_id,
                schema: &*self.options.schema,
                settings: &self.options.settings,
            },
        );
        let mut bytes = 0;
        if !decision.records.is_empty() {
            let payload = Bytes::from(encode_records(&decision.records));
            bytes = payload.len();
            let zxid = self.propose(payload)?;
            self.speculative
                .replay_all(zxid, &decision.records, &mut MetadataDelta::default())
                .map_err(|error| ZabPeerError::Records(zxid, error.into()))?;
            self.proposed.push_back((zxid, decision.records));
        }
        if let Some(reply_to) = reply_to {
            let after = self.peer.last_zxid();
            self.replies.push_back((after, reply_to, decision.reply));
        }
        Ok(bytes)
    }

    /// An epoch without a counter left ends in an election, after which it goes on.
    fn propose(&mut self, payload: Bytes) -> Result<Zxid, ZabPeerError> {
        loop {
            match self.peer.propose(payload.clone()) {
                Ok(zxid) => return Ok(zxid),
                Err(_) => self.settle()?,
            }
        }
    }

    /// Writes, flushes and applies until there is nothing left to do.
    fn settle(&mut self) -> Result<(), ZabPeerError> {
        loop {
            let ready = self.peer.ready();
            self.apply(ready.apply)?;
            let Some(persist) = ready.persist else {
                return Ok(());
            };
            self.log.persist(&persist.writes)?;
            self.peer.step(Input::Durable(persist.receipt));
        }
    }

    fn apply(&mut self, proposals: Vec<Proposal>) -> Result<(), ZabPeerError> {
        let mut delta = MetadataDelta::default();
        for proposal in &proposals {
            let zxid = proposal.zxid;
            let failed = |error| ZabPeerError::Records(zxid, error);
            let own = self.proposed.pop_front_if(|(own, _)| *own == zxid);
            let records = match own {
                Some((_, records)) => records,
                None => decode_records(&proposal.payload).map_err(failed)?,
            };
            self.committed
                .replay_all(zxid, &records, &mut delta)
                .map_err(|error| failed(error.into()))?;
        }
        if self.committed.applied() == self.speculative.applied() {
            // The same, and so it takes its memory only once.
            self.speculative = self.committed.clone();
        }
        if !proposals.is_empty() {
            let image = Arc::new(self.committed.clone());
            if let Some(listener) = self.listener.as_mut().filter(|_| !delta.is_empty()) {
                listener.on_change(&image, &delta);
            }
            self.published.store(image);
        }
        let applied = self.peer.delivered();
        while let Some((_, to, reply)) = self.replies.pop_front_if(|(after, ..)| *after <= applied)
        {
            // Who asked may be gone.
            let _ = to.send(reply);
        }
        Ok(())
    }

    fn format(&mut self) -> Result<(), ZabPeerError> {
        if self.committed.cluster_id().is_empty() {
            let cluster_id = TopicId(new_id()).to_string();
            tracing::info!("formatted the new cluster {cluster_id}");
            let command = Command::FormatCluster(FormatCluster {
                cluster_id,
                features: features::of_a_new_cluster(),
                min_insync_replicas: self.options.min_insync_replicas,
            });
            self.decide(&command, None)?;
            self.settle()?;
        }
        self.published.store(Arc::new(self.committed.clone()));
        Ok(())
    }

    /// Written by a thread of its own, out of an image that does not change.
    fn maybe_snapshot(&mut self, to_itself: &mpsc::WeakSender<Message>) {
        if self.snapshot.writing || self.log.bytes_since_snapshot() < self.snapshot.after_bytes {
            return;
        }
        self.log.before_snapshot();
        let image = self.published.load_full();
        let writer = self.log.snapshot_writer();
        let to_itself = to_itself.clone();
        let spawned = std::thread::Builder::new()
            .name("zab-snapshot".into())
            .spawn(move || {
                let zxid = image.applied();
                let body = image.to_snapshot();
                let written = writer.write(zxid, &body).map(|()| body.len() as u64);
                if let Some(queue) = to_itself.upgrade() {
                    // A peer that is closed finds the snapshot when it opens again.
                    let _ = queue.blocking_send(Message::SnapshotWritten(zxid, written));
                }
            });
        match spawned {
            Ok(_) => self.snapshot.writing = true,
            Err(error) => tracing::warn!("no thread for a metadata snapshot: {error}"),
        }
    }

    fn on_snapshot(
        &mut self,
        zxid: Zxid,
        written: std::io::Result<u64>,
    ) -> Result<(), ZabPeerError> {
        self.snapshot.writing = false;
        match written {
            Ok(bytes) => {
                self.snapshot.after_bytes = SNAPSHOT_AFTER_BYTES.max(bytes);
                self.log.after_snapshot(zxid)?;
                tracing::debug!("metadata snapshot at {zxid:#x}: {bytes} bytes");
            }
            // The log has everything; another is tried when it has grown by as much again.
            Err(error) => tracing::warn!("a metadata snapshot could not be written: {error}"),
        }
        Ok(())
    }
}

/// Random, and as Kafka's own ids: without a dash, which command lines take for an option.
fn new_id() -> Uuid {
    loop {
        let id = Uuid::new_v4();
        if !TopicId(id).to_string().contains('-') {
            return id;
        }
    }
}

#[cfg(test)]
#[path = "zab_peer_tests.rs"]
mod tests;
