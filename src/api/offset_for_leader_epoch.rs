//! OffsetForLeaderEpoch (23), versions 2–4: where a leader epoch ended (KIP-101, KIP-279, KIP-320).
//!
//! v3 names the replica that asks; v4 is flexible. A client uses it to see whether the log was
//! truncated below what it has read.

use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::RequestContext;
use crate::error::ErrorCode;
use crate::security::{Operation, ResourceType};
use crate::types::{LeaderEpoch, Offset, PartitionId};

pub(super) async fn handle(
    ctx: RequestContext,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request
        .topics
        .into_iter()
        .map(|topic| {
            let allowed = ctx.authorize(Operation::Describe, ResourceType::Topic, &topic.topic);
            let partitions = topic
                .partitions
                .iter()
                .map(|asked| {
                    let found = if allowed {
                        end_offset(
                            &ctx,
                            &topic.topic,
                            PartitionId(asked.partition),
                            LeaderEpoch(asked.current_leader_epoch),
                            LeaderEpoch(asked.leader_epoch),
                        )
                    } else {
                        Err(ErrorCode::TopicAuthorizationFailed)
                    };
                    let answer = EpochEndOffset::default().with_partition(asked.partition);
                    match found {
                        Ok((epoch, end)) => {
                            answer.with_leader_epoch(epoch.0).with_end_offset(end.0)
                        }
                        Err(code) => answer.with_error_code(code.code()),
                    }
                })
                .collect();
            OffsetForLeaderTopicResult::default()
                .with_topic(topic.topic)
                .with_partitions(partitions)
        })
        .collect();
    OffsetForLeaderEpochResponse::default().with_topics(topics)
}

fn end_offset(
    ctx: &RequestContext,
    topic: &str,
    partition: PartitionId,
    current: LeaderEpoch,
    wanted: LeaderEpoch,
) -> Result<(LeaderEpoch, Offset), ErrorCode> {
    let partition = ctx.node.partition_by_name(topic, partition)?;
    partition.with_leader_log(current, |view| {
        view.log
            .end_offset_for_epoch(wanted)
            .unwrap_or((LeaderEpoch::UNKNOWN, Offset(-1)))
    })
}
