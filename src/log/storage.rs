//! The files under every log, behind two small traits, so that the same log code runs on a disk,
//! in memory, and on a layer that crashes.
//!
//! A write is visible to reads at once and durable only after `sync_data` of its file; a created,
//! renamed or removed name is durable only after `sync_dir` of its directory. Nothing is buffered here.

use std::fmt::Debug;
use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rustix::fs::{Advice, FallocateFlags, OFlags};
use rustix::io::{Errno, ReadWriteFlags};

use super::open_files::OpenFiles;
use crate::types::TimestampMs;

/// How `Storage::open` treats a name that exists, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist; writes fail.
    Read,
    /// It must exist.
    Write,
    /// It is made when it does not exist; what it holds stays.
    Create,
    /// It must exist. What is written does not stay in memory, where the file system can do without: for what only a
    /// recovery reads. Written by a `BlockWriter`.
    Unbuffered,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    pub name: String,
    pub is_dir: bool,
    /// In bytes; 0 for a directory.
    pub len: u64,
}

/// A file system as a whole.
pub trait FileSystem: Debug + Send + Sync {
    /// Syncs every file and name: for many files, where one at a time would take long. An error may be one of a file
    /// that is somebody else's, and of any time since this was made.
    fn sync(&self) -> io::Result<()>;
}

/// A tree of files. `LogDirStorage` passes every method on: one that has a default here needs a line there.
pub trait Storage: Debug + Send + Sync {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// The names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Replaces `to` when it exists.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;
    fn exists(&self, path: &Path) -> bool;
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// The file system that a directory lies on.
    fn file_system(&self, _dir: &Path) -> io::Result<Arc<dyn FileSystem>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Syncs every file and name of it, here and now.
    fn sync_file_system(&self, dir: &Path) -> io::Result<()> {
        self.file_system(dir)?.sync()
    }
    /// Who bounds the number of segment files that are open; `None`: nobody.
    fn open_files(&self) -> Option<&OpenFiles> {
        None
    }
    /// Holds a file against other processes until the value is dropped; `None` when another has it.
    fn lock(&self, path: &Path) -> io::Result<Option<Lock>>;
    /// Of the file system that a directory lies on.
    fn space(&self, dir: &Path) -> io::Result<Space>;
}

/// Whatever keeps a lock.
pub type Lock = Box<dyn std::any::Any + Send + Sync>;

/// In bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub total: u64,
    /// What this process may still use.
    pub usable: u64,
}

/// An open file. It stays readable after its name is gone. `LogDirStorage` passes every method on: one that has a
/// default here needs a line there.
pub trait File: Debug + Send + Sync {
    fn len(&self) -> io::Result<u64>;
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// As many bytes as are there, up to the buffer's length: 0 at the end.
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize>;
    /// The same of what is in memory only: `WouldBlock` where the disk would have to be asked.
    fn read_cached_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.read_at(buf, position)
    }
    /// Brings a range into memory. Blocks on the disk.
    fn read_in(&self, _position: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }
    /// All of the slices, one behind the other.
    fn write_at(&self, slices: &mut [IoSlice<'_>], position: u64) -> io::Result<()>;
    fn truncate(&self, len: u64) -> io::Result<()>;
    fn sync_data(&self) -> io::Result<()>;
    /// Takes room on the disk for the first `len` bytes; the file does not get longer.
    fn reserve(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }
    /// When it was last written to; `None` where nobody keeps count.
    fn modified(&self) -> io::Result<Option<TimestampMs>> {
        Ok(None)
    }
    /// A read around this trait (`sendfile`) has met a broken disk.
    fn read_failed(&self, _error: &io::Error) {}
    /// For `sendfile`; `None` where there is no real file below.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
}

/// The kernel reads ahead and forgets in pieces of about this size: one look at each is enough.
const PROBE_STEP_BYTES: u64 = 128 << 10;
/// What is read in goes through a buffer of this size.
const READ_IN_STEP_BYTES: usize = 64 << 10;

/// Whether a range is in memory, as a few looks at it tell. What cannot be read is: its reader will hear why.
pub fn is_cached(file: &dyn File, position: u64, len: u64) -> bool {
    let cached = |at| {
        let looked = file.read_cached_at(&mut [0], at);
        !looked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    };
    let mut at = position;
    while at < position + len {
        if !cached(at) {
            return false;
        }
        at += PROBE_STEP_BYTES;
    }
    len == 0 || cached(position + len - 1)
}

/// Fills the buffer or fails with `UnexpectedEof`.
pub fn read_exact_at(file: &dyn File, buf: &mut [u8], position: u64) -> io::Result<()> {
    read_exact(buf, position, |buf, position| file.read_at(buf, position))
}

/// The same of what is in memory only.
pub fn read_exact_cached_at(file: &dyn File, buf: &mut [u8], position: u64) -> io::Result<()> {
    read_exact(buf, position, |buf, position| {
        file.read_cached_at(buf, position)
    })
}

fn read_exact(
    buf: &mut [u8],
    position: u64,
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<()> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match read(rest, position + done as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => done += n,
        }
    }
    Ok(())
}

/// Replaces a small file so that a crash leaves the old text or the new one, never a mix.
pub fn write_atomically(storage: &dyn Storage, path: &Path, text: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = Path::new(&temporary);
    let file = storage.open(temporary, OpenMode::Create)?;
    file.truncate(0)?;
    file.write_at(&mut [IoSlice::new(text)], 0)?;
    file.sync_data()?;
    storage.rename(temporary, path)?;
    match path.parent() {
        Some(dir) => storage.sync_dir(dir),
        None => Ok(()),
    }
}

/// The machine's own file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealStorage;

#[derive(Debug)]
struct RealFile(fs::File);

#[derive(Debug)]
struct RealFileSystem(fs::File);

impl FileSystem for RealFileSystem {
    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.0)?)
    }
}

impl Storage for RealStorage {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(mode != OpenMode::Read)
            .create(mode == OpenMode::Create)
            .truncate(false)
            .open(path)?;
        if mode == OpenMode::Unbuffered {
            set_direct(&file, true);
        }
        Ok(Arc::new(RealFile(file)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            entries.push(DirEntry {
                name,
                is_dir: metadata.is_dir(),
                len: if metadata.is_dir() { 0 } else { metadata.len() },
            });
        }
        entries.sort();
        Ok(entries)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn file_system(&self, dir: &Path) -> io::Result<Arc<dyn FileSystem>> {
        Ok(Arc::new(RealFileSystem(fs::File::open(dir)?)))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Lock>> {
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn space(&self, dir: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(Space {
            total: stat.f_frsize * stat.f_blocks,
            usable: stat.f_frsize * stat.f_bavail,
        })
    }
}

/// Past the page cache, or through it; whether that changed.
fn set_direct(file: &fs::File, direct: bool) -> bool {
    let Ok(flags) = rustix::fs::fcntl_getfl(file) else {
        return false;
    };
    let mut wanted = flags;
    wanted.set(OFlags::DIRECT, direct);
    flags != wanted && rustix::fs::fcntl_setfl(file, wanted).is_ok()
}

impl File for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(buf, position)
    }

    fn read_cached_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let mut slices = [IoSliceMut::new(buf)];
        match rustix::io::preadv2(&self.0, &mut slices, position, ReadWriteFlags::NOWAIT) {
            // Not every file system and kernel can tell.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.0.read_at(buf, position),
            other => Ok(other?),
        }
    }

    fn read_in(&self, position: u64, len: u64) -> io::Result<()> {
        // All of it is on its way at once where the file system takes the hint; the reads wait for it, or make up
        // for what the hint was cut down to.
        let _ = rustix::fs::fadvise(
            &self.0,
            position,
            std::num::NonZeroU64::new(len),
            Advice::WillNeed,
        );
        let mut scratch = vec![0; READ_IN_STEP_BYTES];
        let (mut at, end) = (position, position + len);
        while at < end {
            let wanted = usize::try_from(end - at).unwrap_or(READ_IN_STEP_BYTES);
            let buf = scratch
                .get_mut(..wanted.min(READ_IN_STEP_BYTES))
                .unwrap_or_default();
            match self.0.read_at(buf, at)? {
                0 => break,
                read => at += read as u64,
            }
        }
        Ok(())
    }

    fn write_at(&self, mut slices: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut done = 0u64;
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let written = match rustix::io::pwritev(&self.0, slices, position + done) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(Errno::INTR) => continue,
                // Not by such pieces, or not here at all.
                Err(Errno::INVAL) if set_direct(&self.0, false) => continue,
                Err(error) => return Err(error.into()),
            };
            done += written as u64;
            IoSlice::advance_slices(&mut slices, written);
        }
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::KEEP_SIZE, 0, len) {
            // The file system has no way to: then nothing is reserved.
            Err(Errno::OPNOTSUPP) => Ok(()),
            other => Ok(other?),
        }
    }

    fn modified(&self) -> io::Result<Option<TimestampMs>> {
        let modified = self.0.metadata()?.modified()?;
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(i64::try_from(since.as_millis()).ok().map(TimestampMs))
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}
