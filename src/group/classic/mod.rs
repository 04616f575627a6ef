//! The classic group protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup (KIP-62, 134, 345, 394, 814).
//!
//! A group goes Empty → PreparingRebalance (members join) → CompletingRebalance (the leader's assignment
//! is awaited) → Stable, and back to PreparingRebalance when somebody comes, goes or changes. One record
//! is written when an assignment is known, one when the last member is gone, one when a group is new.
//!
//! As in Kafka, the state moves on when the leader's assignment *commits*; until then everybody's sync
//! waits. Unlike Kafka, a request that can no longer be answered well (its member was removed, or
//! asked again) is answered at once, so every request gets exactly one reply.

mod describe;
mod group;
mod heartbeat;
mod join;
mod leave;
mod member;
mod rebalance;
mod static_member;
mod sync;

pub use group::{ClassicGroup, ClassicGroupState};
pub use member::ClassicGroupMember;
pub use static_member::StaticRejoin;
pub use sync::AwaitedAssignment;

pub(super) use describe::{describe, listed};
pub(super) use heartbeat::heartbeat;
pub(super) use join::join;
pub(super) use leave::leave;
pub(super) use rebalance::{
    answer_everybody, expire_join, expire_session, expire_sync, prepare_rebalance, schedule_session,
};
pub(super) use static_member::settle_static_rejoin;
pub(super) use sync::{settle_sync, sync};
