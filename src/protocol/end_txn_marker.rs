//! The control record that ends a transaction on a partition (KIP-98): committed or aborted, and by which
//! coordinator.
//!
//! Its key is a version and a type (two bytes each), its value a version and the coordinator's epoch. Unknown
//! later versions are read as version 0, as Kafka reads them.

use crate::protocol::batch_builder::BatchBuilder;
use crate::protocol::compression::Compression;
use crate::protocol::record::Records;
use crate::protocol::record_batch::{BatchError, NO_SEQUENCE};
use crate::types::{Offset, ProducerEpoch, ProducerId, TimestampMs};

const ABORT: i16 = 0;
const COMMIT: i16 = 1;
const VERSION: i16 = 0;

/// A control record is a few bytes; a compressed one that is longer is none.
const LONGEST_PAYLOAD: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTxnMarker {
    pub committed: bool,
    pub coordinator_epoch: i32,
}

impl EndTxnMarker {
    /// The marker of a control batch. `None` where the batch holds no record: compaction has removed it, and
    /// what is left says nothing of a transaction.
    pub fn of_batch(batch: &[u8]) -> Result<Option<EndTxnMarker>, BatchError> {
        let records = Records::new(batch, LONGEST_PAYLOAD)?;
        match records.iter().next() {
            None => Ok(None),
            Some(record) => {
                let record = record?;
                EndTxnMarker::parse(
                    record.key.unwrap_or_default(),
                    record.value.unwrap_or_default(),
                )
                .map(Some)
            }
        }
    }

    fn parse(key: &[u8], value: &[u8]) -> Result<EndTxnMarker, BatchError> {
        let cut = || BatchError::invalid("a transaction marker is cut off");
        let [v0, v1, t0, t1] = *key.first_chunk().ok_or_else(cut)?;
        let [w0, w1, e0, e1, e2, e3] = *value.first_chunk().ok_or_else(cut)?;
        for version in [i16::from_be_bytes([v0, v1]), i16::from_be_bytes([w0, w1])] {
            if version < 0 {
                return Err(BatchError::invalid(format!(
                    "a transaction marker has version {version}"
                )));
            }
        }
        let committed = match i16::from_be_bytes([t0, t1]) {
            ABORT => false,
            COMMIT => true,
            other => {
                return Err(BatchError::invalid(format!(
                    "control record type {other} does not end a transaction"
                )));
            }
        };
        Ok(EndTxnMarker {
            committed,
            coordinator_epoch: i32::from_be_bytes([e0, e1, e2, e3]),
        })
    }

    /// The control batch that holds it, as a coordinator appends it.
    pub fn to_batch(
        self,
        producer: ProducerId,
        epoch: ProducerEpoch,
        timestamp: TimestampMs,
    ) -> Vec<u8> {
        let kind = if self.committed { COMMIT } else { ABORT };
        let key = [VERSION.to_be_bytes(), kind.to_be_bytes()].concat();
        let epoch_bytes = self.coordinator_epoch.to_be_bytes();
        let value = [&VERSION.to_be_bytes()[..], &epoch_bytes[..]].concat();
        let mut builder = BatchBuilder::new(Offset::ZERO, Compression::None)
            .producer(producer, epoch, NO_SEQUENCE)
            .transactional(true)
            .control(true);
        builder.append(timestamp, Some(&key), Some(&value), &[]);
        builder.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::record_batch::BatchHeader;

    fn batch(key: &[u8], value: &[u8]) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Offset::ZERO, Compression::None).control(true);
        builder.append(TimestampMs(7), Some(key), Some(value), &[]);
        builder.build()
    }

    #[test]
    fn a_marker_is_read_back() {
        for committed in [false, true] {
            let marker = EndTxnMarker {
                committed,
                coordinator_epoch: 77,
            };
            let batch = marker.to_batch(ProducerId(9), ProducerEpoch(3), TimestampMs(1000));
            assert_eq!(EndTxnMarker::of_batch(&batch), Ok(Some(marker)));
            let header = BatchHeader::parse(&batch).unwrap();
            assert!(header.is_control() && header.is_transactional());
            assert_eq!((header.producer_id.0, header.producer_epoch.0), (9, 3));
            assert_eq!((header.base_sequence, header.records_count), (-1, 1));
            // As Apache Kafka 4.4.0 writes it.
            assert_eq!(batch.len(), 78);
        }
    }

    #[test]
    fn what_is_no_marker_is_refused() {
        let later = EndTxnMarker::of_batch(&batch(&[0, 9, 0, 1], &[0, 4, 0, 0, 1, 0, 9]));
        let read = EndTxnMarker {
            committed: true,
            coordinator_epoch: 256,
        };
        assert_eq!(later, Ok(Some(read)), "a later version is read as this one");
        for (what, key, value) in [
            ("no key", &[][..], &[0, 0, 0, 0, 0, 1][..]),
            ("no value", &[0, 0, 0, 1], &[]),
            ("a cut value", &[0, 0, 0, 1], &[0, 0, 0, 0, 0]),
            ("another type", &[0, 0, 0, 2], &[0, 0, 0, 0, 0, 1]),
            ("a negative version", &[255, 255, 0, 1], &[0, 0, 0, 0, 0, 1]),
            (
                "a negative value version",
                &[0, 0, 0, 1],
                &[255, 0, 0, 0, 0, 1],
            ),
        ] {
            assert!(
                EndTxnMarker::of_batch(&batch(key, value)).is_err(),
                "{what}"
            );
        }
        let empty = BatchBuilder::new(Offset::ZERO, Compression::None)
            .control(true)
            .build();
        assert_eq!(EndTxnMarker::of_batch(&empty), Ok(None));
    }
}
