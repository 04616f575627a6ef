//! The shape every coordinator has: `decide` looks and answers, `replay` changes what records rebuild.
//!
//! A machine owns no clock, no file and no task. Its *hard* state is exactly what its records rebuild
//! and only [`Coordinator::replay`] changes it. Its *soft* state (deadlines, parked requests) dies with
//! the leadership. The driver appends a decision's records, replays them when they are in the log, lets
//! the replies go when they may, and tells the machine how the append ended through
//! [`Coordinator::settle`] when the decision left something open.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::error::ErrorCode;
use crate::types::{Offset, ProducerId, TimestampMs};

/// Milliseconds of a clock that never goes back: what deadlines are measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// The tick `delay_ms` later; a negative delay is none.
    pub fn plus_ms(self, delay_ms: i64) -> Tick {
        Tick(self.0.saturating_add(u64::try_from(delay_ms).unwrap_or(0)))
    }
}

/// The moment a decision is taken at: the wall clock goes into records, the tick into deadlines, so a
/// corrected wall clock expires nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    pub wall: TimestampMs,
    pub tick: Tick,
}

/// Names one waiting request. The driver hands it in with a command and gets it back exactly once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyToken(pub u64);

impl fmt::Display for ReplyToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// When a reply may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// At once: it promises nothing that is in the log.
    AtOnce,
    /// When every record appended so far, this decision's included, is below the high watermark.
    WhenCommitted,
}

/// A reply on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing<R> {
    pub token: ReplyToken,
    pub reply: R,
    pub release: Release,
}

/// What a machine wants done, in this order: append, replay, reply.
#[derive(Debug)]
pub struct Decision<Record, Reply, Pending> {
    pub records: Vec<Record>,
    /// The records may go into several batches: they do not depend on each other.
    pub splittable: bool,
    pub replies: Vec<Outgoing<Reply>>,
    /// To be handed to [`Coordinator::settle`] once the append has failed or its records are committed.
    pub pending: Option<Pending>,
}

impl<Record, Reply, Pending> Default for Decision<Record, Reply, Pending> {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            splittable: false,
            replies: Vec::new(),
            pending: None,
        }
    }
}

impl<Record, Reply, Pending> Decision<Record, Reply, Pending> {
    pub fn reply(&mut self, token: ReplyToken, reply: Reply, release: Release) {
        self.replies.push(Outgoing {
            token,
            reply,
            release,
        });
    }
}

/// How an append ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The records are below the high watermark.
    Committed,
    /// Nothing was appended, and nothing was replayed.
    NotAppended(ErrorCode),
    /// The records are in the log and replayed, but did not commit in time.
    NotCommitted(ErrorCode),
}

/// One partition's worth of a coordinator.
pub trait Coordinator {
    type Hard;
    type Soft;
    type Command;
    type Record;
    type Reply;
    type Pending;

    fn decide(
        hard: &Self::Hard,
        soft: &mut Self::Soft,
        command: Self::Command,
        now: Now,
    ) -> Decision<Self::Record, Self::Reply, Self::Pending>;

    /// Takes up a record that is in the log at `offset`, written inside `producer`'s transaction if any.
    fn replay(hard: &mut Self::Hard, record: &Self::Record, offset: Offset, producer: ProducerId);

    /// Takes up the end of `producer`'s transaction.
    fn replay_transaction_end(_hard: &mut Self::Hard, _producer: ProducerId, _committed: bool) {}

    /// The append that `pending` hung on has ended.
    fn settle(
        hard: &Self::Hard,
        soft: &mut Self::Soft,
        pending: Self::Pending,
        outcome: Outcome,
        now: Now,
    ) -> Decision<Self::Record, Self::Reply, Self::Pending>;

    /// When [`Coordinator::on_deadline`] is due next, if ever.
    fn next_deadline(soft: &Self::Soft) -> Option<Tick>;

    /// Acts on one deadline that has passed; the driver calls again while there are more.
    fn on_deadline(
        hard: &Self::Hard,
        soft: &mut Self::Soft,
        now: Now,
    ) -> Decision<Self::Record, Self::Reply, Self::Pending>;
}

/// Deadlines by name. Setting one again moves it; equal deadlines come in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timers<K: Ord> {
    by_deadline: BTreeSet<(Tick, K)>,
    deadlines: BTreeMap<K, Tick>,
}

impl<K: Ord> Default for Timers<K> {
    fn default() -> Self {
        Self {
            by_deadline: BTreeSet::new(),
            deadlines: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone> Timers<K> {
    pub fn schedule(&mut self, name: K, at: Tick) {
        if let Some(before) = self.deadlines.insert(name.clone(), at) {
            if before == at {
                return;
            }
            self.by_deadline.remove(&(before, name.clone()));
        }
        self.by_deadline.insert((at, name));
    }

    pub fn cancel(&mut self, name: &K) {
        if let Some(at) = self.deadlines.remove(name) {
            self.by_deadline.remove(&(at, name.clone()));
        }
    }

    pub fn next(&self) -> Option<Tick> {
        self.by_deadline.first().map(|(at, _)| *at)
    }

    pub fn deadline(&self, name: &K) -> Option<Tick> {
        self.deadlines.get(name).copied()
    }

    /// Takes out the earliest name whose deadline is not after `now`.
    pub fn pop_due(&mut self, now: Tick) -> Option<K> {
        if self.by_deadline.first()?.0 > now {
            return None;
        }
        let (_, name) = self.by_deadline.pop_first()?;
        self.deadlines.remove(&name);
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_moves_when_set_again_and_is_popped_once() {
        let mut timers = Timers::default();
        timers.schedule("b", Tick(10));
        timers.schedule("a", Tick(10));
        timers.schedule("c", Tick(5));
        timers.schedule("c", Tick(20));
        assert_eq!(timers.next(), Some(Tick(10)));
        assert_eq!(timers.pop_due(Tick(9)), None);
        assert_eq!(timers.pop_due(Tick(10)), Some("a"));
        timers.cancel(&"b");
        assert_eq!(timers.pop_due(Tick(19)), None);
        assert_eq!(timers.deadline(&"c"), Some(Tick(20)));
        assert_eq!(timers.pop_due(Tick(30)), Some("c"));
        assert_eq!(timers.pop_due(Tick(u64::MAX)), None);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_negative_delay_is_due_at_once() {
        assert_eq!(Tick(7).plus_ms(-1), Tick(7));
        assert_eq!(Tick(u64::MAX).plus_ms(5), Tick(u64::MAX));
    }
}
