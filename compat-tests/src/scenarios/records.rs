//! Records go in and come out again: every compression, null and empty keys and values, headers, timestamps, sizes.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;

use super::Run;
use crate::client::{Client, Feature};
use crate::paths;
use crate::wire::{Blob, Incoming, Outgoing};

/// Two hours before this run: every timestamp of this suite is after it. Older records would be subject to retention.
pub fn base_ms() -> i64 {
    static BASE: OnceLock<i64> = OnceLock::new();
    *BASE.get_or_init(|| {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(now.as_millis()).unwrap_or_default() - 2 * 3600 * 1000
    })
}

/// Records with everything in them that `client` can say: repeated keys, nulls, empties, headers, text and noise.
pub fn varied(client: &Client, count: usize, partitions: i32) -> Vec<Outgoing> {
    let mut random = StdRng::seed_from_u64(count as u64);
    (0..count)
        .map(|index| {
            let key = Blob(format!("key-{}", index % 7).into_bytes());
            let text = Blob(
                format!(
                    "record {index}: {}",
                    "the quick brown fox ".repeat(index % 20)
                )
                .into_bytes(),
            );
            let noise = Blob((0..index).map(|_| random.random()).collect());
            let (key, value) = match index % 10 {
                0 => (None, Some(text)),
                1 => (Some(key), None),
                2 => (Some(key), Some(Blob(Vec::new()))),
                3 => (Some(Blob(Vec::new())), Some(text)),
                4 => (Some(key), Some(noise)),
                5 => (
                    Some(Blob("ключ 鍵 🔑".into())),
                    Some(Blob("Wert — 值 ☕".into())),
                ),
                _ => (Some(key), Some(text)),
            };
            Outgoing {
                partition: Some(i32::try_from(index).unwrap_or(0) % partitions),
                key,
                value,
                headers: headers(client, index),
                timestamp: Some(base_ms() + 1000 * index as i64),
            }
        })
        .collect()
}

fn headers(client: &Client, index: usize) -> Vec<(String, Option<Blob>)> {
    let header = |name: &str, value: &str| (name.to_owned(), Some(Blob(value.into())));
    match index % 4 {
        0 => Vec::new(),
        1 => vec![header("trace", &index.to_string())],
        2 => vec![
            header("twice", "first"),
            header("twice", "second"),
            header("empty", ""),
            header("schlüssel", "ü"),
        ],
        _ if client.has(Feature::NullHeaderValues) => {
            vec![("null".to_owned(), None), header("after", "null")]
        }
        _ => vec![header("zebra", "z"), header("apple", "a")],
    }
}

/// What `sent` must look like when it is read back from where it was `placed`, by partition and offset.
pub fn expected(sent: &[Outgoing], placed: &[(i32, i64)]) -> BTreeMap<(i32, i64), Incoming> {
    sent.iter()
        .zip(placed)
        .map(|(sent, &(partition, offset))| {
            let Outgoing {
                key,
                value,
                headers,
                timestamp,
                partition: _,
            } = sent.clone();
            (
                (partition, offset),
                Incoming {
                    partition,
                    offset,
                    timestamp: timestamp.unwrap_or(-1),
                    key,
                    value,
                    headers,
                },
            )
        })
        .collect()
}

/// Reads each partition from its beginning and compares it with what was sent, record by record.
pub fn check_read_back(
    run: &mut Run<'_>,
    topic: &str,
    expected: &BTreeMap<(i32, i64), Incoming>,
) -> Result<()> {
    let mut partitions: BTreeMap<i32, Vec<&Incoming>> = BTreeMap::new();
    for record in expected.values() {
        partitions.entry(record.partition).or_default().push(record);
    }
    for (partition, wanted) in partitions {
        let read = run.consume(topic, partition, 0, wanted.len())?;
        for (read, &wanted) in read.iter().zip(&wanted) {
            ensure!(read == wanted, "sent {wanted:#?}\nread {read:#?}");
        }
        ensure!(
            read.len() == wanted.len(),
            "{} of {} records of partition {partition} came",
            read.len(),
            wanted.len()
        );
    }
    Ok(())
}

pub fn round_trip(run: &mut Run<'_>, codec: &str) -> Result<()> {
    let topic = run.create_topic(&format!("records-{codec}"), 3)?;
    let sent = varied(run.client, 300, 3);
    let placed = run.produce(&topic, codec, &sent)?;
    for (partition, count) in [(0, 100), (1, 100), (2, 100)] {
        let offsets: Vec<_> = placed
            .iter()
            .filter(|p| p.0 == partition)
            .map(|p| p.1)
            .collect();
        ensure!(
            offsets == (0..count).collect::<Vec<i64>>(),
            "partition {partition}: offsets {offsets:?}"
        );
    }
    check_read_back(run, &topic, &expected(&sent, &placed))
}

pub fn idempotent(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create_topic("idempotent", 2)?;
    let mut all = BTreeMap::new();
    for round in 0..3 {
        let mut sent = varied(run.client, 400, 2);
        for record in &mut sent {
            record.timestamp = record.timestamp.map(|timestamp| timestamp + round);
        }
        let request =
            json!({"topic": topic, "compression": "gzip", "idempotent": true, "records": sent});
        let placed: Vec<(i32, i64)> = run.driver.get("produce", request, "placed")?;
        all.extend(expected(&sent, &placed));
    }
    ensure!(all.len() == 1200, "{} offsets for 1200 records", all.len());
    check_read_back(run, &topic, &all)?;
    for partition in 0..2 {
        ensure!(
            run.list_offset(&topic, partition, "latest")? == 600,
            "partition {partition} has more than was sent"
        );
    }
    Ok(())
}

fn plain(count: usize) -> Vec<Outgoing> {
    (0..count)
        .map(|index| Outgoing {
            partition: Some(0),
            key: Some(Blob(format!("k{index}").into_bytes())),
            value: Some(Blob(format!("v{index}").into_bytes())),
            headers: Vec::new(),
            timestamp: Some(base_ms() + index as i64),
        })
        .collect()
}

pub fn auto_create(run: &mut Run<'_>) -> Result<()> {
    let topic = paths::unique("auto-create");
    let mut sent = plain(5);
    for record in &mut sent {
        record.partition = None;
    }
    let placed = run.produce(&topic, "none", &sent)?;
    check_read_back(run, &topic, &expected(&sent, &placed))
}

pub fn acks(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create_topic("acks", 1)?;
    let sent = plain(20);
    for (index, acks) in ["0", "1"].into_iter().enumerate() {
        let records = &sent[index * 10..index * 10 + 10];
        run.driver.call(
            "produce",
            json!({"topic": topic, "compression": "none", "acks": acks, "records": records}),
        )?;
        // Unacknowledged records may still be on their way.
        let read = run.consume(&topic, 0, index as i64 * 10, 10)?;
        let values: Vec<_> = read.iter().map(|record| record.value.clone()).collect();
        let wanted: Vec<_> = records.iter().map(|record| record.value.clone()).collect();
        ensure!(values == wanted, "acks={acks}: {values:?}");
    }
    Ok(())
}

pub fn large(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create_topic("large", 1)?;
    let mut random = StdRng::seed_from_u64(1);
    let mut sent = plain(3);
    let noise: Vec<u8> = (0..900_000).map(|_| random.random()).collect();
    sent[0].value = Some(Blob(noise.clone()));
    sent[1].value = Some(Blob(vec![b'z'; 950_000]));
    sent[2].value = Some(Blob(noise));
    let mut placed = Vec::new();
    for record in &sent {
        placed.extend(run.produce(&topic, "gzip", std::slice::from_ref(record))?);
    }
    check_read_back(run, &topic, &expected(&sent, &placed))
}

pub fn too_large(run: &mut Run<'_>) -> Result<()> {
    let topic = paths::unique("too-large");
    let configs = json!({"max.message.bytes": "2000"});
    run.driver.call(
        "create_topic",
        json!({"topic": topic, "partitions": 1, "configs": configs}),
    )?;
    let mut sent = plain(1);
    sent[0].value = Some(Blob(vec![b'x'; 5000]));
    let refused = run
        .produce(&topic, "none", &sent)
        .err()
        .context("5000 bytes went into a topic that takes 2000")?;
    let text = format!("{refused:#}")
        .to_lowercase()
        .replace(['_', ' '], "");
    ensure!(
        text.contains("toolarge") || text.contains("largerthan"),
        "the client was told something else: {refused:#}"
    );
    sent[0].value = Some(Blob(vec![b'x'; 1000]));
    let placed = run.produce(&topic, "none", &sent)?;
    ensure!(
        placed == [(0, 0)],
        "the refused record left a trace: {placed:?}"
    );
    Ok(())
}

pub fn keys_together(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create_topic("partitioner", 5)?;
    let mut sent = varied(run.client, 200, 5);
    // librdkafka sees no key in an empty one and spreads those records.
    sent.retain(|record| record.key.as_ref().is_some_and(|key| !key.0.is_empty()));
    for record in &mut sent {
        record.partition = None;
    }
    let placed = run.produce(&topic, "none", &sent)?;
    let mut of_key = BTreeMap::new();
    for (record, (partition, _)) in sent.iter().zip(&placed) {
        let at = of_key.entry(record.key.clone()).or_insert(*partition);
        ensure!(
            at == partition,
            "key {:?} in partitions {at} and {partition}",
            record.key
        );
    }
    ensure!(
        of_key
            .values()
            .collect::<std::collections::BTreeSet<_>>()
            .len()
            > 1,
        "all keys in one partition"
    );
    check_read_back(run, &topic, &expected(&sent, &placed))
}
