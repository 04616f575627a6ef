//! Anything may happen in any order: a quick look over many seeds for what no transcript thought of.
//! The simulator does this with real disks, latencies and all of the paper's properties.

use bytes::Bytes;

use super::*;
use crate::types::NodeId;

struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % n
    }

    fn node(&mut self, nodes: i32) -> i32 {
        1 + self.below(nodes as u64) as i32
    }
}

struct World {
    ensemble: Ensemble,
    chance: Chance,
    nodes: i32,
    proposed: u64,
    cuts: Vec<(i32, i32)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        for _ in 0..8 {
            chance.below(2);
        }
        let voters = [3, 3, 3, 5][chance.below(4) as usize];
        let nodes = voters + chance.below(3) as i32;
        let mut ensemble = Ensemble::new(voters);
        ensemble.settings.history_bytes = [0, 40, 1 << 20][chance.below(3) as usize];
        ensemble.settings.snapshot_chunk_bytes = 16;
        ensemble.settings.last_counter = [3, 20, u32::MAX][chance.below(3) as usize];
        for node in 1..=nodes {
            ensemble.start(node);
        }
        Self {
            ensemble,
            chance,
            nodes,
            proposed: 0,
            cuts: Vec::new(),
        }
    }

    fn is_up(&self, node: i32) -> bool {
        self.ensemble.servers[&NodeId(node)].peer.is_some()
    }

    fn propose(&mut self, node: i32) {
        let payload = Bytes::from(format!("p{}", self.proposed));
        if self.is_up(node) && self.ensemble.peer(node).propose(payload).is_ok() {
            self.proposed += 1;
        }
        if self.is_up(node) {
            self.ensemble.take_ready(NodeId(node));
        }
    }

    fn reconfigure(&mut self, node: i32) {
        let (other, voter) = (self.chance.node(self.nodes), Voter::at("h", 1));
        let change = match self.chance.below(2) {
            0 => Change::Add(NodeId(other), voter),
            _ => Change::Remove(NodeId(other)),
        };
        if self.is_up(node) {
            let _ = self.ensemble.peer(node).reconfigure(change);
            self.ensemble.take_ready(NodeId(node));
        }
    }

    /// Everybody at once: what is left is what is on the disks.
    fn power_failure(&mut self) {
        for node in 1..=self.nodes {
            if self.is_up(node) {
                self.ensemble.crash(node);
            }
        }
        for node in 1..=self.nodes {
            if self.chance.below(4) > 0 {
                self.ensemble.start(node);
            }
        }
    }

    /// `faults` of a thousand steps break something.
    fn step(&mut self, faults: u64) {
        let (a, b) = (self.chance.node(self.nodes), self.chance.node(self.nodes));
        if self.chance.below(1000) < faults {
            match self.chance.below(7) {
                6 if self.chance.below(4) == 0 => self.power_failure(),
                0 if self.is_up(a) => self.ensemble.crash(a),
                0 | 1 if !self.is_up(a) => self.ensemble.start(a),
                1 if a != b => {
                    self.ensemble.cut(a, b);
                    self.cuts.push((a, b));
                }
                2 if a != b => {
                    self.ensemble.cut_silently(a, b);
                    self.cuts.push((a, b));
                }
                3 | 4 => {
                    if let Some((a, b)) = self.cuts.pop() {
                        self.ensemble.mend(a, b);
                    }
                }
                _ if self.is_up(a) => self.reconfigure(a),
                _ => {}
            }
            return;
        }
        match self.chance.below(100) {
            0..60 => {
                self.ensemble.deliver_from(a, b);
            }
            60..70 => self.propose(a),
            70..80 if self.is_up(a) => self.ensemble.stall(a),
            80..90 if self.is_up(a) => self.ensemble.write_some(a),
            90..94 => self.ensemble.unstall(a),
            94 if self.is_up(a) => self.ensemble.sync(a),
            _ => {
                let ms = 1 + self.chance.below(300);
                self.ensemble.tick_all(ms);
            }
        }
    }

    /// Everything works again: what was applied anywhere is applied everywhere, and more can be.
    fn heal(&mut self) {
        for (a, b) in std::mem::take(&mut self.cuts) {
            self.ensemble.mend(a, b);
        }
        for node in 1..=self.nodes {
            if !self.is_up(node) {
                self.ensemble.start(node);
            }
            self.ensemble.unstall(node);
        }
        self.ensemble.advance(6_000);
        let leader = self.ensemble.leader();
        self.propose(leader);
        self.ensemble.advance(6_000);
        let leader = self.ensemble.leader();
        self.propose(leader);
        self.ensemble.advance(1_000);
        self.ensemble.image();
        self.ensemble.check_nothing_is_lost();
    }
}

fn live(seed: u64, steps: u64) -> World {
    let mut world = World::new(seed);
    for _ in 0..3 {
        for step in 0..steps {
            // Time for an election now and then.
            world.step(if step % 500 < 250 { 40 } else { 2 });
        }
        world.heal();
    }
    world
}

#[test]
fn nothing_is_lost_and_all_agree_over_many_seeds() {
    let seeds: u64 = std::env::var("DOHLE_ZAB_SEEDS").map_or(60, |n| n.parse().unwrap());
    let first: u64 = std::env::var("DOHLE_ZAB_SEED").map_or(0, |n| n.parse().unwrap());
    let mut applied = 0;
    for seed in first..first + seeds {
        let lived = std::panic::catch_unwind(|| live(seed, 1_000));
        match lived {
            Ok(world) => applied += world.ensemble.applied_anywhere(),
            Err(_) => panic!("seed {seed}"),
        }
    }
    assert!(applied as u64 > seeds, "{applied} proposals were applied");
    println!("{applied} proposals applied in {seeds} lives");
}

#[test]
fn a_seed_lives_the_same_life_twice() {
    let transcript = |seed| live(seed, 300).ensemble.transcript;
    assert_eq!(transcript(7), transcript(7));
    assert_ne!(transcript(7), transcript(8));
}
