//! Checks one batch before it is appended, and makes of it what the topic wants stored.
//!
//! On the ordinary path (`CreateTime`, the producer's compression, no compaction) the head and the CRC are
//! looked at and the bytes stay where they are: records are not decoded. They are decoded where the
//! topic's options ask about each of them.

use std::borrow::Cow;

use super::append::{AppendError, AppendOrigin, RecordProblem};
use super::log_config::LogConfig;
use crate::protocol::record_batch::{
    BatchBuilder, BatchHeader, Records, TimestampType, ensure_crc, set_max_timestamp, single_batch,
    validate_batch_header,
};
use crate::types::{Offset, TimestampMs};

/// Which produce version brought the bytes is not known here: the API has checked what depends on it.
const ANY_PRODUCE_VERSION: i16 = i16::MAX;

/// A batch as it may be stored.
#[derive(Debug)]
pub(super) struct Validated<'a> {
    pub(super) header: BatchHeader,
    pub(super) bytes: Cow<'a, [u8]>,
    pub(super) log_append_time: Option<TimestampMs>,
}

pub(super) fn validate<'a>(
    records: &'a [u8],
    partition: &dyn std::fmt::Display,
    config: &LogConfig,
    origin: AppendOrigin,
    now: TimestampMs,
) -> Result<Validated<'a>, AppendError> {
    let (header, batch) = single_batch(records, ANY_PRODUCE_VERSION)?;
    let max = config.max_message_bytes;
    if batch.len() > usize::try_from(max).unwrap_or(0) {
        return Err(AppendError::TooLarge {
            partition: partition.to_string(),
            size: batch.len(),
            max,
        });
    }
    ensure_crc(batch)?;
    if origin == AppendOrigin::Client {
        validate_batch_header(&header)?;
    }
    let recompress = config
        .compression
        .filter(|wanted| header.compression() != Ok(*wanted));
    let doubtful_times = !config.log_append_time && origin == AppendOrigin::Client;
    let check_times = doubtful_times && !times_are_fine(&header, config, now);
    let check_keys = config.cleanup_policy.compact && origin == AppendOrigin::Client;
    let mut bytes = Cow::Borrowed(batch);
    if check_times || check_keys || recompress.is_some() {
        let decoded = Records::new(batch, config.max_decompressed_bytes)?;
        if check_keys {
            keys(&decoded, partition)?;
        }
        if check_times {
            times(&decoded, config, now)?;
        }
        if let Some(compression) = recompress {
            let mut builder = BatchBuilder::new(Offset::ZERO, compression)
                .producer(
                    header.producer_id,
                    header.producer_epoch,
                    header.base_sequence,
                )
                .transactional(header.is_transactional())
                .control(header.is_control());
            for record in decoded.iter() {
                let record = record?;
                let headers: Vec<_> = record.headers.collect();
                builder.append_at(
                    record.offset,
                    record.timestamp,
                    (record.key, record.value),
                    &headers,
                );
            }
            bytes = Cow::Owned(builder.build());
        }
    }
    let log_append_time = config.log_append_time.then_some(now);
    if let Some(now) = log_append_time {
        set_max_timestamp(bytes.to_mut(), TimestampType::LogAppendTime, now)?;
    }
    Ok(Validated {
        header: BatchHeader::parse(&bytes)?,
        bytes,
        log_append_time,
    })
}

/// As far as the head tells.
fn times_are_fine(header: &BatchHeader, config: &LogConfig, now: TimestampMs) -> bool {
    config.timestamp_before_max_ms == i64::MAX
        && header
            .max_timestamp
            .0
            .checked_sub(now.0)
            .is_some_and(|ahead| ahead <= config.timestamp_after_max_ms)
}

fn times(records: &Records<'_>, config: &LogConfig, now: TimestampMs) -> Result<(), AppendError> {
    let mut problems = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let timestamp = record?.timestamp;
        let ahead = timestamp.0.saturating_sub(now.0);
        let behind = now.0.saturating_sub(timestamp.0);
        if timestamp != TimestampMs::NONE
            && (ahead > config.timestamp_after_max_ms || behind > config.timestamp_before_max_ms)
        {
            problems.push(RecordProblem {
                batch_index: i32::try_from(index).unwrap_or(i32::MAX),
                message: format!(
                    "Timestamp {timestamp} of message with offset {index} is out of range. The timestamp should be within [{}, {}]",
                    now.0.saturating_sub(config.timestamp_before_max_ms),
                    now.0.saturating_add(config.timestamp_after_max_ms)
                ),
            });
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(AppendError::Timestamps {
        message: "One or more records have been rejected due to invalid timestamp".to_owned(),
        problems,
    })
}

fn keys(records: &Records<'_>, partition: &dyn std::fmt::Display) -> Result<(), AppendError> {
    let mut problems = Vec::new();
    for (index, record) in records.iter().enumerate() {
        if record?.key.is_none() {
            problems.push(RecordProblem {
                batch_index: i32::try_from(index).unwrap_or(i32::MAX),
                message: format!(
                    "Compacted topic cannot accept message without key in topic partition {partition}."
                ),
            });
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(AppendError::Records {
        message: format!(
            "One or more records have been rejected due to {} record errors in total",
            problems.len()
        ),
        problems,
    })
}
