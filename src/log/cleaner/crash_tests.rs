//! A cleaning cut off by a crash at every step it takes, whatever luck does with the unsynced.
//!
//! What is recovered is the log as it was before a swap, or as it is after it, to the byte; the indexes fit; a
//! second recovery changes nothing; nothing is left lying.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::clean::tests::cleaner;
use super::model_tests::{
    Action, Batch, Life, Model, ModelBatch, batch, batches_of, check_reads, check_times, small,
};
use super::{CleanError, CleanedSegment, CleaningHost};
use crate::log::crash::{CrashStorage, Luck};
use crate::log::storage::Storage;
use crate::log::test_log::{DIR, open_log};
use crate::log::{DoomedFiles, LogConfig, PartitionLog, open};
use crate::types::{Offset, TimestampMs};

type Moment = (usize, Vec<ModelBatch>);

/// Swaps, and notes what the log is afterwards.
struct Watching<'a> {
    log: RefCell<&'a mut PartitionLog>,
    disk: CrashStorage,
    moments: RefCell<Vec<Moment>>,
    doomed: RefCell<Vec<DoomedFiles>>,
}

impl CleaningHost for Watching<'_> {
    fn pace(&self, _bytes: usize) -> Result<(), CleanError> {
        Ok(())
    }

    fn swap(&self, cleaned: CleanedSegment) -> Result<(), CleanError> {
        let mut log = self.log.borrow_mut();
        let doomed = log.swap_cleaned(cleaned, TimestampMs(1000))?;
        self.disk.sync_dir(Path::new(DIR)).unwrap();
        self.doomed.borrow_mut().push(doomed);
        let after = batches_of(&log);
        self.moments.borrow_mut().push((self.disk.steps(), after));
        Ok(())
    }
}

/// Cleans everything there is to clean; the log before it, after each swap, and at the end.
fn clean_watched(life: &mut Life, disk: &CrashStorage, now: i64) -> Vec<Moment> {
    let bounds = Offset(life.model.end);
    life.log.on_high_watermark_updated(Offset(life.model.end));
    let before = (disk.steps(), batches_of(&life.log));
    let plan = life.log.begin_cleaning(bounds, TimestampMs(now)).unwrap();
    let Some(plan) = plan else {
        return vec![before];
    };
    let host = Watching {
        log: RefCell::new(&mut life.log),
        disk: disk.clone(),
        moments: RefCell::new(vec![before]),
        doomed: RefCell::default(),
    };
    let stats = cleaner().clean(&plan, TimestampMs(now), &host).unwrap();
    for doomed in host.doomed.take() {
        doomed.remove(disk).unwrap();
    }
    let mut moments = host.moments.take();
    life.log.end_cleaning(Some(stats.cleaned_to));
    moments.push((disk.steps(), batches_of(&life.log)));
    life.model.batches = batches_of(&life.log);
    life.cleanings += 1;
    moments
}

fn recover_and_check(left: &Arc<dyn Storage>, config: &LogConfig, end: i64) -> Vec<ModelBatch> {
    let dir = Path::new(DIR);
    let opened = open_log(config.clone(), false, end);
    let mut log = open(Arc::clone(left), dir, opened.clone(), &|_| {}).unwrap();
    assert_eq!(log.log_end_offset().0, end);
    let found = batches_of(&log);
    let model = Model {
        batches: found.clone(),
        end,
        flushed: end,
        ..Model::default()
    };
    check_reads(&log, &model);
    check_times(&mut log, &model);
    for entry in left.list(dir).unwrap() {
        let leftover = [".cleaned", ".swap", ".deleted", ".replaces"];
        assert!(
            !leftover.iter().any(|end| entry.name.ends_with(end)),
            "{}",
            entry.name
        );
    }
    let inactive = log.segments.iter().rev().skip(1);
    for segment in inactive.filter(|segment| segment.size() > 0) {
        for kind in [".index", ".timeindex"] {
            assert!(left.exists(&segment.path(kind)), "{:?}", segment.path(kind));
        }
    }
    let again = open(Arc::clone(left), dir, opened, &|_| {}).unwrap();
    assert_eq!(batches_of(&again), found);
    found
}

/// How many states were recovered to that are not the last one.
fn check_every_crash(
    disk: &CrashStorage,
    moments: &[Moment],
    config: &LogConfig,
    (end, seed): (i64, u64),
) -> usize {
    let mut undone = 0;
    for pair in moments.windows(2) {
        let [(from, before), (to, after)] = pair else {
            continue;
        };
        for steps in *from..=*to {
            let seeds =
                [seed, seed.rotate_left(17) ^ steps as u64].map(|seed| Luck::Seed(seed | 1));
            for luck in [Luck::Nothing, Luck::Everything].into_iter().chain(seeds) {
                let left: Arc<dyn Storage> = Arc::new(disk.after_crash(steps, luck));
                let found = recover_and_check(&left, config, end);
                assert!(
                    found == *before || found == *after,
                    "a crash after step {steps} ({luck:?}) left neither"
                );
                undone += usize::from(found == *before);
                // What is synced stays done.
                assert!(steps < *to || found == *after, "{steps} {luck:?}");
            }
        }
    }
    undone
}

fn new_life() -> (CrashStorage, Life) {
    let disk = CrashStorage::default();
    let life = Life::new(Arc::new(disk.clone()));
    disk.sync_dir(Path::new("/data")).unwrap();
    (disk, life)
}

#[test]
fn every_step_of_a_cleaning_may_be_the_last() {
    let (disk, mut life) = new_life();
    let keyed = |key, has_value| Batch {
        records: vec![(key, has_value), (key + 1, true)],
        codec: 9,
        producer: Some(key % 2),
        transactional: key % 4 == 3,
        timestamp: 10 * i64::from(key),
        padding: 40,
    };
    for round in 0..12u8 {
        life.act(&Action::Append(keyed(round % 5, round % 4 != 0)));
        life.act(&Action::Append(keyed(20 + round, true)));
        if round % 3 == 2 {
            life.act(&Action::Roll);
        }
    }
    life.act(&Action::End {
        producer: 1,
        commit: false,
    });
    life.act(&Action::Flush);
    let moments = clean_watched(&mut life, &disk, 1000);
    assert!(moments.len() >= 4, "several groups: {}", moments.len());
    assert_ne!(moments[0].1, moments.last().unwrap().1);
    let undone = check_every_crash(&disk, &moments, &small(), (life.model.end, 7919));
    assert!(undone > 100, "{undone}");
}

/// What is recovered from is recovered from again when the recovery is cut off.
#[test]
fn a_recovery_may_be_cut_off_too() {
    let (disk, mut life) = new_life();
    for round in 0..5u8 {
        life.act(&Action::Append(Batch {
            records: vec![(round % 3, true), (round % 2, round % 3 != 0)],
            codec: 9,
            producer: Some(0),
            transactional: false,
            timestamp: 5,
            padding: 8,
        }));
        if round % 2 == 1 {
            life.act(&Action::Roll);
        }
    }
    life.act(&Action::Append(Batch {
        records: vec![(50, true)],
        codec: 9,
        producer: None,
        transactional: false,
        timestamp: 5,
        padding: 0,
    }));
    life.act(&Action::Flush);
    let end = life.model.end;
    let moments = clean_watched(&mut life, &disk, 1000);
    let (first, last) = (moments[0].0, moments.last().unwrap().0);
    let (before, after) = (&moments[0].1, &moments.last().unwrap().1);
    assert_eq!(moments.len(), 3, "one group");
    let mut between = 0;
    for steps in first..=last {
        let left = disk.after_crash(steps, Luck::Everything);
        // The same files on a disk that is going to crash once more.
        let second = CrashStorage::default();
        second.create_dir_all(Path::new(DIR)).unwrap();
        for entry in left.list(Path::new(DIR)).unwrap() {
            let path = Path::new(DIR).join(&entry.name);
            let mut bytes = vec![0; entry.len as usize];
            let file = left
                .open(&path, crate::log::storage::OpenMode::Read)
                .unwrap();
            file.read_at(&mut bytes, 0).unwrap();
            let copy = second
                .open(&path, crate::log::storage::OpenMode::Create)
                .unwrap();
            copy.write_at(&mut [std::io::IoSlice::new(&bytes)], 0)
                .unwrap();
        }
        second.sync_file_system(Path::new(DIR)).unwrap();
        let begun = second.steps();
        let storage: Arc<dyn Storage> = Arc::new(second.clone());
        open(
            storage,
            Path::new(DIR),
            open_log(small(), false, end),
            &|_| {},
        )
        .unwrap();
        for steps in begun..=second.steps() {
            for luck in [
                Luck::Nothing,
                Luck::Everything,
                Luck::Seed(steps as u64 * 31 + 1),
            ] {
                let left: Arc<dyn Storage> = Arc::new(second.after_crash(steps, luck));
                let found = recover_and_check(&left, &small(), end);
                assert!(found == *before || found == *after, "{steps}");
            }
        }
        between += second.steps() - begun;
    }
    assert!(between > 50, "{between}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5, max_shrink_iters: 50, failure_persistence: None, ..ProptestConfig::default() })]

    /// Cleanings of logs that were cleaned before.
    #[test]
    fn any_log_survives_any_crash_of_its_cleaning(
        parts in vec((vec(batch(), 1..14), 0i64..400), 1..4),
        seed in 1u64..u64::MAX,
    ) {
        let (disk, mut life) = new_life();
        let mut now = 1000;
        for (batches, later) in parts {
            for batch in batches {
                let commit = batch.timestamp % 2 == 0;
                life.act(&Action::Append(batch));
                if now % 3 == 0 {
                    for producer in 0..3 {
                        life.act(&Action::End { producer, commit });
                    }
                }
            }
            for producer in 0..3 {
                life.act(&Action::End { producer, commit: false });
            }
            life.act(&Action::Flush);
            now += later;
            let moments = clean_watched(&mut life, &disk, now);
            check_every_crash(&disk, &moments, &small(), (life.model.end, seed));
        }
    }
}
