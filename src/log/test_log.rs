//! What the log's tests share: a config, a log in memory, batches to put in it.

use std::path::Path;
use std::sync::Arc;

use super::storage::{Storage, read_exact_at};
use super::{AppendInfo, AppendOrigin, CompactionConfig, LogConfig, OpenLog, PartitionLog, open};
use crate::config::CleanupPolicy;
use crate::protocol::compression::Compression;
use crate::protocol::record_batch::{BatchBuilder, BatchHeader, Batches, Records};
use crate::types::{LeaderEpoch, Offset, TimestampMs, TopicId, TopicPartition};

pub(crate) const DIR: &str = "/data/t-0";

/// Nothing is due on its own: tests turn on what they are about.
pub(crate) fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 1 << 30,
        segment_ms: i64::MAX,
        segment_jitter_ms: 0,
        index_interval_bytes: 4096,
        segment_index_bytes: 10 << 20,
        retention_ms: -1,
        retention_bytes: -1,
        cleanup_policy: CleanupPolicy {
            delete: true,
            compact: false,
        },
        compaction: CompactionConfig {
            min_dirty_ratio: 0.0,
            min_lag_ms: 0,
            max_lag_ms: i64::MAX,
            delete_retention_ms: 86_400_000,
        },
        compression: None,
        log_append_time: false,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        max_message_bytes: 1 << 20,
        max_decompressed_bytes: 1 << 30,
        file_delete_delay_ms: 60_000,
        flush_messages: i64::MAX,
        preallocate: false,
    }
}

pub(crate) fn open_log(config: LogConfig, clean: bool, recovery_point: i64) -> OpenLog {
    OpenLog {
        topic_partition: TopicPartition::new("t", 0),
        topic_id: TopicId::ZERO,
        config,
        recovery_point: Offset(recovery_point),
        log_start: Offset::ZERO,
        clean,
        has_journal: true,
    }
}

/// The log of `t-0`, opened or made.
pub(crate) fn log(storage: &Arc<dyn Storage>, config: LogConfig) -> PartitionLog {
    let dir = Path::new(DIR);
    if !storage.exists(dir) {
        storage.create_dir_all(dir).unwrap();
    }
    open(Arc::clone(storage), dir, open_log(config, true, 0), &|_| {}).unwrap()
}

/// One batch of records with a timestamp and a value of so many bytes.
pub(crate) fn batch(timestamp: i64, records: usize, value_bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Offset::ZERO, Compression::None);
    let value = vec![b'v'; value_bytes];
    for _ in 0..records {
        builder.append(TimestampMs(timestamp), None, Some(&value), &[]);
    }
    builder.build()
}

/// At a time that is the largest timestamp of the batch.
pub(crate) fn append(log: &mut PartitionLog, batch: &[u8]) -> AppendInfo {
    let now = BatchHeader::parse(batch).unwrap().max_timestamp;
    log.append_as_leader(batch, LeaderEpoch(0), AppendOrigin::Client, now)
        .unwrap()
}

/// Everything that is unflushed now.
pub(crate) fn flush(log: &mut PartitionLog) {
    log.flush_now().unwrap();
}

/// The bytes that a read gives.
pub(crate) fn read_bytes(
    log: &PartitionLog,
    start: i64,
    max_bytes: usize,
    bound: i64,
    min_one: bool,
) -> Vec<u8> {
    let found = log.read(Offset(start), max_bytes, Offset(bound), min_one);
    let Some(slice) = found.unwrap() else {
        return Vec::new();
    };
    let mut bytes = vec![0; slice.len as usize];
    read_exact_at(&*slice.file, &mut bytes, slice.position).unwrap();
    bytes
}

/// Offset, epoch and number of records of every batch from an offset on, segment by segment.
pub(crate) fn all_batches(log: &PartitionLog, from: i64) -> Vec<(i64, i32, i32)> {
    let mut found = Vec::new();
    let mut at = from;
    let end = log.log_end_offset().0;
    while at < end {
        let bytes = read_bytes(log, at, usize::MAX, end, true);
        let mut next = at;
        for batch in Batches::new(&bytes) {
            let (header, bytes) = batch.unwrap();
            assert!(crate::protocol::record_batch::verify_crc(bytes));
            assert_eq!(
                Records::new(bytes, 1 << 20).unwrap().iter().count() as i32,
                header.records_count
            );
            found.push((
                header.base_offset.0,
                header.leader_epoch.0,
                header.records_count,
            ));
            next = header.next_offset().0;
        }
        assert!(next > at, "nothing at {at}");
        at = next;
    }
    found
}

/// A cleaner's host without threads: swaps at once, and does something else before each pause and each swap.
pub(crate) struct TestHost<'a> {
    pub(crate) log: std::cell::RefCell<&'a mut PartitionLog>,
    pub(crate) now: TimestampMs,
    pub(crate) meanwhile: Box<dyn Fn(&mut PartitionLog) + 'a>,
    pub(crate) doomed: std::cell::RefCell<Vec<super::DoomedFiles>>,
}

impl super::cleaner::CleaningHost for TestHost<'_> {
    fn pace(&self, _bytes: usize) -> Result<(), super::cleaner::CleanError> {
        let mut log = self.log.borrow_mut();
        (self.meanwhile)(&mut log);
        if log.may_go_on_cleaning() {
            Ok(())
        } else {
            Err(super::cleaner::CleanError::Aborted)
        }
    }

    fn swap(
        &self,
        cleaned: super::cleaner::CleanedSegment,
    ) -> Result<(), super::cleaner::CleanError> {
        let mut log = self.log.borrow_mut();
        (self.meanwhile)(&mut log);
        let doomed = log.swap_cleaned(cleaned, self.now)?;
        log.storage.sync_dir(&log.dir)?;
        self.doomed.borrow_mut().push(doomed);
        Ok(())
    }
}

/// Cleans a log up to an offset, if there is something to clean.
pub(crate) fn clean(
    log: &mut PartitionLog,
    cleaner: &mut super::cleaner::Cleaner,
    (bound, now): (i64, i64),
) -> Option<Result<super::cleaner::CleanerStats, super::cleaner::CleanError>> {
    clean_while(log, cleaner, (bound, now), Box::new(|_| ()))
}

pub(crate) fn clean_while<'a>(
    log: &'a mut PartitionLog,
    cleaner: &mut super::cleaner::Cleaner,
    (bound, now): (i64, i64),
    meanwhile: Box<dyn Fn(&mut PartitionLog) + 'a>,
) -> Option<Result<super::cleaner::CleanerStats, super::cleaner::CleanError>> {
    let bounds = Offset(bound);
    let now = TimestampMs(now);
    let plan = log.begin_cleaning(bounds, now).unwrap()?;
    let storage = Arc::clone(&log.storage);
    let host = TestHost {
        log: std::cell::RefCell::new(log),
        now,
        meanwhile,
        doomed: Default::default(),
    };
    let result = cleaner.clean(&plan, now, &host);
    let cleaned_to = result.as_ref().ok().map(|stats| stats.cleaned_to);
    host.log.borrow_mut().end_cleaning(cleaned_to);
    for doomed in host.doomed.take() {
        doomed.remove(&*storage).unwrap();
    }
    Some(result)
}
