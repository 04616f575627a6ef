//! AlterReplicaLogDirs (34), versions 1–2: moves replicas between the log directories of this broker (KIP-113).
//!
//! v2 flexible. A replica that is not here yet will be made in the directory asked for, and is answered
//! REPLICA_NOT_AVAILABLE; a directory that is cordoned (KIP-1066) INVALID_REPLICA_ASSIGNMENT. The move itself goes on after the reply: DescribeLogDirs shows how far it is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kafka_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use kafka_protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, TopicName};

use super::RequestContext;
use crate::error::ErrorCode;
use crate::protocol::messages::StrBytes;
use crate::security::authorizer::CLUSTER;
use crate::security::{Operation, ResourceType};
use crate::types::TopicPartition;

pub(super) async fn handle(
    ctx: RequestContext,
    request: AlterReplicaLogDirsRequest,
) -> AlterReplicaLogDirsResponse {
    let allowed = ctx.authorize(Operation::Alter, ResourceType::Cluster, CLUSTER);
    // Asked for twice, the last word counts.
    let mut wanted: BTreeMap<TopicPartition, PathBuf> = BTreeMap::new();
    for dir in &request.dirs {
        for topic in &dir.topics {
            for partition in &topic.partitions {
                let name = TopicPartition::new(topic.name.as_str(), *partition);
                wanted.insert(name, PathBuf::from(dir.path.as_str()));
            }
        }
    }
    let mut topics: BTreeMap<String, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
    for (name, dir) in wanted {
        let outcome = if allowed {
            alter(&ctx, &name, &dir)
        } else {
            Err(ErrorCode::ClusterAuthorizationFailed)
        };
        if let Err(error) = &outcome {
            tracing::warn!(partition = %name, dir = %dir.display(), %error, "a log is not moved");
        }
        let result = AlterReplicaLogDirPartitionResult::default()
            .with_partition_index(name.partition.0)
            .with_error_code(outcome.err().unwrap_or(ErrorCode::None).code());
        topics.entry(name.topic.to_string()).or_default().push(result);
    }
    let results = topics.into_iter().map(|(name, partitions)| {
        AlterReplicaLogDirTopicResult::default()
            .with_topic_name(TopicName(StrBytes::from_string(name)))
            .with_partitions(partitions)
    });
    AlterReplicaLogDirsResponse::default().with_results(results.collect())
}

fn alter(ctx: &RequestContext, name: &TopicPartition, dir: &std::path::Path) -> Result<(), ErrorCode> {
    let moved = ctx.node.partitions.alter_log_dir(name, dir, ctx.node.now());
    moved.map_err(|code| match (code, ctx.node.metadata().partition(&name.topic, name.partition)) {
        (ErrorCode::UnknownTopicOrPartition, Some(_)) => ErrorCode::ReplicaNotAvailable,
        (code, _) => code,
    })
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::alter_replica_log_dirs_request::{
        AlterReplicaLogDir, AlterReplicaLogDirTopic,
    };

    use super::*;
    use crate::api::testing::{check_encodes, context, node};
    use crate::config::BrokerConfig;
    use crate::controller::command::{Command, CreateTopics, Reply};
    use crate::controller::testing::topic;

    fn asked(dirs: &[(&str, &str, &[i32])]) -> AlterReplicaLogDirsRequest {
        let dirs = dirs.iter().map(|(path, topic, partitions)| {
            let topic = AlterReplicaLogDirTopic::default()
                .with_name(TopicName(StrBytes::from_string((*topic).to_owned())))
                .with_partitions(partitions.to_vec());
            AlterReplicaLogDir::default()
                .with_path(StrBytes::from_string((*path).to_owned()))
                .with_topics(vec![topic])
        });
        AlterReplicaLogDirsRequest::default().with_dirs(dirs.collect())
    }

    #[tokio::test]
    async fn each_partition_is_answered_by_itself() {
        let node = node(BrokerConfig::default()).await;
        let command = Command::CreateTopics(CreateTopics {
            topics: vec![topic("t", 1, 1)],
            validate_only: false,
        });
        let Ok(Reply::CreateTopics(made)) = node.submit(command).await else {
            panic!("no topic");
        };
        assert!(made.iter().all(Result::is_ok));
        let request = asked(&[
            ("/elsewhere", "t", &[0]),
            ("/data", "t", &[0, 1]),
            ("/elsewhere", "u", &[0]),
            ("/data", "u", &[1]),
        ]);
        let response = handle(context(&node, 2), request).await;
        let codes: Vec<_> = response
            .results
            .iter()
            .flat_map(|topic| {
                let name = topic.topic_name.to_string();
                let partitions = topic.partitions.iter();
                partitions.map(move |p| (name.clone(), p.partition_index, p.error_code))
            })
            .collect();
        let code = ErrorCode::code;
        let unknown = code(ErrorCode::UnknownTopicOrPartition);
        assert_eq!(
            codes,
            [
                ("t".into(), 0, 0),
                ("t".into(), 1, unknown),
                ("u".into(), 0, code(ErrorCode::LogDirNotFound)),
                ("u".into(), 1, unknown),
            ]
        );
        for version in 1..=2 {
            check_encodes(&response, version);
        }
    }
}
