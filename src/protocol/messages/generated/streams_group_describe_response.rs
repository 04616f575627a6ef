//! StreamsGroupDescribeResponse, versions 0 to 1.
//!
//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, StrBytes, VersionRange};
use kafka_protocol::messages::{GroupId, TopicName};

use crate::protocol::messages::wire::{self, Count, Out, Sink};
use crate::protocol::messages::wire::unavailable;

#[derive(Debug, Clone, PartialEq, Default)]
pub struct StreamsGroupDescribeResponse {
    /// Versions 0 to 1.
    pub throttle_time_ms: i32,
    /// Versions 0 to 1.
    pub groups: Vec<DescribedGroup>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl StreamsGroupDescribeResponse {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.put(&self.throttle_time_ms.to_be_bytes());
        out.array(Some(&self.groups), flexible, |out, it| it.write(out, version))?;
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
        this.groups = wire::some(wire::array(input, flexible, |input| DescribedGroup::read(input, version))?)?;
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
pub struct DescribedGroup {
    /// Versions 0 to 1.
    pub error_code: i16,
    /// Versions 0 to 1; may be null.
    pub error_message: Option<StrBytes>,
    /// Versions 0 to 1.
    pub group_id: GroupId,
    /// Versions 0 to 1.
    pub group_state: StrBytes,
    /// Versions 0 to 1.
    pub group_epoch: i32,
    /// Versions 0 to 1.
    pub assignment_epoch: i32,
    /// Versions 0 to 1; may be null.
    pub topology: Option<Topology>,
    /// Versions 0 to 1.
    pub members: Vec<Member>,
    /// Versions 0 to 1.
    pub authorized_operations: i32,
    /// Versions 1; may be null.
    pub topology_description: Option<TopologyDescription>,
    /// Versions 1.
    pub topology_description_status: i8,
    /// Versions 1; may be null.
    pub assignor_name: Option<StrBytes>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Default for DescribedGroup {
    fn default() -> Self {
        Self {
            error_code: Default::default(),
            error_message: None,
            group_id: Default::default(),
            group_state: Default::default(),
            group_epoch: Default::default(),
            assignment_epoch: Default::default(),
            topology: None,
            members: Default::default(),
            authorized_operations: -2147483648,
            topology_description: None,
            topology_description_status: Default::default(),
            assignor_name: None,
            unknown_tagged_fields: BTreeMap::new(),
        }
    }
}

impl DescribedGroup {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.put(&self.error_code.to_be_bytes());
        out.string(self.error_message.as_ref(), flexible)?;
        out.string(Some(&self.group_id), flexible)?;
        out.string(Some(&self.group_state), flexible)?;
        out.put(&self.group_epoch.to_be_bytes());
        out.put(&self.assignment_epoch.to_be_bytes());
        out.optional(self.topology.as_ref(), |out, it| it.write(out, version))?;
        out.array(Some(&self.members), flexible, |out, it| it.write(out, version))?;
        out.put(&self.authorized_operations.to_be_bytes());
        if version >= 1 {
            out.optional(self.topology_description.as_ref(), |out, it| it.write(out, version))?;
        } else if self.topology_description.is_some() {
            return Err(unavailable("topology_description", version));
        }
        if version >= 1 {
            out.put(&self.topology_description_status.to_be_bytes());
        } else if self.topology_description_status != 0 {
            return Err(unavailable("topology_description_status", version));
        }
        if version >= 1 {
            out.string(self.assignor_name.as_ref(), flexible)?;
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
        let flexible = true;
        let mut this = Self::default();
        this.error_code = wire::int16(input)?;
        this.error_message = wire::string(input, flexible)?;
        this.group_id = wire::some(wire::string(input, flexible)?.map(GroupId))?;
        this.group_state = wire::some(wire::string(input, flexible)?)?;
        this.group_epoch = wire::int32(input)?;
        this.assignment_epoch = wire::int32(input)?;
        this.topology = wire::optional(input, |input| Topology::read(input, version))?;
        this.members = wire::some(wire::array(input, flexible, |input| Member::read(input, version))?)?;
        this.authorized_operations = wire::int32(input)?;
        if version >= 1 {
            this.topology_description = wire::optional(input, |input| TopologyDescription::read(input, version))?;
        }
        if version >= 1 {
            this.topology_description_status = wire::int8(input)?;
        }
        if version >= 1 {
            this.assignor_name = wire::string(input, flexible)?;
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
pub struct Topology {
    /// Versions 0 to 1.
    pub epoch: i32,
    /// Versions 0 to 1; may be null.
    pub subtopologies: Option<Vec<Subtopology>>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Topology {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.put(&self.epoch.to_be_bytes());
        out.array(self.subtopologies.as_deref(), flexible, |out, it| it.write(out, version))?;
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
        this.subtopologies = wire::array(input, flexible, |input| Subtopology::read(input, version))?;
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
    pub repartition_sink_topics: Vec<TopicName>,
    /// Versions 0 to 1.
    pub state_changelog_topics: Vec<TopicInfo>,
    /// Versions 0 to 1.
    pub repartition_source_topics: Vec<TopicInfo>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Subtopology {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.string(Some(&self.subtopology_id), flexible)?;
        out.array(Some(&self.source_topics), flexible, |out, it| out.string(Some(it), flexible))?;
        out.array(Some(&self.repartition_sink_topics), flexible, |out, it| out.string(Some(it), flexible))?;
        out.array(Some(&self.state_changelog_topics), flexible, |out, it| it.write(out, version))?;
        out.array(Some(&self.repartition_source_topics), flexible, |out, it| it.write(out, version))?;
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
        this.repartition_sink_topics = wire::some(wire::array(input, flexible, |input| wire::some(wire::string(input, flexible)?.map(TopicName)))?)?;
        this.state_changelog_topics = wire::some(wire::array(input, flexible, |input| TopicInfo::read(input, version))?)?;
        this.repartition_source_topics = wire::some(wire::array(input, flexible, |input| TopicInfo::read(input, version))?)?;
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
pub struct Member {
    /// Versions 0 to 1.
    pub member_id: StrBytes,
    /// Versions 0 to 1.
    pub member_epoch: i32,
    /// Versions 0 to 1; may be null.
    pub instance_id: Option<StrBytes>,
    /// Versions 0 to 1; may be null.
    pub rack_id: Option<StrBytes>,
    /// Versions 0 to 1.
    pub client_id: StrBytes,
    /// Versions 0 to 1.
    pub client_host: StrBytes,
    /// Versions 0 to 1.
    pub topology_epoch: i32,
    /// Versions 0 to 1.
    pub process_id: StrBytes,
    /// Versions 0 to 1; may be null.
    pub user_endpoint: Option<Endpoint>,
    /// Versions 0 to 1.
    pub client_tags: Vec<KeyValue>,
    /// Versions 0 to 1.
    pub task_offsets: Vec<TaskOffset>,
    /// Versions 0 to 1.
    pub task_end_offsets: Vec<TaskOffset>,
    /// Versions 0 to 1.
    pub assignment: Assignment,
    /// Versions 0 to 1.
    pub target_assignment: Assignment,
    /// Versions 0 to 1.
    pub is_classic: bool,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Member {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.string(Some(&self.member_id), flexible)?;
        out.put(&self.member_epoch.to_be_bytes());
        out.string(self.instance_id.as_ref(), flexible)?;
        out.string(self.rack_id.as_ref(), flexible)?;
        out.string(Some(&self.client_id), flexible)?;
        out.string(Some(&self.client_host), flexible)?;
        out.put(&self.topology_epoch.to_be_bytes());
        out.string(Some(&self.process_id), flexible)?;
        out.optional(self.user_endpoint.as_ref(), |out, it| it.write(out, version))?;
        out.array(Some(&self.client_tags), flexible, |out, it| it.write(out, version))?;
        out.array(Some(&self.task_offsets), flexible, |out, it| it.write(out, version))?;
        out.array(Some(&self.task_end_offsets), flexible, |out, it| it.write(out, version))?;
        self.assignment.write(out, version)?;
        self.target_assignment.write(out, version)?;
        out.bool(self.is_classic);
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
        this.member_id = wire::some(wire::string(input, flexible)?)?;
        this.member_epoch = wire::int32(input)?;
        this.instance_id = wire::string(input, flexible)?;
        this.rack_id = wire::string(input, flexible)?;
        this.client_id = wire::some(wire::string(input, flexible)?)?;
        this.client_host = wire::some(wire::string(input, flexible)?)?;
        this.topology_epoch = wire::int32(input)?;
        this.process_id = wire::some(wire::string(input, flexible)?)?;
        this.user_endpoint = wire::optional(input, |input| Endpoint::read(input, version))?;
        this.client_tags = wire::some(wire::array(input, flexible, |input| KeyValue::read(input, version))?)?;
        this.task_offsets = wire::some(wire::array(input, flexible, |input| TaskOffset::read(input, version))?)?;
        this.task_end_offsets = wire::some(wire::array(input, flexible, |input| TaskOffset::read(input, version))?)?;
        this.assignment = Assignment::read(input, version)?;
        this.target_assignment = Assignment::read(input, version)?;
        this.is_classic = wire::boolean(input)?;
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

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Assignment {
    /// Versions 0 to 1.
    pub active_tasks: Vec<TaskIds>,
    /// Versions 0 to 1.
    pub standby_tasks: Vec<TaskIds>,
    /// Versions 0 to 1.
    pub warmup_tasks: Vec<TaskIds>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Assignment {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.array(Some(&self.active_tasks), flexible, |out, it| it.write(out, version))?;
        out.array(Some(&self.standby_tasks), flexible, |out, it| it.write(out, version))?;
        out.array(Some(&self.warmup_tasks), flexible, |out, it| it.write(out, version))?;
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
        this.active_tasks = wire::some(wire::array(input, flexible, |input| TaskIds::read(input, version))?)?;
        this.standby_tasks = wire::some(wire::array(input, flexible, |input| TaskIds::read(input, version))?)?;
        this.warmup_tasks = wire::some(wire::array(input, flexible, |input| TaskIds::read(input, version))?)?;
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
pub struct TopologyDescription {
    /// Versions 1.
    pub subtopologies: Vec<TopologyDescriptionSubtopology>,
    /// Versions 1.
    pub global_stores: Vec<TopologyDescriptionGlobalStore>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl TopologyDescription {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        if version >= 1 {
            out.array(Some(&self.subtopologies), flexible, |out, it| it.write(out, version))?;
        } else if !self.subtopologies.is_empty() {
            return Err(unavailable("subtopologies", version));
        }
        if version >= 1 {
            out.array(Some(&self.global_stores), flexible, |out, it| it.write(out, version))?;
        } else if !self.global_stores.is_empty() {
            return Err(unavailable("global_stores", version));
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
        let flexible = true;
        let mut this = Self::default();
        if version >= 1 {
            this.subtopologies = wire::some(wire::array(input, flexible, |input| TopologyDescriptionSubtopology::read(input, version))?)?;
        }
        if version >= 1 {
            this.global_stores = wire::some(wire::array(input, flexible, |input| TopologyDescriptionGlobalStore::read(input, version))?)?;
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
pub struct TopologyDescriptionSubtopology {
    /// Versions 1.
    pub subtopology_id: StrBytes,
    /// Versions 1.
    pub nodes: Vec<TopologyDescriptionNode>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl TopologyDescriptionSubtopology {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        if version >= 1 {
            out.string(Some(&self.subtopology_id), flexible)?;
        } else if !self.subtopology_id.is_empty() {
            return Err(unavailable("subtopology_id", version));
        }
        if version >= 1 {
            out.array(Some(&self.nodes), flexible, |out, it| it.write(out, version))?;
        } else if !self.nodes.is_empty() {
            return Err(unavailable("nodes", version));
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
        let flexible = true;
        let mut this = Self::default();
        if version >= 1 {
            this.subtopology_id = wire::some(wire::string(input, flexible)?)?;
        }
        if version >= 1 {
            this.nodes = wire::some(wire::array(input, flexible, |input| TopologyDescriptionNode::read(input, version))?)?;
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
pub struct TopologyDescriptionNode {
    /// Versions 1.
    pub name: StrBytes,
    /// Versions 1.
    pub node_type: i8,
    /// Versions 1.
    pub source_topics: Vec<TopicName>,
    /// Versions 1; may be null.
    pub sink_topic: Option<TopicName>,
    /// Versions 1.
    pub stores: Vec<StrBytes>,
    /// Versions 1.
    pub successors: Vec<StrBytes>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl TopologyDescriptionNode {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        if version >= 1 {
            out.string(Some(&self.name), flexible)?;
        } else if !self.name.is_empty() {
            return Err(unavailable("name", version));
        }
        if version >= 1 {
            out.put(&self.node_type.to_be_bytes());
        } else if self.node_type != 0 {
            return Err(unavailable("node_type", version));
        }
        if version >= 1 {
            out.array(Some(&self.source_topics), flexible, |out, it| out.string(Some(it), flexible))?;
        } else if !self.source_topics.is_empty() {
            return Err(unavailable("source_topics", version));
        }
        if version >= 1 {
            out.string(self.sink_topic.as_deref(), flexible)?;
        } else if self.sink_topic.is_some() {
            return Err(unavailable("sink_topic", version));
        }
        if version >= 1 {
            out.array(Some(&self.stores), flexible, |out, it| out.string(Some(it), flexible))?;
        } else if !self.stores.is_empty() {
            return Err(unavailable("stores", version));
        }
        if version >= 1 {
            out.array(Some(&self.successors), flexible, |out, it| out.string(Some(it), flexible))?;
        } else if !self.successors.is_empty() {
            return Err(unavailable("successors", version));
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
        let flexible = true;
        let mut this = Self::default();
        if version >= 1 {
            this.name = wire::some(wire::string(input, flexible)?)?;
        }
        if version >= 1 {
            this.node_type = wire::int8(input)?;
        }
        if version >= 1 {
            this.source_topics = wire::some(wire::array(input, flexible, |input| wire::some(wire::string(input, flexible)?.map(TopicName)))?)?;
        }
        if version >= 1 {
            this.sink_topic = wire::string(input, flexible)?.map(TopicName);
        }
        if version >= 1 {
            this.stores = wire::some(wire::array(input, flexible, |input| wire::some(wire::string(input, flexible)?))?)?;
        }
        if version >= 1 {
            this.successors = wire::some(wire::array(input, flexible, |input| wire::some(wire::string(input, flexible)?))?)?;
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
pub struct TopologyDescriptionGlobalStore {
    /// Versions 1.
    pub source: TopologyDescriptionNode,
    /// Versions 1.
    pub processor: TopologyDescriptionNode,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl TopologyDescriptionGlobalStore {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        if version >= 1 {
            self.source.write(out, version)?;
        } else if self.source != TopologyDescriptionNode::default() {
            return Err(unavailable("source", version));
        }
        if version >= 1 {
            self.processor.write(out, version)?;
        } else if self.processor != TopologyDescriptionNode::default() {
            return Err(unavailable("processor", version));
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
        let flexible = true;
        let mut this = Self::default();
        if version >= 1 {
            this.source = TopologyDescriptionNode::read(input, version)?;
        }
        if version >= 1 {
            this.processor = TopologyDescriptionNode::read(input, version)?;
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

impl Message for StreamsGroupDescribeResponse {
    const VERSIONS: VersionRange = VersionRange { min: 0, max: 1 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for StreamsGroupDescribeResponse {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("StreamsGroupDescribeResponse", version, 0, 1)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("StreamsGroupDescribeResponse", version, 0, 1)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for StreamsGroupDescribeResponse {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("StreamsGroupDescribeResponse", version, 0, 1)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for StreamsGroupDescribeResponse {
    fn header_version(_: i16) -> i16 {
        i16::from(true)
    }
}
