//! A disk that remembers how it came to be: it can be asked what a crash at any moment would have left.
//!
//! For tests. Every change is a step. What a crash leaves of the steps so far: all that was synced, and of the
//! rest what luck has it. Unsynced bytes survive sector by sector, a file may be longer than what is in
//! it; unsynced changes of names survive in their order or not at all. What lies below each directory of the root is a
//! disk of its own: a sync of names on one says nothing of the others.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::memory::MemStorage;
use super::storage::{DirEntry, File, FileSystem, Lock, OpenMode, Space, Storage};

const SECTOR_BYTES: usize = 512;

/// What survives of the unsynced.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Luck {
    Nothing,
    Everything,
    /// Some of it, the same for the same seed.
    Seed(u64),
}

impl Luck {
    /// Whether the next thing survives.
    fn strikes(&mut self) -> bool {
        match self {
            Luck::Nothing => false,
            Luck::Everything => true,
            Luck::Seed(state) => {
                // xorshift: any state but 0.
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                *state & 1 == 0
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
    SyncData,
}

#[derive(Debug, Clone)]
enum Naming {
    Link(PathBuf, usize),
    MakeDir(PathBuf),
    Rename(PathBuf, PathBuf),
    RemoveFile(PathBuf),
    RemoveDir(PathBuf),
}

#[derive(Debug, Clone)]
enum Step {
    Content(usize, Change),
    Naming(Naming),
    SyncDir(PathBuf),
    SyncAll,
}

#[derive(Debug, Default, Clone)]
struct Names {
    files: BTreeMap<PathBuf, usize>,
    dirs: std::collections::BTreeSet<PathBuf>,
}

impl Names {
    fn apply(&mut self, naming: &Naming) {
        let moved = |path: &Path, from: &Path, to: &Path| {
            path.strip_prefix(from).ok().map(|rest| {
                if rest == Path::new("") {
                    to.to_owned()
                } else {
                    to.join(rest)
                }
            })
        };
        match naming {
            Naming::Link(path, inode) => {
                self.files.insert(path.clone(), *inode);
            }
            Naming::MakeDir(path) => {
                self.dirs.insert(path.clone());
            }
            Naming::Rename(from, to) => {
                let files = std::mem::take(&mut self.files);
                for (path, inode) in files {
                    let path = moved(&path, from, to).unwrap_or(path);
                    self.files.insert(path, inode);
                }
                let dirs = std::mem::take(&mut self.dirs);
                self.dirs = dirs
                    .into_iter()
                    .map(|path| moved(&path, from, to).unwrap_or(path))
                    .collect();
            }
            Naming::RemoveFile(path) => {
                self.files.remove(path);
            }
            Naming::RemoveDir(dir) => {
                self.files.retain(|path, _| !path.starts_with(dir));
                self.dirs.retain(|path| !path.starts_with(dir));
            }
        }
    }
}

impl Naming {
    fn path(&self) -> &Path {
        match self {
            Naming::Link(path, _)
            | Naming::MakeDir(path)
            | Naming::Rename(path, _)
            | Naming::RemoveFile(path)
            | Naming::RemoveDir(path) => path,
        }
    }

    fn touches(&self, dir: &Path) -> bool {
        let in_dir = |path: &PathBuf| path.parent() == Some(dir);
        match self {
            Naming::Link(path, _)
            | Naming::MakeDir(path)
            | Naming::RemoveFile(path)
            | Naming::RemoveDir(path) => in_dir(path),
            Naming::Rename(from, to) => in_dir(from) || in_dir(to),
        }
    }
}

#[derive(Debug, Default)]
struct Disk {
    names: Names,
    contents: Vec<Vec<u8>>,
    steps: Vec<Step>,
    /// No step is taken from here on: the disk has failed.
    fails_after: Option<usize>,
    /// Of any kind, reads too.
    calls: usize,
}

impl Disk {
    fn step(&mut self, step: Step) -> io::Result<()> {
        if self
            .fails_after
            .is_some_and(|limit| self.steps.len() >= limit)
        {
            return Err(io::Error::other("the disk has failed"));
        }
        match &step {
            Step::Content(inode, change) => {
                change.apply(&mut self.contents[*inode], &mut Luck::Everything)
            }
            Step::Naming(naming) => self.names.apply(naming),
            Step::SyncDir(_) | Step::SyncAll => {}
        }
        self.steps.push(step);
        Ok(())
    }
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>, luck: &mut Luck) {
        match self {
            Change::SyncData => {}
            Change::Truncate(len) => {
                if luck.strikes() {
                    to.resize(*len, 0);
                }
            }
            Change::Write(position, bytes) => {
                let mut at = *position;
                let mut rest = bytes.as_slice();
                // The length may have come without the bytes.
                if luck.strikes() && to.len() < at + rest.len() {
                    to.resize(at + rest.len(), 0);
                }
                while !rest.is_empty() {
                    let len = (SECTOR_BYTES - at % SECTOR_BYTES).min(rest.len());
                    let (sector, behind) = rest.split_at(len);
                    if luck.strikes() {
                        if to.len() < at + len {
                            to.resize(at + len, 0);
                        }
                        to[at..at + len].copy_from_slice(sector);
                    }
                    at += len;
                    rest = behind;
                }
            }
        }
    }
}

/// Files in memory whose history is kept.
#[derive(Debug, Default, Clone)]
pub(crate) struct CrashStorage(Arc<Mutex<Disk>>);

impl CrashStorage {
    /// How many steps were taken.
    pub(crate) fn steps(&self) -> usize {
        self.0.lock().steps.len()
    }

    /// How often something was synced.
    pub(crate) fn syncs(&self) -> usize {
        let synced = |step: &&Step| {
            matches!(
                step,
                Step::Content(_, Change::SyncData) | Step::SyncDir(_) | Step::SyncAll
            )
        };
        self.0.lock().steps.iter().filter(synced).count()
    }

    /// How often it was asked for anything.
    pub(crate) fn calls(&self) -> usize {
        self.0.lock().calls
    }

    /// Every change fails once so many more steps were taken; `None`: the disk works again.
    pub(crate) fn fail_after(&self, more: Option<usize>) {
        let mut disk = self.0.lock();
        disk.fails_after = more.map(|more| disk.steps.len() + more);
    }

    /// What a crash after the first `steps` steps leaves.
    pub(crate) fn after_crash(&self, steps: usize, mut luck: Luck) -> MemStorage {
        let disk = self.0.lock();
        let taken = &disk.steps[..steps];
        let names = surviving_names(taken, &mut luck);
        let storage = MemStorage::default();
        for dir in &names.dirs {
            storage.create_dir_all(dir).unwrap();
        }
        for (path, inode) in &names.files {
            // A file whose directory did not survive is gone with it.
            let Ok(file) = storage.open(path, OpenMode::Create) else {
                continue;
            };
            let bytes = surviving_bytes(taken, *inode, &mut luck);
            file.write_at(&mut [IoSlice::new(&bytes)], 0).unwrap();
        }
        storage
    }
}

fn surviving_names(steps: &[Step], luck: &mut Luck) -> Names {
    let mut names = Names::default();
    let mut disks: BTreeMap<PathBuf, Vec<&Naming>> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Naming(naming) if naming.path() == Path::new("/") => names.apply(naming),
            Step::Naming(naming) => disks
                .entry(disk_of(naming.path()))
                .or_default()
                .push(naming),
            Step::SyncDir(dir) => {
                let unsynced = disks.entry(disk_of(dir)).or_default();
                // A journal writes in order: what came before goes with it.
                if let Some(last) = unsynced.iter().rposition(|naming| naming.touches(dir)) {
                    unsynced
                        .drain(..=last)
                        .for_each(|naming| names.apply(naming));
                }
            }
            Step::SyncAll => {
                let unsynced = std::mem::take(&mut disks).into_values().flatten();
                unsynced.for_each(|naming| names.apply(naming));
            }
            Step::Content(..) => {}
        }
    }
    for unsynced in disks.into_values() {
        for naming in unsynced {
            if !luck.strikes() {
                break;
            }
            names.apply(naming);
        }
    }
    names
}

/// The directory of the root that a path lies in.
fn disk_of(path: &Path) -> PathBuf {
    path.components().take(2).collect()
}

fn surviving_bytes(steps: &[Step], wanted: usize, luck: &mut Luck) -> Vec<u8> {
    let changes: Vec<&Change> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Content(inode, change) if *inode == wanted => Some(change),
            Step::SyncAll => Some(&Change::SyncData),
            _ => None,
        })
        .collect();
    let synced = changes
        .iter()
        .rposition(|change| matches!(change, Change::SyncData))
        .unwrap_or(0);
    let mut bytes = Vec::new();
    for (at, change) in changes.iter().enumerate() {
        let luck = if at < synced {
            &mut Luck::Everything
        } else {
            &mut *luck
        };
        change.apply(&mut bytes, luck);
    }
    bytes
}

#[derive(Debug)]
struct CrashFile {
    disk: CrashStorage,
    inode: usize,
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.display().to_string())
}

impl Storage for CrashStorage {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut disk = self.0.lock();
        disk.calls += 1;
        let inode = match disk.names.files.get(path) {
            Some(inode) => *inode,
            None => {
                let in_dir = path
                    .parent()
                    .is_some_and(|dir| disk.names.dirs.contains(dir));
                if mode != OpenMode::Create || !in_dir {
                    return Err(not_found(path));
                }
                let inode = disk.contents.len();
                disk.contents.push(Vec::new());
                disk.step(Step::Naming(Naming::Link(path.to_owned(), inode)))?;
                inode
            }
        };
        Ok(Arc::new(CrashFile {
            disk: self.clone(),
            inode,
        }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let disk = self.0.lock();
        if !disk.names.dirs.contains(dir) {
            return Err(not_found(dir));
        }
        let entry = |path: &Path, is_dir, len| DirEntry {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            is_dir,
            len,
        };
        let files = disk.names.files.iter();
        let files = files.map(|(path, inode)| (path, false, disk.contents[*inode].len() as u64));
        let dirs = disk.names.dirs.iter().map(|path| (path, true, 0));
        let mut entries: Vec<DirEntry> = files
            .chain(dirs)
            .filter(|(path, ..)| path.parent() == Some(dir))
            .map(|(path, is_dir, len)| entry(path, is_dir, len))
            .collect();
        entries.sort();
        Ok(entries)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        let ancestors: Vec<_> = dir.ancestors().map(Path::to_owned).collect();
        for ancestor in ancestors.into_iter().rev() {
            if !disk.names.dirs.contains(&ancestor) {
                disk.step(Step::Naming(Naming::MakeDir(ancestor)))?;
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        if !disk.names.files.contains_key(from) && !disk.names.dirs.contains(from) {
            return Err(not_found(from));
        }
        disk.step(Step::Naming(Naming::Rename(from.to_owned(), to.to_owned())))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        if !disk.names.files.contains_key(path) {
            return Err(not_found(path));
        }
        disk.step(Step::Naming(Naming::RemoveFile(path.to_owned())))
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        if !disk.names.dirs.contains(dir) {
            return Err(not_found(dir));
        }
        disk.step(Step::Naming(Naming::RemoveDir(dir.to_owned())))
    }

    fn exists(&self, path: &Path) -> bool {
        let disk = self.0.lock();
        disk.names.files.contains_key(path) || disk.names.dirs.contains(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.lock().step(Step::SyncDir(dir.to_owned()))
    }

    fn file_system(&self, _dir: &Path) -> io::Result<Arc<dyn FileSystem>> {
        Ok(Arc::new(self.clone()))
    }

    fn lock(&self, _path: &Path) -> io::Result<Option<Lock>> {
        Ok(Some(Box::new(())))
    }

    fn space(&self, _dir: &Path) -> io::Result<Space> {
        Ok(Space {
            total: u64::MAX,
            usable: u64::MAX,
        })
    }
}

impl CrashFile {
    fn change(&self, change: Change) -> io::Result<()> {
        self.disk.0.lock().step(Step::Content(self.inode, change))
    }
}

impl File for CrashFile {
    fn len(&self) -> io::Result<u64> {
        self.disk.0.lock().calls += 1;
        Ok(self.disk.0.lock().contents[self.inode].len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let mut disk = self.disk.0.lock();
        disk.calls += 1;
        let rest = disk.contents[self.inode]
            .get(position as usize..)
            .unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_at(&self, slices: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        self.change(Change::Write(position as usize, bytes))
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.change(Change::Truncate(len as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(Change::SyncData)
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl FileSystem for CrashStorage {
    fn sync(&self) -> io::Result<()> {
        self.0.lock().step(Step::SyncAll)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(storage: &MemStorage, path: &str) -> Option<Vec<u8>> {
        let file = storage.open(Path::new(path), OpenMode::Read).ok()?;
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        Some(bytes)
    }

    #[test]
    fn only_what_was_synced_is_sure_to_survive() {
        let disk = CrashStorage::default();
        let dir = Path::new("/d");
        disk.create_dir_all(dir).unwrap();
        let file = disk.open(Path::new("/d/f"), OpenMode::Create).unwrap();
        file.write_at(&mut [IoSlice::new(b"one")], 0).unwrap();
        file.sync_data().unwrap();
        let nothing = |disk: &CrashStorage| disk.after_crash(disk.steps(), Luck::Nothing);
        assert_eq!(
            text(&nothing(&disk), "/d/f"),
            None,
            "its name is not durable"
        );
        disk.sync_dir(dir).unwrap();
        file.write_at(&mut [IoSlice::new(b"two")], 3).unwrap();
        assert_eq!(text(&nothing(&disk), "/d/f"), Some(b"one".to_vec()));
        let everything = disk.after_crash(disk.steps(), Luck::Everything);
        assert_eq!(text(&everything, "/d/f"), Some(b"onetwo".to_vec()));
        disk.rename(Path::new("/d/f"), Path::new("/d/g")).unwrap();
        assert_eq!(text(&nothing(&disk), "/d/g"), None);
        disk.sync_dir(dir).unwrap();
        assert_eq!(text(&nothing(&disk), "/d/g"), Some(b"one".to_vec()));
    }

    #[test]
    fn a_sync_on_one_disk_says_nothing_of_another() {
        let disk = CrashStorage::default();
        for dir in ["/a", "/b"] {
            disk.create_dir_all(Path::new(dir)).unwrap();
            let file = Path::new(dir).join("f");
            drop(disk.open(&file, OpenMode::Create).unwrap());
        }
        disk.sync_dir(Path::new("/b")).unwrap();
        let left = disk.after_crash(disk.steps(), Luck::Nothing);
        assert_eq!(text(&left, "/a/f"), None);
        assert_eq!(text(&left, "/b/f"), Some(Vec::new()));
    }

    #[test]
    fn writes_are_torn_by_sectors() {
        let disk = CrashStorage::default();
        disk.create_dir_all(Path::new("/d")).unwrap();
        let file = disk.open(Path::new("/d/f"), OpenMode::Create).unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        file.write_at(&mut [IoSlice::new(&[7; 2000])], 0).unwrap();
        let torn = (1..50).filter(|seed| {
            let storage = disk.after_crash(disk.steps(), Luck::Seed(*seed * 7919));
            let bytes = text(&storage, "/d/f").unwrap_or_default();
            bytes.contains(&7) && (bytes.contains(&0) || bytes.len() < 2000)
        });
        assert!(torn.count() > 10);
    }

    #[test]
    fn a_failed_disk_changes_nothing_more() {
        let disk = CrashStorage::default();
        disk.create_dir_all(Path::new("/d")).unwrap();
        disk.fail_after(Some(1));
        let file = disk.open(Path::new("/d/f"), OpenMode::Create).unwrap();
        assert!(file.write_at(&mut [IoSlice::new(b"x")], 0).is_err());
        disk.fail_after(None);
        assert_eq!(file.len().unwrap(), 0);
        file.write_at(&mut [IoSlice::new(b"x")], 0).unwrap();
    }
}
