//! What a scrape finds by walking this node's tables: topics, partitions, groups and their lag.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::sync::atomic::Ordering;

use super::node::Node;
use crate::log::Refused;
use crate::metrics::{Collect, Samples, table};
use crate::zab::Role;

/// Holds the node weakly: the metrics it belongs to are the node's own.
#[derive(Debug)]
pub struct NodeCollector {
    pub node: Weak<Node>,
}

impl Collect for NodeCollector {
    fn collect(&self, samples: &mut Samples) {
        let Some(node) = self.node.upgrade() else {
            return;
        };
        let image = node.metadata();
        samples.push(table::TOPICS, &[], image.topic_count() as f64);
        samples.push(table::PARTITIONS, &[], image.partition_count() as f64);
        samples.push(table::METADATA_ZXID, &[], image.applied().0 as f64);
        let sessions = node.fetch_sessions.lock().len();
        samples.push(table::FETCH_SESSIONS, &[], sessions as f64);
        ensemble(&node, samples);
        log_dirs(&node, samples);
        topics(&node, samples);
        partitions(&node, samples);
        groups(&node, samples);
    }
}

fn ensemble(node: &Node, samples: &mut Samples) {
    let Some(status) = node.ensemble_status() else {
        return;
    };
    for (role, name) in [
        (Role::Leader, "leader"),
        (Role::Follower, "follower"),
        (Role::Observer, "observer"),
        (Role::Looking, "looking"),
    ] {
        let is = f64::from(u8::from(status.role == role));
        samples.push(table::ZAB_ROLE, &[name], is);
    }
    samples.push(table::ZAB_EPOCH, &[], f64::from(status.current_epoch));
    samples.push(table::ZAB_ELECTIONS, &[], status.elections as f64);
    samples.push(table::ZAB_VOTERS, &[], status.voters.len() as f64);
    for (point, zxid) in [
        ("last", status.last_zxid),
        ("committed", status.committed),
        ("applied", node.metadata().applied()),
    ] {
        samples.push(table::ZAB_ZXID, &[point], f64::from(zxid.counter()));
    }
    if status.role != Role::Leader {
        return;
    }
    for (role, is_voter) in [("follower", true), ("observer", false)] {
        let learners = status.learners.iter();
        let current = learners.filter(|l| l.is_up_to_date && l.is_voter == is_voter);
        samples.push(table::ZAB_LEARNERS, &[role], current.count() as f64);
    }
    for learner in &status.learners {
        let lag = status.last_zxid.0.saturating_sub(learner.acked.0);
        // Of an earlier epoch it may have anything: at least all of this one is missing.
        let lag = lag.min(u64::from(status.last_zxid.counter()));
        let node = learner.node.to_string();
        samples.push(table::ZAB_LEARNER_LAG, &[&node], lag as f64);
    }
}

fn log_dirs(node: &Node, samples: &mut Samples) {
    let dirs = node.partitions.log_dirs();
    samples.push(table::OFFLINE_LOG_DIRS, &[], dirs.offline() as f64);
    let offline = node.partitions.offline_count();
    samples.push(table::OFFLINE_PARTITIONS, &[], offline as f64);
    for place in dirs.places() {
        let path = place.dir.path().display().to_string();
        let online = f64::from(u8::from(place.dir.is_online()));
        samples.push(table::LOG_DIR_ONLINE, &[&path], online);
        let cordoned = f64::from(u8::from(place.dir.is_cordoned()));
        samples.push(table::LOG_DIR_CORDONED, &[&path], cordoned);
        let logs = place.dir.log_count();
        samples.push(table::LOG_DIR_LOGS, &[&path], logs as f64);
        let space = place.dir.space();
        let full = f64::from(u8::from(space.refused() > Refused::Nobody));
        samples.push(table::LOG_DIR_FULL, &[&path], full);
        samples.push(table::LOG_DIR_FREE, &[&path], space.usable() as f64);
        samples.push(table::LOG_DIR_FLOOR, &[&path], space.floor() as f64);
        let refusals = space.refusals();
        samples.push(table::LOG_DIR_REFUSED, &[&path], refusals as f64);
    }
}

fn topics(node: &Node, samples: &mut Samples) {
    let mut counters = node.partitions.counters();
    counters.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (topic, counters) in counters {
        for (spec, value) in [
            (table::TOPIC_MESSAGES_IN, &counters.messages_in),
            (table::TOPIC_BYTES_IN, &counters.bytes_in),
            (table::TOPIC_MESSAGES_OUT, &counters.messages_out),
            (table::TOPIC_BYTES_OUT, &counters.bytes_out),
            (table::TOPIC_FAILED_PRODUCES, &counters.failed_produces),
        ] {
            samples.push(spec, &[&topic], value.load(Ordering::Relaxed) as f64);
        }
    }
}

fn partitions(node: &Node, samples: &mut Samples) {
    let mut all = node.partitions.all();
    let (now, longest) = (
        node.now(),
        i64::from(node.config().transaction_max_timeout_ms),
    );
    let late = all.iter().filter(|p| p.has_late_transaction(now, longest));
    samples.push(
        table::PARTITIONS_WITH_LATE_TRANSACTIONS,
        &[],
        late.count() as f64,
    );
    all.sort_by(|a, b| (&a.topic, a.index).cmp(&(&b.topic, b.index)));
    for partition in all {
        let offsets = partition.offsets();
        let labels: [&str; 2] = [&partition.topic, &partition.index.to_string()];
        for (spec, value) in [
            (table::LOG_START_OFFSET, offsets.log_start.0 as f64),
            (table::LOG_END_OFFSET, offsets.log_end.0 as f64),
            (table::HIGH_WATERMARK, offsets.high_watermark.0 as f64),
            (table::LOG_SIZE, offsets.size_bytes as f64),
            (table::LOG_SEGMENTS, offsets.segments as f64),
        ] {
            samples.push(spec, &labels, value);
        }
    }
}

fn groups(node: &Node, samples: &mut Samples) {
    let mut states: BTreeMap<&'static str, usize> = BTreeMap::new();
    node.groups
        .for_each_group(|_, state| *states.entry(state).or_default() += 1);
    for (state, count) in states {
        samples.push(table::GROUPS, &[state], count as f64);
    }
    node.groups.for_each_offset(|group, topic, index, offset| {
        let labels: [&str; 3] = [group, topic, &index.to_string()];
        samples.push(table::GROUP_OFFSET, &labels, offset.0 as f64);
        if let Ok(partition) = node.partitions.by_name(topic, index) {
            let lag = partition.offsets().high_watermark.0 - offset.0;
            samples.push(table::GROUP_LAG, &labels, lag.max(0) as f64);
        }
    });
}
