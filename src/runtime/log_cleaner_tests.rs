//! The cleaner over the partitions of a node: what is taken, what is left, what is told, who starts and stops.

use std::path::{Path, PathBuf};

use super::*;
use crate::config::{CleanupPolicy, Origin, TopicConfig};
use crate::controller::MetadataDelta;
use crate::controller::delta::TopicDelta;
use crate::controller::image::MetadataImage;
use crate::controller::testing::{cluster_of, make, topic};
use crate::log::fault::{EIO, ENOSPC, FaultStorage, Op};
use crate::log::memory::MemStorage;
use crate::log::storage::{OpenMode, Storage, read_exact_at};
use crate::log::{AppendOrigin, LogConfig, LogManager, RecoveryProgress};
use crate::protocol::compression::Compression;
use crate::protocol::record_batch::BatchBuilder;
use crate::types::{NodeId, Offset, PartitionId};

const ME: NodeId = NodeId(1);
const NOW: TimestampMs = TimestampMs(1000);

struct TestNode {
    disk: FaultStorage,
    image: MetadataImage,
    partitions: Arc<Partitions>,
    config: Arc<ArcSwap<BrokerConfig>>,
    cleaner: Arc<LogCleaner>,
}

fn start(disk: &FaultStorage, image: MetadataImage, dirs: &[&str]) -> TestNode {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let logs = LogManager::open(storage, dirs.iter().map(PathBuf::from).collect()).unwrap();
    logs.claim(ME, Some(image.cluster_id())).unwrap();
    let mut config = BrokerConfig::default();
    for (name, value) in [
        ("log.cleaner.io.buffer.size", "2000"),
        ("log.cleaner.dedupe.buffer.size", "100000"),
        ("log.cleaner.backoff.ms", "9223372036854775807"),
    ] {
        config.set_static(name, value, Origin::File).unwrap();
    }
    // Not the topics' own: what recovery makes of holes then hangs on the recovery points alone.
    let other = LogConfig::from(&crate::config::topic::resolve(&config, &Default::default()));
    let found = logs
        .load(&|_| other.clone(), 1, &RecoveryProgress::default())
        .unwrap();
    let partitions = Arc::new(Partitions::new(ME, Arc::new(logs), found, 0));
    let config = Arc::new(ArcSwap::from_pointee(config));
    let mut cleaner = LogCleaner::new(Arc::clone(&partitions), Arc::clone(&config));
    // Old enough for the throttle to look.
    cleaner.started -= Duration::from_secs(10);
    let node = TestNode {
        disk: disk.clone(),
        image,
        partitions,
        config,
        cleaner: Arc::new(cleaner),
    };
    node.apply(&MetadataDelta::whole(&node.image));
    for partition in node.partitions.all() {
        partition.configure(compacted());
        partition.flush();
    }
    node
}

fn new_node(dirs: &[&str]) -> TestNode {
    let disk = FaultStorage::new(Arc::new(MemStorage::default()));
    start(&disk, cluster_of(&[(1, None)]), dirs)
}

fn compacted() -> Arc<TopicConfig> {
    Arc::new(TopicConfig {
        cleanup_policy: CleanupPolicy {
            compact: true,
            delete: false,
        },
        internal_segment_bytes: Some(500),
        min_cleanable_dirty_ratio: 0.0,
        file_delete_delay_ms: 0,
        ..TopicConfig::default()
    })
}

impl TestNode {
    fn apply(&self, delta: &MetadataDelta) {
        let config = self.config.load();
        self.partitions.apply(&self.image, delta, &config, NOW);
    }

    fn create(&mut self, name: &str) -> Arc<Partition> {
        make(&mut self.image, vec![topic(name, 1, 1)]);
        let id = self.image.topic_id(name).unwrap();
        self.apply(&MetadataDelta {
            topics: [(id, TopicDelta::Created)].into(),
            ..MetadataDelta::default()
        });
        let partition = self.partition(name);
        partition.configure(compacted());
        partition
    }

    fn partition(&self, name: &str) -> Arc<Partition> {
        self.partitions.by_name(name, PartitionId(0)).unwrap()
    }

    fn text(&self, path: &str) -> String {
        let file = self.disk.open(Path::new(path), OpenMode::Read).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        read_exact_at(&*file, &mut bytes, 0).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn metric(&self, name: &str) -> f64 {
        let metrics = crate::metrics::Metrics::new([]).unwrap();
        metrics.register_collector(Arc::clone(&self.cleaner) as Arc<dyn Collect>);
        let text = metrics.render();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    fn clean_all(&self) -> usize {
        (0..50)
            .take_while(|_| self.cleaner.clean_filthiest(0))
            .count()
    }
}

/// So many records with one of five keys, one by one, flushed.
fn fill(partition: &Arc<Partition>, records: i64) {
    for n in 0..records {
        let mut batch = BatchBuilder::new(Offset::ZERO, Compression::None);
        let key = format!("{}", n % 5);
        batch.append(NOW, Some(key.as_bytes()), Some(b"value"), &[]);
        let origin = AppendOrigin::Client;
        partition
            .append(&batch.build(), origin, false, NOW)
            .unwrap();
    }
    partition.flush();
}

fn records(partition: &Partition) -> Vec<i64> {
    partition.with_log(|log| {
        let end = log.log_end_offset().0;
        let batches = crate::log::test_log::all_batches(log, log.log_start_offset().0);
        assert!(batches.iter().all(|(base, ..)| *base < end));
        batches.into_iter().map(|(base, ..)| base).collect()
    })
}

#[test]
fn the_dirtiest_comes_first_and_the_checkpoint_says_how_far() {
    let mut node = new_node(&["/a"]);
    let (small, large) = (node.create("small"), node.create("large"));
    fill(&small, 30);
    assert!(node.cleaner.clean_filthiest(0));
    fill(&small, 10);
    fill(&large, 60);
    let (_, plan, _) = node.cleaner.take_filthiest(NOW).unwrap();
    assert_eq!(plan.directory(), Path::new("/a/large-0"));
    large.with_log(|log| log.end_cleaning(None));
    assert_eq!(node.clean_all(), 2);
    assert_eq!(node.metric("dohle_log_cleaner_cleanings_total"), 3.0);
    let left = records(&large);
    assert!(left.len() < 20 && left.ends_with(&[57, 58, 59]), "{left:?}");
    let (at_large, at_small) = (
        large.with_log(|log| log.cleaner_checkpoint()).unwrap(),
        small.with_log(|log| log.cleaner_checkpoint()).unwrap(),
    );
    assert_eq!(
        node.text("/a/cleaner-offset-checkpoint"),
        format!("0\n2\nlarge 0 {at_large}\nsmall 0 {at_small}\n")
    );
    // After a crash both are there as they were, and clean.
    let node = start(&node.disk, node.image, &["/a"]);
    assert_eq!(records(&node.partition("large")), left);
    assert_eq!(node.clean_all(), 0);
    node.partitions.logs().remove_doomed(TimestampMs(i64::MAX));
    let names = node.disk.list(Path::new("/a/large-0")).unwrap();
    assert!(names.iter().all(|e| !e.name.ends_with(".deleted")));
}

#[test]
fn old_files_go_after_the_delay_and_stay_readable_for_who_has_them() {
    let mut node = new_node(&["/a"]);
    let partition = node.create("t");
    fill(&partition, 60);
    let before = partition.with_log(|log| {
        let slice = log.read(Offset(0), 400, Offset(60), true).unwrap().unwrap();
        let mut bytes = vec![0; slice.len as usize];
        read_exact_at(&*slice.file, &mut bytes, slice.position).unwrap();
        (slice, bytes)
    });
    assert_eq!(node.clean_all(), 1);
    let deleted = |node: &TestNode| {
        let names = node.disk.list(Path::new("/a/t-0")).unwrap();
        names
            .iter()
            .filter(|e| e.name.ends_with(".deleted"))
            .count()
    };
    assert!(deleted(&node) > 0);
    node.partitions.logs().remove_doomed(TimestampMs(0));
    assert!(deleted(&node) > 0);
    node.partitions.logs().remove_doomed(TimestampMs(i64::MAX));
    assert_eq!(deleted(&node), 0);
    let (slice, bytes) = before;
    let mut again = vec![0; slice.len as usize];
    read_exact_at(&*slice.file, &mut again, slice.position).unwrap();
    assert_eq!(again, bytes);
}

#[test]
fn a_topic_made_again_by_the_same_name_is_not_clean() {
    let mut node = new_node(&["/a"]);
    let partition = node.create("t");
    fill(&partition, 60);
    assert_eq!(node.clean_all(), 1);
    assert!(node.text("/a/cleaner-offset-checkpoint").contains("t 0"));
    let id = node.image.topic_id("t").unwrap();
    let before = node.image.topic_by_id(id).unwrap().clone();
    node.apply(&MetadataDelta {
        topics: [(id, TopicDelta::Deleted(before))].into(),
        ..MetadataDelta::default()
    });
    assert_eq!(node.text("/a/cleaner-offset-checkpoint"), "0\n0\n");
}

#[test]
fn one_that_cannot_be_cleaned_is_marked_and_the_others_go_on() {
    let mut node = new_node(&["/a"]);
    let (bad, good) = (node.create("bad"), node.create("good"));
    fill(&bad, 60);
    fill(&good, 60);
    let segments = bad.with_log(|log| log.segment_count());
    let path = Path::new("/a/bad-0/00000000000000000000.log");
    let file = node.disk.open(path, OpenMode::Write).unwrap();
    let mut byte = [0];
    read_exact_at(&*file, &mut byte, 65).unwrap();
    file.write_at(&mut [std::io::IoSlice::new(&[byte[0] ^ 1])], 65)
        .unwrap();
    for _ in 0..4 {
        node.cleaner.clean_filthiest(0);
    }
    assert!(records(&good).len() < 20);
    assert_eq!(bad.with_log(|log| log.segment_count()), segments);
    assert!(bad.with_log(|log| log.is_uncleanable()));
    let (partitions, bytes) = (
        node.metric("dohle_log_cleaner_uncleanable_partitions{"),
        node.metric("dohle_log_cleaner_uncleanable_bytes{"),
    );
    assert_eq!(partitions, 1.0);
    assert!(bytes > 1000.0, "{bytes}");
}

#[test]
fn a_full_disk_is_tried_again_and_a_broken_one_takes_its_directory() {
    for errno in [ENOSPC, EIO] {
        let mut node = new_node(&["/a", "/b"]);
        let partitions = [node.create("t"), node.create("u")];
        for partition in &partitions {
            fill(partition, 60);
        }
        let (here, elsewhere) = (&partitions[0], &partitions[1]);
        let dir = here.dir();
        let before = records(here);
        node.disk.fail(dir.path(), Op::Write, errno);
        while node.cleaner.clean_filthiest(0) || here.with_log(|log| log.is_being_cleaned()) {}
        node.cleaner.clean_filthiest(0);
        node.disk.heal();
        assert_eq!(dir.is_online(), errno == ENOSPC);
        assert!(!here.with_log(|log| log.is_uncleanable()));
        if errno == ENOSPC {
            assert_eq!(records(here), before);
            node.clean_all();
            assert!(records(here).len() < before.len());
        }
        node.clean_all();
        assert!(records(elsewhere).len() < 20);
    }
}

#[test]
fn retention_applies_to_what_is_compacted_too() {
    let mut node = new_node(&["/a"]);
    let partition = node.create("t");
    fill(&partition, 60);
    node.clean_all();
    partition.with_log(|log| log.delete_records_before(Offset(58)).unwrap());
    node.cleaner.delete_old_segments();
    assert_eq!(partition.with_log(|log| log.log_start_offset()), Offset(58));
    assert_eq!(partition.with_log(|log| log.segment_count()), 1);
    let mut config = TopicConfig::clone(&compacted());
    config.cleanup_policy.delete = true;
    config.retention_ms = 1;
    partition.configure(Arc::new(config));
    node.cleaner.delete_old_segments();
    assert_eq!(partition.with_log(|log| log.log_start_offset()), Offset(60));
}

impl TestNode {
    fn set(&self, name: &str, value: &str) {
        let changed = [(name.to_owned(), value.to_owned())].into();
        let config = self
            .config
            .load()
            .with_dynamic(&changed, &Default::default());
        self.config.store(Arc::new(config));
        self.cleaner.options_changed();
    }

    fn wait_for(&self, is_so: impl Fn(&State) -> bool) {
        while !is_so(&self.cleaner.state.lock()) {
            std::thread::yield_now();
        }
    }
}

#[test]
fn workers_come_and_go_with_the_options() {
    let mut node = new_node(&["/a"]);
    let partition = node.create("t");
    let supervisor = {
        let cleaner = Arc::clone(&node.cleaner);
        std::thread::spawn(move || cleaner.run())
    };
    node.set("log.cleaner.threads", "3");
    node.wait_for(|state| state.running.len() == 3);
    node.set("log.cleaner.threads", "1");
    node.wait_for(|state| state.running.len() == 1);
    // They wait for ever: a change of options wakes them.
    fill(&partition, 60);
    node.set("log.cleaner.backoff.ms", "9223372036854775806");
    while partition.with_log(|log| log.cleaner_checkpoint()).is_none() {
        std::thread::yield_now();
    }
    node.cleaner.stop();
    supervisor.join().unwrap();
    assert!(node.cleaner.state.lock().running.is_empty());
    assert_eq!(node.metric("dohle_log_cleaner_dead_threads"), 0.0);
}

/// A throttled cleaning waits where nothing but a stop wakes it.
#[test]
fn a_stop_ends_a_cleaning_that_waits_for_its_rate() {
    let mut node = new_node(&["/a"]);
    let partition = node.create("t");
    fill(&partition, 60);
    let before = records(&partition);
    let (_, plan, _) = node.cleaner.take_filthiest(NOW).unwrap();
    node.set("log.cleaner.io.max.bytes.per.second", "1");
    let run = Run {
        cleaner: &node.cleaner,
        partition: &partition,
        plan: &plan,
        now: NOW,
    };
    // The throttle looks no sooner: then its first look is at a rate that was far exceeded.
    while node.cleaner.started.elapsed() < Duration::from_millis(300) {
        std::thread::yield_now();
    }
    *node.cleaner.throttle.lock() = {
        let mut throttle = Throttle::default();
        let _ = throttle.observe(Duration::ZERO, 1 << 40, 1.0);
        throttle
    };
    std::thread::scope(|scope| {
        let cleaning = scope.spawn(|| run.clean());
        node.cleaner.stop();
        let ended = cleaning.join().unwrap();
        assert!(matches!(ended, Err(CleanError::Aborted)), "{ended:?}");
    });
    assert_eq!(records(&partition), before);
}

#[test]
fn a_worker_that_panics_is_counted_and_its_log_left() {
    let mut node = new_node(&["/a"]);
    let partition = node.create("t");
    fill(&partition, 60);
    node.cleaner.take_filthiest(NOW).unwrap();
    let cleaner = Arc::clone(&node.cleaner);
    let held = Arc::clone(&partition);
    let died = std::thread::spawn(move || {
        let _life = Life {
            cleaner: &cleaner,
            id: 0,
        };
        let _unfinished = Unfinished(&held);
        panic!("on purpose");
    });
    assert!(died.join().is_err());
    assert_eq!(node.metric("dohle_log_cleaner_dead_threads"), 1.0);
    assert!(partition.with_log(|log| log.is_uncleanable() && !log.is_being_cleaned()));
    node.cleaner.options_changed();
    assert_eq!(node.metric("dohle_log_cleaner_dead_threads"), 0.0);
}
