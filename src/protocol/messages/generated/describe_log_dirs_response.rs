//! DescribeLogDirsResponse, versions 1 to 5.
//!
//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, StrBytes, VersionRange};
use kafka_protocol::messages::{TopicName};

use crate::protocol::messages::wire::{self, Count, Out, Sink};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct DescribeLogDirsResponse {
    /// Versions 1 to 5.
    pub throttle_time_ms: i32,
    /// Versions 3 to 5.
    pub error_code: i16,
    /// Versions 1 to 5.
    pub results: Vec<DescribeLogDirsResult>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl DescribeLogDirsResponse {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 2;
        out.put(&self.throttle_time_ms.to_be_bytes());
        if version >= 3 {
            out.put(&self.error_code.to_be_bytes());
        }
        out.array(Some(&self.results), flexible, |out, it| it.write(out, version))?;
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
        this.throttle_time_ms = wire::int32(input)?;
        if version >= 3 {
            this.error_code = wire::int16(input)?;
        }
        this.results = wire::some(wire::array(input, flexible, |input| DescribeLogDirsResult::read(input, version))?)?;
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
pub struct DescribeLogDirsResult {
    /// Versions 1 to 5.
    pub error_code: i16,
    /// Versions 1 to 5.
    pub log_dir: StrBytes,
    /// Versions 1 to 5.
    pub topics: Vec<DescribeLogDirsTopic>,
    /// Versions 4 to 5.
    pub total_bytes: i64,
    /// Versions 4 to 5.
    pub usable_bytes: i64,
    /// Versions 5.
    pub is_cordoned: bool,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Default for DescribeLogDirsResult {
    fn default() -> Self {
        Self {
            error_code: Default::default(),
            log_dir: Default::default(),
            topics: Default::default(),
            total_bytes: -1,
            usable_bytes: -1,
            is_cordoned: Default::default(),
            unknown_tagged_fields: BTreeMap::new(),
        }
    }
}

impl DescribeLogDirsResult {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 2;
        out.put(&self.error_code.to_be_bytes());
        out.string(Some(&self.log_dir), flexible)?;
        out.array(Some(&self.topics), flexible, |out, it| it.write(out, version))?;
        if version >= 4 {
            out.put(&self.total_bytes.to_be_bytes());
        }
        if version >= 4 {
            out.put(&self.usable_bytes.to_be_bytes());
        }
        if version >= 5 {
            out.bool(self.is_cordoned);
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
        let flexible = version >= 2;
        let mut this = Self::default();
        this.error_code = wire::int16(input)?;
        this.log_dir = wire::some(wire::string(input, flexible)?)?;
        this.topics = wire::some(wire::array(input, flexible, |input| DescribeLogDirsTopic::read(input, version))?)?;
        if version >= 4 {
            this.total_bytes = wire::int64(input)?;
        }
        if version >= 4 {
            this.usable_bytes = wire::int64(input)?;
        }
        if version >= 5 {
            this.is_cordoned = wire::boolean(input)?;
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
pub struct DescribeLogDirsTopic {
    /// Versions 1 to 5.
    pub name: TopicName,
    /// Versions 1 to 5.
    pub partitions: Vec<DescribeLogDirsPartition>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl DescribeLogDirsTopic {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 2;
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
        let flexible = version >= 2;
        let mut this = Self::default();
        this.name = wire::some(wire::string(input, flexible)?.map(TopicName))?;
        this.partitions = wire::some(wire::array(input, flexible, |input| DescribeLogDirsPartition::read(input, version))?)?;
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
pub struct DescribeLogDirsPartition {
    /// Versions 1 to 5.
    pub partition_index: i32,
    /// Versions 1 to 5.
    pub partition_size: i64,
    /// Versions 1 to 5.
    pub offset_lag: i64,
    /// Versions 1 to 5.
    pub is_future_key: bool,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl DescribeLogDirsPartition {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 2;
        out.put(&self.partition_index.to_be_bytes());
        out.put(&self.partition_size.to_be_bytes());
        out.put(&self.offset_lag.to_be_bytes());
        out.bool(self.is_future_key);
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
        this.partition_index = wire::int32(input)?;
        this.partition_size = wire::int64(input)?;
        this.offset_lag = wire::int64(input)?;
        this.is_future_key = wire::boolean(input)?;
        if flexible {
            for _ in 0..wire::varint(input)? {
                let (tag, value) = wire::tagged(input)?;
                this.unknown_tagged_fields.insert(tag as i32, value);
            }
        }
        Ok(this)
    }
}

impl Message for DescribeLogDirsResponse {
    const VERSIONS: VersionRange = VersionRange { min: 1, max: 5 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for DescribeLogDirsResponse {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("DescribeLogDirsResponse", version, 1, 5)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("DescribeLogDirsResponse", version, 1, 5)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for DescribeLogDirsResponse {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("DescribeLogDirsResponse", version, 1, 5)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for DescribeLogDirsResponse {
    fn header_version(version: i16) -> i16 {
        i16::from(version >= 2)
    }
}
