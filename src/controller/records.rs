//! The records of committed metadata: what ZAB orders, what the image is rebuilt from, and what a
//! snapshot holds.
//!
//! CBOR arrays with explicit numbers. A field is never renumbered or given another meaning; a new
//! one is an `Option` with the next number (an old log decodes it as `None`, an old server skips
//! it). A record kind an old server does not know stops it: kinds are gated by feature levels.
//! The bytes of every kind are pinned by a test.

use minicbor::{Decode, Encode};
use uuid::Uuid;

use crate::config::ConfigText;
use crate::controller::command::Reply;
use crate::controller::node_list::NodeList;
use crate::types::{LeaderEpoch, NodeId, PartitionId, ProducerId, TopicId, Zxid};

/// One change of metadata. A proposal carries a list of them, replayed all or none.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Record {
    #[n(0)]
    Cluster(#[n(0)] ClusterRecord),
    #[n(1)]
    FeatureLevel(#[n(0)] FeatureLevelRecord),
    #[n(2)]
    RegisterBroker(#[n(0)] RegisterBrokerRecord),
    #[n(3)]
    BrokerChange(#[n(0)] BrokerChangeRecord),
    #[n(4)]
    UnregisterBroker(#[n(0)] UnregisterBrokerRecord),
    #[n(5)]
    Topic(#[n(0)] TopicRecord),
    #[n(6)]
    Partition(#[n(0)] PartitionRecord),
    #[n(7)]
    PartitionChange(#[n(0)] PartitionChangeRecord),
    #[n(8)]
    RemoveTopic(#[n(0)] RemoveTopicRecord),
    #[n(9)]
    Config(#[n(0)] ConfigRecord),
    #[n(10)]
    ProducerIds(#[n(0)] ProducerIdsRecord),
    #[n(11)]
    Request(#[n(0)] RequestRecord),
}

/// The first record of a cluster: its name, made once.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ClusterRecord {
    #[n(0)]
    pub cluster_id: String,
}

/// A finalized feature (KIP-584); level 0 removes it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FeatureLevelRecord {
    #[n(0)]
    pub name: String,
    #[n(1)]
    pub level: i16,
}

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BrokerEndpoint {
    /// The listener's name, as `advertised.listeners` has it.
    #[n(0)]
    pub name: String,
    #[n(1)]
    pub host: String,
    #[n(2)]
    pub port: u16,
    #[n(3)]
    pub security_protocol: SecurityProtocol,
}

/// With the numbers Kafka gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum SecurityProtocol {
    #[n(0)]
    Plaintext,
    #[n(1)]
    Ssl,
    #[n(2)]
    SaslPlaintext,
    #[n(3)]
    SaslSsl,
}

/// The levels of a feature that a broker can run.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SupportedFeature {
    #[n(0)]
    pub name: String,
    #[n(1)]
    pub min: i16,
    #[n(2)]
    pub max: i16,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RegisterBrokerRecord {
    #[n(0)]
    pub id: NodeId,
    /// Made anew by every start of the broker's process.
    #[n(1)]
    #[cbor(with = "uuid_bytes")]
    pub incarnation: Uuid,
    /// The broker epoch. `None` in the log: it is the zxid of the record. A snapshot writes it out.
    #[n(2)]
    pub epoch: Option<Zxid>,
    #[n(3)]
    pub endpoints: Vec<BrokerEndpoint>,
    #[n(4)]
    pub rack: Option<String>,
    #[n(5)]
    pub fenced: bool,
    #[n(6)]
    pub in_controlled_shutdown: bool,
    #[n(7)]
    pub features: Vec<SupportedFeature>,
    #[n(8)]
    pub directories: Vec<DirectoryId>,
    /// Those that get no new replicas (KIP-1066).
    #[n(9)]
    pub cordoned_directories: Option<Vec<DirectoryId>>,
}

/// What is `None` stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BrokerChangeRecord {
    #[n(0)]
    pub id: NodeId,
    #[n(1)]
    pub epoch: Zxid,
    #[n(2)]
    pub fenced: Option<bool>,
    #[n(3)]
    pub in_controlled_shutdown: Option<bool>,
    /// Those that are online from here on.
    #[n(4)]
    pub directories: Option<Vec<DirectoryId>>,
    #[n(5)]
    pub cordoned_directories: Option<Vec<DirectoryId>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct UnregisterBrokerRecord {
    #[n(0)]
    pub id: NodeId,
    #[n(1)]
    pub epoch: Zxid,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TopicRecord {
    #[n(0)]
    pub name: String,
    #[n(1)]
    pub id: TopicId,
}

/// A whole partition. Partitions of a topic come in the order of their indexes, from 0.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PartitionRecord {
    #[n(0)]
    pub topic_id: TopicId,
    #[n(1)]
    pub partition: PartitionId,
    #[n(2)]
    pub replicas: NodeList,
    #[n(3)]
    pub isr: NodeList,
    #[n(4)]
    pub leader: NodeId,
    #[n(5)]
    pub leader_epoch: LeaderEpoch,
    #[n(6)]
    pub partition_epoch: i32,
    /// Eligible leader replicas (KIP-966).
    #[n(7)]
    pub elr: Option<NodeList>,
    #[n(8)]
    pub last_known_elr: Option<NodeList>,
    #[n(9)]
    pub adding_replicas: Option<NodeList>,
    #[n(10)]
    pub removing_replicas: Option<NodeList>,
    /// One for every replica; `None` when no broker has said yet where it keeps its copy.
    #[n(11)]
    pub directories: Option<Vec<DirectoryId>>,
    /// A leader elected uncleanly that has not yet recovered.
    #[n(12)]
    pub recovering: Option<bool>,
}

/// What is `None` stays as it was; the partition epoch goes up by one. A `leader`, even the same
/// one, begins a new leader epoch.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PartitionChangeRecord {
    #[n(0)]
    pub topic_id: TopicId,
    #[n(1)]
    pub partition: PartitionId,
    #[n(2)]
    pub replicas: Option<NodeList>,
    #[n(3)]
    pub isr: Option<NodeList>,
    #[n(4)]
    pub leader: Option<NodeId>,
    #[n(5)]
    pub elr: Option<NodeList>,
    #[n(6)]
    pub last_known_elr: Option<NodeList>,
    #[n(7)]
    pub adding_replicas: Option<NodeList>,
    #[n(8)]
    pub removing_replicas: Option<NodeList>,
    #[n(9)]
    pub directories: Option<Vec<DirectoryId>>,
    #[n(10)]
    pub recovering: Option<bool>,
}

impl PartitionChangeRecord {
    /// Changes nothing yet.
    pub fn new(topic_id: TopicId, partition: PartitionId) -> Self {
        Self {
            topic_id,
            partition,
            replicas: None,
            isr: None,
            leader: None,
            elr: None,
            last_known_elr: None,
            adding_replicas: None,
            removing_replicas: None,
            directories: None,
            recovering: None,
        }
    }
}

/// The topic, its partitions and its configs.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RemoveTopicRecord {
    #[n(0)]
    pub topic_id: TopicId,
}

/// Kinds of resources that carry configs, with Kafka's numbers (`ConfigResource.Type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum ConfigResourceType {
    #[n(2)]
    Topic,
    #[n(4)]
    Broker,
    /// Log levels: they live in a node and never in a record.
    #[n(8)]
    BrokerLogger,
    #[n(16)]
    ClientMetrics,
    #[n(32)]
    Group,
}

impl ConfigResourceType {
    pub const ALL: [ConfigResourceType; 5] = [
        Self::Topic,
        Self::Broker,
        Self::BrokerLogger,
        Self::ClientMetrics,
        Self::Group,
    ];

    pub fn code(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
            Self::BrokerLogger => 8,
            Self::ClientMetrics => 16,
            Self::Group => 32,
        }
    }

    pub fn from_code(code: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// As Kafka's enum prints.
    pub fn name(self) -> &'static str {
        match self {
            Self::Topic => "TOPIC",
            Self::Broker => "BROKER",
            Self::BrokerLogger => "BROKER_LOGGER",
            Self::ClientMetrics => "CLIENT_METRICS",
            Self::Group => "GROUP",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ConfigRecord {
    #[n(0)]
    pub resource_type: ConfigResourceType,
    /// For a broker: its id, or nothing for the default of all of them.
    #[n(1)]
    pub resource_name: String,
    #[n(2)]
    pub key: ConfigText,
    /// `None` removes the key.
    #[n(3)]
    pub value: Option<ConfigText>,
}

/// A block of producer ids was handed to a broker; the next one starts here.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ProducerIdsRecord {
    #[n(0)]
    pub broker: NodeId,
    #[n(1)]
    pub broker_epoch: Zxid,
    #[n(2)]
    pub next_producer_id: ProducerId,
}

/// The command that the other records of this proposal come from: one that is asked for again, because its leader
/// went away before it answered, is known by this and not decided twice.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RequestRecord {
    #[n(0)]
    pub node: NodeId,
    /// Of the process on that node: another one counts from 1 again.
    #[n(1)]
    #[cbor(with = "uuid_bytes")]
    pub incarnation: Uuid,
    /// Rising, in the order in which the node asks.
    #[n(2)]
    pub seq: u64,
    /// What the node that asked is answered, once it has applied the proposal. Not kept in a snapshot.
    #[n(3)]
    pub reply: Option<Reply>,
}

/// A log directory of a broker (KIP-858).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct DirectoryId(
    #[n(0)]
    #[cbor(with = "uuid_bytes")]
    pub Uuid,
);

impl DirectoryId {
    /// With the numbers Kafka gives them; 0 is written where nothing is known of a replica, too.
    pub const UNASSIGNED: Self = Self(Uuid::from_u128(1));
    /// In some directory that is offline, nobody knows in which.
    pub const LOST: Self = Self(Uuid::from_u128(2));

    /// Kafka's reserved ids end at 100.
    pub fn is_reserved(self) -> bool {
        self.0.as_u128() < 100
    }
}

/// A uuid as 16 bytes.
pub(crate) mod uuid_bytes {
    use minicbor::decode::{Decoder, Error as DecodeError};
    use minicbor::encode::{Encoder, Error as EncodeError, Write};
    use uuid::Uuid;

    pub fn encode<C, W: Write>(
        id: &Uuid,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.bytes(id.as_bytes())?.ok()
    }

    pub fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Uuid, DecodeError> {
        Uuid::from_slice(d.bytes()?).map_err(|_| DecodeError::message("a uuid has 16 bytes"))
    }
}

#[cfg(test)]
mod tests;
