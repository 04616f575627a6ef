//! ShareFetchRequest, versions 1 to 2.
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
pub struct ShareFetchRequest {
    /// Versions 1 to 2; may be null.
    pub group_id: Option<GroupId>,
    /// Versions 1 to 2; may be null.
    pub member_id: Option<StrBytes>,
    /// Versions 1 to 2.
    pub share_session_epoch: i32,
    /// Versions 1 to 2.
    pub max_wait_ms: i32,
    /// Versions 1 to 2.
    pub min_bytes: i32,
    /// Versions 1 to 2.
    pub max_bytes: i32,
    /// Versions 1 to 2.
    pub max_records: i32,
    /// Versions 1 to 2.
    pub batch_size: i32,
    /// Versions 2.
    pub share_acquire_mode: i8,
    /// Versions 2.
    pub is_renew_ack: bool,
    /// Versions 1 to 2.
    pub topics: Vec<FetchTopic>,
    /// Versions 1 to 2.
    pub forgotten_topics_data: Vec<ForgottenTopic>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Default for ShareFetchRequest {
    fn default() -> Self {
        Self {
            group_id: None,
            member_id: Some(Default::default()),
            share_session_epoch: Default::default(),
            max_wait_ms: Default::default(),
            min_bytes: Default::default(),
            max_bytes: 2147483647,
            max_records: Default::default(),
            batch_size: Default::default(),
            share_acquire_mode: Default::default(),
            is_renew_ack: Default::default(),
            topics: Default::default(),
            forgotten_topics_data: Default::default(),
            unknown_tagged_fields: BTreeMap::new(),
        }
    }
}

impl ShareFetchRequest {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.string(self.group_id.as_deref(), flexible)?;
        out.string(self.member_id.as_ref(), flexible)?;
        out.put(&self.share_session_epoch.to_be_bytes());
        out.put(&self.max_wait_ms.to_be_bytes());
        out.put(&self.min_bytes.to_be_bytes());
        out.put(&self.max_bytes.to_be_bytes());
        out.put(&self.max_records.to_be_bytes());
        out.put(&self.batch_size.to_be_bytes());
        if version >= 2 {
            out.put(&self.share_acquire_mode.to_be_bytes());
        }
        if version >= 2 {
            out.bool(self.is_renew_ack);
        } else if self.is_renew_ack {
            return Err(unavailable("is_renew_ack", version));
        }
        out.array(Some(&self.topics), flexible, |out, it| it.write(out, version))?;
        out.array(Some(&self.forgotten_topics_data), flexible, |out, it| it.write(out, version))?;
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
        this.max_wait_ms = wire::int32(input)?;
        this.min_bytes = wire::int32(input)?;
        this.max_bytes = wire::int32(input)?;
        this.max_records = wire::int32(input)?;
        this.batch_size = wire::int32(input)?;
        if version >= 2 {
            this.share_acquire_mode = wire::int8(input)?;
        }
        if version >= 2 {
            this.is_renew_ack = wire::boolean(input)?;
        }
        this.topics = wire::some(wire::array(input, flexible, |input| FetchTopic::read(input, version))?)?;
        this.forgotten_topics_data = wire::some(wire::array(input, flexible, |input| ForgottenTopic::read(input, version))?)?;
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
pub struct FetchTopic {
    /// Versions 1 to 2.
    pub topic_id: Uuid,
    /// Versions 1 to 2.
    pub partitions: Vec<FetchPartition>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl FetchTopic {
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
        this.partitions = wire::some(wire::array(input, flexible, |input| FetchPartition::read(input, version))?)?;
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
pub struct FetchPartition {
    /// Versions 1 to 2.
    pub partition_index: i32,
    /// Versions 1 to 2.
    pub acknowledgement_batches: Vec<AcknowledgementBatch>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl FetchPartition {
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

#[derive(Debug, Clone, PartialEq, Default)]
pub struct ForgottenTopic {
    /// Versions 1 to 2.
    pub topic_id: Uuid,
    /// Versions 1 to 2.
    pub partitions: Vec<i32>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl ForgottenTopic {
    fn write<S: Sink>(&self, out: &mut S, _version: i16) -> Result<()> {
        let flexible = true;
        out.put(self.topic_id.as_bytes());
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
        this.topic_id = wire::uuid(input)?;
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

impl Message for ShareFetchRequest {
    const VERSIONS: VersionRange = VersionRange { min: 1, max: 2 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for ShareFetchRequest {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("ShareFetchRequest", version, 1, 2)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("ShareFetchRequest", version, 1, 2)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for ShareFetchRequest {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("ShareFetchRequest", version, 1, 2)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for ShareFetchRequest {
    fn header_version(_: i16) -> i16 {
        2
    }
}

impl Request for ShareFetchRequest {
    const KEY: i16 = 78;
    type Response = super::share_fetch_response::ShareFetchResponse;
}
