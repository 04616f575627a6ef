//! AddRaftVoterRequest, versions 0 to 1.
//!
//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes, VersionRange};
use uuid::Uuid;

use crate::protocol::messages::wire::{self, Count, Out, Sink};
use crate::protocol::messages::wire::unavailable;

#[derive(Debug, Clone, PartialEq)]
pub struct AddRaftVoterRequest {
    /// Versions 0 to 1; may be null.
    pub cluster_id: Option<StrBytes>,
    /// Versions 0 to 1.
    pub timeout_ms: i32,
    /// Versions 0 to 1.
    pub voter_id: i32,
    /// Versions 0 to 1.
    pub voter_directory_id: Uuid,
    /// Versions 0 to 1.
    pub listeners: Vec<Listener>,
    /// Versions 1.
    pub ack_when_committed: bool,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Default for AddRaftVoterRequest {
    fn default() -> Self {
        Self {
            cluster_id: Some(Default::default()),
            timeout_ms: Default::default(),
            voter_id: Default::default(),
            voter_directory_id: Default::default(),
            listeners: Default::default(),
            ack_when_committed: true,
            unknown_tagged_fields: BTreeMap::new(),
        }
    }
}

impl AddRaftVoterRequest {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = true;
        out.string(self.cluster_id.as_ref(), flexible)?;
        out.put(&self.timeout_ms.to_be_bytes());
        out.put(&self.voter_id.to_be_bytes());
        out.put(self.voter_directory_id.as_bytes());
        out.array(Some(&self.listeners), flexible, |out, it| it.write(out, version))?;
        if version >= 1 {
            out.bool(self.ack_when_committed);
        } else if !self.ack_when_committed {
            return Err(unavailable("ack_when_committed", version));
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
        this.cluster_id = wire::string(input, flexible)?;
        this.timeout_ms = wire::int32(input)?;
        this.voter_id = wire::int32(input)?;
        this.voter_directory_id = wire::uuid(input)?;
        this.listeners = wire::some(wire::array(input, flexible, |input| Listener::read(input, version))?)?;
        if version >= 1 {
            this.ack_when_committed = wire::boolean(input)?;
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
pub struct Listener {
    /// Versions 0 to 1.
    pub name: StrBytes,
    /// Versions 0 to 1.
    pub host: StrBytes,
    /// Versions 0 to 1.
    pub port: u16,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Listener {
    fn write<S: Sink>(&self, out: &mut S, _version: i16) -> Result<()> {
        let flexible = true;
        out.string(Some(&self.name), flexible)?;
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
        this.name = wire::some(wire::string(input, flexible)?)?;
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

impl Message for AddRaftVoterRequest {
    const VERSIONS: VersionRange = VersionRange { min: 0, max: 1 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for AddRaftVoterRequest {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("AddRaftVoterRequest", version, 0, 1)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("AddRaftVoterRequest", version, 0, 1)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for AddRaftVoterRequest {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("AddRaftVoterRequest", version, 0, 1)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for AddRaftVoterRequest {
    fn header_version(_: i16) -> i16 {
        2
    }
}

impl Request for AddRaftVoterRequest {
    const KEY: i16 = 80;
    type Response = super::add_raft_voter_response::AddRaftVoterResponse;
}
