//! Which logs are worth cleaning, how far, and which of them first.
//!
//! Behaviour is Kafka's `LogCleanerManager`. Whole segments are cleaned, never the active one; up to the last stable
//! offset, to what is on disk, and to the first segment with records younger than `min.compaction.lag.ms`. A log is
//! cleaned when the dirty part is more than `min.cleanable.dirty.ratio` of what could be clean then, or when
//! something in it is older than `max.compaction.lag.ms`; the dirtiest first.
//! Pure: sizes and offsets in, a choice out.

use crate::types::{Offset, TimestampMs};

/// A log as selection sees it.
#[derive(Debug)]
pub(super) struct LogFacts<'a> {
    /// Base offset and size, in order; the last is active.
    pub(super) segments: &'a [(Offset, u32)],
    pub(super) log_start: Offset,
    pub(super) log_end: Offset,
    /// Up to where it was cleaned last.
    pub(super) checkpoint: Option<Offset>,
    /// Nothing at or above is cleaned, whatever segment it is in.
    pub(super) bound: Offset,
}

/// What a cleaning of a log would do. Sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cleanable {
    pub first_dirty: Offset,
    /// The base offset of the first segment that is left alone.
    pub first_uncleanable: Offset,
    pub clean_bytes: u64,
    pub cleanable_bytes: u64,
    /// How much longer than `max.compaction.lag.ms` something has waited.
    pub delay_ms: i64,
    /// `min.cleanable.dirty.ratio`.
    pub min_ratio: f64,
}

impl Cleanable {
    pub fn ratio(&self) -> f64 {
        let total = self.clean_bytes + self.cleanable_bytes;
        if total == 0 {
            return 0.0;
        }
        self.cleanable_bytes as f64 / total as f64
    }

    pub fn is_due(&self) -> bool {
        let overdue = self.delay_ms > 0 && self.cleanable_bytes > 0;
        overdue || self.ratio() > self.min_ratio
    }
}

/// Where the dirty part begins: where the last cleaning ended, unless that lies outside the log.
pub(super) fn first_dirty(facts: &LogFacts<'_>) -> Offset {
    match facts.checkpoint {
        Some(offset) if offset >= facts.log_start && offset <= facts.log_end => offset,
        _ => facts.log_start,
    }
}

/// The offset that follows a segment is the base of the next; the one that holds an offset is the last that does
/// not begin beyond it.
fn holding(segments: &[(Offset, u32)], offset: Offset) -> usize {
    let after = segments.partition_point(|(base, _)| *base <= offset);
    after.saturating_sub(1)
}

/// Segments before the active one, from the one that holds `from` on.
pub(super) fn inactive_from(segments: &[(Offset, u32)], from: Offset) -> std::ops::Range<usize> {
    let active = segments.len().saturating_sub(1);
    holding(segments, from).min(active)..active
}

pub(super) fn cleanable(facts: &LogFacts<'_>) -> Cleanable {
    let first_dirty = first_dirty(facts);
    let active = facts
        .segments
        .last()
        .map_or(facts.log_end, |(base, _)| *base);
    let bound = facts.bound.min(active).max(first_dirty);
    // Whole segments only.
    let until = holding(facts.segments, bound);
    let first_uncleanable = facts.segments.get(until).map_or(bound, |(base, _)| *base);
    let from = holding(facts.segments, first_dirty).min(until);
    let bytes = |range: std::ops::Range<usize>| {
        let segments = facts.segments.get(range).unwrap_or_default();
        segments.iter().map(|(_, size)| u64::from(*size)).sum()
    };
    let clean = facts
        .segments
        .partition_point(|(base, _)| *base < first_dirty);
    Cleanable {
        first_dirty,
        first_uncleanable,
        clean_bytes: bytes(0..clean),
        cleanable_bytes: bytes(from..until),
        delay_ms: 0,
        min_ratio: 0.0,
    }
}

/// How much longer than `max_lag_ms` the oldest of some segments has waited, by their first timestamps; 0: not too
/// long.
pub(super) fn compaction_delay_ms(
    first_timestamps: impl IntoIterator<Item = TimestampMs>,
    max_lag_ms: i64,
    now: TimestampMs,
) -> i64 {
    let known = first_timestamps.into_iter().filter(|at| at.0 > 0);
    let clean_until = now.0.saturating_sub(max_lag_ms.max(0));
    known
        .min()
        .map_or(0, |oldest| clean_until.saturating_sub(oldest.0).max(0))
}

/// The index of the one to clean now, if any is due.
pub fn filthiest<'a>(candidates: impl IntoIterator<Item = &'a Cleanable>) -> Option<usize> {
    let due = candidates
        .into_iter()
        .enumerate()
        .filter(|(_, candidate)| candidate.is_due());
    due.max_by(|(_, a), (_, b)| a.ratio().total_cmp(&b.ratio()))
        .map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENTS: [(Offset, u32); 4] = [
        (Offset(10), 100),
        (Offset(20), 200),
        (Offset(30), 400),
        (Offset(40), 800),
    ];

    fn facts(checkpoint: Option<i64>, bound: i64) -> LogFacts<'static> {
        LogFacts {
            segments: &SEGMENTS,
            log_start: Offset(10),
            log_end: Offset(50),
            checkpoint: checkpoint.map(Offset),
            bound: Offset(bound),
        }
    }

    #[test]
    fn whole_segments_between_the_last_cleaning_and_the_bound() {
        let table = [
            // checkpoint, bound: first dirty, first uncleanable, clean bytes, cleanable bytes
            ((None, 50), (10, 40, 0, 700)),
            ((None, 10), (10, 10, 0, 0)),
            ((None, 29), (10, 20, 0, 100)),
            ((None, 30), (10, 30, 0, 300)),
            ((Some(20), 50), (20, 40, 100, 600)),
            // A cleaning that ended within a segment.
            ((Some(25), 50), (25, 40, 300, 600)),
            ((Some(40), 50), (40, 40, 700, 0)),
            ((Some(45), 50), (45, 40, 1500, 0)),
            // Above the bound already.
            ((Some(35), 12), (35, 30, 700, 0)),
            // Outside the log: cleaned from the start.
            ((Some(5), 50), (10, 40, 0, 700)),
            ((Some(51), 50), (10, 40, 0, 700)),
        ];
        for ((checkpoint, bound), expected) in table {
            let found = cleanable(&facts(checkpoint, bound));
            let found = (
                found.first_dirty.0,
                found.first_uncleanable.0,
                found.clean_bytes,
                found.cleanable_bytes,
            );
            assert_eq!(found, expected, "{checkpoint:?} {bound}");
        }
    }

    #[test]
    fn the_active_segment_is_never_in_it() {
        let only_active = LogFacts {
            segments: &SEGMENTS[..1],
            log_start: Offset(10),
            log_end: Offset(20),
            checkpoint: None,
            bound: Offset(20),
        };
        let found = cleanable(&only_active);
        assert_eq!(
            (found.cleanable_bytes, found.first_uncleanable),
            (0, Offset(10))
        );
        assert!(!found.is_due());
        assert_eq!(inactive_from(&SEGMENTS, Offset(25)), 1..3);
        assert_eq!(inactive_from(&SEGMENTS, Offset(45)), 3..3);
        assert_eq!(inactive_from(&SEGMENTS, Offset(0)), 0..3);
    }

    fn candidate(clean: u64, cleanable: u64, delay_ms: i64) -> Cleanable {
        Cleanable {
            first_dirty: Offset(0),
            first_uncleanable: Offset(0),
            clean_bytes: clean,
            cleanable_bytes: cleanable,
            delay_ms,
            min_ratio: 0.5,
        }
    }

    #[test]
    fn the_dirtiest_that_is_due_comes_first() {
        let table: [(&str, &[Cleanable], Option<usize>); 6] = [
            ("none", &[], None),
            (
                "exactly the ratio is not more than it",
                &[candidate(50, 50, 0)],
                None,
            ),
            ("nothing in it", &[candidate(0, 0, 9)], None),
            (
                "too long",
                &[candidate(90, 10, 1), candidate(60, 40, 0)],
                Some(0),
            ),
            (
                "dirtiest",
                &[
                    candidate(40, 60, 0),
                    candidate(10, 90, 0),
                    candidate(30, 70, 5),
                ],
                Some(1),
            ),
            ("all dirty", &[candidate(0, 1, 0)], Some(0)),
        ];
        for (what, candidates, expected) in table {
            assert_eq!(filthiest(candidates), expected, "{what}");
        }
        let mut greedy = candidate(99, 1, 0);
        greedy.min_ratio = 0.0;
        assert!(greedy.is_due());
    }

    #[test]
    fn a_delay_counts_from_the_oldest_first_batch() {
        let at = |times: &[i64]| times.iter().map(|at| TimestampMs(*at)).collect::<Vec<_>>();
        let table = [
            (at(&[]), 10, 0),
            (at(&[500, 700]), 600, 0),
            (at(&[500, 700]), 400, 100),
            // Batches without a time say nothing.
            (at(&[-1, 0, 990]), 10, 0),
            (at(&[1]), i64::MAX, 0),
        ];
        for (times, lag, expected) in table {
            assert_eq!(
                compaction_delay_ms(times, lag, TimestampMs(1000)),
                expected,
                "{lag}"
            );
        }
    }
}
