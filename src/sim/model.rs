//! Every run of three peers there is, up to a number of steps: the same peers and the same history, a disk that is only what the
//! log promises, no clock, and a few faults of each kind to spend. `stateright` keeps the states it has seen apart.
//!
//! A crash starts the peer again at once with what was durable and any first part of what was on its way. A reset loses what a
//! link carries, in both directions; what was heard before the reset is the first part that was not lost. Time
//! passes for one peer at a time, from one of its deadlines to the next.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};

use stateright::{Checker, Model, Property};

use super::app::{App, content_of, payload};
use super::history::Property::Sanity;
use super::history::{History, Observation, Violation, violated};
use super::network::Heard;
use crate::state_machine::Tick;
use crate::types::{NodeId, Zxid};
use crate::zab::mutation::Mutation;
use crate::zab::{
    Event, Input, Message, Peer, PeerOptions, Persist, Phase, Proposal, Ready, Recovered, Settings,
    Snapshot, Voters, Write,
};

const PAPER: &str = "the properties of the paper hold";
const DELIVERED: &str = "a request is delivered by all";

/// How often each may still happen.
#[derive(Debug, Clone, Copy)]
struct Left {
    requests: u8,
    crashes: u8,
    resets: u8,
    timers: u8,
}

/// What the log promises.
#[derive(Debug, Clone, Default)]
struct Disk {
    accepted_epoch: u32,
    current_epoch: u32,
    snapshot: Option<Snapshot>,
    proposals: Vec<Proposal>,
}

#[derive(Debug, Clone)]
struct Node {
    peer: Peer,
    disk: Disk,
    writes: VecDeque<Persist>,
    app: App,
    now: Tick,
}

#[derive(Debug, Clone)]
struct State {
    nodes: BTreeMap<NodeId, Node>,
    /// From, to.
    ways: BTreeMap<(NodeId, NodeId), VecDeque<Heard<Message>>>,
    /// From, to: the sender has not heard yet that this link is another one.
    stale: BTreeMap<(NodeId, NodeId), bool>,
    history: History,
    violation: Option<Violation>,
    left: Left,
    mutation: Mutation,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Hear {
        from: NodeId,
        to: NodeId,
    },
    Durable(NodeId),
    Timer(NodeId),
    Request(NodeId),
    /// So many of the writes on their way were done.
    Crash(NodeId, usize),
    Reset(NodeId, NodeId),
}

struct Ensemble {
    left: Left,
    /// What is broken in the peers on purpose.
    mutation: Mutation,
    /// It begins with a leader that both others follow. Then elections, on which nothing rests but progress, take only one
    /// course each, and once there is no crash left a write is durable at once.
    is_established: bool,
}

/// A state is what it looks like.
impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        struct Into<'a, H>(&'a mut H);
        impl<H: Hasher> fmt::Write for Into<'_, H> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.write(text.as_bytes());
                Ok(())
            }
        }
        write!(Into(hasher), "{self:?}").expect("a hasher takes everything");
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        format!("{self:?}") == format!("{other:?}")
    }
}

impl Disk {
    fn write(&mut self, write: &Write) {
        match write {
            Write::AcceptedEpoch(epoch) => self.accepted_epoch = *epoch,
            Write::CurrentEpoch(epoch) => self.current_epoch = *epoch,
            Write::Append(proposals) => self.proposals.extend(proposals.iter().cloned()),
            Write::Truncate(zxid) => self.proposals.retain(|proposal| proposal.zxid <= *zxid),
            Write::Install(snapshot) => {
                self.snapshot = Some(snapshot.clone());
                self.proposals.clear();
            }
        }
    }

    fn recovered(&self) -> Recovered {
        Recovered {
            accepted_epoch: self.accepted_epoch,
            current_epoch: self.current_epoch,
            snapshot: self.snapshot.as_ref().map_or(Zxid::ZERO, |s| s.zxid),
            voters: self.snapshot.as_ref().map(|s| s.voters.clone()),
            proposals: self.proposals.clone(),
        }
    }
}

fn voters() -> impl Iterator<Item = NodeId> {
    (1..=3).map(NodeId)
}

fn peer(node: NodeId, recovered: Recovered, mutation: Mutation) -> Peer {
    let settings = Settings {
        election_settle_ms: 0,
        ..Settings::default()
    };
    let options = PeerOptions {
        settings,
        ..PeerOptions::new(node, Voters::of(voters()))
    };
    let mut peer = Peer::new(options, recovered).expect("a voter");
    peer.mutation = mutation;
    peer
}

impl State {
    fn new(left: Left, mutation: Mutation) -> Self {
        let node = |node| Node {
            peer: peer(node, Recovered::default(), mutation),
            disk: Disk::default(),
            writes: VecDeque::new(),
            app: App::default(),
            now: Tick(0),
        };
        let mut state = Self {
            nodes: voters().map(|id| (id, node(id))).collect(),
            ways: BTreeMap::new(),
            stale: BTreeMap::new(),
            history: History::default(),
            violation: None,
            left,
            mutation,
        };
        for id in voters() {
            state.input(id, Input::Start);
        }
        for from in voters() {
            for to in voters().filter(|to| *to != from) {
                state.ways.insert((from, to), [Heard::Connected].into());
            }
        }
        state
    }

    fn is_established(&self) -> bool {
        let mut nodes = self.nodes.values();
        nodes.all(|node| node.peer.phase() == Phase::Broadcast)
    }

    /// Whatever comes first of what needs no fault.
    fn go_on(&mut self) -> bool {
        let way = self.ways.iter().find(|(_, way)| !way.is_empty());
        if let Some((from, to)) = way.map(|(way, _)| *way) {
            self.hear(from, to);
            return true;
        }
        let node = self.nodes.iter().find(|(_, node)| !node.writes.is_empty());
        let Some(id) = node.map(|(id, _)| *id) else {
            return false;
        };
        self.durable(id);
        true
    }

    /// The next of what may as well happen now.
    fn cut_short(&mut self) -> bool {
        let is_election =
            |heard: &Heard<Message>| matches!(heard, Heard::Message(Message::Notification(_)));
        let mut ways = self.ways.iter();
        let way = ways.find(|(_, way)| way.front().is_some_and(is_election));
        if let Some((from, to)) = way.map(|(way, _)| *way) {
            self.hear(from, to);
            return true;
        }
        let mut nodes = self.nodes.iter();
        let writes = nodes.find(|(_, node)| !node.writes.is_empty());
        let Some(id) = writes.map(|(id, _)| *id).filter(|_| self.left.crashes == 0) else {
            return false;
        };
        self.durable(id);
        true
    }

    fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).expect("it is one of three")
    }

    fn input(&mut self, id: NodeId, input: Input) {
        let node = self.node(id);
        let now = node.now;
        node.peer.step(input, now);
        self.settle(id);
    }

    fn settle(&mut self, id: NodeId) {
        loop {
            let ready = self.node(id).peer.ready();
            if super::world::is_nothing(&ready) {
                return;
            }
            if let Err(violation) = self.act(id, ready) {
                self.violation.get_or_insert(violation);
                return;
            }
        }
    }

    fn act(&mut self, id: NodeId, ready: Ready) -> Result<(), Violation> {
        for (to, message) in ready.send {
            self.send(id, to, message);
        }
        if let Some(snapshot) = ready.restore {
            let app = App::from_snapshot(snapshot.zxid, &snapshot.body).expect("a snapshot");
            let (node, zxid, state) = (id, app.zxid, app.state);
            self.node(id).app = app;
            self.history
                .observe(Observation::Restored { node, zxid, state })?;
        }
        for proposal in &ready.apply {
            self.node(id).app.apply(proposal);
            self.history.observe(Observation::Delivered {
                node: id,
                zxid: proposal.zxid,
                content: content_of(proposal),
            })?;
        }
        for event in &ready.events {
            match event {
                Event::Leading { epoch } => {
                    let (node, epoch) = (id, *epoch);
                    self.history
                        .observe(Observation::Established { node, epoch })?;
                }
                Event::Violation { by, what } => {
                    return violated(Sanity, format!("{by} tells {id} {what}"));
                }
                _ => {}
            }
        }
        if let Some(persist) = ready.persist {
            for write in &persist.writes {
                self.broadcast(id, write)?;
            }
            self.node(id).writes.push_back(persist);
        }
        if ready.wants_snapshot {
            let app = &self.node(id).app;
            let (zxid, body) = (app.zxid, app.to_snapshot());
            self.input(id, Input::SnapshotTaken { zxid, body });
        }
        Ok(())
    }

    fn broadcast(&mut self, id: NodeId, write: &Write) -> Result<(), Violation> {
        let peer = &self.node(id).peer;
        let (leads, epoch) = (peer.is_leading(), peer.current_epoch());
        let Write::Append(proposals) = write else {
            return Ok(());
        };
        for proposal in proposals
            .iter()
            .filter(|proposal| leads && proposal.zxid.epoch() == epoch)
        {
            self.history.observe(Observation::Broadcast {
                node: id,
                zxid: proposal.zxid,
                content: content_of(proposal),
            })?;
        }
        Ok(())
    }

    fn send(&mut self, from: NodeId, to: NodeId, message: Message) {
        if self.stale.get(&(from, to)).copied().unwrap_or(false) {
            return;
        }
        if let Some(way) = self.ways.get_mut(&(from, to)) {
            way.push_back(Heard::Message(message));
        }
    }

    fn hear(&mut self, from: NodeId, to: NodeId) {
        let heard = self.ways.get_mut(&(from, to)).and_then(VecDeque::pop_front);
        match heard {
            Some(Heard::Connected) => {
                self.stale.remove(&(to, from));
                self.input(to, Input::Connected(from));
            }
            Some(Heard::Message(message)) => self.input(to, Input::Message { from, message }),
            Some(Heard::Disconnected) => self.input(to, Input::Disconnected(from)),
            None => {}
        }
    }

    fn durable(&mut self, id: NodeId) {
        let node = self.node(id);
        if let Some(persist) = node.writes.pop_front() {
            for write in &persist.writes {
                node.disk.write(write);
            }
            self.input(id, Input::Durable(persist.receipt));
        }
    }

    fn relink(&mut self, from: NodeId, to: NodeId, was_up: bool) {
        let mut heard = VecDeque::new();
        if was_up {
            heard.push_back(Heard::Disconnected);
        }
        heard.push_back(Heard::Connected);
        self.ways.insert((from, to), heard);
        self.stale.insert((to, from), true);
    }

    fn crash(&mut self, id: NodeId, done: usize) {
        let mutation = self.mutation;
        let node = self.node(id);
        let writes = std::mem::take(&mut node.writes);
        let writes = writes.iter().flat_map(|persist| &persist.writes);
        for write in writes.take(done) {
            node.disk.write(write);
        }
        node.peer = peer(id, node.disk.recovered(), mutation);
        node.app = match &node.disk.snapshot {
            Some(s) => App::from_snapshot(s.zxid, &s.body).expect("a snapshot"),
            None => App::default(),
        };
        let started = Observation::Started {
            node: id,
            zxid: node.app.zxid,
            state: node.app.state,
            last: node.peer.last_zxid(),
        };
        let started = self.history.observe(started);
        if let Err(violation) = started {
            self.violation.get_or_insert(violation);
        }
        for other in voters().filter(|other| *other != id) {
            self.relink(id, other, true);
            self.relink(other, id, false);
        }
        self.input(id, Input::Start);
    }
}

impl Model for Ensemble {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut state = State::new(self.left, self.mutation);
        if self.is_established {
            while state.go_on() {}
            assert!(state.is_established());
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.violation.is_some() {
            return;
        }
        let busy = state.ways.iter().filter(|(_, way)| !way.is_empty());
        actions.extend(busy.map(|((from, to), _)| Action::Hear {
            from: *from,
            to: *to,
        }));
        let left = state.left;
        for (id, node) in &state.nodes {
            if !node.writes.is_empty() {
                actions.push(Action::Durable(*id));
            }
            if left.requests > 0 && node.peer.is_leading() {
                actions.push(Action::Request(*id));
            }
            if left.timers > 0 && node.peer.next_deadline().is_some() {
                actions.push(Action::Timer(*id));
            }
            if left.crashes > 0 {
                let writes: usize = node.writes.iter().map(|p| p.writes.len()).sum();
                actions.extend((0..=writes).map(|done| Action::Crash(*id, done)));
            }
        }
        if left.resets > 0 {
            let pairs = state.ways.keys().filter(|(from, to)| from < to);
            actions.extend(pairs.map(|(a, b)| Action::Reset(*a, *b)));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Hear { from, to } => state.hear(from, to),
            Action::Durable(id) => state.durable(id),
            Action::Timer(id) => {
                state.left.timers -= 1;
                let node = state.node(id);
                let deadline = node.peer.next_deadline().unwrap_or(node.now);
                node.now = node.now.max(deadline);
                state.input(id, Input::Tick);
            }
            Action::Request(id) => {
                state.left.requests -= 1;
                let request = payload(state.left.requests.into(), 0);
                state.node(id).peer.propose(request).ok()?;
                state.settle(id);
            }
            Action::Crash(id, done) => {
                state.left.crashes -= 1;
                state.crash(id, done);
            }
            Action::Reset(a, b) => {
                state.left.resets -= 1;
                state.relink(a, b, true);
                state.relink(b, a, true);
            }
        }
        while self.is_established && state.cut_short() {}
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(PAPER, |_, state: &State| state.violation.is_none()),
            Property::sometimes(DELIVERED, |_, state: &State| {
                state.history.commits() > 0 && voters().all(|id| state.history.has_all(id))
            }),
        ]
    }
}

fn check(is_established: bool, left: Left, states: usize) -> impl Checker<Ensemble> {
    let checker = Ensemble {
        left,
        mutation: Mutation::None,
        is_established,
    }
    .checker()
    .target_state_count(states)
    .threads(2)
    .spawn_bfs()
    .join();
    println!(
        "established: {is_established}, {left:?} to depth {}: {} states, {} of them different, all seen: {}",
        checker.max_depth(),
        checker.state_count(),
        checker.unique_state_count(),
        checker.is_done() && checker.state_count() < states,
    );
    checker
}

const NONE: Left = Left {
    requests: 0,
    crashes: 0,
    resets: 0,
    timers: 0,
};

/// All there is from a leader that both others follow, with these faults.
#[test]
fn everything_behind_an_established_leader() {
    let table = [
        Left {
            requests: 2,
            resets: 1,
            ..NONE
        },
        Left {
            requests: 1,
            crashes: 1,
            ..NONE
        },
    ];
    for left in table {
        let checker = check(true, left, usize::MAX);
        checker.assert_no_discovery(PAPER);
        checker.assert_any_discovery(DELIVERED);
    }
}

#[test]
fn what_is_broken_is_found() {
    for mutation in [
        Mutation::DeliverBeforeDurable,
        Mutation::DuplicateProposeTaken,
    ] {
        let left = Left {
            requests: 1,
            crashes: 1,
            ..NONE
        };
        let ensemble = Ensemble {
            left,
            mutation,
            is_established: true,
        };
        let checker = ensemble.checker().threads(2).spawn_bfs().join();
        checker.assert_any_discovery(PAPER);
    }
}

/// In whatever order the first words are heard.
#[test]
fn much_from_the_beginning() {
    let left = Left {
        requests: 1,
        crashes: 1,
        ..NONE
    };
    check(false, left, 20_000).assert_no_discovery(PAPER);
}

/// `DOHLE_SIM_STATES=20000000 cargo test --release --lib sim::model::as_much -- --ignored --nocapture`
#[test]
#[ignore = "takes as long as DOHLE_SIM_STATES says"]
fn as_much_as_there_is_time_for() {
    let states = std::env::var("DOHLE_SIM_STATES").ok();
    let states = states.and_then(|states| states.parse().ok());
    let states = states.unwrap_or(1_000_000);
    let faults = [
        (1, 1, 0, 0),
        (2, 1, 0, 0),
        (1, 1, 1, 0),
        (1, 0, 2, 0),
        (2, 2, 0, 0),
        (1, 1, 0, 1),
    ];
    for (requests, crashes, resets, timers) in faults {
        let left = Left {
            requests,
            crashes,
            resets,
            timers,
        };
        for is_established in [true, false] {
            check(is_established, left, states).assert_no_discovery(PAPER);
        }
    }
}
