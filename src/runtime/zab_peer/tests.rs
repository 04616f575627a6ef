use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::controller::TopicDelta;
use crate::controller::command::{CreateTopics, CreatedTopic};
use crate::controller::testing::{TwoKeys, registration, topic};
use crate::log::storage::{DirEntry, File, Lock, OpenMode, RealStorage, Space};
use crate::types::PartitionId;

fn options(dir: &Path, storage: Arc<dyn Storage>) -> ZabPeerOptions {
    ZabPeerOptions {
        node: NodeId(1),
        voters: Voters::of([NodeId(1)]),
        directory: None,
        dir: dir.join("zab"),
        storage,
        schema: Arc::new(TwoKeys),
        settings: Settings {
            num_partitions: 1,
            default_replication_factor: 1,
            max_replication_factor: 1,
            min_insync_replicas: 1,
            node: NodeId(1),
        },
        zab: zab::Settings::default(),
        links: None,
        open: OpenLimits::default(),
        snapshot_after_bytes: 8 << 20,
        metrics: Arc::new(Metrics::new([]).unwrap()),
    }
}

async fn open_with(options: ZabPeerOptions) -> MetadataHandle {
    let handle = start(options).await.unwrap();
    handle.joined().await.unwrap();
    handle
}

async fn open(dir: &Path) -> MetadataHandle {
    open_with(options(dir, Arc::new(RealStorage))).await
}

async fn register(handle: &MetadataHandle) {
    let mut broker = registration(1, None);
    broker.cluster_id = handle.image().cluster_id().to_owned();
    let reply = handle.submit(Command::RegisterBroker(broker)).await;
    assert_eq!(reply, Ok(Reply::RegisterBroker(Ok(()))));
}

fn create_command(name: &str, partitions: i32) -> Command {
    Command::CreateTopics(CreateTopics {
        topics: vec![topic(name, partitions, 1)],
        validate_only: false,
    })
}

async fn create(handle: &MetadataHandle, name: &str, partitions: i32) -> CreatedTopic {
    match handle.submit(create_command(name, partitions)).await {
        Ok(Reply::CreateTopics(mut results)) => results.remove(0).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_reply_comes_after_the_image_and_the_listener() {
    let temp = tempfile::tempdir().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let listener = {
        let seen = seen.clone();
        move |image: &Arc<MetadataImage>, delta: &MetadataDelta| {
            for (id, change) in &delta.topics {
                let name = image.topic_by_id(*id).unwrap().name.to_string();
                seen.lock().push((name, change.clone()));
            }
        }
    };
    let handle = open(temp.path()).await;
    handle.attach(listener).await.unwrap();
    register(&handle).await;
    let created = create(&handle, "t", 3).await;
    assert_eq!(handle.image().topic_id("t"), Some(created.id));
    assert_eq!(*seen.lock(), [("t".to_owned(), TopicDelta::Created)]);
    handle.close().await;
}

/// Polls the command when its task has done all that tokio lets a task do at once.
async fn poll_once_out_of_budget(command: &mut (impl Future + Unpin)) {
    std::future::poll_fn(|cx| {
        while std::pin::pin!(tokio::task::consume_budget())
            .poll(cx)
            .is_ready()
        {}
        assert!(std::pin::Pin::new(&mut *command).poll(cx).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    tokio::task::yield_now().await;
}

#[tokio::test]
async fn commands_are_decided_in_the_order_in_which_they_were_first_polled() {
    let temp = tempfile::tempdir().unwrap();
    let handle = open(temp.path()).await;
    register(&handle).await;
    let mut first = Box::pin(handle.submit(create_command("t", 1)));
    poll_once_out_of_budget(&mut first).await;
    let second = handle.submit(create_command("t", 2));
    let (second, first) = futures_util::future::join(second, first).await;
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(handle.image().topic("t").unwrap().partition_count(), 1);
    handle.close().await;
}

#[tokio::test]
async fn what_was_committed_survives_a_restart() {
    let temp = tempfile::tempdir().unwrap();
    let handle = open(temp.path()).await;
    let cluster_id = handle.image().cluster_id().to_owned();
    assert_eq!(cluster_id.len(), 22);
    assert_eq!(handle.epoch(), 1);
    register(&handle).await;
    let created = create(&handle, "t", 3).await;
    let before = handle.image();
    handle.close().await;
    assert_eq!(
        handle.submit(create_command("u", 1)).await,
        Err(SubmitError::Closed)
    );

    let handle = open(temp.path()).await;
    assert_eq!(handle.epoch(), 2);
    assert_eq!(*handle.image(), *before);
    assert_eq!(handle.image().topic("t").unwrap().id, created.id);
    assert_eq!(handle.image().cluster_id(), cluster_id);
    handle.close().await;
}

/// Counts flushes of files and can fail or hold them.
#[derive(Debug, Default)]
struct Flushes {
    count: AtomicUsize,
    fail: std::sync::atomic::AtomicBool,
    held: Mutex<bool>,
    released: parking_lot::Condvar,
}

impl Flushes {
    fn hold(&self, held: bool) {
        *self.held.lock() = held;
        self.released.notify_all();
    }
}

#[derive(Debug, Clone)]
struct WatchedStorage(Arc<Flushes>);

#[derive(Debug)]
struct WatchedFile(Arc<Flushes>, Arc<dyn File>);

impl Storage for WatchedStorage {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = RealStorage.open(path, mode)?;
        Ok(Arc::new(WatchedFile(self.0.clone(), file)))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        RealStorage.list(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        RealStorage.create_dir_all(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealStorage.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealStorage.remove_file(path)
    }
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        RealStorage.remove_dir_all(dir)
    }
    fn exists(&self, path: &Path) -> bool {
        RealStorage.exists(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealStorage.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Lock>> {
        RealStorage.lock(path)
    }
    fn space(&self, dir: &Path) -> io::Result<Space> {
        RealStorage.space(dir)
    }
}

impl File for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.1.len()
    }
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.1.read_at(buf, position)
    }
    fn write_at(&self, slices: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        self.1.write_at(slices, position)
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.1.truncate(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        let mut held = self.0.held.lock();
        self.0.released.wait_while(&mut held, |held| *held);
        drop(held);
        self.0.count.fetch_add(1, Ordering::SeqCst);
        if self.0.fail.load(Ordering::SeqCst) {
            return Err(io::Error::other("bad sector"));
        }
        self.1.sync_data()
    }
    fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.1.fd()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_answered_or_seen_before_it_is_on_disk_and_all_that_waited_share_a_flush() {
    let temp = tempfile::tempdir().unwrap();
    let flushes = Arc::new(Flushes::default());
    let storage = Arc::new(WatchedStorage(flushes.clone()));
    let handle = open_with(options(temp.path(), storage)).await;
    register(&handle).await;
    create(&handle, "warm", 1).await;

    flushes.hold(true);
    let before = flushes.count.load(Ordering::SeqCst);
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..200 {
        let handle = handle.clone();
        waiting.spawn(async move { create(&handle, &format!("t{n}"), 10).await });
    }
    // Every one of them gets as far as it can: it is proposed.
    let proposed = || async { handle.status().await.unwrap().last_zxid.counter() };
    let already = handle.image().applied().counter();
    while proposed().await < already + 200 {
        tokio::task::yield_now().await;
    }
    assert!(waiting.try_join_next().is_none());
    assert_eq!(handle.image().topic_count(), 1);
    flushes.hold(false);
    while let Some(created) = waiting.join_next().await {
        assert_eq!(created.unwrap().num_partitions, 10);
    }
    let used = flushes.count.load(Ordering::SeqCst) - before;
    assert!(used <= 12, "{used} flushes for 200 commands");
    assert_eq!(handle.image().topic_count(), 201);
    handle.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_beyond_the_limit_waits_and_what_is_too_long_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let flushes = Arc::new(Flushes::default());
    let mut options = options(temp.path(), Arc::new(WatchedStorage(flushes.clone())));
    options.open = OpenLimits {
        requests: 3,
        request_bytes: 1024,
    };
    let handle = open_with(options).await;
    register(&handle).await;
    let many = Command::CreateTopics(CreateTopics {
        topics: (0..400).map(|n| topic(&format!("t{n}"), 1, 1)).collect(),
        validate_only: false,
    });
    assert!(matches!(
        handle.submit(many).await,
        Err(SubmitError::TooLarge)
    ));
    assert_eq!(handle.image().topic_count(), 0);

    flushes.hold(true);
    let proposed = || async { handle.status().await.unwrap().last_zxid.counter() };
    let already = proposed().await;
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..200 {
        let handle = handle.clone();
        waiting.spawn(async move { create(&handle, &format!("t{n}"), 1).await });
    }
    while proposed().await < already + 3 {
        tokio::task::yield_now().await;
    }
    // Its thread has looked for more before each answer.
    for _ in 0..50 {
        assert_eq!(proposed().await, already + 3);
    }
    flushes.hold(false);
    while let Some(created) = waiting.join_next().await {
        created.unwrap();
    }
    assert_eq!(handle.image().topic_count(), 200);
    handle.close().await;
}

#[tokio::test]
async fn one_command_after_the_other_costs_one_flush_each() {
    let temp = tempfile::tempdir().unwrap();
    let flushes = Arc::new(Flushes::default());
    let storage = Arc::new(WatchedStorage(flushes.clone()));
    let handle = open_with(options(temp.path(), storage)).await;
    register(&handle).await;
    let before = flushes.count.load(Ordering::SeqCst);
    for n in 0..10 {
        create(&handle, &format!("t{n}"), 10).await;
    }
    // What is refused or only validated is not written.
    let refused = handle.submit(create_command("t0", 1)).await.unwrap();
    assert!(matches!(refused, Reply::CreateTopics(results) if results[0].is_err()));
    assert_eq!(flushes.count.load(Ordering::SeqCst) - before, 10);
    handle.close().await;
}

#[tokio::test]
async fn a_failed_flush_stops_the_metadata_for_good() {
    let temp = tempfile::tempdir().unwrap();
    let flushes = Arc::new(Flushes::default());
    let storage = Arc::new(WatchedStorage(flushes.clone()));
    let handle = open_with(options(temp.path(), storage)).await;
    register(&handle).await;
    flushes.fail.store(true, Ordering::SeqCst);
    let failed = handle.submit(create_command("t", 1)).await.unwrap_err();
    assert!(failed.to_string().contains("bad sector"), "{failed}");
    flushes.fail.store(false, Ordering::SeqCst);
    assert_eq!(
        handle.submit(create_command("t", 1)).await,
        Err(failed.clone())
    );
    assert_eq!(handle.stopped().await, Some(failed));
    assert!(handle.image().topic("t").is_none());
}

#[tokio::test]
async fn commands_go_on_through_an_election_for_new_counters() {
    let temp = tempfile::tempdir().unwrap();
    let mut options = options(temp.path(), Arc::new(RealStorage));
    options.zab.last_counter = 4;
    let handle = open_with(options).await;
    register(&handle).await;
    for n in 0..4 {
        create(&handle, &format!("t{n}"), 1).await;
    }
    assert_eq!(handle.image().topic_count(), 4);
    // Format, registration and two topics; then the others.
    assert_eq!(handle.image().applied(), Zxid::new(2, 2));
    handle.close().await;
}

#[tokio::test]
async fn one_process_at_a_time() {
    let temp = tempfile::tempdir().unwrap();
    let first = open(temp.path()).await;
    let second = start(options(temp.path(), Arc::new(RealStorage))).await;
    let refused = second.err().unwrap().to_string();
    assert!(refused.contains("in use by another process"), "{refused}");
    first.close().await;
    open(temp.path()).await.close().await;
}

#[tokio::test]
async fn snapshots_are_taken_while_it_goes_on_and_start_the_next_life() {
    let temp = tempfile::tempdir().unwrap();
    let mut options = options(temp.path(), Arc::new(RealStorage));
    options.snapshot_after_bytes = 20_000;
    let handle = open_with(options).await;
    register(&handle).await;
    let dir = temp.path().join("zab");
    let count = |prefix: &str| {
        let names = RealStorage.list(&dir).unwrap();
        names
            .iter()
            .filter(|entry| entry.name.starts_with(prefix))
            .count()
    };
    let mut n = 0;
    while count("snapshot.") == 0 || count("log.") < 2 {
        n += 1;
        create(&handle, &format!("t{n}"), 50).await;
    }
    create(&handle, "last", 1).await;
    let before = handle.image();
    handle.close().await;
    let handle = open(temp.path()).await;
    assert_eq!(*handle.image(), *before);
    assert!(handle.image().partition("last", PartitionId(0)).is_some());
}

/// Prints times; it is a yardstick, not a check. `cargo test --release -- --ignored yardstick`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn yardstick() {
    let temp = tempfile::tempdir_in(".").unwrap();
    let start = Instant::now();
    let handle = open(temp.path()).await;
    register(&handle).await;
    println!("cold start: {:?}", start.elapsed());
    for round in 0..3 {
        let start = Instant::now();
        for n in 0..200 {
            create(&handle, &format!("s{round}-{n}"), 10).await;
        }
        println!(
            "200 topics of 10, one after the other: {:?}",
            start.elapsed()
        );
        let start = Instant::now();
        let mut all = tokio::task::JoinSet::new();
        for n in 0..200 {
            let handle = handle.clone();
            all.spawn(async move { create(&handle, &format!("p{round}-{n}"), 10).await });
        }
        all.join_all().await;
        println!("200 topics of 10, at once: {:?}", start.elapsed());
    }
    for n in 0..90 {
        create(&handle, &format!("large{n}"), 1000).await;
    }
    println!("{} partitions", handle.image().partition_count());
    handle.close().await;
    drop(handle);
    let start = Instant::now();
    let handle = open(temp.path()).await;
    println!("warm start: {:?}", start.elapsed());
    let start = Instant::now();
    let mut again = registration(1, None);
    again.cluster_id = handle.image().cluster_id().to_owned();
    again.incarnation = Uuid::from_u128(1);
    handle.submit(Command::RegisterBroker(again)).await.unwrap();
    println!("a new incarnation takes over: {:?}", start.elapsed());
    handle.close().await;
}
