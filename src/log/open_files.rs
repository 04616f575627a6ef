//! How many segment files are open at once: a node may hold far more logs than it may have open files.
//!
//! One for all log directories, in `LogDirStorage`. A file is opened when it is asked for; beyond the limit the one that
//! was not asked for for longest, roughly (a clock with one hand), is closed. Who still reads it holds it
//! himself. Opening it again is the segment's part.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::storage::File;

/// The place of one segment's file, open or not.
#[derive(Debug, Default)]
pub struct OpenFile {
    file: Mutex<Option<Arc<dyn File>>>,
    /// Since the hand was last here.
    used: AtomicBool,
}

impl OpenFile {
    /// The file, opened by `open` if it is not, and whether it was.
    pub(super) fn get(
        &self,
        open: impl FnOnce() -> io::Result<Arc<dyn File>>,
    ) -> io::Result<(Arc<dyn File>, bool)> {
        self.used.store(true, Ordering::Relaxed);
        let mut place = self.file.lock();
        if let Some(file) = &*place {
            return Ok((Arc::clone(file), false));
        }
        let file = open()?;
        *place = Some(Arc::clone(&file));
        Ok((file, true))
    }

    pub(super) fn close(&self) {
        // Dropped outside the lock: closing the last handle of a removed file frees its blocks.
        let file = self.file.lock().take();
        drop(file);
    }

    pub(super) fn is_open(&self) -> bool {
        self.file.lock().is_some()
    }

    fn is_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub struct OpenFiles {
    limit: AtomicUsize,
    /// The hand is at the front.
    ring: Mutex<VecDeque<Arc<OpenFile>>>,
}

impl OpenFiles {
    /// Of at least one file.
    pub fn new(limit: usize) -> Self {
        Self {
            limit: AtomicUsize::new(limit.max(1)),
            ring: Mutex::default(),
        }
    }

    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit.max(1), Ordering::Relaxed);
    }

    /// One more is open: another may be closed for it.
    pub(super) fn add(&self, file: &Arc<OpenFile>) {
        let limit = self.limit.load(Ordering::Relaxed);
        let mut evicted = Vec::new();
        {
            let mut ring = self.ring.lock();
            let mut spared = 0;
            while ring.len() >= limit {
                let Some(oldest) = ring.pop_front() else {
                    break;
                };
                // When all are in use, the first is as good as any.
                if oldest.is_used() && spared < limit {
                    spared += 1;
                    ring.push_back(oldest);
                } else {
                    evicted.push(oldest);
                }
            }
            ring.push_back(Arc::clone(file));
        }
        evicted.iter().for_each(|file| file.close());
    }

    /// Closes what was not asked for since the last call.
    pub fn close_idle(&self) {
        let idle: Vec<Arc<OpenFile>> = {
            let mut ring = self.ring.lock();
            let (used, idle) = ring.drain(..).partition(|file| file.is_used());
            *ring = used;
            idle.into()
        };
        idle.iter().for_each(|file| file.close());
    }

    pub fn len(&self) -> usize {
        self.ring.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::log::memory::MemStorage;
    use crate::log::storage::{OpenMode, Storage};

    fn touch(files: &OpenFiles, storage: &MemStorage, file: &Arc<OpenFile>) {
        let open = || storage.open(Path::new("/f"), OpenMode::Create);
        if file.get(open).unwrap().1 {
            files.add(file);
        }
    }

    #[test]
    fn no_more_than_the_limit_are_open_and_those_in_use_stay() {
        let (files, storage) = (OpenFiles::new(3), MemStorage::default());
        storage.create_dir_all(Path::new("/")).unwrap();
        let all: Vec<Arc<OpenFile>> = (0..6).map(|_| Arc::default()).collect();
        for file in &all[..3] {
            touch(&files, &storage, file);
        }
        // The hand goes round once and leaves everybody one more chance; the first did not take it.
        touch(&files, &storage, &all[3]);
        let open = |all: &[Arc<OpenFile>]| all.iter().map(|f| f.is_open()).collect::<Vec<_>>();
        assert_eq!(open(&all), [false, true, true, true, false, false]);
        touch(&files, &storage, &all[1]);
        touch(&files, &storage, &all[4]);
        assert_eq!(open(&all), [false, true, false, true, true, false]);
        touch(&files, &storage, &all[5]);
        assert_eq!(files.len(), 3);
        assert_eq!(open(&all).iter().filter(|open| **open).count(), 3);
    }

    #[test]
    fn idle_files_are_closed_at_the_second_look() {
        let (files, storage) = (OpenFiles::new(10), MemStorage::default());
        storage.create_dir_all(Path::new("/")).unwrap();
        let all: Vec<Arc<OpenFile>> = (0..2).map(|_| Arc::default()).collect();
        all.iter().for_each(|file| touch(&files, &storage, file));
        files.close_idle();
        assert_eq!(files.len(), 2);
        touch(&files, &storage, &all[1]);
        files.close_idle();
        assert!(!all[0].is_open() && all[1].is_open());
        files.close_idle();
        assert!(files.is_empty() && !all[1].is_open());
        touch(&files, &storage, &all[0]);
        assert_eq!(files.len(), 1);
    }
}
