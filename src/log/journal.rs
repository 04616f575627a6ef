//! One file that many logs of a directory share, so that a flush of all of them is one write and one sync.
//!
//! Batches that are appended to their segments and not yet synced there are written here once more, in groups; a group
//! that is synced is safe. Two files take turns: when one is full the other is begun anew, once every log with batches
//! in it has been flushed by its own files. Owned by the directory's flusher; read by `journal_replay`.
//!
//! A group: magic, CRC32C of what follows the CRC, length of what follows the length, generation of the file,
//! number of the group in it, number of entries; then the entries. All numbers are big-endian. A file is read
//! from its start for as long as groups are whole and follow each other: what an earlier generation left
//! behind them does not count. Kafka passes over the files: they are not directories.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::block_writer::{BLOCK_BYTES, BlockWriter};
use super::flush::JournalPart;
use super::storage::{FileSystem, OpenMode, Storage, read_exact_at};
use crate::types::{Offset, PartitionId, TopicId};

pub(super) const MAGIC: u32 = 0x444a_4731;
/// Magic, CRC, length, generation, group, entries.
pub(super) const GROUP_HEADER_BYTES: usize = 4 + 4 + 4 + 8 + 4 + 4;
/// Where the CRC's and the length's reach begins.
pub(super) const CRC_FROM: usize = 8;
pub(super) const LENGTH_FROM: usize = 12;
/// Topic id, partition, kind, offset, length.
pub(super) const ENTRY_HEADER_BYTES: usize = 16 + 4 + 1 + 8 + 4;

/// Zeros are written so many at a time when a file is prepared. Where nobody waits for the file each is brought to
/// disk, with a pause behind: others are in a hurry for the disk.
const PREPARE_BYTES: usize = 1 << 20;
const PREPARE_PAUSE: Duration = Duration::from_millis(if cfg!(test) { 0 } else { 10 });

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    /// Batches from an offset on.
    Batches = 0,
    /// Earlier entries of this log no longer count: it is about to be cut.
    Void = 1,
}

impl EntryKind {
    pub(super) fn of(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(EntryKind::Batches),
            1 => Some(EntryKind::Void),
            _ => None,
        }
    }
}

pub(super) fn path(dir: &Path, which: usize) -> PathBuf {
    dir.join(format!("durable-{which}.journal"))
}

/// Whether a directory has ever had one.
pub(super) fn exists(storage: &dyn Storage, dir: &Path) -> bool {
    (0..2).any(|which| storage.exists(&path(dir, which)))
}

/// Why a group was not made safe.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Nothing was promised and nothing is known to be lost: the logs' own files may still take it.
    #[error("the journal cannot be written: {0}")]
    Write(io::Error),
    /// Nobody knows what the disk has: the directory cannot be trusted any more.
    #[error("the journal cannot be synced: {0}")]
    Sync(io::Error),
}

/// The journal of one log directory.
#[derive(Debug)]
pub struct Journal {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    /// Of one file.
    capacity: u64,
    active: usize,
    /// Of the active file; `None` until something is written to it.
    writer: Option<BlockWriter>,
    generation: u64,
    groups: u32,
    /// A sync failed: what comes behind that group might never be found.
    failed: bool,
}

impl Journal {
    /// The directory's journal files are empty or do not exist: see `journal_replay::discard`. Each must be prepared
    /// before it is written.
    pub fn new(storage: Arc<dyn Storage>, dir: PathBuf, capacity: u64) -> Self {
        Self {
            storage,
            dir,
            capacity,
            active: 0,
            writer: None,
            generation: 1,
            groups: 0,
            failed: false,
        }
    }

    /// Whether a group with such parts fits behind what is there. When it does not, the logs with batches in the
    /// *other* file must be settled, and then `switch` called.
    pub fn fits(&self, parts: usize, bytes: usize) -> bool {
        let group = GROUP_HEADER_BYTES + parts * ENTRY_HEADER_BYTES + bytes;
        self.position() + group as u64 <= self.capacity
    }

    /// Goes on at the start of the other file; what is in it is not needed any more.
    pub fn switch(&mut self) {
        self.active = 1 - self.active;
        self.writer = None;
        self.groups = 0;
        self.generation += 1;
    }

    /// Makes the parts safe, all or none. Blocks on the disk.
    pub fn write(&mut self, parts: &[&JournalPart]) -> Result<(), JournalError> {
        let group = self.begin_group()?;
        for part in parts {
            let id = (part.topic_id, part.partition);
            put_entry(group, id, EntryKind::Batches, part.from, part.len);
            let room = group.push_zeroes(part.bytes());
            read_exact_at(&*part.file, room, u64::from(part.position))
                .map_err(JournalError::Write)?;
        }
        self.finish_group(parts.len())
    }

    /// From here on no earlier entry of this log counts. For a log that is about to be cut, and whose own files
    /// have all that is to stay.
    pub fn void(&mut self, topic_id: TopicId, partition: PartitionId) -> Result<(), JournalError> {
        let group = self.begin_group()?;
        let id = (topic_id, partition);
        put_entry(group, id, EntryKind::Void, Offset::ZERO, 0);
        self.finish_group(1)
    }

    /// One that was begun before and not finished is forgotten.
    fn begin_group(&mut self) -> Result<&mut BlockWriter, JournalError> {
        if self.failed {
            let before = io::Error::other("an earlier sync of it failed");
            return Err(JournalError::Sync(before));
        }
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => {
                let path = path(&self.dir, self.active);
                let file = self.storage.open(&path, OpenMode::Unbuffered);
                BlockWriter::behind(file.map_err(JournalError::Write)?, &[])
            }
        };
        let writer = self.writer.insert(writer);
        writer.discard();
        writer.push_zeroes(GROUP_HEADER_BYTES);
        Ok(writer)
    }

    fn finish_group(&mut self, entries: usize) -> Result<(), JournalError> {
        let too_long = || JournalError::Write(io::Error::other("a group is too long"));
        let begun = self.writer.as_mut();
        let writer = begun.ok_or_else(|| JournalError::Write(io::ErrorKind::NotFound.into()))?;
        let group = writer.pushed();
        let length = u32::try_from(group.len() - LENGTH_FROM).map_err(|_| too_long())?;
        let entries = u32::try_from(entries).map_err(|_| too_long())?;
        let mut header = Vec::with_capacity(GROUP_HEADER_BYTES);
        header.extend_from_slice(&MAGIC.to_be_bytes());
        header.extend_from_slice(&[0; 4]);
        header.extend_from_slice(&length.to_be_bytes());
        header.extend_from_slice(&self.generation.to_be_bytes());
        header.extend_from_slice(&self.groups.to_be_bytes());
        header.extend_from_slice(&entries.to_be_bytes());
        if let Some(place) = group.get_mut(..GROUP_HEADER_BYTES) {
            place.copy_from_slice(&header);
        }
        let crc = crc32c::crc32c(group.get(CRC_FROM..).unwrap_or_default());
        if let Some(place) = group.get_mut(4..CRC_FROM) {
            place.copy_from_slice(&crc.to_be_bytes());
        }
        writer.write(0).map_err(JournalError::Write)?;
        if let Err(error) = writer.file().sync_data() {
            self.failed = true;
            return Err(JournalError::Sync(error));
        }
        self.groups += 1;
        Ok(())
    }

    /// Behind the last group of the active file.
    fn position(&self) -> u64 {
        self.writer.as_ref().map_or(0, BlockWriter::position)
    }

    /// Which of the two files is written now.
    pub fn active(&self) -> usize {
        self.active
    }

    /// How full the active file is.
    pub fn filled_percent(&self) -> u64 {
        self.position() * 100 / self.capacity.max(1)
    }

    /// The disk that the journal and its logs are on; `None` where it cannot be synced as a whole.
    pub fn file_system(&self) -> Option<Arc<dyn FileSystem>> {
        self.storage.file_system(&self.dir).ok()
    }

    /// What makes a file ready to be written: its name and its whole length are brought to disk, as a sync is
    /// cheap only where it changes no more than what is in a file. To be done once, away from what is in a hurry.
    pub fn preparation(
        &self,
        which: usize,
        hurry: bool,
    ) -> impl FnOnce() -> io::Result<()> + Send + Sync + use<> {
        let (storage, dir) = (Arc::clone(&self.storage), self.dir.clone());
        let capacity = self.capacity.next_multiple_of(BLOCK_BYTES as u64);
        move || {
            let file = storage.open(&path(&dir, which), OpenMode::Create)?;
            let zeros = vec![0; PREPARE_BYTES];
            let mut position = file.len()?;
            while position < capacity {
                let left = usize::try_from(capacity - position).unwrap_or(PREPARE_BYTES);
                let chunk = zeros.get(..left.min(PREPARE_BYTES)).unwrap_or(&zeros);
                file.write_at(&mut [IoSlice::new(chunk)], position)?;
                position += chunk.len() as u64;
                if !hurry {
                    file.sync_data()?;
                    std::thread::sleep(PREPARE_PAUSE);
                }
            }
            file.sync_data()?;
            storage.sync_dir(&dir)
        }
    }
}

fn put_entry(
    group: &mut BlockWriter,
    (topic_id, partition): (TopicId, PartitionId),
    kind: EntryKind,
    from: Offset,
    len: u32,
) {
    group.push(topic_id.0.as_bytes());
    group.push(&partition.0.to_be_bytes());
    group.push(&[kind as u8]);
    group.push(&from.0.to_be_bytes());
    group.push(&len.to_be_bytes());
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
