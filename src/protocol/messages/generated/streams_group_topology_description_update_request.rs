//! StreamsGroupTopologyDescriptionUpdateRequest, versions 0.
//!
//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes, VersionRange};
use kafka_protocol::messages::{GroupId, TopicName};

use crate::protocol::messages::wire::{self, Count, Out, Sink};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct StreamsGroupTopologyDescriptionUpdateRequest {
    /// Versions 0.
    pub group_id: GroupId,
    /// Versions 0.
    pub member_id: StrBytes,
    /// Versions 0.
    pub topology_epoch: i32,
    /// Versions 0.
    pub topology_description: TopologyDescription,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl StreamsGroupTopologyDescriptionUpdateRequest {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.string(Some(&self.group_id), flexible)?;
        out.string(Some(&self.member_id), flexible)?;
        out.put(&self.topology_epoch.to_be_bytes());
        self.topology_description.write(out, version)?;
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
        this.group_id = wire::some(wire::string(input, flexible)?.map(GroupId))?;
        this.member_id = wire::some(wire::string(input, flexible)?)?;
        this.topology_epoch = wire::int32(input)?;
        this.topology_description = TopologyDescription::read(input, version)?;
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
pub struct TopologyDescription {
    /// Versions 0.
    pub subtopologies: Vec<TopologyDescriptionSubtopology>,
    /// Versions 0.
    pub global_stores: Vec<TopologyDescriptionGlobalStore>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl TopologyDescription {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.array(Some(&self.subtopologies), flexible, |out, it| it.write(out, version))?;
        out.array(Some(&self.global_stores), flexible, |out, it| it.write(out, version))?;
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
        this.subtopologies = wire::some(wire::array(input, flexible, |input| TopologyDescriptionSubtopology::read(input, version))?)?;
        this.global_stores = wire::some(wire::array(input, flexible, |input| TopologyDescriptionGlobalStore::read(input, version))?)?;
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
pub struct TopologyDescriptionSubtopology {
    /// Versions 0.
    pub subtopology_id: StrBytes,
    /// Versions 0.
    pub nodes: Vec<TopologyDescriptionNode>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl TopologyDescriptionSubtopology {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.string(Some(&self.subtopology_id), flexible)?;
        out.array(Some(&self.nodes), flexible, |out, it| it.write(out, version))?;
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
        this.subtopology_id = wire::some(wire::string(input, flexible)?)?;
        this.nodes = wire::some(wire::array(input, flexible, |input| TopologyDescriptionNode::read(input, version))?)?;
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
pub struct TopologyDescriptionNode {
    /// Versions 0.
    pub name: StrBytes,
    /// Versions 0.
    pub node_type: i8,
    /// Versions 0.
    pub source_topics: Vec<TopicName>,
    /// Versions 0; may be null.
    pub sink_topic: Option<TopicName>,
    /// Versions 0.
    pub stores: Vec<StrBytes>,
    /// Versions 0.
    pub successors: Vec<StrBytes>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl TopologyDescriptionNode {
    fn write<S: Sink>(&self, out: &mut S, _version: i16) -> Result<()> {
        let flexible = true;
        out.string(Some(&self.name), flexible)?;
        out.put(&self.node_type.to_be_bytes());
        out.array(Some(&self.source_topics), flexible, |out, it| out.string(Some(it), flexible))?;
        out.string(self.sink_topic.as_deref(), flexible)?;
        out.array(Some(&self.stores), flexible, |out, it| out.string(Some(it), flexible))?;
        out.array(Some(&self.successors), flexible, |out, it| out.string(Some(it), flexible))?;
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
        this.name = wire::some(wire::string(input, flexible)?)?;
        this.node_type = wire::int8(input)?;
        this.source_topics = wire::some(wire::array(input, flexible, |input| wire::some(wire::string(input, flexible)?.map(TopicName)))?)?;
        this.sink_topic = wire::string(input, flexible)?.map(TopicName);
        this.stores = wire::some(wire::array(input, flexible, |input| wire::some(wire::string(input, flexible)?))?)?;
        this.successors = wire::some(wire::array(input, flexible, |input| wire::some(wire::string(input, flexible)?))?)?;
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
pub struct TopologyDescriptionGlobalStore {
    /// Versions 0.
    pub source: TopologyDescriptionNode,
    /// Versions 0.
    pub processor: TopologyDescriptionNode,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl TopologyDescriptionGlobalStore {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        self.source.write(out, version)?;
        self.processor.write(out, version)?;
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
        this.source = TopologyDescriptionNode::read(input, version)?;
        this.processor = TopologyDescriptionNode::read(input, version)?;
        if flexible {
            for _ in 0..wire::varint(input)? {
                let (tag, value) = wire::tagged(input)?;
                this.unknown_tagged_fields.insert(tag as i32, value);
            }
        }
        Ok(this)
    }
}

impl Message for StreamsGroupTopologyDescriptionUpdateRequest {
    const VERSIONS: VersionRange = VersionRange { min: 0, max: 0 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for StreamsGroupTopologyDescriptionUpdateRequest {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("StreamsGroupTopologyDescriptionUpdateRequest", version, 0, 0)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("StreamsGroupTopologyDescriptionUpdateRequest", version, 0, 0)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for StreamsGroupTopologyDescriptionUpdateRequest {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("StreamsGroupTopologyDescriptionUpdateRequest", version, 0, 0)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for StreamsGroupTopologyDescriptionUpdateRequest {
    fn header_version(_: i16) -> i16 {
        2
    }
}

impl Request for StreamsGroupTopologyDescriptionUpdateRequest {
    const KEY: i16 = 93;
    type Response = super::streams_group_topology_description_update_response::StreamsGroupTopologyDescriptionUpdateResponse;
}
