//! The log against a model of it: a list of batches. And the same life cut off at any moment by a crash.

use std::path::Path;
use std::sync::Arc;

use checks::*;
use proptest::collection::vec;
use proptest::prelude::*;

use super::crash::{CrashStorage, Luck};
use super::journal_replay;
use super::memory::MemStorage;
use super::storage::{OpenMode, Storage, read_exact_at};
use super::test_log::*;
use super::{AppendOrigin, Journal, LogConfig, OpenLog, PartitionLog, open};
use crate::protocol::compression::Compression;
use crate::protocol::end_txn_marker::EndTxnMarker;
use crate::protocol::record_batch::BatchBuilder;
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

#[path = "model_checks.rs"]
mod checks;

#[derive(Debug, Clone)]
enum Action {
    Append {
        records: usize,
        value_bytes: usize,
        timestamp: i64,
        who: Who,
    },
    /// A transaction of one of the transactional producers ends; it may not have begun.
    EndTxn {
        producer: i64,
        committed: bool,
        timestamp: i64,
    },
    HighWatermark(u16),
    NewEpoch,
    Roll,
    Flush {
        journal: bool,
    },
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

#[derive(Debug, Clone, Copy)]
enum Who {
    Plain,
    Idempotent,
    /// One of the producers 2 to 4, in a transaction.
    Transactional(i64),
}

fn action() -> impl Strategy<Value = Action> {
    let who = prop_oneof![
        2 => Just(Who::Plain),
        1 => Just(Who::Idempotent),
        4 => (2i64..5).prop_map(Who::Transactional),
    ];
    prop_oneof![
        12 => (1usize..5, 0usize..300, 0i64..1000, who).prop_map(
            |(records, value_bytes, timestamp, who)| Action::Append {
                records, value_bytes, timestamp, who
            }
        ),
        6 => (2i64..5, any::<bool>(), 0i64..1000).prop_map(
            |(producer, committed, timestamp)| Action::EndTxn { producer, committed, timestamp }
        ),
        2 => any::<u16>().prop_map(Action::HighWatermark),
        1 => Just(Action::NewEpoch),
        1 => Just(Action::Roll),
        4 => any::<bool>().prop_map(|journal| Action::Flush { journal }),
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
    producer: Option<i64>,
    last_sequence: i32,
    transactional: bool,
    /// Whether it commits, of a marker.
    marker: Option<bool>,
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
    /// Below is on disk, and below that in the log's own files.
    durable: i64,
    recovery_point: i64,
    high_watermark: i64,
    epoch: i32,
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
    journal: Journal,
    model: Model,
}

/// So small that its files take turns often.
fn journal(storage: &Arc<dyn Storage>) -> Journal {
    let journal = Journal::new(Arc::clone(storage), Path::new("/data").into(), 3000);
    (0..2).for_each(|which| journal.preparation(which, true)().unwrap());
    journal
}

impl Life {
    fn new(storage: Arc<dyn Storage>) -> Life {
        let log = log(&storage, small());
        Life {
            journal: journal(&storage),
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
                who,
            } => {
                self.append(records, value_bytes, timestamp, who);
            }
            Action::EndTxn {
                producer,
                committed,
                timestamp,
            } => self.end_transaction(producer, committed, timestamp),
            Action::HighWatermark(seed) => {
                let from = self.model.high_watermark.max(self.model.start);
                self.high_watermark(from + i64::from(seed) % (self.model.end - from + 1));
            }
            Action::NewEpoch => self.model.epoch += 1,
            Action::Roll => self.log.roll().unwrap(),
            Action::Flush { journal } => self.flush(journal),
            Action::Truncate(seed) => {
                let span = self.model.end - self.model.start;
                self.truncate(self.model.start + i64::from(seed) % (span + 1));
            }
            Action::StartOver(offset) if offset < 6000 => {
                let offset = i64::from(offset);
                self.void_journal();
                self.log
                    .truncate_fully_and_start_at(Offset(offset))
                    .unwrap();
                let model = &mut self.model;
                model.batches.clear();
                (model.start, model.end) = (offset, offset);
                (model.durable, model.recovery_point) = (offset, offset);
                model.epoch += 1;
                self.high_watermark(offset);
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

    fn append(&mut self, records: usize, value_bytes: usize, timestamp: i64, who: Who) {
        let producer = match who {
            Who::Plain => None,
            Who::Idempotent => Some(1),
            Who::Transactional(id) => Some(id),
        };
        let transactional = matches!(who, Who::Transactional(_));
        let sequence = producer.map_or(-1, |id| self.next_sequence(id));
        let mut builder = BatchBuilder::new(Offset::ZERO, Compression::None);
        if let Some(id) = producer {
            builder = builder
                .producer(ProducerId(id), ProducerEpoch(0), sequence)
                .transactional(transactional);
        }
        let value = vec![self.model.end as u8; value_bytes];
        for _ in 0..records {
            builder.append(TimestampMs(timestamp), None, Some(&value), &[]);
        }
        self.append_batch(
            ModelBatch {
                base: self.model.end,
                records: records as i64,
                epoch: self.model.epoch,
                timestamp,
                producer,
                last_sequence: sequence + records as i32 - 1,
                transactional,
                marker: None,
                bytes: builder.build(),
            },
            AppendOrigin::Client,
        );
    }

    fn end_transaction(&mut self, producer: i64, committed: bool, timestamp: i64) {
        let marker = EndTxnMarker {
            committed,
            coordinator_epoch: COORDINATOR_EPOCH,
        };
        let bytes = marker.to_batch(
            ProducerId(producer),
            ProducerEpoch(0),
            TimestampMs(timestamp),
        );
        self.append_batch(
            ModelBatch {
                base: self.model.end,
                records: 1,
                epoch: self.model.epoch,
                timestamp,
                producer: Some(producer),
                last_sequence: -1,
                transactional: true,
                marker: Some(committed),
                bytes,
            },
            AppendOrigin::Marker {
                transaction_version: 1,
            },
        );
    }

    fn append_batch(&mut self, batch: ModelBatch, origin: AppendOrigin) {
        let info = self
            .log
            .append_as_leader(
                &batch.bytes,
                LeaderEpoch(self.model.epoch),
                origin,
                TimestampMs(1000),
            )
            .unwrap();
        assert!(!info.duplicate);
        assert_eq!(info.first_offset.0, self.model.end);
        self.model.end = batch.end();
        self.model.batches.push(batch);
    }

    fn high_watermark(&mut self, offset: i64) {
        self.log.on_high_watermark_updated(Offset(offset));
        self.model.high_watermark = offset;
    }

    fn flush(&mut self, through_journal: bool) {
        self.model.durable = self.model.end;
        if through_journal && let Some(part) = self.log.begin_journal(u32::MAX).unwrap() {
            if !self.journal.fits(1, part.bytes()) {
                self.settle();
                self.journal.switch();
            }
            self.journal.write(&[&part]).unwrap();
            self.log.finish_journal(part.up_to);
            return;
        }
        flush(&mut self.log);
        self.model.recovery_point = self.model.end;
    }

    /// The log's own files have all that the journal has.
    fn settle(&mut self) {
        if let Some(work) = self.log.begin_settling().unwrap() {
            let up_to = work.up_to;
            work.run().unwrap();
            self.log.finish_flush(up_to);
        }
        self.model.recovery_point = self.log.recovery_point().0;
    }

    /// As is due before anything that was made safe is taken back.
    fn void_journal(&mut self) {
        self.settle();
        if !self.journal.fits(1, 0) {
            self.journal.switch();
        }
        let partition = self.log.topic_partition().partition;
        self.journal.void(self.log.topic_id(), partition).unwrap();
    }

    fn truncate(&mut self, offset: i64) {
        self.void_journal();
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
        model.durable = model.durable.min(model.end);
        model.recovery_point = model.recovery_point.min(model.end);
        // A leader that has cut its log leads under another epoch.
        self.model.epoch += 1;
        // Which transactions were replicated is not remembered.
        self.high_watermark(self.model.end);
    }

    fn next_sequence(&self, id: i64) -> i32 {
        let producers = self.log.producers().entries();
        let entry = producers.iter().find(|(known, _)| known.0 == id);
        entry
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
            self.flush(false);
            self.log.close_clean().unwrap();
            // As `LogManager::mark_clean` does.
            self.storage.sync_file_system(Path::new(DIR)).unwrap();
        }
        let opened = OpenLog {
            log_start: Offset(self.model.start),
            ..open_log(small(), clean, self.model.recovery_point)
        };
        self.log = open(Arc::clone(&self.storage), Path::new(DIR), opened, &|_| {}).unwrap();
        if !clean {
            replay_journal(&self.storage, &mut self.log);
        }
        journal_replay::discard(&*self.storage, Path::new("/data")).unwrap();
        self.journal = journal(&self.storage);
        self.model.recovery_point = self.log.recovery_point().0;
        self.model.durable = self.log.durable_offset().0;
        // Nothing is lost but by a crash of the disk.
        self.high_watermark(self.model.end);
    }

    fn check(&mut self) {
        let model = &self.model;
        assert_eq!(self.log.log_start_offset().0, model.start);
        assert_eq!(self.log.log_end_offset().0, model.end);
        assert!(self.log.durable_offset().0 <= model.end);
        check_contents(&self.log, model);
        check_reads(&self.log, model);
        check_times(&mut self.log, model);
        check_transactions(&self.log, model);
        let size = self
            .log
            .segments
            .iter()
            .map(|s| u64::from(s.size()))
            .sum::<u64>();
        assert_eq!(self.log.size_bytes(), size);
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

    #[test]
    fn a_follower_knows_the_transactions_of_its_leader(actions in vec(action(), 1..40)) {
        let mut life = Life::new(Arc::new(MemStorage::default()));
        for action in actions.iter().filter(survives_model) {
            life.act(action);
        }
        let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
        let mut follower = log(&storage, small());
        while follower.log_end_offset() < life.log.log_end_offset() {
            let from = follower.log_end_offset().0;
            let bytes = read_bytes(&life.log, from, 1000, life.model.end, true);
            let epoch = LeaderEpoch(life.model.epoch);
            follower.append_as_follower(&bytes, epoch, TimestampMs(1000)).unwrap();
        }
        life.log = follower;
        life.high_watermark(life.model.high_watermark);
        check_transactions(&life.log, &life.model);
        assert_eq!(producers_of(&life.log), tell(&life.model.batches).producers);
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
                    recover_and_check(&left, dir, [&before.1, &after.1]);
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

fn replay_journal(storage: &Arc<dyn Storage>, log: &mut PartitionLog) {
    let contents = journal_replay::read(&**storage, Path::new("/data")).unwrap();
    contents.replay(log).unwrap();
}

fn recover_and_check(storage: &Arc<dyn Storage>, dir: &Path, models: [&Model; 2]) {
    let [before, after] = models;
    let durable = before.durable.min(after.durable).min(after.end);
    let recovery_point = before.recovery_point.min(after.recovery_point);
    let mut config = small();
    // Nothing here was cleaned: a log that may be is recovered like any other.
    config.cleanup_policy.compact = before.batches.len() % 2 == 1;
    let opened = open_log(config, false, recovery_point.min(after.end));
    let mut log = open(Arc::clone(storage), dir, opened.clone(), &|_| {}).unwrap();
    replay_journal(storage, &mut log);
    let end = log.log_end_offset().0;
    assert!(end >= durable, "{end} of {durable} durable");
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
    let beginning = |model: &Model| {
        let mut beginning = model.clone();
        beginning.batches.truncate(found.len());
        (beginning.end, beginning.high_watermark) = (end, end);
        beginning
    };
    let as_found = |model: &Model| {
        let all = model.batches.iter();
        all.map(|batch| (batch.base, batch.epoch, batch.records as i32))
            .collect::<Vec<_>>()
            == found
    };
    // Two ways on from one log may only differ in what the batches hold.
    let told: Vec<Told> = models
        .map(beginning)
        .iter()
        .filter(|model| as_found(model))
        .map(|model| tell(&model.batches))
        .collect();
    let check_told = |log: &mut PartitionLog| {
        log.on_high_watermark_updated(Offset(end));
        let agrees = told.iter().any(|told| {
            let open = told.open.values().min().copied();
            producers_of(log) == told.producers
                && log.first_unstable_offset().map(|offset| offset.0) == open
                && aborted_in(log, 0, open.unwrap_or(end))
                    == told
                        .aborted
                        .iter()
                        .copied()
                        .filter(|txn| open.is_none_or(|open| txn.1 < open))
                        .collect::<Vec<_>>()
        });
        assert!(agrees, "{told:?}, but {:?}", log.producers());
    };
    check_told(&mut log);
    let producers = log.producers().clone();
    let size = log.size_bytes();

    // A second recovery changes nothing, and neither does a clean shutdown.
    let mut again = open(Arc::clone(storage), dir, opened, &|_| {}).unwrap();
    replay_journal(storage, &mut again);
    check_told(&mut again);
    assert_eq!((again.log_end_offset().0, again.size_bytes()), (end, size));
    assert_eq!(all_batches(&again, 0), found);
    assert_eq!(again.epochs.entries(), epochs);
    assert_eq!(same_last_batches(&again), same_last_batches_of(&producers));

    flush(&mut log);
    log.close_clean().unwrap();
    let mut clean = open(
        Arc::clone(storage),
        dir,
        open_log(small(), true, end),
        &|_| {},
    )
    .unwrap();
    check_told(&mut clean);
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
