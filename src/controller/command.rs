//! What can be asked of the controller, and what it answers. Both travel between nodes (ZAB's
//! REQUEST), so both are CBOR arrays with explicit numbers, under the rules of `records`.
//!
//! Authorization happened before: a command holds only what its sender may do.

use minicbor::{Decode, Encode};
use uuid::Uuid;

use crate::config::ConfigText;
use crate::controller::delta::ConfigResource;
use crate::controller::records::{
    BrokerEndpoint, DirectoryId, FeatureLevelRecord, SupportedFeature, uuid_bytes,
};
use crate::error::ErrorCode;
use crate::types::{NodeId, PartitionId, ProducerId, TopicId, Zxid};

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Command {
    /// The first of a new cluster.
    #[n(0)]
    FormatCluster(#[n(0)] FormatCluster),
    #[n(1)]
    RegisterBroker(#[n(0)] RegisterBroker),
    #[n(2)]
    ChangeBroker(#[n(0)] ChangeBroker),
    #[n(3)]
    UnregisterBroker(#[n(0)] NodeId),
    #[n(4)]
    CreateTopics(#[n(0)] CreateTopics),
    #[n(5)]
    DeleteTopics(#[n(0)] Vec<TopicId>),
    #[n(6)]
    CreatePartitions(#[n(0)] CreatePartitions),
    /// What a resource had and is not named goes (AlterConfigs).
    #[n(7)]
    ReplaceConfigs(#[n(0)] ReplaceConfigs),
    #[n(8)]
    IncrementalAlterConfigs(#[n(0)] IncrementalAlterConfigs),
    #[n(9)]
    AllocateProducerIds(#[n(0)] AllocateProducerIds),
    #[n(10)]
    AssignReplicasToDirs(#[n(0)] AssignReplicasToDirs),
    #[n(11)]
    UpdateFeatures(#[n(0)] UpdateFeatures),
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Reply {
    #[n(0)]
    FormatCluster(#[n(0)] Result<(), ApiError>),
    #[n(1)]
    RegisterBroker(#[n(0)] Result<(), ApiError>),
    #[n(2)]
    ChangeBroker(#[n(0)] Result<(), ApiError>),
    #[n(3)]
    UnregisterBroker(#[n(0)] Result<(), ApiError>),
    /// In the order of the command.
    #[n(4)]
    CreateTopics(#[n(0)] Vec<Result<CreatedTopic, ApiError>>),
    /// In the order of the command.
    #[n(5)]
    DeleteTopics(#[n(0)] Vec<Result<(), ApiError>>),
    /// In the order of the command.
    #[n(6)]
    CreatePartitions(#[n(0)] Vec<Result<(), ApiError>>),
    /// In the order of the command.
    #[n(7)]
    AlterConfigs(#[n(0)] Vec<Result<(), ApiError>>),
    #[n(8)]
    ProducerIds(#[n(0)] Result<ProducerIdBlock, ApiError>),
    #[n(9)]
    AssignReplicasToDirs(#[n(0)] Result<(), ApiError>),
    #[n(10)]
    UpdateFeatures(#[n(0)] Result<(), ApiError>),
}

/// A refusal, in the words a client gets to see.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ApiError {
    #[n(0)]
    #[cbor(with = "error_code")]
    pub error: ErrorCode,
    /// `None` lets the client use its own words for the code.
    #[n(1)]
    pub message: Option<String>,
}

impl ApiError {
    pub fn new(error: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            error,
            message: Some(message.into()),
        }
    }
}

impl From<ErrorCode> for ApiError {
    fn from(error: ErrorCode) -> Self {
        Self {
            error,
            message: None,
        }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.message {
            Some(message) => write!(f, "{}: {message}", self.error),
            None => write!(f, "{}", self.error),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FormatCluster {
    #[n(0)]
    pub cluster_id: String,
    #[n(1)]
    pub features: Vec<FeatureLevelRecord>,
}

/// All of them or none.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct UpdateFeatures {
    #[n(0)]
    pub updates: Vec<FeatureUpdate>,
    #[n(1)]
    pub validate_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FeatureUpdate {
    #[n(0)]
    pub name: String,
    #[n(1)]
    pub level: i16,
    /// As the client has it: 1 up, 2 down, 3 down whatever is lost.
    #[n(2)]
    pub upgrade_type: i8,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RegisterBroker {
    #[n(0)]
    pub id: NodeId,
    #[n(1)]
    #[cbor(with = "uuid_bytes")]
    pub incarnation: Uuid,
    #[n(2)]
    pub cluster_id: String,
    #[n(3)]
    pub endpoints: Vec<BrokerEndpoint>,
    #[n(4)]
    pub rack: Option<String>,
    #[n(5)]
    pub features: Vec<SupportedFeature>,
    #[n(6)]
    pub directories: Vec<DirectoryId>,
    #[n(7)]
    pub fenced: bool,
    #[n(8)]
    pub cordoned_directories: Option<Vec<DirectoryId>>,
}

/// What is `None` stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ChangeBroker {
    #[n(0)]
    pub id: NodeId,
    #[n(1)]
    pub epoch: Zxid,
    #[n(2)]
    pub fenced: Option<bool>,
    #[n(3)]
    pub in_controlled_shutdown: Option<bool>,
    /// Directories that have failed. They are online again only when another incarnation registers with them.
    #[n(4)]
    pub offline_directories: Option<Vec<DirectoryId>>,
    /// All that get no new replicas from here on.
    #[n(5)]
    pub cordoned_directories: Option<Vec<DirectoryId>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CreateTopics {
    #[n(0)]
    pub topics: Vec<CreatableTopic>,
    #[n(1)]
    pub validate_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CreatableTopic {
    #[n(0)]
    pub name: String,
    /// -1: the default, or given by the assignments.
    #[n(1)]
    pub num_partitions: i32,
    /// -1: the default, or given by the assignments.
    #[n(2)]
    pub replication_factor: i16,
    /// Empty: the controller places the replicas.
    #[n(3)]
    pub assignments: Vec<ReplicaAssignment>,
    #[n(4)]
    pub configs: Vec<ConfigEntry>,
}

impl CreatableTopic {
    /// With every choice left to the controller, as auto-creation wants it.
    pub fn with_defaults(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReplicaAssignment {
    #[n(0)]
    pub partition: i32,
    #[n(1)]
    pub brokers: Vec<NodeId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ConfigEntry {
    #[n(0)]
    pub name: ConfigText,
    #[n(1)]
    pub value: Option<ConfigText>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CreatedTopic {
    #[n(0)]
    pub id: TopicId,
    #[n(1)]
    pub num_partitions: i32,
    #[n(2)]
    pub replication_factor: i16,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CreatePartitions {
    #[n(0)]
    pub topics: Vec<CreatePartitionsTopic>,
    #[n(1)]
    pub validate_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CreatePartitionsTopic {
    #[n(0)]
    pub name: String,
    /// Of the topic afterwards.
    #[n(1)]
    pub count: i32,
    /// The brokers of each new partition; `None`: the controller places them.
    #[n(2)]
    pub assignments: Option<Vec<Vec<NodeId>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReplaceConfigs {
    #[n(0)]
    pub resources: Vec<ReplaceResourceConfigs>,
    #[n(1)]
    pub validate_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReplaceResourceConfigs {
    #[n(0)]
    pub resource: ConfigResource,
    #[n(1)]
    pub configs: Vec<ConfigEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct IncrementalAlterConfigs {
    #[n(0)]
    pub resources: Vec<AlterResourceConfigs>,
    #[n(1)]
    pub validate_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AlterResourceConfigs {
    #[n(0)]
    pub resource: ConfigResource,
    #[n(1)]
    pub ops: Vec<AlterConfigOp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AlterConfigOp {
    #[n(0)]
    pub name: ConfigText,
    #[n(1)]
    pub op: OpType,
    /// Of no meaning for `Delete`.
    #[n(2)]
    pub value: Option<ConfigText>,
}

/// With Kafka's numbers (KIP-339).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum OpType {
    #[n(0)]
    Set,
    #[n(1)]
    Delete,
    #[n(2)]
    Append,
    #[n(3)]
    Subtract,
}

impl OpType {
    pub fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Set),
            1 => Some(Self::Delete),
            2 => Some(Self::Append),
            3 => Some(Self::Subtract),
            _ => None,
        }
    }

    /// As Kafka's enum prints.
    pub fn name(self) -> &'static str {
        match self {
            Self::Set => "SET",
            Self::Delete => "DELETE",
            Self::Append => "APPEND",
            Self::Subtract => "SUBTRACT",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AllocateProducerIds {
    #[n(0)]
    pub broker: NodeId,
    #[n(1)]
    pub broker_epoch: Zxid,
}

/// Where a broker keeps its replicas (KIP-858).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AssignReplicasToDirs {
    #[n(0)]
    pub broker: NodeId,
    #[n(1)]
    pub broker_epoch: Zxid,
    #[n(2)]
    pub assignments: Vec<DirectoryAssignment>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct DirectoryAssignment {
    #[n(0)]
    pub topic_id: TopicId,
    #[n(1)]
    pub partition: PartitionId,
    #[n(2)]
    pub directory: DirectoryId,
}

/// Producer ids that one broker may hand out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct ProducerIdBlock {
    #[n(0)]
    pub first: ProducerId,
    #[n(1)]
    pub len: i32,
}

mod error_code {
    use minicbor::decode::{Decoder, Error as DecodeError};
    use minicbor::encode::{Encoder, Error as EncodeError, Write};

    use crate::error::ErrorCode;

    pub fn encode<C, W: Write>(
        error: &ErrorCode,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.i16(error.code())?.ok()
    }

    pub fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<ErrorCode, DecodeError> {
        // A newer leader may know codes that this node does not.
        Ok(ErrorCode::from_code(d.i16()?).unwrap_or(ErrorCode::UnknownServerError))
    }
}
