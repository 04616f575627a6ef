//! Transactional batches and markers, for tests.

use crate::protocol::compression::Compression;
use crate::protocol::end_txn_marker::EndTxnMarker;
use crate::protocol::record_batch::BatchBuilder;
use crate::types::{Offset, ProducerEpoch, ProducerId, TimestampMs};

/// One record of a transaction.
pub(crate) fn txn_batch(producer: i64, sequence: i32, timestamp: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Offset::ZERO, Compression::None)
        .producer(ProducerId(producer), ProducerEpoch(0), sequence)
        .transactional(true);
    builder.append(TimestampMs(timestamp), Some(b"k"), Some(b"v"), &[]);
    builder.build()
}

pub(crate) fn txn_marker(producer: i64, committed: bool, timestamp: i64) -> Vec<u8> {
    let marker = EndTxnMarker {
        committed,
        coordinator_epoch: 0,
    };
    marker.to_batch(
        ProducerId(producer),
        ProducerEpoch(0),
        TimestampMs(timestamp),
    )
}
