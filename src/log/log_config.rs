//! The topic options that a log goes by.

use crate::config::{CleanupPolicy, CompressionType, TimestampType, TopicConfig};
use crate::protocol::compression::{CodecLevel, Compression};

/// How a log is compacted.
#[derive(Debug, Clone, PartialEq)]
pub struct CompactionConfig {
    pub min_dirty_ratio: f64,
    pub min_lag_ms: i64,
    pub max_lag_ms: i64,
    /// How long a tombstone stays.
    pub delete_retention_ms: i64,
}

/// Changed while running by `PartitionLog::set_config`.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    pub segment_bytes: u32,
    pub segment_ms: i64,
    pub segment_jitter_ms: i64,
    pub index_interval_bytes: u32,
    pub segment_index_bytes: u32,
    /// -1: for ever.
    pub retention_ms: i64,
    /// -1: without limit.
    pub retention_bytes: i64,
    pub cleanup_policy: CleanupPolicy,
    pub compaction: CompactionConfig,
    /// What batches are compressed with; `None`: as they come.
    pub compression: Option<CodecLevel>,
    pub log_append_time: bool,
    pub timestamp_before_max_ms: i64,
    pub timestamp_after_max_ms: i64,
    pub max_message_bytes: i32,
    /// Of one record in a compressed batch.
    pub max_decompressed_bytes: usize,
    pub file_delete_delay_ms: i64,
    pub flush_messages: i64,
    /// New segments take their full size on disk at once.
    pub preallocate: bool,
}

impl LogConfig {
    /// When a segment ends whatever its size: what is to be compacted in time must not stay active.
    pub fn max_segment_ms(&self) -> i64 {
        if self.cleanup_policy.compact && self.compaction.max_lag_ms > 0 {
            return self.segment_ms.min(self.compaction.max_lag_ms);
        }
        self.segment_ms
    }
}

impl From<&TopicConfig> for LogConfig {
    fn from(topic: &TopicConfig) -> Self {
        let unsigned = |value: i32| u32::try_from(value).unwrap_or(0);
        Self {
            segment_bytes: unsigned(topic.internal_segment_bytes.unwrap_or(topic.segment_bytes)),
            segment_ms: topic.segment_ms,
            segment_jitter_ms: topic.segment_jitter_ms,
            index_interval_bytes: unsigned(topic.index_interval_bytes),
            segment_index_bytes: unsigned(topic.segment_index_bytes),
            retention_ms: topic.retention_ms,
            retention_bytes: topic.retention_bytes,
            cleanup_policy: topic.cleanup_policy,
            compaction: CompactionConfig {
                min_dirty_ratio: topic.min_cleanable_dirty_ratio,
                min_lag_ms: topic.min_compaction_lag_ms,
                max_lag_ms: topic.max_compaction_lag_ms,
                delete_retention_ms: topic.delete_retention_ms,
            },
            compression: compression(topic),
            log_append_time: topic.message_timestamp_type == TimestampType::LogAppendTime,
            timestamp_before_max_ms: topic.message_timestamp_before_max_ms,
            timestamp_after_max_ms: topic.message_timestamp_after_max_ms,
            max_message_bytes: topic.max_message_bytes,
            max_decompressed_bytes: usize::try_from(topic.max_decompressed_message_bytes)
                .unwrap_or(0),
            file_delete_delay_ms: topic.file_delete_delay_ms,
            flush_messages: topic.flush_messages,
            preallocate: topic.preallocate,
        }
    }
}

fn compression(topic: &TopicConfig) -> Option<CodecLevel> {
    // gzip's -1 is its own default.
    let gzip = Some(topic.compression_gzip_level).filter(|level| *level > 0);
    let (codec, level) = match topic.compression_type {
        CompressionType::Producer => return None,
        CompressionType::Uncompressed => (Compression::None, None),
        CompressionType::Gzip => (Compression::Gzip, gzip),
        CompressionType::Snappy => (Compression::Snappy, None),
        CompressionType::Lz4 => (Compression::Lz4, Some(topic.compression_lz4_level)),
        CompressionType::Zstd => (Compression::Zstd, Some(topic.compression_zstd_level)),
    };
    Some(CodecLevel { codec, level })
}
