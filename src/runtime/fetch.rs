//! Carries a fetch out: reads what is there, and waits for more when that is too little.
//!
//! A fetch is answered at once when it asked for no wait, when it found `min_bytes`, or when a
//! partition has something to say that must not wait (an error, a diverging epoch). Otherwise it
//! stands in the lists of its partitions until enough bytes are readable or its time is over, and
//! then reads again: once, or with `read_committed` for as long as it finds too little. A look-up that would have to
//! wait for the disk waits on a thread for that, without the partition's lock, and is made again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::cold_reads::ColdReads;
use super::fetch_waiter::FetchWaiter;
use super::partition::{Isolation, NotRead, Partition, ReadOutcome, ReadRequest};
use crate::error::ErrorCode;
use crate::log::Reads;
use crate::replication::fetch_session::{FetchKey, FetchPartition};

/// One partition of a fetch: where it is, or why it may not be read.
#[derive(Debug, Clone)]
pub struct FetchTarget {
    pub key: FetchKey,
    pub request: FetchPartition,
    pub partition: Result<Arc<Partition>, ErrorCode>,
}

/// The limits that the whole fetch goes by.
#[derive(Debug, Clone, Copy)]
pub struct FetchParams {
    pub max_wait: Duration,
    pub min_bytes: usize,
    pub max_bytes: usize,
    pub isolation: Isolation,
}

/// What one partition answered, in the order of the targets.
pub type FetchResult = Result<ReadOutcome, ErrorCode>;

/// A look-up misses a few pages: names, of an index, of the log. More often than this, they are forgotten
/// as fast as they are read.
const MISSES: usize = 64;

pub async fn fetch(
    cold: &ColdReads,
    targets: &[FetchTarget],
    params: FetchParams,
) -> Vec<FetchResult> {
    let mut results = read_all(cold, targets, params).await;
    if targets.is_empty() || params.max_wait.is_zero() {
        return results;
    }
    let deadline = Instant::now() + params.max_wait;
    loop {
        let found = found_bytes(&results);
        if found >= params.min_bytes || must_not_wait(targets, &results, params.isolation) {
            return results;
        }
        let standing = Standing::new(targets, &results, params, params.min_bytes - found);
        let woken = tokio::time::timeout_at(deadline, standing.waiter.wait()).await;
        drop(standing);
        drop(results);
        results = read_all(cold, targets, params).await;
        // The bytes were counted for who reads everything; who reads what is committed counts them now.
        if woken.is_err() || params.isolation == Isolation::ReadUncommitted {
            return results;
        }
    }
}

async fn read_all(
    cold: &ColdReads,
    targets: &[FetchTarget],
    params: FetchParams,
) -> Vec<FetchResult> {
    let mut left = params.max_bytes;
    let mut found_any = false;
    let mut results = Vec::with_capacity(targets.len());
    for target in targets {
        let partition = match &target.partition {
            Ok(partition) => partition,
            Err(code) => {
                results.push(Err(*code));
                continue;
            }
        };
        let wanted = usize::try_from(target.request.max_bytes).unwrap_or(0);
        let request = ReadRequest {
            offset: target.request.fetch_offset,
            max_bytes: wanted.min(left),
            min_one_batch: !found_any,
            isolation: params.isolation,
            current_leader_epoch: target.request.current_leader_epoch,
            last_fetched_epoch: target.request.last_fetched_epoch,
        };
        let result = read_one(cold, partition, request).await;
        if let Ok(ReadOutcome {
            slice: Some(slice), ..
        }) = &result
        {
            found_any = true;
            left = left.saturating_sub(slice.len as usize);
        }
        results.push(result);
    }
    results
}

async fn read_one(cold: &ColdReads, partition: &Partition, request: ReadRequest) -> FetchResult {
    let mut reads = Reads::Cached;
    for _ in 0..MISSES {
        match partition.read_as(reads, request) {
            Ok(outcome) => return Ok(outcome),
            Err(NotRead::Refused(code)) => return Err(code),
            Err(NotRead::NotCached(missing)) => {
                reads = missing.next_reads(reads);
                cold.read_in(missing).await;
            }
        }
    }
    partition.read(request)
}

fn found_bytes(results: &[FetchResult]) -> usize {
    results
        .iter()
        .flatten()
        .filter_map(|outcome| outcome.slice.as_ref())
        .map(|slice| slice.len as usize)
        .sum()
}

/// Whether somebody has something to say at once. As in Kafka that is also so where more could be read than one
/// read gives, and where a reader has come from behind what it may see.
fn must_not_wait(targets: &[FetchTarget], results: &[FetchResult], isolation: Isolation) -> bool {
    targets
        .iter()
        .zip(results)
        .any(|(target, result)| match result {
            Ok(outcome) => {
                outcome.diverging.is_some()
                    || outcome.more_readable
                    || target.request.fetch_offset > outcome.bound(isolation)
            }
            Err(_) => true,
        })
}

/// A waiter in its partitions' lists; leaves them when dropped, however the wait ends.
struct Standing<'a> {
    targets: &'a [FetchTarget],
    waiter: Arc<FetchWaiter>,
}

impl<'a> Standing<'a> {
    fn new(
        targets: &'a [FetchTarget],
        results: &[FetchResult],
        params: FetchParams,
        missing: usize,
    ) -> Self {
        let waiter = Arc::new(FetchWaiter::new(missing, params.isolation));
        for (target, result) in targets.iter().zip(results) {
            if let (Ok(partition), Ok(outcome)) = (&target.partition, result) {
                partition.watch(&waiter, outcome);
            }
        }
        Self { targets, waiter }
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        for target in self.targets {
            if let Ok(partition) = &target.partition {
                partition.unwatch(&self.waiter);
            }
        }
    }
}
