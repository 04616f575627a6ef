//! ShareAcknowledgeRequest, versions 1 to 2.
//!
//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes, VersionRange};
use kafka_protocol::messages::{GroupId};
use uuid::Uuid;

use crate::protocol::messages::wire::{self, Count, Out, Sink};
use crate::protocol::messages::wire::unavailable;

#[derive(Debug, Clone, PartialEq)]
pub struct ShareAcknowledgeRequest {
    /// Versions 1 to 2; may be null.
    pub group_id: Option<GroupId>,
    /// Versions 1 to 2; may be null.
    pub member_id: Option<StrBytes>,
    /// Versions 1 to 2.
    pub share_session_epoch: i32,
    /// Versions 2.
    pub is_renew_ack: bool,
    /// Versions 1 to 2.
    pub topics: Vec<AcknowledgeTopic>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Default for ShareAcknowledgeRequest {
    fn default() -> Self {
        Self {
            group_id: None,
            member_id: Some(Default::default()),
            share_session_epoch: Default::default(),
            is_renew_ack: Default::default(),
            topics: Default::default(),
            unknown_tagged_fields: BTreeMap::new(),
        }
    }
}

impl ShareAcknowledgeRequest {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.string(self.group_id.as_deref(), flexible)?;
        out.string(self.member_id.as_ref(), flexible)?;
        out.put(&self.share_session_epoch.to_be_bytes());
        if version >= 2 {
            out.bool(self.is_renew_ack);
        } else if self.is_renew_ack {
            return Err(unavailable("is_renew_ack", version));
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
        let flexible = true;
        let mut this = Self::default();
        this.group_id = wire::string(input, flexible)?.map(GroupId);
        this.member_id = wire::string(input, flexible)?;
        this.share_session_epoch = wire::int32(input)?;
        if version >= 2 {
            this.is_renew_ack = wire::boolean(input)?;
        }
        this.topics = wire::some(wire::array(input, flexible, |input| AcknowledgeTopic::read(input, version))?)?;
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
pub struct AcknowledgeTopic {
    /// Versions 1 to 2.
    pub topic_id: Uuid,
    /// Versions 1 to 2.
    pub partitions: Vec<AcknowledgePartition>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl AcknowledgeTopic {
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
        this.partitions = wire::some(wire::array(input, flexible, |input| AcknowledgePartition::read(input, version))?)?;
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
pub struct AcknowledgePartition {
    /// Versions 1 to 2.
    pub partition_index: i32,
    /// Versions 1 to 2.
    pub acknowledgement_batches: Vec<AcknowledgementBatch>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl AcknowledgePartition {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.put(&self.partition_index.to_be_bytes());
        out.array(Some(&self.acknowledgement_batches), flexible, |out, it| it.write(out, version))?;
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
        this.acknowledgement_batches = wire::some(wire::array(input, flexible, |input| AcknowledgementBatch::read(input, version))?)?;
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
pub struct AcknowledgementBatch {
    /// Versions 1 to 2.
    pub first_offset: i64,
    /// Versions 1 to 2.
    pub last_offset: i64,
    /// Versions 1 to 2.
    pub acknowledge_types: Vec<i8>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl AcknowledgementBatch {
    fn write<S: Sink>(&self, out: &mut S, _version: i16) -> Result<()> {
        let flexible = true;
        out.put(&self.first_offset.to_be_bytes());
        out.put(&self.last_offset.to_be_bytes());
        out.array(Some(&self.acknowledge_types), flexible, |out, it| { out.put(&it.to_be_bytes()); Ok(()) })?;
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
        this.acknowledge_types = wire::some(wire::array(input, flexible, |input| wire::int8(input))?)?;
        if flexible {
            for _ in 0..wire::varint(input)? {
                let (tag, value) = wire::tagged(input)?;
                this.unknown_tagged_fields.insert(tag as i32, value);
            }
        }
        Ok(this)
    }
}

impl Message for ShareAcknowledgeRequest {
    const VERSIONS: VersionRange = VersionRange { min: 1, max: 2 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for ShareAcknowledgeRequest {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("ShareAcknowledgeRequest", version, 1, 2)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("ShareAcknowledgeRequest", version, 1, 2)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for ShareAcknowledgeRequest {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("ShareAcknowledgeRequest", version, 1, 2)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for ShareAcknowledgeRequest {
    fn header_version(_: i16) -> i16 {
        2
    }
}

impl Request for ShareAcknowledgeRequest {
    const KEY: i16 = 79;
    type Response = super::share_acknowledge_response::ShareAcknowledgeResponse;
}
