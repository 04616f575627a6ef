//! The links that are up, and whose turn it is: one at a time between two servers.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::handshake::{LinkId, Opening, Refusal};
use super::outbound::{Closed, Limits, Outbound};
use super::pairs::{self, Newcomer, Standing};
use crate::metrics::Metrics;
use crate::types::NodeId;

#[derive(Debug)]
pub(super) struct Links {
    limits: Limits,
    metrics: Arc<Metrics>,
    slots: Mutex<BTreeMap<NodeId, Slot>>,
    /// Told of every link that comes up or goes down.
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Slot {
    up: Option<Up>,
    ended: LinkId,
    /// Held by the link whose events are delivered: the next one's come after its last.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct Up {
    standing: Standing,
    outbound: Outbound,
}

/// A link that is up, until this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    links: Arc<Links>,
    pub(super) outbound: Outbound,
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.take_down();
    }
}

impl Claim {
    /// From here on another connection is looked for.
    pub(super) fn take_down(&self) {
        let (node, link) = (self.outbound.node(), self.outbound.link());
        let mut slots = self.links.slots.lock();
        let slot = slots.entry(node).or_default();
        if slot.up.take_if(|up| up.standing.link == link).is_some() {
            slot.ended = link;
            drop(slots);
            self.outbound.end(Closed::Stopping);
            self.links.metrics.zab_link_down();
            self.links.changed.send_replace(());
        }
    }
}

impl Links {
    pub(super) fn new(limits: Limits, metrics: Arc<Metrics>) -> Self {
        Self {
            limits,
            metrics,
            slots: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// The last link with a server that has ended.
    pub(super) fn ended(&self, node: NodeId) -> LinkId {
        let slots = self.slots.lock();
        slots.get(&node).map(|slot| slot.ended).unwrap_or_default()
    }

    pub(super) fn is_up(&self, node: NodeId) -> bool {
        let slots = self.slots.lock();
        slots.get(&node).is_some_and(|slot| slot.up.is_some())
    }

    pub(super) fn up(&self) -> Vec<Outbound> {
        let slots = self.slots.lock();
        let up = slots.values().filter_map(|slot| slot.up.as_ref());
        up.map(|up| up.outbound.clone()).collect()
    }

    /// Comes back when the link to a server is up, or is not.
    pub(super) async fn wait(&self, node: NodeId, up: bool) {
        let mut changed = self.changed.subscribe();
        // The sender lives as long as this.
        while self.is_up(node) != up && changed.changed().await.is_ok() {}
    }

    /// On the server that decides.
    pub(super) fn decide(self: &Arc<Self>, theirs: &Opening) -> Result<Claim, Refusal> {
        let newcomer = Newcomer {
            incarnation: theirs.hello.incarnation,
            ended: theirs.ended,
        };
        let mut slots = self.slots.lock();
        let slot = slots.entry(theirs.hello.node).or_default();
        let standing = slot.up.as_ref().map(|up| up.standing);
        if !pairs::replaces(standing, newcomer) {
            return Err(Refusal::Duplicate);
        }
        let link = LinkId(rand::random_range(1..=u64::MAX));
        Ok(self.put_up(slot, link, theirs))
    }

    /// On the other one.
    pub(super) fn obey(self: &Arc<Self>, link: LinkId, theirs: &Opening) -> Claim {
        let mut slots = self.slots.lock();
        let slot = slots.entry(theirs.hello.node).or_default();
        self.put_up(slot, link, theirs)
    }

    fn put_up(self: &Arc<Self>, slot: &mut Slot, link: LinkId, theirs: &Opening) -> Claim {
        let hello = &theirs.hello;
        if let Some(before) = slot.up.take() {
            slot.ended = before.standing.link;
            before.outbound.end(Closed::Replaced);
            self.metrics.zab_link_down();
        }
        let metrics = Arc::clone(&self.metrics);
        let outbound = Outbound::new(hello.node, link, self.limits, metrics);
        slot.up = Some(Up {
            standing: Standing {
                link,
                incarnation: hello.incarnation,
            },
            outbound: outbound.clone(),
        });
        self.metrics.zab_link_up();
        self.changed.send_replace(());
        Claim {
            links: Arc::clone(self),
            outbound,
            turn: Arc::clone(&slot.turn),
        }
    }
}
