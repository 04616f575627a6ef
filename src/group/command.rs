//! What may be asked of a group coordinator's shard, and what it answers.
//!
//! These are the group APIs without their wire versions: what a version changes is a named flag, and
//! strings are owned, so nothing here pins a request's frame. Authorization, empty group ids and
//! topic names behind topic ids are settled before a command is made.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::error::ErrorCode;
use crate::state_machine::ReplyToken;
use crate::types::{LeaderEpoch, Offset, TimestampMs, TopicId};

#[derive(Debug, Clone)]
pub enum Command {
    Request {
        token: ReplyToken,
        request: Request,
    },
    /// The hard state is complete: make groups live again and start their clocks.
    Load,
    /// The leadership is gone: everybody who waits is told.
    Unload,
    /// These topics are no more, and neither are offsets in them.
    DeleteTopics(Vec<(Arc<str>, TopicId)>),
}

#[derive(Debug, Clone)]
pub enum Request {
    JoinGroup(JoinGroup),
    SyncGroup(SyncGroup),
    Heartbeat(Heartbeat),
    LeaveGroup(LeaveGroup),
    OffsetCommit(OffsetCommit),
    OffsetFetch(OffsetFetch),
    OffsetDelete(OffsetDelete),
    DescribeGroups(DescribeGroups),
    ListGroups(ListGroups),
    DeleteGroups(Vec<Arc<str>>),
}

/// A name of an assignment protocol and the member's metadata for it.
pub type Protocol = (Arc<str>, Bytes);

#[derive(Debug, Clone)]
pub struct JoinGroup {
    pub group_id: Arc<str>,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    /// Empty from a member that has none yet.
    pub member_id: Arc<str>,
    pub group_instance_id: Option<Arc<str>>,
    pub protocol_type: Arc<str>,
    /// The member's choice, best first.
    pub protocols: Vec<Protocol>,
    pub reason: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    /// KIP-394, versions from 4: a new dynamic member first learns its id and joins again with it.
    pub requires_known_member_id: bool,
    /// KIP-814, versions from 9.
    pub supports_skipping_assignment: bool,
    /// Made by the caller for this request alone.
    pub fresh_id: Uuid,
}

#[derive(Debug, Clone)]
pub struct SyncGroup {
    pub group_id: Arc<str>,
    pub generation: i32,
    pub member_id: Arc<str>,
    pub group_instance_id: Option<Arc<str>>,
    /// Versions from 5 name both.
    pub protocol_type: Option<Arc<str>>,
    pub protocol_name: Option<Arc<str>>,
    /// From the leader: the assignment by member id.
    pub assignments: Vec<(Arc<str>, Bytes)>,
}

#[derive(Debug, Clone)]
pub struct Heartbeat {
    pub group_id: Arc<str>,
    pub generation: i32,
    pub member_id: Arc<str>,
    pub group_instance_id: Option<Arc<str>>,
}

#[derive(Debug, Clone)]
pub struct LeaveGroup {
    pub group_id: Arc<str>,
    pub members: Vec<LeavingMember>,
}

#[derive(Debug, Clone)]
pub struct LeavingMember {
    /// Empty when an admin names a static member by its instance id.
    pub member_id: Arc<str>,
    pub group_instance_id: Option<Arc<str>>,
    pub reason: Option<Arc<str>>,
}

#[derive(Debug, Clone)]
pub struct OffsetCommit {
    pub group_id: Arc<str>,
    /// Negative when nobody's member commits.
    pub generation: i32,
    pub member_id: Arc<str>,
    pub group_instance_id: Option<Arc<str>>,
    /// Versions 2 to 4; -1 for the broker's own retention.
    pub retention_time_ms: i64,
    pub topics: Vec<OffsetCommitTopic>,
    /// KIP-848, versions from 9: an unknown group is GROUP_ID_NOT_FOUND, not ILLEGAL_GENERATION.
    pub supports_group_id_not_found: bool,
}

#[derive(Debug, Clone)]
pub struct OffsetCommitTopic {
    pub name: Arc<str>,
    pub topic_id: TopicId,
    pub partitions: Vec<OffsetCommitPartition>,
}

#[derive(Debug, Clone)]
pub struct OffsetCommitPartition {
    pub partition: i32,
    pub offset: Offset,
    pub leader_epoch: LeaderEpoch,
    pub metadata: Arc<str>,
}

#[derive(Debug, Clone)]
pub struct OffsetFetch {
    pub group_id: Arc<str>,
    /// `None` asks for every offset of the group.
    pub topics: Option<Vec<OffsetFetchTopic>>,
    /// KIP-447: an offset in an open transaction is an error instead of the one before.
    pub require_stable: bool,
}

#[derive(Debug, Clone)]
pub struct OffsetFetchTopic {
    pub name: Arc<str>,
    pub topic_id: TopicId,
    pub partitions: Vec<i32>,
}

#[derive(Debug, Clone)]
pub struct OffsetDelete {
    pub group_id: Arc<str>,
    pub topics: Vec<(Arc<str>, Vec<i32>)>,
}

#[derive(Debug, Clone)]
pub struct DescribeGroups {
    pub group_ids: Vec<Arc<str>>,
    /// KIP-1043, versions from 6.
    pub supports_group_id_not_found: bool,
}

#[derive(Debug, Clone, Default)]
pub struct ListGroups {
    /// Names of states in any case; empty for all.
    pub states: Vec<Arc<str>>,
    /// Names of types in any case; empty for all.
    pub types: Vec<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    JoinGroup(JoinGroupReply),
    SyncGroup(SyncGroupReply),
    Heartbeat(ErrorCode),
    LeaveGroup(LeaveGroupReply),
    OffsetCommit(Vec<OffsetCommitTopicReply>),
    OffsetFetch(OffsetFetchReply),
    OffsetDelete(OffsetDeleteReply),
    DescribeGroups(Vec<DescribedGroup>),
    ListGroups {
        error: ErrorCode,
        groups: Vec<ListedGroup>,
    },
    DeleteGroups(Vec<(Arc<str>, ErrorCode)>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinGroupReply {
    pub error: ErrorCode,
    pub generation: i32,
    pub protocol_type: Option<Arc<str>>,
    pub protocol_name: Option<Arc<str>>,
    pub leader: Arc<str>,
    pub skip_assignment: bool,
    pub member_id: Arc<str>,
    /// Everybody, for the leader alone.
    pub members: Vec<JoinedMember>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    pub member_id: Arc<str>,
    pub group_instance_id: Option<Arc<str>>,
    pub metadata: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncGroupReply {
    pub error: ErrorCode,
    pub protocol_type: Option<Arc<str>>,
    pub protocol_name: Option<Arc<str>>,
    pub assignment: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaveGroupReply {
    pub error: ErrorCode,
    pub members: Vec<LeftMember>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftMember {
    pub member_id: Arc<str>,
    pub group_instance_id: Option<Arc<str>>,
    pub error: ErrorCode,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetCommitTopicReply {
    pub name: Arc<str>,
    pub topic_id: TopicId,
    pub partitions: Vec<(i32, ErrorCode)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetFetchReply {
    pub group_id: Arc<str>,
    pub error: ErrorCode,
    pub topics: Vec<OffsetFetchTopicReply>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetFetchTopicReply {
    pub name: Arc<str>,
    pub topic_id: TopicId,
    pub partitions: Vec<FetchedOffset>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedOffset {
    pub partition: i32,
    /// -1 when there is none.
    pub offset: Offset,
    pub leader_epoch: LeaderEpoch,
    pub metadata: Arc<str>,
    pub error: ErrorCode,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetDeleteReply {
    pub error: ErrorCode,
    pub topics: Vec<OffsetDeleteTopicReply>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetDeleteTopicReply {
    pub name: Arc<str>,
    pub partitions: Vec<(i32, ErrorCode)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedGroup {
    pub group_id: Arc<str>,
    pub error: ErrorCode,
    pub error_message: Option<String>,
    pub state: &'static str,
    pub protocol_type: Arc<str>,
    pub protocol: Arc<str>,
    pub members: Vec<DescribedMember>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    pub member_id: Arc<str>,
    pub group_instance_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub metadata: Bytes,
    pub assignment: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    pub group_id: Arc<str>,
    pub protocol_type: Arc<str>,
    pub state: &'static str,
    pub group_type: &'static str,
}

impl JoinGroupReply {
    pub fn failed(member_id: impl Into<Arc<str>>, error: ErrorCode) -> Self {
        Self {
            error,
            generation: -1,
            protocol_type: None,
            protocol_name: None,
            leader: "".into(),
            skip_assignment: false,
            member_id: member_id.into(),
            members: Vec::new(),
        }
    }
}

impl SyncGroupReply {
    pub fn failed(error: ErrorCode) -> Self {
        Self {
            error,
            protocol_type: None,
            protocol_name: None,
            assignment: Bytes::new(),
        }
    }
}

impl OffsetFetchReply {
    /// Clients know fewer errors here than elsewhere: a coordinator that is not available is none.
    pub fn failed(group_id: Arc<str>, error: ErrorCode) -> Self {
        Self {
            group_id,
            error: match error {
                ErrorCode::CoordinatorNotAvailable => ErrorCode::NotCoordinator,
                error => error,
            },
            topics: Vec::new(),
        }
    }
}

impl DescribedGroup {
    pub fn failed(group_id: Arc<str>, error: ErrorCode) -> Self {
        Self {
            group_id,
            error,
            error_message: None,
            state: "",
            protocol_type: "".into(),
            protocol: "".into(),
            members: Vec::new(),
        }
    }
}

impl Request {
    /// The answer when the shard cannot even be asked, with the error as clients are told it.
    pub fn refuse(&self, error: ErrorCode) -> Reply {
        let error = append_error_for_clients(error);
        match self {
            Request::JoinGroup(_) => Reply::JoinGroup(JoinGroupReply::failed("", error)),
            Request::SyncGroup(_) => Reply::SyncGroup(SyncGroupReply::failed(error)),
            // A coordinator that loads has not forgotten anybody: a heartbeat is simply good then.
            Request::Heartbeat(_) if error == ErrorCode::CoordinatorLoadInProgress => {
                Reply::Heartbeat(ErrorCode::None)
            }
            Request::Heartbeat(_) => Reply::Heartbeat(error),
            Request::LeaveGroup(_) => Reply::LeaveGroup(LeaveGroupReply {
                error,
                members: Vec::new(),
            }),
            Request::OffsetCommit(commit) => Reply::OffsetCommit(commit.all_partitions(error)),
            Request::OffsetFetch(fetch) => {
                Reply::OffsetFetch(OffsetFetchReply::failed(fetch.group_id.clone(), error))
            }
            Request::OffsetDelete(_) => Reply::OffsetDelete(OffsetDeleteReply {
                error,
                topics: Vec::new(),
            }),
            Request::DescribeGroups(describe) => Reply::DescribeGroups(
                describe
                    .group_ids
                    .iter()
                    .map(|id| DescribedGroup::failed(id.clone(), error))
                    .collect(),
            ),
            Request::ListGroups(_) => Reply::ListGroups {
                error,
                groups: Vec::new(),
            },
            Request::DeleteGroups(ids) => {
                Reply::DeleteGroups(ids.iter().map(|id| (id.clone(), error)).collect())
            }
        }
    }
}

impl OffsetCommit {
    pub fn all_partitions(&self, error: ErrorCode) -> Vec<OffsetCommitTopicReply> {
        self.topics
            .iter()
            .map(|topic| OffsetCommitTopicReply {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                partitions: topic
                    .partitions
                    .iter()
                    .map(|partition| (partition.partition, error))
                    .collect(),
            })
            .collect()
    }
}

impl Reply {
    /// The same reply when the records it stood for did not commit.
    pub fn failed(self, error: ErrorCode) -> Reply {
        let error = append_error_for_clients(error);
        match self {
            Reply::JoinGroup(_) => Reply::JoinGroup(JoinGroupReply::failed("", error)),
            Reply::SyncGroup(_) => Reply::SyncGroup(SyncGroupReply::failed(error)),
            Reply::Heartbeat(_) => Reply::Heartbeat(error),
            Reply::LeaveGroup(_) => Reply::LeaveGroup(LeaveGroupReply {
                error,
                members: Vec::new(),
            }),
            Reply::OffsetCommit(mut topics) => {
                for topic in &mut topics {
                    for partition in &mut topic.partitions {
                        partition.1 = error;
                    }
                }
                Reply::OffsetCommit(topics)
            }
            Reply::OffsetFetch(fetch) => {
                Reply::OffsetFetch(OffsetFetchReply::failed(fetch.group_id, error))
            }
            Reply::OffsetDelete(_) => Reply::OffsetDelete(OffsetDeleteReply {
                error,
                topics: Vec::new(),
            }),
            Reply::DescribeGroups(groups) => Reply::DescribeGroups(
                groups
                    .into_iter()
                    .map(|group| DescribedGroup::failed(group.group_id, error))
                    .collect(),
            ),
            Reply::ListGroups { .. } => Reply::ListGroups {
                error,
                groups: Vec::new(),
            },
            Reply::DeleteGroups(groups) => {
                Reply::DeleteGroups(groups.into_iter().map(|(id, _)| (id, error)).collect())
            }
        }
    }
}

/// An append's error in the words group clients know.
pub fn append_error_for_clients(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge
        | ErrorCode::RecordListTooLarge
        | ErrorCode::InvalidFetchSize => ErrorCode::UnknownServerError,
        error => error,
    }
}

/// When a commit's offset expires by its own wish.
pub fn expire_timestamp(retention_time_ms: i64, now: TimestampMs) -> Option<TimestampMs> {
    (retention_time_ms != -1).then(|| TimestampMs(now.0.saturating_add(retention_time_ms)))
}
