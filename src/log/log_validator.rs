//! Checks one batch before it is appended, and makes of it what the topic wants stored.
//!
//! Every batch's records are walked through (`protocol::record_walk`): their structure, their numbers, the largest of
//! their times. On the ordinary path (the producer's compression, and a head that tells the truth) the bytes then stay where
//! they are. Behaviour is Apache Kafka 4.4.0's `LogValidator`, held to it by `conformance/tests/produce.rs`, and stricter in
//! two things: records must be numbered from 0 one after another, and fill the size they claim, in every batch
//! that is stored as it came.

use std::borrow::Cow;
use std::fmt::Display;

use super::append::{AppendError, AppendOrigin, RecordProblem};
use super::log_config::LogConfig;
use crate::protocol::compression::{CodecLevel, Compression};
use crate::protocol::rebuilt_batch::{RebuildError, RebuiltBatch};
use crate::protocol::record_batch::{
    BatchError, BatchHeader, TimestampType, ensure_crc, set_max_timestamp, single_batch,
    validate_base_offset, validate_batch_header,
};
use crate::protocol::record_walk::{RecordHead, RecordShape, RecordSink, walk_records};
use crate::types::TimestampMs;

/// What depends on the version of the Produce request is checked by the API.
const ANY_PRODUCE_VERSION: i16 = i16::MAX;

/// As many problems as Kafka quotes in its message.
const QUOTED_PROBLEMS: usize = 3;

/// A batch as it may be stored.
#[derive(Debug)]
pub struct Validated<'a> {
    pub header: BatchHeader,
    pub bytes: Cow<'a, [u8]>,
    pub log_append_time: Option<TimestampMs>,
}

/// Checks the one batch of `records` for a log of `partition`.
pub fn validate<'a>(
    records: &'a [u8],
    partition: &dyn Display,
    config: &LogConfig,
    origin: AppendOrigin,
    now: TimestampMs,
) -> Result<Validated<'a>, AppendError> {
    let (header, batch) = single_batch(records, ANY_PRODUCE_VERSION)?;
    if origin == AppendOrigin::Client {
        validate_base_offset(&header)?;
    }
    check_size(batch.len(), partition, config)?;
    ensure_crc(batch)?;
    let compression = header.compression()?;
    if origin == AppendOrigin::Client {
        validate_batch_header(&header)?;
    }
    let recompress = config
        .compression
        .filter(|wanted| wanted.codec != compression)
        // Markers stay as they are.
        .filter(|_| !(header.is_control() && compression == Compression::None));
    let checks = Checks {
        partition,
        config,
        header: &header,
        batch,
        partial: recompress.is_none() && compression != Compression::None,
        keys: config.cleanup_policy.compact && origin == AppendOrigin::Client,
        now,
    };
    let (mut bytes, max_timestamp) = match recompress {
        None => (Cow::Borrowed(batch), checks.walk()?),
        Some(codec) => {
            let (bytes, max_timestamp) = checks.rebuild(codec)?;
            (Cow::Owned(bytes), max_timestamp)
        }
    };
    if bytes.len() > usize::try_from(config.segment_bytes).unwrap_or(usize::MAX) {
        return Err(AppendError::LargerThanSegment {
            partition: partition.to_string(),
            size: bytes.len(),
            max: config.segment_bytes,
        });
    }
    let log_append_time = config.log_append_time.then_some(now);
    let (stamp, max_timestamp) = match log_append_time {
        Some(now) => (TimestampType::LogAppendTime, now),
        None => (TimestampType::CreateTime, max_timestamp),
    };
    if recompress.is_some()
        || header.timestamp_type() != stamp
        || header.max_timestamp != max_timestamp
    {
        set_max_timestamp(bytes.to_mut(), stamp, max_timestamp)?;
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
    if size <= max_message_bytes(config) {
        return Ok(());
    }
    Err(AppendError::TooLarge {
        partition: partition.to_string(),
        size,
        max,
    })
}

fn max_message_bytes(config: &LogConfig) -> usize {
    usize::try_from(config.max_message_bytes).unwrap_or(0)
}

/// What all records of a batch have in common, as far as anybody asks.
#[derive(Debug)]
struct Summary {
    records: i32,
    /// Their offsets are 0, 1, 2, ….
    numbered: bool,
    keyless: bool,
    /// Of no records: the largest time there is, and no time.
    min_timestamp: i64,
    max_timestamp: i64,
    header: BatchHeader,
}

impl Summary {
    fn new(header: &BatchHeader) -> Self {
        Self {
            records: 0,
            numbered: true,
            keyless: false,
            min_timestamp: i64::MAX,
            max_timestamp: TimestampMs::NONE.0,
            header: *header,
        }
    }
}

impl RecordSink for Summary {
    #[inline]
    fn record(&mut self, shape: RecordShape) {
        let timestamp = self.header.record_timestamp(shape.timestamp_delta).0;
        self.numbered &= shape.offset_delta == self.records;
        self.keyless |= shape.key_size < 0;
        self.min_timestamp = self.min_timestamp.min(timestamp);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.records = self.records.wrapping_add(1);
    }
}

/// The same, with a batch made of the records meanwhile.
struct Rebuild {
    summary: Summary,
    batch: RebuiltBatch,
}

impl RecordSink for Rebuild {
    fn head(&mut self, head: RecordHead) {
        let timestamp = self.summary.header.record_timestamp(head.timestamp_delta);
        self.batch.head(head, timestamp);
    }

    fn rest(&mut self, bytes: &[u8]) {
        self.batch.rest(bytes);
    }

    fn record(&mut self, shape: RecordShape) {
        self.summary.record(shape);
    }
}

/// What is asked of the records of one batch.
struct Checks<'a> {
    partition: &'a dyn Display,
    config: &'a LogConfig,
    header: &'a BatchHeader,
    batch: &'a [u8],
    /// Kafka's messages tell whether it has decoded the record or skipped through it.
    partial: bool,
    keys: bool,
    now: TimestampMs,
}

impl Checks<'_> {
    /// The largest time of a batch that may stay as it is.
    fn walk(&self) -> Result<TimestampMs, AppendError> {
        let mut summary = Summary::new(self.header);
        self.run(&mut summary)?;
        self.check(&summary)?;
        if !summary.numbered {
            return Err(BatchError::Structure("records are not numbered one after another").into());
        }
        Ok(TimestampMs(summary.max_timestamp))
    }

    /// The batch in another compression, and its largest time.
    fn rebuild(&self, codec: CodecLevel) -> Result<(Vec<u8>, TimestampMs), AppendError> {
        let mut rebuild = Rebuild {
            summary: Summary::new(self.header),
            batch: RebuiltBatch::new(self.header, codec, max_message_bytes(self.config)),
        };
        self.run(&mut rebuild)?;
        self.check(&rebuild.summary)?;
        match rebuild.batch.build() {
            Ok(bytes) => Ok((bytes, TimestampMs(rebuild.summary.max_timestamp))),
            Err(RebuildError::Invalid(error)) => Err(error.into()),
            Err(RebuildError::TooLarge(size)) => Err(AppendError::TooLarge {
                partition: self.partition.to_string(),
                size,
                max: self.config.max_message_bytes,
            }),
        }
    }

    fn run(&self, sink: &mut impl RecordSink) -> Result<(), BatchError> {
        let max = self.config.max_decompressed_bytes;
        walk_records(self.batch, self.header, max, sink)
    }

    /// Looks at each record only when one of them may be at fault.
    fn check(&self, summary: &Summary) -> Result<(), AppendError> {
        let stamped = self.header.timestamp_type() == TimestampType::LogAppendTime;
        let timely = if self.config.log_append_time {
            !stamped
        } else {
            let none = summary.min_timestamp == TimestampMs::NONE.0 && stamped;
            self.is_surely_timely(summary.min_timestamp)
                && self.is_surely_timely(summary.max_timestamp)
                && !none
        };
        if timely && !(self.keys && summary.keyless) {
            return Ok(());
        }
        let mut found = Problems {
            checks: self,
            index: 0,
            untimely: false,
            problems: Vec::new(),
        };
        self.run(&mut found)?;
        refuse(found)
    }

    /// Kafka's arithmetic, which wraps.
    fn is_timely(&self, timestamp: i64) -> bool {
        let behind = self.now.0.wrapping_sub(timestamp);
        behind <= self.config.timestamp_before_max_ms
            && behind.wrapping_neg() <= self.config.timestamp_after_max_ms
    }

    /// And so is every time between two of which this is said: the one time that passes by wrapping lies outside.
    fn is_surely_timely(&self, timestamp: i64) -> bool {
        self.is_timely(timestamp) && self.now.0.wrapping_sub(timestamp) != i64::MIN
    }
}

fn refuse(found: Problems<'_, '_>) -> Result<(), AppendError> {
    let problems = found.problems;
    if problems.is_empty() {
        return Ok(());
    }
    if found.untimely {
        return Err(AppendError::Timestamps {
            message: "One or more records have been rejected due to invalid timestamp".to_owned(),
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

/// Looks at each record by itself.
struct Problems<'c, 'a> {
    checks: &'c Checks<'a>,
    index: i32,
    untimely: bool,
    problems: Vec<RecordProblem>,
}

impl RecordSink for Problems<'_, '_> {
    fn record(&mut self, shape: RecordShape) {
        let problem = if self.checks.keys && shape.key_size < 0 {
            Some(format!(
                "Compacted topic cannot accept message without key in topic partition {}",
                self.checks.partition
            ))
        } else {
            let problem = self.time_problem(shape);
            self.untimely |= problem.is_some();
            problem
        };
        self.problems.extend(problem.map(|message| RecordProblem {
            batch_index: self.index,
            message,
        }));
        self.index = self.index.saturating_add(1);
    }
}

impl Problems<'_, '_> {
    fn time_problem(&self, shape: RecordShape) -> Option<String> {
        let Checks {
            config,
            header,
            now,
            partial,
            ..
        } = self.checks;
        let offset = header
            .base_offset
            .0
            .wrapping_add(i64::from(shape.offset_delta));
        let timestamp = header.record_timestamp(shape.timestamp_delta).0;
        if !config.log_append_time && timestamp != TimestampMs::NONE.0 {
            return (!self.checks.is_timely(timestamp)).then(|| {
                format!(
                    "Timestamp {timestamp} of message with offset {offset} is out of range. The timestamp should be within [{}, {}]",
                    now.0.wrapping_sub(config.timestamp_before_max_ms),
                    now.0.wrapping_add(config.timestamp_after_max_ms)
                )
            });
        }
        if header.timestamp_type() != TimestampType::LogAppendTime {
            return None;
        }
        // Kafka shows a size of null as it came when it has skipped the record, and as 0 when it has read it.
        let size = |size: i32| if *partial { size } else { size.max(0) };
        Some(format!(
            "Invalid timestamp type in message {}DefaultRecord(offset={offset}, timestamp={timestamp}, key={} bytes, value={} bytes). Producer should not set timestamp type to LogAppendTime.",
            if *partial { "Partial" } else { "" },
            size(shape.key_size),
            size(shape.value_size)
        ))
    }
}

#[cfg(test)]
#[path = "log_validator_tests.rs"]
mod tests;
