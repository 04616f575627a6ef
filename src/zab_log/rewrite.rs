//! What a leader can make of a follower's history: cut its end off, or replace all of it. And what a leader
//! reads back out of its own.
//!
//! A truncation takes segments away newest first and then renames a shorter copy over the one that is left: at no
//! moment is there a hole. An installed snapshot begins a generation: its own rename is the one moment at which
//! the old history ends, since the names of the old files are of an older generation from then on.

use crate::log::storage::write_atomically;
use crate::types::Zxid;
use crate::zab::{Proposal, Snapshot, follows};
use crate::zab_log::place::Place;
use crate::zab_log::segment::{self, Header, Tail};
use crate::zab_log::{SegmentInfo, ZabLog, ZabLogError, snapshot};

/// Proposals behind each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// What the first of them follows.
    pub after: Zxid,
    pub proposals: Vec<Proposal>,
}

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

    /// What comes behind `after`, up to about `max_bytes` of payloads but one proposal at least; to be asked for again
    /// from the last one on. The stretch follows an earlier zxid than `after` when the history does not have that
    /// one: then a learner that does has to cut its own back to there. `None`: the log does not
    /// reach back so far.
    pub fn read_from(&self, after: Zxid, max_bytes: usize) -> Result<Option<Stretch>, ZabLogError> {
        let Some(mut last) = self.beginning(after) else {
            return Ok(None);
        };
        let mut stretch = Stretch {
            after: last,
            proposals: Vec::new(),
        };
        let mut bytes = 0;
        for segment in &self.segments {
            if segment.last <= after {
                last = segment.last;
                stretch.after = last;
                continue;
            }
            for proposal in self.proposals_of(segment)? {
                let zxid = proposal.zxid;
                if zxid <= after {
                    stretch.after = zxid;
                } else if !follows(last, zxid) {
                    return Err(ZabLogError::hole(&segment.path, last, zxid));
                } else if bytes < max_bytes || stretch.proposals.is_empty() {
                    bytes += proposal.payload.len();
                    stretch.proposals.push(proposal);
                } else {
                    return Ok(Some(stretch));
                }
                last = zxid;
            }
        }
        Ok(Some(stretch))
    }

    /// Where a stretch from `after` begins as far as that is known without reading; `None`: what follows `after` may be gone.
    fn beginning(&self, after: Zxid) -> Option<Zxid> {
        let oldest = self.snapshots.front().copied().unwrap_or(Zxid::ZERO);
        if oldest <= after {
            return Some(oldest);
        }
        let first = self.segments.front()?.first;
        // Before the first of an epoch there may have been anything.
        let directly_before = first.counter() > 1 && after.0 + 1 == first.0;
        (first <= after || directly_before).then_some(after)
    }

    fn proposals_of(&self, segment: &SegmentInfo) -> Result<Vec<Proposal>, ZabLogError> {
        let (bytes, header) = self.read_segment(segment)?;
        let scanned = segment::scan(&bytes, header.salt);
        let whole = scanned.tail == Tail::Clean;
        if !whole
            || scanned
                .proposals
                .last()
                .is_none_or(|p| p.zxid != segment.last)
        {
            let why = format!("it ended at byte {}, and more was written", scanned.end);
            return Err(ZabLogError::damaged(&segment.path, why));
        }
        Ok(scanned.proposals)
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
