//! DeleteGroupsRequest, versions 0 to 3.
//!
//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, VersionRange};
use kafka_protocol::messages::{GroupId};

use crate::protocol::messages::wire::{self, Count, Out, Sink};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeleteGroupsRequest {
    /// Versions 0 to 3.
    pub groups_names: Vec<GroupId>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl DeleteGroupsRequest {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 2;
        out.array(Some(&self.groups_names), flexible, |out, it| out.string(Some(it), flexible))?;
        if flexible {
            out.varint(self.unknown_tagged_fields.len() as u32);
            for (tag, value) in &self.unknown_tagged_fields {
                out.tagged(*tag as u32, value)?;
            }
        }
        Ok(())
    }

    fn read<B: ByteBuf>(input: &mut B, version: i16) -> Result<Self> {
        let flexible = version >= 2;
        let mut this = Self::default();
        this.groups_names = wire::some(wire::array(input, flexible, |input| wire::some(wire::string(input, flexible)?.map(GroupId)))?)?;
        if flexible {
            for _ in 0..wire::varint(input)? {
                let (tag, value) = wire::tagged(input)?;
                this.unknown_tagged_fields.insert(tag as i32, value);
            }
        }
        Ok(this)
    }
}

impl Message for DeleteGroupsRequest {
    const VERSIONS: VersionRange = VersionRange { min: 0, max: 3 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for DeleteGroupsRequest {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("DeleteGroupsRequest", version, 0, 3)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("DeleteGroupsRequest", version, 0, 3)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for DeleteGroupsRequest {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("DeleteGroupsRequest", version, 0, 3)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for DeleteGroupsRequest {
    fn header_version(version: i16) -> i16 {
        if version >= 2 { 2 } else { 1 }
    }
}

impl Request for DeleteGroupsRequest {
    const KEY: i16 = 42;
    type Response = super::delete_groups_response::DeleteGroupsResponse;
}
