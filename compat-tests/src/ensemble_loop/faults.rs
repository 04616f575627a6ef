//! What is done to a cluster: drawn from a seed, and then played against it. Drawing is pure; a fault is a list of steps
//! that ends with everything as it was.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rand::{RngExt as _, rngs::StdRng};
use rustix::process::Signal;
use serde::Serialize;

use crate::ensemble::Nodes;
use crate::switch::{Burst, Policy, Port};

/// Where the clients are.
const CLIENTS: Port = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// kill -9, and started again.
    Killed,
    /// SIGSTOP for a while, then SIGCONT.
    Stopped,
    /// Two nodes do not reach each other.
    Cut,
    /// One of two does not reach the other.
    CutOneWay,
    /// A node reaches no other one, but clients reach it.
    Isolated,
    /// It hears none of the others, and they hear it.
    Deaf,
    /// The others do not hear it.
    Mute,
    /// The smaller part of the nodes and the larger do not reach each other.
    Split,
    /// Frames are lost, come twice and out of order, between all nodes or those of one, perhaps to clients, too.
    Lossy,
    /// 50 to 200 ms each way.
    Slow,
    /// Not more than some kilobytes a second.
    Narrow,
    /// A cut that comes and goes.
    Flapping,
    /// Clients do not reach a node.
    WithoutClients,
}

impl Kind {
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Links(Vec<(Port, Port, Policy)>),
    Heal,
    Kill(u16),
    Restart(u16),
    Stop(u16),
    Continue(u16),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    pub kind: Kind,
    /// Whom it concerns alone, if there is one.
    pub node: Option<u16>,
    /// A process is killed or stopped meanwhile.
    pub combined: bool,
    /// When, from the beginning on; ascending.
    pub steps: Vec<(Duration, Step)>,
}

/// The cluster, as far as faults are drawn by it.
#[derive(Debug, Clone, Copy)]
pub struct Scene {
    pub nodes: u16,
    pub leader: u16,
    pub network: bool,
}

fn ms(random: &mut StdRng, from: u64, to: u64) -> Duration {
    Duration::from_millis(random.random_range(from..to))
}

impl Scene {
    /// Leaders more often than others: that is where something can go wrong.
    fn node(&self, random: &mut StdRng) -> u16 {
        if random.random_ratio(1, 2) {
            self.leader
        } else {
            random.random_range(1..=self.nodes)
        }
    }

    fn others(&self, node: u16) -> impl Iterator<Item = u16> {
        (1..=self.nodes).filter(move |other| *other != node)
    }

    fn from(&self, node: u16, policy: Policy) -> Vec<(Port, Port, Policy)> {
        let others = self.others(node);
        others
            .map(|other| (node.into(), other.into(), policy))
            .collect()
    }

    fn around(&self, node: u16, policy: Policy) -> Vec<(Port, Port, Policy)> {
        let from = self.from(node, policy).into_iter();
        from.flat_map(|(a, b, policy)| [(a, b, policy), (b, a, policy)])
            .collect()
    }

    fn between(
        &self,
        random: &mut StdRng,
        policy: Policy,
        clients: bool,
    ) -> Vec<(Port, Port, Policy)> {
        let first = if clients { CLIENTS } else { 1 };
        if random.random_ratio(1, 2) {
            let node = self.node(random);
            let mut links = self.around(node, policy);
            if clients {
                links.extend([
                    (CLIENTS, node.into(), policy),
                    (node.into(), CLIENTS, policy),
                ]);
            }
            return links;
        }
        let ports = first..=usize::from(self.nodes);
        let pairs = ports
            .clone()
            .flat_map(|from| ports.clone().map(move |to| (from, to)));
        pairs
            .filter(|(from, to)| from != to)
            .map(|(from, to)| (from, to, policy))
            .collect()
    }

    pub fn draw(&self, random: &mut StdRng) -> Fault {
        if !self.network {
            return if random.random_ratio(1, 4) {
                self.stopped(random)
            } else {
                self.killed(random)
            };
        }
        match random.random_range(0..10) {
            0 | 1 => self.killed(random),
            2 => self.stopped(random),
            _ => self.of_network(random),
        }
    }

    fn killed(&self, random: &mut StdRng) -> Fault {
        let node = self.node(random);
        Fault {
            kind: Kind::Killed,
            node: Some(node),
            combined: false,
            steps: vec![
                (Duration::ZERO, Step::Kill(node)),
                (ms(random, 0, 1500), Step::Restart(node)),
            ],
        }
    }

    fn stopped(&self, random: &mut StdRng) -> Fault {
        let node = self.node(random);
        Fault {
            kind: Kind::Stopped,
            node: Some(node),
            combined: false,
            steps: vec![
                (Duration::ZERO, Step::Stop(node)),
                (ms(random, 100, 4000), Step::Continue(node)),
            ],
        }
    }

    fn of_network(&self, random: &mut StdRng) -> Fault {
        let node = self.node(random);
        let other = self
            .others(node)
            .nth(random.random_range(0..usize::from(self.nodes) - 1));
        let other = Port::from(other.unwrap_or(1));
        let port = Port::from(node);
        let pair = vec![(port, other, Policy::CUT), (other, port, Policy::CUT)];
        let long = ms(random, 500, 5000);
        let (kind, links, lasts) = match random.random_range(0..13) {
            0 => (Kind::Cut, pair, long),
            1 => {
                let way = vec![pair[random.random_range(0..2)]];
                (Kind::CutOneWay, way, long)
            }
            2 => (Kind::Isolated, self.around(node, Policy::CUT), long),
            3 => {
                // Until there is another leader, and some more.
                let lasts = ms(random, 3000, 5000);
                let links = self.around(self.leader, Policy::CUT);
                return self.finish(random, Kind::Isolated, Some(self.leader), links, lasts);
            }
            4 => {
                let mut links = self.around(node, Policy::CUT);
                links.retain(|(_, to, _)| *to == port);
                (Kind::Deaf, links, long)
            }
            5 => (Kind::Mute, self.from(node, Policy::CUT), long),
            6 => (Kind::Split, self.split(random, node), long),
            7 | 8 => {
                let clients = random.random_ratio(1, 3);
                let policy = lossy(random);
                (Kind::Lossy, self.between(random, policy, clients), long)
            }
            9 => {
                let policy = Policy {
                    delay: ms(random, 50, 200),
                    jitter: ms(random, 0, 50),
                    ..Policy::default()
                };
                (Kind::Slow, self.between(random, policy, false), long)
            }
            10 => {
                let policy = Policy {
                    bytes_per_second: Some(random.random_range(20_000..200_000)),
                    delay: ms(random, 0, 20),
                    ..Policy::default()
                };
                (Kind::Narrow, self.between(random, policy, false), long)
            }
            11 => {
                let whole = random.random_ratio(1, 2);
                let links = if whole {
                    self.around(node, Policy::CUT)
                } else {
                    pair
                };
                (Kind::Flapping, links, long)
            }
            _ => {
                let cut = [(CLIENTS, port), (port, CLIENTS)];
                let links = cut.map(|(from, to)| (from, to, Policy::CUT)).to_vec();
                (Kind::WithoutClients, links, long)
            }
        };
        let alone = matches!(kind, Kind::Isolated | Kind::Deaf | Kind::Mute);
        self.finish(random, kind, alone.then_some(node), links, lasts)
    }

    /// The smaller part, and who is in it.
    fn split(&self, random: &mut StdRng, node: u16) -> Vec<(Port, Port, Policy)> {
        let mut small = vec![node];
        while small.len() < usize::from(self.nodes - 1) / 2 {
            let next = random.random_range(1..=self.nodes);
            if !small.contains(&next) {
                small.push(next);
            }
        }
        let large = (1..=self.nodes).filter(|node| !small.contains(node));
        large
            .flat_map(|a| small.iter().map(move |b| (Port::from(a), Port::from(*b))))
            .flat_map(|(a, b)| [(a, b, Policy::CUT), (b, a, Policy::CUT)])
            .collect()
    }

    /// The steps, with something done to a process among them at times.
    fn finish(
        &self,
        random: &mut StdRng,
        kind: Kind,
        node: Option<u16>,
        links: Vec<(Port, Port, Policy)>,
        lasts: Duration,
    ) -> Fault {
        let mut steps = vec![(Duration::ZERO, Step::Links(links.clone()))];
        if kind == Kind::Flapping {
            let mut at = ms(random, 30, 500);
            while at < lasts {
                let healed = steps.len() % 2 == 1;
                let step = if healed {
                    Step::Heal
                } else {
                    Step::Links(links.clone())
                };
                steps.push((at, step));
                at += ms(random, 30, 700);
            }
        }
        steps.push((lasts, Step::Heal));
        let combined = random.random_ratio(1, 3);
        if combined {
            let victim = self.node(random);
            let at = lasts.mul_f64(random.random());
            // Often only after the network is well again.
            let back = at + ms(random, 0, 2500);
            let (harm, undo) = if random.random_ratio(2, 3) {
                (Step::Kill(victim), Step::Restart(victim))
            } else {
                (Step::Stop(victim), Step::Continue(victim))
            };
            steps.extend([(at, harm), (back, undo)]);
            steps.sort_by_key(|(at, _)| *at);
        }
        Fault {
            kind,
            node,
            combined,
            steps,
        }
    }
}

fn lossy(random: &mut StdRng) -> Policy {
    let burst = Burst {
        begin: 0.02,
        end: 0.2,
    };
    Policy {
        loss: random.random_range(0.05..0.3),
        burst: if random.random_ratio(1, 3) {
            burst
        } else {
            Burst::default()
        },
        delay: ms(random, 0, 30),
        jitter: ms(random, 0, 20),
        duplicate: random.random_range(0.0..0.05),
        overtake: random.random_range(0.0..0.2),
        ..Policy::default()
    }
}

impl Fault {
    pub fn lasts(&self) -> Duration {
        self.steps.last().map_or(Duration::ZERO, |(at, _)| *at)
    }

    /// For people.
    pub fn summary(&self) -> String {
        let steps = self.steps.iter().map(|(at, step)| {
            let what = match step {
                Step::Links(links) => match links.first() {
                    Some((from, to, policy)) if policy.cut => {
                        format!("{} links as {from} to {to} cut", links.len())
                    }
                    Some((from, to, policy)) => {
                        format!("{} links as {from} to {to}: {policy:?}", links.len())
                    }
                    None => String::new(),
                },
                other => format!("{other:?}"),
            };
            format!("{} ms {what}", at.as_millis())
        });
        format!("{:?}: {}", self.kind, steps.collect::<Vec<_>>().join("; "))
    }

    /// When it began.
    pub fn play(&self, cluster: &dyn Nodes) -> Result<Instant> {
        let began = Instant::now();
        for (at, step) in &self.steps {
            thread::sleep((began + *at).saturating_duration_since(Instant::now()));
            let switch = || cluster.switch().context("a network that cannot fail");
            match step {
                Step::Links(links) => switch()?.set(links),
                Step::Heal => switch()?.heal(),
                Step::Kill(node) => cluster.kill(*node)?,
                Step::Restart(node) => cluster.restart(*node)?,
                Step::Stop(node) => cluster.signal(*node, Signal::STOP)?,
                Step::Continue(node) => cluster.signal(*node, Signal::CONT)?,
            }
        }
        Ok(began)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng as _;

    use super::*;

    fn thousands(scene: Scene) -> Vec<Fault> {
        let mut random = StdRng::seed_from_u64(7);
        (0..5000).map(|_| scene.draw(&mut random)).collect()
    }

    const FIVE: Scene = Scene {
        nodes: 5,
        leader: 2,
        network: true,
    };

    #[test]
    fn every_fault_ends_with_everything_as_it_was() {
        for scene in [
            FIVE,
            Scene { nodes: 3, ..FIVE },
            Scene {
                network: false,
                ..FIVE
            },
        ] {
            for fault in thousands(scene) {
                assert!(fault.steps.is_sorted_by_key(|(at, _)| *at), "{fault:?}");
                assert!(fault.lasts() < Duration::from_secs(8), "{fault:?}");
                let (mut down, mut cut) = (BTreeSet::new(), false);
                for (_, step) in &fault.steps {
                    match step {
                        Step::Links(links) => {
                            assert!(!links.is_empty() && links.iter().all(|(a, b, _)| a != b));
                            cut = true;
                        }
                        Step::Heal => cut = false,
                        Step::Kill(node) | Step::Stop(node) => assert!(down.insert(*node)),
                        Step::Restart(node) | Step::Continue(node) => assert!(down.remove(node)),
                    }
                }
                assert!(down.is_empty() && !cut, "{fault:?}");
            }
        }
    }

    #[test]
    fn every_kind_is_drawn_and_without_a_network_only_those_of_processes() {
        let kinds = |scene| {
            let faults = thousands(scene);
            faults
                .iter()
                .map(|fault| fault.kind)
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(kinds(FIVE).len(), 13);
        let alone = kinds(Scene {
            network: false,
            ..FIVE
        });
        assert_eq!(alone, BTreeSet::from([Kind::Killed, Kind::Stopped]));
    }

    #[test]
    fn a_split_has_a_quorum_on_one_side() {
        for fault in thousands(FIVE)
            .iter()
            .filter(|fault| fault.kind == Kind::Split)
        {
            let Some((_, Step::Links(links))) = fault.steps.first() else {
                panic!("{fault:?}");
            };
            let alone = |node: &Port| links.iter().filter(|(from, _, _)| from == node).count();
            let counts: Vec<usize> = (1..=5).map(|node| alone(&node)).collect();
            assert_eq!(counts.iter().filter(|count| **count == 3).count(), 2);
            assert_eq!(counts.iter().filter(|count| **count == 2).count(), 3);
        }
    }

    #[test]
    fn an_isolated_node_still_has_clients() {
        let faults = thousands(FIVE);
        let isolated = faults.iter().filter(|fault| fault.kind == Kind::Isolated);
        for fault in isolated {
            let Some((_, Step::Links(links))) = fault.steps.first() else {
                panic!("{fault:?}");
            };
            assert_eq!(links.len(), 8);
            assert!(
                links
                    .iter()
                    .all(|(from, to, policy)| policy.cut && *from > 0 && *to > 0)
            );
        }
    }
}
