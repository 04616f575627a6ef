//! CreatePartitions (37), versions 0–3 (KIP-195): a topic gets more partitions, never fewer.
//!
//! v2 is flexible; v3 throttling may be answered (KIP-599; nothing throttles here yet). As Apache
//! Kafka 4.4.0; the order of a reply is the order of the request.

use std::collections::BTreeSet;

use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use super::RequestContext;
use super::create_topics::duplicates;
use super::submit::{message, submit, unexpected};
use crate::controller::command::{
    ApiError, Command, CreatePartitions, CreatePartitionsTopic, Reply,
};
use crate::error::ErrorCode;
use crate::security::{Operation, ResourceType};
use crate::types::NodeId;

pub(super) async fn handle(
    ctx: RequestContext,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let duplicates = duplicates(request.topics.iter().map(|topic| topic.name.as_str()));
    let refusal = |name: &str| {
        if duplicates.contains(name) {
            Some(ApiError::new(
                ErrorCode::InvalidRequest,
                "Duplicate topic name.",
            ))
        } else if !ctx.authorize(Operation::Alter, ResourceType::Topic, name) {
            Some(ErrorCode::TopicAuthorizationFailed.into())
        } else {
            None
        }
    };
    let refusals: Vec<Option<ApiError>> = request
        .topics
        .iter()
        .map(|topic| refusal(&topic.name))
        .collect();
    let asked = request.topics.iter().zip(&refusals);
    let topics = asked.filter(|(_, refusal)| refusal.is_none());
    let topics: Vec<CreatePartitionsTopic> = topics
        .map(|(topic, _)| CreatePartitionsTopic {
            name: topic.name.to_string(),
            count: topic.count,
            assignments: topic.assignments.as_ref().map(|assignments| {
                let brokers = assignments.iter().map(|assignment| {
                    let ids = assignment.broker_ids.iter();
                    ids.map(|id| NodeId(id.0)).collect()
                });
                brokers.collect()
            }),
        })
        .collect();
    let mut created = create(&ctx, topics, &request).await.into_iter();
    let mut answered = BTreeSet::new();
    let mut response = CreatePartitionsResponse::default();
    for (topic, refusal) in request.topics.iter().zip(refusals) {
        let outcome = match refusal {
            Some(refusal) => Err(refusal),
            None => created.next().unwrap_or_else(|| Err(unexpected())),
        };
        if !answered.insert(topic.name.as_str()) {
            continue;
        }
        let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
        response.results.push(match outcome {
            Ok(()) => result,
            Err(error) => result
                .with_error_code(error.error.code())
                .with_error_message(message(error)),
        });
    }
    response
}

async fn create(
    ctx: &RequestContext,
    topics: Vec<CreatePartitionsTopic>,
    request: &CreatePartitionsRequest,
) -> Vec<Result<(), ApiError>> {
    let count = topics.len();
    if count == 0 {
        return Vec::new();
    }
    let command = Command::CreatePartitions(CreatePartitions {
        topics,
        validate_only: request.validate_only,
    });
    match submit(ctx, command, Some(request.timeout_ms)).await {
        Ok(Reply::CreatePartitions(results)) => results,
        Ok(_) => vec![Err(unexpected()); count],
        Err(error) => vec![Err(error); count],
    }
}
