//! The fuzz targets by name, and their stored corpora as an ordinary test.
//!
//! `tests/fuzz` builds each into a fuzzer of its own; README.md says how they are run.

use crate::{log, protocol, zab};

/// A target's name and its body, which fails by panicking.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("batches", protocol::fuzz::batches),
    ("records", protocol::fuzz::records),
    ("decompression", protocol::fuzz::decompression),
    ("request", protocol::fuzz::request),
    ("request_bodies", protocol::fuzz::request_bodies),
    ("validation", log::fuzz::validation),
    ("offset_index", log::fuzz::offset_index),
    ("time_index", log::fuzz::time_index),
    ("transaction_index", log::fuzz::transaction_index),
    ("producer_snapshot", log::fuzz::producer_snapshot),
    ("checkpoints", log::fuzz::checkpoints),
    ("recovery", log::fuzz::recovery),
    ("journal", log::fuzz::journal),
    ("ensemble_messages", zab::fuzz::messages),
];

/// Runs one of them.
#[expect(
    clippy::panic,
    reason = "a fuzzer for a target that is not there is a mistake"
)]
pub fn run(name: &str, data: &[u8]) {
    match TARGETS.iter().find(|(known, _)| *known == name) {
        Some((_, target)) => target(data),
        None => panic!("no target {name}"),
    }
}

#[cfg(test)]
#[path = "fuzz_tests.rs"]
mod tests;
