//! dohle's cleaner leaves what Apache Kafka's leaves: the same bytes, but for what two compressors make of the same
//! records.

#![expect(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

use std::path::Path;
use std::sync::Arc;

use conformance::cleaner::{CASES, Files, clean, digests, files, golden, make};
use dohle::log::memory::MemStorage;
use dohle::log::storage::Storage;
use dohle::protocol::compression::Compression;
use dohle::protocol::record_batch::{BatchHeader, Batches, Records, ensure_crc};

/// Each batch as text; of a compressed one what is in it.
fn batches(log: &[u8]) -> Vec<String> {
    let shown = Batches::new(log).map(|batch| {
        let (header, bytes) = batch.unwrap();
        ensure_crc(bytes).unwrap();
        if header.compression().unwrap() == Compression::None {
            return format!("{header:?} {bytes:?}");
        }
        let alike = BatchHeader {
            crc: 0,
            batch_length: 0,
            ..header
        };
        let records = Records::new(bytes, 1 << 20).unwrap();
        let records: Vec<String> = records
            .iter()
            .map(|record| {
                let record = record.unwrap();
                let headers: Vec<_> = record.headers.map(|h| (h.key, h.value)).collect();
                format!(
                    "{:?} {headers:?}",
                    (record.offset, record.timestamp, record.key, record.value)
                )
            })
            .collect();
        format!("{alike:?} {records:?}")
    });
    shown.collect()
}

fn compare(what: &str, ours: &Files, kafkas: &Files) {
    let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(ours), names(kafkas), "{what}");
    for (name, bytes) in ours {
        let wanted = &kafkas[name];
        if name.ends_with(".txnindex") {
            assert_eq!(bytes, wanted, "{what} {name}");
            continue;
        }
        for (ours, kafkas) in batches(bytes).iter().zip(&batches(wanted)) {
            assert_eq!(ours, kafkas, "{what} {name}");
        }
        assert_eq!(batches(bytes).len(), batches(wanted).len(), "{what} {name}");
    }
}

#[test]
fn kafkas_cleaner_leaves_the_same() {
    let golden = golden().unwrap();
    let dir = Path::new("/case-0");
    for seed in 0..CASES {
        let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
        storage.create_dir_all(dir).unwrap();
        let cleanings = make(&storage, dir, seed).unwrap();
        let made = files(&*storage, dir).unwrap();
        let as_made = &golden[&(seed, 0)];
        assert_eq!(&digests(made.clone()), as_made, "{seed} as it was made");
        let cleaned = clean(&storage, dir, &cleanings).unwrap();
        for (round, (_, ours)) in cleaned.iter().enumerate() {
            let kafkas = &golden[&(seed, round + 1)];
            compare(
                &format!("{seed} after cleaning {}", round + 1),
                ours,
                kafkas,
            );
        }
        let bytes = |files: &Files| files.values().map(Vec::len).sum::<usize>();
        assert!(bytes(&cleaned[1].1) < bytes(&made) / 2, "{seed}");
    }
}
