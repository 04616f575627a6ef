//! StreamsGroupTopologyDescriptionUpdateResponse, versions 0.
//!
//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, StrBytes, VersionRange};

use crate::protocol::messages::wire::{self, Count, Out, Sink};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct StreamsGroupTopologyDescriptionUpdateResponse {
    /// Versions 0.
    pub throttle_time_ms: i32,
    /// Versions 0.
    pub error_code: i16,
    /// Versions 0; may be null.
    pub error_message: Option<StrBytes>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl StreamsGroupTopologyDescriptionUpdateResponse {
    fn write<S: Sink>(&self, out: &mut S, _version: i16) -> Result<()> {
        let flexible = true;
        out.put(&self.throttle_time_ms.to_be_bytes());
        out.put(&self.error_code.to_be_bytes());
        out.string(self.error_message.as_ref(), flexible)?;
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
        this.throttle_time_ms = wire::int32(input)?;
        this.error_code = wire::int16(input)?;
        this.error_message = wire::string(input, flexible)?;
        if flexible {
            for _ in 0..wire::varint(input)? {
                let (tag, value) = wire::tagged(input)?;
                this.unknown_tagged_fields.insert(tag as i32, value);
            }
        }
        Ok(this)
    }
}

impl Message for StreamsGroupTopologyDescriptionUpdateResponse {
    const VERSIONS: VersionRange = VersionRange { min: 0, max: 0 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for StreamsGroupTopologyDescriptionUpdateResponse {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("StreamsGroupTopologyDescriptionUpdateResponse", version, 0, 0)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("StreamsGroupTopologyDescriptionUpdateResponse", version, 0, 0)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for StreamsGroupTopologyDescriptionUpdateResponse {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("StreamsGroupTopologyDescriptionUpdateResponse", version, 0, 0)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for StreamsGroupTopologyDescriptionUpdateResponse {
    fn header_version(_: i16) -> i16 {
        i16::from(true)
    }
}
