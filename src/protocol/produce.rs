//! Produce, versions 3 to 13, read and written by hand: records stay slices of the frame, unlooked at.
//!
//! Versions 0 to 2 are advertised for an old librdkafka's sake and refused before they get here.
//! 7 allows zstd, 8 adds record errors (KIP-467), 9 is flexible, 10 tells the current leader (KIP-951), 13 names topics
//! by id (KIP-516). What this accepts is what the guard accepts; the guard says what is wrong.

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::ByteBufMut;
use kafka_protocol::protocol::{Encodable, StrBytes};

use crate::error::ErrorCode;
use crate::protocol::current_leader::{CurrentLeader, NodeEndpoint, write_endpoints};
use crate::protocol::guard::{self, GuardError};
use crate::protocol::messages::wire::{self, Count, Out, Sink};

use crate::types::{Offset, PartitionId, TimestampMs, TopicId};

pub const KEY: i16 = 0;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceRequest {
    pub transactional_id: Option<StrBytes>,
    pub acks: i16,
    pub timeout_ms: i32,
    pub topics: Vec<ProduceTopic>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceTopic {
    /// Up to version 12; empty after.
    pub name: StrBytes,
    /// From version 13 on; zero before.
    pub topic_id: TopicId,
    pub partitions: Vec<ProducePartition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducePartition {
    pub index: PartitionId,
    /// A slice of the frame.
    pub records: Option<Bytes>,
}

impl ProduceRequest {
    /// Reads a body. Bytes after it are ignored, as Kafka ignores them.
    pub fn parse(body: Bytes, version: i16) -> Result<ProduceRequest, GuardError> {
        let mut input = body.clone();
        read(&mut input, version).map_err(|_| guard::explain(KEY, version, &body))
    }
}

fn read(input: &mut Bytes, version: i16) -> Result<ProduceRequest> {
    wire::check_version("ProduceRequest", version, 3, 13)?;
    let flexible = version >= 9;
    let transactional_id = wire::string(input, flexible)?;
    let acks = wire::int16(input)?;
    let timeout_ms = wire::int32(input)?;
    let topics = wire::array(input, flexible, |input| {
        let mut topic = ProduceTopic {
            name: StrBytes::new(),
            topic_id: TopicId::ZERO,
            partitions: Vec::new(),
        };
        if version >= 13 {
            topic.topic_id = TopicId(wire::uuid(input)?);
        } else {
            topic.name = wire::some(wire::string(input, flexible)?)?;
        }
        let partitions = wire::array(input, flexible, |input| {
            let partition = ProducePartition {
                index: PartitionId(wire::int32(input)?),
                records: wire::bytes(input, flexible)?,
            };
            wire::skip_tagged(input, flexible)?;
            Ok(partition)
        })?;
        topic.partitions = wire::some(partitions)?;
        wire::skip_tagged(input, flexible)?;
        Ok(topic)
    })?;
    let topics = wire::some(topics)?;
    wire::skip_tagged(input, flexible)?;
    Ok(ProduceRequest {
        transactional_id,
        acks,
        timeout_ms,
        topics,
    })
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProduceResponse {
    pub topics: Vec<ProduceTopicResponse>,
    pub throttle_time_ms: i32,
    /// Where the leaders named below are reached; left out before version 10.
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// Names the topic as the request did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceTopicResponse {
    pub name: StrBytes,
    pub topic_id: TopicId,
    pub partitions: Vec<ProducePartitionResponse>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducePartitionResponse {
    pub index: PartitionId,
    pub error: ErrorCode,
    /// Of the first record; -1 when nothing was appended.
    pub base_offset: Offset,
    /// -1 unless the topic is stamped by the broker.
    pub log_append_time_ms: TimestampMs,
    /// From version 5 on.
    pub log_start_offset: Offset,
    /// The records that made the batch be refused, by their index in it; from version 8 on.
    pub record_errors: Vec<RecordError>,
    /// From version 8 on.
    pub error_message: Option<StrBytes>,
    /// From version 10 on, with NOT_LEADER_OR_FOLLOWER.
    pub current_leader: Option<CurrentLeader>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordError {
    pub batch_index: i32,
    pub message: Option<StrBytes>,
}

impl ProducePartitionResponse {
    /// The answer to a partition where nothing was appended.
    pub fn failed(index: PartitionId, error: ErrorCode) -> Self {
        Self {
            index,
            error,
            base_offset: Offset(-1),
            log_append_time_ms: TimestampMs::NONE,
            log_start_offset: Offset(-1),
            record_errors: Vec::new(),
            error_message: None,
            current_leader: None,
        }
    }

    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 9;
        out.put(&self.index.0.to_be_bytes());
        out.put(&self.error.code().to_be_bytes());
        out.put(&self.base_offset.0.to_be_bytes());
        out.put(&self.log_append_time_ms.0.to_be_bytes());
        if version >= 5 {
            out.put(&self.log_start_offset.0.to_be_bytes());
        }
        if version >= 8 {
            out.array(Some(&self.record_errors), flexible, |out, error| {
                out.put(&error.batch_index.to_be_bytes());
                out.string(error.message.as_ref(), flexible)?;
                if flexible {
                    out.varint(0);
                }
                Ok(())
            })?;
            out.string(self.error_message.as_ref(), flexible)?;
        }
        match self.current_leader {
            Some(leader) if version >= 10 => {
                out.varint(1);
                out.tagged(0, &leader.to_bytes())?;
            }
            _ if flexible => out.varint(0),
            _ => {}
        }
        Ok(())
    }
}

impl ProduceResponse {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        wire::check_version("ProduceResponse", version, 3, 13)?;
        let flexible = version >= 9;
        out.array(Some(&self.topics), flexible, |out, topic| {
            if version >= 13 {
                out.put(topic.topic_id.0.as_bytes());
            } else {
                out.string(Some(&topic.name), flexible)?;
            }
            out.array(Some(&topic.partitions), flexible, |out, partition| {
                partition.write(out, version)
            })?;
            if flexible {
                out.varint(0);
            }
            Ok(())
        })?;
        out.put(&self.throttle_time_ms.to_be_bytes());
        if flexible {
            let told = if version >= 10 {
                &self.node_endpoints[..]
            } else {
                &[]
            };
            write_endpoints(out, told)?;
        }
        Ok(())
    }
}

impl Encodable for ProduceResponse {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

#[cfg(test)]
#[path = "produce_tests.rs"]
mod tests;
