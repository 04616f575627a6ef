use bytes::Bytes;

use super::*;
use crate::log::storage::{File, RealStorage};
use crate::types::NodeId;
use crate::zab::{ProposalKind, Recovered, Snapshot, Voter, Voters};

const SALT: u32 = 7;

fn open(dir: &Path) -> Opened {
    ZabLog::open(Arc::new(RealStorage), dir, SALT).unwrap()
}

fn refused(dir: &Path) -> String {
    let error = ZabLog::open(Arc::new(RealStorage), dir, SALT).unwrap_err();
    error.to_string()
}

fn proposal(epoch: u32, counter: u32) -> Proposal {
    Proposal {
        zxid: Zxid::new(epoch, counter),
        kind: match counter % 2 {
            0 => ProposalKind::Reconfig,
            _ => ProposalKind::Data,
        },
        payload: Bytes::from(format!("payload {epoch}.{counter}")),
    }
}

fn large(counter: u32, len: usize) -> Proposal {
    Proposal::data(Zxid::new(1, counter), vec![1; len])
}

pub(super) fn voters(count: i32) -> Voters {
    Voters::new((1..=count).map(|id| {
        let voter = Voter::at(format!("host{id}"), 9093);
        let directory = uuid::Uuid::from_u128(id as u128);
        (NodeId(id), voter.with_directory(directory))
    }))
}

fn snapshot(zxid: Zxid, body: &'static str) -> Snapshot {
    Snapshot {
        zxid,
        voters: voters(3),
        body: Bytes::from_static(body.as_bytes()),
    }
}

fn counters(proposals: &[Proposal]) -> Vec<(u32, u32)> {
    let zxids = proposals.iter().map(|proposal| proposal.zxid);
    zxids.map(|zxid| (zxid.epoch(), zxid.counter())).collect()
}

fn append(log: &mut ZabLog, epoch: u32, counters: impl Iterator<Item = u32>) {
    let proposals = counters.map(|counter| proposal(epoch, counter)).collect();
    log.persist(&[Write::Append(proposals)]).unwrap();
}

fn epochs(log: &mut ZabLog, epoch: u32) {
    log.persist(&[Write::AcceptedEpoch(epoch), Write::CurrentEpoch(epoch)])
        .unwrap();
}

fn files(dir: &Path) -> Vec<String> {
    let entries = RealStorage.list(dir).unwrap();
    let names = entries.into_iter().map(|entry| entry.name);
    names.filter(|name| name != LOCK).collect()
}

fn flip(path: &Path, position: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[position] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn what_was_persisted_is_recovered() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("zab");
    let opened = open(&dir);
    assert_eq!(opened.recovered, Recovered::default());
    let mut log = opened.log;
    epochs(&mut log, 1);
    append(&mut log, 1, 1..=3);
    append(&mut log, 1, 4..=4);
    log.persist(&[Write::AcceptedEpoch(2)]).unwrap();
    drop(log);

    let mut log = open(&dir).log;
    epochs(&mut log, 2);
    append(&mut log, 2, 1..=1);
    drop(log);
    let recovered = open(&dir).recovered;
    let expected = Recovered {
        accepted_epoch: 2,
        current_epoch: 2,
        snapshot: Zxid::ZERO,
        voters: None,
        proposals: vec![
            proposal(1, 1),
            proposal(1, 2),
            proposal(1, 3),
            proposal(1, 4),
            proposal(2, 1),
        ],
    };
    assert_eq!(recovered, expected);
    assert_eq!(
        files(&dir),
        ["acceptedEpoch", "currentEpoch", "log.0000000100000001"]
    );
}

#[test]
fn snapshots_let_the_log_go_and_leave_a_spare() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("zab");
    let mut log = open(&dir).log;
    epochs(&mut log, 1);
    for round in 0..3u32 {
        let first = round * 10 + 1;
        append(&mut log, 1, first..first + 10);
        let at = Zxid::new(1, first + 4);
        assert!(log.bytes_since_snapshot() > 0);
        log.before_snapshot();
        assert_eq!(log.bytes_since_snapshot(), 0);
        log.snapshot_writer().write(&snapshot(at, "body")).unwrap();
        log.after_snapshot(at).unwrap();
    }
    append(&mut log, 1, 31..=31);
    drop(log);
    assert_eq!(
        files(&dir),
        [
            "acceptedEpoch",
            "currentEpoch",
            "log.000000010000000b",
            "log.0000000100000015",
            "log.000000010000001f",
            "snapshot.000000010000000f",
            "snapshot.0000000100000019",
        ]
    );
    let opened = open(&dir);
    assert_eq!(opened.snapshot.as_deref(), Some(&b"body"[..]));
    assert_eq!(opened.recovered.snapshot, Zxid::new(1, 25));
    assert_eq!(opened.recovered.voters, Some(voters(3)));
    let from_25: Vec<_> = (26..=31).map(|counter| proposal(1, counter)).collect();
    assert_eq!(opened.recovered.proposals, from_25);
    drop(opened);

    // The newest snapshot is bad: the one before and the log make up for it.
    flip(&dir.join("snapshot.0000000100000019"), 45);
    let opened = open(&dir);
    assert_eq!(opened.recovered.snapshot, Zxid::new(1, 15));
    assert_eq!(opened.recovered.proposals.len(), 16);
    drop(opened);

    // Both are bad: nothing begins at the beginning.
    flip(&dir.join("snapshot.000000010000000f"), 45);
    let refusal = refused(&dir);
    assert!(refusal.contains("0x10000000b follows 0x0"), "{refusal}");
}

#[test]
fn a_snapshot_that_is_taken_again_is_one() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("zab");
    let mut log = open(&dir).log;
    epochs(&mut log, 1);
    append(&mut log, 1, 1..=9);
    let at = Zxid::new(1, 4);
    for _ in 0..4 {
        log.before_snapshot();
        log.snapshot_writer().write(&snapshot(at, "body")).unwrap();
        log.after_snapshot(at).unwrap();
    }
    drop(log);
    assert_eq!(open(&dir).recovered.snapshot, at);
}

#[test]
fn damage_is_refused_with_what_to_do() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("zab");
    let mut log = open(&dir).log;
    epochs(&mut log, 1);
    append(&mut log, 1, 1..=1);
    append(&mut log, 1, 2..=2);
    drop(log);
    let path = dir.join("log.0000000100000001");
    let whole = std::fs::read(&path).unwrap();

    flip(&path, 60);
    let refusal = refused(&dir);
    assert!(refusal.contains("bytes 32 to 72 are bad"), "{refusal}");
    assert!(refusal.contains("from a backup"), "{refusal}");
    std::fs::write(&path, &whole).unwrap();

    flip(&path, 3);
    assert!(refused(&dir).contains("its header is damaged"));
    std::fs::write(&path, &whole).unwrap();

    std::fs::write(dir.join("acceptedEpoch"), "0\n").unwrap();
    assert!(refused(&dir).contains("it says 0, but there are proposals of epoch 1"));
    std::fs::write(dir.join("acceptedEpoch"), "1\n").unwrap();
    std::fs::write(dir.join("currentEpoch"), "2\n").unwrap();
    assert!(refused(&dir).contains("it says 1, but epoch 2 is current"));
    std::fs::write(dir.join("currentEpoch"), "one").unwrap();
    assert!(refused(&dir).contains("it does not hold an epoch"));
    std::fs::write(dir.join("currentEpoch"), "1\n").unwrap();

    // A later segment without what comes before it.
    std::fs::rename(&path, dir.join("log.0000000100000009")).unwrap();
    assert!(refused(&dir).contains("its name is not its own"));
    std::fs::rename(dir.join("log.0000000100000009"), &path).unwrap();
    assert_eq!(open(&dir).recovered.proposals.len(), 2);
}

#[test]
fn a_hole_between_segments_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("zab");
    let mut log = open(&dir).log;
    epochs(&mut log, 1);
    for first in [1, 4, 7] {
        append(&mut log, 1, first..first + 3);
        log.before_snapshot();
    }
    drop(log);
    std::fs::remove_file(dir.join("log.0000000100000004")).unwrap();
    let refusal = refused(&dir);
    assert!(
        refusal.contains("0x100000007 follows 0x100000003"),
        "{refusal}"
    );
}

#[test]
fn space_is_written_before_it_is_used() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("zab");
    let mut log = open(&dir).log;
    epochs(&mut log, 1);
    append(&mut log, 1, 1..=1);
    let path = dir.join("log.0000000100000001");
    let len = || std::fs::metadata(&path).unwrap().len();
    assert_eq!(len(), PREALLOCATED_BYTES as u64);
    log.persist(&[Write::Append(vec![large(2, PREALLOCATED_BYTES)])])
        .unwrap();
    assert!(len() > 2 * PREALLOCATED_BYTES as u64);
    let grown = len();
    append(&mut log, 1, 3..=9);
    assert_eq!(len(), grown);
    drop(log);
    assert_eq!(open(&dir).recovered.proposals.len(), 9);
}

#[test]
fn a_long_segment_grows_in_larger_steps_up_to_a_bound() {
    let least = PREALLOCATED_BYTES;
    assert_eq!(written_ahead(0, least), least);
    assert_eq!(written_ahead(4 * least as u64, least), least);
    assert_eq!(written_ahead(1 << 20, least), 256 << 10);
    assert_eq!(written_ahead(SEGMENT_BYTES, least), 512 << 10);
}

#[test]
fn long_segments_are_followed_by_others() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("zab");
    let mut log = open(&dir).log;
    epochs(&mut log, 1);
    for counter in 1..=3 {
        let large = large(counter, SEGMENT_BYTES as usize);
        log.persist(&[Write::Append(vec![large])]).unwrap();
    }
    assert_eq!(files(&dir).len(), 2 + 3);
    drop(log);
    assert_eq!(open(&dir).recovered.proposals.len(), 3);
}

#[test]
fn a_history_newer_than_the_current_epoch_is_what_a_crash_in_synchronization_leaves() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("zab");
    let mut log = open(&dir).log;
    epochs(&mut log, 1);
    log.persist(&[Write::AcceptedEpoch(3)]).unwrap();
    append(&mut log, 1, 1..=1);
    append(&mut log, 3, 1..=2);
    drop(log);
    let recovered = open(&dir).recovered;
    assert_eq!((recovered.accepted_epoch, recovered.current_epoch), (3, 1));
    assert_eq!(recovered.proposals.len(), 3);
}

#[test]
fn what_is_cut_off_is_gone_and_other_things_come_in_its_place() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("zab");
    let mut log = open(&dir).log;
    epochs(&mut log, 1);
    log.persist(&[Write::AcceptedEpoch(4)]).unwrap();
    append(&mut log, 1, 1..=2);
    append(&mut log, 1, 3..=6);
    log.before_snapshot();
    append(&mut log, 1, 7..=7);
    append(&mut log, 2, 1..=1);
    let grown = log.bytes_since_snapshot();
    // In the middle of a batch of the segment before.
    log.persist(&[Write::Truncate(Zxid::new(1, 4))]).unwrap();
    assert!(log.bytes_since_snapshot() < grown);
    assert_eq!(
        files(&dir),
        ["acceptedEpoch", "currentEpoch", "log.0000000100000001"]
    );
    append(&mut log, 3, 1..=1);
    // To where it is already, and to what it does not have.
    log.persist(&[Write::Truncate(Zxid::new(3, 1))]).unwrap();
    log.persist(&[
        Write::Truncate(Zxid::new(2, 9)),
        Write::Append(vec![proposal(4, 1)]),
    ])
    .unwrap();
    drop(log);
    let recovered = open(&dir).recovered;
    assert_eq!(
        counters(&recovered.proposals),
        [(1, 1), (1, 2), (1, 3), (1, 4), (4, 1)]
    );
    assert_eq!(recovered.proposals[3], proposal(1, 4));

    let mut log = open(&dir).log;
    log.persist(&[Write::Truncate(Zxid::ZERO)]).unwrap();
    drop(log);
    assert_eq!(open(&dir).recovered.proposals, []);
}

#[test]
fn what_a_snapshot_has_is_not_cut_off() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("zab");
    let mut log = open(&dir).log;
    epochs(&mut log, 1);
    append(&mut log, 1, 1..=6);
    let at = Zxid::new(1, 4);
    log.before_snapshot();
    log.snapshot_writer().write(&snapshot(at, "body")).unwrap();
    log.after_snapshot(at).unwrap();
    log.persist(&[Write::Truncate(at)]).unwrap();
    let refused = log
        .persist(&[Write::Truncate(Zxid::new(1, 3))])
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("cannot be cut back to 0x100000003"),
        "{refused}"
    );
    drop(log);
    let opened = open(&dir);
    assert_eq!(
        (opened.recovered.snapshot, opened.recovered.proposals),
        (at, Vec::new())
    );
}

#[test]
fn an_installed_snapshot_is_all_there_is() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("zab");
    let mut log = open(&dir).log;
    epochs(&mut log, 5);
    append(&mut log, 1, 1..=9);
    // Older than what is there: a later leader's history is shorter.
    let at = Zxid::new(1, 5);
    log.persist(&[
        Write::Install(snapshot(at, "leader's")),
        Write::Append(vec![proposal(1, 6), proposal(5, 1)]),
    ])
    .unwrap();
    drop(log);
    let expected = [
        "acceptedEpoch",
        "currentEpoch",
        "log.0000000100000006.00000001",
        "snapshot.0000000100000005.00000001",
    ];
    assert_eq!(files(&dir), expected);
    let opened = open(&dir);
    assert_eq!(opened.recovered.snapshot, at);
    assert_eq!(opened.recovered.voters, Some(voters(3)));
    assert_eq!(opened.snapshot.as_deref(), Some(&b"leader's"[..]));
    assert_eq!(counters(&opened.recovered.proposals), [(1, 6), (5, 1)]);
    drop(opened);

    // Another history, or a part of one, is no stand-in for it.
    let installed = dir.join(expected[3]);
    let whole = std::fs::read(&installed).unwrap();
    flip(&installed, 50);
    assert!(refused(&dir).contains("its checksum is wrong"));
    std::fs::remove_file(&installed).unwrap();
    assert!(refused(&dir).contains("the snapshot that its history begins with is missing"));
    std::fs::write(&installed, whole).unwrap();
    assert_eq!(open(&dir).recovered.proposals.len(), 2);
}

#[test]
fn a_snapshot_that_was_overtaken_by_an_installed_one_goes() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("zab");
    let mut log = open(&dir).log;
    epochs(&mut log, 1);
    append(&mut log, 1, 1..=9);
    log.before_snapshot();
    let writer = log.snapshot_writer();
    let (own, leaders) = (Zxid::new(1, 9), Zxid::new(1, 7));
    log.persist(&[Write::Install(snapshot(leaders, "leader's"))])
        .unwrap();
    writer.write(&snapshot(own, "own")).unwrap();
    log.after_snapshot(own).unwrap();
    assert_eq!(
        files(&dir),
        [
            "acceptedEpoch",
            "currentEpoch",
            "snapshot.0000000100000007.00000001"
        ]
    );
    // And the next one counts again.
    append(&mut log, 1, 8..=8);
    log.before_snapshot();
    let at = Zxid::new(1, 8);
    log.snapshot_writer().write(&snapshot(at, "own")).unwrap();
    log.after_snapshot(at).unwrap();
    drop(log);
    assert_eq!(open(&dir).recovered.snapshot, at);
}

/// Fails its first `sync_data` and would be fine afterwards.
#[derive(Debug)]
struct FailsOnce(std::sync::atomic::AtomicBool, Arc<dyn File>);

impl File for FailsOnce {
    fn len(&self) -> io::Result<u64> {
        self.1.len()
    }
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.1.read_at(buf, position)
    }
    fn write_at(&self, slices: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        self.1.write_at(slices, position)
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.1.truncate(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        match self.0.swap(false, std::sync::atomic::Ordering::Relaxed) {
            true => Err(io::Error::other("bad sector")),
            false => self.1.sync_data(),
        }
    }
    fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
}

#[test]
fn after_a_failed_flush_nothing_is_taken() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("zab");
    let mut log = open(&dir).log;
    epochs(&mut log, 1);
    append(&mut log, 1, 1..=1);
    let path = dir.join("log.0000000100000001");
    let file = RealStorage.open(&path, OpenMode::Unbuffered).unwrap();
    let segment = log.open.as_mut().unwrap();
    let so_far = std::fs::read(&path).unwrap();
    let so_far = &so_far[..segment.position() as usize];
    segment.writer = BlockWriter::behind(Arc::new(FailsOnce(true.into(), file)), so_far);
    let write = [Write::Append(vec![proposal(1, 2)])];
    assert!(
        log.persist(&write)
            .unwrap_err()
            .to_string()
            .contains("bad sector")
    );
    assert!(matches!(log.persist(&write), Err(ZabLogError::Failed)));
    assert!(matches!(
        log.persist(&[Write::AcceptedEpoch(9)]),
        Err(ZabLogError::Failed)
    ));
    assert_eq!(std::fs::read(&path).unwrap()[0], b'd');
}
