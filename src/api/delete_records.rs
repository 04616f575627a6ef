//! DeleteRecords (21), versions 0–2 (KIP-107): moves the log start offset up.
//!
//! v2 is flexible. Offset -1 means the high watermark. The reply waits until every replica has moved
//! its log start offset; on one replica that is at once. Segments that fall below it whole are
//! removed by retention.

use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use super::RequestContext;
use crate::controller::topics::is_internal;
use crate::error::ErrorCode;
use crate::security::{Operation, ResourceType};
use crate::types::{LeaderEpoch, Offset, PartitionId};

/// In a request: up to the high watermark.
const HIGH_WATERMARK: i64 = -1;
/// In a reply: unknown.
const INVALID_LOW_WATERMARK: i64 = -1;

pub(super) async fn handle(
    ctx: RequestContext,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let topics = request
        .topics
        .into_iter()
        .map(|topic| {
            let allowed = may_delete(&ctx, &topic.name);
            let partitions = topic
                .partitions
                .iter()
                .map(|asked| {
                    let index = PartitionId(asked.partition_index);
                    let deleted =
                        allowed.and_then(|()| delete(&ctx, &topic.name, index, asked.offset));
                    let answer =
                        DeleteRecordsPartitionResult::default().with_partition_index(index.0);
                    match deleted {
                        Ok(low_watermark) => answer.with_low_watermark(low_watermark.0),
                        Err(code) => answer
                            .with_low_watermark(INVALID_LOW_WATERMARK)
                            .with_error_code(code.code()),
                    }
                })
                .collect();
            DeleteRecordsTopicResult::default()
                .with_name(topic.name)
                .with_partitions(partitions)
        })
        .collect();
    DeleteRecordsResponse::default().with_topics(topics)
}

fn may_delete(ctx: &RequestContext, topic: &str) -> Result<(), ErrorCode> {
    if !ctx.authorize(Operation::Delete, ResourceType::Topic, topic) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    if ctx.node.metadata().topic(topic).is_none() {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    Ok(())
}

fn delete(
    ctx: &RequestContext,
    topic: &str,
    partition: PartitionId,
    before: i64,
) -> Result<Offset, ErrorCode> {
    let partition = ctx.node.partition_by_name(topic, partition)?;
    if is_internal(topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    // Compacted only: nothing may be cut off, or the latest value of a key would be.
    if !partition.config().cleanup_policy.delete {
        return Err(ErrorCode::PolicyViolation);
    }
    partition.with_leader_log(LeaderEpoch::UNKNOWN, |view| {
        let before = match before {
            HIGH_WATERMARK => view.high_watermark,
            offset => Offset(offset),
        };
        if before.0 < 0 || before > view.high_watermark {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        view.log
            .delete_records_before(before)
            .map_err(|_| ErrorCode::KafkaStorageError)?;
        Ok(view.log.log_start_offset())
    })?
}
