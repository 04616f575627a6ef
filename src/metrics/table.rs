//! The ONE table of metrics: names, kinds, labels, and what they mean.

use super::MetricKind::{self, Counter, Gauge, Histogram};

/// A row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricSpec {
    pub name: &'static str,
    pub kind: MetricKind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub const $constant: MetricSpec = MetricSpec {
            name: $name,
            kind: $kind,
            labels: &[$($label),*],
            help: $help,
        };)*

        /// Every metric there is.
        pub const METRICS: &[MetricSpec] = &[$($constant,)*];
    };
}

metrics! {
    BUILD_INFO: Gauge "dohle_build_info" ["version", "kafka_version"] "Always 1; the labels say what runs";
    REQUESTS: Counter "dohle_requests_total" ["api"] "Requests answered";
    REQUEST_DURATION: Histogram "dohle_request_duration_seconds" ["api"] "From a request being read whole to its reply being ready";
    REQUEST_ERRORS: Counter "dohle_request_errors_total" ["api", "error"] "Error codes in replies, by Kafka's names";
    NETWORK_IN: Counter "dohle_network_received_bytes_total" [] "Bytes read from Kafka clients";
    NETWORK_OUT: Counter "dohle_network_sent_bytes_total" [] "Bytes sent to Kafka clients";
    CONNECTIONS: Gauge "dohle_connections" [] "Kafka connections that are open";
    CONNECTIONS_ACCEPTED: Counter "dohle_connections_accepted_total" [] "Kafka connections accepted";
    CONNECTIONS_REFUSED: Counter "dohle_connections_refused_total" ["limit"] "Kafka connections refused, by the option that limits them";
    CONNECTIONS_CLOSED: Counter "dohle_connections_closed_total" ["reason"] "Kafka connections closed, by reason";
    FETCH_SESSIONS: Gauge "dohle_fetch_sessions" [] "Incremental fetch sessions that are remembered";
    LOG_FLUSH_DURATION: Histogram "dohle_log_flush_duration_seconds" [] "One flush of one partition to disk";
    TOPIC_MESSAGES_IN: Counter "dohle_topic_messages_in_total" ["topic"] "Records appended";
    TOPIC_BYTES_IN: Counter "dohle_topic_bytes_in_total" ["topic"] "Bytes of record batches appended";
    TOPIC_MESSAGES_OUT: Counter "dohle_topic_messages_out_total" ["topic"] "Offsets handed out to readers";
    TOPIC_BYTES_OUT: Counter "dohle_topic_bytes_out_total" ["topic"] "Bytes of record batches read";
    TOPIC_FAILED_PRODUCES: Counter "dohle_topic_failed_produces_total" ["topic"] "Appends refused";
    LOG_START_OFFSET: Gauge "dohle_log_start_offset" ["topic", "partition"] "The first offset there is";
    LOG_END_OFFSET: Gauge "dohle_log_end_offset" ["topic", "partition"] "The next offset to be written";
    HIGH_WATERMARK: Gauge "dohle_high_watermark" ["topic", "partition"] "Consumers read below this offset";
    LOG_SIZE: Gauge "dohle_log_size_bytes" ["topic", "partition"] "Bytes of segment files";
    LOG_SEGMENTS: Gauge "dohle_log_segments" ["topic", "partition"] "Segment files";
    GROUPS: Gauge "dohle_groups" ["state"] "Groups coordinated here, by state";
    GROUP_OFFSET: Gauge "dohle_group_committed_offset" ["group", "topic", "partition"] "The offset a group has committed";
    GROUP_LAG: Gauge "dohle_group_lag" ["group", "topic", "partition"] "Records between a group's committed offset and the high watermark";
    TOPICS: Gauge "dohle_topics" [] "Topics in the cluster";
    PARTITIONS: Gauge "dohle_partitions" [] "Partitions in the cluster";
    METADATA_ZXID: Gauge "dohle_metadata_applied_zxid" [] "The last metadata transaction applied here";
    PROCESS_CPU: Counter "process_cpu_seconds_total" [] "User and system CPU time of the process";
    PROCESS_RSS: Gauge "process_resident_memory_bytes" [] "Resident memory of the process";
    PROCESS_VIRTUAL: Gauge "process_virtual_memory_bytes" [] "Virtual memory of the process";
    PROCESS_FDS: Gauge "process_open_fds" [] "File descriptors that are open";
    PROCESS_START: Gauge "process_start_time_seconds" [] "When the process started, in seconds since 1970";
}

/// Upper bounds of the latency histograms' buckets, in seconds.
pub const LATENCY_BUCKETS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0,
];

/// The reference list under `config/`.
pub fn reference() -> String {
    use std::fmt::Write as _;
    let mut text = String::from(
        "# Metrics\n\nWhat `/metrics` shows. Generated from the metrics table.\n\n| name | kind | labels | meaning |\n| --- | --- | --- | --- |\n",
    );
    for spec in METRICS {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            spec.name,
            spec.kind.name(),
            spec.labels.join(", "),
            spec.help
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_list_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/metrics.md");
        if std::env::var_os("DOHLE_BLESS").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            stored == reference(),
            "config/metrics.md is behind the metrics table: DOHLE_BLESS=1 cargo test writes it anew"
        );
    }

    #[test]
    fn names_are_as_prometheus_wants_them() {
        for spec in METRICS {
            let counter = spec.kind == Counter;
            assert_eq!(spec.name.ends_with("_total"), counter, "{}", spec.name);
            assert!(
                !spec.help.is_empty() && !spec.help.ends_with('.'),
                "{}",
                spec.name
            );
        }
        let mut names: Vec<_> = METRICS.iter().map(|spec| spec.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), METRICS.len());
    }
}
