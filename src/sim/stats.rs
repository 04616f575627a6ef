//! What a run went through, in numbers.

use std::fmt;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stats {
    pub(crate) steps: u64,
    pub(crate) messages: u64,
    pub(crate) elections: u64,
    pub(crate) crashes: u64,
    pub(crate) commits: u64,
    pub(crate) acknowledged: u64,
    pub(crate) reads: u64,
    pub(crate) snapshots: u64,
    pub(crate) restores: u64,
    pub(crate) truncations: u64,
    pub(crate) reconfigurations: u64,
    pub(crate) wipes: u64,
    pub(crate) refusals: u64,
    /// Of virtual time.
    pub(crate) microseconds: u64,
}

impl Stats {
    pub(crate) fn add(&mut self, other: &Stats) {
        let Stats {
            steps,
            messages,
            elections,
            crashes,
            commits,
            acknowledged,
            reads,
            snapshots,
            restores,
            truncations,
            reconfigurations,
            wipes,
            refusals,
            microseconds,
        } = *other;
        self.steps += steps;
        self.messages += messages;
        self.elections += elections;
        self.crashes += crashes;
        self.commits += commits;
        self.acknowledged += acknowledged;
        self.reads += reads;
        self.snapshots += snapshots;
        self.restores += restores;
        self.truncations += truncations;
        self.reconfigurations += reconfigurations;
        self.wipes += wipes;
        self.refusals += refusals;
        self.microseconds += microseconds;
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = [
            (self.steps, "steps"),
            (self.messages, "messages"),
            (self.elections, "elections"),
            (self.crashes, "crashes"),
            (self.commits, "commits"),
            (self.acknowledged, "acknowledged"),
            (self.reads, "reads"),
            (self.snapshots, "snapshots"),
            (self.restores, "restores"),
            (self.truncations, "truncations"),
            (self.reconfigurations, "reconfigurations"),
            (self.wipes, "wipes"),
            (self.refusals, "refusals"),
            (self.microseconds / 1_000_000, "s of virtual time"),
        ];
        let words: Vec<String> = numbers
            .iter()
            .map(|(number, of)| format!("{number} {of}"))
            .collect();
        f.write_str(&words.join(", "))
    }
}
