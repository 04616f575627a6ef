//! DescribeTopicPartitions (75), version 0 (KIP-966): topics page by page, with their eligible
//! leader replicas.
//!
//! Topics are in the order of their names; a page ends after `response_partition_limit` partitions
//! (at most `max.request.partition.size.limit`) and says where the next begins.

use std::collections::BTreeSet;

use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::RequestContext;
use super::partition_view::{broker_ids, leader, offline_replicas};
use crate::controller::image::MetadataImage;
use crate::controller::topic_image::{PartitionState, TopicImage};
use crate::controller::topics::{is_internal, validate_name};
use crate::error::ErrorCode;
use crate::security::{Operation, ResourceType};
use crate::types::{PartitionId, TopicId};

pub(super) async fn handle(
    ctx: RequestContext,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let Some((names, first_partition)) = page_start(&ctx, &request) else {
        return refuse(&request);
    };
    let has_all = |image: &MetadataImage| names.iter().all(|name| image.topic(name).is_some());
    let image = ctx.node.metadata_with(has_all).await;
    let all = request.topics.is_empty();
    let limit = request
        .response_partition_limit
        .min(ctx.node.config().max_request_partition_size_limit)
        .max(1);
    let mut left = usize::try_from(limit).unwrap_or(1);
    let mut response = DescribeTopicPartitionsResponse::default();
    let mut denied = Vec::new();
    let mut first = first_partition;
    for name in names {
        let start = first.take().filter(|(topic, _)| *topic == name);
        if !ctx.authorize(Operation::Describe, ResourceType::Topic, &name) {
            if !all {
                denied.push(empty_topic(&ctx, ErrorCode::TopicAuthorizationFailed, &name));
            }
            continue;
        }
        if left == 0 {
            response.next_cursor = Some(cursor(&name, 0));
            break;
        }
        let Some(topic) = image.topic(&name) else {
            if !all {
                let code = if validate_name(&name).is_ok() {
                    ErrorCode::UnknownTopicOrPartition
                } else {
                    ErrorCode::InvalidTopicException
                };
                response.topics.push(empty_topic(&ctx, code, &name));
            }
            continue;
        };
        let from = start.map_or(0, |(_, partition)| partition);
        let described = describe(&ctx, &image, topic, from, left);
        let next = from + described.partitions.len();
        left -= described.partitions.len();
        response.topics.push(described);
        if next < topic.partition_count() {
            response.next_cursor = Some(cursor(&name, next));
            break;
        }
    }
    response.topics.extend(denied);
    response
}

type PageStart = (BTreeSet<String>, Option<(String, usize)>);

/// The topics from the cursor on, and the partition to begin with; `None` for a request that
/// contradicts itself.
fn page_start(ctx: &RequestContext, request: &DescribeTopicPartitionsRequest) -> Option<PageStart> {
    let cursor_topic = request.cursor.as_ref().map(|cursor| cursor.topic_name.as_str());
    let from = cursor_topic.unwrap_or("");
    let names: BTreeSet<String> = if request.topics.is_empty() {
        let image = ctx.node.metadata();
        image
            .topics_from(from)
            .map(|topic| topic.name.to_string())
            .collect()
    } else {
        request
            .topics
            .iter()
            .map(|topic| topic.name.to_string())
            .filter(|name| name.as_str() >= from)
            .collect()
    };
    let Some(cursor) = &request.cursor else {
        return Some((names, None));
    };
    let partition = usize::try_from(cursor.partition_index).ok()?;
    if !request.topics.is_empty() && !names.contains(from) {
        return None;
    }
    Some((names, Some((from.to_owned(), partition))))
}

fn refuse(request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    DescribeTopicPartitionsResponse::default().with_topics(
        request
            .topics
            .iter()
            .map(|topic| {
                DescribeTopicPartitionsResponseTopic::default()
                    .with_error_code(ErrorCode::InvalidRequest.code())
                    .with_name(Some(topic.name.clone()))
            })
            .collect(),
    )
}

fn cursor(topic: &str, partition: usize) -> Cursor {
    Cursor::default()
        .with_topic_name(topic_name(topic))
        .with_partition_index(i32::try_from(partition).unwrap_or(i32::MAX))
}

fn empty_topic(
    ctx: &RequestContext,
    code: ErrorCode,
    name: &str,
) -> DescribeTopicPartitionsResponseTopic {
    let operations = if code == ErrorCode::TopicAuthorizationFailed {
        i32::MIN
    } else {
        ctx.authorized_operations(ResourceType::Topic, name)
    };
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(code.code())
        .with_name(Some(topic_name(name)))
        .with_topic_id(TopicId::ZERO.0)
        .with_is_internal(is_internal(name))
        .with_topic_authorized_operations(operations)
}

fn describe(
    ctx: &RequestContext,
    image: &MetadataImage,
    topic: &TopicImage,
    from: usize,
    limit: usize,
) -> DescribeTopicPartitionsResponseTopic {
    let partitions = topic
        .partitions()
        .skip(from)
        .take(limit)
        .map(|(index, state)| describe_partition(ctx, image, index, state))
        .collect();
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(topic_name(&topic.name)))
        .with_topic_id(topic.id.0)
        .with_is_internal(is_internal(&topic.name))
        .with_partitions(partitions)
        .with_topic_authorized_operations(
            ctx.authorized_operations(ResourceType::Topic, &topic.name),
        )
}

fn describe_partition(
    ctx: &RequestContext,
    image: &MetadataImage,
    index: PartitionId,
    state: &PartitionState,
) -> DescribeTopicPartitionsResponsePartition {
    let leader_id = leader(image, state, &ctx.listener).map_or(-1, |leader| leader.0);
    DescribeTopicPartitionsResponsePartition::default()
        .with_partition_index(index.0)
        .with_leader_id(BrokerId(leader_id))
        .with_leader_epoch(state.leader_epoch.0)
        .with_replica_nodes(broker_ids(&state.replicas))
        .with_isr_nodes(broker_ids(&state.isr))
        .with_eligible_leader_replicas(Some(broker_ids(state.elr())))
        .with_last_known_elr(Some(broker_ids(state.last_known_elr())))
        .with_offline_replicas(offline_replicas(image, state, &ctx.listener))
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}
