//! Bringing a log to disk: what must be synced is gathered under the log's lock, synced outside it, and
//! then the flushed offset moves.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

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

impl PartitionLog {
    /// `None` when everything is flushed.
    pub fn begin_flush(&mut self) -> io::Result<Option<FlushWork>> {
        if self.flushed >= self.log_end {
            return Ok(None);
        }
        self.write_epochs()?;
        let mut files = Vec::new();
        let last = self.segments.len().saturating_sub(1);
        for (at, segment) in self.segments.iter().enumerate() {
            let next = self.segments.get(at + 1).map(|next| next.base_offset());
            if next.is_some_and(|next| next <= self.flushed) {
                continue;
            }
            files.push(segment.file(&*self.storage)?);
            // The active segment's indexes are rebuilt after a crash; a retired one's are not.
            if at < last {
                for suffix in [".index", ".timeindex"] {
                    files.push(self.storage.open(&segment.path(suffix), OpenMode::Create)?);
                }
            }
        }
        let mut dirs = Vec::new();
        if std::mem::take(&mut self.names_dirty) {
            dirs.push(self.dir.to_path_buf());
            dirs.push(self.parent_directory().to_owned());
        }
        Ok(Some(FlushWork {
            storage: Arc::clone(&self.storage),
            files,
            dirs,
            up_to: self.log_end,
        }))
    }

    /// The work of `begin_flush` is on disk.
    pub fn finish_flush(&mut self, up_to: Offset) {
        // The log may have been cut meanwhile.
        self.flushed = self.flushed.max(up_to).min(self.log_end);
    }

    /// Whether `flush.messages` asks for a flush now.
    pub fn flush_is_due(&self) -> bool {
        self.log_end.0 - self.flushed.0 >= self.config.flush_messages
    }
}
