//! Group commit for record logs: one thread for each log directory, one round of flushes in flight.
//!
//! Partitions with records that are not on disk queue here; whatever is appended while a round runs joins the next one.
//! In a round, small pieces of many partitions go through the directory's journal with one sync; large ones,
//! and logs that must, are flushed by their own files. A sync that failed is never tried again as if it could
//! succeed: its partitions are told, and stop serving. A full journal file is given free by settling: the logs
//! with batches in it are flushed by their own files on a thread beside, while the other file is written. That is
//! no faster than it must be, for the disk has more urgent things to do: see `settling`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::partition::{FlushStep, Partition};
use super::settling::Settling;
use crate::log::storage::FileSystem;
use crate::log::{FlushWork, Journal, JournalError, JournalPart};
use crate::metrics::Metrics;
use crate::parallel;

/// More than this of one partition goes to its own files: written twice it would cost more than a sync saves.
const JOURNAL_PART_BYTES: u32 = 128 << 10;
/// The same for the only partition of a round: its flush changes no metadata of the file system then.
const JOURNAL_LONE_PART_BYTES: u32 = 16 << 10;
/// One partition alone has had so many small flushes when a journal is made for it.
const LONE_FLUSHES: u32 = 64;
/// A group of the journal: what comes later in the round waits for it.
const JOURNAL_GROUP_BYTES: usize = 4 << 20;
/// Files synced at the same time.
const SYNC_THREADS: usize = 8;
/// From so many on the whole file system is.
const MANY_FILES: usize = 32;
/// From the beginning of a round of several partitions to the next. Disks bound the syncs of a second, many of them by
/// standing still once a tenth of a second has had its share: it is better to gather a little than to run into that.
const GATHER: Duration = Duration::from_micros(500);

#[derive(Debug, Default)]
struct Queue {
    dirty: Vec<Arc<Partition>>,
    /// For `flush.ms`: by when, and a number that keeps equal times apart.
    due: BTreeMap<(Instant, u64), Weak<Partition>>,
    timers: u64,
    stopping: bool,
}

impl Queue {
    fn take_due(&mut self, now: Instant) {
        while let Some(first) = self.due.first_entry() {
            if first.key().0 > now {
                return;
            }
            self.dirty.extend(first.remove().upgrade());
        }
    }
}

/// The queue of one log directory.
#[derive(Debug, Default)]
pub struct Flusher {
    queue: Mutex<Queue>,
    filled: Condvar,
    /// Taken by the thread.
    journal: Mutex<Option<Journal>>,
}

impl Flusher {
    /// Without a journal every flush is one of the files.
    pub fn new(journal: Option<Journal>) -> Self {
        Self {
            journal: Mutex::new(journal),
            ..Self::default()
        }
    }

    pub(super) fn enqueue(&self, partition: Arc<Partition>) {
        self.queue.lock().dirty.push(partition);
        self.filled.notify_one();
    }

    pub(super) fn enqueue_at(&self, due: Instant, partition: &Arc<Partition>) {
        let mut queue = self.queue.lock();
        queue.timers += 1;
        let key = (due, queue.timers);
        queue.due.insert(key, Arc::downgrade(partition));
        drop(queue);
        self.filled.notify_one();
    }

    /// Flushes what is queued, then lets `run` return.
    pub fn stop(&self) {
        self.queue.lock().stopping = true;
        self.filled.notify_one();
    }

    /// The thread's life.
    pub fn run(&self, metrics: &Arc<Metrics>) {
        let journal = self.journal.lock().take();
        let mut journaling = journal.map(|journal| Journaling::new(journal, metrics));
        let mut gathered = Instant::now();
        while let Some(dirty) = self.next_round(gathered) {
            if dirty.len() > 1 {
                gathered = Instant::now() + GATHER;
            }
            let journal_bytes = match &journaling {
                Some(_) if dirty.len() > 1 => JOURNAL_PART_BYTES,
                Some(_) => JOURNAL_LONE_PART_BYTES,
                None => 0,
            };
            let mut round = Round::begin(self, dirty, journal_bytes);
            if let Some(journaling) = &mut journaling {
                round.files.extend(journaling.flush(round.parts));
            }
            let file_system = journaling.as_ref().and_then(|j| j.file_system.as_deref());
            flush_files(round.files, file_system, metrics);
        }
        if let Some(journaling) = journaling {
            journaling.end();
        }
    }

    /// What is queued, not before `gathered`.
    fn next_round(&self, gathered: Instant) -> Option<Vec<Arc<Partition>>> {
        let mut queue = self.queue.lock();
        loop {
            let now = Instant::now();
            if !queue.due.is_empty() {
                queue.take_due(now);
            }
            if !queue.dirty.is_empty() {
                if now >= gathered || queue.stopping {
                    return Some(std::mem::take(&mut queue.dirty));
                }
                drop(queue);
                std::thread::sleep(gathered - now);
                queue = self.queue.lock();
                continue;
            }
            if queue.stopping {
                return None;
            }
            match queue.due.first_key_value().map(|((due, _), _)| *due) {
                Some(due) => {
                    self.filled.wait_until(&mut queue, due);
                }
                None => self.filled.wait(&mut queue),
            }
        }
    }
}

pub(super) type Files = Vec<(Arc<Partition>, FlushWork)>;
type Parts = Vec<(Arc<Partition>, JournalPart)>;

/// What one round has to do.
#[derive(Debug, Default)]
struct Round {
    parts: Parts,
    files: Files,
}

impl Round {
    /// `journal_bytes` of a partition at most go to the journal.
    fn begin(by: &Flusher, dirty: Vec<Arc<Partition>>, journal_bytes: u32) -> Self {
        let mut round = Self::default();
        for partition in dirty {
            match partition.begin_flush(Some(by), journal_bytes) {
                Some(FlushStep::Journal(part)) => round.parts.push((partition, part)),
                Some(FlushStep::Files(work)) => round.files.push((partition, work)),
                None => {}
            }
        }
        round
    }
}

/// Each by its own files, several at a time, or all by the whole file system where they are many: the syncs of one file
/// each wait for commits of the file system that could be one.
pub(super) fn flush_files(files: Files, file_system: Option<&dyn FileSystem>, metrics: &Metrics) {
    if files.len() >= MANY_FILES
        && let Some(file_system) = file_system
    {
        let started = Instant::now();
        match file_system.sync() {
            Ok(()) => {
                for (partition, work) in files {
                    partition.finish_flush(work.up_to, Ok(()));
                }
                metrics.log_flushed(started.elapsed());
                return;
            }
            // Not of these files, perhaps: each knows of its own.
            Err(error) => tracing::debug!(%error, "the file system could not be synced"),
        }
    }
    parallel::for_each(files, SYNC_THREADS, |(partition, work)| {
        run_flush(&partition, work, metrics);
    });
}

pub(super) fn run_flush(partition: &Arc<Partition>, work: FlushWork, metrics: &Metrics) {
    let started = Instant::now();
    let point = work.up_to;
    partition.finish_flush(point, work.run());
    metrics.log_flushed(started.elapsed());
}

/// How far one of the two files of a journal is.
#[derive(Debug)]
enum JournalFile {
    Missing,
    Preparing(JoinHandle<std::io::Result<()>>),
    Ready,
    /// It cannot be made: the disk is full, perhaps. The journal is not used any more.
    Failed,
}

/// A journal in use.
struct Journaling {
    journal: Journal,
    files: [JournalFile; 2],
    /// Of one partition alone, since the start.
    lone_flushes: u32,
    /// Who has batches in the file that is written.
    members: HashMap<usize, Weak<Partition>>,
    /// Those of the other file are being flushed by their own files.
    settling: Option<Settling>,
    /// Known since before anything was written, so that it knows of every error since.
    file_system: Option<Arc<dyn FileSystem>>,
    metrics: Arc<Metrics>,
}

impl Journaling {
    fn new(journal: Journal, metrics: &Arc<Metrics>) -> Self {
        Self {
            file_system: journal.file_system(),
            journal,
            files: [JournalFile::Missing, JournalFile::Missing],
            lone_flushes: 0,
            members: HashMap::new(),
            settling: None,
            metrics: Arc::clone(metrics),
        }
    }

    /// Begins to make a file that is missing, on a thread beside; in a hurry where somebody would use it now.
    fn prepare(&mut self, which: usize, hurry: bool) {
        let Some(file) = self.files.get_mut(which) else {
            return;
        };
        if let JournalFile::Missing = file {
            let preparation = self.journal.preparation(which, hurry);
            let thread = std::thread::Builder::new().name("journal-prepare".into());
            // Without a thread it is tried again.
            if let Ok(handle) = thread.spawn(preparation) {
                *file = JournalFile::Preparing(handle);
            }
        }
    }

    /// Whether the file can be written; `wait` waits for one that is being made.
    fn is_ready(&mut self, which: usize, wait: bool) -> bool {
        let Some(file) = self.files.get_mut(which) else {
            return false;
        };
        if let JournalFile::Preparing(handle) = file
            && (wait || handle.is_finished())
            && let JournalFile::Preparing(handle) = std::mem::replace(file, JournalFile::Failed)
        {
            match handle.join() {
                Ok(Ok(())) => *file = JournalFile::Ready,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "a journal cannot be made: logs are flushed one by one");
                }
                Err(_) => tracing::error!("making a journal ended by a panic"),
            }
        }
        matches!(file, JournalFile::Ready)
    }

    /// What the journal could not take comes back, to be flushed by its own files.
    fn flush(&mut self, parts: Parts) -> Files {
        let mut refused = Files::new();
        let mut waiting = parts.into_iter().peekable();
        while waiting.peek().is_some() {
            let mut group = Parts::new();
            let mut bytes = 0;
            while let Some((_, part)) = waiting.peek() {
                if !group.is_empty() && bytes + part.bytes() > JOURNAL_GROUP_BYTES {
                    break;
                }
                bytes += part.bytes();
                group.extend(waiting.next());
            }
            refused.extend(self.flush_group(group, bytes));
        }
        refused
    }

    fn flush_group(&mut self, group: Parts, bytes: usize) -> Files {
        if !self.make_room(group.len(), bytes) {
            return files_instead(group);
        }
        let started = Instant::now();
        let parts: Vec<&JournalPart> = group.iter().map(|(_, part)| part).collect();
        let written = self.journal.write(&parts);
        match written {
            Ok(()) => {
                for (partition, part) in group {
                    partition.finish_journal(part.up_to);
                    let key = Arc::as_ptr(&partition) as usize;
                    self.members
                        .entry(key)
                        .or_insert_with(|| Arc::downgrade(&partition));
                }
                self.metrics.journal_flushed(started.elapsed(), bytes);
                if let Some(settling) = &self.settling {
                    settling.keep_up_with(self.journal.filled_percent());
                }
                Files::new()
            }
            Err(JournalError::Write(error)) => {
                tracing::warn!(%error, "the journal cannot be written: logs are flushed one by one");
                files_instead(group)
            }
            Err(JournalError::Sync(error)) => {
                let error = Arc::new(error);
                for (partition, part) in group {
                    let error = std::io::Error::new(error.kind(), Arc::clone(&error));
                    partition.finish_flush(part.up_to, Err(error));
                }
                Files::new()
            }
        }
    }

    /// Goes on to the other file where this one is full.
    fn make_room(&mut self, parts: usize, bytes: usize) -> bool {
        let active = self.journal.active();
        if parts > 1 {
            // Until it is there they are flushed file by file.
            self.prepare(active, true);
        } else if self.lone_flushes < LONE_FLUSHES {
            self.lone_flushes += 1;
        } else {
            self.prepare(active, false);
        }
        if !self.is_ready(active, false) {
            return false;
        }
        self.prepare(1 - active, false);
        if self.journal.fits(parts, bytes) {
            return true;
        }
        self.settling = None;
        if !self.is_ready(1 - active, true) {
            return false;
        }
        self.journal.switch();
        let members = std::mem::take(&mut self.members);
        self.settling = Some(Settling::begin(
            members.into_values(),
            self.file_system.clone(),
            &self.metrics,
        ));
        self.journal.fits(parts, bytes)
    }

    fn end(mut self) {
        self.settling = None;
        for which in 0..2 {
            if matches!(self.files.get(which), Some(JournalFile::Preparing(_))) {
                self.is_ready(which, true);
            }
        }
    }
}

/// The journal did not take them.
fn files_instead(group: Parts) -> Files {
    group
        .into_iter()
        .filter_map(|(partition, _)| {
            partition.abandon_journal();
            match partition.begin_flush(None, 0) {
                Some(FlushStep::Files(work)) => Some((partition, work)),
                _ => None,
            }
        })
        .collect()
}

#[cfg(test)]
#[path = "flusher_tests.rs"]
mod tests;
