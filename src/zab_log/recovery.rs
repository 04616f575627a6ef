//! Opening a peer's directory: what is whole is taken, a torn end is cut off, damage is refused.
//!
//! Refusing is the only safe answer to damage: what is missing may have been committed, and a
//! server that starts without it would bring deleted topics back or hand out producer ids twice.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::log::storage::{OpenMode, Storage};
use crate::types::Zxid;
use crate::zab::{Proposal, Recovered, follows};
use crate::zab_log::segment::{self, Header, HeaderError, Tail};
use crate::zab_log::{
    ACCEPTED_EPOCH, CURRENT_EPOCH, LOCK, LOG_PREFIX, OpenSegment, PREALLOCATED_BYTES, SegmentInfo,
    ZabLog, snapshot, zxid_of_name,
};

#[derive(Debug, thiserror::Error)]
pub enum ZabLogError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "the metadata in {} is damaged: {why}. The server does not start, for committed changes would be lost. Put the file back from a backup; in an ensemble of several servers, remove the directory {} and the server takes everything from the others",
        path.display(), dir.display()
    )]
    Damaged {
        path: PathBuf,
        dir: PathBuf,
        why: String,
    },
    #[error("{} was written by a newer version ({version}): start that version", path.display())]
    Version { path: PathBuf, version: u32 },
    #[error("log.dirs: {} is in use by another process", .0.display())]
    InUse(PathBuf),
    #[error("{0} bytes of metadata changes are too many for one write")]
    TooLarge(usize),
    #[error("the metadata log failed before and takes nothing more until a restart")]
    Failed,
}

impl ZabLogError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    fn damaged(path: &Path, why: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            dir: path.parent().unwrap_or(path).to_owned(),
            why: why.into(),
        }
    }
}

/// A directory, opened.
#[derive(Debug)]
pub struct Opened {
    pub log: ZabLog,
    pub recovered: Recovered,
    /// The body of the newest snapshot that can be read.
    pub snapshot: Option<Vec<u8>>,
}

impl ZabLog {
    /// Makes the directory when it does not exist. `salt` is random.
    pub fn open(storage: Arc<dyn Storage>, dir: &Path, salt: u32) -> Result<Opened, ZabLogError> {
        let at_dir = |error| ZabLogError::io(dir, error);
        if !storage.exists(dir) {
            storage.create_dir_all(dir).map_err(at_dir)?;
            if let Some(parent) = dir.parent() {
                storage.sync_dir(parent).map_err(at_dir)?;
            }
        }
        let lock = storage
            .lock(&dir.join(LOCK))
            .map_err(at_dir)?
            .ok_or_else(|| ZabLogError::InUse(dir.to_owned()))?;
        let mut names = Names::list(&*storage, dir)?;
        let (snapshot_zxid, snapshot) = newest_snapshot(&*storage, dir, &names.snapshots)?;
        names.snapshots.retain(|zxid| *zxid <= snapshot_zxid);
        let mut reader = LogReader {
            storage: &*storage,
            recovered: Recovered {
                accepted_epoch: read_epoch(&*storage, &dir.join(ACCEPTED_EPOCH))?,
                current_epoch: read_epoch(&*storage, &dir.join(CURRENT_EPOCH))?,
                snapshot: snapshot_zxid,
                proposals: Vec::new(),
            },
            last: Zxid::ZERO,
            bytes: 0,
        };
        let mut segments = VecDeque::new();
        let mut open = None;
        for (index, (first, path)) in names.segments.iter().enumerate() {
            let is_last = index + 1 == names.segments.len();
            let Some(read) = reader.read(*first, path, is_last)? else {
                storage
                    .remove_file(path)
                    .map_err(|error| ZabLogError::io(path, error))?;
                continue;
            };
            segments.push_back(SegmentInfo {
                path: path.clone(),
                last: reader.last,
            });
            open = Some(read);
        }
        reader.check_epochs(dir)?;
        let (recovered, bytes_since_snapshot) = (reader.recovered, reader.bytes);
        let log = ZabLog {
            storage,
            dir: dir.to_owned(),
            salt,
            segments,
            open,
            snapshots: names.snapshots.into(),
            bytes_since_snapshot,
            preallocated: PREALLOCATED_BYTES,
            failed: false,
            _lock: lock,
        };
        Ok(Opened {
            log,
            recovered,
            snapshot,
        })
    }
}

/// The files of a peer, by their zxids.
struct Names {
    segments: Vec<(Zxid, PathBuf)>,
    snapshots: Vec<Zxid>,
}

impl Names {
    fn list(storage: &dyn Storage, dir: &Path) -> Result<Self, ZabLogError> {
        let mut segments = Vec::new();
        let mut snapshots = Vec::new();
        let entries = storage
            .list(dir)
            .map_err(|error| ZabLogError::io(dir, error))?;
        for entry in entries {
            let path = dir.join(&entry.name);
            if entry.name.ends_with(".tmp") {
                // An atomic write that a crash cut short.
                storage
                    .remove_file(&path)
                    .map_err(|error| ZabLogError::io(&path, error))?;
            } else if let Some(zxid) = zxid_of_name(&entry.name, LOG_PREFIX) {
                segments.push((zxid, path));
            } else if let Some(zxid) = snapshot::zxid_of_name(&entry.name) {
                snapshots.push(zxid);
            }
        }
        segments.sort();
        snapshots.sort();
        Ok(Self {
            segments,
            snapshots,
        })
    }
}

fn newest_snapshot(
    storage: &dyn Storage,
    dir: &Path,
    snapshots: &[Zxid],
) -> Result<(Zxid, Option<Vec<u8>>), ZabLogError> {
    for zxid in snapshots.iter().rev() {
        let path = dir.join(snapshot::file_name(*zxid));
        let bytes =
            snapshot::read_file(storage, &path).map_err(|error| ZabLogError::io(&path, error))?;
        match snapshot::decode(*zxid, &bytes) {
            Ok(body) => return Ok((*zxid, Some(body.to_vec()))),
            // Whether the log makes up for it shows when the log is read.
            Err(why) => tracing::warn!(
                "the metadata snapshot {} cannot be used: {why}; an older one is taken",
                path.display()
            ),
        }
    }
    Ok((Zxid::ZERO, None))
}

fn read_epoch(storage: &dyn Storage, path: &Path) -> Result<u32, ZabLogError> {
    if !storage.exists(path) {
        return Ok(0);
    }
    let bytes = snapshot::read_file(storage, path).map_err(|error| ZabLogError::io(path, error))?;
    std::str::from_utf8(&bytes)
        .ok()
        .and_then(|text| text.trim_end().parse().ok())
        .ok_or_else(|| ZabLogError::damaged(path, "it does not hold an epoch"))
}

struct LogReader<'a> {
    storage: &'a dyn Storage,
    recovered: Recovered,
    /// The last proposal read, needed or not.
    last: Zxid,
    /// Of segments that hold something newer than the snapshot.
    bytes: u64,
}

impl LogReader<'_> {
    /// `None` when nothing was ever durable in the segment.
    fn read(
        &mut self,
        first: Zxid,
        path: &Path,
        is_last: bool,
    ) -> Result<Option<OpenSegment>, ZabLogError> {
        let at_path = |error| ZabLogError::io(path, error);
        let bytes = snapshot::read_file(self.storage, path).map_err(at_path)?;
        let header = match Header::decode(&bytes) {
            Ok(header) => header,
            Err(HeaderError::Unfinished) if is_last => return Ok(None),
            Err(HeaderError::Version(version)) => {
                let path = path.to_owned();
                return Err(ZabLogError::Version { path, version });
            }
            Err(_) => return Err(ZabLogError::damaged(path, "its header is damaged")),
        };
        if header.first != first {
            return Err(ZabLogError::damaged(path, "its name is not its own"));
        }
        let scanned = segment::scan(&bytes, header.salt);
        if let Tail::Damaged { good_again } = scanned.tail {
            let why = format!(
                "bytes {} to {good_again} are bad, and good ones follow",
                scanned.end
            );
            return Err(ZabLogError::damaged(path, why));
        }
        if scanned.proposals.is_empty() && is_last {
            // The next batch may begin another epoch, and then this would not be its name.
            return Ok(None);
        }
        self.take(first, scanned.proposals, path)?;
        let file = self.storage.open(path, OpenMode::Write).map_err(at_path)?;
        let end = scanned.end as u64;
        let mut written = bytes.len() as u64;
        if scanned.tail == Tail::Torn {
            if !is_last {
                let why = format!("it ends at byte {end}, and another segment follows");
                return Err(ZabLogError::damaged(path, why));
            }
            // Nobody was told that it is durable. It goes before anything is written over it.
            tracing::info!("cut the metadata log {} off at byte {end}", path.display());
            file.truncate(end).map_err(at_path)?;
            file.sync_data().map_err(at_path)?;
            written = end;
        }
        if self.last > self.recovered.snapshot {
            self.bytes += end;
        }
        Ok(Some(OpenSegment {
            file,
            salt: header.salt,
            position: end,
            written,
        }))
    }

    /// Proposals come without a hole, from the snapshot on.
    fn take(
        &mut self,
        first: Zxid,
        proposals: Vec<Proposal>,
        path: &Path,
    ) -> Result<(), ZabLogError> {
        if proposals.first().is_none_or(|p| p.zxid != first) {
            return Err(ZabLogError::damaged(
                path,
                "it does not begin as its name says",
            ));
        }
        for proposal in proposals {
            let zxid = proposal.zxid;
            // Below the snapshot a file may be gone that was to be removed with its neighbours.
            let expected = self.last.max(self.recovered.snapshot);
            let in_order = if zxid <= self.recovered.snapshot {
                zxid > self.last
            } else {
                follows(expected, zxid)
            };
            if !in_order {
                let why =
                    format!("{zxid:#x} follows {expected:#x}, and what is between is missing");
                return Err(ZabLogError::damaged(path, why));
            }
            self.last = zxid;
            if zxid > self.recovered.snapshot {
                self.recovered.proposals.push(proposal);
            }
        }
        Ok(())
    }

    /// An epoch is accepted before it is current, and current before it has proposals.
    fn check_epochs(&self, dir: &Path) -> Result<(), ZabLogError> {
        let Recovered {
            accepted_epoch,
            current_epoch,
            snapshot,
            ..
        } = self.recovered;
        let newest = self.last.max(snapshot).epoch();
        if newest > current_epoch {
            let why = format!("it says {current_epoch}, but there are proposals of epoch {newest}");
            return Err(ZabLogError::damaged(&dir.join(CURRENT_EPOCH), why));
        }
        if current_epoch > accepted_epoch {
            let why = format!("it says {accepted_epoch}, but epoch {current_epoch} is current");
            return Err(ZabLogError::damaged(&dir.join(ACCEPTED_EPOCH), why));
        }
        Ok(())
    }
}
