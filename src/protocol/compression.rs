//! The four codecs of record batches: gzip, snappy, lz4 and zstd.
//!
//! Reading takes every framing that clients write: snappy raw (librdkafka) and in xerial's chunks (Java),
//! lz4 frames of independent blocks with or without checksums. Writing takes the form Java reads.
//! What comes out is bounded by the caller's limit, and no size that the input claims is reserved for:
//! memory grows with bytes really produced. Checksums inside lz4 and xerial frames are not verified: the
//! batch's CRC covers them.

use std::io::{self, Read, Write};

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

/// Why a payload could not be decompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    #[error("decompressed to more than the limit of {limit} bytes")]
    TooLarge { limit: usize },
    #[error("not valid {codec}: {reason}")]
    Invalid { codec: &'static str, reason: String },
}

impl DecompressError {
    fn invalid(codec: &'static str, reason: impl ToString) -> Self {
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
    match codec {
        Compression::None => {
            if input.len() > limit {
                return Err(DecompressError::TooLarge { limit });
            }
            out.extend_from_slice(input);
            Ok(())
        }
        Compression::Gzip => read_bounded(
            "gzip",
            flate2::bufread::MultiGzDecoder::new(input),
            limit,
            out,
        ),
        Compression::Snappy => snappy(input, limit, out),
        Compression::Lz4 => lz4(input, limit, out),
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(input)
                .map_err(|error| DecompressError::invalid("zstd", error))?;
            read_bounded("zstd", decoder, limit, out)
        }
    }
}

fn read_bounded(
    codec: &'static str,
    mut reader: impl Read,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    let allowed = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader
        .by_ref()
        .take(allowed)
        .read_to_end(out)
        .map_err(|error| DecompressError::invalid(codec, error))?;
    if out.len() > limit {
        return Err(DecompressError::TooLarge { limit });
    }
    Ok(())
}

/// xerial's framing: this head, then chunks of a big-endian length and raw snappy.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// The magic, the version and the oldest compatible version.
const XERIAL_HEAD: usize = 16;
const XERIAL_BLOCK: usize = 32 * 1024;

fn snappy(input: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), DecompressError> {
    let mut decoder = snap::raw::Decoder::new();
    if !input.starts_with(&XERIAL_MAGIC) {
        return snappy_block(&mut decoder, input, limit, out);
    }
    let mut rest = input;
    while !rest.is_empty() {
        // Streams may be joined: a head may stand wherever a chunk may.
        if rest.starts_with(&XERIAL_MAGIC) {
            rest = rest.get(XERIAL_HEAD..).ok_or_else(|| {
                DecompressError::invalid("snappy", "the frame ends inside its head")
            })?;
            continue;
        }
        let ends_early = || DecompressError::invalid("snappy", "the frame ends inside a chunk");
        let (size, tail) = rest.split_first_chunk::<4>().ok_or_else(ends_early)?;
        let size = u32::from_be_bytes(*size) as usize;
        let (chunk, tail) = tail.split_at_checked(size).ok_or_else(ends_early)?;
        snappy_block(&mut decoder, chunk, limit, out)?;
        rest = tail;
    }
    Ok(())
}

fn snappy_block(
    decoder: &mut snap::raw::Decoder,
    block: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    let invalid = |error| DecompressError::invalid("snappy", error);
    let claimed = snap::raw::decompress_len(block).map_err(invalid)?;
    if claimed > limit.saturating_sub(out.len()) {
        return Err(DecompressError::TooLarge { limit });
    }
    // The densest element makes 64 bytes of 3, so a larger claim than this is a lie.
    if claimed > block.len().saturating_mul(22) {
        return Err(DecompressError::invalid(
            "snappy",
            "claims more than its bytes can hold",
        ));
    }
    let start = out.len();
    out.resize(start + claimed, 0);
    let target = out.get_mut(start..).unwrap_or_default();
    let written = decoder.decompress(block, target).map_err(invalid)?;
    out.truncate(start + written);
    Ok(())
}

const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
const LZ4_VERSION: u8 = 0b0100_0000;
const LZ4_INDEPENDENT: u8 = 0b0010_0000;
const LZ4_BLOCK_CHECKSUM: u8 = 0b0001_0000;
const LZ4_CONTENT_SIZE: u8 = 0b0000_1000;

/// One lz4 frame; what follows its end mark is ignored, as Kafka ignores it.
fn lz4(input: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), DecompressError> {
    let invalid = |reason: &str| DecompressError::invalid("lz4", reason);
    let ends_early = || DecompressError::invalid("lz4", "the frame ends early");
    let (magic, rest) = input.split_first_chunk::<4>().ok_or_else(ends_early)?;
    if *magic != LZ4_MAGIC {
        return Err(invalid("no lz4 frame"));
    }
    let (&[flags, descriptor], _) = rest.split_first_chunk::<2>().ok_or_else(ends_early)?;
    if flags & 0b1100_0000 != LZ4_VERSION || flags & 0b11 != 0 {
        return Err(invalid("an unknown frame version, or a dictionary"));
    }
    if flags & LZ4_INDEPENDENT == 0 {
        return Err(invalid("blocks depend on one another"));
    }
    let max_block = match descriptor >> 4 & 0b111 {
        size @ 4..=7 => 1usize << (8 + 2 * size),
        _ => return Err(invalid("an unknown block size")),
    };
    let described = if flags & LZ4_CONTENT_SIZE != 0 { 10 } else { 2 };
    let (description, rest) = rest.split_at_checked(described).ok_or_else(ends_early)?;
    let (checksum, mut rest) = rest.split_first().ok_or_else(ends_early)?;
    if *checksum != (xxh32_short(description) >> 8) as u8 {
        return Err(invalid("the head's checksum is wrong"));
    }
    loop {
        let (word, tail) = rest.split_first_chunk::<4>().ok_or_else(ends_early)?;
        let word = u32::from_le_bytes(*word);
        if word == 0 {
            return Ok(());
        }
        let size = (word & 0x7fff_ffff) as usize;
        if size > max_block {
            return Err(invalid("a block is larger than the frame allows"));
        }
        let (block, tail) = tail.split_at_checked(size).ok_or_else(ends_early)?;
        if word & 0x8000_0000 != 0 {
            if size > limit.saturating_sub(out.len()) {
                return Err(DecompressError::TooLarge { limit });
            }
            out.extend_from_slice(block);
        } else {
            lz4_block(block, max_block, limit, out)?;
        }
        let skip = if flags & LZ4_BLOCK_CHECKSUM != 0 {
            4
        } else {
            0
        };
        rest = tail.get(skip..).ok_or_else(ends_early)?;
    }
}

fn lz4_block(
    block: &[u8],
    max_block: usize,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    let start = out.len();
    let left = limit.saturating_sub(start);
    // A byte of input makes at most 255 of output: room for that, and clearing it, is linear in the input.
    let room = max_block
        .min(block.len().saturating_mul(255).saturating_add(64))
        .min(left);
    out.resize(start + room, 0);
    let target = out.get_mut(start..).unwrap_or_default();
    match lz4_flex::block::decompress_into(block, target) {
        Ok(written) => {
            out.truncate(start + written);
            Ok(())
        }
        Err(lz4_flex::block::DecompressError::OutputTooSmall { .. }) if room == left => {
            Err(DecompressError::TooLarge { limit })
        }
        Err(error) => Err(DecompressError::invalid("lz4", error)),
    }
}

/// xxHash-32 with seed 0 of fewer than 16 bytes: all that a frame's head needs.
fn xxh32_short(bytes: &[u8]) -> u32 {
    const PRIME_1: u32 = 0x9e37_79b1;
    const PRIME_2: u32 = 0x85eb_ca77;
    const PRIME_3: u32 = 0xc2b2_ae3d;
    const PRIME_4: u32 = 0x27d4_eb2f;
    const PRIME_5: u32 = 0x1656_67b1;
    let mut hash = PRIME_5.wrapping_add(bytes.len() as u32);
    let (words, tail) = bytes.as_chunks::<4>();
    for word in words {
        hash = hash.wrapping_add(u32::from_le_bytes(*word).wrapping_mul(PRIME_3));
        hash = hash.rotate_left(17).wrapping_mul(PRIME_4);
    }
    for byte in tail {
        hash = hash.wrapping_add(u32::from(*byte).wrapping_mul(PRIME_5));
        hash = hash.rotate_left(11).wrapping_mul(PRIME_1);
    }
    hash = (hash ^ hash >> 15).wrapping_mul(PRIME_2);
    hash = (hash ^ hash >> 13).wrapping_mul(PRIME_3);
    hash ^ hash >> 16
}

/// Compresses `input` and appends it to `out`, in the framing that Java clients read.
pub fn compress(codec: Compression, input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    match codec {
        Compression::None => out.extend_from_slice(input),
        Compression::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(&mut *out, flate2::Compression::default());
            encoder.write_all(input)?;
            encoder.finish()?;
        }
        Compression::Snappy => {
            let mut encoder = snap::raw::Encoder::new();
            out.extend_from_slice(&XERIAL_MAGIC);
            out.extend_from_slice(&1u32.to_be_bytes());
            out.extend_from_slice(&1u32.to_be_bytes());
            for block in input.chunks(XERIAL_BLOCK) {
                let chunk = encoder.compress_vec(block)?;
                out.extend_from_slice(&(chunk.len() as u32).to_be_bytes());
                out.extend_from_slice(&chunk);
            }
        }
        Compression::Lz4 => {
            let frame = lz4_flex::frame::FrameInfo::new()
                .block_mode(lz4_flex::frame::BlockMode::Independent)
                .block_size(lz4_flex::frame::BlockSize::Max64KB);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, &mut *out);
            encoder.write_all(input)?;
            encoder.finish()?;
        }
        Compression::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(&mut *out, 3)?;
            encoder.write_all(input)?;
            encoder.finish()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
        frame.push((xxh32_short(&frame[4..]) >> 8) as u8);
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
