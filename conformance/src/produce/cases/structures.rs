//! What is wrong inside of records, and between them and their batch.

use dohle::protocol::compression::Compression;
use dohle::protocol::varint;

use super::{Cases, Parts, batch, parts, sized};

/// Second records that are wrong in their structure.
fn broken_records() -> Vec<(&'static str, Vec<u8>)> {
    let body = parts(1).body();
    // attributes, timestamp delta, offset delta, key size.
    let head = |sizes: &[u8]| [&[0, 0, 2][..], sizes].concat();
    let number = |value: i32| {
        let mut out = Vec::new();
        varint::write_i32(&mut out, value);
        out
    };
    let claims = |size: i32| [number(size), body.clone()].concat();
    let size = body.len() as i32;
    vec![
        ("size-minus-1", claims(-1)),
        ("size-0", claims(0)),
        ("size-1", claims(1)),
        ("size-one-less", claims(size - 1)),
        ("size-one-more", claims(size + 1)),
        ("size-beyond", claims(5000)),
        ("size-max", claims(i32::MAX)),
        ("size-runs-on", [&[0x80; 5][..], &[0x01], &body].concat()),
        ("padded", sized(&[body.clone(), vec![0; 3]].concat())),
        (
            "time-runs-on",
            sized(&[&[0][..], &[0x80; 11], &body[2..]].concat()),
        ),
        (
            "delta-runs-on",
            sized(&[&[0, 0][..], &[0x80; 6], &body[3..]].concat()),
        ),
        ("key-beyond", sized(&head(&number(5000)))),
        (
            "key-minus-2",
            sized(&[head(&number(-2)), number(-1), number(0)].concat()),
        ),
        (
            "value-beyond",
            sized(&[head(&number(-1)), number(5000)].concat()),
        ),
        (
            "value-minus-9",
            sized(&[head(&number(-1)), number(-9), number(0)].concat()),
        ),
        (
            "no-headers-field",
            sized(&[head(&number(-1)), number(-1)].concat()),
        ),
        (
            "headers-minus-1",
            sized(&[head(&number(-1)), number(-1), number(-1)].concat()),
        ),
        (
            "headers-too-many",
            sized(&[head(&number(-1)), number(-1), number(100), vec![0; 8]].concat()),
        ),
        (
            "headers-max",
            sized(&[head(&number(-1)), number(-1), number(i32::MAX), vec![0; 8]].concat()),
        ),
        (
            "header-key-null",
            sized(
                &[
                    head(&number(-1)),
                    number(-1),
                    number(1),
                    number(-1),
                    number(-1),
                ]
                .concat(),
            ),
        ),
        (
            "header-key-beyond",
            sized(&[head(&number(-1)), number(-1), number(1), number(5000)].concat()),
        ),
        (
            "header-value-beyond",
            sized(
                &[
                    head(&number(-1)),
                    number(-1),
                    number(1),
                    number(0),
                    number(5000),
                ]
                .concat(),
            ),
        ),
        (
            "header-value-minus-3",
            sized(
                &[
                    head(&number(-1)),
                    number(-1),
                    number(1),
                    number(0),
                    number(-3),
                ]
                .concat(),
            ),
        ),
        (
            "header-key-not-utf8",
            sized(
                &[
                    head(&number(-1)),
                    number(-1),
                    number(1),
                    number(2),
                    vec![0xff, 0xfe],
                    number(-1),
                ]
                .concat(),
            ),
        ),
        (
            "long-varints",
            sized(&[0, 0x80, 0x80, 0, 0x82, 0, 0x81, 0x80, 0, 0x81, 0, 0x80, 0]),
        ),
    ]
}

pub(super) fn structures(cases: &mut Cases) {
    let first = parts(0).record();
    let last = parts(2).record();
    for (name, broken) in broken_records() {
        for codec in Compression::ALL {
            let records = [first.clone(), broken.clone(), last.clone()];
            cases.add(format!("{name}-{}", codec.name()), batch(codec, &records));
        }
        // Where the batch is decoded to be compressed anew.
        let records = [first.clone(), broken.clone(), last.clone()];
        cases.with(
            &[("compression.type", "lz4")],
            format!("{name}-gzip-to-lz4"),
            batch(Compression::Gzip, &records),
        );
    }
    // The last record is the broken one.
    for codec in [Compression::None, Compression::Zstd] {
        for (name, broken) in broken_records() {
            if name.starts_with("size") || name == "key-beyond" {
                let bytes = batch(codec, &[first.clone(), broken]);
                cases.add(format!("{name}-last-{}", codec.name()), bytes);
            }
        }
    }
    let records = [Parts {
        attributes: 0xff,
        ..parts(0)
    }
    .record()];
    cases.add("record-attributes", batch(Compression::None, &records));
    cases.with(
        &[("compression.type", "zstd")],
        "record-attributes-to-zstd",
        batch(Compression::None, &records),
    );
}

pub(super) fn deltas(cases: &mut Cases) {
    for (name, deltas) in [
        ("same", [0, 0, 1]),
        ("hole", [0, 2, 3]),
        ("swapped", [0, 2, 1]),
        ("shifted", [5, 6, 7]),
        ("negative", [-1, 0, 1]),
    ] {
        let records = deltas.map(|delta| parts(delta).record());
        for codec in Compression::ALL {
            cases.add(
                format!("deltas-{name}-{}", codec.name()),
                batch(codec, &records),
            );
        }
        for (from, to) in [
            (Compression::None, "zstd"),
            (Compression::Lz4, "uncompressed"),
        ] {
            cases.with(
                &[("compression.type", to)],
                format!("deltas-{name}-{}-to-{to}", from.name()),
                batch(from, &records),
            );
        }
    }
}
