//! Committed offsets: OffsetCommit, OffsetFetch, OffsetDelete, and how they expire (KIP-211).
//!
//! Who may commit depends on the live group; the offsets themselves are hard state. Offsets of a topic
//! that the group is subscribed to never expire; those of an Empty group do when the group has been empty
//! for the retention time, those of others when they have not been committed for so long.

use std::sync::Arc;

use super::classic::{ClassicGroup, ClassicGroupState as State, schedule_session};
use super::command::{
    FetchedOffset, OffsetCommit, OffsetCommitPartition, OffsetCommitTopicReply, OffsetDelete,
    OffsetDeleteReply, OffsetDeleteTopicReply, OffsetFetch, OffsetFetchReply, OffsetFetchTopic,
    OffsetFetchTopicReply, expire_timestamp,
};
use super::records::{OffsetCommitValue, Record};
use super::state::{GroupCoordinatorState, OffsetAndMetadata};
use super::{GroupConfig, Turn};
use crate::error::ErrorCode;
use crate::types::{LeaderEpoch, Offset, TimestampMs, TopicId};

/// Whether the request may commit to the group; if so, its member has been heard of.
pub(super) fn validate_commit(
    group: &ClassicGroup,
    turn: &mut Turn<'_>,
    request: &OffsetCommit,
) -> Result<(), ErrorCode> {
    // Whoever does its own assignment, or resets offsets, commits in nobody's name.
    if request.generation < 0 && group.is(State::Empty) {
        return Ok(());
    }
    let instance_id = request.group_instance_id.as_deref();
    if request.generation >= 0 || !request.member_id.is_empty() || instance_id.is_some() {
        group.validate_member(&request.member_id, instance_id)?;
        if request.generation != group.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
    } else {
        return Err(ErrorCode::UnknownMemberId);
    }
    match group.state {
        State::CompletingRebalance => Err(ErrorCode::RebalanceInProgress),
        State::Stable | State::PreparingRebalance => {
            schedule_session(group, turn, &request.member_id);
            Ok(())
        }
        State::Empty => Ok(()),
    }
}

/// The records of a commit that is allowed, and its answer: too much metadata fails that partition only.
pub(super) fn commit(turn: &mut Turn<'_>, request: &OffsetCommit) -> Vec<OffsetCommitTopicReply> {
    let expire = expire_timestamp(request.retention_time_ms, turn.now.wall);
    let mut replies = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for commit in &topic.partitions {
            if metadata_is_too_large(&commit.metadata, turn.config.offset_metadata_max_bytes) {
                partitions.push((commit.partition, ErrorCode::OffsetMetadataTooLarge));
                continue;
            }
            turn.out.records.push(Record::OffsetCommit {
                group: request.group_id.clone(),
                topic: topic.name.clone(),
                partition: commit.partition,
                value: Some(value(commit, topic.topic_id, turn.now.wall, expire)),
            });
            partitions.push((commit.partition, ErrorCode::None));
        }
        replies.push(OffsetCommitTopicReply {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions,
        });
    }
    replies
}

fn value(
    commit: &OffsetCommitPartition,
    topic_id: TopicId,
    now: TimestampMs,
    expire_timestamp: Option<TimestampMs>,
) -> OffsetCommitValue {
    OffsetCommitValue {
        offset: commit.offset,
        leader_epoch: commit.leader_epoch,
        metadata: commit.metadata.clone(),
        commit_timestamp: now,
        expire_timestamp,
        topic_id,
    }
}

/// Kafka counts UTF-16 units, whatever the option's name says.
fn metadata_is_too_large(metadata: &str, max: usize) -> bool {
    metadata.len() > max && metadata.encode_utf16().count() > max
}

pub(super) fn fetch(hard: &GroupCoordinatorState, request: &OffsetFetch) -> OffsetFetchReply {
    let topics = match &request.topics {
        Some(topics) => topics
            .iter()
            .map(|topic| fetch_topic(hard, request, topic))
            .collect(),
        None => fetch_all(hard, request),
    };
    OffsetFetchReply {
        group_id: request.group_id.clone(),
        error: ErrorCode::None,
        topics,
    }
}

fn fetch_topic(
    hard: &GroupCoordinatorState,
    request: &OffsetFetch,
    topic: &OffsetFetchTopic,
) -> OffsetFetchTopicReply {
    let group = &request.group_id;
    let partitions = topic.partitions.iter().map(|partition| {
        let known = hard
            .offsets()
            .get(group, &topic.name, *partition)
            .filter(|known| may_be_same_topic(known.value.topic_id, topic.topic_id));
        fetched(hard, request, (&topic.name, *partition), known)
    });
    OffsetFetchTopicReply {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: partitions.collect(),
    }
}

fn fetch_all(hard: &GroupCoordinatorState, request: &OffsetFetch) -> Vec<OffsetFetchTopicReply> {
    let Some(topics) = hard.offsets().of_group(&request.group_id) else {
        return Vec::new();
    };
    topics
        .iter()
        .map(|(topic, partitions)| OffsetFetchTopicReply {
            name: topic.clone(),
            topic_id: TopicId::ZERO,
            partitions: partitions
                .iter()
                .map(|(partition, known)| fetched(hard, request, (topic, *partition), Some(known)))
                .collect(),
        })
        .collect()
}

fn fetched(
    hard: &GroupCoordinatorState,
    request: &OffsetFetch,
    (topic, partition): (&str, i32),
    known: Option<&OffsetAndMetadata>,
) -> FetchedOffset {
    let unstable =
        request.require_stable && hard.has_open_transaction(&request.group_id, topic, partition);
    match known {
        Some(known) if !unstable => FetchedOffset {
            partition,
            offset: known.value.offset,
            leader_epoch: known.value.leader_epoch,
            metadata: known.value.metadata.clone(),
            error: ErrorCode::None,
        },
        _ => FetchedOffset {
            partition,
            offset: Offset(-1),
            leader_epoch: LeaderEpoch::UNKNOWN,
            metadata: "".into(),
            error: match unstable {
                true => ErrorCode::UnstableOffsetCommit,
                false => ErrorCode::None,
            },
        },
    }
}

/// Two ids that are both known and differ are two topics, of which one took the other's name.
fn may_be_same_topic(stored: TopicId, asked: TopicId) -> bool {
    stored.is_zero() || asked.is_zero() || stored == asked
}

pub(super) fn delete(
    hard: &GroupCoordinatorState,
    group: Option<&ClassicGroup>,
    turn: &mut Turn<'_>,
    request: &OffsetDelete,
) -> OffsetDeleteReply {
    let refused = match group {
        None => Some(ErrorCode::GroupIdNotFound),
        Some(group) if !group.is(State::Empty) && !group.uses_consumer_protocol() => {
            Some(ErrorCode::NonEmptyGroup)
        }
        Some(_) => None,
    };
    let (Some(group), None) = (group, refused) else {
        return OffsetDeleteReply {
            error: refused.unwrap_or(ErrorCode::None),
            topics: Vec::new(),
        };
    };
    let mut topics = Vec::with_capacity(request.topics.len());
    for (topic, partitions) in &request.topics {
        let error = match group.is_subscribed_to_topic(topic) {
            true => ErrorCode::GroupSubscribedToTopic,
            false => ErrorCode::None,
        };
        for partition in partitions {
            if error == ErrorCode::None && has_offset(hard, &group.group_id, topic, *partition) {
                let tombstone = Record::tombstone_of_offset(&group.group_id, topic, *partition);
                turn.out.records.push(tombstone);
            }
        }
        let answered = partitions.iter().map(|partition| (*partition, error));
        topics.push(OffsetDeleteTopicReply {
            name: topic.clone(),
            partitions: answered.collect(),
        });
    }
    OffsetDeleteReply {
        error: ErrorCode::None,
        topics,
    }
}

fn has_offset(hard: &GroupCoordinatorState, group: &str, topic: &str, partition: i32) -> bool {
    hard.offsets().get(group, topic, partition).is_some()
        || hard.has_open_transaction(group, topic, partition)
}

/// Tombstones for every offset of the group, those in open transactions too.
pub(super) fn delete_all(hard: &GroupCoordinatorState, group: &Arc<str>, turn: &mut Turn<'_>) {
    for (topic, partitions) in hard.offsets().of_group(group).into_iter().flatten() {
        for partition in partitions.keys() {
            let tombstone = Record::tombstone_of_offset(group, topic, *partition);
            turn.out.records.push(tombstone);
        }
    }
    for (topic, partitions) in hard
        .open_transactions()
        .of_group(group)
        .into_iter()
        .flatten()
    {
        for partition in partitions.keys() {
            if hard.offsets().get(group, topic, *partition).is_none() {
                let tombstone = Record::tombstone_of_offset(group, topic, *partition);
                turn.out.records.push(tombstone);
            }
        }
    }
}

/// Tombstones for the group's offsets whose time is over; whether none is left.
pub(super) fn expire(
    hard: &GroupCoordinatorState,
    group: &ClassicGroup,
    turn: &mut Turn<'_>,
) -> bool {
    let group_id = &group.group_id;
    let no_transactions = hard.open_transactions().of_group(group_id).is_none();
    let Some(topics) = hard.offsets().of_group(group_id) else {
        return no_transactions;
    };
    let Some(base) = expiry_base(group) else {
        return false;
    };
    let mut all_expired = true;
    for (topic, partitions) in topics {
        let subscribed = group.is_subscribed_to_topic(topic);
        for (partition, offset) in partitions {
            let expired = !subscribed
                && is_expired(&offset.value, base, turn.now.wall, turn.config)
                && !hard.has_open_transaction(group_id, topic, *partition);
            if expired {
                let tombstone = Record::tombstone_of_offset(group_id, topic, *partition);
                turn.out.records.push(tombstone);
            } else {
                all_expired = false;
            }
        }
    }
    all_expired && no_transactions
}

/// From when on an unused offset is counted.
#[derive(Debug, Clone, Copy)]
enum ExpiryBase {
    Commit,
    /// When the group became empty.
    Empty(TimestampMs),
}

/// `None`: in this state no offset of the group may expire.
fn expiry_base(group: &ClassicGroup) -> Option<ExpiryBase> {
    if group.protocol_type.is_none() {
        return Some(ExpiryBase::Commit);
    }
    match group.state {
        State::Empty => Some(match group.state_timestamp {
            Some(since) => ExpiryBase::Empty(since),
            None => ExpiryBase::Commit,
        }),
        State::Stable if group.subscribed_topics.is_some() => Some(ExpiryBase::Commit),
        _ => None,
    }
}

fn is_expired(
    offset: &OffsetCommitValue,
    base: ExpiryBase,
    now: TimestampMs,
    config: &GroupConfig,
) -> bool {
    if let Some(expire) = offset.expire_timestamp {
        return now >= expire;
    }
    let since = match base {
        ExpiryBase::Commit => offset.commit_timestamp,
        ExpiryBase::Empty(since) => since,
    };
    now.0.saturating_sub(since.0) >= config.offsets_retention_ms
}

/// Tombstones for what was committed in topics that are gone. An offset of a topic that has taken a
/// deleted one's name meanwhile stays.
pub(super) fn delete_topics(
    hard: &GroupCoordinatorState,
    topics: &[(Arc<str>, TopicId)],
    turn: &mut Turn<'_>,
) {
    let is_gone = |name: &Arc<str>, id: TopicId| {
        topics
            .iter()
            .any(|(gone, gone_id)| gone == name && (id.is_zero() || id == *gone_id))
    };
    for (group, topic, partition, offset) in hard.offsets().iter() {
        if is_gone(topic, offset.value.topic_id) {
            let tombstone = Record::tombstone_of_offset(group, topic, partition);
            turn.out.records.push(tombstone);
        }
    }
    for (group, topic, partition, _) in hard.open_transactions().iter() {
        let known = hard.offsets().get(group, topic, partition);
        let pending = hard.pending_topic_ids(group, topic, partition);
        let already = known.is_some_and(|known| is_gone(topic, known.value.topic_id));
        if !already && pending.into_iter().any(|id| is_gone(topic, id)) {
            let tombstone = Record::tombstone_of_offset(group, topic, partition);
            turn.out.records.push(tombstone);
        }
    }
}
