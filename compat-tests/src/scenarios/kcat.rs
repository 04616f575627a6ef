//! kcat: producing, consuming, offsets, a group of three; and Java's records read by its old librdkafka.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::records::{expected, varied};
use super::{Run, Test};
use crate::client::CLIENTS;
use crate::kcat::{self, Member};
use crate::wire::Blob;
use crate::{paths, wait};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

pub fn listed() -> Vec<Test> {
    let mut tests: Vec<_> = CODECS
        .iter()
        .map(|codec| {
            Test::new(format!("kcat::records_{codec}"), move |address| {
                records(address, codec)
            })
            .needs(&["kcat"])
        })
        .collect();
    tests.push(Test::new("kcat::lists_topics_and_offsets", lists).needs(&["kcat"]));
    tests.push(Test::new("kcat::groups_three_members", three_members).needs(&["kcat"]));
    tests.push(
        Test::new("kcat::reads_what_java_wrote", reads_java)
            .needs(&["kcat", "java", "javac", "mvn"]),
    );
    tests
}

/// A topic comes into being with its first record, or through a client where it needs more partitions.
fn topic(address: &str, what: &str, partitions: i32) -> Result<String> {
    let client = CLIENTS
        .iter()
        .find(|client| client.name == "rdkafka")
        .context("no rdkafka")?;
    let mut guard = client.driver(address)?;
    Run {
        client,
        driver: guard.get()?,
        address,
    }
    .create_topic(what, partitions)
}

fn records(address: &str, codec: &str) -> Result<()> {
    let topic = topic(address, &format!("kcat-{codec}"), 2)?;
    let lines = "a:first\nb:second\na:\n:third\na:Wert — 值\n".repeat(20);
    let headers = ["-H", "trace=1", "-H", "trace=2", "-H", "empty="];
    let mut args = vec!["-P", "-t", &topic, "-p", "1", "-z", codec, "-K", ":", "-Z"];
    args.extend(headers);
    kcat::run(address, &args, lines.as_bytes())?;
    let read = kcat::read(address, &topic, 1, "beginning")?;
    ensure!(read.len() == 100, "{} of 100 records came", read.len());
    for (index, record) in read.iter().enumerate() {
        let (key, value) = match index % 5 {
            0 => (Some("a"), Some("first")),
            1 => (Some("b"), Some("second")),
            2 => (Some("a"), None),
            3 => (None, Some("third")),
            _ => (Some("a"), Some("Wert — 值")),
        };
        ensure!(record.offset == index as i64, "{record:?}");
        ensure!(
            record.key == key.map(Blob::from) && record.value == value.map(Blob::from),
            "{record:?}"
        );
        let header = |name: &str, value: &str| (name.to_owned(), Some(Blob::from(value)));
        ensure!(
            record.headers[..2] == [header("trace", "1"), header("trace", "2")],
            "{record:?}"
        );
    }
    ensure!(
        kcat::read(address, &topic, 0, "beginning")?.is_empty(),
        "records in the other partition"
    );
    let tail = kcat::read(address, &topic, 1, "97")?;
    ensure!(
        tail.iter().map(|record| record.offset).eq(97..100),
        "{tail:?}"
    );
    let last = kcat::read(address, &topic, 1, "-2")?;
    ensure!(
        last.iter().map(|record| record.offset).eq(98..100),
        "{last:?}"
    );
    Ok(())
}

fn lists(address: &str) -> Result<()> {
    let topic = topic(address, "kcat-list", 3)?;
    let listed = String::from_utf8(kcat::run(address, &["-L", "-t", &topic], b"")?)?;
    ensure!(
        listed.contains(&format!("topic \"{topic}\" with 3 partitions")),
        "{listed}"
    );
    ensure!(
        listed.contains(&format!("at {address} (controller)")),
        "{listed}"
    );
    kcat::run(
        address,
        &["-P", "-t", &topic, "-p", "0"],
        b"one\ntwo\nthree\n",
    )?;
    let read = kcat::read(address, &topic, 0, "beginning")?;
    ensure!(read.len() == 3, "{read:?}");
    let found = kcat::run(
        address,
        &["-Q", "-t", &format!("{topic}:0:{}", read[0].timestamp)],
        b"",
    )?;
    let found = String::from_utf8(found)?;
    ensure!(found.trim() == format!("{topic} [0] offset 0"), "{found}");
    let since = kcat::read(address, &topic, 0, &format!("s@{}", read[0].timestamp))?;
    ensure!(since.len() == 3, "{since:?}");
    Ok(())
}

fn settled(members: &[Member]) -> bool {
    let owned: Vec<_> = members
        .iter()
        .map(|member| member.seen().owned.clone())
        .collect();
    owned.iter().all(|owned| owned.len() == 2)
        && owned.iter().flatten().collect::<BTreeSet<_>>().len() == 6
}

fn three_members(address: &str) -> Result<()> {
    let topic = topic(address, "kcat-group", 6)?;
    let group = paths::unique("kcat-group");
    for round in 0..2 {
        let members = (0..3)
            .map(|_| Member::open(address, &group, &topic))
            .collect::<Result<Vec<_>>>()?;
        wait::until("three members share six partitions", wait::SOON, || {
            Ok(settled(&members).then_some(()))
        })?;
        for partition in 0..6 {
            let lines: String = (0..20)
                .map(|index| format!("{partition}/{}\n", round * 20 + index))
                .collect();
            kcat::run(
                address,
                &[
                    "-P",
                    "-t",
                    &topic,
                    "-p",
                    &partition.to_string(),
                    "-z",
                    "snappy",
                ],
                lines.as_bytes(),
            )?;
        }
        wait::until("120 records came", wait::SOON, || {
            let came: usize = members
                .iter()
                .map(|member| member.seen().records.len())
                .sum();
            Ok((came >= 120).then_some(()))
        })?;
        let mut offsets: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
        for member in &members {
            let seen = member.seen();
            for (partition, offset, value) in &seen.records {
                ensure!(
                    *value == format!("{partition}/{offset}"),
                    "partition {partition}, offset {offset}: {value}"
                );
                ensure!(
                    seen.owned.contains(partition),
                    "partition {partition} came to one who does not own it"
                );
                offsets.entry(*partition).or_default().push(*offset);
            }
        }
        // The second round begins where the first one committed: no loss, nothing again.
        let wanted: Vec<i64> = (round * 20..round * 20 + 20).collect();
        ensure!(
            offsets.len() == 6 && offsets.values().all(|offsets| *offsets == wanted),
            "round {round}: {offsets:?}"
        );
        for member in members {
            member.close()?;
        }
    }
    Ok(())
}

fn reads_java(address: &str) -> Result<()> {
    let client = CLIENTS
        .iter()
        .find(|client| client.name == "java-4.4.0")
        .context("no Java")?;
    for codec in CODECS {
        let mut guard = client.driver(address)?;
        let mut run = Run {
            client,
            driver: guard.get()?,
            address,
        };
        let topic = run.create_topic(&format!("kcat-reads-{codec}"), 1)?;
        let mut sent = varied(client, 100, 1);
        for record in &mut sent {
            // kcat prints headers as text without escapes: what it cannot show is left out here.
            record
                .headers
                .retain(|(name, value)| name != "empty" && value.is_some());
        }
        let request = json!({"topic": topic, "compression": codec, "records": sent});
        let placed: Vec<(i32, i64)> = run.driver.get("produce", request, "placed")?;
        drop(guard);
        let read = kcat::read(address, &topic, 0, "beginning")?;
        let wanted: Vec<_> = expected(&sent, &placed).into_values().collect();
        for (read, wanted) in read.iter().zip(&wanted) {
            ensure!(read == wanted, "{codec}: sent {wanted:#?}\nread {read:#?}");
        }
        ensure!(
            read.len() == wanted.len(),
            "{codec}: {} of {} came",
            read.len(),
            wanted.len()
        );
    }
    Ok(())
}
