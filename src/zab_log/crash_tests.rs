//! Every prefix of a server's writes and flushes, and what a crash may leave of those that were not
//! flushed, is a disk from which the server goes on without losing what it had acknowledged.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use parking_lot::Mutex;

use super::*;
use crate::log::storage::{DirEntry, File, Space};
use crate::state_machine::Tick;
use crate::types::NodeId;
use crate::zab::{Input, Peer, PeerOptions, Snapshot, Voters};
use crate::zab_log::tests::voters;

/// A disk in memory that stops at a given step and forgets what was not flushed.
#[derive(Debug, Clone)]
pub(super) struct CrashingDisk(Arc<Mutex<Disk>>);

#[derive(Debug, Clone, Default)]
struct Disk {
    contents: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Changes of names since the last `sync_dir`: the name and what it stands for.
    unsynced_names: Vec<(PathBuf, Option<usize>)>,
    steps: usize,
    stops_at: usize,
}

#[derive(Debug, Clone, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

const SECTOR: usize = 512;

impl Change {
    fn apply(&self, to: &mut Vec<u8>, mut keep: impl FnMut() -> bool) {
        match self {
            Change::Truncate(len) => {
                if keep() {
                    to.resize(*len, 0);
                }
            }
            Change::Write(position, bytes) => {
                // The length may grow while the bytes stay behind, and any sector may be missing.
                let mut at = *position;
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    let len = (SECTOR - at % SECTOR).min(rest.len());
                    let (sector, behind) = rest.split_at(len);
                    if keep() {
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

/// What survives of the unsynced.
#[derive(Debug, Clone, Copy)]
pub(super) enum Luck {
    Nothing,
    Everything,
    Some(u64),
}

impl Luck {
    pub(super) fn next(&mut self) -> bool {
        match self {
            Luck::Nothing => false,
            Luck::Everything => true,
            Luck::Some(state) => {
                *state = state
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                state.count_ones() % 2 == 0
            }
        }
    }
}

impl CrashingDisk {
    pub(super) fn new(stops_at: usize) -> Self {
        let disk = Disk {
            stops_at,
            ..Disk::default()
        };
        Self(Arc::new(Mutex::new(disk)))
    }

    /// The same disk for another process: the one before was killed, the machine goes on.
    pub(super) fn killed(&self, stops_at: usize) -> Self {
        let mut disk = self.0.lock().clone();
        disk.steps = 0;
        disk.stops_at = stops_at;
        Self(Arc::new(Mutex::new(disk)))
    }

    /// The same disk after the machine's crash.
    pub(super) fn crash(&self, mut luck: Luck, stops_at: usize) -> Self {
        let mut disk = self.0.lock().clone();
        for content in &mut disk.contents {
            let mut left = std::mem::take(&mut content.durable);
            for change in std::mem::take(&mut content.unsynced) {
                change.apply(&mut left, || luck.next());
            }
            *content = Content {
                now: left.clone(),
                durable: left,
                unsynced: Vec::new(),
            };
        }
        // A journal keeps the order of names: some first part of them.
        let mut names = std::mem::take(&mut disk.durable_names);
        for (name, target) in std::mem::take(&mut disk.unsynced_names) {
            if !luck.next() {
                break;
            }
            match target {
                Some(target) => names.insert(name, target),
                None => names.remove(&name),
            };
        }
        disk.durable_names = names.clone();
        disk.names = names;
        disk.steps = 0;
        disk.stops_at = stops_at;
        Self(Arc::new(Mutex::new(disk)))
    }

    fn step(disk: &mut Disk) -> io::Result<()> {
        disk.steps += 1;
        if disk.steps > disk.stops_at {
            return Err(io::Error::other("crashed"));
        }
        Ok(())
    }
}

impl Storage for CrashingDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut disk = self.0.lock();
        let content = match disk.names.get(path) {
            Some(content) => *content,
            None if mode == OpenMode::Create => {
                Self::step(&mut disk)?;
                disk.contents.push(Content::default());
                let content = disk.contents.len() - 1;
                disk.names.insert(path.to_owned(), content);
                disk.unsynced_names.push((path.to_owned(), Some(content)));
                content
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(CrashingFile(self.clone(), content)))
    }
    fn list(&self, _: &Path) -> io::Result<Vec<DirEntry>> {
        let disk = self.0.lock();
        let entries = disk.names.iter().map(|(path, content)| DirEntry {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            is_dir: false,
            len: disk.contents[*content].now.len() as u64,
        });
        Ok(entries.collect())
    }
    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        Self::step(&mut disk)?;
        let content = disk.names.remove(from).unwrap();
        disk.names.insert(to.to_owned(), content);
        disk.unsynced_names.push((to.to_owned(), Some(content)));
        disk.unsynced_names.push((from.to_owned(), None));
        Ok(())
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        Self::step(&mut disk)?;
        disk.names.remove(path);
        disk.unsynced_names.push((path.to_owned(), None));
        Ok(())
    }
    fn remove_dir_all(&self, _: &Path) -> io::Result<()> {
        unreachable!()
    }
    fn exists(&self, path: &Path) -> bool {
        self.0.lock().names.contains_key(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.0.lock();
        Self::step(&mut disk)?;
        if dir != Path::new("/zab") {
            return Ok(());
        }
        disk.durable_names = disk.names.clone();
        disk.unsynced_names.clear();
        Ok(())
    }
    fn lock(&self, _: &Path) -> io::Result<Option<Lock>> {
        Ok(Some(Box::new(())))
    }
    fn space(&self, _: &Path) -> io::Result<Space> {
        unreachable!()
    }
}

#[derive(Debug)]
struct CrashingFile(CrashingDisk, usize);

impl CrashingFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut disk = self.0.0.lock();
        // A crash in the middle of a write leaves some of it.
        let stopped = CrashingDisk::step(&mut disk);
        let content = &mut disk.contents[self.1];
        change.apply(&mut content.now, || true);
        content.unsynced.push(change);
        stopped
    }
}

impl File for CrashingFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.0.lock().contents[self.1].now.len() as u64)
    }
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        let disk = self.0.0.lock();
        let bytes = &disk.contents[self.1].now;
        let from = &bytes[bytes.len().min(position as usize)..];
        let len = from.len().min(buf.len());
        buf[..len].copy_from_slice(&from[..len]);
        Ok(len)
    }
    fn write_at(&self, slices: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        let bytes = slices.iter().flat_map(|slice| slice.iter().copied());
        self.change(Change::Write(position as usize, bytes.collect()))
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.change(Change::Truncate(len as usize))
    }
    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.0.0.lock();
        CrashingDisk::step(&mut disk)?;
        let content = &mut disk.contents[self.1];
        content.durable = content.now.clone();
        content.unsynced.clear();
        Ok(())
    }
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A peer on a disk, whose state is the list of what it applied.
struct Server {
    peer: Peer,
    log: ZabLog,
    applied: Vec<String>,
}

/// What the world saw of all incarnations of a server.
#[derive(Default)]
struct World {
    proposed: u32,
    /// Applied at some time, in order: may be relied upon.
    acknowledged: Vec<String>,
    newest_epoch: u32,
}

impl Server {
    fn start(disk: &CrashingDisk, world: &mut World) -> Result<Self, ZabLogError> {
        let mut opened = ZabLog::open(Arc::new(disk.clone()), Path::new("/zab"), 99)?;
        // Small, so that files grow often.
        opened.log.preallocated = 2048;
        let body = opened.snapshot.unwrap_or_default();
        let text = String::from_utf8(body.to_vec()).unwrap();
        let applied = text.split_terminator(' ').map(str::to_owned).collect();
        let id = NodeId(1);
        let mut server = Self {
            peer: Peer::new(PeerOptions::new(id, Voters::of([id])), opened.recovered).unwrap(),
            log: opened.log,
            applied,
        };
        server.peer.step(Input::Start, Tick(0));
        server.run(world)?;
        assert!(server.peer.is_leading());
        // An epoch is never used twice.
        assert!(server.peer.current_epoch() > world.newest_epoch);
        world.newest_epoch = server.peer.current_epoch();
        Ok(server)
    }

    fn run(&mut self, world: &mut World) -> Result<(), ZabLogError> {
        loop {
            let ready = self.peer.ready();
            for proposal in ready.apply {
                let payload = String::from_utf8(proposal.payload.to_vec()).unwrap();
                self.applied.push(payload);
            }
            // What was acknowledged is there, where it was; what is there was acknowledged by now.
            let known = world.acknowledged.len().min(self.applied.len());
            assert_eq!(self.applied[..known], world.acknowledged[..known]);
            if self.applied.len() > known {
                world.acknowledged.clone_from(&self.applied);
            }
            let Some(persist) = ready.persist else {
                return Ok(());
            };
            self.log.persist(&persist.writes)?;
            self.peer.step(Input::Durable(persist.receipt), Tick(0));
        }
    }

    fn work(&mut self, world: &mut World) -> Result<(), ZabLogError> {
        for round in 0..4 {
            // Groups of one to three, some over several sectors.
            for _ in 0..=round % 3 {
                world.proposed += 1;
                let payload = format!("{}{}", world.proposed, "x".repeat(round * 700));
                self.peer.propose(payload.into()).unwrap();
            }
            self.run(world)?;
            if round == 1 {
                self.log.before_snapshot();
                let at = self.peer.delivered();
                let body = self.applied.join(" ") + " ";
                let taken = Snapshot {
                    zxid: at,
                    voters: voters(1),
                    body: body.into(),
                };
                self.log
                    .snapshot_writer()
                    .write(&taken)
                    .map_err(|error| ZabLogError::io(Path::new("snapshot"), error))?;
                self.log.after_snapshot(at)?;
            }
        }
        Ok(())
    }
}

fn start_and_work(disk: &CrashingDisk, world: &mut World) -> Result<(), ZabLogError> {
    Server::start(disk, world)?.work(world)
}

/// A restart on a disk that holds must find everything.
fn check(disk: &CrashingDisk, world: &mut World) {
    let server = Server::start(disk, world).unwrap();
    assert_eq!(server.applied, world.acknowledged);
}

#[test]
fn every_prefix_of_a_life_can_be_recovered() {
    let mut crashes = 0;
    for stops_at in 0.. {
        let mut finished = false;
        for luck in [Luck::Nothing, Luck::Everything]
            .into_iter()
            .chain((0..12).map(|seed| Luck::Some(seed * 7919 + stops_at as u64)))
        {
            let mut world = World::default();
            let disk = CrashingDisk::new(stops_at);
            finished = start_and_work(&disk, &mut world).is_ok();
            crashes += 1;
            let after = disk.crash(luck, usize::MAX);
            check(&after, &mut world);
            // And it goes on from there.
            start_and_work(&after, &mut world).unwrap();
            check(&after, &mut world);
        }
        if finished {
            break;
        }
    }
    assert!(crashes > 300, "only {crashes}");
}

#[test]
fn a_crash_while_recovering_from_a_crash_loses_nothing_either() {
    let whole_life = 60;
    for first in (0..whole_life).step_by(3) {
        for second in 0..40 {
            let mut world = World::default();
            let luck = |salt: usize| Luck::Some((first * 1000 + second * 10 + salt) as u64);
            let disk = CrashingDisk::new(first);
            let _ = start_and_work(&disk, &mut world);
            let disk = disk.crash(luck(1), second);
            let _ = start_and_work(&disk, &mut world);
            let disk = disk.crash(luck(2), usize::MAX);
            check(&disk, &mut world);
        }
    }
}

#[test]
fn removed_files_may_come_back_in_any_number() {
    for luck in (0..50).map(Luck::Some).chain([Luck::Nothing]) {
        let mut world = World::default();
        let disk = CrashingDisk::new(usize::MAX);
        for _ in 0..4 {
            start_and_work(&disk, &mut world).unwrap();
        }
        let disk = disk.crash(luck, usize::MAX);
        check(&disk, &mut world);
    }
}

#[test]
fn what_a_killed_process_left_unflushed_is_flushed_before_it_counts() {
    for stops_at in 0..60 {
        let mut world = World::default();
        let disk = CrashingDisk::new(stops_at);
        let _ = start_and_work(&disk, &mut world);
        let disk = disk.killed(usize::MAX);
        check(&disk, &mut world);
        let disk = disk.crash(Luck::Nothing, usize::MAX);
        check(&disk, &mut world);
    }
}
