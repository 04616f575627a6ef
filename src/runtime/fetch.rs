//! Carries a fetch out: reads what is there, and waits for more when that is too little.
//!
//! A fetch is answered at once when it asked for no wait, when it found `min_bytes`, or when a
//! partition has something to say that must not wait (an error, a diverging epoch). Otherwise it
//! stands in the lists of its partitions until enough bytes are readable or its time is over, and
//! then reads again, once.

use std::sync::Arc;
use std::time::Duration;

use super::fetch_waiter::FetchWaiter;
use super::partition::{Isolation, Partition, ReadOutcome, ReadRequest};
use crate::error::ErrorCode;
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

pub async fn fetch(targets: &[FetchTarget], params: FetchParams) -> Vec<FetchResult> {
    let results = read_all(targets, params);
    let found = found_bytes(&results);
    if targets.is_empty()
        || params.max_wait.is_zero()
        || found >= params.min_bytes
        || results.iter().any(must_not_wait)
    {
        return results;
    }
    {
        let standing = Standing::new(targets, &results, params.min_bytes - found);
        // Whichever comes first: both lead to the same second read.
        let _ = tokio::time::timeout(params.max_wait, standing.waiter.wait()).await;
    }
    drop(results);
    read_all(targets, params)
}

fn read_all(targets: &[FetchTarget], params: FetchParams) -> Vec<FetchResult> {
    let mut left = params.max_bytes;
    let mut found_any = false;
    targets
        .iter()
        .map(|target| {
            let partition = target.partition.as_ref().map_err(|code| *code)?;
            let wanted = usize::try_from(target.request.max_bytes).unwrap_or(0);
            let outcome = partition.read(ReadRequest {
                offset: target.request.fetch_offset,
                max_bytes: wanted.min(left),
                min_one_batch: !found_any,
                isolation: params.isolation,
                current_leader_epoch: target.request.current_leader_epoch,
                last_fetched_epoch: target.request.last_fetched_epoch,
            })?;
            if let Some(slice) = &outcome.slice {
                found_any = true;
                left = left.saturating_sub(slice.len as usize);
            }
            Ok(outcome)
        })
        .collect()
}

fn found_bytes(results: &[FetchResult]) -> usize {
    results
        .iter()
        .flatten()
        .filter_map(|outcome| outcome.slice.as_ref())
        .map(|slice| slice.len as usize)
        .sum()
}

fn must_not_wait(result: &FetchResult) -> bool {
    match result {
        Ok(outcome) => outcome.diverging.is_some(),
        Err(_) => true,
    }
}

/// A waiter in its partitions' lists; leaves them when dropped, however the wait ends.
struct Standing<'a> {
    targets: &'a [FetchTarget],
    waiter: Arc<FetchWaiter>,
}

impl<'a> Standing<'a> {
    fn new(targets: &'a [FetchTarget], results: &[FetchResult], missing: usize) -> Self {
        let waiter = Arc::new(FetchWaiter::new(missing));
        for (target, result) in targets.iter().zip(results) {
            if let (Ok(partition), Ok(outcome)) = (&target.partition, result) {
                partition.watch(&waiter, outcome.high_watermark);
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
