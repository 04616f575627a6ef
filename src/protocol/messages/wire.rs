//! The primitive forms that generated messages are written in and read from.
//!
//! Each has a rigid and a compact (flexible) shape. Readers are safe on any bytes and reserve no more than the
//! bytes that remain could hold.

use anyhow::{Result, bail, ensure};
use bytes::{BufMut, Bytes};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::protocol::buf::ByteBuf;
use uuid::Uuid;

use crate::protocol::varint;

/// What a message is written to: a buffer, or only a count of its bytes.
pub(crate) trait Sink {
    fn put(&mut self, bytes: &[u8]);

    fn bool(&mut self, value: bool) {
        self.put(&[u8::from(value)]);
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.put(&[value as u8 | 0x80]);
            value >>= 7;
        }
        self.put(&[value as u8]);
    }

    /// The length before a string.
    fn short_length(&mut self, length: Option<usize>, flexible: bool) -> Result<()> {
        match length {
            _ if flexible => self.length(length, true),
            None => {
                self.put(&(-1i16).to_be_bytes());
                Ok(())
            }
            Some(length) => {
                self.put(&i16::try_from(length)?.to_be_bytes());
                Ok(())
            }
        }
    }

    /// The length before bytes, or the count before an array.
    fn length(&mut self, length: Option<usize>, flexible: bool) -> Result<()> {
        match (flexible, length) {
            (true, None) => self.varint(0),
            (true, Some(length)) => self.varint(u32::try_from(length + 1)?),
            (false, None) => self.put(&(-1i32).to_be_bytes()),
            (false, Some(length)) => self.put(&i32::try_from(length)?.to_be_bytes()),
        }
        Ok(())
    }

    fn string(&mut self, value: Option<&StrBytes>, flexible: bool) -> Result<()> {
        self.short_length(value.map(|value| value.len()), flexible)?;
        self.put(value.map_or(b"", |value| value.as_bytes()));
        Ok(())
    }

    fn bytes(&mut self, value: Option<&Bytes>, flexible: bool) -> Result<()> {
        self.length(value.map(Bytes::len), flexible)?;
        self.put(value.map_or(b"", |value| value));
        Ok(())
    }

    /// An array and its count; `None` is null.
    fn array<T>(
        &mut self,
        elements: Option<&[T]>,
        flexible: bool,
        mut write: impl FnMut(&mut Self, &T) -> Result<()>,
    ) -> Result<()> {
        self.length(elements.map(<[T]>::len), flexible)?;
        for element in elements.unwrap_or_default() {
            write(self, element)?;
        }
        Ok(())
    }

    /// A struct that may be null.
    fn optional<T>(
        &mut self,
        value: Option<&T>,
        mut write: impl FnMut(&mut Self, &T) -> Result<()>,
    ) -> Result<()> {
        match value {
            Some(value) => {
                self.put(&[1]);
                write(self, value)
            }
            None => {
                self.put(&[0xff]);
                Ok(())
            }
        }
    }

    fn tagged(&mut self, tag: u32, value: &[u8]) -> Result<()> {
        self.varint(tag);
        self.varint(u32::try_from(value.len())?);
        self.put(value);
        Ok(())
    }
}

/// How many bytes were put.
#[derive(Debug, Default)]
pub(crate) struct Count(pub usize);

impl Sink for Count {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

pub(crate) struct Out<'b, B>(pub &'b mut B);

impl<B: BufMut> Sink for Out<'_, B> {
    fn put(&mut self, bytes: &[u8]) {
        self.0.put_slice(bytes);
    }
}

/// A field is set that the version has no place for, and that must not be dropped.
pub(crate) fn unavailable(field: &str, version: i16) -> anyhow::Error {
    anyhow::anyhow!("{field} is set, which version {version} cannot carry")
}

/// Null is allowed in some versions of a field only.
pub(crate) fn check_null(is_null: bool, allowed: bool, field: &str) -> Result<()> {
    ensure!(
        allowed || !is_null,
        "{field} may not be null in this version"
    );
    Ok(())
}

pub(crate) fn check_version(name: &str, version: i16, min: i16, max: i16) -> Result<()> {
    ensure!(
        (min..=max).contains(&version),
        "{name} has no version {version}"
    );
    Ok(())
}

macro_rules! fixed {
    ($($name:ident $type:ty,)*) => {$(
        pub(crate) fn $name<B: ByteBuf>(input: &mut B) -> Result<$type> {
            ensure!(input.remaining() >= size_of::<$type>(), "the message ends early");
            let mut bytes = [0; size_of::<$type>()];
            input.copy_to_slice(&mut bytes);
            Ok(<$type>::from_be_bytes(bytes))
        }
    )*};
}

fixed! {
    int8 i8,
    int16 i16,
    uint16 u16,
    int32 i32,
    int64 i64,
}

pub(crate) fn boolean<B: ByteBuf>(input: &mut B) -> Result<bool> {
    Ok(int8(input)? != 0)
}

pub(crate) fn uuid<B: ByteBuf>(input: &mut B) -> Result<Uuid> {
    ensure!(input.remaining() >= 16, "the message ends early");
    Ok(Uuid::from_u128(input.get_u128()))
}

pub(crate) fn varint<B: ByteBuf>(input: &mut B) -> Result<u32> {
    let mut bytes = [0; 5];
    for length in 1..=bytes.len() {
        let Some(last) = bytes.get_mut(length - 1) else {
            break;
        };
        *last = int8(input)? as u8;
        if let Some((value, _)) = varint::read_u32(bytes.get(..length).unwrap_or_default()) {
            return Ok(value);
        }
    }
    bail!("a varint runs on")
}

fn checked(length: i64) -> Result<Option<usize>> {
    match length {
        -1 => Ok(None),
        _ => Ok(Some(usize::try_from(length)?)),
    }
}

/// The count before an array or the length before bytes; `None` is null.
pub(crate) fn length<B: ByteBuf>(input: &mut B, flexible: bool) -> Result<Option<usize>> {
    if flexible {
        checked(i64::from(varint(input)?) - 1)
    } else {
        checked(i64::from(int32(input)?))
    }
}

/// A struct that may be null.
pub(crate) fn optional<B: ByteBuf, T>(
    input: &mut B,
    read: impl FnOnce(&mut B) -> Result<T>,
) -> Result<Option<T>> {
    match int8(input)? {
        -1 => Ok(None),
        1 => read(input).map(Some),
        other => bail!("{other} is neither null nor present"),
    }
}

pub(crate) fn bytes<B: ByteBuf>(input: &mut B, flexible: bool) -> Result<Option<Bytes>> {
    match length(input, flexible)? {
        Some(size) => Ok(Some(input.try_get_bytes(size)?)),
        None => Ok(None),
    }
}

pub(crate) fn string<B: ByteBuf>(input: &mut B, flexible: bool) -> Result<Option<StrBytes>> {
    let size = if flexible {
        length(input, true)?
    } else {
        checked(i64::from(int16(input)?))?
    };
    let Some(size) = size else {
        return Ok(None);
    };
    // The compact form could say more; Kafka refuses it.
    ensure!(size <= i16::MAX as usize, "a string of {size} bytes");
    Ok(Some(StrBytes::from_utf8(input.try_get_bytes(size)?)?))
}

/// Reserved for an array before its elements are seen: the rest is grown into.
const MAX_RESERVED: usize = 1024;

/// Reads the elements of an array; `None` is null.
pub(crate) fn array<B: ByteBuf, T>(
    input: &mut B,
    flexible: bool,
    mut element: impl FnMut(&mut B) -> Result<T>,
) -> Result<Option<Vec<T>>> {
    let Some(count) = length(input, flexible)? else {
        return Ok(None);
    };
    ensure!(
        count <= input.remaining(),
        "{count} is more than the rest of the message holds"
    );
    let mut elements = Vec::with_capacity(count.min(MAX_RESERVED));
    for _ in 0..count {
        elements.push(element(input)?);
    }
    Ok(Some(elements))
}

/// The tag and the bytes of one tagged field.
pub(crate) fn tagged<B: ByteBuf>(input: &mut B) -> Result<(u32, Bytes)> {
    let tag = varint(input)?;
    let size = varint(input)?;
    Ok((tag, input.try_get_bytes(size as usize)?))
}

/// Passes over tagged fields of which none is known.
pub(crate) fn skip_tagged<B: ByteBuf>(input: &mut B, flexible: bool) -> Result<()> {
    if flexible {
        for _ in 0..varint(input)? {
            tagged(input)?;
        }
    }
    Ok(())
}

pub(crate) fn finished(rest: &Bytes) -> Result<()> {
    ensure!(rest.is_empty(), "a tagged field is not as long as it says");
    Ok(())
}

pub(crate) fn some<T>(value: Option<T>) -> Result<T> {
    value.ok_or_else(|| anyhow::anyhow!("null where null is not allowed"))
}
