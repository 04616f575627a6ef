//! Bringing a log to disk: what must be synced is gathered under the log's lock, synced outside it, and
//! then the flushed offset moves.
//!
//! Invariant: what lies below the flushed offset is on disk together with all that makes it a log: its names, its
//! epochs, whose topic it is, and the indexes of segments that are no longer active. The active
//! segment's indexes are made anew after a crash.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::checkpoint;
use super::partition_log::PartitionLog;
use super::storage::{File, OpenMode, Storage};
use crate::types::Offset;

/// What one flush has to sync.
#[derive(Debug)]
pub struct FlushWork {
    storage: Arc<dyn Storage>,
    files: Vec<Arc<dyn File>>,
    dirs: Vec<PathBuf>,
    /// The flushed offset when it is done.
    pub up_to: Offset,
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

/// Flushes that have begun and not finished, and how far the log was cut meanwhile.
#[derive(Debug, Default)]
pub(super) struct FlushesInFlight {
    count: usize,
    cut_to: Option<Offset>,
}

impl FlushesInFlight {
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
    /// `None` when everything is flushed.
    pub fn begin_flush(&mut self) -> io::Result<Option<FlushWork>> {
        if self.flushed >= self.log_end {
            return Ok(None);
        }
        self.write_epochs()?;
        // Indexes and snapshots go first: their segment is not read again once the recovery point has
        // passed it.
        let mut files = std::mem::take(&mut self.unsynced);
        if std::mem::take(&mut self.metadata_dirty) {
            let path = self.dir.join(checkpoint::PARTITION_METADATA);
            match self.storage.open(&path, OpenMode::Read) {
                Ok(file) => files.push(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        for (at, segment) in self.segments.iter().enumerate() {
            let next = self.segments.get(at + 1).map(|next| next.base_offset());
            if next.is_none_or(|next| next > self.flushed) {
                files.push(segment.file(&*self.storage)?);
            }
        }
        let mut dirs = Vec::new();
        if std::mem::take(&mut self.names_dirty) {
            dirs.push(self.dir.to_path_buf());
            dirs.push(self.parent_directory().to_owned());
        }
        self.flushes.count += 1;
        Ok(Some(FlushWork {
            storage: Arc::clone(&self.storage),
            files,
            dirs,
            up_to: self.log_end,
        }))
    }

    /// The work of `begin_flush` is on disk.
    pub fn finish_flush(&mut self, up_to: Offset) {
        let up_to = self.flushes.finish(up_to);
        self.flushed = self.flushed.max(up_to).min(self.log_end);
    }

    /// Whether `flush.messages` asks for a flush now, or a rolled segment waits to leave the recovery's
    /// way.
    pub fn flush_is_due(&self) -> bool {
        self.log_end.0 - self.flushed.0 >= self.config.flush_messages || !self.unsynced.is_empty()
    }
}
