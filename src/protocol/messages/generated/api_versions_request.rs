//! ApiVersionsRequest, versions 0 to 5.
//!
//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes, VersionRange};

use crate::protocol::messages::wire::{self, Count, Out, Sink};

#[derive(Debug, Clone, PartialEq)]
pub struct ApiVersionsRequest {
    /// Versions 3 to 5.
    pub client_software_name: StrBytes,
    /// Versions 3 to 5.
    pub client_software_version: StrBytes,
    /// Versions 5; may be null.
    pub cluster_id: Option<StrBytes>,
    /// Versions 5.
    pub node_id: i32,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Default for ApiVersionsRequest {
    fn default() -> Self {
        Self {
            client_software_name: Default::default(),
            client_software_version: Default::default(),
            cluster_id: None,
            node_id: -1,
            unknown_tagged_fields: BTreeMap::new(),
        }
    }
}

impl ApiVersionsRequest {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 3;
        if version >= 3 {
            out.string(Some(&self.client_software_name), flexible)?;
        }
        if version >= 3 {
            out.string(Some(&self.client_software_version), flexible)?;
        }
        if version >= 5 {
            out.string(self.cluster_id.as_ref(), flexible)?;
        }
        if version >= 5 {
            out.put(&self.node_id.to_be_bytes());
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
        let flexible = version >= 3;
        let mut this = Self::default();
        if version >= 3 {
            this.client_software_name = wire::some(wire::string(input, flexible)?)?;
        }
        if version >= 3 {
            this.client_software_version = wire::some(wire::string(input, flexible)?)?;
        }
        if version >= 5 {
            this.cluster_id = wire::string(input, flexible)?;
        }
        if version >= 5 {
            this.node_id = wire::int32(input)?;
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

impl Message for ApiVersionsRequest {
    const VERSIONS: VersionRange = VersionRange { min: 0, max: 5 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for ApiVersionsRequest {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("ApiVersionsRequest", version, 0, 5)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("ApiVersionsRequest", version, 0, 5)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for ApiVersionsRequest {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("ApiVersionsRequest", version, 0, 5)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for ApiVersionsRequest {
    fn header_version(version: i16) -> i16 {
        if version >= 3 { 2 } else { 1 }
    }
}

impl Request for ApiVersionsRequest {
    const KEY: i16 = 18;
    type Response = super::api_versions_response::ApiVersionsResponse;
}
