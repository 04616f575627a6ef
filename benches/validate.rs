//! What it costs to look at a batch before it is appended: about a mebibyte of records of 100 B and of 1 KiB, in each
//! compression, against the CRC alone, and against decompressing the whole. A throughput in records tells ns a record.
//!
//! `cargo bench --bench validate`

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "a benchmark fails by panicking, and criterion's macros have no docs"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dohle::config::TopicConfig;
use dohle::log::{AppendOrigin, LogConfig, validate};
use dohle::protocol::compression::{CodecLevel, Compression, decompress};
use dohle::protocol::record_batch::{BatchBuilder, HEADER_BYTES, ensure_crc};
use dohle::types::{Offset, TimestampMs};

const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
const BATCH_BYTES: usize = 1 << 20;

/// Half of it words, half of it noise: it shrinks to about a half.
fn value(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    (0..bytes)
        .map(|at| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let noise = (state >> 56) as u8;
            if at / 16 % 2 == 0 {
                b"the grey jackdaw"[at % 16]
            } else {
                noise
            }
        })
        .collect()
}

fn batch(codec: Compression, record_bytes: usize) -> (Vec<u8>, u64) {
    let count = (BATCH_BYTES / record_bytes) as u64;
    let mut builder = BatchBuilder::new(Offset::ZERO, codec);
    for at in 0..count {
        let value = value(record_bytes - 16, at);
        let time = TimestampMs(NOW.0 + at as i64 / 10);
        builder.append(time, Some(&at.to_be_bytes()), Some(&value), &[]);
    }
    (builder.build(), count)
}

fn config(compression: Option<CodecLevel>) -> LogConfig {
    LogConfig {
        max_message_bytes: i32::MAX,
        compression,
        ..LogConfig::from(&TopicConfig::default())
    }
}

fn benches(criterion: &mut Criterion) {
    for record_bytes in [100, 1024] {
        let mut group = criterion.benchmark_group(format!("{record_bytes} B"));
        for codec in Compression::ALL {
            let (bytes, count) = batch(codec, record_bytes);
            group.throughput(Throughput::Elements(count));
            let name = codec.name();
            group.bench_function(format!("crc {name}"), |b| {
                b.iter(|| ensure_crc(black_box(&bytes)).unwrap());
            });
            let plain = config(None);
            group.bench_function(format!("validate {name}"), |b| {
                b.iter(|| {
                    validate(black_box(&bytes), &"t-0", &plain, AppendOrigin::Client, NOW).unwrap()
                });
            });
            if codec == Compression::None {
                continue;
            }
            group.bench_function(format!("decompress {name}"), |b| {
                b.iter(|| decompress(codec, black_box(&bytes[HEADER_BYTES..]), 1 << 22).unwrap());
            });
        }
        let (bytes, count) = batch(Compression::None, record_bytes);
        group.throughput(Throughput::Elements(count));
        for codec in &Compression::ALL[1..] {
            let anew = config(Some((*codec).into()));
            group.bench_function(format!("none to {}", codec.name()), |b| {
                b.iter(|| {
                    validate(black_box(&bytes), &"t-0", &anew, AppendOrigin::Client, NOW).unwrap()
                });
            });
        }
        group.finish();
    }
}

criterion_group!(all, benches);
criterion_main!(all);
