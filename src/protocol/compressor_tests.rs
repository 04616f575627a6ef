use super::*;
use crate::protocol::compression::decompress;
use std::io::Read;

const NO_LIMIT: usize = 1 << 26;

fn packed(codec: Compression, level: Option<i32>, input: &[u8], step: usize) -> Vec<u8> {
    let mut compressor = Compressor::new(CodecLevel { codec, level }, b"head".to_vec()).unwrap();
    for step in input.chunks(step) {
        compressor.write(step).unwrap();
    }
    let out = compressor.finish().unwrap();
    assert!(out.starts_with(b"head"));
    out[4..].to_vec()
}

/// Text in which the slow levels find more than the fast ones.
fn text() -> Vec<u8> {
    let mut state = 1u32;
    let words = [
        "jackdaw", "culvert", "daw", "roof", "stream", "chimney", "grey",
    ];
    let mut out = Vec::new();
    while out.len() < 300_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        out.extend(words[(state >> 16) as usize % 5].bytes());
        out.extend(words[(state >> 24) as usize % 7].bytes());
        out.push(b' ');
    }
    out
}

#[test]
fn steps_make_what_one_write_makes() {
    let input = text();
    for codec in Compression::ALL {
        let whole = packed(codec, None, &input, usize::MAX);
        assert_eq!(decompress(codec, &whole, NO_LIMIT).unwrap(), input);
        for step in [1000, 32 * 1024, 64 * 1024, 65_537] {
            let stepped = packed(codec, None, &input, step);
            assert_eq!(decompress(codec, &stepped, NO_LIMIT).unwrap(), input);
        }
        let nothing = packed(codec, None, &[], 1);
        assert_eq!(decompress(codec, &nothing, 0).unwrap(), b"");
    }
}

#[test]
fn levels_have_an_effect() {
    let input = text();
    for (codec, low, high) in [
        (Compression::Gzip, 1, 9),
        (Compression::Lz4, 9, 12),
        (Compression::Zstd, -50, 19),
    ] {
        let fast = packed(codec, Some(low), &input, usize::MAX);
        let slow = packed(codec, Some(high), &input, usize::MAX);
        assert!(
            slow.len() < fast.len(),
            "{codec:?}: {} {}",
            slow.len(),
            fast.len()
        );
        for bytes in [fast, slow] {
            assert_eq!(decompress(codec, &bytes, NO_LIMIT).unwrap(), input);
        }
    }
    // Kafka's default level is lz4's fast mode, its largest beyond what lz4 has.
    let lz4 = |level| packed(Compression::Lz4, level, &input, usize::MAX);
    assert_eq!(lz4(None), lz4(Some(9)));
    assert_ne!(lz4(Some(8)), lz4(Some(9)));
    assert_eq!(lz4(Some(17)), lz4(Some(12)));
    assert_ne!(lz4(Some(1)), lz4(Some(12)));
}

#[test]
fn another_readers_lz4_reads_ours() {
    for input in [text(), vec![0; 70_000], (0..=255).collect(), Vec::new()] {
        let frame = packed(Compression::Lz4, None, &input, usize::MAX);
        let mut read = Vec::new();
        lz4_flex::frame::FrameDecoder::new(&frame[..])
            .read_to_end(&mut read)
            .unwrap();
        assert_eq!(read, input);
    }
}

#[test]
fn what_does_not_shrink_is_stored() {
    let noise: Vec<u8> = (0..200_000u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8 ^ (at >> 3) as u8)
        .collect();
    let frame = packed(Compression::Lz4, None, &noise, usize::MAX);
    assert!(frame.len() <= noise.len() + 7 + 4 * 5);
    assert_eq!(
        decompress(Compression::Lz4, &frame, NO_LIMIT).unwrap(),
        noise
    );
}

#[test]
fn what_is_written_so_far_is_told() {
    for codec in Compression::ALL {
        let mut compressor = Compressor::new(codec.into(), Vec::new()).unwrap();
        let before = compressor.written();
        for _ in 0..40 {
            compressor.write(&text()).unwrap();
        }
        assert!(compressor.written() > before, "{codec:?}");
        let told = compressor.written();
        assert!(compressor.finish().unwrap().len() >= told);
    }
}
