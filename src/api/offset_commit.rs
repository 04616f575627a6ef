//! OffsetCommit (8), versions 2–10: a group, or somebody in its name, says how far it has got.
//!
//! v2–4 a retention time of the commit's own; v6 leader epochs (KIP-320); v7 static members (KIP-345); v8
//! flexible; v9 a group that is not there is GROUP_ID_NOT_FOUND (KIP-848); v10 topic ids (KIP-848).
//! The reply comes when the offsets are stored. As Apache Kafka 4.4.0.

use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::RequestContext;
use super::group_text::{shared, shared_option, wire};
use crate::controller::image::MetadataImage;
use crate::error::ErrorCode;
use crate::group::command::{
    OffsetCommit, OffsetCommitPartition, OffsetCommitTopic, OffsetCommitTopicReply, Reply, Request,
};
use crate::protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use crate::security::{Operation, ResourceType};
use crate::types::{LeaderEpoch, Offset, PartitionId, TopicId};

pub(super) async fn handle(
    ctx: RequestContext,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let group_id = shared(&request.group_id);
    let mut answers = Answers::new(ctx.version);
    if !ctx.authorize(Operation::Read, ResourceType::Group, &group_id) {
        for topic in &request.topics {
            answers.refuse(topic, ErrorCode::GroupAuthorizationFailed);
        }
        return answers.into_response();
    }
    let image = ctx.node.metadata();
    let topics: Vec<OffsetCommitTopic> = request
        .topics
        .iter()
        .filter_map(|topic| check(&ctx, &image, topic, &mut answers))
        .collect();
    if topics.is_empty() {
        return answers.into_response();
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
    if let Reply::OffsetCommit(replies) = ctx.node.groups.request(&group_id, commit).await {
        answers.merge(replies);
    }
    answers.into_response()
}

/// What of a topic may go to the group; what may not is answered.
fn check(
    ctx: &RequestContext,
    image: &MetadataImage,
    topic: &OffsetCommitRequestTopic,
    answers: &mut Answers,
) -> Option<OffsetCommitTopic> {
    let found = match ctx.version {
        ..=9 => image.topic(&topic.name),
        _ => image.topic_by_id(TopicId(topic.topic_id)),
    };
    let name = match (found, ctx.version) {
        (Some(found), _) => Arc::clone(&found.name),
        (None, ..=9) => shared(&topic.name),
        (None, _) => {
            answers.refuse(topic, ErrorCode::UnknownTopicId);
            return None;
        }
    };
    if !ctx.authorize(Operation::Read, ResourceType::Topic, &name) {
        answers.refuse(topic, ErrorCode::TopicAuthorizationFailed);
        return None;
    }
    let Some(found) = found else {
        answers.refuse(topic, ErrorCode::UnknownTopicOrPartition);
        return None;
    };
    let mut partitions = Vec::with_capacity(topic.partitions.len());
    for partition in &topic.partitions {
        let index = partition.partition_index;
        if found.partition(PartitionId(index)).is_some() {
            partitions.push(translate(partition));
        } else {
            let answered = answers.of(&topic.name, topic.topic_id);
            answered.push((index, ErrorCode::UnknownTopicOrPartition));
        }
    }
    (!partitions.is_empty()).then_some(OffsetCommitTopic {
        name,
        topic_id: found.id,
        partitions,
    })
}

fn translate(partition: &OffsetCommitRequestPartition) -> OffsetCommitPartition {
    let metadata = shared_option(partition.committed_metadata.as_ref());
    OffsetCommitPartition {
        partition: partition.partition_index,
        offset: Offset(partition.committed_offset),
        leader_epoch: LeaderEpoch(partition.committed_leader_epoch),
        metadata: metadata.unwrap_or_else(|| "".into()),
    }
}

/// Partitions of a topic with what became of them.
type Answered = Vec<(i32, ErrorCode)>;

/// The reply in the making. As Kafka orders it: first what was refused here, then what the group says, the
/// partitions of a topic together.
#[derive(Debug)]
struct Answers {
    by_id: bool,
    topics: Vec<(StrBytes, Uuid, Answered)>,
}

impl Answers {
    fn new(version: i16) -> Self {
        Self {
            by_id: version >= 10,
            topics: Vec::new(),
        }
    }

    /// The answered partitions of a topic.
    fn of(&mut self, name: &StrBytes, id: Uuid) -> &mut Answered {
        let by_id = self.by_id;
        let same = |topic: &(StrBytes, Uuid, _)| match by_id {
            true => topic.1 == id,
            false => topic.0 == *name,
        };
        let at = self.topics.iter().position(same).unwrap_or_else(|| {
            self.topics.push((name.clone(), id, Vec::new()));
            self.topics.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "found, or just pushed")]
        &mut self.topics[at].2
    }

    fn refuse(&mut self, topic: &OffsetCommitRequestTopic, error: ErrorCode) {
        let partitions = topic.partitions.iter();
        let refused = partitions.map(|partition| (partition.partition_index, error));
        self.of(&topic.name, topic.topic_id).extend(refused);
    }

    fn merge(&mut self, replies: Vec<OffsetCommitTopicReply>) {
        for reply in replies {
            let answered = self.of(&wire(&reply.name), reply.topic_id.0);
            answered.extend(reply.partitions);
        }
    }

    fn into_response(self) -> OffsetCommitResponse {
        let by_id = self.by_id;
        let topics = self.topics.into_iter().map(|(name, id, partitions)| {
            let partitions =
                partitions
                    .into_iter()
                    .map(|(index, error)| OffsetCommitResponsePartition {
                        partition_index: index,
                        error_code: error.code(),
                        ..OffsetCommitResponsePartition::default()
                    });
            let mut topic = OffsetCommitResponseTopic {
                partitions: partitions.collect(),
                ..OffsetCommitResponseTopic::default()
            };
            match by_id {
                true => topic.topic_id = id,
                false => topic.name = name.into(),
            }
            topic
        });
        OffsetCommitResponse {
            topics: topics.collect(),
            ..OffsetCommitResponse::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::protocol::{Decodable, Encodable};

    use super::*;

    #[test]
    fn errors_of_this_broker_come_before_those_of_the_group_topic_by_topic() {
        let (t, u) = (Uuid::from_u128(7), Uuid::from_u128(8));
        let topic = |name: &str, id| OffsetCommitRequestTopic {
            name: wire(name).into(),
            topic_id: id,
            partitions: vec![OffsetCommitRequestPartition::default()],
            ..OffsetCommitRequestTopic::default()
        };
        let reply = |name: &str, id, partition| OffsetCommitTopicReply {
            name: name.into(),
            topic_id: TopicId(id),
            partitions: vec![(partition, ErrorCode::None)],
        };
        for version in 2..=10 {
            let mut answers = Answers::new(version);
            answers.refuse(&topic("u", u), ErrorCode::UnknownTopicOrPartition);
            answers.merge(vec![reply("t", t, 1), reply("u", u, 2)]);
            let response = answers.into_response();
            let codes: Vec<Vec<(i32, i16)>> = response
                .topics
                .iter()
                .map(|topic| {
                    let partitions = topic.partitions.iter();
                    let codes = partitions.map(|one| (one.partition_index, one.error_code));
                    codes.collect()
                })
                .collect();
            assert_eq!(codes, [vec![(0, 3), (2, 0)], vec![(1, 0)]], "v{version}");
            let mut bytes = BytesMut::new();
            response.encode(&mut bytes, version).unwrap();
            let back = OffsetCommitResponse::decode(&mut bytes.freeze(), version).unwrap();
            assert_eq!(back, response, "v{version}");
        }
    }

    #[test]
    fn no_metadata_is_empty_metadata() {
        let partition = OffsetCommitRequestPartition {
            committed_metadata: None,
            ..OffsetCommitRequestPartition::default()
        };
        let translated = translate(&partition);
        assert_eq!(&*translated.metadata, "");
        assert_eq!(translated.leader_epoch, LeaderEpoch::UNKNOWN);
    }
}
