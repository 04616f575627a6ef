//! Files in memory that pretend to be cold: what was forgotten comes from a disk that can be held up, and that
//! notes which threads have waited for it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::memory::MemStorage;
use super::open_files::OpenFiles;
use super::storage::{DirEntry, File, Lock, OpenMode, Space, Storage};

pub(crate) const PAGE: u64 = 4096;

#[derive(Debug, Default)]
struct State {
    names: BTreeSet<PathBuf>,
    pages: BTreeSet<(PathBuf, u64)>,
    held: bool,
    waiting: usize,
    /// Threads that asked the disk, by name, and how often.
    asked: BTreeMap<String, usize>,
    /// Reads fail.
    broken: bool,
}

#[derive(Debug, Default)]
struct Disk {
    state: Mutex<State>,
    changed: Condvar,
}

impl Disk {
    /// The disk is asked: waits while it is held.
    fn ask(&self, learn: impl FnOnce(&mut State)) -> io::Result<()> {
        let mut state = self.state.lock();
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default().to_owned();
        // Others would hang, and the test with them.
        assert!(
            !state.held || name == "cold-read",
            "{name} waits for the disk"
        );
        *state.asked.entry(name).or_default() += 1;
        state.waiting += 1;
        self.changed.notify_all();
        while state.held {
            self.changed.wait(&mut state);
        }
        state.waiting -= 1;
        if state.broken {
            return Err(io::Error::from_raw_os_error(5));
        }
        learn(&mut state);
        Ok(())
    }
}

#[derive(Debug, Clone)]
pub(crate) struct ColdStorage {
    files: Arc<MemStorage>,
    disk: Arc<Disk>,
    open: Arc<OpenFiles>,
}

impl Default for ColdStorage {
    fn default() -> Self {
        Self {
            files: Arc::default(),
            disk: Arc::default(),
            open: Arc::new(OpenFiles::new(usize::MAX)),
        }
    }
}

impl ColdStorage {
    /// Nothing is open or in memory any more.
    pub(crate) fn forget(&self) {
        for _ in 0..2 {
            self.open.close_idle();
        }
        self.disk.state.lock().names.clear();
        self.forget_pages();
    }

    /// Files stay open.
    pub(crate) fn forget_pages(&self) {
        self.disk.state.lock().pages.clear();
    }

    /// From here on the disk answers nobody.
    pub(crate) fn hold(&self) {
        self.disk.state.lock().held = true;
    }

    pub(crate) fn release(&self) {
        self.disk.state.lock().held = false;
        self.disk.changed.notify_all();
    }

    pub(crate) fn break_down(&self) {
        self.disk.state.lock().broken = true;
    }

    /// Returns when so many threads wait for the held disk.
    pub(crate) fn wait_for_waiting(&self, threads: usize) {
        let mut state = self.disk.state.lock();
        while state.waiting < threads {
            self.disk.changed.wait(&mut state);
        }
    }

    /// Who asked the disk since this was last called, and how often.
    pub(crate) fn take_asked(&self) -> BTreeMap<String, usize> {
        std::mem::take(&mut self.disk.state.lock().asked)
    }
}

#[derive(Debug)]
struct ColdFile {
    path: PathBuf,
    inner: Arc<dyn File>,
    disk: Arc<Disk>,
}

impl ColdFile {
    /// The pages of a range, as far as the file goes.
    fn pages(&self, position: u64, len: u64) -> io::Result<Vec<(PathBuf, u64)>> {
        let end = self.inner.len()?.min(position + len);
        let pages = position / PAGE..end.div_ceil(PAGE).max(position / PAGE);
        Ok(pages.map(|page| (self.path.clone(), page)).collect())
    }

    fn is_warm(&self, position: u64, len: u64) -> io::Result<bool> {
        let pages = self.pages(position, len)?;
        let state = self.disk.state.lock();
        Ok(pages.iter().all(|page| state.pages.contains(page)))
    }
}

impl Storage for ColdStorage {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let is_new = !self.files.exists(path);
        let is_known = self.disk.state.lock().names.contains(path);
        if !is_known && !is_new {
            self.disk.ask(|_| {})?;
        }
        let inner = self.files.open(path, mode)?;
        self.disk.state.lock().names.insert(path.to_owned());
        Ok(Arc::new(ColdFile {
            path: path.to_owned(),
            inner,
            disk: Arc::clone(&self.disk),
        }))
    }

    fn open_files(&self) -> Option<&OpenFiles> {
        Some(&self.open)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.files.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.files.create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.files.remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.files.remove_dir_all(dir)
    }

    fn exists(&self, path: &Path) -> bool {
        self.files.exists(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.files.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Lock>> {
        self.files.lock(path)
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        self.files.space(dir)
    }
}

impl File for ColdFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        if !self.is_warm(position, buf.len() as u64)? {
            self.read_in(position, buf.len() as u64)?;
        }
        self.inner.read_at(buf, position)
    }

    fn read_cached_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        if self.is_warm(position, buf.len() as u64)? {
            return self.inner.read_at(buf, position);
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn read_in(&self, position: u64, len: u64) -> io::Result<()> {
        let pages = self.pages(position, len)?;
        self.disk.ask(|state| state.pages.extend(pages))
    }

    fn write_at(&self, slices: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        self.inner.write_at(slices, position)?;
        let pages = self.pages(position, len as u64)?;
        self.disk.state.lock().pages.extend(pages);
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.inner.truncate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
