//! What a leader knows of one learner, from its FOLLOWERINFO to the end of its connection, and the
//! transfer of a snapshot to it.
//!
//! `cursor` is up to where the learner was sent the history: every proposal behind it is still to be
//! sent, in order, so that none is missed and none comes twice, whatever the learner does meanwhile.

use bytes::Bytes;

use crate::state_machine::Tick;
use crate::types::Zxid;
use crate::zab::message::{LearnerInfo, Message};
use crate::zab::voters::Voters;

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Learner {
    pub info: LearnerInfo,
    pub stage: Stage,
    /// Sent up to here.
    pub cursor: Zxid,
    /// What NEWLEADER stands behind.
    pub history_end: Zxid,
    /// It was told of commits up to here.
    pub commit_sent: Zxid,
    pub last_heard: Tick,
    /// The last round of pings it answered.
    pub pong: u64,
    /// What it says is durable there.
    pub durable: Zxid,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) enum Stage {
    /// LEADERINFO is sent, or waits for the epoch.
    Discovery,
    /// ACKEPOCH came; synchronization waits for a quorum of them.
    EpochAcked { last_zxid: Zxid },
    /// A snapshot is to be taken for it.
    AwaitsSnapshot,
    /// A snapshot is on its way.
    Snapshot(Transfer),
    /// NEWLEADER is sent. When it is acknowledged and a quorum is not there yet, it waits.
    NewLeader { is_acked: bool },
    /// UPTODATE is sent.
    UpToDate,
}

impl Learner {
    pub fn new(info: LearnerInfo, now: Tick) -> Self {
        Self {
            info,
            stage: Stage::Discovery,
            cursor: Zxid::ZERO,
            history_end: Zxid::ZERO,
            commit_sent: Zxid::ZERO,
            last_heard: now,
            pong: 0,
            durable: Zxid::ZERO,
        }
    }

    pub fn is_up_to_date(&self) -> bool {
        matches!(self.stage, Stage::UpToDate)
    }

    /// It takes proposals.
    pub fn is_synchronized(&self) -> bool {
        matches!(self.stage, Stage::NewLeader { .. } | Stage::UpToDate)
    }

    /// Its cursor says what it still has to get.
    pub fn is_served(&self) -> bool {
        !matches!(self.stage, Stage::Discovery | Stage::EpochAcked { .. })
    }

    pub fn has_accepted_epoch(&self) -> bool {
        !matches!(self.stage, Stage::Discovery)
    }
}

/// A snapshot, sent piece by piece: only so many pieces are on their way at a time.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Transfer {
    body: Bytes,
    sent: usize,
    acked: usize,
}

impl Transfer {
    pub fn new(zxid: Zxid, voters: Voters, body: Bytes) -> (Self, Message) {
        let head = Message::Snap {
            zxid,
            voters,
            length: body.len() as u64,
            checksum: crc32c::crc32c(&body),
        };
        let transfer = Self {
            body,
            sent: 0,
            acked: 0,
        };
        (transfer, head)
    }

    pub fn on_ack(&mut self, position: u64) {
        let position = usize::try_from(position).unwrap_or(usize::MAX);
        self.acked = position.clamp(self.acked, self.sent);
    }

    pub fn is_sent(&self) -> bool {
        self.sent == self.body.len()
    }

    pub fn next_chunk(&mut self, chunk_bytes: usize, window: usize) -> Option<Message> {
        let may_be_out = chunk_bytes.saturating_mul(window);
        if self.is_sent() || self.sent - self.acked >= may_be_out {
            return None;
        }
        let end = self.body.len().min(self.sent + chunk_bytes.max(1));
        let message = Message::SnapChunk {
            position: self.sent as u64,
            bytes: self.body.slice(self.sent..end),
        };
        self.sent = end;
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_goes_in_pieces_and_waits_for_its_receiver() {
        let body = Bytes::from_static(b"0123456789");
        let (mut transfer, head) = Transfer::new(Zxid(7), Voters::default(), body);
        assert!(matches!(head, Message::Snap { length: 10, .. }));
        let mut next = || match transfer.next_chunk(4, 2) {
            Some(Message::SnapChunk { position, bytes }) => Some((position, bytes.len())),
            _ => None,
        };
        assert_eq!([next(), next(), next()], [Some((0, 4)), Some((4, 4)), None]);
        transfer.on_ack(4);
        assert!(!transfer.is_sent());
        assert!(transfer.next_chunk(4, 2).is_some());
        assert!(transfer.is_sent() && transfer.next_chunk(4, 2).is_none());
    }
}
