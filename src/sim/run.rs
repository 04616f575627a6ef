//! One seed, from its beginning to its end or to the first property that does not hold.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::history::{Property, Violation};
use super::stats::Stats;
use super::world::World;
use crate::zab::mutation::Mutation;

/// Which run: the seed, how many vote in it at the beginning, and what is broken in the peers on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) seed: u64,
    pub(crate) voters: i32,
    pub(crate) mutation: Mutation,
}

#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) stats: Stats,
    pub(crate) violation: Option<Violation>,
    pub(crate) trace: Vec<String>,
}

/// Lines of a trace that are shown of a run that failed, unless `DOHLE_SIM_LINES` says how many.
const SHOWN: usize = 120;

impl Run {
    pub(crate) fn new(seed: u64, voters: i32) -> Self {
        Self {
            seed,
            voters,
            mutation: Mutation::None,
        }
    }

    pub(crate) fn go(self) -> Outcome {
        self.go_on(false)
    }

    pub(crate) fn traced(self) -> Outcome {
        self.go_on(true)
    }

    fn go_on(self, traced: bool) -> Outcome {
        let mut world = World::new(self, traced);
        let violation = loop {
            match catch_unwind(AssertUnwindSafe(|| world.step())) {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => break None,
                Ok(Err(violation)) => break Some(violation),
                Err(panic) => {
                    let why = panic
                        .downcast_ref::<String>()
                        .cloned()
                        .or_else(|| panic.downcast_ref::<&str>().map(|why| (*why).to_owned()))
                        .unwrap_or_default();
                    break Some(Violation {
                        property: Property::Sanity,
                        why,
                    });
                }
            }
        };
        Outcome {
            stats: world.stats,
            violation,
            trace: world.take_trace(),
        }
    }

    /// The violation and what led to it; the same run once more.
    pub(crate) fn explain(self) -> String {
        let outcome = self.traced();
        let lines = std::env::var("DOHLE_SIM_LINES")
            .ok()
            .and_then(|lines| lines.parse().ok());
        let shown = outcome.trace.len().saturating_sub(lines.unwrap_or(SHOWN));
        let end = outcome.trace[shown..].join("\n");
        let what = match outcome.violation {
            Some(violation) => violation.to_string(),
            None => "nothing: the run does not repeat itself".into(),
        };
        let after = outcome.stats.steps;
        format!("{self}, after {after} steps: {what}\n{end}\n{self}: {what}")
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            voters,
            mutation,
        } = self;
        write!(f, "DOHLE_SIM_SEED={seed} DOHLE_SIM_VOTERS={voters}")?;
        match mutation {
            Mutation::None => Ok(()),
            mutation => write!(f, " DOHLE_SIM_MUTATION={mutation:?}"),
        }
    }
}
