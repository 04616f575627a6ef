//! OffsetCommitResponse, versions 2 to 10.
//!
//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, VersionRange};
use kafka_protocol::messages::{TopicName};
use uuid::Uuid;

use crate::protocol::messages::wire::{self, Count, Out, Sink};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct OffsetCommitResponse {
    /// Versions 3 to 10.
    pub throttle_time_ms: i32,
    /// Versions 2 to 10.
    pub topics: Vec<OffsetCommitResponseTopic>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl OffsetCommitResponse {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 8;
        if version >= 3 {
            out.put(&self.throttle_time_ms.to_be_bytes());
        }
        out.array(Some(&self.topics), flexible, |out, it| it.write(out, version))?;
        if flexible {
            out.varint(self.unknown_tagged_fields.len() as u32);
            for (tag, value) in &self.unknown_tagged_fields {
                out.tagged(*tag as u32, value)?;
            }
        }
        Ok(())
    }

    fn read<B: ByteBuf>(input: &mut B, version: i16) -> Result<Self> {
        let flexible = version >= 8;
        let mut this = Self::default();
        if version >= 3 {
            this.throttle_time_ms = wire::int32(input)?;
        }
        this.topics = wire::some(wire::array(input, flexible, |input| OffsetCommitResponseTopic::read(input, version))?)?;
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
pub struct OffsetCommitResponseTopic {
    /// Versions 2 to 9.
    pub name: TopicName,
    /// Versions 10.
    pub topic_id: Uuid,
    /// Versions 2 to 10.
    pub partitions: Vec<OffsetCommitResponsePartition>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl OffsetCommitResponseTopic {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 8;
        if version <= 9 {
            out.string(Some(&self.name), flexible)?;
        }
        if version >= 10 {
            out.put(self.topic_id.as_bytes());
        }
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
        let flexible = version >= 8;
        let mut this = Self::default();
        if version <= 9 {
            this.name = wire::some(wire::string(input, flexible)?.map(TopicName))?;
        }
        if version >= 10 {
            this.topic_id = wire::uuid(input)?;
        }
        this.partitions = wire::some(wire::array(input, flexible, |input| OffsetCommitResponsePartition::read(input, version))?)?;
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
pub struct OffsetCommitResponsePartition {
    /// Versions 2 to 10.
    pub partition_index: i32,
    /// Versions 2 to 10.
    pub error_code: i16,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl OffsetCommitResponsePartition {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 8;
        out.put(&self.partition_index.to_be_bytes());
        out.put(&self.error_code.to_be_bytes());
        if flexible {
            out.varint(self.unknown_tagged_fields.len() as u32);
            for (tag, value) in &self.unknown_tagged_fields {
                out.tagged(*tag as u32, value)?;
            }
        }
        Ok(())
    }

    fn read<B: ByteBuf>(input: &mut B, version: i16) -> Result<Self> {
        let flexible = version >= 8;
        let mut this = Self::default();
        this.partition_index = wire::int32(input)?;
        this.error_code = wire::int16(input)?;
        if flexible {
            for _ in 0..wire::varint(input)? {
                let (tag, value) = wire::tagged(input)?;
                this.unknown_tagged_fields.insert(tag as i32, value);
            }
        }
        Ok(this)
    }
}

impl Message for OffsetCommitResponse {
    const VERSIONS: VersionRange = VersionRange { min: 2, max: 10 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for OffsetCommitResponse {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("OffsetCommitResponse", version, 2, 10)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("OffsetCommitResponse", version, 2, 10)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for OffsetCommitResponse {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("OffsetCommitResponse", version, 2, 10)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for OffsetCommitResponse {
    fn header_version(version: i16) -> i16 {
        i16::from(version >= 8)
    }
}
