//! A disk that fails where a test wants it to: some operations below some path with some errno, and a disk that is
//! full after so many bytes, in the middle of a write.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::storage::{DirEntry, File, FileSystem, Lock, OpenMode, Space, Storage};

pub(crate) const EIO: i32 = 5;
pub(crate) const ENOENT: i32 = 2;
pub(crate) const EMFILE: i32 = 24;
pub(crate) const ENOSPC: i32 = 28;
pub(crate) const EROFS: i32 = 30;
pub(crate) const EDQUOT: i32 = 122;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Open,
    List,
    MakeDir,
    Rename,
    Remove,
    Lock,
    Space,
    SyncDir,
    SyncAll,
    Len,
    Read,
    Write,
    Truncate,
    Sync,
}

impl Op {
    pub(crate) const ALL: [Op; 14] = [
        Op::Open,
        Op::List,
        Op::MakeDir,
        Op::Rename,
        Op::Remove,
        Op::Lock,
        Op::Space,
        Op::SyncDir,
        Op::SyncAll,
        Op::Len,
        Op::Read,
        Op::Write,
        Op::Truncate,
        Op::Sync,
    ];

    pub(crate) fn is_sync(self) -> bool {
        matches!(self, Op::Sync | Op::SyncDir | Op::SyncAll)
    }
}

#[derive(Debug, Default)]
struct Faults {
    /// And how often each still applies.
    rules: Vec<(PathBuf, Op, i32, usize)>,
    /// Bytes that may still be written; `None`: without end.
    room: Option<u64>,
    written: u64,
    space: Option<Space>,
    calls: Vec<(Op, PathBuf)>,
}

/// What lies below works; the faults are set while it runs.
#[derive(Debug, Clone)]
pub(crate) struct FaultStorage {
    inner: Arc<dyn Storage>,
    faults: Arc<Mutex<Faults>>,
}

impl FaultStorage {
    pub(crate) fn new(inner: Arc<dyn Storage>) -> Self {
        Self {
            inner,
            faults: Arc::default(),
        }
    }

    /// From here on `op` on what lies below `path` fails.
    pub(crate) fn fail(&self, path: impl Into<PathBuf>, op: Op, errno: i32) {
        self.fail_times(path, op, errno, usize::MAX);
    }

    /// The same so many times.
    pub(crate) fn fail_times(&self, path: impl Into<PathBuf>, op: Op, errno: i32, times: usize) {
        let rule = (path.into(), op, errno, times);
        self.faults.lock().rules.push(rule);
    }

    /// Everything works again.
    pub(crate) fn heal(&self) {
        let mut faults = self.faults.lock();
        faults.rules.clear();
        faults.room = None;
    }

    /// The disk takes so many bytes more.
    pub(crate) fn room(&self, bytes: u64) {
        self.faults.lock().room = Some(bytes);
    }

    /// Bytes that were ever written.
    pub(crate) fn written(&self) -> u64 {
        self.faults.lock().written
    }

    /// What `space` answers.
    pub(crate) fn set_space(&self, total: u64, usable: u64) {
        self.faults.lock().space = Some(Space { total, usable });
    }

    /// What was asked for since the last call.
    pub(crate) fn take_calls(&self) -> Vec<(Op, PathBuf)> {
        std::mem::take(&mut self.faults.lock().calls)
    }

    fn check(&self, op: Op, path: &Path) -> io::Result<()> {
        let mut faults = self.faults.lock();
        faults.calls.push((op, path.to_owned()));
        let mut rules = faults.rules.iter_mut();
        let found = rules.find(|(below, failing, _, left)| {
            *failing == op && *left > 0 && path.starts_with(below)
        });
        match found {
            Some((_, _, errno, left)) => {
                *left -= 1;
                Err(io::Error::from_raw_os_error(*errno))
            }
            None => Ok(()),
        }
    }

    /// How many of so many bytes there is room for.
    fn take_room(&self, bytes: usize) -> usize {
        let mut faults = self.faults.lock();
        let room = faults.room.unwrap_or(u64::MAX);
        let fits = bytes.min(usize::try_from(room).unwrap_or(usize::MAX));
        faults.room = faults.room.map(|room| room - fits as u64);
        faults.written += fits as u64;
        fits
    }
}

impl Storage for FaultStorage {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.check(Op::Open, path)?;
        Ok(Arc::new(FaultFile {
            inner: self.inner.open(path, mode)?,
            path: path.to_owned(),
            storage: self.clone(),
        }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.check(Op::List, dir)?;
        self.inner.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.check(Op::MakeDir, dir)?;
        self.inner.create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(Op::Rename, from)?;
        self.inner.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.check(Op::Remove, path)?;
        self.inner.remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.check(Op::Remove, dir)?;
        self.inner.remove_dir_all(dir)
    }

    fn exists(&self, path: &Path) -> bool {
        self.inner.exists(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.check(Op::SyncDir, dir)?;
        self.inner.sync_dir(dir)
    }

    fn file_system(&self, dir: &Path) -> io::Result<Arc<dyn FileSystem>> {
        Ok(Arc::new(FaultFileSystem {
            inner: self.inner.file_system(dir)?,
            dir: dir.to_owned(),
            storage: self.clone(),
        }))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Lock>> {
        self.check(Op::Lock, path)?;
        self.inner.lock(path)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.check(Op::Space, dir)?;
        match self.faults.lock().space {
            Some(space) => Ok(space),
            None => self.inner.space(dir),
        }
    }
}

#[derive(Debug)]
struct FaultFile {
    inner: Arc<dyn File>,
    path: PathBuf,
    storage: FaultStorage,
}

impl File for FaultFile {
    fn len(&self) -> io::Result<u64> {
        self.storage.check(Op::Len, &self.path)?;
        self.inner.len()
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.storage.check(Op::Read, &self.path)?;
        self.inner.read_at(buf, position)
    }

    fn write_at(&self, slices: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        self.storage.check(Op::Write, &self.path)?;
        let mut bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        let wanted = bytes.len();
        bytes.truncate(self.storage.take_room(wanted));
        self.inner.write_at(&mut [IoSlice::new(&bytes)], position)?;
        if bytes.len() < wanted {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.storage.check(Op::Truncate, &self.path)?;
        self.inner.truncate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.storage.check(Op::Sync, &self.path)?;
        self.inner.sync_data()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.fd()
    }
}

#[derive(Debug)]
struct FaultFileSystem {
    inner: Arc<dyn FileSystem>,
    dir: PathBuf,
    storage: FaultStorage,
}

impl FileSystem for FaultFileSystem {
    fn sync(&self) -> io::Result<()> {
        self.storage.check(Op::SyncAll, &self.dir)?;
        self.inner.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::memory::MemStorage;

    #[test]
    fn a_full_disk_takes_the_part_of_a_write_that_fits() {
        let disk = FaultStorage::new(Arc::new(MemStorage::default()));
        disk.create_dir_all(Path::new("/a")).unwrap();
        let file = disk.open(Path::new("/a/f"), OpenMode::Create).unwrap();
        disk.room(5);
        file.write_at(&mut [IoSlice::new(b"abc")], 0).unwrap();
        let error = file.write_at(&mut [IoSlice::new(b"de"), IoSlice::new(b"f")], 3);
        assert_eq!(error.unwrap_err().raw_os_error(), Some(ENOSPC));
        assert_eq!(file.len().unwrap(), 5);
        disk.set_space(100, 5);
        assert_eq!(disk.space(Path::new("/a")).unwrap().usable, 5);
    }
}
