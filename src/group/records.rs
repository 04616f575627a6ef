//! The records of `__consumer_offsets` that classic groups and offsets live in, byte for byte Kafka's.
//!
//! Written: OffsetCommitKey 1 with OffsetCommitValue 4 (1 when the commit names an expiry time, KIP-211),
//! GroupMetadataKey 2 with GroupMetadataValue 3. Read: every version of them, and the key version 0
//! that old brokers wrote offsets under. Keys of KIP-848, share and streams groups are recognised
//! by their version and left alone.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::record_bytes::{Malformed, Reader, Writer};
use crate::types::{LeaderEpoch, Offset, TimestampMs, TopicId};

const LEGACY_OFFSET_COMMIT_KEY: i16 = 0;
const OFFSET_COMMIT_KEY: i16 = 1;
const GROUP_METADATA_KEY: i16 = 2;
const OFFSET_COMMIT_VALUE: i16 = 4;
const OFFSET_COMMIT_VALUE_WITH_EXPIRY: i16 = 1;
const GROUP_METADATA_VALUE: i16 = 3;
/// From this version on both values use the flexible forms.
const FIRST_FLEXIBLE: i16 = 4;

/// One committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetCommitValue {
    pub offset: Offset,
    pub leader_epoch: LeaderEpoch,
    pub metadata: Arc<str>,
    pub commit_timestamp: TimestampMs,
    /// Only commits of the versions 2 to 4 with a retention time have one.
    pub expire_timestamp: Option<TimestampMs>,
    /// Zero when the commit did not tell.
    pub topic_id: TopicId,
}

/// A member as it is stored: its subscription under the chosen protocol, and what it was assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberMetadata {
    pub member_id: Arc<str>,
    pub group_instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    /// As Java prints an address: `/127.0.0.1`.
    pub client_host: Arc<str>,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub subscription: Bytes,
    pub assignment: Bytes,
}

/// A classic group as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMetadataValue {
    /// Empty for a group that only commits offsets.
    pub protocol_type: Arc<str>,
    pub generation: i32,
    pub protocol: Option<Arc<str>>,
    pub leader: Option<Arc<str>>,
    pub state_timestamp: Option<TimestampMs>,
    pub members: Vec<MemberMetadata>,
}

/// A record; a value of `None` is a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    OffsetCommit {
        group: Arc<str>,
        topic: Arc<str>,
        partition: i32,
        value: Option<OffsetCommitValue>,
    },
    GroupMetadata {
        group: Arc<str>,
        value: Option<GroupMetadataValue>,
    },
}

/// What a key and a value turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    Record(Record),
    /// A kind of record this coordinator does not keep (yet).
    UnknownKey {
        version: i16,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("a record without a key")]
    NoKey,
    #[error("{what} of unknown version {version}")]
    UnknownVersion { what: &'static str, version: i16 },
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Record {
    pub fn tombstone_of_offset(group: &Arc<str>, topic: &Arc<str>, partition: i32) -> Record {
        Record::OffsetCommit {
            group: group.clone(),
            topic: topic.clone(),
            partition,
            value: None,
        }
    }

    pub fn tombstone_of_group(group: &Arc<str>) -> Record {
        Record::GroupMetadata {
            group: group.clone(),
            value: None,
        }
    }

    /// The bytes of the key, and of the value unless this is a tombstone.
    pub fn encode(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        match self {
            Record::OffsetCommit {
                group,
                topic,
                partition,
                value,
            } => {
                let mut key = Writer::new(OFFSET_COMMIT_KEY, false);
                key.string(group);
                key.string(topic);
                key.int32(*partition);
                (key.bytes, value.as_ref().map(encode_offset))
            }
            Record::GroupMetadata { group, value } => {
                let mut key = Writer::new(GROUP_METADATA_KEY, false);
                key.string(group);
                (key.bytes, value.as_ref().map(encode_group))
            }
        }
    }

    pub fn decode(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Decoded, RecordError> {
        let mut key = Reader::new(key.ok_or(RecordError::NoKey)?);
        let record = match key.int16()? {
            LEGACY_OFFSET_COMMIT_KEY | OFFSET_COMMIT_KEY => Record::OffsetCommit {
                group: key.string()?,
                topic: key.string()?,
                partition: key.int32()?,
                value: value.map(decode_offset).transpose()?,
            },
            GROUP_METADATA_KEY => Record::GroupMetadata {
                group: key.string()?,
                value: value.map(decode_group).transpose()?,
            },
            version => return Ok(Decoded::UnknownKey { version }),
        };
        Ok(Decoded::Record(record))
    }
}

fn encode_offset(value: &OffsetCommitValue) -> Vec<u8> {
    if let Some(expire_timestamp) = value.expire_timestamp {
        let mut out = Writer::new(OFFSET_COMMIT_VALUE_WITH_EXPIRY, false);
        out.int64(value.offset.0);
        out.string(&value.metadata);
        out.int64(value.commit_timestamp.0);
        out.int64(expire_timestamp.0);
        return out.bytes;
    }
    let mut out = Writer::new(OFFSET_COMMIT_VALUE, true);
    out.int64(value.offset.0);
    out.int32(value.leader_epoch.0);
    out.string(&value.metadata);
    out.int64(value.commit_timestamp.0);
    if value.topic_id.is_zero() {
        out.no_tagged_fields();
    } else {
        out.tagged_uuid(0, value.topic_id.0);
    }
    out.bytes
}

fn decode_offset(bytes: &[u8]) -> Result<OffsetCommitValue, RecordError> {
    let mut value = Reader::new(bytes);
    let version = version_of(&mut value, "an offset commit", 4)?;
    let offset = Offset(value.int64()?);
    let leader_epoch = match version {
        3.. => LeaderEpoch(value.int32()?),
        _ => LeaderEpoch::UNKNOWN,
    };
    let metadata = value.string()?;
    let commit_timestamp = TimestampMs(value.int64()?);
    let expire_timestamp = match version {
        1 => known(value.int64()?),
        _ => None,
    };
    let mut topic_id = TopicId::ZERO;
    value.tagged_fields(|tag, bytes| {
        if let (0, Ok(id)) = (tag, Uuid::from_slice(bytes)) {
            topic_id = TopicId(id);
        }
    })?;
    Ok(OffsetCommitValue {
        offset,
        leader_epoch,
        metadata,
        commit_timestamp,
        expire_timestamp,
        topic_id,
    })
}

fn encode_group(value: &GroupMetadataValue) -> Vec<u8> {
    let mut out = Writer::new(GROUP_METADATA_VALUE, false);
    out.string(&value.protocol_type);
    out.int32(value.generation);
    out.nullable_string(value.protocol.as_deref());
    out.nullable_string(value.leader.as_deref());
    out.int64(value.state_timestamp.unwrap_or(TimestampMs::NONE).0);
    out.array_length(value.members.len());
    for member in &value.members {
        out.string(&member.member_id);
        out.nullable_string(member.group_instance_id.as_deref());
        out.string(&member.client_id);
        out.string(&member.client_host);
        out.int32(member.rebalance_timeout_ms);
        out.int32(member.session_timeout_ms);
        out.byte_string(&member.subscription);
        out.byte_string(&member.assignment);
    }
    out.bytes
}

fn decode_group(bytes: &[u8]) -> Result<GroupMetadataValue, RecordError> {
    let mut value = Reader::new(bytes);
    let version = version_of(&mut value, "a group", 4)?;
    let protocol_type = value.string()?;
    let generation = value.int32()?;
    let protocol = value.nullable_string()?;
    let leader = value.nullable_string()?;
    let state_timestamp = match version {
        2.. => known(value.int64()?),
        _ => None,
    };
    let members = (0..value.array_length()?)
        .map(|_| decode_member(&mut value, version))
        .collect::<Result<_, _>>()?;
    value.tagged_fields(|_, _| ())?;
    Ok(GroupMetadataValue {
        protocol_type,
        generation,
        protocol,
        leader,
        state_timestamp,
        members,
    })
}

fn decode_member(value: &mut Reader<'_>, version: i16) -> Result<MemberMetadata, Malformed> {
    let member_id = value.string()?;
    let group_instance_id = match version {
        3.. => value.nullable_string()?,
        _ => None,
    };
    let client_id = value.string()?;
    let client_host = value.string()?;
    let rebalance_timeout_ms = match version {
        1.. => value.int32()?,
        _ => -1,
    };
    let session_timeout_ms = value.int32()?;
    let member = MemberMetadata {
        member_id,
        group_instance_id,
        client_id,
        client_host,
        // Before there were two timeouts the session's stood for both.
        rebalance_timeout_ms: match rebalance_timeout_ms {
            -1 => session_timeout_ms,
            known => known,
        },
        session_timeout_ms,
        subscription: value.byte_string()?,
        assignment: value.byte_string()?,
    };
    value.tagged_fields(|_, _| ())?;
    Ok(member)
}

fn version_of(value: &mut Reader<'_>, what: &'static str, newest: i16) -> Result<i16, RecordError> {
    let version = value.int16()?;
    if !(0..=newest).contains(&version) {
        return Err(RecordError::UnknownVersion { what, version });
    }
    value.flexible = version >= FIRST_FLEXIBLE;
    Ok(version)
}

fn known(timestamp: i64) -> Option<TimestampMs> {
    (timestamp != -1).then_some(TimestampMs(timestamp))
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
