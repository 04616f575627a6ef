//! What must hold of any bytes that lie in a log directory, and of any batch that is validated: the bodies of the fuzz
//! targets over `log`. See `protocol/fuzz.rs`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a fuzz target finds something by panicking"
)]

use std::borrow::Cow;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use super::append::AppendOrigin;
use super::log_config::LogConfig;
use super::log_validator::validate;
use super::memory::MemStorage;
use super::offset_index::{self, OffsetEntry, OffsetIndex};
use super::partition_log::PartitionLog;
use super::recovery::{OpenLog, open};
use super::storage::{File, OpenMode, Storage, read_exact_at};
use super::time_index::{self, TimeEntry, TimeIndex};
use super::transaction_index::{AbortedTxn, TransactionIndex};
use super::{checkpoint, journal, journal_replay, producer_snapshot};
use crate::config::TopicConfig;
use crate::protocol::compression::{Compression, compress};
use crate::protocol::fuzz::{Input, batch_at, seal};
use crate::protocol::record_batch::{
    BatchBuilder, BatchHeader, Batches, HEADER_BYTES, Records, TimestampType, ensure_crc,
    set_max_timestamp,
};
use crate::types::{
    LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs, TopicId, TopicPartition,
};

const DIR: &str = "/data/t-0";
const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

fn storage_of(files: &[(&str, &[u8])]) -> Arc<dyn Storage> {
    let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
    storage.create_dir_all(Path::new(DIR)).unwrap();
    for (name, bytes) in files {
        put(&*storage, name, bytes);
    }
    storage
}

fn put(storage: &dyn Storage, name: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = storage
        .open(&Path::new(DIR).join(name), OpenMode::Create)
        .unwrap();
    file.truncate(0).unwrap();
    if !bytes.is_empty() {
        file.write_at(&mut [IoSlice::new(bytes)], 0).unwrap();
    }
    file
}

/// A topic's options, some of them the fuzzer's.
fn options(input: &mut Input<'_>) -> LogConfig {
    let bits = input.u16();
    let has = |bit: u16| bits & 1 << bit != 0;
    let mut config = LogConfig::from(&TopicConfig::default());
    config.log_append_time = has(0);
    config.cleanup_policy.compact = has(1);
    if has(2) {
        config.timestamp_before_max_ms = i64::from(input.u16());
    }
    if has(3) {
        config.timestamp_after_max_ms = input.i64().max(0);
    }
    if has(4) {
        config.max_message_bytes = i32::from(input.u16());
    }
    if has(5) {
        config.max_decompressed_bytes = usize::from(input.u16());
    }
    if has(6) {
        config.segment_bytes = u32::from(input.u16());
    }
    if has(7) {
        config.compression = Some(input.codec().into());
    }
    config
}

/// A batch that is sealed, of a head and a payload that need not be right.
fn sealed_batch(input: &mut Input<'_>) -> Vec<u8> {
    let codec = input.codec();
    let shape = input.u8();
    let head = BatchBuilder::new(Offset::ZERO, codec).build();
    let mut header = BatchHeader::parse(&head).unwrap();
    header.records_count = i32::from(input.u8() % 8);
    header.last_offset_delta = header.records_count - 1;
    header.base_timestamp = NOW;
    header.max_timestamp = NOW;
    if shape & 1 != 0 {
        header.attributes = i16::from_be_bytes(input.bytes()) & !7;
    }
    if shape & 2 != 0 {
        header.base_timestamp = TimestampMs(input.i64());
        header.max_timestamp = TimestampMs(input.i64());
    }
    if shape & 4 != 0 {
        header.producer_id = ProducerId(input.i64());
        header.producer_epoch = ProducerEpoch(i16::from(input.u8()));
        header.base_sequence = i32::from_be_bytes(input.bytes());
    }
    if shape & 8 != 0 {
        header.last_offset_delta = i32::from_be_bytes(input.bytes());
        header.base_offset = Offset(i64::from(input.u8() % 3));
    }
    let mut payload = Vec::new();
    if shape & 16 != 0 {
        payload.extend_from_slice(input.0);
    } else {
        compress(codec, input.0, &mut payload).unwrap();
    }
    seal(header, codec, &payload)
}

/// What is found sound is what the topic wants, and is found sound again.
pub fn validation(data: &[u8]) {
    let mut input = Input(data);
    let config = options(&mut input);
    let mode = input.u8();
    let origin = if mode & 1 == 0 {
        AppendOrigin::Client
    } else {
        AppendOrigin::Coordinator
    };
    let bytes = if mode & 2 == 0 {
        sealed_batch(&mut input)
    } else {
        input.0.to_vec()
    };
    let checked = match validate(&bytes, &"t-0", &config, origin, NOW) {
        Ok(checked) => checked,
        Err(error) => {
            assert!(error.code().is_error() && !error.is_disk_failure());
            let problems = error.record_errors();
            assert!(problems.is_sorted_by_key(|problem| problem.batch_index));
            return;
        }
    };
    let (header, stored) = (checked.header, &*checked.bytes);
    ensure_crc(stored).unwrap();
    assert_eq!(BatchHeader::parse(stored), Ok(header));
    assert!(stored.len() <= config.max_message_bytes as usize);
    assert!(stored.len() <= config.segment_bytes as usize);
    assert_eq!(checked.log_append_time.is_some(), config.log_append_time);
    let sent = BatchHeader::parse(&bytes).unwrap();
    if let Some(wanted) = config.compression
        && !header.is_control()
    {
        assert_eq!(header.compression(), Ok(wanted.codec));
    }
    if matches!(checked.bytes, Cow::Borrowed(_)) {
        assert!(bytes.starts_with(stored));
    }
    if origin != AppendOrigin::Client {
        return;
    }
    assert_eq!(header.producer_id, sent.producer_id);
    assert_eq!(header.base_sequence, sent.base_sequence);
    records_are_as_wanted(&config, &sent, &header, stored);
    let compressed_here =
        sent.compression() == Ok(Compression::None) && header.compression() != sent.compression();
    accepted_again(&config, stored, compressed_here);
}

fn records_are_as_wanted(
    config: &LogConfig,
    sent: &BatchHeader,
    header: &BatchHeader,
    stored: &[u8],
) {
    let records = Records::new(stored, usize::MAX).unwrap();
    let mut largest = -1;
    let mut count = 0;
    for (at, record) in records.iter().enumerate() {
        let record = record.unwrap();
        assert_eq!(record.offset, header.base_offset.plus(at as i64));
        assert!(record.key.is_some() || !config.cleanup_policy.compact);
        let unstamped =
            config.log_append_time || sent.timestamp_type() == TimestampType::LogAppendTime;
        if !unstamped && record.timestamp.0 != -1 {
            let behind = NOW.0.wrapping_sub(record.timestamp.0);
            assert!(behind <= config.timestamp_before_max_ms);
            assert!(behind.wrapping_neg() <= config.timestamp_after_max_ms);
        }
        largest = largest.max(record.timestamp.0);
        count += 1;
    }
    assert_eq!(count, header.records_count);
    assert_eq!(header.last_offset_delta, count - 1);
    if sent.timestamp_type() == TimestampType::CreateTime {
        assert_eq!(header.max_timestamp.0, largest);
    }
}

/// A second look changes nothing; what the broker has stamped is first made the producer's again, and what it has
/// compressed itself may hold records that no producer might compress.
fn accepted_again(config: &LogConfig, stored: &[u8], compressed_here: bool) {
    if config.log_append_time {
        return;
    }
    let mut stored = stored.to_vec();
    let header = BatchHeader::parse(&stored).unwrap();
    set_max_timestamp(&mut stored, TimestampType::CreateTime, header.max_timestamp).unwrap();
    let mut config = config.clone();
    if compressed_here {
        config.max_decompressed_bytes = usize::MAX;
    }
    // Records that were stamped have other times underneath, which are looked at now.
    match validate(&stored, &"t-0", &config, AppendOrigin::Client, NOW) {
        Ok(again) => {
            assert_eq!(again.header.records_count, header.records_count);
            if again.header.max_timestamp == header.max_timestamp {
                assert!(matches!(again.bytes, Cow::Borrowed(same) if same == stored));
            }
        }
        Err(error) => assert!(error.to_string().contains("timestamp"), "{error}"),
    }
}

pub fn offset_index(data: &[u8]) {
    let mut input = Input(data);
    let probe = input.u16();
    let next = OffsetEntry {
        // Zeros cannot be told from the tail of a file that was made in full size.
        relative_offset: u32::from(input.u16()) << 8 | 1,
        position: u32::from(input.u16()) << 8,
    };
    let storage = storage_of(&[]);
    let file = put(&*storage, "0.index", input.0);
    // A file is searched as it is, whatever is in it.
    let probes = [0, u32::from(probe), u32::from(probe) << 8, u32::MAX];
    for probe in probes {
        offset_index::floor_in_file(&*file, probe).unwrap();
        offset_index::floor_position_in_file(&*file, probe).unwrap();
    }
    let Ok(mut index) = OffsetIndex::load(&*file) else {
        return;
    };
    assert!(index.len() * 8 <= input.0.len());
    index.write(&*file).unwrap();
    for probe in probes {
        assert_eq!(
            index.floor(probe),
            offset_index::floor_in_file(&*file, probe).unwrap()
        );
        assert_eq!(
            index.floor_position(probe),
            offset_index::floor_position_in_file(&*file, probe).unwrap()
        );
    }
    index.push(next);
    index.truncate(u32::from(probe) << 8);
    assert!(
        index
            .last()
            .is_none_or(|last| last.relative_offset < u32::from(probe) << 8)
    );
    index.write(&*file).unwrap();
    let again = OffsetIndex::load(&*file).unwrap();
    assert_eq!((again.len(), again.last()), (index.len(), index.last()));
    assert_eq!(
        file.len().unwrap(),
        index.len() as u64 * offset_index::ENTRY_BYTES
    );
}

pub fn time_index(data: &[u8]) {
    let mut input = Input(data);
    let probe = input.u16();
    let next = TimeEntry {
        timestamp: TimestampMs(i64::from(input.u16()) << 8),
        relative_offset: u32::from(input.u16()) << 8 | 1,
    };
    let storage = storage_of(&[]);
    let file = put(&*storage, "0.timeindex", input.0);
    let probes = [
        i64::MIN,
        -1,
        0,
        i64::from(probe),
        i64::from(probe) << 40,
        i64::MAX,
    ]
    .map(TimestampMs);
    for probe in probes {
        time_index::floor_in_file(&*file, probe).unwrap();
    }
    time_index::last_in_file(&*file).unwrap();
    let Ok(mut index) = TimeIndex::load(&*file) else {
        return;
    };
    index.write(&*file).unwrap();
    for probe in probes {
        assert_eq!(
            index.floor(probe),
            time_index::floor_in_file(&*file, probe).unwrap()
        );
    }
    assert_eq!(index.last(), time_index::last_in_file(&*file).unwrap());
    index.push(next);
    index.truncate(u32::from(probe) << 8);
    index.write(&*file).unwrap();
    let again = TimeIndex::load(&*file).unwrap();
    assert_eq!((again.len(), again.last()), (index.len(), index.last()));
    assert_eq!(
        file.len().unwrap(),
        index.len() as u64 * time_index::ENTRY_BYTES
    );
}

pub fn transaction_index(data: &[u8]) {
    let mut input = Input(data);
    let (from, to) = (
        Offset(i64::from(input.u16())),
        Offset(i64::from(input.u16())),
    );
    let storage = storage_of(&[]);
    let path = Path::new(DIR).join("0.txnindex");
    put(&*storage, "0.txnindex", input.0);
    let mut index = TransactionIndex::of_len(input.0.len() as u64);
    let sane = index
        .sanity_check(&*storage, &path, Offset::ZERO, Offset(i64::MAX))
        .is_ok();
    let found = index.collect_aborted(&*storage, &path, from, to);
    let Ok(all) = index.all(&*storage, &path) else {
        assert!(!sane);
        return;
    };
    if !sane {
        return;
    }
    let found = found.unwrap().aborted;
    // Nothing is left out that ends at or after the start and began before the end, but what a later look decides.
    assert!(
        found
            .iter()
            .all(|txn| all.contains(txn) && txn.last_offset >= from && txn.first_offset < to)
    );
    let end = all.last().map_or(Offset::ZERO, |last| last.last_offset);
    if let Some(next) = end.0.checked_add(2) {
        let aborted = AbortedTxn {
            producer_id: ProducerId(1),
            first_offset: end,
            last_offset: Offset(next - 1),
            last_stable_offset: end,
        };
        index.append(&*storage, &path, aborted).unwrap();
        assert_eq!(index.all(&*storage, &path).unwrap().last(), Some(&aborted));
        index
            .sanity_check(&*storage, &path, Offset::ZERO, Offset(next))
            .unwrap();
    }
    index.truncate(&*storage, &path, from).unwrap();
    let kept: Vec<AbortedTxn> = all
        .into_iter()
        .filter(|txn| txn.last_offset < from)
        .collect();
    assert!(index.all(&*storage, &path).unwrap().starts_with(&kept));
}

pub fn producer_snapshot(data: &[u8]) {
    let mut input = Input(data);
    let sealed = input.u8() % 2 == 0;
    let bytes = if sealed {
        // The version, and the checksum and count that the entries want.
        let entries = input.0.len() / 46;
        let mut body = (entries as i32).to_be_bytes().to_vec();
        body.extend_from_slice(input.slice(entries * 46));
        [&[0, 1][..], &crc32c::crc32c(&body).to_be_bytes(), &body].concat()
    } else {
        input.0.to_vec()
    };
    let Some(state) = producer_snapshot::decode(&bytes) else {
        assert!(!sealed);
        return;
    };
    assert!(state.entries().len() * 46 <= bytes.len());
    let written = producer_snapshot::encode(&state);
    let again = producer_snapshot::decode(&written).unwrap();
    assert_eq!(state.entries(), again.entries());
    assert_eq!(producer_snapshot::encode(&again), written);
}

pub fn checkpoints(data: &[u8]) {
    let storage = storage_of(&[
        ("offsets", data),
        (checkpoint::LEADER_EPOCHS, data),
        (checkpoint::PARTITION_METADATA, data),
    ]);
    let dir = Path::new(DIR);
    if let Ok(offsets) = checkpoint::read_offsets(&*storage, &dir.join("offsets")) {
        let path = dir.join("again");
        checkpoint::write_offsets(&*storage, &path, &offsets).unwrap();
        assert_eq!(checkpoint::read_offsets(&*storage, &path).unwrap(), offsets);
    }
    if let Ok(epochs) = checkpoint::read_epochs(&*storage, &dir.join(checkpoint::LEADER_EPOCHS)) {
        let path = dir.join("again");
        checkpoint::write_epochs(&*storage, &path, &epochs).unwrap();
        assert_eq!(checkpoint::read_epochs(&*storage, &path).unwrap(), epochs);
        let cache = super::LeaderEpochCache::new(epochs);
        assert!(cache.entries().is_sorted());
    }
    if let Ok(Some(id)) = checkpoint::read_partition_metadata(&*storage, dir) {
        let text = checkpoint::partition_metadata(id);
        put(&*storage, checkpoint::PARTITION_METADATA, text.as_bytes());
        assert_eq!(
            checkpoint::read_partition_metadata(&*storage, dir).unwrap(),
            Some(id)
        );
    }
    if let Ok(name) = std::str::from_utf8(data)
        && let Some(found) = checkpoint::parse_directory_name(name)
    {
        assert_eq!(
            checkpoint::parse_directory_name(&found.to_string()),
            Some(found)
        );
    }
}

fn open_log(
    storage: &Arc<dyn Storage>,
    clean: bool,
    log_start: Offset,
) -> std::io::Result<PartitionLog> {
    let opened = OpenLog {
        topic_partition: TopicPartition::new("t", 0),
        topic_id: TopicId::ZERO,
        config: LogConfig {
            segment_bytes: 4096,
            index_interval_bytes: 100,
            ..LogConfig::from(&TopicConfig::default())
        },
        recovery_point: Offset::ZERO,
        log_start,
        clean,
        has_journal: true,
    };
    open(Arc::clone(storage), Path::new(DIR), opened, &|_| {})
}

/// Every batch, read as a consumer reads.
fn read_all(log: &PartitionLog) -> Vec<u8> {
    let end = log.log_end_offset();
    let mut at = log.log_start_offset();
    let mut all = Vec::new();
    while at < end {
        let Some(slice) = log.read(at, 1000, end, true).unwrap() else {
            break;
        };
        let mut bytes = vec![0; slice.len as usize];
        read_exact_at(&*slice.file, &mut bytes, slice.position).unwrap();
        let mut next = at;
        for batch in Batches::new(&bytes) {
            let (header, batch) = batch.unwrap();
            ensure_crc(batch).unwrap();
            next = next.max(header.next_offset());
        }
        assert!(next > at, "nothing at {at} of {end}");
        at = next;
        all.extend(bytes);
    }
    all
}

/// A segment, of batches that are sound and of bytes that are not.
fn segment(input: &mut Input<'_>, base: i64) -> (Vec<u8>, i64) {
    let mut bytes = Vec::new();
    let mut offset = base;
    for _ in 0..input.u8() % 6 {
        match input.u8() % 8 {
            0 => {
                let len = usize::from(input.u8());
                bytes.extend_from_slice(input.slice(len));
            }
            1 => {
                // An offset of the fuzzer's.
                let other = input.i64();
                bytes.extend(batch_at(input, other, 0));
            }
            2 => {
                let mut batch = batch_at(input, offset, 0);
                let at = usize::from(input.u16()) % batch.len();
                if let Some(byte) = batch.get_mut(at) {
                    *byte ^= input.u8();
                }
                bytes.extend(batch);
            }
            3 => {
                let mut batch = sealed_batch(input);
                let header = BatchHeader::parse(&batch).unwrap();
                let prefix = (offset + header.base_offset.0).to_be_bytes();
                batch.splice(..8, prefix);
                bytes.extend(batch);
            }
            epoch => {
                let batch = batch_at(input, offset, i32::from(epoch));
                offset = BatchHeader::parse(&batch).unwrap().next_offset().0;
                bytes.extend(batch);
            }
        }
    }
    (bytes, offset)
}

/// Whatever lies there, it is opened or refused; opened again it is the same; and it takes what is appended.
pub fn recovery(data: &[u8]) {
    let mut input = Input(data);
    let flags = input.u8();
    let log_start = Offset(i64::from(input.u8() % 4));
    let (first, next) = segment(&mut input, 0);
    let storage = storage_of(&[("00000000000000000000.log", &first)]);
    if flags & 1 != 0 {
        let (second, _) = segment(&mut input, next);
        put(&*storage, &format!("{next:020}.log"), &second);
    }
    for (bit, name) in [
        (2, "00000000000000000000.index"),
        (4, "00000000000000000000.timeindex"),
        (8, "00000000000000000000.txnindex"),
        (16, checkpoint::LEADER_EPOCHS),
        (32, "00000000000000000003.snapshot"),
    ] {
        if flags & bit != 0 {
            let len = usize::from(input.u8());
            put(&*storage, name, input.slice(len));
        }
    }
    let clean = flags & 64 != 0;
    let Ok(log) = open_log(&storage, clean, log_start) else {
        return;
    };
    if clean {
        // What was shut down cleanly is believed as far as nobody looks.
        return;
    }
    let ends = (log.log_start_offset(), log.log_end_offset());
    let all = read_all(&log);
    drop(log);
    let mut log = open_log(&storage, false, log_start).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), ends);
    assert_eq!(read_all(&log), all, "a second recovery changes something");

    let mut more = BatchBuilder::new(Offset::ZERO, Compression::None);
    more.append(NOW, None, Some(b"more"), &[]);
    let end = log.log_end_offset();
    if end.0 > i64::MAX - 10 {
        return;
    }
    let epoch = LeaderEpoch(i32::MAX);
    match log.append_as_leader(&more.build(), epoch, AppendOrigin::Client, NOW) {
        Ok(info) => assert_eq!(info.first_offset, end),
        Err(error) => panic!("cannot append: {error}"),
    }
    assert!(read_all(&log).len() >= all.len() + HEADER_BYTES);
    drop(log);
    let log = open_log(&storage, false, log_start).unwrap();
    assert_eq!(log.log_end_offset(), end.plus(1));
}

/// One file of a journal: groups that are whole, of entries that need not make sense, and rubbish.
fn journal_file(input: &mut Input<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let generation = u64::from(input.u8() % 4);
    let mut offset = i64::from(input.u8() % 2);
    for number in 0..u32::from(input.u8() % 4) {
        let what = input.u8();
        if what & 1 != 0 {
            let len = usize::from(input.u8());
            bytes.extend_from_slice(input.slice(len));
        }
        let entries = u32::from(input.u8() % 3);
        let mut group = Vec::new();
        for _ in 0..entries {
            let entry = input.u8();
            let batch = batch_at(input, offset, 1);
            offset = BatchHeader::parse(&batch).unwrap().next_offset().0 + i64::from(entry >> 6);
            group.extend_from_slice(TopicId::ZERO.0.as_bytes());
            group.extend_from_slice(&i32::from(entry & 1).to_be_bytes());
            group.push(entry >> 1 & 1);
            let from =
                BatchHeader::parse(&batch).unwrap().base_offset.0 + i64::from(entry >> 2 & 1);
            group.extend_from_slice(&from.to_be_bytes());
            let len = if entry & 8 == 0 {
                batch.len()
            } else {
                usize::from(input.u8())
            };
            group.extend_from_slice(&(len as u32).to_be_bytes());
            group.extend(batch);
        }
        let length = (group.len() + journal::GROUP_HEADER_BYTES - journal::LENGTH_FROM) as u32;
        let number = number + u32::from(what >> 1 & 1);
        let body = [
            &length.to_be_bytes()[..],
            &generation.to_be_bytes(),
            &number.to_be_bytes(),
            &(entries + u32::from(what >> 7)).to_be_bytes(),
            &group,
        ]
        .concat();
        bytes.extend(journal::MAGIC.to_be_bytes());
        bytes.extend(crc32c::crc32c(&body).to_be_bytes());
        bytes.extend(body);
    }
    bytes
}

/// A journal of any bytes is read as far as it makes sense, and replayed into a log; what is there is not appended twice.
pub fn journal(data: &[u8]) {
    let mut input = Input(data);
    let dir = Path::new(DIR);
    let storage = storage_of(&[]);
    for which in 0..2 {
        let bytes = journal_file(&mut input);
        let file = storage
            .open(&journal::path(dir, which), OpenMode::Create)
            .unwrap();
        if !bytes.is_empty() {
            file.write_at(&mut [IoSlice::new(&bytes)], 0).unwrap();
        }
    }
    let Ok(contents) = journal_replay::read(&*storage, dir) else {
        return;
    };
    let mut log = open_log(&storage, false, Offset::ZERO).unwrap();
    if contents.replay(&mut log).is_ok() {
        let end = log.log_end_offset();
        let all = read_all(&log);
        assert_eq!(contents.replay(&mut log).unwrap(), 0);
        assert_eq!((log.log_end_offset(), read_all(&log)), (end, all));
    }
}
