//! ShareAcknowledgeResponse, versions 1 to 2.
//!
//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, StrBytes, VersionRange};
use kafka_protocol::messages::{BrokerId};
use uuid::Uuid;

use crate::protocol::messages::wire::{self, Count, Out, Sink};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct ShareAcknowledgeResponse {
    /// Versions 1 to 2.
    pub throttle_time_ms: i32,
    /// Versions 1 to 2.
    pub error_code: i16,
    /// Versions 1 to 2; may be null.
    pub error_message: Option<StrBytes>,
    /// Versions 2.
    pub acquisition_lock_timeout_ms: i32,
    /// Versions 1 to 2.
    pub responses: Vec<ShareAcknowledgeTopicResponse>,
    /// Versions 1 to 2.
    pub node_endpoints: Vec<NodeEndpoint>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl ShareAcknowledgeResponse {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.put(&self.throttle_time_ms.to_be_bytes());
        out.put(&self.error_code.to_be_bytes());
        out.string(self.error_message.as_ref(), flexible)?;
        if version >= 2 {
            out.put(&self.acquisition_lock_timeout_ms.to_be_bytes());
        }
        out.array(Some(&self.responses), flexible, |out, it| it.write(out, version))?;
        out.array(Some(&self.node_endpoints), flexible, |out, it| it.write(out, version))?;
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
        this.throttle_time_ms = wire::int32(input)?;
        this.error_code = wire::int16(input)?;
        this.error_message = wire::string(input, flexible)?;
        if version >= 2 {
            this.acquisition_lock_timeout_ms = wire::int32(input)?;
        }
        this.responses = wire::some(wire::array(input, flexible, |input| ShareAcknowledgeTopicResponse::read(input, version))?)?;
        this.node_endpoints = wire::some(wire::array(input, flexible, |input| NodeEndpoint::read(input, version))?)?;
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
pub struct ShareAcknowledgeTopicResponse {
    /// Versions 1 to 2.
    pub topic_id: Uuid,
    /// Versions 1 to 2.
    pub partitions: Vec<PartitionData>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl ShareAcknowledgeTopicResponse {
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

#[derive(Debug, Clone, PartialEq, Default)]
pub struct PartitionData {
    /// Versions 1 to 2.
    pub partition_index: i32,
    /// Versions 1 to 2.
    pub error_code: i16,
    /// Versions 1 to 2; may be null.
    pub error_message: Option<StrBytes>,
    /// Versions 1 to 2.
    pub current_leader: LeaderIdAndEpoch,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl PartitionData {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.put(&self.partition_index.to_be_bytes());
        out.put(&self.error_code.to_be_bytes());
        out.string(self.error_message.as_ref(), flexible)?;
        self.current_leader.write(out, version)?;
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
        this.error_code = wire::int16(input)?;
        this.error_message = wire::string(input, flexible)?;
        this.current_leader = LeaderIdAndEpoch::read(input, version)?;
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
pub struct LeaderIdAndEpoch {
    /// Versions 1 to 2.
    pub leader_id: i32,
    /// Versions 1 to 2.
    pub leader_epoch: i32,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl LeaderIdAndEpoch {
    fn write<S: Sink>(&self, out: &mut S, _version: i16) -> Result<()> {
        let flexible = true;
        out.put(&self.leader_id.to_be_bytes());
        out.put(&self.leader_epoch.to_be_bytes());
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
        this.leader_id = wire::int32(input)?;
        this.leader_epoch = wire::int32(input)?;
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
pub struct NodeEndpoint {
    /// Versions 1 to 2.
    pub node_id: BrokerId,
    /// Versions 1 to 2.
    pub host: StrBytes,
    /// Versions 1 to 2.
    pub port: i32,
    /// Versions 1 to 2; may be null.
    pub rack: Option<StrBytes>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl NodeEndpoint {
    fn write<S: Sink>(&self, out: &mut S, _version: i16) -> Result<()> {
        let flexible = true;
        out.put(&self.node_id.0.to_be_bytes());
        out.string(Some(&self.host), flexible)?;
        out.put(&self.port.to_be_bytes());
        out.string(self.rack.as_ref(), flexible)?;
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
        this.node_id = BrokerId(wire::int32(input)?);
        this.host = wire::some(wire::string(input, flexible)?)?;
        this.port = wire::int32(input)?;
        this.rack = wire::string(input, flexible)?;
        if flexible {
            for _ in 0..wire::varint(input)? {
                let (tag, value) = wire::tagged(input)?;
                this.unknown_tagged_fields.insert(tag as i32, value);
            }
        }
        Ok(this)
    }
}

impl Message for ShareAcknowledgeResponse {
    const VERSIONS: VersionRange = VersionRange { min: 1, max: 2 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for ShareAcknowledgeResponse {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("ShareAcknowledgeResponse", version, 1, 2)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("ShareAcknowledgeResponse", version, 1, 2)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for ShareAcknowledgeResponse {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("ShareAcknowledgeResponse", version, 1, 2)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for ShareAcknowledgeResponse {
    fn header_version(_: i16) -> i16 {
        i16::from(true)
    }
}
