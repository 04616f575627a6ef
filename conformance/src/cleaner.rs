//! What compaction leaves of a log: asked of Apache Kafka's own cleaner once, of dohle in every test.
//!
//! Each case is a log made from a seed: keys, tombstones, transactions, producers, every codec, holes of an earlier
//! cleaning. It is cleaned twice, the second time when delete horizons are over. `golden/cleaner-4.4.0.tsv.gz` holds
//! the segments and transaction indexes that Kafka left. With Kafka's jars on a class path it is written by
//!
//! ```text
//! cargo run -p conformance --example record_cleaner make DIR
//! java -cp RECORDER:JARS dohle.conformance.CleanerRecorder DIR/cases
//! cargo run -p conformance --example record_cleaner collect DIR conformance/golden/cleaner-4.4.0.tsv.gz
//! ```

#![expect(
    clippy::indexing_slicing,
    reason = "a tool of tests says what is wrong by failing"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use dohle::config::{CleanupPolicy, TopicConfig};
use dohle::log::cleaner::{CleanError, CleanedSegment, Cleaner, CleaningHost};
use dohle::log::storage::Storage;
use dohle::log::{AppendOrigin, LogConfig, OpenLog, PartitionLog, open};
use dohle::protocol::compression::Compression;
use dohle::protocol::end_txn_marker::EndTxnMarker;
use dohle::protocol::record_batch::{BatchBuilder, Header};
use dohle::types::{
    LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs, TopicId, TopicPartition,
};

static GOLDEN: &[u8] = include_bytes!("../golden/cleaner-4.4.0.tsv.gz");

/// How many cases there are.
pub const CASES: u64 = 24;
pub const SEGMENT_BYTES: u32 = 4000;
pub const INDEX_INTERVAL_BYTES: u32 = 500;
pub const DELETE_RETENTION_MS: i64 = 5000;
const START: i64 = 1_700_000_000_000;

/// A directory's segments and transaction indexes by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// One cleaning.
#[derive(Debug, Clone, Copy)]
pub struct Cleaning {
    pub high_watermark: i64,
    pub now: i64,
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // xorshift: any state but 0.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

pub fn config() -> LogConfig {
    let mut config = LogConfig::from(&TopicConfig {
        cleanup_policy: CleanupPolicy {
            compact: true,
            delete: false,
        },
        min_cleanable_dirty_ratio: 0.0,
        delete_retention_ms: DELETE_RETENTION_MS,
        index_interval_bytes: INDEX_INTERVAL_BYTES as i32,
        message_timestamp_after_max_ms: i64::MAX,
        ..TopicConfig::default()
    });
    config.segment_bytes = SEGMENT_BYTES;
    config
}

fn open_log(storage: &Arc<dyn Storage>, dir: &Path) -> io::Result<PartitionLog> {
    let topic_partition = TopicPartition::new("case", 0);
    let open_log = OpenLog {
        topic_partition,
        topic_id: TopicId::ZERO,
        config: config(),
        recovery_point: Offset(i64::MAX),
        log_start: Offset::ZERO,
        clean: true,
        has_journal: false,
    };
    open(Arc::clone(storage), dir, open_log, &|_| {})
}

fn append(log: &mut PartitionLog, batch: &[u8], origin: AppendOrigin) -> io::Result<()> {
    let now = TimestampMs(START);
    log.append_as_leader(batch, LeaderEpoch(3), origin, now)
        .map(|_| ())
        .map_err(io::Error::other)
}

fn keyed_batch(dice: &mut Dice, producer: Option<(i64, i32, bool)>, clock: i64) -> BatchBuilder {
    let codec = match dice.roll(10) {
        codec @ 1..=4 => Compression::from_id(codec as u8).unwrap_or_default(),
        _ => Compression::None,
    };
    let mut builder = BatchBuilder::new(Offset::ZERO, codec);
    if let Some((id, sequence, transactional)) = producer {
        builder = builder
            .producer(ProducerId(id), ProducerEpoch(0), sequence)
            .transactional(transactional);
    }
    if dice.roll(12) == 0 {
        builder = builder.log_append_time(TimestampMs(START + clock));
    }
    builder
}

fn fill(dice: &mut Dice, builder: &mut BatchBuilder, records: u64, clock: i64) {
    let twice = Header {
        key: b"h",
        value: Some(b"1"),
    };
    let null = Header {
        key: b"h",
        value: None,
    };
    for _ in 0..records {
        let key = format!("key-{}", dice.roll(40));
        let value = vec![b'a' + dice.roll(26) as u8; dice.roll(120) as usize];
        let value = (dice.roll(6) != 0).then_some(value);
        let headers = [twice, null, twice];
        let headers = &headers[..dice.roll(4) as usize];
        let timestamp = TimestampMs(START + clock + dice.roll(300) as i64 - 150);
        builder.append(timestamp, Some(key.as_bytes()), value.as_deref(), headers);
    }
}

/// Makes the log of a case, closed, in a directory that exists; and what is to be done with it.
pub fn make(storage: &Arc<dyn Storage>, dir: &Path, seed: u64) -> io::Result<[Cleaning; 2]> {
    let mut dice = Dice((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut log = open_log(storage, dir)?;
    let mut sequences = [0i32; 4];
    let mut open_since: [bool; 4] = [false; 4];
    let mut middle = 0;
    let batches = 60 + dice.roll(120);
    for at in 0..batches {
        let clock = at as i64 * 100;
        let id = dice.roll(6) as usize;
        if dice.roll(8) == 0 {
            let ended = dice.roll(4) as usize;
            if std::mem::take(&mut open_since[ended]) {
                end(&mut log, ended, dice.roll(2) == 0, clock)?;
            }
        }
        let records = 1 + dice.roll(6);
        let producer = (id < 4).then(|| {
            open_since[id] |= id >= 2;
            (id as i64, sequences[id], open_since[id])
        });
        let mut builder = keyed_batch(&mut dice, producer, clock);
        fill(&mut dice, &mut builder, records, clock);
        if id < 4 {
            sequences[id] += records as i32;
        }
        append(&mut log, &builder.build(), AppendOrigin::Client)?;
        if at == batches / 2 {
            for ended in [2, 3] {
                if std::mem::take(&mut open_since[ended]) {
                    end(&mut log, ended, dice.roll(2) == 0, clock)?;
                }
            }
            middle = log.log_end_offset().0;
        }
    }
    for ended in [2, 3] {
        if open_since[ended] {
            end(&mut log, ended, dice.roll(2) == 0, 0)?;
        }
    }
    let end = log.log_end_offset().0;
    flush(&mut log)?;
    log.close_clean()?;
    let clock = START + batches as i64 * 100;
    Ok([
        Cleaning {
            high_watermark: middle,
            now: clock,
        },
        Cleaning {
            high_watermark: end,
            now: clock + DELETE_RETENTION_MS + dice.roll(2) as i64 - 1,
        },
    ])
}

pub const LARGE_SEGMENT_BYTES: u32 = 64 << 20;

fn open_large(storage: &Arc<dyn Storage>, dir: &Path) -> io::Result<PartitionLog> {
    let mut log = open_log(storage, dir)?;
    log.set_config(LogConfig {
        segment_bytes: LARGE_SEGMENT_BYTES,
        index_interval_bytes: 4096,
        ..config()
    });
    Ok(log)
}

/// For measurements: a log of so many bytes before compression.
pub fn make_large(
    storage: &Arc<dyn Storage>,
    dir: &Path,
    bytes: u64,
    codec: u8,
) -> io::Result<Cleaning> {
    const RECORD_BYTES: u64 = 250;
    const BATCH: u64 = 60;
    let codec = Compression::from_id(codec).unwrap_or_default();
    let mut dice = Dice(7919);
    let mut log = open_large(storage, dir)?;
    let records = bytes / RECORD_BYTES;
    let words = ["jackdaw", "raven", "rook", "magpie", "jay", "crow"];
    for at in 0..records / BATCH {
        let mut builder = BatchBuilder::new(Offset::ZERO, codec);
        for _ in 0..BATCH {
            let key = format!("key-{:016}", dice.roll(records / 10));
            let mut value = String::new();
            while value.len() < 215 {
                value.push_str(words[dice.roll(6) as usize]);
                value.push_str(&dice.roll(1000).to_string());
            }
            value.truncate(215);
            let timestamp = TimestampMs(START + at as i64);
            builder.append(timestamp, Some(key.as_bytes()), Some(value.as_bytes()), &[]);
        }
        append(&mut log, &builder.build(), AppendOrigin::Coordinator)?;
    }
    flush(&mut log)?;
    log.close_clean()?;
    Ok(Cleaning {
        high_watermark: log.log_end_offset().0,
        now: START + 1_000_000_000,
    })
}

/// Cleans it as the broker does by default; up to where that was allowed.
pub fn clean_large(storage: &Arc<dyn Storage>, dir: &Path, cleaning: Cleaning) -> io::Result<i64> {
    let mut log = open_large(storage, dir)?;
    let mut cleaner = Cleaner::new(134_217_728, 0.9, 524_288 / 2);
    let now = TimestampMs(cleaning.now);
    let plan = log
        .begin_cleaning(Offset(cleaning.high_watermark), now)?
        .ok_or_else(|| io::Error::other("nothing to clean"))?;
    let host = Host(RefCell::new(&mut log));
    cleaner.clean(&plan, now, &host).map_err(io::Error::other)?;
    Ok(plan.first_uncleanable().0)
}

fn flush(log: &mut PartitionLog) -> io::Result<()> {
    if let Some(work) = log.begin_flush()? {
        let point = work.up_to;
        work.run()?;
        log.finish_flush(point);
    }
    Ok(())
}

fn end(log: &mut PartitionLog, producer: usize, committed: bool, clock: i64) -> io::Result<()> {
    let marker = EndTxnMarker {
        committed,
        coordinator_epoch: 0,
    };
    let id = ProducerId(producer as i64);
    let batch = marker.to_batch(id, ProducerEpoch(0), TimestampMs(START + clock));
    append(log, &batch, AppendOrigin::Coordinator)
}

struct Host<'a>(RefCell<&'a mut PartitionLog>);

impl CleaningHost for Host<'_> {
    fn pace(&self, _: usize) -> Result<(), CleanError> {
        Ok(())
    }

    fn swap(&self, cleaned: CleanedSegment) -> Result<(), CleanError> {
        self.0
            .borrow_mut()
            .swap_cleaned(cleaned, TimestampMs(0))
            .map(|_| ())
    }
}

/// What dohle leaves after each cleaning, and how far each was allowed to go.
pub fn clean(
    storage: &Arc<dyn Storage>,
    dir: &Path,
    cleanings: &[Cleaning],
) -> io::Result<Vec<(i64, Files)>> {
    let mut log = open_log(storage, dir)?;
    let mut cleaner = Cleaner::new(134_217_728, 0.9, 524_288 / 2);
    let mut after = Vec::new();
    for cleaning in cleanings {
        log.on_high_watermark_updated(Offset(cleaning.high_watermark));
        let now = TimestampMs(cleaning.now);
        let nothing = || io::Error::other("nothing to clean");
        let plan = log
            .begin_cleaning(Offset(cleaning.high_watermark), now)?
            .ok_or_else(nothing)?;
        let host = Host(RefCell::new(&mut log));
        let stats = cleaner.clean(&plan, now, &host).map_err(io::Error::other)?;
        log.end_cleaning(Some(stats.cleaned_to));
        after.push((plan.first_uncleanable().0, files(&**storage, dir)?));
    }
    Ok(after)
}

/// The segments and transaction indexes of a directory.
pub fn files(storage: &dyn Storage, dir: &Path) -> io::Result<Files> {
    let mut found = Files::new();
    for entry in storage.list(dir)? {
        if !entry.name.ends_with(".log") && !entry.name.ends_with(".txnindex") {
            continue;
        }
        let file = storage.open(&dir.join(&entry.name), dohle::log::storage::OpenMode::Read)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(0)];
        dohle::log::storage::read_exact_at(&*file, &mut bytes, 0)?;
        // Kafka makes an empty file where an index may come.
        if !entry.name.ends_with(".txnindex") || !bytes.is_empty() {
            found.insert(entry.name, bytes);
        }
    }
    Ok(found)
}

/// The CRC of each file in place of its bytes.
pub fn digests(files: Files) -> Files {
    let crc = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum().to_be_bytes().to_vec()
    };
    files
        .into_iter()
        .map(|(name, bytes)| (name, crc(&bytes)))
        .collect()
}

/// A line of the golden file: case, cleaning, name, bytes.
pub fn to_line(seed: u64, round: usize, name: &str, bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut line = format!("{seed}\t{round}\t{name}\t");
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(line, "{byte:02x}");
    }
    line
}

/// What Kafka left, by case and cleaning. Cleaning 0 is the log as it was made, of which only CRCs are
/// kept.
pub fn golden() -> io::Result<BTreeMap<(u64, usize), Files>> {
    let invalid = || io::Error::other("the golden file is damaged");
    let mut text = String::new();
    flate2::read::GzDecoder::new(GOLDEN).read_to_string(&mut text)?;
    let mut found: BTreeMap<(u64, usize), Files> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split('\t').collect();
        let [seed, round, name, hex] = words.as_slice() else {
            return Err(invalid());
        };
        let key = (
            seed.parse().map_err(|_| invalid())?,
            round.parse().map_err(|_| invalid())?,
        );
        let bytes = (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16));
        let bytes: Result<Vec<u8>, _> = bytes.collect();
        found
            .entry(key)
            .or_default()
            .insert((*name).to_owned(), bytes.map_err(|_| invalid())?);
    }
    Ok(found)
}
