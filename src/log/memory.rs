//! A tree of files in memory: the log's own code without a disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::storage::{DirEntry, File, FileSystem, Lock, OpenMode, Space, Storage};

#[derive(Debug, Default)]
struct Tree {
    files: BTreeMap<PathBuf, Arc<MemFile>>,
    dirs: BTreeSet<PathBuf>,
}

/// Files that are gone with the process.
#[derive(Debug, Default)]
pub struct MemStorage {
    tree: Mutex<Tree>,
}

#[derive(Debug, Default)]
struct MemFile(Mutex<Vec<u8>>);

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.display().to_string())
}

impl Storage for MemStorage {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut tree = self.tree.lock();
        if let Some(file) = tree.files.get(path) {
            return Ok(Arc::clone(file) as Arc<dyn File>);
        }
        let in_dir = path.parent().is_some_and(|dir| tree.dirs.contains(dir));
        if mode != OpenMode::Create || !in_dir {
            return Err(not_found(path));
        }
        let file = Arc::new(MemFile::default());
        tree.files.insert(path.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let tree = self.tree.lock();
        if !tree.dirs.contains(dir) {
            return Err(not_found(dir));
        }
        let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned());
        let files = tree
            .files
            .iter()
            .filter(|(path, _)| path.parent() == Some(dir));
        let dirs = tree.dirs.iter().filter(|path| path.parent() == Some(dir));
        let mut entries: Vec<DirEntry> = files
            .filter_map(|(path, file)| {
                Some(DirEntry {
                    name: name(path)?,
                    is_dir: false,
                    len: file.0.lock().len() as u64,
                })
            })
            .chain(dirs.filter_map(|path| {
                Some(DirEntry {
                    name: name(path)?,
                    is_dir: true,
                    len: 0,
                })
            }))
            .collect();
        entries.sort();
        Ok(entries)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut tree = self.tree.lock();
        for ancestor in dir.ancestors() {
            tree.dirs.insert(ancestor.to_owned());
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tree = self.tree.lock();
        if let Some(file) = tree.files.remove(from) {
            tree.files.insert(to.to_owned(), file);
            return Ok(());
        }
        if !tree.dirs.contains(from) {
            return Err(not_found(from));
        }
        let moved = |path: &Path| path.strip_prefix(from).ok().map(|rest| to.join(rest));
        let dirs = std::mem::take(&mut tree.dirs);
        tree.dirs = dirs
            .into_iter()
            .map(|path| moved(&path).unwrap_or(path))
            .collect();
        let files = std::mem::take(&mut tree.files);
        tree.files = files
            .into_iter()
            .map(|(path, file)| (moved(&path).unwrap_or(path), file))
            .collect();
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let removed = self.tree.lock().files.remove(path);
        removed.map(drop).ok_or_else(|| not_found(path))
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut tree = self.tree.lock();
        if !tree.dirs.contains(dir) {
            return Err(not_found(dir));
        }
        tree.dirs.retain(|path| !path.starts_with(dir));
        tree.files.retain(|path, _| !path.starts_with(dir));
        Ok(())
    }

    fn exists(&self, path: &Path) -> bool {
        let tree = self.tree.lock();
        tree.files.contains_key(path) || tree.dirs.contains(path)
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn file_system(&self, _dir: &Path) -> io::Result<Arc<dyn FileSystem>> {
        Ok(Arc::new(MemFileSystem))
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

impl File for MemFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let bytes = self.0.lock();
        let from = usize::try_from(position).unwrap_or(usize::MAX);
        let rest = bytes.get(from..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..n), rest.get(..n)) {
            to.copy_from_slice(from);
        }
        Ok(n)
    }

    fn write_at(&self, slices: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut bytes = self.0.lock();
        let mut at = usize::try_from(position).map_err(io::Error::other)?;
        for slice in slices {
            let end = at + slice.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            if let Some(place) = bytes.get_mut(at..end) {
                place.copy_from_slice(slice);
            }
            at = end;
        }
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.0.lock().resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

#[derive(Debug)]
struct MemFileSystem;

impl FileSystem for MemFileSystem {
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
