//! After a crash: what the journal holds of each log is appended to it again, as far as it is not there.
//!
//! Called by `LogManager` for each log that was recovered, before anybody uses it. Replaying twice gives the
//! same log. When the logs have been flushed by their own files the journal is emptied.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::append::AppendError;
use super::journal::{
    CRC_FROM, ENTRY_HEADER_BYTES, EntryKind, GROUP_HEADER_BYTES, LENGTH_FROM, MAGIC, path,
};
use super::partition_log::PartitionLog;
use super::storage::{File, OpenMode, Storage, read_exact_at};
use crate::protocol::record_batch::Batches;
use crate::types::{LeaderEpoch, Offset, PartitionId, TopicId};

/// Where a log's batches are.
#[derive(Debug, Clone)]
struct Journaled {
    file: Arc<dyn File>,
    position: u64,
    len: usize,
    from: Offset,
}

/// What the journal of a directory holds, log by log, in order.
#[derive(Debug, Default)]
pub struct JournalContents {
    logs: HashMap<(TopicId, PartitionId), Vec<Journaled>>,
}

/// The file of a journal, walked group by group.
struct Groups {
    file: Arc<dyn File>,
    len: u64,
    position: u64,
    /// Generation and number of the group before.
    last: Option<(u64, u32)>,
}

struct Group {
    generation: u64,
    entries: u32,
    /// Behind the header.
    position: u64,
    bytes: Vec<u8>,
}

impl Groups {
    /// `None` where the file ends, or what follows was never finished.
    fn next(&mut self) -> io::Result<Option<Group>> {
        let mut header = [0; GROUP_HEADER_BYTES];
        if self.position + GROUP_HEADER_BYTES as u64 > self.len {
            return Ok(None);
        }
        read_exact_at(&*self.file, &mut header, self.position)?;
        let fields = header.as_slice();
        let (magic, crc) = (u32_at(fields, 0), u32_at(fields, 4));
        let length = u64::from(u32_at(fields, CRC_FROM));
        let Some(rest) = length.checked_sub((GROUP_HEADER_BYTES - LENGTH_FROM) as u64) else {
            return Ok(None);
        };
        if magic != MAGIC || self.position + LENGTH_FROM as u64 + length > self.len {
            return Ok(None);
        }
        let generation = u64::from(u32_at(fields, 12)) << 32 | u64::from(u32_at(fields, 16));
        let number = u32_at(fields, 20);
        let follows = match self.last {
            None => number == 0,
            Some((last_generation, last)) => {
                generation == last_generation && number == last.wrapping_add(1)
            }
        };
        if !follows {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(rest).unwrap_or(0)];
        let position = self.position + GROUP_HEADER_BYTES as u64;
        read_exact_at(&*self.file, &mut bytes, position)?;
        let found = crc32c::crc32c(fields.get(CRC_FROM..).unwrap_or_default());
        if crc32c::crc32c_append(found, &bytes) != crc {
            return Ok(None);
        }
        self.position = position + rest;
        self.last = Some((generation, number));
        Ok(Some(Group {
            generation,
            entries: u32_at(fields, 24),
            position,
            bytes,
        }))
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u32::from_be_bytes)
}

/// What was made safe in a directory's journal. One that does not exist holds nothing.
pub fn read(storage: &dyn Storage, dir: &Path) -> io::Result<JournalContents> {
    let mut files = Vec::new();
    for which in 0..2 {
        match storage.open(&path(dir, which), OpenMode::Read) {
            Ok(file) => files.extend(read_file(file)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    // The older file first.
    files.sort_by_key(|(generation, _)| *generation);
    let mut contents = JournalContents::default();
    for (key, entry) in files.into_iter().flat_map(|(_, entries)| entries) {
        match entry {
            Some(entry) => contents.logs.entry(key).or_default().push(entry),
            None => {
                contents.logs.remove(&key);
            }
        }
    }
    Ok(contents)
}

/// `None` says that no earlier entry of the log counts.
type Keyed = ((TopicId, PartitionId), Option<Journaled>);

fn read_file(file: Arc<dyn File>) -> io::Result<Option<(u64, Vec<Keyed>)>> {
    let mut groups = Groups {
        len: file.len()?,
        file: Arc::clone(&file),
        position: 0,
        last: None,
    };
    let mut entries = Vec::new();
    let mut generation = None;
    while let Some(group) = groups.next()? {
        generation = Some(group.generation);
        let mut at = 0;
        for _ in 0..group.entries {
            let Some((key, entry, end)) = parse_entry(&file, &group, at) else {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a whole group of the journal cannot be read: it was written by another version",
                ));
            };
            entries.push((key, entry));
            at = end;
        }
    }
    Ok(generation.map(|generation| (generation, entries)))
}

fn parse_entry(
    file: &Arc<dyn File>,
    group: &Group,
    at: usize,
) -> Option<((TopicId, PartitionId), Option<Journaled>, usize)> {
    let header = group.bytes.get(at..at + ENTRY_HEADER_BYTES)?;
    let topic_id = TopicId(uuid::Uuid::from_slice(header.get(..16)?).ok()?);
    let partition = PartitionId(i32::from_be_bytes(header.get(16..20)?.try_into().ok()?));
    let kind = EntryKind::of(*header.get(20)?)?;
    let from = Offset(i64::from_be_bytes(header.get(21..29)?.try_into().ok()?));
    let len = u32_at(header, 29) as usize;
    let start = at + ENTRY_HEADER_BYTES;
    group.bytes.get(start..start + len)?;
    let entry = match kind {
        EntryKind::Void => None,
        EntryKind::Batches => Some(Journaled {
            file: Arc::clone(file),
            position: group.position + start as u64,
            len,
            from,
        }),
    };
    Some(((topic_id, partition), entry, start + len))
}

impl JournalContents {
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// Appends what the log lacks, and flushes it. How many bytes that were.
    pub fn replay(&self, log: &mut PartitionLog) -> io::Result<u64> {
        let key = (log.topic_id(), log.topic_partition().partition);
        let Some(entries) = self.logs.get(&key) else {
            return Ok(0);
        };
        let mut appended = 0;
        for entry in entries {
            if entry.from > log.log_end_offset() {
                tracing::error!(
                    partition = %log.topic_partition(),
                    log_end = %log.log_end_offset(),
                    from = %entry.from,
                    "the journal has batches that do not follow the log's end: what lies between them is lost"
                );
                break;
            }
            let mut bytes = vec![0; entry.len];
            read_exact_at(&*entry.file, &mut bytes, entry.position)?;
            appended += append_missing(log, &bytes)?;
        }
        if appended > 0 {
            tracing::info!(partition = %log.topic_partition(), bytes = appended, log_end = %log.log_end_offset(), "the end of a log comes from the journal");
        }
        log.flush_now()?;
        Ok(appended)
    }
}

fn append_missing(log: &mut PartitionLog, bytes: &[u8]) -> io::Result<u64> {
    let invalid = |error| match error {
        AppendError::Disk(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    };
    let mut appended = 0;
    for batch in Batches::new(bytes) {
        let (header, batch) = batch.map_err(|error| invalid(error.into()))?;
        if header.last_offset() < log.log_end_offset() {
            continue;
        }
        log.append_as_follower(batch, LeaderEpoch(i32::MAX), header.max_timestamp)
            .map_err(invalid)?;
        appended += batch.len() as u64;
    }
    Ok(appended)
}

/// Empties a directory's journal: every log in it is flushed by its own files.
pub fn discard(storage: &dyn Storage, dir: &Path) -> io::Result<()> {
    for which in 0..2 {
        let path = path(dir, which);
        if !storage.exists(&path) {
            continue;
        }
        let file = storage.open(&path, OpenMode::Write)?;
        file.truncate(0)?;
        file.sync_data()?;
    }
    Ok(())
}
