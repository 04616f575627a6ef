//! What a scrape finds by walking this node's tables: topics, partitions, groups and their lag.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::sync::atomic::Ordering;

use super::node::Node;
use crate::metrics::{Collect, Samples, table};

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
        topics(&node, samples);
        partitions(&node, samples);
        groups(&node, samples);
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
