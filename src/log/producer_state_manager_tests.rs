//! The producer state, batch by batch.

use super::*;
use crate::protocol::compression::Compression;
use crate::protocol::record_batch::BatchBuilder;

fn batch(epoch: i16, first_sequence: i32, records: i32) -> BatchHeader {
    let mut builder = BatchBuilder::new(Offset::ZERO, Compression::None).producer(
        ProducerId(7),
        ProducerEpoch(epoch),
        first_sequence,
    );
    for _ in 0..records {
        builder.append(TimestampMs(1000), None, Some(b"v"), &[]);
    }
    BatchHeader::parse(&builder.build()).unwrap()
}

fn check(state: &ProducerStateManager, batch: &BatchHeader) -> Result<Checked, ProducerStateError> {
    state.check(batch, None, AppendOrigin::Client)
}

fn append(state: &mut ProducerStateManager, epoch: i16, first: i32, records: i32, end: i64) {
    let batch = batch(epoch, first, records);
    assert_eq!(check(state, &batch), Ok(Checked::Fresh), "{epoch} {first}");
    state.update(&ProducerBatch {
        header: &batch,
        base_offset: Offset(end - i64::from(records) + 1),
        last_offset: Offset(end),
        marker: None,
    });
}

#[test]
fn sequences_follow_each_other() {
    let mut state = ProducerStateManager::default();
    // An unknown producer may start anywhere.
    append(&mut state, 0, 5, 3, 2);
    append(&mut state, 0, 8, 1, 3);
    let gap = check(&state, &batch(0, 10, 1)).unwrap_err();
    assert!(matches!(
        gap,
        ProducerStateError::OutOfOrder {
            incoming: 10,
            current: 8,
            ..
        }
    ));
    let found = check(&state, &batch(0, 5, 3)).unwrap();
    let Checked::Duplicate(known) = found else {
        panic!("not a duplicate: {found:?}");
    };
    assert_eq!(
        (known.first_offset(), known.last_offset),
        (Offset(0), Offset(2))
    );
    // The same start with another length is no duplicate.
    assert!(check(&state, &batch(0, 5, 2)).is_err());
}

#[test]
fn a_new_epoch_starts_at_zero_and_fences_the_old() {
    let mut state = ProducerStateManager::default();
    append(&mut state, 3, 0, 2, 1);
    assert!(check(&state, &batch(4, 2, 1)).is_err());
    append(&mut state, 4, 0, 1, 2);
    assert!(matches!(
        check(&state, &batch(3, 2, 1)),
        Err(ProducerStateError::StaleEpoch { .. })
    ));
    // What the old epoch wrote does not count as a duplicate.
    assert!(matches!(
        check(&state, &batch(4, 0, 2)),
        Err(ProducerStateError::OutOfOrder { .. })
    ));
}

#[test]
fn five_batches_are_remembered_and_sequences_wrap() {
    let mut state = ProducerStateManager::default();
    append(&mut state, 0, i32::MAX - 1, 1, 0);
    append(&mut state, 0, i32::MAX, 1, 1);
    for n in 0..4 {
        append(&mut state, 0, n, 1, 2 + i64::from(n));
    }
    assert!(check(&state, &batch(0, i32::MAX - 1, 1)).is_err());
    assert!(matches!(
        check(&state, &batch(0, i32::MAX, 1)),
        Ok(Checked::Duplicate(_))
    ));
}

#[test]
fn silent_producers_are_forgotten() {
    let mut state = ProducerStateManager::default();
    append(&mut state, 0, 0, 1, 0);
    state.expire(TimestampMs(999));
    assert_eq!(state.len(), 1);
    state.expire(TimestampMs(1000));
    assert!(state.is_empty());
}

/// A log of transactions: what the state says at each of its offsets.
#[derive(Default)]
struct Transactions {
    state: ProducerStateManager,
    end: i64,
}

impl Transactions {
    fn header(producer: i64, epoch: i16, sequence: i32, transactional: bool) -> BatchHeader {
        let mut builder = BatchBuilder::new(Offset::ZERO, Compression::None)
            .producer(ProducerId(producer), ProducerEpoch(epoch), sequence)
            .transactional(transactional);
        builder.append(TimestampMs(1000), None, Some(b"v"), &[]);
        BatchHeader::parse(&builder.build()).unwrap()
    }

    fn try_data(
        &mut self,
        header: &BatchHeader,
        origin: AppendOrigin,
    ) -> Result<Checked, ProducerStateError> {
        let checked = self.state.check(header, None, origin)?;
        if checked == Checked::Fresh {
            self.record(header, None);
        }
        Ok(checked)
    }

    fn data(&mut self, producer: i64, epoch: i16, sequence: i32) {
        let header = Self::header(producer, epoch, sequence, true);
        let checked = self.try_data(&header, AppendOrigin::Client);
        assert_eq!(checked, Ok(Checked::Fresh));
    }

    fn try_marker(
        &mut self,
        producer: i64,
        epoch: i16,
        marker: EndTxnMarker,
        transaction_version: i16,
    ) -> Result<Option<AbortedTxn>, ProducerStateError> {
        let batch = marker.to_batch(
            ProducerId(producer),
            ProducerEpoch(epoch),
            TimestampMs(2000),
        );
        let header = BatchHeader::parse(&batch).unwrap();
        let origin = AppendOrigin::Marker {
            transaction_version,
        };
        let checked = self.state.check(&header, Some(marker), origin)?;
        assert_eq!(checked, Checked::Fresh);
        Ok(self.record(&header, Some(marker)))
    }

    fn end(&mut self, producer: i64, committed: bool) -> Option<AbortedTxn> {
        self.try_marker(producer, 0, marker(committed, 1), 0)
            .unwrap()
    }

    fn record(&mut self, header: &BatchHeader, marker: Option<EndTxnMarker>) -> Option<AbortedTxn> {
        let batch = ProducerBatch {
            header,
            base_offset: Offset(self.end),
            last_offset: Offset(self.end),
            marker,
        };
        let aborted = self.state.aborted_by(&batch);
        self.state.update(&batch);
        self.end += 1;
        aborted
    }

    fn unstable(&self) -> Option<i64> {
        self.state.first_unstable_offset().map(|offset| offset.0)
    }

    fn undecided(&self) -> Option<i64> {
        self.state.first_undecided_offset().map(|offset| offset.0)
    }
}

fn marker(committed: bool, coordinator_epoch: i32) -> EndTxnMarker {
    EndTxnMarker {
        committed,
        coordinator_epoch,
    }
}

fn aborted(producer: i64, first: i64, last: i64, stable: i64) -> Option<AbortedTxn> {
    Some(AbortedTxn {
        producer_id: ProducerId(producer),
        first_offset: Offset(first),
        last_offset: Offset(last),
        last_stable_offset: Offset(stable),
    })
}

#[test]
fn a_transaction_is_unstable_until_its_marker_is_replicated() {
    let mut log = Transactions::default();
    log.data(1, 0, 0);
    log.data(2, 0, 0);
    log.data(1, 0, 1);
    assert_eq!((log.unstable(), log.undecided()), (Some(0), Some(0)));
    // 3: the first one ends; the second is open, and was open when it ended.
    assert_eq!(log.end(1, false), aborted(1, 0, 3, 1));
    assert_eq!((log.unstable(), log.undecided()), (Some(0), Some(1)));
    // The marker must be below the high watermark, not at it.
    log.state.decided_below(Offset(3));
    assert_eq!(log.unstable(), Some(0));
    log.state.decided_below(Offset(4));
    assert_eq!(log.unstable(), Some(1));
    // 4: a commit is no abort.
    assert_eq!(log.end(2, true), None);
    assert_eq!((log.unstable(), log.undecided()), (Some(1), None));
    log.state.decided_below(Offset(5));
    assert_eq!(log.unstable(), None);
    // 5: a marker without a transaction ends none.
    assert_eq!(log.end(1, false), None);
    assert_eq!(log.unstable(), None);
    // 6, 7: alone it is stable up to its own end.
    log.data(1, 0, 2);
    assert_eq!(log.end(1, false), aborted(1, 6, 7, 8));
}

#[test]
fn a_producer_with_a_transaction_open_sends_nothing_else_and_is_not_forgotten() {
    let mut log = Transactions::default();
    log.data(1, 0, 0);
    for origin in [AppendOrigin::Client, AppendOrigin::Coordinator] {
        let plain = Transactions::header(1, 0, 1, false);
        let refused = ProducerStateError::NotTransactional {
            producer: ProducerId(1),
        };
        assert_eq!(log.try_data(&plain, origin), Err(refused), "{origin:?}");
    }
    log.state.expire(TimestampMs(i64::MAX));
    assert_eq!(log.state.len(), 1);
    log.end(1, true);
    log.state.expire(TimestampMs(1999));
    assert_eq!(log.state.len(), 1, "the marker's time counts");
    log.state.expire(TimestampMs(2000));
    assert!(log.state.is_empty());
}

#[test]
fn a_transaction_is_late_when_its_producer_is_silent_for_longer_than_it_may_take() {
    let mut log = Transactions::default();
    let late = |log: &Transactions, now| log.state.has_late_transaction(TimestampMs(now), 700);
    assert!(!late(&log, i64::MAX), "none is open");
    // Written at 1000.
    log.data(1, 0, 0);
    log.data(2, 0, 0);
    assert!(!late(&log, 1000 + 700 + 300_000));
    assert!(late(&log, 1000 + 700 + 300_001));
    log.end(1, false);
    assert!(late(&log, 1000 + 700 + 300_001), "the other one is");
    log.end(2, true);
    assert!(!late(&log, i64::MAX));
}

#[test]
fn old_epochs_are_fenced_and_a_markers_epoch_fences() {
    let mut log = Transactions::default();
    log.data(1, 3, 0);
    // A coordinator that has fenced the producer ends its transaction under the next epoch.
    assert_eq!(
        log.try_marker(1, 4, marker(false, 7), 0),
        Ok(aborted(1, 0, 1, 2))
    );
    let stale = |epoch, seen| ProducerStateError::StaleEpoch {
        producer: ProducerId(1),
        epoch: ProducerEpoch(epoch),
        seen: ProducerEpoch(seen),
    };
    for origin in [AppendOrigin::Client, AppendOrigin::Coordinator] {
        let old = Transactions::header(1, 3, 1, true);
        assert_eq!(log.try_data(&old, origin), Err(stale(3, 4)));
    }
    assert_eq!(log.try_marker(1, 3, marker(true, 7), 0), Err(stale(3, 4)));
    // The epoch is new: its batches begin at 0, and those of the old one are forgotten.
    let gap = Transactions::header(1, 4, 1, true);
    assert!(matches!(
        log.try_data(&gap, AppendOrigin::Client),
        Err(ProducerStateError::OutOfOrder { current: -1, .. })
    ));
    log.data(1, 4, 0);
    // A coordinator's batches have no sequence that anybody keeps.
    let gap = Transactions::header(1, 4, 9, true);
    let taken = log.try_data(&gap, AppendOrigin::Coordinator);
    assert_eq!(taken, Ok(Checked::Fresh));
}

#[test]
fn an_old_coordinator_is_fenced() {
    let mut log = Transactions::default();
    log.data(1, 0, 0);
    log.try_marker(1, 0, marker(true, 5), 0).unwrap();
    log.data(1, 0, 1);
    let fenced = ProducerStateError::CoordinatorFenced {
        producer: ProducerId(1),
        epoch: 4,
        seen: 5,
    };
    assert_eq!(log.try_marker(1, 0, marker(false, 4), 0), Err(fenced));
    assert_eq!(log.undecided(), Some(2), "nothing has changed");
    log.try_marker(1, 0, marker(false, 5), 0).unwrap();
    assert_eq!(log.undecided(), None);
}

#[test]
fn with_bumped_epochs_a_marker_must_have_the_next_one() {
    let mut log = Transactions::default();
    log.data(1, 3, 0);
    // Version 1 allows the epoch of the batches, version 2 does not.
    assert!(log.try_marker(1, 3, marker(true, 0), 2).is_err());
    assert_eq!(log.try_marker(1, 4, marker(true, 0), 2), Ok(None));
    // A coordinator may say it twice.
    assert_eq!(log.try_marker(1, 4, marker(true, 0), 2), Ok(None));
    assert!(log.try_marker(1, 3, marker(true, 0), 2).is_err());
    // The last epoch there is has no next one.
    let mut log = Transactions::default();
    log.data(1, i16::MAX, 0);
    assert!(log.try_marker(1, i16::MAX, marker(true, 0), 2).is_ok());
}

#[test]
fn what_a_leader_took_is_recorded_as_it_is() {
    let mut log = Transactions::default();
    log.data(1, 3, 0);
    let old = Transactions::header(1, 2, 7, false);
    log.record(&old, None);
    let entry = log.state.entries()[0].1.clone();
    assert_eq!(entry.epoch, ProducerEpoch(2));
    assert_eq!(entry.batches.len(), 1);
    assert_eq!(entry.current_txn_first_offset, Some(Offset(0)));
}

#[test]
fn a_snapshot_keeps_the_open_transactions() {
    let mut log = Transactions::default();
    log.data(1, 0, 0);
    log.data(2, 0, 0);
    log.end(1, true);
    let entries = log.state.entries().into_iter();
    let copy = ProducerStateManager::from_entries(entries.map(|(id, entry)| (id, entry.clone())));
    assert_eq!(copy.first_unstable_offset(), Some(Offset(1)));
    assert_eq!(copy.first_undecided_offset(), Some(Offset(1)));
}
