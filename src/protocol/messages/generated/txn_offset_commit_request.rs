//! TxnOffsetCommitRequest, versions 0 to 6.
//!
//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes, VersionRange};
use kafka_protocol::messages::{GroupId, ProducerId, TopicName, TransactionalId};
use uuid::Uuid;

use crate::protocol::messages::wire::{self, Count, Out, Sink};
use crate::protocol::messages::wire::unavailable;

#[derive(Debug, Clone, PartialEq)]
pub struct TxnOffsetCommitRequest {
    /// Versions 0 to 6.
    pub transactional_id: TransactionalId,
    /// Versions 0 to 6.
    pub group_id: GroupId,
    /// Versions 0 to 6.
    pub producer_id: ProducerId,
    /// Versions 0 to 6.
    pub producer_epoch: i16,
    /// Versions 3 to 6.
    pub generation_id_or_member_epoch: i32,
    /// Versions 3 to 6.
    pub member_id: StrBytes,
    /// Versions 3 to 6; may be null.
    pub group_instance_id: Option<StrBytes>,
    /// Versions 0 to 6.
    pub topics: Vec<TxnOffsetCommitRequestTopic>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Default for TxnOffsetCommitRequest {
    fn default() -> Self {
        Self {
            transactional_id: Default::default(),
            group_id: Default::default(),
            producer_id: Default::default(),
            producer_epoch: Default::default(),
            generation_id_or_member_epoch: -1,
            member_id: Default::default(),
            group_instance_id: None,
            topics: Default::default(),
            unknown_tagged_fields: BTreeMap::new(),
        }
    }
}

impl TxnOffsetCommitRequest {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 3;
        out.string(Some(&self.transactional_id), flexible)?;
        out.string(Some(&self.group_id), flexible)?;
        out.put(&self.producer_id.0.to_be_bytes());
        out.put(&self.producer_epoch.to_be_bytes());
        if version >= 3 {
            out.put(&self.generation_id_or_member_epoch.to_be_bytes());
        } else if self.generation_id_or_member_epoch != -1 {
            return Err(unavailable("generation_id_or_member_epoch", version));
        }
        if version >= 3 {
            out.string(Some(&self.member_id), flexible)?;
        } else if !self.member_id.is_empty() {
            return Err(unavailable("member_id", version));
        }
        if version >= 3 {
            out.string(self.group_instance_id.as_ref(), flexible)?;
        } else if self.group_instance_id.is_some() {
            return Err(unavailable("group_instance_id", version));
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
        let flexible = version >= 3;
        let mut this = Self::default();
        this.transactional_id = wire::some(wire::string(input, flexible)?.map(TransactionalId))?;
        this.group_id = wire::some(wire::string(input, flexible)?.map(GroupId))?;
        this.producer_id = ProducerId(wire::int64(input)?);
        this.producer_epoch = wire::int16(input)?;
        if version >= 3 {
            this.generation_id_or_member_epoch = wire::int32(input)?;
        }
        if version >= 3 {
            this.member_id = wire::some(wire::string(input, flexible)?)?;
        }
        if version >= 3 {
            this.group_instance_id = wire::string(input, flexible)?;
        }
        this.topics = wire::some(wire::array(input, flexible, |input| TxnOffsetCommitRequestTopic::read(input, version))?)?;
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
pub struct TxnOffsetCommitRequestTopic {
    /// Versions 0 to 5.
    pub name: TopicName,
    /// Versions 6.
    pub topic_id: Uuid,
    /// Versions 0 to 6.
    pub partitions: Vec<TxnOffsetCommitRequestPartition>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl TxnOffsetCommitRequestTopic {
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
        this.partitions = wire::some(wire::array(input, flexible, |input| TxnOffsetCommitRequestPartition::read(input, version))?)?;
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
pub struct TxnOffsetCommitRequestPartition {
    /// Versions 0 to 6.
    pub partition_index: i32,
    /// Versions 0 to 6.
    pub committed_offset: i64,
    /// Versions 2 to 6.
    pub committed_leader_epoch: i32,
    /// Versions 0 to 6; may be null.
    pub committed_metadata: Option<StrBytes>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Default for TxnOffsetCommitRequestPartition {
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

impl TxnOffsetCommitRequestPartition {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 3;
        out.put(&self.partition_index.to_be_bytes());
        out.put(&self.committed_offset.to_be_bytes());
        if version >= 2 {
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
        let flexible = version >= 3;
        let mut this = Self::default();
        this.partition_index = wire::int32(input)?;
        this.committed_offset = wire::int64(input)?;
        if version >= 2 {
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

impl Message for TxnOffsetCommitRequest {
    const VERSIONS: VersionRange = VersionRange { min: 0, max: 6 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for TxnOffsetCommitRequest {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("TxnOffsetCommitRequest", version, 0, 6)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("TxnOffsetCommitRequest", version, 0, 6)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for TxnOffsetCommitRequest {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("TxnOffsetCommitRequest", version, 0, 6)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for TxnOffsetCommitRequest {
    fn header_version(version: i16) -> i16 {
        if version >= 3 { 2 } else { 1 }
    }
}

impl Request for TxnOffsetCommitRequest {
    const KEY: i16 = 28;
    type Response = super::txn_offset_commit_response::TxnOffsetCommitResponse;
}
