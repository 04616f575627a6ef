//! What is compressed anew, and payloads that are not what the codec writes.

use dohle::protocol::compression::Compression;
use dohle::protocol::varint;
use dohle::types::{ProducerEpoch, ProducerId, TimestampMs};

use super::{Cases, PAST, Parts, batch, batch_with, header, packed, parts, sealed, three};

pub(super) fn recompressed(cases: &mut Cases) {
    let records = [
        Parts {
            timestamp_delta: 4,
            ..parts(0)
        }
        .record(),
        Parts {
            timestamp_delta: -9,
            key: None,
            headers: Vec::new(),
            ..parts(1)
        }
        .record(),
        Parts {
            timestamp_delta: 7,
            value: None,
            ..parts(2)
        }
        .record(),
    ];
    for from in Compression::ALL {
        for to in ["uncompressed", "gzip", "snappy", "lz4", "zstd"] {
            let bytes = batch_with(from, &records, |h| h.max_timestamp = TimestampMs(PAST + 7));
            let name = format!("{}-to-{to}", from.name());
            cases.with(&[("compression.type", to)], name, bytes);
        }
    }
    for (name, attributes) in [
        ("idempotent", 0),
        ("delete-horizon", 0x40),
        ("unused-bits", 0x4080),
    ] {
        let bytes = batch_with(Compression::None, &records, |h| {
            h.attributes |= attributes;
            (h.producer_id, h.producer_epoch, h.base_sequence) =
                (ProducerId(77), ProducerEpoch(3), 0);
        });
        cases.with(
            &[("compression.type", "zstd")],
            format!("{name}-to-zstd"),
            bytes,
        );
    }
    let levels = [
        ("gzip", "compression.gzip.level", "9"),
        ("lz4", "compression.lz4.level", "17"),
        ("zstd", "compression.zstd.level", "-5"),
    ];
    for (to, option, level) in levels {
        let bytes = batch(Compression::Snappy, &records);
        cases.with(
            &[("compression.type", to), (option, level)],
            format!("level-of-{to}"),
            bytes,
        );
    }
}

/// Payloads that are not what the codec writes.
pub(super) fn payloads(cases: &mut Cases) {
    let records = three().concat();
    for codec in &Compression::ALL[1..] {
        let mut head = header(3);
        head.attributes = i16::from(codec.id());
        let whole = packed(*codec, &records);
        let mut add = |what: &str, payload: &[u8]| {
            let name = format!("payload-{what}-{}", codec.name());
            cases.add(name.clone(), sealed(head, payload));
            let name = format!("{name}-to-none");
            cases.with(
                &[("compression.type", "uncompressed")],
                name,
                sealed(head, payload),
            );
        };
        add("empty", &[]);
        add("rubbish", &[0x55; 40]);
        add("plain", &records);
        for cut in [1, 3, 5, 9] {
            add(&format!("cut-by-{cut}"), &whole[..whole.len() - cut]);
        }
        add("half", &whole[..whole.len() / 2]);
        add("and-rubbish", &[whole.as_slice(), &[0x55; 30]].concat());
        add("and-zeros", &[whole.as_slice(), &[0; 30]].concat());
        let (left, right) = records.split_at(records.len() / 2);
        add(
            "of-two",
            &[packed(*codec, left), packed(*codec, right)].concat(),
        );
        add(
            "and-nothing",
            &[whole.clone(), packed(*codec, &[])].concat(),
        );
        for at in [
            0,
            4,
            5,
            6,
            12,
            whole.len() - 9,
            whole.len() - 5,
            whole.len() - 2,
        ] {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x04;
            add(&format!("flipped-at-{at}"), &flipped);
        }
    }
    let mut add = |name: &str, codec: Compression, payload: Vec<u8>| {
        let mut head = header(3);
        head.attributes = i16::from(codec.id());
        cases.add(name, sealed(head, &payload));
    };
    add("snappy-raw", Compression::Snappy, raw_snappy(&records));
    for (name, flags, descriptor, tail) in lz4_heads() {
        add(
            name,
            Compression::Lz4,
            lz4_frame(&records, flags, descriptor, &tail),
        );
    }
}

/// Snappy without a frame: one literal.
fn raw_snappy(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::write_u32(&mut out, bytes.len() as u32);
    out.extend([60 << 2, (bytes.len() - 1) as u8]);
    out.extend(bytes);
    out
}

fn lz4_heads() -> Vec<(&'static str, u8, u8, Vec<u8>)> {
    const PLAIN: u8 = 0b0110_0000;
    vec![
        ("lz4-stored", PLAIN, 4 << 4, vec![0; 4]),
        ("lz4-linked", 0b0100_0000, 4 << 4, vec![0; 4]),
        ("lz4-version-0", 0b0010_0000, 4 << 4, vec![0; 4]),
        ("lz4-version-2", 0b1010_0000, 4 << 4, vec![0; 4]),
        ("lz4-dictionary", PLAIN | 1, 4 << 4, vec![0; 4]),
        ("lz4-reserved-flag", PLAIN | 2, 4 << 4, vec![0; 4]),
        ("lz4-block-3", PLAIN, 3 << 4, vec![0; 4]),
        ("lz4-block-7", PLAIN, 7 << 4, vec![0; 4]),
        ("lz4-reserved-low", PLAIN, 4 << 4 | 1, vec![0; 4]),
        ("lz4-reserved-high", PLAIN, 0xc0, vec![0; 4]),
        ("lz4-content-size-wrong", PLAIN | 8, 4 << 4, vec![0; 4]),
        (
            "lz4-content-checksum-wrong",
            PLAIN | 4,
            4 << 4,
            vec![0, 0, 0, 0, 1, 2, 3, 4],
        ),
        (
            "lz4-content-checksum-cut",
            PLAIN | 4,
            4 << 4,
            vec![0, 0, 0, 0, 1, 2],
        ),
        (
            "lz4-block-checksum-wrong",
            PLAIN | 16,
            4 << 4,
            vec![1, 2, 3, 4, 0, 0, 0, 0],
        ),
        ("lz4-block-checksum-cut", PLAIN | 16, 4 << 4, vec![1, 2]),
        ("lz4-no-end", PLAIN, 4 << 4, Vec::new()),
        (
            "lz4-two-frames",
            PLAIN,
            4 << 4,
            vec![0, 0, 0, 0, 4, 0x22, 0x4d, 0x18],
        ),
    ]
}

fn lz4_frame(bytes: &[u8], flags: u8, descriptor: u8, tail: &[u8]) -> Vec<u8> {
    let mut out = vec![0x04, 0x22, 0x4d, 0x18, flags, descriptor];
    if flags & 8 != 0 {
        out.extend(5u64.to_le_bytes());
    }
    out.push(twox_hash::XxHash32::oneshot(0, &out[4..]).to_be_bytes()[2]);
    out.extend((bytes.len() as u32 | 1 << 31).to_le_bytes());
    out.extend(bytes);
    out.extend(tail);
    out
}
