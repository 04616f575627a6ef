//! The group coordinator of one partition of `__consumer_offsets`, pure.
//!
//! Hard state ([`GroupCoordinatorState`]) is what the records say: groups as last stored, and offsets. Soft
//! state ([`GroupCoordinatorShard`]) is the groups as they live: who waits, who has to be heard of by
//! when. A live group runs ahead of its record: a new generation is stored only when its assignment is
//! known, and whoever loads the partition before that starts from the generation before.
//!
//! Invariants: a group with a record has a live group; at most one leader in a group; a generation never goes
//! back while the shard lives; every token handed in comes back exactly once; replies that promise
//! something stored leave when it is committed.

pub mod classic;
pub mod command;
mod consumer_protocol;
mod offsets;
mod partition;
mod record_bytes;
pub mod records;
mod shard;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use partition::partition_for;
pub use shard::{GroupCoordinator, GroupCoordinatorShard};
pub use state::{GroupCoordinatorState, OffsetAndMetadata, Offsets};

use crate::state_machine::{Decision, Now, Timers};
use classic::{AwaitedAssignment, ClassicGroup, StaticRejoin};

/// The options a shard decides by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`
    pub max_size: usize,
    /// `offset.metadata.max.bytes`
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`, in milliseconds
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_interval_ms: i64,
}

pub type GroupDecision = Decision<records::Record, command::Reply, Pending>;

/// What a decision left open until its append has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pending {
    /// This group is new: without its record it is forgotten again.
    NewGroup(Arc<str>),
    /// These groups are deleted: without their tombstones they are back.
    Removed(Vec<ClassicGroup>),
    Assignment(AwaitedAssignment),
    StaticRejoin(Box<StaticRejoin>),
}

/// What a deadline is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimerKey {
    /// The session of a member (group, member), or its first join.
    Session(Arc<str>, Arc<str>),
    /// The wait for a group's members to join.
    Join(Arc<str>),
    /// The wait for a group's members to ask for their assignment.
    Sync(Arc<str>),
    /// The next look for expired offsets.
    Expiration,
}

impl TimerKey {
    fn session(group: &ClassicGroup, member_id: &Arc<str>) -> Self {
        TimerKey::Session(group.group_id.clone(), member_id.clone())
    }
}

/// What a decision in the making needs besides the group it is about.
struct Turn<'a> {
    now: Now,
    config: &'a GroupConfig,
    timers: &'a mut Timers<TimerKey>,
    out: &'a mut GroupDecision,
}

impl Turn<'_> {
    fn schedule(&mut self, name: TimerKey, delay_ms: i64) {
        self.timers.schedule(name, self.now.tick.plus_ms(delay_ms));
    }
}
