//! Metadata (3), versions 0–13: the brokers, and where each partition of some topics is.
//!
//! v4 `allow_auto_topic_creation`; v8 authorized operations (KIP-430); v10 topic ids (KIP-516), asked
//! for from v12; v11 drops the cluster's authorized operations; v13 a top-level error (KIP-1102).
//! As Apache Kafka 4.4.0, but for two things that are better for a client: a topic that this request
//! creates is in its own reply, not in the next one's, and the controller is the ZAB leader's broker.

use std::collections::BTreeSet;

use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::describe_quorum::METADATA_TOPIC;
use super::RequestContext;
use super::partition_view::{broker_ids, is_reachable, leader, offline_replicas};
use crate::controller::command::{Command, CreatableTopic, CreateTopics, Reply};
use crate::controller::image::MetadataImage;
use crate::controller::topic_image::{PartitionState, TopicImage};
use crate::controller::topics::{is_internal, validate_name};
use crate::error::ErrorCode;
use crate::security::authorizer::CLUSTER;
use crate::security::{Operation, ResourceType};
use crate::types::{PartitionId, TopicId};

/// What the wire says when authorized operations were not asked for.
const OPERATIONS_NOT_ASKED: i32 = i32::MIN;

/// What a request wants to see.
enum Wanted {
    All,
    Names(BTreeSet<String>),
    Ids(BTreeSet<TopicId>),
}

pub(super) async fn handle(ctx: RequestContext, request: MetadataRequest) -> MetadataResponse {
    let wanted = match wanted(&ctx, &request) {
        Ok(wanted) => wanted,
        Err(code) => return refuse(&ctx, &request, code),
    };
    let mut topics = Vec::new();
    match wanted {
        Wanted::All => {
            let image = ctx.node.metadata();
            for topic in image.topics() {
                if ctx.authorize(Operation::Describe, ResourceType::Topic, &topic.name) {
                    topics.push(describe(&ctx, &image, topic));
                }
            }
        }
        Wanted::Ids(ids) => {
            let has_all = |image: &MetadataImage| {
                let mut ids = ids.iter();
                ids.all(|id| image.topic_by_id(*id).is_some())
            };
            let image = ctx.node.metadata_with(has_all).await;
            for id in ids {
                topics.push(by_id(&ctx, &image, id));
            }
        }
        Wanted::Names(names) => {
            let mut refused = create_missing(&ctx, &names, request.allow_auto_topic_creation).await;
            let has_all = |image: &MetadataImage| {
                let mut names = names.iter();
                names.all(|name| image.topic(name).is_some() || validate_name(name).is_err())
            };
            let image = ctx.node.metadata_with(has_all).await;
            for name in names {
                let refusal = refused.remove(&name);
                topics.push(by_name(&ctx, &image, &name, refusal));
            }
        }
    }
    if request.include_topic_authorized_operations {
        for topic in &mut topics {
            let told = topic.error_code != ErrorCode::TopicAuthorizationFailed.code();
            if let Some(name) = topic.name.as_ref().filter(|_| told) {
                topic.topic_authorized_operations =
                    ctx.authorized_operations(ResourceType::Topic, name);
            }
        }
    }
    let mut response = with_brokers(&ctx);
    response.topics = topics;
    if request.include_cluster_authorized_operations && (8..=10).contains(&ctx.version) {
        response.cluster_authorized_operations =
            if ctx.authorize(Operation::Describe, ResourceType::Cluster, CLUSTER) {
                ctx.authorized_operations(ResourceType::Cluster, CLUSTER)
            } else {
                0
            };
    }
    response
}

fn wanted(ctx: &RequestContext, request: &MetadataRequest) -> Result<Wanted, ErrorCode> {
    let Some(topics) = &request.topics else {
        return Ok(Wanted::All);
    };
    // Version 0 could not say null: empty was everything.
    if topics.is_empty() && ctx.version == 0 {
        return Ok(Wanted::All);
    }
    let ids: BTreeSet<TopicId> = topics
        .iter()
        .map(|topic| TopicId(topic.topic_id))
        .filter(|id| !id.is_zero())
        .collect();
    if !ids.is_empty() {
        return if ctx.version < 12 {
            Err(ErrorCode::InvalidRequest)
        } else {
            Ok(Wanted::Ids(ids))
        };
    }
    topics
        .iter()
        .map(|topic| topic.name.as_ref().map(|name| name.to_string()))
        .collect::<Option<BTreeSet<String>>>()
        .map(Wanted::Names)
        .ok_or(ErrorCode::InvalidRequest)
}

/// The whole request is wrong: each of its topics is told so.
fn refuse(ctx: &RequestContext, request: &MetadataRequest, code: ErrorCode) -> MetadataResponse {
    let mut response = with_brokers(ctx);
    if ctx.version >= 13 {
        response.error_code = code.code();
    }
    response.topics = request
        .topics
        .iter()
        .flatten()
        .map(|topic| {
            empty_topic(
                code,
                Some(topic.name.as_ref().map(|name| name.to_string()).unwrap_or_default()),
                TopicId(topic.topic_id),
            )
        })
        .collect();
    response
}

fn with_brokers(ctx: &RequestContext) -> MetadataResponse {
    let image = ctx.node.metadata();
    let brokers = image
        .brokers()
        .filter(|broker| !broker.fenced)
        .filter_map(|broker| {
            let endpoint = broker.endpoint(&ctx.listener)?;
            Some(
                MetadataResponseBroker::default()
                    .with_node_id(BrokerId(broker.id.0))
                    .with_host(StrBytes::from_string(endpoint.host.clone()))
                    .with_port(i32::from(endpoint.port))
                    .with_rack(broker.rack.clone().map(StrBytes::from_string)),
            )
        })
        .collect();
    MetadataResponse::default()
        .with_brokers(brokers)
        .with_cluster_id(Some(StrBytes::from_string(image.cluster_id().to_owned())))
        .with_controller_id(BrokerId(ctx.node.controller_id().0))
        .with_cluster_authorized_operations(OPERATIONS_NOT_ASKED)
}

/// Creates what is missing and may be created; why, where it could not be.
async fn create_missing(
    ctx: &RequestContext,
    names: &BTreeSet<String>,
    allowed: bool,
) -> std::collections::BTreeMap<String, ErrorCode> {
    let mut refused = std::collections::BTreeMap::new();
    if !allowed || !ctx.node.config().auto_create_topics_enable {
        return refused;
    }
    let image = ctx.node.metadata();
    let mut missing = Vec::new();
    for name in names.iter().filter(|name| image.topic(name).is_none()) {
        if validate_name(name).is_err() || name == METADATA_TOPIC {
            continue;
        }
        if !ctx.authorize(Operation::Describe, ResourceType::Topic, name) {
            continue;
        }
        if ctx.authorize(Operation::Create, ResourceType::Cluster, CLUSTER)
            || ctx.authorize(Operation::Create, ResourceType::Topic, name)
        {
            missing.push(name.clone());
        } else {
            refused.insert(name.clone(), ErrorCode::TopicAuthorizationFailed);
        }
    }
    if missing.is_empty() {
        return refused;
    }
    let topics = missing
        .iter()
        .map(|name| ctx.node.creatable_topic(name))
        .collect::<Vec<CreatableTopic>>();
    let command = Command::CreateTopics(CreateTopics {
        topics,
        validate_only: false,
    });
    match ctx.node.submit(command).await {
        Ok(Reply::CreateTopics(results)) => {
            for (name, result) in missing.into_iter().zip(results) {
                match result {
                    Ok(_) => {}
                    // Somebody else was faster.
                    Err(error) if error.error == ErrorCode::TopicAlreadyExists => {}
                    Err(error) => {
                        refused.insert(name, error.error);
                    }
                }
            }
        }
        Ok(_) | Err(_) => {
            for name in missing {
                refused.insert(name, ErrorCode::LeaderNotAvailable);
            }
        }
    }
    refused
}

fn by_name(
    ctx: &RequestContext,
    image: &MetadataImage,
    name: &str,
    refusal: Option<ErrorCode>,
) -> MetadataResponseTopic {
    let named = Some(name.to_owned());
    if !ctx.authorize(Operation::Describe, ResourceType::Topic, name) {
        return empty_topic(ErrorCode::TopicAuthorizationFailed, named, TopicId::ZERO);
    }
    match (image.topic(name), refusal) {
        (Some(topic), _) => describe(ctx, image, topic),
        (None, Some(code)) => empty_topic(code, named, TopicId::ZERO),
        (None, None) if validate_name(name).is_err() => {
            empty_topic(ErrorCode::InvalidTopicException, named, TopicId::ZERO)
        }
        (None, None) => empty_topic(ErrorCode::UnknownTopicOrPartition, named, TopicId::ZERO),
    }
}

fn by_id(ctx: &RequestContext, image: &MetadataImage, id: TopicId) -> MetadataResponseTopic {
    match image.topic_by_id(id) {
        None => empty_topic(ErrorCode::UnknownTopicId, None, id),
        Some(topic) if ctx.authorize(Operation::Describe, ResourceType::Topic, &topic.name) => {
            describe(ctx, image, topic)
        }
        // An id gives nothing away.
        Some(_) => empty_topic(ErrorCode::TopicAuthorizationFailed, None, id),
    }
}

fn empty_topic(code: ErrorCode, name: Option<String>, id: TopicId) -> MetadataResponseTopic {
    let is_internal = name.as_deref().is_some_and(is_internal);
    MetadataResponseTopic::default()
        .with_error_code(code.code())
        .with_name(name.map(topic_name))
        .with_topic_id(id.0)
        .with_is_internal(is_internal)
        .with_topic_authorized_operations(OPERATIONS_NOT_ASKED)
}

fn describe(
    ctx: &RequestContext,
    image: &MetadataImage,
    topic: &TopicImage,
) -> MetadataResponseTopic {
    let partitions = topic
        .partitions()
        .map(|(index, state)| describe_partition(ctx, image, index, state))
        .collect();
    MetadataResponseTopic::default()
        .with_name(Some(topic_name(topic.name.to_string())))
        .with_topic_id(topic.id.0)
        .with_is_internal(is_internal(&topic.name))
        .with_partitions(partitions)
        .with_topic_authorized_operations(OPERATIONS_NOT_ASKED)
}

fn describe_partition(
    ctx: &RequestContext,
    image: &MetadataImage,
    index: PartitionId,
    state: &PartitionState,
) -> MetadataResponsePartition {
    let (leader_id, error) = match leader(image, state, &ctx.listener) {
        Ok(leader) => (leader.0, ErrorCode::None),
        Err(ErrorCode::ListenerNotFound) if ctx.version < 6 => (-1, ErrorCode::LeaderNotAvailable),
        Err(code) => (-1, code),
    };
    let mut partition = MetadataResponsePartition::default()
        .with_partition_index(index.0)
        .with_leader_id(BrokerId(leader_id))
        .with_leader_epoch(state.leader_epoch.0)
        .with_replica_nodes(broker_ids(&state.replicas))
        .with_isr_nodes(broker_ids(&state.isr))
        .with_offline_replicas(offline_replicas(image, state, &ctx.listener))
        .with_error_code(error.code());
    if ctx.version == 0 {
        only_reachable(ctx, image, &mut partition);
    }
    partition
}

/// Version 0 had no way to say that a replica is away but to leave it out, with an error.
fn only_reachable(
    ctx: &RequestContext,
    image: &MetadataImage,
    partition: &mut MetadataResponsePartition,
) {
    let before = partition.replica_nodes.len() + partition.isr_nodes.len();
    let here = |node: &BrokerId| is_reachable(image, crate::types::NodeId(node.0), &ctx.listener);
    partition.replica_nodes.retain(here);
    partition.isr_nodes.retain(here);
    let after = partition.replica_nodes.len() + partition.isr_nodes.len();
    if after < before && partition.error_code == 0 {
        partition.error_code = ErrorCode::ReplicaNotAvailable.code();
    }
}

fn topic_name(name: String) -> TopicName {
    TopicName(StrBytes::from_string(name))
}
