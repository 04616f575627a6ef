//! OffsetCommitRequest, versions 2 to 10.
//!
//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes, VersionRange};
use kafka_protocol::messages::{GroupId, TopicName};
use uuid::Uuid;

use crate::protocol::messages::wire::{self, Count, Out, Sink};
use crate::protocol::messages::wire::unavailable;

#[derive(Debug, Clone, PartialEq)]
pub struct OffsetCommitRequest {
    /// Versions 2 to 10.
    pub group_id: GroupId,
    /// Versions 2 to 10.
    pub generation_id_or_member_epoch: i32,
    /// Versions 2 to 10.
    pub member_id: StrBytes,
    /// Versions 7 to 10; may be null.
    pub group_instance_id: Option<StrBytes>,
    /// Versions 2 to 4.
    pub retention_time_ms: i64,
    /// Versions 2 to 10.
    pub topics: Vec<OffsetCommitRequestTopic>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Default for OffsetCommitRequest {
    fn default() -> Self {
        Self {
            group_id: Default::default(),
            generation_id_or_member_epoch: -1,
            member_id: Default::default(),
            group_instance_id: None,
            retention_time_ms: -1,
            topics: Default::default(),
            unknown_tagged_fields: BTreeMap::new(),
        }
    }
}

impl OffsetCommitRequest {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 8;
        out.string(Some(&self.group_id), flexible)?;
        out.put(&self.generation_id_or_member_epoch.to_be_bytes());
        out.string(Some(&self.member_id), flexible)?;
        if version >= 7 {
            out.string(self.group_instance_id.as_ref(), flexible)?;
        } else if self.group_instance_id.is_some() {
            return Err(unavailable("group_instance_id", version));
        }
        if version <= 4 {
            out.put(&self.retention_time_ms.to_be_bytes());
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
        this.group_id = wire::some(wire::string(input, flexible)?.map(GroupId))?;
        this.generation_id_or_member_epoch = wire::int32(input)?;
        this.member_id = wire::some(wire::string(input, flexible)?)?;
        if version >= 7 {
            this.group_instance_id = wire::string(input, flexible)?;
        }
        if version <= 4 {
            this.retention_time_ms = wire::int64(input)?;
        }
        this.topics = wire::some(wire::array(input, flexible, |input| OffsetCommitRequestTopic::read(input, version))?)?;
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
pub struct OffsetCommitRequestTopic {
    /// Versions 2 to 9.
    pub name: TopicName,
    /// Versions 10.
    pub topic_id: Uuid,
    /// Versions 2 to 10.
    pub partitions: Vec<OffsetCommitRequestPartition>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl OffsetCommitRequestTopic {
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
        this.partitions = wire::some(wire::array(input, flexible, |input| OffsetCommitRequestPartition::read(input, version))?)?;
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
pub struct OffsetCommitRequestPartition {
    /// Versions 2 to 10.
    pub partition_index: i32,
    /// Versions 2 to 10.
    pub committed_offset: i64,
    /// Versions 6 to 10.
    pub committed_leader_epoch: i32,
    /// Versions 2 to 10; may be null.
    pub committed_metadata: Option<StrBytes>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Default for OffsetCommitRequestPartition {
    fn default() -> Self {
        Self {
            partition_index: Default::default(),
            committed_offset: Default::default(),
            committed_leader_epoch: -1,
            committed_metadata: Some(Default::default()),
            unknown_tagged_fields: BTreeMap::new(),
        }
    }
}

impl OffsetCommitRequestPartition {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 8;
        out.put(&self.partition_index.to_be_bytes());
        out.put(&self.committed_offset.to_be_bytes());
        if version >= 6 {
            out.put(&self.committed_leader_epoch.to_be_bytes());
        }
        out.string(self.committed_metadata.as_ref(), flexible)?;
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
        this.committed_offset = wire::int64(input)?;
        if version >= 6 {
            this.committed_leader_epoch = wire::int32(input)?;
        }
        this.committed_metadata = wire::string(input, flexible)?;
        if flexible {
            for _ in 0..wire::varint(input)? {
                let (tag, value) = wire::tagged(input)?;
                this.unknown_tagged_fields.insert(tag as i32, value);
            }
        }
        Ok(this)
    }
}

impl Message for OffsetCommitRequest {
    const VERSIONS: VersionRange = VersionRange { min: 2, max: 10 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for OffsetCommitRequest {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("OffsetCommitRequest", version, 2, 10)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("OffsetCommitRequest", version, 2, 10)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for OffsetCommitRequest {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("OffsetCommitRequest", version, 2, 10)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for OffsetCommitRequest {
    fn header_version(version: i16) -> i16 {
        if version >= 8 { 2 } else { 1 }
    }
}

impl Request for OffsetCommitRequest {
    const KEY: i16 = 8;
    type Response = super::offset_commit_response::OffsetCommitResponse;
}
