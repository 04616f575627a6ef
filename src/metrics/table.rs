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
    OFFLINE_LOG_DIRS: Gauge "dohle_offline_log_directories" [] "Log directories that have failed";
    OFFLINE_PARTITIONS: Gauge "dohle_offline_partitions" [] "Partitions of this node whose log cannot be used";
    PARTITIONS_WITH_LATE_TRANSACTIONS: Gauge "dohle_partitions_with_late_transactions" [] "Partitions led here whose oldest open transaction should have been ended at least five minutes ago";
    LOG_DIR_ONLINE: Gauge "dohle_log_dir_online" ["dir"] "1 while a log directory can be used";
    LOG_DIR_CORDONED: Gauge "dohle_log_dir_cordoned" ["dir"] "1 while a log directory gets no new logs";
    LOG_DIR_LOGS: Gauge "dohle_log_dir_logs" ["dir"] "Logs that lie in a log directory";
    LOG_DIR_FULL: Gauge "dohle_log_dir_full" ["dir"] "1 while producers are refused for want of room in a log directory";
    LOG_DIR_FREE: Gauge "dohle_log_dir_free_bytes" ["dir"] "Bytes that are free on a log directory's disk";
    LOG_DIR_FLOOR: Gauge "dohle_log_dir_min_free_bytes" ["dir"] "Bytes below which producers are refused";
    LOG_DIR_REFUSED: Counter "dohle_log_dir_refused_appends_total" ["dir"] "Appends refused for want of room";
    JOURNAL_FLUSH_DURATION: Histogram "dohle_log_journal_flush_duration_seconds" [] "One write and flush of a log directory's journal";
    JOURNAL_BYTES: Counter "dohle_log_journal_bytes_total" [] "Bytes of record batches written a second time, to a journal";
    COLD_READS: Counter "dohle_cold_reads_total" [] "Pieces of logs and indexes that a reader waited for since they were not in memory";
    COLD_READ_BYTES: Counter "dohle_cold_read_bytes_total" [] "Bytes in these pieces";
    COLD_READ_WAIT: Histogram "dohle_cold_read_wait_seconds" [] "How long a reader waited for such a piece";
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
    CLEANER_CLEANINGS: Counter "dohle_log_cleaner_cleanings_total" [] "Logs compacted, each time anew";
    CLEANER_BYTES_READ: Counter "dohle_log_cleaner_read_bytes_total" [] "Bytes of record batches that compaction has read, dirty ones twice";
    CLEANER_BYTES_WRITTEN: Counter "dohle_log_cleaner_written_bytes_total" [] "Bytes of record batches that compaction has kept";
    CLEANER_MAX_BUFFER_UTILIZATION: Gauge "dohle_log_cleaner_max_buffer_utilization_percent" [] "How full the fullest dedupe buffer was in its thread's last cleaning";
    CLEANER_RECOPY: Gauge "dohle_log_cleaner_recopy_percent" [] "What was kept of what was read, in the last cleaning of each thread";
    CLEANER_MAX_CLEAN_TIME: Gauge "dohle_log_cleaner_max_clean_time_seconds" [] "The longest of each thread's last cleanings";
    CLEANER_MAX_COMPACTION_DELAY: Gauge "dohle_log_cleaner_max_compaction_delay_seconds" [] "How much longer than max.compaction.lag.ms something had waited before each thread's last cleaning";
    CLEANER_MAX_DIRTY: Gauge "dohle_log_cleaner_max_dirty_percent" [] "The dirty part of the dirtiest log";
    CLEANER_TIME_SINCE_LAST_RUN: Gauge "dohle_log_cleaner_time_since_last_run_seconds" [] "Since a log to compact was looked for";
    CLEANER_DEAD_THREADS: Gauge "dohle_log_cleaner_dead_threads" [] "Compacting threads that have ended by an error of their own";
    CLEANER_UNCLEANABLE_PARTITIONS: Gauge "dohle_log_cleaner_uncleanable_partitions" ["directory"] "Partitions that could not be compacted and are left as they are";
    CLEANER_UNCLEANABLE_BYTES: Gauge "dohle_log_cleaner_uncleanable_bytes" ["directory"] "Bytes in them that were to be compacted";
    GROUPS: Gauge "dohle_groups" ["state"] "Groups coordinated here, by state";
    GROUP_OFFSET: Gauge "dohle_group_committed_offset" ["group", "topic", "partition"] "The offset a group has committed";
    GROUP_LAG: Gauge "dohle_group_lag" ["group", "topic", "partition"] "Records between a group's committed offset and the high watermark";
    TOPICS: Gauge "dohle_topics" [] "Topics in the cluster";
    PARTITIONS: Gauge "dohle_partitions" [] "Partitions in the cluster";
    METADATA_PROPOSALS: Counter "dohle_metadata_proposals_total" [] "Metadata transactions proposed here";
    METADATA_PERSIST_DURATION: Histogram "dohle_metadata_persist_duration_seconds" [] "One write and flush of metadata transactions";
    METADATA_LOG_BYTES: Gauge "dohle_metadata_log_bytes" [] "Bytes of metadata transactions that a restart would read behind its snapshot";
    METADATA_REWRITES: Counter "dohle_metadata_log_rewrites_total" ["kind"] "How often a leader has cut this server's metadata history (truncate) or replaced it (install)";
    METADATA_ZXID: Gauge "dohle_metadata_applied_zxid" [] "The last metadata transaction applied here";
    ZAB_ROLE: Gauge "dohle_zab_role" ["role"] "1 for what this node is in the ensemble: leader, follower, observer or looking";
    ZAB_EPOCH: Gauge "dohle_zab_epoch" [] "The epoch whose history this node has";
    ZAB_ZXID: Gauge "dohle_zab_zxid" ["point"] "Counter, within its epoch, of the last transaction in the log, committed and applied";
    ZAB_ELECTIONS: Counter "dohle_zab_elections_total" [] "Elections that this node took part in since its start";
    ZAB_ELECTION_DURATION: Histogram "dohle_zab_election_duration_seconds" [] "From the start, or the loss of a leader, until this node was up to date with one";
    ZAB_COMMIT_DURATION: Histogram "dohle_zab_commit_duration_seconds" [] "From a proposal of this leader until it was committed and applied here";
    ZAB_VOTERS: Gauge "dohle_zab_voters" [] "Voters of the ensemble, as this node's log has them";
    ZAB_LEARNERS: Gauge "dohle_zab_learners_up_to_date" ["role"] "Followers and observers that are up to date with this leader";
    ZAB_LEARNER_LAG: Gauge "dohle_zab_learner_lag" ["node"] "Transactions of this leader's epoch that a learner has not acknowledged";
    ZAB_SNAPSHOT_BYTES: Gauge "dohle_zab_snapshot_bytes" [] "The last snapshot of the metadata that this process wrote";
    ZAB_LINKS: Gauge "dohle_zab_links" [] "Servers of the ensemble that this one has a link to";
    ZAB_LINK_CLOSED: Counter "dohle_zab_links_closed_total" ["reason"] "Links to servers of the ensemble that have ended, by reason";
    ZAB_LINK_REFUSED: Counter "dohle_zab_links_refused_total" ["reason"] "Connections to or from servers of the ensemble that did not become a link, by reason";
    ZAB_LINK_SENT: Counter "dohle_zab_link_sent_bytes_total" [] "Bytes sent to servers of the ensemble";
    ZAB_LINK_RECEIVED: Counter "dohle_zab_link_received_bytes_total" [] "Bytes received from servers of the ensemble";
    ZAB_LINK_QUEUE: Gauge "dohle_zab_link_queue_bytes" ["node"] "Bytes that wait for a server of the ensemble to read them";
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
