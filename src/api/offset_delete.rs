//! OffsetDelete (47), version 0 (KIP-496): a group forgets where it was in some partitions.
//!
//! Not in topics that one of its consumers is subscribed to (GROUP_SUBSCRIBED_TO_TOPIC), and not at all
//! while a group of another kind has members. As Apache Kafka 4.4.0.

use std::sync::Arc;

use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::RequestContext;
use super::group_text::{check_group, shared};
use crate::error::ErrorCode;
use crate::group::command::{OffsetDelete, OffsetDeleteReply, Reply, Request};
use crate::security::{Operation, ResourceType};
use crate::types::PartitionId;

pub(super) async fn handle(
    ctx: RequestContext,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let group_id = shared(&request.group_id);
    if let Err(error) = check_group(&ctx, Operation::Delete, &group_id) {
        return OffsetDeleteResponse::default().with_error_code(error.code());
    }
    let checked = check(&ctx, &request);
    let delete = Request::OffsetDelete(OffsetDelete {
        group_id: group_id.clone(),
        topics: checked
            .iter()
            .map(|(topic, partitions)| {
                let good = partitions.iter().filter(|(_, error)| error.is_none());
                (topic.clone(), good.map(|(index, _)| *index).collect())
            })
            .filter(|(_, partitions): &(_, Vec<i32>)| !partitions.is_empty())
            .collect(),
    });
    match ctx.node.groups.request(&group_id, delete).await {
        Reply::OffsetDelete(reply) => answer(checked, &reply),
        _ => OffsetDeleteResponse::default().with_error_code(ErrorCode::UnknownServerError.code()),
    }
}

/// The partitions of a topic, with what is wrong with them before the group is asked.
type Checked = Vec<(Arc<str>, Vec<(i32, Option<ErrorCode>)>)>;

fn check(ctx: &RequestContext, request: &OffsetDeleteRequest) -> Checked {
    let image = ctx.node.metadata();
    let topics = request.topics.iter().map(|topic| {
        let allowed = ctx.authorize(Operation::Read, ResourceType::Topic, &topic.name);
        let partitions = topic.partitions.iter().map(|partition| {
            let index = partition.partition_index;
            let known = image.partition(&topic.name, PartitionId(index)).is_some();
            let error = match (allowed, known) {
                (false, _) => Some(ErrorCode::TopicAuthorizationFailed),
                (true, false) => Some(ErrorCode::UnknownTopicOrPartition),
                (true, true) => None,
            };
            (index, error)
        });
        (shared(&topic.name), partitions.collect())
    });
    topics.collect()
}

fn answer(checked: Checked, reply: &OffsetDeleteReply) -> OffsetDeleteResponse {
    if reply.error.is_error() {
        return OffsetDeleteResponse::default().with_error_code(reply.error.code());
    }
    // In the order they were sent in.
    let mut answered = reply
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|(_, error)| *error));
    let topics = checked.into_iter().map(|(topic, partitions)| {
        let partitions = partitions.into_iter().map(|(index, error)| {
            let error = error
                .or_else(|| answered.next())
                .unwrap_or(ErrorCode::UnknownServerError);
            OffsetDeleteResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(error.code())
        });
        OffsetDeleteResponseTopic::default()
            .with_name(super::group_text::wire(&topic).into())
            .with_partitions(partitions.collect())
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::command::OffsetDeleteTopicReply;

    #[test]
    fn what_was_wrong_before_and_after_comes_in_the_order_of_the_request() {
        let checked: Checked = vec![
            (
                "t".into(),
                vec![
                    (0, None),
                    (9, Some(ErrorCode::UnknownTopicOrPartition)),
                    (1, None),
                ],
            ),
            ("u".into(), vec![(0, None)]),
        ];
        let reply = OffsetDeleteReply {
            error: ErrorCode::None,
            topics: vec![
                OffsetDeleteTopicReply {
                    name: "t".into(),
                    partitions: vec![(0, ErrorCode::None), (1, ErrorCode::None)],
                },
                OffsetDeleteTopicReply {
                    name: "u".into(),
                    partitions: vec![(0, ErrorCode::GroupSubscribedToTopic)],
                },
            ],
        };
        let response = answer(checked.clone(), &reply);
        let errors: Vec<i16> = response
            .topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|p| p.error_code))
            .collect();
        assert_eq!(errors, [0, 3, 0, 86]);
        let failed = OffsetDeleteReply {
            error: ErrorCode::NonEmptyGroup,
            topics: Vec::new(),
        };
        let response = answer(checked, &failed);
        assert_eq!((response.error_code, response.topics.len()), (68, 0));
    }
}
