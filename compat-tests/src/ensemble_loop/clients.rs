//! What clients ask for meanwhile, and what they were promised.
//!
//! Each client has topics of its own, and asks for one change after the other, so there is no doubt about what comes
//! after what: a topic is made, its `retention.ms` counts upwards, it is deleted, and its name is never used again. Of what
//! has no answer nobody knows whether and when it is done, so that topic, or that option, is left alone from then on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::{RngExt as _, rngs::StdRng};

use crate::ensemble::Nodes;
use crate::requests::{create_topic, delete_topic, set_topic_config};

pub const OPTION: &str = "retention.ms";
/// A client gives up on a node after so long, and goes to another.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// Between two requests of a client: what is looked for does not need the machine to be busy.
const PAUSE: Duration = Duration::from_millis(4);
/// Topics of a client that are there at a time, at most.
const MOST_TOPICS: usize = 40;
/// So many requests until a client that was driven away from its own node tries that again.
const AWAY: u32 = 20;

/// Kafka's code for a node that has not had the leader's word in time: the one answer that says nothing.
const REQUEST_TIMED_OUT: i16 = 7;
/// Of a node that is stopping.
const NOT_CONTROLLER: i16 = 41;

/// What became of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Created,
    Deleted,
    /// It was asked for, and nobody said what came of it.
    Unknown,
}

/// Of its one option; values only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Setting {
    pub acknowledged: Option<u64>,
    /// The last attempt, if nobody said what came of it.
    pub unknown: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topic {
    pub fate: Fate,
    pub setting: Setting,
}

/// What one client has seen so far.
#[derive(Debug, Default)]
pub struct Seen {
    pub topics: BTreeMap<String, Topic>,
    /// Those that are there for certain.
    living: BTreeSet<String>,
    pub altered: usize,
    pub unknown: usize,
    /// When each change was acknowledged.
    pub times: Vec<Instant>,
    /// Answers that cannot be right.
    pub wrong: Vec<String>,
}

/// The clients and whoever looks at them.
pub struct Clients {
    pub seen: Vec<Mutex<Seen>>,
    /// Whoever writes holds them up between two requests.
    pub gate: RwLock<()>,
    pub stop: AtomicBool,
}

enum Request {
    Create,
    Delete,
    Alter(u64),
}

impl Clients {
    pub fn new(count: u16) -> Self {
        Self {
            seen: (0..count).map(|_| Mutex::default()).collect(),
            gate: RwLock::new(()),
            stop: AtomicBool::new(false),
        }
    }

    pub fn all(&self) -> impl Iterator<Item = MutexGuard<'_, Seen>> {
        let seen = self.seen.iter();
        seen.map(|seen| seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One client's life.
    pub fn run(&self, cluster: &dyn Nodes, client: usize, mut random: StdRng) {
        let home = 1 + client as u16 % cluster.nodes();
        let (mut node, mut away) = (home, 0);
        let mut number = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let open = self.gate.read().unwrap_or_else(PoisonError::into_inner);
            let seen = || {
                self.seen[client]
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
            };
            number += 1;
            let new = format!("ensemble-{client}-{number}");
            let (name, request) = seen().choose(new, &mut random);
            let answer = ask(&cluster.address(node), &name, &request);
            let sure = seen().note(name, &request, answer, node);
            drop(open);
            if sure {
                away = u32::saturating_sub(away, 1);
                if away == 0 {
                    node = home;
                }
            } else {
                node = 1 + node % cluster.nodes();
                away = AWAY;
            }
            thread::sleep(PAUSE);
        }
    }
}

fn ask(address: &str, name: &str, request: &Request) -> Result<i16> {
    match request {
        Request::Create => create_topic(address, name, PATIENCE),
        Request::Delete => delete_topic(address, name, PATIENCE),
        Request::Alter(value) => {
            set_topic_config(address, name, OPTION, &value.to_string(), PATIENCE)
        }
    }
}

impl Seen {
    fn choose(&self, new: String, random: &mut StdRng) -> (String, Request) {
        let any = |random: &mut StdRng| {
            let at = random.random_range(0..self.living.len());
            self.living.iter().nth(at).cloned().unwrap_or_default()
        };
        let few = self.living.len() < MOST_TOPICS;
        if self.living.is_empty() || few && random.random_ratio(2, 5) {
            return (new, Request::Create);
        }
        let name = any(random);
        let setting = self.topics[&name].setting;
        if setting.unknown.is_some() || random.random_ratio(1, 2) {
            return (name, Request::Delete);
        }
        let next = setting.acknowledged.map_or(1_000_000, |last| last + 1);
        (name, Request::Alter(next))
    }

    /// Whether it was done.
    fn note(&mut self, name: String, request: &Request, answer: Result<i16>, node: u16) -> bool {
        let done = matches!(answer, Ok(0));
        let what = match request {
            Request::Create => "create",
            Request::Delete => "delete",
            Request::Alter(_) => "alter",
        };
        match answer {
            Ok(0) => self.times.push(Instant::now()),
            Ok(REQUEST_TIMED_OUT | NOT_CONTROLLER) | Err(_) => self.unknown += 1,
            // It has been done twice, or what was promised is gone.
            Ok(code) => self
                .wrong
                .push(format!("{what} {name} by node {node}: error {code}")),
        }
        let topic = self.topics.entry(name.clone()).or_insert(Topic {
            fate: Fate::Unknown,
            setting: Setting::default(),
        });
        match (request, done) {
            (Request::Create, true) => {
                topic.fate = Fate::Created;
                self.living.insert(name);
            }
            (Request::Create, false) => {}
            (Request::Delete, _) => {
                topic.fate = if done { Fate::Deleted } else { Fate::Unknown };
                self.living.remove(&name);
            }
            (Request::Alter(value), true) => {
                self.altered += 1;
                topic.setting.acknowledged = Some(*value);
            }
            (Request::Alter(value), false) => topic.setting.unknown = Some(*value),
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(seen: &mut Seen, request: Request, answer: Result<i16>) -> Topic {
        seen.note("t".into(), &request, answer, 1);
        seen.topics["t"]
    }

    fn silence() -> Result<i16> {
        Err(anyhow::anyhow!("nobody"))
    }

    #[test]
    fn what_is_answered_is_promised_and_what_is_not_is_unknown() {
        let mut seen = Seen::default();
        assert_eq!(noted(&mut seen, Request::Create, Ok(0)).fate, Fate::Created);
        let altered = noted(&mut seen, Request::Alter(5), Ok(0)).setting;
        assert_eq!((altered.acknowledged, altered.unknown), (Some(5), None));
        let altered = noted(&mut seen, Request::Alter(6), silence()).setting;
        assert_eq!((altered.acknowledged, altered.unknown), (Some(5), Some(6)));
        let fate = noted(&mut seen, Request::Delete, Ok(REQUEST_TIMED_OUT)).fate;
        assert_eq!(fate, Fate::Unknown);
        assert!(seen.living.is_empty() && seen.wrong.is_empty());
        assert_eq!((seen.times.len(), seen.altered, seen.unknown), (2, 1, 2));
    }

    #[test]
    fn an_answer_that_cannot_be_is_told() {
        let mut seen = Seen::default();
        noted(&mut seen, Request::Create, Ok(36));
        assert_eq!(seen.wrong, ["create t by node 1: error 36"]);
    }

    #[test]
    fn an_option_in_doubt_is_not_set_again() {
        let mut random = rand::SeedableRng::seed_from_u64(1);
        let mut seen = Seen::default();
        noted(&mut seen, Request::Create, Ok(0));
        noted(&mut seen, Request::Alter(6), silence());
        for _ in 0..100 {
            let (_, request) = seen.choose("new".into(), &mut random);
            assert!(!matches!(request, Request::Alter(_)));
        }
    }
}
