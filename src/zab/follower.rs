//! What a follower does with the words of its leader: each has one write that must be durable
//! before the answer may go. The leader follows itself the same way.

use crate::types::Zxid;
use crate::zab::history::History;
use crate::zab::message::{Message, Proposal};
use crate::zab::peer::Write;

/// The epochs as they are on disk, or will be when the writes before are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epochs {
    pub accepted: u32,
    pub current: u32,
}

/// The answer to the leader, and the write it has to wait for.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub write: Option<Write>,
    pub message: Message,
}

/// `None`: the leader is of an epoch this peer may no longer follow.
pub fn on_leader_info(epochs: &mut Epochs, history: &History, epoch: u32) -> Option<Answer> {
    if epoch < epochs.accepted {
        return None;
    }
    let write = (epoch > epochs.accepted).then_some(Write::AcceptedEpoch(epoch));
    epochs.accepted = epoch;
    Some(Answer {
        write,
        message: Message::AckEpoch {
            current_epoch: epochs.current,
            last_zxid: history.last(),
        },
    })
}

/// The history that makes up the epoch's beginning was written before: writes keep their order.
pub fn on_new_leader(epochs: &mut Epochs, epoch: u32) -> Answer {
    epochs.current = epoch;
    Answer {
        write: Some(Write::CurrentEpoch(epoch)),
        message: Message::Ack(Zxid::new(epoch, 0)),
    }
}

/// `None`: it was sent twice.
pub fn on_propose(history: &mut History, proposal: Proposal) -> Option<Answer> {
    if proposal.zxid <= history.last() {
        return None;
    }
    history.append(proposal.clone());
    let message = Message::Ack(proposal.zxid);
    Some(Answer {
        write: Some(Write::Append(vec![proposal])),
        message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_epoch_is_refused_and_a_known_one_is_not_written_again() {
        let history = History::new(Zxid::new(3, 5), Vec::new());
        let mut epochs = Epochs {
            accepted: 4,
            current: 3,
        };
        assert_eq!(on_leader_info(&mut epochs, &history, 3), None);
        let message = Message::AckEpoch {
            current_epoch: 3,
            last_zxid: Zxid::new(3, 5),
        };
        let again = Answer {
            write: None,
            message: message.clone(),
        };
        assert_eq!(on_leader_info(&mut epochs, &history, 4), Some(again));
        let newer = Answer {
            write: Some(Write::AcceptedEpoch(5)),
            message,
        };
        assert_eq!(on_leader_info(&mut epochs, &history, 5), Some(newer));
        assert_eq!(epochs.accepted, 5);
    }

    #[test]
    fn a_proposal_sent_twice_is_tolerated() {
        let mut history = History::new(Zxid::new(1, 1), Vec::new());
        let proposal = Proposal {
            zxid: Zxid::new(1, 2),
            payload: bytes::Bytes::from_static(b"p"),
        };
        assert!(on_propose(&mut history, proposal.clone()).is_some());
        assert_eq!(on_propose(&mut history, proposal), None);
    }
}
