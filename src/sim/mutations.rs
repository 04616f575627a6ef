//! Each way to break the machine on purpose is found: by which seed, by which property, after how many seeds.
//!
//! The seed that found it last is tried first; a change of the machine or of the world gives seeds another meaning, and then
//! the next ones are tried. What finds a mutation finds nothing in the machine as it is.

use super::run::Run;
use super::runs::from_environment;
use crate::zab::mutation::Mutation;

const FOUND: &[(Mutation, i32, u64)] = &[
    (Mutation::TruncatedOnDiskOnly, 3, 3),
    (Mutation::NewLeaderAckedEarly, 3, 500),
    (Mutation::EpochBeforeHistory, 3, 479),
    (Mutation::AckBeforeWrite, 3, 1083),
    (Mutation::EarlyAckCounts, 3, 3172),
    (Mutation::HolesOnJoining, 3, 8),
    (Mutation::CounterOverflow, 3, 6),
    (Mutation::ProposeToUpToDateOnly, 3, 6),
    (Mutation::DuplicateProposeTaken, 3, 1),
    (Mutation::UpToDateCarriesOldCommit, 3, 1975),
    (Mutation::QuorumOffByOne, 3, 10),
    (Mutation::ObserversCounted, 3, 14),
    (Mutation::TruncationSkipped, 3, 3),
    (Mutation::ReconfigAtCommit, 3, 334),
    (Mutation::ReconfigWhilePending, 3, 2819),
    (Mutation::EpochPromisedTwice, 3, 110_538),
    (Mutation::BetterHistoryIgnored, 3, 534),
    (Mutation::AckEpochEarly, 3, 9685),
    (Mutation::StaleAckSent, 3, 318),
    (Mutation::SyncUnconfirmed, 3, 197),
    (Mutation::DeliverBeforeDurable, 3, 53),
];

/// Tried before a mutation counts as missed.
const SEEDS: u64 = 10_000;

fn find(mutation: Mutation, voters: i32, first: u64) -> bool {
    let first = from_environment("DOHLE_SIM_SEED").unwrap_or(first);
    let voters = from_environment("DOHLE_SIM_VOTERS").unwrap_or(voters);
    let seeds = from_environment("DOHLE_SIM_SEEDS").unwrap_or(SEEDS);
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
