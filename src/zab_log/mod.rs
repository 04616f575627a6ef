//! What a ZAB peer has on disk: the proposal log in segments, snapshots, and the files
//! `acceptedEpoch` and `currentEpoch`; all in the directory `zab` of the first log directory.
//!
//! Every `persist` is durable when it returns. Proposals that came together are one write and one
//! `fdatasync`, past the page cache and into space that was written with zeroes before: a flush that does not make the
//! file grow is cheaper. After an error nothing more is accepted: a flush that failed is never tried
//! again. Which proposals are committed is not known here.
//!
//! Wherever a crash comes, what is there afterwards is the history before a write or the one after it;
//! in the middle of a truncation it may be cut less than it was to be.

mod place;
pub mod recovery;
mod rewrite;
pub mod segment;
pub mod snapshot;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::log::block_writer::BlockWriter;
use crate::log::storage::{Lock, OpenMode, Storage, write_atomically};
use crate::types::Zxid;
use crate::zab::{Proposal, Write};
use place::Place;

pub use recovery::{Opened, ZabLogError};
pub use snapshot::SnapshotWriter;

const ACCEPTED_EPOCH: &str = "acceptedEpoch";
const CURRENT_EPOCH: &str = "currentEpoch";
const LOCK: &str = ".lock";
const LOG_PREFIX: &str = "log.";
/// A segment that is longer is followed by another.
const SEGMENT_BYTES: u64 = 16 << 20;
/// One flush in this many bytes makes a file grow; in a long file it is so much of its length, but no more than so
/// many times as much, for whoever waits for that flush.
const PREALLOCATED_BYTES: usize = 64 << 10;
const PREALLOCATED_SHARE: u64 = 4;
const PREALLOCATED_MOST: usize = 8;
/// An older snapshot stays, with the log behind it, in case the newest cannot be read.
const KEPT_SNAPSHOTS: usize = 2;

#[derive(Debug)]
pub struct ZabLog {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    salt: u32,
    /// Of all files that count.
    generation: u32,
    /// Oldest first; the last one is written to.
    segments: VecDeque<SegmentInfo>,
    open: Option<OpenSegment>,
    /// Oldest first.
    snapshots: VecDeque<Zxid>,
    /// Of the snapshot that is being taken.
    taking: Option<u32>,
    bytes_since_snapshot: u64,
    /// How much is written ahead with zeroes.
    preallocated: usize,
    failed: bool,
    /// Against another process.
    _lock: Lock,
}

#[derive(Debug, Clone)]
struct SegmentInfo {
    path: PathBuf,
    first: Zxid,
    last: Zxid,
    bytes: u64,
}

#[derive(Debug)]
struct OpenSegment {
    writer: BlockWriter,
    salt: u32,
    /// Up to where the file was written, with batches or zeroes.
    written: u64,
}

impl ZabLog {
    /// All of it, in order; durable when it returns.
    pub fn persist(&mut self, writes: &[Write]) -> Result<(), ZabLogError> {
        if self.failed {
            return Err(ZabLogError::Failed);
        }
        let written = writes.iter().try_for_each(|write| self.persist_one(write));
        self.failed = written.is_err();
        written
    }

    fn persist_one(&mut self, write: &Write) -> Result<(), ZabLogError> {
        match write {
            Write::AcceptedEpoch(epoch) => self.write_epoch(ACCEPTED_EPOCH, *epoch),
            Write::CurrentEpoch(epoch) => self.write_epoch(CURRENT_EPOCH, *epoch),
            Write::Append(proposals) => self.append(proposals),
            Write::Truncate(zxid) => self.truncate(*zxid),
            Write::Install(snapshot) => self.install(snapshot),
        }
    }

    fn write_epoch(&self, name: &str, epoch: u32) -> Result<(), ZabLogError> {
        let path = self.dir.join(name);
        write_atomically(&*self.storage, &path, format!("{epoch}\n").as_bytes())
            .map_err(|error| ZabLogError::io(&path, error))
    }

    fn append(&mut self, proposals: &[Proposal]) -> Result<(), ZabLogError> {
        let (Some(first), Some(last)) = (proposals.first(), proposals.last()) else {
            return Ok(());
        };
        let size: usize = proposals.iter().map(|p| p.payload.len() + 12).sum();
        if size > segment::MAX_BODY_LEN {
            return Err(ZabLogError::TooLarge(size));
        }
        if self.open.as_ref().is_none_or(OpenSegment::is_full) {
            self.roll(first.zxid)?;
        }
        let (Some(open), Some(info)) = (self.open.as_mut(), self.segments.back_mut()) else {
            return Err(ZabLogError::Failed);
        };
        let before = open.position();
        open.append(proposals, self.preallocated)
            .map_err(|error| ZabLogError::io(&info.path, error))?;
        self.bytes_since_snapshot += open.position() - before;
        info.bytes = open.position();
        info.last = last.zxid;
        Ok(())
    }

    /// Begins the segment that starts with `first`. Its header is durable before a batch is in it.
    fn roll(&mut self, first: Zxid) -> Result<(), ZabLogError> {
        let place = Place {
            generation: self.generation,
            zxid: first,
        };
        let path = self.dir.join(place.name(LOG_PREFIX));
        let salt = segment::crc_of(&[&self.salt.to_le_bytes(), &first.0.to_le_bytes()]);
        let header = segment::Header {
            salt,
            first,
            generation: self.generation,
        };
        let open = self
            .create(&path, header)
            .map_err(|error| ZabLogError::io(&path, error))?;
        self.open = Some(open);
        self.segments.push_back(SegmentInfo {
            path,
            first,
            last: Zxid::ZERO,
            bytes: 0,
        });
        Ok(())
    }

    fn create(&self, path: &Path, header: segment::Header) -> io::Result<OpenSegment> {
        let file = self.storage.open(path, OpenMode::Create)?;
        let bytes = header.encode();
        let zeroes = vec![0; self.preallocated.saturating_sub(bytes.len())];
        file.truncate(0)?;
        file.write_at(&mut [IoSlice::new(&bytes), IoSlice::new(&zeroes)], 0)?;
        file.sync_data()?;
        self.storage.sync_dir(&self.dir)?;
        let written = (bytes.len() + zeroes.len()) as u64;
        OpenSegment::open(&*self.storage, path, header.salt, &bytes, written)
    }

    /// The log that a restart would replay, in bytes.
    pub fn bytes_since_snapshot(&self) -> u64 {
        self.bytes_since_snapshot
    }

    /// How much is written ahead with zeroes.
    #[cfg(test)]
    pub(crate) fn preallocate(&mut self, bytes: usize) {
        self.preallocated = bytes;
    }

    pub fn snapshot_writer(&self) -> SnapshotWriter {
        SnapshotWriter::new(self.storage.clone(), self.dir.clone(), self.generation)
    }

    /// A snapshot is about to be taken: what comes now goes to a segment of its own, so that those
    /// before can go once the snapshot is there.
    pub fn before_snapshot(&mut self) {
        self.open = None;
        self.bytes_since_snapshot = 0;
        self.taking = Some(self.generation);
    }

    /// The snapshot is durable: removes what no restart needs any more.
    pub fn after_snapshot(&mut self, zxid: Zxid) -> Result<(), ZabLogError> {
        let generation = self.taking.take().unwrap_or(self.generation);
        if generation != self.generation {
            // A leader's was installed meanwhile: this one is of a history that is over.
            return self.remove_snapshot(Place { generation, zxid });
        }
        if self.snapshots.back() != Some(&zxid) {
            // One at the same place has replaced the one before.
            self.snapshots.push_back(zxid);
        }
        while self.snapshots.len() > KEPT_SNAPSHOTS {
            if let Some(zxid) = self.snapshots.pop_front() {
                self.remove_snapshot(Place { generation, zxid })?;
            }
        }
        let Some(oldest) = self.snapshots.front().copied() else {
            return Ok(());
        };
        if self.snapshots.len() < KEPT_SNAPSHOTS {
            // The only one there is: the log is the spare.
            return Ok(());
        }
        while self.segments.len() > 1 {
            match self.segments.front() {
                Some(segment) if segment.last <= oldest => self.remove(&segment.path.clone())?,
                _ => break,
            }
            self.segments.pop_front();
        }
        Ok(())
    }

    fn remove_snapshot(&self, place: Place) -> Result<(), ZabLogError> {
        self.remove(&self.dir.join(place.name(snapshot::PREFIX)))
    }

    fn remove(&self, path: &Path) -> Result<(), ZabLogError> {
        self.storage
            .remove_file(path)
            .map_err(|error| ZabLogError::io(path, error))
    }
}

impl OpenSegment {
    /// `so_far` is all that counts in the file, which is `written` bytes long.
    fn open(
        storage: &dyn Storage,
        path: &Path,
        salt: u32,
        so_far: &[u8],
        written: u64,
    ) -> io::Result<Self> {
        let file = storage.open(path, OpenMode::Unbuffered)?;
        Ok(Self {
            writer: BlockWriter::behind(file, so_far),
            salt,
            written,
        })
    }

    /// Where the next batch goes.
    fn position(&self) -> u64 {
        self.writer.position()
    }

    fn is_full(&self) -> bool {
        self.position() >= SEGMENT_BYTES
    }

    fn append(&mut self, proposals: &[Proposal], preallocated: usize) -> io::Result<()> {
        let mut batch = Vec::new();
        segment::encode_batch(self.salt, proposals, &mut batch);
        self.writer.push(&batch);
        let end = self.position() + batch.len() as u64;
        let zeroes = if end > self.written {
            // The file grows: by more than this batch, so that the next ones find it written.
            written_ahead(self.position(), preallocated)
        } else {
            0
        };
        let written_to = self.writer.write(zeroes)?;
        self.written = self.written.max(written_to);
        self.writer.file().sync_data()
    }
}

/// The more there is, the more will come: a long segment grows in as few steps as a short one.
fn written_ahead(position: u64, least: usize) -> usize {
    let share = usize::try_from(position / PREALLOCATED_SHARE).unwrap_or(least);
    share.clamp(least, least * PREALLOCATED_MOST)
}

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod history_crash_tests;
#[cfg(test)]
mod tests;
