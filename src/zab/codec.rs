//! The bytes of messages between peers. Pure; bounded by the bytes that there are, and never panics.
//!
//! A message is its tag and its fields, big-endian. Payloads are the rest of the message or carry their length; decoded
//! ones share the memory of what was received. The version of the protocol is agreed upon once, when a connection
//! begins (`admission::PROTOCOL_VERSION`): a message has none.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use uuid::Uuid;

use crate::types::{NodeId, Zxid};
use crate::zab::election::Vote;
use crate::zab::message::{LearnerInfo, Message, Notification, Proposal, ProposalKind, Standing};
use crate::zab::voters::Voters;

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    #[error("a message is cut short")]
    Short,
    #[error("tag {0} is no message")]
    Tag(u8),
    #[error("a message of tag {0} holds what it cannot")]
    Field(u8),
    #[error("{0} bytes are left behind a message of tag {1}")]
    Left(usize, u8),
}

mod tag {
    pub const LOOKING: u8 = 1;
    pub const FOLLOWING: u8 = 2;
    pub const LEADING: u8 = 3;
    pub const FOLLOWER_INFO: u8 = 4;
    pub const OBSERVER_INFO: u8 = 5;
    pub const LEADER_INFO: u8 = 6;
    pub const ACK_EPOCH: u8 = 7;
    pub const DIFF: u8 = 8;
    pub const TRUNC: u8 = 9;
    pub const SNAP: u8 = 10;
    pub const SNAP_CHUNK: u8 = 11;
    pub const SNAP_ACK: u8 = 12;
    pub const NEW_LEADER: u8 = 13;
    pub const UP_TO_DATE: u8 = 14;
    pub const PROPOSE: u8 = 15;
    pub const ACK: u8 = 16;
    pub const COMMIT: u8 = 17;
    pub const INFORM: u8 = 18;
    pub const PING: u8 = 19;
    pub const PONG: u8 = 20;
    pub const REQUEST: u8 = 21;
    pub const ANSWER: u8 = 22;
    pub const SYNC: u8 = 23;
    pub const SYNCED: u8 = 24;
}

pub fn encode(message: &Message, into: &mut BytesMut) {
    match message {
        Message::Notification(notification) => put_notification(notification, into),
        Message::FollowerInfo(info) => put_info(tag::FOLLOWER_INFO, info, into),
        Message::ObserverInfo(info) => put_info(tag::OBSERVER_INFO, info, into),
        Message::LeaderInfo { attempt, epoch } => {
            into.put_u8(tag::LEADER_INFO);
            into.put_u64(*attempt);
            into.put_u32(*epoch);
        }
        Message::AckEpoch {
            attempt,
            promised,
            current_epoch,
            last_zxid,
        } => {
            into.put_u8(tag::ACK_EPOCH);
            into.put_u64(*attempt);
            into.put_u8(u8::from(*promised));
            into.put_u32(*current_epoch);
            into.put_u64(last_zxid.0);
        }
        Message::Diff => into.put_u8(tag::DIFF),
        Message::Trunc { to } => put_zxid(tag::TRUNC, *to, into),
        Message::Snap {
            zxid,
            voters,
            length,
            checksum,
        } => {
            put_zxid(tag::SNAP, *zxid, into);
            into.put_u64(*length);
            into.put_u32(*checksum);
            voters.encode_into(into);
        }
        Message::SnapChunk { position, bytes } => {
            put_payload(tag::SNAP_CHUNK, *position, bytes, into);
        }
        Message::SnapAck { position } => put_number(tag::SNAP_ACK, *position, into),
        Message::NewLeader { epoch } => {
            into.put_u8(tag::NEW_LEADER);
            into.put_u32(*epoch);
        }
        Message::UpToDate { committed } => put_zxid(tag::UP_TO_DATE, *committed, into),
        Message::Propose(proposal) => put_proposal(tag::PROPOSE, proposal, into),
        Message::Ack(zxid) => put_zxid(tag::ACK, *zxid, into),
        Message::Commit(zxid) => put_zxid(tag::COMMIT, *zxid, into),
        Message::Inform(proposal) => put_proposal(tag::INFORM, proposal, into),
        Message::Ping { round, committed } => put_round(tag::PING, *round, *committed, into),
        Message::Pong { round, durable } => put_round(tag::PONG, *round, *durable, into),
        Message::Request { seq, payload } => put_payload(tag::REQUEST, *seq, payload, into),
        Message::Answer {
            seq,
            after,
            payload,
        } => {
            into.put_u8(tag::ANSWER);
            into.put_u64(*seq);
            into.put_u64(after.0);
            into.put_slice(payload);
        }
        Message::Sync { seq } => put_number(tag::SYNC, *seq, into),
        Message::Synced { seq, zxid } => put_round(tag::SYNCED, *seq, *zxid, into),
    }
}

fn put_notification(notification: &Notification, into: &mut BytesMut) {
    match notification.standing {
        Standing::Looking(vote) => {
            put_number(tag::LOOKING, notification.round, into);
            into.put_u8(u8::from(vote.is_some()));
            if let Some(vote) = vote {
                into.put_u32(vote.current_epoch);
                into.put_u64(vote.last_zxid.0);
                into.put_i32(vote.candidate.0);
            }
        }
        Standing::Following { leader } => {
            put_number(tag::FOLLOWING, notification.round, into);
            into.put_i32(leader.0);
        }
        Standing::Leading { epoch } => {
            put_number(tag::LEADING, notification.round, into);
            into.put_u32(epoch);
        }
    }
}

fn put_info(tag: u8, info: &LearnerInfo, into: &mut BytesMut) {
    put_number(tag, info.attempt, into);
    into.put_u32(info.accepted_epoch);
    into.put_u8(u8::from(info.directory.is_some()));
    if let Some(directory) = info.directory {
        into.put_slice(directory.as_bytes());
    }
}

fn put_number(tag: u8, number: u64, into: &mut BytesMut) {
    into.put_u8(tag);
    into.put_u64(number);
}

fn put_zxid(tag: u8, zxid: Zxid, into: &mut BytesMut) {
    put_number(tag, zxid.0, into);
}

fn put_round(tag: u8, round: u64, zxid: Zxid, into: &mut BytesMut) {
    put_number(tag, round, into);
    into.put_u64(zxid.0);
}

fn put_payload(tag: u8, number: u64, payload: &Bytes, into: &mut BytesMut) {
    put_number(tag, number, into);
    into.put_slice(payload);
}

fn put_proposal(tag: u8, proposal: &Proposal, into: &mut BytesMut) {
    put_zxid(tag, proposal.zxid, into);
    into.put_u8(match proposal.kind {
        ProposalKind::Data => 0,
        ProposalKind::Reconfig => 1,
    });
    into.put_slice(&proposal.payload);
}

/// One message, and nothing behind it. Takes what it reads off the front.
pub fn decode(from: &mut Bytes) -> Result<Message, MessageError> {
    let mut reader = Reader { from, tag: 0 };
    reader.tag = reader.u8()?;
    let message = reader.message()?;
    let (left, tag) = (reader.from.len(), reader.tag);
    if left > 0 {
        return Err(MessageError::Left(left, tag));
    }
    Ok(message)
}

struct Reader<'a> {
    from: &'a mut Bytes,
    tag: u8,
}

impl Reader<'_> {
    fn message(&mut self) -> Result<Message, MessageError> {
        Ok(match self.tag {
            tag::LOOKING | tag::FOLLOWING | tag::LEADING => self.notification()?,
            tag::FOLLOWER_INFO => Message::FollowerInfo(self.info()?),
            tag::OBSERVER_INFO => Message::ObserverInfo(self.info()?),
            tag::LEADER_INFO => Message::LeaderInfo {
                attempt: self.u64()?,
                epoch: self.u32()?,
            },
            tag::ACK_EPOCH => Message::AckEpoch {
                attempt: self.u64()?,
                promised: self.flag()?,
                current_epoch: self.u32()?,
                last_zxid: self.zxid()?,
            },
            tag::DIFF => Message::Diff,
            tag::TRUNC => Message::Trunc { to: self.zxid()? },
            tag::SNAP => self.snap()?,
            tag::SNAP_CHUNK => Message::SnapChunk {
                position: self.u64()?,
                bytes: self.rest(),
            },
            tag::SNAP_ACK => Message::SnapAck {
                position: self.u64()?,
            },
            tag::NEW_LEADER => Message::NewLeader { epoch: self.u32()? },
            tag::UP_TO_DATE => Message::UpToDate {
                committed: self.zxid()?,
            },
            tag::PROPOSE => Message::Propose(self.proposal()?),
            tag::ACK => Message::Ack(self.zxid()?),
            tag::COMMIT => Message::Commit(self.zxid()?),
            tag::INFORM => Message::Inform(self.proposal()?),
            _ => return self.broadcast(),
        })
    }

    fn broadcast(&mut self) -> Result<Message, MessageError> {
        Ok(match self.tag {
            tag::PING => Message::Ping {
                round: self.u64()?,
                committed: self.zxid()?,
            },
            tag::PONG => Message::Pong {
                round: self.u64()?,
                durable: self.zxid()?,
            },
            tag::REQUEST => Message::Request {
                seq: self.u64()?,
                payload: self.rest(),
            },
            tag::ANSWER => Message::Answer {
                seq: self.u64()?,
                after: self.zxid()?,
                payload: self.rest(),
            },
            tag::SYNC => Message::Sync { seq: self.u64()? },
            tag::SYNCED => Message::Synced {
                seq: self.u64()?,
                zxid: self.zxid()?,
            },
            other => return Err(MessageError::Tag(other)),
        })
    }

    fn notification(&mut self) -> Result<Message, MessageError> {
        let round = self.u64()?;
        let standing = match self.tag {
            tag::LOOKING => Standing::Looking(match self.flag()? {
                false => None,
                true => Some(Vote {
                    current_epoch: self.u32()?,
                    last_zxid: self.zxid()?,
                    candidate: self.node()?,
                }),
            }),
            tag::FOLLOWING => Standing::Following {
                leader: self.node()?,
            },
            _ => Standing::Leading { epoch: self.u32()? },
        };
        Ok(Message::Notification(Notification { round, standing }))
    }

    fn info(&mut self) -> Result<LearnerInfo, MessageError> {
        Ok(LearnerInfo {
            attempt: self.u64()?,
            accepted_epoch: self.u32()?,
            directory: match self.flag()? {
                false => None,
                true => Some(Uuid::from_u128(
                    self.from.try_get_u128().map_err(|_| MessageError::Short)?,
                )),
            },
        })
    }

    fn snap(&mut self) -> Result<Message, MessageError> {
        Ok(Message::Snap {
            zxid: self.zxid()?,
            length: self.u64()?,
            checksum: self.u32()?,
            voters: Voters::decode_from(self.from).map_err(|_| MessageError::Field(self.tag))?,
        })
    }

    fn proposal(&mut self) -> Result<Proposal, MessageError> {
        Ok(Proposal {
            zxid: self.zxid()?,
            kind: match self.u8()? {
                0 => ProposalKind::Data,
                1 => ProposalKind::Reconfig,
                _ => return Err(MessageError::Field(self.tag)),
            },
            payload: self.rest(),
        })
    }

    fn u8(&mut self) -> Result<u8, MessageError> {
        self.from.try_get_u8().map_err(|_| MessageError::Short)
    }

    fn u32(&mut self) -> Result<u32, MessageError> {
        self.from.try_get_u32().map_err(|_| MessageError::Short)
    }

    fn u64(&mut self) -> Result<u64, MessageError> {
        self.from.try_get_u64().map_err(|_| MessageError::Short)
    }

    fn zxid(&mut self) -> Result<Zxid, MessageError> {
        self.u64().map(Zxid)
    }

    fn node(&mut self) -> Result<NodeId, MessageError> {
        let node = self.from.try_get_i32().map_err(|_| MessageError::Short)?;
        Ok(NodeId(node))
    }

    fn flag(&mut self) -> Result<bool, MessageError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(MessageError::Field(self.tag)),
        }
    }

    fn rest(&mut self) -> Bytes {
        std::mem::take(self.from)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::zab::voters::Voter;

    fn payload() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
    }

    fn zxid() -> impl Strategy<Value = Zxid> {
        any::<u64>().prop_map(Zxid)
    }

    fn proposal() -> impl Strategy<Value = Proposal> {
        (zxid(), any::<bool>(), payload()).prop_map(|(zxid, reconfig, payload)| Proposal {
            zxid,
            kind: if reconfig {
                ProposalKind::Reconfig
            } else {
                ProposalKind::Data
            },
            payload,
        })
    }

    fn standing() -> impl Strategy<Value = Standing> {
        prop_oneof![
            prop::option::of((any::<u32>(), zxid(), any::<i32>())).prop_map(|vote| {
                Standing::Looking(vote.map(|(current_epoch, last_zxid, candidate)| Vote {
                    current_epoch,
                    last_zxid,
                    candidate: NodeId(candidate),
                }))
            }),
            any::<i32>().prop_map(|leader| Standing::Following {
                leader: NodeId(leader)
            }),
            any::<u32>().prop_map(|epoch| Standing::Leading { epoch }),
        ]
    }

    fn info() -> impl Strategy<Value = LearnerInfo> {
        (any::<u64>(), any::<u32>(), prop::option::of(any::<u128>())).prop_map(
            |(attempt, accepted_epoch, directory)| LearnerInfo {
                attempt,
                accepted_epoch,
                directory: directory.map(Uuid::from_u128),
            },
        )
    }

    fn voters() -> impl Strategy<Value = Voters> {
        let voter = (
            "[a-z.]{0,20}",
            any::<u16>(),
            prop::option::of(any::<u128>()),
        );
        prop::collection::btree_map(any::<i32>(), voter, 0..5).prop_map(|voters| {
            Voters::new(voters.into_iter().map(|(node, (host, port, directory))| {
                let voter = Voter {
                    host,
                    port,
                    directory: directory.map(Uuid::from_u128),
                };
                (NodeId(node), voter)
            }))
        })
    }

    fn message() -> impl Strategy<Value = Message> {
        let discovery = prop_oneof![
            (any::<u64>(), standing()).prop_map(|(round, standing)| {
                Message::Notification(Notification { round, standing })
            }),
            info().prop_map(Message::FollowerInfo),
            info().prop_map(Message::ObserverInfo),
            (any::<u64>(), any::<u32>())
                .prop_map(|(attempt, epoch)| Message::LeaderInfo { attempt, epoch }),
            (any::<u64>(), any::<bool>(), any::<u32>(), zxid()).prop_map(
                |(attempt, promised, current_epoch, last_zxid)| Message::AckEpoch {
                    attempt,
                    promised,
                    current_epoch,
                    last_zxid,
                }
            ),
        ];
        let synchronization = prop_oneof![
            Just(Message::Diff),
            zxid().prop_map(|to| Message::Trunc { to }),
            (zxid(), voters(), any::<u64>(), any::<u32>()).prop_map(
                |(zxid, voters, length, checksum)| Message::Snap {
                    zxid,
                    voters,
                    length,
                    checksum,
                }
            ),
            (any::<u64>(), payload())
                .prop_map(|(position, bytes)| Message::SnapChunk { position, bytes }),
            any::<u64>().prop_map(|position| Message::SnapAck { position }),
            any::<u32>().prop_map(|epoch| Message::NewLeader { epoch }),
            zxid().prop_map(|committed| Message::UpToDate { committed }),
        ];
        let broadcast = prop_oneof![
            proposal().prop_map(Message::Propose),
            zxid().prop_map(Message::Ack),
            zxid().prop_map(Message::Commit),
            proposal().prop_map(Message::Inform),
            (any::<u64>(), zxid())
                .prop_map(|(round, committed)| Message::Ping { round, committed }),
            (any::<u64>(), zxid()).prop_map(|(round, durable)| Message::Pong { round, durable }),
            (any::<u64>(), payload()).prop_map(|(seq, payload)| Message::Request { seq, payload }),
            (any::<u64>(), zxid(), payload()).prop_map(|(seq, after, payload)| Message::Answer {
                seq,
                after,
                payload,
            }),
            any::<u64>().prop_map(|seq| Message::Sync { seq }),
            (any::<u64>(), zxid()).prop_map(|(seq, zxid)| Message::Synced { seq, zxid }),
        ];
        prop_oneof![discovery, synchronization, broadcast]
    }

    fn bytes_of(message: &Message) -> Bytes {
        let mut bytes = BytesMut::new();
        encode(message, &mut bytes);
        bytes.freeze()
    }

    proptest! {
        #[test]
        fn a_message_is_read_as_it_was_written(message in message()) {
            prop_assert_eq!(decode(&mut bytes_of(&message)), Ok(message));
        }

        /// Whatever comes is a message, which then is written in those bytes, or an error.
        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let bytes = Bytes::from(bytes);
            if let Ok(message) = decode(&mut bytes.clone()) {
                prop_assert_eq!(bytes_of(&message), bytes);
            }
        }

        #[test]
        fn a_message_that_is_cut_short_is_no_other(message in message(), cut in any::<prop::sample::Index>()) {
            let whole = bytes_of(&message);
            let short = whole.slice(..cut.index(whole.len()));
            if let Ok(other) = decode(&mut short.clone()) {
                // Only a payload may be shorter, for a frame says how long it is.
                prop_assert_eq!(std::mem::discriminant(&other), std::mem::discriminant(&message));
                prop_assert_eq!(bytes_of(&other), short);
            }
        }
    }

    #[test]
    fn what_is_no_message_is_told_why() {
        let decode = |bytes: &'static [u8]| decode(&mut Bytes::from_static(bytes)).unwrap_err();
        assert_eq!(decode(&[]), MessageError::Short);
        assert_eq!(decode(&[0]), MessageError::Tag(0));
        assert_eq!(decode(&[tag::DIFF, 1, 2]), MessageError::Left(2, tag::DIFF));
        assert_eq!(decode(&[tag::ACK, 1]), MessageError::Short);
        let flag = [tag::LOOKING, 0, 0, 0, 0, 0, 0, 0, 1, 7];
        assert_eq!(
            super::decode(&mut Bytes::copy_from_slice(&flag)),
            Err(MessageError::Field(tag::LOOKING))
        );
    }
}
