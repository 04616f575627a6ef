//! ApiVersionsResponse, versions 0 to 5.
//!
//! Generated from `schema/messages.txt`: `DOHLE_BLESS=1 cargo test` writes it anew.

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::Bytes;
use kafka_protocol::protocol::buf::{ByteBuf, ByteBufMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, StrBytes, VersionRange};

use crate::protocol::messages::wire::{self, Count, Out, Sink};
use crate::protocol::messages::wire::unavailable;

#[derive(Debug, Clone, PartialEq)]
pub struct ApiVersionsResponse {
    /// Versions 0 to 5.
    pub error_code: i16,
    /// Versions 0 to 5.
    pub api_keys: Vec<ApiVersion>,
    /// Versions 1 to 5.
    pub throttle_time_ms: i32,
    /// Versions 3 to 5; tag 0.
    pub supported_features: Vec<SupportedFeatureKey>,
    /// Versions 3 to 5; tag 1.
    pub finalized_features_epoch: i64,
    /// Versions 3 to 5; tag 2.
    pub finalized_features: Vec<FinalizedFeatureKey>,
    /// Versions 3 to 5; tag 3.
    pub zk_migration_ready: bool,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl Default for ApiVersionsResponse {
    fn default() -> Self {
        Self {
            error_code: Default::default(),
            api_keys: Default::default(),
            throttle_time_ms: Default::default(),
            supported_features: Default::default(),
            finalized_features_epoch: -1,
            finalized_features: Default::default(),
            zk_migration_ready: Default::default(),
            unknown_tagged_fields: BTreeMap::new(),
        }
    }
}

impl ApiVersionsResponse {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 3;
        out.put(&self.error_code.to_be_bytes());
        out.array(Some(&self.api_keys), flexible, |out, it| it.write(out, version))?;
        if version >= 1 {
            out.put(&self.throttle_time_ms.to_be_bytes());
        }
        if flexible {
            let mut tagged = self.unknown_tagged_fields.clone();
            if version >= 3 && !self.supported_features.is_empty() {
                let mut value = Vec::new();
                let out = &mut value;
                out.array(Some(&self.supported_features), flexible, |out, it| it.write(out, version))?;
                tagged.insert(0, value.into());
            }
            if version >= 3 && self.finalized_features_epoch != -1 {
                let mut value = Vec::new();
                let out = &mut value;
                out.put(&self.finalized_features_epoch.to_be_bytes());
                tagged.insert(1, value.into());
            }
            if version >= 3 && !self.finalized_features.is_empty() {
                let mut value = Vec::new();
                let out = &mut value;
                out.array(Some(&self.finalized_features), flexible, |out, it| it.write(out, version))?;
                tagged.insert(2, value.into());
            }
            if version >= 3 && self.zk_migration_ready {
                let mut value = Vec::new();
                let out = &mut value;
                out.bool(self.zk_migration_ready);
                tagged.insert(3, value.into());
            }
            out.varint(tagged.len() as u32);
            for (tag, value) in &tagged {
                out.tagged(*tag as u32, value)?;
            }
        }
        Ok(())
    }

    fn read<B: ByteBuf>(input: &mut B, version: i16) -> Result<Self> {
        let flexible = version >= 3;
        let mut this = Self::default();
        this.error_code = wire::int16(input)?;
        this.api_keys = wire::some(wire::array(input, flexible, |input| ApiVersion::read(input, version))?)?;
        if version >= 1 {
            this.throttle_time_ms = wire::int32(input)?;
        }
        if flexible {
            for _ in 0..wire::varint(input)? {
                let (tag, mut value) = wire::tagged(input)?;
                let input = &mut value;
                match tag {
                    0 if version >= 3 => {
                        this.supported_features = wire::some(wire::array(input, flexible, |input| SupportedFeatureKey::read(input, version))?)?;
                        wire::finished(input)?;
                    }
                    1 if version >= 3 => {
                        this.finalized_features_epoch = wire::int64(input)?;
                        wire::finished(input)?;
                    }
                    2 if version >= 3 => {
                        this.finalized_features = wire::some(wire::array(input, flexible, |input| FinalizedFeatureKey::read(input, version))?)?;
                        wire::finished(input)?;
                    }
                    3 if version >= 3 => {
                        this.zk_migration_ready = wire::boolean(input)?;
                        wire::finished(input)?;
                    }
                    _ => {
                        this.unknown_tagged_fields.insert(tag as i32, value);
                    }
                }
            }
        }
        Ok(this)
    }
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct ApiVersion {
    /// Versions 0 to 5.
    pub api_key: i16,
    /// Versions 0 to 5.
    pub min_version: i16,
    /// Versions 0 to 5.
    pub max_version: i16,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl ApiVersion {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 3;
        out.put(&self.api_key.to_be_bytes());
        out.put(&self.min_version.to_be_bytes());
        out.put(&self.max_version.to_be_bytes());
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
        this.api_key = wire::int16(input)?;
        this.min_version = wire::int16(input)?;
        this.max_version = wire::int16(input)?;
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
pub struct SupportedFeatureKey {
    /// Versions 3 to 5.
    pub name: StrBytes,
    /// Versions 3 to 5.
    pub min_version: i16,
    /// Versions 3 to 5.
    pub max_version: i16,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl SupportedFeatureKey {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 3;
        if version >= 3 {
            out.string(Some(&self.name), flexible)?;
        } else if !self.name.is_empty() {
            return Err(unavailable("name", version));
        }
        if version >= 3 {
            out.put(&self.min_version.to_be_bytes());
        } else if self.min_version != 0 {
            return Err(unavailable("min_version", version));
        }
        if version >= 3 {
            out.put(&self.max_version.to_be_bytes());
        } else if self.max_version != 0 {
            return Err(unavailable("max_version", version));
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
            this.name = wire::some(wire::string(input, flexible)?)?;
        }
        if version >= 3 {
            this.min_version = wire::int16(input)?;
        }
        if version >= 3 {
            this.max_version = wire::int16(input)?;
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
pub struct FinalizedFeatureKey {
    /// Versions 3 to 5.
    pub name: StrBytes,
    /// Versions 3 to 5.
    pub max_version_level: i16,
    /// Versions 3 to 5.
    pub min_version_level: i16,
    pub unknown_tagged_fields: BTreeMap<i32, Bytes>,
}

impl FinalizedFeatureKey {
    fn write<S: Sink>(&self, out: &mut S, version: i16) -> Result<()> {
        let flexible = version >= 3;
        if version >= 3 {
            out.string(Some(&self.name), flexible)?;
        } else if !self.name.is_empty() {
            return Err(unavailable("name", version));
        }
        if version >= 3 {
            out.put(&self.max_version_level.to_be_bytes());
        } else if self.max_version_level != 0 {
            return Err(unavailable("max_version_level", version));
        }
        if version >= 3 {
            out.put(&self.min_version_level.to_be_bytes());
        } else if self.min_version_level != 0 {
            return Err(unavailable("min_version_level", version));
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
            this.name = wire::some(wire::string(input, flexible)?)?;
        }
        if version >= 3 {
            this.max_version_level = wire::int16(input)?;
        }
        if version >= 3 {
            this.min_version_level = wire::int16(input)?;
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

impl Message for ApiVersionsResponse {
    const VERSIONS: VersionRange = VersionRange { min: 0, max: 5 };
    const DEPRECATED_VERSIONS: Option<VersionRange> = None;
}

impl Encodable for ApiVersionsResponse {
    fn encode<B: ByteBufMut>(&self, buf: &mut B, version: i16) -> Result<()> {
        wire::check_version("ApiVersionsResponse", version, 0, 5)?;
        self.write(&mut Out(buf), version)
    }

    fn compute_size(&self, version: i16) -> Result<usize> {
        wire::check_version("ApiVersionsResponse", version, 0, 5)?;
        let mut count = Count::default();
        self.write(&mut count, version)?;
        Ok(count.0)
    }
}

impl Decodable for ApiVersionsResponse {
    fn decode<B: ByteBuf>(buf: &mut B, version: i16) -> Result<Self> {
        wire::check_version("ApiVersionsResponse", version, 0, 5)?;
        Self::read(buf, version)
    }
}

impl HeaderVersion for ApiVersionsResponse {
    fn header_version(_: i16) -> i16 {
        0
    }
}
