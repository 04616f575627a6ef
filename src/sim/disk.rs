//! One server's disk: files in memory of which a power cut keeps what was synced and, of the rest, what luck has it.
//!
//! `log::crash` answers what a crash at any moment of a whole history would leave and keeps that history for it; a
//! simulated server lives through many crashes, so this one keeps only what is not synced yet. Bytes survive sector by
//! sector, changes of names in their order or not at all; directories are durable at once. The disk can be
//! told to stop in the middle of what it is doing: from then on every change fails, until the crash.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::chance::Chance;
use crate::log::storage::{DirEntry, File, Lock, OpenMode, Space, Storage};

const SECTOR_BYTES: usize = 512;

/// What a crash leaves of the unsynced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Luck {
    /// The process ended, the machine goes on.
    Everything,
    /// The power went, and nothing was on its way.
    Nothing,
    /// The power went.
    Some,
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

#[derive(Debug, Clone)]
enum Naming {
    Link(PathBuf, usize),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

type Names = BTreeMap<PathBuf, usize>;

#[derive(Debug, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Debug, Default)]
struct Disk {
    contents: Vec<Content>,
    dirs: BTreeSet<PathBuf>,
    names: Names,
    durable_names: Names,
    unsynced_names: Vec<Naming>,
    /// How many more changes it makes.
    left: Option<usize>,
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>, mut survives: impl FnMut() -> bool) {
        match self {
            Change::Truncate(len) => {
                if survives() {
                    to.resize(*len, 0);
                }
            }
            Change::Write(position, bytes) => {
                // The length may have come without the bytes.
                if survives() && to.len() < position + bytes.len() {
                    to.resize(position + bytes.len(), 0);
                }
                let (mut at, mut rest) = (*position, bytes.as_slice());
                while !rest.is_empty() {
                    let len = (SECTOR_BYTES - at % SECTOR_BYTES).min(rest.len());
                    let (sector, behind) = rest.split_at(len);
                    if survives() {
                        if to.len() < at + len {
                            to.resize(at + len, 0);
                        }
                        to[at..at + len].copy_from_slice(sector);
                    }
                    (at, rest) = (at + len, behind);
                }
            }
        }
    }
}

impl Naming {
    fn apply(&self, names: &mut Names) {
        match self {
            Naming::Link(path, content) => {
                names.insert(path.clone(), *content);
            }
            Naming::Rename(from, to) => {
                if let Some(content) = names.remove(from) {
                    names.insert(to.clone(), content);
                }
            }
            Naming::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

impl Disk {
    fn may_change(&mut self) -> io::Result<()> {
        match self.left.as_mut() {
            Some(0) => Err(io::Error::other("the power is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn rename(&mut self, naming: Naming) -> io::Result<()> {
        self.may_change()?;
        naming.apply(&mut self.names);
        self.unsynced_names.push(naming);
        Ok(())
    }

    fn change(&mut self, content: usize, change: Change) -> io::Result<()> {
        self.may_change()?;
        let content = &mut self.contents[content];
        change.apply(&mut content.now, || true);
        content.unsynced.push(change);
        Ok(())
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct SimDisk(Arc<Mutex<Disk>>);

impl SimDisk {
    /// After so many more changes and syncs the power goes.
    pub(crate) fn stop_after(&self, changes: usize) {
        self.0.lock().left = Some(changes);
    }

    /// What is left when it starts again; files that were open before see nothing of it.
    pub(crate) fn after_crash(&self, luck: Luck, chance: &mut Chance) -> Self {
        let mut disk = self.0.lock();
        let mut survives = || match luck {
            Luck::Everything => true,
            Luck::Nothing => false,
            Luck::Some => chance.permille(500),
        };
        let mut names = std::mem::take(&mut disk.durable_names);
        for naming in std::mem::take(&mut disk.unsynced_names) {
            if !survives() {
                break;
            }
            naming.apply(&mut names);
        }
        let mut after = Disk {
            dirs: std::mem::take(&mut disk.dirs),
            ..Disk::default()
        };
        for (path, content) in names {
            let content = &mut disk.contents[content];
            let mut left = std::mem::take(&mut content.durable);
            for change in std::mem::take(&mut content.unsynced) {
                change.apply(&mut left, &mut survives);
            }
            after.names.insert(path, after.contents.len());
            after.contents.push(Content {
                now: left.clone(),
                durable: left,
                unsynced: Vec::new(),
            });
        }
        after.durable_names = after.names.clone();
        Self(Arc::new(Mutex::new(after)))
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    content: usize,
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.display().to_string())
}

impl Storage for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut disk = self.0.lock();
        let content = match disk.names.get(path) {
            Some(content) => *content,
            None => {
                let in_dir = path.parent().is_some_and(|dir| disk.dirs.contains(dir));
                if mode != OpenMode::Create || !in_dir {
                    return Err(not_found(path));
                }
                let content = disk.contents.len();
                disk.rename(Naming::Link(path.to_owned(), content))?;
                disk.contents.push(Content::default());
                content
            }
        };
        let disk = self.clone();
        Ok(Arc::new(SimFile { disk, content }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let disk = self.0.lock();
        if !disk.dirs.contains(dir) {
            return Err(not_found(dir));
        }
        let entry = |path: &Path, is_dir, len| DirEntry {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            is_dir,
            len,
        };
        let files = disk.names.iter();
        let files = files.map(|(path, at)| (path, false, disk.contents[*at].now.len() as u64));
        let dirs = disk.dirs.iter().map(|path| (path, true, 0));
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
        disk.may_change()?;
        disk.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        if !disk.names.contains_key(from) {
            return Err(not_found(from));
        }
        disk.rename(Naming::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        if !disk.names.contains_key(path) {
            return Err(not_found(path));
        }
        disk.rename(Naming::Remove(path.to_owned()))
    }

    /// Not used by what runs on this disk.
    fn remove_dir_all(&self, _dir: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn exists(&self, path: &Path) -> bool {
        let disk = self.0.lock();
        disk.names.contains_key(path) || disk.dirs.contains(path)
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        disk.may_change()?;
        disk.unsynced_names.clear();
        disk.durable_names = disk.names.clone();
        Ok(())
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

impl File for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().contents[self.content].now.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let disk = self.disk.0.lock();
        let now = &disk.contents[self.content].now;
        let rest = now.get(position as usize..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_at(&self, slices: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        let bytes = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        let change = Change::Write(position as usize, bytes);
        self.disk.0.lock().change(self.content, change)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let change = Change::Truncate(len as usize);
        self.disk.0.lock().change(self.content, change)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk.0.lock();
        disk.may_change()?;
        let content = &mut disk.contents[self.content];
        for change in std::mem::take(&mut content.unsynced) {
            change.apply(&mut content.durable, || true);
        }
        Ok(())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
        let file = disk.open(Path::new(path), OpenMode::Read).ok()?;
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        Some(bytes)
    }

    fn with_file(bytes: &[u8]) -> (SimDisk, Arc<dyn File>) {
        let disk = SimDisk::default();
        disk.create_dir_all(Path::new("/d")).unwrap();
        let file = disk.open(Path::new("/d/f"), OpenMode::Create).unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        file.write_at(&mut [IoSlice::new(bytes)], 0).unwrap();
        (disk, file)
    }

    #[test]
    fn what_is_synced_survives_and_only_that_is_sure_to() {
        let mut chance = Chance::new(1);
        let (disk, file) = with_file(b"one");
        file.sync_data().unwrap();
        file.write_at(&mut [IoSlice::new(b"two")], 3).unwrap();
        disk.rename(Path::new("/d/f"), Path::new("/d/g")).unwrap();
        let cut = disk.after_crash(Luck::Nothing, &mut chance);
        assert_eq!(text(&cut, "/d/f"), Some(b"one".to_vec()));
        assert_eq!(text(&cut, "/d/g"), None);

        let (disk, _file) = with_file(b"one");
        disk.rename(Path::new("/d/f"), Path::new("/d/g")).unwrap();
        let killed = disk.after_crash(Luck::Everything, &mut chance);
        assert_eq!(text(&killed, "/d/f"), None);
        assert_eq!(text(&killed, "/d/g"), Some(b"one".to_vec()));

        // And then it is on the disk for good.
        let again = killed.after_crash(Luck::Nothing, &mut chance);
        assert_eq!(text(&again, "/d/g"), Some(b"one".to_vec()));
    }

    #[test]
    fn unsynced_writes_are_torn_by_sectors() {
        let mut chance = Chance::new(2);
        let torn = (0..50).filter(|_| {
            let (disk, _file) = with_file(&[7; 2000]);
            let left = text(&disk.after_crash(Luck::Some, &mut chance), "/d/f").unwrap();
            left.contains(&7) && (left.contains(&0) || left.len() < 2000)
        });
        assert!(torn.count() > 20);
    }

    #[test]
    fn a_disk_stops_in_the_middle() {
        let (disk, file) = with_file(b"one");
        disk.stop_after(1);
        file.write_at(&mut [IoSlice::new(b"two")], 0).unwrap();
        assert!(file.sync_data().is_err());
        assert!(disk.open(Path::new("/d/h"), OpenMode::Create).is_err());
        let mut chance = Chance::new(3);
        let after = disk.after_crash(Luck::Everything, &mut chance);
        assert_eq!(text(&after, "/d/f"), Some(b"two".to_vec()));
        assert!(after.open(Path::new("/d/h"), OpenMode::Create).is_ok());
    }
}
