//! The one table of Kafka's messages: every field of every request and response, by version.
//!
//! `messages.txt` holds it in a notation of its own (its head explains it); here it becomes a tree that
//! others walk: `guard` to bound untrusted bytes, the generator to write the types of `messages`, tests to
//! make up values. The table is part of the program: that it parses is a test's business, not an error's.

#[cfg(test)]
mod generate;
mod parse;
#[cfg(test)]
pub(crate) mod sample;

use std::sync::{Arc, LazyLock};

/// A range of versions, both ends included; empty when `max < min`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    pub min: i16,
    pub max: i16,
}

impl Versions {
    pub const NONE: Versions = Versions { min: 0, max: -1 };

    pub fn new(min: i16, max: i16) -> Versions {
        Versions { min, max }
    }

    pub fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    pub fn is_empty(self) -> bool {
        self.max < self.min
    }

    pub fn iter(self) -> impl Iterator<Item = i16> {
        self.min..=self.max
    }
}

/// A pair of request and response.
#[derive(Debug)]
pub struct Api {
    pub key: i16,
    pub name: &'static str,
    pub request: Message,
    pub response: Message,
}

#[derive(Debug)]
pub struct Message {
    /// The versions that can be read and written.
    pub versions: Versions,
    /// The versions with compact forms and tagged fields.
    pub flexible: Versions,
    /// The message itself, named as Kafka names it (`FetchRequest`).
    pub body: Arc<Struct>,
}

#[derive(Debug)]
pub struct Struct {
    pub name: &'static str,
    pub fields: Vec<Field>,
    /// The fewest bytes a value takes, by version.
    min_bytes: Vec<u32>,
}

#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub kind: Kind,
    pub versions: Versions,
    pub nullable: Versions,
    pub tag: Option<u32>,
    pub default: Option<&'static str>,
    pub ignorable: bool,
}

#[derive(Debug)]
pub enum Kind {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Int64,
    Float64,
    Uuid,
    String,
    Bytes,
    Records,
    GroupId,
    TopicName,
    TransactionalId,
    BrokerId,
    ProducerId,
    Struct(Arc<Struct>),
    Array(Box<Kind>),
}

impl Struct {
    /// The fewest bytes a value takes in `version`.
    pub fn min_bytes(&self, version: i16) -> usize {
        let found = usize::try_from(version)
            .ok()
            .and_then(|version| self.min_bytes.get(version));
        found.map_or(0, |bytes| *bytes as usize)
    }
}

impl Kind {
    /// The fewest bytes a value takes; `flexible` says whether lengths are varints.
    pub fn min_bytes(&self, version: i16, flexible: bool) -> usize {
        match self {
            Kind::Bool | Kind::Int8 => 1,
            Kind::Int16 | Kind::Uint16 => 2,
            Kind::Int32 | Kind::BrokerId => 4,
            Kind::Int64 | Kind::Float64 | Kind::ProducerId => 8,
            Kind::Uuid => 16,
            Kind::Struct(inner) => inner.min_bytes(version),
            _ if flexible => 1,
            Kind::String | Kind::GroupId | Kind::TopicName | Kind::TransactionalId => 2,
            Kind::Bytes | Kind::Records | Kind::Array(_) => 4,
        }
    }
}

impl Message {
    pub fn is_flexible(&self, version: i16) -> bool {
        self.flexible.contains(version)
    }
}

impl Api {
    /// 2 when flexible, else 1. Asked of versions beyond ours too: a client may open with a newer one.
    pub fn request_header_version(&self, version: i16) -> i16 {
        if version >= self.request.flexible.min && !self.request.flexible.is_empty() {
            2
        } else {
            1
        }
    }

    /// 1 when flexible, else 0; always 0 for ApiVersions, which a client reads before it knows what we are.
    pub fn response_header_version(&self, version: i16) -> i16 {
        const API_VERSIONS: i16 = 18;
        i16::from(self.key != API_VERSIONS && self.response.is_flexible(version))
    }
}

static APIS: LazyLock<Vec<Api>> = LazyLock::new(|| {
    #[expect(
        clippy::expect_used,
        reason = "the table is part of the program and a test parses it"
    )]
    parse::parse(include_str!("messages.txt")).expect("the schema table parses")
});

/// Every API, by key.
pub fn apis() -> &'static [Api] {
    &APIS
}

pub fn api(key: i16) -> Option<&'static Api> {
    let apis = apis();
    let at = apis.binary_search_by_key(&key, |api| api.key).ok()?;
    apis.get(at)
}

#[cfg(test)]
mod tests;
