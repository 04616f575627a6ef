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

mod payloads;
mod structures;
mod topics;

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
    structures::structures(&mut cases);
    structures::deltas(&mut cases);
    topics::times(&mut cases);
    topics::keys(&mut cases);
    topics::sizes(&mut cases);
    payloads::recompressed(&mut cases);
    payloads::payloads(&mut cases);
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
