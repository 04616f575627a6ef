//! What must be true of a log whose model is known: its batches, its reads, its times, its transactions.

use std::collections::BTreeMap;

use super::{Model, ModelBatch};
use crate::log::PartitionLog;
use crate::log::test_log::*;
use crate::protocol::record_batch::{BatchHeader, Batches};
use crate::types::{Offset, TimestampMs};

/// Batch by batch, from the start on.
pub(super) fn check_contents(log: &PartitionLog, model: &Model) {
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
pub(super) fn check_reads(log: &PartitionLog, model: &Model) {
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

pub(super) fn check_times(log: &mut PartitionLog, model: &Model) {
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

/// The epoch of every coordinator.
pub(super) const COORDINATOR_EPOCH: i32 = 3;

/// A transaction as the batches tell of it: producer, first offset, marker.
pub(super) type Txn = (i64, i64, i64);

/// What some batches leave behind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// First offsets by producer.
    pub(super) open: BTreeMap<i64, i64>,
    pub(super) ended: Vec<Txn>,
    pub(super) aborted: Vec<Txn>,
    /// Last sequence and offset, first offset of the open transaction, coordinator epoch.
    pub(super) producers: BTreeMap<i64, (i32, i64, Option<i64>, i32)>,
}

pub(super) fn tell<'a>(batches: impl IntoIterator<Item = &'a ModelBatch>) -> Told {
    let mut told = Told::default();
    for batch in batches {
        let Some(id) = batch.producer else {
            continue;
        };
        let producer = told.producers.entry(id).or_insert((-1, -1, None, -1));
        match batch.marker {
            Some(committed) => {
                (producer.2, producer.3) = (None, COORDINATOR_EPOCH);
                if let Some(first) = told.open.remove(&id) {
                    let txn = (id, first, batch.base);
                    told.ended.push(txn);
                    told.aborted.extend((!committed).then_some(txn));
                }
            }
            None => {
                (producer.0, producer.1) = (batch.last_sequence, batch.end() - 1);
                if batch.transactional {
                    producer.2.get_or_insert(batch.base);
                    told.open.entry(id).or_insert(batch.base);
                }
            }
        }
    }
    told
}

impl Told {
    pub(super) fn last_stable(&self, model: &Model) -> i64 {
        let unreplicated = self
            .ended
            .iter()
            .filter(|txn| txn.2 >= model.high_watermark);
        let first = unreplicated
            .map(|txn| txn.1)
            .chain(self.open.values().copied())
            .min();
        first.map_or(model.high_watermark, |first| {
            first.max(model.start).min(model.high_watermark)
        })
    }
}

/// The producers of a log, as `tell` has them.
pub(super) fn producers_of(log: &PartitionLog) -> BTreeMap<i64, (i32, i64, Option<i64>, i32)> {
    let entries = log.producers().entries().into_iter();
    entries
        .map(|(id, entry)| {
            let last = entry.batches.back();
            let (sequence, offset) =
                last.map_or((-1, -1), |last| (last.last_sequence, last.last_offset.0));
            let open = entry.current_txn_first_offset.map(|offset| offset.0);
            (id.0, (sequence, offset, open, entry.coordinator_epoch))
        })
        .collect()
}

pub(super) fn aborted_in(log: &PartitionLog, from: i64, to: i64) -> Vec<Txn> {
    let found = log.collect_aborted(Offset(from), Offset(to)).unwrap();
    for txn in &found {
        assert!(txn.last_stable_offset <= txn.last_offset.plus(1));
    }
    found
        .iter()
        .map(|txn| (txn.producer_id.0, txn.first_offset.0, txn.last_offset.0))
        .collect()
}

pub(super) fn check_transactions(log: &PartitionLog, model: &Model) {
    let high_watermark = Offset(model.high_watermark);
    let stable = log
        .first_unstable_offset()
        .map_or(high_watermark, |first| first.min(high_watermark))
        .0;
    let all = tell(&model.batches);
    // Of what was deleted a restart may know nothing.
    let known = tell(
        model
            .batches
            .iter()
            .filter(|batch| batch.end() > model.start),
    );
    let (low, high) = (all.last_stable(model), known.last_stable(model));
    assert!(
        (low..=high.max(low)).contains(&stable),
        "{stable} is not in {low}..={high}"
    );
    if model.start == 0 {
        assert_eq!(producers_of(log), all.producers);
    }
    let stops = [0, 1, 2, 3, 4, 5].map(|n| model.start + (stable - model.start).max(0) * n / 5);
    for from in stops {
        for to in stops.iter().copied().filter(|to| *to >= from) {
            let found = aborted_in(log, from, to);
            if model.start == 0 {
                let wanted: Vec<Txn> = all
                    .aborted
                    .iter()
                    .copied()
                    .filter(|txn| txn.2 >= from && txn.1 < to)
                    .collect();
                assert_eq!(found, wanted, "{from}..{to}");
            }
            check_committed(model, &found, (from, to), &all.aborted);
        }
    }
}

/// A consumer that goes by what it is told of aborted transactions keeps what was committed.
pub(super) fn check_committed(
    model: &Model,
    told: &[Txn],
    (from, to): (i64, i64),
    aborted: &[Txn],
) {
    let mut told: Vec<Txn> = told.to_vec();
    told.sort_by_key(|txn| std::cmp::Reverse(txn.1));
    let mut aborting: Vec<i64> = Vec::new();
    for batch in &model.batches {
        if batch.end() <= from || batch.end() > to {
            continue;
        }
        while let Some(txn) = told.pop_if(|txn| txn.1 < batch.end()) {
            aborting.push(txn.0);
        }
        let Some(id) = batch.producer else {
            continue;
        };
        if batch.marker == Some(false) {
            aborting.retain(|other| *other != id);
        }
        if batch.marker.is_none() && batch.transactional {
            let was_aborted = aborted
                .iter()
                .any(|txn| txn.0 == id && (txn.1..txn.2).contains(&batch.base));
            assert_eq!(aborting.contains(&id), was_aborted, "{batch:?}");
        }
    }
}
