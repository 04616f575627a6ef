use super::*;
use crate::log::cold::ColdStorage;
use crate::log::fault::{EDQUOT, EIO, EMFILE, ENOENT, ENOSPC, EROFS, FaultStorage, Op};
use crate::log::log_dir::LogDirFailureChannel;
use crate::log::memory::MemStorage;

struct Disk {
    faults: FaultStorage,
    storage: LogDirStorage,
    dirs: Vec<Arc<LogDir>>,
    file: Arc<dyn File>,
}

fn disk() -> Disk {
    let faults = FaultStorage::new(Arc::new(MemStorage::default()));
    let channel = Arc::new(LogDirFailureChannel::default());
    let dirs: Vec<_> = ["/a", "/ab"]
        .map(|path| Arc::new(LogDir::new(path.into(), Arc::clone(&channel))))
        .into();
    let storage = LogDirStorage::new(Arc::new(faults.clone()), dirs.clone());
    for dir in &dirs {
        storage.create_dir_all(&dir.path().join("t-0")).unwrap();
    }
    let file = storage
        .open(Path::new("/a/t-0/f"), OpenMode::Create)
        .unwrap();
    file.write_at(&mut [IoSlice::new(b"text")], 0).unwrap();
    Disk {
        faults,
        storage,
        dirs,
        file,
    }
}

impl Disk {
    fn attempt(&self, op: Op, dir: &str) -> io::Result<()> {
        let (dir, s) = (Path::new(dir), &self.storage);
        let path = dir.join("t-0/f");
        match op {
            Op::Open => s.open(&path, OpenMode::Create).map(drop),
            Op::List => s.list(dir).map(drop),
            Op::MakeDir => s.create_dir_all(&dir.join("t-1")),
            Op::Rename => s.rename(&path, &dir.join("t-0/g")),
            Op::Remove => s.remove_file(&path),
            Op::Lock => s.lock(&dir.join(".lock")).map(drop),
            Op::Space => s.space(dir).map(drop),
            Op::SyncDir => s.sync_dir(dir),
            Op::SyncAll => s.sync_file_system(dir),
            Op::Len => self.file.len().map(drop),
            Op::Read => self.file.read_at(&mut [0; 4], 0).map(drop),
            Op::Write => self.file.write_at(&mut [IoSlice::new(b"x")], 0),
            Op::Truncate => self.file.truncate(1),
            Op::Sync => self.file.sync_data(),
        }
    }
}

#[test]
fn any_operation_that_meets_a_broken_disk_takes_its_directory_offline_and_no_other() {
    for op in Op::ALL {
        for errno in [EIO, EROFS] {
            let disk = disk();
            disk.attempt(op, "/a").unwrap();
            let disk = self::disk();
            disk.faults.fail("/a", op, errno);
            disk.attempt(op, "/a").unwrap_err();
            assert!(!disk.dirs[0].is_online(), "{op:?} {errno}");
            assert!(disk.dirs[1].is_online(), "{op:?} {errno}");
        }
    }
}

#[test]
fn what_passes_is_no_failure_but_a_sync_is_never_tried_twice() {
    for op in Op::ALL {
        for errno in [ENOSPC, EDQUOT, EMFILE] {
            let disk = disk();
            disk.faults.fail("/a", op, errno);
            disk.attempt(op, "/a").unwrap_err();
            assert_eq!(disk.dirs[0].is_online(), !op.is_sync(), "{op:?} {errno}");
        }
    }
}

#[test]
fn nothing_is_tried_on_a_directory_that_is_offline() {
    let disk = disk();
    disk.faults.fail("/a", Op::Sync, EIO);
    disk.attempt(Op::Sync, "/a").unwrap_err();
    disk.faults.heal();
    disk.faults.take_calls();
    for op in Op::ALL {
        let error = disk.attempt(op, "/a").unwrap_err();
        assert_eq!(error.to_string(), "the log directory is offline", "{op:?}");
    }
    assert_eq!(disk.faults.take_calls(), []);
    disk.attempt(Op::MakeDir, "/ab").unwrap();
}

#[test]
fn a_name_that_is_not_there_is_no_failure_unless_the_directory_itself_is_gone() {
    let disk = disk();
    let missing = Path::new("/a/t-0/none");
    disk.storage.open(missing, OpenMode::Read).unwrap_err();
    disk.storage.remove_file(missing).unwrap_err();
    disk.storage.rename(missing, missing).unwrap_err();
    disk.storage
        .open(Path::new("/a/t-9/f"), OpenMode::Create)
        .unwrap_err();
    disk.faults.fail("/a/t-0", Op::SyncDir, ENOENT);
    disk.storage.sync_dir(Path::new("/a/t-0")).unwrap_err();
    assert!(disk.dirs[0].is_online());
    // Its disk is unmounted: the mount point stays.
    disk.dirs[0].identify(crate::types::TopicId(uuid::Uuid::from_u128(1)));
    disk.storage
        .open(Path::new("/a/t-9/g"), OpenMode::Create)
        .unwrap_err();
    assert!(!disk.dirs[0].is_online());
}

#[test]
fn a_file_that_is_not_in_memory_is_no_broken_one_and_a_read_that_brings_it_in_may_find_one() {
    let cold = ColdStorage::default();
    let dir = Arc::new(LogDir::new("/a".into(), Arc::default()));
    let storage = LogDirStorage::new(Arc::new(cold.clone()), vec![Arc::clone(&dir)]);
    storage.create_dir_all(Path::new("/a")).unwrap();
    let file = storage.open(Path::new("/a/f"), OpenMode::Create).unwrap();
    file.write_at(&mut [IoSlice::new(b"text")], 0).unwrap();
    cold.forget_pages();
    let missed = file.read_cached_at(&mut [0; 4], 0).unwrap_err();
    assert_eq!(missed.kind(), ErrorKind::WouldBlock);
    assert!(dir.is_online());
    file.read_in(0, 4).unwrap();
    assert_eq!(file.read_cached_at(&mut [0; 4], 0).unwrap(), 4);

    cold.forget_pages();
    cold.break_down();
    file.read_in(0, 4).unwrap_err();
    assert!(!dir.is_online());
}

/// The methods of a trait, or of an implementation of it, that begins with some line.
fn methods<'a>(source: &'a str, head: &str) -> Vec<&'a str> {
    let body = source.split(head).nth(1).unwrap();
    let body = body.split("\n}\n").next().unwrap();
    let lines = body.lines().filter_map(|line| line.strip_prefix("    fn "));
    lines.filter_map(|line| line.split('(').next()).collect()
}

#[test]
fn every_method_of_the_storage_traits_is_passed_on() {
    let traits = include_str!("storage.rs");
    let here = include_str!("log_dir_storage.rs");
    for (declared, passed_on, own) in [
        ("pub trait Storage:", "impl Storage for LogDirStorage {", 12),
        ("pub trait File:", "impl File for LogDirFile {", 12),
    ] {
        let passed_on = methods(here, passed_on);
        let declared = methods(traits, declared);
        assert!(declared.len() >= own, "{declared:?}");
        for method in declared {
            // Its default asks another method.
            let derived = method == "is_empty";
            assert!(derived || passed_on.contains(&method), "{method}");
        }
    }
}

/// Notes what it was asked; answers what no default does.
#[derive(Debug, Default)]
struct Probe(parking_lot::Mutex<Vec<&'static str>>);

impl Probe {
    fn note(&self, what: &'static str) {
        self.0.lock().push(what);
    }
}

impl File for Probe {
    fn len(&self) -> io::Result<u64> {
        self.note("len");
        Ok(7)
    }
    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        self.note("read_at");
        Ok(1)
    }
    fn read_cached_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        self.note("read_cached_at");
        Ok(2)
    }
    fn read_in(&self, _: u64, _: u64) -> io::Result<()> {
        self.note("read_in");
        Ok(())
    }
    fn write_at(&self, _: &mut [IoSlice<'_>], _: u64) -> io::Result<()> {
        self.note("write_at");
        Ok(())
    }
    fn truncate(&self, _: u64) -> io::Result<()> {
        self.note("truncate");
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        self.note("sync_data");
        Ok(())
    }
    fn reserve(&self, _: u64) -> io::Result<()> {
        self.note("reserve");
        Ok(())
    }
    fn modified(&self) -> io::Result<Option<TimestampMs>> {
        self.note("modified");
        Ok(Some(TimestampMs(8)))
    }
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.note("fd");
        None
    }
}

#[test]
fn a_file_passes_on_what_the_traits_defaults_would_answer_themselves() {
    let probe = Arc::new(Probe::default());
    let dir = Arc::new(LogDir::new("/a".into(), Arc::default()));
    let file = LogDirFile {
        inner: Arc::clone(&probe) as Arc<dyn File>,
        dir: Arc::clone(&dir),
    };
    assert_eq!(file.len().unwrap(), 7);
    assert_eq!(file.read_at(&mut [0], 0).unwrap(), 1);
    assert_eq!(file.read_cached_at(&mut [0], 0).unwrap(), 2);
    file.read_in(0, 1).unwrap();
    file.write_at(&mut [], 0).unwrap();
    file.truncate(0).unwrap();
    file.sync_data().unwrap();
    file.reserve(9).unwrap();
    assert_eq!(file.modified().unwrap(), Some(TimestampMs(8)));
    assert!(file.fd().is_none());
    let asked = [
        "len",
        "read_at",
        "read_cached_at",
        "read_in",
        "write_at",
        "truncate",
        "sync_data",
        "reserve",
        "modified",
        "fd",
    ];
    assert_eq!(*probe.0.lock(), asked);
    // A read around the trait is judged here, and told to nobody below.
    file.read_failed(&io::Error::from_raw_os_error(EIO));
    assert!(!dir.is_online());
    assert_eq!(probe.0.lock().len(), asked.len());
}
