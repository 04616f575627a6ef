//! `<offset>.snapshot`: the producers of a partition as of an offset, in Kafka's format (version 1).
//!
//! Version (2 bytes), CRC32C of what follows it, then an array of entries of 46 bytes: producer id, epoch, last
//! sequence, last offset, offset delta, timestamp, coordinator epoch, first offset of the open transaction.
//! Only the last batch of a producer is in it, as in Kafka.

use std::collections::VecDeque;

use super::producer_state_manager::{BatchMetadata, ProducerEntry, ProducerStateManager};
use crate::types::{Offset, ProducerEpoch, ProducerId, TimestampMs};

const VERSION: i16 = 1;
const HEAD_BYTES: usize = 10;
const ENTRY_BYTES: usize = 46;

pub(super) fn encode(state: &ProducerStateManager) -> Vec<u8> {
    let entries = state.entries();
    let mut body = Vec::with_capacity(4 + entries.len() * ENTRY_BYTES);
    body.extend(
        i32::try_from(entries.len())
            .unwrap_or(i32::MAX)
            .to_be_bytes(),
    );
    for (id, entry) in entries {
        let last = entry.batches.back().copied().unwrap_or(BatchMetadata {
            last_sequence: -1,
            last_offset: Offset(-1),
            offset_delta: 0,
            timestamp: entry.last_timestamp,
        });
        body.extend(id.0.to_be_bytes());
        body.extend(entry.epoch.0.to_be_bytes());
        body.extend(last.last_sequence.to_be_bytes());
        body.extend(last.last_offset.0.to_be_bytes());
        body.extend(last.offset_delta.to_be_bytes());
        body.extend(entry.last_timestamp.0.to_be_bytes());
        body.extend(entry.coordinator_epoch.to_be_bytes());
        let open = entry.current_txn_first_offset.unwrap_or(Offset(-1));
        body.extend(open.0.to_be_bytes());
    }
    let mut bytes = Vec::with_capacity(6 + body.len());
    bytes.extend(VERSION.to_be_bytes());
    bytes.extend(crc32c::crc32c(&body).to_be_bytes());
    bytes.extend(body);
    bytes
}

/// `None` when the bytes are damaged: the producers are then rebuilt from further back.
pub(super) fn decode(bytes: &[u8]) -> Option<ProducerStateManager> {
    let [v0, v1, c0, c1, c2, c3, n0, n1, n2, n3] = *bytes.first_chunk::<HEAD_BYTES>()?;
    let crc = u32::from_be_bytes([c0, c1, c2, c3]);
    if i16::from_be_bytes([v0, v1]) != VERSION || crc32c::crc32c(bytes.get(6..)?) != crc {
        return None;
    }
    let count = usize::try_from(i32::from_be_bytes([n0, n1, n2, n3])).ok()?;
    let (entries, rest) = bytes.get(HEAD_BYTES..)?.as_chunks::<ENTRY_BYTES>();
    if entries.len() != count || !rest.is_empty() {
        return None;
    }
    Some(ProducerStateManager::from_entries(
        entries.iter().map(|bytes| decode_entry(bytes)),
    ))
}

fn decode_entry(mut bytes: &[u8]) -> (ProducerId, ProducerEntry) {
    use bytes::Buf;
    let id = ProducerId(bytes.get_i64());
    let epoch = ProducerEpoch(bytes.get_i16());
    let last_sequence = bytes.get_i32();
    let last_offset = Offset(bytes.get_i64());
    let offset_delta = bytes.get_i32();
    let timestamp = TimestampMs(bytes.get_i64());
    let coordinator_epoch = bytes.get_i32();
    let open = bytes.get_i64();
    let mut batches = VecDeque::new();
    if last_offset.0 >= 0 {
        batches.push_back(BatchMetadata {
            last_sequence,
            last_offset,
            offset_delta,
            timestamp,
        });
    }
    (
        id,
        ProducerEntry {
            epoch,
            batches,
            last_timestamp: timestamp,
            coordinator_epoch,
            current_txn_first_offset: (open >= 0).then_some(Offset(open)),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> ProducerStateManager {
        let entry = |sequence, open| ProducerEntry {
            epoch: ProducerEpoch(2),
            batches: VecDeque::from([BatchMetadata {
                last_sequence: sequence,
                last_offset: Offset(99),
                offset_delta: 9,
                timestamp: TimestampMs(1234),
            }]),
            last_timestamp: TimestampMs(1234),
            coordinator_epoch: -1,
            current_txn_first_offset: open,
        };
        ProducerStateManager::from_entries([
            (ProducerId(5), entry(41, None)),
            (ProducerId(3), entry(0, Some(Offset(7)))),
        ])
    }

    #[test]
    fn a_snapshot_is_read_back() {
        let bytes = encode(&state());
        assert_eq!(bytes.len(), HEAD_BYTES + 2 * ENTRY_BYTES);
        assert_eq!(decode(&bytes), Some(state()));
        assert_eq!(
            decode(&encode(&ProducerStateManager::default())),
            Some(ProducerStateManager::default())
        );
    }

    /// Read by Kafka's own `kafka-dump-log` without complaint.
    #[test]
    fn the_bytes_are_kafkas() {
        let entry = |offset, delta, sequence, timestamp| ProducerEntry {
            epoch: ProducerEpoch(0),
            batches: VecDeque::from([BatchMetadata {
                last_sequence: sequence,
                last_offset: Offset(offset),
                offset_delta: delta,
                timestamp: TimestampMs(timestamp),
            }]),
            last_timestamp: TimestampMs(timestamp),
            coordinator_epoch: -1,
            current_txn_first_offset: None,
        };
        let state = ProducerStateManager::from_entries([
            (ProducerId(1000), entry(735, 2, 99, 1_700_000_029_407)),
            (ProducerId(1001), entry(742, 1, 101, 1_700_000_029_707)),
        ]);
        let kafkas = concat!(
            "000198bc46c200000002",
            "00000000000003e800000000006300000000000002df00000002",
            "0000018bcfe5dadfffffffffffffffffffffffff",
            "00000000000003e900000000006500000000000002e600000001",
            "0000018bcfe5dc0bffffffffffffffffffffffff",
        );
        let hex: String = encode(&state)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, kafkas);
    }

    #[test]
    fn another_version_is_not_read() {
        let mut bytes = encode(&state());
        bytes[1] = 2;
        assert_eq!(decode(&bytes), None);
    }

    #[test]
    fn any_damage_is_seen() {
        let bytes = encode(&state());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert_eq!(decode(&damaged), None, "byte {at}");
            assert_eq!(decode(&bytes[..at]), None, "cut at {at}");
        }
    }
}
