//! StreamsGroupDescribeRequest, versions 0 to 1.
//!
//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, VersionRange};
use kafka_protocol::messages::{GroupId};

use crate::protocol::messages::wire::{self, Count, Out, Sink};
use crate::protocol::messages::wire::unavailable;

#[derive(Debug, Clone, PartialEq, Default)]
pub struct StreamsGroupDescribeRequest {
    /// Versions 0 to 1.
    pub group_ids: Vec<GroupId>,
    /// Versions 0 to 1.
    pub include_authorized_operations: bool,
    /// Versions 1.
    pub include_topology_description: bool,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl StreamsGroupDescribeRequest {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.array(Some(&self.group_ids), flexible, |out, it| out.string(Some(it), flexible))?;
        out.bool(self.include_authorized_operations);
        if version >= 1 {
            out.bool(self.include_topology_description);
        } else if self.include_topology_description {
            return Err(unavailable("include_topology_description", version));
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
        this.group_ids = wire::some(wire::array(input, flexible, |input| wire::some(wire::string(input, flexible)?.map(GroupId)))?)?;
        this.include_authorized_operations = wire::boolean(input)?;
        if version >= 1 {
            this.include_topology_description = wire::boolean(input)?;
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

impl Message for StreamsGroupDescribeRequest {
    const VERSIONS: VersionRange = VersionRange { min: 0, max: 1 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for StreamsGroupDescribeRequest {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("StreamsGroupDescribeRequest", version, 0, 1)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("StreamsGroupDescribeRequest", version, 0, 1)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for StreamsGroupDescribeRequest {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("StreamsGroupDescribeRequest", version, 0, 1)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for StreamsGroupDescribeRequest {
    fn header_version(_: i16) -> i16 {
        2
    }
}

impl Request for StreamsGroupDescribeRequest {
    const KEY: i16 = 89;
    type Response = super::streams_group_describe_response::StreamsGroupDescribeResponse;
}
