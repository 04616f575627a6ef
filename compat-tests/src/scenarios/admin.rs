//! Topics, configs, records and groups through a client's admin operations.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::groups::{Group, fill};
use super::{Run, wait_for_partitions};
use crate::client::Feature;
use crate::wire::TopicPartition;
use crate::{paths, wait};

pub fn topics(run: &mut Run<'_>) -> Result<()> {
    let topic = paths::unique("topics");
    let request = json!({"topic": topic, "partitions": 3, "configs": {"retention.ms": "7200000"}});
    run.driver.call("create_topic", request.clone())?;
    wait_for_partitions(run, &topic, 3)?;
    let listed: Vec<String> = run.driver.get("list_topics", json!({}), "topics")?;
    ensure!(listed.contains(&topic), "{topic} is not among {listed:?}");
    ensure!(
        run.driver.call("create_topic", request).is_err(),
        "the topic was created twice"
    );

    run.driver
        .call("create_partitions", json!({"topic": topic, "total": 5}))?;
    wait_for_partitions(run, &topic, 5)?;
    let fewer = run
        .driver
        .call("create_partitions", json!({"topic": topic, "total": 2}));
    ensure!(fewer.is_err(), "a topic of five partitions was given two");

    run.driver.call("delete_topic", json!({"topic": topic}))?;
    wait::until("the topic is gone", wait::SOON, || {
        let listed: Vec<String> = run.driver.get("list_topics", json!({}), "topics")?;
        Ok((!listed.contains(&topic)).then_some(()))
    })?;
    let invalid = json!({"topic": "not a topic name!", "partitions": 1});
    ensure!(
        run.driver.call("create_topic", invalid).is_err(),
        "a topic with a bad name was created"
    );
    Ok(())
}

/// The values of a topic's configs.
fn values(run: &mut Run<'_>, topic: &str) -> Result<BTreeMap<String, Option<String>>> {
    #[derive(Deserialize)]
    struct Entry {
        value: Option<String>,
    }
    let configs: BTreeMap<String, Entry> = run.driver.get(
        "describe_configs",
        json!({"type": "topic", "name": topic}),
        "configs",
    )?;
    Ok(configs
        .into_iter()
        .map(|(name, entry)| (name, entry.value))
        .collect())
}

fn wait_for_config(run: &mut Run<'_>, topic: &str, name: &str, wanted: &str) -> Result<()> {
    let mut last = None;
    wait::until("the config has its value", wait::SOON, || {
        last = values(run, topic)?.remove(name).flatten();
        Ok((last.as_deref() == Some(wanted)).then_some(()))
    })
    .with_context(|| format!("{name} should be {wanted}, is {last:?}"))
}

pub fn configs(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create_topic("configs", 1)?;
    let defaults = values(run, &topic)?;
    for (name, wanted) in [
        ("cleanup.policy", "delete"),
        ("compression.type", "producer"),
        ("retention.ms", "604800000"),
        ("retention.bytes", "-1"),
        ("segment.bytes", "1073741824"),
        ("max.message.bytes", "1048588"),
        ("message.timestamp.type", "CreateTime"),
        ("min.insync.replicas", "1"),
    ] {
        let value = defaults.get(name).cloned().flatten();
        ensure!(
            value.as_deref() == Some(wanted),
            "{name}: {value:?}, not {wanted}"
        );
    }
    if !run.client.has(Feature::IncrementalConfigs) {
        return replaced_configs(run, &topic);
    }
    let alter = |run: &mut Run<'_>, changes: Value| {
        run.driver.call(
            "alter_configs",
            json!({"type": "topic", "name": topic, "changes": changes}),
        )
    };
    alter(
        run,
        json!([
            ["retention.ms", "set", "1234567"],
            ["cleanup.policy", "append", "compact"]
        ]),
    )?;
    wait_for_config(run, &topic, "retention.ms", "1234567")?;
    wait_for_config(run, &topic, "cleanup.policy", "delete,compact")?;
    alter(
        run,
        json!([
            ["retention.ms", "delete"],
            ["cleanup.policy", "subtract", "compact"]
        ]),
    )?;
    wait_for_config(run, &topic, "retention.ms", "604800000")?;
    wait_for_config(run, &topic, "cleanup.policy", "delete")?;
    let bad = alter(run, json!([["retention.ms", "set", "a week"]]));
    ensure!(bad.is_err(), "retention.ms was set to \"a week\"");
    wait_for_config(run, &topic, "retention.ms", "604800000")
}

/// The old AlterConfigs: what it does not name goes back to its default.
fn replaced_configs(run: &mut Run<'_>, topic: &str) -> Result<()> {
    let replace = |run: &mut Run<'_>, configs: Value| {
        run.driver.call(
            "replace_configs",
            json!({"type": "topic", "name": topic, "configs": configs}),
        )
    };
    replace(
        run,
        json!({"retention.ms": "1234567", "segment.bytes": "2097152"}),
    )?;
    wait_for_config(run, topic, "retention.ms", "1234567")?;
    wait_for_config(run, topic, "segment.bytes", "2097152")?;
    replace(run, json!({"segment.bytes": "4194304"}))?;
    wait_for_config(run, topic, "segment.bytes", "4194304")?;
    wait_for_config(run, topic, "retention.ms", "604800000")?;
    // Refused: the crate `rdkafka` keeps that from its user, so what counts is that nothing changed.
    let _ = replace(
        run,
        json!({"retention.ms": "a week", "segment.bytes": "8388608"}),
    );
    wait_for_config(run, topic, "retention.ms", "604800000")?;
    wait_for_config(run, topic, "segment.bytes", "4194304")
}

pub fn delete_records(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create_topic("delete-records", 2)?;
    fill(run, &topic, 2, 0, 10)?;
    let low: i64 = run.driver.get(
        "delete_records",
        json!({"topic": topic, "partition": 0, "before": 4}),
        "low_watermark",
    )?;
    ensure!(low == 4, "low watermark {low}");
    ensure!(
        run.list_offset(&topic, 0, "earliest")? == 4,
        "the partition does not begin at 4"
    );
    ensure!(
        run.list_offset(&topic, 1, "earliest")? == 0,
        "the other partition lost records"
    );
    let offsets: Vec<_> = run
        .consume(&topic, 0, 4, 6)?
        .iter()
        .map(|record| record.offset)
        .collect();
    ensure!(offsets == (4..10).collect::<Vec<_>>(), "{offsets:?}");
    let beyond = run.driver.call(
        "delete_records",
        json!({"topic": topic, "partition": 0, "before": 11}),
    );
    ensure!(beyond.is_err(), "records beyond the end were deleted");
    Ok(())
}

pub fn list_offsets(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create_topic("list-offsets", 1)?;
    ensure!(
        run.list_offset(&topic, 0, "earliest")? == 0,
        "an empty partition does not begin at 0"
    );
    ensure!(
        run.list_offset(&topic, 0, "latest")? == 0,
        "an empty partition does not end at 0"
    );
    let at = super::records::base_ms();
    // Timestamps out of order: the greatest is neither first nor last.
    let times = [5, 9, 2, 9, 7];
    let records: Vec<_> = times
        .iter()
        .map(|time| json!({"partition": 0, "key": "YQ==", "value": "Yg==", "headers": [], "timestamp": at + time}))
        .collect();
    for record in &records {
        run.driver.call(
            "produce",
            json!({"topic": topic, "compression": "none", "records": [record]}),
        )?;
    }
    ensure!(
        run.list_offset(&topic, 0, "latest")? == 5,
        "the partition does not end at 5"
    );
    for (time, wanted) in [(0, 0), (5, 0), (6, 1), (9, 1)] {
        let request =
            json!({"topic": topic, "partition": 0, "spec": "timestamp", "timestamp": at + time});
        let found: i64 = run.driver.get("list_offset", request, "offset")?;
        ensure!(
            found == wanted,
            "the first at or after {time}: {found}, not {wanted}"
        );
    }
    if run.client.has(Feature::MaxTimestamp) {
        let request = json!({"topic": topic, "partition": 0, "spec": "max_timestamp"});
        let answer = run.driver.call("list_offset", request)?;
        ensure!(
            answer["offset"] == json!(1) && answer["timestamp"] == json!(at + 9),
            "max timestamp: {answer}"
        );
    }
    Ok(())
}

#[derive(Deserialize)]
struct Described {
    state: String,
    members: Vec<DescribedMember>,
}

#[derive(Deserialize)]
struct DescribedMember {
    member_id: String,
    #[serde(default)]
    assignment: Vec<TopicPartition>,
}

fn describe(run: &mut Run<'_>, group: &str) -> Result<Described> {
    Ok(serde_json::from_value(
        run.driver.call("describe_group", json!({"group": group}))?,
    )?)
}

fn group_names(run: &mut Run<'_>) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Listed {
        group: String,
    }
    let listed: Vec<Listed> = run.driver.get("list_groups", json!({}), "groups")?;
    Ok(listed.into_iter().map(|listed| listed.group).collect())
}

pub fn groups(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create_topic("groups-admin", 2)?;
    fill(run, &topic, 2, 0, 5)?;
    let mut group = Group::new(&topic);
    group.open(run.driver, json!({}))?;
    group.settle(run.driver, 2)?;
    group.poll_until(run.driver, "the records came", |group| {
        group.has_reached(2, 4)
    })?;
    group.commit(run.driver, 3)?;

    ensure!(
        group_names(run)?.contains(&group.name),
        "the group is not listed"
    );
    let described = describe(run, &group.name)?;
    ensure!(described.state == "Stable", "state {}", described.state);
    let member = described
        .members
        .first()
        .context("the group has no member")?;
    ensure!(
        described.members.len() == 1 && !member.member_id.is_empty(),
        "not one member"
    );
    if run.client.has(Feature::MemberAssignments) {
        let mut owned = member.assignment.clone();
        owned.sort();
        ensure!(
            owned == [(topic.clone(), 0), (topic.clone(), 1)],
            "the member owns {owned:?}"
        );
    }
    let early = run
        .driver
        .call("delete_group", json!({"group": group.name}));
    ensure!(early.is_err(), "a group with a member was deleted");

    group.close_all(run.driver)?;
    wait::until("the group is empty", wait::SOON, || {
        let described = describe(run, &group.name)?;
        Ok((described.state == "Empty" && described.members.is_empty()).then_some(()))
    })?;
    let committed = group.committed(run.driver)?;
    ensure!(
        committed == BTreeMap::from([(0, 3), (1, 3)]),
        "committed: {committed:?}"
    );
    run.driver
        .call("delete_group", json!({"group": group.name}))?;
    ensure!(
        !group_names(run)?.contains(&group.name),
        "the deleted group is still listed"
    );
    Ok(())
}
