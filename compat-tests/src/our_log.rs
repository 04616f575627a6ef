//! dohle's log code on partition directories, in the words of `clients/kafka-log`: what one says of a log the other must say, too.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::dohle::config::{BrokerConfig, ConfigOverrides, topic};
use ::dohle::log::storage::RealStorage;
use ::dohle::log::{AppendOrigin, LogConfig, OpenLog, PartitionLog, TimestampOffset, open};
use ::dohle::protocol::batch_builder::BatchBuilder;
use ::dohle::protocol::compression::Compression;
use ::dohle::protocol::end_txn_marker::EndTxnMarker;
use ::dohle::protocol::record_batch::{Batches, verify_crc};
use ::dohle::types::{
    LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs, TopicId, TopicPartition,
};
use anyhow::{Context as _, Result, ensure};
use flate2::Crc;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::kafka_log::Opening;

/// As the Java side has it.
const NOW: i64 = 1_700_000_000_000;
const TIMES: [i64; 6] = [
    -3,
    NOW - 1_000_000,
    NOW - 990_000,
    NOW - 960_000,
    NOW - 930_000,
    NOW,
];
const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

pub struct OurLog {
    pub options: ConfigOverrides,
}

impl OurLog {
    fn load(&self, dir: &Path, opening: Opening) -> Result<PartitionLog> {
        let config = topic::resolve(&BrokerConfig::default(), &self.options);
        let opened = OpenLog {
            topic_partition: TopicPartition::new("t", 0),
            topic_id: TopicId::ZERO,
            config: LogConfig::from(&config),
            recovery_point: Offset(opening.recovery_point),
            log_start: Offset(opening.log_start),
            clean: opening.clean,
            has_journal: false,
        };
        Ok(open(Arc::new(RealStorage), dir, opened, &|_| {})?)
    }

    /// Opens a log, closes it clean, and says what was in it.
    pub fn open(&self, dir: &Path, opening: Opening) -> Result<Vec<String>> {
        let mut log = self.load(dir, opening)?;
        let lines = describe(&mut log, dir)?;
        close(&mut log)?;
        Ok(lines)
    }

    /// Makes a log of all kinds of batches. Not closed it is left as a broker that was killed leaves it.
    pub fn write(&self, dir: &Path, seed: u64, steps: usize, closed: bool) -> Result<Vec<String>> {
        fs::create_dir_all(dir)?;
        let new = Opening {
            clean: true,
            recovery_point: 0,
            log_start: 0,
        };
        let mut log = self.load(dir, new)?;
        let mut random = StdRng::seed_from_u64(seed);
        let mut epoch = 1;
        for step in 0..steps {
            match random.random_range(0..24) {
                0 => epoch += random.random_range(1..3),
                1 => log.roll()?,
                2 => flush(&mut log)?,
                3 => {
                    // A new leader cuts some of it off, and leads under another epoch.
                    let keep = log.log_end_offset().0 - random.random_range(0..12);
                    log.truncate_to(Offset(keep.max(0)))?;
                    epoch += 1;
                }
                4..8 => {
                    let marker = EndTxnMarker {
                        committed: random.random(),
                        coordinator_epoch: 3,
                    };
                    let batch = marker.to_batch(
                        ProducerId(random.random_range(2..5)),
                        ProducerEpoch(0),
                        timestamp(&mut random, step),
                    );
                    let origin = AppendOrigin::Marker {
                        transaction_version: 1,
                    };
                    append(&mut log, &batch, epoch, origin)?;
                }
                choice => {
                    let producer = match choice {
                        8..12 => None,
                        12..14 => Some(1),
                        _ => Some(random.random_range(2..5)),
                    };
                    let batch = data_batch(&log, &mut random, producer, step);
                    append(&mut log, &batch, epoch, AppendOrigin::Client)?;
                }
            }
        }
        let lines = describe(&mut log, dir)?;
        if closed {
            close(&mut log)?;
        } else {
            // Small files, too, are as the last flush has left them.
            flush(&mut log)?;
        }
        Ok(lines)
    }
}

/// Mostly later and later.
fn timestamp(random: &mut StdRng, step: usize) -> TimestampMs {
    TimestampMs(NOW - 1_000_000 + step as i64 * 1000 + random.random_range(0..3000))
}

fn data_batch(
    log: &PartitionLog,
    random: &mut StdRng,
    producer: Option<i64>,
    step: usize,
) -> Vec<u8> {
    let codec = CODECS[random.random_range(0..CODECS.len())];
    let mut builder = BatchBuilder::new(Offset::ZERO, codec);
    if let Some(id) = producer {
        let known = log.producers().entries();
        let entry = known.iter().find(|(known, _)| known.0 == id);
        let last = entry.and_then(|(_, entry)| entry.batches.back());
        let sequence = last.map_or(0, |last| last.last_sequence + 1);
        builder = builder
            .producer(ProducerId(id), ProducerEpoch(0), sequence)
            .transactional(id > 1);
    }
    for _ in 0..random.random_range(1..5) {
        let value: Vec<u8> = (0..random.random_range(0..200))
            .map(|_| random.random())
            .collect();
        let at = timestamp(random, step);
        builder.append(at, Some(format!("k{step}").as_bytes()), Some(&value), &[]);
    }
    builder.build()
}

fn append(log: &mut PartitionLog, batch: &[u8], epoch: i32, origin: AppendOrigin) -> Result<()> {
    log.append_as_leader(batch, LeaderEpoch(epoch), origin, TimestampMs(NOW))?;
    Ok(())
}

fn flush(log: &mut PartitionLog) -> Result<()> {
    if let Some(work) = log.begin_flush()? {
        let point = work.up_to;
        work.run()?;
        log.finish_flush(point);
    }
    Ok(())
}

fn close(log: &mut PartitionLog) -> Result<()> {
    flush(log)?;
    Ok(log.close_clean()?)
}

/// The files of a directory with an ending, by name.
pub fn files(dir: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Everything is replicated.
fn describe(log: &mut PartitionLog, dir: &Path) -> Result<Vec<String>> {
    let end = log.log_end_offset();
    log.on_high_watermark_updated(end);
    let stable = log.first_unstable_offset().unwrap_or(end).min(end);
    let mut lines = vec![format!(
        "log {} to {end}, stable to {stable}",
        log.log_start_offset()
    )];
    let epochs: Vec<String> = log
        .leader_epochs()
        .entries()
        .iter()
        .map(|(epoch, start)| format!("{epoch}@{start}"))
        .collect();
    lines.push(format!("epochs {}", epochs.join(" ")));
    for (id, entry) in log.producers().entries() {
        let last = entry.batches.back();
        lines.push(format!(
            "producer {id} epoch {} coordinator {} sequence {} offset {} time {} open {}",
            entry.epoch,
            entry.coordinator_epoch,
            last.map_or(-1, |last| last.last_sequence),
            last.map_or(-1, |last| last.last_offset.0),
            entry.last_timestamp,
            entry.current_txn_first_offset.map_or(-1, |first| first.0)
        ));
    }
    for path in files(dir, ".log")? {
        lines.extend(describe_segment(&path)?);
    }
    for time in TIMES {
        let found = match time {
            -3 => log.offset_of_max_timestamp()?,
            time => log.offset_for_timestamp(TimestampMs(time))?,
        };
        let found = found.map_or("none".to_owned(), |found: TimestampOffset| {
            format!(
                "{} at {} epoch {}",
                found.offset, found.timestamp, found.leader_epoch
            )
        });
        lines.push(format!("time {time} {found}"));
    }
    Ok(lines)
}

fn describe_segment(path: &Path) -> Result<Vec<String>> {
    let bytes = fs::read(path)?;
    let mut sum = Crc::new();
    let (mut batches, mut records) = (0, 0);
    for batch in Batches::new(&bytes) {
        let (header, batch) = batch?;
        ensure!(verify_crc(batch), "{}: {header:?}", path.display());
        batches += 1;
        records += i64::from(header.records_count);
        sum.update(header.base_offset.to_string().as_bytes());
        sum.update(header.crc.to_string().as_bytes());
        sum.update(&[header.leader_epoch.0 as u8]);
    }
    let stem = path.file_stem().context("no name")?.to_string_lossy();
    let base: i64 = stem.parse()?;
    let mut lines = vec![format!(
        "segment {base} bytes {} batches {batches} records {records} sum {}",
        bytes.len(),
        sum.sum()
    )];
    let aborted = fs::read(path.with_extension("txnindex")).unwrap_or_default();
    for entry in aborted.chunks(34) {
        let number = |at: usize| -> Result<i64> {
            let bytes = entry.get(at..at + 8).context("a cut entry")?;
            Ok(i64::from_be_bytes(bytes.try_into()?))
        };
        lines.push(format!(
            "aborted {} from {} to {} stable to {}",
            number(2)?,
            number(10)?,
            number(18)?,
            number(26)?
        ));
    }
    Ok(lines)
}
