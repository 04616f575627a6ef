//! DescribeShareGroupOffsetsRequest, versions 0 to 1.
//!
//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, VersionRange};
use kafka_protocol::messages::{GroupId, TopicName};

use crate::protocol::messages::wire::{self, Count, Out, Sink};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct DescribeShareGroupOffsetsRequest {
    /// Versions 0 to 1.
    pub groups: Vec<DescribeShareGroupOffsetsRequestGroup>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl DescribeShareGroupOffsetsRequest {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
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
        this.groups = wire::some(wire::array(input, flexible, |input| DescribeShareGroupOffsetsRequestGroup::read(input, version))?)?;
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
pub struct DescribeShareGroupOffsetsRequestGroup {
    /// Versions 0 to 1.
    pub group_id: GroupId,
    /// Versions 0 to 1; may be null.
    pub topics: Option<Vec<DescribeShareGroupOffsetsRequestTopic>>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Default for DescribeShareGroupOffsetsRequestGroup {
    fn default() -> Self {
        Self {
            group_id: Default::default(),
            topics: Some(Default::default()),
            unknown_tagged_fields: BTreeMap::new(),
        }
    }
}

impl DescribeShareGroupOffsetsRequestGroup {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.string(Some(&self.group_id), flexible)?;
        out.array(self.topics.as_deref(), flexible, |out, it| it.write(out, version))?;
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
        this.topics = wire::array(input, flexible, |input| DescribeShareGroupOffsetsRequestTopic::read(input, version))?;
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
pub struct DescribeShareGroupOffsetsRequestTopic {
    /// Versions 0 to 1.
    pub topic_name: TopicName,
    /// Versions 0 to 1.
    pub partitions: Vec<i32>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl DescribeShareGroupOffsetsRequestTopic {
    fn write<S: Sink>(&self, out: &mut S, _version: i16) -> Result<()> {
        let flexible = true;
        out.string(Some(&self.topic_name), flexible)?;
        out.array(Some(&self.partitions), flexible, |out, it| { out.put(&it.to_be_bytes()); Ok(()) })?;
        if flexible {
            out.varint(self.unknown_tagged_fields.len() as u32);
            for (tag, value) in &self.unknown_tagged_fields {
                out.tagged(*tag as u32, value)?;
            }
        }
        Ok(())
    }

    fn read<B: ByteBuf>(input: &mut B, _version: i16) -> Result<Self> {
        let flexible = true;
        let mut this = Self::default();
        this.topic_name = wire::some(wire::string(input, flexible)?.map(TopicName))?;
        this.partitions = wire::some(wire::array(input, flexible, |input| wire::int32(input))?)?;
        if flexible {
            for _ in 0..wire::varint(input)? {
                let (tag, value) = wire::tagged(input)?;
                this.unknown_tagged_fields.insert(tag as i32, value);
            }
        }
        Ok(this)
    }
}

impl Message for DescribeShareGroupOffsetsRequest {
    const VERSIONS: VersionRange = VersionRange { min: 0, max: 1 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for DescribeShareGroupOffsetsRequest {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("DescribeShareGroupOffsetsRequest", version, 0, 1)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("DescribeShareGroupOffsetsRequest", version, 0, 1)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for DescribeShareGroupOffsetsRequest {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("DescribeShareGroupOffsetsRequest", version, 0, 1)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for DescribeShareGroupOffsetsRequest {
    fn header_version(_: i16) -> i16 {
        2
    }
}

impl Request for DescribeShareGroupOffsetsRequest {
    const KEY: i16 = 90;
    type Response = super::describe_share_group_offsets_response::DescribeShareGroupOffsetsResponse;
}
