//! What travels between the harness and the drivers: records and small tuples as JSON, bytes as base64.
//!
//! The driver of librdkafka and the harness share these types; the other drivers have their own in their language.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that print as text where they are text: for failures that a person reads.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Blob(pub Vec<u8>);

impl From<&str> for Blob {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = self.0.get(..60).unwrap_or(&self.0);
        write!(f, "{:?}", String::from_utf8_lossy(shown))?;
        if shown.len() < self.0.len() {
            write!(f, "… ({} bytes)", self.0.len())
        } else {
            Ok(())
        }
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD
            .decode(text)
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

/// A record to produce: without a partition the client's own partitioner chooses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outgoing {
    pub partition: Option<i32>,
    pub key: Option<Blob>,
    pub value: Option<Blob>,
    #[serde(default)]
    pub headers: Vec<(String, Option<Blob>)>,
    pub timestamp: Option<i64>,
}

/// A record as a consumer saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incoming {
    pub partition: i32,
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Blob>,
    pub value: Option<Blob>,
    #[serde(default)]
    pub headers: Vec<(String, Option<Blob>)>,
}

pub type TopicPartition = (String, i32);
pub type PartitionOffset = (String, i32, i64);
