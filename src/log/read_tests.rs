use std::sync::Arc;

use super::*;
use crate::log::LogConfig;
use crate::log::crash::CrashStorage;
use crate::log::memory::MemStorage;
use crate::log::partition_log::RECENT_BATCHES;
use crate::log::storage::{Storage, read_exact_at};
use crate::log::test_log::*;
use crate::protocol::compression::Compression;
use crate::protocol::record_batch::{BatchBuilder, Batches};

/// Readers at the end of a log need nothing from the disk but what they asked for.
#[test]
fn a_read_at_the_tail_asks_the_disk_nothing() {
    let disk = CrashStorage::default();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut log = log(&storage, config());
    for _ in 0..200 {
        append(&mut log, &batch(0, 2, 10));
    }
    let calls = disk.calls();
    for offset in 400 - 2 * RECENT_BATCHES as i64..400 {
        for max in [1, 100, usize::MAX] {
            let found = log.read(Offset(offset), max, Offset(400), true).unwrap();
            assert!(found.is_some());
        }
    }
    assert_eq!(disk.calls(), calls);
    // Further back it takes a few.
    log.read(Offset(3), 1, Offset(400), true).unwrap();
    assert!(disk.calls() > calls);
}

#[test]
fn a_slice_says_where_the_next_one_begins() {
    let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
    let small = LogConfig {
        segment_bytes: 20_000,
        index_interval_bytes: 500,
        ..config()
    };
    let mut log = log(&storage, small);
    for n in 0..400 {
        append(&mut log, &batch(1000 + n, 1 + n as usize % 4, 60));
    }
    assert!(log.segment_count() > 2);
    let end = log.log_end_offset();
    // Byte limits that fall between batches, and into them, in old segments and at the tail.
    for max_bytes in [1, 300, 1_111, 5_000, 19_999, 1_000_000] {
        let mut at = Offset::ZERO;
        while at < end {
            let slice = log.read(at, max_bytes, end, true).unwrap().unwrap();
            let mut bytes = vec![0; slice.len as usize];
            read_exact_at(&*slice.file, &mut bytes, slice.position).unwrap();
            let whole: Vec<_> = Batches::new(&bytes)
                .map_while(Result::ok)
                .map(|(header, _)| header)
                .collect();
            let next = whole.last().unwrap().next_offset();
            assert!(
                slice.next_offset.is_none_or(|told| told == next),
                "{max_bytes} {at}"
            );
            // Beyond the distance of two index entries it is known.
            assert!(
                slice.next_offset.is_some() || max_bytes < 5_000,
                "{max_bytes} {at}"
            );
            at = next;
        }
        assert_eq!(at, end);
    }
}

/// The limit is for what producers send: it may be lowered later, and the broker compresses what came in plain.
#[test]
fn records_beyond_the_limit_of_today_are_found_by_their_time() {
    let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
    let mut log = log(&storage, config());
    for at in 1..=2 {
        let mut large = BatchBuilder::new(Offset::ZERO, Compression::Lz4);
        large.append(TimestampMs(at), None, Some(&[b'v'; 1000]), &[]);
        append(&mut log, &large.build());
    }
    log.set_config(LogConfig {
        max_decompressed_bytes: 100,
        ..config()
    });
    let by_time = log.offset_for_timestamp(TimestampMs(2)).unwrap();
    assert_eq!(by_time.unwrap().offset, Offset(1));
    let largest = log.offset_of_max_timestamp().unwrap();
    assert_eq!(largest.unwrap().offset, Offset(1));
}
