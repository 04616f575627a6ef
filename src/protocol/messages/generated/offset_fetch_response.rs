//! OffsetFetchResponse, versions 1 to 10.
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
use crate::protocol::messages::wire::unavailable;

#[derive(Debug, Clone, PartialEq, Default)]
pub struct OffsetFetchResponse {
    /// Versions 3 to 10.
    pub throttle_time_ms: i32,
    /// Versions 1 to 7.
    pub topics: Vec<OffsetFetchResponseTopic>,
    /// Versions 2 to 7.
    pub error_code: i16,
    /// Versions 8 to 10.
    pub groups: Vec<OffsetFetchResponseGroup>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl OffsetFetchResponse {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 6;
        if version >= 3 {
            out.put(&self.throttle_time_ms.to_be_bytes());
        }
        if version <= 7 {
            out.array(Some(&self.topics), flexible, |out, it| it.write(out, version))?;
        } else if !self.topics.is_empty() {
            return Err(unavailable("topics", version));
        }
        if (2..=7).contains(&version) {
            out.put(&self.error_code.to_be_bytes());
        }
        if version >= 8 {
            out.array(Some(&self.groups), flexible, |out, it| it.write(out, version))?;
        } else if !self.groups.is_empty() {
            return Err(unavailable("groups", version));
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
        if version >= 3 {
            this.throttle_time_ms = wire::int32(input)?;
        }
        if version <= 7 {
            this.topics = wire::some(wire::array(input, flexible, |input| OffsetFetchResponseTopic::read(input, version))?)?;
        }
        if (2..=7).contains(&version) {
            this.error_code = wire::int16(input)?;
        }
        if version >= 8 {
            this.groups = wire::some(wire::array(input, flexible, |input| OffsetFetchResponseGroup::read(input, version))?)?;
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
pub struct OffsetFetchResponseTopic {
    /// Versions 1 to 7.
    pub name: TopicName,
    /// Versions 1 to 7.
    pub partitions: Vec<OffsetFetchResponsePartition>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl OffsetFetchResponseTopic {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 6;
        if version <= 7 {
            out.string(Some(&self.name), flexible)?;
        } else if !self.name.is_empty() {
            return Err(unavailable("name", version));
        }
        if version <= 7 {
            out.array(Some(&self.partitions), flexible, |out, it| it.write(out, version))?;
        } else if !self.partitions.is_empty() {
            return Err(unavailable("partitions", version));
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
        if version <= 7 {
            this.name = wire::some(wire::string(input, flexible)?.map(TopicName))?;
        }
        if version <= 7 {
            this.partitions = wire::some(wire::array(input, flexible, |input| OffsetFetchResponsePartition::read(input, version))?)?;
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

#[derive(Debug, Clone, PartialEq)]
pub struct OffsetFetchResponsePartition {
    /// Versions 1 to 7.
    pub partition_index: i32,
    /// Versions 1 to 7.
    pub committed_offset: i64,
    /// Versions 5 to 7.
    pub committed_leader_epoch: i32,
    /// Versions 1 to 7; may be null.
    pub metadata: Option<StrBytes>,
    /// Versions 1 to 7.
    pub error_code: i16,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Default for OffsetFetchResponsePartition {
    fn default() -> Self {
        Self {
            partition_index: Default::default(),
            committed_offset: Default::default(),
            committed_leader_epoch: -1,
            metadata: Some(Default::default()),
            error_code: Default::default(),
            unknown_tagged_fields: BTreeMap::new(),
        }
    }
}

impl OffsetFetchResponsePartition {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 6;
        if version <= 7 {
            out.put(&self.partition_index.to_be_bytes());
        } else if self.partition_index != 0 {
            return Err(unavailable("partition_index", version));
        }
        if version <= 7 {
            out.put(&self.committed_offset.to_be_bytes());
        } else if self.committed_offset != 0 {
            return Err(unavailable("committed_offset", version));
        }
        if (5..=7).contains(&version) {
            out.put(&self.committed_leader_epoch.to_be_bytes());
        }
        if version <= 7 {
            out.string(self.metadata.as_ref(), flexible)?;
        } else if self.metadata.as_ref().is_none_or(|it| !it.is_empty()) {
            return Err(unavailable("metadata", version));
        }
        if version <= 7 {
            out.put(&self.error_code.to_be_bytes());
        } else if self.error_code != 0 {
            return Err(unavailable("error_code", version));
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
        if version <= 7 {
            this.partition_index = wire::int32(input)?;
        }
        if version <= 7 {
            this.committed_offset = wire::int64(input)?;
        }
        if (5..=7).contains(&version) {
            this.committed_leader_epoch = wire::int32(input)?;
        }
        if version <= 7 {
            this.metadata = wire::string(input, flexible)?;
        }
        if version <= 7 {
            this.error_code = wire::int16(input)?;
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
pub struct OffsetFetchResponseGroup {
    /// Versions 8 to 10.
    pub group_id: GroupId,
    /// Versions 8 to 10.
    pub topics: Vec<OffsetFetchResponseTopics>,
    /// Versions 8 to 10.
    pub error_code: i16,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl OffsetFetchResponseGroup {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 6;
        if version >= 8 {
            out.string(Some(&self.group_id), flexible)?;
        } else if !self.group_id.is_empty() {
            return Err(unavailable("group_id", version));
        }
        if version >= 8 {
            out.array(Some(&self.topics), flexible, |out, it| it.write(out, version))?;
        } else if !self.topics.is_empty() {
            return Err(unavailable("topics", version));
        }
        if version >= 8 {
            out.put(&self.error_code.to_be_bytes());
        } else if self.error_code != 0 {
            return Err(unavailable("error_code", version));
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
        if version >= 8 {
            this.group_id = wire::some(wire::string(input, flexible)?.map(GroupId))?;
        }
        if version >= 8 {
            this.topics = wire::some(wire::array(input, flexible, |input| OffsetFetchResponseTopics::read(input, version))?)?;
        }
        if version >= 8 {
            this.error_code = wire::int16(input)?;
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
pub struct OffsetFetchResponseTopics {
    /// Versions 8 to 9.
    pub name: TopicName,
    /// Versions 10.
    pub topic_id: Uuid,
    /// Versions 8 to 10.
    pub partitions: Vec<OffsetFetchResponsePartitions>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl OffsetFetchResponseTopics {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 6;
        if (8..=9).contains(&version) {
            out.string(Some(&self.name), flexible)?;
        }
        if version >= 10 {
            out.put(self.topic_id.as_bytes());
        }
        if version >= 8 {
            out.array(Some(&self.partitions), flexible, |out, it| it.write(out, version))?;
        } else if !self.partitions.is_empty() {
            return Err(unavailable("partitions", version));
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
        if (8..=9).contains(&version) {
            this.name = wire::some(wire::string(input, flexible)?.map(TopicName))?;
        }
        if version >= 10 {
            this.topic_id = wire::uuid(input)?;
        }
        if version >= 8 {
            this.partitions = wire::some(wire::array(input, flexible, |input| OffsetFetchResponsePartitions::read(input, version))?)?;
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

#[derive(Debug, Clone, PartialEq)]
pub struct OffsetFetchResponsePartitions {
    /// Versions 8 to 10.
    pub partition_index: i32,
    /// Versions 8 to 10.
    pub committed_offset: i64,
    /// Versions 8 to 10.
    pub committed_leader_epoch: i32,
    /// Versions 8 to 10; may be null.
    pub metadata: Option<StrBytes>,
    /// Versions 8 to 10.
    pub error_code: i16,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Default for OffsetFetchResponsePartitions {
    fn default() -> Self {
        Self {
            partition_index: Default::default(),
            committed_offset: Default::default(),
            committed_leader_epoch: -1,
            metadata: Some(Default::default()),
            error_code: Default::default(),
            unknown_tagged_fields: BTreeMap::new(),
        }
    }
}

impl OffsetFetchResponsePartitions {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 6;
        if version >= 8 {
            out.put(&self.partition_index.to_be_bytes());
        } else if self.partition_index != 0 {
            return Err(unavailable("partition_index", version));
        }
        if version >= 8 {
            out.put(&self.committed_offset.to_be_bytes());
        } else if self.committed_offset != 0 {
            return Err(unavailable("committed_offset", version));
        }
        if version >= 8 {
            out.put(&self.committed_leader_epoch.to_be_bytes());
        }
        if version >= 8 {
            out.string(self.metadata.as_ref(), flexible)?;
        } else if self.metadata.as_ref().is_none_or(|it| !it.is_empty()) {
            return Err(unavailable("metadata", version));
        }
        if version >= 8 {
            out.put(&self.error_code.to_be_bytes());
        } else if self.error_code != 0 {
            return Err(unavailable("error_code", version));
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
        if version >= 8 {
            this.partition_index = wire::int32(input)?;
        }
        if version >= 8 {
            this.committed_offset = wire::int64(input)?;
        }
        if version >= 8 {
            this.committed_leader_epoch = wire::int32(input)?;
        }
        if version >= 8 {
            this.metadata = wire::string(input, flexible)?;
        }
        if version >= 8 {
            this.error_code = wire::int16(input)?;
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

impl Message for OffsetFetchResponse {
    const VERSIONS: VersionRange = VersionRange { min: 1, max: 10 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for OffsetFetchResponse {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("OffsetFetchResponse", version, 1, 10)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("OffsetFetchResponse", version, 1, 10)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for OffsetFetchResponse {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("OffsetFetchResponse", version, 1, 10)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for OffsetFetchResponse {
    fn header_version(version: i16) -> i16 {
        i16::from(version >= 6)
    }
}
