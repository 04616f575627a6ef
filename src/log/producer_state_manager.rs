//! What a partition knows of its idempotent producers: their epoch and their last five batches (KIP-98).
//!
//! Owned by the partition's log. A batch is checked before it is written and recorded after, so that a
//! failed write changes nothing. Rebuilt from a snapshot and the batches after it.
//! Behaviour is Apache Kafka 4.4.0's `ProducerAppendInfo`: an unknown producer may start at any sequence
//! (KIP-360), a new epoch starts at 0. Transactions are not looked at yet.

use std::collections::{HashMap, VecDeque};

use crate::protocol::record_batch::{BatchHeader, increment_sequence};
use crate::types::{Offset, ProducerEpoch, ProducerId, TimestampMs};

/// How many batches of each producer are remembered: as many as it may have in flight.
const BATCHES_KEPT: usize = 5;

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
    pub coordinator_epoch: i32,
    pub current_txn_first_offset: Option<Offset>,
}

/// Why a producer's batch may not be appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    #[error(
        "epoch of producer {producer} is {epoch}, which is smaller than the last seen epoch {seen}"
    )]
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
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    Fresh,
    /// It is in the log already.
    Duplicate(BatchMetadata),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProducerStateManager {
    producers: HashMap<ProducerId, ProducerEntry>,
}

impl ProducerStateManager {
    pub(super) fn from_entries(
        entries: impl IntoIterator<Item = (ProducerId, ProducerEntry)>,
    ) -> Self {
        Self {
            producers: entries.into_iter().collect(),
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

    /// Whether a client's batch may be appended.
    pub fn check(&self, batch: &BatchHeader) -> Result<Checked, SequenceError> {
        let Some(entry) = self.producers.get(&batch.producer_id) else {
            return Ok(Checked::Fresh);
        };
        if batch.producer_epoch < entry.epoch {
            return Err(SequenceError::StaleEpoch {
                producer: batch.producer_id,
                epoch: batch.producer_epoch,
                seen: entry.epoch,
            });
        }
        let out_of_order = |current| SequenceError::OutOfOrder {
            producer: batch.producer_id,
            incoming: batch.base_sequence,
            current,
        };
        if batch.producer_epoch > entry.epoch {
            return if batch.base_sequence == 0 {
                Ok(Checked::Fresh)
            } else {
                Err(out_of_order(-1))
            };
        }
        let duplicate = entry.batches.iter().find(|known| {
            known.first_sequence() == batch.base_sequence
                && known.last_sequence == batch.last_sequence()
        });
        if let Some(known) = duplicate {
            return Ok(Checked::Duplicate(*known));
        }
        match entry.batches.back() {
            // Known only by its epoch, as a transaction marker leaves it.
            None if batch.base_sequence == 0 => Ok(Checked::Fresh),
            None => Err(out_of_order(-1)),
            Some(last) if batch.base_sequence == increment_sequence(last.last_sequence, 1) => {
                Ok(Checked::Fresh)
            }
            Some(last) => Err(out_of_order(last.last_sequence)),
        }
    }

    /// Records a batch that is in the log.
    pub fn update(&mut self, batch: &BatchHeader, last_offset: Offset) {
        if !batch.has_producer_id() {
            return;
        }
        let entry = self
            .producers
            .entry(batch.producer_id)
            .or_insert_with(|| ProducerEntry {
                epoch: batch.producer_epoch,
                batches: VecDeque::new(),
                last_timestamp: batch.max_timestamp,
                coordinator_epoch: -1,
                current_txn_first_offset: None,
            });
        if entry.epoch != batch.producer_epoch {
            entry.epoch = batch.producer_epoch;
            entry.batches.clear();
        }
        entry.last_timestamp = batch.max_timestamp;
        if batch.is_control() {
            return;
        }
        if entry.batches.len() == BATCHES_KEPT {
            entry.batches.pop_front();
        }
        entry.batches.push_back(BatchMetadata {
            last_sequence: batch.last_sequence(),
            last_offset,
            offset_delta: batch.last_offset_delta,
            timestamp: batch.max_timestamp,
        });
    }

    /// Forgets who has been silent for long.
    pub fn expire(&mut self, silent_since: TimestampMs) {
        self.producers
            .retain(|_, entry| entry.last_timestamp > silent_since);
    }
}

#[cfg(test)]
mod tests {
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

    fn append(state: &mut ProducerStateManager, epoch: i16, first: i32, records: i32, end: i64) {
        let batch = batch(epoch, first, records);
        assert_eq!(state.check(&batch), Ok(Checked::Fresh), "{epoch} {first}");
        state.update(&batch, Offset(end));
    }

    #[test]
    fn sequences_follow_each_other() {
        let mut state = ProducerStateManager::default();
        // An unknown producer may start anywhere.
        append(&mut state, 0, 5, 3, 2);
        append(&mut state, 0, 8, 1, 3);
        let gap = state.check(&batch(0, 10, 1)).unwrap_err();
        assert!(matches!(
            gap,
            SequenceError::OutOfOrder {
                incoming: 10,
                current: 8,
                ..
            }
        ));
        let found = state.check(&batch(0, 5, 3)).unwrap();
        let Checked::Duplicate(known) = found else {
            panic!("not a duplicate: {found:?}");
        };
        assert_eq!(
            (known.first_offset(), known.last_offset),
            (Offset(0), Offset(2))
        );
        // The same start with another length is no duplicate.
        assert!(state.check(&batch(0, 5, 2)).is_err());
    }

    #[test]
    fn a_new_epoch_starts_at_zero_and_fences_the_old() {
        let mut state = ProducerStateManager::default();
        append(&mut state, 3, 0, 2, 1);
        assert!(state.check(&batch(4, 2, 1)).is_err());
        append(&mut state, 4, 0, 1, 2);
        assert!(matches!(
            state.check(&batch(3, 2, 1)),
            Err(SequenceError::StaleEpoch { .. })
        ));
        // What the old epoch wrote does not count as a duplicate.
        assert!(matches!(
            state.check(&batch(4, 0, 2)),
            Err(SequenceError::OutOfOrder { .. })
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
        assert!(state.check(&batch(0, i32::MAX - 1, 1)).is_err());
        assert!(matches!(
            state.check(&batch(0, i32::MAX, 1)),
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
}
