//! WriteShareGroupStateRequest, versions 0 to 1.
//!
//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes, VersionRange};
use uuid::Uuid;

use crate::protocol::messages::wire::{self, Count, Out, Sink};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct WriteShareGroupStateRequest {
    /// Versions 0 to 1.
    pub group_id: StrBytes,
    /// Versions 0 to 1.
    pub topics: Vec<WriteStateData>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl WriteShareGroupStateRequest {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.string(Some(&self.group_id), flexible)?;
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
        let flexible = true;
        let mut this = Self::default();
        this.group_id = wire::some(wire::string(input, flexible)?)?;
        this.topics = wire::some(wire::array(input, flexible, |input| WriteStateData::read(input, version))?)?;
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
pub struct WriteStateData {
    /// Versions 0 to 1.
    pub topic_id: Uuid,
    /// Versions 0 to 1.
    pub partitions: Vec<PartitionData>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl WriteStateData {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
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
        this.topic_id = wire::uuid(input)?;
        this.partitions = wire::some(wire::array(input, flexible, |input| PartitionData::read(input, version))?)?;
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
pub struct PartitionData {
    /// Versions 0 to 1.
    pub partition: i32,
    /// Versions 0 to 1.
    pub state_epoch: i32,
    /// Versions 0 to 1.
    pub leader_epoch: i32,
    /// Versions 0 to 1.
    pub start_offset: i64,
    /// Versions 1.
    pub delivery_complete_count: i32,
    /// Versions 0 to 1.
    pub state_batches: Vec<StateBatch>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Default for PartitionData {
    fn default() -> Self {
        Self {
            partition: Default::default(),
            state_epoch: Default::default(),
            leader_epoch: Default::default(),
            start_offset: Default::default(),
            delivery_complete_count: -1,
            state_batches: Default::default(),
            unknown_tagged_fields: BTreeMap::new(),
        }
    }
}

impl PartitionData {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.put(&self.partition.to_be_bytes());
        out.put(&self.state_epoch.to_be_bytes());
        out.put(&self.leader_epoch.to_be_bytes());
        out.put(&self.start_offset.to_be_bytes());
        if version >= 1 {
            out.put(&self.delivery_complete_count.to_be_bytes());
        }
        out.array(Some(&self.state_batches), flexible, |out, it| it.write(out, version))?;
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
        this.partition = wire::int32(input)?;
        this.state_epoch = wire::int32(input)?;
        this.leader_epoch = wire::int32(input)?;
        this.start_offset = wire::int64(input)?;
        if version >= 1 {
            this.delivery_complete_count = wire::int32(input)?;
        }
        this.state_batches = wire::some(wire::array(input, flexible, |input| StateBatch::read(input, version))?)?;
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
pub struct StateBatch {
    /// Versions 0 to 1.
    pub first_offset: i64,
    /// Versions 0 to 1.
    pub last_offset: i64,
    /// Versions 0 to 1.
    pub delivery_state: i8,
    /// Versions 0 to 1.
    pub delivery_count: i16,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl StateBatch {
    fn write<S: Sink>(&self, out: &mut S, _version: i16) -> Result<()> {
        let flexible = true;
        out.put(&self.first_offset.to_be_bytes());
        out.put(&self.last_offset.to_be_bytes());
        out.put(&self.delivery_state.to_be_bytes());
        out.put(&self.delivery_count.to_be_bytes());
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
        this.first_offset = wire::int64(input)?;
        this.last_offset = wire::int64(input)?;
        this.delivery_state = wire::int8(input)?;
        this.delivery_count = wire::int16(input)?;
        if flexible {
            for _ in 0..wire::varint(input)? {
                let (tag, value) = wire::tagged(input)?;
                this.unknown_tagged_fields.insert(tag as i32, value);
            }
        }
        Ok(this)
    }
}

impl Message for WriteShareGroupStateRequest {
    const VERSIONS: VersionRange = VersionRange { min: 0, max: 1 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for WriteShareGroupStateRequest {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("WriteShareGroupStateRequest", version, 0, 1)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("WriteShareGroupStateRequest", version, 0, 1)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for WriteShareGroupStateRequest {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("WriteShareGroupStateRequest", version, 0, 1)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for WriteShareGroupStateRequest {
    fn header_version(_: i16) -> i16 {
        2
    }
}

impl Request for WriteShareGroupStateRequest {
    const KEY: i16 = 85;
    type Response = super::write_share_group_state_response::WriteShareGroupStateResponse;
}
