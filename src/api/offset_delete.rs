//! OffsetDelete (47), version 0 (KIP-496): a group forgets where it was in some partitions.
//!
//! Not in topics that one of its consumers is subscribed to (GROUP_SUBSCRIBED_TO_TOPIC), and not at all
//! while a group of another kind has members. As Apache Kafka 4.4.0.

use std::sync::Arc;

use kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::RequestContext;
use super::group_text::{check_group, shared, wire};
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
    let mut refused = Answers::new();
    let topics = request
        .topics
        .iter()
        .map(|topic| (shared(&topic.name), check(&ctx, topic, &mut refused)))
        .filter(|(_, partitions)| !partitions.is_empty())
        .collect();
    let delete = Request::OffsetDelete(OffsetDelete {
        group_id: group_id.clone(),
        topics,
    });
    match ctx.node.groups.request(&group_id, delete).await {
        Reply::OffsetDelete(reply) => answer(refused, reply),
        _ => OffsetDeleteResponse::default().with_error_code(ErrorCode::UnknownServerError.code()),
    }
}

/// The answered partitions of each topic, once a topic.
type Answers = Vec<(Arc<str>, Vec<(i32, ErrorCode)>)>;

/// What of a topic may go to the group; what may not is answered.
fn check(
    ctx: &RequestContext,
    topic: &OffsetDeleteRequestTopic,
    refused: &mut Answers,
) -> Vec<i32> {
    let image = ctx.node.metadata();
    let allowed = ctx.authorize(Operation::Read, ResourceType::Topic, &topic.name);
    let mut good = Vec::with_capacity(topic.partitions.len());
    for partition in &topic.partitions {
        let index = partition.partition_index;
        let error = match image.partition(&topic.name, PartitionId(index)) {
            _ if !allowed => ErrorCode::TopicAuthorizationFailed,
            None => ErrorCode::UnknownTopicOrPartition,
            Some(_) => {
                good.push(index);
                continue;
            }
        };
        merge(refused, shared(&topic.name), vec![(index, error)]);
    }
    good
}

fn merge(answers: &mut Answers, topic: Arc<str>, partitions: Vec<(i32, ErrorCode)>) {
    match answers.iter_mut().find(|(name, _)| *name == topic) {
        Some((_, answered)) => answered.extend(partitions),
        None => answers.push((topic, partitions)),
    }
}

/// As Kafka orders it: first what was refused here, then what the group says. The group's error is the whole
/// answer.
fn answer(refused: Answers, reply: OffsetDeleteReply) -> OffsetDeleteResponse {
    if reply.error.is_error() {
        return OffsetDeleteResponse::default().with_error_code(reply.error.code());
    }
    let mut answers = refused;
    for topic in reply.topics {
        merge(&mut answers, topic.name, topic.partitions);
    }
    let topics = answers.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, error)| {
            OffsetDeleteResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(error.code())
        });
        OffsetDeleteResponseTopic::default()
            .with_name(wire(&name).into())
            .with_partitions(partitions.collect())
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::command::OffsetDeleteTopicReply;

    #[test]
    fn errors_of_this_broker_come_before_those_of_the_group_topic_by_topic() {
        let mut refused = Answers::new();
        let unknown = ErrorCode::UnknownTopicOrPartition;
        merge(&mut refused, "u".into(), vec![(9, unknown)]);
        let topic = |name: &str, partitions| OffsetDeleteTopicReply {
            name: name.into(),
            partitions,
        };
        let reply = OffsetDeleteReply {
            error: ErrorCode::None,
            topics: vec![
                topic("t", vec![(0, ErrorCode::GroupSubscribedToTopic)]),
                topic("u", vec![(1, ErrorCode::None)]),
            ],
        };
        let response = answer(refused.clone(), reply);
        let answered: Vec<(&str, i32, i16)> = response
            .topics
            .iter()
            .flat_map(|topic| {
                let partitions = topic.partitions.iter();
                partitions.map(|one| (topic.name.as_str(), one.partition_index, one.error_code))
            })
            .collect();
        assert_eq!(answered, [("u", 9, 3), ("u", 1, 0), ("t", 0, 86)]);
        let failed = OffsetDeleteReply {
            error: ErrorCode::NonEmptyGroup,
            topics: Vec::new(),
        };
        let response = answer(refused, failed);
        assert_eq!((response.error_code, response.topics.len()), (68, 0));
    }
}
