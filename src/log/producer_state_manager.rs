//! What a partition knows of its producers: their epoch, their last five batches (KIP-98), and the transactions
//! that are open or whose end is not replicated yet.
//!
//! Owned by the partition's log. A batch is checked before it is written and recorded after, so that a
//! failed write changes nothing. Rebuilt from a snapshot and the batches after it. What a leader has accepted
//! is recorded as it is: only an append of this node's own is checked.
//! Behaviour is Apache Kafka 4.4.0's `ProducerStateManager` and `ProducerAppendInfo`: an unknown producer may
//! start at any sequence (KIP-360), a new epoch starts at 0. Whether a transaction was added at its coordinator
//! (KIP-890's verification) is not asked here yet.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::append::AppendOrigin;
use super::transaction_index::AbortedTxn;
use crate::protocol::end_txn_marker::EndTxnMarker;
use crate::protocol::record_batch::{BatchHeader, increment_sequence};
use crate::types::{Offset, ProducerEpoch, ProducerId, TimestampMs};

/// How many batches of each producer are remembered: as many as it may have in flight.
const BATCHES_KEPT: usize = 5;

/// Before a transaction that should have been ended counts as late.
const LATE_TRANSACTION_BUFFER_MS: i64 = 5 * 60 * 1000;

/// From this transaction version on every transaction has an epoch of its own (KIP-890).
const EPOCH_BUMPED_SINCE: i16 = 2;

/// One batch that a producer wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchMetadata {
    pub last_sequence: i32,
    pub last_offset: Offset,
    pub offset_delta: i32,
    pub timestamp: TimestampMs,
}

impl BatchMetadata {
    fn first_sequence(&self) -> i32 {
        increment_sequence(self.last_sequence, -self.offset_delta)
    }

    pub fn first_offset(&self) -> Offset {
        self.last_offset.plus(-i64::from(self.offset_delta))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerEntry {
    pub epoch: ProducerEpoch,
    pub batches: VecDeque<BatchMetadata>,
    pub last_timestamp: TimestampMs,
    /// Of the last marker; -1 before the first.
    pub coordinator_epoch: i32,
    pub current_txn_first_offset: Option<Offset>,
}

/// Why a producer's batch may not be appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProducerStateError {
    #[error("epoch of producer {producer} is {epoch}, and the last seen epoch is {seen}")]
    StaleEpoch {
        producer: ProducerId,
        epoch: ProducerEpoch,
        seen: ProducerEpoch,
    },
    #[error(
        "out of order sequence number for producer {producer}: {incoming} (incoming sequence number), {current} (current end sequence number)"
    )]
    OutOfOrder {
        producer: ProducerId,
        incoming: i32,
        current: i32,
    },
    #[error("producer {producer} has a transaction open and sends a batch that is not part of it")]
    NotTransactional { producer: ProducerId },
    #[error(
        "invalid coordinator epoch for producer {producer}: {epoch} (zombie), {seen} (current)"
    )]
    CoordinatorFenced {
        producer: ProducerId,
        epoch: i32,
        seen: i32,
    },
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    Fresh,
    /// It is in the log already.
    Duplicate(BatchMetadata),
}

/// A batch that is in the log, or is about to be.
#[derive(Debug, Clone, Copy)]
pub struct ProducerBatch<'a> {
    pub header: &'a BatchHeader,
    /// Where it lies, whatever the header says.
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub marker: Option<EndTxnMarker>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProducerStateManager {
    producers: HashMap<ProducerId, ProducerEntry>,
    /// Open transactions by their first offset.
    ongoing: BTreeMap<Offset, ProducerId>,
    /// Transactions whose marker may not be below the high watermark: from the first offset to the marker's.
    unreplicated: BTreeMap<Offset, Offset>,
}

impl ProducerStateManager {
    pub(super) fn from_entries(
        entries: impl IntoIterator<Item = (ProducerId, ProducerEntry)>,
    ) -> Self {
        let producers: HashMap<_, _> = entries.into_iter().collect();
        Self {
            ongoing: producers
                .iter()
                .filter_map(|(id, entry)| Some((entry.current_txn_first_offset?, *id)))
                .collect(),
            producers,
            unreplicated: BTreeMap::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.producers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// By producer id.
    pub fn entries(&self) -> Vec<(ProducerId, &ProducerEntry)> {
        let mut entries: Vec<_> = self.producers.iter().map(|(id, e)| (*id, e)).collect();
        entries.sort_by_key(|(id, _)| *id);
        entries
    }

    /// Where the first transaction begins that is not decided, or whose decision may still be lost.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        let open = self.ongoing.keys().next();
        let unreplicated = self.unreplicated.keys().next();
        open.into_iter().chain(unreplicated).min().copied()
    }

    /// Where the first open transaction begins: the cleaner goes no further.
    pub fn first_undecided_offset(&self) -> Option<Offset> {
        self.ongoing.keys().next().copied()
    }

    /// Whether the oldest open transaction should have been ended long ago (Kafka's `hasLateTransaction`): its producer
    /// has written nothing for longer than a transaction may take.
    pub fn has_late_transaction(&self, now: TimestampMs, max_timeout_ms: i64) -> bool {
        let oldest = self.ongoing.first_key_value();
        let producer = oldest.and_then(|(_, producer)| self.producers.get(producer));
        producer.is_some_and(|entry| {
            let last = entry.last_timestamp.0;
            last > 0 && now.0.saturating_sub(last) > max_timeout_ms + LATE_TRANSACTION_BUFFER_MS
        })
    }

    /// What ends below an offset that is replicated, or cut off at the log's start, is decided for good.
    pub(super) fn decided_below(&mut self, offset: Offset) {
        if !self.unreplicated.is_empty() {
            self.unreplicated.retain(|_, marker| *marker >= offset);
        }
    }

    /// Whether a batch of this node's own may be appended.
    pub fn check(
        &self,
        batch: &BatchHeader,
        marker: Option<EndTxnMarker>,
        origin: AppendOrigin,
    ) -> Result<Checked, ProducerStateError> {
        let Some(entry) = self.producers.get(&batch.producer_id) else {
            return Ok(Checked::Fresh);
        };
        if let Some(marker) = marker {
            return entry.check_marker(batch, marker, origin);
        }
        entry.check_epoch(batch)?;
        if origin == AppendOrigin::Client {
            if let Some(known) = entry.duplicate_of(batch) {
                return Ok(Checked::Duplicate(known));
            }
            // A transaction that begins with this batch is verified here, once producers say which they
            // have added.
            entry.check_sequence(batch)?;
        }
        if entry.current_txn_first_offset.is_some() && !batch.is_transactional() {
            return Err(ProducerStateError::NotTransactional {
                producer: batch.producer_id,
            });
        }
        Ok(Checked::Fresh)
    }

    /// The transaction that a batch would abort.
    pub(super) fn aborted_by(&self, batch: &ProducerBatch<'_>) -> Option<AbortedTxn> {
        batch.marker.filter(|marker| !marker.committed)?;
        let producer_id = batch.header.producer_id;
        let first_offset = self.producers.get(&producer_id)?.current_txn_first_offset?;
        let next_open = self.ongoing.iter().find(|(_, id)| **id != producer_id);
        Some(AbortedTxn {
            producer_id,
            first_offset,
            last_offset: batch.base_offset,
            last_stable_offset: next_open.map_or(batch.base_offset.plus(1), |(first, _)| *first),
        })
    }

    /// Records a batch that is in the log.
    pub fn update(&mut self, batch: &ProducerBatch<'_>) {
        let header = batch.header;
        // A control batch without a record says nothing.
        if !header.has_producer_id() || (header.is_control() && batch.marker.is_none()) {
            return;
        }
        let entry = self
            .producers
            .entry(header.producer_id)
            .or_insert_with(|| ProducerEntry {
                epoch: header.producer_epoch,
                batches: VecDeque::new(),
                last_timestamp: header.max_timestamp,
                coordinator_epoch: -1,
                current_txn_first_offset: None,
            });
        if entry.epoch != header.producer_epoch {
            entry.epoch = header.producer_epoch;
            entry.batches.clear();
        }
        entry.last_timestamp = header.max_timestamp;
        if let Some(marker) = batch.marker {
            entry.coordinator_epoch = marker.coordinator_epoch;
            if let Some(first) = entry.current_txn_first_offset.take() {
                self.ongoing.remove(&first);
                self.unreplicated.insert(first, batch.base_offset);
            }
            return;
        }
        if entry.batches.len() == BATCHES_KEPT {
            entry.batches.pop_front();
        }
        entry.batches.push_back(BatchMetadata {
            last_sequence: header.last_sequence(),
            last_offset: batch.last_offset,
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
        if header.is_transactional() && entry.current_txn_first_offset.is_none() {
            entry.current_txn_first_offset = Some(batch.base_offset);
            self.ongoing.insert(batch.base_offset, header.producer_id);
        }
    }

    /// Forgets who has been silent for long, but nobody with a transaction open.
    pub fn expire(&mut self, silent_since: TimestampMs) {
        self.producers.retain(|_, entry| {
            entry.current_txn_first_offset.is_some() || entry.last_timestamp > silent_since
        });
    }
}

impl ProducerEntry {
    fn check_epoch(&self, batch: &BatchHeader) -> Result<(), ProducerStateError> {
        if batch.producer_epoch < self.epoch {
            return Err(self.stale(batch));
        }
        Ok(())
    }

    fn stale(&self, batch: &BatchHeader) -> ProducerStateError {
        ProducerStateError::StaleEpoch {
            producer: batch.producer_id,
            epoch: batch.producer_epoch,
            seen: self.epoch,
        }
    }

    fn duplicate_of(&self, batch: &BatchHeader) -> Option<BatchMetadata> {
        let same = |known: &&BatchMetadata| {
            known.first_sequence() == batch.base_sequence
                && known.last_sequence == batch.last_sequence()
        };
        let batches = self.batches.iter().find(same).copied();
        batches.filter(|_| batch.producer_epoch == self.epoch)
    }

    fn check_sequence(&self, batch: &BatchHeader) -> Result<(), ProducerStateError> {
        let last = self.batches.back();
        let (expected, current) = match last {
            Some(last) if batch.producer_epoch == self.epoch => (
                increment_sequence(last.last_sequence, 1),
                last.last_sequence,
            ),
            // A new epoch; or only known by its epoch, as a transaction marker leaves it.
            _ => (0, -1),
        };
        if batch.base_sequence == expected {
            return Ok(());
        }
        Err(ProducerStateError::OutOfOrder {
            producer: batch.producer_id,
            incoming: batch.base_sequence,
            current,
        })
    }

    fn check_marker(
        &self,
        batch: &BatchHeader,
        marker: EndTxnMarker,
        origin: AppendOrigin,
    ) -> Result<Checked, ProducerStateError> {
        self.check_epoch(batch)?;
        let bumped = matches!(origin, AppendOrigin::Marker { transaction_version } if transaction_version >= EPOCH_BUMPED_SINCE);
        // The transaction's own epoch is one larger than its batches'. The same again is a marker that a
        // coordinator repeats, or one of a producer whose epochs are used up.
        let repeated = self.current_txn_first_offset.is_none()
            || batch.producer_epoch == ProducerEpoch(i16::MAX);
        if bumped && batch.producer_epoch == self.epoch && !repeated {
            return Err(self.stale(batch));
        }
        if self.coordinator_epoch > marker.coordinator_epoch {
            return Err(ProducerStateError::CoordinatorFenced {
                producer: batch.producer_id,
                epoch: marker.coordinator_epoch,
                seen: self.coordinator_epoch,
            });
        }
        Ok(Checked::Fresh)
    }
}

#[cfg(test)]
#[path = "producer_state_manager_tests.rs"]
mod tests;
