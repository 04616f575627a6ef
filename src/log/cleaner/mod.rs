//! Compaction (`cleanup.policy=compact`): of every key the last record stays, in its place.
//!
//! A cleaning reads the dirty part of a log into an `offset_map` (key to last offset), then copies all segments
//! below its end without what has been superseded (`filter`, `transactions`), a few together into one (`group`), and
//! swaps each copy in (`swap`). What is cleaned when is decided in `select`, who may touch a log meanwhile in
//! `state`; the threads are the runtime's.
//!
//! Invariants: offsets, timestamps and the order of what stays do not change; the active segment, and whatever is
//! not stable or not on disk, is not touched; the last batch of a producer stays, if only as an empty one; after a
//! crash each swap has happened or has not.

mod clean;
#[cfg(test)]
mod crash_tests;
mod filter;
mod group;
#[cfg(test)]
mod model_tests;
mod offset_map;
mod raw_record;
mod select;
mod state;
pub(super) mod swap;
mod throttle;
mod transactions;

pub use clean::{CleanError, Cleaner, CleanerStats, CleaningHost};
pub use select::{Cleanable, filthiest};
pub(super) use state::Cleaning;
pub use state::CleaningPlan;
pub use swap::CleanedSegment;
pub use throttle::Throttle;
