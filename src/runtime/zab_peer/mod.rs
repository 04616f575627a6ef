//! The node's part in the ensemble: one thread owns the ZAB peer, its links and the images, and takes commands from
//! everybody.
//!
//! The links to the other servers are tasks of the same thread: what comes is dealt with, and what it leads to is sent, without
//! another thread being woken for it.
//!
//! Any node takes any command: the thread asks the leader, itself perhaps, and answers when this node has applied what
//! was decided, so a client reads its own writes. `driver` is the thread, `decisions` what it does as the leader,
//! `requests` what waits for the leader, `log_writer` what is on its way to disk, `snapshots` what bounds the log.
//!
//! When the disk fails or a record contradicts the image the thread stops for good, and `MetadataHandle::stopped` says
//! why.

mod asked;
mod decisions;
mod driver;
mod log_writer;
mod requests;
mod snapshots;
pub mod view;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

pub use self::asked::{AddVoter, Quorum, QuorumMember, RemoveVoter};
use self::asked::{Answered, Asked};
use self::driver::Driver;
use self::log_writer::{LogWriter, Written};
use self::requests::Requests;
use self::snapshots::Snapshots;
use crate::controller::command::ApiError;
use crate::controller::sessions::Sessions;
use crate::controller::snapshot::RecordsError;
use crate::controller::{Command, ConfigSchema, MetadataDelta, MetadataImage, Reply, Settings};
use crate::error::ErrorCode;
use crate::log::storage::Storage;
use crate::metrics::Metrics;
use crate::runtime::zab_link::{LinkError, LinkEvent, LinkOptions};
use crate::types::{NodeId, Zxid};
use crate::zab::{self, EnsembleError, Peer, PeerOptions, Status, Voters};
use crate::zab_log::{Opened, ZabLog, ZabLogError};

/// What waits for the thread; a sender beyond waits, too.
const QUEUED_MESSAGES: usize = 4096;
/// Commands that wait for room among the open ones.
const QUEUED_ASKS: usize = 64;
/// A command that no leader has answered by then is given up. Clients that give a time of their own wait no longer
/// than that.
const ANSWER_WITHIN_MS: i64 = 30_000;

/// What the thread works with.
pub struct ZabPeerOptions {
    pub node: NodeId,
    /// Of the ensemble when it begins.
    pub voters: Voters,
    /// Of this node's data.
    pub directory: Option<Uuid>,
    /// `<first log directory>/zab`.
    pub dir: PathBuf,
    pub storage: Arc<dyn Storage>,
    pub schema: Arc<dyn ConfigSchema + Send + Sync>,
    pub settings: Settings,
    pub zab: zab::Settings,
    /// `None` for an ensemble of one that nobody is to join.
    pub links: Option<LinkOptions>,
    /// What this node may have asked and not been answered.
    pub open: OpenLimits,
    /// A log shorter than this is not worth a snapshot.
    pub snapshot_after_bytes: u64,
    pub metrics: Arc<Metrics>,
}

/// `ensemble.open.requests` and `ensemble.request.max.bytes`: who asks beyond the first waits, a command beyond the
/// second is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenLimits {
    pub requests: usize,
    pub request_bytes: usize,
}

impl Default for OpenLimits {
    fn default() -> Self {
        Self {
            requests: 4096,
            request_bytes: 8 << 20,
        }
    }
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
    #[error(transparent)]
    Link(#[from] LinkError),
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
    #[error("no leader of the ensemble has answered in time")]
    TimedOut,
    #[error("the leader of the ensemble is of another version")]
    Misunderstood,
    /// Nothing of it was done.
    #[error("Unable to perform excessively large batch operation.")]
    TooLarge,
    #[error("the metadata cannot be changed any more: {0}")]
    Failed(Arc<str>),
}

impl From<SubmitError> for ApiError {
    /// A server that is closing is not the controller for long; a client asks another.
    fn from(error: SubmitError) -> Self {
        let code = match &error {
            SubmitError::Closed => ErrorCode::NotController,
            SubmitError::TimedOut => ErrorCode::RequestTimedOut,
            SubmitError::Misunderstood => ErrorCode::UnknownServerError,
            SubmitError::TooLarge => ErrorCode::PolicyViolation,
            SubmitError::Failed(_) => ErrorCode::KafkaStorageError,
        };
        ApiError::new(code, error.to_string())
    }
}

/// What everybody may see of the ensemble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shown {
    pub leader: Option<NodeId>,
    pub epoch: u32,
    /// This node has been up to date with a leader.
    pub joined: bool,
}

/// Everybody's way to the metadata.
#[derive(Debug, Clone)]
pub struct MetadataHandle {
    image: Arc<ArcSwap<MetadataImage>>,
    queue: mpsc::Sender<Message>,
    asks: mpsc::Sender<Ask>,
    state: watch::Receiver<State>,
    shown: watch::Receiver<Shown>,
    status: Arc<ArcSwapOption<Status>>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
    incarnation: Uuid,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Running,
    Closed,
    Failed(Arc<str>),
}

type Waiter = oneshot::Sender<Result<Answered, SubmitError>>;

/// What the thread hears while there is room for it.
enum Ask {
    Leader(Box<Asked>, Waiter),
    /// Reads from then on are no older than this moment.
    Sync(oneshot::Sender<Result<(), SubmitError>>),
}

/// What the thread hears.
enum Message {
    Link(LinkEvent),
    Written(Written),
    SnapshotWritten(Zxid, std::io::Result<u64>),
    /// For a learner that is far behind.
    SnapshotTaken(Zxid, Vec<u8>),
    Attach(Box<dyn MetadataListener>, oneshot::Sender<()>),
    Status(oneshot::Sender<Status>),
    Close,
}

impl From<LinkEvent> for Message {
    fn from(event: LinkEvent) -> Self {
        Message::Link(event)
    }
}

impl MetadataHandle {
    /// Everything committed and applied here. It is a snapshot: it stays as it is.
    pub fn image(&self) -> Arc<MetadataImage> {
        self.image.load_full()
    }

    /// The node of the ZAB leader, as far as is known here.
    pub fn leader(&self) -> Option<NodeId> {
        self.shown.borrow().leader
    }

    /// Of the leadership that this node knows.
    pub fn epoch(&self) -> u32 {
        self.shown.borrow().epoch
    }

    /// The peer as it was a moment ago.
    pub fn last_status(&self) -> Option<Arc<Status>> {
        self.status.load_full()
    }

    /// This process, as its broker registers.
    pub fn incarnation(&self) -> Uuid {
        self.incarnation
    }

    /// Waits until this node is up to date with a leader for the first time.
    pub async fn joined(&self) -> Result<Arc<MetadataImage>, SubmitError> {
        let mut shown = self.shown.clone();
        let joined = shown.wait_for(|shown| shown.joined).await.is_ok();
        if joined {
            Ok(self.image())
        } else {
            Err(self.why_stopped().await)
        }
    }

    /// From now on the listener hears of every change; first of all that there is.
    pub async fn attach(
        &self,
        listener: impl MetadataListener + 'static,
    ) -> Result<(), SubmitError> {
        let message = |told| Message::Attach(Box::new(listener), told);
        self.ask(&self.queue, message).await
    }

    /// Comes back when this node has applied what was decided, or knows that nothing was.
    pub async fn submit(&self, command: Command) -> Result<Reply, SubmitError> {
        match self.ask_leader(Asked::Command(command)).await? {
            Answered::Reply(reply) => Ok(reply),
            _ => Err(SubmitError::Misunderstood),
        }
    }

    /// The ensemble, as its leader sees it.
    pub async fn describe_quorum(&self) -> Result<Quorum, SubmitError> {
        match self.ask_leader(Asked::DescribeQuorum).await? {
            Answered::Quorum(quorum) => Ok(quorum),
            _ => Err(SubmitError::Misunderstood),
        }
    }

    /// Comes back when the change is committed.
    pub async fn add_voter(&self, voter: AddVoter) -> Result<(), ApiError> {
        self.change_voters(Asked::AddVoter(voter)).await
    }

    pub async fn remove_voter(&self, voter: RemoveVoter) -> Result<(), ApiError> {
        self.change_voters(Asked::RemoveVoter(voter)).await
    }

    async fn change_voters(&self, asked: Asked) -> Result<(), ApiError> {
        match self.ask_leader(asked).await? {
            Answered::VotersChanged(changed) => changed,
            _ => Err(SubmitError::Misunderstood.into()),
        }
    }

    async fn ask_leader(&self, asked: Asked) -> Result<Answered, SubmitError> {
        self.ask(&self.asks, |answer| Ask::Leader(Box::new(asked), answer))
            .await?
    }

    /// Comes back when this node has applied everything that was committed anywhere before the call.
    pub async fn sync(&self) -> Result<(), SubmitError> {
        self.ask(&self.asks, Ask::Sync).await?
    }

    pub async fn status(&self) -> Result<Status, SubmitError> {
        self.ask(&self.queue, Message::Status).await
    }

    async fn ask<M, T>(
        &self,
        queue: &mpsc::Sender<M>,
        message: impl FnOnce(oneshot::Sender<T>) -> M,
    ) -> Result<T, SubmitError> {
        let (to, answered) = oneshot::channel();
        // It takes its place when it is first polled, whatever else the task has done: who asks one thing after the
        // other without waiting has them decided in that order.
        let sent = tokio::task::unconstrained(queue.send(message(to))).await;
        if sent.is_err() {
            return Err(self.why_stopped().await);
        }
        match answered.await {
            Ok(answer) => Ok(answer),
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

    /// What was submitted before is done, where there is a leader; then the thread ends. Waits for it.
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

/// Reads the disk, connects to the others and begins the node's life in the ensemble. Blocks on the disk, for some
/// milliseconds when there is little to read. A new ensemble becomes a new cluster.
pub async fn start(options: ZabPeerOptions) -> Result<MetadataHandle, ZabPeerError> {
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
    let snapshot_bytes = snapshot.map_or(0, |body| body.len() as u64);
    let incarnation = Uuid::new_v4();
    let cluster_id = Some(committed.cluster_id()).filter(|id| !id.is_empty());
    let cluster_id = cluster_id.map(str::to_owned);
    let peer_options = PeerOptions {
        directory: options.directory,
        cluster_id: cluster_id.clone(),
        settings: options.zab.clone(),
        seed: rand::random(),
        ..PeerOptions::new(options.node, options.voters.clone())
    };
    let peer = Peer::new(peer_options, recovered)?;

    let (queue, messages) = mpsc::channel(QUEUED_MESSAGES);
    let (asks, asked) = mpsc::channel(QUEUED_ASKS);
    let (state_sender, state) = watch::channel(State::Running);
    let (shown_sender, shown) = watch::channel(Shown::default());
    let image: Arc<ArcSwap<MetadataImage>> = Arc::default();
    let status: Arc<ArcSwapOption<Status>> = Arc::default();
    image.store(Arc::new(committed.clone()));
    let told = {
        let queue = queue.clone();
        move |written| {
            // A peer that is closed does not want to know.
            let _ = queue.blocking_send(Message::Written(written));
        }
    };
    let log_writer = log.snapshot_writer();
    let log =
        LogWriter::start(log, Arc::clone(&options.metrics), told).map_err(ZabPeerError::Thread)?;
    let mut sessions = Sessions::default();
    sessions.on_connected(options.node, incarnation);
    let mut driver = Driver {
        peer,
        incarnation,
        log,
        links: None,
        outbound: BTreeMap::new(),
        incarnations: BTreeMap::new(),
        started: Instant::now(),
        speculative: MetadataImage::default(),
        committed,
        proposed: VecDeque::new(),
        requests: Requests::new(options.open),
        syncs: Default::default(),
        sessions,
        leader: None,
        published: Arc::clone(&image),
        shown: shown_sender,
        listener: None,
        looking_since: Some(Instant::now()),
        status: Arc::clone(&status),
        status_due: crate::state_machine::Tick(0),
        snapshots: Snapshots::new(
            log_writer,
            options.snapshot_after_bytes.max(snapshot_bytes),
            queue.downgrade(),
        ),
        cluster_known: cluster_id.is_some(),
        scratch: Default::default(),
        closing: None,
        options,
    };
    let runtime = driver::runtime().map_err(ZabPeerError::Thread)?;
    let events = queue.clone();
    let (told_linked, linked) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("zab-peer".into())
        .spawn(move || {
            if let Err(error) = runtime.block_on(driver.link(events)) {
                // The directory is free again when this is heard.
                drop(driver);
                // Who starts it may be gone, here and below.
                let _ = told_linked.send(Err(error));
                return;
            }
            let _ = told_linked.send(Ok(()));
            let ended = runtime.block_on(async {
                let ended = driver.run(messages, asked).await;
                driver.unlink().await;
                ended
            });
            // A name that is still looked up is not waited for.
            runtime.shutdown_background();
            let ended = match ended {
                Ok(()) => State::Closed,
                Err(error) => {
                    tracing::error!("the metadata stops: {error}");
                    State::Failed(error.to_string().into())
                }
            };
            // What was asked to be written is, before anybody hears of the end.
            drop(driver);
            // Nobody may be listening any more.
            let _ = state_sender.send(ended);
        })
        .map_err(ZabPeerError::Thread)?;
    // A thread that has panicked shows as one that has stopped.
    if let Ok(linked) = linked.await {
        linked?;
    }
    Ok(MetadataHandle {
        image,
        queue,
        asks,
        state,
        shown,
        status,
        thread: Arc::new(Mutex::new(Some(thread))),
        incarnation,
    })
}

#[cfg(test)]
mod tests;
