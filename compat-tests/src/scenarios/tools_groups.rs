//! Kafka's tools for consumer groups: kafka-consumer-groups, beside members that stay.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::tools::{at, consume, create, produce};
use crate::tools::{CONSUMER_GROUPS, ok, run};
use crate::{paths, wait};

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
pub(super) fn rows(out: &str, first_heading: &str) -> Vec<Vec<String>> {
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

pub(super) fn consumer_groups(address: &str) -> Result<()> {
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

pub(super) fn reset_offsets(address: &str) -> Result<()> {
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
