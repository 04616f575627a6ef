//! Opening a peer's directory: what is whole is taken, a torn end is cut off, damage is refused.
//!
//! Files of an older generation than the newest snapshot's are what a crash left of a history that was replaced: they
//! go. Refusing is the only safe answer to damage: what is missing may have been committed, and a
//! server that starts without it would bring deleted topics back or hand out producer ids twice.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::log::storage::{OpenMode, Storage};
use crate::types::Zxid;
use crate::zab::{Proposal, Recovered, Voters, follows};
use crate::zab_log::place::Place;
use crate::zab_log::segment::{self, Header, HeaderError, Tail};
use crate::zab_log::{
    ACCEPTED_EPOCH, CURRENT_EPOCH, LOCK, LOG_PREFIX, OpenSegment, PREALLOCATED_BYTES, SegmentInfo,
    ZabLog, snapshot,
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
    #[error(
        "the history cannot be cut back to {zxid:#x}: it is in the snapshot at {snapshot:#x}, and so it was committed"
    )]
    IntoSnapshot { zxid: Zxid, snapshot: Zxid },
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

    pub(super) fn damaged(path: &Path, why: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            dir: path.parent().unwrap_or(path).to_owned(),
            why: why.into(),
        }
    }

    pub(super) fn hole(path: &Path, before: Zxid, next: Zxid) -> Self {
        let why = format!("{next:#x} follows {before:#x}, and what is between is missing");
        Self::damaged(path, why)
    }
}

/// A directory, opened.
#[derive(Debug)]
pub struct Opened {
    pub log: ZabLog,
    pub recovered: Recovered,
    /// The body of the newest snapshot that can be read.
    pub snapshot: Option<Bytes>,
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
        let names = Names::list(&*storage, dir)?;
        let newest = names.newest_snapshot(&*storage, dir)?;
        names.remove_older_generations(&*storage, dir)?;
        let mut reader = LogReader {
            storage: &*storage,
            recovered: Recovered {
                accepted_epoch: read_epoch(&*storage, &dir.join(ACCEPTED_EPOCH))?,
                current_epoch: read_epoch(&*storage, &dir.join(CURRENT_EPOCH))?,
                snapshot: newest.zxid,
                voters: newest.voters,
                proposals: Vec::new(),
            },
            generation: names.generation,
            last: Zxid::ZERO,
            bytes: 0,
        };
        let mut segments = VecDeque::new();
        let mut open = None;
        let counting: Vec<Zxid> = names.of_generation(&names.segments).collect();
        for (index, first) in counting.iter().copied().enumerate() {
            let is_last = index + 1 == counting.len();
            let path = dir.join(names.place(first).name(LOG_PREFIX));
            let Some(read) = reader.read(first, &path, is_last)? else {
                remove(&*storage, &path)?;
                continue;
            };
            segments.push_back(SegmentInfo {
                path,
                first,
                last: reader.last,
                bytes: read.position(),
            });
            open = Some(read);
        }
        reader.check_epochs(dir)?;
        // A process that was killed may have left what no flush was over for. From here on it is relied upon.
        if let Some(open) = &open {
            open.writer.file().sync_data().map_err(at_dir)?;
        }
        storage.sync_dir(dir).map_err(at_dir)?;
        let (recovered, bytes_since_snapshot) = (reader.recovered, reader.bytes);
        let log = ZabLog {
            storage,
            dir: dir.to_owned(),
            salt,
            generation: names.generation,
            segments,
            open,
            snapshots: names
                .of_generation(&names.snapshots)
                .filter(|zxid| *zxid <= newest.zxid)
                .collect(),
            taking: None,
            bytes_since_snapshot,
            preallocated: PREALLOCATED_BYTES,
            failed: false,
            _lock: lock,
        };
        Ok(Opened {
            log,
            recovered,
            snapshot: newest.body,
        })
    }
}

/// The files of a peer.
struct Names {
    segments: Vec<Place>,
    snapshots: Vec<Place>,
    /// Of the newest snapshot: only files of it count.
    generation: u32,
}

/// The newest snapshot that can be read.
#[derive(Default)]
struct Newest {
    zxid: Zxid,
    voters: Option<Voters>,
    body: Option<Bytes>,
}

impl Names {
    fn list(storage: &dyn Storage, dir: &Path) -> Result<Self, ZabLogError> {
        let mut segments = Vec::new();
        let mut snapshots = Vec::new();
        let entries = storage
            .list(dir)
            .map_err(|error| ZabLogError::io(dir, error))?;
        for entry in entries {
            if entry.name.ends_with(".tmp") {
                // An atomic write that a crash cut short.
                remove(storage, &dir.join(&entry.name))?;
            } else if let Some(place) = Place::of_name(&entry.name, LOG_PREFIX) {
                segments.push(place);
            } else if let Some(place) = Place::of_name(&entry.name, snapshot::PREFIX) {
                snapshots.push(place);
            }
        }
        segments.sort();
        snapshots.sort();
        Ok(Self {
            segments,
            generation: snapshots.last().map_or(0, |newest| newest.generation),
            snapshots,
        })
    }

    fn place(&self, zxid: Zxid) -> Place {
        Place {
            generation: self.generation,
            zxid,
        }
    }

    /// Those that count, in order.
    fn of_generation(&self, places: &[Place]) -> impl Iterator<Item = Zxid> {
        let counts = |place: &&Place| place.generation == self.generation;
        places.iter().filter(counts).map(|place| place.zxid)
    }

    fn newest_snapshot(&self, storage: &dyn Storage, dir: &Path) -> Result<Newest, ZabLogError> {
        let mut unreadable = None;
        let snapshots: Vec<Zxid> = self.of_generation(&self.snapshots).collect();
        for zxid in snapshots.into_iter().rev() {
            let path = dir.join(self.place(zxid).name(snapshot::PREFIX));
            let bytes = snapshot::read_file(storage, &path)
                .map_err(|error| ZabLogError::io(&path, error))?;
            match snapshot::decode(self.place(zxid), &bytes) {
                Ok((voters, body)) => {
                    return Ok(Newest {
                        zxid,
                        voters,
                        body: Some(body),
                    });
                }
                // Whether the log makes up for it shows when the log is read.
                Err(why) => {
                    tracing::warn!(
                        "the metadata snapshot {} cannot be used: {why}",
                        path.display()
                    );
                    unreadable = Some((path, why));
                }
            }
        }
        match unreadable {
            // The log of a later generation begins with a snapshot; the one before is another history.
            Some((path, why)) if self.generation > 0 => Err(ZabLogError::damaged(&path, why)),
            _ => Ok(Newest::default()),
        }
    }

    fn remove_older_generations(
        &self,
        storage: &dyn Storage,
        dir: &Path,
    ) -> Result<(), ZabLogError> {
        let named = |prefix| move |place: &Place| (*place, dir.join(place.name(prefix)));
        let segments = self.segments.iter().map(named(LOG_PREFIX));
        for (place, path) in segments.chain(self.snapshots.iter().map(named(snapshot::PREFIX))) {
            if place.generation > self.generation {
                let why = "the snapshot that its history begins with is missing";
                return Err(ZabLogError::damaged(&path, why));
            }
            if place.generation < self.generation {
                remove(storage, &path)?;
            }
        }
        Ok(())
    }
}

fn remove(storage: &dyn Storage, path: &Path) -> Result<(), ZabLogError> {
    storage
        .remove_file(path)
        .map_err(|error| ZabLogError::io(path, error))
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
    generation: u32,
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
        if header.first != first || header.generation != self.generation {
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
        let end = scanned.end as u64;
        let mut written = bytes.len() as u64;
        if scanned.tail == Tail::Torn {
            if !is_last {
                let why = format!("it ends at byte {end}, and another segment follows");
                return Err(ZabLogError::damaged(path, why));
            }
            // Nobody was told that it is durable. It goes before anything is written over it.
            tracing::info!("cut the metadata log {} off at byte {end}", path.display());
            let file = self.storage.open(path, OpenMode::Write).map_err(at_path)?;
            file.truncate(end).map_err(at_path)?;
            file.sync_data().map_err(at_path)?;
            written = end;
        }
        if self.last > self.recovered.snapshot {
            self.bytes += end;
        }
        let so_far = bytes.get(..scanned.end).unwrap_or_default();
        OpenSegment::open(self.storage, path, header.salt, so_far, written)
            .map(Some)
            .map_err(at_path)
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
                return Err(ZabLogError::hole(path, expected, zxid));
            }
            self.last = zxid;
            if zxid > self.recovered.snapshot {
                self.recovered.proposals.push(proposal);
            }
        }
        Ok(())
    }

    /// An epoch is accepted before anything of it is written, and current when its beginning is: a crash may have come
    /// between the two.
    fn check_epochs(&self, dir: &Path) -> Result<(), ZabLogError> {
        let Recovered {
            accepted_epoch,
            current_epoch,
            snapshot,
            ..
        } = self.recovered;
        let path = dir.join(ACCEPTED_EPOCH);
        let newest = self.last.max(snapshot).epoch();
        if newest > accepted_epoch {
            let why =
                format!("it says {accepted_epoch}, but there are proposals of epoch {newest}");
            return Err(ZabLogError::damaged(&path, why));
        }
        if current_epoch > accepted_epoch {
            let why = format!("it says {accepted_epoch}, but epoch {current_epoch} is current");
            return Err(ZabLogError::damaged(&path, why));
        }
        Ok(())
    }
}
