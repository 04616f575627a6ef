//! ListOffsetsRequest, versions 1 to 11.
//!
//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, VersionRange};
use kafka_protocol::messages::{BrokerId, TopicName};

use crate::protocol::messages::wire::{self, Count, Out, Sink};
use crate::protocol::messages::wire::unavailable;

#[derive(Debug, Clone, PartialEq, Default)]
pub struct ListOffsetsRequest {
    /// Versions 1 to 11.
    pub replica_id: BrokerId,
    /// Versions 2 to 11.
    pub isolation_level: i8,
    /// Versions 1 to 11.
    pub topics: Vec<ListOffsetsTopic>,
    /// Versions 10 to 11.
    pub timeout_ms: i32,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl ListOffsetsRequest {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 6;
        out.put(&self.replica_id.0.to_be_bytes());
        if version >= 2 {
            out.put(&self.isolation_level.to_be_bytes());
        } else if self.isolation_level != 0 {
            return Err(unavailable("isolation_level", version));
        }
        out.array(Some(&self.topics), flexible, |out, it| it.write(out, version))?;
        if version >= 10 {
            out.put(&self.timeout_ms.to_be_bytes());
        }
        if flexible {
            out.varint(self.unknown_tagged_fields.len() as u32);
            for (tag, value) in &self.unknown_tagged_fields {
                out.tagged(*tag as u32, value)?;
            }
        }
        Ok(())
    }

    fn read<B: ByteBuf>(input: &mut B, version: i16) -> Result<Self> {
        let flexible = version >= 6;
        let mut this = Self::default();
        this.replica_id = BrokerId(wire::int32(input)?);
        if version >= 2 {
            this.isolation_level = wire::int8(input)?;
        }
        this.topics = wire::some(wire::array(input, flexible, |input| ListOffsetsTopic::read(input, version))?)?;
        if version >= 10 {
            this.timeout_ms = wire::int32(input)?;
        }
        if flexible {
            for _ in 0..wire::varint(input)? {
                let (tag, value) = wire::tagged(input)?;
                this.unknown_tagged_fields.insert(tag as i32, value);
            }
        }
        Ok(this)
    }
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct ListOffsetsTopic {
    /// Versions 1 to 11.
    pub name: TopicName,
    /// Versions 1 to 11.
    pub partitions: Vec<ListOffsetsPartition>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl ListOffsetsTopic {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 6;
        out.string(Some(&self.name), flexible)?;
        out.array(Some(&self.partitions), flexible, |out, it| it.write(out, version))?;
        if flexible {
            out.varint(self.unknown_tagged_fields.len() as u32);
            for (tag, value) in &self.unknown_tagged_fields {
                out.tagged(*tag as u32, value)?;
            }
        }
        Ok(())
    }

    fn read<B: ByteBuf>(input: &mut B, version: i16) -> Result<Self> {
        let flexible = version >= 6;
        let mut this = Self::default();
        this.name = wire::some(wire::string(input, flexible)?.map(TopicName))?;
        this.partitions = wire::some(wire::array(input, flexible, |input| ListOffsetsPartition::read(input, version))?)?;
        if flexible {
            for _ in 0..wire::varint(input)? {
                let (tag, value) = wire::tagged(input)?;
                this.unknown_tagged_fields.insert(tag as i32, value);
            }
        }
        Ok(this)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct ListOffsetsPartition {
    /// Versions 1 to 11.
    pub partition_index: i32,
    /// Versions 4 to 11.
    pub current_leader_epoch: i32,
    /// Versions 1 to 11.
    pub timestamp: i64,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Default for ListOffsetsPartition {
    fn default() -> Self {
        Self {
            partition_index: Default::default(),
            current_leader_epoch: -1,
            timestamp: Default::default(),
            unknown_tagged_fields: BTreeMap::new(),
        }
    }
}

impl ListOffsetsPartition {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 6;
        out.put(&self.partition_index.to_be_bytes());
        if version >= 4 {
            out.put(&self.current_leader_epoch.to_be_bytes());
        }
        out.put(&self.timestamp.to_be_bytes());
        if flexible {
            out.varint(self.unknown_tagged_fields.len() as u32);
            for (tag, value) in &self.unknown_tagged_fields {
                out.tagged(*tag as u32, value)?;
            }
        }
        Ok(())
    }

    fn read<B: ByteBuf>(input: &mut B, version: i16) -> Result<Self> {
        let flexible = version >= 6;
        let mut this = Self::default();
        this.partition_index = wire::int32(input)?;
        if version >= 4 {
            this.current_leader_epoch = wire::int32(input)?;
        }
        this.timestamp = wire::int64(input)?;
        if flexible {
            for _ in 0..wire::varint(input)? {
                let (tag, value) = wire::tagged(input)?;
                this.unknown_tagged_fields.insert(tag as i32, value);
            }
        }
        Ok(this)
    }
}

impl Message for ListOffsetsRequest {
    const VERSIONS: VersionRange = VersionRange { min: 1, max: 11 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for ListOffsetsRequest {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("ListOffsetsRequest", version, 1, 11)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("ListOffsetsRequest", version, 1, 11)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for ListOffsetsRequest {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("ListOffsetsRequest", version, 1, 11)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for ListOffsetsRequest {
    fn header_version(version: i16) -> i16 {
        if version >= 6 { 2 } else { 1 }
    }
}

impl Request for ListOffsetsRequest {
    const KEY: i16 = 2;
    type Response = super::list_offsets_response::ListOffsetsResponse;
}
