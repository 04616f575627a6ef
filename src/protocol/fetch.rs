//! Fetch requests, versions 4 to 18, read by hand. Responses are in `fetch_response.rs`.
//!
//! 5 adds the follower's log start offset, 7 sessions (KIP-227), 9 the leader epoch (KIP-320), 11 racks
//! (KIP-392), 12 is flexible and adds the last fetched epoch (KIP-595), 13 names topics by id (KIP-516), 15 moves the
//! replica id into a tagged state (KIP-903), 17 adds the replica's directory (KIP-853), 18 its high watermark
//! (KIP-1166). What this accepts is what the guard accepts.

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::protocol::guard::{self, GuardError};
use crate::protocol::messages::wire;
use crate::types::{LeaderEpoch, NodeId, Offset, PartitionId, TopicId};

pub use crate::protocol::fetch_response::{
    AbortedTransaction, DivergingEpoch, FetchPartitionResponse, FetchResponse, FetchTopicResponse,
    HasLength, Part, SnapshotId,
};

pub const KEY: i16 = 1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    pub cluster_id: Option<StrBytes>,
    /// Of the follower that asks; [`NodeId::NONE`] is a consumer.
    pub replica_id: NodeId,
    /// The follower's broker epoch, or -1; from version 15 on.
    pub replica_epoch: i64,
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    pub max_bytes: i32,
    /// 0 reads everything, 1 what is committed.
    pub isolation_level: i8,
    /// From version 7 on; before, 0 and -1: no session.
    pub session_id: i32,
    pub session_epoch: i32,
    pub topics: Vec<FetchTopic>,
    pub forgotten_topics: Vec<ForgottenTopic>,
    pub rack_id: StrBytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchTopic {
    /// Up to version 12; empty after.
    pub name: StrBytes,
    /// From version 13 on; zero before.
    pub topic_id: TopicId,
    pub partitions: Vec<FetchPartition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchPartition {
    pub index: PartitionId,
    /// From version 9 on; else unknown.
    pub current_leader_epoch: LeaderEpoch,
    pub fetch_offset: Offset,
    /// From version 12 on; else unknown.
    pub last_fetched_epoch: LeaderEpoch,
    /// The follower's, or -1.
    pub log_start_offset: Offset,
    pub max_bytes: i32,
    pub replica_directory_id: Uuid,
    /// What the follower knows; -1 is unknown, `i64::MAX` a follower that does not say.
    pub high_watermark: Offset,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForgottenTopic {
    pub name: StrBytes,
    pub topic_id: TopicId,
    pub partitions: Vec<PartitionId>,
}

impl FetchRequest {
    /// Reads a body. Bytes after it are ignored, as Kafka ignores them.
    pub fn parse(body: Bytes, version: i16) -> Result<FetchRequest, GuardError> {
        let mut input = body.clone();
        read(&mut input, version).map_err(|_| guard::explain(KEY, version, &body))
    }
}

fn read(input: &mut Bytes, version: i16) -> Result<FetchRequest> {
    wire::check_version("FetchRequest", version, 4, 18)?;
    let flexible = version >= 12;
    let mut request = FetchRequest {
        cluster_id: None,
        replica_id: NodeId::NONE,
        replica_epoch: -1,
        max_wait_ms: 0,
        min_bytes: 0,
        max_bytes: 0,
        isolation_level: 0,
        session_id: 0,
        session_epoch: -1,
        topics: Vec::new(),
        forgotten_topics: Vec::new(),
        rack_id: StrBytes::new(),
    };
    if version <= 14 {
        request.replica_id = NodeId(wire::int32(input)?);
    }
    request.max_wait_ms = wire::int32(input)?;
    request.min_bytes = wire::int32(input)?;
    request.max_bytes = wire::int32(input)?;
    request.isolation_level = wire::int8(input)?;
    if version >= 7 {
        request.session_id = wire::int32(input)?;
        request.session_epoch = wire::int32(input)?;
    }
    let topics = wire::array(input, flexible, |input| topic(input, version))?;
    request.topics = wire::some(topics)?;
    if version >= 7 {
        let forgotten = wire::array(input, flexible, |input| forgotten_topic(input, version))?;
        request.forgotten_topics = wire::some(forgotten)?;
    }
    if version >= 11 {
        request.rack_id = wire::some(wire::string(input, flexible)?)?;
    }
    if flexible {
        for _ in 0..wire::varint(input)? {
            let (tag, mut value) = wire::tagged(input)?;
            match tag {
                0 => request.cluster_id = wire::string(&mut value, true)?,
                1 if version >= 15 => {
                    request.replica_id = NodeId(wire::int32(&mut value)?);
                    request.replica_epoch = wire::int64(&mut value)?;
                    wire::skip_tagged(&mut value, true)?;
                }
                _ => continue,
            }
            wire::finished(&value)?;
        }
    }
    Ok(request)
}

fn named(input: &mut Bytes, version: i16) -> Result<(StrBytes, TopicId)> {
    if version >= 13 {
        Ok((StrBytes::new(), TopicId(wire::uuid(input)?)))
    } else {
        let name = wire::string(input, version >= 12)?;
        Ok((wire::some(name)?, TopicId::ZERO))
    }
}

fn topic(input: &mut Bytes, version: i16) -> Result<FetchTopic> {
    let flexible = version >= 12;
    let (name, topic_id) = named(input, version)?;
    let partitions = wire::array(input, flexible, |input| partition(input, version))?;
    let partitions = wire::some(partitions)?;
    wire::skip_tagged(input, flexible)?;
    Ok(FetchTopic {
        name,
        topic_id,
        partitions,
    })
}

fn partition(input: &mut Bytes, version: i16) -> Result<FetchPartition> {
    let since = |first: i16| version >= first;
    let mut partition = FetchPartition {
        index: PartitionId(wire::int32(input)?),
        current_leader_epoch: match since(9) {
            true => LeaderEpoch(wire::int32(input)?),
            false => LeaderEpoch::UNKNOWN,
        },
        fetch_offset: Offset(wire::int64(input)?),
        last_fetched_epoch: match since(12) {
            true => LeaderEpoch(wire::int32(input)?),
            false => LeaderEpoch::UNKNOWN,
        },
        log_start_offset: match since(5) {
            true => Offset(wire::int64(input)?),
            false => Offset(-1),
        },
        max_bytes: wire::int32(input)?,
        replica_directory_id: Uuid::nil(),
        high_watermark: Offset(i64::MAX),
    };
    if since(12) {
        for _ in 0..wire::varint(input)? {
            let (tag, mut value) = wire::tagged(input)?;
            match tag {
                0 if since(17) => partition.replica_directory_id = wire::uuid(&mut value)?,
                1 if since(18) => partition.high_watermark = Offset(wire::int64(&mut value)?),
                _ => continue,
            }
            wire::finished(&value)?;
        }
    }
    Ok(partition)
}

fn forgotten_topic(input: &mut Bytes, version: i16) -> Result<ForgottenTopic> {
    let flexible = version >= 12;
    let (name, topic_id) = named(input, version)?;
    let partitions = wire::array(input, flexible, |input| {
        Ok(PartitionId(wire::int32(input)?))
    })?;
    let partitions = wire::some(partitions)?;
    wire::skip_tagged(input, flexible)?;
    Ok(ForgottenTopic {
        name,
        topic_id,
        partitions,
    })
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
