//! OffsetCommit (8), versions 2–10: a group, or somebody in its name, says how far it has got.
//!
//! v2–4 a retention time of the commit's own; v6 leader epochs (KIP-320); v7 static members (KIP-345); v8
//! flexible; v9 a group that is not there is GROUP_ID_NOT_FOUND (KIP-848); v10 topic ids (KIP-848).
//! The reply comes when the offsets are stored. As Apache Kafka 4.4.0.

use std::sync::Arc;

use super::RequestContext;
use super::group_text::{shared, shared_option, wire};
use crate::controller::image::MetadataImage;
use crate::error::ErrorCode;
use crate::group::command::{
    OffsetCommit, OffsetCommitPartition, OffsetCommitTopic, Reply, Request,
};
use crate::protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use crate::protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use crate::security::{Operation, ResourceType};
use crate::types::{LeaderEpoch, Offset, PartitionId, TopicId};

/// A topic of the request, with what is wrong with its partitions before the group is asked.
#[derive(Debug)]
struct CheckedTopic {
    name: Arc<str>,
    id: TopicId,
    partitions: Vec<(i32, Option<ErrorCode>)>,
}

pub(super) async fn handle(
    ctx: RequestContext,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let group_id = shared(&request.group_id);
    let allowed = ctx.authorize(Operation::Read, ResourceType::Group, &group_id);
    let image = ctx.node.metadata();
    let mut checked = Vec::with_capacity(request.topics.len());
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let answer = match allowed {
            true => check(&ctx, &image, topic),
            false => fail(topic, ErrorCode::GroupAuthorizationFailed),
        };
        let good = translate(topic, &answer);
        if !good.partitions.is_empty() {
            topics.push(good);
        }
        checked.push(answer);
    }
    if topics.is_empty() {
        return answer(checked, std::iter::empty(), ctx.version);
    }
    let commit = Request::OffsetCommit(OffsetCommit {
        group_id: group_id.clone(),
        generation: request.generation_id_or_member_epoch,
        member_id: shared(&request.member_id),
        group_instance_id: shared_option(request.group_instance_id.as_ref()),
        retention_time_ms: request.retention_time_ms,
        topics,
        supports_group_id_not_found: ctx.version >= 9,
    });
    let replies = match ctx.node.groups.request(&group_id, commit).await {
        Reply::OffsetCommit(replies) => replies,
        _ => Vec::new(),
    };
    let errors = replies.into_iter().flat_map(|topic| topic.partitions);
    answer(checked, errors.map(|(_, error)| error), ctx.version)
}

fn fail(topic: &OffsetCommitRequestTopic, error: ErrorCode) -> CheckedTopic {
    CheckedTopic {
        name: shared(&topic.name),
        id: TopicId(topic.topic_id),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| (partition.partition_index, Some(error)))
            .collect(),
    }
}

fn check(
    ctx: &RequestContext,
    image: &MetadataImage,
    topic: &OffsetCommitRequestTopic,
) -> CheckedTopic {
    let found = match ctx.version {
        ..=9 => image.topic(&topic.name),
        _ => image.topic_by_id(TopicId(topic.topic_id)),
    };
    let name = match (found, ctx.version) {
        (Some(found), _) => Arc::clone(&found.name),
        (None, ..=9) => shared(&topic.name),
        (None, _) => return fail(topic, ErrorCode::UnknownTopicId),
    };
    if !ctx.authorize(Operation::Read, ResourceType::Topic, &name) {
        return fail(topic, ErrorCode::TopicAuthorizationFailed);
    }
    let Some(found) = found else {
        return fail(topic, ErrorCode::UnknownTopicOrPartition);
    };
    let partitions = topic.partitions.iter().map(|partition| {
        let index = partition.partition_index;
        let known = found.partition(PartitionId(index)).is_some();
        let error = (!known).then_some(ErrorCode::UnknownTopicOrPartition);
        (index, error)
    });
    CheckedTopic {
        name,
        id: found.id,
        partitions: partitions.collect(),
    }
}

/// What of the topic is good.
fn translate(topic: &OffsetCommitRequestTopic, checked: &CheckedTopic) -> OffsetCommitTopic {
    let partitions = topic
        .partitions
        .iter()
        .zip(&checked.partitions)
        .filter(|(_, (_, error))| error.is_none())
        .map(|(partition, _)| OffsetCommitPartition {
            partition: partition.partition_index,
            offset: Offset(partition.committed_offset),
            leader_epoch: LeaderEpoch(partition.committed_leader_epoch),
            metadata: shared_option(partition.committed_metadata.as_ref())
                .unwrap_or_else(|| "".into()),
        });
    OffsetCommitTopic {
        name: Arc::clone(&checked.name),
        topic_id: checked.id,
        partitions: partitions.collect(),
    }
}

/// `errors` are the group's, of the partitions that were good so far, in order.
fn answer(
    checked: Vec<CheckedTopic>,
    mut errors: impl Iterator<Item = ErrorCode>,
    version: i16,
) -> OffsetCommitResponse {
    let topics = checked.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|(index, error)| {
            let error = error
                .or_else(|| errors.next())
                .unwrap_or(ErrorCode::UnknownServerError);
            OffsetCommitResponsePartition {
                partition_index: index,
                error_code: error.code(),
                ..OffsetCommitResponsePartition::default()
            }
        });
        let mut answered = OffsetCommitResponseTopic {
            partitions: partitions.collect(),
            ..OffsetCommitResponseTopic::default()
        };
        match version {
            ..=9 => answered.name = wire(&topic.name).into(),
            _ => answered.topic_id = topic.id.0,
        }
        answered
    });
    OffsetCommitResponse {
        topics: topics.collect(),
        ..OffsetCommitResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::protocol::{Decodable, Encodable};
    use uuid::Uuid;

    use super::*;
    use crate::protocol::messages::offset_commit_request::OffsetCommitRequestPartition;

    #[test]
    fn errors_of_both_kinds_come_in_the_order_of_the_request() {
        let partitions = (0..3).map(|index| OffsetCommitRequestPartition {
            partition_index: index,
            committed_offset: i64::from(index) + 10,
            ..OffsetCommitRequestPartition::default()
        });
        let topic = OffsetCommitRequestTopic {
            name: wire("t").into(),
            partitions: partitions.collect(),
            ..OffsetCommitRequestTopic::default()
        };
        for version in 2..=10 {
            let checked = CheckedTopic {
                name: "t".into(),
                id: TopicId(Uuid::from_u128(7)),
                partitions: vec![
                    (0, None),
                    (1, Some(ErrorCode::UnknownTopicOrPartition)),
                    (2, None),
                ],
            };
            let good = translate(&topic, &checked);
            let offsets: Vec<i64> = good.partitions.iter().map(|p| p.offset.0).collect();
            assert_eq!(offsets, [10, 12]);
            assert_eq!(&*good.partitions[0].metadata, "");
            assert_eq!(good.partitions[0].leader_epoch, LeaderEpoch::UNKNOWN);
            let errors = [ErrorCode::None, ErrorCode::OffsetMetadataTooLarge];
            let response = answer(vec![checked], errors.into_iter(), version);
            let codes: Vec<i16> = response.topics[0]
                .partitions
                .iter()
                .map(|partition| partition.error_code)
                .collect();
            assert_eq!(codes, [0, 3, 12]);
            let mut bytes = BytesMut::new();
            response.encode(&mut bytes, version).unwrap();
            let back = OffsetCommitResponse::decode(&mut bytes.freeze(), version).unwrap();
            assert_eq!(back, response, "v{version}");
        }
    }
}
