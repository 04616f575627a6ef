//! What a leader can make of a follower's history: cut its end off, or replace all of it.
//!
//! A truncation takes segments away newest first and then renames a shorter copy over the one that is left: at no
//! moment is there a hole. An installed snapshot begins a generation: its own rename is the one moment at which
//! the old history ends, since the names of the old files are of an older generation from then on.

use crate::log::storage::write_atomically;
use crate::types::Zxid;
use crate::zab::Snapshot;
use crate::zab_log::place::Place;
use crate::zab_log::segment::{self, Header};
use crate::zab_log::{SegmentInfo, ZabLog, ZabLogError, snapshot};

impl ZabLog {
    /// Nothing behind `zxid` is there afterwards, and none of it comes back.
    pub(super) fn truncate(&mut self, zxid: Zxid) -> Result<(), ZabLogError> {
        if let Some(snapshot) = self.snapshots.back().filter(|taken| **taken > zxid) {
            return Err(ZabLogError::IntoSnapshot {
                zxid,
                snapshot: *snapshot,
            });
        }
        while let Some(segment) = self.segments.pop_back_if(|segment| segment.first > zxid) {
            self.open = None;
            self.remove(&segment.path)?;
            // One by one: the newest must not outlive its neighbour.
            self.sync_dir()?;
            self.bytes_since_snapshot = self.bytes_since_snapshot.saturating_sub(segment.bytes);
        }
        let Some(segment) = self.segments.back().filter(|segment| segment.last > zxid) else {
            return Ok(());
        };
        let segment = segment.clone();
        self.open = None;
        let (bytes, header) = self.read_segment(&segment)?;
        let cut = segment::cut(&bytes, header.salt, zxid);
        write_atomically(&*self.storage, &segment.path, &cut)
            .map_err(|error| ZabLogError::io(&segment.path, error))?;
        let last = segment::scan(&cut, header.salt)
            .proposals
            .last()
            .map(|p| p.zxid);
        let gone = segment.bytes.saturating_sub(cut.len() as u64);
        self.bytes_since_snapshot = self.bytes_since_snapshot.saturating_sub(gone);
        if let Some(info) = self.segments.back_mut() {
            info.last = last.unwrap_or(zxid);
            info.bytes = cut.len() as u64;
        }
        Ok(())
    }

    /// The snapshot instead of everything that is there.
    pub(super) fn install(&mut self, snapshot: &Snapshot) -> Result<(), ZabLogError> {
        let generation = self.generation.checked_add(1).ok_or(ZabLogError::Failed)?;
        let zxid = snapshot.zxid;
        let path = self
            .dir
            .join(Place { generation, zxid }.name(snapshot::PREFIX));
        write_atomically(
            &*self.storage,
            &path,
            &snapshot::encode(generation, snapshot),
        )
        .map_err(|error| ZabLogError::io(&path, error))?;
        let before = std::mem::replace(&mut self.generation, generation);
        self.open = None;
        self.bytes_since_snapshot = 0;
        // What is below counts no more; should it not be gone before a crash, the next start removes it.
        for segment in std::mem::take(&mut self.segments) {
            self.remove(&segment.path)?;
        }
        for zxid in std::mem::replace(&mut self.snapshots, [zxid].into()) {
            self.remove_snapshot(Place {
                generation: before,
                zxid,
            })?;
        }
        Ok(())
    }

    fn read_segment(&self, segment: &SegmentInfo) -> Result<(Vec<u8>, Header), ZabLogError> {
        let bytes = snapshot::read_file(&*self.storage, &segment.path)
            .map_err(|error| ZabLogError::io(&segment.path, error))?;
        let header = Header::decode(&bytes)
            .map_err(|_| ZabLogError::damaged(&segment.path, "its header is damaged"))?;
        Ok((bytes, header))
    }

    fn sync_dir(&self) -> Result<(), ZabLogError> {
        self.storage
            .sync_dir(&self.dir)
            .map_err(|error| ZabLogError::io(&self.dir, error))
    }
}
