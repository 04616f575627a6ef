//! Each way to break the machine on purpose is found: by which seed, by which property, after how many seeds.
//!
//! The seed that found it last is tried first; a change of the machine or of the world gives seeds another meaning, and then
//! the next ones are tried. What finds a mutation finds nothing in the machine as it is.

use super::run::Run;
use crate::zab::mutation::Mutation;

const FOUND: &[(Mutation, i32, u64)] = &[
    (Mutation::TruncatedOnDiskOnly, 3, 3),
    (Mutation::NewLeaderAckedEarly, 3, 446),
    (Mutation::EpochBeforeHistory, 3, 479),
    (Mutation::AckBeforeWrite, 3, 972),
    (Mutation::EarlyAckCounts, 3, 2774),
    (Mutation::HolesOnJoining, 3, 5),
    (Mutation::CounterOverflow, 3, 6),
    (Mutation::ProposeToUpToDateOnly, 3, 5),
    (Mutation::DuplicateProposeTaken, 3, 1),
    (Mutation::UpToDateCarriesOldCommit, 3, 945),
    (Mutation::QuorumOffByOne, 3, 6),
    (Mutation::ObserversCounted, 3, 10),
    (Mutation::TruncationSkipped, 3, 3),
    (Mutation::ReconfigAtCommit, 3, 302),
    (Mutation::ReconfigWhilePending, 3, 767),
    (Mutation::EpochPromisedTwice, 3, 3749),
    (Mutation::BetterHistoryIgnored, 3, 231),
    (Mutation::AckEpochEarly, 3, 7996),
    (Mutation::StaleAckSent, 3, 280),
    (Mutation::SyncUnconfirmed, 3, 96),
    (Mutation::DeliverBeforeDurable, 3, 35),
];

/// Tried before a mutation counts as missed.
const SEEDS: u64 = 10_000;

fn find(mutation: Mutation, voters: i32, first: u64) -> bool {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first = number("DOHLE_SIM_SEED").unwrap_or(first);
    let seeds = number("DOHLE_SIM_SEEDS").unwrap_or(SEEDS);
    for seed in first..first + seeds {
        let run = Run {
            seed,
            voters,
            mutation,
        };
        let outcome = run.go();
        if let Some(violation) = outcome.violation {
            let (tried, steps) = (seed - first + 1, outcome.stats.steps);
            println!("{run}: {tried} tried, after {steps} steps: {violation}");
            let whole = Run::new(seed, voters);
            assert_eq!(whole.go().violation, None, "{}", whole.explain());
            return true;
        }
    }
    println!("{mutation:?} was not found in {seeds} seeds");
    false
}

#[test]
fn every_mutation_is_found() {
    let only = std::env::var("DOHLE_SIM_MUTATION").unwrap_or_default();
    for mutation in Mutation::ALL {
        let is_listed = FOUND.iter().any(|(listed, ..)| *listed == mutation);
        assert!(is_listed, "{mutation:?}");
    }
    let asked = FOUND
        .iter()
        .filter(|(mutation, ..)| format!("{mutation:?}").contains(&only));
    let missed: Vec<_> = asked
        .filter(|(mutation, voters, seed)| !find(*mutation, *voters, *seed))
        .collect();
    assert!(missed.is_empty(), "{missed:?}");
}
