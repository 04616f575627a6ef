//! DescribeProducers (61), version 0 (KIP-664): the producers that partitions know, and their open transactions.
//!
//! Answered out of the partition's own log, whether it leads or follows: nobody else is asked. As in Kafka the order
//! of the producers means nothing.

use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse};

use super::RequestContext;
use crate::controller::topics::validate_name;
use crate::error::ErrorCode;
use crate::protocol::messages::StrBytes;
use crate::security::{Operation, ResourceType};
use crate::types::PartitionId;

/// A code and what is said with it.
type Refusal = (ErrorCode, Option<StrBytes>);

pub(super) async fn handle(
    ctx: RequestContext,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request
        .topics
        .into_iter()
        .map(|topic| {
            let allowed = may_describe(&ctx, &topic.name);
            let partitions = topic
                .partition_indexes
                .iter()
                .map(|index| {
                    let found = allowed
                        .clone()
                        .and_then(|()| producers(&ctx, &topic.name, PartitionId(*index)));
                    let answer = PartitionResponse::default().with_partition_index(*index);
                    match found {
                        Ok(producers) => answer.with_active_producers(producers),
                        Err((code, message)) => answer
                            .with_error_code(code.code())
                            .with_error_message(message),
                    }
                })
                .collect();
            TopicResponse::default()
                .with_name(topic.name)
                .with_partitions(partitions)
        })
        .collect();
    DescribeProducersResponse::default().with_topics(topics)
}

fn may_describe(ctx: &RequestContext, topic: &str) -> Result<(), Refusal> {
    let refusal = |code, message| Err((code, Some(StrBytes::from_static_str(message))));
    if let Err(error) = validate_name(topic) {
        return Err((error.error, error.message.map(StrBytes::from_string)));
    }
    if !ctx.authorize(Operation::Read, ResourceType::Topic, topic) {
        return refusal(
            ErrorCode::TopicAuthorizationFailed,
            "Topic authorization failed.",
        );
    }
    if ctx.node.metadata().topic(topic).is_none() {
        return refusal(
            ErrorCode::UnknownTopicOrPartition,
            "This server does not host this topic-partition.",
        );
    }
    Ok(())
}

fn producers(
    ctx: &RequestContext,
    topic: &str,
    index: PartitionId,
) -> Result<Vec<ProducerState>, Refusal> {
    let known = ctx
        .node
        .partition_by_name(topic, index)
        .and_then(|partition| partition.producers())
        .map_err(|code| (code, None))?;
    let described = known.into_iter().map(|(id, entry)| {
        let last_sequence = entry.batches.back().map_or(-1, |last| last.last_sequence);
        let open = entry.current_txn_first_offset;
        ProducerState::default()
            .with_producer_id(id.0.into())
            .with_producer_epoch(i32::from(entry.epoch.0))
            .with_last_sequence(last_sequence)
            .with_last_timestamp(entry.last_timestamp.0)
            .with_coordinator_epoch(entry.coordinator_epoch)
            .with_current_txn_start_offset(open.map_or(-1, |offset| offset.0))
    });
    Ok(described.collect())
}
