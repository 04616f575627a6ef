//! What a peer wants written, and what waits for it.
//!
//! Writes become durable in the order in which they were asked for. A message that promises
//! something about the disk stands behind the last write it rests on; it is let go by that write's
//! receipt, and dropped when the attempt to follow (or to lead) that it belongs to is over: an
//! acknowledgement for an earlier leader must not reach a later one.

use std::collections::VecDeque;

use crate::types::{NodeId, Zxid};
use crate::zab::message::{Message, Proposal};
use crate::zab::ready::{Persist, Receipt, Snapshot, Write};

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Waiting {
    receipt: u64,
    pub attempt: u64,
    pub to: NodeId,
    pub message: Message,
}

#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Disk {
    /// Asked for since the last `take`.
    writes: Vec<Write>,
    next_receipt: u64,
    /// Receipts that are out, and where the history ends on disk with each.
    ends: VecDeque<(u64, Zxid)>,
    /// Oldest first.
    waiting: VecDeque<Waiting>,
    /// Snapshots on their way to the disk.
    restores: VecDeque<(u64, Snapshot)>,
    /// Where the history ends on disk.
    durable: Zxid,
}

/// What a receipt lets go.
#[derive(Debug, Default)]
pub(super) struct Released {
    pub messages: Vec<Waiting>,
    /// The last one is what counts.
    pub restore: Option<Snapshot>,
}

impl Disk {
    pub fn new(durable: Zxid) -> Self {
        Self {
            durable,
            ..Self::default()
        }
    }

    pub fn durable(&self) -> Zxid {
        self.durable
    }

    pub fn write(&mut self, write: Write) {
        if let Write::Install(snapshot) = &write {
            self.restores
                .push_back((self.next_receipt, snapshot.clone()));
        }
        self.writes.push(write);
    }

    /// Proposals behind each other share a flush.
    pub fn append(&mut self, proposal: Proposal) {
        match self.writes.last_mut() {
            Some(Write::Append(before)) => before.push(proposal),
            _ => self.writes.push(Write::Append(vec![proposal])),
        }
    }

    /// When everything asked for so far is durable. Gives the message back when it is.
    pub fn when_durable(&mut self, attempt: u64, to: NodeId, message: Message) -> Option<Message> {
        let receipt = if self.writes.is_empty() {
            // The last write that is out, if any.
            match self.ends.back() {
                Some((receipt, _)) => *receipt,
                None => return Some(message),
            }
        } else {
            self.next_receipt
        };
        // One ACK speaks for all before it.
        if let Some(last) = self.waiting.back_mut()
            && (last.receipt, last.attempt, last.to) == (receipt, attempt, to)
            && let (Message::Ack(before), Message::Ack(after)) = (&mut last.message, &message)
            && before.counter() != 0
        {
            *before = *after;
            return None;
        }
        self.waiting.push_back(Waiting {
            receipt,
            attempt,
            to,
            message,
        });
        None
    }

    /// `last` is where the history ends with all that was asked for.
    pub fn take(&mut self, last: Zxid) -> Option<Persist> {
        if self.writes.is_empty() {
            return None;
        }
        let writes = std::mem::take(&mut self.writes);
        let number = self.next_receipt;
        self.next_receipt += 1;
        self.ends.push_back((number, last));
        let receipt = Receipt(number);
        Some(Persist { writes, receipt })
    }

    /// Everything up to the receipt is durable.
    pub fn on_durable(&mut self, receipt: &Receipt) -> Released {
        while let Some((_, end)) = self.ends.pop_front_if(|(number, _)| *number <= receipt.0) {
            self.durable = end;
        }
        let mut released = Released::default();
        while let Some(waiting) = self.waiting.pop_front_if(|w| w.receipt <= receipt.0) {
            released.messages.push(waiting);
        }
        while let Some((_, snapshot)) = self.restores.pop_front_if(|(n, _)| *n <= receipt.0) {
            released.restore = Some(snapshot);
        }
        released
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEADER: NodeId = NodeId(2);

    fn ack(counter: u32) -> Message {
        Message::Ack(Zxid::new(1, counter))
    }

    fn append(disk: &mut Disk, counter: u32) {
        disk.append(Proposal::data(Zxid::new(1, counter), "p"));
        assert_eq!(disk.when_durable(1, LEADER, ack(counter)), None);
    }

    fn let_go(disk: &mut Disk, persist: Persist) -> Vec<Message> {
        let released = disk.on_durable(&persist.receipt);
        released.messages.into_iter().map(|w| w.message).collect()
    }

    #[test]
    fn nothing_waits_for_nothing() {
        let mut disk = Disk::default();
        assert_eq!(disk.when_durable(1, LEADER, ack(1)), Some(ack(1)));
        assert!(disk.take(Zxid::ZERO).is_none());
    }

    #[test]
    fn one_ack_speaks_for_a_flush() {
        let mut disk = Disk::default();
        append(&mut disk, 1);
        let first = disk.take(Zxid::new(1, 1)).unwrap();
        append(&mut disk, 2);
        append(&mut disk, 3);
        let second = disk.take(Zxid::new(1, 3)).unwrap();
        assert_eq!(second.writes.len(), 1);
        assert_eq!(let_go(&mut disk, first), [ack(1)]);
        assert_eq!(disk.durable(), Zxid::new(1, 1));
        assert_eq!(let_go(&mut disk, second), [ack(3)]);
    }

    #[test]
    fn a_receipt_speaks_for_everything_before_it() {
        let mut disk = Disk::default();
        append(&mut disk, 1);
        let _first = disk.take(Zxid::new(1, 1));
        append(&mut disk, 2);
        let second = disk.take(Zxid::new(1, 2)).unwrap();
        assert_eq!(let_go(&mut disk, second), [ack(1), ack(2)]);
        assert_eq!(disk.durable(), Zxid::new(1, 2));
    }

    #[test]
    fn what_needs_no_write_waits_for_those_before() {
        let mut disk = Disk::default();
        disk.write(Write::AcceptedEpoch(4));
        let persist = disk.take(Zxid::ZERO).unwrap();
        assert_eq!(disk.when_durable(1, LEADER, ack(0)), None);
        assert_eq!(let_go(&mut disk, persist), [ack(0)]);
    }

    #[test]
    fn the_ack_of_new_leader_is_never_merged_away() {
        let mut disk = Disk::default();
        disk.write(Write::CurrentEpoch(1));
        disk.when_durable(1, LEADER, ack(0));
        append(&mut disk, 1);
        let persist = disk.take(Zxid::new(1, 1)).unwrap();
        assert_eq!(let_go(&mut disk, persist), [ack(0), ack(1)]);
    }
}
