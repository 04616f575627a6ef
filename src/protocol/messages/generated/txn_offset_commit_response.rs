//! TxnOffsetCommitResponse, versions 0 to 6.
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
pub struct TxnOffsetCommitResponse {
    /// Versions 0 to 6.
    pub throttle_time_ms: i32,
    /// Versions 0 to 6.
    pub topics: Vec<TxnOffsetCommitResponseTopic>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl TxnOffsetCommitResponse {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 3;
        out.put(&self.throttle_time_ms.to_be_bytes());
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
        let flexible = version >= 3;
        let mut this = Self::default();
        this.throttle_time_ms = wire::int32(input)?;
        this.topics = wire::some(wire::array(input, flexible, |input| TxnOffsetCommitResponseTopic::read(input, version))?)?;
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
pub struct TxnOffsetCommitResponseTopic {
    /// Versions 0 to 5.
    pub name: TopicName,
    /// Versions 6.
    pub topic_id: Uuid,
    /// Versions 0 to 6.
    pub partitions: Vec<TxnOffsetCommitResponsePartition>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl TxnOffsetCommitResponseTopic {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 3;
        if version <= 5 {
            out.string(Some(&self.name), flexible)?;
        }
        if version >= 6 {
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
        let flexible = version >= 3;
        let mut this = Self::default();
        if version <= 5 {
            this.name = wire::some(wire::string(input, flexible)?.map(TopicName))?;
        }
        if version >= 6 {
            this.topic_id = wire::uuid(input)?;
        }
        this.partitions = wire::some(wire::array(input, flexible, |input| TxnOffsetCommitResponsePartition::read(input, version))?)?;
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
pub struct TxnOffsetCommitResponsePartition {
    /// Versions 0 to 6.
    pub partition_index: i32,
    /// Versions 0 to 6.
    pub error_code: i16,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl TxnOffsetCommitResponsePartition {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 3;
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
        let flexible = version >= 3;
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

impl Message for TxnOffsetCommitResponse {
    const VERSIONS: VersionRange = VersionRange { min: 0, max: 6 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for TxnOffsetCommitResponse {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("TxnOffsetCommitResponse", version, 0, 6)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("TxnOffsetCommitResponse", version, 0, 6)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for TxnOffsetCommitResponse {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("TxnOffsetCommitResponse", version, 0, 6)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for TxnOffsetCommitResponse {
    fn header_version(version: i16) -> i16 {
        i16::from(version >= 3)
    }
}
