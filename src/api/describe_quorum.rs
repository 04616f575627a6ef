//! DescribeQuorum (55), versions 0–2 (KIP-595, KIP-836, KIP-853): the ensemble under the metadata, as its leader
//! sees it. Any node answers: it asks the leader.
//!
//! The offsets are zxids: the epoch in the high half, the counter in the low. They grow as offsets do, but not by
//! one where an epoch begins.

use kafka_protocol::messages::describe_quorum_response::{
    Listener, Node as QuorumNode, PartitionData, ReplicaState, TopicData,
};
use kafka_protocol::messages::{BrokerId, DescribeQuorumRequest, DescribeQuorumResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::RequestContext;
use crate::error::ErrorCode;
use crate::runtime::zab_peer::{Quorum, QuorumMember};
use crate::security::authorizer::CLUSTER;
use crate::security::{Operation, ResourceType};
use crate::types::{TimestampMs, Zxid};

/// KRaft's own topic: its name stays forbidden, so that nothing takes it for one.
pub(super) const METADATA_TOPIC: &str = "__cluster_metadata";
/// Under which the tools look for a voter's address.
pub(super) const LISTENER: &str = "CONTROLLER";

pub(super) async fn handle(
    ctx: RequestContext,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    if !ctx.authorize(Operation::Describe, ResourceType::Cluster, CLUSTER) {
        return DescribeQuorumResponse::default()
            .with_error_code(ErrorCode::ClusterAuthorizationFailed.code());
    }
    if !asks_for_metadata(&request) {
        return in_version(ctx.version, unknown(&request));
    }
    let response = match ctx.node.describe_quorum().await {
        Ok(quorum) => describe(&quorum, ctx.node.now()),
        Err(error) => DescribeQuorumResponse::default()
            .with_error_code(error.error.code())
            .with_error_message(super::submit::message(error)),
    };
    in_version(ctx.version, response)
}

/// Without what the version cannot say and the codec does not drop by itself.
fn in_version(version: i16, mut response: DescribeQuorumResponse) -> DescribeQuorumResponse {
    if version >= 2 {
        return response;
    }
    response.nodes.clear();
    let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    for partition in partitions {
        let replicas = partition.current_voters.iter_mut().chain(&mut partition.observers);
        for replica in replicas {
            replica.replica_directory_id = Uuid::nil();
        }
    }
    response
}

/// And for nothing else.
fn asks_for_metadata(request: &DescribeQuorumRequest) -> bool {
    let [topic] = request.topics.as_slice() else {
        return false;
    };
    let [partition] = topic.partitions.as_slice() else {
        return false;
    };
    topic.topic_name.as_str() == METADATA_TOPIC && partition.partition_index == 0
}

/// There is one such partition.
fn unknown(request: &DescribeQuorumRequest) -> DescribeQuorumResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            PartitionData::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(ErrorCode::UnknownTopicOrPartition.code())
                .with_error_message(Some(StrBytes::from_static_str(
                    "This server does not host this topic-partition.",
                )))
        });
        TopicData::default()
            .with_topic_name(topic.topic_name.clone())
            .with_partitions(partitions.collect())
    });
    DescribeQuorumResponse::default().with_topics(topics.collect())
}

fn describe(quorum: &Quorum, now: TimestampMs) -> DescribeQuorumResponse {
    let members = |voters: bool| {
        let members = quorum.members.iter();
        let members = members.filter(move |member| member.is_voter == voters);
        members.map(|member| replica(quorum, member, now)).collect()
    };
    let partition = PartitionData::default()
        .with_leader_id(BrokerId(quorum.leader.0))
        .with_leader_epoch(i32::try_from(quorum.epoch).unwrap_or(i32::MAX))
        .with_high_watermark(offset(quorum.committed))
        .with_current_voters(members(true))
        .with_observers(members(false));
    let topic = TopicData::default()
        .with_topic_name(TopicName(StrBytes::from_static_str(METADATA_TOPIC)))
        .with_partitions(vec![partition]);
    let nodes = quorum.members.iter().filter(|member| member.is_voter);
    let nodes = nodes.map(|member| {
        let listener = Listener::default()
            .with_name(StrBytes::from_static_str(LISTENER))
            .with_host(StrBytes::from_string(member.host.clone()))
            .with_port(member.port);
        QuorumNode::default()
            .with_node_id(BrokerId(member.node.0))
            .with_listeners(vec![listener])
    });
    DescribeQuorumResponse::default()
        .with_topics(vec![topic])
        .with_nodes(nodes.collect())
}

fn replica(quorum: &Quorum, member: &QuorumMember, now: TimestampMs) -> ReplicaState {
    let leads = member.node == quorum.leader;
    let heard = member
        .silent_ms
        .map(|ms| now.0 - i64::try_from(ms).unwrap_or(0));
    let caught_up = heard.filter(|_| member.is_up_to_date);
    ReplicaState::default()
        .with_replica_id(BrokerId(member.node.0))
        .with_replica_directory_id(member.directory)
        .with_log_end_offset(member.durable.map_or(-1, offset))
        // As Kafka has it: a leader fetches from nobody.
        .with_last_fetch_timestamp(heard.filter(|_| !leads).unwrap_or(-1))
        .with_last_caught_up_timestamp(caught_up.unwrap_or(-1))
}

fn offset(zxid: Zxid) -> i64 {
    i64::try_from(zxid.0).unwrap_or(i64::MAX)
}
