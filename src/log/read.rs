//! Reading a log: by offset, as a range of a file; by time, down to the record.

use std::collections::VecDeque;
use std::io;

use super::batch_scan::ScannedBatch;
use super::log_segment::LogSegment;
use super::partition_log::{FetchedSlice, PartitionLog, ReadError, RecentBatch, TimestampOffset};
use super::segment_reader::{NotCached, Reads, SegmentReader};
use super::transaction_index::AbortedTxn;
use crate::protocol::record_batch::BatchHeader;
use crate::protocol::record_walk::{MAX_DECOMPRESSED_BYTES, RecordShape, RecordSink, walk_records};
use crate::types::{Offset, TimestampMs};

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
        self.read_as(Reads::Blocking, start, max_bytes, bound, min_one_batch)
    }

    /// The same, and whether it may wait for the disk where it has to look something up.
    pub fn read_as(
        &self,
        reads: Reads,
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
        self.look_up(reads, start, max_bytes, bound, min_one_batch)
            .map_err(|error| self.read_error(error))
    }

    fn read_error(&self, error: io::Error) -> ReadError {
        match NotCached::of(error) {
            Ok(missing) => ReadError::NotCached(missing.below(&self.storage)),
            Err(error) => ReadError::Io(error),
        }
    }

    /// The transactions that reach into a range of offsets (`to` is exclusive) and were aborted. Its end is not beyond
    /// the last stable offset.
    pub fn collect_aborted(&self, from: Offset, to: Offset) -> io::Result<Vec<AbortedTxn>> {
        self.find_aborted(Reads::Blocking, from, to)
    }

    /// The same, and whether it may wait for the disk.
    pub fn collect_aborted_as(
        &self,
        reads: Reads,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<AbortedTxn>, ReadError> {
        self.find_aborted(reads, from, to)
            .map_err(|error| self.read_error(error))
    }

    fn find_aborted(&self, reads: Reads, from: Offset, to: Offset) -> io::Result<Vec<AbortedTxn>> {
        let first = self
            .segments
            .partition_point(|segment| segment.base_offset() <= from)
            .saturating_sub(1);
        let mut aborted = Vec::new();
        for segment in self.segments.iter().skip(first) {
            let found = self.reader(segment, reads).collect_aborted(from, to)?;
            aborted.extend(found.aborted);
            if found.complete {
                break;
            }
        }
        Ok(aborted)
    }

    fn reader<'a>(&'a self, segment: &'a LogSegment, reads: Reads) -> SegmentReader<'a> {
        SegmentReader {
            segment,
            storage: &*self.storage,
            reads,
        }
    }

    fn look_up(
        &self,
        reads: Reads,
        start: Offset,
        max_bytes: usize,
        bound: Offset,
        min_one_batch: bool,
    ) -> io::Result<Option<FetchedSlice>> {
        let after = self
            .segments
            .partition_point(|segment| segment.base_offset() <= start);
        let from = after.saturating_sub(1);
        for at in from..self.segments.len() {
            let Some(segment) = self.segments.get(at) else {
                break;
            };
            let reader = self.reader(segment, reads);
            if let Some(first) = self.place_of(reader, start)? {
                if first.base_offset >= bound {
                    return Ok(None);
                }
                let end = self.end_position(at, reader, bound)?;
                return self.slice(reader, first, end, max_bytes, min_one_batch);
            }
        }
        Ok(None)
    }

    fn slice(
        &self,
        reader: SegmentReader<'_>,
        first: Place,
        end: u32,
        max_bytes: usize,
        min_one_batch: bool,
    ) -> io::Result<Option<FetchedSlice>> {
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
            self.batch_boundary(reader, first_end, limit)?
        };
        let end = boundary.unwrap_or(limit).max(first_end);
        let recent = self.recent_in(reader.segment);
        Ok(Some(FetchedSlice {
            file: reader.file()?,
            position: u64::from(first.position),
            len: end - first.position,
            first_offset: first.base_offset,
            next_offset: match boundary {
                Some(_) => Some(self.offset_at(reader, end)?),
                None => None,
            },
            is_recent: recent
                .and_then(VecDeque::front)
                .is_some_and(|batch| batch.position <= first.position),
        }))
    }

    /// The base offset of the batch that begins at a position, or what follows the segment.
    fn offset_at(&self, reader: SegmentReader<'_>, position: u32) -> io::Result<Offset> {
        if position >= reader.segment.size() {
            let after = self
                .segments
                .partition_point(|other| other.base_offset() <= reader.segment.base_offset());
            let next = self.segments.get(after).map(LogSegment::base_offset);
            return Ok(next.unwrap_or(self.log_end));
        }
        let recent = self.recent_in(reader.segment).into_iter().flatten().rev();
        if let Some(batch) = recent.take_while(|b| b.position >= position).last()
            && batch.position == position
        {
            return Ok(batch.base_offset);
        }
        reader.base_offset_at(position)
    }

    /// The last known start of a batch in `from..=limit`.
    fn batch_boundary(
        &self,
        reader: SegmentReader<'_>,
        from: u32,
        limit: u32,
    ) -> io::Result<Option<u32>> {
        let recent = self.recent_in(reader.segment).and_then(|recent| {
            let positions = recent.iter().rev().map(|batch| batch.position);
            positions.into_iter().find(|position| *position <= limit)
        });
        let indexed = reader.indexed_position(limit)?;
        Ok(recent
            .into_iter()
            .chain(indexed)
            .filter(|position| *position >= from)
            .max())
    }

    /// The last batches, where they lie in this segment.
    fn recent_in(&self, segment: &LogSegment) -> Option<&VecDeque<RecentBatch>> {
        let active = self.segments.last()?;
        (active.base_offset() == segment.base_offset()).then_some(&self.recent)
    }

    /// The first batch that ends at or after an offset.
    fn place_of(&self, reader: SegmentReader<'_>, offset: Offset) -> io::Result<Option<Place>> {
        if let Some(recent) = self.recent_in(reader.segment)
            && let Some(first) = recent.front()
            && first.base_offset <= offset
        {
            let at = recent.partition_point(|batch| batch.last_offset < offset);
            return Ok(recent.get(at).copied().map(Place::from));
        }
        Ok(reader.find(offset)?.map(Place::from))
    }

    /// Where in a segment the first batch begins that does not end before `bound`.
    fn end_position(&self, at: usize, reader: SegmentReader<'_>, bound: Offset) -> io::Result<u32> {
        let segment_end = self
            .segments
            .get(at + 1)
            .map_or(self.log_end, LogSegment::base_offset);
        if bound >= segment_end {
            return Ok(reader.segment.size());
        }
        // Where there is none, everything in the segment is below the bound.
        let place = self.place_of(reader, bound)?;
        Ok(place.map_or(reader.segment.size(), |place| place.position))
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
                let found = record_in(&batch, segment, &*storage, |offset, at| {
                    offset >= self.log_start && at >= timestamp
                })?;
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
            Some(batch) => record_in(&batch, segment, &*storage, |_, at| at >= timestamp),
            None => Ok(None),
        }
    }
}

/// The first record of a batch that is wanted. What is stored is read, however large its records are: the topic's limit
/// holds for what producers compress, as it is now, and nothing here grows with a record.
fn record_in(
    batch: &ScannedBatch,
    segment: &LogSegment,
    storage: &dyn super::storage::Storage,
    wanted: impl Fn(Offset, TimestampMs) -> bool,
) -> io::Result<Option<TimestampOffset>> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let bytes = batch.read(&*segment.file(storage)?)?;
    let mut search = Search {
        header: &batch.header,
        wanted,
        found: None,
    };
    walk_records(&bytes, &batch.header, MAX_DECOMPRESSED_BYTES, &mut search).map_err(invalid)?;
    Ok(search.found)
}

struct Search<'a, F> {
    header: &'a BatchHeader,
    wanted: F,
    found: Option<TimestampOffset>,
}

impl<F: Fn(Offset, TimestampMs) -> bool> RecordSink for Search<'_, F> {
    fn record(&mut self, shape: RecordShape) {
        let offset = self.header.base_offset.plus(i64::from(shape.offset_delta));
        let timestamp = self.header.record_timestamp(shape.timestamp_delta);
        if self.found.is_none() && (self.wanted)(offset, timestamp) {
            self.found = Some(TimestampOffset {
                timestamp,
                offset,
                leader_epoch: self.header.leader_epoch,
            });
        }
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
