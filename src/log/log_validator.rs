//! Checks one batch before it is appended, and makes of it what the topic wants stored.
//!
//! On the ordinary path (`CreateTime`, the producer's compression, no compaction) the head and the CRC are
//! looked at and the bytes stay where they are: records are not decoded. They are decoded where the
//! topic's options ask about each of them. Behaviour is Apache Kafka 4.4.0's `LogValidator`, but for what only
//! decoding would show of a batch that nobody asks about.

use std::borrow::Cow;
use std::fmt::Display;

use super::append::{AppendError, AppendOrigin, RecordProblem};
use super::log_config::LogConfig;
use crate::protocol::compression::Compression;
use crate::protocol::record_batch::{
    BatchBuilder, BatchError, BatchHeader, Record, Records, TimestampType, ensure_crc,
    set_max_timestamp, single_batch, validate_batch_header,
};
use crate::types::{Offset, TimestampMs};

/// Which produce version brought the bytes is not known here: the API has checked what depends on it.
const ANY_PRODUCE_VERSION: i16 = i16::MAX;

/// As many problems as Kafka quotes in its message.
const QUOTED_PROBLEMS: usize = 3;

/// A batch as it may be stored.
#[derive(Debug)]
pub(super) struct Validated<'a> {
    pub(super) header: BatchHeader,
    pub(super) bytes: Cow<'a, [u8]>,
    pub(super) log_append_time: Option<TimestampMs>,
}

pub(super) fn validate<'a>(
    records: &'a [u8],
    partition: &dyn Display,
    config: &LogConfig,
    origin: AppendOrigin,
    now: TimestampMs,
) -> Result<Validated<'a>, AppendError> {
    let (header, batch) = single_batch(records, ANY_PRODUCE_VERSION)?;
    check_size(batch.len(), partition, config)?;
    ensure_crc(batch)?;
    if origin == AppendOrigin::Client {
        validate_batch_header(&header)?;
    }
    let compression = header.compression()?;
    let recompress = config
        .compression
        .filter(|wanted| *wanted != compression)
        // Markers stay as they are.
        .filter(|_| !(header.is_control() && compression == Compression::None));
    let checks = RecordChecks {
        partition,
        config,
        keys: config.cleanup_policy.compact && origin == AppendOrigin::Client,
        times: !config.log_append_time && !times_are_fine(&header, config, now),
        stamped: config.log_append_time && header.timestamp_type() == TimestampType::LogAppendTime,
        now,
    };
    let mut bytes = Cow::Borrowed(batch);
    if checks.any() || recompress.is_some() {
        let decoded = Records::new(batch, config.max_decompressed_bytes)?;
        checks.run(&decoded)?;
        if let Some(compression) = recompress {
            bytes = Cow::Owned(rebuild(&decoded, compression)?);
            check_size(bytes.len(), partition, config)?;
        }
    }
    if bytes.len() > usize::try_from(config.segment_bytes).unwrap_or(usize::MAX) {
        return Err(AppendError::LargerThanSegment {
            partition: partition.to_string(),
            size: bytes.len(),
            max: config.segment_bytes,
        });
    }
    let log_append_time = config.log_append_time.then_some(now);
    if let Some(now) = log_append_time {
        set_max_timestamp(bytes.to_mut(), TimestampType::LogAppendTime, now)?;
    } else if header.timestamp_type() == TimestampType::LogAppendTime {
        set_max_timestamp(
            bytes.to_mut(),
            TimestampType::CreateTime,
            header.max_timestamp,
        )?;
    }
    let header = match &bytes {
        Cow::Borrowed(_) => header,
        Cow::Owned(bytes) => BatchHeader::parse(bytes)?,
    };
    Ok(Validated {
        header,
        bytes,
        log_append_time,
    })
}

fn check_size(size: usize, partition: &dyn Display, config: &LogConfig) -> Result<(), AppendError> {
    let max = config.max_message_bytes;
    if size <= usize::try_from(max).unwrap_or(0) {
        return Ok(());
    }
    Err(AppendError::TooLarge {
        partition: partition.to_string(),
        size,
        max,
    })
}

/// The same records in another compression, their offsets one after another.
fn rebuild(records: &Records<'_>, compression: Compression) -> Result<Vec<u8>, BatchError> {
    let header = records.header();
    let mut builder = BatchBuilder::new(Offset::ZERO, compression)
        .producer(
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
        )
        .transactional(header.is_transactional())
        .control(header.is_control());
    for record in records {
        let record = record?;
        let headers: Vec<_> = record.headers.collect();
        builder.append(record.timestamp, record.key, record.value, &headers);
    }
    Ok(builder.build())
}

/// Whether every record's time is fine, as far as the head tells.
fn times_are_fine(header: &BatchHeader, config: &LogConfig, now: TimestampMs) -> bool {
    config.timestamp_before_max_ms == i64::MAX
        && header.max_timestamp.0.saturating_sub(now.0) <= config.timestamp_after_max_ms
}

/// What is asked of each record.
struct RecordChecks<'a> {
    partition: &'a dyn Display,
    config: &'a LogConfig,
    keys: bool,
    times: bool,
    /// The batch claims to be stamped by a broker, and this broker stamps.
    stamped: bool,
    now: TimestampMs,
}

impl RecordChecks<'_> {
    fn any(&self) -> bool {
        self.keys || self.times || self.stamped
    }

    fn run(&self, records: &Records<'_>) -> Result<(), AppendError> {
        if !self.any() {
            return Ok(());
        }
        let mut problems = Vec::new();
        let mut untimely = false;
        for (index, record) in records.iter().enumerate() {
            let record = record?;
            let problem = if self.keys && record.key.is_none() {
                Some(format!(
                    "Compacted topic cannot accept message without key in topic partition {}",
                    self.partition
                ))
            } else {
                let problem = self.time_problem(&record);
                untimely |= problem.is_some();
                problem
            };
            problems.extend(problem.map(|message| RecordProblem {
                batch_index: i32::try_from(index).unwrap_or(i32::MAX),
                message,
            }));
        }
        if problems.is_empty() {
            return Ok(());
        }
        if untimely {
            return Err(AppendError::Timestamps {
                message: "One or more records have been rejected due to invalid timestamp"
                    .to_owned(),
                problems,
            });
        }
        let quoted: Vec<String> = problems
            .iter()
            .take(QUOTED_PROBLEMS)
            .map(|problem| {
                format!(
                    "RecordError(batchIndex={}, message='{}')",
                    problem.batch_index, problem.message
                )
            })
            .collect();
        Err(AppendError::Records {
            message: format!(
                "One or more records have been rejected due to {} record errors in total, and only showing the first three errors at most: [{}]",
                problems.len(),
                quoted.join(", ")
            ),
            problems,
        })
    }

    fn time_problem(&self, record: &Record<'_>) -> Option<String> {
        if self.stamped {
            return Some(
                "Invalid timestamp type in message. Producer should not set timestamp type to LogAppendTime."
                    .to_owned(),
            );
        }
        let timestamp = record.timestamp;
        let ahead = timestamp.0.saturating_sub(self.now.0);
        let behind = self.now.0.saturating_sub(timestamp.0);
        let fine = !self.times
            || timestamp == TimestampMs::NONE
            || (ahead <= self.config.timestamp_after_max_ms
                && behind <= self.config.timestamp_before_max_ms);
        (!fine).then(|| {
            format!(
                "Timestamp {timestamp} of message with offset {} is out of range. The timestamp should be within [{}, {}]",
                record.offset,
                self.now.0.saturating_sub(self.config.timestamp_before_max_ms),
                self.now.0.saturating_add(self.config.timestamp_after_max_ms)
            )
        })
    }
}

#[cfg(test)]
#[path = "log_validator_tests.rs"]
mod tests;
