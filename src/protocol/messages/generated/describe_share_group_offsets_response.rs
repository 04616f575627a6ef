//! DescribeShareGroupOffsetsResponse, versions 0 to 1.
//!
//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, StrBytes, VersionRange};
use kafka_protocol::messages::{GroupId, TopicName};
use uuid::Uuid;

use crate::protocol::messages::wire::{self, Count, Out, Sink};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct DescribeShareGroupOffsetsResponse {
    /// Versions 0 to 1.
    pub throttle_time_ms: i32,
    /// Versions 0 to 1.
    pub groups: Vec<DescribeShareGroupOffsetsResponseGroup>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl DescribeShareGroupOffsetsResponse {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.put(&self.throttle_time_ms.to_be_bytes());
        out.array(Some(&self.groups), flexible, |out, it| it.write(out, version))?;
        if flexible {
            out.varint(self.unknown_tagged_fields.len() as u32);
            for (tag, value) in &self.unknown_tagged_fields {
                out.tagged(*tag as u32, value)?;
            }
        }
        Ok(())
    }

    fn read<B: ByteBuf>(input: &mut B, version: i16) -> Result<Self> {
        let flexible = true;
        let mut this = Self::default();
        this.throttle_time_ms = wire::int32(input)?;
        this.groups = wire::some(wire::array(input, flexible, |input| DescribeShareGroupOffsetsResponseGroup::read(input, version))?)?;
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
pub struct DescribeShareGroupOffsetsResponseGroup {
    /// Versions 0 to 1.
    pub group_id: GroupId,
    /// Versions 0 to 1.
    pub topics: Vec<DescribeShareGroupOffsetsResponseTopic>,
    /// Versions 0 to 1.
    pub error_code: i16,
    /// Versions 0 to 1; may be null.
    pub error_message: Option<StrBytes>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl DescribeShareGroupOffsetsResponseGroup {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.string(Some(&self.group_id), flexible)?;
        out.array(Some(&self.topics), flexible, |out, it| it.write(out, version))?;
        out.put(&self.error_code.to_be_bytes());
        out.string(self.error_message.as_ref(), flexible)?;
        if flexible {
            out.varint(self.unknown_tagged_fields.len() as u32);
            for (tag, value) in &self.unknown_tagged_fields {
                out.tagged(*tag as u32, value)?;
            }
        }
        Ok(())
    }

    fn read<B: ByteBuf>(input: &mut B, version: i16) -> Result<Self> {
        let flexible = true;
        let mut this = Self::default();
        this.group_id = wire::some(wire::string(input, flexible)?.map(GroupId))?;
        this.topics = wire::some(wire::array(input, flexible, |input| DescribeShareGroupOffsetsResponseTopic::read(input, version))?)?;
        this.error_code = wire::int16(input)?;
        this.error_message = wire::string(input, flexible)?;
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
pub struct DescribeShareGroupOffsetsResponseTopic {
    /// Versions 0 to 1.
    pub topic_name: TopicName,
    /// Versions 0 to 1.
    pub topic_id: Uuid,
    /// Versions 0 to 1.
    pub partitions: Vec<DescribeShareGroupOffsetsResponsePartition>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl DescribeShareGroupOffsetsResponseTopic {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.string(Some(&self.topic_name), flexible)?;
        out.put(self.topic_id.as_bytes());
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
        let flexible = true;
        let mut this = Self::default();
        this.topic_name = wire::some(wire::string(input, flexible)?.map(TopicName))?;
        this.topic_id = wire::uuid(input)?;
        this.partitions = wire::some(wire::array(input, flexible, |input| DescribeShareGroupOffsetsResponsePartition::read(input, version))?)?;
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
pub struct DescribeShareGroupOffsetsResponsePartition {
    /// Versions 0 to 1.
    pub partition_index: i32,
    /// Versions 0 to 1.
    pub start_offset: i64,
    /// Versions 0 to 1.
    pub leader_epoch: i32,
    /// Versions 1.
    pub lag: i64,
    /// Versions 0 to 1.
    pub error_code: i16,
    /// Versions 0 to 1; may be null.
    pub error_message: Option<StrBytes>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Default for DescribeShareGroupOffsetsResponsePartition {
    fn default() -> Self {
        Self {
            partition_index: Default::default(),
            start_offset: Default::default(),
            leader_epoch: Default::default(),
            lag: -1,
            error_code: Default::default(),
            error_message: None,
            unknown_tagged_fields: BTreeMap::new(),
        }
    }
}

impl DescribeShareGroupOffsetsResponsePartition {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.put(&self.partition_index.to_be_bytes());
        out.put(&self.start_offset.to_be_bytes());
        out.put(&self.leader_epoch.to_be_bytes());
        if version >= 1 {
            out.put(&self.lag.to_be_bytes());
        }
        out.put(&self.error_code.to_be_bytes());
        out.string(self.error_message.as_ref(), flexible)?;
        if flexible {
            out.varint(self.unknown_tagged_fields.len() as u32);
            for (tag, value) in &self.unknown_tagged_fields {
                out.tagged(*tag as u32, value)?;
            }
        }
        Ok(())
    }

    fn read<B: ByteBuf>(input: &mut B, version: i16) -> Result<Self> {
        let flexible = true;
        let mut this = Self::default();
        this.partition_index = wire::int32(input)?;
        this.start_offset = wire::int64(input)?;
        this.leader_epoch = wire::int32(input)?;
        if version >= 1 {
            this.lag = wire::int64(input)?;
        }
        this.error_code = wire::int16(input)?;
        this.error_message = wire::string(input, flexible)?;
        if flexible {
            for _ in 0..wire::varint(input)? {
                let (tag, value) = wire::tagged(input)?;
                this.unknown_tagged_fields.insert(tag as i32, value);
            }
        }
        Ok(this)
    }
}

impl Message for DescribeShareGroupOffsetsResponse {
    const VERSIONS: VersionRange = VersionRange { min: 0, max: 1 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for DescribeShareGroupOffsetsResponse {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("DescribeShareGroupOffsetsResponse", version, 0, 1)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("DescribeShareGroupOffsetsResponse", version, 0, 1)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for DescribeShareGroupOffsetsResponse {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("DescribeShareGroupOffsetsResponse", version, 0, 1)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for DescribeShareGroupOffsetsResponse {
    fn header_version(_: i16) -> i16 {
        i16::from(true)
    }
}
