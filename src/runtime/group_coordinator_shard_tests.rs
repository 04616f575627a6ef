//! A shard over a log whose commits the test tells, on a paused clock.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bytes::Bytes;
use uuid::Uuid;

use super::*;
use crate::group::command::{
    Heartbeat, JoinGroup, JoinGroupReply, OffsetCommit, OffsetCommitPartition, OffsetCommitTopic,
    OffsetFetch, SyncGroup,
};
use crate::protocol::record_batch::Batches;
use crate::types::{LeaderEpoch, TopicId};

type Commits = VecDeque<oneshot::Sender<Result<(), ErrorCode>>>;

#[derive(Debug, Default)]
struct FakeLog {
    end: AtomicI64,
    batches: AtomicU64,
    /// Commits not told yet; `None`: everything is committed as it is appended.
    commits: Mutex<Option<Commits>>,
    failure: Mutex<Option<ErrorCode>>,
}

impl CoordinatorLog for Arc<FakeLog> {
    fn append(&self, batch: &[u8], _: TimestampMs) -> Result<LogAppend, ErrorCode> {
        if let Some(error) = self.failure.lock().take() {
            return Err(error);
        }
        let (header, _) = Batches::new(batch).next().unwrap().unwrap();
        let records = i64::from(header.records_count);
        let base_offset = Offset(self.end.fetch_add(records, Ordering::SeqCst));
        self.batches.fetch_add(1, Ordering::SeqCst);
        let commit = self.commits.lock().as_mut().map(|commits| {
            let (sender, receiver) = oneshot::channel();
            commits.push_back(sender);
            receiver
        });
        Ok(LogAppend {
            base_offset,
            commit,
        })
    }

    fn max_batch_bytes(&self) -> usize {
        200
    }
}

impl FakeLog {
    fn hold() -> Arc<FakeLog> {
        let log = Arc::new(FakeLog::default());
        *log.commits.lock() = Some(VecDeque::new());
        log
    }

    fn end_next(&self, outcome: Result<(), ErrorCode>) {
        let sender = self.commits.lock().as_mut().unwrap().pop_front();
        sender.unwrap().send(outcome).unwrap();
    }
}

fn start(log: &Arc<FakeLog>) -> Arc<RunningShard<Arc<FakeLog>>> {
    let options = ShardOptions {
        group: Arc::new(GroupConfig {
            initial_rebalance_delay_ms: 3_000,
            max_size: 100,
            offset_metadata_max_bytes: 4_096,
            offsets_retention_ms: 60_000,
            offsets_retention_check_interval_ms: 600_000,
        }),
        commit_timeout: Duration::from_millis(5_000),
        compression: Compression::Lz4,
    };
    RunningShard::start(Arc::clone(log), options, GroupCoordinatorState::default())
}

fn commit(group: &str, partitions: i32, offset: i64) -> Request {
    let partitions = (0..partitions).map(|partition| OffsetCommitPartition {
        partition,
        offset: Offset(offset),
        leader_epoch: LeaderEpoch::UNKNOWN,
        metadata: "".into(),
    });
    Request::OffsetCommit(OffsetCommit {
        group_id: group.into(),
        generation: -1,
        member_id: "".into(),
        group_instance_id: None,
        retention_time_ms: -1,
        topics: vec![OffsetCommitTopic {
            name: "topic".into(),
            topic_id: TopicId::ZERO,
            partitions: partitions.collect(),
        }],
        supports_group_id_not_found: true,
    })
}

fn commit_error(reply: Reply) -> ErrorCode {
    match reply {
        Reply::OffsetCommit(topics) => topics[0].partitions[0].1,
        other => panic!("{other:?}"),
    }
}

fn fetch(group: &str) -> Request {
    Request::OffsetFetch(OffsetFetch {
        group_id: group.into(),
        topics: None,
        require_stable: false,
    })
}

fn fetched(reply: Reply) -> Result<Vec<i64>, ErrorCode> {
    match reply {
        Reply::OffsetFetch(fetch) if fetch.error.is_error() => Err(fetch.error),
        Reply::OffsetFetch(fetch) => {
            let partitions = fetch.topics.iter().flat_map(|topic| &topic.partitions);
            Ok(partitions.map(|partition| partition.offset.0).collect())
        }
        other => panic!("{other:?}"),
    }
}

fn heartbeat() -> Request {
    Request::Heartbeat(Heartbeat {
        group_id: "g".into(),
        generation: 1,
        member_id: "x".into(),
        group_instance_id: None,
    })
}

fn join() -> Request {
    Request::JoinGroup(JoinGroup {
        group_id: "g".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        member_id: "".into(),
        group_instance_id: None,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::new())],
        reason: None,
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        requires_known_member_id: false,
        supports_skipping_assignment: false,
        fresh_id: Uuid::from_u128(1),
    })
}

fn joined(reply: Reply) -> JoinGroupReply {
    match reply {
        Reply::JoinGroup(join) => join,
        other => panic!("{other:?}"),
    }
}

/// Lets other tasks run until they wait.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

/// Starts a request and hands back where its reply will be.
fn ask(
    shard: &Arc<RunningShard<Arc<FakeLog>>>,
    request: Request,
) -> tokio::task::JoinHandle<Reply> {
    let shard = Arc::clone(shard);
    tokio::spawn(async move { shard.request(request).await })
}

#[tokio::test(start_paused = true)]
async fn replies_leave_when_their_records_are_committed() {
    let log = FakeLog::hold();
    let shard = start(&log);
    let first = ask(&shard, commit("g", 1, 5));
    let second = ask(&shard, commit("g", 1, 6));
    let read = ask(&shard, fetch("g"));
    settle().await;
    // What stands for no record leaves at once.
    assert_eq!(
        shard.request(heartbeat()).await,
        Reply::Heartbeat(ErrorCode::UnknownMemberId)
    );
    assert!(!first.is_finished() && !second.is_finished() && !read.is_finished());
    log.end_next(Ok(()));
    settle().await;
    assert!(first.is_finished() && !second.is_finished() && !read.is_finished());
    log.end_next(Ok(()));
    assert_eq!(commit_error(first.await.unwrap()), ErrorCode::None);
    assert_eq!(commit_error(second.await.unwrap()), ErrorCode::None);
    assert_eq!(fetched(read.await.unwrap()), Ok(vec![6]));
    // Nothing waits any more: a read is answered at once.
    assert_eq!(fetched(shard.request(fetch("g")).await), Ok(vec![6]));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_commit_in_time_fails() {
    let log = FakeLog::hold();
    let shard = start(&log);
    let before = Instant::now();
    let late = ask(&shard, commit("g", 1, 5));
    let read = ask(&shard, fetch("g"));
    assert_eq!(
        commit_error(late.await.unwrap()),
        ErrorCode::CoordinatorNotAvailable
    );
    assert_eq!(fetched(read.await.unwrap()), Err(ErrorCode::NotCoordinator));
    assert_eq!(before.elapsed(), Duration::from_millis(5_000));
    // The next append is not held up by it.
    let next = ask(&shard, commit("g", 1, 6));
    settle().await;
    log.commits.lock().as_mut().unwrap().pop_front();
    log.end_next(Ok(()));
    assert_eq!(commit_error(next.await.unwrap()), ErrorCode::None);
}

#[tokio::test(start_paused = true)]
async fn an_append_that_fails_is_told_and_leaves_nothing() {
    let log = Arc::new(FakeLog::default());
    let shard = start(&log);
    *log.failure.lock() = Some(ErrorCode::NotLeaderOrFollower);
    let reply = shard.request(commit("g", 1, 5)).await;
    assert_eq!(commit_error(reply), ErrorCode::NotCoordinator);
    assert_eq!(fetched(shard.request(fetch("g")).await), Ok(vec![]));
    *log.failure.lock() = Some(ErrorCode::MessageTooLarge);
    let reply = joined(shard.request(join()).await);
    assert_eq!(reply.error, ErrorCode::UnknownServerError);
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_takes_its_time_and_its_commit() {
    let log = FakeLog::hold();
    let shard = start(&log);
    let before = Instant::now();
    let joining = ask(&shard, join());
    settle().await;
    log.end_next(Ok(()));
    let reply = joined(joining.await.unwrap());
    assert_eq!(before.elapsed(), Duration::from_millis(3_000));
    assert_eq!((reply.error, reply.generation), (ErrorCode::None, 1));
    let member_id = reply.member_id;
    let sync = Request::SyncGroup(SyncGroup {
        group_id: "g".into(),
        generation: 1,
        member_id: member_id.clone(),
        group_instance_id: None,
        protocol_type: None,
        protocol_name: None,
        assignments: vec![(member_id, Bytes::from_static(b"A"))],
    });
    let syncing = ask(&shard, sync);
    settle().await;
    assert!(!syncing.is_finished());
    log.end_next(Ok(()));
    match syncing.await.unwrap() {
        Reply::SyncGroup(sync) => assert_eq!(sync.assignment, "A"),
        other => panic!("{other:?}"),
    }
    // The member falls silent: its session ends by itself, and the empty group is stored.
    let stored = log.end.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(10_001)).await;
    settle().await;
    assert_eq!(log.end.load(Ordering::SeqCst), stored + 1);
}

#[tokio::test(start_paused = true)]
async fn an_unloaded_shard_answers_everybody_and_writes_no_more() {
    let log = FakeLog::hold();
    let shard = start(&log);
    let joining = ask(&shard, join());
    let committing = ask(&shard, commit("h", 1, 5));
    settle().await;
    shard.unload();
    let reply = joined(joining.await.unwrap());
    assert_eq!(reply.error, ErrorCode::NotCoordinator);
    assert_eq!(
        commit_error(committing.await.unwrap()),
        ErrorCode::NotCoordinator
    );
    let end = log.end.load(Ordering::SeqCst);
    let reply = shard.request(commit("h", 1, 6)).await;
    assert_eq!(commit_error(reply), ErrorCode::NotCoordinator);
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(log.end.load(Ordering::SeqCst), end);
    settle().await;
    assert_eq!(Arc::strong_count(&shard), 1, "the task is gone");
}

#[tokio::test(start_paused = true)]
async fn many_independent_records_go_in_several_batches() {
    let log = Arc::new(FakeLog::default());
    let shard = start(&log);
    shard.request(commit("g", 20, 5)).await;
    // A commit is one batch, however large.
    assert_eq!(log.batches.load(Ordering::SeqCst), 1);
    shard.command(Command::DeleteTopics(vec![("topic".into(), TopicId::ZERO)]));
    assert_eq!(log.end.load(Ordering::SeqCst), 40);
    assert!(log.batches.load(Ordering::SeqCst) > 5);
    assert_eq!(fetched(shard.request(fetch("g")).await), Ok(vec![]));
}

#[tokio::test(start_paused = true)]
async fn offsets_and_groups_are_shown() {
    let log = Arc::new(FakeLog::default());
    let shard = start(&log);
    shard.request(commit("g", 2, 5)).await;
    let mut offsets = Vec::new();
    shard.for_each_offset(|group, topic, partition, offset| {
        offsets.push(format!("{group} {topic}-{partition} {offset}"));
    });
    assert_eq!(offsets, ["g topic-0 5", "g topic-1 5"]);
    let mut groups = Vec::new();
    shard.for_each_group(|group, state| groups.push(format!("{group} {state}")));
    assert_eq!(groups, ["g Empty"]);
}
