//! DescribeLogDirs (35), versions 1–5: the log directories, and what lies in them.
//!
//! v2 flexible; v3 a top-level error; v4 total and usable bytes (KIP-827); v5 whether a directory is
//! cordoned (KIP-1066): none is here. A client that may not describe the cluster sees no directory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::RequestContext;
use crate::error::ErrorCode;
use crate::protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use crate::protocol::messages::{
    DescribeLogDirsRequest, DescribeLogDirsResponse, StrBytes, TopicName,
};
use crate::security::authorizer::CLUSTER;
use crate::security::{Operation, ResourceType};

pub(super) async fn handle(
    ctx: RequestContext,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    if !ctx.authorize(Operation::Describe, ResourceType::Cluster, CLUSTER) {
        return DescribeLogDirsResponse {
            error_code: ErrorCode::ClusterAuthorizationFailed.code(),
            ..Default::default()
        };
    }
    let asked = asked(&request);
    let wanted = |topic: &str, partition: i32| match &asked {
        None => true,
        Some(asked) => asked
            .get(topic)
            .is_some_and(|partitions| partitions.contains(&partition)),
    };
    let mut found: BTreeMap<_, BTreeMap<_, Vec<_>>> = BTreeMap::new();
    for partition in ctx.node.partitions.all() {
        if !wanted(&partition.topic, partition.index.0) {
            continue;
        }
        let offsets = partition.offsets();
        found
            .entry(partition.with_log(|log| log.parent_directory().to_owned()))
            .or_default()
            .entry(partition.topic.to_string())
            .or_default()
            .push(DescribeLogDirsPartition {
                partition_index: partition.index.0,
                partition_size: i64::try_from(offsets.size_bytes).unwrap_or(i64::MAX),
                // How far the log is behind its high watermark: a leader never is.
                offset_lag: (offsets.high_watermark.0 - offsets.log_end.0).max(0),
                ..Default::default()
            });
    }
    let results = ctx
        .node
        .partitions
        .logs()
        .directories()
        .into_iter()
        .map(|dir| {
            let topics = found.remove(&dir).unwrap_or_default();
            describe(&ctx, &dir, topics)
        })
        .collect();
    DescribeLogDirsResponse {
        results,
        ..Default::default()
    }
}

/// `None`: everything.
fn asked(request: &DescribeLogDirsRequest) -> Option<BTreeMap<String, BTreeSet<i32>>> {
    let topics = request.topics.as_ref()?;
    Some(
        topics
            .iter()
            .map(|topic| {
                let partitions = topic.partitions.iter().copied().collect();
                (topic.topic.to_string(), partitions)
            })
            .collect(),
    )
}

fn describe(
    ctx: &RequestContext,
    dir: &Path,
    topics: BTreeMap<String, Vec<DescribeLogDirsPartition>>,
) -> DescribeLogDirsResult {
    let (error, space) = match ctx.node.partitions.logs().space(dir) {
        Ok(space) => (ErrorCode::None, Some(space)),
        Err(error) => {
            tracing::warn!(dir = %dir.display(), %error, "the space in a log directory is not known");
            (ErrorCode::KafkaStorageError, None)
        }
    };
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    DescribeLogDirsResult {
        error_code: error.code(),
        log_dir: StrBytes::from_string(dir.display().to_string()),
        topics: topics
            .into_iter()
            .map(|(name, mut partitions)| {
                partitions.sort_by_key(|partition| partition.partition_index);
                DescribeLogDirsTopic {
                    name: TopicName(StrBytes::from_string(name)),
                    partitions,
                    ..Default::default()
                }
            })
            .collect(),
        total_bytes: space.map_or(-1, |space| signed(space.total)),
        usable_bytes: space.map_or(-1, |space| signed(space.usable)),
        ..Default::default()
    }
}
