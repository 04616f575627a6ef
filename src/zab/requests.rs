//! What is carried for the drivers: requests and their answers; and SYNC, which a leader answers only
//! when a quorum has confirmed, after it came, that it still leads.

use bytes::Bytes;

use crate::types::{NodeId, Zxid};
use crate::zab::leading::PendingSync;
use crate::zab::message::Message;
use crate::zab::peer::{Peer, Role};
use crate::zab::ready::{Answer, Request};

/// Nobody can be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this server is not up to date with a leader")]
pub struct NoLeader;

impl Peer {
    /// This node's own SYNC.
    pub fn sync(&mut self, seq: u64) -> Result<(), NoLeader> {
        let leader = self.leader_up_to_date()?;
        if leader == self.id {
            self.on_sync(leader, seq);
        } else {
            self.send(leader, Message::Sync { seq });
        }
        Ok(())
    }

    /// This node's own request, to the leader's driver.
    pub fn request(&mut self, seq: u64, payload: Bytes) -> Result<(), NoLeader> {
        let leader = self.leader_up_to_date()?;
        if leader == self.id {
            let from = self.id;
            self.ready.requests.push(Request { from, seq, payload });
        } else {
            self.send(leader, Message::Request { seq, payload });
        }
        Ok(())
    }

    /// The answer to a request, to count where it was asked when `after` is applied there. Who is gone
    /// or follows somebody else gets none.
    pub fn answer(&mut self, to: NodeId, seq: u64, after: Zxid, payload: Bytes) {
        if to == self.id {
            self.ready.answers.push(Answer {
                seq,
                after,
                payload,
            });
        } else if self.is_learner_up_to_date(to) {
            self.send(
                to,
                Message::Answer {
                    seq,
                    after,
                    payload,
                },
            );
        }
    }

    pub(super) fn leader_up_to_date(&self) -> Result<NodeId, NoLeader> {
        match &self.role {
            Role::Following(following) if following.is_up_to_date() => Ok(following.leader),
            Role::Leading(_) if self.is_leading() => Ok(self.id),
            _ => Err(NoLeader),
        }
    }

    /// Answered when a quorum has said, after it came, that it still follows: then nobody else
    /// committed anything before it came.
    pub(super) fn on_sync(&mut self, from: NodeId, seq: u64) {
        let zxid = self.committed;
        if mutated!(self, SyncUnconfirmed) {
            self.send_synced(from, seq, zxid);
            return;
        }
        let confirmed = self.confirmed_round();
        let Some(leading) = self.leading() else {
            return;
        };
        let is_idle = confirmed == leading.ping_round;
        let round = leading.ping_round + 1;
        leading.syncs.push_back(PendingSync {
            from,
            seq,
            zxid,
            round,
        });
        if is_idle {
            self.send_pings();
        }
    }

    /// The last round of pings that a quorum answered; this server needs no ping.
    fn confirmed_round(&self) -> u64 {
        let Role::Leading(leading) = &self.role else {
            return 0;
        };
        self.counting_voters().reached(|node| {
            if node == self.id {
                return leading.ping_round;
            }
            let learner = leading.learners.get(&node);
            learner.map_or(0, |l| if l.is_up_to_date() { l.pong } else { 0 })
        })
    }

    pub(super) fn answer_syncs(&mut self) {
        let confirmed = self.confirmed_round();
        loop {
            let Some(leading) = self.leading() else {
                return;
            };
            match leading.syncs.pop_front_if(|sync| sync.round <= confirmed) {
                Some(sync) => self.send_synced(sync.from, sync.seq, sync.zxid),
                None => break,
            }
        }
        // Those that came while a round was out wait for the next.
        if let Some(leading) = self.leading()
            && leading
                .syncs
                .front()
                .is_some_and(|sync| sync.round > leading.ping_round)
            && confirmed == leading.ping_round
        {
            self.send_pings();
        }
    }

    fn send_synced(&mut self, to: NodeId, seq: u64, zxid: Zxid) {
        if to == self.id {
            self.ready.synced.push((seq, zxid));
        } else if self.is_learner_up_to_date(to) {
            // Who has begun anew meanwhile asks again.
            self.send(to, Message::Synced { seq, zxid });
        }
    }
}
