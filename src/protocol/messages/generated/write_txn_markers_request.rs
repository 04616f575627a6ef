//! WriteTxnMarkersRequest, versions 1 to 2.
//!
//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, VersionRange};
use kafka_protocol::messages::{ProducerId, TopicName};

use crate::protocol::messages::wire::{self, Count, Out, Sink};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct WriteTxnMarkersRequest {
    /// Versions 1 to 2.
    pub markers: Vec<WritableTxnMarker>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl WriteTxnMarkersRequest {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.array(Some(&self.markers), flexible, |out, it| it.write(out, version))?;
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
        this.markers = wire::some(wire::array(input, flexible, |input| WritableTxnMarker::read(input, version))?)?;
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
pub struct WritableTxnMarker {
    /// Versions 1 to 2.
    pub producer_id: ProducerId,
    /// Versions 1 to 2.
    pub producer_epoch: i16,
    /// Versions 1 to 2.
    pub transaction_result: bool,
    /// Versions 1 to 2.
    pub topics: Vec<WritableTxnMarkerTopic>,
    /// Versions 1 to 2.
    pub coordinator_epoch: i32,
    /// Versions 2.
    pub transaction_version: i8,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl WritableTxnMarker {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.put(&self.producer_id.0.to_be_bytes());
        out.put(&self.producer_epoch.to_be_bytes());
        out.bool(self.transaction_result);
        out.array(Some(&self.topics), flexible, |out, it| it.write(out, version))?;
        out.put(&self.coordinator_epoch.to_be_bytes());
        if version >= 2 {
            out.put(&self.transaction_version.to_be_bytes());
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
        this.producer_id = ProducerId(wire::int64(input)?);
        this.producer_epoch = wire::int16(input)?;
        this.transaction_result = wire::boolean(input)?;
        this.topics = wire::some(wire::array(input, flexible, |input| WritableTxnMarkerTopic::read(input, version))?)?;
        this.coordinator_epoch = wire::int32(input)?;
        if version >= 2 {
            this.transaction_version = wire::int8(input)?;
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
pub struct WritableTxnMarkerTopic {
    /// Versions 1 to 2.
    pub name: TopicName,
    /// Versions 1 to 2.
    pub partition_indexes: Vec<i32>,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl WritableTxnMarkerTopic {
    fn write<S: Sink>(&self, out: &mut S, _version: i16) -> Result<()> {
        let flexible = true;
        out.string(Some(&self.name), flexible)?;
        out.array(Some(&self.partition_indexes), flexible, |out, it| { out.put(&it.to_be_bytes()); Ok(()) })?;
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
        this.name = wire::some(wire::string(input, flexible)?.map(TopicName))?;
        this.partition_indexes = wire::some(wire::array(input, flexible, |input| wire::int32(input))?)?;
        if flexible {
            for _ in 0..wire::varint(input)? {
                let (tag, value) = wire::tagged(input)?;
                this.unknown_tagged_fields.insert(tag as i32, value);
            }
        }
        Ok(this)
    }
}

impl Message for WriteTxnMarkersRequest {
    const VERSIONS: VersionRange = VersionRange { min: 1, max: 2 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for WriteTxnMarkersRequest {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("WriteTxnMarkersRequest", version, 1, 2)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("WriteTxnMarkersRequest", version, 1, 2)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for WriteTxnMarkersRequest {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("WriteTxnMarkersRequest", version, 1, 2)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for WriteTxnMarkersRequest {
    fn header_version(_: i16) -> i16 {
        2
    }
}

impl Request for WriteTxnMarkersRequest {
    const KEY: i16 = 27;
    type Response = super::write_txn_markers_response::WriteTxnMarkersResponse;
}
