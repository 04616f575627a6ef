//! What was seen of a run, and whether the properties still hold.
//!
//! A history takes observations one at a time, in the order they happened, and refuses the first that breaks a property. It
//! knows nothing of how the ensemble works: only who broadcast what, who delivered what, who led, and what clients
//! were told. The names are those of Junqueira, Reed and Serafini (DSN 2011, section II), and of what the issue adds.
//!
//! A process here is one life of a server: from its start, with what its disk's snapshot holds, to its end.

use std::collections::BTreeMap;
use std::fmt;

use super::chance::{digest, mix};
use crate::types::{NodeId, Zxid};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Property {
    /// What is delivered was broadcast, and no zxid stands for two things.
    Integrity,
    /// Delivered before, by one: then before, by all, and by none without it.
    TotalOrder,
    /// Of what two have delivered, one has a beginning of the other's.
    Agreement,
    /// What one primary broadcast is delivered in its order, without holes.
    LocalPrimaryOrder,
    /// What primaries of different epochs broadcast is delivered in the order of the epochs.
    GlobalPrimaryOrder,
    /// A primary delivers all that is ever delivered of earlier epochs before it broadcasts.
    PrimaryIntegrity,
    /// Of one epoch at most one leader is established, and only that one broadcasts.
    OneLeaderPerEpoch,
    /// What was delivered, or acknowledged to a client, is there.
    NothingCommittedLost,
    /// What the initial history of an epoch left out is never delivered.
    NothingDroppedReappears,
    /// A read behind SYNC sees all that anybody had seen when it was asked for.
    CurrentReads,
    /// A request is applied once, however often it is sent.
    AppliedOnce,
    /// Once faults end, there is a leader, all have the same, and requests are answered.
    Progress,
    /// No server stops with a violated invariant, or refuses its own disk.
    Sanity,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) property: Property,
    pub(crate) why: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.property, self.why)
    }
}

pub(crate) fn violated<T>(property: Property, why: impl Into<String>) -> Result<T, Violation> {
    let why = why.into();
    Err(Violation { property, why })
}

/// A client's wish; it may be sent more than once.
pub(crate) type RequestId = u64;

/// Of everything delivered up to somewhere.
pub(crate) type StateDigest = u64;

/// What a proposal is to those who compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) digest: u64,
    pub(crate) request: Option<RequestId>,
}

impl Content {
    pub(crate) fn new(payload: &[u8], request: Option<RequestId>) -> Self {
        let digest = digest(0, payload);
        Self { digest, request }
    }
}

/// The state after one delivery more.
pub(crate) fn state_after(state: StateDigest, zxid: Zxid, content: Content) -> StateDigest {
    mix(state.rotate_left(17) ^ mix(zxid.0) ^ content.digest)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Observation {
    /// A process starts with the state of its snapshot, and a log that goes on to `last`.
    Started {
        node: NodeId,
        zxid: Zxid,
        state: StateDigest,
        last: Zxid,
    },
    /// It takes over a state as a whole.
    Restored {
        node: NodeId,
        zxid: Zxid,
        state: StateDigest,
    },
    Broadcast {
        node: NodeId,
        zxid: Zxid,
        content: Content,
    },
    Delivered {
        node: NodeId,
        zxid: Zxid,
        content: Content,
    },
    /// It leads, and has delivered the initial history of its epoch.
    Established { node: NodeId, epoch: u32 },
    /// A client heard that its request is done.
    Acknowledged { request: RequestId },
    /// A read behind SYNC saw what its node had delivered then.
    Read { node: NodeId, floor: Floor },
}

/// How far anybody had come at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Floor(usize);

#[derive(Debug, Clone, Copy)]
struct Delivery {
    zxid: Zxid,
    state: StateDigest,
}

#[derive(Debug, Clone, Copy)]
struct Broadcast {
    node: NodeId,
    content: Content,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    broadcasts: BTreeMap<Zxid, Broadcast>,
    /// The longest sequence that anybody delivered.
    order: Vec<Delivery>,
    /// How much of it each process has.
    delivered: BTreeMap<NodeId, usize>,
    /// In any life.
    delivered_ever: BTreeMap<NodeId, usize>,
    established: BTreeMap<u32, NodeId>,
    /// Where each request stands in the order.
    requests: BTreeMap<RequestId, Zxid>,
    acknowledged: u64,
}

impl History {
    pub(crate) fn observe(&mut self, observation: Observation) -> Result<(), Violation> {
        match observation {
            Observation::Started {
                node,
                zxid,
                state,
                last,
            } => {
                self.has_what_it_delivered(node, last)?;
                self.on_state(node, zxid, state)
            }
            Observation::Restored { node, zxid, state } => {
                let before = self.delivered_by(node);
                self.on_state(node, zxid, state)?;
                if self.delivered_by(node) < before {
                    let why = format!("{node} goes back to {zxid:#x}");
                    return violated(Property::TotalOrder, why);
                }
                Ok(())
            }
            Observation::Broadcast {
                node,
                zxid,
                content,
            } => self.on_broadcast(node, zxid, content),
            Observation::Delivered {
                node,
                zxid,
                content,
            } => self.on_delivered(node, zxid, content),
            Observation::Established { node, epoch } => self.on_established(node, epoch),
            Observation::Acknowledged { request } => {
                self.acknowledged += 1;
                if self.requests.contains_key(&request) {
                    return Ok(());
                }
                let why = format!("request {request} was acknowledged and never delivered");
                violated(Property::NothingCommittedLost, why)
            }
            Observation::Read { node, floor } => {
                let (seen, floor) = (self.delivered_by(node), floor.0);
                if seen >= floor {
                    return Ok(());
                }
                let why = format!("{node} read {seen} changes where {floor} had been seen before");
                violated(Property::CurrentReads, why)
            }
        }
    }

    /// How far anybody has come.
    pub(crate) fn floor(&self) -> Floor {
        Floor(self.order.len())
    }

    pub(crate) fn commits(&self) -> u64 {
        self.order.len() as u64
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    pub(crate) fn last(&self) -> Zxid {
        self.order.last().map_or(Zxid::ZERO, |last| last.zxid)
    }

    pub(crate) fn has_all(&self, node: NodeId) -> bool {
        self.delivered_by(node) == self.order.len()
    }

    fn delivered_by(&self, node: NodeId) -> usize {
        self.delivered.get(&node).copied().unwrap_or(0)
    }

    fn position(&self, zxid: Zxid) -> Result<usize, usize> {
        self.order.binary_search_by_key(&zxid, |at| at.zxid)
    }

    /// In an earlier life: what was seen here once is here again.
    fn has_what_it_delivered(&self, node: NodeId, last: Zxid) -> Result<(), Violation> {
        let before = self.delivered_ever.get(&node).copied().unwrap_or(0);
        match before.checked_sub(1).and_then(|at| self.order.get(at)) {
            Some(delivered) if delivered.zxid > last => {
                let why = format!(
                    "{node} had delivered {:#x}, and has {last:#x}",
                    delivered.zxid
                );
                violated(Property::NothingCommittedLost, why)
            }
            _ => Ok(()),
        }
    }

    /// Its disk is another one.
    pub(crate) fn forget(&mut self, node: NodeId) {
        self.delivered_ever.remove(&node);
    }

    fn set_delivered(&mut self, node: NodeId, delivered: usize) {
        self.delivered.insert(node, delivered);
        let ever = self.delivered_ever.entry(node).or_default();
        *ever = delivered.max(*ever);
    }

    fn on_state(&mut self, node: NodeId, zxid: Zxid, state: StateDigest) -> Result<(), Violation> {
        if zxid == Zxid::ZERO {
            self.delivered.insert(node, 0);
            return Ok(());
        }
        let Ok(at) = self.position(zxid) else {
            let why = format!("{node} has the state at {zxid:#x}, which nobody delivered");
            return violated(Property::Integrity, why);
        };
        if self.order[at].state != state {
            let why = format!("{node} has another state at {zxid:#x} than was delivered");
            return violated(Property::Agreement, why);
        }
        self.set_delivered(node, at + 1);
        Ok(())
    }

    fn on_broadcast(
        &mut self,
        node: NodeId,
        zxid: Zxid,
        content: Content,
    ) -> Result<(), Violation> {
        let epoch = Zxid::new(zxid.epoch(), 0)..=Zxid::new(zxid.epoch(), u32::MAX);
        let mut in_epoch = self.broadcasts.range(epoch);
        if let Some((_, other)) = in_epoch.next().filter(|(_, other)| other.node != node) {
            let why = format!("{node} broadcasts {zxid:#x} in the epoch of {}", other.node);
            return violated(Property::OneLeaderPerEpoch, why);
        }
        if let Some(before) = self.broadcasts.get(&zxid) {
            if before.content == content {
                return Ok(());
            }
            let why = format!("{node} broadcasts two things as {zxid:#x}");
            return violated(Property::Integrity, why);
        }
        let earlier = self
            .order
            .partition_point(|at| at.zxid.epoch() < zxid.epoch());
        if self.delivered_by(node) < earlier {
            let missing = self.order[self.delivered_by(node)].zxid;
            let why = format!("{node} broadcasts {zxid:#x} and has not delivered {missing:#x}");
            return violated(Property::PrimaryIntegrity, why);
        }
        self.broadcasts.insert(zxid, Broadcast { node, content });
        Ok(())
    }

    fn on_established(&mut self, node: NodeId, epoch: u32) -> Result<(), Violation> {
        let leader = *self.established.entry(epoch).or_insert(node);
        if leader != node {
            let why = format!("{leader} and {node} are both established in epoch {epoch}");
            return violated(Property::OneLeaderPerEpoch, why);
        }
        let earlier = self.order.partition_point(|at| at.zxid.epoch() < epoch);
        if self.delivered_by(node) < earlier {
            let missing = self.order[self.delivered_by(node)].zxid;
            let why = format!("epoch {epoch} of {node} begins without {missing:#x}");
            return violated(Property::NothingCommittedLost, why);
        }
        Ok(())
    }

    fn on_delivered(
        &mut self,
        node: NodeId,
        zxid: Zxid,
        content: Content,
    ) -> Result<(), Violation> {
        match self.broadcasts.get(&zxid) {
            Some(broadcast) if broadcast.content == content => {}
            Some(_) => {
                let why = format!("{node} delivers as {zxid:#x} what was not broadcast so");
                return violated(Property::Integrity, why);
            }
            None => {
                let why = format!("{node} delivers {zxid:#x}, which nobody broadcast");
                return violated(Property::Integrity, why);
            }
        }
        let at = self.delivered_by(node);
        match self.order.get(at).copied() {
            Some(next) if next.zxid == zxid => {}
            Some(next) => return self.out_of_order(node, at, next.zxid, zxid),
            None => self.extend(node, zxid, content)?,
        }
        self.set_delivered(node, at + 1);
        Ok(())
    }

    /// Somebody else delivered `next` where this process delivers `zxid`.
    fn out_of_order(
        &self,
        node: NodeId,
        at: usize,
        next: Zxid,
        zxid: Zxid,
    ) -> Result<(), Violation> {
        let last = at.checked_sub(1).map(|last| self.order[last].zxid);
        if last.is_some_and(|last| last.epoch() > zxid.epoch()) {
            let why = format!("{node} delivers {zxid:#x} behind a later epoch");
            return violated(Property::GlobalPrimaryOrder, why);
        }
        match self.position(zxid) {
            Ok(found) if found < at => {
                let why = format!("{node} delivers {zxid:#x} a second time");
                violated(Property::TotalOrder, why)
            }
            Ok(_) if next.epoch() == zxid.epoch() => {
                let why = format!("{node} delivers {zxid:#x} without {next:#x}");
                violated(Property::LocalPrimaryOrder, why)
            }
            Ok(_) => {
                let why = format!("{node} delivers {zxid:#x} without {next:#x}");
                violated(Property::TotalOrder, why)
            }
            Err(_) => {
                let why = format!("{node} delivers {zxid:#x} where others delivered {next:#x}");
                violated(Property::Agreement, why)
            }
        }
    }

    /// This process is the first to deliver it.
    fn extend(&mut self, node: NodeId, zxid: Zxid, content: Content) -> Result<(), Violation> {
        let last = self.last();
        if let Ok(found) = self.position(zxid) {
            let why = format!("{node} delivers {zxid:#x} a second time, it was number {found}");
            return violated(Property::TotalOrder, why);
        }
        if last.epoch() > zxid.epoch() {
            let why = format!("{node} delivers {zxid:#x} behind {last:#x}");
            return violated(Property::GlobalPrimaryOrder, why);
        }
        let first_of_epoch = Zxid::new(zxid.epoch(), 0);
        let before = self.broadcasts.range(first_of_epoch..zxid).next_back();
        if before.is_some_and(|(before, _)| *before != last) || last > zxid {
            let why = format!("{node} delivers {zxid:#x} directly behind {last:#x}");
            return violated(Property::LocalPrimaryOrder, why);
        }
        let later = Zxid::new(zxid.epoch(), u32::MAX);
        if let Some((later, primary)) = self.broadcasts.range(later..).next() {
            let primary = primary.node;
            let why = format!("{node} delivers {zxid:#x}; {primary} had not, at {later:#x}");
            return violated(Property::PrimaryIntegrity, why);
        }
        if let Some((later, leader)) = self.established.range(zxid.epoch() + 1..).next() {
            let why = format!("{node} delivers {zxid:#x}; epoch {later} of {leader} is without it");
            return violated(Property::NothingDroppedReappears, why);
        }
        if let Some(request) = content.request
            && let Some(before) = self.requests.insert(request, zxid)
        {
            let why = format!("request {request} is at {before:#x} and at {zxid:#x}");
            return violated(Property::AppliedOnce, why);
        }
        let state = self.order.last().map_or(0, |last| last.state);
        self.order.push(Delivery {
            zxid,
            state: state_after(state, zxid, content),
        });
        Ok(())
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
