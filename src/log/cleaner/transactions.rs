//! Which transactional batches a cleaning meets are aborted, and when a transaction's marker is of no use any more.
//!
//! Behaviour is Kafka's `CleanedTransactionMetadata`: aborted data goes at once. A marker is of no use when no batch
//! of its transaction was met before it, which is so once an earlier cleaning has removed them all; it goes a delete
//! horizon later. An aborted transaction of which batches are still in the segments keeps its index entry.
//! Pure: batches are shown to it in the order of the log.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::log::AbortedTxn;
use crate::protocol::record_batch::{BatchError, BatchHeader, Records};
use crate::types::{Offset, ProducerId};

const ABORT: i16 = 0;
const COMMIT: i16 = 1;

#[derive(Debug)]
struct Ongoing {
    transaction: AbortedTxn,
    data_seen: bool,
}

#[derive(Debug, Default)]
pub(super) struct CleanedTransactions {
    /// Those that were not reached yet, by first offset.
    aborted: VecDeque<AbortedTxn>,
    ongoing_aborted: BTreeMap<ProducerId, Ongoing>,
    ongoing_committed: BTreeSet<ProducerId>,
    /// Entries for the transaction index of the segment that is written now.
    pub(super) retained: Vec<AbortedTxn>,
}

impl CleanedTransactions {
    /// Of all aborted transactions those that end at or after where the first batch will be.
    pub(super) fn new(aborted: &[AbortedTxn], from: Offset) -> Self {
        let mut aborted: Vec<_> = aborted
            .iter()
            .filter(|transaction| transaction.last_offset >= from)
            .copied()
            .collect();
        aborted.sort_by_key(|transaction| transaction.first_offset);
        Self {
            aborted: aborted.into(),
            ..Self::default()
        }
    }

    fn begin_up_to(&mut self, offset: Offset) {
        while let Some(transaction) = self
            .aborted
            .pop_front_if(|next| next.first_offset <= offset)
        {
            self.ongoing_aborted
                .entry(transaction.producer_id)
                .or_insert(Ongoing {
                    transaction,
                    data_seen: false,
                });
        }
    }

    /// Whether a batch may go whatever its keys: aborted data, or a marker of a transaction without data.
    pub(super) fn may_discard(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
        max_decompressed_bytes: usize,
    ) -> Result<bool, BatchError> {
        self.begin_up_to(header.last_offset());
        if header.is_control() {
            let records = Records::new(batch, max_decompressed_bytes)?;
            let Some(first) = records.iter().next().transpose()? else {
                return Ok(true);
            };
            // The key is a version and a type, two bytes each.
            let kind = first
                .key
                .and_then(|key| key.get(2..4)?.first_chunk().copied())
                .map(i16::from_be_bytes);
            return Ok(self.end_transaction(header.producer_id, kind));
        }
        if !header.is_transactional() {
            return Ok(false);
        }
        if let Some(ongoing) = self.ongoing_aborted.get_mut(&header.producer_id) {
            ongoing.data_seen = true;
            return Ok(true);
        }
        self.ongoing_committed.insert(header.producer_id);
        Ok(false)
    }

    fn end_transaction(&mut self, producer: ProducerId, kind: Option<i16>) -> bool {
        match kind {
            Some(ABORT) => match self.ongoing_aborted.remove(&producer) {
                Some(ongoing) if ongoing.data_seen => {
                    self.retained.push(ongoing.transaction);
                    false
                }
                _ => true,
            },
            Some(COMMIT) => !self.ongoing_committed.remove(&producer),
            // A leader change and the like.
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::compression::Compression;
    use crate::protocol::record_batch::BatchBuilder;
    use crate::types::{ProducerEpoch, TimestampMs};

    fn aborted(producer: i64, first: i64, last: i64) -> AbortedTxn {
        AbortedTxn {
            producer_id: ProducerId(producer),
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(first),
        }
    }

    fn data(offset: i64, producer: i64, transactional: bool) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Offset(offset), Compression::None)
            .producer(ProducerId(producer), ProducerEpoch(0), 0)
            .transactional(transactional);
        builder.append(TimestampMs(1), Some(b"k"), Some(b"v"), &[]);
        builder.build()
    }

    fn marker(offset: i64, producer: i64, kind: i16) -> Vec<u8> {
        let [high, low] = kind.to_be_bytes();
        let mut builder = BatchBuilder::new(Offset(offset), Compression::None)
            .producer(ProducerId(producer), ProducerEpoch(0), -1)
            .transactional(true)
            .control(true);
        builder.append(TimestampMs(1), Some(&[0, 0, high, low]), Some(&[0; 6]), &[]);
        builder.build()
    }

    fn verdicts(transactions: &mut CleanedTransactions, batches: &[Vec<u8>]) -> Vec<bool> {
        let verdict = |batch: &Vec<u8>| {
            let header = BatchHeader::parse(batch).unwrap();
            transactions.may_discard(&header, batch, 1 << 20).unwrap()
        };
        batches.iter().map(verdict).collect()
    }

    #[test]
    fn aborted_data_goes_and_markers_stay_as_long_as_there_was_data() {
        let mut found = CleanedTransactions::new(&[aborted(2, 1, 5), aborted(1, 6, 7)], Offset(0));
        let batches = [
            (data(0, 1, true), false),
            (data(1, 2, true), true),
            (data(2, 3, false), false),
            (data(3, 2, true), true),
            (marker(4, 1, COMMIT), false),
            (marker(5, 2, ABORT), false),
            (data(6, 1, true), true),
            (marker(7, 1, ABORT), false),
            // Committed: the producer's aborted transaction is over.
            (data(8, 2, true), false),
            (marker(9, 2, COMMIT), false),
            // Nothing of their transactions is there any more.
            (marker(10, 2, COMMIT), true),
            (marker(11, 1, ABORT), true),
            (marker(12, 4, ABORT), true),
            // Not a transaction's marker.
            (marker(13, 4, 2), false),
        ];
        let (bytes, expected): (Vec<_>, Vec<_>) = batches.into_iter().unzip();
        assert_eq!(verdicts(&mut found, &bytes), expected);
        assert_eq!(found.retained, [aborted(2, 1, 5), aborted(1, 6, 7)]);
    }

    #[test]
    fn a_transaction_that_ended_before_says_nothing_of_the_producers_next() {
        let all = [aborted(1, 0, 4), aborted(1, 5, 9)];
        let mut found = CleanedTransactions::new(&all, Offset(5));
        let batches = [data(5, 1, true), marker(9, 1, ABORT), data(10, 1, true)];
        assert_eq!(verdicts(&mut found, &batches), [true, false, false]);
        // One that began before is known by its marker.
        let mut found = CleanedTransactions::new(&all, Offset(3));
        let batches = [data(3, 1, true), marker(4, 1, ABORT), data(5, 1, true)];
        assert_eq!(verdicts(&mut found, &batches), [true, false, true]);
    }

    #[test]
    fn an_entry_goes_with_the_last_of_its_data() {
        let mut found = CleanedTransactions::new(&[aborted(1, 0, 4)], Offset(0));
        assert_eq!(verdicts(&mut found, &[marker(4, 1, ABORT)]), [true]);
        assert_eq!(found.retained, []);
    }

    #[test]
    fn an_empty_control_batch_is_of_no_use() {
        let bytes = BatchBuilder::new(Offset(3), Compression::None)
            .producer(ProducerId(1), ProducerEpoch(0), -1)
            .control(true)
            .last_offset(Offset(3))
            .build();
        let mut found = CleanedTransactions::default();
        assert_eq!(verdicts(&mut found, &[bytes]), [true]);
    }
}
