//! The cases: batches that are broken in one way each, and good ones that a topic changes.
//!
//! Only the recorder runs this; tests take the bytes from the golden file.

#![expect(
    clippy::indexing_slicing,
    reason = "bytes are cut where they were just made"
)]

use bytes::Bytes;
use dohle::protocol::compression::{Compression, compress};
use dohle::protocol::record_batch::{BatchHeader, HEADER_BYTES, LOG_OVERHEAD, compute_crc};
use dohle::protocol::varint;
use dohle::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

use super::Case;

/// Long ago, and long hence.
const PAST: i64 = 1_700_000_000_000;
const FUTURE: i64 = 4_102_444_800_000;

const GOOD: i16 = 12;

/// A record of which every part can be wrong.
#[derive(Clone)]
struct Parts {
    attributes: u8,
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&'static [u8]>,
    value: Option<&'static [u8]>,
    headers: Vec<(&'static [u8], Option<&'static [u8]>)>,
}

fn parts(offset_delta: i32) -> Parts {
    Parts {
        attributes: 0,
        timestamp_delta: 0,
        offset_delta,
        key: Some(b"key"),
        value: Some(b"value"),
        headers: vec![(b"h", Some(b"v")), (b"h", None)],
    }
}

fn nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    varint::write_i32(out, bytes.map_or(-1, |bytes| bytes.len() as i32));
    out.extend(bytes.unwrap_or_default());
}

impl Parts {
    fn body(&self) -> Vec<u8> {
        let mut out = vec![self.attributes];
        varint::write_i64(&mut out, self.timestamp_delta);
        varint::write_i32(&mut out, self.offset_delta);
        nullable(&mut out, self.key);
        nullable(&mut out, self.value);
        varint::write_i32(&mut out, self.headers.len() as i32);
        for (key, value) in &self.headers {
            nullable(&mut out, Some(key));
            nullable(&mut out, *value);
        }
        out
    }

    fn record(&self) -> Vec<u8> {
        sized(&self.body())
    }
}

fn sized(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::write_i32(&mut out, body.len() as i32);
    out.extend(body);
    out
}

fn header(records: i32) -> BatchHeader {
    BatchHeader {
        base_offset: Offset::ZERO,
        batch_length: 0,
        leader_epoch: LeaderEpoch::UNKNOWN,
        magic: 2,
        crc: 0,
        attributes: 0,
        last_offset_delta: records - 1,
        base_timestamp: TimestampMs(PAST),
        max_timestamp: TimestampMs(PAST),
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: -1,
        records_count: records,
    }
}

/// A batch of a head and its payload as it is; lengths and CRC are right.
fn sealed(mut header: BatchHeader, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; HEADER_BYTES];
    out.extend(payload);
    header.batch_length = (out.len() - LOG_OVERHEAD) as i32;
    for _ in 0..2 {
        out.splice(..HEADER_BYTES, header.to_bytes());
        header.crc = compute_crc(&out).unwrap_or_default();
    }
    out
}

fn packed(codec: Compression, records: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match compress(codec, records, &mut out) {
        Ok(()) => out,
        Err(_) => Vec::new(),
    }
}

fn batch_with(
    codec: Compression,
    records: &[Vec<u8>],
    change: impl FnOnce(&mut BatchHeader),
) -> Vec<u8> {
    let mut header = header(records.len() as i32);
    header.attributes |= i16::from(codec.id());
    change(&mut header);
    sealed(header, &packed(codec, &records.concat()))
}

fn batch(codec: Compression, records: &[Vec<u8>]) -> Vec<u8> {
    batch_with(codec, records, |_| {})
}

fn three() -> Vec<Vec<u8>> {
    (0..3).map(|offset| parts(offset).record()).collect()
}

#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    fn add(&mut self, name: impl Into<String>, records: Vec<u8>) -> &mut Case {
        self.0.push(Case {
            name: name.into(),
            options: Vec::new(),
            version: GOOD,
            records: Some(Bytes::from(records)),
        });
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    fn with(&mut self, options: &[(&str, &str)], name: impl Into<String>, records: Vec<u8>) {
        self.add(name, records).options = options
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
    }
}

/// Every case, in the order of the golden file.
pub fn cases() -> Vec<Case> {
    let mut cases = Cases::default();
    good(&mut cases);
    frames(&mut cases);
    heads(&mut cases);
    structures(&mut cases);
    deltas(&mut cases);
    times(&mut cases);
    keys(&mut cases);
    sizes(&mut cases);
    recompressed(&mut cases);
    payloads(&mut cases);
    cases.0
}

fn good(cases: &mut Cases) {
    for codec in Compression::ALL {
        for version in [3, 6, 7, 8, 13] {
            let name = format!("good-{}-v{version}", codec.name());
            cases.add(name, batch(codec, &three())).version = version;
        }
    }
    cases.add("null-records", Vec::new()).records = None;
    cases.add("no-records", Vec::new());
}

/// What stands around batches, and the fields that say where they end.
fn frames(cases: &mut Cases) {
    let whole = batch(Compression::None, &three());
    let joined = |tail: &[u8]| [whole.as_slice(), tail].concat();
    cases.add("two-batches", joined(&whole));
    cases.add("rubbish-of-5", joined(&[0xff; 5]));
    cases.add("rubbish-of-12", joined(&[0; 12]));
    cases.add(
        "rubbish-of-16",
        joined(&[&[0; 8][..], &[0, 0, 1, 0], &[9; 4]].concat()),
    );
    cases.add(
        "rubbish-of-17",
        joined(&[&[0; 8][..], &[0, 0, 1, 0], &[9; 5]].concat()),
    );
    cases.add("second-cut", joined(&whole[..70]));
    for cut in [4, 12, 16, 17, 26, 40, 61, 75] {
        cases.add(format!("cut-at-{cut}"), whole[..cut].to_vec());
    }
    for length in [
        -1,
        0,
        13,
        14,
        15,
        20,
        48,
        49,
        1 << 20,
        i32::MAX - 12,
        i32::MAX,
    ] {
        let mut bytes = whole.clone();
        bytes.splice(8..12, length.to_be_bytes());
        cases.add(format!("length-{length}"), bytes);
    }
    for magic in [-1i8, 0, 1, 3] {
        let mut bytes = whole.clone();
        bytes[16] = magic as u8;
        cases.add(format!("magic-{magic}"), bytes);
    }
    cases.add("head-only", sealed(header(1), &[]));
    for codec in [Compression::None, Compression::Zstd] {
        let mut bytes = batch(codec, &three());
        bytes[18] ^= 4;
        cases.add(format!("crc-{}", codec.name()), bytes);
        let mut bytes = batch(codec, &three());
        bytes[70] ^= 4;
        cases.add(format!("flipped-{}", codec.name()), bytes);
    }
}

fn heads(cases: &mut Cases) {
    let head = |change: fn(&mut BatchHeader)| batch_with(Compression::None, &three(), change);
    for codec in [5, 6, 7] {
        for version in [3, 7, 12] {
            let mut header = header(3);
            header.attributes = codec;
            let bytes = sealed(header, &three().concat());
            cases
                .add(format!("codec-{codec}-v{version}"), bytes)
                .version = version;
        }
    }
    for (bit, name) in [
        (0x10, "transactional"),
        (0x20, "control"),
        (0x40, "delete-horizon"),
        (0x80, "unused-80"),
        (0x100, "unused-100"),
        (0x4000, "unused-4000"),
    ] {
        for codec in [Compression::None, Compression::Lz4] {
            let bytes = batch_with(codec, &three(), |h| h.attributes |= bit);
            cases.add(format!("{name}-{}", codec.name()), bytes);
        }
    }
    cases.add(
        "transactional-with-producer",
        head(|h| {
            h.attributes |= 0x10;
            (h.producer_id, h.producer_epoch, h.base_sequence) =
                (ProducerId(1), ProducerEpoch(0), 0);
        }),
    );
    cases.add("base-offset-3", head(|h| h.base_offset = Offset(3)));
    cases.add("base-offset-minus-1", head(|h| h.base_offset = Offset(-1)));
    cases.add("leader-epoch-9", head(|h| h.leader_epoch = LeaderEpoch(9)));
    for (name, change) in [
        (
            "last-delta-minus-1",
            (|h| h.last_offset_delta = -1) as fn(&mut BatchHeader),
        ),
        ("last-delta-3", |h| h.last_offset_delta = 3),
        ("last-delta-max", |h| h.last_offset_delta = i32::MAX),
        ("count-0", |h| h.records_count = 0),
        ("count-minus-1", |h| h.records_count = -1),
        ("count-2", |h| h.records_count = 2),
        ("count-4", |h| h.records_count = 4),
        ("both-minus", |h| {
            (h.records_count, h.last_offset_delta) = (-5, -6)
        }),
        ("both-0", |h| {
            (h.records_count, h.last_offset_delta) = (0, -1)
        }),
        ("both-2", |h| {
            (h.records_count, h.last_offset_delta) = (2, 1)
        }),
        ("both-4", |h| {
            (h.records_count, h.last_offset_delta) = (4, 3)
        }),
        ("both-max", |h| {
            (h.records_count, h.last_offset_delta) = (i32::MAX, i32::MAX - 1)
        }),
    ] {
        cases.add(name, head(change));
        for codec in &Compression::ALL[1..] {
            if name.starts_with("both") {
                let bytes = batch_with(*codec, &three(), change);
                cases.add(format!("{name}-{}", codec.name()), bytes);
            }
        }
    }
    for (name, id, epoch, sequence) in [
        ("no-sequence", 1, 0, -1),
        ("sequence-minus-2", 1, 0, -2),
        ("no-epoch", 1, -1, 0),
        ("producer-minus-2", -2, 0, 5),
        ("first-sequence-5", 1, 0, 5),
        ("sequence-that-wraps", 1, 3, i32::MAX),
        ("sequence-without-producer", -1, 0, 5),
    ] {
        let bytes = batch_with(Compression::None, &three(), |h| {
            (h.producer_id, h.producer_epoch, h.base_sequence) =
                (ProducerId(id), ProducerEpoch(epoch), sequence);
        });
        cases.add(name, bytes);
    }
}

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

fn structures(cases: &mut Cases) {
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

fn deltas(cases: &mut Cases) {
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

fn times(cases: &mut Cases) {
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

fn keys(cases: &mut Cases) {
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

fn sizes(cases: &mut Cases) {
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

fn recompressed(cases: &mut Cases) {
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
fn payloads(cases: &mut Cases) {
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
