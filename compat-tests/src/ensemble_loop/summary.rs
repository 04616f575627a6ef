//! What a run came to: counts, times, and everything that is wrong.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;

use super::faults::Kind;
use crate::switch::Counts;

#[derive(Debug, Default, Serialize)]
pub struct Summary {
    pub nodes: u16,
    pub seed: u64,
    pub seconds: u64,
    pub faults: BTreeMap<Kind, u32>,
    /// Of those of the network: with a process killed or stopped meanwhile.
    pub combined: u32,
    /// Faults after which another leadership was there.
    pub leaders_lost: u32,
    pub created: usize,
    pub deleted: usize,
    pub altered: usize,
    pub unknown: usize,
    /// How often everything was compared.
    pub judged: u32,
    pub lost: Vec<String>,
    pub revived: Vec<String>,
    /// An option with a value that was replaced before.
    pub stale: Vec<String>,
    /// Answers that cannot be right.
    pub wrong: Vec<String>,
    /// How often nodes did not all have the same.
    pub differing: u32,
    /// Milliseconds: the longest time in which no client's change was acknowledged, by what befell the leader, while nothing
    /// else did.
    pub gaps_ms: BTreeMap<String, Spread>,
    /// Milliseconds until all nodes were up to date again after a fault.
    pub whole_again_ms: BTreeMap<Kind, Spread>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<Counts>,
}

impl Summary {
    pub fn check(&self) -> Result<()> {
        ensure!(self.lost.is_empty(), "lost: {:?}", self.lost);
        ensure!(self.revived.is_empty(), "came back: {:?}", self.revived);
        ensure!(self.stale.is_empty(), "stale: {:?}", self.stale);
        ensure!(self.wrong.is_empty(), "wrong answers: {:?}", self.wrong);
        ensure!(self.differing == 0, "nodes have not the same");
        ensure!(self.judged > 0, "nothing was compared");
        ensure!(
            self.created > 0 && self.deleted > 0 && self.altered > 0,
            "nothing was changed"
        );
        Ok(())
    }
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spread {
    pub count: usize,
    pub median: u64,
    pub max: u64,
}

impl Spread {
    pub fn of(mut values: Vec<Duration>) -> Self {
        values.sort_unstable();
        let ms = |value: Option<&Duration>| value.map_or(0, |value| value.as_millis() as u64);
        Self {
            count: values.len(),
            median: ms(values.get(values.len() / 2)),
            max: ms(values.last()),
        }
    }
}

/// The longest time without one of `times`, which ascend, that was not over at `from`; what is after `until` does not
/// count.
pub fn longest_gap(times: &[Instant], from: Instant, until: Instant) -> Duration {
    let first = times.partition_point(|time| *time < from).saturating_sub(1);
    let near = times.iter().skip(first);
    let pairs = near.clone().zip(near.skip(1));
    pairs
        .take_while(|(earlier, _)| **earlier < until)
        .map(|(earlier, later)| until.min(*later) - *earlier)
        .max()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_counts_as_a_whole_but_for_what_comes_later() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let times: Vec<Instant> = [0, 900, 1000, 1010, 1300, 1310, 3000].map(at).into();
        let gap = |from, until| longest_gap(&times, at(from), at(until)).as_millis();
        assert_eq!(gap(1000, 1310), 290);
        assert_eq!(gap(1005, 1100), 90);
        assert_eq!(gap(950, 1005), 100);
        assert_eq!(gap(1000, 2000), 690);
        assert_eq!(gap(4000, 5000), 0);
    }

    #[test]
    fn a_spread_is_of_the_sorted() {
        let values = [30, 10, 20].map(Duration::from_millis);
        let (count, median, max) = (3, 20, 30);
        let spread = Spread { count, median, max };
        assert_eq!(Spread::of(values.into()), spread);
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }
}
