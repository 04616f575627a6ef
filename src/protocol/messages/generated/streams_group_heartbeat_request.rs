//! StreamsGroupHeartbeatRequest, versions 0 to 1.
//!
//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes, VersionRange};
use kafka_protocol::messages::{GroupId, TopicName};

use crate::protocol::messages::wire::{self, Count, Out, Sink};

#[derive(Debug, Clone, PartialEq)]
pub struct StreamsGroupHeartbeatRequest {
    /// Versions 0 to 1.
    pub group_id: GroupId,
    /// Versions 0 to 1.
    pub member_id: StrBytes,
    /// Versions 0 to 1.
    pub member_epoch: i32,
    /// Versions 0 to 1.
    pub endpoint_information_epoch: i32,
    /// Versions 0 to 1; may be null.
    pub instance_id: Option<StrBytes>,
    /// Versions 0 to 1; may be null.
    pub rack_id: Option<StrBytes>,
    /// Versions 0 to 1.
    pub rebalance_timeout_ms: i32,
    /// Versions 0 to 1; may be null.
    pub topology: Option<Topology>,
    /// Versions 0 to 1; may be null.
    pub active_tasks: Option<Vec<TaskIds>>,
    /// Versions 0 to 1; may be null.
    pub standby_tasks: Option<Vec<TaskIds>>,
    /// Versions 0 to 1; may be null.
    pub warmup_tasks: Option<Vec<TaskIds>>,
    /// Versions 0 to 1; may be null.
    pub process_id: Option<StrBytes>,
    /// Versions 0 to 1; may be null.
    pub user_endpoint: Option<Endpoint>,
    /// Versions 0 to 1; may be null.
    pub client_tags: Option<Vec<KeyValue>>,
    /// Versions 0 to 1; may be null.
    pub task_offsets: Option<Vec<TaskOffset>>,
    /// Versions 0 to 1; may be null.
    pub task_end_offsets: Option<Vec<TaskOffset>>,
    /// Versions 0 to 1.
    pub shutdown_application: bool,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Default for StreamsGroupHeartbeatRequest {
    fn default() -> Self {
        Self {
            group_id: Default::default(),
            member_id: Default::default(),
            member_epoch: Default::default(),
            endpoint_information_epoch: Default::default(),
            instance_id: None,
            rack_id: None,
            rebalance_timeout_ms: -1,
            topology: None,
            active_tasks: None,
            standby_tasks: None,
            warmup_tasks: None,
            process_id: None,
            user_endpoint: None,
            client_tags: None,
            task_offsets: None,
            task_end_offsets: None,
            shutdown_application: Default::default(),
            unknown_tagged_fields: BTreeMap::new(),
        }
    }
}

impl StreamsGroupHeartbeatRequest {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.string(Some(&self.group_id), flexible)?;
        out.string(Some(&self.member_id), flexible)?;
        out.put(&self.member_epoch.to_be_bytes());
        out.put(&self.endpoint_information_epoch.to_be_bytes());
        out.string(self.instance_id.as_ref(), flexible)?;
        out.string(self.rack_id.as_ref(), flexible)?;
        out.put(&self.rebalance_timeout_ms.to_be_bytes());
        out.optional(self.topology.as_ref(), |out, it| it.write(out, version))?;
        out.array(self.active_tasks.as_deref(), flexible, |out, it| it.write(out, version))?;
        out.array(self.standby_tasks.as_deref(), flexible, |out, it| it.write(out, version))?;
        out.array(self.warmup_tasks.as_deref(), flexible, |out, it| it.write(out, version))?;
        out.string(self.process_id.as_ref(), flexible)?;
        out.optional(self.user_endpoint.as_ref(), |out, it| it.write(out, version))?;
        out.array(self.client_tags.as_deref(), flexible, |out, it| it.write(out, version))?;
        out.array(self.task_offsets.as_deref(), flexible, |out, it| it.write(out, version))?;
        out.array(self.task_end_offsets.as_deref(), flexible, |out, it| it.write(out, version))?;
        out.bool(self.shutdown_application);
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
        this.member_epoch = wire::int32(input)?;
        this.endpoint_information_epoch = wire::int32(input)?;
        this.instance_id = wire::string(input, flexible)?;
        this.rack_id = wire::string(input, flexible)?;
        this.rebalance_timeout_ms = wire::int32(input)?;
        this.topology = wire::optional(input, |input| Topology::read(input, version))?;
        this.active_tasks = wire::array(input, flexible, |input| TaskIds::read(input, version))?;
        this.standby_tasks = wire::array(input, flexible, |input| TaskIds::read(input, version))?;
        this.warmup_tasks = wire::array(input, flexible, |input| TaskIds::read(input, version))?;
        this.process_id = wire::string(input, flexible)?;
        this.user_endpoint = wire::optional(input, |input| Endpoint::read(input, version))?;
        this.client_tags = wire::array(input, flexible, |input| KeyValue::read(input, version))?;
        this.task_offsets = wire::array(input, flexible, |input| TaskOffset::read(input, version))?;
        this.task_end_offsets = wire::array(input, flexible, |input| TaskOffset::read(input, version))?;
        this.shutdown_application = wire::boolean(input)?;
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
pub struct Topology {
    /// Versions 0 to 1.
    pub epoch: i32,
    /// Versions 0 to 1.
    pub subtopologies: Vec<Subtopology>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Topology {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.put(&self.epoch.to_be_bytes());
        out.array(Some(&self.subtopologies), flexible, |out, it| it.write(out, version))?;
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
        this.epoch = wire::int32(input)?;
        this.subtopologies = wire::some(wire::array(input, flexible, |input| Subtopology::read(input, version))?)?;
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
pub struct Subtopology {
    /// Versions 0 to 1.
    pub subtopology_id: StrBytes,
    /// Versions 0 to 1.
    pub source_topics: Vec<TopicName>,
    /// Versions 0 to 1.
    pub source_topic_regex: Vec<StrBytes>,
    /// Versions 0 to 1.
    pub state_changelog_topics: Vec<TopicInfo>,
    /// Versions 0 to 1.
    pub repartition_sink_topics: Vec<TopicName>,
    /// Versions 0 to 1.
    pub repartition_source_topics: Vec<TopicInfo>,
    /// Versions 0 to 1.
    pub copartition_groups: Vec<CopartitionGroup>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Subtopology {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.string(Some(&self.subtopology_id), flexible)?;
        out.array(Some(&self.source_topics), flexible, |out, it| out.string(Some(it), flexible))?;
        out.array(Some(&self.source_topic_regex), flexible, |out, it| out.string(Some(it), flexible))?;
        out.array(Some(&self.state_changelog_topics), flexible, |out, it| it.write(out, version))?;
        out.array(Some(&self.repartition_sink_topics), flexible, |out, it| out.string(Some(it), flexible))?;
        out.array(Some(&self.repartition_source_topics), flexible, |out, it| it.write(out, version))?;
        out.array(Some(&self.copartition_groups), flexible, |out, it| it.write(out, version))?;
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
        this.source_topics = wire::some(wire::array(input, flexible, |input| wire::some(wire::string(input, flexible)?.map(TopicName)))?)?;
        this.source_topic_regex = wire::some(wire::array(input, flexible, |input| wire::some(wire::string(input, flexible)?))?)?;
        this.state_changelog_topics = wire::some(wire::array(input, flexible, |input| TopicInfo::read(input, version))?)?;
        this.repartition_sink_topics = wire::some(wire::array(input, flexible, |input| wire::some(wire::string(input, flexible)?.map(TopicName)))?)?;
        this.repartition_source_topics = wire::some(wire::array(input, flexible, |input| TopicInfo::read(input, version))?)?;
        this.copartition_groups = wire::some(wire::array(input, flexible, |input| CopartitionGroup::read(input, version))?)?;
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
pub struct TopicInfo {
    /// Versions 0 to 1.
    pub name: TopicName,
    /// Versions 0 to 1.
    pub partitions: i32,
    /// Versions 0 to 1.
    pub replication_factor: i16,
    /// Versions 0 to 1.
    pub topic_configs: Vec<KeyValue>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl TopicInfo {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.string(Some(&self.name), flexible)?;
        out.put(&self.partitions.to_be_bytes());
        out.put(&self.replication_factor.to_be_bytes());
        out.array(Some(&self.topic_configs), flexible, |out, it| it.write(out, version))?;
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
        this.name = wire::some(wire::string(input, flexible)?.map(TopicName))?;
        this.partitions = wire::int32(input)?;
        this.replication_factor = wire::int16(input)?;
        this.topic_configs = wire::some(wire::array(input, flexible, |input| KeyValue::read(input, version))?)?;
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
pub struct KeyValue {
    /// Versions 0 to 1.
    pub key: StrBytes,
    /// Versions 0 to 1.
    pub value: StrBytes,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl KeyValue {
    fn write<S: Sink>(&self, out: &mut S, _version: i16) -> Result<()> {
        let flexible = true;
        out.string(Some(&self.key), flexible)?;
        out.string(Some(&self.value), flexible)?;
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
        this.key = wire::some(wire::string(input, flexible)?)?;
        this.value = wire::some(wire::string(input, flexible)?)?;
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
pub struct CopartitionGroup {
    /// Versions 0 to 1.
    pub source_topics: Vec<i16>,
    /// Versions 0 to 1.
    pub source_topic_regex: Vec<i16>,
    /// Versions 0 to 1.
    pub repartition_source_topics: Vec<i16>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl CopartitionGroup {
    fn write<S: Sink>(&self, out: &mut S, _version: i16) -> Result<()> {
        let flexible = true;
        out.array(Some(&self.source_topics), flexible, |out, it| { out.put(&it.to_be_bytes()); Ok(()) })?;
        out.array(Some(&self.source_topic_regex), flexible, |out, it| { out.put(&it.to_be_bytes()); Ok(()) })?;
        out.array(Some(&self.repartition_source_topics), flexible, |out, it| { out.put(&it.to_be_bytes()); Ok(()) })?;
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
        this.source_topics = wire::some(wire::array(input, flexible, |input| wire::int16(input))?)?;
        this.source_topic_regex = wire::some(wire::array(input, flexible, |input| wire::int16(input))?)?;
        this.repartition_source_topics = wire::some(wire::array(input, flexible, |input| wire::int16(input))?)?;
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
pub struct TaskIds {
    /// Versions 0 to 1.
    pub subtopology_id: StrBytes,
    /// Versions 0 to 1.
    pub partitions: Vec<i32>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl TaskIds {
    fn write<S: Sink>(&self, out: &mut S, _version: i16) -> Result<()> {
        let flexible = true;
        out.string(Some(&self.subtopology_id), flexible)?;
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
        this.subtopology_id = wire::some(wire::string(input, flexible)?)?;
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

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Endpoint {
    /// Versions 0 to 1.
    pub host: StrBytes,
    /// Versions 0 to 1.
    pub port: u16,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Endpoint {
    fn write<S: Sink>(&self, out: &mut S, _version: i16) -> Result<()> {
        let flexible = true;
        out.string(Some(&self.host), flexible)?;
        out.put(&self.port.to_be_bytes());
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
        this.host = wire::some(wire::string(input, flexible)?)?;
        this.port = wire::uint16(input)?;
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
pub struct TaskOffset {
    /// Versions 0 to 1.
    pub subtopology_id: StrBytes,
    /// Versions 0 to 1.
    pub partition: i32,
    /// Versions 0 to 1.
    pub offset: i64,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl TaskOffset {
    fn write<S: Sink>(&self, out: &mut S, _version: i16) -> Result<()> {
        let flexible = true;
        out.string(Some(&self.subtopology_id), flexible)?;
        out.put(&self.partition.to_be_bytes());
        out.put(&self.offset.to_be_bytes());
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
        this.subtopology_id = wire::some(wire::string(input, flexible)?)?;
        this.partition = wire::int32(input)?;
        this.offset = wire::int64(input)?;
        if flexible {
            for _ in 0..wire::varint(input)? {
                let (tag, value) = wire::tagged(input)?;
                this.unknown_tagged_fields.insert(tag as i32, value);
            }
        }
        Ok(this)
    }
}

impl Message for StreamsGroupHeartbeatRequest {
    const VERSIONS: VersionRange = VersionRange { min: 0, max: 1 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for StreamsGroupHeartbeatRequest {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("StreamsGroupHeartbeatRequest", version, 0, 1)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("StreamsGroupHeartbeatRequest", version, 0, 1)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for StreamsGroupHeartbeatRequest {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("StreamsGroupHeartbeatRequest", version, 0, 1)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for StreamsGroupHeartbeatRequest {
    fn header_version(_: i16) -> i16 {
        2
    }
}

impl Request for StreamsGroupHeartbeatRequest {
    const KEY: i16 = 88;
    type Response = super::streams_group_heartbeat_response::StreamsGroupHeartbeatResponse;
}
