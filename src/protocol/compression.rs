//! The four codecs of record batches, gzip, snappy, lz4 and zstd, over whole payloads.
//!
//! What comes out is bounded by the caller's limit, and no size that the input claims is reserved for:
//! memory grows with bytes really produced. Steps and framings are in `decompressor.rs` and `compressor.rs`.

use std::io;

use crate::protocol::compressor::Compressor;
use crate::protocol::decompressor::Decompressor;

/// The low three bits of a batch's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Compression {
    #[default]
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

impl Compression {
    pub const ALL: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];

    pub fn from_id(id: u8) -> Option<Compression> {
        Self::ALL.into_iter().find(|codec| codec.id() == id)
    }

    pub const fn id(self) -> u8 {
        self as u8
    }

    /// As `compression.type` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }
}

/// A codec, and how hard it tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodecLevel {
    pub codec: Compression,
    /// `None`: the codec's own default.
    pub level: Option<i32>,
}

impl From<Compression> for CodecLevel {
    fn from(codec: Compression) -> Self {
        Self { codec, level: None }
    }
}

/// Why a payload could not be decompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    #[error("decompressed to more than the limit of {limit} bytes")]
    TooLarge { limit: usize },
    #[error("not valid {codec}: {reason}")]
    Invalid { codec: &'static str, reason: String },
}

impl DecompressError {
    pub(crate) fn invalid(codec: &'static str, reason: impl ToString) -> Self {
        let reason = reason.to_string();
        DecompressError::Invalid { codec, reason }
    }
}

/// Decompresses `input`, refusing to go beyond `limit` bytes.
pub fn decompress(
    codec: Compression,
    input: &[u8],
    limit: usize,
) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    decompress_into(codec, input, limit, &mut out)?;
    Ok(out)
}

/// [`decompress`] into a buffer that is used again and again; it is cleared first.
pub fn decompress_into(
    codec: Compression,
    input: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    out.clear();
    let mut decompressor = Decompressor::new(codec, input, limit)?;
    loop {
        let more = decompressor.fill()?;
        let made = decompressor.available();
        out.extend_from_slice(made);
        let made = made.len();
        decompressor.consume(made);
        if !more {
            return Ok(());
        }
    }
}

/// Compresses `input` and appends it to `out`, in the framing that Java clients read.
pub fn compress(codec: Compression, input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut compressor = Compressor::new(codec.into(), std::mem::take(out))?;
    compressor.write(input)?;
    *out = compressor.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::decompressor::{
        LZ4_INDEPENDENT, LZ4_MAGIC, LZ4_VERSION, XERIAL_MAGIC, lz4_head_checksum,
    };
    use proptest::prelude::*;
    use std::io::Write;

    const NO_LIMIT: usize = 1 << 26;

    fn compressed(codec: Compression, input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        compress(codec, input, &mut out).unwrap();
        out
    }

    #[test]
    fn raw_snappy_is_read_as_well_as_framed() {
        let input = b"jackdaw ".repeat(10_000);
        let raw = snap::raw::Encoder::new().compress_vec(&input).unwrap();
        assert_eq!(
            decompress(Compression::Snappy, &raw, NO_LIMIT).unwrap(),
            input
        );
        let framed = compressed(Compression::Snappy, &input);
        assert!(framed.starts_with(&XERIAL_MAGIC));
        let joined = [framed.clone(), framed].concat();
        let twice = decompress(Compression::Snappy, &joined, NO_LIMIT).unwrap();
        assert_eq!(twice, [input.clone(), input].concat());
    }

    #[test]
    fn lz4_frames_of_other_writers_are_read() {
        use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
        let input = b"jackdaw ".repeat(100_000);
        for size in [BlockSize::Max64KB, BlockSize::Max1MB, BlockSize::Max4MB] {
            let info = FrameInfo::new()
                .block_mode(BlockMode::Independent)
                .block_size(size)
                .block_checksums(true)
                .content_checksum(true)
                .content_size(Some(input.len() as u64));
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(&input).unwrap();
            let mut frame = encoder.finish().unwrap();
            frame.extend_from_slice(b"what follows is ignored");
            assert_eq!(
                decompress(Compression::Lz4, &frame, NO_LIMIT).unwrap(),
                input
            );
            // The head is covered by a checksum of its own.
            frame[6] ^= 1;
            assert!(decompress(Compression::Lz4, &frame, NO_LIMIT).is_err());
        }
    }

    #[test]
    fn lz4_frames_of_dependent_blocks_are_refused() {
        let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(
            lz4_flex::frame::FrameInfo::new().block_mode(lz4_flex::frame::BlockMode::Linked),
            Vec::new(),
        );
        encoder.write_all(&[7; 100]).unwrap();
        let frame = encoder.finish().unwrap();
        let error = decompress(Compression::Lz4, &frame, NO_LIMIT).unwrap_err();
        assert_eq!(
            error.to_string(),
            "not valid lz4: blocks depend on one another"
        );
    }

    /// A frame of 64 KiB blocks, one of them stored as it is.
    fn lz4_frame_of(size: u32, stored: usize) -> Vec<u8> {
        let mut frame = LZ4_MAGIC.to_vec();
        frame.extend([LZ4_VERSION | LZ4_INDEPENDENT, 4 << 4]);
        frame.push(lz4_head_checksum(&frame[4..]));
        frame.extend((size | 0x8000_0000).to_le_bytes());
        frame.extend(vec![7; stored]);
        frame.extend([0; 4]);
        frame
    }

    #[test]
    fn stored_lz4_blocks_have_limits_too() {
        let read = |frame: &[u8], limit| decompress(Compression::Lz4, frame, limit);
        let frame = lz4_frame_of(1000, 1000);
        assert_eq!(read(&frame, 1000).unwrap(), vec![7; 1000]);
        assert_eq!(
            read(&frame, 999),
            Err(DecompressError::TooLarge { limit: 999 })
        );
        let error = read(&lz4_frame_of(70_000, 70_000), NO_LIMIT).unwrap_err();
        assert!(
            error.to_string().contains("larger than the frame allows"),
            "{error}"
        );
        assert!(read(&lz4_frame_of(1000, 10), NO_LIMIT).is_err());
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let input = vec![0u8; 8 << 20];
        for codec in Compression::ALL {
            let bomb = compressed(codec, &input);
            let mut out = Vec::new();
            assert_eq!(
                decompress_into(codec, &bomb, 100_000, &mut out),
                Err(DecompressError::TooLarge { limit: 100_000 }),
                "{codec:?}"
            );
            assert!(
                out.capacity() < 1 << 20,
                "{codec:?} reserved {}",
                out.capacity()
            );
            assert_eq!(
                decompress(codec, &bomb, input.len()).unwrap().len(),
                input.len()
            );
        }
    }

    #[test]
    fn a_claimed_size_is_not_reserved() {
        // Raw snappy that claims 1 GiB in a handful of bytes.
        let lie = [0x80, 0x80, 0x80, 0x80, 0x04, 0x00, 0x61];
        let mut out = Vec::new();
        assert!(decompress_into(Compression::Snappy, &lie, usize::MAX, &mut out).is_err());
        assert_eq!(out.capacity(), 0);
    }

    proptest! {
        #[test]
        fn what_is_compressed_comes_back(input: Vec<u8>, repeat in 0usize..200) {
            let input = input.repeat(repeat);
            for codec in Compression::ALL {
                let bytes = compressed(codec, &input);
                prop_assert_eq!(&decompress(codec, &bytes, NO_LIMIT).unwrap(), &input);
            }
        }

        #[test]
        fn damaged_bytes_are_an_error_or_other_bytes(input: Vec<u8>, at: usize, flip: u8, cut: usize) {
            for codec in Compression::ALL {
                let mut bytes = compressed(codec, &input);
                if !bytes.is_empty() {
                    let at = at % bytes.len();
                    bytes[at] ^= flip;
                    bytes.truncate(bytes.len() - cut % bytes.len());
                }
                let _ = decompress(codec, &bytes, 1 << 20);
                let _ = decompress(codec, &input, 1 << 20);
            }
        }
    }
}
