//! The topic options that a log goes by.

use crate::config::{CleanupPolicy, CompressionType, TimestampType, TopicConfig};
use crate::protocol::compression::Compression;

/// Changed while running by `PartitionLog::set_config`.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// What batches are compressed with; `None`: as they come.
    pub compression: Option<Compression>,
    pub log_append_time: bool,
    pub timestamp_before_max_ms: i64,
    pub timestamp_after_max_ms: i64,
    pub max_message_bytes: i32,
    pub max_decompressed_bytes: usize,
    pub file_delete_delay_ms: i64,
    pub flush_messages: i64,
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
            compression: match topic.compression_type {
                CompressionType::Producer => None,
                CompressionType::Uncompressed => Some(Compression::None),
                CompressionType::Gzip => Some(Compression::Gzip),
                CompressionType::Snappy => Some(Compression::Snappy),
                CompressionType::Lz4 => Some(Compression::Lz4),
                CompressionType::Zstd => Some(Compression::Zstd),
            },
            log_append_time: topic.message_timestamp_type == TimestampType::LogAppendTime,
            timestamp_before_max_ms: topic.message_timestamp_before_max_ms,
            timestamp_after_max_ms: topic.message_timestamp_after_max_ms,
            max_message_bytes: topic.max_message_bytes,
            max_decompressed_bytes: usize::try_from(topic.max_decompressed_message_bytes)
                .unwrap_or(0),
            file_delete_delay_ms: topic.file_delete_delay_ms,
            flush_messages: topic.flush_messages,
        }
    }
}
