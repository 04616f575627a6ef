//! CreateTopics (19), versions 2–7: new topics, each made or refused by itself.
//!
//! v4 −1 for the default partitions and replication factor (KIP-464); v5 the new topic's configs in
//! the reply (KIP-525); v6 throttling may be answered (KIP-599; nothing throttles here yet); v7 topic
//! ids. As Apache Kafka 4.4.0, except that a reply's topics are always in the order of the request.

use std::collections::BTreeSet;

use kafka_protocol::messages::create_topics_request::CreatableTopic as RequestedTopic;
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::describe_quorum::METADATA_TOPIC;
use super::RequestContext;
use super::submit::{message, submit, unexpected};
use crate::config::{BrokerConfig, ConfigOverrides, describe};
use crate::controller::command::{
    ApiError, Command, ConfigEntry, CreatableTopic, CreateTopics, CreatedTopic, ReplicaAssignment,
    Reply,
};
use crate::error::ErrorCode;
use crate::security::authorizer::CLUSTER;
use crate::security::{Operation, ResourceType};
use crate::types::NodeId;

pub(super) async fn handle(
    ctx: RequestContext,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let duplicates = duplicates(request.topics.iter().map(|topic| topic.name.as_str()));
    let may_create_all = ctx.authorize(Operation::Create, ResourceType::Cluster, CLUSTER);
    let refusals: Vec<Option<ApiError>> = request
        .topics
        .iter()
        .map(|topic| refusal(&ctx, &topic.name, &duplicates, may_create_all))
        .collect();
    let asked = request.topics.iter().zip(&refusals);
    let topics: Vec<CreatableTopic> = asked
        .filter(|(_, refusal)| refusal.is_none())
        .map(|(topic, _)| creatable(topic))
        .collect();
    let created = create(&ctx, topics, &request).await;

    let config = ctx.node.config();
    let mut created = created.into_iter();
    let mut answered = BTreeSet::new();
    let mut response = CreateTopicsResponse::default();
    for (topic, refusal) in request.topics.iter().zip(refusals) {
        let outcome = match refusal {
            Some(refusal) => Err(refusal),
            None => created.next().unwrap_or_else(|| Err(unexpected())),
        };
        // A name that came twice is answered once.
        if answered.insert(topic.name.as_str()) {
            response.topics.push(match outcome {
                Ok(created) => success(&ctx, &config, topic, &created),
                Err(error) => failure(&topic.name, error),
            });
        }
    }
    response
}

/// Names that are there more than once.
pub(super) fn duplicates<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(*name)).collect()
}

fn refusal(
    ctx: &RequestContext,
    name: &str,
    duplicates: &BTreeSet<&str>,
    may_create_all: bool,
) -> Option<ApiError> {
    if duplicates.contains(name) {
        return Some(ApiError::new(
            ErrorCode::InvalidRequest,
            "Duplicate topic name.",
        ));
    }
    if name == METADATA_TOPIC {
        return Some(ApiError::new(
            ErrorCode::InvalidRequest,
            format!("Creation of internal topic {METADATA_TOPIC} is prohibited."),
        ));
    }
    if may_create_all || ctx.authorize(Operation::Create, ResourceType::Topic, name) {
        return None;
    }
    Some(ApiError::new(
        ErrorCode::TopicAuthorizationFailed,
        "Authorization failed.",
    ))
}

fn creatable(topic: &RequestedTopic) -> CreatableTopic {
    let assignments = topic
        .assignments
        .iter()
        .map(|assignment| ReplicaAssignment {
            partition: assignment.partition_index,
            brokers: assignment
                .broker_ids
                .iter()
                .map(|id| NodeId(id.0))
                .collect(),
        });
    let configs = topic.configs.iter().map(|config| ConfigEntry {
        name: config.name.as_str().into(),
        value: config.value.as_ref().map(|value| value.as_str().into()),
    });
    CreatableTopic {
        name: topic.name.to_string(),
        num_partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: assignments.collect(),
        configs: configs.collect(),
    }
}

async fn create(
    ctx: &RequestContext,
    topics: Vec<CreatableTopic>,
    request: &CreateTopicsRequest,
) -> Vec<Result<CreatedTopic, ApiError>> {
    let count = topics.len();
    if count == 0 {
        return Vec::new();
    }
    let command = Command::CreateTopics(CreateTopics {
        topics,
        validate_only: request.validate_only,
    });
    match submit(ctx, command, Some(request.timeout_ms)).await {
        Ok(Reply::CreateTopics(results)) => results,
        Ok(_) => vec![Err(unexpected()); count],
        Err(error) => vec![Err(error); count],
    }
}

fn success(
    ctx: &RequestContext,
    config: &BrokerConfig,
    topic: &RequestedTopic,
    created: &CreatedTopic,
) -> CreatableTopicResult {
    let result = CreatableTopicResult::default()
        .with_name(topic.name.clone())
        .with_topic_id(created.id.0)
        .with_error_message(None);
    if ctx.version < 5 {
        return result;
    }
    if !ctx.authorize(Operation::DescribeConfigs, ResourceType::Topic, &topic.name) {
        return result.with_topic_config_error_code(ErrorCode::TopicAuthorizationFailed.code());
    }
    result
        .with_num_partitions(created.num_partitions)
        .with_replication_factor(created.replication_factor)
        .with_configs(Some(configs(config, topic)))
}

/// Every option of the topic, by name, as it applies from now on.
fn configs(config: &BrokerConfig, topic: &RequestedTopic) -> Vec<CreatableTopicConfigs> {
    let overrides: ConfigOverrides = topic
        .configs
        .iter()
        .filter_map(|config| Some((config.name.as_str(), config.value.as_ref()?.as_str())))
        .collect();
    let mut entries = describe::topic(config, &overrides);
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries
        .into_iter()
        .map(|entry| {
            // As it was sent; what it is read as is for DescribeConfigs.
            let sent = overrides.get(&entry.name).map(ToString::to_string);
            let value = sent.or(entry.value).filter(|_| !entry.is_sensitive);
            CreatableTopicConfigs::default()
                .with_name(StrBytes::from_string(entry.name.to_string()))
                .with_value(value.map(StrBytes::from_string))
                .with_read_only(entry.read_only)
                .with_config_source(entry.source as i8)
                .with_is_sensitive(entry.is_sensitive)
        })
        .collect()
}

fn failure(name: &TopicName, error: ApiError) -> CreatableTopicResult {
    CreatableTopicResult::default()
        .with_name(name.clone())
        .with_error_code(error.error.code())
        .with_error_message(message(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_comes_twice_is_a_duplicate_once() {
        let names = ["a", "b", "a", "c", "a", "c"];
        let found = duplicates(names.into_iter());
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a", "c"]);
    }
}
