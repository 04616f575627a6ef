//! Compression in steps, in the framing that Java clients read, into a buffer that begins with what the caller
//! put there.
//!
//! Levels are Kafka's: gzip 1 to 9, lz4 1 to 17, zstd from -131072 to 22. lz4's own default is the fast
//! mode, and every other level its slow one, as in Kafka. Snappy has none.

use std::io::{self, Write};

use crate::protocol::compression::{CodecLevel, Compression};
use crate::protocol::decompressor::{
    LZ4_INDEPENDENT, LZ4_MAGIC, LZ4_STORED, LZ4_VERSION, XERIAL_MAGIC, lz4_head_checksum,
};

const XERIAL_BLOCK: usize = 32 * 1024;
const LZ4_BLOCK: usize = 64 * 1024;
/// How a frame's head tells the size of its blocks.
const LZ4_BLOCK_CODE: u8 = 4 << 4;
/// The level that means lz4's fast mode.
pub(crate) const LZ4_FAST: i32 = 9;

/// Writes a payload; nothing is whole before [`Compressor::finish`].
pub struct Compressor(Codec);

enum Codec {
    None(Vec<u8>),
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Snappy(Blocks),
    Lz4(Blocks, Option<i32>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Compressor({} bytes)", self.written())
    }
}

/// What was written and is not a block yet.
struct Blocks {
    out: Vec<u8>,
    block: Vec<u8>,
}

impl Blocks {
    fn new(out: Vec<u8>) -> Self {
        Self {
            out,
            block: Vec::new(),
        }
    }

    fn write(
        &mut self,
        mut bytes: &[u8],
        size: usize,
        pack: impl Fn(&[u8], &mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(size - self.block.len()));
            self.block.extend_from_slice(now);
            bytes = rest;
            if self.block.len() == size {
                pack(&self.block, &mut self.out)?;
                self.block.clear();
            }
        }
        Ok(())
    }

    fn finish(
        mut self,
        pack: impl Fn(&[u8], &mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<Vec<u8>> {
        if !self.block.is_empty() {
            pack(&self.block, &mut self.out)?;
        }
        Ok(self.out)
    }
}

impl Compressor {
    /// Appends to `out`.
    pub fn new(codec: CodecLevel, mut out: Vec<u8>) -> io::Result<Self> {
        let level = codec.level;
        Ok(Self(match codec.codec {
            Compression::None => Codec::None(out),
            Compression::Gzip => {
                let level = level.and_then(|level| u32::try_from(level).ok());
                let level = level.map_or(flate2::Compression::default(), flate2::Compression::new);
                Codec::Gzip(flate2::write::GzEncoder::new(out, level))
            }
            Compression::Snappy => {
                out.extend_from_slice(&XERIAL_MAGIC);
                out.extend_from_slice(&1u32.to_be_bytes());
                out.extend_from_slice(&1u32.to_be_bytes());
                Codec::Snappy(Blocks::new(out))
            }
            Compression::Lz4 => {
                let description = [LZ4_VERSION | LZ4_INDEPENDENT, LZ4_BLOCK_CODE];
                out.extend_from_slice(&LZ4_MAGIC);
                out.extend_from_slice(&description);
                out.push(lz4_head_checksum(&description));
                Codec::Lz4(Blocks::new(out), level.filter(|level| *level != LZ4_FAST))
            }
            Compression::Zstd => Codec::Zstd(zstd::stream::write::Encoder::new(
                out,
                level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL),
            )?),
        }))
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Codec::None(out) => {
                out.extend_from_slice(bytes);
                Ok(())
            }
            Codec::Gzip(encoder) => encoder.write_all(bytes),
            Codec::Zstd(encoder) => encoder.write_all(bytes),
            Codec::Snappy(blocks) => blocks.write(bytes, XERIAL_BLOCK, pack_snappy),
            Codec::Lz4(blocks, level) => {
                let level = *level;
                blocks.write(bytes, LZ4_BLOCK, |block, out| pack_lz4(level, block, out))
            }
        }
    }

    /// Bytes that stand in the buffer already; the last ones come with [`Compressor::finish`].
    pub fn written(&self) -> usize {
        match &self.0 {
            Codec::None(out) => out.len(),
            Codec::Gzip(encoder) => encoder.get_ref().len(),
            Codec::Zstd(encoder) => encoder.get_ref().len(),
            Codec::Snappy(blocks) | Codec::Lz4(blocks, _) => blocks.out.len(),
        }
    }

    pub fn finish(self) -> io::Result<Vec<u8>> {
        match self.0 {
            Codec::None(out) => Ok(out),
            Codec::Gzip(encoder) => encoder.finish(),
            Codec::Zstd(encoder) => encoder.finish(),
            Codec::Snappy(blocks) => blocks.finish(pack_snappy),
            Codec::Lz4(blocks, level) => {
                let mut out = blocks.finish(|block, out| pack_lz4(level, block, out))?;
                out.extend_from_slice(&[0; 4]);
                Ok(out)
            }
        }
    }
}

fn pack_snappy(block: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let chunk = snap::raw::Encoder::new().compress_vec(block)?;
    out.extend_from_slice(&(chunk.len() as u32).to_be_bytes());
    out.extend_from_slice(&chunk);
    Ok(())
}

fn pack_lz4(level: Option<i32>, block: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mode = level.map_or(lz4::block::CompressionMode::DEFAULT, |level| {
        lz4::block::CompressionMode::HIGHCOMPRESSION(level)
    });
    let packed = lz4::block::compress(block, Some(mode), false)?;
    if packed.len() < block.len() {
        out.extend_from_slice(&(packed.len() as u32).to_le_bytes());
        out.extend_from_slice(&packed);
    } else {
        out.extend_from_slice(&(block.len() as u32 | LZ4_STORED).to_le_bytes());
        out.extend_from_slice(block);
    }
    Ok(())
}

#[cfg(test)]
#[path = "compressor_tests.rs"]
mod tests;
