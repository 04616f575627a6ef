//! What only Java's Admin and Consumer have.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Run;
use super::groups::{Group, fill};
use crate::wait;

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub fn describe_topic_partitions(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create_topic("describe", 4)?;
    let described = run.driver.call("describe_topic", json!({"topic": topic}))?;
    ensure!(
        described["partitions"] == json!(4) && described["internal"] == json!(false),
        "{described}"
    );
    ensure!(text(&described["topic_id"]).len() == 22, "{described}");
    ensure!(
        described["authorized_operations"]
            .as_u64()
            .is_some_and(|count| count > 0),
        "{described}"
    );
    let leaders: BTreeSet<_> = described["leaders"]
        .as_array()
        .into_iter()
        .flatten()
        .map(Value::as_i64)
        .collect();
    ensure!(
        leaders.len() == 1 && !leaders.contains(&Some(-1)),
        "{described}"
    );
    let missing = run
        .driver
        .call("describe_topic", json!({"topic": "there-is-no-such-topic"}));
    let error = format!(
        "{:#}",
        missing.err().context("a missing topic was described")?
    );
    ensure!(error.contains("UnknownTopicOrPartition"), "{error}");
    Ok(())
}

pub fn cluster_and_features(run: &mut Run<'_>) -> Result<()> {
    let cluster = run.driver.call("describe_cluster", json!({}))?;
    ensure!(text(&cluster["cluster_id"]).len() == 22, "{cluster}");
    let node = &cluster["nodes"][0];
    let address = format!("{}:{}", text(&node["host"]), node["port"]);
    ensure!(address == run.address, "{cluster}");
    ensure!(cluster["controller"] == node["id"], "{cluster}");
    ensure!(
        cluster["authorized_operations"]
            .as_u64()
            .is_some_and(|count| count > 0),
        "{cluster}"
    );

    let features = run.driver.call("describe_features", json!({}))?;
    for (name, level) in [
        ("metadata.version", 33),
        ("group.version", 1),
        ("transaction.version", 2),
    ] {
        ensure!(
            features["finalized"][name] == json!(level),
            "{name}: {features}"
        );
        ensure!(
            features["supported"][name] == json!(level),
            "{name}: {features}"
        );
    }
    ensure!(
        features["finalized_epoch"]
            .as_i64()
            .is_some_and(|epoch| epoch >= 0),
        "{features}"
    );
    Ok(())
}

pub fn log_dirs(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create_topic("log-dirs", 2)?;
    fill(run, &topic, 2, 0, 20)?;
    let answer = run.driver.call("describe_log_dirs", json!({}))?;
    let replicas: Vec<_> = answer["replicas"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|replica| replica["topic"] == json!(topic))
        .collect();
    ensure!(replicas.len() == 2, "{replicas:?}");
    for replica in replicas {
        ensure!(
            replica["size"].as_i64().is_some_and(|size| size > 100) && replica["lag"] == json!(0),
            "{replica}"
        );
        ensure!(
            replica["total_bytes"]
                .as_i64()
                .is_some_and(|bytes| bytes > 0),
            "{replica}"
        );
    }
    Ok(())
}

pub fn config_resources(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create_topic("config-resources", 1)?;
    let found: Vec<(String, String)> = run.driver.get(
        "list_config_resources",
        json!({"types": ["topic"]}),
        "resources",
    )?;
    ensure!(found.contains(&("topic".to_owned(), topic)), "{found:?}");
    ensure!(found.iter().all(|(kind, _)| kind == "topic"), "{found:?}");
    let brokers: Vec<(String, String)> = run.driver.get(
        "list_config_resources",
        json!({"types": ["broker"]}),
        "resources",
    )?;
    ensure!(
        brokers.iter().any(|(kind, _)| kind == "broker"),
        "{brokers:?}"
    );
    Ok(())
}

pub fn broker_configs(run: &mut Run<'_>) -> Result<()> {
    let cluster = run.driver.call("describe_cluster", json!({}))?;
    let node = cluster["nodes"][0]["id"].to_string();
    let described = run
        .driver
        .call("describe_configs", json!({"type": "broker", "name": node}))?;
    let configs = described["configs"].as_object().context("no configs")?;
    for name in [
        "auto.create.topics.enable",
        "compression.type",
        "default.replication.factor",
        "group.initial.rebalance.delay.ms",
        "listeners",
        "log.cleanup.policy",
        "log.dirs",
        "log.retention.bytes",
        "log.segment.bytes",
        "message.max.bytes",
        "min.insync.replicas",
        "num.partitions",
        "offsets.topic.num.partitions",
    ] {
        ensure!(configs.contains_key(name), "{name} is not described");
    }
    let id = configs.get("node.id").context("no node.id")?;
    ensure!(
        id["value"] == json!(node) && id["read_only"] == json!(true),
        "{id}"
    );
    let retention = configs
        .get("log.retention.ms")
        .context("no log.retention.ms")?;
    ensure!(retention["read_only"] == json!(false), "{retention}");

    // One broker, its own value: it stands above the default, and goes again. The two Java clients run side by side
    // and must not undo each other's change.
    let (option, default) = match run.client.name {
        "java-4.4.0" => ("log.cleaner.min.compaction.lag.ms", "0"),
        _ => ("log.cleaner.delete.retention.ms", "86400000"),
    };
    let alter = |run: &mut Run<'_>, change: Value| {
        run.driver.call(
            "alter_configs",
            json!({"type": "broker", "name": node, "changes": [change]}),
        )
    };
    alter(run, json!([option, "set", "12345"]))?;
    wait::until("the broker has its own value", wait::SOON, || {
        let described = run
            .driver
            .call("describe_configs", json!({"type": "broker", "name": node}))?;
        let entry = &described["configs"][option];
        Ok(
            (entry["value"] == json!("12345") && entry["source"] == json!("DYNAMIC_BROKER_CONFIG"))
                .then_some(()),
        )
    })?;
    alter(run, json!([option, "delete"]))?;
    wait::until("the default is back", wait::SOON, || {
        let described = run
            .driver
            .call("describe_configs", json!({"type": "broker", "name": node}))?;
        Ok((described["configs"][option]["value"] == json!(default)).then_some(()))
    })?;
    ensure!(
        alter(run, json!(["node.id", "set", "77"])).is_err(),
        "node.id was changed while running"
    );
    ensure!(
        alter(run, json!([option, "set", "many"])).is_err(),
        "a word was taken for a number"
    );
    Ok(())
}

pub fn group_offsets(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create_topic("group-offsets", 2)?;
    fill(run, &topic, 2, 0, 10)?;
    let group = Group::new(&topic);
    // A group that never had a member begins with offsets that were written for it.
    let offsets = json!([[topic, 0, 4], [topic, 1, 7]]);
    run.driver.call(
        "alter_group_offsets",
        json!({"group": group.name, "offsets": offsets}),
    )?;
    ensure!(
        group.committed(run.driver)? == BTreeMap::from([(0, 4), (1, 7)]),
        "not as altered"
    );
    run.driver.call(
        "delete_group_offsets",
        json!({"group": group.name, "topic": topic, "partition": 1}),
    )?;
    ensure!(
        group.committed(run.driver)? == BTreeMap::from([(0, 4)]),
        "not as deleted"
    );

    let mut group = group;
    group.open(run.driver, json!({}))?;
    group.settle(run.driver, 2)?;
    group.poll_until(run.driver, "the records came", |group| {
        group.has_reached(2, 9)
    })?;
    let came = group.offsets_from(0);
    ensure!(
        came == BTreeMap::from([(0, (4..10).collect()), (1, (0..10).collect())]),
        "{came:?}"
    );
    let busy = run.driver.call(
        "alter_group_offsets",
        json!({"group": group.name, "offsets": [[topic, 0, 0]]}),
    );
    ensure!(
        busy.is_err(),
        "offsets of a group with a member were altered"
    );
    group.close_all(run.driver)
}

pub fn static_membership(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create_topic("static", 6)?;
    let mut group = Group::new(&topic);
    let ids = ["first", "second", "third"];
    let mut members = Vec::new();
    for id in ids {
        members.push(group.open(run.driver, json!({"instance_id": id}))?);
    }
    group.settle(run.driver, 6)?;
    let before: Vec<_> = members
        .iter()
        .map(|member| group.owned.get(member).cloned())
        .collect();

    // A static member comes back within its session: the same partitions, and nobody else gave up theirs.
    group.revoked.clear();
    group.close(run.driver, &members[1])?;
    let returned = group.open(run.driver, json!({"instance_id": ids[1]}))?;
    group.settle(run.driver, 6)?;
    fill(run, &topic, 6, 0, 5)?;
    group.poll_until(run.driver, "records came to all", |group| {
        group.has_reached(6, 4)
    })?;
    let after: Vec<_> = [&members[0], &returned, &members[2]]
        .into_iter()
        .map(|member| group.owned.get(member).cloned())
        .collect();
    ensure!(before == after, "partitions moved: {before:?} to {after:?}");
    ensure!(
        group.revoked.is_empty(),
        "partitions were revoked: {:?}",
        group.revoked
    );
    let described = run
        .driver
        .call("describe_group", json!({"group": group.name}))?;
    let mut seen: Vec<_> = described["members"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|member| text(&member["instance_id"]))
        .collect();
    seen.sort_unstable();
    ensure!(seen == ids, "{described}");
    group.close_all(run.driver)
}

pub fn cooperative_sticky(run: &mut Run<'_>) -> Result<()> {
    let topic = run.create_topic("cooperative", 6)?;
    let assignor =
        json!({"assignor": "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"});
    let mut group = Group::new(&topic);
    for _ in 0..2 {
        group.open(run.driver, assignor.clone())?;
    }
    group.settle(run.driver, 6)?;
    let before: BTreeMap<_, _> = group.owned.clone();

    // A third joins: each of the two gives up one partition and keeps the rest without a pause.
    group.revoked.clear();
    group.open(run.driver, assignor)?;
    group.settle(run.driver, 6)?;
    for (member, owned) in &before {
        let kept = group.owned.get(member).context("a member is gone")?;
        ensure!(
            kept.is_subset(owned) && kept.len() == 2,
            "{member} had {owned:?}, has {kept:?}"
        );
        let given: BTreeSet<_> = group
            .revoked
            .iter()
            .filter(|(who, _)| who == member)
            .map(|(_, p)| *p)
            .collect();
        ensure!(
            given.is_disjoint(kept) && given.len() == 1,
            "{member} gave up {given:?}, keeps {kept:?}"
        );
    }
    fill(run, &topic, 6, 0, 10)?;
    group.poll_until(run.driver, "records came to all", |group| {
        group.has_reached(6, 9)
    })?;
    let came = group.offsets_from(0);
    ensure!(
        came.values()
            .all(|offsets| *offsets == (0..10).collect::<Vec<_>>())
            && came.len() == 6,
        "{came:?}"
    );
    group.close_all(run.driver)
}
