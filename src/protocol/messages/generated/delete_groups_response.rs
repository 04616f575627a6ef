//! DeleteGroupsResponse, versions 0 to 3.
//!
//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, StrBytes, VersionRange};
use kafka_protocol::messages::{GroupId};

use crate::protocol::messages::wire::{self, Count, Out, Sink};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeleteGroupsResponse {
    /// Versions 0 to 3.
    pub throttle_time_ms: i32,
    /// Versions 0 to 3.
    pub results: Vec<DeletableGroupResult>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl DeleteGroupsResponse {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 2;
        out.put(&self.throttle_time_ms.to_be_bytes());
        out.array(Some(&self.results), flexible, |out, it| it.write(out, version))?;
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
        this.throttle_time_ms = wire::int32(input)?;
        this.results = wire::some(wire::array(input, flexible, |input| DeletableGroupResult::read(input, version))?)?;
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
pub struct DeletableGroupResult {
    /// Versions 0 to 3.
    pub group_id: GroupId,
    /// Versions 0 to 3.
    pub error_code: i16,
    /// Versions 3; may be null.
    pub error_message: Option<StrBytes>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl DeletableGroupResult {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 2;
        out.string(Some(&self.group_id), flexible)?;
        out.put(&self.error_code.to_be_bytes());
        if version >= 3 {
            out.string(self.error_message.as_ref(), flexible)?;
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
        let flexible = version >= 2;
        let mut this = Self::default();
        this.group_id = wire::some(wire::string(input, flexible)?.map(GroupId))?;
        this.error_code = wire::int16(input)?;
        if version >= 3 {
            this.error_message = wire::string(input, flexible)?;
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

impl Message for DeleteGroupsResponse {
    const VERSIONS: VersionRange = VersionRange { min: 0, max: 3 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for DeleteGroupsResponse {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("DeleteGroupsResponse", version, 0, 3)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("DeleteGroupsResponse", version, 0, 3)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for DeleteGroupsResponse {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("DeleteGroupsResponse", version, 0, 3)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for DeleteGroupsResponse {
    fn header_version(version: i16) -> i16 {
        i16::from(version >= 2)
    }
}
