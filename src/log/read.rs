//! Reading a log: by offset, as a range of a file; by time, down to the record.

use std::io;

use super::batch_scan::ScannedBatch;
use super::log_segment::LogSegment;
use super::partition_log::{FetchedSlice, PartitionLog, ReadError, RecentBatch, TimestampOffset};
use crate::protocol::record_batch::Records;
use crate::types::{LeaderEpoch, Offset, TimestampMs};

/// Where a batch begins and ends in its segment.
#[derive(Debug, Clone, Copy)]
struct Place {
    position: u32,
    size: u32,
    base_offset: Offset,
}

impl From<RecentBatch> for Place {
    fn from(batch: RecentBatch) -> Self {
        Self {
            position: batch.position,
            size: batch.size,
            base_offset: batch.base_offset,
        }
    }
}

impl From<ScannedBatch> for Place {
    fn from(batch: ScannedBatch) -> Self {
        Self {
            position: batch.position,
            size: batch.size,
            base_offset: batch.header.base_offset,
        }
    }
}

impl PartitionLog {
    /// The batches from the one that holds `start` up to `bound` (exclusive), at most `max_bytes` of them, in
    /// one range of one file. With `min_one_batch` the first comes whole, however large. `None` when there is
    /// nothing to give.
    pub fn read(
        &self,
        start: Offset,
        max_bytes: usize,
        bound: Offset,
        min_one_batch: bool,
    ) -> Result<Option<FetchedSlice>, ReadError> {
        if start < self.log_start || start > self.log_end {
            return Err(ReadError::OffsetOutOfRange {
                offset: start,
                log_start: self.log_start,
                log_end: self.log_end,
            });
        }
        if start >= bound || (max_bytes == 0 && !min_one_batch) {
            return Ok(None);
        }
        let after = self
            .segments
            .partition_point(|segment| segment.base_offset() <= start);
        let from = after.saturating_sub(1);
        for at in from..self.segments.len() {
            let Some(segment) = self.segments.get(at) else {
                break;
            };
            if let Some(first) = self.place_of(segment, start)? {
                if first.base_offset >= bound {
                    return Ok(None);
                }
                let end = self.end_position(at, segment, bound)?;
                return self.slice(segment, first, end, max_bytes, min_one_batch);
            }
        }
        Ok(None)
    }

    fn slice(
        &self,
        segment: &LogSegment,
        first: Place,
        end: u32,
        max_bytes: usize,
        min_one_batch: bool,
    ) -> Result<Option<FetchedSlice>, ReadError> {
        let first_end = first.position + first.size;
        if end < first_end {
            // The bound lies within the first batch.
            return Ok(None);
        }
        let wanted = u32::try_from(max_bytes).unwrap_or(u32::MAX);
        if first.size > wanted && !min_one_batch {
            return Ok(None);
        }
        let limit = first.position.saturating_add(wanted.max(first.size));
        // Whole batches only: what a reader gets cut off it must ask for again.
        let boundary = if limit >= end {
            Some(end)
        } else {
            self.batch_boundary(segment, first_end, limit)?
        };
        let end = boundary.unwrap_or(limit).max(first_end);
        Ok(Some(FetchedSlice {
            file: segment.file(&*self.storage)?,
            position: u64::from(first.position),
            len: end - first.position,
            first_offset: first.base_offset,
            next_offset: match boundary {
                Some(_) => Some(self.offset_at(segment, end)?),
                None => None,
            },
        }))
    }

    /// The base offset of the batch that begins at a position, or what follows the segment.
    fn offset_at(&self, segment: &LogSegment, position: u32) -> io::Result<Offset> {
        if position >= segment.size() {
            let after = self
                .segments
                .partition_point(|other| other.base_offset() <= segment.base_offset());
            let next = self.segments.get(after).map(LogSegment::base_offset);
            return Ok(next.unwrap_or(self.log_end));
        }
        let recent = self.recent.iter().rev().filter(|_| self.is_active(segment));
        if let Some(batch) = recent.take_while(|b| b.position >= position).last()
            && batch.position == position
        {
            return Ok(batch.base_offset);
        }
        let mut base_offset = [0; 8];
        let file = segment.file(&*self.storage)?;
        super::storage::read_exact_at(&*file, &mut base_offset, u64::from(position))?;
        Ok(Offset(i64::from_be_bytes(base_offset)))
    }

    /// The last known start of a batch in `from..=limit`.
    fn batch_boundary(
        &self,
        segment: &LogSegment,
        from: u32,
        limit: u32,
    ) -> io::Result<Option<u32>> {
        let recent = self
            .recent
            .iter()
            .rev()
            .map(|batch| batch.position)
            .find(|position| *position <= limit)
            .filter(|_| self.is_active(segment));
        let indexed = segment.indexed_position(&*self.storage, limit)?;
        Ok(recent
            .into_iter()
            .chain(indexed)
            .filter(|position| *position >= from)
            .max())
    }

    fn is_active(&self, segment: &LogSegment) -> bool {
        self.segments
            .last()
            .is_some_and(|active| active.base_offset() == segment.base_offset())
    }

    /// The first batch that ends at or after an offset.
    fn place_of(&self, segment: &LogSegment, offset: Offset) -> io::Result<Option<Place>> {
        if self.is_active(segment)
            && let Some(first) = self.recent.front()
            && first.base_offset <= offset
        {
            let at = self
                .recent
                .partition_point(|batch| batch.last_offset < offset);
            return Ok(self.recent.get(at).copied().map(Place::from));
        }
        Ok(segment.find(&*self.storage, offset)?.map(Place::from))
    }

    /// Where in a segment the first batch begins that does not end before `bound`.
    fn end_position(&self, at: usize, segment: &LogSegment, bound: Offset) -> io::Result<u32> {
        let segment_end = self
            .segments
            .get(at + 1)
            .map_or(self.log_end, LogSegment::base_offset);
        if bound >= segment_end {
            return Ok(segment.size());
        }
        if self.is_active(segment)
            && let Some(first) = self.recent.front()
            && first.base_offset <= bound
        {
            let at = self
                .recent
                .partition_point(|batch| batch.last_offset < bound);
            return Ok(self.recent.get(at).map_or(segment.size(), |b| b.position));
        }
        Ok(segment
            .find(&*self.storage, bound)?
            .map_or(segment.size(), |batch| batch.position))
    }

    /// The first record at or after the log's start with a timestamp of at least `timestamp`.
    pub fn offset_for_timestamp(
        &mut self,
        timestamp: TimestampMs,
    ) -> io::Result<Option<TimestampOffset>> {
        let storage = std::sync::Arc::clone(&self.storage);
        for at in 0..self.segments.len() {
            let Some(segment) = self.segments.get_mut(at) else {
                break;
            };
            if segment.largest(&*storage)?.timestamp < timestamp {
                continue;
            }
            let Some(first) = segment.find_by_time(&*storage, timestamp)? else {
                continue;
            };
            for batch in segment.scan(&*storage, first.position)? {
                let batch = batch?;
                if batch.header.last_offset() < self.log_start
                    || batch.header.max_timestamp < timestamp
                {
                    continue;
                }
                let found = record_in(
                    &batch,
                    segment,
                    &*storage,
                    self.config.max_decompressed_bytes,
                    |offset, at| offset >= self.log_start && at >= timestamp,
                )?;
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp; the first such.
    pub fn offset_of_max_timestamp(&mut self) -> io::Result<Option<TimestampOffset>> {
        let storage = std::sync::Arc::clone(&self.storage);
        let mut best: Option<(TimestampMs, usize)> = None;
        for (at, segment) in self.segments.iter_mut().enumerate() {
            let largest = segment.largest(&*storage)?.timestamp;
            if largest.0 >= 0 && best.is_none_or(|(timestamp, _)| timestamp < largest) {
                best = Some((largest, at));
            }
        }
        let Some((timestamp, at)) = best else {
            return Ok(None);
        };
        let Some(segment) = self.segments.get(at) else {
            return Ok(None);
        };
        match segment.find_by_time(&*storage, timestamp)? {
            Some(batch) => record_in(
                &batch,
                segment,
                &*storage,
                self.config.max_decompressed_bytes,
                |_, at| at >= timestamp,
            ),
            None => Ok(None),
        }
    }
}

/// The first record of a batch that is wanted.
fn record_in(
    batch: &ScannedBatch,
    segment: &LogSegment,
    storage: &dyn super::storage::Storage,
    max_decompressed_bytes: usize,
    wanted: impl Fn(Offset, TimestampMs) -> bool,
) -> io::Result<Option<TimestampOffset>> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let bytes = batch.read(&*segment.file(storage)?)?;
    let records = Records::new(&bytes, max_decompressed_bytes).map_err(invalid)?;
    let leader_epoch: LeaderEpoch = batch.header.leader_epoch;
    for record in records.iter() {
        let record = record.map_err(invalid)?;
        if wanted(record.offset, record.timestamp) {
            return Ok(Some(TimestampOffset {
                timestamp: record.timestamp,
                offset: record.offset,
                leader_epoch,
            }));
        }
    }
    Ok(None)
}
