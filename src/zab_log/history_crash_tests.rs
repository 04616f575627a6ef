//! The disk of a follower whose leaders cut its history and replace it: wherever a crash comes, what is there
//! afterwards is the history before the write or the one after it, and what was dropped stays dropped.

use bytes::Bytes;

use super::crash_tests::{CrashingDisk, Luck};
use super::tests::voters;
use super::*;
use crate::zab::{ProposalKind, Snapshot, follows};

/// A proposal by its place, and a number that no other has: the same zxid may come again after a truncation.
type Entry = (Zxid, u32);

/// What the disk should hold.
#[derive(Debug, Clone, PartialEq, Default)]
struct Model {
    accepted: u32,
    current: u32,
    /// From the beginning of time.
    history: Vec<Entry>,
    /// The newest snapshot.
    snapshot: Zxid,
}

impl Model {
    fn last(&self) -> Zxid {
        self.history.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid)
    }

    fn cut(&mut self, to: Zxid) {
        self.history.retain(|(zxid, _)| *zxid <= to);
    }
}

fn proposal((zxid, number): Entry) -> Proposal {
    let kind = match number % 3 {
        0 => ProposalKind::Reconfig,
        _ => ProposalKind::Data,
    };
    // Some over several sectors.
    let mut payload = number.to_le_bytes().to_vec();
    payload.resize(4 + (number as usize % 4) * 500, number as u8);
    Proposal {
        zxid,
        kind,
        payload: payload.into(),
    }
}

fn entry(of: &Proposal) -> Entry {
    let number = u32::from_le_bytes(of.payload[..4].try_into().unwrap());
    assert_eq!(*of, proposal((of.zxid, number)));
    (of.zxid, number)
}

/// Its body is all of the history, so that nothing can hide behind it.
fn snapshot(zxid: Zxid, history: &[Entry]) -> Snapshot {
    let mut body = Vec::new();
    for (zxid, number) in history {
        body.extend(zxid.0.to_le_bytes());
        body.extend(number.to_le_bytes());
    }
    Snapshot {
        zxid,
        voters: voters(history.len() as i32 % 7 + 1),
        body: body.into(),
    }
}

fn entries(body: &Bytes) -> Vec<Entry> {
    let entry = |bytes: &[u8]| {
        let zxid = Zxid(u64::from_le_bytes(bytes[..8].try_into().unwrap()));
        (zxid, u32::from_le_bytes(bytes[8..].try_into().unwrap()))
    };
    body.chunks(12).map(entry).collect()
}

/// A follower between two crashes.
struct Follower {
    log: ZabLog,
    model: Model,
    /// What a crash in the write under way may leave.
    allowed: Vec<Model>,
    numbers: u32,
}

fn recovered(disk: &CrashingDisk) -> Result<(ZabLog, Model), ZabLogError> {
    let mut opened = ZabLog::open(Arc::new(disk.clone()), Path::new("/zab"), 5)?;
    opened.log.preallocated = 2048;
    let mut history = opened.snapshot.as_ref().map(entries).unwrap_or_default();
    if opened.snapshot.is_some() {
        let expected = snapshot(opened.recovered.snapshot, &history).voters;
        assert_eq!(opened.recovered.voters, Some(expected));
    }
    history.extend(opened.recovered.proposals.iter().map(entry));
    let model = Model {
        accepted: opened.recovered.accepted_epoch,
        current: opened.recovered.current_epoch,
        history,
        snapshot: opened.recovered.snapshot,
    };
    Ok((opened.log, model))
}

impl Follower {
    fn write(&mut self, write: Write, after: impl FnOnce(&mut Model)) -> Result<(), ZabLogError> {
        let before = self.model.clone();
        after(&mut self.model);
        self.allowed = vec![self.model.clone()];
        if matches!(write, Write::Truncate(_)) {
            // Cut less.
            let longer = self.model.history.len() + 1..before.history.len();
            self.allowed.extend(longer.map(|len| Model {
                history: before.history[..len].to_vec(),
                ..before.clone()
            }));
        }
        self.allowed.push(before);
        self.log.persist(&[write])?;
        self.allowed = vec![self.model.clone()];
        Ok(())
    }

    fn next(&mut self, zxid: Zxid) -> Entry {
        self.numbers += 1;
        (zxid, self.numbers)
    }

    /// The epochs of a leader that is followed.
    fn epoch(&mut self, with_current: bool) -> Result<(), ZabLogError> {
        let epoch = self.model.accepted + 1;
        self.write(Write::AcceptedEpoch(epoch), |model| model.accepted = epoch)?;
        if with_current {
            self.write(Write::CurrentEpoch(epoch), |model| model.current = epoch)?;
        }
        Ok(())
    }

    fn append(&mut self, count: usize, new_epoch: bool) -> Result<(), ZabLogError> {
        let mut last = self.model.last();
        let mut more = Vec::new();
        for _ in 0..count {
            last = if new_epoch && more.is_empty() && last.epoch() < self.model.accepted {
                Zxid::new(self.model.accepted, 1)
            } else if last == Zxid::ZERO {
                Zxid::new(1, 1)
            } else {
                Zxid(last.0 + 1)
            };
            more.push(self.next(last));
        }
        let proposals = more.iter().copied().map(proposal).collect();
        self.write(Write::Append(proposals), |model| model.history.extend(more))
    }

    fn truncate(&mut self, zxid: Zxid) -> Result<(), ZabLogError> {
        self.write(Write::Truncate(zxid), |model| model.cut(zxid))
    }

    /// A leader's history that has so much in common with this one.
    fn install(&mut self, common: usize, own: usize) -> Result<(), ZabLogError> {
        let mut history = self.model.history[..common].to_vec();
        for counter in 1..=own as u32 {
            let zxid = Zxid::new(self.model.accepted, counter);
            if history.last().is_some_and(|(last, _)| *last >= zxid) {
                continue;
            }
            let entry = self.next(zxid);
            history.push(entry);
        }
        let zxid = history.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid);
        let installed = snapshot(zxid, &history);
        self.write(Write::Install(installed), |model| {
            model.history = history;
            model.snapshot = zxid;
        })
    }

    /// Takes a snapshot; with `replaced`, a leader's is installed while it is written.
    fn snapshot(&mut self, at: Zxid, replaced: bool) -> Result<(), ZabLogError> {
        let mut history = self.model.clone();
        history.cut(at);
        let taken = snapshot(at, &history.history);
        self.log.before_snapshot();
        let writer = self.log.snapshot_writer();
        if replaced {
            self.install(history.history.len(), 3)?;
        }
        let stale = self.model.clone();
        if !replaced {
            self.model.snapshot = at;
        }
        self.allowed = vec![stale, self.model.clone()];
        let written = writer.write(&taken);
        written.map_err(|error| ZabLogError::io(Path::new("snapshot"), error))?;
        self.log.after_snapshot(at)?;
        self.allowed = vec![self.model.clone()];
        Ok(())
    }
}

/// Nothing else may go wrong.
fn is_crash(error: &ZabLogError) -> bool {
    error.to_string().ends_with(": crashed")
}

fn restart(disk: &CrashingDisk, allowed: &[Model], numbers: u32) -> Result<Follower, ZabLogError> {
    let (log, model) = recovered(disk)?;
    assert!(
        allowed.contains(&model),
        "{model:#?}\nis none of {allowed:#?}"
    );
    Ok(Follower {
        log,
        allowed: vec![model.clone()],
        model,
        numbers,
    })
}

/// Everything a leader can do to a follower's disk, in one life.
fn script(follower: &mut Follower) -> Result<(), ZabLogError> {
    follower.epoch(true)?;
    follower.append(3, false)?;
    follower.append(2, false)?;
    follower.epoch(false)?;
    // In the middle of a batch, and then at the end of one.
    follower.truncate(Zxid::new(1, 4))?;
    follower.truncate(Zxid::new(1, 3))?;
    follower.append(2, false)?;
    follower.snapshot(Zxid::new(1, 2), false)?;
    follower.append(1, true)?;
    // Over two segments.
    follower.truncate(Zxid::new(1, 3))?;
    follower.append(3, true)?;
    follower.install(2, 2)?;
    follower.epoch(true)?;
    follower.append(2, true)?;
    follower.snapshot(Zxid::new(3, 1), true)?;
    follower.append(3, false)?;
    follower.truncate(Zxid::new(3, 4))?;
    follower.snapshot(Zxid::new(3, 4), false)?;
    follower.append(2, false)?;
    follower.snapshot(Zxid::new(3, 5), false)?;
    // To where it began, and back with less than there was.
    follower.truncate(Zxid::new(3, 5))?;
    follower.epoch(false)?;
    follower.install(1, 0)?;
    follower.append(1, false)
}

fn lucks(salt: usize) -> impl Iterator<Item = Luck> {
    let seeds = (0..10).map(move |seed| Luck::Some(seed * 7919 + salt as u64));
    [Luck::Nothing, Luck::Everything].into_iter().chain(seeds)
}

#[test]
fn every_prefix_of_a_followers_life_is_its_history_before_or_after() {
    let first = [Model::default()];
    let mut crashes = 0;
    for stops_at in 0.. {
        let disk = CrashingDisk::new(stops_at);
        let (allowed, finished) = match restart(&disk, &first, 0) {
            Err(error) => {
                assert!(is_crash(&error), "{error}");
                (first.to_vec(), false)
            }
            Ok(mut follower) => {
                let finished = script(&mut follower);
                assert!(finished.as_ref().err().is_none_or(is_crash), "{finished:?}");
                (follower.allowed, finished.is_ok())
            }
        };
        for luck in lucks(stops_at) {
            crashes += 1;
            // The machine crashes; or the process is killed first, and what its successor found is still there.
            let killed = disk.killed(usize::MAX);
            let after_kill = restart(&killed, &allowed, 0).unwrap().model;
            let killed = killed.crash(luck, usize::MAX);
            restart(&killed, &[after_kill], 0).unwrap();

            let crashed = disk.crash(luck, usize::MAX);
            let found = restart(&crashed, &allowed, 0).unwrap().model;
            restart(&crashed, &[found], 0).unwrap();
        }
        if finished {
            break;
        }
    }
    assert!(crashes > 2000, "only {crashes}");
}

/// Random writes, crashes at random steps, some of them while recovering from the one before.
fn life(seed: u64) {
    let mut random = Luck::Some(seed);
    let mut upto = |limit: usize| {
        let bits = (0..16).fold(0, |bits, _| bits << 1 | usize::from(random.next()));
        bits % limit.max(1)
    };
    let mut allowed = vec![Model::default()];
    let mut numbers = 0;
    let mut disk = CrashingDisk::new(upto(120));
    for crash in 0..8 {
        match restart(&disk, &allowed, numbers) {
            Ok(mut follower) => {
                let worked = (0..40).try_for_each(|_| work(&mut follower, &mut upto));
                assert!(
                    worked.as_ref().err().is_none_or(is_crash),
                    "seed {seed}: {worked:?}"
                );
                allowed = follower.allowed;
                numbers = follower.numbers;
            }
            Err(error) => assert!(is_crash(&error), "seed {seed}: {error}"),
        }
        let luck = Luck::Some(seed * 31 + crash);
        let stops_at = if crash == 6 { usize::MAX } else { upto(120) };
        disk = match upto(4) {
            0 => disk.killed(stops_at),
            _ => disk.crash(luck, stops_at),
        };
    }
    restart(&disk.crash(Luck::Nothing, usize::MAX), &allowed, 0).unwrap();
}

fn work(follower: &mut Follower, upto: &mut impl FnMut(usize) -> usize) -> Result<(), ZabLogError> {
    let in_log = |model: &Model| {
        let at = model
            .history
            .partition_point(|(zxid, _)| *zxid < model.snapshot);
        (at, model.history.len())
    };
    let (from, to) = in_log(&follower.model);
    let at = from + upto(to - from);
    let somewhere = follower
        .model
        .history
        .get(at)
        .map_or(Zxid::ZERO, |(zxid, _)| *zxid);
    match upto(16) {
        0 | 1 => follower.epoch(upto(2) == 0),
        2 if follower.model.current < follower.model.accepted => {
            let epoch = follower.model.accepted;
            follower.write(Write::CurrentEpoch(epoch), |model| model.current = epoch)
        }
        3 | 4 => follower.truncate(somewhere.max(follower.model.snapshot)),
        5 if follower.model.accepted > 0 => follower.install(upto(to + 1), upto(4)),
        6 | 7 if to > from => follower.snapshot(somewhere, upto(4) == 0),
        _ if follower.model.accepted > 0 => follower.append(1 + upto(3), upto(2) == 0),
        _ => follower.epoch(true),
    }
}

#[test]
fn random_lives_with_many_crashes() {
    (1..100).for_each(|seed| life(seed * 7919));
}

#[test]
fn the_model_makes_histories_without_holes() {
    let disk = CrashingDisk::new(usize::MAX);
    let mut follower = restart(&disk, &[Model::default()], 0).unwrap();
    script(&mut follower).unwrap();
    let history = &follower.model.history;
    assert!(history.is_sorted_by(|(a, _), (b, _)| follows(*a, *b)));
}
