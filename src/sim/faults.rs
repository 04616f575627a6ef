//! Everything that goes wrong, and the end of it.

use super::disk::Luck;
use super::history::{Property, Violation, violated};
use super::network::Notice;
use super::plan::Fault;
use super::server::Server;
use super::world::{Event, World};
use crate::types::NodeId;
use crate::zab::{Change, Peer, Voter};

/// More than are ever asked for, and none at all.
const VOTERS: std::ops::RangeInclusive<usize> = 1..=7;

impl World {
    pub(crate) fn fault(&mut self) -> Result<(), Violation> {
        if self.faults_over {
            return Ok(());
        }
        let interval = self.plan.fault_interval;
        let next = self.now + self.chance.latency(interval);
        self.schedule(next, Event::Fault);
        let nodes = self.nodes();
        let (Some(fault), Some(node)) = (
            self.plan.pick_fault(&mut self.chance),
            self.chance.pick(&nodes),
        ) else {
            return Ok(());
        };
        self.note(|| format!("fault: {fault:?} of {node}"));
        self.apply(fault, node)
    }

    /// A fault at a node that is just about to promise something.
    pub(crate) fn ambush(&mut self, node: NodeId) -> Result<(), Violation> {
        let Some(fault) = self.plan.pick_fault(&mut self.chance) else {
            return Ok(());
        };
        if self.faults_over {
            return Ok(());
        }
        self.note(|| format!("ambush: {fault:?} of {node}"));
        self.apply(fault, node)
    }

    /// How long a fault lasts, in microseconds: sometimes less than anybody's patience, sometimes more.
    fn a_while(&mut self) -> u64 {
        let timeout = self.plan.settings.timeout_ms * 1000;
        let spread = self.chance.between(1, 40);
        timeout * spread / 10
    }

    fn another(&mut self, node: NodeId) -> NodeId {
        let others: Vec<NodeId> = self.nodes().into_iter().filter(|n| *n != node).collect();
        self.chance.pick(&others).unwrap_or(node)
    }

    fn apply(&mut self, fault: Fault, node: NodeId) -> Result<(), Violation> {
        let other = self.another(node);
        match fault {
            Fault::Kill => self.crash(node, Luck::Everything),
            Fault::PowerCut => self.cut_power(node),
            Fault::PowerCutOfAll => {
                for node in self.nodes() {
                    self.cut_power(node);
                }
            }
            Fault::KillLeader | Fault::PauseLeader | Fault::IsolateLeader => {
                let leader = self.leader();
                match fault {
                    Fault::KillLeader => self.cut_power(leader.unwrap_or(node)),
                    Fault::PauseLeader => self.pause(leader.unwrap_or(node)),
                    _ => self.isolate(leader.unwrap_or(node)),
                }
            }
            Fault::Pause => self.pause(node),
            Fault::CutOneWay => self.cut(node, other),
            Fault::CutBoth => {
                self.cut(node, other);
                self.cut(other, node);
            }
            Fault::Partition => self.partition(None),
            Fault::Bridge => self.partition(Some(node)),
            Fault::Swing => self.swing(),
            Fault::Isolate => self.isolate(node),
            Fault::SlowLink => {
                let (times, until) = (self.chance.between(5, 100), self.now + self.a_while());
                self.network.slow_down(node, other, times);
                self.schedule(until, Event::LinkSpeed(node, other, 1));
            }
            Fault::SlowDisk => {
                let (times, until) = (self.chance.between(5, 50), self.now + self.a_while());
                let latency = self.plan.disk_latency;
                let most = self.plan.settings.timeout_ms * 1000 / 2;
                self.server(node).disk_latency = (latency * times).min(most);
                self.schedule(until, Event::DiskSpeed(node, latency));
            }
            Fault::Reset => {
                let notices = [self.notice(), self.notice()];
                self.network
                    .reset(node, other, notices, self.now, &mut self.chance);
                self.connect_soon(node, other);
            }
            Fault::Duplicate => {
                let hear = |node: &NodeId| !self.servers[node].is_busy(self.now);
                if hear(&node) && hear(&other) && self.network.is_open(node, other) {
                    self.network
                        .connect(node, other, self.now, &mut self.chance);
                }
            }
            Fault::Snapshot => self.take_snapshot(node),
            Fault::Reconfigure => {
                for _ in 0..self.chance.between(1, 3) {
                    self.reconfigure()?;
                }
            }
            Fault::Wipe => self.wipe(node),
        }
        Ok(())
    }

    fn notice(&mut self) -> Notice {
        let later = self.a_while();
        let notices = [
            Notice::Soon,
            Notice::Soon,
            Notice::After(later),
            Notice::Never,
        ];
        self.chance.pick(&notices).expect("there are some")
    }

    fn cut_power(&mut self, node: NodeId) {
        let luck = [Luck::Some, Luck::Some, Luck::Nothing, Luck::Everything];
        let luck = self.chance.pick(&luck).expect("there are some");
        self.crash(node, luck);
    }

    fn crash(&mut self, node: NodeId, luck: Luck) {
        if self.servers[&node].running.is_none() {
            return;
        }
        self.stats.crashes += 1;
        self.note(|| format!("{node} crashes, of what was not synced is left: {luck:?}"));
        let mut chance = self.chance.clone();
        self.server(node).crash(luck, &mut chance);
        self.chance = chance;
        let notice = self.notice();
        self.network.crash(node, notice, self.now, &mut self.chance);
        let at = self.now + self.a_while();
        self.schedule(at, Event::Start(node));
    }

    /// One of them: an old one may not know yet that it is none any more.
    fn leader(&mut self) -> Option<NodeId> {
        let leads = |node: &NodeId| {
            let running = self.servers[node].running.as_ref();
            running.is_some_and(|running| running.peer.is_leading())
        };
        let leaders: Vec<NodeId> = self.nodes().into_iter().filter(leads).collect();
        self.chance.pick(&leaders)
    }

    fn isolate(&mut self, node: NodeId) {
        for other in self.nodes() {
            self.cut(node, other);
            self.cut(other, node);
        }
    }

    fn pause(&mut self, node: NodeId) {
        let until = self.now + self.a_while();
        self.server(node).paused_until = until;
        self.schedule(until, Event::Resume(node));
    }

    fn cut(&mut self, from: NodeId, to: NodeId) {
        if from == to {
            return;
        }
        self.network.cut(from, to);
        let until = self.now + self.a_while();
        self.schedule(until, Event::Heal(from, to));
        if self.chance.permille(300) {
            // Somebody's patience with the silence ends before.
            let notices = [self.notice(), self.notice()];
            self.network
                .reset(from, to, notices, self.now, &mut self.chance);
            self.connect_soon(from, to);
        }
    }

    /// One server and as many others as make a majority hear each other, the rest hear nobody: the same server each time,
    /// so that whom it has left has to do without it.
    fn swing(&mut self) {
        let mut nodes = self.nodes();
        let swinging = nodes.remove(self.plan.swinging % nodes.len());
        while nodes.len() > self.plan.voters as usize / 2 {
            let left = self.chance.below(nodes.len() as u64) as usize;
            nodes.remove(left);
        }
        nodes.push(swinging);
        for from in self.nodes() {
            for to in self.nodes().into_iter().filter(|to| *to != from) {
                if nodes.contains(&from) && nodes.contains(&to) {
                    self.network.heal(from, to);
                    self.connect_soon(from, to);
                } else {
                    self.cut(from, to);
                }
            }
        }
    }

    /// In two, that do not hear each other; in one direction only, now and then. Both hear the bridge, if there is one.
    fn partition(&mut self, bridge: Option<NodeId>) {
        let nodes = self.nodes();
        let side: Vec<bool> = nodes.iter().map(|_| self.chance.permille(500)).collect();
        let one_way = bridge.is_none() && self.chance.permille(250);
        for (a, side_a) in nodes.iter().zip(&side) {
            for (b, side_b) in nodes.iter().zip(&side) {
                let on_bridge = bridge.is_some_and(|bridge| [*a, *b].contains(&bridge));
                if side_a != side_b && !on_bridge && (*side_a || !one_way) {
                    self.cut(*a, *b);
                }
            }
        }
    }

    /// Only where everybody knows which disk it voted with, by what is committed and durable: before, nobody could
    /// tell that it is another, and what is not committed may be forgotten.
    fn wipe(&mut self, node: NodeId) {
        let directory = self.servers[&node].directory;
        let knows = |peer: &Peer| {
            let status = peer.status();
            let committed = peer.voters_at(status.committed).get(node);
            let is_recorded = [committed, status.voters.get(node)]
                .iter()
                .all(|voter| voter.is_none_or(|v| v.directory == Some(directory)));
            // Without it there has to be a quorum that removes it.
            let enough = status.voters.len() > 2 || !status.voters.contains(node);
            is_recorded && enough && status.durable == status.last_zxid
        };
        let all_know = self.servers.values().all(|server| {
            let running = server.running.as_ref();
            running.is_some_and(|running| knows(&running.peer))
        });
        let others_lost = self.nodes().iter().any(|other| self.is_refused(*other));
        if !all_know || others_lost {
            return;
        }
        self.stats.wipes += 1;
        self.note(|| format!("{node} loses its disk"));
        self.crash(node, Luck::Nothing);
        self.history.forget(node);
        let mut chance = self.chance.clone();
        self.server(node).wipe(&mut chance);
        self.chance = chance;
    }

    /// By a leader, for its disk is not the one that voted.
    fn is_refused(&self, node: NodeId) -> bool {
        let directory = self.servers[&node].directory;
        self.servers.values().any(|server| {
            let voters = server.running.as_ref().map(|r| r.peer.status().voters);
            let recorded = voters.and_then(|voters| voters.get(node)?.directory);
            recorded.is_some_and(|recorded| recorded != directory)
        })
    }

    /// An administrator's doing, at whatever node leads.
    pub(crate) fn reconfigure(&mut self) -> Result<(), Violation> {
        let nodes = self.nodes();
        let leader = self.leader();
        let Some(leader) = leader.filter(|leader| !self.servers[leader].is_busy(self.now)) else {
            return Ok(());
        };
        let lost = nodes.iter().copied().find(|node| self.is_refused(*node));
        let node = lost.or_else(|| self.chance.pick(&nodes));
        let node = node.expect("there are servers");
        let directory = self.servers[&node].directory;
        let Some(running) = self.running(leader) else {
            return Ok(());
        };
        let voters = running.peer.status().voters;
        let change = match voters.contains(node) {
            true if voters.len() <= *VOTERS.start() => return Ok(()),
            true => Change::Remove(node),
            false if voters.len() >= *VOTERS.end() => return Ok(()),
            false => {
                let voter = Voter::at("node", node.0 as u16).with_directory(directory);
                Change::Add(node, voter)
            }
        };
        let wanted = format!("{change:?}");
        let changed = running.peer.reconfigure(change);
        self.note(|| format!("{leader} is asked to {wanted}: {changed:x?}"));
        self.stats.reconfigurations += u64::from(changed.is_ok());
        self.settle(leader)
    }

    /// From here on everything works.
    pub(crate) fn faults_end(&mut self) -> Result<(), Violation> {
        self.note(|| "the faults are over".into());
        self.faults_over = true;
        self.network.heal_all();
        for node in self.nodes() {
            let latency = self.plan.settings.timeout_ms;
            let server = self.server(node);
            server.disk_latency = latency;
            server.paused_until = 0;
            self.network.wake_up(node);
            self.set_timer(node);
            self.schedule(self.now, Event::Start(node));
        }
        let nodes = self.nodes();
        for a in &nodes {
            for b in nodes.iter().filter(|b| *b > a) {
                self.connect_soon(*a, *b);
            }
        }
        self.ask_everywhere()?;
        self.schedule(self.now, Event::Look);
        Ok(())
    }

    /// Whether all is well: everybody has everything and nobody waits. Then there is no reason for another election.
    pub(crate) fn look(&mut self) -> Result<(), Violation> {
        let elections = self.stats.elections;
        let timeout = self.plan.settings.timeout_ms * 1000;
        match (self.amiss(), self.well_since) {
            (None, None) => {
                self.note(|| "all is well".into());
                self.well_since = Some((self.now, elections));
                self.schedule(self.now + 6 * timeout, Event::Look);
            }
            (None, Some((_, before))) if before == elections => self.settled = true,
            (None, Some(_)) => return violated(Property::Progress, "an election for no reason"),
            (Some(what), Some(_)) => {
                let why = format!("all was well, and then: {what}");
                return violated(Property::Progress, why);
            }
            (Some(what), None) => {
                let standings = self.standings();
                self.note(|| format!("not yet: {what}; {standings}"));
                self.schedule(self.now + timeout / 4, Event::Look);
                if self.nodes().iter().any(|node| self.is_refused(*node)) {
                    self.schedule(self.now, Event::Reconfigure);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn what_is_amiss(&self) -> String {
        let what = self.amiss().unwrap_or_else(|| "nobody looked".into());
        format!("{what}; {}", self.standings())
    }

    /// Where each server is, and who votes as far as it knows.
    fn standings(&self) -> String {
        let of = |(node, server): (&NodeId, &Server)| {
            let Some(running) = server.running.as_ref() else {
                return format!("{node} does not run");
            };
            let status = running.peer.status();
            let voters: Vec<String> = status.voters.nodes().map(|v| v.to_string()).collect();
            format!(
                "{node} is {:?} in {:?} with {:#x} and voters {}",
                status.role,
                status.phase,
                status.last_zxid,
                voters.join("+")
            )
        };
        self.servers.iter().map(of).collect::<Vec<_>>().join(", ")
    }

    fn amiss(&self) -> Option<String> {
        let mut leaders = 0;
        for (node, server) in &self.servers {
            let Some(running) = server.running.as_ref() else {
                return Some(format!("{node} does not run"));
            };
            leaders += usize::from(running.peer.is_leading());
            if !self.history.has_all(*node) {
                let (has, last) = (running.app.zxid, self.history.last());
                return Some(format!("{node} has delivered {has:#x}, not {last:#x}"));
            }
        }
        if leaders != 1 {
            return Some(format!("{leaders} lead"));
        }
        let waiting = self
            .clients
            .iter()
            .filter(|client| client.is_waiting())
            .count();
        (waiting > 0).then(|| format!("{waiting} clients wait"))
    }
}
