//! Bringing a log to disk: what must be synced is gathered under the log's lock, synced outside it, and
//! then the offsets move that say what is safe.
//!
//! There are two ways. A flush of the files syncs the segments themselves; a flush through the directory's
//! `journal` has the new batches written once more into a file that many partitions share. Invariants: what lies
//! below the recovery point is in the files, together with all that makes it a log (its names, its epochs,
//! whose topic it is, the indexes of segments that are no longer active; the active segment's are made anew
//! after a crash); what lies between it and the durable offset is in the journal, without a gap.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::checkpoint;
use super::partition_log::PartitionLog;
use super::storage::{File, OpenMode, Storage};
use crate::types::{Offset, PartitionId, TopicId};

/// The end of a log as a flush saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlushPoint {
    pub offset: Offset,
    /// The active segment, and the bytes in it.
    pub(super) segment: Offset,
    pub(super) position: u32,
}

/// What a flush of the files has to sync.
#[derive(Debug)]
pub struct FlushWork {
    storage: Arc<dyn Storage>,
    files: Vec<Arc<dyn File>>,
    dirs: Vec<PathBuf>,
    /// What is safe when it is done.
    pub up_to: FlushPoint,
}

impl FlushWork {
    /// Blocks on the disk.
    pub fn run(self) -> io::Result<()> {
        for file in &self.files {
            file.sync_data()?;
        }
        for dir in &self.dirs {
            self.storage.sync_dir(dir)?;
        }
        Ok(())
    }
}

/// Batches for the journal: a range of a segment file, whole batches.
#[derive(Debug)]
pub struct JournalPart {
    pub topic_id: TopicId,
    pub partition: PartitionId,
    /// Where the batches begin: everything before is safe already.
    pub from: Offset,
    pub(super) file: Arc<dyn File>,
    pub(super) position: u32,
    pub(super) len: u32,
    /// What is safe when it is done.
    pub up_to: FlushPoint,
}

impl JournalPart {
    pub fn bytes(&self) -> usize {
        self.len as usize
    }
}

/// Flushes that have begun and not finished, and how far the log was cut meanwhile.
#[derive(Debug, Default)]
pub(super) struct FlushesInFlight {
    count: usize,
    cut_to: Option<Offset>,
}

impl FlushesInFlight {
    fn begin(&mut self) {
        self.count += 1;
    }

    /// What lies beyond is not what a flush under way has seen there.
    pub(super) fn log_was_cut(&mut self, end: Offset) {
        if self.count > 0 {
            self.cut_to = Some(self.cut_to.map_or(end, |earlier| earlier.min(end)));
        }
    }

    /// How far a flush counts that finishes now.
    fn finish(&mut self, up_to: Offset) -> Offset {
        let up_to = self.cut_to.map_or(up_to, |cut| cut.min(up_to));
        self.count = self.count.saturating_sub(1);
        if self.count == 0 {
            self.cut_to = None;
        }
        up_to
    }
}

impl PartitionLog {
    /// Gathers a flush of the files. `None` when they have everything.
    pub fn begin_flush(&mut self) -> io::Result<Option<FlushWork>> {
        if self.flushed >= self.log_end {
            return Ok(None);
        }
        let up_to = self.end_point()?;
        self.gather(up_to).map(Some)
    }

    /// Gathers a flush of the files, whatever they have: of a log that may be empty and still has to be found.
    pub fn begin_flush_of_all(&mut self) -> io::Result<FlushWork> {
        let up_to = self.end_point()?;
        self.gather(up_to)
    }

    /// Whether a flush has begun and not ended.
    pub fn is_flushing(&self) -> bool {
        self.flushes.count > 0
    }

    /// A whole flush of the files, while nobody else uses the log. Blocks on the disk.
    pub(super) fn flush_now(&mut self) -> io::Result<()> {
        if let Some(work) = self.begin_flush()? {
            let up_to = work.up_to;
            work.run()?;
            self.finish_flush(up_to);
        }
        Ok(())
    }

    /// Gathers a flush of the files that moves the recovery point to the durable offset, and
    /// that offset nowhere: the journal's part in this log is over then.
    pub fn begin_settling(&mut self) -> io::Result<Option<FlushWork>> {
        if self.flushed >= self.durable {
            return Ok(None);
        }
        let mut up_to = self.end_point()?;
        up_to.offset = self.durable;
        self.gather(up_to).map(Some)
    }

    fn end_point(&self) -> io::Result<FlushPoint> {
        let active = self.active()?;
        Ok(FlushPoint {
            offset: self.log_end,
            segment: active.base_offset(),
            position: active.size(),
        })
    }

    fn gather(&mut self, up_to: FlushPoint) -> io::Result<FlushWork> {
        self.write_epochs()?;
        let mut rest = Vec::new();
        if self.metadata_dirty {
            let path = self.dir.join(checkpoint::PARTITION_METADATA);
            match self.storage.open(&path, OpenMode::Read) {
                Ok(file) => rest.push(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        for (at, segment) in self.segments.iter().enumerate() {
            let next = self.segments.get(at + 1).map(|next| next.base_offset());
            if next.is_none_or(|next| next > self.flushed) {
                rest.push(segment.file(&*self.storage)?);
            }
        }
        // Nothing can fail from here on. Indexes and snapshots go first: their segment is not read again
        // once the recovery point has passed it.
        let mut files = std::mem::take(&mut self.unsynced);
        files.append(&mut rest);
        self.metadata_dirty = false;
        let mut dirs = Vec::new();
        if std::mem::take(&mut self.names_dirty) {
            dirs.push(self.dir.to_path_buf());
            dirs.push(self.parent_directory().to_owned());
        }
        self.flushes.begin();
        Ok(FlushWork {
            storage: Arc::clone(&self.storage),
            files,
            dirs,
            up_to,
        })
    }

    /// The work of `begin_flush` or `begin_settling` is on disk.
    pub fn finish_flush(&mut self, point: FlushPoint) {
        let reached = self.flushes.finish(point.offset).min(self.log_end);
        self.flushed = self.flushed.max(reached);
        self.durable_up_to(reached, point);
    }

    /// The batches that are not safe yet, for the journal; `None` when this log must be flushed by its files: that was
    /// never done (its own name may not be on disk), a segment was rolled since, or there are more than `max_bytes`.
    pub fn begin_journal(&mut self, max_bytes: u32) -> io::Result<Option<JournalPart>> {
        let up_to = self.end_point()?;
        let Some(mark) = self.durable_mark.filter(|mark| {
            mark.offset == self.durable
                && mark.segment == up_to.segment
                && mark.position < up_to.position
                && up_to.position - mark.position <= max_bytes
        }) else {
            return Ok(None);
        };
        let file = self.active()?.file(&*self.storage)?;
        self.flushes.begin();
        Ok(Some(JournalPart {
            topic_id: self.topic_id(),
            partition: self.topic_partition.partition,
            from: self.durable,
            file,
            position: mark.position,
            len: up_to.position - mark.position,
            up_to,
        }))
    }

    /// The part of `begin_journal` is on disk, in the journal.
    pub fn finish_journal(&mut self, point: FlushPoint) {
        let reached = self.flushes.finish(point.offset).min(self.log_end);
        self.durable_up_to(reached, point);
    }

    /// A flush that began will not finish, and nothing has come of it.
    pub fn abandon_flush(&mut self) {
        self.flushes.finish(Offset::ZERO);
    }

    fn durable_up_to(&mut self, reached: Offset, point: FlushPoint) {
        if reached > self.durable {
            self.durable = reached;
            // A flush that a truncation overtook saw the log end somewhere else.
            self.durable_mark = Some(point).filter(|point| point.offset == reached);
        }
    }

    /// Whether `flush.messages` asks for a flush now, or a rolled segment waits to leave the recovery's
    /// way.
    pub fn flush_is_due(&self) -> bool {
        self.log_end.0 - self.durable.0 >= self.config.flush_messages || !self.unsynced.is_empty()
    }
}
