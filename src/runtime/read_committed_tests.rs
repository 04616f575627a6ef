//! Readers of what is committed against a partition: what they see, and when they are woken.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::cold_reads::ColdReads;
use super::fetch::{self, FetchParams, FetchResult, FetchTarget};
use super::flusher::Flusher;
use super::log_dirs::Place;
use super::partition::{Isolation, Partition, ReadOutcome};
use crate::config::{BrokerConfig, ConfigOverrides, topic};
use crate::log::memory::MemStorage;
use crate::log::storage::Storage;
use crate::log::test_log::batch;
use crate::log::test_txn::{txn_batch, txn_marker};
use crate::log::{AppendOrigin, LogConfig, LogDir, OpenLog, open};
use crate::replication::fetch_session::{FetchPartition, FetchTopic};
use crate::types::{LeaderEpoch, NodeId, Offset, TimestampMs, TopicId, TopicPartition};

const ME: NodeId = NodeId(1);
const MINUTE: Duration = Duration::from_secs(60);

async fn fetch(targets: &[FetchTarget], params: FetchParams) -> Vec<FetchResult> {
    fetch::fetch(&ColdReads::for_tests(1), targets, params).await
}

fn partition(options: &[(&str, &str)]) -> Arc<Partition> {
    let storage: Arc<dyn Storage> = Arc::new(MemStorage::default());
    let overrides: ConfigOverrides = options
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let config = Arc::new(topic::resolve(&BrokerConfig::default(), &overrides));
    let dir = Path::new("/data/t-0");
    storage.create_dir_all(dir).unwrap();
    let found = OpenLog {
        topic_partition: TopicPartition::new("t", 0),
        topic_id: TopicId::ZERO,
        config: LogConfig::from(&*config),
        recovery_point: Offset::ZERO,
        log_start: Offset::ZERO,
        clean: true,
        has_journal: true,
    };
    let log = open(storage, dir, found, &|_| {}).unwrap();
    let place = Place {
        dir: Arc::new(LogDir::new("/data".into(), Arc::default())),
        flusher: Arc::new(Flusher::default()),
    };
    let partition = Arc::new(Partition::new(
        log,
        config,
        Arc::default(),
        place,
        Offset::ZERO,
    ));
    partition.become_led(ME, LeaderEpoch(0), ME);
    partition
}

/// Readable at once.
fn undurable() -> Arc<Partition> {
    partition(&[("durable.acks", "false")])
}

fn send(partition: &Arc<Partition>, producer: i64, sequence: i32) {
    let batch = txn_batch(producer, sequence, 1000);
    partition
        .append(&batch, AppendOrigin::Client, false, TimestampMs(1000))
        .unwrap();
}

fn end(partition: &Arc<Partition>, producer: i64, committed: bool) {
    let batch = txn_marker(producer, committed, 1000);
    partition
        .append(&batch, AppendOrigin::Coordinator, false, TimestampMs(1000))
        .unwrap();
}

fn plain(partition: &Arc<Partition>, value_bytes: usize) {
    partition
        .append(
            &batch(1000, 1, value_bytes),
            AppendOrigin::Client,
            false,
            TimestampMs(1000),
        )
        .unwrap();
}

fn target(partition: &Arc<Partition>, offset: i64) -> FetchTarget {
    FetchTarget {
        key: (FetchTopic::Name("t".into()), 0),
        request: FetchPartition {
            fetch_offset: Offset(offset),
            max_bytes: 1 << 20,
            current_leader_epoch: LeaderEpoch::UNKNOWN,
            last_fetched_epoch: LeaderEpoch::UNKNOWN,
            log_start_offset: Offset(-1),
        },
        partition: Ok(Arc::clone(partition)),
    }
}

fn committed(max_wait: Duration, min_bytes: usize) -> FetchParams {
    FetchParams {
        max_wait,
        min_bytes,
        max_bytes: 1 << 20,
        isolation: Isolation::ReadCommitted,
    }
}

fn only(mut results: Vec<FetchResult>) -> ReadOutcome {
    assert_eq!(results.len(), 1);
    results.remove(0).unwrap()
}

async fn read(partition: &Arc<Partition>, offset: i64, isolation: Isolation) -> ReadOutcome {
    let params = FetchParams {
        isolation,
        ..committed(Duration::ZERO, 1)
    };
    only(fetch(&[target(partition, offset)], params).await)
}

/// First offset and bytes; the aborted, by producer and first offset.
type Found = (Option<(i64, u32)>, Option<Vec<(i64, i64)>>);

fn found(outcome: &ReadOutcome) -> Found {
    let slice = outcome.slice.as_ref();
    let aborted = outcome.aborted.as_ref();
    (
        slice.map(|slice| (slice.first_offset.0, slice.len)),
        aborted.map(|aborted| {
            let each = aborted.iter();
            each.map(|txn| (txn.producer_id.0, txn.first_offset.0))
                .collect()
        }),
    )
}

fn stable(outcome: &ReadOutcome) -> (i64, i64) {
    (outcome.last_stable_offset.0, outcome.high_watermark.0)
}

#[tokio::test]
async fn a_reader_of_what_is_committed_sees_up_to_the_first_open_transaction() {
    let partition = undurable();
    plain(&partition, 10);
    send(&partition, 7, 0);
    plain(&partition, 10);
    let seen = read(&partition, 0, Isolation::ReadCommitted).await;
    assert_eq!(stable(&seen), (1, 3));
    let first = found(&seen).0.unwrap();
    assert_eq!(found(&seen), (Some((0, first.1)), Some(vec![])));
    let behind = read(&partition, 1, Isolation::ReadCommitted).await;
    assert_eq!(found(&behind), (None, Some(vec![])));
    // Who reads everything is told of no transaction.
    let all = read(&partition, 0, Isolation::ReadUncommitted).await;
    assert!(found(&all).0.unwrap().1 > 2 * first.1);
    assert_eq!((stable(&all), found(&all).1), ((1, 3), None));

    end(&partition, 7, false);
    let seen = read(&partition, 0, Isolation::ReadCommitted).await;
    assert_eq!(stable(&seen), (4, 4));
    assert_eq!(found(&seen).1, Some(vec![(7, 1)]));
    let later = read(&partition, 2, Isolation::ReadCommitted).await;
    assert_eq!(found(&later).1, Some(vec![(7, 1)]), "its marker is to come");
    plain(&partition, 10);
    let last = read(&partition, 4, Isolation::ReadCommitted).await;
    assert_eq!(found(&last).1, Some(vec![]));
}

#[tokio::test]
async fn a_decision_counts_once_it_is_below_the_high_watermark() {
    let partition = partition(&[]);
    send(&partition, 7, 0);
    partition.flush();
    let seen = read(&partition, 0, Isolation::ReadCommitted).await;
    assert_eq!(stable(&seen), (0, 1));
    end(&partition, 7, true);
    let seen = read(&partition, 0, Isolation::ReadCommitted).await;
    assert_eq!(stable(&seen), (0, 1), "the marker is not on disk");
    partition.flush();
    let seen = read(&partition, 0, Isolation::ReadCommitted).await;
    assert_eq!(stable(&seen), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_reader_is_woken_by_decisions_alone() {
    let partition = undurable();
    send(&partition, 7, 0);
    let targets = [target(&partition, 0)];
    let waiting = fetch(&targets, committed(MINUTE, 1));
    tokio::pin!(waiting);
    let second = Duration::from_secs(1);
    assert!(tokio::time::timeout(second, &mut waiting).await.is_err());
    // More is written, and nothing of it is decided.
    plain(&partition, 100);
    assert!(tokio::time::timeout(second, &mut waiting).await.is_err());
    let began = tokio::time::Instant::now();
    end(&partition, 7, true);
    let outcome = only(waiting.await);
    assert_eq!(tokio::time::Instant::now(), began);
    assert_eq!(stable(&outcome), (3, 3));
    assert!(found(&outcome).0.is_some());
    assert_eq!(partition.waiting_readers(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_flush_wakes_who_waits_for_a_marker() {
    let partition = partition(&[]);
    send(&partition, 7, 0);
    partition.flush();
    end(&partition, 7, true);
    let targets = [target(&partition, 0)];
    let waiting = fetch(&targets, committed(MINUTE, 1));
    tokio::pin!(waiting);
    let second = Duration::from_secs(1);
    assert!(tokio::time::timeout(second, &mut waiting).await.is_err());
    let began = tokio::time::Instant::now();
    partition.flush();
    assert_eq!(stable(&only(waiting.await)), (2, 2));
    assert_eq!(tokio::time::Instant::now(), began);
}

#[tokio::test(start_paused = true)]
async fn an_open_transaction_is_waited_for_as_long_as_was_asked() {
    let partition = undurable();
    send(&partition, 7, 0);
    let began = tokio::time::Instant::now();
    let outcome = only(fetch(&[target(&partition, 0)], committed(MINUTE, 1)).await);
    assert_eq!(began.elapsed(), MINUTE);
    assert_eq!(found(&outcome), (None, Some(vec![])));
    assert_eq!(stable(&outcome), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn too_little_that_is_decided_is_waited_with() {
    let partition = undurable();
    send(&partition, 7, 0);
    send(&partition, 8, 0);
    let targets = [target(&partition, 0)];
    let waiting = fetch(&targets, committed(MINUTE, 200));
    tokio::pin!(waiting);
    let second = Duration::from_secs(1);
    assert!(tokio::time::timeout(second, &mut waiting).await.is_err());
    end(&partition, 7, true);
    assert!(tokio::time::timeout(second, &mut waiting).await.is_err());
    end(&partition, 8, false);
    let outcome = only(waiting.await);
    assert_eq!(found(&outcome).1, Some(vec![(8, 1)]));
    assert!(found(&outcome).0.unwrap().1 >= 200);
}

#[tokio::test(start_paused = true)]
async fn who_comes_from_behind_what_is_stable_is_answered_at_once() {
    let partition = undurable();
    send(&partition, 7, 0);
    plain(&partition, 10);
    let began = tokio::time::Instant::now();
    let outcome = only(fetch(&[target(&partition, 1)], committed(MINUTE, 1)).await);
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(found(&outcome), (None, Some(vec![])));
}

/// A read ends where its segment ends; asking again is quicker than waiting for what is there already.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_segment_is_not_waited_at() {
    let partition = undurable();
    plain(&partition, 10);
    partition.with_log(|log| log.roll()).unwrap();
    plain(&partition, 10);
    for isolation in [Isolation::ReadCommitted, Isolation::ReadUncommitted] {
        let params = FetchParams {
            isolation,
            ..committed(MINUTE, 1 << 19)
        };
        let began = tokio::time::Instant::now();
        let outcome = only(fetch(&[target(&partition, 0)], params).await);
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(found(&outcome).0.unwrap().0, 0);
        // The last segment has no more.
        let outcome = only(fetch(&[target(&partition, 1)], params).await);
        assert_eq!(began.elapsed(), MINUTE);
        assert_eq!(found(&outcome).0.unwrap().0, 1);
    }
}

#[tokio::test]
async fn the_log_start_bounds_what_is_unstable() {
    let partition = undurable();
    send(&partition, 7, 0);
    send(&partition, 7, 1);
    send(&partition, 7, 2);
    partition
        .with_log(|log| log.delete_records_before(Offset(2)))
        .unwrap();
    let seen = read(&partition, 2, Isolation::ReadCommitted).await;
    assert_eq!(stable(&seen), (2, 3));
    let known = partition.producers().unwrap();
    assert_eq!(known[0].1.current_txn_first_offset, Some(Offset(0)));
}
