//! Holds what every node has against what was promised, while the clients wait.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};

use super::clients::{Clients, Fate, OPTION, Setting, Topic};
use super::summary::Summary;
use crate::ensemble::Nodes;
use crate::requests::{topic_configs, topics};
use crate::wait;

/// What the option is as long as nobody has set it.
const DEFAULT: u64 = 7 * 24 * 3600 * 1000;

/// Epoch and counter.
type Zxid = (u32, u32);

/// Everything that a node has: its topics, and the option of those that somebody was promised.
#[derive(Debug, PartialEq, Eq)]
struct Had {
    topics: BTreeSet<String>,
    settings: BTreeMap<String, Option<String>>,
}

/// What all nodes have applied.
fn applied(cluster: &dyn Nodes) -> Result<Vec<Zxid>> {
    let nodes = 1..=cluster.nodes();
    nodes
        .map(|node| {
            let shown = cluster.ensemble(node)?;
            let text = shown["applied"].as_str().context("no zxid")?;
            let (epoch, counter) = text.split_once('.').context("no zxid")?;
            Ok((epoch.parse()?, counter.parse()?))
        })
        .collect()
}

/// Every node comes to where one of them is now.
pub fn wait_until_caught_up(cluster: &dyn Nodes) -> Result<()> {
    let mut target = None;
    let caught_up = wait::until("every node has caught up", wait::SOON, || {
        let Ok(applied) = applied(cluster) else {
            return Ok(None);
        };
        let target = *target.get_or_insert(applied.iter().max().copied().unwrap_or_default());
        Ok(applied.iter().all(|zxid| *zxid >= target).then_some(()))
    });
    caught_up.with_context(|| cluster.state())
}

/// All have applied the same; then what each has is compared. Clients wait meanwhile.
pub fn judge(cluster: &dyn Nodes, clients: &Clients, summary: &mut Summary) -> Result<()> {
    let held = clients.gate.write();
    let mut promised = BTreeMap::new();
    for seen in clients.all() {
        let topics = seen.topics.iter();
        promised.extend(topics.map(|(name, topic)| (name.clone(), *topic)));
    }
    // What somebody gave up on may still be done: then it is looked at again.
    let had = wait::until("every node has applied everything", wait::SOON, || {
        let Ok(before) = applied(cluster) else {
            return Ok(None);
        };
        if before.windows(2).any(|pair| pair[0] != pair[1]) {
            return Ok(None);
        }
        let nodes = 1..=cluster.nodes();
        let had = nodes.map(|node| had_by(cluster, node, &promised));
        let had: Vec<Had> = had.collect::<Result<_>>()?;
        Ok((applied(cluster)? == before).then_some(had))
    });
    let had = had.with_context(|| cluster.state())?;
    drop(held);
    for (node, had) in (1..).zip(&had) {
        compare(node, had, &promised, summary);
    }
    // Nor do they differ in what nobody was promised.
    if had.windows(2).any(|pair| pair[0] != pair[1]) {
        summary.differing += 1;
    }
    summary.judged += 1;
    Ok(())
}

fn had_by(cluster: &dyn Nodes, node: u16, promised: &BTreeMap<String, Topic>) -> Result<Had> {
    let address = cluster.address(node);
    let topics = topics(&address, wait::SOON)?;
    let ours = topics.iter().filter(|name| promised.contains_key(*name));
    let ours: Vec<&str> = ours.map(String::as_str).collect();
    let mut settings = BTreeMap::new();
    for some in ours.chunks(200) {
        settings.extend(topic_configs(&address, some, OPTION, wait::SOON)?);
    }
    Ok(Had { topics, settings })
}

fn compare(node: u16, had: &Had, promised: &BTreeMap<String, Topic>, summary: &mut Summary) {
    for (name, topic) in promised {
        let exists = had.topics.contains(name);
        match topic.fate {
            Fate::Created if !exists => summary.lost.push(format!("{name} on node {node}")),
            Fate::Deleted if exists => summary.revived.push(format!("{name} on node {node}")),
            _ => {}
        }
        if !exists {
            continue;
        }
        let value = had.settings.get(name).and_then(Option::as_deref);
        let value = value.and_then(|value| value.parse().ok());
        if !allowed(topic.setting, value) {
            let setting = topic.setting;
            let what = format!("{name} on node {node}: {value:?} after {setting:?}");
            summary.stale.push(what);
        }
    }
}

/// The last value that was acknowledged, or the attempt after it.
fn allowed(setting: Setting, value: Option<u64>) -> bool {
    let last = setting.acknowledged.unwrap_or(DEFAULT);
    value == Some(last) || value.is_some() && value == setting.unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(fate: Fate, acknowledged: Option<u64>, unknown: Option<u64>) -> Topic {
        let setting = Setting {
            acknowledged,
            unknown,
        };
        Topic { fate, setting }
    }

    fn found(topic: Topic, value: Option<u64>) -> (usize, usize, usize) {
        let name = "t".to_owned();
        let mut had = Had {
            topics: BTreeSet::new(),
            settings: BTreeMap::new(),
        };
        if let Some(value) = value {
            had.topics.insert(name.clone());
            had.settings.insert(name.clone(), Some(value.to_string()));
        }
        let mut summary = Summary::default();
        compare(1, &had, &BTreeMap::from([(name, topic)]), &mut summary);
        let Summary {
            lost,
            revived,
            stale,
            ..
        } = summary;
        (lost.len(), revived.len(), stale.len())
    }

    #[test]
    fn a_topic_is_there_from_its_promise_to_the_promise_that_it_is_not() {
        let created = topic(Fate::Created, None, None);
        assert_eq!(found(created, Some(DEFAULT)), (0, 0, 0));
        assert_eq!(found(created, None), (1, 0, 0));
        let deleted = topic(Fate::Deleted, Some(5), None);
        assert_eq!(found(deleted, None), (0, 0, 0));
        assert_eq!(found(deleted, Some(5)), (0, 1, 0));
        let unknown = topic(Fate::Unknown, Some(5), None);
        assert_eq!(found(unknown, None), (0, 0, 0));
        assert_eq!(found(unknown, Some(5)), (0, 0, 0));
    }

    #[test]
    fn an_option_has_the_last_value_that_was_promised_or_the_attempt_after_it() {
        let stale = |acknowledged, unknown, value| {
            let topic = topic(Fate::Created, acknowledged, unknown);
            found(topic, Some(value)).2 == 1
        };
        assert!(!stale(None, None, DEFAULT) && stale(None, None, 1));
        assert!(!stale(None, Some(1), DEFAULT) && !stale(None, Some(1), 1));
        assert!(!stale(Some(5), None, 5) && stale(Some(5), None, 4));
        assert!(stale(Some(5), None, DEFAULT) && stale(Some(5), None, 6));
        assert!(!stale(Some(5), Some(6), 5) && !stale(Some(5), Some(6), 6));
        assert!(stale(Some(5), Some(6), 4));
    }
}
