//! Reading and writing the fields of coordinator records: Kafka's plain and flexible forms.
//!
//! The reader never trusts a length: it is held against the bytes that are left. Writing cannot fail;
//! a string longer than its length field (which no request can carry) would be cut by a bug elsewhere.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::protocol::varint;

/// The record does not say what its version says it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the record ends early or holds an impossible length at byte {at}")]
pub struct Malformed {
    pub at: usize,
}

pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Compact strings, arrays and tagged fields.
    pub flexible: bool,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            flexible: false,
        }
    }

    fn malformed(&self) -> Malformed {
        Malformed { at: self.at }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(count).ok_or(self.malformed())?;
        let taken = self.bytes.get(self.at..end).ok_or(self.malformed())?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let at = self.malformed();
        self.take(N)?.try_into().map_err(|_| at)
    }

    pub fn int16(&mut self) -> Result<i16, Malformed> {
        self.array().map(i16::from_be_bytes)
    }

    pub fn int32(&mut self) -> Result<i32, Malformed> {
        self.array().map(i32::from_be_bytes)
    }

    pub fn int64(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_be_bytes)
    }

    fn varint(&mut self) -> Result<u32, Malformed> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let (value, size) = varint::read_u32(rest).ok_or(self.malformed())?;
        self.at += size;
        Ok(value)
    }

    /// The length before a string (`wide` false) or before bytes and arrays; `None` is null.
    fn length(&mut self, wide: bool) -> Result<Option<usize>, Malformed> {
        let length = match (self.flexible, wide) {
            (true, _) => i64::from(self.varint()?) - 1,
            (false, true) => i64::from(self.int32()?),
            (false, false) => i64::from(self.int16()?),
        };
        match length {
            -1 => Ok(None),
            length => usize::try_from(length)
                .map(Some)
                .map_err(|_| self.malformed()),
        }
    }

    pub fn nullable_string(&mut self) -> Result<Option<Arc<str>>, Malformed> {
        let Some(length) = self.length(false)? else {
            return Ok(None);
        };
        let at = self.malformed();
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| at)?;
        Ok(Some(text.into()))
    }

    pub fn string(&mut self) -> Result<Arc<str>, Malformed> {
        let at = self.malformed();
        self.nullable_string()?.ok_or(at)
    }

    pub fn byte_string(&mut self) -> Result<Bytes, Malformed> {
        let length = self.length(true)?.ok_or(self.malformed())?;
        Ok(Bytes::copy_from_slice(self.take(length)?))
    }

    /// The count before an array's elements, none of which is shorter than a byte.
    pub fn array_length(&mut self) -> Result<usize, Malformed> {
        let count = self.length(true)?.ok_or(self.malformed())?;
        if count > self.bytes.len().saturating_sub(self.at) {
            return Err(self.malformed());
        }
        Ok(count)
    }

    /// Reads the tagged fields of a flexible struct, handing each tag and its bytes to `field`.
    pub fn tagged_fields(&mut self, mut field: impl FnMut(u32, &'a [u8])) -> Result<(), Malformed> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let size = self.varint()? as usize;
            field(tag, self.take(size)?);
        }
        Ok(())
    }
}

#[derive(Default)]
pub struct Writer {
    pub bytes: Vec<u8>,
    pub flexible: bool,
}

impl Writer {
    /// Starts with the version, as every key and value does.
    pub fn new(version: i16, flexible: bool) -> Self {
        let mut writer = Self {
            bytes: Vec::with_capacity(64),
            flexible,
        };
        writer.int16(version);
        writer
    }

    pub fn int16(&mut self, value: i16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub fn int32(&mut self, value: i32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub fn int64(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    fn compact_length(&mut self, length: usize) {
        varint::write_u64(&mut self.bytes, length as u64 + 1);
    }

    pub fn string(&mut self, text: &str) {
        if self.flexible {
            self.compact_length(text.len());
        } else {
            self.int16(text.len() as i16);
        }
        self.bytes.extend_from_slice(text.as_bytes());
    }

    pub fn nullable_string(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.string(text),
            None if self.flexible => self.bytes.push(0),
            None => self.int16(-1),
        }
    }

    pub fn array_length(&mut self, count: usize) {
        if self.flexible {
            self.compact_length(count);
        } else {
            self.int32(count as i32);
        }
    }

    pub fn byte_string(&mut self, bytes: &[u8]) {
        self.array_length(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    /// No tagged fields, where a struct would have them.
    pub fn no_tagged_fields(&mut self) {
        if self.flexible {
            self.bytes.push(0);
        }
    }

    /// One tagged field holding a uuid.
    pub fn tagged_uuid(&mut self, tag: u8, id: Uuid) {
        self.bytes.extend_from_slice(&[1, tag, 16]);
        self.bytes.extend_from_slice(id.as_bytes());
    }
}
