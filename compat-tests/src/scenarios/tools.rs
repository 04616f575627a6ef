//! Kafka's tools against the broker: what a person types, and what they see.

use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::tools_groups::rows;
use super::{OnBroker, Test, tools_configs, tools_groups};
use crate::tools::{
    API_VERSIONS, CONFIGS, CONSOLE_CONSUMER, CONSOLE_PRODUCER, CONSUMER_GROUPS, CONSUMER_PERF,
    DELETE_RECORDS, GET_OFFSETS, LOG_DIRS, PRODUCER_PERF, TOPICS, ok, run, start,
};
use crate::{paths, wait};

pub const NEEDS: &[&str] = &["java", "javac", "mvn"];

pub fn listed() -> Vec<Test> {
    let scenarios: &[(&str, OnBroker)] = &[
        ("topics", topics),
        ("console_producer_and_consumer", console),
        ("console_producer_compressions", console_compressions),
        ("console_consumer_with_a_group", console_group),
        ("consumer_groups", tools_groups::consumer_groups),
        (
            "consumer_groups_reset_and_delete_offsets",
            tools_groups::reset_offsets,
        ),
        ("configs_of_topics", tools_configs::topic_configs),
        ("configs_of_brokers", tools_configs::broker_configs),
        ("configs_of_broker_loggers", tools_configs::broker_loggers),
        ("get_offsets", get_offsets),
        ("log_dirs", log_dirs),
        ("delete_records", delete_records),
        ("broker_api_versions", api_versions),
        ("features", tools_configs::features),
        ("producer_and_consumer_perf_test", perf),
        ("each_in_a_jvm_of_its_own", real_starts),
    ];
    scenarios
        .iter()
        .map(|&(name, scenario)| Test::new(format!("kafka-tools::{name}"), scenario).needs(NEEDS))
        .collect()
}

/// The arguments of a tool, with where the broker is.
pub(super) fn at<'a>(address: &'a str, args: &[&'a str]) -> Vec<&'a str> {
    [&["--bootstrap-server", address], args].concat()
}

pub(super) fn create(address: &str, what: &str, partitions: &str) -> Result<String> {
    let topic = paths::unique(what);
    let out = ok(
        TOPICS,
        &at(
            address,
            &["--create", "--topic", &topic, "--partitions", partitions],
        ),
        "",
    )?;
    ensure!(out.contains(&format!("Created topic {topic}.")), "{out}");
    Ok(topic)
}

/// Lines of `key:value` through the console producer.
pub(super) fn produce(address: &str, topic: &str, lines: &str) -> Result<()> {
    let keyed = [
        "--topic",
        topic,
        "--reader-property",
        "parse.key=true",
        "--reader-property",
        "key.separator=:",
    ];
    ok(CONSOLE_PRODUCER, &at(address, &keyed), lines)?;
    Ok(())
}

fn topics(address: &str) -> Result<()> {
    let topic = create(address, "tool-topics", "3")?;
    let twice = run(TOPICS, &at(address, &["--create", "--topic", &topic]), "")?;
    ensure!(
        twice.exit == 1 && twice.stdout.contains("already exists"),
        "{twice:?}"
    );
    ok(
        TOPICS,
        &at(address, &["--create", "--if-not-exists", "--topic", &topic]),
        "",
    )?;
    let listed = ok(TOPICS, &at(address, &["--list"]), "")?;
    ensure!(listed.lines().any(|line| line == topic), "{listed}");
    ok(
        TOPICS,
        &at(
            address,
            &["--alter", "--topic", &topic, "--partitions", "5"],
        ),
        "",
    )?;
    wait::until("the topic has five partitions", wait::SOON, || {
        let described = ok(TOPICS, &at(address, &["--describe", "--topic", &topic]), "")?;
        let lines = described
            .lines()
            .filter(|line| line.starts_with('\t') && line.contains("Leader: "))
            .count();
        Ok(
            (described.contains("PartitionCount: 5\tReplicationFactor: 1") && lines == 5)
                .then_some(()),
        )
    })?;
    let configured = paths::unique("tool-topics");
    let config = [
        "--create",
        "--topic",
        &configured,
        "--config",
        "retention.ms=3600000",
        "--config",
        "cleanup.policy=compact",
    ];
    ok(TOPICS, &at(address, &config), "")?;
    let described = ok(
        TOPICS,
        &at(address, &["--describe", "--topic", &configured]),
        "",
    )?;
    ensure!(
        described.contains("cleanup.policy=compact") && described.contains("retention.ms=3600000"),
        "{described}"
    );
    let bad = run(
        TOPICS,
        &at(
            address,
            &[
                "--create",
                "--topic",
                &paths::unique("bad"),
                "--config",
                "no.such=1",
            ],
        ),
        "",
    )?;
    ensure!(
        bad.exit == 1 && (bad.stdout + &bad.stderr).contains("no.such"),
        "an unknown config was taken"
    );
    ok(TOPICS, &at(address, &["--delete", "--topic", &topic]), "")?;
    wait::until("the topic is gone", wait::SOON, || {
        let listed = ok(TOPICS, &at(address, &["--list"]), "")?;
        Ok((!listed.lines().any(|line| line == topic)).then_some(()))
    })?;
    let missing = run(TOPICS, &at(address, &["--describe", "--topic", &topic]), "")?;
    ensure!(
        missing.exit == 1 && missing.stdout.contains("does not exist"),
        "{missing:?}"
    );
    Ok(())
}

const SHOW: [&str; 8] = [
    "--formatter-property",
    "print.key=true",
    "--formatter-property",
    "print.partition=true",
    "--formatter-property",
    "print.offset=true",
    "--formatter-property",
    "print.headers=true",
];

pub(super) fn consume(address: &str, topic: &str, args: &[&str]) -> Result<Vec<String>> {
    let all = [&["--topic", topic, "--timeout-ms", "30000"], args].concat();
    Ok(ok(CONSOLE_CONSUMER, &at(address, &all), "")?
        .lines()
        .map(str::to_owned)
        .collect())
}

fn console(address: &str) -> Result<()> {
    let topic = create(address, "tool-console", "1")?;
    let properties = [
        "parse.headers=true",
        "parse.key=true",
        "key.separator=|",
        "null.marker=NIL",
    ];
    let mut args = vec!["--topic", &topic];
    args.extend(
        properties
            .iter()
            .flat_map(|property| ["--reader-property", property]),
    );
    ok(
        CONSOLE_PRODUCER,
        &at(address, &args),
        "h:1,g:2\ta|first\nh:1\tb|\nh:1\ta|NIL\nh:1\tü|Wert — 值\n",
    )?;
    let wanted = [
        "Partition:0\tOffset:0\th:1,g:2\ta\tfirst",
        "Partition:0\tOffset:1\th:1\tb\t",
        "Partition:0\tOffset:2\th:1\ta\tnull",
        "Partition:0\tOffset:3\th:1\tü\tWert — 值",
    ];
    let read = consume(
        address,
        &topic,
        &[&SHOW[..], &["--from-beginning", "--max-messages", "4"]].concat(),
    )?;
    ensure!(read == wanted, "{read:#?}");
    let part = ["--partition", "0", "--offset", "2", "--max-messages", "2"];
    let read = consume(address, &topic, &[&SHOW[..], &part].concat())?;
    ensure!(read == wanted[2..], "{read:#?}");
    let part = [
        "--partition",
        "0",
        "--offset",
        "earliest",
        "--max-messages",
        "1",
    ];
    let read = consume(address, &topic, &[&SHOW[..], &part].concat())?;
    ensure!(read == wanted[..1], "{read:#?}");
    Ok(())
}

fn console_compressions(address: &str) -> Result<()> {
    let topic = create(address, "tool-compressions", "1")?;
    let mut sent = Vec::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let lines: Vec<_> = (0..100)
            .map(|index| format!("{codec} line {index}"))
            .collect();
        ok(
            CONSOLE_PRODUCER,
            &at(address, &["--topic", &topic, "--compression-codec", codec]),
            &lines.join("\n"),
        )?;
        sent.extend(lines);
    }
    let read = consume(
        address,
        &topic,
        &["--from-beginning", "--max-messages", "500"],
    )?;
    ensure!(read == sent, "{} lines came, or others", read.len());
    Ok(())
}

fn console_group(address: &str) -> Result<()> {
    let topic = create(address, "tool-group", "3")?;
    let group = paths::unique("tool-group");
    let args = ["--group", &group, "--from-beginning", "--max-messages", "4"];
    for round in 0..2 {
        produce(
            address,
            &topic,
            &format!("a:{round}1\nb:{round}2\nc:{round}3\nd:{round}4\n"),
        )?;
        let mut read = consume(address, &topic, &args)?;
        read.sort();
        let wanted: Vec<_> = (1..=4).map(|index| format!("{round}{index}")).collect();
        ensure!(read == wanted, "round {round}: {read:?}");
    }
    Ok(())
}

fn get_offsets(address: &str) -> Result<()> {
    let topic = create(address, "tool-offsets", "2")?;
    produce(address, &topic, "a:1\na:2\na:3\n")?;
    let offsets = |time: &str| -> Result<i64> {
        let out = ok(
            GET_OFFSETS,
            &at(address, &["--topic", &topic, "--time", time]),
            "",
        )?;
        ensure!(out.lines().count() == 2, "{time}: {out}");
        out.lines()
            .map(|line| {
                Ok(line
                    .rsplit(':')
                    .next()
                    .context("no offset")?
                    .parse::<i64>()?)
            })
            .sum()
    };
    ensure!(
        offsets("latest")? == 3 && offsets("-1")? == 3,
        "the end is not at 3"
    );
    ensure!(offsets("earliest")? == 0, "the beginning is not at 0");
    ensure!(
        offsets("earliest-local")? == 0,
        "the local beginning is not at 0"
    );
    let max = ok(
        GET_OFFSETS,
        &at(address, &["--topic", &topic, "--time", "max-timestamp"]),
        "",
    )?;
    ensure!(
        max.lines()
            .any(|line| line.ends_with(":2") || line.ends_with(":1") || line.ends_with(":0")),
        "{max}"
    );
    let one = ok(
        GET_OFFSETS,
        &at(address, &["--topic-partitions", &format!("{topic}:1")]),
        "",
    )?;
    ensure!(
        one.lines().count() == 1 && one.starts_with(&format!("{topic}:1:")),
        "{one}"
    );
    Ok(())
}

fn log_dirs(address: &str) -> Result<()> {
    let topic = create(address, "tool-dirs", "2")?;
    produce(address, &topic, "a:1\nb:2\nc:3\n")?;
    let out = ok(
        LOG_DIRS,
        &at(address, &["--describe", "--topic-list", &topic]),
        "",
    )?;
    let json: Value = serde_json::from_str(
        out.lines()
            .find(|line| line.starts_with('{'))
            .context("no JSON")?,
    )?;
    let dir = &json["brokers"][0]["logDirs"][0];
    ensure!(dir["error"].is_null() && dir["logDir"].is_string(), "{out}");
    let partitions = dir["partitions"].as_array().context("no partitions")?;
    let size: i64 = partitions
        .iter()
        .filter_map(|partition| partition["size"].as_i64())
        .sum();
    ensure!(partitions.len() == 2 && size > 80, "{out}");
    ensure!(
        partitions
            .iter()
            .all(|p| p["offsetLag"] == json!(0) && p["isFuture"] == json!(false)),
        "{out}"
    );
    Ok(())
}

fn delete_records(address: &str) -> Result<()> {
    let topic = create(address, "tool-delete", "1")?;
    produce(address, &topic, "a:1\na:2\na:3\na:4\n")?;
    let mut file = tempfile::NamedTempFile::new()?;
    let wanted =
        json!({"version": 1, "partitions": [{"topic": topic, "partition": 0, "offset": 3}]});
    file.write_all(wanted.to_string().as_bytes())?;
    let path = file.path().to_string_lossy().into_owned();
    let out = ok(
        DELETE_RECORDS,
        &at(address, &["--offset-json-file", &path]),
        "",
    )?;
    ensure!(
        out.contains(&format!("partition: {topic}-0\tlow_watermark: 3")),
        "{out}"
    );
    let read = consume(
        address,
        &topic,
        &["--from-beginning", "--max-messages", "1"],
    )?;
    ensure!(read == ["4"], "{read:?}");
    Ok(())
}

fn api_versions(address: &str) -> Result<()> {
    let out = ok(API_VERSIONS, &at(address, &[]), "")?;
    ensure!(out.starts_with(address), "{out}");
    for line in [
        "Produce(0): 0 to 13 [usable: 13]",
        "Fetch(1): 4 to 18 [usable: 18]",
        "Metadata(3): 0 to 13 [usable: 13]",
        "JoinGroup(11): 0 to 9 [usable: 9]",
        "ApiVersions(18): 0 to ",
        "CreateTopics(19): 2 to 7 [usable: 7]",
        "DescribeTopicPartitions(75): 0 [usable: 0]",
    ] {
        ensure!(out.contains(line), "no {line} in {out}");
    }
    Ok(())
}

fn perf(address: &str) -> Result<()> {
    let topic = create(address, "tool-perf", "2")?;
    let server = format!("bootstrap.servers={address}");
    let args = [
        "--topic",
        &topic,
        "--num-records",
        "50000",
        "--record-size",
        "200",
        "--throughput",
        "-1",
    ];
    let out = ok(
        PRODUCER_PERF,
        &[
            &args[..],
            &["--command-property", &server, "compression.type=lz4"],
        ]
        .concat(),
        "",
    )?;
    ensure!(out.contains("50000 records sent"), "{out}");
    let out = ok(
        CONSUMER_PERF,
        &at(
            address,
            &[
                "--topic",
                &topic,
                "--num-records",
                "50000",
                "--timeout",
                "30000",
            ],
        ),
        "",
    )?;
    let read = out
        .lines()
        .nth(1)
        .and_then(|line| line.split(", ").nth(4))
        .context("no result")?;
    ensure!(read == "50000", "{out}");
    Ok(())
}

fn real_starts(address: &str) -> Result<()> {
    let topic = paths::unique("tool-real");
    let group = paths::unique("tool-real");
    let starts = |tool: &str, args: &[&str]| start(tool, &at(address, args), Stdio::null());
    let out = starts(
        TOPICS,
        &["--create", "--topic", &topic, "--partitions", "1"],
    )?;
    ensure!(out.contains(&format!("Created topic {topic}.")), "{out}");
    let mut lines = tempfile::tempfile()?;
    std::io::Write::write_all(&mut lines, b"one\ntwo\nthree\n")?;
    std::io::Seek::rewind(&mut lines)?;
    start(CONSOLE_PRODUCER, &at(address, &["--topic", &topic]), lines)?;
    let args = [
        "--topic",
        &topic,
        "--from-beginning",
        "--max-messages",
        "3",
        "--timeout-ms",
        "30000",
        "--group",
        &group,
    ];
    let out = starts(CONSOLE_CONSUMER, &args)?;
    ensure!(out == "one\ntwo\nthree\n", "{out}");
    let out = starts(CONSUMER_GROUPS, &["--describe", "--group", &group])?;
    ensure!(
        rows(&out, "GROUP")
            .first()
            .is_some_and(|row| row.get(3).is_some_and(|offset| offset == "3")),
        "{out}"
    );
    let out = starts(
        CONFIGS,
        &[
            "--describe",
            "--all",
            "--entity-type",
            "topics",
            "--entity-name",
            &topic,
        ],
    )?;
    ensure!(out.contains("segment.bytes=1073741824"), "{out}");
    let out = starts(GET_OFFSETS, &["--topic", &topic])?;
    ensure!(out.trim() == format!("{topic}:0:3"), "{out}");
    ensure!(
        starts(LOG_DIRS, &["--describe", "--topic-list", &topic])?.contains(&format!("{topic}-0")),
        "kafka-log-dirs"
    );
    ensure!(
        starts(API_VERSIONS, &[])?.contains("Produce(0): 0 to 13"),
        "kafka-broker-api-versions"
    );
    let server = format!("bootstrap.servers={address}");
    let args = [
        "--topic",
        &topic,
        "--num-records",
        "1000",
        "--record-size",
        "100",
        "--throughput",
        "-1",
    ];
    let out = start(
        PRODUCER_PERF,
        &[&args[..], &["--command-property", &server]].concat(),
        Stdio::null(),
    )?;
    ensure!(out.contains("1000 records sent"), "{out}");
    let out = starts(
        CONSUMER_PERF,
        &[
            "--topic",
            &topic,
            "--num-records",
            "1003",
            "--timeout",
            "30000",
        ],
    )?;
    ensure!(out.contains(", 1003, "), "{out}");
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(
        json!({"version": 1, "partitions": [{"topic": topic, "partition": 0, "offset": 1003}]})
            .to_string()
            .as_bytes(),
    )?;
    let out = starts(
        DELETE_RECORDS,
        &["--offset-json-file", &file.path().to_string_lossy()],
    )?;
    ensure!(out.contains("low_watermark: 1003"), "{out}");
    Ok(())
}
