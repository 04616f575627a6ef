//! What a log knows of its own compaction: up to where it was cleaned, and whether somebody is at it.
//!
//! One cleaning at a time, and no retention meanwhile. Truncation, deletion and a change of directory do not wait:
//! they end the cleaning, which finds out before its next buffer, or at the latest when it wants to swap.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::filter::LastRecord;
use super::select::{self, Cleanable, LogFacts};
use crate::log::log_segment::LogSegment;
use crate::log::partition_log::PartitionLog;
use crate::log::storage::Storage;
use crate::log::{AbortedTxn, LogConfig};
use crate::types::{Offset, ProducerId, TimestampMs};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Idle,
    Running,
    /// Whoever cleans does not know yet: its files are still being written.
    Aborted,
}

#[derive(Debug, Clone, Copy, Default)]
pub(in crate::log) struct Cleaning {
    checkpoint: Option<Offset>,
    phase: Phase,
    uncleanable: bool,
}

impl Cleaning {
    pub(in crate::log) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    pub(in crate::log) fn abort(&mut self) {
        if self.phase == Phase::Running {
            self.phase = Phase::Aborted;
        }
    }

    /// What was written beyond since is dirty.
    pub(in crate::log) fn log_was_cut(&mut self, end: Offset) {
        self.abort();
        self.checkpoint = self.checkpoint.map(|clean| clean.min(end));
    }
}

/// A segment that a cleaning may read.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlannedSegment {
    pub(super) base_offset: Offset,
    /// Where the next begins.
    pub(super) end_offset: Offset,
    pub(super) size: u32,
}

/// All that a cleaning needs of a log, so that it can do without its lock.
#[derive(Debug)]
pub struct CleaningPlan {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) dir: Arc<Path>,
    pub(super) config: LogConfig,
    /// Those below `first_uncleanable`.
    pub(super) segments: Vec<PlannedSegment>,
    pub(super) first_dirty: Offset,
    pub(super) first_uncleanable: Offset,
    pub(super) high_watermark: Offset,
    pub(super) last_records: HashMap<ProducerId, LastRecord>,
    pub(super) aborted: Vec<AbortedTxn>,
}

impl CleaningPlan {
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The partition's own directory when the cleaning began.
    pub fn directory(&self) -> &Path {
        &self.dir
    }

    /// The part that was cleaned before ends here.
    pub fn first_dirty(&self) -> Offset {
        self.first_dirty
    }

    /// Everything below may be replaced.
    pub fn first_uncleanable(&self) -> Offset {
        self.first_uncleanable
    }
}

impl PartitionLog {
    /// Up to where it was cleaned; `None`: never. Belongs in the checkpoint of its directory.
    pub fn cleaner_checkpoint(&self) -> Option<Offset> {
        self.cleaning.checkpoint
    }

    /// As a checkpoint has it. One beyond the log's end is of a log that was cut, and would count what comes there as
    /// clean once the log is long enough: then nothing is.
    pub fn set_cleaner_checkpoint(&mut self, offset: Option<Offset>) {
        self.cleaning.checkpoint = offset.filter(|at| *at <= self.log_end);
    }

    pub fn is_uncleanable(&self) -> bool {
        self.cleaning.uncleanable
    }

    /// Not tried again as long as this log is open.
    pub fn mark_uncleanable(&mut self) {
        self.cleaning.uncleanable = true;
    }

    pub fn is_being_cleaned(&self) -> bool {
        self.cleaning.phase != Phase::Idle
    }

    /// Whether the cleaning that was begun may go on.
    pub fn may_go_on_cleaning(&self) -> bool {
        self.cleaning.is_running()
    }

    /// Ends a cleaning before it changes anything more.
    pub fn abort_cleaning(&mut self) {
        self.cleaning.abort();
    }

    /// What a cleaning would do now, with nothing at or above the high watermark; `None` where there is none to do: another policy, or one under way.
    pub fn cleanable(
        &mut self,
        high_watermark: Offset,
        now: TimestampMs,
    ) -> io::Result<Option<Cleanable>> {
        if !self.config.cleanup_policy.compact || self.is_being_cleaned() || self.is_uncleanable() {
            return Ok(None);
        }
        self.would_clean(high_watermark, now).map(Some)
    }

    /// The same for a log that cannot be cleaned: what is left lying.
    pub fn would_clean(
        &mut self,
        high_watermark: Offset,
        now: TimestampMs,
    ) -> io::Result<Cleanable> {
        let segments: Vec<(Offset, u32)> = self
            .segments
            .iter()
            .map(|segment| (segment.base_offset(), segment.size()))
            .collect();
        let stable = self.first_unstable_offset().unwrap_or(high_watermark);
        let bound = high_watermark.min(stable);
        let mut facts = LogFacts {
            segments: &segments,
            log_start: self.log_start,
            log_end: self.log_end,
            checkpoint: self.cleaning.checkpoint,
            bound: bound.min(self.flushed),
        };
        let dirty = select::inactive_from(&segments, select::first_dirty(&facts));
        let storage = Arc::clone(&self.storage);
        let dirty = self.segments.get_mut(dirty).unwrap_or_default();
        let min_lag = self.config.compaction.min_lag_ms.max(0);
        if min_lag > 0
            && let Some(young) = first_younger(dirty, &*storage, now.0.saturating_sub(min_lag))?
        {
            facts.bound = facts.bound.min(young);
        }
        let mut found = select::cleanable(&facts);
        found.min_ratio = self.config.compaction.min_dirty_ratio;
        let max_lag = self.config.compaction.max_lag_ms;
        if max_lag < i64::MAX {
            let mut times = Vec::with_capacity(dirty.len());
            for segment in dirty {
                times.extend(segment.first_timestamp(&*storage)?);
            }
            found.delay_ms = select::compaction_delay_ms(times, max_lag, now);
        }
        Ok(found)
    }

    /// Takes the log for a cleaning, which must end with `end_cleaning`. `None` when there is nothing to do.
    pub fn begin_cleaning(
        &mut self,
        high_watermark: Offset,
        now: TimestampMs,
    ) -> io::Result<Option<CleaningPlan>> {
        let Some(found) = self
            .cleanable(high_watermark, now)?
            .filter(Cleanable::is_due)
        else {
            return Ok(None);
        };
        let segments = self
            .segments
            .windows(2)
            .filter_map(|pair| {
                let [segment, next] = pair else { return None };
                Some(PlannedSegment {
                    base_offset: segment.base_offset(),
                    end_offset: next.base_offset(),
                    size: segment.size(),
                })
            })
            .take_while(|segment| segment.base_offset < found.first_uncleanable)
            .collect();
        let last_records = self
            .producers
            .entries()
            .into_iter()
            .map(|(id, entry)| {
                let last = LastRecord {
                    last_data_offset: entry.batches.back().map(|batch| batch.last_offset),
                    epoch: entry.epoch,
                };
                (id, last)
            })
            .collect();
        let start = self
            .segments
            .first()
            .map_or(self.log_start, LogSegment::base_offset);
        let aborted = self.collect_aborted(start, found.first_uncleanable)?;
        self.cleaning.phase = Phase::Running;
        Ok(Some(CleaningPlan {
            storage: Arc::clone(&self.storage),
            dir: Arc::clone(&self.dir),
            config: self.config.clone(),
            segments,
            first_dirty: found.first_dirty,
            first_uncleanable: found.first_uncleanable,
            high_watermark,
            last_records,
            aborted,
        }))
    }

    /// Whoever cleaned has let go. `cleaned_to` where everything below was swapped in.
    pub fn end_cleaning(&mut self, cleaned_to: Option<Offset>) {
        if self.cleaning.is_running() && cleaned_to.is_some() {
            self.cleaning.checkpoint = cleaned_to;
        }
        self.cleaning.phase = Phase::Idle;
    }
}

/// The base of the first segment with a record that came after a time.
fn first_younger(
    segments: &mut [LogSegment],
    storage: &dyn Storage,
    time_ms: i64,
) -> io::Result<Option<Offset>> {
    for segment in segments {
        if segment.largest(storage)?.timestamp.0 > time_ms {
            return Ok(Some(segment.base_offset()));
        }
    }
    Ok(None)
}
