//! An ensemble in memory: several peers, a FIFO queue for each direction of each pair, a disk that
//! is done at once unless it is stalled, and a clock that moves when it is told to. After every step
//! it looks whether what was applied anywhere agrees.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use bytes::Bytes;
use uuid::Uuid;

use crate::state_machine::Tick;
use crate::types::{NodeId, Zxid};
use crate::zab::message::Standing;
use crate::zab::mutation::Mutation;
use crate::zab::{
    Event, Hello, Input, Message, PROTOCOL_VERSION, Peer, PeerOptions, Persist, Proposal,
    ProposalKind, Ready, Recovered, Settings, Snapshot, Voter, Voters, Write,
};

thread_local! {
    /// How the machines of this thread's ensembles are broken, if they are.
    pub static BROKEN: Cell<Mutation> = const { Cell::new(Mutation::None) };
}

/// What a server has on disk: the writes carried out, without any bytes.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    pub accepted_epoch: u32,
    pub current_epoch: u32,
    pub snapshot: Option<Snapshot>,
    pub log: Vec<Proposal>,
}

impl Disk {
    pub fn with(accepted_epoch: u32, current_epoch: u32, log: &[(u32, u32)]) -> Self {
        Self {
            accepted_epoch,
            current_epoch,
            snapshot: None,
            log: log.iter().map(|(e, c)| proposal(*e, *c)).collect(),
        }
    }

    pub fn write(&mut self, write: Write) {
        match write {
            Write::AcceptedEpoch(epoch) => self.accepted_epoch = epoch,
            Write::CurrentEpoch(epoch) => self.current_epoch = epoch,
            Write::Append(proposals) => self.log.extend(proposals),
            Write::Truncate(to) => self.log.retain(|p| p.zxid <= to),
            Write::Install(snapshot) => {
                self.log.clear();
                self.snapshot = Some(snapshot);
            }
        }
    }

    pub fn recover(&self) -> Recovered {
        Recovered {
            accepted_epoch: self.accepted_epoch,
            current_epoch: self.current_epoch,
            snapshot: self.snapshot.as_ref().map_or(Zxid::ZERO, |s| s.zxid),
            voters: self.snapshot.as_ref().map(|s| s.voters.clone()),
            proposals: self.log.clone(),
        }
    }

    pub fn last(&self) -> Zxid {
        let snapshot = self.snapshot.as_ref().map_or(Zxid::ZERO, |s| s.zxid);
        self.log.last().map_or(snapshot, |last| last.zxid)
    }

    pub fn history(&self) -> String {
        names(&self.log)
    }
}

pub fn proposal(epoch: u32, counter: u32) -> Proposal {
    Proposal::data(Zxid::new(epoch, counter), format!("{epoch}.{counter}"))
}

pub fn names(proposals: &[Proposal]) -> String {
    let names = proposals.iter().map(|p| name(p.zxid));
    names.collect::<Vec<_>>().join(" ")
}

pub fn name(zxid: Zxid) -> String {
    format!("{}.{}", zxid.epoch(), zxid.counter())
}

#[derive(Debug)]
pub struct Server {
    pub peer: Option<Peer>,
    pub disk: Disk,
    /// Payloads in the order in which they were applied, since the beginning of time.
    pub image: Vec<String>,
    pub events: Vec<Event>,
    pub ready: Ready,
    pub synced: Vec<(u64, Zxid)>,
    stalled: bool,
    writing: VecDeque<Persist>,
}

pub struct Ensemble {
    pub servers: BTreeMap<NodeId, Server>,
    pub now: Tick,
    pub settings: Settings,
    /// Of every server that is started.
    pub mutation: Mutation,
    pub transcript: Vec<String>,
    voters: Voters,
    queues: BTreeMap<(NodeId, NodeId), VecDeque<Message>>,
    /// Pairs between which nothing gets through.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// For each SYNC what was applied anywhere when it was asked.
    syncs: Vec<Zxid>,
    /// What was applied anywhere, by zxid.
    applied: BTreeMap<Zxid, Proposal>,
}

impl Ensemble {
    /// Voters 1 to n, none of them started.
    pub fn new(voters: i32) -> Self {
        let voters = Voters::new((1..=voters).map(|node| {
            let port = 9000 + node as u16;
            (NodeId(node), Voter::at("localhost", port))
        }));
        let mut ensemble = Self {
            servers: BTreeMap::new(),
            now: Tick(1_000),
            settings: Settings::default(),
            mutation: BROKEN.get(),
            syncs: Vec::new(),
            transcript: Vec::new(),
            queues: BTreeMap::new(),
            cut: BTreeSet::new(),
            applied: BTreeMap::new(),
            voters: voters.clone(),
        };
        for node in voters.nodes() {
            ensemble.install(node.0, Disk::default());
        }
        ensemble
    }

    /// Started and quiet; nodes above `voters` observe.
    pub fn started(voters: i32, observers: i32) -> Self {
        let mut ensemble = Self::new(voters);
        for node in 1..=voters + observers {
            ensemble.start(node);
        }
        ensemble.settle();
        ensemble
    }

    pub fn install(&mut self, node: i32, disk: Disk) {
        let server = Server {
            peer: None,
            disk,
            image: Vec::new(),
            events: Vec::new(),
            ready: Ready::default(),
            synced: Vec::new(),
            stalled: false,
            writing: VecDeque::new(),
        };
        self.servers.insert(NodeId(node), server);
    }

    pub fn server(&mut self, node: i32) -> &mut Server {
        self.servers.get_mut(&NodeId(node)).unwrap()
    }

    pub fn peer(&mut self, node: i32) -> &mut Peer {
        self.server(node).peer.as_mut().unwrap()
    }

    pub fn directory_of(node: i32) -> Uuid {
        Uuid::from_u128(node as u128 + 0xd000)
    }

    /// Reads the disk and connects to everybody.
    pub fn start(&mut self, node: i32) {
        if !self.servers.contains_key(&NodeId(node)) {
            self.install(node, Disk::default());
        }
        let options = PeerOptions {
            directory: None,
            settings: self.settings.clone(),
            seed: node as u64,
            ..PeerOptions::new(NodeId(node), self.voters.clone())
        };
        self.start_with(node, options);
    }

    pub fn start_with(&mut self, node: i32, options: PeerOptions) {
        let mutation = self.mutation;
        let server = self.server(node);
        let mut peer = Peer::new(options, server.disk.recover()).unwrap();
        peer.mutation = mutation;
        server.peer = Some(peer);
        let body = server.disk.snapshot.as_ref().map(|s| s.body.clone());
        server.image = body.map_or(Vec::new(), |body| image_of(&body));
        self.step(NodeId(node), Input::Start);
        let others: Vec<NodeId> = self.servers.keys().copied().collect();
        for other in others {
            self.connect(NodeId(node), other);
        }
    }

    fn connect(&mut self, a: NodeId, b: NodeId) {
        let is_up = |node: &NodeId| self.servers[node].peer.is_some();
        if a == b || !is_up(&a) || !is_up(&b) || self.cut.contains(&pair(a, b)) {
            return;
        }
        self.queues.remove(&(a, b));
        self.queues.remove(&(b, a));
        for (to, from) in [(a, b), (b, a)] {
            let is_voter = self.voters.contains(from);
            let hello = Hello {
                version: PROTOCOL_VERSION,
                cluster_id: None,
                node: from,
                directory: Self::directory_of(from.0),
                is_voter,
                incarnation: Uuid::nil(),
            };
            self.peer(to.0).admit(&hello).unwrap();
        }
        self.step(a, Input::Connected(b));
        self.step(b, Input::Connected(a));
    }

    fn disconnect(&mut self, a: NodeId, b: NodeId) {
        self.queues.remove(&(a, b));
        self.queues.remove(&(b, a));
        for (at, from) in [(a, b), (b, a)] {
            if self.servers[&at].peer.is_some() {
                self.step(at, Input::Disconnected(from));
            }
        }
    }

    /// The connection breaks and there is no other until `mend`.
    pub fn cut(&mut self, a: i32, b: i32) {
        self.cut.insert(pair(NodeId(a), NodeId(b)));
        self.disconnect(NodeId(a), NodeId(b));
    }

    /// Nothing arrives any more, and nobody is told.
    pub fn cut_silently(&mut self, a: i32, b: i32) {
        self.cut.insert(pair(NodeId(a), NodeId(b)));
        self.queues.remove(&(NodeId(a), NodeId(b)));
        self.queues.remove(&(NodeId(b), NodeId(a)));
    }

    pub fn mend(&mut self, a: i32, b: i32) {
        self.cut.remove(&pair(NodeId(a), NodeId(b)));
        self.connect(NodeId(a), NodeId(b));
    }

    /// What was not durable is gone.
    pub fn crash(&mut self, node: i32) {
        let server = self.server(node);
        server.peer = None;
        server.writing.clear();
        server.stalled = false;
        let others: Vec<NodeId> = self.servers.keys().copied().collect();
        for other in others {
            if other != NodeId(node) {
                self.disconnect(NodeId(node), other);
            }
        }
    }

    /// From now on writes are not done.
    pub fn stall(&mut self, node: i32) {
        self.server(node).stalled = true;
    }

    /// All writes that wait are done.
    pub fn unstall(&mut self, node: i32) {
        self.server(node).stalled = false;
        self.write(NodeId(node));
    }

    /// One of the writes that wait is done.
    pub fn write_one(&mut self, node: i32) {
        let persist = self.server(node).writing.pop_front().unwrap();
        self.do_write(NodeId(node), persist);
    }

    /// One of the writes that wait is done, if any does.
    pub fn write_some(&mut self, node: i32) {
        if !self.server(node).writing.is_empty() {
            self.write_one(node);
        }
    }

    fn write(&mut self, node: NodeId) {
        while !self.servers[&node].stalled {
            let Some(persist) = self.server(node.0).writing.pop_front() else {
                return;
            };
            self.do_write(node, persist);
        }
    }

    fn do_write(&mut self, node: NodeId, persist: Persist) {
        let server = self.server(node.0);
        for write in persist.writes {
            server.disk.write(write);
        }
        self.step(node, Input::Durable(persist.receipt));
    }

    pub fn step(&mut self, node: NodeId, input: Input) {
        let now = self.now;
        self.peer(node.0).step(input, now);
        self.take_ready(node);
    }

    pub fn take_ready(&mut self, node: NodeId) {
        let mut ready = self.peer(node.0).ready();
        self.server(node.0).writing.extend(ready.persist.take());
        for (to, message) in ready.send.drain(..) {
            if !self.cut.contains(&pair(node, to)) {
                self.queues
                    .entry((node, to))
                    .or_default()
                    .push_back(message);
            }
        }
        let server = self.server(node.0);
        if let Some(snapshot) = ready.restore.take() {
            server.image = image_of(&snapshot.body);
        }
        for proposal in &ready.apply {
            let durable = server.disk.last();
            assert!(
                durable >= proposal.zxid,
                "{node} applied {:#x}",
                proposal.zxid
            );
            if proposal.kind == ProposalKind::Data {
                let payload = String::from_utf8(proposal.payload.to_vec()).unwrap();
                server.image.push(payload);
            }
        }
        server.events.append(&mut ready.events);
        for (seq, zxid) in &ready.synced {
            if let Some(asked) = self.syncs.get(*seq as usize) {
                assert!(
                    zxid >= asked,
                    "a SYNC at {node} that was answered too early"
                );
            }
        }
        let server = self.servers.get_mut(&node).unwrap();
        server.synced.append(&mut ready.synced);
        server.ready.requests.append(&mut ready.requests);
        server.ready.answers.append(&mut ready.answers);
        server.ready.wants_snapshot |= ready.wants_snapshot;
        for event in &self.servers[&node].events {
            assert!(
                !matches!(event, Event::Violation { .. }),
                "{node}: {event:?} after {:#?}",
                self.transcript
                    .iter()
                    .rev()
                    .take(60)
                    .rev()
                    .collect::<Vec<_>>()
            );
        }
        for proposal in std::mem::take(&mut ready.apply) {
            let applied = self
                .applied
                .entry(proposal.zxid)
                .or_insert(proposal.clone());
            assert_eq!(*applied, proposal, "agreement at {node}");
        }
        self.write(node);
    }

    /// Delivers one message, the oldest of the first queue that has one.
    pub fn deliver_one(&mut self) -> bool {
        let Some((from, to)) = self
            .queues
            .iter()
            .find(|((_, to), queue)| !queue.is_empty() && self.servers[to].peer.is_some())
            .map(|(pair, _)| *pair)
        else {
            return false;
        };
        self.deliver_from(from.0, to.0)
    }

    /// Delivers the oldest message of one queue.
    pub fn deliver_from(&mut self, from: i32, to: i32) -> bool {
        let (from, to) = (NodeId(from), NodeId(to));
        let Some(message) = self
            .queues
            .get_mut(&(from, to))
            .and_then(VecDeque::pop_front)
        else {
            return false;
        };
        let line = format!("{from}→{to} {}", describe(&message));
        self.transcript.push(line);
        self.step(to, Input::Message { from, message });
        true
    }

    /// What is on its way.
    pub fn queue(&self, from: i32, to: i32) -> Vec<String> {
        let queue = self.queues.get(&(NodeId(from), NodeId(to)));
        queue.into_iter().flatten().map(describe).collect()
    }

    /// Until nothing is on its way. Snapshots are taken when asked for.
    pub fn run(&mut self) {
        loop {
            let wanted = self.servers.iter_mut().find_map(|(node, server)| {
                std::mem::take(&mut server.ready.wants_snapshot).then_some(*node)
            });
            if let Some(node) = wanted {
                let zxid = self.peer(node.0).delivered();
                let body = Bytes::from(self.server(node.0).image.join(" "));
                self.step(node, Input::SnapshotTaken { zxid, body });
            } else if !self.deliver_one() {
                return;
            }
        }
    }

    /// Moves the clock, in steps of a millisecond, and everything that happens meanwhile happens at once.
    pub fn advance(&mut self, ms: u64) {
        self.run();
        for _ in 0..ms {
            self.now = self.now.plus_ms(1);
            let now = self.now;
            let due: Vec<NodeId> = self
                .servers
                .iter()
                .filter(|(_, server)| {
                    let deadline = server.peer.as_ref().and_then(Peer::next_deadline);
                    deadline.is_some_and(|at| at <= now)
                })
                .map(|(node, _)| *node)
                .collect();
            for node in due {
                self.step(node, Input::Tick);
            }
            self.run();
        }
    }

    /// Moves the clock and wakes whoever is due, without delivering anything.
    pub fn tick_all(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms as i64);
        let nodes: Vec<NodeId> = self.servers.keys().copied().collect();
        for node in nodes {
            let now = self.now;
            let peer = self.servers[&node].peer.as_ref();
            if peer
                .and_then(Peer::next_deadline)
                .is_some_and(|at| at <= now)
            {
                self.step(node, Input::Tick);
            }
        }
    }

    pub fn applied_anywhere(&self) -> usize {
        self.applied.len()
    }

    /// What was applied anywhere is what every running server has applied.
    pub fn check_nothing_is_lost(&mut self) {
        let data = self
            .applied
            .values()
            .filter(|p| p.kind == ProposalKind::Data);
        let all = data.map(|p| String::from_utf8(p.payload.to_vec()).unwrap());
        let all = all.collect::<Vec<_>>().join(" ");
        assert_eq!(self.image(), all);
    }

    /// Long enough for an election.
    pub fn settle(&mut self) {
        self.advance(100);
    }

    pub fn propose(&mut self, node: i32, payload: &str) -> Zxid {
        let payload = Bytes::from(payload.to_owned());
        let zxid = self.peer(node).propose(payload).unwrap();
        self.take_ready(NodeId(node));
        zxid
    }

    /// For a message of failure.
    fn statuses(&self) -> Vec<String> {
        let peers = self.servers.values().filter_map(|s| s.peer.as_ref());
        let mut lines: Vec<_> = peers.map(|peer| format!("{:?}", peer.status())).collect();
        lines.extend(self.transcript.iter().rev().take(60).rev().cloned());
        lines
    }

    /// Asks how far to come, and looks at the answer when it comes.
    pub fn sync(&mut self, node: i32) {
        let seq = self.syncs.len() as u64;
        if self.peer(node).sync(seq).is_ok() {
            let newest = self.applied.keys().next_back().copied();
            self.syncs.push(newest.unwrap_or_default());
        }
        self.take_ready(NodeId(node));
    }

    /// The established leader; there is exactly one.
    pub fn leader(&self) -> i32 {
        let leading = self.servers.iter().filter(|(_, server)| {
            let peer = server.peer.as_ref();
            peer.is_some_and(Peer::is_leading)
        });
        let leading: Vec<i32> = leading.map(|(node, _)| node.0).collect();
        assert_eq!(
            leading.len(),
            1,
            "leaders: {leading:?}: {:#?}",
            self.statuses()
        );
        leading[0]
    }

    /// What each server that runs has applied, which is all the same.
    pub fn image(&mut self) -> String {
        let running = self.servers.iter().filter(|(_, s)| s.peer.is_some());
        let images: Vec<_> = running.map(|(node, s)| (node, s.image.join(" "))).collect();
        for (node, image) in &images {
            assert_eq!(*image, images[0].1, "at {node}: {:#?}", self.statuses());
        }
        images[0].1.clone()
    }

    /// The transcript since the last call, without the pings.
    pub fn transcript(&mut self) -> Vec<String> {
        let mut lines = std::mem::take(&mut self.transcript);
        lines.retain(|line| !line.contains("PING") && !line.contains("PONG"));
        lines
    }

    /// The transcript since the last call, of one kind of message or several.
    pub fn transcript_of(&mut self, kinds: &[&str]) -> Vec<String> {
        let mut lines = std::mem::take(&mut self.transcript);
        lines.retain(|line| {
            let kind = line.split(' ').nth(1).unwrap();
            kinds.contains(&kind)
        });
        lines
    }
}

fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}

fn image_of(body: &Bytes) -> Vec<String> {
    let body = String::from_utf8(body.to_vec()).unwrap();
    body.split(' ')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// As the paper writes it.
pub fn describe(message: &Message) -> String {
    let mut line = String::new();
    let written = match message {
        Message::Notification(n) => match n.standing {
            Standing::Looking(Some(vote)) => write!(
                line,
                "NOTIFICATION round {} votes {} ({}, {})",
                n.round,
                vote.candidate,
                vote.current_epoch,
                name(vote.last_zxid)
            ),
            Standing::Looking(None) => write!(line, "NOTIFICATION round {} votes nobody", n.round),
            Standing::Following { leader } => write!(line, "NOTIFICATION follows {leader}"),
            Standing::Leading { epoch } => write!(line, "NOTIFICATION leads {epoch}"),
        },
        Message::FollowerInfo(info) => write!(line, "FOLLOWERINFO {}", info.accepted_epoch),
        Message::ObserverInfo(info) => write!(line, "OBSERVERINFO {}", info.accepted_epoch),
        Message::LeaderInfo { epoch, .. } => write!(line, "LEADERINFO {epoch}"),
        Message::AckEpoch {
            promised,
            current_epoch,
            last_zxid,
            ..
        } => {
            let again = if *promised { "" } else { " (promised before)" };
            let last = name(*last_zxid);
            write!(line, "ACKEPOCH ({current_epoch}, {last}){again}")
        }
        Message::Diff => write!(line, "DIFF"),
        Message::Trunc { to } => write!(line, "TRUNC {}", name(*to)),
        Message::Snap { zxid, length, .. } => {
            write!(line, "SNAP {} of {length} bytes", name(*zxid))
        }
        Message::SnapChunk { position, bytes } => {
            write!(line, "CHUNK {position}+{}", bytes.len())
        }
        Message::SnapAck { position } => write!(line, "SNAPACK {position}"),
        Message::NewLeader { epoch } => write!(line, "NEWLEADER {epoch}"),
        Message::UpToDate { committed } => write!(line, "UPTODATE {}", name(*committed)),
        Message::Propose(proposal) => write!(line, "PROPOSE {}", name(proposal.zxid)),
        Message::Ack(zxid) => write!(line, "ACK {}", name(*zxid)),
        Message::Commit(zxid) => write!(line, "COMMIT {}", name(*zxid)),
        Message::Inform(proposal) => write!(line, "INFORM {}", name(proposal.zxid)),
        Message::Ping { round, committed } => write!(line, "PING {round} {}", name(*committed)),
        Message::Pong { round, durable } => write!(line, "PONG {round} {}", name(*durable)),
        Message::Request { seq, .. } => write!(line, "REQUEST {seq}"),
        Message::Answer { seq, after, .. } => write!(line, "ANSWER {seq} after {}", name(*after)),
        Message::Sync { seq } => write!(line, "SYNC {seq}"),
        Message::Synced { seq, zxid } => write!(line, "SYNCED {seq} {}", name(*zxid)),
    };
    written.unwrap();
    line
}
