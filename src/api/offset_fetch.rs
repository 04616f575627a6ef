//! OffsetFetch (9), versions 1–10: how far groups have got.
//!
//! v2 every offset of a group (null topics), and errors of the whole group; v5 leader epochs (KIP-320); v6
//! flexible; v7 `require_stable` (KIP-447); v8 several groups (KIP-709); v9 members and epochs (KIP-848,
//! which only consumer groups look at); v10 topic ids. As Apache Kafka 4.4.0.

use std::sync::Arc;

use super::RequestContext;
use super::group_text::{group_id, shared, wire};
use crate::controller::image::MetadataImage;
use crate::error::ErrorCode;
use crate::group::command::{
    FetchedOffset, OffsetFetch, OffsetFetchReply, OffsetFetchTopic, OffsetFetchTopicReply, Reply,
    Request,
};
use crate::protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use crate::protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};
use crate::security::{Operation, ResourceType};
use crate::types::{LeaderEpoch, Offset, TopicId};

/// One group of a request, in the same form for every version.
#[derive(Debug)]
struct AskedGroup {
    group_id: Arc<str>,
    topics: Option<Vec<OffsetFetchTopic>>,
}

pub(super) async fn handle(
    ctx: RequestContext,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let require_stable = request.require_stable;
    let mut replies = Vec::new();
    for group in asked(&request, ctx.version) {
        replies.push(fetch(&ctx, group, require_stable).await);
    }
    answer(replies, ctx.version)
}

fn asked(request: &OffsetFetchRequest, version: i16) -> Vec<AskedGroup> {
    if version >= 8 {
        let groups = request.groups.iter().map(|group| AskedGroup {
            group_id: shared(&group.group_id),
            topics: group.topics.as_ref().map(|topics| {
                let topics = topics.iter().map(|topic| OffsetFetchTopic {
                    name: shared(&topic.name),
                    topic_id: TopicId(topic.topic_id),
                    partitions: topic.partition_indexes.clone(),
                });
                topics.collect()
            }),
        });
        return groups.collect();
    }
    vec![AskedGroup {
        group_id: shared(&request.group_id),
        topics: request.topics.as_ref().map(|topics| {
            let topics = topics.iter().map(|topic| OffsetFetchTopic {
                name: shared(&topic.name),
                topic_id: TopicId::ZERO,
                partitions: topic.partition_indexes.clone(),
            });
            topics.collect()
        }),
    }]
}

async fn fetch(ctx: &RequestContext, group: AskedGroup, require_stable: bool) -> OffsetFetchReply {
    let AskedGroup { group_id, topics } = group;
    let asked_topics = match ctx.version {
        1 => topics.clone(),
        _ => None,
    };
    let mut reply = if ctx.authorize(Operation::Describe, ResourceType::Group, &group_id) {
        fetch_allowed(ctx, group_id, topics, require_stable).await
    } else {
        OffsetFetchReply::failed(group_id, ErrorCode::GroupAuthorizationFailed)
    };
    // Version 1 has no place for a group's error but its partitions.
    if let Some(topics) = asked_topics
        && reply.error.is_error()
    {
        let error = reply.error;
        reply.topics = topics.into_iter().map(|topic| refuse(topic, error)).collect();
    }
    reply
}

async fn fetch_allowed(
    ctx: &RequestContext,
    group_id: Arc<str>,
    topics: Option<Vec<OffsetFetchTopic>>,
    require_stable: bool,
) -> OffsetFetchReply {
    let all = topics.is_none();
    let mut refused = Vec::new();
    let topics = topics.map(|topics| {
        let image = ctx.node.metadata();
        let mut good = Vec::with_capacity(topics.len());
        for topic in topics {
            match check(ctx, &image, topic) {
                Ok(topic) => good.push(topic),
                Err((topic, error)) => refused.push(refuse(topic, error)),
            }
        }
        good
    });
    let request = Request::OffsetFetch(OffsetFetch {
        group_id: Arc::clone(&group_id),
        topics,
        require_stable,
    });
    match ctx.node.groups.request(&group_id, request).await {
        Reply::OffsetFetch(mut reply) => {
            if all {
                only_visible(ctx, &mut reply);
            }
            if !reply.error.is_error() {
                reply.topics.extend(refused);
            }
            reply
        }
        _ => OffsetFetchReply::failed(group_id, ErrorCode::UnknownServerError),
    }
}

/// The topic with the name its id stands for, or what is wrong with it.
fn check(
    ctx: &RequestContext,
    image: &MetadataImage,
    mut topic: OffsetFetchTopic,
) -> Result<OffsetFetchTopic, (OffsetFetchTopic, ErrorCode)> {
    if ctx.version >= 10 {
        match image.topic_by_id(topic.topic_id) {
            Some(found) => topic.name = Arc::clone(&found.name),
            None => return Err((topic, ErrorCode::UnknownTopicId)),
        }
    }
    if ctx.authorize(Operation::Describe, ResourceType::Topic, &topic.name) {
        Ok(topic)
    } else {
        Err((topic, ErrorCode::TopicAuthorizationFailed))
    }
}

/// Of everything a group has, what this client may see and its version can name.
fn only_visible(ctx: &RequestContext, reply: &mut OffsetFetchReply) {
    let image = ctx.node.metadata();
    reply.topics.retain_mut(|topic| {
        if ctx.version >= 10 {
            match image.topic_id(&topic.name) {
                Some(id) => topic.topic_id = id,
                None => return false,
            }
        }
        ctx.authorize(Operation::Describe, ResourceType::Topic, &topic.name)
    });
}

fn refuse(topic: OffsetFetchTopic, error: ErrorCode) -> OffsetFetchTopicReply {
    let partitions = topic.partitions.into_iter().map(|partition| FetchedOffset {
        partition,
        offset: Offset(-1),
        leader_epoch: LeaderEpoch::UNKNOWN,
        metadata: "".into(),
        error,
    });
    OffsetFetchTopicReply {
        name: topic.name,
        topic_id: topic.topic_id,
        partitions: partitions.collect(),
    }
}

fn answer(replies: Vec<OffsetFetchReply>, version: i16) -> OffsetFetchResponse {
    if version >= 8 {
        let groups = replies.into_iter().map(|reply| answer_group(reply, version));
        return OffsetFetchResponse {
            groups: groups.collect(),
            ..OffsetFetchResponse::default()
        };
    }
    let mut response = OffsetFetchResponse::default();
    for reply in replies {
        if version >= 2 {
            response.error_code = reply.error.code();
        }
        for topic in reply.topics {
            let partitions = topic.partitions.into_iter().map(|fetched| {
                OffsetFetchResponsePartition {
                    partition_index: fetched.partition,
                    committed_offset: fetched.offset.0,
                    committed_leader_epoch: match version {
                        ..=4 => LeaderEpoch::UNKNOWN.0,
                        _ => fetched.leader_epoch.0,
                    },
                    metadata: Some(wire(&fetched.metadata)),
                    error_code: fetched.error.code(),
                    ..OffsetFetchResponsePartition::default()
                }
            });
            response.topics.push(OffsetFetchResponseTopic {
                name: wire(&topic.name).into(),
                partitions: partitions.collect(),
                ..OffsetFetchResponseTopic::default()
            });
        }
    }
    response
}

fn answer_group(reply: OffsetFetchReply, version: i16) -> OffsetFetchResponseGroup {
    let topics = reply.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|fetched| {
            OffsetFetchResponsePartitions {
                partition_index: fetched.partition,
                committed_offset: fetched.offset.0,
                committed_leader_epoch: fetched.leader_epoch.0,
                metadata: Some(wire(&fetched.metadata)),
                error_code: fetched.error.code(),
                ..OffsetFetchResponsePartitions::default()
            }
        });
        let mut answered = OffsetFetchResponseTopics {
            partitions: partitions.collect(),
            ..OffsetFetchResponseTopics::default()
        };
        match version {
            ..=9 => answered.name = wire(&topic.name).into(),
            _ => answered.topic_id = topic.topic_id.0,
        }
        answered
    });
    OffsetFetchResponseGroup {
        group_id: group_id(&reply.group_id),
        topics: topics.collect(),
        error_code: reply.error.code(),
        ..OffsetFetchResponseGroup::default()
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::protocol::{Decodable, Encodable};
    use uuid::Uuid;

    use super::*;

    fn reply() -> OffsetFetchReply {
        OffsetFetchReply {
            group_id: "g".into(),
            error: ErrorCode::None,
            topics: vec![OffsetFetchTopicReply {
                name: "t".into(),
                topic_id: TopicId(Uuid::from_u128(7)),
                partitions: vec![FetchedOffset {
                    partition: 1,
                    offset: Offset(5),
                    leader_epoch: LeaderEpoch(3),
                    metadata: "m".into(),
                    error: ErrorCode::None,
                }],
            }],
        }
    }

    #[test]
    fn every_version_can_carry_every_reply() {
        let failed = OffsetFetchReply::failed("g".into(), ErrorCode::NotCoordinator);
        for version in 1..=10 {
            for reply in [reply(), failed.clone()] {
                let response = answer(vec![reply], version);
                let mut bytes = BytesMut::new();
                response.encode(&mut bytes, version).unwrap();
                let back = OffsetFetchResponse::decode(&mut bytes.freeze(), version).unwrap();
                assert_eq!(back, response, "v{version}");
            }
        }
        assert_eq!(answer(vec![failed.clone()], 7).error_code, 16);
        assert_eq!(answer(vec![failed], 8).groups[0].error_code, 16);
    }

    #[test]
    fn one_group_or_many_are_asked_for_alike() {
        let old = OffsetFetchRequest {
            group_id: group_id("g"),
            ..OffsetFetchRequest::default()
        };
        let asked_old = asked(&old, 7);
        assert_eq!(asked_old.len(), 1);
        assert_eq!(&*asked_old[0].group_id, "g");
        assert!(asked(&old, 8).is_empty());
        let all = OffsetFetchRequest {
            topics: None,
            ..OffsetFetchRequest::default()
        };
        assert!(asked(&all, 2)[0].topics.is_none());
    }
}
