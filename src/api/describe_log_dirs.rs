//! DescribeLogDirs (35), versions 1–5: the log directories, and what lies in them.
//!
//! v2 flexible; v3 a top-level error; v4 total and usable bytes (KIP-827); v5 whether a directory is
//! cordoned (KIP-1066). A client that may not describe the cluster sees no directory.

use std::collections::{BTreeMap, BTreeSet};

use super::RequestContext;
use crate::error::ErrorCode;
use crate::log::LogDir;
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
        if let Some(future) = partition.future() {
            let (size, end) = future.with_log(|log| (log.size_bytes(), log.log_end_offset()));
            found
                .entry(future.place.dir.path().to_owned())
                .or_default()
                .entry(partition.topic.to_string())
                .or_default()
                .push(DescribeLogDirsPartition {
                    partition_index: partition.index.0,
                    partition_size: i64::try_from(size).unwrap_or(i64::MAX),
                    // How far the copy is behind the log.
                    offset_lag: offsets.log_end.0 - end.0,
                    is_future_key: true,
                    ..Default::default()
                });
        }
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
        .dirs()
        .iter()
        .map(|dir| {
            let topics = found.remove(dir.path()).unwrap_or_default();
            describe(&ctx, dir, topics)
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
    let mut asked: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    for topic in topics {
        let partitions = asked.entry(topic.topic.to_string()).or_default();
        partitions.extend(&topic.partitions);
    }
    Some(asked)
}

fn describe(
    ctx: &RequestContext,
    dir: &LogDir,
    topics: BTreeMap<String, Vec<DescribeLogDirsPartition>>,
) -> DescribeLogDirsResult {
    let path = dir.path();
    let log_dir = StrBytes::from_string(path.display().to_string());
    let Ok(space) = ctx.node.partitions.logs().space(path) else {
        // It is offline, if not before then now.
        return DescribeLogDirsResult {
            error_code: ErrorCode::KafkaStorageError.code(),
            log_dir,
            ..Default::default()
        };
    };
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    DescribeLogDirsResult {
        log_dir,
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
        total_bytes: signed(space.total),
        usable_bytes: signed(space.usable),
        is_cordoned: dir.is_cordoned(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::{context, node};
    use crate::config::BrokerConfig;

    #[tokio::test]
    async fn a_cordoned_directory_is_shown_as_one() {
        let node = node(BrokerConfig::default()).await;
        for (value, shown) in [("", false), ("*", true)] {
            let set = [("cordoned.log.dirs".to_owned(), value.to_owned())].into();
            let config = BrokerConfig::default().with_dynamic(&Default::default(), &set);
            node.partitions.cordon(&config);
            let response = handle(context(&node, 5), DescribeLogDirsRequest::default()).await;
            let cordoned: Vec<bool> = response.results.iter().map(|dir| dir.is_cordoned).collect();
            assert_eq!(cordoned, [shown], "{value}");
        }
    }
}
