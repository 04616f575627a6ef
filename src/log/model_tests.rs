//! The log against a model of it: a list of batches. And the same life cut off at any moment by a crash.

use std::path::Path;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::crash::{CrashStorage, Luck};
use super::memory::MemStorage;
use super::storage::{OpenMode, Storage, read_exact_at};
use super::test_log::*;
use super::{AppendOrigin, LogConfig, OpenLog, PartitionLog, open};
use crate::protocol::compression::Compression;
use crate::protocol::record_batch::{BatchBuilder, BatchHeader, Batches};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

#[derive(Debug, Clone)]
enum Action {
    Append {
        records: usize,
        value_bytes: usize,
        timestamp: i64,
        producer: bool,
    },
    NewEpoch,
    Roll,
    Flush,
    Truncate(u16),
    StartOver(u16),
    DeleteBefore(u16),
    Retain {
        bytes: Option<u16>,
        age: Option<u16>,
    },
    Reopen {
        clean: bool,
    },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        12 => (1usize..5, 0usize..300, 0i64..1000, any::<bool>()).prop_map(
            |(records, value_bytes, timestamp, producer)| Action::Append {
                records, value_bytes, timestamp, producer
            }
        ),
        1 => Just(Action::NewEpoch),
        1 => Just(Action::Roll),
        2 => Just(Action::Flush),
        1 => any::<u16>().prop_map(Action::Truncate),
        1 => any::<u16>().prop_map(Action::StartOver),
        1 => any::<u16>().prop_map(Action::DeleteBefore),
        1 => (proptest::option::of(0u16..4000), proptest::option::of(0u16..1000))
            .prop_map(|(bytes, age)| Action::Retain { bytes, age }),
        1 => any::<bool>().prop_map(|clean| Action::Reopen { clean }),
    ]
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ModelBatch {
    base: i64,
    records: i64,
    epoch: i32,
    timestamp: i64,
    /// As sent: all but the first sixteen bytes is stored.
    bytes: Vec<u8>,
}

impl ModelBatch {
    fn end(&self) -> i64 {
        self.base + self.records
    }
}

#[derive(Debug, Clone, Default)]
struct Model {
    batches: Vec<ModelBatch>,
    start: i64,
    end: i64,
    flushed: i64,
    epoch: i32,
    sequence: i32,
}

fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 2000,
        index_interval_bytes: 300,
        segment_index_bytes: 60,
        ..config()
    }
}

/// A log and what should be in it.
struct Life {
    storage: Arc<dyn Storage>,
    log: PartitionLog,
    model: Model,
}

impl Life {
    fn new(storage: Arc<dyn Storage>) -> Life {
        let log = log(&storage, small());
        Life {
            storage,
            log,
            model: Model::default(),
        }
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Append {
                records,
                value_bytes,
                timestamp,
                producer,
            } => {
                self.append(records, value_bytes, timestamp, producer);
            }
            Action::NewEpoch => self.model.epoch += 1,
            Action::Roll => self.log.roll().unwrap(),
            Action::Flush => self.flush(),
            Action::Truncate(seed) => {
                let span = self.model.end - self.model.start;
                self.truncate(self.model.start + i64::from(seed) % (span + 1));
            }
            Action::StartOver(offset) if offset < 6000 => {
                let offset = i64::from(offset);
                self.log
                    .truncate_fully_and_start_at(Offset(offset))
                    .unwrap();
                let model = &mut self.model;
                model.batches.clear();
                (model.start, model.end, model.flushed) = (offset, offset, offset);
                model.sequence = 0;
                model.epoch += 1;
            }
            Action::StartOver(_) => {}
            Action::DeleteBefore(seed) => {
                let span = self.model.end - self.model.start;
                let to = self.model.start + i64::from(seed) % (span + 1);
                self.log.delete_records_before(Offset(to)).unwrap();
                self.model.start = to;
            }
            Action::Retain { bytes, age } => self.retain(bytes, age),
            Action::Reopen { clean } => self.reopen(clean),
        }
    }

    fn append(&mut self, records: usize, value_bytes: usize, timestamp: i64, producer: bool) {
        let mut builder = BatchBuilder::new(Offset::ZERO, Compression::None);
        if producer {
            builder = builder.producer(ProducerId(1), ProducerEpoch(0), self.model.sequence);
            self.model.sequence += records as i32;
        }
        let value = vec![self.model.end as u8; value_bytes];
        for _ in 0..records {
            builder.append(TimestampMs(timestamp), None, Some(&value), &[]);
        }
        let bytes = builder.build();
        let info = self
            .log
            .append_as_leader(
                &bytes,
                LeaderEpoch(self.model.epoch),
                AppendOrigin::Client,
                TimestampMs(1000),
            )
            .unwrap();
        assert!(!info.duplicate);
        assert_eq!(info.first_offset.0, self.model.end);
        self.model.batches.push(ModelBatch {
            base: self.model.end,
            records: records as i64,
            epoch: self.model.epoch,
            timestamp,
            bytes,
        });
        self.model.end += records as i64;
    }

    fn flush(&mut self) {
        if let Some(work) = self.log.begin_flush().unwrap() {
            let up_to = work.up_to;
            work.run().unwrap();
            self.log.finish_flush(up_to);
        }
        self.model.flushed = self.model.end;
    }

    fn truncate(&mut self, offset: i64) {
        self.log.truncate_to(Offset(offset)).unwrap();
        let model = &mut self.model;
        if offset >= model.end {
            return;
        }
        let before: Vec<_> = std::mem::take(&mut model.batches);
        model.end = before
            .iter()
            .find(|batch| batch.end() > offset)
            .map_or(offset, |batch| batch.base);
        model.batches = before
            .into_iter()
            .filter(|batch| batch.end() <= model.end)
            .collect();
        model.start = model.start.min(model.end);
        model.flushed = model.flushed.min(model.end);
        self.model.sequence = self.next_sequence();
        // A leader that has cut its log leads under another epoch.
        self.model.epoch += 1;
    }

    fn next_sequence(&self) -> i32 {
        let producers = self.log.producers().entries();
        producers
            .first()
            .and_then(|(_, entry)| entry.batches.back())
            .map_or(0, |batch| batch.last_sequence + 1)
    }

    fn retain(&mut self, bytes: Option<u16>, age: Option<u16>) {
        let keep = LogConfig {
            retention_bytes: bytes.map_or(-1, i64::from),
            retention_ms: age.map_or(-1, i64::from),
            ..small()
        };
        self.log.set_config(keep);
        let before = self.log.log_start_offset();
        let files = self
            .log
            .delete_old_segments(Offset(self.model.end), TimestampMs(1000))
            .unwrap();
        let after = self.log.log_start_offset();
        assert!(after >= before);
        for gone in self
            .model
            .batches
            .iter()
            .filter(|batch| batch.base < after.0)
        {
            let too_old = age.is_some_and(|age| 1000 - gone.timestamp > i64::from(age));
            assert!(bytes.is_some() || too_old || gone.base < self.model.start);
        }
        if let Some(bytes) = bytes {
            // Never more than one segment too much; never less than was asked for.
            assert!(self.log.size_bytes() < u64::from(bytes) + 2 * 2000);
        }
        if let Some(files) = files {
            files.remove(&*self.storage).unwrap();
        }
        self.model.start = self.model.start.max(after.0);
        self.log.set_config(small());
    }

    fn reopen(&mut self, clean: bool) {
        if clean {
            self.flush();
            self.log.close_clean().unwrap();
            // As `LogManager::mark_clean` does.
            self.storage.sync_file_system(Path::new(DIR)).unwrap();
        }
        let opened = OpenLog {
            log_start: Offset(self.model.start),
            ..open_log(small(), clean, self.model.flushed)
        };
        self.log = open(Arc::clone(&self.storage), Path::new(DIR), opened, &|_| {}).unwrap();
        // Nothing is lost but by a crash of the disk.
    }

    fn check(&mut self) {
        let model = &self.model;
        assert_eq!(self.log.log_start_offset().0, model.start);
        assert_eq!(self.log.log_end_offset().0, model.end);
        assert!(self.log.flushed_offset().0 <= model.end);
        check_contents(&self.log, model);
        check_reads(&self.log, model);
        check_times(&mut self.log, model);
        let size = self
            .log
            .segments
            .iter()
            .map(|s| u64::from(s.size()))
            .sum::<u64>();
        assert_eq!(self.log.size_bytes(), size);
    }
}

/// Batch by batch, from the start on.
fn check_contents(log: &PartitionLog, model: &Model) {
    let found = all_batches(log, model.start);
    let wanted: Vec<_> = model
        .batches
        .iter()
        .filter(|batch| batch.end() > model.start)
        .map(|batch| (batch.base, batch.epoch, batch.records as i32))
        .collect();
    assert_eq!(found, wanted);
}

/// Reads begin with the wanted batch, end before the bound, and are as long as was asked.
fn check_reads(log: &PartitionLog, model: &Model) {
    for batch in model
        .batches
        .iter()
        .filter(|batch| batch.base >= model.start)
    {
        let size = batch.bytes.len();
        for offset in [batch.base, batch.end() - 1] {
            for (max, bound, min_one) in [
                (usize::MAX, model.end, true),
                (usize::MAX, batch.end(), true),
                (0, model.end, true),
                (size - 1, model.end, false),
                (size + 61, model.end, true),
            ] {
                let bytes = read_bytes(log, offset, max, bound, min_one);
                if !min_one && max < size {
                    assert!(bytes.is_empty());
                    continue;
                }
                assert!(bytes.len() <= max.max(size));
                assert_eq!(bytes[16..size], batch.bytes[16..]);
                let header = BatchHeader::parse(&bytes).unwrap();
                assert_eq!(
                    (header.base_offset.0, header.leader_epoch.0),
                    (batch.base, batch.epoch)
                );
                let last = Batches::new(&bytes).flatten().last().unwrap().0;
                assert!(last.last_offset().0 < bound);
                if bound == batch.end() {
                    assert_eq!(bytes.len(), size);
                }
            }
            assert!(read_bytes(log, offset, 1000, batch.base, true).is_empty());
        }
        if batch.records > 1 {
            // A bound within a batch hides it all.
            assert!(read_bytes(log, batch.base, 1000, batch.end() - 1, true).is_empty());
        }
    }
    assert!(
        log.read(Offset(model.start - 1), 1, Offset(model.end), true)
            .is_err()
    );
    assert!(
        log.read(Offset(model.end + 1), 1, Offset(model.end), true)
            .is_err()
    );
    assert!(
        log.read(Offset(model.end), 1, Offset(model.end), true)
            .unwrap()
            .is_none()
    );
}

fn check_times(log: &mut PartitionLog, model: &Model) {
    for timestamp in [0, 1, 250, 500, 900, 1001] {
        let wanted = model.batches.iter().find_map(|batch| {
            let offset = batch.base.max(model.start);
            (batch.timestamp >= timestamp && batch.end() > model.start).then_some((
                batch.timestamp,
                offset,
                batch.epoch,
            ))
        });
        let found = log.offset_for_timestamp(TimestampMs(timestamp)).unwrap();
        let found = found.map(|found| (found.timestamp.0, found.offset.0, found.leader_epoch.0));
        assert_eq!(found, wanted, "{timestamp}");
    }
}

/// The index files of segments that are no longer active point at batches.
fn check_index_files(storage: &dyn Storage, log: &PartitionLog) {
    for segment in log.segments.iter().rev().skip(1) {
        let positions: Vec<(i64, u32)> = segment
            .scan(storage, 0)
            .unwrap()
            .map(|batch| batch.unwrap())
            .map(|batch| (batch.header.last_offset().0, batch.position))
            .collect();
        let file = storage
            .open(&segment.path(".index"), OpenMode::Read)
            .unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        read_exact_at(&*file, &mut bytes, 0).unwrap();
        assert_eq!(bytes.len() % 8, 0);
        for entry in bytes.chunks(8) {
            let relative = u32::from_be_bytes(entry[..4].try_into().unwrap());
            let position = u32::from_be_bytes(entry[4..].try_into().unwrap());
            let offset = segment.base_offset().0 + i64::from(relative);
            assert!(
                positions.contains(&(offset, position)),
                "{offset} {position}"
            );
        }
        let times = storage
            .open(&segment.path(".timeindex"), OpenMode::Read)
            .unwrap();
        assert!(times.len().unwrap() > 0 && times.len().unwrap().is_multiple_of(12));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_a_list_of_batches(actions in vec(action(), 1..60)) {
        let mut life = Life::new(Arc::new(MemStorage::default()));
        for action in &actions {
            life.act(action);
            life.check();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// After a crash at any step, whatever luck does with the unsynced, the log is a beginning of what was
    /// appended, with all that was flushed in it.
    #[test]
    fn a_crash_takes_only_what_was_not_flushed(
        actions in vec(action(), 1..25),
        seed in 1u64..u64::MAX,
    ) {
        let disk = CrashStorage::default();
        let mut life = Life::new(Arc::new(disk.clone()));
        let dir = Path::new(DIR);
        disk.sync_dir(Path::new("/data")).unwrap();
        // The model after each action, and how many steps the disk had taken then.
        let mut moments = vec![(disk.steps(), life.model.clone())];
        for action in actions.iter().filter(survives_model) {
            life.act(action);
            moments.push((disk.steps(), life.model.clone()));
        }
        for moment in 1..moments.len() {
            let (before, after) = (&moments[moment - 1], &moments[moment]);
            for steps in before.0..=after.0 {
                for luck in [Luck::Nothing, Luck::Everything, Luck::Seed(seed ^ steps as u64 | 1)] {
                    let left: Arc<dyn Storage> = Arc::new(disk.after_crash(steps, luck));
                    let flushed = before.1.flushed.min(after.1.flushed).min(after.1.end);
                    recover_and_check(&left, dir, flushed, [&before.1, &after.1]);
                }
            }
        }
    }
}

/// What makes the log another one is left out: the model tells of one log and its beginnings.
fn survives_model(action: &&Action) -> bool {
    !matches!(
        action,
        Action::StartOver(_) | Action::Retain { .. } | Action::DeleteBefore(_)
    )
}

fn recover_and_check(storage: &Arc<dyn Storage>, dir: &Path, flushed: i64, models: [&Model; 2]) {
    let opened = open_log(small(), false, flushed);
    let mut log = open(Arc::clone(storage), dir, opened.clone(), &|_| {}).unwrap();
    let end = log.log_end_offset().0;
    assert!(end >= flushed, "{end} of {flushed} flushed");
    let found = all_batches(&log, 0);
    let is_beginning = models.iter().any(|model| {
        let all: Vec<_> = model
            .batches
            .iter()
            .map(|batch| (batch.base, batch.epoch, batch.records as i32))
            .collect();
        all.starts_with(&found)
    });
    assert!(is_beginning, "{found:?}");
    check_index_files(&**storage, &log);
    let epochs = log.epochs.entries().to_vec();
    let mut wanted: Vec<(LeaderEpoch, Offset)> = Vec::new();
    for (base, epoch, _) in &found {
        if wanted.last().is_none_or(|(last, _)| last.0 < *epoch) {
            wanted.push((LeaderEpoch(*epoch), Offset(*base)));
        }
    }
    assert_eq!(epochs, wanted);
    let producers = log.producers().clone();
    let size = log.size_bytes();

    // A second recovery changes nothing, and neither does a clean shutdown.
    let again = open(Arc::clone(storage), dir, opened, &|_| {}).unwrap();
    assert_eq!((again.log_end_offset().0, again.size_bytes()), (end, size));
    assert_eq!(all_batches(&again, 0), found);
    assert_eq!(again.epochs.entries(), epochs);
    assert_eq!(same_last_batches(&again), same_last_batches_of(&producers));

    if let Some(work) = log.begin_flush().unwrap() {
        work.run().unwrap();
        log.finish_flush(Offset(end));
    }
    log.close_clean().unwrap();
    let clean = open(
        Arc::clone(storage),
        dir,
        open_log(small(), true, end),
        &|_| {},
    )
    .unwrap();
    assert_eq!((clean.log_end_offset().0, clean.size_bytes()), (end, size));
    assert_eq!(same_last_batches(&clean), same_last_batches_of(&producers));
}

fn same_last_batches(log: &PartitionLog) -> Vec<(ProducerId, i32, Offset)> {
    same_last_batches_of(log.producers())
}

fn same_last_batches_of(producers: &super::ProducerStateManager) -> Vec<(ProducerId, i32, Offset)> {
    producers
        .entries()
        .into_iter()
        .filter_map(|(id, entry)| {
            let last = entry.batches.back()?;
            Some((id, last.last_sequence, last.last_offset))
        })
        .collect()
}
