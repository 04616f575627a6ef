//! WriteShareGroupStateResponse, versions 0 to 1.
//!
//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, StrBytes, VersionRange};
use uuid::Uuid;

use crate::protocol::messages::wire::{self, Count, Out, Sink};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct WriteShareGroupStateResponse {
    /// Versions 0 to 1.
    pub results: Vec<WriteStateResult>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl WriteShareGroupStateResponse {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
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
        let flexible = true;
        let mut this = Self::default();
        this.results = wire::some(wire::array(input, flexible, |input| WriteStateResult::read(input, version))?)?;
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
pub struct WriteStateResult {
    /// Versions 0 to 1.
    pub topic_id: Uuid,
    /// Versions 0 to 1.
    pub partitions: Vec<PartitionResult>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl WriteStateResult {
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
        this.partitions = wire::some(wire::array(input, flexible, |input| PartitionResult::read(input, version))?)?;
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
pub struct PartitionResult {
    /// Versions 0 to 1.
    pub partition: i32,
    /// Versions 0 to 1.
    pub error_code: i16,
    /// Versions 0 to 1; may be null.
    pub error_message: Option<StrBytes>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl PartitionResult {
    fn write<S: Sink>(&self, out: &mut S, _version: i16) -> Result<()> {
        let flexible = true;
        out.put(&self.partition.to_be_bytes());
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
        this.partition = wire::int32(input)?;
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

impl Message for WriteShareGroupStateResponse {
    const VERSIONS: VersionRange = VersionRange { min: 0, max: 1 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for WriteShareGroupStateResponse {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("WriteShareGroupStateResponse", version, 0, 1)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("WriteShareGroupStateResponse", version, 0, 1)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for WriteShareGroupStateResponse {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("WriteShareGroupStateResponse", version, 0, 1)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for WriteShareGroupStateResponse {
    fn header_version(_: i16) -> i16 {
        i16::from(true)
    }
}
