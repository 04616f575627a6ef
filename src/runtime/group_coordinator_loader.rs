//! Rebuilds a coordinator's hard state from the bytes of its partition.
//!
//! Reads whole batches in order: records are replayed, control batches end transactions, and keys of a
//! kind that is not kept here are skipped. A record that cannot be read fails the load: guessing would
//! lose somebody's offsets.

use std::collections::BTreeMap;

use crate::group::GroupCoordinatorState;
use crate::group::records::{Decoded, Record, RecordError};
use crate::protocol::record::Records;
use crate::protocol::record_batch::{BatchError, BatchHeader, Batches};
use crate::types::{Offset, ProducerId};

/// No batch of a coordinator grows beyond this.
const MAX_DECOMPRESSED_BYTES: usize = 256 << 20;

/// The type in the key of a control record that commits its producer's transaction.
const COMMIT_MARKER: i16 = 1;
const ABORT_MARKER: i16 = 0;

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{0}")]
    Batch(#[from] BatchError),
    #[error("the record at offset {offset}: {error}")]
    Record { offset: Offset, error: RecordError },
    #[error("the log cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("the log cannot be read: {0}")]
    Read(String),
}

/// A load under way.
#[derive(Debug, Default)]
pub struct GroupLoader {
    pub state: GroupCoordinatorState,
    pub records: u64,
    pub bytes: u64,
    /// Records of other kinds, by the version of their key.
    pub skipped: BTreeMap<i16, u64>,
}

impl GroupLoader {
    /// Takes up the whole batches at the front of `bytes`, from `from` on; where the next one begins, or
    /// `None` when there is not one whole batch.
    pub fn load(&mut self, bytes: &[u8], from: Offset) -> Result<Option<Offset>, LoadError> {
        let mut next = None;
        for batch in Batches::new(bytes) {
            let (header, batch) = match batch {
                Ok(batch) => batch,
                Err(BatchError::Truncated { .. }) => break,
                Err(error) => return Err(error.into()),
            };
            next = Some(header.next_offset());
            self.bytes += batch.len() as u64;
            if header.is_control() {
                self.load_control(&header, batch)?;
            } else {
                self.load_batch(&header, batch, from)?;
            }
        }
        Ok(next)
    }

    fn load_batch(
        &mut self,
        header: &BatchHeader,
        batch: &[u8],
        from: Offset,
    ) -> Result<(), LoadError> {
        let producer = match header.is_transactional() {
            true => header.producer_id,
            false => ProducerId::NONE,
        };
        for record in &Records::new(batch, MAX_DECOMPRESSED_BYTES)? {
            let record = record?;
            let offset = record.offset;
            if offset < from {
                continue;
            }
            let decoded = Record::decode(record.key, record.value)
                .map_err(|error| LoadError::Record { offset, error })?;
            match decoded {
                Decoded::Record(record) => {
                    self.records += 1;
                    self.state.replay(&record, offset, producer);
                }
                Decoded::UnknownKey { version } => {
                    *self.skipped.entry(version).or_default() += 1;
                }
            }
        }
        Ok(())
    }

    fn load_control(&mut self, header: &BatchHeader, batch: &[u8]) -> Result<(), LoadError> {
        for record in &Records::new(batch, MAX_DECOMPRESSED_BYTES)? {
            let key = record?.key.unwrap_or_default();
            // The key is a version and a type, two bytes each.
            let kind = key.get(2..4).and_then(|kind| kind.try_into().ok());
            match kind.map(i16::from_be_bytes) {
                Some(COMMIT_MARKER) => self.end_transaction(header, true),
                Some(ABORT_MARKER) => self.end_transaction(header, false),
                _ => {}
            }
        }
        Ok(())
    }

    fn end_transaction(&mut self, header: &BatchHeader, committed: bool) {
        self.state
            .replay_transaction_end(header.producer_id, committed);
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::group::records::OffsetCommitValue;
    use crate::protocol::batch_builder::BatchBuilder;
    use crate::protocol::compression::Compression;
    use crate::types::{LeaderEpoch, ProducerEpoch, TimestampMs, TopicId};

    fn commit(partition: i32, offset: Option<i64>) -> Record {
        Record::OffsetCommit {
            group: "g".into(),
            topic: "t".into(),
            partition,
            value: offset.map(|offset| OffsetCommitValue {
                offset: Offset(offset),
                leader_epoch: LeaderEpoch::UNKNOWN,
                metadata: "".into(),
                commit_timestamp: TimestampMs(0),
                expire_timestamp: None,
                topic_id: TopicId::ZERO,
            }),
        }
    }

    fn batch(builder: BatchBuilder, records: &[Record]) -> Vec<u8> {
        let mut builder = builder;
        for record in records {
            let (key, value) = record.encode();
            builder.append(TimestampMs(1), Some(&key), value.as_deref(), &[]);
        }
        builder.build()
    }

    fn offsets(loader: &GroupLoader) -> Vec<(i32, i64)> {
        let offsets = loader.state.offsets().iter();
        offsets
            .map(|(_, _, partition, known)| (partition, known.value.offset.0))
            .collect()
    }

    #[test]
    fn replays_batches_transactions_and_skips_what_it_does_not_know() {
        let plain = |base| BatchBuilder::new(Offset(base), Compression::Zstd);
        let transactional = |base| {
            plain(base)
                .producer(ProducerId(7), ProducerEpoch(0), 0)
                .transactional(true)
        };
        let mut log = batch(plain(0), &[commit(0, Some(5)), commit(1, Some(6))]);
        log.extend(batch(transactional(2), &[commit(0, Some(50))]));
        let mut marker = transactional(3).control(true);
        marker.append(TimestampMs(1), Some(&[0, 0, 0, 1]), Some(&[0; 6]), &[]);
        log.extend(marker.build());
        let mut newer = plain(4);
        newer.append(TimestampMs(1), Some(&[0, 3, 0, 1, b'g']), Some(&[0]), &[]);
        log.extend(newer.build());
        log.extend(batch(plain(5), &[commit(1, None)]));
        let whole = log.len();
        log.extend(&batch(plain(6), &[commit(2, Some(1))])[..20]);

        let mut loader = GroupLoader::default();
        assert_eq!(loader.load(&log, Offset(0)).unwrap(), Some(Offset(6)));
        assert_eq!(offsets(&loader), [(0, 50)]);
        assert_eq!(loader.skipped, BTreeMap::from([(3, 1)]));
        assert_eq!((loader.records, loader.bytes), (4, whole as u64));
        assert_eq!(loader.load(&log[whole..], Offset(6)).unwrap(), None);

        // A read that begins inside a batch has its earlier records in it.
        let mut later = GroupLoader::default();
        later.load(&log, Offset(1)).unwrap();
        assert_eq!(later.records, 3);
    }

    #[test]
    fn an_aborted_transaction_leaves_nothing() {
        let builder = || {
            BatchBuilder::new(Offset(0), Compression::None)
                .producer(ProducerId(7), ProducerEpoch(0), 0)
                .transactional(true)
        };
        let mut log = batch(builder(), &[commit(0, Some(50))]);
        let mut marker = builder().control(true);
        marker.append(TimestampMs(1), Some(&[0, 0, 0, 0]), Some(&[0; 6]), &[]);
        log.extend(marker.build());
        let mut loader = GroupLoader::default();
        loader.load(&log, Offset(0)).unwrap();
        assert_eq!(loader.state, GroupCoordinatorState::default());
    }

    #[test]
    fn a_value_nobody_can_read_fails_the_load() {
        let (key, _) = commit(0, None).encode();
        let mut builder = BatchBuilder::new(Offset(3), Compression::None);
        builder.append(TimestampMs(1), Some(&key), Some(&[0, 9]), &[]);
        let error = GroupLoader::default().load(&builder.build(), Offset(0));
        assert_eq!(
            error.unwrap_err().to_string(),
            "the record at offset 3: an offset commit of unknown version 9"
        );
    }
}
