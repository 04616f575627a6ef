//! Walks an untrusted body by the schema table before any decoder sees it.
//!
//! A decoder may reserve what a count claims; after this walk every count is one of elements that are
//! really there. The walk allocates nothing, its depth is the schema's, and its time is linear in the body:
//! each element of an array takes at least a byte (a test of the table says so).
//!
//! Stricter than Kafka in what no client does: a null other than length -1, a string that is not UTF-8, a
//! tagged field whose size is not that of its value. As lenient as Kafka about bytes after the body, which
//! its parser never looks at, and about varints longer than they need be.

use std::fmt;

use crate::protocol::schema::{self, Field, Kind, Message, Struct};
use crate::protocol::varint;

/// Kafka refuses longer strings, in compact form too.
const MAX_STRING: usize = i16::MAX as usize;

/// Where and why a body is not what its version says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardError {
    /// The struct and the field in it.
    pub place: (&'static str, &'static str),
    /// Bytes from the start of the body.
    pub position: usize,
    pub reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    UnknownVersion(i16),
    EndsEarly,
    VarintTooLong,
    Null,
    NegativeLength(i64),
    /// A length or count beyond the bytes that remain.
    TooMany(u64),
    StringTooLong(usize),
    NotUtf8,
    TaggedFieldSize,
    /// The byte before a struct that may be null is neither -1 nor 1.
    Presence(u8),
}

impl fmt::Display for GuardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, field) = self.place;
        write!(f, "{place}.{field} at byte {}: ", self.position)?;
        match self.reason {
            Reason::UnknownVersion(version) => write!(f, "version {version} is unknown"),
            Reason::EndsEarly => write!(f, "the body ends early"),
            Reason::VarintTooLong => write!(f, "a varint runs on"),
            Reason::Null => write!(f, "null where null is not allowed"),
            Reason::NegativeLength(length) => write!(f, "length {length}"),
            Reason::TooMany(count) => write!(f, "{count} is more than the rest of the body holds"),
            Reason::StringTooLong(length) => write!(f, "a string of {length} bytes"),
            Reason::NotUtf8 => write!(f, "a string that is not UTF-8"),
            Reason::Presence(byte) => write!(f, "{byte} is neither null nor present"),
            Reason::TaggedFieldSize => write!(f, "a tagged field is not as long as it says"),
        }
    }
}

impl std::error::Error for GuardError {}

/// Checks a body of `message` in `version`; how many bytes it takes. Bytes after it are not looked at.
pub fn check(message: &Message, version: i16, body: &[u8]) -> Result<usize, GuardError> {
    walk(message, version, body, &mut |_| {})
}

/// The error codes in a response body, in the order they come, zeroes too.
pub fn error_codes(message: &Message, version: i16, body: &[u8], each: &mut dyn FnMut(i16)) {
    // A reply made here is well formed; what could not be walked is not counted.
    let _ = walk(message, version, body, each);
}

fn walk(
    message: &Message,
    version: i16,
    body: &[u8],
    on_error_code: &mut dyn FnMut(i16),
) -> Result<usize, GuardError> {
    let mut guard = Guard {
        rest: body,
        total: body.len(),
        version,
        flexible: message.is_flexible(version),
        place: (message.body.name, ""),
        on_error_code,
    };
    if !message.versions.contains(version) {
        return Err(guard.error(Reason::UnknownVersion(version)));
    }
    guard.structure(&message.body)?;
    Ok(body.len() - guard.rest.len())
}

/// What is wrong with a request body that a hand-written parser of `key` has refused.
pub(crate) fn explain(key: i16, version: i16, body: &[u8]) -> GuardError {
    let found = match schema::api(key) {
        Some(api) => check(&api.request, version, body).err(),
        None => None,
    };
    found.unwrap_or(GuardError {
        place: ("request", "body"),
        position: 0,
        reason: Reason::UnknownVersion(version),
    })
}

struct Guard<'a> {
    rest: &'a [u8],
    total: usize,
    version: i16,
    flexible: bool,
    place: (&'static str, &'static str),
    on_error_code: &'a mut dyn FnMut(i16),
}

type Outcome<T = ()> = Result<T, GuardError>;

impl<'a> Guard<'a> {
    fn error(&self, reason: Reason) -> GuardError {
        GuardError {
            place: self.place,
            position: self.total - self.rest.len(),
            reason,
        }
    }

    fn take(&mut self, size: usize) -> Outcome<&'a [u8]> {
        match self.rest.split_at_checked(size) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.error(Reason::EndsEarly)),
        }
    }

    fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(self.error(Reason::EndsEarly)),
        }
    }

    fn varint(&mut self) -> Outcome<u32> {
        match varint::read_u32(self.rest) {
            Some((value, size)) => {
                self.take(size)?;
                Ok(value)
            }
            None if self.rest.len() < 5 => Err(self.error(Reason::EndsEarly)),
            None => Err(self.error(Reason::VarintTooLong)),
        }
    }

    fn structure(&mut self, found: &Struct) -> Outcome {
        let outer = self.place;
        for field in &found.fields {
            if field.tag.is_none() && field.versions.contains(self.version) {
                self.place = (found.name, field.name);
                self.value(&field.kind, field.nullable.contains(self.version))?;
            }
        }
        if self.flexible {
            self.place = (found.name, "tagged fields");
            self.tagged_fields(&found.fields)?;
        }
        self.place = outer;
        Ok(())
    }

    fn tagged_fields(&mut self, fields: &[Field]) -> Outcome {
        let place = self.place;
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let size = self.varint()? as usize;
            if size > self.rest.len() {
                return Err(self.error(Reason::TooMany(size as u64)));
            }
            let after = self.rest.len() - size;
            let known = fields
                .iter()
                .find(|field| field.tag == Some(tag) && field.versions.contains(self.version));
            match known {
                Some(field) => {
                    self.place.1 = field.name;
                    self.value(&field.kind, field.nullable.contains(self.version))?;
                    if self.rest.len() != after {
                        return Err(self.error(Reason::TaggedFieldSize));
                    }
                    self.place = place;
                }
                None => {
                    self.take(size)?;
                }
            }
        }
        Ok(())
    }

    fn value(&mut self, kind: &Kind, nullable: bool) -> Outcome {
        match kind {
            Kind::Struct(inner) if nullable => match self.array()? {
                [0xff] => Ok(()),
                [1] => self.structure(inner),
                [other] => Err(self.error(Reason::Presence(other))),
            },
            Kind::Struct(inner) => self.structure(inner),
            Kind::Array(element) => self.elements(element, nullable),
            Kind::String | Kind::GroupId | Kind::TopicName | Kind::TransactionalId => {
                self.string(nullable)
            }
            Kind::Bytes | Kind::Records => self.bytes(nullable),
            Kind::Int16 if self.place.1 == "error_code" => {
                let code = i16::from_be_bytes(self.array()?);
                (self.on_error_code)(code);
                Ok(())
            }
            _ => {
                let size = kind.min_bytes(self.version, self.flexible);
                self.take(size).map(|_| ())
            }
        }
    }

    /// A length or count: `None` is null.
    fn length(&mut self, nullable: bool, wide: bool) -> Outcome<Option<u64>> {
        let length = match (self.flexible, wide) {
            (true, _) => i64::from(self.varint()?) - 1,
            (false, true) => i64::from(i32::from_be_bytes(self.array()?)),
            (false, false) => i64::from(i16::from_be_bytes(self.array()?)),
        };
        match u64::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length < -1 => Err(self.error(Reason::NegativeLength(length))),
            Err(_) if !nullable => Err(self.error(Reason::Null)),
            Err(_) => Ok(None),
        }
    }

    fn sized(&mut self, nullable: bool, wide: bool) -> Outcome<Option<&'a [u8]>> {
        let Some(length) = self.length(nullable, wide)? else {
            return Ok(None);
        };
        match usize::try_from(length) {
            Ok(size) if size <= self.rest.len() => self.take(size).map(Some),
            _ => Err(self.error(Reason::TooMany(length))),
        }
    }

    fn string(&mut self, nullable: bool) -> Outcome {
        let Some(bytes) = self.sized(nullable, false)? else {
            return Ok(());
        };
        if bytes.len() > MAX_STRING {
            return Err(self.error(Reason::StringTooLong(bytes.len())));
        }
        match std::str::from_utf8(bytes) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.error(Reason::NotUtf8)),
        }
    }

    fn bytes(&mut self, nullable: bool) -> Outcome {
        self.sized(nullable, true).map(|_| ())
    }

    fn elements(&mut self, element: &Kind, nullable: bool) -> Outcome {
        let Some(count) = self.length(nullable, true)? else {
            return Ok(());
        };
        let smallest = element.min_bytes(self.version, self.flexible).max(1);
        if count > (self.rest.len() / smallest) as u64 {
            return Err(self.error(Reason::TooMany(count)));
        }
        let place = self.place;
        for _ in 0..count {
            self.value(element, false)?;
            self.place = place;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
