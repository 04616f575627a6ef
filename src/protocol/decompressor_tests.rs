use super::*;
use crate::protocol::compression::{compress, decompress};
use proptest::prelude::*;

const NO_LIMIT: usize = 1 << 26;

fn packed(codec: Compression, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compress(codec, input, &mut out).unwrap();
    out
}

/// Reads to the end in takes of a few bytes; how much memory that took.
fn drain(
    codec: Compression,
    payload: &[u8],
    limit: usize,
) -> Result<(Vec<u8>, usize), DecompressError> {
    let mut decompressor = Decompressor::new(codec, payload, limit)?;
    let mut out = Vec::new();
    let mut take = 1;
    while decompressor.fill()? {
        while decompressor.available().len() > take {
            out.extend_from_slice(&decompressor.available()[..take]);
            decompressor.consume(take);
            take = take % 977 + 13;
        }
    }
    out.extend_from_slice(decompressor.available());
    assert!(!decompressor.fill()?, "there is more after the end");
    Ok((out, decompressor.memory()))
}

#[test]
fn memory_does_not_grow_with_what_comes_out() {
    let input = b"jackdaw ".repeat(2 << 20);
    for codec in Compression::ALL {
        let (out, memory) = drain(codec, &packed(codec, &input), NO_LIMIT).unwrap();
        assert!(out == input, "{codec:?}");
        assert!(memory <= 4 * STEP_BYTES, "{codec:?} took {memory}");
    }
}

#[test]
fn nothing_at_all_is_an_error_but_for_zstd() {
    for codec in &Compression::ALL[1..] {
        let read = drain(*codec, &[], NO_LIMIT);
        assert_eq!(read.is_ok(), *codec == Compression::Zstd, "{codec:?}");
    }
}

#[test]
fn what_may_follow_the_end() {
    let (one, two) = (b"one".to_vec(), b"onetwo".to_vec());
    for (codec, rubbish, second) in [
        (Compression::Gzip, Some(&one), Some(&two)),
        (Compression::Snappy, None, Some(&two)),
        (Compression::Lz4, Some(&one), Some(&one)),
        (Compression::Zstd, None, Some(&two)),
    ] {
        let first = packed(codec, b"one");
        let with = |tail: &[u8]| {
            let read = drain(codec, &[&first, tail].concat(), NO_LIMIT);
            read.ok().map(|(out, _)| out)
        };
        assert_eq!(with(&[0x55; 40]).as_ref(), rubbish, "{codec:?}");
        assert_eq!(with(&packed(codec, b"two")).as_ref(), second, "{codec:?}");
    }
    // A second gzip member that is damaged, and one too short to be one.
    let first = packed(Compression::Gzip, b"one");
    let mut second = packed(Compression::Gzip, b"two, and more than that");
    let at = second.len() - 6;
    second[at] ^= 1;
    let joined = [first.clone(), second.clone()].concat();
    assert!(drain(Compression::Gzip, &joined, NO_LIMIT).is_err());
    let joined = [&first[..], &second[..18]].concat();
    assert_eq!(
        drain(Compression::Gzip, &joined, NO_LIMIT).unwrap().0,
        b"one"
    );
}

#[test]
fn lz4_blocks_are_held_to_their_checksums() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    use std::io::Write;
    let info = FrameInfo::new()
        .block_mode(BlockMode::Independent)
        .block_size(BlockSize::Max64KB)
        .block_checksums(true);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(&b"jackdaw".repeat(30)).unwrap();
    let mut frame = encoder.finish().unwrap();
    assert!(drain(Compression::Lz4, &frame, NO_LIMIT).is_ok());
    let checksum = frame.len() - 8;
    frame[checksum] ^= 1;
    let error = drain(Compression::Lz4, &frame, NO_LIMIT).unwrap_err();
    assert_eq!(
        error.to_string(),
        "not valid lz4: a block's checksum is wrong"
    );
}

proptest! {
    #[test]
    fn steps_and_wholes_agree(input: Vec<u8>, repeat in 0usize..300, flip: u8, at: usize, cut in 0usize..20) {
        let input = input.repeat(repeat);
        for codec in Compression::ALL {
            let mut payload = packed(codec, &input);
            prop_assert_eq!(&drain(codec, &payload, NO_LIMIT).unwrap().0, &input);
            let len = payload.len();
            if len > 0 {
                payload[at % len] ^= flip;
                payload.truncate(len - cut % len);
            }
            let stepped = drain(codec, &payload, 1 << 20).map(|(out, _)| out);
            prop_assert_eq!(stepped, decompress(codec, &payload, 1 << 20));
        }
    }

    #[test]
    fn the_limit_is_exact(input: Vec<u8>, repeat in 1usize..50) {
        let input = input.repeat(repeat);
        prop_assume!(!input.is_empty());
        for codec in Compression::ALL {
            let payload = packed(codec, &input);
            prop_assert!(drain(codec, &payload, input.len()).is_ok());
            let limit = input.len() - 1;
            prop_assert_eq!(drain(codec, &payload, limit).map(|_| ()), Err(DecompressError::TooLarge { limit }));
        }
    }
}
