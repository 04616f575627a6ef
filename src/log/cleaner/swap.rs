//! Puts a cleaned segment in the place of those it was made of, so that a crash leaves the one or the others.
//!
//! Kafka's names. The copy is written and synced as `.cleaned`; then, under the log's lock, every file of it becomes
//! `.swap` (the `.log` last: from there on the swap has happened), the old files become `.deleted`, and the suffix is
//! dropped, from the `.log` first. A copy of several segments has a file more, `.replaces`: where the last of
//! them ended, which Kafka has to guess from what is left in the copy. Kafka does not mind the file.
//!
//! Leans on a file system that keeps the order of changes to a directory's names, as journaling ones do. When the
//! log is opened, `recover` undoes a swap of which a `.cleaned` file is left, and completes every other.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::clean::CleanError;
use crate::log::batch_scan::BatchScan;
use crate::log::log_segment::{LogSegment, file_name};
use crate::log::partition_log::{PartitionLog, remove_files};
use crate::log::retention::{DELETED, DoomedFiles};
use crate::log::storage::{DirEntry, File, OpenMode, Storage, read_exact_at};
use crate::types::{Offset, TimestampMs};

pub(super) const CLEANED: &str = ".cleaned";
const SWAP: &str = ".swap";
const REPLACES: &str = ".replaces";
/// What belongs to a segment.
const SEGMENT: [&str; 4] = [".log", ".index", ".timeindex", ".txnindex"];
/// What a copy may have, in the order that they become `.swap` in.
const COPY: [&str; 5] = [".index", ".timeindex", ".txnindex", REPLACES, ".log"];

/// A copy that is on disk as `.cleaned`.
#[derive(Debug)]
pub struct CleanedSegment {
    pub(super) segment: LogSegment,
    /// Base offset and size of the segments that it replaces.
    pub(super) replaced: Vec<(Offset, u32)>,
}

impl CleanedSegment {
    pub fn base_offset(&self) -> Offset {
        self.segment.base_offset()
    }
}

fn place(dir: &Path, base_offset: Offset, kind: &str, suffix: &str) -> PathBuf {
    dir.join(file_name(base_offset, &format!("{kind}{suffix}")))
}

/// Takes away what a copy that came to nothing has left.
pub(super) fn remove_cleaned(
    storage: &dyn Storage,
    dir: &Path,
    base_offset: Offset,
) -> io::Result<()> {
    let paths = COPY.map(|kind| place(dir, base_offset, kind, CLEANED));
    remove_files(storage, &paths)
}

/// Writes down where the segments end that a copy replaces.
pub(super) fn write_replaces(
    storage: &dyn Storage,
    dir: &Path,
    (base_offset, end): (Offset, Offset),
) -> io::Result<Arc<dyn File>> {
    let file = storage.open(
        &place(dir, base_offset, REPLACES, CLEANED),
        OpenMode::Create,
    )?;
    file.write_at(&mut [IoSlice::new(end.to_string().as_bytes())], 0)?;
    Ok(file)
}

fn rename_if_there(storage: &dyn Storage, from: &Path, to: &Path) -> io::Result<bool> {
    match storage.rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl PartitionLog {
    /// Swaps a copy in. The old files have another name then; before they are removed the directory must be synced.
    /// `Aborted` and `Disk`: nothing was changed. `Broken`: the log in memory is not what is on disk.
    pub fn swap_cleaned(
        &mut self,
        cleaned: CleanedSegment,
        now: TimestampMs,
    ) -> Result<DoomedFiles, CleanError> {
        let at = self.find_replaced(&cleaned)?;
        let paths = self.rename_swapped(&cleaned).map_err(CleanError::Broken)?;
        let replaced = at..at + cleaned.replaced.len();
        self.segments.splice(replaced, [cleaned.segment]);
        let retired = self.segments.iter().rev().skip(1);
        self.retired_bytes = retired.map(|segment| u64::from(segment.size())).sum();
        let delay = self.config.file_delete_delay_ms;
        Ok(DoomedFiles {
            paths,
            remove_at: TimestampMs(now.0.saturating_add(delay)),
        })
    }

    /// Where the segments are that a copy replaces, if they are as they were when it was made.
    fn find_replaced(&self, cleaned: &CleanedSegment) -> Result<usize, CleanError> {
        let base = cleaned.base_offset();
        let at = self
            .segments
            .iter()
            .position(|segment| segment.base_offset() == base)
            .filter(|_| self.cleaning.is_running())
            .ok_or(CleanError::Aborted)?;
        let inactive = self.segments.len().saturating_sub(1);
        let found = self.segments.get(at..inactive).unwrap_or_default();
        let same = found.len() >= cleaned.replaced.len()
            && found
                .iter()
                .zip(&cleaned.replaced)
                .all(|(segment, known)| (segment.base_offset(), segment.size()) == *known);
        if same {
            Ok(at)
        } else {
            Err(CleanError::Aborted)
        }
    }

    /// The names of the old files afterwards.
    fn rename_swapped(&self, cleaned: &CleanedSegment) -> io::Result<Vec<PathBuf>> {
        let (storage, dir, base) = (&*self.storage, &*self.dir, cleaned.base_offset());
        let mut copied = Vec::new();
        for kind in COPY {
            let (from, to) = (
                place(dir, base, kind, CLEANED),
                place(dir, base, kind, SWAP),
            );
            if rename_if_there(storage, &from, &to)? {
                copied.push(kind);
            }
        }
        let mut old = Vec::new();
        for (offset, _) in &cleaned.replaced {
            // Truncations go back to the snapshots of segments that are there.
            let snapshot = (*offset != base).then_some(".snapshot");
            for kind in SEGMENT.into_iter().chain(snapshot) {
                let from = place(dir, *offset, kind, "");
                let to = place(dir, *offset, kind, DELETED);
                if rename_if_there(storage, &from, &to)? {
                    old.push(to);
                }
            }
        }
        drop_suffix(storage, dir, base, &copied)?;
        Ok(old)
    }
}

/// The last step of a swap.
fn drop_suffix(
    storage: &dyn Storage,
    dir: &Path,
    base_offset: Offset,
    kinds: &[&str],
) -> io::Result<()> {
    for kind in kinds.iter().rev().filter(|kind| **kind != REPLACES) {
        let from = place(dir, base_offset, kind, SWAP);
        storage.rename(&from, &place(dir, base_offset, kind, ""))?;
    }
    remove_files(storage, &[place(dir, base_offset, REPLACES, SWAP)])
}

/// A file of a segment, or of a copy.
fn parse(name: &str) -> Option<(Offset, &str, &str)> {
    let (stem, rest) = name.split_at_checked(name.find('.')?)?;
    let offset = stem.parse().ok().map(Offset)?;
    for suffix in [CLEANED, SWAP] {
        if let Some(kind) = rest.strip_suffix(suffix) {
            return Some((offset, kind, suffix));
        }
    }
    Some((offset, rest, ""))
}

/// Brings a directory from between into one of the two states. Changes nothing when it is in one. Gives what is there
/// then.
pub(in crate::log) fn recover(storage: &dyn Storage, dir: &Path) -> io::Result<Vec<DirEntry>> {
    let entries = storage.list(dir)?;
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    let mut cleaned = BTreeSet::new();
    let mut swaps: BTreeMap<Offset, Vec<&str>> = BTreeMap::new();
    let mut leftovers = Vec::new();
    for name in &names {
        match parse(name) {
            Some((base, _, CLEANED)) => {
                cleaned.insert(base);
                leftovers.push(dir.join(name));
            }
            Some((base, kind, SWAP)) => swaps.entry(base).or_default().push(kind),
            // Kafka completes a swap of ours and leaves it lying.
            Some((_, REPLACES, "")) => leftovers.push(dir.join(name)),
            _ => {}
        }
    }
    if swaps.is_empty() && leftovers.is_empty() {
        return Ok(entries);
    }
    for (base, kinds) in &swaps {
        if cleaned.contains(base) {
            // Before its last `.cleaned` is gone: without one it would have happened.
            let paths: Vec<_> = kinds
                .iter()
                .map(|kind| place(dir, *base, kind, SWAP))
                .collect();
            remove_files(storage, &paths)?;
        } else {
            complete(storage, dir, *base, kinds, &names)?;
        }
    }
    remove_files(storage, &leftovers)?;
    storage.sync_dir(dir)?;
    storage.list(dir)
}

fn complete(
    storage: &dyn Storage,
    dir: &Path,
    base_offset: Offset,
    kinds: &[&str],
    names: &[&str],
) -> io::Result<()> {
    tracing::info!(dir = %dir.display(), %base_offset, "an interrupted swap of a cleaned segment is completed");
    // Without the log among them the old files were gone already.
    if kinds.contains(&".log") {
        let end = replaced_end(storage, dir, base_offset, kinds)?;
        let is_old = |name: &&&str| {
            parse(name).is_some_and(|(offset, kind, suffix)| {
                let of_segment = SEGMENT.contains(&kind) && offset >= base_offset;
                let of_producers = kind == ".snapshot" && offset > base_offset;
                suffix.is_empty() && (of_segment || of_producers) && offset < end
            })
        };
        let old: Vec<_> = names.iter().filter(is_old).map(|n| dir.join(n)).collect();
        remove_files(storage, &old)?;
    }
    let there: Vec<&str> = COPY
        .into_iter()
        .filter(|kind| kinds.contains(kind))
        .collect();
    drop_suffix(storage, dir, base_offset, &there)
}

/// Where the segments end that a copy replaces.
fn replaced_end(
    storage: &dyn Storage,
    dir: &Path,
    base_offset: Offset,
    kinds: &[&str],
) -> io::Result<Offset> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    if kinds.contains(&REPLACES) {
        let path = place(dir, base_offset, REPLACES, SWAP);
        let file = storage.open(&path, OpenMode::Read)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(0).min(20)];
        read_exact_at(&*file, &mut bytes, 0)?;
        let text = std::str::from_utf8(&bytes).ok();
        let end = text.and_then(|text| text.parse().ok());
        return end
            .map(Offset)
            .ok_or_else(|| invalid("a damaged .replaces file"));
    }
    // Of one segment, or Kafka's: what is left in it says how far it reached.
    let path = place(dir, base_offset, ".log", SWAP);
    let file = storage.open(&path, OpenMode::Read)?;
    let size = u32::try_from(file.len()?).map_err(|_| invalid("a segment is too large"))?;
    let mut end = base_offset.plus(1);
    for batch in BatchScan::new(file, 0, size) {
        end = end.max(batch?.header.next_offset());
    }
    Ok(end)
}

#[cfg(test)]
#[path = "swap_tests.rs"]
mod tests;
