//! stub
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupPolicy {
    pub compact: bool,
    pub delete: bool,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionType {
    Producer,
    Uncompressed,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    pub segment_bytes: i32,
    pub internal_segment_bytes: Option<i32>,
    pub segment_ms: i64,
    pub segment_jitter_ms: i64,
    pub index_interval_bytes: i32,
    pub segment_index_bytes: i32,
    pub retention_ms: i64,
    pub retention_bytes: i64,
    pub cleanup_policy: CleanupPolicy,
    pub compression_type: CompressionType,
    pub message_timestamp_type: TimestampType,
    pub message_timestamp_before_max_ms: i64,
    pub message_timestamp_after_max_ms: i64,
    pub max_message_bytes: i32,
    pub max_decompressed_message_bytes: i32,
    pub file_delete_delay_ms: i64,
    pub flush_messages: i64,
    pub durable_acks: bool,
}
