//! What a topic's options refuse, or have the broker write anew: times, keys, sizes.

use dohle::protocol::compression::Compression;
use dohle::protocol::varint;
use dohle::types::TimestampMs;

use super::{Cases, FUTURE, PAST, Parts, batch, batch_with, parts, sized, three};

pub(super) fn times(cases: &mut Cases) {
    let timed = |codec, base: i64, deltas: &[i64], max: i64, attributes: i16| {
        let records: Vec<Vec<u8>> = deltas
            .iter()
            .enumerate()
            .map(|(at, delta)| {
                Parts {
                    timestamp_delta: *delta,
                    ..parts(at as i32)
                }
                .record()
            })
            .collect();
        batch_with(codec, &records, |h| {
            h.base_timestamp = TimestampMs(base);
            h.max_timestamp = TimestampMs(max);
            h.attributes |= attributes;
        })
    };
    let before = ("message.timestamp.before.max.ms", "1000");
    let after = ("message.timestamp.after.max.ms", "1000");
    let stamping = ("message.timestamp.type", "LogAppendTime");
    for codec in [Compression::None, Compression::Snappy] {
        let name = |what: &str| format!("time-{what}-{}", codec.name());
        let one_ahead = timed(codec, PAST, &[0, FUTURE - PAST, 0], FUTURE, 0);
        cases.add(name("ahead"), one_ahead.clone());
        cases.add(name("all-ahead"), timed(codec, FUTURE, &[0; 5], FUTURE, 0));
        cases.add(
            name("all-ahead-told-otherwise"),
            timed(codec, FUTURE, &[0; 2], PAST, 0),
        );
        cases.with(&[after], name("ahead-of-a-second"), one_ahead.clone());
        cases.with(
            &[before],
            name("behind"),
            timed(codec, PAST, &[0, 1], PAST + 1, 0),
        );
        cases.with(
            &[before],
            name("none-is-not-behind"),
            timed(codec, -1, &[0, 0], -1, 0),
        );
        cases.add(name("none"), timed(codec, -1, &[0, 0], -1, 0));
        cases.add(name("negative"), timed(codec, -5, &[0, 4], -1, 0));
        cases.add(
            name("negative-delta"),
            timed(codec, PAST, &[0, -PAST - 5], PAST, 0),
        );
        cases.add(name("least"), timed(codec, i64::MIN, &[0], i64::MIN, 0));
        cases.add(name("most"), timed(codec, i64::MAX, &[0], i64::MAX, 0));
        cases.add(name("wraps"), timed(codec, i64::MAX, &[1], i64::MAX, 0));
        cases.add(
            name("max-too-high"),
            timed(codec, PAST, &[0, 5, 3], PAST + 9, 0),
        );
        cases.add(name("max-too-low"), timed(codec, PAST, &[0, 5, 3], PAST, 0));
        cases.add(name("max-none"), timed(codec, PAST, &[0, 5, 3], -1, 0));
        cases.add(
            name("max-future"),
            timed(codec, PAST, &[0, 5, 3], FUTURE, 0),
        );
        cases.with(
            &[stamping],
            name("stamped-by-broker"),
            timed(codec, PAST, &[0, 5], PAST + 5, 0),
        );
        cases.with(
            &[stamping],
            name("stamped-by-broker-ahead"),
            timed(codec, FUTURE, &[0, 5], PAST, 0),
        );
        cases.with(
            &[stamping],
            name("stamped-by-both"),
            timed(codec, PAST, &[0, 5], PAST + 5, 8),
        );
        cases.with(
            &[stamping],
            name("stamped-none-by-both"),
            timed(codec, PAST, &[0], -1, 8),
        );
        cases.add(
            name("stamped-by-client"),
            timed(codec, PAST, &[0, 5], PAST + 5, 8),
        );
        cases.add(
            name("stamped-by-client-none"),
            timed(codec, PAST, &[0, 5], -1, 8),
        );
        cases.add(
            name("stamped-by-client-ahead"),
            timed(codec, PAST, &[0, 5], FUTURE, 8),
        );
        cases.with(
            &[stamping, ("compression.type", "gzip")],
            name("stamped-to-gzip"),
            timed(codec, PAST, &[0, 5], PAST + 5, 0),
        );
        cases.with(
            &[("compression.type", "gzip")],
            name("stamped-by-client-to-gzip"),
            timed(codec, PAST, &[0, 5], PAST + 7, 8),
        );
        cases.with(
            &[("compression.type", "gzip")],
            name("ahead-to-gzip"),
            timed(codec, PAST, &[0, FUTURE - PAST, 0], FUTURE, 0),
        );
        for (what, base, delta) in [
            ("negative", -5, 0),
            ("none", -1, 0),
            ("negative-second", 7, -9),
        ] {
            cases.with(
                &[("compression.type", "gzip")],
                name(&format!("{what}-to-gzip")),
                timed(codec, base, &[0, delta], 7, 0),
            );
        }
        cases.with(
            &[("compression.type", "gzip")],
            name("max-too-high-to-gzip"),
            timed(codec, PAST, &[4, 9, 3], PAST + 20, 0),
        );
        for version in [3, 7, 8, 9] {
            let bytes = timed(codec, PAST, &[0, FUTURE - PAST, 0], FUTURE, 0);
            cases
                .add(format!("{}-v{version}", name("ahead")), bytes)
                .version = version;
        }
    }
}

pub(super) fn keys(cases: &mut Cases) {
    let compact = ("cleanup.policy", "compact");
    let stamping = ("message.timestamp.type", "LogAppendTime");
    let keyless = |at: i32| {
        Parts {
            key: None,
            ..parts(at)
        }
        .record()
    };
    let keyed = |at: i32| parts(at).record();
    let null_key = sized(&[0, 0, 0, 0x03, 0x01, 0]);
    for codec in [Compression::None, Compression::Zstd] {
        let name = |what: &str| format!("{what}-{}", codec.name());
        cases.with(
            &[compact],
            name("keys"),
            batch(codec, &[keyed(0), keyed(1)]),
        );
        cases.with(
            &[("cleanup.policy", "compact,delete")],
            name("one-keyless"),
            batch(codec, &[keyed(0), keyless(1)]),
        );
        let many: Vec<Vec<u8>> = (0..5).map(keyless).collect();
        cases.with(&[compact], name("five-keyless"), batch(codec, &many));
        for version in [7, 8] {
            cases.with(
                &[compact],
                format!("{}-v{version}", name("keyless")),
                batch(codec, &many),
            );
            if let Some(case) = cases.0.last_mut() {
                case.version = version;
            }
        }
        cases.with(
            &[compact],
            name("key-minus-2-is-none"),
            batch(codec, std::slice::from_ref(&null_key)),
        );
        let ahead = Parts {
            timestamp_delta: FUTURE - PAST,
            ..parts(1)
        }
        .record();
        cases.with(
            &[compact],
            name("keyless-and-ahead"),
            batch(codec, &[keyless(0), ahead.clone(), keyless(2)]),
        );
        let cut = batch(codec, &[keyless(0), sized(&[0, 0, 2, 100])]);
        cases.with(&[compact], name("keyless-and-broken"), cut);
        let keyless_swapped = batch(codec, &[keyless(1), keyed(0)]);
        cases.with(&[compact], name("keyless-and-swapped"), keyless_swapped);
        cases.with(
            &[compact, ("compression.type", "lz4")],
            name("keyless-to-lz4"),
            batch(codec, &[keyed(0), keyless(1)]),
        );
        cases.with(
            &[compact, stamping],
            name("keyless-and-stamped"),
            batch_with(codec, &[keyed(0), keyless(1)], |h| h.attributes |= 8),
        );
    }
}

pub(super) fn sizes(cases: &mut Cases) {
    let size = batch(Compression::None, &three()).len();
    for (name, max) in [
        ("size-fits", size),
        ("size-does-not-fit", size - 1),
        ("size-0", 0),
    ] {
        cases.with(
            &[("max.message.bytes", max.to_string().as_str())],
            name,
            batch(Compression::None, &three()),
        );
    }
    let large = |value: Vec<u8>| {
        let mut body = vec![0, 0, 0, 1];
        varint::write_i32(&mut body, value.len() as i32);
        body.extend(value);
        body.push(0);
        sized(&body)
    };
    let limited = [("max.message.bytes", "1000")];
    let unpacked = [limited[0], ("compression.type", "uncompressed")];
    for codec in &Compression::ALL[1..] {
        let bytes = batch(*codec, &[large(vec![7; 2000])]);
        cases.with(&limited, format!("large-{}", codec.name()), bytes.clone());
        cases.with(&unpacked, format!("large-{}-unpacked", codec.name()), bytes);
        // A record is bounded, whatever the batch.
        for (name, max) in [("less", "99"), ("exact", "107"), ("one-less", "106")] {
            let bytes = batch(
                *codec,
                &[
                    large(vec![7; 100]),
                    Parts {
                        key: None,
                        ..parts(1)
                    }
                    .record(),
                ],
            );
            cases.with(
                &[("max.decompressed.message.bytes", max)],
                format!("decompressed-{name}-{}", codec.name()),
                bytes,
            );
        }
        cases.with(
            &[
                ("max.decompressed.message.bytes", "99"),
                ("compression.type", "uncompressed"),
            ],
            format!("decompressed-less-{}-unpacked", codec.name()),
            batch(*codec, &[large(vec![7; 100])]),
        );
    }
    cases.with(
        &[("max.decompressed.message.bytes", "99")],
        "decompressed-less-none",
        batch(Compression::None, &[large(vec![7; 100])]),
    );
    cases.with(
        &[
            ("max.decompressed.message.bytes", "99"),
            ("compression.type", "zstd"),
        ],
        "decompressed-less-none-to-zstd",
        batch(Compression::None, &[large(vec![7; 100])]),
    );
    cases.with(
        &[
            ("max.message.bytes", "2000000"),
            ("segment.bytes", "1048576"),
        ],
        "larger-than-a-segment",
        batch(Compression::None, &[large(vec![7; 1_100_000])]),
    );
}
