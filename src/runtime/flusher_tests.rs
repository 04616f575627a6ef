use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::config::{BrokerConfig, ConfigOverrides, topic};
use crate::error::ErrorCode;
use crate::log::crash::CrashStorage;
use crate::log::storage::Storage;
use crate::log::{AppendOrigin, LogConfig, LogDir, OpenLog, open, test_log};
use crate::runtime::log_dirs::Place;
use crate::types::{LeaderEpoch, NodeId, Offset, TimestampMs, TopicId, TopicPartition};

const ME: NodeId = NodeId(1);

struct World {
    disk: CrashStorage,
    flusher: Arc<Flusher>,
    partitions: Vec<Arc<Partition>>,
    metrics: Arc<Metrics>,
}

impl World {
    fn new(partitions: i32, options: &[(&str, &str)]) -> World {
        let disk = CrashStorage::default();
        let flusher = Arc::new(Flusher::default());
        let place = Place {
            dir: Arc::new(LogDir::new("/data".into(), Arc::default())),
            flusher: Arc::clone(&flusher),
        };
        let overrides: ConfigOverrides = options
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let config = Arc::new(topic::resolve(&BrokerConfig::default(), &overrides));
        let partitions = (0..partitions)
            .map(|index| {
                let name = TopicPartition::new("t", index);
                let dir = Path::new("/data").join(name.to_string());
                disk.create_dir_all(&dir).unwrap();
                let found = OpenLog {
                    topic_partition: name,
                    topic_id: TopicId::ZERO,
                    config: LogConfig::from(&*config),
                    recovery_point: Offset::ZERO,
                    log_start: Offset::ZERO,
                    clean: true,
                    has_journal: true,
                };
                let log = open(Arc::new(disk.clone()), &dir, found, &|_| {}).unwrap();
                let partition = Arc::new(Partition::new(
                    log,
                    Arc::clone(&config),
                    Arc::default(),
                    place.clone(),
                    Offset::ZERO,
                ));
                partition.become_led(ME, LeaderEpoch(0), ME);
                partition
            })
            .collect();
        let world = World {
            disk,
            flusher,
            partitions,
            metrics: Arc::new(Metrics::new([]).unwrap()),
        };
        // A log's first flush is one of its files.
        world.append_to_all(10);
        flush_files(
            Round::begin(&world.flusher, world.queued(), 0).files,
            None,
            &world.metrics,
        );
        world
    }

    fn append_to_all(&self, value_bytes: usize) {
        for partition in &self.partitions {
            let batch = test_log::batch(1, 1, value_bytes);
            partition
                .append(&batch, AppendOrigin::Client, false, TimestampMs(1))
                .unwrap();
        }
    }

    fn queued(&self) -> Vec<Arc<Partition>> {
        std::mem::take(&mut self.flusher.queue.lock().dirty)
    }

    /// Its first file is there.
    fn journaling(&self, dir: &str, capacity: u64) -> Journaling {
        let mut journaling = self.without_files(dir, capacity);
        journaling.prepare(0, true);
        journaling.is_ready(0, true);
        journaling
    }

    fn without_files(&self, dir: &str, capacity: u64) -> Journaling {
        let storage = Arc::new(self.disk.clone());
        let journal = Journal::new(storage, PathBuf::from(dir), capacity);
        Journaling::new(journal, &self.metrics)
    }

    fn high_watermarks(&self) -> Vec<i64> {
        let mark = |partition: &Arc<Partition>| partition.offsets().high_watermark.0;
        self.partitions.iter().map(mark).collect()
    }

    fn recovery_points(&self) -> Vec<i64> {
        let point = |partition: &Arc<Partition>| partition.offsets().recovery_point.0;
        self.partitions.iter().map(point).collect()
    }
}

#[test]
fn small_writes_to_many_partitions_take_one_flush_together() {
    let world = World::new(4, &[]);
    assert_eq!(world.high_watermarks(), [1; 4]);
    world.append_to_all(100);
    assert_eq!(
        world.high_watermarks(),
        [1; 4],
        "not before they are on disk"
    );
    let round = Round::begin(&world.flusher, world.queued(), JOURNAL_PART_BYTES);
    assert_eq!((round.parts.len(), round.files.len()), (4, 0));
    let mut journaling = world.journaling("/data", 1 << 20);
    let before = world.disk.syncs();
    assert!(journaling.flush(round.parts).is_empty());
    assert_eq!(world.disk.syncs() - before, 1);
    assert_eq!(world.high_watermarks(), [2; 4]);
    assert_eq!(world.recovery_points(), [1; 4]);
    world.append_to_all(100);
    let before = world.disk.syncs();
    assert!(
        journaling
            .flush(Round::begin(&world.flusher, world.queued(), JOURNAL_PART_BYTES).parts)
            .is_empty()
    );
    assert_eq!(world.disk.syncs() - before, 1);
    assert_eq!(world.high_watermarks(), [3; 4]);
}

#[test]
fn much_of_one_partition_goes_to_its_own_files() {
    let world = World::new(2, &[]);
    world.append_to_all(JOURNAL_PART_BYTES as usize);
    let round = Round::begin(&world.flusher, world.queued(), JOURNAL_PART_BYTES);
    assert_eq!((round.parts.len(), round.files.len()), (0, 2));
    flush_files(round.files, None, &world.metrics);
    assert_eq!(world.high_watermarks(), [2; 2]);
    // What is worth writing twice among others is not when it is alone.
    world.append_to_all(JOURNAL_LONE_PART_BYTES as usize);
    let mut queued = world.queued();
    let alone = Round::begin(&world.flusher, queued.split_off(1), JOURNAL_LONE_PART_BYTES);
    assert_eq!((alone.parts.len(), alone.files.len()), (0, 1));
}

#[test]
fn a_journal_is_made_for_many_partitions_at_once_and_for_one_that_often_wants_it() {
    let world = World::new(1, &[]);
    let mut journaling = world.without_files("/data", 1 << 20);
    for flushed in 1..=LONE_FLUSHES + 1 {
        world.append_to_all(100);
        let round = Round::begin(&world.flusher, world.queued(), JOURNAL_LONE_PART_BYTES);
        let by_file = journaling.flush(round.parts);
        assert_eq!(by_file.len(), 1, "there is no journal yet");
        flush_files(by_file, None, &world.metrics);
        let is_missing = matches!(journaling.files[0], JournalFile::Missing);
        assert_eq!(is_missing, flushed <= LONE_FLUSHES, "{flushed}");
    }
    assert!(journaling.is_ready(0, true));
    let settled = world.recovery_points();
    for _ in 0..3 {
        world.append_to_all(100);
        let round = Round::begin(&world.flusher, world.queued(), JOURNAL_LONE_PART_BYTES);
        assert!(journaling.flush(round.parts).is_empty());
    }
    assert_eq!(world.recovery_points(), settled);
    assert_eq!(world.high_watermarks(), [settled[0] + 3]);

    let world = World::new(2, &[]);
    let mut journaling = world.without_files("/data", 1 << 20);
    world.append_to_all(100);
    let round = Round::begin(&world.flusher, world.queued(), JOURNAL_PART_BYTES);
    assert_eq!(journaling.flush(round.parts).len(), 2);
    assert!(journaling.is_ready(0, true), "it is on its way");
}

#[test]
fn a_full_journal_is_given_free_by_the_logs_own_files() {
    let world = World::new(3, &[]);
    let mut journaling = world.journaling("/data", 4000);
    for round in 0..30 {
        world.append_to_all(200);
        let refused = journaling
            .flush(Round::begin(&world.flusher, world.queued(), JOURNAL_PART_BYTES).parts);
        assert!(refused.is_empty());
        assert_eq!(world.high_watermarks(), [round + 2; 3]);
        // At no time is there more to go back to than two files hold.
        let behind = round + 2 - world.recovery_points()[0];
        assert!(behind <= 10, "{behind}");
    }
    journaling.end();
    assert!(world.recovery_points().iter().all(|point| *point > 15));
}

#[test]
fn what_the_journal_cannot_take_goes_to_the_files() {
    for (dir, capacity) in [("/nowhere", 1 << 20), ("/data", 100)] {
        let world = World::new(3, &[]);
        world.append_to_all(200);
        let mut journaling = world.journaling(dir, capacity);
        let refused = journaling
            .flush(Round::begin(&world.flusher, world.queued(), JOURNAL_PART_BYTES).parts);
        assert_eq!(refused.len(), 3);
        assert_eq!(world.high_watermarks(), [1; 3]);
        flush_files(refused, None, &world.metrics);
        assert_eq!(world.high_watermarks(), [2; 3]);
        assert_eq!(world.recovery_points(), [2; 3]);
        journaling.end();
    }
}

#[test]
fn after_a_failed_sync_nothing_is_promised() {
    let world = World::new(3, &[]);
    let mut journaling = world.journaling("/data", 1 << 20);
    world.append_to_all(200);
    assert!(
        journaling
            .flush(Round::begin(&world.flusher, world.queued(), JOURNAL_PART_BYTES).parts)
            .is_empty()
    );
    world.append_to_all(200);
    let round = Round::begin(&world.flusher, world.queued(), JOURNAL_PART_BYTES);
    // The write goes through, its sync does not.
    world.disk.fail_after(Some(1));
    assert!(journaling.flush(round.parts).is_empty());
    assert_eq!(world.high_watermarks(), [2; 3]);
    for partition in &world.partitions {
        assert_eq!(partition.leader_epoch(), Err(ErrorCode::KafkaStorageError));
    }
}

#[test]
fn flush_ms_counts_from_the_first_unflushed_record() {
    let world = World::new(1, &[("durable.acks", "false"), ("flush.ms", "60000")]);
    // The world's own append was one, flushed ahead of its time.
    world.flusher.queue.lock().due.clear();
    let partition = &world.partitions[0];
    partition.flush();
    world.append_to_all(10);
    world.append_to_all(10);
    assert!(world.queued().is_empty());
    let mut queue = world.flusher.queue.lock();
    assert_eq!(queue.due.len(), 1);
    let (due, _) = *queue.due.keys().next().unwrap();
    queue.take_due(due - Duration::from_millis(1));
    assert!(queue.dirty.is_empty());
    queue.take_due(due);
    let dirty = std::mem::take(&mut queue.dirty);
    drop(queue);
    assert_eq!(dirty.len(), 1);
    flush_files(
        Round::begin(&world.flusher, dirty, 0).files,
        None,
        &world.metrics,
    );
    assert_eq!(partition.offsets().recovery_point, Offset(3));
    // The next record starts it again.
    world.append_to_all(10);
    assert_eq!(world.flusher.queue.lock().due.len(), 1);
}

#[derive(Debug)]
struct BrokenFileSystem;

impl FileSystem for BrokenFileSystem {
    fn sync(&self) -> std::io::Result<()> {
        Err(std::io::Error::other("of somebody else's file"))
    }
}

#[test]
fn many_files_are_synced_as_a_whole_and_each_by_itself_where_that_fails() {
    let many = i32::try_from(MANY_FILES).unwrap();
    let world = World::new(many, &[]);
    let syncs = || world.disk.syncs();
    let flush = |file_system: &dyn FileSystem| {
        world.append_to_all(10);
        let before = syncs();
        let files = Round::begin(&world.flusher, world.queued(), 0).files;
        flush_files(files, Some(file_system), &world.metrics);
        syncs() - before
    };
    let whole = world.disk.file_system(Path::new("/data")).unwrap();
    assert_eq!(flush(&*whole), 1);
    assert_eq!(world.high_watermarks(), vec![2; MANY_FILES]);
    assert!(flush(&BrokenFileSystem) >= MANY_FILES);
    assert_eq!(world.high_watermarks(), vec![3; MANY_FILES]);
    assert_eq!(world.recovery_points(), vec![3; MANY_FILES]);
}
