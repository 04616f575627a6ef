//! Fetch responses, versions 4 to 18: bytes with gaps where the records go.
//!
//! Records are only known by their length here (`T` may be a range of a file), so that they are never copied:
//! the response is a sequence of parts, the first of which begins with the length of the whole frame.
//! 5 adds the log start offset, 7 the session, 11 the preferred read replica, 12 is flexible and tells
//! divergence and the current leader, 13 names topics by id, 16 adds the leaders' endpoints.

use anyhow::Result;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;

use crate::error::ErrorCode;
use crate::protocol::current_leader::{CurrentLeader, NodeEndpoint, write_endpoints};
use crate::protocol::frame::{LENGTH_BYTES, put_response_header};
use crate::protocol::messages::wire::{self, Count, Sink};
use crate::types::{LeaderEpoch, NodeId, Offset, PartitionId, ProducerId, TopicId};

/// Records whose length is known before they are sent.
pub trait HasLength {
    fn length(&self) -> usize;
}

impl HasLength for Bytes {
    fn length(&self) -> usize {
        self.len()
    }
}

/// A piece of a response, in the order it goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part<T> {
    Bytes(Bytes),
    Records(T),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchResponse<T> {
    pub throttle_time_ms: i32,
    /// Of the whole fetch; from version 7 on.
    pub error: ErrorCode,
    pub session_id: i32,
    pub topics: Vec<FetchTopicResponse<T>>,
    /// Where the leaders named below are reached; left out before version 16.
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// Names the topic as the request did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchTopicResponse<T> {
    pub name: StrBytes,
    pub topic_id: TopicId,
    pub partitions: Vec<FetchPartitionResponse<T>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchPartitionResponse<T> {
    pub index: PartitionId,
    pub error: ErrorCode,
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
    /// From version 5 on.
    pub log_start_offset: Offset,
    /// From version 12 on, to a follower whose log has parted from the leader's.
    pub diverging_epoch: Option<DivergingEpoch>,
    /// From version 12 on.
    pub current_leader: Option<CurrentLeader>,
    /// From version 12 on; of metadata logs only.
    pub snapshot_id: Option<SnapshotId>,
    /// Null to a reader of everything.
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// From version 11 on, where to read instead; [`NodeId::NONE`] is here.
    pub preferred_read_replica: NodeId,
    /// `None` goes out as no bytes, never as null: so does Kafka.
    pub records: Option<T>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DivergingEpoch {
    pub epoch: LeaderEpoch,
    pub end_offset: Offset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotId {
    pub end_offset: Offset,
    pub epoch: LeaderEpoch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    pub producer_id: ProducerId,
    pub first_offset: Offset,
}

impl<T> FetchPartitionResponse<T> {
    /// The answer to a partition that is not read.
    pub fn failed(index: PartitionId, error: ErrorCode) -> Self {
        Self {
            index,
            error,
            high_watermark: Offset(-1),
            last_stable_offset: Offset(-1),
            log_start_offset: Offset(-1),
            diverging_epoch: None,
            current_leader: None,
            snapshot_id: None,
            aborted_transactions: was_not_looked_for(error).then(Vec::new),
            preferred_read_replica: NodeId::NONE,
            records: None,
        }
    }
}

/// Refused before Kafka goes to the partition: it leaves the list of aborted transactions empty then, and null where
/// the partition refuses.
fn was_not_looked_for(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::TopicAuthorizationFailed
            | ErrorCode::UnknownTopicId
            | ErrorCode::UnknownTopicOrPartition
    )
}

/// A sink that is told where records go.
trait RecordsSink: Sink {
    fn records(&mut self, length: usize);
}

impl RecordsSink for Count {
    fn records(&mut self, length: usize) {
        self.0 += length;
    }
}

/// The bytes between the records, and where in them the records belong.
struct Cuts {
    bytes: BytesMut,
    at: Vec<usize>,
}

impl Sink for Cuts {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes.put_slice(bytes);
    }
}

impl RecordsSink for Cuts {
    fn records(&mut self, length: usize) {
        if length > 0 {
            self.at.push(self.bytes.len());
        }
    }
}

impl<T: HasLength> FetchResponse<T> {
    /// How long the frame will be, its length field included.
    pub fn frame_length(&self, version: i16) -> Result<usize> {
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(LENGTH_BYTES + header_length(version) + count.0)
    }

    /// The whole frame: length, header and body, with the records in their places.
    pub fn into_parts(self, correlation_id: i32, version: i16) -> Result<Vec<Part<T>>> {
        let total = self.frame_length(version)?;
        let partitions = self.topics.iter().flat_map(|topic| &topic.partitions);
        let foreign: usize = partitions
            .filter_map(|p| p.records.as_ref())
            .map(T::length)
            .sum();
        let mut cuts = Cuts {
            bytes: BytesMut::with_capacity(total - foreign),
            at: Vec::new(),
        };
        cuts.bytes.put_i32(i32::try_from(total - LENGTH_BYTES)?);
        put_response_header(
            &mut cuts.bytes,
            correlation_id,
            header_length(version) as i16 - 4,
        );
        self.write(&mut cuts, version)?;

        let partitions = self.topics.into_iter().flat_map(|topic| topic.partitions);
        let records = partitions.filter_map(|p| p.records.filter(|r| r.length() > 0));
        let mut parts = Vec::with_capacity(2 * cuts.at.len() + 1);
        let mut taken = 0;
        for (at, records) in cuts.at.into_iter().zip(records) {
            parts.push(Part::Bytes(cuts.bytes.split_to(at - taken).freeze()));
            parts.push(Part::Records(records));
            taken = at;
        }
        if !cuts.bytes.is_empty() {
            parts.push(Part::Bytes(cuts.bytes.freeze()));
        }
        Ok(parts)
    }

    fn write<S: RecordsSink>(&self, out: &mut S, version: i16) -> Result<()> {
        wire::check_version("FetchResponse", version, 4, 18)?;
        let flexible = version >= 12;
        out.put(&self.throttle_time_ms.to_be_bytes());
        if version >= 7 {
            out.put(&self.error.code().to_be_bytes());
            out.put(&self.session_id.to_be_bytes());
        }
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
        if flexible {
            let told = if version >= 16 {
                &self.node_endpoints[..]
            } else {
                &[]
            };
            write_endpoints(out, told)?;
        }
        Ok(())
    }
}

/// The correlation id, and from version 12 on an empty list of tagged fields.
fn header_length(version: i16) -> usize {
    4 + usize::from(version >= 12)
}

impl<T: HasLength> FetchPartitionResponse<T> {
    fn write<S: RecordsSink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 12;
        out.put(&self.index.0.to_be_bytes());
        out.put(&self.error.code().to_be_bytes());
        out.put(&self.high_watermark.0.to_be_bytes());
        out.put(&self.last_stable_offset.0.to_be_bytes());
        if version >= 5 {
            out.put(&self.log_start_offset.0.to_be_bytes());
        }
        let aborted = self.aborted_transactions.as_deref();
        out.array(aborted, flexible, |out, aborted| {
            out.put(&aborted.producer_id.0.to_be_bytes());
            out.put(&aborted.first_offset.0.to_be_bytes());
            if flexible {
                out.varint(0);
            }
            Ok(())
        })?;
        if version >= 11 {
            out.put(&self.preferred_read_replica.0.to_be_bytes());
        }
        let length = self.records.as_ref().map_or(0, T::length);
        out.length(Some(length), flexible)?;
        out.records(length);
        if flexible {
            self.write_tagged(out)?;
        }
        Ok(())
    }

    fn write_tagged<S: Sink>(&self, out: &mut S) -> Result<()> {
        let present = [
            self.diverging_epoch.is_some(),
            self.current_leader.is_some(),
            self.snapshot_id.is_some(),
        ];
        out.varint(present.into_iter().filter(|present| *present).count() as u32);
        if let Some(diverging) = self.diverging_epoch {
            let mut value = diverging.epoch.0.to_be_bytes().to_vec();
            value.extend(diverging.end_offset.0.to_be_bytes());
            value.varint(0);
            out.tagged(0, &value)?;
        }
        if let Some(leader) = self.current_leader {
            out.tagged(1, &leader.to_bytes())?;
        }
        if let Some(snapshot) = self.snapshot_id {
            let mut value = snapshot.end_offset.0.to_be_bytes().to_vec();
            value.extend(snapshot.epoch.0.to_be_bytes());
            value.varint(0);
            out.tagged(2, &value)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "fetch_response_tests.rs"]
mod tests;
