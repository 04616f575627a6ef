//! What is ours to show: restarts, crashes, metrics, the files on disk, errors at start.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::util::Timeout;
use rustix::process::Signal;
use serde_json::json;

use super::groups::{Group, fill};
use super::records::{check_read_back, expected, varied};
use super::{OnBroker, Run, Test};
use crate::broker::{self, Broker};
use crate::client::{CLIENTS, Client};
use crate::wire::{Blob, Outgoing};
use crate::{binary, paths, tools, wait};

pub fn listed() -> Vec<Test> {
    let scenarios: &[(&str, OnBroker, &[&str])] = &[
        ("restart_keeps_everything", restart, &[]),
        ("kill_9_under_load_loses_and_repeats_nothing", kill_9, &[]),
        ("metrics_are_what_promtool_accepts", metrics, &["promtool"]),
        (
            "kafka_dump_log_reads_the_data",
            dump_log,
            super::tools::NEEDS,
        ),
        ("a_taken_port_is_one_line", taken_port, &[]),
        ("a_wrong_option_is_one_line", wrong_option, &[]),
        ("port_zero_is_a_free_port", port_zero, &[]),
    ];
    scenarios
        .iter()
        .map(|&(name, scenario, needs)| {
            Test::new(format!("dohle::{name}"), scenario)
                .needs(needs)
                .ours_only()
        })
        .collect()
}

pub(super) fn rdkafka() -> Result<&'static Client> {
    CLIENTS
        .iter()
        .find(|client| client.name == "rdkafka")
        .context("no rdkafka")
}

fn restart(_shared: &str) -> Result<()> {
    let mut broker = Broker::start(&[])?;
    let address = broker.address.clone();
    let client = rdkafka()?;
    let mut driver = client.new_driver("rdkafka-restart", &address)?;
    let mut run = Run {
        client,
        driver: &mut driver,
        address: &address,
    };
    let mut written = Vec::new();
    for codec in client.codecs {
        let topic = run.create_topic(&format!("restart-{codec}"), 2)?;
        let sent = varied(client, 200, 2);
        let placed = run.produce(&topic, codec, &sent)?;
        written.push((topic, expected(&sent, &placed)));
    }
    let topic = run.create_topic("restart-group", 6)?;
    run.driver.call(
        "replace_configs",
        json!({"type": "topic", "name": topic, "configs": {"retention.ms": "7654321"}}),
    )?;
    fill(&mut run, &topic, 6, 0, 20)?;
    let mut group = Group::new(&topic);
    for _ in 0..3 {
        group.open(run.driver, json!({}))?;
    }
    group.settle(run.driver, 6)?;
    group.commit(run.driver, 15)?;
    group.close_all(run.driver)?;
    run.driver.call(
        "delete_topic",
        json!({"topic": written.pop().context("nothing was written")?.0}),
    )?;
    run.driver.call(
        "delete_records",
        json!({"topic": topic, "partition": 3, "before": 16}),
    )?;

    // A client that only holds a connection must not hold up the end.
    let idle = TcpStream::connect(&address)?;
    let status = broker.end(Signal::TERM)?;
    ensure!(status.success(), "SIGTERM: {status}");
    drop(idle);
    broker.launch()?;

    let mut topics: Vec<String> = run.driver.get("list_topics", json!({}), "topics")?;
    topics.retain(|topic| !topic.starts_with("__"));
    topics.sort();
    let mut wanted: Vec<_> = written
        .iter()
        .map(|(topic, _)| topic.clone())
        .chain([topic.clone()])
        .collect();
    wanted.sort();
    ensure!(topics == wanted, "topics: {topics:?}, not {wanted:?}");
    for (topic, records) in &written {
        check_read_back(&mut run, topic, records)?;
    }
    let configs = run
        .driver
        .call("describe_configs", json!({"type": "topic", "name": topic}))?;
    ensure!(
        configs["configs"]["retention.ms"]["value"] == json!("7654321"),
        "{configs}"
    );
    ensure!(
        run.list_offset(&topic, 3, "earliest")? == 16,
        "deleted records came back"
    );
    let committed = group.committed(run.driver)?;
    ensure!(
        committed == (0..6).map(|partition| (partition, 15)).collect(),
        "{committed:?}"
    );
    fill(&mut run, &topic, 6, 20, 5)?;
    for _ in 0..3 {
        group.open(run.driver, json!({}))?;
    }
    group.settle(run.driver, 6)?;
    group.poll_until(run.driver, "every partition reached its end", |group| {
        group.has_reached(6, 24)
    })?;
    for (partition, offsets) in group.offsets_from(0) {
        let from = if partition == 3 { 16 } else { 15 };
        let distinct: BTreeSet<_> = offsets.iter().copied().collect();
        ensure!(
            distinct == (from..25).collect(),
            "partition {partition}: {offsets:?}"
        );
    }
    group.close_all(run.driver)
}

/// The value of each acknowledged record, by where it was acknowledged; failures by value.
#[derive(Clone, Default)]
pub(super) struct Acks(Arc<Mutex<AckState>>);

#[derive(Default)]
struct AckState {
    acked: BTreeMap<(i32, i64), u64>,
    failed: Vec<(u64, String)>,
}

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, value: Box<u64>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(message) => {
                state
                    .acked
                    .insert((message.partition(), message.offset()), *value);
            }
            Err((error, _)) => state.failed.push((*value, error.to_string())),
        }
    }
}

impl Acks {
    /// What was acknowledged in a partition, by offset.
    pub(super) fn of(&self, partition: i32) -> BTreeMap<i64, u64> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let range = state.acked.range((partition, 0)..(partition + 1, 0));
        range
            .map(|((_, offset), value)| (*offset, *value))
            .collect()
    }

    pub(super) fn none_failed(&self) -> Result<()> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(
            state.failed.is_empty(),
            "failed: {:?}",
            state.failed.first()
        );
        Ok(())
    }

    pub(super) fn count(&self) -> usize {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .acked
            .len()
    }
}

const CRASH_PARTITIONS: i32 = 3;

/// Produces until `stop` holds; the producer's own queue paces it.
fn load(
    producer: &BaseProducer<Acks>,
    topic: &str,
    next: &mut u64,
    stop: impl Fn() -> bool,
) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !stop() {
        ensure!(Instant::now() < deadline, "the load does not get through");
        let partition = (*next % CRASH_PARTITIONS as u64) as i32;
        let (key, value) = (format!("{partition}"), next.to_string());
        let record = BaseRecord::with_opaque_to(topic, Box::new(*next))
            .partition(partition)
            .key(&key)
            .payload(&value);
        match producer.send(record) {
            Ok(()) => *next += 1,
            Err((
                rdkafka::error::KafkaError::MessageProduction(
                    rdkafka::types::RDKafkaErrorCode::QueueFull,
                ),
                _,
            )) => {
                producer.poll(Duration::from_millis(20));
            }
            Err((error, _)) => bail!("{error}"),
        }
        producer.poll(Duration::ZERO);
    }
    Ok(())
}

fn kill_9(_shared: &str) -> Result<()> {
    let mut broker = Broker::start(&[])?;
    let address = broker.address.clone();
    let client = rdkafka()?;
    let mut driver = client.new_driver("rdkafka-kill", &address)?;
    let mut run = Run {
        client,
        driver: &mut driver,
        address: &address,
    };
    let topic = run.create_topic("crash", CRASH_PARTITIONS)?;
    let acks = Acks::default();
    let producer: BaseProducer<Acks> = ClientConfig::new()
        .set("bootstrap.servers", &address)
        .set("enable.idempotence", "true")
        .set("linger.ms", "2")
        .set("batch.num.messages", "50")
        .set("queue.buffering.max.messages", "2000")
        .set("message.timeout.ms", "120000")
        .set("reconnect.backoff.max.ms", "500")
        .create_with_context(acks.clone())?;
    let mut next = 0;
    for round in 1..=3 {
        // Kill while records are on their way: some acknowledged since the last crash, more behind them.
        let enough = acks.count() + 3000;
        load(&producer, &topic, &mut next, || acks.count() >= enough)?;
        broker
            .end(Signal::KILL)
            .with_context(|| format!("round {round}"))?;
        broker
            .launch()
            .with_context(|| format!("after kill -9, round {round}"))?;
    }
    let enough = acks.count() + 3000;
    load(&producer, &topic, &mut next, || acks.count() >= enough)?;
    producer.flush(Timeout::After(Duration::from_secs(120)))?;

    let state = acks.0.lock().unwrap_or_else(PoisonError::into_inner);
    ensure!(
        state.failed.is_empty(),
        "{} records failed, first: {:?}",
        state.failed.len(),
        state.failed.first()
    );
    ensure!(
        state.acked.len() as u64 == next,
        "{next} records have only {} offsets",
        state.acked.len()
    );
    for partition in 0..CRASH_PARTITIONS {
        let wanted: Vec<_> = state
            .acked
            .range((partition, 0)..(partition + 1, 0))
            .collect();
        let end = run.list_offset(&topic, partition, "latest")?;
        ensure!(
            end == wanted.len() as i64,
            "partition {partition}: {end} records for {} acknowledged",
            wanted.len()
        );
        let read = run.consume(&topic, partition, 0, wanted.len())?;
        ensure!(
            read.len() == wanted.len(),
            "partition {partition}: only {} of {} can be read",
            read.len(),
            wanted.len()
        );
        for (read, ((_, offset), value)) in read.iter().zip(&wanted) {
            let same =
                read.offset == *offset && read.value == Some(Blob(value.to_string().into_bytes()));
            ensure!(same, "acknowledged: {value} at {offset}, read: {read:?}");
        }
        ensure!(
            wanted.is_sorted_by_key(|(_, value)| *value),
            "partition {partition}: out of order"
        );
    }
    Ok(())
}

fn metrics(_shared: &str) -> Result<()> {
    let broker = Broker::start(&[])?;
    let address = broker.address.clone();
    let client = rdkafka()?;
    let mut driver = client.new_driver("rdkafka-metrics", &address)?;
    let mut run = Run {
        client,
        driver: &mut driver,
        address: &address,
    };
    super::groups::three_members(&mut run)?;
    for path in ["/health/live", "/health/ready"] {
        broker.http_get(path)?;
    }
    let text = broker.http_get("/metrics")?;
    ensure!(
        text.contains("# HELP ") && text.contains("# TYPE ") && text.contains("three-members"),
        "{text}"
    );
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("promtool")?;
    promtool
        .stdin
        .take()
        .context("no standard input")?
        .write_all(text.as_bytes())?;
    let output = promtool.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(
        output.status.success() && said.is_empty(),
        "promtool: {}",
        String::from_utf8_lossy(&said)
    );
    Ok(())
}

/// The files with an extension under the data directory.
fn files(broker: &Broker, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut left = vec![broker.data_dir()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn dump_log(_shared: &str) -> Result<()> {
    let mut broker = Broker::start(&[])?;
    let address = broker.address.clone();
    let client = rdkafka()?;
    let mut driver = client.new_driver("rdkafka-dump", &address)?;
    let mut run = Run {
        client,
        driver: &mut driver,
        address: &address,
    };
    let topic = paths::unique("dump");
    // Small segments, and an index entry for nearly every batch.
    let configs = json!({"segment.bytes": "1048576", "index.interval.bytes": "4096"});
    run.driver.call(
        "create_topic",
        json!({"topic": topic, "partitions": 1, "configs": configs}),
    )?;
    let mut random = StdRng::seed_from_u64(3);
    for (count, round) in (0..40).enumerate() {
        let sent: Vec<_> = (0..50)
            .map(|index| Outgoing {
                partition: Some(0),
                key: Some(Blob(format!("{round}-{index}").into_bytes())),
                value: Some(Blob((0..1024).map(|_| random.random()).collect())),
                headers: Vec::new(),
                timestamp: Some(super::records::base_ms() + round * 1000 + index),
            })
            .collect();
        let request = json!({"topic": topic, "compression": client.codecs[count % 5], "idempotent": true, "records": sent});
        run.driver.call("produce", request)?;
    }
    super::groups::three_members(&mut run)?;
    ensure!(broker.end(Signal::TERM)?.success(), "SIGTERM");

    let logs = files(&broker, "log")?;
    let of_topic = logs
        .iter()
        .filter(|path| path.to_string_lossy().contains(&topic))
        .count();
    ensure!(of_topic >= 2, "no segment was rolled: {logs:?}");
    let mut records = 0;
    for path in logs
        .iter()
        .filter(|path| path.metadata().is_ok_and(|file| file.len() > 0))
    {
        let path = path.to_string_lossy();
        let out = dump(&["--files", &path, "--print-data-log", "--deep-iteration"])?;
        ensure!(out.contains("baseOffset: "), "{path}: {out}");
        if path.contains(&topic) {
            records += out.matches("| offset: ").count();
        }
        if path.contains("__consumer_offsets") {
            let out = dump(&["--files", &path, "--offsets-decoder"])?;
            ensure!(
                !out.contains("Unknown") && !out.contains("unknown"),
                "{path}: {out}"
            );
        }
    }
    ensure!(
        records == 2000,
        "kafka-dump-log found {records} of 2000 records"
    );
    for extension in ["index", "timeindex"] {
        for path in files(&broker, extension)? {
            let path = path.to_string_lossy();
            let out = dump(&["--files", &path])?;
            ensure!(
                !out.contains("Mismatch")
                    && !out.contains("Found timestamp")
                    && !out.contains("out of order"),
                "{path}: {out}"
            );
        }
    }
    for path in files(&broker, "snapshot")?
        .iter()
        .filter(|path| path.to_string_lossy().contains(&topic))
    {
        let out = dump(&["--files", &path.to_string_lossy()])?;
        ensure!(out.contains("producerId: "), "{}: {out}", path.display());
    }
    Ok(())
}

pub(super) fn dump(args: &[&str]) -> Result<String> {
    let output = tools::run(tools::DUMP_LOG, args, "")?;
    let text = output.stdout + &output.stderr;
    let complaint = text.lines().find(|line| {
        line.contains("Exception") || line.contains("corrupt") || line.contains("isvalid: false")
    });
    ensure!(
        output.exit == 0 && complaint.is_none(),
        "kafka-dump-log {args:?}: exit {}, {complaint:?}",
        output.exit
    );
    Ok(text)
}

/// Runs `dohle` where it must refuse, and gives the one line in which it says why.
fn refusal(args: &[&str]) -> Result<String> {
    let dir = tempfile::tempdir()?;
    let mut child = Command::new(binary::dohle()?)
        .current_dir(dir.path())
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let ended = wait::until("dohle refuses", wait::SOON, || Ok(child.try_wait()?));
    if ended.is_err() {
        let _ = child.kill();
    }
    let output = child.wait_with_output()?;
    let status = ended?;
    ensure!(
        status.code().is_some_and(|code| code != 0),
        "{args:?}: {status}"
    );
    let errors = String::from_utf8(output.stderr)?;
    ensure!(errors.lines().count() == 1, "not one line: {errors}");
    Ok(errors)
}

fn taken_port(_shared: &str) -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let said = refusal(&[
        "--set",
        &format!("listeners=PLAINTEXT://{address}"),
        "--set",
        "http.listen=127.0.0.1:0",
    ])?;
    ensure!(
        said.contains(&address) && said.contains("listeners"),
        "{said}"
    );
    let said = refusal(&[
        "--set",
        "listeners=PLAINTEXT://127.0.0.1:0",
        "--set",
        &format!("http.listen={address}"),
    ])?;
    ensure!(
        said.contains(&address) && said.contains("http.listen"),
        "{said}"
    );
    Ok(())
}

fn wrong_option(_shared: &str) -> Result<()> {
    let said = refusal(&["--set", "num.partitons=3"])?;
    ensure!(
        said.contains("num.partitons") && said.contains("num.partitions"),
        "{said}"
    );
    let said = refusal(&["--set", "num.partitions=three"])?;
    ensure!(
        said.contains("num.partitions") && said.contains("three"),
        "{said}"
    );
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("dohle.toml");
    fs::write(&file, "\"log.segment.byte\" = \"1GiB\"\n")?;
    let said = refusal(&["check", &file.to_string_lossy()])?;
    ensure!(
        said.contains("log.segment.byte") && said.contains("log.segment.bytes"),
        "{said}"
    );
    fs::write(&file, "\"log.segment.bytes\" = \"256MiB\"\n")?;
    let accepted = broker::run_dohle(
        dir.path(),
        &["check".to_owned(), file.to_string_lossy().into_owned()],
    )?;
    ensure!(accepted.status.success(), "{accepted:?}");
    Ok(())
}

fn port_zero(_shared: &str) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("out");
    let mut child = Command::new(binary::dohle()?)
        .current_dir(dir.path())
        .args([
            "--set",
            "listeners=PLAINTEXT://127.0.0.1:0",
            "--set",
            "http.listen=127.0.0.1:0",
        ])
        .stdin(Stdio::null())
        .stdout(fs::File::create(&out)?)
        .stderr(Stdio::null())
        .spawn()?;
    let found = wait::until("the real port is printed and answers", wait::SOON, || {
        ensure!(child.try_wait()?.is_none(), "dohle ended");
        let text = fs::read_to_string(&out)?;
        let addresses = text
            .split(|c: char| c.is_whitespace() || "/(),".contains(c))
            .filter(|word| word.starts_with("127.0.0.1:"));
        let mut real = addresses.filter(|address| !address.ends_with(":0"));
        Ok(real.any(broker::answers).then_some(()))
    });
    let _ = child.kill();
    let _ = child.wait();
    found
}
