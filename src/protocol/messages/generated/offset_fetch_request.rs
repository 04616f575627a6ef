//! OffsetFetchRequest, versions 1 to 10.
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
pub struct OffsetFetchRequest {
    /// Versions 1 to 7.
    pub group_id: GroupId,
    /// Versions 1 to 7; may be null in 2 to 7.
    pub topics: Option<Vec<OffsetFetchRequestTopic>>,
    /// Versions 8 to 10.
    pub groups: Vec<OffsetFetchRequestGroup>,
    /// Versions 7 to 10.
    pub require_stable: bool,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Default for OffsetFetchRequest {
    fn default() -> Self {
        Self {
            group_id: Default::default(),
            topics: Some(Default::default()),
            groups: Default::default(),
            require_stable: Default::default(),
            unknown_tagged_fields: BTreeMap::new(),
        }
    }
}

impl OffsetFetchRequest {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 6;
        if version <= 7 {
            out.string(Some(&self.group_id), flexible)?;
        } else if !self.group_id.is_empty() {
            return Err(unavailable("group_id", version));
        }
        if version <= 7 {
            wire::check_null(self.topics.is_none(), version >= 2, "topics")?;
            out.array(self.topics.as_deref(), flexible, |out, it| it.write(out, version))?;
        } else if self.topics.as_ref().is_none_or(|it| !it.is_empty()) {
            return Err(unavailable("topics", version));
        }
        if version >= 8 {
            out.array(Some(&self.groups), flexible, |out, it| it.write(out, version))?;
        } else if !self.groups.is_empty() {
            return Err(unavailable("groups", version));
        }
        if version >= 7 {
            out.bool(self.require_stable);
        } else if self.require_stable {
            return Err(unavailable("require_stable", version));
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
            this.group_id = wire::some(wire::string(input, flexible)?.map(GroupId))?;
        }
        if version <= 7 {
            this.topics = wire::array(input, flexible, |input| OffsetFetchRequestTopic::read(input, version))?;
            wire::check_null(this.topics.is_none(), version >= 2, "topics")?;
        }
        if version >= 8 {
            this.groups = wire::some(wire::array(input, flexible, |input| OffsetFetchRequestGroup::read(input, version))?)?;
        }
        if version >= 7 {
            this.require_stable = wire::boolean(input)?;
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
pub struct OffsetFetchRequestTopic {
    /// Versions 1 to 7.
    pub name: TopicName,
    /// Versions 1 to 7.
    pub partition_indexes: Vec<i32>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl OffsetFetchRequestTopic {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 6;
        if version <= 7 {
            out.string(Some(&self.name), flexible)?;
        } else if !self.name.is_empty() {
            return Err(unavailable("name", version));
        }
        if version <= 7 {
            out.array(Some(&self.partition_indexes), flexible, |out, it| { out.put(&it.to_be_bytes()); Ok(()) })?;
        } else if !self.partition_indexes.is_empty() {
            return Err(unavailable("partition_indexes", version));
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
            this.partition_indexes = wire::some(wire::array(input, flexible, |input| wire::int32(input))?)?;
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
pub struct OffsetFetchRequestGroup {
    /// Versions 8 to 10.
    pub group_id: GroupId,
    /// Versions 9 to 10; may be null.
    pub member_id: Option<StrBytes>,
    /// Versions 9 to 10.
    pub member_epoch: i32,
    /// Versions 8 to 10; may be null.
    pub topics: Option<Vec<OffsetFetchRequestTopics>>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Default for OffsetFetchRequestGroup {
    fn default() -> Self {
        Self {
            group_id: Default::default(),
            member_id: None,
            member_epoch: -1,
            topics: Some(Default::default()),
            unknown_tagged_fields: BTreeMap::new(),
        }
    }
}

impl OffsetFetchRequestGroup {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 6;
        if version >= 8 {
            out.string(Some(&self.group_id), flexible)?;
        } else if !self.group_id.is_empty() {
            return Err(unavailable("group_id", version));
        }
        if version >= 9 {
            out.string(self.member_id.as_ref(), flexible)?;
        }
        if version >= 9 {
            out.put(&self.member_epoch.to_be_bytes());
        }
        if version >= 8 {
            out.array(self.topics.as_deref(), flexible, |out, it| it.write(out, version))?;
        } else if self.topics.as_ref().is_none_or(|it| !it.is_empty()) {
            return Err(unavailable("topics", version));
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
        if version >= 9 {
            this.member_id = wire::string(input, flexible)?;
        }
        if version >= 9 {
            this.member_epoch = wire::int32(input)?;
        }
        if version >= 8 {
            this.topics = wire::array(input, flexible, |input| OffsetFetchRequestTopics::read(input, version))?;
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
pub struct OffsetFetchRequestTopics {
    /// Versions 8 to 9.
    pub name: TopicName,
    /// Versions 10.
    pub topic_id: Uuid,
    /// Versions 8 to 10.
    pub partition_indexes: Vec<i32>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl OffsetFetchRequestTopics {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 6;
        if (8..=9).contains(&version) {
            out.string(Some(&self.name), flexible)?;
        }
        if version >= 10 {
            out.put(self.topic_id.as_bytes());
        }
        if version >= 8 {
            out.array(Some(&self.partition_indexes), flexible, |out, it| { out.put(&it.to_be_bytes()); Ok(()) })?;
        } else if !self.partition_indexes.is_empty() {
            return Err(unavailable("partition_indexes", version));
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
            this.partition_indexes = wire::some(wire::array(input, flexible, |input| wire::int32(input))?)?;
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

impl Message for OffsetFetchRequest {
    const VERSIONS: VersionRange = VersionRange { min: 1, max: 10 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for OffsetFetchRequest {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("OffsetFetchRequest", version, 1, 10)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("OffsetFetchRequest", version, 1, 10)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for OffsetFetchRequest {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("OffsetFetchRequest", version, 1, 10)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for OffsetFetchRequest {
    fn header_version(version: i16) -> i16 {
        if version >= 6 { 2 } else { 1 }
    }
}

impl Request for OffsetFetchRequest {
    const KEY: i16 = 9;
    type Response = super::offset_fetch_response::OffsetFetchResponse;
}
