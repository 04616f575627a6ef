//! Decompression in steps, so that a batch can be looked through without ever being whole in memory.
//!
//! A step makes one block of the codec's own (a chunk of snappy, a block of lz4) or as much as fits in
//! [`STEP_BYTES`]. Reading takes every framing that clients write: snappy raw (librdkafka) and in xerial's chunks
//! (Java), lz4 frames of independent blocks. What is accepted is what Apache Kafka 4.4.0 accepts, down to what may
//! follow the end: anything after an lz4 frame, rubbish after gzip, further frames of gzip, snappy and zstd.
//! No size that the input claims is reserved for beyond what its bytes can make.

use std::io::Read;

use twox_hash::XxHash32;

use crate::protocol::compression::{Compression, DecompressError};

/// How much gzip and zstd make in a step.
pub const STEP_BYTES: usize = 64 * 1024;

/// Decompressed bytes that were not taken yet, and what makes more of them.
#[derive(Debug)]
pub struct Decompressor<'a> {
    codec: Codec<'a>,
    /// Only `start..end` counts; the rest is room that was cleared before.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    made: usize,
    limit: usize,
}

enum Codec<'a> {
    None(&'a [u8]),
    Gzip(Gzip<'a>),
    Snappy(Snappy<'a>),
    Lz4(Lz4<'a>),
    Zstd(zstd::stream::read::Decoder<'static, &'a [u8]>),
}

impl std::fmt::Debug for Codec<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Codec")
    }
}

impl<'a> Decompressor<'a> {
    /// Of a whole payload; more than `limit` bytes are refused.
    pub fn new(
        codec: Compression,
        payload: &'a [u8],
        limit: usize,
    ) -> Result<Self, DecompressError> {
        let codec = match codec {
            Compression::None => Codec::None(payload),
            Compression::Gzip => Codec::Gzip(Gzip::new(payload)),
            Compression::Snappy => Codec::Snappy(Snappy::new(payload)?),
            Compression::Lz4 => Codec::Lz4(Lz4::new(payload)?),
            // No frame at all is one without bytes.
            Compression::Zstd if payload.is_empty() => Codec::None(payload),
            Compression::Zstd => Codec::Zstd(
                zstd::stream::read::Decoder::with_buffer(payload)
                    .map_err(|error| DecompressError::invalid("zstd", error))?,
            ),
        };
        Ok(Self {
            codec,
            bytes: Vec::new(),
            start: 0,
            end: 0,
            made: 0,
            limit,
        })
    }

    /// What is there to take.
    pub fn available(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Makes more; `false` at the end.
    pub fn fill(&mut self) -> Result<bool, DecompressError> {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let mut room = Room {
            bytes: &mut self.bytes,
            end: self.end,
            left: self.limit - self.made,
            limit: self.limit,
        };
        let more = match &mut self.codec {
            Codec::None(input) => {
                let (step, rest) = input.split_at(input.len().min(STEP_BYTES));
                room.put(step)?;
                *input = rest;
                !step.is_empty()
            }
            Codec::Gzip(gzip) => gzip.step(&mut room)?,
            Codec::Snappy(snappy) => snappy.step(&mut room)?,
            Codec::Lz4(lz4) => lz4.step(&mut room)?,
            Codec::Zstd(zstd) => room.read("zstd", zstd)?,
        };
        self.made += room.end - self.end;
        self.end = room.end;
        Ok(more)
    }

    /// Bytes that are held.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    /// Takes the first of what is available.
    pub fn consume(&mut self, bytes: usize) {
        self.start = self.end.min(self.start + bytes);
    }
}

/// Where a step writes.
struct Room<'a> {
    bytes: &'a mut Vec<u8>,
    end: usize,
    /// Of the limit.
    left: usize,
    limit: usize,
}

impl Room<'_> {
    fn too_large(&self) -> DecompressError {
        DecompressError::TooLarge { limit: self.limit }
    }

    /// So many bytes behind what is there.
    fn free(&mut self, bytes: usize) -> &mut [u8] {
        let need = self.end + bytes;
        if self.bytes.len() < need {
            self.bytes.resize(need, 0);
        }
        self.bytes.get_mut(self.end..need).unwrap_or_default()
    }

    fn written(&mut self, bytes: usize) -> Result<(), DecompressError> {
        self.left = self
            .left
            .checked_sub(bytes)
            .ok_or_else(|| self.too_large())?;
        self.end += bytes;
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), DecompressError> {
        if bytes.len() > self.left {
            return Err(self.too_large());
        }
        self.free(bytes.len()).copy_from_slice(bytes);
        self.written(bytes.len())
    }

    fn read(
        &mut self,
        codec: &'static str,
        reader: &mut impl Read,
    ) -> Result<bool, DecompressError> {
        let read = reader
            .read(self.free(STEP_BYTES))
            .map_err(|error| DecompressError::invalid(codec, error))?;
        self.written(read)?;
        Ok(read > 0)
    }
}

/// The shortest gzip member: a head and a trailer.
const GZIP_OVERHEAD: usize = 18;
const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

/// Members one after another; what follows and is none is not looked at.
struct Gzip<'a>(Option<flate2::bufread::GzDecoder<&'a [u8]>>);

impl<'a> Gzip<'a> {
    fn new(input: &'a [u8]) -> Self {
        Self(Some(flate2::bufread::GzDecoder::new(input)))
    }

    fn step(&mut self, room: &mut Room<'_>) -> Result<bool, DecompressError> {
        while let Some(decoder) = &mut self.0 {
            if room.read("gzip", decoder)? {
                return Ok(true);
            }
            let rest = self.0.take().map_or(&[][..], |done| done.into_inner());
            if rest.len() > GZIP_OVERHEAD && rest.starts_with(&GZIP_MAGIC) {
                *self = Self::new(rest);
            }
        }
        Ok(false)
    }
}

/// xerial's framing: this head, then chunks of a big-endian length and raw snappy.
pub(crate) const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// The magic, the version and the oldest compatible version.
const XERIAL_HEAD: usize = 16;

enum Snappy<'a> {
    /// One block without a frame.
    Raw(&'a [u8]),
    Framed(&'a [u8]),
}

impl<'a> Snappy<'a> {
    fn new(input: &'a [u8]) -> Result<Self, DecompressError> {
        if input.is_empty() {
            return Err(DecompressError::invalid("snappy", "nothing at all"));
        }
        Ok(if input.starts_with(&XERIAL_MAGIC) {
            Self::Framed(input)
        } else {
            Self::Raw(input)
        })
    }

    fn step(&mut self, room: &mut Room<'_>) -> Result<bool, DecompressError> {
        match self {
            Snappy::Raw([]) => Ok(false),
            Snappy::Raw(block) => {
                snappy_block(block, room)?;
                *block = &[];
                Ok(true)
            }
            Snappy::Framed(rest) => {
                // Streams may be joined: a head may stand wherever a chunk may.
                while rest.starts_with(&XERIAL_MAGIC) {
                    *rest = rest.get(XERIAL_HEAD..).ok_or_else(|| {
                        DecompressError::invalid("snappy", "the frame ends inside its head")
                    })?;
                }
                if rest.is_empty() {
                    return Ok(false);
                }
                let ends_early =
                    || DecompressError::invalid("snappy", "the frame ends inside a chunk");
                let (size, tail) = rest.split_first_chunk::<4>().ok_or_else(ends_early)?;
                let size = u32::from_be_bytes(*size) as usize;
                let (chunk, tail) = tail.split_at_checked(size).ok_or_else(ends_early)?;
                snappy_block(chunk, room)?;
                *rest = tail;
                Ok(true)
            }
        }
    }
}

fn snappy_block(block: &[u8], room: &mut Room<'_>) -> Result<(), DecompressError> {
    let invalid = |error| DecompressError::invalid("snappy", error);
    let claimed = snap::raw::decompress_len(block).map_err(invalid)?;
    if claimed > room.left {
        return Err(room.too_large());
    }
    // The densest element makes 64 bytes of 3, so a larger claim than this is a lie.
    if claimed > block.len().saturating_mul(22) {
        return Err(DecompressError::invalid(
            "snappy",
            "claims more than its bytes can hold",
        ));
    }
    let written = snap::raw::Decoder::new()
        .decompress(block, room.free(claimed))
        .map_err(invalid)?;
    room.written(written)
}

pub(crate) const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
pub(crate) const LZ4_VERSION: u8 = 0b0100_0000;
pub(crate) const LZ4_INDEPENDENT: u8 = 0b0010_0000;
const LZ4_BLOCK_CHECKSUM: u8 = 0b0001_0000;
const LZ4_CONTENT_SIZE: u8 = 0b0000_1000;
const LZ4_CONTENT_CHECKSUM: u8 = 0b0000_0100;
/// The bit of a block's size that says that it is stored as it is.
pub(crate) const LZ4_STORED: u32 = 0x8000_0000;

/// The checksum of a frame's description.
pub(crate) fn lz4_head_checksum(description: &[u8]) -> u8 {
    (XxHash32::oneshot(0, description) >> 8) as u8
}

/// One frame; what follows its end mark is ignored, and its content's checksum is not computed.
struct Lz4<'a> {
    flags: u8,
    max_block: usize,
    rest: &'a [u8],
    ended: bool,
}

impl<'a> Lz4<'a> {
    fn invalid(reason: &str) -> DecompressError {
        DecompressError::invalid("lz4", reason)
    }

    fn ends_early() -> DecompressError {
        Self::invalid("the frame ends early")
    }

    fn new(input: &'a [u8]) -> Result<Self, DecompressError> {
        let (magic, rest) = input
            .split_first_chunk::<4>()
            .ok_or_else(Self::ends_early)?;
        if *magic != LZ4_MAGIC {
            return Err(Self::invalid("no lz4 frame"));
        }
        let (&[flags, descriptor], _) =
            rest.split_first_chunk::<2>().ok_or_else(Self::ends_early)?;
        if flags & 0b1100_0000 != LZ4_VERSION || flags & 0b11 != 0 {
            return Err(Self::invalid("an unknown frame version, or a dictionary"));
        }
        if flags & LZ4_INDEPENDENT == 0 {
            return Err(Self::invalid("blocks depend on one another"));
        }
        if descriptor & 0b1000_1111 != 0 {
            return Err(Self::invalid("reserved bits are set"));
        }
        let max_block = match descriptor >> 4 {
            size @ 4..=7 => 1usize << (8 + 2 * size),
            _ => return Err(Self::invalid("an unknown block size")),
        };
        let described = if flags & LZ4_CONTENT_SIZE != 0 { 10 } else { 2 };
        let (description, rest) = rest
            .split_at_checked(described)
            .ok_or_else(Self::ends_early)?;
        let (checksum, rest) = rest.split_first().ok_or_else(Self::ends_early)?;
        if *checksum != lz4_head_checksum(description) {
            return Err(Self::invalid("the head's checksum is wrong"));
        }
        Ok(Self {
            flags,
            max_block,
            rest,
            ended: false,
        })
    }

    fn word(&mut self) -> Result<u32, DecompressError> {
        let (word, tail) = self
            .rest
            .split_first_chunk::<4>()
            .ok_or_else(Self::ends_early)?;
        self.rest = tail;
        Ok(u32::from_le_bytes(*word))
    }

    fn step(&mut self, room: &mut Room<'_>) -> Result<bool, DecompressError> {
        if self.ended {
            return Ok(false);
        }
        let word = self.word()?;
        let size = (word & !LZ4_STORED) as usize;
        if size == 0 {
            self.ended = true;
            if self.flags & LZ4_CONTENT_CHECKSUM != 0 {
                self.word()?;
            }
            return Ok(false);
        }
        if size > self.max_block {
            return Err(Self::invalid("a block is larger than the frame allows"));
        }
        let (block, tail) = self
            .rest
            .split_at_checked(size)
            .ok_or_else(Self::ends_early)?;
        self.rest = tail;
        if word & LZ4_STORED != 0 {
            room.put(block)?;
        } else {
            self.block(block, room)?;
        }
        if self.flags & LZ4_BLOCK_CHECKSUM != 0 && self.word()? != XxHash32::oneshot(0, block) {
            return Err(Self::invalid("a block's checksum is wrong"));
        }
        Ok(true)
    }

    fn block(&self, block: &[u8], room: &mut Room<'_>) -> Result<(), DecompressError> {
        // A byte of input makes at most 255 of output: room for that, and clearing it, is linear in the input.
        let most = self
            .max_block
            .min(block.len().saturating_mul(255).saturating_add(64));
        let allowed = most.min(room.left);
        let target = room.free(allowed);
        match lz4::block::decompress_to_buffer(block, Some(allowed as i32), target) {
            Ok(written) => room.written(written),
            Err(_) if allowed < most => Err(room.too_large()),
            Err(error) => Err(DecompressError::invalid("lz4", error)),
        }
    }
}

#[cfg(test)]
#[path = "decompressor_tests.rs"]
mod tests;
