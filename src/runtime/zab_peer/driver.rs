//! The thread of the metadata: feeds the peer, does what it wants done, decides commands while this node leads.
//!
//! A command is decided against the speculative image (everything proposed so far), so commands do not wait for each
//! other's flush or quorum. What is committed is replayed into the committed image, handed to the listener (the broker's
//! partitions), published, and only then answered. A reply without records of its own still waits for everything it
//! was decided upon. The numbers of commands are part of what is replayed, so one that is asked again of a new leader
//! is known and not decided twice.
//!
//! The driver decides nothing about the ensemble. When the disk fails or a record contradicts the image it stops for
//! good.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use super::asked::Answered;
use super::decisions::{Scratch, encode_request};
use super::log_writer::{LogWriter, Written};
use super::requests::Requests;
use super::snapshots::Snapshots;
use super::{
    ANSWER_WITHIN_MS, Ask, Message, MetadataListener, Shown, SubmitError, Waiter, ZabPeerError,
    ZabPeerOptions,
};
use crate::controller::command::Reply;
use crate::controller::records::{Record, RequestRecord};
use crate::controller::sessions::Sessions;
use crate::controller::snapshot::decode_records;
use crate::controller::{MetadataDelta, MetadataImage};
use crate::runtime::zab_link::{Address, Identity, LinkError, LinkEvent, Outbound, ZabLink};
use crate::state_machine::Tick;
use crate::types::{NodeId, Zxid};
use crate::zab::{Event, Input, Peer, Proposal, ProposalKind, Ready, Status};

/// What one round takes in before it is written and sent: everybody's next flush shares it.
const ROUND_MESSAGES: usize = 4096;
const STATUS_EVERY_MS: i64 = 100;
/// A node that stops waits no longer for answers to what it asked.
const CLOSE_WITHIN_MS: i64 = 1000;

pub(super) struct Driver {
    pub(super) peer: Peer,
    pub(super) options: ZabPeerOptions,
    pub(super) incarnation: Uuid,
    pub(super) log: LogWriter,
    pub(super) links: Option<ZabLink>,
    /// Of the links that this thread has heard of.
    pub(super) outbound: BTreeMap<NodeId, Outbound>,
    pub(super) started: Instant,
    pub(super) committed: MetadataImage,
    /// Of a leader: with everything it proposed.
    pub(super) speculative: MetadataImage,
    /// Proposed here and not yet committed: spares decoding them.
    pub(super) proposed: VecDeque<(Zxid, Vec<Record>, Instant)>,
    pub(super) requests: Requests<Waiter>,
    pub(super) syncs: Syncs,
    pub(super) sessions: Sessions,
    /// Of the processes that are linked: a command counts only with the process it came from.
    pub(super) incarnations: BTreeMap<NodeId, Uuid>,
    pub(super) leader: Option<NodeId>,
    pub(super) published: Arc<ArcSwap<MetadataImage>>,
    pub(super) shown: watch::Sender<Shown>,
    pub(super) listener: Option<Box<dyn MetadataListener>>,
    pub(super) snapshots: Snapshots,
    pub(super) cluster_known: bool,
    /// For how long there was no leader.
    pub(super) looking_since: Option<Instant>,
    /// For whoever watches: now and then, for it is not for free.
    pub(super) status: Arc<ArcSwapOption<Status>>,
    pub(super) status_due: Tick,
    pub(super) scratch: Scratch,
    /// By when, whatever is still open.
    pub(super) closing: Option<Tick>,
}

/// Who waits for reads to be current. Asked again of each leader.
#[derive(Default)]
pub(super) struct Syncs {
    last: u64,
    waiting: BTreeMap<u64, (SyncWaiter, Option<Zxid>, Tick)>,
}

impl Syncs {
    fn take(&mut self, due: impl Fn(Option<Zxid>, Tick) -> bool) -> Vec<SyncWaiter> {
        let waiting = std::mem::take(&mut self.waiting);
        let (taken, left): (BTreeMap<_, _>, _) = waiting
            .into_iter()
            .partition(|(_, (_, after, by))| due(*after, *by));
        self.waiting = left;
        taken.into_values().map(|(waiter, ..)| waiter).collect()
    }
}

type SyncWaiter = oneshot::Sender<Result<(), SubmitError>>;

/// The thread's own: nobody else runs its tasks.
pub(super) fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

impl Driver {
    /// Listens to the other servers, where there may be some.
    pub(super) async fn link(&mut self, events: mpsc::Sender<Message>) -> Result<(), LinkError> {
        if let Some(options) = self.options.links.clone() {
            let metrics = Arc::clone(&self.options.metrics);
            let links = ZabLink::start(options, self.identity(), events, metrics).await?;
            self.links = Some(links);
        }
        Ok(())
    }

    pub(super) async fn unlink(&mut self) {
        if let Some(links) = self.links.take() {
            links.close().await;
        }
    }

    /// Until it is closed and what was asked before is done, or until an error.
    pub(super) async fn run(
        &mut self,
        mut queue: mpsc::Receiver<Message>,
        mut asks: mpsc::Receiver<Ask>,
    ) -> Result<(), ZabPeerError> {
        self.dial();
        self.peer.step(Input::Start, self.now());
        self.advance()?;
        loop {
            if let Some(by) = self.closing
                && (self.requests.is_empty() && asks.is_empty() || self.now() >= by)
            {
                return Ok(());
            }
            let deadline = self.next_deadline();
            let deadline = deadline.map(|tick| self.started + Duration::from_millis(tick.0));
            tokio::select! {
                message = queue.recv() => match message {
                    Some(message) => self.handle(message)?,
                    None => return Ok(()),
                },
                Some(ask) = asks.recv(), if self.has_room() => self.on_ask(ask),
                () = sleep_until(deadline) => {}
            }
            for _ in 0..ROUND_MESSAGES {
                match queue.try_recv() {
                    Ok(message) => self.handle(message)?,
                    Err(_) => break,
                }
            }
            while self.has_room()
                && let Ok(ask) = asks.try_recv()
            {
                self.on_ask(ask);
            }
            self.advance()?;
        }
    }

    fn has_room(&self) -> bool {
        self.requests.has_room() && self.syncs.waiting.len() < self.options.open.requests
    }

    fn on_ask(&mut self, ask: Ask) {
        let deadline = self.now().plus_ms(ANSWER_WITHIN_MS);
        match ask {
            Ask::Leader(asked, waiter) => {
                let payload = encode_request(self.incarnation, &asked, &mut self.scratch);
                if let Err(waiter) = self.requests.ask(*asked, payload, waiter, deadline) {
                    // Who asked may be gone.
                    let _ = waiter.send(Err(SubmitError::TooLarge));
                }
            }
            Ask::Sync(waiter) => {
                self.syncs.last += 1;
                let seq = self.syncs.last;
                self.syncs.waiting.insert(seq, (waiter, None, deadline));
                self.ask_syncs(seq);
            }
        }
    }

    pub(super) fn now(&self) -> Tick {
        let since = self.started.elapsed().as_millis();
        Tick(u64::try_from(since).unwrap_or(u64::MAX))
    }

    fn next_deadline(&self) -> Option<Tick> {
        let deadlines = [
            self.peer.next_deadline(),
            self.requests.next_deadline(),
            self.sessions.next_deadline(self.now()),
            self.syncs.waiting.values().map(|(.., by)| *by).min(),
            self.closing,
        ];
        deadlines.into_iter().flatten().min()
    }

    fn handle(&mut self, message: Message) -> Result<(), ZabPeerError> {
        let now = self.now();
        match message {
            Message::Link(event) => return self.on_link(event),
            Message::Written(Written::Durable(receipt, log_bytes)) => {
                self.snapshots.log_bytes = log_bytes;
                self.peer.step(Input::Durable(receipt), now);
            }
            Message::Written(Written::Failed(error)) => return Err(error.into()),
            Message::SnapshotWritten(zxid, written) => {
                if let Ok(bytes) = written {
                    self.options.metrics.zab_snapshot_written(bytes);
                }
                if self.snapshots.on_written(&written) {
                    self.log.after_snapshot(zxid);
                }
            }
            Message::SnapshotTaken(zxid, body) => {
                let body = body.into();
                self.peer.step(Input::SnapshotTaken { zxid, body }, now);
            }
            Message::Attach(mut listener, attached) => {
                let image = Arc::new(self.committed.clone());
                listener.on_change(&image, &MetadataDelta::whole(&image));
                self.listener = Some(listener);
                // Who asked may be gone.
                let _ = attached.send(());
            }
            Message::Status(asked) => {
                let _ = asked.send(self.peer.status());
            }
            Message::Close => self.closing = Some(now.plus_ms(CLOSE_WITHIN_MS)),
        }
        Ok(())
    }

    fn on_link(&mut self, event: LinkEvent) -> Result<(), ZabPeerError> {
        let now = self.now();
        match event {
            LinkEvent::Connected { hello, outbound } => {
                // What was meant for the link before goes nowhere.
                let ready = self.peer.ready();
                self.take(ready)?;
                let node = hello.node;
                self.outbound.insert(node, outbound);
                self.incarnations.insert(node, hello.incarnation);
                self.sessions.on_connected(node, hello.incarnation);
                self.peer.step(Input::Connected(node), now);
            }
            LinkEvent::Disconnected { node } => {
                self.outbound.remove(&node);
                self.incarnations.remove(&node);
                self.sessions.on_closed(node);
                self.peer.step(Input::Disconnected(node), now);
            }
            LinkEvent::Message {
                from,
                message,
                room,
            } => {
                self.peer.step(Input::Message { from, message }, now);
                drop(room);
            }
            // The link's own task has said so.
            LinkEvent::Refused { .. } => {}
        }
        Ok(())
    }

    /// What others are told, and what they are let in by.
    fn identity(&self) -> Identity {
        Identity {
            hello: self.peer.hello(self.incarnation),
            voters: self.peer.voters().clone(),
        }
    }

    fn identify(&self) {
        if let Some(links) = &self.links {
            links.set_identity(self.identity());
        }
    }

    /// Every voter; an observer finds the leader among them.
    fn dial(&self) {
        let Some(links) = &self.links else { return };
        let status = self.peer.status();
        let others = status
            .voters
            .iter()
            .filter(|(node, _)| *node != status.node);
        let servers = others.map(|(node, voter)| {
            let (host, port) = (voter.host.clone(), voter.port);
            (node, Address { host, port })
        });
        links.dial(servers.collect());
    }

    /// Does everything there is to do now.
    fn advance(&mut self) -> Result<(), ZabPeerError> {
        let now = self.now();
        self.peer.step(Input::Tick, now);
        loop {
            let ready = self.peer.ready();
            let idle = ready.is_empty();
            self.take(ready)?;
            let asked = self.decide_own()?;
            if idle && !asked {
                break;
            }
        }
        for waiter in self.requests.expired(now) {
            // Who asked may be gone, here and below.
            let _ = waiter.send(Err(SubmitError::TimedOut));
        }
        for waiter in self.syncs.take(|_, by| by <= now) {
            let _ = waiter.send(Err(SubmitError::TimedOut));
        }
        if self.snapshots.is_due() {
            let image = self.published.load_full();
            let voters = self.peer.voters_at(image.applied()).clone();
            self.log.before_snapshot();
            self.snapshots.begin(image, voters);
        }
        self.show();
        Ok(())
    }

    fn take(&mut self, ready: Ready) -> Result<(), ZabPeerError> {
        for (to, message) in ready.send {
            if let Some(outbound) = self.outbound.get(&to) {
                outbound.send(&message);
            }
        }
        if let Some(persist) = ready.persist {
            self.log.persist(persist);
        }
        if let Some(snapshot) = ready.restore {
            self.restore(snapshot.zxid, &snapshot.body)?;
        }
        self.apply(ready.apply)?;
        for event in ready.events {
            self.on_event(event);
        }
        for request in ready.requests {
            self.on_request(&request)?;
        }
        for (seq, zxid) in ready.synced {
            if let Some((_, after, _)) = self.syncs.waiting.get_mut(&seq) {
                *after = Some(zxid);
            }
        }
        for answer in ready.answers {
            match minicbor::decode(&answer.payload) {
                Ok(reply) => self.requests.on_answer(answer.seq, answer.after, reply),
                Err(error) => tracing::warn!("the leader's answer cannot be read: {error}"),
            }
        }
        if ready.wants_snapshot {
            self.snapshots.take(self.published.load_full());
        }
        self.release();
        Ok(())
    }

    fn on_event(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Looking => {
                self.leader = None;
                self.looking_since.get_or_insert_with(Instant::now);
                self.forget_leader();
                self.sessions.on_led_by_another();
            }
            Event::Leading { epoch } => {
                tracing::info!(epoch, "this node leads the ensemble");
                self.leader = Some(self.options.node);
                self.on_elected();
                // All of the epoch's initial history was applied before.
                self.speculative = self.committed.clone();
                let timeout = self.options.zab.session_timeout_ms;
                let timeout = i64::try_from(timeout).unwrap_or(i64::MAX);
                self.sessions.on_leading(now, timeout);
                self.ask_syncs(0);
            }
            Event::Following { leader, epoch } => {
                tracing::info!(leader = leader.0, epoch, "this node follows the leader");
                self.leader = Some(leader);
                self.on_elected();
                self.sessions.on_led_by_another();
                self.ask_syncs(0);
            }
            Event::LearnerConnected(node) => {
                if let Some(incarnation) = self.incarnations.get(&node) {
                    self.sessions.on_connected(node, *incarnation);
                }
            }
            Event::LearnerClosed(node) => self.sessions.on_closed(node),
            Event::LearnerSilent(node) => {
                tracing::warn!(
                    node = node.0,
                    "nothing was heard of a node for the session timeout"
                );
                self.sessions.on_closed(node);
            }
            Event::VotersChanged => {
                self.identify();
                self.dial();
            }
            Event::Violation { by, what } => {
                tracing::error!(node = by.0, "another server broke the protocol: {what}");
            }
        }
    }

    fn on_elected(&mut self) {
        if let Some(since) = self.looking_since.take() {
            self.options.metrics.zab_elected(since.elapsed());
        }
        self.forget_leader();
    }

    /// What was decided upon a leadership that is over is decided again.
    fn forget_leader(&mut self) {
        self.requests.on_leader_gone();
        self.proposed.clear();
        self.speculative = MetadataImage::default();
        for (_, after, _) in self.syncs.waiting.values_mut() {
            *after = None;
        }
    }

    /// Those from this one on.
    fn ask_syncs(&mut self, from: u64) {
        for (seq, _) in self.syncs.waiting.range(from..) {
            // Without a leader they are asked when there is one.
            let _ = self.peer.sync(*seq);
        }
    }

    fn apply(&mut self, proposals: Vec<Proposal>) -> Result<(), ZabPeerError> {
        if proposals.is_empty() {
            return Ok(());
        }
        let mut delta = MetadataDelta::default();
        let mut answered = Vec::new();
        for proposal in &proposals {
            let zxid = proposal.zxid;
            let failed = |error| ZabPeerError::Records(zxid, error);
            let own = self.proposed.pop_front_if(|(own, ..)| *own == zxid);
            let records = match (own, proposal.kind) {
                (Some((_, records, since)), _) => {
                    self.options.metrics.zab_committed(since.elapsed());
                    records
                }
                (None, ProposalKind::Data) => decode_records(&proposal.payload).map_err(failed)?,
                (None, ProposalKind::Reconfig) => Vec::new(),
            };
            self.committed
                .replay_all(zxid, &records, &mut delta)
                .map_err(|error| failed(error.into()))?;
            answered.extend(records.into_iter().filter_map(|record| match record {
                Record::Request(request) => self.answer_of(request),
                _ => None,
            }));
        }
        if self.proposed.is_empty() && self.peer.is_leading() {
            // The same, and so it takes its memory only once.
            self.speculative = self.committed.clone();
        }
        self.publish(&delta);
        self.learn_cluster();
        for (waiter, reply) in answered {
            // Who asked may be gone.
            let _ = waiter.send(Ok(Answered::Reply(reply)));
        }
        Ok(())
    }

    fn answer_of(&mut self, request: RequestRecord) -> Option<(Waiter, Reply)> {
        let own = request.node == self.options.node && request.incarnation == self.incarnation;
        let waiter = own.then(|| self.requests.on_committed(request.seq))??;
        Some((waiter, request.reply?))
    }

    fn publish(&mut self, delta: &MetadataDelta) {
        let image = Arc::new(self.committed.clone());
        if let Some(listener) = self.listener.as_mut().filter(|_| !delta.is_empty()) {
            listener.on_change(&image, delta);
        }
        self.published.store(image);
    }

    /// The leader's snapshot takes the place of all that was applied here.
    fn restore(&mut self, zxid: Zxid, body: &[u8]) -> Result<(), ZabPeerError> {
        let image = MetadataImage::from_snapshot(body, zxid)
            .map_err(|error| ZabPeerError::Records(zxid, error))?;
        let delta = MetadataDelta::between(&self.committed, &image);
        self.committed = image;
        self.publish(&delta);
        self.learn_cluster();
        let mine = self.committed.last_request(self.options.node);
        if let Some(last) = mine.filter(|last| last.incarnation == self.incarnation) {
            for waiter in self.requests.on_skipped(last.seq) {
                let _ = waiter.send(Err(SubmitError::TimedOut));
            }
        }
        Ok(())
    }

    /// A new node learns where it is by what it applies first.
    fn learn_cluster(&mut self) {
        let cluster_id = self.committed.cluster_id();
        if self.cluster_known || cluster_id.is_empty() {
            return;
        }
        self.peer.set_cluster_id(cluster_id.to_owned());
        self.cluster_known = true;
        self.identify();
    }

    /// What waited for this node to come so far.
    fn release(&mut self) {
        let applied = self.committed.applied();
        for (waiter, reply) in self.requests.on_applied(applied) {
            let _ = waiter.send(Ok(reply));
        }
        for waiter in self
            .syncs
            .take(|after, _| after.is_some_and(|z| z <= applied))
        {
            let _ = waiter.send(Ok(()));
        }
    }

    fn show(&mut self) {
        let tick = self.now();
        if tick >= self.status_due {
            self.status_due = tick.plus_ms(STATUS_EVERY_MS);
            self.status.store(Some(Arc::new(self.peer.status())));
        }
        let joined = self.peer.is_current() && !self.committed.cluster_id().is_empty();
        let now = Shown {
            leader: self.leader,
            epoch: self.peer.current_epoch(),
            joined,
        };
        self.shown.send_if_modified(|shown| {
            let differs = *shown != now;
            *shown = now;
            differs
        });
    }
}
