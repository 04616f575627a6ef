//! The ONE table of broker options: Kafka's own, and dohle's where Kafka has none.
//!
//! A row: field: type = "name" "default" valid, unit, update mode, [] "what it does". Defaults are Kafka's but
//! for where data lies and what is listened on, and durability.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::listener::{Listener, ProtocolMap};
use super::options::Valid::{Any, AtLeast, Between, BetweenReal, LevelOrDefault, NonEmpty};
use super::options::option_table;
use super::value::{CleanupPolicy, CompressionType, LogFormat, TimestampType};

option_table! {
    /// Every broker option, typed.
    pub struct BROKER_OPTIONS as BrokerOptions {
        node_id: i32 = "node.id" "1" AtLeast(0), None, ReadOnly, [] "This server's number in its cluster.";
        broker_rack: Option<String> = "broker.rack" "" Any, None, ReadOnly, [] "The rack this server stands in: replicas are spread over racks.";
        listeners: Vec<Listener> = "listeners" "PLAINTEXT://localhost:9092" NonEmpty, None, ReadOnly, [] "What Kafka clients connect to: NAME://host:port, several by commas. An empty host is every address; port 0 takes a free one.";
        advertised_listeners: Vec<Listener> = "advertised.listeners" "" Any, None, ReadOnly, [] "What clients are told to connect to, by listener name, where that differs from listeners.";
        listener_security_protocol_map: ProtocolMap = "listener.security.protocol.map" "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT" Any, None, ReadOnly, [] "Which protocol a listener name speaks. Only PLAINTEXT is served yet.";
        http_listen: String = "http.listen" "localhost:9404" Any, None, ReadOnly, [] "Where metrics, health and log levels are served over HTTP; empty: nowhere; port 0 takes a free one.";
        log_dirs: Vec<PathBuf> = "log.dirs" "./data" NonEmpty, None, ReadOnly, [] "The directories that hold the data.";
        worker_threads: i32 = "worker.threads" "0" AtLeast(0), None, ReadOnly, [] "Threads that serve connections; 0: one for each processor.";
        log_format: LogFormat = "log.format" "text" Any, None, ReadOnly, [] "How this process writes its own log: text or json.";
        log_level: String = "log.level" "info" NonEmpty, None, ReadOnly, [] "What this process logs: a level, or target=level pairs by commas. Changed while running as broker-loggers.";
        socket_request_max_bytes: i32 = "socket.request.max.bytes" "104857600" AtLeast(1), Bytes, ReadOnly, [] "The largest request that is read.";
        socket_receive_buffer_bytes: i32 = "socket.receive.buffer.bytes" "-1" AtLeast(-1), Bytes, ReadOnly, [] "SO_RCVBUF of client connections; -1 leaves it to the system.";
        socket_send_buffer_bytes: i32 = "socket.send.buffer.bytes" "-1" AtLeast(-1), Bytes, ReadOnly, [] "SO_SNDBUF of client connections; -1 leaves it to the system.";
        socket_listen_backlog_size: i32 = "socket.listen.backlog.size" "1024" AtLeast(1), None, ReadOnly, [] "Connections that may wait to be accepted.";
        connections_max_idle_ms: i64 = "connections.max.idle.ms" "600000" AtLeast(1), Ms, ReadOnly, [] "A connection on which nothing came for so long is closed.";
        max_connections: i32 = "max.connections" "2147483647" AtLeast(0), None, ClusterWide, [] "Client connections at most.";
        max_connections_per_ip: i32 = "max.connections.per.ip" "2147483647" AtLeast(0), None, ClusterWide, [] "Client connections from one address at most.";
        max_connections_per_ip_overrides: BTreeMap<String, i32> = "max.connections.per.ip.overrides" "" Any, None, ClusterWide, [] "Other limits for some addresses: address:count, several by commas.";
        max_pipelined_requests_per_connection: i32 = "max.pipelined.requests.per.connection" "64" AtLeast(1), None, ReadOnly, [] "Requests of one connection that are started before the first of them is answered.";
        max_request_partition_size_limit: i32 = "max.request.partition.size.limit" "2000" AtLeast(1), None, ReadOnly, [] "Partitions in one reply to DescribeTopicPartitions at most.";
        fetch_max_bytes: i32 = "fetch.max.bytes" "57671680" AtLeast(1024), Bytes, ReadOnly, [] "Records in one reply to a fetch at most.";
        max_incremental_fetch_session_cache_slots: i32 = "max.incremental.fetch.session.cache.slots" "1000" AtLeast(0), None, ReadOnly, [] "Fetch sessions that are remembered.";
        request_timeout_ms: i32 = "request.timeout.ms" "30000" AtLeast(1), Ms, ReadOnly, [] "How long this server waits for another's answer, and at a shutdown for its clients to take theirs.";
        num_partitions: i32 = "num.partitions" "1" AtLeast(1), None, ReadOnly, [] "Partitions of a topic that does not say.";
        default_replication_factor: i32 = "default.replication.factor" "1" AtLeast(1), None, ReadOnly, [] "Replicas of a topic that does not say.";
        auto_create_topics_enable: bool = "auto.create.topics.enable" "true" Any, None, ReadOnly, [] "A topic that a client asks for and that is not there is made.";
        delete_topic_enable: bool = "delete.topic.enable" "true" Any, None, ReadOnly, [] "Topics may be deleted.";
        message_max_bytes: i32 = "message.max.bytes" "1048588" AtLeast(0), Bytes, ClusterWide, [] "The largest record batch a topic takes.";
        max_decompressed_message_bytes: i32 = "max.decompressed.message.bytes" "2147483639" Between(1, 2147483639), Bytes, ClusterWide, [] "The largest a compressed batch may become when this broker has to look into it.";
        min_insync_replicas: i32 = "min.insync.replicas" "1" AtLeast(1), None, ClusterWide, [] "In-sync replicas without which acks=all is refused.";
        unclean_leader_election_enable: bool = "unclean.leader.election.enable" "false" Any, None, ClusterWide, [] "A replica that is not in sync may lead when no other is left: loses records.";
        compression_type: CompressionType = "compression.type" "producer" Any, None, ClusterWide, [] "What batches are stored compressed with; producer keeps them as they come.";
        compression_gzip_level: i32 = "compression.gzip.level" "-1" LevelOrDefault(1, 9), None, ClusterWide, [] "Effort of gzip; -1 is its own default.";
        compression_lz4_level: i32 = "compression.lz4.level" "9" Between(1, 17), None, ClusterWide, [] "Effort of lz4.";
        compression_zstd_level: i32 = "compression.zstd.level" "3" Between(-131072, 22), None, ClusterWide, [] "Effort of zstd.";
        log_durable_acks: bool = "log.durable.acks" "true" Any, None, ClusterWide, [] "acks=all is answered when the records are on disk, and only then are they readable. Off: when they are in the page cache, as in Kafka.";
        log_segment_bytes: i32 = "log.segment.bytes" "1073741824" AtLeast(1048576), Bytes, ClusterWide, [] "A segment file ends before it grows beyond this.";
        log_roll_ms: Option<i64> = "log.roll.ms" "" Any, Ms, ClusterWide, [] "A segment ends after so long even when it is not full; unset: log.roll.hours.";
        log_roll_hours: i32 = "log.roll.hours" "168" AtLeast(1), Hours, ReadOnly, [] "The same in hours.";
        log_roll_jitter_ms: Option<i64> = "log.roll.jitter.ms" "" Any, Ms, ClusterWide, [] "Up to so much earlier, so that not all end at once; unset: log.roll.jitter.hours.";
        log_roll_jitter_hours: i32 = "log.roll.jitter.hours" "0" AtLeast(0), Hours, ReadOnly, [] "The same in hours.";
        log_retention_ms: Option<i64> = "log.retention.ms" "" Any, Ms, ClusterWide, [] "How long records are kept; -1: for ever; unset: log.retention.minutes.";
        log_retention_minutes: Option<i32> = "log.retention.minutes" "" Any, Minutes, ReadOnly, [] "The same in minutes; unset: log.retention.hours.";
        log_retention_hours: i32 = "log.retention.hours" "168" Any, Hours, ReadOnly, [] "The same in hours.";
        log_retention_bytes: i64 = "log.retention.bytes" "-1" Any, Bytes, ClusterWide, [] "How much of a partition is kept; -1: everything.";
        log_retention_check_interval_ms: i64 = "log.retention.check.interval.ms" "300000" AtLeast(1), Ms, ReadOnly, [] "How often it is looked for what may go.";
        log_cleanup_policy: CleanupPolicy = "log.cleanup.policy" "delete" Any, None, ClusterWide, [] "delete: old segments go; compact: the last record of each key stays; both by a comma.";
        log_cleaner_delete_retention_ms: i64 = "log.cleaner.delete.retention.ms" "86400000" AtLeast(0), Ms, ClusterWide, [] "How long a tombstone stays in a compacted topic.";
        log_cleaner_min_cleanable_ratio: f64 = "log.cleaner.min.cleanable.ratio" "0.5" BetweenReal(0.0, 1.0), None, ClusterWide, [] "The part of a log that must be uncompacted before it is compacted.";
        log_cleaner_min_compaction_lag_ms: i64 = "log.cleaner.min.compaction.lag.ms" "0" AtLeast(0), Ms, ClusterWide, [] "How long a record is left uncompacted at least.";
        log_cleaner_max_compaction_lag_ms: i64 = "log.cleaner.max.compaction.lag.ms" "9223372036854775807" AtLeast(1), Ms, ClusterWide, [] "How long a record is left uncompacted at most.";
        log_index_interval_bytes: i32 = "log.index.interval.bytes" "4096" AtLeast(0), Bytes, ClusterWide, [] "Bytes of log between two index entries.";
        log_index_size_max_bytes: i32 = "log.index.size.max.bytes" "10485760" AtLeast(4), Bytes, ClusterWide, [] "A segment ends when its index has grown so large.";
        log_message_timestamp_type: TimestampType = "log.message.timestamp.type" "CreateTime" Any, None, ClusterWide, [] "Whether a record's time is the producer's or that of its append.";
        log_message_timestamp_before_max_ms: i64 = "log.message.timestamp.before.max.ms" "9223372036854775807" AtLeast(0), Ms, ClusterWide, [] "A record older than this is refused.";
        log_message_timestamp_after_max_ms: i64 = "log.message.timestamp.after.max.ms" "3600000" AtLeast(0), Ms, ClusterWide, [] "A record from further in the future than this is refused.";
        log_preallocate: bool = "log.preallocate" "false" Any, None, ClusterWide, [] "New segments are given their full size on disk at once.";
        log_flush_interval_messages: i64 = "log.flush.interval.messages" "9223372036854775807" AtLeast(1), None, ClusterWide, [] "Records after which a log is flushed, whatever else asks for it.";
        log_flush_interval_ms: Option<i64> = "log.flush.interval.ms" "" Any, Ms, ClusterWide, [] "Time after which a log is flushed, whatever else asks for it.";
        log_flush_offset_checkpoint_interval_ms: i32 = "log.flush.offset.checkpoint.interval.ms" "60000" AtLeast(0), Ms, ReadOnly, [] "How often recovery points are written down.";
        log_flush_start_offset_checkpoint_interval_ms: i32 = "log.flush.start.offset.checkpoint.interval.ms" "60000" AtLeast(0), Ms, ReadOnly, [] "How often log start offsets are written down.";
        replica_high_watermark_checkpoint_interval_ms: i64 = "replica.high.watermark.checkpoint.interval.ms" "5000" AtLeast(1), Ms, ReadOnly, [] "How often high watermarks are written down.";
        log_segment_delete_delay_ms: i64 = "log.segment.delete.delay.ms" "60000" AtLeast(0), Ms, ClusterWide, [] "How long the files of what was deleted stay under another name.";
        num_recovery_threads_per_data_dir: i32 = "num.recovery.threads.per.data.dir" "2" AtLeast(1), None, ReadOnly, [] "Threads that recover the logs of a directory after a crash.";
        log_local_retention_ms: i64 = "log.local.retention.ms" "-2" AtLeast(-2), Ms, ClusterWide, [] "Kept for topics that set it; nothing is tiered.";
        log_local_retention_bytes: i64 = "log.local.retention.bytes" "-2" AtLeast(-2), Bytes, ClusterWide, [] "Kept for topics that set it; nothing is tiered.";
        log_remote_copy_lag_ms: i64 = "log.remote.copy.lag.ms" "0" AtLeast(-1), Ms, ClusterWide, [] "Kept for topics that set it; nothing is tiered.";
        log_remote_copy_lag_bytes: i64 = "log.remote.copy.lag.bytes" "-1" AtLeast(-1), Bytes, ClusterWide, [] "Kept for topics that set it; nothing is tiered.";
        producer_id_expiration_ms: i32 = "producer.id.expiration.ms" "86400000" AtLeast(1), Ms, ClusterWide, [] "An idempotent producer that was silent for so long is forgotten.";
        producer_id_expiration_check_interval_ms: i32 = "producer.id.expiration.check.interval.ms" "600000" AtLeast(1), Ms, ReadOnly, [] "How often that is looked for.";
        group_min_session_timeout_ms: i32 = "group.min.session.timeout.ms" "6000" Any, Ms, ReadOnly, [] "The shortest session a group member may ask for.";
        group_max_session_timeout_ms: i32 = "group.max.session.timeout.ms" "1800000" Any, Ms, ReadOnly, [] "The longest session a group member may ask for.";
        group_initial_rebalance_delay_ms: i32 = "group.initial.rebalance.delay.ms" "3000" Any, Ms, ReadOnly, [] "How long an empty group waits for further members before its first rebalance.";
        group_max_size: i32 = "group.max.size" "2147483647" AtLeast(1), None, ReadOnly, [] "Members of a group at most.";
        offset_metadata_max_bytes: i32 = "offset.metadata.max.bytes" "4096" Any, Bytes, ReadOnly, [] "The longest text that may be committed with an offset.";
        offsets_retention_minutes: i32 = "offsets.retention.minutes" "10080" AtLeast(1), Minutes, ReadOnly, [] "How long committed offsets outlive their group's last member.";
        offsets_retention_check_interval_ms: i64 = "offsets.retention.check.interval.ms" "600000" AtLeast(1), Ms, ReadOnly, [] "How often that is looked for.";
        offsets_commit_timeout_ms: i32 = "offsets.commit.timeout.ms" "5000" AtLeast(1), Ms, ReadOnly, [] "How long a commit waits to be replicated.";
        offsets_topic_num_partitions: i32 = "offsets.topic.num.partitions" "50" AtLeast(1), None, ReadOnly, [] "Partitions of __consumer_offsets.";
        offsets_topic_replication_factor: i16 = "offsets.topic.replication.factor" "3" AtLeast(1), None, ReadOnly, [] "Replicas of __consumer_offsets; as many as there are brokers where those are fewer.";
        offsets_topic_compression_codec: i32 = "offsets.topic.compression.codec" "0" Between(0, 4), None, ReadOnly, [] "What records of __consumer_offsets are compressed with: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.";
        offsets_topic_segment_bytes: i32 = "offsets.topic.segment.bytes" "104857600" AtLeast(1), Bytes, ReadOnly, [] "Segment size of __consumer_offsets.";
        metadata_log_max_record_bytes_between_snapshots: i64 = "metadata.log.max.record.bytes.between.snapshots" "20971520" AtLeast(1), Bytes, ReadOnly, [] "Metadata that is logged before a snapshot of it is written.";
    }
}
