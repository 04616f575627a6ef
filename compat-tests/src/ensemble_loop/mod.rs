//! Nodes of a cluster are killed and stopped in their tracks, and what is between them is cut, slowed and made to lose
//! frames, over and over, while clients make, alter and delete topics through any of them. Every node must come back to
//! where the others are after each fault; every so often, and at the end, each must have what was promised and nothing that was
//! promised to be gone.

pub mod clients;
pub mod faults;
mod judge;
mod summary;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::broker::FAILED;
use crate::ensemble::{Cluster, Nodes};
use crate::netns::NetworkCluster;
use clients::{Clients, Fate};
use faults::{Fault, Kind, Scene};
use judge::{judge, wait_until_caught_up};
use summary::longest_gap;

pub use summary::{Spread, Summary};

/// Faults between two comparisons.
const JUDGE_EVERY: u32 = 10;
/// What a fault does to clients they notice within.
const AFTERMATH: Duration = Duration::from_secs(2);
/// Within which a leader that is not heard has been replaced.
const SILENCE: Duration = Duration::from_millis(2500);

#[derive(Debug, Clone)]
pub struct Options {
    pub nodes: u16,
    pub faults: u32,
    pub seed: u64,
    /// As many as nodes, unless it is said.
    pub clients: Option<u16>,
    /// Milliseconds between two faults at most.
    pub longest_calm_ms: u64,
    /// Each node in a network namespace, and a network that fails between them.
    pub network: bool,
    pub set: Vec<String>,
    pub verbose: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 3,
            faults: 100,
            seed: 1,
            clients: None,
            longest_calm_ms: 1500,
            network: false,
            set: Vec::new(),
            verbose: false,
        }
    }
}

/// What happened, for the times to be held against.
#[derive(Default)]
struct Chronicle {
    /// What befell the leader, and nobody else: the fault's number, its name, from when until when.
    leader: Vec<(u32, String, Instant, Instant)>,
    whole_again: BTreeMap<Kind, Vec<Duration>>,
    /// When each fault began.
    began: Vec<Instant>,
}

/// What the nodes leave behind stays if anything is wrong.
pub fn run(options: &Options) -> Result<Summary> {
    let set: Vec<&str> = options.set.iter().map(String::as_str).collect();
    let cluster: Box<dyn Nodes> = if options.network {
        Box::new(NetworkCluster::start(options.nodes, &set, options.seed)?)
    } else {
        Box::new(Cluster::start(options.nodes, &set)?)
    };
    let summary = suffer_all(cluster.as_ref(), options);
    let right = summary
        .as_ref()
        .is_ok_and(|summary| summary.check().is_ok());
    FAILED.fetch_or(!right, Ordering::Relaxed);
    summary
}

fn suffer_all(cluster: &dyn Nodes, options: &Options) -> Result<Summary> {
    cluster.wait_until_whole()?;
    let began = Instant::now();
    let clients = Clients::new(options.clients.unwrap_or(options.nodes));
    let mut summary = Summary {
        nodes: options.nodes,
        seed: options.seed,
        ..Summary::default()
    };
    let chronicle = thread::scope(|scope| {
        let running: Vec<_> = (0..clients.seen.len())
            .map(|client| {
                let random = StdRng::seed_from_u64(options.seed ^ ((client as u64 + 1) << 32));
                let clients = &clients;
                scope.spawn(move || clients.run(cluster, client, random))
            })
            .collect();
        let disturbed = disturb(cluster, options, &clients, &mut summary);
        clients.stop.store(true, Ordering::Relaxed);
        let all_ended = running.into_iter().all(|client| client.join().is_ok());
        ensure!(all_ended, "a client panicked");
        disturbed
    })?;
    judge(cluster, &clients, &mut summary)?;
    tell(&clients, &chronicle, options.verbose, &mut summary);
    summary.seconds = began.elapsed().as_secs();
    summary.frames = cluster.switch().map(|switch| switch.counts());
    Ok(summary)
}

/// Ends with a calm.
fn disturb(
    cluster: &dyn Nodes,
    options: &Options,
    clients: &Clients,
    summary: &mut Summary,
) -> Result<Chronicle> {
    let mut random = StdRng::seed_from_u64(options.seed);
    let mut of_calms = StdRng::seed_from_u64(!options.seed);
    let longest = options.longest_calm_ms.max(101);
    let mut calm = || thread::sleep(Duration::from_millis(of_calms.random_range(100..longest)));
    let mut chronicle = Chronicle::default();
    for number in 1..=options.faults {
        calm();
        let (leader, epoch) = leadership(cluster)?;
        let scene = Scene {
            nodes: options.nodes,
            leader,
            network: options.network,
        };
        let fault = scene.draw(&mut random);
        if options.verbose {
            eprintln!("{number}: leader {leader}, {}", fault.summary());
        }
        let outcome = suffer(cluster, number, &fault, leader, &mut chronicle);
        if options.verbose
            && let Ok(took) = outcome
        {
            eprintln!("{number}: whole again after {} ms", took.as_millis());
        }
        outcome.with_context(|| format!("fault {number}, leader {leader}: {}", fault.summary()))?;
        *summary.faults.entry(fault.kind).or_default() += 1;
        summary.combined += u32::from(fault.combined);
        summary.leaders_lost += u32::from(leadership(cluster)?.1 != epoch);
        if number % JUDGE_EVERY == 0 {
            judge(cluster, clients, summary)?;
        }
    }
    calm();
    Ok(chronicle)
}

/// The leader and its epoch.
fn leadership(cluster: &dyn Nodes) -> Result<(u16, u64)> {
    let leader = cluster.leader()?;
    let shown = cluster.ensemble(leader)?;
    Ok((leader, shown["epoch"].as_u64().context("no epoch")?))
}

/// How long it took until all were whole again.
fn suffer(
    cluster: &dyn Nodes,
    number: u32,
    fault: &Fault,
    leader: u16,
    chronicle: &mut Chronicle,
) -> Result<Duration> {
    let began = fault.play(cluster)?;
    chronicle.began.push(began);
    let over = Instant::now();
    cluster.wait_until_whole()?;
    wait_until_caught_up(cluster)?;
    let took = over.elapsed();
    let whole_again = &mut chronicle.whole_again;
    whole_again.entry(fault.kind).or_default().push(took);
    if fault.node == Some(leader) && !fault.combined {
        let until = over.max(began + AFTERMATH);
        // Others lead only after so long a silence.
        let briefly = fault.kind != Kind::Killed && over - began < SILENCE;
        let briefly = if briefly { "_briefly" } else { "" };
        let what = format!("leader_{}{briefly}", fault.kind.name());
        chronicle.leader.push((number, what, began, until));
    }
    Ok(took)
}

fn tell(clients: &Clients, chronicle: &Chronicle, verbose: bool, summary: &mut Summary) {
    let mut times = Vec::new();
    for seen in clients.all() {
        let count = |fate| {
            seen.topics
                .values()
                .filter(|topic| topic.fate == fate)
                .count()
        };
        let deleted = count(Fate::Deleted);
        summary.created += count(Fate::Created) + deleted;
        summary.deleted += deleted;
        summary.altered += seen.altered;
        summary.unknown += seen.unknown;
        summary.wrong.extend(seen.wrong.iter().cloned());
        times.extend(&seen.times);
    }
    times.sort_unstable();
    let mut gaps: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
    for (number, what, from, until) in &chronicle.leader {
        // What the next fault does is not this one's.
        let next = chronicle.began.iter().find(|began| *began > from);
        let until = next.map_or(*until, |next| *next.min(until));
        let gap = longest_gap(&times, *from, until);
        if verbose {
            eprintln!("{number}: {what}, {} ms without a change", gap.as_millis());
        }
        gaps.entry(what.clone()).or_default().push(gap);
    }
    summary.gaps_ms = gaps
        .into_iter()
        .map(|(what, gaps)| (what, Spread::of(gaps)))
        .collect();
    let whole_again = chronicle.whole_again.iter();
    summary.whole_again_ms = whole_again
        .map(|(kind, times)| (*kind, Spread::of(times.clone())))
        .collect();
}
