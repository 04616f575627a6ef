//! A whole ensemble on one thread: what happens next is the earliest event, and of several at one time whichever chance has.
//!
//! A step is one event: a message heard, a write done, a timer, a client's doing, a fault. Whatever a step makes a peer
//! want is done before the next, each observation of it is told the history, and the first that breaks a property ends the run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use bytes::{Bytes, BytesMut};

use super::app::{App, content_of};
use super::brief::{brief, brief_message, brief_writes};
use super::chance::Chance;
use super::clients::Client;
use super::history::{History, Observation, Property, Violation, violated};
use super::network::{Heard, Network, Way};
use super::plan::Plan;
use super::run::Run;
use super::server::{Asked, Running, Server};
use super::stats::Stats;
use crate::state_machine::Tick;
use crate::types::{NodeId, Zxid};
use crate::zab::codec;
use crate::zab::mutation::Mutation;
use crate::zab::{
    Event as PeerEvent, Hello, Input, Message, PROTOCOL_VERSION, Ready, Voters, Write,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Hear(Way),
    /// The first of the writes of a life is done.
    Written(NodeId, u64),
    Timer(NodeId, u64),
    /// Its pause is over.
    Resume(NodeId),
    Start(NodeId),
    Connect(NodeId, NodeId),
    Client(usize),
    /// A client's wish comes to a server.
    Ask(NodeId, Asked),
    /// For a learner that was promised one.
    SnapshotTaken(NodeId, u64),
    /// A snapshot of its own, begun before.
    SnapshotWritten(NodeId, u64),
    Fault,
    Ambush(NodeId),
    Heal(NodeId, NodeId),
    LinkSpeed(NodeId, NodeId, u64),
    DiskSpeed(NodeId, u64),
    /// A voter whose disk was lost is exchanged, a server becomes one, or is one no more.
    Reconfigure,
    FaultsEnd,
    Look,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) plan: Plan,
    /// What is broken in every peer.
    mutation: Mutation,
    pub(crate) chance: Chance,
    pub(crate) now: u64,
    events: BinaryHeap<Reverse<(u64, u64, u64)>>,
    /// By the last number of the above.
    pending: BTreeMap<u64, Event>,
    next_event: u64,
    pub(crate) network: Network<Message>,
    /// Pairs that will try to connect.
    connecting: BTreeSet<(NodeId, NodeId)>,
    pub(crate) servers: BTreeMap<NodeId, Server>,
    /// `ensemble.voters` of every server.
    pub(crate) configured: Voters,
    pub(crate) history: History,
    pub(crate) clients: Vec<Client>,
    pub(crate) next_request: u64,
    pub(crate) faults_over: bool,
    /// Since when everybody has everything and everything asked is answered, and how many elections there had been.
    pub(crate) well_since: Option<(u64, u64)>,
    /// And it stayed so.
    pub(crate) settled: bool,
    pub(crate) stats: Stats,
    trace: Option<Vec<String>>,
}

/// After the faults, in microseconds of virtual time: for everything to be well again.
const PATIENCE: u64 = 120_000_000;

impl World {
    pub(crate) fn new(run: Run, traced: bool) -> Self {
        let mut chance = Chance::new(run.seed);
        let plan = Plan::new(run.voters, &mut chance);
        let nodes = (1..=plan.voters + plan.observers).map(NodeId);
        let servers = nodes.map(|node| (node, Server::new(node, plan.disk_latency, &mut chance)));
        let mut world = Self {
            now: 0,
            events: BinaryHeap::new(),
            pending: BTreeMap::new(),
            next_event: 0,
            network: Network::new(plan.latency),
            connecting: BTreeSet::new(),
            servers: servers.collect(),
            configured: Voters::of((1..=plan.voters).map(NodeId)),
            history: History::default(),
            clients: vec![Client::default(); plan.clients],
            next_request: 1,
            faults_over: false,
            well_since: None,
            settled: false,
            stats: Stats::default(),
            trace: traced.then(Vec::new),
            mutation: run.mutation,
            plan,
            chance,
        };
        for node in world.nodes() {
            let at = world.chance.below(20_000);
            world.schedule(at, Event::Start(node));
        }
        for client in 0..world.clients.len() {
            world.schedule(50_000, Event::Client(client));
        }
        world.schedule(100_000, Event::Fault);
        world.schedule(world.plan.faults_until, Event::FaultsEnd);
        world
    }

    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.servers.keys().copied().collect()
    }

    pub(crate) fn schedule(&mut self, at: u64, event: Event) {
        let tie = self.chance.next();
        self.events.push(Reverse((at, tie, self.next_event)));
        self.pending.insert(self.next_event, event);
        self.next_event += 1;
    }

    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = self.trace.as_mut() {
            trace.push(format!("{:>10} {}", self.now, what()));
        }
    }

    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().unwrap_or_default()
    }

    pub(crate) fn observe(&mut self, observation: Observation) -> Result<(), Violation> {
        self.note(|| format!("  {observation:?}"));
        self.history.observe(observation)
    }

    /// False when there is nothing more to do.
    pub(crate) fn step(&mut self) -> Result<bool, Violation> {
        let Some(Reverse((at, _, number))) = self.events.pop() else {
            return violated(Property::Progress, "nothing happens any more");
        };
        let event = self.pending.remove(&number).expect("each event is there");
        self.now = self.now.max(at);
        self.stats.steps += 1;
        self.happen(event)?;
        for (at, way) in self.network.take_wakeups() {
            self.schedule(at.max(self.now), Event::Hear(way));
        }
        if self.well_since.is_none() && self.now > self.plan.faults_until + PATIENCE {
            return violated(Property::Progress, self.what_is_amiss());
        }
        self.stats.commits = self.history.commits();
        self.stats.acknowledged = self.history.acknowledged();
        self.stats.microseconds = self.now;
        Ok(!self.settled)
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Hear(way) => self.hear(way),
            Event::Written(node, life) => self.written(node, life),
            Event::Timer(node, life) => self.timer(node, life),
            Event::Resume(node) => self.resume(node),
            Event::Start(node) => self.start(node),
            Event::Connect(a, b) => {
                self.connect(a, b);
                Ok(())
            }
            Event::Client(client) => self.client(client),
            Event::Ask(node, asked) => self.asked(node, asked),
            Event::SnapshotTaken(node, life) => self.snapshot_taken(node, life),
            Event::SnapshotWritten(node, life) => self.snapshot_written(node, life),
            Event::Fault => self.fault(),
            Event::Ambush(node) => self.ambush(node),
            Event::Heal(from, to) => {
                self.note(|| format!("the way from {from} to {to} is whole again"));
                self.network.heal(from, to);
                Ok(())
            }
            Event::LinkSpeed(from, to, times) => {
                self.network.slow_down(from, to, times);
                Ok(())
            }
            Event::DiskSpeed(node, latency) => {
                self.server(node).disk_latency = latency;
                Ok(())
            }
            Event::Reconfigure => self.reconfigure(),
            Event::FaultsEnd => self.faults_end(),
            Event::Look => self.look(),
        }
    }

    pub(crate) fn server(&mut self, node: NodeId) -> &mut Server {
        self.servers.get_mut(&node).expect("it is one of ours")
    }

    pub(crate) fn running(&mut self, node: NodeId) -> Option<&mut Running> {
        self.server(node).running.as_mut()
    }

    pub(crate) fn tick(&self, node: NodeId) -> Tick {
        self.servers[&node].tick(self.now)
    }

    /// The process with this number of starts, unless it is over.
    fn life(&mut self, node: NodeId, life: u64) -> Option<&mut Running> {
        let server = self.server(node);
        server.running.as_mut().filter(|_| server.life == life)
    }

    fn start(&mut self, node: NodeId) -> Result<(), Violation> {
        if self.servers[&node].running.is_some() {
            return Ok(());
        }
        let (configured, settings) = (self.configured.clone(), self.plan.settings.clone());
        let (mut chance, mutation) = (Chance::new(self.chance.next()), self.mutation);
        let started = self.server(node).start(&configured, &settings, &mut chance);
        let (zxid, state, last) = match started {
            Ok(running) => {
                running.peer.mutation = mutation;
                let last = running.peer.last_zxid();
                (running.app.zxid, running.app.state, last)
            }
            Err(why) => return violated(Property::Sanity, format!("{node} does not start: {why}")),
        };
        let life = self.servers[&node].life;
        self.note(|| format!("{node} starts for the {life}. time at {zxid:#x}"));
        self.observe(Observation::Started {
            node,
            zxid,
            state,
            last,
        })?;
        for other in self.nodes() {
            if other != node {
                self.connect_soon(node, other);
            }
        }
        self.input(node, Input::Start)
    }

    fn resume(&mut self, node: NodeId) -> Result<(), Violation> {
        if self.now >= self.servers[&node].paused_until {
            self.note(|| format!("{node} goes on"));
            self.network.wake_up(node);
            self.set_timer(node);
        }
        Ok(())
    }

    fn connect(&mut self, a: NodeId, b: NodeId) {
        self.connecting.remove(&(a.min(b), a.max(b)));
        let up = |node: &NodeId| {
            let server = &self.servers[node];
            server
                .running
                .is_some()
                .then_some(self.now >= server.paused_until)
        };
        let (Some(a_hears), Some(b_hears)) = (up(&a), up(&b)) else {
            // Whoever starts connects.
            return;
        };
        if self.network.is_open(a, b) {
            return;
        }
        let cut = self.network.is_cut(a, b) || self.network.is_cut(b, a);
        let refused = || {
            let of = |node: NodeId| self.hello(node);
            let ask = |node: NodeId, hello: &Hello| {
                let peer = &self.servers[&node].running.as_ref()?.peer;
                peer.admit(hello).err().map(|refusal| refusal.to_string())
            };
            ask(a, &of(b)).or_else(|| ask(b, &of(a)))
        };
        if !a_hears || !b_hears || cut {
            return self.connect_in(10_000, a, b);
        }
        if let Some(refusal) = refused() {
            self.stats.refusals += 1;
            self.network.refuse(a, b, self.now, &mut self.chance);
            let reason: String = refusal.chars().take(60).collect();
            self.note(|| format!("{a} and {b} do not connect: {reason}"));
            return self.connect_in(100_000, a, b);
        }
        self.note(|| format!("{a} and {b} connect"));
        self.network.connect(a, b, self.now, &mut self.chance);
    }

    /// As soon as the drivers find out.
    pub(crate) fn connect_soon(&mut self, a: NodeId, b: NodeId) {
        self.connect_in(1_000, a, b);
    }

    /// In so many microseconds at least.
    fn connect_in(&mut self, least: u64, a: NodeId, b: NodeId) {
        let at = self.now + self.chance.between(least, least * 20);
        if self.connecting.insert((a.min(b), a.max(b))) {
            self.schedule(at, Event::Connect(a, b));
        }
    }

    fn hello(&self, node: NodeId) -> Hello {
        let server = &self.servers[&node];
        Hello {
            version: PROTOCOL_VERSION,
            cluster_id: None,
            node,
            directory: server.directory,
            is_voter: self.configured.contains(node),
            incarnation: uuid::Uuid::from_u128(server.life.into()),
        }
    }

    fn hear(&mut self, way: Way) -> Result<(), Violation> {
        let Way { from, to, .. } = way;
        if self.servers[&to].is_busy(self.now) {
            // It is woken up for it.
            return Ok(());
        }
        let Some(heard) = self.network.hear(way, self.now) else {
            return Ok(());
        };
        self.note(|| format!("{to} hears of {from}: {}", brief(&heard)));
        match heard {
            Heard::Connected => self.input(to, Input::Connected(from)),
            Heard::Message(message) => {
                self.stats.messages += 1;
                self.input(to, Input::Message { from, message })
            }
            Heard::Disconnected => {
                self.connect_soon(to, from);
                self.input(to, Input::Disconnected(from))
            }
        }
    }

    fn written(&mut self, node: NodeId, life: u64) -> Result<(), Violation> {
        let Some(running) = self.life(node, life) else {
            return Ok(());
        };
        let Some(persist) = running.writes.pop_front() else {
            return Ok(());
        };
        if let Err(error) = running.log.persist(&persist.writes) {
            let why = format!("the log of {node} refuses {:?}: {error}", persist.writes);
            return violated(Property::Sanity, why);
        }
        let more = !running.writes.is_empty();
        self.note(|| format!("{node} has written {}", brief_writes(&persist.writes)));
        if more {
            self.write(node);
        } else if self.servers[&node].blocks_on_disk {
            self.network.wake_up(node);
        }
        self.input(node, Input::Durable(persist.receipt))
    }

    /// The first of what waits goes to the disk.
    fn write(&mut self, node: NodeId) {
        let (life, latency) = (self.servers[&node].life, self.servers[&node].disk_latency);
        let at = self.now + self.chance.latency(latency);
        self.schedule(at, Event::Written(node, life));
    }

    fn timer(&mut self, node: NodeId, life: u64) -> Result<(), Violation> {
        let now = self.now;
        let is_busy = self.servers[&node].is_busy(now);
        let Some(running) = self.life(node, life) else {
            return Ok(());
        };
        match running.timer {
            // Set again, for another time.
            Some(at) if at > now => return Ok(()),
            None => return Ok(()),
            Some(_) => running.timer = None,
        }
        if is_busy {
            // It will have its turn when it goes on.
            return Ok(());
        }
        self.input(node, Input::Tick)
    }

    pub(crate) fn set_timer(&mut self, node: NodeId) {
        let now = self.now;
        let server = self.server(node);
        let Some(deadline) = server.running.as_ref().and_then(|r| r.peer.next_deadline()) else {
            return;
        };
        // A timer is seldom early.
        let at = server.time_of(deadline).max(now + 200);
        let life = server.life;
        let Some(running) = server.running.as_mut() else {
            return;
        };
        if running.timer.is_none_or(|before| at < before) {
            running.timer = Some(at);
            self.schedule(at, Event::Timer(node, life));
        }
    }

    pub(crate) fn input(&mut self, node: NodeId, input: Input) -> Result<(), Violation> {
        let tick = self.tick(node);
        if let Some(running) = self.running(node) {
            running.peer.step(input, tick);
        }
        self.settle(node)
    }

    /// Does all that the peer wants, until it wants nothing more.
    pub(crate) fn settle(&mut self, node: NodeId) -> Result<(), Violation> {
        loop {
            let Some(running) = self.running(node) else {
                return Ok(());
            };
            let ready = running.peer.ready();
            if is_nothing(&ready) {
                break;
            }
            self.act(node, ready)?;
        }
        self.set_timer(node);
        Ok(())
    }

    fn act(&mut self, node: NodeId, ready: Ready) -> Result<(), Violation> {
        let Ready {
            persist,
            send,
            restore,
            apply,
            wants_snapshot,
            requests,
            answers,
            synced,
            events,
        } = ready;
        if events.contains(&PeerEvent::Looking) {
            self.stats.elections += 1;
            if let Some(running) = self.running(node) {
                running.forget_asked();
            }
        }
        if let Some(snapshot) = restore {
            self.stats.restores += 1;
            let Some(app) = App::from_snapshot(snapshot.zxid, &snapshot.body) else {
                let why = format!("{node} is given a snapshot that nobody made");
                return violated(Property::Sanity, why);
            };
            let (zxid, state) = (app.zxid, app.state);
            if let Some(running) = self.running(node) {
                running.app = app;
            }
            self.observe(Observation::Restored { node, zxid, state })?;
        }
        for proposal in &apply {
            if let Some(running) = self.running(node) {
                running.app.apply(proposal);
                running.proposed.retain(|_, zxid| *zxid > proposal.zxid);
            }
            self.observe(Observation::Delivered {
                node,
                zxid: proposal.zxid,
                content: content_of(proposal),
            })?;
        }
        for event in &events {
            self.note(|| format!("  {node}: {event:?}"));
            match event {
                PeerEvent::Leading { epoch } => {
                    let epoch = *epoch;
                    self.observe(Observation::Established { node, epoch })?;
                }
                PeerEvent::Violation { by, what } => {
                    return violated(Property::Sanity, format!("{by} tells {node} {what}"));
                }
                _ => {}
            }
        }
        if let Some(persist) = persist {
            self.observe_broadcasts(node, &persist.writes)?;
            self.maybe_ambush(node, &persist.writes);
            let Some(running) = self.running(node) else {
                return Ok(());
            };
            running.writes.push_back(persist);
            if running.writes.len() == 1 {
                self.write(node);
            }
        }
        for (to, message) in send {
            let message = over_the_wire(message)?;
            self.note(|| format!("  {node} tells {to}: {}", brief_message(&message)));
            self.network
                .send(node, to, message, self.now, &mut self.chance);
        }
        if wants_snapshot {
            self.want_snapshot(node);
        }
        for request in requests {
            self.lead(node, request)?;
        }
        for (seq, zxid) in answers
            .into_iter()
            .map(|answer| (answer.seq, answer.after))
            .chain(synced)
        {
            if let Some(running) = self.running(node)
                && let Some(asked) = running.asked.remove(&seq)
            {
                running.parked.push((zxid, asked));
            }
        }
        let due = self.running(node).map(Running::take_parked);
        for asked in due.unwrap_or_default() {
            self.answered(node, asked)?;
        }
        Ok(())
    }

    /// Now and then a fault comes at the worst moment.
    fn maybe_ambush(&mut self, node: NodeId, writes: &[Write]) {
        let promises = writes
            .iter()
            .any(|write| !matches!(write, Write::Append(_)));
        if promises && self.chance.permille(self.plan.ambushes) {
            let at = self.now + self.chance.below(3 * self.plan.disk_latency);
            self.schedule(at, Event::Ambush(node));
        }
    }

    /// What a leader appends in its own epoch, it broadcasts.
    fn observe_broadcasts(&mut self, node: NodeId, writes: &[Write]) -> Result<(), Violation> {
        self.stats.truncations += writes
            .iter()
            .filter(|write| matches!(write, Write::Truncate(_)))
            .count() as u64;
        let Some(running) = self
            .running(node)
            .filter(|running| running.peer.is_leading())
        else {
            return Ok(());
        };
        let epoch = running.peer.current_epoch();
        let appended = writes.iter().flat_map(|write| match write {
            Write::Append(proposals) => proposals.as_slice(),
            _ => &[],
        });
        for proposal in appended.filter(|proposal| proposal.zxid.epoch() == epoch) {
            self.observe(Observation::Broadcast {
                node,
                zxid: proposal.zxid,
                content: content_of(proposal),
            })?;
        }
        Ok(())
    }

    fn want_snapshot(&mut self, node: NodeId) {
        let life = self.servers[&node].life;
        let at = self.now + self.chance.latency(2_000);
        if let Some(running) = self.running(node)
            && !std::mem::replace(&mut running.snapshot_wanted, true)
        {
            self.schedule(at, Event::SnapshotTaken(node, life));
        }
    }

    fn snapshot_taken(&mut self, node: NodeId, life: u64) -> Result<(), Violation> {
        if self.servers[&node].is_busy(self.now) && self.life(node, life).is_some() {
            let at = self.now + 5_000;
            self.schedule(at, Event::SnapshotTaken(node, life));
            return Ok(());
        }
        let Some(running) = self.life(node, life) else {
            return Ok(());
        };
        running.snapshot_wanted = false;
        let (zxid, body) = running.body();
        self.stats.snapshots += 1;
        self.input(node, Input::SnapshotTaken { zxid, body })
    }

    /// To trim its log.
    pub(crate) fn take_snapshot(&mut self, node: NodeId) {
        let life = self.servers[&node].life;
        let at = self.now + self.chance.latency(10_000);
        let Some(running) = self.running(node) else {
            return;
        };
        if running.taking.is_none() && running.app.zxid > Zxid::ZERO {
            running.begin_snapshot();
            self.stats.snapshots += 1;
            self.schedule(at, Event::SnapshotWritten(node, life));
        }
    }

    fn snapshot_written(&mut self, node: NodeId, life: u64) -> Result<(), Violation> {
        let Some(running) = self.life(node, life) else {
            return Ok(());
        };
        match running.end_snapshot() {
            Ok(()) => Ok(()),
            Err(error) => {
                let why = format!("the log of {node} refuses a snapshot: {error}");
                violated(Property::Sanity, why)
            }
        }
    }
}

/// As bytes, and back.
fn over_the_wire(message: Message) -> Result<Message, Violation> {
    let mut bytes = BytesMut::new();
    codec::encode(&message, &mut bytes);
    match codec::decode(&mut bytes.freeze()) {
        Ok(same) if same == message => Ok(same),
        other => violated(
            Property::Sanity,
            format!("{message:?} arrives as {other:?}"),
        ),
    }
}

pub(super) fn is_nothing(ready: &Ready) -> bool {
    let Ready {
        persist,
        send,
        restore,
        apply,
        wants_snapshot,
        requests,
        answers,
        synced,
        events,
    } = ready;
    persist.is_none()
        && send.is_empty()
        && restore.is_none()
        && apply.is_empty()
        && !wants_snapshot
        && requests.is_empty()
        && answers.is_empty()
        && synced.is_empty()
        && events.is_empty()
}

/// An answer says nothing but when.
pub(crate) const NO_WORDS: Bytes = Bytes::new();
