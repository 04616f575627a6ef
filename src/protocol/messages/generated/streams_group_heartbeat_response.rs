//! StreamsGroupHeartbeatResponse, versions 0 to 1.
//!
//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, StrBytes, VersionRange};
use kafka_protocol::messages::{TopicName};

use crate::protocol::messages::wire::{self, Count, Out, Sink};
use crate::protocol::messages::wire::unavailable;

#[derive(Debug, Clone, PartialEq)]
pub struct StreamsGroupHeartbeatResponse {
    /// Versions 0 to 1.
    pub throttle_time_ms: i32,
    /// Versions 0 to 1.
    pub error_code: i16,
    /// Versions 0 to 1; may be null.
    pub error_message: Option<StrBytes>,
    /// Versions 0 to 1.
    pub member_id: StrBytes,
    /// Versions 0 to 1.
    pub member_epoch: i32,
    /// Versions 0 to 1.
    pub heartbeat_interval_ms: i32,
    /// Versions 0.
    pub acceptable_recovery_lag_legacy: i32,
    /// Versions 0 to 1.
    pub task_offset_interval_ms: i32,
    /// Versions 1.
    pub acceptable_recovery_lag: i64,
    /// Versions 0 to 1; may be null.
    pub status: Option<Vec<Status>>,
    /// Versions 0 to 1; may be null.
    pub active_tasks: Option<Vec<TaskIds>>,
    /// Versions 0 to 1; may be null.
    pub standby_tasks: Option<Vec<TaskIds>>,
    /// Versions 0 to 1; may be null.
    pub warmup_tasks: Option<Vec<TaskIds>>,
    /// Versions 1.
    pub topology_description_required: bool,
    /// Versions 0 to 1.
    pub endpoint_information_epoch: i32,
    /// Versions 0 to 1; may be null.
    pub partitions_by_user_endpoint: Option<Vec<EndpointToPartitions>>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Default for StreamsGroupHeartbeatResponse {
    fn default() -> Self {
        Self {
            throttle_time_ms: Default::default(),
            error_code: Default::default(),
            error_message: None,
            member_id: Default::default(),
            member_epoch: Default::default(),
            heartbeat_interval_ms: Default::default(),
            acceptable_recovery_lag_legacy: Default::default(),
            task_offset_interval_ms: Default::default(),
            acceptable_recovery_lag: -1,
            status: Some(Default::default()),
            active_tasks: None,
            standby_tasks: None,
            warmup_tasks: None,
            topology_description_required: Default::default(),
            endpoint_information_epoch: Default::default(),
            partitions_by_user_endpoint: None,
            unknown_tagged_fields: BTreeMap::new(),
        }
    }
}

impl StreamsGroupHeartbeatResponse {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.put(&self.throttle_time_ms.to_be_bytes());
        out.put(&self.error_code.to_be_bytes());
        out.string(self.error_message.as_ref(), flexible)?;
        out.string(Some(&self.member_id), flexible)?;
        out.put(&self.member_epoch.to_be_bytes());
        out.put(&self.heartbeat_interval_ms.to_be_bytes());
        if version <= 0 {
            out.put(&self.acceptable_recovery_lag_legacy.to_be_bytes());
        } else if self.acceptable_recovery_lag_legacy != 0 {
            return Err(unavailable("acceptable_recovery_lag_legacy", version));
        }
        out.put(&self.task_offset_interval_ms.to_be_bytes());
        if version >= 1 {
            out.put(&self.acceptable_recovery_lag.to_be_bytes());
        }
        out.array(self.status.as_deref(), flexible, |out, it| it.write(out, version))?;
        out.array(self.active_tasks.as_deref(), flexible, |out, it| it.write(out, version))?;
        out.array(self.standby_tasks.as_deref(), flexible, |out, it| it.write(out, version))?;
        out.array(self.warmup_tasks.as_deref(), flexible, |out, it| it.write(out, version))?;
        if version >= 1 {
            out.bool(self.topology_description_required);
        } else if self.topology_description_required {
            return Err(unavailable("topology_description_required", version));
        }
        out.put(&self.endpoint_information_epoch.to_be_bytes());
        out.array(self.partitions_by_user_endpoint.as_deref(), flexible, |out, it| it.write(out, version))?;
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
        this.member_id = wire::some(wire::string(input, flexible)?)?;
        this.member_epoch = wire::int32(input)?;
        this.heartbeat_interval_ms = wire::int32(input)?;
        if version <= 0 {
            this.acceptable_recovery_lag_legacy = wire::int32(input)?;
        }
        this.task_offset_interval_ms = wire::int32(input)?;
        if version >= 1 {
            this.acceptable_recovery_lag = wire::int64(input)?;
        }
        this.status = wire::array(input, flexible, |input| Status::read(input, version))?;
        this.active_tasks = wire::array(input, flexible, |input| TaskIds::read(input, version))?;
        this.standby_tasks = wire::array(input, flexible, |input| TaskIds::read(input, version))?;
        this.warmup_tasks = wire::array(input, flexible, |input| TaskIds::read(input, version))?;
        if version >= 1 {
            this.topology_description_required = wire::boolean(input)?;
        }
        this.endpoint_information_epoch = wire::int32(input)?;
        this.partitions_by_user_endpoint = wire::array(input, flexible, |input| EndpointToPartitions::read(input, version))?;
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
pub struct Status {
    /// Versions 0 to 1.
    pub status_code: i8,
    /// Versions 0 to 1.
    pub status_detail: StrBytes,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Status {
    fn write<S: Sink>(&self, out: &mut S, _version: i16) -> Result<()> {
        let flexible = true;
        out.put(&self.status_code.to_be_bytes());
        out.string(Some(&self.status_detail), flexible)?;
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
        this.status_code = wire::int8(input)?;
        this.status_detail = wire::some(wire::string(input, flexible)?)?;
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
pub struct EndpointToPartitions {
    /// Versions 0 to 1.
    pub user_endpoint: Endpoint,
    /// Versions 0 to 1.
    pub active_partitions: Vec<TopicPartition>,
    /// Versions 0 to 1.
    pub standby_partitions: Vec<TopicPartition>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl EndpointToPartitions {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        self.user_endpoint.write(out, version)?;
        out.array(Some(&self.active_partitions), flexible, |out, it| it.write(out, version))?;
        out.array(Some(&self.standby_partitions), flexible, |out, it| it.write(out, version))?;
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
        this.user_endpoint = Endpoint::read(input, version)?;
        this.active_partitions = wire::some(wire::array(input, flexible, |input| TopicPartition::read(input, version))?)?;
        this.standby_partitions = wire::some(wire::array(input, flexible, |input| TopicPartition::read(input, version))?)?;
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
pub struct TopicPartition {
    /// Versions 0 to 1.
    pub topic: TopicName,
    /// Versions 0 to 1.
    pub partitions: Vec<i32>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl TopicPartition {
    fn write<S: Sink>(&self, out: &mut S, _version: i16) -> Result<()> {
        let flexible = true;
        out.string(Some(&self.topic), flexible)?;
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
        this.topic = wire::some(wire::string(input, flexible)?.map(TopicName))?;
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

impl Message for StreamsGroupHeartbeatResponse {
    const VERSIONS: VersionRange = VersionRange { min: 0, max: 1 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for StreamsGroupHeartbeatResponse {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("StreamsGroupHeartbeatResponse", version, 0, 1)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("StreamsGroupHeartbeatResponse", version, 0, 1)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for StreamsGroupHeartbeatResponse {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("StreamsGroupHeartbeatResponse", version, 0, 1)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for StreamsGroupHeartbeatResponse {
    fn header_version(_: i16) -> i16 {
        i16::from(true)
    }
}
