//! The files under the log directories, watched: the first error that says a disk is broken takes its
//! directory offline, and nothing is tried on it again.
//!
//! The one place that judges errors of the disk. A sync that failed is always the disk's failure, whatever it says:
//! what it was to write may be gone from the page cache, and a second sync would succeed without it
//! (`ENOSPC` included: a delayed allocation, or NFS). Elsewhere a full disk, a name that is not there and a limit
//! of this process are nobody's failure, and the caller's to handle.

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use super::checkpoint::META_PROPERTIES;
use super::log_dir::{LogDir, LogDirOffline};
use super::open_files::OpenFiles;
use super::storage::{DirEntry, File, FileSystem, Lock, OpenMode, Space, Storage};
use crate::types::TimestampMs;

/// There is no room, and there may be some later: `ENOSPC`, `EDQUOT`, `EFBIG`.
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    )
}

/// Too many open files, no memory: it passes, and says nothing of a disk.
pub fn is_process_limit(error: &io::Error) -> bool {
    const EMFILE: i32 = rustix::io::Errno::MFILE.raw_os_error();
    const ENFILE: i32 = rustix::io::Errno::NFILE.raw_os_error();
    error.kind() == ErrorKind::OutOfMemory || matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

/// Whether an operation that is no sync has met a broken disk.
fn is_broken_disk(error: &io::Error) -> bool {
    let expected = matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::DirectoryNotEmpty
            | ErrorKind::InvalidFilename
            | ErrorKind::InvalidInput
            | ErrorKind::Interrupted
            | ErrorKind::Unsupported
            // Not in memory, said the one read that asks for no more than that.
            | ErrorKind::WouldBlock
    );
    !expected && !is_disk_full(error) && !is_process_limit(error)
}

#[derive(Debug)]
pub struct LogDirStorage {
    inner: Arc<dyn Storage>,
    dirs: Vec<Arc<LogDir>>,
    open_files: OpenFiles,
}

impl LogDirStorage {
    pub fn new(inner: Arc<dyn Storage>, dirs: Vec<Arc<LogDir>>) -> Self {
        Self {
            inner,
            dirs,
            open_files: OpenFiles::new(usize::MAX),
        }
    }

    fn dir_of(&self, path: &Path) -> Option<&Arc<LogDir>> {
        self.dirs.iter().find(|dir| path.starts_with(dir.path()))
    }

    /// Its disk is no longer mounted, or somebody has removed it.
    fn is_gone(&self, dir: &LogDir) -> bool {
        dir.id().is_some() && !self.inner.exists(&dir.path().join(META_PROPERTIES))
    }

    fn watch<T>(
        &self,
        path: &Path,
        what: &str,
        broken: fn(&io::Error) -> bool,
        act: impl FnOnce(&dyn Storage) -> io::Result<T>,
    ) -> io::Result<T> {
        let Some(dir) = self.dir_of(path) else {
            return act(&*self.inner);
        };
        if !dir.is_online() {
            return Err(LogDirOffline::error());
        }
        act(&*self.inner).inspect_err(|error| {
            if broken(error) || (error.kind() == ErrorKind::NotFound && self.is_gone(dir)) {
                dir.fail(what, error);
            }
        })
    }
}

fn is_failed_sync(error: &io::Error) -> bool {
    error.kind() != ErrorKind::Unsupported
}

impl Storage for LogDirStorage {
    fn open_files(&self) -> Option<&OpenFiles> {
        Some(&self.open_files)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let inner = self.watch(path, "a file could not be opened", is_broken_disk, |s| {
            s.open(path, mode)
        })?;
        Ok(match self.dir_of(path) {
            Some(dir) => Arc::new(LogDirFile {
                inner,
                dir: Arc::clone(dir),
            }),
            None => inner,
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.watch(dir, "it could not be listed", is_broken_disk, |s| {
            s.list(dir)
        })
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.watch(dir, "a directory could not be made", is_broken_disk, |s| {
            s.create_dir_all(dir)
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.watch(from, "a file could not be renamed", is_broken_disk, |s| {
            s.rename(from, to)
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.watch(path, "a file could not be removed", is_broken_disk, |s| {
            s.remove_file(path)
        })
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.watch(
            dir,
            "a directory could not be removed",
            is_broken_disk,
            |s| s.remove_dir_all(dir),
        )
    }

    fn exists(&self, path: &Path) -> bool {
        self.inner.exists(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // A name that is not there was deleted: nothing of it is left to sync.
        let failed = |error: &io::Error| error.kind() != ErrorKind::NotFound;
        self.watch(dir, "a sync of names failed", failed, |s| s.sync_dir(dir))
    }

    /// Whoever holds it asks the logs' own files what an error of it means for them.
    fn file_system(&self, dir: &Path) -> io::Result<Arc<dyn FileSystem>> {
        self.watch(dir, "it could not be opened", is_broken_disk, |s| {
            s.file_system(dir)
        })
    }

    fn sync_file_system(&self, dir: &Path) -> io::Result<()> {
        self.watch(dir, "a sync of all files failed", is_failed_sync, |s| {
            s.sync_file_system(dir)
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Lock>> {
        self.watch(path, "it could not be locked", is_broken_disk, |s| {
            s.lock(path)
        })
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.watch(dir, "its space could not be asked", is_broken_disk, |s| {
            s.space(dir)
        })
    }
}

#[derive(Debug)]
struct LogDirFile {
    inner: Arc<dyn File>,
    dir: Arc<LogDir>,
}

impl LogDirFile {
    fn watch<T>(
        &self,
        what: &str,
        broken: fn(&io::Error) -> bool,
        act: impl FnOnce(&dyn File) -> io::Result<T>,
    ) -> io::Result<T> {
        if !self.dir.is_online() {
            return Err(LogDirOffline::error());
        }
        act(&*self.inner).inspect_err(|error| {
            if broken(error) {
                self.dir.fail(what, error);
            }
        })
    }
}

impl File for LogDirFile {
    fn len(&self) -> io::Result<u64> {
        self.watch("a file could not be read", is_broken_disk, |f| f.len())
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.watch("a file could not be read", is_broken_disk, |f| {
            f.read_at(buf, position)
        })
    }

    fn read_cached_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.watch("a file could not be read", is_broken_disk, |f| {
            f.read_cached_at(buf, position)
        })
    }

    fn read_in(&self, position: u64, len: u64) -> io::Result<()> {
        self.watch("a file could not be read", is_broken_disk, |f| {
            f.read_in(position, len)
        })
    }

    fn write_at(&self, slices: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        self.watch("a file could not be written", is_broken_disk, |f| {
            f.write_at(slices, position)
        })
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.watch("a file could not be cut", is_broken_disk, |f| {
            f.truncate(len)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.watch("a sync failed", is_failed_sync, |f| f.sync_data())
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        self.watch("a file could not be given room", is_broken_disk, |f| {
            f.reserve(len)
        })
    }

    fn modified(&self) -> io::Result<Option<TimestampMs>> {
        self.watch("a file could not be read", is_broken_disk, |f| f.modified())
    }

    fn read_failed(&self, error: &io::Error) {
        self.dir.fail("a file could not be sent", error);
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.fd()
    }
}

#[cfg(test)]
#[path = "log_dir_storage_tests.rs"]
mod tests;
