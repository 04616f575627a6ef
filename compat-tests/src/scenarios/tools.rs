//! Kafka's tools against the broker: what a person types, and what they see.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde_json::{Value, json};

use super::{OnBroker, Test};
use crate::tools::{
    API_VERSIONS, CONFIGS, CONSOLE_CONSUMER, CONSOLE_PRODUCER, CONSUMER_GROUPS, CONSUMER_PERF,
    DELETE_RECORDS, FEATURES, GET_OFFSETS, LOG_DIRS, PRODUCER_PERF, TOPICS, ok, run, start,
};
use crate::{paths, wait};

pub const NEEDS: &[&str] = &["java", "javac", "mvn"];

pub fn listed() -> Vec<Test> {
    let scenarios: &[(&str, OnBroker)] = &[
        ("topics", topics),
        ("console_producer_and_consumer", console),
        ("console_producer_compressions", console_compressions),
        ("console_consumer_with_a_group", console_group),
        ("consumer_groups", consumer_groups),
        ("consumer_groups_reset_and_delete_offsets", reset_offsets),
        ("configs_of_topics", topic_configs),
        ("configs_of_brokers", broker_configs),
        ("configs_of_broker_loggers", broker_loggers),
        ("get_offsets", get_offsets),
        ("log_dirs", log_dirs),
        ("delete_records", delete_records),
        ("broker_api_versions", api_versions),
        ("features", features),
        ("producer_and_consumer_perf_test", perf),
        ("each_in_a_jvm_of_its_own", real_starts),
    ];
    scenarios
        .iter()
        .map(|&(name, scenario)| Test::new(format!("kafka-tools::{name}"), scenario).needs(NEEDS))
        .collect()
}

/// The arguments of a tool, with where the broker is.
fn at<'a>(address: &'a str, args: &[&'a str]) -> Vec<&'a str> {
    [&["--bootstrap-server", address], args].concat()
}

fn create(address: &str, what: &str, partitions: &str) -> Result<String> {
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
fn produce(address: &str, topic: &str, lines: &str) -> Result<()> {
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

fn consume(address: &str, topic: &str, args: &[&str]) -> Result<Vec<String>> {
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

/// A member that stays while a tool looks at its group.
struct Staying {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Staying {
    fn open(address: &str, group: &str, topic: &str) -> Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", address)
            .set("group.id", group)
            .set("client.id", "stays")
            .set("auto.offset.reset", "earliest")
            .set("heartbeat.interval.ms", "500")
            .set("auto.commit.interval.ms", "200")
            .create()?;
        consumer.subscribe(&[topic])?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let _ = consumer.poll(Duration::from_millis(100));
            }
        });
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The rows of a table that a tool prints, split into fields, without the heading.
fn rows(out: &str, first_heading: &str) -> Vec<Vec<String>> {
    let mut lines = out
        .lines()
        .skip_while(|line| !line.starts_with(first_heading));
    lines.next();
    lines
        .map(|line| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .filter(|row| !row.is_empty())
        .collect()
}

fn consumer_groups(address: &str) -> Result<()> {
    let topic = create(address, "tool-groups", "2")?;
    let group = paths::unique("tool-groups");
    let here = at(address, &["--describe", "--group", &group]);
    let with = |more: &[&'static str]| [here.clone(), more.to_vec()].concat();
    for partition in ["a:1\n", "b:2\n", "c:3\n", "d:4\n"] {
        produce(address, &topic, partition)?;
    }
    let member = Staying::open(address, &group, &topic)?;
    wait::until("the member has read everything", wait::SOON, || {
        let out = run(CONSUMER_GROUPS, &here, "")?;
        let rows = rows(&out.stdout, "GROUP");
        let ends: i64 = rows
            .iter()
            .filter_map(|row| row.get(4)?.parse::<i64>().ok())
            .sum();
        let read = rows.len() == 2
            && rows
                .iter()
                .all(|row| row.get(5).is_some_and(|lag| lag == "0"));
        let owned = rows
            .iter()
            .all(|row| row.get(8).is_some_and(|client| client == "stays"));
        Ok((ends == 4 && read && owned).then_some(()))
    })?;
    let listed = ok(CONSUMER_GROUPS, &at(address, &["--list", "--state"]), "")?;
    let row = rows(&listed, "GROUP")
        .into_iter()
        .find(|row| row.first() == Some(&group))
        .context("not listed")?;
    ensure!(
        row.last().is_some_and(|state| state == "Stable"),
        "{listed}"
    );
    let members = ok(CONSUMER_GROUPS, &with(&["--members", "--verbose"]), "")?;
    ensure!(
        rows(&members, "GROUP").len() == 1
            && members.contains("stays")
            && members.contains(&format!("{topic}:0,1")),
        "{members}"
    );
    let state = ok(CONSUMER_GROUPS, &with(&["--state"]), "")?;
    ensure!(
        state.contains("Stable") && state.contains(address) && state.contains("range"),
        "{state}"
    );
    let busy = run(
        CONSUMER_GROUPS,
        &at(address, &["--delete", "--group", &group]),
        "",
    )?;
    ensure!(
        busy.stdout.contains("not empty") || busy.stderr.contains("not empty"),
        "{busy:?}"
    );

    drop(member);
    wait::until("the group is empty", wait::SOON, || {
        Ok(ok(CONSUMER_GROUPS, &with(&["--state"]), "")?
            .contains("Empty")
            .then_some(()))
    })?;
    let gone = ok(
        CONSUMER_GROUPS,
        &at(address, &["--delete", "--group", &group]),
        "",
    )?;
    ensure!(gone.contains("successful"), "{gone}");
    let listed = ok(CONSUMER_GROUPS, &at(address, &["--list"]), "")?;
    ensure!(!listed.lines().any(|line| line == group), "{listed}");
    Ok(())
}

fn reset_offsets(address: &str) -> Result<()> {
    let topic = create(address, "tool-reset", "1")?;
    let group = paths::unique("tool-reset");
    produce(address, &topic, "a:1\na:2\na:3\na:4\na:5\n")?;
    consume(
        address,
        &topic,
        &["--group", &group, "--from-beginning", "--max-messages", "5"],
    )?;
    let current = || -> Result<String> {
        let out = ok(
            CONSUMER_GROUPS,
            &at(address, &["--describe", "--group", &group]),
            "",
        )?;
        let row = rows(&out, "GROUP")
            .into_iter()
            .find(|row| row.get(1) == Some(&topic))
            .context(out)?;
        row.get(3).cloned().context("no current offset")
    };
    wait::until("the console consumer committed", wait::SOON, || {
        Ok((current()? == "5").then_some(()))
    })?;
    let reset = |how: &[&str]| {
        let what = ["--reset-offsets", "--group", &group, "--topic", &topic];
        ok(CONSUMER_GROUPS, &at(address, &[&what, how].concat()), "")
    };
    for (how, wanted) in [
        (&["--to-earliest", "--execute"][..], "0"),
        (&["--to-offset", "3", "--execute"], "3"),
        (&["--shift-by", "-1", "--execute"], "2"),
        (&["--to-latest", "--dry-run"], "2"),
        (
            &["--to-datetime", "2020-01-01T00:00:00.000", "--execute"],
            "0",
        ),
        (&["--to-latest", "--execute"], "5"),
        (&["--to-offset", "1", "--execute"], "1"),
    ] {
        let out = reset(how)?;
        ensure!(rows(&out, "GROUP").len() == 1, "{out}");
        let now = current()?;
        ensure!(now == wanted, "{how:?}: {now}, not {wanted}");
    }
    let read = consume(address, &topic, &["--group", &group, "--max-messages", "4"])?;
    ensure!(read == ["2", "3", "4", "5"], "{read:?}");
    let deleted = ok(
        CONSUMER_GROUPS,
        &at(
            address,
            &["--delete-offsets", "--group", &group, "--topic", &topic],
        ),
        "",
    )?;
    ensure!(deleted.contains("Successful"), "{deleted}");
    let described = run(
        CONSUMER_GROUPS,
        &at(address, &["--describe", "--group", &group]),
        "",
    )?;
    ensure!(!described.stdout.contains(&topic), "{described:?}");
    Ok(())
}

fn topic_configs(address: &str) -> Result<()> {
    let topic = create(address, "tool-configs", "1")?;
    let entity = ["--entity-type", "topics", "--entity-name", &topic];
    let configs = |args: &[&str]| ok(CONFIGS, &at(address, &[args, &entity].concat()), "");
    let out = configs(&[
        "--alter",
        "--add-config",
        "retention.ms=1234567,cleanup.policy=[compact,delete]",
    ])?;
    ensure!(
        out.contains(&format!("Completed updating config for topic {topic}.")),
        "{out}"
    );
    let described = configs(&["--describe"])?;
    for line in [
        "retention.ms=1234567 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=1234567",
        "cleanup.policy=compact,delete sensitive=false",
    ] {
        ensure!(described.contains(line), "{described}");
    }
    let all = configs(&["--describe", "--all"])?;
    for line in [
        "max.message.bytes=1048588 sensitive=false synonyms={",
        "segment.bytes=1073741824 sensitive=false synonyms={",
        "DEFAULT_CONFIG:log.segment.bytes=1073741824",
    ] {
        ensure!(all.contains(line), "no {line} in {all}");
    }
    configs(&["--alter", "--delete-config", "retention.ms,cleanup.policy"])?;
    let described = configs(&["--describe"])?;
    ensure!(
        !described.contains("retention.ms") && !described.contains("cleanup.policy"),
        "{described}"
    );
    let bad = run(
        CONFIGS,
        &at(
            address,
            &[
                &["--alter", "--add-config", "retention.ms=soon"][..],
                &entity,
            ]
            .concat(),
        ),
        "",
    )?;
    ensure!(
        bad.exit != 0 && bad.stderr.contains("retention.ms"),
        "{bad:?}"
    );
    Ok(())
}

fn broker_configs(address: &str) -> Result<()> {
    let entity = ["--entity-type", "brokers", "--entity-default"];
    let configs = |args: &[&str]| ok(CONFIGS, &at(address, &[args, &entity].concat()), "");
    configs(&["--alter", "--add-config", "log.cleaner.backoff.ms=12345"])?;
    wait::until("the default is described", wait::SOON, || {
        let described = configs(&["--describe"])?;
        let line = "log.cleaner.backoff.ms=12345 sensitive=false synonyms={DYNAMIC_DEFAULT_BROKER_CONFIG:log.cleaner.backoff.ms=12345";
        Ok(described.contains(line).then_some(()))
    })?;
    configs(&["--alter", "--delete-config", "log.cleaner.backoff.ms"])?;
    wait::until("the default is gone", wait::SOON, || {
        Ok((!configs(&["--describe"])?.contains("log.cleaner.backoff.ms")).then_some(()))
    })?;
    let id = broker_id(address)?;
    let broker = ["--entity-type", "brokers", "--entity-name", &id];
    let all = ok(
        CONFIGS,
        &at(address, &[&["--describe", "--all"][..], &broker].concat()),
        "",
    )?;
    for name in [
        "log.dirs=",
        "num.partitions=",
        "log.retention.hours=",
        "auto.create.topics.enable=",
    ] {
        ensure!(all.contains(name), "no {name} in {all}");
    }
    Ok(())
}

/// The id of the only broker, from what kafka-log-dirs says.
fn broker_id(address: &str) -> Result<String> {
    let out = ok(LOG_DIRS, &at(address, &["--describe"]), "")?;
    let json: Value = serde_json::from_str(
        out.lines()
            .find(|line| line.starts_with('{'))
            .context("no JSON")?,
    )?;
    Ok(json["brokers"][0]["broker"].to_string())
}

fn broker_loggers(address: &str) -> Result<()> {
    let id = broker_id(address)?;
    let entity = ["--entity-type", "broker-loggers", "--entity-name", &id];
    let configs = |args: &[&str]| ok(CONFIGS, &at(address, &[args, &entity].concat()), "");
    let described = configs(&["--describe"])?;
    let loggers = described
        .lines()
        .filter_map(|line| line.trim().split_once('='))
        .filter(|(name, _)| !name.contains(' '));
    let (logger, level) = loggers
        .into_iter()
        .find(|(name, _)| *name != "root")
        .context("no logger but the root")?;
    ensure!(
        ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"]
            .iter()
            .any(|known| level.starts_with(known)),
        "{level}"
    );
    configs(&["--alter", "--add-config", &format!("{logger}=ERROR")])?;
    let changed = configs(&["--describe"])?;
    ensure!(
        changed.contains(&format!("{logger}=ERROR ")),
        "{logger}: {changed}"
    );
    configs(&["--alter", "--delete-config", logger])?;
    let restored = configs(&["--describe"])?;
    ensure!(
        !restored.contains(&format!("{logger}=ERROR ")),
        "{restored}"
    );
    let bad = [
        &["--alter", "--add-config", "no-such-logger-at-all=INFO"][..],
        &entity,
    ]
    .concat();
    ensure!(
        run(CONFIGS, &at(address, &bad), "")?.exit != 0,
        "an unknown logger was taken"
    );
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

/// Of a feature that no other scenario looks at.
fn features(address: &str) -> Result<()> {
    const FEATURE: &str = "eligible.leader.replicas.version";
    let level = || {
        let told = ok(FEATURES, &at(address, &["describe"]), "")?;
        let line = told.lines().find(|line| line.contains(FEATURE));
        let line = line.with_context(|| told.clone())?;
        let level = line.split("FinalizedVersionLevel: ").nth(1);
        let level = level.and_then(|rest| rest.split_whitespace().next());
        Ok::<_, anyhow::Error>(level.with_context(|| told.clone())?.to_owned())
    };
    ensure!(level()? == "1", "{}", level()?);
    let change = |how: &str, to: &str, more: &[&str]| {
        let feature = format!("{FEATURE}={to}");
        let args = [&[how, "--feature", &feature], more].concat();
        run(FEATURES, &at(address, &args), "")
    };
    let only_looked = change("downgrade", "0", &["--dry-run"])?;
    ensure!(only_looked.exit == 0, "{only_looked:?}");
    ensure!(level()? == "1", "a dry run changed it");
    let down = change("downgrade", "0", &[])?;
    ensure!(
        down.exit == 0
            && down
                .stdout
                .contains(&format!("{FEATURE} was downgraded to 0.")),
        "{down:?}"
    );
    ensure!(level()? == "0", "{}", level()?);
    let refused = change("upgrade", "7", &[])?;
    let why = "Local controller 1 only supports versions 0-1";
    let told = format!("{}{}", refused.stdout, refused.stderr);
    ensure!(refused.exit == 1 && told.contains(why), "{refused:?}");
    let up = change("upgrade", "1", &[])?;
    ensure!(
        up.exit == 0 && up.stdout.contains(&format!("{FEATURE} was upgraded to 1.")),
        "{up:?}"
    );
    ensure!(level()? == "1", "{}", level()?);
    Ok(())
}
