//! Cleaning against a model of it: a list of batches of records, cleaned by a map of everything.
//!
//! The model follows Kafka's rules in the plainest way there is. Whatever is done to a log, a reader sees what the
//! model says, at every offset, hole or not.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::clean::tests::{cleaner, compacted};
use crate::log::memory::MemStorage;
use crate::log::storage::Storage;
use crate::log::test_log::{self, DIR, append, clean, open_log, read_bytes};
use crate::log::{AbortedTxn, AppendOrigin, LogConfig, PartitionLog, open};
use crate::protocol::compression::Compression;
use crate::protocol::end_txn_marker::EndTxnMarker;
use crate::protocol::record_batch::{BatchBuilder, BatchHeader, Batches, Records};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

#[derive(Debug, Clone)]
pub(super) enum Action {
    Append(Batch),
    /// Ends a producer's transaction, if one is open.
    End {
        producer: u8,
        commit: bool,
    },
    Roll,
    Flush,
    Clean {
        up_to: u16,
        later: u16,
        small: bool,
    },
    Truncate(u16),
    DeleteBefore(u16),
    Retain,
    Reopen {
        clean: bool,
    },
}

/// What is appended.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    /// Key, whether it has a value.
    pub(super) records: Vec<(u8, bool)>,
    pub(super) codec: u8,
    pub(super) producer: Option<u8>,
    pub(super) transactional: bool,
    pub(super) timestamp: i64,
    pub(super) padding: usize,
}

pub(super) fn batch() -> impl Strategy<Value = Batch> {
    (
        vec((0u8..12, prop::bool::weighted(0.8)), 1..5),
        0u8..10,
        proptest::option::of(0u8..3),
        any::<bool>(),
        0i64..1000,
        0usize..60,
    )
        .prop_map(
            |(records, codec, producer, transactional, timestamp, padding)| Batch {
                records,
                codec,
                producer,
                transactional,
                timestamp,
                padding,
            },
        )
}

pub(super) fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        20 => batch().prop_map(Action::Append),
        6 => (0u8..3, any::<bool>())
            .prop_map(|(producer, commit)| Action::End { producer, commit }),
        2 => Just(Action::Roll),
        4 => Just(Action::Flush),
        6 => (any::<u16>(), 0u16..400, prop::bool::weighted(0.2))
            .prop_map(|(up_to, later, small)| Action::Clean { up_to, later, small }),
        1 => any::<u16>().prop_map(Action::Truncate),
        1 => any::<u16>().prop_map(Action::DeleteBefore),
        1 => Just(Action::Retain),
        2 => any::<bool>().prop_map(|clean| Action::Reopen { clean }),
    ]
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ModelRecord {
    offset: i64,
    timestamp: i64,
    key: u8,
    value: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Transactional,
    Marker,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ModelBatch {
    base: i64,
    last: i64,
    kind: Kind,
    producer: Option<(u8, i32)>,
    codec: u8,
    horizon: Option<i64>,
    records: Vec<ModelRecord>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) batches: Vec<ModelBatch>,
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) flushed: i64,
    pub(super) now: i64,
    /// Next sequence and last data offset by producer.
    pub(super) producers: BTreeMap<u8, (i32, Option<i64>)>,
    pub(super) open: BTreeMap<u8, i64>,
    /// Producer, first offset, marker.
    pub(super) aborted: Vec<(u8, i64, i64)>,
}

const DELETE_RETENTION: i64 = 300;

pub(super) fn small() -> LogConfig {
    let mut config = LogConfig {
        segment_bytes: 700,
        index_interval_bytes: 150,
        ..compacted()
    };
    config.compaction.delete_retention_ms = DELETE_RETENTION;
    config.cleanup_policy.delete = true;
    config
}

impl Model {
    fn is_aborted(&self, batch: &ModelBatch) -> bool {
        let of = |(id, first, last): &(u8, i64, i64)| {
            batch.producer.is_some_and(|(producer, _)| producer == *id)
                && (*first..*last).contains(&batch.base)
        };
        batch.kind == Kind::Transactional && self.aborted.iter().any(of)
    }

    /// What Kafka's cleaner does, with all the memory it wants.
    fn clean(
        &mut self,
        (first_dirty, cleaned_to, read_to): (i64, i64, i64),
        high_watermark: i64,
        now: i64,
    ) {
        let mut latest: HashMap<u8, i64> = HashMap::new();
        let dirty = first_dirty..cleaned_to;
        let data = |batch: &&ModelBatch| batch.kind != Kind::Marker && !self.is_aborted(batch);
        for record in self.batches.iter().filter(data).flat_map(|b| &b.records) {
            if dirty.contains(&record.offset) {
                latest.insert(record.key, record.offset);
            }
        }
        let mut seen: HashMap<u8, bool> = HashMap::new();
        let batches = std::mem::take(&mut self.batches);
        for mut batch in batches {
            if batch.base >= read_to {
                self.batches.push(batch);
                continue;
            }
            let id = batch.producer.map(|(id, _)| id);
            let horizon = batch.horizon;
            let discard = match (batch.kind, id) {
                (Kind::Transactional, Some(id)) => {
                    seen.insert(id, true);
                    self.is_aborted(&batch)
                }
                (Kind::Marker, Some(id)) => !seen.remove(&id).unwrap_or(false),
                _ => false,
            };
            if batch.kind == Kind::Marker {
                if discard && horizon.is_some_and(|at| at <= now) {
                    batch.records.clear();
                } else if discard && horizon.is_none() {
                    batch.horizon = Some(now + DELETE_RETENTION);
                }
            } else {
                batch.records.retain(|record| {
                    let is_last = latest
                        .get(&record.key)
                        .is_none_or(|last| record.offset >= *last);
                    let stays = record.value.is_some() || horizon.is_none_or(|at| now < at);
                    !discard && (record.offset >= cleaned_to || (is_last && stays))
                });
                if horizon.is_none() && batch.records.iter().any(|r| r.value.is_none()) {
                    batch.horizon = Some(now + DELETE_RETENTION);
                }
            }
            let is_last_of_producer =
                id.and_then(|id| self.producers.get(&id))
                    .is_some_and(|(_, last)| match last {
                        Some(last) => *last == batch.last,
                        None => batch.kind == Kind::Marker,
                    });
            if batch.records.is_empty() {
                (batch.codec, batch.horizon) = (0, None);
                if !is_last_of_producer && batch.last + 1 != high_watermark {
                    continue;
                }
            }
            self.batches.push(batch);
        }
    }
}

/// A log and what should be in it.
pub(super) struct Life {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) log: PartitionLog,
    pub(super) model: Model,
    pub(super) cleanings: usize,
}

impl Life {
    pub(super) fn new(storage: Arc<dyn Storage>) -> Self {
        Self {
            log: test_log::log(&storage, small()),
            storage,
            model: Model::default(),
            cleanings: 0,
        }
    }

    pub(super) fn act(&mut self, action: &Action) {
        match action {
            Action::Append(batch) => self.append(batch),
            Action::End { producer, commit } => self.end(*producer, *commit),
            Action::Roll => self.log.roll().unwrap(),
            Action::Flush => self.flush(),
            Action::Clean {
                up_to,
                later,
                small,
            } => {
                self.model.now += i64::from(*later);
                let bound = i64::from(*up_to) % (self.model.end + 1);
                self.clean(bound.max(self.model.flushed / 2), *small);
            }
            Action::Truncate(seed) => {
                let span = self.model.end - self.model.start;
                self.truncate(self.model.start + i64::from(*seed) % (span + 1));
            }
            Action::DeleteBefore(seed) => {
                let span = self.model.end - self.model.start;
                self.model.start += i64::from(*seed) % (span + 1);
                let to = Offset(self.model.start);
                self.log.delete_records_before(to).unwrap();
            }
            Action::Retain => self.retain(),
            Action::Reopen { clean } => self.reopen(*clean),
        }
    }

    fn append(&mut self, batch: &Batch) {
        // Few are compressed: it takes long.
        let codec = if batch.codec < 5 { batch.codec } else { 0 };
        let mut builder = BatchBuilder::new(Offset::ZERO, Compression::from_id(codec).unwrap());
        let mut producer = None;
        let mut kind = Kind::Plain;
        if let Some(id) = batch.producer {
            let sequence = self.model.producers.get(&id).map_or(0, |known| known.0);
            producer = Some((id, sequence));
            let transactional = batch.transactional || self.model.open.contains_key(&id);
            if transactional {
                kind = Kind::Transactional;
                self.model.open.entry(id).or_insert(self.model.end);
            }
            let id = ProducerId(i64::from(id));
            builder = builder
                .producer(id, ProducerEpoch(0), sequence)
                .transactional(transactional);
        }
        let base = self.model.end;
        let mut records = Vec::new();
        for (at, (key, has_value)) in batch.records.iter().enumerate() {
            let offset = base + at as i64;
            let value = has_value.then(|| {
                let mut value = offset.to_string().into_bytes();
                value.resize(value.len() + batch.padding, b'.');
                value
            });
            let timestamp = batch.timestamp + at as i64 * 7 % 11;
            builder.append(TimestampMs(timestamp), Some(&[*key]), value.as_deref(), &[]);
            records.push(ModelRecord {
                offset,
                timestamp,
                key: *key,
                value,
            });
        }
        let info = append(&mut self.log, &builder.build());
        assert_eq!(info.first_offset.0, base);
        let last = base + records.len() as i64 - 1;
        self.model.end = last + 1;
        if let Some((id, sequence)) = producer {
            let next = sequence + records.len() as i32;
            self.model.producers.insert(id, (next, Some(last)));
        }
        self.model.batches.push(ModelBatch {
            base,
            last,
            kind,
            producer,
            codec,
            horizon: None,
            records,
        });
    }

    fn end(&mut self, id: u8, committed: bool) {
        let Some(first) = self.model.open.remove(&id) else {
            return;
        };
        let marker = EndTxnMarker {
            committed,
            coordinator_epoch: 0,
        };
        let producer = ProducerId(i64::from(id));
        let batch = marker.to_batch(producer, ProducerEpoch(0), TimestampMs(500));
        let origin = AppendOrigin::Coordinator;
        let log = &mut self.log;
        log.append_as_leader(&batch, LeaderEpoch(0), origin, TimestampMs(500))
            .unwrap();
        let offset = self.model.end;
        if !committed {
            self.model.aborted.push((id, first, offset));
        }
        let header = BatchHeader::parse(&batch).unwrap();
        let value = Records::new(&batch, 1000).unwrap();
        let value = value
            .iter()
            .next()
            .unwrap()
            .unwrap()
            .value
            .map(<[u8]>::to_vec);
        self.model.batches.push(ModelBatch {
            base: offset,
            last: offset,
            kind: Kind::Marker,
            producer: Some((id, header.base_sequence)),
            codec: 0,
            horizon: None,
            records: vec![ModelRecord {
                offset,
                timestamp: 500,
                key: 0,
                value,
            }],
        });
        self.model.producers.entry(id).or_insert((0, None));
        self.model.end += 1;
    }

    fn flush(&mut self) {
        test_log::flush(&mut self.log);
        self.model.flushed = self.model.end;
    }

    fn clean(&mut self, bound: i64, small_map: bool) {
        let now = self.model.now;
        let mut cleaner = match small_map {
            true => super::Cleaner::new(24 * 6, 1.0, 300),
            false => cleaner(),
        };
        let first_dirty = match self.log.cleaner_checkpoint() {
            Some(at) if at.0 >= self.model.start && at.0 <= self.model.end => at.0,
            _ => self.model.start,
        };
        self.log.on_high_watermark_updated(Offset(bound));
        let stable = self.model.open.values().min().copied().unwrap_or(bound);
        let bases: Vec<Offset> = self.log.segments.iter().map(|s| s.base_offset()).collect();
        let Some(cleaned) = clean(&mut self.log, &mut cleaner, (bound, now)) else {
            return;
        };
        let stats = cleaned.unwrap();
        self.cleanings += 1;
        let cleaned_to = stats.cleaned_to.0;
        assert!(cleaned_to > first_dirty, "{cleaned_to}");
        assert!(cleaned_to <= bound.min(self.model.flushed).min(stable));
        let active = self.log.segments.last().unwrap().base_offset();
        assert!(cleaned_to <= active.0);
        // The segment that the map knows a part of is read whole.
        let read_to = bases.iter().find(|base| base.0 >= cleaned_to).unwrap().0;
        self.model
            .clean((first_dirty, cleaned_to, read_to), bound, now);
    }

    fn truncate(&mut self, offset: i64) {
        self.log.truncate_to(Offset(offset)).unwrap();
        let model = &mut self.model;
        if offset >= model.end {
            return;
        }
        let cut = model.batches.iter().find(|batch| batch.last >= offset);
        model.end = cut.map_or(offset, |batch| batch.base.min(offset));
        let end = model.end;
        model.batches.retain(|batch| batch.last < end);
        model.start = model.start.min(end);
        model.flushed = model.flushed.min(end);
        self.model.aborted.retain(|(.., last)| *last < end);
        self.know_producers();
    }

    /// After a truncation or a restart the log says what it still knows.
    fn know_producers(&mut self) {
        let entries = self.log.producers().entries();
        let model = &mut self.model;
        model.producers.clear();
        model.open.clear();
        for (id, entry) in entries {
            let last = entry.batches.back();
            let next = last.map_or(0, |last| last.last_sequence + 1);
            let id = id.0 as u8;
            model
                .producers
                .insert(id, (next, last.map(|last| last.last_offset.0)));
            if let Some(first) = entry.current_txn_first_offset {
                model.open.insert(id, first.0);
            }
        }
    }

    fn retain(&mut self) {
        let bound = Offset(self.model.end);
        let now = TimestampMs(self.model.now);
        let files = self.log.delete_old_segments(bound, now).unwrap();
        if let Some(files) = files {
            files.remove(&*self.storage).unwrap();
        }
        let first = self
            .log
            .segments
            .first()
            .map_or(Offset::ZERO, |s| s.base_offset());
        self.model.batches.retain(|batch| batch.base >= first.0);
        // Only what is below the start goes: nothing else was asked for.
        assert_eq!(self.log.log_start_offset().0, self.model.start);
    }

    fn reopen(&mut self, clean: bool) {
        if clean {
            self.flush();
            self.log.close_clean().unwrap();
            self.storage.sync_file_system(Path::new(DIR)).unwrap();
        }
        let checkpoint = self.log.cleaner_checkpoint();
        let before = self.log.producers().clone();
        let opened = crate::log::OpenLog {
            log_start: Offset(self.model.start),
            ..open_log(small(), clean, self.model.flushed)
        };
        self.log = open(Arc::clone(&self.storage), Path::new(DIR), opened, &|_| {}).unwrap();
        self.log.set_cleaner_checkpoint(checkpoint);
        // Where the end was cut in a hole it goes back to what is there, as Kafka's.
        let model = &mut self.model;
        let end = self.log.log_end_offset().0;
        let last = model.batches.last().map_or(0, |batch| batch.last + 1);
        assert!(end <= model.end && end >= last, "{end}");
        model.end = end;
        model.flushed = model.flushed.min(end);
        // Every producer of whom there is a batch goes on where it was.
        for (id, entry) in before.entries() {
            let last = |entry: &crate::log::ProducerEntry| {
                let last = entry.batches.back()?;
                Some((last.last_sequence, last.last_offset.0))
            };
            let all = self.log.producers().entries();
            let after = all.iter().find(|(known, _)| *known == id);
            // A snapshot may know of one that was cleaned away for a later one, which was then cut off.
            let is_there = |offset| self.model.batches.iter().any(|batch| batch.last == offset);
            if last(entry).is_some_and(|(_, offset)| is_there(offset)) {
                assert_eq!(after.and_then(|(_, entry)| last(entry)), last(entry));
            }
        }
        self.know_producers();
    }

    pub(super) fn check(&mut self) {
        assert_eq!(self.log.log_start_offset().0, self.model.start);
        assert_eq!(self.log.log_end_offset().0, self.model.end);
        check_contents(&self.log, &self.model);
        check_reads(&self.log, &self.model);
        check_times(&mut self.log, &self.model);
        check_aborted(&self.log, &self.model);
    }
}

/// A reader is told of every aborted batch that it may still meet.
fn check_aborted(log: &PartitionLog, model: &Model) {
    let end = log.first_unstable_offset().unwrap_or(Offset(model.end));
    let known = log.collect_aborted(Offset(model.start), end).unwrap();
    for batch in model.batches.iter().filter(|batch| model.is_aborted(batch)) {
        let of = |txn: &&AbortedTxn| {
            batch
                .producer
                .is_some_and(|(id, _)| txn.producer_id.0 as u8 == id)
                && (txn.first_offset.0..txn.last_offset.0).contains(&batch.base)
        };
        let told = known.iter().any(|txn| of(&txn));
        let visible = batch.base >= model.start && batch.last < end.0;
        assert!(told || !visible || batch.records.is_empty(), "{batch:?}");
    }
    // And of nothing else.
    for txn in known {
        assert!(
            model.aborted.iter().any(|(id, _, last)| {
                (ProducerId(i64::from(*id)), Offset(*last)) == (txn.producer_id, txn.last_offset)
            }),
            "{txn:?}"
        );
    }
}

/// Everything in the files, batch by batch.
pub(super) fn batches_of(log: &PartitionLog) -> Vec<ModelBatch> {
    let mut found = Vec::new();
    let storage = &*log.storage;
    for segment in &log.segments {
        for batch in segment.scan(storage, 0).unwrap() {
            let batch = batch.unwrap();
            let bytes = batch.read(&*segment.file(storage).unwrap()).unwrap();
            assert!(crate::protocol::record_batch::verify_crc(&bytes));
            let header = batch.header;
            let records = Records::new(&bytes, 1 << 20).unwrap();
            let records = records.iter().map(|record| {
                let record = record.unwrap();
                ModelRecord {
                    offset: record.offset.0,
                    timestamp: record.timestamp.0,
                    key: record.key.unwrap()[0],
                    value: record.value.map(<[u8]>::to_vec),
                }
            });
            found.push(ModelBatch {
                base: header.base_offset.0,
                last: header.last_offset().0,
                kind: match (header.is_control(), header.is_transactional()) {
                    (true, _) => Kind::Marker,
                    (false, true) => Kind::Transactional,
                    (false, false) => Kind::Plain,
                },
                producer: header
                    .has_producer_id()
                    .then_some((header.producer_id.0 as u8, header.base_sequence)),
                codec: header.compression().unwrap().id(),
                horizon: header.delete_horizon().map(|at| at.0),
                records: records.collect(),
            });
        }
    }
    found
}

fn check_contents(log: &PartitionLog, model: &Model) {
    // Segments wholly below the start may be gone.
    let beyond = |batches: &[ModelBatch]| -> Vec<ModelBatch> {
        let beyond = batches.iter().filter(|batch| batch.last >= model.start);
        beyond.cloned().collect()
    };
    let (found, wanted) = (beyond(&batches_of(log)), beyond(&model.batches));
    for (found, wanted) in found.iter().zip(&wanted) {
        assert_eq!(found, wanted);
    }
    assert_eq!(found.len(), wanted.len());
}

/// From any offset, in a hole or not, a reader comes to the next batch there is.
pub(super) fn check_reads(log: &PartitionLog, model: &Model) {
    for offset in model.start..model.end {
        for bound in [model.end, (offset + model.end) / 2] {
            let next = model
                .batches
                .iter()
                .find(|batch| batch.last >= offset)
                .filter(|batch| batch.last < bound)
                .map(|batch| batch.base);
            let bytes = read_bytes(log, offset, 200, bound, true);
            let found = BatchHeader::parse(&bytes)
                .ok()
                .map(|header| header.base_offset.0);
            assert_eq!(found, next, "{offset} below {bound}");
            for batch in Batches::new(&bytes).flatten() {
                assert!(batch.0.last_offset().0 < bound);
            }
        }
    }
    assert!(read_bytes(log, model.end, 200, model.end, true).is_empty());
}

pub(super) fn check_times(log: &mut PartitionLog, model: &Model) {
    let records = || {
        let all = model.batches.iter().flat_map(|batch| &batch.records);
        all.filter(|record| record.offset >= model.start)
    };
    for timestamp in [0, 250, 500, 750, 1005] {
        let wanted = records().find(|record| record.timestamp >= timestamp);
        let found = log.offset_for_timestamp(TimestampMs(timestamp)).unwrap();
        assert_eq!(
            found.map(|found| (found.offset.0, found.timestamp.0)),
            wanted.map(|record| (record.offset, record.timestamp)),
            "{timestamp}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cleaned_log_is_what_the_rules_say(actions in vec(action(), 1..90)) {
        let mut life = Life::new(Arc::new(MemStorage::default()));
        for action in &actions {
            life.act(action);
            life.check();
        }
    }
}
