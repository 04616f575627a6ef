//! The ONE table of topic options: all of Kafka 4.4.0's, and `durable.acks`.
//!
//! Options of what is not built yet are checked, stored and shown like the others, since clients set them.

use super::options::Valid::{Any, AtLeast, Between, BetweenReal, LevelOrDefault};
use super::options::option_table;
use super::value::{CleanupPolicy, CompressionType, ThrottledReplicas, TimestampType};

option_table! {
    /// A topic's options as they apply.
    pub struct TOPIC_OPTIONS as TopicConfig {
        cleanup_policy: CleanupPolicy = "cleanup.policy" "delete" Any, None, ClusterWide, ["log.cleanup.policy"] "delete: old segments go; compact: the last record of each key stays; both by a comma.";
        compression_gzip_level: i32 = "compression.gzip.level" "-1" LevelOrDefault(1, 9), None, ClusterWide, ["compression.gzip.level"] "Effort of gzip where batches are compressed anew; -1 is its own default.";
        compression_lz4_level: i32 = "compression.lz4.level" "9" Between(1, 17), None, ClusterWide, ["compression.lz4.level"] "Effort of lz4 where batches are compressed anew: 9 is its fast mode, every other level its slow one; above 12 is 12.";
        compression_type: CompressionType = "compression.type" "producer" Any, None, ClusterWide, ["compression.type"] "What batches are stored compressed with; producer keeps them as they come.";
        compression_zstd_level: i32 = "compression.zstd.level" "3" Between(-131072, 22), None, ClusterWide, ["compression.zstd.level"] "Effort of zstd where batches are compressed anew.";
        delete_retention_ms: i64 = "delete.retention.ms" "86400000" AtLeast(0), Ms, ClusterWide, ["log.cleaner.delete.retention.ms"] "How long a tombstone stays in a compacted topic.";
        durable_acks: bool = "durable.acks" "true" Any, None, ClusterWide, ["log.durable.acks"] "acks=all is answered when the records are on disk, and only then are they readable.";
        errors_deadletterqueue_group_enable: bool = "errors.deadletterqueue.group.enable" "false" Any, None, ClusterWide, [] "The topic may be a share group's dead letter queue. Without effect yet.";
        file_delete_delay_ms: i64 = "file.delete.delay.ms" "60000" AtLeast(0), Ms, ClusterWide, ["log.segment.delete.delay.ms"] "How long the files of what was deleted stay under another name.";
        flush_messages: i64 = "flush.messages" "9223372036854775807" AtLeast(1), None, ClusterWide, ["log.flush.interval.messages"] "Records after which the log is flushed, whatever else asks for it.";
        flush_ms: i64 = "flush.ms" "9223372036854775807" AtLeast(0), Ms, ClusterWide, ["log.flush.interval.ms"] "Time after which the log is flushed, whatever else asks for it.";
        follower_replication_throttled_replicas: ThrottledReplicas = "follower.replication.throttled.replicas" "" Any, None, ClusterWide, [] "Replicas whose catching up is throttled on the follower's side: partition:broker pairs, or *. Without effect yet.";
        index_interval_bytes: i32 = "index.interval.bytes" "4096" AtLeast(0), Bytes, ClusterWide, ["log.index.interval.bytes"] "Bytes of log between two index entries.";
        internal_segment_bytes: Option<i32> = "internal.segment.bytes" "" Any, Bytes, ClusterWide, [] "For tests: a segment size without a lower bound.";
        leader_replication_throttled_replicas: ThrottledReplicas = "leader.replication.throttled.replicas" "" Any, None, ClusterWide, [] "Replicas whose catching up is throttled on the leader's side: partition:broker pairs, or *. Without effect yet.";
        local_retention_bytes: i64 = "local.retention.bytes" "-2" AtLeast(-2), Bytes, ClusterWide, ["log.local.retention.bytes"] "Nothing is tiered: without effect.";
        local_retention_ms: i64 = "local.retention.ms" "-2" AtLeast(-2), Ms, ClusterWide, ["log.local.retention.ms"] "Nothing is tiered: without effect.";
        max_compaction_lag_ms: i64 = "max.compaction.lag.ms" "9223372036854775807" AtLeast(1), Ms, ClusterWide, ["log.cleaner.max.compaction.lag.ms"] "How long a record is left uncompacted at most.";
        max_decompressed_message_bytes: i32 = "max.decompressed.message.bytes" "2147483639" Between(1, 2147483639), Bytes, ClusterWide, ["max.decompressed.message.bytes"] "The largest a record of a compressed batch may be, decompressed.";
        max_message_bytes: i32 = "max.message.bytes" "1048588" AtLeast(0), Bytes, ClusterWide, ["message.max.bytes"] "The largest record batch the topic takes.";
        message_timestamp_after_max_ms: i64 = "message.timestamp.after.max.ms" "3600000" AtLeast(0), Ms, ClusterWide, ["log.message.timestamp.after.max.ms"] "A record from further in the future than this is refused.";
        message_timestamp_before_max_ms: i64 = "message.timestamp.before.max.ms" "9223372036854775807" AtLeast(0), Ms, ClusterWide, ["log.message.timestamp.before.max.ms"] "A record older than this is refused.";
        message_timestamp_type: TimestampType = "message.timestamp.type" "CreateTime" Any, None, ClusterWide, ["log.message.timestamp.type"] "Whether a record's time is the producer's or that of its append.";
        min_cleanable_dirty_ratio: f64 = "min.cleanable.dirty.ratio" "0.5" BetweenReal(0.0, 1.0), None, ClusterWide, ["log.cleaner.min.cleanable.ratio"] "The part of the log that must be uncompacted before it is compacted.";
        min_compaction_lag_ms: i64 = "min.compaction.lag.ms" "0" AtLeast(0), Ms, ClusterWide, ["log.cleaner.min.compaction.lag.ms"] "How long a record is left uncompacted at least.";
        min_insync_replicas: i32 = "min.insync.replicas" "1" AtLeast(1), None, ClusterWide, ["min.insync.replicas"] "In-sync replicas without which acks=all is refused.";
        preallocate: bool = "preallocate" "false" Any, None, ClusterWide, ["log.preallocate"] "New segments are given their full size on disk at once.";
        remote_copy_lag_bytes: i64 = "remote.copy.lag.bytes" "-1" AtLeast(-1), Bytes, ClusterWide, ["log.remote.copy.lag.bytes"] "Nothing is tiered: without effect.";
        remote_copy_lag_ms: i64 = "remote.copy.lag.ms" "0" AtLeast(-1), Ms, ClusterWide, ["log.remote.copy.lag.ms"] "Nothing is tiered: without effect.";
        remote_log_copy_disable: bool = "remote.log.copy.disable" "false" Any, None, ClusterWide, [] "Nothing is tiered: without effect.";
        remote_log_delete_on_disable: bool = "remote.log.delete.on.disable" "false" Any, None, ClusterWide, [] "Nothing is tiered: without effect.";
        remote_storage_enable: bool = "remote.storage.enable" "false" Any, None, ClusterWide, [] "Tiered storage, which is not there. Without effect yet.";
        retention_bytes: i64 = "retention.bytes" "-1" Any, Bytes, ClusterWide, ["log.retention.bytes"] "How much of a partition is kept; -1: everything.";
        retention_ms: i64 = "retention.ms" "604800000" AtLeast(-1), Ms, ClusterWide, ["log.retention.ms", "log.retention.minutes", "log.retention.hours"] "How long records are kept; -1: for ever.";
        segment_bytes: i32 = "segment.bytes" "1073741824" AtLeast(1048576), Bytes, ClusterWide, ["log.segment.bytes"] "A segment file ends before it grows beyond this.";
        segment_index_bytes: i32 = "segment.index.bytes" "10485760" AtLeast(4), Bytes, ClusterWide, ["log.index.size.max.bytes"] "A segment ends when its index has grown so large.";
        segment_jitter_ms: i64 = "segment.jitter.ms" "0" AtLeast(0), Ms, ClusterWide, ["log.roll.jitter.ms", "log.roll.jitter.hours"] "Up to so much earlier than segment.ms, so that not all end at once.";
        segment_ms: i64 = "segment.ms" "604800000" AtLeast(1), Ms, ClusterWide, ["log.roll.ms", "log.roll.hours"] "A segment ends after so long even when it is not full.";
        unclean_leader_election_enable: bool = "unclean.leader.election.enable" "false" Any, None, ClusterWide, ["unclean.leader.election.enable"] "A replica that is not in sync may lead when no other is left: loses records. Without effect yet.";
    }
}
