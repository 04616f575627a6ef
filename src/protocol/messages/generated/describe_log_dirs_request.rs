//! DescribeLogDirsRequest, versions 1 to 5.
//!
//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, VersionRange};
use kafka_protocol::messages::{TopicName};

use crate::protocol::messages::wire::{self, Count, Out, Sink};

#[derive(Debug, Clone, PartialEq)]
pub struct DescribeLogDirsRequest {
    /// Versions 1 to 5; may be null.
    pub topics: Option<Vec<DescribableLogDirTopic>>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Default for DescribeLogDirsRequest {
    fn default() -> Self {
        Self {
            topics: Some(Default::default()),
            unknown_tagged_fields: BTreeMap::new(),
        }
    }
}

impl DescribeLogDirsRequest {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 2;
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
        let flexible = version >= 2;
        let mut this = Self::default();
        this.topics = wire::array(input, flexible, |input| DescribableLogDirTopic::read(input, version))?;
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
pub struct DescribableLogDirTopic {
    /// Versions 1 to 5.
    pub topic: TopicName,
    /// Versions 1 to 5.
    pub partitions: Vec<i32>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl DescribableLogDirTopic {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 2;
        out.string(Some(&self.topic), flexible)?;
        out.array(Some(&self.partitions), flexible, |out, it| { out.put(&it.to_be_bytes()); Ok(()) })?;
        if flexible {
            out.varint(self.unknown_tagged_fields.len() as u32);
            for (tag, value) in &self.unknown_tagged_fields {
                out.tagged(*tag as u32, value)?;
            }
        }
        Ok(())
    }

    fn read<B: ByteBuf>(input: &mut B, version: i16) -> Result<Self> {
        let flexible = version >= 2;
        let mut this = Self::default();
        this.topic = wire::some(wire::string(input, flexible)?.map(TopicName))?;
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

impl Message for DescribeLogDirsRequest {
    const VERSIONS: VersionRange = VersionRange { min: 1, max: 5 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for DescribeLogDirsRequest {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("DescribeLogDirsRequest", version, 1, 5)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("DescribeLogDirsRequest", version, 1, 5)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for DescribeLogDirsRequest {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("DescribeLogDirsRequest", version, 1, 5)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for DescribeLogDirsRequest {
    fn header_version(version: i16) -> i16 {
        if version >= 2 { 2 } else { 1 }
    }
}

impl Request for DescribeLogDirsRequest {
    const KEY: i16 = 35;
    type Response = super::describe_log_dirs_response::DescribeLogDirsResponse;
}
