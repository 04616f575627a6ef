//! Log directories that fill up, go away, and give their logs to one another.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::util::Timeout;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::dohle::{Acks, rdkafka};
use super::hostile::frame;
use super::{OnBroker, Run, Test, tools};
use crate::broker::Broker;
use crate::client::CLIENTS;
use crate::driver::Driver;
use crate::tools::{LOG_DIRS, ok};
use crate::{paths, wait};

pub fn listed() -> Vec<Test> {
    let scenarios: &[(&str, OnBroker)] = &[
        ("one_that_goes_takes_only_its_partitions", goes),
        ("logs_move_between_them_while_they_are_written", moves),
    ];
    let full = Test::new(
        "log_dirs::a_full_disk_refuses_producers_and_loses_nothing",
        full_disk,
    );
    let full = match Mount::new(&paths::unique("probe")) {
        Ok(_) => full,
        Err(error) => Test {
            forbidden: Some(format!("no file system can be mounted here ({error:#})")),
            ..full
        },
    };
    let java: &[(&str, OnBroker)] = &[
        ("a_move_is_seen_by_javas_admin_and_kafka_log_dirs", shown),
        ("a_cordoned_one_gets_no_new_logs", cordoned),
    ];
    let java = java.iter().map(|&(name, scenario)| {
        Test::new(format!("log_dirs::{name}"), scenario).needs(tools::NEEDS)
    });
    scenarios
        .iter()
        .map(|&(name, scenario)| Test::new(format!("log_dirs::{name}"), scenario))
        .chain(java)
        .chain([full])
        .map(Test::ours_only)
        .collect()
}

/// A small file system of our own, for as long as this lives.
struct Mount(PathBuf);

impl Mount {
    fn new(name: &str) -> Result<Self> {
        let dir = paths::work_dir().join("run").join(name);
        fs::create_dir_all(&dir)?;
        let out = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"])
            .arg(&dir)
            .output()
            .context("mount")?;
        ensure!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr).trim()
        );
        Ok(Self(dir))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // What still holds it lets go of it soon.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
        let _ = fs::remove_dir(&self.0);
    }
}

fn producer(address: &str, acks: &Acks) -> Result<BaseProducer<Acks>> {
    Ok(ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("enable.idempotence", "true")
        .set("linger.ms", "2")
        .set("queue.buffering.max.messages", "200")
        .set("message.timeout.ms", "120000")
        .set("reconnect.backoff.max.ms", "500")
        .create_with_context(acks.clone())?)
}

/// Sends values of some size to partitions in turn until `stop` holds, which is asked now and then: it may be
/// slower than a record.
fn load(
    producer: &BaseProducer<Acks>,
    topic: &str,
    partitions: u64,
    next: &mut u64,
    mut stop: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let deadline = Instant::now() + wait::SOON;
    for turn in 0_u64.. {
        if turn % 32 == 0 && stop()? {
            break;
        }
        ensure!(Instant::now() < deadline, "the load does not get through");
        let value = format!("{next:08}{}", "x".repeat(8000));
        let record = BaseRecord::<(), str, _>::with_opaque_to(topic, Box::new(*next))
            .partition((*next % partitions) as i32)
            .payload(value.as_str());
        match producer.send(record) {
            Ok(()) => *next += 1,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                producer.poll(Duration::from_millis(20));
            }
            Err((error, _)) => bail!("{error}"),
        }
        producer.poll(Duration::ZERO);
    }
    Ok(())
}

/// Everything acknowledged is where it was acknowledged, from an offset on, and there is no more.
fn check(run: &mut Run<'_>, topic: &str, acks: &Acks, partition: i32, from: i64) -> Result<()> {
    let acked = acks.of(partition);
    let end = run.list_offset(topic, partition, "latest")?;
    ensure!(
        end == acked.len() as i64 && acked.keys().copied().eq(0..end),
        "partition {partition} ends at {end}: {} were acknowledged",
        acked.len()
    );
    for from in [from, (end - 50).max(from)] {
        let count = usize::try_from((end - from).min(50))?;
        for read in run.consume(topic, partition, from, count)? {
            let value = read.value.context("no value")?.0;
            let wanted = acked.get(&read.offset).context("not acknowledged")?;
            ensure!(
                value.starts_with(format!("{wanted:08}").as_bytes()),
                "partition {partition}, offset {}: not {wanted}",
                read.offset
            );
        }
    }
    Ok(())
}

fn metric(broker: &Broker, name: &str, dir: &Path) -> Result<f64> {
    let line = format!("{name}{{dir=\"{}\"}} ", dir.display());
    let text = broker.http_get("/metrics")?;
    let value = text.lines().find_map(|found| found.strip_prefix(&line));
    Ok(value.with_context(|| format!("no {line}"))?.parse()?)
}

fn full_disk(_shared: &str) -> Result<()> {
    let mount = Mount::new(&paths::unique("full-disk"))?;
    let dir = mount.0.clone();
    let mut broker = Broker::start(&[
        &format!("log.dirs={}", dir.display()),
        "log.dirs.min.free.bytes=8388608",
        "log.segment.bytes=1048576",
        "log.durable.journal.bytes=1048576",
    ])?;
    let address = broker.address.clone();
    let client = rdkafka()?;
    let mut driver = client.new_driver("rdkafka-full", &address)?;
    let mut run = Run {
        client,
        driver: &mut driver,
        address: &address,
    };
    let topic = run.create_topic("full", 1)?;
    let acks = Acks::default();
    let producer = producer(&address, &acks)?;
    let (mut next, mut deleted) = (0, 0);
    for round in 0..3 {
        load(&producer, &topic, 1, &mut next, || {
            Ok(metric(&broker, "dohle_log_dir_full", &dir)? > 0.0)
        })
        .with_context(|| format!("round {round}, after {next}"))?;
        let free = metric(&broker, "dohle_log_dir_free_bytes", &dir)?;
        ensure!(free > 1e6, "the disk was filled up: {free} bytes are free");
        let health = broker.http_get("/health/ready")?;
        ensure!(health.contains("too full for producers"), "{health}");
        // What comes now is refused, and waits in the producer.
        let mut asked = 0;
        load(&producer, &topic, 1, &mut next, || {
            asked += 1;
            Ok(asked > 1)
        })?;
        wait::until("a producer is refused", wait::SOON, || {
            producer.poll(Duration::from_millis(20));
            let refused = metric(&broker, "dohle_log_dir_refused_appends_total", &dir)?;
            Ok((refused > 0.0).then_some(()))
        })?;
        let end = run.list_offset(&topic, 0, "latest")?;
        ensure!(run.consume(&topic, 0, end - 1, 1)?.len() == 1, "no reads");
        if round == 1 {
            broker.end(Signal::KILL)?;
            broker.launch().context("on a full disk")?;
        }
        deleted = end - 200;
        let request = json!({"topic": topic, "partition": 0, "before": deleted});
        run.driver.call("delete_records", request)?;
        // What was refused comes by itself.
        producer.flush(Timeout::After(wait::SOON))?;
        acks.none_failed()?;
        wait::until("there is room again", wait::SOON, || {
            Ok((metric(&broker, "dohle_log_dir_full", &dir)? == 0.0).then_some(()))
        })?;
    }
    ensure!(acks.count() as u64 == next, "{next} sent");
    check(&mut run, &topic, &acks, 0, deleted)?;
    let log = fs::read_to_string(broker.log())?;
    ensure!(
        log.contains("a log directory is too full") && log.contains("has room again"),
        "the log says nothing of it"
    );
    ensure!(broker.end(Signal::TERM)?.success(), "no clean stop");
    Ok(())
}

/// A broker with two directories.
fn two(options: &[&str]) -> Result<(Broker, [PathBuf; 2])> {
    let dir = paths::work_dir().join("run").join(paths::unique("two"));
    let dirs = ["a", "b"].map(|name| dir.join(name));
    let [a, b] = &dirs;
    let log_dirs = format!("log.dirs={},{}", a.display(), b.display());
    let broker = Broker::start(&[&[log_dirs.as_str()], options].concat())?;
    Ok((broker, dirs))
}

fn lies_in(dir: &Path, topic: &str, partition: i32) -> bool {
    dir.join(format!("{topic}-{partition}")).is_dir()
}

/// Waits until clients are told so; -1: by nobody.
fn led_by(address: &str, topic: &str, partition: i32, wanted: i32) -> Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .create()?;
    wait::until(
        &format!("partition {partition} is led by {wanted}"),
        wait::SOON,
        || {
            let metadata = consumer.fetch_metadata(Some(topic), wait::SOON)?;
            let mut partitions = metadata.topics().iter().flat_map(|t| t.partitions());
            let found = partitions.find(|found| found.id() == partition);
            let leader = found.context("no such partition")?.leader();
            Ok((leader == wanted).then_some(()))
        },
    )
}

fn goes(_shared: &str) -> Result<()> {
    let (mut broker, [a, b]) = two(&["log.segment.bytes=1048576"])?;
    let address = broker.address.clone();
    let client = rdkafka()?;
    let mut driver = client.new_driver("rdkafka-goes", &address)?;
    let mut run = Run {
        client,
        driver: &mut driver,
        address: &address,
    };
    let topic = run.create_topic("goes", 2)?;
    let acks = Acks::default();
    let producer = producer(&address, &acks)?;
    let mut next = 0;
    load(&producer, &topic, 2, &mut next, || Ok(acks.count() > 300))?;
    producer.flush(Timeout::After(wait::SOON))?;
    let lost = i32::from(lies_in(&b, &topic, 1));
    ensure!(
        lies_in(&b, &topic, lost) && lies_in(&a, &topic, 1 - lost),
        "not spread"
    );
    let gone = b.with_extension("gone");
    fs::rename(&b, &gone)?;
    wait::until("the directory is offline", wait::SOON, || {
        let online = metric(&broker, "dohle_log_dir_online", &b)?;
        Ok((online == 0.0).then_some(()))
    })?;
    let health = broker.http_get("/health/ready")?;
    ensure!(health.contains("\"offline\""), "{health}");
    led_by(&address, &topic, lost, -1)?;
    led_by(&address, &topic, 1 - lost, 1)?;
    // The other partition goes on.
    let before = run.list_offset(&topic, 1 - lost, "latest")?;
    let record = BaseRecord::<(), str, _>::with_opaque_to(&topic, Box::new(next))
        .partition(1 - lost)
        .payload("more");
    producer.send(record).map_err(|(error, _)| error)?;
    producer.flush(Timeout::After(wait::SOON))?;
    ensure!(
        run.list_offset(&topic, 1 - lost, "latest")? == before + 1,
        "it does not go on"
    );
    // Started without it, it is not made anew.
    ensure!(broker.end(Signal::TERM)?.success(), "no clean stop");
    fs::write(&b, "not a directory")?;
    broker.launch()?;
    ensure!(
        run.list_offset(&topic, 1 - lost, "latest")? == before + 1,
        "records are gone"
    );
    ensure!(
        !lies_in(&a, &topic, lost),
        "an empty log was made in its place"
    );
    led_by(&address, &topic, lost, -1)?;
    ensure!(broker.end(Signal::TERM)?.success(), "no clean stop");
    fs::remove_file(&b)?;
    fs::rename(&gone, &b)?;
    broker.launch()?;
    led_by(&address, &topic, lost, 1)?;
    check(&mut run, &topic, &acks, lost, 0)?;
    // Without the first directory, which holds the metadata, nothing goes on.
    fs::rename(&a, a.with_extension("gone"))?;
    let status = wait::until("the broker stops", wait::SOON, || broker.exited())?;
    ensure!(!status.success(), "{status}");
    let log = fs::read_to_string(broker.log())?;
    ensure!(
        log.contains("which holds the cluster's metadata, has failed"),
        "{log}"
    );
    Ok(())
}

/// AlterReplicaLogDirs, version 1.
fn alter(address: &str, dir: &Path, topic: &str, partitions: &[i32]) -> Result<Vec<u8>> {
    fn text(body: &mut Vec<u8>, text: &str) -> Result<()> {
        body.extend(i16::try_from(text.len())?.to_be_bytes());
        body.extend(text.as_bytes());
        Ok(())
    }
    let mut body = 1_i32.to_be_bytes().to_vec();
    text(&mut body, &dir.display().to_string())?;
    body.extend(1_i32.to_be_bytes());
    text(&mut body, topic)?;
    body.extend(i32::try_from(partitions.len())?.to_be_bytes());
    for partition in partitions {
        body.extend(partition.to_be_bytes());
    }
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(wait::SOON))?;
    stream.write_all(&frame(34, 1, &body))?;
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let mut reply = vec![0; usize::try_from(i32::from_be_bytes(size))?];
    stream.read_exact(&mut reply)?;
    Ok(reply)
}

fn moves(_shared: &str) -> Result<()> {
    let (mut broker, dirs) = two(&["log.segment.bytes=1048576"])?;
    let address = broker.address.clone();
    let client = rdkafka()?;
    let mut driver = client.new_driver("rdkafka-moves", &address)?;
    let mut run = Run {
        client,
        driver: &mut driver,
        address: &address,
    };
    let topic = run.create_topic("moves", 2)?;
    let acks = Acks::default();
    let producer = producer(&address, &acks)?;
    let mut next = 0;
    load(&producer, &topic, 2, &mut next, || Ok(acks.count() > 1000))?;
    for round in 0..4 {
        let to = &dirs[round % 2];
        let reply = alter(&address, to, &topic, &[0, 1])?;
        ensure!(reply.ends_with(&[0, 0]), "{reply:?}");
        if round == 2 {
            broker.end(Signal::KILL)?;
            broker.launch()?;
        }
        let enough = acks.count() + 300;
        load(&producer, &topic, 2, &mut next, || {
            let there = (0..2).all(|partition| lies_in(to, &topic, partition));
            Ok(there && acks.count() > enough)
        })
        .with_context(|| format!("round {round}"))?;
    }
    producer.flush(Timeout::After(wait::SOON))?;
    acks.none_failed()?;
    for partition in 0..2 {
        check(&mut run, &topic, &acks, partition, 0)?;
    }
    ensure!(broker.end(Signal::TERM)?.success(), "no clean stop");
    broker.launch()?;
    for partition in 0..2 {
        check(&mut run, &topic, &acks, partition, 0)?;
        ensure!(
            !lies_in(&dirs[0], &topic, partition),
            "it lies in two places"
        );
    }
    Ok(())
}

/// A driver of Kafka's own client.
fn java(name: &str, address: &str) -> Result<Driver> {
    let mut clients = CLIENTS.iter();
    let client = clients.find(|client| client.name == "java-4.4.0");
    client.context("no Java")?.new_driver(name, address)
}

/// Where a partition lies: path, whether it is a copy, how far behind.
fn places(driver: &mut Driver, topic: &str) -> Result<Vec<(String, bool, i64)>> {
    let answer = driver.call("describe_log_dirs", json!({}))?;
    let replicas = answer["replicas"].as_array().context("no replicas")?;
    let mine = replicas.iter().filter(|one| one["topic"] == json!(topic));
    let mut places: Vec<_> = mine
        .map(|one| {
            let path = one["path"].as_str().unwrap_or_default().to_owned();
            let lag = one["lag"].as_i64().unwrap_or(-1);
            (path, one["future"] == json!(true), lag)
        })
        .collect();
    places.sort_by_key(|(_, future, _)| *future);
    Ok(places)
}

/// What `kafka-log-dirs` shows of a topic.
fn described(address: &str, topic: &str) -> Result<Value> {
    let args = [
        "--bootstrap-server",
        address,
        "--describe",
        "--topic-list",
        topic,
    ];
    let out = ok(LOG_DIRS, &args, "")?;
    let line = out.lines().find(|line| line.starts_with('{'));
    Ok(serde_json::from_str(line.context("no JSON")?)?)
}

fn shown(_shared: &str) -> Result<()> {
    // A first piece, and then none for a long time.
    let (mut broker, [a, b]) = two(&["replica.alter.log.dirs.io.max.bytes.per.second=1000"])?;
    let address = broker.address.clone();
    let mut driver = java("java-shown", &address)?;
    let topic = paths::unique("shown");
    driver.call("create_topic", json!({"topic": topic, "partitions": 1}))?;
    let acks = Acks::default();
    let producer = producer(&address, &acks)?;
    load(&producer, &topic, 1, &mut 0, || Ok(acks.count() > 400))?;
    producer.flush(Timeout::After(wait::SOON))?;
    let (from, to) = if lies_in(&a, &topic, 0) {
        (a, b)
    } else {
        (b, a)
    };
    let [here, there] = [&from, &to].map(|dir| dir.display().to_string());
    let replica = json!({"topic": topic, "partition": 0, "broker": 1});
    let at = |path: &str| {
        let mut request = replica.clone();
        request["path"] = json!(path);
        request
    };
    driver.call("alter_replica_log_dirs", at(&there))?;
    let lag = wait::until("the move has begun", wait::SOON, || {
        let seen = places(&mut driver, &topic)?;
        let [(path, false, 0), (to, true, lag)] = seen.as_slice() else {
            bail!("{seen:?}");
        };
        ensure!((path, to) == (&here, &there), "{seen:?}");
        // The first piece is there.
        Ok((1..acks.count() as i64 - 1).contains(lag).then_some(*lag))
    })?;
    let info = driver.call("describe_replica_log_dirs", replica.clone())?;
    let expected = json!({"path": here, "lag": 0, "future_path": there, "future_lag": lag});
    ensure!(info == expected, "{info}");
    let json = described(&address, &topic)?;
    let dirs = json["brokers"][0]["logDirs"].as_array();
    for (dir, future, lag) in [(&here, false, 0), (&there, true, lag)] {
        let mut dirs = dirs.context("no directories")?.iter();
        let found = dirs.find(|found| found["logDir"] == json!(dir));
        let partition = &found.context("no such directory")?["partitions"][0];
        ensure!(
            partition["isFuture"] == json!(future) && partition["offsetLag"] == json!(lag),
            "{json}"
        );
    }
    // Back where it is: the copy goes. Then without the throttle.
    driver.call("alter_replica_log_dirs", at(&here))?;
    let seen = places(&mut driver, &topic)?;
    ensure!(
        seen == [(here, false, 0)],
        "the copy is still there: {seen:?}"
    );
    let unlimited = json!([["replica.alter.log.dirs.io.max.bytes.per.second", "set", "0"]]);
    driver.call(
        "alter_configs",
        json!({"type": "broker", "name": "", "changes": unlimited}),
    )?;
    driver.call("alter_replica_log_dirs", at(&there))?;
    wait::until("it has moved", wait::SOON, || {
        let seen = places(&mut driver, &topic)?;
        Ok((seen == [(there.clone(), false, 0)]).then_some(()))
    })?;
    let json = described(&address, &topic)?;
    ensure!(!json.to_string().contains("\"isFuture\":true"), "{json}");
    ensure!(broker.end(Signal::TERM)?.success(), "no clean stop");
    Ok(())
}

fn cordoned(_shared: &str) -> Result<()> {
    let (broker, [a, b]) = two(&[])?;
    let mut driver = java("java-cordoned", &broker.address)?;
    let cordon = |driver: &mut Driver, value: &str| {
        let changes = json!([["cordoned.log.dirs", "set", value]]);
        driver.call(
            "alter_configs",
            json!({"type": "broker", "name": "1", "changes": changes}),
        )
    };
    let create = |driver: &mut Driver, partitions: i32| -> Result<String> {
        let topic = paths::unique("cordoned");
        let request = json!({"topic": topic, "partitions": partitions});
        driver.call("create_topic", request)?;
        Ok(topic)
    };
    let refused = |answer: Result<Value>, why: &str| {
        let error = match answer {
            Ok(answer) => bail!("{answer}"),
            Err(error) => format!("{error:#}"),
        };
        ensure!(error.contains(why), "{error}");
        Ok(())
    };
    let unknown = "All entries in cordoned.log.dirs must be present in log.dirs";
    refused(cordon(&mut driver, "/elsewhere"), unknown)?;
    let path = b.display().to_string();
    cordon(&mut driver, &path)?;
    let topic = create(&mut driver, 4)?;
    let answer = driver.call("describe_log_dirs", json!({}))?;
    ensure!(answer["cordoned"] == json!([path]), "{answer}");
    let seen = places(&mut driver, &topic)?;
    let all_in_a = seen.iter().all(|(path, ..)| Path::new(path) == a);
    ensure!(seen.len() == 4 && all_in_a, "{seen:?}");
    let request = json!({"topic": topic, "partition": 0, "broker": 1, "path": b});
    let moved = driver.call("alter_replica_log_dirs", request);
    refused(moved, "InvalidReplicaAssignment")?;
    cordon(&mut driver, "*")?;
    // The controller is told beside.
    wait::until("no topic is made", wait::SOON, || {
        let Err(error) = create(&mut driver, 1) else {
            return Ok(None);
        };
        let text = format!("{error:#}");
        ensure!(
            text.contains("have all their log directories cordoned"),
            "{text}"
        );
        Ok(Some(()))
    })?;
    cordon(&mut driver, "")?;
    wait::until("topics are made again", wait::SOON, || {
        Ok(create(&mut driver, 2).ok())
    })?;
    let topic = create(&mut driver, 2)?;
    let seen = places(&mut driver, &topic)?;
    let some_in_b = seen.iter().any(|(path, ..)| Path::new(path) == b);
    ensure!(some_in_b, "it is not used again: {seen:?}");
    Ok(())
}
