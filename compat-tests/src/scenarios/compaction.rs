//! Compacted topics, as clients see them: the last record of every key, tombstones that go, `__consumer_offsets` that
//! does not grow, all of it also after a kill -9.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::json;

use super::groups::{Group, fill};
use super::records::base_ms;
use super::{OnBroker, Run, Test};
use crate::broker::Broker;
use crate::client::{CLIENTS, Client};
use crate::wait;
use crate::wire::{Blob, Incoming, Outgoing};

pub fn listed() -> Vec<Test> {
    let scenarios: &[(&str, OnBroker)] = &[
        ("compaction_keeps_the_last_of_each_key", last_of_each_key),
        ("consumer_offsets_are_compacted", consumer_offsets),
    ];
    scenarios
        .iter()
        .map(|&(name, scenario)| Test::new(format!("dohle::{name}"), scenario).ours_only())
        .collect()
}

const EAGER: &[&str] = &[
    "log.cleaner.backoff.ms=100",
    "log.cleaner.min.cleanable.ratio=0",
    "log.segment.delete.delay.ms=100",
    "offsets.topic.num.partitions=1",
];

const KEYS: usize = 50;

fn rdkafka() -> Result<&'static Client> {
    CLIENTS
        .iter()
        .find(|client| client.name == "rdkafka")
        .context("no rdkafka")
}

/// The value of a partition's gauge.
fn gauge(broker: &Broker, name: &str, topic: &str) -> Result<f64> {
    let text = broker.http_get("/metrics")?;
    let wanted = format!("{name}{{topic=\"{topic}\",partition=\"0\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&wanted));
    Ok(value.with_context(|| format!("no {wanted}"))?.parse()?)
}

fn read_all(run: &mut Run<'_>, topic: &str) -> Result<Vec<Incoming>> {
    let end = run.list_offset(topic, 0, "latest")?;
    let mut read: Vec<Incoming> = Vec::new();
    loop {
        let next = read.last().map_or(0, |record| record.offset + 1);
        if next >= end {
            return Ok(read);
        }
        // The last record is always there: it lies in the active segment.
        read.extend(run.consume(topic, 0, next, 1)?);
    }
}

fn record(key: &str, value: Option<String>) -> Outgoing {
    Outgoing {
        partition: Some(0),
        key: Some(Blob(key.as_bytes().to_vec())),
        value: value.map(|value| Blob(value.into_bytes())),
        headers: vec![
            ("h".into(), Some(Blob(b"1".to_vec()))),
            ("h".into(), None),
            ("h".into(), Some(Blob(b"1".to_vec()))),
        ],
        timestamp: Some(base_ms()),
    }
}

fn last_of_each_key(_shared: &str) -> Result<()> {
    let mut broker = Broker::start(EAGER)?;
    let address = broker.address.clone();
    let client = rdkafka()?;
    let mut driver = client.new_driver("rdkafka-compaction", &address)?;
    let mut run = Run {
        client,
        driver: &mut driver,
        address: &address,
    };
    let topic = crate::paths::unique("compacted");
    run.driver.call(
        "create_topic",
        json!({"topic": topic, "partitions": 1, "configs": {
            "cleanup.policy": "compact",
            "internal.segment.bytes": "8000",
            "delete.retention.ms": "200",
        }}),
    )?;
    let mut sent: Vec<Outgoing> = Vec::new();
    for round in 0..40 {
        let codec = run.client.codecs[round % run.client.codecs.len()];
        let records: Vec<_> = (0..KEYS)
            .map(|key| {
                let is_deleted = round == 39 && key % 5 == 0;
                let value = format!("{round} {key} {}", "x".repeat(40));
                record(&format!("key {key}"), (!is_deleted).then_some(value))
            })
            .collect();
        for batch in records.chunks(7) {
            run.produce(&topic, codec, batch)?;
        }
        sent.extend(records);
    }
    let written = gauge(&broker, "dohle_log_end_offset", &topic)?;
    ensure!(written == sent.len() as f64, "{written} records");
    // What goes on being written moves the segments that are compacted.
    let more = |run: &mut Run<'_>, sent: &mut Vec<Outgoing>| -> Result<()> {
        let filler: Vec<_> = (0..60)
            .map(|_| record("filler", Some("y".repeat(100))))
            .collect();
        for batch in filler.chunks(5) {
            run.produce(&topic, "none", batch)?;
        }
        sent.extend(filler);
        Ok(())
    };
    let read = wait::until(
        "every key but the deleted has one record",
        wait::SOON,
        || {
            more(&mut run, &mut sent)?;
            let read = read_all(&mut run, &topic)?;
            let keys: BTreeSet<_> = read.iter().map(|record| &record.key).collect();
            let fillers = read.iter().filter(|r| is_filler(r)).count();
            let wanted = KEYS - KEYS / 5;
            let once = read.len() - fillers == wanted && keys.len() == wanted + 1;
            Ok(once.then_some(read))
        },
    )?;
    check(&read, &sent)?;

    let status = broker.end(Signal::KILL)?;
    ensure!(!status.success(), "kill -9: {status}");
    broker.launch()?;
    let mut driver = client.new_driver("rdkafka-compaction-2", &address)?;
    let mut run = Run {
        client,
        driver: &mut driver,
        address: &address,
    };
    let again = read_all(&mut run, &topic)?;
    check(&again, &sent)?;
    let keys = |read: &[Incoming]| -> BTreeSet<i64> {
        let others = read.iter().filter(|record| !is_filler(record));
        others.map(|record| record.offset).collect()
    };
    ensure!(keys(&again) == keys(&read), "other records after a crash");
    // The next record follows.
    let placed = run.produce(&topic, "none", &[record("key 0", Some("back".into()))])?;
    let end = i64::try_from(sent.len())?;
    ensure!(placed == [(0, end)], "{placed:?}, not at {end}");
    Ok(())
}

fn is_filler(record: &Incoming) -> bool {
    record.key == Some(Blob(b"filler".to_vec()))
}

/// What was read is what was sent at its offset, in order, and the last of each key.
fn check(read: &[Incoming], sent: &[Outgoing]) -> Result<()> {
    let mut last: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for (offset, record) in sent.iter().enumerate() {
        let key = record.key.clone().context("no key")?.0;
        last.insert(key, offset);
    }
    let mut before = -1;
    for record in read {
        ensure!(record.offset > before, "{} after {before}", record.offset);
        before = record.offset;
        let at = usize::try_from(record.offset)?;
        let was = sent
            .get(at)
            .with_context(|| format!("nothing was sent at {at}"))?;
        ensure!(
            (&record.key, &record.value, &record.headers) == (&was.key, &was.value, &was.headers)
                && Some(record.timestamp) == was.timestamp,
            "{record:?}, not {was:?}"
        );
        let key = record.key.clone().context("no key")?.0;
        ensure!(
            is_filler(record) || last.get(&key) == Some(&at),
            "an old {record:?}"
        );
    }
    Ok(())
}

fn consumer_offsets(_shared: &str) -> Result<()> {
    let mut broker = Broker::start(EAGER)?;
    let address = broker.address.clone();
    let client = rdkafka()?;
    let mut driver = client.new_driver("rdkafka-offsets", &address)?;
    let mut run = Run {
        client,
        driver: &mut driver,
        address: &address,
    };
    let topic = run.create_topic("offsets", 6)?;
    fill(&mut run, &topic, 6, 0, 20)?;
    let mut group = Group::new(&topic);
    for _ in 0..2 {
        group.open(run.driver, json!({}))?;
    }
    group.settle(run.driver, 6)?;
    group.commit(run.driver, 1)?;
    run.driver.call(
        "replace_configs",
        json!({"type": "topic", "name": "__consumer_offsets", "configs": {
            "cleanup.policy": "compact",
            "internal.segment.bytes": "10000",
        }}),
    )?;
    let size = |broker: &Broker| gauge(broker, "dohle_log_size_bytes", "__consumer_offsets");
    for round in 0..400 {
        group.commit(run.driver, 2 + round % 17)?;
    }
    group.commit(run.driver, 13)?;
    let end = gauge(&broker, "dohle_log_end_offset", "__consumer_offsets")?;
    ensure!(end > 2400.0, "{end} records");
    // One round of commits is 6 records; what is active is left as it is.
    let left = wait::until("the offsets are compacted", wait::SOON, || {
        let left = size(&broker)?;
        Ok((left < 30_000.0).then_some(left))
    })?;
    ensure!(
        left > 0.0 && end * 60.0 > left,
        "{left} bytes of {end} records"
    );
    broker.end(Signal::KILL)?;
    broker.launch()?;
    let mut driver = client.new_driver("rdkafka-offsets-2", &address)?;
    let committed = group.committed(&mut driver)?;
    let wanted: BTreeMap<i32, i64> = (0..6).map(|partition| (partition, 13)).collect();
    ensure!(committed == wanted, "{committed:?}");
    Ok(())
}
