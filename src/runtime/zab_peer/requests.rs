//! This node's commands on their way to the leader and back. Pure: who waits is a `T`.
//!
//! Commands are numbered in the order in which they came and go to the leader in that order. A leader that goes away
//! may have committed some of them: all that are open are asked again of the next one, which knows by their numbers
//! what it has. How many are open, and how much they are, is bounded. An answer counts when this node has applied everything that the leader had decided before it; one
//! that had not come that far when the leader went away is not believed, for what it rests on may be gone.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::OpenLimits;
use super::asked::{Answered, Asked};
use crate::state_machine::Tick;
use crate::types::Zxid;

/// All open commands together may be so many times as long as the longest.
const LONGEST_AT_ONCE: usize = 8;

#[derive(Debug)]
struct Waiting<T> {
    command: Arc<Asked>,
    /// The same for another node's leader.
    payload: Bytes,
    to: T,
    deadline: Tick,
    sent: bool,
    answer: Option<Answered>,
}

#[derive(Debug)]
pub(super) struct Requests<T> {
    last_seq: u64,
    waiting: BTreeMap<u64, Waiting<T>>,
    /// Answers that wait for this node to apply a zxid, which never falls from one to the next.
    answered: VecDeque<(Zxid, u64)>,
    /// All below are sent.
    unsent: u64,
    limits: OpenLimits,
    /// Of all that wait.
    bytes: usize,
}

impl<T> Requests<T> {
    pub(super) fn new(limits: OpenLimits) -> Self {
        Self {
            limits,
            bytes: 0,
            last_seq: 0,
            waiting: BTreeMap::new(),
            answered: VecDeque::new(),
            unsent: 1,
        }
    }

    /// Whether another may be asked.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < self.limits.requests
            && self.bytes <= (LONGEST_AT_ONCE - 1) * self.limits.request_bytes
    }

    /// `to` comes back when the command is too long.
    pub(super) fn ask(
        &mut self,
        command: Asked,
        payload: Bytes,
        to: T,
        deadline: Tick,
    ) -> Result<(), T> {
        if payload.len() > self.limits.request_bytes {
            return Err(to);
        }
        self.last_seq += 1;
        self.bytes += payload.len();
        let waiting = Waiting {
            command: Arc::new(command),
            payload,
            to,
            deadline,
            sent: false,
            answer: None,
        };
        self.waiting.insert(self.last_seq, waiting);
        Ok(())
    }

    fn remove(&mut self, seq: u64) -> Option<Waiting<T>> {
        let waiting = self.waiting.remove(&seq)?;
        self.bytes -= waiting.payload.len();
        Some(waiting)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What the leader has not been asked yet, in order; from now on it has.
    pub(super) fn take_unsent(&mut self) -> Vec<(u64, Arc<Asked>, Bytes)> {
        let unsent = self.waiting.range_mut(self.unsent..);
        let taken = unsent
            .filter(|(_, waiting)| !waiting.sent)
            .map(|(seq, waiting)| {
                waiting.sent = true;
                (*seq, Arc::clone(&waiting.command), waiting.payload.clone())
            })
            .collect();
        self.unsent = self.last_seq + 1;
        taken
    }

    /// There is no leader, or another one.
    pub(super) fn on_leader_gone(&mut self) {
        for waiting in self.waiting.values_mut() {
            waiting.sent = false;
            waiting.answer = None;
        }
        self.answered.clear();
        self.unsent = 1;
    }

    /// The leader's answer to a command that changed nothing.
    pub(super) fn on_answer(&mut self, seq: u64, after: Zxid, reply: Answered) {
        if let Some(waiting) = self.waiting.get_mut(&seq).filter(|waiting| waiting.sent) {
            waiting.answer = Some(reply);
            self.answered.push_back((after, seq));
        }
    }

    /// The command is part of the image now.
    pub(super) fn on_committed(&mut self, seq: u64) -> Option<T> {
        self.remove(seq).map(|waiting| waiting.to)
    }

    /// Everything up to `applied` is part of the image.
    pub(super) fn on_applied(&mut self, applied: Zxid) -> Vec<(T, Answered)> {
        let mut due = Vec::new();
        while let Some((_, seq)) = self.answered.pop_front_if(|(after, _)| *after <= applied) {
            if let Some(waiting) = self.remove(seq)
                && let Some(reply) = waiting.answer
            {
                due.push((waiting.to, reply));
            }
        }
        due
    }

    /// A snapshot took the place of the proposals up to this command: what was answered is not known.
    pub(super) fn on_skipped(&mut self, seq: u64) -> Vec<T> {
        let skipped: Vec<u64> = self.waiting.range(..=seq).map(|(seq, _)| *seq).collect();
        self.take(skipped)
    }

    pub(super) fn expired(&mut self, now: Tick) -> Vec<T> {
        let expired = self.waiting.iter();
        let expired = expired
            .filter(|(_, waiting)| waiting.deadline <= now)
            .map(|(seq, _)| *seq)
            .collect();
        self.take(expired)
    }

    fn take(&mut self, seqs: Vec<u64>) -> Vec<T> {
        let taken = seqs.into_iter().filter_map(|seq| self.remove(seq));
        taken.map(|waiting| waiting.to).collect()
    }

    /// Of the oldest: those behind it came later and wait as long.
    pub(super) fn next_deadline(&self) -> Option<Tick> {
        self.waiting.values().next().map(|waiting| waiting.deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(names: &[&'static str]) -> Requests<&'static str> {
        let mut requests = Requests::new(OpenLimits::default());
        for (index, name) in names.iter().enumerate() {
            ask(&mut requests, name, 10 + index as u64);
        }
        requests
    }

    fn ask(requests: &mut Requests<&'static str>, name: &'static str, deadline: u64) {
        let payload = Bytes::from_static(b"payload");
        let asked = requests.ask(Asked::DescribeQuorum, payload, name, Tick(deadline));
        asked.unwrap();
    }

    fn seqs<T>(requests: &mut Requests<T>) -> Vec<u64> {
        requests
            .take_unsent()
            .iter()
            .map(|(seq, ..)| *seq)
            .collect()
    }

    fn reply() -> Answered {
        Answered::VotersChanged(Ok(()))
    }

    #[test]
    fn commands_are_asked_in_order_and_again_of_the_next_leader() {
        let mut requests = requests(&["a", "b", "c"]);
        assert_eq!(seqs(&mut requests), [1, 2, 3]);
        assert!(seqs(&mut requests).is_empty());
        assert_eq!(requests.on_committed(1), Some("a"));
        ask(&mut requests, "d", 90);
        requests.on_leader_gone();
        assert_eq!(seqs(&mut requests), [2, 3, 4]);
        assert_eq!(requests.on_committed(1), None, "it is answered once");
    }

    #[test]
    fn an_answer_waits_for_what_it_rests_on() {
        let mut requests = requests(&["a", "b", "c"]);
        seqs(&mut requests);
        requests.on_answer(1, Zxid::new(1, 5), reply());
        requests.on_answer(3, Zxid::new(1, 7), reply());
        assert!(requests.on_applied(Zxid::new(1, 4)).is_empty());
        assert_eq!(requests.on_applied(Zxid::new(1, 6)), [("a", reply())]);
        // The leader goes before 1.7 is committed: what it said rests on what may never be.
        requests.on_leader_gone();
        assert!(requests.on_applied(Zxid::new(2, 9)).is_empty());
        // A word of the old leader that comes late is none of the new one's.
        requests.on_answer(3, Zxid::new(1, 7), reply());
        assert!(requests.on_applied(Zxid::new(2, 9)).is_empty());
        assert_eq!(seqs(&mut requests), [2, 3]);
        requests.on_answer(3, Zxid::new(2, 1), reply());
        assert_eq!(requests.on_applied(Zxid::new(2, 9)), [("c", reply())]);
    }

    #[test]
    fn who_waits_too_long_or_is_overtaken_by_a_snapshot_hears_so() {
        let mut requests = requests(&["a", "b", "c"]);
        assert_eq!(requests.next_deadline(), Some(Tick(10)));
        assert_eq!(requests.expired(Tick(10)), ["a"]);
        assert_eq!(requests.on_skipped(2), ["b"]);
        assert_eq!(requests.next_deadline(), Some(Tick(12)));
        assert_eq!(requests.expired(Tick(99)), ["c"]);
        assert!(requests.is_empty() && requests.next_deadline().is_none());
    }

    #[test]
    fn what_is_open_is_bounded_and_makes_room_when_it_is_answered() {
        let limits = OpenLimits {
            requests: 3,
            request_bytes: 10,
        };
        let mut requests = Requests::new(limits);
        let ask = |requests: &mut Requests<_>, len: usize| {
            let payload = Bytes::from(vec![0; len]);
            requests.ask(Asked::DescribeQuorum, payload, len, Tick(50))
        };
        assert_eq!(ask(&mut requests, 11), Err(11));
        assert!(requests.is_empty());
        for len in [10, 1, 0] {
            assert!(requests.has_room());
            assert_eq!(ask(&mut requests, len), Ok(()));
        }
        assert!(!requests.has_room(), "three are open");
        seqs(&mut requests);
        assert_eq!(requests.on_committed(2), Some(1));
        assert!(requests.has_room());

        let mut long = Requests::new(OpenLimits {
            requests: 100,
            ..limits
        });
        let mut open = 0;
        while long.has_room() {
            ask(&mut long, 10).unwrap();
            open += 1;
        }
        assert_eq!(open, LONGEST_AT_ONCE);
        long.on_answer(1, Zxid::new(1, 1), reply());
        assert!(!long.has_room());
        seqs(&mut long);
        long.on_answer(1, Zxid::new(1, 1), reply());
        long.on_applied(Zxid::new(1, 1));
        assert!(long.has_room());
        ask(&mut long, 10).unwrap();
        assert_eq!(long.on_skipped(3).len(), 2);
        assert_eq!(long.expired(Tick(50)).len(), open - 2);
        assert_eq!(long.bytes, 0);
    }
}
